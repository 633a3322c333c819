/* agg_page.c: large sets of values in pages.
 *
 * A set (COUNT(DISTINCT x), any f(DISTINCT x), MIN and MAX that may be taken back) is part of its group's accumulators: one look-up per row, compact,
 * all of it in memory while the group is used. Small ones are encoded whole with the group. A large one (some hundred values, four kB) is cut into
 * pages in the order in which its values came, and whoever keeps the state keeps the pages beside the group: in the checkpoint of an epoch lie
 * the page at the end, those in which a mask or a count changed, and a head of some bytes.
 *
 * Why in the order of insertion: new values are what changes a set, and they all fall into the last page. An epoch with n new values writes their
 * bytes and at most one page of old ones. Parts by hash would be a page for each new value; an entry per value 20 bytes of key for each value of 4, and
 * five times the memory. What that gives up: the part of a set that is asked for cannot be in memory alone. Values are asked for at random, so that
 * part would be all of it, or a read per row. Under a small --memory the pages as they are stored go first, then the whole group,
 * which is read back page by page.
 *
 * Life of a set: whole -> (begin: it is large when its group is sealed) in pages, all of them changed -> (pages_out: put, settled) -> changes mark
 * their page -> .. -> the group is evicted or restored: its head alone is decoded, the set is absent -> (pages_in: open, take, settle). A set that is
 * in pages stays so until the group goes or is cleared; pages behind its end are dropped. Holes (values that were all taken back) go when they are the
 * most of it.
 *
 * Encoded, version 3, written for groups with a set in pages: per call that may have one u8 (0 whole, 1 in pages), then its form or the head. */
#include "engine/agg_int.h"

void agg_set_keep_pages(agg_set_t *s) {
    s->pages = agg_set_pageable(s);
    for (int i = 0; i < s->n; i++) s->slots[i].pages = s->slots[i].impl->paging != NULL;
}

bool agg_set_pageable(const agg_set_t *s) {
    for (int i = 0; i < s->n; i++)
        if (s->slots[i].impl->paging) return true;
    return false;
}

static agg_pages_t look(const agg_slot_t *s, const void *accs) {
    return s->pages ? s->impl->paging->look(s, slot_acc_const(s, accs)) : (agg_pages_t){0};
}

bool agg_set_absent(const agg_set_t *s, const void *accs) {
    for (int i = 0; i < s->n; i++)
        if (look(&s->slots[i], accs).absent) return true;
    return false;
}

/* ---------------------------------------------------------------- out */
static err_t *call_out(agg_set_t *s, int call, void *acc, const agg_pages_io_t *io) {
    agg_slot_t *slot = &s->slots[call];
    const agg_paging_t *p = slot->impl->paging;
    if (p->begin) p->begin(slot, acc);
    agg_pages_t is = p->look(slot, acc);
    if (!is.paged || is.absent) return NULL;
    for (uint32_t i = 0; i < is.pages; i++) {
        if (!p->changed(slot, acc, i)) continue;
        buf_clear(&s->page);
        p->put(slot, acc, i, &s->page);
        if (s->page.overflow) return err_new(ERR_LIMIT, "%s: values of one group are larger than %zu bytes", agg_fn_name(slot->call->fn), s->page.max);
        TRY(io->put(io->arg, call, i, i < is.stored, buf_slice(&s->page)));
    }
    for (uint32_t i = is.pages; i < is.stored; i++) TRY(io->drop(io->arg, call, i));
    p->settle(slot, acc);
    return NULL;
}

err_t *agg_set_pages_out(agg_set_t *s, void *accs, const agg_pages_io_t *io) {
    for (int i = 0; i < s->n; i++)
        if (s->slots[i].pages) TRY(call_out(s, i, slot_acc(&s->slots[i], accs), io));
    return NULL;
}

