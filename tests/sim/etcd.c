/* etcd.c: the metadata store as a server on the network. Requests of one process travel in order; one may be lost, be late (it takes effect after
 * its asker gave up and, since the order is kept, so are those behind it), or lose its answer. The asker answers itself UNKNOWN after its deadline.
 *
 * Promises of coordinator/meta_store.h, kept by comparison on the server: a write of a process that does not lead (create_revision of the leader key)
 * is refused; raise and put are atomic; putting exactly what is there answers OK. */
#include "coordinator/meta_store.h"
#include "tests/sim/sim.h"
#include <stdlib.h>

#define LEASE_MS 2000
#define DEADLINE_MS 1500

typedef enum ask_kind { ASK_CAMPAIGN, ASK_KEEPALIVE, ASK_LOAD, ASK_PUT_JOB, ASK_RAISE, ASK_LOOK, ASK_PUT, ASK_RESIGN } ask_kind_t;
typedef struct ask {
    etcd_t *e;
    proc_t *p;
    uint32_t gen;
    ask_kind_t kind;
    uint64_t leader, serial;
    etcd_loss_t loss;
    job_record_t *record;
    attempt_t above;
    bool first;
    manifest_key_t previous, now;
    char *path;
} ask_t;
typedef struct waiting { struct waiting *next; uint64_t serial; proc_t *p; uint32_t gen; ask_kind_t kind; etcd_fn fn; void *arg; epoch_t epoch; } waiting_t;

struct etcd {
    sim_t *s;
    uint64_t revision, leader; /* leader 0: the key is gone */
    int leader_proc;
    uint32_t leader_gen;
    int64_t lease_until;
    job_record_t *record;
    meta_attempt_t attempt;
    bool has_last;
    manifest_key_t last;
    char *last_path;
    manifest_t *manifest;
    int nolder; manifest_t *older[16]; /* that it keeps */
    int64_t ready[SIM_COORDS]; /* requests of a process keep their order */
    int64_t slow_until, slow_us, look_us;
    etcd_loss_t lose;
    int64_t late_us;
    waiting_t *waiting;
    uint64_t serial;
};

static void ask_drop(void *arg) {
    ask_t *a = arg;
    job_record_free(a->record);
    free(a->path);
    free(a);
}

/* ---------------------------------------------------------------- answers */
typedef struct reply { etcd_t *e; uint64_t serial; etcd_answer_t a; } reply_t;
static void reply_drop(void *arg) {
    reply_t *r = arg;
    job_record_free(r->a.record);
    free(r->a.last);
    free(r);
}
static void deliver(sim_t *s, void *arg) {
    reply_t *r = arg;
    etcd_t *e = s->etcd;
    for (waiting_t **at = &e->waiting; *at; at = &(*at)->next) {
        waiting_t *w = *at;
        if (w->serial != r->serial) continue;
        *at = w->next;
        if (w->p->alive && w->p->gen == w->gen) w->fn(w->p, w->arg, &r->a);
        else free(w->arg);
        free(w);
        break;
    }
    reply_drop(r);
}
static void deadline(sim_t *s, void *arg) { /* the same as an answer, if none came before */
    reply_t *r = arg;
    for (waiting_t *w = s->etcd->waiting; w; w = w->next) {
        if (w->serial != r->serial) continue;
        if (w->kind == ASK_RAISE) sim_reach(s, ROW_RAISE_UNKNOWN);
        if (w->kind == ASK_PUT) {
            bool landed = s->etcd->has_last && s->etcd->last.epoch == w->epoch;
            sim_reach(s, landed ? ROW_PUT_LANDED : ROW_PUT_NOT);
        }
        sim_log(s, "%s: no answer from the store", w->p->name);
    }
    deliver(s, arg);
}
static void answer(etcd_t *e, ask_t *a, etcd_answer_t *x) {
    if (a->loss == ETCD_LOSE_ANSWER) {
        job_record_free(x->record);
        free(x->last);
        return;
    }
    reply_t *r = xcalloc(1, sizeof *r);
    *r = (reply_t){e, a->serial, *x};
    if (a->p->alive && a->p->gen == a->gen) sim_at(e->s, MAX(e->s->now + sim_latency(e->s), a->p->cut_until), a->p, deliver, r, reply_drop);
    else reply_drop(r);
}

