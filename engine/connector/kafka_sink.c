/* kafka_sink.c: rows into a topic, as lane segments (exactly-once) or at once (at-least-once, none).
 *
 * Lane mode encodes each row when it comes; the segment of an epoch is published by the lane after the epoch is complete (engine/lane.h). Direct mode
 * produces at once; an epoch is acked only when every record before its barrier has its delivery report (hazards A15), so nothing that a
 * restored job believes written is missing. Each record carries its number; a section, the rows between two barriers, counts its records
 * without a report, so that rows behind a barrier need not wait for those before it. A record that can never be written (too large) fails
 * before its barrier (B1).
 *
 * A producer that loses its place in a partition's sequence is of no use any more. Before librdkafka 2.3 that is no fault of anybody: requests were on
 * their way when the broker went, and when it is back the first of them finds no leader yet and the second one does. Then all that has no report is
 * given to a new producer, in its order, and with it what was confirmed behind it in its partition meanwhile: a request whose fate is open may have been
 * taken, and the one behind it, too.
 * The broken one is asked for what it holds again and again: a partition on its way from one broker's thread to another's has no thread that hears it,
 * and answers that ask for a retry put records back, though nothing is sent any more. What a broker has in hand is waited for: the new producer's records
 * would else stand before older ones of the same key. Only a broker that keeps silent is waited for no longer, and may do that to us. Not everything
 * back after BROKEN_MS is an error.
 *
 * upsert-kafka: +I and +U write key and value, -D writes a tombstone, -U nothing.
 * Thread: the task's; librdkafka's threads only call env.wake, and only while the task waits for reports (a barrier, a full queue): a request a
 * millisecond would else wake the task as often as its input does. Others lie in the queue until the next write or barrier. */
#include "common/clock.h"
#include "engine/connector/kafka_ledger.h"
#include "engine/connector/kafka_table.h"
#include "state/kstate_env.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORD_MAX_DEFAULT 1000000 /* below the broker's default max.message.bytes of 1048588 */
#define SEGMENT_MAX ((size_t)1 << 30)
#define RESERVE_MAX (4u << 20) /* the next segment is taken to be as large as the last, up to this */

#define MADE_ANEW_MAX 5 /* producers in a row that confirm nothing */
#define UNCONFIRMED_MS 5000 /* then it is worth a word */
#define ASK_BACK_MS 200
#define ANSWERS_MS 10000 /* for those to what a broken producer has sent */
#define BROKEN_MS 30000

typedef struct section {
    epoch_t epoch; /* of the barrier at its end; 0: none yet */
    uint64_t begin; /* number of its first record */
    uint64_t unacked;
} section_t;

typedef struct producer {
    kafka_client_t *client;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topic;
} producer_t;

/* A thread that closes producers. They wait for their threads, which may be asking a name server. */
typedef struct closing {
    producer_t p[MADE_ANEW_MAX];
    int n;
    pthread_t thread;
    struct closing *next;
} closing_t;

/* A record for the next producer. */
typedef struct returned {
    uint64_t number;
    bool again; /* else it is confirmed, and stays so unless one before it in its partition is written again */
    const rd_kafka_message_t *m; /* of an event that is kept */
} returned_t;

