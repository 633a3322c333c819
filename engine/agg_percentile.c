/* agg_percentile.c: PERCENTILE(x, p[, frequency]): values as DOUBLE with a count each; between two values it interpolates.
 *
 * The percentages are constants that come with every row; an accumulator's encoding carries them, since what is restored
 * may be asked before it sees a row. */
#include "engine/agg_int.h"
#include <math.h>
#include <stdlib.h>

typedef struct percentile_acc {
    vset_t *values;
} percentile_acc_t;

static void keep_percents(agg_slot_t *s, const void *p, size_t bytes) {
    s->separator = xrealloc(s->separator, bytes + 1);
    if (bytes) memcpy(s->separator, p, bytes);
    s->separator_len = (uint32_t)bytes;
    s->flag = true;
}

static void read_percents(agg_slot_t *s, const agg_rows_t *r) {
    if (s->flag || r->n == 0) return;
    const column_t *c = &r->in->cols[s->call->args[1]];
    uint32_t row = agg_row(r, 0);
    if (c->type->kind == TYPE_ARRAY) keep_percents(s, c->child[0].f64 + c->span[row].off, c->span[row].len * sizeof(double));
    else keep_percents(s, &c->f64[row], sizeof(double));
}

static bool percentile_rows(agg_slot_t *s, const agg_rows_t *r, int64_t sign) {
    const column_t *c = &r->in->cols[s->call->args[0]], *f = s->call->nargs > 2 ? &r->in->cols[s->call->args[2]] : NULL;
    uint8_t tmp[16];
    read_percents(s, r);
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        int64_t times = !f ? 1 : column_null(f, row) ? 0 : f->i64[row];
        if (column_null(c, row) || times <= 0) continue;
        percentile_acc_t *a = slot_acc(s, r->accs[k]);
        if (vset_add(s, &a->values, raw_of(s, c, row, &s->bytes, tmp), sign * times) == VSET_FULL) return slot_full(s);
    }
    return true;
}

static bool percentile_update(agg_slot_t *s, const agg_rows_t *r) { return percentile_rows(s, r, 1); }
static bool percentile_retract(agg_slot_t *s, const agg_rows_t *r) { return percentile_rows(s, r, -1); }

static void percentile_merge(agg_slot_t *s, void *into, const void *from) {
    vset_merge(s, &((percentile_acc_t *)into)->values, ((const percentile_acc_t *)from)->values);
}

typedef struct weighted {
    double value;
    int64_t upto; /* count of this and all smaller ones */
} weighted_t;

static int by_value(const void *a, const void *b) {
    double x = ((const weighted_t *)a)->value, y = ((const weighted_t *)b)->value;
    if (isnan(x) || isnan(y)) return isnan(x) - isnan(y); /* NaN is the greatest, as Java sorts */
    return (x > y) - (x < y);
}

static double value_at(const weighted_t *w, uint32_t n, int64_t index) {
    uint32_t lo = 0, hi = n - 1;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (w[mid].upto > index) hi = mid;
        else lo = mid + 1;
    }
    return w[lo].value;
}

static double percentile_of(const weighted_t *w, uint32_t n, double p) {
    /* counted from 1, as Flink does: the last digit depends on it */
    double at = (double)(w[n - 1].upto - 1) * p + 1, below = floor(at), above = ceil(at);
    double x = value_at(w, n, (int64_t)below - 1), y = value_at(w, n, (int64_t)above - 1);
    return below == above || x == y ? x : (above - at) * x + (at - below) * y;
}

static uint32_t sorted(const vset_t *set, weighted_t *w) {
    uint32_t n = 0;
    slice_t v;
    int64_t count;
    for (uint32_t at = 0; vset_next(set, &at, &v, &count);) {
        if (count <= 0) continue;
        memcpy(&w[n].value, v.p, MIN(v.len, sizeof(double)));
        w[n++].upto = count;
    }
    qsort(w, n, sizeof *w, by_value);
    for (uint32_t k = 1; k < n; k++) w[k].upto += w[k - 1].upto;
    return n;
}

static void percentile_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    colbuilder_t *b = colbuilder_new(s->call->type, m);
    bool list = s->call->type->kind == TYPE_ARRAY;
    for (uint32_t i = 0; i < n; i++) {
        const percentile_acc_t *a = slot_acc(s, accs[i]);
        weighted_t *w = xcalloc((size_t)vset_len(a->values) + 1, sizeof *w);
        uint32_t values = sorted(a->values, w);
        if (values == 0) colbuilder_null(b);
        else if (list) colbuilder_begin(b);
        for (uint32_t k = 0; values && k < s->separator_len / sizeof(double); k++) {
            double p;
            memcpy(&p, s->separator + k * sizeof p, sizeof p);
            colbuilder_f64(list ? colbuilder_child(b, 0) : b, percentile_of(w, values, p));
        }
        if (values && list) colbuilder_end(b);
        free(w);
    }
    colbuilder_finish(b, out);
    colbuilder_free(b);
}

static void percentile_clear(const agg_slot_t *s, void *acc) { vset_free(((percentile_acc_t *)acc)->values); }
static void put_percents(const agg_slot_t *s, buf_t *out) { buf_put_bytes(out, slice_of(s->separator, s->flag ? s->separator_len : 0)); }
static bool take_percents(const agg_slot_t *cs, reader_t *r) {
    agg_slot_t *s = (agg_slot_t *)(uintptr_t)cs;
    slice_t p = read_bytes(r);
    if (r->bad || p.len % sizeof(double)) return false;
    if (!s->flag && p.len) keep_percents(s, p.p, p.len);
    return true;
}
static void percentile_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    put_percents(s, out);
    vset_encode(((const percentile_acc_t *)acc)->values, out);
}
static bool percentile_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    return take_percents(s, r) && vset_decode(s, r, &((percentile_acc_t *)acc)->values);
}
static void percentile_encode_head(const agg_slot_t *s, const void *acc, buf_t *out) {
    put_percents(s, out);
    vset_head_encode(s, acc, out);
}
static bool percentile_decode_head(const agg_slot_t *s, reader_t *r, void *acc) { return take_percents(s, r) && vset_head_decode(s, r, acc); }
static const agg_paging_t paging = {VSET_PAGING, .since = 4, .emits = true, .encode_head = percentile_encode_head, .decode_head = percentile_decode_head};
static size_t percentile_heap(const agg_slot_t *s, const void *acc) { return vset_heap(((const percentile_acc_t *)acc)->values); }

const agg_impl_t agg_impl_percentile = {
    .size = sizeof(percentile_acc_t),
    .update = percentile_update,
    .retract = percentile_retract,
    .merge = percentile_merge,
    .clear = percentile_clear,
    .emit = percentile_emit,
    .encode = percentile_encode,
    .decode = percentile_decode,
    .heap = percentile_heap,
    .paging = &paging,
};
