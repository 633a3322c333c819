/* change.c: the kstate change format, byte for byte in docs/formats.md. */
#include "state/changelog.h"

/* One that no map wrote is only found nowhere. */
uint64_t state_map_hash(slice_t key) {
    uint64_t groups = KEY_GROUPS - 1, hash = hash_bytes(key.p, key.len);
    reader_t r = reader_of(key);
    slice_t owner = read_bytes(&r);
    return r.bad ? hash : (hash & ~groups) | (hash_bytes(owner.p, owner.len) & groups);
}

void state_map_key(buf_t *out, slice_t owner, slice_t name) {
    buf_put_bytes(out, owner);
    buf_put(out, name.p, name.len);
}

void change_header(buf_t *out) { buf_put_u8(out, 1); }

void change_header_parts(buf_t *out, const change_index_t *x) {
    buf_put_u8(out, CHANGE_VERSION);
    buf_put_u8(out, (uint8_t)x->n);
    for (int i = 0; i < x->n; i++) {
        buf_put_u8(out, (uint8_t)x->part[i].part);
        buf_put_u32(out, x->part[i].len);
        buf_put_u32(out, x->part[i].crc);
    }
}

void change_put(buf_t *out, int64_t ns, slice_t key, slice_t value) {
    uint8_t *p = buf_begin(out, 1 + 3 * VARINT_MAX + key.len + value.len);
    if (!p) return;
    *p++ = CHANGE_PUT;
    p = varint_at(zigzag_at(p, ns), key.len);
    if (key.len) memcpy(p, key.p, key.len);
    p = varint_at(p + key.len, value.len);
    if (value.len) memcpy(p, value.p, value.len);
    buf_end(out, p + value.len);
}

void change_del(buf_t *out, int64_t ns, slice_t key) {
    buf_put_u8(out, CHANGE_DEL);
    buf_put_zigzag(out, ns);
    buf_put_bytes(out, key);
}

void change_drop_range(buf_t *out, int64_t ns, int kg_lo, int kg_hi) {
    buf_put_u8(out, CHANGE_DROP);
    buf_put_zigzag(out, ns);
    buf_put_u16(out, (uint16_t)kg_lo);
    buf_put_u16(out, (uint16_t)kg_hi);
}

void change_drop(buf_t *out, int64_t ns) { change_drop_range(out, ns, 0, KEY_GROUPS); }

bool change_begin_parts(reader_t *r, change_index_t *ret) {
    uint8_t version = read_u8(r);
    ret->n = 0;
    if (r->bad || version < 1 || version > CHANGE_VERSION) return false;
    if (version == 1) return true;
    int n = read_u8(r), last = -1;
    uint64_t sum = 0;
    if (n > CHANGE_PARTS) r->bad = true;
    for (int i = 0; i < n && !r->bad; i++) {
        change_part_t *p = &ret->part[i];
        p->part = read_u8(r);
        p->len = read_u32(r);
        p->crc = read_u32(r);
        sum += p->len;
        if (p->part <= last || p->part >= CHANGE_PARTS) r->bad = true;
        last = p->part;
    }
    if (sum > reader_left(r)) r->bad = true;
    if (r->bad) return false;
    ret->n = n;
    return true;
}

bool change_begin(reader_t *r) {
    change_index_t x;
    return change_begin_parts(r, &x);
}

err_t *change_open_parts(slice_t changes, reader_t *ret, change_index_t *x) {
    *ret = reader_of(changes);
    if (change_begin_parts(ret, x)) return NULL;
    if (!changes.len) return err_new(ERR_CORRUPT, "sealed state without a header");
    int version = changes.p[0];
    if (version >= 1 && version <= CHANGE_VERSION) return err_new(ERR_CORRUPT, "sealed state: the index of its parts is malformed");
    return err_new(ERR_VERSION, "sealed state of version %d: this build reads versions up to %d", version, CHANGE_VERSION);
}

err_t *change_open(slice_t changes, reader_t *ret) {
    change_index_t x;
    return change_open_parts(changes, ret, &x);
}

/* The commonest, a PUT whose namespace and lengths are a byte each, and whole; false: it is another, or the end. */
static inline bool short_put(reader_t *r, change_t *ret) {
    const uint8_t *p = r->p;
    size_t left = reader_left(r);
    if (left < 4 || p[0] != CHANGE_PUT || ((p[1] | p[2]) & 0x80) || left < 4u + p[2]) return false;
    size_t key = p[2], value = p[3 + key];
    if (value >= 0x80 || left < 4 + key + value) return false;
    int64_t ns = (int64_t)(p[1] >> 1) ^ -(int64_t)(p[1] & 1);
    *ret = (change_t){.kind = CHANGE_PUT, .ns = ns, .key = slice_of(p + 3, key), .value = slice_of(p + 4 + key, value)};
    r->p = p + 4 + key + value;
    return true;
}

bool change_next(reader_t *r, change_t *ret) {
    if (r->bad || reader_left(r) == 0) return false;
    if (LIKELY(short_put(r, ret))) return true;
    change_t c = {.kind = read_u8(r)};
    c.ns = read_zigzag(r);
    switch (c.kind) {
    case CHANGE_PUT:
        c.key = read_bytes(r);
        c.value = read_bytes(r);
        break;
    case CHANGE_DEL: c.key = read_bytes(r); break;
    case CHANGE_DROP:
        c.kg_lo = read_u16(r);
        c.kg_hi = read_u16(r);
        if (c.kg_lo > c.kg_hi || c.kg_hi > KEY_GROUPS) r->bad = true;
        break;
    default: r->bad = true;
    }
    if (r->bad) return false;
    *ret = c;
    return true;
}
