/* kafka_latency.c: how late output is, and the two floors to compare with.
 *
 * Open loop: event i is due at start + i / rate and carries that moment, whatever the producer, the broker or the job under test do; a pause shows in
 * all events that were due during it. The first fifth of the time warms up and does not count, the longest gap counts from the first row on.
 * The driver's producer has at most five requests under way, as Java's. Without a limit it sends one per partition and millisecond, whatever the
 * broker answers, and each waits behind all those before it: where the broker lacks a processor that queue would be what is measured. */
#include "integration/kafka_client.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t wall_us(void) { /* the stamp is a wall time: another process may read it */
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct sender { const char *topic; int64_t start; long rate, seconds, sent; } sender_t;

static void *send_all(void *arg) {
    sender_t *s = arg;
    rd_kafka_t *rk = client_new(RD_KAFKA_PRODUCER, client_conf(3, (const char *const[][2]){{"linger.ms", "1"}, {"queue.buffering.max.messages", "2000000"}, {"max.in.flight", "5"}}));
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, s->topic, NULL);
    int partitions = partitions_of(rk, s->topic);
    char text[256], when[40];
    for (long total = s->rate * s->seconds; s->sent < total;) {
        int64_t due = (wall_us() - s->start) * s->rate / 1000000;
        if (due <= s->sent) {
            usleep(200);
            continue;
        }
        for (; s->sent < due && s->sent < total; s->sent++) {
            int64_t ts = s->start + s->sent * 1000000 / s->rate;
            time_text(when, sizeof when, ts / 1000);
            int n = snprintf(text, sizeof text, "{\"id\":\"o%09ld\",\"user_id\":\"u%06lu\",\"category\":\"category-%02lu\",\"amount\":%lu.%02lu,\"event_time\":\"%s\",\"ts\":%ld}",
                             s->sent, (unsigned long)(rng() % 100000), (unsigned long)(rng() % 50), (unsigned long)(rng() % 1000), (unsigned long)(rng() % 100),
                             when, (long)ts);
            produce(rk, t, (int)(s->sent % partitions), NULL, 0, text, (size_t)n);
        }
        rd_kafka_poll(rk, 0);
    }
    finish(rk, t);
    return NULL;
}

static void latency(const char *in, const char *out, long rate, long seconds, const char *isolation) {
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, client_conf(5, (const char *const[][2]){{"group.id", "kafka_tool"},
                                                                                          {"enable.auto.commit", "false"},
                                                                                          {"isolation.level", isolation},
                                                                                          {"fetch.wait.max.ms", "500"},
                                                                                          {"fetch.min.bytes", "1"}}));
    assign_all(rk, out, RD_KAFKA_OFFSET_END);
    for (int64_t until = now_ms() + 2000; now_ms() < until;) { /* positions are known, the job runs warm */
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (m) rd_kafka_message_destroy(m);
    }
    long cap = rate * seconds * 2 + 1000000, n = 0, all = 0;
    double *late = malloc((size_t)cap * sizeof *late);
    sender_t s = {.topic = in, .start = wall_us() + 200000, .rate = rate, .seconds = seconds};
    int64_t counts_from = s.start + seconds * 200000, end = s.start + seconds * 1000000, last = 0, gap = 0, gap_at = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, send_all, &s);
    while (wall_us() < end + 30000000) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 50);
        int64_t now = wall_us();
        if (!m && now > end && (now - last > 3000000 || all >= rate * seconds)) break;
        if (!m) continue;
        const char *at = m->err || !m->payload ? NULL : memmem(m->payload, m->len, "\"ts\":", 5);
        int64_t ts = at ? atoll(at + 5) : 0;
        if (ts >= s.start) {
            if (all++ && now - last > gap) gap = now - last, gap_at = now - s.start;
            last = now;
            if (ts > counts_from && n < cap) late[n++] = (double)(now - ts) / 1000;
        }
        rd_kafka_message_destroy(m);
    }
    pthread_join(thread, NULL);
    if (!n) die("no row of %s came back through %s within 30 s", in, out);
    qsort(late, (size_t)n, sizeof *late, by_value);
    printf("{\"sent\": %ld, \"got\": %ld, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f, \"gap_ms\": %.1f, \"gap_at_s\": %.1f}\n", s.sent, all,
           late[n / 2], late[n * 9 / 10], late[n * 99 / 100], late[n * 999 / 1000], late[n - 1], (double)gap / 1e3, (double)gap_at / 1e6);
    free(late);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

typedef struct copy { rd_kafka_t *producer; rd_kafka_topic_t *out; } copy_t;
static void copy_message(rd_kafka_message_t *m, void *opaque) {
    copy_t *c = opaque;
    if (!m->err) produce(c->producer, c->out, m->partition, m->key, m->key_len, m->payload, m->len);
}

