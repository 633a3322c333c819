/* kernel_compare.c: comparisons, BETWEEN, IN, IS .., GREATEST, LEAST, NULLIF. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include <math.h>

/* Text beside a number is read as one, as Flink does for order and IN, but not for = and <>. */
static err_t *texts_as_numbers(binding_t *b, int from, int to) {
    const type_t *number = NULL;
    for (int i = from; i < to; i++) {
        const type_t *t = b->args[i]->type;
        if (type_is_numeric(t)) number = number ? type_common(b->a, number, t) : t;
        else if (!type_is_text(t)) return NULL;
    }
    for (int i = from; i < to && number; i++) {
        const type_t *t = b->args[i]->type;
        if (type_is_text(t)) TRY(cast_bind(b->a, b->args[i], type_nullable(b->a, number, t->nullable), CAST_EXPLICIT, &b->args[i]));
    }
    return NULL;
}

/* Text beside a time or a boolean is read as such; the rest meets in the common type. */
static err_t *bind_comparable(binding_t *b, int from, int to) {
    const type_t *other = NULL;
    bool text = false;
    for (int i = from; i < to; i++) {
        const type_t *t = b->args[i]->type;
        if (type_is_text(t)) text = true;
        else if (type_is_temporal(t) && !other) other = t;
    }
    if (text && other)
        for (int i = from; i < to; i++)
            if (type_is_text(b->args[i]->type)) {
                const type_t *t = other->kind == TYPE_DATE ? other : type_scalar(b->a, other->kind, other->kind == TYPE_TIME ? 0 : 3, true);
                TRY(cast_bind(b->a, b->args[i], t, CAST_EXPLICIT, &b->args[i]));
            }
    const type_t *t;
    return bind_common(b, from, to, &t);
}

static expr_t *truth(arena_t *a, bool v) { return expr_literal(a, type_nullable(a, &type_boolean, false), (value_t){.i = v}); }
static bool is_row_call(const expr_t *e) { return e->kind == EXPR_CALL && e->func == func_find("ROW") && e->nargs > 0; }
static bool two_rows(const expr_t *x, const expr_t *y) { return is_row_call(x) && is_row_call(y) && x->nargs == y->nargs; }

/* (a, b) = (c, d) is a = c AND b = d, so that a NULL makes it unknown; (a, b) <> (c, d) is a <> c OR b <> d. */
static err_t *by_fields(binding_t *b, const expr_t *x, const expr_t *y, const char *op, expr_t **ret) {
    bool equal = strcmp(op, "=") == 0;
    expr_t *all = NULL;
    for (int k = 0; k < x->nargs; k++) {
        expr_t *pair[2] = {x->args[k], y->args[k]}, *one;
        if (two_rows(pair[0], pair[1])) TRY(by_fields(b, pair[0], pair[1], op, &one));
        else TRY(func_bind(b->a, op, pair, 2, &one));
        expr_t *both[2] = {all, one};
        if (all) TRY(func_bind(b->a, equal ? "AND" : "OR", both, 2, &all));
        else all = one;
    }
    *ret = all;
    return NULL;
}

/* The binding becomes `op` over two conditions already bound. */
static err_t *become(binding_t *b, const char *op, expr_t *x, expr_t *y) {
    b->func = func_find(op);
    expr_t **args = ARENA_ARRAY(b->a, expr_t *, 2);
    args[0] = x;
    args[1] = y;
    b->args = args;
    b->nargs = 2;
    b->type = type_of(b, &type_boolean);
    return NULL;
}

