/* test_batch.c: memories live as long as somebody links them; selections share; validation refuses what would crash. */
#include "../helpers/test.h"
#include "sample.h"

START_TEST(a_linked_memory_lives_until_the_last_user_goes) {
    mem_t *a = mem_new(), *b = mem_new(), *c = mem_new();
    char *text = mem_alloc(a, 6);
    memcpy(text, "hello", 6);
    mem_link(b, a);
    mem_link(b, a);
    mem_link(c, b);
    mem_link(c, c);
    mem_link(c, NULL);
    mem_unref(a);
    mem_unref(b);
    ck_assert_str_eq(text, "hello");
    mem_unref(c);
}
END_TEST

START_TEST(a_chain_of_a_million_links_is_freed_without_recursion) {
    mem_t *m = mem_new();
    for (int i = 0; i < 1000000; i++) {
        mem_t *next = mem_new();
        mem_link(next, m);
        mem_unref(m);
        m = next;
    }
    mem_unref(m);
}
END_TEST

START_TEST(memory_is_aligned_and_large_requests_do_not_waste_the_open_chunk) {
    mem_t *m = mem_new();
    for (size_t size = 0; size < 10000; size = size * 2 + 1)
        ck_assert_uint_eq((uintptr_t)mem_alloc(m, size) % 16, 0);
    size_t before = mem_used(m);
    uint8_t *p = mem_zalloc(m, 1 << 20);
    ck_assert_int_eq(p[0] + p[(1 << 20) - 1], 0);
    ck_assert_uint_ge(mem_used(m), before + (1 << 20));
    ck_assert_uint_lt(mem_used(m), before + (1 << 20) + 4096);
    mem_unref(m);
}
END_TEST

START_TEST(gather_and_slice_show_the_chosen_rows_after_the_origin_is_gone) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = sample_batch(s, 50, 7, 20);
    uint32_t sel[50];
    for (uint32_t i = 0; i < 20; i++) sel[i] = i + 10;
    batch_t *g = batch_gather(b, sel, 20), *sl = batch_slice(b, 10, 20), *sh = batch_share(b);
    batch_free(b);
    ck_assert_uint_eq(sh->n, 50);
    ck_ok(batch_validate(g, s));
    ck_ok(batch_validate(sl, s));
    char *tg = sample_text(g, s), *ts = sample_text(sl, s);
    ck_assert_str_eq(tg, ts);
    ck_assert_uint_gt(batch_bytes(g), 20 * 100);
    free(tg);
    free(ts);
    batch_free(g);
    batch_free(sl);
    batch_free(sh);
    arena_free(a);
}
END_TEST

/* Of rows that wait for a slow consumer. */
START_TEST(a_few_rows_of_many_keep_them_all_until_they_are_copied) {
    enum { MANY = 10000, FEW = 5 };
    field_t f[] = {{"a", &type_bigint}, {"w", &type_string}};
    schema_t s = {2, f};
    batch_t *b = batch_new_schema(&s, MANY);
    b->kinds = mem_alloc(b->mem, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        b->cols[0].i64[i] = i;
        b->kinds[i] = i % 4;
        char *text = mem_alloc(b->mem, 100);
        memset(text, 'a' + (int)(i % 26), 100);
        b->cols[1].str[i] = (str_t){text, 100, 0};
    }
    column_need_nulls(&b->cols[0], b->mem, MANY)[2000] = 1;
    static uint32_t sel[MANY];
    for (uint32_t i = 0; i < MANY; i++) sel[i] = i < FEW ? i * 1000 : i;
    batch_t *half = batch_gather(b, sel, MANY / 2), *few = batch_gather(b, sel, FEW), *slice = batch_slice(few, 1, FEW - 1);
    ck_assert(!batch_pins(b) && !batch_pins(half) && batch_pins(few) && batch_pins(slice));
    batch_t *own = batch_copy(few);
    ck_assert(!batch_pins(own));
    ck_assert_uint_lt(mem_held(own->mem, 9), 20000);
    buf_t want = buf_make(1 << 16), got = buf_make(1 << 16);
    batch_print(&want, few, &s);
    batch_free(b);
    batch_free(half);
    batch_free(slice);
    batch_free(few);
    batch_print(&got, own, &s);
    ck_assert_str_eq(buf_cstr(&got), buf_cstr(&want));
    buf_free(&want);
    buf_free(&got);
    batch_free(own);
}
END_TEST

