/* agg_num.c: COUNT, SUM, AVG, variances: accumulators that own nothing and all retract, merge and combine.
 *
 * SUM and AVG share accumulators: (number of values that are not NULL, sum). Sums of integers wrap around as Flink's do
 * (kept in 64 bits and cut to the result type); a DECIMAL sum that leaves 38 digits is NULL, as in Flink.
 *
 * The loops over rows take accs, off, sel and n into variables of their own, and the accumulator from them instead of by slot_acc: without strict
 * aliasing a store into an accumulator may be one into *s or *r, and each row would have them read again. */
#include "engine/agg_int.h"
#include "engine/decimal.h"
#include <math.h>

int64_t raw_int(const column_t *c, int width, uint32_t i) {
    switch (width) {
    case 1: return c->type->kind == TYPE_BOOLEAN ? c->b[i] : c->i8[i];
    case 2: return c->i16[i];
    case 4: return c->i32[i];
    default: return c->i64[i];
    }
}

void int_store(column_t *c, int width, uint32_t i, int64_t v) {
    switch (width) {
    case 1: c->i8[i] = (int8_t)v; break;
    case 2: c->i16[i] = (int16_t)v; break;
    case 4: c->i32[i] = (int32_t)v; break;
    default: c->i64[i] = v; break;
    }
}

static void set_null(column_t *c, mem_t *m, uint32_t n, uint32_t i) { column_need_nulls(c, m, n)[i] = 1; }

/* ---------------------------------------------------------------- COUNT */
typedef struct count_acc {
    int64_t n;
} count_acc_t;

static bool count_add(agg_slot_t *s, const agg_rows_t *r, int64_t delta) {
    const uint8_t *nulls[4];
    int nn = 0;
    for (int i = 0; i < s->call->nargs; i++)
        if (r->in->cols[s->call->args[i]].nulls) nulls[nn++] = r->in->cols[s->call->args[i]].nulls;
    uint32_t off = s->off, n = r->n;
    void **accs = r->accs;
    if (nn == 0) {
        for (uint32_t k = 0; k < n; k++) ((count_acc_t *)((uint8_t *)accs[k] + off))->n += delta;
        return true;
    }
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = agg_row(r, k);
        bool null = false;
        for (int i = 0; i < nn; i++) null |= nulls[i][row];
        if (!null) ((count_acc_t *)((uint8_t *)accs[k] + off))->n += delta;
    }
    return true;
}

static bool count_update(agg_slot_t *s, const agg_rows_t *r) { return count_add(s, r, 1); }
static bool count_retract(agg_slot_t *s, const agg_rows_t *r) { return count_add(s, r, -1); }
static void count_merge(agg_slot_t *s, void *into, const void *from) {
    ((count_acc_t *)into)->n += ((const count_acc_t *)from)->n;
}

static void count_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    uint32_t off = s->off;
    int64_t *to = out->i64;
    for (uint32_t i = 0; i < n; i++) to[i] = ((const count_acc_t *)((uint8_t *)accs[i] + off))->n;
}

/* A column of the number of values of each row that count: 1, or 0 where an argument is NULL. Where none is, all calls have the same one. */
static void ones(const agg_slot_t *s, const batch_t *in, mem_t *m, column_t *out) {
    static const int64_t one[BATCH_ROWS_MAX] = {[0 ... BATCH_ROWS_MAX - 1] = 1};
    bool nulls = false;
    for (int a = 0; a < s->call->nargs; a++) nulls |= in->cols[s->call->args[a]].nulls != NULL;
    *out = (column_t){.type = s->partial_types[0], .data = (void *)(uintptr_t)one};
    if (!nulls && in->n <= BATCH_ROWS_MAX) return;
    out->data = mem_alloc(m, sizeof *out->i64 * in->n);
    for (uint32_t i = 0; i < in->n; i++) out->i64[i] = 1;
    for (int a = 0; a < s->call->nargs; a++) {
        const uint8_t *nulls = in->cols[s->call->args[a]].nulls;
        for (uint32_t i = 0; nulls && i < in->n; i++) out->i64[i] &= !nulls[i];
    }
}

