/* What stays in memory of what was evicted: a filter of the keys that are still there, next to nothing of small namespaces, no memory for
 * values that are gone. */
#include "tests/state/world.h"

/* Counts what the table asks of the base. */
static base_db_t real;
static uint64_t gets, rows, rows_most;
static err_t *counted_get(base_db_t *b, uint64_t fp, int slot, int kg, int64_t ns, slice_t key, buf_t *ret, bool *ret_found) {
    gets++;
    return real.get(b, fp, slot, kg, ns, key, ret, ret_found);
}
typedef struct counted { err_t *(*fn)(void *arg, slice_t key, slice_t value, bool *ret_more); void *arg; } counted_t;
static err_t *counted_row(void *arg, slice_t key, slice_t value, bool *ret_more) {
    const counted_t *c = arg;
    rows++;
    return c->fn(c->arg, key, value, ret_more);
}
static err_t *counted_walk(base_db_t *b, uint64_t fp, int slot, int64_t ns, int *kg, int kg_hi, buf_t *from,
                           err_t *(*fn)(void *arg, slice_t key, slice_t value, bool *ret_more), void *arg) {
    counted_t c = {fn, arg};
    return real.walk(b, fp, slot, ns, kg, kg_hi, from, counted_row, &c);
}
static void count_base(kstate_env_t *env) { /* and no spill, which has filters of its own */
    base_db_t *b = kstate_env_base(env);
    b->scratch = NULL;
    real = *b;
    b->get = counted_get;
    b->walk = counted_walk;
}

static void evict(kstate_t *ks) { /* as between two batches */
    uint64_t before = rows;
    ck_ok(kstate_evict(ks));
    rows_most = MAX(rows_most, rows - before);
}

/* Keys come, live for five rounds and are deleted, for as long as a job runs. */
START_TEST(the_filter_of_evicted_keys_forgets_those_that_were_deleted) {
    for (int rocks = 0; rocks < 2; rocks++) {
        enum { ROUND = 4000, ROUNDS = 40, LIFE = 5 };
        world_t *w = world_new(rocks, 256 << 10);
        applier_t *a = applier_make(w);
        kstate_t *ks = table_open(w);
        for (uint64_t r = 0; r < ROUNDS; r++) {
            for (uint64_t i = 0; i < ROUND; i++) ((val_t *)number_of(ks, r * ROUND + i, true))->number = i;
            for (uint64_t i = 0; r >= LIFE && i < ROUND; i++) {
                val_t *v = number_of(ks, (r - LIFE) * ROUND + i, false);
                ck_assert(v && v->number == i);
                kstate_delete(ks, v);
            }
            seal_and_apply(ks, a, r + 1);
            if (r == 0) count_base(w->env);
            for (int i = 0; i < 200; i++) evict(ks);
            ck_assert_uint_eq(kstate_entries(ks), MIN(r + 1, (uint64_t)LIFE) * ROUND);
        }
        ck_assert_uint_gt(kstate_evicted(ks), LIFE * ROUND * 8 / 10);
        ck_assert(!kstate_env_over(w->env));
        ck_assert_uint_le(rows_most, 256); /* what it takes is done in small steps */
        gets = 0;
        for (uint64_t i = 0; i < (ROUNDS - LIFE) * ROUND; i++) ck_assert_ptr_null(number_of(ks, i, false));
        ck_assert_msg(gets < (ROUNDS - LIFE) * ROUND / 4, "%" PRIu64 " of %d keys that are gone were looked for in the base", gets, (ROUNDS - LIFE) * ROUND);
        for (uint64_t i = (ROUNDS - LIFE) * ROUND; i < ROUNDS * ROUND; i++) ck_assert_uint_eq(((val_t *)number_of(ks, i, false))->number, i % ROUND);
        world_end(w, a, ks);
    }
}
END_TEST

