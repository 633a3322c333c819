/* slot.c: see slot.h. */
#include "worker/slot.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/mailbox.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP_BUDGET 64           /* node runs per step: some 100 us, so that tasks of one slot take turns */
#define STATS_EVERY_NS 20000000  /* how often statistics are copied out while running .. */
#define STATS_PAUSE_NS 2000000   /* .. and while there are pauses */

typedef enum slot_msg_kind { MSG_ADD, MSG_START, MSG_INJECT, MSG_COMPLETE, MSG_SPLITS, MSG_REMOVE, MSG_QUIT } slot_msg_kind_t;
typedef struct slot_msg {
    slot_msg_kind_t kind;
    slot_task_t *task;
    const slot_work_vtable_t *vt;
    void *work;
    epoch_t epoch;
    uint32_t flags;
    uint64_t fingerprint;
    split_list_t splits;
} slot_msg_t;

struct slot_task {
    slot_t *slot;
    slot_handler_t h;
    int stage, subtask;
    atomic_bool ready;           /* someone woke it since its last step */
    /* the slot's thread only */
    const slot_work_vtable_t *vt;
    void *work;
    bool started, ended, failed, runnable;
    bool stats_late;             /* it stepped since its statistics were copied out */
    uint64_t progress;           /* as of the copy */
    int64_t tick_ms;
    uint64_t busy_ns;
    int64_t stats_at_ns, stepped_ns;
    pthread_mutex_t stats_lock;  /* of `stats` only */
    slot_task_stats_t stats;
};

struct slot {
    pthread_t thread;
    mailbox_t *mail;
    atomic_bool parked, mailed;
    atomic_int_fast64_t step_began_ns; /* 0: not in a step, nor with a message */
    _Atomic(slot_task_t *) step_of;    /* whose */
    bool quit;
    int ntasks, cap;
    slot_task_t **tasks;
};

/* ---------------------------------------------------------------- any thread */
static void slot_poke(slot_t *s) {
    if (atomic_load(&s->parked) && atomic_exchange(&s->parked, false)) mailbox_wake(s->mail);
}

static void slot_task_poke(void *arg) {
    slot_task_t *t = arg;
    if (atomic_exchange(&t->ready, true)) return; /* whoever raised it pokes, and the slot looks after that */
    slot_poke(t->slot);
}
wake_t slot_task_wake(slot_task_t *t) { return (wake_t){slot_task_poke, t}; }

static void post(slot_t *s, slot_msg_t m) {
    slot_msg_t *copy = xmalloc(sizeof *copy);
    *copy = m;
    bool ok = mailbox_send(s->mail, copy);
    ASSERT(ok); /* messages are bounded by tasks x epochs in flight, far below the mailbox's bound */
    atomic_store(&s->mailed, true);
    slot_poke(s);
}
void slot_add(slot_task_t *t, const slot_work_vtable_t *vt, void *work) {
    post(t->slot, (slot_msg_t){.kind = MSG_ADD, .task = t, .vt = vt, .work = work});
}
void slot_start(slot_task_t *t) { post(t->slot, (slot_msg_t){.kind = MSG_START, .task = t}); }
void slot_inject(slot_task_t *t, epoch_t epoch, uint32_t flags) {
    post(t->slot, (slot_msg_t){.kind = MSG_INJECT, .task = t, .epoch = epoch, .flags = flags});
}
void slot_complete(slot_task_t *t, epoch_t epoch) { post(t->slot, (slot_msg_t){.kind = MSG_COMPLETE, .task = t, .epoch = epoch}); }
void slot_add_splits(slot_task_t *t, uint64_t fingerprint, const split_list_t *more) {
    slot_msg_t m = {.kind = MSG_SPLITS, .task = t, .fingerprint = fingerprint};
    for (int i = 0; i < more->n; i++) split_list_add(&m.splits, &more->items[i]);
    post(t->slot, m);
}
void slot_remove(slot_task_t *t) { post(t->slot, (slot_msg_t){.kind = MSG_REMOVE, .task = t}); }

void slot_task_stats(slot_task_t *t, slot_task_stats_t *ret) {
    pthread_mutex_lock(&t->stats_lock);
    *ret = t->stats;
    pthread_mutex_unlock(&t->stats_lock);
}

uint64_t slot_task_progress(const slot_task_stats_t *s) {
    uint64_t n = s->task.rows_in + s->task.rows_out + s->task.bad_records + s->ended;
    return s->task.watermark == WATERMARK_NONE ? n : n + (uint64_t)s->task.watermark;
}

int64_t slot_stuck_ms(slot_t *s, const slot_task_t **ret) {
    int64_t began = atomic_load_explicit(&s->step_began_ns, memory_order_acquire);
    *ret = atomic_load_explicit(&s->step_of, memory_order_relaxed);
    return began ? (clock_mono_ns() - began) / 1000000 : 0;
}

