/* task_node.c: one node of a task: takes the next element of its inputs, works it off by its work bits, emits. */
#include "engine/task_int.h"
#include <stdlib.h>

/* ---------------------------------------------------------------- queues */
void queue_push(queue_t *q, item_t it) {
    if (q->n == q->cap) {
        uint32_t cap = q->cap ? q->cap * 2 : 8;
        item_t *items = xmalloc(sizeof *items * cap);
        for (uint32_t i = 0; i < q->n; i++) items[i] = q->items[(q->head + i) % q->cap];
        free(q->items);
        q->items = items;
        q->cap = cap;
        q->head = 0;
    }
    q->items[(q->head + q->n++) % q->cap] = it;
    if (it.e.batch) q->batches++;
}

item_t queue_pop(queue_t *q) {
    ASSERT(q->n > 0);
    item_t it = q->items[q->head];
    q->head = (q->head + 1) % q->cap;
    q->n--;
    if (it.e.batch) q->batches--;
    return it;
}

void queue_free(queue_t *q) {
    while (q->n) {
        item_t it = queue_pop(q);
        batch_free(it.e.batch);
    }
    free(q->items);
    *q = (queue_t){0};
}

/* ---------------------------------------------------------------- output */
bool node_full(const node_t *n) {
    for (int i = 0; i < n->nlinks; i++)
        if (n->links[i].to->inputs[n->links[i].input].batches >= QUEUE_BATCHES) return true;
    if (n->op->kind == OP_EXCHANGE_OUT)
        for (int i = 0; i < n->nchannels; i++)
            if (n->outs[i]->full(n->outs[i])) return true;
    return false;
}

bool out_full(const out_t *o) { return node_full(o->node); }

void node_emit(node_t *n, item_t it) {
    for (int i = 0; i < n->nlinks; i++) {
        item_t copy = it;
        if (it.e.kind == ELEMENT_BATCH && n->links[i].to->op->dead_letter) { /* only barriers are for it */
            if (i + 1 == n->nlinks) batch_free(it.e.batch);
            continue;
        }
        if (it.e.batch && i + 1 < n->nlinks) copy.e.batch = batch_share(it.e.batch);
        queue_push(&n->links[i].to->inputs[n->links[i].input], copy);
    }
    if (n->nlinks == 0) batch_free(it.e.batch);
}

void out_batch(out_t *o, batch_t *b) {
    node_t *n = o->node;
    if (b->n == 0) {
        batch_free(b);
        return;
    }
    n->inst.rows_out += b->n;
    n->idle = false;
    node_emit(n, (item_t){.e = {.kind = ELEMENT_BATCH, .batch = b}, .split = n->cur.split});
}

void out_watermark(out_t *o, int64_t wm_ms) { node_send_watermark(o->node, wm_ms); }
void out_idle(out_t *o) { node_send_idle(o->node); }

static void send_channels(node_t *n, element_t e) {
    for (int i = 0; i < n->nchannels; i++) n->outs[i]->send(n->outs[i], e);
}

void node_send_watermark(node_t *n, int64_t wm) {
    if (wm <= n->out_watermark && !n->idle) return;
    n->idle = false;
    n->out_watermark = MAX(wm, n->out_watermark);
    element_t e = {.kind = ELEMENT_WATERMARK, .watermark = n->out_watermark};
    if (n->op->kind == OP_EXCHANGE_OUT) send_channels(n, e);
    else node_emit(n, (item_t){.e = e, .split = -1});
}

void node_send_idle(node_t *n) {
    if (n->idle) return;
    n->idle = true;
    element_t e = {.kind = ELEMENT_IDLE};
    if (n->op->kind == OP_EXCHANGE_OUT) send_channels(n, e);
    else node_emit(n, (item_t){.e = e, .split = -1});
}

void node_send_end(node_t *n) {
    element_t e = {.kind = ELEMENT_END};
    if (n->op->kind == OP_EXCHANGE_OUT) send_channels(n, e);
    else node_emit(n, (item_t){.e = e, .split = -1});
    n->ended = true;
}

static void send_barrier(node_t *n) {
    element_t e = {.kind = ELEMENT_BARRIER, .epoch = n->barrier.epoch, .flags = n->barrier.flags};
    if (n->op->kind != OP_EXCHANGE_OUT) {
        node_emit(n, (item_t){.e = e, .split = -1});
        return;
    }
    for (int i = 0; i < n->nchannels; i++) {
        e.rows = n->rows[i];
        n->rows[i] = 0;
        n->outs[i]->send(n->outs[i], e);
    }
}

err_t *node_send_barrier(node_t *n, barrier_t b) {
    n->barrier = b;
    err_t *e = NULL;
    op_status_t st = node_seal(n, &e);
    ASSERT(st != OP_MORE); /* heads seal at once */
    if (st == OP_FAIL) return e;
    send_barrier(n);
    return NULL;
}

/* ---------------------------------------------------------------- input */
bool node_has_input(node_t *n) {
    for (int i = 0; i < n->ninputs; i++)
        if (n->inputs[i].n && !align_blocked(n->align, i)) return true;
    return false;
}

static bool node_next(node_t *n, int *ret_input, item_t *ret, err_t **reterr) {
    if (n->op->kind == OP_EXCHANGE_IN) return node_receive(n, ret_input, ret, reterr);
    for (int k = 0; k < n->ninputs; k++) {
        int i = (n->next_input + k) % n->ninputs;
        if (!n->inputs[i].n || align_blocked(n->align, i)) continue;
        n->next_input = (i + 1) % n->ninputs;
        *ret = queue_pop(&n->inputs[i]);
        *ret_input = i;
        return true;
    }
    return false;
}

