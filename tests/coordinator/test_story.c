/* test_story.c: a day in the life, hazards B (liveness), members, sessions and clients. What would lose or double rows: test_story_correct.c. */
#include "tests/coordinator/story.h"

START_TEST(submit_to_first_epoch) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    call_id_t call = ask(s, CLIENT_SUBMIT, NULL);
    expect(s, "client > op 1", "RESOLVING", "resolve", "enumerate", "put-job", "raise", "put-manifest", "attempt=1 epoch=0 first",
           "manifest 0 durable", "-> WAITING", "w1 < DEPLOY", "w2 < DEPLOY", "w1 > DEPLOYED", "w2 > DEPLOYED", "w1 < START",
           "-> RUNNING");
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    forget_trace(s);
    s->w[0].rows = 5;
    pass(s, 100);
    expect(s, "w1 < INJECT", "epoch=1", "w2 < INJECT", "w1 > ACK", "w2 > ACK", "put-manifest", "after=1/0", "manifest 1 durable",
           "w1 < COMPLETE", "epoch=1", "w2 < COMPLETE");
    ck_assert_int_eq(s->stored->nextents, 1);
    ck_assert_uint_eq(s->stored->previous, 0);
    story_free(s);
}
END_TEST

START_TEST(a_compile_error_leaves_no_trace) {
    story_t *s = story_new();
    lead(s);
    s->resolve_error = err_at(err_new(ERR_NOT_FOUND, "table 'evnts' is unknown"), 3, 7);
    call_id_t call = ask(s, CLIENT_SUBMIT, NULL);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_int_eq(err_line(s->reply_error), 3);
    ck_assert_int_eq(err_col(s->reply_error), 7);
    expect_not(s, "put-job");
    ck_assert_int_eq(s->c->njobs, 0);
    story_free(s);
}
END_TEST

START_TEST(a_second_job_of_the_name_is_refused) {
    story_t *s = story_running();
    ask(s, CLIENT_SUBMIT, NULL);
    ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS);
    ck_assert_int_eq(s->c->njobs, 1);
    story_free(s);
}
END_TEST

START_TEST(a_submit_without_slots_waits_and_says_for_what) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    call_id_t call = ask(s, CLIENT_SUBMIT, NULL);
    pass(s, 5000);
    ck_assert_uint_ne(s->last_reply, call);
    expect_state(s, JOB_WAITING);
    ck_assert_ptr_nonnull(strstr(the_job(s)->waiting, "2 slots; 1 of 1 are free on 1 workers"));
    pass(s, 5100);
    ck_assert_uint_eq(s->last_reply, call);
    ck_assert_ptr_null(s->reply_error);
    join(s, "w2", 1);
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

START_TEST(B1_unpublished_output_holds_the_epochs) {
    story_t *s = story_new();
    s->settings.unpublished_max = 1000;
    lead(s);
    join(s, "w1", 2);
    ask(s, CLIENT_SUBMIT, NULL);
    s->w[0].lanes = true;
    s->w[0].rows = 5;
    s->w[0].busy = true;
    s->w[0].pending_bytes = 999;
    pass(s, 300);
    expect(s, "INJECT", "COMPLETE");
    s->w[0].pending_bytes = 1000;
    pass(s, 200);
    forget_trace(s);
    pass(s, 2000);
    expect_not(s, "INJECT");
    ck_assert_ptr_nonnull(strstr(the_job(s)->ep.held, "sources wait"));
    s->w[0].pending_bytes = 0;
    pass(s, 200);
    expect(s, "INJECT");
    story_free(s);
}
END_TEST

/* Far below the job's own bound: the worker has no room for it, and its rows come from sources elsewhere. A stop still has its barrier. */
START_TEST(B1_unpublished_output_holds_the_epochs_of_a_worker_without_memory_for_it_but_no_stop) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    story_memory = 64 << 20;
    join(s, "w2", 1);
    story_memory = 0;
    ask(s, CLIENT_SUBMIT, NULL);
    for (int i = 0; i < 2; i++) {
        s->w[i].lanes = true;
        s->w[i].rows = 5;
        s->w[i].busy = true;
        s->w[i].pending_bytes = (8 << 20) - 1;
    }
    pass(s, 300);
    expect(s, "INJECT", "COMPLETE");
    s->w[0].pending_bytes = 100 << 20; /* nothing is known of this one's memory */
    s->w[1].pending_bytes = 8 << 20;
    pass(s, 200);
    forget_trace(s);
    pass(s, 2000);
    expect_not(s, "INJECT");
    ck_assert_str_eq(the_job(s)->ep.held, "8 MB of output wait for publication on worker w2, whose memory has 8 MB for it: sources wait");
    s->w[1].pending_bytes = 0;
    pass(s, 200);
    expect(s, "INJECT");
    s->w[1].pending_bytes = 8 << 20;
    pass(s, 200);
    forget_trace(s);
    ask(s, CLIENT_STOP, NULL);
    pass(s, 200);
    expect(s, "INJECT");
    story_free(s);
}
END_TEST

