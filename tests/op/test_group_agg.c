#include "tests/op/rig.h"

/* source -> [combiner] -> exchange -> group aggregate (k, COUNT, SUM, MAX) -> sink */
static plan_t *group_plan(int parallelism, bool local, bool retracts, bool global) {
    plan_t *p = plan_begin(parallelism);
    plan_stage_t *s = plan_stage(p);
    plan_source(p, s, 1)->retracts = retracts;
    schema_t *in = s->ops[0]->schema;
    agg_call_t *calls = ARENA_ARRAY(p->arena, agg_call_t, 3);
    calls[0] = plan_call(p, "COUNT", in, -1, false);
    calls[1] = plan_call(p, "SUM", in, 1, false);
    calls[2] = plan_call(p, "MAX", in, 1, false);
    int nkeys = global ? 0 : 1;
    if (local) {
        plan_op_t *l = plan_op1(p, s, OP_GROUP_LOCAL, schema_make(p, 5, "k", T_STR, "n", T_I64, "c", T_I64, "s", T_I64, "m", T_I64));
        l->nkeys = nkeys;
        l->keys = KEY0;
        l->naggs = 3;
        l->aggs = calls;
    }
    s = plan_exchange(p, s, EXCHANGE_HASH, nkeys, KEY0);
    if (global) s->fixed_parallelism = 1;
    schema_t *out = global ? schema_make(p, 3, "n", T_I64, "sum", T_I64, "max", T_I64)
                           : schema_make(p, 4, "k", T_STR, "n", T_I64, "sum", T_I64, "max", T_I64);
    plan_op_t *a = plan_op1(p, s, OP_GROUP_AGG, out);
    a->partial_input = local;
    a->nkeys = nkeys;
    a->keys = KEY0;
    a->naggs = 3;
    a->aggs = calls;
    a->fingerprint = 2;
    a->retracts = true;
    plan_sink(p, s)->retracts = true;
    return p;
}

static char key_text[16][8];
static row_t inserts(int split, int64_t i) {
    int k = (int)((i * 7 + split) % 9);
    snprintf(key_text[k], sizeof key_text[k], "k%d", k);
    return (row_t){key_text[k], (i * 31) % 101, i, ROW_INSERT};
}

/* Every third row takes back the one before it: so a third of them stays. */
static row_t changes(int split, int64_t i) {
    int64_t of = i % 3 == 2 ? i - 1 : i;
    row_t r = inserts(split, of / 3);
    r.v = (of * 13) % 97;
    r.kind = i % 3 == 2 ? ROW_DELETE : ROW_INSERT;
    return r;
}

static char *group_expected(row_fn rows, int nsplits, int64_t n) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (int k = 0; k < 9; k++) {
        char name[8];
        snprintf(name, sizeof name, "k%d", k);
        int64_t count = 0, sum = 0, max = INT64_MIN;
        for (int s = 0; s < nsplits; s++)
            for (int64_t i = 0; i < n; i++) {
                row_t r = rows(s, i);
                bool gone = i + 1 < n && rows(s, i + 1).kind == ROW_DELETE;
                if (strcmp(r.k, name) || r.kind != ROW_INSERT || gone) continue;
                count++;
                sum += r.v;
                max = MAX(max, r.v);
            }
        if (count) buf_printf(&out, "+I %s|%" PRId64 "|%" PRId64 "|%" PRId64 "\n", name, count, sum, max);
    }
    return buf_take_cstr(&out);
}

/* Applies a changelog: each -U and -D must take back a row that is there. Returns what is left, as inserts. */
static char *materialise(const char *text) {
    char *copy = strdup(text), *save = NULL, **live = calloc(100000, sizeof *live);
    int n = 0;
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        if (l[0] == '+') {
            live[n++] = l + 3;
            continue;
        }
        int i = 0;
        while (i < n && strcmp(live[i], l + 3)) i++;
        ck_assert_msg(i < n, "'%s' takes back a row that is not there", l);
        live[i] = live[--n];
    }
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < n; i++) buf_printf(&out, "+I %s\n", live[i]);
    free(copy);
    free(live);
    return out.len ? buf_take_cstr(&out) : strdup("");
}

