/* kstate_base.c: what passes between a hot table and the base: loading at start and after misses, and eviction.
 * Reads are safe against the base thread: what is read from the base has not changed since it was applied, so the base gives the same
 * value before, during and after an apply; what did change is in the table, alive or dead, or in the spill (kstate_near.c). */
#include "state/kstate_int.h"
#include <stdlib.h>

err_t *ks_ns_legal(const kstate_t *ks, int64_t ns) {
    if (LIKELY(!ks->codec.flat || ns == 0)) return NULL;
    return err_new(ERR_CORRUPT, "operator %016" PRIx64 " has no namespace %" PRId64, ks->fingerprint, ns);
}

err_t *ks_value_decode(kstate_t *ks, entry_t *e, slice_t value) {
    e->changed = 0;
    if (!ks->codec.decode(ks->codec.ctx, value, entry_value(e)))
        return err_new(ERR_CORRUPT, "state base: a value of %zu bytes of operator %016" PRIx64 " cannot be decoded",
                       value.len, ks->fingerprint);
    ks_heap_update(ks, e);
    ks->loaded += ks->chunks[e->chunk].entry_size + entry_heap(ks, e);
    return NULL;
}

/* Rows come in an order that is none in the table: its lines are asked for this many rows ahead. */
#define LOAD_AHEAD 32u
#define LOAD_BYTES ((size_t)64 << 10) /* of large rows fewer wait */
typedef struct load_row { int64_t ns; uint64_t hash; size_t at; uint32_t key_len, value_len; } load_row_t;
typedef struct load { kstate_t *ks; uint32_t n; load_row_t row[LOAD_AHEAD]; buf_t bytes; } load_t;

static err_t *load_row(kstate_t *ks, int64_t ns, uint64_t hash, slice_t key, slice_t value) {
    TRY(ks_ns_legal(ks, ns));
    ks_ns_t *n = ks_ns_make(ks, ns);
    if (kstate_env_over(ks->env)) {
        if (ns == 0) ks_near_load(ks, hash, key, value);
        ks_evicted_add(ks, n, hash);
        ks->first = MIN(ks->first, ns);
        return NULL;
    }
    return ks_value_decode(ks, ks_create(ks, n, hash, key), value);
}

static err_t *load_rows(load_t *l) {
    err_t *e = NULL;
    for (uint32_t i = 0; i < l->n && !e; i++) {
        const load_row_t *r = &l->row[i];
        const uint8_t *p = l->bytes.data + r->at;
        e = load_row(l->ks, r->ns, r->hash, slice_of(p, r->key_len), slice_of(p + r->key_len, r->value_len));
    }
    l->n = 0;
    buf_clear(&l->bytes);
    return e;
}

static err_t *load_all_one(void *arg, int64_t ns, slice_t key, slice_t value) {
    load_t *l = arg;
    uint64_t hash = state_hash(l->ks->slot, key);
    const ks_ns_t *n = ks_ns_find(l->ks, ns);
    if (n && n->slots) __builtin_prefetch(&n->slots[hash >> n->shift], 1);
    l->row[l->n++] = (load_row_t){ns, hash, l->bytes.len, (uint32_t)key.len, (uint32_t)value.len};
    buf_put(&l->bytes, key.p, key.len);
    buf_put(&l->bytes, value.p, value.len);
    return l->n == LOAD_AHEAD || l->bytes.len >= LOAD_BYTES ? load_rows(l) : NULL;
}

err_t *ks_load_all(kstate_t *ks) {
    base_db_t *b = kstate_env_base(ks->env);
    ks->loading = true;
    load_t l = {.ks = ks, .bytes = buf_make(SIZE_MAX / 2)};
    err_t *e = b->scan(b, ks->fingerprint, ks->slot, ks->kg_lo, ks->kg_hi, NULL, load_all_one, &l);
    if (!e) e = load_rows(&l);
    buf_free(&l.bytes);
    ks->loading = false;
    err_t *near = ks_near_end(ks);
    ASSERT(!near); /* the base has all of it */
    return e;
}

