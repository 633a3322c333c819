#include "engine/connector/kafka_ledger.h"
#include "common/clock.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define SLICE_MS 500
#define SLICE_MS_MAX 2000

char *kafka_lane_base(const table_t *t, const char *cluster, const char *job) {
    const char *prefix = options_get(&t->options, "sink.transactional-id-prefix");
    return prefix ? xprintf("%s/%s", prefix, t->name) : xprintf("%s/%s/%s", cluster, job, t->name);
}

char *kafka_lane_id(const char *lane_base, int lane) { return xprintf("%s/%d", lane_base, lane); }

char *kafka_ledger_topic(const char *lane_base) {
    char name[150];
    bool changed = strlen(lane_base) >= sizeof name;
    size_t n = 0;
    for (const char *p = lane_base; *p && n + 1 < sizeof name; p++) {
        bool plain = isalnum((unsigned char)*p) || *p == '-' || *p == '_';
        changed |= !plain && *p != '/';
        name[n++] = plain ? *p : *p == '/' ? '.' : '_';
    }
    name[n] = 0;
    /* two bases that look alike after cleaning must not share a ledger */
    return changed ? xprintf("tidegate-ledger.%s.%08x", name, (unsigned)hash_bytes(lane_base, strlen(lane_base)))
                   : xprintf("tidegate-ledger.%s", name);
}

static err_t *create(kafka_client_t *c, const char *topic, int lanes, int timeout_ms) {
    static const char *const settings[][2] = {{"cleanup.policy", "compact"}, {"segment.bytes", "16777216"}, {"segment.ms", "600000"},
                                              {"min.cleanable.dirty.ratio", "0.1"}, {"min.compaction.lag.ms", "0"}};
    char text[256];
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, lanes, -1, text, sizeof text);
    if (!t) return err_new(ERR_INVALID, "ledger topic '%s': %s", topic, text);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) rd_kafka_NewTopic_set_config(t, settings[i][0], settings[i][1]);
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->rk);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(c->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(o, timeout_ms, text, sizeof text);
    rd_kafka_CreateTopics(c->rk, &t, 1, o, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, timeout_ms);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!code) {
        size_t n;
        const rd_kafka_topic_result_t **r = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
        for (size_t i = 0; i < n; i++) code = rd_kafka_topic_result_error(r[i]);
    }
    if (ev) rd_kafka_event_destroy(ev);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewTopic_destroy(t);
    return code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? kafka_error(c, code, "ledger topic '%s'", topic) : NULL;
}

static err_t *check_policy(const char *topic, rd_kafka_event_t *ev) {
    size_t nres, nconf;
    const rd_kafka_ConfigResource_t **res = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &nres);
    for (size_t i = 0; i < nres; i++) {
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(res[i], &nconf);
        for (size_t k = 0; k < nconf; k++) {
            const char *value = rd_kafka_ConfigEntry_value(entries[k]);
            if (strcmp(rd_kafka_ConfigEntry_name(entries[k]), "cleanup.policy") == 0 && value && strcmp(value, "compact") != 0)
                return err_hint(err_new(ERR_INVALID, "ledger topic '%s' has cleanup.policy=%s: its records would age away and with them what was published", topic, value),
                                "set cleanup.policy=compact on it");
        }
    }
    return NULL;
}

static err_t *check(kafka_client_t *c, const char *topic, int timeout_ms) {
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->rk);
    rd_kafka_DescribeConfigs(c->rk, &r, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, timeout_ms);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    err_t *e = code ? kafka_error(c, code, "configuration of ledger topic '%s'", topic) : check_policy(topic, ev);
    if (ev) rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy(r);
    return e;
}

/* Metadata may lag behind the creation. */
static err_t *await_partitions(kafka_client_t *c, const char *topic, int lanes, int64_t until) {
    for (;;) {
        int n = 0, left = (int)MAX(until - clock_mono_ms(), (int64_t)100);
        err_t *e = kafka_partitions(c, topic, left, &n);
        if (!e && n >= lanes) return NULL;
        if (!e) e = err_hint(err_new(ERR_INVALID, "ledger topic '%s' has %d partitions, the sink has %d lanes", topic, n, lanes), "add partitions to it");
        if (err_code(e) != ERR_NOT_FOUND || clock_mono_ms() >= until) return e;
        err_free(e);
        rd_kafka_poll(c->rk, 50);
    }
}

