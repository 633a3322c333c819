/* test_func_json.c: JSON made and taken apart; every expected text was computed by a Flink 2.3. */
#include "../helpers/test.h"
#include "harness.h"
#include <stdio.h>

#define S(x) fx_s(&f, x)
#define I(x) fx_i(&f, x)
#define SYM(x) fx_sym(&f, x)
#define IS(want, name, ...) fx_is(&f, fx_call(&f, name, (int)(sizeof((expr_t *[]){__VA_ARGS__}) / sizeof(expr_t *)), __VA_ARGS__), want)

START_TEST(paths_give_lists_by_star_descent_slices_and_several_names) {
    fx_t f = fx_new();
    expr_t *doc = S("{\"a\":{\"b\":1},\"c\":[{\"b\":2},{\"b\":[3]}]}"), *list = S("[1,2,3,4]");
    IS("[1,2,[3]]", "JSON_QUERY", doc, S("$..b"));
    IS("[2,[3]]", "JSON_QUERY", doc, S("$.c..b"));
    IS("[{\"b\":1},[{\"b\":2},{\"b\":[3]}],1,{\"b\":2},{\"b\":[3]},2,[3],3]", "JSON_QUERY", doc, S("$..*"));
    IS("[{\"b\":2},3]", "JSON_QUERY", doc, S("$..[0]"));
    IS("[1,3]", "JSON_QUERY", list, S("$[0,2]"));
    IS("[1]", "JSON_QUERY", list, S("$[0, 9]"));
    IS("[2,3]", "JSON_QUERY", list, S("$[1:3]"));
    IS("[1,2]", "JSON_QUERY", list, S("$[:2]"));
    IS("[3,4]", "JSON_QUERY", list, S("$[-2:]"));
    IS("{\"a\":1,\"c\":3}", "JSON_QUERY", S("{\"a\":1,\"b\":2,\"c\":3}"), S("$['a','c']"));
    IS("3", "JSON_VALUE", S("{\"a\":[7,8,9]}"), S("$.a.length()"));
    IS("NULL", "JSON_VALUE", S("{\"a\":\"xyz\"}"), S("$.a.length()"));
    IS("TRUE", "JSON_EXISTS", doc, S("$..none"));
    IS("[2,3,4]", "JSON_QUERY", list, S("$[?(@ > 1)]"));
    fx_fails(&f, fx_call(&f, "JSON_QUERY", 2, list, S("$[1")), ERR_UNSUPPORTED, "path");
    fx_free(&f);
}
END_TEST

