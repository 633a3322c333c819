/* datagen: the same rows whoever makes them and however often it is restored, at the rate asked for. */
#include "tests/connector/support.h"

typedef struct run {
    fixture_t f;
    plan_op_t op;
    eval_ctx_t eval;
    source_t source;
    int scan[32];
} run_t;

static run_t run_new(void) {
    run_t r = {.f = fixture_new(), .eval = {.now_ms = 1000000}};
    r.f.table.connector = "datagen";
    fixture_option(&r.f, "connector", "datagen");
    for (int i = 0; i < 32; i++) r.scan[i] = i;
    return r;
}
static void run_open(run_t *r, const split_list_t *splits) {
    r->op = (plan_op_t){.kind = OP_SOURCE, .table = &r->f.table, .nscan = r->f.table.physical->n, .scan = r->scan};
    r->source = (source_t){.vt = &datagen_source, .self = xcalloc(1, datagen_source.state_size)};
    r->source.env = (op_env_t){.op = &r->op, .eval = &r->eval, .parallelism = 1};
    for (int i = 0; i < splits->n; i++) split_list_add(&r->source.splits, &splits->items[i]);
    ck_ok(datagen_source.open(&r->source));
}
static void run_close(run_t *r) {
    datagen_source.close(&r->source);
    free(r->source.self);
    split_list_free(&r->source.splits);
}
static src_status_t run_poll(run_t *r, buf_t *out, int *ret_rows) {
    batch_t *b = NULL;
    int split = -1;
    err_t *e = NULL;
    src_status_t st = datagen_source.poll(&r->source, &b, &split, &e);
    ck_assert_msg(st != SRC_FAIL, "%s", err_text(e));
    *ret_rows = b ? (int)b->n : 0;
    if (!b) return st;
    ck_assert_uint_le(b->n, BATCH_ROWS_MAX);
    ck_ok(batch_validate(b, r->f.table.physical));
    char *t = batch_text(b);
    buf_puts(out, t);
    buf_put_u8(out, ';');
    free(t);
    batch_free(b);
    return st;
}

static void orders(run_t *r) {
    fixture_column(&r->f, "id", &type_bigint);
    fixture_column(&r->f, "product", &type_string);
    fixture_column(&r->f, "amount", type_decimal(r->f.arena, 8, 2, true));
    fixture_column(&r->f, "at", &type_timestamp3);
    fixture_column(&r->f, "n", &type_int);
    fixture_option(&r->f, "fields.id.kind", "sequence");
    fixture_option(&r->f, "fields.id.start", "1");
    fixture_option(&r->f, "fields.id.end", "5000");
    fixture_option(&r->f, "fields.product.values", "apple,pear,plum");
    fixture_option(&r->f, "fields.amount.min", "1");
    fixture_option(&r->f, "fields.amount.max", "99.5");
    fixture_option(&r->f, "fields.at.kind", "event-time");
    fixture_option(&r->f, "fields.at.max-delay", "3 s");
    fixture_option(&r->f, "fields.n.null-rate", "0.25");
    fixture_option(&r->f, "event-time.speedup", "10");
    fixture_option(&r->f, "rows-per-second", "1000");
}

START_TEST(restored_at_any_row_it_makes_the_same_rows) {
    run_t r = run_new();
    orders(&r);
    ck_ok(datagen_source.check(&r.f.table));
    split_list_t l = {0};
    ck_ok(datagen_source.enumerate(&r.f.table, NULL, 100, &l));
    ck_assert_int_eq(l.n, 1);
    ck_assert_int_eq(l.items[0].end, 5000);
    buf_t whole = buf_make(BUF_MAX_DEFAULT), pieces = buf_make(BUF_MAX_DEFAULT);
    int n, total = 0;
    run_open(&r, &l);
    while (run_poll(&r, &whole, &n) != SRC_ENDED) {
        total += n;
        r.eval.now_ms += 37;
    }
    ck_assert_int_eq(total, 5000);
    run_close(&r);
    r.eval.now_ms = 77;
    for (int restarts = 0; !l.items[0].ended; restarts++) {
        run_open(&r, &l);
        for (int k = 0; k < 3; k++) {
            run_poll(&r, &pieces, &n);
            r.eval.now_ms += 101;
        }
        split_list_free(&l);
        l = (split_list_t){0};
        split_list_add(&l, &r.source.splits.items[0]);
        run_close(&r);
        ck_assert_int_lt(restarts, 10000);
    }
    ck_assert(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&whole), "|pear|"));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&whole), "|NULL;"));
    buf_free(&whole);
    buf_free(&pieces);
    split_list_free(&l);
    fixture_free(&r.f);
}
END_TEST

