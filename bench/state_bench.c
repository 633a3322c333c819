/* state_bench.c: what keyed state costs: upserts per second from 10^3 to 10^7 keys, the barrier's cost per dirty key, what a restore of the
 * sealed bytes takes, and the changelog append. Keys are 16 bytes and come in random order; values 16 bytes (a count and a sum).
 *   state_bench [MAX_KEYS [OPS]] */
#include "common/clock.h"
#include "state/kstate_env.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct acc { uint64_t count; double sum; } acc_t;
static void encode(void *ctx, const void *v, buf_t *out) {
    const acc_t *a = v;
    buf_put_varint(out, a->count);
    uint64_t bits;
    memcpy(&bits, &a->sum, 8);
    buf_put_u64(out, bits);
}
static bool decode(void *ctx, slice_t bytes, void *v) {
    acc_t *a = v;
    reader_t r = reader_of(bytes);
    a->count = read_varint(&r);
    uint64_t bits = read_u64(&r);
    memcpy(&a->sum, &bits, 8);
    return !r.bad;
}
static const kstate_codec_t codec = {.value_size = sizeof(acc_t), .encode = encode, .decode = decode};

typedef struct key { uint64_t a, b; } keyed_t;
static keyed_t key_of(uint64_t k) { return (keyed_t){k, k * 0x9e3779b97f4a7c15ULL}; }

static void check(err_t *e) {
    if (!e) return;
    fprintf(stderr, "%s\n", err_text(e));
    exit(1);
}

/* As an operator does it: a batch of keys is hashed and looked up, then updated. */
static void upserts(kstate_t *ks, rng_t *rng, uint64_t keys, uint64_t ops) {
    enum { BATCH = 1024 };
    static keyed_t k[BATCH];
    static uint64_t hash[BATCH];
    static uint32_t off[BATCH + 1];
    static int64_t ns[BATCH];
    static void *got[BATCH];
    kstate_keys_t all = {BATCH, hash, (const uint8_t *)k, off, ns, NULL};
    for (uint64_t i = 0; i < ops; i += BATCH) {
        for (int j = 0; j < BATCH; j++) {
            k[j] = key_of(rng_below(rng, keys));
            hash[j] = hash_bytes(&k[j], sizeof k[j]);
            off[j + 1] = off[j] + (uint32_t)sizeof k[j];
            ns[j] = 5000;
        }
        check(kstate_get_many(ks, &all, got));
        for (int j = 0; j < BATCH; j++) {
            acc_t *a = got[j];
            a->count++;
            a->sum += 1.5;
        }
    }
}

/* CPU time: the machine may be shared. */
static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run(uint64_t keys, uint64_t ops) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks, *again;
    check(kstate_open(env, 1, 0, 0, 1024, &codec, &ks));
    rng_t rng;
    rng_seed(&rng, keys);
    int64_t t0 = cpu_ns();
    for (uint64_t i = 0; i < keys; i++) {
        keyed_t k = key_of(i);
        void *v;
        check(kstate_get(ks, 5000, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), true, NULL, &v));
    }
    int64_t t1 = cpu_ns();
    buf_t out = buf_make((size_t)4 << 30);
    kstate_seal(ks, 1, &out);
    int64_t t2 = cpu_ns();
    check(kstate_open(env, 1, 0, 0, 1024, &codec, &again));
    check(kstate_apply(again, buf_slice(&out)));
    int64_t t3 = cpu_ns();
    kstate_close(again);
    size_t sealed = out.len;
    buf_free(&out);
    int64_t t4 = cpu_ns();
    upserts(ks, &rng, keys, ops);
    int64_t t5 = cpu_ns();
    printf("%10" PRIu64 " %10.1f %10.1f %12.1f %12.1f %12.1f %12.1f\n", keys, (double)ops * 1e3 / (double)(t5 - t4),
           (double)(t1 - t0) / (double)keys, (double)(t2 - t1) / (double)keys, (double)(t3 - t2) / (double)keys,
           (double)kstate_bytes(ks) / (double)keys, (double)sealed / (double)keys);
    kstate_close(ks);
    kstate_env_free(env);
}

int main(int argc, char **argv) {
    uint64_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    uint64_t ops = argc > 2 ? strtoull(argv[2], NULL, 10) : 5000000;
    printf("      keys  M upserts/CPU s  ns/create  ns/seal key  ns/apply key  bytes/key  sealed bytes/key\n");
    for (uint64_t keys = 1000; keys <= most; keys *= 10) run(keys, ops);
    return 0;
}
