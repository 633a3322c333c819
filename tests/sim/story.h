/* story.h: how a story of the simulator is told: it steps until a line of the trace comes, and asserts which lines came in which order and how the
 * job ended. A failure prints the end of the trace. */
#pragma once
#include "tests/helpers/test.h"
#include "tests/sim/sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static inline sim_t *begin(job_kind_t kind) {
    sim_t *s = sim_new(1, kind);
    s->keep = true;
    s->mix.workers = 3;
    s->job.parallelism = 3;
    return s;
}
static inline const char *trace(sim_t *s) { return buf_cstr(&s->text); }
static inline void tail(sim_t *s) {
    const char *t = trace(s);
    size_t n = strlen(t);
    printf("%s\n", n > 6000 ? t + n - 6000 : t);
    fflush(stdout);
}
/* Steps until the line comes, from the story's end so far on. */
static inline void until_(sim_t *s, const char *file, int line, const char *what, int64_t ms) {
    size_t from = s->text.len, part = strlen(what) - 1;
    int64_t end = s->now + ms * SIM_MS;
    while (s->now < end && !s->broken) {
        if (!sim_step(s)) break;
        if (s->text.len == from) continue;
        if (strstr(trace(s) + from, what)) return;
        from = MAX(from, s->text.len - MIN(part, s->text.len)); /* what was searched is not searched again */
    }
    tail(s);
    ck_abort_msg("%s:%d: '%s' does not come: %s", file, line, what, s->broken ? s->broken : "");
}
#define until(s, what) until_(s, __FILE__, __LINE__, what, 20000)
static inline void until_epoch_(sim_t *s, const char *file, int line, epoch_t e) {
    for (int64_t end = s->now + 30000 * SIM_MS; s->now < end && !s->broken;) {
        if (etcd_manifest(s->etcd) && etcd_manifest(s->etcd)->epoch >= e) return;
        if (!sim_step(s)) break;
    }
    tail(s);
    ck_abort_msg("%s:%d: epoch %" PRIu64 " does not come: %s", file, line, e, s->broken ? s->broken : "");
}
#define until_epoch(s, e) until_epoch_(s, __FILE__, __LINE__, e)
static inline void in_order_(sim_t *s, const char *file, int line, const char *const *parts, int n) {
    const char *at = trace(s);
    for (int i = 0; i < n; i++) {
        const char *hit = strstr(at, parts[i]);
        if (!hit) {
            tail(s);
            ck_abort_msg("%s:%d: '%s' does not come after %d others", file, line, parts[i], i);
        }
        at = hit + strlen(parts[i]);
    }
}
#define in_order(s, ...)                                                                                     \
    do {                                                                                                     \
        const char *const parts_[] = {__VA_ARGS__};                                                          \
        in_order_(s, __FILE__, __LINE__, parts_, (int)ARRAY_LEN(parts_));                                    \
    } while (0)
static inline int count(sim_t *s, const char *what) {
    int n = 0;
    for (const char *at = trace(s); (at = strstr(at, what)) != NULL; at += strlen(what)) n++;
    return n;
}
static inline char *line_of(const char *fmt, ...) PRINTF(1, 2);
static inline char *line_of(const char *fmt, ...) { /* lives until the fourth call after */
    static char text[4][128];
    static int at;
    char *p = text[at++ % 4];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p, 128, fmt, ap);
    va_end(ap);
    return p;
}
static inline proc_t *leader(sim_t *s) { return &s->procs[etcd_leader_proc(s->etcd)]; }
static inline proc_t *worker(sim_t *s, int i) { return &s->procs[SIM_COORDS + i]; }
/* A worker that has tasks of the attempt. */
static inline proc_t *busy_worker(sim_t *s) {
    attempt_t a;
    for (int i = 0; i < SIM_WORKERS; i++)
        if (sim_worker_runs(worker(s, i), &a)) return worker(s, i);
    ck_abort_msg("no worker runs the job");
    return NULL;
}
static inline void ends_well_(sim_t *s, const char *file, int line) {
    sim_heal(s);
    if (sim_finish(s, 30000)) sim_check_output(s);
    if (s->broken) {
        tail(s);
        ck_abort_msg("%s:%d: %s", file, line, s->broken);
    }
}
#define ends_well(s)                                                                                         \
    do {                                                                                                     \
        ends_well_(s, __FILE__, __LINE__);                                                                   \
        ck_assert_int_eq(etcd_job_state((s)->etcd), JOB_FINISHED);                                           \
        sim_free(s);                                                                                         \
    } while (0)
/* Dies at that effect, at its skip-th time, and the rest must be as if nothing had been. */
static inline sim_t *dies_at(job_kind_t kind, sim_row_t row, int skip) {
    sim_t *s = begin(kind);
    sim_start(s);
    until_epoch(s, 5);
    sim_aim(s, row, skip);
    until(s, sim_row_names[row]);
    return s;
}
static inline void until_ended(sim_t *s, job_state_t state) {
    for (int64_t end = s->now + 30000 * SIM_MS; s->now < end && !job_state_terminal(etcd_job_state(s->etcd)) && sim_step(s);) {}
    if (s->broken || etcd_job_state(s->etcd) != state) {
        tail(s);
        ck_abort_msg("the job is %s, not %s: %s", job_state_name(etcd_job_state(s->etcd)), job_state_name(state), s->broken ? s->broken : "");
    }
}
/* All links between workers break: the attempt ends, its processes stay. */
static inline void links_break(sim_t *s) {
    bool any = false;
    for (int a = 0; a < SIM_WORKERS; a++)
        for (int b = a + 1; b < SIM_WORKERS; b++) any |= xchan_break(s, worker(s, a), worker(s, b));
    ck_assert(any);
}
/* The path of its savepoint; the caller frees it. */
static inline char *stopped(sim_t *s) {
    sim_coord_stop_job(leader(s));
    until_ended(s, JOB_STOPPED);
    sim_check_output(s);
    ck_assert_msg(!s->broken, "%s", s->broken);
    ck_assert_ptr_nonnull(etcd_record(s->etcd)->savepoint);
    return xstrdup(etcd_record(s->etcd)->savepoint);
}
static inline void goes_on_with(sim_t *s, const char *savepoint, int parallelism, int lanes) {
    sim_job_rescale(s, parallelism, lanes);
    sim_coord_submit_from(leader(s), savepoint);
}
/* Within an attempt no epoch is missing between two that are durable. */
static inline void no_epoch_skipped(sim_t *s, attempt_t attempt) {
    epoch_t last = 0;
    for (const char *at = trace(s); (at = strstr(at, "etcd: manifest ")) != NULL; at++) {
        unsigned long long e, a;
        if (sscanf(at, "etcd: manifest %llu of attempt %llu is durable", &e, &a) != 2 || a != attempt) continue;
        if (last) ck_assert_uint_eq(e, last + 1);
        last = e;
    }
    ck_assert_uint_gt(last, 0);
}
