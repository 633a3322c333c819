/* The table of connectors, the check of option keys, print and blackhole. */
#include "tests/connector/support.h"
#include <unistd.h>

START_TEST(connectors_are_found_by_name) {
    ck_assert_ptr_eq(source_find("filesystem"), &filesystem_source);
    ck_assert_ptr_eq(source_find("datagen"), &datagen_source);
    ck_assert_ptr_eq(sink_find("print"), &print_sink);
    ck_assert_ptr_eq(sink_find("blackhole"), &blackhole_sink);
    ck_assert_ptr_null(source_find("print"));
    ck_assert_ptr_null(source_find("hive"));
    buf_t b = buf_make(1024);
    connector_names(&b, false);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&b), "filesystem, datagen"));
    buf_clear(&b);
    connector_names(&b, true);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&b), "print, blackhole"));
    buf_free(&b);
}
END_TEST

START_TEST(unknown_options_get_a_near_name) {
    fixture_t f = fixture_new();
    static const char *const known[] = {"topic", "scan.startup.mode", "properties.*", "format", NULL};
    fixture_option(&f, "connector", "kafka");
    fixture_option(&f, "format", "json");
    fixture_option(&f, "properties.bootstrap.servers", "x");
    fixture_option(&f, "json.ignore-parse-errors", "true");
    ck_ok(options_check_known(&f.table, known));
    static const struct {
        const char *key, *near;
    } cases[] = {{"scan.start.mode", "scan.startup.mode"}, {"tpoic", "topic"},
                 {"json.fail-on-missing-fields", "json.fail-on-missing-field"}, {"completely-different", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_option(&f, cases[i].key, "v");
        err_t *e = options_check_known(&f.table, known);
        ck_assert_int_eq(err_code(e), ERR_INVALID);
        ck_assert_ptr_nonnull(strstr(err_text(e), cases[i].key));
        const char *hint = err_hint_text(e);
        if (cases[i].near) ck_assert_ptr_nonnull(strstr(hint, cases[i].near));
        else ck_assert_ptr_null(hint);
        err_free(e);
        f.table.options.n--;
    }
    fixture_option(&f, "value.json.ignore-parse-errors", "true"); /* there is no value.format */
    ck_fails(options_check_known(&f.table, known), ERR_INVALID, "value.json");
    fixture_free(&f);
}
END_TEST

/* What print writes for one row, by way of a pipe in place of stdout. */
static char *printed(const sink_vtable_t *vt, fixture_t *f, plan_op_t *op, int subtask, int parallelism, batch_t *b) {
    int fds[2], saved = dup(STDOUT_FILENO);
    ck_assert_int_eq(pipe(fds), 0);
    fflush(stdout);
    dup2(fds[1], STDOUT_FILENO);
    sink_t s = {.vt = vt, .self = xcalloc(1, vt->state_size)};
    s.env = (op_env_t){.op = op, .subtask = subtask, .parallelism = parallelism};
    err_t *e = NULL, *opened = vt->open(&s);
    op_status_t st = vt->write(&s, b, &e);
    vt->close(&s);
    free(s.self);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(fds[1]);
    ck_ok(opened);
    ck_assert_int_eq(st, OP_DONE);
    char *text = xcalloc(1, 65536);
    ssize_t n = read(fds[0], text, 65535);
    ck_assert_int_ge(n, 0);
    close(fds[0]);
    return text;
}

START_TEST(print_writes_flinks_lines) {
    fixture_t f = fixture_new();
    fixture_column(&f, "s", &type_string);
    fixture_column(&f, "at", &type_timestamp3);
    fixture_column(&f, "d", type_decimal(f.arena, 6, 2, true));
    fixture_column(&f, "m", type_map(f.arena, &type_string, type_array(f.arena, &type_int, true), true));
    const type_t *inner[] = {&type_boolean};
    fixture_column(&f, "r", type_row(f.arena, 1, inner, (const char *const[]){"x"}, true));
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_ok(decoder_message(d, slice_str("{\"s\":\"a\",\"at\":\"2025-03-01 10:00:00\",\"d\":1.5,\"m\":{\"k\":[1,null]},\"r\":{\"x\":true}}")));
    ck_ok(decoder_message(d, slice_str("{\"at\":\"2025-03-01 10:00:01.250\"}")));
    batch_t *b;
    decoder_take(d, &b);
    b->kinds = mem_zalloc(b->mem, 2);
    b->kinds[1] = ROW_DELETE;
    plan_op_t op = {.kind = OP_SINK, .table = &f.table, .schema = f.table.physical};
    char *text = printed(&print_sink, &f, &op, 0, 1, b);
    ck_assert_str_eq(text, "+I[a, 2025-03-01T10:00, 1.50, {k=[1, null]}, +I[true]]\n"
                           "-D[null, 2025-03-01T10:00:01.250, null, null, null]\n");
    free(text);
    fixture_option(&f, "print-identifier", "out");
    text = printed(&print_sink, &f, &op, 1, 4, b);
    ck_assert_ptr_eq(strstr(text, "out:2> +I[a"), text);
    free(text);
    text = printed(&blackhole_sink, &f, &op, 0, 1, b);
    ck_assert_str_eq(text, "");
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

START_TEST(a_bare_select_prints_a_table_with_names_once_or_json) {
    fixture_t f = fixture_new();
    fixture_column(&f, "id", &type_int);
    fixture_column(&f, "name", &type_string);
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_ok(decoder_message(d, slice_str("{\"id\":1,\"name\":\"x\"}")));
    batch_t *b;
    decoder_take(d, &b);
    plan_op_t op = {.kind = OP_SINK, .schema = f.table.physical, .sink_print = true};
    char *text = printed(&print_sink, &f, &op, 0, 2, b);
    ck_assert_str_eq(text, "id          | name\n1           | x\n");
    free(text);
    text = printed(&print_sink, &f, &op, 1, 2, b);
    ck_assert_str_eq(text, "1           | x\n");
    free(text);
    op.retracts = true;
    text = printed(&print_sink, &f, &op, 0, 2, b);
    ck_assert_str_eq(text, "op | id          | name\n+I | 1           | x\n");
    free(text);
    op.sink_json = true;
    text = printed(&print_sink, &f, &op, 0, 2, b);
    ck_assert_str_eq(text, "{\"op\":\"+I\",\"row\":{\"id\":1,\"name\":\"x\"}}\n");
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

TESTS("registry", connectors_are_found_by_name, unknown_options_get_a_near_name, print_writes_flinks_lines,
      a_bare_select_prints_a_table_with_names_once_or_json)
