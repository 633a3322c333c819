/* agg_mask.c: COUNT(DISTINCT x) over integers and times that are never taken back. The calls over the same x, each with a filter of its
 * own, share one set of the values, each with a mask of the calls that have seen it: one look-up a row, one copy of a value.
 *
 * The first of the calls leads: it is fed all rows, weighs the filters, counts for all, and writes the set. The others are counters
 * at their own place in the block. The set is one allocation: values in order of insertion, an index of open addressing from
 * SMALL values on, masks, and from LARGE on which pages have changed (agg_page.c): a page is PAGE values in that order. */
#include "engine/agg_int.h"
#include <stdlib.h>

typedef struct mset {
    uint32_t n, cap;
    int64_t values[]; /* cap; then 2 * cap uint32 of index (value + 1) where cap > SMALL; then cap masks; then mpages where cap > LARGE */
} mset_t; /* cap 0: absent, n values are in its pages */

typedef struct mpages { /* a new value needs no mark: it lies behind `settled` */
    uint32_t settled; /* values that the stored pages hold */
    uint32_t told;    /* by mask_fresh */
    agg_marks_t changed; /* pages with a mask that grew */
} mpages_t;

typedef struct mask_acc {
    int64_t n; /* values this call has seen; all that the calls behind the leader have */
    mset_t *set;
} mask_acc_t;

#define SMALL 8u
#define LARGE 512u
#define PAGE 256u
#define AHEAD 6 /* rows between asking for a set and looking into it */

static inline uint32_t *index_of(const mset_t *m) { return (uint32_t *)(uintptr_t)(m->values + m->cap); }
static inline uint8_t *masks_of(const mset_t *m) { return (uint8_t *)index_of(m) + (m->cap > SMALL ? (size_t)m->cap * 8 : 0); }
static inline uint32_t home_of(const mset_t *m, int64_t v) { return (uint32_t)(hash_mix((uint64_t)v) >> 32) & (m->cap * 2 - 1); }
static inline mpages_t *pages_of(const mset_t *m) { return (mpages_t *)(void *)(masks_of(m) + m->cap); }
static inline uint32_t npages_of(uint32_t values) { return (values + PAGE - 1) / PAGE; }
static size_t mset_bytes(uint32_t cap) {
    return sizeof(mset_t) + (size_t)cap * (8 + 1 + (cap > SMALL ? 8 : 0)) + (cap > LARGE ? sizeof(mpages_t) : 0);
}

static mset_t *mset_new(uint32_t cap) {
    mset_t *m = xmalloc(mset_bytes(cap));
    *m = (mset_t){0, cap};
    if (cap > SMALL) memset(index_of(m), 0, (size_t)cap * 8);
    if (cap > LARGE) *pages_of(m) = (mpages_t){0};
    return m;
}

static inline void page_changes(mset_t *m, uint32_t value) {
    if (m->cap > LARGE) agg_mark(&pages_of(m)->changed, value / PAGE);
}

static mset_t *mset_grown(mset_t *old) {
    uint32_t cap = old ? old->cap * 2 : 4;
    mset_t *m = mset_new(cap);
    if (!old) return m;
    m->n = old->n;
    if (old->cap > LARGE) *pages_of(m) = *pages_of(old);
    memcpy(m->values, old->values, (size_t)old->n * 8);
    memcpy(masks_of(m), masks_of(old), old->n);
    free(old);
    for (uint32_t i = 0; cap > SMALL && i < m->n; i++) {
        uint32_t at = home_of(m, m->values[i]);
        while (index_of(m)[at]) at = (at + 1) & (cap * 2 - 1);
        index_of(m)[at] = i + 1;
    }
    return m;
}

/* Where v is; m->n when it is not there, with its place in the index. */
static uint32_t mset_find(const mset_t *m, int64_t v, uint32_t *ret_at) {
    if (m->cap <= SMALL) {
        ASSERT(m->cap);
        uint32_t i = 0;
        while (i < m->n && m->values[i] != v) i++;
        return i;
    }
    const uint32_t *index = index_of(m);
    uint32_t at = home_of(m, v);
    for (; index[at]; at = (at + 1) & (m->cap * 2 - 1))
        if (m->values[index[at] - 1] == v) return index[at] - 1;
    *ret_at = at;
    return m->n;
}

