/* manifest.c: the manifest as a structure: copy, extents, sources, lanes, what is still needed. Its text: manifest_json.c. */
#include "state/manifest.h"
#include "state/changelog.h"
#include "common/map.h"
#include <stdlib.h>

#define GROW(array, n) ((array) = xrealloc((array), ((size_t)(n) + 1) * sizeof *(array)))

manifest_t *manifest_new(void) { return xcalloc(1, sizeof(manifest_t)); }

static void extent_done(extent_t *e) { free(e->path); }

void base_done(base_t *b) {
    for (int i = 0; i < b->nfiles; i++) {
        free(b->files[i].path);
        free(b->files[i].name);
    }
    free(b->files);
    free(b->worker);
    *b = (base_t){0};
}

void base_copy(base_t *to, const base_t *b) {
    *to = (base_t){.worker = xstrdup(b->worker ? b->worker : ""), .epoch = b->epoch, .nfiles = b->nfiles};
    if (b->nfiles) to->files = xcalloc((size_t)b->nfiles, sizeof *to->files);
    for (int i = 0; i < b->nfiles; i++) {
        const base_file_t *f = &b->files[i];
        to->files[i] = (base_file_t){xstrdup(f->path), xstrdup(f->name), f->size, f->crc};
    }
}

void manifest_free(manifest_t *m) {
    if (!m) return;
    for (int i = 0; i < m->nsources; i++) split_list_free(&m->sources[i].splits);
    for (int i = 0; i < m->nextents; i++) extent_done(&m->extents[i]);
    for (int i = 0; i < m->nbases; i++) base_done(&m->bases[i]);
    free(m->sources);
    free(m->stages);
    free(m->lanes);
    free(m->extents);
    free(m->bases);
    free(m->older);
    free(m->name);
    free(m);
}

static void *copy_array(const void *p, int n, size_t size) {
    if (n == 0) return NULL;
    void *q = xmalloc((size_t)n * size);
    memcpy(q, p, (size_t)n * size);
    return q;
}

manifest_t *manifest_copy(const manifest_t *m) {
    manifest_t *c = manifest_new();
    *c = *m;
    c->name = m->name ? xstrdup(m->name) : NULL;
    c->stages = copy_array(m->stages, m->nstages, sizeof *m->stages);
    c->lanes = copy_array(m->lanes, m->nlanes, sizeof *m->lanes);
    c->older = copy_array(m->older, m->nolder, sizeof *m->older);
    c->extents = copy_array(m->extents, m->nextents, sizeof *m->extents);
    for (int i = 0; i < m->nextents; i++) c->extents[i].path = xstrdup(m->extents[i].path);
    c->bases = m->nbases ? xcalloc((size_t)m->nbases, sizeof *c->bases) : NULL;
    for (int i = 0; i < m->nbases; i++) base_copy(&c->bases[i], &m->bases[i]);
    c->sources = NULL;
    c->nsources = 0;
    for (int i = 0; i < m->nsources; i++) manifest_set_source(c, m->sources[i].fingerprint, &m->sources[i].splits);
    return c;
}

/* ---------------------------------------------------------------- extents and bases */
void manifest_add_extent(manifest_t *m, const extent_t *e) {
    if (!e->path || e->to <= e->from) return;
    for (int i = m->nextents - 1; i >= 0; i--) {
        extent_t *x = &m->extents[i];
        if (strcmp(x->path, e->path) != 0) continue;
        if (e->from >= x->from && e->to <= x->to) return; /* an ack that came twice */
        if (x->to != e->from || e->first <= x->last) continue;
        x->to = e->to;
        x->last = e->last;
        x->crc = e->crc;
        return;
    }
    GROW(m->extents, m->nextents);
    extent_t *x = &m->extents[m->nextents++];
    *x = *e;
    x->path = xstrdup(e->path);
}

static bool origin_of(const char *path, storage_origin_t *ret) { return path && storage_path_parse(path, ret); }

/* Where a base was made: its own path says, that of the file BASE (shared tables may be older). */
static bool base_origin(const base_t *b, storage_origin_t *ret) {
    for (int i = 0; i < b->nfiles; i++)
        if (strcmp(b->files[i].name, BASE_META_NAME) == 0) return origin_of(b->files[i].path, ret);
    return false;
}

