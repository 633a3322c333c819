#include "common/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static int64_t now_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
int64_t clock_mono_ns(void) { return now_ns(CLOCK_MONOTONIC); }
int64_t clock_mono_ms(void) { return now_ns(CLOCK_MONOTONIC) / 1000000; }

bool clock_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t mono_ns) {
    struct timespec t = {.tv_sec = mono_ns / 1000000000, .tv_nsec = mono_ns % 1000000000};
    return pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &t) == 0;
}

/* The file is read at every call: this is for tests. */
static int64_t wall_offset_ms(const char *path) {
    char text[32] = "";
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    bool any = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    return any ? strtoll(text, NULL, 10) : 0;
}

int64_t clock_wall_ms(void) {
    const char *path = getenv("TIDEGATE_WALL_OFFSET");
    int64_t now = now_ns(CLOCK_REALTIME) / 1000000;
    return LIKELY(!path) ? now : now + wall_offset_ms(path);
}

uint64_t clock_random(void) {
    uint64_t v = 0;
    if (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v) v = hash_mix((uint64_t)clock_mono_ns());
    return v;
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

void rng_seed(rng_t *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        seed += 0x9e3779b97f4a7c15ULL;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_next(rng_t *r) {
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(rng_t *r, uint64_t n) {
    ASSERT(n > 0);
    return (uint64_t)(((u128)rng_next(r) * n) >> 64);
}

double rng_unit(rng_t *r) { return (double)(rng_next(r) >> 11) * 0x1.0p-53; }
