/* decimal.h: exact decimal numbers: an unscaled i128 beside a scale the type knows. At most 38 digits.
 *
 * Rounding is HALF_UP (away from zero at the half). Every function that may leave the range says so by false;
 * *ret is then untouched. */
#pragma once
#include "common/base.h"

#define DECIMAL_DIGITS_MAX 38
#define DECIMAL_TEXT_MAX 80 /* sign, 38 digits, point, leading zeros of a scale up to 38 */

i128 decimal_pow10(int n);              /* 0 <= n <= 38 */
int decimal_digits(i128 v);             /* significant digits; 1 for 0 */
bool decimal_fits(i128 v, int precision);
/* From one scale to another, HALF_UP, and into precision digits. */
bool decimal_rescale(i128 v, int from_scale, int to_scale, int precision, i128 *ret);
/* Truncates toward zero to `digits` fraction digits (which may be negative), keeping the scale. */
i128 decimal_truncate(i128 v, int scale, int digits);
bool decimal_round(i128 v, int scale, int digits, i128 *ret); /* keeps the scale */
int decimal_compare(i128 a, int a_scale, i128 b, int b_scale); /* exact */
bool decimal_add(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret);
bool decimal_mul(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret);
/* b is not 0. The quotient is first rounded to 38 significant digits, then to the scale, as Flink does. */
bool decimal_div(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret);
bool decimal_mod(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret);

size_t decimal_print(char *p, i128 v, int scale); /* room DECIMAL_TEXT_MAX; "-0.50", "12" */
/* [+-]digits[.digits][E[+-]digits]; rounds HALF_UP to the scale; false: malformed, or more than precision digits */
bool decimal_parse(const char *p, size_t n, int precision, int scale, i128 *ret);
double decimal_to_f64(i128 v, int scale); /* nearest */
bool decimal_from_f64(double v, int precision, int scale, i128 *ret); /* through the shortest digits, as Flink */
