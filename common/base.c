#include "common/base.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

noreturn void assert_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "tidegate: internal invariant broken: %s at %s:%d\n", what, file, line);
    abort();
}

static noreturn void out_of_memory(size_t size) {
    fprintf(stderr, "tidegate: the system has no memory left (%zu bytes asked)\n", size);
    abort();
}

void *xmalloc(size_t size) {
    void *p = malloc(size ? size : 1);
    if (UNLIKELY(!p)) out_of_memory(size);
    return p;
}

void *xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (UNLIKELY(!p)) out_of_memory(n * size);
    return p;
}

void *xrealloc(void *p, size_t size) {
    void *q = realloc(p, size ? size : 1);
    if (UNLIKELY(!q)) out_of_memory(size);
    return q;
}

char *xstrndup(const char *s, size_t n) {
    char *p = xmalloc(n + 1);
    if (n) memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *xstrdup(const char *s) { return xstrndup(s, strlen(s)); }

char *xprintf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *s = NULL;
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0) out_of_memory(0);
    return s;
}

void auto_free(void *pp) { free(*(void **)pp); }

/* wyhash-like: 64x64->128 multiply and fold, 16 bytes a round, overlapping reads at the tail. The result is part of
 * the state format (key groups): never change it; tests/common/test_base.c freezes it. */
static inline uint64_t load64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}
static inline uint64_t load32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}
#define fold hash_fold
#define K0 HASH_K0
#define K1 HASH_K1
#define K2 HASH_K2

uint64_t hash_bytes(const void *data, size_t len) {
    const uint8_t *p = data;
    uint64_t a, b, seed = K0 ^ fold(len ^ K1, K2);
    if (LIKELY(len <= 16)) {
        if (len >= 8) {
            a = load64(p);
            b = load64(p + len - 8);
        } else if (len >= 4) {
            a = load32(p);
            b = load32(p + len - 4);
        } else if (len > 0) {
            a = (uint64_t)p[0] << 16 | (uint64_t)p[len >> 1] << 8 | p[len - 1];
            b = 0;
        } else {
            a = b = 0;
        }
    } else {
        size_t left = len;
        while (left > 16) {
            seed = fold(load64(p) ^ K1, load64(p + 8) ^ seed);
            p += 16;
            left -= 16;
        }
        a = load64(p + left - 16);
        b = load64(p + left - 8);
    }
    return fold(K1 ^ len, fold(a ^ K1, b ^ seed) ^ K2);
}

#if defined(__x86_64__)
#include <nmmintrin.h>
/* One instruction may begin each cycle, and each takes three: long texts are taken in three lanes side by side. What a lane adds is known when it is
 * pushed on by as many zeroes as come behind it: that is linear, so a table per byte of the checksum says it. */
#define LANE 1024u
static uint32_t behind[4][256];
__attribute__((target("sse4.2"))) static uint32_t crc_of_zeroes(uint64_t c) {
    for (size_t i = 0; i < LANE; i += 8) c = _mm_crc32_u64(c, 0);
    return (uint32_t)c;
}
__attribute__((constructor)) static void crc_prepare(void) {
    if (!__builtin_cpu_supports("sse4.2")) return;
    for (int byte = 0; byte < 4; byte++)
        for (uint32_t bit = 1; bit < 256; bit *= 2) {
            behind[byte][bit] = crc_of_zeroes((uint64_t)bit << 8 * byte);
            for (uint32_t v = 1; v < bit; v++) behind[byte][bit + v] = behind[byte][bit] ^ behind[byte][v];
        }
}
static inline uint64_t crc_behind(uint64_t c) { return behind[0][c & 255] ^ behind[1][c >> 8 & 255] ^ behind[2][c >> 16 & 255] ^ behind[3][c >> 24 & 255]; }

__attribute__((target("sse4.2"))) static uint32_t crc32c_hw(uint32_t crc, const uint8_t *p, size_t n) {
    uint64_t c = crc;
    for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            c = _mm_crc32_u64(c, load64(p + i));
            second = _mm_crc32_u64(second, load64(p + LANE + i));
            third = _mm_crc32_u64(third, load64(p + 2 * LANE + i));
        }
        c = crc_behind(crc_behind(c) ^ second) ^ third;
    }
    for (; n >= 8; p += 8, n -= 8) c = _mm_crc32_u64(c, load64(p));
    for (; n; p++, n--) c = _mm_crc32_u8((uint32_t)c, *p);
    return (uint32_t)c;
}
#endif

static uint32_t crc32c_sw(uint32_t crc, const uint8_t *p, size_t n) {
    for (; n; p++, n--) {
        crc ^= *p;
        for (int k = 0; k < 8; k++) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t len) {
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return ~crc32c_hw(crc, p, len);
#endif
    return ~crc32c_sw(crc, p, len);
}
