/* segment.c: bytes of a lane's segment and of its ledger record (engine/lane.h). */
#include "engine/lane.h"
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_MAGIC 0x4753474cu /* "LGSG" */
#define SEGMENT_VERSION 1
#define SEGMENT_VERSION_HEADERS 2 /* some records have headers */
#define HAS_HEADERS (UINT64_C(1) << 32)
#define HEADER 20 /* magic u32, version u16, flags u16, rows u64, crc u32 */

void segment_begin(buf_t *out) {
    buf_put_u32(out, SEGMENT_MAGIC);
    buf_put_u16(out, SEGMENT_VERSION);
    buf_put_u16(out, 0);
    buf_put_u64(out, 0);
    buf_put_u32(out, 0);
}

static void put_optional(buf_t *out, bool has, slice_t s) {
    buf_put_varint(out, has ? s.len + 1 : 0);
    if (has) buf_put(out, s.p, s.len);
}

void segment_add(buf_t *out, const lane_record_t *r) {
    buf_put_varint(out, (uint64_t)(r->partition + 1) | (r->headers.len ? HAS_HEADERS : 0));
    buf_put_zigzag(out, r->timestamp_ms);
    put_optional(out, r->has_key, r->key);
    put_optional(out, r->has_value, r->value);
    if (r->headers.len) put_optional(out, true, r->headers);
}

void segment_has_headers(buf_t *out, size_t begin) {
    if (!out->overflow) out->data[begin + 4] = SEGMENT_VERSION_HEADERS;
}

void segment_finish(buf_t *out, size_t begin, uint64_t rows) {
    if (out->overflow) return;
    ASSERT(out->len >= begin + HEADER);
    memcpy(out->data + begin + 8, &rows, 8);
    uint32_t crc = crc32c(0, out->data + begin + HEADER, out->len - begin - HEADER);
    buf_set_u32(out, begin + 16, crc32c(crc, out->data + begin, 16)); /* the header too */
}

err_t *segment_open(slice_t bytes, reader_t *ret_records, uint64_t *ret_rows, uint32_t *ret_crc) {
    reader_t r = reader_of(bytes);
    uint32_t magic = read_u32(&r);
    uint16_t version = read_u16(&r);
    read_u16(&r);
    uint64_t rows = read_u64(&r);
    uint32_t crc = read_u32(&r);
    if (r.bad || magic != SEGMENT_MAGIC) return err_new(ERR_CORRUPT, "output segment: bad header");
    if (version < SEGMENT_VERSION || version > SEGMENT_VERSION_HEADERS)
        return err_new(ERR_VERSION, "output segment of version %u, this build reads %d to %d", version, SEGMENT_VERSION, SEGMENT_VERSION_HEADERS);
    if (crc != crc32c(crc32c(0, r.p, reader_left(&r)), bytes.p, 16)) return err_new(ERR_CORRUPT, "output segment: checksum mismatch");
    *ret_records = r;
    *ret_rows = rows;
    *ret_crc = crc;
    return NULL;
}

static bool read_optional(reader_t *r, slice_t *ret) {
    uint64_t n = read_varint(r);
    *ret = slice_of(NULL, 0);
    if (!n) return false;
    if (n - 1 > reader_left(r)) {
        r->bad = true;
        return false;
    }
    *ret = read_raw(r, (size_t)(n - 1));
    return true;
}

bool segment_next(reader_t *r, lane_record_t *ret) {
    if (r->bad || !reader_left(r)) return false;
    uint64_t partition = read_varint(r);
    bool headers = partition & HAS_HEADERS;
    partition &= ~HAS_HEADERS;
    if (partition > INT32_MAX) r->bad = true;
    ret->partition = (int32_t)partition - 1;
    ret->timestamp_ms = read_zigzag(r);
    ret->has_key = read_optional(r, &ret->key);
    ret->has_value = read_optional(r, &ret->value);
    ret->headers = slice_of(NULL, 0);
    if (headers) read_optional(r, &ret->headers);
    return !r->bad;
}

/* "3 INCARNATION EPOCH PART ROW DONE SEGMENT ROOT CRC": text, so that any Kafka tool shows it. Version 2 has no ROOT and is written where that is the
 * incarnation itself; version 1 has no SEGMENT either. */
void ledger_encode(buf_t *out, const ledger_pos_t *p) {
    char text[128];
    bool rooted = p->root && p->root != p->incarnation;
    int n = snprintf(text, sizeof text, "%d %016" PRIx64 " %" PRIu64 " %u %" PRIu64 " %d %08x", rooted ? 3 : 2, p->incarnation, p->epoch, p->part,
                     p->next_row, p->epoch_done, p->segment);
    if (rooted) n += snprintf(text + n, sizeof text - (size_t)n, " %016" PRIx64, p->root);
    buf_put(out, text, (size_t)n);
    buf_printf(out, " %08x", crc32c(0, text, (size_t)n));
}

err_t *ledger_decode(slice_t bytes, ledger_pos_t *ret) {
    char text[160];
    if (bytes.len >= sizeof text) return err_new(ERR_CORRUPT, "ledger record of %zu bytes", bytes.len);
    memcpy(text, bytes.p, bytes.len);
    text[bytes.len] = 0;
    int version = 0, done = 0, used = 0, end = 0;
    unsigned part = 0, segment = 0, crc = 0;
    ledger_pos_t p = {.present = true};
    if (sscanf(text, "%d %" SCNx64 " %" SCNu64 " %u %" SCNu64 " %d%n", &version, &p.incarnation, &p.epoch, &part, &p.next_row, &done, &used) != 6)
        return err_new(ERR_CORRUPT, "ledger record '%.80s' is not readable", text);
    if (version < 1 || version > 3) return err_new(ERR_VERSION, "ledger record of version %d, this build reads 1 to 3", version);
    if (version >= 2 && (sscanf(text + used, " %8x%n", &segment, &end) != 1)) return err_new(ERR_CORRUPT, "ledger record '%.80s' has no segment", text);
    used += end;
    p.root = p.incarnation;
    if (version == 3 && (sscanf(text + used, " %16" SCNx64 "%n", &p.root, &end) != 1)) return err_new(ERR_CORRUPT, "ledger record '%.80s' has no root", text);
    if (version == 3) used += end;
    if (sscanf(text + used, " %8x%n", &crc, &end) != 1 || text[used + end]) return err_new(ERR_CORRUPT, "ledger record '%.80s' has no checksum", text);
    if (crc != crc32c(0, text, (size_t)used)) return err_new(ERR_CORRUPT, "ledger record '%.80s': checksum mismatch", text);
    p.part = part;
    p.segment = segment;
    p.epoch_done = done != 0;
    *ret = p;
    return NULL;
}