typedef struct kafka_sink {
    arena_t *arena;
    kafka_table_t table;
    encoder_t *value, *key;
    buf_t value_bytes, key_bytes;
    int timestamp_col, headers_col; /* columns of the input, -1 none */
    buf_t headers_bytes;
    kafka_partitioner_t partitioner;
    int32_t subtask, turn;
    int64_t record_max;
    bool lane;
    buf_t segment;
    uint64_t rows;  /* in the segment */
    size_t counted; /* bytes of it that count as unpublished output */
    /* direct mode */
    producer_t p;
    section_t *sections; /* without all reports, and the one being written: the last */
    int nsections, cap;
    uint64_t number;  /* of the next record */
    uint64_t unacked; /* of all sections */
    bool broken;      /* the producer; what it has not confirmed comes back */
    int64_t broken_ms, ask_back_ms; /* since, and when it is asked again; clock_mono_ms */
    epoch_t held;     /* the epoch that waits for its reports, since held_ms */
    int64_t held_ms;
    int made_anew;    /* since a record was confirmed */
    producer_t old[MADE_ANEW_MAX]; /* whose records are not all with the new one */
    int nold;
    closing_t *closing;
    returned_t *returned;
    size_t nreturned, returned_cap;
    rd_kafka_event_t **kept;
    int nkept, kept_cap;
    uint32_t at; /* row to go on with */
    rd_kafka_resp_err_t failed;
    bool ended, full;
    _Atomic bool wanted; /* reports wake the task. Set before the queue is looked at, so that what it did not have then wakes */
} kafka_sink_t;

static err_t *kafka_sink_check(const table_t *t) { return kafka_table_check(t, false); }

static err_t *kafka_sink_prepare(const table_t *t, const options_t *job_set, int timeout_ms) {
    kafka_client_t *c;
    int n;
    kafka_setting_t ours[] = {{"group.id", "tidegate"}, {"allow.auto.create.topics", "false"}, {0}};
    TRY(kafka_client_new(t, RD_KAFKA_CONSUMER, NULL, ours, 0, &c));
    err_t *e = kafka_partitions(c, options_get(&t->options, "topic"), timeout_ms, &n);
    kafka_client_free(c);
    return err_wrap(e, "table %s", t->name);
}

static err_t *kafka_sink_prepare_lanes(const table_t *t, const char *cluster, const char *job, int lanes, int timeout_ms) {
    char *base AUTO(auto_free) = kafka_lane_base(t, cluster, job);
    char *ledger AUTO(auto_free) = kafka_ledger_topic(base);
    return err_wrap(kafka_ledger_prepare(t, ledger, lanes, timeout_ms), "table %s", t->name);
}

static void on_reports(rd_kafka_t *rk, void *opaque) {
    sink_t *s = opaque;
    kafka_sink_t *k = s->self;
    if (atomic_load(&k->wanted)) s->env.wake(s->env.wake_arg);
}

/* librdkafka asks under its lock of the topic: one at a time. */
static int32_t choose_partition(const rd_kafka_topic_t *t, const void *key, size_t len, int32_t partitions, void *opaque, void *msg_opaque) {
    kafka_sink_t *k = opaque;
    if (k->partitioner == PARTITION_FIXED) return k->subtask % partitions;
    k->turn = (k->turn + 1) & 0xffffff;
    return (k->subtask + k->turn) % partitions;
}

static section_t *open_section(kafka_sink_t *k) {
    if (k->nsections == k->cap) {
        k->cap = MAX(2 * k->cap, 8);
        k->sections = xrealloc(k->sections, (size_t)k->cap * sizeof *k->sections);
    }
    k->sections[k->nsections] = (section_t){.begin = k->number};
    return &k->sections[k->nsections++];
}