/* ---------------------------------------------------------------- the server */
static void expire(etcd_t *e) {
    if (!e->leader || e->s->now < e->lease_until) return;
    proc_t *p = &e->s->procs[e->leader_proc];
    sim_log(e->s, "etcd: lease of %s expires", p->name);
    if (p->alive && p->gen == e->leader_gen) sim_reach(e->s, ROW_LEASE_LOST);
    e->leader = 0;
}

static bool manifest_key_eq(const manifest_key_t *a, const manifest_key_t *b) {
    return a->leader == b->leader && a->attempt == b->attempt && a->epoch == b->epoch;
}

/* The older ones that the durable manifest keeps: their bodies must be there. */
static void set_older(etcd_t *e) {
    const manifest_t *m = e->manifest;
    manifest_t *was[16] = {0};
    int nwas = e->nolder;
    for (int i = 0; i < nwas; i++) was[i] = e->older[i];
    e->nolder = 0;
    for (int i = 0; i < m->nolder; i++) {
        manifest_t *found = NULL;
        for (int k = 0; k < nwas && !found; k++)
            if (was[k] && older_is(&m->older[i], was[k])) found = TAKE(was[k]);
        AUTO(auto_free) char *path = manifest_older_path(m, i);
        AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
        err_t *err = disk_read_all(e->s->disk, path, &text);
        if (!err && !found) err = manifest_parse(buf_slice(&text), &found);
        if (err) sim_broken(e->s, "manifest %" PRIu64 " keeps one without a body: %s", m->epoch, err_text(err));
        err_free(err);
        if (found) e->older[e->nolder++] = found;
    }
    for (int k = 0; k < nwas; k++) manifest_free(was[k]);
}

static void set_manifest(etcd_t *e, ask_t *a) {
    sim_t *s = e->s;
    if (e->has_last && a->now.epoch <= e->last.epoch) sim_broken(s, "manifest %" PRIu64 " after %" PRIu64, a->now.epoch, e->last.epoch);
    e->has_last = true;
    e->last = a->now;
    free(e->last_path);
    e->last_path = TAKE(a->path);
    AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
    manifest_t *m = NULL;
    err_t *err = disk_read_all(s->disk, e->last_path, &text);
    if (!err) err = manifest_parse(buf_slice(&text), &m);
    if (err) {
        sim_broken(s, "manifest %" PRIu64 " became durable without a body: %s", e->last.epoch, err_text(err));
        err_free(err);
        return;
    }
    manifest_t *old = e->manifest;
    e->manifest = m;
    s->epochs += old != NULL;
    sim_log(s, "etcd: manifest %" PRIu64 " of attempt %" PRIu64 " is durable", m->epoch, m->attempt);
    set_older(e);
    check_manifest_durable(s, old, m);
    manifest_free(old);
}

/* There is one job at a time: what is kept of a job that was stopped is in its savepoint. */
static void next_job(etcd_t *e) {
    if (!job_state_terminal(e->record->state)) sim_broken(e->s, "a second job beside one that is %s", job_state_name(e->record->state));
    manifest_free(TAKE(e->manifest));
    free(TAKE(e->last_path));
    e->has_last = false;
    e->last = (manifest_key_t){0};
    e->attempt = (meta_attempt_t){0};
}

static void serve_put(etcd_t *e, ask_t *a, etcd_answer_t *x) {
    if (e->has_last && manifest_key_eq(&e->last, &a->now)) return;
    bool fits = e->attempt.attempt == a->now.attempt && (a->first ? !e->has_last : e->has_last && manifest_key_eq(&e->last, &a->previous));
    if (fits) {
        bool late = !a->p->alive || a->p->gen != a->gen;
        for (waiting_t *w = e->waiting; w && !late; w = w->next)
            if (w->serial == a->serial) break;
            else if (!w->next) late = true;
        if (late || !e->waiting) sim_reach(e->s, ROW_PUT_LATE);
        set_manifest(e, a);
        return;
    }
    sim_reach(e->s, ROW_PUT_REFUSED);
    x->outcome = STORE_REFUSED;
}

static void serve_campaign(etcd_t *e, ask_t *a, etcd_answer_t *x) {
    if (e->leader) {
        x->outcome = STORE_FAILED; /* somebody leads: ask again */
        return;
    }
    e->leader = ++e->revision;
    e->leader_proc = a->p->index;
    e->leader_gen = a->gen;
    e->lease_until = e->s->now + LEASE_MS * SIM_MS;
    x->leader = e->leader;
    sim_log(e->s, "etcd: %s leads, epoch %" PRIu64, a->p->name, e->leader);
}

