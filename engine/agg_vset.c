/* agg_vset.c: values in their raw form: how a column's value becomes bytes and back, their order, and a compact set
 * of them with a count each.
 *
 * The set: entries in order of insertion with their bytes in one buffer; an index of open addressing appears above
 * eight entries. An entry whose count falls to zero stays as a hole until the set is packed, which keeps the order.
 * In pages (agg_page.c) a page is 2^shift entries, holes included: some two kB of values as long as those it had when it became large. */
#include "engine/agg_int.h"
#include "engine/decimal.h"
#include <stdlib.h>

slice_t raw_of(const agg_slot_t *s, const column_t *c, uint32_t i, buf_t *scratch, uint8_t tmp[static 16]) {
    switch (s->cls) {
    case CLASS_INT: {
        int64_t v = raw_int(c, s->width, i);
        memcpy(tmp, &v, 8);
        return slice_of(tmp, 8);
    }
    case CLASS_FLOAT:
    case CLASS_DOUBLE: {
        double v = s->cls == CLASS_FLOAT ? (double)c->f32[i] : c->f64[i];
        if (v != v) v = __builtin_nan("");
        memcpy(tmp, &v, 8);
        return slice_of(tmp, 8);
    }
    case CLASS_DEC: memcpy(tmp, &c->dec[i], 16); return slice_of(tmp, 16);
    case CLASS_STR: return slice_of(c->str[i].p, c->str[i].len);
    case CLASS_NESTED:
        buf_clear(scratch);
        value_encode(scratch, c, i);
        return buf_slice(scratch);
    }
    UNREACHABLE();
}

static int64_t raw_i64(slice_t v) {
    int64_t x = 0;
    memcpy(&x, v.p, MIN(v.len, (size_t)8)); /* the length comes from a checkpoint */
    return x;
}
static double raw_f64(slice_t v) {
    double x = 0;
    memcpy(&x, v.p, MIN(v.len, (size_t)8));
    return x;
}
static i128 raw_dec(slice_t v) {
    i128 x = 0;
    memcpy(&x, v.p, MIN(v.len, (size_t)16));
    return x;
}

int raw_compare(agg_class_t cls, slice_t a, slice_t b) {
    switch (cls) {
    case CLASS_INT: {
        int64_t x = raw_i64(a), y = raw_i64(b);
        return (x > y) - (x < y);
    }
    case CLASS_FLOAT:
    case CLASS_DOUBLE: {
        double x = raw_f64(a), y = raw_f64(b);
        return (x > y) - (x < y);
    }
    case CLASS_DEC: {
        i128 x = raw_dec(a), y = raw_dec(b);
        return (x > y) - (x < y);
    }
    default: {
        size_t n = MIN(a.len, b.len);
        int c = n ? memcmp(a.p, b.p, n) : 0;
        return c ? c : (a.len > b.len) - (a.len < b.len);
    }
    }
}

void raw_build(agg_class_t cls, slice_t v, colbuilder_t *b) {
    switch (cls) {
    case CLASS_INT: colbuilder_i64(b, raw_i64(v)); break;
    case CLASS_FLOAT:
    case CLASS_DOUBLE: colbuilder_f64(b, raw_f64(v)); break;
    case CLASS_DEC: colbuilder_dec(b, raw_dec(v)); break;
    case CLASS_STR: colbuilder_str(b, (const char *)v.p, v.len); break;
    case CLASS_NESTED: {
        reader_t r = reader_of(v);
        if (!value_decode(&r, b)) return; /* appended a NULL: the bytes came from a checkpoint that was not ours */
        break;
    }
    }
}

/* ---------------------------------------------------------------- set */
typedef struct ventry {
    uint32_t off, len, hash;
    uint32_t pad_;
    int64_t count; /* 0: a hole */
} ventry_t;

struct vset {
    uint32_t n, live, cap;
    uint32_t mask; /* of index; 0: none */
    ventry_t *entries;
    uint32_t *index; /* entry + 1 */
    uint8_t *bytes;
    size_t used, room;
    bool paged, absent;
    uint8_t shift;
    uint32_t stored;    /* pages; absent: entries in them */
    agg_marks_t changed;
};

