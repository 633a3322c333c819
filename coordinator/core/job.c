/* job.c: the life of a job.
 *
 *   SUBMITTED -> RESOLVING -> WAITING -> DEPLOYING -> RUNNING -> STOPPING -> STOPPED
 *                                ^          |           |  \         |  \-> CANCELLED, FINISHED
 *                                |          v           v   \-> FINISHED
 *                                +----- RESTARTING <----+------------+
 *   every state that is not terminal -> FAILED, CANCELLED;   FAILED, STOPPED without savepoint -> RESTARTING (resume)
 *
 *   transition                  by
 *   SUBMITTED  -> RESOLVING     client.c   a submit is accepted
 *   RESOLVING  -> WAITING       job_serve  shape known, record stored, attempt raised, epoch 0 durable
 *   WAITING    -> DEPLOYING     job_serve  every unit has a slot
 *   DEPLOYING  -> RUNNING       job_serve  every worker said DEPLOYED; START is sent
 *   RUNNING    -> STOPPING      job_serve  stop or cancel is wanted
 *   any active -> RESTARTING    restart.c  the attempt ended
 *   RESTARTING -> WAITING       restart.c  all workers stopped, the outcome of the last manifest known, attempt raised
 *   ...        -> terminal      job_serve  closing: all workers stopped
 *
 * Taking an attempt down for good is a phase (`closing`), not a state: STOP is sent, the workers answer, then the state changes. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

#define TO(s) (1u << (s))
#define TO_TERMINAL (TO(JOB_STOPPED) | TO(JOB_FINISHED) | TO(JOB_FAILED) | TO(JOB_CANCELLED))
static const unsigned allowed[] = {
    [JOB_SUBMITTED] = TO(JOB_RESOLVING) | TO(JOB_FAILED),
    [JOB_RESOLVING] = TO(JOB_WAITING) | TO_TERMINAL,
    [JOB_WAITING] = TO(JOB_DEPLOYING) | TO_TERMINAL,
    [JOB_DEPLOYING] = TO(JOB_RUNNING) | TO(JOB_RESTARTING) | TO_TERMINAL,
    [JOB_RUNNING] = TO(JOB_STOPPING) | TO(JOB_RESTARTING) | TO_TERMINAL,
    [JOB_STOPPING] = TO(JOB_RESTARTING) | TO_TERMINAL,
    [JOB_RESTARTING] = TO(JOB_WAITING) | TO_TERMINAL,
    [JOB_STOPPED] = TO(JOB_RESTARTING),
    [JOB_FINISHED] = 0,
    [JOB_FAILED] = TO(JOB_RESTARTING),
    [JOB_CANCELLED] = 0,
};
#define STORE_RETRY_MS 200

job_t *job_new(job_record_t *record) {
    job_t *j = xcalloc(1, sizeof *j);
    j->id = record->id;
    j->record = record;
    return j;
}

void job_workers_clear(job_t *j) {
    for (int i = 0; i < j->nworkers; i++) {
        base_done(&j->workers[i].base);
        job_report_done(&j->workers[i].report);
    }
    free(j->workers);
    j->workers = NULL;
    j->nworkers = 0;
}

void job_free(job_t *j) {
    if (!j) return;
    epoch_free(j);
    job_workers_clear(j);
    for (int i = 0; i < j->nplaces; i++) free(j->places[i].id);
    for (int i = 0; i < j->ndeferred; i++) free(j->deferred[i]);
    free(j->places);
    free(j->deferred);
    free(j->units);
    free(j->waiting);
    for (int i = 0; i < j->nwaiters; i++) waiter_done(&j->waiters[i]);
    free(j->waiters);
    free(j->unpublished);
    err_free(j->stop_error);
    free(j->save_target);
    orphans_forget(j);
    free(j->saving_target);
    err_free(j->save_error);
    manifest_free(j->saving);
    manifest_free(j->from);
    job_shape_free(j->shape);
    job_record_free(j->record);
    err_free(j->last_error);
    free(j);
}

/* The one setter. */
void job_set_state(coord_t *c, job_t *j, job_state_t s) {
    ASSERT(allowed[j->state] & TO(s));
    coord_log(c, s == JOB_FAILED ? COORD_ERROR : COORD_INFO, "job %" PRIu64 " '%s': %s -> %s%s%s", j->id,
              j->record->spec.name ? j->record->spec.name : "", job_state_name(j->state), job_state_name(s),
              s == JOB_FAILED || s == JOB_RESTARTING ? ": " : "",
              s == JOB_FAILED ? err_text(j->record->error) : s == JOB_RESTARTING ? err_text(j->last_error) : "");
    j->state = s;
    j->since_ms = c->now_ms;
    if (s != JOB_WAITING) set_text(&j->waiting, NULL);
}

