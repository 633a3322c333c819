/* Checkpoint storage on a POSIX file system where a directory cannot be synced, or was made by a process that died before it synced. */
#include "tests/state/fakes.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's fsync, replaced in this program: which directories were synced, and one that fails. */
static char synced[1 << 16];
static const char *failing;
int fsync(int fd) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    if (failing && strcmp(path, failing) == 0) {
        errno = EIO;
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

TESTS("disk", A22_a_directory_of_a_dead_process_is_synced_before_it_is_trusted,
      A22_a_put_whose_directory_cannot_be_synced_leaves_what_was_there, scratch_is_written_and_read_like_the_rest_and_never_synced)