err_t *kafka_ledger_prepare(const table_t *t, const char *topic, int lanes, int timeout_ms) {
    int64_t until = clock_mono_ms() + timeout_ms;
    kafka_client_t *c;
    kafka_setting_t ours[] = {{"group.id", "tidegate-ledger"}, {"allow.auto.create.topics", "false"}, {0}}; /* a producer would create it by asking */
    TRY(kafka_client_new(t, RD_KAFKA_CONSUMER, NULL, ours, 0, &c));
    int n;
    err_t *e = kafka_partitions(c, topic, timeout_ms, &n);
    if (err_code(e) == ERR_NOT_FOUND) {
        err_free(e);
        e = create(c, topic, lanes, timeout_ms);
    }
    if (!e) e = await_partitions(c, topic, lanes, until);
    if (!e) e = check(c, topic, (int)MAX(until - clock_mono_ms(), (int64_t)1000));
    kafka_client_free(c);
    return e;
}

typedef struct scan {
    kafka_client_t *c;
    const table_t *t;
    const char *topic, *owner;
    int lane;
    int64_t held_ms;   /* an open transaction holds the reader since; 0: none */
    bool ending;       /* it was fenced, or that was tried */
    err_t *not_ended;
    int64_t until;
    bool (*cancelled)(void *arg);
    void *arg;
} scan_t;

static err_t *given_up(const scan_t *s) { return err_new(ERR_CANCELLED, "ledger %s/%d: reading was given up", s->topic, s->lane); }

/* The library calls a partition unknown also when a broker that has just come back has not told of it yet, or of its leader, and asks no more by itself.
 * true: ask again. */
static bool unknown_for_now(const scan_t *s, kafka_client_t *c, err_t **reterr) {
    int n = 0;
    err_t *e = kafka_partitions(c, s->topic, SLICE_MS_MAX, &n);
    bool again = !s->cancelled(s->arg) && clock_mono_ms() < s->until && (!e || err_code(e) == ERR_UNAVAILABLE);
    if (again) {
        err_free(e);
        rd_kafka_poll(c->rk, 50);
        return true;
    }
    if (!e && n <= s->lane) e = err_new(ERR_NOT_FOUND, "ledger %s has %d partitions, none for lane %d", s->topic, n, s->lane);
    *reterr = e ? e : err_hint(err_new(ERR_UNAVAILABLE, "ledger %s/%d has no leader", s->topic, s->lane), "is a broker of its replicas running?");
    return false;
}

/* Asked in growing slices, for the library does not come back before its time is over: whoever gives up waits for one, and a slow broker gets
 * its chance. */
static err_t *high_watermark(const scan_t *s, const table_t *t, int64_t *ret_low, int64_t *ret_high) {
    kafka_client_t *c;
    kafka_setting_t ours[] = {{"group.id", "tidegate-ledger"}, {"isolation.level", "read_uncommitted"}, {0}};
    TRY(kafka_client_new(t, RD_KAFKA_CONSUMER, NULL, ours, 0, &c));
    err_t *e = NULL;
    for (int64_t slice = SLICE_MS;; slice = MIN(slice * 2, (int64_t)SLICE_MS_MAX)) {
        int64_t began = clock_mono_ms(), left = MAX(s->until - began, (int64_t)1);
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(c->rk, s->topic, s->lane, ret_low, ret_high, (int)MIN(left, slice));
        if (code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
            if (unknown_for_now(s, c, &e)) continue;
            break;
        }
        bool again = left > slice && clock_mono_ms() - began >= slice / 2; /* else it knows for sure */
        e = !code ? NULL : s->cancelled(s->arg) ? given_up(s) : kafka_error(c, code, "ledger %s/%d", s->topic, s->lane);
        if (!again || err_code(e) != ERR_UNAVAILABLE) break;
        err_free(e);
    }
    kafka_client_free(c);
    return e;
}

/* The coordinator and the broker of the ledger know it a moment later: the reader goes on by itself. */
static err_t *end_transaction(const scan_t *s) {
    kafka_client_t *c;
    kafka_setting_t defaults[] = {{"transaction.timeout.ms", KAFKA_LANE_TIMEOUT_MS}, {0}};
    kafka_setting_t ours[] = {{"transactional.id", s->owner}, {"enable.idempotence", "true"}, {0}};
    TRY(kafka_client_new(s->t, RD_KAFKA_PRODUCER, defaults, ours, 0, &c));
    err_t *e = kafka_init_transactions(c, s->owner, s->cancelled, s->arg);
    kafka_client_free(c);
    return e;
}

