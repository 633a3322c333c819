/* driver_io.c: the actions that touch storage, as tasks of the work queues. Every task answers by one event, whatever happens. */
#include "coordinator/driver_int.h"
#include "coordinator/savepoint_files.h"
#include "common/clock.h"
#include "common/crash.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CAMPAIGN_RETRY_MS 1000
#define SAY_MOVING_MS 5000 /* of a copy, to the core; its limit is much longer */

typedef struct task {
    work_task_t work;
    coord_driver_t *d;
    coord_action_t a;      /* the action, with what it owned */
    meta_pointer_t pointer; /* PUT_MANIFEST: ours; RAISE: the last */
    meta_attempt_t attempt;
    int nold; char **old; /* FIND_ORPHANS */
    job_shape_t *shape;   /* RESOLVE */
} task_t;

static void task_free(task_t *t) {
    coord_action_done(&t->a);
    meta_pointer_done(&t->pointer);
    for (int i = 0; i < t->nold; i++) free(t->old[i]);
    free(t->old);
    job_shape_free(t->shape);
    free(t);
}
static void task_drop(work_task_t *w) { task_free(CONTAINER_OF(w, task_t, work)); }
static task_t *task_of(work_task_t *w) { return CONTAINER_OF(w, task_t, work); }

static task_t *task_new(coord_driver_t *d, coord_action_t *a, void (*run)(work_task_t *)) {
    task_t *t = xcalloc(1, sizeof *t);
    t->work = (work_task_t){run, task_drop};
    t->d = d;
    if (!a) return t;
    t->a = *a;
    *a = (coord_action_t){0};
    return t;
}

static coord_event_t answer(coord_event_kind_t kind, job_id_t job, meta_result_t *r) {
    return (coord_event_t){.kind = kind, .job = job, .outcome = r->outcome, .error = TAKE(r->error)};
}

/* ---- leadership */
static void campaign_run(work_task_t *w);

static void leader_lost(void *arg, err_t *why) {
    coord_driver_t *d = arg;
    driver_post_event(d, (coord_event_t){.kind = EV_LEADER_LOST, .error = why});
}

/* ---- what was copied out of savepoints lies in "jobs/<origin>@<job>[.<leader>]/..", below the names of other jobs. `owner`: the part behind the @, or
 * its beginning up to the dot. Only the names of jobs are looked at to find it, not their files: storage may hold very many. */
typedef struct owned { const char *owner, *dir; disk_found_fn fn; void *arg; int n; char **dirs; } owned_t;
static void add_owned_dir(void *arg, const char *name) {
    owned_t *o = arg;
    const char *at = strchr(name, '@');
    size_t n = strlen(o->owner);
    if (!at || strncmp(at + 1, o->owner, n) != 0 || (at[n + 1] && at[n + 1] != '.')) return;
    o->dirs = xrealloc(o->dirs, (size_t)(o->n + 1) * sizeof *o->dirs);
    o->dirs[o->n++] = xprintf("jobs/%s", name);
}
static void found_owned(void *arg, const char *name, uint64_t size, int64_t modified_ms) {
    const owned_t *o = arg;
    AUTO(auto_free) char *path = xprintf("%s/%s", o->dir, name);
    o->fn(o->arg, path, size, modified_ms);
}
static err_t *list_owned(disk_t *disk, const char *owner, disk_found_fn fn, void *arg) { /* fn: with the whole path */
    owned_t o = {.owner = owner, .fn = fn, .arg = arg};
    err_t *e = disk->dirs(disk, "jobs", add_owned_dir, &o);
    for (int i = 0; i < o.n; i++) {
        o.dir = o.dirs[i];
        if (!e) e = disk->list(disk, o.dir, found_owned, &o);
        free(o.dirs[i]);
    }
    free(o.dirs);
    return e;
}
static err_t *list_restored(disk_t *disk, job_id_t job, disk_found_fn fn, void *arg) { /* by whatever leader */
    AUTO(auto_free) char *owner = xprintf("%016" PRIx64, job);
    return list_owned(disk, owner, fn, arg);
}

