/* Evicted ahead of the base: it has none of it yet, so what lies in the spill may not be lost, whatever happens to its files. */
#include "tests/state/world.h"
#include <sys/mman.h>
#include <unistd.h>

static uint64_t asked; /* keys that the base was asked for */
static int fd_last;
static bool no_room;
static err_t *(*real_get)(base_db_t *b, uint64_t fingerprint, int slot, int kg, int64_t ns, slice_t key, buf_t *ret, bool *ret_found);
static err_t *counting_get(base_db_t *b, uint64_t fingerprint, int slot, int kg, int64_t ns, slice_t key, buf_t *ret, bool *ret_found) {
    asked++;
    return real_get(b, fingerprint, slot, kg, ns, key, ret, ret_found);
}
static int refused;
static int some_scratch(base_db_t *b, uint64_t bytes) {
    refused += no_room;
    return no_room ? -1 : (fd_last = memfd_create("spill", MFD_CLOEXEC));
}

/* Epochs that are sealed and complete, and not in the base. */
typedef struct story { world_t *w; applier_t *a; kstate_t *ks; epoch_t sealed; } story_t;

static void seal(story_t *s) {
    buf_t b = buf_make(1 << 26);
    kstate_seal(s->ks, ++s->sealed, &b);
    ck_assert(!b.overflow);
    add_changes(s->a, s->sealed, buf_slice(&b));
    buf_free(&b);
    applier_complete(s->a, s->sealed);
}

static story_t begin(bool rocks, size_t memory) {
    story_t s = {.w = world_new(rocks, memory)};
    base_db_t *b;
    ck_ok(kstate_env_need_base(s.w->env, &b));
    real_get = b->get;
    b->get = counting_get;
    b->scratch = some_scratch;
    asked = 0;
    no_room = false;
    s.a = applier_make(s.w);
    s.ks = table_open(s.w);
    kstate_unscanned(s.ks);
    return s;
}

static void end(story_t *s) { world_end(s->w, s->a, s->ks); }

/* n numbers, sealed and nearly all evicted. */
static story_t evicted(uint64_t n) {
    story_t s = begin(false, 64 << 20);
    for (uint64_t i = 0; i < n; i++) ((val_t *)number_of(s.ks, i, true))->number = i;
    seal(&s);
    kstate_env_set_memory(s.w->env, kstate_bytes(s.ks) / 10);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s.ks));
    ck_assert_uint_gt(kstate_evicted(s.ks), n * 8 / 10);
    ck_assert_uint_eq(kstate_env_applied(s.w->env), 0);
    return s;
}

static void all_there(story_t *s, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        const val_t *v = number_of(s->ks, i, false);
        ck_assert_msg(v && v->number == i, "%d is %s", (int)i, v ? "another" : "lost");
        if (i % 100 == 0) ck_ok(kstate_evict(s->ks));
    }
    ck_assert_uint_eq(kstate_entries(s->ks), n);
}

START_TEST(what_the_base_does_not_have_yet_is_evicted_and_comes_back_and_nobody_asks_the_base_to_follow) {
    enum { N = 20000 };
    story_t s = evicted(N);
    all_there(&s, N);
    all_there(&s, N);
    ck_assert_ptr_null(number_of(s.ks, N, false));
    ck_assert_uint_eq(asked, 0);
    ck_assert(!kstate_env_short(s.w->env) && !kstate_env_follows(s.w->env));
    ck_ok(applier_apply(s.a, s.sealed));
    kstate_forget(s.ks);
    ck_ok(kstate_reload(s.ks));
    all_there(&s, N);
    end(&s);
}
END_TEST

/* First hashes of pages are what grows with what is evicted: a fifty times of what is in memory still finds room for them. */
START_TEST(a_state_of_fifty_times_its_memory_goes_on_in_its_files) {
    enum { N = 300000, EACH = 1000, MEMORY = 256 << 10 };
    story_t s = begin(false, MEMORY);
    for (uint64_t i = 0; i < N; i += EACH) {
        for (uint64_t k = i; k < i + EACH; k++) ((val_t *)number_of(s.ks, k, true))->number = k;
        seal(&s);
        ck_ok(kstate_evict(s.ks));
    }
    ck_assert_uint_gt(kstate_evicted(s.ks), N - N / 50);
    ck_assert(!kstate_env_follows(s.w->env)); /* it would, with files that take no more */
    for (uint64_t k = 0; k < N; k += 97) {
        const val_t *v = number_of(s.ks, k, false);
        ck_assert(v && v->number == k);
    }
    ck_assert_uint_eq(asked, 0);
    end(&s);
}
END_TEST

