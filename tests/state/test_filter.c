/* The filter of evicted keys: never a false no, seldom a false yes, never more memory than it was given. */
#include "common/clock.h"
#include "state/filter.h"
#include "tests/helpers/test.h"

static uint64_t hash_of(uint64_t i) { return hash_bytes(&i, sizeof i); }

static double wrong(const filter_t *f, uint64_t from) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < 100000; i++) n += filter_has(f, hash_of(from + i));
    return (double)n / 100000;
}

START_TEST(a_key_that_was_added_is_found_in_whatever_layer_it_lies) {
    filter_t *f = filter_new(10);
    ck_assert(!filter_has(NULL, hash_of(1)) && !filter_has(f, hash_of(1)));
    for (uint64_t i = 0; i < 300000; i++) filter_add(f, hash_of(i), SIZE_MAX);
    for (uint64_t i = 0; i < 300000; i++) ck_assert(filter_has(f, hash_of(i)));
    ck_assert(wrong(f, 1u << 30) < 0.15); /* sixteen layers */
    filter_free(f);
    f = filter_new(300000);
    for (uint64_t i = 0; i < 300000; i++) filter_add(f, hash_of(i), SIZE_MAX);
    ck_assert_uint_lt(filter_bytes(f), 300000 * 11 / 8 + 1000);
    ck_assert(wrong(f, 1u << 30) < 0.02);
    filter_free(f);
}
END_TEST

START_TEST(the_keys_of_one_task_differ_in_few_low_bits_and_spread_all_the_same) {
    filter_t *f = filter_new(100000);
    for (uint64_t i = 0; i < 100000; i++) filter_add(f, hash_of(i) & ~(uint64_t)1023, SIZE_MAX);
    ck_assert(wrong(f, 1u << 30) < 0.02);
    filter_free(f);
}
END_TEST

START_TEST(what_is_evicted_again_takes_no_more_room) {
    filter_t *f = filter_new(1000);
    for (int round = 0; round < 100; round++)
        for (uint64_t i = 0; i < 1000; i++) filter_add(f, hash_of(i), SIZE_MAX);
    ck_assert_uint_lt(filter_bytes(f), 8000);
    filter_free(f);
}
END_TEST

START_TEST(a_filter_without_room_is_wrong_more_often_and_never_says_no_falsely) {
    const size_t most = 64 << 10;
    filter_t *f = filter_new(1000);
    for (uint64_t i = 0; i < 200000; i++) filter_add(f, hash_of(i), most);
    for (uint64_t i = 0; i < 200000; i++) ck_assert(filter_has(f, hash_of(i)));
    ck_assert_uint_le(filter_bytes(f), most);
    filter_free(f);
}
END_TEST

START_TEST(room_that_comes_in_crumbs_makes_no_layer_without_blocks) {
    for (size_t most = 900; most < 4096; most += 16) {
        filter_t *f = filter_new(0);
        for (uint64_t i = 0; i < 500; i++) filter_add(f, hash_of(i), i < 48 ? 0 : most);
        for (uint64_t i = 0; i < 500; i++) ck_assert(filter_has(f, hash_of(i)));
        ck_assert_uint_le(filter_bytes(f), MAX(most, filter_least()));
        filter_free(f);
    }
}
END_TEST

TESTS("filter", a_key_that_was_added_is_found_in_whatever_layer_it_lies, the_keys_of_one_task_differ_in_few_low_bits_and_spread_all_the_same,
      what_is_evicted_again_takes_no_more_room, a_filter_without_room_is_wrong_more_often_and_never_says_no_falsely,
      room_that_comes_in_crumbs_makes_no_layer_without_blocks)
