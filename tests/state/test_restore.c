/* Recovery and rescale on the real changelog, base, manifest and disk: workers live, die, and others begin from the manifest. */
#include "state/kept.h"
#include "state/restore.h"
#include "tests/state/fakes.h"
#include "tests/state/model.h"

#define FP 0xfeed
#define SINK 0x51
#define JOB 1

/* One worker in one attempt, with one task of the operator over [lo, hi). */
typedef struct worker {
    const char *name;
    char dir[128];
    attempt_t attempt;
    base_range_t range;
    bool rocks;
    int opened;
    disk_t *disk;
    kstate_env_t *env;
    kstate_t *ks;
    changelog_t *log;
    applier_t *applier;
    int subtask;
    buf_t heard; /* operator bytes and lane segments given back by a restore */
    bool spilled, reloaded;
    size_t most; /* that tables and what waits for the base had while it was restored */
} worker_t;
static size_t memory_of_workers; /* 0: no bound */

static disk_t *kept; /* of the tests about copies */

static bool tables_go; /* before a fetched base is loaded */
static err_t *(*real_load_op)(base_db_t *b, const char *dir, uint64_t fingerprint, int kg_lo, int kg_hi);
static err_t *load_op(base_db_t *b, const char *dir, uint64_t fingerprint, int kg_lo, int kg_hi) {
    AUTO(auto_free) char *rm = xprintf("rm %s/*.sst", dir);
    if (tables_go) ck_assert_int_eq(system(rm), 0);
    return real_load_op(b, dir, fingerprint, kg_lo, kg_hi);
}

static err_t *open_base(void *arg, base_db_t **ret) {
    worker_t *w = arg;
    if (!w->rocks) {
        *ret = base_new_memory();
        return NULL;
    }
    AUTO(auto_free) char *live = xprintf("%s/live-%d", w->dir, (int)w->attempt);
    ck_ok(base_wipe(live));
    err_t *e = base_open_rocks(live, 16 << 20, true, ret);
    if (e) return e;
    real_load_op = (*ret)->load_op;
    (*ret)->load_op = load_op;
    return NULL;
}

static err_t *on_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    worker_t *w = arg;
    if (slot >= 0) {
        ck_assert(!w->spilled);
        err_t *e = kstate_apply(w->ks, bytes);
        w->most = MAX(w->most, kstate_env_used(w->env));
        return e;
    }
    buf_printf(&w->heard, "op:%.*s ", (int)bytes.len, (const char *)bytes.p);
    return NULL;
}
static err_t *on_spill(void *arg) {
    worker_t *w = arg;
    ck_assert(!w->spilled);
    w->spilled = true;
    kstate_forget(w->ks);
    return NULL;
}
static err_t *on_reload(void *arg) {
    worker_t *w = arg;
    ck_assert(w->spilled && !w->reloaded);
    w->reloaded = true;
    return kstate_reload(w->ks);
}
static err_t *on_task(void *arg, int stage, int subtask) {
    worker_t *w = arg;
    w->most = MAX(w->most, kstate_env_used(w->env));
    buf_printf(&w->heard, "<%d>", subtask);
    return NULL;
}
static err_t *on_sink(void *arg, uint64_t fingerprint, int op, int lane, epoch_t epoch, uint64_t rows, slice_t segment) {
    buf_printf(&((worker_t *)arg)->heard, "%d@%d:%.*s ", lane, (int)epoch, (int)segment.len, (const char *)segment.p);
    return NULL;
}

static atomic_bool cancelled; /* the attempt of every worker_start */
static bool damaged_seen, own_wrong_seen; /* what the last one's restore said */

