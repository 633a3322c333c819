/* test_story.c: interleavings of hazards.md part A as stories: one cluster, one thing that goes wrong, at the moment it hurts most. Each asserts
 * the decisive lines of the trace in their order, the invariants of sim_check.c, and the output row by row.
 *
 * What is about other machinery is played elsewhere; docs/testing.md has a table of all of them. */
#include "tests/helpers/test.h"
#include "tests/sim/sim.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- telling a story */
static sim_t *begin(job_kind_t kind) {
    sim_t *s = sim_new(1, kind);
    s->keep = true;
    s->mix.workers = 3;
    s->job.parallelism = 3;
    return s;
}
static const char *trace(sim_t *s) { return buf_cstr(&s->text); }
static void tail(sim_t *s) {
    const char *t = trace(s);
    size_t n = strlen(t);
    printf("%s\n", n > 6000 ? t + n - 6000 : t);
    fflush(stdout);
}
/* Steps until the line comes, from the story's end so far on. */
static void until_(sim_t *s, const char *file, int line, const char *what, int64_t ms) {
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
static void until_epoch_(sim_t *s, const char *file, int line, epoch_t e) {
    for (int64_t end = s->now + 30000 * SIM_MS; s->now < end && !s->broken;) {
        if (etcd_manifest(s->etcd) && etcd_manifest(s->etcd)->epoch >= e) return;
        if (!sim_step(s)) break;
    }
    tail(s);
    ck_abort_msg("%s:%d: epoch %" PRIu64 " does not come: %s", file, line, e, s->broken ? s->broken : "");
}
#define until_epoch(s, e) until_epoch_(s, __FILE__, __LINE__, e)
static void in_order_(sim_t *s, const char *file, int line, const char *const *parts, int n) {
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
static int count(sim_t *s, const char *what) {
    int n = 0;
    for (const char *at = trace(s); (at = strstr(at, what)) != NULL; at += strlen(what)) n++;
    return n;
}
static char *line_of(const char *fmt, ...) PRINTF(1, 2);
static char *line_of(const char *fmt, ...) { /* lives until the fourth call after */
    static char text[4][128];
    static int at;
    char *p = text[at++ % 4];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p, 128, fmt, ap);
    va_end(ap);
    return p;
}
static proc_t *leader(sim_t *s) { return &s->procs[etcd_leader_proc(s->etcd)]; }
static proc_t *worker(sim_t *s, int i) { return &s->procs[SIM_COORDS + i]; }
/* A worker that has tasks of the attempt. */
static proc_t *busy_worker(sim_t *s) {
    attempt_t a;
    for (int i = 0; i < SIM_WORKERS; i++)
        if (sim_worker_runs(worker(s, i), &a)) return worker(s, i);
    ck_abort_msg("no worker runs the job");
    return NULL;
}
static void ends_well_(sim_t *s, const char *file, int line) {
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
static sim_t *dies_at(job_kind_t kind, sim_row_t row, int skip) {
    sim_t *s = begin(kind);
    sim_start(s);
    until_epoch(s, 5);
    sim_aim(s, row, skip);
    until(s, sim_row_names[row]);
    return s;
}
static void until_ended(sim_t *s, job_state_t state) {
    for (int64_t end = s->now + 30000 * SIM_MS; s->now < end && !job_state_terminal(etcd_job_state(s->etcd)) && sim_step(s);) {}
    if (s->broken || etcd_job_state(s->etcd) != state) {
        tail(s);
        ck_abort_msg("the job is %s, not %s: %s", job_state_name(etcd_job_state(s->etcd)), job_state_name(state), s->broken ? s->broken : "");
    }
}
/* All links between workers break: the attempt ends, its processes stay. */
static void links_break(sim_t *s) {
    bool any = false;
    for (int a = 0; a < SIM_WORKERS; a++)
        for (int b = a + 1; b < SIM_WORKERS; b++) any |= xchan_break(s, worker(s, a), worker(s, b));
    ck_assert(any);
}
/* The path of its savepoint; the caller frees it. */
static char *stopped(sim_t *s) {
    sim_coord_stop_job(leader(s));
    until_ended(s, JOB_STOPPED);
    sim_check_output(s);
    ck_assert_msg(!s->broken, "%s", s->broken);
    ck_assert_ptr_nonnull(etcd_record(s->etcd)->savepoint);
    return xstrdup(etcd_record(s->etcd)->savepoint);
}
static void goes_on_with(sim_t *s, const char *savepoint, int parallelism, int lanes) {
    sim_job_rescale(s, parallelism, lanes);
    sim_coord_submit_from(leader(s), savepoint);
}
/* Within an attempt no epoch is missing between two that are durable. */
static void no_epoch_skipped(sim_t *s, attempt_t attempt) {
    epoch_t last = 0;
    for (const char *at = trace(s); (at = strstr(at, "etcd: manifest ")) != NULL; at++) {
        unsigned long long e, a;
        if (sscanf(at, "etcd: manifest %llu of attempt %llu is durable", &e, &a) != 2 || a != attempt) continue;
        if (last) ck_assert_uint_eq(e, last + 1);
        last = e;
    }
    ck_assert_uint_gt(last, 0);
}

/* ---------------------------------------------------------------- nothing goes wrong */
START_TEST(a_quiet_day) {
    for (job_kind_t k = 0; k < JOB_KINDS; k++) {
        sim_t *s = begin(k);
        sim_start(s);
        ends_well_(s, __FILE__, __LINE__);
        in_order(s, "client submits to c1", "manifest 0 of attempt 1 is durable", "> DEPLOY", "> START", "> INJECT e=1", "sealed e=1", "written e=1",
                 "> ACK e=1", "manifest 1 of attempt 1 is durable", "> COMPLETE e=1", "published e=1", "ended", "RUNNING -> FINISHED");
        ck_assert_uint_eq(s->attempts, 1);
        no_epoch_skipped(s, 1);
        sim_free(s);
    }
}
END_TEST

/* ---------------------------------------------------------------- A1 */
START_TEST(a1_an_epoch_that_cannot_be_written_waits) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 8);
    disk_full(s->disk, true);
    until(s, "no space left");
    sim_run_until(s, s->now + 1500 * SIM_MS);
    epoch_t held = etcd_manifest(s->etcd)->epoch;
    ck_assert_uint_le(s->inject_max, held + 4); /* the in-flight bound holds the sources */
    disk_full(s->disk, false);
    until(s, line_of("manifest %" PRIu64 " of attempt 1 is durable", held + 1));
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_uint_eq(s->attempts, 1); /* it was waited for, not restarted */
    no_epoch_skipped(s, 1);
    sim_free(s);
}
END_TEST
START_TEST(a1_a_leader_dies_between_two_injects) {
    sim_t *s = dies_at(JOB_WINDOW, ROW_C_INJECT, 4);
    epoch_t begun = s->inject_max;
    ends_well_(s, __FILE__, __LINE__);
    in_order(s, "leader dies between two INJECTs", "c1 dies", "etcd: c2 leads", "etcd: attempt 2, floor", "> INJECT");
    ck_assert_uint_gt(s->inject_before, 0);
    ck_assert_uint_ge(s->inject_before, begun);
    no_epoch_skipped(s, 2);
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A2 */
START_TEST(a2_epochs_of_a_dead_attempt_are_never_published) {
    sim_t *s = dies_at(JOB_FILTER, ROW_APPENDED, 7); /* its segment is durable, and with it no doubt those of others; the epoch cannot complete */
    epoch_t durable = etcd_manifest(s->etcd)->epoch, dead = s->inject_max;
    until(s, "etcd: attempt 2");
    epoch_t restored = etcd_manifest(s->etcd)->epoch;
    const char *last = line_of("last %" PRIu64, restored);
    until(s, "manifest");
    ck_assert_uint_eq(etcd_manifest(s->etcd)->attempt, 2);
    ck_assert_uint_gt(etcd_manifest(s->etcd)->epoch, durable + 1); /* ids of the dead are not used again */
    in_order(s, sim_row_names[ROW_APPENDED], "etcd: attempt 2, floor", last, "of attempt 2 is durable");
    sim_aim(s, ROW_COMPLETED, 0); /* and again, before anything of the new attempt is published: the lanes look for what is behind their ledger */
    until(s, sim_row_names[ROW_COMPLETED]);
    until(s, "etcd: attempt 3");
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_uint_gt(dead, restored);
    for (epoch_t e = restored + 1; e <= dead; e++) ck_assert_int_eq(count(s, line_of("manifest %" PRIu64 " of", e)), 0);
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A3 */
START_TEST(a3_a_manifest_lands_while_the_attempt_is_given_up) {
    sim_t *s = begin(JOB_WINDOW);
    sim_start(s);
    until_epoch(s, 9);
    etcd_lose_next(s->etcd, ETCD_LATE, 400 * SIM_MS);
    until(s, "> ACK e=10");
    sim_run_until(s, s->now + 15 * SIM_MS);
    ck_assert_uint_eq(etcd_manifest(s->etcd)->epoch, 9);
    proc_kill(busy_worker(s), true); /* its leader wants to begin anew, and must not choose 9 */
    until(s, "manifest 10 of attempt 1 is durable");
    until(s, "> DEPLOY e=10 a=2");
    in_order(s, "dies with its machine", "RUNNING -> RESTARTING", "manifest 10 of attempt 1 is durable", "etcd: attempt 2, floor", "last 10",
             "> DEPLOY e=10 a=2");
    ends_well(s);
}
END_TEST
START_TEST(a3_a_manifest_of_a_dead_leader_lands_before_the_next_one_looks) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 9);
    sim_aim(s, ROW_C_FLYING, 0);
    etcd_lose_next(s->etcd, ETCD_LATE, 300 * SIM_MS);
    until(s, "manifest 10 of attempt 1 is durable");
    until(s, "etcd: attempt 2, floor");
    in_order(s, "leader dies while a manifest is on its way", "c1 dies", "manifest lands after its leader gave it up",
             "manifest 10 of attempt 1 is durable", "etcd: lease of c1 expires", " leads, epoch", "etcd: attempt 2, floor", "last 10");
    ends_well(s);
}
END_TEST
START_TEST(a3_a_manifest_of_a_leader_without_lease_is_refused) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 9);
    proc_t *old = leader(s);
    etcd_lose_next(s->etcd, ETCD_LATE, 4000 * SIM_MS);
    until(s, "> ACK e=10");
    sim_run_until(s, s->now + 15 * SIM_MS);
    old->paused_until = s->now + 4500 * SIM_MS;
    until(s, "manifest of a dead attempt or leader is refused");
    in_order(s, "lease of c1 expires", "etcd: c2 leads", "etcd: attempt 2, floor", "last 9", "manifest of a dead attempt or leader is refused");
    ends_well(s);
}
END_TEST
START_TEST(a3_an_unknown_outcome_is_asked_again_until_it_is_known) {
    for (int how = ETCD_LOSE_REQUEST; how <= ETCD_LOSE_ANSWER; how++) {
        sim_t *s = begin(JOB_FILTER);
        sim_start(s);
        until_epoch(s, 9);
        etcd_lose_next(s->etcd, (etcd_loss_t)how, 0);
        until(s, "no answer from the store");
        ck_assert_int_eq(count(s, "> COMPLETE e=10"), 0); /* while it is unknown nothing completes */
        ck_assert_uint_eq(s->reached[how == ETCD_LOSE_REQUEST ? ROW_PUT_NOT : ROW_PUT_LANDED], 1);
        until(s, "> COMPLETE e=10");
        ck_assert_uint_eq(s->attempts, 1);
        ends_well(s);
    }
}
END_TEST

