/* test_story_savepoint.c: stop and savepoints (A7, B14): what a savepoint promises, when it is answered, what it keeps and what begins from it. */
#include "tests/coordinator/story.h"

/* A7: nothing is injected after the final barrier, and STOPPED waits for every lane's publication. */
START_TEST(A7_stop_is_a_final_epoch_and_waits_for_publication) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    s->w[0].lanes = true;
    s->w[0].busy = true;
    pass(s, 200);
    forget_trace(s);
    s->hold_job = true;
    call_id_t call = ask(s, CLIENT_STOP, NULL);
    expect_not(s, "flags=1"); /* not before the wish is durable: a new leader must know why the epoch is final */
    s->hold_job = false;
    answer_job(s);
    expect(s, "INJECT", "flags=1", "put-manifest", "final", "COMPLETE");
    epoch_t final = s->stored->epoch;
    ck_assert(s->stored->final);
    forget_trace(s);
    pass(s, 1000);
    expect_not(s, "INJECT");
    expect_not(s, "STOPPED");
    published(s, &s->w[0], 0, final - 1);
    expect_state(s, JOB_STOPPING);
    published(s, &s->w[0], 0, final);
    expect(s, "PUBLISHED", "w1 < STOP", "w1 > STOPPED", "w2 > STOPPED", "put-job", "save", "-> STOPPED", "RELEASE");
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_uint_eq(s->saved_epoch, final);
    story_free(s);
}
END_TEST

/* A7: a worker dies between the final manifest and publication: only lanes come back, no source reads again. */
START_TEST(A7_after_the_final_epoch_only_lanes_come_back) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 100);
    ask(s, CLIENT_STOP, NULL);
    epoch_t final = s->stored->epoch;
    ck_assert(s->stored->final);
    die(s, &s->w[0]);
    forget_trace(s);
    join(s, "w1", 1);
    pass(s, 1000);
    expect(s, "DEPLOY", "lanes-only", "START");
    expect_not(s, "INJECT");
    published(s, &s->w[0], 0, final);
    pass(s, 100);
    expect_state(s, JOB_STOPPED);
    story_free(s);
}
END_TEST

START_TEST(A7_a_savepoint_pins_its_files_while_they_are_copied) {
    story_t *s = story_running();
    s->hold_save = true;
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 100);
    call_id_t call = ask(s, CLIENT_SAVEPOINT, "sp");
    expect(s, "INJECT", "flags=2", "COMPLETE", "put-job", "save");
    ck_assert_uint_eq(s->record->pin, s->saved_epoch);
    /* a restart makes both workers' files of the first attempt garbage as soon as bases cover them */
    job_t *j = the_job(s);
    manifest_t *none = manifest_new();
    coord_actions_t out = {0};
    s->c->out = &out;
    garbage_between(s->c, j, j->ep.last, none);
    ck_assert_int_eq(out.n, 0);
    ck_assert_int_gt(j->ndeferred, 0);
    coord_actions_done(&out);
    manifest_free(none);
    ck_assert_uint_ne(s->last_reply, call);
    answer_save(s, NULL);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_str_eq(the_job(s)->record->savepoint, "sp");
    ck_assert_uint_eq(s->record->pin, 0);
    ck_assert_int_eq(s->deleted, 0); /* the last manifest still names them */
    story_free(s);
}
END_TEST

/* The copy is whole, the record that names it is not durable: should the coordinator die now, nobody would know of the savepoint. */
START_TEST(A7_a_savepoint_is_answered_when_a_durable_record_names_it) {
    story_t *s = story_running();
    s->hold_save = true;
    s->w[0].rows = 5;
    pass(s, 100);
    call_id_t call = ask(s, CLIENT_SAVEPOINT, "sp");
    ck_assert(s->held_save);
    s->hold_job = true;
    answer_save(s, NULL);
    ck_assert(s->held_job);
    pass(s, 200);
    ck_assert_uint_ne(s->last_reply, call);
    ask(s, CLIENT_SAVEPOINT, "other");
    ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS); /* of the second; the first still waits */
    answer_job(s);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    ck_assert_str_eq(s->record->savepoint, "sp");
    story_free(s);
}
END_TEST

