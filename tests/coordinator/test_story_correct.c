/* test_story_correct.c: hazards A, what would lose or double rows, each as the interleaving that would break it. Liveness and everyday
 * life: test_story.c. */
#include "tests/coordinator/story.h"

/* A1: W1's append of epoch 1 fails for long; 2 and 3 are acked by all. None of them may complete before 1. */
START_TEST(A1_no_epoch_is_skipped) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    s->w[0].mute_ack = true;
    s->w[0].busy = true;
    pass(s, 400);
    ack(s, &s->w[0], 2);
    ack(s, &s->w[0], 3);
    expect_not(s, "COMPLETE");
    ck_assert_uint_eq(s->stored->epoch, 0);
    forget_trace(s);
    ack(s, &s->w[0], 1);
    expect(s, "manifest 1 durable", "COMPLETE", "epoch=1", "put-manifest", "after=1/1", "manifest 2 durable", "after=1/2", "manifest 3 durable");
    story_free(s);
}
END_TEST

/* A1, failover: the new leader neither reuses an id that may have been injected nor builds on a torn cut. */
START_TEST(A1_a_new_leader_uses_no_id_again) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 100);
    ck_assert_uint_eq(s->stored->epoch, 1);
    s->w[0].mute_ack = true;
    s->w[1].busy = true;
    pass(s, 500); /* 2..5 are in flight */
    expect(s, "INJECT job=", "epoch=5");
    expect_not(s, "epoch=6");
    forget_trace(s);
    new_coordinator(s);
    join(s, "w1", 1)->rows = 1;
    join(s, "w2", 1)->rows = 1;
    expect(s, "leader 20", "raise", "attempt 2 last 1", "DEPLOY job=", "attempt=2 epoch=1");
    forget_trace(s);
    pass(s, 100);
    expect(s, "INJECT job=", "attempt=2 epoch=6", "put-manifest", "after=1/1");
    story_free(s);
}
END_TEST

/* A2: what a dead attempt acked but did not complete is named by no manifest. */
START_TEST(A2_bytes_of_a_dead_attempt_are_in_no_manifest) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 100);
    s->hold_put = true;
    pass(s, 300);
    ck_assert_ptr_nonnull(s->held_put); /* epoch 2 and more are acked */
    s->put_outcome = STORE_OK;
    die(s, &s->w[0]);
    release_put(s, STORE_FAILED);
    s->hold_put = false;
    join(s, "w1", 1)->rows = 7;
    s->w[1].rows = 7;
    pass(s, 500);
    const manifest_t *m = s->stored;
    ck_assert_uint_eq(m->attempt, 2);
    for (int i = 0; i < m->nextents; i++) {
        bool first_attempt = strstr(m->extents[i].path, ".a1.") != NULL;
        if (first_attempt) ck_assert_uint_eq(m->extents[i].to, 100); /* epoch 1 only */
        ck_assert(first_attempt || m->extents[i].first > 5);
    }
    story_free(s);
}
END_TEST

/* A3: the manifest of 2 is under way when a worker is lost. It lands; the next attempt must descend from 2. */
START_TEST(A3_recovery_believes_only_the_transaction) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 100);
    s->hold_put = true;
    pass(s, 100);
    ck_assert_uint_eq(s->held_put->epoch, 2);
    forget_trace(s);
    die(s, &s->w[0]);
    join(s, "w1", 1);
    pass(s, 500);
    expect(s, "-> RESTARTING", "w2 < STOP");
    expect_not(s, "raise"); /* while the outcome is unknown nothing restarts .. */
    expect_not(s, "COMPLETE");
    land_unheard(s);
    release_put(s, STORE_UNKNOWN);
    s->hold_put = false;
    pass(s, 50);
    expect(s, "manifest 2 unknown", "raise", "attempt 2 last 2", "DEPLOY", "restore=2");
    expect_not(s, "COMPLETE job"); /* .. and nothing completes for the old attempt */
    story_free(s);
}
END_TEST

