/* runtime_restore.c: state and unpublished output out of the manifest, into the tasks and lanes of this worker. The thread that restores.
 * What is read and in which order is state/restore.h's; here its records find their tasks. */
#include "common/log.h"
#include "state/restore.h"
#include "worker/driver_int.h"
#include <stdlib.h>

typedef struct restoring {
    runtime_t *rt;
    int subtask; /* of the old task whose operator bytes follow */
} restoring_t;

static bool stage_holds(const plan_stage_t *s, uint64_t fingerprint) {
    for (int i = 0; i < s->nops; i++)
        if (s->ops[i]->fingerprint == fingerprint) return true;
    return false;
}

static err_t *on_task(void *arg, int stage, int subtask) {
    restoring_t *r = arg;
    r->subtask = subtask;
    return NULL;
}

/* Keyed changes go to every task of the operator, which takes its key groups; an operator's own bytes go to the subtask that wrote
 * them, or to the one that took its place when there are fewer now. */
static err_t *on_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    restoring_t *r = arg;
    for (int i = 0; i < r->rt->ntasks; i++) {
        runtime_task_t *t = &r->rt->tasks[i];
        const plan_stage_t *s = r->rt->plan->stages[t->stage];
        if (!stage_holds(s, fingerprint)) continue;
        if (slot < 0 && t->subtask != r->subtask % stage_parallelism(r->rt->plan, s)) continue;
        TRY(task_restore(t->task, fingerprint, slot, bytes));
    }
    return NULL;
}

static err_t *on_sink(void *arg, uint64_t fingerprint, int op, int lane, epoch_t epoch, uint64_t rows, slice_t segment) {
    restoring_t *r = arg;
    if (!lanes_has(r->rt->lanes, fingerprint, lane)) return NULL;
    restored_segment_t *s = xcalloc(1, sizeof *s);
    *s = (restored_segment_t){.fingerprint = fingerprint, .lane = lane, .epoch = epoch, .bytes = buf_make(BUF_MAX_DEFAULT)};
    buf_put(&s->bytes, segment.p, segment.len);
    kstate_env_output(r->rt->state, (int64_t)segment.len);
    *r->rt->segments_end = s;
    r->rt->segments_end = &s->next;
    return NULL;
}

static err_t *on_spill(void *arg) {
    restoring_t *r = arg;
    for (int i = 0; i < r->rt->ntasks; i++) task_forget(r->rt->tasks[i].task);
    return NULL;
}
static err_t *on_reload(void *arg) {
    restoring_t *r = arg;
    for (int i = 0; i < r->rt->ntasks; i++) TRY(task_reload(r->rt->tasks[i].task));
    return NULL;
}

/* The key groups of the tasks here, per operator that has an identity. */
static base_range_t *ranges_of(const runtime_t *rt, int *ret_n) {
    base_range_t *out = NULL;
    int n = 0;
    for (int i = 0; i < rt->ntasks; i++) {
        const plan_stage_t *s = rt->plan->stages[rt->tasks[i].stage];
        int par = stage_parallelism(rt->plan, s), sub = rt->tasks[i].subtask;
        for (int k = 0; k < s->nops; k++) {
            if (!s->ops[k]->fingerprint) continue;
            out = xrealloc(out, (size_t)(n + 1) * sizeof *out);
            out[n++] = (base_range_t){s->ops[k]->fingerprint, key_group_lo(sub, par), key_group_lo(sub + 1, par)};
        }
    }
    *ret_n = n;
    return out;
}

/* What has vanished below --data is made again. Where that cannot be, it is the worker's misfortune, not the job's. */
static err_t *make_scratch(runtime_t *rt, const char *name, char **ret) {
    disk_t *d;
    char *dir = xprintf("%s/%s", rt->dir, name);
    err_t *e = disk_open_posix(dir, /* create= */ true, &d);
    if (e) {
        rt->unusable = err_code(e) != ERR_NO_SPACE;
        free(dir);
        e = err_here(err_wrap(e, "the data directory '%s' cannot be used", rt->w->conf.data_dir));
        return err_hint(e, "a worker makes what it needs below --data; look after the disk, the directory above it, and its rights");
    }
    d->free(d);
    *ret = dir;
    return NULL;
}

static err_t *build_and_replay(runtime_t *rt, restore_t *r) {
    for (int i = 0; i < rt->ntasks; i++) {
        if (atomic_load(&rt->cancel)) return err_new(ERR_CANCELLED, "the attempt was stopped while it was built");
        TRY(runtime_build_task(rt, &rt->tasks[i]));
    }
    restoring_t x = {.rt = rt};
    restore_sink_t sink = {&x, on_task, on_state, on_sink, on_spill, on_reload};
    TRY(err_wrap(restore_replay(r, rt->applier, &sink), "restoring epoch %" PRIu64, rt->deploy->deploy.manifest->epoch));
    rt->replayed = restore_bytes(r);
    return NULL;
}

err_t *runtime_restore(runtime_t *rt) {
    worker_t *w = rt->w;
    AUTO(auto_free) char *fetched = NULL, *checkpoints = NULL;
    TRY(make_scratch(rt, "fetched", &fetched));
    TRY(make_scratch(rt, "checkpoints", &checkpoints));
    int nranges;
    AUTO(auto_free) base_range_t *ranges = ranges_of(rt, &nranges);
    rt->kept = kept_job_new(w->kept, rt->deploy->deploy.manifest, rt->attempt);
    restore_conf_t rc = {rt->deploy->deploy.manifest, w->conf.storage, fetched, rt->state, nranges, ranges, &rt->cancel, w->kept};
    restore_t *r = restore_new(&rc);
    err_t *e = err_wrap(restore_bases(r), "restoring epoch %" PRIu64, rt->deploy->deploy.manifest->epoch);
    if (!e) {
        applier_conf_t ac = {.env = rt->state, .disk = w->conf.storage, .dir = checkpoints, .kept = w->kept, .nranges = nranges, .ranges = ranges,
                             .round_bytes = memory_shares(w->conf.memory).apply_round,
                             .id = {rt->job, rt->incarnation, rt->leader, rt->attempt, w->conf.name}};
        rt->applier = applier_new(&ac);
        e = build_and_replay(rt, r);
    }
    if (!e) log_line(LOG_INFO, "attempt restored", "worker=%s job=%" PRIu64 " attempt=%" PRIu64 " epoch=%" PRIu64 " changelog_bytes=%" PRIu64
                     " fetched_bytes=%" PRIu64, w->conf.name, rt->job, rt->attempt, rt->deploy->deploy.manifest->epoch, restore_bytes(r), restore_fetched(r));
    if (restore_own_wrong(r)) log_line(LOG_WARN, "an own copy is damaged, storage was read", "worker=%s job=%" PRIu64 " attempt=%" PRIu64 " file=%s", w->conf.name, rt->job,
                                       rt->attempt, restore_own_wrong(r));
    rt->damaged = e && restore_damaged(r);
    restore_free(r);
    return e;
}