START_TEST(a_state_that_is_scanned_waits_for_the_base) {
    enum { N = 5000 };
    story_t s = begin(false, 64 << 20);
    kstate_close(s.ks);
    s.ks = table_open(s.w);
    for (uint64_t i = 0; i < N; i++) ((val_t *)number_of(s.ks, i, true))->number = i;
    seal(&s);
    kstate_env_set_memory(s.w->env, kstate_bytes(s.ks) / 10);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s.ks));
    ck_assert_uint_eq(kstate_evicted(s.ks), 0);
    ck_assert(kstate_env_short(s.w->env) && kstate_env_follows(s.w->env));
    end(&s);
}
END_TEST

/* The base has the numbers, what is ahead of it has a thousand more, and of each tenth the end. */
static story_t behind(bool rocks) {
    enum { N = 20000 };
    story_t s = begin(rocks, 64 << 20);
    for (uint64_t i = 0; i < N; i++) ((val_t *)number_of(s.ks, i, true))->number = i;
    seal(&s);
    ck_ok(applier_apply(s.a, s.sealed));
    kstate_env_set_memory(s.w->env, kstate_bytes(s.ks) / 10);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s.ks));
    for (uint64_t i = 0; i < N; i++) {
        val_t *v = number_of(s.ks, i, false);
        kstate_dirty(s.ks, v);
        v->number += 1000;
        if (i % 10 == 0) kstate_delete(s.ks, v);
        if (i % 100 == 0) ck_ok(kstate_evict(s.ks));
        if (i % 1000 == 0) seal(&s);
    }
    seal(&s);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s.ks));
    return s;
}

static void sweep_all(story_t *s) {
    enum { N = 20000 };
    kstate_scan_t scan = {.ns = 0, .weak = true};
    void *values[256];
    uint64_t all = 0;
    for (uint32_t n = 1; n; all += n) {
        ck_ok(kstate_scan(s->ks, &scan, values, ARRAY_LEN(values), &n));
        for (uint32_t i = 0; i < n; i++) {
            uint64_t k;
            memcpy(&k, kstate_key(s->ks, values[i]).p, sizeof k);
            ck_assert_msg(k % 10 && ((val_t *)values[i])->number == k + 1000, "the scan meets %d as the base had it", (int)k);
        }
    }
    ck_assert_uint_eq(all, N - N / 10);
    ck_assert_uint_eq(kstate_entries(s->ks), all);
}

START_TEST(a_weak_scan_meets_what_is_evicted_ahead_as_it_is_and_never_as_the_base_has_it) {
    story_t s = behind(false);
    sweep_all(&s);
    ck_assert(!kstate_env_follows(s.w->env));
    end(&s);
}
END_TEST

/* A walk of RocksDB sees it as it was when it began. */
typedef err_t *(*base_row_fn)(void *arg, slice_t key, slice_t value, bool *ret_more);
static story_t *racing;
static err_t *(*real_walk)(base_db_t *b, uint64_t fingerprint, int slot, int64_t ns, int *kg, int kg_hi, buf_t *from, base_row_fn fn, void *arg);
typedef struct row_of { base_row_fn fn; void *arg; } row_of_t;

static err_t *apply_first(void *arg, slice_t key, slice_t value, bool *ret_more) {
    row_of_t *r = arg;
    if (racing) ck_ok(applier_apply(racing->a, racing->sealed));
    racing = NULL;
    return r->fn(r->arg, key, value, ret_more);
}
static err_t *racing_walk(base_db_t *b, uint64_t fingerprint, int slot, int64_t ns, int *kg, int kg_hi, buf_t *from, base_row_fn fn, void *arg) {
    row_of_t r = {fn, arg};
    return real_walk(b, fingerprint, slot, ns, kg, kg_hi, from, apply_first, &r);
}