static bool holds_watermark(const node_t *n) { return n->inst.vt && n->inst.vt->holds_watermark; }
static void want_watermark(node_t *n) { n->todo |= WORK_FLUSH | WORK_WATERMARK | WORK_SEND_WATERMARK; }

/* Turns the element taken from an input into work bits. */
static err_t *node_accept(node_t *n, int input, item_t it) {
    n->cur = it;
    n->cur_input = input;
    bool advanced = false, due = false;
    switch (it.e.kind) {
    case ELEMENT_BATCH:
        align_active_in(n->align, input); /* one more active input: the minimum cannot grow */
        n->inst.rows_in += it.e.batch->n;
        n->todo |= WORK_PROCESS;
        break;
    case ELEMENT_WATERMARK: advanced = align_watermark_in(n->align, input, it.e.watermark); break;
    case ELEMENT_IDLE:
        advanced = align_idle_in(n->align, input);
        if (align_all_idle(n->align)) n->todo |= WORK_FLUSH | WORK_SEND_IDLE;
        break;
    case ELEMENT_END:
        advanced = align_end_in(n->align, input);
        if (align_all_ended(n->align) && !n->ended) {
            want_watermark(n);
            n->todo |= WORK_END | WORK_SEND_END;
        } else if (align_all_idle(n->align)) {
            n->todo |= WORK_FLUSH | WORK_SEND_IDLE;
        }
        break;
    case ELEMENT_BARRIER: {
        uint32_t flags = 0;
        TRY(align_barrier_in(n->align, input, it.e.epoch, it.e.flags, &due, &flags));
        if (due) {
            n->barrier = (barrier_t){it.e.epoch, flags};
            n->todo |= WORK_FLUSH | WORK_SEAL | WORK_SEND_BARRIER;
        }
        break;
    }
    default: /* ELEMENT_SPLIT_END */
        if (n->op->kind == OP_WATERMARK) watermark_op_split_end(&n->inst, it.split, &n->out);
        else if (n->op->kind == OP_CALC) node_emit(n, it);
        break;
    }
    if (advanced) want_watermark(n);
    /* Time is held again: consumers must wait for this node although it has no rows for them yet. */
    else if (n->idle && !align_all_idle(n->align) && !holds_watermark(n)) node_send_watermark(n, n->out_watermark);
    return NULL;
}

/* ---------------------------------------------------------------- work */
static op_status_t todo_process(node_t *n, err_t **e) {
    const batch_t *b = n->cur.e.batch;
    if (n->op->kind == OP_EXCHANGE_OUT) return (*e = node_exchange_out(n, b)) ? OP_FAIL : OP_DONE;
    if (n->op->kind == OP_EXCHANGE_IN) {
        out_batch(&n->out, batch_share(b));
        return OP_DONE;
    }
    n->dirty = true;
    return n->inst.vt->process(&n->inst, n->cur_input, b, &n->out, e);
}

static op_status_t todo_call(node_t *n, uint32_t bit, err_t **e) {
    const op_vtable_t *vt = n->inst.vt;
    op_status_t st = OP_DONE;
    switch (bit) {
    case WORK_TICK: return vt && vt->tick ? vt->tick(&n->inst, n->t->now, &n->out, e) : OP_DONE;
    case WORK_PROCESS:
        st = todo_process(n, e);
        if (st == OP_DONE) {
            batch_free(n->cur.e.batch);
            n->cur.e.batch = NULL;
        }
        return st;
    case WORK_FLUSH:
        st = vt && vt->flush ? vt->flush(&n->inst, &n->out, e) : OP_DONE;
        if (st == OP_DONE) n->dirty = false;
        return st;
    case WORK_WATERMARK:
        n->watermark = align_watermark(n->align);
        n->t->eval.watermark_ms = n->watermark;
        return vt && vt->watermark ? vt->watermark(&n->inst, n->watermark, &n->out, e) : OP_DONE;
    case WORK_SEND_WATERMARK:
        if (!holds_watermark(n)) node_send_watermark(n, n->watermark);
        return OP_DONE;
    case WORK_SEND_IDLE: node_send_idle(n); return OP_DONE;
    case WORK_END: return vt && vt->end ? vt->end(&n->inst, &n->out, e) : OP_DONE;
    case WORK_SEND_END: node_send_end(n); return OP_DONE;
    case WORK_SEAL: return node_seal(n, e);
    case WORK_SEND_BARRIER: send_barrier(n); return OP_DONE;
    }
    UNREACHABLE();
}

err_t *node_failed(const node_t *n, err_t *e) {
    return err_wrap(e, "%s%s%s", op_kind_name(n->op->kind), n->op->label && *n->op->label ? " " : "", n->op->label ? n->op->label : "");
}

err_t *node_run(node_t *n) {
    err_t *e = NULL;
    n->worked = true;
    if (!n->todo) {
        item_t it;
        int input;
        if (!node_next(n, &input, &it, &e)) {
            n->worked = false;
            return e ? node_failed(n, e) : NULL;
        }
        if ((e = node_accept(n, input, it))) {
            batch_free(TAKE(n->cur.e.batch));
            return node_failed(n, e);
        }
    }
    n->t->eval.watermark_ms = n->watermark;
    while (n->todo) {
        uint32_t bit = n->todo & -n->todo;
        op_status_t st = todo_call(n, bit, &e);
        if (st == OP_FAIL) return node_failed(n, e);
        if (st == OP_MORE) {
            /* The output is full, or the sink waits for the outside: then the next step tries again. */
            if (!node_full(n) && n->op->kind == OP_SINK) n->wait = true;
            return NULL;
        }
        n->todo &= ~bit;
    }
    n->cur.split = -1;
    return NULL;
}
