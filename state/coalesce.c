/* coalesce.c: see coalesce.h. */
#include "state/coalesce.h"
#include "common/arena.h"
#include <stdlib.h>

#define MANY 4096u /* changes in one key group: they come of many epochs, and most are of keys that are met again */
#define WRITE_BYTES ((size_t)32 << 20) /* a table file of the base */

typedef struct item { /* PUT or DEL; bytes in the arena */
    uint64_t prefix; /* of the key, big-endian: most comparisons look no further */
    int64_t ns;
    const uint8_t *key, *value;
    uint32_t key_len, value_len, seq;
    uint16_t kg;
    uint8_t kind;
} item_t;
typedef struct drop { change_t c; uint32_t seq; } drop_t;

typedef struct group {
    uint64_t fingerprint;
    int slot;
    item_t *items;
    drop_t *drops;
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

void coalesce_clear(coalesce_t *c) {
    for (int i = 0; i < c->ngroups; i++) {
        group_t *g = &c->groups[i];
        g->n = g->ndrops = g->seq = 0;
        if (c->ngroups == 1) break;
        free(g->items);
        free(g->drops);
    }
    if (c->ngroups > 1) c->ngroups = 0; /* each of them may have filled a round: together they would take several */
    arena_free(c->arena);
    c->arena = arena_new();
    c->bytes = 0;
}

size_t coalesce_bytes(const coalesce_t *c) { return c->bytes; }
bool coalesce_empty(const coalesce_t *c) { return c->bytes == 0; }

static group_t *group_of(coalesce_t *c, uint64_t fingerprint, int slot) {
    for (int i = 0; i < c->ngroups; i++)
        if (c->groups[i].fingerprint == fingerprint && c->groups[i].slot == slot) return &c->groups[i];
    c->groups = xrealloc(c->groups, ((size_t)c->ngroups + 1) * sizeof *c->groups);
    c->groups[c->ngroups] = (group_t){.fingerprint = fingerprint, .slot = slot};
    return &c->groups[c->ngroups++];
}

static void push_drop(group_t *g, const change_t *c, uint32_t seq) {
    if (g->ndrops == g->drops_cap) g->drops = xrealloc(g->drops, (g->drops_cap = g->drops_cap ? 2 * g->drops_cap : 64) * sizeof *g->drops);
    g->drops[g->ndrops++] = (drop_t){*c, seq};
}

static uint64_t prefix_of(slice_t key) {
    uint64_t x = 0;
    if (LIKELY(key.len >= 8)) {
        memcpy(&x, key.p, 8);
        return __builtin_bswap64(x);
    }
    for (size_t i = 0; i < key.len; i++) x |= (uint64_t)key.p[i] << (56 - 8 * i);
    return x;
}

static void push_item(group_t *g, const change_t *c, uint32_t seq) {
    if (g->n == g->cap) g->items = xrealloc(g->items, (g->cap = g->cap ? 2 * g->cap : 64) * sizeof *g->items);
    g->items[g->n++] = (item_t){.prefix = prefix_of(c->key), .ns = c->ns, .key = c->key.p, .value = c->value.p,
                                .key_len = (uint32_t)c->key.len, .value_len = (uint32_t)c->value.len, .seq = seq,
                                .kg = (uint16_t)state_key_group(g->slot, c->key), .kind = (uint8_t)c->kind};
}

/* Where in `to` lies what was copied from `from`. */
static const uint8_t *moved(const uint8_t *p, const uint8_t *from, const uint8_t *to) { return p ? to + (p - from) : p; }

err_t *coalesce_add_some(coalesce_t *c, uint64_t fingerprint, int slot, reader_t *r, size_t most) {
    group_t *g = group_of(c, fingerprint, slot);
    const uint8_t *from = r->p, *taken = from;
    size_t first = g->n;
    change_t x;
    do { /* the bytes are copied in one piece when it is known how many there are */
        if (!change_next(r, &x)) break;
        uint32_t seq = g->seq++;
        c->bytes += (x.kind == CHANGE_DROP ? sizeof(drop_t) : sizeof(item_t)) + (size_t)(r->p - taken);
        taken = r->p;
        if (x.kind == CHANGE_DROP) push_drop(g, &x, seq);
        else push_item(g, &x, seq);
    } while (c->bytes < most);
    size_t len = (size_t)(taken - from);
    const uint8_t *to = len ? arena_memdup(c->arena, from, len) : NULL;
    for (size_t i = first; i < g->n; i++) {
        g->items[i].key = moved(g->items[i].key, from, to);
        g->items[i].value = moved(g->items[i].value, from, to);
    }
    return r->bad ? err_new(ERR_CORRUPT, "sealed state: malformed change %u of a part", g->seq) : NULL;
}

err_t *coalesce_add(coalesce_t *c, uint64_t fingerprint, int slot, slice_t changes) {
    if (changes.len == 0) return NULL;
    reader_t r;
    TRY(change_open(changes, &r));
    return coalesce_add_some(c, fingerprint, slot, &r, SIZE_MAX);
}

/* ---- the order of the base: key group, namespace, key; of equal ones the order in which they came. A round of small keys is sorted a
 * key group at a time, in the cache, and what is moved is the little that a comparison reads. */
typedef struct place {
    int64_t ns;
    uint64_t prefix;
    uint32_t at, key_len; /* at: among the items */
} place_t;

/* Of keys with the same prefix. */
static int key_cmp(const item_t *items, const place_t *a, const place_t *b) {
    const size_t known = sizeof a->prefix;
    uint32_t n = MIN(a->key_len, b->key_len);
    int c = n > known ? memcmp(items[a->at].key + known, items[b->at].key + known, n - known) : 0;
    return c ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static inline bool comes_before(const item_t *items, const place_t *a, const place_t *b) {
    if (a->ns != b->ns) return a->ns < b->ns;
    if (a->prefix != b->prefix) return a->prefix < b->prefix;
    return key_cmp(items, a, b) < 0;
}

static bool same_key(const item_t *items, const place_t *a, const place_t *b) {
    return a->ns == b->ns && a->prefix == b->prefix && key_cmp(items, a, b) == 0;
}

#define AHEAD 16
/* Else than inlined at once, a function that only prefetches is one without effect to the compiler, whose calls it leaves out. */
__attribute__((always_inline)) static inline void ask_for(const item_t *items, const place_t *p, uint32_t i, uint32_t n) {
    if (i + 2 * AHEAD < n) __builtin_prefetch(&items[p[i + 2 * AHEAD].at]);
    if (i + AHEAD < n) __builtin_prefetch(items[p[i + AHEAD].at].key);
}

/* By all of the key: texts and composite keys of one table mostly begin alike. */
static uint64_t place_hash(const item_t *items, const place_t *p) {
    uint64_t key = p->key_len > sizeof p->prefix ? hash_bytes(items[p->at].key, p->key_len) : p->prefix;
    return hash_mix(key ^ (uint64_t)p->ns << 1);
}

/* Of each key the last, where its first one was; returns how many there are. `index` has room for 2 n or more, a power of two. */
static uint32_t last_words(const item_t *items, place_t *p, uint32_t n, uint32_t *index, size_t room) {
    uint32_t kept = 0;
    memset(index, 0, room * sizeof *index);
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].key_len > sizeof p->prefix) ask_for(items, p, i, n); /* else nothing is asked but the place */
        size_t at = (place_hash(items, &p[i]) >> 32) & (room - 1);
        while (index[at] && !same_key(items, &p[index[at] - 1], &p[i])) at = (at + 1) & (room - 1);
        if (index[at]) {
            p[index[at] - 1].at = p[i].at;
            continue;
        }
        p[kept++] = p[i];
        index[at] = kept;
    }
    return kept;
}

