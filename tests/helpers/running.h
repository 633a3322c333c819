/* running.h: a clock for tests that promise a time. It stands still while this process is not let run (a machine with more to do than it can, one
 * that stood still): a thread that wants to look every few milliseconds sees how much later it came. What is awaited without a promise is awaited by
 * clock_mono_ms. The thread lives until the process ends. */
#pragma once
#include "common/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define RUNNING_LOOK_MS 5
#define RUNNING_LATE_MS 20 /* later than this it was not let run: no timer is exact */

static atomic_int_fast64_t running_stood_ms;

static void *running_watch(void *arg) {
    for (int64_t last = clock_mono_ms();;) {
        nanosleep(&(struct timespec){0, RUNNING_LOOK_MS * 1000000L}, NULL);
        int64_t now = clock_mono_ms(), late = now - last - RUNNING_LOOK_MS;
        if (late > RUNNING_LATE_MS) atomic_fetch_add(&running_stood_ms, late);
        last = now;
    }
    return arg;
}

static void running_begin(void) {
    pthread_t t;
    if (pthread_create(&t, NULL, running_watch, NULL) == 0) pthread_detach(t);
}

static int64_t running_ms(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, running_begin);
    nanosleep(&(struct timespec){0, 2 * RUNNING_LOOK_MS * 1000000L}, NULL); /* what has just been stood is counted first */
    return clock_mono_ms() - atomic_load(&running_stood_ms);
}