/* The calls of `mask` see v. Returns those that had not; VALUES_MAX values are the limit. */
#define VALUES_MAX ((uint64_t)1 << 28)
static uint32_t mset_add(mset_t **set, int64_t v, uint32_t mask) {
    uint32_t at = 0;
    if (!*set) *set = mset_grown(NULL);
    uint32_t i = mset_find(*set, v, &at);
    if (i < (*set)->n) {
        uint8_t *seen = &masks_of(*set)[i];
        uint32_t fresh = mask & ~(uint32_t)*seen;
        if (fresh) {
            *seen |= (uint8_t)mask;
            page_changes(*set, i);
        }
        return fresh;
    }
    if (i == (*set)->cap) {
        *set = mset_grown(*set);
        mset_find(*set, v, &at);
    }
    mset_t *m = *set;
    m->values[m->n] = v;
    masks_of(m)[m->n++] = (uint8_t)mask;
    if (m->cap > SMALL) index_of(m)[at] = m->n;
    return mask;
}

/* Also a value that is there already is refused then: one row more or less. */
static bool mset_full(const agg_slot_t *s, const mset_t *m) { return m && m->n >= slot_most(s, VALUES_MAX * sizeof(int64_t)) / sizeof(int64_t); }

static void count_fresh(const agg_slot_t *s, mask_acc_t *leader, uint32_t fresh) {
    uint8_t *block = (uint8_t *)leader - s->off;
    for (; fresh; fresh &= fresh - 1) ((mask_acc_t *)(block + s->members[__builtin_ctz(fresh)]->off))->n++;
}

static void weigh(const agg_slot_t *s, const agg_rows_t *r, uint32_t *mask) {
    memset(mask, 0, sizeof *mask * r->n);
    for (int i = 0; i < s->nmembers; i++) {
        uint32_t bit = 1u << i;
        const column_t *f = s->members[i]->call->filter >= 0 ? &r->in->cols[s->members[i]->call->filter] : NULL;
        for (uint32_t k = 0; k < r->n; k++) {
            uint32_t row = agg_row(r, k);
            if (!f || (f->b[row] && !column_null(f, row))) mask[k] |= bit;
        }
    }
}

static void look_ahead(const agg_slot_t *s, const agg_rows_t *r, const column_t *c, uint32_t k) {
    if (k + 2 * AHEAD < r->n) __builtin_prefetch(((mask_acc_t *)slot_acc(s, r->accs[k + 2 * AHEAD]))->set);
    if (k + AHEAD >= r->n) return;
    const mset_t *m = ((mask_acc_t *)slot_acc(s, r->accs[k + AHEAD]))->set;
    if (m && m->cap > SMALL) __builtin_prefetch(&index_of(m)[home_of(m, raw_int(c, s->width, agg_row(r, k + AHEAD)))]);
}

static bool mask_update(agg_slot_t *s, const agg_rows_t *r) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    slot_scratch(s, r->n);
    weigh(s, r, s->sel);
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        look_ahead(s, r, c, k);
        if (!s->sel[k] || column_null(c, row)) continue;
        mask_acc_t *a = slot_acc(s, r->accs[k]);
        if (mset_full(s, a->set)) return slot_full(s);
        uint32_t fresh = mset_add(&a->set, raw_int(c, s->width, row), s->sel[k]);
        if (fresh) count_fresh(s, a, fresh);
    }
    return true;
}

static void mask_merge(agg_slot_t *s, void *into, const void *from) {
    const mset_t *m = ((const mask_acc_t *)from)->set;
    mask_acc_t *a = into;
    for (uint32_t i = 0; m && i < m->n && !s->full; i++) {
        if (mset_full(s, a->set)) slot_full(s);
        else count_fresh(s, a, mset_add(&a->set, m->values[i], masks_of(m)[i]));
    }
}

static void mask_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    column_init(out, s->call->type, m, n);
    for (uint32_t i = 0; i < n; i++) out->i64[i] = ((const mask_acc_t *)slot_acc(s, accs[i]))->n;
}

