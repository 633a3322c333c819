/* Properties of plans: identity of state, determinism, lanes, modes, sharing. */
#include "common/buf.h"
#include "sql/sql.h"
#include "tests/helpers/test.h"

#define EVENTS                                                                                                         \
    "CREATE TABLE events (id STRING, category STRING, amount DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)\n"       \
    "WITH ('connector' = 'datagen', 'rows-per-second' = '10');\n"                                                      \
    "CREATE TABLE sink (category STRING, n BIGINT) WITH ('connector' = 'blackhole');\n"                                \
    "CREATE TABLE sink2 (category STRING, n BIGINT) WITH ('connector' = 'blackhole');\n"

static plan_t *plan_of(const char *text, int parallelism, int lanes) {
    sql_source_t src = {.text = text, .len = strlen(text), .file = "dir/job.v1.sql", .parallelism = parallelism, .lanes = lanes};
    plan_t *p = NULL;
    err_t *e = sql_compile(&src, &p);
    if (e) {
        buf_t b = buf_make(1 << 20);
        sql_error_print(&b, e, text, "t.sql");
        ck_abort_msg("%s", buf_cstr(&b));
    }
    return p;
}

static const plan_op_t *find_op(const plan_t *p, op_kind_t kind, int nth) {
    for (int i = 0; i < p->nstages; i++)
        for (int j = 0; j < p->stages[i]->nops; j++)
            if (p->stages[i]->ops[j]->kind == kind && nth-- == 0) return p->stages[i]->ops[j];
    return NULL;
}

static int count_ops(const plan_t *p, op_kind_t kind) {
    int n = 0;
    while (find_op(p, kind, n)) n++;
    return n;
}

static uint64_t agg_identity(const char *query) {
    AUTO(auto_free) char *text = xprintf("%sINSERT INTO sink %s", EVENTS, query);
    plan_t *p = plan_of(text, 2, 0);
    const plan_op_t *op = find_op(p, OP_GROUP_AGG, 0);
    if (!op) op = find_op(p, OP_WINDOW_AGG, 0);
    ck_assert_ptr_nonnull(op);
    uint64_t f = op->fingerprint;
    plan_free(p);
    return f;
}

START_TEST(state_is_named_by_what_it_means) {
    uint64_t same = agg_identity("SELECT category, COUNT(*) FROM events WHERE amount > 5 GROUP BY category");
    /* an alias, a sub-query, another projection around it, HAVING: the same state */
    ck_assert_uint_eq(same, agg_identity("SELECT c, n FROM (SELECT category AS c, COUNT(*) AS n FROM events AS e WHERE e.amount > 5 GROUP BY category)"));
    ck_assert_uint_eq(same, agg_identity("SELECT UPPER(k), COUNT(*) + 1 FROM (SELECT category AS k, amount AS a, id FROM events) WHERE a > 5 GROUP BY k HAVING COUNT(*) > 3"));
    /* another filter, key, call or window: another state */
    ck_assert_uint_ne(same, agg_identity("SELECT category, COUNT(*) FROM events WHERE amount > 6 GROUP BY category"));
    ck_assert_uint_ne(same, agg_identity("SELECT id, COUNT(*) FROM events WHERE amount > 5 GROUP BY id"));
    ck_assert_uint_ne(same, agg_identity("SELECT category, COUNT(id) FROM events WHERE amount > 5 GROUP BY category"));
    ck_assert_uint_ne(same, agg_identity("SELECT category, COUNT(*) FROM events WHERE amount > 5 GROUP BY category, TUMBLE(ts, INTERVAL '1' SECOND)"));
    /* both syntaxes of a window are one */
    ck_assert_uint_eq(agg_identity("SELECT category, COUNT(*) FROM events GROUP BY category, TUMBLE(ts, INTERVAL '1' SECOND)"),
                      agg_identity("SELECT category, COUNT(*) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY category, window_start, window_end"));
}
END_TEST

