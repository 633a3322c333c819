/* sink_op.c: a sink as an operator. Row kinds a sink does not take are refused when the plan is made; here they only
 * pass. The sink says OP_MORE when it cannot take more now: the task calls again with the same batch. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct sink_op {
    sink_t sink;
    bool opened;
    uint64_t rows_sealed;
} sink_op_t;

err_t *sink_op_bind(op_t *op, const sink_vtable_t *vt) {
    sink_op_t *s = op->self;
    s->sink.vt = vt;
    s->sink.env = op->env;
    s->sink.self = xcalloc(1, MAX(vt->state_size, (size_t)1));
    return NULL;
}

static err_t *sink_op_open(op_t *op) {
    sink_op_t *s = op->self;
    s->opened = true;
    return s->sink.vt->open ? s->sink.vt->open(&s->sink) : NULL;
}

static err_t *sink_op_restore(op_t *op, slice_t bytes) {
    sink_op_t *s = op->self;
    return s->sink.vt->restore ? s->sink.vt->restore(&s->sink, bytes) : NULL;
}

static err_t *sink_op_start(op_t *op) {
    sink_op_t *s = op->self;
    return s->sink.vt->start ? s->sink.vt->start(&s->sink) : NULL;
}

static op_status_t sink_op_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    sink_op_t *s = op->self;
    op_status_t st = s->sink.vt->write(&s->sink, b, reterr);
    if (st == OP_DONE) s->sink.rows_in += b->n;
    return st;
}

static op_status_t sink_op_end(op_t *op, out_t *out, err_t **reterr) {
    sink_op_t *s = op->self;
    *reterr = s->sink.vt->end ? s->sink.vt->end(&s->sink) : NULL;
    return *reterr ? OP_FAIL : OP_DONE;
}

op_status_t sink_op_seal(op_t *op, epoch_t epoch, buf_t *bytes, buf_t *segment, uint64_t *ret_rows, err_t **reterr) {
    sink_op_t *s = op->self;
    op_status_t st = s->sink.vt->seal ? s->sink.vt->seal(&s->sink, epoch, bytes, segment, reterr) : OP_DONE;
    if (st == OP_DONE) {
        *ret_rows = s->sink.rows_in - s->rows_sealed;
        s->rows_sealed = s->sink.rows_in;
    }
    return st;
}

const char *sink_op_waits_for(const op_t *op) {
    const sink_op_t *s = op->self;
    return s && s->sink.waits_for[0] ? s->sink.waits_for : NULL;
}

err_t *sink_op_complete(op_t *op, epoch_t epoch) {
    sink_op_t *s = op->self;
    return s->sink.vt->complete ? s->sink.vt->complete(&s->sink, epoch) : NULL;
}

static void sink_op_close(op_t *op) {
    sink_op_t *s = op->self;
    if (s->opened && s->sink.vt->close) s->sink.vt->close(&s->sink);
    free(s->sink.self);
}

const op_vtable_t op_sink = {
    .name = "SINK",
    .state_size = sizeof(sink_op_t),
    .open = sink_op_open,
    .restore = sink_op_restore,
    .start = sink_op_start,
    .process = sink_op_process,
    .end = sink_op_end,
    .close = sink_op_close,
};
