/* test_frame.c: data frames and credit: round trips, every truncation, every flipped bit, and the sum that never changes. */
#include <stdlib.h>
#include "common/clock.h"
#include "tests/helpers/test.h"
#include "worker/shuffle/credit.h"
#include "worker/shuffle/frame.h"

static frame_t sample(frame_kind_t kind) {
    return (frame_t){.kind = kind, .job = 0x1122334455667788, .attempt = 3, .edge = 4, .from = 5, .to = 6, .seq = 7, .value = 8, .rows = 9};
}
static void same(const frame_t *a, const frame_t *b) {
    ck_assert(a->kind == b->kind && a->job == b->job && a->attempt == b->attempt && a->edge == b->edge && a->from == b->from &&
              a->to == b->to && a->seq == b->seq && a->value == b->value && a->rows == b->rows);
}

START_TEST(every_kind_comes_back_as_it_was) {
    for (frame_kind_t k = FRAME_BATCH; k <= FRAME_CREDIT; k++) {
        buf_t out = buf_make(1 << 20), scratch = buf_make(1 << 20);
        frame_t f = sample(k), g;
        slice_t payload = k == FRAME_BATCH ? slice_str("some rows") : k == FRAME_BARRIER ? slice_str("flag") : (slice_t){0};
        ck_ok(frame_encode(&out, &f, payload, true, NULL));
        ck_assert_uint_eq(out.len, FRAME_HEADER + payload.len);
        ck_ok(frame_decode_header(out.data, &g));
        same(&f, &g);
        slice_t stored = slice_of(out.data + FRAME_HEADER, out.len - FRAME_HEADER), raw;
        ck_ok(frame_check_payload(&g, stored));
        ck_ok(frame_payload(&g, stored, &scratch, &raw));
        ck_assert(slice_eq(raw, payload));
        buf_free(&out);
        buf_free(&scratch);
    }
}
END_TEST

START_TEST(lz4_is_kept_where_it_pays_and_only_there) {
    buf_t out = buf_make(1 << 22), scratch = buf_make(1 << 22);
    uint8_t *dull = xcalloc(1, 100000), *noise = xmalloc(100000);
    rng_t r;
    rng_seed(&r, 1);
    for (int i = 0; i < 100000; i++) noise[i] = (uint8_t)rng_next(&r);
    frame_t f = sample(FRAME_BATCH), g;
    bool packed;
    ck_ok(frame_encode(&out, &f, slice_of(dull, 100000), true, &packed));
    ck_assert(packed && out.len < 2000);
    ck_ok(frame_decode_header(out.data, &g));
    slice_t raw, stored = slice_of(out.data + FRAME_HEADER, g.length);
    ck_ok(frame_check_payload(&g, stored));
    ck_ok(frame_payload(&g, stored, &scratch, &raw));
    ck_assert(slice_eq(raw, slice_of(dull, 100000)));
    g.raw_length = 99999; /* a lie about the length is found, and nothing is written beyond it */
    ck_fails(frame_payload(&g, stored, &scratch, &raw), ERR_CORRUPT, "does not unpack");
    buf_clear(&out);
    ck_ok(frame_encode(&out, &f, slice_of(noise, 100000), true, &packed));
    ck_assert(!packed && out.len == FRAME_HEADER + 100000);
    ck_ok(frame_decode_header(out.data, &g));
    ck_assert(memcmp(out.data + FRAME_HEADER, noise, 100000) == 0);
    buf_free(&out);
    buf_free(&scratch);
    free(dull);
    free(noise);
}
END_TEST

START_TEST(any_flipped_bit_is_found) {
    buf_t out = buf_make(1 << 20);
    frame_t f = sample(FRAME_BATCH);
    ck_ok(frame_encode(&out, &f, slice_str("twelve bytes"), false, NULL));
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        frame_t g;
        err_t *e = frame_decode_header(out.data, &g);
        if (!e) e = frame_check_payload(&g, slice_of(out.data + FRAME_HEADER, out.len - FRAME_HEADER));
        ck_assert_msg(e != NULL, "bit %zu", bit);
        err_free(e);
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    buf_free(&out);
}
END_TEST

/* A header with a right checksum and wrong content: written by somebody who means it. */
static err_t *forged(size_t at, uint32_t v, int size) {
    buf_t out = buf_make(1 << 20);
    frame_t f = sample(FRAME_BATCH), g;
    err_free(frame_encode(&out, &f, slice_str("twelve bytes"), false, NULL));
    memcpy(out.data + at, &v, (size_t)size);
    buf_set_u32(&out, FRAME_HEADER - 4, crc32c(0, out.data, FRAME_HEADER - 4));
    err_t *e = frame_decode_header(out.data, &g);
    buf_free(&out);
    return e;
}
START_TEST(forged_headers_are_refused_before_memory_is_asked_for) {
    ck_fails(forged(0, 0x20544547, 4), ERR_CORRUPT, "not a Tidegate data frame"); /* "GET " */
    ck_fails(forged(4, 9, 2), ERR_VERSION, "version 9");
    ck_fails(forged(6, 77, 1), ERR_CORRUPT, "unknown kind 77");
    ck_fails(forged(64, 0xfffffff0, 4), ERR_CORRUPT, "lengths differ");
    ck_fails(forged(6, FRAME_WATERMARK, 1), ERR_CORRUPT, "larger than 0");
    ck_fails(forged(6, FRAME_BARRIER, 1), ERR_CORRUPT, "larger than 4");
    buf_t out = buf_make(1 << 20);
    frame_t f = sample(FRAME_BATCH);
    uint8_t *big = xmalloc((size_t)FRAME_PAYLOAD_MAX + 1);
    ck_fails(frame_encode(&out, &f, slice_of(big, (size_t)FRAME_PAYLOAD_MAX + 1), false, NULL), ERR_LIMIT, "larger than");
    free(big);
    buf_free(&out);
}
END_TEST

