/* client.c: what clients ask for that changes something, and who waits for what. Reading requests never come here: the
 * service answers them from the state. A request is idempotent where it can be: stop of a stopping job waits with the others. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

void waiter_done(waiter_t *w) { free(w->target); }

waiter_t *client_add_waiter(const coord_t *c, job_t *j, call_id_t call, waiter_kind_t kind, int64_t wait_ms) {
    j->waiters = xrealloc(j->waiters, (size_t)(j->nwaiters + 1) * sizeof *j->waiters);
    waiter_t *w = &j->waiters[j->nwaiters++];
    *w = (waiter_t){.call = call, .kind = kind, .since_ms = c->now_ms, .until_ms = wait_ms > 0 ? c->now_ms + wait_ms : INT64_MAX};
    return w;
}

/* `error` is borrowed. */
void client_answer(coord_t *c, job_t *j, waiter_kind_t kind, const err_t *error) {
    int n = 0;
    for (int i = 0; i < j->nwaiters; i++) {
        if (j->waiters[i].kind != kind) {
            j->waiters[n++] = j->waiters[i];
            continue;
        }
        coord_reply(c, j->waiters[i].call, j->id, err_copy(error));
        waiter_done(&j->waiters[i]);
    }
    j->nwaiters = n;
}

/* Whoever waits as long as he said hears by name what is missing. What he asked for goes on. */
static err_t *too_long(const coord_t *c, const job_t *j, const waiter_t *w) {
    static const char *const what[] = {[WAIT_RUNNING] = "is not accepted yet", [WAIT_TERMINAL] = "has not ended", [WAIT_SAVEPOINT] = "has no savepoint yet", [WAIT_FORGOTTEN] = "is not forgotten yet"};
    int64_t ms = c->now_ms - w->since_ms;
    if (w->kind == WAIT_TARGET)
        return err_hint(err_new(ERR_TIMEOUT, "%s did not say within %" PRId64 " ms whether it can be written; job %" PRIu64 " goes on as it was", w->target, ms, j->id),
                        "another directory, or none: the savepoint goes below checkpoint storage then");
    AUTO(buf_free) buf_t why = buf_make(4096);
    waits_for(c, j, &why);
    if (w->kind == WAIT_RUNNING) /* by name: its id may be that of a job that never was */
        return err_hint(err_new(ERR_TIMEOUT, "the job '%s' %s after %" PRId64 " ms: %s", j->record->spec.name ? j->record->spec.name : "", what[w->kind], ms, buf_cstr(&why)),
                        "it goes on: look at `tidegate jobs`, or cancel it");
    return err_hint(err_new(ERR_TIMEOUT, "job %" PRIu64 " %s after %" PRId64 " ms: %s", j->id, what[w->kind], ms, buf_cstr(&why)),
                    "it goes on; ask again, with a longer --timeout, or look at `tidegate job %" PRIu64 "`", j->id);
}

/* Until it is durable a job may still be turned away and leave nothing behind, and its id would name a job that never was: who submitted it waits as
 * long as he said, and hears what is missing. Then a submit that takes long is answered with the job as it is: its state, and what it waits for. */
static int64_t until_ms(const job_t *j, const waiter_t *w) {
    if (w->kind != WAIT_RUNNING) return j->persisted ? w->until_ms : INT64_MAX;
    int64_t own = w->wait_ms > 0 ? w->since_ms + w->wait_ms : INT64_MAX;
    return j->persisted ? MIN(w->until_ms, own) : own;
}

void client_serve(coord_t *c, job_t *j) {
    int n = 0;
    for (int i = 0; i < j->nwaiters; i++) {
        waiter_t *w = &j->waiters[i];
        if (until_ms(j, w) > c->now_ms) {
            j->waiters[n++] = *w;
            continue;
        }
        err_t *missing = j->persisted && w->kind == WAIT_RUNNING ? NULL : too_long(c, j, w);
        coord_reply(c, w->call, j->persisted ? j->id : 0, missing);
        waiter_done(w);
    }
    j->nwaiters = n;
}

/* A job holds its name until it has ended; a FAILED one does not, but cannot be resumed while another has it. */
static job_t *active_by_name(const coord_t *c, const char *name, const job_t *except) {
    for (int i = 0; name && i < c->njobs; i++) {
        job_t *j = c->jobs[i];
        if (j != except && !job_state_terminal(j->state) && !j->gone && j->record->spec.name && strcmp(j->record->spec.name, name) == 0)
            return j;
    }
    return NULL;
}