static err_t *out_of_time(scan_t *s, int64_t at, int64_t to) {
    if (!s->held_ms) return err_new(ERR_TIMEOUT, "ledger %s/%d: read up to %" PRId64 " of %" PRId64 " in time", s->topic, s->lane, at, to);
    const char *limit = options_get(&s->t->options, "properties.transaction.timeout.ms");
    return err_hint(err_new(ERR_TIMEOUT, "ledger %s/%d: read up to %" PRId64 " of %" PRId64 ": the rest is behind an open transaction%s%s%s%s%s", s->topic, s->lane, at,
                            to, s->owner ? " of " : "", s->owner ? s->owner : "", s->ending ? ", which was not to be ended" : "", s->not_ended ? ": " : "",
                            s->not_ended ? err_text(s->not_ended) : ""),
                    "if its producer is gone the broker ends it %s ms after it was begun, and looks every ten seconds: try it again then",
                    limit ? limit : KAFKA_LANE_TIMEOUT_MS);
}

static void look_at_transaction(scan_t *s) {
    if (!s->owner || s->ending || !s->held_ms || clock_mono_ms() - s->held_ms < KAFKA_LEDGER_HELD_MS) return;
    s->ending = true;
    s->not_ended = end_transaction(s);
}

/* Reads [from, to) and keeps the last readable record. */
static err_t *scan_range(scan_t *s, int64_t from, int64_t to, ledger_pos_t *ret) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, s->topic, s->lane)->offset = from;
    rd_kafka_resp_err_t code = rd_kafka_assign(s->c->rk, l);
    rd_kafka_topic_partition_list_destroy(l);
    err_t *e = code ? kafka_error(s->c, code, "ledger %s/%d", s->topic, s->lane) : NULL;
    for (int64_t at = from; !e && at < to;) {
        look_at_transaction(s);
        if (clock_mono_ms() > s->until) e = out_of_time(s, at, to);
        else if (s->cancelled(s->arg)) e = given_up(s);
        if (e) break;
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->c->rk, 100);
        if (!m) continue;
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            at = MAX(at, m->offset); /* control records were passed; below the high watermark an open transaction begins */
            if (at < to && !s->held_ms) s->held_ms = clock_mono_ms();
        } else if (m->err && m->err != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) { /* that one it goes on with when the broker tells of it */
            e = kafka_error(s->c, m->err, "ledger %s/%d", s->topic, s->lane);
        } else if (!m->err) {
            at = m->offset + 1;
            s->held_ms = 0;
            if (m->payload) e = ledger_decode(slice_of(m->payload, m->len), ret);
            ret->offset = m->offset;
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_assign(s->c->rk, NULL);
    return e;
}

err_t *kafka_ledger_read(const table_t *t, const char *topic, int lane, const char *owner, int timeout_ms, bool (*cancelled)(void *arg), void *arg,
                         ledger_pos_t *ret) {
    int64_t low = 0, high = 0;
    *ret = (ledger_pos_t){0};
    scan_t s = {.t = t, .topic = topic, .owner = owner, .lane = lane, .until = clock_mono_ms() + timeout_ms, .cancelled = cancelled, .arg = arg};
    TRY(high_watermark(&s, t, &low, &high));
    if (high <= low) return NULL;
    kafka_setting_t ours[] = {{"group.id", "tidegate-ledger"}, {"isolation.level", "read_committed"}, {"enable.partition.eof", "true"},
                              {"enable.auto.commit", "false"}, {"auto.offset.reset", "earliest"}, {"fetch.wait.max.ms", "10"}, {0}};
    TRY(kafka_client_new(t, RD_KAFKA_CONSUMER, NULL, ours, 0, &s.c));
    rd_kafka_poll_set_consumer(s.c->rk);
    err_t *e = NULL;
    /* the wanted record is near the end: one transaction is a record and a marker; look further back only when nothing is there */
    for (int64_t back = 64, to = high; !e && !ret->present && to > low; back *= 16) {
        int64_t from = MAX(high - back, low);
        e = scan_range(&s, from, to, ret);
        to = from;
    }
    kafka_client_free(s.c);
    err_free(s.not_ended);
    return e;
}
