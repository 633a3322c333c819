/* buf.h: growable byte buffer with a mandatory maximum, and a bounds-checked reader.
 *
 * Integers are little-endian. A write past the maximum sets `overflow` and writes nothing more: check
 * once at the end. A read past the end sets `bad`, returns zero and stays at the end: check once. */
#pragma once
#include "common/base.h"

typedef struct buf {
    uint8_t *data;
    size_t len, cap, max;
    bool overflow;
} buf_t;

#define BUF_MAX_DEFAULT ((size_t)1 << 30)
static inline buf_t buf_make(size_t max) { return (buf_t){.max = max}; }
void buf_free(buf_t *b); /* content; the buffer may be used again */
/* Of large blocks that buf_free gives back so many bytes are kept for the next buffers, in all the process; 0 at first. Any thread. */
void buf_keep_free(size_t most);
void buf_clear(buf_t *b); /* keeps the memory */
bool buf_reserve(buf_t *b, size_t more); /* false on overflow */
/* For many small values in a row: room for all of them once, then each at p, which moves on; then buf_end. */
static inline uint8_t *buf_begin(buf_t *b, size_t most) { /* NULL on overflow */
    return LIKELY(b->cap - b->len >= most) || buf_reserve(b, most) ? b->data + b->len : NULL;
}
static inline void buf_end(buf_t *b, const uint8_t *p) { b->len = (size_t)(p - b->data); }
#define VARINT_MAX 10
static inline uint8_t *varint_at(uint8_t *p, uint64_t v) {
    for (; v >= 0x80; v >>= 7) *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}
static inline uint8_t *zigzag_at(uint8_t *p, int64_t v) { return varint_at(p, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63)); }
void buf_put(buf_t *b, const void *p, size_t n);
void buf_put_u8(buf_t *b, uint8_t v);
void buf_put_u16(buf_t *b, uint16_t v);
void buf_put_u32(buf_t *b, uint32_t v);
void buf_put_u64(buf_t *b, uint64_t v);
void buf_put_varint(buf_t *b, uint64_t v);   /* LEB128 */
void buf_put_zigzag(buf_t *b, int64_t v);    /* zigzag LEB128 */
void buf_put_bytes(buf_t *b, slice_t s);     /* varint length, bytes */
void buf_put_cstr(buf_t *b, const char *s);  /* as bytes; NULL as "" */
void buf_puts(buf_t *b, const char *s);      /* text without length */
void buf_printf(buf_t *b, const char *fmt, ...) PRINTF(2, 3);
void buf_set_u32(buf_t *b, size_t at, uint32_t v); /* patches what was reserved before */
char *buf_cstr(buf_t *b);  /* NUL-terminates (not counted in len); valid until the next write */
char *buf_take_cstr(buf_t *b); /* malloc'ed text, the buffer is empty afterwards */
static inline slice_t buf_slice(const buf_t *b) { return slice_of(b->data, b->len); }

typedef struct reader {
    const uint8_t *p, *end;
    bool bad;
} reader_t;
static inline reader_t reader_of(slice_t s) { return (reader_t){s.p, s.p + s.len, false}; }
static inline size_t reader_left(const reader_t *r) { return (size_t)(r->end - r->p); }
uint8_t read_u8(reader_t *r);
uint16_t read_u16(reader_t *r);
uint32_t read_u32(reader_t *r);
uint64_t read_u64(reader_t *r);
uint64_t read_varint(reader_t *r);
int64_t read_zigzag(reader_t *r);
slice_t read_raw(reader_t *r, size_t n);
slice_t read_bytes(reader_t *r); /* varint length, bytes */
char *read_cstr(reader_t *r);    /* malloc'ed; never NULL */
