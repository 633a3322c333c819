/* kafka.c: what of Kafka exactly-once rests on: the transaction coordinator of the brokers, and the client as worker/lane_kafka.c uses it.
 *
 * Broker, per transactional id: an epoch (fencing), at most one transaction: OPEN -> PREPARED -> COMMITTED, OPEN -> ABORTING -> ABORTED; the
 * second steps are the markers, a while later: until then the last stable offset stands before its records. init_transactions waits for the
 * markers of what was prepared, aborts what is open, raises the epoch. The time-out aborts and raises the epoch, too.
 * One data partition and one ledger partition per lane; the ledger record is in the same transaction.
 *
 * Client: each init makes a new connection; requests of a connection keep their order; answers may be lost: then the client's deadline says "doubt". */
#include "tests/sim/sim.h"
#include "engine/lane.h"
#include <stdio.h>
#include <stdlib.h>

#define INIT_MS 600
#define READ_MS 1500
#define SEND_MS 1200
#define CHUNKS 3

typedef enum txn_state { TXN_OPEN, TXN_PREPARED, TXN_COMMITTED, TXN_ABORTING, TXN_ABORTED } txn_state_t;
typedef struct record { uint32_t txn; bool has_key, has_value; buf_t key, value; } record_t;
typedef struct ledger_rec { uint32_t txn; ledger_pos_t pos; } ledger_rec_t;
typedef struct tid {
    char id[48], table[16];
    int lane;
    uint32_t epoch;
    int ntxns, captxns;
    txn_state_t *txns;
    int64_t opened;
    size_t n, cap;
    record_t *log;
    size_t nledger, capledger;
    ledger_rec_t *ledger;
} tid_t;

struct lane_handle {
    lane_handle_t *next;
    kafka_t *k;
    proc_t *p;
    uint32_t gen;
    uint64_t serial;
    tid_t *tid;
    job_id_t job; attempt_t attempt;
    void (*answer)(void *arg, lane_answer_t a);
    void *arg;
    uint64_t action;   /* number of the outstanding one; 0 none */
    uint64_t actions;
    uint32_t epoch;
    int64_t ready;     /* of the connection */
    int64_t pace_ms;
    /* SEND */
    size_t n, sent; record_t *records;
    ledger_pos_t pos;
    int chunk;
};
typedef struct client { lane_driver_t vt; kafka_t *k; proc_t *p; struct client *next; } client_t;
struct kafka {
    sim_t *s;
    int ntids;
    tid_t *tids[16];
    lane_handle_t *handles;
    client_t *clients;
    int64_t down_until;
    kafka_loss_t lose;
};

typedef enum req_kind { REQ_INIT, REQ_READ, REQ_PRODUCE, REQ_END } req_kind_t;
typedef struct req {
    kafka_t *k;
    req_kind_t kind;
    uint64_t handle, action;
    proc_t *p; uint32_t gen;
    tid_t *tid;
    uint32_t epoch;
    kafka_loss_t loss;
    size_t n; record_t *records;
    bool last; ledger_pos_t pos;
    size_t hw; bool hw_known;
    int64_t give_up;
} req_t;

static void record_free(record_t *r) {
    buf_free(&r->key);
    buf_free(&r->value);
}
static void req_drop(void *arg) {
    req_t *q = arg;
    for (size_t i = 0; i < q->n; i++) record_free(&q->records[i]);
    free(q->records);
    free(q);
}
static lane_handle_t *handle_of(kafka_t *k, uint64_t serial) {
    for (lane_handle_t *h = k->handles; h; h = h->next)
        if (h->serial == serial) return h;
    return NULL;
}