/* Keys of one namespace that are no longer than a prefix need no comparison, whose outcome nobody foresees: they are dealt out by those bytes of the
 * prefix in which they differ, the last one first, and before that by length, which tells apart what ends in zeroes. */
#define DEAL_MIN 64u
#define BY_LENGTH (-1)
static bool can_be_dealt(const place_t *p, size_t n, uint64_t *ret_differ, bool *ret_lengths) {
    uint64_t differ = 0, ns = 0;
    uint32_t lengths = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        differ |= p[i].prefix ^ p[0].prefix;
        ns |= (uint64_t)p[i].ns ^ (uint64_t)p[0].ns;
        lengths |= p[i].key_len ^ p[0].key_len;
        most = MAX(most, p[i].key_len);
    }
    *ret_differ = differ;
    *ret_lengths = lengths != 0;
    return n >= DEAL_MIN && ns == 0 && most <= sizeof p->prefix;
}

static inline uint8_t digit(const place_t *p, int shift) { return (uint8_t)(shift == BY_LENGTH ? p->key_len : p->prefix >> shift); }

static void deal(const place_t *p, place_t *to, size_t n, int shift) {
    uint32_t at[256] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) at[digit(&p[i], shift)]++;
    for (int d = 0; d < 256; d++) {
        uint32_t count = at[d];
        at[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) to[at[digit(&p[i], shift)]++] = p[i];
}

static place_t *deal_all(place_t *p, place_t *other, size_t n, uint64_t differ, bool lengths) {
    for (int shift = lengths ? BY_LENGTH : 0; shift < 64; shift = shift == BY_LENGTH ? 0 : shift + 8) {
        if (shift != BY_LENGTH && !(uint8_t)(differ >> shift)) continue;
        deal(p, other, n, shift);
        place_t *t = p;
        p = other;
        other = t;
    }
    return p;
}

