/* func.h: the scalar function table: name, typing rule, kernel, doc line. One table serves the binder, the
 * evaluator and docs/functions.md.
 *
 * func_bind is the only way to make a call: it checks the number and kinds of arguments, inserts implicit casts as
 * Flink does, and computes the result type (nullability included). Operators are functions too, by these names:
 *   "+" "-" "*" "/" "%" "NEG" "||" "=" "<>" "<" "<=" ">" ">=" "AND" "OR" "NOT" "LIKE"(x, pattern[, escape])
 *   "SIMILAR TO" "IS NULL" "IS NOT NULL" "IS TRUE" "IS FALSE" "IS UNKNOWN" "IS NOT TRUE" "IS NOT FALSE"
 *   "IS NOT UNKNOWN" "IS DISTINCT FROM" "IS NOT DISTINCT FROM" "BETWEEN"(x, lo, hi) "BETWEEN SYMMETRIC" "IN"(x, a, b, ..)
 *   "CASE"(when1, then1, .., [else]) "ROW" "ARRAY" "MAP" "ITEM"(array or map, index or key) "FIELD"(row, symbol name)
 *   "EXTRACT"(symbol, x) "FLOOR"(x[, symbol]) "CEIL" "TRIM"(symbol BOTH|LEADING|TRAILING, what, x) "SUBSTRING" "POSITION"
 *   "OVERLAY" "TIMESTAMPADD"(symbol, n, x) "TIMESTAMPDIFF"(symbol, a, b) "CAST" and "TRY_CAST" by cast_bind only.
 *   "IS JSON VALUE" "IS JSON OBJECT" "IS JSON ARRAY" "IS JSON SCALAR" (x)
 *   "JSON_EXISTS"(x, path[, symbol TRUE|FALSE|UNKNOWN|ERROR])
 *   "JSON_QUERY"(x, path[, symbol WITHOUT|CONDITIONAL|UNCONDITIONAL wrapper, symbol NULL|ERROR|EMPTY ARRAY|EMPTY OBJECT
 *     on empty, the same on error[, NULL literal of the RETURNING type]])
 *   "JSON_VALUE"(x, path) gives STRING; with clauses all seven: (x, path, NULL literal of the RETURNING type, symbol
 *     NULL|ERROR|DEFAULT on empty, its default or NULL, symbol on error, its default or NULL)
 * NOT x LIKE y and the like are "NOT" over the positive form. */
#pragma once
#include "common/near.h"
#include "engine/expr.h"

bool func_exists(const char *name); /* case-insensitive */
void func_offer(near_t *near); /* all names */
/* Errors: ERR_NOT_FOUND (unknown), ERR_TYPE (arguments; text names the signatures),
 * ERR_UNSUPPORTED. The caller adds the position. */
err_t *func_bind(arena_t *a, const char *name, expr_t **args, int nargs, expr_t **ret);

typedef enum cast_mode { CAST_EXPLICIT, CAST_TRY, CAST_IMPLICIT } cast_mode_t;
/* arg itself when no cast is needed. CAST_IMPLICIT allows what Flink allows on INSERT and in arguments. */
err_t *cast_bind(arena_t *a, expr_t *arg, const type_t *to, cast_mode_t mode, expr_t **ret);
bool cast_allowed(const type_t *from, const type_t *to, cast_mode_t mode);
/* Least restrictive common type as Calcite/Flink computes it; NULL when there is none. */
const type_t *type_common(arena_t *a, const type_t *x, const type_t *y);

const char *func_name(const func_t *f);
bool func_deterministic(const func_t *f);
void func_docs(buf_t *out); /* docs/functions.md */
