/* windows_rig.h: the tumbling plan and its plain recomputation, shared by the tests of tasks and windows. */
#pragma once
#include "tests/op/rig.h"

static char key_text[64][8];
static row_t steady(int split, int64_t i) {
    int k = (int)((i * 7 + split * 3) % 10);
    snprintf(key_text[k], sizeof key_text[k], "k%d", k);
    return (row_t){key_text[k], i, 10000 + i * 100, ROW_INSERT};
}

/* source, watermark, [combiner], [exchange], window aggregate (k, COUNT, SUM, start, end), sink */
static plan_t *window_plan(window_spec_t w, int parallelism, bool exchange, bool local) {
    plan_t *p = plan_begin(parallelism);
    plan_stage_t *s = plan_stage(p);
    plan_source(p, s, 1);
    plan_watermark(p, s);
    schema_t *in = s->ops[0]->schema;
    agg_call_t *calls = ARENA_ARRAY(p->arena, agg_call_t, 2);
    calls[0] = plan_call(p, "COUNT", in, -1, false);
    calls[1] = plan_call(p, "SUM", in, 1, false);
    w.attached_start = w.attached_end = -1;
    w.time_col = w.proctime ? -1 : 2;
    if (local) {
        plan_op_t *l = plan_op1(p, s, OP_WINDOW_LOCAL,
                                schema_make(p, 5, "k", T_STR, "end", T_I64, "n", T_I64, "c", T_I64, "s", T_I64));
        l->window = w;
        l->nkeys = 1;
        l->keys = KEY0;
        l->naggs = 2;
        l->aggs = calls;
    }
    if (exchange) s = plan_exchange(p, s, EXCHANGE_HASH, 1, KEY0);
    plan_op_t *a = plan_op1(p, s, OP_WINDOW_AGG, schema_make(p, 5, "k", T_STR, "n", T_I64, "sum", T_I64, "ws", T_TS, "we", T_TS));
    a->window = w;
    a->partial_input = local;
    a->nkeys = 1;
    a->keys = KEY0;
    a->naggs = 2;
    a->aggs = calls;
    window_prop_t *props = ARENA_ARRAY(p->arena, window_prop_t, 2);
    props[0] = WINDOW_PROP_START;
    props[1] = WINDOW_PROP_END;
    a->props = props;
    a->nprops = 2;
    a->fingerprint = 2;
    plan_sink(p, s);
    return p;
}

static plan_t *tumble_plan(int parallelism, bool exchange, bool local) {
    return window_plan((window_spec_t){.kind = WINDOW_TUMBLE, .size_ms = 1000}, parallelism, exchange, local);
}

static void print_ts(buf_t *out, int64_t ms) {
    column_t c = {.type = T_TS};
    int64_t us = ms * 1000;
    c.i64 = &us;
    value_print(out, &c, 0);
}

/* The windows of all rows, recomputed the plain way. */
static char *tumble_expected(row_fn rows, int nsplits, int64_t per_split, int64_t size) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    int64_t lo = INT64_MAX, hi = 0;
    for (int s = 0; s < nsplits; s++)
        for (int64_t i = 0; i < per_split; i++) {
            int64_t ts = rows(s, i).ts_ms;
            lo = MIN(lo, ts / size);
            hi = MAX(hi, ts / size);
        }
    for (int64_t w = lo; w <= hi; w++)
        for (int k = 0; k < 10; k++) {
            int64_t n = 0, sum = 0;
            char name[8];
            snprintf(name, sizeof name, "k%d", k);
            for (int s = 0; s < nsplits; s++)
                for (int64_t i = 0; i < per_split; i++) {
                    row_t r = rows(s, i);
                    if (r.ts_ms / size != w || strcmp(r.k, name)) continue;
                    n++;
                    sum += r.v;
                }
            if (!n) continue;
            buf_printf(&out, "+I %s|%" PRId64 "|%" PRId64 "|", name, n, sum);
            print_ts(&out, w * size);
            buf_puts(&out, "|");
            print_ts(&out, w * size + size);
            buf_puts(&out, "\n");
        }
    return buf_take_cstr(&out);
}

