/* orphans.c: files that no manifest names and none ever will: of attempts that died. They are found by listing, which nothing fences (A14), so a
 * file goes only when all of this holds:
 *
 *   1. its name says an attempt lower than ours, and the store, asked after the listing, says that ours is still the job's attempt and we lead.
 *      An attempt that was raised ends those before it: manifests of theirs are refused (A3), so what the last manifest does not name of them
 *      now, none will. Files of our own attempt may be acked in an epoch under way; those of a later leader's attempt too.
 *   2. the last durable manifest does not name it, nor is it that manifest's body,
 *   3. nor does a savepoint that is being copied (A7),
 *   4. it has not been written to for `orphan_age_ms`: a worker that was given up but not fenced yet may be writing; whatever else we
 *      have overlooked has that long to come to light.
 * Only of jobs that run: a FAILED one keeps all it has for `resume`. In portions, so that copies and deletions of others are not held up. */
#include "coordinator/core/coord_int.h"
#include "state/changelog.h"
#include <stdlib.h>

static bool may_sweep(const job_t *j) {
    return (j->state == JOB_RUNNING || j->state == JOB_STOPPING) && !j->closing && j->raised && epoch_of_us(j);
}

void orphans_serve(coord_t *c, job_t *j) {
    if (c->conf.orphan_age_ms <= 0 || j->seeking || c->now_ms < j->seek_ms || !may_sweep(j)) return;
    j->seeking = true;
    coord_action_t *a = coord_actions_add(c->out, ACT_FIND_ORPHANS);
    a->job = j->id;
    a->orphans.after = j->sought ? xstrdup(j->sought) : NULL;
    a->orphans.age_ms = c->conf.orphan_age_ms;
    a->orphans.max = c->conf.orphans_max;
}

static bool is_orphan(const job_t *j, const coord_event_t *e, const char *path) {
    storage_origin_t o;
    if (!storage_path_parse(path, &o) || o.attempt >= j->attempt) return false;
    if (manifest_names(j->ep.last, path) || manifest_names(j->saving, path)) return false;
    AUTO(auto_free) char *body = manifest_body_path(j->ep.last);
    return strcmp(path, body) != 0 && (!e->orphans.last || strcmp(path, e->orphans.last) != 0);
}

void orphans_found(coord_t *c, job_t *j, coord_event_t *e) {
    j->seeking = false;
    if (e->outcome != STORE_OK || !may_sweep(j) || e->orphans.attempt != j->attempt) { /* from the first, another time */
        set_text(&j->sought, NULL);
        j->seek_ms = c->now_ms + c->conf.orphan_age_ms / 6;
        return;
    }
    int n = 0;
    char **paths = xcalloc((size_t)e->orphans.n + 1, sizeof *paths);
    for (int i = 0; i < e->orphans.n; i++)
        if (is_orphan(j, e, e->orphans.paths[i])) paths[n++] = xstrdup(e->orphans.paths[i]);
    bool more = e->orphans.more && e->orphans.n;
    set_text(&j->sought, more ? xstrdup(e->orphans.paths[e->orphans.n - 1]) : NULL);
    j->seek_ms = c->now_ms + (more ? MIN(c->conf.orphan_age_ms / 6, 1000) : c->conf.orphan_age_ms / 6);
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
