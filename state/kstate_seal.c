/* kstate_seal.c: changes out (seal) and in (apply). The order of a seal is that of the calls that made the changes:
 * namespaces by their first change, entries by theirs; never an address, never a hash table's order. Many of namespace 0 come first, by
 * key group, and within a part in that order (kstate_log.c). */
#include "state/kstate_int.h"
#include <stdlib.h>

#define SEAL_PREFETCH 12
#define MANY 16384u /* or any, where some were logged */


put_head_t ks_put_head(int64_t ns) {
    put_head_t h = {{CHANGE_PUT}, 1};
    uint64_t z = (uint64_t)ns << 1 ^ (uint64_t)(ns >> 63);
    for (; z >= 0x80; z >>= 7) h.bytes[h.len++] = (uint8_t)(z | 0x80);
    h.bytes[h.len++] = (uint8_t)z;
    return h;
}

void ks_emit_any(kstate_t *ks, const entry_t *e, const put_head_t *head, buf_t *out) {
    slice_t key = entry_key(ks, e);
    uint8_t *p = buf_begin(out, sizeof head->bytes + VARINT_MAX + key.len + 1);
    if (!p) return;
    memcpy(p, head->bytes, sizeof head->bytes);
    p = varint_at(p + head->len, key.len);
    memcpy(p, key.p, key.len);
    p += key.len;
    /* most values are below 128 bytes: encode in place behind a one-byte length, else make room for a longer one */
    size_t at = (size_t)(p - out->data);
    *p = 0;
    buf_end(out, p + 1);
    ks->codec.encode(ks->codec.ctx, entry_value(e), out);
    size_t len = out->len - at - 1;
    if (out->overflow) return;
    if (LIKELY(len < 128)) {
        out->data[at] = (uint8_t)len;
        return;
    }
    size_t more = 0; /* bytes of the length beyond the one there is */
    for (size_t left = len; left >= 128; left >>= 7) more++;
    if (!buf_reserve(out, more)) return;
    memmove(out->data + at + 1 + more, out->data + at + 1, len);
    out->len = at;
    buf_put_varint(out, len);
    out->len += len;
}

/* A DEL that was written: remembered while a miss could find the old value in the base. */
static void deleted(kstate_t *ks, entry_t *e, epoch_t epoch) {
    ks_ns_t *n = entry_ns(ks, e);
    if (n->keep_dead) {
        entry_changed_set(e, epoch);
        return;
    }
    n->forgotten = MAX(n->forgotten, epoch);
    ks_remove(ks, e);
}

static void seal_entry(kstate_t *ks, entry_t *e, epoch_t epoch, const put_head_t *head, buf_t *out) {
    bool fresh = e->flags & ENTRY_NEW;
    e->flags &= (uint8_t) ~(ENTRY_DIRTY | ENTRY_NEW | ENTRY_TOUCHED);
    if (e->flags & ENTRY_DEAD) {
        if (fresh) {
            ks_remove(ks, e);
            return;
        }
        change_del(out, entry_ns(ks, e)->ns, entry_key(ks, e));
        deleted(ks, e, epoch);
        return;
    }
    ks_emit_put(ks, e, head, out);
    entry_changed_set(e, epoch);
    ks_heap_update(ks, e);
}

/* out NULL: each into the part of its key group. */
static void seal_entries(kstate_t *ks, ks_ns_t *n, epoch_t epoch, buf_t *out) {
    put_head_t head = ks_put_head(n->ns);
    for (size_t i = 0; i < n->ndirty; i++) {
        if (i + SEAL_PREFETCH < n->ndirty) entry_ask(n, n->dirty[i + SEAL_PREFETCH]); /* changed in any order, all over memory */
        seal_entry(ks, n->dirty[i], epoch, &head, out ? out : ks_log_part(ks, n->dirty[i]->hash));
    }
}

