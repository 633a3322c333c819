/* How jobs end, and that no way there destroys or strands the only copy of a state: stop, cancel, savepoint, resume, forget (A7, A14, B11). */
#include "tests/coordinator/story.h"

static bool says(const err_t *e, const char *text) { return e && strstr(err_text(e), text) != NULL; }
#define expect_says(e, text) ck_assert_msg(says(e, text), "'%s' is not in '%s'", (text), err_text(e))

/* Rows, and output that its lanes publish at once. */
static story_t *running_with_rows(void) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    s->w[0].lanes = s->w[0].publishes = true;
    pass(s, 300);
    return s;
}
/* Another coordinator leads the same workers. */
static void another_leads(story_t *s) {
    new_coordinator(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
}
/* The job's last output was published, which its leader has to hear. */
static void last_published(story_t *s) {
    pass(s, 3000);
    s->w[0].lanes = true;
    published(s, &s->w[0], 0, s->stored->epoch);
    pass(s, 500);
}
static void next_leader(story_t *s) {
    another_leads(s);
    last_published(s);
}
/* STOPPED, and its savepoint could be copied nowhere. */
static story_t *stranded(void) {
    story_t *s = running_with_rows();
    s->save_fails = "/";
    call_id_t call = ask(s, CLIENT_STOP, "/mnt/full");
    pass(s, 500);
    expect_state(s, JOB_STOPPED);
    ck_assert_uint_eq(s->last_reply, call);
    expect_says(s->reply_error, "is STOPPED, but: no space left in savepoints/");
    ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "tidegate resume"));
    ck_assert_ptr_null(s->record->savepoint);
    ck_assert_int_eq(s->deleted, 0);
    s->save_fails = NULL;
    return s;
}

START_TEST(A7_a_target_that_is_refused_leaves_the_job_as_it_was) {
    static const client_op_t ops[] = {CLIENT_STOP, CLIENT_SAVEPOINT};
    for (int i = 0; i < 2; i++) {
        story_t *s = running_with_rows();
        s->check_error = err_new(ERR_EXISTS, "another savepoint lies there");
        forget_trace(s);
        call_id_t call = ask(s, ops[i], "/backup");
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS);
        pass(s, 500);
        expect_state(s, JOB_RUNNING);
        ck_assert_int_eq(the_job(s)->record->wanted, WANTED_RUN);
        ck_assert(!s->stored->final);
        expect_not(s, "save epoch");
        err_free(TAKE(s->check_error));
        call = ask(s, ops[i], "/other"); /* nothing of it is left */
        pass(s, 500);
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_ptr_null(s->reply_error);
        ck_assert_str_eq(s->record->savepoint, "/other");
        story_free(s);
    }
}
END_TEST

