/* sim_worker.c: a worker process: the real agent, lanes, tasks, changelog, applier and restore, joined by a driver on the virtual clock, which does
 * what worker/driver*.c, runtime_life.c, checkpoint.c and base.c do with threads, in the same order. */
#include "tests/sim/sim_worker_int.h"
#include <stdio.h>
#include <stdlib.h>

void note_drop(void *arg) {
    note_t *n = arg;
    err_free(n->error);
    err_free(n->answer.error);
    if (n->seal) task_seal_free(n->seal);
    free(n->extent.path);
    if (n->base) {
        base_done(n->base);
        free(n->base);
    }
    ctl_free(n->msg);
    free(n);
}
note_t *note_new(const srt_t *rt) {
    note_t *n = xcalloc(1, sizeof *n);
    n->p = rt->w->p;
    n->job = rt->job;
    n->attempt = rt->attempt;
    n->stage = n->subtask = -1;
    return n;
}
void note_later(srt_t *rt, int64_t us, sim_fn fn, note_t *n) {
    sim_t *s = rt->w->p->s;
    sim_at(s, s->now + us, rt->w->p, fn, n, note_drop);
}
srt_t *runtime_of(sim_worker_t *w, job_id_t job, attempt_t attempt) {
    for (srt_t *rt = w->runtimes; rt; rt = rt->next)
        if (rt->job == job && rt->attempt == attempt) return rt;
    return NULL;
}
static int64_t wall_ms(const sim_worker_t *w) { return 1700000000000 + sim_now_ms(w->p->s) + w->p->skew_ms; }

static void perform_all(sim_worker_t *w);
static void plan_tick(sim_worker_t *w);
void agent_event(sim_worker_t *w, agent_event_t *ev) {
    ev->now_ms = sim_now_ms(w->p->s);
    ev->wall_ms = wall_ms(w);
    agent_step(w->agent, ev, &w->actions);
    perform_all(w);
    if (!w->p->dying) plan_tick(w);
}

