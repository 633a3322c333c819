/* kafka_client.h: what the files of kafka_tool share. A tool: every error ends the process with one line on stderr and status 1, every wait
 * has a limit. BOOTSTRAP names the broker (default 127.0.0.1:9092). */
#pragma once
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t now_ms(void); /* monotonic */
double cpu_seconds(void); /* user + system, of this process so far */

/* A configuration with what every client here has; with n pairs of key and value more. */
rd_kafka_conf_t *client_conf(int n, const char *const pairs[][2]);
rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf);
/* Client for tests: an idempotent producer (TRANSACTION names its transactional id), or a consumer of the isolation level (GROUP its group). */
rd_kafka_t *handle(rd_kafka_type_t type, const char *isolation);
int partitions_of(rd_kafka_t *rk, const char *topic);
/* Assigns all partitions of the topic at the offset (RD_KAFKA_OFFSET_..). */
void assign_all(rd_kafka_t *rk, const char *topic, int64_t offset);

void rng_seed(uint64_t seed);
uint64_t rng(void);
/* Waits while the queue is full, at most 120 s. The bytes are copied. */
void produce(rd_kafka_t *rk, rd_kafka_topic_t *t, int partition, const char *key, size_t key_len, const char *p, size_t n);
/* Waits until all is delivered, then frees both. */
void finish(rd_kafka_t *rk, rd_kafka_topic_t *t);
size_t time_text(char *out, size_t size, int64_t ms); /* 2026-01-01 10:00:00.123; its length */

int load_command(int argc, char **v);    /* bench/kafka_load.c: orders, nexmark, consume */
int latency_command(int argc, char **v); /* bench/kafka_latency.c: latency, relay, txn. Both: -1 when the command is not theirs */
