/* segment.c: the bytes of one epoch of one worker: build and read, pure. Layout in docs/formats.md. */
#include "state/segment.h"
#include "common/crash.h"
#include <lz4.h>
#include <stdlib.h>

#define MAGIC "TGCL"
#define VERSION (1 + version_shift())
#define FLAG_LZ4 1
#define LZ4_RATIO_MAX 255 /* an lz4 block expands to at most 255 times its size */
#define COMPRESS_MIN 256  /* below that compression saves nothing worth a call */
#define SAMPLE_BYTES (64 << 10)
#define AROUND 64         /* bytes, more than what stands around each part takes */
enum { RECORD_TASK = 1, RECORD_STATE = 2, RECORD_SINK = 3 };

static int seal_cmp(const void *a, const void *b) {
    const task_seal_t *x = *(const task_seal_t *const *)a, *y = *(const task_seal_t *const *)b;
    if (x->stage != y->stage) return x->stage < y->stage ? -1 : 1;
    return (x->subtask > y->subtask) - (x->subtask < y->subtask);
}

#define PIECE_MIN ((size_t)64 << 10) /* less is copied */
/* A segment in the making. */
typedef struct making {
    segment_t *s;
    buf_t *out;  /* the segment's own bytes, with room for all of them: they do not move; or, to be packed, all */
    size_t from; /* of `out`: not a piece yet */
    bool pieces;
} making_t;

static void add_piece(segment_t *s, const uint8_t *p, size_t len) {
    if (len == 0) return;
    if (s->n % 16 == 0) s->pieces = xrealloc(s->pieces, (s->n + 16) * sizeof *s->pieces);
    s->pieces[s->n++] = slice_of(p, len);
    s->bytes += len;
}

static void cut(making_t *m) {
    add_piece(m->s, m->out->data + m->from, m->out->len - m->from);
    m->from = m->out->len;
}

/* With its length before. */
static void put_sealed(making_t *m, const buf_t *b) {
    if (!m->pieces || b->len < PIECE_MIN) {
        buf_put_bytes(m->out, buf_slice(b));
        return;
    }
    buf_put_varint(m->out, b->len);
    cut(m);
    add_piece(m->s, b->data, b->len);
}

/* `move`: changes of keyed state are freed as they are written, so that they are never in memory twice. */
static void put_seal(making_t *m, task_seal_t *s, bool move) {
    buf_t *out = m->out;
    buf_put_u8(out, RECORD_TASK);
    buf_put_varint(out, (uint64_t)s->stage);
    buf_put_varint(out, (uint64_t)s->subtask);
    buf_put_zigzag(out, s->watermark);
    buf_put_u8(out, s->ended);
    buf_put_varint(out, s->rows_since);
    for (int i = 0; i < s->nstates; i++) {
        state_seal_t *st = &s->states[i];
        if (st->bytes.len == 0) continue;
        buf_put_u8(out, RECORD_STATE);
        buf_put_u64(out, st->fingerprint);
        buf_put_varint(out, (uint64_t)st->op);
        buf_put_zigzag(out, st->slot);
        put_sealed(m, &st->bytes);
        if (move) buf_free(&st->bytes);
    }
    for (int i = 0; i < s->nsinks; i++) {
        const sink_seal_t *k = &s->sinks[i];
        if (k->segment.len == 0) continue;
        buf_put_u8(out, RECORD_SINK);
        buf_put_u64(out, k->fingerprint);
        buf_put_varint(out, (uint64_t)k->op);
        buf_put_varint(out, (uint64_t)k->lane);
        buf_put_varint(out, k->rows);
        put_sealed(m, &k->segment);
    }
}

/* Of the payload: what it takes in any case, and with `around` for what stands around each part more than it can. */
static size_t seal_bytes(const task_seal_t *s, size_t around) {
    size_t n = around;
    for (int i = 0; i < s->nstates; i++) n += around + s->states[i].bytes.len;
    for (int i = 0; i < s->nsinks; i++) n += around + s->sinks[i].segment.len;
    return n;
}

