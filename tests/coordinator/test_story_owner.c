/* Who owns what: one live job of a ledger, one of a family to one place, and what a job leaves behind where it ran (A4, A7, A27). */
#include "tests/coordinator/story.h"

static void expect_says(const err_t *e, const char *text) {
    if (!e || !strstr(err_text(e), text)) ck_abort_msg("'%s' is not in '%s'", text, e ? err_text(e) : "(no error)");
}
static void begin(story_t *s, const char *name, const char *from, bool new_ledger) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_SUBMIT;
    r->from = from ? xstrdup(from) : NULL;
    r->new_ledger = new_ledger;
    r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .name = xstrdup(name)};
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    err_free(TAKE(s->reply_error));
    story_step(s, &e);
}
static void resume(story_t *s, job_id_t job, bool accept_duplicates) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_RESUME;
    r->job = job;
    r->accept_duplicates = accept_duplicates;
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    err_free(TAKE(s->reply_error));
    story_step(s, &e);
}
static void new_leader_reads(story_t *s, int n, job_record_t **records) {
    coord_free(s->c);
    s->c = coord_new(&s->conf);
    s->leader += 10;
    coord_event_t e = story_event(s, EV_LEADING);
    e.leading.leader = s->leader;
    e.leading.njobs = n;
    e.leading.jobs = xcalloc((size_t)n, sizeof(job_record_t *));
    for (int i = 0; i < n; i++) e.leading.jobs[i] = records[i];
    story_step(s, &e);
}
static job_record_t *record_of(job_id_t id, const char *name, job_state_t state, job_id_t family, const char *output, const char *ledger) {
    job_record_t *r = xcalloc(1, sizeof *r);
    *r = (job_record_t){.id = id, .incarnation = id, .state = state, .family = family};
    r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .name = xstrdup(name)};
    if (output) record_sink_add(r, "results", output, ledger);
    return r;
}

/* A savepoint of a job that is STOPPED. */
static story_t *stopped(void) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 200);
    s->from_manifest = manifest_copy(s->stored);
    ask(s, CLIENT_STOP, NULL);
    pass(s, 300);
    expect_state(s, JOB_STOPPED);
    manifest_free(TAKE(s->stored)); /* the store knows one job */
    s->attempt = s->floor = 0;
    return s;
}

/* And one job begun from it that runs. */
static story_t *begun_from_savepoint(void) {
    story_t *s = stopped();
    s->ledger = "tidegate/a/results"; /* no prefix: the name is in it */
    begin(s, "a", "sp", false);
    expect_state(s, JOB_RUNNING);
    return s;
}

START_TEST(A7_of_two_starts_from_one_savepoint_only_one_publishes_to_one_place) {
    for (int over = 0; over < 2; over++) {
        story_t *s = begun_from_savepoint();
        job_id_t first = s->job;
        if (over) { /* the new leader has not compiled the first one when it decides about the second */
            job_record_t *r[] = {job_record_copy(coord_job(s->c, first)->record)};
            s->hold_raise = true;
            new_leader_reads(s, 1, r);
            pass(s, 50);
            ck_assert_ptr_null(coord_job(s->c, first)->shape);
        }
        s->ledger = "tidegate/b/results";
        forget_trace(s);
        begin(s, "b", "sp", false);
        ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS);
        expect_says(s->reply_error, "goes on from the same state: both would publish the same output: sink results goes to topic 'results'");
        expect_says(s->reply_error, "(a)");
        expect(s, "delete job=", s->from_manifest->extents[0].path); /* what was copied for it */
        int before = s->c->njobs;
        begin(s, "c", "sp", true); /* a new ledger does not make it another topic */
        ck_assert_int_eq(err_code(s->reply_error), ERR_EXISTS);
        ck_assert_int_eq(s->c->njobs, before);
        s->output = "topic 'other'";
        s->hold_job = true;
        begin(s, "d", "sp", false);
        ck_assert_ptr_null(s->reply_error);
        ck_assert_int_eq(s->c->njobs, before + 1);
        story_free(s);
    }
}
END_TEST

