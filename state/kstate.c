/* kstate.c: the calls an operator makes. See kstate_int.h for the structure and the life of an entry. */
#include "state/kstate_int.h"
#include <stdlib.h>

err_t *kstate_open(kstate_env_t *env, uint64_t fingerprint, int slot, int kg_lo, int kg_hi, const kstate_codec_t *codec,
                   kstate_t **ret) {
    if (kg_lo < 0 || kg_hi > KEY_GROUPS || kg_lo > kg_hi)
        return err_new(ERR_INVALID, "key groups %d to %d are not within 0 to %d", kg_lo, kg_hi, KEY_GROUPS);
    kstate_t *ks = xcalloc(1, sizeof *ks);
    *ks = (kstate_t){.env = env, .fingerprint = fingerprint, .slot = slot, .kg_lo = kg_lo, .kg_hi = kg_hi,
                     .codec = *codec, .value_bytes = (codec->value_size + 7) & ~7u, .first = INT64_MAX};
    uint32_t at = (uint32_t)sizeof(entry_t) + ks->value_bytes;
    ks->ns_at = codec->flat ? 0 : at;
    ks->heap_at = codec->heap ? at + (codec->flat ? 0 : 8) : 0;
    ks->key_at = at + (codec->flat ? 0 : 8) + (codec->heap ? 8 : 0);
    ks->scratch = buf_make(BUF_MAX_DEFAULT);
    ks_near_lean(ks);
    err_t *e = kstate_reload(ks);
    if (e) {
        kstate_close(ks);
        return e;
    }
    *ret = ks;
    return NULL;
}

err_t *kstate_reload(kstate_t *ks) {
    ASSERT(kstate_entries(ks) == 0);
    if (kstate_env_base(ks->env)) TRY(ks_load_all(ks));
    ks_report(ks);
    return NULL;
}

void kstate_unscanned(kstate_t *ks) {
    ks->unscanned = true;
    ks_near_lean(ks);
}

void kstate_forget(kstate_t *ks) {
    ASSERT(ks->nchanged == 0);
    ks_loose_free(ks);
    ks_ns_free_all(ks);
    ks_mem_free(ks);
    memset(ks->cache, 0, sizeof ks->cache);
    ks->live = 0;
    ks->ahead = 0;
    ks->first = INT64_MAX;
    ks_report(ks);
}

void kstate_close(kstate_t *ks) {
    if (!ks) return;
    ks_loose_free(ks);
    free(ks->loose);
    ks_ns_free_all(ks);
    ks_mem_free(ks);
    ks_log_free(ks);
    kstate_env_account(ks->env, -ks->reported);
    kstate_env_account_unsealed(ks->env, -ks->unsealed_reported);
    if (ks->nchanged) kstate_env_dirty(ks->env, -1);
    if (ks->follower) kstate_env_follow(ks->env, -1);
    if (ks->full) kstate_env_full(ks->env, -1);
    free(ks->changed);
    free(ks->touched);
    buf_free(&ks->scratch);
    free(ks);
}

entry_t *ks_create(kstate_t *ks, ks_ns_t *n, uint64_t hash, slice_t key) {
    entry_t *e = ks_entry_alloc(ks, key);
    e->hash = hash;
    entry_ns_set(ks, e, n);
    if (ks->codec.init) ks->codec.init(ks->codec.ctx, entry_value(e));
    else memset(entry_value(e), 0, ks->codec.value_size);
    ks_ns_insert(ks, n, e);
    n->live++;
    ks->live++;
    ks->first = MIN(ks->first, n->ns);
    return e;
}

void ks_remove(kstate_t *ks, entry_t *e) {
    ks_ns_t *n = entry_ns(ks, e);
    if (!(e->flags & ENTRY_DEAD)) {
        n->live--;
        ks->live--;
    }
    ks_ns_unlink(ks, n, e);
    ks_entry_free(ks, e);
}

/* The value gives back its memory now and is empty, so that clearing or reviving it later is legal. */
void ks_kill(kstate_t *ks, entry_t *e) {
    ASSERT(!(e->flags & ENTRY_DEAD));
    if (ks->codec.clear) ks->codec.clear(ks->codec.ctx, entry_value(e));
    if (ks->codec.init) ks->codec.init(ks->codec.ctx, entry_value(e));
    else memset(entry_value(e), 0, ks->codec.value_size);
    ks_account(ks, -(int64_t)entry_heap(ks, e));
    entry_heap_set(ks, e, 0);
    e->word = 0;
    e->flags |= ENTRY_DEAD;
    entry_ns(ks, e)->live--;
    ks->live--;
}

