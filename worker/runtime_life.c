/* runtime_life.c: an attempt from launch to its end. The control thread. */
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "worker/driver_int.h"
#include <stdlib.h>
#include <unistd.h>

#define HOLD_INTERVALS 3
#define HOLD_MS_MIN 2000 /* longer than a new leader takes: output without a guarantee must not pause for it */

/* Before the state is restored: a dead owner's open transaction holds the readers of its partitions until its lane is fenced (B7). */
void runtime_fence(runtime_t *rt) {
    rt->fenced = true;
    if (rt->tearing) return;
    if (rt->unconfirmed) lanes_unconfirm(rt->lanes);
    err_t *e = lanes_fence(rt->lanes);
    if (e) runtime_failed(rt, e);
}

/* Also while it is being built: whoever takes our place may own the lanes already. */
void runtime_unconfirm(runtime_t *rt) {
    rt->unconfirmed = true;
    if (rt->fenced && !rt->tearing) lanes_unconfirm(rt->lanes);
}

void runtime_confirm(runtime_t *rt) {
    rt->unconfirmed = false;
    if (rt->fenced && !rt->tearing) lanes_confirm(rt->lanes);
}

static void feed_restored(runtime_t *rt) {
    while (rt->segments) {
        restored_segment_t *s = rt->segments;
        rt->segments = s->next;
        lanes_feed(rt->lanes, s->fingerprint, s->lane, s->epoch, &s->bytes);
        free(s);
    }
}

void runtime_launch(runtime_t *rt) {
    base_job_t j = {rt->job, rt->attempt, rt->state, rt->applier, rt->deploy->deploy.manifest->epoch, rt->kept, rt->replayed};
    base_add(rt->w->base, &j);
    rt->base_open = true;
    for (int i = 0; i < rt->ntasks; i++) {
        rt->tasks[i].added = true;
        slot_add(rt->tasks[i].slot, &slot_work_task, TAKE(rt->tasks[i].task));
    }
    feed_restored(rt);
    if (rt->deploy->deploy.manifest->epoch > 0) lanes_complete(rt->lanes, rt->deploy->deploy.manifest->epoch);
}

void runtime_start(runtime_t *rt) {
    if (rt->started || rt->tearing) return;
    rt->started = true;
    int64_t interval = 100;
    err_free(options_duration_ms(&rt->plan->set, "execution.checkpointing.interval", interval, &interval)); /* checked at submit */
    rt->hold_ms = MAX(HOLD_INTERVALS * interval, (int64_t)HOLD_MS_MIN);
    base_started(rt->w->base, rt->job, rt->attempt);
    err_t *e = lanes_open(rt->lanes);
    if (e) runtime_failed(rt, e);
    for (int i = 0; i < rt->ntasks && !rt->deploy->deploy.lanes_only; i++) slot_start(rt->tasks[i].slot);
}

/* A barrier of another worker may be here before the INJECT. */
static int64_t begun_ms(runtime_t *rt, epoch_t epoch) {
    size_t at = epoch % ARRAY_LEN(rt->begun);
    if (rt->begun[at].epoch != epoch) {
        rt->begun[at].epoch = epoch;
        rt->begun[at].ms = clock_mono_ms();
    }
    return rt->begun[at].ms;
}

void runtime_sealed(runtime_t *rt, const task_seal_t *seal) {
    int64_t took = clock_mono_ms() - begun_ms(rt, seal->epoch);
    runtime_task_t *t = runtime_local_task(rt, seal->stage, seal->subtask);
    if (t) t->epoch_ms = (uint64_t)took;
}

void runtime_inject(runtime_t *rt, epoch_t epoch, uint32_t flags) {
    if (rt->tearing) return;
    begun_ms(rt, epoch);
    if (flags & BARRIER_BASE) rt->base_asked = epoch; /* here: an epoch without changes is not written */
    atomic_store(&rt->busy_reported, false);
    rt->progress_injected = runtime_progress(rt);
    rt->owed_ms = 0;
    if (atomic_exchange(&rt->held, false))
        log_line(LOG_INFO, "sources go on", "worker=%s job=%" PRIu64 " epoch=%" PRIu64, rt->w->conf.name, rt->job, epoch);
    for (int i = 0; i < rt->ntasks; i++)
        if (rt->tasks[i].source) slot_inject(rt->tasks[i].slot, epoch, flags);
}

