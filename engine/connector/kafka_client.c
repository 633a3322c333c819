#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/connector/kafka_client.h"
#include "common/clock.h"
#include "engine/connector/kafka_pool.h"
#include <pcre2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define PREFIX "properties."
#define SLICE_MS 500
#define PROBE_EVERY_MS 1000
#define CONSUMER_SLACK_US 10000
#define PRODUCER_SLACK_US 1000 /* a transaction waits for its timer */
#define INIT_FIRST_MS 20
#define INIT_SLICE_MS 200 /* so long whoever gives up waits for a call */

/* Java client properties that configure what does not exist here: accepted and without effect. */
static bool meaningless(const char *key) {
    static const char *const names[] = {"key.serializer", "value.serializer", "key.deserializer", "value.deserializer", "ssl.truststore.type",
                                        "ssl.keystore.type", "auto.commit.interval.ms", "enable.auto.commit", "max.poll.records",
                                        "partition.discovery.interval.ms", "register.consumer.metrics", "commit.offsets.on.checkpoint",
                                        "allow.auto.create.topics", "enable.auto.offset.store", "auto.offset.reset", "buffer.memory", "max.block.ms",
                                        "default.api.timeout.ms"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(key, names[i])) return true;
    return false;
}

/* Names of the Java client for what librdkafka calls otherwise. */
static const char *native_name(const char *key) {
    static const char *const names[][2] = {{"max.request.size", "message.max.bytes"}, {"fetch.max.wait.ms", "fetch.wait.max.ms"},
                                           {"client.id.prefix", "client.id"}, {"receive.buffer.bytes", "socket.receive.buffer.bytes"},
                                           {"send.buffer.bytes", "socket.send.buffer.bytes"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(key, names[i][0])) return names[i][1];
    return key;
}

/* name="value" inside a JAAS line; malloc'ed or NULL. */
static char *jaas_value(const char *line, const char *name) {
    size_t n = strlen(name);
    for (const char *p = line; (p = strstr(p, name)) != NULL; p += n) {
        const char *q = p + n;
        while (*q == ' ') q++;
        if (*q != '=' || (p > line && p[-1] != ' ')) continue;
        for (q++; *q == ' ';) q++;
        if (*q != '"' && *q != '\'') return NULL;
        const char *end = strchr(q + 1, *q);
        return end ? xstrndup(q + 1, (size_t)(end - q - 1)) : NULL;
    }
    return NULL;
}

static err_t *set(rd_kafka_conf_t *conf, const char *key, const char *value) {
    char text[256];
    switch (rd_kafka_conf_set(conf, key, value, text, sizeof text)) {
    case RD_KAFKA_CONF_OK: return NULL;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_hint(err_new(ERR_INVALID, "option '" PREFIX "%s' is unknown", key),
                        "properties are those of the Kafka client library librdkafka; Java key and trust stores become ssl.ca.location, "
                        "ssl.certificate.location and ssl.key.location (PEM files)");
    default: return err_new(ERR_INVALID, "option '" PREFIX "%s' = '%s': %s", key, value, text);
    }
}

static err_t *set_jaas(rd_kafka_conf_t *conf, const char *line) {
    AUTO(auto_free) char *user = jaas_value(line, "username"), *password = jaas_value(line, "password");
    if (!user || !password)
        return err_hint(err_new(ERR_INVALID, "option '" PREFIX "sasl.jaas.config' without username and password"),
                        "give '" PREFIX "sasl.username' and '" PREFIX "sasl.password' instead");
    TRY(set(conf, "sasl.username", user));
    return set(conf, "sasl.password", password);
}

/* What the engine must decide itself: set otherwise it would break a promise, or do nothing. `may_be`: the value that asks for what is done anyway. */
static err_t *refuse_owned(const char *key, const char *value) {
    static const struct {
        const char *key, *may_be, *why, *way_out;
    } owned[] = {
        {"transactional.id", NULL, "the lanes of the sink have ids of their own", "set 'sink.transactional-id-prefix'"},
        {"enable.idempotence", "true", "it belongs to the guarantee", "set 'sink.delivery-guarantee'"},
        {"enable.auto.offset.store", "false", "offsets are committed when an epoch is complete", "leave it out"},
        {"enable.partition.eof", NULL, "the source needs it", "leave it out"},
        {"allow.auto.create.topics", "false", "topics are never created by reading or writing", "create the topic before"},
        {"partitioner", NULL, "it belongs to the table", "set 'sink.partitioner'"},
        {"partitioner.class", NULL, "classes cannot be loaded", "set 'sink.partitioner'"},
        {"partition.assignment.strategy", NULL, "partitions are assigned by the job, not by the group", "leave it out"},
        {"group.instance.id", NULL, "partitions are assigned by the job, not by the group", "leave it out"},
        {"interceptor.classes", NULL, "classes cannot be loaded", "leave it out"},
        {"plugin.library.paths", NULL, "libraries are not loaded by a table", "leave it out"},
    };
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        if (!strcmp(key, owned[i].key) && (!owned[i].may_be || strcmp(value, owned[i].may_be)))
            return err_hint(err_new(ERR_UNSUPPORTED, "option '" PREFIX "%s' = '%s' is not supported: %s", key, value, owned[i].why), "%s", owned[i].way_out);
    return NULL;
}

static err_t *set_properties(rd_kafka_conf_t *conf, const table_t *t) {
    bool servers = false;
    for (int i = 0; i < t->options.n; i++) {
        const char *key = t->options.keys[i], *value = t->options.values[i];
        if (strncmp(key, PREFIX, strlen(PREFIX))) continue;
        key += strlen(PREFIX);
        servers |= !strcmp(key, "bootstrap.servers");
        TRY(refuse_owned(key, value));
        if (meaningless(key)) continue;
        if (!strcmp(key, "sasl.jaas.config")) TRY(set_jaas(conf, value));
        else TRY(set(conf, native_name(key), value));
    }
    if (!servers) return err_new(ERR_INVALID, "table '%s': option '" PREFIX "bootstrap.servers' is missing", t->name);
    return NULL;
}

err_t *kafka_check_properties(const table_t *t) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    err_t *e = set_properties(conf, t);
    rd_kafka_conf_destroy(conf);
    return e;
}

