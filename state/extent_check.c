/* extent_check.c: the rules by which segments make up an extent, and their checksums over bytes that pass by. */
#include "state/extent_check.h"

err_t *extent_header(const extent_t *extent, job_id_t job, uint64_t at, epoch_t last, slice_t bytes, segment_header_t *ret) {
    TRY(segment_header_read(bytes, ret));
    if (ret->job != job) return err_new(ERR_CORRUPT, "a segment of job %016" PRIx64 ", not of %016" PRIx64, ret->job, job);
    if (ret->epoch < extent->first || ret->epoch > extent->last || ret->epoch <= last)
        return err_new(ERR_CORRUPT, "a segment of epoch %" PRIu64 " after %" PRIu64 " in an extent of %" PRIu64 " to %" PRIu64, ret->epoch, last,
                       extent->first, extent->last);
    if (ret->stored_len > extent->to - at - SEGMENT_HEADER) return err_new(ERR_CORRUPT, "the extent ends within a segment");
    storage_origin_t origin;
    if (storage_path_parse(extent->path, &origin) && origin.attempt != ret->attempt)
        return err_new(ERR_CORRUPT, "a segment of attempt %" PRIu64 " in a file of attempt %" PRIu64, ret->attempt, origin.attempt);
    return NULL;
}

err_t *extent_ends(const extent_t *extent, epoch_t last, uint32_t last_crc) {
    if (last == extent->last && last_crc == extent->crc) return NULL;
    return err_new(ERR_CORRUPT, "the last segment is not the one the manifest names (epoch %" PRIu64 " instead of %" PRIu64 ")", last, extent->last);
}

void extent_check_begin(extent_check_t *c, const extent_t *extent, job_id_t job) {
    *c = (extent_check_t){.extent = extent, .job = job, .begin = extent->from, .at = extent->from};
}

/* As far as the header or the payload goes that `at` is in. */
static err_t *take(extent_check_t *c, const uint8_t *p, uint64_t n) {
    uint64_t in = c->at - c->begin;
    if (in < SEGMENT_HEADER) {
        n = MIN(n, SEGMENT_HEADER - in);
        memcpy(c->header + in, p, n);
        c->crc = 0;
        if (in + n == SEGMENT_HEADER) TRY(extent_header(c->extent, c->job, c->begin, c->last, slice_of(c->header, SEGMENT_HEADER), &c->h));
    } else {
        n = MIN(n, SEGMENT_HEADER + c->h.stored_len - in);
        c->crc = crc32c(c->crc, p, n);
    }
    c->at += n;
    if (in + n < SEGMENT_HEADER || in + n < SEGMENT_HEADER + c->h.stored_len) return NULL;
    if (c->crc != c->h.crc) return err_new(ERR_CORRUPT, "byte %d: wrong checksum of the segment's payload", SEGMENT_HEADER);
    c->begin = c->at;
    c->last = c->h.epoch;
    c->last_crc = c->h.crc;
    return NULL;
}

err_t *extent_check_feed(extent_check_t *c, uint64_t at, slice_t bytes) {
    uint64_t end = MIN(at + bytes.len, c->extent->to);
    while (c->at < end) {
        ASSERT(c->at >= at);
        TRY(err_wrap(take(c, bytes.p + (c->at - at), end - c->at), "segment at byte %" PRIu64, c->begin));
    }
    return NULL;
}

err_t *extent_check_end(const extent_check_t *c) {
    const extent_t *x = c->extent;
    err_t *e = NULL;
    if (x->to < x->from) e = err_new(ERR_CORRUPT, "extent from byte %" PRIu64 " to %" PRIu64, x->from, x->to);
    else if (c->at != x->to) e = err_new(ERR_CORRUPT, "byte %" PRIu64 ": the file ends", c->at);
    else if (c->begin != x->to) e = err_new(ERR_CORRUPT, "the extent ends within a segment%s", c->at - c->begin < SEGMENT_HEADER ? " header" : "");
    else if (x->to > x->from) e = extent_ends(x, c->last, c->last_crc);
    return err_wrap(e, "segment at byte %" PRIu64, c->begin);
}
