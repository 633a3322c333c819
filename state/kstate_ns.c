/* kstate_ns.c: namespaces in time order and the hash table of each.
 *
 * Namespaces lie in an ascending list of blocks of at most NS_BLOCK_MAX: windows are appended at the end and leave at the
 * front, timers come anywhere; both cost at most one short memmove. */
#include "state/kstate_int.h"
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#define NS_BLOCK_MAX 256
#define BLOCK_BYTES ((int64_t)(NS_BLOCK_MAX * sizeof(ks_ns_t *)))
#define SLOTS_MIN 8u
#define SLOTS_MAPPED (((uint64_t)2 << 20) / sizeof(slot_t)) /* tables from here on are large pages of the system */

/* ---------------------------------------------------------------- order */
/* First position with ns >= `ns`; block == nblocks at the end. */
static void ns_position(const kstate_t *ks, int64_t ns, int *ret_block, int *ret_at) {
    int lo = 0, hi = ks->nblocks;
    while (lo < hi) { /* first block whose last namespace is >= ns */
        int mid = (lo + hi) / 2;
        const ns_block_t *b = &ks->blocks[mid];
        if (b->items[b->n - 1]->ns < ns) lo = mid + 1;
        else hi = mid;
    }
    *ret_block = lo;
    *ret_at = 0;
    if (lo == ks->nblocks) return;
    const ns_block_t *b = &ks->blocks[lo];
    int l = 0, h = b->n;
    while (l < h) {
        int mid = (l + h) / 2;
        if (b->items[mid]->ns < ns) l = mid + 1;
        else h = mid;
    }
    *ret_at = l;
}

static inline unsigned cache_index(int64_t ns) {
    return (unsigned)((uint64_t)ns * 0x9e3779b97f4a7c15ULL >> 61);
}
static_assert(KSTATE_NS_CACHE == 8, "cache_index gives three bits");

ks_ns_t *ks_ns_find(const kstate_t *ks, int64_t ns) {
    unsigned i = cache_index(ns);
    ks_ns_t *c = ks->cache[i];
    if (LIKELY(c && c->ns == ns)) return c;
    int block, at;
    ns_position(ks, ns, &block, &at);
    if (block == ks->nblocks || ks->blocks[block].items[at]->ns != ns) return NULL;
    ks_ns_t *n = ks->blocks[block].items[at];
    ((kstate_t *)(uintptr_t)ks)->cache[i] = n;
    return n;
}

ks_ns_t *ks_ns_after(const kstate_t *ks, int64_t after, bool inclusive) {
    if (!inclusive && after == INT64_MAX) return NULL;
    int block, at;
    ns_position(ks, inclusive ? after : after + 1, &block, &at);
    return block == ks->nblocks ? NULL : ks->blocks[block].items[at];
}

static void block_insert(kstate_t *ks, int at) {
    if (ks->nblocks == ks->blocks_cap) {
        ks->blocks_cap = ks->blocks_cap ? 2 * ks->blocks_cap : 4;
        ks->blocks = xrealloc(ks->blocks, (size_t)ks->blocks_cap * sizeof *ks->blocks);
    }
    memmove(ks->blocks + at + 1, ks->blocks + at, (size_t)(ks->nblocks - at) * sizeof *ks->blocks);
    ks->blocks[at] = (ns_block_t){0, xmalloc((size_t)BLOCK_BYTES)};
    ks->nblocks++;
    ks_account(ks, BLOCK_BYTES);
}

