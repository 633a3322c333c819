#include "tests/op/windows_rig.h"

/* ---------------------------------------------------------------- plain recomputation: windows of every row, one by one */
typedef struct cell {
    char k[8];
    int64_t start, end, n, sum;
} cell_t;

static void add_cell(cell_t *cells, int *n, const char *k, int64_t start, int64_t end, int64_t v) {
    for (int i = 0; i < *n; i++) {
        if (strcmp(cells[i].k, k) || cells[i].start != start || cells[i].end != end) continue;
        cells[i].n++;
        cells[i].sum += v;
        return;
    }
    ck_assert_int_lt(*n, 20000);
    cells[*n] = (cell_t){"", start, end, 1, v};
    strcpy(cells[(*n)++].k, k);
}

static char *expected(window_spec_t w, row_fn rows, int nsplits, int64_t per_split) {
    cell_t *cells = calloc(20000, sizeof *cells);
    int n = 0;
    for (int s = 0; s < nsplits; s++)
        for (int64_t i = 0; i < per_split; i++) {
            row_t r = rows(s, i);
            /* all starts from -size..: brute force over multiples of the slide */
            int64_t slide = w.kind == WINDOW_HOP ? w.slide_ms : w.size_ms;
            for (int64_t start = w.offset_ms - 60 * slide; start <= r.ts_ms; start += slide) {
                if (r.ts_ms >= start + w.size_ms) continue;
                if (w.kind != WINDOW_CUMULATE) {
                    add_cell(cells, &n, r.k, start, start + w.size_ms, r.v);
                    continue;
                }
                for (int64_t end = start + w.slide_ms; end <= start + w.size_ms; end += w.slide_ms)
                    if (r.ts_ms < end) add_cell(cells, &n, r.k, start, end, r.v);
            }
        }
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < n; i++) {
        buf_printf(&out, "+I %s|%" PRId64 "|%" PRId64 "|", cells[i].k, cells[i].n, cells[i].sum);
        print_ts(&out, cells[i].start);
        buf_puts(&out, "|");
        print_ts(&out, cells[i].end);
        buf_puts(&out, "\n");
    }
    free(cells);
    return buf_take_cstr(&out);
}

/* Gaps of silence, so that windows without rows of a key lie between others. */
static row_t bursts(int split, int64_t i) {
    int k = (int)((i * 5 + i / 7) % 4);
    snprintf(key_text[k], sizeof key_text[k], "k%d", k);
    return (row_t){key_text[k], i, i * 130 + i / 25 * 7000, ROW_INSERT};
}

static const window_spec_t specs[] = {
    {.kind = WINDOW_TUMBLE, .size_ms = 1000},
    {.kind = WINDOW_TUMBLE, .size_ms = 3000, .offset_ms = 700},
    {.kind = WINDOW_HOP, .size_ms = 3000, .slide_ms = 1000},
    {.kind = WINDOW_HOP, .size_ms = 2500, .slide_ms = 1000, .offset_ms = 300}, /* slices of gcd 500 */
    {.kind = WINDOW_HOP, .size_ms = 1000, .slide_ms = 1500},                   /* rows between windows belong to none */
    {.kind = WINDOW_CUMULATE, .size_ms = 6000, .slide_ms = 2000},
    {.kind = WINDOW_CUMULATE, .size_ms = 4000, .slide_ms = 1000, .offset_ms = -400},
};

