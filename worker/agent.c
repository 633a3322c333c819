/* agent.c: see agent.h. */
#include "worker/agent.h"
#include <stdlib.h>

typedef struct flight { /* an epoch begun here and not complete */
    epoch_t epoch;
    uint32_t flags;
    bool injected, writing, written;
    int nseals, cap;
    task_seal_t **seals; /* gathered until all tasks are in, then given to the write */
    ctl_msg_t *ack;      /* kept until complete: a new leader asks for it */
    int64_t began_ms, sealed_ms;
} flight_t;

typedef struct published {
    uint64_t fingerprint;
    int lane;
    epoch_t epoch;
    bool started;
} published_t;

typedef struct run { /* a job's attempt on this worker */
    job_id_t job;
    uint64_t incarnation;
    attempt_t attempt;
    run_state_t state;
    int ntasks, nended;
    int nflights;
    flight_t flights[AGENT_EPOCHS_MAX];
    epoch_t injected, written, complete;
    bool has_segment;      /* some epoch of this attempt has been written */
    int64_t processing_ms;
    int tries;             /* failed writes of the epoch being written */
    int64_t retry_at_ms;   /* INT64_MAX: none */
    int64_t retry_delay_ms;
    char *waiting;
    ctl_msg_t *failed;     /* FAILED as sent */
    ctl_msg_t *next;       /* a newer DEPLOY that waits for the teardown */
    bool stop_asked, forget;
    attempt_t stop_attempt;
    int npublished;
    published_t *published;
} run_t;

typedef enum session { AWAY, GREETING, HERE, GONE } session_t;
struct agent {
    agent_conf_t conf;
    session_t session;
    uint32_t link;         /* generation; events of older ones are not ours */
    bool connecting;
    int connect_tries;     /* since the last WELCOME: for the back-off */
    int turn;              /* which coordinator is next: raised whenever one was left */
    int unanswered;        /* heartbeats since anything was heard on this link */
    int64_t connect_at_ms, greet_until_ms, heartbeat_at_ms, drain_until_ms;
    int64_t alone_until_ms; /* leaving without a session: it goes then */
    int heartbeat_ms;
    int silence_ms;        /* 0: no WELCOME yet */
    uint64_t leader;
    char *coordinator;
    bool leaving, reregister;
    int nruns;
    run_t **runs;
};

/* ---------------------------------------------------------------- actions */
static agent_action_t *act(agent_actions_t *out, agent_action_kind_t kind) {
    if (out->n == out->cap) {
        out->cap = out->cap ? 2 * out->cap : 16;
        out->items = xrealloc(out->items, (size_t)out->cap * sizeof *out->items);
    }
    agent_action_t *x = &out->items[out->n++];
    *x = (agent_action_t){.kind = kind};
    return x;
}
static agent_action_t *act_run(agent_actions_t *out, agent_action_kind_t kind, const run_t *r) {
    agent_action_t *x = act(out, kind);
    x->job = r->job;
    x->attempt = r->attempt;
    return x;
}

static ctl_msg_t *message(const agent_t *a, ctl_kind_t kind, const run_t *r) {
    ctl_msg_t *m = ctl_new(kind);
    m->leader = a->leader;
    if (r) {
        m->job = r->job;
        m->incarnation = r->incarnation;
        m->attempt = r->attempt;
    }
    return m;
}

/* Sends when the coordinator listens; what it must not miss is kept by the caller and sent again by resend_all. */
static void send(agent_t *a, agent_actions_t *out, ctl_msg_t *m) {
    if (a->session != HERE) ctl_free(m);
    else act(out, AGENT_DO_SEND)->msg = m;
}

/* ---------------------------------------------------------------- runs */
static const bool run_moves[6][6] = {
    [RUN_BUILDING] = {[RUN_BUILT] = true, [RUN_FAILED] = true, [RUN_STOPPING] = true},
    [RUN_BUILT] = {[RUN_RUNNING] = true, [RUN_FAILED] = true, [RUN_STOPPING] = true},
    [RUN_RUNNING] = {[RUN_FAILED] = true, [RUN_STOPPING] = true},
    [RUN_FAILED] = {[RUN_STOPPING] = true},
    [RUN_STOPPING] = {[RUN_GONE] = true},
    [RUN_GONE] = {[RUN_BUILDING] = true},
};
static void run_set_state(run_t *r, run_state_t to) {
    ASSERT(run_moves[r->state][to]);
    r->state = to;
}
static bool run_live(const run_t *r) { return r->state != RUN_GONE; }
static bool run_works(const run_t *r) { return r->state == RUN_BUILT || r->state == RUN_RUNNING; }