static void count_partial_rows(agg_slot_t *s, const batch_t *in, mem_t *m, column_t *out) { ones(s, in, m, out); }

static bool count_merge_partial(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    const uint32_t *sel = r->sel;
    const int64_t *from = c->i64;
    void **accs = r->accs;
    uint32_t off = s->off, n = r->n;
    for (uint32_t k = 0; k < n; k++) ((count_acc_t *)((uint8_t *)accs[k] + off))->n += from[sel ? sel[k] : k];
    return true;
}

static void count_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    column_init(out, s->call->type, m, n);
    count_partial(s, accs, n, m, out);
}

static uint8_t *count_encode(const void *acc, uint8_t *p) { return zigzag_at(p, ((const count_acc_t *)acc)->n); }
static bool count_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    ((count_acc_t *)acc)->n = read_zigzag(r);
    return !r->bad;
}

const agg_impl_t agg_impl_count = {
    .size = sizeof(count_acc_t),
    .update = count_update,
    .retract = count_retract,
    .merge = count_merge,
    .npartial = 1,
    .partial = count_partial,
    .merge_partial = count_merge_partial,
    .partial_rows = count_partial_rows,
    .emit = count_emit,
    .encode_at = count_encode,
    .encode_most = VARINT_MAX,
    .decode = count_decode,
};

/* ---------------------------------------------------------------- SUM and AVG of integers */
typedef struct isum_acc {
    int64_t n;
    uint64_t sum; /* modulo 2^64 */
} isum_acc_t;

#define ISUM_LOOP(field, OP)                                                                                                      \
    for (uint32_t k = 0; k < n; k++) {                                                                                            \
        uint32_t row = sel ? sel[k] : k;                                                                                          \
        if (nulls && nulls[row]) continue;                                                                                        \
        isum_acc_t *a = (isum_acc_t *)((uint8_t *)accs[k] + off);                                                                 \
        a->n OP 1;                                                                                                                \
        a->sum OP (uint64_t)(int64_t)c->field[row];                                                                               \
    }
#define ISUM(OP)                                                                                                                  \
    const column_t *c = &r->in->cols[s->call->args[0]];                                                                           \
    const uint8_t *nulls = c->nulls;                                                                                              \
    const uint32_t *sel = r->sel;                                                                                                 \
    uint32_t off = s->off, n = r->n;                                                                                              \
    void **accs = r->accs;                                                                                                        \
    switch (s->width) {                                                                                                           \
    case 1: ISUM_LOOP(i8, OP) break;                                                                                              \
    case 2: ISUM_LOOP(i16, OP) break;                                                                                             \
    case 4: ISUM_LOOP(i32, OP) break;                                                                                             \
    default: ISUM_LOOP(i64, OP) break;                                                                                            \
    }                                                                                                                             \
    return true;

static bool isum_update(agg_slot_t *s, const agg_rows_t *r) { ISUM(+=) }
static bool isum_retract(agg_slot_t *s, const agg_rows_t *r) { ISUM(-=) }

static void isum_merge(agg_slot_t *s, void *into, const void *from) {
    isum_acc_t *a = into;
    const isum_acc_t *b = from;
    a->n += b->n;
    a->sum += b->sum;
}

static void isum_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        const isum_acc_t *a = slot_acc(s, accs[i]);
        out[0].i64[i] = a->n;
        out[1].i64[i] = (int64_t)a->sum;
    }
}

static void isum_partial_rows(agg_slot_t *s, const batch_t *in, mem_t *m, column_t *out) {
    const column_t *c = &in->cols[s->call->args[0]];
    ones(s, in, m, &out[0]);
    out[1] = (column_t){.type = s->partial_types[1], .data = c->data};
    if (s->width == sizeof *c->i64 && !c->nulls) return;
    out[1].data = mem_alloc(m, sizeof *out->i64 * in->n);
    for (uint32_t i = 0; i < in->n; i++) out[1].i64[i] = column_null(c, i) ? 0 : raw_int(c, s->width, i);
}

