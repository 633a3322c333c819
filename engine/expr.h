/* expr.h: typed expressions and their evaluation over a batch.
 *
 * The binder builds expr_t trees through func_bind/cast_bind (engine/func.h), which choose the function, insert
 * implicit casts and compute the result type. expr_compile turns several trees into one flat program with common
 * subexpressions shared; evaluation runs it over a whole batch. Functions marked lazy (AND, OR, CASE, COALESCE, IF..)
 * evaluate their arguments only for the rows that need them: a cast that would fail in the branch not taken
 * does not fail. Evaluation is single-threaded per program; a program belongs to one operator instance. */
#pragma once
#include "engine/batch.h"

typedef struct func func_t; /* engine/func.h */

typedef enum expr_kind { EXPR_COLUMN, EXPR_LITERAL, EXPR_CALL } expr_kind_t;

/* One value of a scalar type; nested literals are constructor calls. */
typedef struct value {
    bool null;
    int64_t i;  /* BOOLEAN, integers, DATE, TIME, TIMESTAMP*, intervals (physical units) */
    double f;   /* FLOAT, DOUBLE */
    i128 dec;   /* DECIMAL, unscaled */
    str_t s;    /* text and binary; bytes live in the arena of the expression */
} value_t;

typedef struct expr {
    expr_kind_t kind;
    const type_t *type;
    int line, col; /* position in the SQL text, 0 unknown */
    int column;    /* EXPR_COLUMN: index in the input */
    value_t value; /* EXPR_LITERAL */
    const func_t *func; /* EXPR_CALL */
    int nargs;
    struct expr **args;
} expr_t;

expr_t *expr_column(arena_t *a, int index, const type_t *t);
expr_t *expr_literal(arena_t *a, const type_t *t, value_t v);
expr_t *expr_null(arena_t *a, const type_t *t);
expr_t *expr_string(arena_t *a, const char *s, size_t n); /* CHAR(n) NOT NULL */
expr_t *expr_bigint(arena_t *a, int64_t v);
bool expr_equal(const expr_t *a, const expr_t *b);
bool expr_is_constant(const expr_t *e);      /* no columns and deterministic */
bool expr_is_deterministic(const expr_t *e);
void expr_columns(const expr_t *e, uint8_t *used /* per input column, set to 1 */);
expr_t *expr_map_columns(arena_t *a, const expr_t *e, const int *map); /* deep copy, column i -> map[i] */
/* e over columns which are themselves expressions (projection merge); deep copy */
expr_t *expr_substitute(arena_t *a, const expr_t *e, expr_t *const *columns);
/* SQL-like canonical text: `($0 + 1)`, or names where given; plans, fingerprints and goldens use it. */
void expr_print(buf_t *out, const expr_t *e, const schema_t *names);
/* Replaces constant subtrees by literals; an error while folding leaves the call in place. */
expr_t *expr_fold(arena_t *a, expr_t *e);

/* What evaluation may depend on besides the row. */
typedef struct eval_ctx {
    const char *time_zone; /* session zone, "UTC" */
    int64_t now_ms;        /* PROCTIME(), CURRENT_TIMESTAMP: set by the task before each batch */
    int64_t query_start_ms;
    int64_t watermark_ms;  /* CURRENT_WATERMARK */
    uint64_t seed;         /* RAND, UUID */
} eval_ctx_t;

typedef struct expr_prog expr_prog_t;
err_t *expr_compile(expr_t *const *exprs, int n, expr_prog_t **ret);
void expr_prog_free(expr_prog_t *p);
/* Evaluates all expressions over the n rows of `in` (sel NULL) or over rows sel[0..n); results are compact columns
 * 0..n-1 in `out` (array of the program's n expressions), allocated in m; memory of `in` is linked by the caller.
 * A row whose evaluation fails (overflow in CAST, division by zero in integers ..) fails the call: ERR_DATA family. */
err_t *expr_eval(expr_prog_t *p, const eval_ctx_t *ctx, const batch_t *in, const uint32_t *sel, uint32_t n,
                 mem_t *m, column_t *out);
/* Boolean program of one expression: writes the rows that are TRUE to ret_sel (room for n). */
err_t *expr_filter(expr_prog_t *p, const eval_ctx_t *ctx, const batch_t *in, mem_t *scratch,
                   uint32_t *ret_sel, uint32_t *ret_n);
/* Evaluates a constant expression. */
err_t *expr_constant(arena_t *a, const expr_t *e, const eval_ctx_t *ctx, value_t *ret);
