/* combiner.c: partial results per (namespace, key) of rows that only append, for the combiners of grouped and windowed aggregates.
 *
 * It pays where keys repeat before the table is let go. How often they did is measured whenever it was: below 1.5 rows a group
 * a look-up here costs more than it spares behind the exchange, and the rows that follow pass as partial results of one
 * row each, column by column, until it is time to measure again. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define MEASURED_MIN 8192   /* rows from which the measure counts; of one table, or of several that had to be let go because they were full */
#define PASSED (8u << 20)   /* rows that pass before the next measure, when a full table says so: it is filled in vain once in that many */
#define PASSED_TIMES 16     /* when one says so that a barrier let go early: times its rows. More come in an epoch when the machine is not busy elsewhere */

void combiner_open(combiner_t *c, const plan_op_t *p, bool named) {
    c->named = named;
    c->set = agg_set_new(p->aggs, p->naggs, false);
    c->groups = groups_new(agg_set_size(c->set), named);
}

static void clear_groups(combiner_t *c) {
    for (uint32_t i = 0; agg_set_owns(c->set) && i < groups_count(c->groups); i++) {
        int64_t ns;
        slice_t key;
        agg_set_clear(c->set, groups_at(c->groups, i, &ns, &key));
    }
    groups_clear(c->groups);
    c->at = 0;
}

void combiner_close(combiner_t *c) {
    if (c->groups) clear_groups(c);
    groups_free(c->groups);
    agg_set_free(c->set);
    keys_free(&c->keys);
    free(c->accs);
    free(c->blocks);
}

/* The namespace, where there is one, behind the keys. Returns where the partial results begin. */
static int put_ns(const plan_op_t *p, batch_t *b, const int64_t *ns) {
    int at = p->nkeys;
    if (!ns) return at;
    column_init(&b->cols[at], p->schema->fields[at].type, b->mem, b->n);
    memcpy(b->cols[at].i64, ns, sizeof *ns * b->n);
    return at + 1;
}

static void leave(const plan_op_t *p, batch_t *b, int partials_at, out_t *out) {
    for (int at = partials_at; at < p->schema->n; at++) b->cols[at].type = p->schema->fields[at].type;
    out_batch(out, b);
}

static err_t *emit(op_t *op, combiner_t *c, batch_t *b, const int64_t *ns, void **accs, out_t *out) {
    const plan_op_t *p = op->env.op;
    int at = put_ns(p, b, ns);
    err_t *e = agg_set_partial(c->set, accs, b->n, b->mem, b->cols + at);
    if (e) batch_free(b);
    else leave(p, b, at, out);
    return e;
}

static err_t *emit_groups(op_t *op, combiner_t *c, out_t *out) {
    const plan_op_t *p = op->env.op;
    slice_t keys[1024];
    void *accs[1024];
    int64_t ns[1024];
    uint32_t n = MIN(groups_count(c->groups) - c->at, (uint32_t)ARRAY_LEN(accs));
    for (uint32_t i = 0; i < n; i++) accs[i] = groups_at(c->groups, c->at + i, &ns[i], &keys[i]);
    batch_t *b = batch_new(p->schema->n);
    b->n = n;
    ASSERT(keys_decode(keys, n, p->schema, p->nkeys, b->mem, b->cols)); /* encoded here, moments ago */
    c->at += n;
    return emit(op, c, b, c->named ? ns : NULL, accs, out);
}

op_status_t combiner_flush(op_t *op, combiner_t *c, out_t *out, err_t **reterr) {
    while (c->at < groups_count(c->groups)) {
        if (out_full(out)) return OP_MORE;
        if ((*reterr = emit_groups(op, c, out))) return OP_FAIL;
    }
    if (c->flushing || c->rows >= MEASURED_MIN) {
        c->measured_rows += c->rows;
        c->measured_groups += groups_count(c->groups);
    }
    if (c->measured_rows >= MEASURED_MIN) {
        if (c->measured_rows * 2 < c->measured_groups * 3) c->pass = c->flushing ? PASSED : MIN(PASSED_TIMES * c->measured_rows, PASSED);
        c->measured_rows = c->measured_groups = 0;
    }
    c->rows = 0;
    clear_groups(c);
    c->flushing = false;
    return OP_DONE;
}

/* Accumulators for partial results that no column of the input is by itself. */
static err_t *pass_accs(op_t *op, combiner_t *c, const batch_t *b, batch_t *o, const int64_t *ns, out_t *out) {
    size_t size = agg_set_size(c->set);
    if (!c->blocks) c->blocks = xmalloc(MAX(size, (size_t)8) * c->cap);
    memset(c->blocks, 0, size * b->n);
    for (uint32_t i = 0; i < b->n; i++) c->accs[i] = c->blocks + size * i;
    err_t *e = agg_set_update(c->set, b, NULL, b->n, c->accs);
    if (e) batch_free(o);
    else e = emit(op, c, o, ns, c->accs, out);
    for (uint32_t i = 0; i < b->n; i++) agg_set_clear(c->set, c->blocks + size * i);
    return e;
}

/* Each row is a partial result of its own. Its keys are the row's: nothing is encoded. */
static err_t *pass_rows(op_t *op, combiner_t *c, const batch_t *b, const int64_t *ns, out_t *out) {
    const plan_op_t *p = op->env.op;
    batch_t *o = batch_new(p->schema->n);
    o->n = b->n;
    mem_link(o->mem, b->mem);
    for (int i = 0; i < p->nkeys; i++) o->cols[i] = b->cols[p->keys[i]];
    c->pass -= MIN(c->pass, b->n);
    int at = p->nkeys + (ns != NULL);
    if (!agg_set_partial_rows(c->set, b, o->mem, o->cols + at)) return pass_accs(op, c, b, o, ns, out);
    put_ns(p, o, ns);
    leave(p, o, at, out);
    return NULL;
}

op_status_t combiner_rows(op_t *op, combiner_t *c, const batch_t *b, const int64_t *ns, out_t *out, err_t **reterr) {
    const plan_op_t *p = op->env.op;
    if (c->cap < b->n) {
        c->cap = b->n;
        c->accs = xrealloc(c->accs, sizeof *c->accs * c->cap);
        free(c->blocks);
        c->blocks = NULL;
    }
    if (!c->flushing && c->pass) {
        if (out_full(out)) return OP_MORE;
        return (*reterr = pass_rows(op, c, b, ns, out)) ? OP_FAIL : OP_DONE;
    }
    if (!c->flushing) {
        keys_encode(&c->keys, b, p->keys, p->nkeys, NULL, b->n);
        uint32_t before = groups_count(c->groups);
        groups_get_many(c->groups, ns, &c->keys, b->n, c->accs);
        if ((*reterr = agg_set_update(c->set, b, NULL, b->n, c->accs))) return OP_FAIL;
        c->rows += b->n;
        groups_own(c->groups, c->set, 0, before);
        if (!groups_full(c->groups, op->env.state)) return OP_DONE;
        c->flushing = true; /* the batch at hand is in it already */
    }
    return combiner_flush(op, c, out, reterr);
}
