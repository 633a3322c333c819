/* sim_channel.c: data links between workers. Elements arrive in order, after a while; capacity is bounded in bytes, so that producers wait. Batches pass
 * through the real codec. Nothing reconnects inside an attempt (hazards A6): a broken link is told to both ends. */
#include "tests/sim/sim.h"
#include <stdlib.h>

#define XCHAN_BYTES (16u << 10)

typedef struct xelem { int64_t ready; element_t e; size_t size; } xelem_t;
struct xchan {
    channel_out_t out;
    channel_in_t in;
    xchan_t *next;
    sim_t *s;
    xchan_key_t key;
    proc_t *producer, *consumer;
    uint32_t pgen, cgen;
    int from_stage, to_stage;
    const schema_t *schema;
    bool open_out, open_in, starved, broken;
    size_t bytes;
    int64_t last;
    int head, n, cap;
    xelem_t *items;
};
typedef struct xwake { proc_t *p; xchan_key_t key; int stage, subtask; char peer[8]; } xwake_t;

static void wake(sim_t *s, void *arg) {
    xwake_t *x = arg;
    sim_worker_wake(x->p, x->key.job, x->key.attempt, x->stage, x->subtask);
    free(x);
}
static void wake_at(xchan_t *c, int64_t at, bool consumer) {
    proc_t *p = consumer ? c->consumer : c->producer;
    if (!p->alive || p->gen != (consumer ? c->cgen : c->pgen)) return;
    xwake_t *x = xcalloc(1, sizeof *x);
    *x = (xwake_t){p, c->key, consumer ? c->to_stage : c->from_stage, consumer ? c->key.to : c->key.from, ""};
    sim_at(c->s, at, p, wake, x, NULL);
}

static bool out_full_(channel_out_t *o) {
    xchan_t *c = CONTAINER_OF(o, xchan_t, out);
    if (c->bytes < XCHAN_BYTES || c->broken) return false;
    c->starved = true;
    return true;
}
static batch_t *through_codec(xchan_t *c, batch_t *b) {
    AUTO(buf_free) buf_t bytes = buf_make((size_t)64 << 20);
    batch_encode(&bytes, b);
    batch_free(b);
    batch_t *copy = NULL;
    err_t *e = batch_decode(buf_slice(&bytes), c->schema, &copy);
    if (e) sim_broken(c->s, "a batch does not survive its codec: %s", err_text(e));
    err_free(e);
    return copy;
}
static void out_send(channel_out_t *o, element_t e) {
    xchan_t *c = CONTAINER_OF(o, xchan_t, out);
    if (c->broken) {
        batch_free(e.batch);
        return;
    }
    if (e.batch) e.batch = through_codec(c, e.batch);
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 8;
        c->items = xrealloc(c->items, (size_t)c->cap * sizeof *c->items);
    }
    c->last = MAX(c->last, c->s->now + sim_latency(c->s));
    xelem_t x = {c->last, e, e.batch ? batch_bytes(e.batch) : 0};
    c->bytes += x.size;
    c->items[c->n++] = x;
    wake_at(c, c->last, true);
}
static bool in_receive(channel_in_t *i, element_t *ret) {
    xchan_t *c = CONTAINER_OF(i, xchan_t, in);
    sim_t *s = c->s;
    int64_t cut = MAX(c->producer->cut_until, c->consumer->cut_until);
    if (c->head == c->n || c->items[c->head].ready > s->now) return false;
    if (cut > s->now) {
        wake_at(c, cut + SIM_MS, true);
        return false;
    }
    xelem_t x = c->items[c->head++];
    if (c->head == c->n) c->head = c->n = 0;
    c->bytes -= x.size;
    if (c->starved && c->bytes <= XCHAN_BYTES / 2) {
        c->starved = false;
        wake_at(c, s->now + sim_latency(s), false);
    }
    *ret = x.e;
    return true;
}
static void release(xchan_t *c) {
    if (c->open_in || c->open_out) return;
    for (xchan_t **at = &c->s->chans; *at; at = &(*at)->next) {
        if (*at != c) continue;
        *at = c->next;
        break;
    }
    for (; c->head < c->n; c->head++) batch_free(c->items[c->head].e.batch);
    free(c->items);
    free(c);
}
static void out_close(channel_out_t *o) {
    xchan_t *c = CONTAINER_OF(o, xchan_t, out);
    c->open_out = false;
    release(c);
}
static void in_close(channel_in_t *i) {
    xchan_t *c = CONTAINER_OF(i, xchan_t, in);
    c->open_in = false;
    release(c);
}

