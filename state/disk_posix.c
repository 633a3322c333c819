/* disk_posix.c: the file operations of state/disk.h on a POSIX file system.
 *
 * What "durable on return" costs and why:
 *  - a new name is durable only after fsync of its directory, and each directory after fsync of its parent. A directory that is there
 *    may have been made by a process that died before it synced: it is trusted once this process has synced its parent itself;
 *  - put() writes aside under a name that list() hides, so a crash leaves the old file or the new one; when the directory cannot be
 *    synced the old file comes back, so that nobody builds on what a crash may take away. What a crash leaves aside is removed when the
 *    directory is opened as a root or listed, an hour after it was written or linked: whoever wrote it may be another host's process;
 *  - a failed fdatasync may have dropped the pages it was asked to keep, so the second call's success means nothing:
 *    after an error the file refuses everything but close (fsyncgate). */
#include "state/disk.h"
#include "state/direct.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE_PREFIX ".aside-"
#define PATH_DEPTH_MAX 16
#define ASIDE_MS ((int64_t)3600 * 1000)

typedef struct posix_disk {
    disk_t vt;
    char *root;
    bool forgets; /* nothing is synced */
    uint64_t aside; /* atomic: names of files written aside */
    pthread_mutex_t lock; /* guards durable */
    map_t *durable; /* directories whose name, and those of all above, this process knows to be synced */
} posix_disk_t;

struct disk_file {
    int fd;
    uint64_t size;
    bool broken;
    char *path; /* relative, for messages */
};

static posix_disk_t *self_of(disk_t *d) { return CONTAINER_OF(d, posix_disk_t, vt); }

static void auto_close(int *fd) {
    if (*fd >= 0) close(*fd);
}

/* Paths come from manifests and messages: they must stay below the root. */
static err_t *path_check(const char *path) {
    if (path[0] == '\0' || path[0] == '/') return err_new(ERR_INVALID, "storage path '%s' is not relative", path);
    for (const char *p = path; p && *p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return err_new(ERR_INVALID, "storage path '%s' leaves the storage directory", path);
    return NULL;
}

static char *full_path(const posix_disk_t *d, const char *path) {
    return path[0] ? xprintf("%s/%s", d->root, path) : xstrdup(d->root);
}

static char *dir_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == path ? xstrdup("/") : slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
}

static int flush(const posix_disk_t *d, int fd) { return d->forgets ? 0 : fsync(fd); }

static err_t *sync_dir(const posix_disk_t *d, const char *dir) {
    AUTO(auto_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_from_errno(errno, "%s: cannot open directory", dir);
    if (flush(d, fd) != 0) return err_from_errno(errno, "%s: cannot sync directory", dir);
    return NULL;
}

static bool is_durable(posix_disk_t *d, const char *dir) {
    pthread_mutex_lock(&d->lock);
    bool yes = map_get_str(d->durable, dir) != NULL;
    pthread_mutex_unlock(&d->lock);
    return yes;
}

static void set_durable(posix_disk_t *d, const char *dir) {
    pthread_mutex_lock(&d->lock);
    map_put_str(d->durable, dir, d);
    pthread_mutex_unlock(&d->lock);
}

static bool refuses_to_sync(int no) {
    return no == EROFS || no == EINVAL || no == ENOSYS || no == EOPNOTSUPP || no == EPERM || no == EACCES || no == EBADF;
}

/* Of a directory that was there before us, which its maker may have left unsynced. Where that is not possible (no right to read it, a file system
 * that is read-only or has no such call) it is not refused for it: such a parent is the system's, mostly, and as old. It is said, once. A mount
 * point has its name from the system, which makes it anew at each start. */
static err_t *sync_found(const posix_disk_t *d, const char *parent, const struct stat *st) {
    struct stat up;
    if (stat(parent, &up) == 0 && up.st_dev != st->st_dev) return NULL;
    AUTO(auto_close) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flush(d, fd) == 0) return NULL;
    int no = errno;
    if (!refuses_to_sync(no)) return err_from_errno(no, fd < 0 ? "%s: cannot open directory" : "%s: cannot sync directory", parent);
    log_line(LOG_INFO, "directory not synced", "dir=%s reason=\"%s\": what is in it is taken to be durable", parent, strerrordesc_np(no));
    return NULL;
}