/* ---- savepoints that were being copied for jobs nobody accepted, when their leader died. A copy has a note, "restoring/<job>.<leader>", from before
 * its first file on, with the cluster's name in it: others may share the storage, and what jobs they have is not known here. Who leads next knows all of ours;
 * a leader before it can add none, and notices before its next file. */
static char *restoring_note(job_id_t job, uint64_t leader) { return xprintf("restoring/%016" PRIx64 ".%016" PRIx64, job, leader); }

typedef struct strays {
    work_task_t work;
    coord_driver_t *d;
    uint64_t leader;
    int njobs; job_id_t *jobs; /* ours */
    bool all;                  /* these are all that there are: every record could be read */
    int n; char **paths;       /* as listed */
} strays_t;
static void strays_clear(strays_t *s) {
    for (int i = 0; i < s->n; i++) free(s->paths[i]);
    free(TAKE(s->paths));
    s->n = 0;
}
static void strays_drop(work_task_t *w) {
    strays_t *s = CONTAINER_OF(w, strays_t, work);
    strays_clear(s);
    free(s->jobs);
    free(s);
}
static void strays_add(strays_t *s, const char *name) {
    s->paths = xrealloc(s->paths, (size_t)(s->n + 1) * sizeof *s->paths);
    s->paths[s->n++] = xstrdup(name);
}
static void add_name(void *arg, const char *name, uint64_t size, int64_t modified_ms) { strays_add(arg, name); }
/* Of our cluster and an earlier leader, and of a job that may be judged. */
static bool is_left(const strays_t *s, const char *note, bool *ret_known) {
    disk_t *disk = s->d->conf.storage;
    char *end = NULL;
    job_id_t job = strtoull(note, &end, 16);
    uint64_t leader = *end == '.' ? strtoull(end + 1, &end, 16) : 0;
    if (*end || !leader || leader >= s->leader) return false;
    AUTO(auto_free) char *path = xprintf("restoring/%s", note);
    AUTO(buf_free) buf_t cluster = buf_make(4096);
    err_t *e = disk->read(disk, path, 0, UINT64_MAX, &cluster);
    bool ours = !e && slice_eq(buf_slice(&cluster), slice_str(s->d->conf.core.cluster));
    err_free(e);
    *ret_known = false;
    for (int i = 0; i < s->njobs; i++) *ret_known |= s->jobs[i] == job;
    return ours && (*ret_known || s->all);
}
static void strays_run(work_task_t *w) {
    strays_t *s = CONTAINER_OF(w, strays_t, work);
    disk_t *disk = s->d->conf.storage;
    err_free(disk->list(disk, "restoring", add_name, s));
    int n = s->n;
    char **notes = TAKE(s->paths);
    s->n = 0;
    for (int i = 0; i < n; i++) {
        bool known = false;
        if (is_left(s, notes[i], &known)) {
            err_t *e = known ? NULL : list_owned(disk, notes[i], add_name, s); /* of a known one: its orphans are looked for, and go with it */
            for (int k = 0; k < s->n && !e; k++) e = disk->remove(disk, s->paths[k]);
            strays_clear(s);
            AUTO(auto_free) char *note = xprintf("restoring/%s", notes[i]);
            if (!e) e = disk->remove(disk, note);
            if (e) s->d->conf.log(s->d->conf.log_arg, COORD_WARN, err_text(e)); /* the note stays for the next leader */
            err_free(e);
        }
        free(notes[i]);
    }
    free(notes);
    strays_drop(w);
}
static void remove_strays(coord_driver_t *d, const coord_event_t *leading, bool all) {
    strays_t *s = xcalloc(1, sizeof *s);
    s->work = (work_task_t){strays_run, strays_drop};
    s->d = d;
    s->leader = leading->leading.leader;
    s->all = all;
    s->njobs = leading->leading.njobs;
    s->jobs = xcalloc((size_t)s->njobs + 1, sizeof *s->jobs);
    for (int i = 0; i < s->njobs; i++) s->jobs[i] = leading->leading.jobs[i]->id;
    work_queue_add(d->files, &s->work);
}

