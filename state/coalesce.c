/* coalesce.c: see coalesce.h. */
#include "state/coalesce.h"
#include <stdlib.h>

#define MANY 4096u /* changes in one key group: they come of many epochs, and most are of keys that are met again */
#define PLACE_BYTES (sizeof(place_t) + sizeof(uint16_t)) /* and as many again for a place while it is sorted */
#define WRITE_BYTES ((size_t)32 << 20) /* a table file of the base */

/* A PUT or DEL: what a comparison reads. Little, for there are many of them, and most are of keys that are met again. */
typedef struct place {
    int64_t ns;
    uint64_t prefix;  /* of the key, big-endian: most comparisons look no further */
    uint32_t at;      /* of the key among the bytes of its group, its value behind it */
    uint32_t key_len : 31, put : 1;
} place_t;
typedef struct drop { change_t c; uint32_t at; /* among the bytes: it covers what lies before */ } drop_t;

typedef struct group {
    uint64_t fingerprint;
    int slot;
    buf_t bytes; /* changes as they came */
    place_t *places, *sorted; /* as they came; by key group, and as many again as the largest has */
    uint16_t *kgs; /* theirs */
    drop_t *drops;
    size_t n, cap, sorted_cap, ndrops, drops_cap;
    uint32_t seq;
} group_t;

struct coalesce {
    group_t *groups;
    int ngroups;
    size_t bytes;
};

coalesce_t *coalesce_new(void) { return xcalloc(1, sizeof(coalesce_t)); }

static void group_free(group_t *g) {
    buf_free(&g->bytes);
    free(g->places);
    free(g->sorted);
    free(g->kgs);
    free(g->drops);
}

void coalesce_free(coalesce_t *c) {
    if (!c) return;
    for (int i = 0; i < c->ngroups; i++) group_free(&c->groups[i]);
    free(c->groups);
    free(c);
}

void coalesce_clear(coalesce_t *c) {
    for (int i = 0; i < c->ngroups; i++) {
        group_t *g = &c->groups[i];
        if (c->ngroups > 1) {
            group_free(g);
        } else {
            g->n = g->ndrops = g->seq = 0;
            buf_clear(&g->bytes);
        }
    }
    if (c->ngroups > 1) c->ngroups = 0; /* each of them may have filled a round: together they would take several */
    c->bytes = 0;
}

size_t coalesce_bytes(const coalesce_t *c) { return c->bytes; }
bool coalesce_empty(const coalesce_t *c) { return c->bytes == 0; }

static group_t *group_of(coalesce_t *c, uint64_t fingerprint, int slot) {
    for (int i = 0; i < c->ngroups; i++)
        if (c->groups[i].fingerprint == fingerprint && c->groups[i].slot == slot) return &c->groups[i];
    c->groups = xrealloc(c->groups, ((size_t)c->ngroups + 1) * sizeof *c->groups);
    c->groups[c->ngroups] = (group_t){.fingerprint = fingerprint, .slot = slot, .bytes = buf_make(UINT32_MAX)};
    return &c->groups[c->ngroups++];
}

static void push_drop(group_t *g, const change_t *c, uint32_t at) {
    if (g->ndrops == g->drops_cap) g->drops = xrealloc(g->drops, (g->drops_cap = g->drops_cap ? 2 * g->drops_cap : 64) * sizeof *g->drops);
    g->drops[g->ndrops++] = (drop_t){*c, at};
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

static void push_place(group_t *g, const change_t *c, uint32_t at) {
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 64;
        g->places = xrealloc(g->places, g->cap * sizeof *g->places);
        g->kgs = xrealloc(g->kgs, g->cap * sizeof *g->kgs);
    }
    g->kgs[g->n] = (uint16_t)state_key_group(g->slot, c->key);
    g->places[g->n++] = (place_t){c->ns, prefix_of(c->key), at, (uint32_t)c->key.len & INT32_MAX, c->kind == CHANGE_PUT};
}

