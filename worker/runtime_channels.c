/* runtime_channels.c: joins the tasks of an attempt: rings inside the process, the data port between processes. The builder's thread. */
#include "worker/driver_int.h"
#include <stdlib.h>

const ctl_task_t *runtime_placed(const runtime_t *rt, int stage, int subtask) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    for (int i = 0; i < d->ntasks; i++)
        if (d->tasks[i].stage == stage && d->tasks[i].subtask == subtask) return &d->tasks[i];
    return NULL;
}

runtime_task_t *runtime_local_task(const runtime_t *rt, int stage, int subtask) {
    for (int i = 0; i < rt->ntasks; i++)
        if (rt->tasks[i].stage == stage && rt->tasks[i].subtask == subtask) return &rt->tasks[i];
    return NULL;
}

static const plan_edge_t *edge_of(const plan_t *p, int id) {
    for (int i = 0; i < p->nedges; i++)
        if (p->edges[i]->id == id) return p->edges[i];
    return NULL;
}

/* A forward edge between equal parallelisms joins i with i only; every other edge joins all with all. */
static bool paired(const plan_t *p, const plan_edge_t *e) {
    return e->exchange == EXCHANGE_FORWARD &&
           stage_parallelism(p, p->stages[e->from_stage]) == stage_parallelism(p, p->stages[e->to_stage]);
}

static endpoint_channel_t address_of(const runtime_t *rt, const plan_edge_t *e, int from, int to, const ctl_task_t *peer) {
    const ctl_peer_t *w = &rt->deploy->deploy.workers[peer->worker];
    return (endpoint_channel_t){rt->job, rt->attempt, (uint32_t)e->id, (uint32_t)from, (uint32_t)to, w->name, w->address};
}

static void culprit(runtime_t *rt, const endpoint_channel_t *c) {
    free(rt->culprit);
    rt->culprit = xstrdup(c->peer);
}

static err_t *open_out(runtime_t *rt, runtime_task_t *t, const plan_edge_t *e, int to, channel_out_t **ret) {
    runtime_task_t *consumer = runtime_local_task(rt, e->to_stage, to);
    if (consumer) {
        runtime_ring_t *ring = xcalloc(1, sizeof *ring);
        *ring = (runtime_ring_t){.edge = e->id, .from = t->subtask, .to = to};
        err_t *err = ring_channel_new(CHANNEL_BYTES_MAX, slot_task_wake(t->slot), slot_task_wake(consumer->slot), ret, &ring->in);
        if (err) {
            free(ring);
            return err;
        }
        ring->next = rt->rings;
        rt->rings = ring;
        return NULL;
    }
    const ctl_task_t *peer = runtime_placed(rt, e->to_stage, to);
    ASSERT(peer); /* check_deploy */
    endpoint_channel_t c = address_of(rt, e, t->subtask, to, peer);
    err_t *err = endpoint_open_out(rt->w->endpoint, &c, slot_task_wake(t->slot), ret);
    if (err) culprit(rt, &c);
    return err;
}

static err_t *open_in(runtime_t *rt, runtime_task_t *t, const plan_edge_t *e, int from, channel_in_t **ret) {
    for (runtime_ring_t **at = &rt->rings; *at; at = &(*at)->next) {
        runtime_ring_t *ring = *at;
        if (ring->edge != e->id || ring->from != from || ring->to != t->subtask) continue;
        *at = ring->next;
        *ret = ring->in;
        free(ring);
        return NULL;
    }
    const ctl_task_t *peer = runtime_placed(rt, e->from_stage, from);
    ASSERT(peer && !runtime_local_task(rt, e->from_stage, from)); /* stages are built producers first */
    endpoint_channel_t c = address_of(rt, e, from, t->subtask, peer);
    return endpoint_open_in(rt->w->endpoint, &c, e->schema, slot_task_wake(t->slot), ret);
}

void runtime_rings_free(runtime_t *rt) {
    while (rt->rings) {
        runtime_ring_t *ring = rt->rings;
        rt->rings = ring->next;
        ring->in->close(ring->in);
        free(ring);
    }
}

static err_t *open_op_outs(runtime_t *rt, runtime_task_t *t, const plan_edge_t *e, task_env_t *env, int k) {
    int n = paired(rt->plan, e) ? 1 : stage_parallelism(rt->plan, rt->plan->stages[e->to_stage]);
    env->outs[k] = xcalloc((size_t)n, sizeof *env->outs[k]);
    for (int i = 0; i < n; i++) {
        TRY(open_out(rt, t, e, n == 1 && paired(rt->plan, e) ? t->subtask : i, &env->outs[k][i]));
        env->nouts[k] = i + 1;
    }
    return NULL;
}
static err_t *open_op_ins(runtime_t *rt, runtime_task_t *t, const plan_edge_t *e, task_env_t *env, int k) {
    int n = paired(rt->plan, e) ? 1 : stage_parallelism(rt->plan, rt->plan->stages[e->from_stage]);
    env->ins[k] = xcalloc((size_t)n, sizeof *env->ins[k]);
    for (int i = 0; i < n; i++) {
        TRY(open_in(rt, t, e, n == 1 && paired(rt->plan, e) ? t->subtask : i, &env->ins[k][i]));
        env->nins[k] = i + 1;
    }
    return NULL;
}

static void close_all(task_env_t *env, int nops) {
    for (int k = 0; k < nops; k++) {
        for (int i = 0; i < env->nins[k]; i++) env->ins[k][i]->close(env->ins[k][i]);
        for (int i = 0; i < env->nouts[k]; i++) env->outs[k][i]->close(env->outs[k][i]);
        free(env->ins[k]);
        free(env->outs[k]);
    }
    free(env->ins);
    free(env->nins);
    free(env->outs);
    free(env->nouts);
}

err_t *runtime_open_channels(runtime_t *rt, runtime_task_t *t, task_env_t *env) {
    const plan_stage_t *s = rt->plan->stages[t->stage];
    size_t n = (size_t)s->nops + 1;
    env->ins = xcalloc(n, sizeof *env->ins);
    env->nins = xcalloc(n, sizeof *env->nins);
    env->outs = xcalloc(n, sizeof *env->outs);
    env->nouts = xcalloc(n, sizeof *env->nouts);
    int nin = 0, nout = 0;
    err_t *e = NULL;
    for (int i = 0; i < s->nops && !e; i++) {
        const plan_op_t *op = s->ops[i];
        if (op->kind != OP_EXCHANGE_IN && op->kind != OP_EXCHANGE_OUT) continue;
        const plan_edge_t *edge = edge_of(rt->plan, op->edge);
        if (!edge) e = err_new(ERR_INTERNAL, "the plan has no edge %d", op->edge);
        else if (op->kind == OP_EXCHANGE_IN) e = open_op_ins(rt, t, edge, env, nin++);
        else e = open_op_outs(rt, t, edge, env, nout++);
    }
    if (e) close_all(env, s->nops);
    return e;
}
