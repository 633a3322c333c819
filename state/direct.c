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

/* The next bytes of the pieces, wherever they lie. */
typedef struct gather { const slice_t *piece; size_t at; } gather_t;
static void gather(gather_t *g, uint8_t *to, size_t n) {
    while (n > 0) {
        size_t k = MIN(n, g->piece->len - g->at);
        if (k) memcpy(to, g->piece->p + g->at, k);
        to += k;
        n -= k;
        g->at += k;
        if (g->at < g->piece->len) continue;
        g->piece++;
        g->at = 0;
    }
}

static int write_some(int fd, const uint8_t *p, size_t len, size_t *done) {
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, p + at, len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return ENOSPC;
        at += (size_t)n;
        *done += (size_t)n;
    }
    return 0;
}

/* Whole blocks, from the beginning of one on. */
static int write_blocks(int fd, uint8_t *bounce, gather_t *g, size_t len, size_t *ret_done) {
    while (len > 0) {
        size_t n = MIN(len, BOUNCE), at = 0;
        gather(g, bounce, n);
        while (at < n) {
            ssize_t k = write(fd, bounce + at, n - at);
            if (k < 0 && errno == EINTR) continue;
            if (k < 0) return refuses(errno) ? 0 : errno;
            at += (size_t)k;
            *ret_done += (size_t)k;
            if ((size_t)k % BLOCK || k == 0) return 0; /* the disk is full, as the ordinary way will find */
        }
        len -= n;
    }
    return 0;
}

int direct_append(int fd, uint64_t size, const slice_t *pieces, size_t n, size_t *ret_done) {
    size_t head = (size_t)(-size & (BLOCK - 1)), len = 0;
    *ret_done = 0;
    for (size_t i = 0; i < n; i++) len += pieces[i].len;
    AUTO(auto_free) uint8_t *bounce = len >= DIRECT_MIN ? bounce_new(len) : NULL;
    if (!bounce) return 0;
    gather_t g = {pieces, 0};
    gather(&g, bounce, head);
    int no = write_some(fd, bounce, head, ret_done), flags = fcntl(fd, F_GETFL);
    if (no || flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) return no;
    no = write_blocks(fd, bounce, &g, (len - head) & ~(BLOCK - 1), ret_done);
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