err_t *rule_compare(binding_t *b) {
    bool equality = strcmp(b->func->name, "=") == 0 || strcmp(b->func->name, "<>") == 0;
    if (equality && two_rows(b->args[0], b->args[1])) {
        expr_t *e;
        TRY(by_fields(b, b->args[0], b->args[1], b->func->name, &e));
        return become(b, "AND", e, truth(b->a, true));
    }
    if (!equality) TRY(texts_as_numbers(b, 0, b->nargs));
    TRY(bind_comparable(b, 0, b->nargs));
    const type_t *t = b->args[0]->type;
    /* Flink does not compute x = x: also NaN equals itself then, and a list with a NULL */
    bool same = expr_equal(b->args[0], b->args[1]) && expr_is_deterministic(b->args[0]);
    if (same && (type_is_approx(t) || (equality && type_is_nested(t)))) {
        bool holds = strchr(b->func->name, '=') != NULL;
        expr_t *x[1] = {b->args[0]}, *known;
        TRY(func_bind(b->a, holds ? "IS NOT NULL" : "IS NULL", x, 1, &known));
        return t->nullable ? become(b, holds ? "OR" : "AND", known, expr_null(b->a, type_nullable(b->a, &type_boolean, true)))
                           : become(b, "AND", truth(b->a, holds), truth(b->a, true));
    }
    if (type_is_nested(t) && !equality) return bind_error(b, "values of this type have no order");
    b->type = type_of(b, &type_boolean);
    return NULL;
}

err_t *rule_distinct(binding_t *b) {
    TRY(bind_comparable(b, 0, b->nargs));
    b->type = type_nullable(b->a, &type_boolean, false);
    return NULL;
}

err_t *rule_in(binding_t *b) {
    if (b->nargs < 2) return bind_error(b, "a list of values is needed");
    bool rows = true;
    for (int k = 1; k < b->nargs; k++) rows &= two_rows(b->args[0], b->args[k]);
    if (rows && expr_is_deterministic(b->args[0])) {
        expr_t *any = NULL;
        for (int k = 1; k < b->nargs; k++) {
            expr_t *e;
            TRY(by_fields(b, b->args[0], b->args[k], "=", &e));
            expr_t *both[2] = {any, e};
            if (any) TRY(func_bind(b->a, "OR", both, 2, &any));
            else any = e;
        }
        return become(b, "OR", any, truth(b->a, false));
    }
    if (type_is_numeric(b->args[0]->type)) TRY(texts_as_numbers(b, 0, b->nargs));
    TRY(bind_comparable(b, 0, b->nargs));
    b->type = type_of(b, &type_boolean);
    return NULL;
}

err_t *rule_between(binding_t *b) {
    TRY(texts_as_numbers(b, 0, 3));
    TRY(bind_comparable(b, 0, 3));
    if (type_is_nested(b->args[0]->type)) return bind_error(b, "values of this type have no order");
    if (strcmp(b->func->name, "BETWEEN") == 0 && expr_is_deterministic(b->args[0])) {
        expr_t *lo[2] = {b->args[0], b->args[1]}, *hi[2] = {b->args[0], b->args[2]};
        TRY(func_bind(b->a, ">=", lo, 2, &b->args[0])); /* x is computed once: equal subtrees are shared */
        TRY(func_bind(b->a, "<=", hi, 2, &b->args[1]));
        b->func = func_find("AND");
        b->nargs = 2;
    }
    b->type = type_of(b, &type_boolean);
    return NULL;
}

err_t *rule_greatest(binding_t *b) {
    const type_t *t;
    if (b->nargs < 1) return bind_error(b, "at least one value is needed");
    TRY(bind_common(b, 0, b->nargs, &t));
    if (type_is_nested(t)) return bind_error(b, "values of this type have no order");
    b->type = type_of(b, t);
    return NULL;
}