void ks_revive(kstate_t *ks, entry_t *e) {
    e->flags &= (uint8_t)~ENTRY_DEAD;
    ks_ns_t *n = entry_ns(ks, e);
    n->live++;
    ks->live++;
    ks->first = MIN(ks->first, n->ns);
}

/* Its heap memory is asked for again at the next kstate_measure. */
static void touch(kstate_t *ks, entry_t *e) {
    ks_ns_t *n = entry_ns(ks, e);
    e->flags |= ENTRY_TOUCHED;
    if (!ks->codec.heap) return;
    if (n->ntouched == 0) {
        if (ks->ntouched == ks->touched_cap) {
            ks->touched_cap = ks->touched_cap ? 2 * ks->touched_cap : 16;
            ks->touched = xrealloc(ks->touched, ks->touched_cap * sizeof *ks->touched);
        }
        ks->touched[ks->ntouched++] = n;
    }
    if (n->ntouched == n->touched_cap) {
        uint32_t cap = n->touched_cap ? 2 * n->touched_cap : 8;
        n->touched = xrealloc(n->touched, cap * sizeof *n->touched);
        ks_account(ks, (int64_t)((cap - n->touched_cap) * sizeof *n->touched));
        n->touched_cap = cap;
    }
    n->touched[n->ntouched++] = e->dirty_at;
}

static size_t writes(kstate_t *ks, entry_t *e, size_t *ret_more) {
    *ret_more = 0;
    return ks->codec.writes ? ks->codec.writes(ks->codec.ctx, entry_value(e), ret_more) : entry_heap(ks, e);
}

static void dirty_first(kstate_t *ks, entry_t *e) {
    if (UNLIKELY(e->flags & ENTRY_LOOSE)) ks_adopt(ks, e);
    ks_ns_t *n = entry_ns(ks, e);
    if (UNLIKELY(n->ndirty == n->dirty_cap)) {
        size_t cap = n->dirty_cap ? 2 * n->dirty_cap : 8;
        n->dirty = xrealloc(n->dirty, cap * sizeof(entry_t *));
        ks_account(ks, (int64_t)((cap - n->dirty_cap) * sizeof(entry_t *)));
        n->dirty_cap = cap;
    }
    e->dirty_at = (uint32_t)n->ndirty;
    n->dirty[n->ndirty++] = e;
    e->flags |= ENTRY_DIRTY;
    ks_ns_changed(ks, n);
    ks_heap_update(ks, e); /* what it has grown by before it was marked counts here, and not again as growth */
    size_t more, heap = writes(ks, e, &more);
    ks_unsealed(ks, ks->key_at + entry_key(ks, e).len + heap + more);
}

void kstate_dirty(kstate_t *ks, void *value) {
    entry_t *e = entry_of(value);
    if (LIKELY((e->flags & (ENTRY_DIRTY | ENTRY_TOUCHED)) == (ENTRY_DIRTY | ENTRY_TOUCHED))) return;
    if (!(e->flags & ENTRY_DIRTY)) dirty_first(ks, e);
    touch(ks, e);
}

entry_t *ks_make(kstate_t *ks, ks_ns_t *n, entry_t *e, int64_t ns, uint64_t hash, slice_t key) {
    if (e) {
        ks_revive(ks, e);
        return e;
    }
    e = ks_create(ks, n ? n : ks_ns_make(ks, ns), hash, key);
    e->flags = ENTRY_NEW;
    return e;
}

static err_t *get_slow(kstate_t *ks, ks_ns_t *n, entry_t *e, int64_t ns, uint64_t hash, slice_t key, bool create,
                       bool *ret_created, void **ret) {
    if (!e && n && n->evicted) TRY(ks_load_one(ks, n, hash, key, &e));
    bool absent = !e || (e->flags & ENTRY_DEAD), created = absent && create;
    if (created) kstate_dirty(ks, entry_value(e = ks_make(ks, n, e, ns, hash, key)));
    else if (absent) e = NULL;
    if (ret_created) *ret_created = created;
    *ret = e ? entry_value(e) : NULL;
    return NULL;
}

err_t *kstate_get(kstate_t *ks, int64_t ns, uint64_t hash, slice_t key, bool create, bool *ret_created, void **ret) {
    ks_ns_t *n = ks_ns_find(ks, ns);
    entry_t *e = n ? ks_ns_lookup(n, hash, key) : NULL;
    if (UNLIKELY(!e || (e->flags & ENTRY_DEAD))) return get_slow(ks, n, e, ns, hash, key, create, ret_created, ret);
    if (!(e->flags & ENTRY_REF)) e->flags |= ENTRY_REF;
    if (ret_created) *ret_created = false;
    *ret = entry_value(e);
    return NULL;
}

void kstate_prefetch(const kstate_t *ks, int64_t ns, uint64_t hash) {
    const ks_ns_t *n = ks_ns_find(ks, ns);
    if (n && n->cap) __builtin_prefetch(&n->slots[hash >> n->shift]);
}

