/* kernel_arith.c: + - * / % and unary minus. Integers wrap, as Java's do; a decimal that overflows is NULL. */
#include "engine/decimal.h"
#include "engine/func_int.h"
#include "engine/rules.h"
#include <math.h>

/* One loop for each shape, so that constants stay in a register. */
#define BINARY(T, x, y, o, EXPR)                                                                   \
    do {                                                                                           \
        const T *restrict x_ = (const T *)c->args[0].data, *restrict y_ = (const T *)c->args[1].data; \
        T *restrict o_ = (T *)c->out->data;                                                        \
        uint32_t n_ = c->n;                                                                        \
        const uint32_t mx_ = c->mask[0];                                                           \
        if (arg_const(c, 1) && mx_) {                                                              \
            const T y = y_[0];                                                                     \
            for (uint32_t i = 0; i < n_; i++) {                                                    \
                const T x = x_[i];                                                                 \
                o_[i] = (T)(EXPR);                                                                 \
            }                                                                                      \
        } else if (arg_const(c, 0)) {                                                              \
            const T x = x_[0];                                                                     \
            for (uint32_t i = 0; i < n_; i++) {                                                    \
                const T y = y_[AT(c, 1, i)];                                                       \
                o_[i] = (T)(EXPR);                                                                 \
            }                                                                                      \
        } else {                                                                                   \
            for (uint32_t i = 0; i < n_; i++) {                                                    \
                const T x = x_[i], y = y_[i];                                                      \
                o_[i] = (T)(EXPR);                                                                 \
            }                                                                                      \
        }                                                                                          \
    } while (0)

typedef bool (*decimal_op_t)(i128, int, i128, int, int, int, i128 *);

static bool decimal_sub(i128 a, int as, i128 b, int bs, int p, int s, i128 *ret) {
    return decimal_add(a, as, -b, bs, p, s, ret);
}

static err_t *division_by_zero(const call_t *c) {
    return err_new(ERR_DATA, "%s: division by zero", func_name(c->expr->func));
}

static err_t *decimal_kernel(call_t *c, decimal_op_t op, bool divides) {
    const type_t *x = arg_type(c, 0), *y = arg_type(c, 1), *t = c->expr->type;
    for (uint32_t i = 0; i < c->n; i++) {
        c->out->dec[i] = 0;
        if (row_null(c, i)) continue;
        i128 a = c->args[0].dec[AT(c, 0, i)], b = c->args[1].dec[AT(c, 1, i)];
        if (divides && b == 0) return division_by_zero(c);
        if (!op(a, x->scale, b, y->scale, t->precision, t->scale, &c->out->dec[i])) out_null(c, i);
    }
    return NULL;
}

#define WRAPPING(NAME, OP, DECIMAL)                                                                \
    static err_t *NAME(call_t *c) {                                                                \
        switch (c->expr->type->kind) {                                                             \
        case TYPE_TINYINT: BINARY(int8_t, x, y, o, (uint8_t)x OP (uint8_t)y); break;               \
        case TYPE_SMALLINT: BINARY(int16_t, x, y, o, (uint32_t)x OP (uint32_t)y); break;           \
        case TYPE_INTERVAL_MONTH:                                                                  \
        case TYPE_INT: BINARY(int32_t, x, y, o, (uint32_t)x OP (uint32_t)y); break;                \
        case TYPE_INTERVAL_SECOND:                                                                 \
        case TYPE_BIGINT: BINARY(int64_t, x, y, o, (uint64_t)x OP (uint64_t)y); break;             \
        case TYPE_FLOAT: BINARY(float, x, y, o, x OP y); break;                                    \
        case TYPE_DOUBLE: BINARY(double, x, y, o, x OP y); break;                                  \
        default: return decimal_kernel(c, DECIMAL, false);                                         \
        }                                                                                          \
        return NULL;                                                                               \
    }
WRAPPING(add_numbers, +, decimal_add)
WRAPPING(sub_numbers, -, decimal_sub)
WRAPPING(mul_numbers, *, decimal_mul)

static void int_store(column_t *o, uint32_t i, int64_t v) {
    switch (o->type->kind) {
    case TYPE_TINYINT: o->i8[i] = (int8_t)v; break;
    case TYPE_SMALLINT: o->i16[i] = (int16_t)v; break;
    case TYPE_INT: o->i32[i] = (int32_t)v; break;
    default: o->i64[i] = v;
    }
}

static err_t *int_divide(call_t *c, bool modulo) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        int64_t x = arg_int(c, 0, i), y = arg_int(c, 1, i);
        if (y == 0) return division_by_zero(c);
        int64_t v = y == -1 ? (modulo ? 0 : (int64_t)(0 - (uint64_t)x)) : modulo ? x % y : x / y;
        int_store(c->out, i, v);
    }
    return NULL;
}

static err_t *div_numbers(call_t *c) {
    switch (c->expr->type->kind) {
    case TYPE_FLOAT: BINARY(float, x, y, o, x / y); return NULL;
    case TYPE_DOUBLE: BINARY(double, x, y, o, x / y); return NULL;
    case TYPE_DECIMAL: return decimal_kernel(c, decimal_div, true);
    default: return int_divide(c, false);
    }
}