/* Makes `dir` and its parents, each durable. */
static err_t *make_dirs(posix_disk_t *d, const char *dir, int depth) {
    struct stat st;
    bool there = stat(dir, &st) == 0;
    if (there && !S_ISDIR(st.st_mode)) return err_new(ERR_IO, "%s: is not a directory", dir);
    if (!there && errno != ENOENT) return err_from_errno(errno, "%s: cannot look up", dir);
    if (there && is_durable(d, dir)) return NULL;
    if (depth >= 256) return err_new(ERR_INVALID, "%s: directories too deep", dir);
    AUTO(auto_free) char *parent = dir_of(dir);
    if (strcmp(parent, dir) != 0) {
        TRY(make_dirs(d, parent, depth + 1));
        if (!there && mkdir(dir, 0777) != 0 && errno != EEXIST) return err_from_errno(errno, "%s: cannot make directory", dir);
        TRY(there ? sync_found(d, parent, &st) : sync_dir(d, parent));
    }
    set_durable(d, dir);
    return NULL;
}

static err_t *make_parent(posix_disk_t *d, const char *full) {
    AUTO(auto_free) char *dir = dir_of(full);
    return make_dirs(d, dir, 0);
}

static err_t *sync_parent(const posix_disk_t *d, const char *full) {
    AUTO(auto_free) char *dir = dir_of(full);
    return sync_dir(d, dir);
}

static err_t *write_all(int fd, const char *path, const uint8_t *p, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, p, MIN(len, (size_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno(errno, "%s: cannot write %zu bytes", path, len);
        if (n == 0) return err_new(ERR_NO_SPACE, "%s: nothing more can be written, %zu bytes left", path, len);
        p += n;
        len -= (size_t)n;
    }
    return NULL;
}

static err_t *posix_create(disk_t *vt, const char *path, disk_file_t **ret) {
    posix_disk_t *d = self_of(vt);
    TRY(path_check(path));
    AUTO(auto_free) char *full = full_path(d, path);
    TRY(make_parent(d, full));
    AUTO(auto_close) int fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) return err_new(ERR_EXISTS, "%s: exists already", full);
    if (fd < 0) return err_from_errno(errno, "%s: cannot create", full);
    err_t *e = sync_parent(d, full);
    if (e) {
        unlink(full); /* nobody has heard of it */
        return e;
    }
    disk_file_t *f = xcalloc(1, sizeof *f);
    f->fd = fd;
    f->path = TAKE(full);
    fd = -1;
    *ret = f;
    return NULL;
}

static err_t *posix_append_all(disk_t *vt, disk_file_t *f, const slice_t *pieces, size_t n) {
    if (f->broken) return err_new(ERR_IO, "%s: was abandoned after an earlier error", f->path);
    size_t done, len = 0;
    for (size_t i = 0; i < n; i++) len += pieces[i].len;
    int no = direct_append(f->fd, f->size, pieces, n, &done);
    err_t *e = no ? err_from_errno(no, "%s: cannot write %zu bytes", f->path, len - done) : NULL;
    for (size_t i = 0; i < n && !e; i++) {
        size_t skip = MIN(done, pieces[i].len);
        done -= skip;
        e = write_all(f->fd, f->path, pieces[i].p + skip, pieces[i].len - skip);
    }
    if (e) f->broken = true;
    else f->size += len;
    return e;
}
static err_t *posix_append(disk_t *vt, disk_file_t *f, slice_t bytes) { return posix_append_all(vt, f, &bytes, 1); }