void job_changed(job_t *j) { j->version++; }
bool job_stored(const job_t *j) { return j->stored_version == j->version; }

static void store_record(coord_t *c, job_t *j) {
    if (j->forgetting) return; /* it would come back behind the FORGET */
    if (job_stored(j) || j->flying_version || c->now_ms < j->store_retry_ms) return;
    j->flying_version = j->version;
    coord_action_t *a = coord_actions_add(c->out, ACT_PUT_JOB);
    a->job = j->id;
    a->record = job_record_copy(j->record);
}

void job_record_stored(coord_t *c, job_t *j, coord_event_t *e) {
    uint64_t version = j->flying_version;
    j->flying_version = 0;
    if (e->outcome == STORE_OK) {
        j->stored_version = version;
        j->persisted = true;
    } else if (e->outcome == STORE_REFUSED) {
        c->step_down = true;
    } else {
        j->store_retry_ms = c->now_ms + STORE_RETRY_MS;
        set_text(&j->waiting, xprintf("metadata store: %s", err_text(e->error)));
    }
}

void job_send(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m) {
    m->job = j->id;
    m->incarnation = j->record->incarnation;
    m->attempt = j->attempt;
    if (w->session) membership_send(c, w->session, m);
    else ctl_free(m);
}

void job_send_all(coord_t *c, job_t *j, ctl_kind_t kind, epoch_t epoch, uint32_t flags) {
    for (int i = 0; i < j->nworkers; i++) {
        ctl_msg_t *m = ctl_new(kind);
        m->epoch = epoch;
        m->flags = flags;
        job_send(c, j, &j->workers[i], m);
    }
}

bool job_published(const job_t *j) {
    const manifest_t *m = j->ep.last;
    for (int i = 0; m && i < m->nlanes; i++)
        if (m->lanes[i].last_rows > lane_published_known(j, m->lanes[i].fingerprint, m->lanes[i].lane)) return false;
    return true;
}

/* ---- the end */
void job_close(coord_t *c, job_t *j, job_state_t target) {
    if (j->closing) return;
    j->closing = true;
    j->target = target;
    attempt_stop(c, j);
}

void job_fail(coord_t *c, job_t *j, err_t *error) {
    if (job_state_terminal(j->state)) {
        err_free(error);
        return;
    }
    err_free(j->record->error);
    j->record->error = error;
    if (j->closing) j->target = JOB_FAILED;
    else job_close(c, j, JOB_FAILED);
}

/* Files of a job that is over: a FAILED one keeps them for `resume`, a STOPPED one until its savepoint is a copy, and none
 * loses output that is complete but not published. */
static void sweep(coord_t *c, job_t *j) {
    if (j->swept) return;
    j->swept = true;
    if (j->state == JOB_FAILED || !j->ep.last || !job_published(j) || (j->state == JOB_STOPPED && !j->record->savepoint)) return;
    manifest_t *none = manifest_new();
    older_forget(c, j, none);
    garbage_between(c, j, j->ep.last, none);
    manifest_free(none);
}

/* Sinks that are no lanes act on COMPLETE, and nobody hears that they did: STOPPED comes after it, a lost worker never said it. */
static bool direct_sinks(const job_t *j) {
    for (int i = 0; j->shape && i < j->shape->nsinks; i++)
        if (j->shape->sinks[i].lanes == 0) return true;
    return false;
}

static bool last_output_in_doubt(const job_t *j) {
    if ((j->target != JOB_FINISHED && j->target != JOB_STOPPED) || !j->ep.last || !j->ep.last->final || !direct_sinks(j)) return false;
    for (int i = 0; i < j->nworkers; i++)
        if (!j->workers[i].stopped) return true;
    return false;
}

