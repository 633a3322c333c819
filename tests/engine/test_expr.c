/* test_expr.c: binding, evaluation by batches, laziness, three-valued logic, folding, printing. */
#include "../helpers/test.h"
#include "engine/func.h"
#include "harness.h"

START_TEST(arithmetic_over_columns_and_constants) {
    fx_t f = fx_new();
    fx_int(&f, "a", (int[]){1, 2, INT32_MAX, 0}, 4, 8);
    fx_is(&f, fx_call(&f, "+", 2, fx_col(&f, "a"), fx_i(&f, 1)), "2, 3, -2147483648, NULL");
    fx_is(&f, fx_call(&f, "*", 2, fx_col(&f, "a"), fx_col(&f, "a")), "1, 4, 1, NULL");
    fx_is(&f, fx_call(&f, "-", 2, fx_i(&f, 10), fx_col(&f, "a")), "9, 8, -2147483637, NULL");
    fx_type(&f, fx_call(&f, "+", 2, fx_col(&f, "a"), expr_bigint(f.a, 1)), "BIGINT");
    fx_fails(&f, fx_call(&f, "/", 2, fx_i(&f, 1), fx_i(&f, 0)), ERR_DATA, "division by zero");
    fx_free(&f);
}
END_TEST

START_TEST(decimal_types_follow_flink) {
    fx_t f = fx_new();
    expr_t *p = expr_column(f.a, 0, type_decimal(f.a, 10, 2, true)), *q = expr_column(f.a, 1, type_decimal(f.a, 10, 4, true));
    expr_t *w = expr_column(f.a, 2, type_decimal(f.a, 30, 10, true)), *i = expr_column(f.a, 3, &type_int);
    fx_type(&f, fx_call(&f, "+", 2, p, q), "DECIMAL(13, 4)");
    fx_type(&f, fx_call(&f, "*", 2, p, q), "DECIMAL(21, 6)");
    fx_type(&f, fx_call(&f, "/", 2, p, q), "DECIMAL(25, 13)");
    fx_type(&f, fx_call(&f, "*", 2, w, q), "DECIMAL(38, 11)");
    fx_type(&f, fx_call(&f, "/", 2, w, q), "DECIMAL(38, 14)");
    fx_type(&f, fx_call(&f, "+", 2, p, i), "DECIMAL(13, 2)");
    fx_type(&f, fx_call(&f, "*", 2, p, expr_column(f.a, 4, &type_double)), "DOUBLE");
    fx_free(&f);
}
END_TEST

START_TEST(logic_has_three_values) {
    fx_t f = fx_new();
    /* all nine pairs of FALSE, TRUE, NULL */
    fx_bool(&f, "x", (int[]){0, 0, 0, 1, 1, 1, -1, -1, -1}, 9);
    fx_bool(&f, "y", (int[]){0, 1, -1, 0, 1, -1, 0, 1, -1}, 9);
    expr_t *x = fx_col(&f, "x"), *y = fx_col(&f, "y");
    fx_is(&f, fx_call(&f, "AND", 2, x, y), "FALSE, FALSE, FALSE, FALSE, TRUE, NULL, FALSE, NULL, NULL");
    fx_is(&f, fx_call(&f, "OR", 2, x, y), "FALSE, TRUE, NULL, TRUE, TRUE, TRUE, NULL, TRUE, NULL");
    fx_is(&f, fx_call(&f, "NOT", 1, x), "TRUE, TRUE, TRUE, FALSE, FALSE, FALSE, NULL, NULL, NULL");
    fx_is(&f, fx_call(&f, "IS NOT TRUE", 1, x), "TRUE, TRUE, TRUE, FALSE, FALSE, FALSE, TRUE, TRUE, TRUE");
    fx_is(&f, fx_call(&f, "IS DISTINCT FROM", 2, x, y), "FALSE, TRUE, TRUE, TRUE, FALSE, TRUE, TRUE, TRUE, FALSE");
    /* the same through an operand that may fail, which is evaluated for the undecided rows only */
    expr_t *dear = fx_call(&f, "LIKE", 2, fx_cast(&f, y, &type_string), fx_s(&f, "T%"));
    fx_is(&f, fx_call(&f, "AND", 2, x, dear), "FALSE, FALSE, FALSE, FALSE, TRUE, NULL, FALSE, NULL, NULL");
    fx_is(&f, fx_call(&f, "OR", 2, x, dear), "FALSE, TRUE, NULL, TRUE, TRUE, TRUE, NULL, TRUE, NULL");
    fx_free(&f);
}
END_TEST