static bool same_maker(const storage_origin_t *a, const storage_origin_t *b) {
    return a->attempt == b->attempt && slice_eq(a->worker, b->worker);
}

void manifest_set_base(manifest_t *m, const base_t *b) {
    storage_origin_t mine, other;
    bool known = base_origin(b, &mine);
    for (int i = 0; i < m->nbases; i++) {
        if (strcmp(m->bases[i].worker, b->worker) != 0) continue;
        bool same = known && base_origin(&m->bases[i], &other) ? same_maker(&mine, &other) : false;
        if (!same && m->bases[i].epoch != b->epoch) continue;
        if (m->bases[i].epoch > b->epoch) return; /* a message that was overtaken */
        base_done(&m->bases[i]);
        base_copy(&m->bases[i], b);
        return;
    }
    GROW(m->bases, m->nbases);
    base_copy(&m->bases[m->nbases++], b);
}

/* ---------------------------------------------------------------- older epochs */
void manifest_add_older(manifest_t *m, const manifest_t *kept) {
    GROW(m->older, m->nolder);
    m->older[m->nolder++] = (older_t){kept->leader, kept->attempt, kept->epoch};
}

bool older_is(const older_t *o, const manifest_t *m) { return o->leader == m->leader && o->attempt == m->attempt && o->epoch == m->epoch; }

void manifest_alone(manifest_t *m) {
    free(TAKE(m->older));
    m->nolder = 0;
    m->fell.times = m->fell.from = m->fell.to = 0;
}

/* ---------------------------------------------------------------- trim */
/* First epoch whose sink segments some lane may still have to publish; UINT64_MAX: none. */
static epoch_t lanes_need(const manifest_t *m) {
    epoch_t need = UINT64_MAX;
    for (int i = 0; i < m->nlanes; i++)
        if (m->lanes[i].published < m->lanes[i].last_rows) need = MIN(need, m->lanes[i].published + 1);
    return need;
}

/* The epoch up to which worker w's base of the current attempt holds its state; 0: it has none yet. */
static epoch_t covered(const manifest_t *m, const storage_origin_t *maker) {
    epoch_t epoch = 0;
    storage_origin_t o;
    for (int i = 0; i < m->nbases; i++)
        if (base_origin(&m->bases[i], &o) && same_maker(&o, maker)) epoch = MAX(epoch, m->bases[i].epoch);
    return epoch;
}

static attempt_t newest_attempt(const manifest_t *m) {
    attempt_t newest = 0;
    storage_origin_t o;
    for (int i = 0; i < m->nextents; i++)
        if (origin_of(m->extents[i].path, &o)) newest = MAX(newest, o.attempt);
    return newest;
}

/* All workers of the attempt have a base made in it: together these hold every key group. */
static bool attempt_based(const manifest_t *m, attempt_t attempt) {
    storage_origin_t o;
    for (int i = 0; i < m->nextents; i++)
        if (origin_of(m->extents[i].path, &o) && o.attempt == attempt && covered(m, &o) == 0) return false;
    return true;
}

static bool newest_of_maker(const manifest_t *m, int at, const storage_origin_t *maker) {
    storage_origin_t o;
    for (int i = 0; i < m->nextents; i++)
        if (i != at && origin_of(m->extents[i].path, &o) && same_maker(&o, maker) &&
            (m->extents[i].last > m->extents[at].last))
            return false;
    return true;
}

void manifest_trim(manifest_t *m) {
    attempt_t attempt = newest_attempt(m);
    if (attempt == 0) return;
    bool based = attempt_based(m, attempt);
    epoch_t lanes = lanes_need(m);
    bool *keep = xcalloc((size_t)m->nextents + (size_t)m->nbases, sizeof *keep);
    bool *keep_base = keep + m->nextents;
    storage_origin_t o;
    for (int i = 0; i < m->nextents; i++) {
        const extent_t *x = &m->extents[i];
        bool known = origin_of(x->path, &o);
        bool current = known && o.attempt == attempt;
        bool state = current ? x->last > covered(m, &o) || newest_of_maker(m, i, &o) : !based;
        keep[i] = !known || state || x->last >= lanes;
    }
    for (int i = 0; i < m->nbases; i++)
        keep_base[i] = !based || !base_origin(&m->bases[i], &o) || o.attempt == attempt;
    int n = 0;
    for (int i = 0; i < m->nextents; i++) {
        if (keep[i]) m->extents[n++] = m->extents[i];
        else extent_done(&m->extents[i]);
    }
    m->nextents = n;
    n = 0;
    for (int i = 0; i < m->nbases; i++) {
        if (keep_base[i]) m->bases[n++] = m->bases[i];
        else base_done(&m->bases[i]);
    }
    m->nbases = n;
    free(keep);
}

