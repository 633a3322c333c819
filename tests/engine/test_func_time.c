/* test_func_time.c: the calendar, zones, patterns, units. */
#include "../helpers/test.h"
#include "common/clock.h"
#include "engine/datetime.h"
#include "harness.h"

#define S(x) fx_s(&f, x)
#define I(x) fx_i(&f, x)
#define SYM(x) fx_sym(&f, x)
#define TS(x) fx_ts(&f, x)
#define IS(want, name, ...) fx_is(&f, fx_call(&f, name, (int)(sizeof((expr_t *[]){__VA_ARGS__}) / sizeof(expr_t *)), __VA_ARGS__), want)

START_TEST(days_and_civil_dates_are_inverse) {
    for (int64_t d = -800000; d < 3000000; d += 13) {
        int64_t y;
        int m, day;
        date_civil(d, &y, &m, &day);
        ck_assert_int_eq(date_days(y, m, day), d);
        ck_assert(m >= 1 && m <= 12 && day >= 1 && day <= date_month_days(y, m));
    }
    ck_assert_int_eq(date_days(1970, 1, 1), 0);
    ck_assert_int_eq(date_days(2000, 3, 1), 11017);
}
END_TEST

START_TEST(texts_of_the_formats) {
    char t[DATETIME_TEXT_MAX];
    int64_t us;
    ck_assert(timestamp_parse_strict("2021-01-03 18:45:30.25", 22, ' ', false, &us));
    t[timestamp_print_json(t, us, ' ', false)] = 0;
    ck_assert_str_eq(t, "2021-01-03 18:45:30.25");
    t[timestamp_print_json(t, us, 'T', true)] = 0;
    ck_assert_str_eq(t, "2021-01-03T18:45:30.25Z");
    t[timestamp_print(t, us, 6, ' ')] = 0;
    ck_assert_str_eq(t, "2021-01-03 18:45:30.250000");
    ck_assert(timestamp_parse_strict("1969-12-31T23:59:59.999999Z", 27, 'T', true, &us) && us == -1);
    ck_assert(timestamp_parse_strict("2021-01-03 18:45:30.123456789", 29, ' ', false, &us));
    ck_assert(timestamp_parse_strict("1969-12-31 24:00:00.000", 23, ' ', false, &us) && us == 0); /* the next day, as for Java */
    int32_t ms;
    ck_assert(time_parse_strict("24:00:00", 8, &ms) && ms == 0);
    ck_assert(!time_parse_strict("24:00:00.001", 12, &ms) && !time_parse_strict("24:00:01", 8, &ms));
    static const char *const bad[] = {"2021-1-03 18:45:30", "2021-01-03T18:45:30", "2021-02-32 00:00:00", "2021-01-03 24:00:01", "2021-01-03 24:00:00.1",
                                      "2021-01-03 18:45:30Z", "2021-01-03", ""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!timestamp_parse_strict(bad[i], strlen(bad[i]), ' ', false, &us), "%s", bad[i]);
    int64_t same;
    ck_assert(timestamp_parse_strict("2021-02-30 00:00:01.", 20, ' ', false, &us) && timestamp_parse_strict("2021-02-28 00:00:01", 19, ' ', false, &same) && us == same);
    static const char *const no_iso[] = {"2021-02-29T00:00:00", "2021-01-03T24:00:00", "2021-01-03T18:45:30."};
    for (size_t i = 0; i < ARRAY_LEN(no_iso); i++) ck_assert_msg(!timestamp_parse_strict(no_iso[i], strlen(no_iso[i]), 'T', false, &us), "%s", no_iso[i]);
}
END_TEST

START_TEST(zones_go_there_and_back) {
    static const char *const names[] = {"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "UTC", "+05:30"};
    rng_t r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        tz_t *z = NULL;
        ck_ok(tz_open(names[i], &z));
        int wrong = 0;
        for (int k = 0; k < 20000; k++) {
            int64_t us = ((int64_t)rng_below(&r, 4000000000u) - 500000000) * 1000000;
            wrong += tz_to_utc(z, tz_to_wall(z, us)) != us;
        }
        ck_assert_int_lt(wrong, 20); /* only the second pass of an hour that comes twice */
        tz_free(z);
    }
    tz_t *z = NULL;
    ck_fails(tz_open("../../etc/passwd", &z), ERR_INVALID, "unknown time zone");
    ck_fails(tz_open("", &z), ERR_INVALID, "unknown time zone");
}
END_TEST

