/* The small libraries everything stands on: hash (frozen), crc, errors, arena, buffers, map, mailbox. */
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/mailbox.h"
#include "common/map.h"
#include "common/types.h"
#include "tests/helpers/test.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define HASH_EMPTY 0x9391fe18be536a1cu
#define HASH_CATEGORY 0xe8d7e7e2c57bb9fau
#define HASH_ALL 0xcdfee1095eb8cc55u

START_TEST(hash_is_frozen) {
    /* key groups in every checkpoint depend on these values */
    char text[40];
    uint64_t all = 0;
    for (int n = 0; n < 40; n++) {
        memset(text, 'a' + n % 26, sizeof text);
        all = hash_mix(all ^ hash_bytes(text, (size_t)n));
    }
    ck_assert_uint_eq(hash_bytes("", 0), HASH_EMPTY);
    ck_assert_uint_eq(hash_bytes("category-07", 11), HASH_CATEGORY);
    ck_assert_uint_eq(all, HASH_ALL);
}
END_TEST

START_TEST(hash_spreads_similar_keys) {
    int groups[1024] = {0};
    for (int i = 0; i < 102400; i++) {
        char key[24];
        int n = snprintf(key, sizeof key, "user-%06d", i);
        groups[hash_bytes(key, (size_t)n) & 1023]++;
    }
    for (int i = 0; i < 1024; i++) ck_assert_msg(groups[i] > 50 && groups[i] < 160, "group %d has %d", i, groups[i]);
}
END_TEST

START_TEST(crc_matches_the_standard_vector) {
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    uint32_t parts = crc32c(crc32c(0, "1234", 4), "56789", 5);
    ck_assert_uint_eq(parts, 0xe3069283u);
}
END_TEST

START_TEST(crc_of_a_long_text_is_that_of_its_pieces) {
    static uint8_t text[20000];
    rng_t rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)rng_next(&rng);
    for (int round = 0; round < 500; round++) {
        size_t from = rng_below(&rng, 9), len = rng_below(&rng, sizeof text - 8);
        uint32_t begun = (uint32_t)rng_next(&rng), crc = begun;
        for (size_t at = 0; at < len; at += 100) crc = crc32c(crc, text + from + at, MIN(len - at, (size_t)100)); /* short ones go word by word */
        ck_assert_uint_eq(crc32c(begun, text + from, len), crc);
    }
}
END_TEST

START_TEST(what_fails_here_alone_is_repeated_whatever_it_is) {
    err_t *e = err_here(err_hint(err_from_errno(ENOTDIR, "/data"), "look"));
    ck_assert(err_code(e) == ERR_IO && !err_deterministic(e));
    ck_assert_str_eq(err_text(e), "/data: Not a directory");
    ck_assert_str_eq(err_hint_text(e), "look");
    err_free(e);
    e = err_here(err_new(ERR_NO_SPACE, "full"));
    ck_assert_int_eq(err_code(e), ERR_NO_SPACE); /* told apart by who waits for space */
    err_free(e);
    ck_assert_ptr_null(err_here(NULL));
}
END_TEST

START_TEST(errors_carry_context_position_and_hint) {
    err_t *e = err_wrap(err_at(err_new(ERR_TYPE, "no %s", "x"), 3, 7), "view v");
    e = err_hint(err_at(e, 9, 9), "try %s", "y");
    ck_assert_str_eq(err_text(e), "view v: no x");
    ck_assert_int_eq(err_line(e), 3);
    ck_assert_int_eq(err_col(e), 7);
    ck_assert_str_eq(err_hint_text(e), "try y");
    ck_assert(err_deterministic(e));
    ck_assert_int_eq(err_exit_code(e), 2);
    err_t *copy = err_copy(e);
    err_free(e);
    ck_assert_str_eq(err_text(copy), "view v: no x");
    err_free(copy);
    ck_assert(err_wrap(NULL, "x") == NULL && err_code(NULL) == ERR_OK);
    err_t *full = err_from_errno(28, "write %s", "f");
    ck_assert_int_eq(err_code(full), ERR_NO_SPACE);
    err_free(full);
}
END_TEST

START_TEST(arena_survives_large_and_small) {
    arena_t *a = arena_new();
    char *kept[200];
    for (int i = 0; i < 200; i++) {
        kept[i] = arena_printf(a, "%d-%s", i, "abc");
        char *big = arena_alloc(a, (size_t)(i % 7) * 5000 + 1);
        memset(big, 0xff, (size_t)(i % 7) * 5000 + 1);
    }
    for (int i = 0; i < 200; i++) ck_assert_int_eq(atoi(kept[i]), i);
    arena_reset(a);
    ck_assert_uint_eq(arena_used(a), 0);
    arena_free(a);
}
END_TEST

START_TEST(buffers_stop_at_their_maximum) {
    buf_t b = buf_make(100);
    for (int i = 0; i < 30; i++) buf_put_u32(&b, (uint32_t)i);
    ck_assert(b.overflow);
    ck_assert_uint_eq(b.len, 100);
    buf_free(&b);
}
END_TEST

