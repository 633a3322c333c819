/* local_link.c: an in-process link. A message goes straight to the other end's handler, which only posts it to a mailbox; one lock per pair
 * orders messages and the end. */
#include "cli/cli.h"
#include <pthread.h>
#include <stdlib.h>

typedef struct pair pair_t;
typedef struct end {
    link_t link;
    pair_t *pair;
    struct end *other;
} end_t;
struct pair {
    pthread_mutex_t lock;
    bool closed;
    int refs;
    end_t ends[2];
};

static void end_send(link_t *l, ctl_msg_t *m) {
    end_t *e = CONTAINER_OF(l, end_t, link), *to = e->other;
    pthread_mutex_lock(&e->pair->lock);
    if (e->pair->closed) ctl_free(m);
    else to->link.handler.on_message(to->link.handler.arg, &to->link, m);
    pthread_mutex_unlock(&e->pair->lock);
}

static void pair_unref(pair_t *p) {
    pthread_mutex_lock(&p->lock);
    bool last = --p->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (!last) return;
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void end_close(link_t *l) {
    end_t *e = CONTAINER_OF(l, end_t, link);
    pair_t *p = e->pair;
    pthread_mutex_lock(&p->lock);
    bool first = !p->closed;
    p->closed = true;
    p->refs += first; /* the ends may free themselves in on_closed */
    pthread_mutex_unlock(&p->lock);
    if (!first) return;
    e->link.handler.on_closed(e->link.handler.arg, &e->link, NULL);
    end_t *other = e->other;
    other->link.handler.on_closed(other->link.handler.arg, &other->link, NULL);
    pair_unref(p);
}

static void end_free(link_t *l) { pair_unref(CONTAINER_OF(l, end_t, link)->pair); }
static const char *end_peer(link_t *l) { return "this process"; }

void local_link_pair(link_t **ret_worker, link_t **ret_coordinator) {
    pair_t *p = xcalloc(1, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->refs = 2;
    for (int i = 0; i < 2; i++) {
        p->ends[i] = (end_t){.pair = p, .other = &p->ends[1 - i]};
        p->ends[i].link = (link_t){.send = end_send, .close = end_close, .free = end_free, .peer = end_peer};
    }
    *ret_worker = &p->ends[0].link;
    *ret_coordinator = &p->ends[1].link;
}
