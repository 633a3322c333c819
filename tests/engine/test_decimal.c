/* test_decimal.c: HALF_UP, overflow told, quotients through 38 digits. */
#include "../helpers/test.h"
#include "common/clock.h"
#include "engine/decimal.h"

static i128 dec(const char *text, int scale) {
    i128 v = 0;
    ck_assert_msg(decimal_parse(text, strlen(text), 38, scale, &v), "%s", text);
    return v;
}
static const char *show(i128 v, int scale) {
    static char t[4][DECIMAL_TEXT_MAX + 1];
    static int at;
    char *p = t[at++ & 3];
    p[decimal_print(p, v, scale)] = 0;
    return p;
}

START_TEST(text_round_trips) {
    static const struct {
        const char *text;
        int scale;
    } cases[] = {{"0.00", 2}, {"-0.50", 2}, {"12", 0}, {"99999999999999999999999999999999999999", 0},
                 {"-0.00000000000000000000000000000000000001", 38}, {"123456789.123456789", 9}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_str_eq(show(dec(cases[i].text, cases[i].scale), cases[i].scale), cases[i].text);
}
END_TEST

START_TEST(parsing_rounds_half_up_and_refuses_what_does_not_fit) {
    ck_assert_str_eq(show(dec("1.005", 2), 2), "1.01");
    ck_assert_str_eq(show(dec("-1.005", 2), 2), "-1.01");
    ck_assert_str_eq(show(dec("1.00499999999999999999999999999999999999999999", 2), 2), "1.00");
    ck_assert_str_eq(show(dec("12E-1", 1), 1), "1.2");
    ck_assert_str_eq(show(dec("1.5e3", 0), 0), "1500");
    ck_assert_str_eq(show(dec("1e-400", 5), 5), "0.00000");
    i128 v;
    ck_assert(!decimal_parse("1e38", 4, 38, 0, &v));
    ck_assert(!decimal_parse("100", 3, 2, 0, &v));
    ck_assert(!decimal_parse("99.95", 5, 3, 1, &v));
    ck_assert(!decimal_parse("1.2.3", 5, 10, 2, &v));
    ck_assert(!decimal_parse("", 0, 10, 2, &v));
    ck_assert(!decimal_parse("1e99999999999", 13, 10, 2, &v));
}
END_TEST

START_TEST(arithmetic_is_exact_or_says_no) {
    i128 v;
    ck_assert(decimal_add(dec("1.25", 2), 2, dec("0.005", 3), 3, 10, 3, &v));
    ck_assert_str_eq(show(v, 3), "1.255");
    ck_assert(decimal_add(dec("1.25", 2), 2, dec("-3", 0), 0, 10, 2, &v));
    ck_assert_str_eq(show(v, 2), "-1.75");
    ck_assert(decimal_mul(dec("-2.5", 1), 1, dec("0.05", 2), 2, 10, 2, &v));
    ck_assert_str_eq(show(v, 2), "-0.13"); /* -0.125 */
    ck_assert(decimal_div(dec("1.00", 2), 2, dec("3", 0), 0, 38, 10, &v));
    ck_assert_str_eq(show(v, 10), "0.3333333333");
    ck_assert(decimal_div(dec("2", 0), 0, dec("-3", 0), 0, 38, 6, &v));
    ck_assert_str_eq(show(v, 6), "-0.666667");
    ck_assert(decimal_mod(dec("-7.5", 1), 1, dec("2", 0), 0, 10, 1, &v));
    ck_assert_str_eq(show(v, 1), "-1.5");
    i128 big = dec("99999999999999999999999999999999999999", 0);
    ck_assert(!decimal_add(big, 0, 1, 0, 38, 0, &v));
    ck_assert(!decimal_mul(big, 0, 2, 0, 38, 0, &v));
    ck_assert(decimal_mul(big, 38, big, 38, 38, 38, &v) == true);
    ck_assert_str_eq(show(v, 38), "0.99999999999999999999999999999999999998");
    ck_assert(decimal_div(big, 0, big, 38, 38, 0, &v) == false);
    ck_assert(decimal_div(1, 38, big, 0, 38, 38, &v) && v == 0);
    ck_assert(decimal_div(dec("123456789012345678901234567890123456.78", 2), 2, dec("1234567890123456789.0123", 4), 4,
                          38, 6, &v));
    ck_assert_str_eq(show(v, 6), "100000000000000000.000004");
}
END_TEST

START_TEST(small_divisions_agree_with_long_integers) {
    rng_t r;
    rng_seed(&r, 5);
    for (int i = 0; i < 100000; i++) {
        int64_t a = (int64_t)rng_below(&r, 2000000) - 1000000, b = (int64_t)rng_below(&r, 5000) + 1;
        i128 v;
        ck_assert(decimal_div(a, 2, b, 1, 38, 4, &v));
        /* a/100 / (b/10) at scale 4 = a * 1000 / b, half away from zero */
        int64_t n = (a < 0 ? -a : a) * 1000, q = (2 * n + b) / (2 * b);
        ck_assert_int_eq((int64_t)v, a < 0 ? -q : q);
    }
}
END_TEST

START_TEST(comparison_crosses_scales) {
    ck_assert_int_eq(decimal_compare(10, 1, 1, 0), 0);
    ck_assert_int_eq(decimal_compare(-11, 1, -1, 0), -1);
    i128 big = dec("99999999999999999999999999999999999999", 0);
    ck_assert_int_eq(decimal_compare(big, 0, big, 38), 1);
    ck_assert_int_eq(decimal_compare(-big, 0, big, 38), -1);
}
END_TEST

START_TEST(rounding_keeps_the_scale) {
    i128 v;
    ck_assert(decimal_round(dec("-2.45", 2), 2, 1, &v));
    ck_assert_str_eq(show(v, 2), "-2.50");
    ck_assert(decimal_round(dec("1500", 0), 0, -3, &v));
    ck_assert_str_eq(show(v, 0), "2000");
    ck_assert_str_eq(show(decimal_truncate(dec("-2.49", 2), 2, 1), 2), "-2.40");
    ck_assert(decimal_rescale(dec("0.5", 1), 1, 0, 1, &v) && v == 1);
    ck_assert(!decimal_rescale(dec("9.5", 1), 1, 0, 1, &v));
}
END_TEST

START_TEST(doubles_pass_through_their_shortest_digits) {
    i128 v;
    ck_assert(decimal_from_f64(0.1, 10, 3, &v));
    ck_assert_str_eq(show(v, 3), "0.100");
    ck_assert(decimal_from_f64(1.005, 10, 2, &v)); /* binary 1.00499.. but its text is 1.005 */
    ck_assert_str_eq(show(v, 2), "1.01");
    ck_assert(!decimal_from_f64(1e300, 38, 0, &v));
    ck_assert(!decimal_from_f64(__builtin_nan(""), 38, 0, &v));
    ck_assert(decimal_to_f64(dec("0.1", 1), 1) == 0.1);
    ck_assert(decimal_to_f64(dec("12345678901234567890.123456789", 9), 9) == 12345678901234567890.123456789);
}
END_TEST

TESTS("engine/decimal", text_round_trips, parsing_rounds_half_up_and_refuses_what_does_not_fit,
      arithmetic_is_exact_or_says_no, small_divisions_agree_with_long_integers, comparison_crosses_scales,
      rounding_keeps_the_scale, doubles_pass_through_their_shortest_digits)