/* ---------------------------------------------------------------- A4 */
START_TEST(a4_a_damaged_changelog_stops_the_job_by_its_name) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until(s, "published e=5"); /* and no base yet: all state is in the changelog */
    ck_assert_int_eq(etcd_manifest(s->etcd)->nbases, 0);
    proc_kill(busy_worker(s), false);
    until(s, "etcd: attempt 2");
    for (int i = 0; i < etcd_manifest(s->etcd)->nextents; i++) disk_damage(s->disk, etcd_manifest(s->etcd)->extents[i].path);
    until_ended(s, JOB_FAILED); /* it does not fall back to an older epoch: its output is published */
    ck_assert_int_eq(err_code(etcd_record(s->etcd)->error), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_text(etcd_record(s->etcd)->error), "/log/"));
    ck_assert_ptr_null(s->broken);
    sim_free(s);
}
END_TEST

/* What is put out at once comes again; counts are those of rows that were each read once. Now and then what was damaged was not needed: a base
 * covers it. */
START_TEST(a4_a_damaged_file_takes_a_job_without_exactly_once_output_back) {
    int went = 0;
    for (int n = 0; n < 12; n++) {
        sim_t *s = begin(JOB_LOOSE);
        rng_seed(&s->rng, (uint64_t)n + 1);
        sim_start(s);
        until_epoch(s, (epoch_t)(3 + 2 * n));
        ck_assert(sim_damage(s, false));
        sim_crash_workers(s);
        if (n % 3 == 1) sim_aim(s, ROW_C_BACK, 0);
        ends_well_(s, __FILE__, __LINE__);
        ck_assert_int_eq(etcd_job_state(s->etcd), JOB_FINISHED);
        bool back = etcd_manifest(s->etcd)->fell.times == 1;
        if (back) in_order(s, "is damaged at byte", "is tried instead of", "> START");
        went += back;
        sim_free(s);
    }
    ck_assert_int_ge(went, 8);
}
END_TEST