#define RUN 12
/* Stable; the result is in p or in `other`, which has as much room. */
static place_t *sort_places(const item_t *items, place_t *p, place_t *other, size_t n) {
    uint64_t differ;
    bool lengths;
    if (can_be_dealt(p, n, &differ, &lengths)) return deal_all(p, other, n, differ, lengths);
    for (size_t from = 0; from < n; from += RUN) {
        size_t to = MIN(from + RUN, n);
        for (size_t i = from + 1; i < to; i++) {
            place_t x = p[i];
            size_t k = i;
            for (; k > from && comes_before(items, &x, &p[k - 1]); k--) p[k] = p[k - 1];
            p[k] = x;
        }
    }
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t a = from, mid = MIN(from + width, n), b = mid, to = MIN(from + 2 * width, n), at = from;
            while (a < mid && b < to) other[at++] = comes_before(items, &p[b], &p[a]) ? p[b++] : p[a++];
            while (a < mid) other[at++] = p[a++];
            while (b < to) other[at++] = p[b++];
        }
        place_t *t = p;
        p = other;
        other = t;
    }
    return p;
}

static int drop_cmp(const void *x, const void *y) {
    const drop_t *a = x, *b = y;
    if (a->c.ns != b->c.ns) return a->c.ns < b->c.ns ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

/* Is a change made before some drop of its namespace and key group? drops are sorted by namespace. */
static bool dropped(const group_t *g, const item_t *x) {
    size_t lo = 0, hi = g->ndrops;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (g->drops[mid].c.ns < x->ns) lo = mid + 1;
        else hi = mid;
    }
    for (; lo < g->ndrops && g->drops[lo].c.ns == x->ns; lo++) {
        const drop_t *d = &g->drops[lo];
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

static err_t *write_item(writing_t *w, const item_t *x) {
    slice_t key = slice_of(x->key, x->key_len);
    if (dropped(w->g, x)) return NULL;
    if (w->buf.len == 0) change_header(&w->buf);
    if (x->kind == CHANGE_PUT) change_put(&w->buf, x->ns, key, slice_of(x->value, x->value_len));
    else change_del(&w->buf, x->ns, key);
    return w->buf.len >= WRITE_BYTES ? flush(w) : NULL;
}

static err_t *write_items(writing_t *w, const item_t *items, size_t n) {
    uint32_t start[KEY_GROUPS + 1] = {0}, most = 0;
    ASSERT(n <= UINT32_MAX);
    for (size_t i = 0; i < n; i++) start[items[i].kg + 1]++;
    for (int g = 0; g < KEY_GROUPS; g++) {
        most = MAX(most, start[g + 1]);
        start[g + 1] += start[g];
    }
    place_t *all = xmalloc(((size_t)n + most) * sizeof *all), *scratch = all + n;
    uint32_t next[KEY_GROUPS];
    memcpy(next, start, sizeof next);
    for (size_t i = 0; i < n; i++) all[next[items[i].kg]++] = (place_t){items[i].ns, items[i].prefix, (uint32_t)i, items[i].key_len};
    size_t room = 1;
    uint32_t *index = NULL;
    while (most >= MANY && room < 2 * (size_t)most) room *= 2;
    if (most >= MANY) index = xmalloc(room * sizeof *index);
    err_t *e = NULL;
    for (int g = 0; g < KEY_GROUPS && !e; g++) {
        uint32_t count = start[g + 1] - start[g];
        if (count >= MANY) count = last_words(items, all + start[g], count, index, room);
        const place_t *p = sort_places(items, all + start[g], scratch, count);
        for (uint32_t i = 0; i < count && !e; i++) {
            ask_for(items, p, i, count);
            if (i + 1 == count || !same_key(items, &p[i], &p[i + 1])) e = write_item(w, &items[p[i].at]); /* else a later one follows */
        }
    }
    free(all);
    free(index);
    return e;
}

static err_t *write_group(writing_t *w, group_t *g) {
    w->g = g;
    if (g->ndrops) qsort(g->drops, g->ndrops, sizeof *g->drops, drop_cmp);
    for (size_t i = 0; i < g->ndrops; i++) {
        const change_t *d = &g->drops[i].c;
        bool again = i + 1 < g->ndrops && g->drops[i + 1].c.ns == d->ns && g->drops[i + 1].c.kg_lo == d->kg_lo &&
                     g->drops[i + 1].c.kg_hi == d->kg_hi;
        if (again) continue;
        if (w->buf.len == 0) change_header(&w->buf);
        change_drop_range(&w->buf, d->ns, d->kg_lo, d->kg_hi);
    }
    TRY(write_items(w, g->items, g->n));
    return flush(w);
}

err_t *coalesce_write(coalesce_t *c, err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, slice_t changes), void *arg) {
    writing_t w = {.buf = buf_make(SIZE_MAX / 2), .fn = fn, .arg = arg};
    err_t *e = NULL;
    for (int i = 0; i < c->ngroups && !e; i++)
        if (c->groups[i].seq) e = write_group(&w, &c->groups[i]);
    buf_free(&w.buf);
    return e;
}