static void relay(const char *in, const char *out, long seconds, int n, char **settings) {
    rd_kafka_conf_t *conf = client_conf(1, (const char *const[][2]){{"linger.ms", "1"}});
    for (int i = 0; i < n; i++) {
        char why[256], *eq = strchr(settings[i], '=');
        if (!eq) die("'%s' is not setting=value", settings[i]);
        *eq = 0;
        if (rd_kafka_conf_set(conf, settings[i], eq + 1, why, sizeof why)) die("%s", why);
    }
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, conf);
    rd_kafka_t *consumer = client_new(RD_KAFKA_CONSUMER, client_conf(3, (const char *const[][2]){{"group.id", "relay"}, {"enable.auto.commit", "false"}, {"fetch.wait.max.ms", "500"}}));
    copy_t c = {producer, rd_kafka_topic_new(producer, out, NULL)};
    assign_all(consumer, in, RD_KAFKA_OFFSET_END);
    rd_kafka_queue_t *q = rd_kafka_queue_get_consumer(consumer);
    for (int64_t end = now_ms() + seconds * 1000; now_ms() < end;) {
        rd_kafka_consume_callback_queue(q, 50, copy_message, &c);
        rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, 5000);
    _exit(0);
}

static bool stop;
static void *drain(void *q) { /* delivery reports as events wake the commit at once */
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        rd_kafka_event_t *e = rd_kafka_queue_poll(q, 100);
        if (e) rd_kafka_event_destroy(e);
    }
    return NULL;
}

static void ok(rd_kafka_error_t *e, const char *what) {
    if (e) die("%s: %s", what, rd_kafka_error_string(e));
}

static void txn(const char *data_name, const char *ledger_name, int epochs, int rows, int period) {
    rd_kafka_conf_t *conf = client_conf(4, (const char *const[][2]){{"transactional.id", "kafka_tool/txn"}, {"transaction.timeout.ms", "15000"}, {"linger.ms", "0"}, {"retry.backoff.ms", "5"}});
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    rd_kafka_t *rk = client_new(RD_KAFKA_PRODUCER, conf);
    pthread_t thread;
    pthread_create(&thread, NULL, drain, rd_kafka_queue_get_main(rk));
    int64_t t0 = wall_us();
    ok(rd_kafka_init_transactions(rk, 30000), "init_transactions");
    double init = (double)(wall_us() - t0) / 1000, *took = calloc((size_t)epochs, sizeof *took);
    rd_kafka_topic_t *data = rd_kafka_topic_new(rk, data_name, NULL), *ledger = rd_kafka_topic_new(rk, ledger_name, NULL);
    int partitions = partitions_of(rk, data_name);
    char text[128];
    for (int i = 0; i < epochs; i++) {
        int64_t start = wall_us();
        ok(rd_kafka_begin_transaction(rk), "begin");
        for (int r = 0; r < rows; r++) {
            int n = snprintf(text, sizeof text, "{\"epoch\":%d,\"row\":%d,\"padding\":\"0123456789012345678901234567890123456789\"}", i, r);
            produce(rk, data, r % partitions, NULL, 0, text, (size_t)n);
        }
        int n = snprintf(text, sizeof text, "%d", i);
        produce(rk, ledger, 0, "lane-0", 6, text, (size_t)n);
        ok(rd_kafka_commit_transaction(rk, 30000), "commit");
        took[i] = (double)(wall_us() - start) / 1000;
        int64_t rest = period * 1000 - (wall_us() - start);
        if (rest > 0) usleep((useconds_t)rest);
    }
    qsort(took, (size_t)epochs, sizeof *took, by_value);
    printf("{\"init\": %.1f, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n", init, took[epochs / 2], took[epochs * 9 / 10], took[epochs * 99 / 100],
           took[epochs - 1]);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    fflush(stdout);
    _exit(0);
}

int latency_command(int argc, char **v) {
    const char *cmd = v[1];
    if (!strcmp(cmd, "latency") && (argc == 6 || argc == 7)) latency(v[2], v[3], atol(v[4]), atol(v[5]), argc == 7 ? v[6] : "read_committed");
    else if (!strcmp(cmd, "relay") && argc >= 5) relay(v[2], v[3], atol(v[4]), argc - 5, v + 5);
    else if (!strcmp(cmd, "txn") && argc == 7 && atoi(v[4]) > 0) txn(v[2], v[3], atoi(v[4]), atoi(v[5]), atoi(v[6]));
    else return -1;
    return 0;
}