static err_t *worker_start(worker_t *w, disk_t *disk, const char *root, bool rocks, const char *name, int subtask,
                           attempt_t attempt, int lo, int hi, const manifest_t *m) {
    *w = (worker_t){.name = name, .attempt = attempt, .range = {FP, lo, hi}, .rocks = rocks, .disk = disk, .subtask = subtask};
    snprintf(w->dir, sizeof w->dir, "%s/%s-%d", root, name, (int)attempt);
    AUTO(auto_free) char *mk = xprintf("mkdir -p %s", w->dir);
    ck_assert_int_eq(system(mk), 0);
    kstate_env_conf_t conf = {memory_of_workers, open_base, w};
    w->env = kstate_env_new(&conf);
    w->heard = buf_make(1 << 20);
    changelog_id_t id = {JOB, 7, 1, attempt, name};
    w->log = changelog_new(disk, &id);
    changelog_keep(w->log, kept);
    applier_conf_t ac = {w->env, disk, id, w->dir, 1, &w->range, kept};
    err_t *e = NULL;
    restore_t *r = NULL;
    if (m) {
        restore_conf_t rc = {m, disk, w->dir, w->env, 1, &w->range, &cancelled, kept};
        r = restore_new(&rc);
        e = restore_bases(r);
    }
    w->applier = applier_new(&ac);
    if (!e) e = kstate_open(w->env, FP, model_slot, lo, hi, &val_codec, &w->ks);
    restore_sink_t sink = {w, on_task, on_state, on_sink, on_spill, on_reload};
    if (!e && m) e = restore_replay(r, w->applier, &sink);
    damaged_seen = e && restore_damaged(r);
    own_wrong_seen = r && restore_own_wrong(r);
    restore_free(r);
    return e;
}
static void worker_die(worker_t *w) {
    kstate_close(w->ks);
    applier_free(w->applier);
    changelog_free(w->log);
    kstate_env_free(w->env);
    buf_free(&w->heard);
}

/* Seals and writes epoch e; into the manifest only if it completes. */
static void worker_seal(worker_t *w, epoch_t e, manifest_t *m) {
    task_seal_t *s = seal_new(e, 1, w->subtask);
    kstate_seal(w->ks, e, seal_state(s, FP, 4, model_slot));
    buf_printf(seal_state(s, FP, 4, -1), "%s%d", w->name, (int)e);
    AUTO(auto_free) char *rows = xprintf("%s%d", w->name, (int)e);
    seal_sink(s, SINK, w->subtask, rows);
    changelog_id_t id = {JOB, 7, 1, w->attempt, w->name};
    buf_t b = buf_make(1 << 26);
    ck_ok(segment_build(&id, e, &s, 1, true, &b));
    extent_t x;
    ck_ok(changelog_append(w->log, e, buf_slice(&b), &x));
    applier_add(w->applier, e, buf_slice(&b));
    if (m) {
        manifest_add_extent(m, &x);
        m->epoch = e;
        m->attempt = w->attempt;
        applier_complete(w->applier, e);
        manifest_lane(m, SINK, w->subtask, true)->last_rows = e;
    }
    free(x.path);
    buf_free(&b);
    task_seal_free(s);
}
static void worker_base(worker_t *w, manifest_t *m) {
    base_t b;
    ck_ok(applier_checkpoint(w->applier, m->epoch, &b));
    manifest_set_base(m, &b);
    manifest_trim(m);
    base_done(&b);
}

static void set(worker_t *w, int n, int k, uint64_t number) {
    val_t *v;
    ck_ok(ks_get(w->ks, n, k, true, NULL, &v));
    kstate_dirty(w->ks, v);
    val_set(v, number);
}
static uint64_t get(worker_t *w, int n, int k) {
    val_t *v;
    ck_ok(ks_get(w->ks, n, k, false, NULL, &v));
    return v ? v->number : 0;
}
static manifest_t *reload(manifest_t *m) { /* as it comes from the coordinator */
    buf_t b = buf_make(1 << 20);
    m->job = JOB;
    manifest_print(&b, m);
    manifest_t *back;
    ck_ok(manifest_parse(buf_slice(&b), &back));
    buf_free(&b);
    return back;
}

/* Hazard A2. Manifest 10 is last; 11 and 12 are sealed, durable in storage, not complete. Attempt 1 dies. Attempt 2 restores 10,
 * seals 13, which completes. What 11 and 12 said is in storage, between good epochs, and must never be heard of again. */
