/* What was evicted, near at hand: the last word of each key or none, whatever is merged meanwhile and whatever breaks; and a table that asks it
 * before the base. */
#include "state/spill.h"
#include "tests/state/world.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- by itself, against a list of last words */
#define KEYS 5000
typedef struct files { int made, open_until, last; bool readonly; uint64_t room, asked; } files_t;

static int new_file(void *arg, uint64_t bytes) {
    files_t *f = arg;
    if (f->made >= f->open_until || bytes > f->room) return -1;
    f->asked = MAX(f->asked, bytes);
    f->made++;
    if (f->readonly) return f->last = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    f->last = memfd_create("spill", MFD_CLOEXEC);
    ck_assert(bytes == 0 || fallocate(f->last, 0, 0, (off_t)bytes) == 0);
    return f->last;
}

typedef struct words { spill_t *s; files_t files; uint64_t hash[KEYS]; uint64_t number[KEYS]; bool known[KEYS]; bool narrow, fitting; } words_t;

static words_t *words_new(void) {
    words_t *w = xcalloc(1, sizeof *w);
    w->files = (files_t){.open_until = INT_MAX, .room = UINT64_MAX};
    w->s = spill_new(0, new_file, &w->files);
    return w;
}

static void words_free(words_t *w) {
    spill_free(w->s);
    free(w);
}

static slice_t word_key(uint64_t k, uint8_t *buf) { /* most are short, some fill a page and some do not fit */
    size_t len = k % 401 == 0 ? 1300 : k % 97 == 0 ? 700 : k == 1 ? 0 : 8 + k % 40;
    memset(buf, (int)(k % 251), len);
    if (len) memcpy(buf, &k, sizeof k);
    return slice_of(buf, len);
}

static slice_t word_value(uint64_t number, uint8_t *buf) {
    size_t len = number % 301 == 0 ? 900 : number % 13 ? 8 : number % 128;
    memset(buf, (int)(number % 253), len);
    memcpy(buf, &number, MIN(len, sizeof number));
    return slice_of(buf, len);
}

static void word_put(words_t *w, uint64_t k, uint64_t number) { /* 0: a marker */
    uint8_t key[2048], value[1024];
    slice_t at = word_key(k, key), v = word_value(number, value);
    if (w->fitting && at.len + v.len > spill_value_most()) return;
    if (w->narrow) w->hash[k] = k % 3;
    else w->hash[k] = hash_bytes(at.p, at.len);
    spill_put(w->s, w->hash[k], at, number ? v : (slice_t){0});
    w->number[k] = number;
    w->known[k] = number && at.len + v.len <= spill_value_most();
}

static void words_check(words_t *w, uint64_t k) {
    uint8_t key[2048], value[1024], page[SPILL_PAGE];
    slice_t at = word_key(k, key), got, want = word_value(w->number[k], value);
    bool known = spill_get(w->s, w->number[k] || w->hash[k] ? w->hash[k] : hash_bytes(at.p, at.len), at, page, &got);
    ck_assert_msg(known == w->known[k], "key %d is %s", (int)k, known ? "known" : "unknown");
    if (!known && w->number[k]) ck_assert(!spill_whole(w->s));
    if (known) ck_assert(got.len == want.len && memcmp(got.p, want.p, want.len) == 0);
}

static void words_story(words_t *w, uint64_t seed, size_t buffer, size_t filters, int rounds) {
    rng_t rng;
    rng_seed(&rng, seed);
    uint64_t number = 0;
    for (int round = 0; round < rounds; round++) {
        spill_begin(w->s, &(spill_room_t){buffer, filters, SIZE_MAX / 2});
        uint64_t n = 1 + rng_below(&rng, rng_below(&rng, 4) ? 300 : 3000), part = 1 + rng_below(&rng, KEYS);
        for (uint64_t i = 0; i < n; i++) word_put(w, rng_below(&rng, part), rng_below(&rng, 9) ? ++number : 0);
        spill_end(w->s);
        for (int i = 0; i < 200; i++) words_check(w, rng_below(&rng, KEYS));
        ck_assert_int_lt(spill_runs(w->s), 20);
    }
    for (uint64_t k = 0; k < KEYS; k++) words_check(w, k);
}

START_TEST(of_each_key_the_last_word_is_told_or_none) {
    for (int seed = 1; seed <= 3; seed++) {
        words_t *w = words_new();
        words_story(w, (uint64_t)seed, (size_t)64 << 10, seed == 2 ? 0 : SIZE_MAX / 2, 400);
        words_free(w);
    }
    words_t *w = words_new();
    words_story(w, 9, 1, SIZE_MAX / 2, 20); /* each page of puts is a run */
    words_free(w);
}
END_TEST

