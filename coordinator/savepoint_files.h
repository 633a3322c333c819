/* savepoint_files.h: a savepoint as a directory.
 *
 *   BEGUN.json     created first, exclusively: whose it is (job, incarnation, epoch)
 *   jobs/<origin>@<leader>[.<serial>]/..   the files, under names that only this leader writes
 *   MANIFEST.json  written last, and names them: a directory without it is not a savepoint
 *
 * Nothing that another process may have written is ever removed or written over, but MANIFEST.json by one of the same epoch: a leader that was
 * deposed and wakes up in the middle of a copy spoils nothing, neither its successor's copy of the same epoch nor a savepoint of another one.
 * For that `look` asks, after BEGUN.json is written, before each file and before MANIFEST.json, whether we still lead. Who leads next finds the
 * BEGUN.json of any copy that may still get a manifest, and refuses the directory for another epoch; a BEGUN.json written later than that
 * is followed by a `look` that says no. (Of a disk it takes a create that is exclusive, append, sync, read, and a put that is atomic: no rename.)
 *
 * Every file is checked while it is copied, in both directions, with what the manifest says of it (a base file's checksum, the segments of the
 * extents): ERR_CORRUPT names the first that is damaged, and there is no MANIFEST.json, or no job. Damage outside of the extents is nobody's.
 *
 * May take long; any thread; memory for a piece of a file. */
#pragma once
#include "state/disk.h"
#include "state/manifest.h"

/* look: NULL: go on. An error ends the copy and is its result. moved (or NULL): a piece was written, or is known to be on the disk. */
typedef struct savepoint_guard { err_t *(*look)(void *arg); void (*moved)(void *arg); void *arg; } savepoint_guard_t;

/* `target`: a directory of this machine ("/..", "file:///.."), else a path within the storage. Can it be written, and is nothing there yet? */
err_t *savepoint_check(disk_t *storage, const char *target);
/* `leader`: ours. `serial`: so many of its copies were given up and may wake up; like the leader it is in the names, so that no two copies that run
 * write the same. One that holds the savepoint of another epoch, or the beginning of one, is refused. The same epoch may be copied again. */
err_t *savepoint_copy(disk_t *storage, const manifest_t *m, uint64_t leader, uint32_t serial, const char *target, savepoint_guard_t guard);
/* What it says, without the files. */
err_t *savepoint_read(disk_t *storage, const char *from, manifest_t **ret);
/* Brings the files into the storage as the new job's own and names them so in *ret: "jobs/<origin>@<job>.<leader>/..": an own copy, so that neither
 * job's garbage is the other's, and of this leader, so that one that was deposed in the middle neither removes nor goes on writing what its
 * successor's manifests name. May be repeated; after an error nothing of it is left. */
err_t *savepoint_restore(disk_t *storage, const char *from, job_id_t job, uint64_t leader, savepoint_guard_t guard, manifest_t **ret);
