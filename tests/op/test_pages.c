/* Large sets of values in pages (engine/agg_page.c, engine/op/pages.c): what they cost a checkpoint, and that nothing is lost or doubled. */
#include "tests/op/windows_rig.h"

enum { GROUPS = 3, DOMAIN = 2500 };

/* source -> exchange by v -> counts of distinct texts (two calls: they are equal) and times, a greatest text, a smallest time */
static plan_t *pages_plan(int parallelism, bool retracts) {
    plan_t *p = plan_begin(parallelism);
    plan_stage_t *s = plan_stage(p);
    plan_source(p, s, 1)->retracts = retracts;
    schema_t *in = s->ops[0]->schema;
    static const int by_v[] = {1};
    s = plan_exchange(p, s, EXCHANGE_HASH, 1, by_v);
    agg_call_t *calls = ARENA_ARRAY(p->arena, agg_call_t, 5);
    calls[0] = plan_call(p, "COUNT", in, 0, true);
    calls[1] = plan_call(p, "COUNT", in, 2, true);
    calls[2] = plan_call(p, "COUNT", in, 2, true);
    calls[3] = plan_call(p, "MAX", in, 0, false);
    calls[4] = plan_call(p, "MIN", in, 2, false);
    plan_op_t *a = plan_op1(p, s, OP_GROUP_AGG, schema_make(p, 6, "v", T_I64, "texts", T_I64, "times", T_I64, "again", T_I64, "max", T_STR, "min", T_TS));
    a->nkeys = 1;
    a->keys = by_v;
    a->naggs = 5;
    a->aggs = calls;
    a->fingerprint = 2;
    a->retracts = true;
    plan_sink(p, s)->retracts = true;
    return p;
}

static char texts[DOMAIN][24];
static row_t value_of(int64_t i) {
    uint64_t h = hash_mix((uint64_t)i + 1);
    int text = (int)((h >> 20) % DOMAIN);
    snprintf(texts[text], sizeof texts[text], "user-%05d", text);
    return (row_t){texts[text], (int64_t)(h % GROUPS), (int64_t)(h >> 40) % DOMAIN, ROW_INSERT};
}
static row_t added(int split, int64_t i) { return value_of(i * 2 + split); }
/* Row i takes back the one two before it, for one in four. */
static row_t added_and_taken_back(int split, int64_t i) {
    row_t r = added(split, i % 4 == 3 ? i - 2 : i);
    if (i % 4 == 3) r.kind = ROW_DELETE;
    return r;
}

typedef struct counted { int of_text[DOMAIN], of_time[DOMAIN]; } counted_t;
static char *expected(row_fn rows, int nsplits, int64_t n) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    counted_t *g = xcalloc(GROUPS, sizeof *g);
    for (int s = 0; s < nsplits; s++)
        for (int64_t i = 0; i < n; i++) {
            row_t r = rows(s, i);
            int d = r.kind == ROW_INSERT ? 1 : -1;
            g[r.v].of_text[atoi(r.k + 5)] += d;
            g[r.v].of_time[r.ts_ms] += d;
        }
    for (int k = 0; k < GROUPS; k++) {
        int ntexts = 0, ntimes = 0, max = 0, min = DOMAIN;
        for (int i = 0; i < DOMAIN; i++) {
            ntexts += g[k].of_text[i] > 0;
            ntimes += g[k].of_time[i] > 0;
            if (g[k].of_text[i] > 0) max = i;
            if (g[k].of_time[i] > 0) min = MIN(min, i);
        }
        buf_printf(&out, "%d|%d|%d|%d|user-%05d|", k, ntexts, ntimes, ntimes, max);
        print_ts(&out, min);
        buf_puts(&out, "\n");
    }
    free(g);
    return buf_take_cstr(&out);
}

/* The last result of each group. */
static char *last_results(const char *text) {
    char *copy = strdup(text), *save = NULL, last[GROUPS][100] = {""};
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char *of = last[atoi(l + 3)];
        if (l[0] == '+') snprintf(of, sizeof last[0], "%s\n", l + 3);
        else if (l[1] == 'D') *of = 0;
    }
    free(copy);
    return xprintf("%s%s%s", last[0], last[1], last[2]);
}

static void check_results(rig_t *r, const char *want) {
    char *got = last_results(rig_output(r));
    assert_same_lines(got, want);
    free(got);
}

static size_t bytes_of(const rig_t *r, epoch_t e) {
    size_t n = 0;
    for (int i = 0; i < r->nseals; i++)
        for (int k = 0; r->seals[i]->epoch == e && k < r->seals[i]->nstates; k++) n += r->seals[i]->states[k].bytes.len;
    return n;
}