static void parse_records(coord_driver_t *d, meta_result_t *r, coord_event_t *ev) {
    ev->leading.jobs = xcalloc((size_t)r->njobs + 1, sizeof(job_record_t *));
    for (int i = 0; i < r->njobs; i++) {
        job_record_t *record = NULL;
        err_t *e = job_record_parse(slice_str(r->records[i]), &record);
        if (!e) ev->leading.jobs[ev->leading.njobs++] = record;
        else d->conf.log(d->conf.log_arg, COORD_ERROR, err_text(e));
        err_free(e);
    }
}

static void retry_campaign(coord_driver_t *d, err_t *why) {
    d->conf.log(d->conf.log_arg, COORD_ERROR, err_text(why));
    driver_post_event(d, (coord_event_t){.kind = EV_LEADER_LOST, .error = why});
}

static void loaded(void *arg, meta_result_t *r) {
    task_t *t = arg;
    coord_event_t ev = {.kind = EV_LEADING};
    ev.leading.leader = t->attempt.floor; /* the leader epoch, kept over the load */
    if (r->outcome == STORE_OK) {
        parse_records(t->d, r, &ev);
        remove_strays(t->d, &ev, ev.leading.njobs == r->njobs);
        driver_post_event(t->d, ev);
    } else {
        retry_campaign(t->d, TAKE(r->error));
    }
    meta_result_done(r);
    task_free(t);
}
static void load_run(work_task_t *w) {
    task_t *t = task_of(w);
    t->d->conf.meta->load(t->d->conf.meta, (meta_done_t){loaded, t});
}
static void won(void *arg, meta_result_t *r) {
    task_t *t = arg;
    if (r->outcome == STORE_OK) {
        t->attempt.floor = r->leader;
        t->work.run = load_run;
        work_queue_add(t->d->io, &t->work);
    } else {
        retry_campaign(t->d, TAKE(r->error));
        task_free(t);
    }
    meta_result_done(r);
}
static void campaign_run(work_task_t *w) {
    task_t *t = task_of(w);
    meta_store_t *m = t->d->conf.meta;
    m->campaign(m, leader_lost, t->d, (meta_done_t){won, t});
}
void io_campaign(coord_driver_t *d) { work_queue_add(d->io, &task_new(d, NULL, campaign_run)->work); }

static void resign_run(work_task_t *w) {
    task_t *t = task_of(w);
    t->d->conf.meta->resign(t->d->conf.meta);
    task_free(t);
}
void io_resign(coord_driver_t *d) { work_queue_add(d->io, &task_new(d, NULL, resign_run)->work); }

/* Whether `leader`, who began something that takes long on another queue, leads still. That queue waits: the store is called on its own thread
 * and answers within its own deadline. */
#define LOOKS_MAX 50
#define LOOK_AGAIN_MS 200
typedef struct leader_guard { coord_driver_t *d; job_id_t job; uint64_t leader; const coord_action_t *save; int64_t said_ms; } leader_guard_t;
typedef struct look { work_task_t work; const leader_guard_t *g; pthread_mutex_t lock; pthread_cond_t cond; bool done; meta_result_t result; } look_t;

static void look_done(void *arg, meta_result_t *r) {
    look_t *l = arg;
    pthread_mutex_lock(&l->lock);
    l->result = *r;
    *r = (meta_result_t){0};
    l->done = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}
