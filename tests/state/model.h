/* model.h: a reference for kstate: a plain list of (ns, key, value), searched linearly per bucket, too simple to be wrong;
 * and the codec of the values the state tests use: a number and an owned text. */
#pragma once
#include "common/clock.h"
#include "state/kstate_env.h"
#include "tests/helpers/test.h"
#include <stdio.h>

typedef struct val { uint64_t number; char *text; } val_t;

static void val_init(void *ctx, void *v) { *(val_t *)v = (val_t){0}; }
static void val_clear(void *ctx, void *v) {
    free(((val_t *)v)->text);
    ((val_t *)v)->text = NULL;
}
static void val_encode(void *ctx, const void *v, buf_t *out) {
    const val_t *x = v;
    buf_put_u64(out, x->number);
    buf_put_cstr(out, x->text);
}
static bool val_decode(void *ctx, slice_t bytes, void *v) {
    val_t *x = v;
    reader_t r = reader_of(bytes);
    x->number = read_u64(&r);
    x->text = read_cstr(&r);
    return !r.bad && reader_left(&r) == 0;
}
static size_t val_heap(void *ctx, const void *v) {
    const val_t *x = v;
    return x->text ? strlen(x->text) + 1 : 0;
}
__attribute__((unused)) static const kstate_codec_t val_codec = {sizeof(val_t), NULL,       val_init, val_clear,
                                                                 val_encode,    val_decode, val_heap};

/* ---------------------------------------------------------------- the model */
#define MODEL_NS 32
#define MODEL_KEYS 512
typedef struct model { bool present[MODEL_NS][MODEL_KEYS]; uint64_t number[MODEL_NS][MODEL_KEYS]; } model_t;

static inline int64_t model_ns(int n) { return (int64_t)(n - 8) * 5000; } /* below zero, too */
static int model_slot; /* from STATE_MAPS on eight keys each are of the map below one */
#define MODEL_OWNER ((size_t)(model_slot < STATE_MAPS ? 0 : 5))
static inline slice_t model_key(int k, char *buf) { /* lengths over all size classes, and beyond them */
    int len = k % 97 == 0 ? 2000 : k % 7 == 0 ? 300 : k % 3 == 0 ? 60 : k % 4 == 1 ? 8 : k % 2 ? 5 : 20, owner = k / 8;
    if (MODEL_OWNER) {
        buf[0] = sizeof owner;
        memcpy(buf + 1, &owner, sizeof owner);
    }
    memset(buf + MODEL_OWNER, 'a' + k % 26, (size_t)len);
    memcpy(buf + MODEL_OWNER, &k, sizeof k);
    return slice_of(buf, MODEL_OWNER + (size_t)len);
}
static inline int model_key_of(slice_t key) {
    int k;
    memcpy(&k, key.p + MODEL_OWNER, sizeof k);
    return k;
}
static inline void val_set(val_t *v, uint64_t number) {
    v->number = number;
    free(v->text);
    v->text = number % 5 == 0 ? xprintf("%0*d", (int)(number % 200), 7) : NULL;
}
static inline bool val_is(const val_t *v, uint64_t number) {
    val_t want = {0};
    val_set(&want, number);
    bool same = v->number == number && strcmp(v->text ? v->text : "", want.text ? want.text : "") == 0;
    free(want.text);
    return same;
}

__attribute__((unused)) static err_t *ks_get(kstate_t *ks, int n, int k, bool create, bool *created, val_t **ret) {
    char buf[2048];
    slice_t key = model_key(k, buf);
    return kstate_get(ks, model_ns(n), state_hash(model_slot, key), key, create, created, (void **)ret);
}