START_TEST(dead_epochs_are_never_replayed) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    manifest_t *m = manifest_new();
    worker_t w;
    ck_ok(worker_start(&w, d, t.path, false, "w", 0, 1, 0, 1024, NULL));
    for (epoch_t e = 1; e <= 12; e++) {
        set(&w, 9, 1, e);
        if (e == 11) set(&w, 9, 2, 1111);
        worker_seal(&w, e, e <= 10 ? m : NULL);
    }
    worker_die(&w);
    manifest_lane(m, SINK, 0, true)->published = 8;
    manifest_t *ten = reload(m);
    ck_ok(worker_start(&w, d, t.path, false, "w", 0, 2, 0, 1024, ten));
    ck_assert_uint_eq(get(&w, 9, 1), 10);
    ck_assert_uint_eq(get(&w, 9, 2), 0);
    ck_assert_str_eq(buf_cstr(&w.heard), "<0>0@9:w9 0@10:w10 <0>op:w10 ");
    set(&w, 9, 3, 13);
    worker_seal(&w, 13, m);
    worker_die(&w);
    manifest_t *thirteen = reload(m);
    ck_assert_int_eq(thirteen->nextents, 2);
    ck_ok(worker_start(&w, d, t.path, false, "w", 0, 3, 0, 1024, thirteen));
    ck_assert_uint_eq(get(&w, 9, 1), 10);
    ck_assert_uint_eq(get(&w, 9, 2), 0);
    ck_assert_uint_eq(get(&w, 9, 3), 13);
    ck_assert_str_eq(buf_cstr(&w.heard), "<0>0@9:w9 0@10:w10 0@13:w13 <0>op:w13 ");
    worker_die(&w);
    manifest_free(m);
    manifest_free(ten);
    manifest_free(thirteen);
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* a and b share the key groups; a dies and c takes its part and some of b's; c makes a base, b does not. Now the manifest has old
 * bases, old extents over them, a new base and new extents: of each key group the right ones must count. */
static void mixed_bases(bool rocks) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    manifest_t *m = manifest_new(), *now;
    worker_t a, b, c;
    ck_ok(worker_start(&a, d, t.path, rocks, "a", 0, 1, 0, 512, NULL));
    ck_ok(worker_start(&b, d, t.path, rocks, "b", 1, 1, 512, 1024, NULL));
    model_t *want = xcalloc(1, sizeof *want);
    rng_t rng;
    rng_seed(&rng, 4);
    worker_t *live[2] = {&a, &b};
#define CHANGE(count)                                                                              \
    for (int i_ = 0; i_ < (count); i_++) {                                                         \
        int n = (int)rng_below(&rng, MODEL_NS), k = (int)rng_below(&rng, MODEL_KEYS);              \
        char buf[2048];                                                                            \
        slice_t key = model_key(k, buf);                                                           \
        int kg = state_key_group(model_slot, key);                                                 \
        worker_t *w = kg >= live[0]->range.kg_lo && kg < live[0]->range.kg_hi ? live[0] : live[1]; \
        if (rng_below(&rng, 5)) {                                                                  \
            set(w, n, k, want->number[n][k] = rng_next(&rng) >> 9);                                \
            want->present[n][k] = true;                                                            \
        } else if (want->present[n][k]) {                                                          \
            val_t *v;                                                                              \
            ck_ok(ks_get(w->ks, n, k, false, NULL, &v));                                           \
            ck_assert_ptr_nonnull(v);                                                              \
            kstate_delete(w->ks, v);                                                               \
            want->present[n][k] = false;                                                           \
        }                                                                                          \
    }
