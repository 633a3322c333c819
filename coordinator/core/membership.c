/* membership.c: who is in the cluster.
 *
 * A worker is known by its name; a *session* is one connection of it. All that a worker says counts only on its current session, and a
 * session ends once: the link closed, the heartbeats stopped, a newer session of the same name came, or we said goodbye.
 * The end of a session ends every attempt that has tasks in it: a process that was cut off may have missed anything.
 *
 * A link between two workers that fails twice within a quiet minute costs one of its ends its place: the end with
 * more faults on its account, else the accused one (B5). It gets no tasks for a while, then is tried again. A link whose
 * end dies at about the same time did not fail: the death explains it, whichever of the two is heard of first. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

#define QUIET_MS 60000
#define SUSPECT_MS 60000
#define EXPLAINS_MS 5000 /* a death this long after a fault explains it: late enough for a busy machine */

member_t *member_by_id(const coord_t *c, int id) { return id >= 0 && id < c->nmembers ? c->members[id] : NULL; }

member_t *member_by_session(const coord_t *c, session_id_t s) {
    for (int i = 0; i < c->nmembers; i++)
        if (s && c->members[i]->session == s) return c->members[i];
    return NULL;
}

static member_t *member_by_name(const coord_t *c, const char *name) {
    for (int i = 0; i < c->nmembers; i++)
        if (strcmp(c->members[i]->name, name) == 0) return c->members[i];
    return NULL;
}

void member_free(member_t *m) {
    if (!m) return;
    free(m->name);
    free(m->address);
    free(m->build);
    free(m);
}

bool member_usable(const coord_t *c, const member_t *m) {
    return m->session && !m->draining && m->suspect_until_ms <= c->now_ms;
}

int member_slots_free(const coord_t *c, const member_t *m, const job_t *except) {
    int used = 0;
    for (int i = 0; i < c->njobs; i++) {
        const job_t *j = c->jobs[i];
        if (j == except || j->nworkers == 0) continue;
        for (int u = 0; u < j->nunits; u++) used += j->units[u] == m->id;
    }
    return MAX(m->slots - used, 0);
}

void membership_send(coord_t *c, session_id_t session, ctl_msg_t *m) {
    m->leader = c->leader;
    coord_action_t *a = coord_actions_add(c->out, ACT_SEND);
    a->session = session;
    a->job = m->job;
    a->message = m;
}

void membership_goodbye(coord_t *c, session_id_t session, goodbye_t what, err_t *why) {
    ctl_msg_t *m = ctl_new(CTL_GOODBYE);
    m->flags = what;
    m->error = why;
    membership_send(c, session, m);
    coord_actions_add(c->out, ACT_CLOSE)->session = session;
}

/* The one place where a session ends. `why` is borrowed. */
/* What m's death explains is taken from everybody's account. */
static void link_faults_forget(coord_t *c, member_t *m) {
    for (int i = 0; i < c->nmembers; i++) {
        member_t *p = c->members[i];
        if (p != m && (p->link_fault_with != m->id || !p->link_fault_ms || c->now_ms - p->link_fault_ms > EXPLAINS_MS)) continue;
        if (p->link_blamed) p->suspect_until_ms = 0;
        p->link_blamed = false;
        p->link_faults = p == m ? 0 : MAX(p->link_faults - 1, 0);
        p->link_fault_ms = 0;
    }
}

static void session_end(coord_t *c, member_t *m, const err_t *why) {
    session_id_t session = m->session;
    m->session = 0;
    link_faults_forget(c, m);
    if (m->own_fault_ms) m->suspect_until_ms = 0;
    m->own_fault_ms = m->own_faults = 0;
    coord_log(c, COORD_WARN, "worker %s is gone: %s", m->name, err_text(why));
    for (int i = 0; i < c->njobs; i++) {
        job_t *j = c->jobs[i];
        bool had = false;
        for (int w = 0; w < j->nworkers; w++) {
            if (j->workers[w].session != session) continue;
            j->workers[w].session = 0;
            had = !j->workers[w].stopped;
        }
        if (had && (j->state == JOB_DEPLOYING || j->state == JOB_RUNNING || j->state == JOB_STOPPING))
            restart_begin(c, j, err_copy(why));
    }
}