/* An epoch that is not begun has no bound: what sinks collect for it and what keyed state changes in it stays in memory. The coordinator begins
 * none while too much is unpublished (B1) or four are in flight (B14), and none while there is no coordinator; whichever it is, the sources of
 * this worker wait after some intervals without. The next barrier lets them go on. */
int64_t runtime_hold(runtime_t *rt, int64_t now_ms) {
    if (!rt->started || rt->tearing || !rt->lanes || rt->deploy->deploy.lanes_only) return INT64_MAX;
    if (runtime_progress(rt) == rt->progress_injected) rt->owed_ms = 0;
    else if (!rt->owed_ms) rt->owed_ms = now_ms;
    if (!rt->owed_ms || atomic_load(&rt->held)) return INT64_MAX;
    if (now_ms - rt->owed_ms < rt->hold_ms) return rt->owed_ms + rt->hold_ms;
    atomic_store(&rt->held, true);
    log_line(LOG_WARN, "sources wait", "worker=%s job=%" PRIu64 ": no epoch was begun for %" PRId64 " ms", rt->w->conf.name, rt->job, now_ms - rt->owed_ms);
    return INT64_MAX;
}

void runtime_complete(runtime_t *rt, epoch_t epoch) {
    if (rt->tearing) return;
    for (int i = 0; i < rt->ntasks; i++) slot_complete(rt->tasks[i].slot, epoch);
    lanes_complete(rt->lanes, epoch);
    base_complete(rt->w->base, rt->job, rt->attempt, epoch, rt->base_asked && epoch >= rt->base_asked);
    if (rt->base_asked && epoch >= rt->base_asked) rt->base_asked = 0;
}

void runtime_written(runtime_t *rt, checkpoint_done_t *d) {
    if (!rt->tearing) {
        for (int i = 0; i < d->nseals; i++)
            for (int k = 0; k < d->seals[i]->nsinks; k++) {
                sink_seal_t *s = &d->seals[i]->sinks[k];
                lanes_feed(rt->lanes, s->fingerprint, s->lane, d->epoch, &s->segment);
                s->segment = (buf_t){0};
            }
        if (d->extent.path) base_extent(rt->w->base, rt->job, rt->attempt, &d->extent, d->bytes);
    }
    checkpoint_seals_free(TAKE(d->seals), d->nseals);
    d->nseals = 0;
}

static bool has_source(const plan_stage_t *s, uint64_t fingerprint) {
    for (int i = 0; i < s->nops; i++)
        if (s->ops[i]->kind == OP_SOURCE && s->ops[i]->fingerprint == fingerprint) return true;
    return false;
}

void runtime_add_splits(runtime_t *rt, const ctl_msg_t *m) {
    for (int k = 0; k < m->add_splits.nsplits && !rt->tearing; k++) {
        const ctl_split_t *s = &m->add_splits.splits[k];
        for (int i = 0; i < rt->ntasks; i++) {
            runtime_task_t *t = &rt->tasks[i];
            if (t->subtask != s->subtask || !has_source(rt->plan->stages[t->stage], s->fingerprint)) continue;
            split_list_t one = {1, (split_t *)&s->split};
            slot_add_splits(t->slot, s->fingerprint, &one);
        }
    }
}

/* ---------------------------------------------------------------- the end
 * 1. The data port forgets the attempt: nothing more comes in, sends go nowhere. 2. Slots free the tasks. 3. The writer, the base thread and
 * the lanes let go. When all have answered nothing refers to the attempt and it is freed. A build under way is waited for first; it is told to
 * give up, and lanes that were fenced meanwhile are closed at once. Who does not answer is named, and ends the process (driver.c). */
static void close_lanes(runtime_t *rt) {
    if (!rt->lanes || rt->lanes_closing) return;
    rt->lanes_closing = rt->awaits.lanes = true;
    lanes_close(rt->lanes);
}

