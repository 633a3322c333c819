/* kstate_miss.c: what a miss in memory costs once entries were evicted: a look into the filter of evicted keys, and for those that
 * may be there one read of the base per batch. */
#include "state/kstate_int.h"

#define READ_KEYS 256 /* read at once: their values are in memory twice for that time */
#define AHEAD 12      /* keys between looking for an entry's slot, for the entry, and using it */

/* ---------------------------------------------------------------- evicted keys */
static void filter_account(kstate_t *ks, size_t before, size_t now) {
    ks->filters += (int64_t)now - (int64_t)before;
    ks_account(ks, (int64_t)now - (int64_t)before);
}

/* What the filters of this table may take: a quarter of its part of the budget. */
static size_t filters_most(const kstate_t *ks) {
    double used = (double)MAX(kstate_env_used(ks->env), (size_t)1);
    return (size_t)((double)kstate_env_memory(ks->env) * MIN((double)ks->bytes / used, 1.0) / 4);
}

/* A namespace of few keys (a session's end, a small window) gets none: its filter would cost more than evicting it gives back, and a read of the
 * base each for its few misses is bearable. The main one (0) is large, and is counted before its keys are there when it is restored. */
#define FILTER_LIVE_MIN 64

void ks_evicted_add(kstate_t *ks, ks_ns_t *n, uint64_t hash) {
    n->evicted++;
    ks->evicted++;
    n->keep_dead = true;
    size_t before = filter_bytes(n->filter);
    size_t others = (size_t)ks->filters - before, most = filters_most(ks), room = most > others ? most - others : 0;
    if (!n->filter) {
        /* only with the first evicted key: a filter made later would not have those before it */
        if (n->evicted > 1 || (n->ns != 0 && n->live < FILTER_LIVE_MIN) || room < filter_least()) return;
        n->filter = filter_new(MIN(n->live * 2, filter_keys(room - filter_least())));
    }
    filter_add(n->filter, hash, room);
    size_t now = filter_bytes(n->filter);
    if (UNLIKELY(now != before)) filter_account(ks, before, now);
}

void ks_evicted_take(kstate_t *ks, ks_ns_t *n, uint64_t count) {
    ASSERT(count <= n->evicted);
    n->evicted -= count;
    ks->evicted -= count;
    if (n->evicted || !n->filter) return;
    filter_account(ks, filter_bytes(n->filter), 0);
    filter_free(TAKE(n->filter));
}

static bool maybe_evicted(const ks_ns_t *n, uint64_t hash) { return n->evicted && (!n->filter || filter_has(n->filter, hash)); }

/* ---------------------------------------------------------------- reads */
err_t *ks_load_one(kstate_t *ks, ks_ns_t *n, uint64_t hash, slice_t key, entry_t **ret) {
    base_db_t *b = kstate_env_base(ks->env);
    ASSERT(b);
    *ret = NULL;
    if (!maybe_evicted(n, hash)) return NULL;
    buf_clear(&ks->scratch);
    bool found;
    TRY(b->get(b, ks->fingerprint, ks->slot, hash_key_group(hash), n->ns, key, &ks->scratch, &found));
    if (!found) return NULL;
    entry_t *e = ks_create(ks, n, hash, key);
    e->flags = ENTRY_REF;
    ks_evicted_take(ks, n, 1);
    *ret = e;
    return ks_value_decode(ks, e, buf_slice(&ks->scratch));
}

typedef struct reading {
    kstate_t *ks;
    const kstate_keys_t *k;
    uint32_t n;
    base_key_t want[READ_KEYS];
    uint32_t row[READ_KEYS];
} reading_t;

static err_t *read_one(void *arg, uint32_t i, slice_t value) {
    reading_t *r = arg;
    const base_key_t *w = &r->want[i];
    uint64_t hash = r->k->hash[r->row[i]];
    ks_ns_t *n = ks_ns_find(r->ks, w->ns);
    if (ks_ns_lookup(n, hash, w->key)) return NULL; /* twice in the batch */
    entry_t *e = ks_create(r->ks, n, hash, w->key);
    e->flags = ENTRY_REF;
    ks_evicted_take(r->ks, n, 1);
    return ks_value_decode(r->ks, e, value);
}

static err_t *read_some(reading_t *r) {
    uint32_t n = r->n;
    r->n = 0;
    if (n == 0) return NULL;
    base_db_t *b = kstate_env_base(r->ks->env);
    ASSERT(b);
    return b->get_many(b, r->ks->fingerprint, r->ks->slot, r->want, n, read_one, r);
}

/* ---------------------------------------------------------------- a batch */
static inline int64_t ns_at(const kstate_keys_t *k, uint32_t i) { return k->ns ? k->ns[k->sel ? k->sel[i] : i] : 0; }
static inline slice_t key_at(const kstate_keys_t *k, uint32_t i) { return slice_of(k->bytes + k->off[i], k->off[i + 1] - k->off[i]); }

static inline void ahead(const kstate_t *ks, const kstate_keys_t *k, uint32_t i) {
    if (i + 2 * AHEAD < k->n) kstate_prefetch(ks, ns_at(k, i + 2 * AHEAD), k->hash[i + 2 * AHEAD]);
    if (i + AHEAD < k->n) kstate_prefetch_entry(ks, ns_at(k, i + AHEAD), k->hash[i + AHEAD]);
}

/* Brings what was evicted of them back. */
static err_t *read_back(kstate_t *ks, const kstate_keys_t *k) {
    reading_t r = {.ks = ks, .k = k};
    for (uint32_t i = 0; i < k->n; i++) {
        ahead(ks, k, i);
        ks_ns_t *n = ks_ns_find(ks, ns_at(k, i));
        if (n && i + AHEAD < k->n) filter_prefetch(n->filter, k->hash[i + AHEAD]);
        if (!n || ks_ns_lookup(n, k->hash[i], key_at(k, i)) || !maybe_evicted(n, k->hash[i])) continue;
        r.want[r.n] = (base_key_t){hash_key_group(k->hash[i]), n->ns, key_at(k, i)};
        r.row[r.n++] = i;
        if (r.n == READ_KEYS) TRY(read_some(&r));
    }
    return read_some(&r);
}

err_t *kstate_get_many(kstate_t *ks, const kstate_keys_t *k, void **ret) {
    if (ks->evicted) TRY(read_back(ks, k));
    for (uint32_t i = 0; i < k->n; i++) {
        ahead(ks, k, i);
        int64_t ns = ns_at(k, i);
        ks_ns_t *n = ks_ns_find(ks, ns);
        entry_t *e = n ? ks_ns_lookup(n, k->hash[i], key_at(k, i)) : NULL;
        if (UNLIKELY(!e || (e->flags & ENTRY_DEAD))) e = ks_make(ks, n, e, ns, k->hash[i], key_at(k, i));
        else if (!(e->flags & ENTRY_REF)) e->flags |= ENTRY_REF;
        ret[i] = entry_value(e);
        kstate_dirty(ks, ret[i]);
    }
    return NULL;
}
