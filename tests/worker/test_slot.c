/* test_slot.c: the slot thread with tasks made of counters; also run under -fsanitize=thread. */
#include "common/clock.h"
#include "tests/helpers/running.h"
#include "tests/helpers/test.h"
#include "worker/slot.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct fake {
    slot_task_t *slot;
    atomic_int work;           /* units given from outside; a step takes one */
    atomic_int steps, injected, completed, splits, ended, failed, removed, started, progressed;
    int fail_at, end_at;       /* steps */
    int done;                  /* the slot's thread only: not atomic on purpose, the sanitizer watches */
    atomic_int_fast64_t tick;
    struct fake *next;         /* woken after each unit */
    atomic_bool hangs, inside; /* a step lasts as long as this is set; one does */
    atomic_int told;           /* units that statistics told of */
    bool freed;
} fake_t;

static task_status_t fake_step(void *self, uint32_t budget, err_t **reterr) {
    fake_t *f = self;
    atomic_fetch_add(&f->steps, 1);
    while (atomic_load(&f->hangs)) {
        atomic_store(&f->inside, true);
        usleep(1000);
    }
    atomic_store(&f->inside, false);
    if (f->fail_at && f->done >= f->fail_at) {
        *reterr = err_new(ERR_DATA, "bad record");
        return TASK_FAILED;
    }
    if (f->end_at && f->done >= f->end_at) return TASK_ENDED;
    if (atomic_load(&f->work) <= 0) return TASK_BLOCKED;
    atomic_fetch_sub(&f->work, 1);
    f->done++;
    if (f->next) {
        atomic_fetch_add(&f->next->work, 1);
        wake_t w = slot_task_wake(f->next->slot);
        w.fn(w.arg);
    }
    return TASK_RUNNABLE;
}
static int64_t fake_tick(void *self) { return atomic_load(&((fake_t *)self)->tick); }
static void fake_inject(void *self, epoch_t e, uint32_t flags) { atomic_store(&((fake_t *)self)->injected, (int)e); }
static err_t *fake_complete(void *self, epoch_t e) {
    atomic_store(&((fake_t *)self)->completed, (int)e);
    return NULL;
}
static err_t *fake_splits(void *self, uint64_t fp, const split_list_t *l) {
    atomic_fetch_add(&((fake_t *)self)->splits, l->n);
    return NULL;
}
static err_t *fake_start(void *self) {
    atomic_store(&((fake_t *)self)->started, 1);
    return NULL;
}
static void fake_stats(void *self, task_stats_t *ret) { *ret = (task_stats_t){.rows_in = (uint64_t)((fake_t *)self)->done}; }
static void fake_free(void *self) { ((fake_t *)self)->freed = true; }
static const slot_work_vtable_t fake_work = {fake_step, fake_tick, fake_inject, fake_complete, fake_splits, fake_start, fake_stats, fake_free};

static void on_failed(void *arg, slot_task_t *t, err_t *e) {
    ASSERT(strcmp(err_text(e), "bad record") == 0);
    err_free(e);
    atomic_store(&((fake_t *)arg)->failed, 1);
}
static void on_ended(void *arg, slot_task_t *t) { atomic_fetch_add(&((fake_t *)arg)->ended, 1); }
static void on_removed(void *arg, slot_task_t *t) { atomic_store(&((fake_t *)arg)->removed, 1); }
static void on_progressed(void *arg, slot_task_t *t) {
    fake_t *f = arg;
    atomic_fetch_add(&f->progressed, 1);
    atomic_store(&f->told, f->done);
}
static int64_t wall(void *arg) { return clock_wall_ms(); }

static void fake_new_at(fake_t *f, slot_t *s, int stage, int subtask) {
    *f = (fake_t){0};
    atomic_store(&f->tick, INT64_MAX);
    slot_handler_t h = {on_failed, on_ended, on_removed, on_progressed, wall, f};
    f->slot = slot_task_new(s, &h, stage, subtask);
}
static void fake_new(fake_t *f, slot_t *s) { fake_new_at(f, s, 0, 0); }
static void fake_run(fake_t *f) {
    slot_add(f->slot, &fake_work, f);
    slot_start(f->slot);
}
static void fake_remove(fake_t *f) {
    slot_remove(f->slot);
    for (int i = 0; i < 5000 && !atomic_load(&f->removed); i++) usleep(1000);
    ck_assert(atomic_load(&f->removed));
    ck_assert(f->freed);
}
static void fake_end(fake_t *f) { /* nothing may wake f any more: invariant 3 of slot.h */
    fake_remove(f);
    slot_task_free(f->slot);
}
#define AWAIT(cond)                                                                                \
    do {                                                                                           \
        for (int i_ = 0; i_ < 10000 && !(cond); i_++) usleep(1000);                                \
        ck_assert(cond);                                                                           \
    } while (0)

