/* sim_sink.c: a sink that writes at once, as Kafka without transactions: records leave in the order of the rows, each is delivered a while later and
 * reported after that. An epoch has settled when all before its barrier were reported (hazards A15). What was not delivered when its process dies, or
 * the attempt ends, is lost with it. */
#include "engine/operator.h"
#include "tests/sim/sim.h"
#include <stdlib.h>

typedef struct section { epoch_t epoch; uint64_t unacked; } section_t; /* epoch 0: the open one, the last */
typedef struct direct {
    direct_log_t *log;
    struct direct *next;
    uint64_t serial, first; /* of sections[0], counted over the life of the sink */
    proc_t *p;
    void (*wake)(void *arg);
    void *wake_arg;
    int64_t ready; /* the connection keeps the order */
    int n, cap;
    section_t *sections;
} direct_t;
struct direct_log {
    sim_t *s;
    direct_t *sinks;
    uint64_t sent;
    int n, cap;
    char **lines; /* delivered, some twice after a restart */
};
typedef struct flight { direct_log_t *log; uint64_t serial, section; char *line; } flight_t;

direct_log_t *direct_new(sim_t *s) {
    direct_log_t *l = xcalloc(1, sizeof *l);
    l->s = s;
    return l;
}
void direct_free(direct_log_t *l) {
    for (int i = 0; i < l->n; i++) free(l->lines[i]);
    free(l->lines);
    free(l);
}
char *const *direct_lines(const direct_log_t *l, int *ret_n) {
    *ret_n = l->n;
    return l->lines;
}
uint64_t direct_undelivered(const direct_log_t *l) { return l->sent - (uint64_t)l->n; }

static void flight_drop(void *arg) {
    free(((flight_t *)arg)->line);
    free(arg);
}
static direct_t *sink_of(const flight_t *f) {
    for (direct_t *d = f->log->sinks; d; d = d->next)
        if (d->serial == f->serial) return d;
    return NULL;
}
static void reported(sim_t *s, void *arg) {
    flight_t *f = arg;
    direct_t *d = sink_of(f);
    if (d) {
        d->sections[f->section - d->first].unacked--;
        d->wake(d->wake_arg);
    }
    flight_drop(f);
}
static void arrives(sim_t *s, void *arg) {
    flight_t *f = arg;
    direct_t *d = sink_of(f);
    if (!d) { /* its producer is gone */
        flight_drop(f);
        return;
    }
    int64_t down = kafka_down_until(s->kafka);
    if (down > s->now) {
        sim_at(s, down + SIM_MS, d->p, arrives, f, flight_drop);
        return;
    }
    if (f->log->n == f->log->cap) f->log->lines = xrealloc(f->log->lines, (size_t)(f->log->cap = f->log->cap ? 2 * f->log->cap : 1024) * sizeof(char *));
    f->log->lines[f->log->n++] = TAKE(f->line);
    sim_at(s, s->now + sim_latency(s), d->p, reported, f, flight_drop);
}

/* Instances get no argument of ours: the process that builds a task says so before. One thread. */
static _Thread_local proc_t *opener;
void direct_opens_at(proc_t *p) { opener = p; }

static err_t *direct_open(sink_t *s) {
    direct_t *d = s->self;
    direct_log_t *l = opener->s->direct;
    *d = (direct_t){.log = l, .next = l->sinks, .serial = ++opener->s->serial, .p = opener, .wake = s->env.wake, .wake_arg = s->env.wake_arg, .n = 1, .cap = 8};
    d->sections = xcalloc(8, sizeof *d->sections);
    l->sinks = d;
    return NULL;
}
static op_status_t direct_write(sink_t *s, const batch_t *b, err_t **reterr) {
    direct_t *d = s->self;
    sim_t *sim = d->log->s;
    for (uint32_t i = 0; i < b->n; i++) {
        flight_t *f = xcalloc(1, sizeof *f);
        str_t k = b->cols[1].str[i];
        *f = (flight_t){d->log, d->serial, d->first + (uint64_t)d->n - 1, direct_line(b->cols[0].i64[i], slice_of(k.p, k.len), b->cols[2].i64[i])};
        d->sections[d->n - 1].unacked++;
        d->log->sent++;
        d->ready = MAX(d->ready, sim->now + sim_latency(sim));
        sim_at(sim, d->ready, d->p, arrives, f, flight_drop);
    }
    return OP_DONE;
}
static op_status_t direct_seal(sink_t *s, epoch_t epoch, buf_t *bytes, buf_t *segment, err_t **reterr) {
    direct_t *d = s->self;
    d->sections[d->n - 1].epoch = epoch;
    if (d->n == d->cap) d->sections = xrealloc(d->sections, (size_t)(d->cap *= 2) * sizeof *d->sections);
    d->sections[d->n++] = (section_t){0};
    return OP_DONE;
}
static op_status_t direct_settle(sink_t *s, epoch_t epoch, err_t **reterr) {
    direct_t *d = s->self;
    int done = 0;
    while (d->sections[done].epoch && !d->sections[done].unacked) done++;
    d->first += (uint64_t)done;
    d->n -= done;
    memmove(d->sections, d->sections + done, (size_t)d->n * sizeof *d->sections);
    return d->sections[0].epoch && d->sections[0].epoch <= epoch ? OP_MORE : OP_DONE;
}
static void direct_close(sink_t *s) {
    direct_t *d = s->self;
    if (!d->log) return; /* it was never opened */
    for (direct_t **at = &d->log->sinks; *at; at = &(*at)->next) {
        if (*at != d) continue;
        *at = d->next;
        break;
    }
    free(d->sections);
}
static const sink_vtable_t direct_sink = {.connector = "kafka", .state_size = sizeof(direct_t), .open = direct_open, .write = direct_write,
                                          .seal = direct_seal, .settle = direct_settle, .close = direct_close};
const sink_vtable_t *direct_find(const char *connector) { return &direct_sink; }
