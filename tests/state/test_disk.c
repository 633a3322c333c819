/* Checkpoint storage on a POSIX file system where a directory cannot be synced, or was made by a process that died before it synced. */
#include "common/clock.h"
#include "tests/state/fakes.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's fsync, replaced in this program: which directories were synced, and one that fails. */
static char synced[1 << 16];
static const char *failing;
static int failing_with = EIO;
int fsync(int fd) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    if (failing && strcmp(path, failing) == 0) {
        errno = failing_with;
        return -1;
    }
    snprintf(synced + strlen(synced), sizeof synced - strlen(synced), "%s\n", path);
    return (int)syscall(SYS_fsync, fd);
}
static bool was_synced(const char *root, const char *dir) {
    char line[512];
    snprintf(line, sizeof line, "%s%s\n", root, dir);
    return strstr(synced, line) != NULL;
}

static void collect(void *arg, const char *name, uint64_t size, int64_t modified_ms) { buf_printf(arg, "%s\n", name); }
static void collect_name(void *arg, const char *name) { buf_printf(arg, "%s\n", name); }
static void expect_content(disk_t *d, const char *path, const char *content) {
    buf_t b = buf_make(100);
    ck_ok(d->read(d, path, 0, UINT64_MAX, &b));
    ck_assert_str_eq(buf_cstr(&b), content);
    buf_free(&b);
}

START_TEST(A22_a_directory_of_a_dead_process_is_synced_before_it_is_trusted) {
    tmp_t t = tmp_new();
    char path[256];
    const char *const dead[] = {"/root", "/root/jobs", "/root/jobs/log"}; /* made, and its maker died before it synced anything */
    for (size_t i = 0; i < ARRAY_LEN(dead); i++) {
        snprintf(path, sizeof path, "%s%s", t.path, dead[i]);
        ck_assert_int_eq(mkdir(path, 0777), 0);
    }
    snprintf(path, sizeof path, "%s/root", t.path);
    disk_t *d;
    synced[0] = '\0';
    ck_ok(disk_open_posix(path, true, &d));
    ck_assert_msg(was_synced(t.path, ""), "the name of the root:\n%s", synced);
    disk_file_t *f;
    ck_ok(d->create(d, "jobs/log/1", &f));
    d->close(d, f);
    ck_assert_msg(was_synced(t.path, "/root") && was_synced(t.path, "/root/jobs") && was_synced(t.path, "/root/jobs/log"), "%s", synced);
    synced[0] = '\0';
    ck_ok(d->create(d, "jobs/log/2", &f));
    d->close(d, f);
    ck_assert_msg(!was_synced(t.path, "/root/jobs"), "once is enough");
    d->free(d);
    tmp_free(&t);
}
END_TEST