/* A cancelled job publishes nothing any more: what it leaves behind is said, in whatever state it was. */
static void left_behind(coord_t *c, job_t *j) {
    AUTO(buf_free) buf_t what = buf_make(4096);
    bool unread = j->persisted && !j->raised && !j->ep.last;
    if (unread) buf_puts(&what, "its last epoch was not read yet, so what of it is published is not known");
    else if (!waits_unpublished(j, &what)) return;
    set_text(&j->unpublished, xstrdup(buf_cstr(&what)));
    coord_log(c, COORD_WARN, "job %" PRIu64 " is cancelled with complete output that is not published: %s", j->id, j->unpublished);
}

static void close_serve(coord_t *c, job_t *j) {
    if (!attempt_stopped(c, j)) return;
    if (last_output_in_doubt(j)) { /* one more attempt: restoring the final epoch makes its output visible */
        j->closing = false;
        restart_begin(c, j, err_new(ERR_UNAVAILABLE, "a worker was lost before it could make its last output visible"));
        return;
    }
    if (j->ep.put == PUT_FLYING && j->target != JOB_FAILED) return;
    if (j->target == JOB_STOPPED && !j->saved) {
        savepoint_serve(c, j);
        if (!j->saved) return;
    }
    if (j->target == JOB_CANCELLED) left_behind(c, j);
    j->closing = false;
    j->stop_ms = 0;
    j->record->state = j->target;
    j->record->ended_ms = c->wall_ms;
    job_changed(j);
    job_set_state(c, j, j->target);
    epoch_end_attempt(j);
    job_workers_clear(j);
}

/* What helps the copy comes first, but does not hide that nothing is lost. */
static err_t *state_kept(const job_t *j) {
    const char *helps = err_hint_text(j->save_error);
    err_t *e = err_make(err_code(j->save_error), err_text(j->save_error), 0, 0, NULL);
    return err_hint(err_wrap(e, "job %" PRIu64 " is STOPPED, but", j->id),
                    "%s%sits state is kept: `tidegate savepoint [--to DIR] %" PRIu64 "` copies it, `tidegate resume %" PRIu64 "` goes on", helps ? helps : "",
                    helps ? "; " : "", j->id, j->id);
}

/* The record of a terminal job is durable: nothing can bring it back, so files may go, in storage and at workers, and clients may know. */
static void terminal_serve(coord_t *c, job_t *j) {
    if (!job_stored(j)) return;
    if (j->state == JOB_CANCELLED && j->from) { /* it never began from that */
        if (!epoch_of_us(j)) garbage_restored(c, j->id, j->from);
        manifest_free(TAKE(j->from));
    }
    if (!j->swept && !ended_holds_state(j)) ended_release(c, j);
    sweep(c, j);
    const err_t *failed = j->state == JOB_FAILED ? j->record->error : NULL;
    client_answer(c, j, WAIT_RUNNING, failed);
    err_t *kept = NULL; /* who asked for a stop asked for its savepoint */
    if (j->state == JOB_STOPPED && !j->record->savepoint && j->save_error) failed = kept = state_kept(j);
    client_answer(c, j, WAIT_TERMINAL, failed);
    err_free(kept);
}

/* ---- events of the job */
/* Never accepted: the client hears why and nothing remains. */
static void turn_away(coord_t *c, job_t *j, const err_t *why) {
    coord_log(c, COORD_INFO, "the job '%s' is turned away: %s", j->record->spec.name ? j->record->spec.name : "", err_text(why)); /* who asked may have gone */
    for (int i = 0; i < j->nwaiters; i++) {
        coord_reply(c, j->waiters[i].call, 0, err_copy(why));
        waiter_done(&j->waiters[i]);
    }
    j->nwaiters = 0;
    j->gone = true;
}

/* There is one answer per term that counts, the one to our own question: of an earlier term's it would be asked again, and two copies of a savepoint
 * would be made at once under the names of one leader. */