static void mset_free(mset_t *m) {
    if (m && m->cap > LARGE) free(pages_of(m)->changed.bits);
    free(m);
}
static void mask_clear(const agg_slot_t *s, void *acc) { mset_free(((mask_acc_t *)acc)->set); }
static size_t mask_heap(const agg_slot_t *s, const void *acc) {
    const mset_t *m = ((const mask_acc_t *)acc)->set;
    return m ? mset_bytes(m->cap) + (m->cap > LARGE ? pages_of(m)->changed.bytes : 0) : 0;
}

/* Number of values, then each with its mask; the counts follow from them. */
static void put_values(const mset_t *m, uint32_t from, uint32_t to, buf_t *out) {
    buf_put_varint(out, to - from);
    if (!buf_reserve(out, (size_t)(to - from) * 11)) return;
    uint8_t *p = out->data + out->len;
    for (uint32_t i = from; i < to; i++) {
        uint64_t v = ((uint64_t)m->values[i] << 1) ^ (uint64_t)(m->values[i] >> 63);
        for (; v >= 0x80; v >>= 7) *p++ = (uint8_t)(v | 0x80);
        *p++ = (uint8_t)v;
        *p++ = masks_of(m)[i];
    }
    out->len = (size_t)(p - out->data);
}

static void mask_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    const mset_t *m = ((const mask_acc_t *)acc)->set;
    put_values(m, 0, m ? m->n : 0, out);
}

/* ---------------------------------------------------------------- pages */
static agg_pages_t mask_look(const agg_slot_t *s, const void *acc) {
    const mset_t *m = ((const mask_acc_t *)acc)->set;
    if (!m || (m->cap && m->cap <= LARGE)) return (agg_pages_t){0};
    uint32_t pages = npages_of(m->n);
    return (agg_pages_t){.paged = true, .absent = m->cap == 0, .stored = m->cap ? npages_of(pages_of(m)->settled) : pages, .pages = pages, .values = m->n};
}

static bool mask_changed(const agg_slot_t *s, const void *acc, uint32_t page) {
    const mset_t *m = ((const mask_acc_t *)acc)->set;
    return MIN(m->n, (page + 1) * PAGE) > pages_of(m)->settled || agg_marked(&pages_of(m)->changed, page);
}

static size_t mask_fresh(agg_slot_t *s, void *acc) {
    mset_t *m = ((mask_acc_t *)acc)->set;
    if (m->cap == 0) return 0;
    mpages_t *p = pages_of(m);
    size_t values = m->n - p->told + (m->n > p->told && p->told == p->settled ? p->told % PAGE : 0); /* the first new one has its page written anew */
    p->told = m->n;
    return (values + agg_marks_fresh(&p->changed, PAGE)) * (sizeof *m->values + 1);
}

static void mask_put(const agg_slot_t *s, const void *acc, uint32_t page, buf_t *out) {
    const mset_t *m = ((const mask_acc_t *)acc)->set;
    put_values(m, page * PAGE, MIN(m->n, (page + 1) * PAGE), out);
}

static void mask_settle(agg_slot_t *s, void *acc) {
    mset_t *m = ((mask_acc_t *)acc)->set;
    pages_of(m)->settled = pages_of(m)->told = m->n;
    agg_marks_clear(&pages_of(m)->changed);
}

static void mask_open(agg_slot_t *s, void *acc) {
    mask_acc_t *a = acc;
    uint32_t cap = LARGE * 2;
    while (cap < MIN(a->set->n, 1u << 20)) cap *= 2; /* the number comes from a checkpoint */
    free(a->set);
    a->set = mset_new(cap);
}

/* The counts are in the head. */
static bool mask_take(agg_slot_t *s, void *acc, uint32_t page, reader_t *r) {
    mset_t **m = &((mask_acc_t *)acc)->set;
    uint64_t n = read_varint(r);
    if (r->bad || n > PAGE || (*m)->n != page * PAGE) return false;
    for (uint64_t i = 0; i < n; i++) {
        int64_t v = read_zigzag(r);
        uint32_t mask = read_u8(r), had = (*m)->n;
        if (r->bad || mask == 0 || mask >> s->nmembers || mset_add(m, v, mask) != mask || (*m)->n == had) return false;
    }
    return true;
}

