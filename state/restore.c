/* restore.c: see restore.h. */
#include "state/restore.h"
#include "state/kept.h"
#include <stdlib.h>

#define LOOK_BYTES ((size_t)1 << 20)

/* One operator of this worker: which key groups it has here, and from which base each comes. */
typedef struct wanted {
    uint64_t fingerprint;
    bool owned[KEY_GROUPS];
    int16_t base[KEY_GROUPS];   /* index in the manifest; -1 none */
    epoch_t epoch[KEY_GROUPS];  /* of that base; 0 none */
} wanted_t;

/* The latest operator bytes of an old task. */
typedef struct op_bytes {
    uint64_t fingerprint;
    int op, stage, subtask;
    attempt_t attempt;
    buf_t bytes;
} op_bytes_t;

struct restore {
    restore_conf_t conf;
    wanted_t *wanted;
    int nwanted;
    epoch_t floor; /* changes of epochs up to here are in the bases, for all key groups wanted */
    op_bytes_t *ops;
    int nops;
    uint64_t bytes, fetched;
    bool damaged, theirs; /* a file was not what the manifest says; an error came from whom its records went to */
    char *own_wrong;      /* the first own copy that was not whole */
    /* while replaying */
    applier_t *applier;
    const restore_sink_t *sink;
    const extent_t *extent;
    bool extent_newest; /* the last one of its writer: has its latest operator bytes */
    attempt_t attempt;
    epoch_t epoch, lanes_from;
    int stage, subtask;           /* whose records are read */
    int told_stage, told_subtask; /* whom the sink was told of */
    bool told;
    bool flushed, spilled; /* changes went into the base already; and only there */
    buf_t filtered;
};

static wanted_t *find_wanted(const restore_t *r, uint64_t fingerprint) {
    for (int i = 0; i < r->nwanted; i++)
        if (r->wanted[i].fingerprint == fingerprint) return &r->wanted[i];
    return NULL;
}

restore_t *restore_new(const restore_conf_t *conf) {
    restore_t *r = xcalloc(1, sizeof *r);
    r->conf = *conf;
    r->wanted = xcalloc((size_t)conf->nranges + 1, sizeof *r->wanted);
    r->filtered = buf_make(SIZE_MAX / 2);
    for (int i = 0; i < conf->nranges; i++) {
        wanted_t *w = find_wanted(r, conf->ranges[i].fingerprint);
        if (!w) {
            w = &r->wanted[r->nwanted++];
            w->fingerprint = conf->ranges[i].fingerprint;
            for (int kg = 0; kg < KEY_GROUPS; kg++) w->base[kg] = -1;
        }
        for (int kg = MAX(conf->ranges[i].kg_lo, 0); kg < MIN(conf->ranges[i].kg_hi, KEY_GROUPS); kg++) w->owned[kg] = true;
    }
    return r;
}

void restore_free(restore_t *r) {
    if (!r) return;
    for (int i = 0; i < r->nops; i++) buf_free(&r->ops[i].bytes);
    free(r->ops);
    free(r->wanted);
    buf_free(&r->filtered);
    free(r->own_wrong);
    free(r);
}

uint64_t restore_bytes(const restore_t *r) { return r->bytes; }
uint64_t restore_fetched(const restore_t *r) { return r->fetched; }
bool restore_damaged(const restore_t *r) { return r->damaged; }
const char *restore_own_wrong(const restore_t *r) { return r->own_wrong; }

/* What came of reading something the manifest names. */
static err_t *was_read(restore_t *r, err_t *e) {
    err_code_t code = err_code(e);
    if (!r->theirs && (code == ERR_CORRUPT || code == ERR_NOT_FOUND)) r->damaged = true;
    return e;
}
static err_t *theirs(restore_t *r, err_t *e) {
    if (e) r->theirs = true;
    return e;
}
static void own_is_wrong(restore_t *r, const char *path) {
    if (!r->own_wrong) r->own_wrong = xstrdup(path);
}