void job_resolved(coord_t *c, job_t *j, coord_event_t *e) {
    if (e->resolved.leader != c->leader) {
        garbage_restored(c, j->id, e->resolved.from);
        return;
    }
    j->resolving = false;
    if (job_state_terminal(j->state) || j->closing) { /* what was copied for it goes with the job: resumed it would be copied to the same names */
        manifest_free(j->from);
        j->from = TAKE(e->resolved.from);
        return;
    }
    if (!e->error && !j->persisted && !j->record->spec.name) /* the name was in the text */
        e->error = client_name_taken(c, e->resolved.shape->name, j);
    bool known = e->resolved.shape && (!e->error || e->resolved.from);
    if (known) owner_take(j, e->resolved.shape, e->resolved.from);
    err_t *owned = known && (!j->persisted || j->record->unseen) ? owner_refused(c, j, e->resolved.from) : NULL;
    if (owned) { /* a job that publishes there now is the better reason than what it has published */
        err_free(e->error);
        e->error = owned;
    }
    if (!e->error && j->record->unseen) {
        j->record->unseen = false;
        job_changed(j);
    }
    if (!e->error && !j->persisted && e->resolved.from) /* it would be FAILED at once, and was never what the client meant */
        e->error = err_wrap(manifest_check_shape(e->resolved.from, e->resolved.shape), "savepoint %s", j->record->from);
    if (e->error) {
        bool retry = j->persisted && !err_deterministic(e->error);
        if (retry) {
            set_text(&j->waiting, xstrdup(err_text(e->error)));
            j->resolve_retry_ms = c->now_ms + 1000;
        } else if (j->persisted) {
            job_fail(c, j, TAKE(e->error));
        } else {
            garbage_restored(c, j->id, e->resolved.from);
            turn_away(c, j, e->error);
        }
        return;
    }
    ASSERT(e->resolved.shape);
    job_shape_free(j->shape);
    j->shape = TAKE(e->resolved.shape);
    manifest_free(j->from);
    j->from = TAKE(e->resolved.from);
    if (!j->record->spec.name) j->record->spec.name = xstrdup(j->shape->name);
    if (!j->persisted) job_changed(j);
}

static void task_failed(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m) {
    member_t *from = member_by_id(c, w->member);
    err_t *e = m->error ? TAKE(m->error) : err_new(ERR_UNAVAILABLE, "no reason given");
    if (m->failed.where) membership_link_fault(c, from, m->failed.where);
    if (m->flags & FAILED_OWN) membership_own_fault(c, from);
    const char *label = j->shape && m->failed.stage >= 0 && m->failed.stage < j->shape->nstages && j->shape->stages[m->failed.stage].label
                            ? j->shape->stages[m->failed.stage].label
                            : "task";
    if (m->failed.stage < 0) e = err_wrap(e, "worker %s", from->name); /* a lane or the worker itself, no task */
    else e = err_wrap(e, "%s %d/%d on worker %s", label, m->failed.stage, m->failed.subtask, from->name);
    /* A newer incarnation took the lanes: going on would fence it in turn, for ever (A4, A27). */
    if (err_code(e) == ERR_FENCED) job_fail(c, j, e);
    else if (!(m->flags & FAILED_DAMAGED) || j->state != JOB_DEPLOYING || (e = older_damaged(c, j, e))) restart_begin(c, j, e);
}

void job_message(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m) {
    bool active = !j->closing && (j->state == JOB_DEPLOYING || j->state == JOB_RUNNING || j->state == JOB_STOPPING);
    if (m->kind == CTL_STOPPED) {
        if (j->stop_ms) w->stopped = true;
        else if (active) restart_begin(c, j, err_new(ERR_UNAVAILABLE, "worker %s gave the attempt up", member_by_id(c, w->member)->name));
        return;
    }
    if (m->kind == CTL_PUBLISHED) { /* true in any phase */
        epoch_published(c, j, m);
        return;
    }
    if (!active) return;
    switch (m->kind) {
    case CTL_DEPLOYED: w->deployed = true; break;
    case CTL_ACK: epoch_ack(c, j, w, m); break;
    case CTL_BASE_DONE: epoch_base_done(c, j, w, m); break;
    case CTL_ENDED: w->ended = true; break;
    case CTL_FAILED: task_failed(c, j, w, m); break;
    default: c->dropped++; break;
    }
}

