/* fs_source.c: files as a bounded source. A split is a file, its position the byte offset of the next record, which is
 * always the start of a record; so a restored split goes on exactly where its last sealed row ended.
 *
 * A file is read up to the size it had when the splits were listed: what is appended later is not part of this job. */
#include "common/clock.h"
#include "engine/connector/connector.h"
#include "engine/connector/rowstore.h"
#include "engine/connector/format_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES ((size_t)256 * 1024)
#define RECORD_BYTES_MAX ((size_t)64 << 20)
#define BATCH_STRING_BYTES ((size_t)1 << 20) /* a batch leaves at this many bytes of strings */
#define DEPTH_MAX 32

static const char *const source_options[] = {
    "path", "format", "partition.default-name", "source.monitor-interval", "source.report-statistics",
    "source.path.regex-pattern", "sink.*", "partition.*", "auto-compaction", "compaction.*", "scan.parallelism", NULL};
static const char *const metadata_keys[] = {"file.path", "file.name", "file.size", "file.modification-time"};

static const type_t *fs_metadata(arena_t *a, const char *key) {
    if (!strcmp(key, "file.path") || !strcmp(key, "file.name")) return &type_string;
    if (!strcmp(key, "file.size")) return &type_bigint;
    return strcmp(key, "file.modification-time") ? NULL : type_scalar(a, TYPE_TIMESTAMP_LTZ, 3, true);
}

static err_t *fs_check_format(const table_t *t) {
    int *data AUTO(auto_free) = xcalloc((size_t)t->physical->n + 1, sizeof *data);
    schema_t fields = {table_data_columns(t, data), xcalloc((size_t)t->physical->n + 1, sizeof(field_t))};
    for (int i = 0; i < fields.n; i++) fields.fields[i] = t->physical->fields[data[i]];
    format_config_t c = {.options = &t->options, .fields = &fields};
    err_t *e = format_of_table(t, &c.format, &c.prefix);
    if (!e) e = err_wrap(format_check(&c, true), "table %s", t->name);
    free(fields.fields);
    TRY(e);
    char key[64];
    snprintf(key, sizeof key, "%s%s.dead-letter.topic", c.prefix, c.format);
    if (!options_get(&t->options, key)) return NULL;
    return err_hint(err_new(ERR_UNSUPPORTED, "table %s: option '%s' is not supported for files", t->name, key),
                    "use '%s%s.ignore-parse-errors' = 'true', or let bad records fail the job", c.prefix, c.format);
}

static err_t *fs_source_check(const table_t *t) {
    char *path AUTO(auto_free) = NULL;
    TRY(options_check_known(t, source_options));
    TRY(fs_local_path(t, &path));
    static const struct {
        const char *key, *way_out;
    } refused[] = {{"source.monitor-interval", "leave it out: the files there at the start are read once"},
                   {"source.path.regex-pattern", "name the directory or the file in 'path'"}};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (options_get(&t->options, refused[i].key))
            return err_hint(err_new(ERR_UNSUPPORTED, "table %s: option '%s' is not supported", t->name, refused[i].key),
                            "%s", refused[i].way_out);
    for (int i = 0; i < t->metadata->n; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(metadata_keys); k++) known |= strcmp(t->metadata_keys[i], metadata_keys[k]) == 0;
        if (!known)
            return err_hint(err_new(ERR_INVALID, "table %s: the filesystem connector has no metadata '%s'", t->name,
                                    t->metadata_keys[i]), "it has file.path, file.name, file.size, file.modification-time");
        type_kind_t kind = t->metadata->fields[i].type->kind;
        bool fits = t->metadata_keys[i][5] == 's' ? kind == TYPE_BIGINT : t->metadata_keys[i][5] == 'm' ?
                    kind == TYPE_TIMESTAMP_LTZ : kind == TYPE_VARCHAR || kind == TYPE_CHAR;
        if (!fits)
            return err_hint(err_new(ERR_TYPE, "table %s: metadata '%s' has another type than column '%s'", t->name,
                                    t->metadata_keys[i], t->metadata->fields[i].name),
                            "file.path and file.name are STRING, file.size BIGINT, file.modification-time TIMESTAMP_LTZ(3)");
    }
    return fs_check_format(t);
}

/* ------------------------------------------------------------------ listing */
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
static int visible(const struct dirent *e) { return e->d_name[0] != '.' && e->d_name[0] != '_'; }

