/* kstate_scan.c: a namespace entry by entry, in portions. What is in memory comes first, by its slots; then the base is walked, and what
 * the table does not have, alive or dead, is what was evicted: while a namespace has evicted entries, everything else of it that the base
 * holds is in the table (kstate_int.h says why).
 *
 * Where memory is scarce a scan of all key groups goes in parts of them, each as above, so that the table need not keep what it has for as long
 * as a large window fires. What may be evicted of the namespace meanwhile, such that each entry comes once:
 *  - while the table's part is read, nothing: the place is one among the slots, and who leaves the table has others change theirs;
 *  - while the base is read for a part, all but that part: what has come of it from the table would come again from the base. Of a part before
 *    it nothing is looked for any more; of a part behind it what leaves comes from the base, and is counted (scan_more). */
#include "state/kstate_int.h"
#include <stdlib.h>

#define SCAN_PARTS 16 /* each goes over the table's slots once .. */
#define PART_ENTRIES 512 /* .. and is worth it */
#define PORTION_BYTES ((size_t)512 << 10) /* of values decoded at once, beside at least one */

void ks_loose_free(kstate_t *ks) {
    while (ks->nloose) ks_entry_free(ks, ks->loose[--ks->nloose]);
}

static void loose_remove(kstate_t *ks, entry_t *e) {
    entry_t *last = ks->loose[--ks->nloose];
    ks->loose[e->dirty_at] = last;
    last->dirty_at = e->dirty_at;
}

void ks_adopt(kstate_t *ks, entry_t *e) {
    ks_ns_t *n = entry_ns(ks, e);
    ASSERT(n->evicted > 0 && !ks_ns_lookup(n, e->hash, entry_key(ks, e)));
    loose_remove(ks, e);
    e->flags = 0;
    ks_ns_insert(ks, n, e);
    n->live++;
    ks->live++;
    ks_evicted_take(ks, n, 1);
}

typedef struct portion {
    kstate_t *ks;
    ks_ns_t *n;
    kstate_scan_t *s;
    void **ret;
    uint32_t max, found;
    size_t bytes;
    bool near; /* when the walk of the base began, which sees it as it was then, the spill had what it had not */
} portion_t;

static err_t *take_evicted(void *arg, slice_t key, slice_t value, bool *ret_more) {
    portion_t *p = arg;
    kstate_t *ks = p->ks;
    uint64_t hash = state_hash(ks->slot, key);
    if (ks_ns_lookup(p->n, hash, key)) return NULL; /* newer in memory, alive or dead */
    uint8_t page[SPILL_PAGE];
    if (p->near && !spill_get(ks->spill, hash, key, page, &value)) return ks_near_lost(ks); /* else it is deleted */
    entry_t *e = ks_entry_alloc(ks, key);
    e->hash = hash;
    entry_ns_set(ks, e, p->n);
    e->flags = ENTRY_LOOSE;
    if (ks->nloose == ks->loose_cap) {
        ks->loose_cap = ks->loose_cap ? 2 * ks->loose_cap : 256;
        ks->loose = xrealloc(ks->loose, ks->loose_cap * sizeof *ks->loose);
    }
    e->dirty_at = ks->nloose;
    ks->loose[ks->nloose++] = e;
    if (ks->codec.init) ks->codec.init(ks->codec.ctx, entry_value(e));
    else memset(entry_value(e), 0, ks->codec.value_size);
    int64_t loaded = ks->loaded; /* it leaves again by itself: nothing for an eviction to look for */
    TRY(ks_value_decode(ks, e, value));
    ks->loaded = loaded;
    p->ret[p->found++] = entry_value(e);
    p->bytes += ks->chunks[e->chunk].entry_size + entry_heap(ks, e);
    *ret_more = p->found < p->max && p->bytes < PORTION_BYTES;
    return NULL;
}

static void pin(kstate_scan_t *s, ks_ns_t *n, int lo, int hi) {
    if (s->weak) return;
    n->scan_lo = (uint16_t)lo;
    n->scan_hi = (uint16_t)hi;
}

static void part_begin(kstate_scan_t *s, ks_ns_t *n, int lo) {
    s->part_lo = s->kg = lo;
    s->part_hi = MIN(lo + s->step, s->kg_hi);
    s->below = false;
    s->at = 0;
    buf_clear(&s->from);
    pin(s, n, 0, KEY_GROUPS);
}

static void part_below(kstate_t *ks, kstate_scan_t *s, ks_ns_t *n) {
    s->below = true;
    pin(s, n, s->part_lo, s->part_hi);
    if (!s->weak && s->step < s->kg_hi - s->kg_lo) ks->fruitless = 0; /* an eviction may find more from now on */
}

