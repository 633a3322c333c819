/* kstate_miss.c: what a miss in memory costs once entries were evicted: a look into the filter of evicted keys, for those that
 * may be there one into the spill, and for the rest one read of the base per batch. */
#include "state/kstate_int.h"

#define READ_KEYS 256 /* read at once: their values are in memory twice for that time */
#define AHEAD 12      /* keys between looking for an entry's slot, for the entry, and using it */

/* ---------------------------------------------------------------- evicted keys */
static void filter_account(kstate_t *ks, size_t before, size_t now) {
    ks->filters += (int64_t)now - (int64_t)before;
    ks_account(ks, (int64_t)now - (int64_t)before);
}

#define FILTERS_PART 4

size_t ks_part(const kstate_t *ks, int of) {
    double used = (double)MAX(kstate_env_used(ks->env), (size_t)1);
    return (size_t)((double)kstate_env_memory(ks->env) * MIN((double)ks->bytes / used, 1.0) / of);
}

/* What one of the filters of this table may take. `beside`: another of the same keys, for a while; it does not count against this one. */
static size_t filter_room(const kstate_t *ks, const filter_t *f, const filter_t *beside) {
    size_t others = (size_t)ks->filters - filter_bytes(f) - filter_bytes(beside), most = ks_part(ks, FILTERS_PART);
    return most > others ? most - others : 0;
}

static void add_to(kstate_t *ks, filter_t *f, const filter_t *beside, uint64_t hash) {
    size_t before = filter_bytes(f);
    filter_add(f, hash, filter_room(ks, f, beside));
    size_t now = filter_bytes(f);
    if (UNLIKELY(now != before)) filter_account(ks, before, now);
}

/* A filter knows what was deleted, too. Once it has taken twice as many keys as there are, and some, or is many times as large as it was made for,
 * or too small or missing although there is room (a restore had filled the memory with other tables), the base is walked for what is
 * evicted, a few keys at a time, into a new filter; what is evicted meanwhile goes into both. Since the last time more keys were evicted than are
 * walked over, so a walk costs less than what made it necessary. */
#define RENEW_LEAST 1024
#define RENEW_LAYERS 6
#define RENEW_ROWS 256
#define RENEW_GROUPS 16 /* of keys, walked over at once: what was deleted lies between them */

static bool worn(const kstate_t *ks, const ks_ns_t *n) {
    const filter_t *f = n->filter;
    if (ks->loading || n->evicted < (f ? 1 : RENEW_LEAST) || (n->ns == 0 && ks_near_whole(ks))) return false;
    if (!f) return filter_keys(filter_room(ks, NULL, NULL)) > n->evicted / 2;
    if (filter_count(f) > 2 * (n->evicted + n->live) + RENEW_LEAST || filter_layers(f) >= RENEW_LAYERS) return true;
    return filter_full(f) && filter_room(ks, f, NULL) / 2 > filter_bytes(f);
}

static void renewal_begin(kstate_t *ks, ks_ns_t *n) {
    size_t room = filter_room(ks, n->filter, NULL);
    if (ks->renewal.of || room < filter_least() || (n->ns == 0 && ks_near_needed(ks))) return; /* the base must have all that is evicted */
    ks->renewal.of = n;
    ks->renewal.next = filter_new(MIN(n->evicted + n->live, filter_keys(room - filter_least())));
    ks->renewal.kg = ks->kg_lo;
    filter_account(ks, 0, filter_bytes(ks->renewal.next));
}

static void renewal_stop(kstate_t *ks) {
    filter_account(ks, filter_bytes(ks->renewal.next), 0);
    filter_free(TAKE(ks->renewal.next));
    buf_free(&ks->renewal.from);
    ks->renewal.of = NULL;
}

typedef struct renewing { kstate_t *ks; int rows; } renewing_t;

static err_t *renew_one(void *arg, slice_t key, slice_t value, bool *ret_more) {
    renewing_t *r = arg;
    const ks_ns_t *n = r->ks->renewal.of;
    uint64_t hash = state_hash(r->ks->slot, key);
    if (!ks_ns_lookup(n, hash, key)) add_to(r->ks, r->ks->renewal.next, n->filter, hash); /* else it is in memory, or deleted */
    *ret_more = ++r->rows < RENEW_ROWS;
    return NULL;
}

err_t *ks_renew_some(kstate_t *ks) {
    ks_ns_t *n = ks->renewal.of;
    if (LIKELY(!n)) return NULL;
    base_db_t *b = kstate_env_base(ks->env);
    ASSERT(b);
    renewing_t r = {ks, 0};
    int *kg = &ks->renewal.kg, hi = MIN(*kg + RENEW_GROUPS, ks->kg_hi);
    TRY(b->walk(b, ks->fingerprint, ks->slot, n->ns, kg, hi, &ks->renewal.from, renew_one, &r));
    if (*kg < hi) return NULL;
    buf_clear(&ks->renewal.from);
    if (*kg < ks->kg_hi) return NULL;
    filter_t *old = n->filter;
    n->filter = ks->renewal.next;
    ks->renewal.next = old; /* goes */
    renewal_stop(ks);
    return NULL;
}

