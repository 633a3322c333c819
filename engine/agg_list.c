/* agg_list.c: aggregates that keep values: FIRST_VALUE, LAST_VALUE, LISTAGG, ARRAY_AGG, JSON_ARRAYAGG as a list in order of arrival,
 * COLLECT as a multiset. Without retraction FIRST_VALUE and LAST_VALUE keep their one value only.
 * NULL: skipped by all but ARRAY_AGG and JSON_ARRAYAGG(.. NULL ON NULL), which have it once behind a DISTINCT, as Flink does.
 * A large list lies in pages (agg_page.c) of PAGE bytes, wherever these cut a record; then what is taken back leaves a hole, until holes are the most of it. */
#include "engine/agg_int.h"
#include <stdlib.h>

/* ---------------------------------------------------------------- list: records (tag u8 0 NULL / 1, varint length, bytes) */
#define HOLE 2 /* of a tag: taken back */
typedef struct list_pages {
    uint64_t holes; /* bytes */
    uint32_t stored;
    bool absent;    /* `used` bytes are in its pages; data is NULL */
    uint64_t first; /* where the first record that is no hole is; `used`: there is none */
    uint64_t last;  /* likewise the last, + 1; 0: not known */
    uint64_t awaits; /* opened: bytes that come */
    agg_marks_t changed;
} list_pages_t;

typedef struct list_acc {
    uint8_t *data; /* owned */
    uint64_t used, room;
    uint32_t n, nulls; /* records without holes; those of them that are NULL */
    list_pages_t *pages; /* owned; NULL: it goes whole */
} list_acc_t;

#define PAGE 2048u
#define WHOLE_BYTES 4096u
static uint32_t npages_of(uint64_t bytes) { return (uint32_t)((bytes + PAGE - 1) / PAGE); }

static void list_changes(list_acc_t *a, uint64_t from, uint64_t to) {
    for (uint64_t p = from / PAGE; p < npages_of(to); p++) agg_mark(&a->pages->changed, (uint32_t)p);
}

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

static void list_room(list_acc_t *a, uint64_t need) {
    if (need <= a->room) return;
    a->room = MAX(a->room * 2, MAX(need, (uint64_t)32));
    a->data = xrealloc(a->data, a->room);
}

/* Behind a DISTINCT each row of NULL has its record, for the set does not count them; the first is shown. */
static bool list_shown(const agg_slot_t *s, bool null, bool *seen) {
    bool again = null && *seen && s->call->distinct;
    *seen |= null;
    return !again;
}

/* The next record of a list, where it begins in `ret_at`; false at its end. */
static bool list_next_at(reader_t *r, const uint8_t **ret_at, bool *ret_null, slice_t *ret) {
    for (uint8_t tag; reader_left(r) > 0;) {
        *ret_at = r->p;
        tag = read_u8(r);
        *ret_null = (tag & 1) == 0;
        *ret = *ret_null ? (slice_t){0} : read_bytes(r);
        if (r->bad) return false;
        if (!(tag & HOLE)) return true;
    }
    return false;
}

static bool list_next(reader_t *r, bool *ret_null, slice_t *ret) {
    const uint8_t *at;
    return list_next_at(r, &at, ret_null, ret);
}

static reader_t list_reader(const list_acc_t *a) {
    uint64_t first = a->pages ? a->pages->first : 0;
    ASSERT(!a->pages || !a->pages->absent);
    return reader_of(slice_of(first ? a->data + first : a->data, a->used - first));
}

/* Drops the holes; the order stays. */
static void list_pack(list_acc_t *a) {
    reader_t r = list_reader(a);
    uint64_t used = 0;
    bool null;
    slice_t v;
    for (const uint8_t *at; list_next_at(&r, &at, &null, &v);) {
        size_t size = (size_t)(r.p - at);
        memmove(a->data + used, at, size);
        used += size;
    }
    a->used = used;
    a->pages->holes = a->pages->first = a->pages->last = 0;
    list_changes(a, 0, used);
}

