/* driver.c: the control thread: notes in, agent events, actions out. See driver.h. */
#include "worker/driver.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "worker/driver_int.h"
#include <stdlib.h>
#include <unistd.h>

#define WATCH_MS 250
#define SAY_MS 2000 /* so long the end of an attempt may take before it is said what it waits for */
#define LOOP_MS_MAX 1000
#define WIND_UP_MS 20000
#define WIND_UP_HUNG_MS 1000
#define NOTES_PER_TURN 256 /* then the clock is looked at: no flood of notes may hold heartbeats back */

void note_free(void *note) {
    note_t *n = note;
    ctl_free(n->msg);
    err_free(n->error);
    if (n->seal) task_seal_free(n->seal);
    free(n->where);
    err_free(n->done.error);
    free(n->done.extent.path);
    checkpoint_seals_free(n->done.seals, n->done.nseals);
    err_free(n->answer.error);
    if (n->base) {
        ctl_msg_t *m = ctl_new(CTL_BASE_DONE); /* its release knows a base's parts */
        m->base_done.base = *n->base;
        free(n->base);
        ctl_free(m);
    }
    free(n);
}

void worker_post(worker_t *w, note_t n) {
    note_t *copy = xmalloc(sizeof *copy);
    *copy = n;
    if (!mailbox_send(w->mail, copy)) note_free(copy); /* closed: the worker is going away */
}

runtime_t *worker_runtime(worker_t *w, job_id_t job, attempt_t attempt) {
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next)
        if (rt->job == job && rt->attempt == attempt) return rt;
    return NULL;
}

void worker_event(worker_t *w, agent_event_t *ev) {
    ev->now_ms = clock_mono_ms();
    ev->wall_ms = clock_wall_ms();
    agent_step(w->agent, ev, &w->actions);
}

/* ---------------------------------------------------------------- links */
static void link_message(void *arg, link_t *l, ctl_msg_t *m) {
    link_slot_t *s = arg;
    worker_post(s->w, (note_t){.kind = NOTE_MESSAGE, .link = s->generation, .msg = m});
}
static void link_closed(void *arg, link_t *l, err_t *why) {
    link_slot_t *s = arg;
    worker_post(s->w, (note_t){.kind = NOTE_CLOSED, .link = s->generation, .error = why});
}

static void do_connect(worker_t *w, const agent_action_t *x) {
    link_slot_t *s = xcalloc(1, sizeof *s);
    s->w = w;
    s->generation = x->link;
    link_handler_t h = {link_message, link_closed, s};
    err_t *e = w->conf.connect(w->conf.arg, x->n, &h, &s->link);
    if (e) {
        log_line(LOG_DEBUG, "no coordinator", "worker=%s error=\"%s\"", w->conf.name, err_text(e));
        free(s);
        worker_event(w, &(agent_event_t){.kind = AGENT_EV_UNLINKED, .link = x->link, .error = e});
        return;
    }
    s->next = w->links;
    w->links = s;
    w->link = s->link;
    w->link_generation = x->link;
    worker_event(w, &(agent_event_t){.kind = AGENT_EV_LINKED, .link = x->link});
}

static void do_close(worker_t *w, uint32_t generation, const err_t *why) {
    if (why) log_line(LOG_WARN, "coordinator left", "worker=%s error=\"%s\"", w->conf.name, err_text(why));
    for (link_slot_t *s = w->links; s; s = s->next) {
        if (s->generation != generation) continue;
        if (w->link == s->link) w->link = NULL;
        s->link->close(s->link);
    }
}

/* One that never welcomed us is not lost: a worker may be started first, and says once that it waits. */
static void say_unlinked(worker_t *w, const note_t *n) {
    bool lost = agent_here(w->agent) && n->link == w->link_generation && !w->quit;
    if (!lost && !n->error) return; /* we closed it ourselves */
    if (lost) log_line(LOG_INFO, "coordinator lost", "worker=%s error=\"%s\"", w->conf.name, n->error ? err_text(n->error) : "it closed the connection");
    else log_line(w->alone_said ? LOG_DEBUG : LOG_INFO, "waits for a coordinator", "worker=%s error=\"%s\"", w->conf.name, err_text(n->error));
    w->alone_said = !lost;
}