static void guard_run(work_task_t *w) {
    look_t *l = CONTAINER_OF(w, look_t, work);
    l->g->d->conf.meta->look(l->g->d->conf.meta, l->g->job, (meta_done_t){look_done, l});
}
static void guard_drop(work_task_t *w) {
    meta_result_t r = {.outcome = STORE_FAILED, .error = err_new(ERR_CANCELLED, "the coordinator ends")};
    look_done(CONTAINER_OF(w, look_t, work), &r);
}
static meta_result_t look_once(const leader_guard_t *g) {
    look_t l = {.work = {guard_run, guard_drop}, .g = g, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    work_queue_add(g->d->io, &l.work);
    pthread_mutex_lock(&l.lock);
    while (!l.done) pthread_cond_wait(&l.cond, &l.lock);
    pthread_mutex_unlock(&l.lock);
    pthread_mutex_destroy(&l.lock);
    pthread_cond_destroy(&l.cond);
    return l.result;
}
static err_t *still_leading(void *arg) {
    const leader_guard_t *g = arg;
    err_t *last = NULL;
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (i) usleep(LOOK_AGAIN_MS * 1000);
        err_free(last);
        if (atomic_load(&g->d->ending)) return err_new(ERR_CANCELLED, "the coordinator ends");
        if (atomic_load(&g->d->leader) != g->leader) return err_new(ERR_FENCED, "this coordinator does not lead any more");
        meta_result_t r = look_once(g);
        store_outcome_t outcome = r.outcome;
        last = TAKE(r.error);
        meta_result_done(&r);
        if (outcome == STORE_OK) return NULL;
        if (outcome == STORE_REFUSED) {
            err_free(last);
            return err_new(ERR_FENCED, "this coordinator does not lead any more");
        }
    }
    return err_wrap(last, "metadata store");
}

/* ---- aside: a directory that a client named may lie on anything, also on what never answers. Nothing else waits for it. */
#define ASIDE_FULL "too many directories that were named before do not answer: %s is not looked at"

static bool go_aside(task_t *t, const char *verb, const char *where) {
    AUTO(auto_free) char *what = xprintf("%s %s", verb, where);
    return work_crowd_add(t->d->aside, &t->work, what);
}

/* ---- resolve */
static void resolved(task_t *t, manifest_t *from, err_t *e) {
    coord_event_t ev = {.kind = EV_RESOLVED, .job = t->a.job, .error = e};
    ev.resolved.leader = t->a.resolve.leader;
    if (!e || from) {
        ev.resolved.shape = TAKE(t->shape);
        ev.resolved.from = from;
    }
    driver_post_event(t->d, ev);
    task_free(t);
}
/* Before anything is copied. With an error *ret says whose savepoint it is, and names no file: one that lives is the better reason. */
static err_t *ask_ledgers(task_t *t, manifest_t **ret) {
    manifest_t *from = NULL;
    if (t->a.resolve.forced) return NULL;
    TRY(savepoint_read(t->d->conf.storage, t->a.resolve.from, &from));
    err_t *e = resolve_ask_ledgers(&t->d->resolver, &t->a.resolve.spec, from, t->a.resolve.new_ledger, t->shape);
    if (e) {
        *ret = manifest_new();
        (*ret)->job = from->job;
        (*ret)->family = from->family;
    }
    manifest_free(from);
    return err_wrap(e, "savepoint %s", t->a.resolve.from);
}
static void restore_run(work_task_t *w) {
    task_t *t = task_of(w);
    disk_t *disk = t->d->conf.storage;
    manifest_t *from = NULL;
    leader_guard_t g = {t->d, t->a.job, t->a.resolve.leader, NULL, 0};
    AUTO(auto_free) char *note = restoring_note(t->a.job, g.leader);
    const char *cluster = t->d->conf.core.cluster;
    err_t *e = err_wrap(disk->put(disk, note, slice_str(cluster)), "checkpoint storage");
    if (!e) e = ask_ledgers(t, &from);
    if (!e) e = savepoint_restore(disk, t->a.resolve.from, t->a.job, g.leader, (savepoint_guard_t){still_leading, NULL, &g}, &from);
    if (e) err_free(disk->remove(disk, note)); /* what was copied has gone */
    resolved(t, from, e);
}
static void resolve_run(work_task_t *w) {
    task_t *t = task_of(w);
    const char *from = t->a.resolve.from;
    err_t *e = resolve_job(&t->d->resolver, &t->a.resolve.spec, t->a.resolve.enumerate, &t->shape);
    t->work.run = restore_run;
    if (e || !from) resolved(t, NULL, e);
    else if (!go_aside(t, "reading savepoint", from)) resolved(t, NULL, err_new(ERR_UNAVAILABLE, ASIDE_FULL, from));
}
void io_resolve(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->resolve, &task_new(d, a, resolve_run)->work); }