/* What one split has for a set of up to `n` values: then 200 more, and what their epoch takes. */
static row_t always_new(int split, int64_t i) {
    static char text[64][24];
    static uint32_t at;
    char *k = text[at++ % 64];
    snprintf(k, 24, "user-%010d", (int)i);
    return (row_t){k, 0, i, ROW_INSERT};
}
static size_t bytes_of_200_more(bool retracts, int64_t n) {
    rig_t *r = rig_new(pages_plan(1, retracts), always_new, 1, n);
    r->unbounded = true;
    r->poll_rows = 1000;
    rig_build(r);
    for (int more = 0; more < 2; more++) {
        rig_settle(r);
        rig_epoch(r);
        r->per_split += 200;
    }
    size_t bytes = bytes_of(r, 2);
    rig_free(r);
    return bytes;
}

START_TEST(an_epoch_costs_what_a_set_grew_not_what_it_holds) {
    for (int retracts = 0; retracts < 2; retracts++) {
        size_t of_small = bytes_of_200_more(retracts, 5000), of_large = bytes_of_200_more(retracts, 100000);
        ck_assert_uint_lt(of_large, of_small * 3 / 2);
        ck_assert_uint_lt(of_large, 200 * (retracts ? 100 : 50)); /* bytes of values, counts and up to a page of each set */
    }
}
END_TEST

/* What is not sealed yet of a set is what changed of it: only that makes sources wait for the barrier (kstate_env_hold). */
START_TEST(a_large_set_holds_the_sources_when_much_of_it_changes_not_when_it_is_touched) {
    enum { BOUND = 256 << 10 };
    for (int retracts = 0; retracts < 2; retracts++) {
        rig_t *r = rig_new(pages_plan(1, retracts), always_new, 1, 100000);
        r->unbounded = true;
        r->poll_rows = 1000;
        r->memory = SIZE_MAX;
        rig_build(r);
        rig_settle(r);
        ck_assert_uint_gt(kstate_env_unsealed_bytes(r->env), 2 << 20); /* all is new */
        for (int more = 0; more < 4; more++) {
            bool much = more == 3;
            rig_epoch(r);
            ck_assert_uint_eq(kstate_env_unsealed_bytes(r->env), 0);
            kstate_env_set_memory(r->env, kstate_env_used(r->env) + BOUND);
            kstate_env_set_unsealed_max(r->env, BOUND);
            r->per_split += much ? 30000 : 200;
            r->poll_rows = much ? 30000 : 20;
            rig_settle(r);
            ck_assert_uint_gt(kstate_env_unsealed_bytes(r->env), 0);
            ck_assert_int_eq(kstate_env_unsealed_bytes(r->env) > BOUND, much);
            ck_assert_int_eq(kstate_env_hold(r->env), much);
        }
        rig_free(r);
    }
}
END_TEST

static void live(rig_t *r, int lives, row_fn rows, int every) {
    for (int i = 0; i < lives; i++) {
        rig_build(r);
        rig_run(r, 150 + 37 * i, every);
        rig_kill(r);
    }
    rig_build(r);
    rig_finish(r, every);
}

