/* applier.c: see applier.h. */
#include "state/applier.h"
#include "state/coalesce.h"
#include "state/kept.h"
#include "state/parts.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/map.h"
#include <pthread.h>
#include <stdlib.h>

#define ROUND_BYTES ((size_t)64 << 20) /* changes coalesced in memory at once */
#define FILE_BYTES ((size_t)32 << 20)  /* what is coalesced is joined to table files of this size, where a round is not smaller */
#define JOIN_MIN ((size_t)1 << 20)     /* less begins no table file */
#define LOOSE_SHARE 8                  /* of a round: changes of a large application that lie in no part */

typedef struct item {
    struct item *next;
    epoch_t epoch;
    bool changes; /* one operator's changes; else a segment, or an extent when path is set */
    uint64_t fingerprint;
    int slot;
    buf_t bytes;
    extent_t extent;
} item_t;

struct applier {
    applier_conf_t conf;
    char *worker, *dir;
    base_range_t *ranges;
    pthread_mutex_t lock; /* guards the queue and complete */
    item_t *first, **last;
    epoch_t complete;
    epoch_t applied;      /* base thread */
    epoch_t begun;        /* >= applied: up to here the base may hold parts, after an error; base thread */
    map_t *stored;        /* name of a shared file -> base_file_t */
    uint64_t checkpoints, stored_bytes;
    size_t held;          /* bytes of changes queued; atomic */
    bool cancelled;       /* atomic */
    int64_t alive_ms;     /* atomic: when it last went on to another piece */
};

