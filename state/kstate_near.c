/* kstate_near.c: the table's side of spill.h. Only namespace 0 has one: keys of windows hardly come again after they were evicted, and each would have
 * files of its own.
 *
 * It says of an evicted key what the base says. A key that left the table by eviction was put, and has not changed since, or it would be in the
 * table. One that was deleted stays in the table, dead, until the base has applied that; then a marker is put, before a miss can ask for it. A
 * dropped namespace has nothing evicted, and then there is no spill. Where that was made with the first evicted key (a restore has some before), and while
 * it is whole, a key that it does not know is nowhere: then a filter that is wrong does not cost a look into the base. */
#include "state/kstate_int.h"

#define BUFFER_MOST ((size_t)1 << 20)
#define BUFFER_SHARE 32 /* of the budget at most */
#define FILTERS_PART 8
#define INDEX_PART 8
#define INDEX_LEAST ((size_t)16 << 10) /* of four megabytes: enough for tables that are small themselves */

static int scratch(void *arg) {
    base_db_t *b = arg;
    return b->scratch ? b->scratch(b) : -1;
}

static void account(kstate_t *ks) {
    size_t now = spill_bytes(ks->spill);
    ks_account(ks, (int64_t)now - (int64_t)ks->spill_accounted);
    ks->spill_accounted = now;
}

void ks_near_put(kstate_t *ks, entry_t *e) {
    bool dead = e->flags & ENTRY_DEAD;
    if (e->ns->ns != 0 || (dead && !ks->spill)) return;
    if (!ks->spill) {
        ks->spill = spill_new(ks->slot, scratch, kstate_env_base(ks->env));
        ks->spill_first = e->ns->evicted == 1;
    }
    if (!ks->spilling) {
        spill_room_t room = {MIN(BUFFER_MOST, kstate_env_memory(ks->env) / BUFFER_SHARE), ks_part(ks, FILTERS_PART), MAX(ks_part(ks, INDEX_PART), INDEX_LEAST)};
        spill_begin(ks->spill, &room);
    }
    ks->spilling = true;
    slice_t value = {0};
    bool known = dead;
    if (!dead && e->heap <= 2 * spill_value_most()) {
        buf_clear(&ks->scratch);
        ks->codec.encode(ks->codec.ctx, entry_value(e), &ks->scratch);
        known = !ks->scratch.overflow;
        value = slice_of(ks->scratch.data ? (const void *)ks->scratch.data : "", ks->scratch.len);
    }
    if (known) spill_put(ks->spill, e->hash, entry_key(e), value);
    else spill_put_unknown(ks->spill, e->hash, entry_key(e));
}

void ks_near_end(kstate_t *ks) {
    if (!ks->spilling) return;
    ks->spilling = false;
    spill_end(ks->spill);
    ks_scratch_done(ks);
    account(ks);
}

bool ks_near_whole(const kstate_t *ks) { return ks->spill_first && spill_whole(ks->spill); }

void ks_near_free(kstate_t *ks) {
    spill_free(TAKE(ks->spill));
    ks->spilling = false;
    account(ks);
}
