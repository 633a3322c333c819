/* sim_attempt.c: an attempt on a worker: what worker/runtime.c, runtime_channels.c and runtime_restore.c do, in the same order. */
#include "tests/sim/sim_worker_int.h"
#include <stdio.h>
#include <stdlib.h>

#define RING_BYTES (32u << 10)

/* ---------------------------------------------------------------- building: worker/runtime.c, runtime_channels.c, runtime_restore.c */
static bool is_here(const srt_t *rt, const ctl_task_t *t) { return !strcmp(rt->deploy->deploy.workers[t->worker].name, rt->w->p->name); }
static proc_t *proc_of(const srt_t *rt, const ctl_task_t *t) {
    sim_t *s = rt->w->p->s;
    for (int i = 0; i < s->nprocs; i++)
        if (!strcmp(s->procs[i].name, rt->deploy->deploy.workers[t->worker].name)) return &s->procs[i];
    return NULL;
}
static const ctl_task_t *placed(const srt_t *rt, int stage, int subtask) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    for (int i = 0; i < d->ntasks; i++)
        if (d->tasks[i].stage == stage && d->tasks[i].subtask == subtask) return &d->tasks[i];
    return NULL;
}
static stask_t *local(srt_t *rt, int stage, int subtask) {
    for (int i = 0; i < rt->ntasks; i++)
        if (rt->tasks[i].stage == stage && rt->tasks[i].subtask == subtask) return &rt->tasks[i];
    return NULL;
}
static const plan_edge_t *edge_of(const plan_t *p, int id) {
    for (int i = 0; i < p->nedges; i++)
        if (p->edges[i]->id == id) return p->edges[i];
    return NULL;
}
static void base_applied(void *arg) {
    srt_t *rt = arg;
    for (int i = 0; i < rt->ntasks; i++) wake_task(&rt->tasks[i]);
}
static channel_out_t *open_out(srt_t *rt, stask_t *t, const plan_edge_t *e, int to) {
    stask_t *consumer = local(rt, e->to_stage, to);
    channel_out_t *out = NULL;
    if (consumer) {
        sring_t *r = xcalloc(1, sizeof *r);
        *r = (sring_t){.next = rt->rings, .edge = e->id, .from = t->subtask, .to = to};
        err_t *err = ring_channel_new(RING_BYTES, (wake_t){wake_task, t}, (wake_t){wake_task, consumer}, &out, &r->in);
        ASSERT(!err);
        rt->rings = r;
        return out;
    }
    xchan_key_t k = {rt->job, rt->attempt, e->id, t->subtask, to};
    return xchan_open_out(rt->w->p->s, &k, rt->w->p, proc_of(rt, placed(rt, e->to_stage, to)), t->stage, e->schema);
}
static channel_in_t *open_in(srt_t *rt, stask_t *t, const plan_edge_t *e, int from) {
    for (sring_t **at = &rt->rings; *at; at = &(*at)->next) {
        sring_t *r = *at;
        if (r->edge != e->id || r->from != from || r->to != t->subtask) continue;
        *at = r->next;
        channel_in_t *in = r->in;
        free(r);
        return in;
    }
    xchan_key_t k = {rt->job, rt->attempt, e->id, from, t->subtask};
    return xchan_open_in(rt->w->p->s, &k, proc_of(rt, placed(rt, e->from_stage, from)), rt->w->p, t->stage, e->schema);
}
static void open_channels(srt_t *rt, stask_t *t, task_env_t *env) {
    const plan_stage_t *st = rt->plan->stages[t->stage];
    size_t n = (size_t)st->nops + 1;
    env->ins = xcalloc(n, sizeof *env->ins);
    env->nins = xcalloc(n, sizeof *env->nins);
    env->outs = xcalloc(n, sizeof *env->outs);
    env->nouts = xcalloc(n, sizeof *env->nouts);
    int nin = 0, nout = 0;
    for (int i = 0; i < st->nops; i++) {
        const plan_op_t *op = st->ops[i];
        if (op->kind != OP_EXCHANGE_IN && op->kind != OP_EXCHANGE_OUT) continue;
        const plan_edge_t *e = edge_of(rt->plan, op->edge);
        bool in = op->kind == OP_EXCHANGE_IN;
        int width = stage_parallelism(rt->plan, rt->plan->stages[in ? e->from_stage : e->to_stage]);
        bool paired = e->exchange == EXCHANGE_FORWARD && width == stage_parallelism(rt->plan, st);
        int ends = paired ? 1 : width;
        if (in) env->ins[nin] = xcalloc((size_t)ends, sizeof(channel_in_t *));
        else env->outs[nout] = xcalloc((size_t)ends, sizeof(channel_out_t *));
        for (int k = 0; k < ends; k++) {
            if (in) env->ins[nin][k] = open_in(rt, t, e, paired ? t->subtask : k);
            else env->outs[nout][k] = open_out(rt, t, e, paired ? t->subtask : k);
        }
        if (in) env->nins[nin++] = ends;
        else env->nouts[nout++] = ends;
    }
}
static err_t *build_task(srt_t *rt, stask_t *t) {
    const plan_stage_t *st = rt->plan->stages[t->stage];
    const ctl_deploy_t *d = &rt->deploy->deploy;
    split_list_t lists[8] = {0};
    int n = 0;
    for (int i = 0; i < st->nops; i++) {
        if (st->ops[i]->kind != OP_SOURCE) continue;
        for (int k = 0; k < d->nsplits; k++)
            if (d->splits[k].fingerprint == st->ops[i]->fingerprint && d->splits[k].subtask == t->subtask) split_list_add(&lists[n], &d->splits[k].split);
        n++;
    }
    task_env_t env = {.plan = rt->plan, .stage = t->stage, .subtask = t->subtask, .parallelism = stage_parallelism(rt->plan, st),
                      .job = rt->plan->job_name, .incarnation = rt->deploy->incarnation, .state = rt->state, .splits = lists,
                      .restored_watermark = manifest_watermark(d->manifest, t->stage), .now_ms = task_now, .sealed = task_sealed,
                      .wake = {wake_task, t}, .arg = t, .find_source = sim_find_source,
                      .find_sink = rt->w->p->s->job.kind == JOB_DIRECT ? direct_find : sim_find_sink,
                      .time_zone = "UTC"};
    open_channels(rt, t, &env);
    direct_opens_at(rt->w->p);
    err_t *e = task_new(&env, &t->task);
    for (int i = 0; i < n; i++) split_list_free(&lists[i]);
    if (!e) t->source = task_has_source(t->task);
    return e;
}
static err_t *open_base(void *arg, base_db_t **ret) {
    *ret = base_new_memory();
    return NULL;
}

