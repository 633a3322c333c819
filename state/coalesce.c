/* coalesce.c: see coalesce.h. */
#include "state/coalesce.h"
#include "common/arena.h"
#include <stdlib.h>

#define WRITE_BYTES ((size_t)4 << 20)

typedef struct one {
    change_t c; /* slices into the arena */
    uint32_t seq;
    uint16_t kg;
} one_t;

typedef struct group {
    uint64_t fingerprint;
    int slot;
    one_t *items, *drops;
    size_t n, cap, ndrops, drops_cap;
    uint32_t seq;
} group_t;

struct coalesce {
    arena_t *arena;
    group_t *groups;
    int ngroups;
    size_t bytes;
};

coalesce_t *coalesce_new(void) {
    coalesce_t *c = xcalloc(1, sizeof *c);
    c->arena = arena_new();
    return c;
}

void coalesce_free(coalesce_t *c) {
    if (!c) return;
    for (int i = 0; i < c->ngroups; i++) {
        free(c->groups[i].items);
        free(c->groups[i].drops);
    }
    free(c->groups);
    arena_free(c->arena);
    free(c);
}

size_t coalesce_bytes(const coalesce_t *c) { return c->bytes; }
bool coalesce_empty(const coalesce_t *c) { return c->ngroups == 0; }

static group_t *group_of(coalesce_t *c, uint64_t fingerprint, int slot) {
    for (int i = 0; i < c->ngroups; i++)
        if (c->groups[i].fingerprint == fingerprint && c->groups[i].slot == slot) return &c->groups[i];
    c->groups = xrealloc(c->groups, ((size_t)c->ngroups + 1) * sizeof *c->groups);
    c->groups[c->ngroups] = (group_t){.fingerprint = fingerprint, .slot = slot};
    return &c->groups[c->ngroups++];
}

static void push(one_t **list, size_t *n, size_t *cap, one_t x) {
    if (*n == *cap) *list = xrealloc(*list, (*cap = *cap ? 2 * *cap : 64) * sizeof **list);
    (*list)[(*n)++] = x;
}

/* A slice of what was copied from `from` to `to`. */
static slice_t moved(slice_t s, const uint8_t *from, const uint8_t *to) { return s.p ? slice_of(to + (s.p - from), s.len) : s; }

err_t *coalesce_add_some(coalesce_t *c, uint64_t fingerprint, int slot, reader_t *r, size_t most) {
    group_t *g = group_of(c, fingerprint, slot);
    const uint8_t *from = r->p, *taken = from;
    size_t first = g->n;
    one_t x = {0};
    do { /* the bytes are copied in one piece when it is known how many there are */
        if (!change_next(r, &x.c)) break;
        x.seq = g->seq++;
        c->bytes += sizeof x + (size_t)(r->p - taken);
        taken = r->p;
        if (x.c.kind == CHANGE_DROP) {
            push(&g->drops, &g->ndrops, &g->drops_cap, x);
        } else {
            x.kg = (uint16_t)(hash_bytes(x.c.key.p, x.c.key.len) & 1023);
            push(&g->items, &g->n, &g->cap, x);
        }
    } while (c->bytes < most);
    size_t len = (size_t)(taken - from);
    const uint8_t *to = len ? arena_memdup(c->arena, from, len) : NULL;
    for (size_t i = first; i < g->n; i++) {
        g->items[i].c.key = moved(g->items[i].c.key, from, to);
        g->items[i].c.value = moved(g->items[i].c.value, from, to);
    }
    return r->bad ? err_new(ERR_CORRUPT, "sealed state: malformed change %u of a part", g->seq) : NULL;
}

err_t *coalesce_add(coalesce_t *c, uint64_t fingerprint, int slot, slice_t changes) {
    if (changes.len == 0) return NULL;
    reader_t r = reader_of(changes);
    if (!change_begin(&r))
        return err_new(ERR_VERSION, "sealed state of version %d: this build reads version %d", changes.p[0], CHANGE_VERSION);
    return coalesce_add_some(c, fingerprint, slot, &r, SIZE_MAX);
}

static int key_cmp(slice_t a, slice_t b) {
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int same_place(const one_t *a, const one_t *b) { /* order of the base */
    if (a->kg != b->kg) return a->kg < b->kg ? -1 : 1;
    if (a->c.ns != b->c.ns) return a->c.ns < b->c.ns ? -1 : 1;
    return key_cmp(a->c.key, b->c.key);
}

static int one_cmp(const void *x, const void *y) {
    const one_t *a = x, *b = y;
    int c = same_place(a, b);
    return c ? c : (a->seq > b->seq) - (a->seq < b->seq);
}

static int drop_cmp(const void *x, const void *y) {
    const one_t *a = x, *b = y;
    if (a->c.ns != b->c.ns) return a->c.ns < b->c.ns ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

/* Is a change made before some drop of its namespace and key group? drops are sorted by namespace. */
static bool dropped(const group_t *g, const one_t *x) {
    size_t lo = 0, hi = g->ndrops;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (g->drops[mid].c.ns < x->c.ns) lo = mid + 1;
        else hi = mid;
    }
    for (; lo < g->ndrops && g->drops[lo].c.ns == x->c.ns; lo++) {
        const one_t *d = &g->drops[lo];
        if (d->seq > x->seq && x->kg >= d->c.kg_lo && x->kg < d->c.kg_hi) return true;
    }
    return false;
}

typedef struct writing {
    const group_t *g;
    buf_t buf;
    err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, slice_t changes);
    void *arg;
} writing_t;

static err_t *flush(writing_t *w) {
    err_t *e = w->buf.len ? w->fn(w->arg, w->g->fingerprint, w->g->slot, buf_slice(&w->buf)) : NULL;
    buf_clear(&w->buf);
    return e;
}

static err_t *write_group(writing_t *w, group_t *g) {
    w->g = g;
    if (g->ndrops) qsort(g->drops, g->ndrops, sizeof *g->drops, drop_cmp);
    if (g->n) qsort(g->items, g->n, sizeof *g->items, one_cmp);
    for (size_t i = 0; i < g->ndrops; i++) {
        const change_t *d = &g->drops[i].c;
        bool again = i + 1 < g->ndrops && g->drops[i + 1].c.ns == d->ns && g->drops[i + 1].c.kg_lo == d->kg_lo &&
                     g->drops[i + 1].c.kg_hi == d->kg_hi;
        if (again) continue;
        if (w->buf.len == 0) change_header(&w->buf);
        change_drop_range(&w->buf, d->ns, d->kg_lo, d->kg_hi);
    }
    for (size_t i = 0; i < g->n; i++) {
        const one_t *x = &g->items[i];
        if (i + 1 < g->n && same_place(x, x + 1) == 0) continue; /* a later one follows */
        if (dropped(g, x)) continue;
        if (w->buf.len == 0) change_header(&w->buf);
        if (x->c.kind == CHANGE_PUT) change_put(&w->buf, x->c.ns, x->c.key, x->c.value);
        else change_del(&w->buf, x->c.ns, x->c.key);
        if (w->buf.len >= WRITE_BYTES) TRY(flush(w));
    }
    return flush(w);
}

err_t *coalesce_write(coalesce_t *c, err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, slice_t changes), void *arg) {
    writing_t w = {.buf = buf_make(SIZE_MAX / 2), .fn = fn, .arg = arg};
    err_t *e = NULL;
    for (int i = 0; i < c->ngroups && !e; i++) e = write_group(&w, &c->groups[i]);
    buf_free(&w.buf);
    return e;
}