START_TEST(a_weak_scan_during_which_the_base_gets_what_was_ahead_of_it_does_not_meet_what_the_base_had_before) {
    story_t s = behind(true);
    base_db_t *b = kstate_env_base(s.w->env);
    real_walk = b->walk;
    b->walk = racing_walk;
    racing = &s;
    sweep_all(&s);
    ck_assert_ptr_null(racing);
    end(&s);
}
END_TEST

START_TEST(where_the_disk_is_full_what_was_put_is_told_and_the_rest_waits_for_the_base) {
    enum { N = 20000 };
    story_t s = evicted(N);
    no_room = true;
    for (uint64_t i = 0; i < N; i++) { /* back and forth, until something had to be written */
        ck_assert_uint_eq(((val_t *)number_of(s.ks, i, false))->number, i);
        if (i % 100 == 0) ck_ok(kstate_evict(s.ks));
    }
    ck_assert(kstate_env_follows(s.w->env) && kstate_env_spill_full(s.w->env));
    ck_ok(kstate_evict(s.ks));
    ck_assert(kstate_env_short(s.w->env)); /* the base thread hears of it */
    uint64_t stays = kstate_evicted(s.ks);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s.ks));
    ck_assert_uint_eq(kstate_evicted(s.ks), stays);
    all_there(&s, N);
    ck_assert_uint_eq(asked, 0);
    ck_ok(applier_apply(s.a, s.sealed));
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s.ks));
    ck_assert_uint_gt(kstate_evicted(s.ks), N * 8 / 10); /* the old way */
    ck_assert_int_eq(kstate_env_spill_full(s.w->env), 1);
    all_there(&s, N);
    ck_assert_uint_gt(asked, N / 2);
    no_room = false;
    for (uint64_t i = 0; i < N; i++) kstate_delete(s.ks, number_of(s.ks, i, false));
    seal(&s);
    ck_ok(applier_apply(s.a, s.sealed));
    for (uint64_t i = 0; i < N; i++) ck_assert_ptr_null(number_of(s.ks, i, false));
    end(&s);
}
END_TEST

/* Each epoch a third of the keys come, change and are evicted again, the others stay where they are; the base follows.
 * *ret_full: of how many epochs there were no files. */
static void epochs(story_t *s, uint64_t n, int count, uint64_t *number, int *ret_full) {
    *ret_full = 0;
    for (int e = 0; e < count; e++) {
        for (uint64_t i = 0; i < n; i++) {
            if ((i + (uint64_t)e) % 3) continue;
            val_t *v = number_of(s->ks, i, false);
            ck_assert_msg(v && v->number == number[i], "%d is %s", (int)i, v ? "another" : "lost");
            kstate_dirty(s->ks, v);
            v->number = ++number[i];
        }
        seal(s);
        ck_ok(applier_apply(s->a, s->sealed));
        for (int i = 0; i < 4; i++) ck_ok(kstate_evict(s->ks));
        *ret_full += kstate_env_spill_full(s->w->env);
    }
}

START_TEST(files_are_tried_again_ever_more_seldom_while_there_is_no_room_and_then_the_base_is_not_asked) {
    enum { N = 600 };
    story_t s = evicted(N);
    uint64_t number[N];
    int full;
    for (uint64_t i = 0; i < N; i++) number[i] = i;
    no_room = true;
    refused = 0;
    epochs(&s, N, 1200, number, &full);
    ck_assert_int_ge(full, 1100);
    ck_assert_msg(refused > 4 && refused < 12, "%d tries", refused);
    uint64_t before = asked;
    ck_assert_uint_gt(before, 100 * N);
    no_room = false;
    epochs(&s, N, 300, number, &full);
    ck_assert_int_lt(full, 257);
    ck_assert_int_eq(kstate_env_spill_full(s.w->env), 0);
    before = asked;
    epochs(&s, N, 10, number, &full);
    ck_assert_uint_eq(asked, before); /* each was evicted, so put, since */
    ck_assert(!kstate_env_short(s.w->env));
    no_room = true;
    epochs(&s, N, 40, number, &full);
    ck_assert_int_gt(full, 30);
    no_room = false;
    for (uint64_t i = 0; i < N; i++) kstate_delete(s.ks, number_of(s.ks, i, false));
    seal(&s);
    ck_ok(applier_apply(s.a, s.sealed));
    for (uint64_t i = 0; i < N; i++) ck_assert_ptr_null(number_of(s.ks, i, false));
    ck_assert_uint_eq(kstate_evicted(s.ks), 0);
    ck_assert_int_eq(kstate_env_spill_full(s.w->env), 0); /* nothing needs a file */
    end(&s);
}
END_TEST

