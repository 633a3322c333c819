/* kstate_near.c: the table's side of spill.h. Only namespace 0 has one: keys of windows hardly come again after they were evicted, and each would have
 * files of its own.
 *
 * It is made with the first evicted key, also where a restore finds no room for what the base has; so while it is whole, a key that it does not know
 * is in the table or nowhere, and the base is not asked. A key that left the table by eviction was put, and has not changed since, or it would be in
 * the table. One that was deleted stays in the table, dead, until a marker is put.
 *
 * Nor need the base have, then, what leaves the table, where nobody scans it but weakly (kstate_unscanned): the changelog has it, or will with the next seal.
 * `ahead` is the youngest epoch that left so, with every DEL that no table remembers. Until the base has applied that the spill is needed:
 *  1. It stays whole: what it cannot keep (a value of more than a page) stays in the table. Where that is an eighth of the table nothing goes ahead any
 *     more, so that the base has it, until nothing of namespace 0 is evicted.
 *  2. Where it takes no more (there is no room on the disk) nothing of namespace 0 is evicted. The base follows then, as that is what eviction waits
 *     for; then it is given up, and what is evicted is asked of the base. After some epochs it is tried again, as a shadow; after twice as many each
 *     time that is in vain.
 *  3. What cannot be read of it is an error: the attempt is restored from the base and the changelog.
 * Later, or where it is scanned, it is a shadow of the base, which may be lost at any time. */
#include "state/kstate_int.h"

#define BUFFER_MOST ((size_t)1 << 20)
#define BUFFER_SHARE 32 /* of the budget at most */
#define FILTERS_PART 2 /* what they spare of reads, no entries in their place would */
#define INDEX_PART 4 /* where it ends all reads go to the base, ten times as dear: rather fewer keys in memory */
#define BULK_SHARE 8 /* of the table's bytes */
#define AGAIN_LEAST 16u /* epochs in the base */
#define AGAIN_MOST 256u
#define INDEX_LEAST ((size_t)16 << 10) /* of four megabytes: enough for tables that are small themselves */

static int scratch(void *arg, uint64_t bytes) {
    base_db_t *b = arg;
    return b->scratch ? b->scratch(b, bytes) : -1;
}

static void account(kstate_t *ks) {
    size_t now = spill_bytes(ks->spill);
    ks_account(ks, (int64_t)now - (int64_t)ks->spill_accounted);
    ks->spill_accounted = now;
    size_t files = spill_file_bytes(ks->spill);
    kstate_env_account_spilled(ks->env, (int64_t)files - (int64_t)ks->spill_file_accounted);
    ks->spill_file_accounted = files;
}

bool ks_near_needed(const kstate_t *ks) { return ks->ahead > kstate_env_applied(ks->env); }

bool ks_near_whole(const kstate_t *ks) { return spill_whole(ks->spill); }

bool ks_near_ahead(const kstate_t *ks) { return ks->unscanned && !ks->bulky && (!ks->spill || (spill_whole(ks->spill) && spill_open(ks->spill))); }

void ks_near_lean(kstate_t *ks) {
    bool now = !ks_near_ahead(ks);
    if (now != ks->follower) kstate_env_follow(ks->env, now ? 1 : -1);
    ks->follower = now;
    bool full = ks->spill && !spill_open(ks->spill) && (spill_refused(ks->spill) || !spill_lost(ks->spill));
    if (full != ks->full) kstate_env_full(ks->env, full ? 1 : -1);
    ks->full = full;
}

err_t *ks_near_lost(const kstate_t *ks) {
    if (!ks->spill || !spill_lost(ks->spill) || !ks_near_needed(ks)) return NULL;
    return err_here(err_new(ERR_IO, "what operator %016" PRIx64 " evicted cannot be read back: a file beside the state base failed, or was not as it was written",
                            ks->fingerprint));
}

/* Nothing that is evicted is ahead of the base by now, nor ever will be: a shadow may begin with any key. */
static void try_again(kstate_t *ks) {
    epoch_t applied = kstate_env_applied(ks->env);
    if (ks->spill && spill_open(ks->spill) && applied > ks->again_tried + AGAIN_MOST) ks->again_after = 0; /* all has been well */
    if (!ks->spill || !spill_lost(ks->spill) || !spill_refused(ks->spill) || ks_near_needed(ks)) return;
    if (!ks->again_at) {
        ks->again_after = MIN(MAX(2 * ks->again_after, AGAIN_LEAST), AGAIN_MOST);
        ks->again_at = applied + ks->again_after;
    }
    if (applied < ks->again_at) return;
    ks->again_at = 0;
    ks->again_tried = applied;
    spill_again(ks->spill);
}