static bool isum_merge_partial(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    const uint32_t *sel = r->sel;
    const int64_t *counts = c[0].i64, *sums = c[1].i64;
    void **accs = r->accs;
    uint32_t off = s->off, n = r->n;
    for (uint32_t k = 0; k < n; k++) {
        isum_acc_t *a = (isum_acc_t *)((uint8_t *)accs[k] + off);
        uint32_t row = sel ? sel[k] : k;
        a->n += counts[row];
        a->sum += (uint64_t)sums[row];
    }
    return true;
}

static void isum_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    column_init(out, s->call->type, m, n);
    int width = type_width(s->call->type);
    bool sum = s->kind == SUM_SUM, wide = sum && width == sizeof *out->i64;
    uint32_t off = s->off;
    int64_t *to = out->i64;
    for (uint32_t i = 0; i < n; i++) {
        const isum_acc_t *a = (const isum_acc_t *)((uint8_t *)accs[i] + off);
        if (UNLIKELY(a->n == 0)) set_null(out, m, n, i);
        else if (wide) to[i] = (int64_t)a->sum;
        else if (sum) int_store(out, width, i, (int64_t)a->sum);
        else int_store(out, width, i, a->n == -1 ? (int64_t)-a->sum : (int64_t)a->sum / a->n);
    }
}

static uint8_t *isum_encode(const void *acc, uint8_t *p) {
    const isum_acc_t *a = acc;
    return zigzag_at(zigzag_at(p, a->n), (int64_t)a->sum);
}

static bool isum_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    isum_acc_t *a = acc;
    a->n = read_zigzag(r);
    a->sum = (uint64_t)read_zigzag(r);
    return !r->bad;
}

const agg_impl_t agg_impl_sum_int = {
    .size = sizeof(isum_acc_t),
    .update = isum_update,
    .retract = isum_retract,
    .merge = isum_merge,
    .npartial = 2,
    .partial = isum_partial,
    .merge_partial = isum_merge_partial,
    .partial_rows = isum_partial_rows,
    .emit = isum_emit,
    .encode_at = isum_encode,
    .encode_most = 2 * VARINT_MAX,
    .decode = isum_decode,
};

/* ---------------------------------------------------------------- SUM and AVG of FLOAT and DOUBLE
 * SUM(FLOAT) adds in single precision as Flink does; AVG(FLOAT) in double. */
typedef struct dsum_acc {
    int64_t n;
    double sum;
} dsum_acc_t;

#define DSUM_LOOP(field, OP, CUT)                                                                                                 \
    for (uint32_t k = 0; k < n; k++) {                                                                                            \
        uint32_t row = sel ? sel[k] : k;                                                                                          \
        if (nulls && nulls[row]) continue;                                                                                        \
        dsum_acc_t *a = (dsum_acc_t *)((uint8_t *)accs[k] + off);                                                                 \
        a->n = a->n OP 1;                                                                                                         \
        a->sum = (CUT)(a->sum OP c->field[row]);                                                                                  \
    }
#define DSUM(OP, CUT)                                                                                                             \
    const column_t *c = &r->in->cols[s->call->args[0]];                                                                           \
    const uint8_t *nulls = c->nulls;                                                                                              \
    const uint32_t *sel = r->sel;                                                                                                 \
    uint32_t off = s->off, n = r->n;                                                                                              \
    void **accs = r->accs;                                                                                                        \
    if (s->cls == CLASS_FLOAT) {                                                                                                  \
        DSUM_LOOP(f32, OP, CUT)                                                                                                   \
    } else {                                                                                                                      \
        DSUM_LOOP(f64, OP, CUT)                                                                                                   \
    }                                                                                                                             \
    return true;

static bool dsum_update(agg_slot_t *s, const agg_rows_t *r) { DSUM(+, double) }
static bool dsum_retract(agg_slot_t *s, const agg_rows_t *r) { DSUM(-, double) }
static bool fsum_update(agg_slot_t *s, const agg_rows_t *r) { DSUM(+, float) }
static bool fsum_retract(agg_slot_t *s, const agg_rows_t *r) { DSUM(-, float) }

static inline void dsum_join(dsum_acc_t *a, int64_t n, double sum, bool single) {
    a->n += n;
    a->sum += sum;
    if (single) a->sum = (float)a->sum;
}

