/* session_agg.c: SESSION windows: rows of a key that lie within the gap of each other are one window
 * [first row, last row + gap), which fires when the watermark reaches its end - 1.
 *
 * State: slot 0 has one entry per key (namespace 0): its open sessions in order of time, each with its accumulators.
 * Slot 1 has one empty entry per (end of a session, key), namespace = end: so the ends that are due are found in order
 * without looking at the keys. A session whose end moves takes its entry along.
 *
 * Rules (as Flink's merging windows)
 *  1. A row makes [ts, ts + gap) and merges with every session it overlaps or touches.
 *  2. It is late, dropped and counted, when the merged window's end - 1 <= progress.
 *  3. Sessions of a key fire in the order of their ends; a fired session leaves the state. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct session {
    int64_t start, end;
    int64_t rows;
    uint8_t accs[]; /* agg_set block */
} session_t;

typedef struct sessions {
    uint8_t *items; /* owned: n of stride bytes, ascending, disjoint */
    uint32_t n, cap;
} sessions_t;

typedef struct session_agg {
    agg_set_t *set;
    uint32_t stride;
    kstate_t *ks;   /* slot 0: namespace 0, key -> sessions */
    kstate_t *ends; /* slot 1: namespace end, key -> nothing */
    keys_t keys;
    window_time_t time;
    int64_t gap, progress;
    /* fired sessions wait here for their batch: the accumulators moved out of the state */
    uint8_t *ready;
    uint32_t nready;
    bool firing;
    int64_t end;
    kstate_scan_t scan;
} session_agg_t;

static session_t *session_at(const session_agg_t *w, const sessions_t *s, uint32_t i) {
    return (session_t *)(void *)(s->items + (size_t)i * w->stride);
}

/* ---------------------------------------------------------------- codec of slot 0 */
static void sessions_init(void *ctx, void *value) { memset(value, 0, sizeof(sessions_t)); }

static void sessions_clear(void *ctx, void *value) {
    session_agg_t *w = ctx;
    sessions_t *s = value;
    for (uint32_t i = 0; i < s->n; i++) agg_set_clear(w->set, session_at(w, s, i)->accs);
    free(s->items);
}

static void sessions_encode(void *ctx, const void *value, buf_t *out) {
    session_agg_t *w = ctx;
    const sessions_t *s = value;
    buf_put_varint(out, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        const session_t *x = session_at(w, s, i);
        buf_put_zigzag(out, x->start);
        buf_put_zigzag(out, x->end);
        buf_put_zigzag(out, x->rows);
        agg_set_encode(w->set, x->accs, out);
    }
}

/* Room for one more at place i, which is made and zeroed. */
static session_t *sessions_insert(session_agg_t *w, sessions_t *s, uint32_t i) {
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 1;
        s->items = xrealloc(s->items, (size_t)s->cap * w->stride);
    }
    session_t *x = session_at(w, s, i);
    memmove((uint8_t *)x + w->stride, x, (size_t)(s->n - i) * w->stride);
    memset(x, 0, w->stride);
    agg_set_init(w->set, x->accs);
    s->n++;
    return x;
}

static bool sessions_decode(void *ctx, slice_t bytes, void *value) {
    session_agg_t *w = ctx;
    sessions_t *s = value;
    reader_t r = reader_of(bytes);
    uint64_t n = read_varint(&r);
    if (r.bad || n > reader_left(&r)) return false;
    for (uint64_t i = 0; i < n; i++) {
        session_t *x = sessions_insert(w, s, s->n);
        x->start = read_zigzag(&r);
        x->end = read_zigzag(&r);
        x->rows = read_zigzag(&r);
        if (!agg_set_decode(w->set, &r, x->accs) || r.bad) return false;
    }
    return reader_left(&r) == 0;
}

static size_t sessions_heap(void *ctx, const void *value) {
    session_agg_t *w = ctx;
    const sessions_t *s = value;
    size_t n = (size_t)s->cap * w->stride;
    for (uint32_t i = 0; i < s->n; i++) n += agg_set_heap(w->set, session_at(w, s, i)->accs);
    return n;
}