/* Each task's parts fitted; together they are too much. */
static err_t *too_large(const changelog_id_t *id, epoch_t epoch, size_t bytes) {
    return err_hint(err_new(ERR_LIMIT, "epoch %" PRIu64 ": the tasks of worker %s sealed %zu MB of changes and output, a segment holds at most %zu MB", epoch,
                            id->worker ? id->worker : "", (bytes + ((size_t)1 << 20) - 1) >> 20, SEGMENT_RAW_MAX >> 20),
                    "shorten execution.checkpointing.interval, or give the job more workers");
}

/* A seal buffer that overflowed has lost changes: the segment must not be written. */
static err_t *check_seal(const task_seal_t *s, epoch_t epoch) {
    if (s->epoch != epoch)
        return err_new(ERR_INTERNAL, "the seal of task %d/%d is of epoch %" PRIu64 ", the segment of %" PRIu64, s->stage,
                       s->subtask, s->epoch, epoch);
    bool over = false;
    for (int i = 0; i < s->nstates; i++) over |= s->states[i].bytes.overflow;
    for (int i = 0; i < s->nsinks; i++) over |= s->sinks[i].segment.overflow;
    if (!over) return NULL;
    return err_hint(err_new(ERR_LIMIT, "epoch %" PRIu64 ": the changes of task %d/%d do not fit into one seal", epoch,
                            s->stage, s->subtask),
                    "shorten execution.checkpointing.interval or raise the parallelism");
}

/* Numbers compress badly, and packing two bytes costs more than writing one: it has to save half; four fifths where it takes away, besides, that
 * changes are read a part at a time (state/parts.h). Judged by a piece from the middle of the largest state. */
static bool worth_compressing(task_seal_t *const *seals, int n, size_t about) {
    if (about < 4 * SAMPLE_BYTES) return true;
    const buf_t *largest = NULL;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < seals[i]->nstates; k++)
            if (!largest || seals[i]->states[k].bytes.len > largest->len) largest = &seals[i]->states[k].bytes;
        for (int k = 0; k < seals[i]->nsinks; k++)
            if (!largest || seals[i]->sinks[k].segment.len > largest->len) largest = &seals[i]->sinks[k].segment;
    }
    if (!largest || largest->len < 2 * SAMPLE_BYTES) return true;
    char *out = xmalloc(LZ4_COMPRESSBOUND(SAMPLE_BYTES));
    int k = LZ4_compress_default((const char *)largest->data + largest->len / 2, out, SAMPLE_BYTES, LZ4_COMPRESSBOUND(SAMPLE_BYTES));
    free(out);
    reader_t r = reader_of(buf_slice(largest));
    change_index_t x = {0};
    bool parts = change_begin_parts(&r, &x) && x.n > 0;
    return k < SAMPLE_BYTES / (parts ? 5 : 2);
}

/* Puts the payload packed at the end of `out` instead; false: it did not become smaller, or does not fit, and *raw holds it. */
static bool put_packed(buf_t *out, const buf_t *raw) {
    if (raw->overflow || raw->len < COMPRESS_MIN || raw->len > LZ4_MAX_INPUT_SIZE) return false;
    int bound = LZ4_compressBound((int)raw->len);
    if (!buf_reserve(out, (size_t)bound)) return false;
    int k = LZ4_compress_default((const char *)raw->data, (char *)out->data + out->len, (int)raw->len, bound);
    if (k <= 0 || (size_t)k >= raw->len) return false;
    out->len += (size_t)k;
    return true;
}