static err_t *go_on(const restore_t *r) {
    bool stop = r->conf.cancel && atomic_load(r->conf.cancel);
    return stop ? err_new(ERR_CANCELLED, "the attempt was stopped while it was restored") : NULL;
}

/* ---------------------------------------------------------------- bases */
static err_t *choose(restore_t *r, int at) {
    TRY(go_on(r));
    const base_t *b = &r->conf.manifest->bases[at];
    if (b->epoch > r->conf.manifest->epoch)
        return err_new(ERR_CORRUPT, "manifest of epoch %" PRIu64 " names a base of epoch %" PRIu64 " of worker '%s'",
                       r->conf.manifest->epoch, b->epoch, b->worker);
    base_meta_t m;
    err_t *own = r->conf.kept ? base_meta_read(r->conf.kept, r->conf.manifest->job, b, &m) : NULL;
    bool ask = own || !r->conf.kept;
    if (own && err_code(own) != ERR_NOT_FOUND) own_is_wrong(r, b->nfiles ? b->files[0].path : b->worker);
    err_free(own);
    if (ask) TRY(was_read(r, base_meta_read(r->conf.disk, r->conf.manifest->job, b, &m)));
    for (int i = 0; i < m.nranges; i++) {
        wanted_t *w = find_wanted(r, m.ranges[i].fingerprint);
        for (int kg = m.ranges[i].kg_lo; w && kg < m.ranges[i].kg_hi; kg++) {
            if (!w->owned[kg] || (w->base[kg] >= 0 && w->epoch[kg] > b->epoch)) continue;
            w->base[kg] = (int16_t)at;
            w->epoch[kg] = b->epoch;
        }
    }
    base_meta_done(&m);
    return NULL;
}

static err_t *load_runs(restore_t *r, base_db_t *db, int at, const char *dir) {
    for (int i = 0; i < r->nwanted; i++) {
        wanted_t *w = &r->wanted[i];
        for (int kg = 0; kg < KEY_GROUPS;) {
            int lo = kg;
            while (kg < KEY_GROUPS && w->base[kg] == at) kg++;
            if (kg > lo) TRY(go_on(r));
            if (kg > lo) TRY(db->load_op(db, dir, w->fingerprint, lo, kg));
            else kg++;
        }
    }
    return NULL;
}

/* Read and found to be missing or not what the manifest says. Why else it may fail is no matter of the file. */
static bool file_is_wrong(const restore_t *r, disk_t *d, const char *path, const base_file_t *f) {
    AUTO(buf_free) buf_t b = buf_make(LOOK_BYTES);
    uint32_t crc = 0;
    err_t *e = NULL;
    for (uint64_t at = 0; !e && at < f->size; at += b.len) {
        buf_clear(&b);
        e = go_on(r);
        if (!e) e = d->read(d, path, at, MIN(f->size - at, LOOK_BYTES), &b);
        if (!e && !b.len) return true; /* shorter than the manifest says */
        crc = crc32c(crc, b.data, b.len);
    }
    buf_clear(&b);
    if (!e) e = d->read(d, path, f->size, UINT64_MAX, &b);
    err_code_t code = err_code(e);
    bool wrong = code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_LIMIT || (!e && (b.len > 0 || crc != f->crc));
    err_free(e);
    return wrong;
}

/* A directory here that is gone or not writable says much the same as a file that is: this one is not to blame, and a later attempt may well succeed. */
static err_t *fetch_stored(restore_t *r, base_db_t *db, const base_file_t *f, const char *dir) {
    err_t *e = db->fetch(db, r->conf.disk, f, dir);
    bool says = err_code(e) == ERR_NOT_FOUND || err_code(e) == ERR_CORRUPT;
    return says && file_is_wrong(r, r->conf.disk, f->path, f) ? was_read(r, e) : err_here(e);
}

