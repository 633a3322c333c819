/* ended.c: jobs that are over: what of them is kept, what is forgotten, and a savepoint of one.
 *
 * A FAILED job keeps its files for `resume`; a STOPPED one whose savepoint could not be copied has them instead of it. Such a job holds the only
 * copy of its state: it is never forgotten because others have ended, however many (a log line says how many there are), but only when it
 * is asked for by `forget`. Of the others the newest `jobs_kept` are remembered; what state they had lies in a savepoint or was given up
 * by `cancel`, or their input has ended.
 *
 * A savepoint of a job that is over: the transaction that raises the attempt tells the last manifest (who was given up may have written one
 * after we looked; memory is not believed here either), that is copied as a running job's is. A STOPPED job's files go then, as after its stop. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

#define RAISE_RETRY_MS 200

bool ended_holds_state(const job_t *j) { return j->state == JOB_FAILED || (j->state == JOB_STOPPED && !j->record->savepoint); }

static void give_up(coord_t *c, job_t *j, err_t *why) {
    j->keep = false;
    set_text(&j->save_target, NULL);
    client_answer(c, j, WAIT_SAVEPOINT, why);
    err_free(why);
}

void ended_serve(coord_t *c, job_t *j) {
    if (!j->keep || j->saving || j->save_untold || j->raising || j->ep.put == PUT_FLYING || c->now_ms < j->raise_retry_ms) return;
    if (!j->keep_looked) {
        j->raising = true;
        coord_actions_add(c->out, ACT_RAISE)->job = j->id;
    } else if (!j->ep.last) {
        give_up(c, j, err_new(ERR_NOT_FOUND, "job %" PRIu64 " is %s and had no epoch yet: there is nothing to keep", j->id, job_state_name(j->state)));
    } else {
        j->keep = false;
        savepoint_begin(c, j);
    }
}

void ended_raised(coord_t *c, job_t *j, coord_event_t *e) {
    j->raising = false;
    if (e->outcome == STORE_REFUSED) {
        c->step_down = true;
    } else if (e->outcome == STORE_OK) {
        j->attempt = e->raised.attempt;
        for (int i = 0; e->raised.last && j->state == JOB_STOPPED && i < e->raised.last->nlanes; i++) /* it would not be STOPPED else */
            e->raised.last->lanes[i].published = MAX(e->raised.last->lanes[i].published, e->raised.last->lanes[i].last_rows);
        older_advance(c, j, TAKE(e->raised.last), e->raised.nolder, e->raised.older);
        j->keep_looked = true;
    } else if (e->error && err_deterministic(e->error)) { /* the last manifest cannot be read: say which file */
        give_up(c, j, TAKE(e->error));
    } else {
        j->raise_retry_ms = c->now_ms + RAISE_RETRY_MS;
        set_text(&j->waiting, xprintf("metadata store: %s", e->error ? err_text(e->error) : "no answer"));
    }
}

/* ---- forgetting */
/* Every worker that is there may hold copies of what an attempt of the job had there, not only those of the last one. */
void ended_release(coord_t *c, const job_t *j) {
    for (int i = 0; i < c->nmembers; i++) {
        if (!c->members[i]->session) continue;
        ctl_msg_t *m = ctl_new(CTL_RELEASE);
        m->job = j->id;
        m->incarnation = j->record->incarnation;
        m->attempt = j->attempt;
        membership_send(c, c->members[i]->session, m);
    }
}

static void forget(coord_t *c, job_t *j) {
    j->forgetting = true;
    coord_action_t *a = coord_actions_add(c->out, ACT_FORGET);
    a->job = j->id;
    a->forget.restored = j->record->from != NULL;
}

void ended_forget(coord_t *c, job_t *j, call_id_t call, int64_t wait_ms) {
    if (!job_state_terminal(j->state) || j->saving || j->keep || j->save_untold) {
        err_t *e = err_new(ERR_INVALID, "job %" PRIu64 " is %s%s", j->id, job_state_name(j->state),
                           job_state_terminal(j->state) ? ", and its savepoint is being copied" : "");
        coord_reply(c, call, j->id, err_hint(e, job_state_terminal(j->state) ? "ask again when it has ended" : "stop or cancel it first"));
        return;
    }
    client_add_waiter(c, j, call, WAIT_FORGOTTEN, wait_ms);
    if (j->forgetting) return;
    coord_log(c, COORD_WARN, "job %" PRIu64 " '%s' is forgotten as asked%s", j->id, j->record->spec.name ? j->record->spec.name : "",
              ended_holds_state(j) ? ", and with it the only copy of its state" : "");
    forget(c, j);
}

void ended_forgotten(coord_t *c, job_t *j, coord_event_t *e) {
    if (e->outcome == STORE_OK) {
        for (int i = 0; i < j->nwaiters; i++) {
            coord_reply(c, j->waiters[i].call, 0, NULL);
            waiter_done(&j->waiters[i]);
        }
        j->nwaiters = 0;
        ended_release(c, j);
        j->gone = true;
        return;
    }
    j->forgetting = false;
    client_answer(c, j, WAIT_FORGOTTEN, e->error);
    c->step_down |= e->outcome == STORE_REFUSED;
}

void ended_forget_old(coord_t *c) {
    int over = 0, hold = 0;
    job_t *oldest = NULL;
    for (int i = 0; i < c->njobs; i++) {
        job_t *j = c->jobs[i];
        hold += ended_holds_state(j);
        if (!job_state_terminal(j->state) || ended_holds_state(j) || j->forgetting || j->gone || !job_stored(j) || j->saving || j->keep) continue;
        over++;
        if (!oldest || j->record->ended_ms < oldest->record->ended_ms) oldest = j;
    }
    if (hold > c->conf.jobs_kept && hold > c->held_said)
        coord_log(c, COORD_WARN, "%d jobs that are over hold the only copy of their state: `tidegate resume`, `savepoint` or `forget` them", hold);
    c->held_said = hold;
    if (over > c->conf.jobs_kept) forget(c, oldest);
}
