/* Which broker is said to be silent, and which partition to be refused; what librdkafka tells is told here by hand. */
#include "engine/connector/kafka_refusal.h"
#include "engine/connector/kafka_watch.h"
#include "tests/helpers/test.h"
#include <pthread.h>

static char why[200];

static kafka_watch_t *watch(void) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "fetch.wait.max.ms", "500", NULL, 0), RD_KAFKA_CONF_OK);
    kafka_watch_t *w = kafka_watch_new(conf);
    rd_kafka_conf_destroy(conf);
    return w;
}
static const char *silent(kafka_watch_t *w, int64_t now_ms) { return kafka_watch_silent_at(w, now_ms, why, sizeof why) ? why : ""; }

static void *answer_elsewhere(void *arg) {
    kafka_watch_answered(arg, 1, "a:9092/1", KAFKA_ANSWERED, 2000);
    return NULL;
}

START_TEST(a_broker_is_silent_when_it_owes_an_answer_for_too_long_whichever_thread_hears_it) {
    kafka_watch_t *w = watch();
    ck_assert_str_eq(silent(w, 100000), "");
    kafka_watch_sent(w, 1, "a:9092/1", 1000);
    kafka_watch_sent(w, 2, "ssl://b:9092/2", 1500);
    ck_assert_str_eq(silent(w, 4000), "");
    ck_assert_str_eq(silent(w, 4001), "a:9092/1 has not answered for 3 s");
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, answer_elsewhere, w), 0);
    pthread_join(t, NULL);
    ck_assert_str_eq(silent(w, 100000), "ssl://b:9092/2 has not answered for 98 s");
    kafka_watch_lost(w, 2, "b", 9092);
    ck_assert_str_eq(silent(w, 100000), "");
    kafka_watch_free(w);
}
END_TEST

START_TEST(a_bootstrap_server_and_the_broker_it_turns_out_to_be_are_one) {
    kafka_watch_t *w = watch();
    kafka_watch_sent(w, -1, "a:9092/bootstrap", 1000);
    kafka_watch_sent(w, -1, "b:9092/bootstrap", 1000); /* another without an id */
    kafka_watch_answered(w, 1, "a:9092/1", KAFKA_ANSWERED, 1200); /* the id is known by the time of the answer */
    ck_assert_str_eq(silent(w, 9000), "b:9092/bootstrap has not answered for 8 s");
    kafka_watch_lost(w, -1, "b", 9092);
    kafka_watch_sent(w, -1, "a:9092/bootstrap", 2000); /* the connection of the bootstrap server, beside that of the broker */
    kafka_watch_sent(w, 1, "a:9092/1", 2000);
    kafka_watch_answered(w, -1, "a:9092/bootstrap", KAFKA_ANSWERED, 2100);
    ck_assert_str_eq(silent(w, 9000), "a:9092/1 has not answered for 6 s");
    kafka_watch_answered(w, 1, "a:9092/1", KAFKA_ANSWERED, 9000);
    ck_assert_str_eq(silent(w, 90000), "");
    kafka_watch_free(w);
}
END_TEST

START_TEST(a_broker_that_moves_stays_itself_and_who_comes_to_its_address_is_another) {
    kafka_watch_t *w = watch();
    kafka_watch_sent(w, 1, "a:9092/1", 1000);
    kafka_watch_sent(w, 2, "a:9092/2", 1000);
    kafka_watch_lost(w, 1, "a", 9092); /* by its first address */
    kafka_watch_sent(w, 1, "c:9092/1", 1000);
    kafka_watch_answered(w, 1, "c:9092/1", KAFKA_ANSWERED, 1100);
    ck_assert_str_eq(silent(w, 9000), "a:9092/2 has not answered for 8 s");
    kafka_watch_lost(w, 2, "a", 9092);
    kafka_watch_sent(w, -1, "TxnCoordinator", 1000);
    ck_assert_str_eq(silent(w, 9000), "TxnCoordinator has not answered for 8 s");
    kafka_watch_lost(w, -1, "TxnCoordinator", 0);
    ck_assert_str_eq(silent(w, 9000), "");
    kafka_watch_free(w);
}
END_TEST