/* ---- kernels */
enum { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

#define CMP_LOOP(T, OP)                                                                            \
    do {                                                                                           \
        const T *restrict x_ = (const T *)c->args[0].data, *restrict y_ = (const T *)c->args[1].data; \
        uint8_t *restrict o_ = c->out->b;                                                          \
        const uint32_t n_ = c->n, mx_ = c->mask[0], my_ = c->mask[1];                              \
        if (!mx_ && !my_) {                                                                        \
            memset(o_, x_[0] OP y_[0], n_);                                                        \
        } else if (!my_) {                                                                         \
            const T y = y_[0];                                                                     \
            for (uint32_t i = 0; i < n_; i++) o_[i] = x_[i] OP y;                                  \
        } else if (!mx_) {                                                                         \
            const T x = x_[0];                                                                     \
            for (uint32_t i = 0; i < n_; i++) o_[i] = x OP y_[i];                                  \
        } else {                                                                                   \
            for (uint32_t i = 0; i < n_; i++) o_[i] = x_[i] OP y_[i];                              \
        }                                                                                          \
    } while (0)
#define CMP(T)                                                                                     \
    switch (op) {                                                                                  \
    case OP_EQ: CMP_LOOP(T, ==); break;                                                            \
    case OP_NE: CMP_LOOP(T, !=); break;                                                            \
    case OP_LT: CMP_LOOP(T, <); break;                                                             \
    case OP_LE: CMP_LOOP(T, <=); break;                                                            \
    case OP_GT: CMP_LOOP(T, >); break;                                                             \
    default: CMP_LOOP(T, >=);                                                                      \
    }

static bool holds(int op, int cmp) {
    switch (op) {
    case OP_EQ: return cmp == 0;
    case OP_NE: return cmp != 0;
    case OP_LT: return cmp < 0;
    case OP_LE: return cmp <= 0;
    case OP_GT: return cmp > 0;
    default: return cmp >= 0;
    }
}

static inline bool str_equal(str_t a, str_t b) { return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0); }

static bool values_equal(const column_t *a, uint32_t i, const column_t *b, uint32_t j);

static err_t *compare(call_t *c, int op) {
    switch (arg_type(c, 0)->kind) {
    case TYPE_NULL:
    case TYPE_BOOLEAN: CMP(uint8_t); return NULL;
    case TYPE_TINYINT: CMP(int8_t); return NULL;
    case TYPE_SMALLINT: CMP(int16_t); return NULL;
    case TYPE_INT:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_INTERVAL_MONTH: CMP(int32_t); return NULL;
    case TYPE_BIGINT:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ:
    case TYPE_INTERVAL_SECOND: CMP(int64_t); return NULL;
    case TYPE_FLOAT: CMP(float); return NULL;
    case TYPE_DOUBLE: CMP(double); return NULL;
    case TYPE_DECIMAL: CMP(i128); return NULL;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
        if (op == OP_EQ || op == OP_NE) {
            for (uint32_t i = 0; i < c->n; i++)
                c->out->b[i] = str_equal(arg_str(c, 0, i), arg_str(c, 1, i)) == (op == OP_EQ);
            return NULL;
        }
        break;
    default: break;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        c->out->b[i] = 0;
        if (row_null(c, i)) continue;
        const column_t *x = &c->args[0], *y = &c->args[1];
        if (op == OP_EQ || op == OP_NE) c->out->b[i] = values_equal(x, AT(c, 0, i), y, AT(c, 1, i)) == (op == OP_EQ);
        else c->out->b[i] = holds(op, value_compare(x, AT(c, 0, i), y, AT(c, 1, i)));
    }
    return NULL;
}

err_t *kernel_eq(call_t *c) { return compare(c, OP_EQ); }
err_t *kernel_ne(call_t *c) { return compare(c, OP_NE); }
err_t *kernel_lt(call_t *c) { return compare(c, OP_LT); }
err_t *kernel_le(call_t *c) { return compare(c, OP_LE); }
err_t *kernel_gt(call_t *c) { return compare(c, OP_GT); }
err_t *kernel_ge(call_t *c) { return compare(c, OP_GE); }

