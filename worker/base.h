/* base.h: base checkpoints: one thread that applies complete epochs to each job's RocksDB and brings checkpoints of it to storage.
 *
 * Invariants
 *  1. Only extents of complete epochs are applied, in order, as absolute values (hazards A5).
 *  2. A checkpoint is taken while nothing is applied; it holds exactly the state as of the last applied epoch.
 *  3. A base is due when the changelog since the last one passed its bound (base_bound: it grows with the state, since a restore reads
 *     both, and one that comes seldom writes of each key the last word only); after the interval, or when BARRIER_BASE asks for it,
 *     if the changelog is worth it (BASE_CHANGELOG_MIN): a small job pays for no RocksDB, its replay is cheap. Small ones that were
 *     asked for come after BASE_SMALL_INTERVALS, so that extents of many attempts do not pile up in the manifest. While one waits to
 *     be accepted none is begun, but for a bound passed twice.
 *  4. Memory that is short asks for no base: applying complete epochs locally lets tables evict, nothing has to be uploaded for it.
 *  5. Between bases the local base follows only for tables that come near their share of the memory and can evict only what it has
 *     (state/kstate_near.c): nothing else reads it, and what is left to the next base is written once for many changes. What a base or eviction
 *     then waits for is bounded as the changelog is.
 *  6. A base that cannot be stored harms nothing: the changelog stays; it is tried again after the interval, and `waiting` says why until one is
 *     stored, however well the local base follows.
 *  7. Nor does a full disk below --data: RocksDB takes the changes when there is space, and sources wait once memory is full of them. It is tried for
 *     as long as that takes. Any other error of the local base may last BASE_HEAL_MS, and one that no try helps (corrupt, or gone) ends the attempt at
 *     once: `failed` is called, once, and nothing more is done for it. The next attempt makes a new base out of storage. */
#pragma once
#include "state/disk.h"
#include "state/applier.h"
#include "state/kept.h"

#define BASE_CHANGELOG_MIN ((uint64_t)4 << 20)
#define BASE_SMALL_INTERVALS 20 /* how many intervals a base of less than that may be put off when it is asked for */
#define BASE_CHANGELOG_MAX ((uint64_t)256 << 20) /* at most; less where --memory is small, for a restore reads it into memory */
#define BASE_CHANGELOG_EVICTED ((uint64_t)1 << 30) /* at most, for evicted state */
#define BASE_APPLY_BYTES ((size_t)32 << 20)
#define BASE_INTERVAL_MS 30000
#define BASE_HEAL_MS 60000

/* The rule of invariant 3, pure. */
typedef struct base_need {
    bool asked;            /* BARRIER_BASE was completed */
    bool unaccepted;       /* the last base is not in a manifest yet */
    uint64_t bytes;        /* changelog complete since the last base */
    uint64_t bytes_max;    /* its bound; 0: BASE_CHANGELOG_MAX */
    int64_t since_ms;      /* since the last base, or the last try */
} base_need_t;
bool base_due(const base_need_t *n, int64_t interval_ms);
/* The bound of the changelog between two bases: half as many bytes again as the hot tables hold, within what the conf allows and what they leave of their
 * share of memory (`most`: a restore has the changes beside the tables, or all go into the base round by round first), and as many as the
 * files of what they evicted have, for what a restore reads of such a state goes into the base, not into memory. These are some six changes a key in
 * memory where keys and values are small, and one or two of an evicted one, whose replay takes half of what the keys of the base take a restore
 * (bench/state_bench.c). */
uint64_t base_bound(uint64_t least, uint64_t most, uint64_t hot, uint64_t evicted);

/* The rule of invariant 7, pure: since_ms: so long the local base has failed other than by a full disk. */
bool base_ends(base_health_t health, int64_t since_ms);

typedef struct base_worker base_worker_t;
typedef struct base_conf {
    const char *worker, *data_dir;
    disk_t *storage;
    int64_t interval_ms;
    uint64_t changelog_max; /* 0: BASE_CHANGELOG_MAX */
    uint64_t changelog_most; /* of large states; at least changelog_max */
    void (*done)(void *arg, job_id_t job, attempt_t attempt, epoch_t epoch, base_t *base); /* takes base; the base thread */
    void (*gone)(void *arg, job_id_t job, attempt_t attempt);                             /* nothing of the attempt follows */
    void (*failed)(void *arg, job_id_t job, attempt_t attempt, err_t *e);                 /* its local base is of no use; takes e; the base thread */
    void *arg;
} base_conf_t;
err_t *base_worker_new(const base_conf_t *conf, base_worker_t **ret);
void base_worker_free(base_worker_t *b); /* joins */

/* Any thread, in order per attempt. env and applier live until `gone`; the applier is the base thread's from base_add to then. */
typedef struct base_job {
    job_id_t job;
    attempt_t attempt;
    kstate_env_t *env;
    applier_t *applier;
    epoch_t restored;    /* epoch the attempt began with */
    kept_job_t *kept;    /* until `gone` the base thread's; or NULL */
    uint64_t replayed;   /* bytes of changelog that were replayed then: they count towards the next base */
} base_job_t;
void base_add(base_worker_t *b, const base_job_t *j);
void base_started(base_worker_t *b, job_id_t job, attempt_t attempt); /* START: no other manifest is restored any more */
void base_extent(base_worker_t *b, job_id_t job, attempt_t attempt, const extent_t *x, uint64_t bytes); /* durable; copies */
void base_complete(base_worker_t *b, job_id_t job, attempt_t attempt, epoch_t epoch, bool asked);
void base_accepted(base_worker_t *b, job_id_t job, attempt_t attempt, epoch_t epoch);
void base_look(base_worker_t *b); /* tables are short of memory: complete epochs go into the local base now */
void base_drop(base_worker_t *b, job_id_t job, attempt_t attempt);
char *base_waiting(base_worker_t *b, job_id_t job, attempt_t attempt); /* why the last try failed, or that one does not go on; malloc'ed, or NULL */
void base_forget(base_worker_t *b, job_id_t job); /* deletes the job's own copies (state/kept.h); its bases go with their attempts */
/* Where the base of an attempt lives: a directory per attempt, never one that was open before (a starting process takes the last
 * checkpoint from storage, hazards A5). */
char *base_directory(const char *data_dir, job_id_t job, attempt_t attempt);
void base_remove_tree(const char *path); /* a directory and all in it, or a file; as far as it goes */