/* Sources that wait for the next epoch do not wait for its interval. */
START_TEST(B1_an_epoch_for_which_sources_wait_comes_before_its_interval) {
    story_t *s = story_new();
    s->settings.interval_ms = 60000;
    lead(s);
    join(s, "w1", 2);
    ask(s, CLIENT_SUBMIT, NULL);
    s->w[0].busy = true;
    s->w[0].rows = 5;
    pass(s, 1000);
    forget_trace(s);
    pass(s, 1000);
    expect_not(s, "INJECT");
    s->w[0].full = true;
    pass(s, 500);
    expect(s, "INJECT", "COMPLETE");
    s->w[0].full = false;
    pass(s, 500);
    forget_trace(s);
    pass(s, 5000);
    expect_not(s, "INJECT");
    story_free(s);
}
END_TEST

START_TEST(B1_jobs_of_one_worker_share_what_its_memory_has_for_output) {
    story_t *s = story_new();
    lead(s);
    story_memory = 64 << 20;
    join(s, "w1", 4);
    story_memory = 0;
    ask(s, CLIENT_SUBMIT, NULL);
    s->w[0].lanes = true;
    s->w[0].rows = 5;
    s->w[0].busy = true;
    s->w[0].pending_bytes = 4 << 20;
    pass(s, 300);
    expect(s, "INJECT", "COMPLETE");
    s->ledger = "another/results";
    submit_another(s); /* of which the worker speaks from now on */
    ck_assert_int_eq(s->c->njobs, 2);
    expect_state(s, JOB_RUNNING);
    pass(s, 200);
    forget_trace(s);
    pass(s, 2000);
    expect_not(s, "INJECT");
    ck_assert_str_eq(the_job(s)->ep.held, "4 MB of output wait for publication on worker w1, whose memory has 4 MB for it: sources wait");
    story_free(s);
}
END_TEST

START_TEST(B5_an_epoch_deadline_names_the_culprit) {
    story_t *s = story_new();
    s->settings.epoch_timeout_ms = 1000;
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    s->w[1].mute_ack = true;
    s->w[1].mute_stop = true;
    pass(s, 1300);
    expect(s, "INJECT", "-> RESTARTING: epoch 1 was not acknowledged within 1000 ms by w2 (2 tasks)", "STOP", "w1 > STOPPED");
    forget_trace(s);
    pass(s, 5200); /* a slot that does not return makes its process exit */
    expect(s, "worker w2 is gone: worker w2 did not stop job", "w2 < GOODBYE exit", "raise", "w1 < DEPLOY");
    story_free(s);
}
END_TEST

START_TEST(B5_a_link_that_fails_twice_costs_one_end_its_place) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    join(s, "w3", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    failed(s, &s->w[0], err_new(ERR_IO, "connection to w2 broke"), "w2");
    pass(s, 200);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->nworkers, 2);
    ck_assert_int_eq(the_job(s)->workers[1].member, 1); /* once is no pattern: same places */
    failed(s, &s->w[0], err_new(ERR_IO, "connection to w2 broke"), "w2");
    pass(s, 500);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->workers[0].member, 0);
    ck_assert_int_eq(the_job(s)->workers[1].member, 2);
    story_free(s);
}
END_TEST