/* ---------------------------------------------------------------- stepping tasks */
static void pump(sim_t *s, void *arg);
static void plan_pump(sim_worker_t *w, int64_t at) {
    sim_t *s = w->p->s;
    if (w->pump_at > s->now && w->pump_at <= at) return;
    w->pump_at = MAX(at, s->now + 1);
    proc_t **arg = xmalloc(sizeof *arg);
    *arg = w->p;
    sim_at(s, w->pump_at, w->p, pump, arg, NULL);
}
void wake_task(void *arg) {
    stask_t *t = arg;
    t->awake = true;
    if (t->rt->started) plan_pump(t->rt->w, t->rt->w->p->s->now + 50);
}
void sim_worker_wake(proc_t *p, job_id_t job, attempt_t attempt, int stage, int subtask) {
    srt_t *rt = runtime_of(p->worker, job, attempt);
    for (int i = 0; rt && i < rt->ntasks; i++)
        if (rt->tasks[i].stage == stage && rt->tasks[i].subtask == subtask) wake_task(&rt->tasks[i]);
}
int64_t task_now(void *arg) {
    srt_t *rt = ((stask_t *)arg)->rt;
    return rt->clock_ms = MAX(rt->clock_ms, wall_ms(rt->w));
}
static void on_sealed(sim_t *s, void *arg) {
    note_t *n = arg;
    sim_log(s, "%s: sealed e=%" PRIu64 " %d/%d", n->p->name, n->epoch, n->seal->stage, n->seal->subtask);
    agent_event_t ev = {.kind = AGENT_EV_SEALED, .job = n->job, .attempt = n->attempt, .epoch = n->epoch, .seal = TAKE(n->seal)};
    agent_event(n->p->worker, &ev);
    note_drop(n);
}
void task_sealed(void *arg, task_seal_t *seal) {
    stask_t *t = arg;
    note_t *n = note_new(t->rt);
    n->seal = seal;
    n->epoch = seal->epoch;
    note_later(t->rt, 0, on_sealed, n);
}
void on_task_note(sim_t *s, void *arg) { /* ended, or failed when there is an error */
    note_t *n = arg;
    sim_log(s, "%s: task %d/%d %s", n->p->name, n->stage, n->subtask, n->error ? err_text(n->error) : "ended");
    const srt_t *rt = n->error ? runtime_of(n->p->worker, n->job, n->attempt) : NULL;
    if (rt && rt->state && kstate_env_health(rt->state) == BASE_LOST) sim_reach(s, ROW_BASE_LOST);
    agent_event_t ev = {.kind = n->error ? AGENT_EV_FAILED : AGENT_EV_ENDED, .job = n->job, .attempt = n->attempt, .stage = n->stage,
                        .subtask = n->subtask, .where = n->where[0] ? n->where : NULL, .error = TAKE(n->error)};
    agent_event(n->p->worker, &ev);
    note_drop(n);
}
static void step_task(stask_t *t) {
    sim_t *s = t->rt->w->p->s;
    err_t *e = NULL;
    t->awake = false;
    task_status_t st = task_step(t->task, (uint32_t)sim_between(s, 1, 24), &e);
    if (st == TASK_RUNNABLE) t->awake = true;
    if ((st == TASK_ENDED && !t->ended) || st == TASK_FAILED) {
        note_t *n = note_new(t->rt);
        n->stage = t->stage;
        n->subtask = t->subtask;
        n->error = e;
        t->ended = true;
        t->failed = st == TASK_FAILED;
        note_later(t->rt, 0, on_task_note, n);
    }
}
static void heartbeat(sim_worker_t *w);
static bool busy(srt_t *rt);
static void pump(sim_t *s, void *arg) {
    proc_t *p = *(proc_t **)arg;
    free(arg);
    sim_worker_t *w = p->worker;
    if (s->now < w->pump_at) return;
    w->pump_at = 0;
    int64_t next = INT64_MAX;
    bool turned = false;
    for (srt_t *rt = w->runtimes; rt; rt = rt->next) {
        if (!rt->started || rt->tearing) continue;
        int first = (int)sim_below(s, (uint64_t)rt->ntasks + 1);
        for (int k = 0; k < rt->ntasks; k++) {
            stask_t *t = &rt->tasks[(first + k) % rt->ntasks];
            if (t->failed) continue;
            if (!t->awake && task_next_tick_ms(t->task) <= task_now(t)) t->awake = true;
            if (t->awake) step_task(t);
            if (t->failed) continue;
            int64_t tick = task_next_tick_ms(t->task);
            if (t->awake) next = MIN(next, s->now + 300);
            else if (tick != INT64_MAX) next = MIN(next, s->now + MAX(tick - rt->clock_ms, (int64_t)1) * SIM_MS);
        }
        turned = turned || (!rt->busy_reported && busy(rt));
    }
    if (turned && agent_here(w->agent)) heartbeat(w);
    if (next != INT64_MAX) plan_pump(w, next);
}

static void unlink_runtime(srt_t *rt) {
    for (srt_t **at = &rt->w->runtimes; *at; at = &(*at)->next) {
        if (*at != rt) continue;
        *at = rt->next;
        return;
    }
}
static void on_torn(sim_t *s, void *arg) {
    note_t *n = arg;
    sim_worker_t *w = n->p->worker;
    srt_t *rt = runtime_of(w, n->job, n->attempt);
    if (rt) {
        unlink_runtime(rt);
        attempt_free(rt);
    }
    agent_event_t ev = {.kind = AGENT_EV_TORN, .job = n->job, .attempt = n->attempt};
    agent_event(w, &ev);
    note_drop(n);
}
static void teardown(sim_worker_t *w, const agent_action_t *x) {
    srt_t *rt = runtime_of(w, x->job, x->attempt);
    note_t *n = xcalloc(1, sizeof *n);
    *n = (note_t){.p = w->p, .job = x->job, .attempt = x->attempt};
    if (rt) rt->tearing = true;
    if (rt && rt->building) { /* the builder is waited for: on_built goes on */
        note_drop(n);
        return;
    }
    sim_at(w->p->s, w->p->s->now + sim_between(w->p->s, 100, 5000), w->p, on_torn, n, note_drop);
}

