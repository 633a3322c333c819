/* test_base.c: the base thread over a base or a storage that fails: what is tried again, what a person hears, and what ends the attempt. */
#include "common/clock.h"
#include "state/kstate_int.h"
#include "tests/state/world.h"
#include "worker/base.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---------------------------------------------------------------- one job, its base thread, and what it said */
typedef struct story {
    world_t *w;
    applier_t *applier;
    base_worker_t *b;
    atomic_int opens_fail; /* so many times */
    atomic_int done, gone, failed;
    pthread_mutex_t lock;
    err_t *why; /* guarded */
} story_t;

static err_t *open_or_not(void *arg, base_db_t **ret) {
    story_t *s = arg;
    if (atomic_load(&s->opens_fail) > 0 && atomic_fetch_sub(&s->opens_fail, 1) > 0)
        return err_new(ERR_DENIED, "/data/base/1/1/db: cannot make directory: Read-only file system");
    *ret = base_new_memory();
    return NULL;
}
static void on_done(void *arg, job_id_t job, attempt_t attempt, epoch_t epoch, base_t *base) {
    base_done(base);
    free(base);
    atomic_fetch_add(&((story_t *)arg)->done, 1);
}
static void on_gone(void *arg, job_id_t job, attempt_t attempt) { atomic_fetch_add(&((story_t *)arg)->gone, 1); }
static void on_failed(void *arg, job_id_t job, attempt_t attempt, err_t *e) {
    story_t *s = arg;
    pthread_mutex_lock(&s->lock);
    err_free(s->why);
    s->why = e;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->failed, 1);
}