/* The input ends while the savepoint is copied: the job is FINISHED, and the client hears how the copy ended, not that the job did. */
START_TEST(A7_a_savepoint_outlives_the_end_of_its_job) {
    story_t *s = story_running();
    s->hold_save = true;
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 100);
    call_id_t call = ask(s, CLIENT_SAVEPOINT, "sp");
    ck_assert(s->held_save);
    for (int i = 0; i < 2; i++) ended(s, &s->w[i]);
    pass(s, 300);
    expect_state(s, JOB_FINISHED);
    ck_assert_uint_ne(s->last_reply, call);
    ck_assert_int_eq(s->deleted, 0); /* the job is over, its files are being copied */
    answer_save(s, err_new(ERR_NO_SPACE, "no space left"));
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_int_eq(err_code(s->reply_error), ERR_NO_SPACE);
    ck_assert_ptr_null(s->record->savepoint);
    ck_assert_int_gt(s->deleted, 0);
    story_free(s);
}
END_TEST

START_TEST(A7_a_job_that_ends_before_its_savepoint_says_so) {
    story_t *s = story_running();
    s->w[1].mute_ack = true;
    call_id_t call = ask(s, CLIENT_SAVEPOINT, "sp");
    s->calls += 100; /* not the call of the cancel, which is answered last */
    ask(s, CLIENT_CANCEL, NULL);
    expect_state(s, JOB_CANCELLED);
    char line[64];
    snprintf(line, sizeof line, "call=%d error=", (int)call);
    expect(s, line, "it ended before the savepoint was taken");
    story_free(s);
}
END_TEST

/* The savepoint's manifest was made before its own epoch could be published. The copy waits for that, so that a job restored from it owes nothing;
 * but not for ever. And the target of a stop that comes meanwhile is not the target of this one. */
START_TEST(A7_a_savepoint_tells_what_is_published) {
    story_t *s = story_running();
    s->hold_save = true;
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 100);
    ask(s, CLIENT_SAVEPOINT, "sp");
    pass(s, 1000);
    ck_assert(!s->held_save);
    ck_assert_uint_gt(s->record->pin, 0); /* pinned all the while */
    ask(s, CLIENT_STOP, "at-stop");
    published(s, &s->w[0], 0, s->stored->epoch);
    ck_assert(s->held_save);
    ck_assert_str_eq(s->saved_target, "sp");
    const lane_pos_t *l = manifest_lane(s->saved, FP_SINK, 0, false);
    ck_assert_uint_gt(l->last_rows, 0);
    ck_assert_uint_ge(l->published, l->last_rows);
    ck_assert_uint_le(l->published, s->saved_epoch); /* and what is published behind it is none of its business */
    answer_save(s, NULL);
    pass(s, 300);
    published(s, &s->w[0], 0, s->stored->epoch);
    pass(s, 100);
    ck_assert(s->held_save);
    ck_assert_str_eq(s->saved_target, "at-stop");
    l = manifest_lane(s->saved, FP_SINK, 0, false);
    ck_assert_uint_eq(l->published, l->last_rows); /* the manifest of the final epoch could not know */
    answer_save(s, NULL);
    expect_state(s, JOB_STOPPED);
    ck_assert_str_eq(s->record->savepoint, "at-stop");
    story_free(s);
}
END_TEST

/* A copy that fails at stop: an earlier savepoint is not taken for it, the files stay, and the client hears it. */
START_TEST(A7_a_stop_without_its_savepoint_says_so_and_keeps_the_files) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 100);
    ask(s, CLIENT_SAVEPOINT, "early");
    ck_assert_str_eq(s->record->savepoint, "early");
    s->hold_save = true;
    call_id_t call = ask(s, CLIENT_STOP, NULL);
    pass(s, 300);
    answer_save(s, err_new(ERR_NO_SPACE, "no space left"));
    expect_state(s, JOB_STOPPED);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_int_eq(err_code(s->reply_error), ERR_NO_SPACE);
    ck_assert_ptr_null(s->record->savepoint);
    ck_assert_int_eq(s->deleted, 0);
    story_free(s);
}
END_TEST

START_TEST(A7_output_of_a_savepoint_is_never_left_without_a_lane) {
    for (int new_ledger = 0; new_ledger < 2; new_ledger++) {
        story_t *s = story_running();
        s->w[0].rows = 5;
        s->w[0].lanes = true;
        pass(s, 200);
        s->from_manifest = manifest_copy(s->stored);
        lane_pos_t *l = manifest_lane(s->from_manifest, FP_SINK, 5, true);
        l->last_rows = s->stored->epoch;
        ask(s, CLIENT_CANCEL, NULL);
        published(s, &s->w[0], 0, s->stored->epoch);
        expect_state(s, JOB_CANCELLED);
        s->deleted = 0;
        forget_trace(s);
        call_id_t call = restore(s, new_ledger);
        pass(s, 100);
        ck_assert_uint_eq(s->last_reply, call);
        expect_not(s, "put-job"); /* and nothing is left of it, neither a job nor what was copied */
        ck_assert_int_eq(s->c->njobs, 1);
        ck_assert_int_eq(s->deleted, s->from_manifest->nextents);
        ck_assert_ptr_nonnull(strstr(err_text(s->reply_error), "unpublished output of lane 5 of sink results, which has 2 lanes now and had 6"));
        ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "--parallelism 6"));
        story_free(s);
    }
}
END_TEST

