/* A savepoint as a directory: what is in it, and that no leader spoils what its successor made, wherever it was paused. */
#include "coordinator/savepoint_files.h"
#include "state/segment.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <unistd.h>

#define LOG "jobs/0000000000000007/log/i1.l1.a1.w1.0.log"
#define SST "jobs/0000000000000007/base/i1.l1.a1.w1/000001.sst"
#define EPOCHS 9

static void scratch(char path[64]) {
    snprintf(path, 64, "/tmp/tidegate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}
static void remove_all(const char *path) {
    AUTO(auto_free) char *command = xprintf("rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

/* A worker's changelog of epochs 1 to 9, and where each of them ends. */
static buf_t content;
static uint64_t ends[EPOCHS + 1];
static uint32_t crcs[EPOCHS + 1];
static void write_log(void) {
    if (content.len) return;
    content = buf_make(1 << 20);
    for (epoch_t epoch = 1; epoch <= EPOCHS; epoch++) {
        task_seal_t t = {.epoch = epoch, .stage = 1, .watermark = (int64_t)epoch}, *seals[] = {&t};
        state_seal_t state = {.fingerprint = 70, .op = 1, .slot = -1, .bytes = buf_make(1000)};
        buf_printf(&state.bytes, "what the operator holds as of epoch %d", (int)epoch);
        t.states = &state;
        t.nstates = 1;
        ck_ok(segment_build(&(changelog_id_t){7, 1, 1, 1, "w1"}, epoch, seals, 1, false, &content));
        segment_header_t h;
        ck_ok(segment_header_read(slice_of(content.data + ends[epoch - 1], content.len - ends[epoch - 1]), &h));
        ends[epoch] = content.len;
        crcs[epoch] = h.crc;
    }
}
static void fill(disk_t *d) {
    write_log();
    ck_ok(d->put(d, LOG, buf_slice(&content)));
    ck_ok(d->put(d, SST, slice_str("table")));
}
/* Of a later epoch more of the log counts. */
static manifest_t *manifest_of(epoch_t epoch) {
    write_log();
    manifest_t *m = manifest_new();
    m->job = 7;
    m->incarnation = 1;
    m->name = xstrdup("orders");
    m->attempt = 1;
    m->epoch = epoch;
    manifest_add_extent(m, &(extent_t){LOG, 0, ends[epoch], 1, epoch, crcs[epoch]});
    base_file_t file = {SST, "000001.sst", 5, crc32c(0, "table", 5)};
    manifest_set_base(m, &(base_t){"w1", 4, 1, &file});
    return m;
}
static err_t *yes(void *arg) { return NULL; }
static const savepoint_guard_t leads = {yes, NULL, NULL};

static void expect_whole(disk_t *d, const manifest_t *m, epoch_t epoch) {
    AUTO(buf_free) buf_t b = buf_make(1 << 20), t = buf_make(100);
    ck_ok(d->read(d, m->extents[0].path, 0, UINT64_MAX, &b));
    ck_assert(slice_eq(buf_slice(&b), slice_of(content.data, ends[epoch]))); /* what the manifest names and no more */
    ck_ok(d->read(d, m->bases[0].files[0].path, 0, UINT64_MAX, &t));
    ck_assert(slice_eq(buf_slice(&t), slice_str("table")));
}
static void expect_restores(disk_t *d, const char *from, epoch_t epoch) {
    manifest_t *got = NULL;
    ck_ok(savepoint_restore(d, from, 9, 5, leads, &got));
    ck_assert_uint_eq(got->epoch, epoch);
    ck_assert_str_eq(got->extents[0].path, "jobs/0000000000000007@0000000000000009.0000000000000005/log/i1.l1.a1.w1.0.log");
    ck_assert_str_eq(got->bases[0].files[0].path, "jobs/0000000000000007@0000000000000009.0000000000000005/base/i1.l1.a1.w1/000001.sst");
    expect_whole(d, got, epoch);
    manifest_free(got);
}

/* A7: a savepoint is self-contained, and restoring it makes files of the new job's own. */
START_TEST(A7_a_savepoint_is_a_directory_that_stands_alone) {
    char path[64], outside[64];
    scratch(path);
    scratch(outside);
    disk_t *d = NULL;
    ck_ok(disk_open_posix(path, true, &d));
    fill(d);
    manifest_t *m = manifest_of(5), *later = manifest_of(6), *got = NULL;
    const char *targets[] = {outside, "savepoints/one"};
    for (int i = 0; i < 2; i++) {
        ck_ok(savepoint_copy(d, m, 3, 0, targets[i], leads));
        ck_ok(savepoint_copy(d, m, 4, 0, targets[i], leads)); /* again: an earlier leader's copy is as good */
        ck_fails(savepoint_copy(d, later, 3, 0, targets[i], leads), ERR_EXISTS, "another savepoint lies there");
    }
    ck_ok(d->remove(d, LOG));
    for (int i = 0; i < 2; i++) {
        expect_restores(d, targets[i], 5);
        expect_restores(d, targets[i], 5); /* once more: what is there is taken */
    }
    ck_fails(savepoint_restore(d, "savepoints/two", 9, 5, leads, &got), ERR_NOT_FOUND, "savepoint savepoints/two");
    ck_fails(savepoint_copy(d, m, 3, 0, "s3://x", leads), ERR_UNSUPPORTED, "s3://x");
    manifest_free(m);
    manifest_free(later);
    d->free(d);
    remove_all(path);
    remove_all(outside);
}
END_TEST

START_TEST(A7_a_target_that_cannot_be_written_or_is_in_use_is_found_out_beforehand) {
    char path[64];
    scratch(path);
    disk_t *d = NULL;
    ck_ok(disk_open_posix(path, true, &d));
    fill(d);
    ck_ok(d->put(d, "file", slice_str("in the way")));
    AUTO(auto_free) char *below_a_file = xprintf("file://%s/file/savepoint", path);
    ck_ok(savepoint_check(d, "savepoints/one"));
    ck_ok(savepoint_check(d, "savepoints/one")); /* and leaves nothing behind */
    ck_fails(savepoint_check(d, below_a_file), ERR_NOT_FOUND, "Not a directory");
    ck_fails(savepoint_check(d, "s3://bucket/x"), ERR_UNSUPPORTED, "s3://bucket/x");
    ck_fails(savepoint_check(d, "../x"), ERR_INVALID, "must not leave it");
    manifest_t *m = manifest_of(5);
    ck_ok(savepoint_copy(d, m, 3, 0, "savepoints/one", leads));
    ck_fails(savepoint_check(d, "savepoints/one"), ERR_EXISTS, "another savepoint lies there");
    ck_ok(d->remove(d, "savepoints/one/MANIFEST.json"));
    ck_fails(savepoint_check(d, "savepoints/one"), ERR_EXISTS, "another savepoint was begun there");
    manifest_free(m);
    d->free(d);
    remove_all(path);
}
END_TEST

/* ---- storage that lost bits */
static void flip(disk_t *d, const char *path, uint64_t at) {
    AUTO(buf_free) buf_t b = buf_make(1 << 20);
    ck_ok(d->read(d, path, 0, UINT64_MAX, &b));
    ck_assert_uint_lt(at, b.len);
    b.data[at] ^= 0x10;
    ck_ok(d->put(d, path, buf_slice(&b)));
}
static void cut(disk_t *d, const char *path, uint64_t at) {
    AUTO(buf_free) buf_t b = buf_make(1 << 20);
    ck_ok(d->read(d, path, 0, at, &b));
    ck_ok(d->put(d, path, buf_slice(&b)));
}
typedef struct damage { const char *path; void (*how)(disk_t *d, const char *path, uint64_t at); uint64_t at; const char *says; } damage_t;
#define DAMAGES 7
static void damages(const char *log, const char *sst, damage_t ret[DAMAGES]) {
    write_log();
    const damage_t all[DAMAGES] = {{log, flip, 3, "segment at byte 0: byte 0: no segment begins here"},
                                   {log, flip, ends[2] + 9, "wrong checksum of the segment header"},
                                   {log, flip, ends[3] - 1, "wrong checksum of the segment's payload"},
                                   {log, flip, ends[5] - 1, "wrong checksum of the segment's payload"},
                                   {log, cut, ends[5] - 1, "the file ends"},
                                   {sst, flip, 4, "wrong checksum"},
                                   {sst, cut, 4, "byte 4: the file ends"}};
    memcpy(ret, all, sizeof all);
}
static void expect_damage(err_t *e, disk_t *d, const damage_t *x, const char *hint) {
    AUTO(auto_free) char *name = xprintf("%s/%s: ", d->where(d), x->path);
    ck_assert_int_eq(err_code(e), ERR_CORRUPT);
    ck_assert_msg(strstr(err_text(e), name) && strstr(err_text(e), x->says), "'%s' names not '%s%s'", err_text(e), name, x->says);
    ck_assert_msg(err_hint_text(e) && strstr(err_hint_text(e), hint), "%s", err_hint_text(e));
    err_free(e);
}

/* A7: a stop removes what it was copied from. */
START_TEST(A7_a_savepoint_of_a_damaged_file_is_none_and_the_file_is_named) {
    char path[64];
    scratch(path);
    disk_t *d = NULL;
    ck_ok(disk_open_posix(path, true, &d));
    damage_t all[DAMAGES];
    damages(LOG, SST, all);
    manifest_t *m = manifest_of(5);
    for (int i = 0; i < DAMAGES; i++) {
        fill(d);
        all[i].how(d, all[i].path, all[i].at);
        AUTO(auto_free) char *target = xprintf("savepoints/%d", i), *manifest = xprintf("%s/MANIFEST.json", target);
        AUTO(auto_free) char *copied = xprintf("%s/jobs/0000000000000007@0000000000000003/%s", target, all[i].path + strlen("jobs/0000000000000007/"));
        expect_damage(savepoint_copy(d, m, 3, 0, target, leads), d, &all[i], "put that file back");
        AUTO(buf_free) buf_t b = buf_make(1 << 20);
        ck_fails(d->read(d, manifest, 0, UINT64_MAX, &b), ERR_NOT_FOUND, "MANIFEST.json");
        ck_fails(d->read(d, copied, 0, UINT64_MAX, &b), ERR_NOT_FOUND, all[i].path + strlen("jobs/0000000000000007/"));
        fill(d); /* somebody puts it back */
        ck_ok(savepoint_copy(d, m, 3, 0, target, leads));
        expect_restores(d, target, 5);
    }
    flip(d, LOG, ends[5] + 3); /* the manifest names no such byte */
    ck_ok(savepoint_copy(d, m, 3, 0, "savepoints/beyond", leads));
    expect_restores(d, "savepoints/beyond", 5);
    manifest_free(m);
    d->free(d);
    remove_all(path);
}
END_TEST

static void count_one(void *arg, const char *name, uint64_t size, int64_t modified_ms) { ++*(int *)arg; }

START_TEST(A7_no_job_begins_from_a_savepoint_with_a_damaged_file) {
    char path[64], outside[64];
    scratch(path);
    scratch(outside);
    disk_t *d = NULL, *kept = NULL;
    ck_ok(disk_open_posix(path, true, &d));
    ck_ok(disk_open_posix(outside, true, &kept));
    fill(d);
    damage_t all[DAMAGES];
    damages("jobs/0000000000000007@0000000000000003/log/i1.l1.a1.w1.0.log", "jobs/0000000000000007@0000000000000003/base/i1.l1.a1.w1/000001.sst", all);
    manifest_t *m = manifest_of(5), *got = NULL;
    ck_ok(savepoint_copy(d, m, 3, 0, outside, leads));
    for (int i = 0; i < DAMAGES; i++) {
        AUTO(buf_free) buf_t whole = buf_make(1 << 20);
        ck_ok(kept->read(kept, all[i].path, 0, UINT64_MAX, &whole));
        all[i].how(kept, all[i].path, all[i].at);
        expect_damage(savepoint_restore(d, outside, 9, 5, leads, &got), kept, &all[i], "begin from another savepoint");
        int left = 0;
        ck_ok(d->list(d, "jobs/0000000000000007@0000000000000009.0000000000000005", count_one, &left));
        ck_assert_int_eq(left, 0);
        ck_ok(kept->put(kept, all[i].path, buf_slice(&whole)));
        expect_restores(d, outside, 5);
    }
    flip(kept, "MANIFEST.json", 30);
    ck_fails(savepoint_restore(d, outside, 9, 5, leads, &got), ERR_CORRUPT, "/MANIFEST.json: manifest: ");
    manifest_free(m);
    d->free(d);
    kept->free(kept);
    remove_all(path);
    remove_all(outside);
}
END_TEST

/* What came with a savepoint carries the id of the job that wrote it, in every generation. */
START_TEST(A7_a_savepoint_of_a_job_that_began_from_one_is_whole) {
    char path[64];
    scratch(path);
    disk_t *d = NULL;
    ck_ok(disk_open_posix(path, true, &d));
    fill(d);
    manifest_t *m = manifest_of(5), *second = NULL, *third = NULL;
    ck_ok(savepoint_copy(d, m, 3, 0, "savepoints/one", leads));
    ck_ok(savepoint_restore(d, "savepoints/one", 9, 5, leads, &second));
    second->job = 9;
    ck_ok(savepoint_copy(d, second, 5, 0, "savepoints/two", leads));
    ck_ok(savepoint_restore(d, "savepoints/two", 11, 6, leads, &third));
    ck_assert_str_eq(third->extents[0].path, "jobs/0000000000000007@000000000000000b.0000000000000006/log/i1.l1.a1.w1.0.log");
    expect_whole(d, third, 5);
    ck_ok(changelog_read(d, &third->extents[0], 11, &(segment_visitor_t){0}));
    manifest_free(m);
    manifest_free(second);
    manifest_free(third);
    d->free(d);
    remove_all(path);
}
END_TEST

/* ---- a leader is paused before the n-th thing it does; meanwhile its successor makes a savepoint at the same place */
typedef struct day {
    disk_t vt, *real;
    int ops, pause;     /* it is paused before this one */
    bool deposed;       /* it is: `look` says so from now on */
    const char *target;
    epoch_t successors; /* epoch that the successor keeps */
    bool swept;         /* the job is STOPPED: its own files go */
    bool made;          /* the successor's savepoint is whole */
    bool restores;      /* no savepoint is made, a job begins from it */
    manifest_t *got;    /* what the successor begins with */
} day_t;

static void op(day_t *y) {
    if (y->ops++ != y->pause) return;
    y->deposed = true;
    if (y->restores) {
        ck_ok(savepoint_restore(y->real, y->target, 9, 4, leads, &y->got));
        return;
    }
    manifest_t *m = manifest_of(y->successors);
    err_t *e = savepoint_copy(y->real, m, 4, 0, y->target, leads);
    y->made = !e;
    if (e) ck_assert_int_eq(err_code(e), ERR_EXISTS); /* refused: it goes elsewhere */
    err_free(e);
    manifest_free(m);
    if (!y->swept || !y->made) return;
    ck_ok(y->real->remove(y->real, LOG));
    ck_ok(y->real->remove(y->real, SST));
}
static day_t *day_of(disk_t *d) { return CONTAINER_OF(d, day_t, vt); }
static err_t *day_create(disk_t *d, const char *path, disk_file_t **ret) { return op(day_of(d)), day_of(d)->real->create(day_of(d)->real, path, ret); }
static err_t *day_append(disk_t *d, disk_file_t *f, slice_t bytes) { return op(day_of(d)), day_of(d)->real->append(day_of(d)->real, f, bytes); }
static err_t *day_sync(disk_t *d, disk_file_t *f) { return op(day_of(d)), day_of(d)->real->sync(day_of(d)->real, f); }
static void day_close(disk_t *d, disk_file_t *f) { day_of(d)->real->close(day_of(d)->real, f); }
static err_t *day_read(disk_t *d, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    return op(day_of(d)), day_of(d)->real->read(day_of(d)->real, path, from, len, ret);
}
static err_t *day_put(disk_t *d, const char *path, slice_t bytes) { return op(day_of(d)), day_of(d)->real->put(day_of(d)->real, path, bytes); }
static err_t *day_remove(disk_t *d, const char *path) { return op(day_of(d)), day_of(d)->real->remove(day_of(d)->real, path); }
static const char *day_where(disk_t *d) { return day_of(d)->real->where(day_of(d)->real); }
static err_t *day_look(void *arg) {
    day_t *y = arg;
    op(y);
    return y->deposed ? err_new(ERR_FENCED, "another leads") : NULL;
}

static int days(epoch_t successors, bool swept, const char *leftover) {
    int made = 0;
    bool through = false;
    for (int pause = 0; !through; pause++) {
        char path[64];
        scratch(path);
        disk_t *d = NULL;
        ck_ok(disk_open_posix(path, true, &d));
        fill(d);
        if (leftover) ck_ok(d->put(d, leftover, slice_str("torn"))); /* of an earlier try */
        day_t y = {.real = d, .pause = pause, .target = "savepoints/one", .successors = successors, .swept = swept};
        y.vt = (disk_t){.create = day_create, .append = day_append, .sync = day_sync, .close = day_close, .read = day_read, .put = day_put,
                        .remove = day_remove, .where = day_where};
        manifest_t *m = manifest_of(5);
        err_t *e = savepoint_copy(&y.vt, m, 3, 0, y.target, (savepoint_guard_t){day_look, NULL, &y});
        through = !y.deposed;
        if (through) ck_ok(e);
        err_free(e);
        if (through) expect_restores(d, y.target, 5);
        else if (y.made) expect_restores(d, y.target, successors);
        made += y.made;
        manifest_free(m);
        d->free(d);
        remove_all(path);
        ck_assert_int_lt(pause, 100);
    }
    return made;
}

/* A7, A14: the final epoch of a stop is copied by both; the successor is done, the job's own files are gone: the copy is all there is. */
START_TEST(A7_a_deposed_leaders_copy_spoils_nothing_wherever_it_was_paused) {
    ck_assert_int_ge(days(5, true, NULL), 15);
    ck_assert_int_ge(days(5, true, "savepoints/one/jobs/0000000000000007@0000000000000003/log/i1.l1.a1.w1.0.log"), 15);
}
END_TEST

/* The client heard nothing of the first and asks the successor for the same place: it has that place, or is told that it is taken. */
START_TEST(A7_two_leaders_never_make_savepoints_of_two_epochs_in_one_place) {
    int made = days(9, false, NULL);
    printf("the successor had the place in %d of its days\n", made);
    ck_assert_int_ge(made, 1);
}
END_TEST

/* A14: the successor's job runs from its own copy, whatever the deposed leader does to what it was copying: goes on, fails, or tidies up. */
START_TEST(A14_a_deposed_leader_takes_nothing_from_a_job_that_its_successor_began_from_the_savepoint) {
    bool through = false;
    int pause = 0;
    for (; !through; pause++) {
        char path[64];
        scratch(path);
        disk_t *d = NULL;
        ck_ok(disk_open_posix(path, true, &d));
        fill(d);
        manifest_t *m = manifest_of(5), *ours = NULL;
        ck_ok(savepoint_copy(d, m, 3, 0, "savepoints/one", leads));
        day_t y = {.real = d, .pause = pause, .target = "savepoints/one", .restores = true};
        y.vt = (disk_t){.create = day_create, .append = day_append, .sync = day_sync, .close = day_close, .read = day_read, .put = day_put,
                        .remove = day_remove, .where = day_where};
        err_t *e = savepoint_restore(&y.vt, y.target, 9, 3, (savepoint_guard_t){day_look, NULL, &y}, &ours);
        through = !y.deposed;
        if (through) ck_ok(e);
        if (through) expect_whole(d, ours, 5);
        else expect_whole(d, y.got, 5);
        int left = 0;
        if (e) ck_ok(d->list(d, "jobs/0000000000000007@0000000000000009.0000000000000003", count_one, &left));
        ck_assert_int_eq(left, 0); /* what nobody begins from goes */
        err_free(e);
        manifest_free(m);
        manifest_free(ours);
        manifest_free(y.got);
        d->free(d);
        remove_all(path);
        ck_assert_int_lt(pause, 100);
    }
    ck_assert_int_ge(pause, 10);
}
END_TEST

typedef struct waking { disk_t *d; const manifest_t *m; const char *target; int looks, wakes; bool fails; } waking_t;
static err_t *while_the_next_copies(void *arg) {
    waking_t *w = arg;
    if (w->looks++ != w->wakes) return NULL;
    err_t *e = savepoint_copy(w->d, w->m, 3, 1, w->target, leads);
    return e ? e : w->fails ? err_new(ERR_IO, "Stale file handle") : NULL;
}

/* One leader, one epoch, one directory: a copy that was given up, asked for again, and then goes on or fails. */
START_TEST(A7_a_copy_that_was_given_up_and_wakes_up_spoils_nothing) {
    for (int wakes = 0; wakes < 4; wakes++)
        for (int fails = 0; fails < 2; fails++) {
            char path[64];
            scratch(path);
            disk_t *d = NULL;
            ck_ok(disk_open_posix(path, true, &d));
            fill(d);
            manifest_t *m = manifest_of(5);
            waking_t w = {d, m, "savepoints/one", 0, wakes, fails};
            err_t *e = savepoint_copy(d, m, 3, 0, w.target, (savepoint_guard_t){while_the_next_copies, NULL, &w});
            ck_assert_int_gt(w.looks, wakes);
            ck_assert_int_eq(err_code(e), fails ? ERR_IO : ERR_OK);
            err_free(e);
            expect_restores(d, w.target, 5);
            manifest_free(m);
            d->free(d);
            remove_all(path);
        }
}
END_TEST

/* A slow directory: of a large file pieces are known to be there before it is whole, and each is said. */
#define LARGE ((uint64_t)300 << 20)
typedef struct slow { disk_t vt; uint64_t unsynced, most, written; int syncs, moved_at_sync, moved; } slow_t;
struct disk_file { int any; };
static err_t *slow_create(disk_t *d, const char *path, disk_file_t **ret) {
    static disk_file_t file;
    *ret = &file;
    return NULL;
}
static err_t *slow_append(disk_t *d, disk_file_t *f, slice_t b) {
    slow_t *s = (slow_t *)d;
    s->unsynced += b.len;
    s->written += b.len;
    s->most = MAX(s->most, s->unsynced);
    return NULL;
}
static err_t *slow_sync(disk_t *d, disk_file_t *f) {
    slow_t *s = (slow_t *)d;
    s->unsynced = 0;
    s->syncs++;
    ck_assert_int_gt(s->moved + (s->syncs == 1), s->moved_at_sync); /* something was said since the one before */
    s->moved_at_sync = s->moved;
    return NULL;
}
static void slow_close(disk_t *d, disk_file_t *f) {}
static err_t *slow_read(disk_t *d, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    if (strcmp(path, SST) != 0) return err_new(ERR_NOT_FOUND, "%s", path);
    ck_assert(buf_reserve(ret, len));
    memset(ret->data + ret->len, 0, len);
    ret->len += len;
    return NULL;
}
static err_t *slow_put(disk_t *d, const char *path, slice_t b) { return NULL; }
static err_t *slow_remove(disk_t *d, const char *path) { return NULL; }
static const char *slow_where(disk_t *d) { return "slow"; }
static void slow_moved(void *arg) { ((slow_t *)arg)->moved++; }

START_TEST(A7_a_large_file_is_synced_in_pieces_and_each_is_said) {
    slow_t s = {.vt = {.create = slow_create, .append = slow_append, .sync = slow_sync, .close = slow_close, .read = slow_read, .put = slow_put,
                       .remove = slow_remove, .where = slow_where}};
    manifest_t *m = manifest_new();
    m->job = 7;
    m->name = xstrdup("orders");
    AUTO(auto_free) uint8_t *zeros = xcalloc(1, 1 << 20);
    uint32_t crc = 0;
    for (uint64_t at = 0; at < LARGE; at += 1 << 20) crc = crc32c(crc, zeros, 1 << 20);
    base_file_t file = {SST, "000001.sst", LARGE, crc};
    manifest_set_base(m, &(base_t){"w1", 4, 1, &file});
    ck_ok(savepoint_copy(&s.vt, m, 1, 0, "savepoints/1", (savepoint_guard_t){yes, slow_moved, &s}));
    ck_assert_uint_ge(s.written, LARGE);
    ck_assert_uint_le(s.most, (uint64_t)64 << 20);
    ck_assert_int_gt(s.moved, s.moved_at_sync); /* the last, too */
    manifest_free(m);
}
END_TEST

TESTS("coordinator/savepoint_files", A7_a_savepoint_is_a_directory_that_stands_alone, A7_a_savepoint_of_a_damaged_file_is_none_and_the_file_is_named,
      A7_no_job_begins_from_a_savepoint_with_a_damaged_file, A7_a_savepoint_of_a_job_that_began_from_one_is_whole,
      A7_a_target_that_cannot_be_written_or_is_in_use_is_found_out_beforehand, A7_a_deposed_leaders_copy_spoils_nothing_wherever_it_was_paused,
      A7_two_leaders_never_make_savepoints_of_two_epochs_in_one_place,
      A14_a_deposed_leader_takes_nothing_from_a_job_that_its_successor_began_from_the_savepoint,
      A7_a_copy_that_was_given_up_and_wakes_up_spoils_nothing, A7_a_large_file_is_synced_in_pieces_and_each_is_said)