/* Room for one more at (block, at); splits a full block, at its end when appending (windows fill blocks wholly). */
static void make_room(kstate_t *ks, int *block, int *at) {
    if (*block == ks->nblocks) {
        if (ks->nblocks == 0 || ks->blocks[ks->nblocks - 1].n == NS_BLOCK_MAX) {
            block_insert(ks, ks->nblocks);
            *at = 0;
        } else {
            (*block)--;
            *at = ks->blocks[*block].n;
        }
        return;
    }
    if (ks->blocks[*block].n < NS_BLOCK_MAX) return;
    block_insert(ks, *block + 1);
    ns_block_t *a = &ks->blocks[*block], *b = a + 1;
    b->n = NS_BLOCK_MAX / 2;
    a->n = NS_BLOCK_MAX - b->n;
    memcpy(b->items, a->items + a->n, (size_t)b->n * sizeof *b->items);
    if (*at > a->n) {
        *at -= a->n;
        (*block)++;
    }
}

/* Timers make and leave a namespace for each time at which something happens: those that are left are kept, with their few slots, for the next. */
#define SPARE_SLOTS 256
#define SPARE_BYTES ((size_t)1 << 20)

static size_t ns_bytes(const ks_ns_t *n) { return sizeof *n + n->cap * sizeof *n->slots + n->dirty_cap * sizeof *n->dirty; }

static ks_ns_t *ns_new(kstate_t *ks, int64_t ns) {
    ks_ns_t *n;
    if (ks->nspare) {
        n = ks->spare[--ks->nspare];
        ks->spare_bytes -= ns_bytes(n);
    } else {
        n = xcalloc(1, sizeof *n);
        n->key_at = ks->key_at;
        ks_account(ks, sizeof *n);
    }
    n->ns = ns;
    return n;
}

/* It is empty. What else it knew of its time goes. */
static bool ns_spare(kstate_t *ks, ks_ns_t *n) {
    if (n->cap > SPARE_SLOTS || n->dirty_cap > SPARE_SLOTS || n->touched || n->filter || kstate_env_filling(ks->env)) return false;
    if (ks->spare_bytes + ns_bytes(n) > SPARE_BYTES) return false;
    ks->spare_bytes += ns_bytes(n);
    if (ks->nspare == ks->spare_cap) {
        ks->spare_cap = ks->spare_cap ? 2 * ks->spare_cap : 64;
        ks->spare = xrealloc(ks->spare, ks->spare_cap * sizeof *ks->spare);
    }
    *n = (ks_ns_t){.key_at = n->key_at, .slots = n->slots, .cap = n->cap, .shift = n->shift, .dirty = n->dirty, .dirty_cap = n->dirty_cap};
    ks->spare[ks->nspare++] = n;
    return true;
}

ks_ns_t *ks_ns_make(kstate_t *ks, int64_t ns) {
    ks_ns_t *n = ks_ns_find(ks, ns);
    if (n) return n;
    n = ns_new(ks, ns);
    if (ks->codec.flat) {
        ASSERT(ns == 0);
        ks->only = n;
    }
    int block, at;
    ns_position(ks, ns, &block, &at);
    make_room(ks, &block, &at);
    ns_block_t *b = &ks->blocks[block];
    memmove(b->items + at + 1, b->items + at, (size_t)(b->n - at) * sizeof *b->items);
    b->items[at] = n;
    b->n++;
    ks->cache[cache_index(ns)] = n;
    return n;
}

static slot_t *slots_new(kstate_t *ks, uint64_t cap) {
    void *p = cap >= SLOTS_MAPPED ? ks_map(ks, cap * sizeof(slot_t)) : xcalloc(cap, sizeof(slot_t));
    ASSERT(p); /* out of memory, as xcalloc has it */
#ifdef MADV_POPULATE_WRITE
    /* all will be used; else each page is met twice: read as empty, then written */
    if (cap >= SLOTS_MAPPED) madvise(p, cap * sizeof(slot_t), MADV_POPULATE_WRITE);
#endif
    return p;
}

static void slots_free(kstate_t *ks, slot_t *slots, uint64_t cap) {
    if (cap >= SLOTS_MAPPED) ks_unmap(ks, slots, cap * sizeof *slots);
    else free(slots);
}

