/* kstate_env.h: what the keyed states of one job on one worker share: the memory budget and the base (RocksDB).
 *
 * One RocksDB per (worker, job), opened at first need. RocksDB never holds a value of an incomplete epoch (hazards A5): only
 * the applier writes, and only segments of complete epochs, as absolute values, one column family per (fingerprint, slot), keys
 * [key group u16 BE][ns u64 BE, sign flipped][key]. A starting process opens the last base checkpoint, never the live directory. */
#pragma once
#include "state/changelog.h"
#include "state/kstate.h"
#include <stdatomic.h>

/* Base: vtable so that the simulator can use an ordered map. */
typedef struct base_db base_db_t;
typedef struct base_key { int kg; int64_t ns; slice_t key; } base_key_t;
/* What the last error of the live base was, or of its directory. Such an error is never deterministic: the base is this process's alone, and another
 * attempt makes a new one of what storage has. */
typedef enum base_health {
    BASE_WELL,
    BASE_FULL,  /* no space: over when there is some */
    BASE_FAILS, /* the next try may do, or may not */
    BASE_LOST,  /* what it held is corrupt or gone: no try helps, it stays so */
} base_health_t;
struct base_db {
    /* one operator's sealed changes of a complete epoch; batched by the caller; only key groups in [lo, hi) */
    err_t *(*apply)(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes);
    err_t *(*get)(base_db_t *b, uint64_t fingerprint, int slot, int kg, int64_t ns, slice_t key, buf_t *ret, bool *ret_found); /* thread-safe */
    /* of n keys at once, in any order; fn is called for those found, in any order; thread-safe */
    err_t *(*get_many)(base_db_t *b, uint64_t fingerprint, int slot, const base_key_t *keys, uint32_t n,
                       err_t *(*fn)(void *arg, uint32_t i, slice_t value), void *arg);
    err_t *(*scan)(base_db_t *b, uint64_t fingerprint, int slot, int kg_lo, int kg_hi, const int64_t *ns /* NULL: all */,
                   err_t *(*fn)(void *arg, int64_t ns, slice_t key, slice_t value), void *arg);
    /* writes a checkpoint of the whole base into a fresh local directory (hard links) */
    err_t *(*checkpoint)(base_db_t *b, const char *dir);
    /* copies the key groups [lo, hi) of a checkpoint directory (another worker's or an earlier one) into this base */
    err_t *(*load)(base_db_t *b, const char *dir, int kg_lo, int kg_hi);
    void (*close)(base_db_t *b);
    /* as load, of one operator only: what a base holds for other operators in these key groups may be stale */
    err_t *(*load_op)(base_db_t *b, const char *dir, uint64_t fingerprint, int kg_lo, int kg_hi);
    /* A checkpoint directory and checkpoint storage. files: each file; `shared`: its name means the same bytes in every checkpoint of
     * this open base (an SST), so it is stored once. store: into storage, durable on return. fetch: from storage into `dir`, size
     * and checksum verified (ERR_CORRUPT names the file). */
    err_t *(*files)(base_db_t *b, const char *dir, void (*fn)(void *arg, const char *name, bool shared), void *arg);
    err_t *(*store)(base_db_t *b, const char *dir, const char *name, disk_t *disk, const char *path, uint64_t *ret_size,
                    uint32_t *ret_crc);
    err_t *(*fetch)(base_db_t *b, disk_t *disk, const base_file_t *file, const char *dir);
    void (*discard)(base_db_t *b, const char *dir); /* removes a checkpoint directory; absent is no error */
    /* A part of a scan: entries of namespace ns from (*kg, *from) on, in the order of key group and key, until fn sets *ret_more to false
     * (that entry was taken) or key group kg_hi. Then they say where to go on: *kg is kg_hi at the end. *from empty: the group's first.
     * Nothing is held between the calls. */
    err_t *(*walk)(base_db_t *b, uint64_t fingerprint, int slot, int64_t ns, int *kg, int kg_hi, buf_t *from,
                   err_t *(*fn)(void *arg, slice_t key, slice_t value, bool *ret_more), void *arg);
    /* A new file of zeros where the base has its own, which nobody else can open and which is gone when it is closed, with room for so many bytes beside
     * what the base itself may need; the room is the file's from now on (ftruncate gives back what it did not need). -1: there is none. Any thread. */
    int (*scratch)(base_db_t *b, uint64_t bytes);
    /* apply, but what it was given may not be there before settle; after an error of either nothing may be of what came since the last one. */
    err_t *(*apply_some)(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes);
    err_t *(*settle)(base_db_t *b);
    /* Set by who opened it, or NULL: once it is true load, load_op, scan and fetch return ERR_CANCELLED at their next row or block. */
    const atomic_bool *cancel;
    _Atomic(base_health_t) health; /* set by whatever thread met the error (base_ails) */
};
static inline void base_ails(base_db_t *b, base_health_t how) {
    base_health_t was = atomic_load(&b->health);
    while (was != BASE_LOST && !atomic_compare_exchange_weak(&b->health, &was, how)) {}
}
static inline void walk_behind(buf_t *from, slice_t key) { /* the first place after a key */
    buf_clear(from);
    buf_put(from, key.p, key.len);
    buf_put_u8(from, 0);
}
/* Threads: one thread applies, loads and makes checkpoints; get and scan are safe beside it from any thread. `create`: the directory
 * must not hold a base (ERR_EXISTS): a live directory is never opened again, wipe it. `memory`: a third is for memtables, the rest
 * for the block cache. */