/* The job goes on where disks are well; a process that is started anew is not held responsible for the one before. */
START_TEST(B5_a_worker_whose_own_disk_fails_twice_loses_its_place) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    join(s, "w3", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    disk_failed(s, &s->w[1]);
    pass(s, 200);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->workers[1].member, 1); /* once is no pattern: same places */
    disk_failed(s, &s->w[1]);
    pass(s, 500);
    expect(s, "the disk of worker w2 failed two attempts: it gets no tasks for 60 s");
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->nworkers, 2);
    ck_assert_int_eq(the_job(s)->workers[0].member, 0);
    ck_assert_int_eq(the_job(s)->workers[1].member, 2);
    die(s, &s->w[1]);
    join(s, "w2", 1);
    die(s, &s->w[2]);
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->nworkers, 2);
    ck_assert_int_eq(the_job(s)->workers[1].member, 1);
    story_free(s);
}
END_TEST

START_TEST(B5_a_death_explains_the_faults_of_its_links) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    for (int deaths = 0; deaths < 3; deaths++) { /* the survivor is heard of first, each time */
        pass(s, 3000);
        failed(s, &s->w[0], err_new(ERR_IO, "connection to w2 broke"), "w2");
        die(s, &s->w[1]);
        pass(s, 100);
        expect_state(s, JOB_RUNNING);
        ck_assert_int_eq(the_job(s)->nworkers, 1);
        join(s, "w2", 1)->rows = 5;
        pass(s, 2500);
        expect_state(s, JOB_RUNNING);
        ck_assert_int_eq(the_job(s)->nworkers, 2);
    }
    story_free(s);
}
END_TEST

START_TEST(B9_a_heartbeat_of_lanes_is_answered_with_the_attempts_confirmation) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    pass(s, 200);
    s->w[0].rows = 0;
    pass(s, 500);
    forget_trace(s);
    beat(s, &s->w[0]);
    expect(s, "w1 < COMPLETE");
    die(s, &s->w[1]); /* the attempt ends: a fenced lane of it is not confirmed any more */
    forget_trace(s);
    beat(s, &s->w[0]);
    expect_not(s, "COMPLETE");
    story_free(s);
}
END_TEST

/* What the job's watermark is when its two workers report these. */
static int64_t watermark_of(story_t *s, int n1, const int64_t *w1, int n2, const int64_t *w2) {
    s->w[0].watermarks = w1, s->w[0].nwatermarks = n1;
    s->w[1].watermarks = w2, s->w[1].nwatermarks = n2;
    beat(s, &s->w[1]);
    beat(s, &s->w[0]);
    return the_job(s)->totals.watermark;
}
START_TEST(a_job_is_at_its_end_when_all_its_tasks_are) {
    const int64_t none = WATERMARK_NONE, end = WATERMARK_END;
    story_t *s = story_running();
    beat(s, &s->w[0]);
    ck_assert_int_eq(the_job(s)->totals.watermark, none); /* no task has reported */
    ck_assert_int_eq(watermark_of(s, 1, &end, 0, NULL), none);
    ck_assert_int_eq(watermark_of(s, 1, &end, 1, &none), none); /* a source task without a split beside one that has read nothing */
    ck_assert_int_eq(watermark_of(s, 2, (int64_t[]){end, 7}, 1, &none), 7);
    ck_assert_int_eq(watermark_of(s, 1, &end, 1, &end), end);
    story_free(s);
}
END_TEST

START_TEST(B10_every_worker_acks_even_without_splits) {
    story_t *s = story_new();
    s->nsplits = 1;
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    s->w[1].mute_ack = true;
    pass(s, 300);
    expect(s, "w1 < INJECT", "w2 < INJECT");
    expect_not(s, "COMPLETE");
    ack(s, &s->w[1], 1);
    expect(s, "COMPLETE");
    story_free(s);
}
END_TEST

START_TEST(B13_a_deterministic_error_fails_the_job_at_once_and_resume_goes_on) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 200);
    epoch_t at = s->stored->epoch;
    forget_trace(s);
    failed(s, &s->w[1], err_new(ERR_DATA, "events-3 offset 17: not JSON"), NULL);
    expect(s, "STOP", "-> FAILED: ", "on worker w2: events-3 offset 17: not JSON");
    expect_not(s, "raise");
    ck_assert_int_eq(s->record->state, JOB_FAILED);
    pass(s, 1000);
    expect_not(s, "DEPLOY");
    ck_assert_int_eq(s->deleted, 0); /* extents are kept for resume */
    ask(s, CLIENT_RESUME, NULL);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(s->w[0].deploy->manifest->epoch, at);
    story_free(s);
}
END_TEST

