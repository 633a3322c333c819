/* keyed.c: from the keys of a batch to their blocks in keyed state. A small table is met through a direct-mapped cache of a
 * batch's last entries, which spares look-ups for keys that repeat and marks each entry dirty once a batch. In one that is larger
 * than the processor's cache keys seldom repeat at once, and memory is what takes the time: a batch is looked up as a whole. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define CACHE_SLOTS 1024
#define LARGE_BYTES (512u << 10)

void keyed_init(keyed_t *k, kstate_t *ks) {
    k->ks = ks;
    k->cache = xcalloc(CACHE_SLOTS, sizeof *k->cache);
    k->round = 0;
}

void keyed_free(keyed_t *k) {
    free(k->cache);
    k->cache = NULL;
}

err_t *keyed_find(keyed_t *k, const keys_t *keys, const int64_t *ns, const uint32_t *sel, uint32_t n, void **ret) {
    if (kstate_bytes(k->ks) > LARGE_BYTES || kstate_evicted(k->ks)) {
        kstate_keys_t all = {n, keys->hash, keys->bytes.data, keys->off, ns, sel, k->later};
        return kstate_get_many(k->ks, &all, ret);
    }
    if (++k->round == 0) { /* what is cached is of the batch at hand: entries may go between batches */
        memset(k->cache, 0, CACHE_SLOTS * sizeof *k->cache);
        k->round = 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = keys->hash[i];
        int64_t of = ns ? ns[sel ? sel[i] : i] : 0;
        struct keyed_slot *s = &k->cache[((hash >> 10) ^ (uint64_t)of * 0x9e3779b97f4a7c15u >> 40) & (CACHE_SLOTS - 1)];
        if (s->round != k->round || s->hash != hash || s->ns != of || !slice_eq(kstate_key(k->ks, s->value), keys_at(keys, i))) {
            TRY(kstate_get(k->ks, of, hash, keys_at(keys, i), true, NULL, &ret[i]));
            if (!k->later) kstate_dirty(k->ks, ret[i]);
            *s = (struct keyed_slot){hash, of, ret[i], k->round};
        }
        ret[i] = s->value;
    }
    return NULL;
}

/* ---------------------------------------------------------------- codec: version, rows, last access, accumulators */
static void block_init(void *ctx, void *value) {
    memset(value, 0, AGG_HEAD);
    agg_set_init(ctx, agg_accs(value));
}

int64_t agg_touched(const agg_set_t *set, const void *value) {
    int64_t at;
    memcpy(&at, (const uint8_t *)value + AGG_HEAD + agg_set_size(set), sizeof at);
    return at;
}

void agg_touch(const agg_set_t *set, void *value, int64_t now_ms) {
    memcpy((uint8_t *)value + AGG_HEAD + agg_set_size(set), &now_ms, sizeof now_ms);
}

static void timed_init(void *ctx, void *value) {
    block_init(ctx, value);
    agg_touch(ctx, value, 0);
}

static void block_clear(void *ctx, void *value) { agg_set_clear(ctx, agg_accs(value)); }

#define HEAD_MOST (2 * VARINT_MAX)
static inline uint8_t *head_at(uint8_t *p, const void *value, int64_t touched) {
    const agg_head_t *h = value;
    return zigzag_at(zigzag_at(p, h->rows), touched);
}

static inline void encode(void *ctx, const void *value, int64_t touched, buf_t *out) {
    uint8_t *p = buf_begin(out, HEAD_MOST);
    if (!p) return;
    buf_end(out, head_at(p, value, touched));
    agg_set_encode(ctx, (const uint8_t *)value + AGG_HEAD, out);
}

static void block_encode(void *ctx, const void *value, buf_t *out) { encode(ctx, value, 0, out); }
static void timed_encode(void *ctx, const void *value, buf_t *out) { encode(ctx, value, agg_touched(ctx, value), out); }
static uint8_t *block_encode_at(void *ctx, const void *value, uint8_t *p) {
    return agg_set_encode_at(ctx, (const uint8_t *)value + AGG_HEAD, head_at(p, value, 0));
}
static uint8_t *timed_encode_at(void *ctx, const void *value, uint8_t *p) {
    return agg_set_encode_at(ctx, (const uint8_t *)value + AGG_HEAD, head_at(p, value, agg_touched(ctx, value)));
}

static bool decode(void *ctx, slice_t bytes, void *value, int64_t *ret_touched) {
    agg_head_t *h = value;
    reader_t r = reader_of(bytes);
    h->rows = read_zigzag(&r);
    *ret_touched = read_zigzag(&r);
    if (!agg_set_decode(ctx, &r, agg_accs(value)) || r.bad || reader_left(&r)) return false;
    agg_absent_set(value, agg_set_absent(ctx, agg_accs(value)));
    return true;
}

static bool block_decode(void *ctx, slice_t bytes, void *value) {
    int64_t none;
    return decode(ctx, bytes, value, &none);
}

static bool timed_decode(void *ctx, slice_t bytes, void *value) {
    int64_t at;
    if (!decode(ctx, bytes, value, &at)) return false;
    agg_touch(ctx, value, at);
    return true;
}

static size_t block_heap(void *ctx, const void *value) { return agg_set_heap(ctx, (const uint8_t *)value + AGG_HEAD); }

static size_t block_writes(void *ctx, void *value, size_t *ret_more) { return agg_set_writes(ctx, agg_accs(value), ret_more); }

kstate_codec_t agg_codec(agg_set_t *set, bool timed) {
    bool owns = agg_set_owns(set); /* counts and sums need not be walked over to be measured or freed */
    uint32_t most = agg_set_encode_most(set);
    return (kstate_codec_t){
        .value_size = AGG_HEAD + agg_set_size(set) + (timed ? 8 : 0),
        .ctx = set,
        .init = timed ? timed_init : block_init,
        .clear = owns ? block_clear : NULL,
        .encode = timed ? timed_encode : block_encode,
        .decode = timed ? timed_decode : block_decode,
        .heap = owns ? block_heap : NULL,
        .writes = agg_set_pageable(set) ? block_writes : NULL,
        .encode_at = !most ? NULL : timed ? timed_encode_at : block_encode_at,
        .encode_most = HEAD_MOST + most,
    };
}
