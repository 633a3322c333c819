/* kstate_log.c: changes of namespace 0, by key group, so that who brings many epochs into the base can take them a part of the groups at a time
 * (state/parts.h), and written down as they are made. At a seal each changed entry is met once more, anywhere in memory; where keys seldom
 * repeat within an epoch that is one miss of the cache for nearly each change, and all of them while the barrier waits. Then kstate_changed
 * encodes the value at once: it has just been used. A key that changes again is written over what it left, where that is as long, else
 * behind it (the last word holds); that costs a miss, too (asked for when the key was
 * looked up), so the log is on only while keys mostly do not repeat, and only for values that
 * own nothing, in namespace 0.
 *
 * An entry of the log does not know the epoch that will seal it: it names a generation, and the epochs of the latest generations are kept. */
#include "state/kstate_int.h"
#include <stdlib.h>

#define TELLING 4096 /* changes from which on it can be said how often keys repeat */
#define INDEXED ((size_t)16 << 10) /* bytes from which on a seal has an index of its parts */
#define KEPT_ALWAYS ((size_t)64 << 10)
#define PART_AHEAD 64 /* bytes, asked for behind the end of a part: there are more parts than the processor sees the ends of grow by itself */

static bool is_generation(epoch_t changed) { return changed & KS_GENERATION; }

epoch_t ks_changed_epoch(const kstate_t *ks, const entry_t *e) {
    if (LIKELY(!is_generation(e->changed))) return UNLIKELY(e->changed == KS_NEVER) ? UINT64_MAX : e->changed;
    uint64_t g = e->changed & ~KS_GENERATION, now = ks->log.generation;
    if (g == now) return UINT64_MAX;
    return ks->log.ended[MAX(g, now > KS_GENERATIONS ? now - KS_GENERATIONS : 0) % KS_GENERATIONS]; /* older epochs are smaller */
}

static void account(kstate_t *ks) {
    ks_log_t *l = &ks->log;
    size_t cap = 0;
    for (int i = 0; l->parts && i < CHANGE_PARTS; i++) cap += l->parts[i].cap;
    if (cap == l->accounted) return;
    ks_account(ks, (int64_t)cap - (int64_t)l->accounted);
    l->accounted = cap;
}

void ks_log_stop(kstate_t *ks) { ks->log.on = false; }

void ks_log_begin(kstate_t *ks) {
    ks_log_t *l = &ks->log;
    if (LIKELY(l->parts)) return;
    l->parts = xcalloc(CHANGE_PARTS, sizeof *l->parts);
    for (int i = 0; i < CHANGE_PARTS; i++) l->parts[i].max = BUF_MAX_DEFAULT;
}

void ks_log_free(kstate_t *ks) {
    for (int i = 0; ks->log.parts && i < CHANGE_PARTS; i++) buf_free(&ks->log.parts[i]);
    free(TAKE(ks->log.parts));
    account(ks);
}

/* Of the changes in an epoch up to half may be of entries that were changed before in it; .. */
static bool seldom(uint64_t again, uint64_t changes) { return again * 2 <= changes; }
/* .. from here on the log stops at once. */
static bool too_often(uint64_t again, uint64_t changes) { return again * 3 > changes * 2; }

/* The record at the end of the part is of a key that has one in it already, at `at`. Both have the same bytes up to the length of the value. */
static void write_over(const kstate_t *ks, const entry_t *e, size_t at, size_t from, const put_head_t *head, buf_t *part) {
    size_t len = part->len - from, key = entry_key(ks, e).len, value = head->len + 1 + key; /* where the length of the value is */
    if (part->overflow || key >= 0x80 || len <= value || part->data[from + value] >= 0x80 || part->data[at + value] != part->data[from + value]) return;
    memcpy(part->data + at, part->data + from, len);
    part->len = from;
}

