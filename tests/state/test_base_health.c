/* A live base that is damaged, gone or cannot be opened: whose misfortune that is. */
#include "tests/state/world.h"
#include <errno.h>

static void damaged(world_t *w, const char *how) {
    AUTO(auto_free) char *cmd = xprintf("cd '%s' && %s", w->live, how);
    ck_assert_int_eq(system(cmd), 0);
}
static err_t *read_all_of(kstate_t *ks, uint64_t n) {
    void *v;
    for (uint64_t i = 0; i < n; i++) TRY(kstate_get(ks, 0, hash_bytes(&i, sizeof i), slice_of(&i, sizeof i), false, NULL, &v));
    return NULL;
}
static err_t *write_more(applier_t *a, epoch_t epoch) {
    AUTO(buf_free) buf_t b = buf_make(1 << 24);
    put_range(&b, 0, 100000, "a value of some length that is the same for all");
    add_changes(a, epoch, buf_slice(&b));
    applier_complete(a, epoch);
    return applier_apply(a, epoch);
}
static void lost_by(world_t *w, err_t *e, const char *words) { /* as e says */
    ck_assert_msg(e != NULL, "nobody saw it");
    ck_assert_msg(err_code(e) == ERR_IO && strstr(err_text(e), w->tmp.path) && strstr(err_text(e), words), "%s: %s", err_code_name(err_code(e)), err_text(e));
    err_free(e);
    ck_assert_int_eq(kstate_env_health(w->env), BASE_LOST);
    kstate_env_health_forget(w->env);
    ck_assert_int_eq(kstate_env_health(w->env), BASE_LOST);
}

/* Bits turn, ends of files are missing, or all is gone: what reads it and what writes to it say whose directory that is, and never that the job is
 * to blame: it has all of it in storage. */
START_TEST(a_live_base_that_is_damaged_is_lost_and_its_errors_are_none_of_the_jobs) {
    enum { N = 40000 };
    for (int how = 0; how < 4; how++) {
        world_t *w = world_new(true, 16 << 20);
        applier_t *a = applier_make(w);
        kstate_t *ks = spilled_near(w, a, N, false);
        ck_assert_int_eq(kstate_env_health(w->env), BASE_WELL);
        base_t base;
        switch (how) {
        case 0:
            damaged(w, "for f in *.sst; do dd if=/dev/urandom of=$f bs=1k seek=8 count=64 conv=notrunc status=none; done");
            lost_by(w, read_all_of(ks, N), "Corruption");
            break;
        case 1:
            damaged(w, "truncate -s 16k *.sst");
            lost_by(w, read_all_of(ks, N), "Corruption");
            break;
        case 2: /* nobody has read it: it becomes no base either, with a checksum of what is left */
            damaged(w, "truncate -s 16k *.sst");
            lost_by(w, applier_checkpoint(a, 1, &base), "its end is missing");
            break;
        default:
            damaged(w, "rm -rf \"$PWD\"");
            lost_by(w, write_more(a, 2), "No such file or directory");
        }
        world_end(w, a, ks);
    }
}
END_TEST

typedef struct unwilling { int no; } unwilling_t;
static err_t *open_not(void *arg, base_db_t **ret) { return err_from_errno(((unwilling_t *)arg)->no, "/data/base"); }
START_TEST(a_base_that_cannot_be_opened_is_none_of_the_jobs_faults) {
    static const struct { int no; err_code_t code; base_health_t health; } cases[] = {
        {ENOTDIR, ERR_IO, BASE_FAILS}, {EROFS, ERR_IO, BASE_FAILS}, {EEXIST, ERR_IO, BASE_FAILS}, {EIO, ERR_IO, BASE_FAILS}, {ENOSPC, ERR_NO_SPACE, BASE_FULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unwilling_t u = {cases[i].no};
        kstate_env_t *env = kstate_env_new(&(kstate_env_conf_t){.open_base = open_not, .arg = &u});
        base_db_t *db;
        ck_fails(kstate_env_need_base(env, &db), cases[i].code, "cannot open the state base: /data/base: ");
        ck_assert_int_eq(kstate_env_health(env), cases[i].health);
        kstate_env_health_forget(env);
        ck_assert_int_eq(kstate_env_health(env), BASE_WELL);
        kstate_env_free(env);
    }
}
END_TEST

TESTS("base_health", a_live_base_that_is_damaged_is_lost_and_its_errors_are_none_of_the_jobs, a_base_that_cannot_be_opened_is_none_of_the_jobs_faults)
