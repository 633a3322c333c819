/* agg_int.h: the inside of aggregate functions, for agg*.c only.
 *
 * A call laid out in a set is a slot: (implementation, offset in the block, argument classes). Implementations are tables
 * of batched functions; an accumulator starts as zero bytes and everything it points to is freed by clear.
 * Lifetime of what accumulators point to: malloc'ed, owned by the accumulator alone. */
#pragma once
#include "engine/agg.h"
#include "engine/decimal.h"

typedef i128 i128_a8 __attribute__((aligned(8))); /* blocks are 8-aligned */

/* Physical classes of arguments. */
typedef enum agg_class {
    CLASS_INT, /* BOOLEAN, integers, DATE, TIME, TIMESTAMP*, intervals: as int64 */
    CLASS_FLOAT,
    CLASS_DOUBLE,
    CLASS_DEC,
    CLASS_STR,
    CLASS_NESTED
} agg_class_t;
agg_class_t agg_class(const type_t *t);

typedef struct agg_slot agg_slot_t;

/* The rows of one update: row(k) of `in` belongs to the group with block accs[k]. */
typedef struct agg_rows {
    const batch_t *in;
    const uint32_t *sel; /* NULL: all */
    uint32_t n;
    void **accs;
} agg_rows_t;
static inline uint32_t agg_row(const agg_rows_t *r, uint32_t k) { return r->sel ? r->sel[k] : k; }

/* The pages of a call's set of values, numbered from 0; see agg_page.c. */
typedef struct agg_pages {
    bool paged;       /* else the set goes whole, and all the rest is 0 */
    bool absent;      /* its pages were not read yet */
    uint32_t stored;  /* pages that were put, or are there to be read */
    uint32_t pages;   /* that it has now */
    uint64_t values;  /* holes included; bytes of a list */
} agg_pages_t;

/* Which pages have changed since they were put. */
typedef struct agg_marks {
    uint8_t *bits;  /* owned: a bit each */
    uint32_t bytes;
    uint32_t fresh; /* marked since agg_marks_fresh */
} agg_marks_t;
void agg_marks_grow(agg_marks_t *m, uint32_t page);
void agg_marks_clear(agg_marks_t *m);
static inline void agg_mark(agg_marks_t *m, uint32_t page) {
    if (UNLIKELY(page / 8 >= m->bytes)) agg_marks_grow(m, page);
    uint8_t bit = (uint8_t)(1u << (page % 8));
    m->fresh += !(m->bits[page / 8] & bit);
    m->bits[page / 8] |= bit;
}
static inline bool agg_marked(const agg_marks_t *m, uint32_t page) { return page / 8 < m->bytes && (m->bits[page / 8] >> (page % 8) & 1); }
static inline size_t agg_marks_fresh(agg_marks_t *m, size_t page_bytes) {
    size_t n = m->fresh * page_bytes;
    m->fresh = 0;
    return n;
}

typedef struct agg_paging {
    agg_pages_t (*look)(const agg_slot_t *s, const void *acc);
    void (*begin)(agg_slot_t *s, void *acc);                              /* makes it one in pages if it has become large; NULL: that needs no decision */
    bool (*changed)(const agg_slot_t *s, const void *acc, uint32_t page); /* or was never put */
    void (*put)(const agg_slot_t *s, const void *acc, uint32_t page, buf_t *out);
    void (*settle)(agg_slot_t *s, void *acc);                             /* stored as it is: nothing has changed */
    void (*open)(agg_slot_t *s, void *acc);                               /* absent: room for what comes */
    bool (*take)(agg_slot_t *s, void *acc, uint32_t page, reader_t *r);   /* in order; false: malformed */
    void (*leave)(agg_slot_t *s, void *acc);                              /* settled -> absent */
    size_t (*fresh)(agg_slot_t *s, void *acc);                            /* about the bytes of pages that changed since it was asked, or settled */
    uint8_t since;                                                        /* version of accumulators from which on it has pages; 0: 3 */
    bool emits;                                                           /* its result is its values: it cannot be emitted while absent */
    void (*encode_head)(const agg_slot_t *s, const void *acc, buf_t *out); /* all but the pages, of a settled or absent one; of DISTINCT the set's alone */
    bool (*decode_head)(const agg_slot_t *s, reader_t *r, void *acc);      /* absent */
} agg_paging_t;

