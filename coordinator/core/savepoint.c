/* savepoint.c: an epoch that is kept and self-contained.
 *
 *   epoch complete -> pinned in the record, record durable -> copied -> target in the record, pin gone -> clients told
 *
 * While pinned, files the manifest names are not deleted (A7). The copy holds extents too, and so also output that is
 * complete but not published. `stop` ends with a savepoint of the final epoch; nothing is owed by then. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

void savepoint_begin(coord_t *c, job_t *j) {
    ASSERT(!j->saving && j->ep.last);
    j->ep.want_savepoint = false;
    j->saving = manifest_copy(j->ep.last);
    j->save_sent = false;
    if (!j->save_target)
        set_text(&j->save_target, xprintf("savepoints/%" PRIu64 "-%" PRIu64, j->id, j->saving->epoch));
    j->record->pin = j->saving->epoch;
    job_changed(j);
}

void savepoint_serve(coord_t *c, job_t *j) {
    if (j->closing && !j->ep.last) {
        j->saved = true; /* stopped before it began: there is nothing to keep */
        return;
    }
    if (!j->saving) savepoint_begin(c, j);
    if (j->save_sent || !job_stored(j)) return;
    j->save_sent = true;
    coord_action_t *a = coord_actions_add(c->out, ACT_SAVE);
    a->job = j->id;
    a->save.manifest = manifest_copy(j->saving);
    a->save.target = xstrdup(j->save_target);
}

void savepoint_saved(coord_t *c, job_t *j, coord_event_t *e) {
    if (!j->saving || e->saved.epoch != j->saving->epoch) return;
    bool last = j->closing && j->ep.last && j->saving->epoch == j->ep.last->epoch;
    manifest_free(TAKE(j->saving));
    j->record->pin = 0;
    if (!e->error) set_text(&j->record->savepoint, xstrdup(e->saved.target));
    else coord_log(c, COORD_ERROR, "job %" PRIu64 ": the savepoint of epoch %" PRIu64 " could not be copied: %s", j->id,
                   e->saved.epoch, err_text(e->error));
    set_text(&j->save_target, NULL);
    j->saved = last; /* a failed copy at stop: the job's own files stay and are its savepoint */
    job_changed(j);
    garbage_unpin(c, j);
    client_answer(c, j, WAIT_SAVEPOINT, e->error);
}