err_t *disk_append_all(disk_t *d, disk_file_t *f, const slice_t *pieces, size_t n) {
    if (d->append_all) return d->append_all(d, f, pieces, n);
    for (size_t i = 0; i < n; i++) TRY(d->append(d, f, pieces[i]));
    return NULL;
}

static err_t *posix_sync(disk_t *vt, disk_file_t *f) {
    if (f->broken) return err_new(ERR_IO, "%s: was abandoned after an earlier error", f->path);
    if (self_of(vt)->forgets || fdatasync(f->fd) == 0) return NULL;
    f->broken = true;
    return err_from_errno(errno, "%s: cannot sync", f->path);
}

static void posix_close(disk_t *vt, disk_file_t *f) {
    if (!f) return;
    close(f->fd);
    free(f->path);
    free(f);
}

static err_t *posix_read(disk_t *vt, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    TRY(path_check(path));
    AUTO(auto_free) char *full = full_path(self_of(vt), path);
    AUTO(auto_close) int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return err_new(ERR_NOT_FOUND, "%s: does not exist", full);
    if (fd < 0) return err_from_errno(errno, "%s: cannot open", full);
    struct stat st;
    if (fstat(fd, &st) != 0) return err_from_errno(errno, "%s: cannot look up", full);
    uint64_t size = (uint64_t)st.st_size;
    uint64_t want = from >= size ? 0 : MIN(len, size - from);
    if (len != UINT64_MAX && want < len)
        return err_new(ERR_CORRUPT, "%s: byte %" PRIu64 ": the file ends, %" PRIu64 " more bytes were expected", full,
                       size, len - want);
    if (!buf_reserve(ret, want))
        return err_new(ERR_LIMIT, "%s: %" PRIu64 " bytes are more than the reader takes", full, want);
    size_t before = ret->len;
    int no = direct_read(full, from, want, ret);
    if (no) return err_from_errno(no, "%s: byte %" PRIu64 ": cannot read", full, from + (ret->len - before));
    from += ret->len - before;
    want -= ret->len - before;
    while (want > 0) {
        ssize_t n = pread(fd, ret->data + ret->len, MIN(want, (uint64_t)1 << 30), (off_t)from);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno(errno, "%s: byte %" PRIu64 ": cannot read", full, from);
        if (n == 0) return err_new(ERR_CORRUPT, "%s: byte %" PRIu64 ": the file was cut while it was read", full, from);
        ret->len += (size_t)n;
        from += (uint64_t)n;
        want -= (uint64_t)n;
    }
    return NULL;
}

/* A name beside `full` for a file that is not there yet. */
static char *aside_name(posix_disk_t *d, const char *full) {
    AUTO(auto_free) char *dir = dir_of(full);
    uint64_t n = __atomic_fetch_add(&d->aside, 1, __ATOMIC_RELAXED);
    return xprintf("%s/" ASIDE_PREFIX "%d-%" PRIu64 "-%s", dir, (int)getpid(), n, strrchr(full, '/') + 1);
}

static err_t *write_aside(const posix_disk_t *d, const char *aside, slice_t bytes) {
    AUTO(auto_close) int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return err_from_errno(errno, "%s: cannot create", aside);
    TRY(write_all(fd, aside, bytes.p, bytes.len));
    if (flush(d, fd) != 0) return err_from_errno(errno, "%s: cannot sync", aside);
    return NULL;
}

/* Moves `aside` to `full` durably, or leaves what was there: `kept` is its second name, where the file system can give one. */
static err_t *replace(const posix_disk_t *d, const char *aside, const char *full, const char *kept) {
    bool fresh = link(full, kept) != 0 && errno == ENOENT;
    err_t *e = NULL;
    if (rename(aside, full) != 0) {
        e = err_from_errno(errno, "%s: cannot rename to it", full);
        unlink(aside);
    } else if ((e = sync_parent(d, full)) != NULL) {
        bool undone = fresh ? unlink(full) == 0 : rename(kept, full) == 0;
        err_t *why = e; /* not ERR_NO_SPACE: a crash may still bring the new one back */
        e = err_new(ERR_IO, "%s%s", err_text(why), undone ? "" : "; the new file is in place and may be lost in a crash");
        err_free(why);
    }
    unlink(kept);
    return e;
}

