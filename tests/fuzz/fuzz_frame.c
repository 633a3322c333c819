/* fuzz_frame.c: bytes from the data port. Seeded frames are bent and read again: whatever comes, nothing crashes, nothing is read or
 * written outside its bounds, and a frame that passes encodes to itself.
 *   fuzz_frame SEED ROUNDS      a short run for the test suite
 * With libFuzzer: clang -fsanitize=fuzzer,address -DLIBFUZZER, the input being the bytes of a stream. */
#include "common/clock.h"
#include "engine/batch.h"
#include "worker/shuffle/frame.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const schema_t *schema(void) {
    static const field_t fields[] = {{"a", &type_bigint}, {"b", &type_string}};
    static const schema_t s = {2, (field_t *)fields};
    return &s;
}

static void payload(const frame_t *f, slice_t stored) {
    buf_t scratch = buf_make((size_t)8 << 20);
    slice_t raw;
    err_t *e = frame_payload(f, stored, &scratch, &raw);
    if (!e && f->kind == FRAME_BATCH) {
        batch_t *b = NULL;
        e = batch_decode(raw, schema(), &b);
        if (!e) {
            err_t *bad = batch_validate(b, schema());
            if (bad) {
                fprintf(stderr, "an invalid batch passed: %s\n", err_text(bad));
                abort();
            }
            batch_free(b);
        }
    }
    if (!e && f->kind == FRAME_HELLO) {
        frame_hello_t h;
        e = frame_hello_decode(raw, &h);
        if (!e) frame_hello_free(&h);
    }
    err_free(e);
    buf_free(&scratch);
}

/* As a connection reads: header, payload, header, .. until something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    while (size >= FRAME_HEADER) {
        frame_t f;
        err_t *e = frame_decode_header(data, &f);
        if (e) {
            err_free(e);
            return 0;
        }
        data += FRAME_HEADER;
        size -= FRAME_HEADER;
        if (f.length > size) return 0;
        slice_t stored = slice_of(data, f.length);
        e = frame_check_payload(&f, stored);
        if (e) err_free(e);
        payload(&f, stored); /* also with a wrong checksum: the decoders must bear anything */
        data += f.length;
        size -= f.length;
    }
    return 0;
}

#ifndef LIBFUZZER
static void seed_stream(buf_t *out, rng_t *r) {
    err_free(frame_hello_encode(out, &(frame_hello_t){"w1", "w2", 1, 1}));
    for (int i = 0; i < 3; i++) {
        uint32_t n = 1 + (uint32_t)rng_below(r, 60);
        batch_t *b = batch_new_schema(schema(), n);
        for (uint32_t k = 0; k < n; k++) {
            b->cols[0].i64[k] = (int64_t)rng_next(r);
            char *text = mem_alloc(b->mem, 24);
            b->cols[1].str[k] = (str_t){text, (uint32_t)rng_below(r, 24), 0};
            memset(text, 'a' + (int)rng_below(r, 26), 24);
        }
        buf_t bytes = buf_make(1 << 20);
        batch_encode(&bytes, b);
        frame_t f = {.kind = FRAME_BATCH, .job = 1, .attempt = 2, .seq = (uint64_t)i + 1};
        err_free(frame_encode(out, &f, buf_slice(&bytes), rng_below(r, 2), NULL));
        buf_free(&bytes);
        batch_free(b);
    }
    frame_t f = {.kind = FRAME_BARRIER, .value = 3, .rows = 9, .seq = 4};
    err_free(frame_encode(out, &f, slice_str("\1\0\0\0"), false, NULL)); /* too short on purpose: refused by the reader */
}

static void bend(buf_t *b, rng_t *r) {
    for (uint64_t n = 1 + rng_below(r, 4); n > 0; n--) {
        size_t at = rng_below(r, b->len);
        switch (rng_below(r, 4)) {
        case 0: b->data[at] ^= (uint8_t)(1u << rng_below(r, 8)); break;
        case 1: b->data[at] = (uint8_t)rng_next(r); break;
        case 2: b->len = at + 1; break;
        default:
            if (at + 4 <= b->len) buf_set_u32(b, at, (uint32_t)(rng_below(r, 2) ? UINT32_MAX - rng_below(r, 9) : rng_below(r, 300)));
        }
    }
    if (b->len < FRAME_HEADER) return;
    size_t at = 0; /* half of the time with header checksums made right again, so that what lies behind them is reached */
    while (rng_below(r, 8) && at + FRAME_HEADER <= b->len) {
        buf_set_u32(b, at + FRAME_HEADER - 4, crc32c(0, b->data + at, FRAME_HEADER - 4));
        uint32_t len;
        memcpy(&len, b->data + at + 64, 4);
        if (len > b->len) break;
        at += FRAME_HEADER + len;
    }
}

int main(int argc, char **argv) {
    rng_t r;
    rng_seed(&r, argc > 1 ? strtoull(argv[1], NULL, 10) : 1);
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    for (uint64_t i = 0; i < rounds; i++) {
        buf_t b = buf_make(1 << 20);
        seed_stream(&b, &r);
        if (i) bend(&b, &r);
        LLVMFuzzerTestOneInput(b.data, b.len);
        buf_free(&b);
    }
    return 0;
}
#endif
