/* kstate_int.h: the inside of kstate, for kstate*.c only.
 *
 *   kstate -> namespaces in time order -> one open-addressing table each: slots of one word, linear probing,
 *   the home slot from the HIGH bits of the hash (the low ten are the key group: within one task they hardly vary)
 *   slot   = distance from its home (5 bits) | low 14 bits of the hash | address of the entry without its three zeros (45); 0: empty
 *   entry  = header | value (fixed size) | namespace, if there are several | bytes the value owns, if it may | key, in chunks of one size
 *            class, so pointers stay valid and nothing moves. That of a sum and a count by an integer is 64 bytes: a cache line
 *
 * Life of an entry
 *   created NEW+DIRTY --seal--> clean, changed = e --dirty--> DIRTY --seal--> clean ..
 *   delete: DEAD+DIRTY, stays in the table (a scan's cursor does not shift, a re-creation revives it) --seal--> DEL is
 *   written (nothing if NEW: nobody ever saw it) and the entry leaves, or stays DEAD until the base applied the DEL, when a
 *   miss might otherwise find the old value in the base (ns->keep_dead)
 *   evicted: clean, changed <= applied; only counted in ns->evicted; the next get reads it back with changed = 0
 *   logged: kstate_changed wrote its PUT into ks->log at once: not DIRTY, `changed` names the generation (kstate_log.c) that the next seal
 *   ends. What is marked DIRTY in such an epoch, before or after, is written behind the log: the last word of an entry comes last
 *   evicted of namespace 0: its value goes into ks->spill besides, which is asked before the base (kstate_near.c). Of a state that nobody scans it
 *   need not be applied then, nor sealed where it was logged
 *   LOOSE: an evicted entry decoded for a scan, in no table; the next scan frees it. Marked dirty it is adopted by the table
 *
 * Why a dropped namespace needs no marker after its DROP was sealed: a miss reads the base only while ns->evicted > 0;
 * after a drop that is 0, and an entry created later is evicted only when the base has applied its epoch and so the DROP before it,
 * or into a spill that is whole, which answers instead of the base (kstate_near.c).
 * The same holds for single deletes of a table that had no eviction: ns->forgotten is the youngest epoch of a DEL that was not
 * remembered, and nothing of the namespace is evicted before the base has applied that epoch. */
#pragma once
#include "state/filter.h"
#include "state/kstate_env.h"
#include "state/spill.h"
#include <assert.h>
#include <stddef.h>

#define KSTATE_CLASSES 8
#define KSTATE_NS_CACHE 8

enum { ENTRY_DIRTY = 1, ENTRY_NEW = 2, ENTRY_DEAD = 4, ENTRY_REF = 8, ENTRY_FREE = 16, ENTRY_LOOSE = 32, ENTRY_TOUCHED = 64 };

typedef struct ks_ns ks_ns_t;
typedef struct entry {
    uint64_t hash;   /* of the key; in a free entry: index of the next free one + 1 */
    uint64_t changed : 40; /* epoch of the last seal that wrote it, or its generation (ks_changed_epoch); 0: the base holds it */
    uint64_t word : 24;    /* the operator's, kstate_word */
    uint32_t dirty_at; /* DIRTY: its place in ns->dirty; LOOSE: in ks->loose; logged in this epoch: of its record in the part */
    uint32_t chunk : 25, flags : 7; /* index of its chunk */
} entry_t;
static_assert(sizeof(entry_t) == 24 && offsetof(entry_t, dirty_at) == 16, "kstate_word: its last three bytes before those");

static inline void *entry_value(const entry_t *e) { return (entry_t *)(uintptr_t)e + 1; }
static inline entry_t *entry_of(const void *value) { return (entry_t *)(uintptr_t)value - 1; }

#define CHUNKS_MAX (1u << 25)

/* The distance says where the home is, so filling a hole asks no entry; and an entry is looked at only where distance and tag are those of the key. What is
 * SLOT_FAR from its home or farther is asked for its hash. */
