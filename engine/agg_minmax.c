/* agg_minmax.c: MIN and MAX. Over rows that only append: the extreme itself. With retraction: all values with their
 * counts, and the extreme remembered; when its last copy is taken back the set is searched anew. */
#include "engine/agg_int.h"
#include <stdlib.h>

/* A row's partial result is its value, NULL or not: the column is shared. */
static void value_partial_rows(agg_slot_t *s, const batch_t *in, mem_t *m, column_t *out) {
    *out = in->cols[s->call->args[0]];
    out->type = s->partial_types[0];
}

/* ---------------------------------------------------------------- fixed-width values, append only */
#define EXTREME(name, ctype, LOAD, STORE, OP)                                                                                     \
    typedef struct name##_acc {                                                                                                   \
        ctype v;                                                                                                                  \
        uint64_t has;                                                                                                             \
    } name##_acc_t;                                                                                                               \
    static inline void name##_take(name##_acc_t *a, ctype v) {                                                                    \
        if (!a->has || v OP a->v) a->v = v;                                                                                       \
        a->has = 1;                                                                                                               \
    }                                                                                                                             \
    static bool name##_rows(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {                                              \
        for (uint32_t k = 0; k < r->n; k++) {                                                                                     \
            uint32_t row = agg_row(r, k);                                                                                         \
            if (!column_null(c, row)) name##_take(slot_acc(s, r->accs[k]), LOAD);                                                 \
        }                                                                                                                         \
        return true;                                                                                                              \
    }                                                                                                                             \
    static bool name##_update(agg_slot_t *s, const agg_rows_t *r) { return name##_rows(s, &r->in->cols[s->call->args[0]], r); }   \
    static void name##_merge(agg_slot_t *s, void *into, const void *from) {                                                       \
        const name##_acc_t *b = from;                                                                                             \
        if (b->has) name##_take(into, b->v);                                                                                      \
    }                                                                                                                             \
    static void name##_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {                                 \
        for (uint32_t i = 0; i < n; i++) {                                                                                        \
            const name##_acc_t *a = slot_acc(s, accs[i]);                                                                         \
            if (!a->has) column_need_nulls(out, m, n)[i] = 1;                                                                     \
            else STORE;                                                                                                           \
        }                                                                                                                         \
    }                                                                                                                             \
    static void name##_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {                                    \
        column_init(out, s->call->type, m, n);                                                                                    \
        name##_partial(s, accs, n, m, out);                                                                                       \
    }                                                                                                                             \
    static uint8_t *name##_encode(const void *acc, uint8_t *p) {                                                                  \
        const name##_acc_t *a = acc;                                                                                              \
        *p++ = a->has != 0;                                                                                                       \
        memcpy(p, &a->v, sizeof a->v);                                                                                            \
        return a->has ? p + sizeof a->v : p;                                                                                      \
    }                                                                                                                             \
    static bool name##_decode(const agg_slot_t *s, reader_t *r, void *acc) {                                                      \
        name##_acc_t *a = acc;                                                                                                    \
        a->has = read_u8(r);                                                                                                      \
        slice_t v = a->has ? read_raw(r, sizeof a->v) : (slice_t){0};                                                             \
        if (r->bad || a->has > 1) return false;                                                                                   \
        if (a->has) memcpy(&a->v, v.p, sizeof a->v);                                                                              \
        return true;                                                                                                              \
    }                                                                                                                             \
    const agg_impl_t agg_impl_##name = {                                                                                          \
        .size = sizeof(name##_acc_t), .update = name##_update, .merge = name##_merge, .npartial = 1, .partial = name##_partial,   \
        .merge_partial = name##_rows, .partial_rows = value_partial_rows, .emit = name##_emit, .encode_at = name##_encode,        \
        .encode_most = 1 + sizeof(ctype), .decode = name##_decode,                                                                \
    }

#define STORE_DOUBLE                                                                                                              \
    do {                                                                                                                          \
        if (out->type->kind == TYPE_FLOAT) out->f32[i] = (float)a->v;                                                             \
        else out->f64[i] = a->v;                                                                                                  \
    } while (0)

EXTREME(min_int, int64_t, raw_int(c, s->width, row), int_store(out, s->width, i, a->v), <);
EXTREME(max_int, int64_t, raw_int(c, s->width, row), int_store(out, s->width, i, a->v), >);
EXTREME(min_double, double, (s->cls == CLASS_FLOAT ? (double)c->f32[row] : c->f64[row]), STORE_DOUBLE, <);
EXTREME(max_double, double, (s->cls == CLASS_FLOAT ? (double)c->f32[row] : c->f64[row]), STORE_DOUBLE, >);
EXTREME(min_dec, i128_a8, c->dec[row], out->dec[i] = a->v, <);
EXTREME(max_dec, i128_a8, c->dec[row], out->dec[i] = a->v, >);

