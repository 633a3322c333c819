/* func_table.c: operators and conditions; the other tables are named at the end. */
#include "engine/func_tables.h"
#include "engine/rules.h"
#include <stdlib.h>

#define CHEAP (FUNC_SAFE | FUNC_FULL)
static const func_t operators[] = {
    {"+", "aa>r", rule_add, kernel_add, CHEAP, "x + y", "Sum; of a time and an interval the shifted time. Integers wrap around, a DECIMAL that overflows is NULL."},
    {"-", "aa>r", rule_sub, kernel_sub, CHEAP, "x - y", "Difference."},
    {"*", "aa>r", rule_mul, kernel_mul, CHEAP, "x * y", "Product."},
    {"/", "aa>r", rule_div, kernel_div, 0, "x / y", "Quotient; of integers without its fraction. Division by zero fails, but for FLOAT and DOUBLE."},
    {"%", "aa>r", rule_mod, kernel_mod, 0, "x % y", "Remainder with the sign of x."},
    {"MOD", "aa>r", rule_mod, kernel_mod, 0, "MOD(x, y)", "Remainder with the sign of x."},
    {"NEG", "n>=|k>=", NULL, kernel_neg, CHEAP, "-x", "Negation."},
    {"=", "aa>r", rule_compare, kernel_eq, CHEAP, "x = y", "Equal."},
    {"<>", "aa>r", rule_compare, kernel_ne, CHEAP, "x <> y", "Not equal."},
    {"<", "aa>r", rule_compare, kernel_lt, CHEAP, "x < y", "Less."},
    {"<=", "aa>r", rule_compare, kernel_le, CHEAP, "x <= y", "Less or equal."},
    {">", "aa>r", rule_compare, kernel_gt, CHEAP, "x > y", "Greater."},
    {">=", "aa>r", rule_compare, kernel_ge, CHEAP, "x >= y", "Greater or equal."},
    {"IS DISTINCT FROM", "aa>r", rule_distinct, kernel_distinct, FUNC_NULLS | CHEAP, "x IS DISTINCT FROM y", "Not equal, NULL being a value."},
    {"IS NOT DISTINCT FROM", "aa>r", rule_distinct, kernel_not_distinct, FUNC_NULLS | CHEAP, "x IS NOT DISTINCT FROM y", "Equal, NULL being a value."},
    {"BETWEEN", "aaa>r", rule_between, kernel_between, FUNC_NULLS | CHEAP, "x BETWEEN lo AND hi", "lo <= x and x <= hi."},
    {"BETWEEN SYMMETRIC", "aaa>r", rule_between, kernel_between_symmetric, FUNC_NULLS | CHEAP, "x BETWEEN SYMMETRIC a AND b", "Between in either order."},
    {"IN", "a+>r", rule_in, kernel_in, FUNC_NULLS | CHEAP, "x IN (a, b, ..)", "Equal to one of them; NULL when unknown."},
    {"AND", "bb+>b", NULL, NULL, FUNC_LAZY | FUNC_SAFE, "x AND y", "Both; the second is evaluated only where the first does not decide."},
    {"OR", "bb+>b", NULL, NULL, FUNC_LAZY | FUNC_SAFE, "x OR y", "Either; the second is evaluated only where the first does not decide."},
    {"NOT", "b>b", NULL, kernel_not, CHEAP, "NOT x", "Negation; NULL stays NULL."},
    {"IS NULL", "a>b.", NULL, kernel_is_null, FUNC_NULLS | CHEAP, "x IS NULL", "Is it NULL?"},
    {"IS NOT NULL", "a>b.", NULL, kernel_is_not_null, FUNC_NULLS | CHEAP, "x IS NOT NULL", "Is it not NULL?"},
    {"IS TRUE", "b>b.", NULL, kernel_is_true, FUNC_NULLS | CHEAP, "x IS TRUE", "True, never NULL."},
    {"IS FALSE", "b>b.", NULL, kernel_is_false, FUNC_NULLS | CHEAP, "x IS FALSE", "False, never NULL."},
    {"IS UNKNOWN", "b>b.", NULL, kernel_is_null, FUNC_NULLS | CHEAP, "x IS UNKNOWN", "Is it NULL?"},
    {"IS NOT TRUE", "b>b.", NULL, kernel_is_not_true, FUNC_NULLS | CHEAP, "x IS NOT TRUE", "False or NULL."},
    {"IS NOT FALSE", "b>b.", NULL, kernel_is_not_false, FUNC_NULLS | CHEAP, "x IS NOT FALSE", "True or NULL."},
    {"IS NOT UNKNOWN", "b>b.", NULL, kernel_is_not_null, FUNC_NULLS | CHEAP, "x IS NOT UNKNOWN", "Is it not NULL?"},
    {"CASE", NULL, rule_case, NULL, FUNC_LAZY, "CASE WHEN c THEN x .. ELSE y END", "The first result whose condition is true."},
    {"IF", "aaa>r", rule_case, NULL, FUNC_LAZY, "IF(condition, x, y)", "x where the condition is true, else y."},
    {"COALESCE", "a+>r", rule_coalesce, NULL, FUNC_LAZY, "COALESCE(x, y, ..)", "The first that is not NULL."},
    {"IFNULL", "aa>r", rule_coalesce, NULL, FUNC_LAZY, "IFNULL(x, y)", "x, or y where x is NULL."},
    {"NULLIF", "aa>r", rule_nullif, kernel_nullif, FUNC_NULLS | FUNC_SAFE, "NULLIF(x, y)", "NULL where x = y, else x."},
    {"GREATEST", "a+>r", rule_greatest, kernel_greatest, FUNC_SAFE, "GREATEST(x, y, ..)", "The greatest; NULL when one is NULL."},
    {"LEAST", "a+>r", rule_greatest, kernel_least, FUNC_SAFE, "LEAST(x, y, ..)", "The least; NULL when one is NULL."},
    {"TYPEOF", "ab?>t", rule_typeof, kernel_first, 0, "TYPEOF(x)", "The name of the type."},
    {"CURRENT_DATABASE", ">r", rule_current_database, kernel_first, 0, "CURRENT_DATABASE()", "The database: default_database."},
    {"RAND", "i?>d", NULL, kernel_rand, FUNC_RANDOM, "RAND([seed])", "A number in [0, 1).", free},
    {"RAND_INTEGER", "ii?>i", NULL, kernel_rand_integer, FUNC_RANDOM, "RAND_INTEGER([seed, ]bound)", "An integer in [0, bound).", free},
    {"UUID", ">t.", NULL, kernel_uuid, FUNC_RANDOM, "UUID()", "A random UUID.", free},
    {0},
};

const func_t *const func_tables[] = {operators, func_table_math, func_table_text, func_table_time, func_table_nested, NULL};
