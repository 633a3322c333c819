/* Hot tables over a base: eviction never loses, resurrects or reads ahead; the same story for RocksDB and for the ordered map. */
#include "state/coalesce.h"
#include "tests/state/world.h"
#include <sys/stat.h>
#include <time.h>

/* Random work with little memory; epochs complete late, the base is further behind still, eviction after every few steps. */
static void eviction_model(bool rocks, uint64_t seed, size_t round_bytes) {
    world_t *w = world_new(rocks, 256 << 10);
    w->round_bytes = round_bytes;
    applier_t *a = applier_make(w);
    model_t *m = xcalloc(1, sizeof *m);
    kstate_t *ks = table_open(w);
    rng_t rng;
    rng_seed(&rng, seed);
    epoch_t sealed = 0;
    uint64_t evicted_most = 0;
    for (int i = 0; i < 60000; i++) {
        model_step(m, ks, &rng);
        if (i % 100 == 0) ck_ok(kstate_evict(ks));
        evicted_most = MAX(evicted_most, kstate_evicted(ks));
        uint64_t what = rng_below(&rng, 2000);
        if (what < 10) {
            buf_t b = buf_make(1 << 26);
            kstate_seal(ks, ++sealed, &b);
            add_changes(a, sealed, buf_slice(&b));
            buf_free(&b);
        } else if (what < 14 && sealed > 1) {
            applier_complete(a, sealed - rng_below(&rng, 2)); /* the last one may be in flight */
            ck_ok(applier_apply(a, UINT64_MAX));
        } else if (what == 14) {
            model_check(m, ks, 0, 1024); /* loads everything back */
        }
    }
    ck_assert_msg(evicted_most > 500, "only %d entries were ever evicted", (int)evicted_most);
    model_check(m, ks, 0, 1024);
    /* the base alone, at the last epoch, is the table */
    buf_t b = buf_make(1 << 26);
    kstate_seal(ks, ++sealed, &b);
    add_changes(a, sealed, buf_slice(&b));
    applier_complete(a, sealed);
    ck_ok(applier_apply(a, sealed));
    kstate_close(ks);
    for (int part = 0; part < 2; part++) {
        ck_ok(kstate_open(w->env, FP, model_slot, part ? 100 : 0, part ? 1024 : 100, &val_codec, &ks));
        model_check(m, ks, part ? 100 : 0, part ? 1024 : 100);
        kstate_close(ks);
    }
    ck_assert_uint_eq(kstate_env_used(w->env), 0);
    buf_free(&b);
    applier_free(a);
    free(m);
    world_free(w);
}
START_TEST(eviction_equals_the_model_over_the_ordered_map) {
    for (uint64_t seed = 1; seed <= 2; seed++) eviction_model(false, seed, 0);
}
END_TEST
START_TEST(eviction_equals_the_model_over_rocksdb) { eviction_model(true, 9, 0); }
END_TEST
START_TEST(maps_below_keys_equal_the_model_and_lie_in_the_key_groups_of_their_keys) {
    model_slot = STATE_MAPS + 3;
    eviction_model(false, 11, 0);
    eviction_model(false, 12, 1000);
    eviction_model(true, 13, 1000);
    for (int k = 0; k < MODEL_KEYS; k++) {
        char buf[2048];
        int owner = k / 8;
        ck_assert_int_eq(state_key_group(model_slot, model_key(k, buf)), hash_key_group(hash_bytes(&owner, sizeof owner)));
    }
    model_slot = 0;
    buf_t key = buf_make(1 << 10);
    state_map_key(&key, slice_str("owner"), slice_str("name"));
    ck_assert(slice_eq(buf_slice(&key), slice_str("\005ownername")));
    ck_assert_uint_eq(state_hash(STATE_MAPS, buf_slice(&key)), UINT64_C(5251768132674636667)); /* frozen: key groups depend on it */
    ck_assert_uint_eq(state_hash(STATE_MAPS, slice_str("\377")), hash_bytes("\377", 1)); /* of no map */
    buf_free(&key);
}
END_TEST
START_TEST(an_epoch_larger_than_a_round_goes_into_the_base_in_parts) {
    eviction_model(false, 3, 1);
    eviction_model(false, 4, 1000);
    eviction_model(true, 5, 1000);
}
END_TEST

/* ---- scans of what does not fit in memory */
static kstate_t *spilled(world_t *w, applier_t *a, uint64_t n) { return spilled_near(w, a, n, true); }

