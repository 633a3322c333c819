/* What the binder refuses: each with its code, line, column, reason and way out. */
#include "common/buf.h"
#include "sql/sql.h"
#include "tests/helpers/test.h"

#define EVENTS                                                                                                         \
    "CREATE TABLE events (id STRING, amount DOUBLE, big TIMESTAMP(6), ts TIMESTAMP(3),\n"                              \
    "  WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');\n"                                                      \
    "CREATE TABLE sink (id STRING, n BIGINT) WITH ('connector' = 'blackhole');\n"
/* the statement under test begins at line 4 */

typedef struct expect {
    const char *sql;
    err_code_t code;
    int line, col;
    const char *text, *hint; /* parts; hint NULL: none is asked for */
} expect_t;

static err_t *compile_with(const char *text, bool allow_select, options_t set) {
    sql_source_t src = {.text = text, .len = strlen(text), .file = "t.sql", .parallelism = 2, .allow_select = allow_select, .set = set};
    plan_t *p = NULL;
    err_t *e = sql_compile(&src, &p);
    if (!e) plan_free(p);
    return e;
}

static void check(const expect_t *x, int number, const char *before) {
    AUTO(auto_free) char *text = xprintf("%s%s", before, x->sql);
    AUTO(err_freep) err_t *e = compile_with(text, false, (options_t){0});
    ck_assert_msg(e != NULL, "case %d compiled: %s", number, x->sql);
    buf_t shown = buf_make(1 << 20);
    sql_error_print(&shown, e, text, "t.sql");
    bool ok = err_code(e) == x->code && err_line(e) == x->line && err_col(e) == x->col && strstr(err_text(e), x->text);
    if (x->hint) ok = ok && err_hint_text(e) && strstr(err_hint_text(e), x->hint);
    ck_assert_msg(ok, "case %d: expected %s at %d:%d '%s' hint '%s', got %s\n%s", number, err_code_name(x->code), x->line,
                  x->col, x->text, x->hint ? x->hint : "", err_code_name(err_code(e)), buf_cstr(&shown));
    buf_free(&shown);
}

static void check_all(const expect_t *list, size_t n, const char *before) {
    for (size_t i = 0; i < n; i++) check(&list[i], (int)i, before);
}

