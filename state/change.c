/* change.c: the kstate change format, byte for byte in docs/formats.md. */
#include "state/changelog.h"

#define KEY_GROUPS 1024

void change_header(buf_t *out) { buf_put_u8(out, CHANGE_VERSION); }

void change_put(buf_t *out, int64_t ns, slice_t key, slice_t value) {
    buf_put_u8(out, CHANGE_PUT);
    buf_put_zigzag(out, ns);
    buf_put_bytes(out, key);
    buf_put_bytes(out, value);
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

bool change_begin(reader_t *r) { return read_u8(r) == CHANGE_VERSION && !r->bad; }

bool change_next(reader_t *r, change_t *ret) {
    if (r->bad || reader_left(r) == 0) return false;
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