typedef uint64_t slot_t;
#define SLOT_ENTRY_BITS 45
#define SLOT_TAG ((UINT64_C(1) << 14) - 1)
#define SLOT_STEP (SLOT_TAG + 1)
#define SLOT_FAR UINT64_C(31)
static inline slot_t slot_of(const entry_t *e, uint64_t hash, uint64_t distance) {
    return (MIN(distance, SLOT_FAR) * SLOT_STEP | (hash & SLOT_TAG)) << SLOT_ENTRY_BITS | (uintptr_t)e >> 3;
}
static inline entry_t *slot_entry(slot_t s) { return (entry_t *)(uintptr_t)((s & ((UINT64_C(1) << SLOT_ENTRY_BITS) - 1)) << 3); }
static inline int slot_key_group(slot_t s) { return hash_key_group(s >> SLOT_ENTRY_BITS); }
/* Distance and tag at `distance` from the home of a hash. */
static inline bool slot_like(slot_t s, uint64_t hash, uint64_t distance) {
    return s >> SLOT_ENTRY_BITS == (MIN(distance, SLOT_FAR) * SLOT_STEP | (hash & SLOT_TAG));
}

struct ks_ns {
    int64_t ns;
    slot_t *slots;
    uint64_t cap, used; /* slots; those taken, dead entries included */
    uint32_t shift;     /* home slot = hash >> shift */
    uint32_t key_at;    /* offset of a key from its entry: the same in all of a kstate */
    uint64_t live, evicted;
    filter_t *filter;   /* of the evicted ones, and of as many that were; without it, any may be */
    entry_t **dirty;
    size_t ndirty, dirty_cap;
    uint32_t *touched;  /* places in dirty of those whose heap memory may have grown since it was accounted (ENTRY_TOUCHED) */
    uint32_t ntouched, touched_cap;
    epoch_t forgotten;  /* youngest sealed DEL that is not in the table */
    bool keep_dead;     /* DEAD entries stay until applied */
    bool drop_pending;  /* DROP goes into the next seal, before everything else of this namespace */
    bool listed;        /* in ks->changed */
    bool scanning;      /* within a scan that is not weak: nothing of key groups [scan_lo, scan_hi) is evicted */
    uint16_t scan_lo, scan_hi;
    uint64_t scan_more; /* evicted since its begin, of key groups that it will come to */
};

static inline bool ks_pinned(const ks_ns_t *n, uint64_t hash) {
    return n->scanning && hash_key_group(hash) >= n->scan_lo && hash_key_group(hash) < n->scan_hi;
}

static inline uint64_t ks_home(const ks_ns_t *n, uint64_t at) { /* of what is in this slot */
    uint64_t s = n->slots[at], distance = s >> SLOT_ENTRY_BITS >> 14;
    return LIKELY(distance < SLOT_FAR) ? (at - distance) & (n->cap - 1) : slot_entry(s)->hash >> n->shift;
}

#define PROMISED 12 /* slots looked at: beyond four lies one key in fourteen of a table that will soon double, and each is met without having been asked for */
/* The entry that the slots promise, without a look at it; NULL: none, or it is far from its home. */
static inline entry_t *ks_promised(const ks_ns_t *n, uint64_t hash) {
    uint64_t mask = n->cap - 1, i = hash >> n->shift;
    for (uint64_t distance = 0; distance < PROMISED; distance++, i = (i + 1) & mask) {
        slot_t s = n->slots[i];
        if (!s || slot_like(s, hash, distance)) return slot_entry(s);
    }
    return NULL;
}


/* Keys are short: two overlapping words instead of a call. */
static inline bool key_equal(const uint8_t *a, const uint8_t *b, size_t len) {
    uint64_t x, y, u, v;
    if (LIKELY(len >= 8 && len <= 16)) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        memcpy(&u, a + len - 8, 8);
        memcpy(&v, b + len - 8, 8);
        return ((x ^ y) | (u ^ v)) == 0;
    }
    if (len > 16) return memcmp(a, b, len) == 0;
    if (len >= 4) {
        uint32_t p, q, r, s;
        memcpy(&p, a, 4);
        memcpy(&q, b, 4);
        memcpy(&r, a + len - 4, 4);
        memcpy(&s, b + len - 4, 4);
        return ((p ^ q) | (r ^ s)) == 0;
    }
    return len == 0 || ((a[0] ^ b[0]) | (a[len >> 1] ^ b[len >> 1]) | (a[len - 1] ^ b[len - 1])) == 0;
}