START_TEST(names) {
    static const expect_t list[] = {
        {"INSERT INTO sink SELECT id, 1 FROM event;", ERR_NOT_FOUND, 4, 36, "table 'event' is not declared", "'events'"},
        {"INSERT INTO sinc SELECT id, 1 FROM events;", ERR_NOT_FOUND, 4, 13, "table 'sinc'", "'sink'"},
        {"INSERT INTO sink\nSELECT idd, 1 FROM events;", ERR_NOT_FOUND, 5, 8, "column 'idd' is not known", "'id'"},
        {"INSERT INTO sink SELECT e.idd, 1 FROM events AS e;", ERR_NOT_FOUND, 4, 25, "'e' has no column 'idd'", "'id'"},
        {"INSERT INTO sink SELECT x.*, 1 FROM events AS e;", ERR_NOT_FOUND, 4, 25, "no table 'x'", NULL},
        {"INSERT INTO sink SELECT UPER(id), 1 FROM events;", ERR_NOT_FOUND, 4, 25, "UPER", "UPPER"},
        {"INSERT INTO sink SELECT id, LOG1O(2) FROM events;", ERR_NOT_FOUND, 4, 29, "LOG1O", "did you mean LOG10?"},
        {"INSERT INTO sink SELECT id, SUMM(2) FROM events;", ERR_NOT_FOUND, 4, 29, "SUMM", "did you mean SUM?"},
        {"INSERT INTO sink (id, m) SELECT id, 1 FROM events;", ERR_NOT_FOUND, 4, 23, "has no column 'm'", "'n'"},
        {"INSERT INTO sink (id, id) SELECT id, 1 FROM events;", ERR_INVALID, 4, 23, "given twice", NULL},
        {"CREATE TABLE sink (a INT) WITH ('connector' = 'blackhole');", ERR_EXISTS, 4, 14, "declared already, at line 3", NULL},
        {"DROP TABLE evnts;", ERR_NOT_FOUND, 4, 12, "'evnts'", "'events'"},
        {"DROP VIEW events;", ERR_INVALID, 4, 11, "is a table", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM other.db.events;", ERR_UNSUPPORTED, 4, 36, "catalog or database 'other'", NULL},
        {"SET 'execution.checkpointing.intervall' = '1 s';", ERR_NOT_FOUND, 4, 5, "is not known", "execution.checkpointing.interval"},
        {"SET 'nonsense' = '1 s';", ERR_NOT_FOUND, 4, 5, "'nonsense' is not known", NULL},
        {"SET 'table.local-time-zone' = 'Europe/Atlantis';", ERR_INVALID, 4, 5, "Atlantis", NULL},
        {"SET 'execution.runtime-mode' = 'fast';", ERR_INVALID, 4, 5, "'fast'", "streaming, batch or automatic"},
        {"SELECT 1;", ERR_UNSUPPORTED, 4, 1, "a SELECT on its own", "INSERT INTO"},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

START_TEST(tables) {
    static const expect_t list[] = {
        {"CREATE TABLE t (a INT, a STRING) WITH ('connector' = 'datagen');", ERR_INVALID, 1, 24, "declared twice", NULL},
        {"CREATE TABLE t (a INT) WITH ('conector' = 'datagen');", ERR_INVALID, 1, 14, "no option 'connector'", "datagen"},
        {"CREATE TABLE t (a INT)\nWITH ('connector' = 'dategen');", ERR_NOT_FOUND, 2, 7, "'dategen' is not known", "'datagen'"},
        {"CREATE TABLE t (a INT, PRIMARY KEY (a)) WITH ('connector' = 'datagen');", ERR_SYNTAX, 1, 24, "PRIMARY KEY needs NOT ENFORCED", "NOT ENFORCED"},
        {"CREATE TABLE t (a INT, PRIMARY KEY (b) NOT ENFORCED) WITH ('connector' = 'datagen');", ERR_NOT_FOUND, 1, 37, "names column 'b'", NULL},
        {"CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'connector' = 'datagen');", ERR_INVALID, 1, 55, "given twice", NULL},
        {"CREATE TABLE t (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'datagen');\nCREATE VIEW v AS SELECT * FROM t;", ERR_TYPE, 1, 38,
            "a watermark needs a TIMESTAMP(3)", "computed column"},
        {"CREATE TABLE t (a INT, b AS c + 1) WITH ('connector' = 'datagen');\nCREATE VIEW v AS SELECT * FROM t;", ERR_NOT_FOUND, 1, 29, "column 'c'", NULL},
        {"CREATE TABLE t (a INT) WITH ('connector' = 'datagen');\nCREATE VIEW v (x, y) AS SELECT a FROM t;", ERR_INVALID, 2, 13, "has 1 columns, its list of names 2", NULL},
        {"CREATE TABLE t (a INT) WITH ('connector' = 'blackhole');\nINSERT INTO t SELECT a FROM t;", ERR_INVALID, 1, 30, "cannot be read", NULL},
    };
    check_all(list, ARRAY_LEN(list), "");
}
END_TEST

START_TEST(types_of_inserts) {
    static const expect_t list[] = {
        {"INSERT INTO sink SELECT id FROM events;", ERR_TYPE, 4, 18, "Different number of columns.\n\nQuery schema: [id: STRING]\nSink schema:  [id: STRING, n: BIGINT]", NULL},
        {"INSERT INTO sink SELECT id, ts FROM events;", ERR_TYPE, 4, 18, "Incompatible types for sink column 'n' at position 1.", NULL},
        {"INSERT INTO sink VALUES ('a', 1), ('b');", ERR_INVALID, 4, 36, "row 2 of VALUES has 1 columns", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events WHERE amount;", ERR_TYPE, 4, 49, "WHERE needs a condition", NULL},
        {"INSERT INTO sink SELECT id, amount - ts FROM events;", ERR_TYPE, 4, 29, "-", NULL},
        {"INSERT INTO sink SELECT id, TIMESTAMP '2026-13-01 00:00:00' FROM events;", ERR_INVALID, 4, 29, "not a valid TIMESTAMP", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events UNION ALL SELECT id FROM events;", ERR_INVALID, 4, 53, "UNION of 2 and 1 columns", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events UNION ALL SELECT ts, 1 FROM events;", ERR_TYPE, 4, 53, "UNION: column 1", "CAST"},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

START_TEST(operators_are_named_as_they_are_written) {
    static const expect_t list[] = {
        {"INSERT INTO sink SELECT id, -id FROM events", ERR_TYPE, 4, 29, "-STRING: wrong arguments; use -x", NULL},
        {"INSERT INTO sink SELECT id, ARRAY[1, 2]['a'] FROM events", ERR_TYPE, 4, 29, "ARRAY<INT NOT NULL>[CHAR(1)]: the index is no integer", NULL},
        {"INSERT INTO sink SELECT id, CAST(amount >= ts AS BIGINT) FROM events", ERR_TYPE, 4, 34, "DOUBLE >= TIMESTAMP(3): ", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events WHERE amount BETWEEN ts AND 2", ERR_TYPE, 4, 49, "DOUBLE BETWEEN TIMESTAMP(3) AND INT: ", NULL},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

START_TEST(grouping) {
    static const expect_t list[] = {
        {"INSERT INTO sink SELECT id, amount FROM events GROUP BY id;", ERR_INVALID, 4, 29, "column 'amount' is neither grouped nor aggregated", "MAX(amount)"},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM events;", ERR_INVALID, 4, 25, "'id' is neither", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events WHERE COUNT(*) > 1;", ERR_INVALID, 4, 49, "not allowed in WHERE", "HAVING"},
        {"INSERT INTO sink SELECT id, MAX(COUNT(*)) FROM events GROUP BY id;", ERR_INVALID, 4, 33, "inside an aggregate", NULL},
        {"INSERT INTO sink SELECT id, SUM(*) FROM events GROUP BY id;", ERR_INVALID, 4, 29, "* is an argument of COUNT only", NULL},
        {"INSERT INTO sink SELECT TUMBLE_START(ts, INTERVAL '5' SECOND), 1 FROM events;", ERR_INVALID, 4, 25, "needs a group window", "GROUP BY TUMBLE"},
        {"INSERT INTO sink SELECT CAST(TUMBLE_START(ts, INTERVAL '6' SECOND) AS STRING), 1 FROM events GROUP BY TUMBLE(ts, INTERVAL '5' SECOND);", ERR_INVALID, 4, 30, "does not match the window", NULL},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM events GROUP BY id, TUMBLE(big, INTERVAL '5' SECOND);", ERR_TYPE, 4, 70, "needs a time attribute, 'big'", "WATERMARK FOR big"},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM events GROUP BY id, TUMBLE(ts, INTERVAL '5' MONTH);", ERR_UNSUPPORTED, 4, 74, "months", NULL},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(amount), INTERVAL '5' SECOND)) GROUP BY id, window_start, window_end;", ERR_TYPE, 4, 81, "needs a time attribute", NULL},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM TABLE(HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '7' SECOND, INTERVAL '30' SECOND)) GROUP BY id, window_start, window_end;", ERR_INVALID, 4, 104, "multiple of the slide", "slide comes first"},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts))) GROUP BY id, window_start, window_end;", ERR_INVALID, 4, 49, "argument SIZE is missing", NULL},
        {"INSERT INTO sink SELECT id, COUNT(*) FROM TABLE(SESSION(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY id, window_start, window_end;", ERR_UNSUPPORTED, 4, 49, "a SESSION window must be grouped right away", "exactly the columns of PARTITION BY"},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

START_TEST(not_here_yet) {
    static const expect_t list[] = {
        {"INSERT INTO sink SELECT a.id, 1 FROM events a JOIN events b ON a.id = b.id;", ERR_UNSUPPORTED, 4, 47, "JOIN", "joins"},
        {"INSERT INTO sink SELECT a.id, 1 FROM events a\nLEFT OUTER JOIN events b ON a.id = b.id;", ERR_UNSUPPORTED, 5, 12, "JOIN", "joins"},
        {"INSERT INTO sink SELECT a.id, 1 FROM events a, events b;", ERR_UNSUPPORTED, 4, 46, "a list of tables in FROM", "joins"},
        {"INSERT INTO sink SELECT id, ROW_NUMBER() OVER (ORDER BY ts) FROM events;", ERR_UNSUPPORTED, 4, 29, "OVER", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events ORDER BY id;", ERR_UNSUPPORTED, 4, 43, "ORDER BY", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events LIMIT 3;", ERR_UNSUPPORTED, 4, 49, "LIMIT", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events WHERE id IN (SELECT id FROM events);", ERR_UNSUPPORTED, 4, 49, "IN (query)", NULL},
        {"INSERT INTO sink SELECT id, (SELECT 1) FROM events;", ERR_UNSUPPORTED, 4, 29, "a query as a value", NULL},
        {"INSERT INTO sink SELECT id, 1 FROM events INTERSECT SELECT id, 1 FROM events;", ERR_UNSUPPORTED, 4, 43, "INTERSECT", NULL},
        {"INSERT OVERWRITE sink SELECT id, 1 FROM events;", ERR_UNSUPPORTED, 4, 1, "INSERT OVERWRITE", NULL},
        {"CREATE CATALOG c WITH ('type' = 'jdbc');", ERR_UNSUPPORTED, 4, 1, "CATALOG", NULL},
        {"EXPLAIN SELECT id FROM events;", ERR_INVALID, 0, 0, "only EXPLAIN", "tidegate explain"},
        {"", ERR_INVALID, 0, 0, "starts nothing", "INSERT INTO"},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

#define KAFKA "'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'h:9092', 'format' = 'json'"
#define UPSERT                                                                                                         \
    "'connector' = 'upsert-kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'h:9092', 'key.format' = 'json', "  \
    "'value.format' = 'json'"

/* A17, among others: where the sink's key is not that of the updates, a row may go that another one has replaced. */
START_TEST(updates_need_a_sink_with_their_key) {
    static const expect_t list[] = {
        {"CREATE TABLE k (id STRING, n BIGINT) WITH (" KAFKA ");\nINSERT INTO k SELECT id, COUNT(*) FROM events GROUP BY id;",
         ERR_UNSUPPORTED, 5, 1, "'k' (kafka) takes new rows only, but the GROUP BY without a window at line 5", "upsert-kafka"},
        {"CREATE TABLE k (id STRING, n BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH (" UPSERT ");\n"
         "INSERT INTO k SELECT id, COUNT(*) FROM events GROUP BY id;",
         ERR_UNSUPPORTED, 5, 1, "PRIMARY KEY (n) of 'k' is not the key of the updates it would get, (id)", "GROUP BY"},
        {"CREATE TABLE k (id STRING, n BIGINT) WITH (" UPSERT ");\nINSERT INTO k SELECT id, COUNT(*) FROM events GROUP BY id;",
         ERR_INVALID, 4, 14, "needs a PRIMARY KEY", NULL},
        {"SET 'execution.runtime-mode' = 'batch';\nINSERT INTO sink SELECT id, COUNT(*) FROM events GROUP BY id;",
         ERR_INVALID, 1, 14, "batch mode needs inputs that end, table 'events'", NULL},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

START_TEST(parameters) {
    const char *keys[] = {"BROKER", "TOPIC"}, *values[] = {"localhost:9092", "a b"};
    options_t params = {2, keys, values};
    char *out = NULL;
    size_t len;
    const char *text = "x '${BROKER}' -- ${NOT_ME}\n/* ${NOR} */ '--' ${TOPIC}";
    ck_ok(sql_substitute(text, strlen(text), &params, &out, &len));
    ck_assert_str_eq(out, "x 'localhost:9092' -- ${NOT_ME}\n/* ${NOR} */ '--' a b");
    ck_assert_uint_eq(len, strlen(out));
    free(out);
    const char *bad = "a\n  \xc3\xa4 ${BROKR}";
    err_t *e = sql_substitute(bad, strlen(bad), &params, &out, &len);
    ck_assert_int_eq(err_code(e), ERR_NOT_FOUND);
    ck_assert_int_eq(err_line(e), 2);
    ck_assert_int_eq(err_col(e), 5);
    ck_assert_ptr_nonnull(strstr(err_hint_text(e), "'BROKER'"));
    err_free(e);
    ck_fails(sql_substitute("${A", 3, &params, &out, &len), ERR_SYNTAX, "not closed");
}
END_TEST

START_TEST(errors_point_at_their_place) {
    err_t *e = err_hint(err_at(err_new(ERR_NOT_FOUND, "column 'x' is not known here"), 2, 7), "did you mean 'y'?");
    buf_t b = buf_make(1 << 16);
    sql_error_print(&b, e, "SELECT\n\t\xc3\xa4\xc3\xb6, x y\r\nFROM t", "job.sql");
    ck_assert_str_eq(buf_cstr(&b), "job.sql:2:7: column 'x' is not known here\n\t\xc3\xa4\xc3\xb6, x y\n\t     ^\nhint: did you mean 'y'?\n");
    buf_clear(&b);
    err_free(e);
    e = err_new(ERR_INVALID, "no place");
    sql_error_print(&b, e, "x", "job.sql");
    ck_assert_str_eq(buf_cstr(&b), "job.sql: no place\n");
    err_free(e);
    buf_free(&b);
}
END_TEST

START_TEST(nothing_written_crashes) {
    /* cut at every byte, and with every byte replaced: errors or plans, no crash */
    const char *job = EVENTS "INSERT INTO sink SELECT UPPER(e.id), COUNT(DISTINCT amount) FILTER (WHERE amount > 1) FROM TABLE(HOP(TABLE "
                             "events, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '5' SECOND)) AS e WHERE amount > 1 GROUP BY e.id, "
                             "window_start, window_end HAVING COUNT(*) > 1 UNION ALL VALUES ('a', CASE 1 WHEN 2 THEN 3 END);";
    size_t n = strlen(job);
    for (size_t i = 0; i < n; i++) {
        AUTO(auto_free) char *cut = xstrndup(job, i);
        err_free(compile_with(cut, true, (options_t){0}));
        AUTO(auto_free) char *changed = xstrdup(job);
        changed[i] = "(),'.*x1 "[i % 9];
        err_free(compile_with(changed, true, (options_t){0}));
    }
}
END_TEST

START_TEST(what_would_explode_is_refused) {
    buf_t b = buf_make(1 << 22);
    buf_puts(&b, EVENTS "CREATE VIEW v0 AS SELECT id, amount FROM events;\n");
    for (int i = 1; i < 60; i++) buf_printf(&b, "CREATE VIEW v%d AS SELECT id, amount + amount AS amount FROM v%d;\n", i, i - 1);
    buf_puts(&b, "INSERT INTO sink SELECT id, CAST(amount AS BIGINT) FROM v59;\n");
    ck_ok(compile_with(buf_cstr(&b), false, (options_t){0})); /* not merged into one expression of 2^59 parts */
    buf_clear(&b);
    buf_puts(&b, EVENTS "CREATE VIEW v0 AS SELECT id FROM events;\n");
    for (int i = 1; i < 1100; i++) buf_printf(&b, "CREATE VIEW v%d AS SELECT id FROM v%d WHERE id <> '%d';\n", i, i - 1, i);
    err_t *e = compile_with(buf_cstr(&b), false, (options_t){0});
    ck_assert_int_eq(err_code(e), ERR_LIMIT);
    err_free(e);
    buf_free(&b);
}
END_TEST

/* What Flink's Kafka tables can say and we do not do: refused at the option, never accepted without effect. */
#define K(options) "CREATE TABLE k (id STRING, n BIGINT) WITH (\n'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b:1', 'format' = 'json',\n" options ");\n"
#define TO_K "INSERT INTO k SELECT id, 1 FROM events;"
#define FROM_K "INSERT INTO sink SELECT * FROM k;"
START_TEST(kafka_options_without_effect_are_refused) {
    static const expect_t list[] = {
        {K("'scan.watermark.alignment.group' = 'g'") FROM_K, ERR_UNSUPPORTED, 6, 1, "is not held back", "leave it out"},
        {K("'scan.watermark.emit.strategy' = 'on-event'") FROM_K, ERR_UNSUPPORTED, 6, 1, "'scan.watermark.emit.strategy'", "leave it out"},
        {K("'sink.buffer-flush.max-rows' = '100'") TO_K, ERR_UNSUPPORTED, 6, 1, "are not folded", "set 0"},
        {K("'sink.transaction-naming-strategy' = 'POOLING'") TO_K, ERR_UNSUPPORTED, 6, 1, "lanes", "transactional-id-prefix"},
        {K("'sink.partitioner' = 'com.acme.P'") TO_K, ERR_UNSUPPORTED, 6, 1, "classes cannot be loaded", "round-robin"},
        {K("'sink.partitioner' = 'round-robin', 'key.format' = 'json', 'key.fields' = 'id'") TO_K, ERR_INVALID, 6, 1, "spreads the rows of a key", "leave it out"},
        {K("'sink.parallelism' = '0'") TO_K, ERR_INVALID, 6, 1, "sink.parallelism", NULL},
        {K("'sink.parallelism' = '9', 'sink.delivery-guarantee' = 'exactly-once'") TO_K, ERR_LIMIT, 6, 1, "at most 8", "transaction"},
        {K("'scan.parallelism' = 'many'") FROM_K, ERR_INVALID, 6, 1, "scan.parallelism", NULL},
        {K("'properties.transactional.id' = 'x'") TO_K, ERR_UNSUPPORTED, 6, 1, "ids of their own", "sink.transactional-id-prefix"},
        {K("'properties.enable.idempotence' = 'false'") TO_K, ERR_UNSUPPORTED, 6, 1, "guarantee", "sink.delivery-guarantee"},
        {K("'properties.enable.auto.offset.store' = 'true'") FROM_K, ERR_UNSUPPORTED, 6, 1, "when an epoch is complete", "leave it out"},
        {K("'properties.partitioner' = 'random'") TO_K, ERR_UNSUPPORTED, 6, 1, "belongs to the table", "sink.partitioner"},
        {K("'topic-pattern' = 't.*'") FROM_K, ERR_INVALID, 5, 24, "exclude each other", NULL},
        {K("'key.format' = 'json', 'key.fields' = 'id', 'key.fields-prefix' = 'k_', 'value.fields-include' = 'EXCEPT_KEY'") FROM_K, ERR_INVALID, 6, 45,
         "does not begin with", "k_id"},
        {"CREATE TABLE p (id STRING) WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = 'b:1', 'format' = 'json',\n"
         "'topic-pattern' = '[a');" "INSERT INTO p SELECT id FROM events;", ERR_INVALID, 5, 1, "is not readable at", "regular expression"},
        {"CREATE TABLE p (id STRING) WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = 'b:1', 'format' = 'json',\n"
         "'topic-pattern' = 'a.*');" "INSERT INTO p SELECT id FROM events;", ERR_UNSUPPORTED, 5, 1, "writes to one topic", "STATEMENT SET"},
        {"CREATE TABLE p (id STRING, n BIGINT) WITH ('connector' = 'print', 'sink.parallelism' = '2');\nINSERT INTO p SELECT id, COUNT(*) FROM events GROUP BY id;",
         ERR_INVALID, 5, 1, "their order would be lost", "PRIMARY KEY"},
    };
    check_all(list, ARRAY_LEN(list), EVENTS);
}
END_TEST

TESTS("bind_errors", kafka_options_without_effect_are_refused, names, tables, types_of_inserts, operators_are_named_as_they_are_written,
      grouping, not_here_yet,
      updates_need_a_sink_with_their_key, parameters, errors_point_at_their_place,
      nothing_written_crashes, what_would_explode_is_refused)
