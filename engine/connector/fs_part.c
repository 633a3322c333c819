/* fs_part.c: see fs_part.h. */
#include "engine/connector/fs_part.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 32

part_t *part_new(const char *dir, uint64_t incarnation, uint32_t subtask, uint64_t n) {
    part_t *p = xcalloc(1, sizeof *p);
    p->dir = xstrdup(dir);
    p->incarnation = incarnation;
    p->subtask = subtask;
    p->n = n;
    p->fd = -1;
    p->buf = buf_make(BUF_MAX_DEFAULT);
    return p;
}

void part_free(part_t *p) {
    if (!p) return;
    if (p->fd >= 0) close(p->fd);
    buf_free(&p->buf);
    free(p->dir);
    free(p);
}

static char *dir_of(const part_t *p, const char *root) {
    return p->dir[0] ? xprintf("%s/%s", root, p->dir) : xstrdup(root);
}
static char *path_of(const part_t *p, const char *root, const char *before, const char *after) {
    return xprintf("%s/%s%s%spart-%016" PRIx64 "-%u-%" PRIu64 "%s", root, p->dir, p->dir[0] ? "/" : "", before,
                   p->incarnation, p->subtask, p->n, after);
}

static err_t *sync_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_from_errno(errno, "cannot open %s", dir);
    err_t *e = fsync(fd) != 0 ? err_from_errno(errno, "cannot sync %s", dir) : NULL;
    close(fd);
    return e;
}

/* A directory that was made is durable on return: its name is synced in its parent. */
err_t *fs_make_dirs(const char *path) {
    char *copy AUTO(auto_free) = xstrdup(path), *parent = NULL;
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/') continue;
        char c = *p;
        *p = 0;
        bool made = mkdir(copy, 0777) == 0;
        if (!made && errno != EEXIST) return err_from_errno(errno, "cannot make directory %s", copy);
        if (made) {
            if (parent) *parent = 0;
            err_t *e = sync_dir(parent ? copy : copy[0] == '/' ? "/" : ".");
            if (parent) *parent = '/';
            TRY(e);
        }
        *p = c;
        parent = p;
        if (!c) break;
    }
    struct stat st;
    if (stat(path, &st) != 0) return err_from_errno(errno, "cannot read %s", path);
    return S_ISDIR(st.st_mode) ? NULL : err_new(ERR_INVALID, "%s is not a directory", path);
}

err_t *part_open(part_t *p, const char *root) {
    char *dir AUTO(auto_free) = dir_of(p, root), *path AUTO(auto_free) = path_of(p, root, ".", ".inprogress");
    TRY(fs_make_dirs(dir));
    p->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (p->fd < 0) return err_from_errno(errno, "cannot create %s", path);
    p->dirty = true;
    return sync_dir(dir);
}

