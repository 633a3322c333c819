/* state_bench.c: what keyed state costs: upserts per second from 10^3 to 10^7 keys, the barrier's cost per dirty key, what a restore of the
 * sealed bytes takes, and the changelog append. Keys are 16 bytes and come in random order; values 16 bytes (a count and a sum).
 *   state_bench [MAX_KEYS [OPS]]
 * And what it costs to bring a change of twelve epochs into the base, read by key group and, as it is where changes lie in no parts, in rounds; with
 * the compaction that follows within five seconds; then what a restore of it takes: of the base a key, of as many epochs behind it a change. Each
 * epoch changes a quarter of the keys:
 *   state_bench base [KEYS]
 * And what it costs when most of it has been evicted: KEYS keys are made in an order that is nobody's, then OPS updates come at random; every
 * 50,000 rows are an epoch that is sealed, sorted, brought into RocksDB and evicted from the table, all by this thread.
 *   state_bench spill HOT_MB BASE_MB KEYS OPS */
#include "common/clock.h"
#include "state/applier.h"
#include "state/coalesce.h"
#include "state/restore.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct acc { uint64_t count; double sum; } acc_t;
static void encode(void *ctx, const void *v, buf_t *out) {
    const acc_t *a = v;
    buf_put_varint(out, a->count);
    uint64_t bits;
    memcpy(&bits, &a->sum, 8);
    buf_put_u64(out, bits);
}
static bool decode(void *ctx, slice_t bytes, void *v) {
    acc_t *a = v;
    reader_t r = reader_of(bytes);
    a->count = read_varint(&r);
    uint64_t bits = read_u64(&r);
    memcpy(&a->sum, &bits, 8);
    return !r.bad;
}
static const kstate_codec_t codec = {.value_size = sizeof(acc_t), .encode = encode, .decode = decode};

typedef struct key { uint64_t a, b; } keyed_t;
static keyed_t key_of(uint64_t k) { return (keyed_t){k, k * 0x9e3779b97f4a7c15ULL}; }

static void check(err_t *e) {
    if (!e) return;
    fprintf(stderr, "%s\n", err_text(e));
    exit(1);
}

/* As an operator does it: a batch of keys is hashed and looked up, then updated. */
static void upserts(kstate_t *ks, rng_t *rng, uint64_t keys, uint64_t ops) {
    enum { BATCH = 1024 };
    static keyed_t k[BATCH];
    static uint64_t hash[BATCH];
    static uint32_t off[BATCH + 1];
    static int64_t ns[BATCH];
    static void *got[BATCH];
    kstate_keys_t all = {BATCH, hash, (const uint8_t *)k, off, ns, NULL};
    for (uint64_t i = 0; i < ops; i += BATCH) {
        for (int j = 0; j < BATCH; j++) {
            k[j] = key_of(rng_below(rng, keys));
            hash[j] = hash_bytes(&k[j], sizeof k[j]);
            off[j + 1] = off[j] + (uint32_t)sizeof k[j];
            ns[j] = 5000;
        }
        check(kstate_get_many(ks, &all, got));
        for (int j = 0; j < BATCH; j++) {
            acc_t *a = got[j];
            a->count++;
            a->sum += 1.5;
        }
    }
}

/* CPU time: the machine may be shared. */
static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run(uint64_t keys, uint64_t ops) {
    kstate_env_t *env = kstate_env_new(NULL);
    kstate_t *ks, *again;
    check(kstate_open(env, 1, 0, 0, 1024, &codec, &ks));
    rng_t rng;
    rng_seed(&rng, keys);
    int64_t t0 = cpu_ns();
    for (uint64_t i = 0; i < keys; i++) {
        keyed_t k = key_of(i);
        void *v;
        check(kstate_get(ks, 5000, hash_bytes(&k, sizeof k), slice_of(&k, sizeof k), true, NULL, &v));
    }
    int64_t t1 = cpu_ns();
    buf_t out = buf_make((size_t)4 << 30);
    kstate_seal(ks, 1, &out);
    int64_t t2 = cpu_ns();
    check(kstate_open(env, 1, 0, 0, 1024, &codec, &again));
    check(kstate_apply(again, buf_slice(&out)));
    int64_t t3 = cpu_ns();
    kstate_close(again);
    size_t sealed = out.len;
    buf_free(&out);
    int64_t t4 = cpu_ns();
    upserts(ks, &rng, keys, ops);
    int64_t t5 = cpu_ns();
    printf("%10" PRIu64 " %10.1f %10.1f %12.1f %12.1f %12.1f %12.1f\n", keys, (double)ops * 1e3 / (double)(t5 - t4),
           (double)(t1 - t0) / (double)keys, (double)(t2 - t1) / (double)keys, (double)(t3 - t2) / (double)keys,
           (double)kstate_bytes(ks) / (double)keys, (double)sealed / (double)keys);
    kstate_close(ks);
    kstate_env_free(env);
}