START_TEST(a_branch_not_taken_does_not_fail) {
    fx_t f = fx_new();
    fx_str(&f, "s", (const char *[]){"1", "x", "3", NULL}, 4);
    expr_t *s = fx_col(&f, "s"), *n = fx_cast(&f, s, &type_int);
    fx_fails(&f, n, ERR_DATA, "cannot read as INT the text 'x'");
    expr_t *is_x = fx_call(&f, "=", 2, s, fx_s(&f, "x"));
    fx_is(&f, fx_call(&f, "CASE", 3, is_x, fx_i(&f, -1), n), "1, -1, 3, NULL");
    fx_is(&f, fx_call(&f, "IF", 3, is_x, fx_i(&f, -1), n), "1, -1, 3, NULL");
    expr_t *safe = fx_call(&f, "AND", 2, fx_call(&f, "<>", 2, s, fx_s(&f, "x")), fx_call(&f, ">", 2, n, fx_i(&f, 2)));
    fx_is(&f, safe, "FALSE, FALSE, TRUE, NULL");
    fx_is(&f, fx_call(&f, "COALESCE", 2, fx_call(&f, "NULLIF", 2, s, fx_s(&f, "x")), fx_s(&f, "y")), "1, y, 3, y");
    /* nested: the inner CASE sees only the outer one's rows */
    expr_t *inner = fx_call(&f, "CASE", 3, fx_call(&f, "=", 2, n, fx_i(&f, 1)), fx_s(&f, "one"), fx_s(&f, "more"));
    fx_is(&f, fx_call(&f, "CASE", 3, is_x, fx_s(&f, "ex"), inner), "one, ex, more, more");
    fx_free(&f);
}
END_TEST

START_TEST(case_of_nested_values_is_put_together) {
    fx_t f = fx_new();
    fx_int(&f, "a", (int[]){1, 2, 3}, 3, 0);
    expr_t *a = fx_col(&f, "a");
    expr_t *big = fx_call(&f, ">", 2, a, fx_i(&f, 1));
    expr_t *x = fx_call(&f, "ARRAY", 2, a, fx_i(&f, 7)), *y = fx_call(&f, "ARRAY", 1, fx_call(&f, "*", 2, a, a));
    fx_is(&f, fx_call(&f, "CASE", 4, fx_call(&f, "=", 2, a, fx_i(&f, 3)), y, big, x), "NULL, [2, 7], [9]");
    fx_is(&f, fx_call(&f, "ITEM", 2, x, a), "1, 7, NULL");
    fx_is(&f, fx_call(&f, "ROW", 2, a, fx_s(&f, "k")), "(1, k), (2, k), (3, k)");
    fx_free(&f);
}
END_TEST

START_TEST(in_and_between_know_null) {
    fx_t f = fx_new();
    fx_int(&f, "a", (int[]){1, 5, 9, 0}, 4, 8);
    expr_t *a = fx_col(&f, "a");
    fx_is(&f, fx_call(&f, "IN", 3, a, fx_i(&f, 1), expr_null(f.a, &type_int)), "TRUE, NULL, NULL, NULL");
    fx_is(&f, fx_call(&f, "IN", 3, a, fx_i(&f, 1), fx_i(&f, 5)), "TRUE, TRUE, FALSE, NULL");
    fx_is(&f, fx_call(&f, "BETWEEN", 3, a, fx_i(&f, 5), fx_i(&f, 10)), "FALSE, TRUE, TRUE, NULL");
    fx_is(&f, fx_call(&f, "BETWEEN", 3, a, fx_i(&f, 5), expr_null(f.a, &type_int)), "FALSE, NULL, NULL, NULL");
    fx_is(&f, fx_call(&f, "BETWEEN SYMMETRIC", 3, a, fx_i(&f, 6), fx_i(&f, 0)), "TRUE, TRUE, FALSE, NULL");
    fx_is(&f, fx_call(&f, "GREATEST", 2, a, fx_i(&f, 4)), "4, 5, 9, NULL");
    fx_is(&f, fx_call(&f, "IN", 3, a, fx_i(&f, 1), fx_call(&f, "+", 2, a, fx_i(&f, 0))), "TRUE, TRUE, TRUE, NULL");
    fx_str(&f, "s", (const char *[]){"x", "", "y", NULL}, 4);
    fx_is(&f, fx_call(&f, "IN", 3, fx_col(&f, "s"), fx_s(&f, "x"), fx_s(&f, "")), "TRUE, TRUE, FALSE, NULL");
    fx_text(&f, fx_call(&f, "BETWEEN", 3, a, fx_i(&f, 5), fx_i(&f, 10)), "(($0 >= 5) AND ($0 <= 10))");
    fx_free(&f);
}
END_TEST