static void let_go(kstate_t *ks, ks_ns_t *n) {
    ks_account(ks, -(int64_t)(n->cap * sizeof *n->slots + n->dirty_cap * sizeof *n->dirty + n->touched_cap * sizeof *n->touched));
    slots_free(ks, TAKE(n->slots), n->cap);
    free(TAKE(n->dirty));
    free(TAKE(n->touched));
    n->cap = 0;
    n->dirty_cap = 0;
    n->touched_cap = 0;
}

static void ns_free(kstate_t *ks, ks_ns_t *n) {
    let_go(ks, n);
    ks_account(ks, -(int64_t)sizeof *n);
    free(n);
}

void ks_ns_release(kstate_t *ks, ks_ns_t *n) {
    if (n->used || n->evicted || n->listed || n->scanning) return;
    unsigned i = cache_index(n->ns);
    if (ks->cache[i] == n) ks->cache[i] = NULL;
    int block, at;
    ns_position(ks, n->ns, &block, &at);
    ns_block_t *b = &ks->blocks[block];
    ASSERT(b->items[at] == n);
    b->n--;
    memmove(b->items + at, b->items + at + 1, (size_t)(b->n - at) * sizeof *b->items);
    if (b->n == 0) {
        free(b->items);
        ks_account(ks, -BLOCK_BYTES);
        ks->nblocks--;
        memmove(b, b + 1, (size_t)(ks->nblocks - block) * sizeof *b);
    }
    if (ks->codec.flat) ks->only = NULL;
    if (!ns_spare(ks, n)) ns_free(ks, n);
}

void ks_ns_changed(kstate_t *ks, ks_ns_t *n) {
    if (n->listed) return;
    if (ks->nchanged == ks->changed_cap) {
        ks->changed_cap = ks->changed_cap ? 2 * ks->changed_cap : 16;
        ks->changed = xrealloc(ks->changed, ks->changed_cap * sizeof *ks->changed);
    }
    if (ks->nchanged == 0) kstate_env_dirty(ks->env, 1);
    ks->changed[ks->nchanged++] = n;
    n->listed = true;
}

/* ---------------------------------------------------------------- table */
entry_t *ks_ns_lookup(const ks_ns_t *n, uint64_t hash, slice_t key) {
    if (UNLIKELY(n->cap == 0)) return NULL;
    uint64_t mask = n->cap - 1;
    for (uint64_t i = hash >> n->shift, distance = 0;; i = (i + 1) & mask, distance++) {
        slot_t s = n->slots[i];
        if (!s) return NULL;
        if (!slot_like(s, hash, distance)) continue;
        entry_t *e = slot_entry(s);
        if (entry_is(n, e, hash, key)) return e;
    }
}

static void slots_put(ks_ns_t *n, uint64_t hash, entry_t *e) {
    uint64_t i = hash >> n->shift, distance = 0;
    for (; n->slots[i]; distance++) i = (i + 1) & (n->cap - 1);
    n->slots[i] = slot_of(e, hash, distance);
}

#define RESIZE_AHEAD 16 /* the entry has the hash */

static void slots_resize(kstate_t *ks, ks_ns_t *n, uint64_t cap) {
    slot_t *old = n->slots;
    uint64_t old_cap = n->cap;
    n->slots = slots_new(ks, cap);
    n->cap = cap;
    n->shift = (uint32_t)(64 - __builtin_ctzll(cap));
    for (uint64_t i = 0; i < old_cap; i++) {
        if (i + RESIZE_AHEAD < old_cap) __builtin_prefetch(slot_entry(old[i + RESIZE_AHEAD])); /* an address of nothing does no harm */
        if (old[i]) slots_put(n, slot_entry(old[i])->hash, slot_entry(old[i]));
    }
    slots_free(ks, old, old_cap);
    ks_account(ks, ((int64_t)cap - (int64_t)old_cap) * (int64_t)sizeof *n->slots);
}

