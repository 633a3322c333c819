/* rowcodec.c: one value as bytes. Frozen: state and key groups depend on it.
 *
 *   value  := 0x00 (NULL) | 0x01 body
 *   body   := BOOLEAN u8 | integers, DATE, TIME, TIMESTAMP*, intervals zigzag LEB128 | FLOAT u32, DOUBLE u64 bits
 *           | DECIMAL zigzag LEB128 of 128 bits | strings: LEB128 length, bytes
 *           | ARRAY: LEB128 count, values | MAP, MULTISET: LEB128 count, (key, value) pairs | ROW: its values
 *
 * Equal values have equal bytes: NaN has one form. As in Flink's binary rows 0.0 and -0.0 are different keys, and
 * maps are equal when their entries come in the same order. */
#include "engine/column_int.h"
#include "engine/decimal.h"

static uint8_t *put_f64(uint8_t *p, double v) {
    if (v != v) v = __builtin_nan("");
    memcpy(p, &v, 8); /* little-endian, as all of it */
    return p + 8;
}

static uint8_t *put_f32(uint8_t *p, float v) {
    if (v != v) v = __builtin_nanf("");
    memcpy(p, &v, 4);
    return p + 4;
}

static uint8_t *put_dec(uint8_t *p, i128 v) {
    u128 z = ((u128)v << 1) ^ (u128)(v >> 127);
    for (; z >= 0x80; z >>= 7) *p++ = (uint8_t)(z | 0x80);
    *p++ = (uint8_t)z;
    return p;
}

static bool read_dec(reader_t *r, i128 *ret) {
    u128 z = 0;
    for (int shift = 0; shift < 133; shift += 7) {
        uint8_t b = read_u8(r);
        if (r->bad || (shift == 126 && b > 3)) return false;
        z |= (u128)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = (i128)(z >> 1) ^ -(i128)(z & 1);
            return true;
        }
    }
    return false;
}

static void nested_encode(buf_t *out, const column_t *c, uint32_t i) {
    int nc = column_nchild(c->type);
    if (c->type->kind == TYPE_ROW) {
        for (int k = 0; k < nc; k++) value_encode(out, &c->child[k], i);
        return;
    }
    span_t s = c->span[i];
    buf_put_varint(out, s.len);
    for (uint32_t r = 0; r < s.len; r++)
        for (int k = 0; k < nc; k++) value_encode(out, &c->child[k], s.off + r);
}

#define SCALAR_MAX 20 /* a tag and a DECIMAL */

void value_encode(buf_t *out, const column_t *c, uint32_t i) {
    if (column_null(c, i)) {
        buf_put_u8(out, 0);
        return;
    }
    bool text = type_is_strlike(c->type) || c->type->kind == TYPE_SYMBOL;
    uint8_t *p = buf_begin(out, text ? 1 + VARINT_MAX + (size_t)c->str[i].len : SCALAR_MAX);
    if (!p) return;
    *p++ = 1;
    switch (c->type->kind) {
    case TYPE_NULL: break;
    case TYPE_BOOLEAN: *p++ = c->b[i] != 0; break;
    case TYPE_TINYINT: p = zigzag_at(p, c->i8[i]); break;
    case TYPE_SMALLINT: p = zigzag_at(p, c->i16[i]); break;
    case TYPE_INT:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_INTERVAL_MONTH: p = zigzag_at(p, c->i32[i]); break;
    case TYPE_BIGINT:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ:
    case TYPE_INTERVAL_SECOND: p = zigzag_at(p, c->i64[i]); break;
    case TYPE_FLOAT: p = put_f32(p, c->f32[i]); break;
    case TYPE_DOUBLE: p = put_f64(p, c->f64[i]); break;
    case TYPE_DECIMAL: p = put_dec(p, c->dec[i]); break;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL:
        p = varint_at(p, c->str[i].len);
        if (c->str[i].len) memcpy(p, c->str[i].p, c->str[i].len);
        p += c->str[i].len;
        break;
    default:
        buf_end(out, p);
        nested_encode(out, c, i);
        return;
    }
    buf_end(out, p);
}

void row_encode(buf_t *out, const column_t *const *cols, int n, uint32_t i) {
    for (int k = 0; k < n; k++) value_encode(out, cols[k], i);
}

static bool int_decode(reader_t *r, colbuilder_t *b, int64_t lo, int64_t hi) {
    int64_t v = read_zigzag(r);
    if (r->bad || v < lo || v > hi) return false;
    colbuilder_i64(b, v);
    return true;
}

static bool typed_decode(reader_t *r, colbuilder_t *b, const type_t *t);

static bool nested_decode(reader_t *r, colbuilder_t *b, const type_t *t) {
    int nc = column_nchild(t);
    uint64_t n = t->kind == TYPE_ROW ? 1 : read_varint(r);
    if (r->bad || n > reader_left(r) + 1) return false; /* every value takes a byte at least */
    bool ok = true;
    colbuilder_begin(b);
    for (uint64_t k = 0; k < n; k++) {
        for (int c = 0; c < nc; c++) {
            colbuilder_t *child = colbuilder_child(b, c);
            if (ok) ok = typed_decode(r, child, column_child_type(t, c));
            else colbuilder_null(child); /* keep the builder well formed */
        }
        if (!ok && t->kind != TYPE_ROW) break;
    }
    colbuilder_end(b);
    return ok;
}

/* Always appends exactly one row, so that a builder stays well formed after a failure. */
static bool typed_decode(reader_t *r, colbuilder_t *b, const type_t *t) {
    uint32_t before = colbuilder_len(b);
    uint8_t tag = read_u8(r);
    bool ok = !r->bad && tag <= 1;
    if (ok && tag == 0) {
        colbuilder_null(b);
        return true;
    }
    i128 dec = 0;
    slice_t s;
    uint32_t u32;
    uint64_t u64;
    float f;
    double d;
    if (ok) switch (t->kind) {
    case TYPE_NULL: ok = false; break;
    case TYPE_BOOLEAN: {
        uint8_t v = read_u8(r);
        ok = !r->bad && v <= 1;
        if (ok) colbuilder_i64(b, v);
        break;
    }
    case TYPE_TINYINT: ok = int_decode(r, b, INT8_MIN, INT8_MAX); break;
    case TYPE_SMALLINT: ok = int_decode(r, b, INT16_MIN, INT16_MAX); break;
    case TYPE_INT:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_INTERVAL_MONTH: ok = int_decode(r, b, INT32_MIN, INT32_MAX); break;
    case TYPE_BIGINT:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ:
    case TYPE_INTERVAL_SECOND: ok = int_decode(r, b, INT64_MIN, INT64_MAX); break;
    case TYPE_FLOAT:
        u32 = read_u32(r);
        memcpy(&f, &u32, 4);
        ok = !r->bad;
        if (ok) colbuilder_f64(b, f);
        break;
    case TYPE_DOUBLE:
        u64 = read_u64(r);
        memcpy(&d, &u64, 8);
        ok = !r->bad;
        if (ok) colbuilder_f64(b, d);
        break;
    case TYPE_DECIMAL:
        ok = read_dec(r, &dec) && decimal_fits(dec, t->precision);
        if (ok) colbuilder_dec(b, dec);
        break;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL:
        s = read_bytes(r);
        ok = !r->bad;
        if (ok) colbuilder_str(b, (const char *)s.p, s.len);
        break;
    default: ok = nested_decode(r, b, t);
    }
    if (colbuilder_len(b) == before) colbuilder_null(b);
    return ok;
}

bool value_decode(reader_t *r, colbuilder_t *b) { return typed_decode(r, b, colbuilder_type(b)) && !r->bad; }