/* restore's records find their tasks */
static bool stage_holds(const plan_stage_t *s, uint64_t fingerprint) {
    for (int i = 0; i < s->nops; i++)
        if (s->ops[i]->fingerprint == fingerprint) return true;
    return false;
}
static err_t *restore_task(void *arg, int stage, int subtask) {
    ((srt_t *)arg)->subtask_restoring = subtask;
    return NULL;
}
static err_t *restore_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    srt_t *rt = arg;
    for (int i = 0; i < rt->ntasks; i++) {
        stask_t *t = &rt->tasks[i];
        const plan_stage_t *s = rt->plan->stages[t->stage];
        if (!stage_holds(s, fingerprint)) continue;
        if (slot < 0 && t->subtask != rt->subtask_restoring % stage_parallelism(rt->plan, s)) continue;
        TRY(task_restore(t->task, fingerprint, slot, bytes));
    }
    return NULL;
}
static err_t *restore_sink(void *arg, uint64_t fingerprint, int op, int lane, epoch_t epoch, uint64_t rows, slice_t segment) {
    srt_t *rt = arg;
    if (!lanes_has(rt->lanes, fingerprint, lane)) return NULL;
    buf_t copy = buf_make(BUF_MAX_DEFAULT);
    buf_put(&copy, segment.p, segment.len);
    kstate_env_output(rt->state, (int64_t)segment.len);
    lanes_feed(rt->lanes, fingerprint, lane, epoch, &copy);
    return NULL;
}
static err_t *restore_spill(void *arg) {
    srt_t *rt = arg;
    for (int i = 0; i < rt->ntasks; i++) task_forget(rt->tasks[i].task);
    sim_log(rt->w->p->s, "%s: restored state does not fit: by way of the base", rt->w->p->name);
    return NULL;
}
static err_t *restore_reload(void *arg) {
    srt_t *rt = arg;
    for (int i = 0; i < rt->ntasks; i++) TRY(task_reload(rt->tasks[i].task));
    return NULL;
}
static base_range_t *ranges_of(const srt_t *rt, int *ret_n) {
    base_range_t *out = NULL;
    int n = 0;
    for (int i = 0; i < rt->ntasks; i++) {
        const plan_stage_t *s = rt->plan->stages[rt->tasks[i].stage];
        int par = stage_parallelism(rt->plan, s), sub = rt->tasks[i].subtask;
        for (int k = 0; k < s->nops; k++) {
            if (!s->ops[k]->fingerprint) continue;
            out = xrealloc(out, (size_t)(n + 1) * sizeof *out);
            out[n++] = (base_range_t){s->ops[k]->fingerprint, key_group_lo(sub, par), key_group_lo(sub + 1, par)};
        }
    }
    *ret_n = n;
    return out;
}
static err_t *restore_all(srt_t *rt) {
    const manifest_t *m = rt->deploy->deploy.manifest;
    int nranges;
    AUTO(auto_free) base_range_t *ranges = ranges_of(rt, &nranges);
    restore_conf_t rc = {m, rt->w->p->disk, rt->dir, rt->state, nranges, ranges};
    restore_t *r = restore_new(&rc);
    err_t *e = restore_bases(r);
    if (!e) {
        applier_conf_t ac = {.env = rt->state, .disk = rt->w->p->disk, .dir = rt->dir, .nranges = nranges, .ranges = ranges, .id = rt->id};
        rt->applier = applier_new(&ac);
    }
    for (int i = 0; !e && i < rt->ntasks; i++) e = build_task(rt, &rt->tasks[i]);
    restore_sink_t sink = {rt, restore_task, restore_state, restore_sink, restore_spill, restore_reload};
    if (!e) e = restore_replay(r, rt->applier, &sink);
    if (!e && m->nbases) sim_reach(rt->w->p->s, ROW_BASES_USED);
    rt->bytes = restore_bytes(r);
    rt->damaged = e && restore_damaged(r);
    restore_free(r);
    return e;
}
static err_t *make_lanes(srt_t *rt) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    for (int i = 0; i < d->ntasks; i++) {
        if (!is_here(rt, &d->tasks[i])) continue;
        const plan_stage_t *s = rt->plan->stages[d->tasks[i].stage];
        for (int k = 0; k < s->nops; k++) {
            const plan_op_t *op = s->ops[k];
            for (int lane = d->tasks[i].subtask; op->kind == OP_SINK && lane < op->lanes_max; lane += stage_parallelism(rt->plan, s)) {
                const lane_pos_t *pos = manifest_lane(d->manifest, op->fingerprint, lane, false);
                lane_spec_t spec = {"sim", rt->plan->job_name, rt->deploy->incarnation, rt->attempt, rt->plan, op, lane, op->lanes_max,
                                    {d->manifest->origin, d->manifest->started, pos ? pos->had : 0, pos ? pos->had_upto : 0,
                                     manifest_root(d->manifest), d->manifest->forced}};
                bool beyond = pos && pos->published > d->manifest->started;
                TRY(lanes_add(rt->lanes, &spec, beyond ? pos->published : 0, beyond || (pos && pos->started)));
            }
        }
    }
    return NULL;
}

