#include "coordinator/core/coord_int.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

coord_conf_t coord_conf_default(void) {
    return (coord_conf_t){.cluster = "tidegate", .heartbeat_ms = 200, .heartbeat_timeout_ms = 900, .deploy_timeout_ms = 60000,
                          .stop_timeout_ms = 5000, .submit_wait_ms = 10000, .settle_ms = 2000, .savepoint_wait_ms = 20000, .target_wait_ms = 20000,
                          .publish_wait_ms = 10000, .copy_stall_ms = 600000, .orphan_age_ms = 3600000, .orphans_max = 256, .jobs_kept = 100};
}

coord_t *coord_new(const coord_conf_t *conf) {
    coord_t *c = xcalloc(1, sizeof *c);
    c->conf = *conf;
    return c;
}

static void forget_all(coord_t *c) {
    for (int i = 0; i < c->nmembers; i++) member_free(c->members[i]);
    for (int i = 0; i < c->njobs; i++) job_free(c->jobs[i]);
    c->nmembers = c->njobs = 0;
}

void coord_free(coord_t *c) {
    if (!c) return;
    forget_all(c);
    free(c->members);
    free(c->jobs);
    free(c);
}

bool coord_leading(const coord_t *c) { return c->leading; }
uint64_t coord_leader(const coord_t *c) { return c->leading ? c->leader : 0; }

void set_text(char **p, char *text) {
    free(*p);
    *p = text;
}

job_t *coord_job(const coord_t *c, job_id_t id) {
    for (int i = 0; i < c->njobs; i++)
        if (c->jobs[i]->id == id) return c->jobs[i];
    return NULL;
}

job_t *coord_add_job(coord_t *c, job_record_t *record) {
    job_t *j = job_new(record);
    j->since_ms = c->now_ms;
    c->jobs = xrealloc(c->jobs, (size_t)(c->njobs + 1) * sizeof *c->jobs);
    int at = c->njobs++;
    for (; at > 0 && c->jobs[at - 1]->id > j->id; at--) c->jobs[at] = c->jobs[at - 1];
    c->jobs[at] = j;
    return j;
}

void coord_log(coord_t *c, coord_log_level_t level, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    coord_action_t *a = coord_actions_add(c->out, ACT_LOG);
    a->log.level = level;
    a->log.text = xstrdup(text);
}

void coord_reply(coord_t *c, call_id_t call, job_id_t job, err_t *error) {
    coord_action_t *a = coord_actions_add(c->out, ACT_REPLY);
    a->job = job;
    a->reply.call = call;
    a->reply.error = error;
}

/* A new leader begins each job that should run with the transaction that raises its attempt: whatever the dead leader
 * had in flight either landed before and is in the answer, or can never land (A3). */
static void step_leading(coord_t *c, coord_event_t *e) {
    forget_all(c);
    c->leading = true;
    c->given_up = 0;
    c->leader = e->leading.leader;
    c->leading_ms = c->now_ms;
    for (int i = 0; i < e->leading.njobs; i++) {
        job_t *j = coord_add_job(c, TAKE(e->leading.jobs[i]));
        j->persisted = j->seek_restored = true;
        j->record->pin = 0; /* its copy died with the leader that made it */
        j->state = job_state_terminal(j->record->state) ? j->record->state : JOB_RESTARTING;
        if (!job_state_terminal(j->state)) coord_log(c, COORD_INFO, "job %" PRIu64 " '%s' is recovered", j->id, j->record->spec.name);
    }
}

/* Who is not the leader must not decide: everything is forgotten, workers and clients go to the new leader. */
static void step_leader_lost(coord_t *c) {
    if (!c->leading) return;
    for (int i = 0; i < c->njobs; i++)
        for (int k = 0; k < c->jobs[i]->nwaiters; k++)
            coord_reply(c, c->jobs[i]->waiters[k].call, c->jobs[i]->id,
                        err_new(ERR_UNAVAILABLE, "this coordinator lost its leadership; ask the new leader"));
    for (int i = 0; i < c->nmembers; i++)
        if (c->members[i]->session)
            membership_goodbye(c, c->members[i]->session, GOODBYE_ELSEWHERE, err_new(ERR_UNAVAILABLE, "this coordinator is not the leader any more"));
    forget_all(c);
    c->leading = false;
}

static void step_client(coord_t *c, coord_event_t *e) {
    if (!c->leading) {
        coord_reply(c, e->client.call, 0, err_new(ERR_UNAVAILABLE, NOT_THE_LEADER));
        return;
    }
    client_event(c, e->client.call, TAKE(e->client.request));
}

