/* values.c: constant rows, emitted once by subtask 0. How many were emitted is kept in every epoch. */
#include "engine/op/op_int.h"

typedef struct values {
    uint64_t emitted;
} values_t;

static err_t *values_restore(op_t *op, slice_t bytes) {
    values_t *v = op->self;
    reader_t r = reader_of(bytes);
    uint64_t n = read_varint(&r);
    if (r.bad || n > (uint64_t)op->env.op->nrows) return err_new(ERR_CORRUPT, "the position of constant rows is malformed");
    v->emitted = MAX(v->emitted, n);
    return NULL;
}

static err_t *values_seal(op_t *op, epoch_t epoch, buf_t *bytes) {
    values_t *v = op->self;
    if (v->emitted) buf_put_varint(bytes, v->emitted);
    return NULL;
}

err_t *values_next(op_t *op, batch_t **ret) {
    values_t *v = op->self;
    const plan_op_t *p = op->env.op;
    *ret = NULL;
    uint32_t n = (uint32_t)MIN((uint64_t)p->nrows - v->emitted, (uint64_t)BATCH_ROWS_MAX);
    if (op->env.subtask != 0 || n == 0) return NULL;
    /* One column at a time through a one-row program would cost a program per value: build by constants. */
    batch_t *b = batch_new(p->schema->n);
    b->n = n;
    for (int c = 0; c < p->schema->n; c++) {
        colbuilder_t *cb = colbuilder_new(p->schema->fields[c].type, b->mem);
        batch_t *one = batch_new(0);
        one->n = 1;
        for (uint32_t i = 0; i < n; i++) {
            expr_t *e = p->rows[v->emitted + i][c];
            expr_prog_t *prog = NULL;
            column_t col = {0};
            err_t *err = expr_compile(&e, 1, &prog);
            if (!err) err = expr_eval(prog, op->env.eval, one, NULL, 1, one->mem, &col);
            expr_prog_free(prog);
            if (err) {
                colbuilder_free(cb);
                batch_free(one);
                batch_free(b);
                return err_wrap(err, "VALUES row %" PRIu64, v->emitted + i + 1);
            }
            if (column_null(&col, 0)) colbuilder_null(cb);
            else colbuilder_row(cb, &col, 0);
        }
        colbuilder_finish(cb, &b->cols[c]);
        colbuilder_free(cb);
        batch_free(one);
    }
    v->emitted += n;
    *ret = b;
    return NULL;
}

const op_vtable_t op_values = {
    .name = "VALUES",
    .state_size = sizeof(values_t),
    .restore = values_restore,
    .seal = values_seal,
};