applier_t *applier_new(const applier_conf_t *conf) {
    applier_t *a = xcalloc(1, sizeof *a);
    a->conf = *conf;
    if (!a->conf.round_bytes) a->conf.round_bytes = ROUND_BYTES;
    a->conf.id.worker = a->worker = xstrdup(conf->id.worker);
    a->conf.dir = a->dir = xstrdup(conf->dir);
    a->ranges = xcalloc((size_t)conf->nranges + 1, sizeof *a->ranges);
    for (int i = 0; i < conf->nranges; i++) a->ranges[i] = conf->ranges[i];
    a->last = &a->first;
    a->applied = kstate_env_applied(conf->env);
    a->stored = map_new();
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

/* What a restore hands over is in memory twice: in the tables and here. */
static void hold(applier_t *a, const item_t *i, int sign) {
    if (!i->changes) return;
    int64_t delta = sign * (int64_t)(i->bytes.cap + sizeof *i);
    __atomic_fetch_add(&a->held, (size_t)delta, __ATOMIC_RELAXED);
    kstate_env_hold_bytes(a->conf.env, delta);
}

static void item_free(item_t *i) {
    buf_free(&i->bytes);
    free(i->extent.path);
    free(i);
}

static void stored_free(void *p) {
    base_file_t *f = p;
    free(f->path);
    free(f->name);
    free(f);
}

void applier_free(applier_t *a) {
    if (!a) return;
    for (item_t *i = a->first, *next; i; i = next) {
        next = i->next;
        hold(a, i, -1);
        item_free(i);
    }
    map_free(a->stored, stored_free);
    pthread_mutex_destroy(&a->lock);
    free(a->worker);
    free(a->dir);
    free(a->ranges);
    free(a);
}

/* Behind all of its epoch and before; nearly always at the end (a replay goes file by file, not epoch by epoch). */
static void enqueue(applier_t *a, item_t *i) {
    pthread_mutex_lock(&a->lock);
    item_t **at = a->last;
    if (a->first && CONTAINER_OF(a->last, item_t, next)->epoch > i->epoch)
        for (at = &a->first; *at && (*at)->epoch <= i->epoch;) at = &(*at)->next;
    i->next = *at;
    *at = i;
    if (!i->next) a->last = &i->next;
    pthread_mutex_unlock(&a->lock);
}

static item_t *item_new(epoch_t epoch, slice_t bytes) {
    item_t *i = xcalloc(1, sizeof *i);
    i->epoch = epoch;
    i->bytes = buf_make(SIZE_MAX / 2);
    buf_put(&i->bytes, bytes.p, bytes.len);
    return i;
}

void applier_add(applier_t *a, epoch_t epoch, slice_t segment) { enqueue(a, item_new(epoch, segment)); }

void applier_add_extent(applier_t *a, const extent_t *x) {
    item_t *i = item_new(x->last, slice_of(NULL, 0));
    i->extent = *x;
    i->extent.path = xstrdup(x->path);
    enqueue(a, i);
}

void applier_add_changes(applier_t *a, epoch_t epoch, uint64_t fingerprint, int slot, slice_t changes) {
    item_t *i = item_new(epoch, changes);
    i->changes = true;
    i->fingerprint = fingerprint;
    i->slot = slot;
    hold(a, i, 1);
    enqueue(a, i);
}
size_t applier_held(const applier_t *a) { return __atomic_load_n(&a->held, __ATOMIC_RELAXED); }
size_t applier_round_bytes(const applier_t *a) { return a->conf.round_bytes; }

void applier_complete(applier_t *a, epoch_t epoch) {
    pthread_mutex_lock(&a->lock);
    a->complete = MAX(a->complete, epoch);
    pthread_mutex_unlock(&a->lock);
}

static size_t item_bytes(const item_t *i) { return i->bytes.len + (i->extent.path ? i->extent.to - i->extent.from : 0); }

size_t applier_pending(applier_t *a) {
    size_t n = 0;
    pthread_mutex_lock(&a->lock);
    for (const item_t *i = a->first; i && i->epoch <= a->complete; i = i->next) n += item_bytes(i);
    pthread_mutex_unlock(&a->lock);
    return n;
}

/* ---------------------------------------------------------------- apply */
typedef struct round {
    applier_t *a;
    coalesce_t *c;
    epoch_t last;
    err_t *refused; /* by the base, within a segment: that one's file is not to blame */
    bool joins; /* by parts: what is coalesced lies in `joined`, of one operator, before it is written */
    uint64_t fingerprint;
    int slot;
    buf_t joined;
    uint64_t read, taken; /* by parts: bytes of changes, and what they took until they were written */
} round_t;

void applier_cancel(applier_t *a) { __atomic_store_n(&a->cancelled, true, __ATOMIC_RELEASE); }
int64_t applier_alive_ms(const applier_t *a) { return __atomic_load_n(&a->alive_ms, __ATOMIC_RELAXED); }

static err_t *go_on(applier_t *a) {
    __atomic_store_n(&a->alive_ms, clock_mono_ms(), __ATOMIC_RELAXED);
    return __atomic_load_n(&a->cancelled, __ATOMIC_ACQUIRE) ? err_new(ERR_CANCELLED, "the attempt was stopped") : NULL;
}

static err_t *write_joined(round_t *r) {
    base_db_t *b = kstate_env_base(r->a->conf.env);
    err_t *e = r->joined.len ? b->apply_some(b, r->fingerprint, r->slot, buf_slice(&r->joined)) : NULL;
    buf_clear(&r->joined);
    return e;
}

/* What is coalesced of consecutive parts ascends: it becomes one table file. */
static err_t *join(round_t *r, uint64_t fingerprint, int slot, slice_t changes) {
    reader_t in = reader_of(changes);
    change_t first;
    bool begun = change_begin(&in);
    slice_t body = slice_of(in.p, reader_left(&in));
    bool drops = !begun || !change_next(&in, &first) || first.kind == CHANGE_DROP;
    bool fits = r->joined.len + changes.len <= MIN(FILE_BYTES, MAX(JOIN_MIN, r->a->conf.round_bytes / 2));
    if (drops || !fits || fingerprint != r->fingerprint || slot != r->slot) TRY(write_joined(r));
    r->fingerprint = fingerprint;
    r->slot = slot;
    if (r->joined.len) changes = body; /* one header is enough */
    buf_put(&r->joined, changes.p, changes.len);
    return NULL;
}

static err_t *write_op(void *arg, uint64_t fingerprint, int slot, slice_t changes) {
    round_t *r = arg;
    TRY(go_on(r->a));
    if (r->joins) return join(r, fingerprint, slot, changes);
    base_db_t *b = kstate_env_base(r->a->conf.env);
    return b->apply(b, fingerprint, slot, changes);
}

static err_t *write_out(round_t *r) {
    base_db_t *b;
    if (coalesce_empty(r->c)) return NULL;
    TRY(kstate_env_need_base(r->a->conf.env, &b));
    r->a->begun = MAX(r->a->begun, r->last);
    TRY(coalesce_write(r->c, write_op, r));
    coalesce_clear(r->c);
    return NULL;
}

static err_t *collect_some(void *arg, uint64_t fingerprint, int slot, reader_t *in) {
    round_t *r = arg;
    while (reader_left(in) > 0) {
        if (coalesce_bytes(r->c) >= r->a->conf.round_bytes) {
            r->refused = write_out(r);
            if (!r->refused) r->refused = write_joined(r); /* what follows may be of the same keys: of a file of its own */
        }
        if (r->refused) return err_new(ERR_CANCELLED, "the base takes no more");
        size_t had = coalesce_bytes(r->c);
        TRY(coalesce_add_some(r->c, fingerprint, slot, in, r->a->conf.round_bytes));
        r->taken += coalesce_bytes(r->c) - had;
    }
    return NULL;
}

/* An epoch larger than a round goes into the base in pieces: nobody reads what it changed there before all of it is applied. */
static err_t *collect_changes(round_t *r, uint64_t fingerprint, int slot, slice_t bytes) {
    if (bytes.len == 0) return NULL;
    reader_t in;
    TRY(change_open(bytes, &in));
    return collect_some(r, fingerprint, slot, &in);
}

static err_t *collect_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    if (slot < 0) return NULL; /* operator bytes live in the changelog only */
    return collect_changes(arg, fingerprint, slot, bytes);
}