/* NaN is not equal to itself in "="; value_compare is total. As in Flink an array that holds a NULL equals none, and maps have no order. */
static bool values_equal(const column_t *a, uint32_t i, const column_t *b, uint32_t j) {
    switch (a->type->kind) {
    case TYPE_DOUBLE: return a->f64[i] == b->f64[j];
    case TYPE_FLOAT: return a->f32[i] == b->f32[j];
    case TYPE_ARRAY: {
        span_t x = a->span[i], y = b->span[j];
        if (x.len != y.len) return false;
        for (uint32_t k = 0; k < x.len; k++) {
            if (column_null(&a->child[0], x.off + k) || column_null(&b->child[0], y.off + k)) return false;
            if (!values_equal(&a->child[0], x.off + k, &b->child[0], y.off + k)) return false;
        }
        return true;
    }
    case TYPE_MAP: {
        span_t x = a->span[i], y = b->span[j];
        if (x.len != y.len) return false;
        for (uint32_t k = 0; k < x.len; k++) {
            bool found = false;
            for (uint32_t m = 0; m < y.len && !found; m++) {
                bool xn = column_null(&a->child[0], x.off + k), yn = column_null(&b->child[0], y.off + m);
                if (xn || yn ? xn != yn : !values_equal(&a->child[0], x.off + k, &b->child[0], y.off + m)) continue;
                xn = column_null(&a->child[1], x.off + k);
                yn = column_null(&b->child[1], y.off + m);
                if (xn || yn ? xn != yn : !values_equal(&a->child[1], x.off + k, &b->child[1], y.off + m)) return false;
                found = true;
            }
            if (!found) return false;
        }
        return true;
    }
    default: return value_compare(a, i, b, j) == 0;
    }
}

static bool rows_equal(const call_t *c, int x, int y, uint32_t i) {
    return values_equal(&c->args[x], AT(c, x, i), &c->args[y], AT(c, y, i));
}

static err_t *distinct(call_t *c, bool want) {
    for (uint32_t i = 0; i < c->n; i++) {
        bool xn = arg_null(c, 0, i), yn = arg_null(c, 1, i);
        bool differ = xn || yn ? xn != yn : !rows_equal(c, 0, 1, i);
        c->out->b[i] = differ == want;
    }
    return NULL;
}
err_t *kernel_distinct(call_t *c) { return distinct(c, true); }
err_t *kernel_not_distinct(call_t *c) { return distinct(c, false); }

/* x >= lo AND x <= hi with three-valued AND */
static void between_row(call_t *c, uint32_t i, int lo, int hi, bool *ret_true, bool *ret_false) {
    bool xn = arg_null(c, 0, i), ln = arg_null(c, lo, i), hn = arg_null(c, hi, i);
    bool below = !xn && !ln && value_compare(&c->args[0], AT(c, 0, i), &c->args[lo], AT(c, lo, i)) < 0;
    bool above = !xn && !hn && value_compare(&c->args[0], AT(c, 0, i), &c->args[hi], AT(c, hi, i)) > 0;
    *ret_false = below || above;
    *ret_true = !xn && !ln && !hn && !*ret_false;
}

err_t *kernel_between(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        bool t, f;
        between_row(c, i, 1, 2, &t, &f);
        c->out->b[i] = t;
        if (!t && !f) out_null(c, i);
    }
    return NULL;
}

err_t *kernel_between_symmetric(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        bool t1, f1, t2, f2;
        between_row(c, i, 1, 2, &t1, &f1);
        between_row(c, i, 2, 1, &t2, &f2);
        c->out->b[i] = t1 || t2;
        if (!(t1 || t2) && !(f1 && f2)) out_null(c, i);
    }
    return NULL;
}

/* The usual list: constants of a type that compares in one instruction. false: not such a list. */
static bool in_constants(call_t *c) {
    type_kind_t kind = arg_type(c, 0)->kind;
    size_t w = kind == TYPE_INT || kind == TYPE_DATE ? 4 : kind == TYPE_BIGINT || kind == TYPE_TIMESTAMP ? 8 : 0;
    bool text = type_is_text(arg_type(c, 0));
    if ((!w && !text) || arg_const(c, 0)) return false;
    for (int k = 1; k < c->nargs; k++)
        if (!arg_const(c, k)) return false;
    const column_t *x = &c->args[0];
    uint8_t *restrict o = c->out->b;
    bool null = false;
    memset(o, 0, c->n);
    for (int k = 1; k < c->nargs; k++) {
        if (arg_null(c, k, 0)) {
            null = true;
        } else if (w == 4) {
            for (uint32_t i = 0, v = (uint32_t)c->args[k].i32[0]; i < c->n; i++) o[i] |= (uint32_t)x->i32[i] == v;
        } else if (w == 8) {
            int64_t v = c->args[k].i64[0];
            for (uint32_t i = 0; i < c->n; i++) o[i] |= x->i64[i] == v;
        } else {
            str_t v = c->args[k].str[0];
            for (uint32_t i = 0; i < c->n; i++) o[i] |= str_equal(x->str[i], v);
        }
    }
    for (uint32_t i = 0; i < c->n; i++) {
        bool unknown = column_null(x, i) || (null && !o[i]);
        if (!unknown) continue;
        o[i] = 0;
        out_null(c, i);
    }
    return true;
}

