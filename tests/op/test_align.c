#include "engine/align.h"
#include "tests/helpers/test.h"

START_TEST(the_watermark_is_the_minimum_and_never_decreases) {
    align_t *a = align_new(3, WATERMARK_NONE);
    ck_assert(!align_watermark_in(a, 0, 10));
    ck_assert(!align_watermark_in(a, 1, 20));
    ck_assert_int_eq(align_watermark(a), WATERMARK_NONE);
    ck_assert(align_watermark_in(a, 2, 5));
    ck_assert_int_eq(align_watermark(a), 5);
    ck_assert_int_eq(align_holder(a), 2);
    ck_assert(!align_watermark_in(a, 2, 3)); /* an input that goes back is ignored */
    ck_assert(align_watermark_in(a, 2, 30));
    ck_assert_int_eq(align_watermark(a), 10);
    align_free(a);
}
END_TEST

START_TEST(idle_inputs_hold_nothing_and_all_idle_stands_still) {
    align_t *a = align_new(2, 7);
    ck_assert_int_eq(align_watermark(a), 7); /* as restored */
    ck_assert(!align_watermark_in(a, 0, 50));
    ck_assert(align_idle_in(a, 1));
    ck_assert_int_eq(align_watermark(a), 50);
    ck_assert(!align_idle_in(a, 0));
    ck_assert(align_all_idle(a));
    ck_assert_int_eq(align_holder(a), -1);
    ck_assert(!align_active_in(a, 1)); /* with its old 7: time waits, it does not go back */
    ck_assert_int_eq(align_watermark(a), 50);
    ck_assert(!align_watermark_in(a, 0, 90));
    ck_assert_int_eq(align_watermark(a), 50);
    ck_assert(align_watermark_in(a, 1, 60));
    ck_assert_int_eq(align_watermark(a), 60);
    align_free(a);
}
END_TEST

START_TEST(when_all_are_idle_time_is_that_of_the_latest_whatever_the_order) {
    for (int first = 0; first < 2; first++) {
        align_t *a = align_new(2, WATERMARK_NONE);
        align_watermark_in(a, 0, 50);
        align_watermark_in(a, 1, 10);
        align_idle_in(a, first);
        align_idle_in(a, !first);
        ck_assert_int_eq(align_watermark(a), 50);
        ck_assert(align_all_idle(a));
        align_free(a);
    }
}
END_TEST

START_TEST(ended_inputs_count_as_the_end_of_time) {
    align_t *a = align_new(2, WATERMARK_NONE);
    align_watermark_in(a, 0, 5);
    ck_assert(align_end_in(a, 1));
    ck_assert_int_eq(align_watermark(a), 5);
    ck_assert(!align_all_ended(a));
    ck_assert(align_end_in(a, 0));
    ck_assert_int_eq(align_watermark(a), WATERMARK_END);
    ck_assert(align_all_ended(a));
    ck_assert(!align_all_idle(a)); /* ended is not idle */
    align_free(a);
}
END_TEST

START_TEST(an_input_is_blocked_until_all_have_delivered_the_barrier) {
    align_t *a = align_new(3, WATERMARK_NONE);
    bool due;
    uint32_t flags;
    epoch_t e;
    int missing;
    ck_assert(!align_waiting(a, &e, &missing));
    ck_ok(align_barrier_in(a, 1, 4, 1, &due, &flags));
    ck_assert(!due && align_blocked(a, 1) && !align_blocked(a, 0));
    ck_assert(align_waiting(a, &e, &missing));
    ck_assert_uint_eq(e, 4);
    ck_assert_int_eq(missing, 0);
    align_end_in(a, 0); /* an ended input still delivers barriers */
    ck_ok(align_barrier_in(a, 0, 4, 0, &due, &flags));
    ck_assert(!due);
    ck_ok(align_barrier_in(a, 2, 4, 2, &due, &flags));
    ck_assert(due);
    ck_assert_uint_eq(flags, 3);
    for (int i = 0; i < 3; i++) ck_assert(!align_blocked(a, i));
    align_free(a);
}
END_TEST

START_TEST(epochs_come_once_and_in_order) {
    align_t *a = align_new(2, WATERMARK_NONE);
    bool due;
    uint32_t flags;
    ck_ok(align_barrier_in(a, 0, 2, 0, &due, &flags));
    ck_fails(align_barrier_in(a, 0, 3, 0, &due, &flags), ERR_INTERNAL, "input 0");
    ck_fails(align_barrier_in(a, 1, 3, 0, &due, &flags), ERR_INTERNAL, "epoch 2 is being aligned");
    ck_ok(align_barrier_in(a, 1, 2, 0, &due, &flags));
    ck_assert(due);
    ck_fails(align_barrier_in(a, 1, 2, 0, &due, &flags), ERR_INTERNAL, "is done");
    align_free(a);
}
END_TEST

TESTS("align", the_watermark_is_the_minimum_and_never_decreases, idle_inputs_hold_nothing_and_all_idle_stands_still,
      when_all_are_idle_time_is_that_of_the_latest_whatever_the_order,
      ended_inputs_count_as_the_end_of_time, an_input_is_blocked_until_all_have_delivered_the_barrier, epochs_come_once_and_in_order)
