/* sim_worker_int.h: private to the files of the worker process: sim_worker.c (agent, steps, actions) and sim_attempt.c (building, restoring, ending an
 * attempt). */
#pragma once
#include "engine/connector/connector.h"
#include "engine/task.h"
#include "state/restore.h"
#include "tests/sim/sim.h"
#include "worker/base.h"
#include "worker/checkpoint.h"
#include "worker/lanes.h"

typedef struct srt srt_t;
typedef struct stask {
    srt_t *rt;
    int stage, subtask;
    task_t *task;
    bool awake, source, ended, failed;
} stask_t;
typedef struct sring { struct sring *next; int edge, from, to; channel_in_t *in; } sring_t;

struct srt { /* an attempt here: worker/driver_int.h's runtime_t */
    srt_t *next;
    sim_worker_t *w;
    ctl_msg_t *deploy;
    job_id_t job;
    attempt_t attempt;
    const plan_t *plan;
    int ntasks;
    stask_t *tasks;
    sring_t *rings;
    kstate_env_t *state;
    applier_t *applier;
    lanes_t *lanes;
    char *dir;
    int64_t clock_ms;
    bool building, started, tearing, closed, damaged;
    /* the writer */
    changelog_id_t id;
    changelog_t *log;
    epoch_t writing; /* 0: nothing waits */
    uint32_t flags;
    int nseals;
    task_seal_t **seals;
    segment_t segment; /* of the seals */
    /* the base */
    epoch_t complete, restored, based, unaccepted;
    bool asked, base_flying, base_over;
    epoch_t asked_epoch;
    uint64_t bytes;
    int64_t tried_ms;
    /* heartbeats */
    uint64_t progress_injected;
    bool busy_reported;
    int subtask_restoring;
};
struct sim_worker {
    proc_t *p;
    agent_t *agent;
    agent_actions_t actions;
    bool performing;
    srt_t *runtimes;
    lane_driver_t *driver;
    uint32_t link;
    int64_t tick_at, pump_at;
};
typedef struct note { /* an event for later: names, never pointers */
    proc_t *p;
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch;
    int stage, subtask;
    uint32_t link;
    err_t *error;
    bool never;
    task_seal_t *seal;
    extent_t extent;
    uint64_t bytes;
    base_t *base;
    ctl_msg_t *msg;
    char where[8];
    void *entry;
    lane_answer_t answer;
} note_t;

/* sim_worker.c */
note_t *note_new(const srt_t *rt);
void note_drop(void *arg);
void note_later(srt_t *rt, int64_t us, sim_fn fn, note_t *n);
srt_t *runtime_of(sim_worker_t *w, job_id_t job, attempt_t attempt);
void agent_event(sim_worker_t *w, agent_event_t *ev);
void wake_task(void *task);
int64_t task_now(void *task);
void task_sealed(void *task, task_seal_t *seal);
void on_task_note(sim_t *s, void *arg); /* a task ended, or failed when there is an error */
/* sim_attempt.c */
err_t *attempt_build(srt_t *rt);
void attempt_check_restored(srt_t *rt);
void attempt_free(srt_t *rt);
void attempt_writer_clear(srt_t *rt);