/* One worker was given up and sleeps: when it wakes up the job has gone back, and what it writes and acks is nothing. */
START_TEST(a4_a_worker_of_the_epochs_given_up_wakes_up_and_changes_nothing) {
    sim_t *s = begin(JOB_LOOSE);
    s->job.span_ms = 8000;
    sim_start(s);
    until_epoch(s, 12);
    worker(s, 1)->paused_until = s->now + 4000 * SIM_MS;
    ck_assert(sim_damage(s, false));
    proc_kill(worker(s, 0), false);
    proc_restart_later(worker(s, 0), 20);
    until(s, "goes on from epoch");
    ck_assert_int_gt(worker(s, 1)->paused_until, s->now);
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_int_lt(worker(s, 1)->paused_until, s->now);
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A5, A13 */
START_TEST(a5_bases_hold_complete_epochs_only_though_memory_is_short) {
    sim_t *s = begin(JOB_UPSERT);
    s->mix.memory = 3000; /* all the time over its budget: spills */
    s->job.keys = 60;
    sim_start(s);
    until_epoch(s, 20);
    sim_aim(s, ROW_SEALED, 3); /* epoch sealed, the task has gone on, the epoch never completes */
    until(s, sim_row_names[ROW_SEALED]);
    proc_restart_later(worker(s, 0), 100);
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_uint_ge(s->reached[ROW_BASES_USED], 1);
    ck_assert_uint_ge(s->memory_short, 10);
    sim_free(s);
}
END_TEST
START_TEST(a5_a_base_that_was_stored_but_not_accepted_is_nothing) {
    sim_t *s = begin(JOB_WINDOW);
    sim_start(s);
    until_epoch(s, 4);
    sim_aim(s, ROW_BASE_STORED, 0);
    until(s, sim_row_names[ROW_BASE_STORED]);
    ends_well(s);
}
END_TEST
START_TEST(a5_a_worker_dies_inside_a_base) {
    for (int skip = 0; skip < 2; skip++) {
        sim_t *s = begin(JOB_UPSERT);
        sim_start(s);
        until_epoch(s, 4);
        sim_aim(s, ROW_IN_BASE, skip);
        until(s, sim_row_names[ROW_IN_BASE]);
        ends_well(s);
    }
}
END_TEST
START_TEST(a13_rollback_in_place_returns_to_the_manifest_not_to_the_base) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until(s, "> BASE_ACCEPTED");
    until_epoch(s, etcd_manifest(s->etcd)->epoch + 3); /* epochs over the base */
    until(s, "sealed");                                /* and values that are in none */
    epoch_t to = etcd_manifest(s->etcd)->epoch;
    ck_assert_int_gt(etcd_manifest(s->etcd)->nbases, 0);
    for (int i = 0; i < etcd_manifest(s->etcd)->nbases; i++) ck_assert_uint_le(etcd_manifest(s->etcd)->bases[i].epoch + 3, to);
    links_break(s);
    until(s, "> DEPLOY");
    ck_assert_uint_ge(etcd_manifest(s->etcd)->epoch, to);
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_uint_ge(s->reached[ROW_BASES_USED], 1);
    ck_assert_int_eq(count(s, " dies"), 0); /* every process went on */
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A6, A24 */
START_TEST(a6_nothing_reconnects_inside_an_attempt) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 10);
    links_break(s);
    until(s, "etcd: attempt 2");
    in_order(s, "the data link to", "> FAILED", "RUNNING -> RESTARTING", "> STOP", "> STOPPED", "etcd: attempt 2");
    ends_well(s);
}
END_TEST
START_TEST(a6_a_worker_that_wakes_up_in_a_later_attempt_changes_nothing) {
    for (job_kind_t k = 0; k < JOB_KINDS; k++) {
        sim_t *s = begin(k);
        sim_start(s);
        until_epoch(s, 10);
        proc_t *z = busy_worker(s);
        z->paused_until = s->now + 2500 * SIM_MS; /* rows of attempt 1 in its channels, a transaction perhaps open */
        until(s, "was silent for");
        until(s, "of attempt 2 is durable");
        until(s, line_of("%s > REGISTER", z->name)); /* it is back, told that it is out, and comes anew */
        ck_assert_int_gt(s->now, z->paused_until - SIM_MS);
        ends_well(s);
    }
}
END_TEST
START_TEST(a24_after_a_re_seek_in_place_each_row_comes_once) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    for (int i = 1; i <= 2; i++) { /* a link that fails more often costs an end its place */
        until_epoch(s, (etcd_manifest(s->etcd) ? etcd_manifest(s->etcd)->epoch : 0) + 4);
        until(s, "sealed"); /* sources have read on */
        links_break(s);
        until(s, line_of("of attempt %d is durable", i + 1));
    }
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_uint_ge(s->attempts, 3);
    ck_assert_int_eq(count(s, " dies"), 0); /* in place: every process went on */
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A7 */
START_TEST(a7_nothing_is_injected_after_the_final_barrier_of_stop) {
    sim_t *s = begin(JOB_FILTER);
    sim_start(s);
    until_epoch(s, 12);
    until(s, "> INJECT"); /* an epoch is under way: the savepoint of a stop that did not wait would lie before it */
    ck_assert_uint_gt(s->inject_max, etcd_manifest(s->etcd)->epoch);
    sim_coord_stop_job(leader(s));
    until_ended(s, JOB_STOPPED);
    ck_assert(etcd_manifest(s->etcd)->final);
    ck_assert_uint_eq(s->inject_max, etcd_manifest(s->etcd)->epoch); /* no later epoch of this incarnation exists */
    sim_check_output(s);                                             /* exactly the rows before the barrier */
    ck_assert_msg(!s->broken, "%s", s->broken);
    sim_free(s);
}
END_TEST
START_TEST(a7_stop_survives_its_leader) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 12);
    sim_coord_stop_job(leader(s));
    sim_aim(s, ROW_C_STORED, 0);
    until(s, sim_row_names[ROW_C_STORED]);
    until_ended(s, JOB_STOPPED);
    sim_check_output(s);
    ck_assert_msg(!s->broken, "%s", s->broken);
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A8, A9 */
START_TEST(a8_where_the_job_starts_is_durable_before_the_first_poll) {
    sim_t *s = begin(JOB_WINDOW);
    sim_start(s);
    sim_aim(s, ROW_C_FLYING, 0); /* the leader dies over it: the next one must not resolve another start if it landed */
    until(s, "> START");
    in_order(s, "leader dies while a manifest is on its way", "manifest 0 of attempt 1 is durable", "etcd: c2 leads", "etcd: attempt 2", "> DEPLOY e=0 a=2",
             "> START");
    ends_well(s);
}
END_TEST
START_TEST(a9_event_time_survives_a_restore) {
    sim_t *s = begin(JOB_WINDOW);
    sim_start(s);
    uint64_t late = 0;
    for (int i = 0; i < 3; i++) { /* windows have fired; a row of theirs must not open them again */
        until_epoch(s, etcd_manifest(s->etcd) ? etcd_manifest(s->etcd)->epoch + 8 : 8);
        until(s, "published");
        ck_assert_msg(!i || s->reached[ROW_LATE] > late, "no row of a window that had fired came after restart %d", i);
        late = s->reached[ROW_LATE];
        for (int k = 0; k < SIM_WORKERS; k++) { /* all of them: no memory of the watermark is left */
            proc_kill(worker(s, k), true);
            proc_restart_later(worker(s, k), 10 + k);
        }
    }
    ck_assert_uint_ge(s->attempts, 3);
    ends_well(s);
}
END_TEST

