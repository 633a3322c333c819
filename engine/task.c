/* task.c: one subtask of a stage, stepped.
 *
 * Invariants
 *  1. Nodes are joined by FIFO queues of elements, one per (consumer, input). A batch is shared, never copied.
 *  2. A node runs only if it has an element of an unblocked input (or work left of the last one) and its outputs are
 *     not full. The most downstream such node runs first; sources are polled only when no other node can run, so at
 *     most QUEUE_BATCHES batches wait in any queue.
 *  3. An element is worked off by the node's work bits in their fixed order; a bit is cleared by OP_DONE only. The next
 *     element is taken when all are clear: a barrier can only be taken at OP_DONE.
 *  4. Before a watermark, a barrier or idleness leaves a node its `flush` has returned OP_DONE: nothing is held back
 *     over them (hazards A19).
 *  5. A barrier carries the rows sent on its channel since the one before; a consumer that counted otherwise fails the
 *     task (hazards A6).
 *  6. Watermarks a node sends never decrease; every node starts at the watermark restored for the stage (A9).
 *  7. After BARRIER_FINAL a source emits nothing more: no rows, no watermark, no end (A7).
 *  8. A source that has ended, and so a task that has, keeps answering barriers (A20). The end of input is:
 *     the watermark becomes WATERMARK_END, then `end`, then ELEMENT_END downstream.
 *  9. A seal is complete when the barrier has passed every node and every sink has settled: all it wrote before the barrier is durable outside
 *     (A15). Rows and later barriers pass a sink that has not. Seals are handed over in epoch order.
 * 10. Whatever depends on time reads env.now_ms once per step. Nothing depends on addresses, on hash-table order of
 *     pointers or on another clock: equal elements in equal order give equal output, which the simulator checks.
 *
 * Who takes what: queues own their batches; a node owns the element it works on; out_batch takes; channels take. */
#include "engine/task_int.h"
#include <stdlib.h>

#define HELD_LOOK_MS 50 /* nobody wakes a task when its sources may go on */

/* ---------------------------------------------------------------- making */
static void node_wake(void *task) {
    task_t *t = task;
    if (t->env.wake.fn) t->env.wake.fn(t->env.wake.arg);
}

static op_env_t node_env(task_t *t, const plan_op_t *op) {
    return (op_env_t){
        .plan = t->env.plan,
        .stage = t->stage,
        .op = op,
        .subtask = t->env.subtask,
        .parallelism = t->env.parallelism,
        .eval = &t->eval,
        .state = t->env.state,
        .job = t->env.job,
        .incarnation = t->env.incarnation,
        .origin = t->env.origin,
        .forced = t->env.forced,
        .final = t->env.final,
        .wake = node_wake,
        .wake_arg = t,
    };
}

static void make_links(task_t *t) {
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        for (int k = 0; k < n->op->ninputs; k++) {
            node_t *from = &t->nodes[n->op->inputs[k]];
            from->links = xrealloc(from->links, sizeof *from->links * (size_t)(from->nlinks + 1));
            from->links[from->nlinks++] = (link_t){n, k};
        }
    }
}

/* The source whose rows a watermark operator sees in order: through projections only. */
static node_t *source_behind(task_t *t, const node_t *n) {
    const plan_op_t *op = n->op;
    while (op->ninputs == 1) {
        op = t->stage->ops[op->inputs[0]];
        if (op->kind == OP_SOURCE) return &t->nodes[op->id];
        if (op->kind != OP_CALC) return NULL;
    }
    return NULL;
}

static err_t *open_source(node_t *n, const split_list_t *splits) {
    source_t *s = &n->source;
    const char *name = n->op->table->connector;
    s->vt = n->t->env.find_source ? n->t->env.find_source(name) : source_find(name);
    if (!s->vt) return err_new(ERR_NOT_FOUND, "connector '%s' of table %s is unknown as a source", name, n->op->table->name);
    s->env = node_env(n->t, n->op);
    for (int i = 0; splits && i < splits->n; i++) split_list_add(&s->splits, &splits->items[i]);
    s->self = xcalloc(1, MAX(s->vt->state_size, (size_t)1));
    n->opened = true;
    return s->vt->open(s);
}