typedef struct agg_impl {
    uint32_t size;
    bool (*update)(agg_slot_t *s, const agg_rows_t *r);  /* false: s->full, or s->why */
    bool (*retract)(agg_slot_t *s, const agg_rows_t *r); /* NULL: cannot */
    void (*merge)(agg_slot_t *s, void *into, const void *from); /* what does not fit: s->full; what is wrong: s->why */
    void (*merge_nulls)(agg_slot_t *s, void *into, const void *from); /* behind a DISTINCT, whose set does not know them; NULL: counts none */
    void (*clear)(const agg_slot_t *s, void *acc); /* NULL: owns nothing */
    int npartial;                                  /* 0: no combiner */
    void (*partial)(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out);
    bool (*merge_partial)(agg_slot_t *s, const column_t *cols, const agg_rows_t *r);
    /* `partial` of a group for each row of `in`, from its columns alone; they may share what `in` holds. NULL: by update and partial */
    void (*partial_rows)(agg_slot_t *s, const batch_t *in, mem_t *m, column_t *out);
    void (*emit)(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out); /* s->full: a result is too long, and NULL */
    /* encode_at with encode_most, or encode: at p, where there is room for encode_most bytes, which is enough for any of them; returns the end. */
    uint8_t *(*encode_at)(const void *acc, uint8_t *p);
    uint32_t encode_most;
    void (*encode)(const agg_slot_t *s, const void *acc, buf_t *out);
    bool (*decode)(const agg_slot_t *s, reader_t *r, void *acc);
    size_t (*heap)(const agg_slot_t *s, const void *acc);
    const agg_paging_t *paging; /* NULL: holds no set of values */
} agg_impl_t;

struct agg_slot {
    const agg_impl_t *impl;
    uint32_t off;      /* of this accumulator in the block */
    const agg_call_t *call;
    agg_class_t cls;   /* of args[0] */
    int width;         /* of CLASS_INT values */
    int kind;          /* what an implementation shared by several functions does, its own enum */
    bool single_precision;
    const type_t *partial_types[4];
    struct agg_slot *inner; /* DISTINCT: what sees each value once */
    struct agg_slot *leader, **members; /* agg_mask.c: the first of the calls that share a set; of that one: all, itself included */
    int nmembers;
    bool pages; /* large sets go in pages */
    bool once;  /* DISTINCT of rows that are never taken back, and what is behind it: that a value came again is not counted */
    /* scratch, grown once */
    buf_t bytes;
    uint32_t *sel;
    void **accs;
    uint32_t cap;
    const char *why;   /* what is wrong with the data, when an update said false or a merge met it */
    bool full;         /* a group holds more than its bound, or its result is longer */
    uint64_t most;     /* bytes: a bound for tests below the own one of an implementation; 0 none */
    bool flag;         /* PERCENTILE: the percentages are known */
    char *separator;   /* of LISTAGG; the percentages */
    uint32_t separator_len;
};
static inline void *slot_acc(const agg_slot_t *s, void *block) { return (uint8_t *)block + s->off; }
static inline const void *slot_acc_const(const agg_slot_t *s, const void *block) { return (const uint8_t *)block + s->off; }
void slot_scratch(agg_slot_t *s, uint32_t n);
static inline void slot_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    if (!s->impl->encode_at) return s->impl->encode(s, acc, out);
    uint8_t *p = buf_begin(out, s->impl->encode_most);
    if (p) buf_end(out, s->impl->encode_at(acc, p));
}
static inline uint64_t slot_most(const agg_slot_t *s, uint64_t own) { return s->most ? MIN(s->most, own) : own; }
/* Says false, so that an update may return it. */
static inline bool slot_full(agg_slot_t *s) {
    s->full = true;
    return false;
}

typedef struct agg_part { /* a call with pages, or the one behind a DISTINCT */
    agg_slot_t *slot;
    uint32_t off; /* of its accumulator in a block */
    int number;   /* by which its pages are known: of the call; of the one behind it: that, and the number of calls */
} agg_part_t;

/* Of a call, what encoding it takes: a slot is several cache lines. */
typedef struct agg_step {
    uint8_t *(*encode_at)(const void *acc, uint8_t *p);
    uint32_t off;
} agg_step_t;
/* agg_num.c: so many calls, one behind the other */
uint8_t *agg_steps_encode(const agg_step_t *steps, int n, const void *accs, uint8_t *p);

struct agg_set {
    int n;
    uint32_t size;
    bool masks; /* calls share sets of values */
    bool pages;
    uint8_t paged_version; /* of groups with pages */
    agg_part_t *parts;
    int nparts;
    arena_t *arena;
    agg_slot_t *slots;
    agg_step_t *steps; /* where all of them encode_at, .. */
    uint32_t encode_most; /* .. and are no more, the version included; else 0 */
    /* scratch */
    buf_t page;
    uint32_t *sel;
    void **accs;
    uint32_t cap;
};

struct agg_fn {
    const char *name;
    int min_args, max_args;
    /* result type and casts; NULL ret: an error was made */
    err_t *(*bind)(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret);
    /* chooses the implementation by argument types */
    const agg_impl_t *(*impl)(const agg_slot_t *s, bool retracting);
    int kind;
    bool combines, retracts;
};