/* What is here and right is not asked for. */
static err_t *fetch(restore_t *r, base_db_t *db, const base_file_t *f, const char *dir) {
    TRY(go_on(r));
    if (!r->conf.kept) return fetch_stored(r, db, f, dir);
    err_t *e = db->fetch(db, r->conf.kept, f, dir);
    if (!e) return NULL;
    if (err_code(e) != ERR_NOT_FOUND) own_is_wrong(r, f->path);
    err_free(e);
    TRY(fetch_stored(r, db, f, dir));
    AUTO(auto_free) char *local = xprintf("%s/%s", dir, f->name);
    kept_add(r->conf.kept, local, f->path);
    r->fetched += f->size;
    return NULL;
}

/* Nothing became of the files here since they were found right: the base never was one. */
static bool as_fetched(const restore_t *r, const base_t *b, const char *dir) {
    disk_t *d;
    err_t *e = disk_open_posix(dir, /* create= */ false, &d);
    if (e) {
        err_free(e);
        return false;
    }
    bool same = true;
    for (int i = 0; same && i < b->nfiles; i++)
        if (strcmp(b->files[i].name, BASE_META_NAME) != 0) same = !file_is_wrong(r, d, b->files[i].name, &b->files[i]);
    d->free(d);
    return same;
}

static err_t *load_fetched(restore_t *r, base_db_t *db, int at, const char *dir) {
    err_t *e = load_runs(r, db, at, dir);
    if (err_code(e) == ERR_CORRUPT && as_fetched(r, &r->conf.manifest->bases[at], dir)) return was_read(r, e);
    return err_here(e);
}

static err_t *load_base(restore_t *r, int at) {
    const base_t *b = &r->conf.manifest->bases[at];
    bool used = false;
    for (int i = 0; i < r->nwanted; i++)
        for (int kg = 0; kg < KEY_GROUPS; kg++) used |= r->wanted[i].base[kg] == at;
    if (!used || b->nfiles <= 1) return NULL; /* a description alone: there was no keyed state yet */
    base_db_t *db;
    TRY(kstate_env_need_base(r->conf.env, &db));
    AUTO(auto_free) char *dir = xprintf("%s/fetched-%d", r->conf.dir, at);
    db->discard(db, dir); /* what a crash left */
    err_t *e = NULL;
    for (int i = 0; i < b->nfiles && !e; i++)
        if (strcmp(b->files[i].name, BASE_META_NAME) != 0) e = fetch(r, db, &b->files[i], dir);
    if (!e) e = load_fetched(r, db, at, dir);
    db->discard(db, dir);
    return err_wrap(e, "base of worker '%s', epoch %" PRIu64, b->worker, b->epoch);
}

err_t *restore_bases(restore_t *r) {
    const manifest_t *m = r->conf.manifest;
    if (m->nbases > INT16_MAX) return err_new(ERR_CORRUPT, "the manifest names %d bases", m->nbases);
    for (int i = 0; i < m->nbases; i++) TRY(choose(r, i));
    for (int i = 0; i < m->nbases; i++) TRY(load_base(r, i));
    epoch_t floor = m->epoch;
    for (int i = 0; i < r->nwanted; i++)
        for (int kg = 0; kg < KEY_GROUPS; kg++)
            if (r->wanted[i].owned[kg]) floor = MIN(floor, r->wanted[i].epoch[kg]);
    r->floor = floor;
    kstate_env_set_applied(r->conf.env, floor);
    kstate_env_set_restoring(r->conf.env, m->epoch);
    return NULL;
}

/* ---------------------------------------------------------------- replay */
static bool replay_want(void *arg, attempt_t attempt, epoch_t epoch) {
    const restore_t *r = arg;
    return epoch > r->floor || epoch >= r->lanes_from || (r->extent_newest && epoch == r->extent->last);
}

static err_t *replay_begin(void *arg, attempt_t attempt, epoch_t epoch) {
    restore_t *r = arg;
    r->attempt = attempt;
    r->epoch = epoch;
    return go_on(r);
}

static err_t *replay_task(void *arg, int stage, int subtask, int64_t watermark, bool ended) {
    restore_t *r = arg;
    r->stage = stage;
    r->subtask = subtask;
    return NULL;
}