/* ---------------------------------------------------------------- base */
#define EPOCHS 12
static char dir[] = "/tmp/state-bench-XXXXXX";
static err_t *open_base(void *arg, base_db_t **ret) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, (const char *)arg);
    return base_open_rocks(path, 600 << 20, true, ret);
}

/* Keys of five bytes, as an aggregate over an integer has them: looked up, changed and said to be changed a batch at a time. */
static void changes(kstate_t *ks, rng_t *rng, uint64_t keys, uint64_t n) {
    enum { BATCH = 512 };
    uint8_t bytes[BATCH * (VARINT_MAX + 1)];
    uint32_t off[BATCH + 1] = {0};
    uint64_t hash[BATCH];
    void *got[BATCH];
    kstate_keys_t all = {BATCH, hash, bytes, off, NULL, NULL, true};
    for (uint64_t i = 0; i < n; i += BATCH) {
        for (int j = 0; j < BATCH; j++) {
            uint8_t *p = bytes + off[j];
            *p = 1;
            off[j + 1] = (uint32_t)(varint_at(p + 1, 2 * rng_below(rng, keys)) - bytes);
            hash[j] = hash_bytes(p, off[j + 1] - off[j]);
        }
        check(kstate_get_many(ks, &all, got));
        for (int j = 0; j < BATCH; j++) {
            acc_t *a = got[j];
            a->count++;
            a->sum += (double)(hash[j] >> 11);
        }
        kstate_changed(ks, got, BATCH);
    }
}

/* One epoch: sealed, written to the changelog, and the applier hears of it. Returns CPU ns of the seal and of the writing. */
static void epoch_of(kstate_t *ks, changelog_t *log, const changelog_id_t *id, applier_t *a, epoch_t epoch, bool parts, manifest_t *m, int64_t ns[2]) {
    int64_t t0 = cpu_ns();
    state_seal_t state = {0, 1, 0, buf_make(BUF_MAX_DEFAULT)};
    task_seal_t seal = {.epoch = epoch, .nstates = 1, .states = &state}, *seals = &seal;
    kstate_seal(ks, epoch, &state.bytes);
    int64_t t1 = cpu_ns();
    if (!parts) {
        reader_t r = reader_of(buf_slice(&state.bytes));
        buf_t plain = buf_make(BUF_MAX_DEFAULT);
        change_header(&plain);
        if (change_begin(&r)) buf_put(&plain, r.p, reader_left(&r));
        buf_free(&state.bytes);
        state.bytes = plain;
    }
    int64_t t2 = cpu_ns();
    segment_t segment;
    extent_t x;
    check(segment_gather(id, epoch, &seals, 1, true, &segment));
    check(changelog_append_pieces(log, epoch, &segment, &x));
    applier_add_extent(a, &x);
    manifest_add_extent(m, &x);
    free(x.path);
    segment_free(&segment);
    buf_free(&state.bytes);
    ns[0] += t1 - t0;
    ns[1] += cpu_ns() - t2;
}

static err_t *replayed(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) { return slot < 0 ? NULL : kstate_apply(arg, bytes); }

/* CPU ns of the base and of the changelog behind it. */
static void restore(const manifest_t *m, disk_t *disk, const base_range_t *all, int64_t ns[2]) {
    kstate_env_conf_t conf = {0, open_base, "restored"};
    kstate_env_t *env = kstate_env_new(&conf);
    restore_conf_t rc = {m, disk, dir, env, 1, all};
    restore_t *r = restore_new(&rc);
    kstate_t *ks;
    int64_t t0 = cpu_ns();
    check(restore_bases(r));
    check(kstate_open(env, 1, 0, 0, 1024, &codec, &ks));
    int64_t t1 = cpu_ns();
    check(restore_replay(r, NULL, &(restore_sink_t){.arg = ks, .state = replayed}));
    ns[0] = t1 - t0;
    ns[1] = cpu_ns() - t1;
    restore_free(r);
    kstate_close(ks);
    kstate_env_free(env);
}