static const char *compression(const char *path) {
    static const char *const suffixes[] = {".gz", ".gzip", ".bz2", ".xz", ".zst", ".deflate"};
    size_t n = strlen(path);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        size_t m = strlen(suffixes[i]);
        if (n > m && strcmp(path + n - m, suffixes[i]) == 0) return suffixes[i];
    }
    return NULL;
}

static err_t *list_path(const char *path, int depth, split_list_t *ret) {
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT) return err_new(ERR_NOT_FOUND, "no such file or directory: %s", path);
        return err_from_errno(errno, "cannot read %s", path);
    }
    if (S_ISREG(st.st_mode)) {
        if (st.st_size == 0) return NULL;
        if (compression(path))
            return err_hint(err_new(ERR_UNSUPPORTED, "%s: files compressed as %s are not read", path, compression(path)),
                            "unpack it first");
        split_t s = {.id = xprintf("file://%s", path), .position = 0, .end = st.st_size, .watermark = WATERMARK_NONE};
        split_list_add(ret, &s);
        free(s.id);
        return NULL;
    }
    if (!S_ISDIR(st.st_mode)) return err_new(ERR_UNSUPPORTED, "%s is neither a file nor a directory", path);
    if (depth == DEPTH_MAX) return err_new(ERR_LIMIT, "%s: directories nest more than %d deep", path, DEPTH_MAX);
    struct dirent **names;
    int n = scandir(path, &names, visible, by_name);
    if (n < 0) return err_from_errno(errno, "cannot list %s", path);
    err_t *e = NULL;
    for (int i = 0; i < n; i++) {
        char *child AUTO(auto_free) = xprintf("%s/%s", path, names[i]->d_name);
        if (!e) e = list_path(child, depth + 1, ret);
        free(names[i]);
    }
    free(names);
    return e;
}

static err_t *fs_source_enumerate(const table_t *t, const options_t *job_set, int timeout_ms, split_list_t *ret) {
    char *path AUTO(auto_free) = NULL, *real AUTO(auto_free) = NULL;
    TRY(fs_local_path(t, &path));
    real = realpath(path, NULL); /* ids must mean the same to every worker */
    split_list_t list = {0};
    err_t *e = list_path(real ? real : path, 0, &list);
    if (e) {
        split_list_free(&list);
        return err_wrap(e, "table %s", t->name);
    }
    *ret = list;
    return NULL;
}

/* ------------------------------------------------------------------ reading */
typedef struct fs_source {
    decoder_t *decoder;
    int current, fd;      /* split being read and its file; fd -1: not open */
    uint8_t *buf;         /* bytes [start, len) of the file from position on */
    size_t start, len, cap;
    int64_t read_at;      /* file offset behind buf */
    int *out_of;          /* scan column -> column of the decoder, or -1 - (index into physical or metadata) */
    int ndecoded;
    struct stat st;
} fs_source_t;

static bool fs_source_narrows(const table_t *t, int column) {
    const char *format, *prefix;
    err_t *e = format_of_table(t, &format, &prefix);
    bool narrows = !e && format_narrows(format);
    err_free(e);
    return narrows;
}

static err_t *fs_source_open(source_t *s) {
    const plan_op_t *op = s->env.op;
    const table_t *t = op->table;
    fs_source_t *f = s->self;
    f->fd = -1;
    f->current = -1;
    int *data AUTO(auto_free) = xcalloc((size_t)t->physical->n + 1, sizeof *data);
    int *scan AUTO(auto_free) = xcalloc((size_t)op->nscan + 1, sizeof *scan);
    int ndata = table_data_columns(t, data);
    /* the decoder sees the data columns only, by their own numbers */
    schema_t fields = {ndata, xcalloc((size_t)ndata + 1, sizeof(field_t))};
    for (int i = 0; i < ndata; i++) fields.fields[i] = t->physical->fields[data[i]];
    f->out_of = xcalloc((size_t)op->nscan + 1, sizeof *f->out_of);
    for (int i = 0; i < op->nscan; i++) {
        f->out_of[i] = -1 - op->scan[i];
        for (int k = 0; k < ndata; k++)
            if (data[k] == op->scan[i]) {
                f->out_of[i] = f->ndecoded;
                scan[f->ndecoded++] = k;
            }
    }
    const type_t **types AUTO(auto_free) = xcalloc((size_t)op->nscan + 1, sizeof *types);
    for (int i = 0; i < op->nscan; i++)
        if (f->out_of[i] >= 0) types[f->out_of[i]] = op->schema->fields[i].type;
    format_config_t c = {.options = &t->options, .fields = &fields, .scan = scan, .nscan = f->ndecoded, .types = types};
    err_t *e = format_of_table(t, &c.format, &c.prefix);
    if (!e) e = decoder_new(&c, &f->decoder);
    free(fields.fields);
    return err_wrap(e, "table %s", t->name);
}