START_TEST(A3_an_unknown_outcome_is_asked_again_with_the_same_bytes) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->hold_put = true;
    pass(s, 100);
    AUTO(buf_free) buf_t first = buf_make(1 << 20), second = buf_make(1 << 20);
    manifest_print(&first, s->held_put);
    release_put(s, STORE_UNKNOWN);
    expect_not(s, "COMPLETE");
    pass(s, 300);
    manifest_print(&second, s->held_put);
    ck_assert(slice_eq(buf_slice(&first), buf_slice(&second)));
    release_put(s, STORE_OK);
    expect(s, "manifest 1 unknown", "put-manifest", "epoch=1", "manifest 1 durable", "COMPLETE");
    story_free(s);
}
END_TEST

START_TEST(A3_a_refused_manifest_ends_the_attempt) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->hold_put = true;
    s->hold_raise = true;
    pass(s, 100);
    release_put(s, STORE_REFUSED);
    expect(s, "manifest 1 refused", "-> RESTARTING", "STOP", "raise");
    expect_not(s, "COMPLETE");
    coord_event_t e = story_event(s, EV_RAISED);
    e.job = s->job;
    e.outcome = STORE_REFUSED;
    story_step(s, &e); /* another leader is there: this one stops deciding */
    ck_assert(s->resigned);
    ck_assert(!coord_leading(s->c));
    story_free(s);
}
END_TEST

START_TEST(A4_every_submit_and_restore_draws_an_incarnation) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = s->w[0].publishes = true;
    uint64_t first = s->stored->incarnation;
    pass(s, 300);
    ask(s, CLIENT_STOP, NULL);
    pass(s, 100);
    expect_state(s, JOB_STOPPED);
    s->from_manifest = manifest_copy(s->stored);
    epoch_t at = s->stored->epoch;
    manifest_free(TAKE(s->stored));
    s->attempt = s->floor = 0;
    s->w[0].rows = 0;
    ask(s, CLIENT_SUBMIT, "savepoints/1");
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_ne(s->stored->incarnation, first);
    ck_assert_uint_eq(s->stored->epoch, at);
    ck_assert_uint_gt(s->stored->attempt, s->from_manifest->attempt); /* files of the savepoint are of older attempts */
    ck_assert_uint_eq(s->stored->started, at); /* no lane has a bound in the new incarnation */
    ck_assert_uint_eq(s->stored->origin, first); /* whose ledger tells what of the savepoint is published */
    for (int i = 0; i < s->stored->nlanes; i++) ck_assert(!s->stored->lanes[i].started);
    forget_trace(s);
    s->w[0].rows = 1;
    pass(s, 100);
    ck_assert_uint_eq(s->stored->epoch, at + 1);
    story_free(s);
}
END_TEST

START_TEST(A4_a_job_taken_over_by_a_newer_incarnation_fails_at_once) {
    story_t *s = story_running();
    failed(s, &s->w[0], err_new(ERR_FENCED, "taken over by incarnation 77"), NULL);
    pass(s, 100);
    expect_state(s, JOB_FAILED);
    ck_assert_ptr_nonnull(strstr(err_text(the_job(s)->record->error), "taken over by incarnation 77"));
    story_free(s);
}
END_TEST

/* A27: a lane has written its start record and no row. A quiet job has no epochs, but this must be in a manifest: the next attempt's lane knows by
 * it that the ledger was ours, and stops when another incarnation is in it instead of taking it back. */