/* A key group moves to a task that has seen less: were event time the task's, and not the stage's in the manifest, a row of a window that has fired
 * would open it again. */
START_TEST(a9_a_window_that_fired_stays_shut_when_its_keys_move_to_other_tasks) {
    static const int to[] = {2, 5};
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        sim_t *s = begin(JOB_WINDOW);
        sim_start(s);
        until_epoch(s, 14);
        ck_assert_uint_ge(s->reached[ROW_LATE], 1); /* windows have fired */
        job_id_t before = etcd_record(s->etcd)->id;
        AUTO(auto_free) char *savepoint = stopped(s);
        goes_on_with(s, savepoint, to[i], 0);
        until(s, "> START");
        ck_assert_uint_ne(etcd_record(s->etcd)->id, before);
        ck_assert_int_eq(etcd_manifest(s->etcd)->parallelism, to[i]);
        uint64_t late = s->reached[ROW_LATE];
        ends_well_(s, __FILE__, __LINE__);
        ck_assert_uint_gt(s->reached[ROW_LATE], late);
        in_order(s, "STOPPED", "client submits to c1 from", "> DEPLOY", "RUNNING -> FINISHED");
        sim_free(s);
    }
}
END_TEST

/* ---------------------------------------------------------------- A15 */
START_TEST(a15_no_epoch_claims_rows_that_the_broker_has_not_confirmed) {
    sim_t *s = begin(JOB_DIRECT);
    sim_start(s);
    until_epoch(s, 8);
    kafka_down(s->kafka, s->now + 3000 * SIM_MS);
    sim_run_until(s, s->now + 1000 * SIM_MS); /* rows are read and written, barriers pass; nothing of it reaches the broker */
    epoch_t held = etcd_manifest(s->etcd)->epoch;
    uint64_t written = direct_undelivered(s->direct);
    ck_assert_uint_gt(written, 0);
    ck_assert_uint_gt(s->inject_max, held);
    for (int i = 0; i < SIM_WORKERS; i++) { /* before any of it was sent */
        proc_kill(worker(s, i), i == 0);
        proc_restart_later(worker(s, i), 50);
    }
    until(s, "etcd: attempt 2");
    ck_assert_uint_eq(etcd_manifest(s->etcd)->epoch, held);
    ends_well_(s, __FILE__, __LINE__); /* sim_job_check_delivered looks at every manifest, and no row is missing */
    ck_assert_uint_ge(direct_undelivered(s->direct), written); /* those were lost, indeed */
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A17 */
/* With fewer lanes a key would get another one, and with it another partition: there its old value would stay for ever, beside the new one. */
START_TEST(a17_a_key_keeps_its_lane_when_its_task_changes) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 12);
    AUTO(auto_free) char *savepoint = stopped(s);
    goes_on_with(s, savepoint, 2, 0);
    until(s, "which has 2 lanes now and had 3");
    until_ended(s, JOB_FAILED);
    goes_on_with(s, savepoint, 2, 3);
    until(s, "> START");
    ck_assert_int_eq(etcd_manifest(s->etcd)->parallelism, 2);
    ends_well(s); /* see_upsert looks at every record */
}
END_TEST