void ks_near_begin(kstate_t *ks) {
    ks->bulk = 0;
    bool closed = ks->spill && !spill_open(ks->spill);
    ks->spill_full = closed && ks_near_needed(ks);
    if (closed && !ks->spill_full) {
        spill_give_up(ks->spill);
        account(ks);
    }
    try_again(ks);
    ks_near_lean(ks);
}

static void begin(kstate_t *ks) {
    if (!ks->spill) ks->spill = spill_new(ks->slot, scratch, kstate_env_base(ks->env));
    if (ks->spilling) return;
    spill_room_t room = {MIN(BUFFER_MOST, kstate_env_memory(ks->env) / BUFFER_SHARE), ks_part(ks, FILTERS_PART), MAX(ks_part(ks, INDEX_PART), INDEX_LEAST)};
    spill_begin(ks->spill, &room);
    ks->spilling = true;
}

/* false: it has no bytes that fit. */
static bool encode(kstate_t *ks, entry_t *e, slice_t *ret) {
    if (entry_heap(ks, e) > 2 * spill_value_most()) return false;
    buf_clear(&ks->scratch);
    ks->codec.encode(ks->codec.ctx, entry_value(e), &ks->scratch);
    *ret = slice_of(ks->scratch.data ? (const void *)ks->scratch.data : "", ks->scratch.len);
    return !ks->scratch.overflow && entry_key(ks, e).len + ret->len <= spill_value_most();
}

/* The spill has no room for its value. It stays, and the spill whole, unless there is much of the kind: then the base follows, and has it. */
static bool bulk_stays(kstate_t *ks, const entry_t *e, bool newer) {
    ks->bulk += ks->chunks[e->chunk].entry_size + entry_heap(ks, e);
    ks->bulky = ks->bulky || ks->bulk > (size_t)ks->bytes / BULK_SHARE;
    return newer || ks_near_needed(ks) || ks_near_ahead(ks);
}

bool ks_near_put(kstate_t *ks, entry_t *e, epoch_t applied) {
    ks_ns_t *n = entry_ns(ks, e);
    if (n->ns != 0) return true;
    bool dead = e->flags & ENTRY_DEAD;
    epoch_t changed = ks_changed_epoch(ks, e), newest = dead ? changed : MAX(changed, n->forgotten);
    if (ks->spill_full || (newest > applied && !ks_near_ahead(ks))) return false;
    if (dead && !ks->spill) { /* nothing is evicted */
        n->forgotten = MAX(n->forgotten, changed);
        return changed != UINT64_MAX;
    }
    slice_t value = {0};
    bool known = dead ? entry_key(ks, e).len <= spill_value_most() : encode(ks, e, &value);
    if (!known && bulk_stays(ks, e, newest > applied)) return false;
    begin(ks);
    if (newest > applied) ks->ahead = MAX(ks->ahead, newest);
    if (known) spill_put(ks->spill, e->hash, entry_key(ks, e), value);
    else spill_put_unknown(ks->spill, e->hash, entry_key(ks, e));
    if (UNLIKELY(!spill_open(ks->spill)) && !(ks->spill_full = ks_near_needed(ks))) spill_give_up(ks->spill);
    return true;
}

void ks_near_load(kstate_t *ks, uint64_t hash, slice_t key, slice_t value) {
    begin(ks);
    if (!spill_open(ks->spill)) spill_give_up(ks->spill);
    else if (key.len + value.len <= spill_value_most()) spill_put(ks->spill, hash, key, value);
    else spill_put_unknown(ks->spill, hash, key);
}

err_t *ks_near_end(kstate_t *ks) {
    if (!ks->spilling) return NULL;
    ks->spilling = false;
    spill_end(ks->spill);
    ks_scratch_done(ks);
    account(ks);
    ks_near_lean(ks);
    return ks_near_lost(ks);
}

void ks_near_sealed(kstate_t *ks, epoch_t epoch) {
    if (ks->ahead == UINT64_MAX) ks->ahead = epoch;
}

void ks_near_free(kstate_t *ks) {
    spill_free(TAKE(ks->spill));
    ks->again_at = ks->again_after = 0;
    ks->spilling = ks->bulky = false;
    account(ks);
    ks_near_lean(ks);
}
