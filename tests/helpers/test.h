/* test.h: one Check executable per module. START_TEST(name) {..} END_TEST as usual, then TESTS(a, b, c) makes main.
 * CK_FORK=no: a crash ends the executable, which is a failure too. */
#pragma once
#include "common/err.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Checks are for the test's own thread. A check that holds writes where the test has come to; in a callback's thread it may do so when its message has
 * already ended the test, and between two tests Check has nowhere to write ("Unable to report test progress"); one that fails there jumps out of
 * another thread's stack. Threads of callbacks say ASSERT. */
static inline void test_own_thread(const char *file, int line) {
    static _Thread_local bool own;
    if (own) return;
    if (gettid() != getpid()) {
        fprintf(stderr, "%s:%d: a check in a thread that is not the test's own: use ASSERT\n", file, line);
        abort();
    }
    own = true;
}
#define _mark_point(file, line) (test_own_thread(file, line), (_mark_point)(file, line))
#define _ck_assert_failed(file, line, ...) (test_own_thread(file, line), (_ck_assert_failed)(file, line, __VA_ARGS__))

/* CK_RUN_CASE=NAME runs one. Without forks the first failure ends it all: what the failed test leaves behind (threads that use its stack) would
 * crash a later one, and hide the failure. */
static inline int test_main(const char *suite_name, const TTest *const list[], size_t n) {
    int passed = 0;
    for (size_t i = 0; i < n; i++) {
        Suite *s = suite_create(suite_name);
        TCase *c = tcase_create(list[i]->name);
        tcase_set_timeout(c, 100);
        tcase_add_test(c, list[i]);
        suite_add_tcase(s, c);
        SRunner *r = srunner_create(s);
        printf("%s\n", list[i]->name); /* which one crashed */
        fflush(stdout);
        srunner_run_all(r, CK_SILENT);
        passed += srunner_ntests_run(r);
        if (srunner_ntests_failed(r)) {
            srunner_print(r, CK_NORMAL);
            fflush(stdout);
            _exit(1);
        }
        srunner_free(r);
    }
    printf("%s: %d passed\n", suite_name, passed);
    return passed ? 0 : 1;
}
#define TESTS(suite_name, ...)                                                                     \
    int main(void) {                                                                               \
        const TTest *const list[] = {__VA_ARGS__};                                                 \
        return test_main(suite_name, list, sizeof list / sizeof *list);                            \
    }

/* What this thread has worked: how long something takes is no matter of who else runs. */
static inline int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The call succeeds; prints the error's text when it does not. */
#define ck_ok(call)                                                                                \
    do {                                                                                           \
        err_t *ck_e_ = (call);                                                                     \
        if (ck_e_) ck_abort_msg("%s: %s", #call, err_text(ck_e_));                                 \
    } while (0)
/* The call fails with this code and a text that contains `part`. */
#define ck_fails(call, code_, part)                                                                \
    do {                                                                                           \
        err_t *ck_e_ = (call);                                                                     \
        ck_assert_msg(ck_e_ != NULL, "%s succeeded", #call);                                       \
        ck_assert_msg(err_code(ck_e_) == (code_) && strstr(err_text(ck_e_), part),                 \
                      "%s: code %s, text '%s'", #call, err_code_name(err_code(ck_e_)),             \
                      err_text(ck_e_));                                                            \
        err_free(ck_e_);                                                                           \
    } while (0)
