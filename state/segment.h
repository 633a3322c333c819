/* segment.h: inside of the changelog, for state/: the header of a segment and its payload, pure. Error texts begin with
 * "byte N:", counted from the segment's first byte. */
#pragma once
#include "state/changelog.h"

#define SEGMENT_HEADER 64
#define SEGMENT_RAW_MAX ((size_t)1 << 30) /* a worker seals at most that in one epoch */

typedef struct segment_header {
    uint16_t version, flags;
    job_id_t job;
    uint64_t incarnation;
    attempt_t attempt;
    epoch_t epoch;
    uint64_t raw_len, stored_len;
    uint32_t crc; /* of the stored payload */
} segment_header_t;
err_t *segment_header_read(slice_t bytes, segment_header_t *ret); /* ERR_CORRUPT, ERR_VERSION */
err_t *segment_payload_visit(const segment_header_t *h, slice_t stored, const segment_visitor_t *v);