/* ---------------------------------------------------------------- A18 */
START_TEST(a18_twins_count_once_each_over_restarts) {
    sim_t *s = begin(JOB_TWINS);
    sim_start(s);
    for (int i = 0; i < 2; i++) {
        until_epoch(s, etcd_manifest(s->etcd) ? etcd_manifest(s->etcd)->epoch + 10 : 10);
        proc_t *p = busy_worker(s);
        proc_kill(p, true);
        proc_restart_later(p, 10);
    }
    until(s, "etcd: attempt 3");
    ends_well(s);
}
END_TEST

/* ---------------------------------------------------------------- A12, A14 */
START_TEST(a12_a_lane_without_rows_raises_no_false_alarm) {
    sim_t *s = begin(JOB_UPSERT);
    s->job.keys = 1; /* one lane has all rows */
    sim_start(s);
    until_epoch(s, 25);
    int commits[3], quiet = 0;
    for (int lane = 0; lane < 3; lane++) {
        commits[lane] = count(s, line_of("results/%d transaction 1 committed", lane));
        quiet += commits[lane] == 0;
    }
    ck_assert_int_eq(quiet, 2); /* they hold their start record only */
    for (int k = 0; k < SIM_WORKERS; k++) {
        proc_kill(worker(s, k), false);
        proc_restart_later(worker(s, k), 10);
    }
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_int_eq(count(s, "the ledger"), 0);
    sim_free(s);
}
END_TEST
START_TEST(a14_a_leader_that_wakes_up_deletes_nothing_that_is_needed) {
    sim_t *s = begin(JOB_UPSERT);
    s->mix.file_bytes = 300; /* so that a base leaves files behind */
    sim_start(s);
    while (!etcd_manifest(s->etcd) || !etcd_manifest(s->etcd)->nbases) ck_assert(sim_step(s));
    proc_t *old = leader(s);
    old->paused_until = s->now + 60000 * SIM_MS; /* the manifest with the base is durable; what it makes garbage goes when its answer is there */
    until(s, "etcd: c2 leads");
    until(s, "etcd: attempt 2");
    until(s, "of attempt 2 is durable");
    old->paused_until = s->now;
    until(s, "c1 deletes"); /* it had them in hand */
    ends_well(s);           /* check_remove looks at each of them */
}
END_TEST