START_TEST(a_request_that_is_given_up_is_no_answer_and_its_late_answer_is_a_sign_of_life) {
    kafka_watch_t *w = watch();
    kafka_watch_sent(w, 1, "a:9092/1", 1000);
    kafka_watch_sent(w, 1, "a:9092/1", 1000);
    ck_assert_int_eq(kafka_watch_owed(w, 1, "a:9092/1"), 2);
    kafka_watch_answered(w, 1, "a:9092/1", KAFKA_GAVE_UP, 61000);
    ck_assert_int_eq(kafka_watch_owed(w, 1, "a:9092/1"), 1);
    ck_assert_str_eq(silent(w, 61000), "a:9092/1 has not answered for 60 s");
    kafka_watch_answered(w, 1, "a:9092/1", KAFKA_ANSWERED_LATE, 61000);
    ck_assert_str_eq(silent(w, 62000), "");
    ck_assert_str_eq(silent(w, 65000), "a:9092/1 has not answered for 4 s"); /* the other one */
    kafka_watch_answered(w, 1, "a:9092/1", KAFKA_ANSWERED, 65000);
    ck_assert_str_eq(silent(w, 90000), "");
    kafka_watch_free(w);
}
END_TEST

#define SET(topic, text) "[thrd:a:9092/1]: a:9092/1: " topic ": MessageSet with 20 message(s) (MsgId 1, BaseSeq 0) " text
static const char *refused(kafka_refusal_t *r, int64_t now_ms) { return kafka_refusal_lasts(r, now_ms, why, sizeof why) ? why : ""; }

START_TEST(a_partition_is_refused_until_one_of_its_requests_is_taken_or_nobody_asks_it_any_more) {
    kafka_refusal_t *r = kafka_refusal_new();
    kafka_refusal_note(r, "a line of another kind encountered error: x (actions Retry)", 0);
    kafka_refusal_note(r, SET("t [3]", "delivered"), 0);
    for (int64_t t = 1000; t <= 9000; t += 500)
        kafka_refusal_note(r, SET("t-1.x [3]", "encountered error: Broker: Not enough in-sync replicas (actions Retry,MsgNotPersisted)"), t);
    for (int64_t t = 4000; t <= 9000; t += 500)
        kafka_refusal_note(r, SET("u [0]", "encountered error: Broker: Not leader for partition (actions Refresh)"), t);
    ck_assert_str_eq(refused(r, 3000), "");
    kafka_refusal_note(r, SET("t-1.x [4]", "delivered"), 9000); /* the progress of another one */
    ck_assert_str_eq(refused(r, 9000), "t-1.x/3 has been refused for 8 s: Broker: Not enough in-sync replicas");
    kafka_refusal_note(r, SET("t-1.x [3]", "delivered"), 9000);
    ck_assert_str_eq(refused(r, 9000), "u/0 has been refused for 5 s: Broker: Not leader for partition");
    ck_assert_str_eq(refused(r, 19001), "");
    kafka_refusal_note(r, SET("u [0]", "encountered error: Broker: Not leader for partition (actions Refresh)"), 30000); /* anew */
    ck_assert_str_eq(refused(r, 31000), "");
    ck_assert_str_eq(refused(r, 33000), "u/0 has been refused for 3 s: Broker: Not leader for partition");
    kafka_refusal_free(r);
}
END_TEST

TESTS("kafka/watch", a_partition_is_refused_until_one_of_its_requests_is_taken_or_nobody_asks_it_any_more,
      a_broker_is_silent_when_it_owes_an_answer_for_too_long_whichever_thread_hears_it,
      a_bootstrap_server_and_the_broker_it_turns_out_to_be_are_one, a_broker_that_moves_stays_itself_and_who_comes_to_its_address_is_another,
      a_request_that_is_given_up_is_no_answer_and_its_late_answer_is_a_sign_of_life)