void ks_ns_insert(kstate_t *ks, ks_ns_t *n, entry_t *e) {
    if ((n->used + 1) * 4 > n->cap * 3) slots_resize(ks, n, n->cap ? 2 * n->cap : SLOTS_MIN);
    slots_put(n, e->hash, e);
    n->used++;
}

/* Backward shift instead of grave stones: a table that lives long never fills up with them. */
void ks_ns_unlink(kstate_t *ks, ks_ns_t *n, entry_t *e) {
    uint64_t mask = n->cap - 1, i = e->hash >> n->shift;
    while (slot_entry(n->slots[i]) != e) i = (i + 1) & mask;
    for (uint64_t j = (i + 1) & mask; n->slots[j]; j = (j + 1) & mask) {
        uint64_t home = ks_home(n, j);
        if (((j - home) & mask) < ((j - i) & mask)) continue; /* its home lies after the hole */
        n->slots[i] = slot_of(slot_entry(n->slots[j]), n->slots[j] >> SLOT_ENTRY_BITS, (i - home) & mask);
        i = j;
    }
    n->slots[i] = 0;
    n->used--;
}

void ks_ns_shrink(kstate_t *ks, ks_ns_t *n) {
    /* of many small namespaces that are evicted these would be most of the memory; one that is listed has a place in ks->touched */
    if (n->used == 0 && !n->listed && !n->scanning) let_go(ks, n);
    if (n->dirty_cap > 64 && n->ndirty * 8 < n->dirty_cap) {
        uint64_t cap = n->dirty_cap / 4;
        n->dirty = xrealloc(n->dirty, cap * sizeof *n->dirty);
        ks_account(ks, -(int64_t)((n->dirty_cap - cap) * sizeof *n->dirty));
        n->dirty_cap = cap;
    }
    bool by_slots = n->scanning && n->scan_lo == 0 && n->scan_hi == KEY_GROUPS; /* a scan goes by them */
    if (by_slots || n->cap <= 64 || n->used * 4 > n->cap) return;
    uint64_t cap = SLOTS_MIN;
    while (cap < n->used * 2) cap *= 2; /* where memory is scarce what four empty slots take is an entry's */
    slots_resize(ks, n, cap);
}

void ks_ns_clear(kstate_t *ks, ks_ns_t *n, bool *ret_sealed_before) {
    bool sealed = n->evicted > 0;
    for (uint64_t i = 0; i < n->cap && n->used > 0; i++) {
        entry_t *e = slot_entry(n->slots[i]);
        if (!e) continue;
        sealed |= !(e->flags & ENTRY_NEW);
        n->slots[i] = 0;
        n->used--;
        ks_entry_free(ks, e);
    }
    ks->live -= n->live;
    ks_evicted_take(ks, n, n->evicted);
    n->live = n->ndirty = 0;
    n->ntouched = 0; /* its place in ks->touched does no harm: the next seal frees it at the earliest */
    n->scanning = false;
    *ret_sealed_before = sealed;
}

void ks_ns_free_all(kstate_t *ks) {
    for (int b = 0; b < ks->nblocks; b++) {
        for (int i = 0; i < ks->blocks[b].n; i++) {
            bool sealed;
            if (ks->codec.clear) ks_ns_clear(ks, ks->blocks[b].items[i], &sealed);
            else ks_evicted_take(ks, ks->blocks[b].items[i], ks->blocks[b].items[i]->evicted); /* entries go with their chunks */
            ns_free(ks, ks->blocks[b].items[i]);
        }
        free(ks->blocks[b].items);
        ks_account(ks, -BLOCK_BYTES);
    }
    ks->only = NULL;
    while (ks->nspare) ns_free(ks, ks->spare[--ks->nspare]);
    free(TAKE(ks->spare));
    ks->spare_cap = 0;
    ks->spare_bytes = 0;
    free(ks->blocks);
    ks->blocks = NULL;
    ks->nblocks = ks->blocks_cap = 0;
}