static story_t *begin_with(int64_t interval_ms, uint64_t changelog_max) {
    story_t *s = xcalloc(1, sizeof *s);
    s->w = world_new(false, 0);
    kstate_env_free(s->w->env);
    s->w->env = kstate_env_new(&(kstate_env_conf_t){.memory = 1 << 20, .open_base = open_or_not, .arg = s});
    pthread_mutex_init(&s->lock, NULL);
    s->applier = applier_make(s->w);
    base_conf_t conf = {.worker = "w", .data_dir = s->w->tmp.path, .storage = s->w->disk, .interval_ms = interval_ms, .changelog_max = changelog_max,
                        .changelog_most = (uint64_t)60 << 20, .done = on_done, .gone = on_gone,
                        .failed = on_failed, .arg = s};
    ck_ok(base_worker_new(&conf, &s->b));
    return s;
}
static story_t *begin(void) { return begin_with(50, 0); }
static void add_job(story_t *s, uint64_t replayed) {
    base_job_t j = {.job = 1, .attempt = 1, .env = s->w->env, .applier = s->applier, .replayed = replayed};
    base_add(s->b, &j);
}
static void complete(story_t *s, epoch_t epoch) {
    AUTO(buf_free) buf_t b = buf_make(1 << 16);
    change_header(&b);
    change_put(&b, 0, slice_of(&epoch, sizeof epoch), slice_str("value"));
    add_changes(s->applier, epoch, buf_slice(&b));
    base_complete(s->b, 1, 1, epoch, false);
}
/* Tables are over their share and found nothing to evict: complete epochs go into the base at once. */
static void press(story_t *s) {
    if (!kstate_env_over(s->w->env)) kstate_env_hold_bytes(s->w->env, 2 << 20);
    kstate_env_found_little(s->w->env, kstate_env_applied(s->w->env));
    base_look(s->b);
}
static bool said(story_t *s, const char *what) {
    AUTO(auto_free) char *text = base_waiting(s->b, 1, 1);
    return text && strstr(text, what);
}
#define until(condition)                                                                                     \
    for (int64_t until_ = clock_mono_ms() + 20000; !(condition);) {                                          \
        ck_assert_msg(clock_mono_ms() < until_, "it does not come: %s", #condition);                         \
        usleep(5000);                                                                                        \
        base_look(s->b);                                                                                     \
    }
static void end(story_t *s) {
    base_drop(s->b, 1, 1);
    until(atomic_load(&s->gone) == 1);
    base_worker_free(s->b);
    applier_free(s->applier);
    if (kstate_env_over(s->w->env)) kstate_env_hold_bytes(s->w->env, -(2 << 20));
    world_free(s->w);
    err_free(s->why);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---------------------------------------------------------------- what holds */
START_TEST(a_full_disk_is_waited_for_another_error_has_a_minute_and_a_lost_base_ends_the_attempt) {
    ck_assert(!base_ends(BASE_WELL, 1000 * BASE_HEAL_MS)); /* of storage: the changelog stays */
    ck_assert(!base_ends(BASE_FULL, 1000 * BASE_HEAL_MS));
    ck_assert(!base_ends(BASE_FAILS, 0));
    ck_assert(!base_ends(BASE_FAILS, BASE_HEAL_MS - 1));
    ck_assert(base_ends(BASE_FAILS, BASE_HEAL_MS));
    ck_assert(base_ends(BASE_LOST, 0));
}
END_TEST

START_TEST(a_local_base_that_fails_is_tried_again_and_the_job_says_how_often) {
    story_t *s = begin();
    atomic_store(&s->opens_fail, 2);
    add_job(s, 0);
    complete(s, 1);
    press(s);
    until(said(s, "local base: cannot bring epoch 1 into the state base: cannot open the state base: /data/base/1/1/db: cannot make directory: "
                  "Read-only file system (1 try, epoch 1 waits)"));
    complete(s, 2);
    until(said(s, "(2 tries, epoch 2 waits)"));
    until(kstate_env_applied(s->w->env) == 2);
    until(!said(s, ""));
    ck_assert_int_eq(atomic_load(&s->failed), 0);
    end(s);
}
END_TEST

START_TEST(a_local_base_that_is_lost_ends_its_attempt_once_and_is_left_alone) {
    story_t *s = begin();
    add_job(s, 0);
    complete(s, 1);
    press(s);
    until(kstate_env_applied(s->w->env) == 1);
    base_ails(kstate_env_base(s->w->env), BASE_LOST);
    complete(s, 2);
    press(s);
    until(atomic_load(&s->failed) == 1);
    pthread_mutex_lock(&s->lock);
    ck_assert_int_eq(err_code(s->why), ERR_IO); /* not the job's: another attempt does better */
    ck_assert_msg(strstr(err_text(s->why), "local base: cannot bring epoch 2 into the state base: ") != NULL, "%s", err_text(s->why));
    pthread_mutex_unlock(&s->lock);
    ck_assert(said(s, "(1 try, epoch 2 waits)"));
    for (int64_t enough = clock_mono_ms() + 1500; clock_mono_ms() < enough; usleep(5000)) press(s);
    ck_assert_int_eq(atomic_load(&s->failed), 1);
    ck_assert(said(s, "(1 try, epoch 2 waits)"));
    end(s);
}
END_TEST

/* Storage that takes no base is no misfortune of the local one. */
START_TEST(a_base_that_storage_does_not_take_ends_nothing_and_is_made_later) {
    story_t *s = begin();
    AUTO(auto_free) char *jobs = xprintf("%s/jobs", s->w->tmp.path);
    FILE *f = fopen(jobs, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    add_job(s, BASE_CHANGELOG_MIN);
    complete(s, 1);
    until(said(s, "base checkpoint: base checkpoint of epoch 1: "));
    until(said(s, "(3 tries, epoch 1 waits)"));
    ck_assert_int_eq(atomic_load(&s->failed), 0);
    ck_assert_int_eq(remove(jobs), 0);
    until(atomic_load(&s->done) == 1);
    until(!said(s, ""));
    end(s);
}
END_TEST

static int count(const char *path, const char *what) {
    AUTO(auto_free) char *command = xprintf("grep -c '%s' '%s'", what, path);
    FILE *f = popen(command, "r");
    int n = -1;
    ck_assert_int_eq(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

/* Storage is nearly full and memory short: each epoch goes into the local base, and well. That is no reason to make and upload another checkpoint
 * before the interval is over, nor to forget that the last one failed, nor to say so each time. */
START_TEST(a_base_that_storage_does_not_take_waits_for_its_interval_although_the_local_one_follows) {
    story_t *s = begin_with(/* interval_ms= */ 3600000, /* changelog_max= */ 1);
    AUTO(auto_free) char *jobs = xprintf("%s/jobs", s->w->tmp.path), *log = xprintf("%s/log", s->w->tmp.path);
    FILE *f = fopen(jobs, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    int err = dup(2);
    ck_assert_ptr_nonnull(freopen(log, "a", stderr));
    add_job(s, BASE_CHANGELOG_MIN);
    complete(s, 1);
    until(said(s, "base checkpoint: base checkpoint of epoch 1: "));
    for (epoch_t e = 2; e < 12; e++) {
        complete(s, e);
        press(s);
        until(kstate_env_applied(s->w->env) == e);
        ck_assert(said(s, "(1 try, epoch 1 waits)"));
    }
    ck_assert_int_eq(dup2(err, 2), 2);
    close(err);
    ck_assert_int_eq(count(log, "msg=\"no base checkpoint\""), 1);
    ck_assert_int_eq(count(log, "level=warn"), 1);
    end(s);
}
END_TEST

/* 30 MB of changelog: less than half as much again as the tables have, and less than the conf allows. A restore would have them beside the tables. */
START_TEST(a_base_is_due_before_its_changelog_is_more_than_the_tables_leave_of_memory) {
    for (int fits = 0; fits < 2; fits++) {
        story_t *s = begin_with(/* interval_ms= */ 3600000, /* changelog_max= */ BASE_CHANGELOG_MIN);
        kstate_env_set_memory(s->w->env, (size_t)(fits ? 71 : 64) << 20);
        kstate_env_hold_bytes(s->w->env, 40 << 20);
        add_job(s, (uint64_t)30 << 20);
        complete(s, 1);
        if (!fits) until(atomic_load(&s->done) == 1);
        for (int64_t enough = clock_mono_ms() + 500 * fits; clock_mono_ms() < enough; usleep(5000)) base_look(s->b);
        ck_assert_int_eq(atomic_load(&s->done), !fits);
        kstate_env_hold_bytes(s->w->env, -(40 << 20));
        end(s);
    }
}
END_TEST

START_TEST(changes_that_a_restore_brought_for_the_base_are_no_state_that_makes_it_come_later) {
    story_t *s = begin_with(/* interval_ms= */ 3600000, /* changelog_max= */ BASE_CHANGELOG_MIN);
    kstate_env_set_memory(s->w->env, (size_t)256 << 20);
    AUTO(auto_free) char *large = xcalloc(1, 8 << 20);
    AUTO(buf_free) buf_t b = buf_make(64 << 20);
    change_header(&b);
    for (uint64_t k = 0; k < 2; k++) change_put(&b, 0, slice_of(&k, sizeof k), slice_of(large, 8 << 20));
    applier_add_changes(s->applier, 1, FP, 0, buf_slice(&b));
    ck_assert_uint_ge(kstate_env_used(s->w->env), 16 << 20);
    add_job(s, 16 << 20);
    base_complete(s->b, 1, 1, 1, false);
    until(atomic_load(&s->done) == 1);
    end(s);
}
END_TEST

TESTS("worker/base", a_full_disk_is_waited_for_another_error_has_a_minute_and_a_lost_base_ends_the_attempt,
      a_local_base_that_fails_is_tried_again_and_the_job_says_how_often, a_local_base_that_is_lost_ends_its_attempt_once_and_is_left_alone,
      a_base_that_storage_does_not_take_ends_nothing_and_is_made_later,
      a_base_that_storage_does_not_take_waits_for_its_interval_although_the_local_one_follows,
      a_base_is_due_before_its_changelog_is_more_than_the_tables_leave_of_memory,
      changes_that_a_restore_brought_for_the_base_are_no_state_that_makes_it_come_later)
