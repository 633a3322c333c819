/* restore.h: from a manifest to the state of this worker's tasks.
 *
 * Order of calls
 *   restore_new; restore_bases (fills env's base with exactly the key groups asked for; sets applied and restoring epoch);
 *   applier_new, tasks open their states (kstate_open reads the base); restore_replay (calls back); tasks start; restore_free.
 *
 * What is believed (hazards A2): the bytes the manifest names and nothing else. Epochs of attempts that died lie between good
 * ones in storage, under names and in bytes that no manifest has; they are never opened.
 *
 * For each (operator, key group) the youngest base that had it counts; changes of later epochs are replayed over it. After a rescale
 * bases and extents of several attempts stand side by side: each change is measured against the base of its own key group.
 * Memory: what does not fit in the env's share goes through to the base; a segment of one epoch and a round of the applier are in memory
 * at once, never the changelog.
 * Thread: one; waits for disks. */
#pragma once
#include "state/applier.h"

typedef struct restore restore_t;
typedef struct restore_conf {
    const manifest_t *manifest; /* alive until restore_free */
    disk_t *disk;               /* checkpoint storage */
    const char *dir;            /* local scratch for fetched bases, on the file system of the base */
    kstate_env_t *env;
    int nranges;
    const base_range_t *ranges; /* what this worker's tasks will own; two subtasks of an operator are two ranges */
    const atomic_bool *cancel;  /* NULL, or once true: ERR_CANCELLED before the next base, epoch or operator is read (within a base: base_db_t) */
    disk_t *kept;               /* this worker's own copies, asked first (state/kept.h), or NULL */
} restore_conf_t;

/* Where records go; NULL slots are skipped. An error stops. */
typedef struct restore_sink {
    void *arg;
    /* before records of another old task than those before; to tell whose operator bytes follow */
    err_t *(*task)(void *arg, int stage, int subtask);
    /* slot >= 0: kstate changes, only of key groups in the ranges (offer them to every task of the operator: kstate_apply takes
     * its own). slot -1: operator bytes of the last epoch of the old task, after all changes, each old task's once. */
    err_t *(*state)(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes);
    /* every segment of an epoch the manifest does not know as published for its lane, epochs ascending per lane */
    err_t *(*sink)(void *arg, uint64_t fingerprint, int op, int lane, epoch_t epoch, uint64_t rows, slice_t segment);
    /* With an applier, and the env has less memory than the state needs: spill is called once, all states forget (kstate_forget) what they
     * were given, and changes go into the base alone, a portion at a time. At the end the base is complete: reload (kstate_reload). */
    err_t *(*spill)(void *arg);
    err_t *(*reload)(void *arg);
} restore_sink_t;

restore_t *restore_new(const restore_conf_t *conf);
err_t *restore_bases(restore_t *r);
/* The applier (NULL: none) gets the same changes as `state`, so that the base catches up with the manifest's epoch. */
err_t *restore_replay(restore_t *r, applier_t *applier, const restore_sink_t *sink);
void restore_free(restore_t *r);
/* After an error: a file that the manifest names is missing, torn or not what it says, here and in storage, where it was looked at; the error says
 * which. What failed in the directories of this worker is not that: ERR_IO. */
bool restore_damaged(const restore_t *r);
const char *restore_own_wrong(const restore_t *r); /* NULL, or the first own copy that was there and not whole: storage had to be read */
uint64_t restore_bytes(const restore_t *r); /* of changelog read, for reports */
uint64_t restore_fetched(const restore_t *r); /* bytes of bases that storage was asked for although copies are kept */