static err_t *tell_task(restore_t *r, int stage, int subtask) {
    if (r->told && r->told_stage == stage && r->told_subtask == subtask) return NULL;
    r->told_stage = stage;
    r->told_subtask = subtask;
    r->told = true;
    return r->sink->task ? r->sink->task(r->sink->arg, stage, subtask) : NULL;
}

/* A later attempt may have other subtasks: what an earlier one sealed for the operator counts no more. */
static void remember_op(restore_t *r, uint64_t fingerprint, int op, slice_t bytes) {
    op_bytes_t *found = NULL;
    int n = 0;
    for (int i = 0; i < r->nops; i++) {
        op_bytes_t o = r->ops[i];
        if (o.fingerprint == fingerprint && o.op == op && o.attempt < r->attempt) {
            buf_free(&o.bytes);
            continue;
        }
        r->ops[n++] = o;
    }
    r->nops = n;
    for (int i = 0; i < n && !found; i++) {
        op_bytes_t *o = &r->ops[i];
        if (o->fingerprint == fingerprint && o->op == op && o->stage == r->stage && o->subtask == r->subtask) found = o;
    }
    if (!found) {
        r->ops = xrealloc(r->ops, ((size_t)n + 1) * sizeof *r->ops);
        found = &r->ops[r->nops++];
        *found = (op_bytes_t){fingerprint, op, r->stage, r->subtask, r->attempt, buf_make(SIZE_MAX / 2)};
    }
    buf_clear(&found->bytes);
    buf_put(&found->bytes, bytes.p, bytes.len);
}

static bool due(const restore_t *r, const wanted_t *w, int kg) { return w->owned[kg] && r->epoch > w->epoch[kg]; }

static void filter_drop(restore_t *r, const wanted_t *w, const change_t *c) {
    for (int kg = c->kg_lo; kg < c->kg_hi;) {
        int lo = kg;
        while (kg < c->kg_hi && due(r, w, kg)) kg++;
        if (kg > lo) change_drop_range(&r->filtered, c->ns, lo, kg);
        else kg++;
    }
}

/* Copies the changes whose key group is wanted and not yet in its base. */
static err_t *filter(restore_t *r, const wanted_t *w, int slot, slice_t bytes) {
    reader_t in;
    TRY(change_open(bytes, &in));
    buf_clear(&r->filtered);
    change_header(&r->filtered);
    size_t empty = r->filtered.len;
    change_t c;
    while (change_next(&in, &c)) {
        if (c.kind == CHANGE_DROP) filter_drop(r, w, &c);
        else if (!due(r, w, state_key_group(slot, c.key))) continue;
        else if (c.kind == CHANGE_PUT) change_put(&r->filtered, c.ns, c.key, c.value);
        else change_del(&r->filtered, c.ns, c.key);
    }
    if (in.bad) return err_new(ERR_CORRUPT, "sealed state: malformed change at byte %zu of %zu", (size_t)(in.p - bytes.p), bytes.len);
    if (r->filtered.len == empty) buf_clear(&r->filtered);
    return NULL;
}

/* Tables come first, the base second: a table that reads a key from the base must not find there what it was not given yet. */
static err_t *make_room(restore_t *r) {
    if (!r->applier || !r->sink->spill) return NULL;
    bool over = kstate_env_over(r->conf.env);
    if (!over && !(r->spilled && applier_held(r->applier) >= applier_round_bytes(r->applier))) return NULL;
    TRY(applier_flush(r->applier));
    r->flushed = true;
    if (r->spilled || !kstate_env_over(r->conf.env)) return NULL;
    r->spilled = true;
    return r->sink->spill(r->sink->arg);
}

