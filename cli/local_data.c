#include "cli/local_data.h"
#include "worker/base.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

bool local_data_same(const job_spec_t *a, const job_spec_t *b) {
    bool same = !strcmp(a->sql, b->sql) && a->parallelism == b->parallelism && a->nset == b->nset;
    for (int i = 0; i < a->nset && same; i++) same = !strcmp(a->set_keys[i], b->set_keys[i]) && !strcmp(a->set_values[i], b->set_values[i]);
    return same;
}

static void remove_named(const char *folder, const char *part, bool begins) {
    DIR *d = opendir(folder);
    for (struct dirent *x; d && (x = readdir(d));) {
        const char *found = strstr(x->d_name, part);
        if (!found || (begins && found != x->d_name)) continue;
        AUTO(auto_free) char *path = xprintf("%s/%s", folder, x->d_name);
        base_remove_tree(path);
    }
    if (d) closedir(d);
}

/* The record goes last: a job that is half removed is still found, and removed by the next --fresh. */
static void forget(const char *dir, job_id_t id) {
    AUTO(auto_free) char *own = xprintf("%s/checkpoints/jobs/%016" PRIx64, dir, id), *jobs = xprintf("%s/checkpoints/jobs", dir);
    AUTO(auto_free) char *from = xprintf("@%016" PRIx64, id), *saved = xprintf("%" PRIu64 "-", id);
    AUTO(auto_free) char *saves = xprintf("%s/checkpoints/savepoints", dir), *record = xprintf("%s/metadata/jobs/%016" PRIx64, dir, id);
    base_remove_tree(own);
    remove_named(jobs, from, false); /* what it began from */
    remove_named(saves, saved, true);
    base_remove_tree(record);
}

typedef struct look {
    const char *dir;
    const job_spec_t *spec;
    bool fresh;
    job_record_t *last;
    err_t *error;
} look_t;

static void look_at(look_t *l, const char *text) {
    job_record_t *r = NULL;
    l->error = job_record_parse(slice_str(text), &r);
    if (l->error) return;
    bool ours = r->spec.name && !strcmp(r->spec.name, l->spec->name);
    if (ours && l->fresh) {
        forget(l->dir, r->id);
    } else if (ours && (!l->last || r->created_ms > l->last->created_ms)) {
        job_record_free(l->last);
        l->last = TAKE(r);
    } else if (!ours && !job_state_terminal(r->state)) {
        l->error = err_hint(err_new(ERR_EXISTS, "%s holds the job '%s', which has not ended", l->dir, r->spec.name ? r->spec.name : ""),
                            "run its file again, or give this one a --data of its own");
    }
    job_record_free(r);
}

static void loaded(void *arg, meta_result_t *r) {
    look_t *l = arg;
    l->error = TAKE(r->error);
    for (int i = 0; i < r->njobs && !l->error; i++) look_at(l, r->records[i]);
    meta_result_done(r);
}

err_t *local_data_open(const char *dir, bool fresh, const job_spec_t *spec, meta_store_t **ret_meta, job_record_t **ret) {
    AUTO(auto_free) char *path = xprintf("%s/metadata", dir);
    meta_store_t *meta = NULL;
    err_t *e = meta_store_dir_open(path, &meta);
    if (err_code(e) == ERR_EXISTS) {
        err_t *used = err_hint(err_new(ERR_EXISTS, "%s", err_text(e)), "another run is alive there: end it, or give this one a --data of its own");
        err_free(e);
        return used;
    }
    TRY(e);
    look_t l = {.dir = dir, .spec = spec, .fresh = fresh};
    meta->load(meta, (meta_done_t){loaded, &l}); /* a directory answers before it returns */
    if (l.error) {
        job_record_free(l.last);
        meta->free(meta);
        return err_wrap(l.error, "--data");
    }
    *ret_meta = meta;
    *ret = l.last;
    return NULL;
}