#define VSET_SMALL 8

static slice_t entry_bytes(const vset_t *v, const ventry_t *e) { return slice_of(v->bytes + e->off, e->len); }

static void vset_index(vset_t *v) {
    uint32_t want = 32;
    while (want < v->n * 2 + 2) want *= 2;
    free(v->index);
    v->index = xcalloc(want, sizeof *v->index);
    v->mask = want - 1;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t at = v->entries[i].hash & v->mask;
        while (v->index[at]) at = (at + 1) & v->mask;
        v->index[at] = i + 1;
    }
}

static ventry_t *vset_find(const vset_t *v, slice_t key, uint32_t hash) {
    if (!v->mask) {
        for (uint32_t i = 0; i < v->n; i++)
            if (v->entries[i].hash == hash && slice_eq(entry_bytes(v, &v->entries[i]), key)) return &v->entries[i];
        return NULL;
    }
    for (uint32_t at = hash & v->mask; v->index[at]; at = (at + 1) & v->mask) {
        ventry_t *e = &v->entries[v->index[at] - 1];
        if (e->hash == hash && slice_eq(entry_bytes(v, e), key)) return e;
    }
    return NULL;
}

static uint32_t vset_npages(const vset_t *v, uint32_t entries) { return (uint32_t)(((uint64_t)entries + (1u << v->shift) - 1) >> v->shift); }

static void vset_page_changes(vset_t *v, uint32_t entry) { agg_mark(&v->changed, entry >> v->shift); }

/* Drops the holes; the order stays. */
static void vset_pack(vset_t *v) {
    uint32_t n = 0;
    size_t used = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        ventry_t e = v->entries[i];
        if (e.count == 0) continue;
        if (e.len) memmove(v->bytes + used, v->bytes + e.off, e.len);
        e.off = (uint32_t)used;
        used += e.len;
        v->entries[n++] = e;
    }
    v->n = n;
    v->used = used;
    for (uint32_t i = 0; v->paged && i < n; i += 1u << v->shift) vset_page_changes(v, i);
    if (v->mask) vset_index(v);
}

#define PACKED_MOST ((size_t)256 << 20) /* all pages of a packed set go into one epoch: a larger one keeps its holes */

static bool packable(const vset_t *v) { return v->live < v->n / 2 && !(v->paged && v->used > PACKED_MOST); }

static void vset_room(vset_t *v) {
    v->cap = v->cap ? v->cap * 2 : 4;
    v->entries = xrealloc(v->entries, sizeof *v->entries * v->cap);
}

/* A count of 0 makes a hole. */
static void vset_insert(vset_t *v, slice_t key, uint32_t hash, int64_t count) {
    if (v->n == v->cap && packable(v)) vset_pack(v);
    if (v->n == v->cap) vset_room(v);
    if (v->used + key.len > v->room) {
        v->room = MAX(v->room * 2, MAX(v->used + key.len, (size_t)32));
        v->bytes = xrealloc(v->bytes, v->room);
    }
    if (key.len) memcpy(v->bytes + v->used, key.p, key.len);
    v->entries[v->n++] = (ventry_t){(uint32_t)v->used, (uint32_t)key.len, hash, 0, count};
    v->used += key.len;
    v->live += count != 0;
    if (UNLIKELY(v->paged)) vset_page_changes(v, v->n - 1);
    if (v->n <= VSET_SMALL) return;
    if (!v->mask || v->n * 2 > v->mask) {
        vset_index(v);
        return;
    }
    uint32_t at = hash & v->mask;
    while (v->index[at]) at = (at + 1) & v->mask;
    v->index[at] = v->n;
}

/* Before it is full its holes go. */
static bool vset_fits(vset_t *v, size_t len, uint64_t most) {
    if (v->used + len < most) return true;
    if (v->live < v->n) vset_pack(v);
    return v->used + len < most;
}