START_TEST(the_changelog_adds_up_to_the_result) {
    for (int variant = 0; variant < 6; variant++) {
        bool retracts = variant % 3 == 2, local = variant % 3 == 1, kills = variant >= 3;
        row_fn rows = retracts ? changes : inserts;
        char *want = group_expected(rows, 2, 300);
        rig_t *r = rig_new(group_plan(2, local, retracts, false), rows, 2, 300);
        r->channel_bytes = 1;
        r->sink_refuses = 3;
        rig_lives(r, kills ? 5 : 0, 30, 4);
        rig_build(r);
        rig_finish(r, 4);
        char *got = materialise(rig_output(r));
        assert_same_lines(got, want);
        free(got);
        free(want);
        rig_free(r);
    }
}
END_TEST

/* The same value again changes nothing of MAX alone: no rows are emitted for it. */
static row_t constant(int split, int64_t i) { return (row_t){"k", 5, 0, ROW_INSERT}; }

START_TEST(an_unchanged_result_is_not_emitted) {
    plan_t *p = group_plan(1, false, false, false);
    plan_op_t *a = p->stages[1]->ops[1];
    a->naggs = 0; /* SELECT DISTINCT k */
    a->schema = p->stages[1]->ops[2]->schema = schema_make(p, 1, "k", T_STR);
    rig_t *r = rig_new(p, constant, 1, 100);
    rig_build(r);
    rig_finish(r, 3);
    ck_assert_str_eq(rig_output(r), "+I k\n");
    rig_free(r);
}
END_TEST

/* +I when the first row comes, -U/+U on a change, -D when the last row is taken back, one batch at a time. */
static row_t life_of_a_group(int split, int64_t i) {
    static const row_t rows[] = {{"k", 5, 0, ROW_INSERT}, {"k", 9, 0, ROW_INSERT}, {"k", 9, 0, ROW_DELETE}, {"k", 5, 0, ROW_UPDATE_BEFORE},
                                 {"k", 1, 0, ROW_DELETE}, {"k", 2, 0, ROW_UPDATE_AFTER}};
    return rows[i];
}

START_TEST(a_group_is_born_changes_and_dies) {
    rig_t *r = rig_new(group_plan(1, false, true, false), life_of_a_group, 1, 6);
    r->poll_rows = 1;
    rig_build(r);
    rig_finish(r, 1);
    ck_assert_str_eq(rig_output(r), "+I k|1|5|5\n-U k|1|5|5\n+U k|2|14|9\n-U k|2|14|9\n+U k|1|5|5\n-D k|1|5|5\n+I k|1|2|2\n");
    rig_free(r);
}
END_TEST

static row_t growing(int split, int64_t i) { return (row_t){"k", i, 0, ROW_INSERT}; }

/* With rows that are taken back, and with rows that only come: then COUNT(*) grows, and what the result was is not even computed. */
START_TEST(an_update_is_one_row_where_nobody_needs_what_it_was) {
    static const char *const want[] = {"+I k|1|5|5\n+U k|2|14|9\n+U k|1|5|5\n-D k|1|5|5\n+I k|1|2|2\n", "+I k|1|0|0\n+U k|2|1|1\n+U k|3|3|2\n"};
    for (int grows = 0; grows < 2; grows++) {
        plan_t *p = group_plan(1, false, !grows, false);
        p->stages[1]->ops[1]->after_only = true;
        rig_t *r = rig_new(p, grows ? growing : life_of_a_group, 1, grows ? 3 : 6);
        r->poll_rows = 1;
        rig_build(r);
        rig_finish(r, 1);
        ck_assert_str_eq(rig_output(r), want[grows]);
        rig_free(r);
    }
}
END_TEST

START_TEST(batch_mode_emits_once_at_the_end) {
    for (int local = 0; local < 2; local++) {
        plan_t *p = group_plan(2, local, false, false);
        p->batch = true;
        rig_t *r = rig_new(p, inserts, 2, 300);
        rig_build(r);
        rig_run(r, 6, 2);
        ck_assert_str_eq(rig_output(r), "");
        rig_kill(r);
        rig_build(r);
        rig_finish(r, 4);
        char *want = group_expected(inserts, 2, 300);
        assert_same_lines(rig_output(r), want);
        /* killed after the last epoch and before anybody knew: nothing comes twice */
        rig_kill(r);
        rig_build(r);
        rig_finish(r, 4);
        assert_same_lines(rig_output(r), want);
        free(want);
        rig_free(r);
    }
}
END_TEST