/* Into the place that was left for it, when all of the pieces are known. */
static void put_header(segment_t *s, const changelog_id_t *id, epoch_t epoch, bool lz4, size_t raw_len) {
    uint32_t crc = crc32c(0, s->own.data + SEGMENT_HEADER, s->pieces[0].len - SEGMENT_HEADER);
    for (size_t i = 1; i < s->n; i++) crc = crc32c(crc, s->pieces[i].p, s->pieces[i].len);
    buf_t h = {.data = s->own.data, .cap = SEGMENT_HEADER, .max = SEGMENT_HEADER};
    buf_puts(&h, MAGIC);
    buf_put_u16(&h, (uint16_t)VERSION);
    buf_put_u16(&h, lz4 ? FLAG_LZ4 : 0);
    buf_put_u64(&h, id->job);
    buf_put_u64(&h, id->incarnation);
    buf_put_u64(&h, id->attempt);
    buf_put_u64(&h, epoch);
    buf_put_u64(&h, raw_len);
    buf_put_u64(&h, s->bytes - SEGMENT_HEADER);
    buf_put_u32(&h, crc);
    buf_put_u32(&h, crc32c(0, h.data, h.len));
    ASSERT(h.len == SEGMENT_HEADER && !h.overflow && s->pieces[0].p == h.data);
}

/* What put_seal copies, at most. */
static size_t own_bytes(task_seal_t *const *seals, int n) {
    size_t bytes = SEGMENT_HEADER;
    for (int i = 0; i < n; i++) {
        bytes += AROUND;
        for (int k = 0; k < seals[i]->nstates; k++) bytes += AROUND + (seals[i]->states[k].bytes.len < PIECE_MIN ? seals[i]->states[k].bytes.len : 0);
        for (int k = 0; k < seals[i]->nsinks; k++) bytes += AROUND + (seals[i]->sinks[k].segment.len < PIECE_MIN ? seals[i]->sinks[k].segment.len : 0);
    }
    return bytes;
}

static const uint8_t no_header[SEGMENT_HEADER];

static size_t gather_plain(segment_t *s, task_seal_t *const *order, int n) {
    size_t most = own_bytes(order, n);
    s->own = buf_make(most);
    buf_reserve(&s->own, most);
    buf_put(&s->own, no_header, SEGMENT_HEADER);
    making_t m = {.s = s, .out = &s->own, .pieces = true};
    for (int i = 0; i < n; i++) put_seal(&m, order[i], false);
    ASSERT(!s->own.overflow);
    cut(&m);
    return s->bytes - SEGMENT_HEADER;
}

/* When that makes it no smaller, as it is. */
static size_t gather_packed(segment_t *s, task_seal_t *const *order, int n, size_t about, bool *ret_packed) {
    buf_t raw = buf_make(about);
    buf_reserve(&raw, about);
    making_t m = {.s = s, .out = &raw};
    for (int i = 0; i < n; i++) put_seal(&m, order[i], true);
    ASSERT(!raw.overflow);
    size_t raw_len = raw.len;
    s->own = buf_make(SIZE_MAX / 2);
    buf_put(&s->own, no_header, SEGMENT_HEADER);
    *ret_packed = put_packed(&s->own, &raw);
    if (!*ret_packed) buf_put(&s->own, raw.data, raw.len);
    buf_free(&raw);
    add_piece(s, s->own.data, s->own.len);
    return raw_len;
}

err_t *segment_gather(const changelog_id_t *id, epoch_t epoch, task_seal_t *const *seals, int n, bool compress, segment_t *ret) {
    size_t about = 0, least = 0;
    for (int i = 0; i < n; i++) {
        TRY(check_seal(seals[i], epoch));
        about += seal_bytes(seals[i], AROUND);
        least += seal_bytes(seals[i], 0);
    }
    if (least > SEGMENT_RAW_MAX) return too_large(id, epoch, least);
    task_seal_t **order = xcalloc((size_t)n + 1, sizeof *order);
    for (int i = 0; i < n; i++) order[i] = seals[i];
    qsort(order, (size_t)n, sizeof *order, seal_cmp);
    bool fits = about <= SEGMENT_RAW_MAX; /* else an error, which must leave the seals as they are, may come of it */
    bool lz4 = compress && fits && worth_compressing(order, n, about);
    *ret = (segment_t){0};
    size_t raw_len = lz4 ? gather_packed(ret, order, n, about, &lz4) : gather_plain(ret, order, n);
    free(order);
    if (raw_len <= SEGMENT_RAW_MAX) {
        put_header(ret, id, epoch, lz4, raw_len);
        return NULL;
    }
    segment_free(ret);
    return too_large(id, epoch, about);
}