static void run_base(uint64_t keys, bool parts) {
    const changelog_id_t id = {1, 1, 1, 1, "bench"};
    static const base_range_t all = {1, 0, 1024};
    disk_t *disk;
    kstate_env_conf_t conf = {0, open_base, "live"};
    kstate_t *ks;
    if (!mkdtemp(dir)) exit(1);
    check(disk_open_scratch(dir, &disk));
    kstate_env_t *env = kstate_env_new(&conf);
    check(kstate_open(env, 1, 0, 0, 1024, &codec, &ks));
    applier_conf_t ac = {env, disk, id, dir, 1, &all};
    applier_t *a = applier_new(&ac);
    changelog_t *log = changelog_new(disk, &id);
    rng_t rng;
    rng_seed(&rng, keys);
    int64_t ns[2] = {0}, back[2], made = 0, based = 0;
    manifest_t *m = manifest_new();
    *m = (manifest_t){.job = id.job, .incarnation = id.incarnation, .leader = id.leader, .attempt = id.attempt, .epoch = 2 * EPOCHS};
    for (epoch_t e = 1; e <= 2 * EPOCHS; e++) {
        int64_t t = cpu_ns();
        changes(ks, &rng, keys, keys / 4);
        made += cpu_ns() - t;
        epoch_of(ks, log, &id, a, e, parts, m, ns);
        if (e != EPOCHS) continue;
        t = cpu_ns();
        base_t base;
        applier_complete(a, EPOCHS);
        check(applier_checkpoint(a, EPOCHS, &base));
        nanosleep(&(struct timespec){5, 0}, NULL);
        based = cpu_ns() - t;
        manifest_set_base(m, &base);
        base_done(&base);
    }
    restore(m, disk, &all, back);
    double n = (double)(keys / 4 * EPOCHS);
    printf("%10" PRIu64 " %10s %10.1f %10.1f %10.1f %10.1f %10d %14.1f %18.1f\n", keys, parts ? "parts" : "rounds", (double)made / n / 2,
           (double)ns[0] / n / 2, (double)ns[1] / n / 2, (double)based / n, m->bases[0].nfiles, (double)back[0] / (double)kstate_entries(ks),
           (double)back[1] / n);
    manifest_free(m);
    changelog_free(log);
    applier_free(a);
    kstate_close(ks);
    kstate_env_free(env);
    disk->free(disk);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    if (system(command) != 0) exit(1);
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
}

static void bases(uint64_t keys) {
    printf("      keys     read in  ns/change    ns/seal  ns/changelog  ns/base      files ns/key restored ns/change replayed\n");
    for (int parts = 0; parts < 2; parts++) run_base(keys, parts);
}

/* ---------------------------------------------------------------- evicted state */
#define EPOCH_ROWS 50000
typedef struct spill {
    kstate_env_t *env;
    kstate_t *ks;
    char dir[64];
    size_t base_bytes;
    epoch_t epoch;
    uint64_t unsealed;
    int64_t find, seal, apply, evict; /* CPU ns of this thread */
} spill_t;

static int64_t thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static err_t *open_spilled(void *arg, base_db_t **ret) {
    spill_t *s = arg;
    return base_open_rocks(s->dir, s->base_bytes, true, ret);
}

static err_t *apply_spilled(void *arg, uint64_t fingerprint, int slot, slice_t changes) {
    base_db_t *b = arg;
    return b->apply(b, fingerprint, slot, changes);
}

static void barrier(spill_t *s) {
    base_db_t *b;
    int64_t t0 = thread_ns();
    buf_t out = buf_make((size_t)1 << 30);
    kstate_seal(s->ks, ++s->epoch, &out);
    int64_t t1 = thread_ns();
    coalesce_t *c = coalesce_new();
    check(coalesce_add(c, 1, 0, buf_slice(&out)));
    check(kstate_env_need_base(s->env, &b));
    check(coalesce_write(c, apply_spilled, b));
    coalesce_free(c);
    buf_free(&out);
    kstate_env_set_applied(s->env, s->epoch);
    s->seal += t1 - t0;
    s->apply += thread_ns() - t1;
    s->unsealed = 0;
}