static err_t *collect(round_t *r, const item_t *i) {
    applier_t *a = r->a;
    TRY(go_on(a));
    segment_visitor_t v = {.arg = r, .state = collect_state};
    if (i->changes) return collect_changes(r, i->fingerprint, i->slot, buf_slice(&i->bytes));
    if (i->extent.path) return changelog_read_kept(a->conf.disk, a->conf.kept, &i->extent, a->conf.id.job, &v, NULL);
    return err_wrap(segment_visit(buf_slice(&i->bytes), a->conf.id.job, &v, NULL), "segment of epoch %" PRIu64, i->epoch);
}

static void forget_items(applier_t *a, epoch_t upto) {
    pthread_mutex_lock(&a->lock);
    while (a->first && a->first->epoch <= upto) {
        item_t *done = a->first;
        a->first = done->next;
        if (!a->first) a->last = &a->first;
        hold(a, done, -1);
        item_free(done);
    }
    pthread_mutex_unlock(&a->lock);
}

static void set_applied(applier_t *a, epoch_t epoch) {
    a->applied = MAX(a->applied, epoch);
    if (kstate_env_base(a->conf.env)) kstate_env_set_applied(a->conf.env, a->applied);
}

static item_t *next_item(applier_t *a, const item_t *i) {
    pthread_mutex_lock(&a->lock); /* i->next is written by enqueue */
    item_t *next = i->next;
    pthread_mutex_unlock(&a->lock);
    return next;
}

static err_t *own_error(round_t *r, err_t *e) {
    if (!r->refused) return e;
    err_free(e);
    return TAKE(r->refused);
}

/* Collects epochs until a round is full. Items stay queued until they are in the base, so that an error loses nothing: all
 * changes are absolute values, applying them again is harmless. */
static err_t *apply_round(applier_t *a, epoch_t upto, bool flush, bool *ret_more) {
    round_t r = {.a = a, .c = coalesce_new(), .last = a->applied};
    err_t *e = NULL;
    *ret_more = false;
    pthread_mutex_lock(&a->lock);
    item_t *i = a->first;
    pthread_mutex_unlock(&a->lock);
    while (!e && i && i->epoch <= upto) {
        if (i->epoch > r.last && coalesce_bytes(r.c) >= a->conf.round_bytes) {
            *ret_more = true;
            break;
        }
        r.last = MAX(r.last, i->epoch);
        e = collect(&r, i);
        e = own_error(&r, e);
        i = next_item(a, i);
    }
    if (!e) e = write_out(&r);
    coalesce_free(r.c);
    if (e) return e;
    epoch_t reached = *ret_more ? r.last : upto;
    forget_items(a, reached);
    if (!flush) set_applied(a, reached);
    return NULL;
}