static void on_link_closed(worker_t *w, note_t *n) {
    for (link_slot_t **at = &w->links; *at; at = &(*at)->next) {
        link_slot_t *s = *at;
        if (s->generation != n->link) continue;
        *at = s->next;
        if (w->link == s->link) w->link = NULL;
        s->link->free(s->link);
        free(s);
        break;
    }
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) runtime_unconfirm(rt);
    say_unlinked(w, n);
    worker_event(w, &(agent_event_t){.kind = AGENT_EV_UNLINKED, .link = n->link, .error = TAKE(n->error)});
}

static void do_send(worker_t *w, ctl_msg_t *m) {
    if (w->link) w->link->send(w->link, m);
    else ctl_free(m);
}

/* ---------------------------------------------------------------- actions */
static void do_build(worker_t *w, ctl_msg_t *deploy) {
    if (w->quit) { /* nothing begins any more */
        ctl_free(deploy);
        return;
    }
    runtime_t *rt = runtime_new(w, deploy);
    rt->next = w->runtimes;
    w->runtimes = rt;
    rt->building = rt->parked = worker_frees(w, rt->job);
    if (!rt->parked) builder_ask(w, rt);
}

bool worker_frees(const worker_t *w, job_id_t job) {
    for (const discard_t *d = w->discards; d; d = d->next)
        if (d->job == job) return true;
    return false;
}

/* A later attempt needs the copies, and is released in its turn. */
static void do_forget(worker_t *w, job_id_t job) {
    for (const runtime_t *rt = w->runtimes; rt; rt = rt->next)
        if (rt->job == job) return;
    base_forget(w->base, job);
}

static void do_write(worker_t *w, runtime_t *rt, agent_action_t *x) {
    changelog_id_t id = {rt->job, rt->incarnation, rt->leader, rt->attempt, w->conf.name};
    checkpoint_write(w->checkpoint, &id, x->epoch, TAKE(x->seals), x->n);
    x->n = 0;
}

static void do_exit(worker_t *w, err_t *why) {
    if (w->exited) {
        err_free(why);
        return;
    }
    w->exited = true;
    w->conf.exited(w->conf.arg, why);
}

/* Told to go for an attempt that does not end: the reason says what of it, and it is not waited for again. */
static void told_to_exit(worker_t *w, err_t *why) {
    for (runtime_t *rt = w->runtimes; rt && why && !w->exited; rt = rt->next) {
        if (!rt->tearing || clock_mono_ms() - rt->tearing_since_ms < SAY_MS) continue;
        AUTO(auto_free) char *what = runtime_hangs(rt);
        w->hung = true;
        why = err_wrap(why, "job %" PRIu64 " waits for %s", rt->job, what);
        log_line(LOG_ERROR, "worker ends", "worker=%s error=\"%s\"", w->conf.name, err_text(why));
        break;
    }
    do_exit(w, why);
}

static void do_teardown(worker_t *w, runtime_t *rt, const agent_action_t *x) {
    if (rt) runtime_teardown(rt);
    else worker_event(w, &(agent_event_t){.kind = AGENT_EV_TORN, .job = x->job, .attempt = x->attempt});
}