static err_t *open_node(node_t *n) {
    n->inst.env = node_env(n->t, n->op);
    n->inst.vt = op_vtable_of(n->op->kind);
    if (!n->inst.vt) return NULL; /* exchanges */
    if (n->op->kind == OP_WINDOW_AGG && n->op->window.kind == WINDOW_SESSION) n->inst.vt = &op_session_agg;
    n->inst.self = xcalloc(1, MAX(n->inst.vt->state_size, (size_t)1));
    n->opened = true;
    if (n->op->kind == OP_SINK) {
        const char *name = n->op->table ? n->op->table->connector : "print";
        const sink_vtable_t *vt = n->t->env.find_sink ? n->t->env.find_sink(name) : sink_find(name);
        if (!vt) return err_new(ERR_NOT_FOUND, "connector '%s' is unknown as a sink", name);
        TRY(sink_op_bind(&n->inst, vt));
    }
    if (n->op->kind == OP_WATERMARK) {
        node_t *src = source_behind(n->t, n);
        if (src && !src->watermark_node) {
            src->watermark_node = n;
            watermark_op_bind(&n->inst, &src->source);
        }
    }
    return n->inst.vt->open ? n->inst.vt->open(&n->inst) : NULL;
}

static err_t *init_node(node_t *n, int *nin, int *nout, int *nsource) {
    const task_env_t *env = &n->t->env;
    n->out.node = n;
    n->cur.split = -1;
    n->watermark = n->out_watermark = env->restored_watermark;
    n->ninputs = n->op->ninputs;
    n->inputs = xcalloc((size_t)MAX(n->ninputs, 1), sizeof *n->inputs);
    if (n->op->kind == OP_EXCHANGE_IN) {
        n->ins = env->ins[*nin];
        n->nchannels = env->nins[(*nin)++];
    } else if (n->op->kind == OP_EXCHANGE_OUT) {
        n->outs = env->outs[*nout];
        n->nchannels = env->nouts[(*nout)++];
        n->part = partitioner_new(n->op->hash, n->op->nhash, n->nchannels);
    }
    if (n->nchannels) n->rows = xcalloc((size_t)n->nchannels, sizeof *n->rows);
    if (n->outs) n->blocked_ms = xcalloc((size_t)n->nchannels + 1, sizeof *n->blocked_ms);
    int inputs = n->op->kind == OP_EXCHANGE_IN ? n->nchannels : n->ninputs;
    if (inputs) n->align = align_new(inputs, env->restored_watermark);
    if (n->op->kind == OP_SOURCE) return open_source(n, env->splits ? &env->splits[(*nsource)++] : NULL);
    return open_node(n);
}

err_t *task_new(const task_env_t *env, task_t **ret) {
    task_t *t = xcalloc(1, sizeof *t);
    t->env = *env;
    t->stage = env->plan->stages[env->stage];
    t->blocked_since = -1;
    t->now = t->query_start = env->now_ms(env->arg);
    t->eval = (eval_ctx_t){
        .time_zone = env->time_zone ? env->time_zone : "UTC",
        .now_ms = t->now,
        .query_start_ms = t->now,
        .watermark_ms = env->restored_watermark,
        .seed = hash_mix(env->incarnation ^ ((uint64_t)env->stage << 32) ^ (uint64_t)env->subtask),
    };
    t->nnodes = t->stage->nops;
    t->nodes = xcalloc((size_t)t->nnodes, sizeof *t->nodes);
    for (int i = 0; i < t->nnodes; i++) {
        t->nodes[i].t = t;
        t->nodes[i].op = t->stage->ops[i];
    }
    make_links(t);
    int nin = 0, nout = 0, nsource = 0;
    err_t *e = NULL;
    for (int i = 0; i < t->nnodes; i++) {
        err_t *x = init_node(&t->nodes[i], &nin, &nout, &nsource);
        if (!x) continue;
        if (e) err_free(x); /* the first one is reported; the channels of the others are taken all the same */
        else e = err_wrap(x, "%s", op_kind_name(t->nodes[i].op->kind));
    }
    if (e) {
        task_free(t);
        return e;
    }
    *ret = t;
    return NULL;
}

