/* Texts become trees that print canonically; mistakes are told where they are, with what was expected and what to do. */
#include "sql/parse.h"
#include "tests/helpers/test.h"

static arena_t *A;

static sql_script_t *parsed(const char *text) {
    sql_script_t *s;
    ck_ok(sql_parse(A, text, strlen(text), &s));
    return s;
}

static char *printed(const char *text) {
    buf_t b = buf_make(1 << 24);
    ast_print_script(&b, parsed(text));
    return buf_take_cstr(&b);
}

/* `text` prints as `want`, and what was printed prints the same again. */
static void golden(const char *text, const char *want) {
    AUTO(auto_free) char *once = printed(text);
    char *expect = arena_printf(A, "%s;\n", want);
    ck_assert_str_eq(once, expect);
    AUTO(auto_free) char *twice = printed(once);
    ck_assert_str_eq(twice, once);
}

static void expr(const char *text, const char *want) {
    golden(arena_printf(A, "SELECT %s", text), arena_printf(A, "SELECT %s", want));
}

static void fails(const char *text, err_code_t code, int line, int col, const char *part, const char *hint) {
    sql_script_t *s;
    err_t *e = sql_parse(A, text, strlen(text), &s);
    ck_assert_msg(e != NULL, "parsed: %s", text);
    ck_assert_ptr_null(s);
    ck_assert_msg(err_code(e) == code && strstr(err_text(e), part), "%s: %s: %s", text, err_code_name(err_code(e)), err_text(e));
    ck_assert_msg(err_line(e) == line && err_col(e) == col, "%s: at %d:%d: %s", text, err_line(e), err_col(e), err_text(e));
    const char *h = err_hint_text(e);
    ck_assert_msg(hint ? h && strstr(h, hint) : h == NULL, "%s: hint: %s", text, h ? h : "(none)");
    err_free(e);
}

START_TEST(precedence) {
    A = arena_new();
    expr("a OR b AND NOT c = d", "a OR b AND NOT c = d");
    expr("(a OR b) AND c AND (d AND e)", "(a OR b) AND c AND (d AND e)");
    expr("1 + 2 * 3 - (4 - 5)", "1 + 2 * 3 - (4 - 5)");
    expr("(1 + 2) * +3", "(1 + 2) * 3");
    expr("a || b + c", "a || b + c");
    expr("- -x", "-(-x)");
    expr("a = b IS TRUE", "a = b IS TRUE");
    expr("a = (b IS TRUE)", "a = (b IS TRUE)");
    expr("NOT a IN (1, 2)", "a NOT IN (1, 2)");
    expr("x NOT BETWEEN SYMMETRIC 1 AND 2 AND y", "x NOT BETWEEN SYMMETRIC 1 AND 2 AND y");
    expr("x BETWEEN ASYMMETRIC a + 1 AND (b = c)", "x BETWEEN a + 1 AND (b = c)");
    expr("x IS NOT JSON ARRAY", "x IS NOT JSON ARRAY");
    expr("a < ALL (SELECT b FROM t)", "a < ALL (SELECT b FROM t)");
    sql_script_t *s = parsed("SELECT a AND b AND c AND d");
    ck_assert_int_eq(s->stmt[0]->query->select->items.item[0].expr->args.n, 4);
    arena_freep(&A);
}
END_TEST

