/* session_agg.c: SESSION windows: rows of a key that lie within the gap of each other are one window
 * [first row, last row + gap), which fires when the watermark reaches its end - 1.
 *
 * State: slot 0 has one entry per key (namespace 0): its open sessions in order of time, each with its accumulators; one lies in the
 * entry, several in memory of their own.
 * The large sets of a session lie in pages (engine/op/pages.c), by a number that it gets at a seal and that no other open session of its key has.
 * Slot 1 has empty entries, (a time, key) with namespace = time: marks, by which the sessions that are due are found in order without looking
 * at the keys. Every open session has a mark in (start, end]: a little before its end when it is made, and a row that moves its end leaves
 * the mark behind. When the time of a mark has come its session fires, or, where it ends later, gets another; a mark in no session (two
 * have become one) goes. So a row costs no mark but where a session begins, and a session one for each gap that it lasts, and one at its end.
 *
 * Rules (as Flink's merging windows)
 *  1. A row makes [ts, ts + gap) and merges with every session it overlaps or touches.
 *  2. It is late, dropped and counted, when the merged window's end - 1 <= progress.
 *  3. Sessions of a key fire in the order of their ends; a fired session leaves the state. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define FIRE_ROWS 1024 /* a portion */

typedef struct session {
    int64_t start, end;
    int64_t rows;
    uint8_t accs[]; /* agg_set block; where it may have pages a session_pages_t lies behind it */
} session_t;

typedef struct session_pages {
    uint64_t number : 63; /* 0: has none yet */
    uint64_t absent : 1;  /* some set was not read yet */
} session_pages_t;

typedef struct sessions {
    uint8_t *more;  /* owned: `cap` of stride bytes, when one was not enough */
    uint32_t n, cap; /* n: ascending, disjoint */
    uint32_t waits; /* not kept: rows of this flush (session_agg) wait for their update, or .. */
    uint32_t late;  /* .. a late row was met in this batch */
    uint8_t first[]; /* while cap is 0 */
} sessions_t;

typedef struct marks { /* those to be made, at most one for each row of a batch or portion */
    keys_t keys;
    int64_t *at;
    void **made;
    uint32_t n, cap;
} marks_t;

typedef struct session_agg {
    agg_set_t *set;
    uint32_t stride;
    uint32_t pages_at; /* in a session; 0: no call has pages */
    pages_t pages;
    bool owns;       /* accumulators hold memory */
    uint8_t *spare;  /* `more` of no sessions: each begins with the address of the next */
    uint32_t nspare;
    kstate_t *ks;    /* slot 0: namespace 0, key -> sessions */
    kstate_t *marks; /* slot 1: namespace time, key -> nothing */
    keyed_t keyed;
    keys_t keys;
    marks_t todo, due; /* to be made; whose time has come, with the sessions of their keys in `made`, .. */
    uint32_t due_at;   /* .. those before it are done */
    window_time_t time;
    int64_t gap, progress;
    int64_t grain; /* of marks: a power of two, at most an eighth of the gap */
    /* rows of the batch at hand; of those that wait for their update: rows, accumulators */
    void **values, **accs;
    uint32_t *sel;
    uint32_t waiting, cap;
    uint32_t flush, batch; /* numbers, never 0 */
    /* fired sessions wait here for their batch: the accumulators moved out of the state */
    uint8_t *ready;
    slice_t ready_keys[FIRE_ROWS];
    uint32_t nready;
    size_t held; /* by ready ones outside of `ready` */
    bool firing;
    int64_t end;
    kstate_scan_t scan;
} session_agg_t;

static session_t *session_at(const session_agg_t *w, const sessions_t *s, uint32_t i) {
    return (session_t *)(void *)((uint8_t *)(uintptr_t)(s->cap ? s->more : s->first) + (size_t)i * w->stride);
}

/* ---------------------------------------------------------------- pages of a session */
static session_pages_t *pages_of(const session_agg_t *w, const session_t *x) { return (session_pages_t *)(void *)((uint8_t *)(uintptr_t)x + w->pages_at); }

static bool is_absent(const session_agg_t *w, const session_t *x) { return w->pages_at && pages_of(w, x)->absent; }