static void on_lane(sim_t *s, void *arg) {
    note_t *n = arg;
    srt_t *rt = runtime_of(n->p->worker, n->job, n->attempt);
    if (rt && rt->lanes && !rt->closed) {
        lanes_answer(rt->lanes, n->entry, n->answer);
        n->answer.error = NULL;
    }
    note_drop(n);
}
static void lane_post(void *arg, lanes_entry_t *entry, lane_answer_t a) {
    srt_t *rt = arg;
    if (a.kind == LANE_ANSWER_CLOSED) { /* the driver closes at once: nothing of the handle is left */
        lanes_answer(rt->lanes, entry, a);
        return;
    }
    note_t *n = note_new(rt);
    n->entry = entry;
    n->answer = a;
    note_later(rt, 0, on_lane, n);
}
static void lane_published_to(void *arg, uint64_t fingerprint, int lane, epoch_t epoch, bool started) {
    srt_t *rt = arg;
    if (rt->tearing) return;
    sim_log(rt->w->p->s, "%s: lane %d published e=%" PRIu64, rt->w->p->name, lane, epoch);
    agent_event_t ev = {.kind = AGENT_EV_PUBLISHED, .job = rt->job, .attempt = rt->attempt, .fingerprint = fingerprint, .lane = lane, .epoch = epoch,
                        .started = started};
    agent_event(rt->w, &ev);
}
static void lane_stopped_for(void *arg, uint64_t fingerprint, int lane, const char *label, err_t *e) {
    note_t *n = note_new(arg);
    n->error = err_wrap(e, "lane %d of sink %s", lane, label);
    note_later(arg, 0, on_task_note, n);
}
static void output_left(void *arg, size_t bytes) { kstate_env_output(((srt_t *)arg)->state, -(int64_t)bytes); }
static void lanes_all_closed(void *arg) { ((srt_t *)arg)->closed = true; }

