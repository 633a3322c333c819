/* slot.h: a slot is a thread that steps its tasks round robin, and parks when none can go on.
 *
 * Invariants
 *  1. A task belongs to one slot from slot_add until its `removed` event, and is touched by that thread only; all others reach it by
 *     messages (slot_add .. slot_remove) or by slot_task_wake.
 *  2. A wake is an atomic flag on the task; the slot's eventfd is written only while the slot is parked. The order "raise the flag, then
 *     look at parked" against "set parked, then look at the flags" (both sequentially consistent) loses no wake.
 *  3. A slot_task_t outlives everything that may wake it (channels, sources): its owner frees it after the attempt is gone, not when
 *     the slot lets go of it.
 *  4. Nothing a task calls waits, so a message is answered within one round; slot_stuck_ms tells how long it has been busy with one.
 *
 * Events are called on the slot's thread; they must not wait. */
#pragma once
#include "common/err.h"
#include "common/split.h"
#include "engine/channel.h"
#include "engine/task.h"

/* What a slot steps: engine/task.h behind a table, so that tests and the simulator can put something else in its place. */

typedef struct slot_work_vtable {
    task_status_t (*step)(void *self, uint32_t budget, err_t **reterr);
    int64_t (*next_tick_ms)(void *self);
    void (*inject)(void *self, epoch_t epoch, uint32_t flags);
    err_t *(*complete)(void *self, epoch_t epoch);
    err_t *(*add_splits)(void *self, uint64_t fingerprint, const split_list_t *more);
    err_t *(*start)(void *self);
    void (*stats)(void *self, task_stats_t *ret);
    void (*free)(void *self);
} slot_work_vtable_t;
extern const slot_work_vtable_t slot_work_task; /* self is a task_t; slot_task.c */

typedef struct slot slot_t;
typedef struct slot_task slot_task_t;
typedef struct slot_handler {
    void (*failed)(void *arg, slot_task_t *t, err_t *e); /* takes e; the task is not stepped any more */
    void (*ended)(void *arg, slot_task_t *t);            /* once */
    void (*removed)(void *arg, slot_task_t *t);          /* the work was freed; the slot knows it no more */
    void (*progressed)(void *arg, slot_task_t *t);       /* slot_task_progress differs from what it was; NULL: nobody asks */
    int64_t (*now_ms)(void *arg);                        /* the clock next_tick_ms speaks of */
    void *arg;
} slot_handler_t;

#define SLOT_PARK_MS_MAX 250

err_t *slot_new(int index, slot_t **ret); /* starts the thread */
void slot_free(slot_t *s);                /* every task was removed; joins */

/* The task's outer half. Made before its work, because the work's channels need its wake. */
slot_task_t *slot_task_new(slot_t *s, const slot_handler_t *h, int stage, int subtask);
void slot_task_free(slot_task_t *t);      /* after `removed`, or never added; does not free the work then */
wake_t slot_task_wake(slot_task_t *t);    /* any thread */
int slot_task_stage(const slot_task_t *t);
int slot_task_subtask(const slot_task_t *t);

/* Messages, any thread, in order per sender. slot_add takes the work; the task runs only after slot_start. */
void slot_add(slot_task_t *t, const slot_work_vtable_t *vt, void *work);
void slot_start(slot_task_t *t);
void slot_inject(slot_task_t *t, epoch_t epoch, uint32_t flags);
void slot_complete(slot_task_t *t, epoch_t epoch);
void slot_add_splits(slot_task_t *t, uint64_t fingerprint, const split_list_t *more); /* copies */
void slot_remove(slot_task_t *t);

/* Statistics as of the last look of the slot: at most 20 ms old while the task runs, 2 ms after it has run, and a step of another one. Any thread. */
typedef struct slot_task_stats {
    task_stats_t task;        /* holds_time is NULL; see holds_time below */
    char holds_time[WAITS_FOR_MAX];
    char waits_for[WAITS_FOR_MAX]; /* likewise */
    uint64_t busy_ns;         /* time spent in step */
    bool ended, failed;
} slot_task_stats_t;
void slot_task_stats(slot_task_t *t, slot_task_stats_t *ret);
uint64_t slot_task_progress(const slot_task_stats_t *s); /* changes when rows, bad records, event time or the end came */
/* How long the present step, or a message to a task (its start, its end), has been running; 0: none. *ret: whose; to compare only. Any thread. */
int64_t slot_stuck_ms(slot_t *s, const slot_task_t **ret);
