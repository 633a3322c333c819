/* agg_distinct.c: DISTINCT over any aggregate: a set of the values seen, with counts, in front of the accumulator of the
 * function, which sees a value when it appears first and takes it back when its last copy goes.
 * NULL is passed through uncounted: every function that skips it skips it here too, and the list of
 * ARRAY_AGG and JSON_ARRAYAGG(.. NULL ON NULL) counts it itself, and shows one. */
#include "engine/agg_int.h"

typedef struct distinct_acc {
    vset_t *values; /* the inner accumulator lies behind, 8-aligned */
} distinct_acc_t;

static void *inner_acc(const void *acc) { return (uint8_t *)(uintptr_t)acc + sizeof(distinct_acc_t); }

/* The inner slot works on blocks: give it pointers so that its own offset lands on the inner accumulator. */
static void *inner_block(const agg_slot_t *s, void *block) { return (uint8_t *)block + s->off; }

/* What the function behind the set met is this call's. */
static bool inner_failed(agg_slot_t *s) {
    s->why = s->inner->why;
    s->full = s->inner->full;
    return false;
}

static bool distinct_rows(agg_slot_t *s, const agg_rows_t *r, int64_t delta) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    agg_slot_t *inner = s->inner;
    uint8_t tmp[16];
    slot_scratch(s, r->n);
    agg_rows_t pass = {r->in, s->sel, 0, s->accs};
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        distinct_acc_t *a = slot_acc(s, r->accs[k]);
        bool edge = true;
        if (!column_null(c, row)) {
            int64_t count = vset_add(s, &a->values, raw_of(s, c, row, &s->bytes, tmp), delta);
            if (count == VSET_FULL) return slot_full(s);
            edge = delta > 0 ? count == 1 : count == 0;
        }
        if (!edge) continue;
        s->sel[pass.n] = row;
        s->accs[pass.n++] = inner_block(s, r->accs[k]);
    }
    if (pass.n == 0) return true;
    bool (*fn)(agg_slot_t *, const agg_rows_t *) = delta > 0 ? inner->impl->update : inner->impl->retract;
    return (fn && fn(inner, &pass)) || inner_failed(s);
}

static bool distinct_update(agg_slot_t *s, const agg_rows_t *r) { return distinct_rows(s, r, 1); }
static bool distinct_retract(agg_slot_t *s, const agg_rows_t *r) { return distinct_rows(s, r, -1); }

/* Feeds the values of a set to the inner accumulator of `block`. */
static void feed(agg_slot_t *s, void *block, const slice_t *values, uint32_t n) {
    mem_t *m = mem_new();
    int nargs = s->call->nargs;
    int max = 0;
    for (int i = 0; i < nargs; i++) max = MAX(max, s->call->args[i]);
    batch_t b = {.n = n, .ncols = max + 1, .cols = mem_zalloc(m, sizeof(column_t) * (size_t)(max + 1)), .mem = m};
    colbuilder_t *cb = colbuilder_new(s->call->arg_types[0], m);
    for (uint32_t i = 0; i < n; i++) raw_build(s->cls, values[i], cb);
    colbuilder_finish(cb, &b.cols[s->call->args[0]]);
    colbuilder_free(cb);
    for (int i = 1; i < nargs; i++) { /* LISTAGG's separator, PERCENTILE's percentages: known from the rows already */
        column_t *sep = &b.cols[s->call->args[i]];
        column_init(sep, s->call->arg_types[i], m, n);
        for (uint32_t k = 0; k < n && type_is_text(sep->type); k++) sep->str[k] = (str_t){s->inner->separator, s->inner->separator_len, 0};
    }
    void **accs = mem_alloc(m, sizeof *accs * n);
    for (uint32_t i = 0; i < n; i++) accs[i] = block;
    agg_rows_t rows = {&b, NULL, n, accs};
    if (!s->inner->impl->update(s->inner, &rows)) inner_failed(s);
    mem_unref(m);
}

static void distinct_merge(agg_slot_t *s, void *into, const void *from) {
    distinct_acc_t *a = into;
    const distinct_acc_t *b = from;
    slice_t values[256], v;
    int64_t count;
    uint32_t n = 0;
    /* the inner slot adds its own offset to a block: `into` is that of the outer accumulator */
    for (uint32_t at = 0; vset_next(b->values, &at, &v, &count) && !s->full;) {
        int64_t now = vset_add(s, &a->values, v, count);
        if (now == VSET_FULL) slot_full(s);
        if (now != count) continue; /* was there */
        values[n++] = v;
        if (n == ARRAY_LEN(values)) {
            feed(s, into, values, n);
            n = 0;
        }
    }
    if (n) feed(s, into, values, n);
    if (!s->inner->impl->merge_nulls) return;
    s->inner->impl->merge_nulls(s->inner, inner_acc(into), inner_acc(from));
    if (s->inner->full) inner_failed(s);
}

static void distinct_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    void **inner = mem_alloc(m, sizeof *inner * n);
    for (uint32_t i = 0; i < n; i++) inner[i] = inner_block(s, accs[i]);
    s->inner->impl->emit(s->inner, inner, n, m, out);
    if (s->inner->full) inner_failed(s);
}

static void distinct_clear(const agg_slot_t *s, void *acc) {
    vset_free(((distinct_acc_t *)acc)->values);
    if (s->inner->impl->clear) s->inner->impl->clear(s->inner, inner_acc(acc));
}

static void distinct_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    vset_encode(((const distinct_acc_t *)acc)->values, out);
    slot_encode(s->inner, inner_acc(acc), out);
}

static bool distinct_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    return vset_decode(s, r, &((distinct_acc_t *)acc)->values) && s->inner->impl->decode(s->inner, r, inner_acc(acc));
}

static size_t distinct_heap(const agg_slot_t *s, const void *acc) {
    return vset_heap(((const distinct_acc_t *)acc)->values) + (s->inner->impl->heap ? s->inner->impl->heap(s->inner, inner_acc(acc)) : 0);
}

/* Of the set alone; agg_page.c knows what is behind it. */
static const agg_paging_t paging = {VSET_PAGING, .encode_head = vset_head_encode, .decode_head = vset_head_decode};

const agg_impl_t agg_impl_distinct = {
    .size = sizeof(distinct_acc_t),
    .update = distinct_update,
    .retract = distinct_retract,
    .merge = distinct_merge,
    .clear = distinct_clear,
    .emit = distinct_emit,
    .encode = distinct_encode,
    .decode = distinct_decode,
    .heap = distinct_heap,
    .paging = &paging,
};