/* A batch as the exchange gives it to one of two tasks. */
static void update(spill_t *s, uint64_t from, uint64_t n, rng_t *rng, uint64_t keys) {
    enum { BATCH = 512 };
    static keyed_t k[BATCH];
    static uint64_t hash[BATCH];
    static uint32_t off[BATCH + 1];
    static void *got[BATCH];
    for (uint64_t i = from; i < from + n; i += BATCH) {
        uint32_t rows = (uint32_t)MIN((uint64_t)BATCH, from + n - i);
        for (uint32_t j = 0; j < rows; j++) {
            k[j] = key_of(rng ? rng_below(rng, keys) : i + j);
            hash[j] = hash_bytes(&k[j], sizeof k[j]);
            off[j + 1] = off[j] + (uint32_t)sizeof k[j];
        }
        kstate_keys_t all = {rows, hash, (const uint8_t *)k, off, NULL, NULL};
        int64_t t0 = thread_ns();
        check(kstate_get_many(s->ks, &all, got));
        int64_t t1 = thread_ns();
        for (uint32_t j = 0; j < rows; j++) {
            acc_t *a = got[j];
            a->count++;
            a->sum += 1.5;
        }
        if ((s->unsealed += rows) >= EPOCH_ROWS) barrier(s);
        int64_t t2 = thread_ns();
        check(kstate_evict(s->ks));
        s->find += t1 - t0;
        s->evict += thread_ns() - t2;
    }
}

static void phase(spill_t *s, const char *name, uint64_t n, rng_t *rng, uint64_t keys) {
    s->find = s->seal = s->apply = s->evict = 0;
    int64_t cpu = cpu_ns(), thread = thread_ns(), wall = clock_mono_ns();
    update(s, 0, n, rng, keys);
    double rows = (double)n;
    cpu = cpu_ns() - cpu;
    thread = thread_ns() - thread;
    char text[128] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long rss = 0;
    if (f && fgets(text, sizeof text, f)) sscanf(text, "%*u %lu", &rss);
    if (f) fclose(f);
    printf("%-8s %8.3f %8.3f %8.0f %8.0f %8.0f %8.0f %8.0f %8lu %10" PRIu64 "\n", name, rows * 1e3 / (double)cpu, rows * 1e3 / (double)(clock_mono_ns() - wall),
           (double)s->find / rows, (double)s->seal / rows, (double)s->apply / rows, (double)s->evict / rows, (double)(cpu - thread) / rows,
           rss * (unsigned long)sysconf(_SC_PAGESIZE) >> 20, kstate_evicted(s->ks));
    fflush(stdout);
}

static void spilled(size_t hot_mb, size_t base_mb, uint64_t keys, uint64_t ops) {
    spill_t s = {.base_bytes = base_mb << 20, .dir = "spill-XXXXXX"};
    if (!mkdtemp(s.dir)) check(err_new(ERR_IO, "no directory can be made here"));
    strcat(s.dir, "/db");
    kstate_env_conf_t conf = {.memory = hot_mb << 20, .open_base = open_spilled, .arg = &s};
    s.env = kstate_env_new(&conf);
    check(kstate_open(s.env, 1, 0, 0, 1024, &codec, &s.ks));
    rng_t rng;
    rng_seed(&rng, keys);
    printf("          M/CPU s    M/s  ns/find  ns/seal ns/apply ns/evict ns/other   RSS MB    evicted   (other: RocksDB's threads)\n");
    phase(&s, "new", keys, NULL, keys);
    for (int i = 0; i < 2; i++) phase(&s, "random", ops / 2, &rng, keys);
    kstate_close(s.ks);
    kstate_env_free(s.env);
    check(base_wipe(s.dir));
    s.dir[strlen(s.dir) - 3] = 0;
    rmdir(s.dir);
}

int main(int argc, char **argv) {
    if (argc == 6 && !strcmp(argv[1], "spill")) {
        spilled(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "base") == 0) {
        bases(argc > 2 ? strtoull(argv[2], NULL, 10) : 4000000);
        return 0;
    }
    uint64_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    uint64_t ops = argc > 2 ? strtoull(argv[2], NULL, 10) : 5000000;
    printf("      keys  M upserts/CPU s  ns/create  ns/seal key  ns/apply key  bytes/key  sealed bytes/key\n");
    for (uint64_t keys = 1000; keys <= most; keys *= 10) run(keys, ops);
    return 0;
}