/* As a window that hops gives each row to thousands of windows. */
START_TEST(rows_that_share_elements_are_not_copied_for_what_they_keep) {
    enum { LONG = 100000, ROWS = 1000 };
    arena_t *a = arena_new();
    field_t f[] = {{"e", type_array(a, &type_bigint, true)}};
    schema_t s = {1, f};
    batch_t *b = batch_new(1);
    b->n = 1;
    colbuilder_t *e = colbuilder_new(s.fields[0].type, b->mem);
    colbuilder_begin(e);
    for (int i = 0; i < LONG; i++) colbuilder_i64(colbuilder_child(e, 0), i);
    colbuilder_end(e);
    colbuilder_finish(e, &b->cols[0]);
    colbuilder_free(e);
    mem_alloc(b->mem, 16 << 20); /* a column that only the filter read */
    static const uint32_t sel[ROWS];
    batch_t *rows = batch_gather(b, sel, ROWS);
    batch_free(b);
    ck_assert_uint_gt(mem_held(rows->mem, 3) / 8, batch_bytes(rows));
    ck_assert(!batch_pins(rows));
    batch_free(rows);
    arena_free(a);
}
END_TEST

START_TEST(a_column_is_put_together_of_parts_with_and_without_nulls) {
    batch_t *b = batch_new(3);
    column_init(&b->cols[0], &type_bigint, b->mem, 6);
    for (uint32_t part = 0; part < 3; part++) {
        column_t *c = &b->cols[1];
        column_init(c, &type_bigint, b->mem, 2);
        c->i64[0] = part;
        c->i64[1] = 10 + part;
        if (part == 1) column_need_nulls(c, b->mem, 2)[1] = 1;
        ck_assert(part < 2 ? b->cols[0].nulls == NULL : b->cols[0].nulls != NULL);
        column_put(&b->cols[0], 2 * part, c, 2, 6, b->mem);
    }
    static const int64_t want[] = {0, 10, 1, 11, 2, 12};
    ck_assert_mem_eq(b->cols[0].i64, want, sizeof want);
    for (uint32_t i = 0; i < 6; i++) ck_assert(column_null(&b->cols[0], i) == (i == 3));
    batch_free(b);
}
END_TEST

START_TEST(a_column_that_is_there_twice_is_gathered_once) {
    field_t f[] = {{"a", &type_bigint}, {"b", &type_bigint}, {"c", &type_bigint}};
    schema_t s = {3, f};
    batch_t *b = batch_new_schema(&s, 10);
    for (uint32_t i = 0; i < 10; i++) {
        b->cols[0].i64[i] = i;
        b->cols[2].i64[i] = 2 * i;
    }
    b->cols[1] = b->cols[0];
    b->cols[1].nulls = mem_zalloc(b->mem, 10); /* the same data, but not the same column */
    b->cols[1].nulls[4] = 1;
    for (int twice = 0; twice < 2; twice++) {
        if (twice) b->cols[2] = b->cols[0];
        batch_t *g = batch_gather(b, (uint32_t[]){4, 7, 1}, 3);
        ck_assert_int_eq(g->cols[2].data == g->cols[0].data, twice);
        ck_assert(g->cols[1].nulls[0] && !g->cols[1].nulls[1] && !g->cols[0].nulls && !g->cols[2].nulls);
        ck_assert_int_eq(g->cols[0].i64[1], 7);
        ck_assert_int_eq(g->cols[1].i64[2], 1);
        ck_assert_int_eq(g->cols[2].i64[1], twice ? 7 : 14);
        batch_free(g);
    }
    batch_free(b);
}
END_TEST

