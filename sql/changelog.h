/* changelog.h: which relations emit updates, and the columns that identify the row an update is about.
 *
 * A relation without updates only ever adds rows. One with updates has an upsert key: its changes concern the row of that
 * key (no columns: there is one row). In batch mode nothing updates: aggregates emit once, at the end. */
#pragma once
#include "sql/logical.h"

typedef struct change_info {
    bool updates;
    bool has_key; /* with updates: nkey columns identify a row */
    int nkey;
    const int *key;
} change_info_t;

/* Per node id. Errors: ERR_UNSUPPORTED at the operator or sink that cannot take the updates it would get; *ret_sink is set
 * when a run in batch mode would cure it. */
err_t *changelog_infer(rel_ctx_t *c, const logical_t *l, bool batch, change_info_t **ret, bool *ret_sink);
