/* kafka_watch.c: see kafka_watch.h. */
#include "engine/connector/kafka_watch.h"
#include "common/clock.h"
#include "common/err.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct owed {
    pthread_t thread; /* the broker's */
    char name[64];
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

static owed_t *of_this_thread(kafka_watch_t *w) {
    for (int i = 0; i < w->n; i++)
        if (pthread_equal(w->brokers[i].thread, pthread_self())) return &w->brokers[i];
    w->brokers = xrealloc(w->brokers, sizeof *w->brokers * (size_t)(w->n + 1));
    w->brokers[w->n] = (owed_t){.thread = pthread_self()};
    return &w->brokers[w->n++];
}

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                   void *opaque) {
    kafka_watch_t *w = opaque;
    pthread_mutex_lock(&w->lock);
    owed_t *o = of_this_thread(w);
    if (!o->requests++) o->since_ms = clock_mono_ms();
    snprintf(o->name, sizeof o->name, "%s", broker);
    pthread_mutex_unlock(&w->lock);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_answer(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                     int64_t rtt, rd_kafka_resp_err_t err, void *opaque) {
    kafka_watch_t *w = opaque;
    pthread_mutex_lock(&w->lock);
    owed_t *o = of_this_thread(w);
    o->requests -= o->requests > 0;
    o->since_ms = clock_mono_ms();
    pthread_mutex_unlock(&w->lock);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What was sent over a connection that is gone is not answered any more. */
static rd_kafka_resp_err_t on_state(rd_kafka_t *rk, int32_t id, const char *proto, const char *name, int port, const char *state, void *opaque) {
    kafka_watch_t *w = opaque;
    if (strcmp(state, "DOWN") != 0) return RD_KAFKA_RESP_ERR_NO_ERROR;
    pthread_mutex_lock(&w->lock);
    of_this_thread(w)->requests = 0;
    pthread_mutex_unlock(&w->lock);
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

bool kafka_watch_silent(kafka_watch_t *w, char *why, size_t size) {
    int64_t longest = w->limit_ms, now = clock_mono_ms();
    bool silent = false;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n; i++) {
        const owed_t *o = &w->brokers[i];
        if (!o->requests || now - o->since_ms <= longest) continue;
        longest = now - o->since_ms;
        silent = true;
        snprintf(why, size, "%s has not answered for %d s", o->name, (int)(longest / 1000));
    }
    pthread_mutex_unlock(&w->lock);
    return silent;
}