static void find_run(work_task_t *w) {
    task_t *t = task_of(w);
    coord_event_t ev = {.kind = EV_SPLITS_FOUND, .job = t->a.job};
    ev.error = resolve_new_splits(&t->d->resolver, &t->a.find.spec, &ev.splits_found.n, &ev.splits_found.items);
    driver_post_event(t->d, ev);
    task_free(t);
}
void io_find_splits(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->resolve, &task_new(d, a, find_run)->work); }

/* ---- records and attempts */
static void job_put(void *arg, meta_result_t *r) {
    task_t *t = arg;
    driver_post_event(t->d, answer(EV_JOB_STORED, t->a.job, r));
    meta_result_done(r);
    task_free(t);
}
static void put_job_run(work_task_t *w) {
    task_t *t = task_of(w);
    AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
    job_record_print(&text, t->a.record);
    t->d->conf.meta->put_job(t->d->conf.meta, t->a.job, buf_slice(&text), (meta_done_t){job_put, t});
}
void io_put_job(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->io, &task_new(d, a, put_job_run)->work); }

static void delete_run(work_task_t *w) {
    task_t *t = task_of(w);
    disk_t *disk = t->d->conf.storage;
    for (int i = 0; i < t->a.files.n; i++) {
        err_t *e = disk->remove(disk, t->a.files.paths[i]);
        if (e) t->d->conf.log(t->d->conf.log_arg, COORD_WARN, err_text(e));
        err_free(e);
    }
    task_free(t);
}
/* Nothing refers to the job any more: what orphans its attempts left go with its directory. */
static char *path_of(const task_t *t, const char *name) { return xprintf("jobs/%016" PRIx64 "/%s", t->a.job, name); }

static void take_path(task_t *t, char *path) {
    t->a.files.paths = xrealloc(t->a.files.paths, (size_t)(t->a.files.n + 1) * sizeof(char *));
    t->a.files.paths[t->a.files.n++] = path;
}
static void add_path(void *arg, const char *name, uint64_t size, int64_t modified_ms) { take_path(arg, path_of(arg, name)); }
static void add_restored(void *arg, const char *path, uint64_t size, int64_t modified_ms) { take_path(arg, xstrdup(path)); }
static void clear_run(work_task_t *w) {
    task_t *t = task_of(w);
    disk_t *disk = t->d->conf.storage;
    AUTO(auto_free) char *dir = xprintf("jobs/%016" PRIx64, t->a.job);
    bool restored = t->a.forget.restored;
    t->a.kind = ACT_DELETE_FILES;
    t->a.files.n = 0;
    t->a.files.paths = NULL;
    err_free(disk->list(disk, dir, add_path, t));
    if (restored) err_free(list_restored(disk, t->a.job, add_restored, t));
    delete_run(w);
}
static void forgotten(void *arg, meta_result_t *r) {
    task_t *t = arg;
    bool ok = r->outcome == STORE_OK;
    driver_post_event(t->d, answer(EV_FORGOTTEN, t->a.job, r));
    meta_result_done(r);
    if (ok) {
        t->work.run = clear_run;
        work_queue_add(t->d->files, &t->work);
    } else {
        task_free(t);
    }
}
static void forget_run(work_task_t *w) {
    task_t *t = task_of(w);
    t->d->conf.meta->delete_job(t->d->conf.meta, t->a.job, (meta_done_t){forgotten, t});
}
void io_forget(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->io, &task_new(d, a, forget_run)->work); }

/* The manifest whose pointer the store has: its body and those of the older ones it keeps are needed; what was before and is no more is garbage (io
 * thread). */