START_TEST(A7_a_savepoint_is_not_restored_beside_its_job) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 200);
    s->from_manifest = manifest_copy(s->stored);
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_SUBMIT;
    r->from = xstrdup("sp");
    r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .name = xstrdup("clone")};
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    story_step(s, &e);
    ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS);
    ck_assert_ptr_nonnull(strstr(err_text(s->reply_error), "both would publish"));
    ck_assert_int_eq(s->c->njobs, 1);
    story_free(s);
}
END_TEST

/* --new-ledger says that the ledger is another one, it does not make it so. */
START_TEST(A7_a_new_ledger_beside_its_job_needs_other_outputs) {
    static const struct { const char *output, *ledger, *names; } cases[] = {
        {NULL, NULL, "sink results goes to topic 'results'"}, /* the same file again */
        {NULL, "other/results", "topic 'results'"},           /* another prefix: two producers, the same rows twice in one topic */
        {"topic 'other'", NULL, "orders/results"},            /* another topic: the ledger would be taken from the job that runs */
        {"topic 'other'", "other/results", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        story_t *s = story_running();
        job_id_t origin = s->job;
        s->w[0].rows = 5;
        pass(s, 200);
        s->from_manifest = manifest_copy(s->stored);
        s->output = cases[i].output;
        s->ledger = cases[i].ledger;
        restore(s, /* new_ledger= */ true);
        ck_assert_str_eq(job_state_name(coord_job(s->c, origin)->state), "RUNNING");
        if (!cases[i].names) {
            ck_assert_int_eq(s->c->njobs, 2);
        } else {
            ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS);
            ck_assert_ptr_nonnull(strstr(err_text(s->reply_error), cases[i].names));
            ck_assert_int_eq(s->c->njobs, 1);
        }
        story_free(s);
    }
}
END_TEST

static void accept_or_not(story_t *s, client_op_t op, bool accept) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = op;
    r->accept_duplicates = accept;
    if (op == CLIENT_SUBMIT) {
        manifest_free(TAKE(s->stored)); /* the store knows one job */
        r->from = xstrdup("sp");
        r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .name = xstrdup("restored")};
    } else {
        r->job = s->job;
    }
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    err_free(TAKE(s->reply_error));
    story_step(s, &e);
}

static const lane_pos_t *lane_deployed(story_t *s, int lane) {
    const lane_pos_t *l = manifest_lane(s->w[0].deploy->manifest, FP_SINK, lane, false);
    ck_assert_ptr_nonnull(l);
    ck_assert(!l->started);
    return l;
}

/* Whether something was published behind the savepoint only the ledgers tell. Whose record they must show there goes with each lane, from the savepoint's
 * copy on, over leaders and incarnations, until the lane has a record of its own. */
START_TEST(A4_a_job_that_begins_from_a_savepoint_knows_whose_record_its_lanes_must_find) {
    for (int accept = 0; accept < 2; accept++) {
        story_t *s = story_running();
        s->w[0].rows = 5;
        s->w[0].lanes = true;
        pass(s, 200);
        ask(s, CLIENT_SAVEPOINT, "sp");
        pass(s, 500);
        ck_assert_ptr_null(s->saved); /* it waits for its lanes; its manifest knows of no record */
        lane_started_said(s, &s->w[0], 0);
        published(s, &s->w[0], 0, s->stored->epoch);
        ck_assert_ptr_nonnull(s->saved);
        s->from_manifest = manifest_copy(s->saved);
        uint64_t origin = s->saved->incarnation;
        epoch_t at = s->saved->epoch;
        ask(s, CLIENT_CANCEL, NULL);
        pass(s, 100);
        expect_state(s, JOB_CANCELLED);
        accept_or_not(s, CLIENT_SUBMIT, accept);
        pass(s, 100);
        expect_state(s, JOB_RUNNING);
        new_coordinator(s);
        join(s, "w1", 1);
        join(s, "w2", 1);
        pass(s, 300);
        expect_state(s, JOB_RUNNING);
        const manifest_t *m = s->w[0].deploy->manifest;
        ck_assert_uint_ne(m->incarnation, origin);
        ck_assert(m->origin == origin && m->started == at && m->forced == accept && m->root == origin);
        ck_assert(lane_deployed(s, 0)->had == origin && lane_deployed(s, 0)->had_upto == at);
        ck_assert_uint_eq(lane_deployed(s, 1)->had, 0);
        failed(s, &s->w[0], err_hint(err_new(ERR_FENCED, "the ledger says epoch 80"), "--accept-duplicates"), NULL);
        pass(s, 100);
        expect_state(s, JOB_FAILED);
        accept_or_not(s, CLIENT_RESUME, false);
        ck_assert_ptr_nonnull(strstr(err_text(s->reply_error), "would stop again at once"));
        uint64_t second = m->incarnation;
        accept_or_not(s, CLIENT_RESUME, true);
        pass(s, 100);
        expect_state(s, JOB_RUNNING);
        m = s->w[0].deploy->manifest;
        ck_assert(m->origin == second && m->forced && m->root == origin);
        ck_assert(lane_deployed(s, 0)->had == origin && lane_deployed(s, 0)->had_upto == at); /* the second never had one */
        story_free(s);
    }
}
END_TEST