static int listed(sim_t *s) { /* files by the last listing */
    const char *last = NULL;
    for (const char *at = trace(s); (at = strstr(at, " lists ")) != NULL; at++) last = at;
    return last ? atoi(last + 7) : 0;
}

/* Until the leader has listed what the death of all workers inside a base has left: the changelogs of attempt 1, which the manifest names, and the
 * files of that base, which none does. */
static sim_t *listed_old_files(int64_t look_us) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 5);
    sim_aim(s, ROW_BASE_STORED, 0);
    until(s, sim_row_names[ROW_BASE_STORED]);
    for (int i = 0; i < 3; i++) proc_restart_later(worker(s, i), 10);
    until(s, "etcd: attempt 2");
    etcd_slow_looks(s->etcd, look_us);
    do until(s, " lists ");
    while (listed(s) < 3);
    etcd_slow_looks(s->etcd, 0);
    return s;
}

/* The old leader is paused before the store's answer, and wakes up with its list when workers of the next leader's attempt have acked segments that no
 * manifest names yet. */
START_TEST(a14_a_paused_leader_that_listed_files_removes_no_other_leaders) {
    sim_t *s = listed_old_files(0);
    proc_t *old = leader(s);
    old->paused_until = s->now + 60000 * SIM_MS;
    until(s, "etcd: c2 leads");
    until(s, "etcd: attempt 3");
    until(s, "> START");
    until(s, "> ACK");
    until(s, "> ACK");
    old->paused_until = s->now;
    until(s, "this coordinator stood still");
    until(s, "of attempt 3 is durable");
    ends_well(s); /* check_remove and check_manifest_durable look at every file */
}
END_TEST

/* The store is asked when another leads already: what was listed is for that one to remove. */
START_TEST(a14_files_listed_before_another_leads_are_not_removed_by_who_listed_them) {
    sim_t *s = listed_old_files(700 * SIM_MS);
    etcd_revoke(s->etcd);
    until(s, "etcd: c2 leads");
    until(s, sim_row_names[ROW_ORPHANS_STALE]);
    ends_well_(s, __FILE__, __LINE__);
    const char *after = strstr(trace(s), "etcd: c2 leads");
    ck_assert(after && strstr(after, "c2 deletes")); /* there was something to remove */
    ck_assert(!strstr(after, "c1 deletes"));
    sim_free(s);
}
END_TEST

