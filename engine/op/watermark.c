/* watermark.c: event time from rows: the maximum of an expression, kept per split of the source, emitted as the
 * minimum over the splits that are neither idle nor ended.
 *
 * Rules
 *  1. What it emits never decreases, also over a restore: splits come back with their watermark and idleness.
 *  2. A split counts as ended only from the in-band note behind its last rows (the source may know it earlier).
 *  3. A split is idle when for the whole of the time-out it had no rows, the source said "caught up" at every look, and no
 *     batch was on its way (watermark_op_busy). It is active again with its next rows. When all are idle, time
 *     stands still at the latest that any of them has reached: which of them became idle last tells nothing. As in Flink.
 *  4. Not bound to a source (behind a union): one pseudo split, never idle. */
#include "engine/op/op_int.h"
#include "engine/datetime.h"
#include <stdlib.h>

typedef struct wm_split {
    int64_t watermark;
    int64_t quiet_since; /* processing time; -1 not quiet */
    bool idle, ended;
} wm_split_t;

typedef struct watermark {
    expr_prog_t *prog;
    source_t *source; /* NULL: unbound */
    wm_split_t *splits;
    int n;
    int cur;         /* split of the batch at hand */
    int64_t emitted;
    int64_t last_tick; /* processing time of the last look for idleness */
    bool ended;
} watermark_t;

void watermark_op_bind(op_t *op, source_t *s) { ((watermark_t *)op->self)->source = s; }

static void grow(watermark_t *w, int n) {
    if (n <= w->n) return;
    w->splits = xrealloc(w->splits, sizeof *w->splits * (size_t)n);
    for (int i = w->n; i < n; i++) {
        const split_t *s = w->source && i < w->source->splits.n ? &w->source->splits.items[i] : NULL;
        w->splits[i] = (wm_split_t){.watermark = s ? s->watermark : WATERMARK_NONE, .quiet_since = -1, .idle = s && s->idle};
    }
    w->n = n;
}

static void sync_splits(watermark_t *w) { grow(w, w->source ? w->source->splits.n : 1); }

static err_t *watermark_open(op_t *op) {
    watermark_t *w = op->self;
    w->emitted = WATERMARK_NONE;
    w->cur = -1;
    sync_splits(w);
    expr_t *e = (expr_t *)op->env.op->watermark_expr;
    return expr_compile(&e, 1, &w->prog);
}

static void emit(watermark_t *w, out_t *out) {
    int64_t min = WATERMARK_END, latest = WATERMARK_NONE;
    bool any = false, open = false;
    for (int i = 0; i < w->n; i++) {
        if (w->splits[i].ended) continue;
        open = true;
        latest = MAX(latest, w->splits[i].watermark);
        if (w->splits[i].idle) continue;
        any = true;
        min = MIN(min, w->splits[i].watermark);
    }
    if (!open) return;
    w->emitted = MAX(w->emitted, any ? min : latest);
    if (w->emitted != WATERMARK_NONE) out_watermark(out, w->emitted);
    if (!any) out_idle(out);
    /* all ended: the end of input follows as WATERMARK_END */
}

void watermark_op_initial(op_t *op, int64_t wm_ms, out_t *out) {
    watermark_t *w = op->self;
    sync_splits(w);
    w->emitted = MAX(w->emitted, wm_ms);
    if (!w->source) w->splits[0].watermark = MAX(w->splits[0].watermark, wm_ms);
    for (int i = 0; w->source && i < w->n; i++) w->splits[i].ended = w->source->splits.items[i].ended;
    emit(w, out);
}

void watermark_op_split(op_t *op, int split) { ((watermark_t *)op->self)->cur = split; }

void watermark_op_split_end(op_t *op, int split, out_t *out) {
    watermark_t *w = op->self;
    sync_splits(w);
    if (split < 0 || split >= w->n) return;
    w->splits[split].ended = true;
    emit(w, out);
}

void watermark_op_busy(op_t *op, int64_t now_ms) {
    watermark_t *w = op->self;
    w->last_tick = now_ms;
    for (int i = 0; i < w->n; i++)
        if (w->splits[i].quiet_since >= 0) w->splits[i].quiet_since = now_ms;
}