START_TEST(as_long_as_all_that_was_put_fits_it_knows_what_there_is_not) {
    for (int fitting = 0; fitting < 2; fitting++) {
        words_t *w = words_new();
        w->fitting = fitting;
        words_story(w, 6, (size_t)64 << 10, SIZE_MAX / 2, 100);
        ck_assert_int_eq(spill_whole(w->s), fitting);
        words_free(w);
    }
}
END_TEST

START_TEST(keys_of_the_same_hash_are_told_apart_over_many_pages) {
    words_t *w = words_new();
    w->narrow = true;
    words_story(w, 4, (size_t)64 << 10, 0, 40); /* filters would go by the keys' own hashes */
    words_free(w);
}
END_TEST

START_TEST(it_takes_little_memory_however_often_keys_come_again) {
    files_t files = {.open_until = INT_MAX, .room = UINT64_MAX};
    spill_t *s = spill_new(0, new_file, &files);
    enum { N = 200000 };
    rng_t rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 300; round++) {
        spill_begin(s, &(spill_room_t){(size_t)1 << 20, (size_t)1 << 18, (size_t)1 << 20});
        for (int i = 0; i < 3000; i++) {
            uint64_t k = rng_below(&rng, N);
            spill_put(s, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), slice_of(&round, sizeof round));
        }
        spill_end(s);
        ck_assert_int_lt(spill_runs(s), 16);
        ck_assert_uint_lt(spill_bytes(s), (size_t)1 << 20);
    }
    spill_free(s);
}
END_TEST

/* ---- the filter of the oldest run */
#define MANY_KEYS 100000u
static void many_put(spill_t *s, uint64_t from, size_t filters) {
    spill_begin(s, &(spill_room_t){(size_t)16 << 20, filters, SIZE_MAX / 2});
    for (uint64_t k = from; k < from + MANY_KEYS; k++) spill_put(s, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), slice_of(&k, sizeof k));
    spill_end(s);
}

static void many_look(spill_t *s, uint64_t from, bool known) {
    uint8_t page[SPILL_PAGE];
    slice_t got;
    for (uint64_t k = from; k < from + MANY_KEYS; k++) {
        ck_assert(spill_get(s, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), page, &got) == known);
        if (known) ck_assert(got.len == sizeof k && memcmp(got.p, &k, sizeof k) == 0);
    }
}

START_TEST(the_oldest_run_has_a_filter_where_keys_are_asked_for_that_were_never_put) {
    size_t room = (size_t)1 << 20, of_oldest = MANY_KEYS * 10 / 8;
    files_t files = {.open_until = INT_MAX, .room = UINT64_MAX};
    spill_t *s = spill_new(0, new_file, &files);
    many_put(s, 0, room); /* nobody has asked yet */
    size_t with = spill_bytes(s);
    many_look(s, 0, true);
    spill_begin(s, &(spill_room_t){(size_t)16 << 20, room, SIZE_MAX / 2});
    ck_assert_uint_lt(spill_bytes(s), with - of_oldest); /* all was there: the room is the others' */
    spill_end(s);
    many_look(s, 0, true);
    many_look(s, MANY_KEYS, false);
    many_put(s, MANY_KEYS, room); /* merged into the oldest */
    ck_assert_int_eq(spill_runs(s), 1);
    ck_assert_uint_gt(spill_bytes(s), 2 * of_oldest);
    many_look(s, 0, true);
    many_look(s, MANY_KEYS, true);
    spill_free(s);
}
END_TEST

START_TEST(a_merge_that_the_disk_has_no_room_for_is_not_begun_and_what_was_put_is_told) {
    words_t *w = words_new();
    w->files.room = (uint64_t)100 << 10;
    w->fitting = true;
    for (uint64_t number = 1; spill_open(w->s) && number < 200000;) {
        spill_begin(w->s, &(spill_room_t){(size_t)64 << 10, SIZE_MAX / 2, SIZE_MAX / 2});
        for (int i = 0; i < 100 && spill_open(w->s); i++, number++) word_put(w, number * 7919 % KEYS, number);
        spill_end(w->s);
    }
    ck_assert(!spill_open(w->s) && !spill_lost(w->s) && w->files.asked > 0);
    ck_assert_uint_gt(spill_file_bytes(w->s), w->files.room); /* single runs had room */
    for (uint64_t k = 0; k < KEYS; k++) words_check(w, k);
    words_free(w);
}
END_TEST