#define SEAL(e)                                                                                    \
    do {                                                                                           \
        if ((e) % 7 == 3)                                                                          \
            for (int i_ = 0; i_ < 2; i_++) kstate_drop_ns(live[i_]->ks, model_ns((e) % MODEL_NS)); \
        if ((e) % 7 == 3) memset(want->present[(e) % MODEL_NS], 0, sizeof want->present[0]);       \
        for (int i_ = 0; i_ < 2; i_++) worker_seal(live[i_], (e), m);                              \
    } while (0)
    for (epoch_t e = 1; e <= 20; e++) {
        CHANGE(300);
        SEAL(e);
        if (e == 8) worker_base(&a, m);
        if (e == 15) worker_base(&b, m);
    }
    CHANGE(50); /* never sealed by b; sealed as 21 by a, dead */
    memset(want, 0, sizeof *want);
    worker_seal(&a, 21, NULL);
    for (int n = 0; n < MODEL_NS; n++)
        for (int k = 0; k < MODEL_KEYS; k++) want->present[n][k] = false;
    worker_die(&a);
    worker_die(&b);
    now = reload(m);
    ck_ok(worker_start(&b, d, t.path, rocks, "b", 0, 2, 700, 1024, now));
    ck_ok(worker_start(&c, d, t.path, rocks, "c", 1, 2, 0, 700, now));
    live[0] = &b;
    live[1] = &c;
    /* what they have now is the model from here on; that it is right is checked by an independent replay below */
    for (int n = 0; n < MODEL_NS; n++)
        for (int k = 0; k < MODEL_KEYS; k++) {
            val_t *v[2];
            ck_ok(ks_get(b.ks, n, k, false, NULL, &v[0]));
            ck_ok(ks_get(c.ks, n, k, false, NULL, &v[1]));
            ck_assert(!v[0] || !v[1]);
            val_t *x = v[0] ? v[0] : v[1];
            want->present[n][k] = x != NULL;
            want->number[n][k] = x ? x->number : 0;
        }
    manifest_free(now);
    for (epoch_t e = 23; e <= 40; e++) {
        CHANGE(300);
        SEAL(e);
        if (e == 30) worker_base(&c, m); /* b has none in this attempt */
        if (e == 34 && rocks) worker_base(&c, m);
    }
    ck_assert_int_ge(m->nbases, 3); /* a's and b's of attempt 1 are needed for b's key groups */
    worker_die(&b);
    worker_die(&c);
    now = reload(m);
    ck_ok(worker_start(&a, d, t.path, rocks, "a", 0, 3, 0, 1024, now)); /* one takes all */
    model_check(want, a.ks, 0, 1024);
    manifest_free(now);
    /* its base takes what was replayed, too */
    worker_seal(&a, 42, m);
    worker_base(&a, m);
    ck_assert_int_eq(m->nbases, 1);
    worker_die(&a);
    for (int i = 0; i < m->nlanes; i++) m->lanes[i].published = m->lanes[i].last_rows;
    manifest_trim(m);
    ck_assert_int_eq(m->nextents, 1);
    now = reload(m);
    ck_ok(worker_start(&c, d, t.path, rocks, "c", 0, 4, 100, 900, now));
    model_check(want, c.ks, 100, 900);
    ck_assert_str_eq(buf_cstr(&c.heard), "<0>op:a42 ");
    worker_die(&c);
    manifest_free(now);
    manifest_free(m);
    free(want);
    d->free(d);
    tmp_free(&t);
}
START_TEST(after_rescales_each_key_group_comes_from_its_youngest_base) { mixed_bases(false); }
END_TEST
START_TEST(the_same_over_rocksdb) { mixed_bases(true); }
END_TEST
START_TEST(the_same_of_maps_which_go_with_their_keys) {
    model_slot = STATE_MAPS + 1;
    mixed_bases(false);
    mixed_bases(true);
    model_slot = 0;
}
END_TEST
START_TEST(the_same_with_memory_for_a_part_of_the_state) {
    for (memory_of_workers = 2000; memory_of_workers <= 2000000; memory_of_workers *= 10) mixed_bases(memory_of_workers == 200000);
    memory_of_workers = 0;
}
END_TEST

/* 60 epochs of changes over a state ten times what may be in memory: it goes through to the base as it is read. */
START_TEST(a_restore_needs_no_more_memory_than_its_share) {
    enum { KEYS = 6000, MEMORY = 200 << 10 };
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    manifest_t *m = manifest_new();
    worker_t w;
    ck_ok(worker_start(&w, d, t.path, false, "w", 0, 1, 0, 1024, NULL));
    for (epoch_t e = 1; e <= 60; e++) {
        for (int i = 0; i < 100; i++) {
            uint64_t k = (e * 100 + (uint64_t)i * 7) % KEYS;
            void *v;
            ck_ok(kstate_get(w.ks, 0, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), true, NULL, &v));
            kstate_dirty(w.ks, v);
            free(((val_t *)v)->text);
            *(val_t *)v = (val_t){e, xprintf("%0300d", (int)k)};
        }
        worker_seal(&w, e, m);
        if (e == 20) worker_base(&w, m);
    }
    uint64_t entries = kstate_entries(w.ks);
    ck_assert_uint_gt(kstate_bytes(w.ks), 8 * MEMORY);
    worker_die(&w);
    manifest_t *now = reload(m);
    memory_of_workers = MEMORY;
    ck_ok(worker_start(&w, d, t.path, false, "w", 0, 2, 0, 1024, now));
    memory_of_workers = 0;
    ck_assert(w.spilled && w.reloaded);
    ck_assert_msg(w.most < MEMORY + (128 << 10), "%zu bytes", w.most); /* one epoch's changes on top, and what is not reported yet */
    ck_assert_uint_lt(kstate_env_used(w.env), MEMORY + (128 << 10));
    ck_assert_uint_eq(kstate_entries(w.ks), entries);
    ck_assert_uint_gt(kstate_evicted(w.ks), entries / 2);
    ck_assert_uint_eq(kstate_env_applied(w.env), 60); /* so that all of it may be evicted */
    for (epoch_t e = 1; e <= 60; e++) {
        uint64_t k = (e * 100 + 99 * 7) % KEYS;
        void *v;
        ck_ok(kstate_get(w.ks, 0, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), false, NULL, &v));
        ck_assert(v && ((val_t *)v)->number >= e && atoi(((val_t *)v)->text) == (int)k);
        ck_ok(kstate_evict(w.ks));
    }
    worker_die(&w);
    manifest_free(now);
    manifest_free(m);
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* One worker, random life, crashes at any time, bases now and then, over several attempts: always the last complete epoch. */
START_TEST(a_long_life_with_crashes_equals_the_model) {
    tmp_t t = tmp_new();
    disk_t *d;
    ck_ok(disk_open_posix(t.path, false, &d));
    manifest_t *m = manifest_new();
    model_t *now = xcalloc(1, sizeof *now), *complete = xcalloc(1, sizeof *complete);
    worker_t w;
    rng_t rng;
    rng_seed(&rng, 8);
    attempt_t attempt = 1;
    epoch_t e = 0;
    ck_ok(worker_start(&w, d, t.path, false, "w", 0, attempt, 0, 1024, NULL));
    worker_seal(&w, ++e, m);
    for (int i = 0; i < 300; i++) {
        for (int j = (int)rng_below(&rng, 200); j > 0; j--) model_step(now, w.ks, &rng);
        uint64_t what = rng_below(&rng, 20);
        if (what < 14) {
            worker_seal(&w, ++e, m);
            *complete = *now;
        } else if (what < 16) { /* sealed, never complete, and the process dies */
            worker_seal(&w, ++e, NULL);
            what = 19;
        } else if (what < 18) {
            worker_base(&w, m);
            manifest_lane(m, SINK, 0, true)->published = m->epoch;
        }
        if (what < 18) continue;
        worker_die(&w);
        *now = *complete;
        manifest_t *back = reload(m);
        ck_ok(worker_start(&w, d, t.path, false, "w", 0, ++attempt, 0, 1024, back));
        manifest_free(back);
        model_check(now, w.ks, 0, 1024);
        worker_seal(&w, ++e, m);
    }
    ck_assert_int_gt((int)attempt, 20);
    worker_die(&w);
    free(now);
    free(complete);
    manifest_free(m);
    d->free(d);
    tmp_free(&t);
}
END_TEST