/* ---------------------------------------------------------------- strings, append only */
typedef struct text_acc {
    char *p; /* owned */
    uint32_t len, cap;
    uint64_t has;
} text_acc_t;

static void text_set(text_acc_t *a, slice_t v) {
    if (v.len > a->cap) {
        a->cap = (uint32_t)MAX(v.len, (size_t)16);
        a->p = xrealloc(a->p, a->cap);
    }
    if (v.len) memcpy(a->p, v.p, v.len);
    a->len = (uint32_t)v.len;
    a->has = 1;
}

static void text_take(agg_slot_t *s, text_acc_t *a, slice_t v) {
    int c = a->has ? raw_compare(CLASS_STR, v, slice_of(a->p, a->len)) : 0;
    if (!a->has || (s->kind < 0 ? c < 0 : c > 0)) text_set(a, v);
}

static bool text_rows(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (!column_null(c, row)) text_take(s, slot_acc(s, r->accs[k]), slice_of(c->str[row].p, c->str[row].len));
    }
    return true;
}

static bool text_update(agg_slot_t *s, const agg_rows_t *r) { return text_rows(s, &r->in->cols[s->call->args[0]], r); }

static void text_merge(agg_slot_t *s, void *into, const void *from) {
    const text_acc_t *b = from;
    if (b->has) text_take(s, into, slice_of(b->p, b->len));
}

static void text_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        const text_acc_t *a = slot_acc(s, accs[i]);
        if (!a->has) {
            column_need_nulls(out, m, n)[i] = 1;
            continue;
        }
        char *p = mem_alloc(m, a->len);
        if (a->len) memcpy(p, a->p, a->len);
        out->str[i] = (str_t){p, a->len, 0};
    }
}

static void text_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    column_init(out, s->call->type, m, n);
    text_partial(s, accs, n, m, out);
}

static void text_clear(const agg_slot_t *s, void *acc) { free(((text_acc_t *)acc)->p); }
static void text_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    const text_acc_t *a = acc;
    buf_put_u8(out, a->has != 0);
    if (a->has) buf_put_bytes(out, slice_of(a->p, a->len));
}

static bool text_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    uint8_t has = read_u8(r);
    if (r->bad || has > 1) return false;
    if (!has) return true;
    slice_t v = read_bytes(r);
    if (r->bad || v.len > UINT32_MAX) return false;
    text_set(acc, v);
    return true;
}

static size_t text_heap(const agg_slot_t *s, const void *acc) { return ((const text_acc_t *)acc)->cap; }

#define TEXT_IMPL                                                                                                                 \
    {                                                                                                                             \
        .size = sizeof(text_acc_t), .update = text_update, .merge = text_merge, .clear = text_clear, .npartial = 1,               \
        .partial = text_partial, .merge_partial = text_rows, .partial_rows = value_partial_rows, .emit = text_emit,               \
        .encode = text_encode, .decode = text_decode, .heap = text_heap,                                                          \
    }
const agg_impl_t agg_impl_min_str = TEXT_IMPL;
const agg_impl_t agg_impl_max_str = TEXT_IMPL;

/* ---------------------------------------------------------------- any value, with retraction */
typedef struct extreme_acc {
    vset_t *values;
    uint8_t *best; /* owned copy of the extreme, valid when best_ok */
    uint32_t len, cap;
    uint64_t best_ok;
} extreme_acc_t;

static void extreme_set(extreme_acc_t *a, slice_t v) {
    if (v.len > a->cap) {
        a->cap = (uint32_t)MAX(v.len, (size_t)16);
        a->best = xrealloc(a->best, a->cap);
    }
    if (v.len) memcpy(a->best, v.p, v.len);
    a->len = (uint32_t)v.len;
    a->best_ok = 1;
}

static bool extreme_better(const agg_slot_t *s, slice_t v, slice_t than) {
    int c = raw_compare(s->cls, v, than);
    return s->kind < 0 ? c < 0 : c > 0;
}

/* The count of a value may be below zero for a while when its retraction comes first: it is no candidate then. */
static bool extreme_find(const agg_slot_t *s, extreme_acc_t *a, slice_t *ret) {
    if (!a->best_ok) {
        slice_t v, best = {0};
        int64_t count;
        bool any = false;
        for (uint32_t at = 0; vset_next(a->values, &at, &v, &count);) {
            if (count <= 0 || (any && !extreme_better(s, v, best))) continue;
            best = v;
            any = true;
        }
        if (!any) return false;
        extreme_set(a, best);
    }
    *ret = slice_of(a->best, a->len);
    return true;
}