static void node_free(node_t *n) {
    if (n->op->kind == OP_SOURCE) {
        if (n->opened) n->source.vt->close(&n->source);
        free(n->source.self);
        split_list_free(&n->source.splits);
    } else {
        if (n->opened && n->inst.vt->close) n->inst.vt->close(&n->inst);
        free(n->inst.self);
    }
    for (int i = 0; i < n->ninputs; i++) queue_free(&n->inputs[i]);
    free(n->inputs);
    free(n->links);
    batch_free(n->cur.e.batch);
    align_free(n->align);
    for (int i = 0; n->ins && i < n->nchannels; i++) n->ins[i]->close(n->ins[i]);
    for (int i = 0; n->outs && i < n->nchannels; i++) n->outs[i]->close(n->outs[i]);
    free(n->ins);
    free(n->outs);
    free(n->rows);
    free(n->blocked_ms);
    partitioner_free(n->part);
    free(n->split_ended);
    free(n->injected);
    for (int i = 0; i < n->nsealed; i++) split_list_free(&n->sealed[i].splits);
    free(n->sealed);
    free(n->unsettled);
}

void task_free(task_t *t) {
    if (!t) return;
    /* consumers first: a watermark operator looks at its source until it is closed */
    for (int i = t->nnodes - 1; i >= 0; i--) node_free(&t->nodes[i]);
    free(t->nodes);
    for (int i = 0; i < t->npending; i++) task_seal_free(t->pending[i].seal);
    free(t->pending);
    free(t->env.ins);
    free(t->env.nins);
    free(t->env.outs);
    free(t->env.nouts);
    free(t);
}

/* ---------------------------------------------------------------- restore and start */
err_t *task_restore(task_t *t, uint64_t fingerprint, int slot, slice_t bytes) {
    ASSERT(!t->started);
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (n->op->kind == OP_SOURCE || !n->inst.vt || n->op->fingerprint != fingerprint) continue;
        const op_vtable_t *vt = n->inst.vt;
        if (slot < 0) {
            if (vt->restore) TRY(err_wrap(vt->restore(&n->inst, bytes), "restoring %s", op_kind_name(n->op->kind)));
            continue;
        }
        kstate_t *ks = NULL;
        for (int k = 0; vt->state && (ks = vt->state(&n->inst, k)) && kstate_slot(ks) != slot;) k++;
        if (!ks) return err_new(ERR_CORRUPT, "%s has no state %d, the checkpoint has", op_kind_name(n->op->kind), slot);
        TRY(err_wrap(kstate_apply(ks, bytes), "restoring %s", op_kind_name(n->op->kind)));
    }
    return NULL;
}

static kstate_t *state_of(node_t *n, int slot) {
    return n->op->kind != OP_SOURCE && n->inst.vt && n->inst.vt->state ? n->inst.vt->state(&n->inst, slot) : NULL;
}

void task_forget(task_t *t) {
    ASSERT(!t->started);
    kstate_t *ks;
    for (int i = 0; i < t->nnodes; i++)
        for (int slot = 0; (ks = state_of(&t->nodes[i], slot)); slot++) kstate_forget(ks);
}

err_t *task_reload(task_t *t) {
    kstate_t *ks;
    for (int i = 0; i < t->nnodes; i++)
        for (int slot = 0; (ks = state_of(&t->nodes[i], slot)); slot++) TRY(kstate_reload(ks));
    return NULL;
}

err_t *task_start(task_t *t) {
    ASSERT(!t->started);
    t->started = true;
    for (int i = t->nnodes - 1; i >= 0; i--) {
        node_t *n = &t->nodes[i];
        if (n->inst.vt && n->inst.vt->start) TRY(err_wrap(n->inst.vt->start(&n->inst), "starting %s", op_kind_name(n->op->kind)));
    }
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (n->op->kind == OP_WATERMARK) watermark_op_initial(&n->inst, t->env.restored_watermark, &n->out);
        if (n->op->kind != OP_SOURCE) continue;
        source_announce_ended(n);
        if (n->source.splits.n == 0) node_send_idle(n); /* nothing to read holds no time back (B10) */
    }
    return NULL;
}