/* ---- by parts: more than a round, all at once */
static err_t *see_items(applier_t *a, parts_t *p, epoch_t upto, epoch_t *ret_last, bool *ret_fit) {
    pthread_mutex_lock(&a->lock);
    const item_t *i = a->first;
    pthread_mutex_unlock(&a->lock);
    size_t bytes = 0;
    for (const item_t *x = i; x && x->epoch <= upto; x = next_item(a, x)) {
        if (x->changes || (x->extent.path && x->extent.first != x->extent.last)) return NULL; /* of a restore */
        bytes += item_bytes(x);
    }
    *ret_fit = bytes > a->conf.round_bytes;
    for (; *ret_fit && i && i->epoch <= upto; i = next_item(a, i)) {
        TRY(go_on(a));
        TRY(parts_add(p, i->extent.path ? &i->extent : NULL, buf_slice(&i->bytes), ret_fit));
        *ret_last = i->epoch;
    }
    return NULL;
}

/* A part that is larger than a round comes a few of its key groups at a time: no more rounds than else, but none has keys of another's range, and
 * what is written ascends over all of them. */
static err_t *write_part(round_t *r, parts_t *p, int op, int part) {
    uint64_t bytes = parts_bytes(p, op, part), round = r->a->conf.round_bytes;
    uint64_t needs = bytes * 3; /* small changes do; .. */
    if (r->read) needs = (uint64_t)((double)bytes * (double)r->taken / (double)r->read * 1.125); /* .. as those before did, and some are larger */
    int passes = (int)MIN((uint64_t)CHANGE_PART_GROUPS, needs / round + 1);
    for (int i = 0; i < passes; i++) {
        if (i > 0 || coalesce_bytes(r->c) + needs > round) TRY(write_out(r));
        TRY(go_on(r->a));
        TRY(own_error(r, parts_read(p, op, part, i, passes, collect_some, r)));
    }
    r->read += bytes;
    return NULL;
}

static err_t *write_parts(applier_t *a, parts_t *p, epoch_t last) {
    round_t r = {.a = a, .c = coalesce_new(), .last = last, .joins = true, .joined = buf_make(SIZE_MAX / 2)};
    err_t *e = NULL;
    for (int op = 0; op < parts_ops(p); op++)
        for (int i = 0; i < (parts_parted(p, op) ? CHANGE_PARTS : 1) && !e; i++) e = write_part(&r, p, op, i);
    if (!e) e = write_out(&r);
    if (!e) e = write_joined(&r);
    base_db_t *b = kstate_env_base(a->conf.env);
    if (!e && b) e = b->settle(b);
    coalesce_free(r.c);
    buf_free(&r.joined);
    return e;
}

/* *ret_done false: not this way. */
static err_t *apply_parts(applier_t *a, epoch_t upto, bool *ret_done) {
    parts_t *p = parts_new(a->conf.disk, a->conf.kept, a->conf.id.job, a->conf.round_bytes / LOOSE_SHARE);
    bool fit = false;
    epoch_t last = a->applied;
    err_t *e = see_items(a, p, upto, &last, &fit);
    if (!e && fit) e = write_parts(a, p, last);
    parts_free(p);
    *ret_done = !e && fit;
    if (!*ret_done) return e;
    forget_items(a, upto);
    set_applied(a, upto);
    return NULL;
}

static err_t *apply_all(applier_t *a, epoch_t upto) {
    bool done;
    TRY(apply_parts(a, upto, &done));
    for (bool more = !done; more;) TRY(apply_round(a, upto, false, &more));
    return NULL;
}

err_t *applier_apply(applier_t *a, epoch_t upto) {
    pthread_mutex_lock(&a->lock);
    upto = MIN(upto, a->complete);
    pthread_mutex_unlock(&a->lock);
    return upto > a->applied ? err_wrap(apply_all(a, upto), "cannot bring epoch %" PRIu64 " into the state base", upto) : NULL;
}

err_t *applier_flush(applier_t *a) {
    for (bool more = true; more;) TRY(err_wrap(apply_round(a, UINT64_MAX, true, &more), "cannot bring restored changes into the state base"));
    return NULL;
}

/* ---------------------------------------------------------------- checkpoint */
typedef struct storing {
    applier_t *a;
    base_db_t *db;
    const char *dir;  /* local checkpoint */
    char *prefix;     /* of this worker's bases in storage */
    char *own;        /* of this checkpoint */
    base_t base;
    err_t *err;
} storing_t;

static void add_file(base_t *b, const char *path, const char *name, uint64_t size, uint32_t crc) {
    b->files = xrealloc(b->files, ((size_t)b->nfiles + 1) * sizeof *b->files);
    b->files[b->nfiles++] = (base_file_t){xstrdup(path), xstrdup(name), size, crc};
}

