/* column.c: columns: allocation and row selection. */
#include "engine/batch.h"
#include "engine/column_int.h"

size_t column_width(const type_t *t) {
    if (t->kind == TYPE_NULL) return 1;
    if (t->kind == TYPE_SYMBOL) return sizeof(str_t);
    return (size_t)type_width(t);
}

int column_nchild(const type_t *t) {
    switch (t->kind) {
    case TYPE_ARRAY: return 1;
    case TYPE_MAP: return 2;
    case TYPE_MULTISET: return 2;
    case TYPE_ROW: return t->nchild;
    default: return 0;
    }
}

const type_t *column_child_type(const type_t *t, int i) {
    return t->kind == TYPE_MULTISET && i == 1 ? &type_int : t->child[i];
}

void column_init(column_t *c, const type_t *t, mem_t *m, uint32_t n) {
    memset(c, 0, sizeof *c);
    c->type = t;
    size_t w = column_width(t);
    c->data = w ? mem_zalloc(m, w * n) : NULL;
    int nc = column_nchild(t);
    if (nc == 0) return;
    c->child = mem_zalloc(m, sizeof(column_t) * (size_t)nc);
    uint32_t rows = t->kind == TYPE_ROW ? n : 0;
    c->child_rows = rows;
    for (int i = 0; i < nc; i++) column_init(&c->child[i], column_child_type(t, i), m, rows);
}

uint8_t *column_need_nulls(column_t *c, mem_t *m, uint32_t n) {
    if (!c->nulls) c->nulls = mem_zalloc(m, n);
    return c->nulls;
}

#define GATHER(T, dst, src, sel, n)                                                                \
    do {                                                                                           \
        T *restrict d_ = (T *)(dst);                                                               \
        const T *restrict s_ = (const T *)(src);                                                   \
        for (uint32_t i_ = 0; i_ < (n); i_++) d_[i_] = s_[(sel)[i_]];                              \
    } while (0)

void column_gather(column_t *dst, const column_t *src, const uint32_t *sel, uint32_t n, mem_t *m) {
    column_t d = {.type = src->type, .child = src->child, .child_rows = src->child_rows};
    size_t w = column_width(src->type);
    if (w) d.data = mem_alloc(m, w * n);
    switch (w) {
    case 0: break;
    case 1: GATHER(uint8_t, d.data, src->data, sel, n); break;
    case 2: GATHER(uint16_t, d.data, src->data, sel, n); break;
    case 4: GATHER(uint32_t, d.data, src->data, sel, n); break;
    case 8: GATHER(uint64_t, d.data, src->data, sel, n); break;
    case 16: GATHER(u128, d.data, src->data, sel, n); break;
    default: UNREACHABLE();
    }
    if (src->nulls) {
        d.nulls = mem_alloc(m, n);
        GATHER(uint8_t, d.nulls, src->nulls, sel, n);
    }
    if (src->type->kind == TYPE_ROW) {
        d.child = mem_zalloc(m, sizeof(column_t) * (size_t)src->type->nchild);
        d.child_rows = n;
        for (int i = 0; i < src->type->nchild; i++) column_gather(&d.child[i], &src->child[i], sel, n, m);
    }
    *dst = d;
}

#define GATHER2(T, dst, a, na, b, sel, n)                                                           \
    do {                                                                                           \
        T *restrict d_ = (T *)(dst);                                                               \
        const T *restrict a_ = (const T *)(a), *restrict b_ = (const T *)(b);                      \
        for (uint32_t i_ = 0; i_ < (n); i_++) d_[i_] = (sel)[i_] < (na) ? a_[(sel)[i_]] : b_[(sel)[i_] - (na)]; \
    } while (0)

void column_gather2(column_t *dst, const column_t *a, uint32_t na, const column_t *b, const uint32_t *sel, uint32_t n, mem_t *m) {
    if (!b) {
        column_gather(dst, a, sel, n, m);
        return;
    }
    if (type_is_nested(a->type)) { /* their children cannot be shared between two columns */
        colbuilder_t *cb = colbuilder_new(a->type, m);
        for (uint32_t i = 0; i < n; i++) colbuilder_row(cb, sel[i] < na ? a : b, sel[i] < na ? sel[i] : sel[i] - na);
        colbuilder_finish(cb, dst);
        colbuilder_free(cb);
        return;
    }
    size_t w = column_width(a->type);
    column_t d = {.type = a->type, .data = mem_alloc(m, w * n)};
    switch (w) {
    case 1: GATHER2(uint8_t, d.data, a->data, na, b->data, sel, n); break;
    case 2: GATHER2(uint16_t, d.data, a->data, na, b->data, sel, n); break;
    case 4: GATHER2(uint32_t, d.data, a->data, na, b->data, sel, n); break;
    case 8: GATHER2(uint64_t, d.data, a->data, na, b->data, sel, n); break;
    case 16: GATHER2(u128, d.data, a->data, na, b->data, sel, n); break;
    default: UNREACHABLE();
    }
    if (a->nulls || b->nulls) {
        d.nulls = mem_alloc(m, n);
        for (uint32_t i = 0; i < n; i++) d.nulls[i] = sel[i] < na ? column_null(a, sel[i]) : column_null(b, sel[i] - na);
    }
    *dst = d;
}

void column_put(column_t *dst, uint32_t at, const column_t *src, uint32_t n, uint32_t rows, mem_t *m) {
    size_t w = column_width(src->type);
    ASSERT(column_nchild(src->type) == 0 && at <= rows && n <= rows - at);
    memcpy((uint8_t *)dst->data + w * at, src->data, w * n);
    if (src->nulls) memcpy(column_need_nulls(dst, m, rows) + at, src->nulls, n);
}

void column_slice(column_t *dst, const column_t *src, uint32_t from, uint32_t n, mem_t *m) {
    column_t d = *src;
    size_t w = column_width(src->type);
    if (w) d.data = (uint8_t *)src->data + w * from;
    if (src->nulls) d.nulls = src->nulls + from;
    if (src->type->kind == TYPE_ROW) {
        d.child = mem_alloc(m, sizeof(column_t) * (size_t)src->type->nchild);
        d.child_rows = n;
        for (int i = 0; i < src->type->nchild; i++) column_slice(&d.child[i], &src->child[i], from, n, m);
    }
    *dst = d;
}

size_t column_bytes(const column_t *c, uint32_t n) {
    size_t sum = column_width(c->type) * n + (c->nulls ? n : 0);
    if (column_width(c->type) == sizeof(str_t) && c->type->kind != TYPE_DECIMAL)
        for (uint32_t i = 0; i < n; i++) sum += c->str[i].len;
    for (int i = 0; i < column_nchild(c->type); i++) sum += column_bytes(&c->child[i], c->child_rows);
    return sum;
}
