/* task.h: one subtask of a stage as a steppable machine. No thread, no clock, no socket: the slot thread, local mode and
 * the simulator all drive it by task_step.
 *
 * Inside, operators are nodes joined by short queues of elements; the scheduler runs the most downstream node that has input and
 * room, and polls sources only when nothing else can run. A node with several inputs aligns barriers (engine/align.h) and takes the
 * minimum of watermarks. A barrier that has passed all nodes makes a seal (below), handed to env.sealed.
 *
 * Life: task_new -> task_restore* -> task_start -> task_step ... -> task_free. All calls by the owning thread, except task_wake. */
#pragma once
#include "common/split.h"
#include "engine/channel.h"
#include "engine/operator.h"
#include "state/seal.h"
#include <stdatomic.h>

typedef struct task task_t;

typedef enum task_status {
    TASK_RUNNABLE, /* step again */
    TASK_BLOCKED,  /* wait for a wake, or until task_next_tick_ms */
    TASK_ENDED,    /* inputs ended, everything emitted; still answers barriers */
    TASK_FAILED
} task_status_t;

typedef struct task_env {
    const plan_t *plan;
    int stage, subtask, parallelism;
    const char *job;
    uint64_t incarnation, origin; /* these as op_env_t's */
    bool forced, final;
    kstate_env_t *state;
    const split_list_t *splits;  /* one list per OP_SOURCE of the stage, in op order; borrowed during task_new */
    channel_in_t ***ins;         /* [exchange-in op order][producer subtask]; taken */
    int *nins;
    channel_out_t ***outs;       /* [exchange-out op order][consumer subtask]; taken */
    int *nouts;
    int64_t restored_watermark;  /* of this stage in the manifest; WATERMARK_NONE at first */
    int64_t (*now_ms)(void *arg);/* processing time, never decreasing over restores (hazards A9) */
    void (*sealed)(void *arg, task_seal_t *seal); /* takes seal */
    wake_t wake;                 /* any thread: this task should be stepped */
    void *arg;
    const atomic_bool *held;     /* while it is set sources are not polled, barriers still pass (hazards B1); NULL: never */
    const char *time_zone;
    /* where connectors are looked up; NULL: source_find, sink_find */
    const source_vtable_t *(*find_source)(const char *connector);
    const sink_vtable_t *(*find_sink)(const char *connector);
} task_env_t;

err_t *task_new(const task_env_t *env, task_t **ret);
void task_free(task_t *t);
/* A state_seal of an earlier epoch that belongs (at least partly) to this task's key groups; in epoch order. */
err_t *task_restore(task_t *t, uint64_t fingerprint, int slot, slice_t bytes);
/* Keyed state that does not fit in memory is restored by way of the base (state/restore.h): forget, later reload. */
void task_forget(task_t *t);
err_t *task_reload(task_t *t);
err_t *task_start(task_t *t); /* after every task of the job was restored */
task_status_t task_step(task_t *t, uint32_t budget /* node runs */, err_t **reterr);
int64_t task_next_tick_ms(task_t *t);
void task_inject(task_t *t, epoch_t epoch, uint32_t flags); /* tasks with sources only */
err_t *task_complete(task_t *t, epoch_t epoch);              /* cumulative */
err_t *task_add_splits(task_t *t, uint64_t fingerprint, const split_list_t *more);

typedef struct task_stats {
    uint64_t rows_in, rows_out, late_rows, bad_records, stale_records, dropped_rows, bytes_in;
    int64_t watermark;          /* ms */
    uint64_t blocked_ns;        /* time spent with a full output */
    int blocked_stage, blocked_subtask; /* the consumer that was lately waited for most, -1: none */
    uint64_t state_entries, state_bytes;
    const char *holds_time;     /* split or input that holds the watermark; borrowed until the next step */
    const char *waits_for;      /* what a source or sink waits for outside; NULL nothing; borrowed likewise */
} task_stats_t;
void task_stats(const task_t *t, task_stats_t *ret);
bool task_has_source(const task_t *t);