/* A worker that sealed epochs 1 to `last` of a hundred keys with a base of epoch 2, and died; what the manifest says after it. */
typedef struct past { tmp_t t; disk_t *d; manifest_t *m, *back; } past_t;
static void past_live(past_t *p, epoch_t last) {
    p->m = manifest_new();
    worker_t w;
    ck_ok(worker_start(&w, p->d, p->t.path, true, "w", 0, 1, 0, 1024, NULL));
    for (epoch_t e = 1; e <= last; e++) {
        for (int k = 0; k < 100; k++) set(&w, 9, k, e);
        worker_seal(&w, e, p->m);
        if (e == 2) worker_base(&w, p->m);
    }
    worker_die(&w);
    p->back = reload(p->m);
}
static past_t past_new(epoch_t last) {
    past_t p = {.t = tmp_new()};
    ck_ok(disk_open_posix(p.t.path, false, &p.d));
    past_live(&p, last);
    return p;
}
static void past_free(past_t *p) {
    manifest_free(p->back);
    manifest_free(p->m);
    p->d->free(p->d);
    tmp_free(&p->t);
}
static const char *table_of(const manifest_t *m) { /* of its base */
    for (int i = 0; i < m->bases[0].nfiles; i++)
        if (strstr(m->bases[0].files[i].name, ".sst")) return m->bases[0].files[i].path;
    ck_abort_msg("a base without a table");
    return NULL;
}

static char *moved(const char *path, const char *origin, const char *leader) {
    return xprintf("jobs/%s@%016d%s/%s", origin, 2, leader, strchr(path + 5, '/') + 1);
}

/* A savepoint's files come under "jobs/<origin>@<new job>.<leader>/", of an earlier build without the leader: the new job reads them although
 * another's id stands in them. */
