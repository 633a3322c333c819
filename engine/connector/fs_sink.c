/* fs_sink.c: rows into part files, exactly once.
 *
 * Rows of an epoch are in hidden files until the epoch is complete. The seal of an epoch names every part with its
 * committed length, after the bytes are synced; complete(e) makes the parts closed by then visible. After a crash the
 * restored seal says what was committed: those bytes become visible, all else is removed. So every row of a complete
 * epoch is visible at last, once, and no row of another. Parts roll by size and age, not by epoch; the end of the input
 * closes them all.
 *
 * A job that begins from a savepoint computes the rows since anew. What the savepoint's writer made visible behind it would be there twice: such a
 * file stops the job by name (of that writer's only: files do not tell which other job began from the same savepoint), unless duplicates are accepted.
 * Restore only looks: no file is changed before every task of the job was restored, so that a job that is refused leaves all as a newer savepoint needs
 * it. Hidden files of another incarnation may hold more than this savepoint knows, and stay until this job has a complete epoch.
 *
 * Seal bytes (version 1): u8 version, u32 subtask, u32 parallelism, varint next part number, varint parts, then per
 * part: directory, u64 incarnation, varint subtask, varint n, varint length, u8 closed; last u64 incarnation of who sealed
 * (seals of before end without; their readers leave it unread). A restored seal belongs to the subtask of its writer's
 * number modulo the parallelism now: exactly one, and the one the worker gives it to. */
#include "common/map.h"
#include "engine/connector/fs_part.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEAL_VERSION 1
#define FLUSH_BYTES ((size_t)256 * 1024)
#define OPEN_PARTS_MAX 128 /* more partitions than this at a time: the least recently used part is closed */

typedef struct fs_sink {
    char *root;
    encoder_t *encoder;
    map_t *open;          /* dir -> part_t being written */
    size_t nopen;
    part_t *last;         /* part of the last row */
    part_t **closed;      /* not yet visible */
    int nclosed, cap_closed;
    part_t **restored;    /* before start: to recover; then those whose hidden file goes with the first complete epoch */
    int nrestored;
    uint64_t next, used;
    int64_t size_max, age_max_ms, idle_max_ms;
    buf_t dir;            /* of the current row */
} fs_sink_t;

static const char *const sink_options[] = {
    "path", "format", "partition.default-name", "sink.rolling-policy.file-size", "sink.rolling-policy.rollover-interval",
    "sink.rolling-policy.check-interval", "sink.rolling-policy.inactivity-interval", "sink.shuffle-by-partition.enable",
    "sink.parallelism", "auto-compaction", "compaction.file-size", "compaction.parallelism", "sink.partition-commit.*",
    "source.*", "partition.time-extractor.*", NULL};

static err_t *rolling(const table_t *t, fs_sink_t *f) {
    int64_t check;
    TRY(options_bytes(&t->options, "sink.rolling-policy.file-size", (int64_t)128 << 20, &f->size_max));
    TRY(options_duration_ms(&t->options, "sink.rolling-policy.rollover-interval", 30 * 60000, &f->age_max_ms));
    TRY(options_duration_ms(&t->options, "sink.rolling-policy.inactivity-interval", 30 * 60000, &f->idle_max_ms));
    return options_duration_ms(&t->options, "sink.rolling-policy.check-interval", 60000, &check);
}

static err_t *fs_sink_check(const table_t *t) {
    char *path AUTO(auto_free) = NULL;
    bool compact;
    fs_sink_t unused;
    TRY(options_check_known(t, sink_options));
    TRY(fs_local_path(t, &path));
    TRY(rolling(t, &unused));
    TRY(options_bool(&t->options, "auto-compaction", false, &compact));
    if (compact)
        return err_hint(err_new(ERR_UNSUPPORTED, "table %s: 'auto-compaction' is not supported", t->name),
                        "leave it out; larger parts come from 'sink.rolling-policy.file-size'");
    const char *policy = options_get(&t->options, "sink.partition-commit.policy.kind");
    if (policy)
        return err_hint(err_new(ERR_UNSUPPORTED, "table %s: 'sink.partition-commit.policy.kind' is not supported", t->name),
                        "leave it out; part files become visible when their epoch is complete");
    if (t->npartition >= t->physical->n)
        return err_new(ERR_INVALID, "table %s: every column is a partition column, nothing is left to write", t->name);
    int *data AUTO(auto_free) = xcalloc((size_t)t->physical->n + 1, sizeof *data);
    format_config_t c = {.options = &t->options, .fields = t->physical, .scan = data, .nscan = table_data_columns(t, data)};
    TRY(format_of_table(t, &c.format, &c.prefix));
    return err_wrap(format_check(&c, false), "table %s", t->name);
}