static run_t *run_find(const agent_t *a, job_id_t job) {
    for (int i = 0; i < a->nruns; i++)
        if (a->runs[i]->job == job) return a->runs[i];
    return NULL;
}

static void flight_done(flight_t *f) {
    for (int i = 0; i < f->nseals; i++) task_seal_free(f->seals[i]);
    free(f->seals);
    ctl_free(f->ack);
    *f = (flight_t){0};
}

/* Everything that belongs to the attempt, not to the job. */
static void run_clear(run_t *r) {
    for (int i = 0; i < r->nflights; i++) flight_done(&r->flights[i]);
    r->nflights = 0;
    free(TAKE(r->waiting));
    ctl_free(TAKE(r->failed));
    free(TAKE(r->published));
    r->npublished = 0;
    r->retry_at_ms = INT64_MAX;
    r->tries = 0;
}

static void run_free(run_t *r) {
    run_clear(r);
    ctl_free(r->next);
    free(r);
}

static void run_drop(agent_t *a, run_t *r) {
    for (int i = 0; i < a->nruns; i++) {
        if (a->runs[i] != r) continue;
        memmove(&a->runs[i], &a->runs[i + 1], (size_t)(a->nruns - i - 1) * sizeof *a->runs);
        a->nruns--;
        break;
    }
    run_free(r);
}

static void run_fail(agent_t *a, run_t *r, agent_actions_t *out, err_t *e, int stage, int subtask, const char *where, uint32_t flags) {
    if (!run_works(r) && r->state != RUN_BUILDING) { /* the first failure is the cause, the rest follows from it */
        err_free(e);
        return;
    }
    run_set_state(r, RUN_FAILED);
    r->retry_at_ms = INT64_MAX; /* nothing is tried again: a time in the past would wake the loop for ever */
    r->failed = message(a, CTL_FAILED, r);
    r->failed->flags = flags;
    r->failed->error = e;
    r->failed->failed.stage = stage;
    r->failed->failed.subtask = subtask;
    r->failed->failed.where = where ? xstrdup(where) : NULL;
    send(a, out, ctl_copy(r->failed));
}

static void run_teardown(run_t *r, agent_actions_t *out) {
    if (r->state == RUN_STOPPING || r->state == RUN_GONE) return;
    run_set_state(r, RUN_STOPPING);
    run_clear(r);
    act_run(out, AGENT_DO_TEARDOWN, r);
}

static int local_tasks(const agent_t *a, const ctl_deploy_t *d) {
    int n = 0;
    if (d->lanes_only) return 0;
    for (int i = 0; i < d->ntasks; i++) {
        int w = d->tasks[i].worker;
        if (w >= 0 && w < d->nworkers && !strcmp(d->workers[w].name, a->conf.name)) n++;
    }
    return n;
}

static void run_build(agent_t *a, run_t *r, ctl_msg_t *deploy, agent_actions_t *out) {
    run_set_state(r, RUN_BUILDING);
    const manifest_t *m = deploy->deploy.manifest;
    r->attempt = deploy->attempt;
    r->incarnation = deploy->incarnation;
    r->ntasks = local_tasks(a, &deploy->deploy);
    r->nended = 0;
    r->injected = r->written = r->complete = m ? m->epoch : 0;
    r->has_segment = false;
    r->processing_ms = m ? m->processing_ms : 0;
    r->stop_asked = r->forget = false;
    act_run(out, AGENT_DO_BUILD, r)->msg = deploy;
}

/* ---------------------------------------------------------------- epochs */
static flight_t *flight_of(run_t *r, epoch_t epoch, bool create) {
    int at = 0;
    while (at < r->nflights && r->flights[at].epoch < epoch) at++;
    if (at < r->nflights && r->flights[at].epoch == epoch) return &r->flights[at];
    if (!create || r->nflights == AGENT_EPOCHS_MAX) return NULL;
    memmove(&r->flights[at + 1], &r->flights[at], (size_t)(r->nflights - at) * sizeof(flight_t));
    r->nflights++;
    r->flights[at] = (flight_t){.epoch = epoch};
    return &r->flights[at];
}

static void flight_written(agent_t *a, run_t *r, flight_t *f, agent_actions_t *out) {
    f->written = true;
    f->writing = false;
    r->written = f->epoch;
    r->tries = 0;
    r->retry_at_ms = INT64_MAX;
    free(TAKE(r->waiting));
    send(a, out, ctl_copy(f->ack));
}