START_TEST(a_scan_of_a_namespace_larger_than_memory_takes_a_portion_of_it_at_a_time) {
    for (int rocks = 0; rocks < 2; rocks++) {
        enum { N = 40000 };
        world_t *w = world_new(rocks, 16 << 20);
        applier_t *a = applier_make(w);
        kstate_t *ks = spilled(w, a, N);
        for (uint64_t i = 0; i < N; i += 7) { /* in memory newer than in the base, or deleted there */
            val_t *v = number_of(ks, i, false);
            if (i % 2) kstate_delete(ks, v);
            else kstate_dirty(ks, v), v->number = i + N;
        }
        uint64_t evicted = kstate_evicted(ks);
        size_t before = kstate_bytes(ks);
        static uint8_t seen[N];
        memset(seen, 0, sizeof seen);
        void *got[500];
        int parts[] = {0, 100, 101, 700, 1024}; /* key groups by parts, too: together they are everything */
        for (int p = -1; p < 4; p++) {
            kstate_scan_t s = {.kg_lo = p < 0 ? 0 : parts[p], .kg_hi = p < 0 ? 0 : parts[p + 1]};
            for (uint32_t n = 1; n;) {
                ck_ok(kstate_scan(ks, &s, got, ARRAY_LEN(got), &n));
                for (uint32_t i = 0; i < n; i++) {
                    uint64_t k, number = ((val_t *)got[i])->number;
                    memcpy(&k, kstate_key(ks, got[i]).p, sizeof k);
                    ck_assert_uint_eq(kstate_hash(ks, got[i]), hash_bytes(&k, sizeof k));
                    ck_assert(k < N && number == (k % 7 == 0 ? k + N : k));
                    seen[k]++;
                }
                ck_assert_uint_lt(kstate_bytes(ks), before + (256 << 10)); /* no more than a portion on top */
                ck_ok(kstate_evict(ks));                                   /* and what is in memory stays where it is */
            }
        }
        for (uint64_t i = 0; i < N; i++) ck_assert_int_eq(seen[i], i % 7 == 0 && i % 2 ? 0 : 2);
        ck_assert_uint_ge(kstate_evicted(ks), evicted); /* nothing has become hot */
        world_end(w, a, ks);
    }
}
END_TEST

