/* kstate.h: keyed state of one operator instance: an in-memory hash table over a persistent base.
 *
 * An entry is (namespace, key) -> value. The namespace orders entries in time: the end of a window or slice in
 * milliseconds, 0 where there is none. Values are flat blocks of a fixed size that may own heap memory, and move by memcpy
 * within kstate_evict: none points into itself. The codec turns them into bytes and back.
 * Pointers to values stay valid until the entry is deleted, its namespace dropped, or kstate_evict is called.
 *
 * Invariants
 *  1. Every change is marked (kstate_dirty or kstate_changed; new entries are dirty) and appears as an absolute value in the next seal.
 *  2. kstate_seal appends all changes since the last seal (PUT, DEL, DROP namespace), in bytes, before the task goes on;
 *     replaying the sealed changes of epochs 1..e in order gives exactly the table as of the barrier of e.
 *  3. An entry leaves memory only when the base holds its newest value, i.e. never one changed after the last applied epoch; or, of namespace 0 of a
 *     state that nobody scans (kstate_unscanned), when files of its own hold it (state/spill.h). When these cannot be read then, the calls below fail,
 *     and what is restored has it from the base and the changelog.
 *  4. While nothing was evicted, a miss in memory is a miss: the base is not read. After that a filter of the evicted keys
 *     (state/filter.h) says of nearly all keys that were never seen that they need no read.
 *
 * Maps: what belongs to a key and would be too large for its value is a state of its own, with a slot from STATE_MAPS on, whose entries are
 * (namespace of the owner, map key) -> value: state_map_key(owner's key, name) and state_hash(slot, map key) in state/changelog.h. They lie in the key
 * group of their owner, so they are restored, rescaled and dropped with its namespace as it is; single ones are changed, evicted and read
 * back by themselves. What names there are the owner's value says (a number of pages, of rows): a map is not walked over in memory. In the base the
 * entries of an owner lie side by side, by name. Deleting the owner does not delete them: who does that deletes them first.
 * Thread: the owning task's; only the base (state/base.h) is shared. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

typedef struct kstate kstate_t;
typedef struct kstate_env kstate_env_t; /* per job and worker: base, memory budget; state/kstate_env.h */

typedef struct kstate_codec {
    uint32_t value_size;
    void *ctx;
    void (*init)(void *ctx, void *value);
    void (*clear)(void *ctx, void *value);                          /* frees what the value owns */
    void (*encode)(void *ctx, const void *value, buf_t *out);
    bool (*decode)(void *ctx, slice_t bytes, void *value);          /* value is init'ed; false: malformed */
    size_t (*heap)(void *ctx, const void *value);                   /* bytes owned outside the block; may be NULL */
    /* Of these: what encode writes. *ret_more: bytes of what is kept beside the value (maps) that have changed since it was asked, or since the seal.
     * NULL: all, and none. */
    size_t (*writes)(void *ctx, void *value, size_t *ret_more);
    bool flat;                                                      /* all entries are of namespace 0: no entry has room for another */
    /* What encode writes, at p, where there is room for encode_most bytes, which is enough for any value; returns the end. NULL: only encode. */
    uint8_t *(*encode_at)(void *ctx, const void *value, uint8_t *p);
    uint32_t encode_most;
} kstate_codec_t;

/* Bits beside a value that are the operator's: nobody else's, not kept, 0 when the value is new, deleted or read back. */
#define KSTATE_WORD_MAX ((1u << 24) - 1)
static inline uint32_t kstate_word(const void *value) {
    uint32_t w;
    memcpy(&w, (const uint8_t *)value - 12, sizeof w);
    return w >> 8;
}
static inline void kstate_word_set(void *value, uint32_t word) {
    uint32_t w;
    memcpy(&w, (uint8_t *)value - 12, sizeof w);
    w = (w & 0xff) | word << 8;
    memcpy((uint8_t *)value - 12, &w, sizeof w);
}

/* Key groups [kg_lo, kg_hi) are this instance's. fingerprint names the operator; `slot` tells its several states apart. */
err_t *kstate_open(kstate_env_t *env, uint64_t fingerprint, int slot, int kg_lo, int kg_hi, const kstate_codec_t *codec,
                   kstate_t **ret);
void kstate_close(kstate_t *ks);
/* Nobody will call kstate_scan for namespace 0, unless it is weak: then what is evicted of it need not be in the base yet, which is written once for many
 * changes of a key. Such a scan does not meet what is evicted and not in the base, in any version: the next one does. */
void kstate_unscanned(kstate_t *ks);
int kstate_slot(const kstate_t *ks);

/* Finds or, with `create`, makes the entry. *ret_created says which. NULL when absent and !create. The hash is
 * state_hash of slot and key: it is passed because the exchange computed it already. */
err_t *kstate_get(kstate_t *ks, int64_t ns, uint64_t hash, slice_t key, bool create, bool *ret_created, void **ret);
/* The value of a key, marked dirty, for who knows whether it is there, and writes it anew or deletes it: nothing is read. One that was evicted is as
 * init made it. NULL: it is not `there` after all. */