/* ---------------------------------------------------------------- the slot's thread */
static void publish_stats(slot_task_t *t, int64_t now_ns) {
    t->stats_at_ns = now_ns;
    t->stats_late = false;
    slot_task_stats_t s = {.busy_ns = t->busy_ns, .ended = t->ended, .failed = t->failed};
    t->vt->stats(t->work, &s.task);
    snprintf(s.holds_time, sizeof s.holds_time, "%s", s.task.holds_time ? s.task.holds_time : "");
    snprintf(s.waits_for, sizeof s.waits_for, "%s", s.task.waits_for ? s.task.waits_for : "");
    s.task.holds_time = s.task.waits_for = NULL;
    pthread_mutex_lock(&t->stats_lock);
    t->stats = s;
    pthread_mutex_unlock(&t->stats_lock);
    uint64_t progress = slot_task_progress(&s);
    bool news = progress != t->progress;
    t->progress = progress;
    if (news && t->h.progressed) t->h.progressed(t->h.arg, t);
}

static void task_fail(slot_task_t *t, err_t *e) {
    if (t->failed) {
        err_free(e);
        return;
    }
    t->failed = true;
    t->runnable = false;
    t->h.failed(t->h.arg, t, e);
}

static void handle_task(slot_t *s, slot_msg_t *m) {
    slot_task_t *t = m->task;
    if (t->failed) return;
    err_t *e = NULL;
    switch (m->kind) {
    case MSG_START:
        e = t->vt->start(t->work);
        t->started = true;
        break;
    case MSG_INJECT: t->vt->inject(t->work, m->epoch, m->flags); break;
    case MSG_COMPLETE: e = t->vt->complete(t->work, m->epoch); break;
    case MSG_SPLITS:
        e = t->vt->add_splits(t->work, m->fingerprint, &m->splits);
        t->ended = false;
        break;
    default: UNREACHABLE();
    }
    t->runnable = t->started;
    if (e) task_fail(t, e);
}

static void handle_add(slot_t *s, slot_msg_t *m) {
    if (s->ntasks == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->tasks = xrealloc(s->tasks, (size_t)s->cap * sizeof *s->tasks);
    }
    m->task->vt = m->vt;
    m->task->work = m->work;
    m->task->tick_ms = INT64_MAX;
    s->tasks[s->ntasks++] = m->task;
}

static void handle_remove(slot_t *s, slot_task_t *t) {
    for (int i = 0; i < s->ntasks; i++) {
        if (s->tasks[i] != t) continue;
        memmove(&s->tasks[i], &s->tasks[i + 1], (size_t)(s->ntasks - i - 1) * sizeof *s->tasks);
        s->ntasks--;
        break;
    }
    if (t->work) {
        publish_stats(t, clock_mono_ns());
        t->vt->free(TAKE(t->work));
    }
    t->h.removed(t->h.arg, t); /* the owner may free t from now on */
}

static int64_t busy_begin(slot_t *s, slot_task_t *t) {
    int64_t now = clock_mono_ns();
    atomic_store_explicit(&s->step_of, t, memory_order_relaxed);
    atomic_store_explicit(&s->step_began_ns, now, memory_order_release);
    return now;
}
static void busy_end(slot_t *s) { atomic_store_explicit(&s->step_began_ns, 0, memory_order_relaxed); }

static void drain_mail(slot_t *s) {
    if (!atomic_exchange(&s->mailed, false)) return;
    for (slot_msg_t *m; (m = mailbox_receive(s->mail)) != NULL;) {
        busy_begin(s, m->task);
        if (m->kind == MSG_QUIT) s->quit = true;
        else if (m->kind == MSG_ADD) handle_add(s, m);
        else if (m->kind == MSG_REMOVE) handle_remove(s, m->task);
        else handle_task(s, m);
        busy_end(s);
        split_list_free(&m->splits);
        free(m);
    }
}

static bool stats_due(const slot_task_t *t, int64_t now) {
    return t->stats_late && !t->failed && now - t->stats_at_ns >= (t->runnable ? STATS_EVERY_NS : STATS_PAUSE_NS);
}

static void step(slot_t *s, slot_task_t *t) {
    int64_t began = busy_begin(s, t);
    stall_point("step");
    err_t *e = NULL;
    task_status_t st = t->vt->step(t->work, STEP_BUDGET, &e);
    int64_t now = clock_mono_ns();
    busy_end(s);
    t->busy_ns += (uint64_t)(now - began);
    t->stepped_ns = now;
    t->runnable = st == TASK_RUNNABLE;
    if (st == TASK_FAILED) {
        task_fail(t, e ? e : err_new(ERR_INTERNAL, "the task failed without saying why"));
        return;
    }
    if (st == TASK_ENDED && !t->ended) {
        t->ended = true;
        publish_stats(t, now);
        t->h.ended(t->h.arg, t);
    }
    t->tick_ms = t->runnable ? INT64_MAX : t->vt->next_tick_ms(t->work);
    t->stats_late = true;
    if (stats_due(t, now)) publish_stats(t, now);
}