/* ---------------------------------------------------------------- stepping */
static bool is_head(const node_t *n) { return n->op->kind == OP_SOURCE || n->op->kind == OP_VALUES; }

static bool tick_due(const node_t *n) {
    const op_vtable_t *vt = n->inst.vt;
    return vt && vt->tick && vt->next_tick_ms && vt->next_tick_ms((op_t *)&n->inst) <= n->t->now;
}

static bool can_receive(const node_t *n) {
    for (int i = 0; i < n->nchannels; i++)
        if (!align_blocked(n->align, i)) return true;
    return false;
}

/* Runs one node that is no source; false when none can run. */
static bool step_nodes(task_t *t, err_t **reterr) {
    for (int i = t->nnodes - 1; i >= 0; i--) {
        node_t *n = &t->nodes[i];
        if (is_head(n) || n->wait || node_full(n)) continue;
        if (!n->todo) {
            if (n->op->kind != OP_WATERMARK && tick_due(n)) n->todo |= WORK_TICK;
            else if (n->op->kind == OP_EXCHANGE_IN ? !can_receive(n) : !node_has_input(n)) continue;
        }
        if (n->op->kind == OP_WATERMARK) watermark_op_split(&n->inst, n->todo ? n->cur.split : n->inputs[0].items[n->inputs[0].head].split);
        bool had = n->todo != 0;
        *reterr = node_run(n);
        if (*reterr) return true;
        if (n->op->kind == OP_EXCHANGE_IN && !had && !n->worked) continue; /* its channels were empty */
        return true;
    }
    return false;
}

static bool quiescent(const task_t *t) {
    for (int i = 0; i < t->nnodes; i++) {
        const node_t *n = &t->nodes[i];
        if (n->todo) return false;
        for (int k = 0; k < n->ninputs; k++)
            if (n->inputs[k].n) return false;
    }
    return true;
}

/* Where memory is scarce rows are asked for one batch after the other: what is on its way when sources are held still makes state, and the queues
 * of a task would take ten batches. (A barrier comes all the same.) */
static bool asks_for_more(const task_t *t) {
    return !t->env.state || !kstate_env_scarce(t->env.state) || quiescent(t);
}

static bool step_sources(task_t *t, err_t **reterr) {
    bool more = asks_for_more(t);
    for (int k = 0; k < t->nnodes; k++) {
        int i = (t->next_source + k) % t->nnodes;
        node_t *n = &t->nodes[i];
        if (!is_head(n) || !source_ready(n) || !(more || n->ninjected)) continue;
        t->next_source = (i + 1) % t->nnodes;
        *reterr = source_run(n);
        return true;
    }
    return false;
}

/* Input is idle: combiners let go of what they hold, and idleness of splits may be counted. */
static bool step_idle(task_t *t) {
    bool any = false;
    for (int i = t->nnodes - 1; i >= 0; i--) {
        node_t *n = &t->nodes[i];
        if (n->todo || !n->inst.vt || is_head(n)) continue;
        if (n->dirty && !n->inst.vt->flush) n->dirty = false;
        if (n->dirty && !node_full(n)) {
            n->todo |= WORK_FLUSH;
            any = true;
        }
    }
    bool quiet = quiescent(t) && !task_held(t); /* what is not asked for rows is not idle */
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (n->op->kind != OP_WATERMARK || n->todo || n->ended) continue;
        if (!quiet) {
            watermark_op_busy(&n->inst, t->now);
        } else if (tick_due(n)) {
            n->todo |= WORK_TICK;
            any = true;
        }
    }
    return any;
}

static task_status_t task_status(task_t *t) {
    bool ended = true;
    for (int i = 0; i < t->nnodes; i++) ended &= t->nodes[i].ended;
    return ended ? TASK_ENDED : TASK_BLOCKED;
}

#define BLOCKED_HALF_MS 2000