START_TEST(a_builder_copies_rows_of_nested_columns_deeply) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = sample_batch(s, 40, 4, 20);
    batch_t *copy = batch_new(s->n);
    copy->n = b->n;
    for (int c = 0; c < s->n; c++) {
        colbuilder_t *cb = colbuilder_new(s->fields[c].type, copy->mem);
        for (uint32_t i = 0; i < b->n; i++) colbuilder_row(cb, &b->cols[c], i);
        ck_assert_uint_eq(colbuilder_len(cb), b->n);
        colbuilder_finish(cb, &copy->cols[c]);
        colbuilder_free(cb);
    }
    char *before = sample_text(b, s);
    batch_free(b);
    char *after = sample_text(copy, s);
    ck_assert_str_eq(before, after);
    ck_ok(batch_validate(copy, s));
    batch_free(copy);
    free(before);
    free(after);
    arena_free(a);
}
END_TEST

START_TEST(values_print_as_flink_casts_them_to_string) {
    arena_t *a = arena_new();
    const type_t *row = type_row(a, 2, (const type_t *[]){&type_int, &type_string}, (const char *[]){"a", "b"}, true);
    const type_t *map = type_map(a, &type_string, row, true);
    mem_t *m = mem_new();
    colbuilder_t *cb = colbuilder_new(map, m);
    colbuilder_begin(cb);
    colbuilder_str(colbuilder_child(cb, 0), "k", 1);
    colbuilder_t *r = colbuilder_child(cb, 1);
    colbuilder_begin(r);
    colbuilder_i64(colbuilder_child(r, 0), -7);
    colbuilder_null(colbuilder_child(r, 1));
    colbuilder_end(r);
    colbuilder_str(colbuilder_child(cb, 0), "l", 1);
    colbuilder_null(r);
    colbuilder_end(cb);
    column_t c;
    colbuilder_finish(cb, &c);
    colbuilder_free(cb);
    buf_t out = buf_make(1000);
    value_print(&out, &c, 0);
    ck_assert_str_eq(buf_cstr(&out), "{k=(-7, NULL), l=NULL}");
    buf_free(&out);
    mem_unref(m);
    arena_free(a);
}
END_TEST

START_TEST(validation_refuses_masks_spans_kinds_and_strings_that_lie) {
    arena_t *a = arena_new();
    schema_t *s = schema_new(a, 2);
    s->fields[0] = (field_t){"s", &type_string};
    s->fields[1] = (field_t){"l", type_array(a, &type_int, true)};
    batch_t *b = batch_new_schema(s, 3);
    ck_ok(batch_validate(b, s));
    b->cols[0].str[1].len = 5;
    ck_fails(batch_validate(b, s), ERR_CORRUPT, "string without bytes");
    b->cols[0].str[1].len = 0;
    b->cols[1].span[2] = (span_t){UINT32_MAX, 2};
    ck_fails(batch_validate(b, s), ERR_CORRUPT, "span leaves its child");
    b->cols[1].span[2] = (span_t){0, 0};
    column_need_nulls(&b->cols[1], b->mem, 3)[0] = 2;
    ck_fails(batch_validate(b, s), ERR_CORRUPT, "null mask");
    b->cols[1].nulls[0] = 1;
    b->kinds = mem_zalloc(b->mem, 3);
    b->kinds[0] = 4;
    ck_fails(batch_validate(b, s), ERR_CORRUPT, "row kind");
    s->n = 1;
    ck_fails(batch_validate(b, s), ERR_CORRUPT, "columns");
    batch_free(b);
    arena_free(a);
}
END_TEST

TESTS("engine/batch", a_linked_memory_lives_until_the_last_user_goes,
      a_chain_of_a_million_links_is_freed_without_recursion,
      memory_is_aligned_and_large_requests_do_not_waste_the_open_chunk,
      a_few_rows_of_many_keep_them_all_until_they_are_copied, rows_that_share_elements_are_not_copied_for_what_they_keep,
      a_column_is_put_together_of_parts_with_and_without_nulls, gather_and_slice_show_the_chosen_rows_after_the_origin_is_gone,
      a_column_that_is_there_twice_is_gathered_once, a_builder_copies_rows_of_nested_columns_deeply, values_print_as_flink_casts_them_to_string,
      validation_refuses_masks_spans_kinds_and_strings_that_lie)
