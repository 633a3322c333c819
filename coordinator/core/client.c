/* client.c: what clients ask for that changes something, and who waits for what. Reading requests never come here: the
 * service answers them from the state. A request is idempotent where it can be: stop of a stopping job waits with the others. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

void client_add_waiter(job_t *j, call_id_t call, waiter_kind_t kind, int64_t until_ms) {
    j->waiters = xrealloc(j->waiters, (size_t)(j->nwaiters + 1) * sizeof *j->waiters);
    j->waiters[j->nwaiters++] = (waiter_t){call, kind, until_ms};
}

/* `error` is borrowed. */
void client_answer(coord_t *c, job_t *j, waiter_kind_t kind, const err_t *error) {
    int n = 0;
    for (int i = 0; i < j->nwaiters; i++) {
        if (j->waiters[i].kind == kind) coord_reply(c, j->waiters[i].call, j->id, err_copy(error));
        else j->waiters[n++] = j->waiters[i];
    }
    j->nwaiters = n;
}

/* A submit that takes long is answered with the job as it is: its state, and what it waits for. Not before the job is durable: until then
 * it may still be turned away and leave nothing behind, and its id would name a job that never was. */
void client_serve(coord_t *c, job_t *j) {
    int n = 0;
    for (int i = 0; i < j->nwaiters; i++) {
        if (j->persisted && j->waiters[i].until_ms <= c->now_ms) coord_reply(c, j->waiters[i].call, j->id, NULL);
        else j->waiters[n++] = j->waiters[i];
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
    job_t *j = coord_add_job(c, record);
    client_add_waiter(j, call, WAIT_RUNNING, c->now_ms + c->conf.submit_wait_ms);
    job_set_state(c, j, JOB_RESOLVING);
}

static void stop(coord_t *c, job_t *j, call_id_t call, client_request_t *r) {
    if (j->record->wanted == WANTED_CANCEL) {
        coord_reply(c, call, j->id, err_new(ERR_INVALID, "job %" PRIu64 " is being cancelled", j->id));
        return;
    }
    if (r->from) set_text(&j->save_target, TAKE(r->from));
    client_add_waiter(j, call, WAIT_TERMINAL, INT64_MAX);
    if (j->record->wanted == WANTED_STOP) return;
    j->record->wanted = WANTED_STOP;
    job_changed(j);
}

static void cancel(coord_t *c, job_t *j, call_id_t call) {
    client_add_waiter(j, call, WAIT_TERMINAL, INT64_MAX);
    if (j->record->wanted == WANTED_CANCEL) return;
    j->record->wanted = WANTED_CANCEL;
    j->cancel_ms = c->now_ms;
    job_changed(j);
}

static void resume(coord_t *c, job_t *j, call_id_t call, const client_request_t *r) {
    err_t *taken = client_name_taken(c, j->record->spec.name, j);
    if (taken || j->state != JOB_FAILED) {
        coord_reply(c, call, j->id, taken ? taken : err_new(ERR_INVALID, "job %" PRIu64 " is %s; only a FAILED job is resumed", j->id,
                                                           job_state_name(j->state)));
        return;
    }
    if (j->forgetting) {
        coord_reply(c, call, j->id, err_new(ERR_NOT_FOUND, "job %" PRIu64 " is being forgotten", j->id));
        return;
    }
    err_free(j->last_error);
    j->last_error = TAKE(j->record->error);
    if (r->accept_duplicates) { /* the ledgers of the one before bind us no more: restart.c makes its first manifest */
        j->record->incarnation = c->draw ? c->draw : 1;
        coord_log(c, COORD_WARN, "job %" PRIu64 " is resumed with duplicates accepted, as incarnation %016" PRIx64, j->id, j->record->incarnation);
    }
    j->record->state = JOB_RUNNING;
    j->record->wanted = WANTED_RUN;
    j->record->ended_ms = 0;
    j->failures = 0;
    j->raised = j->swept = j->saved = false;
    j->restart_ms = c->now_ms;
    job_changed(j);
    client_add_waiter(j, call, WAIT_RUNNING, c->now_ms + c->conf.submit_wait_ms);
    job_set_state(c, j, JOB_RESTARTING);
}

static void savepoint(coord_t *c, job_t *j, call_id_t call, client_request_t *r) {
    if (j->saving || j->save_untold || j->ep.want_savepoint || j->record->wanted != WANTED_RUN) {
        coord_reply(c, call, j->id, err_new(ERR_EXISTS, "job %" PRIu64 " is %s", j->id,
                                            j->record->wanted != WANTED_RUN ? "being stopped" : "taking a savepoint already"));
        return;
    }
    if (j->ep.final_injected) {
        coord_reply(c, call, j->id, err_new(ERR_INVALID, "job %" PRIu64 " is at its end", j->id));
        return;
    }
    set_text(&j->save_target, TAKE(r->from));
    j->ep.want_savepoint = true;
    j->save_held_ms = c->now_ms;
    client_add_waiter(j, call, WAIT_SAVEPOINT, INT64_MAX);
}

static job_t *find(const coord_t *c, const client_request_t *r) {
    if (r->job) return coord_job(c, r->job);
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

static void of_job(coord_t *c, job_t *j, call_id_t call, client_request_t *r) {
    if (r->op == CLIENT_RESUME) {
        resume(c, j, call, r);
    } else if (job_state_terminal(j->state) || j->closing) {
        if (j->closing && (r->op == CLIENT_STOP || r->op == CLIENT_CANCEL)) client_add_waiter(j, call, WAIT_TERMINAL, INT64_MAX);
        else coord_reply(c, call, j->id, err_new(ERR_INVALID, "job %" PRIu64 " is %s", j->id, job_state_name(j->state)));
    } else if (r->op == CLIENT_STOP) {
        stop(c, j, call, r);
    } else if (r->op == CLIENT_CANCEL) {
        cancel(c, j, call);
    } else if (r->op == CLIENT_SAVEPOINT) {
        savepoint(c, j, call, r);
    } else {
        coord_reply(c, call, j->id, err_new(ERR_INVALID, "client operation %d is unknown", (int)r->op));
    }
}

void client_event(coord_t *c, call_id_t call, client_request_t *r) {
    if (r->op == CLIENT_SUBMIT) {
        submit(c, call, r);
    } else {
        err_t *e = NULL;
        job_t *j = client_find_job(c, r, &e);
        if (j) of_job(c, j, call, r);
        else coord_reply(c, call, 0, e);
    }
    client_request_free(r);
}