/* ---------------------------------------------------------------- build, write, base */
static void on_built(sim_t *s, void *arg) {
    note_t *n = arg;
    sim_worker_t *w = n->p->worker;
    srt_t *rt = runtime_of(w, n->job, n->attempt);
    rt->building = false;
    bool torn = rt->tearing;
    sim_log(s, "%s: built a=%" PRIu64 " %s", n->p->name, n->attempt, n->error ? err_text(n->error) : "");
    if (!n->error && !torn) {
        epoch_t e = rt->deploy->deploy.manifest->epoch;
        rt->complete = rt->restored = e;
        rt->tried_ms = sim_now_ms(s);
        if (e > 0) lanes_complete(rt->lanes, e);
        attempt_check_restored(rt);
    }
    if (n->p->dying || sim_point(s, n->p, ROW_BUILT)) {
        note_drop(n);
        return;
    }
    agent_event_t ev = {.kind = AGENT_EV_BUILT, .job = n->job, .attempt = n->attempt, .error = TAKE(n->error), .stage = -1, .subtask = -1,
                        .damaged = rt->damaged};
    agent_event(w, &ev);
    if (torn) {
        agent_action_t again = {.job = n->job, .attempt = n->attempt};
        teardown(w, &again);
    }
    note_drop(n);
}
static void on_build(sim_t *s, void *arg) {
    note_t *n = arg;
    srt_t *rt = runtime_of(n->p->worker, n->job, n->attempt);
    note_t *r = note_new(rt);
    if (rt->tearing) r->error = err_new(ERR_CANCELLED, "stopped while it was built");
    else r->error = attempt_build(rt);
    note_later(rt, sim_between(s, 500, 8000), on_built, r);
    note_drop(n);
}
static void do_build(sim_worker_t *w, ctl_msg_t *deploy) {
    if (sim_point(w->p->s, w->p, ROW_DEPLOY)) {
        ctl_free(deploy);
        return;
    }
    srt_t *rt = xcalloc(1, sizeof *rt);
    rt->w = w;
    rt->deploy = deploy;
    rt->job = deploy->job;
    rt->attempt = deploy->attempt;
    rt->clock_ms = deploy->deploy.manifest->processing_ms;
    rt->id = (changelog_id_t){rt->job, deploy->incarnation, deploy->leader, rt->attempt, w->p->name};
    rt->building = true;
    rt->next = w->runtimes;
    w->runtimes = rt;
    note_later(rt, sim_between(w->p->s, 200, 3000), on_build, note_new(rt));
}