static err_t *fs_sink_prepare(const table_t *t, const options_t *job_set, int timeout_ms) {
    char *path AUTO(auto_free) = NULL;
    TRY(fs_local_path(t, &path));
    TRY(fs_make_dirs(path));
    if (access(path, W_OK | X_OK) != 0) return err_from_errno(errno, "table %s: cannot write to %s", t->name, path);
    return NULL;
}

static int64_t now_ms(const sink_t *s) { return s->env.eval ? s->env.eval->now_ms : 0; }

static err_t *fs_sink_open(sink_t *s) {
    fs_sink_t *f = s->self;
    const table_t *t = s->env.op->table;
    f->dir = buf_make(1 << 20);
    f->open = map_new();
    TRY(fs_local_path(t, &f->root));
    TRY(rolling(t, f));
    int *data AUTO(auto_free) = xcalloc((size_t)t->physical->n + 1, sizeof *data);
    format_config_t c = {.options = &t->options, .fields = t->physical, .scan = data, .nscan = table_data_columns(t, data)};
    TRY(format_of_table(t, &c.format, &c.prefix));
    TRY(fs_make_dirs(f->root));
    return err_wrap(encoder_new(&c, &f->encoder), "table %s", t->name);
}

/* ------------------------------------------------------------------ restore */
/* In the names of parts: several sinks of a job may write to one directory. */
static uint64_t writer_of(const sink_t *s) { return s->env.incarnation ^ s->env.op->fingerprint; }

static err_t *read_parts(fs_sink_t *f, reader_t *r, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        char *dir AUTO(auto_free) = read_cstr(r);
        uint64_t incarnation = read_u64(r), subtask = read_varint(r), number = read_varint(r), length = read_varint(r);
        bool closed = read_u8(r) != 0;
        if (r->bad || dir[0] == '/') return err_new(ERR_CORRUPT, "malformed seal of a filesystem sink");
        part_t *p = part_new(dir, incarnation, (uint32_t)subtask, number);
        p->length = length;
        p->closed = closed;
        f->restored = xrealloc(f->restored, sizeof(part_t *) * (size_t)(f->nrestored + 1));
        f->restored[f->nrestored++] = p;
    }
    return NULL;
}

static err_t *recover_parts(sink_t *s) {
    fs_sink_t *f = s->self;
    int kept = 0;
    err_t *e = NULL;
    for (int i = 0; i < f->nrestored; i++) {
        part_t *p = f->restored[i];
        bool keep = !s->env.final && p->incarnation != writer_of(s);
        if (!e) e = part_recover(p, f->root, keep);
        if (e || keep) f->restored[kept++] = p;
        else part_free(p);
    }
    f->nrestored = kept;
    return e;
}

static err_t *restore_seal(sink_t *s, reader_t *r, uint32_t subtask, uint64_t next, uint64_t n) {
    fs_sink_t *f = s->self;
    int first = f->nrestored;
    TRY(read_parts(f, r, n));
    uint64_t sealed = s->env.origin ? s->env.origin : s->env.incarnation;
    if (reader_left(r)) sealed = read_u64(r);
    if (r->bad) return err_new(ERR_CORRUPT, "malformed seal of a filesystem sink");
    if (!s->env.forced) TRY(fs_none_behind(f->root, sealed ^ s->env.op->fingerprint, subtask, next));
    for (int i = first; i < f->nrestored; i++) TRY(part_check(f->restored[i], f->root, s->env.forced));
    return s->env.final ? recover_parts(s) : NULL;
}

static err_t *fs_sink_restore(sink_t *s, slice_t bytes) {
    fs_sink_t *f = s->self;
    reader_t r = reader_of(bytes);
    uint8_t version = read_u8(&r);
    if (version != SEAL_VERSION && !r.bad)
        return err_new(ERR_VERSION, "seal of a filesystem sink has version %u, this program reads %d", version, SEAL_VERSION);
    uint32_t subtask = read_u32(&r), parallelism = read_u32(&r);
    uint64_t next = read_varint(&r), n = read_varint(&r);
    if (r.bad || !parallelism || parallelism > KEY_GROUPS || subtask >= parallelism)
        return err_new(ERR_CORRUPT, "malformed seal of a filesystem sink");
    f->next = MAX(f->next, next);
    if ((int)(subtask % (uint32_t)s->env.parallelism) != s->env.subtask) return NULL;
    int first = f->nrestored;
    err_t *e = restore_seal(s, &r, subtask, next, n);
    while (e && f->nrestored > first) part_free(f->restored[--f->nrestored]);
    return err_wrap(e, "table %s", s->env.op->table->name);
}