static mset_t *mset_absent(uint32_t values) {
    mset_t *m = xmalloc(sizeof *m);
    *m = (mset_t){values, 0};
    return m;
}

static void mask_leave(agg_slot_t *s, void *acc) {
    mask_acc_t *a = acc;
    mset_t *m = mset_absent(a->set->n);
    mset_free(a->set);
    a->set = m;
}

/* Number of values, then the count of each call that shares them. */
static void mask_encode_head(const agg_slot_t *s, const void *acc, buf_t *out) {
    const uint8_t *block = (const uint8_t *)acc - s->off;
    buf_put_varint(out, ((const mask_acc_t *)acc)->set->n);
    for (int i = 0; i < s->nmembers; i++) buf_put_zigzag(out, ((const mask_acc_t *)(const void *)(block + s->members[i]->off))->n);
}

static bool mask_decode_head(const agg_slot_t *s, reader_t *r, void *acc) {
    uint8_t *block = (uint8_t *)acc - s->off;
    uint64_t n = read_varint(r);
    if (r->bad || n <= LARGE || n > VALUES_MAX) return false;
    for (int i = 0; i < s->nmembers; i++) ((mask_acc_t *)(void *)(block + s->members[i]->off))->n = read_zigzag(r);
    ((mask_acc_t *)acc)->set = mset_absent((uint32_t)n);
    return true;
}

static const agg_paging_t paging = {
    .look = mask_look,
    .changed = mask_changed,
    .put = mask_put,
    .settle = mask_settle,
    .open = mask_open,
    .take = mask_take,
    .leave = mask_leave,
    .fresh = mask_fresh,
    .encode_head = mask_encode_head,
    .decode_head = mask_decode_head,
};

static bool mask_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    uint64_t n = read_varint(r);
    if (r->bad || n > reader_left(r) / 2) return false;
    for (uint64_t i = 0; i < n; i++) {
        int64_t v = read_zigzag(r);
        uint32_t mask = read_u8(r);
        if (r->bad || mask == 0 || mask >> s->nmembers) return false;
        count_fresh(s, acc, mset_add(&((mask_acc_t *)acc)->set, v, mask));
    }
    return true;
}

bool agg_mask_decode_1(const agg_slot_t *s, reader_t *r, void *block) {
    const agg_slot_t *leader = s->leader;
    uint32_t bit = 0;
    while (leader->members[bit] != s) bit++;
    mask_acc_t *a = slot_acc(leader, block);
    uint64_t n = read_varint(r);
    if (r->bad || n > reader_left(r)) return false;
    for (uint64_t i = 0; i < n; i++) {
        slice_t key = read_bytes(r);
        int64_t count = read_zigzag(r), v;
        if (r->bad || key.len != sizeof v || count <= 0) return false;
        memcpy(&v, key.p, sizeof v);
        count_fresh(leader, a, mset_add(&a->set, v, 1u << bit));
    }
    read_zigzag(r); /* the count */
    return !r->bad;
}

static bool more_update(agg_slot_t *s, const agg_rows_t *r) { return true; }
static void more_merge(agg_slot_t *s, void *into, const void *from) {}
static void more_encode(const agg_slot_t *s, const void *acc, buf_t *out) {}
static bool more_decode(const agg_slot_t *s, reader_t *r, void *acc) { return true; }

const agg_impl_t agg_impl_mask = {
    .size = sizeof(mask_acc_t),
    .update = mask_update,
    .merge = mask_merge,
    .clear = mask_clear,
    .emit = mask_emit,
    .encode = mask_encode,
    .decode = mask_decode,
    .heap = mask_heap,
    .paging = &paging,
};
const agg_impl_t agg_impl_mask_more = {
    .size = sizeof(int64_t),
    .update = more_update,
    .merge = more_merge,
    .emit = mask_emit,
    .encode = more_encode,
    .decode = more_decode,
};
