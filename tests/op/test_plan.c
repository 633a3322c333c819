#include "tests/op/windows_rig.h"

START_TEST(durations_and_sizes_read_as_flink_writes_them) {
    int64_t v;
    static const struct { const char *text; int64_t ms; } good[] = {{"100 ms", 100}, {"1min", 60000}, {"5", 5}, {" 2 h ", 7200000}, {"3 days", 259200000}, {"10 S", 10000}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_ok(parse_duration_ms(good[i].text, &v));
        ck_assert_int_eq(v, good[i].ms);
    }
    ck_fails(parse_duration_ms("5 parsecs", &v), ERR_INVALID, "'5 parsecs' is not a duration");
    ck_fails(parse_duration_ms("-1 s", &v), ERR_INVALID, "not a duration");
    ck_fails(parse_duration_ms("99999999999999999 d", &v), ERR_INVALID, "not a duration");
    ck_ok(parse_bytes("512M", &v));
    ck_assert_int_eq(v, 512 << 20);
    ck_ok(parse_bytes("64 kb", &v));
    ck_assert_int_eq(v, 65536);
    ck_fails(parse_bytes("much", &v), ERR_INVALID, "not a size");
}
END_TEST

START_TEST(options_name_themselves_in_errors) {
    const char *keys[] = {"a", "b", "a"}, *values[] = {"1", "maybe", "7"};
    options_t o = {3, keys, values};
    int64_t v;
    bool b;
    ck_ok(options_i64(&o, "a", 0, 0, 10, &v));
    ck_assert_int_eq(v, 7); /* the last one holds */
    ck_fails(options_i64(&o, "a", 0, 0, 5, &v), ERR_INVALID, "option 'a' = 7 is out of range: 0 to 5");
    ck_fails(options_bool(&o, "b", false, &b), ERR_INVALID, "option 'b' = 'maybe'");
    ck_fails(options_duration_ms(&o, "b", 0, &v), ERR_INVALID, "option 'b'");
    ck_ok(options_i64(&o, "none", 42, 0, 5, &v));
    ck_assert_int_eq(v, 42);
}
END_TEST

START_TEST(a_plan_prints_the_same_way_every_time) {
    plan_t *p = tumble_plan(2, true, true);
    ck_ok(plan_validate(p));
    buf_t out = buf_make(1 << 16);
    plan_print(&out, p);
    ck_assert_str_eq(buf_cstr(&out),
        "Plan streaming\n"
        "Stage 0 parallelism 2\n"
        "  0 SOURCE events connector=test scan=[k, v, ts] (k STRING, v BIGINT, ts TIMESTAMP(3))\n"
        "  1 WATERMARK <- 0 ts: ts (k STRING, v BIGINT, ts TIMESTAMP(3))\n"
        "  2 WINDOW_LOCAL <- 1 TUMBLE(ts, size 1 s) keys=[k] aggregates=[COUNT(*) AS COUNT, SUM(v) AS SUM]"
        " (k STRING, end BIGINT, n BIGINT, c BIGINT, s BIGINT)\n"
        "  3 EXCHANGE_OUT <- 2 edge 0 HASH(k) -> stage 1 (k STRING, end BIGINT, n BIGINT, c BIGINT, s BIGINT)\n"
        "Stage 1 parallelism 2\n"
        "  0 EXCHANGE_IN edge 0 HASH from stage 0 (k STRING, end BIGINT, n BIGINT, c BIGINT, s BIGINT)\n"
        "  1 WINDOW_AGG <- 0 TUMBLE(slices, size 1 s) keys=[k] aggregates=[COUNT(*) AS COUNT, SUM($1) AS SUM]"
        " props=[window_start, window_end] partial (k STRING, n BIGINT, sum BIGINT, ws TIMESTAMP(3), we TIMESTAMP(3))\n"
        "  2 SINK <- 1 results connector=test (k STRING, n BIGINT, sum BIGINT, ws TIMESTAMP(3), we TIMESTAMP(3))\n");
    plan_finish(p);
    plan_t *q = tumble_plan(2, true, true), *other = tumble_plan(2, true, false);
    plan_finish(q);
    plan_finish(other);
    ck_assert_uint_eq(p->hash, q->hash);
    ck_assert_uint_ne(p->hash, other->hash);
    buf_free(&out);
    plan_free(p);
    plan_free(q);
    plan_free(other);
}
END_TEST

START_TEST(an_inconsistent_plan_is_refused) {
    plan_t *p = tumble_plan(1, true, false);
    ck_ok(plan_validate(p));
    plan_op_t *agg = p->stages[1]->ops[1];
    agg->nprops = 1;
    ck_fails(plan_validate(p), ERR_INTERNAL, "stage 1, operator 1 WINDOW_AGG: it emits 4 columns, its schema has 5");
    agg->nprops = 2;
    agg->window.time_col = 9;
    ck_fails(plan_validate(p), ERR_INTERNAL, "the time attribute is column 9 of 3");
    agg->window.time_col = 1;
    ck_fails(plan_validate(p), ERR_INTERNAL, "the time attribute is no TIMESTAMP");
    agg->window.time_col = 2;
    p->edges[0]->to_op = 1;
    ck_fails(plan_validate(p), ERR_INTERNAL, "edge 0 ends elsewhere");
    p->edges[0]->to_op = 0;
    p->parallelism = 5000;
    ck_fails(plan_validate(p), ERR_INVALID, "parallelism 5000 is out of range");
    plan_free(p);
}
END_TEST

TESTS("plan", durations_and_sizes_read_as_flink_writes_them, options_name_themselves_in_errors, a_plan_prints_the_same_way_every_time,
      an_inconsistent_plan_is_refused)