err_t *coalesce_add_some(coalesce_t *c, uint64_t fingerprint, int slot, reader_t *r, size_t most) {
    group_t *g = group_of(c, fingerprint, slot);
    const uint8_t *from = r->p, *taken = from;
    size_t base = g->bytes.len;
    change_t x;
    do { /* the bytes are copied in one piece when it is known how many there are */
        if (!change_next(r, &x)) break;
        g->seq++;
        c->bytes += (x.kind == CHANGE_DROP ? sizeof(drop_t) : PLACE_BYTES) + (size_t)(r->p - taken);
        if (x.kind == CHANGE_DROP) push_drop(g, &x, (uint32_t)(base + (size_t)(taken - from)));
        else push_place(g, &x, (uint32_t)(base + (size_t)(x.key.p - from)));
        taken = r->p;
    } while (c->bytes < most);
    buf_put(&g->bytes, from, (size_t)(taken - from));
    ASSERT(!g->bytes.overflow);
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
/* Of keys with the same prefix. */
static int key_cmp(const uint8_t *bytes, const place_t *a, const place_t *b) {
    const size_t known = sizeof a->prefix;
    uint32_t n = MIN((uint32_t)a->key_len, (uint32_t)b->key_len);
    int c = n > known ? memcmp(bytes + a->at + known, bytes + b->at + known, n - known) : 0;
    return c ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static inline bool comes_before(const uint8_t *bytes, const place_t *a, const place_t *b) {
    if (a->ns != b->ns) return a->ns < b->ns;
    if (a->prefix != b->prefix) return a->prefix < b->prefix;
    return key_cmp(bytes, a, b) < 0;
}

static bool same_key(const uint8_t *bytes, const place_t *a, const place_t *b) {
    return a->ns == b->ns && a->prefix == b->prefix && key_cmp(bytes, a, b) == 0;
}

#define AHEAD 16
/* Else than inlined at once, a function that only prefetches is one without effect to the compiler, whose calls it leaves out. */
__attribute__((always_inline)) static inline void ask_for(const uint8_t *bytes, const place_t *p, uint32_t i, uint32_t n) {
    if (i + AHEAD < n) __builtin_prefetch(bytes + p[i + AHEAD].at);
}

/* By all of the key: texts and composite keys of one table mostly begin alike. */
static uint64_t place_hash(const uint8_t *bytes, const place_t *p) {
    uint64_t key = p->key_len > sizeof p->prefix ? hash_bytes(bytes + p->at, p->key_len) : p->prefix;
    return hash_mix(key ^ (uint64_t)p->ns << 1);
}

/* Of each key the last, where its first one was; returns how many there are. `index` has room for 2 n or more, a power of two. */
static uint32_t last_words(const uint8_t *bytes, place_t *p, uint32_t n, uint32_t *index, size_t room) {
    uint32_t kept = 0;
    memset(index, 0, room * sizeof *index);
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].key_len > sizeof p->prefix) ask_for(bytes, p, i, n); /* else nothing is asked but the place */
        size_t at = (place_hash(bytes, &p[i]) >> 32) & (room - 1);
        while (index[at] && !same_key(bytes, &p[index[at] - 1], &p[i])) at = (at + 1) & (room - 1);
        if (index[at]) {
            p[index[at] - 1].at = p[i].at;
            p[index[at] - 1].put = p[i].put;
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
        most = MAX(most, (uint32_t)p[i].key_len);
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
static place_t *sort_places(const uint8_t *bytes, place_t *p, place_t *other, size_t n) {
    uint64_t differ;
    bool lengths;
    if (can_be_dealt(p, n, &differ, &lengths)) return deal_all(p, other, n, differ, lengths);
    for (size_t from = 0; from < n; from += RUN) {
        size_t to = MIN(from + RUN, n);
        for (size_t i = from + 1; i < to; i++) {
            place_t x = p[i];
            size_t k = i;
            for (; k > from && comes_before(bytes, &x, &p[k - 1]); k--) p[k] = p[k - 1];
            p[k] = x;
        }
    }
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t a = from, mid = MIN(from + width, n), b = mid, to = MIN(from + 2 * width, n), at = from;
            while (a < mid && b < to) other[at++] = comes_before(bytes, &p[b], &p[a]) ? p[b++] : p[a++];
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
    return (a->at > b->at) - (a->at < b->at);
}

/* Is a change made before some drop of its namespace and key group? drops are sorted by namespace. */
static bool dropped(const group_t *g, const place_t *x, int kg) {
    size_t lo = 0, hi = g->ndrops;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (g->drops[mid].c.ns < x->ns) lo = mid + 1;
        else hi = mid;
    }
    for (; lo < g->ndrops && g->drops[lo].c.ns == x->ns; lo++) {
        const drop_t *d = &g->drops[lo];
        if (d->at > x->at && kg >= d->c.kg_lo && kg < d->c.kg_hi) return true;
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

static err_t *write_place(writing_t *w, const place_t *x, int kg) {
    const buf_t *bytes = &w->g->bytes;
    slice_t key = slice_of(bytes->data + x->at, x->key_len);
    if (w->g->ndrops && dropped(w->g, x, kg)) return NULL;
    if (w->buf.len == 0) change_header(&w->buf);
    if (x->put) {
        reader_t r = reader_of(slice_of(key.p + key.len, bytes->len - x->at - key.len));
        change_put(&w->buf, x->ns, key, read_bytes(&r));
    } else {
        change_del(&w->buf, x->ns, key);
    }
    return w->buf.len >= WRITE_BYTES ? flush(w) : NULL;
}

static err_t *write_places(writing_t *w, group_t *g) {
    uint32_t start[KEY_GROUPS + 1] = {0}, most = 0;
    for (size_t i = 0; i < g->n; i++) start[g->kgs[i] + 1]++;
    for (int k = 0; k < KEY_GROUPS; k++) {
        most = MAX(most, start[k + 1]);
        start[k + 1] += start[k];
    }
    if (g->n + most > g->sorted_cap) {
        free(g->sorted);
        g->sorted_cap = g->n + most + g->n / 8;
        g->sorted = xmalloc(g->sorted_cap * sizeof *g->sorted);
    }
    place_t *all = g->sorted, *scratch = all + g->n;
    uint32_t next[KEY_GROUPS];
    memcpy(next, start, sizeof next);
    for (size_t i = 0; i < g->n; i++) all[next[g->kgs[i]]++] = g->places[i];
    size_t room = 1;
    uint32_t *index = NULL;
    while (most >= MANY && room < 2 * (size_t)most) room *= 2;
    if (most >= MANY) index = xmalloc(room * sizeof *index);
    const uint8_t *bytes = g->bytes.data;
    err_t *e = NULL;
    for (int k = 0; k < KEY_GROUPS && !e; k++) {
        uint32_t count = start[k + 1] - start[k];
        if (count >= MANY) count = last_words(bytes, all + start[k], count, index, room);
        const place_t *p = sort_places(bytes, all + start[k], scratch, count);
        for (uint32_t i = 0; i < count && !e; i++) {
            ask_for(bytes, p, i, count);
            if (i + 1 == count || !same_key(bytes, &p[i], &p[i + 1])) e = write_place(w, &p[i], k); /* else a later one follows */
        }
    }
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
    TRY(write_places(w, g));
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