err_t *attempt_build(srt_t *rt) {
    sim_t *s = rt->w->p->s;
    const ctl_deploy_t *d = &rt->deploy->deploy;
    rt->plan = s->job.plan;
    if (rt->plan->hash != d->plan_hash) return err_new(ERR_VERSION, "another plan");
    rt->tasks = xcalloc((size_t)d->ntasks + 1, sizeof *rt->tasks);
    for (int st = 0; st < rt->plan->nstages && !d->lanes_only; st++)
        for (int i = 0; i < d->ntasks; i++)
            if (d->tasks[i].stage == st && is_here(rt, &d->tasks[i]))
                rt->tasks[rt->ntasks++] = (stask_t){.rt = rt, .stage = st, .subtask = d->tasks[i].subtask};
    rt->dir = xprintf("%s.%u.%" PRIu64, rt->w->p->name, rt->w->p->gen, rt->attempt);
    rt->state = kstate_env_new(&(kstate_env_conf_t){.memory = s->mix.memory, .open_base = open_base, .arg = rt, .applied = base_applied});
    if (s->mix.output_max) kstate_env_set_output_max(rt->state, s->mix.output_max);
    lanes_handler_t h = {lane_post, lane_published_to, lane_stopped_for, lanes_all_closed, output_left, rt};
    rt->lanes = lanes_new(rt->w->driver, &h);
    TRY(make_lanes(rt));
    TRY(lanes_fence(rt->lanes));
    disk_phase(rt->w->p->disk, DISK_RESTORE);
    err_t *e = restore_all(rt);
    disk_phase(rt->w->p->disk, DISK_OTHER);
    return e;
}

/* Event time goes on from where the manifest says (A9): a task that forgot it would open windows again that have fired. */
void attempt_check_restored(srt_t *rt) {
    for (int i = 0; i < rt->ntasks; i++) {
        task_stats_t st;
        task_stats(rt->tasks[i].task, &st);
        int64_t want = manifest_watermark(rt->deploy->deploy.manifest, rt->tasks[i].stage);
        if (!rt->tasks[i].source && st.watermark < want)
            sim_broken(rt->w->p->s, "task %d/%d begins at watermark %" PRId64 ", the manifest has %" PRId64 " (A9)", rt->tasks[i].stage,
                       rt->tasks[i].subtask, st.watermark, want);
    }
}
/* ---------------------------------------------------------------- the end of an attempt */
void attempt_writer_clear(srt_t *rt) {
    checkpoint_seals_free(TAKE(rt->seals), rt->nseals);
    rt->nseals = 0;
    rt->writing = 0;
    segment_free(&rt->segment);
}
void attempt_free(srt_t *rt) {
    if (rt->lanes) lanes_close(rt->lanes);
    for (int i = 0; i < rt->ntasks; i++) task_free(rt->tasks[i].task);
    while (rt->rings) {
        sring_t *r = rt->rings;
        rt->rings = r->next;
        r->in->close(r->in);
        free(r);
    }
    attempt_writer_clear(rt);
    changelog_free(rt->log);
    free(rt->tasks);
    lanes_free(rt->lanes);
    if (rt->applier) applier_free(rt->applier);
    if (rt->state) kstate_env_free(rt->state);
    free(rt->dir);
    ctl_free(rt->deploy);
    free(rt);
}
