/* agg_list.c: aggregates that keep values: FIRST_VALUE, LAST_VALUE, LISTAGG, ARRAY_AGG, JSON_ARRAYAGG as a list in order of arrival,
 * COLLECT as a multiset. Without retraction FIRST_VALUE and LAST_VALUE keep their one value only.
 * NULL: skipped by all but ARRAY_AGG and JSON_ARRAYAGG(.. NULL ON NULL). */
#include "engine/agg_int.h"
#include <stdlib.h>

/* ---------------------------------------------------------------- list: records (tag u8 0 NULL / 1, varint length, bytes) */
typedef struct list_acc {
    uint8_t *data; /* owned */
    uint64_t used, room;
    uint64_t n;
} list_acc_t;

#define LIST_BYTES_MAX ((uint64_t)256 << 20)

static size_t put_record(uint8_t *p, bool null, slice_t v) {
    size_t n = 0;
    p[n++] = null ? 0 : 1;
    if (null) return n;
    uint64_t len = v.len;
    for (; len >= 0x80; len >>= 7) p[n++] = (uint8_t)(len | 0x80);
    p[n++] = (uint8_t)len;
    if (v.len) memcpy(p + n, v.p, v.len);
    return n + v.len;
}

static bool list_append(const agg_slot_t *s, list_acc_t *a, bool null, slice_t v) {
    uint64_t need = a->used + v.len + 11;
    if (need > slot_most(s, LIST_BYTES_MAX)) return false;
    if (need > a->room) {
        a->room = MAX(a->room * 2, MAX(need, (uint64_t)32));
        a->data = xrealloc(a->data, a->room);
    }
    a->used += put_record(a->data + a->used, null, v);
    a->n++;
    return true;
}

/* The next record of a list; false at its end. */
static bool list_next(reader_t *r, bool *ret_null, slice_t *ret) {
    if (reader_left(r) == 0) return false;
    *ret_null = read_u8(r) == 0;
    *ret = *ret_null ? (slice_t){0} : read_bytes(r);
    return !r->bad;
}

static reader_t list_reader(const list_acc_t *a) { return reader_of(slice_of(a->data, a->used)); }

/* Takes back the first record that is equal; nothing when there is none. */
static void list_remove(list_acc_t *a, bool null, slice_t v) {
    reader_t r = list_reader(a);
    bool is_null;
    slice_t x;
    for (const uint8_t *at = r.p; list_next(&r, &is_null, &x); at = r.p) {
        if (is_null != null || !slice_eq(x, v)) continue;
        size_t size = (size_t)(r.p - at);
        memmove((uint8_t *)(uintptr_t)at, r.p, (size_t)(r.end - r.p));
        a->used -= size;
        a->n--;
        return;
    }
}

static bool list_rows(agg_slot_t *s, const agg_rows_t *r, bool add) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    uint8_t tmp[16];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        bool null = column_null(c, row);
        if (null && s->kind != LIST_ARRAY && s->kind != LIST_JSON_NULLS) continue;
        slice_t v = null ? (slice_t){0} : raw_of(s, c, row, &s->bytes, tmp);
        if (!add) list_remove(slot_acc(s, r->accs[k]), null, v);
        else if (!list_append(s, slot_acc(s, r->accs[k]), null, v)) return slot_full(s);
    }
    return true;
}

static bool list_update(agg_slot_t *s, const agg_rows_t *r) {
    /* LISTAGG: the separator is a literal, projected as a column: every row has it */
    if (s->kind == LIST_AGG && s->call->nargs == 2 && !s->flag && r->n) {
        const column_t *sep = &r->in->cols[s->call->args[1]];
        str_t v = column_null(sep, agg_row(r, 0)) ? (str_t){0} : sep->str[agg_row(r, 0)];
        s->separator = xrealloc(s->separator, (size_t)v.len + 1);
        if (v.len) memcpy(s->separator, v.p, v.len);
        s->separator_len = v.len;
        s->flag = true;
    }
    return list_rows(s, r, true);
}
static bool list_retract(agg_slot_t *s, const agg_rows_t *r) { return list_rows(s, r, false); }

static void list_merge(agg_slot_t *s, void *into, const void *from) {
    reader_t r = list_reader(from);
    bool null;
    slice_t v;
    while (list_next(&r, &null, &v) && !s->full)
        if (!list_append(s, into, null, v)) slot_full(s);
}