START_TEST(readers_never_leave_the_slice) {
    buf_t b = buf_make(0);
    int64_t values[] = {0, 1, -1, 300, -70000, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) buf_put_zigzag(&b, values[i]);
    buf_put_cstr(&b, "text");
    for (size_t cut = 0; cut < b.len; cut++) {
        reader_t r = reader_of(slice_of(b.data, cut));
        for (size_t i = 0; i < ARRAY_LEN(values); i++) read_zigzag(&r);
        free(read_cstr(&r));
        ck_assert_msg(r.bad, "cut at %zu of %zu was not noticed", cut, b.len);
    }
    reader_t r = reader_of(buf_slice(&b));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) ck_assert_int_eq(read_zigzag(&r), values[i]);
    char *s = read_cstr(&r);
    ck_assert_str_eq(s, "text");
    ck_assert(!r.bad && reader_left(&r) == 0);
    free(s);
    uint8_t endless[12];
    memset(endless, 0xff, sizeof endless);
    r = reader_of(slice_of(endless, sizeof endless));
    read_varint(&r);
    ck_assert(r.bad);
    buf_free(&b);
}
END_TEST

START_TEST(map_equals_an_array_under_random_work) {
    map_t *m = map_new();
    intptr_t truth[500] = {0};
    rng_t rng;
    rng_seed(&rng, 42);
    for (int i = 0; i < 50000; i++) {
        uint64_t k = rng_below(&rng, 500);
        char key[16];
        snprintf(key, sizeof key, "k%d", (int)k);
        if (rng_below(&rng, 3) == 0) {
            ck_assert(map_del(m, slice_str(key)) == (void *)truth[k]);
            truth[k] = 0;
        } else {
            ck_assert(map_put_str(m, key, (void *)(intptr_t)(i + 1)) == (void *)truth[k]);
            truth[k] = i + 1;
        }
    }
    size_t live = 0, at = 0, seen = 0;
    for (int k = 0; k < 500; k++) live += truth[k] != 0;
    slice_t key;
    void *value;
    while (map_next(m, &at, &key, &value)) {
        ck_assert(truth[atoi((const char *)key.p + 1)] == (intptr_t)value);
        seen++;
    }
    ck_assert_uint_eq(seen, live);
    ck_assert_uint_eq(map_len(m), live);
    map_free(m, NULL);
}
END_TEST

#define SENDERS 3
#define EACH 20000
static void *send_many(void *arg) {
    mailbox_t *m = arg;
    for (intptr_t i = 1; i <= EACH; i++)
        while (!mailbox_send(m, (void *)i)) sched_yield();
    return NULL;
}

START_TEST(mailbox_delivers_everything_once) {
    mailbox_t *m = mailbox_new(64, NULL);
    pthread_t t[SENDERS];
    for (int i = 0; i < SENDERS; i++) pthread_create(&t[i], NULL, send_many, m);
    intptr_t sum = 0;
    int got = 0;
    while (got < SENDERS * EACH) {
        void *msg = mailbox_receive(m);
        if (msg) sum += (intptr_t)msg, got++;
        else ck_assert_msg(mailbox_wait(m, 10000), "a wake-up was lost after %d messages", got);
    }
    for (int i = 0; i < SENDERS; i++) pthread_join(t[i], NULL);
    ck_assert_int_eq(sum, (intptr_t)SENDERS * EACH * (EACH + 1) / 2);
    mailbox_close(m);
    ck_assert(!mailbox_send(m, (void *)1));
    mailbox_free(m);
}
END_TEST

START_TEST(a_freed_block_is_kept_where_smaller_ones_were) {
    buf_keep_free((size_t)256 << 20);
    buf_t small[20];
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        small[i] = buf_make(0);
        ck_assert(buf_reserve(&small[i], (size_t)8 << 20));
    }
    for (size_t i = 0; i < ARRAY_LEN(small); i++) buf_free(&small[i]);
    for (uint8_t round = 0; round < 3; round++) { /* what comes from the system is zero */
        buf_t large = buf_make(0);
        ck_assert(buf_reserve(&large, (size_t)40 << 20));
        ck_assert(round == 0 || large.data[5] == round);
        large.data[5] = (uint8_t)(round + 1);
        buf_free(&large);
    }
    buf_keep_free(0);
}
END_TEST

START_TEST(types_print_as_flink_does) {
    arena_t *a = arena_new();
    const type_t *row = type_row(a, 2, (const type_t *[]){&type_int, type_array(a, type_decimal(a, 10, 2, false), true)},
                                 (const char *[]){"a", "b"}, false);
    ck_assert_str_eq(type_text(a, row), "ROW<`a` INT, `b` ARRAY<DECIMAL(10, 2) NOT NULL>> NOT NULL");
    ck_assert_str_eq(type_text(a, &type_timestamp3), "TIMESTAMP(3)");
    ck_assert(type_equal(row, type_nullable(a, type_copy(a, row), true)));
    ck_assert(!type_equal(&type_timestamp3, &type_timestamp6));
    arena_free(a);
}
END_TEST

TESTS("base", hash_is_frozen, hash_spreads_similar_keys, crc_matches_the_standard_vector, crc_of_a_long_text_is_that_of_its_pieces,
      errors_carry_context_position_and_hint, what_fails_here_alone_is_repeated_whatever_it_is, arena_survives_large_and_small, buffers_stop_at_their_maximum,
      a_freed_block_is_kept_where_smaller_ones_were,
      readers_never_leave_the_slice, map_equals_an_array_under_random_work, mailbox_delivers_everything_once,
      types_print_as_flink_does)
