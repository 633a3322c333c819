/* expr_value.c: single values beside columns: literals, comparison, scattering. */
#include "engine/func_int.h"

void value_of(const column_t *c, uint32_t i, value_t *ret) {
    *ret = (value_t){.null = column_null(c, i) || c->type->kind == TYPE_NULL};
    if (ret->null) return;
    switch (c->type->kind) {
    case TYPE_FLOAT: ret->f = (double)c->f32[i]; break;
    case TYPE_DOUBLE: ret->f = c->f64[i]; break;
    case TYPE_DECIMAL: ret->dec = c->dec[i]; break;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: ret->s = c->str[i]; break;
    default: ret->i = column_int(c, i);
    }
}

void value_column(column_t *c, const type_t *t, const value_t *v, mem_t *m) {
    if (t->kind == TYPE_NULL || t->kind == TYPE_SYMBOL || !type_is_nested(t)) {
        column_init(c, t, m, 1);
    }
    if (v->null || t->kind == TYPE_NULL || type_is_nested(t)) {
        if (type_is_nested(t)) column_init(c, t, m, 1);
        column_need_nulls(c, m, 1)[0] = 1;
        return;
    }
    switch (t->kind) {
    case TYPE_BOOLEAN: c->b[0] = v->i != 0; break;
    case TYPE_TINYINT: c->i8[0] = (int8_t)v->i; break;
    case TYPE_SMALLINT: c->i16[0] = (int16_t)v->i; break;
    case TYPE_INT:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_INTERVAL_MONTH: c->i32[0] = (int32_t)v->i; break;
    case TYPE_FLOAT: c->f32[0] = (float)v->f; break;
    case TYPE_DOUBLE: c->f64[0] = v->f; break;
    case TYPE_DECIMAL: c->dec[0] = v->dec; break;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: {
        char *copy = mem_alloc(m, v->s.len);
        if (v->s.len) memcpy(copy, v->s.p, v->s.len);
        c->str[0] = (str_t){.p = copy, .len = v->s.len};
        break;
    }
    default: c->i64[0] = v->i;
    }
}

void column_broadcast(column_t *dst, const column_t *one, uint32_t n, mem_t *m) {
    uint32_t *zeros = mem_zalloc(m, sizeof *zeros * n);
    column_gather(dst, one, zeros, n, m);
}

#define SCATTER(T)                                                                                 \
    for (uint32_t i = 0; i < n; i++) ((T *)dst->data)[at[i]] = ((const T *)src->data)[i]

void column_scatter(column_t *dst, const column_t *src, const uint32_t *at, uint32_t n) {
    switch (type_width(dst->type)) {
    case 1: SCATTER(uint8_t); break;
    case 2: SCATTER(uint16_t); break;
    case 4: SCATTER(uint32_t); break;
    case 8: SCATTER(uint64_t); break;
    case 16: SCATTER(u128); break;
    default: UNREACHABLE();
    }
}

static int bytes_compare(str_t a, str_t b) {
    uint32_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int nested_compare(const column_t *a, uint32_t i, const column_t *b, uint32_t j) {
    bool row = a->type->kind == TYPE_ROW;
    uint32_t na = row ? 1 : a->span[i].len, nb = row ? 1 : b->span[j].len;
    uint32_t oa = row ? i : a->span[i].off, ob = row ? j : b->span[j].off;
    for (uint32_t k = 0; k < na && k < nb; k++) {
        for (int f = 0; f < column_nchild(a->type); f++) {
            const column_t *x = &a->child[f], *y = &b->child[f];
            bool xn = column_null(x, oa + k), yn = column_null(y, ob + k);
            if (xn != yn) return xn ? -1 : 1;
            int c = xn ? 0 : value_compare(x, oa + k, y, ob + k);
            if (c) return c;
        }
    }
    return (na > nb) - (na < nb);
}

int value_compare(const column_t *a, uint32_t i, const column_t *b, uint32_t j) {
    switch (a->type->kind) {
    case TYPE_NULL: return 0;
    case TYPE_FLOAT: {
        float x = a->f32[i], y = b->f32[j];
        return x != x || y != y ? (x != x) - (y != y) : (x > y) - (x < y);
    }
    case TYPE_DOUBLE: {
        double x = a->f64[i], y = b->f64[j];
        return x != x || y != y ? (x != x) - (y != y) : (x > y) - (x < y);
    }
    case TYPE_DECIMAL: return (a->dec[i] > b->dec[j]) - (a->dec[i] < b->dec[j]);
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: return bytes_compare(a->str[i], b->str[j]);
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET:
    case TYPE_ROW: return nested_compare(a, i, b, j);
    default: {
        int64_t x = column_int(a, i), y = column_int(b, j);
        return (x > y) - (x < y);
    }
    }
}