START_TEST(a_global_aggregate_over_nothing) {
    for (int batch = 0; batch < 2; batch++) {
        plan_t *p = group_plan(2, false, false, true);
        p->batch = batch;
        rig_t *r = rig_new(p, inserts, 1, 0);
        rig_build(r);
        rig_finish(r, 3);
        ck_assert_str_eq(rig_output(r), batch ? "+I 0|NULL|NULL\n" : "");
        rig_kill(r);
        rig_build(r);
        rig_finish(r, 3);
        ck_assert_str_eq(rig_output(r), batch ? "+I 0|NULL|NULL\n" : "");
        rig_free(r);
    }
}
END_TEST

/* With a time to live a silent group is forgotten: it begins anew. */
START_TEST(a_group_is_forgotten_after_its_time_to_live) {
    plan_t *p = group_plan(1, false, false, false);
    p->stages[1]->ops[1]->state_ttl_ms = 1000;
    rig_t *r = rig_new(p, constant, 1, 1);
    r->unbounded = true;
    rig_build(r);
    rig_run(r, 20, 0);
    task_stats_t st;
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, 1);
    r->now += 5000;
    rig_run(r, 20, 0);
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, 0);
    r->per_split = 2;
    rig_run(r, 20, 0);
    rig_inject(r, 0);
    rig_run(r, 20, 0);
    ck_assert_str_eq(rig_output(r), "+I k|1|5|5\n+I k|1|5|5\n");
    rig_free(r);
}
END_TEST

/* Groups of a job that had none do not all end with the first look at them: their time begins when they meet it. */
START_TEST(a_time_to_live_that_a_restored_job_gets_anew_begins_then) {
    plan_t *p = group_plan(1, false, false, false);
    rig_t *r = rig_new(p, constant, 1, 1);
    r->unbounded = true;
    rig_build(r);
    rig_run(r, 20, 5);
    rig_kill(r);
    p->stages[1]->ops[1]->state_ttl_ms = 1000;
    r->now += 50000;
    rig_build(r);
    task_stats_t st;
    for (int i = 0; i < 4; i++) { /* swept, and sealed */
        rig_run(r, 20, 5);
        r->now += 200;
    }
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, 1);
    r->per_split = 2;
    rig_run(r, 20, 5);
    r->now += 5000;
    rig_run(r, 20, 5);
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, 0);
    ck_assert_str_eq(rig_output(r), "+I k|1|5|5\n-U k|1|5|5\n+U k|2|10|5\n");
    rig_free(r);
}
END_TEST

/* An upsert stream becomes a changelog: the stored row is what is taken back. */
static row_t upserts(int split, int64_t i) {
    static const row_t rows[] = {{"a", 1, 0, ROW_UPDATE_AFTER}, {"b", 2, 0, ROW_INSERT}, {"a", 3, 0, ROW_UPDATE_AFTER}, {"a", 3, 0, ROW_INSERT},
                                 {"c", 9, 0, ROW_DELETE}, {"b", 0, 0, ROW_DELETE}, {"b", 7, 0, ROW_UPDATE_AFTER}};
    return rows[i];
}

static plan_t *upsert_plan(void) {
    plan_t *p = plan_begin(1);
    plan_stage_t *s = plan_stage(p);
    plan_source(p, s, 1)->retracts = true;
    plan_op_t *u = plan_op1(p, s, OP_UPSERT_KEYS, NULL);
    u->nkeys = 1;
    u->keys = KEY0;
    u->fingerprint = 3;
    u->retracts = true;
    plan_sink(p, s);
    return p;
}

START_TEST(upserts_become_a_changelog) {
    for (uint32_t poll = 1; poll <= 7; poll += 6) {
        rig_t *r = rig_new(upsert_plan(), upserts, 1, 7);
        r->poll_rows = poll;
        rig_build(r);
        rig_run(r, 3, 1);
        rig_kill(r);
        rig_build(r);
        rig_finish(r, 2);
        const char *t = "1970-01-01 00:00:00.000";
        char *want = xprintf("+I a|1|%s\n+I b|2|%s\n-U a|1|%s\n+U a|3|%s\n-D b|2|%s\n+I b|7|%s\n", t, t, t, t, t, t);
        ck_assert_str_eq(rig_output(r), want);
        free(want);
        rig_free(r);
    }
}
END_TEST

