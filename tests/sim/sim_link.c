/* sim_link.c: control links between workers and coordinators, as the real ones are: ordered, reliable until they break. A break loses what
 * is under way; each end hears of it later. A link whose end is cut off holds its messages until the cut is over. Ended links stay in the
 * list until the simulation is over. */
#include "tests/sim/sim.h"
#include <stdlib.h>

struct clink {
    clink_t *next;
    sim_t *s;
    proc_t *worker, *coord;
    uint32_t wgen, cgen, generation;
    session_id_t session;
    bool worker_closed, coord_closed, broken; /* that end is done with it */
    int64_t ready[2];                         /* when the last message to (worker, coord) arrives */
    struct cmsg *first[2], **last[2];         /* under way; an arrival delivers the oldest, so that the order holds */
};
typedef struct cmsg { struct cmsg *next; ctl_msg_t *m; /* NULL: the end */ } cmsg_t;
typedef struct arrival { clink_t *l; bool to_coord; } arrival_t;

static bool ended(const clink_t *l) { return l->worker_closed && l->coord_closed; }

static void deliver(clink_t *l, bool to_coord, cmsg_t *x) {
    bool *closed = to_coord ? &l->coord_closed : &l->worker_closed;
    if (*closed) return;
    if (x->m && !l->broken) {
        if (to_coord) sim_coord_message(l->coord, l->session, TAKE(x->m));
        else sim_worker_message(l->worker, l->generation, TAKE(x->m));
    } else if (!x->m) {
        *closed = true;
        if (to_coord) sim_coord_closed(l->coord, l->session);
        else sim_worker_unlinked(l->worker, l->generation);
    }
}
static void arrive(sim_t *s, void *arg) {
    arrival_t *a = arg;
    clink_t *l = a->l;
    bool dir = a->to_coord;
    int64_t cut = MAX(l->coord->cut_until, l->worker->cut_until);
    if (cut > s->now && !l->broken) { /* it waits in somebody's buffer */
        sim_at(s, cut + sim_latency(s), dir ? l->coord : l->worker, arrive, arg, NULL);
        return;
    }
    free(a);
    cmsg_t *x = l->first[dir];
    l->first[dir] = x->next;
    if (!x->next) l->last[dir] = &l->first[dir];
    deliver(l, dir, x);
    ctl_free(x->m);
    free(x);
}

static ctl_msg_t *through_codec(sim_t *s, ctl_msg_t *m) {
    AUTO(buf_free) buf_t bytes = buf_make((size_t)64 << 20);
    ctl_encode(&bytes, m);
    ctl_free(m);
    err_t *e = ctl_decode(buf_slice(&bytes), &m);
    if (!e) return m;
    sim_broken(s, "a control message does not survive its codec: %s", err_text(e));
    err_free(e);
    return NULL;
}
static void post(clink_t *l, bool to_coord, ctl_msg_t *m) {
    sim_t *s = l->s;
    proc_t *to = to_coord ? l->coord : l->worker;
    if (!to->alive || to->gen != (to_coord ? l->cgen : l->wgen)) {
        ctl_free(m);
        return;
    }
    if (m && s->mix.codec && (m = through_codec(s, m)) == NULL) return;
    cmsg_t *x = xcalloc(1, sizeof *x);
    x->m = m;
    *l->last[to_coord] = x;
    l->last[to_coord] = &x->next;
    arrival_t *a = xcalloc(1, sizeof *a);
    *a = (arrival_t){l, to_coord};
    l->ready[to_coord] = MAX(l->ready[to_coord], s->now + sim_latency(s));
    sim_at(s, l->ready[to_coord], to, arrive, a, NULL);
}

clink_t *clink_open(sim_t *s, proc_t *worker, proc_t *coord, uint32_t generation) {
    clink_t *l = xcalloc(1, sizeof *l);
    *l = (clink_t){.s = s, .worker = worker, .coord = coord, .wgen = worker->gen, .cgen = coord->gen, .generation = generation, .session = ++s->serial};
    l->last[0] = &l->first[0];
    l->last[1] = &l->first[1];
    clink_t **at = &s->links;
    while (*at) at = &(*at)->next;
    *at = l;
    return l;
}

void clink_send(clink_t *l, bool to_coord, ctl_msg_t *m) {
    if (!l || l->broken || (to_coord ? l->worker_closed : l->coord_closed)) {
        ctl_free(m);
        return;
    }
    post(l, to_coord, m);
}

void clink_close(clink_t *l, bool by_coord) {
    if (!l || (by_coord ? l->coord_closed : l->worker_closed)) return;
    if (by_coord) l->coord_closed = true;
    else l->worker_closed = true;
    post(l, !by_coord, NULL);
}

void clink_break(clink_t *l) {
    l->broken = true;
    if (!l->worker_closed) post(l, false, NULL);
    if (!l->coord_closed) post(l, true, NULL);
}

void clink_proc_died(sim_t *s, proc_t *p) {
    for (clink_t *l = s->links; l; l = l->next) {
        bool coord = l->coord == p && l->cgen == p->gen, worker = l->worker == p && l->wgen == p->gen;
        if (!coord && !worker) continue;
            bool other_gone = coord ? l->worker_closed : l->coord_closed;
        if (coord) l->coord_closed = true;
        else l->worker_closed = true;
        if (!other_gone) post(l, worker, NULL); /* behind what it had sent */
        }
}

clink_t *clink_of(sim_t *s, proc_t *worker, uint32_t generation) {
    for (clink_t *l = s->links; l; l = l->next)
        if (l->worker == worker && l->wgen == worker->gen && l->generation == generation && !l->worker_closed) return l;
    return NULL;
}
clink_t *clink_by_session(sim_t *s, proc_t *coord, session_id_t session) {
    for (clink_t *l = s->links; l; l = l->next)
        if (l->coord == coord && l->cgen == coord->gen && l->session == session && !l->coord_closed) return l;
    return NULL;
}
clink_t *clink_random(sim_t *s) {
    int n = 0;
    for (clink_t *l = s->links; l; l = l->next) n++;
    if (!n) return NULL;
    int k = (int)sim_below(s, (uint64_t)n);
    clink_t *l = s->links;
    while (k-- > 0) l = l->next;
    return l->broken || ended(l) ? NULL : l;
}
void clink_free_all(sim_t *s) {
    while (s->links) {
        clink_t *l = s->links;
        s->links = l->next;
        for (int dir = 0; dir < 2; dir++)
            while (l->first[dir]) {
                cmsg_t *x = l->first[dir];
                l->first[dir] = x->next;
                ctl_free(x->m);
                free(x);
            }
        free(l);
    }
}