static err_t *open_producer(sink_t *s, kafka_sink_t *k) {
    /* Without a limit: records wait in the queue, in their order, until the broker takes them; the queue is bounded, the job says what it waits
     * for. A delivery that timed out would cost an attempt that can do no better. */
    bool none = k->table.guarantee == GUARANTEE_NONE;
    kafka_setting_t patient[] = {{"message.timeout.ms", "0"}, {"retries", "2147483647"}, {0}};
    kafka_setting_t defaults[] = {{"linger.ms", "1"}, {"partitioner", "murmur2_random"} /* Java's */, {"batch.num.messages", "100000"}, {"queue.buffering.max.messages", "500000"},
                                  {"queue.buffering.max.kbytes", "65536"}, {"message.timeout.ms", "120000"},
                                  {"enable.idempotence", none ? "false" : "true"},
                                  {"max.in.flight", none ? "1000000" : KAFKA_CALM_IN_FLIGHT},
                                  /* else rows without a key stay with one partition for a while and nobody asks the partitioner */
                                  {"sticky.partitioning.linger.ms", k->partitioner == PARTITION_DEFAULT ? "10" : "0"}, {0}};
    TRY(kafka_client_new(k->table.t, RD_KAFKA_PRODUCER, defaults, none ? NULL : patient, RD_KAFKA_EVENT_DR, &k->p.client));
    k->p.queue = rd_kafka_queue_get_main(k->p.client->rk);
    rd_kafka_queue_cb_event_enable(k->p.queue, on_reports, s);
    rd_kafka_topic_conf_t *conf = NULL;
    if (k->partitioner != PARTITION_DEFAULT) {
        conf = rd_kafka_default_topic_conf_dup(k->p.client->rk);
        rd_kafka_topic_conf_set_opaque(conf, k);
        rd_kafka_topic_conf_set_partitioner_cb(conf, choose_partition);
    }
    k->p.topic = rd_kafka_topic_new(k->p.client->rk, options_get(&k->table.t->options, "topic"), conf);
    return k->p.topic ? NULL : kafka_error(k->p.client, rd_kafka_last_error(), "topic");
}

static void count_segment(sink_t *s, kafka_sink_t *k) {
    size_t now = k->rows ? k->segment.len : 0;
    if (s->env.state && now != k->counted) kstate_env_output(s->env.state, (int64_t)now - (int64_t)k->counted);
    k->counted = now;
}

static void begin_segment(kafka_sink_t *k) {
    segment_begin(&k->segment);
    if (k->headers_col >= 0) segment_has_headers(&k->segment, 0);
}

static err_t *kafka_sink_open(sink_t *s) {
    kafka_sink_t *k = s->self;
    const table_t *t = s->env.op->table;
    k->arena = arena_new();
    k->lane = s->env.op->lanes_max > 0;
    if (s->env.op->dead_letter) return NULL; /* the source makes its segments */
    k->segment = buf_make(SEGMENT_MAX);
    k->value_bytes = buf_make(0);
    k->key_bytes = buf_make(0);
    k->timestamp_col = k->headers_col = -1;
    k->headers_bytes = buf_make(0);
    k->subtask = s->env.subtask;
    TRY(kafka_table_read(k->arena, t, &k->table));
    TRY(kafka_partitioner_of(t, &k->partitioner));
    for (int i = 0; i < t->metadata->n; i++) {
        if (t->physical->n + i >= s->env.op->schema->n) continue;
        if (!strcmp(t->metadata_keys[i], "timestamp")) k->timestamp_col = t->physical->n + i;
        if (!strcmp(t->metadata_keys[i], "headers")) k->headers_col = t->physical->n + i;
    }
    /* what the client was told, else the broker's default */
    const char *size = options_get(&t->options, "properties.message.max.bytes") ? "properties.message.max.bytes" : "properties.max.request.size";
    TRY(options_i64(&t->options, size, RECORD_MAX_DEFAULT, 1, INT32_MAX, &k->record_max));
    k->table.value.scan = k->table.value_cols; /* the encoder reads columns of the table's rows */
    k->table.value.nscan = k->table.nvalue;
    k->table.value.fields = t->physical;
    k->table.key.scan = k->table.key_cols;
    k->table.key.nscan = k->table.nkey;
    TRY(encoder_new(&k->table.value, &k->value));
    if (k->table.nkey) {
        schema_t *names = schema_new(k->arena, t->physical->n); /* key fields may lose their prefix */
        memcpy(names->fields, t->physical->fields, sizeof *names->fields * (size_t)t->physical->n);
        for (int i = 0; i < k->table.nkey; i++) names->fields[k->table.key_cols[i]].name = k->table.key_schema->fields[i].name;
        k->table.key.fields = names;
        TRY(encoder_new(&k->table.key, &k->key));
    }
    if (k->lane) begin_segment(k);
    else TRY(open_producer(s, k));
    open_section(k);
    return NULL;
}