START_TEST(parts) {
    fx_t f = fx_new();
    expr_t *t = TS("2023-12-31 23:59:58.765");
    IS("2023", "YEAR", t);
    IS("4", "QUARTER", t);
    IS("52", "WEEK", t);
    IS("1", "DAYOFWEEK", t);
    IS("365", "DAYOFYEAR", t);
    IS("58", "EXTRACT", SYM("SECOND"), t);
    IS("765", "EXTRACT", SYM("MILLISECOND"), t);
    IS("1704067198", "EXTRACT", SYM("EPOCH"), t);
    IS("53", "WEEK", fx_date(&f, "2021-01-01"));
    /* Flink divides toward zero before 1970 */
    IS("-3", "HOUR", TS("1969-07-20 20:17:40"));
    f.ctx.time_zone = "America/New_York";
    IS("18", "HOUR", fx_call(&f, "TO_TIMESTAMP_LTZ", 2, expr_bigint(f.a, 1704067199), I(0)));
    fx_free(&f);
}
END_TEST

START_TEST(rounding_to_units) {
    fx_t f = fx_new();
    expr_t *t = TS("2003-03-24 00:52:14.907");
    IS("2003-03-24 00:00:00.000", "FLOOR", t, SYM("HOUR"));
    IS("2003-03-01 00:00:00.000", "FLOOR", t, SYM("MONTH"));
    IS("2003-03-23 00:00:00.000", "FLOOR", t, SYM("WEEK"));
    IS("2003-03-24 00:53:00.000", "CEIL", t, SYM("MINUTE"));
    IS("2004-01-01 00:00:00.000", "CEIL", t, SYM("YEAR"));
    IS("2003-01-01", "FLOOR", fx_date(&f, "2003-03-24"), SYM("YEAR"));
    fx_free(&f);
}
END_TEST

START_TEST(adding_and_counting_units) {
    fx_t f = fx_new();
    expr_t *t = TS("2023-12-31 23:59:59.999");
    IS("2024-02-29 23:59:59.999", "TIMESTAMPADD", SYM("MONTH"), I(2), t);
    IS("2023-12-31 00:59:59.999", "TIMESTAMPADD", SYM("HOUR"), I(-23), t);
    IS("2024-01-07", "TIMESTAMPADD", SYM("DAY"), I(7), fx_date(&f, "2023-12-31"));
    IS("-334", "TIMESTAMPDIFF", SYM("DAY"), t, TS("2023-01-31 15:59:37.906"));
    IS("10", "TIMESTAMPDIFF", SYM("MONTH"), TS("2023-01-31 15:59:37.906"), TS("2023-12-31 10:00:00"));
    expr_t *month = expr_literal(f.a, &type_interval_month, (value_t){.i = 1});
    IS("2024-01-31 23:59:59.999", "+", t, month);
    expr_t *second = expr_literal(f.a, &type_interval_second, (value_t){.i = 93784567});
    IS("2023-12-30 21:56:55.432", "-", t, second);
    IS("2023-12-30 21:56:55.432", "+", fx_call(&f, "NEG", 1, second), t);
    fx_free(&f);
}
END_TEST

START_TEST(a_date_moves_by_whole_days_towards_zero) {
    fx_t f = fx_new();
    expr_t *hours = expr_literal(f.a, &type_interval_second, (value_t){.i = 25 * 3600000});
    IS("2024-02-28", "-", fx_date(&f, "2024-02-29"), hours);
    IS("2024-03-01", "+", fx_date(&f, "2024-02-29"), hours);
    fx_free(&f);
}
END_TEST