/* ---------------------------------------------------------------- client: answers */
static void sends_free(lane_handle_t *h) {
    for (size_t i = h->sent; i < h->n; i++) record_free(&h->records[i]);
    free(TAKE(h->records));
    h->n = h->sent = 0;
}
typedef struct later { uint64_t handle, action; lane_answer_t a; } later_t;
static void later_drop(void *arg) {
    err_free(((later_t *)arg)->a.error);
    free(arg);
}
static void give(lane_handle_t *h, lane_answer_t a) {
    sends_free(h);
    h->action = 0;
    h->answer(h->arg, a);
}
static void give_later(sim_t *s, void *arg) {
    later_t *l = arg;
    lane_handle_t *h = handle_of(s->kafka, l->handle);
    if (h && h->action == l->action) {
        lane_answer_t a = l->a;
        l->a.error = NULL;
        give(h, a);
    }
    later_drop(l);
}
/* The client paces itself before it says that it is in doubt. */
static void finish(lane_handle_t *h, lane_answer_kind_t kind, const ledger_pos_t *pos) {
    sim_t *s = h->k->s;
    later_t *l = xcalloc(1, sizeof *l);
    *l = (later_t){h->serial, h->action, {.kind = kind}};
    if (pos) l->a.pos = *pos;
    bool bad = kind == LANE_ANSWER_DOUBT || kind == LANE_ANSWER_FENCED;
    if (bad) l->a.error = err_new(kind == LANE_ANSWER_DOUBT ? ERR_TIMEOUT : ERR_FENCED, "kafka model");
    h->pace_ms = kind == LANE_ANSWER_DOUBT ? MIN(h->pace_ms ? 2 * h->pace_ms : 10, (int64_t)500) : 0;
    sim_at(s, s->now + h->pace_ms * SIM_MS, h->p, give_later, l, later_drop);
}
static void deadline(sim_t *s, void *arg) {
    later_t *l = arg;
    lane_handle_t *h = handle_of(s->kafka, l->handle);
    if (h && h->action == l->action) {
        sim_log(s, "%s: lane %d in doubt", h->p->name, h->tid->lane);
        finish(h, LANE_ANSWER_DOUBT, NULL);
    }
    later_drop(l);
}

/* ---------------------------------------------------------------- the network between them */
static void serve(sim_t *s, void *arg);
static req_t *req_new(lane_handle_t *h, req_kind_t kind) {
    req_t *q = xcalloc(1, sizeof *q);
    *q = (req_t){.k = h->k, .kind = kind, .handle = h->serial, .action = h->action, .p = h->p, .gen = h->gen, .tid = h->tid, .epoch = h->epoch};
    q->give_up = h->k->s->now + 3000 * SIM_MS;
    return q;
}
static void request(lane_handle_t *h, req_t *q) {
    sim_t *s = h->k->s;
    h->ready = MAX(h->ready, MAX(s->now + sim_latency(s), h->p->cut_until));
    sim_at(s, h->ready, NULL, serve, q, req_drop);
}
typedef struct ans { uint64_t handle, action; req_kind_t kind; lane_answer_kind_t what; ledger_pos_t pos; uint32_t epoch; bool last; } ans_t;
static void answered(sim_t *s, void *arg);
static void reply(req_t *q, lane_answer_kind_t what) {
    sim_t *s = q->k->s;
    if (!q->p->alive || q->p->gen != q->gen) return;
    ans_t *a = xcalloc(1, sizeof *a);
    *a = (ans_t){q->handle, q->action, q->kind, what, q->pos, q->epoch, q->last};
    sim_at(s, MAX(s->now + sim_latency(s), q->p->cut_until), q->p, answered, a, NULL);
}

/* ---------------------------------------------------------------- broker */
static int current(const tid_t *t) { return t->ntxns - 1; }
static bool busy(const tid_t *t, txn_state_t st) { return t->ntxns && t->txns[current(t)] == st; }
typedef struct marker { tid_t *t; int txn; } marker_t;
static void mark(sim_t *s, void *arg) {
    marker_t *m = arg;
    txn_state_t *x = &m->t->txns[m->txn];
    *x = *x == TXN_PREPARED ? TXN_COMMITTED : TXN_ABORTED;
    sim_log(s, "kafka: %s transaction %d %s", m->t->id, m->txn, *x == TXN_COMMITTED ? "committed" : "aborted");
    free(m);
}
static void decide(kafka_t *k, tid_t *t, txn_state_t st) {
    t->txns[current(t)] = st;
    marker_t *m = xcalloc(1, sizeof *m);
    *m = (marker_t){t, current(t)};
    sim_at(k->s, k->s->now + sim_between(k->s, 1, 30) * SIM_MS, NULL, mark, m, NULL);
}
static void expired(sim_t *s, void *arg) {
    marker_t *m = arg;
    if (current(m->t) == m->txn && busy(m->t, TXN_OPEN)) {
        sim_reach(s, ROW_TXN_EXPIRED);
        m->t->epoch++;
        decide(s->kafka, m->t, TXN_ABORTING);
    }
    free(m);
}
static void again(req_t *q, int64_t ms) { sim_at(q->k->s, q->k->s->now + ms * SIM_MS, NULL, serve, q, req_drop); }

