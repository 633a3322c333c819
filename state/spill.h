/* spill.h: what a table evicted, by hash, in files without a name beside the base: a key that comes again costs a short read instead of
 * the base's way through runs, filters, indexes and blocks. Whether the base has it, too, is the table's affair (kstate_near.c).
 *
 * What one eviction puts becomes a run: pages of entries in the order of (upper half of the hash, key), the first hash of each page in memory.
 * So a look is a filter for each run, a search among first hashes, a read of one page, a search in it. Runs of like size are merged
 * into one, a large one a portion with each run that is written, so that no eviction waits for all of it. Markers are what a table says of keys that
 * it has no value to tell of.
 * Invariants
 *  1. A value it gives is the last that was put for the key. So who evicts a key puts it each time, or a marker; and who forgets one puts a marker.
 *  2. Where there is no room (on the disk, or in memory for the index; or merging does not keep up) it is closed: it takes no more, and tells
 *     all that was put. What could not be written stays in memory: a buffer at most. For good, but for a disk without room (spill_again).
 *  3. A page that cannot be read, or is not as it was written, loses all of it, for good: everything is unknown, and spill_lost says so.
 *  4. Keys that were put between spill_begin and spill_end are not asked for before spill_end.
 * Memory: four bytes for a page of 1 kB, filters as far as they are allowed (the oldest run's only where keys come that were never put), and in an
 * eviction its buffer. Thread: the owning task's. */
#pragma once
#include "common/base.h"

#define SPILL_PAGE 1024u
typedef struct spill spill_t;
/* file(arg, bytes) is a new file that nobody else has, open for reading and writing, with room for so many (it may be as large already: what is not needed
 * is given back); -1: there is none. arg outlives the spill. */
spill_t *spill_new(int slot /* of the state, for its hashes */, int (*file)(void *arg, uint64_t bytes), void *arg);
void spill_free(spill_t *s);
typedef struct spill_room { /* bytes */
    size_t buffer;  /* puts that make a run */
    size_t filters; /* of all runs; one that has no room is looked into for each key */
    size_t index;   /* first hashes of pages; more than that, and it is closed */
} spill_room_t;
void spill_begin(spill_t *s, const spill_room_t *room);
/* value.p NULL, or of more than fits: a marker. It must be open, or lost: then nothing comes of it. */
void spill_put(spill_t *s, uint64_t hash /* state_hash */, slice_t key, slice_t value);
void spill_put_unknown(spill_t *s, uint64_t hash, slice_t key); /* a marker, for a value that is not worth being asked for */
void spill_end(spill_t *s);
bool spill_open(const spill_t *s); /* neither closed nor lost */
bool spill_lost(const spill_t *s);
void spill_give_up(spill_t *s);    /* it is lost */
bool spill_refused(const spill_t *s); /* it was closed since there was no file for it, or no room in one */
void spill_again(spill_t *s);      /* a lost one that was refused: it is open, and knows of nothing that was put before; never whole */
void spill_prefetch(const spill_t *s, uint64_t hash); /* before spill_get; s may be NULL */
/* false: unknown. The value lies in `page`, the caller's. s may be NULL. */
bool spill_get(spill_t *s, uint64_t hash, slice_t key, uint8_t page[SPILL_PAGE], slice_t *ret);
/* Nothing was put that it cannot keep, and nothing is lost: a key that spill_get does not know was never put, or last with a value of NULL. */
bool spill_whole(const spill_t *s);
size_t spill_value_most(void); /* of a key of no length; longer ones become markers */
size_t spill_bytes(const spill_t *s); /* memory it takes; 0 for NULL */
size_t spill_file_bytes(const spill_t *s); /* of all runs, once a merge is over; 0 for NULL */
int spill_runs(const spill_t *s);
