/* groups.c: the hash table of combiners. Open addressing, linear probing, a power-of-two index of (tag, place). An entry is
 *   block | namespace, where there are any | length of the key, a byte (LONG_KEY: four more follow) | key
 * at a multiple of 8 bytes, and tags alone say where an entry's slot is: keys are met at random, so what counts is how many cache lines a
 * look-up touches (one of the index, one of a short entry that fits) and how many of both the cache holds.
 * Entries lie in chunks that stay where they are, so pointers handed out are valid until groups_clear, which keeps one chunk and the
 * index for the next round. */
#include "engine/op/op_int.h"
#include "state/kstate_env.h"
#include <stdlib.h>

#define UNIT 8u
#define CHUNK_UNITS (1u << 15)
#define CHUNK_BYTES (CHUNK_UNITS * UNIT)
#define LINE 64u
#define LONG_KEY 255u
#define LOCAL_GROUPS_MAX 131072
#define SCARCE_GROUPS_MAX 4096
#define LOCAL_BYTES_MAX ((size_t)8 << 20)
#define LOCAL_BYTES_MIN ((size_t)512 << 10)
#define AHEAD 12            /* rows between asking for a slot, for its entry, and looking at it */
#define CACHED_GROUPS 2048  /* up to here the table lies in the cache anyway */

typedef struct gslot {
    uint32_t tag; /* of the hash of namespace and key; its low bits are where the slot is looked for */
    uint32_t at;  /* place of the entry + 1, 0 free */
} gslot_t;

struct groups {
    uint32_t block, key_at; /* offsets in an entry: end of the block, length of the key */
    bool named;
    uint32_t n, cap;
    uint32_t *order;        /* places, as they were made */
    uint32_t mask;
    gslot_t *index;
    uint8_t **chunks;
    uint32_t nchunks, chunks_cap;
    size_t used, size;      /* of the last chunk */
    size_t bytes;
};

groups_t *groups_new(uint32_t block_size, bool named) {
    groups_t *g = xcalloc(1, sizeof *g);
    g->block = (block_size + UNIT - 1) / UNIT * UNIT;
    g->named = named;
    g->key_at = g->block + (named ? (uint32_t)sizeof(int64_t) : 0);
    g->mask = 1023;
    g->index = xcalloc(g->mask + 1, sizeof *g->index);
    return g;
}

static void free_chunks(groups_t *g, uint32_t from) {
    for (uint32_t i = from; i < g->nchunks; i++) free(g->chunks[i]);
    g->nchunks = MIN(g->nchunks, from);
}

void groups_free(groups_t *g) {
    if (!g) return;
    free_chunks(g, 0);
    free(g->chunks);
    free(g->order);
    free(g->index);
    free(g);
}

static inline uint8_t *entry_at(const groups_t *g, uint32_t place) {
    return g->chunks[place / CHUNK_UNITS] + (size_t)(place % CHUNK_UNITS) * UNIT;
}

static inline slice_t entry_key(const groups_t *g, const uint8_t *e) {
    e += g->key_at;
    uint32_t len = *e++;
    if (UNLIKELY(len == LONG_KEY)) {
        memcpy(&len, e, sizeof len);
        e += sizeof len;
    }
    return slice_of(e, len);
}

static void chunk_add(groups_t *g, size_t size) {
    if (g->nchunks == g->chunks_cap) {
        g->chunks_cap = g->chunks_cap ? g->chunks_cap * 2 : 8;
        g->chunks = xrealloc(g->chunks, sizeof *g->chunks * g->chunks_cap);
    }
    ASSERT(g->nchunks < UINT32_MAX / CHUNK_UNITS);
    uint8_t *c = aligned_alloc(LINE, (size + LINE - 1) / LINE * LINE);
    ASSERT(c);
    g->chunks[g->nchunks++] = c;
    g->used = 0;
    g->size = size;
}

/* An entry larger than a chunk has one to itself. */
static uint32_t place_alloc(groups_t *g, size_t size) {
    size = (size + UNIT - 1) / UNIT * UNIT;
    if (!g->nchunks || g->size - g->used < size) chunk_add(g, MAX(size, (size_t)CHUNK_BYTES));
    uint32_t place = (g->nchunks - 1) * CHUNK_UNITS + (uint32_t)(g->used / UNIT);
    g->used += size;
    g->bytes += size;
    return place;
}

static void index_grow(groups_t *g) {
    gslot_t *old = g->index;
    uint32_t n = g->mask + 1;
    g->mask = g->mask * 2 + 1;
    g->index = xcalloc((size_t)g->mask + 1, sizeof *g->index);
    for (uint32_t i = 0; i < n; i++) {
        if (!old[i].at) continue;
        uint32_t s = old[i].tag & g->mask;
        while (g->index[s].at) s = (s + 1) & g->mask;
        g->index[s] = old[i];
    }
    free(old);
}

static uint32_t group_make(groups_t *g, uint32_t tag, int64_t ns, slice_t key, uint32_t s) {
    bool longer = key.len >= LONG_KEY;
    uint32_t place = place_alloc(g, g->key_at + 1 + (longer ? sizeof(uint32_t) : 0) + key.len), len = (uint32_t)key.len;
    uint8_t *e = entry_at(g, place), *p = e + g->key_at;
    memset(e, 0, g->block);
    if (g->named) memcpy(e + g->block, &ns, sizeof ns);
    *p++ = longer ? LONG_KEY : (uint8_t)len;
    if (longer) {
        memcpy(p, &len, sizeof len);
        p += sizeof len;
    }
    if (len) memcpy(p, key.p, len);
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 512;
        g->order = xrealloc(g->order, sizeof *g->order * g->cap);
    }
    g->order[g->n++] = place;
    g->index[s] = (gslot_t){tag, place + 1};
    if (g->n > g->mask / 2) index_grow(g);
    return place;
}

