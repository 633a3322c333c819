/* frame.c: see frame.h. */
#include "worker/shuffle/frame.h"
#include "common/crash.h"
#include <lz4.h>
#include <stdlib.h>

#define HEADER_CRC_AT (FRAME_HEADER - 4)

int frame_version_min(void) { return FRAME_VERSION_MIN + version_shift(); }
int frame_version_max(void) { return FRAME_VERSION_MAX + version_shift(); }

static void put_header(buf_t *out, const frame_t *f) {
    size_t begin = out->len;
    buf_put_u32(out, FRAME_MAGIC);
    buf_put_u16(out, (uint16_t)frame_version_max());
    buf_put_u8(out, (uint8_t)f->kind);
    buf_put_u8(out, f->flags);
    buf_put_u64(out, f->job);
    buf_put_u64(out, f->attempt);
    buf_put_u32(out, f->edge);
    buf_put_u32(out, f->from);
    buf_put_u32(out, f->to);
    buf_put_u32(out, 0);
    buf_put_u64(out, f->seq);
    buf_put_u64(out, f->value);
    buf_put_u64(out, f->rows);
    buf_put_u32(out, f->length);
    buf_put_u32(out, f->raw_length);
    buf_put_u32(out, f->crc);
    if (!out->overflow) buf_put_u32(out, crc32c(0, out->data + begin, HEADER_CRC_AT));
}

/* lz4 block of payload at the end of out; false when it saves too little, out is as before then. */
static bool compress_into(buf_t *out, slice_t payload) {
    size_t at = out->len;
    int want = (int)(payload.len - payload.len / 8);
    if (!buf_reserve(out, (size_t)want)) {
        out->overflow = false; /* the raw bytes may still fit: the caller finds out */
        return false;
    }
    int n = LZ4_compress_default((const char *)payload.p, (char *)out->data + at, (int)payload.len, want);
    if (n <= 0) return false;
    out->len = at + (size_t)n;
    return true;
}

/* The header goes where its room was left: `h` knows all but the stored payload's length and checksum. */
static void finish(buf_t *out, size_t begin, frame_t h) {
    h.length = (uint32_t)(out->len - begin - FRAME_HEADER);
    if (!(h.flags & FRAME_LZ4)) h.raw_length = h.length;
    h.crc = crc32c(0, out->data + begin + FRAME_HEADER, h.length);
    size_t end = out->len;
    out->len = begin;
    put_header(out, &h);
    out->len = end;
}

static err_t *too_large(const frame_t *f, size_t n) {
    return err_new(ERR_LIMIT, "a %s frame of %zu bytes is larger than %u", frame_kind_name(f->kind), n, FRAME_PAYLOAD_MAX);
}

bool frame_begin(buf_t *out) {
    if (!buf_reserve(out, FRAME_HEADER)) return false;
    out->len += FRAME_HEADER;
    return true;
}

err_t *frame_finish(buf_t *out, size_t begin, const frame_t *f) {
    size_t n = out->len - begin - FRAME_HEADER;
    if (out->overflow || n > FRAME_PAYLOAD_MAX) return too_large(f, n);
    frame_t h = *f;
    h.flags &= (uint8_t)~FRAME_LZ4;
    finish(out, begin, h);
    return NULL;
}

err_t *frame_encode(buf_t *out, const frame_t *f, slice_t payload, bool compress, bool *ret_compressed) {
    if (payload.len > FRAME_PAYLOAD_MAX) return too_large(f, payload.len);
    frame_t h = *f;
    h.flags &= (uint8_t)~FRAME_LZ4;
    size_t begin = out->len;
    if (!buf_reserve(out, FRAME_HEADER + payload.len))
        return err_new(ERR_LIMIT, "a frame of %zu bytes does not fit its buffer", payload.len);
    out->len += FRAME_HEADER;
    bool packed = compress && payload.len >= FRAME_COMPRESS_MIN && compress_into(out, payload);
    if (packed) {
        h.flags |= FRAME_LZ4;
        h.raw_length = (uint32_t)payload.len;
    } else {
        buf_put(out, payload.p, payload.len);
    }
    finish(out, begin, h);
    if (ret_compressed) *ret_compressed = packed;
    return NULL;
}

static err_t *check_lengths(const frame_t *f) {
    bool batch = f->kind == FRAME_BATCH;
    if (!batch && (f->flags & FRAME_LZ4)) return err_new(ERR_CORRUPT, "a %s frame claims to be compressed", frame_kind_name(f->kind));
    if (!(f->flags & FRAME_LZ4) && f->length != f->raw_length)
        return err_new(ERR_CORRUPT, "a frame's two lengths differ: %u and %u", f->length, f->raw_length);
    uint32_t max = 0;
    switch (f->kind) {
    case FRAME_HELLO: max = FRAME_HELLO_MAX; break;
    case FRAME_BATCH: max = FRAME_PAYLOAD_MAX; break;
    case FRAME_BARRIER: max = 4; break;
    default: max = 0;
    }
    if (f->length > max || f->raw_length > max)
        return err_new(ERR_CORRUPT, "a %s frame of %u bytes is larger than %u", frame_kind_name(f->kind), MAX(f->length, f->raw_length), max);
    if (f->kind == FRAME_BARRIER && f->length != 4) return err_new(ERR_CORRUPT, "a BARRIER frame of %u bytes", f->length);
    return NULL;
}

