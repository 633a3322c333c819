/* agent_event.h: what goes into the worker's session machine and what comes out.
 *
 * Ownership: agent_step takes `msg`, `error`, `seal`, `extent.path` and `base` of an event. An action owns its msg, seals and error; the
 * driver takes them (and NULLs them) or agent_actions_clear releases them. Actions are to be performed in their order.
 * Time is in the event: now_ms monotonic, wall_ms wall clock. */
#pragma once
#include "proto/control.h"
#include "state/seal.h"

typedef enum agent_event_kind {
    AGENT_EV_TICK,      /* time passed: heartbeats, reconnects, retries */
    AGENT_EV_LINKED,    /* a link is open: generation `link` */
    AGENT_EV_UNLINKED,  /* it closed or could not be opened; error may be set */
    AGENT_EV_MESSAGE,   /* msg came on `link` */
    AGENT_EV_BUILT,     /* the attempt is built and restored here, or error says why not */
    AGENT_EV_SEALED,    /* one task's seal */
    AGENT_EV_WRITTEN,   /* the segment of epoch is durable (extent; path NULL: nothing was to write), or error says why not */
    AGENT_EV_FAILED,    /* a task, a link or a lane failed: error, stage, subtask, where */
    AGENT_EV_ENDED,     /* a task has ended: stage, subtask */
    AGENT_EV_TORN,      /* the attempt's tasks, channels and lanes are gone */
    AGENT_EV_PUBLISHED, /* fingerprint, lane: published up to epoch; started: the ledger has a record of this incarnation */
    AGENT_EV_BASED,     /* base of epoch lies in storage */
    AGENT_EV_LEAVE,     /* the process was told to stop: drain */
} agent_event_kind_t;

typedef struct agent_event {
    agent_event_kind_t kind;
    int64_t now_ms, wall_ms;
    uint32_t link;
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch;
    ctl_msg_t *msg;
    err_t *error;
    task_seal_t *seal;
    extent_t extent;
    uint64_t bytes;      /* WRITTEN: of the segment */
    bool want_base;      /* WRITTEN */
    bool never;          /* WRITTEN with an error: trying again is of no use */
    base_t *base;        /* BASED */
    int stage, subtask;  /* FAILED, ENDED; stage -1: no task */
    const char *where;   /* FAILED: culprit or NULL; borrowed */
    bool damaged;        /* BUILT with an error: a file that the manifest names is missing, torn or wrong */
    bool own;            /* BUILT with an error, FAILED: this worker's own disk is to blame */
    uint64_t fingerprint;
    int lane;
    bool started;
} agent_event_t;

typedef enum agent_action_kind {
    AGENT_DO_CONNECT = 1,  /* open a link of generation `link`; the how-manieth coordinator in `n`; answer LINKED or UNLINKED */
    AGENT_DO_CLOSE,        /* close the link of generation `link`; error: why, when it was not told to */
    AGENT_DO_SEND,         /* msg on the current link */
    AGENT_DO_HEARTBEAT,    /* gather statistics and send a HEARTBEAT */
    AGENT_DO_BUILD,        /* msg: the DEPLOY; answer BUILT */
    AGENT_DO_START,        /* let the tasks run */
    AGENT_DO_INJECT,       /* barrier epoch, flags to the source tasks */
    AGENT_DO_WRITE,        /* seals[n] of epoch: build the segment, append, sync; answer WRITTEN */
    AGENT_DO_WRITE_AGAIN,  /* the same bytes once more, into a new file; answer WRITTEN */
    AGENT_DO_COMPLETE,     /* epoch is complete: tasks, lanes, applier; cumulative */
    AGENT_DO_BASE_ACCEPTED,/* the manifest names the base of epoch */
    AGENT_DO_CONFIRM,      /* the coordinator named our attempt: fenced lanes may try again */
    AGENT_DO_ADD_SPLITS,   /* msg */
    AGENT_DO_TEARDOWN,     /* stop tasks and lanes of the attempt, drop what is unwritten; answer TORN */
    AGENT_DO_FORGET,       /* delete the job's own copies of its files */
    AGENT_DO_EXIT,         /* the session is over; error says why, NULL: drained, or (n) nobody is there to drain for */
} agent_action_kind_t;

typedef struct agent_action {
    agent_action_kind_t kind;
    uint32_t link;
    int n;
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch;
    uint32_t flags;
    ctl_msg_t *msg;
    task_seal_t **seals;
    err_t *error;
} agent_action_t;

typedef struct agent_actions {
    int n, cap;
    agent_action_t *items;
} agent_actions_t;
void agent_actions_clear(agent_actions_t *l); /* releases what the driver did not take; keeps the memory */
void agent_actions_free(agent_actions_t *l);
void agent_action_print(buf_t *out, const agent_action_t *a); /* one line, for traces */
