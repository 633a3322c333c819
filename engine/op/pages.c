/* pages.c: pages of large sets beside the groups they belong to: a state of maps (state/kstate.h) of entries
 * (namespace of the group, {key of the group; call varint, page u32 BE}) -> the page as agg_set_pages_out gave it. Where a key has several groups
 * (sessions) the name begins with the number of one, varint.
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

void pages_keep(pages_t *p, agg_set_t *set) {
    agg_set_keep_pages(set);
    *p = (pages_t){.set = set, .key = buf_make(BUF_MAX_DEFAULT), .name = buf_make(BUF_MAX_DEFAULT), .emits = agg_set_emits_pages(set)};
}

err_t *pages_open(pages_t *p, const op_env_t *env, kstate_t *of) {
    p->of = of;
    p->env = env->state;
    if (!agg_set_pageable(p->set)) return NULL;
    kstate_codec_t codec = {.value_size = sizeof(page_t), .clear = page_clear, .encode = page_encode, .decode = page_decode, .heap = page_heap};
    return kstate_open(env->state, env->op->fingerprint, SLOT, key_group_lo(env->subtask, env->parallelism),
                       key_group_lo(env->subtask + 1, env->parallelism), &codec, &p->ks);
}

void pages_close(pages_t *p) {
    kstate_close(TAKE(p->ks));
    buf_free(&p->key);
    buf_free(&p->name);
}

/* Appends to p->key. */
static slice_t key_of(pages_t *p, int call, uint32_t page) {
    uint32_t be = __builtin_bswap32(page);
    buf_clear(&p->name);
    if (p->part) buf_put_varint(&p->name, p->part);
    buf_put_varint(&p->name, (uint64_t)call);
    buf_put(&p->name, &be, sizeof be);
    size_t at = p->key.len;
    state_map_key(&p->key, kstate_key(p->of, p->owner), buf_slice(&p->name));
    return slice_of(p->key.data + at, p->key.len - at);
}

/* The head of the group says what there is: what is written anew or deleted is not read. */
static err_t *page_at(pages_t *p, int call, uint32_t page, bool stored, page_t **ret) {
    buf_clear(&p->key);
    slice_t key = key_of(p, call, page);
    *ret = kstate_put(p->ks, kstate_ns(p->of, p->owner), state_hash(SLOT, key), key, stored);
    return *ret ? NULL : err_new(ERR_CORRUPT, "the state has not page %u of a set of values", page);
}

static err_t *put(void *arg, int call, uint32_t page, bool stored, slice_t bytes) {
    page_t *x;
    TRY(page_at(arg, call, page, stored, &x));
    page_set(x, bytes);
    return NULL;
}

static err_t *drop(void *arg, int call, uint32_t page) {
    page_t *x;
    TRY(page_at(arg, call, page, true, &x));
    kstate_delete(((pages_t *)arg)->ks, x);
    return NULL;
}

/* They need not stay: what was given out before has been taken. */
static err_t *get(void *arg, int call, uint32_t page, uint32_t n, slice_t *ret) {
    pages_t *p = arg;
    uint64_t hash[AGG_PAGES_AT_ONCE];
    uint32_t off[AGG_PAGES_AT_ONCE + 1] = {0};
    int64_t ns[AGG_PAGES_AT_ONCE];
    void *values[AGG_PAGES_AT_ONCE];
    TRY(kstate_evict(p->ks));
    buf_clear(&p->key);
    for (uint32_t i = 0; i < n; i++) {
        hash[i] = state_hash(SLOT, key_of(p, call, page + i));
        off[i + 1] = (uint32_t)p->key.len;
        ns[i] = kstate_ns(p->of, p->owner);
    }
    kstate_keys_t keys = {.n = n, .hash = hash, .bytes = p->key.data, .off = off, .ns = ns, .later = true};
    TRY(kstate_get_many(p->ks, &keys, values));
    for (uint32_t i = 0; i < n; i++) {
        const page_t *x = values[i];
        ret[i] = x->p ? slice_of(x->p, x->len) : (slice_t){0};
    }
    return NULL;
}

