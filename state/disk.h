/* disk.h: the file operations the durable parts use, as a table: the real one (state/disk_posix.c) and the simulator's, which tears
 * tails, loses unsynced writes and fails with ENOSPC and EIO. Paths are relative to the root given at construction, '/' separated. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

typedef struct disk disk_t;
typedef struct disk_file disk_file_t; /* open for appending */
/* name: relative to the directory that was listed, borrowed; modified_ms: wall clock of the last write, as the file system keeps it */
typedef void (*disk_found_fn)(void *arg, const char *name, uint64_t size, int64_t modified_ms);
struct disk {
    err_t *(*create)(disk_t *d, const char *path, disk_file_t **ret); /* exclusively; makes directories; syncs the directory */
    err_t *(*append)(disk_t *d, disk_file_t *f, slice_t bytes);
    err_t *(*sync)(disk_t *d, disk_file_t *f); /* after an error the file must be abandoned (fsyncgate) */
    void (*close)(disk_t *d, disk_file_t *f);
    err_t *(*read)(disk_t *d, const char *path, uint64_t from, uint64_t len /* UINT64_MAX: to the end */, buf_t *ret);
    /* whole file, atomically: write aside, sync, rename, sync directory. After an error what was there before is there again, but a
     * machine that crashes may come up with the new file, unless it is ERR_NO_SPACE or ERR_DENIED */
    err_t *(*put)(disk_t *d, const char *path, slice_t bytes);
    err_t *(*remove)(disk_t *d, const char *path); /* absent is no error */
    /* names (relative to dir) of files below it, recursive, sorted; calls fn for each. Removes what a put that died left aside */
    err_t *(*list)(disk_t *d, const char *dir, disk_found_fn fn, void *arg);
    /* brings a local file (absolute path) into the store under `path`: hard link or copy, durable on return */
    err_t *(*import)(disk_t *d, const char *local_path, const char *path);
    err_t *(*export)(disk_t *d, const char *path, const char *local_path);
    void (*free)(disk_t *d);
    const char *(*where)(disk_t *d); /* for messages: "/var/lib/tidegate/checkpoints" */
    /* names of the directories right in it, in any order; absent is none. What lies below them is not looked at */
    err_t *(*dirs)(disk_t *d, const char *dir, void (*fn)(void *arg, const char *name), void *arg);
    err_t *(*append_all)(disk_t *d, disk_file_t *f, const slice_t *pieces, size_t n); /* one behind the other; NULL: by append, one by one */
};
err_t *disk_append_all(disk_t *d, disk_file_t *f, const slice_t *pieces, size_t n);
err_t *disk_open_posix(const char *root, bool create, disk_t **ret);
/* For what is removed when the process ends: made when absent, and nothing is synced. "Durable" is only until the machine crashes. */
err_t *disk_open_scratch(const char *root, disk_t **ret);
/* "file:///path" or a plain path; "s3://" is refused with ERR_UNSUPPORTED until it is built. Checks that it can be written. */
err_t *disk_open_uri(const char *uri, disk_t **ret);
