#include "coordinator/work.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define QUEUE_MAX 65536

struct work_queue {
    mailbox_t *box;
    pthread_t thread;
    atomic_bool ending;
};

static void drop(void *msg) {
    work_task_t *t = msg;
    t->drop(t);
}

static void *work_loop(void *arg) {
    work_queue_t *q = arg;
    while (!atomic_load(&q->ending)) {
        work_task_t *t = mailbox_receive(q->box);
        if (t) t->run(t);
        else mailbox_wait(q->box, 1000);
    }
    return NULL;
}

work_queue_t *work_queue_new(const char *name) {
    work_queue_t *q = xcalloc(1, sizeof *q);
    q->box = mailbox_new(QUEUE_MAX, drop);
    int rc = pthread_create(&q->thread, NULL, work_loop, q);
    ASSERT(rc == 0);
    pthread_setname_np(q->thread, name);
    return q;
}

void work_queue_add(work_queue_t *q, work_task_t *t) {
    if (!mailbox_send(q->box, t)) t->drop(t);
}

void work_queue_end(work_queue_t *q) {
    atomic_store(&q->ending, true);
    mailbox_close(q->box);
    mailbox_wake(q->box);
    pthread_join(q->thread, NULL);
}

void work_queue_free(work_queue_t *q) {
    if (!q) return;
    if (!atomic_load(&q->ending)) work_queue_end(q);
    mailbox_free(q->box);
    free(q);
}
