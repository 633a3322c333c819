/* A file of the last epoch is damaged: an older epoch is restored, if nothing beyond it was promised to be seen once (A4). Or the job stops with the
 * name of the file. */
#include "state/changelog.h"
#include "tests/coordinator/story.h"

#define FILE_TEXT "jobs/1/log/w1.log"

/* Output at least once: no lanes. Epochs of five rows each. */
static story_t *running(int lanes) {
    story_t *s = story_new();
    s->lanes = lanes;
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    expect_state(s, JOB_RUNNING);
    s->w[0].rows = s->w[1].rows = 5;
    return s;
}
/* A base of a worker as of the last epoch; the next epoch's manifest names it. */
static void base(story_t *s, int worker) {
    story_worker_t *w = &s->w[worker];
    epoch_t at = s->stored->epoch;
    ctl_msg_t *m = of_job(w, CTL_BASE_DONE, at);
    m->base_done.base = (base_t){.worker = xstrdup(w->name), .epoch = at, .nfiles = 1, .files = xcalloc(1, sizeof(base_file_t))};
    m->base_done.base.files[0] = (base_file_t){.path = xprintf("jobs/%016" PRIx64 "/base/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".%s/BASE-%" PRIu64, s->job, w->incarnation,
                                                               s->leader, w->attempt, w->name, at), .name = xstrdup("BASE"), .size = 1, .crc = 1};
    say(s, w, m);
    pass(s, 200);
    ck_assert(manifest_names(s->stored, m ? s->stored->bases[s->stored->nbases - 1].files[0].path : ""));
}
static void round_of_bases(story_t *s) {
    base(s, 0);
    base(s, 1);
    pass(s, 300);
}
/* Both workers die and come back; neither has built yet. */
static void restart_all(story_t *s) {
    for (int i = 0; i < 2; i++) die(s, &s->w[i]);
    for (int i = 0; i < 2; i++) {
        join(s, i ? "w2" : "w1", 1);
        s->w[i].rows = 5;
        s->w[i].mute_deploy = true;
    }
    for (int i = 0; i < 50 && the_job(s)->state != JOB_DEPLOYING; i++) pass(s, 100);
    expect_state(s, JOB_DEPLOYING);
}
/* The next attempt builds, and waits. */
static void until_deploying(story_t *s) {
    attempt_t was = s->w[0].attempt;
    for (int i = 0; i < 100 && (the_job(s)->state != JOB_DEPLOYING || s->w[0].attempt == was); i++) pass(s, 100);
    expect_state(s, JOB_DEPLOYING);
}
static void built(story_t *s) {
    for (int i = 0; i < 2; i++) say(s, &s->w[i], of_job(&s->w[i], CTL_DEPLOYED, 0));
}
static bool same_content(const manifest_t *a, const manifest_t *b) {
    manifest_t *x = manifest_copy(a), *y = manifest_copy(b);
    manifest_alone(x);
    manifest_alone(y);
    x->epoch = y->epoch, x->previous = y->previous, x->leader = y->leader, x->attempt = y->attempt;
    x->processing_ms = y->processing_ms;
    buf_t p = buf_make(1 << 20), q = buf_make(1 << 20);
    manifest_print(&p, x);
    manifest_print(&q, y);
    bool same = slice_eq(buf_slice(&p), buf_slice(&q));
    buf_free(&p);
    buf_free(&q);
    manifest_free(x);
    manifest_free(y);
    return same;
}
/* The job fails, and says why no older epoch was taken. */
static void fails(story_t *s, const char *hint) {
    pass(s, 300);
    expect_state(s, JOB_FAILED);
    ck_assert_ptr_nonnull(strstr(err_hint_text(s->record->error), hint));
}
static bool keeps(const story_t *s, epoch_t e) {
    for (int i = 0; i < s->stored->nolder; i++)
        if (s->stored->older[i].epoch == e) return true;
    return false;
}