/* A standby asks whether this core lives, be it leading or not. */
static void step_probe(coord_t *c, session_id_t session) {
    coord_action_t *a = coord_actions_add(c->out, ACT_SEND);
    a->session = session;
    a->message = ctl_new(CTL_ALIVE);
    a->message->leader = c->leading ? c->leader : 0;
}

static void step_message(coord_t *c, coord_event_t *e) {
    if (e->message->kind == CTL_PROBE) step_probe(c, e->session);
    else if (c->leading) membership_message(c, e->session, &e->message);
    else membership_goodbye(c, e->session, GOODBYE_ELSEWHERE, err_new(ERR_UNAVAILABLE, NOT_THE_LEADER));
}

static void step_answer(coord_t *c, coord_event_t *e) {
    job_t *j = coord_job(c, e->job);
    if (!j && e->kind == EV_RESOLVED) garbage_restored(c, e->job, e->resolved.from); /* it was cancelled and forgotten meanwhile, or we lead no more */
    if (!j) return;
    switch (e->kind) {
    case EV_RESOLVED: job_resolved(c, j, e); break;
    case EV_JOB_STORED: job_record_stored(c, j, e); break;
    case EV_RAISED:
        if (job_state_terminal(j->state)) ended_raised(c, j, e);
        else restart_raised(c, j, e);
        break;
    case EV_MANIFEST_STORED: epoch_manifest_stored(c, j, e); break;
    case EV_SPLITS_FOUND: deploy_splits_found(c, j, e); break;
    case EV_TARGET_CHECKED: client_target_checked(c, j, e); break;
    case EV_SAVING: savepoint_moves(c, j, e); break;
    case EV_SAVED: savepoint_saved(c, j, e); break;
    case EV_ORPHANS: orphans_found(c, j, e); break;
    case EV_FORGOTTEN: ended_forgotten(c, j, e); break;
    default: break;
    }
}

static void serve(coord_t *c) {
    for (int i = 0; i < c->njobs; i++) job_serve(c, c->jobs[i]);
    ended_forget_old(c);
    int n = 0;
    for (int i = 0; i < c->njobs; i++) {
        if (c->jobs[i]->gone) job_free(c->jobs[i]);
        else c->jobs[n++] = c->jobs[i];
    }
    c->njobs = n;
}

err_t *coord_step(coord_t *c, coord_event_t *e, coord_actions_t *ret) {
    if (e->now_ms < c->now_ms)
        return err_new(ERR_INTERNAL, "time runs backwards: %" PRId64 " after %" PRId64, e->now_ms, c->now_ms);
    int64_t stood_ms = e->now_ms - MAX(c->now_ms, coord_next_ms(c));
    c->now_ms = e->now_ms;
    c->wall_ms = e->wall_ms;
    c->draw = e->draw;
    c->out = ret;
    if (c->leading && stood_ms > c->conf.heartbeat_ms) {
        membership_forgive(c, stood_ms);
        savepoint_forgive(c, stood_ms);
    }
    switch (e->kind) {
    case EV_LEADING: step_leading(c, e); break;
    case EV_LEADER_LOST: step_leader_lost(c); break;
    case EV_MESSAGE: step_message(c, e); break;
    case EV_CLOSED: membership_closed(c, e->session); break;
    case EV_CLIENT: step_client(c, e); break;
    case EV_TICK:
        c->tick_ms = c->now_ms;
        membership_tick(c);
        break;
    default: step_answer(c, e); break;
    }
    if (c->leading) serve(c);
    if (c->step_down) {
        step_leader_lost(c);
        c->step_down = false;
        coord_actions_add(ret, ACT_RESIGN);
    }
    c->out = NULL;
    return NULL;
}

int64_t coord_next_ms(const coord_t *c) {
    int64_t tick = c->tick_ms + (c->leading ? c->conf.heartbeat_ms : 1000), next = tick;
    for (int i = 0; i < c->njobs; i++) {
        const job_t *j = c->jobs[i];
        if (job_state_terminal(j->state)) continue;
        int64_t t = epoch_next_ms(c, j);
        if (j->state == JOB_RESTARTING && j->restart_ms > c->now_ms) t = MIN(t, j->restart_ms);
        next = MIN(next, t);
    }
    return MIN(tick, MAX(next, c->now_ms + 1)); /* a tick may be overdue: a flood of events within this millisecond does not hide it */
}