static void mark_init(void *ctx, void *value) { memset(value, 0, 8); }
static void mark_encode(void *ctx, const void *value, buf_t *out) {}
static bool mark_decode(void *ctx, slice_t bytes, void *value) { return bytes.len == 0; }

/* ---------------------------------------------------------------- life */
#define FIRE_ROWS 1024

static err_t *session_open(op_t *op) {
    session_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    w->gap = p->window.gap_ms;
    w->progress = WATERMARK_NONE;
    if (op->env.stage->ops[p->inputs[0]]->retracts)
        return err_new(ERR_UNSUPPORTED, "SESSION windows over a stream with updates are not supported");
    w->set = agg_set_new(p->aggs, p->naggs, false);
    w->stride = (uint32_t)(sizeof(session_t) + agg_set_size(w->set) + 7) & ~7u;
    w->ready = xcalloc(FIRE_ROWS, w->stride);
    TRY(window_time_open(&op->env, &w->time));
    int lo = key_group_lo(op->env.subtask, op->env.parallelism), hi = key_group_lo(op->env.subtask + 1, op->env.parallelism);
    kstate_codec_t codec = {sizeof(sessions_t), w, sessions_init, sessions_clear, sessions_encode, sessions_decode, sessions_heap};
    TRY(kstate_open(op->env.state, p->fingerprint, 0, lo, hi, &codec, &w->ks));
    kstate_codec_t marks = {8, NULL, mark_init, mark_init, mark_encode, mark_decode, NULL};
    return kstate_open(op->env.state, p->fingerprint, 1, lo, hi, &marks, &w->ends);
}

static err_t *session_restore(op_t *op, slice_t bytes) {
    session_agg_t *w = op->self;
    reader_t r = reader_of(bytes);
    int64_t progress = read_zigzag(&r);
    if (r.bad) return err_new(ERR_CORRUPT, "the progress of a window is malformed");
    w->progress = MAX(w->progress, progress);
    return NULL;
}

static err_t *session_start(op_t *op) {
    session_agg_t *w = op->self;
    if (!w->time.proctime && !op->env.plan->batch) w->progress = MAX(w->progress, op->env.eval->watermark_ms);
    return NULL;
}

static err_t *session_seal(op_t *op, epoch_t epoch, buf_t *bytes) {
    session_agg_t *w = op->self;
    if (w->progress != WATERMARK_NONE) buf_put_zigzag(bytes, w->progress);
    return NULL;
}

/* ---------------------------------------------------------------- rows */
static err_t *mark_end(session_agg_t *w, uint64_t hash, slice_t key, int64_t end, bool on) {
    void *mark;
    bool created;
    TRY(kstate_get(w->ends, end, hash, key, on, &created, &mark));
    if (mark && on) kstate_dirty(w->ends, mark);
    else if (mark) kstate_delete(w->ends, mark);
    return NULL;
}

/* Session i and the one behind it become one. */
static err_t *merge_next(session_agg_t *w, sessions_t *s, uint32_t i) {
    session_t *a = session_at(w, s, i), *b = session_at(w, s, i + 1);
    a->end = MAX(a->end, b->end);
    a->rows += b->rows;
    err_t *e = agg_set_merge(w->set, a->accs, b->accs);
    agg_set_clear(w->set, b->accs);
    s->n--;
    memmove(b, (uint8_t *)b + w->stride, (size_t)(s->n - i - 1) * w->stride);
    return e;
}

/* The session that takes a row at [start, end), merged as needed; NULL in *ret: the row is late. */
static err_t *session_for(op_t *op, sessions_t *s, uint64_t hash, slice_t key, int64_t start, int64_t end, session_t **ret) {
    session_agg_t *w = op->self;
    uint32_t i = 0;
    while (i < s->n && session_at(w, s, i)->end < start) i++;
    int64_t merged_end = end;
    for (uint32_t k = i; k < s->n && session_at(w, s, k)->start <= end; k++) merged_end = MAX(merged_end, session_at(w, s, k)->end);
    *ret = NULL;
    if (w->progress != WATERMARK_NONE && window_trigger(&w->time, merged_end) <= w->progress) return NULL;
    bool extend = i < s->n && session_at(w, s, i)->start <= end;
    session_t *x = extend ? session_at(w, s, i) : sessions_insert(w, s, i);
    if (!extend) {
        x->start = start;
        x->end = end;
        *ret = x;
        return mark_end(w, hash, key, end, true);
    }
    int64_t old_end = x->end;
    x->start = MIN(x->start, start);
    x->end = MAX(x->end, end);
    while (i + 1 < s->n && session_at(w, s, i + 1)->start <= x->end) {
        TRY(mark_end(w, hash, key, session_at(w, s, i + 1)->end, false));
        TRY(merge_next(w, s, i));
    }
    if (x->end != old_end) {
        TRY(mark_end(w, hash, key, old_end, false));
        TRY(mark_end(w, hash, key, x->end, true));
    } else {
        TRY(mark_end(w, hash, key, x->end, true)); /* a merged neighbour may have ended there too */
    }
    *ret = x;
    return NULL;
}

