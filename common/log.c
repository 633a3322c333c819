#include "common/log.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static log_level_t threshold = LOG_INFO;
static const char *who = "tidegate";

void log_init(log_level_t level, const char *component) {
    threshold = level;
    who = component;
}

bool log_on(log_level_t level) { return level >= threshold; }

static size_t stamp(char *out, size_t n) {
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t len = strftime(out, n, "%Y-%m-%dT%H:%M:%S", &tm);
    return len + (size_t)snprintf(out + len, n - len, ".%03ldZ", t.tv_nsec / 1000000);
}

void log_line(log_level_t level, const char *msg, const char *fmt, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (!log_on(level)) return;
    char line[4096];
    size_t n = stamp(line, sizeof line);
    n += (size_t)snprintf(line + n, sizeof line - n, " level=%s at=%s msg=\"%s\" ", names[level], who, msg);
    va_list ap;
    va_start(ap, fmt);
    int more = n < sizeof line ? vsnprintf(line + n, sizeof line - n, fmt, ap) : 0;
    va_end(ap);
    n = MIN(n + (size_t)MAX(more, 0), sizeof line - 2);
    for (size_t i = 0; i < n; i++)
        if (line[i] == '\n') line[i] = ' ';
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, n); /* one write: lines of threads do not mix */
    (void)written;
}

void log_err(const char *msg, const err_t *e) {
    const char *hint = err_hint_text(e);
    log_line(LOG_ERROR, msg, "code=\"%s\" error=\"%s\"%s%s%s", err_code_name(err_code(e)), err_text(e),
             hint ? " hint=\"" : "", hint ? hint : "", hint ? "\"" : "");
}