/* Of two tables that do not fit after a restart the first one fills the memory, and the filter of the second one gets none. */
START_TEST(a_filter_made_without_room_is_made_anew_when_there_is_some) {
    enum { N = 100000, STRANGE = 100000 };
    world_t *w = world_new(false, 0);
    applier_t *a = applier_make(w);
    kstate_t *ks, *first;
    ck_ok(kstate_open(w->env, FP, 0, 0, 1024, &val_codec, &ks));
    for (uint64_t i = 0; i < N; i++) ((val_t *)number_of(ks, i, true))->number = i;
    seal_and_apply(ks, a, 1);
    kstate_close(ks);
    count_base(w->env);
    kstate_env_set_memory(w->env, 4 << 20);
    ck_ok(kstate_open(w->env, FP, 0, 0, 1024, &val_codec, &first));
    ck_ok(kstate_open(w->env, FP, 0, 0, 1024, &val_codec, &ks));
    ck_assert_uint_eq(kstate_evicted(ks), N);
    kstate_close(first);
    for (uint64_t i = 0; i < N / 20; i++) ck_assert_uint_eq(((val_t *)number_of(ks, i, false))->number, i);
    gets = rows = rows_most = 0;
    for (uint64_t i = 0; i < 1000; i++) ck_assert_ptr_null(number_of(ks, N + i, false));
    ck_assert_uint_gt(gets, 900); /* it lets all pass */
    for (int i = 0; i < 1000; i++) evict(ks);
    ck_assert_uint_ge(rows, N);
    ck_assert_uint_lt(rows, N * 5 / 2); /* at most twice: as there was little room first */
    ck_assert_uint_le(rows_most, 256);
    gets = 0;
    for (uint64_t i = 0; i < STRANGE; i++) ck_assert_ptr_null(number_of(ks, N + i, false));
    ck_assert_msg(gets < STRANGE / 20, "%" PRIu64 " of %d strange keys were looked for in the base", gets, STRANGE);
    for (uint64_t i = 0; i < N; i += 7) ck_assert_uint_eq(((val_t *)number_of(ks, i, false))->number, i);
    world_end(w, a, ks);
}
END_TEST

/* A table that ends, or is emptied, while a filter is being replaced. */
START_TEST(a_table_may_end_while_its_filter_is_replaced) {
    for (int what = 0; what < 3; what++) {
        enum { N = 20000 };
        world_t *w = world_new(false, 16 << 20);
        applier_t *a = applier_make(w);
        kstate_t *ks = table_open(w);
        for (uint64_t i = 0; i < N; i++) number_of(ks, i, true);
        seal_and_apply(ks, a, 1);
        count_base(w->env);
        kstate_env_set_memory(w->env, 64 << 10);
        for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
        for (uint64_t i = 0; i < N * 3 / 4; i++) kstate_delete(ks, number_of(ks, i, false));
        rows = 0;
        ck_ok(kstate_evict(ks));
        ck_assert_uint_gt(rows, 0); /* it has begun */
        if (what == 0) {
            kstate_drop_ns(ks, 0);
            number_of(ks, 1, true);
            for (int i = 0; i < 100; i++) ck_ok(kstate_evict(ks));
            ck_assert_uint_eq(kstate_entries(ks), 1);
        } else if (what == 1) {
            seal_and_apply(ks, a, 2);
            kstate_forget(ks);
            ck_ok(kstate_reload(ks));
            for (int i = 0; i < 100; i++) ck_ok(kstate_evict(ks));
            for (uint64_t i = 0; i < N; i++) ck_assert((number_of(ks, i, false) != NULL) == (i >= N * 3 / 4));
        }
        world_end(w, a, ks);
    }
}
END_TEST

static void *in_ns(kstate_t *ks, uint64_t i, bool create) {
    void *v;
    ck_ok(kstate_get(ks, (int64_t)i * 7, hash_bytes(&i, sizeof i), slice_of(&i, sizeof i), create, NULL, &v));
    return v;
}