err_t *frame_decode_header(const uint8_t bytes[FRAME_HEADER], frame_t *ret) {
    reader_t r = reader_of(slice_of(bytes, FRAME_HEADER));
    if (read_u32(&r) != FRAME_MAGIC) return err_new(ERR_CORRUPT, "not a Tidegate data frame");
    frame_t f = {0};
    f.version = read_u16(&r);
    f.kind = (frame_kind_t)read_u8(&r);
    f.flags = read_u8(&r);
    f.job = read_u64(&r);
    f.attempt = read_u64(&r);
    f.edge = read_u32(&r);
    f.from = read_u32(&r);
    f.to = read_u32(&r);
    read_u32(&r);
    f.seq = read_u64(&r);
    f.value = read_u64(&r);
    f.rows = read_u64(&r);
    f.length = read_u32(&r);
    f.raw_length = read_u32(&r);
    f.crc = read_u32(&r);
    if (read_u32(&r) != crc32c(0, bytes, HEADER_CRC_AT)) return err_new(ERR_CORRUPT, "a frame header's checksum is wrong");
    if (f.version < frame_version_min() || f.version > frame_version_max())
        return err_new(ERR_VERSION, "a frame of version %u, this process reads %d to %d", f.version, frame_version_min(), frame_version_max());
    if (f.kind < FRAME_HELLO || f.kind > FRAME_CREDIT) return err_new(ERR_CORRUPT, "a frame of unknown kind %d", (int)f.kind);
    TRY(check_lengths(&f));
    *ret = f;
    return NULL;
}

err_t *frame_check_payload(const frame_t *f, slice_t stored) {
    if (stored.len != f->length) return err_new(ERR_CORRUPT, "a frame's payload has %zu bytes, not %u", stored.len, f->length);
    if (crc32c(0, stored.p, stored.len) != f->crc)
        return err_new(ERR_CORRUPT, "the checksum of a %s frame of edge %u is wrong", frame_kind_name(f->kind), f->edge);
    return NULL;
}

err_t *frame_payload(const frame_t *f, slice_t stored, buf_t *scratch, slice_t *ret) {
    if (!(f->flags & FRAME_LZ4)) {
        *ret = stored;
        return NULL;
    }
    buf_clear(scratch);
    if (!buf_reserve(scratch, f->raw_length)) return err_new(ERR_LIMIT, "a frame of %u bytes does not fit", f->raw_length);
    int n = LZ4_decompress_safe((const char *)stored.p, (char *)scratch->data, (int)stored.len, (int)f->raw_length);
    if (n < 0 || (uint32_t)n != f->raw_length) return err_new(ERR_CORRUPT, "a compressed frame of edge %u does not unpack", f->edge);
    scratch->len = (size_t)n;
    *ret = buf_slice(scratch);
    return NULL;
}

const char *frame_kind_name(frame_kind_t k) {
    static const char *const names[] = {"?", "HELLO", "BATCH", "WATERMARK", "IDLE", "BARRIER", "END", "CREDIT"};
    return k >= FRAME_HELLO && k <= FRAME_CREDIT ? names[k] : "?";
}

/* ---------------------------------------------------------------- hello */
err_t *frame_hello_encode(buf_t *out, const frame_hello_t *h) {
    buf_t body = buf_make(FRAME_HELLO_MAX);
    buf_put_u16(&body, h->version_min);
    buf_put_u16(&body, h->version_max);
    buf_put_cstr(&body, h->name);
    buf_put_cstr(&body, h->to);
    err_t *e = body.overflow ? err_new(ERR_LIMIT, "the names of two workers are longer than %u bytes", FRAME_HELLO_MAX - 16) : NULL;
    frame_t f = {.kind = FRAME_HELLO};
    if (!e) e = frame_encode(out, &f, buf_slice(&body), false, NULL);
    buf_free(&body);
    return e;
}

err_t *frame_hello_decode(slice_t payload, frame_hello_t *ret) {
    reader_t r = reader_of(payload);
    frame_hello_t h = {.version_min = read_u16(&r), .version_max = read_u16(&r)};
    h.name = read_cstr(&r);
    h.to = read_cstr(&r);
    err_t *e = NULL;
    if (r.bad || reader_left(&r) || !h.name[0]) e = err_new(ERR_CORRUPT, "a malformed HELLO");
    else if (h.version_min > frame_version_max() || h.version_max < frame_version_min())
        e = err_new(ERR_VERSION, "worker '%s' speaks data frames of versions %u to %u, this one %d to %d", h.name, h.version_min,
                    h.version_max, frame_version_min(), frame_version_max());
    if (e) {
        frame_hello_free(&h);
        return e;
    }
    *ret = h;
    return NULL;
}

void frame_hello_free(frame_hello_t *h) {
    free(TAKE(h->name));
    free(TAKE(h->to));
}