static void note_blocked(task_t *t) {
    bool full = false;
    for (int k = 0; k < t->nnodes; k++) {
        node_t *n = &t->nodes[k];
        n->full_channel = -1;
        for (int i = 0; n->outs && n->full_channel < 0 && i < n->nchannels; i++)
            if (n->outs[i]->full(n->outs[i])) n->full_channel = i;
        full |= n->full_channel >= 0;
    }
    if (full) t->blocked_since = t->now;
}

static void count_blocked(task_t *t) {
    if (t->blocked_since < 0) return;
    uint64_t ms = (uint64_t)(t->now - t->blocked_since);
    bool halve = t->now - t->halved_ms >= BLOCKED_HALF_MS;
    t->blocked_since = -1;
    t->stats.blocked_ns += ms * 1000000;
    if (halve) t->halved_ms = t->now;
    for (int k = 0; k < t->nnodes; k++) {
        node_t *n = &t->nodes[k];
        if (n->outs && n->full_channel >= 0) n->blocked_ms[n->full_channel] += ms;
        for (int i = 0; halve && n->outs && i < n->nchannels; i++) n->blocked_ms[i] /= 2;
    }
}

/* Whom a channel leads to. A forward edge between equal parallelisms has one channel, to the subtask of the same number. */
static void blocked_by(const task_t *t, const node_t *n, uint64_t *most, task_stats_t *ret) {
    const plan_t *p = t->env.plan;
    const plan_edge_t *e = NULL;
    for (int i = 0; i < p->nedges && !e; i++)
        if (p->edges[i]->id == n->op->edge) e = p->edges[i];
    for (int i = 0; e && i < n->nchannels; i++) {
        if (n->blocked_ms[i] <= *most) continue;
        *most = n->blocked_ms[i];
        ret->blocked_stage = e->to_stage;
        ret->blocked_subtask = n->nchannels < stage_parallelism(p, p->stages[e->to_stage]) ? t->env.subtask : i;
    }
}

static err_t *task_evict(task_t *t) {
    if (!t->env.state || !kstate_env_memory(t->env.state)) return NULL;
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        kstate_t *ks;
        if (n->todo || !n->inst.vt || !n->inst.vt->state) continue; /* it may hold pointers over OP_MORE */
        for (int slot = 0; (ks = n->inst.vt->state(&n->inst, slot)); slot++) {
            kstate_measure(ks);
            TRY(kstate_evict(ks));
        }
    }
    return NULL;
}

task_status_t task_step(task_t *t, uint32_t budget, err_t **reterr) {
    ASSERT(t->started && !t->failed);
    int64_t now = t->env.now_ms(t->env.arg);
    t->now = t->eval.now_ms = MAX(now, t->now);
    count_blocked(t);
    for (int i = 0; i < t->nnodes; i++) t->nodes[i].wait = false;
    err_t *e = task_settle(t);
    if (!e) e = task_evict(t); /* also when nothing runs: held sources wait for it */
    if (e) {
        t->failed = true;
        *reterr = e;
        return TASK_FAILED;
    }
    while (budget-- > 0) {
        if (step_nodes(t, &e) || step_sources(t, &e)) {
            if (!e) e = task_evict(t);
            if (!e) continue;
            t->failed = true;
            *reterr = e;
            return TASK_FAILED;
        }
        if (step_idle(t)) continue;
        note_blocked(t);
        return task_status(t);
    }
    return TASK_RUNNABLE;
}

int64_t task_next_tick_ms(task_t *t) {
    int64_t next = task_held(t) ? t->now + HELD_LOOK_MS : INT64_MAX;
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (n->op->kind == OP_SOURCE && n->wait && !n->ended && n->source.next_poll_ms) next = MIN(next, n->source.next_poll_ms);
        if (!n->inst.vt || !n->inst.vt->next_tick_ms || n->ended || node_full(n)) continue;
        next = MIN(next, n->inst.vt->next_tick_ms(&n->inst));
    }
    return next;
}

/* ---------------------------------------------------------------- control */
void task_inject(task_t *t, epoch_t epoch, uint32_t flags) {
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (!is_head(n)) continue;
        n->injected = xrealloc(n->injected, sizeof *n->injected * (size_t)(n->ninjected + 1));
        n->injected[n->ninjected++] = (barrier_t){epoch, flags};
    }
}