START_TEST(A7_a_target_that_does_not_answer_is_named) {
    story_t *s = running_with_rows();
    s->hold_check = true;
    call_id_t call = ask_for(s, CLIENT_STOP, "/mnt/hung", 3000);
    pass(s, 2900);
    ck_assert_uint_ne(s->last_reply, call);
    pass(s, 300);
    ck_assert_uint_eq(s->last_reply, call);
    expect_says(s->reply_error, "/mnt/hung did not say");
    answer_check(s, s->held_check, NULL); /* too late: nobody asks for it any more */
    pass(s, 500);
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

START_TEST(A7_a_stop_whose_target_fails_later_has_its_savepoint_below_the_storage) {
    story_t *s = running_with_rows();
    s->save_fails = "/mnt/full";
    forget_trace(s);
    call_id_t call = ask(s, CLIENT_STOP, "/mnt/full");
    pass(s, 500);
    expect_state(s, JOB_STOPPED);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    expect(s, "to=/mnt/full", "no space left in /mnt/full; it goes to savepoints/", "to=savepoints/", "state=STOPPED", "delete");
    ck_assert_ptr_nonnull(strstr(s->record->savepoint, "savepoints/"));
    expect_says(the_job(s)->stop_error, "no space left in /mnt/full");
    story_free(s);
}
END_TEST

START_TEST(A7_the_target_of_a_stop_survives_the_coordinator) {
    story_t *s = running_with_rows();
    s->w[0].publishes = false;
    pass(s, 200);
    ask(s, CLIENT_STOP, "/backup/at-stop");
    pass(s, 300);
    expect_state(s, JOB_STOPPING); /* not all is published */
    next_leader(s);
    expect_state(s, JOB_STOPPED);
    ck_assert_str_eq(s->saved_target, "/backup/at-stop");
    ck_assert_str_eq(s->record->savepoint, "/backup/at-stop");
    story_free(s);
}
END_TEST

START_TEST(A7_a_second_stop_waits_with_the_first_or_is_told_its_target) {
    story_t *s = running_with_rows();
    s->hold_save = true;
    ask(s, CLIENT_STOP, "/one");
    pass(s, 300);
    ck_assert(s->held_save);
    ask(s, CLIENT_STOP, "/one"); /* the same client, having asked two coordinators */
    ask(s, CLIENT_STOP, "/two");
    expect_says(s->reply_error, "is being stopped, with its savepoint /one");
    call_id_t third = ask(s, CLIENT_STOP, NULL);
    pass(s, 100);
    ck_assert_uint_ne(s->last_reply, third);
    answer_save(s, NULL);
    ck_assert_uint_eq(s->last_reply, third);
    ck_assert_ptr_null(s->reply_error);
    story_free(s);
    s = running_with_rows();
    s->w[0].mute_ack = true;
    ask(s, CLIENT_STOP, "/one");
    pass(s, 300);
    call_id_t other = ask(s, CLIENT_STOP, "/two");
    ck_assert_uint_eq(s->last_reply, other);
    expect_says(s->reply_error, "is being stopped, with its savepoint /one");
    story_free(s);
}
END_TEST

/* A savepoint of the very epoch that is the last one goes where it was asked for, that of the stop where that was asked for. */
START_TEST(A7_the_savepoint_of_a_stop_is_its_own) {
    story_t *s = running_with_rows();
    s->w[1].mute_ack = true; /* what was asked for waits */
    pass(s, 100);
    for (int i = 0; i < 20 && the_job(s)->ep.n < EPOCHS_IN_FLIGHT_MAX; i++) pass(s, 100);
    ask(s, CLIENT_SAVEPOINT, "/mine");
    ask(s, CLIENT_STOP, "/stops");
    forget_trace(s);
    s->w[1].mute_ack = false;
    for (int i = 0; i < 8; i++) ack(s, &s->w[1], the_job(s)->ep.n ? the_job(s)->ep.run[0].id : 0);
    pass(s, 1000);
    expect(s, "to=/mine", "to=/stops");
    expect_state(s, JOB_STOPPED);
    ck_assert_str_eq(s->record->savepoint, "/stops");
    story_free(s);
}
END_TEST

/* Its own files are all there is, and one is damaged: put back, or found whole by a worker beside it, it is no loss. */
START_TEST(A7_a_stop_that_finds_its_files_damaged_removes_none) {
    story_t *s = running_with_rows();
    s->hold_save = true;
    call_id_t call = ask(s, CLIENT_STOP, NULL);
    pass(s, 500);
    ck_assert(s->held_save);
    answer_save(s, err_hint(err_new(ERR_CORRUPT, "/storage/1.sst: wrong checksum"), "put that file back, and ask again"));
    pass(s, 500);
    expect_state(s, JOB_STOPPED);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_int_eq(err_code(s->reply_error), ERR_CORRUPT);
    expect_says(s->reply_error, "is STOPPED, but: /storage/1.sst: wrong checksum");
    ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "put that file back, and ask again; its state is kept: `tidegate savepoint"));
    ck_assert_ptr_null(s->record->savepoint);
    ck_assert_int_eq(s->deleted, 0);
    s->hold_save = false;
    call = ask(s, CLIENT_SAVEPOINT, NULL);
    pass(s, 500);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    ck_assert_ptr_nonnull(s->record->savepoint);
    story_free(s);
}
END_TEST