/* agg_page.c: the form of a group that has pages. Encode says false, and wrote nothing, when it has none. */
bool agg_pages_encode(const agg_set_t *s, const void *accs, buf_t *out);
bool agg_pages_decode(const agg_set_t *s, uint8_t version, reader_t *r, void *accs);

/* Partial column types of an implementation, in order (npartial of them). */
void agg_partial_list(arena_t *a, const agg_slot_t *s, const type_t **ret);

extern const agg_impl_t agg_impl_count, agg_impl_sum_int, agg_impl_sum_float, agg_impl_sum_double, agg_impl_sum_dec,
    agg_impl_var, agg_impl_min_int, agg_impl_max_int, agg_impl_min_double, agg_impl_max_double, agg_impl_min_dec,
    agg_impl_max_dec, agg_impl_min_str, agg_impl_max_str, agg_impl_extreme_retract, agg_impl_first, agg_impl_last, agg_impl_list,
    agg_impl_collect, agg_impl_object, agg_impl_percentile, agg_impl_distinct, agg_impl_mask, agg_impl_mask_more;

/* ---- agg_mask.c: COUNT(DISTINCT x) of integers that are not taken back; the calls over one x share a set */
#define AGG_MASK_MEMBERS 8
/* What a set of its own per call left in a checkpoint (version 1 of accumulators). */
bool agg_mask_decode_1(const agg_slot_t *s, reader_t *r, void *block);

/* ---- agg_list.c */
#define AGG_TEXT_MAX ((uint64_t)512 << 20)
void agg_put_text(agg_slot_t *s, colbuilder_t *b, const buf_t *text); /* NULL and s->full when it did not fit */

/* kinds */
enum { SUM_SUM, SUM_AVG };
enum { VAR_POP, VAR_SAMP, STDDEV_POP, STDDEV_SAMP };
enum { LIST_FIRST, LIST_LAST, LIST_AGG, LIST_ARRAY, LIST_JSON, LIST_JSON_NULLS };
enum { OBJECT_NULLS, OBJECT_ABSENT };

/* ---- one value as raw bytes, canonical for its class: the form in which accumulators keep values */
slice_t raw_of(const agg_slot_t *s, const column_t *c, uint32_t i, buf_t *scratch, uint8_t tmp[static 16]);
int raw_compare(agg_class_t cls, slice_t a, slice_t b);
void raw_build(agg_class_t cls, slice_t v, colbuilder_t *b); /* appends it to a column of the argument's type */
int64_t raw_int(const column_t *c, int width, uint32_t i);
void int_store(column_t *c, int width, uint32_t i, int64_t v);

/* ---- vset: a set of raw values with a count each; compact, iterates in order of insertion */
typedef struct vset vset_t;
#define VSET_FULL INT64_MIN
int64_t vset_add(const agg_slot_t *s, vset_t **set, slice_t v, int64_t delta); /* returns the new count, entries at 0 are gone; VSET_FULL at 4 GB */
bool vset_merge(agg_slot_t *s, vset_t **into, const vset_t *from);             /* false: what does not fit is left out, and s->full */
int64_t vset_get(const vset_t *set, slice_t v);
uint32_t vset_len(const vset_t *set);                  /* values with a count other than 0 */
bool vset_next(const vset_t *set, uint32_t *at, slice_t *ret, int64_t *ret_count);
void vset_free(vset_t *set);
size_t vset_heap(const vset_t *set);
void vset_encode(const vset_t *set, buf_t *out);
bool vset_decode(const agg_slot_t *s, reader_t *r, vset_t **ret);
/* Its pages: agg_paging_t of an accumulator that begins with a vset_t *. */
agg_pages_t vset_look(const agg_slot_t *s, const void *acc);
void vset_begin_pages(agg_slot_t *s, void *acc);
bool vset_page_changed(const agg_slot_t *s, const void *acc, uint32_t page);
void vset_page_put(const agg_slot_t *s, const void *acc, uint32_t page, buf_t *out);
void vset_settle(agg_slot_t *s, void *acc);
void vset_open_pages(agg_slot_t *s, void *acc);
void vset_leave_pages(agg_slot_t *s, void *acc);
bool vset_page_take(agg_slot_t *s, void *acc, uint32_t page, reader_t *r);
size_t vset_page_fresh(agg_slot_t *s, void *acc);
void vset_head_encode(const agg_slot_t *s, const void *acc, buf_t *out);
bool vset_head_decode(const agg_slot_t *s, reader_t *r, void *acc);
#define VSET_PAGING .look = vset_look, .begin = vset_begin_pages, .changed = vset_page_changed, .put = vset_page_put, .settle = vset_settle, \
    .open = vset_open_pages, .take = vset_page_take, .leave = vset_leave_pages, .fresh = vset_page_fresh
