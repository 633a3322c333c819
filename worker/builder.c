/* builder.c: threads for what takes time in the life of an attempt, so that the control thread never waits for storage: one prepares attempts
 * (compiles them, and says whose lanes they have: these are fenced while the state is restored, hazards B7), one restores, and each that ended is
 * freed by a thread of its own. So no job's first steps or end wait for another's restore or for the closing of its base. */
#include "worker/driver_int.h"
#include <stdlib.h>

static const char *const names[] = {"prepare", "restore"};

/* Waits for work; NULL: the end. */
static runtime_t *take(builder_t *b, build_step_t step) {
    pthread_mutex_lock(&b->lock);
    while (!b->quit && !b->queue[step]) pthread_cond_wait(&b->wake, &b->lock); /* each change of either is signalled */
    runtime_t *rt = b->quit ? NULL : b->queue[step];
    if (rt) b->queue[step] = rt->queued;
    pthread_mutex_unlock(&b->lock);
    return rt;
}

/* Refused once the attempt is cancelled: builder_withdraw looks under the same lock after `cancel` was set. */
static bool put(builder_t *b, build_step_t step, runtime_t *rt) {
    pthread_mutex_lock(&b->lock);
    bool ok = !atomic_load(&rt->cancel);
    runtime_t **at = &b->queue[step];
    while (*at) at = &(*at)->queued;
    rt->queued = NULL;
    if (ok) *at = rt;
    pthread_cond_broadcast(&b->wake);
    pthread_mutex_unlock(&b->lock);
    return ok;
}

static err_t *stopped(void) { return err_new(ERR_CANCELLED, "the attempt was stopped before it was built"); }

static void prepare(worker_t *w, runtime_t *rt) {
    atomic_store(&rt->doing, "compiled");
    err_t *e = runtime_prepare(rt);
    atomic_store(&rt->doing, "restored");
    if (!e) worker_post(w, (note_t){.kind = NOTE_FENCE, .rt = rt});
    if (!e && put(&w->builder, BUILD_RESTORE, rt)) return;
    worker_post(w, (note_t){.kind = NOTE_BUILT, .rt = rt, .error = e ? e : stopped()});
}

static void work(worker_t *w, build_step_t step, runtime_t *rt) {
    if (atomic_load(&rt->cancel)) {
        worker_post(w, (note_t){.kind = NOTE_BUILT, .rt = rt, .error = stopped()});
    } else if (step == BUILD_PREPARE) {
        prepare(w, rt);
    } else {
        worker_post(w, (note_t){.kind = NOTE_BUILT, .rt = rt, .error = runtime_restore(rt)});
    }
}

typedef struct builder_start { worker_t *w; build_step_t step; } builder_start_t;
static void *builder_run(void *arg) {
    builder_start_t s = *(builder_start_t *)arg;
    free(arg);
    for (runtime_t *rt; (rt = take(&s.w->builder, s.step)) != NULL;) work(s.w, s.step, rt);
    return NULL;
}

err_t *builder_start(worker_t *w) {
    builder_t *b = &w->builder;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    b->started = true;
    for (; b->nthreads < BUILD_STEPS; b->nthreads++) {
        builder_start_t *s = xmalloc(sizeof *s);
        *s = (builder_start_t){w, (build_step_t)b->nthreads};
        int rc = pthread_create(&b->threads[b->nthreads], NULL, builder_run, s);
        if (rc) {
            free(s);
            return err_from_errno(rc, "cannot start the thread that %ss attempts", names[b->nthreads]);
        }
        pthread_setname_np(b->threads[b->nthreads], names[b->nthreads]);
    }
    return NULL;
}

void builder_stop(worker_t *w) {
    builder_t *b = &w->builder;
    if (!b->started) return;
    pthread_mutex_lock(&b->lock);
    b->quit = true;
    pthread_cond_broadcast(&b->wake);
    pthread_mutex_unlock(&b->lock);
    while (b->nthreads > 0) pthread_join(b->threads[--b->nthreads], NULL);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->wake);
}

void builder_ask(worker_t *w, runtime_t *rt) {
    rt->building = true;
    bool ok = put(&w->builder, BUILD_PREPARE, rt);
    ASSERT(ok); /* nobody cancels what was not asked for */
}

/* Tasks that no slot has taken close what they opened before anybody hears that the attempt is over. The rest is memory and files of its own. */
static void *free_run(void *arg) {
    runtime_t *rt = arg;
    worker_t *w = rt->w;
    note_t n = {.kind = NOTE_TORN, .job = rt->job, .attempt = rt->attempt};
    runtime_free_tasks(rt);
    worker_post(w, n);
    runtime_free(rt);
    n.kind = NOTE_FREED;
    worker_post(w, n);
    return NULL;
}

bool builder_free(runtime_t *rt, pthread_t *ret) {
    if (pthread_create(ret, NULL, free_run, rt)) return false;
    pthread_setname_np(*ret, "free");
    return true;
}

void builder_withdraw(worker_t *w, runtime_t *rt) {
    builder_t *b = &w->builder;
    bool found = false;
    pthread_mutex_lock(&b->lock);
    for (build_step_t step = BUILD_PREPARE; step <= BUILD_RESTORE; step++)
        for (runtime_t **at = &b->queue[step]; *at && !found;) {
            found = *at == rt;
            if (found) *at = rt->queued;
            else at = &(*at)->queued;
        }
    pthread_mutex_unlock(&b->lock);
    if (found) worker_post(w, (note_t){.kind = NOTE_BUILT, .rt = rt, .error = stopped()}); /* a NOTE_FENCE may still be on its way: after it */
}