static err_t *batch_maximum(op_t *op, const batch_t *b, int64_t *ret) {
    watermark_t *w = op->self;
    const column_t *time = &b->cols[op->env.op->rowtime_col];
    const char *name = op->env.op->schema->fields[op->env.op->rowtime_col].name;
    for (uint32_t i = 0; time->nulls && i < b->n; i++)
        if (time->nulls[i])
            return err_hint(err_new(ERR_DATA, "the time attribute '%s' is NULL in a row", name),
                            "give such rows a time in the table: t AS COALESCE(%s, TIMESTAMP '1970-01-01 00:00:00'), WATERMARK FOR t AS t - ..", name);
    mem_t *m = mem_new();
    column_t col = {0};
    err_t *e = expr_eval(w->prog, op->env.eval, b, NULL, b->n, m, &col);
    int64_t max = WATERMARK_NONE;
    for (uint32_t i = 0; !e && i < b->n; i++)
        if (!column_null(&col, i)) max = MAX(max, col.i64[i]);
    mem_unref(m);
    *ret = max == WATERMARK_NONE ? max : us_to_ms(max);
    return e;
}

/* Rows leave before the watermark they make: they are not late against themselves. */
static op_status_t watermark_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    watermark_t *w = op->self;
    sync_splits(w);
    int64_t max = WATERMARK_NONE;
    if ((*reterr = batch_maximum(op, b, &max))) return OP_FAIL;
    out_batch(out, batch_share(b));
    wm_split_t *s = &w->splits[w->source && w->cur >= 0 && w->cur < w->n ? w->cur : 0];
    s->watermark = MAX(s->watermark, max);
    s->idle = false;
    s->quiet_since = -1;
    emit(w, out);
    return OP_DONE;
}

static op_status_t watermark_watermark(op_t *op, int64_t wm_ms, out_t *out, err_t **reterr) {
    watermark_t *w = op->self;
    if (wm_ms == WATERMARK_END) { /* others come from upstream only when there is no time here */
        w->ended = true;
        w->emitted = WATERMARK_END;
        out_watermark(out, WATERMARK_END);
    }
    return OP_DONE;
}

static bool may_be_idle(op_t *op, int i) {
    watermark_t *w = op->self;
    source_t *s = w->source;
    return s && s->vt->caught_up && i < s->splits.n && s->vt->caught_up(s, i);
}

static op_status_t watermark_tick(op_t *op, int64_t now_ms, out_t *out, err_t **reterr) {
    watermark_t *w = op->self;
    int64_t timeout = op->env.op->idle_timeout_ms;
    bool changed = false;
    w->last_tick = now_ms;
    for (int i = 0; i < w->n; i++) {
        wm_split_t *s = &w->splits[i];
        if (s->idle || s->ended) continue;
        if (!may_be_idle(op, i)) s->quiet_since = -1;
        else if (s->quiet_since < 0) s->quiet_since = now_ms;
        else if (now_ms - s->quiet_since >= timeout) changed = s->idle = true;
    }
    if (changed) emit(w, out);
    return OP_DONE;
}

/* Four looks in a time-out: one that finds rows to read starts it anew. */
static int64_t watermark_next_tick(op_t *op) {
    watermark_t *w = op->self;
    int64_t timeout = op->env.op->idle_timeout_ms;
    if (timeout <= 0 || !w->source || !w->source->vt->caught_up || w->ended) return INT64_MAX;
    for (int i = 0; i < w->n; i++)
        if (!w->splits[i].idle && !w->splits[i].ended) return w->last_tick + MAX(timeout / 4, (int64_t)1);
    return INT64_MAX;
}

void watermark_op_seal(const op_t *op, split_list_t *l) {
    const watermark_t *w = op->self;
    for (int i = 0; i < l->n && i < w->n; i++) {
        l->items[i].watermark = w->splits[i].watermark;
        l->items[i].idle = w->splits[i].idle;
    }
}

int watermark_op_holder(const op_t *op) {
    const watermark_t *w = op->self;
    int holder = -1;
    for (int i = 0; w->source && i < w->n; i++) {
        if (w->splits[i].idle || w->splits[i].ended) continue;
        if (holder < 0 || w->splits[i].watermark < w->splits[holder].watermark) holder = i;
    }
    return holder;
}

int64_t watermark_op_current(const op_t *op) { return ((const watermark_t *)op->self)->emitted; }

static void watermark_close(op_t *op) {
    watermark_t *w = op->self;
    expr_prog_free(w->prog);
    free(w->splits);
}

const op_vtable_t op_watermark = {
    .name = "WATERMARK",
    .state_size = sizeof(watermark_t),
    .holds_watermark = true,
    .open = watermark_open,
    .process = watermark_process,
    .watermark = watermark_watermark,
    .tick = watermark_tick,
    .next_tick_ms = watermark_next_tick,
    .close = watermark_close,
};
