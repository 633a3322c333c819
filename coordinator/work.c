#include "coordinator/work.h"
#include "common/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define QUEUE_MAX 65536
#define CROWD_MAX 64

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

/* ---------------------------------------------------------------- a crowd */
typedef struct member { struct member *next; work_crowd_t *crowd; work_task_t *task; char *what; } member_t;
struct work_crowd {
    pthread_mutex_t lock;
    pthread_cond_t left;
    int n;
    member_t *members; /* the oldest last */
};

work_crowd_t *work_crowd_new(void) {
    work_crowd_t *c = xcalloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->left, NULL);
    return c;
}

static void leave(member_t *m) {
    work_crowd_t *c = m->crowd;
    pthread_mutex_lock(&c->lock);
    member_t **at = &c->members;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
    c->n--;
    pthread_cond_signal(&c->left);
    pthread_mutex_unlock(&c->lock);
    free(m->what);
    free(m);
}

static void *member_run(void *arg) {
    member_t *m = arg;
    m->task->run(m->task);
    leave(m);
    return NULL;
}

bool work_crowd_add(work_crowd_t *c, work_task_t *t, const char *what) {
    member_t *m = xcalloc(1, sizeof *m);
    *m = (member_t){.crowd = c, .task = t, .what = xstrdup(what)};
    pthread_t thread;
    pthread_mutex_lock(&c->lock);
    bool ok = c->n < CROWD_MAX && pthread_create(&thread, NULL, member_run, m) == 0;
    if (ok) {
        m->next = c->members;
        c->members = m;
        c->n++;
        pthread_setname_np(thread, "coord-aside");
        pthread_detach(thread);
    }
    pthread_mutex_unlock(&c->lock);
    if (ok) return true;
    free(m->what);
    free(m);
    return false;
}

char *work_crowd_end(work_crowd_t *c, int64_t wait_ms) {
    int64_t until = clock_mono_ns() + wait_ms * 1000000;
    pthread_mutex_lock(&c->lock);
    while (c->n && clock_wait_until(&c->left, &c->lock, until)) {}
    char *what = c->n ? xstrdup("") : NULL;
    for (member_t *m = c->members; m; m = m->next) {
        char *more = xprintf("%s%s%s", what, *what ? ", " : "", m->what);
        free(what);
        what = more;
    }
    pthread_mutex_unlock(&c->lock);
    return what;
}

void work_crowd_free(work_crowd_t *c) {
    if (!c) return;
    ASSERT(c->n == 0);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->left);
    free(c);
}