static bool task_due(slot_task_t *t) {
    if (!t->started || t->failed) return false;
    if (atomic_load_explicit(&t->ready, memory_order_relaxed) && atomic_exchange(&t->ready, false)) return true;
    if (t->runnable) return true;
    return t->tick_ms != INT64_MAX && t->h.now_ms(t->h.arg) >= t->tick_ms;
}

static bool round_robin(slot_t *s) {
    bool any = false;
    for (int i = 0; i < s->ntasks; i++) {
        if (!task_due(s->tasks[i])) continue;
        any = true;
        step(s, s->tasks[i]);
    }
    return any;
}

static int park_ms(slot_t *s) {
    int64_t ms = SLOT_PARK_MS_MAX;
    bool any = false;
    for (int i = 0; i < s->ntasks; i++) {
        slot_task_t *t = s->tasks[i];
        if (!t->started || t->failed) continue;
        any = true;
        if (t->stats_late) ms = MIN(ms, (int64_t)(STATS_PAUSE_NS / 1000000));
        if (t->tick_ms != INT64_MAX) ms = MIN(ms, MAX(t->tick_ms - t->h.now_ms(t->h.arg), (int64_t)0));
    }
    return any ? (int)ms : 1000;
}

static void park(slot_t *s) {
    atomic_store(&s->parked, true);
    bool stay = !atomic_load(&s->mailed);
    for (int i = 0; i < s->ntasks && stay; i++)
        if (s->tasks[i]->started && !s->tasks[i]->failed && atomic_load(&s->tasks[i]->ready)) stay = false;
    if (stay) mailbox_wait(s->mail, park_ms(s));
    atomic_store(&s->parked, false);
}

/* Whose own step came too soon for them, whatever other tasks of the slot do. */
static void publish_late(slot_t *s, int64_t now) {
    for (int i = 0; i < s->ntasks; i++)
        if (stats_due(s->tasks[i], now)) publish_stats(s->tasks[i], now);
}

/* A task that rests looks at what nothing wakes it for, too: a source whose client library gives no signal. */
static void look_again(slot_t *s, int64_t now) {
    for (int i = 0; i < s->ntasks; i++) {
        slot_task_t *t = s->tasks[i];
        if (t->started && !t->failed && now - t->stepped_ns >= (int64_t)SLOT_PARK_MS_MAX * 1000000) t->runnable = true;
    }
}

static void *slot_run(void *arg) {
    slot_t *s = arg;
    for (;;) {
        drain_mail(s);
        if (s->quit) return NULL; /* not after one more park */
        if (!round_robin(s)) park(s);
        int64_t now = clock_mono_ns();
        publish_late(s, now);
        look_again(s, now);
    }
}

/* ---------------------------------------------------------------- life */
err_t *slot_new(int index, slot_t **ret) {
    slot_t *s = xcalloc(1, sizeof *s);
    s->mail = mailbox_new((size_t)1 << 20, free);
    int rc = pthread_create(&s->thread, NULL, slot_run, s);
    if (rc) {
        mailbox_free(s->mail);
        free(s);
        return err_from_errno(rc, "cannot start the thread of slot %d", index);
    }
    char name[16];
    snprintf(name, sizeof name, "slot-%d", index);
    pthread_setname_np(s->thread, name);
    *ret = s;
    return NULL;
}

void slot_free(slot_t *s) {
    if (!s) return;
    post(s, (slot_msg_t){.kind = MSG_QUIT});
    pthread_join(s->thread, NULL);
    ASSERT(s->ntasks == 0);
    mailbox_free(s->mail);
    free(s->tasks);
    free(s);
}

slot_task_t *slot_task_new(slot_t *s, const slot_handler_t *h, int stage, int subtask) {
    slot_task_t *t = xcalloc(1, sizeof *t);
    t->slot = s;
    t->h = *h;
    t->stage = stage;
    t->subtask = subtask;
    t->tick_ms = INT64_MAX;
    t->stats.task.watermark = WATERMARK_NONE;
    pthread_mutex_init(&t->stats_lock, NULL);
    return t;
}
void slot_task_free(slot_task_t *t) {
    if (!t) return;
    pthread_mutex_destroy(&t->stats_lock);
    free(t);
}
int slot_task_stage(const slot_task_t *t) { return t->stage; }
int slot_task_subtask(const slot_task_t *t) { return t->subtask; }