err_t *client_name_taken(const coord_t *c, const char *name, const job_t *except) {
    const job_t *other = active_by_name(c, name, except);
    if (!other) return NULL;
    return err_hint(err_new(ERR_EXISTS, "job %" PRIu64 " with the name '%s' is %s", other->id, name, job_state_name(other->state)),
                    "stop it first, or give this one another name: SET 'pipeline.name' = '..'");
}

static job_id_t draw_id(const coord_t *c) {
    uint64_t x = c->draw;
    for (;;) { /* ids are typed by people: 31 bits of the draw; collisions with jobs still known draw again */
        job_id_t id = hash_mix(x) >> 33;
        if (id && !coord_job(c, id)) return id;
        x++;
    }
}

static void submit(coord_t *c, call_id_t call, client_request_t *r) {
    err_t *taken = client_name_taken(c, r->spec.name, NULL);
    if (taken) {
        coord_reply(c, call, 0, taken);
        return;
    }
    job_record_t *record = xcalloc(1, sizeof *record);
    record->id = draw_id(c);
    record->incarnation = c->draw ? c->draw : 1;
    record->spec = r->spec;
    r->spec = (job_spec_t){0};
    record->state = JOB_RUNNING;
    record->created_ms = c->wall_ms;
    record->from = TAKE(r->from);
    record->new_ledger = r->new_ledger;
    record->forced = record->from && r->accept_duplicates;
    job_t *j = coord_add_job(c, record);
    client_add_waiter(c, j, call, WAIT_RUNNING, c->conf.submit_wait_ms)->wait_ms = r->wait_ms;
    job_set_state(c, j, JOB_RESOLVING);
}

/* A target is tried before the job hears of anything: one that cannot be written, or is another savepoint's, is refused and changes nothing. */
static void check_target(coord_t *c, job_t *j, call_id_t call, client_request_t *r) {
    int64_t most = c->conf.target_wait_ms;
    waiter_t *w = client_add_waiter(c, j, call, WAIT_TARGET, r->wait_ms > 0 ? MIN(r->wait_ms, most) : most);
    w->op = r->op;
    w->target = TAKE(r->from);
    w->wait_ms = r->wait_ms;
    coord_action_t *a = coord_actions_add(c->out, ACT_CHECK_TARGET);
    a->job = j->id;
    a->check.call = call;
    a->check.target = xstrdup(w->target);
}

