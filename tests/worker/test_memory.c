/* The shares of one memory budget, and who gets what the hot tables have. */
#include "tests/helpers/test.h"
#include "worker/memory.h"

#define MB ((size_t)1 << 20)

START_TEST(hot_tables_get_what_the_others_leave_and_never_less_than_an_eighth) {
    uint64_t others = 0;
    ck_assert_uint_eq(memory_hot(512 * MB, 100 * MB, 0, &others), (512 - 64 - 100) * MB);
    ck_assert_uint_eq(memory_hot(512 * MB, 300 * MB, 200 * MB, &others), (512 - 64 - 100) * MB); /* the tables' own memory is not the others' */
    ck_assert_uint_eq(memory_hot(512 * MB, 900 * MB, 0, &others), 64 * MB);
    uint64_t peak = others;
    memory_hot(512 * MB, 100 * MB, 0, &others); /* a peak that is over fades: it comes back with the next round */
    ck_assert_uint_lt(others, peak);
    ck_assert_uint_gt(others, peak / 2);
    for (int i = 0; i < 4000; i++) memory_hot(512 * MB, 100 * MB, 0, &others);
    ck_assert_uint_lt(others, 101 * MB);
}
END_TEST

START_TEST(a_job_with_little_state_keeps_it_and_large_ones_share_the_rest) {
    size_t used[3] = {8 * MB, 300 * MB, 200 * MB}, ret[3];
    memory_divide(200 * MB, 3, used, ret);
    ck_assert_uint_eq(ret[0], 9 * MB);
    ck_assert_uint_eq(ret[1], ret[2]);
    ck_assert_uint_le(ret[0] + ret[1] + ret[2], 200 * MB);
    ck_assert_uint_gt(ret[1], 95 * MB);
    size_t small[2] = {0, MB};
    memory_divide(100 * MB, 2, small, ret); /* all may grow into what nobody needs */
    ck_assert_uint_ge(ret[0], 40 * MB);
    ck_assert_uint_ge(ret[1], 40 * MB);
    memory_divide(100 * MB, 1, small, ret);
    ck_assert_uint_ge(ret[0], 100 * MB - 8);
}
END_TEST

START_TEST(the_shares_of_any_budget_leave_room_for_state) {
    for (uint64_t budget = 64 * MB; budget <= 65536 * MB; budget *= 2) {
        memory_shares_t s = memory_shares(budget);
        ck_assert_uint_le(s.base + s.apply_round + s.source_queues + s.sink_queues, budget * 5 / 8);
        ck_assert_uint_ge(s.changelog, 4 * MB);
    }
}
END_TEST

TESTS("worker/memory", hot_tables_get_what_the_others_leave_and_never_less_than_an_eighth,
      a_job_with_little_state_keeps_it_and_large_ones_share_the_rest, the_shares_of_any_budget_leave_room_for_state)