static void dsum_merge(agg_slot_t *s, void *into, const void *from) {
    const dsum_acc_t *b = from;
    dsum_join(into, b->n, b->sum, s->impl == &agg_impl_sum_float);
}

static void dsum_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        const dsum_acc_t *a = slot_acc(s, accs[i]);
        out[0].i64[i] = a->n;
        out[1].f64[i] = a->sum;
    }
}

static void dsum_partial_rows(agg_slot_t *s, const batch_t *in, mem_t *m, column_t *out) {
    const column_t *c = &in->cols[s->call->args[0]];
    ones(s, in, m, &out[0]);
    out[1] = (column_t){.type = s->partial_types[1], .data = c->data};
    if (s->cls == CLASS_DOUBLE && !c->nulls) return;
    out[1].data = mem_alloc(m, sizeof *out->f64 * in->n);
    for (uint32_t i = 0; i < in->n; i++) out[1].f64[i] = column_null(c, i) ? 0 : s->cls == CLASS_DOUBLE ? c->f64[i] : (double)c->f32[i];
}

static bool dsum_merge_partial(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    const uint32_t *sel = r->sel;
    const int64_t *counts = c[0].i64;
    const double *sums = c[1].f64;
    void **accs = r->accs;
    uint32_t off = s->off, n = r->n;
    bool single = s->impl == &agg_impl_sum_float;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = sel ? sel[k] : k;
        dsum_join((dsum_acc_t *)((uint8_t *)accs[k] + off), counts[row], sums[row], single);
    }
    return true;
}

static void dsum_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    column_init(out, s->call->type, m, n);
    bool single = s->call->type->kind == TYPE_FLOAT, sum = s->kind == SUM_SUM;
    uint32_t off = s->off;
    column_t to = *out;
    for (uint32_t i = 0; i < n; i++) {
        const dsum_acc_t *a = (const dsum_acc_t *)((uint8_t *)accs[i] + off);
        if (UNLIKELY(a->n == 0)) {
            set_null(out, m, n, i);
            continue;
        }
        double v = sum ? a->sum : a->sum / (double)a->n;
        if (single) to.f32[i] = (float)v;
        else to.f64[i] = v;
    }
}

static uint8_t *f64_at(uint8_t *p, double v) { /* little-endian, as get_f64 */
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static double get_f64(reader_t *r) {
    uint64_t bits = read_u64(r);
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

static uint8_t *dsum_encode(const void *acc, uint8_t *p) {
    const dsum_acc_t *a = acc;
    return f64_at(zigzag_at(p, a->n), a->sum);
}

static bool dsum_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    dsum_acc_t *a = acc;
    a->n = read_zigzag(r);
    a->sum = get_f64(r);
    return !r->bad;
}

#define DSUM_IMPL(up, down)                                                                                                       \
    {                                                                                                                             \
        .size = sizeof(dsum_acc_t), .update = up, .retract = down, .merge = dsum_merge, .npartial = 2, .partial = dsum_partial,   \
        .merge_partial = dsum_merge_partial, .partial_rows = dsum_partial_rows, .emit = dsum_emit, .encode_at = dsum_encode,      \
        .encode_most = VARINT_MAX + sizeof(double), .decode = dsum_decode,                                                        \
    }
const agg_impl_t agg_impl_sum_double = DSUM_IMPL(dsum_update, dsum_retract);
const agg_impl_t agg_impl_sum_float = DSUM_IMPL(fsum_update, fsum_retract);

/* ---------------------------------------------------------------- SUM and AVG of DECIMAL */
typedef struct decsum_acc {
    int64_t n;
    int64_t overflow; /* the sum left 38 digits and stays NULL */
    i128_a8 sum;
} decsum_acc_t;

static void decsum_add(decsum_acc_t *a, i128 v, int64_t n, bool minus) {
    a->n += minus ? -n : n;
    i128 sum = minus ? a->sum - v : a->sum + v; /* both within 10^38 < 2^127 / 1.7: no overflow of 128 bits */
    if (!decimal_fits(sum, DECIMAL_DIGITS_MAX)) a->overflow = 1;
    else a->sum = sum;
}

static bool decsum_rows(agg_slot_t *s, const agg_rows_t *r, bool minus) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (!column_null(c, row)) decsum_add(slot_acc(s, r->accs[k]), c->dec[row], 1, minus);
    }
    return true;
}