void kafka_client_error(kafka_client_t *c, rd_kafka_resp_err_t code, const char *reason) {
    pthread_mutex_lock(&c->lock);
    bool all = code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN; /* tells less than what the connection has said just before */
    if (!c->denied && !(all && c->last_error[0])) snprintf(c->last_error, sizeof c->last_error, "%s", reason);
    if (kafka_error_code(code) == ERR_DENIED) c->denied = true;
    if (all) c->down = true;
    pthread_mutex_unlock(&c->lock);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) { kafka_client_error(opaque, code, reason); }

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    kafka_client_t *c = rk ? rd_kafka_opaque(rk) : NULL;
    if (c && strcmp(facility, KAFKA_REFUSAL_FACILITY) == 0) kafka_refusal_note(c->refusal, text, clock_mono_ms());
    if (!c || strcmp(facility, "FAIL") != 0) return; /* why a connection failed; everything else returns as an error anyway */
    pthread_mutex_lock(&c->lock);
    const char *at = strstr(text, "]: ");
    if (!c->denied) snprintf(c->last_error, sizeof c->last_error, "%s", at ? at + 3 : text);
    pthread_mutex_unlock(&c->lock);
}

static err_t *configure(rd_kafka_conf_t *conf, const table_t *t, const kafka_setting_t *defaults, const kafka_setting_t *ours) {
    TRY(set(conf, "socket.nagle.disable", "true"));
    TRY(set(conf, "reconnect.backoff.ms", "50"));
    TRY(set(conf, "reconnect.backoff.max.ms", "1000"));
    TRY(set(conf, "socket.connection.setup.timeout.ms", "5000"));
    for (; defaults && defaults->key; defaults++) TRY(set(conf, defaults->key, defaults->value));
    TRY(set_properties(conf, t));
    for (; ours && ours->key; ours++) TRY(set(conf, ours->key, ours->value));
    return NULL;
}