START_TEST(connection_options_and_new_columns_keep_identity) {
    static const char *const tables[] = {
        "CREATE TABLE e (k STRING) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'a:1', 'format' = 'json');\n",
        "CREATE TABLE e (x INT, k STRING, y AS x + 1) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b:2', 'format' = 'json');\n",
        "CREATE TABLE e (k STRING) WITH ('connector' = 'kafka', 'topic' = 'u', 'properties.bootstrap.servers' = 'a:1', 'format' = 'json');\n"};
    uint64_t agg[3], source[3];
    for (int i = 0; i < 3; i++) {
        AUTO(auto_free) char *text = xprintf("%sCREATE TABLE s (k STRING, n BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO s SELECT k, COUNT(*) FROM e GROUP BY k;", tables[i]);
        plan_t *p = plan_of(text, 2, 0);
        agg[i] = find_op(p, OP_GROUP_AGG, 0)->fingerprint;
        source[i] = find_op(p, OP_SOURCE, 0)->fingerprint;
        plan_free(p);
    }
    ck_assert_uint_eq(agg[0], agg[1]);
    ck_assert_uint_eq(source[0], source[1]);
    ck_assert_uint_ne(agg[0], agg[2]);
    ck_assert_uint_ne(source[0], source[2]);
}
END_TEST

START_TEST(equal_subtrees_are_one_and_twins_are_told_apart) {
    /* hazards A18: two INSERTs with the same aggregate must not add into one counter */
    plan_t *p = plan_of(EVENTS "INSERT INTO sink SELECT category, COUNT(*) FROM events GROUP BY category;\n"
                               "INSERT INTO sink2 SELECT category, COUNT(*) FROM events GROUP BY category;", 2, 0);
    ck_assert_int_eq(count_ops(p, OP_GROUP_AGG), 1);
    ck_assert_int_eq(count_ops(p, OP_SOURCE), 1);
    ck_assert_int_eq(count_ops(p, OP_SINK), 2);
    ck_assert_uint_ne(find_op(p, OP_SINK, 0)->fingerprint, find_op(p, OP_SINK, 1)->fingerprint);
    plan_free(p);
    /* what draws random numbers is not one */
    p = plan_of(EVENTS "INSERT INTO sink SELECT category, COUNT(*) FROM events WHERE RAND() < 0.5 GROUP BY category;\n"
                       "INSERT INTO sink2 SELECT category, COUNT(*) FROM events WHERE RAND() < 0.5 GROUP BY category;", 2, 0);
    ck_assert_int_eq(count_ops(p, OP_GROUP_AGG), 2);
    ck_assert_int_eq(count_ops(p, OP_SOURCE), 1);
    ck_assert_uint_ne(find_op(p, OP_GROUP_AGG, 0)->fingerprint, find_op(p, OP_GROUP_AGG, 1)->fingerprint);
    ck_assert_ptr_nonnull(strstr(find_op(p, OP_GROUP_AGG, 1)->fingerprint_text, "twin 2"));
    plan_free(p);
    /* two sinks of one table */
    p = plan_of(EVENTS "INSERT INTO sink SELECT category, 1 FROM events;\nINSERT INTO sink SELECT category, 2 FROM events;", 2, 0);
    ck_assert_uint_ne(find_op(p, OP_SINK, 0)->fingerprint, find_op(p, OP_SINK, 1)->fingerprint);
    plan_free(p);
}
END_TEST

START_TEST(a_shared_scan_reads_the_union_of_columns) {
    plan_t *p = plan_of(EVENTS "INSERT INTO sink SELECT category, 1 FROM events;\n"
                               "INSERT INTO sink2 SELECT id, CAST(amount AS BIGINT) FROM events WHERE amount > 3;", 2, 0);
    const plan_op_t *s = find_op(p, OP_SOURCE, 0);
    ck_assert_int_eq(count_ops(p, OP_SOURCE), 1);
    ck_assert_int_eq(s->nscan, 3); /* ts is not read: nobody waits for time */
    ck_assert_int_eq(count_ops(p, OP_WATERMARK), 0);
    plan_free(p);
    p = plan_of(EVENTS "INSERT INTO sink2 SELECT id, CAST(amount AS BIGINT) FROM events WHERE amount > 3;", 2, 0);
    ck_assert_int_eq(find_op(p, OP_SOURCE, 0)->nscan, 2);
    plan_free(p);
    /* rows that are filtered out still move time: the filter stays behind a watermark that is waited for */
    p = plan_of(EVENTS "INSERT INTO sink SELECT category, COUNT(*) FROM events WHERE amount > 3 GROUP BY category, TUMBLE(ts, INTERVAL '1' SECOND);", 2, 0);
    ck_assert_int_eq(count_ops(p, OP_WATERMARK), 1);
    ck_assert_ptr_nonnull(find_op(p, OP_CALC, 0)->filter);
    ck_assert_int_eq(find_op(p, OP_CALC, 0)->inputs[0], find_op(p, OP_WATERMARK, 0)->id);
    ck_assert_int_eq(count_ops(p, OP_WINDOW_LOCAL), 1);
    plan_free(p);
}
END_TEST