static bool decsum_update(agg_slot_t *s, const agg_rows_t *r) { return decsum_rows(s, r, false); }
static bool decsum_retract(agg_slot_t *s, const agg_rows_t *r) { return decsum_rows(s, r, true); }

static void decsum_merge(agg_slot_t *s, void *into, const void *from) {
    const decsum_acc_t *b = from;
    decsum_acc_t *a = into;
    decsum_add(a, b->sum, b->n, false);
    a->overflow |= b->overflow;
}

static void decsum_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        const decsum_acc_t *a = slot_acc(s, accs[i]);
        out[0].i64[i] = a->n;
        if (a->overflow) set_null(&out[1], m, n, i);
        else out[1].dec[i] = a->sum;
    }
}

static bool decsum_merge_partial(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        decsum_acc_t *a = slot_acc(s, r->accs[k]);
        a->overflow |= column_null(&c[1], row);
        decsum_add(a, c[1].dec[row], c[0].i64[row], false);
    }
    return true;
}

static void decsum_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    column_init(out, s->call->type, m, n);
    int scale = s->call->arg_types[0]->scale;
    for (uint32_t i = 0; i < n; i++) {
        const decsum_acc_t *a = slot_acc(s, accs[i]);
        i128 v = a->sum;
        bool ok = a->n != 0 && !a->overflow;
        if (ok && s->kind == SUM_AVG) ok = decimal_div(a->sum, scale, a->n, 0, 38, s->call->type->scale, &v);
        if (ok) out->dec[i] = v;
        else set_null(out, m, n, i);
    }
}

static uint8_t *decsum_encode(const void *acc, uint8_t *p) {
    const decsum_acc_t *a = acc;
    p = zigzag_at(p, a->n);
    *p++ = a->overflow != 0;
    memcpy(p, &a->sum, sizeof a->sum); /* little-endian, the low half first */
    return p + sizeof a->sum;
}

static bool decsum_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    decsum_acc_t *a = acc;
    a->n = read_zigzag(r);
    a->overflow = read_u8(r);
    uint64_t lo = read_u64(r), hi = read_u64(r);
    a->sum = (i128)(((u128)hi << 64) | lo);
    return !r->bad && decimal_fits(a->sum, DECIMAL_DIGITS_MAX);
}

const agg_impl_t agg_impl_sum_dec = {
    .size = sizeof(decsum_acc_t),
    .update = decsum_update,
    .retract = decsum_retract,
    .merge = decsum_merge,
    .npartial = 2,
    .partial = decsum_partial,
    .merge_partial = decsum_merge_partial,
    .emit = decsum_emit,
    .encode_at = decsum_encode,
    .encode_most = VARINT_MAX + 1 + sizeof(i128),
    .decode = decsum_decode,
};

/* ---------------------------------------------------------------- variances: Welford's, mergeable (Chan et al.) */
typedef struct var_acc {
    int64_t n;
    double mean, m2;
} var_acc_t;

static double var_arg(const agg_slot_t *s, const column_t *c, uint32_t row) {
    switch (s->cls) {
    case CLASS_FLOAT: return c->f32[row];
    case CLASS_DOUBLE: return c->f64[row];
    case CLASS_DEC: return decimal_to_f64(c->dec[row], c->type->scale);
    default: return (double)raw_int(c, s->width, row);
    }
}

static void var_add(var_acc_t *a, double x) {
    a->n++;
    double d = x - a->mean;
    a->mean += d / (double)a->n;
    a->m2 += d * (x - a->mean);
}

static void var_sub(var_acc_t *a, double x) {
    if (--a->n <= 0) {
        a->mean = a->m2 = 0;
        return;
    }
    double d = x - a->mean;
    a->mean -= d / (double)a->n;
    a->m2 -= d * (x - a->mean);
    if (a->m2 < 0) a->m2 = 0;
}

static bool var_update(agg_slot_t *s, const agg_rows_t *r) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (!column_null(c, row)) var_add(slot_acc(s, r->accs[k]), var_arg(s, c, row));
    }
    return true;
}