/* Does the +U that replaces this -U follow? It does not when a filter took it away (HAVING): then what was written goes. */
static err_t *is_replaced(kafka_sink_t *k, const batch_t *b, uint32_t i, bool *ret) {
    *ret = false;
    if (i + 1 == b->n || batch_kind(b, i + 1) != ROW_UPDATE_AFTER) return NULL;
    buf_clear(&k->key_bytes);
    TRY(encoder_row(k->key, b, i, &k->key_bytes));
    size_t len = k->key_bytes.len;
    TRY(encoder_row(k->key, b, i + 1, &k->key_bytes));
    *ret = k->key_bytes.len == 2 * len && !memcmp(k->key_bytes.data, k->key_bytes.data + len, len);
    return NULL;
}

/* Encodes row i; *ret_skip: it is not written (a -U whose +U follows). */
static err_t *encode(kafka_sink_t *k, const batch_t *b, uint32_t i, lane_record_t *r, bool *ret_skip) {
    row_kind_t kind = batch_kind(b, i);
    bool gone = k->table.upsert && (kind == ROW_DELETE || kind == ROW_UPDATE_BEFORE);
    *ret_skip = false;
    if (k->table.upsert && kind == ROW_UPDATE_BEFORE) TRY(is_replaced(k, b, i, ret_skip));
    if (*ret_skip) return NULL;
    *r = (lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = !gone, .has_key = k->key != NULL};
    buf_clear(&k->value_bytes);
    buf_clear(&k->key_bytes);
    if (r->has_value) TRY(encoder_row(k->value, b, i, &k->value_bytes));
    if (k->key) TRY(encoder_row(k->key, b, i, &k->key_bytes));
    r->value = buf_slice(&k->value_bytes);
    r->key = buf_slice(&k->key_bytes);
    if (k->timestamp_col >= 0 && !column_null(&b->cols[k->timestamp_col], i)) r->timestamp_ms = b->cols[k->timestamp_col].i64[i] / 1000;
    if (k->headers_col >= 0) {
        buf_clear(&k->headers_bytes);
        kafka_headers_encode(&k->headers_bytes, &b->cols[k->headers_col], i);
        r->headers = buf_slice(&k->headers_bytes);
    }
    if ((int64_t)(r->value.len + r->key.len + r->headers.len + 100) > k->record_max)
        return err_hint(err_new(ERR_LIMIT, "table %s: a record of %zu bytes, topic '%s' takes %" PRId64, k->table.t->name, r->value.len + r->key.len,
                                options_get(&k->table.t->options, "topic"), k->record_max),
                        "raise max.message.bytes of the topic and 'properties.message.max.bytes' of the table, or write less");
    return NULL;
}

static section_t *section_of(kafka_sink_t *k, uint64_t number) {
    section_t *x = &k->sections[k->nsections - 1];
    while (x->begin > number) x--;
    return x;
}

static void count_off(kafka_sink_t *k, uint64_t number) {
    section_of(k, number)->unacked--;
    k->unacked--;
}

static bool is_out_of_turn(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER || code == RD_KAFKA_RESP_ERR__INCONSISTENT || code == RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID;
}

/* Not blocking: what it holds comes as reports. */
static void ask_back(kafka_sink_t *k) {
    int64_t now = clock_mono_ms();
    if (now < k->ask_back_ms) return;
    int in_flight = now - k->broken_ms >= ANSWERS_MS ? RD_KAFKA_PURGE_F_INFLIGHT : 0;
    rd_kafka_purge(k->p.client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING | in_flight);
    k->ask_back_ms = now + ASK_BACK_MS;
}

/* Has the producer lost its place? Then it is told to give back what it holds. */
static bool is_broken(kafka_sink_t *k) {
    char why[512];
    if (k->broken) return true;
    if (MAX(k->made_anew, k->nold) >= MADE_ANEW_MAX || !is_out_of_turn(rd_kafka_fatal_error(k->p.client->rk, why, sizeof why))) return false;
    kafka_calm_end(k->p.client->calm); /* its threads shall hear */
    k->broken_ms = clock_mono_ms();
    k->ask_back_ms = 0;
    ask_back(k);
    return k->broken = true;
}