/* Several merges at once, of tables and jobs that know nothing of each other, must not all count on the same room. */
START_TEST(room_that_a_file_was_given_is_its_own_until_it_is_written_and_then_no_more_than_it_needs) {
    world_t *w = world_new(true, 0);
    base_db_t *b;
    ck_ok(kstate_env_need_base(w->env, &b));
    int fd = b->scratch(b, (uint64_t)8 << 20);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, 8 << 20);
    ck_assert_int_ge(st.st_blocks * 512, 8 << 20);
    close(fd);
    world_free(w);
    words_t *words = words_new();
    for (uint64_t round = 0; round < 20; round++) {
        spill_begin(words->s, &(spill_room_t){(size_t)1 << 20, SIZE_MAX / 2, SIZE_MAX / 2});
        for (uint64_t k = 0; k < KEYS; k++) word_put(words, k, k + round + 1);
        spill_end(words->s);
        ck_assert_int_eq(fstat(words->files.last, &st), 0);
        ck_assert_int_le(st.st_blocks * 512, st.st_size + 4096);
    }
    ck_assert_int_ge(words->files.asked, st.st_size * 3 / 2); /* merges of the same keys */
    words_free(words);
}
END_TEST

/* Against what the large runs themselves took, on the same machine. */
START_TEST(no_eviction_waits_for_a_large_merge_and_small_runs_do_not_pile_up_behind_it) {
    files_t files = {.open_until = INT_MAX, .room = UINT64_MAX};
    spill_t *s = spill_new(0, new_file, &files);
    enum { LARGE = 200000, SMALL = 200 };
    uint64_t next = 0;
    int most = 0;
    int64_t longest = 0, first = 0;
    for (int round = 0; round < 500; round++) {
        uint64_t n = round == 0 ? LARGE : round == 1 ? LARGE * 3 / 4 : SMALL; /* the second one begins a merge of both */
        spill_begin(s, &(spill_room_t){(size_t)64 << 20, SIZE_MAX / 2, SIZE_MAX / 2});
        for (uint64_t i = 0; i < n; i++, next++) spill_put(s, hash_bytes(&next, sizeof next), slice_of(&next, sizeof next), slice_of(&next, sizeof next));
        int64_t from = cpu_ns();
        spill_end(s);
        int64_t took = cpu_ns() - from;
        if (round < 2) first = MAX(first, took);
        else longest = MAX(longest, took);
        most = MAX(most, spill_runs(s));
        ck_assert_int_gt(spill_runs(s), 0);
    }
    ck_assert_int_lt(most, 20);
    ck_assert_msg(longest < first, "%d us, the large ones %d", (int)(longest / 1000), (int)(first / 1000));
    uint8_t page[SPILL_PAGE];
    slice_t got;
    for (uint64_t k = 0; k < next; k += 31) {
        ck_assert(spill_get(s, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), page, &got));
        ck_assert_int_eq(memcmp(got.p, &k, sizeof k), 0);
    }
    spill_free(s);
}
END_TEST

START_TEST(an_index_that_has_no_room_in_memory_takes_no_more_and_tells_all_that_was_put) {
    words_t *w = words_new();
    spill_begin(w->s, &(spill_room_t){1 << 20, SIZE_MAX / 2, 16});
    for (uint64_t k = 0; k < KEYS; k++) word_put(w, k, k + 1);
    ck_assert(spill_open(w->s));
    spill_end(w->s);
    ck_assert(!spill_open(w->s) && !spill_lost(w->s));
    for (uint64_t k = 0; k < KEYS; k++) words_check(w, k);
    spill_give_up(w->s);
    ck_assert_int_eq(spill_runs(w->s), 0);
    memset(w->known, 0, sizeof w->known);
    for (uint64_t k = 0; k < KEYS; k++) words_check(w, k);
    words_free(w);
}
END_TEST