static void serve(sim_t *s, void *arg) {
    ask_t *a = arg;
    etcd_t *e = s->etcd;
    etcd_answer_t x = {.outcome = STORE_OK};
    expire(e);
    bool leads = e->leader && e->leader == a->leader;
    e->revision++;
    if (a->kind == ASK_CAMPAIGN) {
        serve_campaign(e, a, &x);
    } else if (!leads) {
        x.outcome = STORE_REFUSED;
        if (a->kind == ASK_PUT) sim_reach(s, ROW_PUT_REFUSED);
        if (a->kind != ASK_RESIGN && a->p->alive && a->p->gen == a->gen && e->leader && e->leader_proc != a->p->index) sim_reach(s, ROW_ZOMBIE_LEADER);
    } else {
        switch (a->kind) {
        case ASK_KEEPALIVE: e->lease_until = s->now + LEASE_MS * SIM_MS; break;
        case ASK_LOAD: x.record = e->record ? job_record_copy(e->record) : NULL; break;
        case ASK_PUT_JOB:
            if (e->record && e->record->id != a->record->id) next_job(e);
            job_record_free(e->record);
            e->record = TAKE(a->record);
            sim_log(s, "etcd: record of job is %s", job_state_name(e->record->state));
            break;
        case ASK_RAISE: {
            meta_pointer_t last = {.leader = e->last.leader, .attempt = e->last.attempt, .epoch = e->last.epoch};
            e->attempt = meta_attempt_raise(e->attempt, e->has_last ? &last : NULL, a->above);
            x.attempt = e->attempt.attempt;
            x.floor = e->attempt.floor;
            x.last = e->has_last ? xstrdup(e->last_path) : NULL;
            s->attempts = x.attempt;
            sim_log(s, "etcd: attempt %" PRIu64 ", floor %" PRIu64 ", last %" PRIu64, x.attempt, x.floor, e->has_last ? e->last.epoch : 0);
            break;
        }
        case ASK_LOOK:
            x.attempt = e->attempt.attempt;
            x.last = e->has_last ? xstrdup(e->last_path) : NULL;
            break;
        case ASK_PUT: serve_put(e, a, &x); break;
        case ASK_RESIGN: e->leader = 0; break;
        default: UNREACHABLE();
        }
    }
    if (a->kind == ASK_RESIGN) free(x.last);
    else answer(e, a, &x);
    ask_drop(a);
}

/* ---------------------------------------------------------------- asking */
static ask_t *ask_new(etcd_t *e, proc_t *p, ask_kind_t kind, uint64_t leader) {
    ask_t *a = xcalloc(1, sizeof *a);
    a->e = e;
    a->p = p;
    a->gen = p->gen;
    a->kind = kind;
    a->leader = leader;
    a->serial = ++e->serial;
    return a;
}
static void send(etcd_t *e, ask_t *a, etcd_fn fn, void *arg) {
    sim_t *s = e->s;
    proc_t *p = a->p;
    if (fn) {
        waiting_t *w = xcalloc(1, sizeof *w);
        *w = (waiting_t){NULL, a->serial, p, p->gen, a->kind, fn, arg, a->now.epoch};
        waiting_t **at = &e->waiting;
        while (*at) at = &(*at)->next;
        *at = w;
        reply_t *r = xcalloc(1, sizeof *r);
        *r = (reply_t){e, a->serial, {.outcome = STORE_UNKNOWN}};
        sim_at(s, s->now + DEADLINE_MS * SIM_MS, p, deadline, r, reply_drop);
    }
    int64_t at = s->now + sim_latency(s) + (s->now < e->slow_until ? e->slow_us : 0) + (a->kind == ASK_LOOK ? e->look_us : 0);
    if (a->kind == ASK_PUT || a->kind == ASK_RAISE || a->kind == ASK_PUT_JOB) {
        a->loss = e->lose;
        s->faults += e->lose != ETCD_FINE;
        e->lose = ETCD_FINE;
        if (a->loss == ETCD_LATE) at += e->late_us;
    }
    at = MAX(at, p->cut_until);
    at = e->ready[p->index] = MAX(e->ready[p->index], at);
    if (a->loss == ETCD_LOSE_REQUEST) ask_drop(a);
    else sim_at(s, at, NULL, serve, a, ask_drop);
}

