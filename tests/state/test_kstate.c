/* Keyed state against a model: what a task sees, what it seals, and what comes back from the sealed bytes. */
#include "state/kstate_env.h"
#include "tests/state/model.h"

START_TEST(random_ops_seals_and_crashes_equal_the_model) {
    kstate_env_t *env = kstate_env_new(NULL);
    model_t *now = xcalloc(1, sizeof *now), *sealed = xcalloc(1, sizeof *sealed);
    buf_t log[512];
    int nlog = 0;
    kstate_t *ks;
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &val_codec, &ks));
    rng_t rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        model_step(now, ks, &rng);
        uint64_t what = rng_below(&rng, 1000);
        if (what < 3) { /* barrier */
            log[nlog] = buf_make(BUF_MAX_DEFAULT);
            kstate_seal(ks, (epoch_t)nlog + 1, &log[nlog]);
            *sealed = *now;
            ck_assert_int_lt(++nlog, 512);
        } else if (what == 3 && i % 4 == 0) { /* crash: what was not sealed is gone, the rest comes back */
            kstate_close(ks);
            ck_assert_uint_eq(kstate_env_used(env), 0);
            ck_ok(kstate_open(env, 7, 0, 0, 1024, &val_codec, &ks));
            for (int j = 0; j < nlog; j++) ck_ok(kstate_apply(ks, buf_slice(&log[j])));
            *now = *sealed;
            if (i % 16 == 0) model_check(now, ks, 0, 1024);
        }
    }
    model_check(now, ks, 0, 1024);
    /* two instances take over: each its key groups, together everything */
    kstate_t *a, *b;
    ck_ok(kstate_open(env, 7, 0, 0, 300, &val_codec, &a));
    ck_ok(kstate_open(env, 7, 0, 300, 1024, &val_codec, &b));
    for (int j = 0; j < nlog; j++) {
        ck_ok(kstate_apply(a, buf_slice(&log[j])));
        ck_ok(kstate_apply(b, buf_slice(&log[j])));
    }
    model_check(sealed, a, 0, 300);
    model_check(sealed, b, 300, 1024);
    kstate_close(a);
    kstate_close(b);
    kstate_close(ks);
    ck_assert_uint_eq(kstate_env_used(env), 0);
    for (int j = 0; j < nlog; j++) buf_free(&log[j]);
    free(now);
    free(sealed);
    kstate_env_free(env);
}
END_TEST

/* ---- changes that are written down as they are made: values that own nothing, keys that hardly repeat within an epoch */
static void flat_encode(void *ctx, const void *v, buf_t *out) { buf_put_u64(out, *(const uint64_t *)v); }
static bool flat_decode(void *ctx, slice_t bytes, void *v) {
    reader_t r = reader_of(bytes);
    *(uint64_t *)v = read_u64(&r);
    return !r.bad && reader_left(&r) == 0;
}
static const kstate_codec_t flat_codec = {sizeof(uint64_t), NULL, NULL, NULL, flat_encode, flat_decode, NULL, .flat = true};
static err_t *open_memory(void *arg, base_db_t **ret) {
    *ret = base_new_memory();
    return NULL;
}

