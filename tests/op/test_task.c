#include "tests/op/windows_rig.h"

/* source -> calc -> sink in one task: every row that passes the filter comes out once, in order, and the epochs carry them */
START_TEST(rows_pass_a_chain_in_one_task) {
    plan_t *p = plan_begin(1);
    plan_stage_t *s = plan_stage(p);
    plan_source(p, s, 1);
    plan_op_t *c = plan_op1(p, s, OP_CALC, schema_make(p, 2, "v", T_I64, "k", T_STR));
    expr_t **proj = ARENA_ARRAY(p->arena, expr_t *, 2);
    proj[0] = expr_column(p->arena, 1, T_I64);
    proj[1] = expr_column(p->arena, 0, T_STR);
    c->projection = proj;
    expr_t *args[2] = {expr_column(p->arena, 1, T_I64), expr_bigint(p->arena, 30)}, *filter;
    ck_ok(func_bind(p->arena, ">=", args, 2, &filter));
    c->filter = filter;
    plan_sink(p, s);
    rig_t *r = rig_new(p, steady, 1, 100);
    rig_build(r);
    rig_finish(r, 3);
    buf_t want = buf_make(1 << 20);
    for (int i = 30; i < 100; i++) buf_printf(&want, "+I %d|k%d\n", i, i * 7 % 10);
    ck_assert_str_eq(rig_output(r), buf_cstr(&want));
    ck_assert_uint_gt(r->complete, 3);
    buf_free(&want);
    rig_free(r);
}
END_TEST

START_TEST(tumbling_count_and_sum_in_one_task) {
    rig_t *r = rig_new(tumble_plan(1, false, false), steady, 1, 500);
    rig_build(r);
    rig_finish(r, 5);
    char *want = tumble_expected(steady, 1, 500, 1000);
    assert_same_lines(rig_output(r), want);
    ck_assert_uint_eq(r->late, 0);
    free(want);
    rig_free(r);
}
END_TEST


/* Two splits, two source tasks, a combiner, an exchange to two tasks; the order of steps, the size of polls and the refusals of the sink
 * differ by seed: the result never does. */
START_TEST(any_interleaving_gives_the_same_windows) {
    char *want = tumble_expected(steady, 3, 400, 1000);
    for (uint64_t seed = 1; seed <= 8; seed++) {
        rig_t *r = rig_new(tumble_plan(2, true, seed % 2), steady, 3, 400);
        rng_seed(&r->rng, seed);
        r->poll_rows = 1 + (uint32_t)seed * 13;
        r->channel_bytes = seed % 3 ? 1 : 0; /* one batch fills the channel */
        r->sink_refuses = seed % 4 ? 3 : 0;
        r->sink_settles = seed % 3 ? 0 : 9;
        rig_build(r);
        rig_finish(r, 7);
        assert_same_lines(rig_output(r), want);
        rig_free(r);
    }
    free(want);
}
END_TEST

/* Killed again and again, at any moment, and restored from the last complete epoch: output of complete epochs is
 * exactly that of the run without faults. */
START_TEST(killed_and_restored_equals_undisturbed) {
    char *want = tumble_expected(steady, 3, 400, 1000);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        rig_t *r = rig_new(tumble_plan(2, true, seed % 2), steady, 3, 400);
        rng_seed(&r->rng, seed);
        r->poll_rows = 11;
        r->channel_bytes = seed % 3 ? 1 : 0;
        r->sink_refuses = seed % 4 ? 3 : 0;
        r->sink_settles = seed % 3 ? 0 : 9;
        for (int life = 0; life < 6; life++) {
            rig_build(r);
            rig_run(r, 30 + (int)rng_below(&r->rng, 60), 6);
            rig_kill(r);
            r->injected = r->complete + 3; /* epochs of a dead attempt are never used again .. */
            r->complete = r->injected;
        }
        rig_build(r);
        rig_finish(r, 6);
        assert_same_lines(rig_output(r), want);
        rig_free(r);
    }
    free(want);
}
END_TEST