static void on_written(sim_t *s, void *arg) {
    note_t *n = arg;
    sim_worker_t *w = n->p->worker;
    srt_t *rt = runtime_of(w, n->job, n->attempt);
    if (sim_point(s, n->p, ROW_APPENDED)) {
        note_drop(n);
        return;
    }
    sim_log(s, "%s: written e=%" PRIu64 " %s", n->p->name, n->epoch, n->error ? err_text(n->error) : "");
    agent_event_t ev = {.kind = AGENT_EV_WRITTEN, .job = n->job, .attempt = n->attempt, .epoch = n->epoch, .bytes = n->bytes, .never = n->never,
                        .error = TAKE(n->error)};
    if (rt && !ev.error && !rt->tearing && rt->writing == n->epoch) {
        for (int i = 0; i < rt->nseals; i++)
            for (int k = 0; k < rt->seals[i]->nsinks; k++) {
                sink_seal_t *x = &rt->seals[i]->sinks[k];
                lanes_feed(rt->lanes, x->fingerprint, x->lane, n->epoch, &x->segment);
                x->segment = (buf_t){0};
            }
        applier_add_extent(rt->applier, &n->extent);
        rt->bytes += n->bytes;
        ev.want_base = kstate_env_over(rt->state);
        attempt_writer_clear(rt);
    }
    ev.extent = n->extent;
    n->extent.path = NULL;
    agent_event(w, &ev);
    note_drop(n);
}
static void on_write(sim_t *s, void *arg) {
    note_t *n = arg;
    sim_worker_t *w = n->p->worker;
    srt_t *rt = runtime_of(w, n->job, n->attempt);
    if (!rt || rt->tearing || rt->writing != n->epoch || sim_point(s, n->p, ROW_SEALED)) {
        note_drop(n);
        return;
    }
    disk_phase(w->p->disk, DISK_WRITE);
    if (!rt->log) {
        rt->log = changelog_new(w->p->disk, &rt->id);
        if (s->mix.file_bytes) changelog_set_file_bytes(rt->log, s->mix.file_bytes);
    }
    err_t *e = NULL;
    if (rt->segment.bytes == 0) e = segment_gather(&rt->id, n->epoch, rt->seals, rt->nseals, true, &rt->segment);
    if (!e) e = changelog_append_pieces(rt->log, n->epoch, &rt->segment, &n->extent);
    disk_phase(w->p->disk, DISK_OTHER);
    n->error = e;
    n->bytes = rt->segment.bytes;
    n->never = e && rt->segment.bytes == 0;
    note_later(rt, sim_between(s, s->mix.disk_us / 2, 2 * s->mix.disk_us), on_written, n);
}
static int by_place(const void *a, const void *b) {
    const task_seal_t *x = *(task_seal_t *const *)a, *y = *(task_seal_t *const *)b;
    return x->stage != y->stage ? x->stage - y->stage : x->subtask - y->subtask;
}
static void do_write(srt_t *rt, agent_action_t *x, bool again) {
    if (!again) {
        ASSERT(rt->writing == 0); /* the agent asks for one write at a time */
        rt->writing = x->epoch;
        rt->nseals = x->n;
        rt->seals = TAKE(x->seals);
        x->n = 0;
        qsort(rt->seals, (size_t)rt->nseals, sizeof *rt->seals, by_place);
        segment_free(&rt->segment);
    }
    note_t *n = note_new(rt);
    n->epoch = x->epoch;
    note_later(rt, sim_between(rt->w->p->s, 20, 500), on_write, n);
}