START_TEST(large_sets_survive_kills) {
    for (int k = 0; k < 2; k++) {
        row_fn rows = k ? added_and_taken_back : added;
        char *want = expected(rows, 2, 6000);
        for (uint64_t seed = 1; seed <= 3; seed++) {
            rig_t *r = rig_new(pages_plan(2, k), rows, 2, 6000);
            rng_seed(&r->rng, seed);
            r->poll_rows = 50;
            live(r, 5, rows, 11);
            check_results(r, want);
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

/* Groups and pages leave memory by themselves, and come back. */
START_TEST(large_sets_that_were_evicted_are_read_back_page_by_page) {
    static const size_t memory[] = {1, 60000, 200000};
    for (int k = 0; k < 2; k++) {
        row_fn rows = k ? added_and_taken_back : added;
        char *want = expected(rows, 2, 4000);
        for (size_t m = 0; m < ARRAY_LEN(memory); m++) {
            rig_t *r = rig_new(pages_plan(2, k), rows, 2, 4000);
            r->memory = memory[m];
            r->poll_rows = 50;
            rng_seed(&r->rng, m + 1);
            rig_build(r);
            rig_finish(r, 4);
            check_results(r, want);
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

/* What one task held is shared out by key group, pages with their groups; and comes together again. */
START_TEST(pages_go_where_their_group_goes) {
    row_fn rows = added_and_taken_back;
    char *want = expected(rows, 2, 6000);
    rig_t *r = rig_new(pages_plan(1, true), rows, 2, 6000);
    static const int parallelism[] = {1, 4, 2, 7, 3};
    r->poll_rows = 50;
    for (size_t i = 0; i < ARRAY_LEN(parallelism); i++) {
        rig_replan(r, pages_plan(parallelism[i], true));
        rig_build(r);
        if (i + 1 == ARRAY_LEN(parallelism)) break;
        rig_run(r, 60, 11);
        rig_kill(r);
    }
    rig_finish(r, 11);
    check_results(r, want);
    rig_free(r);
    free(want);
}
END_TEST

/* ---------------------------------------------------------------- the end of a group */
/* ENDS values come, all but LEFT go, as many others come that the holes go too, and then all goes. */
enum { ENDS = 3000, LEFT = 10, OTHERS = 1500, GONE = 2 * ENDS - LEFT, ROWS = 2 * (ENDS + OTHERS) };
static row_t come_and_go(int split, int64_t i) {
    bool comes = i < ENDS || (i >= GONE && i < GONE + OTHERS);
    int64_t v = i < ENDS ? i : i < GONE ? (i - ENDS) * 7 % ENDS : i < GONE + OTHERS ? ENDS + i - GONE : 0;
    if (i >= GONE + OTHERS) { /* first the last of the old ones */
        int64_t left = i - GONE - OTHERS;
        v = left < LEFT ? (ENDS - LEFT + left) * 7 % ENDS : ENDS + left - LEFT;
    }
    row_t r = always_new(split, v);
    if (!comes) r.kind = ROW_DELETE;
    return r;
}

START_TEST(a_group_that_ends_takes_its_pages_with_it) {
    for (size_t memory = 0; memory < 2; memory++) {
        rig_t *r = rig_new(pages_plan(1, true), come_and_go, 1, ENDS);
        r->unbounded = true;
        r->poll_rows = 100;
        r->memory = memory;
        static const int64_t upto[] = {ENDS, ENDS + 1000, GONE + 1000, GONE + OTHERS, ROWS - 100, ROWS};
        for (size_t i = 0; i < ARRAY_LEN(upto); i++) {
            r->per_split = upto[i];
            rig_build(r);
            rig_run(r, 2000, 20);
            if (i + 1 < ARRAY_LEN(upto)) ck_assert_uint_gt(rig_entries(r), 3);
            else ck_assert_uint_eq(rig_entries(r), 0);
            if (i + 2 == ARRAY_LEN(upto)) {
                char *got = last_results(rig_output(r));
                ck_assert_ptr_nonnull(strstr(got, "0|100|100|100|user-0000004499|"));
                free(got);
            }
            rig_kill(r);
        }
        rig_build(r);
        ck_assert_uint_eq(rig_entries(r), 0); /* and they do not come back */
        rig_free(r);
    }
}
END_TEST

/* Swept with its group; and with one whose next row comes before the sweep, and that begins anew. */
START_TEST(a_group_that_is_forgotten_takes_its_pages_with_it) {
    plan_t *p = pages_plan(1, false);
    p->stages[1]->ops[1]->state_ttl_ms = 3000; /* swept each second */
    rig_t *r = rig_new(p, always_new, 1, ENDS);
    r->unbounded = true;
    r->poll_rows = 100;
    rig_build(r);
    rig_run(r, 500, 20);
    ck_assert_uint_gt(rig_entries(r), ENDS / 256);
    r->per_split++;
    rig_run(r, 20, 0);
    rig_run(r, 3000, 100);
    r->per_split++;
    rig_run(r, 50, 20);
    rig_kill(r);
    ck_assert_ptr_nonnull(strstr(rig_output(r), "+I 0|1|1|1|user-0000003001|"));
    rig_build(r);
    ck_assert_uint_eq(rig_entries(r), 1);
    r->per_split += ENDS;
    rig_run(r, 500, 20);
    ck_assert_uint_gt(rig_entries(r), ENDS / 256);
    r->now += 60000;
    rig_run(r, 500, 20);
    ck_assert_uint_eq(rig_entries(r), 0);
    rig_free(r);
}
END_TEST

/* A NULL, then texts that all are taken back. */
static row_t come_and_leave_one(int split, int64_t i) {
    if (i == 0) return (row_t){NULL, 0, 7, ROW_INSERT};
    row_t r = always_new(split, (i - 1) % ENDS);
    if (i > ENDS) r.kind = ROW_DELETE;
    return r;
}

START_TEST(a_set_whose_values_are_all_taken_back_leaves_no_pages_to_a_group_that_lives_on) {
    rig_t *r = rig_new(pages_plan(1, true), come_and_leave_one, 1, ENDS + 1);
    r->unbounded = true;
    r->poll_rows = 100;
    rig_build(r);
    rig_run(r, 500, 20);
    ck_assert_uint_gt(rig_entries(r), 3 * ENDS / 256);
    r->per_split += ENDS;
    rig_run(r, 500, 20);
    ck_assert_uint_le(rig_entries(r), 1 + 3); /* the group, and a page of each set that has the time of the NULL */
    char *got = last_results(rig_output(r));
    ck_assert_ptr_nonnull(strstr(got, "0|0|1|1|"));
    free(got);
    rig_free(r);
}
END_TEST

/* ---------------------------------------------------------------- windows */
static row_t one_key(int split, int64_t i) { return (row_t){"k0", i * 37 % 1900, i * 2, ROW_INSERT}; }

START_TEST(large_sets_of_windows_survive_kills_and_eviction) {
    static const window_spec_t specs[] = {{.kind = WINDOW_TUMBLE, .size_ms = 3000}, {.kind = WINDOW_HOP, .size_ms = 4000, .slide_ms = 2000}};
    enum { N = 5000 };
    for (size_t k = 0; k < ARRAY_LEN(specs); k++)
        for (int memory = 0; memory < 2; memory++) {
            int64_t slide = specs[k].slide_ms ? specs[k].slide_ms : specs[k].size_ms;
            buf_t want = buf_make(1 << 20);
            for (int64_t start = slide - specs[k].size_ms; start < N * 2; start += slide) {
                bool seen[1900] = {false};
                int64_t n = 0;
                for (int64_t i = 0; i < N; i++) {
                    row_t row = one_key(0, i);
                    if (row.ts_ms < start || row.ts_ms >= start + specs[k].size_ms || seen[row.v]) continue;
                    seen[row.v] = true;
                    n++;
                }
                buf_printf(&want, "+I k0|%" PRId64 "|%" PRId64 "|", n, n);
                print_ts(&want, start);
                buf_puts(&want, "|");
                print_ts(&want, start + specs[k].size_ms);
                buf_puts(&want, "\n");
            }
            plan_t *p = window_plan(specs[k], 2, true, false);
            plan_op_t *w = NULL;
            for (int i = 0; i < p->stages[1]->nops; i++)
                if (p->stages[1]->ops[i]->kind == OP_WINDOW_AGG) w = p->stages[1]->ops[i];
            agg_call_t *calls = ARENA_ARRAY(p->arena, agg_call_t, 2);
            const schema_t *in = p->stages[0]->ops[0]->schema;
            calls[0] = plan_call(p, "COUNT", in, 1, true);
            calls[1] = plan_call(p, "COUNT", in, 1, true);
            w->aggs = calls;
            rig_t *r = rig_new(p, one_key, 1, N);
            r->poll_rows = 50;
            r->memory = (size_t)memory;
            if (memory) {
                rig_build(r);
                rig_finish(r, 4);
            } else {
                live(r, 4, one_key, 7);
            }
            assert_same_lines(rig_output(r), buf_cstr(&want));
            ck_assert_uint_eq(rig_entries(r), 0);
            rig_free(r);
            buf_free(&want);
        }
}
END_TEST

/* ---------------------------------------------------------------- what the base is asked */
static struct { base_db_t was; int gets, read; } asked;
static err_t *asked_get(base_db_t *b, uint64_t op, int slot, int kg, int64_t ns, slice_t key, buf_t *ret, bool *ret_found) {
    asked.gets++;
    return asked.was.get(b, op, slot, kg, ns, key, ret, ret_found);
}
static err_t *asked_many(base_db_t *b, uint64_t op, int slot, const base_key_t *keys, uint32_t n, err_t *(*fn)(void *, uint32_t, slice_t), void *arg) {
    asked.read += (int)n;
    return asked.was.get_many(b, op, slot, keys, n, fn, arg);
}

START_TEST(a_page_that_was_evicted_is_not_read_to_be_written_anew) {
    rig_t *r = rig_new(pages_plan(2, true), added_and_taken_back, 2, 4000);
    r->memory = 1;
    r->poll_rows = 50;
    rig_build(r);
    base_db_t *b;
    ck_ok(kstate_env_need_base(r->env, &b));
    asked.was = *b;
    b->get = asked_get;
    b->get_many = asked_many;
    rig_finish(r, 4);
    ck_assert_int_gt(asked.read, 0); /* groups, and the pages of those whose rows go on, many at once */
    ck_assert_int_eq(asked.gets, 0);
    rig_free(r);
}
END_TEST

TESTS("pages", an_epoch_costs_what_a_set_grew_not_what_it_holds, a_large_set_holds_the_sources_when_much_of_it_changes_not_when_it_is_touched,
      large_sets_survive_kills, large_sets_that_were_evicted_are_read_back_page_by_page,
      pages_go_where_their_group_goes, a_group_that_ends_takes_its_pages_with_it, a_group_that_is_forgotten_takes_its_pages_with_it,
      large_sets_of_windows_survive_kills_and_eviction,
      a_set_whose_values_are_all_taken_back_leaves_no_pages_to_a_group_that_lives_on, a_page_that_was_evicted_is_not_read_to_be_written_anew)