START_TEST(filter_and_selection) {
    fx_t f = fx_new();
    fx_int(&f, "a", (int[]){4, 1, 7, 0, 9}, 5, 8);
    expr_t *big = fx_call(&f, ">", 2, fx_col(&f, "a"), fx_i(&f, 3)), *sum = fx_call(&f, "+", 2, fx_col(&f, "a"), fx_i(&f, 1));
    batch_t *b = fx_batch(&f);
    expr_prog_t *p;
    ck_ok(expr_compile(&big, 1, &p));
    uint32_t sel[5], n;
    mem_t *m = mem_new();
    ck_ok(expr_filter(p, &f.ctx, b, m, sel, &n));
    ck_assert_uint_eq(n, 3);
    expr_prog_free(p);
    ck_ok(expr_compile((expr_t *[]){sum, big}, 2, &p));
    column_t out[2];
    ck_ok(expr_eval(p, &f.ctx, b, sel, n, m, out));
    ck_assert_int_eq(out[0].i32[0], 5);
    ck_assert_int_eq(out[0].i32[1], 8);
    ck_assert_int_eq(out[0].i32[2], 10);
    ck_assert_int_eq(out[1].b[2], 1);
    expr_prog_free(p);
    mem_unref(m);
    fx_free(&f);
}
END_TEST

START_TEST(folding_printing_and_rewriting) {
    fx_t f = fx_new();
    expr_t *a = expr_column(f.a, 0, &type_int);
    expr_t *e = fx_call(&f, "+", 2, a, fx_call(&f, "*", 2, fx_i(&f, 6), fx_i(&f, 7)));
    fx_text(&f, e, "($0 + (6 * 7))");
    fx_text(&f, expr_fold(f.a, e), "($0 + 42)");
    expr_t *bad = fx_call(&f, "/", 2, fx_i(&f, 1), fx_i(&f, 0));
    fx_text(&f, expr_fold(f.a, bad), "(1 / 0)");
    ck_assert(!expr_is_constant(fx_call(&f, "RAND", 0)));
    ck_assert(!expr_is_deterministic(fx_call(&f, "NOW", 0)));
    fx_text(&f, fx_call(&f, "NOW", 0), "NOW()");
    expr_t *text = fx_call(&f, "UPPER", 1, fx_s(&f, "it's"));
    fx_text(&f, text, "UPPER('it''s')");
    fx_text(&f, expr_map_columns(f.a, e, (int[]){3}), "($3 + 42)");
    fx_text(&f, expr_substitute(f.a, e, (expr_t *[]){text}), "(UPPER('it''s') + 42)");
    ck_assert(expr_equal(e, expr_map_columns(f.a, e, (int[]){0})));
    uint8_t used[2] = {0};
    expr_columns(e, used);
    ck_assert(used[0] && !used[1]);
    fx_free(&f);
}
END_TEST

START_TEST(wrong_calls_say_why) {
    fx_t f = fx_new();
    expr_t *ret, *args[2] = {fx_i(&f, 1), fx_s(&f, "x")};
    ck_fails(func_bind(f.a, "LOG1O", args, 1, &ret), ERR_NOT_FOUND, "LOG1O");
    ck_fails(func_bind(f.a, "+", args, 2, &ret), ERR_TYPE, "INT + CHAR(1): ");
    ck_fails(func_bind(f.a, "=", args, 2, &ret), ERR_TYPE, "nothing in common");
    ck_fails(func_bind(f.a, "UPPER", args, 1, &ret), ERR_TYPE, "UPPER(s)");
    ck_fails(func_bind(f.a, "LPAD", args, 2, &ret), ERR_TYPE, "LPAD(s, length, with)");
    ck_fails(cast_bind(f.a, args[0], &type_date, CAST_EXPLICIT, &ret), ERR_TYPE, "cannot be cast to DATE");
    ck_fails(cast_bind(f.a, expr_column(f.a, 0, &type_double), &type_int, CAST_IMPLICIT, &ret), ERR_TYPE, "implicitly");
    ck_assert(func_exists("coalesce") && !func_exists("nope"));
    buf_t docs = buf_make(1 << 20);
    func_docs(&docs);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&docs), "| `SPLIT_INDEX(s, separator, index)` |"));
    buf_free(&docs);
    fx_free(&f);
}
END_TEST