START_TEST(B13_attempts_without_an_epoch_are_delayed_and_counted) {
    story_t *s = story_new();
    s->settings.restart_max = 4;
    lead(s);
    join(s, "w1", 2)->mute_ack = true;
    ask(s, CLIENT_SUBMIT, NULL);
    int64_t times[8];
    int n = 0;
    for (int k = 0; k < 1000 && the_job(s)->state != JOB_FAILED; k++) {
        if (the_job(s)->state == JOB_RUNNING) {
            times[n++] = s->now;
            failed(s, &s->w[0], err_new(ERR_UNAVAILABLE, "crash"), NULL);
        }
        pass(s, 10);
    }
    expect_state(s, JOB_FAILED);
    ck_assert_int_eq(n, 5);
    ck_assert_int_le(times[1] - times[0], 20); /* the first comes back at once */
    ck_assert_int_ge(times[2] - times[1], 100);
    ck_assert_int_ge(times[3] - times[2], 200);
    ck_assert_int_ge(times[4] - times[3], 400);
    ck_assert_ptr_nonnull(strstr(err_text(the_job(s)->record->error), "5 attempts ended without a complete epoch"));
    story_free(s);
}
END_TEST

START_TEST(B13_a_complete_epoch_forgives) {
    story_t *s = story_running();
    s->settings.restart_max = 2;
    for (int i = 0; i < 8; i++) {
        s->w[0].rows = 5;
        pass(s, 200);
        failed(s, &s->w[0], err_new(ERR_UNAVAILABLE, "crash"), NULL);
        pass(s, 100);
        expect_state(s, JOB_RUNNING);
    }
    story_free(s);
}
END_TEST

START_TEST(B14_at_most_four_epochs_are_in_flight) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].busy = true;
    s->hold_put = true; /* the metadata store is away */
    pass(s, 100);
    release_put(s, STORE_FAILED);
    pass(s, 5000);
    expect(s, "INJECT", "epoch=4");
    expect_not(s, "epoch=5");
    ck_assert_ptr_nonnull(strstr(the_job(s)->waiting, "epoch 1 is not durable: the store is away"));
    expect_state(s, JOB_RUNNING); /* the job waits, it does not restart */
    s->hold_put = false;
    release_put(s, STORE_OK);
    pass(s, 100);
    expect(s, "manifest 1 durable", "manifest 2 durable", "manifest 3 durable", "manifest 4 durable", "epoch=5");
    ck_assert_ptr_null(the_job(s)->waiting);
    story_free(s);
}
END_TEST

START_TEST(B15_an_idle_job_has_no_epochs) {
    story_t *s = story_running();
    pass(s, 1000);
    forget_trace(s);
    pass(s, 60000);
    expect_not(s, "INJECT");
    expect_not(s, "put-");
    s->w[1].busy = true;
    s->w[1].rows = 1;
    pass(s, 110);
    expect(s, "INJECT", "COMPLETE");
    story_free(s);
}
END_TEST

START_TEST(a_lost_worker_costs_one_restart_and_the_rest_goes_on) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 2);
    join(s, "w2", 2);
    join(s, "w3", 2);
    s->parallelism = 4;
    ask(s, CLIENT_SUBMIT, NULL);
    for (int i = 0; i < 3; i++) s->w[i].rows = 5;
    pass(s, 300);
    epoch_t at = s->stored->epoch;
    forget_trace(s);
    die(s, &s->w[1]);
    expect(s, "w2 dies", "-> RESTARTING: the connection to worker w2 broke", "w1 < STOP", "w1 > STOPPED", "raise", "attempt 2 last",
           "DEPLOY", "START", "-> RUNNING");
    ck_assert_uint_eq(s->w[0].deploy->manifest->epoch, at);
    ck_assert_int_eq(s->w[0].deploy->nworkers, 2);
    forget_trace(s);
    pass(s, 200);
    expect(s, "INJECT", "COMPLETE");
    story_free(s);
}
END_TEST

START_TEST(a_job_that_ran_goes_on_with_fewer_slots_and_spreads_again) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 3000);
    die(s, &s->w[1]);
    pass(s, 100);
    expect_state(s, JOB_RUNNING);
    ck_assert(the_job(s)->squeezed);
    ck_assert_int_eq(the_job(s)->nworkers, 1);
    join(s, "w2", 1)->rows = 5;
    pass(s, 2500);
    expect_state(s, JOB_RUNNING);
    ck_assert(!the_job(s)->squeezed);
    ck_assert_int_eq(the_job(s)->nworkers, 2);
    story_free(s);
}
END_TEST

