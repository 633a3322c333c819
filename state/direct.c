/* direct.c: see direct.h. The ends of a piece that are no whole block go the ordinary way: no block is written twice, so what is durable in the last
 * one stays as it is. */
#include "state/direct.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK ((size_t)4096)
#define BOUNCE ((size_t)4 << 20) /* what the disk reads and writes is aligned memory, and each piece is waited for */

static void auto_close(int *fd) {
    if (*fd >= 0) close(*fd);
}

static uint8_t *bounce_new(uint64_t bytes) { return aligned_alloc(BLOCK, (size_t)MIN((bytes + 2 * BLOCK) & ~(uint64_t)(BLOCK - 1), (uint64_t)BOUNCE)); }

/* The file system, or its disk, has no such way, or not with blocks of this size. */
static bool refuses(int no) { return no == EINVAL || no == EOPNOTSUPP || no == ENOTSUP || no == ENOLCK; }

static int write_some(int fd, const uint8_t *p, size_t len, size_t *done) {
    while (*done < len) {
        ssize_t n = write(fd, p + *done, len - *done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return ENOSPC;
        *done += (size_t)n;
    }
    return 0;
}

/* Whole blocks, from the beginning of one on. */
static int write_blocks(int fd, const uint8_t *p, size_t len, size_t *ret_done) {
    AUTO(auto_free) uint8_t *bounce = bounce_new(len);
    if (!bounce) return 0;
    while (*ret_done < len) {
        size_t n = MIN(len - *ret_done, BOUNCE);
        memcpy(bounce, p + *ret_done, n);
        ssize_t k = write(fd, bounce, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return refuses(errno) ? 0 : errno;
        *ret_done += (size_t)k;
        if ((size_t)k % BLOCK) return 0; /* the disk is full, as the ordinary way will find */
    }
    return 0;
}

int direct_append(int fd, uint64_t size, slice_t bytes, size_t *ret_done) {
    size_t head = (size_t)(-size & (BLOCK - 1));
    *ret_done = 0;
    if (bytes.len < DIRECT_MIN) return 0;
    int no = write_some(fd, bytes.p, head, ret_done), flags = fcntl(fd, F_GETFL);
    if (no || flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) return no;
    size_t body = 0;
    no = write_blocks(fd, bytes.p + head, (bytes.len - head) & ~(BLOCK - 1), &body);
    *ret_done += body;
    return fcntl(fd, F_SETFL, flags) != 0 && !no ? errno : no;
}

int direct_read(const char *full_path, uint64_t from, uint64_t len, buf_t *ret) {
    if (len < DIRECT_MIN) return 0;
    AUTO(auto_close) int fd = open(full_path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    AUTO(auto_free) uint8_t *bounce = fd >= 0 ? bounce_new(len) : NULL;
    if (!bounce) return 0; /* whoever reads it the ordinary way says why, if that does not do either */
    for (uint64_t left = len; left > 0;) {
        size_t skip = (size_t)(from & (BLOCK - 1));
        ssize_t n = pread(fd, bounce, MIN((left + skip + BLOCK - 1) & ~(uint64_t)(BLOCK - 1), (uint64_t)BOUNCE), (off_t)(from - skip));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return refuses(errno) ? 0 : errno;
        if ((size_t)n <= skip) return 0; /* it ends here */
        size_t take = (size_t)MIN(left, (uint64_t)n - skip);
        buf_put(ret, bounce + skip, take);
        from += take;
        left -= take;
    }
    return 0;
}