static bool same_target(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

static void stop(coord_t *c, job_t *j, call_id_t call, client_request_t *r, bool checked) {
    const char *target = j->record->stop_target;
    bool stopping = j->record->wanted == WANTED_STOP;
    if (j->record->wanted == WANTED_CANCEL) {
        coord_reply(c, call, j->id, err_new(ERR_INVALID, "job %" PRIu64 " is being cancelled", j->id));
    } else if (stopping && r->from && !same_target(r->from, target)) {
        coord_reply(c, call, j->id, err_hint(err_new(ERR_EXISTS, "job %" PRIu64 " is being stopped, with its savepoint %s", j->id, target ? target : "below checkpoint storage"),
                                             "ask without --to, and copy the savepoint when it is there"));
    } else if (!stopping && r->from && !checked) {
        check_target(c, j, call, r);
    } else {
        client_add_waiter(c, j, call, WAIT_TERMINAL, r->wait_ms);
        if (stopping) return;
        set_text(&j->record->stop_target, TAKE(r->from));
        j->record->wanted = WANTED_STOP;
        job_changed(j);
    }
}

static void cancel(coord_t *c, job_t *j, call_id_t call, const client_request_t *r) {
    client_add_waiter(c, j, call, WAIT_TERMINAL, r->wait_ms);
    if (j->record->wanted == WANTED_CANCEL) return;
    j->record->wanted = WANTED_CANCEL;
    j->cancel_ms = c->now_ms;
    job_changed(j);
}

static err_t *resume_refused(const coord_t *c, const job_t *j, const client_request_t *r) {
    if (!ended_holds_state(j)) {
        err_t *e = err_new(ERR_INVALID, "job %" PRIu64 " is %s; only a FAILED job is resumed, or a STOPPED one without a savepoint", j->id, job_state_name(j->state));
        return j->state == JOB_STOPPED ? err_hint(e, "submit --from %s", j->record->savepoint) : e;
    }
    if (j->state == JOB_STOPPED && r->accept_duplicates)
        return err_hint(err_new(ERR_INVALID, "job %" PRIu64 " is STOPPED: all it had is published, there is nothing to accept", j->id), "resume it without --accept-duplicates");
    if (j->forgetting) return err_new(ERR_NOT_FOUND, "job %" PRIu64 " is being forgotten", j->id);
    /* Its lanes would find the same ledger and fail again, after the answer said RUNNING. */
    if (err_code(j->record->error) == ERR_FENCED && !r->accept_duplicates)
        return err_hint(err_new(ERR_INVALID, "job %" PRIu64 " would stop again at once: %s", j->id, err_text(j->record->error)),
                        "%s", err_hint_text(j->record->error) ? err_hint_text(j->record->error) : "tidegate resume --accept-duplicates");
    err_t *e = owner_refused(c, j, NULL);
    return e ? e : client_name_taken(c, j->record->spec.name, j);
}

/* A new incarnation of the same state; restart.c makes its first manifest. */
static void reborn(coord_t *c, job_t *j, bool forced) {
    j->record->incarnation = c->draw ? c->draw : 1;
    j->record->forced = forced;
    if (forced) /* the ledgers of the one before bind us no more */
        coord_log(c, COORD_WARN, "job %" PRIu64 " is resumed with duplicates accepted, as incarnation %016" PRIx64, j->id, j->record->incarnation);
}

/* A job that failed while it was being stopped goes on with that: its last epoch may be the final one already, and what it holds is owed a savepoint. */
static void resume(coord_t *c, job_t *j, call_id_t call, const client_request_t *r) {
    err_t *refused = resume_refused(c, j, r);
    if (refused) {
        coord_reply(c, call, j->id, refused);
        return;
    }
    job_record_t *record = j->record;
    err_free(j->last_error);
    j->last_error = TAKE(record->error);
    if (r->accept_duplicates) reborn(c, j, true);
    record->reopened = j->state == JOB_STOPPED;
    if (j->state == JOB_STOPPED) {
        reborn(c, j, false);
        set_text(&record->stop_target, NULL);
        record->wanted = WANTED_RUN;
    }
    if (record->wanted == WANTED_CANCEL) record->wanted = WANTED_RUN;
    record->state = JOB_RUNNING;
    record->ended_ms = 0;
    record->unseen = !record->family;
    j->failures = 0;
    j->raised = j->swept = j->saved = false;
    j->ep.want_savepoint |= j->keep;
    j->keep = false;
    j->save_held_ms = c->now_ms;
    j->restart_ms = c->now_ms;
    job_changed(j);
    client_add_waiter(c, j, call, WAIT_RUNNING, c->conf.submit_wait_ms);
    job_set_state(c, j, JOB_RESTARTING);
}

static err_t *savepoint_refused(const job_t *j) {
    bool over = job_state_terminal(j->state), stops = !over && j->record->wanted != WANTED_RUN;
    if (over && !ended_holds_state(j)) {
        err_t *e = err_new(ERR_INVALID, "job %" PRIu64 " is %s", j->id, job_state_name(j->state));
        return j->record->savepoint ? err_hint(e, "its last savepoint is %s", j->record->savepoint) : e;
    }
    if (j->forgetting) return err_new(ERR_NOT_FOUND, "job %" PRIu64 " is being forgotten", j->id);
    if (j->saving || j->save_untold || j->ep.want_savepoint || j->keep || stops)
        return err_new(ERR_EXISTS, "job %" PRIu64 " is %s", j->id, stops ? "being stopped" : "taking a savepoint already");
    if (!over && j->ep.final_injected) return err_new(ERR_INVALID, "job %" PRIu64 " is at its end", j->id);
    return NULL;
}

static void savepoint(coord_t *c, job_t *j, call_id_t call, client_request_t *r, bool checked) {
    err_t *refused = savepoint_refused(j);
    if (refused) {
        coord_reply(c, call, j->id, refused);
        return;
    }
    if (r->from && !checked) {
        check_target(c, j, call, r);
        return;
    }
    set_text(&j->save_target, TAKE(r->from));
    j->save_held_ms = c->now_ms;
    if (job_state_terminal(j->state)) {
        j->keep = true;
        j->keep_looked = false;
    } else {
        j->ep.want_savepoint = true;
    }
    client_add_waiter(c, j, call, WAIT_SAVEPOINT, r->wait_ms);
}

static job_t *find(const coord_t *c, const client_request_t *r) {
    job_t *of_id = r->job ? coord_job(c, r->job) : NULL;
    if (of_id) return of_id;
    job_t *active = active_by_name(c, r->job_name, NULL), *newest = NULL;
    for (int i = 0; r->job_name && i < c->njobs; i++) {
        job_t *j = c->jobs[i];
        if (j->record->spec.name && strcmp(j->record->spec.name, r->job_name) == 0 &&
            (!newest || j->record->created_ms > newest->record->created_ms))
            newest = j;
    }
    return active ? active : newest;
}

job_t *client_find_job(const coord_t *c, const client_request_t *r, err_t **reterr) {
    job_t *j = find(c, r);
    if (j && !j->gone) return j;
    if (r->job) *reterr = err_new(ERR_NOT_FOUND, "there is no job %" PRIu64, r->job);
    else *reterr = err_new(ERR_NOT_FOUND, "there is no job '%s'", r->job_name ? r->job_name : "");
    return NULL;
}

/* Asked to end what has ended: what else may be wanted. */
static err_t *is_over(const job_t *j) {
    err_t *e = err_new(ERR_INVALID, "job %" PRIu64 " is %s", j->id, job_state_name(j->state));
    if (ended_holds_state(j))
        return err_hint(e, "it holds the only copy of its state: `tidegate resume %" PRIu64 "` goes on from it, `savepoint %" PRIu64 "` copies it, `forget %" PRIu64
                        "` gives it up", j->id, j->id, j->id);
    return j->state == JOB_STOPPED ? err_hint(e, "its savepoint is %s", j->record->savepoint) : e;
}

static void of_job(coord_t *c, job_t *j, call_id_t call, client_request_t *r, bool checked) {
    bool over = job_state_terminal(j->state);
    if (r->op == CLIENT_RESUME) {
        resume(c, j, call, r);
    } else if (r->op == CLIENT_FORGET) {
        ended_forget(c, j, call, r->wait_ms);
    } else if (r->op == CLIENT_SAVEPOINT && (over || !j->closing)) {
        savepoint(c, j, call, r, checked);
    } else if (over || j->closing) {
        bool waits = j->closing && (r->op == CLIENT_STOP || r->op == CLIENT_CANCEL);
        if (waits && r->op == CLIENT_STOP && j->record->wanted == WANTED_STOP) stop(c, j, call, r, checked);
        else if (waits) client_add_waiter(c, j, call, WAIT_TERMINAL, r->wait_ms);
        else coord_reply(c, call, j->id, is_over(j));
    } else if (r->op == CLIENT_STOP) {
        stop(c, j, call, r, checked);
    } else if (r->op == CLIENT_CANCEL) {
        cancel(c, j, call, r);
    } else {
        coord_reply(c, call, j->id, err_new(ERR_INVALID, "client operation %d is unknown", (int)r->op));
    }
}

void client_target_checked(coord_t *c, job_t *j, coord_event_t *e) {
    for (int i = 0; i < j->nwaiters; i++) {
        waiter_t w = j->waiters[i];
        if (w.kind != WAIT_TARGET || w.call != e->checked.call) continue;
        j->nwaiters--;
        memmove(&j->waiters[i], &j->waiters[i + 1], sizeof w * (size_t)(j->nwaiters - i));
        if (e->error) {
            coord_reply(c, w.call, j->id, TAKE(e->error));
            waiter_done(&w);
        } else {
            client_request_t r = {.op = w.op, .job = j->id, .from = w.target, .wait_ms = w.wait_ms};
            of_job(c, j, w.call, &r, true);
            free(r.from);
        }
        return;
    }
}

void client_event(coord_t *c, call_id_t call, client_request_t *r) {
    if (r->op == CLIENT_SUBMIT) {
        submit(c, call, r);
    } else {
        err_t *e = NULL;
        job_t *j = client_find_job(c, r, &e);
        if (j) of_job(c, j, call, r, false);
        else coord_reply(c, call, 0, e);
    }
    client_request_free(r);
}