static inline uint32_t group_tag(int64_t ns, uint64_t hash) { return (uint32_t)((ns ? hash ^ hash_mix((uint64_t)ns) : hash) >> 32); }

static inline uint32_t word_at(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Short keys are most, and a call costs more than they do. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n) {
    if (n > 8) return memcmp(a, b, n) == 0;
    if (n >= 4) return word_at(a) == word_at(b) && word_at(a + n - 4) == word_at(b + n - 4);
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i]) return false;
    return true;
}

static inline bool is_group(const groups_t *g, const uint8_t *e, int64_t ns, slice_t key) {
    if (g->named && memcmp(e + g->block, &ns, sizeof ns) != 0) return false;
    slice_t k = entry_key(g, e);
    return k.len == key.len && same_bytes(k.p, key.p, key.len);
}

/* The first entry of that tag, as place + 1; 0: none. */
static inline uint32_t first_of_tag(const groups_t *g, uint32_t tag) {
    for (uint32_t s = tag & g->mask; g->index[s].at; s = (s + 1) & g->mask)
        if (g->index[s].tag == tag) return g->index[s].at;
    return 0;
}

static uint8_t *get(groups_t *g, uint32_t tag, int64_t ns, slice_t key, bool *ret_created) {
    uint32_t s = tag & g->mask;
    for (; g->index[s].at; s = (s + 1) & g->mask) {
        if (g->index[s].tag != tag) continue;
        uint8_t *e = entry_at(g, g->index[s].at - 1);
        *ret_created = false;
        if (is_group(g, e, ns, key)) return e;
    }
    *ret_created = true;
    return entry_at(g, group_make(g, tag, ns, key, s));
}

void *groups_get(groups_t *g, int64_t ns, uint64_t hash, slice_t key, bool *ret_created) {
    ASSERT(g->named || ns == 0);
    return get(g, group_tag(ns, hash), ns, key, ret_created);
}

/* Three rows are at work: the slot of one is asked for, that of the next, which has arrived by now, says which entry to ask for, and of the
 * third that is here. Places stay right while the table grows. */
void groups_get_many(groups_t *g, const int64_t *ns, const keys_t *keys, uint32_t n, void **ret) {
    enum { SLOTS = 16 };
    uint32_t tags[2 * SLOTS], places[SLOTS]; /* by row modulo */
    ASSERT(g->named || !ns);
    uint32_t lead = groups_count(g) > CACHED_GROUPS ? AHEAD : 0;
    for (uint32_t i = 0; i < n + 2 * lead; i++) {
        if (i < n) {
            tags[i % (2 * SLOTS)] = group_tag(ns ? ns[i] : 0, keys->hash[i]);
            if (lead) __builtin_prefetch(&g->index[tags[i % (2 * SLOTS)] & g->mask]);
        }
        if (i >= lead && i - lead < n) {
            uint32_t at = first_of_tag(g, tags[(i - lead) % (2 * SLOTS)]);
            places[(i - lead) % SLOTS] = at;
            if (lead && at) {
                __builtin_prefetch(entry_at(g, at - 1), 1);
                __builtin_prefetch(entry_at(g, at - 1) + g->key_at, 1);
            }
        }
        if (i < 2 * lead) continue;
        uint32_t row = i - 2 * lead, at = places[row % SLOTS];
        int64_t of = ns ? ns[row] : 0;
        slice_t key = keys_at(keys, row);
        uint8_t *e = at ? entry_at(g, at - 1) : NULL;
        bool created;
        ret[row] = e && is_group(g, e, of, key) ? e : get(g, tags[row % (2 * SLOTS)], of, key, &created);
    }
}

uint32_t groups_count(const groups_t *g) { return g->n; }
void groups_own(groups_t *g, const agg_set_t *set, uint32_t accs_at, uint32_t from) {
    for (uint32_t i = from; i < g->n; i++) g->bytes += agg_set_heap(set, entry_at(g, g->order[i]) + accs_at);
}
size_t groups_bytes(const groups_t *g) { return g->bytes + g->n * (sizeof *g->order + 2 * sizeof *g->index); }

/* Where keyed state is large for the memory it may have, what combiners hold is taken from it, and so many keys combine badly anyway. */
bool groups_full(const groups_t *g, const kstate_env_t *state) {
    bool scarce = state && kstate_env_memory(state) && kstate_env_used(state) > kstate_env_memory(state) / 4;
    size_t bytes_max = LOCAL_BYTES_MAX;
    if (state && kstate_env_memory(state)) bytes_max = MIN(bytes_max, MAX(kstate_env_memory(state) / 16, LOCAL_BYTES_MIN));
    return groups_count(g) >= (scarce ? SCARCE_GROUPS_MAX : LOCAL_GROUPS_MAX) || g->bytes >= bytes_max;
}

void *groups_at(const groups_t *g, uint32_t i, int64_t *ret_ns, slice_t *ret_key) {
    uint8_t *e = entry_at(g, g->order[i]);
    *ret_ns = 0;
    if (g->named) memcpy(ret_ns, e + g->block, sizeof *ret_ns);
    *ret_key = entry_key(g, e);
    return e;
}

void groups_clear(groups_t *g) {
    if (g->n == 0) return;
    free_chunks(g, 1);
    g->used = 0;
    g->size = CHUNK_BYTES;
    g->bytes = 0;
    if (g->mask > 65535 && g->n < g->mask / 16) { /* one round was large, the others are not */
        g->mask = 1023;
        free(g->index);
        g->index = xcalloc(g->mask + 1, sizeof *g->index);
    } else {
        memset(g->index, 0, sizeof *g->index * ((size_t)g->mask + 1));
    }
    g->n = 0;
}