/* ---------------------------------------------------------------- A20, A22 */
START_TEST(a20_the_last_rows_are_in_a_final_epoch) {
    sim_t *s = begin(JOB_WINDOW);
    sim_start(s);
    until_(s, __FILE__, __LINE__, "ended", 60000);
    proc_kill(busy_worker(s), true); /* sources have ended, the last windows are in no epoch yet */
    ends_well_(s, __FILE__, __LINE__);
    ck_assert(etcd_manifest(s->etcd)->final);
    in_order(s, "ended", "dies", "etcd: attempt 2", "ended", "RUNNING -> FINISHED");
    sim_free(s);
}
END_TEST
START_TEST(a20_a_finished_job_publishes_before_it_is_finished) {
    sim_t *s = begin(JOB_WINDOW);
    sim_start(s);
    until_(s, __FILE__, __LINE__, "ended", 60000);
    kafka_down(s->kafka, s->now + 3000 * SIM_MS);
    int64_t down_until = s->now + 3000 * SIM_MS;
    while (!job_state_terminal(etcd_job_state(s->etcd)) && sim_step(s)) {}
    ck_assert_int_gt(s->now, down_until);
    ends_well(s);
}
END_TEST
START_TEST(a22_a_file_whose_sync_failed_is_abandoned) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 6);
    disk_fail_next(s->disk, DISK_WRITE, 2, ERR_IO); /* append, then sync */
    until(s, sim_row_names[ROW_SYNC_FAILED]);
    epoch_t at = etcd_manifest(s->etcd)->epoch;
    until_epoch(s, at + 3);
    ck_assert_uint_eq(s->attempts, 1);
    bool second = false; /* the segment went, whole, to another file */
    for (int i = 0; i < etcd_manifest(s->etcd)->nextents; i++) second |= strstr(etcd_manifest(s->etcd)->extents[i].path, ".1.log") != NULL;
    ck_assert(second);
    proc_kill(busy_worker(s), true);
    ends_well(s);
}
END_TEST
START_TEST(a22_a_machine_dies_with_what_was_not_synced) {
    static const sim_row_t rows[] = {ROW_TORN_APPEND, ROW_UNSYNCED, ROW_APPENDED};
    uint64_t lost = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sim_t *s = dies_at(JOB_UPSERT, rows[i], 5);
        for (int k = 0; k < SIM_WORKERS; k++) { /* the others' machines, too */
            if (!worker(s, k)->alive) continue;
            proc_kill(worker(s, k), true);
            proc_restart_later(worker(s, k), 10);
        }
        lost += s->reached[ROW_LOST_WRITES];
        ends_well(s);
    }
    ck_assert_uint_gt(lost, 0);
}
END_TEST

/* ---------------------------------------------------------------- publication (A2, B7, B8, B9; the facts of foundations 1) */
START_TEST(publication_survives_a_death_at_each_of_its_steps) {
    static const sim_row_t rows[] = {ROW_COMPLETED, ROW_SEND, ROW_IN_TXN, ROW_COMMIT_SENT, ROW_COMMITTED};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sim_t *s = dies_at(JOB_FILTER, rows[i], 6);
        ends_well(s);
    }
}
END_TEST
START_TEST(a_commit_whose_answer_is_lost_happened_or_not_and_the_ledger_knows) {
    for (int how = KAFKA_LOSE_COMMIT; how <= KAFKA_LATE_COMMIT; how++) {
        sim_t *s = begin(JOB_FILTER);
        sim_start(s);
        until_epoch(s, 8);
        kafka_lose_next(s->kafka, (kafka_loss_t)how);
        until(s, "in doubt");
        until(s, " belongs to "); /* a new producer; then the ledger is read */
        ck_assert_uint_eq(s->reached[how == KAFKA_LOSE_COMMIT ? ROW_COMMIT_NOT : how == KAFKA_LATE_COMMIT ? ROW_COMMIT_LATE : ROW_COMMIT_LOST], 1);
        ck_assert_uint_eq(s->attempts, 1);
        ends_well(s);
    }
}
END_TEST
START_TEST(a_zombie_inside_a_transaction_is_fenced) {
    sim_t *s = begin(JOB_FILTER);
    sim_start(s);
    until_epoch(s, 8);
    while (kafka_open_transactions(s->kafka) == 0) ck_assert(sim_step(s));
    for (int i = 0; i < SIM_WORKERS; i++) worker(s, i)->paused_until = i < 2 ? s->now + 3000 * SIM_MS : 0;
    until(s, "was silent for");
    until_(s, __FILE__, __LINE__, "of attempt 2 is durable", 20000);
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_uint_ge(s->reached[ROW_TXN_FENCED], 1);
    sim_free(s);
}
END_TEST
START_TEST(a_broker_that_is_away_holds_output_and_nothing_else) {
    sim_t *s = begin(JOB_UPSERT);
    sim_start(s);
    until_epoch(s, 8);
    epoch_t from = etcd_manifest(s->etcd)->epoch;
    kafka_down(s->kafka, s->now + 2000 * SIM_MS);
    sim_run_until(s, s->now + 1900 * SIM_MS);
    ck_assert_uint_gt(etcd_manifest(s->etcd)->epoch, from + 5);
    ck_assert_uint_eq(s->attempts, 1);
    ends_well(s);
}
END_TEST
START_TEST(transactions_that_the_broker_aborts_are_sent_again) {
    sim_t *s = begin(JOB_FILTER);
    s->mix.txn_timeout_ms = 2; /* nearly none is in time */
    s->mix.latency_us = 900;
    sim_start(s);
    until_epoch(s, 6);
    s->mix.txn_timeout_ms = 10000;
    ck_assert_uint_ge(s->reached[ROW_TXN_EXPIRED], 1);
    ends_well(s);
}
END_TEST