/* Keys of a hash that all have: each is the beginning of the next, and differs from it in its length alone. */
START_TEST(short_keys_of_one_hash_are_told_apart) {
    enum { N = 16 };
    static const uint8_t zeroes[N * N];
    uint32_t off[N + 1] = {0};
    uint64_t hash[N];
    void *got[N], *again[N];
    for (uint32_t i = 0; i < N; i++) {
        off[i + 1] = off[i] + i;
        hash[i] = 7;
    }
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks;
    ck_ok(kstate_open(env, 1, 0, 0, KEY_GROUPS, &flat_codec, &ks));
    kstate_keys_t keys = {N, hash, zeroes, off, NULL, NULL, false};
    ck_ok(kstate_get_many(ks, &keys, got));
    for (uint64_t i = 0; i < N; i++) {
        ck_assert_uint_eq(*(uint64_t *)got[i], 0);
        *(uint64_t *)got[i] = i + 1;
    }
    ck_ok(kstate_get_many(ks, &keys, again));
    for (uint64_t i = 0; i < N; i++) ck_assert_uint_eq(*(uint64_t *)again[i], i + 1);
    ck_assert_uint_eq(kstate_entries(ks), N);
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

#define FLAT_KEYS 4000
static void flat_check(kstate_t *ks, const uint64_t *want) {
    uint64_t have = 0, total = 0;
    kstate_scan_t scan = {0};
    void *got[100];
    for (uint32_t n = 1; n;) {
        ck_ok(kstate_scan(ks, &scan, got, 100, &n));
        for (uint32_t i = 0; i < n; i++, have++) ck_assert_uint_eq(*(uint64_t *)got[i], want[model_key_of(kstate_key(ks, got[i]))]);
    }
    for (int k = 0; k < FLAT_KEYS; k++) total += want[k] != 0;
    ck_assert_uint_eq(have, total);
}

/* A batch of different keys from `first` on, asked for together or, as small states are, one by one; one in twenty of them is deleted again,
 * before or after it was said to be changed. */
static void flat_batch(kstate_t *ks, uint64_t *now, rng_t *rng, int first) {
    enum { MOST = 50 };
    bool single = rng_below(rng, 2);
    const int N = single ? 1 + (int)rng_below(rng, 3) : MOST;
    buf_t bytes = buf_make(BUF_MAX_DEFAULT);
    uint32_t off[MOST + 1] = {0};
    uint64_t hash[MOST];
    void *got[MOST];
    for (int i = 0; i < N; i++) {
        char b[2048];
        slice_t key = model_key((first + i) % FLAT_KEYS, b);
        buf_put(&bytes, key.p, key.len);
        off[i + 1] = (uint32_t)bytes.len;
        hash[i] = hash_bytes(key.p, key.len);
    }
    kstate_keys_t keys = {(uint32_t)N, hash, bytes.data, off, NULL, NULL, true};
    if (!single) ck_ok(kstate_get_many(ks, &keys, got));
    for (int i = 0; single && i < N; i++)
        ck_ok(kstate_get(ks, 0, hash[i], slice_of(bytes.data + off[i], off[i + 1] - off[i]), true, NULL, &got[i]));
    for (int i = 0; i < N; i++) {
        uint64_t *known = &now[(first + i) % FLAT_KEYS];
        ck_assert_uint_eq(*(uint64_t *)got[i], *known);
        *(uint64_t *)got[i] = *known = rng_next(rng) | 1;
    }
    kstate_changed(ks, got, (uint32_t)N);
    for (int i = 0; i < N; i++) {
        if (rng_below(rng, 20)) continue;
        kstate_delete(ks, got[i]);
        now[(first + i) % FLAT_KEYS] = 0;
    }
    buf_free(&bytes);
}

START_TEST(what_is_written_down_at_once_and_what_waits_for_the_seal_are_one_history) {
    kstate_env_conf_t conf = {128 << 10, open_memory, NULL};
    kstate_env_t *env = kstate_env_new(&conf), *other = kstate_env_new(NULL);
    base_db_t *base;
    ck_ok(kstate_env_need_base(env, &base));
    uint64_t *now = xcalloc(FLAT_KEYS, sizeof *now), evicted_most = 0, twice = 0, once = 0;
    kstate_t *ks, *back;
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &flat_codec, &ks));
    ck_ok(kstate_open(other, 7, 0, 0, 1024, &flat_codec, &back));
    buf_t sealed[400];
    rng_t rng;
    rng_seed(&rng, 5);
    epoch_t applied = 0;
    for (epoch_t e = 1; e <= 400; e++) {
        bool repeats = e / 40 % 3 == 2; /* the same few keys again and again; else each once an epoch */
        int first = (int)rng_below(&rng, FLAT_KEYS), batches = (int)rng_below(&rng, 20);
        for (int i = 0; i < batches; i++) {
            flat_batch(ks, now, &rng, repeats ? first + i % 3 : first + 50 * i);
            ck_ok(kstate_evict(ks));
            evicted_most = MAX(evicted_most, kstate_evicted(ks));
            if (rng_below(&rng, 400) == 0) {
                kstate_drop_ns(ks, 0);
                memset(now, 0, FLAT_KEYS * sizeof *now);
            }
        }
        sealed[e - 1] = buf_make(BUF_MAX_DEFAULT);
        kstate_seal(ks, e, &sealed[e - 1]);
        ck_assert_uint_eq(kstate_env_unsealed_bytes(env), 0);
        *(repeats ? &twice : &once) += sealed[e - 1].len;
        ck_ok(kstate_apply(back, buf_slice(&sealed[e - 1])));
        if (e % 10 == 0) flat_check(back, now);
        if (e % 10 == 5) flat_check(ks, now);
        while (applied + rng_below(&rng, 4) < e) { /* the base follows, a little behind */
            buf_t *b = &sealed[applied++];
            if (b->len) ck_ok(base->apply(base, 7, 0, buf_slice(b)));
            kstate_env_set_applied(env, applied);
        }
    }
    flat_check(ks, now);
    flat_check(back, now);
    ck_assert_msg(evicted_most > 500, "only %d entries were ever evicted", (int)evicted_most);
    ck_assert_uint_lt(twice, once); /* keys that come again are written once an epoch, as ever */
    kstate_close(ks);
    kstate_close(back);
    ck_assert_uint_eq(kstate_env_used(env), 0);
    for (int i = 0; i < 400; i++) buf_free(&sealed[i]);
    kstate_env_free(env);
    kstate_env_free(other);
    free(now);
}
END_TEST

