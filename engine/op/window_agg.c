/* window_agg.c: TUMBLE, HOP and CUMULATE aggregates.
 *
 * State: one block per (slice end, key): namespace = slice end, so a window is a run of namespaces and leaves as a whole.
 * TUMBLE and attached windows have one slice; the windows of HOP and CUMULATE are merged from their slices when they fire.
 *
 * Rules (as Flink's slicing window operators)
 *  1. The window [s, e) fires when the watermark reaches e - 1, windows in the order of their ends, each key with rows once.
 *  2. A row is late, dropped and counted when the last window of its slice has fired; if only earlier ones have, it
 *     counts in the later ones.
 *  3. `progress` is the watermark up to which windows have fired. It is kept in every epoch: a restored operator
 *     never opens a window again (hazards A9). In batch mode it stays at none until the input ends: nothing is late.
 *  4. Processing time: a row is of the slice of the clock; a slice that has fired already (rows of a combiner on a
 *     faster worker) is not opened again: such rows count in the next. At the end of input all windows fire. */
#include "engine/op/op_int.h"
#include "state/kstate_env.h"
#include <stdlib.h>

typedef struct window_agg {
    agg_set_t *set;
    kstate_t *ks;
    keyed_t keyed;
    pages_t pages;
    keys_t keys;
    window_time_t time;
    bool partial;
    int64_t progress;
    /* rows of the batch at hand */
    int64_t *slices;
    uint32_t *sel;
    void **accs;
    uint32_t cap;
    /* the window being fired */
    bool firing;
    int64_t end, fired_end;
    int64_t *parts; /* its slices that hold rows */
    int nparts, cap_parts;
    pages_walk_t walk;   /* one slice */
    groups_t *merged;    /* more than one: the groups of some key groups, .. */
    uint32_t merged_at;
    int kg_next, kg_hi;  /* .. those before kg_next; .. */
    int kg_step;         /* .. so many at once, or fewer, that what is merged at once stays small */
} window_agg_t;

static err_t *window_agg_open(op_t *op) {
    window_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    w->progress = w->fired_end = WATERMARK_NONE;
    w->partial = p->partial_input;
    w->set = agg_set_new(p->aggs, p->naggs, p->ninputs && op->env.stage->ops[p->inputs[0]]->retracts);
    TRY(window_time_open(&op->env, &w->time));
    pages_keep(&w->pages, w->set);
    kstate_codec_t codec = agg_codec(w->set, false);
    TRY(kstate_open(op->env.state, p->fingerprint, 0, key_group_lo(op->env.subtask, op->env.parallelism),
                    key_group_lo(op->env.subtask + 1, op->env.parallelism), &codec, &w->ks));
    TRY(pages_open(&w->pages, &op->env, w->ks));
    keyed_init(&w->keyed, w->ks);
    return NULL;
}

static err_t *window_agg_restore(op_t *op, slice_t bytes) {
    window_agg_t *w = op->self;
    reader_t r = reader_of(bytes);
    int64_t progress = read_zigzag(&r);
    if (r.bad) return err_new(ERR_CORRUPT, "the progress of a window is malformed");
    w->progress = MAX(w->progress, progress);
    return NULL;
}

static err_t *window_agg_start(op_t *op) {
    window_agg_t *w = op->self;
    if (!w->time.proctime && !op->env.plan->batch) w->progress = MAX(w->progress, op->env.eval->watermark_ms);
    return NULL;
}

static err_t *window_agg_seal(op_t *op, epoch_t epoch, buf_t *bytes) {
    window_agg_t *w = op->self;
    if (w->progress != WATERMARK_NONE) buf_put_zigzag(bytes, w->progress);
    return pages_seal(&w->pages);
}

static void room(window_agg_t *w, uint32_t n) {
    if (w->cap >= n) return;
    w->cap = n;
    w->slices = xrealloc(w->slices, sizeof *w->slices * n);
    w->sel = xrealloc(w->sel, sizeof *w->sel * n);
    w->accs = xrealloc(w->accs, sizeof *w->accs * n);
}

static bool fired(const window_agg_t *w, int64_t end) { return window_trigger(&w->time, end) <= w->progress; }

static int64_t last_end(const window_agg_t *w, int64_t slice) {
    return w->time.attached ? slice : window_last_end(&w->time.math, slice);
}
static int64_t first_end(const window_agg_t *w, int64_t slice) {
    return w->time.attached ? slice : window_first_end(&w->time.math, slice);
}

