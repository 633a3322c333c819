/* meta_store_memory.c: `run` without --data, and tests: nothing outlives the process. */
#include "coordinator/meta_store.h"
#include <pthread.h>
#include <stdlib.h>

typedef struct entry { job_id_t id; char *record; meta_attempt_t attempt; bool has_last; meta_pointer_t last; } entry_t;
typedef struct memory {
    meta_store_t vt;
    uint64_t leader;
    bool leading;
    int n; entry_t *entries;
    pthread_mutex_t lock; /* guards what meta_store_memory_fail sets */
    store_outcome_t fail;
    bool fails, lands;
} memory_t;

static void finish(meta_done_t done, meta_result_t *r) { done.fn(done.arg, r); }

static entry_t *entry_of(memory_t *m, job_id_t id) {
    for (int i = 0; i < m->n; i++)
        if (m->entries[i].id == id) return &m->entries[i];
    m->entries = xrealloc(m->entries, (size_t)(m->n + 1) * sizeof *m->entries);
    m->entries[m->n] = (entry_t){.id = id};
    return &m->entries[m->n++];
}

/* Does this write take effect, and how is it answered? */
static bool write_allowed(memory_t *m, meta_result_t *r) {
    if (!m->leading) {
        *r = (meta_result_t){.outcome = STORE_REFUSED, .error = err_new(ERR_FENCED, "this process does not lead")};
        return false;
    }
    pthread_mutex_lock(&m->lock);
    bool fails = m->fails, lands = m->lands;
    *r = (meta_result_t){.outcome = fails ? m->fail : STORE_OK};
    m->fails = false;
    pthread_mutex_unlock(&m->lock);
    if (!fails) return true;
    r->error = err_new(ERR_UNAVAILABLE, "injected failure");
    return lands && r->outcome == STORE_UNKNOWN;
}

static void memory_campaign(meta_store_t *vt, void (*lost)(void *, err_t *), void *lost_arg, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    m->leading = true;
    finish(done, &(meta_result_t){.leader = ++m->leader});
}
static void memory_load(meta_store_t *vt, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    meta_result_t r = {.records = xcalloc((size_t)m->n + 1, sizeof(char *))};
    for (int i = 0; i < m->n; i++)
        if (m->entries[i].record) r.records[r.njobs++] = xstrdup(m->entries[i].record);
    finish(done, &r);
}
static void memory_put_job(meta_store_t *vt, job_id_t job, slice_t record, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    meta_result_t r;
    if (write_allowed(m, &r)) {
        entry_t *e = entry_of(m, job);
        free(e->record);
        e->record = xstrndup((const char *)record.p, record.len);
    }
    finish(done, &r);
}
static void memory_raise(meta_store_t *vt, job_id_t job, attempt_t above, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    meta_result_t r;
    if (write_allowed(m, &r)) {
        entry_t *e = entry_of(m, job);
        e->attempt = meta_attempt_raise(e->attempt, e->has_last ? &e->last : NULL, above);
        r.attempt = e->attempt;
        r.has_last = e->has_last;
        if (e->has_last) r.last = meta_pointer_copy(&e->last);
    }
    finish(done, &r);
}
static void memory_look(meta_store_t *vt, job_id_t job, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    meta_result_t r;
    if (write_allowed(m, &r)) {
        const entry_t *e = entry_of(m, job);
        r.attempt = e->attempt;
        r.has_last = e->has_last;
        if (e->has_last) r.last = meta_pointer_copy(&e->last);
    }
    finish(done, &r);
}
static void memory_put_manifest(meta_store_t *vt, job_id_t job, const meta_pointer_t *previous, const meta_pointer_t *now, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    meta_result_t r;
    entry_t *e = entry_of(m, job);
    bool there = e->has_last && meta_pointer_eq(&e->last, now);
    bool fits = e->attempt.attempt == now->attempt && (previous ? e->has_last && meta_pointer_eq(&e->last, previous) : !e->has_last);
    if (write_allowed(m, &r) && !there) {
        if (fits) {
            meta_pointer_done(&e->last);
            e->last = meta_pointer_copy(now);
            e->has_last = true;
        } else {
            err_free(r.error);
            r.outcome = STORE_REFUSED;
            r.error = err_new(ERR_FENCED, "another attempt or manifest is there");
        }
    }
    finish(done, &r);
}
static void memory_delete(meta_store_t *vt, job_id_t job, meta_done_t done) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    meta_result_t r;
    if (write_allowed(m, &r)) {
        entry_t *e = entry_of(m, job);
        free(e->record);
        meta_pointer_done(&e->last);
        *e = (entry_t){.id = job};
    }
    finish(done, &r);
}
static void memory_resign(meta_store_t *vt) { CONTAINER_OF(vt, memory_t, vt)->leading = false; }
static void memory_free(meta_store_t *vt) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    for (int i = 0; i < m->n; i++) {
        free(m->entries[i].record);
        meta_pointer_done(&m->entries[i].last);
    }
    free(m->entries);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
static const char *memory_where(meta_store_t *vt) { return "memory"; }

meta_store_t *meta_store_memory_new(void) {
    memory_t *m = xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    m->vt = (meta_store_t){memory_campaign, memory_load, memory_put_job, memory_raise, memory_look, memory_put_manifest, memory_delete,
                           memory_resign, memory_free, memory_where};
    return &m->vt;
}

void meta_store_memory_fail(meta_store_t *vt, store_outcome_t outcome, bool lands) {
    memory_t *m = CONTAINER_OF(vt, memory_t, vt);
    pthread_mutex_lock(&m->lock);
    m->fails = true;
    m->fail = outcome;
    m->lands = lands;
    pthread_mutex_unlock(&m->lock);
}