/* Nothing that it said before is said wrongly after: it is not said at all. */
START_TEST(a_page_that_changed_on_the_disk_loses_all_and_nothing_stale_is_told) {
    for (int cut = 0; cut < 2; cut++) {
        words_t *w = words_new();
        words_story(w, 5, (size_t)64 << 10, SIZE_MAX / 2, 10);
        spill_begin(w->s, &(spill_room_t){1 << 20, SIZE_MAX / 2, SIZE_MAX / 2});
        for (uint64_t k = 0; k < KEYS; k++) word_put(w, k, k + 7);
        spill_end(w->s);
        uint8_t bad = 0xa5;
        int fd = w->files.last; /* of the youngest run, or of the one that all were merged into */
        if (cut) ck_assert_int_eq(ftruncate(fd, 3 * SPILL_PAGE + 100), 0);
        else ck_assert_int_eq(pwrite(fd, &bad, 1, 3 * SPILL_PAGE + 300), 1);
        uint64_t told = 0;
        for (uint64_t k = 0; k < KEYS; k++) {
            uint8_t key[2048], value[1024], page[SPILL_PAGE];
            slice_t got, want = word_value(w->number[k], value);
            if (!spill_get(w->s, w->hash[k], word_key(k, key), page, &got)) continue;
            ck_assert(got.len == want.len && memcmp(got.p, want.p, want.len) == 0);
            told++;
        }
        ck_assert_uint_lt(told, KEYS);
        ck_assert_int_eq(spill_runs(w->s), 0);
        ck_assert(!spill_whole(w->s));
        memset(w->known, 0, sizeof w->known);
        spill_begin(w->s, &(spill_room_t){1 << 20, SIZE_MAX / 2, SIZE_MAX / 2}); /* and it stays so */
        word_put(w, 77, 1);
        spill_end(w->s);
        w->known[77] = false;
        words_check(w, 77);
        words_free(w);
    }
}
END_TEST

START_TEST(where_no_file_can_be_made_or_written_it_takes_no_more_and_tells_all_that_was_put) {
    for (int readonly = 0; readonly < 2; readonly++) {
        words_t *w = words_new();
        for (int round = 0; round < 12; round++) {
            if (round == 5) w->files = (files_t){.open_until = readonly ? INT_MAX : w->files.made, .made = w->files.made, .readonly = readonly};
            if (round == 9) {
                spill_give_up(w->s);
                memset(w->known, 0, sizeof w->known);
            }
            spill_begin(w->s, &(spill_room_t){1 << 20, SIZE_MAX / 2, SIZE_MAX / 2});
            for (uint64_t k = 0; k < 500 && spill_open(w->s); k++) word_put(w, k, k + (uint64_t)round + 1);
            spill_end(w->s);
            ck_assert_int_eq(spill_open(w->s), round < 5);
            ck_assert_int_eq(spill_lost(w->s), round >= 9);
            for (uint64_t k = 0; k < 500; k++) words_check(w, k);
        }
        words_free(w);
    }
}
END_TEST

/* ---- under a table */
static uint64_t asked; /* keys that the base was asked for */
static err_t *(*real_get_many)(base_db_t *b, uint64_t fingerprint, int slot, const base_key_t *keys, uint32_t n,
                               err_t *(*fn)(void *arg, uint32_t i, slice_t value), void *arg);
static err_t *counting_get_many(base_db_t *b, uint64_t fingerprint, int slot, const base_key_t *keys, uint32_t n,
                                err_t *(*fn)(void *arg, uint32_t i, slice_t value), void *arg) {
    asked += n;
    return real_get_many(b, fingerprint, slot, keys, n, fn, arg);
}
static int no_scratch(base_db_t *b, uint64_t bytes) { return -1; }

static void get_batch(kstate_t *ks, const uint64_t *keys, uint32_t n, void **ret) {
    static uint64_t hash[256];
    static uint32_t off[257];
    for (uint32_t i = 0; i < n; i++) {
        hash[i] = hash_bytes(&keys[i], sizeof keys[i]);
        off[i + 1] = off[i] + (uint32_t)sizeof keys[i];
    }
    kstate_keys_t k = {n, hash, (const uint8_t *)keys, off, NULL, NULL};
    ck_ok(kstate_get_many(ks, &k, ret));
}

/* n numbers in the base, of which memory has room for a tenth; without: nor are there files to evict into. */
static kstate_t *evicted(world_t *w, applier_t *a, uint64_t n, bool without) {
    kstate_t *ks = table_open(w);
    for (uint64_t i = 0; i < n; i++) ((val_t *)number_of(ks, i, true))->number = i;
    seal_and_apply(ks, a, 1);
    base_db_t *b = kstate_env_base(w->env);
    real_get_many = b->get_many;
    b->get_many = counting_get_many;
    if (without) b->scratch = no_scratch;
    asked = 0;
    kstate_env_set_memory(w->env, kstate_bytes(ks) / 10);
    return ks;
}