static void source_complete(node_t *n, epoch_t epoch) {
    int done = 0;
    while (done < n->nsealed && n->sealed[done].epoch <= epoch) done++;
    if (done == 0) return;
    sealed_splits_t *last = &n->sealed[done - 1];
    n->source.vt->complete(&n->source, last->epoch, &last->splits);
    for (int i = 0; i < done; i++) split_list_free(&n->sealed[i].splits);
    n->nsealed -= done;
    memmove(n->sealed, n->sealed + done, sizeof *n->sealed * (size_t)n->nsealed);
}

err_t *task_complete(task_t *t, epoch_t epoch) {
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (n->op->kind == OP_SOURCE && n->source.vt->complete) source_complete(n, epoch);
        if (n->op->kind == OP_SINK) TRY(sink_op_complete(&n->inst, epoch));
    }
    return NULL;
}

err_t *task_add_splits(task_t *t, uint64_t fingerprint, const split_list_t *more) {
    for (int i = 0; i < t->nnodes; i++) {
        node_t *n = &t->nodes[i];
        if (n->op->kind != OP_SOURCE || n->op->fingerprint != fingerprint) continue;
        if (!n->source.vt->add_splits)
            return err_new(ERR_UNSUPPORTED, "connector '%s' cannot take splits while it runs", n->source.vt->connector);
        int had = n->source.splits.n;
        TRY(n->source.vt->add_splits(&n->source, more));
        for (int k = 0; n->source.splits.n == had && k < more->n; k++) split_list_add(&n->source.splits, &more->items[k]);
        return NULL;
    }
    return err_new(ERR_INTERNAL, "no source of this task has fingerprint %016" PRIx64, fingerprint);
}

bool task_has_source(const task_t *t) {
    for (int i = 0; i < t->nnodes; i++)
        if (is_head(&t->nodes[i])) return true;
    return false;
}

static void node_stats(const node_t *n, task_stats_t *s) {
    s->late_rows += n->inst.late_rows;
    s->dropped_rows += n->inst.dropped_rows;
    if (n->op->kind == OP_SOURCE) {
        s->bad_records += n->source.bad_records;
        s->stale_records += n->source.stale_records;
        s->bytes_in += n->source.bytes_in;
        if (n->source.waits_for[0]) s->waits_for = n->source.waits_for;
    }
    if (n->op->kind == OP_SINK && sink_op_waits_for(&n->inst)) s->waits_for = sink_op_waits_for(&n->inst);
    if (n->op->kind == OP_SINK) s->rows_out += n->inst.rows_in - n->inst.dropped_rows;
    if (n->op->kind == OP_EXCHANGE_IN) s->rows_in += n->inst.rows_in;
    kstate_t *ks;
    for (int slot = 0; n->inst.vt && n->inst.vt->state && (ks = n->inst.vt->state((op_t *)&n->inst, slot)); slot++) {
        s->state_entries += kstate_entries(ks);
        s->state_bytes += kstate_bytes(ks);
    }
    if (n->op->kind == OP_WATERMARK) {
        s->watermark = MIN(s->watermark, watermark_op_current(&n->inst));
        int holder = watermark_op_holder(&n->inst);
        for (int i = 0; holder >= 0 && i < n->t->nnodes; i++)
            if (n->t->nodes[i].watermark_node == n) s->holds_time = n->t->nodes[i].source.splits.items[holder].id;
    } else if (n->op->kind == OP_EXCHANGE_IN) {
        s->watermark = MIN(s->watermark, align_watermark(n->align));
    }
}

void task_stats(const task_t *t, task_stats_t *ret) {
    *ret = t->stats;
    ret->watermark = WATERMARK_END;
    ret->blocked_stage = ret->blocked_subtask = -1;
    uint64_t most = 0;
    for (int i = 0; i < t->nnodes; i++) {
        node_stats(&t->nodes[i], ret);
        if (t->nodes[i].outs) blocked_by(t, &t->nodes[i], &most, ret);
    }
    if (ret->watermark == WATERMARK_END && task_status((task_t *)t) != TASK_ENDED) ret->watermark = WATERMARK_NONE;
}
