/* func_int.h: what the function table, the binder and the kernels share. Private to engine/{expr,func,cast,kernel}_*.c.
 *
 * A kernel computes one call over n rows. Arguments are columns of n rows, or of one row when they are constant:
 * index them through AT(). For strict functions (the default) the result's null mask is combined from the arguments
 * before the kernel runs; the kernel may add nulls with out_null() and need not visit null rows, but reads nothing
 * that is not valid there. Kernels allocate in c->m and keep what they prepared (compiled patterns) in *c->state. */
#pragma once
#include "engine/datetime.h"
#include "engine/expr.h"
#include "engine/func.h"

struct expr_prog;
typedef struct call {
    const expr_t *expr;
    uint32_t n;
    int nargs;
    const column_t *args;
    const uint32_t *mask; /* per argument: 0 constant, else all ones */
    column_t *out;
    mem_t *m;
    const eval_ctx_t *ctx;
    struct expr_prog *prog;
    void **state; /* NULL at first; freed by func->free_state */
} call_t;

#define AT(c, k, i) ((i) & (c)->mask[k])
static inline bool arg_const(const call_t *c, int k) { return c->mask[k] == 0; }
static inline bool arg_null(const call_t *c, int k, uint32_t i) { return column_null(&c->args[k], AT(c, k, i)); }
static inline str_t arg_str(const call_t *c, int k, uint32_t i) { return c->args[k].str[AT(c, k, i)]; }
static inline int32_t arg_i32(const call_t *c, int k, uint32_t i) { return c->args[k].i32[AT(c, k, i)]; }
static inline int64_t arg_i64(const call_t *c, int k, uint32_t i) { return c->args[k].i64[AT(c, k, i)]; }
static inline double arg_f64(const call_t *c, int k, uint32_t i) { return c->args[k].f64[AT(c, k, i)]; }
static inline const type_t *arg_type(const call_t *c, int k) { return c->expr->args[k]->type; }
/* any integer type */
static inline int64_t column_int(const column_t *c, uint32_t i) {
    switch (c->type->kind) {
    case TYPE_BOOLEAN: return c->b[i];
    case TYPE_TINYINT: return c->i8[i];
    case TYPE_SMALLINT: return c->i16[i];
    case TYPE_INT:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_INTERVAL_MONTH: return c->i32[i];
    default: return c->i64[i];
    }
}
static inline int64_t arg_int(const call_t *c, int k, uint32_t i) { return column_int(&c->args[k], AT(c, k, i)); }
static inline bool row_null(const call_t *c, uint32_t i) { return c->out->nulls && c->out->nulls[i]; }
static inline void out_null(call_t *c, uint32_t i) { column_need_nulls(c->out, c->m, c->n)[i] = 1; }
static inline void out_str(call_t *c, uint32_t i, const char *p, size_t n) {
    c->out->str[i] = (str_t){.p = p, .len = (uint32_t)n};
}
/* Copies; for texts built in a scratch buffer. */
void out_copy(call_t *c, uint32_t i, const void *p, size_t n);
err_t *call_tz(call_t *c, const tz_t **ret); /* the session's zone */
/* "function: what 'value'", the value shortened */
err_t *call_error(const call_t *c, err_code_t code, const char *what, str_t value);

typedef err_t *(*kernel_fn_t)(call_t *c);

enum {
    FUNC_NULLS = 1,   /* the kernel sets the null mask itself (not strict) */
    FUNC_LAZY = 2,    /* arguments are evaluated by need: eval_lazy */
    FUNC_RANDOM = 4,  /* not deterministic: RAND, UUID */
    FUNC_CTX = 8,     /* depends on eval_ctx: not folded at planning */
    FUNC_SAFE = 16,   /* never fails and is cheap: no narrowing needed before it */
    FUNC_FULL = 32,   /* writes data of every row, null ones too: not cleared before */
    FUNC_NOW = 64,    /* reads the clock of eval_ctx: not deterministic */
    FUNC_HIDDEN = 128,/* not callable by name from SQL */
};

typedef struct binding {
    arena_t *a;
    const func_t *func;
    expr_t **args; /* may be replaced and permuted */
    int nargs;
    const type_t *type; /* result; rules set it */
} binding_t;
typedef err_t *(*rule_fn_t)(binding_t *b);

struct func {
    const char *name;
    const char *sig;  /* see func.c; NULL: rule decides all */
    rule_fn_t rule;   /* after sig matched, or alone */
    kernel_fn_t kernel;
    unsigned flags;
    const char *usage; /* "LPAD(text, length, pad)" */
    const char *doc;
    void (*free_state)(void *state);
};
extern const func_t *const func_tables[]; /* NULL-terminated list of arrays, each ended by a NULL name */
const func_t *func_find(const char *name);
extern const func_t func_cast, func_try_cast;

/* ---- typing helpers (func_type.c) */
bool any_nullable(const binding_t *b);
const type_t *type_of(binding_t *b, const type_t *t);    /* t, nullable when an argument is */
err_t *bind_error(const binding_t *b, const char *why);  /* ERR_TYPE with the argument types and the usage */
err_t *bind_cast(binding_t *b, int k, const type_t *to); /* implicit; keeps the argument's nullability */
err_t *bind_narrowed(binding_t *b, int k, const type_t *to); /* as bind_cast, and DOUBLE to FLOAT */
err_t *bind_common(binding_t *b, int from, int to, const type_t **ret); /* args [from, to) to one type */
/* As type_common, but of FLOAT and DOUBLE the one that comes first: Calcite's rule for arithmetic, CASE, IF and ARRAY. */
const type_t *type_least_restrictive(arena_t *a, const type_t *x, const type_t *y);
const type_t *type_as_decimal(arena_t *a, const type_t *t); /* integers as DECIMAL(p, 0); NULL when not exact */
const type_t *decimal_result(arena_t *a, char op, const type_t *x, const type_t *y);
const char *symbol_text(const expr_t *e); /* the keyword of a TYPE_SYMBOL literal, else NULL */

/* ---- evaluation (expr_prog.c): for lazy functions (expr_lazy.c) */
typedef struct rowset rowset_t;
struct rowset {
    uint64_t id;
    const rowset_t *parent; /* NULL: the batch */
    const uint32_t *rel;    /* rows in the parent; NULL: all of them */
    uint32_t n;
};
typedef struct eval eval_t;
err_t *eval_node(eval_t *e, int node, const rowset_t *set, column_t *ret); /* dense: set->n rows */
err_t *eval_lazy(eval_t *e, int node, const rowset_t *set, column_t *ret);
const expr_t *eval_expr(const eval_t *e, int node);
int eval_arg(const eval_t *e, int node, int k);
bool eval_cheap(const eval_t *e, int node);
mem_t *eval_mem(const eval_t *e);
uint64_t eval_new_set(eval_t *e);
void column_scatter(column_t *dst, const column_t *src, const uint32_t *at, uint32_t n); /* scalar types */
/* A column of n rows of a constant's one row. */
void column_broadcast(column_t *dst, const column_t *one, uint32_t n, mem_t *m);
int value_compare(const column_t *a, uint32_t i, const column_t *b, uint32_t j); /* same type, not null; total */
void value_of(const column_t *c, uint32_t i, value_t *ret); /* scalar */
void value_column(column_t *c, const type_t *t, const value_t *v, mem_t *m); /* one row; copies strings */