START_TEST(A22_a_put_whose_directory_cannot_be_synced_leaves_what_was_there) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, true, &d));
    ck_ok(d->put(d, "meta/last", slice_str("epoch 1")));
    char dir[256];
    snprintf(dir, sizeof dir, "%s/meta", t.path);
    failing = dir;
    ck_fails(d->put(d, "meta/last", slice_str("epoch 2")), ERR_IO, "cannot sync directory");
    ck_fails(d->put(d, "meta/other", slice_str("x")), ERR_IO, "cannot sync directory");
    disk_file_t *f;
    ck_fails(d->create(d, "meta/log", &f), ERR_IO, "cannot sync directory");
    failing = NULL;
    expect_content(d, "meta/last", "epoch 1");
    buf_t names = buf_make(1000);
    ck_ok(d->list(d, "", collect, &names));
    ck_assert_str_eq(buf_cstr(&names), "meta/last\n");
    ck_ok(d->put(d, "meta/last", slice_str("epoch 3")));
    expect_content(d, "meta/last", "epoch 3");
    buf_free(&names);
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* A run that keeps nothing pays for no durability. */
START_TEST(scratch_is_written_and_read_like_the_rest_and_never_synced) {
    tmp_t t = tmp_new();
    disk_t *d;
    disk_file_t *f;
    synced[0] = '\0';
    ck_ok(disk_open_scratch(t.path, &d));
    ck_ok(d->create(d, "jobs/log/1", &f));
    ck_ok(d->append(d, f, slice_str("rows")));
    ck_ok(d->sync(d, f));
    d->close(d, f);
    ck_ok(d->put(d, "manifest", slice_str("one")));
    ck_ok(d->put(d, "manifest", slice_str("two")));
    expect_content(d, "jobs/log/1", "rows");
    expect_content(d, "manifest", "two");
    ck_assert_str_eq(synced, "");
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* Large pieces go past the page cache but for what is no whole block at their ends (state/direct.h). */
START_TEST(large_and_small_pieces_of_a_file_stand_in_order_and_are_read_from_any_byte) {
    static const size_t pieces[] = {5, (3 << 20) + 7, 100, 4084, (9 << 20) + 4096, 1 << 20, 1, (1 << 20) + 4095};
    tmp_t t = tmp_new();
    disk_t *d;
    disk_file_t *f;
    buf_t all = buf_make(32 << 20), back = buf_make(32 << 20);
    rng_t rng;
    rng_seed(&rng, 7);
    ck_ok(disk_open_posix(t.path, false, &d));
    ck_ok(d->create(d, "log", &f));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t from = all.len;
        for (size_t k = 0; k < pieces[i]; k += 8) buf_put_u64(&all, rng_next(&rng));
        all.len = from + pieces[i];
        ck_ok(d->append(d, f, slice_of(all.data + from, pieces[i])));
        if (i % 2) ck_ok(d->sync(d, f));
        buf_clear(&back);
        ck_ok(d->read(d, "log", 0, UINT64_MAX, &back));
        ck_assert(slice_eq(buf_slice(&back), buf_slice(&all)));
    }
    for (int i = 0; i < 100; i++) {
        uint64_t from = rng_below(&rng, all.len), len = rng_below(&rng, all.len - from + 1);
        buf_clear(&back);
        buf_puts(&back, "before");
        ck_ok(d->read(d, "log", from, len, &back));
        ck_assert(slice_eq(slice_of(back.data + 6, back.len - 6), slice_of(all.data + from, len)));
    }
    d->close(d, f);
    buf_free(&all);
    buf_free(&back);
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* As a segment comes: what lies here and there in memory, one behind the other. */
START_TEST(many_pieces_are_written_at_once_in_their_order_whether_the_disk_can_gather_or_not) {
    tmp_t t = tmp_new();
    disk_t *d;
    disk_file_t *f;
    rng_t rng;
    rng_seed(&rng, 3);
    ck_ok(disk_open_posix(t.path, false, &d));
    disk_t plain = *d;
    AUTO(auto_free) uint8_t *bytes = xmalloc(12 << 20);
    for (size_t i = 0; i < 12 << 20; i++) bytes[i] = (uint8_t)rng_next(&rng);
    for (int gathers = 0; gathers < 2; gathers++) {
        buf_t all = buf_make(256 << 20), back = buf_make(256 << 20);
        AUTO(auto_free) char *name = xprintf("log-%d", gathers);
        d->append_all = gathers ? plain.append_all : NULL;
        ck_ok(d->create(d, name, &f));
        for (int turn = 0; turn < 12; turn++) {
            slice_t pieces[64];
            size_t n = rng_below(&rng, ARRAY_LEN(pieces) + 1), most = turn % 3 == 0 ? 5 << 20 : turn % 3 == 1 ? 100 << 10 : 3000;
            for (size_t i = 0; i < n; i++) {
                size_t len = rng_below(&rng, 4) ? rng_below(&rng, most / (i % 7 + 1)) : rng_below(&rng, 3) * 4096;
                pieces[i] = slice_of(bytes + rng_below(&rng, (12 << 20) - len), len);
                if (all.len + len > (size_t)100 << 20) pieces[i].len = 0;
                buf_put(&all, pieces[i].p, pieces[i].len);
            }
            ck_ok(disk_append_all(d, f, pieces, n));
        }
        ck_assert_uint_gt(all.len, 30 << 20);
        ck_ok(d->read(d, name, 0, UINT64_MAX, &back));
        ck_assert(slice_eq(buf_slice(&back), buf_slice(&all)));
        d->close(d, f);
        buf_free(&all);
        buf_free(&back);
    }
    d->free(d);
    tmp_free(&t);
}
END_TEST

START_TEST(A22_a_large_piece_that_does_not_fit_is_an_error_and_ends_its_file) {
    tmp_t t = tmp_new();
    disk_t *d;
    disk_file_t *f;
    struct rlimit most, was;
    AUTO(auto_free) uint8_t *bytes = xcalloc(1, 12 << 20);
    ck_ok(disk_open_posix(t.path, false, &d));
    ck_ok(d->create(d, "log", &f));
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
    most = (struct rlimit){6 << 20, was.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
    ck_ok(d->append(d, f, slice_of(bytes, 100)));
    err_t *e = d->append(d, f, slice_of(bytes, 12 << 20));
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
    ck_assert_msg(e && strstr(err_text(e), "/log: cannot write") != NULL, "%s", e ? err_text(e) : "");
    err_free(e);
    e = d->append(d, f, slice_of(bytes, 1));
    ck_assert_msg(e && strstr(err_text(e), "abandoned") != NULL, "%s", e ? err_text(e) : "");
    err_free(e);
    d->close(d, f);
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* Above the root there may be directories of a kind that cannot be synced: they are the system's. What this process makes it must be able to sync. */
START_TEST(A22_a_parent_that_cannot_be_synced_is_no_reason_to_refuse_the_storage) {
    static const int tolerated[] = {ENOSYS, EINVAL, EOPNOTSUPP, EROFS};
    for (size_t i = 0; i < ARRAY_LEN(tolerated); i++) {
        tmp_t t = tmp_new();
        char root[256], deep[256];
        snprintf(root, sizeof root, "%s/there", t.path);
        ck_assert_int_eq(mkdir(root, 0777), 0);
        failing = t.path;
        failing_with = tolerated[i];
        disk_t *d;
        ck_ok(disk_open_posix(root, true, &d));
        ck_ok(d->put(d, "meta/last", slice_str("epoch 1")));
        d->free(d);
        snprintf(deep, sizeof deep, "%s/new", t.path);
        err_t *e = disk_open_posix(deep, true, &d);
        ck_assert(e && strstr(err_text(e), "cannot sync directory"));
        err_free(e);
        failing_with = EIO; /* a disk that fails is another matter */
        ck_fails(disk_open_posix(root, true, &d), ERR_IO, "cannot sync directory");
        failing = NULL;
        tmp_free(&t);
    }
}
END_TEST

static int count_files(const char *dir) {
    AUTO(auto_free) char *cmd = xprintf("find '%s' -type f | wc -l", dir);
    FILE *f = popen(cmd, "r");
    int n = -1;
    ck_assert_int_eq(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

/* What a process that died had written or linked aside is hidden; it does not stay for ever. Not before an hour: it may be another's, who writes it. */
START_TEST(what_a_dead_process_left_aside_is_swept_after_an_hour) {
    tmp_t t = tmp_new();
    char path[256], clock[256];
    disk_t *d;
    snprintf(path, sizeof path, "%s/root", t.path);
    ck_ok(disk_open_posix(path, true, &d));
    ck_ok(d->put(d, "jobs/1/manifest", slice_str("epoch 1")));
    ck_ok(d->put(d, "name", slice_str("w-1")));
    AUTO(auto_free) char *cmd = xprintf("cd '%s' && touch -d 2020-01-01 name && ln name .aside-7-1-name && echo half > jobs/1/.aside-7-2-manifest", path);
    ck_assert_int_eq(system(cmd), 0);
    buf_t names = buf_make(1000);
    ck_ok(d->list(d, "", collect, &names));
    ck_assert_str_eq(buf_cstr(&names), "jobs/1/manifest\nname\n");
    ck_assert_int_eq(count_files(path), 4);
    snprintf(clock, sizeof clock, "%s/clock", t.path);
    AUTO(auto_free) char *later = xprintf("echo 3700000 > '%s'", clock);
    ck_assert_int_eq(system(later), 0);
    ck_assert_int_eq(setenv("TIDEGATE_WALL_OFFSET", clock, 1), 0);
    ck_ok(d->list(d, "jobs", collect, &names));
    ck_assert_int_eq(count_files(path), 3);
    buf_clear(&names);
    ck_ok(d->put(d, "jobs/file", slice_str("no directory")));
    ck_ok(d->dirs(d, "jobs", collect_name, &names));
    ck_ok(d->dirs(d, "jobs/1", collect_name, &names));
    ck_ok(d->dirs(d, "nowhere", collect_name, &names));
    ck_assert_str_eq(buf_cstr(&names), "1\n");
    ck_ok(d->remove(d, "jobs/file"));
    d->free(d);
    ck_ok(disk_open_posix(path, true, &d)); /* a directory that nobody lists: of a worker, of the metadata */
    ck_assert_int_eq(count_files(path), 2);
    expect_content(d, "name", "w-1");
    expect_content(d, "jobs/1/manifest", "epoch 1");
    unsetenv("TIDEGATE_WALL_OFFSET");
    buf_free(&names);
    d->free(d);
    tmp_free(&t);
}
END_TEST

TESTS("disk", A22_a_parent_that_cannot_be_synced_is_no_reason_to_refuse_the_storage, what_a_dead_process_left_aside_is_swept_after_an_hour,
      A22_a_directory_of_a_dead_process_is_synced_before_it_is_trusted,
      A22_a_put_whose_directory_cannot_be_synced_leaves_what_was_there,
      scratch_is_written_and_read_like_the_rest_and_never_synced,
      large_and_small_pieces_of_a_file_stand_in_order_and_are_read_from_any_byte,
      many_pieces_are_written_at_once_in_their_order_whether_the_disk_can_gather_or_not, A22_a_large_piece_that_does_not_fit_is_an_error_and_ends_its_file)