START_TEST(common_types) {
    fx_t f = fx_new();
    const type_t *c2 = type_scalar(f.a, TYPE_CHAR, 2, false), *c3 = type_scalar(f.a, TYPE_CHAR, 3, false);
    ck_assert_str_eq(type_text(f.a, type_common(f.a, c2, c2)), "CHAR(2) NOT NULL");
    ck_assert_str_eq(type_text(f.a, type_common(f.a, c2, c3)), "VARCHAR(3) NOT NULL");
    ck_assert_str_eq(type_text(f.a, type_common(f.a, &type_int, &type_bigint)), "BIGINT");
    ck_assert_str_eq(type_text(f.a, type_common(f.a, type_decimal(f.a, 10, 2, true), &type_int)), "DECIMAL(12, 2)");
    ck_assert_str_eq(type_text(f.a, type_common(f.a, &type_date, &type_timestamp3)), "TIMESTAMP(3)");
    ck_assert_str_eq(type_text(f.a, type_common(f.a, &type_null, c2)), "CHAR(2)");
    ck_assert_ptr_null(type_common(f.a, &type_int, &type_string));
    fx_free(&f);
}
END_TEST

START_TEST(of_float_and_double_the_first_gives_the_type) {
    fx_t f = fx_new();
    expr_t *x = expr_null(f.a, &type_float), *y = expr_null(f.a, &type_double), *e = expr_null(f.a, type_decimal(f.a, 10, 2, true));
    fx_type(&f, fx_call(&f, "+", 2, x, y), "FLOAT");
    fx_type(&f, fx_call(&f, "*", 2, y, x), "DOUBLE");
    fx_type(&f, fx_call(&f, "+", 2, x, e), "DOUBLE");
    fx_type(&f, fx_call(&f, "IF", 3, expr_null(f.a, &type_boolean), x, y), "FLOAT");
    fx_type(&f, fx_call(&f, "ARRAY", 2, x, y), "ARRAY<FLOAT>");
    fx_type(&f, fx_call(&f, "COALESCE", 2, x, y), "DOUBLE");
    fx_type(&f, fx_call(&f, "GREATEST", 2, x, y), "DOUBLE");
    expr_t *half = fx_cast(&f, fx_d(&f, 0.1), &type_float);
    fx_is(&f, fx_call(&f, "+", 2, half, fx_d(&f, 1234567.8)), "1234567.9");   /* in single precision */
    fx_is(&f, fx_call(&f, "=", 2, half, fx_d(&f, 0.1)), "FALSE");              /* compared in double */
    fx_free(&f);
}
END_TEST

START_TEST(types_have_flinks_names_and_lengths) {
    fx_t f = fx_new();
    fx_type(&f, fx_call(&f, "MD5", 1, fx_s(&f, "x")), "CHAR(32)");
    fx_type(&f, fx_call(&f, "SHA384", 1, fx_s(&f, "x")), "CHAR(96)");
    fx_type(&f, fx_call(&f, "SHA2", 2, fx_s(&f, "x"), fx_i(&f, 256)), "VARCHAR(128)");
    fx_is(&f, fx_call(&f, "TYPEOF", 1, expr_literal(f.a, &type_interval_second, (value_t){.i = 1})), "INTERVAL SECOND(3) NOT NULL");
    fx_is(&f, fx_call(&f, "TYPEOF", 1, expr_literal(f.a, &type_interval_month, (value_t){.i = 1})), "INTERVAL MONTH NOT NULL");
    expr_t *nullable = expr_null(f.a, &type_boolean), *cond = fx_call(&f, "IS NULL", 1, nullable);
    ck_assert(fx_call(&f, "IF", 3, nullable, fx_i(&f, 1), fx_i(&f, 2))->type->nullable);
    ck_assert(!fx_call(&f, "IF", 3, cond, fx_i(&f, 1), fx_i(&f, 2))->type->nullable);
    fx_free(&f);
}
END_TEST

TESTS("engine/expr", of_float_and_double_the_first_gives_the_type, types_have_flinks_names_and_lengths,
      arithmetic_over_columns_and_constants, decimal_types_follow_flink, logic_has_three_values,
      a_branch_not_taken_does_not_fail, case_of_nested_values_is_put_together, in_and_between_know_null, filter_and_selection,
      folding_printing_and_rewriting, wrong_calls_say_why, common_types)