static void on_based(sim_t *s, void *arg) {
    note_t *n = arg;
    srt_t *rt = runtime_of(n->p->worker, n->job, n->attempt);
    if (rt) rt->base_flying = false;
    if (sim_point(s, n->p, ROW_BASE_STORED)) {
        note_drop(n);
        return;
    }
    sim_log(s, "%s: base e=%" PRIu64, n->p->name, n->epoch);
    agent_event_t ev = {.kind = AGENT_EV_BASED, .job = n->job, .attempt = n->attempt, .epoch = n->epoch, .base = TAKE(n->base)};
    agent_event(n->p->worker, &ev);
    note_drop(n);
}
/* As in worker/base.c: it is tried again, but what no try helps ends the attempt. Takes e. */
static void base_tried(srt_t *rt, err_t *e) {
    sim_t *s = rt->w->p->s;
    if (e && !rt->w->p->dying) sim_log(s, "%s: base fails: %s", rt->w->p->name, err_text(e));
    if (!e || rt->w->p->dying || !base_ends(kstate_env_health(rt->state), 0)) {
        err_free(e);
        return;
    }
    rt->base_over = true;
    sim_reach(s, ROW_BASE_LOST);
    agent_event_t ev = {.kind = AGENT_EV_FAILED, .job = rt->job, .attempt = rt->attempt, .stage = -1, .subtask = -1, .own = true, .error = e};
    agent_event(rt->w, &ev);
}
/* Between bases the local base follows when tables find nothing to evict, as in worker/base.c: held sources wait for it. */
static void follow(srt_t *rt) {
    if (!applier_pending(rt->applier) || !kstate_env_short(rt->state)) return;
    disk_phase(rt->w->p->disk, DISK_BASE);
    err_t *e = applier_apply(rt->applier, rt->complete); /* stays pending */
    disk_phase(rt->w->p->disk, DISK_OTHER);
    base_tried(rt, e);
}
static bool base_wanted(const srt_t *rt) {
    sim_t *s = rt->w->p->s;
    return (rt->asked || kstate_env_over(rt->state)) && sim_now_ms(s) - rt->tried_ms >= s->mix.base_interval_ms / 3;
}
/* worker/base.c's rule is for gigabytes; here a base is made when it is asked for, or memory is short. */
static void on_base(sim_t *s, void *arg) {
    note_t *n = arg;
    srt_t *rt = runtime_of(n->p->worker, n->job, n->attempt);
    if (!rt || rt->tearing) {
        note_drop(n);
        return;
    }
    follow(rt);
    if (rt->base_over) {
        note_drop(n);
        return;
    }
    bool changed = rt->complete > rt->based && rt->complete > rt->restored && rt->bytes > 0, wanted = base_wanted(rt);
    rt->base_flying = false;
    if (wanted) rt->tried_ms = sim_now_ms(s);
    if (!wanted || !changed || rt->unaccepted) {
        note_drop(n);
        return;
    }
    disk_phase(n->p->disk, DISK_BASE);
    base_t *base = xcalloc(1, sizeof *base);
    err_t *e = applier_checkpoint(rt->applier, rt->complete, base);
    disk_phase(n->p->disk, DISK_OTHER);
    if (e) {
        base_tried(rt, e);
        free(base);
        note_drop(n);
        return;
    }
    rt->asked = false;
    rt->based = rt->unaccepted = n->epoch = rt->complete;
    rt->bytes = 0;
    rt->base_flying = true;
    n->base = base;
    note_later(rt, sim_between(s, 1000, 20000), on_based, n);
}
static void maybe_base(srt_t *rt) {
    sim_t *s = rt->w->p->s;
    if (rt->base_over || rt->base_flying || (!base_wanted(rt) && !kstate_env_short(rt->state))) return;
    rt->base_flying = true;
    note_later(rt, sim_between(s, 500, 5000), on_base, note_new(rt));
}

/* ---------------------------------------------------------------- heartbeats */
static uint64_t progress(srt_t *rt) {
    uint64_t n = 0;
    for (int i = 0; i < rt->ntasks; i++) {
        task_stats_t st;
        task_stats(rt->tasks[i].task, &st);
        n += st.rows_in + st.rows_out + st.bad_records + rt->tasks[i].ended;
        n += st.watermark == WATERMARK_NONE ? 0 : (uint64_t)st.watermark;
    }
    return n;
}
static bool busy(srt_t *rt) {
    if (!rt->started || rt->tearing || !rt->lanes) return false;
    return progress(rt) != rt->progress_injected || lanes_unpublished(rt->lanes) > 0;
}
static void heartbeat(sim_worker_t *w) {
    ctl_msg_t *m = ctl_new(CTL_HEARTBEAT);
    m->leader = agent_leader(w->agent);
    int n = 0;
    for (srt_t *rt = w->runtimes; rt; rt = rt->next) n++;
    m->heartbeat.jobs = xcalloc((size_t)n + 1, sizeof *m->heartbeat.jobs);
    for (srt_t *rt = w->runtimes; rt; rt = rt->next) {
        if (rt->building || rt->tearing || !rt->lanes) continue;
        maybe_base(rt);
        job_report_t *r = &m->heartbeat.jobs[m->heartbeat.njobs++];
        *r = (job_report_t){.job = rt->job, .attempt = rt->attempt};
        r->tasks = xcalloc(1, sizeof *r->tasks);
        lanes_report(rt->lanes, wall_ms(w), &r->nlanes, &r->lanes);
        const char *waiting = agent_waiting(w->agent, rt->job);
        r->waiting = waiting ? xstrdup(waiting) : NULL;
        r->busy = rt->busy_reported = busy(rt);
    }
    clink_t *l = clink_of(w->p->s, w->p, w->link);
    if (l) clink_send(l, true, m);
    else ctl_free(m);
}

