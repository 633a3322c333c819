/* test_session_agg.c: session windows against their recomputation, in any order of rows, through kills and with state that does not fit. */
#include "state/changelog.h"
#include "tests/op/windows_rig.h"

#define KEYS 40

/* Gaps of silence between bursts, of which each key has its own; split 1 is behind split 0, so that rows come out of order, none of them late. */
static char names[KEYS][8];
static row_t in_bursts(int split, int64_t i) {
    int k = (int)((i * 5 + i / 7 + split) % KEYS);
    snprintf(names[k], sizeof names[k], "k%d", k);
    return (row_t){names[k], i, i * 130 + i / 25 * 7000 + split * 900 + k * 3, ROW_INSERT};
}

typedef struct event { int64_t ts, v; } event_t;
static int by_time(const void *a, const void *b) {
    const event_t *x = a, *y = b;
    return x->ts < y->ts ? -1 : x->ts > y->ts;
}

static void put_session(buf_t *out, int k, int64_t n, int64_t sum, int64_t start, int64_t end) {
    buf_printf(out, "+I k%d|%" PRId64 "|%" PRId64 "|", k, n, sum);
    print_ts(out, start);
    buf_puts(out, "|");
    print_ts(out, end);
    buf_puts(out, "\n");
}

static char *expected_sessions(int64_t gap, row_fn rows, int nsplits, int64_t per_split) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    event_t *e = xcalloc((size_t)(nsplits * per_split), sizeof *e);
    for (int k = 0; k < KEYS; k++) {
        char name[8];
        snprintf(name, sizeof name, "k%d", k);
        size_t n = 0;
        for (int s = 0; s < nsplits; s++)
            for (int64_t i = 0; i < per_split; i++) {
                row_t r = rows(s, i);
                if (strcmp(r.k, name) == 0) e[n++] = (event_t){r.ts_ms, r.v};
            }
        qsort(e, n, sizeof *e, by_time);
        for (size_t from = 0, to; from < n; from = to) {
            int64_t sum = 0, end = INT64_MIN;
            for (to = from; to < n && (to == from || e[to].ts <= end); to++) {
                sum += e[to].v;
                end = e[to].ts + gap;
            }
            put_session(&out, k, (int64_t)(to - from), sum, e[from].ts, end);
        }
    }
    free(e);
    return buf_take_cstr(&out);
}

static plan_t *session_plan(int64_t gap, int parallelism, bool exchange) {
    return window_plan((window_spec_t){.kind = WINDOW_SESSION, .gap_ms = gap}, parallelism, exchange, false);
}

/* At the end neither a session nor a mark is left. */
static void assert_sessions(rig_t *r, const char *want) {
    assert_same_lines(rig_output(r), want);
    ck_assert_uint_eq(rig_entries(r), 0);
    rig_free(r);
}

START_TEST(sessions_equal_recomputation) {
    for (int64_t gap = 1; gap <= 8000; gap = gap * 2 + 7) {
        char *want = expected_sessions(gap, in_bursts, 2, 300);
        for (int kill = 0; kill < 2; kill++) {
            rig_t *r = rig_new(session_plan(gap, 2, true), in_bursts, 2, 300);
            r->channel_bytes = 1;
            rng_seed(&r->rng, (uint64_t)gap);
            rig_lives(r, kill * 4, 60, 5);
            rig_build(r);
            rig_finish(r, 6);
            assert_sessions(r, want);
        }
        free(want);
    }
}
END_TEST

START_TEST(sessions_equal_recomputation_when_most_of_them_are_evicted) {
    static const size_t memory[] = {1, 5000, 20000};
    for (int64_t gap = 200; gap <= 12800; gap *= 4) {
        char *want = expected_sessions(gap, in_bursts, 2, 300);
        for (size_t m = 0; m < ARRAY_LEN(memory); m++) {
            rig_t *r = rig_new(session_plan(gap, 2, true), in_bursts, 2, 300);
            r->memory = memory[m];
            r->channel_bytes = 1;
            r->poll_rows = 7;
            rng_seed(&r->rng, (uint64_t)gap + m);
            rig_build(r);
            rig_finish(r, 4);
            assert_sessions(r, want);
        }
        free(want);
    }
}
END_TEST