void agg_put_text(agg_slot_t *s, colbuilder_t *b, const buf_t *text) {
    if (!text->overflow) colbuilder_str(b, (const char *)text->data, text->len);
    else if (!slot_full(s)) colbuilder_null(b);
}

static void emit_text(agg_slot_t *s, const list_acc_t *a, colbuilder_t *b, buf_t *text) {
    reader_t r = list_reader(a);
    bool null, first = true;
    slice_t v;
    buf_clear(text);
    while (list_next(&r, &null, &v)) {
        if (!first && s->call->nargs == 2) buf_put(text, s->separator, s->separator_len);
        else if (!first) buf_put_u8(text, ',');
        first = false;
        buf_put(text, v.p, v.len);
    }
    agg_put_text(s, b, text);
}

/* The elements are JSON already; no elements are an array too. */
static void emit_json(agg_slot_t *s, const list_acc_t *a, colbuilder_t *b, buf_t *text) {
    reader_t r = list_reader(a);
    bool null;
    slice_t v;
    buf_clear(text);
    buf_put_u8(text, '[');
    while (list_next(&r, &null, &v)) {
        if (text->len > 1) buf_put_u8(text, ',');
        if (null) buf_puts(text, "null");
        else buf_put(text, v.p, v.len);
    }
    buf_put_u8(text, ']');
    agg_put_text(s, b, text);
}

static void emit_array(agg_slot_t *s, const list_acc_t *a, colbuilder_t *b) {
    reader_t r = list_reader(a);
    bool null;
    slice_t v;
    colbuilder_begin(b);
    while (list_next(&r, &null, &v)) {
        if (null) colbuilder_null(colbuilder_child(b, 0));
        else raw_build(s->cls, v, colbuilder_child(b, 0));
    }
    colbuilder_end(b);
}

static void emit_one(agg_slot_t *s, const list_acc_t *a, colbuilder_t *b) {
    reader_t r = list_reader(a);
    bool null;
    slice_t v = {0}, x;
    while (list_next(&r, &null, &x)) {
        v = x;
        if (s->kind == LIST_FIRST) break;
    }
    raw_build(s->cls, v, b);
}

static void list_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    colbuilder_t *b = colbuilder_new(s->call->type, m);
    buf_t text = buf_make(slot_most(s, AGG_TEXT_MAX));
    for (uint32_t i = 0; i < n; i++) {
        const list_acc_t *a = slot_acc(s, accs[i]);
        if (s->kind >= LIST_JSON) emit_json(s, a, b, &text);
        else if (a->n == 0) colbuilder_null(b);
        else if (s->kind == LIST_AGG) emit_text(s, a, b, &text);
        else if (s->kind == LIST_ARRAY) emit_array(s, a, b);
        else emit_one(s, a, b);
    }
    buf_free(&text);
    colbuilder_finish(b, out);
    colbuilder_free(b);
}

static void list_clear(const agg_slot_t *s, void *acc) { free(((list_acc_t *)acc)->data); }

static void list_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    const list_acc_t *a = acc;
    if (s->kind == LIST_AGG) buf_put_bytes(out, slice_of(s->separator, s->flag ? s->separator_len : 0));
    buf_put_varint(out, a->n);
    buf_put_bytes(out, slice_of(a->data, a->used));
}

static bool list_decode(const agg_slot_t *cs, reader_t *r, void *acc) {
    list_acc_t *a = acc;
    agg_slot_t *s = (agg_slot_t *)(uintptr_t)cs;
    if (s->kind == LIST_AGG) {
        slice_t sep = read_bytes(r);
        if (r->bad) return false;
        if (!s->flag && s->call->nargs == 2) {
            s->separator = xrealloc(s->separator, sep.len + 1);
            if (sep.len) memcpy(s->separator, sep.p, sep.len);
            s->separator_len = (uint32_t)sep.len;
            s->flag = true;
        }
    }
    uint64_t n = read_varint(r);
    slice_t data = read_bytes(r);
    if (r->bad) return false;
    reader_t records = reader_of(data);
    bool null;
    slice_t v;
    while (list_next(&records, &null, &v))
        if (!list_append(s, a, null, v)) return false;
    return !records.bad && a->n == n;
}