static void read_by_the_new_job(const char *leader) {
    past_t p = past_new(3);
    manifest_t *back = p.back;
    worker_t w;
    back->job = 2;
    err_t *e = worker_start(&w, p.d, p.t.path, true, "w", 0, 2, 0, 1024, back); /* not without the name that says so */
    ck_assert_int_eq(err_code(e), ERR_CORRUPT);
    err_free(e);
    worker_die(&w);
    AUTO(auto_free) char *mv = xprintf("mv %s/jobs/%016d %s/jobs/%016d@%016d%s", p.t.path, JOB, p.t.path, JOB, 2, leader);
    ck_assert_int_eq(system(mv), 0);
    char origin[17];
    snprintf(origin, sizeof origin, "%016d", JOB);
    for (int i = 0; i < back->nextents; i++) {
        char *there = moved(back->extents[i].path, origin, leader);
        free(back->extents[i].path);
        back->extents[i].path = there;
    }
    for (int i = 0; i < back->bases[0].nfiles; i++) {
        char *there = moved(back->bases[0].files[i].path, origin, leader);
        free(back->bases[0].files[i].path);
        back->bases[0].files[i].path = there;
    }
    ck_ok(worker_start(&w, p.d, p.t.path, true, "w", 0, 3, 0, 1024, back));
    ck_assert_uint_eq(get(&w, 9, 50), 3);
    worker_die(&w);
    past_free(&p);
}
START_TEST(files_of_a_savepoint_are_read_by_the_new_job) {
    read_by_the_new_job("");
    read_by_the_new_job(".0000000000000005");
}
END_TEST

