/* The changelog's promise: what an extent names comes back byte for byte, or a message that names file and byte. */
#include "common/clock.h"
#include "state/base_meta.h"
#include "state/extent_check.h"
#include "tests/state/fakes.h"
#include <stdlib.h>

static const changelog_id_t id = {0x1122334455667788, 0xaa, 2, 5, "w1"};

/* What a reader heard, as text. */
typedef struct heard { buf_t text; } heard_t;
static err_t *on_begin(void *arg, attempt_t attempt, epoch_t epoch) {
    buf_printf(&((heard_t *)arg)->text, "epoch %d/%d\n", (int)attempt, (int)epoch);
    return NULL;
}
static err_t *on_task(void *arg, int stage, int subtask, int64_t watermark, bool ended) {
    buf_printf(&((heard_t *)arg)->text, " task %d/%d wm %d%s\n", stage, subtask, (int)watermark, ended ? " ended" : "");
    return NULL;
}
static err_t *on_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    buf_printf(&((heard_t *)arg)->text, "  state %d op %d slot %d: %.*s\n", (int)fingerprint, op, slot,
               (int)MIN(bytes.len, 8u), (const char *)bytes.p);
    return NULL;
}
static err_t *on_sink(void *arg, uint64_t fingerprint, int op, int lane, uint64_t rows, slice_t segment) {
    buf_printf(&((heard_t *)arg)->text, "  sink %d lane %d rows %d: %.*s\n", (int)fingerprint, lane, (int)rows,
               (int)segment.len, (const char *)segment.p);
    return NULL;
}
static segment_visitor_t visitor(heard_t *h) {
    *h = (heard_t){buf_make(1 << 20)};
    return (segment_visitor_t){.arg = h, .begin = on_begin, .task = on_task, .state = on_state, .sink = on_sink};
}

static void build(epoch_t epoch, bool compress, size_t filler, buf_t *out) {
    task_seal_t *s[2] = {seal_new(epoch, 2, 1), seal_new(epoch, 1, 0)}; /* handed over in any order */
    buf_puts(seal_state(s[0], 70, 4, 0), "changes");
    seal_state(s[0], 71, 5, 0); /* nothing changed: not written */
    buf_t *big = seal_state(s[0], 70, 4, -1);
    for (size_t i = 0; i < filler; i++) buf_puts(big, "operator bytes ");
    buf_puts(big, "x");
    seal_sink(s[0], 90, 6, "rows");
    s[1]->ended = true;
    ck_ok(segment_build(&id, epoch, s, 2, compress, out));
    for (int i = 0; i < 2; i++) task_seal_free(s[i]);
}

START_TEST(a_segment_tells_what_the_tasks_sealed_in_order_of_tasks) {
    for (int compress = 0; compress < 2; compress++) {
        buf_t b = buf_make(1 << 20);
        build(9, compress, 100, &b);
        ck_assert(compress ? b.len < 400 : b.len > 1500);
        heard_t h;
        segment_visitor_t v = visitor(&h);
        size_t used;
        ck_ok(segment_visit(buf_slice(&b), id.job, &v, &used));
        ck_assert_uint_eq(used, b.len);
        ck_assert_str_eq(buf_cstr(&h.text), "epoch 5/9\n task 1/0 wm 9000 ended\n task 2/1 wm 9000\n"
                                            "  state 70 op 4 slot 0: changes\n  state 70 op 4 slot -1: operator\n"
                                            "  sink 90 lane 6 rows 1: rows\n");
        buf_free(&h.text);
        ck_fails(segment_visit(buf_slice(&b), 1, &v, NULL), ERR_CORRUPT, "of job");
        buf_free(&b);
        buf_free(&h.text);
    }
}
END_TEST

/* Nothing but the whole segment is taken: not a prefix of any length, not one with a bit flipped anywhere. */
START_TEST(every_torn_tail_and_every_flipped_bit_is_found) {
    for (int compress = 0; compress < 2; compress++) {
        buf_t b = buf_make(1 << 20);
        build(9, compress, 20, &b);
        segment_visitor_t silent = {0};
        for (size_t len = 0; len < b.len; len++)
            ck_fails(segment_visit(slice_of(b.data, len), id.job, &silent, NULL), ERR_CORRUPT, "byte ");
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            err_t *e = segment_visit(buf_slice(&b), id.job, &silent, NULL);
            ck_assert_msg(err_code(e) == ERR_CORRUPT, "bit %zu of byte %zu: %s", bit % 8, bit / 8, err_text(e));
            err_free(e);
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        ck_ok(segment_visit(buf_slice(&b), id.job, &silent, NULL));
        buf_free(&b);
    }
}
END_TEST