/* A bounded job: nothing is late, rows come in no order at all, and many sessions of a key are open at once. */
static row_t shuffled(int split, int64_t i) { return in_bursts(0, i * 271 % 600); }

START_TEST(rows_in_any_order_make_the_same_sessions) {
    for (int64_t gap = 1; gap <= 8000; gap = gap * 2 + 7) {
        char *want = expected_sessions(gap, in_bursts, 1, 600);
        for (uint32_t poll = 1; poll <= 600; poll *= 5) {
            plan_t *p = session_plan(gap, 1, false);
            p->batch = true;
            rig_t *r = rig_new(p, shuffled, 1, 600);
            r->poll_rows = poll;
            r->memory = poll == 25 ? 5000 : 0;
            rig_build(r);
            rig_finish(r, 4);
            assert_sessions(r, want);
        }
        free(want);
    }
}
END_TEST

/* Two sessions are joined by a row between them; the bridge comes last. */
static row_t bridge(int split, int64_t i) {
    static const int64_t ts[] = {0, 1500, 3000, 800, 2300};
    return (row_t){"k0", 1, ts[i], ROW_INSERT};
}

START_TEST(a_bridge_merges_sessions) {
    for (uint32_t poll = 1; poll <= 5; poll += 4) {
        plan_t *p = session_plan(1000, 1, false);
        p->batch = true;
        rig_t *r = rig_new(p, bridge, 1, 5);
        r->poll_rows = poll;
        rig_build(r);
        rig_finish(r, 1);
        assert_sessions(r, "+I k0|5|5|1970-01-01 00:00:00.000|1970-01-01 00:00:04.000\n");
    }
}
END_TEST

/* A row every half gap: one session of a thousand rows, that fires once. */
static row_t every_half_gap(int split, int64_t i) { return (row_t){"k0", 1, i * 500, ROW_INSERT}; }

START_TEST(a_session_that_goes_on_keeps_one_mark) {
    rig_t *r = rig_new(session_plan(1000, 1, false), every_half_gap, 1, 1000);
    r->poll_rows = 5;
    rig_build(r);
    for (int i = 0; i < 400 && !rig_all_ended(r); i++) {
        rig_run(r, 1, 0);
        ck_assert_uint_le(rig_entries(r), 2); /* the key, and when to look at it again */
    }
    rig_finish(r, 9);
    assert_sessions(r, "+I k0|1000|1000|1970-01-01 00:00:00.000|1970-01-01 00:08:20.500\n");
}
END_TEST

/* k1 comes when its window is over, twice; then a row that is not. */
static row_t too_late(int split, int64_t i) {
    static const row_t rows[] = {{"k0", 1, 60000}, {"k1", 1, 500}, {"k1", 1, 800}, {"k1", 1, 59500}, {"k2", 1, 100}, {"k0", 1, 60001}};
    return rows[i];
}

START_TEST(a_key_with_late_rows_only_leaves_no_trace) {
    for (uint32_t poll = 1; poll <= 6; poll += 5) {
        rig_t *r = rig_new(session_plan(1000, 1, false), too_late, 1, 6);
        r->poll_rows = 1;
        rig_build(r);
        rig_run(r, 3, 0);
        r->poll_rows = poll;
        rig_finish(r, 1);
        assert_same_lines(rig_output(r), "+I k0|2|2|1970-01-01 00:01:00.000|1970-01-01 00:01:01.001\n"
                                         "+I k1|1|1|1970-01-01 00:00:59.500|1970-01-01 00:01:00.500\n");
        task_stats_t st;
        task_stats(r->tasks[0], &st);
        ck_assert_uint_eq(st.late_rows, 3);
        ck_assert_uint_eq(st.state_entries, 0);
        rig_free(r);
    }
}
END_TEST

/* ---------------------------------------------------------------- what builds wrote that had no pages: sets of any size whole, and no number */
static row_t one_session(int split, int64_t i) { return (row_t){"k0", i % 10 ? i : 0, i, ROW_INSERT}; }
static int64_t distinct_of(int64_t rows) { return rows - (rows - 1) / 10; }