START_TEST(what_a_scan_deletes_of_evicted_entries_is_sealed_and_stays_deleted) {
    enum { N = 20000 };
    world_t *w = world_new(false, 16 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks = spilled(w, a, N);
    kstate_scan_t s = {.weak = true};
    void *got[512];
    uint64_t seen = 0, left = 0;
    for (uint32_t n = 1; n;) {
        ck_ok(kstate_scan(ks, &s, got, ARRAY_LEN(got), &n));
        for (uint32_t i = 0; i < n; i++, seen++) {
            uint64_t number = ((val_t *)got[i])->number;
            if (number % 3) kstate_delete(ks, got[i]);
            else if (number % 2) kstate_dirty(ks, got[i]), ((val_t *)got[i])->number = 7;
        }
    }
    ck_assert_uint_eq(seen, N);
    ck_assert_uint_eq(kstate_entries(ks), (N + 2) / 3);
    buf_t b = buf_make(1 << 26);
    kstate_seal(ks, 2, &b);
    add_changes(a, 2, buf_slice(&b));
    for (int round = 0; round < 2; round++) { /* before the base knows, and after */
        for (uint64_t i = 0; i < N; i += 11) {
            val_t *v = number_of(ks, i, false);
            ck_assert_msg((v == NULL) == (i % 3 != 0), "key %d", (int)i);
            if (v) ck_assert_uint_eq(v->number, i % 2 ? 7 : i);
        }
        applier_complete(a, 2);
        ck_ok(applier_apply(a, 2));
        for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
    }
    for (uint32_t n = 1; n; left += n) ck_ok(kstate_scan(ks, &s, got, ARRAY_LEN(got), &n));
    ck_assert_uint_eq(left, (N + 2) / 3);
    buf_free(&b);
    world_end(w, a, ks);
}
END_TEST

/* After a rescale: a DROP of another task's key groups over a namespace of which most is evicted. */
START_TEST(a_drop_of_some_key_groups_takes_evicted_entries_along) {
    enum { N = 20000 };
    world_t *w = world_new(false, 16 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks = spilled(w, a, N);
    buf_t b = buf_make(1 << 16);
    change_header(&b);
    change_drop_range(&b, 0, 100, 612);
    ck_ok(kstate_apply(ks, buf_slice(&b)));
    uint64_t want = 0;
    for (uint64_t i = 0; i < N; i++) {
        int kg = (int)(hash_bytes(&i, sizeof i) % 1024);
        bool kept = kg < 100 || kg >= 612;
        want += kept;
        if (i % 5 == 0) ck_assert((number_of(ks, i, false) != NULL) == kept);
    }
    ck_assert_uint_eq(kstate_entries(ks), want);
    buf_free(&b);
    world_end(w, a, ks);
}
END_TEST

/* A COUNT(DISTINCT ..) of one key: marked dirty once an epoch, growing all the time. */
START_TEST(a_value_that_grows_within_an_epoch_is_seen_to_grow) {
    world_t *w = world_new(false, 1 << 20);
    kstate_env_set_unsealed_max(w->env, 100 << 10);
    kstate_t *ks = table_open(w);
    val_t *v = number_of(ks, 1, true);
    size_t before = kstate_bytes(ks);
    for (int mb = 1; mb <= 3; mb++) {
        kstate_dirty(ks, v);
        free(v->text);
        v->text = xprintf("%0*d", mb << 20, 7);
        kstate_measure(ks);
        ck_assert_uint_ge(kstate_bytes(ks), before + ((size_t)mb << 20));
        ck_assert_uint_lt(kstate_bytes(ks), before + ((size_t)mb << 20) + 4096);
    }
    ck_assert(kstate_env_over(w->env) && kstate_env_hold(w->env)); /* no row more, until it is sealed and in the base */
    kstate_dirty(ks, v);
    val_clear(NULL, v);
    kstate_measure(ks);
    ck_assert_uint_lt(kstate_bytes(ks), before + 4096);
    kstate_dirty(ks, v);
    kstate_drop_ns(ks, 0); /* and what is gone before it is measured does no harm */
    number_of(ks, 2, true);
    kstate_measure(ks);
    world_end(w, NULL, ks);
}
END_TEST

/* k is evicted as of epoch 1, read back, changed and deleted in 2; the base has 1 only. A miss must not bring it back. */
/* Hazards A5: what the base does not hold yet cannot leave memory, so rows must stop coming until it does. */
START_TEST(sources_are_held_while_changes_are_on_their_way_into_the_base_and_never_else) {
    world_t *w = world_new(false, 64 << 10);
    applier_t *a = applier_make(w);
    kstate_t *ks = table_open(w);
    ck_assert(!kstate_env_hold(w->env));
    uint64_t n = 0;
    for (; !kstate_env_hold(w->env); n++) {
        ck_assert_uint_lt(n, 100000);
        void *v;
        bool created;
        slice_t key = slice_of(&n, sizeof n);
        ck_ok(kstate_get(ks, 0, hash_bytes(key.p, key.len), key, true, &created, &v));
        ck_ok(kstate_evict(ks));
    }
    ck_assert(kstate_env_short(w->env) && kstate_env_unsealed(w->env));
    buf_t sealed = buf_make(1 << 26);
    kstate_seal(ks, 1, &sealed);
    ck_assert(kstate_env_hold(w->env) && !kstate_env_unsealed(w->env)); /* sealed is not enough, .. */
    add_changes(a, 1, buf_slice(&sealed));
    ck_ok(kstate_evict(ks));
    ck_assert(kstate_env_hold(w->env));
    applier_complete(a, 1); /* .. nor complete .. */
    ck_ok(kstate_evict(ks));
    ck_assert_uint_eq(kstate_evicted(ks), 0);
    ck_ok(applier_apply(a, 1)); /* .. but once it is in the base, tables evict and rows go on */
    ck_assert(!kstate_env_hold(w->env));
    ck_ok(kstate_evict(ks));
    ck_assert(!kstate_env_over(w->env) && kstate_evicted(ks) > 0);
    ck_assert_uint_eq(kstate_entries(ks), n);
    kstate_env_set_memory(w->env, 1); /* nothing can ever fit, and nothing is on its way: slow, not dead */
    ck_ok(kstate_evict(ks));
    ck_assert(kstate_env_over(w->env) && !kstate_env_hold(w->env));
    buf_free(&sealed);
    world_end(w, a, ks);
}
END_TEST

/* What one barrier seals is copied more than once on its way: sources wait for it before the copies no longer fit. */
START_TEST(sources_wait_for_the_barrier_before_one_epoch_is_too_large_to_be_copied) {
    world_t *w = world_new(false, 1 << 20);
    kstate_env_set_unsealed_max(w->env, 100 << 10);
    kstate_t *ks = table_open(w);
    uint64_t n = 0;
    for (; !kstate_env_hold(w->env); n++) {
        ck_assert_uint_lt(n, 100000);
        void *v;
        bool created;
        slice_t key = slice_of(&n, sizeof n);
        ck_ok(kstate_get(ks, 0, hash_bytes(key.p, key.len), key, true, &created, &v));
    }
    ck_assert(!kstate_env_over(w->env));
    size_t unsealed = kstate_env_unsealed_bytes(w->env);
    ck_assert_uint_gt(unsealed, 200 << 10);
    ck_assert_uint_lt(unsealed, 500 << 10);
    buf_t sealed = buf_make(1 << 26);
    kstate_seal(ks, 1, &sealed);
    ck_assert_uint_eq(kstate_env_unsealed_bytes(w->env), 0);
    ck_assert(!kstate_env_hold(w->env));
    buf_free(&sealed);
    kstate_close(ks);
    world_free(w);
}
END_TEST

/* A long upload must not hold the end of an attempt: it stops before its next file, and nothing of it counts. */
static applier_t *hooked;
static int stored_files;
static err_t *(*real_import)(disk_t *d, const char *local, const char *path);
static err_t *import_then_cancel(disk_t *d, const char *local, const char *path) {
    stored_files++;
    applier_cancel(hooked);
    return real_import(d, local, path);
}
START_TEST(a_base_upload_is_cancelled_before_its_next_file) {
    world_t *w = world_new(true, 0);
    applier_t *a = hooked = applier_make(w);
    buf_t changes = buf_make(1 << 20);
    change_header(&changes);
    change_put(&changes, 1, slice_str("k"), slice_str("v"));
    add_changes(a, 1, buf_slice(&changes));
    applier_complete(a, 1);
    real_import = w->disk->import;
    w->disk->import = import_then_cancel;
    base_t base = {0};
    ck_fails(applier_checkpoint(a, 1, &base), ERR_CANCELLED, "the attempt was stopped");
    ck_assert_int_eq(stored_files, 1);
    ck_fails(applier_checkpoint(a, 1, &base), ERR_CANCELLED, "the attempt was stopped");
    ck_assert_int_eq(stored_files, 1);
    w->disk->import = real_import;
    buf_free(&changes);
    applier_free(a);
    world_free(w);
}
END_TEST

/* Entries that cannot leave move together: a few survivors must not keep a whole chunk. */
START_TEST(what_survives_an_eviction_does_not_keep_the_memory_of_what_left) {
    world_t *w = world_new(false, 16 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks = table_open(w);
    const uint64_t n = 60000;
    void *v;
    bool created;
    for (uint64_t i = 0; i < n; i++) {
        slice_t key = slice_of(&i, sizeof i);
        ck_ok(kstate_get(ks, 0, hash_bytes(key.p, key.len), key, true, &created, &v));
    }
    buf_t sealed = buf_make(1 << 26);
    kstate_seal(ks, 1, &sealed);
    add_changes(a, 1, buf_slice(&sealed));
    applier_complete(a, 1);
    ck_ok(applier_apply(a, 1));
    size_t full = kstate_bytes(ks);
    for (uint64_t i = 0; i < n; i += 50) { /* every chunk has some that are dirty again */
        slice_t key = slice_of(&i, sizeof i);
        ck_ok(kstate_get(ks, 0, hash_bytes(key.p, key.len), key, false, &created, &v));
        kstate_dirty(ks, v);
    }
    kstate_env_set_memory(w->env, full / 10);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
    ck_assert_uint_lt(kstate_bytes(ks), full / 5);
    for (uint64_t i = 0; i < n; i++) {
        slice_t key = slice_of(&i, sizeof i);
        ck_ok(kstate_get(ks, 0, hash_bytes(key.p, key.len), key, false, &created, &v));
        ck_assert_ptr_nonnull(v);
    }
    buf_clear(&sealed);
    kstate_seal(ks, 2, &sealed); /* moved entries are still marked: each once */
    reader_t r = reader_of(buf_slice(&sealed));
    change_t c;
    uint64_t changes = 0;
    ck_assert(change_begin(&r));
    while (change_next(&r, &c)) changes++;
    ck_assert_uint_eq(changes, n / 50);
    buf_free(&sealed);
    world_end(w, a, ks);
}
END_TEST

START_TEST(a_deleted_value_does_not_rise_again_from_the_base) {
    world_t *w = world_new(false, 1);
    applier_t *a = applier_make(w);
    kstate_t *ks = table_open(w);
    val_t *v;
    for (int k = 1; k <= 100; k++) ck_ok(ks_get(ks, 9, k, true, NULL, &v));
    buf_t b = buf_make(1 << 20);
    kstate_seal(ks, 1, &b);
    add_changes(a, 1, buf_slice(&b));
    ck_ok(kstate_evict(ks));
    ck_assert_uint_eq(kstate_evicted(ks), 0); /* epoch 1 is not in the base yet */
    applier_complete(a, 1);
    ck_ok(applier_apply(a, 1));
    ck_ok(kstate_evict(ks));
    ck_ok(kstate_evict(ks));
    ck_assert_uint_gt(kstate_evicted(ks), 90);
    ck_assert_uint_eq(kstate_entries(ks), 100);
    ck_ok(ks_get(ks, 9, 5, false, NULL, &v));
    ck_assert_ptr_nonnull(v);
    kstate_delete(ks, v);
    buf_clear(&b);
    kstate_seal(ks, 2, &b); /* sealed, in flight */
    add_changes(a, 2, buf_slice(&b));
    ck_ok(kstate_evict(ks));
    ck_ok(ks_get(ks, 9, 5, false, NULL, &v));
    ck_assert_ptr_null(v);
    kstate_drop_ns(ks, model_ns(9)); /* and a dropped namespace stays empty while the base still has it */
    ck_ok(ks_get(ks, 9, 6, false, NULL, &v));
    ck_assert_ptr_null(v);
    buf_clear(&b);
    kstate_seal(ks, 3, &b);
    add_changes(a, 3, buf_slice(&b));
    ck_ok(ks_get(ks, 9, 7, false, NULL, &v));
    ck_assert_ptr_null(v);
    ck_assert_uint_eq(kstate_entries(ks), 0);
    applier_complete(a, 3);
    ck_ok(applier_apply(a, 3));
    kstate_close(ks);
    ck_ok(kstate_open(w->env, FP, 0, 0, 1024, &val_codec, &ks));
    ck_assert_uint_eq(kstate_entries(ks), 0);
    kstate_close(ks);
    buf_free(&b);
    applier_free(a);
    world_free(w);
}
END_TEST

/* The base holds complete epochs only, whatever has been handed over. */
START_TEST(the_base_never_holds_an_incomplete_epoch) {
    for (int rocks = 0; rocks < 2; rocks++) {
        world_t *w = world_new(rocks, 0);
        applier_t *a = applier_make(w);
        buf_t b = buf_make(1 << 16), got = buf_make(1 << 16);
        for (epoch_t e = 1; e <= 3; e++) {
            buf_clear(&b);
            change_header(&b);
            char text[8];
            snprintf(text, sizeof text, "v%d", (int)e);
            change_put(&b, 0, slice_str("key"), slice_str(text));
            add_changes(a, e, buf_slice(&b));
        }
        ck_ok(applier_apply(a, 3));
        ck_assert_ptr_null(kstate_env_base(w->env));
        applier_complete(a, 2);
        ck_assert_uint_gt(applier_pending(a), 0);
        ck_ok(applier_apply(a, 3));
        ck_assert_uint_eq(applier_pending(a), 0);
        ck_assert_uint_eq(kstate_env_applied(w->env), 2);
        base_db_t *db = kstate_env_base(w->env);
        bool found;
        int kg = (int)(hash_bytes("key", 3) % 1024);
        ck_ok(db->get(db, FP, 0, kg, 0, slice_str("key"), &got, &found));
        ck_assert(found && slice_eq(buf_slice(&got), slice_str("v2")));
        base_t base;
        ck_fails(applier_checkpoint(a, 1, &base), ERR_INVALID, "epoch 2 has been applied");
        ck_fails(applier_checkpoint(a, 3, &base), ERR_INVALID, "it is not complete");
        buf_free(&b);
        buf_free(&got);
        applier_free(a);
        world_free(w);
    }
}
END_TEST

static err_t *count_one(void *arg, int64_t ns, slice_t key, slice_t value) {
    ++*(int *)arg;
    return NULL;
}
static int count(base_db_t *db, uint64_t fp, int lo, int hi, const int64_t *ns) {
    int n = 0;
    ck_ok(db->scan(db, fp, 0, lo, hi, ns, count_one, &n));
    return n;
}

static err_t *apply_to(void *arg, uint64_t fingerprint, int slot, slice_t changes) {
    base_db_t *db = arg;
    return db->apply(db, fingerprint, slot, changes);
}

/* A MB and more: in order it becomes a table file, else it is written change by change. Three layers of one key: put, put again, deleted. */
START_TEST(many_changes_are_the_same_in_the_base_in_whatever_order_they_come) {
    enum { N = 40000 };
    const char filler[] = "some forty bytes that every value carries";
    for (int in_order = 0; in_order < 2; in_order++) {
        world_t *w = world_new(true, 0);
        base_db_t *db;
        ck_ok(kstate_env_need_base(w->env, &db));
        for (int layer = 0; layer < 3; layer++) {
            buf_t b = buf_make(1 << 26);
            change_header(&b);
            if (layer == 1) change_drop(&b, 5);
            for (uint32_t i = 0; i < N; i++) {
                slice_t key = slice_of(&i, sizeof i);
                char value[64];
                snprintf(value, sizeof value, "%s %d %u", filler, layer, i);
                if (layer == 0) change_put(&b, 5, key, slice_str(value)); /* dropped by the next layer */
                if (layer < 2) change_put(&b, 0, key, slice_str(value));
                else if (i % 2) change_del(&b, 0, key);
                else change_put(&b, 7, key, slice_str(value));
            }
            coalesce_t *c = coalesce_new();
            if (in_order) ck_ok(coalesce_add(c, FP, 0, buf_slice(&b)));
            if (in_order) ck_ok(coalesce_write(c, apply_to, db));
            else ck_ok(db->apply(db, FP, 0, buf_slice(&b)));
            coalesce_free(c);
            buf_free(&b);
        }
        int64_t ns = 5;
        ck_assert_int_eq(count(db, FP, 0, 1024, &ns), 0);
        ns = 0;
        ck_assert_int_eq(count(db, FP, 0, 1024, &ns), N / 2);
        ck_assert_int_eq(count(db, FP, 0, 1024, NULL), N);
        for (uint32_t i = 0; i < N; i += 97) {
            char want[64];
            snprintf(want, sizeof want, "%s 1 %u", filler, i);
            buf_t got = buf_make(1 << 20);
            bool found;
            slice_t key = slice_of(&i, sizeof i);
            ck_ok(db->get(db, FP, 0, (int)(hash_bytes(key.p, key.len) & 1023), 0, key, &got, &found));
            ck_assert_int_eq(found, i % 2 == 0);
            ck_assert(!found || slice_eq(buf_slice(&got), slice_str(want)));
            buf_free(&got);
        }
        world_free(w);
    }
}
END_TEST

/* As the applier does it in rounds: parts of the key groups, large ones as table files, small ones by way of the memtable, which an ingest that
 * does not touch it leaves as it is. RocksDB orders its newest files by the numbers of their rows: those of a memtable that is flushed late lie
 * around those of table files that are merged meanwhile. */
typedef struct layers { uint32_t n; int *kg, *last; } layers_t;
static void apply_layer(base_db_t *db, layers_t *l, int layer, int kg_lo, int kg_hi) {
    static const char filler[160];
    buf_t b = buf_make(1 << 26);
    change_header(&b);
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->kg[i] < kg_lo || l->kg[i] >= kg_hi) continue;
        char value[200];
        int len = snprintf(value, sizeof value, "%d ", layer);
        memcpy(value + len, filler, sizeof filler);
        change_put(&b, 0, slice_of(&i, sizeof i), slice_of(value, (size_t)len + sizeof filler));
        l->last[i] = layer;
    }
    coalesce_t *c = coalesce_new();
    ck_ok(coalesce_add(c, FP, 0, buf_slice(&b)));
    ck_ok(coalesce_write(c, apply_to, db));
    coalesce_free(c);
    buf_free(&b);
}
static err_t *is_last_layer(void *arg, int64_t ns, slice_t key, slice_t value) {
    layers_t *l = arg;
    uint32_t i;
    memcpy(&i, key.p, sizeof i);
    ck_assert_int_eq(atoi((const char *)value.p), l->last[i]);
    l->last[i] = 0;
    return NULL;
}
START_TEST(large_and_small_changes_of_any_key_groups_take_turns_and_the_last_word_of_each_key_stays) {
    enum { N = 40000 };
    layers_t l = {.n = N, .kg = xcalloc(N, sizeof(int)), .last = xcalloc(N, sizeof(int))};
    for (uint32_t i = 0; i < N; i++) l.kg[i] = (int)(hash_bytes(&i, sizeof i) & 1023);
    for (int files = 4; files <= 8; files++) { /* one of them makes it merge behind the checkpoint's flush */
        world_t *w = world_new(true, 0);
        base_db_t *db;
        ck_ok(kstate_env_need_base(w->env, &db));
        int layer = 0;
        for (int i = 0; i < 2; i++) apply_layer(db, &l, ++layer, 0, 1000);
        apply_layer(db, &l, ++layer, 1010, 1011);
        for (int i = 0; i < files; i++) apply_layer(db, &l, ++layer, 10 * i, 11 * i + 80);
        apply_layer(db, &l, ++layer, 1011, 1012);
        char dir[160];
        snprintf(dir, sizeof dir, "%s/cp", w->tmp.path);
        ck_ok(db->checkpoint(db, dir)); /* the memtables become files, too */
        struct timespec merges = {0, 200000000};
        nanosleep(&merges, NULL);
        for (int i = 0; i < 8; i++) apply_layer(db, &l, ++layer, 0, 90);
        ck_ok(db->scan(db, FP, 0, 0, 1024, NULL, is_last_layer, &l));
        for (uint32_t i = 0; i < N; i++) ck_assert_int_eq(l.last[i], 0);
        world_free(w);
    }
    free(l.kg);
    free(l.last);
}
END_TEST

/* RocksDB's own log: where the disk is full a line of it would end the process. */
static void nothing_logged(const char *dir) {
    char path[200];
    struct stat st;
    snprintf(path, sizeof path, "%s/LOG", dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
}

START_TEST(a_base_drops_loads_parts_and_survives_as_checkpoint) {
    for (int rocks = 0; rocks < 2; rocks++) {
        world_t *w = world_new(rocks, 0);
        base_db_t *db, *other;
        ck_ok(kstate_env_need_base(w->env, &db));
        ck_ok(open_base(w, &other));
        buf_t b = buf_make(1 << 22);
        put_range(&b, 0, 6000, "value");
        ck_ok(db->apply(db, FP, 0, buf_slice(&b)));
        ck_ok(db->apply(db, 77, 0, buf_slice(&b)));
        ck_assert_int_eq(count(db, FP, 0, 1024, NULL), 6000);
        int64_t ns = 1;
        ck_assert_int_eq(count(db, FP, 0, 1024, &ns), 2000);
        buf_clear(&b);
        change_header(&b);
        change_drop_range(&b, 1, 0, 1024);
        int k = 1;
        change_put(&b, 1, slice_of(&k, sizeof k), slice_str("back"));
        ck_ok(db->apply(db, FP, 0, buf_slice(&b)));
        ck_assert_int_eq(count(db, FP, 0, 1024, &ns), 1);
        ck_assert_int_eq(count(db, FP, 0, 1024, NULL), 4001);
        char dir[160];
        snprintf(dir, sizeof dir, "%s/cp", w->tmp.path);
        ck_ok(db->checkpoint(db, dir));
        put_range(&b, 6000, 7000, "after the checkpoint");
        ck_ok(db->apply(db, FP, 0, buf_slice(&b)));
        ck_ok(other->load_op(other, dir, FP, 0, 300)); /* one operator, some key groups */
        int part = count(other, FP, 0, 1024, NULL);
        ck_assert_int_eq(part, count(other, FP, 0, 300, NULL));
        ck_assert(part > 800 && part < 1600);
        ck_assert_int_eq(count(other, 77, 0, 1024, NULL), 0);
        ck_ok(other->load(other, dir, 0, 1024));
        ck_assert_int_eq(count(other, FP, 0, 1024, NULL), 4001);
        ck_assert_int_eq(count(other, 77, 0, 1024, NULL), 6000);
        if (rocks) nothing_logged(w->live);
        db->discard(db, dir);
        err_t *e = other->load(other, dir, 0, 1024);
        ck_assert_ptr_nonnull(e);
        err_free(e);
        if (rocks) ck_fails(base_open_rocks(w->live, 1 << 20, true, &db), ERR_EXISTS, "holds a state base already");
        other->close(other);
        buf_free(&b);
        world_free(w);
    }
}
END_TEST

static err_t *is_new(void *arg, int64_t ns, slice_t key, slice_t value) {
    ck_assert(slice_eq(value, slice_str("a value of some length that is the same for all that was loaded")));
    ++*(int *)arg;
    return NULL;
}

/* More than a batch: the rest comes as table files, over what the base has of the same keys in memory and in files, and beneath what comes later. */
START_TEST(what_is_loaded_of_a_large_base_covers_what_was_there_and_is_covered_by_what_follows) {
    world_t *w = world_new(true, 0);
    base_db_t *db, *other, *again;
    ck_ok(kstate_env_need_base(w->env, &db));
    ck_ok(open_base(w, &other));
    buf_t b = buf_make(1 << 24);
    put_range(&b, 0, 60000, "a value of some length that is the same for all that was loaded");
    ck_ok(db->apply(db, FP, 0, buf_slice(&b)));
    ck_ok(db->apply(db, 77, 1, buf_slice(&b)));
    AUTO(auto_free) char *dir = xprintf("%s/cp", w->tmp.path), *second = xprintf("%s/cp2", w->tmp.path), *live = xprintf("%s/again", w->tmp.path);
    ck_ok(db->checkpoint(db, dir));
    for (int big = 0; big < 2; big++) {
        buf_clear(&b);
        put_range(&b, 0, big ? 50000 : 3000, "old"); /* a table file, and then what stays in memory */
        ck_ok(other->apply(other, FP, 0, buf_slice(&b)));
    }
    buf_clear(&b);
    put_range(&b, 100, 3000, "older than what is loaded");
    ck_ok(other->apply(other, FP, 0, buf_slice(&b)));
    ck_ok(other->load_op(other, dir, FP, 0, 500));
    ck_ok(other->load_op(other, dir, FP, 500, 1024));
    int seen = 0;
    ck_ok(other->scan(other, FP, 0, 0, 1024, NULL, is_new, &seen));
    ck_assert_int_eq(seen, 60000);
    ck_assert_int_eq(count(other, 77, 0, 1024, NULL), 0);
    ck_ok(other->load(other, dir, 0, 1024));
    ck_assert_int_eq(count(other, 77, 0, 1024, NULL), 0); /* of slot 0 */
    seen = 0;
    ck_ok(other->scan(other, 77, 1, 0, 1024, NULL, is_new, &seen));
    ck_assert_int_eq(seen, 60000);
    buf_clear(&b);
    change_header(&b);
    change_drop_range(&b, 1, 0, 1024);
    ck_ok(other->apply(other, FP, 0, buf_slice(&b)));
    ck_assert_int_eq(count(other, FP, 0, 1024, NULL), 40000);
    ck_ok(other->checkpoint(other, second));
    ck_ok(base_open_rocks(live, 16 << 20, true, &again));
    ck_ok(again->load(again, second, 0, 1024));
    ck_assert_int_eq(count(again, FP, 0, 1024, NULL), 40000);
    again->close(again);
    other->close(other);
    buf_free(&b);
    world_free(w);
}
END_TEST

/* The second checkpoint stores what is new; a full disk leaves nothing half done. */
START_TEST(checkpoints_are_incremental_and_repeatable) {
    world_t *w = world_new(true, 0);
    bad_disk_t bad = bad_disk(w->disk, 0, ERR_NO_SPACE);
    applier_conf_t c = {w->env, &bad.vt, {1, 1, 1, 1, "w"}, w->tmp.path, 1, &whole};
    applier_t *a = applier_new(&c);
    buf_t b = buf_make(1 << 24);
    put_range(&b, 0, 100000, "a value of some length that is the same for all");
    add_changes(a, 1, buf_slice(&b));
    applier_complete(a, 1);
    base_t one = {0}, two = {0};
    for (bad.at = 1;; bad.at++) { /* every call fails once */
        bad.calls = 0;
        err_t *e = applier_checkpoint(a, 1, &one);
        if (!e) break;
        ck_assert_int_eq(err_code(e), ERR_NO_SPACE);
        err_free(e);
        ck_assert_int_lt(bad.at, 50);
    }
    ck_assert_int_gt(bad.at, 1);
    bad.at = 0;
    uint64_t first = applier_stored_bytes(a);
    put_range(&b, 5, 10, "changed");
    add_changes(a, 2, buf_slice(&b));
    applier_complete(a, 2);
    ck_ok(applier_checkpoint(a, 2, &two));
    uint64_t second = applier_stored_bytes(a) - first;
    ck_assert_msg(second * 10 < first, "%d bytes after %d", (int)second, (int)first);
    int shared = 0;
    for (int i = 0; i < one.nfiles; i++)
        for (int j = 0; j < two.nfiles; j++) shared += strcmp(one.files[i].path, two.files[j].path) == 0;
    ck_assert_int_ge(shared, 1);
    base_meta_t meta;
    ck_ok(base_meta_read(w->disk, 1, &two, &meta));
    ck_assert(meta.epoch == 2 && meta.attempt == 1 && meta.nranges == 1 && meta.ranges[0].kg_hi == 1024);
    base_meta_done(&meta);
    base_done(&one);
    base_done(&two);
    buf_free(&b);
    applier_free(a);
    world_free(w);
}
END_TEST

static err_t *hear(void *arg, uint64_t fingerprint, int slot, slice_t changes) {
    reader_t r = reader_of(changes);
    ck_assert(change_begin(&r));
    change_t c;
    while (change_next(&r, &c))
        buf_printf(arg, "%s%d%.*s%s%.*s ", c.kind == CHANGE_PUT ? "+" : c.kind == CHANGE_DEL ? "-" : "x", (int)c.ns, (int)c.key.len,
                   (const char *)c.key.p, c.kind == CHANGE_PUT ? "=" : "", (int)c.value.len, (const char *)c.value.p);
    return NULL;
}
START_TEST(coalescing_keeps_the_last_word_of_each_key) {
    coalesce_t *c = coalesce_new();
    buf_t b = buf_make(4096), heard = buf_make(4096);
    change_header(&b);
    change_put(&b, 1, slice_str("a"), slice_str("1"));
    change_put(&b, 2, slice_str("b"), slice_str("1"));
    change_put(&b, 2, slice_str("c"), slice_str("1"));
    change_del(&b, 1, slice_str("a"));
    ck_ok(coalesce_add(c, FP, 0, buf_slice(&b)));
    buf_clear(&b);
    change_header(&b);
    change_drop(&b, 2);
    change_put(&b, 2, slice_str("c"), slice_str("2"));
    change_drop(&b, 9);
    ck_ok(coalesce_add(c, FP, 0, buf_slice(&b)));
    ck_ok(coalesce_write(c, hear, &heard));
    ck_assert(strncmp(buf_cstr(&heard), "x2 x9 ", 6) == 0);
    ck_assert(strstr((char *)heard.data, "-1a ") && strstr((char *)heard.data, "+2c=2 "));
    ck_assert_uint_eq(heard.len, strlen("x2 x9 -1a +2c=2 "));
    coalesce_free(c);
    buf_free(&b);
    buf_free(&heard);
}
END_TEST

/* What takes long in a restore (a base loaded into another, a scan that fills the tables) ends at the next row of a cancelled attempt. */
static atomic_bool cancelled;
static err_t *cancel_at_ten(void *arg, int64_t ns, slice_t key, slice_t value) {
    if (++*(int *)arg == 10) atomic_store(&cancelled, true);
    return NULL;
}
START_TEST(a_scan_and_a_load_end_when_their_attempt_is_cancelled) {
    world_t *w = world_new(true, 0);
    applier_t *a = applier_make(w);
    buf_t b = buf_make(1 << 20);
    put_range(&b, 0, 5000, "value");
    add_changes(a, 1, buf_slice(&b));
    applier_complete(a, 1);
    ck_ok(applier_apply(a, 1));
    base_db_t *db = kstate_env_base(w->env);
    AUTO(auto_free) char *dir = xprintf("%s/cp", w->tmp.path), *live = xprintf("%s/other", w->tmp.path);
    ck_ok(db->checkpoint(db, dir));
    db->cancel = &cancelled;
    int seen = 0;
    ck_fails(db->scan(db, FP, 0, 0, 1024, NULL, cancel_at_ten, &seen), ERR_CANCELLED, "the attempt was stopped");
    ck_assert_int_eq(seen, 10);
    base_db_t *other;
    ck_ok(base_open_rocks(live, 16 << 20, true, &other));
    other->cancel = &cancelled;
    ck_fails(other->load_op(other, dir, FP, 0, 1024), ERR_CANCELLED, "the attempt was stopped");
    other->cancel = NULL;
    ck_assert_int_eq(count(other, FP, 0, 1024, NULL), 0);
    other->close(other);
    atomic_store(&cancelled, false);
    db->cancel = NULL;
    buf_free(&b);
    applier_free(a);
    world_free(w);
}
END_TEST

TESTS("base", maps_below_keys_equal_the_model_and_lie_in_the_key_groups_of_their_keys,
      a_scan_and_a_load_end_when_their_attempt_is_cancelled, a_scan_of_a_namespace_larger_than_memory_takes_a_portion_of_it_at_a_time,
      what_a_scan_deletes_of_evicted_entries_is_sealed_and_stays_deleted, a_drop_of_some_key_groups_takes_evicted_entries_along,
      a_value_that_grows_within_an_epoch_is_seen_to_grow, eviction_equals_the_model_over_the_ordered_map, eviction_equals_the_model_over_rocksdb,
      an_epoch_larger_than_a_round_goes_into_the_base_in_parts, sources_wait_for_the_barrier_before_one_epoch_is_too_large_to_be_copied,
      sources_are_held_while_changes_are_on_their_way_into_the_base_and_never_else, what_survives_an_eviction_does_not_keep_the_memory_of_what_left,
      a_base_upload_is_cancelled_before_its_next_file,
      a_deleted_value_does_not_rise_again_from_the_base, the_base_never_holds_an_incomplete_epoch,
      a_base_drops_loads_parts_and_survives_as_checkpoint, what_is_loaded_of_a_large_base_covers_what_was_there_and_is_covered_by_what_follows,
      checkpoints_are_incremental_and_repeatable,
      large_and_small_changes_of_any_key_groups_take_turns_and_the_last_word_of_each_key_stays,
      many_changes_are_the_same_in_the_base_in_whatever_order_they_come, coalescing_keeps_the_last_word_of_each_key)