START_TEST(an_evicted_key_that_comes_again_is_not_asked_of_the_base) {
    enum { N = 20000 };
    for (int rocks = 0; rocks < 2; rocks++) {
        for (int without = 0; without < 2; without++) {
            world_t *w = world_new(rocks, 16 << 20);
            applier_t *a = applier_make(w);
            kstate_t *ks = evicted(w, a, N, without);
            rng_t rng;
            rng_seed(&rng, 7);
            static uint64_t number[N];
            for (uint64_t i = 0; i < N; i++) number[i] = i;
            for (epoch_t epoch = 2; epoch < 60; epoch++) {
                for (int batch = 0; batch < 4; batch++) {
                    uint64_t keys[100];
                    void *got[100];
                    ck_ok(kstate_evict(ks));
                    for (int i = 0; i < 100; i++) keys[i] = rng_below(&rng, N);
                    get_batch(ks, keys, 100, got);
                    for (int i = 0; i < 100; i++) {
                        ck_assert_uint_eq(((val_t *)got[i])->number, number[keys[i]]);
                        val_set(got[i], ++number[keys[i]]);
                    }
                }
                seal_and_apply(ks, a, epoch);
            }
            ck_assert_uint_gt(kstate_evicted(ks), N * 8 / 10);
            if (without) ck_assert_uint_gt(asked, 10000);
            else ck_assert_uint_eq(asked, 0);
            world_end(w, a, ks);
        }
    }
}
END_TEST

/* The filter of evicted keys takes one of a hundred for evicted that never was. */
START_TEST(a_key_that_was_never_there_is_not_asked_of_the_base) {
    enum { N = 20000 };
    for (int without = 0; without < 2; without++) {
        world_t *w = world_new(false, 16 << 20);
        applier_t *a = applier_make(w);
        kstate_t *ks = evicted(w, a, N, without);
        ck_ok(kstate_evict(ks));
        for (uint64_t next = N; next < 8 * N; next += 100) {
            uint64_t keys[100];
            void *got[100];
            for (uint64_t i = 0; i < 100; i++) keys[i] = next + i;
            get_batch(ks, keys, 100, got);
            for (int i = 0; i < 100; i++) ck_assert_uint_eq(((val_t *)got[i])->number, 0);
        }
        if (without) ck_assert_uint_gt(asked, 20);
        else ck_assert_uint_eq(asked, 0);
        buf_t b = buf_make(1 << 26);
        kstate_seal(ks, 2, &b);
        buf_free(&b);
        world_end(w, a, ks);
    }
}
END_TEST

START_TEST(what_finds_no_room_at_a_restore_is_near_and_is_asked_of_the_base_where_there_is_no_file) {
    enum { N = 20000 };
    for (int without = 0; without < 2; without++) {
        world_t *w = world_new(false, 16 << 20);
        applier_t *a = applier_make(w);
        kstate_t *ks = evicted(w, a, N, without);
        ck_ok(kstate_evict(ks));
        kstate_forget(ks);
        ck_ok(kstate_reload(ks));
        ck_assert_uint_gt(kstate_evicted(ks), N / 2);
        for (uint64_t round = 0; round < 2; round++) {
            for (uint64_t next = 0; next < N; next += 100) {
                uint64_t keys[100];
                void *got[100];
                for (uint64_t i = 0; i < 100; i++) keys[i] = (next + i) * 7919 % N;
                ck_ok(kstate_evict(ks));
                get_batch(ks, keys, 100, got);
                for (int i = 0; i < 100; i++) ck_assert_uint_eq(((val_t *)got[i])->number, keys[i]);
            }
            seal_and_apply(ks, a, 2 + round);
        }
        if (without) ck_assert_uint_gt(asked, N / 2);
        else ck_assert_uint_eq(asked, 0);
        world_end(w, a, ks);
    }
}
END_TEST