/* Everything the table holds, by scan, equals the model's part in [kg_lo, kg_hi). */
__attribute__((unused)) static void model_check(const model_t *m, kstate_t *ks, int kg_lo, int kg_hi) {
    uint64_t total = 0;
    int64_t at = 0;
    bool more = kstate_first_ns(ks, &at);
    for (int n = 0; n < MODEL_NS; n++) {
        uint64_t want = 0, have = 0;
        for (int k = 0; k < MODEL_KEYS; k++) {
            char buf[2048];
            slice_t key = model_key(k, buf);
            int kg = (int)(state_hash(model_slot, key) % 1024);
            want += m->present[n][k] && kg >= kg_lo && kg < kg_hi;
        }
        if (want == 0) {
            ck_assert_msg(!more || at != model_ns(n), "namespace %d should hold nothing", n);
            continue;
        }
        ck_assert_msg(more && at == model_ns(n), "namespace %d is missing", n);
        void *got[100];
        kstate_scan_t s = {.ns = at};
        for (uint32_t c = 1; c;) {
            ck_ok(kstate_scan(ks, &s, got, 100, &c));
            for (uint32_t i = 0; i < c; i++, have++) {
                int k = model_key_of(kstate_key(ks, got[i]));
                ck_assert(m->present[n][k]);
                ck_assert_int_eq(kstate_ns(ks, got[i]), at);
                ck_assert_msg(val_is(got[i], m->number[n][k]), "ns %d key %d: %" PRIu64 " instead of %" PRIu64, n, k,
                              ((val_t *)got[i])->number, m->number[n][k]);
            }
        }
        ck_assert_uint_eq(have, want);
        total += want;
        more = kstate_next_ns(ks, at, &at);
    }
    ck_assert(!more);
    ck_assert_uint_eq(kstate_entries(ks), total);
}

/* Keys of a batch, some of them twice, of any namespace. */
__attribute__((unused)) static void model_batch(model_t *m, kstate_t *ks, rng_t *rng) {
    enum { N = 24 };
    buf_t bytes = buf_make(BUF_MAX_DEFAULT);
    uint32_t off[N + 1] = {0};
    uint64_t hash[N];
    int64_t ns[N];
    int at[N], key[N];
    void *got[N];
    for (int i = 0; i < N; i++) {
        bool again = i > 0 && rng_below(rng, 4) == 0;
        at[i] = again ? at[i - 1] : (int)rng_below(rng, MODEL_NS);
        key[i] = again ? key[i - 1] : (int)rng_below(rng, MODEL_KEYS);
        char buf[2048];
        slice_t k = model_key(key[i], buf);
        buf_put(&bytes, k.p, k.len);
        off[i + 1] = (uint32_t)bytes.len;
        hash[i] = state_hash(model_slot, k);
        ns[i] = model_ns(at[i]);
    }
    kstate_keys_t keys = {N, hash, bytes.data, off, ns, NULL};
    ck_ok(kstate_get_many(ks, &keys, got));
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(model_key_of(kstate_key(ks, got[i])), key[i]);
        ck_assert_int_eq(kstate_ns(ks, got[i]), ns[i]);
        if (m->present[at[i]][key[i]]) ck_assert(val_is(got[i], m->number[at[i]][key[i]]));
        else ck_assert(((val_t *)got[i])->number == 0 && !((val_t *)got[i])->text);
        val_set(got[i], m->number[at[i]][key[i]] = rng_next(rng) >> 8);
        m->present[at[i]][key[i]] = true;
    }
    buf_free(&bytes);
}

/* One random operation on both. */
__attribute__((unused)) static void model_step(model_t *m, kstate_t *ks, rng_t *rng) {
    int n = (int)rng_below(rng, MODEL_NS), k = (int)rng_below(rng, MODEL_KEYS);
    uint64_t what = rng_below(rng, 1000);
    val_t *v;
    bool created;
    if (what < 8) {
        model_batch(m, ks, rng);
    } else if (what < 600) { /* upsert */
        ck_ok(ks_get(ks, n, k, true, &created, &v));
        ck_assert_int_eq(created, !m->present[n][k]);
        if (!created) ck_assert(val_is(v, m->number[n][k]));
        else ck_assert(v->number == 0 && !v->text);
        kstate_dirty(ks, v);
        val_set(v, m->number[n][k] = rng_next(rng) >> 8);
        m->present[n][k] = true;
    } else if (what < 800) { /* look */
        ck_ok(ks_get(ks, n, k, false, &created, &v));
        ck_assert_msg((v != NULL) == m->present[n][k], "ns %d key %d", n, k);
        if (v) ck_assert(val_is(v, m->number[n][k]));
    } else if (what < 998) { /* delete */
        ck_ok(ks_get(ks, n, k, false, NULL, &v));
        ck_assert((v != NULL) == m->present[n][k]);
        if (v) kstate_delete(ks, v);
        m->present[n][k] = false;
    } else {
        kstate_drop_ns(ks, model_ns(n));
        memset(m->present[n], 0, sizeof m->present[n]);
    }
}
