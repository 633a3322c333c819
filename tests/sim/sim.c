/* sim.c: clock, event heap, trace, processes. See sim.h. */
#include "tests/sim/sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *const sim_row_names[ROWS] = {
#define X(id, text) [id] = text,
    SIM_ROWS(X)
#undef X
};

/* ---------------------------------------------------------------- events */
typedef struct sim_event {
    int64_t at;
    uint64_t seq;
    proc_t *p;
    uint32_t gen;
    sim_fn fn;
    void *arg;
    void (*drop)(void *arg);
} sim_event_t;
struct sim_heap {
    size_t n, cap;
    uint64_t seq;
    sim_event_t *items;
};

#define LOOK_US 50000
static bool before(const sim_event_t *a, const sim_event_t *b) { return a->at != b->at ? a->at < b->at : a->seq < b->seq; }

static void heap_push(struct sim_heap *h, sim_event_t e) {
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 256;
        h->items = xrealloc(h->items, h->cap * sizeof *h->items);
    }
    size_t i = h->n++;
    for (; i > 0 && before(&e, &h->items[(i - 1) / 2]); i = (i - 1) / 2) h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = e;
}
static sim_event_t heap_pop(struct sim_heap *h) {
    sim_event_t top = h->items[0], last = h->items[--h->n];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= h->n) break;
        if (c + 1 < h->n && before(&h->items[c + 1], &h->items[c])) c++;
        if (!before(&h->items[c], &last)) break;
        h->items[i] = h->items[c];
        i = c;
    }
    h->items[i] = last;
    return top;
}

void sim_at(sim_t *s, int64_t at, proc_t *p, sim_fn fn, void *arg, void (*drop)(void *arg)) {
    heap_push(s->heap, (sim_event_t){MAX(at, s->now), s->heap->seq++, p, p ? p->gen : 0, fn, arg, drop ? drop : free});
}

/* ---------------------------------------------------------------- draws, trace, verdicts */
int64_t sim_now_ms(const sim_t *s) { return s->now / SIM_MS; }
uint64_t sim_below(sim_t *s, uint64_t n) { return rng_below(&s->rng, n); }
int64_t sim_between(sim_t *s, int64_t lo, int64_t hi) { return lo + (int64_t)rng_below(&s->rng, (uint64_t)(hi - lo + 1)); }
bool sim_chance(sim_t *s, int permille) { return permille > 0 && rng_below(&s->rng, 1000) < (uint64_t)permille; }
int64_t sim_latency(sim_t *s) { /* mostly the usual, now and then ten times that */
    int64_t l = s->mix.latency_us;
    return sim_chance(s, 30) ? sim_between(s, l, 10 * l) : sim_between(s, l / 4, 2 * l);
}

void sim_log(sim_t *s, const char *fmt, ...) {
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    n = MIN(n, (int)sizeof text - 1);
    s->hash = hash_mix(s->hash ^ hash_bytes(text, (size_t)n) ^ (uint64_t)s->now);
    if (s->verbose) printf("[%8.3f] %s\n", (double)s->now / 1000.0, text);
    if (s->keep) buf_printf(&s->text, "[%6" PRId64 "] %s\n", s->now / SIM_MS, text);
}

void sim_reach(sim_t *s, sim_row_t row) {
    s->reached[row]++;
    sim_log(s, "* %s", sim_row_names[row]);
}

void sim_broken(sim_t *s, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_log(s, "BROKEN: %s", text);
    if (!s->broken) s->broken = xprintf("at %" PRId64 " ms: %s", sim_now_ms(s), text);
}

void sim_aim(sim_t *s, sim_row_t row, int skip) {
    s->aimed = (int)row;
    s->aimed_skip = skip;
    s->aimed_until = INT64_MAX;
}

bool sim_point(sim_t *s, proc_t *p, sim_row_t row) {
    if (p->dying) return true;
    if (s->aimed != (int)row || s->now > s->aimed_until) return false;
    if (s->aimed_skip-- > 0) return false;
    s->aimed = -1;
    s->faults++;
    sim_reach(s, row);
    p->dying = true;
    p->machine_lost = sim_chance(s, 500);
    return true;
}

/* ---------------------------------------------------------------- processes */
bool proc_reachable(const sim_t *s, const proc_t *p) { return p->alive && !p->dying && s->now >= p->cut_until; }

void proc_start(proc_t *p) {
    ASSERT(!p->alive);
    p->alive = true;
    p->dying = p->machine_lost = false;
    p->paused_until = 0;
    p->gen++;
    p->disk = disk_view(p->s->disk, p);
    sim_log(p->s, "%s starts", p->name);
    if (p->index < SIM_COORDS) p->coord = sim_coord_new(p);
    else p->worker = sim_worker_new(p);
}