/* Rows of 60 keys, some of them long, every fifth a delete, through kills and with most rows evicted: what the changelog leaves is the last row of each key,
 * and each row that it takes back is the one it gave before (materialise looks). */
#define UPSERT_KEYS 60
static char *upsert_keys[UPSERT_KEYS];
static row_t many_upserts(int split, int64_t i) {
    row_kind_t kind = i % 5 == 4 ? ROW_DELETE : i % 11 == 3 ? ROW_UPDATE_BEFORE : ROW_UPDATE_AFTER;
    return (row_t){upsert_keys[i * 37 % 101 % UPSERT_KEYS], i / 3 % 50, i / 7 % 4, kind};
}

static char *expected_upserts(int64_t n) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (int k = 0; k < UPSERT_KEYS; k++) {
        row_t last = {.kind = ROW_DELETE};
        for (int64_t i = 0; i < n; i++) {
            row_t r = many_upserts(0, i);
            if (r.k == upsert_keys[k] && r.kind != ROW_UPDATE_BEFORE) last = r;
        }
        if (last.kind != ROW_DELETE) buf_printf(&out, "+I %s|%" PRId64 "|1970-01-01 00:00:00.%03d\n", last.k, last.v, (int)last.ts_ms);
    }
    return buf_take_cstr(&out);
}

START_TEST(an_upsert_stream_leaves_the_last_row_of_each_key) {
    static const size_t memory[] = {0, 1, 4000};
    for (int k = 0; k < UPSERT_KEYS; k++) upsert_keys[k] = xprintf("key-%d-%0*d", k, k % 9 ? 4 : 300, k);
    char *want = expected_upserts(600);
    for (size_t m = 0; m < ARRAY_LEN(memory); m++)
        for (uint32_t poll = 1; poll <= 600; poll *= 8) {
            plan_t *p = upsert_plan();
            rig_t *r = rig_new(p, many_upserts, 1, 600);
            r->poll_rows = poll;
            r->memory = memory[m];
            rig_lives(r, memory[m] ? 0 : 3, 30, 4);
            rig_build(r);
            rig_finish(r, 3);
            char *left = materialise(rig_output(r));
            assert_same_lines(left, want);
            free(left);
            rig_free(r);
        }
    free(want);
    for (int k = 0; k < UPSERT_KEYS; k++) free(upsert_keys[k]);
}
END_TEST

/* The sweep reads evicted groups, forgets those whose time is over, and leaves the others where they are. */
static row_t of_two_ages(int split, int64_t i) {
    static char text[16];
    snprintf(text, sizeof text, "%d", (int)i);
    return (row_t){text, 1, i, ROW_INSERT};
}
START_TEST(evicted_groups_are_forgotten_after_their_time_to_live_too) {
    enum { OLD = 6000, YOUNG = 500 };
    plan_t *p = group_plan(1, false, false, false);
    p->stages[1]->ops[1]->state_ttl_ms = 10000;
    rig_t *r = rig_new(p, of_two_ages, 1, OLD);
    r->unbounded = true;
    r->poll_rows = 500;
    r->memory = 60000;
    rig_build(r);
    rig_run(r, 200, 5);
    task_stats_t st;
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, OLD);
    r->now += 12000;
    r->per_split = OLD + YOUNG;
    rig_run(r, 100, 5);
    uint64_t most = 0;
    for (int i = 0; i < 400; i++) {
        rig_run(r, 5, i % 10 == 0 ? 5 : 0);
        r->now += 15;
        task_stats(r->tasks[1], &st);
        most = MAX(most, st.state_bytes);
        if (st.state_entries == YOUNG) break;
    }
    ck_assert_uint_eq(st.state_entries, YOUNG); /* well before the young ones' time is over */
    ck_assert_uint_lt(most, OLD * 100);         /* never all of them at once */
    r->now += 20000;
    for (int i = 0; i < 400; i++, r->now += 15) rig_run(r, 5, i % 10 == 0 ? 5 : 0);
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, 0);
    rig_free(r);
}
END_TEST