/* Starts the next write: the oldest unwritten epoch, once all its seals are here. */
static void run_write(agent_t *a, run_t *r, int64_t now_ms, agent_actions_t *out) {
    for (int i = 0; i < r->nflights; i++) {
        flight_t *f = &r->flights[i];
        if (f->written) continue;
        if (f->writing || f->nseals < r->ntasks || (r->ntasks == 0 && !f->injected)) return;
        f->ack = message(a, CTL_ACK, r);
        f->ack->epoch = f->epoch;
        f->ack->flags = f->flags;
        ack_from_seals(f->seals, f->nseals, &f->ack->ack);
        f->ack->ack.processing_ms = r->processing_ms;
        f->sealed_ms = now_ms;
        f->ack->ack.align_ms = now_ms - f->began_ms;
        /* The first one is written even when it is empty: manifest_trim knows the workers of an attempt by their extents. */
        if (seals_empty(f->seals, f->nseals) && (r->has_segment || f->nseals == 0)) {
            for (int k = 0; k < f->nseals; k++) task_seal_free(f->seals[k]);
            f->nseals = 0;
            flight_written(a, r, f, out);
            continue;
        }
        f->writing = true;
        agent_action_t *x = act_run(out, AGENT_DO_WRITE, r);
        x->epoch = f->epoch;
        x->n = f->nseals;
        x->seals = TAKE(f->seals);
        f->nseals = f->cap = 0;
        return;
    }
}

static void on_inject(agent_t *a, run_t *r, const ctl_msg_t *m, int64_t now_ms, agent_actions_t *out) {
    if (r->state != RUN_RUNNING || m->epoch <= r->injected) return;
    flight_t *f = flight_of(r, m->epoch, true);
    if (!f) {
        run_fail(a, r, out, err_new(ERR_INTERNAL, "epoch %" PRIu64 " was injected while %d epochs are in flight", m->epoch,
                                    r->nflights), -1, -1, NULL, /* flags= */ 0);
        return;
    }
    if (!f->began_ms) f->began_ms = now_ms;
    f->flags |= m->flags;
    f->injected = true;
    r->injected = m->epoch;
    agent_action_t *x = act_run(out, AGENT_DO_INJECT, r);
    x->epoch = m->epoch;
    x->flags = m->flags;
    run_write(a, r, now_ms, out); /* without tasks here there is nothing to wait for */
}

static void on_sealed(agent_t *a, run_t *r, agent_event_t *ev, agent_actions_t *out) {
    task_seal_t *s = TAKE(ev->seal);
    if (!run_works(r) || s->epoch <= r->written) {
        task_seal_free(s);
        return;
    }
    flight_t *f = flight_of(r, s->epoch, true); /* the barrier may overtake the INJECT */
    if (!f || f->writing || f->nseals >= r->ntasks) {
        epoch_t e = s->epoch;
        task_seal_free(s);
        run_fail(a, r, out, err_new(ERR_INTERNAL, "a seal of epoch %" PRIu64 " came twice or beyond the %d epochs in flight", e,
                                    r->nflights), -1, -1, NULL, /* flags= */ 0);
        return;
    }
    if (!f->began_ms) f->began_ms = ev->now_ms;
    if (f->nseals == f->cap) {
        f->cap = r->ntasks;
        f->seals = xrealloc(f->seals, (size_t)f->cap * sizeof *f->seals);
    }
    f->flags |= s->flags;
    f->seals[f->nseals++] = s;
    r->processing_ms = MAX(r->processing_ms, ev->wall_ms);
    run_write(a, r, ev->now_ms, out);
}

static void on_write_failed(run_t *r, agent_event_t *ev) {
    r->tries++;
    r->retry_delay_ms = r->tries == 1 ? AGENT_RETRY_MS_MIN : MIN(2 * r->retry_delay_ms, (int64_t)AGENT_RETRY_MS_MAX);
    r->retry_at_ms = ev->now_ms + r->retry_delay_ms;
    free(r->waiting);
    r->waiting = xprintf("checkpoint storage: %s (%d %s, epoch %" PRIu64 " waits)", err_text(ev->error), r->tries,
                         r->tries == 1 ? "try" : "tries", ev->epoch);
}