/* Read from Jayway's source (2.9, as Flink has it), not computed by a Flink. */
START_TEST(filters_take_what_holds) {
    fx_t f = fx_new();
    expr_t *doc = S("{\"min\":10,\"names\":[\"a\",\"c\"],\"book\":[{\"n\":\"a\",\"p\":8.95,\"t\":[]},{\"n\":\"b\",\"p\":12.99,\"i\":null},{\"n\":\"c\",\"p\":\"10\",\"t\":[1,2]},5]}");
    static const struct { const char *filter, *names; } want[] = {
        {"@.p < 10", "a"}, {"@.p<10", "a"}, {"@.p >= 8.95", "a b"}, {"@.p == 10", "c"}, {"@.p == '10'", "c"}, {"@.p === 10", ""},
        {"@.p != 10", "a b"}, {"@.p !== 10", "a b c"}, {"@.i", "b"}, {"!@.i", "a c"}, {"@.i == null", "b"}, {"@.none == null", ""}, {"@.none != 1", "a b c"},
        {"@.p > $.min", "b"}, {"@.n in ['a', \"b\"]", "a b"}, {"@.n IN $.names", "a c"}, {"@.n nin ['a', 'b']", "c"}, {"$.names contains @.n", "a c"},
        {"@.n contains 'a'", "a"}, {"@.t size 2", "c"}, {"@.n size 1", "a b c"}, {"@.t empty true", "a"}, {"@.t empty false", "c"}, {"@.t.length() > 1", "c"},
        {"@.p < 10 || @.n == 'c'", "a c"}, {"@.p > 8 && @.p < 13 && @.t", "a"}, {"@.n == 'a' || @.n == 'b' && @.p == 1", "a"}, {"!(@.n == 'a')", "b c"},
        {"(@.n == 'a' || @.n == 'b') && @.p > 9", "b"}, {"@['n'] == 'b'", "b"}, {"'b' == @.n", "b"}, {"@.t == [1,2]", "c"}, {"@.t[?(@ > 1)] size 1", "c"},
        {"@.n > 'a'", "b c"}, {"@.p > 'a'", ""}, {"@.n == 'it\\'s'", ""}, {"@.t[5]", ""}, {"@.p == -1e3", ""}, {"true == false", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        char path[120], names[40] = "[";
        snprintf(path, sizeof path, "$.book[?(%s)].n", want[i].filter);
        for (const char *p = want[i].names; *p; p++) snprintf(names + strlen(names), sizeof names - strlen(names), *p == ' ' ? "," : "\"%c\"", *p);
        strcat(names, "]");
        IS(names, "JSON_QUERY", doc, S(path));
    }
    IS("[{\"a\":1}]", "JSON_QUERY", S("{\"a\":1}"), S("$[?(@.a == 1)]")); /* an object itself */
    IS("[]", "JSON_QUERY", S("{\"a\":1}"), S("$[?(@.a == 2)]"));
    IS("NULL", "JSON_QUERY", S("{\"a\":1}"), S("$.a[?(@ == 1)]")); /* of a number: an error */
    IS("[]", "JSON_QUERY", S("{\"a\":1}"), S("lax $.a[?(@ == 1)]"));
    IS("[{\"x\":{\"x\":1}},{\"x\":1}]", "JSON_QUERY", S("[{\"x\":{\"x\":1}}]"), S("$..[?(@.x)]"));
    IS("TRUE", "JSON_EXISTS", doc, S("$.book[?(@.p > 100)]")); /* a list, if an empty one */
    fx_free(&f);
}
END_TEST

START_TEST(a_filter_that_is_not_understood_is_refused) {
    fx_t f = fx_new();
    expr_t *doc = S("[1]");
    static const char *const bad[] = {"", "(", "()", "(@.a", "(@.a == )", "(@.a = 1)", "(@.a =~ /x/)", "(@.a subsetof [1])", "(1)", "(@.a == 1 &&)", "(!@.a == 1)", "(@.a == {})",
                                      "(@.a == 'x)", "(@.a == nulll)", "(@.a == 1.2.3)", "(@.a in 1, 2)", "(@.a[?(@[?(@[?(@[?(@ == 1)] == 1)] == 1)] == 1)])", "(@.a)(@.b)", "(@.a == \"\\u0041\")"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char path[120];
        snprintf(path, sizeof path, "$[?%s]", bad[i]);
        fx_fails(&f, fx_call(&f, "JSON_QUERY", 2, doc, S(path)), ERR_UNSUPPORTED, "path");
    }
    char *deep = xcalloc(1, 60000); /* neither deep nor long ones take the stack */
    strcpy(deep, "$[?(");
    for (int i = 0; i < 10000; i++) strcpy(deep + 4 + i, "(");
    fx_fails(&f, fx_call(&f, "JSON_QUERY", 2, doc, S(deep)), ERR_UNSUPPORTED, "path");
    deep[4] = 0;
    for (int i = 0; i < 8000; i++) memcpy(deep + 4 + i * 6, "@ &&  ", 7);
    memcpy(deep + 4 + 8000 * 6, "@)]", 4);
    fx_fails(&f, fx_call(&f, "JSON_QUERY", 2, doc, S(deep)), ERR_UNSUPPORTED, "path");
    free(deep);
    fx_free(&f);
}
END_TEST

/* A path of the root is looked for once a document, and in each. */
START_TEST(a_filter_of_many_rows_reads_each_document_anew) {
    fx_t f = fx_new();
    const char *docs[] = {"{\"m\":1,\"l\":[1,2]}", "{\"m\":2,\"l\":[1,2]}", "{\"l\":[1,2]}"};
    f.rows = 3;
    fx_str(&f, "d", docs, 3);
    IS("[1], [2], []", "JSON_QUERY", fx_col(&f, "d"), S("$.l[?(@ == $.m)]"));
    fx_free(&f);
}
END_TEST

START_TEST(what_is_missing_before_a_star_is_null_and_behind_it_an_empty_list) {
    fx_t f = fx_new();
    expr_t *doc = S("{\"a\":5}");
    IS("NULL", "JSON_QUERY", doc, S("$.x[*]"));
    IS("NULL", "JSON_QUERY", doc, S("$.x[*].y"));
    IS("[]", "JSON_QUERY", doc, S("$.a[*]"));
    IS("[]", "JSON_QUERY", doc, S("lax $.x[*]"));
    IS("[1,2]", "JSON_QUERY", S("[{\"a\":1},{\"a\":2},{\"b\":3}]"), S("$[*].a"));
    IS("[2]", "JSON_QUERY", S("[[1,2],[3]]"), S("$[*][1]"));
    IS("FALSE", "JSON_EXISTS", doc, S("$.x[*]"));
    fx_free(&f);
}
END_TEST

START_TEST(json_query_returns_an_array_of_texts) {
    fx_t f = fx_new();
    expr_t *t = expr_null(f.a, type_array(f.a, &type_string, true)), *doc = S("[1, \"a\", null, true, [1], {\"b\": 1.50}]");
    expr_t *q = fx_call(&f, "JSON_QUERY", 6, doc, S("$"), SYM("WITHOUT"), SYM("NULL"), SYM("NULL"), t);
    fx_type(&f, q, "ARRAY<STRING>");
    fx_is(&f, q, "[1, a, NULL, true, [1], {\"b\":1.50}]");
    IS("NULL", "JSON_QUERY", doc, S("$[5]"), SYM("WITHOUT"), SYM("NULL"), SYM("NULL"), t);
    IS("[]", "JSON_QUERY", doc, S("$.zz"), SYM("WITHOUT"), SYM("NULL"), SYM("EMPTY ARRAY"), t);
    IS("[1]", "JSON_QUERY", doc, S("$[0]"), SYM("UNCONDITIONAL"), SYM("NULL"), SYM("NULL"), t);
    expr_t *args[] = {doc, S("$"), SYM("WITHOUT"), SYM("NULL"), SYM("NULL"), expr_null(f.a, type_array(f.a, &type_int, true))}, *ret;
    ck_fails(func_bind(f.a, "JSON_QUERY", args, 6, &ret), ERR_TYPE, "ARRAY<STRING>");
    fx_free(&f);
}
END_TEST

START_TEST(objects_have_sorted_keys_and_the_last_of_equal_ones) {
    fx_t f = fx_new();
    IS("{}", "JSON_OBJECT", SYM("NULL"));
    IS("{\"a\":2,\"b\":1}", "JSON_OBJECT", SYM("NULL"), S("b"), I(1), S("a"), I(2));
    IS("{\"a\":2}", "JSON_OBJECT", SYM("NULL"), S("a"), I(1), S("a"), I(2));
    expr_t *no = expr_null(f.a, &type_int);
    IS("{\"a\":null}", "JSON_OBJECT", SYM("NULL"), S("a"), no);
    IS("{}", "JSON_OBJECT", SYM("ABSENT"), S("a"), no);
    IS("[]", "JSON_ARRAY", SYM("ABSENT"), no);
    IS("[null,\"x\"]", "JSON_ARRAY", SYM("NULL"), no, S("x"));
    fx_free(&f);
}
END_TEST

START_TEST(what_is_json_already_is_not_quoted_again) {
    fx_t f = fx_new();
    expr_t *inner = fx_call(&f, "JSON_ARRAY", 2, SYM("ABSENT"), I(1));
    IS("{\"x\":[1]}", "JSON_OBJECT", SYM("NULL"), S("x"), inner);
    IS("[[1]]", "JSON_ARRAY", SYM("ABSENT"), inner);
    IS("[\"{\\\"a\\\":1}\"]", "JSON_ARRAY", SYM("ABSENT"), S("{\"a\":1}"));
    IS("[{\"a\":1,\"b\":1.50}]", "JSON_ARRAY", SYM("ABSENT"), fx_call(&f, "JSON", 1, S("{\"b\": 1.50, \"a\": 1}")));
    fx_fails(&f, fx_call(&f, "JSON_ARRAY", 2, SYM("ABSENT"), fx_call(&f, "JSON", 1, S("not json"))), ERR_DATA, "no JSON");
    fx_free(&f);
}
END_TEST

START_TEST(values_of_every_type_become_json) {
    fx_t f = fx_new();
    IS("1.0E+20", "JSON_STRING", fx_d(&f, 1e20));
    IS("\"NaN\"", "JSON_STRING", fx_cast(&f, S("NaN"), &type_double));
    IS("1.50000", "JSON_STRING", fx_cast(&f, S("1.5"), type_decimal(f.a, 20, 5, true)));
    IS("\"é \\\"x\\\" \\\\ /\"", "JSON_STRING", S("é \"x\" \\ /"));
    IS("\"1970-01-01T00:00:00\"", "JSON_STRING", fx_ts(&f, "1970-01-01 00:00:00"));
    IS("\"2024-06-15T10:00:00.5Z\"", "JSON_STRING", fx_cast(&f, S("2024-06-15 10:00:00.5"), &type_ltz3));
    IS("\"AP+A\"", "JSON_STRING", fx_call(&f, "UNHEX", 1, S("00FF80")));
    IS("[3,null]", "JSON_STRING", fx_call(&f, "ARRAY", 2, I(3), expr_null(f.a, &type_int)));
    IS("{\"a\":1}", "JSON_STRING", fx_call(&f, "MAP", 2, S("a"), I(1)));
    IS("{\"EXPR$0\":1,\"EXPR$1\":\"a\"}", "JSON_STRING", fx_call(&f, "ROW", 2, I(1), S("a")));
    expr_t *map = fx_call(&f, "MAP", 2, I(1), I(2)), *ret;
    ck_fails(func_bind(f.a, "JSON_STRING", &map, 1, &ret), ERR_TYPE, "keys");
    fx_free(&f);
}
END_TEST

START_TEST(quoting_is_ascii_and_unquoting_leaves_what_is_no_string) {
    fx_t f = fx_new();
    IS("\"a\\\"b\\\\c\\/d\\n\"", "JSON_QUOTE", S("a\"b\\c/d\n"));
    IS("\"\\u00e9\\ud83d\\ude00\"", "JSON_QUOTE", S("é😀"));
    IS("aA😀/", "JSON_UNQUOTE", S("\"a\\u0041\\ud83d\\ude00\\/\""));
    IS("a\" b", "JSON_UNQUOTE", S("\"a\" b\""));
    IS("\"abc", "JSON_UNQUOTE", S("\"abc"));
    IS("\"a\\x\"", "JSON_UNQUOTE", S("\"a\\x\""));
    IS("[1, 2]", "JSON_UNQUOTE", S("[1, 2]"));
    IS("\"", "JSON_UNQUOTE", S("\""));
    fx_free(&f);
}
END_TEST

TESTS("engine/func_json", filters_take_what_holds, a_filter_that_is_not_understood_is_refused, a_filter_of_many_rows_reads_each_document_anew,
      paths_give_lists_by_star_descent_slices_and_several_names,
      what_is_missing_before_a_star_is_null_and_behind_it_an_empty_list, json_query_returns_an_array_of_texts,
      objects_have_sorted_keys_and_the_last_of_equal_ones, what_is_json_already_is_not_quoted_again,
      values_of_every_type_become_json, quoting_is_ascii_and_unquoting_leaves_what_is_no_string)