/* Rows that are not late into sel; their slices stay at their row's place. Returns how many. */
static uint32_t drop_late(op_t *op, const batch_t *b) {
    window_agg_t *w = op->self;
    bool gaps = !w->time.attached && w->time.math.kind == WINDOW_HOP && w->time.math.slide > w->time.math.size;
    if (w->progress == WATERMARK_NONE && !gaps) {
        for (uint32_t i = 0; i < b->n; i++) w->sel[i] = i;
        return b->n;
    }
    uint32_t n = 0;
    int64_t seen = 0;
    bool any = false, late = false, none = false;
    uint64_t outside = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!any || w->slices[i] != seen) {
            any = true;
            seen = w->slices[i];
            late = w->progress != WATERMARK_NONE && fired(w, last_end(w, seen));
            none = gaps && last_end(w, seen) < seen; /* it lies between two windows: of none, and not late */
        }
        if (none) {
            outside++;
        } else if (!late) {
            w->sel[n++] = i;
        } else if (w->time.proctime) {
            while (fired(w, last_end(w, w->slices[i]))) w->slices[i] += w->time.math.slice;
            w->sel[n++] = i;
        }
    }
    op->late_rows += b->n - n - outside;
    return n;
}

static op_status_t window_agg_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    window_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    room(w, b->n);
    if ((*reterr = window_time_slices(&w->time, b, op->env.eval->now_ms, w->slices))) return OP_FAIL;
    uint32_t n = drop_late(op, b);
    if (n == 0) return OP_DONE;
    const uint32_t *sel = n == b->n ? NULL : w->sel;
    keys_encode(&w->keys, b, p->keys, p->nkeys, sel, n);
    if ((*reterr = keyed_find(&w->keyed, &w->keys, w->slices, sel, n, w->accs))) return OP_FAIL;
    for (uint32_t k = 0; k < n; k++) {
        row_kind_t kind = batch_kind(b, sel ? sel[k] : k);
        if ((*reterr = pages_need(&w->pages, w->accs[k]))) return OP_FAIL;
        ((agg_head_t *)w->accs[k])->rows += kind == ROW_DELETE || kind == ROW_UPDATE_BEFORE ? -1 : 1;
        w->accs[k] = agg_accs(w->accs[k]);
    }
    *reterr = w->partial ? agg_set_merge_partial(w->set, b, p->nkeys + 1, sel, n, w->accs) : agg_set_update(w->set, b, sel, n, w->accs);
    return *reterr ? OP_FAIL : OP_DONE;
}

/* ---------------------------------------------------------------- firing */
static void prop_column(const window_agg_t *w, column_t *c, const type_t *t, mem_t *m, uint32_t n, int64_t ms) {
    column_init(c, t, m, n);
    int64_t us = (t->kind == TYPE_TIMESTAMP_LTZ ? zone_to_utc_ms(w->time.zone, ms) : ms) * 1000;
    for (uint32_t i = 0; i < n; i++) c->i64[i] = us;
}

static err_t *emit_window(op_t *op, const slice_t *keys, void **accs, uint32_t n, out_t *out) {
    window_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    if (n == 0) return NULL;
    batch_t *b = batch_new(p->schema->n);
    b->n = n;
    if (!keys_decode(keys, n, p->schema, p->nkeys, b->mem, b->cols)) {
        batch_free(b);
        return err_new(ERR_CORRUPT, "a key of the state is malformed");
    }
    err_t *e = agg_set_emit(w->set, accs, n, b->mem, b->cols + p->nkeys);
    if (e) {
        batch_free(b);
        return e;
    }
    for (int i = 0; i < p->naggs; i++) b->cols[p->nkeys + i].type = p->schema->fields[p->nkeys + i].type;
    int64_t start = window_start_of(&w->time.math, w->end);
    for (int i = 0; i < p->nprops; i++) {
        int64_t ms = p->props[i] == WINDOW_PROP_START ? start : p->props[i] == WINDOW_PROP_END ? w->end : w->end - 1;
        int at = p->nkeys + p->naggs + i;
        prop_column(w, &b->cols[at], p->schema->fields[at].type, b->mem, n, ms);
    }
    out_batch(out, b);
    return NULL;
}

/* The first window that holds rows and has not fired, if the clock has reached it. */
static bool next_window(window_agg_t *w, int64_t clock) {
    int64_t slice;
    if (!kstate_first_ns(w->ks, &slice)) return false;
    int64_t end = first_end(w, slice);
    while (fired(w, end) || end <= w->fired_end) end = window_next_end(&w->time.math, end);
    w->end = end;
    return window_trigger(&w->time, end) <= clock;
}

static void add_part(window_agg_t *w, int64_t slice) {
    if (w->nparts == w->cap_parts) {
        w->cap_parts = w->cap_parts ? w->cap_parts * 2 : 16;
        w->parts = xrealloc(w->parts, sizeof *w->parts * (size_t)w->cap_parts);
    }
    w->parts[w->nparts++] = slice;
}