START_TEST(patterns_both_ways) {
    fx_t f = fx_new();
    expr_t *t = TS("2003-03-24 00:52:14.907");
    IS("Q1 1st quarter AD", "DATE_FORMAT", t, S("QQQ QQQQ G")); /* all as Flink prints them */
    IS("2003 13", "DATE_FORMAT", t, S("YYYY w"));
    IS("1970 1", "DATE_FORMAT", TS("1969-12-31 10:00:00"), S("YYYY w")); /* its week holds January 1 */
    IS("Mon 24 Mar 03, 12:52 AM", "DATE_FORMAT", t, S("EEE d MMM yy, hh:mm a"));
    IS("2003/03/24 00:52:14.907 it's 083", "DATE_FORMAT", t, S("yyyy/MM/dd HH:mm:ss.SSS 'it''s' DDD"));
    IS("2003-03-24 00:52:14.907", "TO_TIMESTAMP", S("2003-03-24 00:52:14.907"));
    IS("2003-03-24 00:52:00.000", "TO_TIMESTAMP", S("24/03/2003 00:52"), S("dd/MM/yyyy HH:mm"));
    IS("2003-03-24 00:52:14.000", "TO_TIMESTAMP", S("20030324005214"), S("yyyyMMddHHmmss"));
    IS("2003-03-24 13:00:00.000", "TO_TIMESTAMP", S("Mar 24 2003 1 PM"), S("MMM d yyyy h a"));
    IS("2023-02-28 00:00:00.000", "TO_TIMESTAMP", S("31.02.2023"), S("dd.MM.yyyy"));
    IS("NULL", "TO_TIMESTAMP", S("24/03/2003 0:52"), S("dd/MM/yyyy HH:mm"));
    IS("2024-01-16 00:00:00.000", "TO_TIMESTAMP", S("2024-01-15 24:00:00"));
    IS("NULL", "TO_TIMESTAMP", S("2024-01-15 24:00:01"));
    IS("NULL", "TO_TIMESTAMP", S("2024-01-15 24:00:00.001"));
    /* the pattern does not match: read as java.sql.Timestamp does, which carries over */
    IS("2024-03-02 01:00:00.000", "TO_TIMESTAMP", S("2024-02-30 25:00:00"), S("yyyy-MM-dd"));
    IS("2024-01-15 10:21:01.500", "TO_TIMESTAMP", S("2024-1-15 10:20:61.5"), S("dd/MM/yyyy"));
    IS("2024-03-01 00:00:00.000", "TO_TIMESTAMP", S("2024-02-30"), S("dd/MM/yyyy"));
    IS("NULL", "TO_TIMESTAMP", S("2024-13-01"), S("dd/MM/yyyy"));
    IS("NULL", "TO_TIMESTAMP", S("2024-01-32 00:00:00"), S("dd/MM/yyyy"));
    IS("NULL", "TO_TIMESTAMP", S("2024-01-15 10:20"), S("dd/MM/yyyy"));
    IS("2023-12-31", "TO_DATE", S("12-31-2023"), S("MM-dd-yyyy"));
    IS("2003-03-24 00:52:14", "FROM_UNIXTIME", expr_bigint(f.a, 1048467134));
    IS("1048467134", "UNIX_TIMESTAMP", S("2003-03-24 00:52:14"));
    IS("2024-01-01 08:59:59", "CONVERT_TZ", S("2023-12-31 23:59:59"), S("UTC"), S("Asia/Tokyo"));
    IS("1970-01-01 00:00:01.500", "TO_TIMESTAMP_LTZ", I(1500), I(3));
    fx_fails(&f, fx_call(&f, "DATE_FORMAT", 2, t, S("yyyy 'open")), ERR_INVALID, "quote");
    fx_is(&f, fx_call(&f, "NOW", 0), "2023-11-14 22:13:20.123");
    fx_is(&f, fx_call(&f, "CURRENT_DATE", 0), "2023-11-14");
    IS("NULL", "CURRENT_WATERMARK", t);
    f.ctx.watermark_ms = 5;
    IS("1970-01-01 00:00:00.005", "CURRENT_WATERMARK", t);
    fx_free(&f);
}
END_TEST

START_TEST(a_time_rounded_up_past_23_hours_is_24_00_00) {
    fx_t f = fx_new();
    expr_t *t = fx_cast(&f, fx_s(&f, "23:10:00"), &type_time);
    fx_is(&f, fx_cast(&f, fx_call(&f, "CEIL", 2, t, fx_sym(&f, "HOUR")), &type_string), "24:00:00");
    fx_is(&f, fx_cast(&f, fx_call(&f, "CEIL", 2, fx_cast(&f, fx_s(&f, "00:00:00"), &type_time), fx_sym(&f, "HOUR")), &type_string), "00:00:00");
    fx_type(&f, fx_call(&f, "TIMESTAMPADD", 3, fx_sym(&f, "HOUR"), fx_i(&f, 1), fx_date(&f, "2024-02-29")), "TIMESTAMP(6)");
    fx_free(&f);
}
END_TEST

TESTS("engine/func_time", a_time_rounded_up_past_23_hours_is_24_00_00, days_and_civil_dates_are_inverse, texts_of_the_formats, zones_go_there_and_back, parts,
      rounding_to_units, adding_and_counting_units, a_date_moves_by_whole_days_towards_zero, patterns_both_ways)
