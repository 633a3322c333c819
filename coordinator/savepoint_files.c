#include "coordinator/savepoint_files.h"
#include "common/clock.h"
#include "state/extent_check.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK ((uint64_t)4 << 20)
#define SYNC_BYTES (16 * CHUNK) /* a slow directory takes long over a whole file, and says nothing meanwhile */
#define MANIFEST_NAME "MANIFEST.json"
#define BEGUN_NAME "BEGUN.json"

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

/* A file that a manifest names, with the bytes that are needed of it. */
typedef struct named { const char *path; uint64_t len; const manifest_t *m; const base_file_t *base; /* NULL: it is a changelog */ } named_t;

/* ---- is it whole? Found out from the bytes that are copied. */
typedef struct looking { const named_t *file; uint32_t crc; int nextents; extent_check_t *extents; } looking_t;

static void look_begin(looking_t *l, const named_t *file) {
    const manifest_t *m = file->m;
    *l = (looking_t){.file = file, .extents = xcalloc((size_t)m->nextents + 1, sizeof *l->extents)};
    job_id_t job = strtoull(file->path + 5, NULL, 16); /* "jobs/<origin>": what came with a savepoint carries the origin's id */
    for (int i = 0; i < m->nextents && !file->base; i++) {
        if (strcmp(m->extents[i].path, file->path) != 0) continue;
        extent_check_begin(&l->extents[l->nextents++], &m->extents[i], job);
    }
}
static err_t *look_at(looking_t *l, uint64_t at, slice_t bytes) {
    if (l->file->base) l->crc = crc32c(l->crc, bytes.p, bytes.len);
    for (int i = 0; i < l->nextents; i++) TRY(extent_check_feed(&l->extents[i], at, bytes));
    return NULL;
}
static err_t *look_end(const looking_t *l) {
    const base_file_t *b = l->file->base;
    if (b && l->crc != b->crc) return err_new(ERR_CORRUPT, "wrong checksum: %08" PRIx32 "; the manifest says %08" PRIx32, l->crc, b->crc);
    for (int i = 0; i < l->nextents; i++) TRY(extent_check_end(&l->extents[i]));
    return NULL;
}

/* What is not whole is not copied to its end: a savepoint is taken for whole, and what it was copied from goes. */
static err_t *copy_chunks(disk_t *from, const char *a, disk_t *to, disk_file_t *f, looking_t *l, const savepoint_guard_t *g) {
    AUTO(buf_free) buf_t b = buf_make(CHUNK);
    uint64_t len = l->file->len;
    for (uint64_t at = 0; at < len; at += CHUNK) {
        buf_clear(&b);
        uint64_t n = MIN(CHUNK, len - at);
        TRY(from->read(from, a, at, n, &b));
        err_t *e = b.len == n ? look_at(l, at, buf_slice(&b)) : err_new(ERR_CORRUPT, "byte %" PRIu64 ": the file ends", at + b.len);
        if (e) return err_wrap(e, "%s/%s", from->where(from), a);
        TRY(to->append(to, f, buf_slice(&b)));
        if ((at + n) % SYNC_BYTES == 0) TRY(to->sync(to, f));
        if (g->moved) g->moved(g->arg);
    }
    TRY(err_wrap(look_end(l), "%s/%s", from->where(from), a));
    TRY(to->sync(to, f));
    if (g->moved) g->moved(g->arg);
    return NULL;
}

/* Under `b`, a name that only this leader writes, lies nothing, or what an earlier try of ours left. It is written anew: equal bytes may come from a
 * cache, behind a sync that failed or never was, and what they were copied from goes when the savepoint is there. */
static err_t *copy_file(disk_t *from, const char *a, disk_t *to, const char *b, const named_t *file, const savepoint_guard_t *g) {
    disk_file_t *f = NULL;
    err_t *e = to->create(to, b, &f);
    if (err_code(e) == ERR_EXISTS) {
        err_free(e);
        AUTO(buf_free) buf_t first = buf_make(CHUNK);
        TRY(from->read(from, a, 0, MIN(CHUNK, file->len), &first)); /* nothing goes before we know that there is something to copy */
        TRY(to->remove(to, b));
        e = to->create(to, b, &f);
    }
    if (e) return e;
    looking_t l;
    look_begin(&l, file);
    e = copy_chunks(from, a, to, f, &l, g);
    free(l.extents);
    to->close(to, f);
    if (e) err_free(to->remove(to, b)); /* what is damaged or could not be synced must not be found */
    return e;
}

/* Every file of the manifest once. */
typedef err_t *(*file_fn)(void *arg, const named_t *file);
static err_t *each_file(const manifest_t *m, file_fn fn, void *arg) {
    for (int i = 0; i < m->nextents; i++) {
        uint64_t len = m->extents[i].to;
        bool again = false;
        for (int k = 0; k < m->nextents; k++) {
            if (strcmp(m->extents[k].path, m->extents[i].path) != 0) continue;
            again |= k < i;
            len = MAX(len, m->extents[k].to);
        }
        if (!again) TRY(fn(arg, &(named_t){m->extents[i].path, len, m, NULL}));
    }
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++) {
            const base_file_t *f = &m->bases[i].files[k];
            TRY(fn(arg, &(named_t){f->path, f->size, m, f}));
        }
    return NULL;
}

