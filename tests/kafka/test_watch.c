/* Which broker is said to be silent; what librdkafka tells is told here by hand. */
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

TESTS("kafka/watch", a_broker_is_silent_when_it_owes_an_answer_for_too_long_whichever_thread_hears_it,
      a_bootstrap_server_and_the_broker_it_turns_out_to_be_are_one, a_broker_that_moves_stays_itself_and_who_comes_to_its_address_is_another,
      a_request_that_is_given_up_is_no_answer_and_its_late_answer_is_a_sign_of_life)