/* Values of 8 to 167 bytes: most are short, and the length of some takes two bytes. */
static uint8_t *long_encode_at(void *ctx, const void *v, uint8_t *p) {
    uint64_t n = *(const uint64_t *)v;
    memcpy(p, &n, sizeof n);
    memset(p + sizeof n, 7, n % 160);
    return p + sizeof n + n % 160;
}
static void long_encode(void *ctx, const void *v, buf_t *out) {
    uint8_t *p = buf_begin(out, 168);
    if (p) buf_end(out, long_encode_at(ctx, v, p));
}
static bool long_decode(void *ctx, slice_t bytes, void *v) {
    reader_t r = reader_of(bytes);
    *(uint64_t *)v = read_u64(&r);
    return !r.bad && reader_left(&r) == *(uint64_t *)v % 160;
}

START_TEST(values_that_are_encoded_in_place_are_sealed_as_those_that_are_not) {
    kstate_codec_t codec = {.value_size = 8, .encode = long_encode, .decode = long_decode, .flat = true};
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks[2];
    buf_t out[2];
    rng_t rng[2];
    uint64_t *now[2];
    for (int i = 0; i < 2; i++) {
        if (i) codec.encode_at = long_encode_at, codec.encode_most = 168;
        ck_ok(kstate_open(env, (uint64_t)i, 0, 0, 1024, &codec, &ks[i]));
        out[i] = buf_make(BUF_MAX_DEFAULT);
        rng_seed(&rng[i], 3);
        now[i] = xcalloc(FLAT_KEYS, sizeof *now[i]);
    }
    for (epoch_t e = 1; e <= 60; e++) {
        for (int i = 0; i < 2; i++) { /* each key once, or some twice; marked in the first epoch and where they repeat, else written down */
            for (int b = 0; b < 60; b++) flat_batch(ks[i], now[i], &rng[i], (int)e * 100 + (e % 5 ? 50 : 20) * b);
            buf_clear(&out[i]);
            kstate_seal(ks[i], e, &out[i]);
        }
        ck_assert_uint_gt(out[0].len, 1000);
        ck_assert_uint_eq(out[0].len, out[1].len);
        ck_assert(memcmp(out[0].data, out[1].data, out[0].len) == 0);
    }
    for (int i = 0; i < 2; i++) {
        kstate_close(ks[i]);
        buf_free(&out[i]);
        free(now[i]);
    }
    ck_assert_uint_eq(kstate_env_used(env), 0);
    kstate_env_free(env);
}
END_TEST

