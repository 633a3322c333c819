/* kstate_log.c: changes written down as they are made. At a seal each changed entry is met once more, anywhere in memory; where keys hardly
 * repeat within an epoch that is one miss of the cache for each change, and all of them while the barrier waits. Then kstate_changed
 * encodes the value at once: it has just been used. A key that changes again is written again (the last word holds), so the log
 * is on only while that is rare, and only for values that own nothing, in namespace 0.
 *
 * An entry of the log does not know the epoch that will seal it: it names a generation, and the epochs of the latest generations are kept. */
#include "state/kstate_int.h"
#include <stdlib.h>

#define RARE 16 /* of so many changes at most one is of an entry that was changed before in the epoch .. */
#define RARE_NOW 8 /* .. or the log stops at once, after .. */
#define TELLING 4096 /* .. so many */
#define RESERVED_MAX (64u << 20) /* bytes taken ahead for an epoch as large as the last one; one that lasted for seconds is not the measure */
#define GENERATION ((epoch_t)0x8000 << 48) /* the upper sixteen bits of a generation; no epoch and no UINT64_MAX has them */

static bool is_generation(epoch_t changed) { return changed >> 48 == GENERATION >> 48; }

epoch_t ks_changed_epoch(const kstate_t *ks, const entry_t *e) {
    if (LIKELY(!is_generation(e->changed))) return e->changed;
    uint64_t g = e->changed & ~GENERATION, now = ks->log.generation;
    if (g == now) return UINT64_MAX;
    return ks->log.ended[MAX(g, now > KS_GENERATIONS ? now - KS_GENERATIONS : 0) % KS_GENERATIONS]; /* older epochs are smaller */
}

static void account(kstate_t *ks) {
    ks_log_t *l = &ks->log;
    if (l->bytes.cap == l->accounted) return;
    ks_account(ks, (int64_t)l->bytes.cap - (int64_t)l->accounted);
    l->accounted = l->bytes.cap;
}

void ks_log_stop(kstate_t *ks) { ks->log.on = false; }

/* Before the first change of an epoch, and only then: a call may have none, where all its values are dirty. */
static void begin(ks_log_t *l) {
    ASSERT(l->bytes.len == 0);
    l->bytes.max = BUF_MAX_DEFAULT;
    buf_reserve(&l->bytes, MIN(l->last + l->last / 8, (size_t)RESERVED_MAX));
    change_header(&l->bytes);
}

static void log_changes(kstate_t *ks, void *const *values, uint32_t n) {
    ks_log_t *l = &ks->log;
    ks_ns_t *ns = ks_ns_find(ks, 0);
    put_head_t head = ks_put_head(0);
    epoch_t mark = GENERATION | l->generation;
    size_t before = l->bytes.len;
    for (uint32_t i = 0; i < n; i++) {
        entry_t *e = entry_of(values[i]);
        if (e->flags & ENTRY_DIRTY) continue; /* comes behind the log */
        if (l->puts == 0) begin(l);
        ks_emit_put(ks, e, &head, &l->bytes);
        l->again += e->changed == mark;
        l->puts++;
        e->changed = mark;
        e->flags &= (uint8_t)~ENTRY_NEW;
    }
    ks_unsealed(ks, l->bytes.len - before);
    account(ks);
    ks_ns_changed(ks, ns);
}

void kstate_changed(kstate_t *ks, void *const *values, uint32_t n) {
    if (ks->log.on && n) {
        log_changes(ks, values, n);
        if (ks->log.again * RARE_NOW > ks->log.puts && ks->log.puts >= TELLING) ks_log_stop(ks);
        return;
    }
    ks->log.marked += n;
    for (uint32_t i = 0; i < n; i++) kstate_dirty(ks, values[i]);
}

void ks_log_seal(kstate_t *ks, epoch_t epoch, uint64_t dirty, buf_t *out) {
    ks_log_t *l = &ks->log;
    if (l->puts) {
        l->last = l->bytes.len;
        if (out->len == 0 && !out->data && out->max >= l->bytes.max) {
            size_t max = out->max;
            *out = l->bytes;
            out->max = max;
            l->bytes = (buf_t){0};
        } else {
            out->overflow = out->overflow || l->bytes.overflow;
            buf_put(out, l->bytes.data, l->bytes.len);
            buf_free(&l->bytes);
        }
        account(ks);
    }
    l->ended[l->generation++ % KS_GENERATIONS] = epoch;
    uint64_t changes = l->puts + l->marked, again = l->again + (l->marked > dirty ? l->marked - dirty : 0);
    l->on = l->puts + dirty > 0 && again * RARE <= changes && !ks->codec.heap && !ks->codec.clear;
    l->puts = l->again = l->marked = 0;
}
