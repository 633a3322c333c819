/* task_seal.c: what a task hands over at a barrier, gathered node by node while the barrier passes through. */
#include "engine/task_int.h"
#include <stdlib.h>

pending_seal_t *seal_of(task_t *t, epoch_t epoch, uint32_t flags) {
    for (int i = 0; i < t->npending; i++)
        if (t->pending[i].seal->epoch == epoch) return &t->pending[i];
    ASSERT(t->npending == 0 || t->pending[t->npending - 1].seal->epoch < epoch);
    task_seal_t *s = xcalloc(1, sizeof *s);
    s->epoch = epoch;
    s->flags = flags;
    s->stage = t->stage->id;
    s->subtask = t->env.subtask;
    s->watermark = WATERMARK_END;
    s->ended = true;
    t->pending = xrealloc(t->pending, sizeof *t->pending * (size_t)(t->npending + 1));
    t->pending[t->npending] = (pending_seal_t){s, t->nnodes};
    return &t->pending[t->npending++];
}

static buf_t *add_state(task_seal_t *s, const node_t *n, int slot) {
    s->states = xrealloc(s->states, sizeof *s->states * (size_t)(s->nstates + 1));
    s->states[s->nstates] = (state_seal_t){n->op->id, n->op->fingerprint, slot, buf_make(BUF_MAX_DEFAULT)};
    return &s->states[s->nstates++].bytes;
}

static void drop_empty_state(task_seal_t *s) {
    if (s->states[s->nstates - 1].bytes.len) return;
    buf_free(&s->states[--s->nstates].bytes);
}

static void add_sink(task_seal_t *s, const node_t *n, const plan_op_t *op, uint64_t rows, buf_t segment) {
    s->sinks = xrealloc(s->sinks, sizeof *s->sinks * (size_t)(s->nsinks + 1));
    s->sinks[s->nsinks++] = (sink_seal_t){op->id, op->fingerprint, n->t->env.subtask, rows, segment};
    if (n->t->env.state) kstate_env_output(n->t->env.state, (int64_t)segment.len); /* until the lane has published it */
}

/* Now, with the positions: what the source reads from here on belongs to the next epoch. */
static err_t *seal_dead_letters(node_t *n, task_seal_t *s) {
    if (!n->op->dead_letters || !n->source.vt->seal) return NULL;
    buf_t segment = buf_make(BUF_MAX_DEFAULT);
    uint64_t rows = 0;
    n->source.vt->seal(&n->source, s->epoch, &segment, &rows);
    if (segment.overflow) {
        buf_free(&segment);
        return err_new(ERR_LIMIT, "the dead letters of one epoch are larger than %zu bytes", BUF_MAX_DEFAULT);
    }
    if (segment.len) add_sink(s, n, n->op->dead_letters, rows, segment);
    else buf_free(&segment);
    s->rows_since += rows;
    return NULL;
}

static void seal_source(node_t *n, task_seal_t *s) {
    s->sources = xrealloc(s->sources, sizeof *s->sources * (size_t)(s->nsources + 1));
    source_seal_t *x = &s->sources[s->nsources++];
    *x = (source_seal_t){n->op->id, n->op->fingerprint, {0}};
    for (int i = 0; i < n->source.splits.n; i++) split_list_add(&x->splits, &n->source.splits.items[i]);
    if (!n->source.vt->complete) return;
    n->sealed = xrealloc(n->sealed, sizeof *n->sealed * (size_t)(n->nsealed + 1));
    sealed_splits_t *k = &n->sealed[n->nsealed++];
    *k = (sealed_splits_t){s->epoch, {0}};
    for (int i = 0; i < x->splits.n; i++) split_list_add(&k->splits, &x->splits.items[i]);
}

/* The barrier has come through the rows of the splits: their event time as of the barrier is known now. */
static void seal_watermark(node_t *n, task_seal_t *s) {
    s->watermark = MIN(s->watermark, watermark_op_current(&n->inst));
    for (int i = 0; i < s->nsources; i++)
        if (n->t->nodes[s->sources[i].op].watermark_node == n) watermark_op_seal(&n->inst, &s->sources[i].splits);
}

static op_status_t seal_sink(node_t *n, task_seal_t *s, err_t **reterr) {
    buf_t bytes = buf_make(BUF_MAX_DEFAULT), segment = buf_make(BUF_MAX_DEFAULT);
    uint64_t rows = 0;
    op_status_t st = sink_op_seal(&n->inst, s->epoch, &bytes, &segment, &rows, reterr);
    if (st == OP_DONE && (bytes.overflow || segment.overflow)) {
        *reterr = err_new(ERR_LIMIT, "the output of one epoch is larger than %zu bytes", BUF_MAX_DEFAULT);
        st = OP_FAIL;
    }
    if (st == OP_DONE && bytes.len) {
        *add_state(s, n, -1) = bytes;
        bytes = buf_make(0);
    }
    if (st == OP_DONE && segment.len) {
        add_sink(s, n, n->op, rows, segment);
        segment = buf_make(0);
    }
    buf_free(&bytes);
    buf_free(&segment);
    return st;
}

