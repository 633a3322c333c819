/* filter.c: see filter.h. */
#include "state/filter.h"
#include <stdlib.h>

#define LAYERS_MAX 40
#define KEYS_PER_BLOCK 24
#define BLOCKS_MIN 2u
#define BLOCKS_MAX ((uint64_t)1 << 31) /* an index is 32 bits of the hash times their number */

typedef struct block { uint32_t lane[8]; } __attribute__((aligned(32))) block_t;
typedef struct layer { block_t *blocks; uint64_t nblocks, room; /* keys until it is full */ } layer_t;
struct filter { int nlayers; size_t bytes; uint64_t count; bool full; layer_t layers[LAYERS_MAX]; /* the youngest last */ };

static void layer_add(filter_t *f, uint64_t nblocks) {
    layer_t *l = &f->layers[f->nlayers++];
    *l = (layer_t){aligned_alloc(64, (nblocks * sizeof(block_t) + 63) & ~(size_t)63), nblocks, nblocks * KEYS_PER_BLOCK};
    ASSERT(l->blocks);
    memset(l->blocks, 0, nblocks * sizeof(block_t));
    f->bytes += nblocks * sizeof(block_t);
}

size_t filter_least(void) { return sizeof(filter_t) + BLOCKS_MIN * sizeof(block_t); }

uint64_t filter_keys(size_t bytes) { return bytes / sizeof(block_t) * KEYS_PER_BLOCK; }

filter_t *filter_new(uint64_t expected) {
    filter_t *f = xcalloc(1, sizeof *f);
    f->bytes = sizeof *f;
    layer_add(f, MIN(MAX(expected / KEYS_PER_BLOCK, BLOCKS_MIN), BLOCKS_MAX));
    return f;
}

void filter_free(filter_t *f) {
    if (!f) return;
    for (int i = 0; i < f->nlayers; i++) free(f->layers[i].blocks);
    free(f);
}

size_t filter_bytes(const filter_t *f) { return f ? f->bytes : 0; }

uint64_t filter_count(const filter_t *f) { return f ? f->count : 0; }

bool filter_full(const filter_t *f) { return f && f->full; }

int filter_layers(const filter_t *f) { return f ? f->nlayers : 0; }

static inline block_t *block_of(const layer_t *l, uint64_t hash) { return &l->blocks[(hash >> 32) * l->nblocks >> 32]; }

/* One bit in each lane, chosen by bits of the hash that hardly take part in the block's index. */
static inline void mask_of(uint64_t hash, uint32_t *ret) {
    static const uint32_t salt[8] = {0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du, 0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u};
    uint32_t h = (uint32_t)(hash >> 8);
    for (int i = 0; i < 8; i++) ret[i] = 1u << (h * salt[i] >> 27);
}

filter_key_t filter_key(uint64_t hash) {
    filter_key_t k = {.hash = hash};
    mask_of(hash, k.mask);
    return k;
}

bool filter_has_key(const filter_t *f, const filter_key_t *key) {
    for (int k = f ? f->nlayers - 1 : -1; k >= 0; k--) {
        const block_t *b = block_of(&f->layers[k], key->hash);
        uint32_t missing = 0;
        for (int i = 0; i < 8; i++) missing |= key->mask[i] & ~b->lane[i];
        if (!missing) return true;
    }
    return false;
}

bool filter_has(const filter_t *f, uint64_t hash) {
    if (!f) return false;
    filter_key_t k = filter_key(hash);
    return filter_has_key(f, &k);
}

void filter_prefetch(const filter_t *f, uint64_t hash) {
    for (int k = f ? f->nlayers : 0; k-- > 0;) __builtin_prefetch(block_of(&f->layers[k], hash));
}

void filter_add(filter_t *f, uint64_t hash, size_t most) {
    filter_key_t k = filter_key(hash);
    if (filter_has_key(f, &k)) return;
    layer_t *l = &f->layers[f->nlayers - 1];
    if (l->room == 0 && f->nlayers < LAYERS_MAX) {
        uint64_t left = most > f->bytes ? (most - f->bytes) / sizeof(block_t) : 0, next = MIN(MIN(2 * l->nblocks, left), BLOCKS_MAX);
        if (next && next >= l->nblocks / 2) layer_add(f, next); /* a smaller one is not worth its look */
        l = &f->layers[f->nlayers - 1];
    }
    if (l->room) l->room--;
    else f->full = true;
    f->count++;
    block_t *b = block_of(l, hash);
    for (int i = 0; i < 8; i++) b->lane[i] |= k.mask[i];
}
