/* world.h: a kstate over a base of either kind, with the applier that brings sealed epochs into it. */
#pragma once
#include "state/applier.h"
#include "tests/state/fakes.h"
#include "tests/state/model.h"

#define FP 0xfeed

typedef struct world { tmp_t tmp; disk_t *disk; bool rocks; int opened; size_t round_bytes; kstate_env_t *env; char live[128]; } world_t;

static err_t *open_base(void *arg, base_db_t **ret) {
    world_t *w = arg;
    if (!w->rocks) {
        *ret = base_new_memory();
        return NULL;
    }
    snprintf(w->live, sizeof w->live, "%s/live-%d", w->tmp.path, w->opened++);
    return base_open_rocks(w->live, 16 << 20, true, ret);
}
__attribute__((unused)) static world_t *world_new(bool rocks, size_t memory) {
    world_t *w = xcalloc(1, sizeof *w);
    w->tmp = tmp_new();
    w->rocks = rocks;
    ck_ok(disk_open_posix(w->tmp.path, false, &w->disk));
    kstate_env_conf_t conf = {memory, open_base, w};
    w->env = kstate_env_new(&conf);
    return w;
}
__attribute__((unused)) static void world_free(world_t *w) {
    kstate_env_free(w->env);
    w->disk->free(w->disk);
    tmp_free(&w->tmp);
    free(w);
}
__attribute__((unused)) static kstate_t *table_open(world_t *w) {
    kstate_t *ks;
    ck_ok(kstate_open(w->env, FP, model_slot, 0, 1024, &val_codec, &ks));
    return ks;
}
__attribute__((unused)) static void world_end(world_t *w, applier_t *a, kstate_t *ks) { /* a: or NULL */
    kstate_close(ks);
    ck_assert_uint_eq(kstate_env_used(w->env), 0);
    if (a) applier_free(a);
    world_free(w);
}
__attribute__((unused)) static const base_range_t whole = {FP, 0, 1024};
__attribute__((unused)) static applier_t *applier_make(world_t *w) {
    applier_conf_t c = {w->env, w->disk, {1, 1, 1, 1, "w"}, w->tmp.path, 1, &whole};
    c.round_bytes = w->round_bytes;
    return applier_new(&c);
}
__attribute__((unused)) static void add_changes(applier_t *a, epoch_t epoch, slice_t changes) {
    task_seal_t *s = seal_new(epoch, 0, 0);
    buf_t *b = seal_state(s, FP, 0, model_slot);
    buf_put(b, changes.p, changes.len);
    buf_puts(seal_state(s, FP, 0, -1), "operator bytes are not for the base");
    changelog_id_t id = {1, 1, 1, 1, "w"};
    buf_t segment = buf_make(1 << 26);
    ck_ok(segment_build(&id, epoch, &s, 1, true, &segment));
    applier_add(a, epoch, buf_slice(&segment));
    buf_free(&segment);
    task_seal_free(s);
}

__attribute__((unused)) static void *number_of(kstate_t *ks, uint64_t i, bool create) {
    void *v;
    ck_ok(kstate_get(ks, 0, hash_bytes(&i, sizeof i), slice_of(&i, sizeof i), create, NULL, &v));
    return v;
}

/* Everything so far is sealed as this epoch and goes into the base. */
__attribute__((unused)) static void seal_and_apply(kstate_t *ks, applier_t *a, epoch_t epoch) {
    buf_t sealed = buf_make(1 << 26);
    kstate_seal(ks, epoch, &sealed);
    ck_assert(!sealed.overflow);
    add_changes(a, epoch, buf_slice(&sealed));
    buf_free(&sealed);
    applier_complete(a, epoch);
    ck_ok(applier_apply(a, epoch));
}

/* A table of n numbers in namespace 0, all of them in the base as of epoch 1, with memory for a tenth. */
__attribute__((unused)) static kstate_t *spilled_near(world_t *w, applier_t *a, uint64_t n,
                                                               bool near) { /* what is evicted need not be read from the base */
    kstate_t *ks = table_open(w);
    for (uint64_t i = 0; i < n; i++) ((val_t *)number_of(ks, i, true))->number = i;
    seal_and_apply(ks, a, 1);
    if (!near) kstate_env_base(w->env)->scratch = NULL;
    kstate_env_set_memory(w->env, kstate_bytes(ks) / 10);
    for (int i = 0; i < 4; i++) ck_ok(kstate_evict(ks));
    ck_assert_uint_gt(kstate_evicted(ks), n * 8 / 10);
    return ks;
}

__attribute__((unused)) static void put_range(buf_t *b, int from, int to, const char *value) {
    buf_clear(b);
    change_header(b);
    for (int k = from; k < to; k++) change_put(b, k % 3, slice_of(&k, sizeof k), slice_str(value));
}
