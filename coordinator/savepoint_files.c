#include "coordinator/savepoint_files.h"
#include <stdlib.h>

#define CHUNK ((uint64_t)4 << 20)
#define MANIFEST_NAME "MANIFEST.json"

/* A directory: a disk of its own, or a prefix within the storage. */
typedef struct place { disk_t *disk; bool own; char *prefix; } place_t;

static void place_done(place_t *p) {
    if (p->own) p->disk->free(p->disk);
    free(p->prefix);
}

static err_t *place_open(disk_t *storage, const char *where, bool create, place_t *ret) {
    const char *local = strncmp(where, "file://", 7) == 0 ? where + 7 : where;
    if (local[0] == '/') {
        disk_t *d = NULL;
        TRY(disk_open_posix(local, create, &d));
        *ret = (place_t){d, true, xstrdup("")};
        return NULL;
    }
    if (strstr(where, "://"))
        return err_hint(err_new(ERR_UNSUPPORTED, "a savepoint at '%s'", where), "a directory: /path or file:///path");
    if (strstr(where, "..")) return err_new(ERR_INVALID, "a savepoint within the checkpoint storage must not leave it: '%s'", where);
    *ret = (place_t){storage, false, xprintf("%s/", where)};
    return NULL;
}

static err_t *copy_chunks(disk_t *from, const char *a, disk_t *to, disk_file_t *f, uint64_t len) {
    AUTO(buf_free) buf_t b = buf_make(CHUNK);
    for (uint64_t at = 0; at < len; at += CHUNK) {
        buf_clear(&b);
        uint64_t n = MIN(CHUNK, len - at);
        TRY(from->read(from, a, at, n, &b));
        if (b.len != n && len != UINT64_MAX) return err_new(ERR_CORRUPT, "%s ends at byte %" PRIu64 " of %" PRIu64, a, at + b.len, len);
        TRY(to->append(to, f, buf_slice(&b)));
    }
    return to->sync(to, f);
}

/* What an earlier try left is no reason to fail: it is written anew. */
static err_t *copy_file(disk_t *from, const char *a, disk_t *to, const char *b, uint64_t len) {
    TRY(to->remove(to, b));
    disk_file_t *f = NULL;
    TRY(to->create(to, b, &f));
    err_t *e = copy_chunks(from, a, to, f, len);
    to->close(to, f);
    return e;
}

/* Every file of the manifest once, with the bytes that are needed of it: fn(arg, path, len). */
typedef err_t *(*file_fn)(void *arg, const char *path, uint64_t len);
static err_t *each_file(const manifest_t *m, file_fn fn, void *arg) {
    for (int i = 0; i < m->nextents; i++) {
        uint64_t len = m->extents[i].to;
        bool again = false;
        for (int k = 0; k < m->nextents; k++) {
            if (strcmp(m->extents[k].path, m->extents[i].path) != 0) continue;
            again |= k < i;
            len = MAX(len, m->extents[k].to);
        }
        if (!again) TRY(fn(arg, m->extents[i].path, len));
    }
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++) TRY(fn(arg, m->bases[i].files[k].path, m->bases[i].files[k].size));
    return NULL;
}

typedef struct copying { disk_t *storage; place_t *place; job_id_t job; } copying_t;

static err_t *copy_out(void *arg, const char *path, uint64_t len) {
    copying_t *c = arg;
    AUTO(auto_free) char *to = xprintf("%s%s", c->place->prefix, path);
    return copy_file(c->storage, path, c->place->disk, to, len);
}

/* A manifest is written last: where one lies, there is a whole savepoint. Of this very epoch (an earlier leader's copy): done, what it knows as
 * published may be less and is as true. Another: it stays. */
