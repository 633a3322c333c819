/* savepoint.c: an epoch that is kept and self-contained.
 *
 *   epoch complete -> pinned in the record, record durable -> its lanes have published, or time is up -> copied
 *                  -> target in the record, pin gone, record durable -> clients told
 *
 * While pinned, files the manifest names are not deleted (A7). The copy holds extents too, and so also output that is complete but not
 * published; its manifest says what is, so that a job restored from it owes no more than that. `stop` ends with a savepoint of the final
 * epoch; nothing is owed by then. Its target is in the record; where it cannot be copied there after all it goes below the storage, and where
 * that fails too the job is STOPPED with its state in its own files (ended.c). A client is told only of a copy that is whole and named in a
 * durable record, or why there is none: a job that ends while its savepoint is copied ends, and the answer comes after the copy.
 *
 * A directory that was named may stop answering in the middle, for ever. A copy that wrote nothing for `copy_stall_ms`, of which we did not stand still
 * ourselves, is given up as if it had failed.
 * It may wake up all the same: its answer is told apart by its serial, its files by their names, and what it still finds of the epoch is true. Copies
 * below the storage have no such limit: where that does not answer no job goes on, and they wait for each other there. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

/* No two leaders ever write the same. */
static char *default_target(const coord_t *c, const job_t *j) {
    return xprintf("savepoints/%" PRIu64 "-%" PRIu64 "-%" PRIu64, j->id, j->saving->epoch, c->leader);
}

void savepoint_begin(coord_t *c, job_t *j) {
    ASSERT(!j->saving && j->ep.last);
    j->ep.want_savepoint = false;
    j->saving = manifest_copy(j->ep.last);
    manifest_alone(j->saving);
    j->saving_ms = c->now_ms;
    j->save_sent = false;
    j->saving_stop = j->closing;
    const char *stop = j->record->stop_target;
    set_text(&j->saving_target, !j->closing ? TAKE(j->save_target) : stop ? xstrdup(stop) : NULL);
    if (!j->saving_target) set_text(&j->saving_target, default_target(c, j));
    j->record->pin = j->saving->epoch;
    job_changed(j);
}

/* What the lanes have published of it goes into the copy, and that they have; true: all. */
static bool settled(job_t *j) {
    bool all = true;
    for (int i = 0; i < j->saving->nlanes; i++) {
        lane_pos_t *l = &j->saving->lanes[i];
        l->published = MAX(l->published, MIN(j->saving->epoch, lane_published_known(j, l->fingerprint, l->lane)));
        l->started |= lane_started_known(j, l->fingerprint, l->lane);
        all &= l->last_rows <= l->published;
    }
    return all;
}

bool coord_named_outside(const char *where) { return where[0] == '/' || strstr(where, "://") != NULL; }

static void stalled(coord_t *c, job_t *j) {
    if (!coord_named_outside(j->saving_target) || c->now_ms - j->save_moved_ms < c->conf.copy_stall_ms) return;
    coord_event_t e = {.kind = EV_SAVED, .job = j->id, .outcome = STORE_FAILED};
    e.saved.leader = c->leader;
    e.saved.serial = j->save_serial;
    e.saved.epoch = j->saving->epoch;
    e.saved.target = xstrdup(j->saving_target);
    e.error = err_hint(err_new(ERR_TIMEOUT, "savepoint %s: no piece was copied for %" PRId64 " s", j->saving_target, c->conf.copy_stall_ms / 1000),
                       "does that directory answer, and do checkpoint storage and the metadata store? If it is the directory, name another one");
    c->given_up++;
    savepoint_saved(c, j, &e);
    coord_event_done(&e);
}

void savepoint_serve(coord_t *c, job_t *j) {
    if (j->closing && !j->ep.last) {
        j->saved = true; /* stopped before it began: there is nothing to keep */
        return;
    }
    if (!j->saving) savepoint_begin(c, j);
    if (j->save_sent) stalled(c, j);
    if (!j->saving || j->save_sent || !job_stored(j)) return;
    bool live = !j->closing && !job_state_terminal(j->state);
    if (!settled(j) && live && c->now_ms - j->saving_ms < c->conf.publish_wait_ms) return;
    j->save_sent = true;
    j->save_sent_ms = j->save_moved_ms = c->now_ms;
    j->save_serial = c->given_up;
    coord_action_t *a = coord_actions_add(c->out, ACT_SAVE);
    a->job = j->id;
    a->save.manifest = manifest_copy(j->saving);
    a->save.target = xstrdup(j->saving_target);
    a->save.leader = c->leader;
    a->save.serial = j->save_serial;
}