static err_t *merge_part(window_agg_t *w, kstate_scan_t *s) {
    void *values[256];
    for (uint32_t n;;) {
        TRY(kstate_scan(w->ks, s, values, ARRAY_LEN(values), &n));
        if (n == 0) return NULL;
        for (uint32_t i = 0; i < n; i++) {
            bool created, read;
            TRY(pages_need_once(&w->pages, values[i], &read));
            agg_head_t *into = groups_get(w->merged, 0, kstate_hash(w->ks, values[i]), kstate_key(w->ks, values[i]), &created);
            if (created) agg_set_init(w->set, agg_accs(into));
            into->rows += ((agg_head_t *)values[i])->rows;
            TRY(agg_set_merge(w->set, agg_accs(into), agg_accs(values[i])));
            pages_done(&w->pages, values[i], read);
        }
    }
}

static void clear_merged(window_agg_t *w) {
    for (uint32_t i = 0; w->merged && i < groups_count(w->merged); i++) {
        int64_t ns;
        slice_t key;
        agg_set_clear(w->set, agg_accs(groups_at(w->merged, i, &ns, &key)));
    }
    if (w->merged) groups_clear(w->merged);
    w->merged_at = 0;
}

/* At most kg_step key groups: so many find room where all are as large as the average. Few of them may have most of the large sets, so where there are
 * pages these are an eighth of that at a time, until what is merged takes the bound. Not one at a time: each time goes over all slots of the slices. */
static err_t *merge_next(op_t *op) {
    window_agg_t *w = op->self;
    size_t bound = portion_bytes(op->env.state);
    bool large = w->pages.ks && kstate_entries(w->pages.ks) > 0;
    int part = large && bound < SIZE_MAX ? MAX(w->kg_step / 8, 1) : w->kg_step, most = MIN(w->kg_next + w->kg_step, w->kg_hi);
    clear_merged(w);
    do {
        uint32_t before = groups_count(w->merged);
        int lo = w->kg_next;
        w->kg_next = MIN(lo + part, most);
        for (int i = 0; i < w->nparts; i++) {
            kstate_scan_t s = {.ns = w->parts[i], .kg_lo = lo, .kg_hi = w->kg_next};
            err_t *e = merge_part(w, &s);
            kstate_scan_stop(w->ks, &s);
            TRY(e);
        }
        groups_own(w->merged, w->set, AGG_HEAD, before);
        kstate_beside(w->ks, groups_bytes(w->merged));
    } while (w->kg_next < most && groups_bytes(w->merged) <= bound);
    return NULL;
}

/* Key groups whose groups, merged, take a portion (portion_bytes). */
static int merge_step(op_t *op) {
    window_agg_t *w = op->self;
    int all = w->kg_hi - w->kg_next;
    size_t bound = portion_bytes(op->env.state);
    uint64_t entries = 0, live = kstate_entries(w->ks) - kstate_evicted(w->ks);
    if (bound == SIZE_MAX) return all;
    for (int i = 0; i < w->nparts; i++) entries += kstate_ns_entries(w->ks, w->parts[i]);
    uint64_t each = live ? kstate_bytes(w->ks) / live : 2 * (AGG_HEAD + agg_set_size(w->set));
    each = MAX(each, pages_group_bytes(&w->pages)); /* sets may be absent yet */
    uint64_t portions = entries * each / bound + 1;
    return MAX((int)((uint64_t)all / portions), 1);
}

static void begin_window(op_t *op) {
    window_agg_t *w = op->self;
    int64_t start = window_start_of(&w->time.math, w->end), slice;
    bool single = w->time.attached;
    w->firing = true;
    w->nparts = 0;
    if (single) {
        add_part(w, w->end);
    } else {
        for (bool any = kstate_first_ns(w->ks, &slice); any && slice <= w->end; any = kstate_next_ns(w->ks, slice, &slice))
            if (slice > start) add_part(w, slice);
    }
    if (w->nparts == 1) w->walk = (pages_walk_t){.scan = {.ns = w->parts[0]}};
    if (w->nparts < 2) return;
    if (!w->merged) w->merged = groups_new(AGG_HEAD + agg_set_size(w->set), false);
    w->kg_next = key_group_lo(op->env.subtask, op->env.parallelism);
    w->kg_hi = key_group_lo(op->env.subtask + 1, op->env.parallelism);
    w->kg_step = merge_step(op);
}