START_TEST(shards_cover_the_rows_once) {
    run_t r = run_new();
    fixture_column(&r.f, "id", &type_int);
    fixture_option(&r.f, "fields.id.kind", "sequence");
    fixture_option(&r.f, "fields.id.start", "10");
    fixture_option(&r.f, "fields.id.end", "109");
    fixture_option(&r.f, "number-of-rows", "98");
    options_t set = {1, (const char *[]){"parallelism.default"}, (const char *[]){"3"}};
    split_list_t l = {0};
    ck_ok(datagen_source.enumerate(&r.f.table, &set, 100, &l));
    ck_assert_int_eq(l.n, 3);
    ck_assert_int_eq(l.items[0].end + l.items[1].end + l.items[2].end, 98);
    int count[128] = {0}, n;
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    run_open(&r, &l);
    while (run_poll(&r, &out, &n) != SRC_ENDED) r.eval.now_ms += 5;
    for (char *p = strtok(buf_cstr(&out), ";"); p; p = strtok(NULL, ";")) count[atoi(p)]++;
    for (int i = 0; i < 128; i++) ck_assert_int_eq(count[i], i >= 10 && i < 108);
    run_close(&r);
    buf_free(&out);
    split_list_free(&l);
    fixture_free(&r.f);
}
END_TEST

START_TEST(keeps_the_rate_and_never_waits) {
    run_t r = run_new();
    fixture_column(&r.f, "n", &type_int);
    fixture_option(&r.f, "rows-per-second", "250");
    split_list_t l = {0};
    ck_ok(datagen_source.enumerate(&r.f.table, NULL, 100, &l));
    ck_assert_int_eq(l.items[0].end, -1);
    run_open(&r, &l);
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    int n, total = 0;
    int64_t from = r.eval.now_ms;
    while (r.eval.now_ms < from + 2000) {
        src_status_t st = run_poll(&r, &out, &n);
        total += n;
        if (st == SRC_MORE) continue;
        ck_assert_int_eq(st, SRC_WAIT);
        ck_assert_int_gt(r.source.next_poll_ms, r.eval.now_ms);
        ck_assert_int_le(r.source.next_poll_ms, r.eval.now_ms + 4);
        r.eval.now_ms = r.source.next_poll_ms;
    }
    ck_assert_int_ge(total, 499);
    ck_assert_int_le(total, 501);
    r.eval.now_ms += 3600 * 1000; /* held back for an hour: catches up a second's worth, not an hour's */
    for (total = 0; run_poll(&r, &out, &n) == SRC_MORE;) total += n;
    ck_assert_int_le(total, 252);
    run_close(&r);
    buf_free(&out);
    split_list_free(&l);
    fixture_free(&r.f);
}
END_TEST

START_TEST(event_time_runs_ahead_of_the_clock) {
    run_t r = run_new();
    fixture_column(&r.f, "at", &type_timestamp3);
    fixture_column(&r.f, "plain", &type_timestamp3);
    fixture_option(&r.f, "fields.at.kind", "event-time");
    fixture_option(&r.f, "event-time.speedup", "10");
    fixture_option(&r.f, "rows-per-second", "100");
    split_list_t l = {1, xcalloc(1, sizeof(split_t))};
    l.items[0] = (split_t){.id = xstrdup("0/1@1700000000000"), .end = 201};
    run_open(&r, &l);
    int64_t first = 0, last = 0, rows = 0;
    for (;;) {
        batch_t *b = NULL;
        int split;
        err_t *e = NULL;
        if (datagen_source.poll(&r.source, &b, &split, &e) == SRC_ENDED) break;
        for (uint32_t i = 0; b && i < b->n; i++) {
            if (!rows++) first = b->cols[0].i64[i];
            last = b->cols[0].i64[i];
            ck_assert_int_eq(b->cols[1].i64[i], last);
        }
        batch_free(b);
        r.eval.now_ms += 10;
    }
    ck_assert_int_eq(first, INT64_C(1700000000000) * 1000);
    ck_assert_int_eq(last - first, 20 * 1000000); /* 2 s of rows, 20 s of events */
    run_close(&r);
    split_list_free(&l);
    fixture_free(&r.f);
}
END_TEST

