/* kept.h: a worker's own copies of what it wrote to checkpoint storage or fetched from there: after another worker's death it restores what it had
 * from its own disk, and asks storage only for what is missing or wrong (hazards A13).
 *
 * "<data>/kept/" mirrors the paths of storage; `kept` is a disk on it (disk_open_posix). On one file system a copy is a hard link. Files of a
 * savepoint's origin are not kept: they are read once.
 *
 * Invariants
 *  1. Nothing here is believed: a table file counts when its size and checksum are the manifest's, a segment when both its checksums hold; else
 *     storage is read, and only that error is an error.
 *  2. Bounded by what a restore from the last manifest needs, the files of the last two bases and the changelog since: what else lies here when an
 *     attempt starts goes, and what an accepted base covers goes. Not before it starts: until then another manifest may be the last, whose files
 *     may be whole only here (coordinator/core/older.c). All goes with the job, and when the process starts.
 *  3. Failing to keep is no failure. Nothing is synced for it but a file's name.
 * Threads: a kept_job belongs to one thread at a time, a kept_log to one; the disk is any thread's. */
#pragma once
#include "state/disk.h"
#include "state/manifest.h"

void kept_add(disk_t *kept /* or NULL */, const char *local_path, const char *path);

/* The changelog file that is being written: give it each segment after it is durable in storage, at its byte. */
typedef struct kept_log { disk_t *kept; char *path; disk_file_t *file; uint64_t size; bool linked; } kept_log_t;
void kept_log_append(kept_log_t *l, disk_t *storage, const char *path, uint64_t at, const slice_t *pieces, size_t n);
void kept_log_close(kept_log_t *l);

/* What of one job's copies is still needed, by attempt. */
typedef struct kept_job kept_job_t;
kept_job_t *kept_job_new(disk_t *kept, const manifest_t *m, attempt_t attempt); /* which restores m */
void kept_job_started(kept_job_t *k);                        /* m is the last manifest now: removes what neither it names nor the attempt wrote */
void kept_job_free(kept_job_t *k);                           /* removes nothing; NULL is fine, as in the others */
void kept_job_extent(kept_job_t *k, const char *path, epoch_t last);
void kept_job_base(kept_job_t *k, const base_t *b);
void kept_job_accepted(kept_job_t *k, epoch_t epoch);        /* a durable manifest names the base of that epoch */