static const char *split_path(const split_t *s) { return s->id + strlen("file://"); }

static err_t *open_split(fs_source_t *f, const split_t *s) {
    f->fd = open(split_path(s), O_RDONLY | O_CLOEXEC);
    if (f->fd < 0) return err_from_errno(errno, "cannot open %s", split_path(s));
    if (fstat(f->fd, &f->st) != 0) return err_from_errno(errno, "cannot read %s", split_path(s));
    if (s->end >= 0 && f->st.st_size < s->end)
        return err_new(ERR_DATA, "%s became shorter: %lld bytes where there were %lld", split_path(s),
                       (long long)f->st.st_size, (long long)s->end);
    (void)posix_fadvise(f->fd, s->position, 0, POSIX_FADV_SEQUENTIAL);
    f->start = f->len = 0;
    f->read_at = s->position;
    return NULL;
}

static err_t *fill(fs_source_t *f, const split_t *s) {
    if (f->start) memmove(f->buf, f->buf + f->start, f->len - f->start);
    f->len -= f->start;
    f->start = 0;
    if (f->cap - f->len < READ_BYTES / 2) {
        if (f->cap >= RECORD_BYTES_MAX)
            return err_new(ERR_LIMIT, "%s: record at byte %lld is longer than %zu bytes", split_path(s),
                           (long long)s->position, RECORD_BYTES_MAX);
        f->cap = f->cap ? f->cap * 2 : READ_BYTES;
        f->buf = xrealloc(f->buf, f->cap);
    }
    size_t want = f->cap - f->len;
    if (s->end >= 0) want = MIN(want, (size_t)(s->end - f->read_at));
    ssize_t n = pread(f->fd, f->buf + f->len, want, f->read_at);
    if (n < 0) return errno == EINTR ? NULL : err_from_errno(errno, "cannot read %s", split_path(s));
    if (n == 0 && want)
        return err_new(ERR_DATA, "%s became shorter while it was read", split_path(s));
    f->len += (size_t)n;
    f->read_at += n;
    return NULL;
}

#define COUNT_LINES_MS 500 /* a step stays short, also when it is the last one */

/* The line of the file that begins at `position`, for an error; 0: that would take too long, or it cannot be read again. */
static int64_t line_of(fs_source_t *f, int64_t position) {
    int64_t line = 1, at = 0, until = clock_mono_ms() + COUNT_LINES_MS;
    for (ssize_t n; at < position; at += n) {
        n = clock_mono_ms() > until ? 0 : pread(f->fd, f->buf, (size_t)MIN((int64_t)f->cap, position - at), at);
        if (n <= 0) return 0;
        for (const uint8_t *p = f->buf, *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++) line++;
    }
    return line;
}

static err_t *at_record(fs_source_t *f, const split_t *split, err_t *e) {
    int64_t line = line_of(f, split->position);
    if (!line) return err_wrap(e, "%s: byte %" PRId64, split_path(split), split->position);
    return err_wrap(e, "%s: line %" PRId64 ", byte %" PRId64, split_path(split), line, split->position);
}

/* Decodes records until the batch is full or the split has ended. */
static err_t *read_records(source_t *s, fs_source_t *f, split_t *split) {
    decoder_t *d = f->decoder;
    uint64_t skipped = decoder_skipped(d);
    int fills = 0;
    while (decoder_rows(d) < BATCH_ROWS_MAX && decoder_bytes(d) < BATCH_STRING_BYTES) {
        bool eof = split->end >= 0 && f->read_at >= split->end;
        slice_t data = slice_of(f->buf + f->start, f->len - f->start), record;
        size_t used = data.len ? decoder_frame(d, data, eof, &record) : 0;
        if (!used) {
            if (eof) break;
            if (++fills > 4 && decoder_rows(d)) break; /* a step stays short */
            TRY(fill(f, split));
            continue;
        }
        err_t *e = decoder_message(d, record);
        if (e) return at_record(f, split, e);
        f->start += used;
        split->position += (int64_t)used;
        s->bytes_in += used;
    }
    s->bad_records += decoder_skipped(d) - skipped;
    return NULL;
}