/* The directory that was checked when the stop was asked for is full or gone by now: the state goes where all other state is. */
static bool fall_back(coord_t *c, job_t *j, coord_event_t *e) {
    if (!e->error || !j->saving_stop || !j->record->stop_target || strcmp(j->saving_target, j->record->stop_target) != 0) return false;
    set_text(&j->saving_target, default_target(c, j));
    coord_log(c, COORD_WARN, "job %" PRIu64 ": the savepoint of its stop could not be copied: %s; it goes to %s", j->id, err_text(e->error), j->saving_target);
    err_free(j->stop_error);
    j->stop_error = TAKE(e->error);
    j->save_sent = false;
    return true;
}

static bool of_ours(const coord_t *c, const job_t *j, const coord_event_t *e) {
    return j->saving && j->save_sent && e->saved.leader == c->leader && e->saved.serial == j->save_serial && e->saved.epoch == j->saving->epoch &&
           strcmp(e->saved.target, j->saving_target) == 0;
}

/* What the copy said meanwhile is still to be read. */
void savepoint_forgive(coord_t *c, int64_t stood_ms) {
    for (int i = 0; i < c->njobs; i++) c->jobs[i]->save_moved_ms = MIN(c->jobs[i]->save_moved_ms + stood_ms, c->now_ms);
}

void savepoint_moves(coord_t *c, job_t *j, const coord_event_t *e) {
    if (of_ours(c, j, e)) j->save_moved_ms = c->now_ms;
}

void savepoint_saved(coord_t *c, job_t *j, coord_event_t *e) {
    if (e->saved.leader != c->leader) return; /* of a term of ours that is over */
    if (e->outcome == STORE_REFUSED) {
        c->step_down = true;
        return;
    }
    if (!of_ours(c, j, e) || fall_back(c, j, e)) return;
    bool last = j->closing && j->saving_stop;
    manifest_free(TAKE(j->saving));
    j->record->pin = 0;
    if (!e->error) set_text(&j->record->savepoint, xstrdup(e->saved.target));
    else coord_log(c, COORD_ERROR, "job %" PRIu64 ": the savepoint of epoch %" PRIu64 " could not be copied: %s", j->id,
                   e->saved.epoch, err_text(e->error));
    if (e->error && last) set_text(&j->record->savepoint, NULL); /* an earlier one is not that of the stop; the job's own files stay */
    if (!e->error && j->state == JOB_STOPPED) j->swept = false; /* it stands for them now */
    set_text(&j->saving_target, NULL);
    j->saved = last;
    job_changed(j);
    garbage_unpin(c, j);
    err_free(j->save_error);
    j->save_error = TAKE(e->error);
    j->save_untold = true;
}

/* While its epoch is under way that one's limit counts; an attempt that ends starts the wait anew, and attempts without an epoch are counted. */
void savepoint_limit(coord_t *c, job_t *j) {
    if (!j->ep.want_savepoint || job_state_terminal(j->state)) return;
    if (epoch_savepoint_flying(j)) j->save_held_ms = c->now_ms;
    if (c->now_ms - j->save_held_ms < c->conf.savepoint_wait_ms) return;
    AUTO(buf_free) buf_t why = buf_make(4096);
    waits_for(c, j, &why);
    err_t *e = err_hint(err_new(ERR_TIMEOUT, "no epoch for the savepoint could begin within %" PRId64 " ms: %s", c->conf.savepoint_wait_ms,
                                buf_cstr(&why)), "ask again when the job goes on");
    j->ep.want_savepoint = false;
    set_text(&j->save_target, NULL);
    client_answer(c, j, WAIT_SAVEPOINT, e);
    err_free(e);
}

void savepoint_tell(coord_t *c, job_t *j) {
    if (j->save_untold && job_stored(j)) {
        j->save_untold = false;
        client_answer(c, j, WAIT_SAVEPOINT, j->save_error);
    }
    if (j->saving || j->save_untold || j->keep || !job_state_terminal(j->state) || !job_stored(j)) return;
    j->ep.want_savepoint = false;
    err_t *none = err_new(ERR_INVALID, "job %" PRIu64 " is %s: it ended before the savepoint was taken", j->id, job_state_name(j->state));
    client_answer(c, j, WAIT_SAVEPOINT, j->state == JOB_FAILED ? j->record->error : none);
    err_free(none);
}