static kstate_t *small_table(kstate_env_t *env) {
    kstate_t *ks;
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &val_codec, &ks));
    return ks;
}

START_TEST(a_seal_is_in_the_order_of_the_calls_and_holds_each_change_once) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks = small_table(env);
    val_t *v;
    for (int k = 9; k >= 1; k -= 2) { /* keys of eight bytes, made backwards, over two namespaces */
        ck_ok(ks_get(ks, k % 4 == 1 ? 9 : 8, k, true, NULL, &v));
        for (int i = 0; i < 3; i++) {
            kstate_dirty(ks, v);
            v->number = (uint64_t)k;
        }
    }
    ck_ok(ks_get(ks, 8, 100, true, NULL, &v)); /* made and unmade: nobody hears of it */
    kstate_delete(ks, v);
    buf_t out = buf_make(4096);
    kstate_seal(ks, 1, &out);
    reader_t r = reader_of(buf_slice(&out));
    ck_assert(change_begin(&r));
    static const struct { int64_t ns; int key; } want[] = {{5000, 9}, {5000, 5}, {5000, 1}, {0, 7}, {0, 3}};
    change_t c;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        ck_assert(change_next(&r, &c));
        ck_assert_int_eq(c.kind, CHANGE_PUT);
        ck_assert_int_eq(c.ns, want[i].ns);
        ck_assert_int_eq(model_key_of(c.key), want[i].key);
    }
    ck_assert(!change_next(&r, &c) && !r.bad);
    buf_clear(&out);
    kstate_seal(ks, 2, &out);
    ck_assert_uint_eq(out.len, 0); /* nothing changed: not a byte */
    buf_free(&out);
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

START_TEST(delete_and_drop_are_sealed_once_and_survive_a_recreation) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks = small_table(env);
    buf_t log[3];
    val_t *v;
    bool created;
    for (int k = 0; k < 20; k++) ck_ok(ks_get(ks, 9, k, true, NULL, &v));
    ck_ok(ks_get(ks, 10, 1, true, NULL, &v));
    log[0] = buf_make(1 << 20);
    kstate_seal(ks, 1, &log[0]);
    ck_ok(ks_get(ks, 10, 1, false, NULL, &v));
    kstate_delete(ks, v);
    kstate_drop_ns(ks, model_ns(9));
    ck_assert_uint_eq(kstate_entries(ks), 0);
    ck_ok(ks_get(ks, 9, 5, true, &created, &v)); /* back after the drop, in the same epoch */
    ck_assert(created);
    v->number = 55;
    log[1] = buf_make(1 << 20);
    kstate_seal(ks, 2, &log[1]);
    reader_t r = reader_of(buf_slice(&log[1]));
    change_t c;
    ck_assert(change_begin(&r) && change_next(&r, &c));
    ck_assert_int_eq(c.kind, CHANGE_DEL);
    ck_assert(change_next(&r, &c));
    ck_assert_int_eq(c.kind, CHANGE_DROP);
    ck_assert_int_eq(c.kg_hi, 1024);
    ck_assert(change_next(&r, &c));
    ck_assert_int_eq(c.kind, CHANGE_PUT);
    ck_assert(!change_next(&r, &c));

    kstate_t *again = small_table(env);
    ck_ok(kstate_apply(again, buf_slice(&log[0])));
    ck_ok(kstate_apply(again, buf_slice(&log[1])));
    ck_assert_uint_eq(kstate_entries(again), 1);
    ck_ok(ks_get(again, 9, 5, false, NULL, &v));
    ck_assert(v && v->number == 55);
    kstate_close(again);
    kstate_close(ks);
    buf_free(&log[0]);
    buf_free(&log[1]);
    kstate_env_free(env);
}
END_TEST

