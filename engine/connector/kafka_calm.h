/* kafka_calm.h: an idempotent producer's broker thread sleeps until the broker answers.
 *
 * librdkafka (2.0.2, and later ones are no different) sends no second request to a partition that has five messages under way. Once others have
 * waited there for linger.ms its thread looks again and again until the answer comes: a core for as long as the broker takes, which is the longer the
 * fewer cores it has left. So the thread waits for an answer in an interceptor, behind the last request that could be sent: of max.in.flight, or, as long
 * as the broker confirms rows of one partition only, the first.
 *
 * Invariants
 *  1. Nothing that the broker could begin with waits: with max.in.flight under way librdkafka sends no other request, whatever it is for, and brokers
 *     answer the requests of a connection one after the other. More than one under way gains the way there and back, no more. For one partition that
 *     is given up where the limit is ours (KAFKA_CALM_IN_FLIGHT): it could only have sent some of its first five messages.
 *  2. The thread waits no longer than KAFKA_CALM_WAIT_MS: it has requests to time out, and partitions to hand over to their new leader's thread.
 *  3. A broken connection ends the wait at once, and so does kafka_calm_end: destroying a handle waits for its threads.
 * Threads: librdkafka's broker threads wait; any may end it; the one that polls reports says what was confirmed. */
#pragma once
#include "engine/connector/kafka_watch.h"
#include <librdkafka/rdkafka.h>

#define KAFKA_CALM_IN_FLIGHT "2" /* what a sink that says nothing else has under way */
#define KAFKA_CALM_WAIT_MS 10000
#define KAFKA_CALM_ALONE_MS 1000 /* so long after rows of another one a partition is not the only one */

typedef struct kafka_calm kafka_calm_t;
/* NULL unless the producer is idempotent (else there may be no answer) with a small max.in.flight. The watch counts the requests: it is borrowed, and knows a
 * request before the calm does. */
kafka_calm_t *kafka_calm_new(rd_kafka_conf_t *conf, kafka_watch_t *watch);
/* A broker has confirmed a row of a place, which is one partition. Reports of one place in a row may be told as one. */
void kafka_calm_confirmed(kafka_calm_t *c, int32_t broker, int64_t place); /* NULL is legal */
void kafka_calm_end(kafka_calm_t *c);  /* for good; NULL is legal */
void kafka_calm_free(kafka_calm_t *c); /* after the handle; NULL is legal */