/* K and then D in one batch: with K nothing is evicted any more, and the files go. D's end is on its way to the base, which has its value of before. */
START_TEST(the_last_evicted_key_comes_back_beside_one_that_is_gone_and_that_the_base_still_has) {
    enum { N = 3000, K = 17, D = 18 };
    story_t s = begin(false, 64 << 20);
    for (uint64_t i = 0; i < N; i++) ((val_t *)number_of(s.ks, i, true))->number = i;
    seal(&s);
    ck_ok(applier_apply(s.a, s.sealed));
    kstate_delete(s.ks, number_of(s.ks, D, false));
    seal(&s);
    kstate_env_set_memory(s.w->env, 1);
    for (int i = 0; i < 40; i++) ck_ok(kstate_evict(s.ks));
    ck_assert_uint_eq(kstate_evicted(s.ks), N - 1);
    kstate_env_set_memory(s.w->env, 64 << 20);
    for (uint64_t i = 0; i < N; i++)
        if (i != K && i != D) ck_assert_uint_eq(((val_t *)number_of(s.ks, i, false))->number, i);
    ck_assert_uint_eq(kstate_evicted(s.ks), 1);
    uint64_t key[] = {K, D}, hash[] = {hash_bytes(&key[0], sizeof key[0]), hash_bytes(&key[1], sizeof key[1])};
    uint32_t off[] = {0, 8, 16};
    kstate_keys_t k = {.n = 2, .hash = hash, .bytes = (const uint8_t *)key, .off = off, .there = true};
    void *got[2];
    ck_ok(kstate_get_many(s.ks, &k, got));
    ck_assert(got[0] && ((val_t *)got[0])->number == K);
    ck_assert_ptr_null(got[1]);
    end(&s);
}
END_TEST

START_TEST(what_cannot_be_read_back_is_an_error_until_the_base_has_it) {
    enum { N = 20000 };
    for (int applied = 0; applied < 2; applied++) {
        story_t s = evicted(N);
        if (applied) ck_ok(applier_apply(s.a, s.sealed));
        uint8_t bad[64];
        memset(bad, 0xa5, sizeof bad);
        for (off_t at = 256; at < lseek(fd_last, 0, SEEK_END); at += 1024) ck_assert_int_eq(pwrite(fd_last, bad, sizeof bad, at), sizeof bad);
        int errors = 0;
        for (uint64_t i = 0; i < N; i++) {
            void *v;
            err_t *e = kstate_get(s.ks, 0, hash_bytes(&i, sizeof i), slice_of(&i, sizeof i), true, NULL, &v);
            ck_assert_msg(e || ((val_t *)v)->number == i, "%d was lost silently", (int)i);
            errors += e != NULL;
            if (e) ck_assert(strstr(err_text(e), "cannot be read back") != NULL);
            err_free(e);
        }
        if (applied) ck_assert_int_eq(errors, 0);
        else ck_assert_int_gt(errors, N / 2);
        end(&s);
    }
}
END_TEST

static void set_text(story_t *s, uint64_t i) {
    val_t *v = number_of(s->ks, i, false);
    free(v->text);
    v->text = xprintf("%05000d", 1);
    kstate_dirty(s->ks, v);
}

START_TEST(a_value_that_fits_no_page_stays_and_where_there_are_many_they_wait_for_the_base) {
    enum { N = 20000 };
    story_t s = evicted(N);
    uint64_t large = 7;
    set_text(&s, large);
    seal(&s);
    for (int i = 0; i < 6; i++) ck_ok(kstate_evict(s.ks));
    ck_assert(!kstate_env_follows(s.w->env)); /* the others go ahead still */
    all_there(&s, N);
    for (uint64_t i = 0; i < 100; i++) set_text(&s, i);
    seal(&s);
    for (int i = 0; i < 6; i++) ck_ok(kstate_evict(s.ks));
    ck_assert(kstate_env_follows(s.w->env));
    all_there(&s, N);
    ck_assert_uint_eq(strlen(((val_t *)number_of(s.ks, large, false))->text), 5000);
    ck_assert_uint_eq(asked, 0);
    ck_ok(applier_apply(s.a, s.sealed));
    kstate_env_set_memory(s.w->env, 1);
    for (int i = 0; i < 6; i++) ck_ok(kstate_evict(s.ks));
    ck_assert_uint_eq(kstate_evicted(s.ks), N);
    all_there(&s, N);
    ck_assert_uint_eq(strlen(((val_t *)number_of(s.ks, large, false))->text), 5000);
    end(&s);
}
END_TEST