err_t *kernel_in(call_t *c) {
    if (in_constants(c)) return NULL;
    for (uint32_t i = 0; i < c->n; i++) {
        bool hit = false, null = arg_null(c, 0, i);
        for (int k = 1; k < c->nargs && !hit && !arg_null(c, 0, i); k++) {
            if (arg_null(c, k, i)) null = true;
            else hit = rows_equal(c, 0, k, i);
        }
        c->out->b[i] = hit;
        if (!hit && null) out_null(c, i);
    }
    return NULL;
}

static void copy_row(call_t *c, uint32_t i, int k) {
    size_t w = (size_t)type_width(c->expr->type);
    memcpy((char *)c->out->data + w * i, (char *)c->args[k].data + w * AT(c, k, i), w);
}

static err_t *extreme(call_t *c, int sign) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        int best = 0;
        for (int k = 1; k < c->nargs; k++)
            if (sign * value_compare(&c->args[k], AT(c, k, i), &c->args[best], AT(c, best, i)) > 0) best = k;
        copy_row(c, i, best);
    }
    return NULL;
}
err_t *kernel_greatest(call_t *c) { return extreme(c, 1); }
err_t *kernel_least(call_t *c) { return extreme(c, -1); }

/* NULLIF(x, y, x as the type both are compared in): the rule adds the third */
err_t *kernel_nullif(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (arg_null(c, 0, i)) {
            out_null(c, i);
            continue;
        }
        if (!arg_null(c, 1, i) && rows_equal(c, 2, 1, i)) out_null(c, i);
        else copy_row(c, i, 0);
    }
    return NULL;
}

err_t *rule_nullif(binding_t *b) {
    expr_t **args = ARENA_ARRAY(b->a, expr_t *, 3);
    expr_t *x = b->args[0];
    args[0] = x;
    args[1] = b->args[1];
    args[2] = x;
    b->args = args;
    b->nargs = 3;
    if (type_is_nested(x->type)) return bind_error(b, "values of this type cannot be compared here");
    TRY(bind_comparable(b, 1, 3));
    b->args[0] = x;
    b->type = type_nullable(b->a, x->type, true);
    return NULL;
}

/* ---- IS .. */
#define IS_KERNEL(NAME, ...)                                                                       \
    err_t *NAME(call_t *c) {                                                                       \
        for (uint32_t i = 0; i < c->n; i++) {                                                      \
            bool null = arg_null(c, 0, i);                                                         \
            bool v = type_width(arg_type(c, 0)) == 1 && c->args[0].b[AT(c, 0, i)];                 \
            c->out->b[i] = (__VA_ARGS__);                                                          \
        }                                                                                          \
        return NULL;                                                                               \
    }
IS_KERNEL(kernel_is_null, (void)v, null)
IS_KERNEL(kernel_is_not_null, (void)v, !null)
IS_KERNEL(kernel_is_true, !null && v)
IS_KERNEL(kernel_is_false, !null && !v)
IS_KERNEL(kernel_is_not_true, null || !v)
IS_KERNEL(kernel_is_not_false, null || v)

err_t *kernel_not(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) c->out->b[i] = !c->args[0].b[AT(c, 0, i)];
    return NULL;
}