/* Task 0 has key groups 0..511 and goes ahead; task 1 the rest. A drop by one must not take the other's entries when one task
 * inherits both, whichever log is replayed first. */
START_TEST(a_drop_speaks_only_for_the_key_groups_of_its_writer) {
    kstate_env_t *env = kstate_env_new(NULL);
    for (int first = 0; first < 2; first++) {
        kstate_t *t[2], *heir = small_table(env);
        buf_t log[2];
        uint64_t kept = 0;
        for (int i = 0; i < 2; i++) {
            ck_ok(kstate_open(env, 7, 0, i * 512, i * 512 + 512, &val_codec, &t[i]));
            log[i] = buf_make(1 << 20);
        }
        for (int k = 0; k < 200; k++) {
            char buf[2048];
            slice_t key = model_key(k, buf);
            int owner = hash_bytes(key.p, key.len) % 1024 < 512 ? 0 : 1;
            val_t *v;
            ck_ok(ks_get(t[owner], 9, k, true, NULL, &v));
            kept += owner == 0;
        }
        for (int i = 0; i < 2; i++) kstate_seal(t[i], 1, &log[i]);
        kstate_drop_ns(t[1], model_ns(9));
        buf_t late = buf_make(1 << 20);
        kstate_seal(t[1], 2, &late);
        ck_ok(kstate_apply(heir, buf_slice(&log[first])));
        ck_ok(kstate_apply(heir, buf_slice(&log[!first])));
        ck_ok(kstate_apply(heir, buf_slice(&late)));
        ck_assert_uint_eq(kstate_entries(heir), kept);
        kstate_close(heir);
        buf_free(&late);
        for (int i = 0; i < 2; i++) {
            kstate_close(t[i]);
            buf_free(&log[i]);
        }
    }
    kstate_env_free(env);
}
END_TEST

START_TEST(deleting_while_scanning_misses_nothing) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks = small_table(env);
    val_t *v;
    for (int k = 0; k < 500; k++) ck_ok(ks_get(ks, 9, k, true, NULL, &v));
    kstate_scan_t s = {.ns = model_ns(9)};
    uint64_t seen = 0;
    void *got[7];
    for (uint32_t n = 1; n; seen += n) {
        ck_ok(kstate_scan(ks, &s, got, 7, &n));
        for (uint32_t i = 0; i < n; i++) kstate_delete(ks, got[i]);
    }
    ck_assert_uint_eq(seen, 500);
    ck_assert_uint_eq(kstate_entries(ks), 0);
    int64_t ns;
    ck_assert(!kstate_first_ns(ks, &ns));
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

START_TEST(many_namespaces_stay_in_time_order) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks = small_table(env);
    rng_t rng;
    rng_seed(&rng, 3);
    enum { N = 20000 };
    for (int i = 0; i < N; i++) { /* timers: each its own moment, in any order */
        uint64_t key = rng_next(&rng);
        int64_t ns = (int64_t)(rng_next(&rng) >> 20) - ((int64_t)1 << 43);
        void *v;
        ck_ok(kstate_get(ks, ns, hash_bytes(&key, 8), slice_of(&key, 8), true, NULL, &v));
    }
    int64_t ns, last = INT64_MIN;
    uint64_t n = 0;
    for (bool more = kstate_first_ns(ks, &ns); more; more = kstate_next_ns(ks, ns, &ns)) {
        ck_assert(n == 0 || ns > last);
        last = ns;
        n++;
    }
    ck_assert_uint_eq(n, N);
    while (kstate_first_ns(ks, &ns)) kstate_drop_ns(ks, ns); /* and leave from the front */
    ck_assert_uint_eq(kstate_entries(ks), 0);
    kstate_close(ks);
    ck_assert_uint_eq(kstate_env_used(env), 0);
    kstate_env_free(env);
}
END_TEST

