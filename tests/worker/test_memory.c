/* The shares of one memory budget, and who gets what the hot tables have. */
#include "tests/helpers/test.h"
#include "common/clock.h"
#include "state/kstate_int.h"
#include "worker/memory.h"
#include <sched.h>
#include <time.h>

#define MB ((size_t)1 << 20)

START_TEST(hot_tables_get_what_the_others_leave_and_never_less_than_an_eighth) {
    uint64_t others = 0;
    ck_assert_uint_eq(memory_hot(512 * MB, 100 * MB, 0, &others), (512 - 64 - 12 - 100) * MB);
    ck_assert_uint_eq(memory_hot(512 * MB, 300 * MB, 200 * MB, &others), (512 - 64 - 12 - 100) * MB); /* the tables' own memory is not the others' */
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
        ck_assert_uint_le(s.base + s.apply_round + s.unsealed, budget * 3 / 8);
        ck_assert_uint_ge(s.changelog, 4 * MB);
    }
}
END_TEST

/* Every 25 ms only where a moment matters: near the budget, or when memory has moved. */
START_TEST(memory_far_below_its_budget_is_looked_at_seldom) {
    ck_assert_int_eq(memory_wait_ms(512 * MB, 100 * MB, 0, MEMORY_LOOK_MS), MEMORY_LOOK_SELDOM_MS);
    ck_assert_int_eq(memory_wait_ms(512 * MB, 100 * MB, 20 * MB, MEMORY_LOOK_SELDOM_MS), MEMORY_LOOK_MS);
    ck_assert_int_eq(memory_wait_ms(512 * MB, 300 * MB, MB, MEMORY_LOOK_MS), 2 * MEMORY_LOOK_MS);
    ck_assert_int_eq(memory_wait_ms(512 * MB, 300 * MB, MB, MEMORY_LOOK_SELDOM_MS), MEMORY_LOOK_SELDOM_MS);
    ck_assert_int_eq(memory_wait_ms(512 * MB, 400 * MB, 0, MEMORY_LOOK_SELDOM_MS), MEMORY_LOOK_MS);
    ck_assert_int_eq(memory_wait_ms(512 * MB, 900 * MB, 0, MEMORY_LOOK_SELDOM_MS), MEMORY_LOOK_MS);
}
END_TEST

static int looks;
static uint64_t count_looks(void) {
    __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED);
    return 10 * MB;
}
static void nothing(void *arg) {}
START_TEST(tables_that_grow_are_seen_at_once_though_memory_is_looked_at_seldom) {
    memory_conf_t conf = {.budget = 640 * MB, .rss = count_looks, .pressed = nothing};
    memory_t *m;
    ck_ok(memory_new(&conf, &m));
    kstate_env_t *e = kstate_env_new(NULL);
    memory_add(m, e);
    for (int i = 0; i < 20; i++) { /* each a 64th of the budget: the next look comes long before its time */
        int before = __atomic_load_n(&looks, __ATOMIC_RELAXED);
        kstate_env_hold_bytes(e, 11 * MB);
        int64_t since = clock_mono_ms();
        while (__atomic_load_n(&looks, __ATOMIC_RELAXED) == before && clock_mono_ms() - since < 5000) sched_yield();
        ck_assert_int_ne(__atomic_load_n(&looks, __ATOMIC_RELAXED), before);
    }
    int before = __atomic_load_n(&looks, __ATOMIC_RELAXED);
    int64_t since = clock_mono_ms();
    struct timespec second = {1, 0};
    nanosleep(&second, NULL); /* or longer, where this thread was not let run */
    int n = __atomic_load_n(&looks, __ATOMIC_RELAXED) - before, took = (int)(clock_mono_ms() - since);
    ck_assert_msg(n <= 7 + took / MEMORY_LOOK_SELDOM_MS, "%d looks in %d ms", n, took);
    kstate_env_hold_bytes(e, -(int64_t)(220 * MB));
    memory_remove(m, e);
    kstate_env_free(e);
    memory_free(m);
}
END_TEST

/* Whether there is a base or not: what frees it is the lane, behind a barrier. */
START_TEST(output_that_is_not_published_holds_the_sources_above_its_bound_and_is_not_the_tables) {
    kstate_env_t *e = kstate_env_new(&(kstate_env_conf_t){.memory = MB});
    kstate_env_output(e, 900 << 10);
    ck_assert(!kstate_env_output_full(e) && !kstate_env_hold(e)); /* no bound is set */
    kstate_env_set_output_max(e, 500 << 10);
    ck_assert(kstate_env_output_full(e) && kstate_env_hold(e));
    kstate_env_output(e, 200 << 10);
    ck_assert_uint_eq(kstate_env_used(e), 0); /* to evict for it would take a database where a job has no state */
    kstate_env_output(e, -(600 << 10));
    ck_assert(!kstate_env_output_full(e) && !kstate_env_hold(e));
    kstate_env_output(e, -(500 << 10));
    ck_assert_uint_eq(kstate_env_output_bytes(e), 0);
    kstate_env_free(e);
}
END_TEST

static err_t *open_base(void *arg, base_db_t **ret) {
    *ret = base_new_memory();
    return NULL;
}
/* Two tasks: one was stopped within an eviction while the base went on; what it says then is of an epoch that is over. */
START_TEST(an_eviction_that_says_late_that_it_found_little_does_not_hide_what_others_said) {
    kstate_env_t *e = kstate_env_new(&(kstate_env_conf_t){.memory = 1, .open_base = open_base});
    base_db_t *b;
    ck_ok(kstate_env_need_base(e, &b));
    kstate_env_hold_bytes(e, 100);
    kstate_env_set_applied(e, 2);
    ck_assert(!kstate_env_short(e));
    kstate_env_found_little(e, 2);
    ck_assert(kstate_env_short(e));
    kstate_env_found_little(e, 1);
    ck_assert(kstate_env_short(e)); /* or the base would not be called, and sources that are held would wait for ever */
    kstate_env_hold_bytes(e, -100);
    kstate_env_free(e);
}
END_TEST

TESTS("worker/memory", output_that_is_not_published_holds_the_sources_above_its_bound_and_is_not_the_tables,
      an_eviction_that_says_late_that_it_found_little_does_not_hide_what_others_said,
      memory_far_below_its_budget_is_looked_at_seldom, tables_that_grow_are_seen_at_once_though_memory_is_looked_at_seldom,
      hot_tables_get_what_the_others_leave_and_never_less_than_an_eighth,
      a_job_with_little_state_keeps_it_and_large_ones_share_the_rest, the_shares_of_any_budget_leave_room_for_state)