/* `before`: entries that went into the parts. */
static void seal_ns(kstate_t *ks, ks_ns_t *n, epoch_t epoch, size_t before, buf_t *out) {
    if (n->drop_pending) change_drop_range(out, n->ns, ks->kg_lo, ks->kg_hi);
    n->drop_pending = n->listed = n->scanning = false;
    seal_entries(ks, n, epoch, out);
    if (n->dirty_cap > 64 && (n->ndirty + before) * 4 < n->dirty_cap) {
        size_t cap = n->dirty_cap / 2;
        n->dirty = xrealloc(n->dirty, cap * sizeof *n->dirty);
        ks_account(ks, -(int64_t)((n->dirty_cap - cap) * sizeof *n->dirty));
        n->dirty_cap = cap;
    }
    n->ndirty = 0;
    ks_ns_release(ks, n);
}

/* Many changes of namespace 0 go by key group; not large ones, of which there are two copies meanwhile. A drop lies between what was logged and
 * what is marked: then these come behind it. Returns their number. */
static size_t seal_into_parts(kstate_t *ks, epoch_t epoch) {
    ks_ns_t *n = ks_ns_find(ks, 0);
    if (!n || n->ndirty < (ks->log.puts ? 1 : MANY) || n->drop_pending || ks->codec.heap) return 0;
    size_t count = n->ndirty;
    ks_log_begin(ks);
    seal_entries(ks, n, epoch, NULL);
    n->ndirty = 0;
    return count;
}

void kstate_seal(kstate_t *ks, epoch_t epoch, buf_t *out) {
    ASSERT(epoch < KS_NEVER && ks->log.generation < KS_GENERATION);
    size_t most = (size_t)ks->unsealed;
    ks->unsealed = 0;
    ks_report(ks);
    if (ks->nchanged == 0) return;
    size_t begin = out->len, dirty = 0;
    for (size_t i = 0; i < ks->nchanged; i++) dirty += ks->changed[i]->ndirty;
    size_t parted = seal_into_parts(ks, epoch);
    ks_near_sealed(ks, epoch);
    bool logged = ks_log_seal(ks, epoch, dirty, out);
    if (!logged) change_header(out);
    size_t changes = dirty - parted; /* still to come */
    size_t empty = logged ? begin : out->len, marked = out->len;
    for (size_t i = 0; i < ks->ntouched; i++) ks->touched[i]->ntouched = 0; /* the seal measures all */
    ks->ntouched = 0;
    /* At once: growing by doubling copies it, and holds it twice. As many bytes a change as last time, but no more than these entries and what
     * they own: after one large value the small ones that follow are not taken for large. */
    size_t room = MIN(MIN(changes * ks->sealed_each, most), out->max - MIN(out->len, out->max));
    buf_reserve(out, room);
    for (size_t i = 0; i < ks->nchanged; i++) seal_ns(ks, ks->changed[i], epoch, ks->changed[i]->ns == 0 ? parted : 0, out);
    ks->nchanged = 0;
    if (changes) ks->sealed_each = (uint32_t)MIN((out->len - marked) * 9 / 8 / changes + 1, (size_t)1 << 20);
    kstate_env_dirty(ks->env, -1);
    kstate_env_sealed(ks->env, epoch);
    if (out->len == empty && !out->overflow) out->len = begin; /* made and unmade within the epoch */
    ks_report(ks);
}

/* ---------------------------------------------------------------- apply */
static err_t *apply_put(kstate_t *ks, const change_t *c, uint64_t hash, epoch_t epoch) {
    TRY(ks_ns_legal(ks, c->ns));
    ks_ns_t *n = ks_ns_make(ks, c->ns);
    entry_t *e = ks_ns_lookup(n, hash, c->key);
    if (!e && n->evicted) TRY(ks_load_one(ks, n, hash, c->key, &e)); /* keeps the count of evicted ones exact */
    if (!e) {
        e = ks_create(ks, n, hash, c->key);
    } else {
        if (!(e->flags & ENTRY_DEAD)) ks_kill(ks, e); /* an empty value to decode into */
        ks_revive(ks, e);
    }
    entry_changed_set(e, epoch);
    if (!ks->codec.decode(ks->codec.ctx, c->value, entry_value(e)))
        return err_new(ERR_CORRUPT, "sealed state: a value of %zu bytes cannot be decoded", c->value.len);
    ks_heap_update(ks, e);
    return NULL;
}