START_TEST(sealed_bytes_that_are_damaged_are_refused) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks = small_table(env);
    buf_t b = buf_make(4096);
    buf_put_u8(&b, 9);
    ck_fails(kstate_apply(ks, buf_slice(&b)), ERR_VERSION, "version 9");
    buf_clear(&b);
    change_header(&b);
    change_put(&b, 5, slice_str("key"), slice_str("not a value"));
    ck_fails(kstate_apply(ks, buf_slice(&b)), ERR_CORRUPT, "cannot be decoded");
    buf_clear(&b);
    change_header(&b);
    change_del(&b, 5, slice_str("key"));
    ck_fails(kstate_apply(ks, slice_of(b.data, b.len - 1)), ERR_CORRUPT, "malformed change");
    buf_clear(&b);
    change_header(&b);
    change_drop_range(&b, 5, 9, 2000);
    ck_fails(kstate_apply(ks, buf_slice(&b)), ERR_CORRUPT, "malformed change");
    kstate_close(ks);
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &flat_codec, &ks));
    buf_clear(&b);
    change_header(&b);
    change_put(&b, 5, slice_str("key"), slice_str("8 bytes."));
    ck_fails(kstate_apply(ks, buf_slice(&b)), ERR_CORRUPT, "has no namespace 5");
    buf_free(&b);
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

/* Homes at the end of the table, so that it is gone round, and many times as many keys as a slot can tell the distance of. */
START_TEST(keys_of_one_home_are_found_however_far_from_it_they_lie_and_deleting_some_loses_none) {
    enum { N = 300 };
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks;
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &flat_codec, &ks));
    bool there[N] = {0};
    uint64_t hash[N];
    rng_t rng;
    rng_seed(&rng, 9);
    for (int k = 0; k < N; k++) hash[k] = UINT64_MAX << 54 | (rng_next(&rng) & 0xffffff);
    buf_t out = buf_make(1 << 20);
    for (epoch_t e = 1; e <= 60; e++) {
        uint64_t live = 0;
        for (int k = 0; k < N; k++) {
            slice_t key = slice_of(&k, sizeof k);
            void *v;
            bool created, put = rng_below(&rng, 1 + e % 3);
            ck_ok(kstate_get(ks, 0, hash[k], key, put, &created, &v));
            ck_assert(created == (put && !there[k]) && !v == (!put && !there[k]));
            if (created) *(uint64_t *)v = hash[k];
            if (v) ck_assert_uint_eq(*(uint64_t *)v, hash[k]);
            if (v && !put) kstate_delete(ks, v);
            there[k] = put;
            live += put;
        }
        ck_assert_uint_eq(kstate_entries(ks), live);
        buf_clear(&out);
        kstate_seal(ks, e, &out); /* what was deleted leaves the table */
    }
    buf_free(&out);
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

START_TEST(a_count_and_a_sum_by_an_integer_are_one_cache_line_and_less_than_two_words_of_slots) {
    enum { N = 100000 };
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks;
    kstate_codec_t codec = flat_codec;
    codec.value_size = 32;
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &codec, &ks));
    uint32_t across = 0;
    for (uint64_t k = 0; k < N; k++) {
        uint64_t key = k * 2654435761u;
        void *v;
        ck_ok(kstate_get(ks, 0, hash_bytes(&key, 6), slice_of(&key, 6), true, NULL, &v));
        across += (uintptr_t)v / 64 != ((uintptr_t)v + 39) / 64; /* value and key; the header is before them */
        ck_assert_uint_eq(kstate_word(v), 0);
        kstate_word_set(v, KSTATE_WORD_MAX - (uint32_t)k);
    }
    ck_assert_uint_lt(across, N / 50); /* those of the first chunks, which are small */
    ck_assert_uint_lt(kstate_bytes(ks), (64 + 22) * N + (2 << 20)); /* a table twice as large as it must be is 21; and the list of what the seal writes */
    buf_t out = buf_make(64 << 20);
    kstate_seal(ks, 1, &out);
    for (uint64_t k = 0; k < N; k++) {
        uint64_t key = k * 2654435761u;
        void *v;
        ck_ok(kstate_get(ks, 0, hash_bytes(&key, 6), slice_of(&key, 6), false, NULL, &v));
        ck_assert_uint_eq(kstate_word(v), KSTATE_WORD_MAX - (uint32_t)k); /* sealing leaves it alone */
    }
    buf_free(&out);
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

