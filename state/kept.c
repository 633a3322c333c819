/* kept.c: see kept.h. */
#include "state/kept.h"
#include "common/map.h"
#include "state/changelog.h"
#include <stdlib.h>
#include <sys/stat.h>

static bool worth(disk_t *kept, const char *path) { return kept && strncmp(path, "jobs/", 5) == 0 && !strchr(path, '@'); }

void kept_add(disk_t *kept, const char *local_path, const char *path) {
    if (worth(kept, path)) err_free(kept->import(kept, local_path, path));
}

/* ---------------------------------------------------------------- the changelog */
static bool is_one_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void kept_log_close(kept_log_t *l) {
    if (l->file) l->kept->close(l->kept, l->file);
    free(l->path);
    *l = (kept_log_t){.kept = l->kept};
}

/* A second name for the file in storage follows what is appended to it by itself. */
static err_t *begin(kept_log_t *l, disk_t *storage, const char *path) {
    kept_log_close(l);
    l->path = xstrdup(path);
    AUTO(auto_free) char *there = xprintf("%s/%s", storage->where(storage), path);
    AUTO(auto_free) char *here = xprintf("%s/%s", l->kept->where(l->kept), path);
    err_free(l->kept->import(l->kept, there, path));
    l->linked = is_one_file(there, here);
    if (l->linked) return NULL;
    TRY(l->kept->remove(l->kept, path));
    return l->kept->create(l->kept, path, &l->file);
}

void kept_log_append(kept_log_t *l, disk_t *storage, const char *path, uint64_t at, const slice_t *pieces, size_t n) {
    if (!worth(l->kept, path)) return;
    err_t *e = at == 0 ? begin(l, storage, path) : NULL;
    if (!l->path || strcmp(l->path, path) != 0 || l->linked) return;
    if (!e && l->file && l->size == at) e = disk_append_all(l->kept, l->file, pieces, n);
    else if (!e) return; /* given up before */
    for (size_t i = 0; i < n; i++) l->size += pieces[i].len;
    if (!e) return;
    err_free(e);
    err_free(l->kept->remove(l->kept, path));
    kept_log_close(l);
}

/* ---------------------------------------------------------------- what is still needed */
typedef struct name {
    struct name *next;
    char *path;
    epoch_t last;   /* of a changelog file of this attempt; 0: a base's */
    uint64_t base;  /* number of the last base that has it; 0: of the manifest the attempt began with */
} name_t;

struct kept_job {
    disk_t *kept;
    job_id_t job;
    attempt_t attempt;
    name_t *names;
    map_t *by_path;
    const name_t *log; /* that is being written: it has the latest operator bytes, which no base holds */
    uint64_t bases, accepted;
};

static name_t *need(kept_job_t *k, const char *path) {
    name_t *n = map_get_str(k->by_path, path);
    if (n) return n;
    n = xcalloc(1, sizeof *n);
    n->path = xstrdup(path);
    n->next = k->names;
    k->names = n;
    map_put_str(k->by_path, path, n);
    return n;
}

typedef struct sweep { kept_job_t *k; char *dir; } sweep_t;
static void sweep_one(void *arg, const char *name, uint64_t size, int64_t modified_ms) {
    const sweep_t *s = arg;
    AUTO(auto_free) char *path = xprintf("%s/%s", s->dir, name);
    storage_origin_t o;
    bool ours = storage_path_parse(path, &o) && o.attempt == s->k->attempt; /* written already, before anybody said so here */
    if (!ours && !map_get_str(s->k->by_path, path)) err_free(s->k->kept->remove(s->k->kept, path));
}

kept_job_t *kept_job_new(disk_t *kept, const manifest_t *m, attempt_t attempt) {
    kept_job_t *k = xcalloc(1, sizeof *k);
    *k = (kept_job_t){.kept = kept, .job = m->job, .attempt = attempt, .by_path = map_new()};
    for (int i = 0; i < m->nextents; i++) need(k, m->extents[i].path);
    for (int i = 0; i < m->nbases; i++)
        for (int f = 0; f < m->bases[i].nfiles; f++) need(k, m->bases[i].files[f].path);
    return k;
}

void kept_job_started(kept_job_t *k) {
    if (!k) return;
    AUTO(auto_free) char *dir = xprintf("jobs/%016" PRIx64, k->job);
    err_free(k->kept->list(k->kept, dir, sweep_one, &(sweep_t){k, dir}));
}

void kept_job_free(kept_job_t *k) {
    if (!k) return;
    for (name_t *n = k->names, *next; n; n = next) {
        next = n->next;
        free(n->path);
        free(n);
    }
    map_free(k->by_path, NULL);
    free(k);
}

void kept_job_extent(kept_job_t *k, const char *path, epoch_t last) {
    if (!k) return;
    name_t *n = need(k, path);
    n->last = last;
    k->log = n;
}

void kept_job_base(kept_job_t *k, const base_t *b) {
    if (!k) return;
    k->bases++;
    for (int i = 0; i < b->nfiles; i++) need(k, b->files[i].path)->base = k->bases;
}

/* What the attempt began with is needed until all workers have a base of it. When a second one of this worker is accepted they nearly always
 * have; else storage has it. */
static bool needed(const kept_job_t *k, const name_t *n, epoch_t epoch) {
    if (n->last) return n == k->log || n->last > epoch;
    return n->base ? n->base + 1 >= k->bases : k->accepted < 2;
}

void kept_job_accepted(kept_job_t *k, epoch_t epoch) {
    if (!k) return;
    k->accepted++;
    for (name_t **at = &k->names; *at;) {
        name_t *n = *at;
        if (needed(k, n, epoch)) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        map_del(k->by_path, slice_str(n->path));
        err_free(k->kept->remove(k->kept, n->path));
        free(n->path);
        free(n);
    }
}
