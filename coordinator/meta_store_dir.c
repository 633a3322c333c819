/* meta_store_dir.c: metadata of a single coordinator in a local directory.
 *
 *   lock                     held by flock while the process lives; says who
 *   leader                   the leader epoch; raised and synced at each start (A28)
 *   jobs/<id>/record         the job record
 *   jobs/<id>/attempt        attempt and floor
 *   jobs/<id>/manifest       pointer to the last manifest
 *
 * Each file is replaced whole: written aside, synced, renamed, directory synced. Order makes the transactions: raising writes the
 * attempt only, and a manifest is compared with it; one thread calls, one process holds the lock. */
#include "coordinator/meta_store.h"
#include "state/disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

typedef struct dir {
    meta_store_t vt;
    disk_t *disk;
    char *path;
    int lock;
    bool leading;
} dir_t;

static void job_path(char *out, size_t size, job_id_t job, const char *what) {
    snprintf(out, size, "jobs/%016" PRIx64 "/%s", job, what);
}

/* ret_present false: there is no such file. */
static err_t *read_file(dir_t *d, const char *path, buf_t *ret, bool *ret_present) {
    err_t *e = d->disk->read(d->disk, path, 0, UINT64_MAX, ret);
    *ret_present = e == NULL;
    if (err_code(e) != ERR_NOT_FOUND) return e;
    err_free(e);
    return NULL;
}

static err_t *read_attempt(dir_t *d, job_id_t job, meta_attempt_t *ret) {
    char path[64];
    job_path(path, sizeof path, job, "attempt");
    AUTO(buf_free) buf_t b = buf_make(1 << 16);
    bool present;
    TRY(read_file(d, path, &b, &present));
    *ret = (meta_attempt_t){0};
    return present ? err_wrap(meta_attempt_parse(buf_slice(&b), ret), "%s/%s", d->path, path) : NULL;
}

static err_t *read_pointer(dir_t *d, job_id_t job, meta_pointer_t *ret, bool *ret_present) {
    char path[64];
    job_path(path, sizeof path, job, "manifest");
    AUTO(buf_free) buf_t b = buf_make(1 << 16);
    TRY(read_file(d, path, &b, ret_present));
    return *ret_present ? err_wrap(meta_pointer_parse(buf_slice(&b), ret), "%s/%s", d->path, path) : NULL;
}

/* A write that failed may have been renamed into place before its directory could be synced: unknown, unless it surely was not. */
static meta_result_t written(err_t *e) {
    if (!e) return (meta_result_t){.outcome = STORE_OK};
    bool surely_not = err_code(e) == ERR_NO_SPACE || err_code(e) == ERR_DENIED;
    return (meta_result_t){.outcome = surely_not ? STORE_FAILED : STORE_UNKNOWN, .error = e};
}

static bool refuse(dir_t *d, meta_done_t done) {
    if (d->leading) return false;
    meta_result_t r = {.outcome = STORE_REFUSED, .error = err_new(ERR_FENCED, "this process does not lead")};
    done.fn(done.arg, &r);
    return true;
}

static err_t *raise_leader(dir_t *d, uint64_t *ret) {
    AUTO(buf_free) buf_t b = buf_make(1 << 16), out = buf_make(1 << 16);
    bool present;
    TRY(read_file(d, "leader", &b, &present));
    uint64_t leader = 0;
    if (present) {
        char *end;
        errno = 0;
        leader = strtoull(buf_cstr(&b), &end, 10);
        if (errno || end == (char *)b.data || *end != '\n') return err_new(ERR_CORRUPT, "%s/leader holds no number", d->path);
    }
    leader++;
    buf_printf(&out, "%" PRIu64 "\n", leader);
    TRY(d->disk->put(d->disk, "leader", buf_slice(&out)));
    *ret = leader;
    return NULL;
}

static void dir_campaign(meta_store_t *vt, void (*lost)(void *, err_t *), void *lost_arg, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    meta_result_t r = {0};
    err_t *e = raise_leader(d, &r.leader);
    if (e) r = (meta_result_t){.outcome = STORE_FAILED, .error = e};
    d->leading = e == NULL;
    done.fn(done.arg, &r);
}

typedef struct found { int n; job_id_t *ids; } found_t;
static void job_found(void *arg, const char *name, uint64_t size, int64_t modified_ms) {
    found_t *f = arg;
    const char *slash = strchr(name, '/');
    if (!slash || strcmp(slash, "/record") != 0) return;
    f->ids = xrealloc(f->ids, (size_t)(f->n + 1) * sizeof *f->ids);
    f->ids[f->n++] = strtoull(name, NULL, 16);
}

static err_t *load_all(dir_t *d, const found_t *f, meta_result_t *r) {
    for (int i = 0; i < f->n; i++) {
        char path[64];
        job_path(path, sizeof path, f->ids[i], "record");
        buf_t b = buf_make((size_t)64 << 20);
        err_t *e = d->disk->read(d->disk, path, 0, UINT64_MAX, &b);
        if (e) {
            buf_free(&b);
            return e;
        }
        r->records[r->njobs++] = buf_take_cstr(&b);
    }
    return NULL;
}

static void dir_load(meta_store_t *vt, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    found_t f = {0};
    meta_result_t r = {0};
    err_t *e = d->disk->list(d->disk, "jobs", job_found, &f);
    if (err_code(e) == ERR_NOT_FOUND) err_free(TAKE(e));
    r.records = xcalloc((size_t)f.n + 1, sizeof(char *));
    if (!e) e = load_all(d, &f, &r);
    if (e) {
        r.outcome = STORE_FAILED;
        r.error = e;
    }
    free(f.ids);
    done.fn(done.arg, &r);
}

