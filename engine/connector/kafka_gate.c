/* kafka_gate.c: see kafka_gate.h. */
#include "engine/connector/kafka_gate.h"
#include "common/clock.h"
#include "common/err.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define API_FETCH 1
#define MESSAGE_OVERHEAD 256u /* an op of librdkafka with its share of allocator rounding */
#define MESSAGES_MIN 64u

struct kafka_gate {
    pthread_mutex_t lock;
    pthread_cond_t shorter;
    rd_kafka_queue_t *queue; /* guarded; NULL: open */
    atomic_int waiting;      /* broker threads */
    atomic_uint limit;       /* messages */
    /* the task's */
    uint64_t messages, bytes;
};

static bool too_long(kafka_gate_t *g) {
    return g->queue && rd_kafka_queue_length(g->queue) > atomic_load_explicit(&g->limit, memory_order_relaxed);
}

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *name, int32_t id, int16_t api, int16_t version, int32_t corr, size_t size,
                                    void *opaque) {
    kafka_gate_t *g = opaque;
    if (api != API_FETCH) return RD_KAFKA_RESP_ERR_NO_ERROR;
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->waiting, 1);
    int64_t end = clock_mono_ns() + KAFKA_GATE_WAIT_MS * 1000000L;
    while (too_long(g) && clock_wait_until(&g->shorter, &g->lock, end)) {}
    atomic_fetch_sub(&g->waiting, 1);
    pthread_mutex_unlock(&g->lock);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t size) {
    return rd_kafka_interceptor_add_on_request_sent(rk, "gate", on_sent, opaque);
}

kafka_gate_t *kafka_gate_new(rd_kafka_conf_t *conf) {
    kafka_gate_t *g = xcalloc(1, sizeof *g);
    pthread_cond_init(&g->shorter, NULL);
    pthread_mutex_init(&g->lock, NULL);
    atomic_init(&g->limit, KAFKA_GATE_BYTES / (2 * MESSAGE_OVERHEAD));
    rd_kafka_conf_interceptor_add_on_new(conf, "gate", on_new, g);
    return g;
}

void kafka_gate_queue(kafka_gate_t *g, rd_kafka_queue_t *queue) {
    pthread_mutex_lock(&g->lock);
    g->queue = queue;
    pthread_mutex_unlock(&g->lock);
}

static void learn_limit(kafka_gate_t *g) {
    uint64_t limit = KAFKA_GATE_BYTES / (g->bytes / g->messages + MESSAGE_OVERHEAD);
    atomic_store_explicit(&g->limit, (unsigned)MAX(limit, (uint64_t)MESSAGES_MIN), memory_order_relaxed);
    g->messages /= 2; /* the past counts less and less */
    g->bytes /= 2;
}

void kafka_gate_polled(kafka_gate_t *g, uint64_t messages, uint64_t bytes) {
    g->messages += messages;
    g->bytes += bytes;
    if (g->messages >= 4096) learn_limit(g);
    if (!atomic_load(&g->waiting)) return;
    pthread_mutex_lock(&g->lock);
    if (!too_long(g)) pthread_cond_broadcast(&g->shorter);
    pthread_mutex_unlock(&g->lock);
}

void kafka_gate_open(kafka_gate_t *g) {
    if (!g) return;
    pthread_mutex_lock(&g->lock);
    g->queue = NULL;
    pthread_cond_broadcast(&g->shorter);
    pthread_mutex_unlock(&g->lock);
}

void kafka_gate_free(kafka_gate_t *g) {
    if (!g) return;
    pthread_cond_destroy(&g->shorter);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