/* ---------------------------------------------------------------- actions */
static void on_connected(sim_t *s, void *arg) {
    note_t *n = arg;
    sim_worker_t *w = n->p->worker;
    proc_t *c = &s->procs[n->stage];
    bool ok = c->alive && !c->dying && s->now >= c->cut_until && s->now >= n->p->cut_until;
    if (ok) {
        clink_open(s, n->p, c, n->link);
        w->link = n->link;
    }
    agent_event_t ev = {.kind = ok ? AGENT_EV_LINKED : AGENT_EV_UNLINKED, .link = n->link};
    agent_event(w, &ev);
    note_drop(n);
}
static void do_connect(sim_worker_t *w, const agent_action_t *x) {
    note_t *n = xcalloc(1, sizeof *n);
    *n = (note_t){.p = w->p, .link = x->link, .stage = (x->n + w->p->index) % SIM_COORDS};
    sim_at(w->p->s, w->p->s->now + sim_latency(w->p->s), w->p, on_connected, n, note_drop);
}
static void do_send(sim_worker_t *w, ctl_msg_t *m) {
    sim_t *s = w->p->s;
    sim_log(s, "%s > %s e=%" PRIu64 " a=%" PRIu64, w->p->name, ctl_kind_name(m->kind), m->epoch, m->attempt);
    bool ack = m->kind == CTL_ACK;
    clink_t *l = clink_of(s, w->p, w->link);
    if (l) clink_send(l, true, m);
    else ctl_free(m);
    if (ack) sim_point(s, w->p, ROW_ACKED);
}
static void do_inject(srt_t *rt, const agent_action_t *x) {
    if (rt->tearing) return;
    if (x->flags & BARRIER_BASE) rt->asked_epoch = x->epoch;
    rt->progress_injected = progress(rt);
    rt->busy_reported = false;
    for (int i = 0; i < rt->ntasks; i++) {
        if (!rt->tasks[i].source || rt->tasks[i].failed) continue;
        task_inject(rt->tasks[i].task, x->epoch, x->flags);
        wake_task(&rt->tasks[i]);
    }
    sim_point(rt->w->p->s, rt->w->p, ROW_BEFORE_SEAL);
}
static void do_complete(srt_t *rt, epoch_t epoch) {
    if (rt->tearing || sim_point(rt->w->p->s, rt->w->p, ROW_COMPLETED)) return;
    for (int i = 0; i < rt->ntasks; i++)
        if (!rt->tasks[i].failed) err_free(task_complete(rt->tasks[i].task, epoch));
    rt->complete = MAX(rt->complete, epoch);
    rt->w->p->s->memory_short += kstate_env_over(rt->state);
    rt->w->p->s->output_full += kstate_env_output_full(rt->state);
    applier_complete(rt->applier, epoch);
    if (rt->asked_epoch && epoch >= rt->asked_epoch) {
        rt->asked = true;
        rt->asked_epoch = 0;
    }
    lanes_complete(rt->lanes, epoch);
    maybe_base(rt);
}
static void do_start(srt_t *rt) {
    if (rt->started || rt->tearing) return;
    rt->started = true;
    err_t *opened = lanes_open(rt->lanes);
    if (opened) sim_broken(rt->w->p->s, "lanes do not open: %s", err_text(opened));
    err_free(opened);
    for (int i = 0; i < rt->ntasks; i++) {
        err_t *e = task_start(rt->tasks[i].task);
        if (e) sim_broken(rt->w->p->s, "a task does not start: %s", err_text(e));
        err_free(e);
        wake_task(&rt->tasks[i]);
    }
}
static void perform_run(sim_worker_t *w, srt_t *rt, agent_action_t *x) {
    switch (x->kind) {
    case AGENT_DO_START: do_start(rt); break;
    case AGENT_DO_INJECT: do_inject(rt, x); break;
    case AGENT_DO_WRITE: do_write(rt, x, false); break;
    case AGENT_DO_WRITE_AGAIN: do_write(rt, x, true); break;
    case AGENT_DO_COMPLETE: do_complete(rt, x->epoch); break;
    case AGENT_DO_BASE_ACCEPTED:
        if (rt->unaccepted && x->epoch >= rt->unaccepted) rt->unaccepted = 0;
        break;
    case AGENT_DO_CONFIRM:
        if (rt->lanes && !rt->building && !rt->tearing) lanes_confirm(rt->lanes);
        break;
    case AGENT_DO_ADD_SPLITS: break;
    default: UNREACHABLE();
    }
}
static void perform(sim_worker_t *w, agent_action_t *x) {
    sim_t *s = w->p->s;
    switch (x->kind) {
    case AGENT_DO_CONNECT: do_connect(w, x); return;
    case AGENT_DO_CLOSE: clink_close(clink_of(s, w->p, x->link), false); return;
    case AGENT_DO_SEND: do_send(w, TAKE(x->msg)); return;
    case AGENT_DO_HEARTBEAT: heartbeat(w); return;
    case AGENT_DO_BUILD: do_build(w, TAKE(x->msg)); return;
    case AGENT_DO_TEARDOWN: teardown(w, x); return;
    case AGENT_DO_FORGET: return;
    case AGENT_DO_EXIT:
        sim_log(s, "%s exits: %s", w->p->name, err_text(x->error));
        if (!x->error) sim_reach(s, ROW_DRAIN);
        w->p->dying = true;
        return;
    default: break;
    }
    srt_t *rt = runtime_of(w, x->job, x->attempt);
    if (rt) perform_run(w, rt, x);
}
/* An action may raise events that append more: the outermost call goes on until the list is worked off. */
static void perform_all(sim_worker_t *w) {
    if (w->performing) return;
    w->performing = true;
    for (int i = 0; i < w->actions.n; i++) {
        agent_action_t x = w->actions.items[i];
        w->actions.items[i] = (agent_action_t){0};
        if (!w->p->dying) perform(w, &x);
        agent_actions_t one = {1, 1, &x};
        agent_actions_clear(&one);
    }
    w->actions.n = 0;
    w->performing = false;
}

