/* calc.c: filter, then projection. A batch whose rows all pass keeps its columns: a projection that is only a column
 * shares it. Row kinds follow their rows. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct calc {
    expr_prog_t *filter, *projection;
    int nexprs;     /* projections that are computed, .. */
    int *expr_to;   /* .. and the output column of each */
    int *column_of; /* per output column: the input column it copies, -1 computed */
    uint32_t *sel;
    uint32_t cap;
} calc_t;

static err_t *calc_open(op_t *op) {
    calc_t *c = op->self;
    const plan_op_t *p = op->env.op;
    int n = p->schema->n;
    if (p->filter) {
        expr_t *f = (expr_t *)p->filter;
        TRY(expr_compile(&f, 1, &c->filter));
    }
    c->column_of = xcalloc((size_t)n + 1, sizeof *c->column_of);
    c->expr_to = xcalloc((size_t)n + 1, sizeof *c->expr_to);
    expr_t **exprs = xcalloc((size_t)n + 1, sizeof *exprs);
    for (int i = 0; i < n; i++) {
        expr_t *e = p->projection[i];
        c->column_of[i] = e->kind == EXPR_COLUMN ? e->column : -1;
        if (e->kind == EXPR_COLUMN) continue;
        c->expr_to[c->nexprs] = i;
        exprs[c->nexprs++] = e;
    }
    err_t *e = c->nexprs ? expr_compile(exprs, c->nexprs, &c->projection) : NULL;
    free(exprs);
    return e;
}

static err_t *calc_project(op_t *op, const batch_t *in, const uint32_t *sel, uint32_t n, batch_t *out) {
    calc_t *c = op->self;
    for (int i = 0; i < out->ncols; i++) {
        if (c->column_of[i] < 0) continue;
        const column_t *src = &in->cols[c->column_of[i]];
        if (sel) column_gather(&out->cols[i], src, sel, n, out->mem);
        else out->cols[i] = *src;
    }
    if (!c->nexprs) return NULL;
    column_t *computed = mem_zalloc(out->mem, sizeof *computed * (size_t)c->nexprs);
    TRY(expr_eval(c->projection, op->env.eval, in, sel, n, out->mem, computed));
    for (int i = 0; i < c->nexprs; i++) out->cols[c->expr_to[i]] = computed[i];
    return NULL;
}

static op_status_t calc_process(op_t *op, int input, const batch_t *in, out_t *out, err_t **reterr) {
    calc_t *c = op->self;
    batch_t *b = batch_new(op->env.op->schema->n);
    mem_link(b->mem, in->mem);
    const uint32_t *sel = NULL;
    b->n = in->n;
    if (c->filter) {
        if (c->cap < in->n) {
            c->cap = in->n;
            c->sel = xrealloc(c->sel, sizeof *c->sel * c->cap);
        }
        if ((*reterr = expr_filter(c->filter, op->env.eval, in, b->mem, c->sel, &b->n))) goto fail;
        if (b->n == 0) {
            batch_free(b);
            return OP_DONE;
        }
        if (b->n < in->n) sel = c->sel;
    }
    if ((*reterr = calc_project(op, in, sel, b->n, b))) goto fail;
    if (in->kinds && sel) {
        b->kinds = mem_alloc(b->mem, b->n);
        for (uint32_t i = 0; i < b->n; i++) b->kinds[i] = in->kinds[sel[i]];
    } else {
        b->kinds = in->kinds;
    }
    out_batch(out, b);
    return OP_DONE;
fail:
    batch_free(b);
    return OP_FAIL;
}

static void calc_close(op_t *op) {
    calc_t *c = op->self;
    expr_prog_free(c->filter);
    expr_prog_free(c->projection);
    free(c->column_of);
    free(c->expr_to);
    free(c->sel);
}

const op_vtable_t op_calc = {
    .name = "CALC",
    .state_size = sizeof(calc_t),
    .open = calc_open,
    .process = calc_process,
    .close = calc_close,
};