int64_t vset_add(const agg_slot_t *s, vset_t **set, slice_t key, int64_t delta) {
    vset_t *v = *set;
    if (!v) v = *set = xcalloc(1, sizeof *v);
    ASSERT(!v->absent);
    uint32_t hash = (uint32_t)(hash_bytes(key.p, key.len) >> 32);
    ventry_t *e = vset_find(v, key, hash);
    if (!e) {
        if (!vset_fits(v, key.len, slot_most(s, UINT32_MAX))) return VSET_FULL;
        vset_insert(v, key, hash, delta);
        return delta;
    }
    if (s->once && e->count > 0) return e->count + delta;
    v->live += (e->count == 0) - (e->count + delta == 0);
    if (UNLIKELY(v->paged)) vset_page_changes(v, (uint32_t)(e - v->entries));
    return e->count += delta;
}

int64_t vset_get(const vset_t *v, slice_t key) {
    if (!v) return 0;
    ventry_t *e = vset_find(v, key, (uint32_t)(hash_bytes(key.p, key.len) >> 32));
    return e ? e->count : 0;
}

uint32_t vset_len(const vset_t *v) { return v ? v->live : 0; }

bool vset_next(const vset_t *v, uint32_t *at, slice_t *ret, int64_t *ret_count) {
    for (; v && *at < v->n; ++*at) {
        if (v->entries[*at].count == 0) continue;
        *ret = entry_bytes(v, &v->entries[*at]);
        *ret_count = v->entries[*at].count;
        ++*at;
        return true;
    }
    return false;
}

void vset_free(vset_t *v) {
    if (!v) return;
    free(v->entries);
    free(v->index);
    free(v->bytes);
    free(v->changed.bits);
    free(v);
}

size_t vset_heap(const vset_t *v) {
    return v ? sizeof *v + v->cap * sizeof *v->entries + v->room + (v->mask ? (v->mask + 1) * sizeof *v->index : 0) + v->changed.bytes : 0;
}

void vset_encode(const vset_t *v, buf_t *out) {
    buf_put_varint(out, vset_len(v));
    slice_t key;
    int64_t count;
    for (uint32_t at = 0; vset_next(v, &at, &key, &count);) {
        buf_put_bytes(out, key);
        buf_put_zigzag(out, count);
    }
}

bool vset_merge(agg_slot_t *s, vset_t **into, const vset_t *from) {
    slice_t v;
    int64_t count;
    bool fits = true;
    for (uint32_t at = 0; fits && vset_next(from, &at, &v, &count);) fits = vset_add(s, into, v, count) != VSET_FULL;
    return fits || slot_full(s);
}

bool vset_decode(const agg_slot_t *s, reader_t *r, vset_t **ret) {
    uint64_t n = read_varint(r);
    if (r->bad || n > reader_left(r)) return false;
    for (uint64_t i = 0; i < n; i++) {
        slice_t key = read_bytes(r);
        int64_t count = read_zigzag(r);
        if (r->bad || count == 0) return false;
        if (vset_add(s, ret, key, count) == VSET_FULL) return false;
    }
    return true;
}

/* ---------------------------------------------------------------- pages */
#define WHOLE_BYTES 4096 /* encoded: what is larger goes in pages */
#define PAGE_BYTES 2048
#define PAGE_SHIFT_LEAST 3 /* also of long ones: shorter may follow */
#define PAGE_SHIFT_MOST 8
#define EACH 3           /* bytes of an entry besides its value */
#define ENTRIES_MOST ((uint64_t)1 << 30) /* no two are equal, and all their bytes are below 4 GB: those of three bytes and fewer are 2^24 */

static vset_t *vset_of(const void *acc) { return *(vset_t *const *)acc; }

agg_pages_t vset_look(const agg_slot_t *s, const void *acc) {
    const vset_t *v = vset_of(acc);
    if (!v || !v->paged) return (agg_pages_t){0};
    uint32_t n = v->absent ? v->stored : v->n, pages = vset_npages(v, n);
    return (agg_pages_t){.paged = true, .absent = v->absent, .stored = v->absent ? pages : v->stored, .pages = pages, .values = n};
}