void membership_closed(coord_t *c, session_id_t session) {
    member_t *m = member_by_session(c, session);
    if (!m) return;
    err_t *why = err_new(ERR_UNAVAILABLE, "the connection to worker %s broke", m->name);
    session_end(c, m, why);
    err_free(why);
}

void membership_expel(coord_t *c, session_id_t session, err_t *why) {
    member_t *m = member_by_session(c, session);
    if (m) session_end(c, m, why);
    membership_goodbye(c, session, GOODBYE_EXIT, why);
}

static bool still_needed(const coord_t *c, const member_t *m) {
    for (int i = 0; i < c->njobs; i++)
        for (int w = 0; w < c->jobs[i]->nworkers; w++)
            if (c->jobs[i]->workers[w].session == m->session && !c->jobs[i]->workers[w].stopped) return true;
    return false;
}

/* Nothing was heard while this process itself stood still: what workers sent meanwhile is still to be read. */
void membership_forgive(coord_t *c, int64_t stood_ms) {
    coord_log(c, COORD_WARN, "this coordinator stood still for %" PRId64 " ms", stood_ms);
    for (int i = 0; i < c->nmembers; i++) c->members[i]->heard_ms = MIN(c->members[i]->heard_ms + stood_ms, c->now_ms);
}

void membership_tick(coord_t *c) {
    for (int i = 0; i < c->nmembers; i++) {
        member_t *m = c->members[i];
        if (!m->session) continue;
        if (c->now_ms - m->heard_ms > c->conf.heartbeat_timeout_ms) {
            session_id_t session = m->session;
            err_t *why = err_new(ERR_TIMEOUT, "worker %s was silent for %" PRId64 " ms", m->name, c->now_ms - m->heard_ms);
            session_end(c, m, why);
            membership_goodbye(c, session, GOODBYE_ANEW, why);
        } else if (m->draining && !still_needed(c, m)) {
            session_id_t session = m->session;
            m->session = 0;
            coord_log(c, COORD_INFO, "worker %s has drained", m->name);
            membership_goodbye(c, session, GOODBYE_EXIT, NULL);
        }
    }
}

static err_t *registration_check(const ctl_msg_t *r) {
    if (r->reg.version_max < ctl_version_min() || r->reg.version_min > ctl_version_max())
        return err_hint(err_new(ERR_VERSION, "worker %s speaks control versions %d to %d, this coordinator %d to %d", r->reg.name,
                                r->reg.version_min, r->reg.version_max, ctl_version_min(), ctl_version_max()),
                        "upgrade the older of the two");
    if (!r->reg.name || !r->reg.name[0]) return err_new(ERR_INVALID, "a worker must have a name");
    if (r->reg.slots < 1) return err_new(ERR_INVALID, "worker %s offers no slots", r->reg.name);
    return NULL;
}

static member_t *member_add(coord_t *c, const char *name) {
    c->members = xrealloc(c->members, (size_t)(c->nmembers + 1) * sizeof *c->members);
    member_t *m = xcalloc(1, sizeof *m);
    m->id = c->nmembers;
    m->name = xstrdup(name);
    return c->members[c->nmembers++] = m;
}

static void registered(coord_t *c, session_id_t session, ctl_msg_t *r) {
    err_t *bad = registration_check(r);
    if (bad) {
        coord_log(c, COORD_WARN, "a worker is refused: %s", err_text(bad));
        membership_goodbye(c, session, GOODBYE_EXIT, bad);
        return;
    }
    member_t *m = member_by_session(c, session);
    if (m && strcmp(m->name, r->reg.name) != 0) {
        membership_goodbye(c, session, GOODBYE_EXIT, err_new(ERR_INVALID, "worker %s cannot become %s on one session", m->name, r->reg.name));
        return;
    }
    m = member_by_name(c, r->reg.name);
    if (m && m->session && m->session != session) {
        err_t *why = err_new(ERR_UNAVAILABLE, "a newer session of worker %s registered", m->name); /* FENCED says of a job that its lanes were taken over */
        session_id_t old = m->session;
        session_end(c, m, why);
        membership_goodbye(c, old, GOODBYE_ANEW, why);
    }
    if (!m) m = member_add(c, r->reg.name);
    m->session = session;
    m->heard_ms = c->now_ms;
    m->draining = false;
    set_text(&m->address, TAKE(r->reg.address));
    set_text(&m->build, TAKE(r->reg.build));
    m->slots = MIN(r->reg.slots, 4096);
    m->memory = r->reg.memory;
    coord_log(c, COORD_INFO, "worker %s registered with %d slots", m->name, m->slots);
    ctl_msg_t *w = ctl_new(CTL_WELCOME);
    w->welcome.heartbeat_ms = (int)c->conf.heartbeat_ms;
    w->welcome.timeout_ms = (int)c->conf.heartbeat_timeout_ms;
    w->welcome.coordinator = *c->conf.address ? xstrdup(c->conf.address) : NULL;
    w->welcome.storage = *c->conf.storage ? xstrdup(c->conf.storage) : NULL;
    membership_send(c, session, w);
}

