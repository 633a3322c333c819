/* kafka_watch.c: see kafka_watch.h. */
#include "engine/connector/kafka_watch.h"
#include "common/clock.h"
#include "common/err.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct owed {
    int32_t id;       /* -1: not known */
    char name[128];
    int requests;     /* sent over the present connection and not answered */
    int64_t since_ms; /* of the last answer, or of the first request after none was owed */
} owed_t;

struct kafka_watch {
    pthread_mutex_t lock;
    int limit_ms;
    bool begun;
    owed_t *brokers;
    int n;
};

/* "host:port" of a name, without a protocol before and an id behind it. */
static slice_t address_of(const char *name) {
    const char *proto = strstr(name, "://"), *from = proto ? proto + 3 : name, *end = strrchr(from, '/');
    return slice_of(from, end ? (size_t)(end - from) : strlen(from));
}

static owed_t *find(kafka_watch_t *w, int32_t id, const char *name) {
    for (int i = 0; i < w->n && id >= 0; i++)
        if (w->brokers[i].id == id) return &w->brokers[i];
    for (int i = 0; i < w->n; i++)
        if ((id < 0 || w->brokers[i].id < 0) && slice_eq(address_of(w->brokers[i].name), address_of(name))) return &w->brokers[i];
    return NULL;
}

static owed_t *account(kafka_watch_t *w, int32_t id, const char *name) {
    owed_t *o = find(w, id, name);
    if (!o) {
        w->brokers = xrealloc(w->brokers, sizeof *w->brokers * (size_t)(w->n + 1));
        o = &w->brokers[w->n++];
        *o = (owed_t){.id = -1};
    }
    if (id < 0 && o->id >= 0) return o; /* the better name stays */
    o->id = id;
    snprintf(o->name, sizeof o->name, "%s", name);
    return o;
}

void kafka_watch_sent(kafka_watch_t *w, int32_t id, const char *name, int64_t now_ms) {
    pthread_mutex_lock(&w->lock);
    owed_t *o = account(w, id, name);
    if (!o->requests++) o->since_ms = now_ms;
    pthread_mutex_unlock(&w->lock);
}

void kafka_watch_answered(kafka_watch_t *w, int32_t id, const char *name, kafka_answer_t how, int64_t now_ms) {
    pthread_mutex_lock(&w->lock);
    owed_t *o = account(w, id, name);
    if (how != KAFKA_ANSWERED_LATE) o->requests -= o->requests > 0;
    if (how != KAFKA_GAVE_UP) o->since_ms = now_ms;
    pthread_mutex_unlock(&w->lock);
}

int kafka_watch_owed(kafka_watch_t *w, int32_t id, const char *name) {
    pthread_mutex_lock(&w->lock);
    int n = account(w, id, name)->requests;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void kafka_watch_lost(kafka_watch_t *w, int32_t id, const char *host, int port) {
    char name[128];
    if (port) snprintf(name, sizeof name, "%s:%d", host, port);
    else snprintf(name, sizeof name, "%s", host);
    pthread_mutex_lock(&w->lock);
    owed_t *o = find(w, id, name);
    if (o) o->requests = 0;
    pthread_mutex_unlock(&w->lock);
}

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                   void *opaque) {
    kafka_watch_sent(opaque, id, broker, clock_mono_ms());
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Called for a request that timed out as well, without a byte, and for the answer to one that had. */
static rd_kafka_resp_err_t on_answer(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                     int64_t rtt, rd_kafka_resp_err_t err, void *opaque) {
    kafka_answer_t how = size == 0 ? KAFKA_GAVE_UP : err == RD_KAFKA_RESP_ERR__NOENT ? KAFKA_ANSWERED_LATE : KAFKA_ANSWERED;
    kafka_watch_answered(opaque, id, broker, how, clock_mono_ms());
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_state(rd_kafka_t *rk, int32_t id, const char *proto, const char *name, int port, const char *state, void *opaque) {
    if (strcmp(state, "DOWN") == 0) kafka_watch_lost(opaque, id, name, port);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t size) {
    ((kafka_watch_t *)opaque)->begun = true;
    rd_kafka_interceptor_add_on_request_sent(rk, "watch", on_sent, opaque);
    rd_kafka_interceptor_add_on_response_received(rk, "watch", on_answer, opaque);
    return rd_kafka_interceptor_add_on_broker_state_change(rk, "watch", on_state, opaque);
}

kafka_watch_t *kafka_watch_new(rd_kafka_conf_t *conf) {
    kafka_watch_t *w = xcalloc(1, sizeof *w);
    char wait[32] = "";
    size_t size = sizeof wait;
    pthread_mutex_init(&w->lock, NULL);
    w->limit_ms = KAFKA_SILENT_MS;
    if (rd_kafka_conf_get(conf, "fetch.wait.max.ms", wait, &size) == RD_KAFKA_CONF_OK) w->limit_ms += (int)strtol(wait, NULL, 10);
    rd_kafka_conf_interceptor_add_on_new(conf, "watch", on_new, w);
    return w;
}

bool kafka_watch_begun(const kafka_watch_t *w) { return w->begun; }

void kafka_watch_free(kafka_watch_t *w) {
    if (!w) return;
    pthread_mutex_destroy(&w->lock);
    free(w->brokers);
    free(w);
}

bool kafka_watch_silent_at(kafka_watch_t *w, int64_t now_ms, char *why, size_t size) {
    int64_t longest = w->limit_ms;
    bool silent = false;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n; i++) {
        const owed_t *o = &w->brokers[i];
        if (!o->requests || now_ms - o->since_ms <= longest) continue;
        longest = now_ms - o->since_ms;
        silent = true;
        snprintf(why, size, "%s has not answered for %d s", o->name, (int)(longest / 1000));
    }
    pthread_mutex_unlock(&w->lock);
    return silent;
}

bool kafka_watch_silent(kafka_watch_t *w, char *why, size_t size) { return kafka_watch_silent_at(w, clock_mono_ms(), why, size); }