static err_t *posix_put(disk_t *vt, const char *path, slice_t bytes) {
    posix_disk_t *d = self_of(vt);
    TRY(path_check(path));
    AUTO(auto_free) char *full = full_path(d, path);
    TRY(make_parent(d, full));
    AUTO(auto_free) char *aside = aside_name(d, full);
    AUTO(auto_free) char *kept = aside_name(d, full);
    err_t *e = write_aside(d, aside, bytes);
    if (!e) return replace(d, aside, full, kept);
    unlink(aside);
    return e;
}

static err_t *posix_remove(disk_t *vt, const char *path) {
    TRY(path_check(path));
    AUTO(auto_free) char *full = full_path(self_of(vt), path);
    if (unlink(full) != 0 && errno != ENOENT && errno != ENOTDIR)
        return err_from_errno(errno, "%s: cannot remove", full);
    return NULL;
}

/* ------------------------------------------------------------------ list */
typedef struct listed { char *name; uint64_t size; int64_t modified_ms; } listed_t;
typedef struct listing { listed_t *items; size_t n, cap; } listing_t;

static void listing_free(listing_t *l) {
    for (size_t i = 0; i < l->n; i++) free(l->items[i].name);
    free(l->items);
}

static int listed_cmp(const void *a, const void *b) {
    return strcmp(((const listed_t *)a)->name, ((const listed_t *)b)->name);
}

static err_t *list_into(listing_t *l, const char *full, const char *rel, int depth);

static bool is_aside(const char *name) { return strncmp(name, ASIDE_PREFIX, sizeof ASIDE_PREFIX - 1) == 0; }

