/* window_local.c: the combiner before the exchange of a windowed aggregate: partial results per (slice, key).
 *
 * It drops no row: which rows are late only the receiver knows, whose watermark is the minimum (hazards A19). It keeps
 * nothing over a watermark, a barrier or an idle input: the task calls flush before those leave. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct window_local {
    combiner_t combiner;
    window_time_t time;
    int64_t *slices;
    uint32_t cap;
} window_local_t;

static err_t *window_local_open(op_t *op) {
    window_local_t *w = op->self;
    combiner_open(&w->combiner, op->env.op, true);
    return window_time_open(&op->env, &w->time);
}

static op_status_t window_local_flush(op_t *op, out_t *out, err_t **reterr) {
    return combiner_flush(op, &((window_local_t *)op->self)->combiner, out, reterr);
}

static op_status_t window_local_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    window_local_t *w = op->self;
    if (w->cap < b->n) {
        w->cap = b->n;
        w->slices = xrealloc(w->slices, sizeof *w->slices * w->cap);
    }
    if (!w->combiner.flushing && (*reterr = window_time_slices(&w->time, b, op->env.eval->now_ms, w->slices))) return OP_FAIL;
    return combiner_rows(op, &w->combiner, b, w->slices, out, reterr);
}

static void window_local_close(op_t *op) {
    window_local_t *w = op->self;
    combiner_close(&w->combiner);
    window_time_close(&w->time);
    free(w->slices);
}

const op_vtable_t op_window_local = {
    .name = "WINDOW_LOCAL",
    .state_size = sizeof(window_local_t),
    .open = window_local_open,
    .process = window_local_process,
    .flush = window_local_flush,
    .close = window_local_close,
};