/* A file with epochs 7, 8, 9; the extent names 8 and 9. */
START_TEST(an_extent_is_read_from_the_middle_of_a_file) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    changelog_t *c = changelog_new(d, &id);
    manifest_t *m = manifest_new();
    for (epoch_t e = 7; e <= 9; e++) {
        buf_t b = buf_make(1 << 20);
        build(e, true, e, &b);
        extent_t x;
        ck_ok(changelog_append(c, e, buf_slice(&b), &x));
        ck_assert_str_eq(x.path, "jobs/1122334455667788/log/iaa.l2.a5.w1.0.log");
        if (e > 7) manifest_add_extent(m, &x);
        manifest_add_extent(m, &x); /* an ack that comes twice changes nothing; that of 7 comes once */
        if (e == 7) { /* .. and 7 is dropped again: some base holds it */
            free(m->extents[0].path);
            m->nextents = 0;
        }
        free(x.path);
        buf_free(&b);
    }
    changelog_free(c);
    ck_assert_int_eq(m->nextents, 1);
    extent_t *x = &m->extents[0];
    ck_assert(x->first == 8 && x->last == 9 && x->from > 0);
    heard_t h;
    segment_visitor_t v = visitor(&h);
    ck_ok(changelog_read(d, x, id.job, &v));
    ck_assert(strstr(buf_cstr(&h.text), "epoch 5/8") && strstr(buf_cstr(&h.text), "epoch 5/9"));
    ck_assert(!strstr(buf_cstr(&h.text), "epoch 5/7"));
    buf_free(&h.text);
    /* the manifest and the file must agree */
    segment_visitor_t silent = {0};
    x->crc++;
    ck_fails(changelog_read(d, x, id.job, &silent), ERR_CORRUPT, "not the one the manifest names");
    x->crc--;
    x->from--;
    ck_fails(changelog_read(d, x, id.job, &silent), ERR_CORRUPT, x->path);
    x->from++;
    uint64_t to = x->to;
    for (; x->to > x->from + 1; x->to--) {
        if (x->to == to) continue;
        err_t *e = changelog_read(d, x, id.job, &silent);
        ck_assert_msg(err_code(e) == ERR_CORRUPT && strstr(err_text(e), t.path) && strstr(err_text(e), "byte"), "%s", err_text(e));
        err_free(e);
    }
    x->to = to + 100;
    ck_fails(changelog_read(d, x, id.job, &silent), ERR_CORRUPT, "the file ends");
    x->to = to;
    x->last = 8;
    ck_fails(changelog_read(d, x, id.job, &silent), ERR_CORRUPT, "epoch 9");
    manifest_free(m);
    d->free(d);
    tmp_free(&t);
}
END_TEST

static err_t *check_in_pieces(const extent_t *x, job_id_t job, const buf_t *file, size_t piece) {
    extent_check_t c;
    extent_check_begin(&c, x, job);
    for (size_t at = 0; at < file->len; at += piece) TRY(extent_check_feed(&c, at, slice_of(file->data + at, MIN(piece, file->len - at))));
    return extent_check_end(&c);
}

