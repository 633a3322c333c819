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

err_t *rule_compare(binding_t *b) {
    bool equality = strcmp(b->func->name, "=") == 0 || strcmp(b->func->name, "<>") == 0;
    if (!equality) TRY(texts_as_numbers(b, 0, b->nargs));
    TRY(bind_comparable(b, 0, b->nargs));
    const type_t *t = b->args[0]->type;
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
        if (!row_null(c, i))
            c->out->b[i] = holds(op, value_compare(&c->args[0], AT(c, 0, i), &c->args[1], AT(c, 1, i)));
    }
    return NULL;
}

err_t *kernel_eq(call_t *c) { return compare(c, OP_EQ); }
err_t *kernel_ne(call_t *c) { return compare(c, OP_NE); }
err_t *kernel_lt(call_t *c) { return compare(c, OP_LT); }
err_t *kernel_le(call_t *c) { return compare(c, OP_LE); }
err_t *kernel_gt(call_t *c) { return compare(c, OP_GT); }
err_t *kernel_ge(call_t *c) { return compare(c, OP_GE); }

/* NaN is not equal to itself in "="; value_compare is total. */
static bool rows_equal(const call_t *c, int x, int y, uint32_t i) {
    const column_t *a = &c->args[x], *b = &c->args[y];
    uint32_t ia = AT(c, x, i), ib = AT(c, y, i);
    if (a->type->kind == TYPE_DOUBLE) return a->f64[ia] == b->f64[ib];
    if (a->type->kind == TYPE_FLOAT) return a->f32[ia] == b->f32[ib];
    return value_compare(a, ia, b, ib) == 0;
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
