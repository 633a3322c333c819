/* micro.h: what the micro-benchmarks share. */
#pragma once
#include "common/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void check(err_t *e) {
    if (!e) return;
    fprintf(stderr, "%s\n", err_text(e));
    exit(1);
}

/* User and system time of this process. */
static inline double cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