static op_status_t session_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    session_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    const column_t *c = w->time.proctime ? NULL : &b->cols[w->time.time_col];
    keys_encode(&w->keys, b, p->keys, p->nkeys, NULL, b->n);
    for (uint32_t i = 0; i < b->n; i++) {
        if (c && column_null(c, i)) {
            *reterr = err_hint(err_new(ERR_DATA, "the time attribute of a window is NULL in a row"), "filter such rows before the window");
            return OP_FAIL;
        }
        int64_t ts = zone_to_wall_ms(w->time.zone, c ? us_to_ms(c->i64[i]) : op->env.eval->now_ms);
        slice_t key = keys_at(&w->keys, i);
        void *value;
        bool created;
        session_t *x = NULL;
        if ((*reterr = kstate_get(w->ks, 0, w->keys.hash[i], key, true, &created, &value))) return OP_FAIL;
        kstate_dirty(w->ks, value);
        if ((*reterr = session_for(op, value, w->keys.hash[i], key, ts, ts + w->gap, &x))) return OP_FAIL;
        if (!x) {
            op->late_rows++;
            if (((sessions_t *)value)->n == 0) kstate_delete(w->ks, value);
            continue;
        }
        x->rows++;
        void *accs = x->accs;
        if ((*reterr = agg_set_update(w->set, b, &i, 1, &accs))) return OP_FAIL;
    }
    return OP_DONE;
}

/* ---------------------------------------------------------------- firing: one end at a time, keys in chunks */
static void fill_props(session_agg_t *w, const plan_op_t *p, batch_t *b) {
    for (int i = 0; i < p->nprops; i++) {
        int at = p->nkeys + p->naggs + i;
        const type_t *t = p->schema->fields[at].type;
        column_init(&b->cols[at], t, b->mem, b->n);
        for (uint32_t k = 0; k < b->n; k++) {
            const session_t *x = (const session_t *)(const void *)(w->ready + (size_t)k * w->stride);
            int64_t ms = p->props[i] == WINDOW_PROP_START ? x->start : p->props[i] == WINDOW_PROP_END ? x->end : x->end - 1;
            b->cols[at].i64[k] = (t->kind == TYPE_TIMESTAMP_LTZ ? zone_to_utc_ms(w->time.zone, ms) : ms) * 1000;
        }
    }
}

static err_t *emit_ready(op_t *op, const slice_t *keys, out_t *out) {
    session_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    if (w->nready == 0) return NULL;
    batch_t *b = batch_new(p->schema->n);
    b->n = w->nready;
    void **accs = mem_alloc(b->mem, sizeof *accs * b->n);
    for (uint32_t i = 0; i < b->n; i++) accs[i] = ((session_t *)(void *)(w->ready + (size_t)i * w->stride))->accs;
    err_t *e = keys_decode(keys, b->n, p->schema, p->nkeys, b->mem, b->cols) ? agg_set_emit(w->set, accs, b->n, b->mem, b->cols + p->nkeys)
                                                                       : err_new(ERR_CORRUPT, "a key of the state is malformed");
    if (e) {
        batch_free(b);
        return e;
    }
    for (int i = 0; i < p->naggs; i++) b->cols[p->nkeys + i].type = p->schema->fields[p->nkeys + i].type;
    fill_props(w, p, b);
    out_batch(out, b);
    return NULL;
}

