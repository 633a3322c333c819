/* kafka_watch.h: which broker has a request of ours and does not answer. A connection that is refused or breaks is an error of librdkafka at once;
 * a broker that hangs, or a network that swallows, is one only after socket.timeout.ms (60 s). A person wants to know earlier.
 *
 * Interceptors of the handle. A broker is its id. Before that is known (bootstrap servers) it is the "host:port" of its name, and its account goes
 * on under the id; a coordinator that librdkafka knows by role only is that role. Threads: librdkafka's note, any of them; anyone asks. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAFKA_SILENT_MS 2500 /* beyond the time a fetch may wait at the broker by itself */

typedef struct kafka_watch kafka_watch_t;
kafka_watch_t *kafka_watch_new(rd_kafka_conf_t *conf); /* conf: complete */
bool kafka_watch_begun(const kafka_watch_t *w);         /* rd_kafka_new has called the interceptors */
void kafka_watch_free(kafka_watch_t *w);               /* after the handle; NULL is legal */
/* A broker has a request and has sent nothing for too long; why: which and how long, the longest. */
bool kafka_watch_silent(kafka_watch_t *w, char *why, size_t size);

/* What the interceptors note. name: librdkafka's, "host:port/id" or "host:port/bootstrap", perhaps with "protocol://" before it, or a role. */
typedef enum kafka_answer {
    KAFKA_ANSWERED,
    KAFKA_ANSWERED_LATE, /* a request that was given up */
    KAFKA_GAVE_UP        /* nothing came */
} kafka_answer_t;
void kafka_watch_sent(kafka_watch_t *w, int32_t id, const char *name, int64_t now_ms);
void kafka_watch_answered(kafka_watch_t *w, int32_t id, const char *name, kafka_answer_t how, int64_t now_ms);
void kafka_watch_lost(kafka_watch_t *w, int32_t id, const char *host, int port /* 0: host is a role */); /* the connection, and what was asked over it */
int kafka_watch_owed(kafka_watch_t *w, int32_t id, const char *name); /* requests the broker has not answered */
bool kafka_watch_silent_at(kafka_watch_t *w, int64_t now_ms, char *why, size_t size);