/* "jobs/<origin>[@<other>]/rest" -> "jobs/<origin>@<owner>/rest" */
static char *renamed(const char *path, const char *owner) {
    const char *rest = strncmp(path, "jobs/", 5) == 0 ? strchr(path + 5, '/') : NULL;
    if (!rest || strstr(path, "..")) return NULL;
    int origin = (int)strcspn(path + 5, "@/");
    return xprintf("jobs/%.*s@%s%s", origin, path + 5, owner, rest);
}

typedef struct copying { disk_t *storage; place_t *place; bool in; const char *owner; savepoint_guard_t guard; } copying_t;

/* Of a savepoint the manifest's own names are in the place, their renamed ones in the storage; of one that is made it is the other way round. */
static err_t *copy_one(void *arg, const named_t *file) {
    copying_t *c = arg;
    AUTO(auto_free) char *name = renamed(file->path, c->owner);
    if (!name) return err_new(ERR_CORRUPT, "the manifest names '%s', which is no file of a job", file->path);
    TRY(c->guard.look(c->guard.arg));
    AUTO(auto_free) char *there = xprintf("%s%s", c->place->prefix, c->in ? file->path : name);
    err_t *e = c->in ? copy_file(c->place->disk, there, c->storage, name, file, &c->guard)
                     : copy_file(c->storage, file->path, c->place->disk, there, file, &c->guard);
    if (err_code(e) != ERR_CORRUPT) return e;
    return err_hint(e, c->in ? "put that file there again from where it is whole, or begin from another savepoint" : "put that file back, and ask again");
}

/* What was copied of a savepoint from which nothing begins: no other leader or job has these names. */
static err_t *remove_copy(void *arg, const named_t *file) {
    const copying_t *c = arg;
    AUTO(auto_free) char *name = renamed(file->path, c->owner);
    if (name) err_free(c->storage->remove(c->storage, name));
    return NULL;
}

static void rename_all(manifest_t *m, const char *owner) {
    for (int i = 0; i < m->nextents; i++) {
        char *path = renamed(m->extents[i].path, owner);
        free(m->extents[i].path);
        m->extents[i].path = path;
    }
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++) {
            char *path = renamed(m->bases[i].files[k].path, owner);
            free(m->bases[i].files[k].path);
            m->bases[i].files[k].path = path;
        }
}

/* ---- making one */
static err_t *in_use(const char *what) { return err_hint(err_new(ERR_EXISTS, "%s", what), "name a directory of its own for each"); }

static err_t *read_if_there(const place_t *p, const char *name, buf_t *ret, bool *ret_there) {
    AUTO(auto_free) char *path = xprintf("%s%s", p->prefix, name);
    err_t *e = p->disk->read(p->disk, path, 0, UINT64_MAX, ret);
    *ret_there = e == NULL;
    if (err_code(e) != ERR_NOT_FOUND) return e;
    err_free(e);
    return NULL;
}
static err_t *put_there(const place_t *p, const char *name, slice_t text) {
    AUTO(auto_free) char *path = xprintf("%s%s", p->prefix, name);
    return p->disk->put(p->disk, path, text);
}

/* Created exclusively: of two that begin at once, in whatever process, one is refused. One that is torn says nothing and is taken for another's. */
static err_t *write_begun(const place_t *p, slice_t ours) {
    AUTO(auto_free) char *path = xprintf("%s" BEGUN_NAME, p->prefix);
    disk_file_t *f = NULL;
    TRY(p->disk->create(p->disk, path, &f));
    err_t *e = p->disk->append(p->disk, f, ours);
    if (!e) e = p->disk->sync(p->disk, f);
    p->disk->close(p->disk, f);
    if (e) err_free(p->disk->remove(p->disk, path));
    return e;
}

static err_t *begin(const place_t *p, const manifest_t *m) {
    AUTO(buf_free) buf_t there = buf_make(1 << 20), ours = buf_make(1 << 10);
    bool begun = false;
    buf_printf(&ours, "{\"tidegate_savepoint\":1,\"job\":%" PRIu64 ",\"incarnation\":\"%016" PRIx64 "\",\"epoch\":%" PRIu64 "}\n", m->job, m->incarnation, m->epoch);
    TRY(read_if_there(p, BEGUN_NAME, &there, &begun));
    if (!begun) {
        err_t *e = write_begun(p, buf_slice(&ours));
        if (err_code(e) != ERR_EXISTS) return e;
        err_free(e);
        TRY(read_if_there(p, BEGUN_NAME, &there, &begun));
    }
    return slice_eq(buf_slice(&there), buf_slice(&ours)) ? NULL : in_use("another savepoint was begun there");
}