static size_t list_heap(const agg_slot_t *s, const void *acc) { return ((const list_acc_t *)acc)->room; }

const agg_impl_t agg_impl_list = {
    .size = sizeof(list_acc_t),
    .update = list_update,
    .retract = list_retract,
    .merge = list_merge,
    .clear = list_clear,
    .emit = list_emit,
    .encode = list_encode,
    .decode = list_decode,
    .heap = list_heap,
};

/* ---------------------------------------------------------------- FIRST_VALUE, LAST_VALUE of rows that only append:
 * the list with at most one record */
static bool one_rows(agg_slot_t *s, const agg_rows_t *r) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    uint8_t tmp[16];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        list_acc_t *a = slot_acc(s, r->accs[k]);
        if (column_null(c, row) || (a->n && s->kind == LIST_FIRST)) continue;
        a->n = a->used = 0;
        if (!list_append(s, a, false, raw_of(s, c, row, &s->bytes, tmp))) return slot_full(s);
    }
    return true;
}

/* Slices are merged in the order of time: the earlier one is `into`. */
static void one_merge(agg_slot_t *s, void *into, const void *from) {
    list_acc_t *a = into;
    const list_acc_t *b = from;
    if (b->n == 0 || (a->n && s->kind == LIST_FIRST)) return;
    a->n = a->used = 0;
    list_merge(s, a, b);
}

#define ONE_IMPL                                                                                                                  \
    {                                                                                                                             \
        .size = sizeof(list_acc_t), .update = one_rows, .merge = one_merge, .clear = list_clear, .emit = list_emit,               \
        .encode = list_encode, .decode = list_decode, .heap = list_heap,                                                          \
    }
const agg_impl_t agg_impl_first = ONE_IMPL;
const agg_impl_t agg_impl_last = ONE_IMPL;

/* ---------------------------------------------------------------- COLLECT */
typedef struct collect_acc {
    vset_t *values;
} collect_acc_t;

static bool collect_rows(agg_slot_t *s, const agg_rows_t *r, int64_t delta) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    uint8_t tmp[16];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        collect_acc_t *a = slot_acc(s, r->accs[k]);
        if (!column_null(c, row) && vset_add(s, &a->values, raw_of(s, c, row, &s->bytes, tmp), delta) == VSET_FULL) return slot_full(s);
    }
    return true;
}

static bool collect_update(agg_slot_t *s, const agg_rows_t *r) { return collect_rows(s, r, 1); }
static bool collect_retract(agg_slot_t *s, const agg_rows_t *r) { return collect_rows(s, r, -1); }

static void collect_merge(agg_slot_t *s, void *into, const void *from) {
    vset_merge(s, &((collect_acc_t *)into)->values, ((const collect_acc_t *)from)->values);
}

static void collect_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    colbuilder_t *b = colbuilder_new(s->call->type, m);
    for (uint32_t i = 0; i < n; i++) {
        const collect_acc_t *a = slot_acc(s, accs[i]);
        slice_t v;
        int64_t count;
        colbuilder_begin(b);
        for (uint32_t at = 0; vset_next(a->values, &at, &v, &count);) {
            if (count <= 0) continue;
            raw_build(s->cls, v, colbuilder_child(b, 0));
            colbuilder_i64(colbuilder_child(b, 1), MIN(count, (int64_t)INT32_MAX));
        }
        colbuilder_end(b);
    }
    colbuilder_finish(b, out);
    colbuilder_free(b);
}

static void collect_clear(const agg_slot_t *s, void *acc) { vset_free(((collect_acc_t *)acc)->values); }
static void collect_encode(const agg_slot_t *s, const void *acc, buf_t *out) { vset_encode(((const collect_acc_t *)acc)->values, out); }
static bool collect_decode(const agg_slot_t *s, reader_t *r, void *acc) { return vset_decode(s, r, &((collect_acc_t *)acc)->values); }
static size_t collect_heap(const agg_slot_t *s, const void *acc) { return vset_heap(((const collect_acc_t *)acc)->values); }

const agg_impl_t agg_impl_collect = {
    .size = sizeof(collect_acc_t),
    .update = collect_update,
    .retract = collect_retract,
    .merge = collect_merge,
    .clear = collect_clear,
    .emit = collect_emit,
    .encode = collect_encode,
    .decode = collect_decode,
    .heap = collect_heap,
};