static void apply_kill(kstate_t *ks, entry_t *e, epoch_t epoch) {
    if (e->flags & ENTRY_DEAD) return;
    ks_kill(ks, e);
    if (!(e->flags & ENTRY_DIRTY)) deleted(ks, e, epoch);
}

static err_t *apply_del(kstate_t *ks, const change_t *c, uint64_t hash, epoch_t epoch) {
    ks_ns_t *n = ks_ns_find(ks, c->ns);
    if (!n) return NULL;
    entry_t *e = ks_ns_lookup(n, hash, c->key);
    if (!e && n->evicted) TRY(ks_load_one(ks, n, hash, c->key, &e));
    if (e) apply_kill(ks, e, epoch);
    ks_ns_release(ks, n);
    return NULL;
}

/* Each one is remembered as deleted: a miss might find it in the base as long as others of the namespace are evicted. */
static err_t *drop_evicted(kstate_t *ks, const change_t *c, epoch_t epoch) {
    kstate_scan_t s = {.ns = c->ns, .kg_lo = MAX(c->kg_lo, ks->kg_lo), .kg_hi = MIN(c->kg_hi, ks->kg_hi), .weak = true};
    void *values[256];
    for (uint32_t n = 1; n;) {
        TRY(kstate_scan(ks, &s, values, ARRAY_LEN(values), &n));
        for (uint32_t i = 0; i < n; i++) {
            entry_t *e = entry_of(values[i]);
            if (e->flags & ENTRY_LOOSE) ks_adopt(ks, e);
            apply_kill(ks, e, epoch);
        }
    }
    return NULL;
}

/* A DROP speaks for the key groups of the task that wrote it: after a rescale they may be a part of ours. */
static err_t *apply_drop(kstate_t *ks, const change_t *c, epoch_t epoch) {
    ks_ns_t *n = ks_ns_find(ks, c->ns);
    if (!n || c->kg_lo >= ks->kg_hi || c->kg_hi <= ks->kg_lo) return NULL;
    if (c->kg_lo <= ks->kg_lo && c->kg_hi >= ks->kg_hi) {
        bool sealed;
        ks_ns_clear(ks, n, &sealed);
        ks_ns_release(ks, n);
        return NULL;
    }
    size_t count = 0;
    entry_t **list = xmalloc((n->used + 1) * sizeof *list);
    for (uint64_t i = 0; i < n->cap; i++) {
        entry_t *e = slot_entry(n->slots[i]);
        int kg = e ? hash_key_group(e->hash) : -1;
        if (kg >= c->kg_lo && kg < c->kg_hi) list[count++] = e;
    }
    bool evicted = n->evicted > 0;
    for (size_t i = 0; i < count; i++) apply_kill(ks, list[i], epoch);
    free(list);
    if (evicted) TRY(drop_evicted(ks, c, epoch));
    ks_ns_release(ks, n);
    return NULL;
}

err_t *kstate_apply(kstate_t *ks, slice_t sealed) {
    if (sealed.len == 0) return NULL;
    epoch_t epoch = kstate_env_restoring(ks->env);
    reader_t r;
    TRY(change_open(sealed, &r));
    err_t *e = NULL;
    change_t c;
    while (!e && change_next(&r, &c)) {
        if (c.kind == CHANGE_DROP) {
            e = apply_drop(ks, &c, epoch);
            continue;
        }
        uint64_t hash = state_hash(ks->slot, c.key);
        int kg = hash_key_group(hash);
        if (kg < ks->kg_lo || kg >= ks->kg_hi) continue;
        e = c.kind == CHANGE_PUT ? apply_put(ks, &c, hash, epoch) : apply_del(ks, &c, hash, epoch);
    }
    if (!e && r.bad)
        e = err_new(ERR_CORRUPT, "sealed state: malformed change at byte %zu of %zu", (size_t)(r.p - sealed.p), sealed.len);
    ks_report(ks);
    return e;
}
