/* test_cast.c: CAST and TRY_CAST as Flink does them. */
#include "../helpers/test.h"
#include "harness.h"

#define CAST(e, t) fx_cast(&f, (e), (t))
#define TRY_S(s, t) fx_try(&f, fx_s(&f, s), (t))

START_TEST(text_to_numbers) {
    fx_t f = fx_new();
    fx_is(&f, TRY_S("127", &type_tinyint), "127");
    fx_is(&f, TRY_S("128", &type_tinyint), "NULL");
    fx_is(&f, TRY_S(" 42 ", &type_int), "42");
    fx_is(&f, TRY_S("99999.99", &type_int), "99999");
    fx_is(&f, TRY_S("-9223372036854775808", &type_bigint), "-9223372036854775808");
    fx_is(&f, TRY_S("9223372036854775808", &type_bigint), "NULL");
    fx_is(&f, TRY_S("1e3", &type_int), "NULL");
    fx_is(&f, TRY_S("1e3", &type_double), "1000.0");
    fx_is(&f, TRY_S("NaN", &type_double), "NaN");
    fx_is(&f, TRY_S("1.5f", &type_double), "1.5");
    fx_is(&f, TRY_S("", &type_int), "NULL");
    fx_is(&f, TRY_S("1.2345", type_decimal(f.a, 5, 2, true)), "1.23");
    fx_is(&f, TRY_S("12345.6", type_decimal(f.a, 5, 2, true)), "NULL");
    fx_fails(&f, CAST(fx_s(&f, "abc"), &type_int), ERR_DATA, "abc");
    fx_free(&f);
}
END_TEST

START_TEST(text_to_booleans) {
    fx_t f = fx_new();
    fx_str(&f, "s", (const char *[]){"TRUE", "t", "Yes", "1", "f", "NO", "0", "-0", "on", " 1", "true "}, 11);
    fx_is(&f, fx_try(&f, fx_col(&f, "s"), &type_boolean), "TRUE, TRUE, TRUE, TRUE, FALSE, FALSE, FALSE, NULL, NULL, NULL, NULL"); /* blanks count */
    fx_free(&f);
}
END_TEST

START_TEST(short_texts_to_short_decimals_as_flinks_own_loop) {
    fx_t f = fx_new();
    const type_t *t = type_decimal(f.a, 5, 2, true);
    static const char *const texts[][2] = {
        {"1a", "1.00"}, {"x", "0.00"}, {"5e", "5.00"}, {".", "0.00"}, {"1e2x ", "100.00"}, {"-1.005", "-1.01"}, {" 7\t", "7.00"},
        {"ab", "NULL"}, {"1 2", "NULL"}, {"--1", "NULL"}, {"1.2.3", "NULL"}, {"-", "NULL"}, {"1e-", "NULL"}, {"", "NULL"}, {" ", "NULL"},
        {"0123", "NULL"}, {"0.99", "0.99"}, {"999.995", "NULL"}, {"1e99999", "NULL"}, {"000000000000000001x", "NULL"}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) fx_is(&f, TRY_S(texts[i][0], t), texts[i][1]);
    fx_is(&f, TRY_S("0.5", type_decimal(f.a, 1, 1, true)), "NULL"); /* a zero before the point is a digit */
    fx_is(&f, TRY_S("1a", type_decimal(f.a, 20, 2, true)), "NULL");
    fx_is(&f, TRY_S(" 000000000000000000012 ", t), "12.00");
    fx_free(&f);
}
END_TEST

