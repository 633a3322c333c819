/* direct.h: large pieces of files go past the page cache. A changelog is written once and read once or twice, a gigabyte between two bases: in the
 * cache each of its bytes takes a fresh page, whose making costs ten times the copy into it where the machine is virtual and free memory is the
 * host's, and pushes out what others read again. A hint: where a file system refuses, nothing is written or read here, and the caller goes on
 * the ordinary way from where it ended. What is in the cache and what is on its way past it are never the same block of the file.
 * Thread: the file's. Returns 0 or errno. */
#pragma once
#include "common/buf.h"

#define DIRECT_MIN ((size_t)1 << 20) /* smaller pieces are not worth a wait for the disk, or are read again soon */

/* fd is open for appending, and the file has `size` bytes. *ret_done: so many of the first bytes of the pieces were written. */
int direct_append(int fd, uint64_t size, const slice_t *pieces, size_t n, size_t *ret_done);
/* Bytes [from, from + len) of the file come behind ret, which has room; all, or as far as that goes. */
int direct_read(const char *full_path, uint64_t from, uint64_t len, buf_t *ret);