/* A namespace of few keys (a session's end, a small window) gets none: its filter would cost more than evicting it gives back, and a read of the
 * base each for its few misses is bearable. The main one (0) is large, and is counted before its keys are there when it is restored. */
#define FILTER_LIVE_MIN 64

static void first_filter(kstate_t *ks, ks_ns_t *n) {
    size_t room = filter_room(ks, NULL, NULL);
    if (room < filter_least()) return;
    n->filter = filter_new(MIN(n->live * 2, filter_keys(room - filter_least())));
    filter_account(ks, 0, filter_bytes(n->filter));
}

void ks_evicted_add(kstate_t *ks, ks_ns_t *n, uint64_t hash) {
    n->evicted++;
    ks->evicted++;
    if (UNLIKELY(n->scanning) && hash_key_group(hash) >= n->scan_hi) n->scan_more++;
    n->keep_dead = true;
    /* with the first evicted key: one that is made later does not have those before it, but by a walk */
    if (n->evicted == 1 && (n->ns == 0 ? !ks_near_whole(ks) : n->live >= FILTER_LIVE_MIN)) first_filter(ks, n);
    filter_t *next = ks->renewal.of == n ? ks->renewal.next : NULL;
    if (n->filter) add_to(ks, n->filter, next, hash);
    if (next) add_to(ks, next, n->filter, hash);
    else if (UNLIKELY(worn(ks, n))) renewal_begin(ks, n);
}

void ks_evicted_take(kstate_t *ks, ks_ns_t *n, uint64_t count) {
    ASSERT(count <= n->evicted);
    n->evicted -= count;
    ks->evicted -= count;
    if (n->evicted) {
        if (UNLIKELY(worn(ks, n))) renewal_begin(ks, n);
        return;
    }
    if (ks->renewal.of == n) renewal_stop(ks);
    if (n->ns == 0) ks_near_free(ks);
    if (!n->filter) return;
    filter_account(ks, filter_bytes(n->filter), 0);
    filter_free(TAKE(n->filter));
}

/* Without a filter any key may be; of what lies in the spill it has filters of its own. */
static bool maybe_evicted(const ks_ns_t *n, uint64_t hash) { return n->evicted && (!n->filter || filter_has(n->filter, hash)); }

/* ---------------------------------------------------------------- reads */
err_t *ks_load_one(kstate_t *ks, ks_ns_t *n, uint64_t hash, slice_t key, entry_t **ret) {
    base_db_t *b = kstate_env_base(ks->env);
    ASSERT(b);
    *ret = NULL;
    if (!maybe_evicted(n, hash)) return NULL;
    uint8_t page[SPILL_PAGE];
    slice_t value;
    bool found = n->ns == 0 && spill_get(ks->spill, hash, key, page, &value);
    if (!found && n->ns == 0) {
        if (ks_near_whole(ks)) return NULL;
        TRY(ks_near_lost(ks));
    }
    if (!found) {
        buf_clear(&ks->scratch);
        TRY(b->get(b, ks->fingerprint, ks->slot, hash_key_group(hash), n->ns, key, &ks->scratch, &found));
        value = buf_slice(&ks->scratch);
    }
    if (!found) return NULL;
    entry_t *e = ks_create(ks, n, hash, key);
    ks_evicted_take(ks, n, 1);
    *ret = e;
    err_t *err = ks_value_decode(ks, e, value);
    ks_scratch_done(ks);
    return err;
}

void *kstate_put(kstate_t *ks, int64_t ns, uint64_t hash, slice_t key, bool there) {
    ks_ns_t *n = ks_ns_find(ks, ns);
    entry_t *e = n ? ks_ns_lookup(n, hash, key) : NULL;
    if (!there && (!e || (e->flags & ENTRY_DEAD))) e = ks_make(ks, n, e, ns, hash, key);
    if (e ? e->flags & ENTRY_DEAD : !n || !maybe_evicted(n, hash)) return NULL;
    if (!e) {
        e = ks_create(ks, n, hash, key);
        ks_evicted_take(ks, n, 1);
    }
    kstate_dirty(ks, entry_value(e));
    return entry_value(e);
}

typedef struct reading {
    kstate_t *ks;
    const kstate_keys_t *k;
    uint32_t n;
    base_key_t want[READ_KEYS];
    uint32_t row[READ_KEYS];
    uint8_t page[SPILL_PAGE];
} reading_t;

static err_t *read_one(void *arg, uint32_t i, slice_t value) {
    reading_t *r = arg;
    const base_key_t *w = &r->want[i];
    uint64_t hash = r->k->hash[r->row[i]];
    ks_ns_t *n = ks_ns_find(r->ks, w->ns);
    if (ks_ns_lookup(n, hash, w->key)) return NULL; /* twice in the batch */
    entry_t *e = ks_create(r->ks, n, hash, w->key);
    ks_evicted_take(r->ks, n, 1);
    return ks_value_decode(r->ks, e, value);
}