/* One batch of the window; *ret_done when it was the last. */
static err_t *fire_chunk(op_t *op, out_t *out, bool *ret_done) {
    window_agg_t *w = op->self;
    slice_t keys[PAGES_TURN];
    void *values[PAGES_TURN];
    uint32_t n = 0;
    if (w->nparts >= 2) {
        if (w->merged_at == groups_count(w->merged)) TRY(merge_next(op));
        uint32_t all = groups_count(w->merged);
        size_t bound = pages_bound(&w->pages), held = 0;
        for (; w->merged_at < all && n < ARRAY_LEN(values) && held <= bound; w->merged_at++) {
            int64_t ns;
            agg_head_t *h = groups_at(w->merged, w->merged_at, &ns, &keys[n]);
            if (h->rows <= 0) continue;
            values[n++] = agg_accs(h);
            held += pages_held(&w->pages, agg_accs(h));
        }
        *ret_done = w->merged_at == all && w->kg_next == w->kg_hi;
    } else {
        *ret_done = true;
        if (w->nparts == 1) TRY(pages_turn(&w->pages, &w->walk, values, &n, ret_done));
        for (uint32_t i = 0; i < n; i++) {
            keys[i] = kstate_key(w->ks, values[i]);
            values[i] = agg_accs(values[i]);
        }
    }
    TRY(emit_window(op, keys, values, n, out));
    return pages_emitted(&w->pages, &w->walk) ? kstate_evict(w->ks) : NULL; /* the task cannot: it does not know what is held over OP_MORE */
}

static void finish_window(window_agg_t *w) {
    if (w->nparts >= 2) {
        clear_merged(w);
        kstate_beside(w->ks, 0);
    }
    for (int i = 0; i < w->nparts; i++) {
        if (last_end(w, w->parts[i]) > w->end) continue;
        kstate_drop_ns(w->ks, w->parts[i]);
        if (w->pages.ks) kstate_drop_ns(w->pages.ks, w->parts[i]);
    }
    w->fired_end = w->end;
    w->firing = false;
}

static op_status_t fire_until(op_t *op, int64_t clock, out_t *out, err_t **reterr) {
    window_agg_t *w = op->self;
    while (w->firing || next_window(w, clock)) {
        if (!w->firing) begin_window(op);
        for (bool done = false; !done;) {
            if (out_full(out)) return OP_MORE;
            if ((*reterr = fire_chunk(op, out, &done))) return OP_FAIL;
            if (w->pages.ks && (*reterr = kstate_evict(w->pages.ks))) return OP_FAIL;
        }
        finish_window(w);
    }
    w->progress = MAX(w->progress, clock);
    w->fired_end = WATERMARK_NONE;
    return OP_DONE;
}

static op_status_t window_agg_watermark(op_t *op, int64_t wm_ms, out_t *out, err_t **reterr) {
    window_agg_t *w = op->self;
    if (wm_ms != WATERMARK_END && (op->env.plan->batch || w->time.proctime)) return OP_DONE;
    return fire_until(op, wm_ms, out, reterr);
}

static op_status_t window_agg_tick(op_t *op, int64_t now_ms, out_t *out, err_t **reterr) {
    return ((window_agg_t *)op->self)->time.proctime ? fire_until(op, now_ms, out, reterr) : OP_DONE;
}

static int64_t window_agg_next_tick(op_t *op) {
    window_agg_t *w = op->self;
    int64_t slice;
    if (!w->time.proctime || !kstate_first_ns(w->ks, &slice)) return INT64_MAX;
    int64_t end = first_end(w, slice);
    while (fired(w, end)) end = window_next_end(&w->time.math, end);
    return window_trigger(&w->time, end);
}

static kstate_t *window_agg_state(op_t *op, int i) {
    window_agg_t *w = op->self;
    return i == 0 ? w->ks : i == 1 ? w->pages.ks : NULL;
}

static void window_agg_close(op_t *op) {
    window_agg_t *w = op->self;
    clear_merged(w);
    groups_free(w->merged);
    kstate_scan_stop(NULL, &w->walk.scan);
    keyed_free(&w->keyed);
    pages_close(&w->pages);
    kstate_close(w->ks);
    agg_set_free(w->set);
    keys_free(&w->keys);
    window_time_close(&w->time);
    free(w->slices);
    free(w->sel);
    free(w->accs);
    free(w->parts);
}

const op_vtable_t op_window_agg = {
    .name = "WINDOW_AGG",
    .state_size = sizeof(window_agg_t),
    .open = window_agg_open,
    .restore = window_agg_restore,
    .start = window_agg_start,
    .process = window_agg_process,
    .watermark = window_agg_watermark,
    .tick = window_agg_tick,
    .next_tick_ms = window_agg_next_tick,
    .seal = window_agg_seal,
    .close = window_agg_close,
    .state = window_agg_state,
};