/* A job of the first one's savepoints is of its family, too: the manifest says so although no record of those before is left. */
START_TEST(A7_a_family_is_known_from_the_manifest_alone) {
    story_t *s = begun_from_savepoint();
    job_id_t family = s->from_manifest->job;
    ck_assert_uint_eq(s->stored->family, family);
    pass(s, 200);
    ck_assert_uint_eq(s->stored->family, family);
    manifest_free(s->from_manifest);
    s->from_manifest = manifest_copy(s->stored);
    s->hold_raise = true;
    job_record_t *r[] = {record_of(4711, "sister", JOB_RUNNING, family, "topic 'results'", "tidegate/sister/results")};
    new_leader_reads(s, 1, r);
    s->ledger = "tidegate/e/results";
    begin(s, "e", "sp", false);
    expect_says(s->reply_error, "job 4711 (sister), which is RESTARTING, goes on from the same state");
    story_free(s);
}
END_TEST

START_TEST(A4_a_ledger_has_one_live_owner_although_its_leader_has_compiled_nothing) {
    static const struct { const char *output, *ledger; job_id_t family; const char *says; } cases[] = {
        {"topic 'x'", "orders/results", 1, "publishes with the same ledger 'orders/results'"},
        {"topic 'results'", "other/results", 2, "goes on from the same state"}, /* it began from the savepoint of the FAILED one */
        {"topic 'x'", "other/results", 2, NULL},
        {"topic 'results'", "other/results", 1, NULL}, /* no relation: two jobs may fill one topic */
        {NULL, NULL, 0, "where job 1 (live) publishes is not known yet"}, /* of an earlier build */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        story_t *s = story_new();
        s->hold_raise = true;
        job_record_t *r[] = {record_of(1, "live", JOB_RUNNING, cases[i].family, cases[i].output, cases[i].ledger),
                             record_of(2, "over", JOB_FAILED, 2, "topic 'results'", "orders/results")};
        new_leader_reads(s, 2, r);
        ck_assert_ptr_null(coord_job(s->c, 1)->shape);
        resume(s, 2, false);
        if (cases[i].says) expect_says(s->reply_error, cases[i].says);
        ck_assert_str_eq(job_state_name(coord_job(s->c, 2)->state), cases[i].says ? "FAILED" : "RESTARTING");
        if (i == 0) {
            s->output = "topic 'y'";
            begin(s, "third", NULL, false);
            expect_says(s->reply_error, cases[i].says);
        }
        story_free(s);
    }
}
END_TEST