/* A15: what a sink wrote before the barrier is on its way. Rows and barriers behind it do not wait, the seal does. */
START_TEST(rows_and_barriers_pass_a_sink_while_the_seals_before_them_wait) {
    plan_t *p = plan_begin(1);
    plan_stage_t *st = plan_stage(p);
    plan_source(p, st, 1);
    plan_sink(p, st);
    rig_t *r = rig_new(p, steady, 1, 300);
    r->sink_holds = r->unbounded = true;
    rig_build(r);
    rig_run(r, 4, 0);
    rig_inject(r, 0);
    rig_run(r, 10, 0);
    rig_inject(r, 0);
    rig_run(r, 200, 0);
    task_stats_t stats;
    task_stats(r->tasks[0], &stats);
    ck_assert_uint_eq(stats.rows_out, 300); /* all of them, with two epochs open */
    ck_assert_int_eq(r->nseals, 0);
    r->settled = 1;
    rig_round(r, NULL);
    ck_assert_int_eq(r->nseals, 1);
    ck_assert_uint_eq(r->seals[0]->epoch, 1);
    ck_assert_int_gt(r->splits.items[0].position, 0);
    ck_assert_int_lt(r->splits.items[0].position, 300);
    r->settled = 2;
    rig_round(r, NULL);
    ck_assert_uint_eq(r->complete, 2);
    ck_assert_int_eq(r->splits.items[0].position, 300);
    rig_free(r);
}
END_TEST

/* A20: the input has ended long ago; epochs go on, and say so. */
START_TEST(an_ended_task_answers_barriers) {
    rig_t *r = rig_new(tumble_plan(1, true, true), steady, 1, 50);
    rig_build(r);
    rig_finish(r, 0);
    for (int i = 0; i < 3; i++) {
        rig_inject(r, 0);
        for (int k = 0; k < 100 && r->complete < r->injected; k++) rig_round(r, NULL);
        ck_assert_uint_eq(r->complete, r->injected);
    }
    task_seal_t *last = r->seals[r->nseals - 1];
    ck_assert(last->ended);
    ck_assert_uint_eq(last->rows_since, 0);
    ck_assert_int_eq(last->watermark, WATERMARK_END);
    rig_free(r);
}
END_TEST

/* A7: after the final barrier nothing is emitted, and time does not jump to its end. */
START_TEST(nothing_follows_a_final_barrier) {
    rig_t *r = rig_new(tumble_plan(1, true, false), steady, 1, 100000);
    rig_build(r);
    rig_run(r, 40, 0);
    rig_inject(r, BARRIER_FINAL);
    uint64_t polls = 0;
    for (int i = 0; i < 200; i++) {
        rig_round(r, NULL);
        if (r->complete == 1 && !polls) polls = r->polls;
    }
    ck_assert_uint_eq(r->complete, 1);
    ck_assert_uint_eq(r->polls, polls);
    ck_assert_uint_eq(r->seals[0]->flags, BARRIER_FINAL);
    ck_assert_int_lt(r->seals[0]->watermark, WATERMARK_END);
    int64_t position = r->splits.items[0].position;
    ck_assert_int_gt(position, 0);
    /* the next life goes on from there, and the windows open at the stop fire then */
    rig_kill(r);
    r->per_split = position + 100;
    rig_build(r);
    rig_finish(r, 5);
    char *want = tumble_expected(steady, 1, position + 100, 1000);
    assert_same_lines(rig_output(r), want);
    free(want);
    rig_free(r);
}
END_TEST

static row_t split1_silent(int split, int64_t i) {
    row_t r = steady(split, i);
    if (split == 1) r.ts_ms = 10000 + i; /* ends far behind the other */
    return r;
}

/* Without a time-out a split that has nothing holds time; with one, time goes on after it, and only after it. */
START_TEST(an_idle_split_stops_holding_time) {
    for (int timeout = 0; timeout <= 50; timeout += 50) {
        plan_t *p = tumble_plan(1, true, true);
        p->stages[0]->ops[1]->idle_timeout_ms = timeout;
        rig_t *r = rig_new(p, split1_silent, 2, 60);
        r->unbounded = true;
        rig_build(r);
        rig_run(r, 40, 0);
        task_stats_t st;
        task_stats(r->tasks[0], &st);
        ck_assert_int_eq(st.watermark, 10059); /* split 1's last row */
        ck_assert_str_eq(st.holds_time, "1");
        rig_run(r, 200, 0);
        task_stats(r->tasks[1], &st);
        ck_assert_int_eq(st.watermark, timeout ? 10000 + 59 * 100 : 10059);
        rig_inject(r, 0);
        rig_run(r, 50, 0);
        ck_assert_uint_eq(r->complete, 1);
        ck_assert_int_eq(r->splits.items[1].idle, timeout != 0);
        ck_assert_int_eq(r->splits.items[1].watermark, 10059);
        ck_assert(timeout == 0 || strlen(rig_output(r)) > 0);
        rig_free(r);
    }
}
END_TEST