/* The key of an entry: eight bytes, the last of which is its length; else they are the length (4 bytes) and KEY_LONG, and the key follows. */
#define KEY_SHORT 7
#define KEY_LONG 0xff
static inline slice_t key_read(const uint8_t *p) {
    if (LIKELY(p[KEY_SHORT] <= KEY_SHORT)) return slice_of(p, p[KEY_SHORT]);
    uint32_t len;
    memcpy(&len, p, sizeof len);
    return slice_of(p + KEY_SHORT + 1, len);
}

static inline bool entry_is(const ks_ns_t *n, const entry_t *e, uint64_t hash, slice_t key) {
    if (e->hash != hash) return false;
    slice_t k = key_read((const uint8_t *)e + n->key_at);
    return k.len == key.len && key_equal(k.p, key.p, key.len);
}

/* All that a look at an entry takes, of the usual ones. */
static inline void entry_ask(const ks_ns_t *n, const entry_t *e) {
    __builtin_prefetch(e, 1);
    __builtin_prefetch((const void *)((uintptr_t)e + n->key_at), 1); /* mostly the same line; e may be NULL */
}

typedef struct chunk {
    uint8_t *mem; /* NULL: this index is free */
    uint32_t entry_size, cap, bump, live;
    uint32_t free_at; /* first free entry + 1; 0 none */
    uint8_t cls;
    bool partial;
    bool leaving; /* being emptied: nothing new goes here */
    bool mapped;  /* memory straight from the system, given back to it */
    uint32_t next, prev; /* list of chunks of the class with room, index + 1; of free indexes by next */
} chunk_t;

#define KS_GENERATIONS 64
typedef struct ks_log { /* kstate_log.c: changes of namespace 0 by key group, mostly written down as they were made */
    buf_t *parts; /* CHANGE_PARTS, or NULL: nothing yet. Between epochs they keep their memory while much is written */
    bool on;
    uint64_t generation;            /* number of seals */
    epoch_t ended[KS_GENERATIONS];  /* epoch whose seal ended generation g, at g % KS_GENERATIONS */
    uint64_t puts, again;           /* in this generation; again: of entries that were in the log already */
    uint64_t marked;                /* in this generation, by kstate_changed while the log is off */
    size_t accounted;               /* bytes of the buffers */
} ks_log_t;

typedef struct ns_block { int n; ks_ns_t **items; } ns_block_t;