/* Takes the session that ends at w->end out of the key's list into `ready`. */
static err_t *take_session(session_agg_t *w, void *mark) {
    void *value;
    bool created;
    TRY(kstate_get(w->ks, 0, kstate_hash(w->ends, mark), kstate_key(w->ends, mark), false, &created, &value));
    sessions_t *s = value;
    for (uint32_t i = 0; s && i < s->n; i++) {
        session_t *x = session_at(w, s, i);
        if (x->end != w->end) continue;
        memcpy(w->ready + (size_t)w->nready++ * w->stride, x, w->stride);
        s->n--;
        memmove(x, (uint8_t *)x + w->stride, (size_t)(s->n - i) * w->stride);
        kstate_dirty(w->ks, value);
        if (s->n == 0) kstate_delete(w->ks, value);
        return NULL;
    }
    return err_new(ERR_CORRUPT, "a session of the state has no rows");
}

static void clear_ready(session_agg_t *w) {
    for (uint32_t i = 0; i < w->nready; i++) agg_set_clear(w->set, ((session_t *)(void *)(w->ready + (size_t)i * w->stride))->accs);
    w->nready = 0;
}

static op_status_t session_fire(op_t *op, int64_t clock, out_t *out, err_t **reterr) {
    session_agg_t *w = op->self;
    void *marks[FIRE_ROWS];
    slice_t keys[FIRE_ROWS];
    uint32_t n;
    while (w->firing || (kstate_first_ns(w->ends, &w->end) && window_trigger(&w->time, w->end) <= clock)) {
        if (!w->firing) w->scan = (kstate_scan_t){.ns = w->end};
        w->firing = true;
        if (out_full(out)) return OP_MORE;
        if ((*reterr = kstate_scan(w->ends, &w->scan, marks, FIRE_ROWS, &n))) return OP_FAIL;
        for (uint32_t i = 0; i < n; i++) {
            keys[i] = kstate_key(w->ends, marks[i]);
            if ((*reterr = take_session(w, marks[i]))) return OP_FAIL;
        }
        *reterr = emit_ready(op, keys, out);
        clear_ready(w);
        if (*reterr || (*reterr = kstate_evict(w->ks)) || (*reterr = kstate_evict(w->ends))) return OP_FAIL;
        if (n) continue;
        kstate_drop_ns(w->ends, w->end);
        w->firing = false;
    }
    w->progress = MAX(w->progress, clock);
    return OP_DONE;
}

static op_status_t session_watermark(op_t *op, int64_t wm_ms, out_t *out, err_t **reterr) {
    session_agg_t *w = op->self;
    if (wm_ms != WATERMARK_END && (op->env.plan->batch || w->time.proctime)) return OP_DONE;
    return session_fire(op, wm_ms, out, reterr);
}

static op_status_t session_tick(op_t *op, int64_t now_ms, out_t *out, err_t **reterr) {
    return ((session_agg_t *)op->self)->time.proctime ? session_fire(op, now_ms, out, reterr) : OP_DONE;
}

static int64_t session_next_tick(op_t *op) {
    session_agg_t *w = op->self;
    int64_t end;
    if (!w->time.proctime || !kstate_first_ns(w->ends, &end)) return INT64_MAX;
    return window_trigger(&w->time, end);
}

static kstate_t *session_state(op_t *op, int slot) {
    session_agg_t *w = op->self;
    return slot == 0 ? w->ks : slot == 1 ? w->ends : NULL;
}

static void session_close(op_t *op) {
    session_agg_t *w = op->self;
    clear_ready(w);
    kstate_scan_stop(NULL, &w->scan);
    kstate_close(w->ks);
    kstate_close(w->ends);
    agg_set_free(w->set);
    keys_free(&w->keys);
    window_time_close(&w->time);
    free(w->ready);
}

const op_vtable_t op_session_agg = {
    .name = "WINDOW_AGG",
    .state_size = sizeof(session_agg_t),
    .open = session_open,
    .restore = session_restore,
    .start = session_start,
    .process = session_process,
    .watermark = session_watermark,
    .tick = session_tick,
    .next_tick_ms = session_next_tick,
    .seal = session_seal,
    .close = session_close,
    .state = session_state,
};