static void on_written(agent_t *a, run_t *r, agent_event_t *ev, agent_actions_t *out) {
    flight_t *f = flight_of(r, ev->epoch, false);
    if (!run_works(r) || !f || !f->writing) return;
    if (ev->error && ev->never) {
        run_fail(a, r, out, TAKE(ev->error), -1, -1, NULL, /* flags= */ 0);
        return;
    }
    if (ev->error) {
        on_write_failed(r, ev);
        return;
    }
    ctl_ack_t *k = &f->ack->ack;
    k->extent = ev->extent;
    ev->extent.path = NULL;
    k->bytes = ev->bytes;
    k->want_base = ev->want_base;
    k->write_ms = ev->now_ms - f->sealed_ms;
    r->has_segment = true;
    flight_written(a, r, f, out);
    run_write(a, r, ev->now_ms, out);
}

static void on_complete(agent_t *a, run_t *r, epoch_t epoch, agent_actions_t *out) {
    if (!run_works(r) || epoch <= r->complete) return;
    if (r->ntasks > 0 && epoch > r->written) {
        run_fail(a, r, out, err_new(ERR_INTERNAL, "epoch %" PRIu64 " was completed, but only %" PRIu64 " is durable here", epoch,
                                    r->written), -1, -1, NULL, /* flags= */ 0);
        return;
    }
    int gone = 0;
    while (gone < r->nflights && r->flights[gone].epoch <= epoch) flight_done(&r->flights[gone++]);
    memmove(r->flights, r->flights + gone, (size_t)(r->nflights - gone) * sizeof(flight_t));
    r->nflights -= gone;
    r->complete = epoch;
    act_run(out, AGENT_DO_COMPLETE, r)->epoch = epoch;
}

/* ---------------------------------------------------------------- messages of the coordinator */
bool agent_admit(agent_t *a, const ctl_msg_t *m) {
    if (m->kind == CTL_GOODBYE) return true; /* closes a session, touches no job; a refusal comes from no leader at all */
    if (m->leader < a->leader) return false;
    a->leader = m->leader;
    if (m->kind == CTL_WELCOME) return true;
    if (a->session != HERE) return false;
    const run_t *r = run_find(a, m->job);
    switch (m->kind) {
    case CTL_DEPLOY: return !r || m->attempt > r->attempt || (m->attempt == r->attempt && r->state != RUN_GONE);
    case CTL_STOP: return !r || m->attempt >= r->attempt;
    case CTL_RELEASE: return true;
    default: return r && m->attempt == r->attempt && r->state != RUN_GONE && r->state != RUN_STOPPING;
    }
}

/* What a coordinator that just came may have missed. */
static void resend_all(agent_t *a, agent_actions_t *out) {
    for (int i = 0; i < a->nruns; i++) {
        run_t *r = a->runs[i];
        if (r->state == RUN_BUILT || r->state == RUN_RUNNING) send(a, out, message(a, CTL_DEPLOYED, r));
        if (r->failed) send(a, out, ctl_copy(r->failed));
        for (int k = 0; k < r->npublished; k++) {
            ctl_msg_t *m = message(a, CTL_PUBLISHED, r);
            m->epoch = r->published[k].epoch;
            m->published.fingerprint = r->published[k].fingerprint;
            m->published.lane = r->published[k].lane;
            m->published.started = r->published[k].started;
            send(a, out, m);
        }
        for (int k = 0; k < r->nflights && r->flights[k].written; k++) send(a, out, ctl_copy(r->flights[k].ack));
        if (r->ntasks && r->nended == r->ntasks && r->state == RUN_RUNNING) send(a, out, message(a, CTL_ENDED, r));
    }
    for (int i = 0; i < out->n; i++) /* kept copies carry the leader they were made under */
        if (out->items[i].kind == AGENT_DO_SEND && out->items[i].msg) out->items[i].msg->leader = a->leader;
}

static void on_welcome(agent_t *a, const ctl_msg_t *m, int64_t now_ms, agent_actions_t *out) {
    if (a->session != GREETING) return;
    a->session = HERE;
    a->connect_tries = 0;
    a->heartbeat_ms = m->welcome.heartbeat_ms > 0 ? m->welcome.heartbeat_ms : AGENT_HEARTBEAT_MS;
    a->heartbeat_at_ms = now_ms + a->heartbeat_ms;
    a->silence_ms = m->welcome.timeout_ms > 0 ? 2 * m->welcome.timeout_ms : AGENT_GREETING_MS;
    free(a->coordinator);
    a->coordinator = m->welcome.coordinator ? xstrdup(m->welcome.coordinator) : NULL;
    act(out, AGENT_DO_HEARTBEAT);
    resend_all(a, out);
    if (a->leaving) send(a, out, message(a, CTL_DRAIN, NULL));
}