START_TEST(A4_a_damaged_file_is_answered_with_an_older_epoch_of_a_new_id) {
    story_t *s = running(0);
    pass(s, 500);
    round_of_bases(s);
    pass(s, 300);
    manifest_t *last = manifest_copy(s->stored);
    restart_all(s);
    ck_assert_int_eq(s->deleted, 0); /* two rounds have not passed */
    ck_assert_uint_eq(s->w[0].deploy->manifest->epoch, last->epoch);
    ck_assert_int_eq(s->w[0].deploy->manifest->nolder, 0); /* nobody's affair there */
    forget_trace(s);
    damaged(s, &s->w[0], FILE_TEXT);
    expect(s, FILE_TEXT ": wrong checksum; epoch 0 is tried instead of", "STOP");
    until_deploying(s);
    expect(s, "raise", "DEPLOY");
    manifest_t *back = manifest_copy(s->w[0].deploy->manifest);
    ck_assert_uint_gt(back->epoch, last->epoch + EPOCHS_IN_FLIGHT_MAX); /* of what was in flight nothing has that id */
    ck_assert_int_eq(back->nextents + back->nbases, 0);
    ck_assert_int_eq(s->w[0].deploy->splits[0].split.position, 100); /* sources go back with it */
    ck_assert_uint_eq(s->stored->epoch, last->epoch); /* nothing is given up before the older one is known to be whole */
    expect_not(s, "put-manifest");
    forget_trace(s);
    say(s, &s->w[0], of_job(&s->w[0], CTL_DEPLOYED, 0));
    expect_not(s, "put-manifest");
    say(s, &s->w[1], of_job(&s->w[1], CTL_DEPLOYED, 0));
    expect(s, "put-manifest", "durable", "the job goes on from epoch 0, under the id", "delete", "START");
    ck_assert_uint_eq(s->stored->epoch, back->epoch);
    ck_assert_uint_eq(s->stored->previous, last->epoch);
    ck_assert(s->stored->fell.times == 1 && s->stored->fell.from == last->epoch && s->stored->fell.to == 0);
    ck_assert_int_eq(s->deleted, 4); /* the log and the base of each worker */
    for (int i = 0; i < last->nextents; i++) ck_assert_ptr_nonnull(strstr(buf_cstr(&s->removed), last->extents[i].path));
    expect_state(s, JOB_RUNNING);
    forget_trace(s);
    s->w[0].mute_deploy = s->w[1].mute_deploy = false;
    pass(s, 300);
    expect(s, "INJECT", "durable", "COMPLETE");
    ck_assert_uint_gt(s->stored->epoch, back->epoch);
    ck_assert_uint_eq(s->stored->fell.times, 1); /* it stays said */
    manifest_free(last);
    manifest_free(back);
    story_free(s);
}
END_TEST

START_TEST(A4_no_epoch_is_restored_behind_exactly_once_output) {
    story_t *s = running(2);
    s->w[0].lanes = true;
    pass(s, 500);
    ck_assert_int_eq(s->stored->nolder, 0); /* nor is anything kept for it */
    epoch_t last = s->stored->epoch;
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    pass(s, 500);
    expect_state(s, JOB_FAILED);
    ck_assert_int_eq(err_code(s->record->error), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_text(s->record->error), FILE_TEXT));
    ck_assert_ptr_nonnull(strstr(err_hint_text(s->record->error), "exactly-once output of lane 0 of sink results up to epoch"));
    ck_assert_uint_eq(s->stored->epoch, last);
    story_free(s);
}
END_TEST

/* Rows in one epoch, none after: what came after may be given up, what came before may not. Whether the lane said PUBLISHED makes no difference. */
START_TEST(A4_a_quiet_lane_lets_the_job_go_back_as_far_as_its_last_rows) {
    for (int said = 0; said < 2; said++) {
        story_t *s = running(2);
        s->w[0].lanes = true;
        pass(s, 300);
        if (said) published(s, &s->w[0], 0, s->stored->epoch);
        s->w[0].lanes = false;
        pass(s, 100);
        epoch_t rows = s->stored->lanes[0].last_rows;
        ck_assert_uint_ge(rows, 1);
        pass(s, 300);
        ck_assert_uint_gt(s->stored->epoch, rows);
        ck_assert(keeps(s, rows) && s->stored->nolder == 1);
        restart_all(s);
        damaged(s, &s->w[1], FILE_TEXT);
        until_deploying(s);
        const manifest_t *back = s->w[0].deploy->manifest;
        ck_assert_uint_eq(back->lanes[0].last_rows, rows);
        ck_assert_uint_eq(back->lanes[0].published, said ? rows : 0); /* the bound is not forgotten (A12) */
        for (int i = 0; i < back->nextents; i++) ck_assert_uint_le(back->extents[i].last, rows);
        built(s);
        expect_state(s, JOB_RUNNING);
        ck_assert_uint_eq(s->stored->fell.to, rows);
        story_free(s);
    }
}
END_TEST

