/* test_crash.c: deaths: at the end of a job, with what a disk had not synced, at each step of a publication, and at every effect of every job: the
 * crash table of docs/exactly-once.md, row by row. */
#include "tests/sim/story.h"

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

TESTS("sim/crash", a20_the_last_rows_are_in_a_final_epoch, a20_a_finished_job_publishes_before_it_is_finished,
      a22_a_file_whose_sync_failed_is_abandoned, a22_a_machine_dies_with_what_was_not_synced, publication_survives_a_death_at_each_of_its_steps,
      a_commit_whose_answer_is_lost_happened_or_not_and_the_ledger_knows, a_zombie_inside_a_transaction_is_fenced,
      a_broker_that_is_away_holds_output_and_nothing_else, transactions_that_the_broker_aborts_are_sent_again, a_death_at_every_effect_of_every_job)