START_TEST(A7_a_stopped_job_without_its_savepoint_can_be_copied_later) {
    for (int over = 0; over < 2; over++) { /* by this coordinator or the next */
        story_t *s = stranded();
        epoch_t final = s->stored->epoch;
        if (over) new_coordinator(s);
        forget_trace(s);
        s->save_fails = "/still/full";
        call_id_t call = ask(s, CLIENT_SAVEPOINT, "/still/full");
        pass(s, 500);
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_int_eq(err_code(s->reply_error), ERR_NO_SPACE);
        ck_assert_int_eq(s->deleted, 0);
        call = ask(s, CLIENT_SAVEPOINT, NULL);
        pass(s, 500);
        expect(s, "raise", "state=STOPPED", "save ", "to=/still/full", "raise", "to=savepoints/", "state=STOPPED", "reply");
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_ptr_null(s->reply_error);
        ck_assert_uint_eq(s->saved->epoch, final);
        ck_assert_ptr_nonnull(s->record->savepoint);
        ck_assert_int_gt(s->deleted, 0); /* as after any stop */
        ask(s, CLIENT_RESUME, NULL);
        ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "submit --from savepoints/"));
        ask(s, CLIENT_SAVEPOINT, NULL);
        ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "its last savepoint is savepoints/"));
        story_free(s);
    }
}
END_TEST

START_TEST(A7_a_stopped_job_without_its_savepoint_can_be_resumed) {
    for (int over = 0; over < 2; over++) {
        story_t *s = stranded();
        ck_assert(s->stored->final);
        uint64_t before = s->stored->incarnation;
        epoch_t final = s->stored->epoch;
        if (over) another_leads(s);
        ask(s, CLIENT_RESUME, NULL);
        pass(s, 500);
        expect_state(s, JOB_RUNNING);
        const manifest_t *m = s->w[0].deploy->manifest;
        ck_assert(!m->final && !m->forced);
        ck_assert_uint_ne(m->incarnation, before); /* after a final epoch nothing comes in its incarnation (A7) */
        ck_assert_uint_eq(m->origin, before);
        ck_assert_uint_gt(m->epoch, final);
        ck_assert_int_eq(s->deleted, 0);
        s->w[0].rows = 5;
        s->w[0].lanes = s->w[0].publishes = true;
        pass(s, 500);
        ck_assert_uint_gt(s->stored->epoch, m->epoch);
        call_id_t call = ask(s, CLIENT_STOP, NULL);
        pass(s, 500);
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_ptr_null(s->reply_error);
        ck_assert_ptr_nonnull(s->record->savepoint);
        story_free(s);
    }
}
END_TEST

/* Its last epoch is the final one: were it resumed as a job that runs, it would be FINISHED at once, and what it holds deleted. */
START_TEST(A7_a_job_that_failed_while_it_was_stopped_is_stopped_by_resume) {
    for (int over = 0; over < 2; over++) {
        story_t *s = running_with_rows();
        s->w[0].publishes = false;
        pass(s, 200);
        ask(s, CLIENT_STOP, "/backup");
        pass(s, 300);
        ck_assert(s->stored->final);
        failed(s, &s->w[0], err_new(ERR_CORRUPT, "the ledger says epoch 80"), NULL);
        expect_state(s, JOB_FAILED);
        if (over) another_leads(s);
        ask(s, CLIENT_RESUME, NULL);
        last_published(s);
        expect_state(s, JOB_STOPPED);
        ck_assert_str_eq(s->record->savepoint, "/backup");
        story_free(s);
    }
}
END_TEST

START_TEST(A7_a_failed_job_gives_a_savepoint_and_keeps_its_files) {
    for (int over = 0; over < 2; over++) {
        story_t *s = running_with_rows();
        failed(s, &s->w[0], err_new(ERR_DATA, "a poison row"), NULL);
        expect_state(s, JOB_FAILED);
        if (over) new_coordinator(s);
        s->hold_save = true;
        call_id_t call = ask(s, CLIENT_SAVEPOINT, NULL);
        pass(s, 100);
        ck_assert(s->held_save);
        ck_assert_uint_eq(s->record->pin, s->stored->epoch);
        ask(s, CLIENT_FORGET, NULL);
        expect_says(s->reply_error, "its savepoint is being copied");
        answer_save(s, NULL);
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_ptr_null(s->reply_error);
        ck_assert_uint_eq(s->saved->epoch, s->stored->epoch);
        ck_assert_int_eq(s->deleted, 0);
        expect_state(s, JOB_FAILED);
        story_free(s);
    }
}
END_TEST