static void perform(worker_t *w, agent_action_t *x) {
    runtime_t *rt = worker_runtime(w, x->job, x->attempt);
    switch (x->kind) {
    case AGENT_DO_CONNECT: do_connect(w, x); return;
    case AGENT_DO_CLOSE: do_close(w, x->link, x->error); return;
    case AGENT_DO_SEND: do_send(w, TAKE(x->msg)); return;
    case AGENT_DO_HEARTBEAT: do_send(w, worker_heartbeat(w)); return;
    case AGENT_DO_BUILD: do_build(w, TAKE(x->msg)); return;
    case AGENT_DO_TEARDOWN: do_teardown(w, rt, x); return;
    case AGENT_DO_FORGET: do_forget(w, x->job); return;
    case AGENT_DO_EXIT:
        if (x->n) log_line(LOG_WARN, "worker goes without handing over", "worker=%s: no coordinator answers", w->conf.name);
        told_to_exit(w, TAKE(x->error));
        return;
    default: break;
    }
    if (!rt) return;
    switch (x->kind) {
    case AGENT_DO_START: runtime_start(rt); break;
    case AGENT_DO_INJECT: runtime_inject(rt, x->epoch, x->flags); break;
    case AGENT_DO_WRITE: do_write(w, rt, x); break;
    case AGENT_DO_WRITE_AGAIN: checkpoint_again(w->checkpoint, rt->job, rt->attempt, x->epoch); break;
    case AGENT_DO_COMPLETE: runtime_complete(rt, x->epoch); break;
    case AGENT_DO_BASE_ACCEPTED: base_accepted(w->base, rt->job, rt->attempt, x->epoch); break;
    case AGENT_DO_CONFIRM: runtime_confirm(rt); break;
    case AGENT_DO_ADD_SPLITS: runtime_add_splits(rt, x->msg); break;
    default: UNREACHABLE();
    }
}

/* Performing an action may raise events that append more: go on until the list is worked off. */
static void perform_all(worker_t *w) {
    for (int i = 0; i < w->actions.n; i++) {
        agent_action_t x = w->actions.items[i]; /* the array may move meanwhile */
        w->actions.items[i] = (agent_action_t){0};
        perform(w, &x);
        agent_actions_t one = {1, 1, &x};
        agent_actions_clear(&one);
    }
    w->actions.n = 0;
}

/* ---------------------------------------------------------------- notes */
/* What ends the job is said where it ends: by the coordinator, and by `run`. */
static log_level_t level_of(const err_t *e) { return err_deterministic(e) || err_code(e) == ERR_FENCED ? LOG_INFO : LOG_WARN; }

/* The builder is done with it. */
static bool own_disk_fails(const runtime_t *rt) { return rt->unusable || (rt->state && kstate_env_health(rt->state) >= BASE_FAILS); }

static void on_built(worker_t *w, note_t *n) {
    runtime_t *rt = n->rt;
    err_t *e = TAKE(n->error);
    bool torn = rt->tearing;
    if (!e && !torn) {
        rt->building = false;
        runtime_launch(rt);
    }
    if (e && !torn) log_line(level_of(e), "attempt not built", "worker=%s job=%" PRIu64 " attempt=%" PRIu64 " error=\"%s\"", w->conf.name,
                             rt->job, rt->attempt, err_text(e));
    worker_event(w, &(agent_event_t){.kind = AGENT_EV_BUILT, .job = rt->job, .attempt = rt->attempt, .error = e, .stage = -1, .subtask = -1,
                                     .where = rt->culprit, .damaged = rt->damaged, .own = own_disk_fails(rt)});
    runtime_built(rt);
}

static void on_failed(worker_t *w, note_t *n) {
    const runtime_t *rt = worker_runtime(w, n->job, n->attempt);
    if (!rt || rt->tearing) return; /* that it was stopped is no news */
    log_line(level_of(n->error), "attempt failed", "worker=%s job=%" PRIu64 " attempt=%" PRIu64 " stage=%d subtask=%d error=\"%s\"", w->conf.name,
             n->job, n->attempt, n->stage, n->subtask, err_text(n->error));
    worker_event(w, &(agent_event_t){.kind = AGENT_EV_FAILED, .job = n->job, .attempt = n->attempt, .stage = n->stage,
                                     .subtask = n->subtask, .where = n->where, .own = !rt->building && own_disk_fails(rt),
                                     .error = TAKE(n->error)});
}

