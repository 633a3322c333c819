/* Keyed state where the system refuses to take memory back: munmap of a part of what it keeps as one mapping makes one mapping more, and there is
 * a limit to their number (vm.max_map_count). */
#include "tests/state/model.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's munmap, replaced in this program. */
static bool refusing;
static int refused;
int munmap(void *p, size_t n) {
    if (!refusing) return (int)syscall(SYS_munmap, p, n);
    refused++;
    errno = ENOMEM;
    return -1;
}

/* What was freed is used again at once under the address sanitizer, too: this test counts addresses. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=1"; }

static void memory(size_t *ret_size, size_t *ret_resident) {
    FILE *f = fopen("/proc/self/statm", "re");
    ck_assert_int_eq(fscanf(f, "%zu %zu", ret_size, ret_resident), 2);
    fclose(f);
    *ret_size *= (size_t)sysconf(_SC_PAGESIZE);
    *ret_resident *= (size_t)sysconf(_SC_PAGESIZE);
}

static void fill(kstate_t *ks, int64_t ns, uint64_t n) {
    void *v;
    bool created;
    for (uint64_t i = 0; i < n; i++) {
        slice_t key = slice_of(&i, sizeof i);
        ck_ok(kstate_get(ks, ns, hash_bytes(key.p, key.len), key, true, &created, &v));
    }
}

static void drop(kstate_t *ks, int64_t ns) {
    buf_t sealed = buf_make(1 << 26);
    kstate_drop_ns(ks, ns);
    kstate_seal(ks, (epoch_t)ns, &sealed);
    buf_free(&sealed);
}

START_TEST(memory_of_windows_that_are_gone_leaves_also_when_mappings_cannot_be_split) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks;
    ck_ok(kstate_open(env, 1, 0, 0, 1024, &val_codec, &ks));
    size_t size, full, gone, empty, grown;
    const uint64_t n = 400000;
    fill(ks, 1, n);
    memory(&size, &full);
    size_t held = kstate_bytes(ks);
    ck_assert_uint_gt(held, 16 << 20);
    refusing = true;
    drop(ks, 1);
    memory(&size, &empty);
    ck_assert_int_gt(refused, 10);
    ck_assert_msg(full - empty > held / 2, "%zu MB of state were dropped and %zd MB left the process", held >> 20, ((ssize_t)full - (ssize_t)empty) >> 20);
    for (int64_t ns = 2; ns < 12; ns++) { /* windows come and go: their addresses are used again */
        fill(ks, ns, n);
        drop(ks, ns);
    }
    memory(&grown, &gone);
    ck_assert_msg(grown < size + held, "%zu MB of addresses became %zu MB", size >> 20, grown >> 20);
    kstate_close(ks);
    ck_assert_uint_eq(kstate_env_used(env), 0);
    refusing = false;
    kstate_env_free(env);
}
END_TEST

TESTS("mappings", memory_of_windows_that_are_gone_leaves_also_when_mappings_cannot_be_split)
