/* Files of dead attempts go, and nothing else ever does (A14). The test is storage and store; the trace is that of coord_step. */
#include "tests/coordinator/story.h"

static const char *file(story_t *s, const char *kind, attempt_t attempt, const char *rest) {
    ck_assert_int_lt(s->nfiles, (int)ARRAY_LEN(s->files));
    return s->files[s->nfiles++] = xprintf("jobs/%016" PRIx64 "/%s/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".%s", s->job, kind, the_job(s)->record->incarnation,
                                           s->leader, attempt, rest);
}
static bool removed(story_t *s, const char *path) { return strstr(buf_cstr(&s->removed), path) != NULL; }

/* A job in its second attempt, whose last manifest names files of both. */
static story_t *second_attempt(void) {
    story_t *s = story_running();
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 300);
    die(s, &s->w[0]);
    join(s, "w1", 1)->rows = 5;
    pass(s, 500);
    expect_state(s, JOB_RUNNING);
    ck_assert_uint_eq(the_job(s)->attempt, 2);
    return s;
}
static void until_looked(story_t *s) {
    s->held_look = false;
    for (int64_t end = s->now + s->conf.orphan_age_ms; !s->held_look && s->now < end;) pass(s, 1000);
    ck_assert(s->held_look);
}

START_TEST(A14_files_of_dead_attempts_that_no_manifest_names_are_removed) {
    story_t *s = second_attempt();
    const char *orphan = file(s, "log", 1, "w9.4.log"), *base = file(s, "base", 1, "w9/000012.sst");
    const char *ours = file(s, "log", 2, "w1.9.log"), *later = file(s, "log", 3, "w1.0.log");
    s->files[s->nfiles++] = manifest_body_path(s->stored);
    s->files[s->nfiles++] = xprintf("jobs/%016" PRIx64 "/log/notes.txt", s->job);
    for (int i = 0; i < s->stored->nextents; i++) s->files[s->nfiles++] = xstrdup(s->stored->extents[i].path);
    s->hold_look = true;
    until_looked(s);
    answer_look(s, STORE_OK);
    ck_assert_msg(removed(s, orphan) && removed(s, base), "%s", buf_cstr(&s->removed));
    ck_assert_int_eq(s->deleted, 2);
    ck_assert(!removed(s, ours) && !removed(s, later));
    forget_trace(s);
    pass(s, s->conf.orphan_age_ms / 12);
    expect_not(s, "find-orphans"); /* seldom */
    story_free(s);
}
END_TEST

/* However many there are, the directory is listed once; they go in portions. */
START_TEST(A14_many_orphans_are_listed_once_and_removed_in_portions) {
    story_t *s = second_attempt();
    s->c->conf.orphans_max = 3;
    const char *old[10];
    for (int i = 0; i < 10; i++) {
        char rest[16];
        snprintf(rest, sizeof rest, "w9.%d.log", i);
        old[i] = file(s, "log", 1, rest);
    }
    s->hold_look = true;
    until_looked(s);
    forget_trace(s);
    answer_look(s, STORE_OK);
    ck_assert_int_eq(s->deleted, 3);
    pass(s, 500);
    ck_assert_int_eq(s->deleted, 3);
    pass(s, 3500);
    ck_assert_int_eq(s->deleted, 10);
    for (int i = 0; i < 10; i++) ck_assert(removed(s, old[i]));
    expect_not(s, "find-orphans");
    story_free(s);
}
END_TEST

/* What was listed is not looked at by the next attempt: it would take files of the one that listed for dead, acked or not. */
START_TEST(A14_a_listing_ends_with_its_attempt) {
    story_t *s = second_attempt();
    s->c->conf.orphans_max = 1;
    file(s, "log", 1, "w9.1.log");
    file(s, "log", 1, "w9.2.log");
    s->hold_look = true;
    until_looked(s);
    answer_look(s, STORE_OK);
    ck_assert_int_eq(s->deleted, 1);
    die(s, &s->w[0]);
    join(s, "w1", 1);
    pass(s, 5000);
    expect_state(s, JOB_RUNNING);
    ck_assert_int_eq(s->deleted, 1);
    ck_assert(s->held_look); /* looked for anew, and asked the store anew */
    answer_look(s, STORE_OK);
    pass(s, 2000);
    ck_assert_int_ge(s->deleted, 2);
    story_free(s);
}
END_TEST

/* C1 lists, is paused; C2 raises the attempt, its workers ack; C1 wakes up: whatever the store says to it, nothing goes. */
START_TEST(A14_a_paused_leader_removes_nothing_of_the_attempt_that_came_after_it) {
    for (int way = 0; way < 2; way++) {
        story_t *s = second_attempt();
        s->hold_look = true;
        until_looked(s);
        attempt_t ours = s->attempt;
        file(s, "log", ours, "w1.7.log");
        file(s, "log", ours + 1, "w2.0.log"); /* acked in epochs under way of the next leader */
        s->attempt = ours + 1;
        answer_look(s, way ? STORE_OK : STORE_REFUSED);
        ck_assert_int_eq(s->deleted, 0);
        story_free(s);
    }
}
END_TEST