static bool comes_back(kafka_sink_t *k, const rd_kafka_message_t *m) {
    if (k->failed || !(m->err ? is_broken(k) : k->broken)) return false;
    bool purged = m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (m->err && !purged && !is_out_of_turn(m->err) && m->err != RD_KAFKA_RESP_ERR__FATAL) return false;
    if (k->nreturned == k->returned_cap) {
        k->returned_cap = MAX(2 * k->returned_cap, (size_t)1024);
        k->returned = xrealloc(k->returned, k->returned_cap * sizeof *k->returned);
    }
    k->returned[k->nreturned++] = (returned_t){(uintptr_t)m->_private, m->err != 0, m};
    return true;
}

static void keep(kafka_sink_t *k, rd_kafka_event_t *ev) {
    if (k->nkept == k->kept_cap) {
        k->kept_cap = MAX(2 * k->kept_cap, 8);
        k->kept = xrealloc(k->kept, (size_t)k->kept_cap * sizeof *k->kept);
    }
    k->kept[k->nkept++] = ev;
}

static void take_reports(kafka_sink_t *k) {
    rd_kafka_event_t *ev;
    while ((ev = rd_kafka_queue_poll(k->p.queue, 0)) != NULL) {
        const rd_kafka_message_t *m;
        int32_t place = -1;
        bool kept = false;
        if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR) kafka_client_error(k->p.client, rd_kafka_event_error(ev), rd_kafka_event_error_string(ev));
        while (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR && (m = rd_kafka_event_message_next(ev)) != NULL) {
            if (comes_back(k, m)) {
                kept = true;
                continue;
            }
            count_off(k, (uintptr_t)m->_private);
            if (m->err) k->failed = k->failed ? k->failed : m->err;
            else kafka_client_alive(k->p.client);
            if (m->err) continue;
            k->made_anew = 0;
            if (m->partition != place) kafka_calm_confirmed(k->p.client->calm, rd_kafka_message_broker_id(m), place = m->partition);
        }
        if (kept) keep(k, ev);
        else rd_kafka_event_destroy(ev);
    }
}

static err_t *write_error(kafka_sink_t *k, rd_kafka_resp_err_t code) {
    char why[512];
    if (code == RD_KAFKA_RESP_ERR__FATAL) code = rd_kafka_fatal_error(k->p.client->rk, why, sizeof why);
    return kafka_error(k->p.client, code, "table %s: topic '%s'", k->table.t->name, options_get(&k->table.t->options, "topic"));
}
static err_t *delivery_error(kafka_sink_t *k) { return !k->failed || k->table.guarantee == GUARANTEE_NONE ? NULL : write_error(k, k->failed); }

static void close_producer(producer_t *p) {
    if (p->queue) {
        rd_kafka_queue_cb_event_enable(p->queue, NULL, NULL);
        rd_kafka_queue_destroy(p->queue);
    }
    if (p->topic) rd_kafka_topic_destroy(p->topic);
    kafka_client_free(p->client);
    *p = (producer_t){0};
}

static void *close_producers(void *arg) {
    closing_t *c = arg;
    for (int i = 0; i < c->n; i++) close_producer(&c->p[i]);
    return NULL;
}