static err_t *mod_numbers(call_t *c) {
    switch (arg_type(c, 0)->kind) {
    case TYPE_FLOAT: BINARY(float, x, y, o, fmodf(x, y)); return NULL;
    case TYPE_DOUBLE: BINARY(double, x, y, o, fmod(x, y)); return NULL;
    case TYPE_DECIMAL: return decimal_kernel(c, decimal_mod, true);
    default: return int_divide(c, true);
    }
}

/* ---- times and intervals. The rule puts the time first. */
static err_t *time_shift(call_t *c, int sign) {
    const type_t *t = arg_type(c, 0);
    bool months = arg_type(c, 1)->kind == TYPE_INTERVAL_MONTH;
    memset(c->out->data, 0, (size_t)type_width(c->expr->type) * c->n); /* null rows */
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        int64_t by = sign * arg_int(c, 1, i);
        switch (t->kind) {
        case TYPE_DATE: {
            int64_t us = (int64_t)arg_i32(c, 0, i) * US_PER_DAY;
            us = months ? timestamp_add_months(us, by) : us + by / MS_PER_DAY * US_PER_DAY; /* whole days, towards zero */
            c->out->i32[i] = (int32_t)floor_div(us, US_PER_DAY);
            break;
        }
        case TYPE_TIME:
            c->out->i32[i] = (int32_t)(months ? arg_i32(c, 0, i) : floor_mod(arg_i32(c, 0, i) + by, MS_PER_DAY));
            break;
        default: {
            int64_t us = arg_i64(c, 0, i);
            c->out->i64[i] = months ? timestamp_add_months(us, by) : (int64_t)((uint64_t)us + (uint64_t)by * 1000u);
        }
        }
    }
    return NULL;
}

static int64_t ms_of(const call_t *c, int k, uint32_t i) {
    switch (arg_type(c, k)->kind) {
    case TYPE_DATE: return (int64_t)arg_i32(c, k, i) * MS_PER_DAY;
    case TYPE_TIME: return arg_i32(c, k, i);
    default: return floor_div(arg_i64(c, k, i), 1000);
    }
}

static err_t *time_difference(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) c->out->i64[i] = ms_of(c, 0, i) - ms_of(c, 1, i);
    return NULL;
}

static void interval_store(call_t *c, uint32_t i, int64_t v) {
    if (c->expr->type->kind == TYPE_INTERVAL_MONTH) c->out->i32[i] = (int32_t)v;
    else c->out->i64[i] = v;
}

/* interval * number and interval / number; the rule puts the interval first */
static err_t *interval_scale(call_t *c, bool divide) {
    memset(c->out->data, 0, (size_t)type_width(c->expr->type) * c->n); /* null rows */
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        int64_t v = arg_int(c, 0, i);
        if (type_is_integer(arg_type(c, 1))) {
            int64_t y = arg_int(c, 1, i);
            if (divide && y == 0) return division_by_zero(c);
            interval_store(c, i, !divide ? (int64_t)((uint64_t)v * (uint64_t)y) : y == -1 ? -v : v / y);
        } else {
            double y = arg_f64(c, 1, i);
            double r = divide ? (double)v / y : (double)v * y;
            interval_store(c, i, r != r ? 0 : r >= 9e18 ? INT64_MAX : r <= -9e18 ? INT64_MIN : (int64_t)r);
        }
    }
    return NULL;
}

err_t *kernel_add(call_t *c) { return type_is_temporal(arg_type(c, 0)) ? time_shift(c, 1) : add_numbers(c); }
err_t *kernel_sub(call_t *c) {
    if (!type_is_temporal(arg_type(c, 0))) return sub_numbers(c);
    return type_is_temporal(arg_type(c, 1)) ? time_difference(c) : time_shift(c, -1);
}
err_t *kernel_mul(call_t *c) { return type_is_interval(c->expr->type) ? interval_scale(c, false) : mul_numbers(c); }
err_t *kernel_div(call_t *c) { return type_is_interval(c->expr->type) ? interval_scale(c, true) : div_numbers(c); }
err_t *kernel_mod(call_t *c) { return mod_numbers(c); }

#define UNARY(T, EXPR)                                                                             \
    do {                                                                                           \
        const T *restrict x_ = (const T *)c->args[0].data;                                         \
        T *restrict o_ = (T *)c->out->data;                                                        \
        for (uint32_t i = 0; i < c->n; i++) {                                                      \
            T x = x_[AT(c, 0, i)];                                                                 \
            o_[i] = (T)(EXPR);                                                                     \
        }                                                                                          \
    } while (0)

