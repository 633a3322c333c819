/* resolve.h: from the text of a job to what the core must know: compile, list splits with resolved positions, prepare sinks. Waits for
 * brokers, at most timeout_ms for each table. Any thread. */
#pragma once
#include "coordinator/core/event.h"
#include "engine/plan.h"

typedef err_t *(*compile_fn)(void *arg, const job_spec_t *spec, plan_t **ret);
typedef struct resolver {
    compile_fn compile; /* NULL: sql_compile without bare SELECTs, as every process of a cluster does */
    void *arg;
    int timeout_ms;
    const char *cluster; /* in the names of what lanes need elsewhere */
} resolver_t;

/* `enumerate` false: the shape only, no I/O. */
err_t *resolve_job(const resolver_t *r, const job_spec_t *spec, bool enumerate, job_shape_t **ret);
/* Would its lanes take their ledgers, beginning from this savepoint (engine/lane.h, invariant 8)? Reads what is committed as of now, of each lane that the
 * savepoint or the job has: who publishes later is found by the lanes. Fences only who left a transaction open in a ledger. ERR_EXISTS: no. `from` is
 * changed, and `moved` of the shape's sinks is set. */
err_t *resolve_ask_ledgers(const resolver_t *r, const job_spec_t *spec, manifest_t *from, bool new_ledger, job_shape_t *shape);
/* Splits of all sources that can grow, at their earliest position (A8). */
err_t *resolve_new_splits(const resolver_t *r, const job_spec_t *spec, int *ret_n, found_split_t **ret);
