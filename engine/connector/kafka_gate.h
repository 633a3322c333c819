/* kafka_gate.h: keeps what librdkafka has fetched ahead small enough to stay in the processor's cache.
 *
 * librdkafka's broker thread fetches as fast as the broker answers. A task that is a little slower (or off its processor for a moment) then works through
 * a queue of many megabytes: each message is written to memory, evicted, and read back by another thread, which costs more than decoding it.
 * librdkafka's own bound (queued.max.messages.kbytes) does not help: a partition over it is looked at again only after a second (2.0.2). The gate is an
 * interceptor: after a Fetch request is sent, the broker thread waits in it until the queue is short again. The answer waits in the socket meanwhile.
 *
 * Invariants
 *  1. No wake is lost: a broker thread counts itself into `waiting`, then looks at the queue; the task empties the queue, then looks at `waiting`.
 *  2. The broker thread never waits longer than KAFKA_GATE_WAIT_MS at a time: it has requests to time out and other answers to read. So a source that is
 *     not polled for long still fetches a little now and then, up to queued.max.messages.kbytes.
 *  3. Before the handle is destroyed the gate is opened for good, because destroying waits for the broker threads.
 * Threads: librdkafka's broker threads wait; one task polls. Measured by bench/run tumble. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <stdint.h>

#define KAFKA_GATE_BYTES (1536u << 10) /* of payload and librdkafka's own per message: a part of an L2 cache */
#define KAFKA_GATE_WAIT_MS 2000

typedef struct kafka_gate kafka_gate_t;
kafka_gate_t *kafka_gate_new(rd_kafka_conf_t *conf);             /* open until a queue is given */
void kafka_gate_queue(kafka_gate_t *g, rd_kafka_queue_t *queue); /* borrowed until kafka_gate_open */
void kafka_gate_polled(kafka_gate_t *g, uint64_t messages, uint64_t bytes); /* taken from the queue since the last call */
void kafka_gate_open(kafka_gate_t *g);                           /* for good */
void kafka_gate_free(kafka_gate_t *g);                           /* after the handle; NULL is legal */