err_t *part_flush(part_t *p) {
    size_t at = 0;
    while (at < p->buf.len) {
        ssize_t n = write(p->fd, p->buf.data + at, p->buf.len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno(errno, "cannot write a part file in %s", p->dir[0] ? p->dir : "the table's path");
        at += (size_t)n;
        p->dirty = true;
    }
    buf_clear(&p->buf);
    return NULL;
}

err_t *part_sync(part_t *p, const char *root) {
    TRY(part_flush(p));
    if (!p->dirty) return NULL;
    if (fdatasync(p->fd) != 0) return err_from_errno(errno, "cannot sync a part file below %s", root);
    p->dirty = false;
    return NULL;
}

err_t *part_close(part_t *p, const char *root) {
    TRY(part_sync(p, root));
    close(p->fd);
    p->fd = -1;
    p->closed = true;
    return NULL;
}

static bool file_size(const char *path, uint64_t *ret) {
    struct stat st;
    if (stat(path, &st) != 0) return false;
    *ret = (uint64_t)st.st_size;
    return true;
}

static err_t *lost(const char *hidden, uint64_t length) {
    return err_hint(err_new(ERR_CORRUPT, "committed rows are lost: %s with %" PRIu64 " bytes is gone", hidden, length),
                    "was the directory of the sink emptied or replaced while the job was down, or is its 'path' another one than then?");
}

#define NEWER "begin from the last savepoint. --accept-duplicates has these rows twice. To compute them anew: "

err_t *part_publish(part_t *p, const char *root) {
    char *dir AUTO(auto_free) = dir_of(p, root), *hidden AUTO(auto_free) = path_of(p, root, ".", ".inprogress"),
         *visible AUTO(auto_free) = path_of(p, root, "", "");
    uint64_t size;
    if (p->length == 0) return part_forget(p, root);
    if (!file_size(hidden, &size)) return file_size(visible, &size) ? NULL : lost(hidden, p->length);
    if (rename(hidden, visible) != 0) return err_from_errno(errno, "cannot rename %s", hidden);
    return sync_dir(dir);
}

static err_t *copy_prefix(const char *from, const char *to, uint64_t length) {
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    err_t *e = in < 0 ? err_from_errno(errno, "cannot open %s", from) : NULL;
    if (!e && (out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        e = err_from_errno(errno, "cannot create %s", to);
    size_t cap = 1 << 20;
    uint8_t *buf AUTO(auto_free) = xmalloc(cap);
    for (uint64_t at = 0; !e && at < length;) {
        ssize_t n = pread(in, buf, MIN(cap, (size_t)(length - at)), (off_t)at);
        if (n <= 0) {
            e = n < 0 ? err_from_errno(errno, "cannot read %s", from) : err_new(ERR_CORRUPT, "%s is cut short", from);
        } else if (write(out, buf, (size_t)n) != n) {
            e = err_from_errno(errno ? errno : ENOSPC, "cannot write %s", to);
        }
        at += n > 0 ? (uint64_t)n : 0;
    }
    if (!e && fsync(out) != 0) e = err_from_errno(errno, "cannot sync %s", to);
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    return e;
}

err_t *part_check(const part_t *p, const char *root, bool longer) {
    char *hidden AUTO(auto_free) = path_of(p, root, ".", ".inprogress"), *visible AUTO(auto_free) = path_of(p, root, "", "");
    uint64_t size, shown;
    bool is_shown = file_size(visible, &shown);
    if (p->length == 0 || (is_shown && (shown == p->length || (longer && shown > p->length)))) return NULL;
    if (is_shown && shown > p->length)
        return err_hint(err_new(ERR_EXISTS, "%s holds rows from behind the savepoint: it has %" PRIu64 " bytes, and had %" PRIu64 " of them then", visible, shown, p->length),
                        NEWER "`truncate -s %" PRIu64 "` of it", p->length);
    if (!file_size(hidden, &size)) return lost(hidden, p->length);
    return size < p->length ? err_new(ERR_CORRUPT, "%s has %" PRIu64 " bytes, %" PRIu64 " were committed", hidden, size, p->length) : NULL;
}

err_t *part_forget(const part_t *p, const char *root) {
    char *hidden AUTO(auto_free) = path_of(p, root, ".", ".inprogress");
    return unlink(hidden) == 0 || errno == ENOENT ? NULL : err_from_errno(errno, "cannot remove %s", hidden);
}

err_t *part_recover(part_t *p, const char *root, bool keep) {
    char *dir AUTO(auto_free) = dir_of(p, root), *hidden AUTO(auto_free) = path_of(p, root, ".", ".inprogress"),
         *copy AUTO(auto_free) = path_of(p, root, ".", ".recovered"), *visible AUTO(auto_free) = path_of(p, root, "", "");
    uint64_t size;
    if (p->length > 0 && !(file_size(visible, &size) && size >= p->length)) {
        if (p->closed && file_size(hidden, &size) && size == p->length) return part_publish(p, root);
        TRY(copy_prefix(hidden, copy, p->length));
        if (rename(copy, visible) != 0) return err_from_errno(errno, "cannot rename %s", copy);
        TRY(sync_dir(dir));
    }
    return keep ? NULL : part_forget(p, root);
}

/* ------------------------------------------------------------------ leftovers */
typedef struct clean {
    uint64_t incarnation, next;
    uint32_t subtask, parallelism;
    bool look; /* for visible parts from `next` on; removes nothing */
} clean_t;

static err_t *clean_file(clean_t *c, const char *path, const char *name) {
    bool hidden = name[0] == '.';
    uint64_t incarnation, n;
    unsigned subtask;
    int end = 0;
    if (sscanf(name + hidden, "part-%16" SCNx64 "-%u-%" SCNu64 "%n", &incarnation, &subtask, &n, &end) != 3 || !end) return NULL;
    if (incarnation != c->incarnation) return NULL;
    if (c->look) {
        if (hidden || subtask != c->subtask || n < c->next) return NULL;
        return err_hint(err_new(ERR_EXISTS, "%s was written behind the savepoint: its rows would be there twice", path), NEWER "remove it");
    }
    if (subtask == c->subtask && n >= c->next) c->next = n + 1;
    const char *suffix = name + hidden + end;
    bool ours = hidden && (strcmp(suffix, ".inprogress") == 0 || strcmp(suffix, ".recovered") == 0);
    if (!ours || subtask % c->parallelism != c->subtask) return NULL;
    return unlink(path) == 0 || errno == ENOENT ? NULL : err_from_errno(errno, "cannot remove %s", path);
}

static err_t *clean_dir(clean_t *c, const char *dir, int depth) {
    DIR *d = opendir(dir);
    if (!d) return errno == ENOENT ? NULL : err_from_errno(errno, "cannot list %s", dir);
    err_t *e = NULL;
    for (struct dirent *entry; !e && (entry = readdir(d));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        char *path AUTO(auto_free) = xprintf("%s/%s", dir, name);
        if (strchr(name, '=') && depth < DEPTH_MAX) {
            struct stat st;
            if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) e = clean_dir(c, path, depth + 1);
        } else {
            e = clean_file(c, path, name);
        }
    }
    closedir(d);
    return e;
}

err_t *fs_clean(const char *root, uint64_t incarnation, uint32_t subtask, uint32_t parallelism, uint64_t *ret_next) {
    clean_t c = {.incarnation = incarnation, .subtask = subtask, .parallelism = parallelism};
    TRY(clean_dir(&c, root, 0));
    *ret_next = c.next;
    return NULL;
}

err_t *fs_none_behind(const char *root, uint64_t incarnation, uint32_t subtask, uint64_t next) {
    clean_t c = {.incarnation = incarnation, .next = next, .subtask = subtask, .look = true};
    return clean_dir(&c, root, 0);
}