static err_t *read_in(session_agg_t *w, sessions_t *s, session_t *x) {
    pages_of(w, x)->absent = 0;
    return pages_part_in(&w->pages, s, pages_of(w, x)->number, x->accs);
}

/* A session that is updated or merged must be there, and one whose result is its pages when it fires. */
static err_t *need(session_agg_t *w, sessions_t *s, session_t *x) {
    if (!is_absent(w, x)) return NULL;
    TRY(read_in(w, s, x));
    kstate_grown(w->ks, s);
    return NULL;
}

static err_t *drop_pages(session_agg_t *w, const sessions_t *s, const session_t *x) {
    return w->pages_at ? pages_part_drop(&w->pages, s, pages_of(w, x)->number, x->accs) : NULL;
}

static err_t *seal_key(void *arg, void *value) {
    session_agg_t *w = arg;
    sessions_t *s = value;
    uint64_t last = 0;
    for (uint32_t i = 0; i < s->n; i++) last = MAX(last, (uint64_t)pages_of(w, session_at(w, s, i))->number);
    for (uint32_t i = 0; i < s->n; i++) {
        session_t *x = session_at(w, s, i);
        if (!pages_of(w, x)->number) pages_of(w, x)->number = ++last;
        TRY(pages_part_out(&w->pages, s, pages_of(w, x)->number, x->accs));
    }
    return NULL;
}

/* ---------------------------------------------------------------- codec of slot 0 */
static void sessions_init(void *ctx, void *value) { memset(value, 0, sizeof(sessions_t)); }

/* Where rows come before the watermark has fired what was before them a key has two sessions for a while: that memory goes from one to the next. */
#define MORE_FIRST 4u
#define SPARE_MAX 1024u

static uint8_t *more_new(session_agg_t *w) {
    uint8_t *p = w->spare;
    if (!p) return xmalloc((size_t)MORE_FIRST * w->stride);
    memcpy(&w->spare, p, sizeof w->spare);
    w->nspare--;
    return p;
}

static void more_free(session_agg_t *w, uint8_t *p, uint32_t cap) {
    if (cap != MORE_FIRST || w->nspare == SPARE_MAX) {
        free(p);
        return;
    }
    memcpy(p, &w->spare, sizeof w->spare);
    w->spare = p;
    w->nspare++;
}

static void sessions_clear(void *ctx, void *value) {
    session_agg_t *w = ctx;
    sessions_t *s = value;
    for (uint32_t i = 0; w->owns && i < s->n; i++) agg_set_clear(w->set, session_at(w, s, i)->accs);
    more_free(w, s->more, s->cap);
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
        if (agg_set_paged(w->set, x->accs)) buf_put_varint(out, pages_of(w, x)->number);
    }
}

/* Room for one more at place i, which is made and zeroed. */
static session_t *sessions_insert(session_agg_t *w, sessions_t *s, uint32_t i) {
    if (s->n == (s->cap ? s->cap : 1)) {
        if (s->cap) s->more = xrealloc(s->more, (size_t)s->cap * 2 * w->stride);
        else memcpy(s->more = more_new(w), s->first, w->stride);
        s->cap = s->cap ? s->cap * 2 : MORE_FIRST;
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
        if (!agg_set_absent(w->set, x->accs)) continue; /* large, but written whole: by a build that had no pages */
        uint64_t number = read_varint(&r);
        if (r.bad || number == 0 || number >> 63) return false;
        *pages_of(w, x) = (session_pages_t){number, true};
    }
    return reader_left(&r) == 0;
}

static size_t sessions_heap(void *ctx, const void *value) {
    session_agg_t *w = ctx;
    const sessions_t *s = value;
    size_t n = (size_t)s->cap * w->stride;
    for (uint32_t i = 0; w->owns && i < s->n; i++) n += agg_set_heap(w->set, session_at(w, s, i)->accs);
    return n;
}

static size_t sessions_writes(void *ctx, void *value, size_t *ret_more) {
    session_agg_t *w = ctx;
    sessions_t *s = value;
    size_t n = (size_t)s->cap * w->stride;
    *ret_more = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        size_t more;
        n += agg_set_writes(w->set, session_at(w, s, i)->accs, &more);
        *ret_more += more;
    }
    return n;
}

