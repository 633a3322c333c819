/* changelog.c: writer and reader of a worker's changelog files.
 *
 * The writer holds one open file. An append or sync that fails says nothing about what reached the disk, so the file is closed for
 * good and the same bytes go, whole, to the next one; the manifest names only the extent that was synced. A file that holds nothing but
 * the failure is removed: nobody will ever name it, and on a full disk tries would eat what comes free. A file that has grown past
 * CHANGELOG_FILE_BYTES is left, too: storage is freed by whole files (manifest_trim, manifest_garbage). */
#include "state/extent_check.h"
#include "state/kept.h"
#include <ctype.h>
#include <stdlib.h>

struct changelog {
    disk_t *disk;
    changelog_id_t id;
    char *worker;
    disk_file_t *file; /* NULL: the next append makes one */
    char *path;
    uint64_t next; /* number of the next file */
    uint64_t size;
    uint64_t file_bytes;
    kept_log_t kept;
};

changelog_t *changelog_new(disk_t *disk, const changelog_id_t *id) {
    changelog_t *c = xcalloc(1, sizeof *c);
    *c = (changelog_t){.disk = disk, .id = *id, .worker = xstrdup(id->worker), .file_bytes = CHANGELOG_FILE_BYTES};
    c->id.worker = c->worker;
    return c;
}

void changelog_keep(changelog_t *c, disk_t *kept) { c->kept.kept = kept; }

void changelog_rotate(changelog_t *c) {
    if (c->file) c->disk->close(c->disk, c->file);
    c->file = NULL;
    kept_log_close(&c->kept);
    free(TAKE(c->path));
    c->size = 0;
}

void changelog_free(changelog_t *c) {
    if (!c) return;
    changelog_rotate(c);
    free(c->worker);
    free(c);
}

/* Names may hold anything: what a path cannot carry safely is written as %XX. */
static void put_name(buf_t *out, const char *name) {
    for (const char *p = name; *p; p++) {
        if (isalnum((unsigned char)*p) || *p == '-' || *p == '_') buf_put_u8(out, (uint8_t)*p);
        else buf_printf(out, "%%%02X", (unsigned char)*p);
    }
}

char *storage_prefix(const changelog_id_t *id, const char *kind) {
    buf_t b = buf_make(4096);
    buf_printf(&b, "jobs/%016" PRIx64 "/%s/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".", id->job, kind, id->incarnation,
               id->leader, id->attempt);
    put_name(&b, id->worker);
    return buf_take_cstr(&b);
}

static bool take_number(const char **p, char tag, int base, uint64_t *ret) {
    if (**p != tag || !isxdigit((unsigned char)(*p)[1])) return false;
    char *end;
    *ret = strtoull(*p + 1, &end, base);
    if (*end != '.') return false;
    *p = end + 1;
    return true;
}

bool storage_path_parse(const char *path, storage_origin_t *ret) {
    if (strncmp(path, "jobs/", 5) != 0) return false;
    const char *p = strchr(path + 5, '/');
    p = p ? strchr(p + 1, '/') : NULL;
    if (!p) return false;
    p++;
    storage_origin_t o = {0};
    if (!take_number(&p, 'i', 16, &o.incarnation) || !take_number(&p, 'l', 16, &o.leader) ||
        !take_number(&p, 'a', 10, &o.attempt))
        return false;
    o.worker = slice_of(p, strcspn(p, "./"));
    if (o.worker.len == 0) return false;
    *ret = o;
    return true;
}

job_id_t storage_path_job(const char *path, job_id_t job) {
    if (strncmp(path, "jobs/", 5) != 0 || !isxdigit((unsigned char)path[5])) return job;
    char *at, *end;
    job_id_t origin = strtoull(path + 5, &at, 16);
    if (at != path + 21 || *at != '@' || !isxdigit((unsigned char)at[1])) return job;
    job_id_t owner = strtoull(at + 1, &end, 16);
    return end == at + 17 && (*end == '.' || *end == '/') && owner == job ? origin : job; /* ".<leader>" */
}

static err_t *open_next(changelog_t *c) {
    for (;;) {
        AUTO(auto_free) char *prefix = storage_prefix(&c->id, "log");
        AUTO(auto_free) char *path = xprintf("%s.%" PRIu64 ".log", prefix, c->next);
        disk_file_t *f = NULL;
        err_t *e = c->disk->create(c->disk, path, &f);
        c->next++; /* a create that failed may have made the file: never ask for the name again */
        if (err_code(e) == ERR_EXISTS) {
            err_free(e);
            continue;
        }
        if (e) return e;
        c->file = f;
        c->path = TAKE(path);
        c->size = 0;
        return NULL;
    }
}