/* It would be fenced again by the first record of the ledger that it reads, after the client was told RUNNING. */
START_TEST(A4_a_job_that_was_taken_over_is_not_resumed_by_mistake) {
    story_t *s = story_running();
    failed(s, &s->w[0], err_hint(err_new(ERR_FENCED, "taken over by incarnation 77"), "stop it to take its place"), NULL);
    pass(s, 100);
    expect_state(s, JOB_FAILED);
    for (int over = 0; over < 2; over++) {
        resume(s, s->job, false);
        ck_assert_int_eq(err_code(s->reply_error), ERR_INVALID);
        expect_says(s->reply_error, "would stop again at once");
        expect_says(s->reply_error, "taken over by incarnation 77");
        ck_assert_str_eq(err_hint_text(s->reply_error), "stop it to take its place");
        expect_state(s, JOB_FAILED);
        new_coordinator(s);
        join(s, "w1", 1);
        join(s, "w2", 1);
    }
    resume(s, s->job, true);
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

START_TEST(stop_of_a_failed_job_says_what_else_there_is) {
    story_t *s = story_running();
    failed(s, &s->w[0], err_new(ERR_DATA, "a poison row"), NULL);
    pass(s, 100);
    ask(s, CLIENT_STOP, NULL);
    expect_says(s->reply_error, "is FAILED");
    const char *hint = err_hint_text(s->reply_error);
    ck_assert(hint && strstr(hint, "tidegate resume") && strstr(hint, "savepoint") && strstr(hint, "forget"));
    story_free(s);
}
END_TEST

START_TEST(restarts_are_counted_over_coordinators) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    for (int i = 0; i < 3; i++) {
        failed(s, &s->w[0], err_new(ERR_UNAVAILABLE, "the disk is away"), NULL);
        pass(s, 1000);
        expect_state(s, JOB_RUNNING);
    }
    ck_assert_uint_eq(the_job(s)->record->restarts, 3);
    new_coordinator(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(the_job(s)->record->restarts, 3);
    story_free(s);
}
END_TEST

/* Copies for a quick restore lie where an attempt ran: its last one knows nothing of those before. */
START_TEST(A13_a_job_that_is_over_is_released_everywhere) {
    for (int forgotten = 0; forgotten < 2; forgotten++) {
        story_t *s = story_running();
        join(s, "w3", 2);
        s->w[0].rows = 5;
        pass(s, 200);
        if (forgotten) {
            failed(s, &s->w[0], err_new(ERR_DATA, "a poison row"), NULL);
            pass(s, 100);
            expect_not(s, "RELEASE"); /* it may be resumed */
            ask(s, CLIENT_FORGET, NULL);
        } else {
            ask(s, CLIENT_STOP, NULL);
        }
        pass(s, 300);
        expect(s, "w1 < RELEASE", "w2 < RELEASE", "w3 < RELEASE");
        story_free(s);
    }
}
END_TEST

/* Until its end is durable a new leader takes it for running: what a worker has of it is needed then. */
START_TEST(A13_a_job_is_released_when_its_end_is_durable) {
    story_t *s = story_running();
    s->hold_job = true;
    ask(s, CLIENT_CANCEL, NULL);
    answer_job(s); /* the wish */
    pass(s, 300);
    ck_assert_int_eq(s->record->state, JOB_CANCELLED);
    expect_not(s, "RELEASE");
    s->hold_job = false;
    answer_job(s);
    expect(s, "w1 < RELEASE", "w2 < RELEASE");
    story_free(s);
}
END_TEST

/* A client that has no limit of its own is not left without an answer either. */
START_TEST(A7_a_target_has_a_limit_of_its_own) {
    story_t *s = story_running();
    s->hold_check = true;
    call_id_t call = ask(s, CLIENT_STOP, "/mnt/hung");
    pass(s, s->conf.target_wait_ms - 100);
    ck_assert_uint_ne(s->last_reply, call);
    pass(s, 300);
    ck_assert_uint_eq(s->last_reply, call);
    expect_says(s->reply_error, "/mnt/hung did not say");
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

/* Its savepoint lies where nobody answers. It has no id yet that could be told; what it waits for is, and it goes on. */
START_TEST(a_submit_that_is_not_accepted_in_time_hears_for_what_it_waits) {
    for (int refused = 0; refused < 2; refused++) {
        story_t *s = stopped();
        s->hold_resolve = true;
        call_id_t call = ask_for(s, CLIENT_SUBMIT, "/mnt/hung", 30000);
        pass(s, 29900);
        ck_assert_uint_ne(s->last_reply, call);
        pass(s, 200);
        ck_assert_uint_eq(s->last_reply, call);
        ck_assert_int_eq(err_code(s->reply_error), ERR_TIMEOUT);
        expect_says(s->reply_error, "the job 'orders' is not accepted yet after 300");
        expect_says(s->reply_error, "savepoint /mnt/hung to be copied");
        job_t *j = s->c->jobs[s->c->jobs[0]->state == JOB_RESOLVING ? 0 : 1];
        forget_trace(s);
        coord_action_t a = {.kind = ACT_RESOLVE, .job = j->id};
        a.resolve.from = (char *)"/mnt/hung";
        a.resolve.enumerate = true;
        a.resolve.leader = s->leader;
        if (refused) s->resolve_error = err_new(ERR_NOT_FOUND, "topic 'events' is gone");
        answer_resolve(s, &a);
        pass(s, 100);
        if (refused) expect(s, "the job 'orders' is turned away: topic 'events' is gone");
        else expect_state(s, JOB_RUNNING);
        expect_not(s, "reply call=");
        story_free(s);
    }
}
END_TEST

/* A process that leads, loses its lease and leads again: its first term's copy of the savepoint ends after the second term's has begun. Were its
 * answer taken for the second one's it would be retried, and the slower of two copies under one term's names would remove what the manifest names. */
START_TEST(A7_the_copy_of_an_earlier_term_does_not_answer_for_that_of_this_one) {
    story_t *s = story_running();
    s->w[0].rows = 5;
    pass(s, 200);
    s->from_manifest = manifest_copy(s->stored);
    ask(s, CLIENT_STOP, NULL);
    pass(s, 300);
    s->attempt = s->floor = 0;
    s->hold_raise = true;
    restore(s, false);
    s->hold_resolve = true;
    coord_action_t first = {.kind = ACT_RESOLVE, .job = s->job, .resolve = {.from = (char *)"sp", .enumerate = true}};
    for (int term = 0; term < 2; term++) {
        coord_event_t lost = story_event(s, EV_LEADER_LOST);
        story_step(s, &lost);
        forget_trace(s);
        first.resolve.leader = s->leader;
        lead(s);
        release_raise(s);
        s->hold_raise = true;
        expect(s, "resolve job=");
        join(s, "w1", 1);
        join(s, "w2", 1);
    }
    forget_trace(s);
    s->resolve_error = err_new(ERR_FENCED, "this coordinator does not lead any more");
    answer_resolve(s, &first);
    err_free(TAKE(s->resolve_error));
    pass(s, 3000);
    expect_not(s, "resolve job=");
    s->hold_raise = false;
    first.resolve.leader = s->leader;
    answer_resolve(s, &first);
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

/* A worker that registers anew fences nobody's lanes: a job that used its restarts up that way goes on from where it was, with nothing to accept. */
START_TEST(a_job_whose_worker_came_anew_too_often_is_resumed_as_it_is) {
    story_t *s = story_running();
    int max = s->settings.restart_max;
    for (int i = 0; i <= max && the_job(s)->state != JOB_FAILED; i++) {
        s->w[0].mute_ack = true;
        join(s, "w1", 1);
        s->w[0].mute_ack = true;
        for (int k = 0; k < 700 && the_job(s)->state != JOB_RUNNING && the_job(s)->state != JOB_FAILED; k++) pass(s, 100);
    }
    expect_state(s, JOB_FAILED);
    expect_says(the_job(s)->record->error, "a newer session of worker w1 registered");
    s->w[0].mute_ack = false;
    resume(s, s->job, false);
    ck_assert_ptr_null(s->reply_error);
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

/* Of an earlier build's record nobody knows where the job publishes: it is looked at once it is compiled, before anything of it runs; a new leader
 * in between looks, too. */
START_TEST(A4_a_job_of_an_earlier_build_that_is_resumed_is_looked_at_when_it_is_compiled) {
    static const char *const places[] = {"orders/results", "other/results"};
    for (int i = 0; i < 4; i++) {
        bool refused = i % 2 == 0, over = i >= 2;
        story_t *s = story_new();
        s->hold_raise = true;
        job_record_t *r[] = {record_of(1, "live", JOB_RUNNING, 1, "topic 'x'", places[!refused]), record_of(2, "over", JOB_FAILED, 0, NULL, NULL)};
        job_record_t *live = job_record_copy(r[0]);
        new_leader_reads(s, 2, r);
        resume(s, 2, false);
        ck_assert_ptr_null(s->reply_error);
        if (over) {
            job_record_t *again[] = {live, job_record_copy(s->record)};
            new_leader_reads(s, 2, again);
        } else {
            job_record_free(live);
        }
        ck_assert_ptr_null(coord_job(s->c, 2)->shape);
        answer_raise(s, 2, 0);
        job_t *j = coord_job(s->c, 2);
        pass(s, 100);
        ck_assert_str_eq(job_state_name(j->state), refused ? "FAILED" : "WAITING"); /* there are no workers */
        if (refused) expect_says(j->record->error, "publishes with the same ledger 'orders/results'");
        else ck_assert(j->shape && !j->record->unseen && j->record->family == 2);
        story_free(s);
    }
}
END_TEST

TESTS("coordinator/story_owner", A7_of_two_starts_from_one_savepoint_only_one_publishes_to_one_place, A7_a_family_is_known_from_the_manifest_alone,
      A4_a_ledger_has_one_live_owner_although_its_leader_has_compiled_nothing, A4_a_job_that_was_taken_over_is_not_resumed_by_mistake,
      stop_of_a_failed_job_says_what_else_there_is, restarts_are_counted_over_coordinators, A13_a_job_that_is_over_is_released_everywhere,
      A13_a_job_is_released_when_its_end_is_durable, A7_a_target_has_a_limit_of_its_own, a_submit_that_is_not_accepted_in_time_hears_for_what_it_waits,
      A7_the_copy_of_an_earlier_term_does_not_answer_for_that_of_this_one, a_job_whose_worker_came_anew_too_often_is_resumed_as_it_is,
      A4_a_job_of_an_earlier_build_that_is_resumed_is_looked_at_when_it_is_compiled)