static bool var_retract(agg_slot_t *s, const agg_rows_t *r) {
    const column_t *c = &r->in->cols[s->call->args[0]];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (!column_null(c, row)) var_sub(slot_acc(s, r->accs[k]), var_arg(s, c, row));
    }
    return true;
}

static void var_merge(agg_slot_t *s, void *into, const void *from) {
    var_acc_t *a = into;
    const var_acc_t *b = from;
    if (b->n <= 0) return;
    if (a->n <= 0) {
        *a = *b;
        return;
    }
    double n = (double)(a->n + b->n), d = b->mean - a->mean;
    a->m2 += b->m2 + d * d * (double)a->n * (double)b->n / n;
    a->mean += d * (double)b->n / n;
    a->n += b->n;
}

static void var_partial(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        const var_acc_t *a = slot_acc(s, accs[i]);
        out[0].i64[i] = a->n;
        out[1].f64[i] = a->mean;
        out[2].f64[i] = a->m2;
    }
}

static bool var_merge_partial(agg_slot_t *s, const column_t *c, const agg_rows_t *r) {
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        var_acc_t from = {c[0].i64[row], c[1].f64[row], c[2].f64[row]};
        var_merge(s, slot_acc(s, r->accs[k]), &from);
    }
    return true;
}

/* As Java casts: what is too great for an INT or BIGINT is the greatest; narrower integers keep the low bits of that. */
static int64_t whole(double v, int width) {
    if (width == 8) return v < 9223372036854775807.0 ? (int64_t)v : INT64_MAX;
    return v < 2147483647.0 ? (int64_t)v : INT32_MAX;
}

static void var_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    const type_t *t = s->call->type;
    column_init(out, t, m, n);
    for (uint32_t i = 0; i < n; i++) {
        const var_acc_t *a = slot_acc(s, accs[i]);
        bool sample = s->kind == VAR_SAMP || s->kind == STDDEV_SAMP;
        int64_t div = sample ? a->n - 1 : a->n;
        if (div <= 0) {
            set_null(out, m, n, i);
            continue;
        }
        double v = a->m2 / (double)div;
        if (s->kind == STDDEV_POP || s->kind == STDDEV_SAMP) v = sqrt(v);
        if (t->kind == TYPE_DOUBLE) out->f64[i] = v;
        else if (t->kind == TYPE_FLOAT) out->f32[i] = (float)v;
        else if (t->kind != TYPE_DECIMAL) int_store(out, type_width(t), i, whole(v, type_width(t)));
        else if (!decimal_from_f64(v, t->precision, t->scale, &out->dec[i])) set_null(out, m, n, i);
    }
}

static uint8_t *var_encode(const void *acc, uint8_t *p) {
    const var_acc_t *a = acc;
    return f64_at(f64_at(zigzag_at(p, a->n), a->mean), a->m2);
}

static bool var_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    var_acc_t *a = acc;
    a->n = read_zigzag(r);
    a->mean = get_f64(r);
    a->m2 = get_f64(r);
    return !r->bad;
}

const agg_impl_t agg_impl_var = {
    .size = sizeof(var_acc_t),
    .update = var_update,
    .retract = var_retract,
    .merge = var_merge,
    .npartial = 3,
    .partial = var_partial,
    .merge_partial = var_merge_partial,
    .emit = var_emit,
    .encode_at = var_encode,
    .encode_most = VARINT_MAX + 2 * sizeof(double),
    .decode = var_decode,
};

/* ---------------------------------------------------------------- encoded at once: the commonest without a call */
uint8_t *agg_steps_encode(const agg_step_t *steps, int n, const void *accs, uint8_t *p) {
    for (const agg_step_t *t = steps; t < steps + n; t++) {
        const void *acc = (const uint8_t *)accs + t->off;
        if (t->encode_at == count_encode) p = count_encode(acc, p);
        else if (t->encode_at == dsum_encode) p = dsum_encode(acc, p);
        else if (t->encode_at == isum_encode) p = isum_encode(acc, p);
        else p = t->encode_at(acc, p);
    }
    return p;
}