static bool serve_init(req_t *q) {
    tid_t *t = q->tid;
    sim_t *s = q->k->s;
    if (s->now > q->give_up) return true;
    if (busy(t, TXN_OPEN)) {
        sim_reach(s, ROW_TXN_FENCED);
        t->epoch++; /* the zombie is out from now on */
        decide(q->k, t, TXN_ABORTING);
    }
    if (busy(t, TXN_PREPARED) || busy(t, TXN_ABORTING)) { /* CONCURRENT_TRANSACTIONS: the client asks again */
        again(q, 15);
        return false;
    }
    q->epoch = ++t->epoch;
    sim_log(s, "kafka: %s epoch %u belongs to %s", t->id, t->epoch, q->p->name);
    if (q->loss == KAFKA_LOSE_INIT_ANSWER) sim_reach(s, ROW_INIT_LOST);
    else reply(q, LANE_ANSWER_INITIALISED);
    return true;
}
static bool serve_read(req_t *q) {
    tid_t *t = q->tid;
    if (!q->hw_known) q->hw = t->nledger;
    q->hw_known = true;
    if (q->k->s->now > q->give_up) return true;
    for (size_t i = 0; i < q->hw; i++) {
        txn_state_t st = t->txns[t->ledger[i].txn];
        if (st == TXN_COMMITTED || st == TXN_ABORTED) continue;
        again(q, 10); /* the last stable offset has not reached the high watermark */
        return false;
    }
    for (size_t i = q->hw; i-- > 0;) {
        if (t->txns[t->ledger[i].txn] != TXN_COMMITTED) continue;
        q->pos = t->ledger[i].pos;
        q->pos.present = true;
        q->pos.offset = (int64_t)i;
        break;
    }
    reply(q, LANE_ANSWER_LEDGER);
    return true;
}
static void open_txn(kafka_t *k, tid_t *t) {
    if (t->ntxns == t->captxns) {
        t->captxns = t->captxns ? 2 * t->captxns : 16;
        t->txns = xrealloc(t->txns, (size_t)t->captxns * sizeof *t->txns);
    }
    t->txns[t->ntxns++] = TXN_OPEN;
    marker_t *m = xcalloc(1, sizeof *m);
    *m = (marker_t){t, current(t)};
    sim_at(k->s, k->s->now + k->s->mix.txn_timeout_ms * SIM_MS, NULL, expired, m, NULL);
}
static void append(tid_t *t, req_t *q) {
    for (size_t i = 0; i < q->n; i++) {
        if (t->n == t->cap) {
            t->cap = t->cap ? 2 * t->cap : 64;
            t->log = xrealloc(t->log, t->cap * sizeof *t->log);
        }
        t->log[t->n] = q->records[i];
        t->log[t->n++].txn = (uint32_t)current(t);
    }
    q->n = 0;
    if (!q->last) return;
    if (t->nledger == t->capledger) {
        t->capledger = t->capledger ? 2 * t->capledger : 64;
        t->ledger = xrealloc(t->ledger, t->capledger * sizeof *t->ledger);
    }
    t->ledger[t->nledger++] = (ledger_rec_t){(uint32_t)current(t), q->pos};
}
static bool serve_produce(req_t *q) {
    tid_t *t = q->tid;
    if (q->epoch != t->epoch) {
        reply(q, LANE_ANSWER_FENCED);
        return true;
    }
    if (busy(t, TXN_PREPARED) || busy(t, TXN_ABORTING)) { /* markers of the last one are not written */
        again(q, 5);
        return false;
    }
    if (!busy(t, TXN_OPEN)) open_txn(q->k, t);
    append(t, q);
    reply(q, LANE_ANSWER_COMMITTED);
    return true;
}
static void check_ledger(kafka_t *k, tid_t *t) {
    const ledger_rec_t *now = NULL, *old = NULL;
    for (size_t i = 0; i < t->nledger; i++) {
        txn_state_t st = t->txns[t->ledger[i].txn];
        if (st != TXN_COMMITTED && st != TXN_PREPARED) continue;
        old = now;
        now = &t->ledger[i];
    }
    if (!now) return;
    const manifest_t *m = etcd_manifest(k->s->etcd);
    bool same = old && old->pos.incarnation == now->pos.incarnation;
    if (same && (now->pos.epoch < old->pos.epoch || (now->pos.epoch == old->pos.epoch && now->pos.next_row <= old->pos.next_row)))
        sim_broken(k->s, "ledger of %s goes from epoch %" PRIu64 " to %" PRIu64, t->id, old->pos.epoch, now->pos.epoch);
    if (!m || now->pos.epoch > m->epoch)
        sim_broken(k->s, "ledger of %s shows epoch %" PRIu64 ", which is not durable", t->id, now->pos.epoch);
}
static bool serve_end(req_t *q) {
    tid_t *t = q->tid;
    if (q->epoch != t->epoch || !busy(t, TXN_OPEN)) {
        reply(q, q->epoch != t->epoch ? LANE_ANSWER_FENCED : LANE_ANSWER_DOUBT);
        return true;
    }
    decide(q->k, t, TXN_PREPARED);
    check_ledger(q->k, t);
    if (q->loss == KAFKA_LOSE_COMMIT_ANSWER) sim_reach(q->k->s, ROW_COMMIT_LOST);
    else reply(q, LANE_ANSWER_COMMITTED);
    return true;
}
static void serve(sim_t *s, void *arg) {
    req_t *q = arg;
    if (q->k->down_until > s->now) { /* connections break; nobody answers */
        req_drop(q);
        return;
    }
    bool done = q->kind == REQ_INIT ? serve_init(q) : q->kind == REQ_READ ? serve_read(q) : q->kind == REQ_PRODUCE ? serve_produce(q) : serve_end(q);
    if (done) req_drop(q);
}