/* B10: a source task without splits says idle at once, the others' time goes on. */
START_TEST(a_source_without_splits_holds_nothing) {
    rig_t *r = rig_new(tumble_plan(3, true, true), steady, 1, 200);
    r->unbounded = true;
    rig_build(r);
    rig_run(r, 200, 0);
    task_stats_t st;
    task_stats(r->tasks[3], &st);
    ck_assert_int_eq(st.watermark, 10000 + 199 * 100);
    rig_free(r);
}
END_TEST

/* A6: a batch that vanished on the way is found by the barrier's count. */
static bool lossy_receive(channel_in_t *c, element_t *ret);
typedef struct lossy {
    channel_in_t in;
    channel_in_t *inner;
    int countdown;
} lossy_t;
static bool lossy_receive(channel_in_t *c, element_t *ret) {
    lossy_t *l = (lossy_t *)c;
    if (!l->inner->receive(l->inner, ret)) return false;
    if (ret->kind != ELEMENT_BATCH || --l->countdown != 0) return true;
    batch_free(ret->batch);
    return l->inner->receive(l->inner, ret);
}
static void lossy_close(channel_in_t *c) {
    lossy_t *l = (lossy_t *)c;
    l->inner->close(l->inner);
    free(l);
}

static void keep_seal(void *arg, task_seal_t *s) { task_seal_free(s); }
static int64_t fixed_now(void *arg) { return 1; }

START_TEST(a_lost_batch_fails_the_task_at_the_barrier) {
    plan_t *p = tumble_plan(1, true, false);
    channel_out_t *out;
    channel_in_t *in;
    ck_ok(ring_channel_new(1 << 20, (wake_t){0}, (wake_t){0}, &out, &in));
    lossy_t *l = xcalloc(1, sizeof *l);
    *l = (lossy_t){{lossy_receive, lossy_close}, in, 2};
    kstate_env_conf_t conf = {0};
    kstate_env_t *kenv = kstate_env_new(&conf);
    task_env_t env = {.plan = p, .stage = 1, .parallelism = 1, .job = "t", .state = kenv, .restored_watermark = WATERMARK_NONE, .now_ms = fixed_now,
                      .sealed = keep_seal, .find_source = rig_find_source, .find_sink = rig_find_sink};
    env.ins = xcalloc(1, sizeof *env.ins);
    env.ins[0] = xcalloc(1, sizeof **env.ins);
    env.ins[0][0] = &l->in;
    env.nins = xcalloc(1, sizeof *env.nins);
    env.nins[0] = 1;
    rig_t fake = {0};
    the_rig = &fake;
    task_t *t;
    ck_ok(task_new(&env, &t));
    ck_ok(task_start(t));
    uint64_t rows = 0;
    for (int i = 0; i < 3; i++) {
        batch_t *b = batch_new_schema(p->stages[1]->ops[0]->schema, 4);
        rows += b->n;
        out->send(out, (element_t){.kind = ELEMENT_BATCH, .batch = b});
    }
    out->send(out, (element_t){.kind = ELEMENT_BARRIER, .epoch = 1, .rows = rows});
    err_t *e = NULL;
    task_status_t st = task_step(t, 100, &e);
    ck_assert_int_eq(st, TASK_FAILED);
    ck_assert_ptr_nonnull(strstr(err_text(e), "8 rows came before the barrier of epoch 1, 12 were sent"));
    ck_assert(!err_deterministic(e));
    err_free(e);
    task_free(t);
    out->close(out);
    kstate_env_free(kenv);
    plan_free(p);
}
END_TEST

