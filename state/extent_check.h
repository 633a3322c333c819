/* extent_check.h: is an extent whole? The checks of changelog_read for whoever copies a file: it gives the bytes as they come, in pieces of any
 * size and in order. Of them no more is held than a header. Pure. Errors (ERR_CORRUPT, ERR_VERSION) name the byte; the file is the caller's to name. */
#pragma once
#include "state/segment.h"

typedef struct extent_check {
    const extent_t *extent; /* borrowed */
    job_id_t job;           /* whose id the segments carry */
    uint64_t begin, at;     /* bytes of the file: where the segment begins that is looked at; the next one that is taken */
    segment_header_t h;     /* of that segment, once `at` is behind its header */
    uint32_t crc;           /* of its payload up to `at` */
    epoch_t last;           /* of the segment before */
    uint32_t last_crc;
    uint8_t header[SEGMENT_HEADER];
} extent_check_t;

void extent_check_begin(extent_check_t *c, const extent_t *extent, job_id_t job);
/* `bytes` lie at byte `at` of the file. What is outside of the extent is nobody's; what is inside must not have a gap before it. */
err_t *extent_check_feed(extent_check_t *c, uint64_t at, slice_t bytes);
err_t *extent_check_end(const extent_check_t *c); /* all was there, and its end is the one the manifest names */

/* Of the readers: the header at byte `at` of the file, behind a segment of epoch `last`. The rest of the extent is long enough for one. */
err_t *extent_header(const extent_t *extent, job_id_t job, uint64_t at, epoch_t last, slice_t bytes, segment_header_t *ret);
err_t *extent_ends(const extent_t *extent, epoch_t last, uint32_t last_crc); /* behind its last segment */
