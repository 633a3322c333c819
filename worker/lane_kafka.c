#include "worker/lane_kafka.h"
#include "common/clock.h"
#include "common/crash.h"
#include "engine/connector/kafka_ledger.h"
#include "engine/connector/kafka_table.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define PARTITIONS_MS 5000
#define READ_MS 10000
#define SEND_MS 10000
#define DOWN_MS 2000 /* of SEND_MS: after these a lane whose brokers all refuse stops hoping, says what it waits for and asks anew */
#define COMMIT_SLICE_MS 500
#define PACE_MAX_MS 1000
#define QUEUED_MAX 10000000 /* records that the client holds at once, each with some hundred bytes of its own; .. */
#define QUEUED_BYTES 128    /* .. where memory is small no more than of so many bytes they would fill a transaction */

struct lane_handle {
    lane_spec_t spec;
    void (*answer)(void *arg, lane_answer_t a);
    void *arg;
    char *base, *ledger_topic, *id, *topic;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool has_action, closing; /* guarded */
    lane_action_t action;
    /* the thread's own */
    kafka_client_t *client;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *data, *ledger;
    int partitions, rotate, init_ms;
    kafka_partitioner_t partitioner;
    int64_t pace_ms;
    size_t queued_max;
    uint64_t unacked;
    rd_kafka_resp_err_t delivery_error;
    bool down; /* librdkafka said that no broker answers, and nothing was delivered since */
};

static bool is_closing(void *arg) {
    lane_handle_t *h = arg;
    pthread_mutex_lock(&h->lock);
    bool closing = h->closing;
    pthread_mutex_unlock(&h->lock);
    return closing;
}

static void drop_producer(lane_handle_t *h) {
    if (h->data) rd_kafka_topic_destroy(h->data);
    if (h->ledger) rd_kafka_topic_destroy(h->ledger);
    if (h->queue) rd_kafka_queue_destroy(h->queue);
    kafka_client_free(h->client);
    h->data = h->ledger = NULL;
    h->queue = NULL;
    h->client = NULL;
    h->unacked = 0;
    h->down = false;
    h->delivery_error = RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- answers */

static lane_answer_t ok(lane_answer_kind_t kind) { return (lane_answer_t){.kind = kind}; }

static bool poisonous(err_code_t code) {
    return code == ERR_LIMIT || code == ERR_NOT_FOUND || code == ERR_DENIED || code == ERR_INVALID || code == ERR_CORRUPT || code == ERR_VERSION;
}

static lane_answer_t trouble(err_t *e) {
    lane_answer_kind_t kind = err_code(e) == ERR_FENCED ? LANE_ANSWER_FENCED : poisonous(err_code(e)) ? LANE_ANSWER_POISON : LANE_ANSWER_DOUBT;
    return (lane_answer_t){.kind = kind, .error = e};
}

static err_t *take_error(lane_handle_t *h, rd_kafka_error_t *k, const char *what) { return kafka_take_error(h->client, k, h->id, what); }

/* ---- init */

static err_t *new_producer(lane_handle_t *h) {
    char queued[24];
    snprintf(queued, sizeof queued, "%zu", h->queued_max);
    kafka_setting_t defaults[] = {{"linger.ms", "0"}, {"retry.backoff.ms", "5"}, {"max.in.flight", KAFKA_CALM_IN_FLIGHT}, {"batch.num.messages", "100000"}, {"batch.size", "1000000"},
                                  {"queue.buffering.max.messages", queued}, {"queue.buffering.max.kbytes", "1000000"},
                                  {"message.max.bytes", "100000000"}, {"transaction.timeout.ms", KAFKA_LANE_TIMEOUT_MS}, {0}};
    kafka_setting_t ours[] = {{"transactional.id", h->id}, {"enable.idempotence", "true"}, {0}};
    TRY(kafka_client_new(h->spec.op->table, RD_KAFKA_PRODUCER, defaults, ours, RD_KAFKA_EVENT_DR, &h->client));
    h->queue = rd_kafka_queue_get_main(h->client->rk);
    h->data = rd_kafka_topic_new(h->client->rk, h->topic, NULL);
    h->ledger = rd_kafka_topic_new(h->client->rk, h->ledger_topic, NULL);
    return NULL;
}

static err_t *closing_error(const lane_handle_t *h) { return err_new(ERR_CANCELLED, "lane %s is closing", h->id); }

static err_t *find_partitions(lane_handle_t *h) {
    for (int64_t until = clock_mono_ms() + PARTITIONS_MS;;) {
        err_t *e = kafka_partitions(h->client, h->topic, 500, &h->partitions);
        if (err_code(e) != ERR_UNAVAILABLE || clock_mono_ms() > until) return e;
        err_free(e);
        if (is_closing(h)) return closing_error(h);
    }
}

static lane_answer_t do_init(lane_handle_t *h) {
    drop_producer(h);
    err_t *e = new_producer(h);
    if (!e) e = kafka_init_transactions(h->client, h->id, is_closing, h);
    if (!e) e = find_partitions(h);
    return e ? trouble(e) : ok(LANE_ANSWER_INITIALISED);
}

static lane_answer_t do_read(lane_handle_t *h) {
    lane_answer_t a = ok(LANE_ANSWER_LEDGER);
    err_t *e = kafka_ledger_read(h->spec.op->table, h->ledger_topic, h->spec.lane, /* owner= */ NULL, READ_MS, is_closing, h, &a.pos);
    if (e && err_code(e) == ERR_NOT_FOUND) /* "was deleted" is for the lane core to judge, not a missing data topic */
        e = err_wrap(e, "lane %s", h->id);
    return e ? trouble(e) : a;
}

/* ---- send */

static int64_t place_of(const lane_handle_t *h, const rd_kafka_message_t *m) { return (int64_t)m->partition * 2 + (m->rkt == h->ledger); }

static void take_reports(lane_handle_t *h, int timeout_ms) {
    rd_kafka_event_t *ev = rd_kafka_queue_poll(h->queue, timeout_ms);
    for (; ev; ev = rd_kafka_queue_poll(h->queue, 0)) {
        const rd_kafka_message_t *m;
        int64_t place = -1;
        if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR) h->down |= rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
        while (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR && (m = rd_kafka_event_message_next(ev)) != NULL) {
            h->unacked--;
            h->down &= m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
            if (m->err && !h->delivery_error) h->delivery_error = m->err;
            if (m->err || place == place_of(h, m)) continue;
            place = place_of(h, m);
            kafka_calm_confirmed(h->client->calm, rd_kafka_message_broker_id(m), place);
        }
        rd_kafka_event_destroy(ev);
    }
}