err_t *kernel_neg(call_t *c) {
    switch (c->expr->type->kind) {
    case TYPE_TINYINT: UNARY(int8_t, -x); break;
    case TYPE_SMALLINT: UNARY(int16_t, -x); break;
    case TYPE_INTERVAL_MONTH:
    case TYPE_INT: UNARY(int32_t, 0u - (uint32_t)x); break;
    case TYPE_INTERVAL_SECOND:
    case TYPE_BIGINT: UNARY(int64_t, (uint64_t)0 - (uint64_t)x); break;
    case TYPE_FLOAT: UNARY(float, -x); break;
    case TYPE_DOUBLE: UNARY(double, -x); break;
    default: UNARY(i128, -x);
    }
    return NULL;
}

err_t *kernel_abs(call_t *c) {
    switch (c->expr->type->kind) {
    case TYPE_TINYINT: UNARY(int8_t, x < 0 ? -x : x); break;
    case TYPE_SMALLINT: UNARY(int16_t, x < 0 ? -x : x); break;
    case TYPE_INT: UNARY(int32_t, x < 0 ? 0u - (uint32_t)x : (uint32_t)x); break;
    case TYPE_BIGINT: UNARY(int64_t, x < 0 ? (uint64_t)0 - (uint64_t)x : (uint64_t)x); break;
    case TYPE_FLOAT: UNARY(float, fabsf(x)); break;
    case TYPE_DOUBLE: UNARY(double, fabs(x)); break;
    default: UNARY(i128, x < 0 ? -x : x);
    }
    return NULL;
}

/* ---- typing */
static void swap_args(binding_t *b) {
    expr_t *t = b->args[0];
    b->args[0] = b->args[1];
    b->args[1] = t;
}

static err_t *bind_decimal(binding_t *b, char op) {
    const type_t *x = type_as_decimal(b->a, b->args[0]->type), *y = type_as_decimal(b->a, b->args[1]->type);
    TRY(bind_cast(b, 0, x));
    TRY(bind_cast(b, 1, y));
    b->type = decimal_result(b->a, op, x, y);
    return NULL;
}

static err_t *bind_numbers(binding_t *b, char op) {
    const type_t *x = b->args[0]->type, *y = b->args[1]->type;
    if (x->kind == TYPE_NULL && y->kind == TYPE_NULL) TRY(bind_cast(b, 0, &type_int));
    x = b->args[0]->type;
    if (x->kind == TYPE_NULL) TRY(bind_cast(b, 0, y));
    if (y->kind == TYPE_NULL) TRY(bind_cast(b, 1, x));
    x = b->args[0]->type;
    y = b->args[1]->type;
    if (!type_is_numeric(x) || !type_is_numeric(y)) return bind_error(b, "numbers are needed");
    if (!type_is_approx(x) && !type_is_approx(y) && (x->kind == TYPE_DECIMAL || y->kind == TYPE_DECIMAL))
        return bind_decimal(b, op);
    const type_t *t, *second = y;
    if (!(t = type_least_restrictive(b->a, x, y))) return bind_error(b, "the types have nothing in common");
    for (int i = 0; i < 2; i++) TRY(bind_narrowed(b, i, t));
    b->type = type_of(b, op == '%' && type_is_integer(t) ? second : t);
    return NULL;
}

err_t *rule_add(binding_t *b) {
    const type_t *x = b->args[0]->type, *y = b->args[1]->type;
    if (type_is_interval(x) && type_is_temporal(y)) {
        swap_args(b);
        x = b->args[0]->type;
        y = b->args[1]->type;
    }
    if (type_is_interval(y) && (type_is_temporal(x) || x->kind == y->kind)) {
        b->type = type_of(b, x);
        return NULL;
    }
    return bind_numbers(b, '+');
}

err_t *rule_sub(binding_t *b) {
    const type_t *x = b->args[0]->type, *y = b->args[1]->type;
    if (type_is_interval(y) && (type_is_temporal(x) || x->kind == y->kind)) {
        b->type = type_of(b, x);
        return NULL;
    }
    if (type_is_temporal(x) && type_is_temporal(y) && (x->kind == TYPE_TIME) == (y->kind == TYPE_TIME)) {
        const type_t *t;
        TRY(bind_common(b, 0, 2, &t));
        b->type = type_of(b, &type_interval_second);
        return NULL;
    }
    return bind_numbers(b, '-');
}

static err_t *bind_interval_scale(binding_t *b) {
    const type_t *y = b->args[1]->type;
    if (!type_is_numeric(y)) return bind_error(b, "a number is needed beside an interval");
    if (!type_is_integer(y)) TRY(bind_cast(b, 1, &type_double));
    b->type = type_of(b, b->args[0]->type);
    return NULL;
}

err_t *rule_mul(binding_t *b) {
    if (type_is_interval(b->args[1]->type) && type_is_numeric(b->args[0]->type)) swap_args(b);
    return type_is_interval(b->args[0]->type) ? bind_interval_scale(b) : bind_numbers(b, '*');
}

err_t *rule_div(binding_t *b) {
    return type_is_interval(b->args[0]->type) ? bind_interval_scale(b) : bind_numbers(b, '/');
}

err_t *rule_mod(binding_t *b) { return bind_numbers(b, '%'); }

err_t *rule_same(binding_t *b) { /* the result has the argument's type: NEG, ABS */
    b->type = type_of(b, b->args[0]->type);
    return NULL;
}