static void log_changes(kstate_t *ks, void *const *values, uint32_t n) {
    ks_log_t *l = &ks->log;
    ks_ns_t *ns = ks_ns_find(ks, 0);
    put_head_t head = ks_put_head(0);
    epoch_t mark = KS_GENERATION | l->generation;
    size_t bytes = 0;
    ks_log_begin(ks);
    for (uint32_t i = 0; i < n; i++) {
        entry_t *e = entry_of(values[i]);
        if (e->flags & ENTRY_DIRTY) continue; /* comes behind the log */
        buf_t *out = ks_log_part(ks, e->hash);
        size_t before = out->len;
        ks_emit_put(ks, e, &head, out);
        l->puts++;
        if (e->changed == mark) {
            l->again++;
            write_over(ks, e, e->dirty_at, before, &head, out);
        }
        if (out->len > before) e->dirty_at = (uint32_t)before;
        bytes += out->len - before;
        __builtin_prefetch(out->data + out->len + PART_AHEAD, 1);
        e->changed = mark;
        e->flags &= (uint8_t)~ENTRY_NEW;
    }
    ks_unsealed(ks, bytes);
    account(ks);
    ks_ns_changed(ks, ns);
}

void kstate_changed(kstate_t *ks, void *const *values, uint32_t n) {
    if (ks->log.on && n) {
        log_changes(ks, values, n);
        if (ks->log.puts >= TELLING && too_often(ks->log.again, ks->log.puts)) ks_log_stop(ks);
        return;
    }
    ks->log.marked += n;
    for (uint32_t i = 0; i < n; i++) kstate_dirty(ks, values[i]);
}

/* One behind the other, each checksummed while the copy is in the cache: then its index is whole. The buffers are kept where the next epoch will need
 * as much again: fresh memory costs more than filling it. */
static void put_parts(kstate_t *ks, size_t bytes, buf_t *out) {
    ks_log_t *l = &ks->log;
    bool indexed = bytes >= INDEXED;
    change_index_t x = {0};
    for (int i = 0; i < CHANGE_PARTS; i++) {
        const buf_t *p = &l->parts[i];
        out->overflow = out->overflow || p->overflow;
        if (p->len) x.part[x.n++] = (change_part_t){.part = i, .len = (uint32_t)p->len};
    }
    buf_reserve(out, MIN(bytes + 1024, out->max - MIN(out->len, out->max)));
    size_t begin = out->len;
    if (indexed) change_header_parts(out, &x);
    else change_header(out);
    for (int i = 0; i < x.n; i++) {
        size_t from = out->len;
        buf_put(out, l->parts[x.part[i].part].data, x.part[i].len);
        if (indexed) x.part[i].crc = crc32c(0, out->data + from, out->len - from);
    }
    size_t end = out->len;
    out->len = begin;
    if (indexed) change_header_parts(out, &x); /* again, with the checksums */
    out->len = end;
    bool keep = l->accounted <= 4 * bytes + KEPT_ALWAYS;
    for (int i = 0; keep && i < CHANGE_PARTS; i++) buf_clear(&l->parts[i]);
    if (!keep) ks_log_free(ks);
}

bool ks_log_seal(kstate_t *ks, epoch_t epoch, uint64_t dirty, buf_t *out) {
    ks_log_t *l = &ks->log;
    size_t bytes = 0;
    for (int i = 0; l->parts && i < CHANGE_PARTS; i++) bytes += l->parts[i].len;
    account(ks);
    if (bytes) put_parts(ks, bytes, out);
    else ks_log_free(ks);
    l->ended[l->generation++ % KS_GENERATIONS] = epoch;
    uint64_t changes = l->puts + l->marked, again = l->again + (l->marked > dirty ? l->marked - dirty : 0);
    l->on = l->puts + dirty > 0 && seldom(again, changes) && !ks->codec.heap && !ks->codec.clear;
    l->puts = l->again = l->marked = 0;
    return bytes > 0;
}