/* ---------------------------------------------------------------- the crash table, row by row */
START_TEST(a_death_at_every_effect_of_every_job) {
    static const sim_row_t rows[] = {
        ROW_BEFORE_SEAL, ROW_SEALED, ROW_TORN_APPEND, ROW_UNSYNCED, ROW_APPENDED, ROW_ACKED, ROW_COMPLETED, ROW_INIT, ROW_SEND, ROW_IN_TXN,
        ROW_COMMIT_SENT, ROW_COMMITTED, ROW_BETWEEN_PARTS, ROW_IN_BASE, ROW_BASE_STORED, ROW_DEPLOY, ROW_RESTORE, ROW_BUILT, ROW_C_RAISE, ROW_C_DEPLOY,
        ROW_C_START, ROW_C_INJECT, ROW_C_PUT, ROW_C_BODY, ROW_C_FLYING, ROW_C_STORED, ROW_C_COMPLETE, ROW_C_ACCEPT, ROW_C_STOP};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int n = 0; n < 2 * JOB_KINDS; n++) {
            bool at_start = rows[i] == ROW_INIT || rows[i] == ROW_DEPLOY || rows[i] == ROW_RESTORE || rows[i] == ROW_BUILT ||
                            rows[i] == ROW_C_RAISE || rows[i] == ROW_C_DEPLOY || rows[i] == ROW_C_START || rows[i] == ROW_C_STOP;
            sim_t *s = begin((job_kind_t)(n / 2));
            if (rows[i] == ROW_BETWEEN_PARTS) s->mix.txn_bytes = 100;
            sim_start(s);
            until_epoch(s, 5);
            sim_aim(s, rows[i], rows[i] == ROW_C_RAISE ? 0 : n % 2); /* that comes once */
            if (at_start) { /* so that there is an attempt to begin */
                proc_t *p = busy_worker(s);
                proc_kill(p, false);
                proc_restart_later(p, 5);
            }
            until(s, sim_row_names[rows[i]]);
            ends_well(s);
        }
}
END_TEST

TESTS("sim/story", a_quiet_day, a_death_at_every_effect_of_every_job, a1_an_epoch_that_cannot_be_written_waits, a1_a_leader_dies_between_two_injects,
      a2_epochs_of_a_dead_attempt_are_never_published, a3_a_manifest_lands_while_the_attempt_is_given_up,
      a3_a_manifest_of_a_dead_leader_lands_before_the_next_one_looks, a3_a_manifest_of_a_leader_without_lease_is_refused,
      a3_an_unknown_outcome_is_asked_again_until_it_is_known, a4_a_damaged_changelog_stops_the_job_by_its_name,
      a4_a_damaged_file_takes_a_job_without_exactly_once_output_back, a4_a_worker_of_the_epochs_given_up_wakes_up_and_changes_nothing,
      a5_bases_hold_complete_epochs_only_though_memory_is_short, a5_a_base_that_was_stored_but_not_accepted_is_nothing,
      a5_a_worker_dies_inside_a_base, a13_rollback_in_place_returns_to_the_manifest_not_to_the_base, a6_nothing_reconnects_inside_an_attempt,
      a6_a_worker_that_wakes_up_in_a_later_attempt_changes_nothing, a24_after_a_re_seek_in_place_each_row_comes_once,
      a7_nothing_is_injected_after_the_final_barrier_of_stop, a7_stop_survives_its_leader, a8_where_the_job_starts_is_durable_before_the_first_poll,
      a9_event_time_survives_a_restore,
      a9_a_window_that_fired_stays_shut_when_its_keys_move_to_other_tasks, a15_no_epoch_claims_rows_that_the_broker_has_not_confirmed,
      a17_a_key_keeps_its_lane_when_its_task_changes, a18_twins_count_once_each_over_restarts, a12_a_lane_without_rows_raises_no_false_alarm,
          a14_a_leader_that_wakes_up_deletes_nothing_that_is_needed, a14_a_paused_leader_that_listed_files_removes_no_other_leaders,
      a14_files_listed_before_another_leads_are_not_removed_by_who_listed_them,
      a20_the_last_rows_are_in_a_final_epoch, a20_a_finished_job_publishes_before_it_is_finished, a22_a_file_whose_sync_failed_is_abandoned,
      a22_a_machine_dies_with_what_was_not_synced, publication_survives_a_death_at_each_of_its_steps,
      a_commit_whose_answer_is_lost_happened_or_not_and_the_ledger_knows, a_zombie_inside_a_transaction_is_fenced,
      a_broker_that_is_away_holds_output_and_nothing_else, transactions_that_the_broker_aborts_are_sent_again)