err_t *base_wipe(const char *dir); /* removes a base directory or checkpoint; absent is no error */
err_t *base_open_rocks(const char *dir, size_t memory, bool create, base_db_t **ret);
base_db_t *base_new_memory(void); /* ordered map; checkpoint/load keep named copies in a registry of the process; BASE_LOST when told (base_ails) */

typedef struct kstate_env_conf {
    size_t memory;                 /* budget of all hot tables of this job on this worker, bytes; 0: no bound */
    err_t *(*open_base)(void *arg, base_db_t **ret); /* at first need (spill, base checkpoint) */
    void *arg;
    void (*applied)(void *arg);    /* the base has caught up: who was held may look again; the base thread; may be NULL */
} kstate_env_conf_t;
kstate_env_t *kstate_env_new(const kstate_env_conf_t *conf);
void kstate_env_free(kstate_env_t *e);
base_db_t *kstate_env_base(const kstate_env_t *e);           /* NULL when none was opened */
err_t *kstate_env_need_base(kstate_env_t *e, base_db_t **ret); /* what fails when it is opened is err_here */
/* Of the base, or of opening it. Any thread reads; who tries again forgets before what it was (what is lost stays lost), so that it is told of this try. */
base_health_t kstate_env_health(const kstate_env_t *e);
void kstate_env_health_forget(kstate_env_t *e);
epoch_t kstate_env_applied(const kstate_env_t *e);     /* last epoch the base holds completely */
void kstate_env_set_applied(kstate_env_t *e, epoch_t epoch);
/* Restore: what kstate_apply brings in counts as changed in this epoch (the manifest's): not evicted before the base has applied it.
 * Unset, restored entries stay in memory until their next change is applied. */
void kstate_env_set_restoring(kstate_env_t *e, epoch_t epoch);
size_t kstate_env_used(const kstate_env_t *e);
size_t kstate_env_spilled(const kstate_env_t *e); /* bytes of files that hold what was evicted (state/spill.h) */
void kstate_env_hold_bytes(kstate_env_t *e, int64_t delta); /* any thread: memory beside the tables that counts as theirs */
size_t kstate_env_memory(const kstate_env_t *e);
void kstate_env_set_memory(kstate_env_t *e, size_t bytes); /* any thread: what others need is taken from the hot tables */
/* Output of exactly-once sinks, from the moment a sink collects it until it is published. Above its bound sources wait (kstate_env_hold); that this
 * ends is the argument there. Any thread. */
void kstate_env_output(kstate_env_t *e, int64_t delta);
size_t kstate_env_output_bytes(const kstate_env_t *e);
size_t kstate_env_output_max(const kstate_env_t *e);
void kstate_env_set_output_max(kstate_env_t *e, size_t bytes); /* unset: no bound */
bool kstate_env_output_full(const kstate_env_t *e);
void kstate_env_set_unsealed_max(kstate_env_t *e, size_t bytes); /* any thread; see kstate_env_hold; unset: no bound */
/* fn is called, from whatever thread, whenever `used` has moved by more than `step` since its last call. Set and taken away (fn NULL) while
 * nobody uses the env. */
void kstate_env_watch(kstate_env_t *e, size_t step, void (*fn)(void *arg), void *arg);
bool kstate_env_over(const kstate_env_t *e);           /* hot tables are over budget: evict */
bool kstate_env_filling(const kstate_env_t *e);        /* they have three quarters of it: they will evict soon */
/* So near to it that what is on its way, in the queues of tasks, counts: a quarter is left, or 32 MB. */
bool kstate_env_scarce(const kstate_env_t *e);
/* Eviction found too little since the last epoch was applied: the rest is of epochs that the base does not hold yet. */
bool kstate_env_short(const kstate_env_t *e);
bool kstate_env_follows(const kstate_env_t *e);        /* some state can evict only what the base has */
int kstate_env_spill_full(const kstate_env_t *e);      /* how many: their files take no more, as there is no room on the disk, or no descriptor */
/* Sources must not poll. One reason: tables are over budget by more than an eighth, or more is unsealed than the bound and its copies on the way
 * (seal, segment, sorting) would not fit beside the tables; and an epoch that becomes complete and is applied will free memory. Never
 * true when nothing is on its way into the base: then waiting would not help, and a budget too small makes a job slow, not dead.
 * The other: more output than its bound is not published. Nothing waits for these sources but their own next row, so that they wait cannot keep
 * it from being published: barriers come from them all the same, and what is ahead of one moves on to the sinks; an epoch that was
 * injected is sealed, written, complete and published without any row to follow; what sinks have collected behind the last barrier is a
 * reason to inject the next (runtime_busy), which does not wait for its interval then (job_report_t.full); the coordinator puts it off only while
 * output of epochs before it waits for lanes (B1), and these need no barrier. So what is left is the broker; the first byte below the bound lets
 * rows come again. */
bool kstate_env_hold(const kstate_env_t *e);
size_t kstate_env_unsealed_bytes(const kstate_env_t *e);
bool kstate_env_unsealed(const kstate_env_t *e);       /* the next barrier would seal changes */