void *kstate_put(kstate_t *ks, int64_t ns, uint64_t hash, slice_t key, bool there);
/* The values of a batch of keys, made where absent, all marked dirty; what was evicted of them is read from the base at once. Key i
 * is bytes[off[i], off[i + 1]), of namespace ns[sel[i]] (sel NULL: ns[i]; ns NULL: 0). */
typedef struct kstate_keys {
    uint32_t n;
    const uint64_t *hash;
    const uint8_t *bytes;
    const uint32_t *off;
    const int64_t *ns;
    const uint32_t *sel;
    bool later; /* nothing is marked: kstate_changed follows for all that are new or change, before anything else is asked of this state */
    bool there; /* those that are absent are NULL, and not made */
} kstate_keys_t;
err_t *kstate_get_many(kstate_t *ks, const kstate_keys_t *k, void **ret);
/* Values (each once) that are now as the batch left them. Where keys hardly repeat within an epoch the change is written down here, while
 * the value is in the cache, instead of at the seal. */
void kstate_changed(kstate_t *ks, void *const *values, uint32_t n);
void kstate_dirty(kstate_t *ks, void *value); /* the value was or will be changed before the next seal */
void kstate_delete(kstate_t *ks, void *value);
slice_t kstate_key(const kstate_t *ks, const void *value);
int64_t kstate_ns(const kstate_t *ks, const void *value);
uint64_t kstate_hash(const kstate_t *ks, const void *value);

/* Live entries that the next seal will write; fn must not touch this state. */
err_t *kstate_each_dirty(kstate_t *ks, err_t *(*fn)(void *arg, void *value), void *arg);
void kstate_grown(kstate_t *ks, void *value); /* the memory of a value that was not marked has changed: its content was read back */

/* Namespaces in ascending order. */
bool kstate_first_ns(const kstate_t *ks, int64_t *ret);              /* smallest that holds entries; false: empty */
bool kstate_next_ns(const kstate_t *ks, int64_t after, int64_t *ret);
/* A walk over the entries of a namespace, a portion at a time: first what is in memory, then what was evicted, in the order of the base.
 * Evicted entries are decoded for the portion only and stay evicted, so a walk needs no more memory than a portion, however large the
 * namespace is; dirty or deleted ones become entries of the table. Begins as {.ns = ..}. Between the calls kstate_evict may be called.
 *  - Each entry that is there from begin to end comes once, provided that none is created in the namespace, nor read back, meanwhile
 *    (deleting returned ones is allowed), and that it is not sealed or dropped; kstate_scan.c says what of it may be evicted.
 *  - `weak`: anything may happen between the calls; then an entry may be missed, or come twice. */
typedef struct kstate_scan {
    int64_t ns;
    int kg_lo, kg_hi; /* only key groups [kg_lo, kg_hi); both 0: all of the instance's */
    bool weak;
    bool begun; /* from here on not the caller's to set */
    int step, part_lo, part_hi; /* key groups of a part; of this one */
    bool below; /* in the base */
    uint64_t at, found, evicted; /* at: in the order of hashes */
    int kg;
    buf_t from;
} kstate_scan_t;
/* Up to `max` values; *ret_n is 0 at the end, and *s as at its begin. Values are valid until the next call for any scan of this state. */
err_t *kstate_scan(kstate_t *ks, kstate_scan_t *s, void **ret, uint32_t max, uint32_t *ret_n);
void kstate_scan_stop(kstate_t *ks, kstate_scan_t *s); /* before the end; harmless after it. ks NULL: it is closed already */
void kstate_drop_ns(kstate_t *ks, int64_t ns);                       /* all entries of the namespace */

/* Checkpoint side, called by the task. */
void kstate_seal(kstate_t *ks, epoch_t epoch, buf_t *out);           /* appends changes; format in state/changelog.h */
err_t *kstate_apply(kstate_t *ks, slice_t sealed);                   /* restore: one operator's sealed bytes; foreign key groups skipped */
/* Restore, when the state does not fit: forget empties the table (nothing of it may be dirty); reload reads it from the base, which holds
 * all of it by then, as far as there is room. */
void kstate_forget(kstate_t *ks);
err_t *kstate_reload(kstate_t *ks);
uint64_t kstate_entries(const kstate_t *ks);
uint64_t kstate_evicted(const kstate_t *ks);                         /* those of them that the base or the spill holds */
uint64_t kstate_ns_entries(const kstate_t *ks, int64_t ns);
size_t kstate_bytes(const kstate_t *ks);
/* What the operator holds beside the table to work it off (merged panes): it counts as the table's until it is said again. */
void kstate_beside(kstate_t *ks, size_t bytes);
/* Hints before a batch of kstate_get calls, each in a loop of its own over the batch: first the slot the key would be looked for
 * in, then, when that has arrived, the entry it points to. They pay once the table is larger than the cache. */
void kstate_prefetch(const kstate_t *ks, int64_t ns, uint64_t hash);
void kstate_prefetch_entry(const kstate_t *ks, int64_t ns, uint64_t hash);
/* Called by the task between batches: what values own that were marked since the last call counts from now on, also when they were dirty
 * already: a value that grows within an epoch is seen to grow. */
void kstate_measure(kstate_t *ks);
/* Called by the task between batches: frees memory down to its share by evicting clean applied entries. */
err_t *kstate_evict(kstate_t *ks);