/* By the time of its last change, which a link sets, too: the content of a second name may be old. Whether it worked does not matter. */
static void sweep_aside(const char *path, const struct stat *st) {
    if (clock_wall_ms() - ((int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000) > ASIDE_MS) unlink(path);
}

static void sweep_root(const char *root) {
    DIR *dir = opendir(root);
    for (struct dirent *de; dir && (de = readdir(dir));) {
        AUTO(auto_free) char *path = is_aside(de->d_name) ? xprintf("%s/%s", root, de->d_name) : NULL;
        struct stat st;
        if (path && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) sweep_aside(path, &st);
    }
    if (dir) closedir(dir);
}

static err_t *list_one(listing_t *l, const char *full, const char *rel, const char *name, int depth) {
    AUTO(auto_free) char *path = xprintf("%s/%s", full, name);
    AUTO(auto_free) char *sub = rel[0] ? xprintf("%s/%s", rel, name) : xstrdup(name);
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? NULL : err_from_errno(errno, "%s: cannot look up", path);
    if (S_ISDIR(st.st_mode)) return list_into(l, path, sub, depth + 1);
    if (!S_ISREG(st.st_mode)) return NULL;
    if (is_aside(name)) return sweep_aside(path, &st), NULL;
    if (l->n == l->cap) l->items = xrealloc(l->items, (l->cap = l->cap ? 2 * l->cap : 64) * sizeof *l->items);
    l->items[l->n++] = (listed_t){TAKE(sub), (uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000};
    return NULL;
}

static err_t *list_into(listing_t *l, const char *full, const char *rel, int depth) {
    if (depth > PATH_DEPTH_MAX) return err_new(ERR_LIMIT, "%s: directories too deep", full);
    DIR *dir = opendir(full);
    if (!dir) return errno == ENOENT ? NULL : err_from_errno(errno, "%s: cannot list", full);
    err_t *e = NULL;
    for (struct dirent *de; !e && (errno = 0, de = readdir(dir));)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            e = list_one(l, full, rel, de->d_name, depth);
    if (!e && errno != 0) e = err_from_errno(errno, "%s: cannot list", full);
    closedir(dir);
    return e;
}

static err_t *posix_list(disk_t *vt, const char *dir, disk_found_fn fn, void *arg) {
    if (dir[0]) TRY(path_check(dir));
    AUTO(auto_free) char *full = full_path(self_of(vt), dir);
    AUTO(listing_free) listing_t l = {0};
    TRY(list_into(&l, full, "", 0));
    if (l.n) qsort(l.items, l.n, sizeof *l.items, listed_cmp);
    for (size_t i = 0; i < l.n; i++) fn(arg, l.items[i].name, l.items[i].size, l.items[i].modified_ms);
    return NULL;
}

static err_t *posix_dirs(disk_t *vt, const char *dir, void (*fn)(void *arg, const char *name), void *arg) {
    TRY(path_check(dir));
    AUTO(auto_free) char *full = full_path(self_of(vt), dir);
    DIR *d = opendir(full);
    if (!d) return errno == ENOENT ? NULL : err_from_errno(errno, "%s: cannot list", full);
    for (struct dirent *de; (errno = 0, de = readdir(d));) {
        AUTO(auto_free) char *path = xprintf("%s/%s", full, de->d_name);
        struct stat st;
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 && lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) fn(arg, de->d_name);
    }
    err_t *e = errno ? err_from_errno(errno, "%s: cannot list", full) : NULL;
    closedir(d);
    return e;
}

/* ------------------------------------------------------------------ import, export */
static err_t *copy_file(const posix_disk_t *d, const char *from, const char *to) {
    AUTO(auto_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0 && errno == ENOENT) return err_new(ERR_NOT_FOUND, "%s: does not exist", from);
    if (in < 0) return err_from_errno(errno, "%s: cannot open", from);
    AUTO(auto_close) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) return err_from_errno(errno, "%s: cannot create", to);
    AUTO(auto_free) uint8_t *block = xmalloc(1 << 18);
    for (;;) {
        ssize_t n = read(in, block, 1 << 18);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno(errno, "%s: cannot read", from);
        if (n == 0) break;
        TRY(write_all(out, to, block, (size_t)n));
    }
    if (flush(d, out) != 0) return err_from_errno(errno, "%s: cannot sync", to);
    return NULL;
}