START_TEST(every_type_has_a_generator) {
    run_t r = run_new();
    arena_t *a = r.f.arena;
    const type_t *types[] = {&type_boolean, &type_tinyint, &type_smallint, &type_int, &type_bigint, &type_float, &type_double,
                             type_decimal(a, 38, 10, true), type_scalar(a, TYPE_CHAR, 7, true), &type_string, &type_bytes, &type_date,
                             type_scalar(a, TYPE_TIME, 0, true), &type_timestamp6, &type_ltz3, &type_interval_month,
                             &type_interval_second, type_array(a, &type_int, true), type_map(a, &type_string, &type_double, true),
                             type_multiset(a, &type_string, true)};
    char name[8];
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        snprintf(name, sizeof name, "c%zu", i);
        fixture_column(&r.f, name, types[i]);
    }
    const type_t *inner[] = {&type_int, type_array(a, &type_string, true)};
    fixture_column(&r.f, "row", type_row(a, 2, inner, (const char *const[]){"x", "list"}, true));
    fixture_option(&r.f, "fields.row.x.min", "5");
    fixture_option(&r.f, "fields.row.x.max", "5");
    fixture_option(&r.f, "fields.row.list.element.length", "2");
    fixture_option(&r.f, "fields.c9.length", "12");
    fixture_option(&r.f, "fields.c9.var-len", "true");
    fixture_option(&r.f, "number-of-rows", "3000");
    fixture_option(&r.f, "rows-per-second", "1000000");
    ck_ok(datagen_source.check(&r.f.table));
    split_list_t l = {0};
    ck_ok(datagen_source.enumerate(&r.f.table, NULL, 100, &l));
    run_open(&r, &l);
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    int n, total = 0;
    while (run_poll(&r, &out, &n) != SRC_ENDED) {
        total += n;
        r.eval.now_ms++;
    }
    ck_assert_int_eq(total, 3000);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&out), "(5, ["));
    run_close(&r);
    buf_free(&out);
    split_list_free(&l);
    fixture_free(&r.f);
}
END_TEST

START_TEST(wrong_options_are_refused) {
    static const struct {
        const char *key, *value, *text;
        err_code_t code;
    } cases[] = {
        {"fields.id.knd", "random", "no option 'fields.id.knd'", ERR_INVALID},
        {"fields.nope.min", "1", "no column 'nope'", ERR_INVALID},
        {"fields.id.min", "x", "not an integer", ERR_INVALID},
        {"fields.id.max", "99999999999", "leaves the range", ERR_INVALID},
        {"fields.id.kind", "sequence", "needs 'fields.id.start'", ERR_INVALID},
        {"fields.id.kind", "event-time", "TIMESTAMP", ERR_INVALID},
        {"fields.id.kind", "gauss", "is unknown", ERR_INVALID},
        {"fields.id.values", "1,two", "cannot hold", ERR_INVALID},
        {"fields.id.null-rate", "2", "between 0 and 1", ERR_INVALID},
        {"rows-per-second", "0", "rows-per-second", ERR_INVALID},
        {"row-per-second", "5", "no option 'row-per-second'", ERR_INVALID},
        {"event-time.speedup", "-1", "event-time.speedup", ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run_t r = run_new();
        fixture_column(&r.f, "id", &type_int);
        fixture_option(&r.f, cases[i].key, cases[i].value);
        ck_fails(datagen_source.check(&r.f.table), cases[i].code, cases[i].text);
        fixture_free(&r.f);
    }
}
END_TEST

TESTS("datagen", restored_at_any_row_it_makes_the_same_rows, shards_cover_the_rows_once, keeps_the_rate_and_never_waits,
      event_time_runs_ahead_of_the_clock, every_type_has_a_generator, wrong_options_are_refused)