static void teardown_begin(runtime_t *rt) {
    endpoint_drop(rt->w->endpoint, rt->job, rt->attempt);
    rt->awaits.writer = true;
    rt->awaits.begun = true;
    for (int i = 0; i < rt->ntasks; i++) {
        if (!rt->tasks[i].added) continue;
        rt->awaits.tasks++;
        slot_remove(rt->tasks[i].slot);
    }
    if (rt->base_open) {
        rt->awaits.base = true;
        applier_cancel(rt->applier); /* an upload under way must not hold the teardown */
        base_drop(rt->w->base, rt->job, rt->attempt);
    }
    close_lanes(rt);
    checkpoint_drop(rt->w->checkpoint, rt->job, rt->attempt);
}

void runtime_teardown(runtime_t *rt) {
    if (rt->tearing) return;
    rt->tearing = true;
    rt->tearing_since_ms = clock_mono_ms();
    atomic_store(&rt->cancel, true);
    if (!rt->building) {
        teardown_begin(rt);
        return;
    }
    if (rt->fenced) close_lanes(rt);
    if (rt->parked) worker_post(rt->w, (note_t){.kind = NOTE_BUILT, .rt = rt, .error = err_new(ERR_CANCELLED, "the attempt was stopped before it was built")});
    else builder_withdraw(rt->w, rt);
    rt->parked = false;
}

void runtime_built(runtime_t *rt) {
    rt->building = false;
    if (rt->tearing) teardown_begin(rt);
}

static void maybe_torn(runtime_t *rt) {
    if (rt->awaits.begun && !rt->awaits.tasks && !rt->awaits.writer && !rt->awaits.base && !rt->awaits.lanes)
        rt->torn = true; /* the loop frees it: we may be inside one of its calls */
}

void runtime_answered(runtime_t *rt, bool *awaited) {
    ASSERT(*awaited);
    *awaited = false;
    maybe_torn(rt);
}

void runtime_removed(runtime_t *rt, int stage, int subtask) {
    runtime_task_t *t = runtime_local_task(rt, stage, subtask);
    if (t) t->removed = true;
    rt->awaits.tasks--;
    maybe_torn(rt);
}

char *runtime_hangs(const runtime_t *rt) {
    buf_t b = buf_make(4096);
    if (rt->building) buf_printf(&b, "it is still being %s", atomic_load(&rt->doing));
    for (int i = 0; i < rt->ntasks && !rt->building; i++) {
        const runtime_task_t *t = &rt->tasks[i];
        if (t->added && !t->removed) buf_printf(&b, "%stask %d of stage %d (%s)", b.len ? ", " : "", t->subtask, t->stage, rt->plan->stages[t->stage]->label);
    }
    if (rt->awaits.lanes) lanes_hang(rt->lanes, &b);
    if (rt->awaits.writer) buf_printf(&b, "%sthe writer of its epochs", b.len ? ", " : "");
    if (rt->awaits.base) buf_printf(&b, "%sits local base in %s, or the base checkpoint of it", b.len ? ", " : "", rt->dir);
    char *text = xstrdup(b.len ? buf_cstr(&b) : "nothing that is known");
    buf_free(&b);
    return text;
}

void runtime_free_tasks(runtime_t *rt) {
    for (int i = 0; i < rt->ntasks; i++) task_free(TAKE(rt->tasks[i].task));
}

/* The job's directory goes too, while none is made in it: the next attempt is built when this one has been freed. */
static void remove_dir(char *dir) {
    base_remove_tree(dir);
    *strrchr(dir, '/') = 0;
    rmdir(dir);
}

void runtime_free(runtime_t *rt) {
    stall_point("free");
    for (int i = 0; i < rt->ntasks; i++)
        if (rt->tasks[i].slot) slot_task_free(rt->tasks[i].slot);
    runtime_rings_free(rt);
    while (rt->segments) {
        restored_segment_t *s = rt->segments;
        rt->segments = s->next;
        buf_free(&s->bytes);
        free(s);
    }
    free(rt->tasks);
    lanes_free(rt->lanes);
    if (rt->applier) applier_free(rt->applier);
    if (rt->state) {
        memory_remove(rt->w->memory, rt->state);
        kstate_env_free(rt->state);
        if (rt->has_base) atomic_fetch_sub(&rt->w->bases, 1);
    }
    kept_job_free(rt->kept);
    if (rt->dir) remove_dir(rt->dir);
    free(rt->dir);
    if (rt->plan) plan_free(rt->plan);
    ctl_free(rt->deploy);
    free(rt->culprit);
    free(rt);
}
