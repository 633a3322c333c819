/* groups.c: the hash table of combiners. Open addressing, linear probing, power-of-two index of (hash tag, entry);
 * blocks and keys lie in chunks that stay where they are, so pointers handed out are valid until groups_clear, which
 * keeps one chunk and the index for the next round. */
#include "engine/op/op_int.h"
#include "state/kstate_env.h"
#include <stdlib.h>

#define CHUNK_BYTES (256u << 10)
#define LOCAL_GROUPS_MAX 131072
#define SCARCE_GROUPS_MAX 4096
#define LOCAL_BYTES_MAX ((size_t)8 << 20)
#define LOCAL_BYTES_MIN ((size_t)512 << 10)

typedef struct gchunk {
    struct gchunk *next;
    size_t used, size;
    uint8_t data[] __attribute__((aligned(16)));
} gchunk_t;

typedef struct gentry {
    uint64_t hash; /* of namespace and key */
    int64_t ns;
    uint32_t key_len, pad_;
    /* block, then key */
} gentry_t;

typedef struct gslot {
    uint32_t tag; /* high half of the hash */
    uint32_t at;  /* entry + 1, 0 free */
} gslot_t;

struct groups {
    uint32_t block, stride; /* of header and block, 16-aligned */
    uint32_t n, cap;
    gentry_t **entries;
    uint32_t mask;
    gslot_t *index;
    gchunk_t *chunks; /* current first */
    size_t bytes;
};

groups_t *groups_new(uint32_t block_size) {
    groups_t *g = xcalloc(1, sizeof *g);
    g->block = block_size;
    g->stride = (uint32_t)(sizeof(gentry_t) + block_size + 15) & ~15u;
    g->mask = 1023;
    g->index = xcalloc(g->mask + 1, sizeof *g->index);
    return g;
}

void groups_free(groups_t *g) {
    if (!g) return;
    while (g->chunks) {
        gchunk_t *next = g->chunks->next;
        free(g->chunks);
        g->chunks = next;
    }
    free(g->entries);
    free(g->index);
    free(g);
}

static void *chunk_alloc(groups_t *g, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (!g->chunks || g->chunks->size - g->chunks->used < size) {
        size_t room = MAX(size, (size_t)CHUNK_BYTES);
        gchunk_t *c = xmalloc(sizeof *c + room);
        *c = (gchunk_t){.next = g->chunks, .size = room};
        g->chunks = c;
    }
    void *p = g->chunks->data + g->chunks->used;
    g->chunks->used += size;
    g->bytes += size;
    return p;
}

static void index_grow(groups_t *g) {
    g->mask = g->mask * 2 + 1;
    free(g->index);
    g->index = xcalloc((size_t)g->mask + 1, sizeof *g->index);
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t h = g->entries[i]->hash;
        uint32_t at = (uint32_t)h & g->mask;
        while (g->index[at].at) at = (at + 1) & g->mask;
        g->index[at] = (gslot_t){(uint32_t)(h >> 32), i + 1};
    }
}

static inline uint8_t *entry_block(gentry_t *e) { return (uint8_t *)(e + 1); }
static inline uint8_t *entry_key(const groups_t *g, gentry_t *e) { return (uint8_t *)e + g->stride; }

static void *group_make(groups_t *g, uint64_t h, int64_t ns, slice_t key, uint32_t at) {
    gentry_t *e = chunk_alloc(g, g->stride + key.len);
    *e = (gentry_t){.hash = h, .ns = ns, .key_len = (uint32_t)key.len};
    memset(entry_block(e), 0, g->block);
    if (key.len) memcpy(entry_key(g, e), key.p, key.len);
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 512;
        g->entries = xrealloc(g->entries, sizeof *g->entries * g->cap);
    }
    g->entries[g->n++] = e;
    g->index[at] = (gslot_t){(uint32_t)(h >> 32), g->n};
    if (g->n > g->mask / 2) index_grow(g);
    return entry_block(e);
}

static inline uint64_t group_hash(int64_t ns, uint64_t hash) { return hash ^ hash_mix((uint64_t)ns + 0x9e3779b97f4a7c15u); }

void groups_prefetch(const groups_t *g, int64_t ns, uint64_t hash) { __builtin_prefetch(&g->index[group_hash(ns, hash) & g->mask]); }

void groups_prefetch_entry(const groups_t *g, int64_t ns, uint64_t hash) {
    uint64_t h = group_hash(ns, hash);
    uint32_t tag = (uint32_t)(h >> 32);
    for (uint32_t at = (uint32_t)h & g->mask; g->index[at].at; at = (at + 1) & g->mask) {
        if (g->index[at].tag != tag) continue;
        const char *e = (const char *)g->entries[g->index[at].at - 1];
        __builtin_prefetch(e, 1);
        __builtin_prefetch(e + 64, 1);
        return;
    }
}

void *groups_get(groups_t *g, int64_t ns, uint64_t hash, slice_t key, bool *ret_created) {
    uint64_t h = group_hash(ns, hash);
    uint32_t tag = (uint32_t)(h >> 32);
    uint32_t at = (uint32_t)h & g->mask;
    for (; g->index[at].at; at = (at + 1) & g->mask) {
        if (g->index[at].tag != tag) continue;
        gentry_t *e = g->entries[g->index[at].at - 1];
        if (e->hash == h && e->ns == ns && e->key_len == key.len && (!key.len || memcmp(entry_key(g, e), key.p, key.len) == 0)) {
            *ret_created = false;
            return entry_block(e);
        }
    }
    *ret_created = true;
    return group_make(g, h, ns, key, at);
}

uint32_t groups_count(const groups_t *g) { return g->n; }
void groups_own(groups_t *g, const agg_set_t *set, uint32_t from) {
    for (uint32_t i = from; i < g->n; i++) g->bytes += agg_set_heap(set, entry_block(g->entries[i]));
}
size_t groups_bytes(const groups_t *g) { return g->bytes + g->n * (sizeof *g->entries + 2 * sizeof *g->index); }

/* Where keyed state is large for the memory it may have, what combiners hold is taken from it, and so many keys combine badly anyway. */
bool groups_full(const groups_t *g, const kstate_env_t *state) {
    bool scarce = state && kstate_env_memory(state) && kstate_env_used(state) > kstate_env_memory(state) / 4;
    size_t bytes_max = LOCAL_BYTES_MAX;
    if (state && kstate_env_memory(state)) bytes_max = MIN(bytes_max, MAX(kstate_env_memory(state) / 16, LOCAL_BYTES_MIN));
    return groups_count(g) >= (scarce ? SCARCE_GROUPS_MAX : LOCAL_GROUPS_MAX) || g->bytes >= bytes_max;
}

void *groups_at(const groups_t *g, uint32_t i, int64_t *ret_ns, slice_t *ret_key) {
    gentry_t *e = g->entries[i];
    *ret_ns = e->ns;
    *ret_key = slice_of(entry_key(g, e), e->key_len);
    return entry_block(e);
}

void groups_clear(groups_t *g) {
    if (g->n == 0) return;
    while (g->chunks->next) {
        gchunk_t *next = g->chunks->next;
        g->chunks->next = next->next;
        free(next);
    }
    g->chunks->used = 0;
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