START_TEST(silence_is_death_and_a_zombie_is_fenced) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 300);
    s->w[1].mute_beat = s->w[1].mute_ack = true;
    session_id_t zombie = s->w[1].session;
    attempt_t old = s->w[1].attempt;
    pass(s, 1200);
    expect(s, "worker w2 is gone: worker w2 was silent", "-> RESTARTING");
    forget_trace(s);
    s->w[1].session = zombie; /* SIGCONT: it still believes in its attempt */
    s->w[1].attempt = old;
    ack(s, &s->w[1], 4);
    expect(s, "w2 > ACK", "w2 < GOODBYE anew", "this session has ended", "w2 < close");
    story_free(s);
}
END_TEST

/* Deadlines are looked at by ticks, and the next tick is due a while after the last one, whatever comes between. */
START_TEST(a_coordinator_that_stood_still_blames_no_worker) {
    story_t *s = story_running();
    pass(s, 500);
    forget_trace(s);
    s->now += 30000; /* SIGSTOP, a frozen machine: what the workers sent lies unread */
    coord_event_t e = story_event(s, EV_TICK);
    story_step(s, &e);
    expect(s, "this coordinator stood still for");
    expect_not(s, "is gone");
    pass(s, 500);
    expect_not(s, "is gone");
    s->w[1].mute_beat = true; /* who died meanwhile is still found out, in the usual time */
    pass(s, 1200);
    expect(s, "worker w2 is gone: worker w2 was silent for");
    story_free(s);
}
END_TEST

START_TEST(a_probe_is_answered_by_leaders_and_standbys_alike) {
    story_t *s = story_new();
    coord_event_t e = story_event(s, EV_MESSAGE);
    e.session = 77;
    e.message = ctl_new(CTL_PROBE);
    story_step(s, &e);
    expect(s, "nobody < ALIVE");
    expect_not(s, "GOODBYE");
    lead(s);
    join(s, "w1", 1);
    forget_trace(s);
    e = story_event(s, EV_MESSAGE);
    e.session = 77;
    e.message = ctl_new(CTL_PROBE);
    story_step(s, &e);
    expect(s, "nobody < ALIVE");
    beat(s, &s->w[0]); /* and so is every heartbeat */
    expect(s, "w1 < ALIVE");
    story_free(s);
}
END_TEST

START_TEST(chatty_workers_do_not_hide_a_silent_one) {
    story_t *s = story_running();
    pass(s, 300);
    int ticks = 0;
    for (int64_t end = s->now + 2000; s->now < end; s->now += 50) {
        beat(s, &s->w[0]);
        if (coord_next_ms(s->c) > s->now) continue;
        coord_event_t e = story_event(s, EV_TICK);
        story_step(s, &e);
        ticks++;
    }
    ck_assert_int_ge(ticks, 5);
    expect(s, "worker w2 is gone: worker w2 was silent", "-> RESTARTING");
    story_free(s);
}
END_TEST

START_TEST(acks_of_another_attempt_or_leader_do_nothing) {
    story_t *s = story_running();
    s->w[0].mute_ack = s->w[1].mute_ack = true;
    pass(s, 100);
    uint64_t dropped = s->c->dropped;
    s->w[0].attempt = 7;
    ack(s, &s->w[0], 1);
    s->w[0].attempt = 1;
    s->leader++;
    ack(s, &s->w[0], 1);
    s->leader--;
    s->w[0].incarnation++;
    ack(s, &s->w[0], 1);
    s->w[0].incarnation--;
    ck_assert_uint_eq(s->c->dropped, dropped + 3);
    ack(s, &s->w[0], 1);
    ack(s, &s->w[0], 1); /* twice is once */
    expect_not(s, "COMPLETE");
    ack(s, &s->w[1], 1);
    expect(s, "COMPLETE");
    story_free(s);
}
END_TEST

START_TEST(a_newer_session_of_a_name_ends_the_older) {
    story_t *s = story_running();
    session_id_t old = s->w[0].session;
    forget_trace(s);
    join(s, "w1", 1);
    ck_assert_uint_ne(old, s->w[0].session);
    expect(s, "worker w1 is gone: a newer session", "-> RESTARTING", "GOODBYE", "WELCOME");
    story_free(s);
}
END_TEST