/* Values that own nothing are logged as they change. */
static void plain_encode(void *ctx, const void *v, buf_t *out) { buf_put_u64(out, *(const uint64_t *)v); }
static bool plain_decode(void *ctx, slice_t bytes, void *v) {
    reader_t r = reader_of(bytes);
    *(uint64_t *)v = read_u64(&r);
    return !r.bad;
}
static const kstate_codec_t plain = {.value_size = 8, .encode = plain_encode, .decode = plain_decode};

static void add_one(story_t *s, uint64_t from, uint64_t n, uint64_t want) {
    for (uint64_t at = from; at < from + n; at += 100) {
        uint64_t keys[100], hash[100];
        uint32_t off[101] = {0};
        void *got[100];
        for (uint32_t i = 0; i < 100; i++) {
            keys[i] = at + i;
            hash[i] = hash_bytes(&keys[i], sizeof keys[i]);
            off[i + 1] = off[i] + (uint32_t)sizeof keys[i];
        }
        kstate_keys_t k = {100, hash, (const uint8_t *)keys, off, NULL, NULL, true};
        ck_ok(kstate_get_many(s->ks, &k, got));
        for (int i = 0; i < 100; i++) ck_assert_uint_eq((*(uint64_t *)got[i])++, want);
        kstate_changed(s->ks, got, 100);
        ck_ok(kstate_evict(s->ks));
    }
}

START_TEST(what_was_written_down_already_is_evicted_within_its_epoch_and_the_seal_has_it) {
    enum { N = 20000 };
    story_t s = begin(false, 64 << 20);
    kstate_close(s.ks);
    ck_ok(kstate_open(s.w->env, FP, 0, 0, 1024, &plain, &s.ks));
    kstate_unscanned(s.ks);
    add_one(&s, 0, N, 0);
    seal(&s);
    kstate_env_set_memory(s.w->env, kstate_bytes(s.ks) / 10);
    add_one(&s, 0, N, 1); /* as most are met once in an epoch they are logged */
    ck_assert_uint_gt(kstate_evicted(s.ks), N * 8 / 10);
    add_one(&s, 0, 1000, 2); /* once more in the same epoch */
    ck_ok(applier_apply(s.a, s.sealed));
    ck_assert(kstate_env_unsealed(s.w->env));
    add_one(&s, 1000, 1000, 2);
    seal(&s);
    ck_ok(applier_apply(s.a, s.sealed));
    kstate_forget(s.ks);
    ck_ok(kstate_reload(s.ks));
    add_one(&s, 0, 2000, 3);
    add_one(&s, 2000, N - 2000, 2);
    end(&s);
}
END_TEST

/* A portion of a sweep: each has the value it was given last. Some are deleted. */
static void sweep_some(story_t *s, kstate_scan_t *sweep, rng_t *rng, uint64_t *number) {
    void *values[16];
    uint32_t n;
    ck_ok(kstate_scan(s->ks, sweep, values, ARRAY_LEN(values), &n));
    for (uint32_t i = 0; i < n; i++) {
        uint64_t k;
        memcpy(&k, kstate_key(s->ks, values[i]).p, sizeof k);
        ck_assert_msg(number[k] && val_is(values[i], number[k]), "a sweep meets %d as it was", (int)k);
        if (rng_below(rng, 8)) continue;
        kstate_delete(s->ks, values[i]);
        number[k] = 0;
    }
}

/* Made, changed, deleted, made again, dropped, swept, while the base follows late and files come to an end: as a table that evicts nothing. At times all is
 * forgotten and comes back from the base, as a restore has it. */