/* 10,000 rows of as many keys, or of four; then 200 rows of one. */
static int first_keys;
static row_t then_one(int split, int64_t i) {
    static char text[32768][16];
    static uint32_t at;
    char *k = text[at++ % ARRAY_LEN(text)];
    snprintf(k, 16, "%d", i < 10000 ? (int)(i % first_keys) : -1);
    return (row_t){k, i, i, ROW_INSERT};
}

/* Whether rows are combined is seen from outside in the results between: combined, the 200 rows are one change. */
START_TEST(keys_that_do_not_repeat_pass_the_combiner_and_lose_nothing) {
    for (int pass = 0; pass < 2; pass++) {
        first_keys = pass ? 10000 : 4;
        rig_t *r = rig_new(group_plan(1, true, false, false), then_one, 1, 10000);
        r->unbounded = true;
        r->poll_rows = 1000;
        rig_build(r);
        rig_run(r, 100, 0); /* the input is idle: the table was let go and measured */
        task_stats_t st;
        task_stats(r->tasks[1], &st);
        ck_assert_uint_eq(st.state_entries, (uint64_t)first_keys);
        r->per_split = 10200;
        r->poll_rows = 17;
        rig_run(r, 100, 0);
        rig_inject(r, 0);
        rig_run(r, 20, 0);
        char *left = materialise(rig_output(r)), *save = NULL;
        int changes = 0, keys = 0;
        int64_t count = 0, sum = 0;
        for (const char *p = rig_output(r); (p = strstr(p, " -1|")); p++) changes++;
        for (char *l = strtok_r(left, "\n", &save); l; l = strtok_r(NULL, "\n", &save), keys++) {
            long long n, s;
            ck_assert_int_eq(sscanf(strchr(l, '|'), "|%lld|%lld", &n, &s), 2);
            count += n;
            sum += s;
        }
        ck_assert_int_eq(keys, first_keys + 1);
        ck_assert_int_eq(count, 10200);
        ck_assert_int_eq(sum, 10200LL * 10199 / 2);
        if (pass) ck_assert_int_eq(changes, 2 * ((200 + 16) / 17) - 1);
        else ck_assert_int_eq(changes, 1);
        free(left);
        rig_free(r);
    }
}
END_TEST

/* The barrier came when 10,000 rows had, of as many keys: sixteen times as many pass, then it is tried again. */
START_TEST(a_short_epoch_does_not_keep_the_combiner_from_long_ones) {
    first_keys = 10000;
    rig_t *r = rig_new(group_plan(1, true, false, false), then_one, 1, 10000);
    r->unbounded = true;
    r->poll_rows = 1000;
    rig_build(r);
    rig_run(r, 100, 0);
    r->per_split = 10000 + 160000 + 50000;
    rig_run(r, 1000, 0);
    rig_inject(r, 0);
    rig_run(r, 20, 0);
    int changes = 0;
    for (const char *p = rig_output(r); (p = strstr(p, " -1|")); p++) changes++;
    ck_assert_int_eq(changes, 2 * 160 - 1 + 2); /* one for each batch, one for the 50,000 rows behind them */
    rig_free(r);
}
END_TEST

static row_t one_key(int split, int64_t i) { return (row_t){"one", 1, i, ROW_INSERT}; }

/* Where memory is scarce a combiner's table is full with a few thousand groups: what several of them show counts together. */
START_TEST(a_combiner_that_combines_nothing_steps_aside_also_when_memory_is_scarce) {
    rig_t *r = rig_new(group_plan(1, true, false, false), of_two_ages, 1, 20000);
    r->unbounded = true;
    r->poll_rows = 1000;
    r->memory = 8 << 20; /* a table has a sixteenth: some 6,000 of these groups */
    rig_build(r);
    rig_run(r, 100, 0);
    rig_inject(r, 0);
    rig_run(r, 50, 0);
    task_stats_t st;
    task_stats(r->tasks[1], &st);
    ck_assert_uint_eq(st.state_entries, 20000);
    size_t before = strlen(rig_output(r));
    r->rows = one_key;
    r->per_split = 20200;
    r->poll_rows = 17;
    rig_run(r, 100, 0);
    rig_inject(r, 0);
    rig_run(r, 50, 0);
    int changes = 0;
    for (const char *l = rig_output(r) + before; (l = strstr(l, " one|")); l++) changes++;
    ck_assert_int_eq(changes, 2 * ((200 + 16) / 17) - 1); /* not combined: each batch is a change */
    rig_free(r);
}
END_TEST

