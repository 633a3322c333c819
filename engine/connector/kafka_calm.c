/* kafka_calm.c: see kafka_calm.h. */
#include "engine/connector/kafka_calm.h"
#include "common/err.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define API_PRODUCE 0
#define IN_FLIGHT_MAX 5 /* of an idempotent producer; what the setting has above it is the default */

struct kafka_calm {
    kafka_watch_t *watch;
    int in_flight;
    int ended; /* readable: for good */
};

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *name, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                   void *opaque) {
    kafka_calm_t *c = opaque;
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = c->ended, .events = POLLIN}};
    if (api == API_PRODUCE && kafka_watch_owed(c->watch, id, name) >= c->in_flight)
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
    *c = (kafka_calm_t){watch, in_flight, eventfd(0, EFD_CLOEXEC)};
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
    free(c);
}
