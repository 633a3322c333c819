/* keyed.c: from the keys of a batch to their blocks in keyed state. A direct-mapped cache of a batch's last entries
 * spares the table for keys that repeat, and marks each entry dirty once a batch. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define CACHE_SLOTS 1024

void keyed_init(keyed_t *k, kstate_t *ks) {
    k->ks = ks;
    k->cache = xcalloc(CACHE_SLOTS, sizeof *k->cache);
    k->round = 0;
}

void keyed_free(keyed_t *k) {
    free(k->cache);
    k->cache = NULL;
}

void keyed_begin(keyed_t *k) {
    if (++k->round != 0) return;
    memset(k->cache, 0, CACHE_SLOTS * sizeof *k->cache);
    k->round = 1;
}

err_t *keyed_get(keyed_t *k, int64_t ns, uint64_t hash, slice_t key, bool *ret_created, void **ret) {
    struct keyed_slot *s = &k->cache[((hash >> 10) ^ (uint64_t)ns * 0x9e3779b97f4a7c15u >> 40) & (CACHE_SLOTS - 1)];
    *ret_created = false;
    if (s->round == k->round && s->hash == hash && s->ns == ns && slice_eq(kstate_key(k->ks, s->value), key)) {
        *ret = s->value;
        return NULL;
    }
    TRY(kstate_get(k->ks, ns, hash, key, true, ret_created, ret));
    kstate_dirty(k->ks, *ret);
    *s = (struct keyed_slot){hash, ns, *ret, k->round};
    return NULL;
}

/* ---------------------------------------------------------------- codec: version, rows, last access, accumulators */
static void block_init(void *ctx, void *value) {
    memset(value, 0, AGG_HEAD);
    agg_set_init(ctx, agg_accs(value));
}

static void block_clear(void *ctx, void *value) { agg_set_clear(ctx, agg_accs(value)); }

static void block_encode(void *ctx, const void *value, buf_t *out) {
    const agg_head_t *h = value;
    buf_put_zigzag(out, h->rows);
    buf_put_zigzag(out, h->touched);
    agg_set_encode(ctx, (const uint8_t *)value + AGG_HEAD, out);
}

static bool block_decode(void *ctx, slice_t bytes, void *value) {
    agg_head_t *h = value;
    reader_t r = reader_of(bytes);
    h->rows = read_zigzag(&r);
    h->touched = read_zigzag(&r);
    return agg_set_decode(ctx, &r, agg_accs(value)) && !r.bad && reader_left(&r) == 0;
}

static size_t block_heap(void *ctx, const void *value) { return agg_set_heap(ctx, (const uint8_t *)value + AGG_HEAD); }

kstate_codec_t agg_codec(agg_set_t *set) {
    return (kstate_codec_t){
        .value_size = AGG_HEAD + agg_set_size(set),
        .ctx = set,
        .init = block_init,
        .clear = block_clear,
        .encode = block_encode,
        .decode = block_decode,
        .heap = block_heap,
    };
}