static agg_pages_io_t io_of(pages_t *p, const void *owner, uint64_t part) {
    p->owner = owner;
    p->part = part;
    return (agg_pages_io_t){p, put, drop, get};
}

err_t *pages_part_in(pages_t *p, const void *owner, uint64_t part, void *accs) {
    agg_pages_io_t io = io_of(p, owner, part);
    return agg_set_pages_in(p->set, accs, &io);
}

err_t *pages_part_out(pages_t *p, const void *owner, uint64_t part, void *accs) {
    agg_pages_io_t io = io_of(p, owner, part);
    return agg_set_pages_out(p->set, accs, &io);
}

err_t *pages_part_drop(pages_t *p, const void *owner, uint64_t part, const void *accs) {
    if (!p->ks) return NULL;
    agg_pages_io_t io = io_of(p, owner, part);
    return agg_set_pages_drop(p->set, accs, &io);
}

static err_t *read_in(pages_t *p, void *group) {
    agg_absent_set(group, false);
    return pages_part_in(p, group, 0, agg_accs(group));
}

err_t *pages_read(pages_t *p, void *group) {
    TRY(read_in(p, group));
    kstate_grown(p->of, group);
    return NULL;
}

err_t *pages_need_once(pages_t *p, void *group, bool *ret_read) {
    *ret_read = agg_absent(group);
    return *ret_read ? read_in(p, group) : NULL;
}

void pages_done(pages_t *p, void *group, bool read) {
    if (!read) return;
    agg_set_pages_leave(p->set, agg_accs(group));
    agg_absent_set(group, true);
}

err_t *pages_delete(pages_t *p, void *group) {
    agg_absent_set(group, false); /* it may be cleared and live on */
    return pages_part_drop(p, group, 0, agg_accs(group));
}

#define TIMES_ENCODED 3 /* a set takes as much memory as its pages so many times */
#define PAGE_BYTES 2048 /* where none is in memory to ask */

size_t pages_group_bytes(const pages_t *p) {
    uint64_t groups = kstate_entries(p->of), pages = p->ks ? kstate_entries(p->ks) : 0;
    if (!groups || !pages) return 0;
    uint64_t live = pages - kstate_evicted(p->ks);
    uint64_t each = live ? MIN(kstate_bytes(p->ks) / live, (uint64_t)PAGE_BYTES) : PAGE_BYTES;
    return pages * each * TIMES_ENCODED / groups;
}

size_t portion_bytes(const kstate_env_t *state) {
    size_t memory = kstate_env_memory(state);
    return memory ? MAX(memory / 16, (size_t)1) : SIZE_MAX;
}

size_t pages_bound(const pages_t *p) { return p->emits ? portion_bytes(p->env) : SIZE_MAX; }

size_t pages_held(const pages_t *p, const void *accs) { return p->emits ? agg_set_heap(p->set, accs) : 0; }

err_t *pages_turn(pages_t *p, pages_walk_t *w, void **groups, uint32_t *ret_n, bool *ret_end) {
    size_t bound = pages_bound(p), held = 0;
    *ret_n = 0;
    if (w->at == w->n) {
        w->at = 0;
        TRY(kstate_scan(p->of, &w->scan, w->scanned, PAGES_TURN, &w->n));
    }
    *ret_end = w->n == 0;
    while (w->at < w->n && held <= bound) {
        void *group = w->scanned[w->at++];
        if (((agg_head_t *)group)->rows <= 0) continue;
        if (p->emits && agg_absent(group)) {
            w->read[w->nread++] = group;
            TRY(read_in(p, group));
        }
        held += pages_held(p, agg_accs(group));
        groups[(*ret_n)++] = group;
    }
    return NULL;
}

bool pages_emitted(pages_t *p, pages_walk_t *w) {
    for (uint32_t i = 0; i < w->nread; i++) pages_done(p, w->read[i], true);
    w->nread = 0;
    return w->at == w->n;
}

static err_t *seal_group(void *arg, void *group) { return pages_part_out(arg, group, 0, agg_accs(group)); }

err_t *pages_seal(pages_t *p) { return p->ks ? kstate_each_dirty(p->of, seal_group, p) : NULL; }
