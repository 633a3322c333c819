/* frame.h: what travels on a data connection, as bytes. Pure.
 *
 *   frame  = header (80 bytes, little-endian), payload
 *   header = magic "TGFR" u32 | version u16 | kind u8 | flags u8 | job u64 | attempt u64 | edge u32 | from subtask u32 | to subtask u32 | 0 u32
 *            | sequence u64 | value u64 | rows u64 | payload length u32 | raw length u32 | crc32c of the payload u32
 *            | crc32c of all header bytes before it u32
 *   value  = WATERMARK: ms; BARRIER: epoch; CREDIT: bytes; else 0.   rows = BARRIER: rows sent since the last barrier.
 *   payload: BATCH: batch_encode's bytes, lz4 block when FRAME_LZ4;  HELLO: see frame_hello_*;  BARRIER: flags u32;  else empty
 *
 * Every length is checked before anything is allocated for it. The sequence counts the frames of one channel from 1; CREDIT and HELLO
 * carry 0. Everything carries job and attempt: the reader fences before it looks further. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

#define FRAME_MAGIC 0x52464754u /* "TGFR" */
#define FRAME_VERSION_MIN 1
#define FRAME_VERSION_MAX 1
int frame_version_min(void); /* with version_shift */
int frame_version_max(void);
#define FRAME_HEADER 80
#define FRAME_PAYLOAD_MAX (64u << 20)
#define FRAME_HELLO_MAX 1024u
#define FRAME_LZ4 1u
#define FRAME_COMPRESS_MIN 1024u /* smaller payloads are never worth it */

typedef enum frame_kind {
    FRAME_HELLO = 1, FRAME_BATCH, FRAME_WATERMARK, FRAME_IDLE, FRAME_BARRIER, FRAME_END, FRAME_CREDIT
} frame_kind_t;

typedef struct frame {
    frame_kind_t kind;
    uint8_t flags;
    uint16_t version;
    uint64_t job, attempt;
    uint32_t edge, from, to;
    uint64_t seq, value, rows;
    uint32_t length, raw_length; /* of the payload as stored, and before compression */
    uint32_t crc;                /* of the stored payload */
} frame_t;

/* Appends header and payload; length, raw_length, crc and version are filled in. compress: try lz4, keep it when it saves an eighth. */
err_t *frame_encode(buf_t *out, const frame_t *f, slice_t payload, bool compress, bool *ret_compressed);
/* The same without a copy, for a payload that is made in place and not compressed: room for the header, then the caller appends the payload, then
 * the header. `begin`: out->len before frame_begin. ERR_LIMIT: too large; out is to be cleared. */
bool frame_begin(buf_t *out); /* false: overflow */
err_t *frame_finish(buf_t *out, size_t begin, const frame_t *f);
/* Checks magic, header checksum, version, kind, and the bounds of the lengths. ERR_CORRUPT, ERR_VERSION. */
err_t *frame_decode_header(const uint8_t bytes[FRAME_HEADER], frame_t *ret);
/* Checks the payload against the header's checksum: ERR_CORRUPT. */
err_t *frame_check_payload(const frame_t *f, slice_t stored);
/* The payload uncompressed: `stored` itself, or written to `scratch`. */
err_t *frame_payload(const frame_t *f, slice_t stored, buf_t *scratch, slice_t *ret);
const char *frame_kind_name(frame_kind_t k);

/* HELLO, first on each connection from either side: who speaks, whom it means to speak to, and the versions it reads. */
typedef struct frame_hello {
    char *name, *to;
    uint16_t version_min, version_max;
} frame_hello_t;
err_t *frame_hello_encode(buf_t *out, const frame_hello_t *h);
err_t *frame_hello_decode(slice_t payload, frame_hello_t *ret); /* ERR_CORRUPT, ERR_VERSION when the ranges do not overlap */
void frame_hello_free(frame_hello_t *h);