START_TEST(literals) {
    A = arena_new();
    expr("1, 1.50, 1e3, 'it''s', U&'\\00e9\\+01F600', X'cafe', _UTF8'z', N'n'", "1, 1.50, 1e3, 'it''s', '\u00e9\U0001F600', X'CAFE', 'z', 'n'");
    expr("DATE '2024-02-29', TIME '10:00:00', TIMESTAMP '2024-01-01 00:00:00'",
         "DATE '2024-02-29', TIME '10:00:00', TIMESTAMP '2024-01-01 00:00:00'");
    expr("INTERVAL '5' MINUTES, INTERVAL -'1' DAY(3), INTERVAL '1 02:03' DAY TO MINUTE",
         "INTERVAL '5' MINUTE, INTERVAL '-1' DAY(3), INTERVAL '1 02:03' DAY TO MINUTE");
    expr("(a - b) DAY, (a - (b - c)) YEAR TO MONTH", "(a - b) DAY, (a - (b - c)) YEAR");
    expr("(a, b) OVERLAPS (c, INTERVAL '1' DAY)", "ROW(a, b) OVERLAPS ROW(c, INTERVAL '1' DAY)");
    fails("SELECT (a + b) DAY", ERR_SYNTAX, 1, 9, "behind a difference", "(a - b) DAY");
    sql_script_t *s = parsed("SELECT INTERVAL '1 02:03:04.567' DAY TO SECOND, INTERVAL '2-3' YEAR TO MONTH, INTERVAL '2' WEEK");
    const ast_named_exprs_t *items = &s->stmt[0]->query->select->items;
    ck_assert_int_eq(items->item[0].expr->interval->value, 93784567);
    ck_assert(items->item[1].expr->interval->is_month);
    ck_assert_int_eq(items->item[1].expr->interval->value, 27);
    ck_assert_int_eq(items->item[2].expr->interval->value, 14 * 86400000ll);
    fails("SELECT INTERVAL '1 25:00' DAY TO MINUTE", ERR_INVALID, 1, 17, "not an interval of DAY TO MINUTE", "for example");
    fails("SELECT X'abc'", ERR_SYNTAX, 1, 8, "hexadecimal", "X'CAFE'");
    arena_freep(&A);
}
END_TEST

START_TEST(calls) {
    A = arena_new();
    expr("trim(x), TRIM(LEADING '0' FROM x)", "TRIM(BOTH ' ' FROM x), TRIM(LEADING '0' FROM x)");
    expr("SUBSTRING(x FROM 2 FOR 3), POSITION('a' IN b), OVERLAY(a PLACING b FROM 1 FOR 2)",
         "SUBSTRING(x, 2, 3), POSITION('a' IN b), OVERLAY(a PLACING b FROM 1 FOR 2)");
    expr("FLOOR(ts TO HOUR), CEILING(x), EXTRACT(DOW FROM d), TIMESTAMPDIFF(DAY, a, b)",
         "FLOOR(ts TO HOUR), CEIL(x), EXTRACT(DOW FROM d), TIMESTAMPDIFF(DAY, a, b)");
    expr("COUNT(*), sum(DISTINCT x) FILTER (WHERE y) OVER w, LEFT(a, 1), IF(a, b, c), CURRENT_DATE, year(d)",
         "COUNT(*), sum(DISTINCT x) FILTER (WHERE y) OVER w, LEFT(a, 1), IF(a, b, c), CURRENT_DATE, year(d)");
    expr("JSON_VALUE(d, 'lax $.a' RETURNING INT DEFAULT 0 ON EMPTY NULL ON ERROR)",
         "JSON_VALUE(d, 'lax $.a' RETURNING INT DEFAULT 0 ON EMPTY NULL ON ERROR)");
    expr("JSON_QUERY(d, '$' WITH CONDITIONAL ARRAY WRAPPER EMPTY OBJECT ON ERROR), JSON_OBJECT(KEY 'a' VALUE b, 'c' : d ABSENT ON NULL)",
         "JSON_QUERY(d, '$' WITH CONDITIONAL WRAPPER EMPTY OBJECT ON ERROR), JSON_OBJECT('a' VALUE b, 'c' VALUE d ABSENT ON NULL)");
    expr("f(x).a.b, a[1].c, (r).d, t.u.v, MAP['k', 1]['k'], CAST(x AS ROW<a INT NOT NULL, b MAP<STRING, INT ARRAY>>)",
         "f(x).a.b, a[1].c, (r).d, t.u.v, MAP['k', 1]['k'], CAST(x AS ROW<a INT NOT NULL, b MAP<STRING, ARRAY<INT>>>)");
    arena_freep(&A);
}
END_TEST

