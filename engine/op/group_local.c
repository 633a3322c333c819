/* group_local.c: the combiner before the exchange of an unbounded aggregate: partial results per key, let go when the
 * table is full, before a watermark or barrier leaves, and when the input is idle. Its input only appends. */
#include "engine/op/op_int.h"

static err_t *group_local_open(op_t *op) {
    const plan_op_t *p = op->env.op;
    if (op->env.stage->ops[p->inputs[0]]->retracts) return err_new(ERR_INTERNAL, "a combiner cannot take back rows");
    combiner_open(op->self, p, false);
    return NULL;
}

static op_status_t group_local_flush(op_t *op, out_t *out, err_t **reterr) { return combiner_flush(op, op->self, out, reterr); }

static op_status_t group_local_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    return combiner_rows(op, op->self, b, NULL, out, reterr);
}

static void group_local_close(op_t *op) { combiner_close(op->self); }

const op_vtable_t op_group_local = {
    .name = "GROUP_LOCAL",
    .state_size = sizeof(combiner_t),
    .open = group_local_open,
    .process = group_local_process,
    .flush = group_local_flush,
    .close = group_local_close,
};