/* Sessions: each ends at a millisecond of its own. */
START_TEST(small_namespaces_leave_little_behind_when_evicted_and_nothing_when_dropped) {
    for (int rocks = 0; rocks < 2; rocks++) {
        const uint64_t n = rocks ? 100000 : 2000; /* the map is for the simulator: it looks into every key group */
        world_t *w = world_new(rocks, 256 << 20);
        applier_t *a = applier_make(w);
        kstate_t *ks = table_open(w);
        size_t empty = kstate_bytes(ks);
        for (uint64_t i = 0; i < n; i++) ((val_t *)in_ns(ks, i, true))->number = i;
        seal_and_apply(ks, a, 1);
        size_t full = kstate_bytes(ks);
        kstate_env_set_memory(w->env, 64 << 10);
        for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
        ck_assert_uint_gt(kstate_evicted(ks), n * 99 / 100);
        ck_assert_msg(kstate_bytes(ks) < n * 160, "%zu bytes of %zu are left of %" PRIu64 " namespaces", kstate_bytes(ks), full, n);
        for (uint64_t i = 0; i < n; i += 1000) ck_assert_uint_eq(((val_t *)in_ns(ks, i, false))->number, i);
        for (uint64_t i = 0; i < n; i++) kstate_drop_ns(ks, (int64_t)i * 7);
        ((val_t *)in_ns(ks, 4711, true))->number = 1;
        int64_t from = cpu_ns();
        seal_and_apply(ks, a, 2); /* a look into each of 1024 key groups for each would take minutes */
        int ms = (int)((cpu_ns() - from) / 1000000);
        ck_assert_msg(ms < 10000, "the base took %d ms", ms);
        ck_assert_uint_eq(kstate_entries(ks), 1);
        ck_assert_uint_lt(kstate_bytes(ks), empty + (300 << 10)); /* one chunk, for one entry */
        kstate_close(ks);
        ck_assert_uint_eq(kstate_env_used(w->env), 0);
        ck_ok(kstate_open(w->env, FP, 0, 0, 1024, &val_codec, &ks)); /* and the base has one */
        ck_assert_uint_eq(kstate_entries(ks), 1);
        ck_assert_uint_eq(((val_t *)in_ns(ks, 4711, false))->number, 1);
        world_end(w, a, ks);
    }
}
END_TEST

static err_t *put_found(void *arg, int64_t ns, slice_t key, slice_t value) {
    buf_put_zigzag(arg, ns);
    buf_put_bytes(arg, key);
    buf_put_bytes(arg, value);
    return NULL;
}

/* Drops of namespaces that the base has and has not, in any order and of several ranges, are those of a model. */
START_TEST(many_drops_at_once_take_what_each_of_them_would) {
    enum { NS = 60, KEYS = 300, DROPS = 70 };
    for (int round = 0; round < 8; round++) {
        base_db_t *dbs[2] = {base_new_memory(), NULL};
        world_t *w = world_new(true, 1 << 20);
        ck_ok(open_base(w, &dbs[1]));
        rng_t rng;
        rng_seed(&rng, (uint64_t)round + 1);
        buf_t puts = buf_make(1 << 24), drops = buf_make(1 << 20);
        change_header(&puts);
        change_header(&drops);
        for (uint64_t i = 0; i < NS * KEYS; i++) /* every third namespace is large: more than are deleted one by one */
            if (i % NS % 3 == 0 || rng_below(&rng, 20) == 0) change_put(&puts, (int64_t)(i % NS) - 10, slice_of(&i, sizeof i), slice_str("v"));
        for (int i = 0; i < DROPS; i++) {
            int lo = rng_below(&rng, 2) ? 0 : 300, hi = lo ? 900 : 1024;
            change_drop_range(&drops, (int64_t)rng_below(&rng, NS + 20) - 20, lo, hi);
            uint64_t i2 = rng_below(&rng, NS * KEYS);
            if (rng_below(&rng, 10) == 0) change_put(&drops, (int64_t)(i2 % NS) - 10, slice_of(&i2, sizeof i2), slice_str("again"));
        }
        buf_t found[2] = {buf_make(1 << 24), buf_make(1 << 24)};
        for (int k = 0; k < 2; k++) {
            ck_ok(dbs[k]->apply(dbs[k], FP, 0, buf_slice(&puts)));
            ck_ok(dbs[k]->apply(dbs[k], FP, 0, buf_slice(&drops)));
            ck_ok(dbs[k]->scan(dbs[k], FP, 0, 0, 1024, NULL, put_found, &found[k]));
        }
        ck_assert(found[0].len > 100 && slice_eq(buf_slice(&found[0]), buf_slice(&found[1])));
        for (int k = 0; k < 2; k++) {
            dbs[k]->close(dbs[k]);
            buf_free(&found[k]);
        }
        buf_free(&puts);
        buf_free(&drops);
        world_free(w);
    }
}
END_TEST

/* A codec with values that are larger than any buffer. */
static void huge_encode(void *ctx, const void *value, buf_t *out) {
    buf_put_u64(out, *(const uint64_t *)value);
    if (*(const uint64_t *)value == 4711) buf_reserve(out, (size_t)4 << 30);
}
static bool huge_decode(void *ctx, slice_t bytes, void *value) {
    reader_t r = reader_of(bytes);
    *(uint64_t *)value = read_u64(&r);
    return !r.bad && *(uint64_t *)value != 4711; /* it was cut */
}