/* What a worker runs but should not: attempts of before this leader or of a job that is gone. They publish nothing (their lanes are
 * fenced) but hold memory and slots, so they are told once per heartbeat until they obey. */
static void stop_stray(coord_t *c, member_t *m, const job_t *j, const job_report_t *r) {
    if (j && !job_state_terminal(j->state)) {
        for (int w = 0; w < j->nworkers; w++)
            if (j->workers[w].session == m->session && r->attempt >= j->attempt) return;
        if (!j->raised && r->attempt >= j->attempt) return; /* not known yet */
    }
    ctl_msg_t *s = ctl_new(CTL_STOP);
    s->job = r->job;
    s->attempt = r->attempt;
    membership_send(c, m->session, s);
    if (j && (!job_state_terminal(j->state) || ended_holds_state(j) || !job_stored(j))) return; /* it may go on */
    ctl_msg_t *release = ctl_new(CTL_RELEASE);
    release->job = r->job;
    membership_send(c, m->session, release);
}

/* A COMPLETE after a heartbeat confirms the attempt: a lane that was fenced may initialise again only then (B9); it
 * also repeats the last completion, which is harmless. */
static void confirm(coord_t *c, job_t *j, job_worker_t *w) {
    if ((j->state != JOB_RUNNING && j->state != JOB_STOPPING) || !j->ep.last || w->report.nlanes == 0) return;
    ctl_msg_t *m = ctl_new(CTL_COMPLETE);
    m->epoch = j->ep.last->epoch;
    job_send(c, j, w, m);
}

/* In: what sources read; out: what sinks took; the watermark: the least of the tasks that have one. A source task that has ended (or never had
 * a split) does not speak for those that go on, also while these have none yet: the job is at its end when all tasks are. */
static void add_up(job_t *j) {
    memset(&j->totals, 0, sizeof j->totals);
    j->totals.watermark = WATERMARK_END;
    bool none = j->nworkers == 0;
    for (int i = 0; i < j->nworkers; i++) {
        none |= j->workers[i].report.ntasks == 0; /* not heard yet */
        for (int k = 0; k < j->workers[i].report.ntasks; k++) {
            const task_report_t *t = &j->workers[i].report.tasks[k];
            bool source = false, sink = false;
            for (int s = 0; s < j->shape->nsources; s++) source |= j->shape->sources[s].stage == t->stage;
            for (int s = 0; s < j->shape->nsinks; s++) sink |= j->shape->sinks[s].stage == t->stage;
            j->totals.in += source ? t->rows_in : 0;
            j->totals.out += sink ? t->rows_out : 0;
            j->totals.late += t->late_rows;
            j->totals.bad += t->bad_records;
            j->totals.stale += t->stale_records;
            j->totals.dropped += t->dropped_rows;
            none |= t->watermark == WATERMARK_NONE;
            if (t->watermark != WATERMARK_NONE) j->totals.watermark = MIN(j->totals.watermark, t->watermark);
        }
    }
    if (none && j->totals.watermark == WATERMARK_END) j->totals.watermark = WATERMARK_NONE;
}

static void heartbeat(coord_t *c, member_t *m, ctl_msg_t *h) {
    m->rss = h->heartbeat.rss;
    m->slots_used_reported = h->heartbeat.slots_used;
    for (int i = 0; i < h->heartbeat.njobs; i++) {
        job_report_t *r = &h->heartbeat.jobs[i];
        job_t *j = coord_job(c, r->job);
        job_worker_t *w = NULL;
        for (int k = 0; j && k < j->nworkers; k++)
            if (j->workers[k].session == m->session && j->attempt == r->attempt) w = &j->workers[k];
        if (!w) {
            stop_stray(c, m, j, r);
            continue;
        }
        if (j->stop_ms) { /* it ends there: what for it waits is all that is new */
            set_text(&w->report.waiting, TAKE(r->waiting));
            continue;
        }
        job_report_done(&w->report);
        w->report = *r;
        *r = (job_report_t){0};
        w->has_report = true;
        if (j->shape) add_up(j);
        if (w->report.busy) j->ep.worth = true;
        confirm(c, j, w);
    }
    membership_send(c, m->session, ctl_new(CTL_ALIVE));
}

