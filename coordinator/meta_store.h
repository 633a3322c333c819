/* meta_store.h: the few hundred bytes per job that must be agreed upon, as a table: local directory (meta_store_dir.c), memory
 * (meta_store_memory.c), etcd (meta_store_etcd.c).
 *
 * What it holds: who leads; per job its record, its attempt with the floor of its epoch ids, and a pointer to the last manifest,
 * whose body lies in checkpoint storage (so that an epoch costs the store less than 300 bytes, hazards B12).
 *
 * Promises of every implementation
 *   1. leader epochs only grow, also over restarts; each write compares that this process still leads with the epoch it was
 *      given: if not, STORE_REFUSED, and `lost` follows.
 *   2. raise_attempt and put_manifest are atomic and ordered: a manifest of an attempt that was not yet there when the next attempt
 *      was raised is refused ever after (A3).
 *   3. put_manifest of exactly what is already there answers STORE_OK: so an unknown outcome may be asked again.
 *   4. Writes of one job take effect in the order they were begun, also when one ended as STORE_UNKNOWN.
 *   5. Every call completes exactly once, within the implementation's own deadline, from any thread and possibly before the call
 *      returns. Calls come from one thread (the driver's i/o thread) and never wait longer than a local write.
 *   6. After `lost` was called nothing succeeds until the next campaign. */
#pragma once
#include "coordinator/core/event.h"

#define META_POINTER_MAX 300

typedef struct meta_pointer {
    uint64_t incarnation, leader;
    attempt_t attempt;
    epoch_t epoch;
    uint32_t crc; /* of the body's bytes */
    char *path;   /* in checkpoint storage */
} meta_pointer_t;
void meta_pointer_done(meta_pointer_t *p); /* content */
meta_pointer_t meta_pointer_copy(const meta_pointer_t *p);
bool meta_pointer_eq(const meta_pointer_t *a, const meta_pointer_t *b);
void meta_pointer_print(buf_t *out, const meta_pointer_t *p);
err_t *meta_pointer_parse(slice_t text, meta_pointer_t *ret);

/* The attempt of a job and the floor of its epoch ids: every id injected in an earlier attempt is at most `floor`. */
typedef struct meta_attempt { attempt_t attempt; epoch_t floor; } meta_attempt_t;
meta_attempt_t meta_attempt_raise(meta_attempt_t now, const meta_pointer_t *last /* NULL: none */, attempt_t above);
void meta_attempt_print(buf_t *out, const meta_attempt_t *a);
err_t *meta_attempt_parse(slice_t text, meta_attempt_t *ret);

typedef struct meta_result {
    store_outcome_t outcome;
    err_t *error;                      /* with outcome != STORE_OK */
    uint64_t leader;                   /* campaign */
    int njobs; char **records;         /* load: texts of the job records */
    meta_attempt_t attempt;            /* raise_attempt, look */
    bool has_last; meta_pointer_t last;
} meta_result_t;
void meta_result_done(meta_result_t *r); /* content */

typedef struct meta_done {
    void (*fn)(void *arg, meta_result_t *r); /* takes the content */
    void *arg;
} meta_done_t;

typedef struct meta_store meta_store_t;
struct meta_store {
    /* Waits for leadership; completes when it is won, or with an error that ends the process (storage cannot be used). `lost` is called at
     * most once per won campaign, from any thread; it takes `why`. */
    void (*campaign)(meta_store_t *m, void (*lost)(void *arg, err_t *why), void *lost_arg, meta_done_t done);
    void (*load)(meta_store_t *m, meta_done_t done); /* all job records; only after the campaign was won */
    void (*put_job)(meta_store_t *m, job_id_t job, slice_t record, meta_done_t done);
    /* compare leader; the attempt becomes max(attempt, above) + 1 (meta_attempt_raise); returns it and the last manifest's pointer */
    void (*raise_attempt)(meta_store_t *m, job_id_t job, attempt_t above, meta_done_t done);
    /* compare leader; attempt and last manifest's pointer as they are in the store now, never from memory */
    void (*look)(meta_store_t *m, job_id_t job, meta_done_t done);
    /* compare leader, attempt (now->attempt) and previous (NULL: there is none yet); then `now` is the last */
    void (*put_manifest)(meta_store_t *m, job_id_t job, const meta_pointer_t *previous, const meta_pointer_t *now, meta_done_t done);
    void (*delete_job)(meta_store_t *m, job_id_t job, meta_done_t done);
    void (*resign)(meta_store_t *m); /* also cancels a campaign; `lost` is not called for it */
    void (*free)(meta_store_t *m);   /* resigns; completes what is open with STORE_UNKNOWN */
    const char *(*where)(meta_store_t *m); /* for messages */
};

meta_store_t *meta_store_memory_new(void);
/* Tests: the next write answers so; with STORE_UNKNOWN it takes effect when `lands`. */
void meta_store_memory_fail(meta_store_t *m, store_outcome_t outcome, bool lands);
/* One coordinator at a time: the directory is locked; ERR_EXISTS names who holds it. */
err_t *meta_store_dir_open(const char *dir, meta_store_t **ret);
