/* kafka_calm.c: see kafka_calm.h. */
#include "engine/connector/kafka_calm.h"
#include "common/clock.h"
#include "common/err.h"
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define API_PRODUCE 0
#define IN_FLIGHT_MAX 5 /* of an idempotent producer; what the setting has above it is the default */

typedef struct confirmed {
    int32_t broker;
    int64_t place;    /* of the last row that it confirmed */
    int64_t other_ms; /* when that was another one than before */
} confirmed_t;

struct kafka_calm {
    kafka_watch_t *watch;
    int in_flight;
    bool ours; /* the limit is, and may be less */
    int ended; /* readable: for good */
    pthread_mutex_t lock;
    /* guarded */
    confirmed_t *brokers;
    int n;
};

static confirmed_t *find(kafka_calm_t *c, int32_t broker) {
    for (int i = 0; i < c->n; i++)
        if (c->brokers[i].broker == broker) return &c->brokers[i];
    return NULL;
}

void kafka_calm_confirmed(kafka_calm_t *c, int32_t broker, int64_t place) {
    if (!c || !c->ours) return;
    pthread_mutex_lock(&c->lock);
    confirmed_t *b = find(c, broker);
    if (!b) {
        c->brokers = xrealloc(c->brokers, sizeof *c->brokers * (size_t)(c->n + 1));
        b = &c->brokers[c->n++];
        *b = (confirmed_t){broker, place, INT64_MIN / 2};
    }
    if (b->place != place) b->other_ms = clock_mono_ms();
    b->place = place;
    pthread_mutex_unlock(&c->lock);
}

static int limit(kafka_calm_t *c, int32_t broker) {
    if (!c->ours) return c->in_flight;
    pthread_mutex_lock(&c->lock);
    const confirmed_t *b = find(c, broker);
    bool alone = b && clock_mono_ms() - b->other_ms > KAFKA_CALM_ALONE_MS;
    pthread_mutex_unlock(&c->lock);
    return alone ? 1 : c->in_flight;
}

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *name, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                   void *opaque) {
    kafka_calm_t *c = opaque;
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = c->ended, .events = POLLIN}};
    if (api == API_PRODUCE && kafka_watch_owed(c->watch, id, name) >= limit(c, id))
        poll(fds, 2, KAFKA_CALM_WAIT_MS); /* whatever ends it: librdkafka looks what it was */
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t size) {
    return rd_kafka_interceptor_add_on_request_sent(rk, "calm", on_sent, opaque);
}

static bool get(rd_kafka_conf_t *conf, const char *key, char value[32]) {
    size_t size = 32;
    return rd_kafka_conf_get(conf, key, value, &size) == RD_KAFKA_CONF_OK;
}

kafka_calm_t *kafka_calm_new(rd_kafka_conf_t *conf, kafka_watch_t *watch) {
    char value[32];
    if (!get(conf, "enable.idempotence", value) || strcmp(value, "true") != 0 || !get(conf, "max.in.flight", value)) return NULL;
    int in_flight = (int)strtol(value, NULL, 10);
    if (in_flight > IN_FLIGHT_MAX) return NULL;
    kafka_calm_t *c = xcalloc(1, sizeof *c);
    *c = (kafka_calm_t){.watch = watch, .in_flight = in_flight, .ours = !strcmp(value, KAFKA_CALM_IN_FLIGHT), .ended = eventfd(0, EFD_CLOEXEC)};
    pthread_mutex_init(&c->lock, NULL);
    ASSERT(c->ended >= 0);
    rd_kafka_conf_interceptor_add_on_new(conf, "calm", on_new, c);
    return c;
}

void kafka_calm_end(kafka_calm_t *c) {
    if (!c) return;
    ssize_t n = write(c->ended, &(uint64_t){1}, sizeof(uint64_t));
    ASSERT(n == sizeof(uint64_t));
}

void kafka_calm_free(kafka_calm_t *c) {
    if (!c) return;
    close(c->ended);
    pthread_mutex_destroy(&c->lock);
    free(c->brokers);
    free(c);
}
