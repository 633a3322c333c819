/* test_rowcodec.c: values come back, equal values have equal bytes, the bytes never change, damage is seen. */
#include "../helpers/test.h"
#include "sample.h"
#include <math.h>

START_TEST(every_type_comes_back) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = sample_batch(s, 60, 3, 15), *back = batch_new(s->n);
    back->n = b->n;
    for (int c = 0; c < s->n; c++) {
        buf_t out = buf_make(1 << 20);
        for (uint32_t i = 0; i < b->n; i++) value_encode(&out, &b->cols[c], i);
        reader_t r = reader_of(buf_slice(&out));
        colbuilder_t *cb = colbuilder_new(s->fields[c].type, back->mem);
        for (uint32_t i = 0; i < b->n; i++) ck_assert(value_decode(&r, cb));
        ck_assert_uint_eq(reader_left(&r), 0);
        colbuilder_finish(cb, &back->cols[c]);
        colbuilder_free(cb);
        buf_free(&out);
    }
    back->kinds = b->kinds;
    char *x = sample_text(b, s), *y = sample_text(back, s);
    ck_assert_str_eq(x, y);
    free(x);
    free(y);
    back->kinds = NULL;
    batch_free(b);
    batch_free(back);
    arena_free(a);
}
END_TEST

START_TEST(the_bytes_are_frozen) {
    arena_t *a = arena_new();
    schema_t *s = schema_new(a, 4);
    s->fields[0] = (field_t){"i", &type_int};
    s->fields[1] = (field_t){"s", &type_string};
    s->fields[2] = (field_t){"d", type_decimal(a, 38, 0, true)};
    s->fields[3] = (field_t){"n", &type_bigint};
    batch_t *b = batch_new_schema(s, 1);
    b->cols[0].i32[0] = -300;
    b->cols[1].str[0] = (str_t){.p = "ab", .len = 2};
    b->cols[2].dec[0] = -1;
    column_need_nulls(&b->cols[3], b->mem, 1)[0] = 1;
    const column_t *cols[4];
    for (int i = 0; i < 4; i++) cols[i] = &b->cols[i];
    buf_t out = buf_make(100);
    row_encode(&out, cols, 4, 0);
    const uint8_t want[] = {1, 0xd7, 0x04, 1, 2, 'a', 'b', 1, 1, 0};
    ck_assert_uint_eq(out.len, sizeof want);
    ck_assert_mem_eq(out.data, want, sizeof want);
    buf_free(&out);
    batch_free(b);
    arena_free(a);
}
END_TEST

START_TEST(nan_has_one_form_and_extremes_survive) {
    arena_t *a = arena_new();
    schema_t *s = schema_new(a, 2);
    s->fields[0] = (field_t){"d", &type_double};
    s->fields[1] = (field_t){"e", type_decimal(a, 38, 0, true)};
    batch_t *b = batch_new_schema(s, 2);
    b->cols[0].f64[0] = NAN;
    b->cols[0].f64[1] = -NAN;
    i128 max = 1;
    for (int i = 0; i < 38; i++) max *= 10;
    b->cols[1].dec[0] = max - 1;
    b->cols[1].dec[1] = 1 - max;
    buf_t x = buf_make(100), y = buf_make(100);
    value_encode(&x, &b->cols[0], 0);
    value_encode(&y, &b->cols[0], 1);
    ck_assert(slice_eq(buf_slice(&x), buf_slice(&y)));
    buf_clear(&x);
    value_encode(&x, &b->cols[1], 0);
    value_encode(&x, &b->cols[1], 1);
    colbuilder_t *cb = colbuilder_new(s->fields[1].type, b->mem);
    reader_t r = reader_of(buf_slice(&x));
    ck_assert(value_decode(&r, cb) && value_decode(&r, cb));
    column_t c;
    colbuilder_finish(cb, &c);
    ck_assert(c.dec[0] == max - 1 && c.dec[1] == 1 - max);
    colbuilder_free(cb);
    buf_free(&x);
    buf_free(&y);
    batch_free(b);
    arena_free(a);
}
END_TEST

START_TEST(damaged_bytes_never_crash_and_short_ones_are_refused) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = sample_batch(s, 20, 11, 10);
    rng_t rng;
    rng_seed(&rng, 1);
    for (int c = 0; c < s->n; c++) {
        for (uint32_t i = 0; i < b->n; i++) {
            buf_t out = buf_make(1 << 20);
            value_encode(&out, &b->cols[c], i);
            mem_t *m = mem_new();
            colbuilder_t *cb = colbuilder_new(s->fields[c].type, m);
            for (size_t cut = 0; cut < out.len; cut++) {
                reader_t r = reader_of(slice_of(out.data, cut));
                ck_assert(!value_decode(&r, cb));
            }
            for (int k = 0; k < 50; k++) {
                out.data[rng_below(&rng, out.len)] = (uint8_t)rng_next(&rng);
                reader_t r = reader_of(buf_slice(&out));
                value_decode(&r, cb);
            }
            column_t col;
            colbuilder_finish(cb, &col);
            colbuilder_free(cb);
            mem_unref(m);
            buf_free(&out);
        }
    }
    batch_free(b);
    arena_free(a);
}
END_TEST

TESTS("engine/rowcodec", every_type_comes_back, the_bytes_are_frozen, nan_has_one_form_and_extremes_survive,
      damaged_bytes_never_crash_and_short_ones_are_refused)
