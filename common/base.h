/* base.h: the few words every file speaks.
 *
 * Ownership leaves a scope only through TAKE(); a variable marked AUTO(fn) is released by
 * fn(&variable) on every path. ASSERT stays on in release builds: it states invariants of ours
 * and is never used to check input from outside. */
#pragma once
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <string.h>

#define AUTO(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __typeof__(p) take_ = (p);                                                                 \
        (p) = NULL;                                                                                \
        take_;                                                                                     \
    })
#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define MAX(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ > b_ ? a_ : b_; })
#define CONTAINER_OF(ptr, type, field) ((type *)((char *)(ptr)-offsetof(type, field)))

noreturn void assert_failed(const char *what, const char *file, int line);
#define ASSERT(c) (LIKELY(c) ? (void)0 : assert_failed(#c, __FILE__, __LINE__))
#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__)

typedef __int128 i128;
typedef unsigned __int128 u128;

/* Identities. A job id is drawn once per submit and is never reused; attempts and epochs of a job
 * only grow, over every leader and restart. Epoch 0 is the resolved start of the job. */
typedef uint64_t job_id_t;
typedef uint64_t attempt_t;
typedef uint64_t epoch_t;

/* Bytes somebody else owns. */
typedef struct slice {
    const uint8_t *p;
    size_t len;
} slice_t;
static inline slice_t slice_of(const void *p, size_t len) { return (slice_t){p, len}; }
static inline slice_t slice_str(const char *s) { return (slice_t){(const uint8_t *)s, strlen(s)}; }
static inline bool slice_eq(slice_t a, slice_t b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Memory: abort with a message when the system has none. x_free(NULL) is legal everywhere. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xprintf(const char *fmt, ...) PRINTF(1, 2);
void auto_free(void *pp); /* AUTO(auto_free) char *s */

/* 64-bit hash of bytes, well mixed in all bits, frozen: key groups depend on it. */
uint64_t hash_bytes(const void *p, size_t len);
#define HASH_K0 0x9e3779b97f4a7c15ULL
#define HASH_K1 0xe7037ed1a0b428dbULL
#define HASH_K2 0x8ebc6af09c88c6e3ULL
static inline uint64_t hash_fold(uint64_t a, uint64_t b) {
    u128 m = (u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}
/* hash_bytes of the `len` (1 to 8) low bytes of a word: bytes that were just written one by one are slow to read back. */
static inline uint64_t hash_word(uint64_t bytes, size_t len) {
    uint64_t a, b = 0;
    if (len >= 4) {
        a = len == 8 ? bytes : (uint32_t)bytes;
        b = len == 8 ? bytes : (uint32_t)(bytes >> 8 * (len - 4));
    } else {
        a = (bytes & 0xff) << 16 | (len > 1 ? bytes & 0xff00 : (bytes & 0xff) << 8) | (bytes >> 8 * (len - 1) & 0xff);
    }
    return hash_fold(HASH_K1 ^ len, hash_fold(a ^ HASH_K1, b ^ HASH_K0 ^ hash_fold(len ^ HASH_K1, HASH_K2)) ^ HASH_K2);
}
static inline uint64_t hash_mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    return x ^ (x >> 32);
}
uint32_t crc32c(uint32_t crc, const void *p, size_t len); /* start with 0 */