/* A constant column: partition value or metadata of the file. */
static err_t *constant_column(const table_t *t, fs_source_t *f, const split_t *s, int index, uint32_t n, mem_t *m,
                              column_t *ret) {
    rowstore_t one;
    bool physical = index < t->physical->n;
    const field_t *field = physical ? &t->physical->fields[index] : &t->metadata->fields[index - t->physical->n];
    rowstore_init(&one, 1, &field->type, &field->name);
    rcol_t *c = &one.root.child[0];
    rowstore_begin(&one);
    const char *why = NULL, *path = split_path(s);
    if (physical) {
        char *v AUTO(auto_free) = fs_partition_value(path, field->name);
        if (!v) why = "the path has no directory of this partition column";
        else if (strcmp(v, fs_default_partition(t)) == 0) rcol_null(c, 0);
        else if (type_is_text(field->type)) rcol_str(&one, c, 0, v, strlen(v));
        else why = scalar_store(&one, c, 0, &(scalar_rules_t){.csv = true}, SCALAR_STRING, v, strlen(v));
    } else {
        const char *key = t->metadata_keys[index - t->physical->n], *slash = strrchr(path, '/');
        if (strcmp(key, "file.size") == 0) rcol_i64(c, 0, f->st.st_size);
        else if (strcmp(key, "file.modification-time") == 0)
            rcol_i64(c, 0, (int64_t)f->st.st_mtim.tv_sec * 1000000 + f->st.st_mtim.tv_nsec / 1000000 * 1000);
        else if (strcmp(key, "file.name") == 0) rcol_str(&one, c, 0, slash ? slash + 1 : path, strlen(slash ? slash + 1 : path));
        else rcol_str(&one, c, 0, path, strlen(path));
    }
    err_t *e = NULL;
    if (why) {
        e = err_new(ERR_DATA, "%s: column '%s': %s", path, field->name, why);
    } else {
        rowstore_end(&one);
        batch_t *b = rowstore_take(&one, 0);
        uint32_t *sel = mem_zalloc(m, sizeof *sel * n);
        column_gather(ret, &b->cols[0], sel, n, m);
        mem_link(m, b->mem);
        batch_free(b);
    }
    rowstore_done(&one);
    return e;
}

static err_t *finish_batch(source_t *s, fs_source_t *f, const split_t *split, batch_t **ret) {
    batch_t *raw = NULL;
    decoder_take(f->decoder, &raw);
    if (!raw) {
        *ret = NULL;
        return NULL;
    }
    const plan_op_t *op = s->env.op;
    batch_t *b = batch_new(op->nscan);
    b->n = raw->n;
    mem_link(b->mem, raw->mem);
    err_t *e = NULL;
    for (int i = 0; i < op->nscan && !e; i++) {
        if (f->out_of[i] >= 0) b->cols[i] = raw->cols[f->out_of[i]];
        else e = constant_column(op->table, f, split, -1 - f->out_of[i], raw->n, b->mem, &b->cols[i]);
    }
    batch_free(raw);
    if (e) {
        batch_free(b);
        return e;
    }
    s->rows_out += b->n;
    *ret = b;
    return NULL;
}

static void close_split(fs_source_t *f) {
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
    f->current = -1;
}

static src_status_t fs_source_poll(source_t *s, batch_t **ret_batch, int *ret_split, err_t **reterr) {
    fs_source_t *f = s->self;
    for (int tries = 0; tries < 64; tries++) {
        if (f->current < 0) {
            int i = 0;
            while (i < s->splits.n && s->splits.items[i].ended) i++;
            if (i == s->splits.n) return SRC_ENDED;
            f->current = i;
        }
        split_t *split = &s->splits.items[f->current];
        err_t *e = f->fd >= 0 ? NULL : open_split(f, split);
        if (!e) e = read_records(s, f, split);
        if (!e) e = finish_batch(s, f, split, ret_batch);
        if (e) {
            *reterr = err_wrap(e, "table %s", s->env.op->table->name);
            return SRC_FAIL;
        }
        *ret_split = f->current;
        if (split->end >= 0 && split->position >= split->end) {
            split->ended = true;
            close_split(f);
        }
        if (*ret_batch) return SRC_MORE;
    }
    return SRC_MORE; /* many empty files: go on at the next step */
}

static void fs_source_close(source_t *s) {
    fs_source_t *f = s->self;
    if (f->decoder) close_split(f);
    decoder_free(f->decoder);
    free(f->buf);
    free(f->out_of);
}

const source_vtable_t filesystem_source = {
    .connector = "filesystem",
    .state_size = sizeof(fs_source_t),
    .check = fs_source_check, .metadata = fs_metadata, .narrows = fs_source_narrows,
    .enumerate = fs_source_enumerate,
    .open = fs_source_open,
    .poll = fs_source_poll,
    .close = fs_source_close,
};