/* Whoever copies finds what a reader would: in a file with epochs 7, 8, 9 and more, of which an extent names 8 and 9. */
START_TEST(a_file_that_passes_by_in_pieces_is_checked_as_one_that_is_read) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    for (int compress = 0; compress < 2; compress++) {
        buf_t file = buf_make(1 << 20);
        manifest_t *m = manifest_new();
        for (epoch_t e = 7; e <= 9; e++) {
            segment_header_t h;
            size_t from = file.len;
            build(e, compress, 12 * e, &file);
            ck_ok(segment_header_read(slice_of(file.data + from, file.len - from), &h));
            extent_t x = {(char *)"jobs/1122334455667788/log/iaa.l2.a5.w1.0.log", from, file.len, e, e, h.crc};
            if (e > 7) manifest_add_extent(m, &x);
        }
        ck_assert_int_eq(m->nextents, 1);
        extent_t *x = &m->extents[0];
        buf_puts(&file, "a torn tail");
        segment_visitor_t silent = {0};
        for (size_t piece = 1; piece <= file.len; piece++) ck_ok(check_in_pieces(x, id.job, &file, piece));
        for (size_t at = 0; at < file.len; at++) {
            file.data[at] ^= (uint8_t)(1 << at % 8);
            for (size_t piece = 1; piece <= file.len; piece += 1 + file.len / 3) {
                err_t *e = check_in_pieces(x, id.job, &file, piece);
                ck_assert_int_eq(err_code(e), at < x->from || at >= x->to ? ERR_OK : ERR_CORRUPT);
                err_free(e);
            }
            file.data[at] ^= (uint8_t)(1 << at % 8);
        }
        ck_ok(d->put(d, x->path, buf_slice(&file)));
        const extent_t wrong[] = {{x->path, x->from, x->to, 8, 9, x->crc + 1}, {x->path, x->from - 1, x->to, 8, 9, x->crc},
                                  {x->path, x->from, x->to - 1, 8, 9, x->crc}, {x->path, x->from, x->to, 8, 8, x->crc},
                                  {x->path, x->from, x->to, 9, 9, x->crc},     {x->path, x->from, x->to + 200, 8, 9, x->crc},
                                  {x->path, x->to, x->from, 8, 9, x->crc},     {x->path, x->from, x->to + 5, 8, 9, x->crc}};
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
            err_t *read = changelog_read(d, &wrong[i], id.job, &silent), *checked = check_in_pieces(&wrong[i], id.job, &file, 100);
            ck_assert_msg(err_code(read) == ERR_CORRUPT && err_code(checked) == ERR_CORRUPT, "%zu: '%s', '%s'", i, err_text(read), err_text(checked));
            err_free(read);
            err_free(checked);
        }
        ck_fails(check_in_pieces(x, 1, &file, 100), ERR_CORRUPT, "of job 1122334455667788");
        manifest_free(m);
        buf_free(&file);
    }
    d->free(d);
    tmp_free(&t);
}
END_TEST

static void count_file(void *arg, const char *name, uint64_t size, int64_t modified_ms) { ++*(int *)arg; }

/* Epochs 1..4, and one call fails: create, append or sync. The epoch is repeated from memory into a new file; what the manifest
 * names is whole, and every epoch is there exactly once. */
START_TEST(a_failed_write_is_repeated_into_a_new_file) {
    for (int code = 0; code < 2; code++) {
        for (int at = 1; at <= 9; at++) {
            tmp_t t = tmp_new();
            disk_t *real;
            ck_ok(disk_open_posix(t.path, false, &real));
            bad_disk_t bad = bad_disk(real, at, code ? ERR_IO : ERR_NO_SPACE);
            changelog_t *c = changelog_new(&bad.vt, &id);
            manifest_t *m = manifest_new();
            int failed = 0;
            for (epoch_t epoch = 1; epoch <= 4; epoch++) {
                buf_t b = buf_make(1 << 20);
                build(epoch, true, 10, &b);
                extent_t x;
                err_t *e;
                while ((e = changelog_append(c, epoch, buf_slice(&b), &x))) {
                    ck_assert_int_eq(err_code(e), bad.code);
                    ck_assert_int_lt(++failed, 2);
                    err_free(e);
                }
                manifest_add_extent(m, &x);
                free(x.path);
                buf_free(&b);
            }
            ck_assert_int_eq(failed, 1);
            ck_assert_int_eq(m->nextents, at <= 3 ? 1 : 2); /* before or between two epochs */
            int files = 0; /* a file without a whole segment is not left behind, unless it could not even be opened */
            ck_ok(real->list(real, "", count_file, &files));
            ck_assert_int_eq(files, m->nextents + (at == 1));
            heard_t h;
            segment_visitor_t v = visitor(&h);
            for (int i = 0; i < m->nextents; i++) ck_ok(changelog_read(real, &m->extents[i], id.job, &v));
            const char *p = buf_cstr(&h.text);
            for (int epoch = 1; epoch <= 4; epoch++) {
                char want[32];
                snprintf(want, sizeof want, "epoch 5/%d\n", epoch);
                p = strstr(p, want);
                ck_assert_msg(p && !strstr(p + 1, want), "epoch %d", epoch);
            }
            buf_free(&h.text);
            manifest_free(m);
            changelog_free(c);
            real->free(real);
            tmp_free(&t);
        }
    }
}
END_TEST