static err_t *sync_file(const posix_disk_t *d, const char *path) {
    AUTO(auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_from_errno(errno, "%s: cannot open", path);
    if (flush(d, fd) != 0) return err_from_errno(errno, "%s: cannot sync", path);
    return NULL;
}

static bool link_impossible(int no) {
    return no == EXDEV || no == EPERM || no == EMLINK || no == EOPNOTSUPP || no == EACCES;
}

/* Link or copy under a name aside, then rename: `to` is whole or absent, and an older file of this name is replaced. */
static err_t *link_or_copy(posix_disk_t *d, const char *from, const char *to) {
    TRY(make_parent(d, to));
    AUTO(auto_free) char *aside = aside_name(d, to);
    err_t *e;
    if (link(from, aside) == 0) e = sync_file(d, aside);
    else if (errno == ENOENT) return err_new(ERR_NOT_FOUND, "%s: does not exist", from);
    else if (link_impossible(errno)) e = copy_file(d, from, aside);
    else e = err_from_errno(errno, "%s: cannot link to %s", from, to);
    if (!e && rename(aside, to) != 0) e = err_from_errno(errno, "%s: cannot rename to it", to);
    unlink(aside); /* rename of two links to one file keeps both: this removes what is left */
    if (e) return e;
    return sync_parent(d, to);
}

static err_t *posix_import(disk_t *vt, const char *local_path, const char *path) {
    TRY(path_check(path));
    AUTO(auto_free) char *full = full_path(self_of(vt), path);
    return link_or_copy(self_of(vt), local_path, full);
}

static err_t *posix_export(disk_t *vt, const char *path, const char *local_path) {
    TRY(path_check(path));
    if (local_path[0] != '/') return err_new(ERR_INVALID, "local path '%s' is not absolute", local_path);
    AUTO(auto_free) char *full = full_path(self_of(vt), path);
    return link_or_copy(self_of(vt), full, local_path);
}

/* ------------------------------------------------------------------ open */
static void posix_free(disk_t *vt) {
    if (!vt) return;
    posix_disk_t *d = self_of(vt);
    map_free(d->durable, NULL);
    pthread_mutex_destroy(&d->lock);
    free(d->root);
    free(d);
}

static const char *posix_where(disk_t *vt) { return self_of(vt)->root; }

static err_t *open_root(posix_disk_t *d, bool create) {
    if (create) TRY(make_dirs(d, d->root, 0));
    struct stat st;
    if (stat(d->root, &st) != 0) return err_from_errno(errno, "%s: cannot open storage directory", d->root);
    if (!S_ISDIR(st.st_mode)) return err_new(ERR_INVALID, "%s: storage is not a directory", d->root);
    sweep_root(d->root);
    return NULL;
}

static err_t *open_posix(const char *root, bool create, bool forgets, disk_t **ret) {
    if (root[0] == '\0') return err_new(ERR_INVALID, "the storage directory has an empty name");
    posix_disk_t *d = xcalloc(1, sizeof *d);
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/') len--;
    d->root = xstrndup(root, len);
    d->forgets = forgets;
    d->durable = map_new();
    pthread_mutex_init(&d->lock, NULL);
    d->vt = (disk_t){posix_create, posix_append, posix_sync,   posix_close,  posix_read, posix_put,
                     posix_remove, posix_list,   posix_import, posix_export, posix_free, posix_where,
                     posix_dirs,   posix_append_all};
    err_t *e = open_root(d, create);
    if (e) {
        posix_free(&d->vt);
        return e;
    }
    *ret = &d->vt;
    return NULL;
}

err_t *disk_open_posix(const char *root, bool create, disk_t **ret) { return open_posix(root, create, false, ret); }
err_t *disk_open_scratch(const char *root, disk_t **ret) { return open_posix(root, true, true, ret); }

static err_t *probe(disk_t *d) {
    AUTO(auto_free) char *name = xprintf("probe-%d", (int)getpid());
    TRY(d->put(d, name, slice_str("tidegate")));
    buf_t back = buf_make(64);
    err_t *e = d->read(d, name, 0, UINT64_MAX, &back);
    if (!e && !slice_eq(buf_slice(&back), slice_str("tidegate")))
        e = err_new(ERR_IO, "%s: does not give back what was written", d->where(d));
    buf_free(&back);
    err_t *removed = d->remove(d, name);
    if (!e) return removed;
    err_free(removed);
    return e;
}

err_t *disk_open_uri(const char *uri, disk_t **ret) {
    const char *path = uri;
    if (strncmp(uri, "file://", 7) == 0) {
        path = uri + 7;
        if (path[0] != '/')
            return err_hint(err_new(ERR_INVALID, "storage '%s' names a host", uri), "write file:///absolute/path");
    } else if (strstr(uri, "://")) {
        return err_hint(err_new(ERR_UNSUPPORTED, "storage '%s': only directories are supported", uri),
                        "use file:///path on a file system that every worker can read");
    }
    disk_t *d;
    TRY(err_wrap(disk_open_posix(path, true, &d), "storage '%s'", uri));
    err_t *e = probe(d);
    if (e) {
        d->free(d);
        return err_wrap(e, "storage '%s' is not writable", uri);
    }
    *ret = d;
    return NULL;
}