err_t *changelog_append_pieces(changelog_t *c, epoch_t epoch, const segment_t *s, extent_t *ret) {
    segment_header_t h;
    TRY(segment_header_read(s->pieces[0], &h));
    ASSERT(h.epoch == epoch && s->bytes == SEGMENT_HEADER + h.stored_len);
    if (c->file && c->size >= c->file_bytes) changelog_rotate(c);
    if (!c->file) TRY(err_wrap(open_next(c), "changelog of epoch %" PRIu64, epoch));
    err_t *e = disk_append_all(c->disk, c->file, s->pieces, s->n);
    if (!e) e = c->disk->sync(c->disk, c->file);
    if (e) {
        e = err_wrap(e, "changelog of epoch %" PRIu64 ", %s/%s", epoch, c->disk->where(c->disk), c->path);
        AUTO(auto_free) char *useless = c->size == 0 ? TAKE(c->path) : NULL;
        changelog_rotate(c);
        if (useless) err_free(c->disk->remove(c->disk, useless));
        return e;
    }
    *ret = (extent_t){.path = xstrdup(c->path), .from = c->size, .to = c->size + s->bytes, .first = epoch,
                      .last = epoch, .crc = h.crc};
    kept_log_append(&c->kept, c->disk, c->path, c->size, s->pieces, s->n);
    c->size += s->bytes;
    return NULL;
}

err_t *changelog_append(changelog_t *c, epoch_t epoch, slice_t segment, extent_t *ret) {
    return changelog_append_pieces(c, epoch, &(segment_t){.pieces = &segment, .n = 1, .bytes = segment.len}, ret);
}

void changelog_set_file_bytes(changelog_t *c, uint64_t bytes) { c->file_bytes = bytes; }

/* ---------------------------------------------------------------- read */
typedef struct reading {
    disk_t *disk, *kept;
    bool *own_wrong;   /* set when an own copy is there and not whole */
    const extent_t *extent;
    uint64_t at;       /* byte of the file */
    epoch_t last;      /* epoch read last */
    uint32_t last_crc;
    buf_t buf;
} reading_t;

static err_t *read_exactly(reading_t *r, disk_t *d, uint64_t from, uint64_t len) {
    buf_clear(&r->buf);
    err_t *e = d->read(d, r->extent->path, from, len, &r->buf);
    if (!e && r->buf.len != len)
        e = err_new(ERR_CORRUPT, "byte %" PRIu64 ": the file ends", from + r->buf.len);
    return e;
}

static err_t *read_header(reading_t *r, disk_t *d, job_id_t job, segment_header_t *h) {
    uint64_t left = r->extent->to - r->at;
    if (left < SEGMENT_HEADER) return err_new(ERR_CORRUPT, "the extent ends within a segment header");
    TRY(read_exactly(r, d, r->at, SEGMENT_HEADER));
    return extent_header(r->extent, job, r->at, r->last, buf_slice(&r->buf), h);
}

/* The worker's own copy of the segment; false: storage has to be read. */
static bool read_own(reading_t *r, job_id_t job, const segment_visitor_t *v, segment_header_t *h) {
    err_t *e = read_header(r, r->kept, job, h);
    bool wanted = !e && (!v->want || v->want(v->arg, h->attempt, h->epoch));
    if (wanted) e = read_exactly(r, r->kept, r->at + SEGMENT_HEADER, h->stored_len);
    bool whole = !e && (!wanted || crc32c(0, r->buf.data, r->buf.len) == h->crc);
    if (r->own_wrong && !whole && err_code(e) != ERR_NOT_FOUND) *r->own_wrong = true;
    err_free(e);
    return whole;
}

/* One segment: header, then payload, each within the extent. */
static err_t *read_segment(reading_t *r, job_id_t job, const segment_visitor_t *v) {
    segment_header_t h;
    bool own = r->kept && read_own(r, job, v, &h);
    if (!own) TRY(read_header(r, r->disk, job, &h));
    r->last = h.epoch;
    r->last_crc = h.crc;
    if (!v->want || v->want(v->arg, h.attempt, h.epoch)) {
        if (!own) TRY(read_exactly(r, r->disk, r->at + SEGMENT_HEADER, h.stored_len));
        TRY(segment_payload_visit(&h, buf_slice(&r->buf), v));
    }
    r->at += SEGMENT_HEADER + h.stored_len;
    return NULL;
}

err_t *changelog_read(disk_t *disk, const extent_t *extent, job_id_t job, const segment_visitor_t *v) {
    return changelog_read_kept(disk, NULL, extent, job, v, NULL);
}

err_t *changelog_read_kept(disk_t *disk, disk_t *kept, const extent_t *extent, job_id_t job, const segment_visitor_t *v, bool *own_wrong) {
    if (extent->to < extent->from)
        return err_new(ERR_CORRUPT, "%s: extent from byte %" PRIu64 " to %" PRIu64, extent->path, extent->from, extent->to);
    reading_t r = {.disk = disk, .kept = kept, .own_wrong = own_wrong, .extent = extent, .at = extent->from, .buf = buf_make(SEGMENT_RAW_MAX + SEGMENT_HEADER)};
    err_t *e = NULL;
    job = storage_path_job(extent->path, job);
    while (!e && r.at < extent->to) e = read_segment(&r, job, v);
    if (!e && r.at > extent->from) e = extent_ends(extent, r.last, r.last_crc);
    buf_free(&r.buf);
    return err_wrap(e, "%s/%s: segment at byte %" PRIu64, disk->where(disk), extent->path, r.at);
}