/* ---------------------------------------------------------------- eviction */
static void evict_entry(kstate_t *ks, entry_t *e, epoch_t applied) {
    ks_ns_t *n = entry_ns(ks, e);
    if ((e->flags & (ENTRY_DIRTY | ENTRY_LOOSE)) || UNLIKELY(ks_pinned(n, e->hash))) return;
    if (n->ns != 0 && ks_changed_epoch(ks, e) > applied) return; /* of namespace 0 ks_near_put says it */
    if (e->flags & ENTRY_DEAD) { /* the base has applied the delete, or the spill says it */
        if (ks_near_put(ks, e, applied)) ks_remove(ks, e);
        return;
    }
    if (e->flags & ENTRY_REF) { /* used since the hand came by: once more */
        e->flags &= (uint8_t)~ENTRY_REF;
        return;
    }
    n->keep_dead = true; /* from now on a miss may read the base */
    if (n->ns != 0 && n->forgotten > applied) return;
    if (!ks_near_put(ks, e, applied)) return;
    ks_evicted_add(ks, n, e->hash);
    ks_remove(ks, e);
}

#define AHEAD 8

/* What letting go of an entry will touch, anywhere in memory: its place in the table and in the filter of what was evicted. */
static inline void ask_for(const kstate_t *ks, const entry_t *e) {
    if (e->flags & (ENTRY_FREE | ENTRY_DIRTY | ENTRY_LOOSE)) return;
    const ks_ns_t *n = entry_ns(ks, e);
    __builtin_prefetch(&n->slots[e->hash >> n->shift], 1);
    filter_prefetch(n->filter, e->hash);
}

/* Goes round the chunks like a clock's hand; whole chunks fall empty and go back to the system. */
static void evict_chunk(kstate_t *ks, uint32_t at, epoch_t applied) {
    uint32_t n = ks->chunks[at].bump;
    for (uint32_t i = 0; i < n && ks->chunks[at].mem; i++) {
        if (i + AHEAD < n) ask_for(ks, ks_chunk_entry(&ks->chunks[at], i + AHEAD));
        entry_t *e = ks_chunk_entry(&ks->chunks[at], i);
        if (!(e->flags & ENTRY_FREE)) evict_entry(ks, e, applied);
    }
    ks_chunk_vacate(ks, at);
}

static void tidy(kstate_t *ks) {
    for (int b = ks->nblocks - 1; b >= 0; b--) {
        for (int i = ks->blocks[b].n - 1; i >= 0; i--) {
            ks_ns_t *n = ks->blocks[b].items[i];
            int blocks = ks->nblocks;
            ks_ns_shrink(ks, n);
            ks_ns_release(ks, n);
            if (ks->nblocks != blocks) break; /* that was the block's last one */
        }
    }
}

/* Who evicts ahead of the base waits for the seal alone; but what a restore handed over is in memory twice until the base has it. */
static void found_little(kstate_t *ks, epoch_t applied, bool ahead) {
    if (!ahead || kstate_env_restored_waits(ks->env)) kstate_env_found_little(ks->env, applied);
}

err_t *kstate_evict(kstate_t *ks) {
    TRY(ks_renew_some(ks));
    ks_report(ks);
    if (!kstate_env_over(ks->env) || !kstate_env_base(ks->env)) return NULL;
    epoch_t applied = kstate_env_applied(ks->env);
    ks_near_begin(ks);
    bool ahead = ks_near_ahead(ks), same = ks->fruitless == applied + 1 && (!ahead || ks->fruitless_seals == ks->log.generation);
    if (same && ks->loaded * 16 < ks->bytes) { /* little can have become clean since */
        found_little(ks, applied, ahead);
        return NULL;
    }
    ks->loaded = 0;
    /* every table frees the same share, so that all together come a tenth below the budget */
    double share = 0.9 * (double)kstate_env_memory(ks->env) / (double)kstate_env_used(ks->env);
    int64_t target = (int64_t)((double)ks->bytes * share);
    uint64_t before = ks->live;
    uint64_t steps = 2 * (uint64_t)ks->nchunks;
    for (uint64_t i = 0; i < steps && ks->bytes > target; i++) {
        if (ks->hand >= ks->nchunks) ks->hand = 0;
        if (ks->chunks[ks->hand].mem) evict_chunk(ks, ks->hand, applied);
        ks->hand++;
    }
    err_t *e = ks_near_end(ks);
    if (ks->live != before || ks->bytes > target) tidy(ks);
    ks->fruitless = ks->bytes > target ? applied + 1 : 0;
    ks->fruitless_seals = ks->log.generation;
    if (ks->fruitless) found_little(ks, applied, ks_near_ahead(ks));
    ks_report(ks);
    return e;
}