#define API_END_TXN 26

/* A broker's thread of librdkafka. */
static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version, int32_t corr,
                                   size_t size, void *arg) {
    kafka_client_t *c = arg;
    if (api == API_END_TXN) atomic_fetch_add(&c->end_txns, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* librdkafka (2.0.2) waits for the next of its timers in whole milliseconds, rounded down, and then looks again and again until it is due: half a
 * millisecond of a core for each, of which there is one a second in every client, and one in every transaction. The kernel wakes this thread later than it
 * asks by as much as it would spin. */
static rd_kafka_resp_err_t on_thread(rd_kafka_t *rk, rd_kafka_thread_type_t type, const char *name, void *arg) {
    if (type == RD_KAFKA_THREAD_BROKER && rd_kafka_type(rk) == RD_KAFKA_CONSUMER) kafka_pool_enter();
    if (type == RD_KAFKA_THREAD_MAIN) prctl(PR_SET_TIMERSLACK, (rd_kafka_type(rk) == RD_KAFKA_PRODUCER ? PRODUCER_SLACK_US : CONSUMER_SLACK_US) * 1000UL);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *arg, char *errstr, size_t size) {
    rd_kafka_interceptor_add_on_thread_start(rk, "tidegate", on_thread, arg);
    if (rd_kafka_type(rk) == RD_KAFKA_CONSUMER) return RD_KAFKA_RESP_ERR_NO_ERROR;
    return rd_kafka_interceptor_add_on_request_sent(rk, "tidegate", on_sent, arg);
}

/* librdkafka 2.0: rd_kafka_new that fails late (a certificate that cannot be read) has freed the interceptors of its configuration, and
 * rd_kafka_conf_destroy would free them again. The rest of it, some kilobytes, is kept; reachable, so that no leak hides behind it. */
static void bury(rd_kafka_conf_t *conf) {
    typedef struct grave {
        rd_kafka_conf_t *conf;
        struct grave *next;
    } grave_t;
    static _Atomic(grave_t *) graves;
    grave_t *g = xmalloc(sizeof *g);
    *g = (grave_t){conf, atomic_load(&graves)};
    while (!atomic_compare_exchange_weak(&graves, &g->next, g)) {}
}

err_t *kafka_client_new(const table_t *t, rd_kafka_type_t type, const kafka_setting_t *defaults, const kafka_setting_t *ours, int events,
                        kafka_client_t **ret) {
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set(conf, "debug", "msg", text, sizeof text); /* kafka_refusal.h */
    err_t *e = configure(conf, t, defaults, ours);
    if (e) {
        rd_kafka_conf_destroy(conf);
        return e;
    }
    kafka_client_t *c = xcalloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (events) rd_kafka_conf_set_events(conf, events);
    rd_kafka_conf_interceptor_add_on_new(conf, "tidegate", on_new, c);
    c->refusal = kafka_refusal_new();
    c->watch = kafka_watch_new(conf); /* before those that hold the thread that has sent */
    if (type == RD_KAFKA_CONSUMER) c->gate = kafka_gate_new(conf);
    else c->calm = kafka_calm_new(conf, c->watch);
    c->rk = rd_kafka_new(type, conf, text, sizeof text);
    if (!c->rk) {
        if (kafka_watch_begun(c->watch)) bury(conf);
        else rd_kafka_conf_destroy(conf);
        kafka_client_free(c);
        return err_new(ERR_INVALID, "table '%s': %s", t->name, text);
    }
    *ret = c;
    return NULL;
}

void kafka_client_free(kafka_client_t *c) {
    if (!c) return;
    kafka_gate_open(c->gate);
    kafka_calm_end(c->calm);
    if (c->probe) rd_kafka_queue_destroy(c->probe);
    if (c->rk) {
        if (rd_kafka_type(c->rk) == RD_KAFKA_PRODUCER) rd_kafka_purge(c->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy_flags(c->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    kafka_gate_free(c->gate);
    kafka_calm_free(c->calm);
    kafka_watch_free(c->watch);
    kafka_refusal_free(c->refusal);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

err_code_t kafka_error_code(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return ERR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED: return ERR_DENIED;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return ERR_LIMIT;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH: return ERR_FENCED;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return ERR_DATA;
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION: return ERR_INVALID;
    default: return ERR_UNAVAILABLE;
    }
}

err_t *kafka_error(kafka_client_t *c, rd_kafka_resp_err_t code, const char *fmt, ...) {
    va_list ap;
    char *context = NULL, why[256] = "";
    va_start(ap, fmt);
    if (vasprintf(&context, fmt, ap) < 0) context = xstrdup("Kafka");
    va_end(ap);
    err_code_t kind = kafka_error_code(code);
    if (c && (kind == ERR_UNAVAILABLE || kind == ERR_DENIED)) {
        bool refused = kafka_refusal_lasts(c->refusal, clock_mono_ms(), why, sizeof why);
        pthread_mutex_lock(&c->lock);
        if (!refused) snprintf(why, sizeof why, "%s", c->last_error);
        if (c->denied) kind = ERR_DENIED; /* librdkafka goes on asking with the wrong password; we do not */
        pthread_mutex_unlock(&c->lock);
    }
    err_t *e = err_new(kind, "%s: %s%s%s%s", context, rd_kafka_err2str(code), *why ? " (" : "", why, *why ? ")" : "");
    free(context);
    return e;
}

rd_kafka_resp_err_t kafka_reason(kafka_client_t *c, rd_kafka_resp_err_t code) {
    char text[256];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(c->rk, text, sizeof text);
    return fatal ? fatal : code;
}

err_t *kafka_take_error(kafka_client_t *c, rd_kafka_error_t *k, const char *who, const char *what) {
    err_t *e = kafka_error(c, kafka_reason(c, rd_kafka_error_code(k)), "lane %s: %s: %s", who, what, rd_kafka_error_string(k));
    rd_kafka_error_destroy(k);
    return e;
}

err_t *kafka_init_transactions(kafka_client_t *c, const char *who, bool (*cancelled)(void *arg), void *arg) {
    int64_t until = clock_mono_ms() + KAFKA_INIT_MS;
    for (int slice = INIT_FIRST_MS;; slice = MIN(slice * 2, INIT_SLICE_MS)) {
        rd_kafka_error_t *k = rd_kafka_init_transactions(c->rk, slice);
        if (!k) return NULL;
        bool again = rd_kafka_error_is_retriable(k) || rd_kafka_error_code(k) == RD_KAFKA_RESP_ERR__TIMED_OUT;
        err_t *e = kafka_take_error(c, k, who, "init_transactions");
        if (!again || clock_mono_ms() > until) return e;
        err_free(e);
        if (cancelled(arg)) return err_new(ERR_CANCELLED, "lane %s is closing", who);
    }
}

bool kafka_client_down(kafka_client_t *c, char *why, size_t size) {
    pthread_mutex_lock(&c->lock);
    bool down = c->down;
    if (down) snprintf(why, size, "%s", c->last_error);
    pthread_mutex_unlock(&c->lock);
    return down;
}

bool kafka_client_waits(kafka_client_t *c, char *why, size_t size) {
    return kafka_client_down(c, why, size) || kafka_watch_silent(c->watch, why, size) || kafka_refusal_lasts(c->refusal, clock_mono_ms(), why, size);
}

void kafka_client_alive(kafka_client_t *c) {
    if (!atomic_load_explicit(&c->down, memory_order_relaxed)) return;
    pthread_mutex_lock(&c->lock);
    c->down = false;
    pthread_mutex_unlock(&c->lock);
}

static void probe_answer(kafka_client_t *c) {
    rd_kafka_event_t *ev = c->probe ? rd_kafka_queue_poll(c->probe, 0) : NULL;
    if (!ev) return;
    rd_kafka_resp_err_t code = rd_kafka_event_error(ev);
    c->probing = false;
    if (code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT) kafka_client_alive(c); /* a refusal is an answer */
    rd_kafka_event_destroy(ev);
}

void kafka_client_probe(kafka_client_t *c, const char *topic, int64_t now_ms) {
    probe_answer(c);
    if (c->probing || !atomic_load_explicit(&c->down, memory_order_relaxed) || now_ms - c->probed_ms < PROBE_EVERY_MS) return;
    char text[128];
    if (!c->probe) c->probe = rd_kafka_queue_new(c->rk);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(c->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_AdminOptions_set_request_timeout(o, PROBE_EVERY_MS, text, sizeof text);
    rd_kafka_DescribeConfigs(c->rk, &r, 1, o, c->probe);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_ConfigResource_destroy(r);
    c->probing = true;
    c->probed_ms = now_ms;
}

static bool denied(kafka_client_t *c) {
    rd_kafka_poll(c->rk, 0); /* error_cb */
    pthread_mutex_lock(&c->lock);
    bool yes = c->denied;
    pthread_mutex_unlock(&c->lock);
    return yes;
}

/* In slices: a refused password is known long before the time is over. */
static rd_kafka_resp_err_t metadata(kafka_client_t *c, rd_kafka_topic_t *t, int timeout_ms, const struct rd_kafka_metadata **ret) {
    int64_t until = clock_mono_ms() + timeout_ms;
    for (;;) {
        int left = (int)MAX(until - clock_mono_ms(), (int64_t)1);
        rd_kafka_resp_err_t code = rd_kafka_metadata(c->rk, !t, t, ret, MIN(left, SLICE_MS));
        bool again = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT;
        if (!again || left <= SLICE_MS || denied(c)) return code;
    }
}

err_t *kafka_partitions(kafka_client_t *c, const char *topic, int timeout_ms, int *ret) {
    rd_kafka_topic_t *t = rd_kafka_topic_new(c->rk, topic, NULL);
    if (!t) return kafka_error(c, rd_kafka_last_error(), "topic '%s'", topic);
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = metadata(c, t, timeout_ms, &md);
    err_t *e = NULL;
    if (code) e = kafka_error(c, code, "metadata of topic '%s'", topic);
    else if (md->topic_cnt != 1 || md->topics[0].err) e = kafka_error(c, md->topic_cnt ? md->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "topic '%s'", topic);
    else *ret = md->topics[0].partition_cnt;
    if (md) rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(t);
    if (err_code(e) == ERR_UNAVAILABLE) return err_hint(e, "does the broker run, and is 'properties.bootstrap.servers' its address?");
    return err_code(e) == ERR_NOT_FOUND ? err_hint(e, "create it, or correct the option 'topic'") : e;
}

static err_t *compile_pattern(const table_t *t, const char *pattern, pcre2_code **ret) {
    int code;
    PCRE2_SIZE at;
    *ret = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &code, &at, NULL);
    if (*ret) return NULL;
    PCRE2_UCHAR why[128] = "";
    pcre2_get_error_message(code, why, sizeof why);
    return err_hint(err_new(ERR_INVALID, "table %s: 'topic-pattern' = '%s' is not readable at %zu: %s", t->name, pattern, (size_t)at, (const char *)why),
                    "it is a regular expression over the whole name, like 'orders-.*'");
}

static err_t *kafka_pattern_check(const table_t *t, const char *pattern) {
    pcre2_code *re;
    TRY(compile_pattern(t, pattern, &re));
    pcre2_code_free(re);
    return NULL;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static err_t *matching(arena_t *a, const table_t *t, const struct rd_kafka_metadata *md, const char *const **ret, int *ret_n) {
    pcre2_code *re;
    TRY(compile_pattern(t, options_get(&t->options, "topic-pattern"), &re));
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    const char **list = ARENA_ARRAY(a, const char *, md->topic_cnt + 1);
    int n = 0;
    for (int i = 0; i < md->topic_cnt; i++) {
        const char *name = md->topics[i].topic;
        if (!strncmp(name, "__", 2)) continue; /* the broker's own, as the consumer of Java leaves them out */
        if (pcre2_match(re, (PCRE2_SPTR)name, strlen(name), 0, 0, match, NULL) >= 0) list[n++] = arena_strdup(a, name);
    }
    pcre2_match_data_free(match);
    pcre2_code_free(re);
    qsort(list, (size_t)n, sizeof *list, by_text);
    *ret = list;
    *ret_n = n;
    return NULL;
}

err_t *kafka_topics_there(kafka_client_t *c, arena_t *a, const table_t *t, int timeout_ms, const char *const **ret, int *ret_n) {
    if (!options_get(&t->options, "topic-pattern")) return kafka_topics(a, t, ret, ret_n);
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = metadata(c, NULL, timeout_ms, &md);
    if (code) return err_hint(kafka_error(c, code, "table %s: list of topics", t->name), "does the broker run, and is 'properties.bootstrap.servers' its address?");
    err_t *e = matching(a, t, md, ret, ret_n);
    rd_kafka_metadata_destroy(md);
    return e;
}

err_t *kafka_topics(arena_t *a, const table_t *t, const char *const **ret, int *ret_n) {
    const char *text = options_get(&t->options, "topic"), *pattern = options_get(&t->options, "topic-pattern");
    if (text && pattern)
        return err_hint(err_new(ERR_INVALID, "table '%s': 'topic' and 'topic-pattern' exclude each other", t->name), "leave one of them out");
    *ret_n = 0;
    if (pattern) return kafka_pattern_check(t, pattern);
    if (!text || !*text) return err_new(ERR_INVALID, "table '%s': option 'topic' is missing", t->name);
    int n = 1;
    for (const char *p = text; *p; p++) n += *p == ';';
    const char **list = ARENA_ARRAY(a, const char *, n);
    for (int i = 0; i < n; i++) {
        size_t len = strcspn(text, ";");
        if (!len) return err_new(ERR_INVALID, "table '%s': option 'topic' has an empty name", t->name);
        list[i] = arena_strndup(a, text, len);
        text += len + 1;
    }
    *ret = list;
    *ret_n = n;
    return NULL;
}

rd_kafka_resp_err_t kafka_produce(kafka_client_t *c, rd_kafka_topic_t *topic, const kafka_record_t *r) {
    rd_kafka_vu_t vus[] = {{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
                           {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = r->partition},
                           {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = r->flags},
                           {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)r->key, r->key_len}},
                           {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)r->value, r->value_len}},
                           {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = r->opaque},
                           {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = r->timestamp_ms},
                           {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = r->headers}};
    rd_kafka_error_t *e = rd_kafka_produceva(c->rk, vus, ARRAY_LEN(vus) - !r->headers);
    if (!e) return RD_KAFKA_RESP_ERR_NO_ERROR;
    if (r->headers) rd_kafka_headers_destroy(r->headers); /* on success they are the client's */
    rd_kafka_resp_err_t code = rd_kafka_error_is_fatal(e) ? RD_KAFKA_RESP_ERR__FATAL : rd_kafka_error_code(e);
    rd_kafka_error_destroy(e);
    return code;
}