START_TEST(A27_a_lane_that_only_started_is_restored_with_that_bound) {
    story_t *s = story_running();
    pass(s, 500);
    epoch_t quiet = s->stored->epoch;
    pass(s, 500);
    ck_assert_uint_eq(s->stored->epoch, quiet);
    ck_assert(!manifest_lane(s->stored, FP_SINK, 1, false)->started);
    lane_started_said(s, &s->w[1], 1);
    pass(s, 500);
    ck_assert_uint_gt(s->stored->epoch, quiet);
    ck_assert(manifest_lane(s->stored, FP_SINK, 1, false)->started);
    ck_assert(!manifest_lane(s->stored, FP_SINK, 0, false)->started);
    quiet = s->stored->epoch;
    lane_started_said(s, &s->w[1], 1); /* once more: nothing new */
    pass(s, 500);
    ck_assert_uint_eq(s->stored->epoch, quiet);
    new_coordinator(s); /* it has only the manifest */
    join(s, "w1", 1);
    join(s, "w2", 1);
    pass(s, 300);
    expect_state(s, JOB_RUNNING);
    ck_assert(manifest_lane(s->w[1].deploy->manifest, FP_SINK, 1, false)->started);
    story_free(s);
}
END_TEST

/* A27: a savepoint of two lanes is restored with four. The new lanes start and have no rows yet: a manifest must say so, or whoever restores them would
 * take the ledger back. What is no lane of the job is said, not believed. */
START_TEST(A27_lanes_that_a_savepoint_did_not_have_are_in_the_manifest) {
    story_t *s = story_running();
    pass(s, 200);
    ask(s, CLIENT_STOP, NULL);
    pass(s, 100);
    s->from_manifest = manifest_copy(s->stored);
    manifest_free(TAKE(s->stored));
    s->attempt = s->floor = 0;
    s->lanes = 4;
    ask(s, CLIENT_SUBMIT, "savepoints/1");
    expect_state(s, JOB_RUNNING);
    pass(s, 500);
    lane_started_said(s, &s->w[1], 3);
    forget_trace(s);
    lane_started_said(s, &s->w[1], 4);
    expect(s, "a worker says that lane 4 of sink 0000000000000051 published epoch");
    pass(s, 500);
    ck_assert_ptr_nonnull(manifest_lane(s->stored, FP_SINK, 3, false));
    ck_assert(manifest_lane(s->stored, FP_SINK, 3, false)->started);
    ck_assert(!manifest_lane(s->stored, FP_SINK, 2, false)->started);
    ck_assert_ptr_null(manifest_lane(s->stored, FP_SINK, 4, false));
    story_free(s);
}
END_TEST

/* With another number of lanes a key has another lane and another partition. Its older values stay where they are, for ever in a compacted topic. */
START_TEST(A17_a_sink_with_keys_keeps_its_number_of_lanes) {
    static const struct { bool keyed; int lanes; } cases[] = {{true, 1}, {true, 4}, {true, 2}, {false, 1}, {false, 4}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        story_t *s = story_running();
        s->keyed = cases[i].keyed;
        pass(s, 200);
        ask(s, CLIENT_STOP, NULL);
        pass(s, 100);
        expect_state(s, JOB_STOPPED);
        job_id_t before = s->job;
        s->from_manifest = manifest_copy(s->stored);
        manifest_free(TAKE(s->stored));
        s->attempt = s->floor = 0;
        s->lanes = cases[i].lanes;
        ask(s, CLIENT_SUBMIT, "savepoints/1");
        pass(s, 200);
        if (cases[i].keyed && cases[i].lanes != 2) {
            ck_assert_int_eq(err_code(s->reply_error), ERR_INVALID);
            ck_assert_ptr_nonnull(strstr(err_text(s->reply_error), "keys of sink results, which has"));
            ck_assert_ptr_nonnull(strstr(err_text(s->reply_error), "now and had 2"));
            ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "'sink.parallelism' = '2'"));
            ck_assert_int_eq(s->c->njobs, 1); /* it was never accepted: nothing says that it FAILED */
            ck_assert_uint_eq(s->job, before);
        } else {
            ck_assert_ptr_null(s->reply_error);
            ck_assert_uint_ne(s->job, before);
            expect_state(s, JOB_RUNNING);
        }
        story_free(s);
    }
}
END_TEST

static call_id_t resume(story_t *s, bool accept_duplicates) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_RESUME;
    r->job = s->job;
    r->accept_duplicates = accept_duplicates;
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    story_step(s, &e);
    return s->calls;
}