/* Made, changed, deleted, made again, dropped, evicted before and after the base follows: a table with little memory is as one with much. */
static void table_story(bool rocks, uint64_t seed) {
    enum { N = 3000 };
    world_t *w = world_new(rocks, 96 << 10);
    applier_t *a = applier_make(w);
    kstate_t *ks = table_open(w);
    static uint64_t number[N]; /* 0: there is none */
    memset(number, 0, sizeof number);
    rng_t rng;
    rng_seed(&rng, seed);
    epoch_t sealed = 0;
    uint64_t most = 0, next = 0;
    for (int i = 0; i < 120000; i++) {
        uint64_t k = rng_below(&rng, rng_below(&rng, 3) ? N : N / 10), what = rng_below(&rng, 100);
        val_t *v;
        ck_ok(kstate_get(ks, 0, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), what < 60, NULL, (void **)&v));
        if (what >= 60) ck_assert(number[k] ? v && val_is(v, number[k]) : !v);
        if (what < 60) {
            if (number[k]) ck_assert(val_is(v, number[k]));
            kstate_dirty(ks, v);
            val_set(v, number[k] = ++next);
        } else if (what < 75 && v) {
            kstate_delete(ks, v);
            number[k] = 0;
        }
        if (i % 50 == 0) {
            kstate_measure(ks);
            ck_ok(kstate_evict(ks));
        }
        most = MAX(most, kstate_evicted(ks));
        if (rng_below(&rng, 200) == 0) {
            buf_t b = buf_make(1 << 26);
            kstate_seal(ks, ++sealed, &b);
            add_changes(a, sealed, buf_slice(&b));
            buf_free(&b);
            if (rng_below(&rng, 3)) continue;
            applier_complete(a, sealed - rng_below(&rng, MIN(sealed, (epoch_t)2)));
            ck_ok(applier_apply(a, UINT64_MAX));
        }
        if (rng_below(&rng, 30000) == 0) {
            kstate_drop_ns(ks, 0);
            memset(number, 0, sizeof number);
        }
    }
    ck_assert_msg(most > N / 3, "only %d were ever evicted", (int)most);
    for (uint64_t k = 0; k < N; k++) {
        val_t *v = number_of(ks, k, false);
        ck_assert(number[k] ? v && val_is(v, number[k]) : !v);
    }
    world_end(w, a, ks);
}

START_TEST(a_table_that_keeps_what_it_evicted_near_equals_one_that_evicts_nothing) {
    for (uint64_t seed = 1; seed <= 4; seed++) table_story(false, seed);
    table_story(true, 5);
}
END_TEST

/* The base may have room where this has none. */
START_TEST(a_spill_that_breaks_is_as_if_there_was_none) {
    enum { N = 20000 };
    world_t *w = world_new(false, 16 << 20);
    applier_t *a = applier_make(w);
    kstate_t *ks = evicted(w, a, N, false);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
    void *got[100];
    uint64_t keys[100];
    for (epoch_t epoch = 2; epoch < 12; epoch++) {
        if (epoch == 6) kstate_env_base(w->env)->scratch = no_scratch;
        for (uint64_t i = 0; i < 100; i++) keys[i] = (i * 191 + epoch % 4 * 7) % N;
        get_batch(ks, keys, 100, got);
        for (int i = 0; i < 100; i++) {
            val_t *v = got[i];
            ck_assert_uint_eq(v->number % N, keys[i]);
            ck_assert_uint_eq(v->number / N, (epoch - 2) / 4);
            v->number += N;
        }
        seal_and_apply(ks, a, epoch);
        kstate_env_set_memory(w->env, 1); /* all go */
        for (int i = 0; i < 3; i++) ck_ok(kstate_evict(ks));
        if (epoch == 5) ck_assert_uint_eq(asked, 0);
    }
    ck_assert_uint_ge(asked, 500);
    world_end(w, a, ks);
}
END_TEST

TESTS("spill", of_each_key_the_last_word_is_told_or_none, the_oldest_run_has_a_filter_where_keys_are_asked_for_that_were_never_put,
      keys_of_the_same_hash_are_told_apart_over_many_pages,
      it_takes_little_memory_however_often_keys_come_again, a_merge_that_the_disk_has_no_room_for_is_not_begun_and_what_was_put_is_told,
      room_that_a_file_was_given_is_its_own_until_it_is_written_and_then_no_more_than_it_needs,
      no_eviction_waits_for_a_large_merge_and_small_runs_do_not_pile_up_behind_it, an_index_that_has_no_room_in_memory_takes_no_more_and_tells_all_that_was_put,
      a_page_that_changed_on_the_disk_loses_all_and_nothing_stale_is_told,
      where_no_file_can_be_made_or_written_it_takes_no_more_and_tells_all_that_was_put, as_long_as_all_that_was_put_fits_it_knows_what_there_is_not,
      an_evicted_key_that_comes_again_is_not_asked_of_the_base, a_key_that_was_never_there_is_not_asked_of_the_base,
      what_finds_no_room_at_a_restore_is_near_and_is_asked_of_the_base_where_there_is_no_file,
      a_table_that_keeps_what_it_evicted_near_equals_one_that_evicts_nothing, a_spill_that_breaks_is_as_if_there_was_none)
