/* agg_page.c: large sets and lists of values in pages.
 *
 * A set (COUNT(DISTINCT x), any f(DISTINCT x), MIN and MAX that may be taken back, COLLECT, PERCENTILE) or list (LISTAGG, ARRAY_AGG, JSON_ARRAYAGG; FIRST_VALUE
 * and LAST_VALUE that may be taken back) is part of its group's accumulators: one look-up per row, compact, all of it in memory while the group is used.
 * Small ones are encoded whole with the group. A large one (some hundred values, four kB) is cut into pages in the order in which its values came, and
 * whoever keeps the state keeps the pages beside the group: in the checkpoint of an epoch lie the page at the end, those in which a mask or a count
 * changed or a value of a list was taken back, and a head of some bytes.
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
 * most of it. What is behind a DISTINCT may have pages of its own: ARRAY_AGG(DISTINCT x) is a set and a list.
 *
 * JSON_OBJECTAGG is not paged: it has two sets, of keys and of pairs.
 *
 * Encoded, written for groups with a set in pages: version 3, or 4 where a call has pages only since then, as all that is behind a DISTINCT has.
 * Per call that may have one (and of DISTINCT, for what is behind it) one u8 (0 whole, 1 in pages), then its form or the head. */
#include "engine/agg_int.h"
#include <stdlib.h>

/* ---------------------------------------------------------------- marks */
void agg_marks_grow(agg_marks_t *m, uint32_t page) {
    uint32_t n = MAX(m->bytes * 2, page / 8 + 8);
    m->bits = xrealloc(m->bits, n);
    memset(m->bits + m->bytes, 0, n - m->bytes);
    m->bytes = n;
}

void agg_marks_clear(agg_marks_t *m) {
    if (m->bytes) memset(m->bits, 0, m->bytes);
    m->fresh = 0;
}

/* ---------------------------------------------------------------- parts */
#define INNER_SINCE 4 /* MIN(DISTINCT x) too: version 3 has what is behind the set whole, whatever it is */
static uint8_t since(const agg_slot_t *s, bool inner) { return MAX(s->impl->paging->since, inner ? INNER_SINCE : 3); }

static void add_part(agg_set_t *s, agg_slot_t *slot, uint32_t off, int number) {
    if (!slot->impl->paging) return;
    slot->pages = s->pages = true;
    s->parts[s->nparts++] = (agg_part_t){slot, off, number};
    s->paged_version = MAX(s->paged_version, since(slot, number >= s->n));
}

void agg_set_keep_pages(agg_set_t *s) {
    s->parts = ARENA_ARRAY(s->arena, agg_part_t, 2 * s->n + 1);
    s->paged_version = 3;
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slot = &s->slots[i];
        add_part(s, slot, slot->off, i);
        if (slot->inner) add_part(s, slot->inner, slot->off + slot->inner->off, s->n + i);
    }
}

bool agg_set_pageable(const agg_set_t *s) { return s->pages; }

bool agg_set_emits_pages(const agg_set_t *s) {
    for (int i = 0; i < s->nparts; i++)
        if (s->parts[i].slot->impl->paging->emits) return true;
    return false;
}

static void *part_acc(const agg_part_t *p, const void *accs) { return (uint8_t *)(uintptr_t)accs + p->off; }
static agg_pages_t look(const agg_slot_t *s, const void *acc) { return s->pages ? s->impl->paging->look(s, acc) : (agg_pages_t){0}; }
static agg_pages_t look_at(const agg_part_t *p, const void *accs) { return look(p->slot, part_acc(p, accs)); }

bool agg_set_absent(const agg_set_t *s, const void *accs) {
    for (int i = 0; i < s->nparts; i++)
        if (look_at(&s->parts[i], accs).absent) return true;
    return false;
}

bool agg_set_paged(const agg_set_t *s, const void *accs) {
    for (int i = 0; i < s->nparts; i++)
        if (look_at(&s->parts[i], accs).paged) return true;
    return false;
}

static size_t call_writes(agg_slot_t *s, void *acc, size_t *more) {
    size_t n = 0;
    if (look(s, acc).paged) *more += s->impl->paging->fresh(s, acc);
    else if (s->inner) n = vset_heap(*(vset_t **)acc);
    else if (s->impl->heap) n = s->impl->heap(s, acc);
    return s->inner ? n + call_writes(s->inner, (uint8_t *)acc + s->inner->off, more) : n;
}

size_t agg_set_writes(agg_set_t *s, void *accs, size_t *ret_more) {
    size_t n = 0;
    *ret_more = 0;
    for (int i = 0; i < s->n; i++) n += call_writes(&s->slots[i], slot_acc(&s->slots[i], accs), ret_more);
    return n;
}

