/* mutate.h: the driver of a fuzz target where libFuzzer is not at hand: replays files, or mutates samples with a seeded generator,
 * so that a failing round can be run again. FUZZ_MAIN(one, sample, repair): `one` takes the bytes, `sample` appends a valid input,
 * `repair` makes checksums right again in half of the rounds. */
#pragma once
#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include <stdio.h>
#include <stdlib.h>

__attribute__((unused)) static void mutate(buf_t *b, rng_t *rng) {
    for (uint64_t n = 1 + rng_below(rng, 4); n > 0 && b->len > 0; n--) {
        size_t at = rng_below(rng, b->len);
        switch (rng_below(rng, 5)) {
        case 0: b->data[at] ^= (uint8_t)(1 << rng_below(rng, 8)); break;
        case 1: b->data[at] = (uint8_t)rng_next(rng); break;
        case 2: b->len = at; break;
        case 3: { /* some bytes twice */
            uint8_t copy[16];
            size_t len = MIN(b->len - at, 1 + rng_below(rng, sizeof copy));
            memcpy(copy, b->data + at, len);
            buf_put(b, copy, len);
            break;
        }
        default: b->data[at] = rng_below(rng, 2) ? 0xff : 0x80; break;
        }
    }
}

__attribute__((unused)) static int fuzz_run(int argc, char **argv, void (*one)(slice_t), void (*sample)(buf_t *),
                                            void (*repair)(buf_t *)) {
    buf_t b = buf_make(1 << 26);
    char *end;
    uint64_t seed = argc > 1 ? strtoull(argv[1], &end, 10) : 1;
    if (argc > 1 && *end) { /* files */
        for (int i = 1; i < argc; i++) {
            FILE *f = fopen(argv[i], "rb");
            if (!f) return 2;
            buf_clear(&b);
            uint8_t block[4096];
            for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) buf_put(&b, block, n);
            fclose(f);
            one(buf_slice(&b));
        }
        buf_free(&b);
        return 0;
    }
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    rng_t rng;
    rng_seed(&rng, seed);
    for (uint64_t i = 0; i < rounds; i++) {
        buf_clear(&b);
        sample(&b);
        mutate(&b, &rng);
        if (rng_below(&rng, 2)) repair(&b);
        one(buf_slice(&b));
    }
    buf_free(&b);
    printf("seed %" PRIu64 ": %" PRIu64 " rounds\n", seed, rounds);
    return 0;
}

#ifdef LIBFUZZER
#define FUZZ_MAIN(one, sample, repair)                                                             \
    int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);                                        \
    int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {                                       \
        one(slice_of(p, n));                                                                       \
        return 0;                                                                                  \
    }
#else
#define FUZZ_MAIN(one, sample, repair)                                                             \
    int main(int argc, char **argv) { return fuzz_run(argc, argv, one, sample, repair); }
#endif