struct kstate {
    kstate_env_t *env;
    uint64_t fingerprint;
    int slot, kg_lo, kg_hi;
    kstate_codec_t codec;
    uint32_t value_bytes; /* value_size rounded up to 8 */
    uint32_t ns_at, heap_at, key_at; /* offsets in an entry; 0: it has no such */
    ks_ns_t *only; /* codec.flat: the namespace, if there is one */
    ks_ns_t *cache[KSTATE_NS_CACHE];
    ns_block_t *blocks; /* ascending; each 1..NS_BLOCK_MAX namespaces */
    int nblocks, blocks_cap;
    ks_ns_t **spare; /* empty ones of no time, for the next */
    uint32_t nspare, spare_cap;
    size_t spare_bytes;
    ks_ns_t **changed; /* namespaces with changes since the last seal, in the order of their first change */
    size_t nchanged, changed_cap;
    ks_ns_t **touched; /* namespaces with touched entries; each is listed in `changed`, too */
    size_t ntouched, touched_cap;
    chunk_t *chunks;
    uint32_t nchunks, chunks_cap;
    uint32_t partial[KSTATE_CLASSES]; /* index + 1 */
    uint32_t next_entries[KSTATE_CLASSES]; /* entries of the next chunk */
    uint32_t free_chunk; /* index + 1 */
    struct { uint8_t *mem; size_t bytes; } *kept; /* addresses that the system did not take back; no pages */
    uint32_t nkept, kept_cap;
    uint32_t hand;       /* eviction goes on at this chunk */
    uint64_t live, evicted;
    int64_t first; /* no namespace before this holds entries: thousands of fired timers are not walked over again */
    int64_t bytes;       /* chunks with their holes, slots, dirty lists, filters, heaps of values: what the process really holds */
    int64_t filters;     /* part of it */
    size_t beside;       /* part of it the operator holds */
    int64_t reported;    /* part of it the env knows */
    int64_t unsealed, unsealed_reported; /* bytes of dirty entries: what the next seal may copy */
    epoch_t fruitless;   /* applied epoch + 1 at which an eviction found too little, .. */
    uint64_t fruitless_seals; /* .. and seals until then; 0 none */
    int64_t loaded;      /* bytes read back from the base since: they can be evicted again */
    struct { ks_ns_t *of; filter_t *next; int kg; buf_t from; } renewal; /* of one filter at a time; of NULL: none. kstate_miss.c */
    bool loading;        /* the base is being read for what is in it */
    spill_t *spill;      /* of evicted entries of namespace 0; NULL while there is none */
    size_t spill_accounted, spill_file_accounted;
    bool spilling;       /* within an eviction that has put some */
    bool unscanned;      /* what is evicted of namespace 0 need not be in the base; kstate_near.c */
    bool bulky;          /* much of it fits no page of the spill, .. */
    size_t bulk;         /* .. of what an eviction met */
    bool spill_full;     /* within an eviction: it takes nothing more, and cannot be given up */
    epoch_t again_at, again_after; /* of one that was refused and given up: when it is tried again, by epochs in the base; 0: not known yet */
    epoch_t again_tried;           /* .. and was */
    bool follower, full; /* as the env has counted it */
    epoch_t ahead;       /* youngest change that left for the spill, before the base had it; UINT64_MAX: not sealed yet */
    entry_t **loose;     /* decoded for the portion of a scan at hand */
    uint32_t nloose, loose_cap;
    uint32_t sealed_each; /* bytes a change took in the last seal, and an eighth */
    ks_log_t log;
    buf_t scratch;
};

static inline slice_t entry_key(const kstate_t *ks, const entry_t *e) { return key_read((const uint8_t *)e + ks->key_at); }

static inline ks_ns_t *entry_ns(const kstate_t *ks, const entry_t *e) {
    ks_ns_t *n;
    if (!ks->ns_at) return ks->only;
    memcpy(&n, (const uint8_t *)e + ks->ns_at, sizeof n);
    return n;
}

static inline void entry_ns_set(const kstate_t *ks, entry_t *e, ks_ns_t *n) {
    if (ks->ns_at) memcpy((uint8_t *)e + ks->ns_at, &n, sizeof n);
    else ASSERT(n == ks->only);
}

static inline uint32_t entry_heap(const kstate_t *ks, const entry_t *e) {
    uint32_t heap = 0;
    if (ks->heap_at) memcpy(&heap, (const uint8_t *)e + ks->heap_at, sizeof heap);
    return heap;
}

static inline void entry_heap_set(const kstate_t *ks, entry_t *e, uint32_t heap) {
    if (ks->heap_at) memcpy((uint8_t *)e + ks->heap_at, &heap, sizeof heap);
}

/* kstate_mem.c */
entry_t *ks_entry_alloc(kstate_t *ks, slice_t key);
void ks_entry_free(kstate_t *ks, entry_t *e); /* clears the value, too */
void ks_scratch_done(kstate_t *ks); /* one large value does not leave its room behind */
void *ks_map(kstate_t *ks, size_t bytes); /* NULL: the system has no more mappings */
void ks_unmap(kstate_t *ks, void *p, size_t bytes);
void ks_mem_free(kstate_t *ks);               /* all chunks; values were cleared */
void ks_account(kstate_t *ks, int64_t delta);
void ks_report(kstate_t *ks);
void ks_unsealed(kstate_t *ks, size_t bytes); /* so much more is dirty */
void ks_heap_update(kstate_t *ks, entry_t *e);
entry_t *ks_chunk_entry(chunk_t *c, uint32_t i);
void ks_chunk_vacate(kstate_t *ks, uint32_t at); /* moves its entries into the holes of others, if it is nearly empty */

