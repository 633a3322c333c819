#include "kafka_client.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

_Noreturn void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("kafka_tool: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void set(rd_kafka_conf_t *c, const char *k, const char *v) {
    char e[256];
    if (rd_kafka_conf_set(c, k, v, e, sizeof e)) die("%s", e);
}

rd_kafka_conf_t *client_conf(int n, const char *const pairs[][2]) {
    const char *boot = getenv("BOOTSTRAP");
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    set(c, "bootstrap.servers", boot ? boot : "127.0.0.1:9092");
    set(c, "socket.nagle.disable", "true");
    for (int i = 0; i < n; i++) set(c, pairs[i][0], pairs[i][1]);
    return c;
}

rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char e[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, e, sizeof e);
    if (!rk) die("%s", e);
    return rk;
}

rd_kafka_t *handle(rd_kafka_type_t type, const char *isolation) {
    const char *group = getenv("GROUP"), *transaction = getenv("TRANSACTION");
    if (type == RD_KAFKA_CONSUMER)
        return client_new(type, client_conf(5, (const char *const[][2]){{"group.id", group ? group : "kafka_tool"},
                                                                         {"enable.auto.commit", "false"},
                                                                         {"enable.partition.eof", "true"},
                                                                         {"auto.offset.reset", "earliest"},
                                                                         {"isolation.level", isolation}}));
    /* idempotent: a broker restart must not double what the test counts */
    rd_kafka_conf_t *c = client_conf(3, (const char *const[][2]){{"linger.ms", "5"}, {"queue.buffering.max.messages", "1000000"}, {"enable.idempotence", "true"}});
    set(c, transaction ? "transactional.id" : "message.timeout.ms", transaction ? transaction : "120000");
    return client_new(type, c);
}

int partitions_of(rd_kafka_t *rk, const char *topic) {
    const struct rd_kafka_metadata *md;
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, t, &md, 30000);
    if (!err) err = md->topics[0].err;
    if (err) die("metadata of %s: %s", topic, rd_kafka_err2str(err));
    int n = md->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(t);
    return n;
}

void assign_all(rd_kafka_t *rk, const char *topic, int64_t offset) {
    int n = partitions_of(rk, topic);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(n);
    for (int p = 0; p < n; p++) rd_kafka_topic_partition_list_add(l, topic, p)->offset = offset;
    rd_kafka_resp_err_t err = rd_kafka_assign(rk, l);
    if (err) die("assign %s: %s", topic, rd_kafka_err2str(err));
    rd_kafka_topic_partition_list_destroy(l);
}

static uint64_t rng_state = 88172645463325252ULL;
void rng_seed(uint64_t seed) { rng_state = seed * 0x9e3779b97f4a7c15ULL + 88172645463325252ULL; }
uint64_t rng(void) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

void produce(rd_kafka_t *rk, rd_kafka_topic_t *t, int partition, const char *key, size_t key_len, const char *p, size_t n) {
    int64_t until = 0;
    while (rd_kafka_produce(t, partition, RD_KAFKA_MSG_F_COPY, (void *)p, n, key, key_len, NULL)) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        if (!until) until = now_ms() + 120000;
        if (now_ms() > until) die("the broker takes nothing for 120 s");
        rd_kafka_poll(rk, 10);
    }
}

void finish(rd_kafka_t *rk, rd_kafka_topic_t *t) {
    if (rd_kafka_flush(rk, 120000)) die("%d messages were not delivered in 120 s", rd_kafka_outq_len(rk));
    rd_kafka_topic_destroy(t);
    rd_kafka_destroy(rk);
}

size_t time_text(char *out, size_t size, int64_t ms) {
    static _Thread_local time_t last = -1; /* the text of a second is made once */
    static _Thread_local char text[32];
    time_t sec = ms / 1000;
    if (sec != last) {
        struct tm tm;
        gmtime_r(&sec, &tm);
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
        last = sec;
    }
    return (size_t)snprintf(out, size, "%s.%03d", text, (int)(ms % 1000));
}