static void join_closed(kafka_sink_t *k, bool wait) {
    for (closing_t **at = &k->closing, *c; (c = *at) != NULL;) {
        if (wait ? pthread_join(c->thread, NULL) : pthread_tryjoin_np(c->thread, NULL)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free(c);
    }
}

static void bury(kafka_sink_t *k) {
    for (int i = 0; i < k->nkept; i++) rd_kafka_event_destroy(k->kept[i]);
    k->nkept = 0;
    join_closed(k, false);
    if (!k->nold) return;
    closing_t *c = xcalloc(1, sizeof *c);
    c->n = k->nold;
    memcpy(c->p, k->old, sizeof c->p);
    k->nold = 0;
    if (pthread_create(&c->thread, NULL, close_producers, c)) {
        close_producers(c);
        free(c);
        return;
    }
    pthread_setname_np(c->thread, "kafka-close");
    c->next = k->closing;
    k->closing = c;
}

static int by_number(const void *a, const void *b) {
    const returned_t *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* librdkafka has none to tell of a message with an error. */
static int64_t timestamp_of(const rd_kafka_message_t *m) {
    rd_kafka_message_t *own = (rd_kafka_message_t *)m; /* the event's, and that is kept */
    rd_kafka_resp_err_t err = own->err;
    own->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t ms = rd_kafka_message_timestamp(m, NULL);
    own->err = err;
    return MAX(ms, (int64_t)0);
}

/* As it was, into its partition. */
static rd_kafka_resp_err_t produce_again(kafka_sink_t *k, const rd_kafka_message_t *m) {
    rd_kafka_headers_t *had = NULL, *headers = NULL;
    if (!rd_kafka_message_headers(m, &had)) headers = rd_kafka_headers_copy(had);
    kafka_record_t r = {m->partition, RD_KAFKA_MSG_F_COPY, m->key, m->payload, m->key_len, m->len, timestamp_of(m), headers, m->_private};
    return kafka_produce(k->p.client, k->p.topic, &r);
}

/* In their order, and each that is confirmed behind one that is not: again, too. */
static void judge_returned(kafka_sink_t *k) {
    int32_t partitions = 0;
    qsort(k->returned, k->nreturned, sizeof *k->returned, by_number);
    for (size_t i = 0; i < k->nreturned; i++) partitions = MAX(partitions, k->returned[i].m->partition + 1);
    bool *from_here = xcalloc((size_t)partitions + 1, 1); /* the first: those without a partition yet */
    for (size_t i = 0; i < k->nreturned; i++) {
        returned_t *r = &k->returned[i];
        r->again = from_here[r->m->partition + 1] |= r->again;
    }
    free(from_here);
}

/* The old producer has given everything back. The new one's queue is as large as the one that held it. When it breaks meanwhile, too, the rest waits for
 * what it gives back. */
static err_t *make_anew(sink_t *s, kafka_sink_t *k) {
    k->old[k->nold++] = k->p;
    k->p = (producer_t){0};
    k->broken = false;
    k->made_anew++;
    k->held_ms = clock_mono_ms(); /* the new one has its time */
    judge_returned(k);
    TRY(open_producer(s, k));
    size_t done = 0;
    for (; done < k->nreturned; done++) {
        if (!k->returned[done].again) {
            count_off(k, k->returned[done].number);
            continue;
        }
        rd_kafka_resp_err_t code = produce_again(k, k->returned[done].m);
        if (code == RD_KAFKA_RESP_ERR__FATAL && is_broken(k)) break;
        if (code) return write_error(k, code);
    }
    k->nreturned -= done;
    memmove(k->returned, k->returned + done, k->nreturned * sizeof *k->returned);
    if (!k->nreturned) bury(k);
    return NULL;
}

static err_t *not_given_back(kafka_sink_t *k) {
    char why[512];
    return err_hint(kafka_error(k->p.client, rd_kafka_fatal_error(k->p.client->rk, why, sizeof why),
                                "table %s: topic '%s': a producer that lost its place in a sequence has not given back %" PRIu64 " of %" PRIu64 " rows for %d s",
                                k->table.t->name, options_get(&k->table.t->options, "topic"), k->unacked - k->nreturned, k->unacked, BROKEN_MS / 1000),
                    "they are written again behind the last epoch; does each broker of the topic answer?");
}

/* A producer may break without a report that says so: its last request is answered, and what waits behind it stays there. */
static err_t *serve(sink_t *s, kafka_sink_t *k) {
    char why[512];
    take_reports(k);
    if (k->failed) return delivery_error(k);
    if (!is_broken(k)) return rd_kafka_fatal_error(k->p.client->rk, why, sizeof why) ? write_error(k, RD_KAFKA_RESP_ERR__FATAL) : NULL;
    if (k->nreturned == k->unacked) return make_anew(s, k);
    if (clock_mono_ms() - k->broken_ms >= BROKEN_MS) return not_given_back(k);
    ask_back(k);
    return NULL;
}

/* OP_MORE: the queue is full, or the producer is to be made anew. */
static op_status_t produce(kafka_sink_t *k, const lane_record_t *r, err_t **reterr) {
    kafka_record_t x = {RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, r->has_key ? r->key.p : NULL, r->has_value ? r->value.p : NULL, r->has_key ? r->key.len : 0,
                        r->has_value ? r->value.len : 0, MAX(r->timestamp_ms, (int64_t)0), NULL, (void *)(uintptr_t)k->number};
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (r->headers.len) x.headers = kafka_headers_new(r->headers);
    if (r->timestamp_ms > 0 || r->headers.len) code = kafka_produce(k->p.client, k->p.topic, &x);
    else if (rd_kafka_produce(k->p.topic, x.partition, x.flags, (void *)x.value, x.value_len, x.key, x.key_len, x.opaque))
        code = rd_kafka_last_error();
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        k->sections[k->nsections - 1].unacked++;
        k->unacked++;
        k->number++;
        return OP_DONE;
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL || (code == RD_KAFKA_RESP_ERR__FATAL && is_broken(k))) return OP_MORE;
    *reterr = write_error(k, code);
    return OP_FAIL;
}

static void note_outage(sink_t *s, kafka_sink_t *k) {
    char why[sizeof k->p.client->last_error] = "";
    bool waits = k->unacked && kafka_client_waits(k->p.client, why, sizeof why);
    const char *table = s->env.op->table->name;
    if (k->broken)
        snprintf(s->waits_for, sizeof s->waits_for, "Kafka, table %s: a broken producer has not given back %" PRIu64 " rows%s%s", table,
                 k->unacked - k->nreturned, waits ? ": " : "", why);
    else if (waits) snprintf(s->waits_for, sizeof s->waits_for, "Kafka, table %s: %s", table, why);
    else if (k->held && clock_mono_ms() - k->held_ms >= UNCONFIRMED_MS) {
        pthread_mutex_lock(&k->p.client->lock); /* a partition without a leader is asked of nobody: the connection to who led it may have said why */
        snprintf(why, sizeof why, "%s", k->p.client->last_error);
        pthread_mutex_unlock(&k->p.client->lock);
        snprintf(s->waits_for, sizeof s->waits_for, "Kafka, table %s: %" PRIu64 " rows of epoch %" PRIu64 " are not confirmed for %d s%s%s", table,
                 k->sections[0].unacked, k->held, (int)((clock_mono_ms() - k->held_ms) / 1000), *why ? "; last heard: " : "", why);
    } else s->waits_for[0] = 0;
}

static op_status_t kafka_sink_write(sink_t *s, const batch_t *b, err_t **reterr) {
    kafka_sink_t *k = s->self;
    if (k->p.client) {
        if ((*reterr = serve(s, k)) != NULL) return OP_FAIL;
        note_outage(s, k);
    }
    for (; k->at < b->n; k->at++) {
        lane_record_t r;
        bool skip;
        if ((*reterr = encode(k, b, k->at, &r, &skip)) != NULL) return OP_FAIL;
        if (skip) continue;
        if (k->lane) {
            segment_add(&k->segment, &r);
            k->rows++;
            if (k->segment.overflow) {
                *reterr = err_hint(err_new(ERR_LIMIT, "table %s: an epoch's output passes 1 GB in one lane", k->table.t->name), "shorten execution.checkpointing.interval");
                return OP_FAIL;
            }
        } else {
            op_status_t st = produce(k, &r, reterr);
            if (st == OP_MORE) {
                atomic_store(&k->wanted, k->full = true);
                if ((*reterr = serve(s, k)) != NULL) return OP_FAIL;
                st = produce(k, &r, reterr);
            }
            if (st != OP_DONE) {
                note_outage(s, k);
                return st;
            }
        }
        s->bytes_out += r.value.len + r.key.len;
    }
    if (k->lane) count_segment(s, k);
    k->at = 0;
    k->full = false;
    return OP_DONE;
}

/* Without a guarantee nothing is waited for, but a job that ends has still sent what it wrote. */
static err_t *kafka_sink_end(sink_t *s) {
    kafka_sink_t *k = s->self;
    k->ended = true;
    return NULL;
}

/* It waits for the broker as it is: room that it does not need goes back. */
static void shrink(buf_t *segment) {
    if (segment->cap - segment->len <= segment->len / 8) return;
    segment->data = xrealloc(segment->data, segment->len);
    segment->cap = segment->len;
}

static op_status_t kafka_sink_seal(sink_t *s, epoch_t epoch, buf_t *bytes, buf_t *segment, err_t **reterr) {
    kafka_sink_t *k = s->self;
    if (k->lane) {
        if (!k->rows) return OP_DONE; /* always so behind a source of dead letters */
        segment_finish(&k->segment, 0, k->rows);
        ASSERT(!segment->len);
        buf_free(segment);
        *segment = k->segment; /* as it is: a window's result may be large, and two of it too large */
        shrink(segment);
        k->segment = buf_make(SEGMENT_MAX);
        buf_reserve(&k->segment, MIN(segment->len, (size_t)RESERVE_MAX));
        begin_segment(k);
        k->rows = 0;
        count_segment(s, k); /* the task counts it from here on */
        return OP_DONE;
    }
    k->sections[k->nsections - 1].epoch = epoch;
    open_section(k);
    return OP_DONE;
}

static op_status_t kafka_sink_settle(sink_t *s, epoch_t epoch, err_t **reterr) {
    kafka_sink_t *k = s->self;
    if (k->lane) return OP_DONE;
    atomic_store(&k->wanted, true);
    if ((*reterr = serve(s, k)) != NULL) return OP_FAIL;
    bool wait = k->table.guarantee != GUARANTEE_NONE || k->ended;
    int done = 0;
    while (k->sections[done].epoch && !k->sections[done].unacked) done++;
    k->nsections -= done;
    memmove(k->sections, k->sections + done, (size_t)k->nsections * sizeof *k->sections);
    epoch_t held = wait && k->sections[0].epoch <= epoch ? k->sections[0].epoch : 0;
    if (held != k->held) k->held_ms = clock_mono_ms();
    k->held = held;
    note_outage(s, k);
    if (held) return OP_MORE;
    atomic_store(&k->wanted, k->full);
    return OP_DONE;
}

static void kafka_sink_close(sink_t *s) {
    kafka_sink_t *k = s->self;
    bury(k);
    close_producer(&k->p);
    join_closed(k, true);
    encoder_free(k->value);
    encoder_free(k->key);
    buf_free(&k->value_bytes);
    buf_free(&k->key_bytes);
    buf_free(&k->headers_bytes);
    buf_free(&k->segment);
    free(k->sections);
    free(k->returned);
    free(k->kept);
    if (k->arena) arena_free(k->arena);
}

#define KAFKA_SINK(name)                                                                                                        \
    {                                                                                                                           \
        .connector = name, .state_size = sizeof(kafka_sink_t), .check = kafka_sink_check, .prepare = kafka_sink_prepare,        \
        .prepare_lanes = kafka_sink_prepare_lanes, .open = kafka_sink_open, .write = kafka_sink_write, .seal = kafka_sink_seal, \
        .settle = kafka_sink_settle, .end = kafka_sink_end, .close = kafka_sink_close,                                          \
    }
const sink_vtable_t kafka_sink = KAFKA_SINK("kafka");
const sink_vtable_t upsert_kafka_sink = KAFKA_SINK("upsert-kafka");