static void bodies_are(coord_driver_t *d, const manifest_t *m) {
    bodies_t *b = NULL;
    for (int i = 0; i < d->nbodies; i++)
        if (d->bodies[i].job == m->job) b = &d->bodies[i];
    if (!b) {
        d->bodies = xrealloc(d->bodies, (size_t)(d->nbodies + 1) * sizeof *d->bodies);
        b = &d->bodies[d->nbodies++];
        *b = (bodies_t){.job = m->job};
    }
    bodies_t now = {.job = m->job, .n = m->nolder + 1, .paths = xcalloc((size_t)m->nolder + 1, sizeof(char *))};
    for (int i = 0; i < now.n; i++) now.paths[i] = i ? manifest_older_path(m, i - 1) : manifest_body_path(m);
    for (int i = 0; i < b->n; i++) {
        bool needed = false;
        for (int k = 0; k < now.n; k++) needed |= strcmp(b->paths[i], now.paths[k]) == 0;
        if (!needed) err_free(d->conf.storage->remove(d->conf.storage, b->paths[i])); /* else an orphan of a few kB */
    }
    bodies_done(b);
    *b = now;
}
void bodies_done(bodies_t *b) {
    for (int i = 0; i < b->n; i++) free(b->paths[i]);
    free(b->paths);
}

static err_t *read_body(disk_t *disk, const meta_pointer_t *p, manifest_t **ret) {
    AUTO(buf_free) buf_t b = buf_make((size_t)256 << 20);
    TRY(err_wrap(disk->read(disk, p->path, 0, UINT64_MAX, &b), "last manifest"));
    if (crc32c(0, b.data, b.len) != p->crc)
        return err_hint(err_new(ERR_CORRUPT, "manifest %s in %s is damaged (checksum)", p->path, disk->where(disk)),
                        "restore the file, or submit the job anew from a savepoint");
    return err_wrap(manifest_parse(buf_slice(&b), ret), "%s", p->path);
}

/* One that is damaged is kept no longer; that is no reason not to go on. Another may be read the next time: the event says why it was not. */
static void read_older(coord_driver_t *d, const manifest_t *last, coord_event_t *ev) {
    ev->raised.older = xcalloc((size_t)last->nolder + 1, sizeof(manifest_t *));
    for (int i = 0; i < last->nolder; i++) {
        AUTO(auto_free) char *path = manifest_older_path(last, i);
        AUTO(buf_free) buf_t b = buf_make((size_t)256 << 20);
        err_t *e = d->conf.storage->read(d->conf.storage, path, 0, UINT64_MAX, &b);
        if (!e) e = err_wrap(manifest_parse(buf_slice(&b), &ev->raised.older[ev->raised.nolder]), "%s", path);
        bool lost = err_deterministic(e);
        if (!e) ev->raised.nolder++;
        else d->conf.log(d->conf.log_arg, COORD_WARN, err_text(e = err_wrap(e, "an older epoch that was kept %s", lost ? "is lost" : "cannot be read")));
        if (!lost && !ev->error) ev->error = TAKE(e);
        err_free(e);
    }
}

static void read_last_run(work_task_t *w) {
    task_t *t = task_of(w);
    coord_event_t ev = {.kind = EV_RAISED, .job = t->a.job};
    manifest_t *last = NULL;
    ev.error = read_body(t->d->conf.storage, &t->pointer, &last);
    ev.outcome = ev.error ? STORE_FAILED : STORE_OK;
    ev.raised.attempt = t->attempt.attempt;
    ev.raised.floor = t->attempt.floor;
    ev.raised.last = last;
    if (last) bodies_are(t->d, last);
    if (last) read_older(t->d, last, &ev);
    driver_post_event(t->d, ev);
    task_free(t);
}
static void raised(void *arg, meta_result_t *r) {
    task_t *t = arg;
    t->attempt = r->attempt;
    if (r->outcome == STORE_OK && r->has_last) {
        t->pointer = meta_pointer_copy(&r->last);
        t->work.run = read_last_run;
        work_queue_add(t->d->io, &t->work);
    } else {
        coord_event_t ev = answer(EV_RAISED, t->a.job, r);
        ev.raised.attempt = r->attempt.attempt;
        ev.raised.floor = r->attempt.floor;
        driver_post_event(t->d, ev);
        task_free(t);
    }
    meta_result_done(r);
}
static void raise_run(work_task_t *w) {
    task_t *t = task_of(w);
    t->d->conf.meta->raise_attempt(t->d->conf.meta, t->a.job, t->a.raise.above, (meta_done_t){raised, t});
}
void io_raise(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->io, &task_new(d, a, raise_run)->work); }