void vset_begin_pages(agg_slot_t *s, void *acc) {
    vset_t *v = vset_of(acc);
    if (v && v->paged && !v->absent && packable(v)) vset_pack(v); /* no value may come that finds it full of holes */
    if (!v || v->paged || v->used + (size_t)v->n * EACH <= WHOLE_BYTES) return;
    size_t each = v->used / v->n + EACH;
    v->shift = PAGE_SHIFT_LEAST;
    while (v->shift < PAGE_SHIFT_MOST && each << (v->shift + 1) <= PAGE_BYTES) v->shift++;
    v->paged = true;
    for (uint32_t i = 0; i < v->n; i += 1u << v->shift) vset_page_changes(v, i);
}

bool vset_page_changed(const agg_slot_t *s, const void *acc, uint32_t page) {
    return agg_marked(&vset_of(acc)->changed, page);
}

size_t vset_page_fresh(agg_slot_t *s, void *acc) {
    vset_t *v = vset_of(acc);
    return v->changed.fresh ? agg_marks_fresh(&v->changed, (v->used / MAX(v->n, 1u) + EACH) << v->shift) : 0;
}

void vset_page_put(const agg_slot_t *s, const void *acc, uint32_t page, buf_t *out) {
    const vset_t *v = vset_of(acc);
    uint32_t from = page << v->shift, to = MIN(v->n - from, 1u << v->shift) + from;
    buf_put_varint(out, to - from);
    for (uint32_t i = from; i < to; i++) {
        buf_put_bytes(out, entry_bytes(v, &v->entries[i]));
        buf_put_zigzag(out, v->entries[i].count);
    }
}

void vset_settle(agg_slot_t *s, void *acc) {
    vset_t *v = vset_of(acc);
    v->stored = vset_npages(v, v->n);
    agg_marks_clear(&v->changed);
}

void vset_open_pages(agg_slot_t *s, void *acc) {
    vset_t *v = vset_of(acc);
    v->stored = 0;
    v->absent = false;
}

void vset_leave_pages(agg_slot_t *s, void *acc) {
    vset_t *v = vset_of(acc);
    free(v->entries);
    free(v->index);
    free(v->bytes);
    free(v->changed.bits);
    *v = (vset_t){.paged = true, .absent = true, .shift = v->shift, .stored = v->n};
}

bool vset_page_take(agg_slot_t *s, void *acc, uint32_t page, reader_t *r) {
    vset_t *v = vset_of(acc);
    uint64_t n = read_varint(r);
    if (r->bad || n > (1u << v->shift) || v->n != page << v->shift) return false;
    for (uint64_t i = 0; i < n; i++) {
        slice_t key = read_bytes(r);
        int64_t count = read_zigzag(r);
        if (r->bad || v->used + key.len >= UINT32_MAX) return false;
        uint32_t hash = (uint32_t)(hash_bytes(key.p, key.len) >> 32);
        if (vset_find(v, key, hash)) return false;
        if (v->n == v->cap) vset_room(v); /* else it would be packed before all are there */
        vset_insert(v, key, hash, count);
    }
    return true;
}

/* Entries, holes included, and how many of them a page has. */
void vset_head_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    const vset_t *v = vset_of(acc);
    buf_put_varint(out, v->absent ? v->stored : v->n);
    buf_put_u8(out, v->shift);
}

bool vset_head_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    uint64_t n = read_varint(r);
    uint8_t shift = read_u8(r);
    if (r->bad || n >= ENTRIES_MOST || shift < PAGE_SHIFT_LEAST || shift > PAGE_SHIFT_MOST) return false;
    vset_t *v = *(vset_t **)acc = xcalloc(1, sizeof *v);
    v->paged = v->absent = true;
    v->shift = shift;
    v->stored = (uint32_t)n;
    return true;
}