/* What the spill tells; the others move up. */
static err_t *read_near(reading_t *r) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        if (i + AHEAD < r->n) spill_prefetch(r->ks->spill, r->k->hash[r->row[i + AHEAD]]);
        const base_key_t *w = &r->want[i];
        slice_t value;
        if (w->ns == 0 && spill_get(r->ks->spill, r->k->hash[r->row[i]], w->key, r->page, &value)) {
            TRY(read_one(r, i, value));
            continue;
        }
        /* with the last evicted key the spill is gone: what the base has of others are values that they had once */
        if (w->ns == 0 && (ks_near_whole(r->ks) || !ks_ns_find(r->ks, 0)->evicted)) continue;
        if (w->ns == 0) TRY(ks_near_lost(r->ks));
        r->want[left] = *w;
        r->row[left++] = r->row[i];
    }
    r->n = left;
    return NULL;
}

static err_t *read_some(reading_t *r) {
    if (r->ks->spill) TRY(read_near(r));
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

/* Not just read back: where keys come at random each is used once while it is here, and a second chance for all would be one more round for
 * each that leaves. */
static inline bool used_before(const entry_t *e) { return e->changed || (e->flags & ENTRY_DIRTY); }

/* entry_is of a short key, which is one word of the entry; the key has eight bytes to read. */
static inline bool entry_is_short(const ks_ns_t *n, const entry_t *e, uint64_t hash, slice_t key) {
    uint64_t own, other;
    memcpy(&own, (const uint8_t *)e + n->key_at, sizeof own);
    memcpy(&other, key.p, sizeof other);
    return e->hash == hash && own >> 8 * KEY_SHORT == key.len && (own ^ other) << (64 - 8 * key.len) == 0;
}

#define BLOCK 256     /* keys whose entries are asked for in a pass of their own, before the first of them is looked at .. */
#define SLOTS_AHEAD 32 /* .. and their slots so many before that */

/* All of one namespace: its table is looked up once, and the slots of a key are read once: what they promised is kept until the entry has
 * come. A pass that only reads slots and asks has as many lines under way as the processor can wait for. Entries stay where they are, so a promise
 * is at worst one that another key fulfils, or late for a key that came twice. */
static void get_of_one(kstate_t *ks, const kstate_keys_t *k, void **ret) {
    ks_ns_t *n = ks_ns_make(ks, 0);
    const uint64_t *hash = k->hash;
    uint32_t end = k->off[k->n];
    entry_t *hope[BLOCK];
    for (uint32_t i = 0; n->cap && i < MIN(k->n, (uint32_t)SLOTS_AHEAD); i++) __builtin_prefetch(&n->slots[hash[i] >> n->shift]);
    for (uint32_t from = 0, to; from < k->n; from = to) {
        to = MIN(from + BLOCK, k->n);
        if (!n->cap) memset(hope, 0, sizeof hope);
        for (uint32_t i = from; n->cap && i < to; i++) {
            if (i + SLOTS_AHEAD < k->n) __builtin_prefetch(&n->slots[hash[i + SLOTS_AHEAD] >> n->shift]);
            entry_t *e = hope[i - from] = ks_promised(n, hash[i]);
            entry_ask(n, e);
        }
        for (uint32_t i = from; i < to; i++) {
            slice_t key = key_at(k, i);
            entry_t *e = hope[i - from];
            bool here = e && (key.len - 1 < KEY_SHORT && end - k->off[i] >= 8 ? entry_is_short(n, e, hash[i], key) : entry_is(n, e, hash[i], key));
            if (!here) e = ks_ns_lookup(n, hash[i], key);
            if (UNLIKELY(!e || (e->flags & ENTRY_DEAD))) e = k->there ? NULL : ks_make(ks, n, e, 0, hash[i], key);
            else if (!(e->flags & ENTRY_REF) && used_before(e)) e->flags |= ENTRY_REF;
            ret[i] = e ? entry_value(e) : NULL;
            if (k->later && e) ks_log_ask(ks, e);
            else if (e) kstate_dirty(ks, ret[i]);
        }
    }
}

err_t *kstate_get_many(kstate_t *ks, const kstate_keys_t *k, void **ret) {
    if (ks->evicted) TRY(read_back(ks, k));
    if (!k->ns && k->n) {
        get_of_one(ks, k, ret);
        return NULL;
    }
    for (uint32_t i = 0; i < k->n; i++) {
        ahead(ks, k, i);
        int64_t ns = ns_at(k, i);
        ks_ns_t *n = ks_ns_find(ks, ns);
        entry_t *e = n ? ks_ns_lookup(n, k->hash[i], key_at(k, i)) : NULL;
        if (UNLIKELY(!e || (e->flags & ENTRY_DEAD))) e = k->there ? NULL : ks_make(ks, n, e, ns, k->hash[i], key_at(k, i));
        else if (!(e->flags & ENTRY_REF) && used_before(e)) e->flags |= ENTRY_REF;
        ret[i] = e ? entry_value(e) : NULL;
        if (!k->later && e) kstate_dirty(ks, ret[i]);
    }
    return NULL;
}