/* ---------------------------------------------------------------- client: actions */
static void send_chunk(lane_handle_t *h) {
    sim_t *s = h->k->s;
    if (sim_point(s, h->p, h->chunk ? ROW_IN_TXN : ROW_SEND)) return;
    req_t *q = req_new(h, REQ_PRODUCE);
    size_t upto = h->chunk == CHUNKS - 1 ? h->n : MIN(h->n, (h->n * (size_t)(h->chunk + 1) + CHUNKS - 1) / CHUNKS);
    q->n = upto - h->sent;
    q->records = xcalloc(q->n + 1, sizeof *q->records);
    memcpy(q->records, h->records + h->sent, q->n * sizeof *q->records);
    h->sent = upto;
    q->last = upto == h->n;
    q->pos = h->pos;
    h->chunk++;
    request(h, q);
}
static void send_commit(lane_handle_t *h) {
    sim_t *s = h->k->s;
    if (sim_point(s, h->p, ROW_IN_TXN)) return;
    req_t *q = req_new(h, REQ_END);
    q->pos = h->pos;
    if (h->k->lose >= KAFKA_LOSE_COMMIT && h->k->lose <= KAFKA_LATE_COMMIT) {
        q->loss = h->k->lose;
        s->faults++;
        h->k->lose = KAFKA_FINE;
    }
    if (q->loss == KAFKA_LOSE_COMMIT) {
        sim_reach(s, ROW_COMMIT_NOT);
        req_drop(q);
    } else if (q->loss == KAFKA_LATE_COMMIT) {
        sim_reach(s, ROW_COMMIT_LATE);
        sim_at(s, s->now + sim_between(s, 200, 2500) * SIM_MS, NULL, serve, q, req_drop);
    } else {
        request(h, q);
    }
    sim_point(s, h->p, ROW_COMMIT_SENT);
}
static void answered(sim_t *s, void *arg) {
    ans_t *a = arg;
    lane_handle_t *h = handle_of(s->kafka, a->handle);
    if (!h || h->action != a->action) {
        free(a);
        return;
    }
    if (a->what == LANE_ANSWER_FENCED) {
        sim_log(s, "%s: lane %d is fenced", h->p->name, h->tid->lane);
        finish(h, LANE_ANSWER_FENCED, NULL);
    } else if (a->what == LANE_ANSWER_DOUBT) {
        finish(h, LANE_ANSWER_DOUBT, NULL);
    } else if (a->kind == REQ_INIT) {
        h->epoch = a->epoch;
        finish(h, LANE_ANSWER_INITIALISED, NULL);
    } else if (a->kind == REQ_READ) {
        finish(h, LANE_ANSWER_LEDGER, &a->pos);
    } else if (a->kind == REQ_PRODUCE) {
        if (a->last) send_commit(h);
        else send_chunk(h);
    } else if (!sim_point(s, h->p, a->pos.epoch_done ? ROW_COMMITTED : ROW_BETWEEN_PARTS)) {
        finish(h, LANE_ANSWER_COMMITTED, &a->pos);
    }
    free(a);
}