START_TEST(a_task_runs_only_after_start_and_hears_all_messages_in_order) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t f;
    fake_new(&f, s);
    atomic_store(&f.work, 3);
    slot_add(f.slot, &fake_work, &f);
    usleep(20000);
    ck_assert_int_eq(atomic_load(&f.steps), 0);
    slot_start(f.slot);
    AWAIT(atomic_load(&f.work) == 0);
    ck_assert(atomic_load(&f.started));
    slot_inject(f.slot, 4, 0);
    slot_complete(f.slot, 3);
    slot_complete(f.slot, 4);
    split_list_t l = {0};
    split_list_add(&l, &(split_t){.id = "a"});
    split_list_add(&l, &(split_t){.id = "b"});
    slot_add_splits(f.slot, 1, &l);
    split_list_free(&l);
    AWAIT(atomic_load(&f.splits) == 2);
    ck_assert_int_eq(atomic_load(&f.injected), 4);
    ck_assert_int_eq(atomic_load(&f.completed), 4);
    fake_end(&f);
    slot_free(s);
}
END_TEST

START_TEST(failure_and_end_are_told_once_and_end_the_stepping) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t bad, done;
    fake_new(&bad, s);
    fake_new(&done, s);
    bad.fail_at = 2;
    done.end_at = 2;
    atomic_store(&bad.work, 10);
    atomic_store(&done.work, 10);
    fake_run(&bad);
    fake_run(&done);
    AWAIT(atomic_load(&bad.failed) && atomic_load(&done.ended));
    int steps = atomic_load(&bad.steps);
    wake_t w = slot_task_wake(bad.slot);
    w.fn(w.arg);
    slot_inject(bad.slot, 9, 0);
    slot_inject(done.slot, 9, 0); /* an ended task still answers barriers */
    AWAIT(atomic_load(&done.injected) == 9);
    usleep(120000);
    ck_assert_int_eq(atomic_load(&bad.steps), steps);
    ck_assert_int_eq(atomic_load(&bad.injected), 0);
    ck_assert_int_eq(atomic_load(&done.ended), 1);
    fake_end(&bad);
    fake_end(&done);
    slot_free(s);
}
END_TEST

/* Two slots hand units back and forth: a lost wake would cost SLOT_PARK_MS_MAX each, 20,000 of them would never be done in time. */
START_TEST(no_wake_is_lost) {
    slot_t *a, *b;
    ck_ok(slot_new(0, &a));
    ck_ok(slot_new(1, &b));
    fake_t f, g;
    fake_new(&f, a);
    fake_new(&g, b);
    f.next = &g;
    g.next = &f;
    f.end_at = 20000;
    fake_run(&f);
    fake_run(&g);
    int64_t began = clock_mono_ms();
    atomic_fetch_add(&f.work, 1);
    wake_t w = slot_task_wake(f.slot);
    w.fn(w.arg);
    AWAIT(atomic_load(&f.ended));
    int64_t ms = clock_mono_ms() - began;
    ck_assert_msg(ms < 20000, "20000 hand-overs took %d ms", (int)ms);
    slot_task_stats_t st;
    slot_task_stats(f.slot, &st);
    ck_assert_uint_eq(st.task.rows_in, 20000);
    ck_assert(st.ended && st.busy_ns > 0);
    fake_remove(&f); /* both first: each may still be within its wake of the other */
    fake_remove(&g);
    slot_task_free(f.slot);
    slot_task_free(g.slot);
    slot_free(a);
    slot_free(b);
}
END_TEST

static void *producer(void *arg) {
    fake_t *f = arg;
    for (int i = 0; i < 20000; i++) {
        atomic_fetch_add(&f->work, 1);
        wake_t w = slot_task_wake(f->slot);
        w.fn(w.arg);
        if (i % 512 == 0) usleep(200);
    }
    return NULL;
}
START_TEST(many_threads_wake_many_tasks) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t f[4];
    pthread_t t[8];
    for (int i = 0; i < 4; i++) fake_new(&f[i], s);
    for (int i = 0; i < 4; i++) fake_run(&f[i]);
    for (int i = 0; i < 8; i++) pthread_create(&t[i], NULL, producer, &f[i % 4]);
    for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++) AWAIT(atomic_load(&f[i].work) == 0);
    for (int i = 0; i < 4; i++) fake_end(&f[i]);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(f[i].done, 40000);
    slot_free(s);
}
END_TEST

static void fake_wake(fake_t *f) {
    wake_t w = slot_task_wake(f->slot);
    w.fn(w.arg);
}

