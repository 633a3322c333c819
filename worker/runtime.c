/* runtime.c: building an attempt on this worker: compile, tasks, lanes. The builder's threads. */
#include "common/clock.h"
#include "common/log.h"
#include "worker/driver_int.h"
#include <stdlib.h>
#include <unistd.h>

int64_t runtime_now_ms(runtime_t *rt) {
    int64_t now = clock_wall_ms(), seen = atomic_load_explicit(&rt->clock_ms, memory_order_relaxed);
    while (now > seen)
        if (atomic_compare_exchange_weak_explicit(&rt->clock_ms, &seen, now, memory_order_relaxed, memory_order_relaxed)) return now;
    return seen;
}

/* ---------------------------------------------------------------- what tasks and slots call */
static int64_t task_now(void *arg) { return runtime_now_ms(((runtime_task_t *)arg)->rt); }
static int64_t slot_now(void *arg) { return runtime_now_ms(((runtime_task_t *)arg)->rt); }

static void task_sealed(void *arg, task_seal_t *seal) {
    runtime_task_t *t = arg;
    worker_post(t->rt->w, (note_t){.kind = NOTE_SEALED, .rt = t->rt, .seal = seal});
}
static void slot_failed(void *arg, slot_task_t *s, err_t *e) {
    runtime_task_t *t = arg;
    worker_post(t->rt->w, (note_t){.kind = NOTE_FAILED, .job = t->rt->job, .attempt = t->rt->attempt, .stage = t->stage,
                                   .subtask = t->subtask, .error = e});
}
static void slot_ended(void *arg, slot_task_t *s) {
    runtime_task_t *t = arg;
    worker_post(t->rt->w, (note_t){.kind = NOTE_ENDED, .rt = t->rt, .stage = t->stage, .subtask = t->subtask});
}
static void slot_removed(void *arg, slot_task_t *s) {
    runtime_task_t *t = arg;
    worker_post(t->rt->w, (note_t){.kind = NOTE_REMOVED, .rt = t->rt, .stage = t->stage, .subtask = t->subtask});
}

/* The control thread sleeps while the job is quiet. It raises the flag and then looks at statistics, the slot copies these out and then looks at the
 * flag: one of them sees the other. */
static void slot_progressed(void *arg, slot_task_t *s) {
    runtime_task_t *t = arg;
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load(&t->rt->busy_reported)) mailbox_wake(t->rt->w->mail);
}

/* ---------------------------------------------------------------- making */
runtime_t *runtime_new(worker_t *w, ctl_msg_t *deploy) {
    runtime_t *rt = xcalloc(1, sizeof *rt);
    rt->w = w;
    rt->deploy = deploy;
    rt->job = deploy->job;
    rt->attempt = deploy->attempt;
    rt->incarnation = deploy->incarnation;
    rt->leader = deploy->leader;
    rt->segments_end = &rt->segments;
    atomic_init(&rt->doing, "begun");
    if (deploy->deploy.manifest) atomic_init(&rt->clock_ms, deploy->deploy.manifest->processing_ms);
    return rt;
}

static bool is_here(const runtime_t *rt, const ctl_task_t *t) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    return t->worker >= 0 && t->worker < d->nworkers && !strcmp(d->workers[t->worker].name, rt->w->conf.name);
}

static err_t *check_deploy(const runtime_t *rt) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    const plan_t *p = rt->plan;
    if (!d->manifest) return err_new(ERR_INVALID, "a DEPLOY without a manifest");
    for (int i = 0; i < d->ntasks; i++) {
        const ctl_task_t *t = &d->tasks[i];
        if (t->stage < 0 || t->stage >= p->nstages || t->subtask < 0 || t->subtask >= stage_parallelism(p, p->stages[t->stage]) ||
            t->worker < 0 || t->worker >= d->nworkers)
            return err_new(ERR_INVALID, "a DEPLOY names task %d/%d on worker %d, which the plan does not know", t->stage, t->subtask, t->worker);
    }
    for (int s = 0; s < p->nstages; s++) {
        int n = 0;
        for (int i = 0; i < d->ntasks; i++) n += d->tasks[i].stage == s;
        if (n != stage_parallelism(p, p->stages[s]))
            return err_new(ERR_INVALID, "a DEPLOY places %d tasks of stage %d, the plan has %d", n, s, stage_parallelism(p, p->stages[s]));
    }
    return NULL;
}

static err_t *compile(runtime_t *rt) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    const worker_conf_t *c = &rt->w->conf;
    TRY(c->compile(c->arg, &d->spec, &rt->plan));
    if (rt->plan->hash != d->plan_hash)
        return err_hint(err_new(ERR_VERSION, "worker '%s' compiles job '%s' to another plan (%016" PRIx64 ") than the coordinator (%016"
                                PRIx64 ")", c->name, d->spec.name, rt->plan->hash, d->plan_hash),
                        "run the same build of Tidegate everywhere, with the same plugins");
    return check_deploy(rt);
}

