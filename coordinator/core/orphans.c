/* orphans.c: files that no manifest names and none ever will: of attempts that died. They are found by listing, which nothing fences (A14), so a
 * file goes only when all of this holds:
 *
 *   1. its name says an attempt lower than ours, and the store, asked after the listing, says that ours is still the job's attempt and we lead.
 *      An attempt that was raised ends those before it: manifests of theirs are refused (A3), so what the last manifest does not name of them
 *      now, none will. Files of our own attempt may be acked in an epoch under way; those of a later leader's attempt too.
 *   2. the last durable manifest does not name it, nor an older one that is kept, nor is it their body; while one of these could not be read, none goes,
 *   3. nor does a savepoint that is being copied (A7),
 *   4. it has not been written to for `orphan_age_ms`: a worker that was given up but not fenced yet may be writing; whatever else we
 *      have overlooked has that long to come to light.
 * A job that began from a savepoint has files below other jobs' names, which are looked through for them once by each leader, since one before it may
 * have died within the copy, and when older.c could not tell what goes.
 * Only of jobs that run: a FAILED one keeps all it has for `resume`. Listed once, then removed in portions, so that copies and
 * deletions of others are not held up. */
#include "coordinator/core/coord_int.h"
#include "state/changelog.h"
#include <stdlib.h>

static bool may_sweep(const job_t *j) {
    return (j->state == JOB_RUNNING || j->state == JOB_STOPPING) && !j->closing && j->raised && epoch_of_us(j) && !older_unread(j);
}

void orphans_forget(job_t *j) {
    for (int i = 0; i < j->nold; i++) free(j->old[i]);
    free(TAKE(j->old));
    set_text(&j->old_last, NULL);
    j->nold = 0;
}

static bool is_orphan(const job_t *j, const char *path) {
    storage_origin_t o;
    if (!storage_path_parse(path, &o) || o.attempt >= j->attempt) return false;
    if (manifest_names(j->ep.last, path) || older_names(j, path) || manifest_names(j->saving, path)) return false;
    AUTO(auto_free) char *body = manifest_body_path(j->ep.last);
    return strcmp(path, body) != 0 && (!j->old_last || strcmp(path, j->old_last) != 0);
}

static void remove_some(coord_t *c, job_t *j) {
    int n = 0;
    char **paths = xcalloc((size_t)c->conf.orphans_max + 1, sizeof *paths);
    for (int i = 0; i < c->conf.orphans_max && j->nold > 0; i++) {
        char *path = j->old[--j->nold];
        if (is_orphan(j, path)) paths[n++] = path;
        else free(path);
    }
    if (!n) {
        free(paths);
        return;
    }
    coord_log(c, COORD_INFO, "job %" PRIu64 ": %d files of dead attempts are removed", j->id, n);
    coord_action_t *a = coord_actions_add(c->out, ACT_DELETE_FILES);
    a->job = j->id;
    a->files.n = n;
    a->files.paths = paths;
}

/* What was found stays true while our attempt lasts: manifests of it come from the one it began with, and name no more of dead attempts. */
void orphans_serve(coord_t *c, job_t *j) {
    if (j->nold && (!may_sweep(j) || j->old_attempt != j->attempt)) orphans_forget(j);
    if (c->conf.orphan_age_ms <= 0 || j->seeking || c->now_ms < j->seek_ms || !may_sweep(j)) return;
    if (j->nold) {
        remove_some(c, j);
        j->seek_ms = c->now_ms + (j->nold ? MIN(c->conf.orphan_age_ms / 6, 1000) : c->conf.orphan_age_ms / 6);
        if (j->nold) return;
        orphans_forget(j);
        j->seek_restored = false;
        return;
    }
    j->seeking = true;
    coord_action_t *a = coord_actions_add(c->out, ACT_FIND_ORPHANS);
    a->job = j->id;
    a->orphans.age_ms = c->conf.orphan_age_ms;
    a->orphans.restored = j->record->from && j->seek_restored;
}

void orphans_found(coord_t *c, job_t *j, coord_event_t *e) {
    j->seeking = false;
    orphans_forget(j);
    bool counts = e->outcome == STORE_OK && may_sweep(j) && e->orphans.attempt == j->attempt;
    if (counts && !e->orphans.n) j->seek_restored = false;
    if (!counts || !e->orphans.n) {
        j->seek_ms = c->now_ms + c->conf.orphan_age_ms / 6;
        return;
    }
    j->old = TAKE(e->orphans.paths);
    j->nold = e->orphans.n;
    j->old_last = TAKE(e->orphans.last);
    j->old_attempt = j->attempt;
    e->orphans.n = 0;
    j->seek_ms = c->now_ms;
}