/* A lane found its ledger ahead of the last manifest. As long as the job is the same incarnation, it stops there again; the operator's word makes a
 * new one of the same state. Its first manifest is written only when the record that says so is durable. */
START_TEST(A4_accepted_duplicates_are_a_new_incarnation_of_the_same_state) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 200);
    published(s, &s->w[0], 0, 1);
    lane_started_said(s, &s->w[0], 0);
    pass(s, 200);
    failed(s, &s->w[0], err_new(ERR_CORRUPT, "the ledger says epoch 80, but the last complete epoch is 3"), NULL);
    pass(s, 100);
    expect_state(s, JOB_FAILED);
    uint64_t old = s->stored->incarnation;
    resume(s, false);
    pass(s, 100);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(s->w[0].incarnation, old);
    failed(s, &s->w[0], err_new(ERR_CORRUPT, "the ledger says epoch 80, but the last complete epoch is 3"), NULL);
    pass(s, 100);
    expect_state(s, JOB_FAILED);
    manifest_t *before = manifest_copy(s->stored);
    s->hold_job = true;
    call_id_t call = resume(s, true);
    pass(s, 100);
    ck_assert_uint_eq(s->stored->incarnation, old);
    s->hold_job = false;
    answer_job(s);
    pass(s, 10);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(s->last_reply, call);
    const manifest_t *m = s->w[0].deploy->manifest;
    ck_assert_uint_ne(m->incarnation, old);
    ck_assert_uint_eq(m->incarnation, s->record->incarnation);
    ck_assert_uint_eq(s->w[0].incarnation, m->incarnation);
    ck_assert_uint_eq(m->origin, old);
    ck_assert(m->forced);
    ck_assert_uint_gt(m->epoch, before->epoch);
    ck_assert_uint_eq(m->started, m->epoch);
    ck_assert_int_eq(m->nextents, before->nextents);
    const lane_pos_t *l = manifest_lane((manifest_t *)m, FP_SINK, 0, false);
    ck_assert_uint_eq(l->published, manifest_lane(before, FP_SINK, 0, false)->published);
    ck_assert(!l->started);
    pass(s, 300);
    ck_assert_uint_gt(s->stored->epoch, m->started);
    ck_assert(!manifest_lane(s->stored, FP_SINK, 0, false)->started); /* not out of what the old incarnation had said */
    new_coordinator(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    pass(s, 300);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(s->w[0].incarnation, s->record->incarnation);
    ck_assert_uint_eq(s->w[0].deploy->manifest->origin, old); /* it is not born again */
    manifest_free(before);
    story_free(s);
}
END_TEST

START_TEST(A8_positions_are_durable_before_the_first_poll) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 2);
    s->hold_put = true;
    ask(s, CLIENT_SUBMIT, NULL);
    pass(s, 500);
    expect_not(s, "DEPLOY");
    const source_pos_t *p = manifest_source(s->held_put, FP_SOURCE);
    ck_assert_int_eq(p->splits.n, 4);
    ck_assert_int_eq(p->splits.items[3].position, 103);
    s->hold_put = false;
    release_put(s, STORE_OK);
    expect(s, "manifest 0 durable", "DEPLOY", "p0@100", "p3@103", "START");
    /* The worker dies at once; the source would resolve other positions now, but epoch 0 is the truth. */
    s->nsplits = 2;
    die(s, &s->w[0]);
    forget_trace(s);
    join(s, "w1", 2);
    pass(s, 100);
    expect(s, "DEPLOY", "p0@100", "p3@103");
    expect_not(s, "enumerate");
    story_free(s);
}
END_TEST