void proc_kill(proc_t *p, bool machine) {
    if (!p->alive) return;
    sim_t *s = p->s;
    sim_log(s, "%s dies%s", p->name, machine ? " with its machine" : "");
    p->dying = true;
    clink_proc_died(s, p);
    xchan_proc_died(s, p);
    disk_crashed(s->disk, p, machine);
    if (p->coord) sim_coord_free(TAKE(p->coord));
    if (p->worker) sim_worker_free(TAKE(p->worker));
    p->disk->free(p->disk);
    p->disk = NULL;
    p->alive = false;
    p->gen++; /* nothing of it happens any more */
}

static void restart(sim_t *s, void *arg) {
    proc_t *p = *(proc_t **)arg;
    free(arg);
    if (!p->alive) proc_start(p);
}
void proc_restart_later(proc_t *p, int64_t ms) {
    proc_t **arg = xmalloc(sizeof *arg);
    *arg = p;
    sim_at(p->s, p->s->now + ms * SIM_MS, NULL, restart, arg, NULL);
}

/* Whoever was marked is taken apart between two events. */
static void bury(sim_t *s) {
    for (int i = 0; i < s->nprocs; i++) {
        proc_t *p = &s->procs[i];
        if (!p->alive || !p->dying) continue;
        proc_kill(p, p->machine_lost);
        proc_restart_later(p, sim_between(s, 20, 800));
    }
}

bool sim_step(sim_t *s) {
    if (s->broken || s->heap->n == 0) return false;
    sim_event_t e = heap_pop(s->heap);
    ASSERT(e.at >= s->now);
    s->now = e.at;
    if (e.p && (!e.p->alive || e.p->gen != e.gen)) {
        e.drop(e.arg);
        return true;
    }
    if (e.p && e.p->paused_until > s->now) { /* it finds all of it when it wakes up, in order */
        e.at = MIN(e.p->paused_until, (s->now / LOOK_US + 1) * LOOK_US); /* it may be woken before; all at once, so that they keep their order */
        e.seq = s->heap->seq++; /* of two that came while it slept the earlier first */
        heap_push(s->heap, e);
        return true;
    }
    e.fn(s, e.arg);
    bury(s);
    return !s->broken;
}

void sim_run_until(sim_t *s, int64_t at) {
    while (s->heap->n > 0 && s->heap->items[0].at <= at)
        if (!sim_step(s)) return;
    s->now = MAX(s->now, at);
}

/* ---------------------------------------------------------------- life */
sim_t *sim_new(uint64_t seed, job_kind_t kind) {
    sim_t *s = xcalloc(1, sizeof *s);
    s->seed = seed;
    rng_seed(&s->rng, seed);
    s->heap = xcalloc(1, sizeof *s->heap);
    s->text = buf_make((size_t)256 << 20);
    s->now = 1000 * SIM_MS;
    s->aimed = -1;
    s->mix = (mix_t){.fault_every_ms = 100, .latency_us = 300, .disk_us = 2000, .txn_timeout_ms = 10000, .base_interval_ms = 300,
                     .workers = SIM_WORKERS};
    s->disk = disk_model_new(s);
    s->etcd = etcd_new(s);
    s->kafka = kafka_new(s);
    s->direct = direct_new(s);
    s->nprocs = SIM_COORDS + SIM_WORKERS;
    for (int i = 0; i < s->nprocs; i++) {
        s->procs[i] = (proc_t){.s = s, .index = i};
        snprintf(s->procs[i].name, sizeof s->procs[i].name, i < SIM_COORDS ? "c%d" : "w%d", i < SIM_COORDS ? i + 1 : i - SIM_COORDS + 1);
    }
    sim_job_make(&s->job, kind);
    return s;
}

void sim_free(sim_t *s) {
    if (!s) return;
    for (int i = 0; i < s->nprocs; i++) proc_kill(&s->procs[i], false);
    clink_free_all(s);
    while (s->heap->n) {
        sim_event_t e = s->heap->items[--s->heap->n];
        e.drop(e.arg);
    }
    free(s->heap->items);
    free(s->heap);
    kafka_free(s->kafka);
    direct_free(s->direct);
    etcd_free(s->etcd);
    disk_model_free(s->disk);
    sim_job_done(&s->job);
    free(s->loose);
    buf_free(&s->text);
    free(s->broken);
    free(s);
}