START_TEST(a_missing_field_is_looked_for_in_all_columns) {
    static const char *const heads[] = {"", ", 'json.fail-on-missing-field' = 'true'"};
    for (int i = 0; i < 2; i++) {
        AUTO(auto_free) char *text = xprintf("CREATE TABLE t (a INT, r ROW<x INT, y INT>, s STRING) WITH ('connector' = 'kafka', 'topic' = 't', "
                                             "'properties.bootstrap.servers' = 'x:1', 'format' = 'json'%s);\n"
                                             "CREATE TABLE o (a INT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT r.x FROM t WHERE a > 1;", heads[i]);
        buf_t out = buf_make(1 << 20);
        ck_ok(sql_explain(&(sql_source_t){.text = text, .len = strlen(text), .parallelism = 1}, &out));
        ck_assert_msg((strstr(buf_cstr(&out), "scan=[a, r, s]") != NULL) == (i == 1), "%s", buf_cstr(&out));
        ck_assert_msg((strstr(buf_cstr(&out), "r{x}") != NULL) == (i == 0), "%s", buf_cstr(&out));
        buf_free(&out);
    }
}
END_TEST

START_TEST(the_same_text_is_the_same_plan) {
    const char *text = EVENTS "INSERT INTO sink SELECT category, COUNT(*) FROM events GROUP BY category;";
    plan_t *a = plan_of(text, 2, 0), *b = plan_of(text, 2, 0), *c = plan_of(text, 3, 0);
    ck_assert_uint_eq(a->hash, b->hash);
    ck_assert_uint_ne(a->hash, c->hash);
    ck_assert_uint_eq(find_op(a, OP_GROUP_AGG, 0)->fingerprint, find_op(c, OP_GROUP_AGG, 0)->fingerprint);
    ck_assert_str_eq(a->job_name, "job.v1");
    plan_free(a);
    plan_free(b);
    plan_free(c);
}
END_TEST

#define KAFKA_SINK(columns, more)                                                                                      \
    "CREATE TABLE k (" columns ") WITH ('connector' = 'kafka', 'topic' = 'k', 'properties.bootstrap.servers' = 'h:1', " \
    "'sink.delivery-guarantee' = 'exactly-once'" more ");\n"

START_TEST(lanes) {
    const char *plain = EVENTS KAFKA_SINK("id STRING", ", 'format' = 'json'") "INSERT INTO k SELECT id FROM events;";
    plan_t *p = plan_of(plain, 2, 0); /* fused: two tasks, two lanes */
    ck_assert_int_eq(p->nstages, 1);
    ck_assert_int_eq(find_op(p, OP_SINK, 0)->lanes_max, 2);
    plan_free(p);
    p = plan_of(plain, 16, 0); /* at most eight lanes: a stage of its own */
    ck_assert_int_eq(p->nstages, 2);
    ck_assert_int_eq(p->stages[1]->fixed_parallelism, 8);
    ck_assert_int_eq(p->edges[0]->exchange, EXCHANGE_REBALANCE);
    plan_free(p);
    p = plan_of(plain, 6, 2); /* rescaled: the lanes of the first start stay */
    ck_assert_int_eq(p->stages[1]->fixed_parallelism, 2);
    ck_assert_int_eq(find_op(p, OP_SINK, 0)->lanes_max, 2);
    plan_free(p);
    p = plan_of(EVENTS KAFKA_SINK("id STRING, n BIGINT", ", 'key.format' = 'json', 'key.fields' = 'id', 'value.format' = 'json'")
                "INSERT INTO k SELECT id, 1 FROM events;", 4, 0); /* a key keeps to one lane */
    ck_assert_int_eq(p->nstages, 2);
    ck_assert_int_eq(p->edges[0]->exchange, EXCHANGE_HASH);
    ck_assert_int_eq(p->stages[1]->fixed_parallelism, 4);
    plan_free(p);
}
END_TEST