START_TEST(every_kind_of_window_equals_recomputation) {
    for (size_t k = 0; k < ARRAY_LEN(specs); k++) {
        char *want = expected(specs[k], bursts, 2, 150);
        for (int local = 0; local < 2; local++) {
            rig_t *r = rig_new(window_plan(specs[k], 2, true, local), bursts, 2, 150);
            rng_seed(&r->rng, k * 2 + (uint64_t)local + 1);
            rig_build(r);
            rig_finish(r, 9);
            assert_same_lines(rig_output(r), want);
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

/* Slices that are in the base only are read for the window that fires, a few key groups at a time where slices are merged. */
START_TEST(every_kind_of_window_fires_from_state_larger_than_memory) {
    static const size_t memory[] = {1, 3000, 12000};
    for (size_t k = 0; k < ARRAY_LEN(specs); k++) {
        char *want = expected(specs[k], bursts, 2, 150);
        for (size_t m = 0; m < ARRAY_LEN(memory); m++) {
            rig_t *r = rig_new(window_plan(specs[k], 2, true, k % 2), bursts, 2, 150);
            r->memory = memory[m];
            r->channel_bytes = 1;
            r->poll_rows = 7;
            rng_seed(&r->rng, k * 3 + m + 1);
            rig_build(r);
            rig_finish(r, 4);
            assert_same_lines(rig_output(r), want);
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

START_TEST(windows_survive_kills) {
    for (size_t k = 0; k < ARRAY_LEN(specs); k++) {
        char *want = expected(specs[k], bursts, 2, 150);
        rig_t *r = rig_new(window_plan(specs[k], 2, true, k % 2), bursts, 2, 150);
        r->channel_bytes = 1;
        r->sink_refuses = 2;
        r->poll_rows = 7;
        rig_lives(r, 5, 60, 5);
        rig_build(r);
        rig_finish(r, 5);
        assert_same_lines(rig_output(r), want);
        rig_free(r);
        free(want);
    }
}
END_TEST

/* [0,1000) fires at watermark 999, exactly: a row of 999 - 1 that comes with the watermark at 998 counts, at 999 it is late. */
static int64_t late_watermark;
static row_t late_row(int split, int64_t i) {
    static const int64_t ts[] = {10, 0, 500, 5000};
    return (row_t){"k0", 1, i == 1 ? late_watermark : ts[i], ROW_INSERT};
}

START_TEST(the_late_rule_is_exact) {
    for (int64_t wm = 998; wm <= 999; wm++) {
        late_watermark = wm;
        rig_t *r = rig_new(tumble_plan(1, false, false), late_row, 1, 4);
        r->poll_rows = 1;
        rig_build(r);
        rig_run(r, 1000, 0);
        task_stats_t st;
        task_stats(r->tasks[0], &st);
        ck_assert_uint_eq(st.late_rows, wm == 999);
        rig_finish(r, 0);
        ck_assert_ptr_nonnull(strstr(rig_output(r), wm == 999 ? "+I k0|2|2|1970-01-01 00:00:00.000" : "+I k0|3|3|1970-01-01 00:00:00.000"));
        rig_free(r);
    }
}
END_TEST

/* A row whose slice was in a fired window still counts in the windows that have not fired (HOP 3 s by 1 s). */
static row_t half_late(int split, int64_t i) {
    static const int64_t ts[] = {500, 1200, 600, 9000};
    return (row_t){"k0", 1, ts[i], ROW_INSERT};
}

START_TEST(a_row_late_for_one_window_counts_in_the_next) {
    rig_t *r = rig_new(window_plan(specs[2], 1, false, false), half_late, 1, 4);
    r->poll_rows = 1;
    rig_build(r);
    rig_finish(r, 0);
    ck_assert_uint_eq(r->late, 0);
    char *out = rig_output(r);
    ck_assert_ptr_nonnull(strstr(out, "+I k0|1|1|1969-12-31 23:59:58.000|1970-01-01 00:00:01.000\n")); /* fired before 600 came */
    ck_assert_ptr_nonnull(strstr(out, "+I k0|3|3|1969-12-31 23:59:59.000|1970-01-01 00:00:02.000\n"));
    ck_assert_ptr_nonnull(strstr(out, "+I k0|3|3|1970-01-01 00:00:00.000|1970-01-01 00:00:03.000\n"));
    rig_free(r);
}
END_TEST

/* A9: after a restore a row of a fired window is late, although the first row read is old. */
START_TEST(a_restored_window_is_not_opened_again) {
    late_watermark = 3000;
    rig_t *r = rig_new(tumble_plan(1, true, false), late_row, 1, 2);
    r->poll_rows = 1;
    r->unbounded = true;
    rig_build(r);
    rig_run(r, 50, 0);
    rig_inject(r, 0);
    rig_run(r, 50, 0);
    ck_assert_uint_eq(r->complete, 1);
    ck_assert_str_eq(rig_output(r), "+I k0|1|1|1970-01-01 00:00:00.000|1970-01-01 00:00:01.000\n");
    rig_kill(r);
    r->per_split = 3; /* the row of 500 ms */
    rig_build(r);
    rig_run(r, 50, 0);
    rig_inject(r, 0);
    rig_run(r, 50, 0);
    ck_assert_str_eq(rig_output(r), "+I k0|1|1|1970-01-01 00:00:00.000|1970-01-01 00:00:01.000\n");
    task_stats_t st;
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.late_rows, 1);
    ck_assert_int_eq(st.watermark, 3000);
    rig_free(r);
}
END_TEST

START_TEST(batch_mode_drops_nothing) {
    plan_t *p = tumble_plan(1, true, true);
    p->batch = true;
    late_watermark = 3000;
    rig_t *r = rig_new(p, late_row, 1, 4);
    r->poll_rows = 1;
    rig_build(r);
    rig_finish(r, 0);
    ck_assert_uint_eq(r->late, 0);
    ck_assert_ptr_nonnull(strstr(rig_output(r), "+I k0|2|501|") == NULL ? rig_output(r) : NULL);
    ck_assert_ptr_nonnull(strstr(rig_output(r), "+I k0|2|2|1970-01-01 00:00:00.000"));
    rig_free(r);
}
END_TEST

/* Processing time: rows are of the clock's window; it fires when the clock has passed, without any further row. */
START_TEST(processing_time_windows_fire_by_the_clock) {
    rig_t *r = rig_new(window_plan((window_spec_t){.kind = WINDOW_TUMBLE, .size_ms = 1000, .proctime = true}, 1, false, false), steady, 1, 30);
    r->unbounded = true;
    r->now = 5100;
    rig_build(r);
    rig_run(r, 20, 0);
    ck_assert_int_eq(task_next_tick_ms(r->tasks[0]), 5999);
    r->now = 5999;
    rig_run(r, 20, 0);
    rig_inject(r, 0);
    rig_run(r, 20, 0);
    int lines = 0;
    for (char *l = rig_output(r); (l = strstr(l, "|1970-01-01 00:00:05.000|1970-01-01 00:00:06.000\n")); l++) lines++;
    ck_assert_int_eq(lines, 10); /* one per key */
    ck_assert_int_eq(task_next_tick_ms(r->tasks[0]), INT64_MAX);
    rig_free(r);
}
END_TEST

/* A window of 20,000 keys leaves in parts while the consumer takes one batch at a time. */
static row_t wide(int split, int64_t i) {
    static char text[32];
    snprintf(text, sizeof text, "key-%" PRId64, i);
    return (row_t){text, 1, i < 19999 ? 100 : 5000, ROW_INSERT};
}

START_TEST(a_large_window_leaves_in_parts) {
    plan_t *p = tumble_plan(1, false, true);
    plan_stage_t *s = p->stages[0];
    s->nops--; /* the sink moves behind an exchange that takes one batch at a time */
    plan_sink(p, plan_exchange(p, s, EXCHANGE_FORWARD, 0, NULL));
    rig_t *r = rig_new(p, wide, 1, 20000);
    r->poll_rows = 1000;
    r->channel_bytes = 1;
    rig_build(r);
    rig_finish(r, 10);
    int lines = 0;
    for (char *l = rig_output(r); (l = strchr(l, '\n')); l++) lines++;
    ck_assert_int_eq(lines, 20000);
    rig_free(r);
}
END_TEST

/* 20,000 keys of which most are evicted: the window fires without bringing them back, and its barrier finds it whole. Over slices of one
 * second, too, merged into windows of three. */
START_TEST(a_window_larger_than_memory_fires_in_portions) {
    for (int hop = 0; hop < 2; hop++) {
        plan_t *p = window_plan((window_spec_t){.kind = hop ? WINDOW_HOP : WINDOW_TUMBLE, .size_ms = 3000, .slide_ms = hop ? 1000 : 3000}, 1, true, false);
        rig_t *r = rig_new(p, wide, 1, 19999);
        r->memory = 200000;
        r->poll_rows = 100;
        r->unbounded = true;
        rig_build(r);
        rig_run(r, 2000, 4);
        kstate_env_set_memory(r->env, r->memory / 4);
        rig_run(r, 20, 4);
        kstate_env_set_memory(r->env, r->memory);
        size_t before = kstate_env_used(r->env), most = 0;
        ck_assert_uint_lt(before, r->memory);
        r->per_split = 20000; /* the row that ends it all */
        for (int i = 0; i < 4000 && !r->ended[1]; i++) {
            rig_run(r, 1, 0);
            most = MAX(most, kstate_env_used(r->env));
        }
        rig_inject(r, 0);
        rig_run(r, 100, 0);
        ck_assert_uint_eq(r->complete, r->injected);
        int lines = 0;
        for (char *l = rig_output(r); (l = strchr(l, '\n')); l++) lines++;
        ck_assert_int_eq(lines, hop ? 3 * 19999 : 19999);
        ck_assert_msg(most < before + r->memory / 2 + (512 << 10), "%zu bytes before, %zu at most", before, most);
        rig_free(r);
    }
}
END_TEST

/* Others need the memory of its table: what it has not come to yet leaves that, and comes from the base. */
START_TEST(a_window_that_fires_gives_up_memory_meanwhile) {
    plan_t *p = tumble_plan(1, false, true);
    plan_stage_t *s = p->stages[0];
    s->nops--; /* the sink moves behind an exchange that takes one batch at a time */
    plan_sink(p, plan_exchange(p, s, EXCHANGE_FORWARD, 0, NULL));
    rig_t *r = rig_new(p, wide, 1, 19999);
    r->memory = 64 << 20;
    r->poll_rows = 1000;
    r->channel_bytes = 1;
    r->unbounded = true;
    rig_build(r);
    rig_run(r, 2000, 4); /* all of it is in the base and in the table, .. */
    size_t before = kstate_env_used(r->env);
    kstate_env_set_memory(r->env, before + before / 8); /* .. which is nearly full */
    r->per_split = 20000;                               /* the row that ends it all */
    task_stats_t st = {0};
    uint64_t half = 0; /* rows that had left when the table was half as large */
    for (int i = 0; i < 4000 && st.rows_out < 19999; i++) {
        rig_run(r, 1, 0);
        task_stats(r->tasks[0], &st);
        if (st.rows_out) kstate_env_set_memory(r->env, before / 8);
        if (!half && kstate_env_used(r->env) < before / 2) half = st.rows_out;
    }
    ck_assert_msg(half > 0 && half < 19999 / 2, "half of it had left the table after %" PRIu64 " rows", half);
    rig_inject(r, 0);
    rig_run(r, 100, 0);
    ck_assert_uint_eq(r->complete, r->injected);
    int lines = 0;
    for (char *l = rig_output(r); (l = strchr(l, '\n')); l++) lines++;
    ck_assert_int_eq(lines, 19999);
    rig_free(r);
}
END_TEST

/* The windows of a TVF without aggregation, aggregated by their columns ("attached"). */
START_TEST(assigned_windows_are_attached) {
    for (size_t k = 2; k < ARRAY_LEN(specs); k += 3) {
        plan_t *p = window_plan(specs[k], 1, false, false);
        plan_stage_t *s = p->stages[0];
        plan_op_t *agg = s->ops[2], *sink = s->ops[3];
        schema_t *in = s->ops[1]->schema;
        schema_t *with = schema_make(p, 6, "k", T_STR, "v", T_I64, "ts", T_TS, "ws", T_TS, "we", T_TS, "wt", T_TS);
        ck_assert_int_eq(in->n, 3);
        s->nops = 2;
        plan_op_t *assign = plan_op1(p, s, OP_WINDOW_ASSIGN, with);
        assign->window = agg->window;
        agg->id = 3;
        sink->id = 4;
        ((int *)(uintptr_t)agg->inputs)[0] = 2;
        ((int *)(uintptr_t)sink->inputs)[0] = 3;
        s->ops[3] = agg;
        s->ops[4] = sink;
        s->nops = 5;
        agg->window.time_col = -1;
        agg->window.attached_start = 3;
        agg->window.attached_end = 4;
        rig_t *r = rig_new(p, bursts, 1, 150);
        r->sink_refuses = 2;
        rig_build(r);
        rig_finish(r, 5);
        char *want = expected(specs[k], bursts, 1, 150);
        assert_same_lines(rig_output(r), want);
        free(want);
        rig_free(r);
    }
}
END_TEST

/* Windows of a TIMESTAMP_LTZ lie on the wall clock of the session's zone; watermarks are UTC: a day of Shanghai is
 * [16:00, 16:00) UTC, and a row of 15:59:59.999 UTC is the last that is in time at that watermark. */
static row_t evening(int split, int64_t i) {
    static const int64_t hour[] = {15, 17, 40, 15, 41};
    return (row_t){"k0", 1, hour[i] * 3600000, ROW_INSERT};
}

START_TEST(days_are_those_of_the_session_zone) {
    for (int local = 0; local < 2; local++) {
        plan_t *p = window_plan((window_spec_t){.kind = WINDOW_TUMBLE, .size_ms = 86400000}, 1, true, local);
        p->stages[0]->ops[0]->schema->fields[2].type = &type_ltz3;
        p->stages[0]->ops[1]->watermark_expr = expr_column(p->arena, 2, &type_ltz3);
        rig_t *r = rig_new(p, evening, 1, 5);
        r->zone = "Asia/Shanghai";
        r->poll_rows = 1;
        rig_build(r);
        rig_finish(r, 0);
        assert_same_lines(rig_output(r), "+I k0|1|1|1970-01-01 00:00:00.000|1970-01-02 00:00:00.000\n"
                                         "+I k0|1|1|1970-01-02 00:00:00.000|1970-01-03 00:00:00.000\n"
                                         "+I k0|2|2|1970-01-03 00:00:00.000|1970-01-04 00:00:00.000\n");
        rig_free(r);
    }
}
END_TEST

TESTS("window_agg", days_are_those_of_the_session_zone, every_kind_of_window_equals_recomputation, windows_survive_kills,
      every_kind_of_window_fires_from_state_larger_than_memory, a_window_larger_than_memory_fires_in_portions,
      a_window_that_fires_gives_up_memory_meanwhile, the_late_rule_is_exact,
      a_row_late_for_one_window_counts_in_the_next, a_restored_window_is_not_opened_again, batch_mode_drops_nothing,
      processing_time_windows_fire_by_the_clock, a_large_window_leaves_in_parts,
      assigned_windows_are_attached)
