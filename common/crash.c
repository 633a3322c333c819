#include "common/crash.h"
#include "common/base.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

void crash_point(const char *name) {
    static atomic_long passed;
    const char *at = getenv("TIDEGATE_CRASH");
    if (LIKELY(!at)) return;
    size_t n = strlen(name);
    if (strncmp(at, name, n) || (at[n] && at[n] != ':')) return;
    if (atomic_fetch_add(&passed, 1) + 1 == (at[n] ? strtol(at + n + 1, NULL, 10) : 1)) raise(SIGKILL);
}

int version_shift(void) {
    const char *text = getenv("TIDEGATE_VERSION_SHIFT");
    return LIKELY(!text) ? 0 : (int)strtol(text, NULL, 10);
}