START_TEST(A8_new_splits_are_added_once) {
    story_t *s = story_running();
    for (int i = 0; i < 2; i++) {
        coord_event_t e = story_event(s, EV_SPLITS_FOUND);
        e.job = s->job;
        e.splits_found.n = 2;
        e.splits_found.items = xcalloc(2, sizeof(found_split_t));
        e.splits_found.items[0] = (found_split_t){FP_SOURCE, {.id = xstrdup("p3"), .position = 0, .end = -1}};
        e.splits_found.items[1] = (found_split_t){FP_SOURCE, {.id = xstrdup("p4"), .position = 7, .end = -1}};
        forget_trace(s);
        story_step(s, &e);
        if (i == 0) {
            expect(s, "w1 < ADD_SPLITS", "p4@7", "w2 < ADD_SPLITS");
            expect_not(s, "p3@");
        } else {
            expect_not(s, "ADD_SPLITS");
        }
    }
    story_free(s);
}
END_TEST

START_TEST(A12_bounds_are_what_lanes_said) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 300);
    for (int i = 0; i < s->stored->nlanes; i++) ck_assert_uint_eq(s->stored->lanes[i].published, 0); /* complete is not published */
    published(s, &s->w[0], 0, 2);
    published(s, &s->w[0], 0, 999); /* nobody can have published what is not complete */
    pass(s, 200);
    const lane_pos_t *quiet = manifest_lane(s->stored, FP_SINK, 1, false), *lane = manifest_lane(s->stored, FP_SINK, 0, false);
    ck_assert_uint_eq(quiet->last_rows, 0); /* a lane without rows owes nothing */
    ck_assert_uint_eq(quiet->published, 0);
    ck_assert_uint_ge(lane->published, 2);
    ck_assert_uint_lt(lane->published, s->stored->epoch);
    ck_assert_uint_le(lane->published, lane->last_rows);
    story_free(s);
}
END_TEST

/* A14: what a manifest named is deleted only when the next durable one does not name it; not while that is uncertain. */
/* A12: epochs 1 to 3 have rows, 4 and 5 none. The lane says "all up to 4": the ledger has no record of 4, so the bound is 3. */
START_TEST(A12_a_bound_is_always_an_epoch_with_a_ledger_record) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 300);
    const lane_pos_t *lane = manifest_lane(s->stored, FP_SINK, 0, false);
    epoch_t with_rows = lane->last_rows;
    s->w[0].lanes = false;
    pass(s, 200);
    epoch_t without = s->stored->epoch;
    ck_assert_uint_gt(without, with_rows);
    published(s, &s->w[0], 0, without);
    pass(s, 200);
    ck_assert_uint_gt(s->stored->epoch, without);
    lane = manifest_lane(s->stored, FP_SINK, 0, false);
    ck_assert_uint_eq(lane->published, with_rows);
    story_free(s);
}
END_TEST

START_TEST(A14_files_go_by_the_difference_of_two_durable_manifests) {
    story_t *s = story_running();
    s->settings.base_interval_ms = 0;
    s->settings.retained = the_job(s)->shape->settings.retained = 1; /* what older epochs need beside that: test_story_older.c */
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 200);
    die(s, &s->w[0]);
    join(s, "w1", 1)->rows = 5;
    s->w[1].rows = 5;
    pass(s, 300);
    ck_assert_int_eq(s->deleted, 0);
    ck_assert_int_gt(s->stored->nextents, 2);
    s->hold_put = true;
    pass(s, 200);
    epoch_t at = the_job(s)->ep.last->epoch;
    for (int i = 0; i < 2; i++) {
        ctl_msg_t *m = of_job(&s->w[i], CTL_BASE_DONE, at);
        m->base_done.base = (base_t){.worker = xstrdup(s->w[i].name), .epoch = at};
        m->base_done.base.nfiles = 1;
        m->base_done.base.files = xcalloc(1, sizeof(base_file_t));
        m->base_done.base.files[0] = (base_file_t){.path = xprintf("jobs/%016" PRIx64 "/base/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".%s/BASE",
                                                                         s->job, s->w[i].incarnation, s->leader, s->w[i].attempt,
                                                                             s->w[i].name), .name = xstrdup("BASE"), .size = 1, .crc = 1};
        say(s, &s->w[i], m);
    }
    forget_trace(s);
    release_put(s, STORE_OK); /* built before the bases came */
    ck_assert_int_eq(s->deleted, 0);
    expect_not(s, "BASE_ACCEPTED");
    ck_assert_ptr_nonnull(s->held_put);
    ck_assert_int_eq(s->held_put->nbases, 2);
    ck_assert_int_eq(s->deleted, 0);
    release_put(s, STORE_OK);
    expect(s, "durable", "delete", "BASE_ACCEPTED");
    ck_assert_int_gt(s->deleted, 0);
    story_free(s);
}
END_TEST

