/* group_local.c: the combiner before the exchange of an unbounded aggregate: partial results per key, let go when the
 * table is full, before a watermark or barrier leaves, and when the input is idle. Its input only appends. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct group_local {
    agg_set_t *set;
    groups_t *groups;
    keys_t keys;
    void **accs;
    uint32_t cap;
    bool flushing; /* the table was full: the batch at hand is in it already */
    uint32_t at;
} group_local_t;

static err_t *group_local_open(op_t *op) {
    group_local_t *g = op->self;
    const plan_op_t *p = op->env.op;
    if (op->env.stage->ops[p->inputs[0]]->retracts) return err_new(ERR_INTERNAL, "a combiner cannot take back rows");
    g->set = agg_set_new(p->aggs, p->naggs, false);
    g->groups = groups_new(agg_set_size(g->set));
    return NULL;
}

static void clear_groups(group_local_t *g) {
    for (uint32_t i = 0; i < groups_count(g->groups); i++) {
        int64_t ns;
        slice_t key;
        agg_set_clear(g->set, groups_at(g->groups, i, &ns, &key));
    }
    groups_clear(g->groups);
    g->at = 0;
}

static err_t *emit_groups(op_t *op, out_t *out) {
    group_local_t *g = op->self;
    const plan_op_t *p = op->env.op;
    slice_t keys[1024];
    void *accs[1024];
    int64_t ns;
    uint32_t n = MIN(groups_count(g->groups) - g->at, (uint32_t)ARRAY_LEN(accs));
    for (uint32_t i = 0; i < n; i++) accs[i] = groups_at(g->groups, g->at + i, &ns, &keys[i]);
    batch_t *b = batch_new(p->schema->n);
    b->n = n;
    ASSERT(keys_decode(keys, n, p->schema, p->nkeys, b->mem, b->cols)); /* encoded here, moments ago */
    err_t *e = agg_set_partial(g->set, accs, n, b->mem, b->cols + p->nkeys);
    if (e) {
        batch_free(b);
        return e;
    }
    for (int i = p->nkeys; i < p->schema->n; i++) b->cols[i].type = p->schema->fields[i].type;
    g->at += n;
    out_batch(out, b);
    return NULL;
}

static op_status_t group_local_flush(op_t *op, out_t *out, err_t **reterr) {
    group_local_t *g = op->self;
    while (g->at < groups_count(g->groups)) {
        if (out_full(out)) return OP_MORE;
        if ((*reterr = emit_groups(op, out))) return OP_FAIL;
    }
    clear_groups(g);
    return OP_DONE;
}

static op_status_t group_local_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    group_local_t *g = op->self;
    const plan_op_t *p = op->env.op;
    if (!g->flushing) {
        if (g->cap < b->n) {
            g->cap = b->n;
            g->accs = xrealloc(g->accs, sizeof *g->accs * g->cap);
        }
        keys_encode(&g->keys, b, p->keys, p->nkeys, NULL, b->n);
        bool created;
        for (uint32_t i = 0; i < b->n; i++) g->accs[i] = groups_get(g->groups, 0, g->keys.hash[i], keys_at(&g->keys, i), &created);
        if ((*reterr = agg_set_update(g->set, b, NULL, b->n, g->accs))) return OP_FAIL;
        if (!groups_full(g->groups, op->env.state)) return OP_DONE;
        g->flushing = true;
    }
    op_status_t st = group_local_flush(op, out, reterr);
    if (st == OP_DONE) g->flushing = false;
    return st;
}

static void group_local_close(op_t *op) {
    group_local_t *g = op->self;
    if (g->groups) clear_groups(g);
    groups_free(g->groups);
    agg_set_free(g->set);
    keys_free(&g->keys);
    free(g->accs);
}

const op_vtable_t op_group_local = {
    .name = "GROUP_LOCAL",
    .state_size = sizeof(group_local_t),
    .open = group_local_open,
    .process = group_local_process,
    .flush = group_local_flush,
    .close = group_local_close,
};
