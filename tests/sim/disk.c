/* disk.c: checkpoint storage as a shared directory: files with bytes, of which a prefix is durable. Each process has its view; a call
 * of a dying process does nothing. A machine that dies loses what its processes had not synced, from a random byte on (torn tail).
 * put is atomic and durable, as the real one makes it (write aside, sync, rename, sync of the directory): a crash in it leaves either. */
#include "common/map.h"
#include "tests/sim/sim.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct sfile {
    char *path;
    buf_t bytes;
    size_t synced;
    proc_t *writer;
    uint32_t writer_gen;
    int64_t modified_ms; /* the storage's own clock */
    struct sfile *unlinked;
} sfile_t;
struct disk_file { sfile_t *f; bool bad; };
struct disk_model {
    sim_t *s;
    map_t *files;
    sfile_t *unlinked;
    bool full, met; /* met: somebody has wanted to write since it is full */
    disk_phase_t fail_phase;
    int fail_call; /* 0: none */
    err_code_t fail_code;
};
typedef struct view { disk_t vt; disk_model_t *d; proc_t *p; disk_phase_t phase; } view_t;

static view_t *view_of(disk_t *d) { return CONTAINER_OF(d, view_t, vt); }

static void sfile_free(void *p) {
    sfile_t *f = p;
    free(f->path);
    buf_free(&f->bytes);
    free(f);
}

static err_t *dead(void) { return err_new(ERR_IO, "the process is dying"); }

/* Does this call fail? Writes fail for want of space, too. */
static err_t *trouble(view_t *v, bool write) {
    disk_model_t *d = v->d;
    if (v->p->dying) return dead();
    if (d->fail_call > 0 && v->phase == d->fail_phase && --d->fail_call == 0) {
        d->s->faults++;
        sim_log(d->s, "%s: disk call fails (%s)", v->p->name, err_code_name(d->fail_code));
        if (v->phase == DISK_WRITE) sim_reach(d->s, ROW_WRITE_FAILED);
        if (v->phase == DISK_BASE) sim_reach(d->s, ROW_BASE_FAILED);
        if (v->phase == DISK_RESTORE) sim_reach(d->s, ROW_READ_FAILED);
        return err_new(d->fail_code, "injected");
    }
    if (write && d->full) {
        if (!d->met) d->s->faults++;
        d->met = true;
        if (v->phase == DISK_WRITE) sim_reach(d->s, ROW_DISK_FULL);
        return err_new(ERR_NO_SPACE, "no space left");
    }
    return NULL;
}

static sfile_t *file_add(disk_model_t *d, const char *path, proc_t *p) {
    sfile_t *f = xcalloc(1, sizeof *f);
    f->path = xstrdup(path);
    f->bytes = buf_make((size_t)256 << 20);
    f->writer = p;
    f->writer_gen = p->gen;
    f->modified_ms = sim_now_ms(d->s);
    map_put_str(d->files, path, f);
    return f;
}

static err_t *view_create(disk_t *vt, const char *path, disk_file_t **ret) {
    view_t *v = view_of(vt);
    err_t *e = trouble(v, true);
    if (e) {
        if (!v->p->dying && sim_chance(v->d->s, 500) && !map_get_str(v->d->files, path)) file_add(v->d, path, v->p); /* it may be there */
        return e;
    }
    if (map_get_str(v->d->files, path)) return err_new(ERR_EXISTS, "%s is there", path);
    disk_file_t *f = xcalloc(1, sizeof *f);
    f->f = file_add(v->d, path, v->p);
    *ret = f;
    return NULL;
}

static err_t *view_append(disk_t *vt, disk_file_t *f, slice_t bytes) {
    view_t *v = view_of(vt);
    sim_t *s = v->d->s;
    ASSERT(!f->bad); /* fsyncgate: a file whose append or sync failed must be abandoned */
    err_t *e = trouble(v, true);
    if (v->p->dying) return e;
    size_t n = bytes.len;
    if (e || sim_point(s, v->p, ROW_TORN_APPEND)) {
        f->bad = true;
        n = sim_below(s, bytes.len);
    }
    buf_put(&f->f->bytes, bytes.p, n);
    f->f->modified_ms = sim_now_ms(s);
    return e ? e : n < bytes.len ? dead() : NULL;
}

static err_t *view_sync(disk_t *vt, disk_file_t *f) {
    view_t *v = view_of(vt);
    if (v->phase == DISK_WRITE && sim_point(v->d->s, v->p, ROW_UNSYNCED)) return dead();
    bool was = v->d->fail_call == 1 && v->phase == v->d->fail_phase;
    err_t *e = trouble(v, false);
    if (e) {
        if (was && v->phase == DISK_WRITE && !v->p->dying) sim_reach(v->d->s, ROW_SYNC_FAILED);
        f->bad = true; /* what it held may be on the disk or not */
        if (sim_chance(v->d->s, 300)) f->f->synced = f->f->bytes.len;
        return e;
    }
    f->f->synced = f->f->bytes.len;
    return NULL;
}

static void view_close(disk_t *vt, disk_file_t *f) { free(f); }

static err_t *view_read(disk_t *vt, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    view_t *v = view_of(vt);
    if (v->phase == DISK_RESTORE && sim_point(v->d->s, v->p, ROW_RESTORE)) return dead();
    TRY(trouble(v, false));
    sfile_t *f = map_get_str(v->d->files, path);
    if (!f) { /* an attempt that is over may find its files gone; what the durable manifest names is there, check_remove sees to it */
        sim_log(v->d->s, "%s reads %s, which is gone", v->p->name, path);
        return err_new(ERR_NOT_FOUND, "%s is not there", path);
    }
    uint64_t there = from < f->bytes.len ? f->bytes.len - from : 0;
    if (len != UINT64_MAX && there < len) /* as disk_posix.c: who asks for so many bytes gets them or an error */
        return err_new(ERR_CORRUPT, "%s: byte %zu: the file ends, %" PRIu64 " more bytes were expected", path, (size_t)f->bytes.len, len - there);
    if (there) buf_put(ret, f->bytes.data + from, there < len ? there : len);
    return NULL;
}

