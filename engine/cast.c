/* cast.c: CAST and TRY_CAST between types that are not text. As in Flink integers wrap when narrowed, floating point
 * saturates, a decimal that does not fit becomes NULL. */
#include "engine/cast_int.h"
#include "engine/decimal.h"
#include <math.h>

err_t *caster_tz(caster_t *k, const tz_t **ret) {
    if (!k->tz) TRY(call_tz(k->c, &k->tz));
    *ret = k->tz;
    return NULL;
}

err_t *cast_failed(caster_t *k, column_t *out, uint32_t i, uint32_t n, str_t value, const type_t *to) {
    column_need_nulls(out, k->c->m, n)[i] = 1;
    if (k->try) return NULL;
    type_t t = *to;
    t.nullable = true;
    buf_t what = buf_make(2000);
    buf_puts(&what, "cannot read as ");
    type_print(&what, &t);
    buf_puts(&what, " the text");
    err_t *e = call_error(k->c, ERR_DATA, buf_cstr(&what), value);
    buf_free(&what);
    return err_hint(e, "TRY_CAST gives NULL instead");
}

#define SATURATE(T, v, lo, hi) ((v) != (v) ? (T)0 : (v) <= (double)(lo) ? (T)(lo) : (v) >= (double)(hi) ? (T)(hi) : (T)(v))

static int64_t from_double(double v, type_kind_t to) {
    if (to == TYPE_BIGINT) return SATURATE(int64_t, v, INT64_MIN, INT64_MAX);
    return SATURATE(int32_t, v, INT32_MIN, INT32_MAX); /* TINYINT and SMALLINT wrap from INT, as in Java */
}

static void store_int(column_t *out, uint32_t i, int64_t v) {
    switch (out->type->kind) {
    case TYPE_BOOLEAN: out->b[i] = v != 0; break;
    case TYPE_TINYINT: out->i8[i] = (int8_t)v; break;
    case TYPE_SMALLINT: out->i16[i] = (int16_t)v; break;
    case TYPE_INT:
    case TYPE_INTERVAL_MONTH: out->i32[i] = (int32_t)v; break;
    case TYPE_BIGINT:
    case TYPE_INTERVAL_SECOND: out->i64[i] = v; break;
    case TYPE_FLOAT: out->f32[i] = (float)v; break;
    case TYPE_DOUBLE: out->f64[i] = (double)v; break;
    default: UNREACHABLE();
    }
}

#define LOOP(expr)                                                                                 \
    for (uint32_t i = 0; i < n; i++) expr

/* The conversions that speed matters for. */
static bool cast_fast(const column_t *s, uint32_t n, column_t *o) {
    switch ((int)s->type->kind * TYPE_KINDS + (int)o->type->kind) {
    case TYPE_INT * TYPE_KINDS + TYPE_BIGINT: LOOP(o->i64[i] = s->i32[i]); return true;
    case TYPE_INT * TYPE_KINDS + TYPE_DOUBLE: LOOP(o->f64[i] = s->i32[i]); return true;
    case TYPE_BIGINT * TYPE_KINDS + TYPE_DOUBLE: LOOP(o->f64[i] = (double)s->i64[i]); return true;
    case TYPE_BIGINT * TYPE_KINDS + TYPE_INT: LOOP(o->i32[i] = (int32_t)s->i64[i]); return true;
    case TYPE_FLOAT * TYPE_KINDS + TYPE_DOUBLE: LOOP(o->f64[i] = (double)s->f32[i]); return true;
    case TYPE_DOUBLE * TYPE_KINDS + TYPE_FLOAT: LOOP(o->f32[i] = (float)s->f64[i]); return true;
    case TYPE_DOUBLE * TYPE_KINDS + TYPE_BIGINT: LOOP(o->i64[i] = from_double(s->f64[i], TYPE_BIGINT)); return true;
    default: return false;
    }
}

static err_t *cast_to_decimal(caster_t *k, const column_t *s, const type_t *to, uint32_t n, const uint8_t *skip,
                              column_t *o) {
    const type_t *f = s->type;
    for (uint32_t i = 0; i < n; i++) {
        if (cast_skips(s, skip, i)) continue;
        i128 v = 0;
        bool ok;
        if (type_is_approx(f)) {
            double d = f->kind == TYPE_FLOAT ? (double)s->f32[i] : s->f64[i];
            ok = decimal_from_f64(d, to->precision, to->scale, &v);
        } else {
            i128 x = f->kind == TYPE_DECIMAL ? s->dec[i] : (i128)column_int(s, i);
            ok = decimal_rescale(x, f->kind == TYPE_DECIMAL ? f->scale : 0, to->scale, to->precision, &v);
        }
        if (ok) o->dec[i] = v;
        else column_need_nulls(o, k->c->m, n)[i] = 1;
    }
    return NULL;
}

static err_t *cast_numeric(caster_t *k, const column_t *s, const type_t *to, uint32_t n, const uint8_t *skip,
                           column_t *o) {
    if (to->kind == TYPE_DECIMAL) return cast_to_decimal(k, s, to, n, skip, o);
    if (cast_fast(s, n, o)) return NULL;
    const type_t *f = s->type;
    for (uint32_t i = 0; i < n; i++) {
        if (cast_skips(s, skip, i)) continue;
        if (type_is_approx(f)) {
            double d = f->kind == TYPE_FLOAT ? (double)s->f32[i] : s->f64[i];
            if (to->kind == TYPE_BOOLEAN) o->b[i] = d != 0;
            else store_int(o, i, from_double(d, to->kind));
        } else if (f->kind == TYPE_DECIMAL) {
            if (type_is_approx(to)) {
                double d = decimal_to_f64(s->dec[i], f->scale);
                if (to->kind == TYPE_FLOAT) o->f32[i] = (float)d;
                else o->f64[i] = d;
            } else if (to->kind == TYPE_BOOLEAN) {
                o->b[i] = s->dec[i] != 0;
            } else {
                store_int(o, i, (int64_t)(s->dec[i] / decimal_pow10(f->scale)));
            }
        } else {
            store_int(o, i, column_int(s, i));
        }
    }
    return NULL;
}

