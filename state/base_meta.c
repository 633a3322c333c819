/* base_meta.c: magic "TGBS", version u16, count u16, job u64, attempt u64, epoch u64, worker (varint length, bytes), per range
 * fingerprint u64, lo u16, hi u16; crc32c of all before. */
#include "state/base_meta.h"
#include "common/crash.h"
#include "state/changelog.h"
#include <stdlib.h>

#define MAGIC "TGBS"
#define VERSION (1 + version_shift())

void base_meta_done(base_meta_t *m) {
    free(m->worker);
    free(m->ranges);
    *m = (base_meta_t){0};
}

void base_meta_encode(buf_t *out, const base_meta_t *m) {
    size_t begin = out->len;
    buf_puts(out, MAGIC);
    buf_put_u16(out, (uint16_t)VERSION);
    buf_put_u16(out, (uint16_t)m->nranges);
    buf_put_u64(out, m->job);
    buf_put_u64(out, m->attempt);
    buf_put_u64(out, m->epoch);
    buf_put_cstr(out, m->worker);
    for (int i = 0; i < m->nranges; i++) {
        buf_put_u64(out, m->ranges[i].fingerprint);
        buf_put_u16(out, (uint16_t)m->ranges[i].kg_lo);
        buf_put_u16(out, (uint16_t)m->ranges[i].kg_hi);
    }
    buf_put_u32(out, out->overflow ? 0 : crc32c(0, out->data + begin, out->len - begin));
}

err_t *base_meta_decode(slice_t bytes, base_meta_t *ret) {
    if (bytes.len < 36 || memcmp(bytes.p, MAGIC, 4) != 0) return err_new(ERR_CORRUPT, "byte 0: not a base description");
    reader_t tail = reader_of(slice_of(bytes.p + bytes.len - 4, 4));
    if (read_u32(&tail) != crc32c(0, bytes.p, bytes.len - 4))
        return err_new(ERR_CORRUPT, "byte %zu: wrong checksum", bytes.len - 4);
    reader_t r = reader_of(slice_of(bytes.p + 4, bytes.len - 8));
    uint16_t version = read_u16(&r);
    if (version != VERSION)
        return err_new(ERR_VERSION, "base description of version %d: this build reads version %d", version, VERSION);
    base_meta_t m = {0};
    m.nranges = read_u16(&r);
    m.job = read_u64(&r);
    m.attempt = read_u64(&r);
    m.epoch = read_u64(&r);
    m.worker = read_cstr(&r);
    m.ranges = xcalloc((size_t)m.nranges + 1, sizeof *m.ranges);
    for (int i = 0; i < m.nranges && !r.bad; i++) {
        m.ranges[i].fingerprint = read_u64(&r);
        m.ranges[i].kg_lo = read_u16(&r);
        m.ranges[i].kg_hi = read_u16(&r);
        if (m.ranges[i].kg_lo > m.ranges[i].kg_hi || m.ranges[i].kg_hi > 1024) r.bad = true;
    }
    if (!r.bad && reader_left(&r) == 0) {
        *ret = m;
        return NULL;
    }
    base_meta_done(&m);
    return err_new(ERR_CORRUPT, "byte %zu: malformed", (size_t)(r.p - bytes.p));
}

const base_file_t *base_meta_file(const base_t *b) {
    for (int i = 0; i < b->nfiles; i++)
        if (strcmp(b->files[i].name, BASE_META_NAME) == 0) return &b->files[i];
    return NULL;
}

err_t *base_meta_read(disk_t *disk, job_id_t job, const base_t *b, base_meta_t *ret) {
    const base_file_t *f = base_meta_file(b);
    if (!f)
        return err_new(ERR_CORRUPT, "the base of worker '%s', epoch %" PRIu64 ", has no file %s", b->worker, b->epoch,
                       BASE_META_NAME);
    buf_t bytes = buf_make(16 << 20);
    base_meta_t m = {0};
    err_t *e = disk->read(disk, f->path, 0, UINT64_MAX, &bytes);
    if (!e) e = base_meta_decode(buf_slice(&bytes), &m);
    if (!e && (m.job != storage_path_job(f->path, job) || m.epoch != b->epoch || strcmp(m.worker, b->worker) != 0))
        e = err_new(ERR_CORRUPT, "describes worker '%s', epoch %" PRIu64 " of job %016" PRIx64, m.worker, m.epoch, m.job);
    buf_free(&bytes);
    if (!e) {
        *ret = m;
        return NULL;
    }
    base_meta_done(&m);
    return err_wrap(e, "%s/%s", disk->where(disk), f->path);
}