/* Every task of the job was restored: none refused, and hidden files of ours that are left then are nobody's. */
static err_t *fs_sink_start(sink_t *s) {
    fs_sink_t *f = s->self;
    uint64_t next = 0;
    TRY(err_wrap(recover_parts(s), "table %s", s->env.op->table->name));
    TRY(fs_clean(f->root, writer_of(s), (uint32_t)s->env.subtask, (uint32_t)s->env.parallelism, &next));
    f->next = MAX(f->next, next);
    return NULL;
}

/* ------------------------------------------------------------------ writing */
static err_t *close_part(fs_sink_t *f, part_t *p) {
    TRY(part_close(p, f->root));
    map_del(f->open, slice_str(p->dir));
    f->nopen--;
    if (f->last == p) f->last = NULL;
    if (f->nclosed == f->cap_closed) {
        f->cap_closed = f->cap_closed ? f->cap_closed * 2 : 8;
        f->closed = xrealloc(f->closed, sizeof(part_t *) * (size_t)f->cap_closed);
    }
    f->closed[f->nclosed++] = p;
    return NULL;
}

static err_t *close_oldest(fs_sink_t *f) {
    part_t *oldest = NULL, *p;
    size_t at = 0;
    slice_t key;
    while (map_next(f->open, &at, &key, (void **)&p))
        if (!oldest || p->used < oldest->used) oldest = p;
    return oldest ? close_part(f, oldest) : NULL;
}

/* dt=2020-01-01/hm=12%3A00 of the row, into f->dir */
static void row_dir(sink_t *s, const batch_t *b, uint32_t row) {
    fs_sink_t *f = s->self;
    const table_t *t = s->env.op->table;
    buf_clear(&f->dir);
    for (int k = 0; k < t->npartition; k++) {
        int col = t->partition[k];
        buf_t value = buf_make(1 << 20);
        if (!column_null(&b->cols[col], row)) external_print(&value, &b->cols[col], row);
        if (k) buf_put_u8(&f->dir, '/');
        const char *name = t->physical->fields[col].name, *none = fs_default_partition(t);
        fs_escape(&f->dir, name, strlen(name));
        buf_put_u8(&f->dir, '=');
        if (value.len) fs_escape(&f->dir, (const char *)value.data, value.len);
        else fs_escape(&f->dir, none, strlen(none));
        buf_free(&value);
    }
}

static err_t *part_of_row(sink_t *s, const batch_t *b, uint32_t row, part_t **ret) {
    fs_sink_t *f = s->self;
    const table_t *t = s->env.op->table;
    if (f->last && !t->npartition) {
        *ret = f->last;
        return NULL;
    }
    row_dir(s, b, row);
    part_t *p = map_get(f->open, buf_slice(&f->dir));
    if (!p) {
        if (f->nopen >= OPEN_PARTS_MAX) TRY(close_oldest(f));
        p = part_new(buf_cstr(&f->dir), writer_of(s), (uint32_t)s->env.subtask, f->next++);
        err_t *e = part_open(p, f->root);
        if (e) {
            part_free(p);
            return e;
        }
        p->opened_ms = now_ms(s);
        map_put_str(f->open, p->dir, p);
        f->nopen++;
    }
    p->used = ++f->used;
    *ret = f->last = p;
    return NULL;
}

static err_t *write_rows(sink_t *s, const batch_t *b) {
    fs_sink_t *f = s->self;
    int64_t now = now_ms(s);
    for (uint32_t i = 0; i < b->n; i++) {
        part_t *p;
        TRY(part_of_row(s, b, i, &p));
        size_t before = p->buf.len;
        TRY(encoder_row(f->encoder, b, i, &p->buf));
        buf_put_u8(&p->buf, '\n');
        p->length += p->buf.len - before;
        p->used_ms = now;
        s->bytes_out += p->buf.len - before;
        if (p->buf.len >= FLUSH_BYTES) TRY(part_flush(p));
        if (p->length >= (uint64_t)f->size_max || now - p->opened_ms >= f->age_max_ms) TRY(close_part(f, p));
    }
    return NULL;
}

