#include "cli/progress.h"
#include "common/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct progress {
    bool live, summary, shown;
    int64_t start_ms, last_ms;
    int64_t last_in;
    double rate;
};

progress_t *progress_new(bool live, bool summary) {
    progress_t *p = xcalloc(1, sizeof *p);
    *p = (progress_t){.live = live, .summary = summary, .start_ms = clock_mono_ms()};
    return p;
}
void progress_free(progress_t *p) { free(p); }

typedef struct totals {
    int64_t in, out, late, bad, dropped, watermark;
} totals_t;

static totals_t total(const json_t *job) {
    return (totals_t){json_i64(job, "rows_in", 0), json_i64(job, "rows_out", 0), json_i64(job, "late_rows", 0), json_i64(job, "bad_records", 0),
                      json_i64(job, "dropped_rows", 0), strcmp(json_str(job, "watermark", ""), "end") ? json_i64(job, "watermark", INT64_MIN) : INT64_MAX};
}

static void time_text(char *out, size_t n, int64_t ms) {
    time_t sec = ms / 1000;
    struct tm tm;
    if (ms == INT64_MIN || ms == INT64_MAX || !gmtime_r(&sec, &tm)) snprintf(out, n, ms == INT64_MAX ? "end" : "none");
    else strftime(out, n, "%Y-%m-%d %H:%M:%S", &tm);
}

static void clear_line(progress_t *p) {
    if (p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}

void progress_update(progress_t *p, const json_t *job) {
    int64_t now = clock_mono_ms();
    if (now - p->last_ms < 200) return;
    totals_t t = total(job);
    if (p->last_ms) {
        double r = (double)(t.in - p->last_in) * 1000 / (double)(now - p->last_ms);
        p->rate = p->rate > 0 ? p->rate * 0.6 + r * 0.4 : r;
    }
    p->last_ms = now;
    p->last_in = t.in;
    if (!p->live) return;
    char wm[40];
    time_text(wm, sizeof wm, t.watermark);
    const char *waiting = json_str(job, "waiting", NULL);
    /* a line longer than the terminal is cut by it: wrapped, the next one would not overwrite it */
    fprintf(stderr, "\r\033[K\033[?7l%s  %.0f events/s  %" PRId64 " events  watermark %s  epoch %" PRId64 "%s%s\033[?7h", json_str(job, "state", ""), p->rate, t.in, wm,
            json_i64(job, "epoch", 0), waiting ? "  waits: " : "", waiting ? waiting : "");
    fflush(stderr);
    p->shown = true;
}

void progress_say(progress_t *p, const char *what) {
    clear_line(p);
    if (p->summary) fprintf(stderr, "%s\n", what);
}

void progress_end(progress_t *p, const json_t *job) {
    clear_line(p);
    if (!p->summary) return;
    totals_t t = total(job);
    double seconds = (double)(clock_mono_ms() - p->start_ms) / 1000;
    fprintf(stderr, "%s: %s after %.1f s, %" PRId64 " events in, %" PRId64 " rows out", json_str(job, "name", "job"), json_str(job, "state", ""), seconds, t.in, t.out);
    if (t.late) fprintf(stderr, ", %" PRId64 " late", t.late);
    if (t.bad) fprintf(stderr, ", %" PRId64 " bad", t.bad);
    if (t.dropped) fprintf(stderr, ", %" PRId64 " dropped", t.dropped);
    fprintf(stderr, ", epoch %" PRId64 "\n", json_i64(job, "epoch", 0));
}