static err_t *seal_op(node_t *n, task_seal_t *s) {
    const op_vtable_t *vt = n->inst.vt;
    if (vt->seal) {
        TRY(vt->seal(&n->inst, s->epoch, add_state(s, n, -1)));
        drop_empty_state(s);
    }
    kstate_t *ks;
    for (int i = 0; vt->state && (ks = vt->state(&n->inst, i)); i++) {
        buf_t *b = add_state(s, n, kstate_slot(ks));
        kstate_seal(ks, s->epoch, b);
        if (b->overflow) return err_new(ERR_LIMIT, "the changed state of one epoch is larger than %zu bytes", BUF_MAX_DEFAULT);
        drop_empty_state(s);
    }
    return NULL;
}

static int by_source(const void *a, const void *b) { return ((const source_seal_t *)a)->op - ((const source_seal_t *)b)->op; }
static int by_state(const void *a, const void *b) {
    const state_seal_t *x = a, *y = b;
    return x->op != y->op ? x->op - y->op : x->slot - y->slot;
}
static int by_sink(const void *a, const void *b) { return ((const sink_seal_t *)a)->op - ((const sink_seal_t *)b)->op; }

/* The last node is done: nodes may have come in any order, the seal is in operator order. */
static void seal_finish(task_t *t) {
    task_seal_t *s = t->pending[0].seal;
    memmove(t->pending, t->pending + 1, sizeof *t->pending * (size_t)--t->npending);
    if (s->nsources) qsort(s->sources, (size_t)s->nsources, sizeof *s->sources, by_source);
    if (s->nstates) qsort(s->states, (size_t)s->nstates, sizeof *s->states, by_state);
    if (s->nsinks) qsort(s->sinks, (size_t)s->nsinks, sizeof *s->sinks, by_sink);
    t->env.sealed(t->env.arg, s);
}

/* One node fewer to wait for. Nodes pass barriers in order and sinks settle in order, so the oldest epoch is complete first. */
static void node_passed(task_t *t, pending_seal_t *p) {
    if (--p->nodes_left > 0) return;
    ASSERT(p == t->pending);
    seal_finish(t);
}

err_t *task_settle(task_t *t) {
    err_t *e = NULL;
    for (int i = 0; i < t->nnodes && t->npending; i++) {
        node_t *n = &t->nodes[i];
        while (n->nunsettled) {
            op_status_t st = sink_op_settle(&n->inst, n->unsettled[0], &e);
            if (st == OP_FAIL) return node_failed(n, e);
            if (st == OP_MORE) break;
            node_passed(t, seal_of(t, n->unsettled[0], 0));
            memmove(n->unsettled, n->unsettled + 1, sizeof *n->unsettled * (size_t)--n->nunsettled);
        }
    }
    return NULL;
}

/* The sink has sealed; its rows may still be on their way. *ret_settled: they are not. */
static op_status_t settle_later(node_t *n, epoch_t epoch, bool *ret_settled, err_t **reterr) {
    op_status_t st = n->nunsettled ? OP_MORE : sink_op_settle(&n->inst, epoch, reterr);
    *ret_settled = st == OP_DONE;
    if (st != OP_MORE) return st;
    n->unsettled = xrealloc(n->unsettled, sizeof *n->unsettled * (size_t)(n->nunsettled + 1));
    n->unsettled[n->nunsettled++] = epoch;
    return OP_DONE;
}

op_status_t node_seal(node_t *n, err_t **reterr) {
    task_t *t = n->t;
    pending_seal_t *p = seal_of(t, n->barrier.epoch, n->barrier.flags);
    task_seal_t *s = p->seal;
    op_status_t st = OP_DONE;
    bool passed = true;
    switch (n->op->kind) {
    case OP_SOURCE:
        seal_source(n, s);
        if ((*reterr = seal_dead_letters(n, s))) return OP_FAIL;
        s->rows_since += n->rows_since;
        n->rows_since = 0;
        if (!n->watermark_node) s->watermark = MIN(s->watermark, n->out_watermark);
        break;
    case OP_EXCHANGE_IN:
        s->rows_since += n->rows_since;
        n->rows_since = 0;
        s->watermark = MIN(s->watermark, align_watermark(n->align));
        break;
    case OP_WATERMARK: seal_watermark(n, s); break;
    case OP_EXCHANGE_OUT: break;
    case OP_SINK:
        st = seal_sink(n, s, reterr);
        if (st == OP_DONE) st = settle_later(n, s->epoch, &passed, reterr);
        break;
    default:
        if (n->op->kind == OP_VALUES) {
            s->rows_since += n->rows_since;
            n->rows_since = 0;
        }
        if ((*reterr = seal_op(n, s))) st = OP_FAIL;
        break;
    }
    if (st != OP_DONE) return st;
    s->ended &= n->ended;
    if (passed) node_passed(t, p);
    return OP_DONE;
}
