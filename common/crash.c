#include "common/crash.h"
#include "common/base.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

void crash_point(const char *name) {
    static atomic_long passed;
    const char *at = getenv("TIDEGATE_CRASH");
    if (LIKELY(!at)) return;
    size_t n = strlen(name);
    if (strncmp(at, name, n) || (at[n] && at[n] != ':')) return;
    if (atomic_fetch_add(&passed, 1) + 1 == (at[n] ? strtol(at + n + 1, NULL, 10) : 1)) raise(SIGKILL);
}

static const char *stall_text(void) { /* a step is too short to look through the environment each time */
    static _Atomic(const char *) seen;
    const char *t = atomic_load_explicit(&seen, memory_order_relaxed);
    if (LIKELY(t)) return t;
    t = getenv("TIDEGATE_STALL");
    if (!t) t = "";
    atomic_store_explicit(&seen, t, memory_order_relaxed);
    return t;
}

void stall_point(const char *name) {
    static atomic_long passed;
    const char *at = stall_text();
    size_t n = strlen(name);
    if (LIKELY(!at[0]) || strncmp(at, name, n) || at[n] != ':') return;
    if (atomic_fetch_add(&passed, 1) + 1 != strtol(at + n + 1, NULL, 10)) return;
    for (;;) pause();
}

int64_t stall_limit_ms(int64_t usual) {
    const char *at = stall_text(), *ms = at[0] ? strrchr(at, ':') : NULL;
    return ms && strchr(at, ':') != ms ? strtoll(ms + 1, NULL, 10) : usual;
}

int version_shift(void) {
    const char *text = getenv("TIDEGATE_VERSION_SHIFT");
    return LIKELY(!text) ? 0 : (int)strtol(text, NULL, 10);
}