START_TEST(A14_nothing_is_removed_on_a_doubtful_answer_or_while_the_attempt_changes) {
    story_t *s = second_attempt();
    s->hold_look = true;
    until_looked(s);
    file(s, "log", 1, "w9.4.log");
    answer_look(s, STORE_UNKNOWN);
    ck_assert_int_eq(s->deleted, 0);
    until_looked(s);
    s->hold_raise = true;
    die(s, &s->w[0]); /* the listing was of an attempt that has ended */
    answer_look(s, STORE_OK);
    ck_assert_int_eq(s->deleted, 0);
    story_free(s);
}
END_TEST

/* A savepoint that is being copied pins what its manifest names, also when the last manifest does not any more. */
START_TEST(A7_A14_what_a_savepoint_has_pinned_stays) {
    story_t *s = second_attempt();
    s->hold_save = true;
    ask(s, CLIENT_SAVEPOINT, "sp");
    s->conf.publish_wait_ms = 0;
    pass(s, 11000);
    ck_assert(s->held_save);
    const char *pinned = file(s, "log", 1, "w9.0.log");
    manifest_add_extent(the_job(s)->saving, &(extent_t){.path = (char *)pinned, .from = 0, .to = 10, .first = 1, .last = 1});
    s->hold_look = true;
    until_looked(s);
    answer_look(s, STORE_OK);
    ck_assert_int_eq(s->deleted, 0);
    answer_save(s, NULL);
    until_looked(s);
    answer_look(s, STORE_OK);
    ck_assert(removed(s, pinned));
    story_free(s);
}
END_TEST

#define ALSO_RESTORED "older=3600000 restored"
/* What a job began from lies below other jobs' names, and to look for it is to list all jobs: once for each leader, since the one before may have died
 * within a copy of its own, and when what goes could not be told because an older epoch was not read. */
START_TEST(A14_what_is_left_of_a_savepoints_copy_is_found_below_the_other_jobs_name) {
    story_t *s = story_running();
    s->lanes = 0;
    s->w[0].rows = s->w[1].rows = 5;
    pass(s, 300);
    s->from_manifest = manifest_copy(s->stored);
    ask(s, CLIENT_CANCEL, NULL);
    pass(s, 300);
    expect_state(s, JOB_CANCELLED);
    s->attempt = s->floor = 0;
    s->job = 0;
    forget_trace(s);
    restore(s, true);
    pass(s, 300);
    expect_state(s, JOB_RUNNING);
    expect(s, "find-orphans job=");
    expect_not(s, ALSO_RESTORED); /* nothing of it is lost yet */
    char *stray = s->files[s->nfiles++] = xprintf("jobs/0000000000000007@%016" PRIx64 ".%016" PRIx64 "/log/i7.l1.a1.w1.0.log", s->job, s->leader);
    forget_trace(s);
    new_coordinator(s);
    for (int i = 0; i < 2; i++) join(s, i ? "w2" : "w1", 1)->rows = 5;
    pass(s, 3000);
    expect_state(s, JOB_RUNNING);
    expect(s, ALSO_RESTORED, "delete job=");
    ck_assert(removed(s, stray));
    forget_trace(s);
    pass(s, s->conf.orphan_age_ms / 4);
    expect(s, "find-orphans job=");
    expect_not(s, ALSO_RESTORED);
    ck_assert_int_gt(s->stored->nolder, 0);
    forget_trace(s);
    s->unread = 1000;
    for (int i = 0; i < the_job(s)->ep.nolder; i++) manifest_free(the_job(s)->ep.older[i]);
    the_job(s)->ep.nolder = 0; /* as if this leader had never read it */
    die(s, &s->w[0]);
    join(s, "w1", 1)->rows = 5;
    pass(s, 5000);
    expect_state(s, JOB_RUNNING);
    pass(s, s->conf.orphan_age_ms / 4);
    expect(s, ALSO_RESTORED);
    story_free(s);
}
END_TEST

START_TEST(A14_a_failed_job_keeps_everything_for_resume) {
    story_t *s = second_attempt();
    s->hold_look = true;
    until_looked(s);
    file(s, "log", 1, "w9.4.log");
    ctl_msg_t *m = of_job(&s->w[0], CTL_FAILED, 0);
    m->error = err_new(ERR_DATA, "a poison row");
    say(s, &s->w[0], m);
    expect_state(s, JOB_FAILED);
    answer_look(s, STORE_OK);
    forget_trace(s);
    pass(s, s->conf.orphan_age_ms);
    expect_not(s, "find-orphans");
    ck_assert_int_eq(s->deleted, 0);
    story_free(s);
}
END_TEST

TESTS("orphans", A14_files_of_dead_attempts_that_no_manifest_names_are_removed,
      A14_many_orphans_are_listed_once_and_removed_in_portions, A14_a_listing_ends_with_its_attempt,
      A14_a_paused_leader_removes_nothing_of_the_attempt_that_came_after_it,
      A14_nothing_is_removed_on_a_doubtful_answer_or_while_the_attempt_changes, A7_A14_what_a_savepoint_has_pinned_stays,
      A14_what_is_left_of_a_savepoints_copy_is_found_below_the_other_jobs_name, A14_a_failed_job_keeps_everything_for_resume)