START_TEST(text_to_times) {
    fx_t f = fx_new();
    fx_is(&f, TRY_S("2020-2-9", &type_date), "2020-02-09");
    fx_is(&f, TRY_S("2020-02-30", &type_date), "NULL");
    fx_is(&f, TRY_S("1999-12-31 23:59:59.999999", &type_date), "1999-12-31");
    fx_is(&f, TRY_S("20200101", &type_date), "NULL");
    fx_is(&f, TRY_S("0000-01-01", &type_date), "0000-01-01");
    fx_is(&f, TRY_S("0000-01-01", &type_timestamp3), "NULL"); /* there is no year 0 of an era */
    fx_is(&f, fx_cast(&f, fx_ts(&f, "1969-12-31 00:00:00"), &type_date), "1969-12-31");
    fx_is(&f, fx_cast(&f, fx_ts(&f, "1900-01-01 12:00:00"), &type_date), "1900-01-02"); /* Flink divides toward zero */
    fx_is(&f, TRY_S("1999-12-31 23:59:59.999999", &type_timestamp3), "1999-12-31 23:59:59.999");
    fx_is(&f, TRY_S("2020-2-9", &type_timestamp3), "2020-02-09 00:00:00.000");
    fx_is(&f, fx_cast(&f, fx_ts(&f, "1969-12-31 23:59:59.999"), type_scalar(f.a, TYPE_TIMESTAMP, 0, true)), "1970-01-01 00:00:00"); /* towards zero */
    fx_is(&f, fx_cast(&f, fx_ts(&f, "2000-12-31 23:59:59.999"), type_scalar(f.a, TYPE_TIMESTAMP, 0, true)), "2000-12-31 23:59:59");
    fx_is(&f, TRY_S("2020-02-09T10:11:12", &type_timestamp3), "NULL");
    fx_is(&f, TRY_S("10:11:12", &type_time), "10:11:12");
    fx_is(&f, TRY_S("25:00:00", &type_time), "NULL");
    fx_free(&f);
}
END_TEST

START_TEST(numbers_to_numbers) {
    fx_t f = fx_new();
    fx_is(&f, CAST(fx_i(&f, 300), &type_tinyint), "44");
    fx_is(&f, CAST(fx_d(&f, 1e20), &type_bigint), "9223372036854775807");
    fx_is(&f, CAST(fx_d(&f, -3.99), &type_int), "-3");
    fx_is(&f, CAST(fx_d(&f, __builtin_nan("")), &type_int), "0");
    fx_is(&f, CAST(fx_i(&f, 7), &type_boolean), "TRUE");
    fx_is(&f, CAST(fx_d(&f, 1.005), type_decimal(f.a, 5, 2, true)), "1.01");
    fx_is(&f, CAST(fx_i(&f, 1000), type_decimal(f.a, 5, 2, true)), "NULL");
    fx_is(&f, CAST(CAST(fx_s(&f, "-2.5"), type_decimal(f.a, 5, 1, true)), &type_int), "-2");
    fx_is(&f, CAST(CAST(fx_s(&f, "0.1"), &type_float), &type_double), "0.10000000149011612");
    fx_free(&f);
}
END_TEST

START_TEST(everything_to_text) {
    fx_t f = fx_new();
    fx_is(&f, CAST(fx_d(&f, 1e7), &type_string), "1.0E7");
    fx_is(&f, CAST(CAST(fx_i(&f, 1), &type_boolean), &type_string), "TRUE");
    fx_is(&f, CAST(CAST(fx_s(&f, "1"), type_decimal(f.a, 20, 5, true)), &type_string), "1.00000");
    fx_is(&f, CAST(fx_ts(&f, "2020-01-02 03:04:05.6"), &type_string), "2020-01-02 03:04:05.600");
    fx_is(&f, CAST(fx_call(&f, "ARRAY", 2, fx_i(&f, 1), expr_null(f.a, &type_int)), &type_string), "[1, NULL]");
    fx_is(&f, CAST(fx_call(&f, "MAP", 2, fx_s(&f, "k"), fx_i(&f, 42)), &type_string), "{k=42}");
    fx_is(&f, CAST(fx_s(&f, "äöü"), type_scalar(f.a, TYPE_VARCHAR, 2, true)), "äö");
    fx_is(&f, CAST(fx_s(&f, "a"), type_scalar(f.a, TYPE_CHAR, 3, true)), "a  ");
    expr_t *month = expr_literal(f.a, &type_interval_month, (value_t){.i = -14});
    fx_is(&f, CAST(month, &type_string), "-1-02");
    expr_t *second = expr_literal(f.a, &type_interval_second, (value_t){.i = 93784567});
    fx_is(&f, CAST(second, &type_string), "+1 02:03:04.567");
    fx_free(&f);
}
END_TEST