static bool extreme_add(agg_slot_t *s, extreme_acc_t *a, slice_t v, int64_t delta) {
    int64_t count = vset_add(s, &a->values, v, delta);
    if (count == VSET_FULL) return slot_full(s);
    slice_t best = slice_of(a->best, a->len);
    if (count > 0 && a->best_ok && extreme_better(s, v, best)) extreme_set(a, v);
    else if (count > 0 && !a->best_ok && vset_len(a->values) == 1) extreme_set(a, v);
    else if (count <= 0 && a->best_ok && raw_compare(s->cls, v, best) == 0) a->best_ok = 0;
    return true;
}

static bool extreme_rows(agg_slot_t *s, const agg_rows_t *r, int64_t delta) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    uint8_t tmp[16];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (column_null(c, row)) continue;
        if (!extreme_add(s, slot_acc(s, r->accs[k]), raw_of(s, c, row, &s->bytes, tmp), delta)) return false;
    }
    return true;
}

static bool extreme_update(agg_slot_t *s, const agg_rows_t *r) { return extreme_rows(s, r, 1); }
static bool extreme_retract(agg_slot_t *s, const agg_rows_t *r) { return extreme_rows(s, r, -1); }

static void extreme_merge(agg_slot_t *s, void *into, const void *from) {
    slice_t v;
    int64_t count;
    for (uint32_t at = 0; vset_next(((const extreme_acc_t *)from)->values, &at, &v, &count) && !s->full;) extreme_add(s, into, v, count);
}

/* Partial extremes of a combiner arrive as single values. */
static bool extreme_merge_partial(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    uint8_t tmp[16];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (!column_null(c, row) && !extreme_add(s, slot_acc(s, r->accs[k]), raw_of(s, c, row, &s->bytes, tmp), 1)) return false;
    }
    return true;
}

static void extreme_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    colbuilder_t *b = colbuilder_new(s->call->type, m);
    for (uint32_t i = 0; i < n; i++) {
        slice_t v;
        if (extreme_find(s, slot_acc(s, accs[i]), &v)) raw_build(s->cls, v, b);
        else colbuilder_null(b);
    }
    colbuilder_finish(b, out);
    colbuilder_free(b);
}

static void extreme_clear(const agg_slot_t *s, void *acc) {
    vset_free(((extreme_acc_t *)acc)->values);
    free(((extreme_acc_t *)acc)->best);
}
static void extreme_encode(const agg_slot_t *s, const void *acc, buf_t *out) { vset_encode(((const extreme_acc_t *)acc)->values, out); }
static bool extreme_decode(const agg_slot_t *s, reader_t *r, void *acc) { return vset_decode(s, r, &((extreme_acc_t *)acc)->values); }
static size_t extreme_heap(const agg_slot_t *s, const void *acc) {
    return vset_heap(((const extreme_acc_t *)acc)->values) + ((const extreme_acc_t *)acc)->cap;
}

/* With the extreme, which is what is emitted. A head is encoded when its group was, or was emitted since. */
static void extreme_encode_head(const agg_slot_t *s, const void *acc, buf_t *out) {
    slice_t v;
    bool has = extreme_find(s, (extreme_acc_t *)(uintptr_t)acc, &v);
    vset_head_encode(s, acc, out);
    buf_put_u8(out, has);
    if (has) buf_put_bytes(out, v);
}

static bool extreme_decode_head(const agg_slot_t *s, reader_t *r, void *acc) {
    if (!vset_head_decode(s, r, acc)) return false;
    uint8_t has = read_u8(r);
    slice_t v = has ? read_bytes(r) : (slice_t){0};
    if (r->bad || has > 1 || v.len > UINT32_MAX) return false;
    if (has) extreme_set(acc, v);
    return true;
}

static const agg_paging_t paging = {VSET_PAGING, .encode_head = extreme_encode_head, .decode_head = extreme_decode_head};

const agg_impl_t agg_impl_extreme_retract = {
    .size = sizeof(extreme_acc_t),
    .update = extreme_update,
    .retract = extreme_retract,
    .merge = extreme_merge,
    .clear = extreme_clear,
    .merge_partial = extreme_merge_partial,
    .emit = extreme_emit,
    .encode = extreme_encode,
    .decode = extreme_decode,
    .heap = extreme_heap,
    .paging = &paging,
};
