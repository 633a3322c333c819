/* epoch_manifest.c: what a manifest says, and what becomes garbage when it is durable. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

/* Every lane that a worker will have, also where a savepoint knows fewer: of a lane that is in no manifest nobody would remember that it started,
 * and its next owner would take the ledger back from whoever took it over (A27). */
static void add_lanes(manifest_t *m, const job_shape_t *s) {
    for (int i = 0; i < s->nsinks; i++)
        for (int l = 0; l < s->sinks[i].lanes; l++) manifest_lane(m, s->sinks[i].fingerprint, l, true);
}

static void forget_had(manifest_t *m, const job_shape_t *s, bool new_ledger) {
    for (int i = 0; i < m->nlanes; i++)
        for (int k = 0; k < s->nsinks; k++)
            if (new_ledger || (s->sinks[k].fingerprint == m->lanes[i].fingerprint && s->sinks[k].moved)) m->lanes[i].had = m->lanes[i].had_upto = 0;
}

/* A savepoint becomes the first manifest of a new incarnation: the same bytes and positions, nothing published yet by this incarnation. Output
 * that the savepoint holds unpublished has been published by the job it was taken of, or not: the ledger tells (origin). With
 * another one (`--new-ledger`) it is published here. */
static manifest_t *from_savepoint(const job_t *j) {
    manifest_t *m = manifest_copy(j->from);
    manifest_alone(m);
    m->final = false;
    manifest_lanes_anew(m);
    m->previous = m->epoch;
    m->started = m->epoch;
    m->root = manifest_root(m);
    m->origin = j->record->new_ledger ? 0 : m->incarnation;
    m->forced = j->record->forced;
    forget_had(m, j->shape, j->record->new_ledger);
    return m;
}

/* The job goes on under a new incarnation, from what its last manifest says. The operator accepted duplicates: whatever its ledgers say. Or it was
 * STOPPED and is resumed: nothing is owed, and the end was none. An epoch of its own, without content: what is durable is never written twice. */
manifest_t *manifest_reborn(job_t *j, uint64_t leader) {
    manifest_t *m = manifest_copy(j->ep.last);
    manifest_alone(m);
    manifest_lanes_anew(m);
    m->root = manifest_root(m);
    m->origin = m->incarnation;
    m->forced = j->record->forced;
    m->final &= !j->record->reopened;
    m->incarnation = j->record->incarnation;
    m->previous = m->epoch;
    m->epoch = m->started = j->ep.next++;
    m->leader = leader;
    m->attempt = j->attempt;
    for (int i = 0; i < j->ep.nlanes; i++) j->ep.lanes[i].started = false;
    return m;
}

manifest_t *manifest_first(const job_t *j, uint64_t leader, err_t **reterr) {
    const job_shape_t *s = j->shape;
    manifest_t *m = NULL;
    if (j->from) {
        err_t *e = manifest_check_shape(j->from, s);
        if (e) {
            *reterr = err_wrap(e, "savepoint %s", j->record->from);
            return NULL;
        }
        m = from_savepoint(j);
    } else {
        m = manifest_new();
    }
    m->job = j->id;
    free(m->name);
    m->name = xstrdup(j->record->spec.name);
    m->family = j->from ? j->record->family : 0;
    m->incarnation = j->record->incarnation;
    m->leader = leader;
    m->attempt = j->attempt;
    m->plan_hash = s->plan_hash;
    m->parallelism = s->parallelism;
    for (int i = 0; i < s->nsources; i++)
        if (!manifest_source(m, s->sources[i].fingerprint)) manifest_set_source(m, s->sources[i].fingerprint, &s->sources[i].splits);
    add_lanes(m, s);
    return m;
}

static int lanes_had(const manifest_t *m, uint64_t fingerprint) {
    int had = 0;
    for (int i = 0; i < m->nlanes; i++)
        if (m->lanes[i].fingerprint == fingerprint) had = MAX(had, m->lanes[i].lane + 1);
    return had;
}