START_TEST(queries) {
    A = arena_new();
    golden("select a x, t.* from t where b group by rollup (a, (b, c)), grouping sets ((), d) having c qualify d order by a desc nulls last limit 3",
           "SELECT a AS x, t.* FROM t WHERE b GROUP BY ROLLUP (a, (b, c)), GROUPING SETS ((), d) HAVING c QUALIFY d ORDER BY a DESC NULLS LAST LIMIT 3");
    golden("SELECT 1 UNION ALL SELECT 2 INTERSECT (SELECT 3 EXCEPT (SELECT 4 LIMIT 1)) FETCH FIRST 2 ROWS ONLY",
           "SELECT 1 UNION ALL SELECT 2 INTERSECT (SELECT 3 EXCEPT (SELECT 4 LIMIT 1)) LIMIT 2");
    golden("SELECT * FROM TABLE(SESSION(DATA => TABLE t PARTITION BY (a, b), TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '5' SECOND)) s",
           "SELECT * FROM TABLE(SESSION(DATA => TABLE t PARTITION BY (a, b), TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '5' SECOND)) AS s");
    golden("SELECT * FROM a LEFT OUTER JOIN (b JOIN c USING (k)) ON a.x = b.x, LATERAL TABLE(f(a.y)) AS l (p), UNNEST(q) WITH ORDINALITY u (v, n)",
           "SELECT * FROM a LEFT JOIN (b JOIN c USING (k)) ON a.x = b.x, LATERAL TABLE(f(a.y)) AS l (p), UNNEST(q) WITH ORDINALITY AS u (v, n)");
    golden("SELECT * FROM o JOIN r /*+ OPTIONS('a'='b') */ FOR SYSTEM_TIME AS OF o.ts r ON TRUE",
           "SELECT * FROM o JOIN r /*+ OPTIONS('a' = 'b') */ FOR SYSTEM_TIME AS OF o.ts AS r ON TRUE");
    golden("WITH x (a) AS (VALUES (1, 'k'), 2) SELECT * FROM x", "WITH x (a) AS (VALUES (1, 'k'), ROW(2)) SELECT * FROM x");
    arena_freep(&A);
}
END_TEST

START_TEST(patterns) {
    A = arena_new();
    golden("SELECT m FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES FINAL LAST(B.x) AS m ONE ROW PER MATCH "
           "AFTER MATCH SKIP TO FIRST B PATTERN (A B*? (C | D){2,3} (A*)+ {- E -} (F G)) WITHIN INTERVAL '1' HOUR "
           "SUBSET U = (A, B) DEFINE B AS B.x > PREV(B.x, 1)) AS r",
           "SELECT m FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES FINAL LAST(B.x) AS m ONE ROW PER MATCH "
           "AFTER MATCH SKIP TO FIRST B PATTERN (A B*? (C | D){2,3} (A*)+ {- E -} (F G)) WITHIN INTERVAL '1' HOUR "
           "SUBSET U = (A, B) DEFINE B AS B.x > PREV(B.x, 1)) AS r");
    fails("SELECT 1 FROM t MATCH_RECOGNIZE (PATTERN (A{3,2}) DEFINE A AS TRUE)", ERR_SYNTAX, 1, 44, "wrong order", NULL);
    arena_freep(&A);
}
END_TEST

