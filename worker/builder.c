/* builder.c: the thread that compiles, builds and restores attempts, so that the control thread never waits for storage. */
#include "worker/driver_int.h"

static void *builder_run(void *arg) {
    worker_t *w = arg;
    while (!atomic_load(&w->builder.quit)) {
        runtime_t *rt = mailbox_receive(w->builder.mail);
        if (!rt) {
            mailbox_wait(w->builder.mail, 1000);
            continue;
        }
        if (rt->torn) {
            note_t n = {.kind = NOTE_FREED, .job = rt->job, .attempt = rt->attempt};
            runtime_free(rt);
            worker_post(w, n);
            continue;
        }
        err_t *e = atomic_load(&rt->cancel) ? err_new(ERR_CANCELLED, "the attempt was stopped before it was built") : runtime_build(rt);
        worker_post(w, (note_t){.kind = NOTE_BUILT, .rt = rt, .error = e});
    }
    return NULL;
}

err_t *builder_start(worker_t *w) {
    w->builder.mail = mailbox_new(65536, NULL); /* runtimes belong to the worker's list */
    int rc = pthread_create(&w->builder.thread, NULL, builder_run, w);
    if (rc) {
        mailbox_free(TAKE(w->builder.mail));
        return err_from_errno(rc, "cannot start the builder thread");
    }
    pthread_setname_np(w->builder.thread, "builder");
    return NULL;
}

void builder_stop(worker_t *w) {
    if (!w->builder.mail) return;
    atomic_store(&w->builder.quit, true);
    mailbox_wake(w->builder.mail);
    pthread_join(w->builder.thread, NULL);
    mailbox_free(TAKE(w->builder.mail));
}

void builder_ask(worker_t *w, runtime_t *rt) {
    rt->building = !rt->torn;
    bool ok = mailbox_send(w->builder.mail, rt);
    ASSERT(ok); /* two per attempt: to build it, to free it */
}