static void take_records(lane_handle_t *h, const lane_action_t *a) {
    sends_free(h);
    h->pos = a->ledger;
    h->chunk = 0;
    size_t n = 0;
    for (int i = 0; i < a->nparts; i++) n += a->parts[i].rows;
    h->records = xcalloc(n + 1, sizeof *h->records);
    for (int i = 0; i < a->nparts; i++) {
        reader_t r = a->parts[i].records;
        for (uint64_t k = 0; k < a->parts[i].rows; k++) {
            lane_record_t x;
            bool ok = segment_next(&r, &x);
            ASSERT(ok);
            record_t *to = &h->records[h->n++];
            *to = (record_t){.has_key = x.has_key, .has_value = x.has_value, .key = buf_make(1 << 20), .value = buf_make(1 << 20)};
            buf_put(&to->key, x.key.p, x.key.len);
            buf_put(&to->value, x.value.p, x.value.len);
        }
    }
}
static void client_start(lane_driver_t *d, lane_handle_t *h, const lane_action_t *a) {
    kafka_t *k = h->k;
    sim_t *s = k->s;
    h->action = ++h->actions;
    int64_t limit = a->kind == LANE_DO_INIT ? INIT_MS : a->kind == LANE_DO_READ ? READ_MS : SEND_MS;
    later_t *l = xcalloc(1, sizeof *l);
    *l = (later_t){h->serial, h->action, {0}};
    sim_at(s, s->now + limit * SIM_MS, h->p, deadline, l, later_drop);
    if (a->kind == LANE_DO_INIT) {
        if (sim_point(s, h->p, ROW_INIT)) return;
        h->ready = 0; /* a new connection */
        h->epoch = 0;
        req_t *q = req_new(h, REQ_INIT);
        q->give_up = s->now + limit * SIM_MS;
        if (k->lose == KAFKA_LOSE_INIT_ANSWER) {
            q->loss = k->lose;
            s->faults++;
            k->lose = KAFKA_FINE;
        }
        request(h, q);
    } else if (a->kind == LANE_DO_READ) {
        request(h, req_new(h, REQ_READ));
    } else {
        take_records(h, a);
        send_chunk(h);
    }
}

