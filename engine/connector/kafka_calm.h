/* kafka_calm.h: an idempotent producer's broker thread sleeps until the broker answers.
 *
 * librdkafka (2.0.2, and later ones are no different) sends no second request to a partition that has five messages under way. Once others have
 * waited there for linger.ms its thread looks again and again until the answer comes: a core for as long as the broker takes, which is the longer the
 * fewer cores it has left. So when max.in.flight requests are under way the thread waits for an answer in an interceptor, behind the last of them.
 *
 * Invariants
 *  1. Nothing that could be sent waits: with max.in.flight under way librdkafka sends no other request, whatever it is for. Brokers answer the requests of a
 *     connection one after the other, so more than two under way gain the way there and back, no more.
 *  2. The thread waits no longer than KAFKA_CALM_WAIT_MS: it has requests to time out, and partitions to hand over to their new leader's thread.
 *  3. A broken connection ends the wait at once, and so does kafka_calm_end: destroying a handle waits for its threads.
 * Threads: librdkafka's broker threads wait; any may end it. */
#pragma once
#include "engine/connector/kafka_watch.h"
#include <librdkafka/rdkafka.h>

#define KAFKA_CALM_IN_FLIGHT "2" /* what a sink that says nothing else has under way */
#define KAFKA_CALM_WAIT_MS 10000

typedef struct kafka_calm kafka_calm_t;
/* NULL unless the producer is idempotent (else there may be no answer) with a small max.in.flight. The watch counts the requests: it is borrowed, and knows a
 * request before the calm does. */
kafka_calm_t *kafka_calm_new(rd_kafka_conf_t *conf, kafka_watch_t *watch);
void kafka_calm_end(kafka_calm_t *c);  /* for good; NULL is legal */
void kafka_calm_free(kafka_calm_t *c); /* after the handle; NULL is legal */