/* Subtask i of every stage of the same parallelism shares a slot: forward edges stay in one cache. A stage with a single task
 * here goes to the slot with the least to do. */
static int choose_slot(runtime_t *rt, const runtime_task_t *t) {
    worker_t *w = rt->w;
    int rank = 0, same = 0, best = 0;
    for (int i = 0; i < rt->ntasks; i++) {
        if (rt->tasks[i].stage != t->stage) continue;
        same++;
        rank += rt->tasks[i].subtask < t->subtask;
    }
    if (same > 1) return rank % w->nslots;
    for (int i = 1; i < w->nslots; i++)
        if (atomic_load(&w->slot_load[i]) < atomic_load(&w->slot_load[best])) best = i;
    return best;
}

/* Has a sink that makes complete output visible when it is restored (files). Such tasks are built even when there is nothing more to
 * process, but never started: a worker that died after the last epoch was complete may have left its part undone. */
static bool finishes_by_restore(const runtime_t *rt, int stage) {
    const plan_stage_t *s = rt->plan->stages[stage];
    const worker_conf_t *c = &rt->w->conf;
    for (int i = 0; i < s->nops; i++) {
        if (s->ops[i]->kind != OP_SINK || !s->ops[i]->table) continue;
        const char *name = s->ops[i]->table->connector;
        const sink_vtable_t *v = c->find_sink ? c->find_sink(name) : sink_find(name);
        if (v && v->restore) return true;
    }
    return false;
}

static void make_slot_tasks(runtime_t *rt) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    rt->tasks = xcalloc((size_t)d->ntasks + 1, sizeof *rt->tasks);
    for (int s = 0; s < rt->plan->nstages; s++) /* producers first: their rings are picked up by the consumers */
        for (int i = 0; i < d->ntasks; i++)
            if (d->tasks[i].stage == s && is_here(rt, &d->tasks[i]) && (!d->lanes_only || finishes_by_restore(rt, s)))
                rt->tasks[rt->ntasks++] = (runtime_task_t){.rt = rt, .stage = s, .subtask = d->tasks[i].subtask};
    for (int i = 0; i < rt->ntasks; i++) {
        runtime_task_t *t = &rt->tasks[i];
        slot_handler_t h = {slot_failed, slot_ended, slot_removed, slot_progressed, slot_now, t};
        t->slot_index = choose_slot(rt, t);
        atomic_fetch_add(&rt->w->slot_load[t->slot_index], 1);
        t->slot = slot_task_new(rt->w->slots[t->slot_index], &h, t->stage, t->subtask);
    }
}

/* The splits of this subtask, one list per OP_SOURCE in order. */
static split_list_t *splits_of(const runtime_t *rt, const runtime_task_t *t, int *ret_n) {
    const plan_stage_t *s = rt->plan->stages[t->stage];
    const ctl_deploy_t *d = &rt->deploy->deploy;
    split_list_t *lists = xcalloc((size_t)s->nops + 1, sizeof *lists);
    int n = 0;
    for (int i = 0; i < s->nops; i++) {
        if (s->ops[i]->kind != OP_SOURCE) continue;
        for (int k = 0; k < d->nsplits; k++)
            if (d->splits[k].fingerprint == s->ops[i]->fingerprint && d->splits[k].subtask == t->subtask)
                split_list_add(&lists[n], &d->splits[k].split);
        n++;
    }
    *ret_n = n;
    return lists;
}

err_t *runtime_build_task(runtime_t *rt, runtime_task_t *t) {
    const plan_stage_t *s = rt->plan->stages[t->stage];
    const manifest_t *from = rt->deploy->deploy.manifest;
    task_env_t env = {
        .plan = rt->plan,
        .stage = t->stage,
        .subtask = t->subtask,
        .parallelism = stage_parallelism(rt->plan, s),
        .job = rt->plan->job_name,
        .incarnation = rt->incarnation,
        .origin = from->epoch == from->started ? from->origin : 0,
        .forced = from->epoch == from->started && from->forced,
        .final = rt->deploy->deploy.lanes_only,
        .state = rt->state,
        .restored_watermark = manifest_watermark(from, t->stage),
        .now_ms = task_now,
        .sealed = task_sealed,
        .wake = slot_task_wake(t->slot),
        .arg = t,
        .held = &rt->held,
        .find_source = rt->w->conf.find_source,
        .find_sink = rt->w->conf.find_sink,
        .time_zone = options_get(&rt->plan->set, "table.local-time-zone"),
    };
    TRY(runtime_open_channels(rt, t, &env));
    int nlists;
    split_list_t *lists = splits_of(rt, t, &nlists);
    env.splits = lists;
    err_t *e = task_new(&env, &t->task);
    for (int i = 0; i < nlists; i++) split_list_free(&lists[i]);
    free(lists);
    if (e) return err_wrap(e, "task %d of stage %d", t->subtask, t->stage);
    t->source = task_has_source(t->task);
    return NULL;
}

