/* memory.h: where the one --memory budget goes, and the thread that keeps to it. The budget is RSS, of the whole process.
 *
 * Invariants
 *  1. Every share is decided here (memory_shares; the table is in docs/operations.md). What is not given away belongs to the hot tables.
 *  2. Hot tables get the budget, less a reserve of an eighth, less what the rest of the process was seen to need of late (RSS without the
 *     hot tables, its peak fading over some ten seconds), but never less than an eighth of the budget: a budget too small makes a job
 *     slow, not dead.
 *  3. Jobs share it by need: who needs less than an equal part keeps that, the others divide the rest equally, so that no job's
 *     changes starve another.
 *  4. The allocator belongs to the budget: few arenas, and from half the budget on what is freed goes back to the system.
 *  5. What a table has over its share is evicted by its task (kstate_evict); what cannot be, for it is not in the base yet, holds the
 *     sources (kstate_env_hold) and calls the base thread.
 * Threads: memory_shares, memory_hot and memory_divide are pure; add, remove and state from any thread; a thread of its own measures. */
#pragma once
#include "state/kstate_env.h"

#define MEMORY_LOOK_MS 25         /* near the budget, or while what the process has moves; .. */
#define MEMORY_LOOK_SELDOM_MS 200 /* .. else. Tables that move by a 64th of the budget have it look at once */

typedef struct memory_shares {
    size_t base;         /* RocksDB of all jobs: a third memtables, the rest block cache */
    size_t apply_round;  /* changes the applier sorts at once; sorting takes half as much again */
    size_t unsealed;     /* changes of one epoch, when tables are not far from their share: sources wait for the barrier */
    size_t output;       /* of exactly-once sinks, not published yet: sources wait above it */
    size_t transaction;  /* what a lane gives the Kafka client at once, which holds some hundred bytes more for each record */
    uint64_t changelog;  /* bytes of changelog between two bases, per worker and job: a restore reads them into memory */
    uint64_t changelog_most; /* of a state of two thirds of this or more */
} memory_shares_t;
memory_shares_t memory_shares(uint64_t budget);

/* What the hot tables may have now. *others is the memory of all else, a fading peak kept by the caller (0 at first). */
size_t memory_hot(uint64_t budget, uint64_t rss, size_t hot, uint64_t *others);
/* When to look again: `last` was the wait before, `moved` the distance of rss from the look before. */
int64_t memory_wait_ms(uint64_t budget, uint64_t rss, uint64_t moved, int64_t last);
void memory_divide(size_t total, int n, const size_t *used, size_t *ret);

typedef struct memory memory_t;
typedef struct memory_conf {
    uint64_t budget;
    uint64_t (*rss)(void);
    void (*pressed)(void *arg); /* tables are over their share and nothing can be evicted: bring complete epochs into the base */
    void *arg;
} memory_conf_t;
err_t *memory_new(const memory_conf_t *conf, memory_t **ret);
void memory_free(memory_t *m); /* joins */
void memory_add(memory_t *m, kstate_env_t *e);
void memory_remove(memory_t *m, kstate_env_t *e); /* e may be freed on return */
/* No job is left: what the allocator keeps goes back to the system. Takes some ms for each GB. */
void memory_idle(void);
