/* kafka_client.h: librdkafka handles as the Kafka connectors use them: configuration from 'properties.*', errors as err_t, every wait with a limit. */
#pragma once
#include "engine/connector/kafka_calm.h"
#include "engine/connector/kafka_gate.h"
#include "engine/connector/kafka_refusal.h"
#include "engine/connector/kafka_watch.h"
#include "engine/plan.h"
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

/* A handle with the last error its brokers reported (librdkafka says why only there). */
typedef struct kafka_client {
    rd_kafka_t *rk;
    kafka_gate_t *gate; /* of a consumer */
    kafka_calm_t *calm; /* of a producer, or NULL */
    kafka_watch_t *watch;
    kafka_refusal_t *refusal;
    pthread_mutex_t lock;
    /* guarded */
    char last_error[256];
    bool denied;        /* a password, a certificate or the like was refused */
    atomic_bool down;   /* no broker answers; read without the lock to skip it */
    atomic_int end_txns; /* EndTxn requests a producer has sent; librdkafka repeats them without a word */
    /* kafka_client_probe's */
    rd_kafka_queue_t *probe;
    bool probing;
    int64_t probed_ms;
} kafka_client_t;

typedef struct kafka_setting {
    const char *key, *value;
} kafka_setting_t;

/* `ours` (NULL-terminated by key) is set after the table's properties and wins; `defaults` before them. Flink's Java-only properties are translated
 * (sasl.jaas.config) or ignored where they mean nothing here (serialisers); unknown ones are ERR_INVALID. events: RD_KAFKA_EVENT_* bits. */
err_t *kafka_client_new(const table_t *t, rd_kafka_type_t type, const kafka_setting_t *defaults, const kafka_setting_t *ours, int events,
                        kafka_client_t **ret);
/* Purges what is queued (borrowed payloads are free afterwards), destroys. */
void kafka_client_free(kafka_client_t *c);
/* The static part of kafka_client_new: are all properties understood, is bootstrap.servers there? */
err_t *kafka_check_properties(const table_t *t);

/* Have the brokers gone, as far as the served callbacks told? why: what they last said. kafka_client_alive: one has answered since.
 * kafka_client_waits: .. or does one of them hang, or refuse a partition again and again? */
bool kafka_client_down(kafka_client_t *c, char *why, size_t size);
bool kafka_client_waits(kafka_client_t *c, char *why, size_t size);
void kafka_client_alive(kafka_client_t *c);
/* A consumer's queue delivers as messages what error_cb gets elsewhere: m->err without a partition. */
void kafka_client_error(kafka_client_t *c, rd_kafka_resp_err_t code, const char *reason);
/* Asks at most once a second, without waiting, whether a broker answers again, and notes it: for a consumer with nothing to read, which would
 * not learn it. now_ms: any steady clock. One thread. */
void kafka_client_probe(kafka_client_t *c, const char *topic, int64_t now_ms);

/* ERR_UNAVAILABLE, ERR_NOT_FOUND, ERR_DENIED, ERR_LIMIT, ERR_FENCED, .. by what the code means for a retry; text names the context and, for
 * connection trouble, what the brokers last said. */
err_t *kafka_error(kafka_client_t *c, rd_kafka_resp_err_t code, const char *fmt, ...) PRINTF(3, 4) NODISCARD;
err_code_t kafka_error_code(rd_kafka_resp_err_t code);

/* Of a transactional producer; takes k. One that is beyond help says so by many codes; the reason is behind them. To be fenced must never look like a
 * passing trouble: the next init would fence the one who fenced us (B9). who: its transactional id; what: the call. */
rd_kafka_resp_err_t kafka_reason(kafka_client_t *c, rd_kafka_resp_err_t code);
err_t *kafka_take_error(kafka_client_t *c, rd_kafka_error_t *k, const char *who, const char *what) NODISCARD;
/* init_transactions: fences whoever has this transactional id and ends what it left open. The library takes the call up again where its time was over,
 * and only then tells that the broker refuses for now (the transaction is still open): by itself it would ask again after 500 ms, a further call asks at
 * once (B8). A new producer in its place would begin with the connection. Asked for KAFKA_INIT_MS; ERR_CANCELLED when `cancelled` says so. */
#define KAFKA_INIT_MS 3000
err_t *kafka_init_transactions(kafka_client_t *c, const char *who, bool (*cancelled)(void *arg), void *arg) NODISCARD;

/* A record with all that one may have. rd_kafka_produce cannot carry headers and a timestamp, and costs about half as much: only records that have
 * one pay. */
typedef struct kafka_record {
    int32_t partition;
    int flags;                   /* RD_KAFKA_MSG_F_* */
    const void *key, *value;     /* NULL: none */
    size_t key_len, value_len;
    int64_t timestamp_ms;        /* 0: now */
    rd_kafka_headers_t *headers; /* taken, also with an error; NULL: none */
    void *opaque;
} kafka_record_t;
rd_kafka_resp_err_t kafka_produce(kafka_client_t *c, rd_kafka_topic_t *topic, const kafka_record_t *r); /* RESP_ERR__FATAL: the producer is beyond help */

/* Number of partitions; ERR_NOT_FOUND when the topic does not exist, ERR_UNAVAILABLE after timeout_ms. Ask a consumer handle where absence
 * matters: a producer's question makes a broker with auto.create.topics.enable create the topic. */
err_t *kafka_partitions(kafka_client_t *c, const char *topic, int timeout_ms, int *ret);
/* Splits "a;b" of 'topic'; arena strings. None for a 'topic-pattern', which is checked. */
err_t *kafka_topics(arena_t *a, const table_t *t, const char *const **ret, int *ret_n);
/* The same, and the topics that match 'topic-pattern' now, in order; may be none. */
err_t *kafka_topics_there(kafka_client_t *c, arena_t *a, const table_t *t, int timeout_ms, const char *const **ret, int *ret_n);