static void flip(const char *root, const char *path) {
    AUTO(auto_free) char *full = xprintf("%s/%s", root, path);
    FILE *f = fopen(full, "r+");
    ck_assert_ptr_nonnull(f);
    fseek(f, 20, SEEK_SET);
    int c = fgetc(f);
    fseek(f, 20, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

/* A damaged or missing file of base or changelog stops the restore and is named. */
START_TEST(damage_is_named) {
    for (int what = 0; what < 4; what++) {
        past_t p = past_new(3);
        const char *bad = what == 0 ? p.m->extents[0].path : what == 1 ? base_meta_file(&p.m->bases[0])->path : table_of(p.m);
        if (what < 3) flip(p.t.path, bad);
        else ck_ok(p.d->remove(p.d, bad));
        worker_t w;
        err_t *e = worker_start(&w, p.d, p.t.path, true, "w", 0, 2, 0, 1024, p.back);
        ck_assert_ptr_nonnull(e);
        ck_assert_int_eq(err_code(e), what < 3 ? ERR_CORRUPT : ERR_NOT_FOUND);
        ck_assert(damaged_seen);
        ck_assert_msg(strstr(err_text(e), bad), "%s does not name %s", err_text(e), bad);
        err_free(e);
        worker_die(&w);
        past_free(&p);
    }
}
END_TEST

static err_t *restore_of(const past_t *p, attempt_t attempt) {
    worker_t w;
    err_t *e = worker_start(&w, p->d, p->t.path, true, "w", 0, attempt, 0, 1024, p->back);
    worker_die(&w);
    return e;
}

/* A base cannot be fetched into a directory that is none, nor loaded from files that went meanwhile: storage has them all, and no file is damaged. */
START_TEST(what_is_wrong_with_a_local_directory_is_no_damaged_file) {
    past_t p = past_new(3);
    AUTO(auto_free) char *none = xprintf("mkdir %s/w-2 && touch %s/w-2/fetched-0", p.t.path, p.t.path);
    ck_assert_int_eq(system(none), 0);
    for (attempt_t attempt = 2; attempt < 4; attempt++) {
        tables_go = attempt == 3;
        err_t *e = restore_of(&p, attempt);
        tables_go = false;
        ck_fails(e, ERR_IO, "fetched-0");
        ck_assert(!damaged_seen);
    }
    ck_ok(restore_of(&p, 4));
    past_free(&p);
}
END_TEST

/* What was stored is what the manifest says, but no table. */
START_TEST(a_base_that_never_was_one_is_damaged) {
    past_t p = past_new(3);
    flip(p.t.path, table_of(p.m));
    AUTO(buf_free) buf_t b = buf_make(1 << 26);
    ck_ok(p.d->read(p.d, table_of(p.m), 0, UINT64_MAX, &b));
    for (int i = 0; i < p.back->bases[0].nfiles; i++)
        if (strcmp(p.back->bases[0].files[i].path, table_of(p.m)) == 0) p.back->bases[0].files[i].crc = crc32c(0, b.data, b.len);
    err_t *e = restore_of(&p, 2);
    ck_fails(e, ERR_CORRUPT, "fetched-0");
    ck_assert(damaged_seen);
    past_free(&p);
}
END_TEST

/* Storage that is asked for `at` things; while the last of them is on its way the job is cancelled. */
typedef struct slow_disk { disk_t vt; disk_t *real; int calls, at; } slow_disk_t;
static disk_t *slow_real(disk_t *d) {
    slow_disk_t *s = (slow_disk_t *)d;
    if (++s->calls == s->at) atomic_store(&cancelled, true);
    return s->real;
}
static err_t *slow_read(disk_t *d, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    disk_t *r = slow_real(d);
    return r->read(r, path, from, len, ret);
}
static err_t *slow_export(disk_t *d, const char *path, const char *local) {
    disk_t *r = slow_real(d);
    return r->export(r, path, local);
}
static const char *slow_where(disk_t *d) { return "slow"; }

/* Whatever a restore is reading when its job is cancelled, nothing more is read after it, and its tasks do not begin with a part of their state. */
START_TEST(a_cancelled_restore_reads_nothing_more) {
    past_t p = past_new(5);
    worker_t w;
    int n = 0;
    for (bool through = false; !through; n++) {
        slow_disk_t slow = {.vt = {.read = slow_read, .export = slow_export, .where = slow_where}, .real = p.d, .at = n + 1};
        err_t *e = worker_start(&w, &slow.vt, p.t.path, true, "w", 0, (attempt_t)n + 2, 0, 1024, p.back);
        through = slow.calls <= n;
        if (!through) {
            ck_assert_int_le(slow.calls, n + 2); /* the body of a segment whose header it was reading */
            ck_assert_int_eq(err_code(e), ERR_CANCELLED);
        } else {
            ck_assert_msg(!e, "%s", err_text(e));
        }
        err_free(e);
        worker_die(&w);
        atomic_store(&cancelled, false);
    }
    ck_assert_int_ge(n, 8); /* description, files, segments */
    past_free(&p);
}
END_TEST

/* ---------------------------------------------------------------- the worker's own copies */
/* Another file system than that of storage: no second names. */
static err_t *import_by_copy(disk_t *d, const char *local_path, const char *path) {
    AUTO(buf_free) buf_t b = buf_make(1 << 26);
    FILE *f = fopen(local_path, "r");
    ck_assert_ptr_nonnull(f);
    for (int c; (c = fgetc(f)) != EOF;) buf_put_u8(&b, (uint8_t)c);
    fclose(f);
    return d->put(d, path, buf_slice(&b));
}

/* As flip, but into a new file: a second name of the old one keeps its bytes. */
static void damage(disk_t *d, const char *path) {
    AUTO(buf_free) buf_t b = buf_make(1 << 26);
    ck_ok(d->read(d, path, 0, UINT64_MAX, &b));
    b.data[b.len / 2] ^= 1;
    ck_ok(d->put(d, path, buf_slice(&b)));
}

static void count_one(void *arg, const char *name, uint64_t size, int64_t modified_ms) { ++*(int *)arg; }
static int files_in(disk_t *d) {
    int n = 0;
    ck_ok(d->list(d, "", count_one, &n));
    return n;
}

static past_t kept_past(bool linked) { /* epochs 1 to 3, in storage and in the worker's own directory */
    past_t p = {.t = tmp_new()};
    AUTO(auto_free) char *storage = xprintf("%s/storage", p.t.path);
    AUTO(auto_free) char *own = xprintf("%s/kept", p.t.path);
    ck_ok(disk_open_posix(storage, true, &p.d));
    ck_ok(disk_open_posix(own, true, &kept));
    if (!linked) kept->import = import_by_copy;
    past_live(&p, 3);
    return p;
}
static void kept_past_free(past_t *p) {
    kept->free(kept);
    kept = NULL;
    past_free(p);
}
static err_t *begin_again(const past_t *p, attempt_t attempt) {
    worker_t w;
    err_t *e = worker_start(&w, p->d, p->t.path, true, "w", 0, attempt, 0, 1024, p->back);
    for (int k = 0; !e && k < 100; k++) ck_assert_uint_eq(get(&w, 9, k), 3);
    worker_die(&w);
    return e;
}

/* A13: what storage no longer has, a worker that made it still restores; damage of either is found, and of both is an error that names storage. */
START_TEST(a_worker_restores_from_its_own_copies) {
    for (int linked = 0; linked < 2; linked++) {
        past_t p = kept_past(linked);
        AUTO(auto_free) char *lost = xprintf("mv %s/storage/jobs %s/away", p.t.path, p.t.path);
        AUTO(auto_free) char *found = xprintf("mv %s/away %s/storage/jobs", p.t.path, p.t.path);
        ck_assert_int_eq(system(lost), 0);
        ck_ok(begin_again(&p, 2));
        ck_assert(!own_wrong_seen);
        ck_assert_int_eq(system(found), 0);
        const char *const paths[] = {p.back->extents[0].path, table_of(p.back)};
        for (int i = 0; i < 2; i++) {
            damage(kept, paths[i]);
            ck_ok(begin_again(&p, (attempt_t)(3 + i))); /* from storage */
            ck_assert(own_wrong_seen && !damaged_seen);
        }
        damage(p.d, paths[1]);
        ck_ok(begin_again(&p, 5)); /* its copy was replaced by what storage had */
        damage(kept, paths[1]);
        err_t *e = begin_again(&p, 6);
        ck_fails(e, ERR_CORRUPT, "storage/jobs");
        ck_assert(own_wrong_seen && damaged_seen);
        kept_past_free(&p);
    }
}
END_TEST

/* An older epoch is restored, and that comes to nothing: what the last one needs is still here. When an attempt has started from it, it goes; but not
 * what that attempt has written by then. */
START_TEST(A4_copies_of_the_last_epoch_stay_until_an_attempt_starts_from_an_older_one) {
    past_t p = kept_past(true);
    manifest_t *older = manifest_new();
    older->job = JOB;
    kept_job_free(kept_job_new(kept, older, 2));
    AUTO(auto_free) char *lost = xprintf("mv %s/storage/jobs %s/away", p.t.path, p.t.path);
    ck_assert_int_eq(system(lost), 0);
    ck_ok(begin_again(&p, 3));
    ck_assert(!own_wrong_seen);
    kept_job_t *k = kept_job_new(kept, older, 4);
    ck_ok(kept->put(kept, "jobs/0000000000000001/log/i7.l1.a4.w.0.log", slice_str("segments")));
    kept_job_started(k);
    ck_assert_int_eq(files_in(kept), 1);
    kept_job_free(k);
    manifest_free(older);
    kept_past_free(&p);
}
END_TEST

START_TEST(copies_go_when_nothing_needs_them) {
    past_t p = kept_past(false);
    ck_ok(kept->put(kept, "jobs/0000000000000001/log/i7.l1.a9.w.0.log", slice_str("of a dead attempt")));
    ck_ok(kept->put(kept, "jobs/0000000000000002/log/i7.l1.a9.w.0.log", slice_str("of another job")));
    int n = files_in(kept);
    kept_job_t *k = kept_job_new(kept, p.back, 2);
    ck_assert_int_eq(files_in(kept), n); /* not known to be the last yet */
    kept_job_started(k);
    ck_assert_int_eq(files_in(kept), n - 1);
    base_file_t f = {.path = (char *)"jobs/0000000000000001/base/i7.l1.a2.w/000009.sst"};
    base_t b = {.nfiles = 1, .files = &f};
    const char *const logs[] = {"jobs/0000000000000001/log/i7.l1.a2.w.0.log", "jobs/0000000000000001/log/i7.l1.a2.w.1.log"};
    ck_ok(kept->put(kept, f.path, slice_str("table")));
    for (int i = 0; i < 2; i++) {
        ck_ok(kept->put(kept, logs[i], slice_str("segments")));
        kept_job_extent(k, logs[i], (epoch_t)(4 + i));
    }
    kept_job_base(k, &b);
    kept_job_accepted(k, 3);
    ck_assert_int_eq(files_in(kept), n + 2); /* others may still have to make their first base of the attempt */
    kept_job_base(k, &b);
    kept_job_accepted(k, 5);
    ck_assert_int_eq(files_in(kept), 3); /* the table, the changelog that is still written, and the other job's */
    base_t none = {0};
    for (int i = 0; i < 2; i++) kept_job_base(k, &none);
    kept_job_accepted(k, 6);
    ck_assert_int_eq(files_in(kept), 2);
    kept_job_free(k);
    kept_past_free(&p);
}
END_TEST

TESTS("restore", what_is_wrong_with_a_local_directory_is_no_damaged_file, a_base_that_never_was_one_is_damaged,
      A4_copies_of_the_last_epoch_stay_until_an_attempt_starts_from_an_older_one, a_worker_restores_from_its_own_copies, copies_go_when_nothing_needs_them,
      a_cancelled_restore_reads_nothing_more, dead_epochs_are_never_replayed, after_rescales_each_key_group_comes_from_its_youngest_base,
      the_same_over_rocksdb, the_same_of_maps_which_go_with_their_keys,
      the_same_with_memory_for_a_part_of_the_state, a_restore_needs_no_more_memory_than_its_share,
      a_long_life_with_crashes_equals_the_model,
      files_of_a_savepoint_are_read_by_the_new_job, damage_is_named)