static void on_deploy(agent_t *a, ctl_msg_t *m, agent_actions_t *out) {
    run_t *r = run_find(a, m->job);
    if (r && m->attempt == r->attempt) { /* once more: say again what is known */
        if (run_works(r)) send(a, out, message(a, CTL_DEPLOYED, r));
        if (r->failed) send(a, out, ctl_copy(r->failed));
        ctl_free(m);
        return;
    }
    if (!r) {
        r = xcalloc(1, sizeof *r);
        r->job = m->job;
        r->state = RUN_GONE;
        r->retry_at_ms = INT64_MAX;
        a->runs = xrealloc(a->runs, (size_t)(a->nruns + 1) * sizeof *a->runs);
        a->runs[a->nruns++] = r;
    }
    if (r->state == RUN_GONE) {
        run_build(a, r, m, out);
        return;
    }
    if (r->next && r->next->attempt >= m->attempt) {
        ctl_free(m);
        return;
    }
    ctl_free(r->next);
    r->next = m;
    run_teardown(r, out);
}

static void on_stop(agent_t *a, const ctl_msg_t *m, agent_actions_t *out) {
    run_t *r = run_find(a, m->job);
    if (r && r->next && r->next->attempt <= m->attempt) ctl_free(TAKE(r->next));
    if (!r || r->state == RUN_GONE) {
        ctl_msg_t *s = message(a, CTL_STOPPED, r);
        s->job = m->job;
        s->attempt = m->attempt;
        s->incarnation = m->incarnation;
        if (r) r->attempt = m->attempt; /* an older DEPLOY still on its way must not start */
        send(a, out, s);
        return;
    }
    r->stop_asked = true;
    r->stop_attempt = m->attempt;
    run_teardown(r, out);
}

static void on_torn(agent_t *a, run_t *r, agent_actions_t *out) {
    if (r->state != RUN_STOPPING) return;
    run_set_state(r, RUN_GONE);
    if (r->stop_asked) r->attempt = MAX(r->attempt, r->stop_attempt); /* what was stopped before it came must not start */
    if (r->stop_asked || r->next) send(a, out, message(a, CTL_STOPPED, r));
    if (r->next) {
        run_build(a, r, TAKE(r->next), out);
    } else if (r->forget) {
        act_run(out, AGENT_DO_FORGET, r);
        run_drop(a, r);
    }
}

static void on_release(agent_t *a, const ctl_msg_t *m, agent_actions_t *out) {
    run_t *r = run_find(a, m->job);
    if (r && r->state != RUN_GONE) {
        r->forget = true;
        run_teardown(r, out);
        return;
    }
    agent_action_t *x = act(out, AGENT_DO_FORGET);
    x->job = m->job;
    x->attempt = m->attempt;
    if (r) run_drop(a, r);
}

/* Takes why; NULL: it was the coordinator's wish. */
static void leave_link(agent_t *a, int64_t now_ms, err_t *why, agent_actions_t *out) {
    agent_action_t *x = act(out, AGENT_DO_CLOSE);
    x->link = a->link;
    x->error = why;
    a->turn++;
    if (a->session == HERE) a->alone_until_ms = now_ms + AGENT_ALONE_MS;
    a->session = AWAY;
    a->connecting = false;
    int shift = MIN(a->connect_tries, 4);
    a->connect_at_ms = now_ms + MIN((int64_t)AGENT_CONNECT_MS_MIN << shift, (int64_t)AGENT_CONNECT_MS_MAX);
    a->connect_tries++;
}

static void exit_with(agent_t *a, agent_actions_t *out, err_t *why) {
    a->session = GONE;
    act(out, AGENT_DO_EXIT)->error = why;
}

static void on_goodbye(agent_t *a, ctl_msg_t *m, int64_t now_ms, agent_actions_t *out) {
    if (m->flags != GOODBYE_ELSEWHERE && m->flags != GOODBYE_ANEW) {
        exit_with(a, out, TAKE(m->error));
        return;
    }
    for (int i = 0; i < a->nruns && m->flags == GOODBYE_ANEW; i++) {
        ctl_free(TAKE(a->runs[i]->next));
        run_teardown(a->runs[i], out);
    }
    leave_link(a, now_ms, NULL, out);
}