START_TEST(times_cross_the_zone) {
    fx_t f = fx_new();
    f.ctx.time_zone = "America/New_York";
    expr_t *winter = fx_ts(&f, "2023-12-31 23:59:59"), *summer = fx_ts(&f, "2016-07-06 03:03:30");
    fx_is(&f, CAST(winter, &type_ltz3), "2024-01-01 04:59:59.000");
    fx_is(&f, CAST(summer, &type_ltz3), "2016-07-06 07:03:30.000");
    fx_is(&f, CAST(CAST(winter, &type_ltz3), &type_string), "2023-12-31 23:59:59.000");
    fx_is(&f, CAST(CAST(winter, &type_ltz3), &type_date), "2023-12-31");
    /* 2:30 does not exist that night, 1:30 in autumn is the first of two */
    fx_is(&f, CAST(fx_ts(&f, "2024-03-10 02:30:00"), &type_ltz3), "2024-03-10 07:30:00.000");
    fx_is(&f, CAST(fx_ts(&f, "2024-11-03 01:30:00"), &type_ltz3), "2024-11-03 05:30:00.000");
    /* far behind the table of transitions the rule goes on */
    fx_is(&f, CAST(fx_ts(&f, "2090-07-01 12:00:00"), &type_ltz3), "2090-07-01 16:00:00.000");
    f.ctx.time_zone = "Nowhere/City";
    fx_fails(&f, CAST(winter, &type_ltz3), ERR_INVALID, "unknown time zone");
    fx_free(&f);
}
END_TEST

START_TEST(nested_values_cast_by_element) {
    fx_t f = fx_new();
    expr_t *strings = fx_call(&f, "ARRAY", 2, fx_s(&f, "1"), fx_s(&f, "x"));
    const type_t *ints = type_array(f.a, &type_int, true);
    expr_t *refused;
    err_t *e = cast_bind(f.a, strings, ints, CAST_TRY, &refused);
    ck_assert(e && err_code(e) == ERR_UNSUPPORTED);
    err_free(e);
    fx_fails(&f, CAST(strings, ints), ERR_DATA, "'x'");
    /* elements no row refers to must not fail the cast */
    fx_int(&f, "a", (int[]){1, 2}, 2, 0);
    expr_t *one = fx_call(&f, "CASE", 3, fx_call(&f, "=", 2, fx_col(&f, "a"), fx_i(&f, 1)), fx_call(&f, "ARRAY", 2, fx_s(&f, "7"), fx_s(&f, "8")), strings);
    fx_is(&f, fx_call(&f, "CASE", 2, fx_call(&f, "=", 2, fx_col(&f, "a"), fx_i(&f, 1)), CAST(one, ints)), "[7, 8], NULL");
    fx_free(&f);
}
END_TEST

START_TEST(bytes_that_are_no_utf8_become_u_fffd_as_in_java) {
    fx_t f = fx_new();
    static const struct {
        const char *hex, *text;
    } cases[] = {{"48C3A4", "Hä"}, {"41C3", "A�"}, {"C080", "��"}, {"E282", "�"}, {"F09F98", "�"},
                 {"F09F9841", "�A"}, {"EDA080", "�"}, {"EDA041", "�A"}, {"E08080", "���"},
                 {"F4908080", "����"}, {"FFFE", "��"}, {"C341", "�A"}, {"F09F", "�"}};
    for (size_t k = 0; k < ARRAY_LEN(cases); k++)
        fx_is(&f, CAST(fx_call(&f, "UNHEX", 1, fx_s(&f, cases[k].hex)), &type_string), cases[k].text);
    fx_is(&f, CAST(fx_call(&f, "UNHEX", 1, fx_s(&f, "41FF42")), type_scalar(f.a, TYPE_VARCHAR, 2, true)), "A�");
    fx_is(&f, CAST(fx_call(&f, "ARRAY", 1, fx_call(&f, "UNHEX", 1, fx_s(&f, "FF"))), &type_string), "[�]");
    fx_free(&f);
}
END_TEST

TESTS("engine/cast", bytes_that_are_no_utf8_become_u_fffd_as_in_java, text_to_numbers, text_to_booleans,
      short_texts_to_short_decimals_as_flinks_own_loop, text_to_times, numbers_to_numbers, everything_to_text,
      times_cross_the_zone, nested_values_cast_by_element)
