/* local_data.h: what `run --data DIR` finds in DIR of earlier runs, before anything is started on it. */
#pragma once
#include "coordinator/meta_store.h"

/* Takes DIR/metadata, which one process has at a time: nothing in DIR is touched before. fresh: removes what DIR holds of the job of spec's name, and of
 * no other. Else *ret is the last record of that name, or NULL; ERR_EXISTS when DIR holds another job that has not ended: it would run, too. */
err_t *local_data_open(const char *dir, bool fresh, const job_spec_t *spec, meta_store_t **ret_meta, job_record_t **ret);
bool local_data_same(const job_spec_t *a, const job_spec_t *b); /* text, settings, parallelism: what runs is the same */
