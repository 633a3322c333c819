/* pages.c: pages of large sets beside the groups they belong to: a state of maps (state/kstate.h) of entries
 * (namespace of the group, {key of the group; call varint, page u32 BE}) -> the page as agg_set_pages_out gave it.
 *
 * Invariants
 *  1. As of a barrier the pages of a group are those that its head counts: pages_seal puts what changed right before both states are sealed, and
 *     whoever deletes or clears a group deletes its pages first (a dropped namespace is dropped in both).
 *  2. A page is written here and read here, never changed in place: a set that is there does not need its pages, so they may be evicted. What
 *     they take beside it is a fifth to a third of it. */
#include "engine/op/op_int.h"
#include "state/kstate_env.h"
#include <stdlib.h>

#define SLOT (STATE_MAPS + 1)

typedef struct page {
    uint8_t *p; /* owned */
    size_t len;
} page_t;

static void page_set(page_t *x, slice_t bytes) {
    if (bytes.len != x->len) x->p = xrealloc(x->p, MAX(bytes.len, (size_t)1));
    x->len = bytes.len;
    if (bytes.len) memcpy(x->p, bytes.p, bytes.len);
}

static void page_clear(void *ctx, void *value) { free(((page_t *)value)->p); }
static void page_encode(void *ctx, const void *value, buf_t *out) { buf_put(out, ((const page_t *)value)->p, ((const page_t *)value)->len); }
static bool page_decode(void *ctx, slice_t bytes, void *value) {
    page_set(value, bytes);
    return true;
}
static size_t page_heap(void *ctx, const void *value) { return ((const page_t *)value)->len; }

err_t *pages_open(pages_t *p, const op_env_t *env, agg_set_t *set) {
    *p = (pages_t){.set = set};
    if (!agg_set_pageable(set)) return NULL;
    p->key = p->name = buf_make(BUF_MAX_DEFAULT);
    agg_set_keep_pages(set);
    kstate_codec_t codec = {.value_size = sizeof(page_t), .clear = page_clear, .encode = page_encode, .decode = page_decode, .heap = page_heap};
    return kstate_open(env->state, env->op->fingerprint, SLOT, key_group_lo(env->subtask, env->parallelism),
                       key_group_lo(env->subtask + 1, env->parallelism), &codec, &p->ks);
}

void pages_close(pages_t *p) {
    kstate_close(TAKE(p->ks));
    buf_free(&p->key);
    buf_free(&p->name);
}

/* NULL when absent and !create. */
static err_t *find(pages_t *p, int call, uint32_t page, bool create, page_t **ret) {
    uint32_t be = __builtin_bswap32(page);
    buf_clear(&p->name);
    buf_put_varint(&p->name, (uint64_t)call);
    buf_put(&p->name, &be, sizeof be);
    state_map_key(&p->key, kstate_key(p->of, p->owner), buf_slice(&p->name));
    slice_t key = buf_slice(&p->key);
    void *value;
    TRY(kstate_get(p->ks, kstate_ns(p->of, p->owner), state_hash(SLOT, key), key, create, NULL, &value));
    *ret = value;
    return NULL;
}

static err_t *put(void *arg, int call, uint32_t page, slice_t bytes) {
    pages_t *p = arg;
    page_t *x;
    TRY(find(p, call, page, true, &x));
    page_set(x, bytes);
    kstate_dirty(p->ks, x);
    return NULL;
}

static err_t *drop(void *arg, int call, uint32_t page) {
    pages_t *p = arg;
    page_t *x;
    TRY(find(p, call, page, false, &x));
    if (x) kstate_delete(p->ks, x);
    return NULL;
}

static err_t *get(void *arg, int call, uint32_t page, slice_t *ret) {
    page_t *x;
    TRY(find(arg, call, page, false, &x));
    *ret = x ? slice_of(x->p, x->len) : (slice_t){0};
    return NULL;
}

static agg_pages_io_t io_of(pages_t *p, const void *group) {
    p->owner = group;
    return (agg_pages_io_t){p, put, drop, get};
}

err_t *pages_read(pages_t *p, void *group) {
    if (!agg_set_absent(p->set, agg_accs(group))) return NULL;
    agg_pages_io_t io = io_of(p, group);
    TRY(agg_set_pages_in(p->set, agg_accs(group), &io));
    kstate_grown(p->of, group);
    return NULL;
}

err_t *pages_delete(pages_t *p, void *group) {
    if (!p->ks) return NULL;
    agg_pages_io_t io = io_of(p, group);
    return agg_set_pages_drop(p->set, agg_accs(group), &io);
}

static err_t *seal_group(void *arg, void *group) {
    agg_pages_io_t io = io_of(arg, group);
    return agg_set_pages_out(((pages_t *)arg)->set, agg_accs(group), &io);
}

err_t *pages_seal(pages_t *p) { return p->ks ? kstate_each_dirty(p->of, seal_group, p) : NULL; }