/* ---- what comes next */
static void deploying_serve(coord_t *c, job_t *j) {
    AUTO(buf_free) buf_t late = buf_make(1024);
    int missing = 0;
    for (int i = 0; i < j->nworkers; i++) {
        if (j->workers[i].deployed) continue;
        buf_printf(&late, "%s%s", missing++ ? ", " : "", member_by_id(c, j->workers[i].member)->name);
    }
    if (missing == 0) {
        if (older_put(c, j)) return;
        older_calm(j);
        job_send_all(c, j, CTL_START, j->ep.last->epoch, 0);
        job_set_state(c, j, JOB_RUNNING);
        restart_running(c, j);
        epoch_start(c, j);
        client_answer(c, j, WAIT_RUNNING, NULL);
        return;
    }
    int64_t limit = c->conf.deploy_timeout_ms << MIN(j->failures, 4);
    if (c->now_ms - j->deploy_ms > limit)
        restart_begin(c, j, err_new(ERR_TIMEOUT, "worker %s did not build its tasks within %" PRId64 " ms", buf_cstr(&late), limit));
}

static void cancel_serve(coord_t *c, job_t *j) {
    if (j->ep.put != PUT_NONE && c->now_ms - j->cancel_ms < c->conf.publish_wait_ms) return;
    if (job_published(j) || c->now_ms - j->cancel_ms >= c->conf.publish_wait_ms) job_close(c, j, JOB_CANCELLED);
}

static void running_serve(coord_t *c, job_t *j) {
    if (j->state == JOB_RUNNING && j->record->wanted != WANTED_RUN) job_set_state(c, j, JOB_STOPPING);
    epoch_serve(c, j);
    if (j->closing || (j->state != JOB_RUNNING && j->state != JOB_STOPPING)) return;
    if (j->record->wanted == WANTED_CANCEL) {
        cancel_serve(c, j);
    } else if (j->ep.last->final && j->ep.n == 0 && job_published(j)) {
        job_close(c, j, j->record->wanted == WANTED_STOP ? JOB_STOPPED : JOB_FINISHED);
    } else if (j->squeezed && j->record->wanted == WANTED_RUN && !j->ep.final_injected &&
               c->now_ms - j->since_ms >= c->conf.settle_ms && deploy_fits(c, j)) {
        restart_begin(c, j, err_new(ERR_CANCELLED, "there are slots for every task again"));
    }
}

static void waiting_serve(coord_t *c, job_t *j) {
    bool owed = !job_published(j) || (j->ep.last->final && direct_sinks(j));
    if (j->record->wanted == WANTED_STOP && !owed && !j->ep.back) { /* nothing runs and nothing is owed */
        job_close(c, j, JOB_STOPPED);
        return;
    }
    if (!deploy_place(c, j)) return;
    deploy_send(c, j);
    job_set_state(c, j, JOB_DEPLOYING);
}

void job_serve(coord_t *c, job_t *j) {
    if (j->gone) return;
    if (j->record->wanted == WANTED_CANCEL && !j->closing && !job_state_terminal(j->state) && j->state != JOB_RUNNING &&
        j->state != JOB_STOPPING)
        job_close(c, j, JOB_CANCELLED);
    if (!j->closing) {
        if (j->state == JOB_RESOLVING && restart_prepare(c, j)) job_set_state(c, j, JOB_WAITING);
        if (j->state == JOB_RESTARTING) restart_serve(c, j);
        if (j->state == JOB_WAITING && !j->closing) waiting_serve(c, j);
        if (j->state == JOB_DEPLOYING && !j->closing) deploying_serve(c, j);
        if ((j->state == JOB_RUNNING || j->state == JOB_STOPPING) && !j->closing) running_serve(c, j);
    }
    if (job_state_terminal(j->state)) ended_serve(c, j);
    if (j->closing) close_serve(c, j);
    else if (j->saving) savepoint_serve(c, j);
    if (job_state_terminal(j->state)) terminal_serve(c, j);
    orphans_serve(c, j);
    savepoint_limit(c, j);
    savepoint_tell(c, j);
    client_serve(c, j);
    store_record(c, j);
}