/* ---------------------------------------------------------------- events */
static void tick(sim_t *s, void *arg) {
    proc_t *p = *(proc_t **)arg;
    free(arg);
    sim_worker_t *w = p->worker;
    if (s->now < w->tick_at) return;
    w->tick_at = 0;
    if (sim_now_ms(s) >= agent_next_tick_ms(w->agent)) {
        agent_event_t ev = {.kind = AGENT_EV_TICK};
        agent_event(w, &ev);
    } else {
        plan_tick(w);
    }
}
static void plan_tick(sim_worker_t *w) {
    sim_t *s = w->p->s;
    int64_t ms = agent_next_tick_ms(w->agent);
    if (ms == INT64_MAX) return;
    int64_t at = MAX(ms * SIM_MS, s->now + SIM_MS);
    if (w->tick_at > s->now && w->tick_at <= at) return;
    w->tick_at = at;
    proc_t **arg = xmalloc(sizeof *arg);
    *arg = w->p;
    sim_at(s, at, w->p, tick, arg, NULL);
}
void sim_worker_message(proc_t *p, uint32_t generation, ctl_msg_t *m) {
    agent_event_t ev = {.kind = AGENT_EV_MESSAGE, .link = generation, .msg = m};
    agent_event(p->worker, &ev);
}
void sim_worker_unlinked(proc_t *p, uint32_t generation) {
    sim_log(p->s, "%s: link closed", p->name);
    for (srt_t *rt = p->worker->runtimes; rt; rt = rt->next)
        if (rt->lanes && !rt->building && !rt->tearing) lanes_unconfirm(rt->lanes);
    agent_event_t ev = {.kind = AGENT_EV_UNLINKED, .link = generation};
    agent_event(p->worker, &ev);
}
void sim_worker_link_failed(proc_t *p, job_id_t job, attempt_t attempt, const char *peer) {
    srt_t *rt = runtime_of(p->worker, job, attempt);
    if (!rt) return;
    note_t *n = note_new(rt);
    n->error = err_new(ERR_UNAVAILABLE, "the data link to %s broke", peer);
    snprintf(n->where, sizeof n->where, "%s", peer);
    note_later(rt, 0, on_task_note, n);
}
bool sim_worker_break_base(proc_t *p) {
    srt_t *rt = p->alive ? p->worker->runtimes : NULL;
    while (rt && (rt->tearing || !rt->state || !kstate_env_base(rt->state))) rt = rt->next;
    if (!rt) return false;
    sim_log(p->s, "fault: the local base of %s is corrupt", p->name);
    base_ails(kstate_env_base(rt->state), BASE_LOST);
    return true;
}
void sim_worker_leave(proc_t *p) {
    sim_log(p->s, "%s is told to leave", p->name);
    agent_event_t ev = {.kind = AGENT_EV_LEAVE};
    agent_event(p->worker, &ev);
}
void sim_worker_describe(proc_t *p) {
    for (srt_t *rt = p->worker ? p->worker->runtimes : NULL; rt; rt = rt->next) {
        sim_log(p->s, "%s: attempt %" PRIu64 "%s%s%s, complete %" PRIu64 ", writing %" PRIu64 ", pump at %" PRId64, p->name, rt->attempt,
                rt->building ? " building" : "", rt->started ? " started" : "", rt->tearing ? " tearing" : "", rt->complete, rt->writing,
                p->worker->pump_at / SIM_MS);
        for (int i = 0; i < rt->ntasks && rt->tasks[i].task; i++) {
            task_stats_t st;
            task_stats(rt->tasks[i].task, &st);
            int64_t tick = task_next_tick_ms(rt->tasks[i].task);
            sim_log(p->s, "%s: task %d/%d%s%s%s in %" PRIu64 " out %" PRIu64 " tick in %" PRId64, p->name, rt->tasks[i].stage, rt->tasks[i].subtask,
                    rt->tasks[i].awake ? " awake" : "", rt->tasks[i].ended ? " ended" : "", rt->tasks[i].failed ? " failed" : "", st.rows_in,
                    st.rows_out, tick == INT64_MAX ? -1 : tick - rt->clock_ms);
        }
    }
}
bool sim_worker_runs(const proc_t *p, attempt_t *ret) {
    for (srt_t *rt = p->worker ? p->worker->runtimes : NULL; rt; rt = rt->next) {
        if (!rt->started || rt->tearing) continue;
        *ret = rt->attempt;
        return true;
    }
    return false;
}

sim_worker_t *sim_worker_new(proc_t *p) {
    sim_worker_t *w = xcalloc(1, sizeof *w);
    w->p = p;
    agent_conf_t conf = {.name = p->name, .address = p->name, .slots = 2, .memory = 1 << 20, .build = "sim", .several = true};
    w->agent = agent_new(&conf);
    w->driver = kafka_driver(p->s->kafka, p);
    plan_tick(w);
    return w;
}
void sim_worker_free(sim_worker_t *w) {
    while (w->runtimes) {
        srt_t *rt = w->runtimes;
        w->runtimes = rt->next;
        attempt_free(rt);
    }
    agent_free(w->agent);
    agent_actions_free(&w->actions);
    free(w);
}