/* kstate_ns.c */
ks_ns_t *ks_ns_find(const kstate_t *ks, int64_t ns);
ks_ns_t *ks_ns_make(kstate_t *ks, int64_t ns);
ks_ns_t *ks_ns_after(const kstate_t *ks, int64_t after, bool inclusive); /* NULL at the end; may be empty of live entries */
void ks_ns_release(kstate_t *ks, ks_ns_t *n); /* frees it when nothing depends on it any more */
void ks_ns_free_all(kstate_t *ks);
void ks_ns_changed(kstate_t *ks, ks_ns_t *n);
entry_t *ks_ns_lookup(const ks_ns_t *n, uint64_t hash, slice_t key);
void ks_ns_insert(kstate_t *ks, ks_ns_t *n, entry_t *e);
void ks_ns_unlink(kstate_t *ks, ks_ns_t *n, entry_t *e); /* from the slots; not freed */
void ks_ns_shrink(kstate_t *ks, ks_ns_t *n); /* to what is in memory of it: nothing at all when all is evicted */
void ks_ns_clear(kstate_t *ks, ks_ns_t *n, bool *ret_sealed_before); /* frees all entries and forgets evicted ones */

/* kstate_seal.c: what precedes each PUT of a namespace: kind and namespace */
typedef struct put_head { uint8_t bytes[12]; size_t len; } put_head_t;
put_head_t ks_put_head(int64_t ns);
void ks_emit_any(kstate_t *ks, const entry_t *e, const put_head_t *head, buf_t *out);
/* Mostly head, key and value are short: one check for room, and a word or two copied for each. */
static inline void ks_emit_put(kstate_t *ks, const entry_t *e, const put_head_t *head, buf_t *out) {
    const uint8_t *key = (const uint8_t *)e + ks->key_at;
    size_t len = key[KEY_SHORT];
    uint8_t *p, *value, *end;
    if (UNLIKELY(!ks->codec.encode_at || len > KEY_SHORT)) return ks_emit_any(ks, e, head, out);
    if (!(p = buf_begin(out, sizeof head->bytes + 1 + KEY_SHORT + 1 + 1 + ks->codec.encode_most))) return;
    memcpy(p, head->bytes, sizeof head->bytes);
    p += head->len;
    *p++ = (uint8_t)len;
    memcpy(p, key, KEY_SHORT + 1);
    p += len;
    value = p + 1;
    end = ks->codec.encode_at(ks->codec.ctx, entry_value(e), value);
    if (UNLIKELY(end - value >= 128)) return ks_emit_any(ks, e, head, out);
    *p = (uint8_t)(end - value);
    buf_end(out, end);
}

/* kstate_log.c */
#define KS_GENERATION ((epoch_t)1 << 39) /* a generation, no epoch: there are never so many of either */
#define KS_NEVER (KS_GENERATION - 1) /* no epoch is so late: of a restore into a state without one, never applied */
static inline void entry_changed_set(entry_t *e, epoch_t epoch) { e->changed = MIN(epoch, KS_NEVER); }
epoch_t ks_changed_epoch(const kstate_t *ks, const entry_t *e); /* an upper bound for entries of long ago; UINT64_MAX: not sealed yet */
void ks_log_stop(kstate_t *ks);                 /* from here to the next seal changes are marked */
void ks_log_begin(kstate_t *ks);                /* before ks_log_part */
static inline buf_t *ks_log_part(kstate_t *ks, uint64_t hash) { return &ks->log.parts[change_part_of(hash)]; }
/* Its record, if it has one in this epoch: kstate_changed will write over it, and it lies anywhere in the parts. Else than inlined at once, a function
 * that only prefetches is one without effect to the compiler, whose calls it leaves out. */
__attribute__((always_inline)) static inline void ks_log_ask(kstate_t *ks, const entry_t *e) {
    if (e->changed != (KS_GENERATION | ks->log.generation) || (e->flags & ENTRY_DIRTY)) return;
    const uint8_t *record = ks_log_part(ks, e->hash)->data + e->dirty_at;
    __builtin_prefetch(record, 1);
    __builtin_prefetch(record + 31, 1);
}
/* What lies in the parts, first in the seal and with its header; false: nothing. `dirty`: entries that the seal met besides. Then the next
 * generation. */
