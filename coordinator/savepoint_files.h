/* savepoint_files.h: a savepoint as a directory: MANIFEST.json and every file it names, under the names the manifest has. The
 * manifest is written last: a directory without it is not a savepoint. May take long; any thread. */
#pragma once
#include "state/disk.h"
#include "state/manifest.h"

/* `target`: a directory of this machine ("/..", "file:///.."), else a path within the storage. One that holds the savepoint of another epoch is refused. */
err_t *savepoint_copy(disk_t *storage, const manifest_t *m, const char *target);
/* Brings the files into the storage as the new job's own and names them so in *ret: "jobs/<origin>@<job>/..": an own copy, so that neither
 * job's garbage is the other's. May be repeated. */
err_t *savepoint_restore(disk_t *storage, const char *from, job_id_t job, manifest_t **ret);