/* ---- manifests: the body first, then the pointer; "durable" is the pointer */
static void body_stored_run(work_task_t *w) {
    task_t *t = task_of(w);
    bodies_are(t->d, t->a.put.manifest);
    task_free(t);
}
static void post_manifest_stored(task_t *t, store_outcome_t outcome, err_t *e) {
    coord_event_t ev = {.kind = EV_MANIFEST_STORED, .job = t->a.job, .outcome = outcome, .error = e};
    ev.manifest_stored.attempt = t->pointer.attempt;
    ev.manifest_stored.epoch = t->pointer.epoch;
    driver_post_event(t->d, ev);
}
static void manifest_put(void *arg, meta_result_t *r) {
    task_t *t = arg;
    bool ok = r->outcome == STORE_OK;
    if (ok) crash_point("manifest-durable");
    post_manifest_stored(t, r->outcome, TAKE(r->error));
    meta_result_done(r);
    if (ok) {
        t->work.run = body_stored_run;
        work_queue_add(t->d->io, &t->work);
    } else {
        task_free(t);
    }
}
static void put_manifest_run(work_task_t *w) {
    task_t *t = task_of(w);
    const manifest_t *m = t->a.put.manifest;
    disk_t *disk = t->d->conf.storage;
    AUTO(buf_free) buf_t text = buf_make((size_t)256 << 20);
    manifest_print(&text, m);
    t->pointer = (meta_pointer_t){m->incarnation, m->leader, m->attempt, m->epoch, crc32c(0, text.data, text.len),
                                  manifest_body_path(m)};
    err_t *e = disk->put(disk, t->pointer.path, buf_slice(&text));
    if (e) {
        post_manifest_stored(t, STORE_FAILED, err_wrap(e, "checkpoint storage"));
        task_free(t);
        return;
    }
    meta_pointer_t previous = {t->a.put.previous_incarnation, t->a.put.previous_leader, t->a.put.previous_attempt, t->a.put.previous_epoch, 0, NULL};
    meta_store_t *meta = t->d->conf.meta;
    meta->put_manifest(meta, t->a.job, t->a.put.first ? NULL : &previous, &t->pointer, (meta_done_t){manifest_put, t});
}
void io_put_manifest(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->io, &task_new(d, a, put_manifest_run)->work); }

/* ---- files */
void io_delete_files(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->files, &task_new(d, a, delete_run)->work); }

/* The listing comes first, on the files' queue; only then the store is asked, on its own. */
static void old_is(task_t *t, char *path, int64_t modified_ms) {
    if (clock_wall_ms() - modified_ms < t->a.orphans.age_ms) {
        free(path);
        return;
    }
    if ((t->nold & (t->nold + 1)) == 0) t->old = xrealloc(t->old, (size_t)(2 * t->nold + 2) * sizeof *t->old);
    t->old[t->nold++] = path;
}
static void add_old(void *arg, const char *name, uint64_t size, int64_t modified_ms) { old_is(arg, path_of(arg, name), modified_ms); }
static void add_old_restored(void *arg, const char *path, uint64_t size, int64_t modified_ms) { old_is(arg, xstrdup(path), modified_ms); }
static void looked(void *arg, meta_result_t *r) {
    task_t *t = arg;
    coord_event_t ev = answer(EV_ORPHANS, t->a.job, r);
    ev.orphans.attempt = r->attempt.attempt;
    if (r->has_last) ev.orphans.last = xstrdup(r->last.path);
    ev.orphans.n = t->nold;
    ev.orphans.paths = TAKE(t->old);
    t->nold = 0;
    driver_post_event(t->d, ev);
    meta_result_done(r);
    task_free(t);
}
static void look_run(work_task_t *w) {
    task_t *t = task_of(w);
    t->d->conf.meta->look(t->d->conf.meta, t->a.job, (meta_done_t){looked, t});
}
static void find_orphans_run(work_task_t *w) {
    task_t *t = task_of(w);
    disk_t *disk = t->d->conf.storage;
    AUTO(auto_free) char *dir = xprintf("jobs/%016" PRIx64, t->a.job);
    err_t *e = disk->list(disk, dir, add_old, t);
    if (!e && t->a.orphans.restored) e = list_restored(disk, t->a.job, add_old_restored, t);
    if (e) {
        t->d->conf.log(t->d->conf.log_arg, COORD_WARN, err_text(e));
        driver_post_event(t->d, (coord_event_t){.kind = EV_ORPHANS, .job = t->a.job, .outcome = STORE_FAILED, .error = e});
        task_free(t);
        return;
    }
    t->work.run = look_run;
    work_queue_add(t->d->io, &t->work);
}
void io_find_orphans(coord_driver_t *d, coord_action_t *a) { work_queue_add(d->files, &task_new(d, a, find_orphans_run)->work); }