/* The look before a file said no: this coordinator is not the leader, and what it holds true of the job is not its to write. */
START_TEST(A7_a_copy_that_was_fenced_is_no_failed_copy) {
    story_t *s = running_with_rows();
    s->hold_save = true;
    ask(s, CLIENT_STOP, "/backup");
    pass(s, 300);
    forget_trace(s);
    answer_save(s, err_new(ERR_FENCED, "this coordinator does not lead any more"));
    ck_assert(s->resigned);
    expect_not(s, "put-job");
    expect_not(s, "to=savepoints/");
    ck_assert_int_eq(s->record->state, JOB_RUNNING);
    next_leader(s);
    ck_assert_str_eq(s->saved_target, "/backup");
    uint64_t late = s->saved_leader;
    s->saved_leader = late - 10; /* and an answer to the one before is none to this one */
    answer_save(s, NULL);
    ck_assert_int_eq(s->record->state, JOB_RUNNING);
    s->saved_leader = late;
    answer_save(s, NULL);
    expect_state(s, JOB_STOPPED);
    story_free(s);
}
END_TEST

START_TEST(A7_two_leaders_copy_to_two_places) {
    story_t *s = running_with_rows();
    s->hold_save = true;
    ask(s, CLIENT_STOP, NULL);
    pass(s, 300);
    AUTO(auto_free) char *first = xstrdup(s->saved_target);
    next_leader(s);
    ck_assert(s->held_save);
    ck_assert_str_ne(s->saved_target, first);
    story_free(s);
}
END_TEST

/* ---- what is forgotten */
static job_id_t another_job(story_t *s, bool fails) {
    manifest_free(TAKE(s->stored));
    s->attempt = 0;
    ask(s, CLIENT_SUBMIT, NULL);
    pass(s, 200);
    expect_state(s, JOB_RUNNING);
    if (fails) failed(s, &s->w[0], err_new(ERR_DATA, "a poison row"), NULL);
    else ask(s, CLIENT_CANCEL, NULL);
    pass(s, 100);
    expect_state(s, fails ? JOB_FAILED : JOB_CANCELLED);
    return s->job;
}

START_TEST(A14_a_job_that_can_be_resumed_is_not_forgotten_because_others_ended) {
    story_t *s = story_new();
    s->conf.jobs_kept = 2;
    coord_free(s->c);
    s->c = coord_new(&s->conf);
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    job_id_t held = another_job(s, true), first = another_job(s, false);
    for (int i = 0; i < 4; i++) another_job(s, false);
    ck_assert_ptr_nonnull(coord_job(s->c, held));
    ck_assert_ptr_null(coord_job(s->c, first));
    ck_assert_int_eq(s->forgotten, 3);
    expect_not(s, "hold the only copy");
    another_job(s, true);
    another_job(s, true);
    expect(s, "3 jobs that are over hold the only copy of their state");
    pass(s, 1000);
    ck_assert_int_eq(s->forgotten, 3);
    forget_trace(s); /* only a word of the operator's does it */
    s->job = held;
    call_id_t call = ask(s, CLIENT_FORGET, NULL);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    expect(s, "is forgotten as asked, and with it the only copy of its state", "forget");
    ck_assert_ptr_null(coord_job(s->c, held));
    story_free(s);
}
END_TEST