static void on_start(agent_t *a, run_t *r, agent_actions_t *out) {
    if (r->state == RUN_BUILT) {
        run_set_state(r, RUN_RUNNING);
        act_run(out, AGENT_DO_START, r);
    }
}

static void on_message(agent_t *a, agent_event_t *ev, agent_actions_t *out) {
    ctl_msg_t *m = ev->msg;
    if (ev->link != a->link) return;
    a->unanswered = 0;
    if (!agent_admit(a, m)) return;
    run_t *r = run_find(a, m->job);
    switch (m->kind) {
    case CTL_WELCOME: on_welcome(a, m, ev->now_ms, out); break;
    case CTL_GOODBYE: on_goodbye(a, m, ev->now_ms, out); break;
    case CTL_DEPLOY: on_deploy(a, TAKE(ev->msg), out); break;
    case CTL_STOP: on_stop(a, m, out); break;
    case CTL_RELEASE: on_release(a, m, out); break;
    case CTL_START:
        on_start(a, r, out);
        act_run(out, AGENT_DO_CONFIRM, r);
        break;
    case CTL_INJECT:
        act_run(out, AGENT_DO_CONFIRM, r);
        on_inject(a, r, m, ev->now_ms, out);
        break;
    case CTL_COMPLETE:
        act_run(out, AGENT_DO_CONFIRM, r);
        on_complete(a, r, m->epoch, out);
        break;
    case CTL_BASE_ACCEPTED: act_run(out, AGENT_DO_BASE_ACCEPTED, r)->epoch = m->epoch; break;
    case CTL_ADD_SPLITS:
        if (run_works(r)) act_run(out, AGENT_DO_ADD_SPLITS, r)->msg = TAKE(ev->msg);
        break;
    default: break; /* a worker's own kinds, sent by something that is no coordinator */
    }
}

/* ---------------------------------------------------------------- events of this worker */
static void on_published(agent_t *a, run_t *r, const agent_event_t *ev, agent_actions_t *out) {
    if (!run_works(r)) return;
    published_t *p = NULL;
    for (int i = 0; i < r->npublished && !p; i++)
        if (r->published[i].fingerprint == ev->fingerprint && r->published[i].lane == ev->lane) p = &r->published[i];
    if (!p) {
        r->published = xrealloc(r->published, (size_t)(r->npublished + 1) * sizeof *p);
        p = &r->published[r->npublished++];
        *p = (published_t){ev->fingerprint, ev->lane, 0, false};
    }
    if (ev->epoch <= p->epoch && ev->started == p->started) return;
    p->epoch = MAX(p->epoch, ev->epoch);
    p->started |= ev->started;
    ctl_msg_t *m = message(a, CTL_PUBLISHED, r);
    m->epoch = p->epoch;
    m->published.started = p->started;
    m->published.fingerprint = ev->fingerprint;
    m->published.lane = ev->lane;
    send(a, out, m);
}

static void on_based(agent_t *a, run_t *r, agent_event_t *ev, agent_actions_t *out) {
    if (!run_works(r) || a->session != HERE) return; /* a later base takes its place */
    ctl_msg_t *m = message(a, CTL_BASE_DONE, r);
    m->epoch = ev->epoch;
    m->base_done.base = *ev->base;
    free(TAKE(ev->base));
    send(a, out, m);
}

static uint32_t failed_flags(const agent_event_t *ev) { return (ev->damaged ? FAILED_DAMAGED : 0) | (ev->own ? FAILED_OWN : 0); }

static void on_built(agent_t *a, run_t *r, agent_event_t *ev, agent_actions_t *out) {
    if (r->state != RUN_BUILDING) return;
    if (ev->error) {
        run_fail(a, r, out, TAKE(ev->error), ev->stage, ev->subtask, ev->where, failed_flags(ev));
        return;
    }
    run_set_state(r, RUN_BUILT);
    send(a, out, message(a, CTL_DEPLOYED, r));
}