void segment_free(segment_t *s) {
    free(s->pieces);
    buf_free(&s->own);
    *s = (segment_t){0};
}

err_t *segment_build(const changelog_id_t *id, epoch_t epoch, task_seal_t *const *seals, int n, bool compress, buf_t *out) {
    segment_t s;
    TRY(segment_gather(id, epoch, seals, n, compress, &s));
    for (size_t i = 0; i < s.n; i++) buf_put(out, s.pieces[i].p, s.pieces[i].len);
    segment_free(&s);
    if (out->overflow) return too_large(id, epoch, out->len);
    for (int i = 0; i < n; i++) task_seal_written(seals[i]);
    return NULL;
}

/* ---------------------------------------------------------------- read */
err_t *segment_header_read(slice_t bytes, segment_header_t *ret) {
    if (bytes.len < SEGMENT_HEADER)
        return err_new(ERR_CORRUPT, "byte %zu: a segment header of %d bytes is cut", bytes.len, SEGMENT_HEADER);
    if (memcmp(bytes.p, MAGIC, 4) != 0) return err_new(ERR_CORRUPT, "byte 0: no segment begins here");
    reader_t r = reader_of(slice_of(bytes.p + 4, SEGMENT_HEADER - 4));
    segment_header_t h = {.version = read_u16(&r)}; /* one by one: the order of initializers is not fixed */
    h.flags = read_u16(&r);
    h.job = read_u64(&r);
    h.incarnation = read_u64(&r);
    h.attempt = read_u64(&r);
    h.epoch = read_u64(&r);
    h.raw_len = read_u64(&r);
    h.stored_len = read_u64(&r);
    h.crc = read_u32(&r);
    if (read_u32(&r) != crc32c(0, bytes.p, SEGMENT_HEADER - 4))
        return err_new(ERR_CORRUPT, "byte %d: wrong checksum of the segment header", SEGMENT_HEADER - 4);
    if (h.version != VERSION || (h.flags & ~FLAG_LZ4))
        return err_new(ERR_VERSION, "byte 4: segment of version %d, flags %d; this build reads version %d, flags up to %d",
                       h.version, h.flags, VERSION, FLAG_LZ4);
    if (h.raw_len > SEGMENT_RAW_MAX || h.stored_len > h.raw_len || h.raw_len / LZ4_RATIO_MAX > h.stored_len ||
        (!(h.flags & FLAG_LZ4) && h.raw_len != h.stored_len))
        return err_new(ERR_CORRUPT, "byte 40: impossible lengths: %" PRIu64 " bytes stored as %" PRIu64, h.raw_len,
                       h.stored_len);
    *ret = h;
    return NULL;
}

static int small(reader_t *r) {
    uint64_t v = read_varint(r);
    if (v > INT32_MAX) r->bad = true;
    return r->bad ? 0 : (int)v;
}

static err_t *visit_task(reader_t *r, const segment_visitor_t *v) {
    int stage = small(r);
    int subtask = small(r);
    int64_t watermark = read_zigzag(r);
    uint8_t ended = read_u8(r);
    read_varint(r); /* rows since: for people */
    if (ended > 1) r->bad = true;
    return r->bad || !v->task ? NULL : v->task(v->arg, stage, subtask, watermark, ended);
}

