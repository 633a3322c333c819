/* kernel_math.c: mathematics on DOUBLE, rounding on every number. */
#include "engine/decimal.h"
#include "engine/func_int.h"
#include "engine/number.h"
#include "engine/rules.h"
#include <math.h>

#define MATH1(NAME, EXPR)                                                                          \
    err_t *NAME(call_t *c) {                                                                       \
        const double *restrict x_ = c->args[0].f64;                                                \
        double *restrict o = c->out->f64;                                                          \
        for (uint32_t i = 0; i < c->n; i++) {                                                      \
            const double x = x_[AT(c, 0, i)];                                                      \
            o[i] = (EXPR);                                                                         \
        }                                                                                          \
        return NULL;                                                                               \
    }
#define MATH2(NAME, EXPR)                                                                          \
    err_t *NAME(call_t *c) {                                                                       \
        for (uint32_t i = 0; i < c->n; i++) {                                                      \
            const double x = arg_f64(c, 0, i), y = arg_f64(c, 1, i);                               \
            c->out->f64[i] = (EXPR);                                                               \
        }                                                                                          \
        return NULL;                                                                               \
    }
MATH1(kernel_sqrt, sqrt(x))
MATH1(kernel_exp, exp(x))
MATH1(kernel_ln, log(x))
MATH1(kernel_log10, log10(x))
MATH1(kernel_log2, log(x) / log(2.0))
MATH1(kernel_sin, sin(x))
MATH1(kernel_cos, cos(x))
MATH1(kernel_tan, tan(x))
MATH1(kernel_cot, 1.0 / tan(x))
MATH1(kernel_asin, asin(x))
MATH1(kernel_acos, acos(x))
MATH1(kernel_atan, atan(x))
MATH1(kernel_sinh, sinh(x))
MATH1(kernel_cosh, cosh(x))
MATH1(kernel_tanh, tanh(x))
MATH1(kernel_degrees, x * (180.0 / M_PI))
MATH1(kernel_radians, x * (M_PI / 180.0))
MATH2(kernel_power, pow(x, y))
MATH2(kernel_atan2, atan2(x, y))
MATH2(kernel_log_base, log(y) / log(x))

err_t *kernel_log(call_t *c) { return c->nargs == 2 ? kernel_log_base(c) : kernel_ln(c); }

static err_t *constant(call_t *c, double v) {
    for (uint32_t i = 0; i < c->n; i++) c->out->f64[i] = v;
    return NULL;
}
err_t *kernel_pi(call_t *c) { return constant(c, M_PI); }
err_t *kernel_e(call_t *c) { return constant(c, M_E); }

static void store(column_t *o, uint32_t i, int64_t v) {
    switch (o->type->kind) {
    case TYPE_TINYINT: o->i8[i] = (int8_t)v; break;
    case TYPE_SMALLINT: o->i16[i] = (int16_t)v; break;
    case TYPE_INT: o->i32[i] = (int32_t)v; break;
    case TYPE_BIGINT: o->i64[i] = v; break;
    case TYPE_FLOAT: o->f32[i] = (float)v; break;
    case TYPE_DOUBLE: o->f64[i] = (double)v; break;
    default: o->dec[i] = (i128)v * decimal_pow10(o->type->scale);
    }
}

static int sign_of(const column_t *c, uint32_t i, double *ret_f) {
    if (type_is_approx(c->type)) {
        double v = c->type->kind == TYPE_FLOAT ? (double)c->f32[i] : c->f64[i];
        *ret_f = v != v || v == 0 ? v : v > 0 ? 1 : -1;
        return 2;
    }
    if (c->type->kind == TYPE_DECIMAL) return (c->dec[i] > 0) - (c->dec[i] < 0);
    int64_t v = column_int(c, i);
    return (v > 0) - (v < 0);
}

err_t *kernel_sign(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        double f = 0;
        int s = sign_of(&c->args[0], AT(c, 0, i), &f);
        if (s != 2) store(c->out, i, s);
        else if (c->expr->type->kind == TYPE_FLOAT) c->out->f32[i] = (float)f;
        else c->out->f64[i] = f;
    }
    return NULL;
}

/* ---- FLOOR, CEIL */
err_t *rule_floor_number(binding_t *b) {
    const type_t *t = b->args[0]->type;
    b->type = t->kind == TYPE_DECIMAL ? type_decimal(b->a, t->precision, 0, t->nullable) : t;
    return NULL;
}

err_t *kernel_floor_number(call_t *c, bool ceiling) {
    const type_t *t = arg_type(c, 0);
    const column_t *x = &c->args[0];
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t at = AT(c, 0, i);
        switch (t->kind) {
        case TYPE_DOUBLE: c->out->f64[i] = ceiling ? ceil(x->f64[at]) : floor(x->f64[at]); break;
        case TYPE_FLOAT: c->out->f32[i] = ceiling ? ceilf(x->f32[at]) : floorf(x->f32[at]); break;
        case TYPE_DECIMAL: {
            i128 p = decimal_pow10(t->scale), q = x->dec[at] / p, r = x->dec[at] % p;
            c->out->dec[i] = q + (ceiling ? r > 0 : -(r < 0));
            break;
        }
        default: store(c->out, i, column_int(x, at));
        }
    }
    return NULL;
}