static void on_run_event(agent_t *a, agent_event_t *ev, agent_actions_t *out) {
    run_t *r = run_find(a, ev->job);
    if (!r || r->attempt != ev->attempt) return; /* of an attempt that is gone */
    switch (ev->kind) {
    case AGENT_EV_BUILT: on_built(a, r, ev, out); break;
    case AGENT_EV_SEALED: on_sealed(a, r, ev, out); break;
    case AGENT_EV_WRITTEN: on_written(a, r, ev, out); break;
    case AGENT_EV_FAILED: run_fail(a, r, out, TAKE(ev->error), ev->stage, ev->subtask, ev->where, failed_flags(ev)); break;
    case AGENT_EV_ENDED:
        if (!run_works(r) || ++r->nended < r->ntasks) break;
        if (a->session == HERE) act(out, AGENT_DO_HEARTBEAT); /* the last word on rows: the job may be over before the next one */
        send(a, out, message(a, CTL_ENDED, r));
        break;
    case AGENT_EV_TORN: on_torn(a, r, out); break;
    case AGENT_EV_PUBLISHED: on_published(a, r, ev, out); break;
    case AGENT_EV_BASED: on_based(a, r, ev, out); break;
    default: UNREACHABLE();
    }
}

/* ---------------------------------------------------------------- session */
static void on_linked(agent_t *a, int64_t now_ms, agent_actions_t *out) {
    if (!a->connecting) return;
    a->connecting = false;
    a->greet_until_ms = now_ms + (a->conf.several && a->silence_ms ? MIN(a->silence_ms, AGENT_GREETING_MS) : AGENT_GREETING_MS);
    a->unanswered = 0;
    a->session = GREETING;
    ctl_msg_t *m = ctl_new(CTL_REGISTER);
    m->leader = a->leader;
    m->reg.name = xstrdup(a->conf.name);
    m->reg.address = xstrdup(a->conf.address);
    m->reg.slots = a->conf.slots;
    m->reg.memory = a->conf.memory;
    m->reg.version_min = ctl_version_min();
    m->reg.version_max = ctl_version_max();
    m->reg.build = xstrdup(a->conf.build);
    act(out, AGENT_DO_SEND)->msg = m;
}

static void on_unlinked(agent_t *a, int64_t now_ms, agent_actions_t *out) {
    if (a->session == GONE || (a->session == AWAY && !a->connecting)) return;
    if (a->session == HERE) a->alone_until_ms = now_ms + AGENT_ALONE_MS;
    a->session = AWAY;
    a->connecting = false;
    a->turn++;
    int shift = MIN(a->connect_tries, 4);
    a->connect_at_ms = now_ms + (a->connect_tries ? MIN((int64_t)AGENT_CONNECT_MS_MIN << shift, (int64_t)AGENT_CONNECT_MS_MAX) : 0);
    a->connect_tries++;
}

static int64_t leave_at_ms(const agent_t *a) {
    return !a->leaving ? INT64_MAX : a->session == HERE ? a->drain_until_ms : MIN(a->alone_until_ms, a->drain_until_ms);
}

static void on_leave(agent_t *a, int64_t now_ms, agent_actions_t *out) {
    if (a->leaving || agent_live_jobs(a) == 0) { /* asked twice, or nothing to hand over */
        if (a->session == HERE && !a->leaving) send(a, out, message(a, CTL_DRAIN, NULL));
        exit_with(a, out, NULL);
        return;
    }
    a->leaving = true;
    a->drain_until_ms = now_ms + AGENT_DRAIN_MS;
    a->alone_until_ms = now_ms + AGENT_ALONE_MS;
    send(a, out, message(a, CTL_DRAIN, NULL));
}

static void beat(agent_t *a, int64_t now_ms, agent_actions_t *out) {
    if (a->conf.several && a->unanswered * a->heartbeat_ms >= a->silence_ms) {
        leave_link(a, now_ms, err_new(ERR_TIMEOUT, "the coordinator has answered no heartbeat for %d ms", a->unanswered * a->heartbeat_ms), out);
        return;
    }
    a->unanswered++;
    a->heartbeat_at_ms = now_ms + a->heartbeat_ms;
    act(out, AGENT_DO_HEARTBEAT);
}

static void on_tick(agent_t *a, int64_t now_ms, agent_actions_t *out) {
    if (now_ms >= leave_at_ms(a)) {
        bool alone = a->session != HERE;
        exit_with(a, out, alone ? NULL : err_new(ERR_TIMEOUT, "the coordinator did not let this worker go within %d s", AGENT_DRAIN_MS / 1000));
        out->items[out->n - 1].n = alone;
        return;
    }
    if (a->session == AWAY && !a->connecting && now_ms >= a->connect_at_ms) {
        a->connecting = true;
        a->link++;
        agent_action_t *x = act(out, AGENT_DO_CONNECT);
        x->link = a->link;
        x->n = a->turn;
    }
    if (a->session == GREETING && now_ms >= a->greet_until_ms)
        leave_link(a, now_ms, err_new(ERR_TIMEOUT, "the coordinator does not answer the registration"), out);
    if (a->session == HERE && now_ms >= a->heartbeat_at_ms) beat(a, now_ms, out);
    for (int i = 0; i < a->nruns; i++) {
        run_t *r = a->runs[i];
        if (now_ms < r->retry_at_ms || !run_works(r)) continue;
        r->retry_at_ms = INT64_MAX;
        for (int k = 0; k < r->nflights; k++)
            if (r->flights[k].writing) act_run(out, AGENT_DO_WRITE_AGAIN, r)->epoch = r->flights[k].epoch;
    }
}