static void mark_init(void *ctx, void *value) { memset(value, 0, 8); }
static void mark_encode(void *ctx, const void *value, buf_t *out) {}
static bool mark_decode(void *ctx, slice_t bytes, void *value) { return bytes.len == 0; }

/* ---------------------------------------------------------------- life */
static err_t *session_open(op_t *op) {
    session_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    w->gap = p->window.gap_ms;
    for (w->grain = 1; w->grain <= w->gap / 16;) w->grain *= 2;
    w->progress = WATERMARK_NONE;
    if (op->env.stage->ops[p->inputs[0]]->retracts)
        return err_new(ERR_UNSUPPORTED, "SESSION windows over a stream with updates are not supported");
    w->set = agg_set_new(p->aggs, p->naggs, false);
    pages_keep(&w->pages, w->set);
    w->stride = (uint32_t)(sizeof(session_t) + agg_set_size(w->set) + 7) & ~7u;
    if (agg_set_pageable(w->set)) {
        w->pages_at = w->stride;
        w->stride += (uint32_t)sizeof(session_pages_t);
    }
    w->owns = agg_set_owns(w->set);
    w->ready = xcalloc(FIRE_ROWS, w->stride);
    TRY(window_time_open(&op->env, &w->time));
    int lo = key_group_lo(op->env.subtask, op->env.parallelism), hi = key_group_lo(op->env.subtask + 1, op->env.parallelism);
    kstate_codec_t codec = {sizeof(sessions_t) + w->stride, w, sessions_init, sessions_clear, sessions_encode, sessions_decode, sessions_heap,
                            w->pages_at ? sessions_writes : NULL};
    TRY(kstate_open(op->env.state, p->fingerprint, 0, lo, hi, &codec, &w->ks));
    keyed_init(&w->keyed, w->ks);
    kstate_codec_t marks = {8, NULL, mark_init, NULL, mark_encode, mark_decode, NULL, NULL};
    TRY(kstate_open(op->env.state, p->fingerprint, 1, lo, hi, &marks, &w->marks));
    return pages_open(&w->pages, &op->env, w->ks);
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
    return w->pages_at ? kstate_each_dirty(w->ks, seal_key, w) : NULL;
}

/* ---------------------------------------------------------------- marks */
static void marks_begin(marks_t *m, uint32_t most) {
    m->n = 0;
    m->keys.bytes.max = UINT32_MAX;
    buf_clear(&m->keys.bytes);
    if (m->cap >= most) return;
    m->cap = most;
    m->keys.off = xrealloc(m->keys.off, sizeof *m->keys.off * (most + 1));
    m->keys.hash = xrealloc(m->keys.hash, sizeof *m->keys.hash * most);
    m->at = xrealloc(m->at, sizeof *m->at * most);
    m->made = xrealloc(m->made, sizeof *m->made * most);
}

static void marks_free(marks_t *m) {
    keys_free(&m->keys);
    free(m->at);
    free(m->made);
}

static void marks_add(marks_t *m, int64_t at, uint64_t hash, slice_t key) {
    m->keys.off[m->n] = (uint32_t)m->keys.bytes.len;
    m->keys.hash[m->n] = hash;
    m->at[m->n++] = at;
    buf_put(&m->keys.bytes, key.p, key.len);
    m->keys.off[m->n] = (uint32_t)m->keys.bytes.len;
}

/* A mark for a session that ends there, and perhaps later: some time before, which others share, for that is a namespace; its very end when that time has
 * come. */
static int64_t mark_of(const session_agg_t *w, int64_t end, int64_t clock) {
    int64_t early = end & -w->grain;
    return clock == WATERMARK_NONE || window_trigger(&w->time, early) > clock ? early : end;
}

static err_t *marks_make(session_agg_t *w) {
    const marks_t *m = &w->todo;
    if (kstate_evicted(w->marks)) {
        kstate_keys_t all = {.n = m->n, .hash = m->keys.hash, .bytes = m->keys.bytes.data, .off = m->keys.off, .ns = m->at};
        return kstate_get_many(w->marks, &all, m->made);
    }
    for (uint32_t i = 0; i < m->n; i++) /* of many small tables: there is nothing to ask ahead for */
        TRY(kstate_get(w->marks, m->at[i], m->keys.hash[i], keys_at(&m->keys, i), true, NULL, &m->made[i]));
    return NULL;
}

