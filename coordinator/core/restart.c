/* restart.c: the end of an attempt and the way to the next. Recovery, moving and taking over are this one path.
 *
 *   1. STOP to every worker of the old attempt; all answer, are gone, or lose their session at the deadline: a slot that does
 *      not return makes its process exit (B5).
 *   2. The outcome of a manifest that was under way becomes known, or at least its transaction is over (A3).
 *   3. The transaction that raises the attempt returns the last manifest. Recovery believes this answer only, never
 *      memory: a manifest that landed after we looked is in it, and one that has not landed yet can not land any more.
 *   4. Placement, DEPLOY, START. (A damaged file of the last epoch: older.c.)
 *
 * Delay: none after the first failure, then doubling; forgotten after a complete epoch or a quiet minute. An error that
 * is deterministic ends the job at once, too many attempts without a complete epoch end it too (B13). */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

#define QUIET_MS 60000
#define RAISE_RETRY_MS 200
#define OLDER_TRIES 10 /* then the job goes on without the older epoch that cannot be read */

void attempt_stop(coord_t *c, job_t *j) {
    if (j->stop_ms) return;
    j->stop_ms = MAX(c->now_ms, 1);
    for (int i = 0; i < j->nworkers; i++) set_text(&j->workers[i].report.waiting, NULL); /* from now on: what its end waits for */
    job_send_all(c, j, CTL_STOP, 0, 0);
}

bool attempt_stopped(coord_t *c, job_t *j) {
    bool all = true;
    for (int i = 0; i < j->nworkers; i++) {
        job_worker_t *w = &j->workers[i];
        if (w->stopped || !w->session) continue;
        if (c->now_ms - j->stop_ms <= c->conf.stop_timeout_ms) {
            all = false;
            continue;
        }
        const char *waits = w->report.waiting;
        membership_expel(c, w->session, err_new(ERR_TIMEOUT, "worker %s did not stop job %" PRIu64 " within %" PRId64 " ms%s%s: its process has to go",
                                                member_by_id(c, w->member)->name, j->id, c->conf.stop_timeout_ms, waits ? " for " : "", waits ? waits : ""));
    }
    return all;
}

static int64_t delay_ms(const job_t *j) {
    if (j->failures <= 1) return 0;
    job_settings_t s = j->shape ? j->shape->settings : job_settings_default();
    int64_t d = s.restart_delay_ms;
    for (int i = 2; i < j->failures && d < s.restart_delay_max_ms; i++) d *= 2;
    return MIN(d, s.restart_delay_max_ms);
}

void restart_begin(coord_t *c, job_t *j, err_t *cause) {
    if (j->closing || j->state == JOB_RESTARTING || job_state_terminal(j->state)) {
        err_free(cause);
        return;
    }
    if (err_deterministic(cause)) {
        job_fail(c, j, cause);
        return;
    }
    if (j->running_ms && c->now_ms - j->running_ms >= QUIET_MS) j->failures = 0;
    if (err_code(cause) != ERR_CANCELLED) j->failures++; /* a planned move is no failure */
    int max = j->shape ? j->shape->settings.restart_max : job_settings_default().restart_max;
    if (j->failures > max) {
        job_fail(c, j, err_wrap(cause, "%d attempts ended without a complete epoch; the last", j->failures));
        return;
    }
    err_free(j->last_error);
    j->last_error = cause;
    j->record->restarts++;
    j->restart_ms = c->now_ms + delay_ms(j);
    if (!j->outage_began_ms) j->outage_began_ms = MAX(c->now_ms, 1);
    job_set_state(c, j, JOB_RESTARTING);
    epoch_end_attempt(j);
    attempt_stop(c, j);
    j->raised = false;
    j->running_ms = 0;
}

void restart_completed(coord_t *c, job_t *j) { j->failures = 0; }

void restart_running(coord_t *c, job_t *j) {
    j->running_ms = MAX(c->now_ms, 1);
    if (j->outage_began_ms) j->outage_ms = c->now_ms - j->outage_began_ms;
    if (j->attempt > 1) job_changed(j); /* so many restarts */
    j->outage_began_ms = 0;
}

/* ---- the transaction that begins an attempt */
static void raise_attempt(coord_t *c, job_t *j) {
    if (j->raising || c->now_ms < j->raise_retry_ms) return;
    j->raising = true;
    coord_action_t *a = coord_actions_add(c->out, ACT_RAISE);
    a->job = j->id;
    a->raise.above = j->from ? j->from->attempt : 0;
}