static void long_life(bool rocks, uint64_t seed) {
    enum { N = 3000 };
    story_t s = begin(rocks, 96 << 10);
    static uint64_t number[N]; /* 0: there is none */
    memset(number, 0, sizeof number);
    rng_t rng;
    rng_seed(&rng, seed);
    uint64_t next = 0, most = 0;
    kstate_scan_t sweep = {.ns = 0, .weak = true};
    for (int i = 0; i < 150000; i++) {
        uint64_t k = rng_below(&rng, rng_below(&rng, 3) ? N : N / 10), what = rng_below(&rng, 100);
        val_t *v;
        ck_ok(kstate_get(s.ks, 0, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), what < 60, NULL, (void **)&v));
        ck_assert_msg(number[k] ? v && val_is(v, number[k]) : !v || what < 60, "key %d at %d", (int)k, i);
        if (what < 60) {
            kstate_dirty(s.ks, v);
            val_set(v, number[k] = ++next);
            if (seed % 2 && next % 9973 == 0) val_set(v, number[k] = next += 5 - next % 5); /* an owned text */
        } else if (what < 75 && v) {
            kstate_delete(s.ks, v);
            number[k] = 0;
        }
        if (i % 50 == 0) {
            kstate_measure(s.ks);
            ck_ok(kstate_evict(s.ks));
        }
        if (kstate_evicted(s.ks) > most) most = kstate_evicted(s.ks);
        if (rng_below(&rng, 200) == 0) seal(&s);
        if (seed % 2 == 0 && rng_below(&rng, 100) == 0) sweep_some(&s, &sweep, &rng, number);
        if (rng_below(&rng, 3000) == 0) ck_ok(applier_apply(s.a, s.sealed - rng_below(&rng, MIN(s.sealed + 1, (epoch_t)3))));
        if (rng_below(&rng, 8000) == 0) no_room = !no_room && seed % 3 == 0;
        if (rng_below(&rng, 30000) == 0) {
            kstate_drop_ns(s.ks, 0);
            memset(number, 0, sizeof number);
        }
        if (rng_below(&rng, 20000) == 0) {
            kstate_scan_stop(s.ks, &sweep);
            seal(&s);
            ck_ok(applier_apply(s.a, s.sealed));
            kstate_forget(s.ks);
            ck_ok(kstate_reload(s.ks));
        }
    }
    kstate_scan_stop(s.ks, &sweep);
    ck_assert_msg(most > N / 3, "only %d were ever evicted", (int)most);
    for (int restored = 0; restored < 2; restored++) {
        for (uint64_t k = 0; k < N; k++) {
            val_t *v = number_of(s.ks, k, false);
            ck_assert(number[k] ? v && val_is(v, number[k]) : !v);
        }
        seal(&s);
        ck_ok(applier_apply(s.a, s.sealed));
        kstate_forget(s.ks);
        ck_ok(kstate_reload(s.ks));
    }
    end(&s);
}

START_TEST(a_table_that_evicts_ahead_of_the_base_equals_one_that_evicts_nothing) {
    for (uint64_t seed = 1; seed <= 9; seed++) long_life(false, seed);
    long_life(true, 3);
    long_life(true, 4);
}
END_TEST

TESTS("ahead", what_the_base_does_not_have_yet_is_evicted_and_comes_back_and_nobody_asks_the_base_to_follow,
      a_state_that_is_scanned_waits_for_the_base, a_state_of_fifty_times_its_memory_goes_on_in_its_files,
      a_weak_scan_meets_what_is_evicted_ahead_as_it_is_and_never_as_the_base_has_it,
      a_weak_scan_during_which_the_base_gets_what_was_ahead_of_it_does_not_meet_what_the_base_had_before,
      where_the_disk_is_full_what_was_put_is_told_and_the_rest_waits_for_the_base,
      files_are_tried_again_ever_more_seldom_while_there_is_no_room_and_then_the_base_is_not_asked,
      the_last_evicted_key_comes_back_beside_one_that_is_gone_and_that_the_base_still_has,
      what_cannot_be_read_back_is_an_error_until_the_base_has_it, a_value_that_fits_no_page_stays_and_where_there_are_many_they_wait_for_the_base,
      what_was_written_down_already_is_evicted_within_its_epoch_and_the_seal_has_it,
      a_table_that_evicts_ahead_of_the_base_equals_one_that_evicts_nothing)
