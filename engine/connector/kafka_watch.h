/* kafka_watch.h: which broker has a request of ours and does not answer. A connection that is refused or breaks is an error of librdkafka at once;
 * a broker that hangs, or a network that swallows, is one only after socket.timeout.ms (60 s). A person wants to know earlier.
 *
 * Interceptors of the handle: each broker of librdkafka has a thread of its own, which sends its requests and takes its answers, so the thread
 * tells which broker it is. Threads: theirs note; any asks. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#define KAFKA_SILENT_MS 2500 /* beyond the time a fetch may wait at the broker by itself */

typedef struct kafka_watch kafka_watch_t;
kafka_watch_t *kafka_watch_new(rd_kafka_conf_t *conf); /* conf: complete */
bool kafka_watch_begun(const kafka_watch_t *w);         /* rd_kafka_new has called the interceptors */
void kafka_watch_free(kafka_watch_t *w);               /* after the handle; NULL is legal */
/* A broker has a request and has sent nothing for too long; why: which and how long, the longest. */
bool kafka_watch_silent(kafka_watch_t *w, char *why, size_t size);
