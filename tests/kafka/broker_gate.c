/* The gate before Fetch requests on the real broker named by BOOTSTRAP (integration/test_broker.py runs it). TOPIC: empty, of one partition. */
#include "common/clock.h"
#include "engine/connector/kafka_client.h"
#include "engine/connector/kafka_pool.h"
#include "tests/helpers/test.h"
#include "tests/kafka/broker.h"
#include <stdio.h>
#include <unistd.h>

#define MESSAGES 300000
#define SIZE 100
#define ANSWER_BYTES 1000000

static void fill(void) {
    kafka_client_t *c;
    ck_ok(kafka_client_new(&table, RD_KAFKA_PRODUCER, (kafka_setting_t[]){{"queue.buffering.max.messages", "1000000"}, {"linger.ms", "20"}, {0}}, NULL, 0, &c));
    rd_kafka_topic_t *t = rd_kafka_topic_new(c->rk, topic, NULL);
    char text[SIZE + 1];
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof text, "%0*d", SIZE, i);
        ck_assert_int_eq(rd_kafka_produce(t, 0, RD_KAFKA_MSG_F_COPY, text, SIZE, NULL, 0, NULL), 0);
    }
    ck_assert_int_eq(rd_kafka_flush(c->rk, 60000), 0);
    rd_kafka_topic_destroy(t);
    kafka_client_free(c);
}

static kafka_client_t *reader(rd_kafka_queue_t **ret) {
    kafka_client_t *c;
    kafka_setting_t s[] = {{"group.id", "gate"}, {"enable.auto.commit", "false"}, {"fetch.max.bytes", "1000000"}, {"queued.min.messages", "10000000"}, {0}};
    ck_ok(kafka_client_new(&table, RD_KAFKA_CONSUMER, s, NULL, 0, &c));
    rd_kafka_poll_set_consumer(c->rk);
    *ret = rd_kafka_queue_get_consumer(c->rk);
    kafka_gate_queue(c->gate, *ret);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, topic, 0)->offset = 0;
    ck_assert_int_eq(rd_kafka_assign(c->rk, l), 0);
    rd_kafka_topic_partition_list_destroy(l);
    return c;
}

/* Until the gate has stopped the broker thread: the queue is longer than its limit and does not grow for a while. */
static size_t held(rd_kafka_queue_t *q) {
    int64_t until = clock_mono_ms() + 30000;
    size_t n = 0, before;
    do {
        ck_assert_msg(clock_mono_ms() < until, "nothing was fetched for 30 s");
        before = n;
        usleep(300000);
        n = rd_kafka_queue_length(q);
    } while (!n || n != before);
    return n;
}

static int64_t seen, from_pool;
static void on_message(rd_kafka_message_t *m, void *opaque) {
    if (m->err) return;
    ck_assert_int_eq(m->offset, seen);
    from_pool += kafka_pool_owns(m);
    seen++;
}

START_TEST(what_is_not_polled_is_not_fetched_and_all_comes_afterwards_out_of_the_pool) {
    fill();
    rd_kafka_queue_t *q;
    kafka_client_t *c = reader(&q);
    size_t n = held(q), most = KAFKA_GATE_BYTES / SIZE + 2 * ANSWER_BYTES / SIZE;
    ck_assert_msg(n <= most, "%zu of %d messages were fetched ahead, at most %zu should be", n, MESSAGES, most);
    for (int64_t until = clock_mono_ms() + 60000; seen < MESSAGES;) {
        ck_assert_msg(clock_mono_ms() < until, "%" PRId64 " of %d messages after a minute", seen, MESSAGES);
        int64_t before = seen;
        rd_kafka_consume_callback_queue(q, 100, on_message, NULL);
        kafka_gate_polled(c->gate, (uint64_t)(seen - before), (uint64_t)(seen - before) * SIZE);
    }
    ck_assert_msg(!KAFKA_POOL_REPLACES || from_pool == MESSAGES, "%" PRId64 " of %d messages were made in the pool", from_pool, MESSAGES);
    printf("%zu messages fetched ahead\n", n);
    kafka_gate_open(c->gate);
    rd_kafka_queue_destroy(q);
    kafka_client_free(c);
}
END_TEST

START_TEST(a_handle_whose_broker_thread_waits_is_destroyed_at_once) {
    rd_kafka_queue_t *q;
    kafka_client_t *c = reader(&q);
    held(q);
    int64_t began = clock_mono_ms();
    kafka_gate_open(c->gate);
    rd_kafka_queue_destroy(q);
    kafka_client_free(c);
    int64_t ms = clock_mono_ms() - began;
    ck_assert_msg(ms < KAFKA_GATE_WAIT_MS, "destroying took %d ms", (int)ms);
}
END_TEST

TESTS("broker_gate", what_is_not_polled_is_not_fetched_and_all_comes_afterwards_out_of_the_pool, a_handle_whose_broker_thread_waits_is_destroyed_at_once)