/* In another partition the newer values of a key would not lie behind its older ones: these would stay, and who reads the topic might end with
 * them (A17). */
static err_t *check_keys(const manifest_t *m, const shape_sink_t *x) {
    int had = lanes_had(m, x->fingerprint);
    if (!x->keyed || !x->lanes || !had || had == x->lanes) return NULL;
    return err_hint(err_new(ERR_INVALID, "keys of sink %s, which has %d lane%s now and had %d, would move to other partitions, away from their older values",
                            x->label, x->lanes, x->lanes == 1 ? "" : "s", had),
                    "'sink.parallelism' = '%d' in its table keeps its lanes, whatever --parallelism is", had);
}

/* Output that is not known to be published needs its lane: there is no other that the ledger could tell about it. */
static err_t *check_owed(const manifest_t *m, const lane_pos_t *l, const job_shape_t *s) {
    if (l->last_rows <= l->published) return NULL;
    for (int k = 0; k < s->nsinks; k++) {
        const shape_sink_t *x = &s->sinks[k];
        if (x->lanes == 0 || x->fingerprint != l->fingerprint) continue;
        if (l->lane < x->lanes) return NULL;
        int had = lanes_had(m, l->fingerprint);
        return err_hint(err_new(ERR_INVALID, "epoch %" PRIu64 " holds unpublished output of lane %d of sink %s, which has %d lane%s now and had %d",
                                m->epoch, l->lane, x->label, x->lanes, x->lanes == 1 ? "" : "s", had),
                        "submit with --parallelism %d or more, stop the job once all is published, then take the savepoint of that stop", had);
    }
    return err_hint(err_new(ERR_INVALID, "epoch %" PRIu64 " holds unpublished output of a sink that the statement no longer has "
                            "(fingerprint %016" PRIx64 ")", m->epoch, l->fingerprint),
                    "restore with the statement the state was made by, or start anew");
}

/* State is found by fingerprint: a restore that would drop positions or output is refused (A18). */
err_t *manifest_check_shape(const manifest_t *m, const job_shape_t *s) {
    for (int i = 0; i < m->nsources; i++) {
        bool found = false;
        for (int k = 0; k < s->nsources; k++) found |= s->sources[k].fingerprint == m->sources[i].fingerprint;
        if (!found)
            return err_hint(err_new(ERR_INVALID, "epoch %" PRIu64 " holds positions of a source that the statement no longer has "
                                    "(fingerprint %016" PRIx64 ")", m->epoch, m->sources[i].fingerprint),
                            "restore with the statement the state was made by, or start anew");
    }
    for (int i = 0; i < m->nlanes; i++) TRY(check_owed(m, &m->lanes[i], s));
    for (int i = 0; i < s->nsinks; i++) TRY(check_keys(m, &s->sinks[i]));
    return NULL;
}

/* ---- the next manifest */
static void merge_stage(manifest_t *m, int stage, int64_t watermark) {
    for (int i = 0; i < m->nstages; i++) {
        if (m->stages[i].stage != stage) continue;
        m->stages[i].watermark = MAX(m->stages[i].watermark, watermark); /* never decreases (A9) */
        return;
    }
    m->stages = xrealloc(m->stages, (size_t)(m->nstages + 1) * sizeof *m->stages);
    m->stages[m->nstages++] = (stage_pos_t){stage, watermark};
}

/* The watermark of a stage is the minimum over all its subtasks, that is over all workers that have some. */
static void merge_stages(manifest_t *m, const job_t *j, const epoch_run_t *run) {
    for (int s = 0; s < j->shape->nstages; s++) {
        int64_t least = WATERMARK_END;
        bool any = false;
        for (int w = 0; w < j->nworkers; w++)
            for (int k = 0; k < run->acks[w].ack.nstages; k++) {
                if (run->acks[w].ack.stages[k].stage != s) continue;
                least = MIN(least, run->acks[w].ack.stages[k].watermark);
                any = true;
            }
        if (any) merge_stage(m, s, least);
    }
}

