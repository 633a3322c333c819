/* number.h: text of numbers, both ways, without printf and without locale.
 *
 * Printers write to p, which has the room told, return the number of bytes and write no NUL. Floating point prints
 * the shortest digits that read back as the same value, laid out as Java does: "1.0", "1.0E10", "NaN", "-Infinity".
 * Parsers take exactly n bytes, no blanks around, and return false for anything else; *ret is then untouched. */
#pragma once
#include "common/base.h"

#define NUMBER_I64_MAX 20
#define NUMBER_F64_MAX 26

size_t u64_print(char *p, uint64_t v);
size_t i64_print(char *p, int64_t v);
size_t u64_print_padded(char *p, uint64_t v, int digits); /* leading zeros; v < 10^digits */
size_t f64_print(char *p, double v);
size_t f32_print(char *p, float v);

/* [+-]digits; false on overflow too */
bool i64_parse(const char *p, size_t n, int64_t *ret);
/* [+-]digits[.digits][(e|E)[+-]digits], ".5" and "5." as well, NaN and [+-]Infinity; correctly rounded (out of
 * range gives infinity or zero) */
bool f64_parse(const char *p, size_t n, double *ret);
bool f32_parse(const char *p, size_t n, float *ret); /* rounded once, to float */
