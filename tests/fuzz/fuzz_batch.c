/* fuzz_batch.c: arbitrary bytes as a batch: an error or a valid batch, never a crash. libFuzzer calls
 * LLVMFuzzerTestOneInput; alone the program makes its own damaged inputs: fuzz_batch SEED ROUNDS. */
#include "../engine/sample.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    batch_t *b = NULL;
    err_t *e = batch_decode(slice_of(data, size), s, &b);
    if (!e) {
        err_t *invalid = batch_validate(b, s);
        if (invalid) abort();
        buf_t out = buf_make(BUF_MAX_DEFAULT);
        batch_encode(&out, b);
        batch_print(&out, b, s);
        buf_free(&out);
    }
    err_free(e);
    batch_free(b);
    mem_t *m = mem_new();
    for (int i = 0; i < s->n; i++) {
        colbuilder_t *cb = colbuilder_new(s->fields[i].type, m);
        reader_t r = reader_of(slice_of(data, size));
        value_decode(&r, cb);
        column_t c;
        colbuilder_finish(cb, &c);
        colbuilder_free(cb);
    }
    mem_unref(m);
    arena_free(a);
    return 0;
}

#ifndef FUZZ_LIBFUZZER
int main(int argc, char **argv) {
    rng_t r;
    rng_seed(&r, argc > 1 ? strtoull(argv[1], NULL, 10) : 1);
    int rounds = argc > 2 ? atoi(argv[2]) : 1000;
    arena_t *a = arena_new();
    schema_t *s = sample_schema(a);
    for (int i = 0; i < rounds; i++) {
        batch_t *b = sample_batch(s, (uint32_t)rng_below(&r, 9), rng_next(&r), 10);
        buf_t bytes = buf_make(1 << 20);
        batch_encode(&bytes, b);
        for (uint64_t k = rng_below(&r, 6); k > 0; k--) bytes.data[rng_below(&r, bytes.len)] = (uint8_t)rng_next(&r);
        LLVMFuzzerTestOneInput(bytes.data, rng_below(&r, 4) ? bytes.len : rng_below(&r, bytes.len));
        buf_free(&bytes);
        batch_free(b);
    }
    arena_free(a);
    printf("fuzz_batch: %d rounds\n", rounds);
    return 0;
}
#endif