static int64_t cut_us(int64_t us, int precision) {
    if (precision >= 6) return us;
    int64_t unit = precision_us(precision);
    if (precision > 3) return us - floor_mod(us, unit);
    return floor_div(us, 1000) * 1000 / unit * unit; /* Flink cuts the milliseconds towards zero */
}

/* Before 1970 Flink divides toward zero when it takes a TIMESTAMP apart. */
static int32_t flink_date(int64_t us) { return (int32_t)(floor_div(us, 1000) / MS_PER_DAY); }
static int32_t flink_time(int64_t us, int precision) {
    int32_t ms = (int32_t)(floor_div(us, 1000) % MS_PER_DAY), u = (int32_t)(precision_us(MIN(precision, 3)) / 1000);
    return (int32_t)floor_mod(ms / u * u, MS_PER_DAY);
}

static err_t *cast_time(caster_t *k, const column_t *s, const type_t *to, uint32_t n, column_t *o) {
    const type_t *f = s->type;
    bool from_ltz = f->kind == TYPE_TIMESTAMP_LTZ, to_ltz = to->kind == TYPE_TIMESTAMP_LTZ;
    const tz_t *tz = NULL;
    if (from_ltz != to_ltz) TRY(caster_tz(k, &tz));
    for (uint32_t i = 0; i < n; i++) {
        int64_t us = f->kind == TYPE_DATE   ? (int64_t)s->i32[i] * US_PER_DAY
                     : f->kind == TYPE_TIME ? (int64_t)s->i32[i] * 1000
                                            : s->i64[i];
        if (from_ltz && !to_ltz) us = tz_to_wall(tz, us);
        if (!from_ltz && to_ltz) us = tz_to_utc(tz, us);
        switch (to->kind) {
        case TYPE_DATE: o->i32[i] = from_ltz ? (int32_t)floor_div(us, US_PER_DAY) : flink_date(us); break;
        case TYPE_TIME: o->i32[i] = flink_time(from_ltz ? floor_mod(us, US_PER_DAY) : us, to->precision); break;
        default: o->i64[i] = cut_us(us, to->precision);
        }
    }
    return NULL;
}

static err_t *cast_nested(caster_t *k, const column_t *s, const type_t *to, uint32_t n, const uint8_t *skip,
                          column_t *o) {
    mem_t *m = k->c->m;
    bool row = to->kind == TYPE_ROW;
    uint32_t rows = row ? n : s->child_rows;
    uint8_t *unused = mem_alloc(m, rows); /* children nobody refers to must not fail the cast */
    memset(unused, 1, rows);
    for (uint32_t i = 0; i < n; i++) {
        if (cast_skips(s, skip, i)) continue;
        if (row) unused[i] = 0;
        else memset(unused + s->span[i].off, 0, s->span[i].len);
    }
    if (!row) o->span = s->span;
    o->child_rows = rows;
    for (int c = 0; c < to->nchild; c++)
        TRY(cast_column(k, &s->child[c], to->child[c], rows, unused, &o->child[c]));
    if (to->kind == TYPE_MULTISET) o->child[1] = s->child[1];
    return NULL;
}

err_t *cast_column(caster_t *k, const column_t *src, const type_t *to, uint32_t n, const uint8_t *skip, column_t *out) {
    const type_t *f = src->type;
    mem_t *m = k->c->m;
    if (type_equal(f, to) || (f->kind == to->kind && type_is_interval(f)) ||
        (f->kind == to->kind && type_is_timestamp(f) && f->precision <= to->precision)) {
        *out = *src;
        out->type = to;
        return NULL;
    }
    column_init(out, to, m, n);
    if (src->nulls) {
        out->nulls = mem_alloc(m, n);
        memcpy(out->nulls, src->nulls, n);
    }
    if (f->kind == TYPE_NULL) {
        memset(column_need_nulls(out, m, n), 1, n);
        return NULL;
    }
    if (type_is_text(to) || type_is_binary(to)) return cast_to_text(k, src, to, n, skip, out);
    if (type_is_text(f)) return cast_from_text(k, src, to, n, skip, out);
    if (type_is_nested(to)) return cast_nested(k, src, to, n, skip, out);
    if (type_is_temporal(to)) return cast_time(k, src, to, n, out);
    return cast_numeric(k, src, to, n, skip, out);
}

static err_t *cast_kernel(call_t *c) {
    caster_t k = {.c = c, .try = c->expr->func == &func_try_cast};
    if (!arg_const(c, 0)) return cast_column(&k, &c->args[0], c->expr->type, c->n, NULL, c->out);
    column_t one;
    TRY(cast_column(&k, &c->args[0], c->expr->type, 1, NULL, &one));
    column_broadcast(c->out, &one, c->n, c->m);
    return NULL;
}

const func_t func_cast = {.name = "CAST", .kernel = cast_kernel, .flags = FUNC_NULLS | FUNC_HIDDEN};
const func_t func_try_cast = {.name = "TRY_CAST", .kernel = cast_kernel, .flags = FUNC_NULLS | FUNC_HIDDEN};