static err_t *view_put(disk_t *vt, const char *path, slice_t bytes) {
    view_t *v = view_of(vt);
    sim_t *s = v->d->s;
    if (v->phase == DISK_BASE && sim_point(s, v->p, ROW_IN_BASE) && sim_chance(s, 500)) return dead();
    if (!v->p->dying) TRY(trouble(v, true));
    sfile_t *f = map_get_str(v->d->files, path);
    if (!f) f = file_add(v->d, path, v->p);
    buf_clear(&f->bytes);
    buf_put(&f->bytes, bytes.p, bytes.len);
    f->modified_ms = sim_now_ms(s);
    f->synced = bytes.len;
    return v->p->dying ? dead() : NULL;
}

static err_t *view_remove(disk_t *vt, const char *path) {
    view_t *v = view_of(vt);
    if (v->p->dying) return dead();
    check_remove(v->d->s, v->p, path);
    sfile_t *f = map_del(v->d->files, slice_str(path));
    if (!f) return NULL;
    f->unlinked = v->d->unlinked; /* whoever has it open may go on writing */
    v->d->unlinked = f;
    return NULL;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static err_t *view_list(disk_t *vt, const char *dir, disk_found_fn fn, void *arg) {
    view_t *v = view_of(vt);
    size_t at = 0, n = 0, len = strlen(dir);
    slice_t key;
    void *value;
    AUTO(auto_free) const char **names = xcalloc(map_len(v->d->files) + 1, sizeof *names);
    while (map_next(v->d->files, &at, &key, &value)) {
        sfile_t *f = value;
        if (strncmp(f->path, dir, len) == 0 && f->path[len] == '/') names[n++] = f->path;
    }
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        const sfile_t *f = map_get_str(v->d->files, names[i]);
        fn(arg, names[i] + len + 1, f->bytes.len, f->modified_ms);
    }
    return NULL;
}
static err_t *view_import(disk_t *vt, const char *local, const char *path) { return err_new(ERR_UNSUPPORTED, "the simulated disk has no local files"); }
static const char *view_where(disk_t *vt) { return "storage"; }
static void view_free(disk_t *vt) { free(view_of(vt)); }

disk_t *disk_view(disk_model_t *d, proc_t *p) {
    view_t *v = xcalloc(1, sizeof *v);
    v->d = d;
    v->p = p;
    v->vt = (disk_t){view_create, view_append, view_sync, view_close, view_read, view_put, view_remove, view_list, view_import, view_import,
                     view_free, view_where};
    return &v->vt;
}
void disk_phase(disk_t *view, disk_phase_t phase) { view_of(view)->phase = phase; }

disk_model_t *disk_model_new(sim_t *s) {
    disk_model_t *d = xcalloc(1, sizeof *d);
    d->s = s;
    d->files = map_new();
    return d;
}
void disk_model_free(disk_model_t *d) {
    map_free(d->files, sfile_free);
    while (d->unlinked) {
        sfile_t *f = d->unlinked;
        d->unlinked = f->unlinked;
        sfile_free(f);
    }
    free(d);
}
void disk_fail_next(disk_model_t *d, disk_phase_t phase, int call, err_code_t code) {
    d->fail_phase = phase;
    d->fail_call = call;
    d->fail_code = code;
}
void disk_full(disk_model_t *d, bool full) {
    d->full = full;
    d->met = false;
}

void disk_crashed(disk_model_t *d, proc_t *p, bool machine) {
    size_t at = 0;
    slice_t key;
    void *value;
    while (machine && map_next(d->files, &at, &key, &value)) {
        sfile_t *f = value;
        if (f->writer != p || f->writer_gen != p->gen || f->synced == f->bytes.len) continue;
        sim_reach(d->s, ROW_LOST_WRITES);
        f->bytes.len = f->synced + (size_t)sim_below(d->s, f->bytes.len - f->synced + 1);
    }
}

bool disk_has(disk_model_t *d, const char *path, uint64_t bytes) {
    const sfile_t *f = map_get_str(d->files, path);
    return f && f->synced >= bytes;
}
err_t *disk_read_all(disk_model_t *d, const char *path, buf_t *ret) {
    const sfile_t *f = map_get_str(d->files, path);
    if (!f) return err_new(ERR_NOT_FOUND, "%s is not there", path);
    buf_put(ret, f->bytes.data, f->bytes.len);
    return NULL;
}
void disk_damage(disk_model_t *d, const char *path) {
    sfile_t *f = map_get_str(d->files, path);
    if (f && f->bytes.len) f->bytes.data[f->bytes.len / 2] ^= 0x55;
}
void disk_damage_at(disk_model_t *d, const damage_t *what) {
    sfile_t *f = map_get_str(d->files, what->path);
    if (!f) return;
    if (what->how == DAMAGE_BIT && what->at < f->bytes.len) f->bytes.data[what->at] ^= 0x55;
    if (what->how == DAMAGE_TORN) f->bytes.len = f->synced = MIN(f->bytes.len, (size_t)what->at);
    if (what->how != DAMAGE_GONE) return;
    map_del(d->files, slice_str(what->path));
    f->unlinked = d->unlinked;
    d->unlinked = f;
}