START_TEST(modes) {
    const char *files = "CREATE TABLE f (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = '/in', 'format' = 'json');\n"
                        "CREATE TABLE g (k STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/out', 'format' = 'json');\n";
    AUTO(auto_free) char *grouped = xprintf("%sINSERT INTO g SELECT k, COUNT(*) FROM f GROUP BY k;", files);
    plan_t *p = plan_of(grouped, 2, 0);
    ck_assert(p->batch);
    ck_assert_int_eq(p->nnotices, 1);
    ck_assert(!find_op(p, OP_GROUP_AGG, 0)->retracts);
    plan_free(p);
    AUTO(auto_free) char *plain = xprintf("%sINSERT INTO g SELECT k, v FROM f;", files);
    p = plan_of(plain, 2, 0);
    ck_assert(!p->batch);
    plan_free(p);
    p = plan_of(EVENTS "INSERT INTO sink SELECT DISTINCT category, CAST(1 AS BIGINT) FROM events;", 2, 0);
    ck_assert(!find_op(p, OP_GROUP_AGG, 0)->retracts); /* every key once */
    plan_free(p);
}
END_TEST

START_TEST(options) {
    const char *keys[] = {"parallelism.default", "pipeline.name"}, *values[] = {"5", "mine"};
    const char *text = EVENTS "SET 'parallelism.default' = '3';\nSET 'state.backend' = 'rocksdb';\nSET 'pipeline.name' = 'theirs';\n"
                              "INSERT INTO sink SELECT category, 1 FROM events;";
    sql_source_t src = {.text = text, .len = strlen(text), .set = {2, keys, values}};
    plan_t *p;
    ck_ok(sql_compile(&src, &p));
    ck_assert_int_eq(p->parallelism, 5);
    ck_assert_str_eq(p->job_name, "mine");
    ck_assert_int_eq(p->nnotices, 1);
    ck_assert_ptr_nonnull(strstr(p->notices[0], "state.backend"));
    plan_free(p);
}
END_TEST

/* -U is made only for who needs it: a filter, another aggregate, print; not for a sink that drops it. */
START_TEST(an_update_is_its_new_row_alone_where_nobody_needs_the_old_one) {
    static const struct { const char *sql; bool outer, inner; } cases[] = {
        {"INSERT INTO sink SELECT category, COUNT(*) FROM events GROUP BY category;", true, false},
        {"INSERT INTO sink SELECT UPPER(category), COUNT(*) + 1 FROM events GROUP BY category;", true, false},
        {"INSERT INTO sink SELECT category, COUNT(*) FROM events GROUP BY category HAVING COUNT(*) < 10;", false, false},
        {"INSERT INTO sink SELECT c, COUNT(*) FROM (SELECT category AS c, id, COUNT(*) FROM events GROUP BY category, id) GROUP BY c;", true, false},
        {"INSERT INTO kafka SELECT category, COUNT(*) FROM events GROUP BY category;", true, false},
        {"CREATE TABLE seen (category STRING, n BIGINT) WITH ('connector' = 'print');\nINSERT INTO seen SELECT category, COUNT(*) FROM events GROUP BY category;", false, false},
        {"CREATE VIEW v AS SELECT category, COUNT(*) AS n FROM events GROUP BY category;\nINSERT INTO sink SELECT category, n FROM v;\n"
         "INSERT INTO sink2 SELECT category, n FROM v WHERE n < 10;", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(auto_free) char *text = xprintf("%sCREATE TABLE kafka (category STRING, n BIGINT, PRIMARY KEY (category) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', "
                                             "'topic' = 't', 'properties.bootstrap.servers' = 'b:1', 'key.format' = 'json', 'value.format' = 'json');\n%s", EVENTS, cases[i].sql);
        plan_t *p = plan_of(text, 2, 0);
        int n = count_ops(p, OP_GROUP_AGG);
        ck_assert_int_ge(n, 1);
        ck_assert_msg(find_op(p, OP_GROUP_AGG, n - 1)->after_only == cases[i].outer, "%s", cases[i].sql);
        if (n > 1) ck_assert_msg(find_op(p, OP_GROUP_AGG, 0)->after_only == cases[i].inner, "%s", cases[i].sql);
        plan_free(p);
    }
}
END_TEST

TESTS("bind_plan", state_is_named_by_what_it_means, connection_options_and_new_columns_keep_identity,
      equal_subtrees_are_one_and_twins_are_told_apart, a_shared_scan_reads_the_union_of_columns, a_missing_field_is_looked_for_in_all_columns,
      the_same_text_is_the_same_plan, lanes, modes, options, an_update_is_its_new_row_alone_where_nobody_needs_the_old_one)