static void on_written(worker_t *w, note_t *n) {
    runtime_t *rt = worker_runtime(w, n->done.job, n->done.attempt);
    agent_event_t ev = {.kind = AGENT_EV_WRITTEN, .job = n->done.job, .attempt = n->done.attempt, .epoch = n->done.epoch,
                        .bytes = n->done.bytes, .never = n->done.never, .error = TAKE(n->done.error)};
    if (rt && !ev.error) runtime_written(rt, &n->done);
    ev.extent = n->done.extent;
    n->done.extent.path = NULL;
    worker_event(w, &ev);
}

static void on_let_go(worker_t *w, const note_t *n) {
    runtime_t *rt = worker_runtime(w, n->job, n->attempt);
    if (rt) runtime_answered(rt, n->kind == NOTE_DROPPED ? &rt->awaits.writer : &rt->awaits.base);
}

static discard_t **discard_of(worker_t *w, const note_t *n) {
    discard_t **at = &w->discards;
    while (*at && ((*at)->job != n->job || (*at)->attempt != n->attempt)) at = &(*at)->next;
    ASSERT(*at);
    return at;
}

static void discard_free(discard_t *d) {
    free(d->dir);
    free(d);
}

/* What of it takes so long; malloc'ed. */
static char *discard_hangs(const discard_t *d) {
    return d->torn && d->dir ? xprintf("its local base is being closed: %s", d->dir) : xstrdup(d->torn ? "its memory is being freed" : "its tasks are being closed");
}

/* From here on the coordinator may place the job anew: no task of it runs, no lane of it can commit, nothing of it is written. */
static void on_torn(worker_t *w, const note_t *n) {
    (*discard_of(w, n))->torn = true;
    worker_event(w, &(agent_event_t){.kind = AGENT_EV_TORN, .job = n->job, .attempt = n->attempt});
}

static void on_freed(worker_t *w, const note_t *n) {
    discard_t **at = discard_of(w, n), *d = *at;
    *at = d->next;
    pthread_join(d->thread, NULL); /* it said so last */
    discard_free(d);
    if (!w->runtimes && !w->discards) memory_idle(); /* the last job has gone */
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) {
        if (!rt->parked || worker_frees(w, rt->job)) continue;
        rt->parked = false;
        builder_ask(w, rt);
    }
}

/* A heartbeat out of turn, which the coordinator may as well have. */
static void render(worker_t *w) {
    ctl_msg_t *m = worker_heartbeat(w);
    worker_write_status(w, m);
    if (agent_here(w->agent)) do_send(w, m);
    else ctl_free(m);
}

static void handle(worker_t *w, note_t *n) {
    switch (n->kind) {
    case NOTE_MESSAGE:
        if (n->msg->kind == CTL_WELCOME && w->conf.welcomed) {
            err_t *e = w->conf.welcomed(w->conf.arg, n->msg->welcome.storage);
            if (e) {
                do_exit(w, e);
                break;
            }
        }
        worker_event(w, &(agent_event_t){.kind = AGENT_EV_MESSAGE, .link = n->link, .msg = TAKE(n->msg)});
        break;
    case NOTE_CLOSED: on_link_closed(w, n); break;
    case NOTE_FENCE: runtime_fence(n->rt); break;
    case NOTE_BUILT: on_built(w, n); break;
    case NOTE_SEALED:
        runtime_sealed(n->rt, n->seal);
        worker_event(w, &(agent_event_t){.kind = AGENT_EV_SEALED, .job = n->rt->job, .attempt = n->rt->attempt, .epoch = n->seal->epoch,
                                         .seal = TAKE(n->seal)});
        break;
    case NOTE_FAILED: on_failed(w, n); break;
    case NOTE_ENDED:
        worker_event(w, &(agent_event_t){.kind = AGENT_EV_ENDED, .job = n->rt->job, .attempt = n->rt->attempt, .stage = n->stage,
                                         .subtask = n->subtask});
        break;
    case NOTE_REMOVED: runtime_removed(n->rt, n->stage, n->subtask); break;
    case NOTE_WRITTEN: on_written(w, n); break;
    case NOTE_DROPPED:
    case NOTE_BASE_GONE: on_let_go(w, n); break;
    case NOTE_LANE:
        lanes_answer(n->rt->lanes, n->entry, n->answer);
        n->answer.error = NULL;
        break;
    case NOTE_BASED:
        worker_event(w, &(agent_event_t){.kind = AGENT_EV_BASED, .job = n->job, .attempt = n->attempt, .epoch = n->epoch, .base = TAKE(n->base)});
        break;
    case NOTE_TORN: on_torn(w, n); break;
    case NOTE_FREED: on_freed(w, n); break;
    case NOTE_LEAVE: worker_event(w, &(agent_event_t){.kind = AGENT_EV_LEAVE}); break;
    case NOTE_STATUS: render(w); break;
    case NOTE_QUIT: w->quit = true; break;
    }
}