static err_t *look_for_another(const place_t *p, const char *path, const manifest_t *m, bool *ret_done) {
    AUTO(buf_free) buf_t there = buf_make((size_t)256 << 20);
    err_t *e = p->disk->read(p->disk, path, 0, UINT64_MAX, &there);
    if (err_code(e) == ERR_NOT_FOUND) {
        err_free(e);
        return NULL;
    }
    if (e) return e;
    manifest_t *old = NULL;
    err_free(manifest_parse(buf_slice(&there), &old));
    *ret_done = old && old->job == m->job && old->incarnation == m->incarnation && old->epoch == m->epoch;
    manifest_free(old);
    if (*ret_done) return NULL;
    return err_hint(err_new(ERR_EXISTS, "another savepoint lies there"), "name a directory of its own for each");
}

static err_t *copy_all(disk_t *storage, const manifest_t *m, place_t *p) {
    copying_t c = {storage, p, 0};
    AUTO(buf_free) buf_t text = buf_make((size_t)256 << 20);
    manifest_print(&text, m);
    AUTO(auto_free) char *path = xprintf("%s" MANIFEST_NAME, p->prefix);
    bool done = false;
    TRY(look_for_another(p, path, m, &done));
    if (done) return NULL;
    TRY(each_file(m, copy_out, &c));
    return p->disk->put(p->disk, path, buf_slice(&text));
}

err_t *savepoint_copy(disk_t *storage, const manifest_t *m, const char *target) {
    place_t p;
    TRY(place_open(storage, target, true, &p));
    err_t *e = copy_all(storage, m, &p);
    place_done(&p);
    return err_wrap(e, "savepoint %s", target);
}

/* "jobs/<origin>[@<other>]/rest" -> "jobs/<origin>@<job>/rest" */
static char *renamed(const char *path, job_id_t job) {
    const char *rest = strncmp(path, "jobs/", 5) == 0 ? strchr(path + 5, '/') : NULL;
    if (!rest) return NULL;
    int origin = (int)strcspn(path + 5, "@/");
    return xprintf("jobs/%.*s@%016" PRIx64 "%s", origin, path + 5, job, rest);
}

static err_t *copy_in(void *arg, const char *path, uint64_t len) {
    copying_t *c = arg;
    AUTO(auto_free) char *from = xprintf("%s%s", c->place->prefix, path);
    AUTO(auto_free) char *to = renamed(path, c->job);
    if (!to || strstr(path, "..")) return err_new(ERR_CORRUPT, "the manifest names '%s', which is no file of a job", path);
    return copy_file(c->place->disk, from, c->storage, to, len);
}

static void rename_all(manifest_t *m, job_id_t job) {
    for (int i = 0; i < m->nextents; i++) {
        char *path = renamed(m->extents[i].path, job);
        free(m->extents[i].path);
        m->extents[i].path = path;
    }
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++) {
            char *path = renamed(m->bases[i].files[k].path, job);
            free(m->bases[i].files[k].path);
            m->bases[i].files[k].path = path;
        }
}

static err_t *restore_all(disk_t *storage, place_t *p, job_id_t job, manifest_t **ret) {
    AUTO(buf_free) buf_t text = buf_make((size_t)256 << 20);
    AUTO(auto_free) char *path = xprintf("%s" MANIFEST_NAME, p->prefix);
    TRY(p->disk->read(p->disk, path, 0, UINT64_MAX, &text));
    manifest_t *m = NULL;
    TRY(manifest_parse(buf_slice(&text), &m));
    copying_t c = {storage, p, job};
    err_t *e = each_file(m, copy_in, &c);
    if (e) {
        manifest_free(m);
        return e;
    }
    rename_all(m, job);
    *ret = m;
    return NULL;
}

err_t *savepoint_restore(disk_t *storage, const char *from, job_id_t job, manifest_t **ret) {
    place_t p;
    TRY(err_wrap(place_open(storage, from, false, &p), "savepoint %s", from));
    err_t *e = restore_all(storage, &p, job, ret);
    place_done(&p);
    return err_wrap(e, "savepoint %s", from);
}