START_TEST(long_files_are_left_and_names_say_who_wrote) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    changelog_id_t odd = id;
    odd.worker = "a/b:1.2";
    changelog_t *c = changelog_new(d, &odd);
    changelog_set_file_bytes(c, 1);
    for (int i = 0; i < 3; i++) {
        task_seal_t *s = seal_new((epoch_t)i + 1, 0, 0);
        buf_t b = buf_make(1 << 20);
        ck_ok(segment_build(&odd, s->epoch, &s, 1, false, &b));
        extent_t x;
        ck_ok(changelog_append(c, s->epoch, buf_slice(&b), &x));
        char want[64];
        snprintf(want, sizeof want, "a%%2Fb%%3A1%%2E2.%d.log", i);
        ck_assert_msg(strstr(x.path, want), "%s", x.path);
        storage_origin_t o;
        ck_assert(storage_path_parse(x.path, &o));
        ck_assert(o.incarnation == 0xaa && o.leader == 2 && o.attempt == 5 && slice_eq(o.worker, slice_str("a%2Fb%3A1%2E2")));
        free(x.path);
        buf_free(&b);
        task_seal_free(s);
    }
    storage_origin_t o;
    ck_assert(!storage_path_parse("jobs/12/log/x", &o) && !storage_path_parse("", &o));
    changelog_free(c);
    d->free(d);
    tmp_free(&t);
}
END_TEST

typedef struct large { buf_t state, rows, ops; int seen; } large_t;
static err_t *same_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    large_t *l = arg;
    ck_assert(slice_eq(bytes, buf_slice(slot < 0 ? &l->ops : &l->state)));
    l->seen++;
    return NULL;
}
static err_t *same_rows(void *arg, uint64_t fingerprint, int op, int lane, uint64_t rows, slice_t segment) {
    large_t *l = arg;
    ck_assert(slice_eq(segment, buf_slice(&l->rows)));
    l->seen++;
    return NULL;
}

/* What is large stays in the seals until it is durable: after each call that fails (create, each append, sync) the same segment goes, whole, into another
 * file. With and without what LZ4 makes small. */
START_TEST(A22_a_segment_is_written_from_where_its_pieces_lie_and_again_from_there_after_a_failure) {
    for (int at = 1; at <= 8; at++) {
        for (int repeats = 0; repeats < 2; repeats++) {
            tmp_t t = tmp_new();
            disk_t *real;
            ck_ok(disk_open_posix(t.path, false, &real));
            bad_disk_t bad = bad_disk(real, at, ERR_IO);
            changelog_t *c = changelog_new(&bad.vt, &id);
            large_t l = {.state = buf_make(8 << 20), .rows = buf_make(1 << 20), .ops = buf_make(100)};
            rng_t rng;
            rng_seed(&rng, (uint64_t)at);
            for (int i = 0; i < 300000; i++) buf_put_u64(&l.state, repeats ? 7 : rng_next(&rng));
            for (int i = 0; i < 10000; i++) buf_put_u64(&l.rows, rng_next(&rng));
            buf_puts(&l.ops, "small");
            task_seal_t *s = seal_new(5, 1, 0);
            buf_t *b = seal_state(s, 70, 4, 0);
            buf_put(b, l.state.data, l.state.len);
            b = seal_state(s, 70, 4, -1);
            buf_put(b, l.ops.data, l.ops.len);
            seal_sink(s, 90, 6, "");
            buf_put(&s->sinks[0].segment, l.rows.data, l.rows.len);
            segment_t segment;
            ck_ok(segment_gather(&id, 5, &s, 1, true, &segment));
            ck_assert(repeats ? segment.n == 1 && segment.bytes < 200 << 10 : segment.n == 4 && segment.own.len < 300);
            ck_assert_uint_eq(s->states[0].bytes.len, repeats ? 0 : l.state.len);
            extent_t x;
            int failed = 0;
            for (err_t *e; (e = changelog_append_pieces(c, 5, &segment, &x)); failed++) err_free(e);
            ck_assert_int_eq(failed, at <= (repeats ? 3 : 6)); /* create, an append for each piece, sync */
            task_seal_written(s);
            ck_assert_uint_eq(s->states[0].bytes.len, 0);
            segment_visitor_t v = {.arg = &l, .state = same_state, .sink = same_rows};
            ck_ok(changelog_read(real, &x, id.job, &v));
            ck_assert_int_eq(l.seen, 3);
            segment_free(&segment);
            free(x.path);
            task_seal_free(s);
            buf_free(&l.state);
            buf_free(&l.rows);
            buf_free(&l.ops);
            changelog_free(c);
            real->free(real);
            tmp_free(&t);
        }
    }
}
END_TEST