START_TEST(A27_a_lane_that_has_started_since_is_restored_as_started) {
    story_t *s = running(2);
    pass(s, 300);
    lane_started_said(s, &s->w[0], 1);
    pass(s, 300);
    ck_assert(s->stored->lanes[1].started);
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    until_deploying(s);
    ck_assert(s->w[0].deploy->manifest->lanes[1].started);
    ck_assert(!s->w[0].deploy->manifest->lanes[0].started);
    story_free(s);
}
END_TEST

START_TEST(a_sink_of_files_is_never_taken_back) {
    story_t *s = running(0);
    the_job(s)->shape->sinks[0].commits = true;
    manifest_t *first = manifest_copy(s->stored);
    pass(s, 300);
    ck_assert_int_eq(s->stored->nolder, 0);
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    fails(s, "sink results holds each row once");
    manifest_free(first);
    story_free(s);
}
END_TEST

START_TEST(an_error_that_is_no_damaged_file_never_makes_a_job_go_back) {
    story_t *s = running(0);
    pass(s, 300);
    ck_assert_int_eq(s->stored->nolder, 1);
    restart_all(s);
    failed(s, &s->w[0], err_new(ERR_CORRUPT, "the ledger is empty although epoch 3 was published"), NULL);
    pass(s, 300);
    expect_state(s, JOB_FAILED);
    story_free(s);
}
END_TEST

/* Where nothing of the job is, nobody begins anew: it may be the place where storage should have been mounted. */
START_TEST(a_missing_file_does_not_take_a_job_back_to_its_beginning) {
    story_t *s = running(0);
    pass(s, 300);
    ck_assert(s->stored->nolder == 1 && keeps(s, 0));
    restart_all(s);
    ctl_msg_t *m = of_job(&s->w[0], CTL_FAILED, 0);
    m->flags = FAILED_DAMAGED;
    m->error = err_new(ERR_NOT_FOUND, FILE_TEXT ": cannot open");
    m->failed.stage = -1;
    say(s, &s->w[0], m);
    fails(s, "nothing there shows that this is the job's storage");
    story_free(s);
}
END_TEST

/* The oldest that is kept shares no file with the last: what a round of bases has made superfluous is kept for two more. */
START_TEST(A14_what_older_epochs_need_is_kept_for_two_rounds_of_bases) {
    story_t *s = running(0);
    pass(s, 300);
    ck_assert(keeps(s, 0) && s->stored->nolder == 1);
    round_of_bases(s);
    ck_assert(keeps(s, 0) && s->stored->nolder == 1);
    epoch_t second = s->stored->epoch;
    round_of_bases(s);
    ck_assert_int_eq(s->stored->nolder, 2);
    ck_assert(keeps(s, 0) && s->stored->older[0].epoch >= second); /* the one right before the first base of the round */
    const manifest_t *kept = the_job(s)->ep.older[0];
    ck_assert_int_eq(kept->nbases, 2);
    for (int i = 0; i < 2; i++) ck_assert(!manifest_names(s->stored, kept->bases[i].files[0].path));
    ck_assert_int_eq(s->deleted, 0);
    char *path = xstrdup(kept->bases[0].files[0].path);
    round_of_bases(s);
    ck_assert(!keeps(s, 0) && s->stored->nolder == 2);
    ck_assert_ptr_null(strstr(buf_cstr(&s->removed), path));
    round_of_bases(s);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&s->removed), path)); /* its turn has come */
    for (int i = 0; i < 2; i++) {
        const manifest_t *m = the_job(s)->ep.older[i];
        for (int k = 0; k < m->nbases; k++) ck_assert_ptr_null(strstr(buf_cstr(&s->removed), m->bases[k].files[0].path));
    }
    free(path);
    story_free(s);
}
END_TEST

START_TEST(none_is_kept_when_one_epoch_is_to_be_retained) {
    story_t *s = running(0);
    pass(s, 300);
    the_job(s)->shape->settings.retained = 1;
    round_of_bases(s);
    ck_assert_int_eq(s->stored->nolder, 0);
    round_of_bases(s);
    expect(s, "delete");
    s->settings.retained = 1;
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    fails(s, "none is kept");
    story_free(s);
}
END_TEST