/* ---------------------------------------------------------------- out */
static err_t *part_out(agg_set_t *s, const agg_part_t *part, void *acc, const agg_pages_io_t *io) {
    agg_slot_t *slot = part->slot;
    const agg_paging_t *p = slot->impl->paging;
    if (p->begin) p->begin(slot, acc);
    agg_pages_t is = p->look(slot, acc);
    if (!is.paged || is.absent) return NULL;
    for (uint32_t i = 0; i < is.pages; i++) {
        if (!p->changed(slot, acc, i)) continue;
        buf_clear(&s->page);
        p->put(slot, acc, i, &s->page);
        if (s->page.overflow) return err_new(ERR_LIMIT, "%s: values of one group are larger than %zu bytes", agg_fn_name(slot->call->fn), s->page.max);
        TRY(io->put(io->arg, part->number, i, i < is.stored, buf_slice(&s->page)));
    }
    for (uint32_t i = is.pages; i < is.stored; i++) TRY(io->drop(io->arg, part->number, i));
    p->settle(slot, acc);
    return NULL;
}

err_t *agg_set_pages_out(agg_set_t *s, void *accs, const agg_pages_io_t *io) {
    for (int i = 0; i < s->nparts; i++) TRY(part_out(s, &s->parts[i], part_acc(&s->parts[i], accs), io));
    return NULL;
}

err_t *agg_set_pages_drop(const agg_set_t *s, const void *accs, const agg_pages_io_t *io) {
    for (int i = 0; i < s->nparts; i++) {
        agg_pages_t is = look_at(&s->parts[i], accs);
        for (uint32_t k = 0; k < is.stored; k++) TRY(io->drop(io->arg, s->parts[i].number, k));
    }
    return NULL;
}

/* ---------------------------------------------------------------- in */
static err_t *part_in(const agg_part_t *part, void *acc, const agg_pages_io_t *io) {
    agg_slot_t *slot = part->slot;
    const agg_paging_t *p = slot->impl->paging;
    agg_pages_t is = p->look(slot, acc);
    if (!is.absent) return NULL;
    p->open(slot, acc);
    slice_t pages[AGG_PAGES_AT_ONCE];
    for (uint32_t i = 0; i < is.stored; i++) {
        uint32_t at = i % AGG_PAGES_AT_ONCE;
        if (at == 0) TRY(io->get(io->arg, part->number, i, MIN(is.stored - i, (uint32_t)AGG_PAGES_AT_ONCE), pages));
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
    for (int i = 0; i < s->nparts; i++) TRY(part_in(&s->parts[i], part_acc(&s->parts[i], accs), io));
    return NULL;
}

void agg_set_pages_leave(agg_set_t *s, void *accs) {
    for (int i = 0; i < s->nparts; i++) {
        agg_pages_t is = look_at(&s->parts[i], accs);
        if (!is.paged || is.absent) continue;
        ASSERT(is.stored == is.pages);
        s->parts[i].slot->impl->paging->leave(s->parts[i].slot, part_acc(&s->parts[i], accs));
    }
}

/* ---------------------------------------------------------------- the group */
/* Of DISTINCT: the set, and then what is behind it. */
static void call_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    agg_pages_t is = look(s, acc);
    for (uint32_t k = 0; is.paged && !is.absent && k < is.pages; k++) ASSERT(!s->impl->paging->changed(s, acc, k));
    if (s->pages) buf_put_u8(out, is.paged);
    if (is.paged) s->impl->paging->encode_head(s, acc, out);
    else if (s->inner) vset_encode(*(vset_t *const *)acc, out);
    else slot_encode(s, acc, out);
    if (s->inner) call_encode(s->inner, (const uint8_t *)acc + s->inner->off, out);
}

bool agg_pages_encode(const agg_set_t *s, const void *accs, buf_t *out) {
    if (!agg_set_paged(s, accs)) return false;
    buf_put_u8(out, s->paged_version);
    for (int i = 0; i < s->n; i++) call_encode(&s->slots[i], slot_acc_const(&s->slots[i], accs), out);
    return true;
}

static bool call_decode(const agg_slot_t *s, bool inner, uint8_t version, reader_t *r, void *acc) {
    uint8_t paged = s->pages && version >= since(s, inner) ? read_u8(r) : 0;
    if (r->bad || paged > 1) return false;
    bool ok = paged ? s->impl->paging->decode_head(s, r, acc) : s->inner ? vset_decode(s, r, acc) : s->impl->decode(s, r, acc);
    if (!ok || r->bad) return false;
    return !s->inner || call_decode(s->inner, true, version, r, (uint8_t *)acc + s->inner->off);
}

bool agg_pages_decode(const agg_set_t *s, uint8_t version, reader_t *r, void *accs) {
    for (int i = 0; i < s->n; i++)
        if (!call_decode(&s->slots[i], false, version, r, slot_acc(&s->slots[i], accs))) return false;
    return true;
}