void worker_slot_release(worker_t *w, const runtime_task_t *t) {
    if (t->slot) atomic_fetch_sub(&w->slot_load[t->slot_index], 1);
}

/* What has been torn down is freed beside, since closing a base takes time. Where no thread can be had it is tried again. */
static void reap(worker_t *w) {
    for (runtime_t **at = &w->runtimes; *at;) {
        runtime_t *rt = *at;
        if (!rt->torn) {
            at = &rt->next;
            continue;
        }
        *at = rt->next;
        for (int i = 0; i < rt->ntasks; i++) worker_slot_release(w, &rt->tasks[i]);
        discard_t *d = xcalloc(1, sizeof *d);
        *d = (discard_t){.next = w->discards, .rt = rt, .job = rt->job, .attempt = rt->attempt, .dir = rt->dir ? xstrdup(rt->dir) : NULL};
        w->discards = d;
    }
    for (discard_t *d = w->discards; d; d = d->next) {
        if (!d->rt || !builder_free(d->rt, &d->thread)) continue;
        d->rt = NULL;
        d->since_ms = clock_mono_ms();
    }
}

/* ---------------------------------------------------------------- what does not end
 * A thread that does not return cannot be taken back: the process has to go, and says for what (hazards B5). */
static void hung(worker_t *w, err_t *why) {
    if (!w->exited) log_line(LOG_ERROR, "worker goes", "worker=%s error=\"%s: it cannot be taken back\"", w->conf.name, err_text(why)); /* nobody may live to print it */
    w->hung = true;
    do_exit(w, why);
}

static void watch_slots(worker_t *w) {
    for (int i = 0; i < w->nslots; i++) {
        const slot_task_t *in = NULL;
        int64_t ms = slot_stuck_ms(w->slots[i], &in);
        if (ms < w->conf.stuck_ms) continue;
        AUTO(auto_free) char *who = NULL;
        for (runtime_t *rt = w->runtimes; rt && !who; rt = rt->next)
            for (int k = 0; k < rt->ntasks && !rt->building && !who; k++) {
                const runtime_task_t *t = &rt->tasks[k];
                if (t->slot == in)
                    who = xprintf(" of task %d of stage %d for %" PRId64 " s: %s, job %" PRIu64, t->subtask, t->stage, ms / 1000,
                                  rt->plan->stages[t->stage]->label, rt->job);
            }
        hung(w, err_new(ERR_INTERNAL, "slot %d has been in one step%s", i, who ? who : " for too long"));
    }
}

/* What hangs of an attempt that ends; NULL: it has time. */
static void watch_end(worker_t *w, job_id_t job, attempt_t attempt, int64_t ms, bool *said, const char *what) {
    if (!*said) log_line(LOG_WARN, "attempt does not end yet", "worker=%s job=%" PRIu64 " attempt=%" PRIu64 " ms=%" PRId64 " waits=\"%s\"", w->conf.name, job, attempt, ms, what);
    *said = true;
    if (ms >= w->conf.stuck_ms)
        hung(w, err_new(ERR_INTERNAL, "attempt %" PRIu64 " of job %" PRIu64 " has not ended within %" PRId64 " s: %s", attempt, job, ms / 1000, what));
}