START_TEST(statements) {
    A = arena_new();
    golden("CREATE TEMPORARY TABLE IF NOT EXISTS c.d.t (id BIGINT NOT NULL PRIMARY KEY NOT ENFORCED, n AS id + 1, "
           "m TIMESTAMP(3) WITH LOCAL TIME ZONE METADATA FROM 'ts' VIRTUAL, WATERMARK FOR m AS m - INTERVAL '1' SECOND) "
           "PARTITIONED BY (id) WITH ('a'='b') LIKE o (EXCLUDING ALL INCLUDING OPTIONS)",
           "CREATE TEMPORARY TABLE IF NOT EXISTS c.d.t (id BIGINT NOT NULL, n AS id + 1, m TIMESTAMP_LTZ(3) METADATA FROM 'ts' VIRTUAL, "
           "WATERMARK FOR m AS m - INTERVAL '1' SECOND, PRIMARY KEY (id) NOT ENFORCED) PARTITIONED BY (id) WITH ('a' = 'b') "
           "LIKE o (EXCLUDING ALL INCLUDING OPTIONS)");
    golden("BEGIN STATEMENT SET; INSERT INTO a (x) SELECT 1; INSERT OVERWRITE b VALUES (1, 2); END",
           "EXECUTE STATEMENT SET BEGIN INSERT INTO a (x) SELECT 1; INSERT OVERWRITE b VALUES (1, 2); END");
    golden("set exec.ttl-x = 5 min", "SET 'exec.ttl-x' = '5 min'");
    golden("EXPLAIN PLAN FOR SELECT 1", "EXPLAIN SELECT 1");
    golden("CREATE FUNCTION f AS 'x'", "CREATE FUNCTION");
    golden("SELECT first, last, desc AS data FROM catalog.plan", "SELECT `first`, `last`, `desc` AS data FROM catalog.`plan`");
    sql_script_t *s = parsed(" /* one */ ; SELECT 1 ;-- two\nUSE CATALOG x; DROP VIEW IF EXISTS v");
    ck_assert_int_eq(s->n, 3);
    ck_assert_int_eq(s->stmt[1]->kind, AST_OTHER);
    ck_assert_str_eq(s->stmt[1]->what, "USE");
    ck_assert_int_eq(s->stmt[1]->pos.line, 2);
    ck_assert_int_eq((int)s->stmt[0]->begin, 13);
    ck_assert_int_eq((int)s->stmt[0]->end, 21);
    arena_freep(&A);
}
END_TEST

START_TEST(mistakes) {
    A = arena_new();
    fails("SELECT a\n  b c FROM t", ERR_SYNTAX, 2, 5, "unexpected 'c'", "comma missing");
    fails("SELECT '\u00e9\u00e9', value FROM t", ERR_SYNTAX, 1, 14, "unexpected 'value', expected an expression", "write `value`");
    fails("CREATE TABLE t (timestamp TIMESTAMP(3))", ERR_SYNTAX, 1, 17, "unexpected 'timestamp', expected a name", "write `timestamp`");
    fails("CREATE TABLE t (a INT) WITH ('a' = 'b' 'c' = 'd')", ERR_SYNTAX, 1, 40, "expected ')', ','", "comma missing");
    fails("SELECT \"x\" FROM t", ERR_SYNTAX, 1, 8, "double quotes", "single quotes");
    fails("SELECT a == b", ERR_SYNTAX, 1, 10, "==", "write = to compare");
    fails("SELECT a, FROM t", ERR_SYNTAX, 1, 11, "unexpected 'FROM'", "remove the comma");
    fails("SELECT 'abc", ERR_SYNTAX, 1, 8, "does not end", "single quote");
    fails("SELECT 1 /* open", ERR_SYNTAX, 1, 10, "comment that does not end", "*/");
    fails("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;", ERR_SYNTAX, 1, 52, "end of the text", "write END;");
    fails("SELECT * FROM a JOIN b WHERE x", ERR_SYNTAX, 1, 24, "unexpected 'WHERE'", "a join needs ON");
    fails("SELECT 1 SELECT 2", ERR_SYNTAX, 1, 10, "unexpected 'SELECT'", "semicolon missing");
    fails("CREATE TABLE t (a TEXT)", ERR_SYNTAX, 1, 19, "unknown type TEXT", "called STRING");
    fails("CREATE TABLE t (a TIMESTAMP(9))", ERR_UNSUPPORTED, 1, 19, "precision 9", "at most 6");
    fails("CREATE TABLE t (a DECIMAL(40, 2))", ERR_INVALID, 1, 19, "from 1 to 38", NULL);
    fails("CREATE TABLE t (a INT PRIMARY KEY)", ERR_SYNTAX, 1, 23, "needs NOT ENFORCED", "write PRIMARY KEY");
    fails("SELECT 1 \xff", ERR_SYNTAX, 1, 10, "not UTF-8", NULL);
    fails("FOO", ERR_SYNTAX, 1, 1, "expected a statement", NULL);
    fails("SELEC a FROM t", ERR_SYNTAX, 1, 1, "unexpected 'SELEC'", "did you mean SELECT?");
    fails("CRAETE TABLE t (a INT)", ERR_SYNTAX, 1, 1, "unexpected 'CRAETE'", "did you mean CREATE?");
    fails("CREATE TABEL t (a INT)", ERR_SYNTAX, 1, 8, "unexpected 'TABEL'", "did you mean TABLE?");
    fails("SELECT a FROM t GROUP YB a", ERR_SYNTAX, 1, 23, "expected BY", "did you mean BY?");
    fails("SELECT a FROM t WEHRE a > 1", ERR_SYNTAX, 1, 23, "unexpected 'a'", "did you mean WHERE instead of WEHRE?");
    fails("SELECT a FORM t", ERR_SYNTAX, 1, 15, "unexpected 't'", "did you mean FROM instead of FORM?");
    fails("SELECT a FROM t GRUOP BY a", ERR_SYNTAX, 1, 23, "unexpected 'BY'", "did you mean GROUP instead of GRUOP?");
    fails("SELECT a FROM t HAVNG a > 1", ERR_SYNTAX, 1, 23, "unexpected 'a'", "did you mean HAVING instead of HAVNG?");
    fails("SELECT a FROM t ODRER BY a", ERR_SYNTAX, 1, 23, "unexpected 'BY'", "did you mean ORDER instead of ODRER?");
    fails("INSERT INOT t SELECT 1", ERR_SYNTAX, 1, 8, "unexpected 'INOT'", "did you mean INTO?");
    fails("CREATE TABLE t (ts TIMESTAMP(3), WATERMRK FOR ts AS ts)", ERR_SYNTAX, 1, 43, "unexpected 'FOR'", "did you mean WATERMARK instead of WATERMRK?");
    fails("CREATE TABLE t (a INT, PRIMRY KEY (a) NOT ENFORCED)", ERR_SYNTAX, 1, 31, "unknown type KEY", "is written PRIMARY KEY (columns)");
    fails("CREATE TABLE t (a INT) WIHT ('a' = 'b')", ERR_SYNTAX, 1, 24, "unexpected 'WIHT'", "did you mean WITH?");
    fails("SELECT a FROM t `WEHRE` a", ERR_SYNTAX, 1, 25, "unexpected 'a'", "is a comma missing before it?"); /* in quotes it is a name */
    arena_freep(&A);
}
END_TEST