START_TEST(a_value_too_large_to_be_moved_stays_where_it_is_until_its_seal_says_so) {
    static const kstate_codec_t codec = {8, NULL, NULL, NULL, huge_encode, huge_decode, NULL};
    world_t *w = world_new(false, 16 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks;
    const uint64_t n = 30000;
    ck_ok(kstate_open(w->env, FP, 0, 0, 1024, &codec, &ks));
    for (uint64_t i = 0; i < n; i++) *(uint64_t *)number_of(ks, i, true) = i == 4711 ? 0 : i;
    seal_and_apply(ks, a, 1);
    for (uint64_t i = 0; i < n; i += 500) {
        uint64_t *v = number_of(ks, i, false);
        kstate_dirty(ks, v);
        *v = 4711;
    }
    kstate_env_set_memory(w->env, 64 << 10);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
    for (uint64_t i = 0; i < n; i += 500) ck_assert_uint_eq(*(uint64_t *)number_of(ks, i, false), 4711);
    buf_t sealed = buf_make(1 << 20);
    kstate_seal(ks, 2, &sealed);
    ck_assert(sealed.overflow);
    buf_free(&sealed);
    world_end(w, a, ks);
}
END_TEST

START_TEST(the_room_for_a_seal_is_that_of_its_own_changes_and_not_of_the_last_ones) {
    world_t *w = world_new(false, 0);
    kstate_t *ks = table_open(w);
    val_t *v = number_of(ks, 0, true);
    v->text = xprintf("%0*d", 4 << 20, 7);
    kstate_measure(ks);
    buf_t sealed = buf_make(BUF_MAX_DEFAULT);
    kstate_seal(ks, 1, &sealed);
    ck_assert_uint_gt(sealed.len, 4 << 20);
    for (epoch_t epoch = 2; epoch < 4; epoch++) {
        for (uint64_t i = 1; i < 2000; i++) kstate_dirty(ks, number_of(ks, i, true));
        buf_free(&sealed);
        kstate_seal(ks, epoch, &sealed);
        ck_assert_uint_gt(sealed.len, 2000 * 10);
        ck_assert_msg(sealed.cap < sealed.len * 6, "epoch %d: room for %zu bytes, %zu were sealed", (int)epoch, sealed.cap, sealed.len);
    }
    buf_free(&sealed);
    kstate_close(ks);
    world_free(w);
}
END_TEST

/* A window fires for seconds, and others need the memory of its table meanwhile. Between the portions of a scan: evictions, an epoch that goes
 * into the base, changes and deletes of what has come. */
static void scan_among_evictions(bool rocks, uint64_t seed) {
    enum { N = 12000, ROUNDS = 5 };
    world_t *w = world_new(rocks, 64 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks = table_open(w);
    rng_t rng;
    rng_seed(&rng, seed);
    static uint64_t want[N]; /* 0: none */
    static uint8_t seen[N];
    memset(want, 0, sizeof want);
    uint64_t evicted_within = 0;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint64_t rare = 1 + rng_below(&rng, 5);
        for (uint64_t i = 0; i < N; i++)
            if (rng_below(&rng, rare) == 0) kstate_dirty(ks, number_of(ks, i, true)), want[i] = ((val_t *)number_of(ks, i, true))->number = round * N + i;
        buf_t sealed = buf_make(1 << 26);
        kstate_seal(ks, round, &sealed);
        add_changes(a, round, buf_slice(&sealed));
        buf_free(&sealed);
        bool behind = round > 1 && rng_below(&rng, 2);
        if (!behind) applier_complete(a, round);
        ck_ok(applier_apply(a, round));
        size_t full = kstate_bytes(ks);
        for (int i = rng_below(&rng, 4); i > 0; i--) {
            kstate_env_set_memory(w->env, full / (1 + rng_below(&rng, 8)));
            ck_ok(kstate_evict(ks));
        }
        for (int i = 0; i < 500; i++) {
            uint64_t k = rng_below(&rng, N);
            val_t *v = number_of(ks, k, false);
            if (!v) continue;
            kstate_dirty(ks, v);
            want[k] = ++v->number;
        }
        kstate_env_set_memory(w->env, MAX(kstate_bytes(ks), (size_t)1)); /* filling */
        memset(seen, 0, sizeof seen);
        static uint64_t was[N];
        memcpy(was, want, sizeof was);
        void *got[300];
        kstate_scan_t s = {.ns = 0};
        for (uint32_t n = 1; n;) {
            ck_ok(kstate_scan(ks, &s, got, 1 + (uint32_t)rng_below(&rng, ARRAY_LEN(got)), &n));
            for (uint32_t i = 0; i < n; i++) {
                uint64_t k;
                memcpy(&k, kstate_key(ks, got[i]).p, sizeof k);
                val_t *v = got[i];
                ck_assert(k < N);
                ck_assert_msg(!seen[k]++, "key %d comes again", (int)k);
                ck_assert_uint_eq(v->number, was[k]);
                uint64_t what = rng_below(&rng, 20);
                if (what == 0) kstate_delete(ks, v), want[k] = 0;
                else if (what == 1) kstate_dirty(ks, v), want[k] = ++v->number;
            }
            if (behind && rng_below(&rng, 30) == 0) {
                applier_complete(a, round);
                ck_ok(applier_apply(a, round));
                behind = false;
            }
            uint64_t before = kstate_evicted(ks);
            if (rng_below(&rng, 3) == 0) kstate_env_set_memory(w->env, full / (1 + rng_below(&rng, 16)));
            if (rng_below(&rng, 2) == 0) ck_ok(kstate_evict(ks));
            evicted_within += kstate_evicted(ks) - before;
        }
        for (uint64_t i = 0; i < N; i++) ck_assert_msg(seen[i] == (was[i] != 0), "key %d has not come", (int)i);
        applier_complete(a, round);
        ck_ok(applier_apply(a, round));
    }
    ck_assert_uint_gt(evicted_within, N / 10);
    for (uint64_t i = 0; i < N; i++) {
        val_t *v = number_of(ks, i, false);
        ck_assert_uint_eq(v ? v->number : 0, want[i]);
    }
    world_end(w, a, ks);
}
START_TEST(each_entry_comes_once_from_a_scan_whatever_is_evicted_applied_changed_or_deleted_meanwhile) {
    for (uint64_t seed = 1; seed <= 12; seed++) scan_among_evictions(seed > 10, seed);
}
END_TEST

START_TEST(a_scan_keeps_no_more_than_a_part_of_its_namespace_from_being_evicted) {
    enum { N = 40000 };
    world_t *w = world_new(true, 64 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks = table_open(w);
    for (uint64_t i = 0; i < N; i++) ((val_t *)number_of(ks, i, true))->number = i;
    seal_and_apply(ks, a, 1);
    size_t full = kstate_bytes(ks);
    kstate_env_set_memory(w->env, full); /* filling */
    void *got[100];
    uint64_t all = 0, half = 0; /* half: had come when the table was half as large */
    kstate_scan_t s = {.ns = 0};
    for (uint32_t n = 1; n; all += n) {
        ck_ok(kstate_scan(ks, &s, got, ARRAY_LEN(got), &n));
        kstate_env_set_memory(w->env, full / 8);
        ck_ok(kstate_evict(ks));
        if (!half && kstate_bytes(ks) < full / 2) half = all + n;
    }
    ck_assert_uint_eq(all, N);
    ck_assert_msg(half > 0 && half < N / 8, "half of it had left after %" PRIu64 " entries", half);
    world_end(w, a, ks);
}
END_TEST

TESTS("evict", each_entry_comes_once_from_a_scan_whatever_is_evicted_applied_changed_or_deleted_meanwhile,
      a_scan_keeps_no_more_than_a_part_of_its_namespace_from_being_evicted, the_filter_of_evicted_keys_forgets_those_that_were_deleted,
      a_filter_made_without_room_is_made_anew_when_there_is_some,
      a_table_may_end_while_its_filter_is_replaced,
      small_namespaces_leave_little_behind_when_evicted_and_nothing_when_dropped, many_drops_at_once_take_what_each_of_them_would,
      a_value_too_large_to_be_moved_stays_where_it_is_until_its_seal_says_so, the_room_for_a_seal_is_that_of_its_own_changes_and_not_of_the_last_ones)