static err_t *visit_state(reader_t *r, const segment_visitor_t *v) {
    uint64_t fingerprint = read_u64(r);
    int op = small(r);
    int64_t slot = read_zigzag(r);
    if (slot < -1 || slot > INT32_MAX) r->bad = true;
    slice_t bytes = read_bytes(r);
    return r->bad || !v->state ? NULL : v->state(v->arg, fingerprint, op, (int)slot, bytes);
}

static err_t *visit_sink(reader_t *r, const segment_visitor_t *v) {
    uint64_t fingerprint = read_u64(r);
    int op = small(r);
    int lane = small(r);
    uint64_t rows = read_varint(r);
    slice_t segment = read_bytes(r);
    return r->bad || !v->sink ? NULL : v->sink(v->arg, fingerprint, op, lane, rows, segment);
}

static err_t *visit_records(slice_t raw, const segment_visitor_t *v) {
    reader_t r = reader_of(raw);
    bool in_task = false;
    while (reader_left(&r) > 0) {
        size_t at = (size_t)(r.p - raw.p);
        uint8_t kind = read_u8(&r);
        err_t *e = NULL;
        if (kind == RECORD_TASK) e = visit_task(&r, v);
        else if (kind == RECORD_STATE && in_task) e = visit_state(&r, v);
        else if (kind == RECORD_SINK && in_task) e = visit_sink(&r, v);
        else r.bad = true;
        in_task = true;
        if (e) return e;
        if (r.bad) return err_new(ERR_CORRUPT, "byte %d: malformed record (payload byte %zu)", SEGMENT_HEADER, at);
    }
    return NULL;
}

err_t *segment_payload_visit(const segment_header_t *h, slice_t stored, const segment_visitor_t *v) {
    if (crc32c(0, stored.p, stored.len) != h->crc)
        return err_new(ERR_CORRUPT, "byte %d: wrong checksum of the segment's payload", SEGMENT_HEADER);
    if (v->begin) TRY(v->begin(v->arg, h->attempt, h->epoch));
    if (v->payload) v->payload(v->arg, h->flags & FLAG_LZ4 ? NULL : stored.p);
    if (!(h->flags & FLAG_LZ4)) return visit_records(stored, v);
    buf_t raw = buf_make(SEGMENT_RAW_MAX);
    err_t *e = NULL;
    if (!buf_reserve(&raw, h->raw_len + 1)) e = err_new(ERR_LIMIT, "a segment of %" PRIu64 " bytes", h->raw_len);
    int n = e ? 0 : LZ4_decompress_safe((const char *)stored.p, (char *)raw.data, (int)stored.len, (int)h->raw_len);
    if (!e && (n < 0 || (uint64_t)n != h->raw_len))
        e = err_new(ERR_CORRUPT, "byte %d: the segment's payload cannot be decompressed", SEGMENT_HEADER);
    if (!e) e = visit_records(slice_of(raw.data, (size_t)n), v);
    buf_free(&raw);
    return e;
}

err_t *segment_visit(slice_t bytes, job_id_t job, const segment_visitor_t *v, size_t *ret_used) {
    segment_header_t h;
    TRY(segment_header_read(bytes, &h));
    if (h.job != job) return err_new(ERR_CORRUPT, "byte 8: a segment of job %016" PRIx64 ", not of %016" PRIx64, h.job, job);
    if (h.stored_len > bytes.len - SEGMENT_HEADER)
        return err_new(ERR_CORRUPT, "byte %zu: a segment of %" PRIu64 " bytes is cut", bytes.len, SEGMENT_HEADER + h.stored_len);
    if (!v->want || v->want(v->arg, h.attempt, h.epoch))
        TRY(segment_payload_visit(&h, slice_of(bytes.p + SEGMENT_HEADER, h.stored_len), v));
    if (ret_used) *ret_used = SEGMENT_HEADER + (size_t)h.stored_len;
    return NULL;
}