/* More groups than the cache holds, then batches of rows of nearly as many: a key at both ends of each, some side by side, and one that is NULL; at the end
 * rows of ten. */
#define WIDE 60000
#define WIDE_MANY (WIDE + 40000)
#define WIDE_ROWS (WIDE_MANY + 10000)
static row_t wide(int split, int64_t i) {
    static char text[16];
    int64_t in = i % 1000, k = i < WIDE ? i : (in % 50 < 2 ? i - in % 2 : i) * 7919 % WIDE;
    bool end = i >= WIDE && i < WIDE_MANY && (in == 0 || in == 999);
    if (i >= WIDE_MANY) k = i % 10;
    snprintf(text, sizeof text, "%d", end ? -1 : (int)k);
    return (row_t){k == 77 && !end ? NULL : text, i % 101, i, ROW_INSERT};
}

typedef struct wide_group { int64_t n, sum, max; } wide_group_t;
static wide_group_t *wide_of(wide_group_t *groups, const char *key) { return &groups[*key == 'N' ? 77 : atoi(key) + 1 + (*key != '-') * 100]; }

/* Each change of a group follows from the one before, and the last is the result. */
START_TEST(a_batch_of_many_groups_is_applied_by_portions_and_loses_nothing) {
    for (int variant = 0; variant < 3; variant++) {
        bool local = variant == 1, kills = variant == 2;
        plan_t *p = group_plan(1, local, false, false);
        p->stages[1]->ops[1]->after_only = true;
        rig_t *r = rig_new(p, wide, 1, WIDE_ROWS);
        r->poll_rows = 1000;
        rig_lives(r, kills ? 3 : 0, 30, 4);
        rig_build(r);
        rig_finish(r, 4);
        wide_group_t *want = calloc(WIDE + 200, sizeof *want), *got = calloc(WIDE + 200, sizeof *got);
        for (int64_t i = 0; i < WIDE_ROWS; i++) {
            row_t row = wide(0, i);
            wide_group_t *g = wide_of(want, row.k ? row.k : "N");
            *g = (wide_group_t){g->n + 1, g->sum + row.v, MAX(g->max, row.v)};
        }
        int ends = 0, ten = 0;
        char *text = strdup(rig_output(r)), *save = NULL;
        for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
            wide_group_t *g = wide_of(got, l + 3), now;
            ck_assert_int_eq(sscanf(strchr(l, '|'), "|%" SCNd64 "|%" SCNd64 "|%" SCNd64, &now.n, &now.sum, &now.max), 3);
            ck_assert_msg(strncmp(l, g->n ? "+U" : "+I", 2) == 0 && now.n > g->n, "'%s' after %" PRId64 " rows", l, g->n);
            *g = now;
            ends += strncmp(l + 3, "-1|", 3) == 0;
            ten += l[4] == '|'; /* a key of one digit */
        }
        ck_assert_mem_eq(got, want, sizeof *got * (WIDE + 200));
        if (!local && !kills) ck_assert_int_gt(ends, 60); /* twice in each of 40 batches, but where one was tried as a whole */
        if (!local && !kills) ck_assert_msg(ten < 200, "%d changes of ten groups in 10 batches, where one batch at most went by portions", ten);
        free(text);
        free(got);
        free(want);
        rig_free(r);
    }
}
END_TEST

TESTS("group_agg", a_batch_of_many_groups_is_applied_by_portions_and_loses_nothing,
      evicted_groups_are_forgotten_after_their_time_to_live_too,
      a_combiner_that_combines_nothing_steps_aside_also_when_memory_is_scarce, keys_that_do_not_repeat_pass_the_combiner_and_lose_nothing,
      a_short_epoch_does_not_keep_the_combiner_from_long_ones,
      the_changelog_adds_up_to_the_result, an_unchanged_result_is_not_emitted, a_group_is_born_changes_and_dies,
      an_update_is_one_row_where_nobody_needs_what_it_was,
      batch_mode_emits_once_at_the_end, a_global_aggregate_over_nothing, a_group_is_forgotten_after_its_time_to_live,
      a_time_to_live_that_a_restored_job_gets_anew_begins_then, upserts_become_a_changelog,
      an_upsert_stream_leaves_the_last_row_of_each_key)