static err_t *open_base(void *arg, base_db_t **ret) {
    runtime_t *rt = arg;
    AUTO(auto_free) char *dir = xprintf("%s/db", rt->dir);
    int others = atomic_load(&rt->w->bases) - rt->has_base; /* the more jobs spill, the smaller is the part of those that come late */
    if (!rt->has_base) atomic_fetch_add(&rt->w->bases, 1); /* once, however often opening is tried */
    rt->has_base = true;
    bool ours = access(dir, F_OK) != 0;
    err_t *e = base_open_rocks(dir, memory_shares(rt->w->conf.memory).base / (size_t)(others + 1), /* create= */ true, ret);
    if (e && ours) err_free(base_wipe(dir)); /* half made: the next try must not find it */
    if (e) return e;
    (*ret)->cancel = &rt->cancel;
    return NULL;
}

/* The base has caught up: sources that memory held may go on. */
static void base_applied(void *arg) {
    runtime_t *rt = arg;
    for (int i = 0; i < rt->ntasks; i++) {
        wake_t wake = slot_task_wake(rt->tasks[i].slot);
        wake.fn(wake.arg);
    }
}

static err_t *make_lanes(runtime_t *rt) {
    const ctl_deploy_t *d = &rt->deploy->deploy;
    for (int i = 0; i < d->ntasks; i++) {
        if (!is_here(rt, &d->tasks[i])) continue;
        const plan_stage_t *s = rt->plan->stages[d->tasks[i].stage];
        int par = stage_parallelism(rt->plan, s);
        for (int k = 0; k < s->nops; k++) {
            const plan_op_t *op = s->ops[k];
            for (int lane = d->tasks[i].subtask; op->kind == OP_SINK && lane < op->lanes_max; lane += par) {
                const lane_pos_t *pos = manifest_lane(d->manifest, op->fingerprint, lane, /* create= */ false);
                lane_spec_t spec = {rt->w->conf.cluster, rt->plan->job_name, rt->incarnation, rt->attempt, rt->plan, op, lane, op->lanes_max,
                                    {d->manifest->origin, d->manifest->started, pos ? pos->had : 0, pos ? pos->had_upto : 0,
                                     manifest_root(d->manifest), d->manifest->forced}};
                /* up to the start of the incarnation nothing is in the ledger but the start record, if that */
                bool beyond = pos && pos->published > d->manifest->started;
                TRY(lanes_add(rt->lanes, &spec, beyond ? pos->published : 0, beyond || (pos && pos->started)));
            }
        }
    }
    return NULL;
}

static void lane_post(void *arg, lanes_entry_t *entry, lane_answer_t a) {
    runtime_t *rt = arg;
    worker_post(rt->w, (note_t){.kind = NOTE_LANE, .rt = rt, .entry = entry, .answer = a});
}
static void lane_published_to(void *arg, uint64_t fingerprint, int lane, epoch_t epoch, bool started) {
    runtime_t *rt = arg;
    worker_event(rt->w, &(agent_event_t){.kind = AGENT_EV_PUBLISHED, .job = rt->job, .attempt = rt->attempt, .fingerprint = fingerprint,
                                         .lane = lane, .epoch = epoch, .started = started});
}
void runtime_failed(runtime_t *rt, err_t *e) {
    worker_post(rt->w, (note_t){.kind = NOTE_FAILED, .job = rt->job, .attempt = rt->attempt, .stage = -1, .subtask = -1, .error = e});
}
static void lane_stopped_for(void *arg, uint64_t fingerprint, int lane, const char *label, err_t *e) {
    runtime_failed(arg, err_wrap(e, "lane %d of sink %s", lane, label));
}
static void output_left(void *arg, size_t bytes) { kstate_env_output(((runtime_t *)arg)->state, -(int64_t)bytes); }
static void lanes_all_closed(void *arg) {
    runtime_t *rt = arg;
    runtime_answered(rt, &rt->awaits.lanes);
}

err_t *runtime_prepare(runtime_t *rt) {
    TRY(compile(rt));
    make_slot_tasks(rt);
    rt->dir = base_directory(rt->w->conf.data_dir, rt->job, rt->attempt);
    kstate_env_conf_t conf = {.memory = (size_t)(rt->w->conf.memory / 8), .open_base = open_base, .arg = rt, .applied = base_applied};
    rt->state = kstate_env_new(&conf);
    memory_add(rt->w->memory, rt->state);
    lanes_handler_t h = {lane_post, lane_published_to, lane_stopped_for, lanes_all_closed, output_left, rt};
    rt->lanes = lanes_new(rt->w->conf.lane_driver, &h);
    return make_lanes(rt);
}