/* The newest that is kept is damaged, too: the one before it. Then that one: the job is where it was, and its last epoch is tried again by `resume`. */
START_TEST(a_second_damaged_file_leads_to_the_next_older_epoch_and_a_third_stops_the_job) {
    story_t *s = running(0);
    pass(s, 300);
    round_of_bases(s);
    round_of_bases(s);
    ck_assert_int_eq(s->stored->nolder, 2);
    epoch_t last = s->stored->epoch, newest = s->stored->older[0].epoch;
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    until_deploying(s);
    ck_assert(same_content(s->w[0].deploy->manifest, the_job(s)->ep.older[0]));
    forget_trace(s);
    damaged(s, &s->w[1], FILE_TEXT);
    expect(s, "epoch 0 is tried instead of");
    until_deploying(s);
    ck_assert_int_eq(s->w[0].deploy->manifest->nextents, 0);
    damaged(s, &s->w[1], "jobs/1/log/third.log");
    pass(s, 500);
    expect_state(s, JOB_FAILED);
    ck_assert_ptr_nonnull(strstr(err_text(s->record->error), FILE_TEXT)); /* that of the last epoch: it is what helps to have back */
    ck_assert_int_eq(err_code(s->record->error), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_hint_text(s->record->error), "what is kept is damaged, too: worker w2: jobs/1/log/third.log"));
    ck_assert_uint_eq(s->stored->epoch, last); /* and keeps all it had */
    ck_assert(keeps(s, newest) && keeps(s, 0));
    ck_assert_int_eq(s->deleted, 0);
    forget_trace(s);
    ask(s, CLIENT_RESUME, NULL); /* the file was put back */
    until_deploying(s);
    ck_assert_uint_eq(s->w[0].deploy->manifest->epoch, last);
    built(s);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(s->stored->fell.times, 0);
    story_free(s);
}
END_TEST

/* Before the older epoch's manifest is durable nothing has happened; after it, it happened once. */
START_TEST(a_leader_that_dies_half_way_has_changed_nothing) {
    for (int landed = 0; landed < 2; landed++) {
        story_t *s = running(0);
        pass(s, 500);
        epoch_t last = s->stored->epoch;
        restart_all(s);
        damaged(s, &s->w[0], FILE_TEXT);
        until_deploying(s);
        s->hold_put = true;
        built(s);
        ck_assert_ptr_nonnull(s->held_put);
        epoch_t id = s->held_put->epoch;
        expect_state(s, JOB_DEPLOYING);
        if (landed) land_unheard(s);
        s->hold_put = false;
        new_coordinator(s);
        for (int i = 0; i < 2; i++) {
            join(s, i ? "w2" : "w1", 1);
            s->w[i].mute_deploy = true;
        }
        until_deploying(s);
        ck_assert_uint_eq(s->w[0].deploy->manifest->epoch, landed ? id : last);
        if (!landed) { /* found again, decided again, with an id of its own */
            damaged(s, &s->w[0], FILE_TEXT);
            until_deploying(s);
            ck_assert_uint_gt(s->w[0].deploy->manifest->epoch, id);
        }
        built(s);
        expect_state(s, JOB_RUNNING);
        ck_assert_uint_eq(s->stored->fell.times, 1);
        ck_assert_uint_eq(s->stored->fell.from, last);
        story_free(s);
    }
}
END_TEST

START_TEST(a_worker_lost_on_the_way_back_makes_the_last_epoch_tried_first_again) {
    story_t *s = running(0);
    pass(s, 500);
    epoch_t last = s->stored->epoch;
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    until_deploying(s);
    die(s, &s->w[1]);
    join(s, "w2", 1)->mute_deploy = true;
    until_deploying(s);
    ck_assert_uint_eq(s->w[0].deploy->manifest->epoch, last);
    story_free(s);
}
END_TEST

/* The outcome of the older epoch's manifest is unknown: nobody starts; it is asked again with the same bytes (A3). */
START_TEST(A3_nobody_starts_before_the_older_epoch_is_durable) {
    story_t *s = running(0);
    pass(s, 500);
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    until_deploying(s);
    forget_trace(s);
    s->hold_put = true;
    built(s);
    epoch_t id = s->held_put->epoch;
    land_unheard(s);
    release_put(s, STORE_UNKNOWN);
    pass(s, 50);
    expect_not(s, "START");
    s->hold_put = false;
    pass(s, 500);
    AUTO(auto_free) char *durable = xprintf("manifest %" PRIu64 " durable", id);
    expect(s, "unknown", "put-manifest", durable, "START", "INJECT");
    ck_assert_uint_eq(s->stored->fell.times, 1);
    expect_state(s, JOB_RUNNING);
    story_free(s);
}
END_TEST

