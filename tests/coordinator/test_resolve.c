/* test_resolve.c: from SQL to the shape the core works with. */
#include "coordinator/resolve.h"
#include "tests/helpers/test.h"

static const char sql[] = "SET 'execution.checkpointing.interval' = '50 ms';\n"
                          "SET 'restart.max' = '3';\n"
                          "CREATE TABLE a (x BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');\n"
                          "CREATE TABLE b (x BIGINT) WITH ('connector' = 'blackhole');\n"
                          "INSERT INTO b SELECT x FROM a WHERE x > 0;\n";
static job_spec_t spec_of(const char *text) { return (job_spec_t){.sql = (char *)text, .file = (char *)"dir/orders.sql", .parallelism = 3}; }

START_TEST(a_job_has_a_shape) {
    resolver_t r = {.timeout_ms = 1000};
    job_spec_t spec = spec_of(sql);
    job_shape_t *s = NULL, *again = NULL;
    ck_ok(resolve_job(&r, &spec, true, &s));
    ck_assert_str_eq(s->name, "orders");
    ck_assert_int_eq(s->parallelism, 3);
    ck_assert_int_eq((int)s->settings.interval_ms, 50);
    ck_assert_int_eq(s->settings.restart_max, 3);
    ck_assert_int_eq((int)s->settings.discovery_interval_ms, 0);
    ck_assert_int_eq(s->nsources, 1);
    ck_assert_int_gt(s->sources[0].splits.n, 0);
    for (int i = 0; i < s->sources[0].splits.n; i++) ck_assert_int_ge(s->sources[0].splits.items[i].end, 0); /* bounded */
    ck_assert_int_ge(s->nsinks, 1);
    ck_assert_int_eq(s->sinks[0].lanes, 0);
    ck_ok(resolve_job(&r, &spec, false, &again));
    ck_assert_uint_eq(again->plan_hash, s->plan_hash);
    ck_assert_uint_eq(again->sources[0].fingerprint, s->sources[0].fingerprint);
    ck_assert_int_eq(again->sources[0].splits.n, 0); /* no I/O was asked for */
    job_shape_t *copy = job_shape_copy(s);
    ck_assert_int_eq(copy->sources[0].splits.n, s->sources[0].splits.n);
    job_shape_free(copy);
    job_shape_free(s);
    job_shape_free(again);
}
END_TEST

START_TEST(errors_keep_their_place_in_the_text) {
    resolver_t r = {.timeout_ms = 1000};
    job_spec_t spec = spec_of("CREATE TABLE a (x BIGINT) WITH ('connector' = 'datagen');\nINSERT INTO nowhere SELECT x FROM a;");
    job_shape_t *s = NULL;
    err_t *e = resolve_job(&r, &spec, true, &s);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(err_line(e), 2);
    ck_assert(err_deterministic(e));
    err_free(e);
}
END_TEST

START_TEST(a_source_that_cannot_grow_has_no_new_splits) {
    resolver_t r = {.timeout_ms = 1000};
    job_spec_t spec = spec_of(sql);
    int n = -1;
    found_split_t *found = NULL;
    ck_ok(resolve_new_splits(&r, &spec, &n, &found));
    ck_assert_int_eq(n, 0);
    free(found);
}
END_TEST

/* A bounded job's input was settled at its first start (hazards A8). A partition made later would be read to an end of its own, by tasks
 * that have ended long ago. */
START_TEST(a_bounded_topic_is_not_looked_at_again) {
    resolver_t r = {.timeout_ms = 1000};
    for (int bounded = 0; bounded < 2; bounded++) {
        AUTO(auto_free) char *text = xprintf(
            "CREATE TABLE a (x BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = '127.0.0.1:1', 'format' = 'json', "
            "'scan.startup.mode' = 'earliest-offset'%s);\n"
            "CREATE TABLE b (x BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO b SELECT x FROM a;\n",
            bounded ? ", 'scan.bounded.mode' = 'latest-offset'" : "");
        job_spec_t spec = spec_of(text);
        job_shape_t *s = NULL;
        ck_ok(resolve_job(&r, &spec, false, &s));
        ck_assert_int_eq(s->settings.discovery_interval_ms == 0, bounded);
        job_shape_free(s);
        int n = -1;
        found_split_t *found = NULL;
        if (bounded) ck_ok(resolve_new_splits(&r, &spec, &n, &found)); /* nobody is asked */
        if (bounded) ck_assert_int_eq(n, 0);
        free(found);
    }
}
END_TEST

TESTS("coordinator/resolve", a_job_has_a_shape, errors_keep_their_place_in_the_text, a_source_that_cannot_grow_has_no_new_splits,
      a_bounded_topic_is_not_looked_at_again)