bool ks_log_seal(kstate_t *ks, epoch_t epoch, uint64_t dirty, buf_t *out);
void ks_log_free(kstate_t *ks);

/* kstate_base.c */
err_t *ks_ns_legal(const kstate_t *ks, int64_t ns);                 /* of what was read: it can be one of this state's */
err_t *ks_load_all(kstate_t *ks);                                   /* at open, when the base has content */
err_t *ks_value_decode(kstate_t *ks, entry_t *e, slice_t value);    /* of the base, into a value that is init'ed */

/* kstate_miss.c */
size_t ks_part(const kstate_t *ks, int of);                         /* one of so many parts of the table's part of the budget */
void ks_evicted_add(kstate_t *ks, ks_ns_t *n, uint64_t hash);       /* from now on a miss may be in the base */
void ks_evicted_take(kstate_t *ks, ks_ns_t *n, uint64_t count);     /* so many of them are in memory again, or gone */
err_t *ks_renew_some(kstate_t *ks);                                 /* a step of replacing a filter of keys that are mostly gone */
err_t *ks_load_one(kstate_t *ks, ks_ns_t *n, uint64_t hash, slice_t key, entry_t **ret); /* NULL: absent */

/* kstate_near.c */
void ks_near_begin(kstate_t *ks);            /* an eviction */
bool ks_near_put(kstate_t *ks, entry_t *e, epoch_t applied); /* evicted or dead, it leaves the table. false: it has to stay */
void ks_near_load(kstate_t *ks, uint64_t hash, slice_t key, slice_t value); /* of the base, and stays evicted */
err_t *ks_near_end(kstate_t *ks);            /* of an eviction, or of loading */
bool ks_near_ahead(const kstate_t *ks);      /* entries may go before the base has them */
bool ks_near_whole(const kstate_t *ks);      /* after spill_get: a key of namespace 0 that it did not know is in the table or nowhere */
bool ks_near_needed(const kstate_t *ks);     /* the base does not have all that the spill has */
err_t *ks_near_lost(const kstate_t *ks);     /* an error when it is needed, and cannot be read */
void ks_near_sealed(kstate_t *ks, epoch_t epoch);
void ks_near_lean(kstate_t *ks);             /* tells the env whether this state waits for the base; `follower` says what it was told */
void ks_near_free(kstate_t *ks);             /* nothing of namespace 0 is evicted any more */

/* kstate_scan.c */
void ks_loose_free(kstate_t *ks); /* those that no table has adopted */
void ks_adopt(kstate_t *ks, entry_t *e);

/* kstate.c */
entry_t *ks_create(kstate_t *ks, ks_ns_t *n, uint64_t hash, slice_t key); /* in the table, not dirty, value init'ed */
entry_t *ks_make(kstate_t *ks, ks_ns_t *n, entry_t *e, int64_t ns, uint64_t hash, slice_t key); /* new, or alive again: not yet dirty */
void ks_remove(kstate_t *ks, entry_t *e); /* out of the table, freed */
void ks_kill(kstate_t *ks, entry_t *e);   /* live -> DEAD */
void ks_revive(kstate_t *ks, entry_t *e);

/* kstate_env.c */
void kstate_env_account(kstate_env_t *e, int64_t delta);
void kstate_env_dirty(kstate_env_t *e, int delta);        /* states with unsealed changes */
void kstate_env_account_unsealed(kstate_env_t *e, int64_t delta);
void kstate_env_sealed(kstate_env_t *e, epoch_t epoch);   /* changes of this epoch wait for the base */
void kstate_env_found_little(kstate_env_t *e, epoch_t applied);
bool kstate_env_restored_waits(const kstate_env_t *e);    /* what the applier holds of a restore is not in the base yet */
void kstate_env_account_spilled(kstate_env_t *e, int64_t delta);
void kstate_env_follow(kstate_env_t *e, int delta);       /* states that can evict only what the base has, .. */
void kstate_env_full(kstate_env_t *e, int delta);         /* .. and those of them whose files take no more */
epoch_t kstate_env_restoring(const kstate_env_t *e);