static err_t *replay_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    restore_t *r = arg;
    if (slot < 0) {
        remember_op(r, fingerprint, op, bytes);
        return NULL;
    }
    const wanted_t *w = find_wanted(r, fingerprint);
    if (!w || r->epoch <= r->floor) return NULL;
    TRY(go_on(r));
    TRY(filter(r, w, slot, bytes));
    if (r->filtered.len == 0) return NULL;
    if (r->sink->state) TRY(tell_task(r, r->stage, r->subtask));
    if (r->sink->state && !r->spilled) TRY(theirs(r, r->sink->state(r->sink->arg, fingerprint, op, slot, buf_slice(&r->filtered))));
    if (r->applier) applier_add_changes(r->applier, r->epoch, fingerprint, slot, buf_slice(&r->filtered));
    return theirs(r, make_room(r));
}

static epoch_t lane_published_epoch(const manifest_t *m, uint64_t fingerprint, int lane) {
    for (int i = 0; i < m->nlanes; i++)
        if (m->lanes[i].fingerprint == fingerprint && m->lanes[i].lane == lane) return m->lanes[i].published;
    return 0;
}

static err_t *replay_sink(void *arg, uint64_t fingerprint, int op, int lane, uint64_t rows, slice_t segment) {
    restore_t *r = arg;
    if (!r->sink->sink || r->epoch <= lane_published_epoch(r->conf.manifest, fingerprint, lane)) return NULL;
    TRY(tell_task(r, r->stage, r->subtask));
    return theirs(r, r->sink->sink(r->sink->arg, fingerprint, op, lane, r->epoch, rows, segment));
}

/* No extent of the same file name's writer reaches further. */
static bool newest(const manifest_t *m, const extent_t *x) {
    storage_origin_t o, p;
    if (!storage_path_parse(x->path, &o)) return true;
    for (int i = 0; i < m->nextents; i++)
        if (storage_path_parse(m->extents[i].path, &p) && p.attempt == o.attempt && slice_eq(p.worker, o.worker) &&
            m->extents[i].last > x->last)
            return false;
    return true;
}

static epoch_t lanes_from(const manifest_t *m) {
    epoch_t from = UINT64_MAX;
    for (int i = 0; i < m->nlanes; i++)
        if (m->lanes[i].published < m->lanes[i].last_rows) from = MIN(from, m->lanes[i].published + 1);
    return from;
}

static err_t *replay_extent(restore_t *r, const extent_t *x) {
    TRY(go_on(r));
    const manifest_t *m = r->conf.manifest;
    if (x->last > m->epoch)
        return err_new(ERR_CORRUPT, "manifest of epoch %" PRIu64 " names epoch %" PRIu64 " in %s", m->epoch, x->last, x->path);
    r->extent = x;
    r->extent_newest = newest(m, x);
    if (x->last <= r->floor && x->last < r->lanes_from && !r->extent_newest) return NULL;
    segment_visitor_t v = {.arg = r, .want = replay_want, .begin = replay_begin, .task = replay_task, .state = replay_state,
                           .sink = replay_sink};
    r->bytes += x->to - x->from;
    bool own_wrong = false;
    err_t *e = was_read(r, changelog_read_kept(r->conf.disk, r->conf.kept, x, m->job, &v, &own_wrong));
    if (own_wrong) own_is_wrong(r, x->path);
    return e;
}

err_t *restore_replay(restore_t *r, applier_t *applier, const restore_sink_t *sink) {
    const manifest_t *m = r->conf.manifest;
    r->applier = applier;
    r->sink = sink;
    r->lanes_from = lanes_from(m);
    for (int i = 0; i < m->nextents; i++) TRY(replay_extent(r, &m->extents[i]));
    r->told = false;
    for (int i = 0; i < r->nops && sink->state; i++) {
        op_bytes_t *o = &r->ops[i];
        TRY(tell_task(r, o->stage, o->subtask));
        TRY(sink->state(sink->arg, o->fingerprint, o->op, -1, buf_slice(&o->bytes)));
    }
    if (applier) applier_complete(applier, m->epoch);
    if (r->flushed) TRY(applier_apply(applier, m->epoch));
    return r->spilled ? sink->reload(sink->arg) : NULL;
}
