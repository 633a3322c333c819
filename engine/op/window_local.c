/* window_local.c: the combiner before the exchange of a windowed aggregate: partial results per (slice, key).
 *
 * It drops no row: which rows are late only the receiver knows, whose watermark is the minimum (hazards A19). It keeps
 * nothing over a watermark, a barrier or an idle input: the task calls flush before those leave. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct window_local {
    agg_set_t *set;
    groups_t *groups;
    keys_t keys;
    window_time_t time;
    int64_t *slices;
    void **accs;
    uint32_t cap;
    bool flushing; /* the table was full: the batch at hand is in it already */
    uint32_t at;   /* next group to emit */
} window_local_t;

static err_t *window_local_open(op_t *op) {
    window_local_t *w = op->self;
    const plan_op_t *p = op->env.op;
    w->set = agg_set_new(p->aggs, p->naggs, false);
    w->groups = groups_new(agg_set_size(w->set));
    return window_time_open(&op->env, &w->time);
}

static err_t *emit_groups(op_t *op, out_t *out) {
    window_local_t *w = op->self;
    const plan_op_t *p = op->env.op;
    slice_t keys[1024];
    void *accs[1024];
    int64_t ends[1024];
    uint32_t n = MIN(groups_count(w->groups) - w->at, (uint32_t)ARRAY_LEN(accs));
    for (uint32_t i = 0; i < n; i++) accs[i] = groups_at(w->groups, w->at + i, &ends[i], &keys[i]);
    batch_t *b = batch_new(p->schema->n);
    b->n = n;
    ASSERT(keys_decode(keys, n, p->schema, p->nkeys, b->mem, b->cols)); /* encoded here, moments ago */
    column_init(&b->cols[p->nkeys], p->schema->fields[p->nkeys].type, b->mem, n);
    memcpy(b->cols[p->nkeys].i64, ends, sizeof *ends * n);
    err_t *e = agg_set_partial(w->set, accs, n, b->mem, b->cols + p->nkeys + 1);
    if (e) {
        batch_free(b);
        return e;
    }
    for (int i = p->nkeys + 1; i < p->schema->n; i++) b->cols[i].type = p->schema->fields[i].type;
    w->at += n;
    out_batch(out, b);
    return NULL;
}

static void clear_groups(window_local_t *w) {
    for (uint32_t i = 0; i < groups_count(w->groups); i++) {
        int64_t ns;
        slice_t key;
        agg_set_clear(w->set, groups_at(w->groups, i, &ns, &key));
    }
    groups_clear(w->groups);
    w->at = 0;
}

static op_status_t window_local_flush(op_t *op, out_t *out, err_t **reterr) {
    window_local_t *w = op->self;
    while (w->at < groups_count(w->groups)) {
        if (out_full(out)) return OP_MORE;
        if ((*reterr = emit_groups(op, out))) return OP_FAIL;
    }
    clear_groups(w);
    return OP_DONE;
}

static op_status_t window_local_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    window_local_t *w = op->self;
    const plan_op_t *p = op->env.op;
    if (!w->flushing) {
        if (w->cap < b->n) {
            w->cap = b->n;
            w->slices = xrealloc(w->slices, sizeof *w->slices * w->cap);
            w->accs = xrealloc(w->accs, sizeof *w->accs * w->cap);
        }
        if ((*reterr = window_time_slices(&w->time, b, op->env.eval->now_ms, w->slices))) return OP_FAIL;
        keys_encode(&w->keys, b, p->keys, p->nkeys, NULL, b->n);
        bool created;
        for (uint32_t i = 0; i < b->n; i++)
            w->accs[i] = groups_get(w->groups, w->slices[i], w->keys.hash[i], keys_at(&w->keys, i), &created);
        if ((*reterr = agg_set_update(w->set, b, NULL, b->n, w->accs))) return OP_FAIL;
        if (!groups_full(w->groups, op->env.state)) return OP_DONE;
        w->flushing = true;
    }
    op_status_t st = window_local_flush(op, out, reterr);
    if (st == OP_DONE) w->flushing = false;
    return st;
}

static void window_local_close(op_t *op) {
    window_local_t *w = op->self;
    if (w->groups) clear_groups(w);
    groups_free(w->groups);
    agg_set_free(w->set);
    keys_free(&w->keys);
    window_time_close(&w->time);
    free(w->slices);
    free(w->accs);
}

const op_vtable_t op_window_local = {
    .name = "WINDOW_LOCAL",
    .state_size = sizeof(window_local_t),
    .open = window_local_open,
    .process = window_local_process,
    .flush = window_local_flush,
    .close = window_local_close,
};