/* A slot that never parks is slow only where it works much: by its time on a core it is told how long something took, whoever else wants the cores. */
static int64_t worked_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Two units: by the first statistics are due, and by the second they are not. Then it rests, and they are told of long before it looks around by itself. */
static void told_of_all(fake_t *f, int64_t (*now_ms)(void)) {
    int64_t took = 0;
    for (int i = 1; i <= 10; i++) {
        atomic_store(&f->hangs, true);
        fake_wake(f);
        AWAIT(atomic_load(&f->inside));
        atomic_fetch_add(&f->work, 2);
        fake_wake(f);
        usleep(25000); /* since the last statistics */
        int64_t since = now_ms();
        atomic_store(&f->hangs, false);
        AWAIT(atomic_load(&f->told) == 2 * i);
        took += now_ms() - since;
    }
    ck_assert_int_lt(took, 10 * SLOT_PARK_MS_MAX / 2);
    slot_task_stats_t st;
    slot_task_stats(f->slot, &st);
    ck_assert_uint_eq(st.task.rows_in, 20);
}

/* At something that nothing wakes it for: about once in SLOT_PARK_MS_MAX. */
static void looks_around_now_and_then(fake_t *f, int64_t (*now_ms)(void)) {
    int64_t began = clock_mono_ms(), running = now_ms();
    int before = atomic_load(&f->steps);
    AWAIT(atomic_load(&f->steps) >= before + 4);
    ck_assert_int_ge(clock_mono_ms() - began, 3 * SLOT_PARK_MS_MAX - 10);
    ck_assert_int_le(now_ms() - running, 2000);
}

/* The owner of a quiet task sleeps until it is told; a pause too short for statistics must not keep the last of them back. */
START_TEST(what_a_task_did_is_told_at_the_latest_when_it_has_nothing_to_do) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t f;
    fake_new(&f, s);
    fake_run(&f);
    AWAIT(atomic_load(&f.steps) > 0);
    told_of_all(&f, running_ms);
    int told = atomic_load(&f.progressed), steps = atomic_load(&f.steps);
    AWAIT(atomic_load(&f.steps) >= steps + 2);
    ck_assert_int_eq(atomic_load(&f.progressed), told); /* nothing new */
    fake_end(&f);
    slot_free(s);
}
END_TEST

/* Its slot never parks: what it did is told all the same, and it looks at what nothing wakes it for. */
START_TEST(a_task_beside_one_that_never_rests_is_told_of_and_looks_around_as_if_alone) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t busy, quiet;
    fake_new(&busy, s);
    fake_new(&quiet, s);
    atomic_store(&busy.work, INT32_MAX);
    fake_run(&busy);
    fake_run(&quiet);
    AWAIT(atomic_load(&quiet.steps) > 0);
    told_of_all(&quiet, worked_ms);
    looks_around_now_and_then(&quiet, worked_ms);
    fake_end(&quiet);
    fake_end(&busy);
    slot_free(s);
}
END_TEST

START_TEST(a_tick_comes_in_time_and_idle_slots_rest) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t f;
    fake_new(&f, s);
    fake_run(&f);
    AWAIT(atomic_load(&f.steps) > 0);
    looks_around_now_and_then(&f, running_ms);
    fake_end(&f);
    fake_new(&f, s);
    atomic_store(&f.tick, clock_wall_ms() + 30);
    fake_run(&f);
    AWAIT(atomic_load(&f.steps) >= 1);
    atomic_store(&f.tick, INT64_MAX);
    const slot_task_t *in;
    AWAIT(slot_stuck_ms(s, &in) == 0); /* a step that is not let run takes long, too */
    fake_end(&f);
    slot_free(s);
}
END_TEST

/* B5 */
START_TEST(a_step_that_does_not_return_is_seen_and_whose_it_is) {
    slot_t *s;
    ck_ok(slot_new(0, &s));
    fake_t quick, slow;
    const slot_task_t *in;
    fake_new(&quick, s);
    fake_new_at(&slow, s, 3, 7);
    fake_run(&quick);
    fake_run(&slow);
    atomic_store(&slow.hangs, true);
    AWAIT(slot_stuck_ms(s, &in) >= 50);
    ck_assert_int_eq(slot_task_stage(in), 3);
    ck_assert_int_eq(slot_task_subtask(in), 7);
    atomic_store(&slow.hangs, false);
    AWAIT(slot_stuck_ms(s, &in) == 0);
    fake_end(&quick);
    fake_end(&slow);
    slot_free(s);
}
END_TEST

TESTS("worker/slot", a_step_that_does_not_return_is_seen_and_whose_it_is,
      a_task_runs_only_after_start_and_hears_all_messages_in_order, failure_and_end_are_told_once_and_end_the_stepping,
      no_wake_is_lost, many_threads_wake_many_tasks, what_a_task_did_is_told_at_the_latest_when_it_has_nothing_to_do,
      a_task_beside_one_that_never_rests_is_told_of_and_looks_around_as_if_alone, a_tick_comes_in_time_and_idle_slots_rest)