err_t *agg_set_pages_drop(const agg_set_t *s, const void *accs, const agg_pages_io_t *io) {
    for (int i = 0; i < s->n; i++) {
        agg_pages_t is = look(&s->slots[i], accs);
        for (uint32_t k = 0; k < is.stored; k++) TRY(io->drop(io->arg, i, k));
    }
    return NULL;
}

/* ---------------------------------------------------------------- in */
static err_t *call_in(agg_slot_t *slot, int call, void *acc, const agg_pages_io_t *io) {
    const agg_paging_t *p = slot->impl->paging;
    agg_pages_t is = p->look(slot, acc);
    if (!is.absent) return NULL;
    p->open(slot, acc);
    slice_t pages[AGG_PAGES_AT_ONCE];
    for (uint32_t i = 0; i < is.stored; i++) {
        uint32_t at = i % AGG_PAGES_AT_ONCE;
        if (at == 0) TRY(io->get(io->arg, call, i, MIN(is.stored - i, (uint32_t)AGG_PAGES_AT_ONCE), pages));
        if (!pages[at].p) return err_new(ERR_CORRUPT, "%s: the state has not page %u of %u of a set of values", agg_fn_name(slot->call->fn), i, is.stored);
        reader_t r = reader_of(pages[at]);
        if (!p->take(slot, acc, i, &r) || r.bad || reader_left(&r))
            return err_new(ERR_CORRUPT, "%s: page %u of a set of values is malformed", agg_fn_name(slot->call->fn), i);
    }
    uint64_t values = p->look(slot, acc).values;
    if (values != is.values)
        return err_new(ERR_CORRUPT, "%s: the pages of a set have %" PRIu64 " values, not %" PRIu64, agg_fn_name(slot->call->fn), values, is.values);
    p->settle(slot, acc);
    return NULL;
}

err_t *agg_set_pages_in(agg_set_t *s, void *accs, const agg_pages_io_t *io) {
    for (int i = 0; i < s->n; i++)
        if (s->slots[i].pages) TRY(call_in(&s->slots[i], i, slot_acc(&s->slots[i], accs), io));
    return NULL;
}

void agg_set_pages_leave(agg_set_t *s, void *accs) {
    for (int i = 0; i < s->n; i++) {
        agg_pages_t is = look(&s->slots[i], accs);
        if (!is.paged || is.absent) continue;
        ASSERT(is.stored == is.pages);
        s->slots[i].impl->paging->leave(&s->slots[i], slot_acc(&s->slots[i], accs));
    }
}

/* ---------------------------------------------------------------- the group */
bool agg_pages_encode(const agg_set_t *s, const void *accs, buf_t *out) {
    bool any = false;
    for (int i = 0; i < s->n && !any; i++) any = look(&s->slots[i], accs).paged;
    if (!any) return false;
    buf_put_u8(out, 3);
    for (int i = 0; i < s->n; i++) {
        const agg_slot_t *slot = &s->slots[i];
        const void *acc = slot_acc_const(slot, accs);
        agg_pages_t is = look(slot, accs);
        for (uint32_t k = 0; is.paged && !is.absent && k < is.pages; k++) ASSERT(!slot->impl->paging->changed(slot, acc, k));
        if (slot->pages) buf_put_u8(out, is.paged);
        if (is.paged) slot->impl->paging->encode_head(slot, acc, out);
        else slot->impl->encode(slot, acc, out);
    }
    return true;
}

bool agg_pages_decode(const agg_set_t *s, reader_t *r, void *accs) {
    for (int i = 0; i < s->n; i++) {
        const agg_slot_t *slot = &s->slots[i];
        void *acc = slot_acc(slot, accs);
        uint8_t paged = slot->pages ? read_u8(r) : 0;
        if (r->bad || paged > 1) return false;
        if (!(paged ? slot->impl->paging->decode_head(slot, r, acc) : slot->impl->decode(slot, r, acc)) || r->bad) return false;
    }
    return true;
}