/* ---- savepoints */
static coord_event_t of_save(coord_event_kind_t kind, const coord_action_t *a) {
    coord_event_t ev = {.kind = kind, .job = a->job};
    ev.saved.epoch = a->save.manifest->epoch;
    ev.saved.leader = a->save.leader;
    ev.saved.serial = a->save.serial;
    return ev;
}
static void say_moving(void *arg) {
    leader_guard_t *g = arg;
    int64_t now = clock_mono_ms();
    if (g->said_ms && now - g->said_ms < SAY_MOVING_MS) return;
    g->said_ms = now;
    coord_event_t ev = of_save(EV_SAVING, g->save);
    ev.saved.target = xstrdup(g->save->save.target);
    driver_post_event(g->d, ev);
}
static void save_run(work_task_t *w) {
    task_t *t = task_of(w);
    coord_event_t ev = of_save(EV_SAVED, &t->a);
    leader_guard_t g = {t->d, t->a.job, t->a.save.leader, &t->a, 0};
    savepoint_guard_t guard = {still_leading, say_moving, &g};
    ev.error = savepoint_copy(t->d->conf.storage, t->a.save.manifest, t->a.save.leader, t->a.save.serial, t->a.save.target, guard);
    if (ev.error) ev.outcome = err_code(ev.error) == ERR_FENCED ? STORE_REFUSED : STORE_FAILED;
    ev.saved.target = TAKE(t->a.save.target);
    driver_post_event(t->d, ev);
    task_free(t);
}
static void not_saved(task_t *t) {
    coord_event_t ev = of_save(EV_SAVED, &t->a);
    ev.outcome = STORE_FAILED;
    ev.error = err_new(ERR_UNAVAILABLE, ASIDE_FULL, t->a.save.target);
    ev.saved.target = TAKE(t->a.save.target);
    driver_post_event(t->d, ev);
    task_free(t);
}
void io_save(coord_driver_t *d, coord_action_t *a) {
    task_t *t = task_new(d, a, save_run);
    if (!coord_named_outside(t->a.save.target)) work_queue_add(d->files, &t->work);
    else if (!go_aside(t, "writing savepoint", t->a.save.target)) not_saved(t);
}

static void target_checked(task_t *t, err_t *e) {
    coord_event_t ev = {.kind = EV_TARGET_CHECKED, .job = t->a.job, .error = e};
    ev.checked.call = t->a.check.call;
    driver_post_event(t->d, ev);
    task_free(t);
}
/* Not behind the copies of others: whoever asks waits for it. */
static void check_target_run(work_task_t *w) {
    task_t *t = task_of(w);
    target_checked(t, savepoint_check(t->d->conf.storage, t->a.check.target));
}
void io_check_target(coord_driver_t *d, coord_action_t *a) {
    task_t *t = task_new(d, a, check_target_run);
    if (!go_aside(t, "looking at", t->a.check.target)) target_checked(t, err_new(ERR_UNAVAILABLE, ASIDE_FULL, t->a.check.target));
}