static void merge_ack(manifest_t *m, const ctl_ack_t *a) {
    if (a->extent.path) manifest_add_extent(m, &a->extent);
    for (int i = 0; i < a->nsources; i++) manifest_set_source(m, a->sources[i].fingerprint, &a->sources[i].splits);
    for (int i = 0; i < a->nlanes; i++)
        if (a->lanes[i].rows) manifest_lane(m, a->lanes[i].fingerprint, a->lanes[i].lane, true)->last_rows = m->epoch;
    m->processing_ms = MAX(m->processing_ms, a->processing_ms);
}

manifest_t *manifest_next(const job_t *j, const epoch_run_t *run, uint64_t leader) {
    manifest_t *m = manifest_copy(j->ep.last);
    m->previous = m->epoch;
    m->epoch = run->id;
    m->leader = leader;
    m->attempt = j->attempt;
    m->plan_hash = j->shape->plan_hash;
    m->final = (run->flags & BARRIER_FINAL) != 0;
    for (int w = 0; w < j->nworkers; w++) merge_ack(m, &run->acks[w].ack);
    merge_stages(m, j, run);
    add_lanes(m, j->shape);
    for (int i = 0; i < m->nlanes; i++) {
        lane_pos_t *l = &m->lanes[i];
        l->published = MAX(l->published, lane_published_known(j, l->fingerprint, l->lane));
        l->started |= lane_started_known(j, l->fingerprint, l->lane);
    }
    for (int w = 0; w < j->nworkers; w++)
        if (j->workers[w].base_offered) manifest_set_base(m, &j->workers[w].base);
    manifest_trim(m);
    older_next(j, m);
    return m;
}

/* ---- garbage */
typedef struct garbage { coord_t *c; job_id_t job; job_t *j; const manifest_t *pin; coord_action_t *action; } garbage_t;

bool manifest_names(const manifest_t *m, const char *path) {
    for (int i = 0; m && i < m->nextents; i++)
        if (strcmp(m->extents[i].path, path) == 0) return true;
    for (int i = 0; m && i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++)
            if (strcmp(m->bases[i].files[k].path, path) == 0) return true;
    return false;
}

static void delete_path(garbage_t *g, char *path) {
    if (!g->action) {
        g->action = coord_actions_add(g->c->out, ACT_DELETE_FILES);
        g->action->job = g->job;
    }
    g->action->files.paths = xrealloc(g->action->files.paths, (size_t)(g->action->files.n + 1) * sizeof(char *));
    g->action->files.paths[g->action->files.n++] = path;
}

static void garbage_found(void *arg, const char *path) {
    garbage_t *g = arg;
    if (older_names(g->j, path)) return;
    if (manifest_names(g->pin, path)) {
        g->j->deferred = xrealloc(g->j->deferred, (size_t)(g->j->ndeferred + 1) * sizeof(char *));
        g->j->deferred[g->j->ndeferred++] = xstrdup(path);
    } else {
        delete_path(g, xstrdup(path));
    }
}

void garbage_between(coord_t *c, job_t *j, const manifest_t *old, const manifest_t *now) {
    garbage_t g = {c, j->id, j, j->saving, NULL};
    manifest_garbage(old, now, garbage_found, &g);
}

static void restored_found(void *arg, const char *path) { delete_path(arg, xstrdup(path)); }

void garbage_restored(coord_t *c, job_id_t job, const manifest_t *from) {
    if (!from) return;
    garbage_t g = {.c = c, .job = job};
    manifest_t *none = manifest_new();
    manifest_garbage(from, none, restored_found, &g);
    manifest_free(none);
}

/* The pin is gone: what was held back for it goes, unless a manifest still names it. */
void garbage_unpin(coord_t *c, job_t *j) {
    garbage_t g = {c, j->id, j, NULL, NULL};
    for (int i = 0; i < j->ndeferred; i++) {
        if (!j->swept && (manifest_names(j->ep.last, j->deferred[i]) || older_names(j, j->deferred[i]))) free(j->deferred[i]);
        else delete_path(&g, j->deferred[i]);
    }
    j->ndeferred = 0;
}