static void store_file(void *arg, const char *name, bool shared) {
    storing_t *s = arg;
    if (s->err || (s->err = go_on(s->a))) return;
    const base_file_t *known = shared ? map_get_str(s->a->stored, name) : NULL;
    if (known) {
        add_file(&s->base, known->path, name, known->size, known->crc);
        return;
    }
    AUTO(auto_free) char *path = xprintf("%s/%s", shared ? s->prefix : s->own, name);
    uint64_t size;
    uint32_t crc;
    s->err = s->db->store(s->db, s->dir, name, s->a->conf.disk, path, &size, &crc);
    if (s->err) return;
    AUTO(auto_free) char *local = xprintf("%s/%s", s->dir, name);
    kept_add(s->a->conf.kept, local, path);
    s->a->stored_bytes += size;
    add_file(&s->base, path, name, size, crc);
    if (!shared) return;
    base_file_t *f = xcalloc(1, sizeof *f);
    *f = (base_file_t){xstrdup(path), xstrdup(name), size, crc};
    map_put_str(s->a->stored, name, f);
}

/* Last, so that a base without this file is one that was not finished. */
static err_t *store_meta(storing_t *s, epoch_t epoch) {
    applier_t *a = s->a;
    base_meta_t m = {a->conf.id.job, a->conf.id.attempt, epoch, a->worker, a->conf.nranges, a->ranges};
    buf_t bytes = buf_make(16 << 20);
    base_meta_encode(&bytes, &m);
    AUTO(auto_free) char *path = xprintf("%s/" BASE_META_NAME, s->own);
    err_t *e = a->conf.disk->put(a->conf.disk, path, buf_slice(&bytes));
    if (!e && a->conf.kept) err_free(a->conf.kept->put(a->conf.kept, path, buf_slice(&bytes)));
    if (!e) add_file(&s->base, path, BASE_META_NAME, bytes.len, crc32c(0, bytes.data, bytes.len));
    buf_free(&bytes);
    return e;
}

/* Table files that this checkpoint does not have are gone from the base for good: their names are not kept for ever. */
static void forget_old(applier_t *a, const base_t *b) {
    map_t *keep = map_new();
    for (int i = 0; i < b->nfiles; i++) {
        base_file_t *f = map_del(a->stored, slice_str(b->files[i].name));
        if (f) map_put_str(keep, f->name, f);
    }
    map_free(a->stored, stored_free);
    a->stored = keep;
}

err_t *applier_checkpoint(applier_t *a, epoch_t epoch, base_t *ret) {
    if (epoch < MAX(a->applied, a->begun))
        return err_new(ERR_INVALID, "a base of epoch %" PRIu64 " is not possible: epoch %" PRIu64 " has been applied", epoch,
                       MAX(a->applied, a->begun));
    TRY(applier_apply(a, epoch));
    if (a->applied != epoch)
        return err_new(ERR_INVALID, "a base of epoch %" PRIu64 " is not possible: it is not complete", epoch);
    storing_t s = {.a = a};
    s.base = (base_t){.worker = xstrdup(a->worker), .epoch = epoch};
    s.prefix = storage_prefix(&a->conf.id, "base");
    s.own = xprintf("%s/c%" PRIu64 "-e%" PRIu64, s.prefix, ++a->checkpoints, epoch);
    s.db = kstate_env_base(a->conf.env);
    AUTO(auto_free) char *dir = xprintf("%s/checkpoint-a%" PRIu64 "-%" PRIu64, a->dir, a->conf.id.attempt, a->checkpoints);
    s.dir = dir;
    if (s.db) { /* without keyed state the description alone is the base */
        s.db->discard(s.db, dir);
        s.err = s.db->checkpoint(s.db, dir);
        if (!s.err) {
            err_t *listed = s.db->files(s.db, dir, store_file, &s);
            if (!s.err) s.err = listed;
            else err_free(listed);
        }
    }
    if (s.base.nfiles) crash_point("in-base");
    if (!s.err) s.err = store_meta(&s, epoch);
    if (s.db) s.db->discard(s.db, dir);
    free(s.prefix);
    free(s.own);
    if (s.err) {
        base_done(&s.base);
        return err_wrap(s.err, "base checkpoint of epoch %" PRIu64, epoch);
    }
    forget_old(a, &s.base);
    *ret = s.base;
    return NULL;
}

uint64_t applier_stored_bytes(const applier_t *a) { return a->stored_bytes; }