START_TEST(a_draining_worker_is_emptied_and_let_go) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    join(s, "w3", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    forget_trace(s);
    say(s, &s->w[0], ctl_new(CTL_DRAIN));
    pass(s, 100);
    expect(s, "worker w1 drains", "-> RESTARTING: worker w1 drains", "w2 < DEPLOY", "w3 < DEPLOY", "worker w1 has drained", "w1 < GOODBYE");
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->failures, 0);
    story_free(s);
}
END_TEST

START_TEST(versions_that_do_not_overlap_are_refused) {
    story_t *s = story_new();
    lead(s);
    s->w[0] = (story_worker_t){.name = "w9", .session = 77};
    s->nw = 1;
    ctl_msg_t *m = ctl_new(CTL_REGISTER);
    m->reg.name = xstrdup("w9");
    m->reg.slots = 1;
    m->reg.version_min = m->reg.version_max = CONTROL_VERSION_MAX + 1;
    say(s, &s->w[0], m);
    expect(s, "w9 < GOODBYE", "speaks control versions 2 to 2", "w9 < close");
    story_free(s);
}
END_TEST

START_TEST(cancel_publishes_what_is_complete) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    s->w[0].lanes = true;
    s->w[0].busy = true;
    pass(s, 300);
    forget_trace(s);
    call_id_t call = ask(s, CLIENT_CANCEL, NULL);
    pass(s, 500);
    expect_not(s, "INJECT");
    expect_state(s, JOB_STOPPING);
    published(s, &s->w[0], 0, s->stored->epoch);
    expect_state(s, JOB_CANCELLED);
    ck_assert_uint_eq(s->last_reply, call);
    story_free(s);
}
END_TEST

START_TEST(strays_of_a_dead_leader_are_told_to_stop) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 200);
    job_id_t job = s->w[0].job;
    uint64_t incarnation = s->w[0].incarnation;
    new_coordinator(s);
    story_worker_t *w = join(s, "w9", 1);
    w->job = job;
    w->attempt = 1;
    w->incarnation = incarnation;
    forget_trace(s);
    beat(s, w);
    expect(s, "w9 < STOP", "attempt=1");
    story_free(s);
}
END_TEST

TESTS("coordinator/story", submit_to_first_epoch, a_compile_error_leaves_no_trace, a_second_job_of_the_name_is_refused,
      a_submit_without_slots_waits_and_says_for_what, B1_unpublished_output_holds_the_epochs,
      B1_unpublished_output_holds_the_epochs_of_a_worker_without_memory_for_it_but_no_stop,
      B1_jobs_of_one_worker_share_what_its_memory_has_for_output,
      B1_an_epoch_for_which_sources_wait_comes_before_its_interval, B5_an_epoch_deadline_names_the_culprit,
      B5_a_link_that_fails_twice_costs_one_end_its_place, B5_a_worker_whose_own_disk_fails_twice_loses_its_place, B5_a_death_explains_the_faults_of_its_links,
      B9_a_heartbeat_of_lanes_is_answered_with_the_attempts_confirmation, a_job_is_at_its_end_when_all_its_tasks_are,
      B10_every_worker_acks_even_without_splits, B13_a_deterministic_error_fails_the_job_at_once_and_resume_goes_on,
      B13_attempts_without_an_epoch_are_delayed_and_counted, B13_a_complete_epoch_forgives, B14_at_most_four_epochs_are_in_flight,
      B15_an_idle_job_has_no_epochs, a_lost_worker_costs_one_restart_and_the_rest_goes_on,
      a_job_that_ran_goes_on_with_fewer_slots_and_spreads_again, silence_is_death_and_a_zombie_is_fenced,
      a_coordinator_that_stood_still_blames_no_worker, a_probe_is_answered_by_leaders_and_standbys_alike,
      chatty_workers_do_not_hide_a_silent_one, acks_of_another_attempt_or_leader_do_nothing, a_newer_session_of_a_name_ends_the_older,
      a_draining_worker_is_emptied_and_let_go, versions_that_do_not_overlap_are_refused, cancel_publishes_what_is_complete,
      strays_of_a_dead_leader_are_told_to_stop)
