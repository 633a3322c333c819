/* test_func_math.c: rounding, wrap-around, functions of doubles. */
#include "../helpers/test.h"
#include "harness.h"

#define I(x) fx_i(&f, x)
#define D(x) fx_d(&f, x)
#define DEC(x, p, s) fx_cast(&f, fx_s(&f, x), type_decimal(f.a, p, s, true))
#define IS(want, name, ...) fx_is(&f, fx_call(&f, name, (int)(sizeof((expr_t *[]){__VA_ARGS__}) / sizeof(expr_t *)), __VA_ARGS__), want)

START_TEST(rounding) {
    fx_t f = fx_new();
    IS("100000000000000000000.000", "ROUND", DEC("99999999999999999999.999999999999999999", 38, 18), I(3)); /* the carry needs a digit more than 38 */
    IS("100000000000000000000", "ROUND", DEC("99999999999999999999.999999999999999999", 38, 18), I(-1));
    IS("0", "ROUND", DEC("44.99", 38, 18), I(-2));
    IS("551.78", "ROUND", D(551.775), I(2)); /* HALF_UP on the shortest digits */
    IS("552.0", "ROUND", D(551.775));
    IS("550.0", "ROUND", D(545.2), I(-1));
    IS("-3.0", "ROUND", D(-2.5));
    IS("551.7", "TRUNCATE", D(551.775), I(1));
    IS("1.0E300", "ROUND", D(1e300), I(2));
    IS("-500", "ROUND", I(-458), I(-2));
    IS("-4000", "ROUND", DEC("-3524.93", 10, 2), I(-3));
    IS("-3524.9", "ROUND", DEC("-3524.93", 10, 2), I(1));
    fx_type(&f, fx_call(&f, "ROUND", 2, DEC("1", 10, 2), I(1)), "DECIMAL(10, 1)");
    fx_type(&f, fx_call(&f, "ROUND", 1, DEC("1", 10, 4)), "DECIMAL(7, 0)");
    IS("-3525", "FLOOR", DEC("-3524.93", 10, 2));
    IS("82", "CEIL", DEC("81.2514", 10, 4));
    IS("81.25", "TRUNCATE", DEC("81.2514", 10, 4), I(2));
    fx_free(&f);
}
END_TEST

START_TEST(remainders_and_signs) {
    fx_t f = fx_new();
    IS("-1", "MOD", I(-7), I(2));
    IS("-3", "/", I(-7), I(2));
    IS("0", "%", fx_i(&f, INT32_MIN), I(-1));
    IS("-2147483648", "/", fx_i(&f, INT32_MIN), I(-1));
    IS("-31.1198", "MOD", DEC("-3524.93", 10, 2), DEC("81.2514", 10, 4));
    IS("Infinity", "/", D(1), D(0));
    IS("-1", "SIGN", I(-9));
    IS("-2147483648", "ABS", fx_i(&f, INT32_MIN));
    IS("NULL", "*", DEC("99999999999999999999999999999999999999", 38, 0), DEC("10", 38, 0));
    fx_free(&f);
}
END_TEST

START_TEST(functions_of_doubles) {
    fx_t f = fx_new();
    IS("3.0", "LOG10", I(1000));
    IS("8.0", "POWER", I(2), I(3));
    IS("NaN", "LN", D(-1));
    IS("2.0", "LOG", I(3), I(9));
    IS("1.4142135623730951", "SQRT", I(2));
    IS("180.0", "DEGREES", fx_call(&f, "PI", 0));
    fx_fails(&f, fx_call(&f, "RAND_INTEGER", 1, I(0)), ERR_DATA, "not positive");
    fx_free(&f);
}
END_TEST

TESTS("engine/func_math", rounding, remainders_and_signs, functions_of_doubles)
