/* test_story.c: interleavings of hazards.md part A as stories: one cluster, one thing that goes wrong, at the moment it hurts most. Each asserts
 * the decisive lines of the trace in their order, the invariants of sim_check.c, and the output row by row. The job's end, what a disk does, the
 * steps of a publication and the crash table: test_crash.c.
 *
 * What is about other machinery is played elsewhere; docs/testing.md has a table of all of them. */
#include "tests/sim/story.h"

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

/* A new leader has read none of what is kept, and storage does not show it at once: it is read again before a damaged file is judged. */
START_TEST(a4_what_is_kept_is_read_again_by_a_leader_that_could_not_read_it) {
    sim_t *s = begin(JOB_LOOSE);
    sim_start(s);
    until_epoch(s, 12);
    ck_assert(sim_damage(s, false));
    sim_crash_workers(s);
    sim_new_leader_reads_badly(s);
    until(s, "an older epoch cannot be read: injected");
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_int_eq(etcd_job_state(s->etcd), JOB_FINISHED);
    ck_assert_uint_eq(s->reached[ROW_OLDER_UNREAD], 1);
    in_order(s, "is damaged at byte", "an older epoch cannot be read: injected", "is tried instead of", "goes on from epoch", "> START");
    sim_free(s);
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
/* Sets of a thousand values in pages: groups and pages leave memory, come back, and move to other tasks. */
START_TEST(a5_large_sets_of_values_lose_and_double_nothing_though_memory_is_short) {
    for (int memory = 0; memory < 2; memory++) {
        sim_t *s = begin(JOB_UPSERT);
        s->mix.memory = memory ? 3000 : 0;
        s->job.distinct = true;
        s->job.keys = 2;
        sim_start(s);
        until_epoch(s, 22);
        sim_aim(s, ROW_SEALED, 3);
        until(s, sim_row_names[ROW_SEALED]);
        proc_restart_later(worker(s, 0), 100);
        ends_well_(s, __FILE__, __LINE__);
        ck_assert_uint_ge(s->reached[ROW_BASES_USED], 1);
        sim_free(s);
    }
}
END_TEST
/* ---------------------------------------------------------------- B1 */
static int64_t rows_read(sim_t *s) {
    const manifest_t *m = etcd_manifest(s->etcd);
    int64_t n = 0;
    for (int i = 0; i < m->nsources; i++)
        for (int k = 0; k < m->sources[i].splits.n; k++) n += m->sources[i].splits.items[k].position;
    return n;
}
START_TEST(b1_sources_wait_while_the_broker_takes_no_output_and_go_on_when_it_does) {
    sim_t *s = begin(JOB_UPSERT);
    s->mix.output_max = 300;
    sim_start(s);
    until_epoch(s, 5);
    kafka_down(s->kafka, s->now + 60000 * SIM_MS);
    sim_run_until(s, s->now + 1500 * SIM_MS);
    int64_t read = rows_read(s);
    uint64_t epochs = s->epochs, full = s->output_full;
    sim_run_until(s, s->now + 1000 * SIM_MS);
    ck_assert_int_eq(rows_read(s), read);
    ck_assert_uint_gt(s->epochs, epochs); /* barriers pass */
    ck_assert_uint_gt(s->output_full, full);
    proc_t *w = busy_worker(s); /* what the next attempt restores counts, too */
    proc_kill(w, false);
    proc_restart_later(w, 20);
    sim_run_until(s, s->now + 2000 * SIM_MS);
    ck_assert_int_eq(rows_read(s), read);
    ends_well_(s, __FILE__, __LINE__);
    ck_assert_int_gt(rows_read(s), read);
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
/* What a worker's own disk loses lies in storage, too: the attempt ends, whether a task or the base thread meets it, and no process. */
START_TEST(a_local_base_that_is_corrupt_costs_an_attempt_and_no_row) {
    for (int all = 0; all < 2; all++) {
        sim_t *s = begin(JOB_UPSERT);
        s->mix.memory = 3000; /* all the time over its budget: it is read and written */
        s->job.keys = 60;
        sim_start(s);
        until_epoch(s, 12);
        int broken = 0;
        for (int i = 0; i < SIM_WORKERS && (all || !broken); i++) broken += sim_worker_break_base(worker(s, i));
        ck_assert_int_ge(broken, 1);
        until(s, "it is corrupt");
        until(s, "> START");
        ends_well_(s, __FILE__, __LINE__);
        ck_assert_int_eq(etcd_job_state(s->etcd), JOB_FINISHED);
        ck_assert_int_ge(s->attempts, 2);
        ck_assert_int_eq(count(s, " dies"), 0);
        sim_free(s);
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
    until_ended(s, JOB_STOPPED); /* it was never accepted: the record is still that of the job before */
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

TESTS("sim/story", a_quiet_day, a1_an_epoch_that_cannot_be_written_waits, a1_a_leader_dies_between_two_injects,
      a2_epochs_of_a_dead_attempt_are_never_published, a3_a_manifest_lands_while_the_attempt_is_given_up,
      a3_a_manifest_of_a_dead_leader_lands_before_the_next_one_looks, a3_a_manifest_of_a_leader_without_lease_is_refused,
      a3_an_unknown_outcome_is_asked_again_until_it_is_known, a4_a_damaged_changelog_stops_the_job_by_its_name,
      a4_a_damaged_file_takes_a_job_without_exactly_once_output_back, a4_what_is_kept_is_read_again_by_a_leader_that_could_not_read_it,
      a4_a_worker_of_the_epochs_given_up_wakes_up_and_changes_nothing,
      b1_sources_wait_while_the_broker_takes_no_output_and_go_on_when_it_does,
      a5_bases_hold_complete_epochs_only_though_memory_is_short,
      a5_large_sets_of_values_lose_and_double_nothing_though_memory_is_short, a5_a_base_that_was_stored_but_not_accepted_is_nothing,
      a5_a_worker_dies_inside_a_base, a_local_base_that_is_corrupt_costs_an_attempt_and_no_row,
      a13_rollback_in_place_returns_to_the_manifest_not_to_the_base, a6_nothing_reconnects_inside_an_attempt,
      a6_a_worker_that_wakes_up_in_a_later_attempt_changes_nothing, a24_after_a_re_seek_in_place_each_row_comes_once,
      a7_nothing_is_injected_after_the_final_barrier_of_stop, a7_stop_survives_its_leader, a8_where_the_job_starts_is_durable_before_the_first_poll,
      a9_event_time_survives_a_restore, a9_a_window_that_fired_stays_shut_when_its_keys_move_to_other_tasks,
      a15_no_epoch_claims_rows_that_the_broker_has_not_confirmed, a17_a_key_keeps_its_lane_when_its_task_changes,
      a18_twins_count_once_each_over_restarts, a12_a_lane_without_rows_raises_no_false_alarm,
      a14_a_leader_that_wakes_up_deletes_nothing_that_is_needed, a14_a_paused_leader_that_listed_files_removes_no_other_leaders,
      a14_files_listed_before_another_leads_are_not_removed_by_who_listed_them)