/* It was not stopped and knows of nothing: what it acks is of an attempt that is over, what it wrote is in no manifest. */
START_TEST(A2_a_worker_of_the_epochs_given_up_adds_nothing_to_what_comes_after) {
    story_t *s = running(0);
    pass(s, 500);
    attempt_t was = s->w[0].attempt;
    epoch_t last = s->stored->epoch;
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    until_deploying(s);
    built(s);
    attempt_t now = s->w[0].attempt;
    forget_trace(s);
    s->w[0].attempt = was;
    ack(s, &s->w[0], last + 1);
    s->w[0].attempt = now;
    s->w[0].offset = 0;
    pass(s, 300);
    ck_assert_uint_gt(s->stored->epoch, last + 1);
    for (int i = 0; i < s->stored->nextents; i++) {
        storage_origin_t o;
        ck_assert(storage_path_parse(s->stored->extents[i].path, &o) && o.attempt == now);
        ck_assert_uint_gt(s->stored->extents[i].first, last + EPOCHS_IN_FLIGHT_MAX);
    }
    story_free(s);
}
END_TEST

/* A job that is to stop goes on from the older epoch to a final one: what is STOPPED must be whole. */
START_TEST(A7_a_stop_on_the_way_back_ends_with_a_final_epoch_that_is_whole) {
    story_t *s = running(0);
    pass(s, 500);
    epoch_t last = s->stored->epoch;
    restart_all(s);
    damaged(s, &s->w[0], FILE_TEXT);
    s->w[0].mute_deploy = s->w[1].mute_deploy = false;
    ask(s, CLIENT_STOP, NULL);
    pass(s, 1500);
    expect_state(s, JOB_STOPPED);
    ck_assert(s->saved->final && s->saved->epoch > last && s->saved->nolder == 0);
    for (int i = 0; i < s->saved->nextents; i++) ck_assert_uint_gt(s->saved->extents[i].first, last);
    story_free(s);
}
END_TEST

/* The storage is not there for a moment when a new leader reads what is kept. */
START_TEST(an_older_epoch_that_cannot_be_read_at_once_is_read_again) {
    story_t *s = running(0);
    pass(s, 300);
    ck_assert_int_gt(s->stored->nolder, 0);
    s->unread = 3;
    s->hold_put = true;
    new_coordinator(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    pass(s, 100);
    char *waiting = the_job(s)->waiting;
    ck_assert(waiting && strstr(waiting, "cannot be read: Input/output error"));
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->ep.nolder, s->stored->nolder);
    story_free(s);
}
END_TEST

/* The newer coordinator has read none of what is kept when a worker finds a file damaged: which of them would do is not known yet. */
static story_t *unread_and_deploying(void) {
    story_t *s = running(0);
    pass(s, 300);
    ck_assert_int_gt(s->stored->nolder, 0);
    s->unread = 1000;
    new_coordinator(s);
    for (int i = 0; i < 2; i++) join(s, i ? "w2" : "w1", 1)->mute_deploy = true;
    for (int i = 0; i < 100 && the_job(s)->state != JOB_DEPLOYING; i++) pass(s, 100);
    expect_state(s, JOB_DEPLOYING);
    ck_assert_int_eq(the_job(s)->ep.nolder, 0);
    return s;
}

START_TEST(A4_a_damaged_file_waits_for_what_is_kept_to_be_readable) {
    story_t *s = unread_and_deploying();
    forget_trace(s);
    damaged(s, &s->w[0], FILE_TEXT);
    expect(s, FILE_TEXT ": wrong checksum; what is kept cannot be read: an older epoch that was kept cannot be read: Input/output error");
    expect_state(s, JOB_RESTARTING);
    s->unread = 2;
    until_deploying(s);
    ck_assert_int_gt(the_job(s)->ep.nolder, 0);
    damaged(s, &s->w[0], FILE_TEXT);
    expect(s, "epoch 0 is tried instead of");
    until_deploying(s);
    built(s);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(s->stored->fell.times, 1);
    story_free(s);
}
END_TEST

START_TEST(what_is_kept_and_is_never_readable_fails_the_job_by_the_name_of_both) {
    story_t *s = unread_and_deploying();
    the_job(s)->shape->settings.restart_max = 3;
    for (int i = 0; i < 3; i++) {
        damaged(s, &s->w[0], FILE_TEXT);
        expect_state(s, JOB_RESTARTING);
        until_deploying(s);
    }
    damaged(s, &s->w[0], FILE_TEXT);
    pass(s, 300);
    expect_state(s, JOB_FAILED);
    ck_assert_ptr_nonnull(strstr(err_text(s->record->error), FILE_TEXT ": wrong checksum; what is kept cannot be read: "));
    story_free(s);
}
END_TEST