START_TEST(a_seal_that_overflowed_is_never_written) {
    task_seal_t *s = seal_new(1, 0, 0);
    buf_t *b = seal_state(s, 1, 1, 0);
    b->max = 4;
    buf_puts(b, "too long");
    buf_t out = buf_make(1 << 20);
    ck_fails(segment_build(&id, 1, &s, 1, false, &out), ERR_LIMIT, "do not fit");
    buf_free(&out);
    task_seal_free(s);
}
END_TEST

/* Two lanes of 600 MB each passed their own bounds. It is refused before a byte of them is looked at (they are not there), and nothing is freed. */
START_TEST(a_workers_tasks_that_seal_too_much_together_are_refused_by_name) {
    task_seal_t *seals[2];
    for (int i = 0; i < 2; i++) {
        seals[i] = seal_new(1, 0, i);
        seal_sink(seals[i], 90, i, "");
        seals[i]->sinks[0].segment.len = (size_t)600 << 20;
    }
    for (int compress = 0; compress < 2; compress++) {
        buf_t out = buf_make(BUF_MAX_DEFAULT);
        err_t *e = segment_build(&id, 1, seals, 2, compress, &out);
        ck_assert_int_eq(err_code(e), ERR_LIMIT);
        ck_assert_msg(strstr(err_text(e), "sealed 1200 MB of changes and output, a segment holds at most 1024 MB"), "%s", err_text(e));
        ck_assert_ptr_nonnull(strstr(err_hint_text(e), "shorten execution.checkpointing.interval, or give the job more workers"));
        ck_assert_uint_eq(out.len, 0);
        err_free(e);
        buf_free(&out);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(seals[i]->sinks[0].segment.len, (size_t)600 << 20);
        seals[i]->sinks[0].segment.len = 0;
        task_seal_free(seals[i]);
    }
}
END_TEST

/* Changelog, base and manifest of a build of the next version: refused, and the message says both versions. */
START_TEST(C7_files_of_a_build_of_another_version_are_refused_by_number) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    buf_t segment = buf_make(1 << 20), base = buf_make(1 << 20), text = buf_make(1 << 20);
    changelog_t *c = changelog_new(d, &id);
    extent_t x;
    manifest_t *m = manifest_new(), *back = NULL;
    base_meta_t meta = {.job = 1, .attempt = 1, .epoch = 7, .worker = (char *)"w1"}, got;
    setenv("TIDEGATE_VERSION_SHIFT", "1", 1);
    build(7, false, 0, &segment);
    ck_ok(changelog_append(c, 7, buf_slice(&segment), &x));
    base_meta_encode(&base, &meta);
    manifest_print(&text, m);
    unsetenv("TIDEGATE_VERSION_SHIFT");
    heard_t h;
    segment_visitor_t v = visitor(&h);
    ck_fails(changelog_read(d, &x, id.job, &v), ERR_VERSION, "segment of version 2");
    ck_fails(base_meta_decode(buf_slice(&base), &got), ERR_VERSION, "version 2: this build reads version 1");
    ck_fails(manifest_parse(buf_slice(&text), &back), ERR_VERSION, "version 5: this build reads versions 1 to 4");
    manifest_free(m);
    changelog_free(c);
    free(x.path);
    buf_free(&h.text);
    buf_free(&segment);
    buf_free(&base);
    buf_free(&text);
    d->free(d);
    tmp_free(&t);
}
END_TEST

START_TEST(the_segment_format_is_frozen) {
    task_seal_t *s = seal_new(3, 1, 2);
    buf_puts(seal_state(s, 0x0102030405060708, 4, 0), "ab");
    seal_sink(s, 9, 5, "r");
    buf_t b = buf_make(4096);
    ck_ok(segment_build(&id, 3, &s, 1, true, &b));
    static const char want[] = "5447434c01000000887766554433221" "1aa000000000000000500000000000000" "0300000000000000"
                               "2300000000000000" "2300000000000000" "CRCSCRCH"
                               "0101" "02" "f02e" "00" "05" "02" "0807060504030201" "04" "00" "02" "6162"
                               "03" "0900000000000000" "03" "05" "01" "01" "72";
    buf_t hex = buf_make(4096);
    for (size_t i = 0; i < b.len; i++) buf_printf(&hex, i >= 56 && i < 64 ? "" : "%02x", b.data[i]);
    buf_t expect = buf_make(4096);
    const char *crc = strstr(want, "CRCSCRCH");
    buf_put(&expect, want, (size_t)(crc - want));
    buf_puts(&expect, crc + 8);
    ck_assert_str_eq(buf_cstr(&hex), buf_cstr(&expect));
    reader_t r = reader_of(slice_of(b.data + 56, 8));
    ck_assert_uint_eq(read_u32(&r), crc32c(0, b.data + 64, b.len - 64));
    ck_assert_uint_eq(read_u32(&r), crc32c(0, b.data, 60));
    buf_free(&hex);
    buf_free(&expect);
    buf_free(&b);
    task_seal_free(s);
}
END_TEST