static op_status_t fs_sink_write(sink_t *s, const batch_t *b, err_t **reterr) {
    for (uint32_t i = 0; b->kinds && i < b->n; i++)
        if (b->kinds[i] != ROW_INSERT) {
            *reterr = err_new(ERR_UNSUPPORTED, "table %s: files take inserts only, not updates", s->env.op->table->name);
            return OP_FAIL;
        }
    err_t *e = write_rows(s, b);
    if (e) {
        *reterr = err_wrap(e, "table %s", s->env.op->table->name);
        return OP_FAIL;
    }
    s->rows_in += b->n;
    return OP_DONE;
}

/* ------------------------------------------------------------------ epochs */
static err_t *roll_by_age(sink_t *s) {
    fs_sink_t *f = s->self;
    int64_t now = now_ms(s);
    for (;;) {
        part_t *p, *due = NULL;
        size_t at = 0;
        slice_t key;
        while (!due && map_next(f->open, &at, &key, (void **)&p))
            if (now - p->opened_ms >= f->age_max_ms || now - p->used_ms >= f->idle_max_ms) due = p;
        if (!due) return NULL;
        TRY(close_part(f, due));
    }
}

static void seal_part(const part_t *p, buf_t *out) {
    buf_put_cstr(out, p->dir);
    buf_put_u64(out, p->incarnation);
    buf_put_varint(out, p->subtask);
    buf_put_varint(out, p->n);
    buf_put_varint(out, p->length);
    buf_put_u8(out, p->closed);
}

static err_t *seal_parts(sink_t *s, epoch_t epoch, buf_t *bytes) {
    fs_sink_t *f = s->self;
    TRY(roll_by_age(s));
    buf_put_u8(bytes, SEAL_VERSION);
    buf_put_u32(bytes, (uint32_t)s->env.subtask);
    buf_put_u32(bytes, (uint32_t)s->env.parallelism);
    buf_put_varint(bytes, f->next);
    buf_put_varint(bytes, f->nopen + (size_t)f->nclosed);
    part_t *p;
    size_t at = 0;
    slice_t key;
    while (map_next(f->open, &at, &key, (void **)&p)) {
        TRY(part_sync(p, f->root));
        seal_part(p, bytes);
    }
    for (int i = 0; i < f->nclosed; i++) {
        seal_part(f->closed[i], bytes);
        if (!f->closed[i]->sealed) f->closed[i]->sealed = epoch;
    }
    buf_put_u64(bytes, s->env.incarnation);
    return NULL;
}

static op_status_t fs_sink_seal(sink_t *s, epoch_t epoch, buf_t *bytes, buf_t *segment, err_t **reterr) {
    err_t *e = seal_parts(s, epoch, bytes);
    if (!e) return OP_DONE;
    *reterr = err_wrap(e, "table %s", s->env.op->table->name);
    return OP_FAIL;
}

static err_t *fs_sink_complete(sink_t *s, epoch_t epoch) {
    fs_sink_t *f = s->self;
    int kept = 0;
    err_t *e = NULL;
    for (int i = 0; i < f->nclosed; i++) {
        part_t *p = f->closed[i];
        bool due = !e && p->sealed && p->sealed <= epoch;
        if (due) e = part_publish(p, f->root);
        if (due && !e) part_free(p);
        else f->closed[kept++] = p;
    }
    f->nclosed = kept;
    while (!e && f->nrestored && !(e = part_forget(f->restored[f->nrestored - 1], f->root))) part_free(f->restored[--f->nrestored]);
    return err_wrap(e, "table %s", s->env.op->table->name);
}

static err_t *fs_sink_end(sink_t *s) {
    fs_sink_t *f = s->self;
    while (f->nopen) TRY(close_oldest(f));
    return NULL;
}

static void free_part(void *p) { part_free(p); }

static void fs_sink_close(sink_t *s) {
    fs_sink_t *f = s->self;
    if (f->open) map_free(f->open, free_part);
    for (int i = 0; i < f->nclosed; i++) part_free(f->closed[i]);
    free(f->closed);
    for (int i = 0; i < f->nrestored; i++) part_free(f->restored[i]);
    free(f->restored);
    encoder_free(f->encoder);
    buf_free(&f->dir);
    free(f->root);
}

const sink_vtable_t filesystem_sink = {
    .connector = "filesystem",
    .state_size = sizeof(fs_sink_t),
    .check = fs_sink_check,
    .prepare = fs_sink_prepare,
    .open = fs_sink_open,
    .restore = fs_sink_restore,
    .start = fs_sink_start,
    .write = fs_sink_write,
    .seal = fs_sink_seal,
    .complete = fs_sink_complete,
    .end = fs_sink_end,
    .close = fs_sink_close,
};