static xchan_t *find(sim_t *s, const xchan_key_t *k, proc_t *producer, proc_t *consumer, const schema_t *schema) {
    xchan_t **at = &s->chans;
    for (; *at; at = &(*at)->next) {
        const xchan_key_t *x = &(*at)->key;
        if (x->job == k->job && x->attempt == k->attempt && x->edge == k->edge && x->from == k->from && x->to == k->to) return *at;
    }
    xchan_t *c = *at = xcalloc(1, sizeof *c);
    *c = (xchan_t){.out = {out_full_, out_send, out_close}, .in = {in_receive, in_close}, .s = s, .key = *k, .producer = producer,
                   .consumer = consumer, .pgen = producer->gen, .cgen = consumer->gen, .schema = schema, .from_stage = -1, .to_stage = -1};
    return c;
}
channel_out_t *xchan_open_out(sim_t *s, const xchan_key_t *k, proc_t *producer, proc_t *consumer, int stage, const schema_t *schema) {
    xchan_t *c = find(s, k, producer, consumer, schema);
    ASSERT(!c->open_out);
    c->open_out = true;
    c->from_stage = stage;
    return &c->out;
}
channel_in_t *xchan_open_in(sim_t *s, const xchan_key_t *k, proc_t *producer, proc_t *consumer, int stage, const schema_t *schema) {
    xchan_t *c = find(s, k, producer, consumer, schema);
    ASSERT(!c->open_in);
    c->open_in = true;
    c->to_stage = stage;
    for (int i = c->head; i < c->n; i++) wake_at(c, c->items[i].ready, true);
    return &c->in;
}

static void failed(sim_t *s, void *arg) {
    xwake_t *x = arg;
    sim_worker_link_failed(x->p, x->key.job, x->key.attempt, x->peer);
    free(x);
}
static void tell(xchan_t *c, proc_t *p, uint32_t gen, proc_t *peer) {
    if (!p->alive || p->dying || p->gen != gen) return;
    xwake_t *x = xcalloc(1, sizeof *x);
    *x = (xwake_t){.p = p, .key = c->key};
    memcpy(x->peer, peer->name, sizeof x->peer);
    sim_at(c->s, c->s->now + sim_latency(c->s), p, failed, x, NULL);
}
bool xchan_break(sim_t *s, proc_t *a, proc_t *b) {
    bool any = false;
    for (xchan_t *c = s->chans; c; c = c->next) {
        if (c->broken || !((c->producer == a && c->consumer == b) || (c->producer == b && c->consumer == a))) continue;
        c->broken = true;
        tell(c, c->producer, c->pgen, c->consumer);
        tell(c, c->consumer, c->cgen, c->producer);
        any = true;
    }
    return any;
}
void xchan_proc_died(sim_t *s, proc_t *p) {
    for (xchan_t *c = s->chans; c; c = c->next) {
        if (c->broken) continue;
        bool out = c->producer == p && c->pgen == p->gen, in = c->consumer == p && c->cgen == p->gen;
        if (!out && !in) continue;
        c->broken = true;
        if (out && c->consumer != p) tell(c, c->consumer, c->cgen, p);
        if (in && c->producer != p) tell(c, c->producer, c->pgen, p);
    }
}