/* ---------------------------------------------------------------- disk */
static void collect(void *arg, const char *name, uint64_t size, int64_t modified_ms) { buf_printf(arg, "%s %d\n", name, (int)size); }

START_TEST(the_disk_keeps_its_promises) {
    tmp_t t = tmp_new();
    char uri[96];
    snprintf(uri, sizeof uri, "file://%s/deep/er", t.path);
    disk_t *d;
    ck_ok(disk_open_uri(uri, &d));
    disk_file_t *f;
    ck_ok(d->create(d, "a/b/log", &f));
    ck_ok(d->append(d, f, slice_str("hello ")));
    ck_ok(d->append(d, f, slice_str("world")));
    ck_ok(d->sync(d, f));
    d->close(d, f);
    ck_fails(d->create(d, "a/b/log", &f), ERR_EXISTS, "a/b/log");
    buf_t b = buf_make(1 << 10);
    ck_ok(d->read(d, "a/b/log", 6, UINT64_MAX, &b));
    ck_assert(slice_eq(buf_slice(&b), slice_str("world")));
    ck_fails(d->read(d, "a/b/log", 6, 6, &b), ERR_CORRUPT, "a/b/log: byte 11: the file ends");
    ck_fails(d->read(d, "a/none", 0, 1, &b), ERR_NOT_FOUND, "a/none");
    ck_fails(d->read(d, "../../etc/passwd", 0, 1, &b), ERR_INVALID, "leaves the storage directory");
    ck_fails(d->put(d, "/etc/x", slice_str("")), ERR_INVALID, "not relative");
    ck_ok(d->put(d, "a/manifest", slice_str("one")));
    ck_ok(d->put(d, "a/manifest", slice_str("three")));
    char local[128], back[128];
    snprintf(local, sizeof local, "%s/deep/er/a/b/log", t.path);
    snprintf(back, sizeof back, "%s/out/back", t.path);
    ck_ok(d->import(d, local, "c/copy"));
    ck_ok(d->import(d, local, "c/copy")); /* again: the same */
    ck_ok(d->export(d, "c/copy", back));
    ck_assert_int_eq(access(back, R_OK), 0);
    buf_clear(&b);
    ck_ok(d->list(d, "", collect, &b));
    ck_assert_str_eq(buf_cstr(&b), "a/b/log 11\na/manifest 5\nc/copy 11\n");
    ck_ok(d->remove(d, "c/copy"));
    ck_ok(d->remove(d, "c/copy"));
    buf_clear(&b);
    ck_ok(d->list(d, "a", collect, &b));
    ck_assert_str_eq(buf_cstr(&b), "b/log 11\nmanifest 5\n");
    ck_ok(d->list(d, "nothing/here", collect, &b));
    d->free(d);
    ck_fails(disk_open_uri("s3://bucket/x", &d), ERR_UNSUPPORTED, "s3://bucket/x");
    ck_fails(disk_open_uri("file://host/x", &d), ERR_INVALID, "names a host");
    snprintf(uri, sizeof uri, "%s/deep/er/a/manifest", t.path);
    err_t *e = disk_open_uri(uri, &d);
    ck_assert_msg(e && strstr(err_text(e), "not a directory"), "%s", err_text(e));
    err_free(e);
    buf_free(&b);
    tmp_free(&t);
}
END_TEST

TESTS("changelog", a_segment_tells_what_the_tasks_sealed_in_order_of_tasks, every_torn_tail_and_every_flipped_bit_is_found,
      an_extent_is_read_from_the_middle_of_a_file, a_file_that_passes_by_in_pieces_is_checked_as_one_that_is_read, a_failed_write_is_repeated_into_a_new_file,
      long_files_are_left_and_names_say_who_wrote, a_seal_that_overflowed_is_never_written,
      A22_a_segment_is_written_from_where_its_pieces_lie_and_again_from_there_after_a_failure,
      a_workers_tasks_that_seal_too_much_together_are_refused_by_name, the_segment_format_is_frozen,
      C7_files_of_a_build_of_another_version_are_refused_by_number,
      the_disk_keeps_its_promises)