/* Murmur2 as the Java client's default partitioner uses it. */
static uint32_t murmur2(const uint8_t *p, size_t len) {
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28cu ^ (uint32_t)len;
    for (; len >= 4; p += 4, len -= 4) {
        uint32_t k;
        memcpy(&k, p, 4);
        k *= m;
        k ^= k >> 24;
        h = (h * m) ^ (k * m);
    }
    if (len == 3) h ^= (uint32_t)p[2] << 16;
    if (len >= 2) h ^= (uint32_t)p[1] << 8;
    if (len >= 1) h = (h ^ p[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

/* A lane serves the partitions p with p mod lanes = lane, so that a partition has one writer and a key one order. */
static int32_t choose_partition(lane_handle_t *h, const lane_record_t *r) {
    if (r->partition >= 0) return r->partition;
    if (h->partitioner == PARTITION_FIXED) return h->spec.lane % h->partitions;
    int own = (h->partitions - h->spec.lane + h->spec.lanes - 1) / h->spec.lanes;
    if (h->spec.lane >= h->partitions || own <= 0) return h->spec.lane % h->partitions; /* more lanes than partitions: shared */
    int k = r->has_key ? (int)((murmur2(r->key.p, r->key.len) & 0x7fffffff) % (uint32_t)own) : h->rotate % own;
    if (h->partitioner == PARTITION_ROUND_ROBIN) h->rotate = (h->rotate + 1) & 0xffffff;
    return h->spec.lane + k * h->spec.lanes;
}

/* A record that the topic or the client refuses for its size stays refused: say what to change. */
static err_t *too_large(const lane_handle_t *h, err_t *e) {
    if (err_code(e) != ERR_LIMIT) return e;
    return err_hint(e, "raise 'max.message.bytes' of topic '%s' (or 'properties.message.max.bytes' of table %s), then: tidegate resume",
                    h->topic, h->spec.op->table->name);
}

static rd_kafka_resp_err_t produce_one(lane_handle_t *h, rd_kafka_topic_t *t, int32_t partition, const lane_record_t *r, int flags) {
    kafka_record_t x = {partition, flags, r->has_key ? r->key.p : NULL, r->has_value ? r->value.p : NULL, r->has_key ? r->key.len : 0,
                        r->has_value ? r->value.len : 0, MAX(r->timestamp_ms, (int64_t)0), NULL, NULL};
    if (LIKELY(r->timestamp_ms < 0 && !r->headers.len))
        return rd_kafka_produce(t, partition, flags, (void *)x.value, x.value_len, x.key, x.key_len, NULL) ? rd_kafka_last_error() : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (r->headers.len) x.headers = kafka_headers_new(r->headers);
    return kafka_produce(h->client, t, &x);
}

static err_t *produce(lane_handle_t *h, rd_kafka_topic_t *t, int32_t partition, const lane_record_t *r, int flags, int64_t until) {
    rd_kafka_resp_err_t code;
    while ((code = produce_one(h, t, partition, r, flags)) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return too_large(h, kafka_error(h->client, kafka_reason(h->client, code), "lane %s: produce", h->id));
        if (clock_mono_ms() > until) return err_new(ERR_TIMEOUT, "lane %s: the broker took nothing for %d s", h->id, SEND_MS / 1000);
        if (is_closing(h)) return closing_error(h);
        take_reports(h, 10);
    }
    h->unacked++;
    return NULL;
}

static err_t *produce_all(lane_handle_t *h, const lane_action_t *a, int64_t until) {
    for (int i = 0; i < a->nparts; i++) {
        reader_t r = a->parts[i].records;
        lane_record_t rec;
        for (uint64_t k = 0; k < a->parts[i].rows; k++) {
            if (!segment_next(&r, &rec)) return err_new(ERR_CORRUPT, "lane %s: epoch %" PRIu64 " is cut short", h->id, a->parts[i].epoch);
            TRY(produce(h, h->data, choose_partition(h, &rec), &rec, 0, until));
            if ((k & 1023) == 1023) take_reports(h, 0);
        }
    }
    h->rotate++;
    buf_t text = buf_make(256);
    char key[16];
    int n = snprintf(key, sizeof key, "%d", h->spec.lane);
    ledger_encode(&text, &a->ledger);
    lane_record_t rec = {.timestamp_ms = -1, .has_key = true, .has_value = true, .key = slice_of(key, (size_t)n), .value = buf_slice(&text)};
    err_t *e = produce(h, h->ledger, h->spec.lane, &rec, RD_KAFKA_MSG_F_COPY, until);
    buf_free(&text);
    return e;
}

static bool brokers_gone(const lane_handle_t *h, int64_t until) { return h->down && clock_mono_ms() > until - SEND_MS + DOWN_MS; }

static err_t *await_reports(lane_handle_t *h, int64_t until) {
    while (h->unacked) {
        take_reports(h, 50);
        if (h->delivery_error) return too_large(h, kafka_error(h->client, kafka_reason(h->client, h->delivery_error), "lane %s: topic '%s'", h->id, h->topic));
        if (clock_mono_ms() > until || brokers_gone(h, until)) return kafka_error(h->client, RD_KAFKA_RESP_ERR__TIMED_OUT, "lane %s: sending", h->id);
        if (is_closing(h)) return closing_error(h);
    }
    return NULL;
}

/* An EndTxn whose answer was lost is sent again. The first one may still lie in the broker and end the next transaction of this producer in its
 * middle, as brokers tell transactions of one producer epoch apart only for newer clients (KIP-890): a new producer has a new epoch. */
static err_t *check_sent_once(const lane_handle_t *h, int before) {
    int sent = atomic_load(&h->client->end_txns) - before;
    if (sent <= 1) return NULL;
    return err_new(ERR_UNAVAILABLE, "lane %s: the commit was sent %d times; its producer is replaced", h->id, sent);
}

static err_t *commit(lane_handle_t *h, int64_t until) {
    int before = atomic_load(&h->client->end_txns);
    for (;;) {
        rd_kafka_error_t *k = rd_kafka_commit_transaction(h->client->rk, COMMIT_SLICE_MS);
        if (!k) return check_sent_once(h, before);
        bool again = rd_kafka_error_is_retriable(k) && !rd_kafka_error_txn_requires_abort(k);
        err_t *e = take_error(h, k, "commit");
        if (!again || clock_mono_ms() > until || is_closing(h)) return e;
        err_free(e);
    }
}

static lane_answer_t do_send(lane_handle_t *h, const lane_action_t *a) {
    int64_t until = clock_mono_ms() + SEND_MS;
    rd_kafka_error_t *k = rd_kafka_begin_transaction(h->client->rk);
    if (k) return trouble(take_error(h, k, "begin"));
    err_t *e = produce_all(h, a, until);
    if (!e) e = await_reports(h, until);
    if (e) { /* give the readers their last stable offset back at once; whether it worked does not matter */
        rd_kafka_purge(h->client->rk, RD_KAFKA_PURGE_F_QUEUE);
        k = rd_kafka_abort_transaction(h->client->rk, 1000);
        if (k) rd_kafka_error_destroy(k);
        return trouble(e);
    }
    if (a->nparts) crash_point("in-transaction");
    e = commit(h, until);
    if (e) return trouble(e);
    lane_answer_t done = ok(LANE_ANSWER_COMMITTED);
    done.pos = a->ledger;
    return done;
}

/* ---- the thread */

/* Waits before an answer that makes the lane try again. */
static void pace(lane_handle_t *h) {
    h->pace_ms = MIN(h->pace_ms ? h->pace_ms * 2 : 20, (int64_t)PACE_MAX_MS);
    int64_t until = clock_mono_ms() + h->pace_ms;
    while (clock_mono_ms() < until && !is_closing(h)) {
        pthread_mutex_lock(&h->lock);
        if (!h->closing) clock_wait_until(&h->wake, &h->lock, clock_mono_ns() + 50000000);
        pthread_mutex_unlock(&h->lock);
    }
}

static void carry_out(lane_handle_t *h, const lane_action_t *action) {
    lane_answer_t a = action->kind == LANE_DO_INIT ? do_init(h) : action->kind == LANE_DO_READ ? do_read(h) : do_send(h, action);
    if (a.error) drop_producer(h); /* before the answer: the segment's bytes are borrowed until then */
    if (a.kind == LANE_ANSWER_DOUBT) pace(h);
    else h->pace_ms = 0;
    if (is_closing(h)) err_free(a.error); /* CLOSED takes the answer's place */
    else h->answer(h->arg, a);
}

static void handle_free(lane_handle_t *h) {
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->wake);
    free(h->base);
    free(h->ledger_topic);
    free(h->id);
    free(h->topic);
    free(h);
}

static void *lane_thread(void *arg) {
    lane_handle_t *h = arg;
    pthread_mutex_lock(&h->lock);
    while (!h->closing) {
        if (!h->has_action) {
            pthread_cond_wait(&h->wake, &h->lock); /* for an action or the end: both come from the control thread */
            continue;
        }
        h->has_action = false;
        lane_action_t action = h->action;
        pthread_mutex_unlock(&h->lock);
        carry_out(h, &action);
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    drop_producer(h);
    void (*answer)(void *, lane_answer_t) = h->answer;
    void *to = h->arg;
    pthread_detach(pthread_self());
    handle_free(h);
    answer(to, ok(LANE_ANSWER_CLOSED));
    return NULL;
}

static err_t *driver_open(lane_driver_t *d, const lane_spec_t *spec, void (*answer)(void *arg, lane_answer_t a), void *arg,
                          lane_handle_t **ret) {
    const char *topic = options_get(&spec->op->table->options, "topic");
    if (!topic) return err_new(ERR_INVALID, "table '%s': option 'topic' is missing", spec->op->table->name);
    kafka_partitioner_t partitioner;
    TRY(kafka_partitioner_of(spec->op->table, &partitioner));
    lane_handle_t *h = xcalloc(1, sizeof *h);
    h->spec = *spec;
    h->partitioner = partitioner;
    h->queued_max = d->txn_bytes && d->txn_bytes < LANE_TXN_BYTES ? d->txn_bytes / QUEUED_BYTES : QUEUED_MAX;
    h->answer = answer;
    h->arg = arg;
    h->topic = xstrdup(topic);
    h->base = kafka_lane_base(spec->op->table, spec->cluster, spec->job);
    h->ledger_topic = kafka_ledger_topic(h->base);
    h->id = kafka_lane_id(h->base, spec->lane);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->wake, NULL);
    int rc = pthread_create(&h->thread, NULL, lane_thread, h);
    if (rc) {
        handle_free(h);
        return err_from_errno(rc, "cannot start the thread of lane %d", spec->lane);
    }
    *ret = h;
    return NULL;
}

static void driver_start(lane_driver_t *d, lane_handle_t *h, const lane_action_t *action) {
    pthread_mutex_lock(&h->lock);
    ASSERT(!h->has_action);
    h->action = *action;
    h->has_action = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
}

static void driver_close(lane_driver_t *d, lane_handle_t *h) {
    pthread_mutex_lock(&h->lock);
    h->closing = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
}

lane_driver_t *lane_kafka_new(void) {
    lane_driver_t *d = xcalloc(1, sizeof *d);
    *d = (lane_driver_t){driver_open, driver_start, driver_close};
    return d;
}

void lane_kafka_free(lane_driver_t *d) { free(d); }