/* Two sources into a union: time is the slower one's, barriers of both are aligned, every row comes once. */
START_TEST(a_union_aligns_its_inputs) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        plan_t *p = plan_begin(1);
        plan_stage_t *s = plan_stage(p);
        plan_source(p, s, 1);
        plan_op_t *w1 = plan_watermark(p, s);
        plan_op_t *src2 = plan_source(p, s, 7);
        plan_op_t *w2 = plan_watermark(p, s);
        plan_op_t *u = plan_op2(p, s, OP_UNION, w1->id, w2->id, src2->schema);
        ck_assert_int_eq(u->ninputs, 2);
        plan_sink(p, s);
        rig_t *r = rig_new(p, steady, 2, 200);
        rng_seed(&r->rng, seed);
        r->sink_refuses = 3;
        rig_build(r);
        rig_run(r, 30, 4);
        rig_kill(r);
        rig_build(r);
        rig_finish(r, 4);
        buf_t want = buf_make(1 << 20);
        for (int split = 0; split < 2; split++)
            for (int i = 0; i < 200; i++) {
                buf_printf(&want, "+I k%d|%d|", (i * 7 + split * 3) % 10, i);
                print_ts(&want, 10000 + i * 100);
                buf_puts(&want, "\n");
            }
        assert_same_lines(rig_output(r), buf_cstr(&want));
        buf_free(&want);
        rig_free(r);
    }
}
END_TEST

/* A consumer that takes nothing is named, and no more when it has caught up and another is slower. */
START_TEST(a_full_output_names_the_consumer_that_is_slow) {
    rig_t *r = rig_new(tumble_plan(2, true, true), steady, 2, 100000);
    r->channel_bytes = 2000;
    rig_build(r);
    task_t *source = r->tasks[0], *slow = NULL;
    task_stats_t st;
    task_stats(source, &st);
    ck_assert_int_eq(st.blocked_stage, -1);
    for (int which = 0; which < 2; which++) {
        slow = r->tasks[2 + which];
        for (int k = 0; k < 12000; k++) {
            for (int i = 0; i < r->ntasks; i++) {
                err_t *e = NULL;
                if (r->tasks[i] != slow) ck_assert_int_ne(task_step(r->tasks[i], 4, &e), TASK_FAILED);
            }
            r->now++;
        }
        task_stats(source, &st);
        ck_assert_int_eq(st.blocked_stage, 1);
        ck_assert_int_eq(st.blocked_subtask, which);
        ck_assert_uint_ge(st.blocked_ns, 5000000000);
    }
    rig_free(r);
}
END_TEST

/* What is in its queues when sources are held still makes state: where memory is scarce a task has one batch at work. */
START_TEST(where_memory_is_scarce_a_source_is_asked_for_one_batch_after_the_other) {
    char *want = tumble_expected(steady, 1, 500, 1000);
    uint64_t polls[2];
    for (int scarce = 0; scarce < 2; scarce++) {
        rig_t *r = rig_new(tumble_plan(1, true, false), steady, 1, 500);
        r->memory = 64 << 20;
        r->channel_bytes = 1;
        r->poll_rows = 10;
        rig_build(r);
        if (scarce) kstate_env_hold_bytes(r->env, (int64_t)r->memory * 7 / 8);
        ck_assert(!kstate_env_hold(r->env) && kstate_env_scarce(r->env) == scarce);
        err_t *e = NULL;
        task_step(r->tasks[0], 1000, &e); /* its consumer takes nothing */
        ck_assert_ptr_null(e);
        polls[scarce] = r->polls;
        rig_finish(r, 7);
        assert_same_lines(rig_output(r), want);
        if (scarce) kstate_env_hold_bytes(r->env, -(int64_t)r->memory * 7 / 8);
        rig_free(r);
    }
    ck_assert_uint_eq(polls[1], 1);
    ck_assert_uint_ge(polls[0], 4);
    free(want);
}
END_TEST

TESTS("task", where_memory_is_scarce_a_source_is_asked_for_one_batch_after_the_other, a_full_output_names_the_consumer_that_is_slow,
      rows_pass_a_chain_in_one_task, tumbling_count_and_sum_in_one_task, any_interleaving_gives_the_same_windows,
      killed_and_restored_equals_undisturbed, rows_and_barriers_pass_a_sink_while_the_seals_before_them_wait,
      an_ended_task_answers_barriers, nothing_follows_a_final_barrier, an_idle_split_stops_holding_time,
      a_source_without_splits_holds_nothing, a_lost_batch_fails_the_task_at_the_barrier, a_union_aligns_its_inputs)