static tid_t *tid_of(kafka_t *k, const char *id, const char *table, int lane) {
    for (int i = 0; i < k->ntids; i++)
        if (!strcmp(k->tids[i]->id, id)) return k->tids[i];
    tid_t *t = k->tids[k->ntids++] = xcalloc(1, sizeof *t);
    snprintf(t->id, sizeof t->id, "%s", id);
    snprintf(t->table, sizeof t->table, "%s", table);
    t->lane = lane;
    return t;
}
static err_t *client_open(lane_driver_t *d, const lane_spec_t *spec, void (*answer)(void *arg, lane_answer_t a), void *arg, lane_handle_t **ret) {
    client_t *c = CONTAINER_OF(d, client_t, vt);
    char id[48];
    snprintf(id, sizeof id, "%s/%s/%d", spec->job, spec->op->table->name, spec->lane);
    lane_handle_t *h = xcalloc(1, sizeof *h);
    *h = (lane_handle_t){.k = c->k, .p = c->p, .gen = c->p->gen, .serial = ++c->k->s->serial, .tid = tid_of(c->k, id, spec->op->table->name,
        spec->lane), .answer = answer,
                         .arg = arg};
    h->next = c->k->handles;
    c->k->handles = h;
    *ret = h;
    return NULL;
}
static void client_close(lane_driver_t *d, lane_handle_t *h) {
    kafka_t *k = h->k;
    for (lane_handle_t **at = &k->handles; *at; at = &(*at)->next) {
        if (*at != h) continue;
        *at = h->next;
        break;
    }
    sends_free(h);
    void (*answer)(void *, lane_answer_t) = h->answer;
    void *arg = h->arg;
    free(h);
    answer(arg, (lane_answer_t){.kind = LANE_ANSWER_CLOSED});
}
lane_driver_t *kafka_driver(kafka_t *k, proc_t *p) {
    client_t *c = xcalloc(1, sizeof *c);
    *c = (client_t){{client_open, client_start, client_close, k->s->mix.txn_bytes}, k, p, k->clients};
    k->clients = c;
    return &c->vt;
}

/* ---------------------------------------------------------------- life, faults, looks */
kafka_t *kafka_new(sim_t *s) {
    kafka_t *k = xcalloc(1, sizeof *k);
    k->s = s;
    return k;
}
void kafka_free(kafka_t *k) {
    for (int i = 0; i < k->ntids; i++) {
        tid_t *t = k->tids[i];
        for (size_t n = 0; n < t->n; n++) record_free(&t->log[n]);
        free(t->log);
        free(t->ledger);
        free(t->txns);
        free(t);
    }
    while (k->clients) {
        client_t *c = k->clients;
        k->clients = c->next;
        free(c);
    }
    free(k);
}
void kafka_down(kafka_t *k, int64_t until) {
    k->down_until = MAX(k->down_until, until);
    sim_reach(k->s, ROW_BROKER_DOWN);
}
void kafka_lose_next(kafka_t *k, kafka_loss_t how) { k->lose = how; }
void kafka_fault(kafka_t *k) {
    k->lose = (kafka_loss_t)(1 + sim_below(k->s, 4));
    sim_log(k->s, "fault: kafka %d", (int)k->lose);
}
void kafka_heal(kafka_t *k) {
    k->lose = KAFKA_FINE;
    k->down_until = 0;
}
void kafka_read(kafka_t *k, const char *table, void (*fn)(void *arg, int lane, bool has_key, slice_t key, bool has_value, slice_t value), void *arg) {
    for (int i = 0; i < k->ntids; i++) {
        const tid_t *t = k->tids[i];
        if (strcmp(t->table, table) != 0) continue;
        for (size_t n = 0; n < t->n; n++) {
            const record_t *r = &t->log[n];
            txn_state_t st = t->txns[r->txn];
            if (st != TXN_COMMITTED && st != TXN_ABORTED) break; /* the last stable offset */
            if (st == TXN_COMMITTED) fn(arg, t->lane, r->has_key, buf_slice(&r->key), r->has_value, buf_slice(&r->value));
        }
    }
}
int64_t kafka_down_until(const kafka_t *k) { return k->down_until; }
uint64_t kafka_open_transactions(const kafka_t *k) {
    uint64_t n = 0;
    for (int i = 0; i < k->ntids; i++) n += busy(k->tids[i], TXN_OPEN);
    return n;
}