static void dir_put_job(meta_store_t *vt, job_id_t job, slice_t record, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    if (refuse(d, done)) return;
    char path[64];
    job_path(path, sizeof path, job, "record");
    meta_result_t r = written(d->disk->put(d->disk, path, record));
    done.fn(done.arg, &r);
}

static err_t *raise_in(dir_t *d, job_id_t job, attempt_t above, meta_result_t *r) {
    meta_attempt_t now;
    TRY(read_attempt(d, job, &now));
    TRY(read_pointer(d, job, &r->last, &r->has_last));
    r->attempt = meta_attempt_raise(now, r->has_last ? &r->last : NULL, above);
    AUTO(buf_free) buf_t out = buf_make(1 << 16);
    meta_attempt_print(&out, &r->attempt);
    char path[64];
    job_path(path, sizeof path, job, "attempt");
    return d->disk->put(d->disk, path, buf_slice(&out));
}

static void dir_raise(meta_store_t *vt, job_id_t job, attempt_t above, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    if (refuse(d, done)) return;
    meta_result_t r = {0};
    err_t *e = raise_in(d, job, above, &r);
    if (e) {
        meta_result_done(&r);
        r = written(e);
    }
    done.fn(done.arg, &r);
}

static void dir_look(meta_store_t *vt, job_id_t job, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    if (refuse(d, done)) return;
    meta_result_t r = {0};
    err_t *e = read_attempt(d, job, &r.attempt);
    if (!e) e = read_pointer(d, job, &r.last, &r.has_last);
    if (e) r = (meta_result_t){.outcome = STORE_FAILED, .error = e};
    done.fn(done.arg, &r);
}

static err_t *put_manifest_in(dir_t *d, job_id_t job, const meta_pointer_t *previous, const meta_pointer_t *now, bool *ret_refused) {
    meta_attempt_t attempt;
    meta_pointer_t last = {0};
    bool has_last;
    TRY(read_attempt(d, job, &attempt));
    TRY(read_pointer(d, job, &last, &has_last));
    bool there = has_last && meta_pointer_eq(&last, now);
    bool fits = attempt.attempt == now->attempt && (previous ? has_last && meta_pointer_eq(&last, previous) : !has_last);
    meta_pointer_done(&last);
    *ret_refused = !there && !fits;
    if (*ret_refused) return err_new(ERR_FENCED, "another attempt or manifest is in %s", d->path);
    AUTO(buf_free) buf_t out = buf_make(1 << 16);
    meta_pointer_print(&out, now);
    if (out.len > META_POINTER_MAX) return err_new(ERR_LIMIT, "a manifest pointer of %zu bytes", out.len);
    char path[64];
    job_path(path, sizeof path, job, "manifest");
    return d->disk->put(d->disk, path, buf_slice(&out));
}

static void dir_put_manifest(meta_store_t *vt, job_id_t job, const meta_pointer_t *previous, const meta_pointer_t *now, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    if (refuse(d, done)) return;
    bool refused = false;
    meta_result_t r = written(put_manifest_in(d, job, previous, now, &refused));
    if (refused) r.outcome = STORE_REFUSED;
    done.fn(done.arg, &r);
}

/* The record goes last: what is half deleted is found again. */
static err_t *delete_in(dir_t *d, job_id_t job) {
    static const char *const files[] = {"manifest", "attempt", "record"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[64];
        job_path(path, sizeof path, job, files[i]);
        TRY(d->disk->remove(d->disk, path));
    }
    return NULL;
}

static void dir_delete(meta_store_t *vt, job_id_t job, meta_done_t done) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    if (refuse(d, done)) return;
    meta_result_t r = written(delete_in(d, job));
    done.fn(done.arg, &r);
}

static void dir_resign(meta_store_t *vt) { CONTAINER_OF(vt, dir_t, vt)->leading = false; }

static void dir_free(meta_store_t *vt) {
    dir_t *d = CONTAINER_OF(vt, dir_t, vt);
    if (d->lock >= 0) close(d->lock); /* gives the lock up */
    if (d->disk) d->disk->free(d->disk);
    free(d->path);
    free(d);
}

static const char *dir_where(meta_store_t *vt) { return CONTAINER_OF(vt, dir_t, vt)->path; }

static err_t *take_lock(dir_t *d) {
    AUTO(auto_free) char *path = xprintf("%s/lock", d->path);
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->lock < 0) return err_from_errno(errno, "cannot open %s", path);
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0) {
        char text[64];
        int n = snprintf(text, sizeof text, "process %ld\n", (long)getpid());
        if (ftruncate(d->lock, 0) != 0 || pwrite(d->lock, text, (size_t)n, 0) != n) return err_from_errno(errno, "cannot write %s", path);
        return NULL;
    }
    char who[64] = "";
    ssize_t n = pread(d->lock, who, sizeof who - 1, 0);
    who[n > 0 ? n - 1 : 0] = '\0';
    return err_hint(err_new(ERR_EXISTS, "%s is in use by %s", d->path, who[0] ? who : "another process"),
                    "give each coordinator a directory of its own, or --etcd for several");
}

err_t *meta_store_dir_open(const char *dir, meta_store_t **ret) {
    dir_t *d = xcalloc(1, sizeof *d);
    d->path = xstrdup(dir);
    d->lock = -1;
    d->vt = (meta_store_t){dir_campaign, dir_load, dir_put_job, dir_raise, dir_look, dir_put_manifest, dir_delete, dir_resign, dir_free, dir_where};
    err_t *e = disk_open_posix(dir, true, &d->disk);
    if (!e) e = take_lock(d);
    if (e) {
        dir_free(&d->vt);
        return e;
    }
    *ret = &d->vt;
    return NULL;
}