START_TEST(A4_a_new_ledger_has_no_past) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 100);
    lane_started_said(s, &s->w[0], 0);
    pass(s, 200);
    s->from_manifest = manifest_copy(s->stored);
    ck_assert(manifest_lane(s->from_manifest, FP_SINK, 0, false)->started);
    ask(s, CLIENT_CANCEL, NULL);
    restore(s, /* new_ledger= */ true);
    pass(s, 100);
    expect_state(s, JOB_RUNNING);
    const manifest_t *m = s->w[0].deploy->manifest;
    ck_assert(m->origin == 0 && m->started == s->from_manifest->epoch && !m->forced && lane_deployed(s, 0)->had == 0);
    story_free(s);
}
END_TEST

/* A savepoint whose epoch cannot begin is given up in time, and says what held it. */
START_TEST(B14_a_savepoint_that_no_epoch_can_carry_names_what_it_waits_for) {
    static const char *const says[] = {"is not durable", "w2 (2 tasks)", "MB of output wait for publication"};
    for (int way = 0; way < 3; way++) {
        story_t *s = story_running();
        s->w[0].rows = s->w[1].rows = 5;
        s->w[0].busy = s->w[1].busy = true;
        pass(s, 300);
        if (way == 0) s->put_outcome = STORE_FAILED;
        if (way == 1) s->w[1].mute_ack = true;
        if (way == 2) s->w[0].lanes = true, s->w[0].pending_bytes = (uint64_t)2 << 30;
        pass(s, 2000);
        call_id_t call = ask(s, CLIENT_SAVEPOINT, "sp");
        pass(s, s->conf.savepoint_wait_ms - 100);
        ck_assert_uint_ne(s->last_reply, call);
        pass(s, 200);
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_int_eq(err_code(s->reply_error), ERR_TIMEOUT);
        ck_assert_msg(strstr(err_text(s->reply_error), says[way]) != NULL, "%s", err_text(s->reply_error));
        s->put_outcome = STORE_OK;
        s->w[0].pending_bytes = 0;
        if (way != 1) { /* the way is free: nothing of the old request is left, a new one is served */
            pass(s, 6000);
            ck_assert_ptr_null(s->saved_target);
            call = ask(s, CLIENT_SAVEPOINT, "again");
            pass(s, 11000);
            ck_assert_uint_eq(s->last_reply, call);
            ck_assert_ptr_null(s->reply_error);
            ck_assert_str_eq(s->saved_target, "again");
        }
        story_free(s);
    }
}
END_TEST

TESTS("coordinator/story_savepoint", A7_stop_is_a_final_epoch_and_waits_for_publication, A7_after_the_final_epoch_only_lanes_come_back,
      A7_a_savepoint_pins_its_files_while_they_are_copied, A7_a_savepoint_is_answered_when_a_durable_record_names_it,
      A7_a_savepoint_outlives_the_end_of_its_job, A7_a_job_that_ends_before_its_savepoint_says_so, A7_a_savepoint_tells_what_is_published,
      A7_a_stop_without_its_savepoint_says_so_and_keeps_the_files, A7_output_of_a_savepoint_is_never_left_without_a_lane,
      A7_a_savepoint_is_not_restored_beside_its_job, A7_a_new_ledger_beside_its_job_needs_other_outputs,
      A4_a_job_that_begins_from_a_savepoint_knows_whose_record_its_lanes_must_find, A4_a_new_ledger_has_no_past,
      B14_a_savepoint_that_no_epoch_can_carry_names_what_it_waits_for)
