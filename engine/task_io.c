/* task_io.c: the ends of a task: channels from and to other tasks, and sources. */
#include "engine/task_int.h"
#include <stdlib.h>

/* ---------------------------------------------------------------- exchanges */
bool node_receive(node_t *n, int *ret_input, item_t *ret, err_t **reterr) {
    for (int k = 0; k < n->nchannels; k++) {
        int i = (n->next_input + k) % n->nchannels;
        if (align_blocked(n->align, i)) continue;
        element_t e = {0};
        if (!n->ins[i]->receive(n->ins[i], &e)) continue;
        n->next_input = (i + 1) % n->nchannels;
        *ret = (item_t){.e = e, .split = -1};
        *ret_input = i;
        if (e.kind == ELEMENT_BATCH) {
            n->rows[i] += e.batch->n;
            n->rows_since += e.batch->n;
        } else if (e.kind == ELEMENT_BARRIER) {
            uint64_t rows = n->rows[i];
            n->rows[i] = 0;
            if (rows != e.rows) {
                *reterr = err_new(ERR_IO, "edge %d, producer %d: %" PRIu64 " rows came before the barrier of epoch %" PRIu64
                                  ", %" PRIu64 " were sent: rows were lost or doubled on the way", n->op->edge, i, rows, e.epoch, e.rows);
                return false;
            }
        }
        return true;
    }
    return false;
}

static void send_to(node_t *n, int target, batch_t *b) {
    n->rows[target] += b->n;
    n->outs[target]->send(n->outs[target], (element_t){.kind = ELEMENT_BATCH, .batch = b});
}

static err_t *send_out(node_t *n, const batch_t *b) {
    n->idle = false;
    int targets = n->nchannels;
    n->t->stats.rows_out += b->n;
    switch (n->op->exchange) {
    case EXCHANGE_FORWARD:
        /* a channel exists for every consumer; only the own one carries rows */
        send_to(n, targets == 1 ? 0 : n->t->env.subtask, batch_share(b));
        return NULL;
    case EXCHANGE_REBALANCE:
        send_to(n, (int)(n->rebalance++ % (uint32_t)targets), batch_share(b));
        return NULL;
    case EXCHANGE_BROADCAST:
        for (int i = 0; i < targets; i++) send_to(n, i, batch_share(b));
        return NULL;
    case EXCHANGE_HASH:
        if (targets == 1 || n->op->nhash == 0) {
            send_to(n, 0, batch_share(b));
            return NULL;
        }
        partitioner_run(n->part, b);
        for (int i = 0; i < targets; i++) {
            uint32_t rows;
            const uint32_t *sel = partitioner_target(n->part, i, &rows);
            if (rows == b->n) send_to(n, i, batch_share(b));
            else if (rows) send_to(n, i, batch_gather(b, sel, rows));
        }
        return NULL;
    }
    return err_new(ERR_INTERNAL, "unknown kind of exchange");
}

/* Where the consumer is slow a batch lies in its queue for long, and counts there as its own bytes. Of an exchange by hash each target's part links the
 * whole batch: together they keep what this keeps. */
err_t *node_exchange_out(node_t *n, const batch_t *b) {
    if (LIKELY(!batch_pins(b))) return send_out(n, b);
    batch_t *few = batch_copy(b);
    err_t *e = send_out(n, few);
    batch_free(few);
    return e;
}

/* ---------------------------------------------------------------- sources */
bool source_ready(const node_t *n) {
    if (n->ninjected) return true;
    if (n->final || n->ended || n->wait || task_held(n->t)) return false;
    return !node_full(n);
}

/* Tells the watermark operator which splits have ended, in-band: behind their last rows. */
void source_announce_ended(node_t *n) {
    const split_list_t *l = &n->source.splits;
    if (l->n > n->nsplit_ended) {
        n->split_ended = xrealloc(n->split_ended, sizeof(bool) * (size_t)l->n);
        for (int i = n->nsplit_ended; i < l->n; i++) n->split_ended[i] = false;
        n->nsplit_ended = l->n;
    }
    for (int i = 0; i < l->n; i++) {
        if (!l->items[i].ended || n->split_ended[i]) continue;
        n->split_ended[i] = true;
        node_emit(n, (item_t){.e = {.kind = ELEMENT_SPLIT_END}, .split = i});
    }
}

static void source_end(node_t *n) {
    node_send_watermark(n, WATERMARK_END);
    node_send_end(n);
}

static err_t *values_poll(node_t *n) {
    batch_t *b = NULL;
    TRY(values_next(&n->inst, &b));
    if (!b) {
        source_end(n);
        return NULL;
    }
    n->rows_since += b->n;
    n->t->stats.rows_in += b->n;
    node_emit(n, (item_t){.e = {.kind = ELEMENT_BATCH, .batch = b}, .split = -1});
    return NULL;
}

static err_t *source_poll(node_t *n) {
    source_t *s = &n->source;
    batch_t *b = NULL;
    int split = -1;
    err_t *e = NULL;
    src_status_t st = s->vt->poll(s, &b, &split, &e);
    if (st == SRC_FAIL) {
        batch_free(b);
        return err_wrap(e, "source %s", n->op->table->name);
    }
    if (b && b->n) {
        n->idle = false;
        n->rows_since += b->n;
        n->t->stats.rows_in += b->n;
        node_emit(n, (item_t){.e = {.kind = ELEMENT_BATCH, .batch = b}, .split = split});
    } else {
        batch_free(b);
    }
    source_announce_ended(n);
    if (st == SRC_WAIT) n->wait = true;
    if (st == SRC_ENDED) source_end(n);
    return NULL;
}

err_t *source_run(node_t *n) {
    if (n->ninjected) {
        barrier_t b = n->injected[0];
        memmove(n->injected, n->injected + 1, sizeof *n->injected * (size_t)--n->ninjected);
        if (b.flags & BARRIER_FINAL) n->final = true;
        return node_send_barrier(n, b);
    }
    return n->op->kind == OP_VALUES ? values_poll(n) : source_poll(n);
}