/* That it is lost for good is no reason to ask again. */
START_TEST(what_was_kept_and_is_lost_is_not_waited_for) {
    story_t *s = running(0);
    pass(s, 300);
    while (s->nbodies) manifest_free(s->bodies[--s->nbodies]);
    new_coordinator(s);
    for (int i = 0; i < 2; i++) join(s, i ? "w2" : "w1", 1)->mute_deploy = true;
    for (int i = 0; i < 10 && the_job(s)->state != JOB_DEPLOYING; i++) pass(s, 100);
    expect_state(s, JOB_DEPLOYING);
    damaged(s, &s->w[0], FILE_TEXT);
    fails(s, "none is kept");
    story_free(s);
}
END_TEST

/* Who has read what is kept does not need the storage for it: a restart is no slower for an older body that cannot be read. */
START_TEST(an_older_epoch_that_is_known_is_not_waited_for) {
    story_t *s = running(0);
    pass(s, 300);
    round_of_bases(s);
    round_of_bases(s);
    int kept = s->stored->nolder;
    ck_assert_int_eq(kept, 2);
    s->unread = 1000;
    forget_trace(s);
    die(s, &s->w[0]);
    join(s, "w1", 1)->rows = 5;
    pass(s, 500);
    expect_state(s, JOB_RUNNING);
    const char *raise = strstr(buf_cstr(&s->trace), "raise job=");
    ck_assert(raise && !strstr(raise + 1, "raise job="));
    ck_assert_int_eq(the_job(s)->ep.nolder, s->stored->nolder);
    ck_assert_int_eq(s->stored->nolder, kept);
    story_free(s);
}
END_TEST

/* It never comes back: the job goes on without it. What it names is not known, so nothing of dead attempts goes while a durable manifest names it. */
START_TEST(A14_no_orphans_are_removed_while_what_an_older_epoch_names_is_not_known) {
    story_t *s = running(0);
    pass(s, 300);
    ck_assert_int_gt(s->stored->nolder, 0);
    s->files[s->nfiles++] = manifest_older_path(s->stored, 0);
    s->unread = 1000;
    s->hold_put = true;
    new_coordinator(s);
    for (int i = 0; i < 2; i++) join(s, i ? "w2" : "w1", 1)->rows = 5;
    pass(s, 5000);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(the_job(s)->ep.nolder, 0);
    forget_trace(s);
    pass(s, s->conf.orphan_age_ms / 2);
    expect_not(s, "find-orphans");
    ck_assert_int_eq(s->deleted, 0);
    s->hold_put = false;
    release_put(s, STORE_OK);
    pass(s, s->conf.orphan_age_ms / 2);
    expect(s, "find-orphans", "delete job=", s->files[0]);
    story_free(s);
}
END_TEST

TESTS("coordinator/story_older", A4_a_damaged_file_is_answered_with_an_older_epoch_of_a_new_id, A4_no_epoch_is_restored_behind_exactly_once_output,
      A4_a_quiet_lane_lets_the_job_go_back_as_far_as_its_last_rows, A27_a_lane_that_has_started_since_is_restored_as_started,
      a_sink_of_files_is_never_taken_back, an_error_that_is_no_damaged_file_never_makes_a_job_go_back,
      a_missing_file_does_not_take_a_job_back_to_its_beginning,
      A14_what_older_epochs_need_is_kept_for_two_rounds_of_bases, none_is_kept_when_one_epoch_is_to_be_retained,
      a_second_damaged_file_leads_to_the_next_older_epoch_and_a_third_stops_the_job, a_leader_that_dies_half_way_has_changed_nothing,
      a_worker_lost_on_the_way_back_makes_the_last_epoch_tried_first_again, A3_nobody_starts_before_the_older_epoch_is_durable,
      A2_a_worker_of_the_epochs_given_up_adds_nothing_to_what_comes_after, A7_a_stop_on_the_way_back_ends_with_a_final_epoch_that_is_whole,
      an_older_epoch_that_cannot_be_read_at_once_is_read_again, A4_a_damaged_file_waits_for_what_is_kept_to_be_readable,
      what_is_kept_and_is_never_readable_fails_the_job_by_the_name_of_both, what_was_kept_and_is_lost_is_not_waited_for,
      an_older_epoch_that_is_known_is_not_waited_for, A14_no_orphans_are_removed_while_what_an_older_epoch_names_is_not_known)