/* Of this very epoch (an earlier leader's copy): done, what it knows as published may be less and is as true. Another: it stays. */
static err_t *look_for_another(const place_t *p, const manifest_t *m, bool *ret_done) {
    AUTO(buf_free) buf_t there = buf_make((size_t)256 << 20);
    bool any = false;
    TRY(read_if_there(p, MANIFEST_NAME, &there, &any));
    if (!any) return NULL;
    manifest_t *old = NULL;
    err_free(manifest_parse(buf_slice(&there), &old));
    *ret_done = old && old->job == m->job && old->incarnation == m->incarnation && old->epoch == m->epoch;
    manifest_free(old);
    return *ret_done ? NULL : in_use("another savepoint lies there");
}

static err_t *copy_all(copying_t *c, const manifest_t *m) {
    bool done = false;
    TRY(look_for_another(c->place, m, &done));
    if (done) return NULL;
    TRY(begin(c->place, m));
    TRY(c->guard.look(c->guard.arg));
    TRY(each_file(m, copy_one, c));
    AUTO(buf_free) buf_t text = buf_make((size_t)256 << 20);
    manifest_t *named = manifest_copy(m);
    rename_all(named, c->owner);
    manifest_print(&text, named);
    manifest_free(named);
    TRY(c->guard.look(c->guard.arg));
    return put_there(c->place, MANIFEST_NAME, buf_slice(&text));
}

err_t *savepoint_copy(disk_t *storage, const manifest_t *m, uint64_t leader, uint32_t serial, const char *target, savepoint_guard_t guard) {
    place_t p;
    err_t *e = place_open(storage, target, true, &p);
    if (e) return err_wrap(e, "savepoint %s", target);
    char owner[40];
    int n = snprintf(owner, sizeof owner, "%016" PRIx64, leader);
    if (serial) snprintf(owner + n, sizeof owner - (size_t)n, ".%" PRIu32, serial);
    copying_t c = {storage, &p, false, owner, guard};
    e = copy_all(&c, m);
    place_done(&p);
    return err_wrap(e, "savepoint %s", target);
}

static err_t *check_place(const place_t *p) {
    AUTO(buf_free) buf_t there = buf_make((size_t)256 << 20);
    bool any = false;
    TRY(read_if_there(p, MANIFEST_NAME, &there, &any));
    if (any) return in_use("another savepoint lies there");
    TRY(read_if_there(p, BEGUN_NAME, &there, &any));
    if (any) return in_use("another savepoint was begun there");
    AUTO(auto_free) char *probe = xprintf("probe-%d-%016" PRIx64, (int)getpid(), clock_random()); /* several may look at once */
    TRY(put_there(p, probe, slice_str("tidegate")));
    AUTO(auto_free) char *path = xprintf("%s%s", p->prefix, probe);
    return p->disk->remove(p->disk, path);
}

err_t *savepoint_check(disk_t *storage, const char *target) {
    place_t p;
    err_t *e = place_open(storage, target, true, &p);
    if (e) return err_wrap(e, "savepoint %s", target);
    e = check_place(&p);
    place_done(&p);
    return err_wrap(e, "savepoint %s", target);
}

/* ---- beginning from one */
static err_t *read_manifest(const place_t *p, manifest_t **ret) {
    AUTO(buf_free) buf_t text = buf_make((size_t)256 << 20);
    AUTO(auto_free) char *path = xprintf("%s" MANIFEST_NAME, p->prefix);
    TRY(p->disk->read(p->disk, path, 0, UINT64_MAX, &text));
    return err_wrap(manifest_parse(buf_slice(&text), ret), "%s/%s", p->disk->where(p->disk), path);
}

static err_t *restore_all(copying_t *c, manifest_t **ret) {
    manifest_t *m = NULL;
    TRY(read_manifest(c->place, &m));
    err_t *e = each_file(m, copy_one, c);
    if (e) {
        err_free(each_file(m, remove_copy, c));
        manifest_free(m);
        return e;
    }
    rename_all(m, c->owner);
    *ret = m;
    return NULL;
}

err_t *savepoint_restore(disk_t *storage, const char *from, job_id_t job, uint64_t leader, savepoint_guard_t guard, manifest_t **ret) {
    place_t p;
    TRY(err_wrap(place_open(storage, from, false, &p), "savepoint %s", from));
    char owner[40];
    snprintf(owner, sizeof owner, "%016" PRIx64 ".%016" PRIx64, job, leader);
    copying_t c = {storage, &p, true, owner, guard};
    err_t *e = restore_all(&c, ret);
    place_done(&p);
    return err_wrap(e, "savepoint %s", from);
}

err_t *savepoint_read(disk_t *storage, const char *from, manifest_t **ret) {
    place_t p;
    TRY(err_wrap(place_open(storage, from, false, &p), "savepoint %s", from));
    err_t *e = read_manifest(&p, ret);
    place_done(&p);
    return err_wrap(e, "savepoint %s", from);
}