void kstate_prefetch_entry(const kstate_t *ks, int64_t ns, uint64_t hash) {
    const ks_ns_t *n = ks_ns_find(ks, ns);
    if (!n || !n->cap) return;
    const entry_t *e = ks_promised(n, hash);
    if (e) entry_ask(n, e);
}

void kstate_delete(kstate_t *ks, void *value) {
    kstate_dirty(ks, value);
    ks_kill(ks, entry_of(value));
}

slice_t kstate_key(const kstate_t *ks, const void *value) { return entry_key(ks, entry_of(value)); }
int64_t kstate_ns(const kstate_t *ks, const void *value) { return entry_ns(ks, entry_of(value))->ns; }
uint64_t kstate_hash(const kstate_t *ks, const void *value) { return entry_of(value)->hash; }

/* Tables that hold only remembered deletes are passed over. */
static bool populated(const kstate_t *ks, ks_ns_t *n, int64_t *ret) {
    while (n && n->live + n->evicted == 0) n = ks_ns_after(ks, n->ns, false);
    if (n) *ret = n->ns;
    return n != NULL;
}

bool kstate_first_ns(const kstate_t *ks, int64_t *ret) {
    int64_t first = INT64_MAX;
    bool any = populated(ks, ks_ns_after(ks, ks->first, true), &first);
    ((kstate_t *)(uintptr_t)ks)->first = first;
    if (any) *ret = first;
    return any;
}

bool kstate_next_ns(const kstate_t *ks, int64_t after, int64_t *ret) {
    bool skip = after < ks->first;
    return populated(ks, ks_ns_after(ks, skip ? ks->first : after, skip), ret);
}

void kstate_drop_ns(kstate_t *ks, int64_t ns) {
    ks_ns_t *n = ks_ns_find(ks, ns);
    if (!n) return;
    bool sealed;
    ks_loose_free(ks);
    ks_log_stop(ks); /* DROP comes behind what is in the log, and before what follows */
    ks_ns_clear(ks, n, &sealed);
    if (sealed) {
        n->drop_pending = true;
        ks_ns_changed(ks, n);
    }
    ks_ns_release(ks, n);
}

int kstate_slot(const kstate_t *ks) { return ks->slot; }

err_t *kstate_each_dirty(kstate_t *ks, err_t *(*fn)(void *arg, void *value), void *arg) {
    enum { AHEAD = 8 };
    for (size_t i = 0; i < ks->nchanged; i++) {
        const ks_ns_t *n = ks->changed[i];
        for (size_t k = 0; k < n->ndirty; k++) {
            if (k + AHEAD < n->ndirty) __builtin_prefetch(entry_value(n->dirty[k + AHEAD]));
            if (!(n->dirty[k]->flags & ENTRY_DEAD)) TRY(fn(arg, entry_value(n->dirty[k])));
        }
    }
    return NULL;
}

void kstate_grown(kstate_t *ks, void *value) {
    entry_t *e = entry_of(value);
    uint32_t before = entry_heap(ks, e);
    ks_heap_update(ks, e);
    uint32_t now = entry_heap(ks, e);
    if (now > before && !(e->flags & ENTRY_LOOSE)) ks->loaded += now - before;
}

void kstate_measure(kstate_t *ks) {
    for (size_t i = 0; i < ks->ntouched; i++) {
        ks_ns_t *n = ks->touched[i];
        for (uint32_t k = 0; k < n->ntouched; k++) {
            entry_t *e = n->dirty[n->touched[k]];
            uint32_t before = entry_heap(ks, e);
            e->flags &= (uint8_t)~ENTRY_TOUCHED;
            ks_heap_update(ks, e);
            size_t more, own = writes(ks, e, &more);
            uint32_t now = entry_heap(ks, e);
            ks_unsealed(ks, more + (now > before ? MIN(now - before, own) : 0)); /* it may own more that it does not write */
        }
        n->ntouched = 0;
    }
    ks->ntouched = 0;
}

uint64_t kstate_entries(const kstate_t *ks) { return ks->live + ks->evicted; }
uint64_t kstate_evicted(const kstate_t *ks) { return ks->evicted; }
uint64_t kstate_ns_entries(const kstate_t *ks, int64_t ns) {
    const ks_ns_t *n = ks_ns_find(ks, ns);
    return n ? n->live + n->evicted : 0;
}
size_t kstate_bytes(const kstate_t *ks) { return (size_t)ks->bytes; }

void kstate_beside(kstate_t *ks, size_t bytes) {
    ks_account(ks, (int64_t)bytes - (int64_t)ks->beside);
    ks->beside = bytes;
}