START_TEST(A20_the_end_of_input_is_one_final_epoch) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 100);
    ended(s, &s->w[0]);
    pass(s, 200);
    expect_not(s, "flags=1");
    ended(s, &s->w[1]);
    expect(s, "w2 > ENDED", "INJECT", "flags=1", "final", "COMPLETE");
    expect_state(s, JOB_RUNNING); /* not published yet */
    published(s, &s->w[0], 0, s->stored->epoch);
    expect_state(s, JOB_FINISHED);
    ck_assert_int_eq(s->record->state, JOB_FINISHED);
    story_free(s);
}
END_TEST

/* A sink without lanes (files) makes its last output visible when it hears COMPLETE, and nothing comes after the final epoch that would tell
 * of a worker that died before. Its STOPPED does: without it one more attempt restores the final epoch, which does the same. */
START_TEST(A20_a_worker_lost_at_the_very_end_costs_one_more_attempt) {
    for (int stop = 0; stop < 2; stop++) {
        story_t *s = story_new();
        s->lanes = 0;
        lead(s);
        join(s, "w1", 1);
        join(s, "w2", 1);
        ask(s, CLIENT_SUBMIT, NULL);
        s->w[1].mute_stop = true;
        if (stop) {
            ask(s, CLIENT_STOP, NULL);
        } else {
            ended(s, &s->w[0]);
            ended(s, &s->w[1]);
        }
        expect(s, "INJECT", "flags=1", "COMPLETE", "w2 < STOP");
        expect_state(s, stop ? JOB_STOPPING : JOB_RUNNING);
        forget_trace(s);
        die(s, &s->w[1]);
        pass(s, 400);
        expect(s, "-> RESTARTING: a worker was lost before it could make its last output visible", "raise");
        expect_not(s, "-> STOPPED");
        join(s, "w2", 1);
        pass(s, 100);
        expect(s, "w1 < DEPLOY");
        expect_not(s, "INJECT");
        expect_state(s, stop ? JOB_STOPPED : JOB_FINISHED);
        story_free(s);
    }
}
END_TEST

TESTS("coordinator/story_correct", A1_no_epoch_is_skipped, A1_a_new_leader_uses_no_id_again, A2_bytes_of_a_dead_attempt_are_in_no_manifest,
      A3_recovery_believes_only_the_transaction, A3_an_unknown_outcome_is_asked_again_with_the_same_bytes, A3_a_refused_manifest_ends_the_attempt,
      A4_every_submit_and_restore_draws_an_incarnation, A4_a_job_taken_over_by_a_newer_incarnation_fails_at_once,
      A27_a_lane_that_only_started_is_restored_with_that_bound, A27_lanes_that_a_savepoint_did_not_have_are_in_the_manifest,
      A17_a_sink_with_keys_keeps_its_number_of_lanes, A4_accepted_duplicates_are_a_new_incarnation_of_the_same_state,
      A8_positions_are_durable_before_the_first_poll, A8_new_splits_are_added_once, A12_bounds_are_what_lanes_said,
      A12_a_bound_is_always_an_epoch_with_a_ledger_record, A14_files_go_by_the_difference_of_two_durable_manifests,
      A20_the_end_of_input_is_one_final_epoch, A20_a_worker_lost_at_the_very_end_costs_one_more_attempt)