static char *repeat(const char *head, const char *unit, int n, const char *tail) {
    buf_t b = buf_make(1 << 24);
    buf_puts(&b, head);
    for (int i = 0; i < n; i++) buf_puts(&b, unit);
    buf_puts(&b, tail);
    return buf_take_cstr(&b);
}

static err_code_t code_of(char *text) {
    sql_script_t *s;
    err_t *e = sql_parse(A, text, strlen(text), &s);
    err_code_t code = err_code(e);
    err_free(e);
    free(text);
    return code;
}

/* Deep input is refused, however it is made deep; long flat input is not. */
START_TEST(depth) {
    A = arena_new();
    ck_assert_int_eq(code_of(repeat("SELECT ", "(", 50000, "1")), ERR_LIMIT);
    ck_assert_int_eq(code_of(repeat("SELECT ", "- ", 600, "1")), ERR_LIMIT);
    ck_assert_int_eq(code_of(repeat("SELECT ", "f(", 600, "1")), ERR_SYNTAX);
    ck_assert_int_eq(code_of(repeat("SELECT 1", " + 1", 600, "")), ERR_LIMIT);
    ck_assert_int_eq(code_of(repeat("SELECT 1", " UNION SELECT 1", 600, "")), ERR_LIMIT);
    ck_assert_int_eq(code_of(repeat("CREATE TABLE t (a INT", " ARRAY", 100, ")")), ERR_LIMIT);
    ck_assert_int_eq(code_of(repeat("SELECT a", " OR a", 20000, "")), ERR_OK);
    ck_assert_int_eq(code_of(repeat("SELECT a", ", a", 20000, "")), ERR_OK);
    arena_freep(&A);
}
END_TEST
TESTS("parse", precedence, literals, calls, queries, patterns, statements, mistakes, depth)