static buf_t old_sessions(int64_t rows) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    buf_put_varint(&out, 1);
    buf_put_zigzag(&out, 0);
    buf_put_zigzag(&out, rows - 1 + 1000);
    buf_put_zigzag(&out, rows);
    buf_put_u8(&out, 2); /* accumulators */
    buf_put_zigzag(&out, rows);
    buf_put_varint(&out, (uint64_t)distinct_of(rows));
    for (int64_t i = 0; i < rows; i++) {
        if (i && i % 10 == 0) continue;
        buf_put_zigzag(&out, i);
        buf_put_u8(&out, 1);
    }
    return out;
}

static void as_an_old_build_wrote_it(rig_t *r, int64_t rows, bool *ret_differs) {
    for (int i = 0; i < r->nseals; i++)
        for (int k = 0; k < r->seals[i]->nstates; k++) {
            state_seal_t *s = &r->seals[i]->states[k];
            if (s->fingerprint != 2 || s->slot < 0 || s->slot == 1) continue; /* not of sessions, progress, marks */
            reader_t in = reader_of(buf_slice(&s->bytes));
            ck_assert(change_begin(&in));
            buf_t out = buf_make(BUF_MAX_DEFAULT), value = old_sessions(rows);
            change_header(&out);
            for (change_t c; s->slot == 0 && change_next(&in, &c);) {
                ck_assert_int_eq(c.kind, CHANGE_PUT);
                *ret_differs = !slice_eq(c.value, buf_slice(&value));
                change_put(&out, c.ns, c.key, buf_slice(&value));
            }
            buf_free(&value);
            buf_free(&s->bytes);
            s->bytes = out; /* of pages nothing is left */
        }
}

START_TEST(sessions_of_builds_without_pages_are_read_with_sets_of_any_size) {
    static const int64_t upto[] = {500, 601, 5000}; /* as it would be written now, large enough for pages, and many */
    for (size_t i = 0; i < ARRAY_LEN(upto); i++) {
        plan_t *p = session_plan(1000, 1, false);
        plan_stage_t *stage = p->stages[0];
        for (int k = 0; k < stage->nops; k++) {
            if (stage->ops[k]->kind != OP_WINDOW_AGG) continue;
            agg_call_t *calls = ARENA_ARRAY(p->arena, agg_call_t, 2);
            calls[0] = stage->ops[k]->aggs[0];
            calls[1] = plan_call(p, "COUNT", stage->ops[0]->schema, 1, true);
            stage->ops[k]->aggs = calls;
        }
        rig_t *r = rig_new(p, one_session, 1, upto[i]);
        r->unbounded = true;
        rig_build(r);
        rig_settle(r);
        rig_epoch(r);
        rig_kill(r);
        bool differs = false;
        as_an_old_build_wrote_it(r, upto[i], &differs);
        ck_assert_int_eq(differs, i > 0);
        r->unbounded = false;
        r->per_split = upto[i] + 200;
        r->poll_rows = 50;
        rig_lives(r, 2, 6, 2); /* and goes into pages with the next epoch */
        rig_build(r);
        rig_finish(r, 1);
        buf_t want = buf_make(BUF_MAX_DEFAULT);
        buf_printf(&want, "+I k0|%" PRId64 "|%" PRId64 "|", r->per_split, distinct_of(r->per_split));
        print_ts(&want, 0);
        buf_puts(&want, "|");
        print_ts(&want, r->per_split - 1 + 1000);
        buf_puts(&want, "\n");
        assert_sessions(r, buf_cstr(&want));
        buf_free(&want);
    }
}
END_TEST

TESTS("session_agg", sessions_of_builds_without_pages_are_read_with_sets_of_any_size, sessions_equal_recomputation,
      sessions_equal_recomputation_when_most_of_them_are_evicted, rows_in_any_order_make_the_same_sessions,
      a_bridge_merges_sessions, a_session_that_goes_on_keeps_one_mark, a_key_with_late_rows_only_leaves_no_trace)