static bool list_append(const agg_slot_t *s, list_acc_t *a, bool null, slice_t v) {
    uint64_t most = slot_most(s, LIST_BYTES_MAX), size = v.len + 11;
    if (a->used + size > most && a->pages && a->pages->holes) list_pack(a); /* before it is full its holes go */
    if (a->used + size > most) return false;
    list_room(a, a->used + size);
    uint64_t from = a->used;
    a->used += put_record(a->data + a->used, null, v);
    a->n++;
    a->nulls += null;
    if (LIKELY(!a->pages)) return true;
    list_changes(a, from, a->used);
    a->pages->last = from + 1;
    return true;
}

/* Over the holes at the beginning, each once until the list is packed. */
static void find_first(list_acc_t *a) {
    reader_t r = list_reader(a);
    bool null;
    slice_t v;
    const uint8_t *at;
    a->pages->first = list_next_at(&r, &at, &null, &v) ? (uint64_t)(at - a->data) : a->used;
}

static void remove_record(list_acc_t *a, uint64_t at, size_t size, bool null) {
    a->n--;
    a->nulls -= null;
    if (a->pages) {
        a->data[at] |= HOLE;
        list_changes(a, at, at + 1);
        a->pages->holes += size;
        if (at == a->pages->first) find_first(a);
        if (at + 1 == a->pages->last) a->pages->last = 0;
        if (a->pages->holes > a->used / 2) list_pack(a);
        return;
    }
    memmove(a->data + at, a->data + at + size, a->used - at - size);
    a->used -= size;
}

/* Takes back the first record that is equal, of NULLs of which one is shown the last; nothing when there is none. */
static void list_remove(const agg_slot_t *s, list_acc_t *a, bool null, slice_t v) {
    if (null && a->nulls == 0) return;
    reader_t r = list_reader(a);
    uint32_t skip = null && s->call->distinct ? a->nulls - 1 : 0;
    bool is_null;
    slice_t x;
    for (const uint8_t *at; list_next_at(&r, &at, &is_null, &x);) {
        if (is_null != null || !slice_eq(x, v) || skip-- > 0) continue;
        remove_record(a, (uint64_t)(at - a->data), (size_t)(r.p - at), null);
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
        list_acc_t *a = slot_acc(s, r->accs[k]);
        slice_t v = null ? (slice_t){0} : raw_of(s, c, row, &s->bytes, tmp);
        if (!add) list_remove(s, a, null, v);
        else if (!(null && s->once && a->nulls) && !list_append(s, a, null, v)) return slot_full(s);
    }
    return true;
}

/* An empty one is as if none was known: a group that no row has reached yet was written without. */
static void keep_separator(agg_slot_t *s, slice_t v) {
    if (!v.len) return;
    s->separator = xrealloc(s->separator, v.len);
    memcpy(s->separator, v.p, v.len);
    s->separator_len = (uint32_t)v.len;
}

