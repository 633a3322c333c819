/* test_batchcodec.c: batches come back as they were; truncated and damaged frames are errors, never crashes. */
#include "../helpers/test.h"
#include "sample.h"

static void round_trip(const schema_t *s, batch_t *b) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    batch_encode(&out, b);
    batch_t *back = NULL;
    ck_ok(batch_decode(buf_slice(&out), s, &back));
    char *x = sample_text(b, s), *y = sample_text(back, s);
    ck_assert_str_eq(x, y);
    free(x);
    free(y);
    batch_free(back);
    buf_free(&out);
}

START_TEST(batches_come_back) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    for (uint64_t seed = 0; seed < 12; seed++) {
        batch_t *b = sample_batch(s, (uint32_t)(seed * 37), seed, seed % 3 ? 10 : 0);
        round_trip(s, b);
        batch_free(b);
    }
    arena_free(a);
}
END_TEST

START_TEST(shared_and_permuted_children_are_sent_dense) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = sample_batch(s, 30, 5, 10);
    uint32_t sel[] = {29, 0, 0, 7, 12};
    batch_t *g = batch_gather(b, sel, 5), *sl = batch_slice(b, 25, 5);
    round_trip(s, g);
    round_trip(s, sl);
    buf_t whole = buf_make(1 << 20), part = buf_make(1 << 20);
    batch_encode(&whole, b);
    batch_encode(&part, sl);
    ck_assert_uint_lt(part.len, whole.len / 3);
    buf_free(&whole);
    buf_free(&part);
    batch_free(b);
    batch_free(g);
    batch_free(sl);
    arena_free(a);
}
END_TEST

START_TEST(every_truncation_is_an_error) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = sample_batch(s, 9, 1, 10);
    buf_t out = buf_make(1 << 20);
    batch_encode(&out, b);
    for (size_t n = 0; n < out.len; n++) {
        batch_t *back = NULL;
        ck_fails(batch_decode(slice_of(out.data, n), s, &back), ERR_CORRUPT, "batch");
    }
    buf_put_u8(&out, 0);
    batch_t *back = NULL;
    ck_fails(batch_decode(buf_slice(&out), s, &back), ERR_CORRUPT, "bytes follow");
    buf_free(&out);
    batch_free(b);
    arena_free(a);
}
END_TEST

START_TEST(damage_never_crashes_and_what_passes_is_valid) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    rng_t r;
    rng_seed(&r, 42);
    for (int round = 0; round < 3000; round++) {
        batch_t *b = sample_batch(s, 5, (uint64_t)round, 10);
        buf_t out = buf_make(1 << 20);
        batch_encode(&out, b);
        for (uint64_t k = 0; k <= rng_below(&r, 3); k++) out.data[rng_below(&r, out.len)] = (uint8_t)rng_next(&r);
        batch_t *back = NULL;
        err_t *e = batch_decode(buf_slice(&out), s, &back);
        if (e) {
            ck_assert_int_eq(err_code(e), ERR_CORRUPT);
            err_free(e);
        } else {
            ck_ok(batch_validate(back, s));
            free(sample_text(back, s));
            batch_free(back);
        }
        buf_free(&out);
        batch_free(b);
    }
    arena_free(a);
}
END_TEST

START_TEST(a_row_count_without_bytes_takes_no_memory) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    buf_t out = buf_make(100);
    buf_put_varint(&out, UINT64_C(1) << 60);
    buf_put_u8(&out, 0);
    batch_t *back = NULL;
    ck_fails(batch_decode(buf_slice(&out), s, &back), ERR_CORRUPT, "rows");
    buf_clear(&out);
    buf_put_varint(&out, 1000000);
    buf_put_u8(&out, 0);
    ck_fails(batch_decode(buf_slice(&out), s, &back), ERR_CORRUPT, "malformed");
    buf_free(&out);
    arena_free(a);
}
END_TEST

TESTS("engine/batchcodec", batches_come_back, shared_and_permuted_children_are_sent_dense,
      every_truncation_is_an_error, damage_never_crashes_and_what_passes_is_valid,
      a_row_count_without_bytes_takes_no_memory)
