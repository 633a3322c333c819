/* test_number.c: shortest digits in Java's layout; printing and parsing against libc over random values. */
#include "../helpers/test.h"
#include "common/clock.h"
#include "engine/number.h"
#include <math.h>
#include <stdio.h>

static const char *d(double v) {
    static char text[4][NUMBER_F64_MAX + 1];
    static int at;
    char *t = text[at++ & 3];
    t[f64_print(t, v)] = 0;
    return t;
}
static const char *f(float v) {
    static char text[NUMBER_F64_MAX + 1];
    text[f32_print(text, v)] = 0;
    return text;
}

START_TEST(doubles_print_as_java_does) {
    static const struct {
        double v;
        const char *text;
    } cases[] = {{0, "0.0"}, {-0.0, "-0.0"}, {1, "1.0"}, {0.1, "0.1"}, {100, "100.0"}, {1e6, "1000000.0"},
                 {9999999, "9999999.0"}, {1e7, "1.0E7"}, {12345678.9, "1.23456789E7"}, {0.001, "0.001"},
                 {0.00099, "9.9E-4"}, {1e23, "1.0E23"}, {-2147483648.0, "-2.147483648E9"}, {3.14159, "3.14159"},
                 {4.9e-324, "4.9E-324"}, {1e-323, "9.9E-324"}, {1.7976931348623157e308, "1.7976931348623157E308"},
                 {2.2250738585072014e-308, "2.2250738585072014E-308"}, {9007199254740993.0, "9.007199254740992E15"},
                 {0.3333333333333333, "0.3333333333333333"}, {1e22, "1.0E22"}, {123.456, "123.456"},
                 {NAN, "NaN"}, {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"}, {2e-3, "0.002"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) ck_assert_str_eq(d(cases[i].v), cases[i].text);
}
END_TEST

START_TEST(floats_print_their_own_shortest_digits) {
    ck_assert_str_eq(f(0.1f), "0.1");
    ck_assert_str_eq(f(16777216.0f), "1.6777216E7");
    ck_assert_str_eq(f(3.14159f), "3.14159");
    ck_assert_str_eq(f(1e10f), "1.0E10");
    ck_assert_str_eq(f(1.4e-45f), "1.4E-45");
    ck_assert_str_eq(f(3.4028235e38f), "3.4028235E38");
    ck_assert_str_eq(f(0.33333334f), "0.33333334");
}
END_TEST

/* the fewest digits that libc reads back */
static int digits_needed(double v) {
    char t[40];
    for (int n = 1; n < 17; n++) {
        snprintf(t, sizeof t, "%.*e", n - 1, v);
        if (strtod(t, NULL) == v) return n;
    }
    return 17;
}
static int digits_printed(const char *t) {
    int n = 0, zeros = 0;
    for (; *t && *t != 'E'; t++) {
        if (*t < '0' || *t > '9') continue;
        if (n == 0 && *t == '0') continue;
        n++;
        zeros = *t == '0' ? zeros + 1 : 0;
    }
    return n - zeros;
}

START_TEST(random_doubles_print_shortest_and_read_back) {
    rng_t r;
    rng_seed(&r, 2024);
    for (int i = 0; i < 300000; i++) {
        uint64_t bits = rng_next(&r);
        double v, back;
        memcpy(&v, &bits, 8);
        if (i % 3 == 0) v = (double)(int64_t)rng_below(&r, 1000000000) / 100;
        if (!isfinite(v)) continue;
        const char *t = d(v);
        ck_assert_msg(strtod(t, NULL) == v, "%s", t);
        ck_assert(f64_parse(t, strlen(t), &back) && memcmp(&back, &v, 8) == 0);
        if (i % 8 == 0 && fabs(v) > 1e-320) {
            int need = digits_needed(v), have = digits_printed(t);
            ck_assert_msg(have <= (need < 2 ? 2 : need), "%s has %d digits, %d are enough", t, have, need);
        }
    }
}
END_TEST

START_TEST(random_floats_read_back) {
    rng_t r;
    rng_seed(&r, 7);
    for (int i = 0; i < 300000; i++) {
        uint32_t bits = (uint32_t)rng_next(&r);
        float v, back;
        memcpy(&v, &bits, 4);
        if (!isfinite(v)) continue;
        const char *t = f(v);
        ck_assert_msg(strtof(t, NULL) == v, "%s", t);
        ck_assert(f32_parse(t, strlen(t), &back) && memcmp(&back, &v, 4) == 0);
    }
}
END_TEST

START_TEST(random_texts_parse_as_libc_parses_them) {
    rng_t r;
    rng_seed(&r, 99);
    for (int i = 0; i < 300000; i++) {
        char t[80];
        int n = snprintf(t, sizeof t, "%s%llu", rng_below(&r, 2) ? "-" : "",
                         (unsigned long long)(rng_next(&r) >> rng_below(&r, 64)));
        if (rng_below(&r, 2)) n += snprintf(t + n, sizeof t - (size_t)n, ".%llu", (unsigned long long)rng_next(&r));
        if (rng_below(&r, 2)) n += snprintf(t + n, sizeof t - (size_t)n, "e%d", (int)rng_below(&r, 700) - 350);
        double v, want = strtod(t, NULL);
        ck_assert_msg(f64_parse(t, (size_t)n, &v), "%s", t);
        ck_assert_msg(memcmp(&v, &want, 8) == 0, "%s: %a, libc %a", t, v, want);
        float fv, fwant = strtof(t, NULL);
        ck_assert(f32_parse(t, (size_t)n, &fv));
        ck_assert_msg(memcmp(&fv, &fwant, 4) == 0, "%s: %a, libc %a", t, (double)fv, (double)fwant);
    }
}
END_TEST

START_TEST(halfway_texts_round_to_even) {
    double v;
    static const char *const texts[] = {"9007199254740993", "9007199254740995", "1.00000000000000011102230246251565",
                                        "2.4703282292062327e-324", "2.4703282292062328e-324", "1.7976931348623159e308",
                                        "179769313486231580793728971405301e276", "8.5e-45", "0.000000000000000000001"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ck_assert(f64_parse(texts[i], strlen(texts[i]), &v));
        double want = strtod(texts[i], NULL);
        ck_assert_msg(memcmp(&v, &want, 8) == 0, "%s: %a, libc %a", texts[i], v, want);
    }
}
END_TEST

START_TEST(what_is_not_a_number_is_refused) {
    double v;
    int64_t i;
    static const char *const bad[] = {"", "-", ".", "1e", "1e+", "abc", "1 ", " 1", "1..2", "0x10", "1f", "infinity", "nan"};
    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        ck_assert_msg(!f64_parse(bad[k], strlen(bad[k]), &v), "%s", bad[k]);
        ck_assert_msg(!i64_parse(bad[k], strlen(bad[k]), &i), "%s", bad[k]);
    }
    ck_assert(f64_parse(".5", 2, &v) && v == 0.5);
    ck_assert(f64_parse("5.", 2, &v) && v == 5);
}
END_TEST

START_TEST(integers_print_and_parse_to_their_ends) {
    char t[NUMBER_I64_MAX + 1];
    int64_t v;
    const int64_t values[] = {0, 9, 10, 99, 100, -1, INT64_MAX, INT64_MIN, 1234567890123};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        size_t n = i64_print(t, values[i]);
        char want[32];
        ck_assert_int_eq((int)n, snprintf(want, sizeof want, "%lld", (long long)values[i]));
        ck_assert_mem_eq(t, want, n);
        ck_assert(i64_parse(t, n, &v));
        ck_assert_int_eq(v, values[i]);
    }
    ck_assert(!i64_parse("9223372036854775808", 19, &v));
    ck_assert(!i64_parse("-9223372036854775809", 20, &v));
    ck_assert(!i64_parse("99999999999999999999", 20, &v));
    ck_assert(i64_parse("+0000000000000000000000017", 26, &v) && v == 17);
}
END_TEST

TESTS("engine/number", doubles_print_as_java_does, floats_print_their_own_shortest_digits,
      random_doubles_print_shortest_and_read_back, random_floats_read_back, random_texts_parse_as_libc_parses_them,
      halfway_texts_round_to_even, what_is_not_a_number_is_refused, integers_print_and_parse_to_their_ends)