static void event_release(agent_event_t *ev) {
    ctl_free(TAKE(ev->msg));
    err_free(TAKE(ev->error));
    if (ev->seal) task_seal_free(TAKE(ev->seal));
    free(TAKE(ev->extent.path));
    if (ev->base) { /* let the message's release do it: it knows a base's parts */
        ctl_msg_t *m = ctl_new(CTL_BASE_DONE);
        m->base_done.base = *ev->base;
        free(TAKE(ev->base));
        ctl_free(m);
    }
}

void agent_step(agent_t *a, agent_event_t *ev, agent_actions_t *out) {
    if (a->session != GONE) switch (ev->kind) {
    case AGENT_EV_TICK: on_tick(a, ev->now_ms, out); break;
    case AGENT_EV_LINKED:
        if (ev->link == a->link) on_linked(a, ev->now_ms, out);
        break;
    case AGENT_EV_UNLINKED:
        if (ev->link == a->link) on_unlinked(a, ev->now_ms, out);
        break;
    case AGENT_EV_MESSAGE: on_message(a, ev, out); break;
    case AGENT_EV_LEAVE: on_leave(a, ev->now_ms, out); break;
    default: on_run_event(a, ev, out); break;
    }
    event_release(ev);
}

/* ---------------------------------------------------------------- life and reports */
agent_t *agent_new(const agent_conf_t *conf) {
    agent_t *a = xcalloc(1, sizeof *a);
    a->conf = *conf;
    a->conf.name = xstrdup(conf->name);
    a->conf.address = xstrdup(conf->address ? conf->address : "");
    a->conf.build = xstrdup(conf->build ? conf->build : "");
    a->heartbeat_ms = AGENT_HEARTBEAT_MS;
    return a;
}

void agent_free(agent_t *a) {
    if (!a) return;
    for (int i = 0; i < a->nruns; i++) run_free(a->runs[i]);
    free(a->runs);
    free((char *)a->conf.name);
    free((char *)a->conf.address);
    free((char *)a->conf.build);
    free(a->coordinator);
    free(a);
}

int64_t agent_next_tick_ms(const agent_t *a) {
    if (a->session == GONE) return INT64_MAX;
    int64_t at = leave_at_ms(a);
    if (a->session == AWAY && !a->connecting) at = MIN(at, a->connect_at_ms);
    if (a->session == GREETING) at = MIN(at, a->greet_until_ms);
    if (a->session == HERE) at = MIN(at, a->heartbeat_at_ms);
    for (int i = 0; i < a->nruns; i++) at = MIN(at, a->runs[i]->retry_at_ms);
    return at;
}

bool agent_here(const agent_t *a) { return a->session == HERE; }
uint64_t agent_leader(const agent_t *a) { return a->leader; }
const char *agent_coordinator(const agent_t *a) { return a->coordinator; }

bool agent_run_state(const agent_t *a, job_id_t job, attempt_t *ret_attempt, run_state_t *ret_state) {
    const run_t *r = run_find(a, job);
    if (!r) return false;
    if (ret_attempt) *ret_attempt = r->attempt;
    if (ret_state) *ret_state = r->state;
    return true;
}
const char *agent_waiting(const agent_t *a, job_id_t job) {
    const run_t *r = run_find(a, job);
    return r ? r->waiting : NULL;
}
bool agent_in_flight(const agent_t *a, job_id_t job) {
    const run_t *r = run_find(a, job);
    return r && r->nflights > 0;
}
int agent_live_jobs(const agent_t *a) {
    int n = 0;
    for (int i = 0; i < a->nruns; i++) n += run_live(a->runs[i]);
    return n;
}

const char *run_state_name(run_state_t s) {
    static const char *const names[] = {"BUILDING", "BUILT", "RUNNING", "FAILED", "STOPPING", "GONE"};
    return s <= RUN_GONE ? names[s] : "?";
}