START_TEST(the_change_format_is_frozen) {
    static const uint8_t want[] = {1, 1, 0x90, 0x4e, 3, 'k', 'e', 'y', 2, 'v', '1', 2, 1, 1, 'x', 3, 0, 0, 1, 0, 2};
    buf_t b = buf_make(4096);
    change_header(&b);
    change_put(&b, 5000, slice_str("key"), slice_str("v1"));
    change_del(&b, -1, slice_str("x"));
    change_drop_range(&b, 0, 256, 512);
    ck_assert_uint_eq(b.len, sizeof want);
    ck_assert(memcmp(b.data, want, sizeof want) == 0);
    buf_free(&b);
}
END_TEST

static size_t val_writes(void *ctx, void *v, size_t *ret_more) {
    *ret_more = 0;
    return val_heap(ctx, v);
}

/* A value may be marked after it has changed (kstate_changed): what it grew by is not sealed twice. */
START_TEST(what_a_value_has_grown_by_before_it_is_marked_counts_once) {
    enum { LONG = 1 << 20 };
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_codec_t codec = val_codec;
    codec.writes = val_writes;
    kstate_t *ks;
    ck_ok(kstate_open(env, 7, 0, 0, 1024, &codec, &ks));
    slice_t key = slice_of("k", 1);
    void *v;
    ck_ok(kstate_get(ks, 0, hash_bytes(key.p, key.len), key, true, NULL, &v));
    for (epoch_t e = 1; e <= 2; e++) {
        buf_t sealed = buf_make(BUF_MAX_DEFAULT);
        kstate_seal(ks, e, &sealed);
        buf_free(&sealed);
        ck_assert_uint_eq(kstate_env_unsealed_bytes(env), 0);
        char *text = xmalloc(LONG * (size_t)e + 1); /* a new one, then one twice as long */
        memset(text, 'x', LONG * (size_t)e);
        text[LONG * (size_t)e] = 0;
        free(((val_t *)v)->text);
        ((val_t *)v)->text = text;
        kstate_dirty(ks, v);
        kstate_measure(ks);
        ck_assert_uint_ge(kstate_env_unsealed_bytes(env), LONG * (size_t)e - (64 << 10));
        ck_assert_uint_lt(kstate_env_unsealed_bytes(env), LONG * (size_t)e + (64 << 10));
    }
    kstate_close(ks);
    kstate_env_free(env);
}
END_TEST

TESTS("kstate", what_a_value_has_grown_by_before_it_is_marked_counts_once,
      what_is_written_down_at_once_and_what_waits_for_the_seal_are_one_history, random_ops_seals_and_crashes_equal_the_model,
      a_seal_is_in_the_order_of_the_calls_and_holds_each_change_once,
      delete_and_drop_are_sealed_once_and_survive_a_recreation, a_drop_speaks_only_for_the_key_groups_of_its_writer,
      deleting_while_scanning_misses_nothing, many_namespaces_stay_in_time_order,
      short_keys_of_one_hash_are_told_apart,
      keys_of_one_home_are_found_however_far_from_it_they_lie_and_deleting_some_loses_none,
      a_count_and_a_sum_by_an_integer_are_one_cache_line_and_less_than_two_words_of_slots,
      values_that_are_encoded_in_place_are_sealed_as_those_that_are_not, sealed_bytes_that_are_damaged_are_refused, the_change_format_is_frozen)