static void watch(worker_t *w) {
    int64_t now = clock_mono_ms();
    if (now - w->watched_ms < WATCH_MS) return;
    w->watched_ms = now;
    watch_slots(w);
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) {
        if (!rt->tearing || now - rt->tearing_since_ms < SAY_MS) continue;
        AUTO(auto_free) char *what = runtime_hangs(rt);
        watch_end(w, rt->job, rt->attempt, now - rt->tearing_since_ms, &rt->said, what);
    }
    for (discard_t *d = w->discards; d; d = d->next) {
        if (d->rt || now - d->since_ms < SAY_MS) continue;
        AUTO(auto_free) char *what = discard_hangs(d);
        watch_end(w, d->job, d->attempt, now - d->since_ms, &d->said, what);
    }
}

/* A job that was quiet and has work now says so at once: the coordinator injects no epoch into quiet jobs (hazards B15). Its slots wake this
 * thread. When to look again. */
static int64_t look_at_jobs(worker_t *w) {
    int64_t next = INT64_MAX;
    bool turned = false;
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) {
        next = MIN(next, runtime_hold(rt, clock_mono_ms()));
        if (rt->started && !rt->tearing && !atomic_load(&rt->busy_reported)) turned = turned || runtime_busy(rt);
    }
    if (turned && agent_here(w->agent)) do_send(w, worker_heartbeat(w));
    return next;
}

static int loop_wait_ms(worker_t *w) {
    int64_t at = look_at_jobs(w);
    at = MIN(at, agent_next_tick_ms(w->agent));
    return at == INT64_MAX ? LOOP_MS_MAX : (int)MAX(MIN(at - clock_mono_ms(), (int64_t)LOOP_MS_MAX), (int64_t)0);
}

/* One round: notes, then what follows from them. */
static void turn(worker_t *w) {
    note_t *n;
    for (int i = 0; i < NOTES_PER_TURN && (n = mailbox_receive(w->mail)) != NULL; i++) {
        handle(w, n);
        note_free(n);
        perform_all(w);
        reap(w);
        perform_all(w);
    }
    perform_all(w);
    reap(w);
    perform_all(w);
}

/* Stopping without a word: attempts end, links close; both answer by notes. */
static void wind_up(worker_t *w) {
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) runtime_teardown(rt);
    for (link_slot_t *s = w->links; s; s = s->next) s->link->close(s->link);
    w->link = NULL;
    w->exited = true;
    int64_t until = clock_mono_ms() + (w->hung ? WIND_UP_HUNG_MS : WIND_UP_MS);
    while (w->runtimes || w->links || w->discards) {
        turn(w);
        if (w->runtimes || w->links || w->discards) mailbox_wait(w->mail, 100);
        if (clock_mono_ms() < until) continue;
        AUTO(auto_free) char *what = w->runtimes ? runtime_hangs(w->runtimes) : w->discards ? discard_hangs(w->discards) : xstrdup("a connection");
        log_line(LOG_ERROR, "worker does not end", "worker=%s waits=\"%s\": a thread does not return, the process gives up", w->conf.name, what);
        _exit(70); /* its threads cannot be taken back, and their memory must not be freed under them (hazards B5) */
    }
}

void *worker_control(void *arg) {
    worker_t *w = arg;
    while (!w->quit) {
        if (clock_mono_ms() >= agent_next_tick_ms(w->agent)) worker_event(w, &(agent_event_t){.kind = AGENT_EV_TICK});
        watch(w);
        turn(w);
        if (!w->quit) mailbox_wait(w->mail, loop_wait_ms(w));
    }
    wind_up(w);
    mailbox_close(w->mail);
    return NULL;
}