/* ---------------------------------------------------------------- sources, lanes, stages */
source_pos_t *manifest_source(const manifest_t *m, uint64_t fingerprint) {
    for (int i = 0; i < m->nsources; i++)
        if (m->sources[i].fingerprint == fingerprint) return &m->sources[i];
    return NULL;
}

static split_t *find_split(const split_list_t *l, const char *id) {
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->items[i].id, id) == 0) return &l->items[i];
    return NULL;
}

void manifest_set_source(manifest_t *m, uint64_t fingerprint, const split_list_t *splits) {
    source_pos_t *s = manifest_source(m, fingerprint);
    if (!s) {
        GROW(m->sources, m->nsources);
        s = &m->sources[m->nsources++];
        *s = (source_pos_t){.fingerprint = fingerprint};
    }
    for (int i = 0; i < splits->n; i++) {
        split_t *old = find_split(&s->splits, splits->items[i].id);
        if (!old) {
            split_list_add(&s->splits, &splits->items[i]);
            continue;
        }
        char *id = old->id;
        *old = splits->items[i];
        old->id = id;
    }
}

lane_pos_t *manifest_lane(manifest_t *m, uint64_t fingerprint, int lane, bool create) {
    for (int i = 0; i < m->nlanes; i++)
        if (m->lanes[i].fingerprint == fingerprint && m->lanes[i].lane == lane) return &m->lanes[i];
    if (!create) return NULL;
    GROW(m->lanes, m->nlanes);
    m->lanes[m->nlanes] = (lane_pos_t){.fingerprint = fingerprint, .lane = lane};
    return &m->lanes[m->nlanes++];
}

uint64_t manifest_root(const manifest_t *m) { return m->root ? m->root : m->origin ? m->origin : m->incarnation; }

void manifest_lanes_anew(manifest_t *m) {
    for (int i = 0; i < m->nlanes; i++) {
        lane_pos_t *l = &m->lanes[i];
        if (l->started || l->published > m->started) {
            l->had = m->incarnation;
            l->had_upto = m->epoch;
        }
        l->started = false;
    }
}

int64_t manifest_watermark(const manifest_t *m, int stage) {
    for (int i = 0; i < m->nstages; i++)
        if (m->stages[i].stage == stage) return m->stages[i].watermark;
    return WATERMARK_NONE;
}

/* ---------------------------------------------------------------- garbage */
static void each_path(const manifest_t *m, void (*fn)(void *arg, const char *path), void *arg) {
    for (int i = 0; i < m->nextents; i++) fn(arg, m->extents[i].path);
    for (int i = 0; i < m->nbases; i++)
        for (int j = 0; j < m->bases[i].nfiles; j++) fn(arg, m->bases[i].files[j].path);
}

static void remember(void *arg, const char *path) { map_put_str(arg, path, arg); }

typedef struct garbage { map_t *seen; void (*fn)(void *arg, const char *path); void *arg; } garbage_t;

static void give_once(void *arg, const char *path) {
    garbage_t *g = arg;
    if (map_put_str(g->seen, path, g) == NULL) g->fn(g->arg, path);
}

void manifest_garbage(const manifest_t *old, const manifest_t *now, void (*fn)(void *arg, const char *path), void *arg) {
    garbage_t g = {map_new(), fn, arg};
    each_path(now, remember, g.seen);
    each_path(old, give_once, &g);
    map_free(g.seen, NULL);
}

static char *body_path(const manifest_t *m, uint64_t leader, attempt_t attempt, epoch_t epoch) {
    return xprintf("jobs/%016" PRIx64 "/manifest/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".e%" PRIu64 ".json", m->job, m->incarnation, leader, attempt, epoch);
}
char *manifest_body_path(const manifest_t *m) { return body_path(m, m->leader, m->attempt, m->epoch); }
char *manifest_older_path(const manifest_t *m, int i) { return body_path(m, m->older[i].leader, m->older[i].attempt, m->older[i].epoch); }
