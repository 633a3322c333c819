/* checkpoint.h: the worker's writer of epochs: one thread that turns seals into segments and appends them to checkpoint storage.
 *
 * Per (job, attempt) one changelog file at a time. A write that fails is answered with its error and kept: the seals wait in memory for
 * checkpoint_again, which writes them to a new file, until it succeeds or checkpoint_drop ends the attempt (hazards A1, A22). Whoever
 * decides when to try again is the agent; what cannot be built (`never`) is not tried again: the thread is all jobs'. Requests of one
 * attempt are done in order; the answers come on the writer's thread. */
#pragma once
#include "state/changelog.h"

typedef struct checkpoint checkpoint_t;

typedef struct checkpoint_done {
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch;
    err_t *error;          /* owned by the receiver; NULL: durable */
    bool never;            /* with an error: the segment cannot be built, and never will be: not storage's affair */
    extent_t extent;       /* owned by the receiver */
    uint64_t bytes;
    int nseals;
    task_seal_t **seals;   /* given back when durable: their sink segments go to the lanes */
} checkpoint_done_t;

typedef struct checkpoint_conf {
    disk_t *disk;          /* borrowed */
    const char *worker;
    bool compress;
    void (*done)(void *arg, checkpoint_done_t *d);                        /* takes the content */
    void (*dropped)(void *arg, job_id_t job, attempt_t attempt);          /* nothing of the attempt follows */
    void *arg;
    disk_t *kept;          /* state/kept.h; borrowed; or NULL */
} checkpoint_conf_t;

err_t *checkpoint_new(const checkpoint_conf_t *conf, checkpoint_t **ret);
void checkpoint_free(checkpoint_t *c); /* finishes the append it is in, drops the rest, joins */
/* Any thread. Takes the seals and their array. */
void checkpoint_write(checkpoint_t *c, const changelog_id_t *id, epoch_t epoch, task_seal_t **seals, int n);
void checkpoint_again(checkpoint_t *c, job_id_t job, attempt_t attempt, epoch_t epoch);
void checkpoint_drop(checkpoint_t *c, job_id_t job, attempt_t attempt);
void checkpoint_seals_free(task_seal_t **seals, int n);