START_TEST(C7_frames_of_a_build_of_another_version_are_refused_by_number) {
    buf_t out = buf_make(4096);
    frame_t f = sample(FRAME_BATCH), g;
    setenv("TIDEGATE_VERSION_SHIFT", "1", 1);
    ck_ok(frame_encode(&out, &f, slice_str("twelve bytes"), false, NULL));
    ck_ok(frame_decode_header(out.data, &g)); /* its own */
    unsetenv("TIDEGATE_VERSION_SHIFT");
    ck_fails(frame_decode_header(out.data, &g), ERR_VERSION, "a frame of version 2, this process reads 1 to 1");
    buf_free(&out);
}
END_TEST

START_TEST(hello_round_trip_truncation_and_versions) {
    buf_t out = buf_make(4096);
    ck_ok(frame_hello_encode(&out, &(frame_hello_t){"w1", "w2", 1, 1}));
    frame_t f;
    ck_ok(frame_decode_header(out.data, &f));
    slice_t payload = slice_of(out.data + FRAME_HEADER, f.length);
    frame_hello_t h;
    ck_ok(frame_hello_decode(payload, &h));
    ck_assert_str_eq(h.name, "w1");
    ck_assert_str_eq(h.to, "w2");
    frame_hello_free(&h);
    for (size_t n = 0; n < payload.len; n++) ck_fails(frame_hello_decode(slice_of(payload.p, n), &h), ERR_CORRUPT, "malformed");
    buf_clear(&out);
    ck_ok(frame_hello_encode(&out, &(frame_hello_t){"w1", "w2", 2, 5}));
    ck_fails(frame_hello_decode(slice_of(out.data + FRAME_HEADER, out.len - FRAME_HEADER), &h), ERR_VERSION, "versions 2 to 5");
    buf_free(&out);
}
END_TEST

START_TEST(noise_never_passes_for_a_frame) {
    rng_t r;
    rng_seed(&r, 42);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[FRAME_HEADER];
        for (int k = 0; k < FRAME_HEADER; k++) bytes[k] = (uint8_t)rng_next(&r);
        if (i % 2) memcpy(bytes, "TGFR\1\0\2\0", 8);
        frame_t f;
        err_t *e = frame_decode_header(bytes, &f);
        ck_assert_ptr_nonnull(e);
        err_free(e);
    }
}
END_TEST

/* The invariant of credit.h under random traffic, with batches larger than the window among them. */
START_TEST(credit_is_conserved) {
    rng_t r;
    rng_seed(&r, 7);
    for (int round = 0; round < 200; round++) {
        int64_t window = 1 + (int64_t)rng_below(&r, 5000);
        credit_out_t out = credit_out_make(window);
        credit_in_t in = credit_in_make(window);
        int64_t flight[512], queue[512], given = 0;
        int nf = 0, nq = 0;
        for (int i = 0; i < 2000; i++) {
            switch (rng_below(&r, 4)) {
            case 0:
                if (!credit_may_send(&out) || nf == 512) break;
                flight[nf] = 1 + (int64_t)rng_below(&r, 8000);
                credit_take(&out, flight[nf++]);
                break;
            case 1:
                if (nf == 0 || nq == 512) break;
                ck_assert(credit_received(&in, flight[0]));
                queue[nq++] = flight[0];
                memmove(flight, flight + 1, (size_t)--nf * sizeof *flight);
                break;
            case 2: {
                if (nq == 0) break;
                int64_t n = queue[0];
                memmove(queue, queue + 1, (size_t)--nq * sizeof *queue);
                given += credit_consumed(&in, n, nq == 0);
                break;
            }
            case 3:
                ck_assert(credit_give(&out, (uint64_t)given));
                given = 0;
                break;
            }
            int64_t sum = out.balance + given + in.owed;
            for (int k = 0; k < nf; k++) sum += flight[k];
            for (int k = 0; k < nq; k++) sum += queue[k];
            ck_assert_int_eq(sum, window);
            if (nq == 0 && nf == 0 && given == 0) ck_assert(credit_may_send(&out)); /* an idle channel never stands still */
        }
    }
}
END_TEST

START_TEST(credit_that_was_never_owed_is_refused) {
    credit_out_t out = credit_out_make(100);
    ck_assert(!credit_give(&out, 1));
    credit_take(&out, 150);
    ck_assert(!credit_may_send(&out));
    ck_assert(!credit_give(&out, UINT64_MAX));
    ck_assert(!credit_give(&out, 151));
    ck_assert(credit_give(&out, 150));
    credit_in_t in = credit_in_make(100);
    ck_assert(credit_received(&in, 5000)); /* one over-large batch */
    ck_assert(!credit_received(&in, 1));   /* and nothing more */
}
END_TEST

TESTS("worker/frame", every_kind_comes_back_as_it_was, lz4_is_kept_where_it_pays_and_only_there, any_flipped_bit_is_found,
      C7_frames_of_a_build_of_another_version_are_refused_by_number,
      forged_headers_are_refused_before_memory_is_asked_for, hello_round_trip_truncation_and_versions, noise_never_passes_for_a_frame,
      credit_is_conserved, credit_that_was_never_owed_is_refused)