void restart_raised(coord_t *c, job_t *j, coord_event_t *e) {
    j->raising = false;
    if (e->outcome == STORE_REFUSED) {
        c->step_down = true;
        return;
    }
    if (job_state_terminal(j->state) || j->closing) return;
    if (e->outcome != STORE_OK) {
        if (e->error && err_deterministic(e->error)) { /* the last manifest cannot be read: say which file */
            job_fail(c, j, TAKE(e->error));
            return;
        }
        j->raise_retry_ms = c->now_ms + RAISE_RETRY_MS;
        set_text(&j->waiting, xprintf("metadata store: %s", e->error ? err_text(e->error) : "no answer"));
        return;
    }
    ASSERT(e->raised.attempt > j->attempt);
    if (older_lacks(j, e) && ++j->older_tries < OLDER_TRIES) { /* it would be kept no longer, although nothing is wrong with it */
        j->raise_retry_ms = c->now_ms + RAISE_RETRY_MS;
        set_text(&j->waiting, xstrdup(err_text(e->error)));
        return;
    }
    j->older_tries = 0;
    j->raised = true;
    j->attempt = e->raised.attempt;
    older_advance(c, j, TAKE(e->raised.last), e->raised.nolder, e->raised.older);
    if (older_unread(j)) {
        err_free(j->ep.unread);
        j->ep.unread = TAKE(e->error);
    }
    epoch_begin_attempt(c, j, e->raised.floor);
}

static void resolve(coord_t *c, job_t *j, bool enumerate) {
    if (j->resolving || c->now_ms < j->resolve_retry_ms) return;
    j->resolving = true;
    coord_action_t *a = coord_actions_add(c->out, ACT_RESOLVE);
    a->job = j->id;
    a->resolve.spec = job_spec_copy(&j->record->spec);
    a->resolve.from = enumerate && j->record->from ? xstrdup(j->record->from) : NULL;
    if (a->resolve.from) set_text(&j->waiting, xprintf("savepoint %s to be copied into checkpoint storage", a->resolve.from));
    a->resolve.enumerate = enumerate;
    a->resolve.new_ledger = j->record->new_ledger;
    a->resolve.forced = j->record->forced;
    a->resolve.leader = c->leader;
}

/* Of the job, or of the incarnation that follows accepted duplicates. */
static bool first_manifest(coord_t *c, job_t *j) {
    if (j->ep.put != PUT_NONE) {
        epoch_put_retry(c, j);
        return false;
    }
    if (j->from && j->attempt <= j->from->attempt) { /* raised before the savepoint was known: a new coordinator */
        j->raised = false;
        return false;
    }
    if (j->ep.last && !job_stored(j)) return false; /* or a new leader would not know whose manifest it finds */
    err_t *e = NULL;
    manifest_t *m = j->ep.last ? manifest_reborn(j, c->leader) : manifest_first(j, c->leader, &e);
    if (e) job_fail(c, j, e);
    else epoch_put(c, j, m);
    return false;
}

bool restart_prepare(coord_t *c, job_t *j) {
    if (!j->shape && !j->persisted) { /* a submit: compile errors go to the client and leave no trace */
        resolve(c, j, true);
        return false;
    }
    if (!j->persisted) return false; /* the record is under way */
    if (!j->raised) {
        raise_attempt(c, j);
        return false;
    }
    if (!j->shape) {
        resolve(c, j, j->ep.last == NULL);
        return false;
    }
    if (!epoch_of_us(j)) return first_manifest(c, j);
    manifest_free(j->from);
    j->from = NULL;
    err_t *e = manifest_check_shape(j->ep.last, j->shape);
    if (!e) return true;
    job_fail(c, j, e);
    return false;
}

void restart_serve(coord_t *c, job_t *j) {
    if (!attempt_stopped(c, j)) return;
    if (!j->raised) {
        if (j->ep.put == PUT_FLYING) return; /* while an outcome is unknown nothing restarts */
        if (c->now_ms < j->restart_ms) return;
        job_workers_clear(j);
    }
    if (restart_prepare(c, j)) {
        older_prepare(c, j);
        j->stop_ms = 0;
        job_set_state(c, j, JOB_WAITING);
    }
}
