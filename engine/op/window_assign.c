/* window_assign.c: a window TVF without aggregation: every row once per window it lies in, with window_start,
 * window_end and window_time appended. It drops nothing: lateness is decided where windows are aggregated or joined. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define WINDOWS_MAX 4096 /* of one row */

typedef struct window_assign_op {
    window_time_t time;
    int64_t *starts, *ends; /* of one row */
    uint32_t max;
    uint32_t row, part; /* where the batch at hand was left */
} window_assign_op_t;

static err_t *window_assign_open(op_t *op) {
    window_assign_op_t *w = op->self;
    const window_spec_t *s = &op->env.op->window;
    if (s->kind == WINDOW_SESSION)
        return err_hint(err_new(ERR_UNSUPPORTED, "SESSION windows without an aggregation are not supported"),
                        "group by window_start, window_end and the partition keys");
    TRY(window_time_open(&op->env, &w->time));
    int64_t max = s->kind == WINDOW_TUMBLE ? 1 : (s->size_ms + s->slide_ms - 1) / s->slide_ms;
    if (max > WINDOWS_MAX)
        return err_hint(err_new(ERR_LIMIT, "a row would lie in %" PRId64 " windows, at most %d are supported", max, WINDOWS_MAX),
                        "make the slide larger or the size smaller");
    w->max = (uint32_t)max;
    w->starts = xcalloc(w->max, sizeof *w->starts);
    w->ends = xcalloc(w->max, sizeof *w->ends);
    return NULL;
}

typedef struct assigned {
    uint32_t *sel;
    int64_t *starts, *ends;
    uint32_t n;
} assigned_t;

/* Fills at most one output batch from the rows left; moves w->row and w->part on. */
static err_t *assign_rows(op_t *op, const batch_t *b, assigned_t *a, uint32_t room) {
    window_assign_op_t *w = op->self;
    const column_t *c = w->time.proctime ? NULL : &b->cols[w->time.time_col];
    for (; w->row < b->n; w->row++, w->part = 0) {
        if (c && column_null(c, w->row))
            return err_hint(err_new(ERR_DATA, "the time attribute of a window is NULL in a row"), "filter such rows before the window");
        int64_t ms = c ? us_to_ms(c->i64[w->row]) : op->env.eval->now_ms;
        uint32_t n = window_assign(&w->time.math, zone_to_wall_ms(w->time.zone, ms), w->starts, w->ends, w->max);
        for (; w->part < n; w->part++) {
            if (a->n == room) return NULL;
            a->sel[a->n] = w->row;
            a->starts[a->n] = w->starts[w->part];
            a->ends[a->n++] = w->ends[w->part];
        }
    }
    return NULL;
}

static void time_column(const window_assign_op_t *w, batch_t *b, int col, const type_t *t, const int64_t *ms, int64_t minus) {
    column_init(&b->cols[col], t, b->mem, b->n);
    for (uint32_t i = 0; i < b->n; i++) {
        int64_t v = ms[i] - minus;
        b->cols[col].i64[i] = (t->kind == TYPE_TIMESTAMP_LTZ ? zone_to_utc_ms(w->time.zone, v) : v) * 1000;
    }
}

static op_status_t window_assign_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    window_assign_op_t *w = op->self;
    const schema_t *s = op->env.op->schema;
    int base = s->n - 3;
    while (w->row < b->n) {
        if (out_full(out)) return OP_MORE;
        uint32_t room = (uint32_t)MIN((uint64_t)(b->n - w->row) * w->max, (uint64_t)BATCH_ROWS_MAX);
        batch_t *made = batch_new(s->n);
        assigned_t a = {mem_alloc(made->mem, sizeof(uint32_t) * room), mem_alloc(made->mem, sizeof(int64_t) * room),
                        mem_alloc(made->mem, sizeof(int64_t) * room), 0};
        if ((*reterr = assign_rows(op, b, &a, room))) {
            batch_free(made);
            return OP_FAIL;
        }
        made->n = a.n;
        mem_link(made->mem, b->mem);
        for (int i = 0; i < base; i++) column_gather(&made->cols[i], &b->cols[i], a.sel, a.n, made->mem);
        time_column(w, made, base, s->fields[base].type, a.starts, 0);
        time_column(w, made, base + 1, s->fields[base + 1].type, a.ends, 0);
        time_column(w, made, base + 2, s->fields[base + 2].type, a.ends, 1);
        if (b->kinds) {
            made->kinds = mem_alloc(made->mem, a.n);
            for (uint32_t i = 0; i < a.n; i++) made->kinds[i] = b->kinds[a.sel[i]];
        }
        out_batch(out, made);
    }
    w->row = w->part = 0;
    return OP_DONE;
}

static void window_assign_close(op_t *op) {
    window_assign_op_t *w = op->self;
    window_time_close(&w->time);
    free(w->starts);
    free(w->ends);
}

const op_vtable_t op_window_assign = {
    .name = "WINDOW_ASSIGN",
    .state_size = sizeof(window_assign_op_t),
    .open = window_assign_open,
    .process = window_assign_process,
    .close = window_assign_close,
};