static bool list_update(agg_slot_t *s, const agg_rows_t *r) {
    /* LISTAGG: the separator is a literal, projected as a column: every row has it */
    if (s->kind == LIST_AGG && s->call->nargs == 2 && !s->separator_len && r->n) {
        const column_t *sep = &r->in->cols[s->call->args[1]];
        if (!column_null(sep, agg_row(r, 0))) keep_separator(s, slice_of(sep->str[agg_row(r, 0)].p, sep->str[agg_row(r, 0)].len));
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

static void list_merge_nulls(agg_slot_t *s, void *into, const void *from) {
    list_acc_t *a = into;
    for (uint32_t more = ((const list_acc_t *)from)->nulls; more > 0 && !s->full && !(s->once && a->nulls); more--)
        if (!list_append(s, a, true, (slice_t){0})) slot_full(s);
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
    bool null, seen = false;
    slice_t v;
    buf_clear(text);
    buf_put_u8(text, '[');
    while (list_next(&r, &null, &v)) {
        if (!list_shown(s, null, &seen)) continue;
        if (text->len > 1) buf_put_u8(text, ',');
        if (null) buf_puts(text, "null");
        else buf_put(text, v.p, v.len);
    }
    buf_put_u8(text, ']');
    agg_put_text(s, b, text);
}

static void emit_array(agg_slot_t *s, const list_acc_t *a, colbuilder_t *b) {
    reader_t r = list_reader(a);
    bool null, seen = false;
    slice_t v;
    colbuilder_begin(b);
    while (list_next(&r, &null, &v)) {
        if (!list_shown(s, null, &seen)) continue;
        if (null) colbuilder_null(colbuilder_child(b, 0));
        else raw_build(s->cls, v, colbuilder_child(b, 0));
    }
    colbuilder_end(b);
}

/* The last of a list in pages is walked to once, until it is taken back. */
static void emit_one(agg_slot_t *s, const list_acc_t *a, colbuilder_t *b) {
    reader_t r = list_reader(a);
    bool null;
    slice_t v = {0}, x;
    uint64_t known = a->pages && s->kind == LIST_LAST ? a->pages->last : 0;
    if (known) r = reader_of(slice_of(a->data + known - 1, a->used - (known - 1)));
    for (const uint8_t *at; list_next_at(&r, &at, &null, &x);) {
        v = x;
        if (s->kind == LIST_FIRST || known) break;
        if (a->pages) a->pages->last = (uint64_t)(at - a->data) + 1;
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

static void list_clear(const agg_slot_t *s, void *acc) {
    list_acc_t *a = acc;
    free(a->data);
    if (a->pages) free(a->pages->changed.bits);
    free(a->pages);
}

static void put_separator(const agg_slot_t *s, buf_t *out) {
    if (s->kind == LIST_AGG) buf_put_bytes(out, slice_of(s->separator, s->separator_len));
}

static bool take_separator(const agg_slot_t *cs, reader_t *r) {
    agg_slot_t *s = (agg_slot_t *)(uintptr_t)cs;
    if (s->kind != LIST_AGG) return true;
    slice_t sep = read_bytes(r);
    if (r->bad) return false;
    if (!s->separator_len && s->call->nargs == 2) keep_separator(s, sep);
    return true;
}

static void list_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    const list_acc_t *a = acc;
    put_separator(s, out);
    buf_put_varint(out, a->n);
    buf_put_bytes(out, slice_of(a->data, a->used));
}

static bool list_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    list_acc_t *a = acc;
    if (!take_separator(s, r)) return false;
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

static size_t list_heap(const agg_slot_t *s, const void *acc) {
    const list_acc_t *a = acc;
    return a->room + (a->pages ? sizeof *a->pages + a->pages->changed.bytes : 0);
}

/* ---------------------------------------------------------------- its pages */
static agg_pages_t list_look(const agg_slot_t *s, const void *acc) {
    const list_acc_t *a = acc;
    if (!a->pages) return (agg_pages_t){0};
    uint32_t pages = npages_of(a->used);
    return (agg_pages_t){.paged = true, .absent = a->pages->absent, .stored = a->pages->absent ? pages : a->pages->stored, .pages = pages, .values = a->used};
}

static void list_begin(agg_slot_t *s, void *acc) {
    list_acc_t *a = acc;
    if (a->pages || a->used <= WHOLE_BYTES) return;
    a->pages = xcalloc(1, sizeof *a->pages);
    list_changes(a, 0, a->used);
}

static bool list_page_changed(const agg_slot_t *s, const void *acc, uint32_t page) { return agg_marked(&((const list_acc_t *)acc)->pages->changed, page); }
static size_t list_fresh(agg_slot_t *s, void *acc) { return agg_marks_fresh(&((list_acc_t *)acc)->pages->changed, PAGE); }

static size_t page_bytes(uint64_t bytes, uint32_t page) { return (size_t)MIN(bytes - (uint64_t)page * PAGE, (uint64_t)PAGE); }

static void list_page_put(const agg_slot_t *s, const void *acc, uint32_t page, buf_t *out) {
    const list_acc_t *a = acc;
    buf_put(out, a->data + (size_t)page * PAGE, page_bytes(a->used, page));
}

static void list_settle(agg_slot_t *s, void *acc) {
    list_acc_t *a = acc;
    a->pages->stored = npages_of(a->used);
    agg_marks_clear(&a->pages->changed);
}

static void list_open(agg_slot_t *s, void *acc) {
    list_acc_t *a = acc;
    a->pages->absent = false;
    a->pages->awaits = a->used;
    a->used = a->pages->first = a->pages->last = 0;
}

/* The last page tells whether the records are those that the head counts. */
static bool list_page_take(agg_slot_t *s, void *acc, uint32_t page, reader_t *r) {
    list_acc_t *a = acc;
    slice_t bytes = read_raw(r, page_bytes(a->pages->awaits, page));
    if (r->bad) return false;
    list_room(a, a->used + bytes.len);
    memcpy(a->data + a->used, bytes.p, bytes.len);
    a->used += bytes.len;
    if (a->used < a->pages->awaits) return true;
    reader_t records = list_reader(a);
    uint64_t n = 0, live = 0;
    bool null;
    slice_t v;
    a->nulls = 0;
    for (const uint8_t *at; list_next_at(&records, &at, &null, &v); n++) {
        live += (uint64_t)(records.p - at);
        a->nulls += null;
    }
    a->pages->holes = a->used - live;
    find_first(a);
    return !records.bad && n == a->n;
}

static void list_leave(agg_slot_t *s, void *acc) {
    list_acc_t *a = acc;
    free(a->data);
    free(a->pages->changed.bits);
    *a->pages = (list_pages_t){.absent = true};
    a->data = NULL;
    a->room = 0;
}

static void list_encode_head(const agg_slot_t *s, const void *acc, buf_t *out) {
    const list_acc_t *a = acc;
    put_separator(s, out);
    buf_put_varint(out, a->n);
    buf_put_varint(out, a->used);
}

static bool list_decode_head(const agg_slot_t *s, reader_t *r, void *acc) {
    list_acc_t *a = acc;
    if (!take_separator(s, r)) return false;
    uint64_t n = read_varint(r), used = read_varint(r);
    if (r->bad || n > used || used > LIST_BYTES_MAX) return false;
    a->n = (uint32_t)n;
    a->used = used;
    a->pages = xcalloc(1, sizeof *a->pages);
    a->pages->absent = true;
    return true;
}

static const agg_paging_t list_paging = {
    .look = list_look,
    .begin = list_begin,
    .changed = list_page_changed,
    .put = list_page_put,
    .settle = list_settle,
    .open = list_open,
    .take = list_page_take,
    .leave = list_leave,
    .fresh = list_fresh,
    .since = 4,
    .emits = true,
    .encode_head = list_encode_head,
    .decode_head = list_decode_head,
};

const agg_impl_t agg_impl_list = {
    .size = sizeof(list_acc_t),
    .update = list_update,
    .retract = list_retract,
    .merge = list_merge,
    .merge_nulls = list_merge_nulls,
    .clear = list_clear,
    .emit = list_emit,
    .encode = list_encode,
    .decode = list_decode,
    .heap = list_heap,
    .paging = &list_paging,
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
        a->used = a->n = 0;
        if (!list_append(s, a, false, raw_of(s, c, row, &s->bytes, tmp))) return slot_full(s);
    }
    return true;
}

/* Slices are merged in the order of time: the earlier one is `into`. */
static void one_merge(agg_slot_t *s, void *into, const void *from) {
    list_acc_t *a = into;
    const list_acc_t *b = from;
    if (b->n == 0 || (a->n && s->kind == LIST_FIRST)) return;
    a->used = a->n = 0;
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

static const agg_paging_t collect_paging = {VSET_PAGING, .since = 4, .emits = true, .encode_head = vset_head_encode, .decode_head = vset_head_decode};

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
    .paging = &collect_paging,
};