/* ---------------------------------------------------------------- rows */
static void room(session_agg_t *w, uint32_t n) {
    if (w->cap >= n) return;
    w->cap = n;
    w->values = xrealloc(w->values, sizeof *w->values * n);
    w->accs = xrealloc(w->accs, sizeof *w->accs * n);
    w->sel = xrealloc(w->sel, sizeof *w->sel * n);
}

/* Rows that wait go into their accumulators. */
static err_t *update(session_agg_t *w, const batch_t *b) {
    uint32_t n = w->waiting;
    w->waiting = 0;
    if (++w->flush == 0) w->flush = 1;
    return n ? agg_set_update(w->set, b, n == b->n ? NULL : w->sel, n, w->accs) : NULL;
}

/* Session i and the one behind it become one. */
static err_t *merge_next(session_agg_t *w, sessions_t *s, uint32_t i) {
    session_t *a = session_at(w, s, i), *b = session_at(w, s, i + 1);
    TRY(drop_pages(w, s, b));
    a->end = MAX(a->end, b->end);
    a->rows += b->rows;
    err_t *e = agg_set_merge(w->set, a->accs, b->accs);
    agg_set_clear(w->set, b->accs);
    s->n--;
    memmove(b, (uint8_t *)b + w->stride, (size_t)(s->n - i - 1) * w->stride);
    return e;
}

/* The session that takes row `row` at [start, end), merged as needed; NULL in *ret: the row is late. */
static err_t *session_for(session_agg_t *w, const batch_t *b, uint32_t row, int64_t start, int64_t end, session_t **ret) {
    sessions_t *s = w->values[row];
    uint32_t i = s->n, behind;
    while (i > 0 && session_at(w, s, i - 1)->end >= start) i--;
    for (behind = i; behind < s->n && session_at(w, s, behind)->start <= end;) behind++;
    int64_t merged_end = behind > i ? MAX(end, session_at(w, s, behind - 1)->end) : end;
    *ret = NULL;
    if (w->progress != WATERMARK_NONE && window_trigger(&w->time, merged_end) <= w->progress) return NULL;
    if (behind != i + 1 && s->waits == w->flush) TRY(update(w, b)); /* what follows moves accumulators */
    for (uint32_t k = i; k < behind; k++) TRY(need(w, s, session_at(w, s, k)));
    session_t *x = behind > i ? session_at(w, s, i) : sessions_insert(w, s, i);
    if (behind == i) {
        x->start = start;
        x->end = end;
        marks_add(&w->todo, mark_of(w, end, w->progress), w->keys.hash[row], keys_at(&w->keys, row));
    }
    x->start = MIN(x->start, start);
    x->end = MAX(x->end, end);
    for (; behind > i + 1; behind--) TRY(merge_next(w, s, i));
    *ret = x;
    return NULL;
}

/* Keys of which nothing but late rows was seen leave no trace. */
static void drop_empty(session_agg_t *w, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        sessions_t *s = w->values[i];
        if (s->n == 0 && s->late == w->batch) kstate_delete(w->ks, s); /* which is zero from now on: once */
    }
}

static op_status_t session_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    session_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    const column_t *c = w->time.proctime ? NULL : &b->cols[w->time.time_col];
    uint64_t late = op->late_rows;
    room(w, b->n);
    marks_begin(&w->todo, b->n);
    keys_encode(&w->keys, b, p->keys, p->nkeys, NULL, b->n);
    if ((*reterr = keyed_find(&w->keyed, &w->keys, NULL, NULL, b->n, w->values))) return OP_FAIL;
    if (++w->batch == 0) w->batch = 1;
    if (!w->flush) w->flush = 1;
    for (uint32_t i = 0; i < b->n; i++) {
        if (c && column_null(c, i)) {
            *reterr = err_hint(err_new(ERR_DATA, "the time attribute of a window is NULL in a row"), "filter such rows before the window");
            return OP_FAIL;
        }
        int64_t ts = zone_to_wall_ms(w->time.zone, c ? us_to_ms(c->i64[i]) : op->env.eval->now_ms);
        session_t *x;
        if ((*reterr = session_for(w, b, i, ts, ts + w->gap, &x))) return OP_FAIL;
        sessions_t *s = w->values[i];
        if (!x) {
            op->late_rows++;
            s->late = w->batch;
            continue;
        }
        x->rows++;
        s->waits = w->flush;
        w->sel[w->waiting] = i;
        w->accs[w->waiting++] = x->accs;
    }
    if ((*reterr = update(w, b))) return OP_FAIL;
    if (op->late_rows != late) drop_empty(w, b->n);
    return (*reterr = marks_make(w)) ? OP_FAIL : OP_DONE;
}