START_TEST(A14_a_job_that_runs_is_not_forgotten) {
    story_t *s = running_with_rows();
    ask(s, CLIENT_FORGET, NULL);
    ck_assert_int_eq(err_code(s->reply_error), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(err_hint_text(s->reply_error), "stop or cancel it first"));
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

/* ---- what a cancel leaves behind */
START_TEST(B11_a_cancel_says_what_it_leaves_unpublished_in_whatever_state_the_job_was) {
    for (int way = 0; way < 3; way++) {
        story_t *s = running_with_rows();
        s->w[0].publishes = false;
        pass(s, 300);
        epoch_t last = manifest_lane(s->stored, FP_SINK, 0, false)->last_rows;
        if (way) {
            s->hold_raise = way == 2;
            die(s, &s->w[0]);
            die(s, &s->w[1]);
            if (way == 2) new_coordinator(s); /* it has not read what is complete */
            pass(s, 500);
            ck_assert_int_eq(the_job(s)->state, way == 1 ? JOB_WAITING : JOB_RESTARTING);
        }
        forget_trace(s);
        ask(s, CLIENT_CANCEL, NULL);
        pass(s, s->conf.publish_wait_ms + 500);
        expect_state(s, JOB_CANCELLED);
        AUTO(auto_free) char *text = xprintf("lane 0 of sink results has published epoch %" PRIu64 " of %" PRIu64, lane_published_known(the_job(s), FP_SINK, 0), last);
        expect(s, "is cancelled with complete output that is not published: ", way == 2 ? "its last epoch was not read yet" : text);
        ck_assert_ptr_nonnull(the_job(s)->unpublished);
        story_free(s);
    }
    story_t *s = running_with_rows();
    ask(s, CLIENT_CANCEL, NULL);
    pass(s, 100);
    expect_state(s, JOB_CANCELLED);
    ck_assert_ptr_null(the_job(s)->unpublished);
    story_free(s);
}
END_TEST

/* ---- limits that name their culprit */
START_TEST(B11_whoever_waits_for_the_end_hears_by_name_what_is_missing) {
    static const char *const names[] = {"is not acknowledged by w2 (2 tasks)", "lane 0 of sink results has published epoch", "worker w2 has not stopped its tasks for",
                                        "is being copied to /backup for", "is not durable", "its record is being stored"};
    for (int way = 0; way < 6; way++) {
        story_t *s = running_with_rows();
        s->conf.stop_timeout_ms = s->c->conf.stop_timeout_ms = 60000;
        s->w[1].mute_ack = way == 0;
        if (way == 1) s->w[0].publishes = false;
        s->w[1].mute_stop = way == 2;
        s->hold_save = way == 3;
        if (way == 4) s->put_outcome = STORE_FAILED;
        s->hold_job = way == 5;
        pass(s, 200);
        call_id_t call = ask_for(s, CLIENT_STOP, way == 3 ? "/backup" : NULL, 5000);
        pass(s, 4900);
        ck_assert_uint_ne(s->last_reply, call);
        pass(s, 300);
        ck_assert_msg(s->last_reply == call, "way %d: %s", way, buf_cstr(&s->trace) + MAX((int)s->trace.len - 3000, 0));
        ck_assert_int_eq(err_code(s->reply_error), ERR_TIMEOUT);
        expect_says(s->reply_error, "has not ended after 5");
        expect_says(s->reply_error, names[way]);
        ck_assert_int_eq(the_job(s)->record->wanted, WANTED_STOP); /* it goes on */
        story_free(s);
    }
}
END_TEST

START_TEST(B11_a_savepoint_that_takes_long_says_where_it_is) {
    story_t *s = running_with_rows();
    s->hold_save = true;
    call_id_t call = ask_for(s, CLIENT_SAVEPOINT, "/backup", 5000);
    pass(s, 5300);
    ck_assert_uint_eq(s->last_reply, call);
    expect_says(s->reply_error, "has no savepoint yet");
    expect_says(s->reply_error, "is being copied to /backup");
    answer_save(s, NULL);
    pass(s, 100);
    ck_assert_str_eq(s->record->savepoint, "/backup");
    story_free(s);
}
END_TEST

static void moves(story_t *s) {
    coord_event_t e = story_event(s, EV_SAVING);
    e.job = s->job;
    e.saved.leader = s->saved_leader;
    e.saved.serial = s->saved_serial;
    e.saved.epoch = s->saved_epoch;
    e.saved.target = xstrdup(s->saved_target);
    story_step(s, &e);
}

/* SIGSTOP in the middle of a copy: what the copy said before and after lies unread when the first tick comes. */
START_TEST(A7_a_coordinator_that_stood_still_gives_no_copy_up_for_it) {
    story_t *s = running_with_rows();
    s->hold_save = true;
    ask(s, CLIENT_STOP, "/mnt");
    pass(s, 1000);
    ck_assert(s->held_save);
    s->now += 2 * s->conf.copy_stall_ms;
    coord_event_t e = story_event(s, EV_TICK);
    story_step(s, &e);
    expect(s, "this coordinator stood still for");
    ck_assert_str_eq(s->saved_target, "/mnt");
    moves(s);
    pass(s, s->conf.copy_stall_ms - 1000);
    ck_assert_str_eq(s->saved_target, "/mnt");
    pass(s, 2000); /* a copy that does not move on is still given up, in its time */
    expect(s, "could not be copied: savepoint /mnt: no piece was copied for 600 s; it goes to savepoints/");
    story_free(s);
}
END_TEST

/* A job whose savepoint is still being copied for it: not yet accepted. Its id is in s->job. */
static coord_action_t copying(story_t *s) {
    s->from_manifest = manifest_copy(s->stored);
    ck_assert_int_gt(s->from_manifest->nextents, 0);
    ask(s, CLIENT_CANCEL, NULL);
    pass(s, 300);
    s->attempt = s->floor = 0;
    s->hold_resolve = true;
    restore(s, true);
    for (int i = 0; i < s->c->njobs; i++)
        if (s->c->jobs[i]->resolving) s->job = s->c->jobs[i]->id;
    s->deleted = 0;
    return (coord_action_t){.kind = ACT_RESOLVE, .job = s->job, .resolve = {.from = (char *)"sp", .enumerate = true, .leader = s->leader}};
}

/* The thread that copies goes on: what it has copied by its end goes, whether the job was only cancelled, or is forgotten, or its leader is another. */
START_TEST(A14_what_was_copied_for_a_job_that_was_cancelled_meanwhile_goes) {
    enum { CANCELLED, FORGOTTEN, DEPOSED, WAYS };
    for (int how = 0; how < WAYS; how++) {
        story_t *s = running_with_rows();
        coord_action_t copy = copying(s);
        ask(s, CLIENT_CANCEL, NULL);
        pass(s, 100);
        expect_state(s, JOB_CANCELLED);
        if (how == FORGOTTEN) {
            ask(s, CLIENT_FORGET, NULL);
            ck_assert_int_eq(s->forgotten, 1);
            ck_assert_ptr_null(coord_job(s->c, s->job));
        }
        if (how == DEPOSED) another_leads(s);
        ck_assert_int_eq(s->deleted, 0);
        answer_resolve(s, &copy);
        pass(s, 100);
        ck_assert_int_eq(s->deleted, s->from_manifest->nextents);
        for (int i = 0; i < s->from_manifest->nextents; i++) ck_assert_ptr_nonnull(strstr(buf_cstr(&s->removed), s->from_manifest->extents[i].path));
        story_free(s);
    }
}
END_TEST

/* It was copied and its first manifest is on its way when the job is cancelled: nobody else would ever remove that. */
START_TEST(A14_what_a_job_was_to_begin_from_goes_when_it_is_cancelled_before_it_began) {
    story_t *s = running_with_rows();
    coord_action_t copy = copying(s);
    s->hold_raise = true;
    answer_resolve(s, &copy);
    pass(s, 100);
    ck_assert(s->held_raise);
    ask(s, CLIENT_CANCEL, NULL);
    pass(s, 100);
    expect_state(s, JOB_CANCELLED);
    ck_assert_int_eq(s->deleted, s->from_manifest->nextents);
    story_free(s);
}
END_TEST

/* The mount was there when it was checked, and answers no more. */
START_TEST(A7_a_stop_whose_copy_does_not_move_on_goes_below_the_storage) {
    story_t *s = running_with_rows();
    s->c->conf.copy_stall_ms = 5000;
    s->hold_save = true;
    call_id_t call = ask(s, CLIENT_STOP, "/hung");
    for (int i = 0; i < 4; i++) { /* slow is not stuck */
        pass(s, 4000);
        moves(s);
        ck_assert_str_eq(s->saved_target, "/hung");
    }
    pass(s, 6000);
    expect(s, "could not be copied: savepoint /hung: no piece was copied for 5 s; it goes to savepoints/");
    ck_assert_ptr_nonnull(strstr(s->saved_target, "savepoints/"));
    ck_assert_uint_eq(s->saved_serial, 1); /* the one that was given up writes under other names */
    char *second = TAKE(s->saved_target);
    s->saved_target = xstrdup("/hung"); /* it wakes up */
    s->saved_serial = 0;
    answer_save(s, NULL);
    answer_save(s, err_new(ERR_IO, "/hung: Stale file handle"));
    expect_state(s, JOB_STOPPING);
    free(s->saved_target);
    s->saved_target = second;
    s->saved_serial = 1;
    pass(s, 20000); /* below the storage copies wait for each other, as long as it takes */
    expect_state(s, JOB_STOPPING);
    answer_save(s, NULL);
    pass(s, 100);
    expect_state(s, JOB_STOPPED);
    ck_assert_str_eq(s->record->savepoint, second);
    ck_assert_uint_eq(s->last_reply, call);
    story_free(s);
}
END_TEST

START_TEST(A7_a_failed_job_whose_copy_does_not_move_on_can_be_copied_elsewhere_and_forgotten) {
    story_t *s = running_with_rows();
    s->c->conf.copy_stall_ms = 5000;
    failed(s, &s->w[0], err_new(ERR_DATA, "a poison row"), NULL);
    pass(s, 100);
    expect_state(s, JOB_FAILED);
    s->hold_save = true;
    call_id_t call = ask(s, CLIENT_SAVEPOINT, "/hung");
    pass(s, 4000);
    ck_assert(s->held_save);
    ck_assert_uint_ne(s->last_reply, call);
    pass(s, 2000);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_int_eq(err_code(s->reply_error), ERR_TIMEOUT);
    expect_says(s->reply_error, "savepoint /hung: no piece was copied for 5 s");
    call = ask(s, CLIENT_SAVEPOINT, "/hung"); /* of the same epoch, to the same place: only the serial tells which of them it is that answers */
    pass(s, 500);
    ck_assert_uint_eq(s->saved_serial, 1);
    s->saved_serial = 0;
    answer_save(s, err_new(ERR_IO, "/hung: Stale file handle"));
    pass(s, 100);
    ck_assert_uint_ne(s->last_reply, call);
    s->saved_serial = 1;
    answer_save(s, NULL);
    pass(s, 100);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    ask(s, CLIENT_FORGET, NULL);
    ck_assert_int_eq(s->forgotten, 1);
    story_free(s);
}
END_TEST

TESTS("coordinator/story_ends", A7_a_target_that_is_refused_leaves_the_job_as_it_was, A7_a_target_that_does_not_answer_is_named,
      A7_a_stop_whose_target_fails_later_has_its_savepoint_below_the_storage, A7_the_target_of_a_stop_survives_the_coordinator,
      A7_a_second_stop_waits_with_the_first_or_is_told_its_target, A7_the_savepoint_of_a_stop_is_its_own,
      A7_a_stop_that_finds_its_files_damaged_removes_none,
      A7_a_stopped_job_without_its_savepoint_can_be_copied_later, A7_a_stopped_job_without_its_savepoint_can_be_resumed,
      A7_a_job_that_failed_while_it_was_stopped_is_stopped_by_resume, A7_a_failed_job_gives_a_savepoint_and_keeps_its_files,
      A7_a_copy_that_was_fenced_is_no_failed_copy, A7_two_leaders_copy_to_two_places,
      A14_a_job_that_can_be_resumed_is_not_forgotten_because_others_ended, A14_a_job_that_runs_is_not_forgotten,
      B11_a_cancel_says_what_it_leaves_unpublished_in_whatever_state_the_job_was,
      B11_whoever_waits_for_the_end_hears_by_name_what_is_missing, B11_a_savepoint_that_takes_long_says_where_it_is,
      A7_a_coordinator_that_stood_still_gives_no_copy_up_for_it, A14_what_was_copied_for_a_job_that_was_cancelled_meanwhile_goes,
      A14_what_a_job_was_to_begin_from_goes_when_it_is_cancelled_before_it_began,
      A7_a_stop_whose_copy_does_not_move_on_goes_below_the_storage, A7_a_failed_job_whose_copy_does_not_move_on_can_be_copied_elsewhere_and_forgotten)