/* The place in the table is kept as one among the hashes, which are its order: so it means the same in a table that was made larger or
 * smaller meanwhile (a weak scan). */
static void take_slots(portion_t *p) {
    kstate_scan_t *s = p->s;
    ks_ns_t *n = p->n;
    uint64_t i = n->cap ? s->at >> n->shift : 0;
    for (; i < n->cap && p->found < p->max; i++) {
        slot_t slot = n->slots[i];
        int kg = slot_key_group(slot);
        if (!slot || kg < s->part_lo || kg >= s->part_hi || (slot_entry(slot)->flags & ENTRY_DEAD)) continue;
        p->ret[p->found++] = entry_value(slot_entry(slot));
    }
    if (i < n->cap) s->at = i << n->shift;
    else part_below(p->ks, s, n);
}

static bool is_whole(const kstate_t *ks, const kstate_scan_t *s) { return s->kg_lo == ks->kg_lo && s->kg_hi == ks->kg_hi && !s->weak; }

static err_t *scan_end(kstate_t *ks, kstate_scan_t *s, const ks_ns_t *n) {
    bool whole = is_whole(ks, s);
    uint64_t found = s->found, evicted = s->evicted + n->scan_more;
    kstate_scan_stop(ks, s);
    if (whole && found != evicted)
        return err_new(ERR_CORRUPT, "state base: operator %016" PRIx64 " evicted %" PRIu64 " entries of namespace %" PRId64
                       ", the base has %" PRIu64, ks->fingerprint, evicted, s->ns, found);
    return NULL;
}

static void scan_begin(kstate_t *ks, kstate_scan_t *s, ks_ns_t *n) {
    if (s->kg_hi == 0) {
        s->kg_lo = ks->kg_lo;
        s->kg_hi = ks->kg_hi;
    }
    int all = s->kg_hi - s->kg_lo;
    bool scarce = is_whole(ks, s) && kstate_env_base(ks->env) && (n->evicted || kstate_env_filling(ks->env));
    int parts = scarce ? (int)MIN((n->live + n->evicted) / PART_ENTRIES + 1, (uint64_t)SCAN_PARTS) : 1;
    s->step = MAX(all / parts, 1);
    s->begun = true;
    s->from = buf_make(BUF_MAX_DEFAULT);
    s->evicted = n->evicted;
    if (!s->weak) {
        n->scanning = true;
        n->scan_more = 0;
    }
    part_begin(s, n, s->kg_lo);
}

static err_t *take_of_part(portion_t *p) {
    kstate_t *ks = p->ks;
    kstate_scan_t *s = p->s;
    if (!s->below) take_slots(p);
    if (p->found || !p->n->evicted || s->kg >= s->part_hi) return NULL;
    base_db_t *b = kstate_env_base(ks->env);
    ASSERT(b);
    p->near = p->n->ns == 0 && ks_near_needed(ks); /* the base thread may apply it meanwhile; only this thread gives the spill up */
    TRY(b->walk(b, ks->fingerprint, ks->slot, s->ns, &s->kg, s->part_hi, &s->from, take_evicted, p));
    s->found += p->found;
    return NULL;
}

err_t *kstate_scan(kstate_t *ks, kstate_scan_t *s, void **ret, uint32_t max, uint32_t *ret_n) {
    *ret_n = 0;
    ks_loose_free(ks);
    ks_ns_t *n = ks_ns_find(ks, s->ns);
    if (!n) {
        kstate_scan_stop(ks, s);
        return NULL;
    }
    ASSERT(s->ns != 0 || s->weak || !ks_near_needed(ks)); /* kstate_unscanned */
    if (!s->begun) scan_begin(ks, s, n);
    portion_t p = {.ks = ks, .n = n, .s = s, .ret = ret, .max = max};
    TRY(take_of_part(&p));
    while (p.found == 0 && s->part_hi < s->kg_hi) {
        part_begin(s, n, s->part_hi);
        TRY(take_of_part(&p));
    }
    *ret_n = p.found;
    return p.found ? NULL : scan_end(ks, s, n);
}

void kstate_scan_stop(kstate_t *ks, kstate_scan_t *s) {
    if (ks && s->begun && !s->weak) {
        ks_ns_t *n = ks_ns_find(ks, s->ns);
        if (n) n->scanning = false;
    }
    buf_free(&s->from);
    *s = (kstate_scan_t){.ns = s->ns, .kg_lo = s->kg_lo, .kg_hi = s->kg_hi, .weak = s->weak};
}
