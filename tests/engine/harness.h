/* harness.h: expressions over a few columns in a line each: fx_is(&f, fx_call(&f, "UPPER", 1, fx_s(&f, "x")), "X").
 * Values print as Flink casts them to text. */
#pragma once
#include "engine/func.h"
#include <stdarg.h>

typedef struct fx {
    arena_t *a;
    mem_t *m;
    eval_ctx_t ctx;
    schema_t schema;
    field_t fields[16];
    column_t cols[16];
    uint32_t rows;
    batch_t *batch;
} fx_t;

static inline fx_t fx_new(void) {
    return (fx_t){.a = arena_new(), .m = mem_new(), .rows = 1,
                  .ctx = {.time_zone = "UTC", .now_ms = INT64_C(1700000000123), .watermark_ms = INT64_MIN, .seed = 1}};
}
static inline void fx_free(fx_t *f) {
    batch_free(f->batch);
    mem_unref(f->m);
    arena_free(f->a);
}
static inline column_t *fx_add(fx_t *f, const char *name, const type_t *t, uint32_t n) {
    batch_free(f->batch);
    f->batch = NULL;
    int i = f->schema.n++;
    f->fields[i] = (field_t){name, t};
    f->rows = n;
    column_init(&f->cols[i], t, f->m, n);
    return &f->cols[i];
}
/* bit k of nulls: row k is NULL */
static inline void fx_int(fx_t *f, const char *name, const int *v, uint32_t n, unsigned nulls) {
    column_t *c = fx_add(f, name, &type_int, n);
    for (uint32_t i = 0; i < n; i++) {
        c->i32[i] = v[i];
        if (nulls >> i & 1) column_need_nulls(c, f->m, n)[i] = 1;
    }
}
static inline void fx_bool(fx_t *f, const char *name, const int *v, uint32_t n) {
    column_t *c = fx_add(f, name, &type_boolean, n);
    for (uint32_t i = 0; i < n; i++) {
        c->b[i] = v[i] == 1;
        if (v[i] < 0) column_need_nulls(c, f->m, n)[i] = 1;
    }
}
static inline void fx_str(fx_t *f, const char *name, const char *const *v, uint32_t n) {
    column_t *c = fx_add(f, name, &type_string, n);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i]) c->str[i] = (str_t){.p = v[i], .len = (uint32_t)strlen(v[i])};
        else column_need_nulls(c, f->m, n)[i] = 1;
    }
}
static inline expr_t *fx_col(fx_t *f, const char *name) {
    for (int i = 0; i < f->schema.n; i++)
        if (strcmp(f->fields[i].name, name) == 0) return expr_column(f->a, i, f->fields[i].type);
    ck_abort_msg("no column %s", name);
    return NULL;
}
static inline expr_t *fx_i(fx_t *f, int64_t v) {
    return expr_literal(f->a, type_nullable(f->a, &type_int, false), (value_t){.i = v});
}
static inline expr_t *fx_d(fx_t *f, double v) {
    return expr_literal(f->a, type_nullable(f->a, &type_double, false), (value_t){.f = v});
}
static inline expr_t *fx_s(fx_t *f, const char *s) { return expr_string(f->a, s, strlen(s)); }
static inline expr_t *fx_null(fx_t *f) { return expr_null(f->a, &type_null); }
static inline expr_t *fx_sym(fx_t *f, const char *s) {
    return expr_literal(f->a, type_nullable(f->a, &type_symbol, false), (value_t){.s = {.p = s, .len = (uint32_t)strlen(s)}});
}
static inline expr_t *fx_call(fx_t *f, const char *name, int n, ...) {
    expr_t *args[16], *ret = NULL;
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++) args[i] = va_arg(ap, expr_t *);
    va_end(ap);
    ck_ok(func_bind(f->a, name, args, n, &ret));
    return ret;
}
static inline expr_t *fx_cast(fx_t *f, expr_t *e, const type_t *t) {
    expr_t *ret = NULL;
    ck_ok(cast_bind(f->a, e, t, CAST_EXPLICIT, &ret));
    return ret;
}
static inline expr_t *fx_try(fx_t *f, expr_t *e, const type_t *t) {
    expr_t *ret = NULL;
    ck_ok(cast_bind(f->a, e, t, CAST_TRY, &ret));
    return ret;
}
static inline expr_t *fx_ts(fx_t *f, const char *s) { return fx_cast(f, fx_s(f, s), &type_timestamp3); }
static inline expr_t *fx_date(fx_t *f, const char *s) { return fx_cast(f, fx_s(f, s), &type_date); }

static inline batch_t *fx_batch(fx_t *f) {
    if (f->batch) return f->batch;
    f->batch = batch_new(f->schema.n);
    f->batch->n = f->rows;
    mem_link(f->batch->mem, f->m);
    if (f->schema.n) memcpy(f->batch->cols, f->cols, sizeof(column_t) * (size_t)f->schema.n);
    return f->batch;
}

#define fx_is(f, e, want)                                                                          \
    do {                                                                                           \
        expr_t *fx_e_ = (e);                                                                       \
        for (int fx_round_ = 0; fx_round_ < 2; fx_round_++) { /* the second with prepared state */ \
            expr_prog_t *fx_p_ = NULL;                                                             \
            ck_ok(expr_compile(&fx_e_, 1, &fx_p_));                                                \
            column_t fx_c_;                                                                        \
            for (int fx_k_ = 0; fx_k_ <= fx_round_; fx_k_++)                                       \
                ck_ok(expr_eval(fx_p_, &(f)->ctx, fx_batch(f), NULL, (f)->rows, (f)->m, &fx_c_));  \
            buf_t fx_t_ = buf_make(1 << 20);                                                       \
            for (uint32_t fx_i_ = 0; fx_i_ < (f)->rows; fx_i_++) {                                 \
                if (fx_i_) buf_puts(&fx_t_, ", ");                                                 \
                value_print(&fx_t_, &fx_c_, fx_i_);                                                \
            }                                                                                      \
            ck_assert_str_eq(buf_cstr(&fx_t_), want);                                              \
            buf_free(&fx_t_);                                                                      \
            expr_prog_free(fx_p_);                                                                 \
        }                                                                                          \
    } while (0)
#define fx_fails(f, e, code, part)                                                                 \
    do {                                                                                           \
        expr_t *fx_e_ = (e);                                                                       \
        expr_prog_t *fx_p_ = NULL;                                                                 \
        ck_ok(expr_compile(&fx_e_, 1, &fx_p_));                                                    \
        column_t fx_c_;                                                                            \
        ck_fails(expr_eval(fx_p_, &(f)->ctx, fx_batch(f), NULL, (f)->rows, (f)->m, &fx_c_), code, part); \
        expr_prog_free(fx_p_);                                                                     \
    } while (0)
#define fx_type(f, e, want)                                                                        \
    ck_assert_str_eq(type_text((f)->a, type_nullable((f)->a, (e)->type, true)), want)
#define fx_text(f, e, want)                                                                        \
    do {                                                                                           \
        buf_t fx_t_ = buf_make(1 << 16);                                                           \
        expr_print(&fx_t_, (e), NULL);                                                             \
        ck_assert_str_eq(buf_cstr(&fx_t_), want);                                                  \
        buf_free(&fx_t_);                                                                          \
    } while (0)