static void drain(coord_t *c, member_t *m) {
    if (m->draining) return;
    m->draining = true;
    coord_log(c, COORD_INFO, "worker %s drains", m->name);
    for (int i = 0; i < c->njobs; i++) {
        job_t *j = c->jobs[i];
        bool has = false;
        for (int w = 0; w < j->nworkers; w++) has |= j->workers[w].session == m->session && !j->workers[w].stopped;
        if (has && (j->state == JOB_DEPLOYING || j->state == JOB_RUNNING || j->state == JOB_STOPPING))
            restart_begin(c, j, err_new(ERR_CANCELLED, "worker %s drains", m->name));
    }
}

void membership_link_fault(coord_t *c, member_t *from, const char *where) {
    member_t *to = member_by_name(c, where);
    if (!to || to == from || !to->session) return;
    member_t *ends[] = {from, to};
    for (int i = 0; i < 2; i++) {
        if (c->now_ms - ends[i]->link_fault_ms > QUIET_MS) ends[i]->link_faults = 0;
        ends[i]->link_faults++;
        ends[i]->link_fault_ms = c->now_ms;
        ends[i]->link_fault_with = ends[1 - i]->id;
        ends[i]->link_blamed = false;
    }
    member_t *blamed = from->link_faults > to->link_faults ? from : to;
    if (blamed->link_faults < 2) return;
    blamed->suspect_until_ms = c->now_ms + SUSPECT_MS;
    blamed->link_blamed = true;
    from->link_faults = to->link_faults = 0;
    coord_log(c, COORD_WARN, "the link between %s and %s failed twice: %s gets no tasks for %d s", from->name, to->name,
              blamed->name, SUSPECT_MS / 1000);
}

/* A disk that fails one attempt may serve the next. When it does not, others have better ones; a new process begins without blame. */
void membership_own_fault(coord_t *c, member_t *m) {
    if (c->now_ms - m->own_fault_ms > QUIET_MS) m->own_faults = 0;
    m->own_fault_ms = c->now_ms;
    if (++m->own_faults < 2) return;
    m->own_faults = 0;
    m->suspect_until_ms = c->now_ms + SUSPECT_MS;
    m->link_blamed = false;
    coord_log(c, COORD_WARN, "the disk of worker %s failed two attempts: it gets no tasks for %d s", m->name, SUSPECT_MS / 1000);
}

/* The door: everything a worker says passes here, and what is stale goes no further. */
static bool coord_admit(coord_t *c, const member_t *m, const ctl_msg_t *msg, job_t **ret_job, job_worker_t **ret_worker) {
    job_t *j = coord_job(c, msg->job);
    if (!j || msg->leader != c->leader || msg->incarnation != j->record->incarnation || msg->attempt != j->attempt) return false;
    for (int i = 0; i < j->nworkers; i++) {
        if (j->workers[i].session != m->session) continue;
        *ret_job = j;
        *ret_worker = &j->workers[i];
        return true;
    }
    return false;
}

void membership_message(coord_t *c, session_id_t session, ctl_msg_t **message) {
    ctl_msg_t *msg = *message;
    if (msg->kind == CTL_REGISTER) {
        registered(c, session, msg);
        return;
    }
    member_t *m = member_by_session(c, session);
    if (!m) { /* a session we ended: a zombie that woke up hears that it is out */
        c->dropped++;
        membership_goodbye(c, session, GOODBYE_ANEW, err_new(ERR_FENCED, "this session has ended; register anew"));
        return;
    }
    m->heard_ms = c->now_ms;
    if (msg->kind == CTL_HEARTBEAT) {
        heartbeat(c, m, msg);
    } else if (msg->kind == CTL_DRAIN) {
        drain(c, m);
    } else {
        job_t *j = NULL;
        job_worker_t *w = NULL;
        if (coord_admit(c, m, msg, &j, &w)) job_message(c, j, w, msg);
        else c->dropped++;
    }
}