void etcd_campaign(etcd_t *e, proc_t *p, etcd_fn fn, void *arg) { send(e, ask_new(e, p, ASK_CAMPAIGN, 0), fn, arg); }
void etcd_keepalive(etcd_t *e, proc_t *p, uint64_t leader, etcd_fn fn, void *arg) { send(e, ask_new(e, p, ASK_KEEPALIVE, leader), fn, arg); }
void etcd_load(etcd_t *e, proc_t *p, uint64_t leader, etcd_fn fn, void *arg) { send(e, ask_new(e, p, ASK_LOAD, leader), fn, arg); }
void etcd_resign(etcd_t *e, proc_t *p, uint64_t leader) { send(e, ask_new(e, p, ASK_RESIGN, leader), NULL, NULL); }
void etcd_put_job(etcd_t *e, proc_t *p, uint64_t leader, const job_record_t *r, etcd_fn fn, void *arg) {
    ask_t *a = ask_new(e, p, ASK_PUT_JOB, leader);
    a->record = job_record_copy(r);
    send(e, a, fn, arg);
}
void etcd_raise(etcd_t *e, proc_t *p, uint64_t leader, attempt_t above, etcd_fn fn, void *arg) {
    ask_t *a = ask_new(e, p, ASK_RAISE, leader);
    a->above = above;
    send(e, a, fn, arg);
}
void etcd_look(etcd_t *e, proc_t *p, uint64_t leader, etcd_fn fn, void *arg) { send(e, ask_new(e, p, ASK_LOOK, leader), fn, arg); }
void etcd_put_manifest(etcd_t *e, proc_t *p, uint64_t leader, const manifest_key_t *previous, const manifest_key_t *now, const char *path,
                       etcd_fn fn, void *arg) {
    ask_t *a = ask_new(e, p, ASK_PUT, leader);
    a->first = !previous;
    if (previous) a->previous = *previous;
    a->now = *now;
    a->path = xstrdup(path);
    send(e, a, fn, arg);
}

/* ---------------------------------------------------------------- life, faults, looks */
etcd_t *etcd_new(sim_t *s) {
    etcd_t *e = xcalloc(1, sizeof *e);
    e->s = s;
    e->revision = 100;
    return e;
}
void etcd_free(etcd_t *e) {
    while (e->waiting) {
        waiting_t *w = e->waiting;
        e->waiting = w->next;
        free(w->arg);
        free(w);
    }
    job_record_free(e->record);
    manifest_free(e->manifest);
    for (int i = 0; i < e->nolder; i++) manifest_free(e->older[i]);
    free(e->last_path);
    free(e);
}
void etcd_slow(etcd_t *e, int64_t until, int64_t extra_us) {
    e->slow_until = until;
    e->slow_us = extra_us;
}
void etcd_slow_looks(etcd_t *e, int64_t extra_us) { e->look_us = extra_us; }
void etcd_revoke(etcd_t *e) { e->lease_until = e->s->now; }
void etcd_lose_next(etcd_t *e, etcd_loss_t how, int64_t late_us) {
    e->lose = how;
    e->late_us = late_us;
}
void etcd_fault(etcd_t *e) {
    sim_t *s = e->s;
    int what = (int)sim_below(s, 5);
    sim_log(s, "fault: etcd %d", what);
    s->faults += what <= 1; /* a loss counts when there is something to lose */
    if (what == 0) etcd_slow(e, s->now + sim_between(s, 100, 1500) * SIM_MS, sim_between(s, 20, 400) * SIM_MS);
    else if (what == 1) etcd_slow(e, s->now + sim_between(s, 100, 600) * SIM_MS, sim_between(s, 1000, 2500) * SIM_MS);
    else etcd_lose_next(e, (etcd_loss_t)(what - 1), sim_between(s, 500, 3000) * SIM_MS);
}
void etcd_heal(etcd_t *e) {
    e->slow_until = 0;
    e->lose = ETCD_FINE;
}
uint64_t etcd_leader(const etcd_t *e) { return e->s->now < e->lease_until ? e->leader : 0; }
int etcd_leader_proc(const etcd_t *e) { return etcd_leader(e) ? e->leader_proc : -1; }
const manifest_t *etcd_manifest(const etcd_t *e) { return e->manifest; }
int etcd_nolder(const etcd_t *e) { return e->nolder; }
const manifest_t *etcd_older(const etcd_t *e, int i) { return e->older[i]; }
const char *etcd_manifest_path(const etcd_t *e) { return e->last_path; }
const job_record_t *etcd_record(const etcd_t *e) { return e->record; }
job_state_t etcd_job_state(const etcd_t *e) { return e->record ? e->record->state : JOB_SUBMITTED; }