/* ---------------------------------------------------------------- firing: marks whose time has come, in portions */
static session_t *ready_at(const session_agg_t *w, uint32_t i) { return (session_t *)(void *)(w->ready + (size_t)i * w->stride); }

static void fill_props(session_agg_t *w, const plan_op_t *p, batch_t *b) {
    for (int i = 0; i < p->nprops; i++) {
        int at = p->nkeys + p->naggs + i;
        const type_t *t = p->schema->fields[at].type;
        column_init(&b->cols[at], t, b->mem, b->n);
        for (uint32_t k = 0; k < b->n; k++) {
            const session_t *x = ready_at(w, k);
            int64_t ms = p->props[i] == WINDOW_PROP_START ? x->start : p->props[i] == WINDOW_PROP_END ? x->end : x->end - 1;
            b->cols[at].i64[k] = (t->kind == TYPE_TIMESTAMP_LTZ ? zone_to_utc_ms(w->time.zone, ms) : ms) * 1000;
        }
    }
}

static err_t *emit_ready(op_t *op, out_t *out) {
    session_agg_t *w = op->self;
    const plan_op_t *p = op->env.op;
    if (w->nready == 0) return NULL;
    batch_t *b = batch_new(p->schema->n);
    b->n = w->nready;
    void **accs = mem_alloc(b->mem, sizeof *accs * b->n);
    for (uint32_t i = 0; i < b->n; i++) accs[i] = ready_at(w, i)->accs;
    err_t *e = keys_decode(w->ready_keys, b->n, p->schema, p->nkeys, b->mem, b->cols) ? agg_set_emit(w->set, accs, b->n, b->mem, b->cols + p->nkeys)
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

static void clear_ready(session_agg_t *w) {
    for (uint32_t i = 0; i < w->nready; i++) agg_set_clear(w->set, ready_at(w, i)->accs);
    w->nready = 0;
    w->held = 0;
}

/* Marks up to the clock, in order, at most FIRE_ROWS: their times and keys into `due`; they leave the state. */
static err_t *take_marks(session_agg_t *w, int64_t clock) {
    marks_t *due = &w->due;
    void *marks[FIRE_ROWS];
    marks_begin(due, FIRE_ROWS);
    w->due_at = 0;
    while (due->n < FIRE_ROWS && (w->firing || (kstate_first_ns(w->marks, &w->end) && window_trigger(&w->time, w->end) <= clock))) {
        if (!w->firing) w->scan = (kstate_scan_t){.ns = w->end};
        w->firing = true;
        uint32_t n;
        TRY(kstate_scan(w->marks, &w->scan, marks, FIRE_ROWS - due->n, &n));
        for (uint32_t i = 0; i < n; i++) marks_add(due, w->end, kstate_hash(w->marks, marks[i]), kstate_key(w->marks, marks[i]));
        if (n) continue;
        kstate_drop_ns(w->marks, w->end);
        w->firing = false;
    }
    return NULL;
}

/* What the last of `ready` owns is the key's no more. */
static void hand_over(session_agg_t *w, sessions_t *s) {
    kstate_grown(w->ks, s);
    w->held += agg_set_heap(w->set, ready_at(w, w->nready - 1)->accs);
    kstate_beside(w->ks, w->held);
}

/* The session that mark i lies in goes to `ready` if it is due, else it gets a mark at its end. */
static err_t *take_session(session_agg_t *w, uint32_t i, int64_t clock) {
    sessions_t *s = w->due.made[i];
    int64_t at = w->due.at[i];
    for (uint32_t k = 0; s && k < s->n && session_at(w, s, k)->start < at; k++) {
        session_t *x = session_at(w, s, k);
        if (x->end < at) continue;
        if (window_trigger(&w->time, x->end) > clock) {
            marks_add(&w->todo, mark_of(w, x->end, clock), w->due.keys.hash[i], keys_at(&w->due.keys, i));
            return NULL;
        }
        if (w->pages.emits && is_absent(w, x)) TRY(read_in(w, s, x));
        TRY(drop_pages(w, s, x));
        w->ready_keys[w->nready] = keys_at(&w->due.keys, i);
        memcpy(ready_at(w, w->nready++), x, w->stride);
        s->n--;
        memmove(x, (uint8_t *)x + w->stride, (size_t)(s->n - k) * w->stride);
        kstate_dirty(w->ks, s);
        if (w->owns) hand_over(w, s);
        return NULL;
    }
    return NULL;
}

/* A key may have several marks among them: that it has no sessions left is certain at its end only. */
static void drop_fired(session_agg_t *w) {
    for (uint32_t i = 0; i < w->due.n; i++) {
        sessions_t *s = w->due.made[i];
        if (s && s->n == 0 && s->late != w->batch) {
            kstate_delete(w->ks, s);
            s->late = w->batch; /* until it is made anew */
        }
    }
}

/* Of those that are due as many as find room by what they hold; the rest waits, also over OP_MORE: until it is done no key may leave memory. */
static err_t *fire_portion(op_t *op, int64_t clock, out_t *out) {
    session_agg_t *w = op->self;
    kstate_keys_t all = {.n = w->due.n, .hash = w->due.keys.hash, .bytes = w->due.keys.bytes.data, .off = w->due.keys.off, .later = true, .there = true};
    if (w->due_at == 0) TRY(kstate_get_many(w->ks, &all, w->due.made));
    marks_begin(&w->todo, w->due.n);
    for (size_t bound = pages_bound(&w->pages); w->due_at < w->due.n && w->held <= bound;) TRY(take_session(w, w->due_at++, clock));
    bool end = w->due_at == w->due.n;
    if (end) {
        if (++w->batch == 0) w->batch = 1;
        drop_fired(w);
    }
    err_t *e = emit_ready(op, out);
    clear_ready(w);
    if (w->owns) kstate_beside(w->ks, 0);
    if (!e) e = marks_make(w);
    if (!e && end) e = kstate_evict(w->ks);
    if (!e && w->pages.ks) e = kstate_evict(w->pages.ks);
    return e ? e : kstate_evict(w->marks);
}

static op_status_t session_fire(op_t *op, int64_t clock, out_t *out, err_t **reterr) {
    session_agg_t *w = op->self;
    for (;;) {
        if (out_full(out)) return OP_MORE;
        if (w->due_at == w->due.n && (*reterr = take_marks(w, clock))) return OP_FAIL;
        if (w->due.n == 0) break;
        if ((*reterr = fire_portion(op, clock, out))) return OP_FAIL;
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
    if (!w->time.proctime || !kstate_first_ns(w->marks, &end)) return INT64_MAX;
    return window_trigger(&w->time, end);
}

static kstate_t *session_state(op_t *op, int slot) {
    session_agg_t *w = op->self;
    return slot == 0 ? w->ks : slot == 1 ? w->marks : slot == 2 ? w->pages.ks : NULL;
}

static void session_close(op_t *op) {
    session_agg_t *w = op->self;
    clear_ready(w);
    kstate_scan_stop(NULL, &w->scan);
    pages_close(&w->pages);
    kstate_close(w->ks);
    kstate_close(w->marks);
    while (w->spare) {
        uint8_t *p = w->spare;
        memcpy(&w->spare, p, sizeof w->spare);
        free(p);
    }
    keyed_free(&w->keyed);
    agg_set_free(w->set);
    keys_free(&w->keys);
    marks_free(&w->todo);
    marks_free(&w->due);
    window_time_close(&w->time);
    free(w->values);
    free(w->accs);
    free(w->sel);
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