/* ---- ROUND, TRUNCATE */
err_t *rule_round(binding_t *b) {
    const type_t *t = b->args[0]->type;
    if (b->nargs == 1) {
        expr_t **args = ARENA_ARRAY(b->a, expr_t *, 2);
        args[0] = b->args[0];
        args[1] = expr_literal(b->a, &type_int, (value_t){.i = 0});
        b->args = args;
        b->nargs = 2;
    }
    b->type = type_of(b, t);
    const expr_t *d = b->args[1];
    if (t->kind != TYPE_DECIMAL) return NULL;
    expr_t *folded = expr_fold(b->a, b->args[1]);
    d = b->args[1] = folded;
    if (d->kind != EXPR_LITERAL || d->value.null || d->value.i >= t->scale) return NULL;
    int digits = (int)d->value.i, whole = t->precision - t->scale + 1;
    int precision = digits < 0 ? whole : whole + digits;
    b->type = type_decimal(b->a, MIN(precision, 38), MAX(digits, 0), b->type->nullable);
    return NULL;
}

/* Through the shortest decimal digits, as BigDecimal.valueOf does. */
static double double_round(double v, int digits, bool truncate) {
    if (!isfinite(v) || digits > 37) return v;
    if (digits >= 0 && fabs(v) >= 9007199254740992.0) return v;
    if (digits < 0 && fabs(v) >= 1e37) return v;
    char text[NUMBER_F64_MAX];
    size_t n = f64_print(text, v);
    i128 d;
    int scale = digits > 0 ? digits : 0;
    if (truncate) { /* keep what the digits are, then cut */
        scale = fabs(v) >= 1e16 ? 0 : 20;
        if (scale < digits) return v;
    }
    if (!decimal_parse(text, n, 38, scale, &d)) return v;
    if (truncate) d = decimal_truncate(d, scale, digits);
    else if (digits < 0 && (digits < -37 || !decimal_parse(text, n, 38, 0, &d) || !decimal_round(d, 0, digits, &d)))
        return 0;
    /* HALF_UP on the whole text, not on one already rounded */
    if (!truncate && digits < 0) {
        i128 exact;
        if (fabs(v) < 1e17 && decimal_parse(text, n, 38, 20, &exact) && decimal_round(exact, 20, digits, &exact))
            return decimal_to_f64(exact, 20);
    }
    return decimal_to_f64(d, scale);
}

static err_t *round_kernel(call_t *c, bool truncate) {
    const type_t *t = arg_type(c, 0), *to = c->expr->type;
    const column_t *x = &c->args[0];
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        uint32_t at = AT(c, 0, i);
        int digits = arg_i32(c, 1, i);
        if (type_is_approx(t)) {
            double v = double_round(t->kind == TYPE_FLOAT ? (double)x->f32[at] : x->f64[at], digits, truncate);
            if (t->kind == TYPE_FLOAT) c->out->f32[i] = (float)v;
            else c->out->f64[i] = v;
            continue;
        }
        int scale = t->kind == TYPE_DECIMAL ? t->scale : 0;
        i128 v = t->kind == TYPE_DECIMAL ? x->dec[at] : (i128)column_int(x, at);
        bool ok = true;
        if (digits < -38) v = 0;
        else if (truncate) v = decimal_truncate(v, scale, digits);
        else if (t->kind == TYPE_DECIMAL && digits >= 0 && digits == to->scale && digits < scale) ok = true; /* rescaling rounds, with room for the carry */
        else if (t->kind == TYPE_DECIMAL && digits < 0) { /* in units of that digit: also room for the carry */
            ok = decimal_rescale(v, scale, digits, 38, &v);
            scale = digits;
        } else ok = decimal_round(v, scale, digits, &v);
        if (t->kind != TYPE_DECIMAL) store(c->out, i, (int64_t)v);
        else if (!ok || !decimal_rescale(v, scale, to->scale, to->precision, &c->out->dec[i])) out_null(c, i);
    }
    return NULL;
}
err_t *kernel_round(call_t *c) { return round_kernel(c, false); }
err_t *kernel_truncate(call_t *c) { return round_kernel(c, true); }

/* ---- other bases */
err_t *kernel_bin(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        uint64_t v = (uint64_t)arg_int(c, 0, i);
        int n = v ? 64 - __builtin_clzll(v) : 1;
        char *p = mem_alloc(c->m, (size_t)n);
        for (int k = 0; k < n; k++) p[k] = (char)('0' + (v >> (n - 1 - k) & 1));
        out_str(c, i, p, (size_t)n);
    }
    return NULL;
}

err_t *kernel_hex(call_t *c) {
    static const char hex[] = "0123456789ABCDEF";
    bool text = type_is_strlike(arg_type(c, 0));
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        if (!text) {
            uint64_t v = (uint64_t)arg_int(c, 0, i);
            int n = v ? (67 - __builtin_clzll(v)) / 4 : 1;
            char *p = mem_alloc(c->m, (size_t)n);
            for (int k = 0; k < n; k++) p[k] = hex[v >> 4 * (n - 1 - k) & 15];
            out_str(c, i, p, (size_t)n);
            continue;
        }
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, (size_t)s.len * 2);
        for (uint32_t k = 0; k < s.len; k++) {
            p[2 * k] = hex[(unsigned char)s.p[k] >> 4];
            p[2 * k + 1] = hex[s.p[k] & 15];
        }
        out_str(c, i, p, (size_t)s.len * 2);
    }
    return NULL;
}
