/* Many epochs go into the base a part of the key groups at a time: the same base as if each had been applied for itself, and each key in it once. */
#include "common/map.h"
#include "state/coalesce.h"
#include "state/parts.h"
#include "state/segment.h"
#include "tests/state/world.h"
#include <fcntl.h>

#define KEYS 80000
#define EACH 60000 /* changes of a large epoch: more than a MB */
#define EPOCHS 8

static void flat_encode(void *ctx, const void *v, buf_t *out) { buf_put_u64(out, *(const uint64_t *)v); }
static bool flat_decode(void *ctx, slice_t bytes, void *v) {
    reader_t r = reader_of(bytes);
    *(uint64_t *)v = read_u64(&r);
    return !r.bad && reader_left(&r) == 0;
}
static const kstate_codec_t flat_codec = {sizeof(uint64_t), NULL, NULL, NULL, flat_encode, flat_decode, NULL};

typedef struct table { kstate_t *ks; uint64_t want[KEYS]; } table_t;

static table_t *flat_open(world_t *w, uint64_t fingerprint) {
    table_t *t = xcalloc(1, sizeof *t);
    ck_ok(kstate_open(w->env, fingerprint, 0, 0, 1024, &flat_codec, &t->ks));
    return t;
}

/* Different keys; one in twenty is deleted again. Said to be changed as an aggregate says it: from the second epoch on most are written down at once. */
static void change(table_t *t, rng_t *rng, uint32_t n) {
    uint64_t first = rng_below(rng, KEYS);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t k = (first + i) % KEYS;
        void *v = number_of(t->ks, k, true);
        *(uint64_t *)v = t->want[k] = rng_next(rng) | 1;
        kstate_changed(t->ks, &v, 1);
        if (rng_below(rng, 20)) continue;
        kstate_delete(t->ks, v);
        t->want[k] = 0;
    }
}

static void check_base(world_t *w, table_t *t, uint64_t fingerprint) {
    kstate_t *ks;
    ck_ok(kstate_open(w->env, fingerprint, 0, 0, 1024, &flat_codec, &ks)); /* reads the base */
    uint64_t live = 0;
    for (uint64_t k = 0; k < KEYS; k++) {
        const uint64_t *v = number_of(ks, k, false);
        ck_assert_msg(v ? *v == t->want[k] : t->want[k] == 0, "key %d", (int)k);
        live += v != NULL;
    }
    ck_assert_uint_eq(kstate_entries(ks), live);
    kstate_close(ks);
}

/* What reaches the base of the large operator. */
static uint64_t written;
static err_t *(*real_apply)(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes);
static err_t *counting_apply(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes) {
    reader_t r = reader_of(changes);
    change_t c;
    ASSERT(change_begin(&r));
    while (fingerprint == FP && change_next(&r, &c)) written += c.kind != CHANGE_DROP;
    return real_apply(b, fingerprint, slot, changes);
}
/* From here on, until the base has its `real_apply` again. */
static base_db_t *count_applied(world_t *w) {
    base_db_t *base;
    ck_ok(kstate_env_need_base(w->env, &base));
    real_apply = base->apply;
    base->apply = base->apply_some = counting_apply;
    written = 0;
    return base;
}

static void seal_epoch(world_t *w, table_t *const *t, changelog_t *log, applier_t *a, epoch_t epoch) {
    task_seal_t *s = seal_new(epoch, 0, 0);
    for (int i = 0; i < 2; i++) kstate_seal(t[i]->ks, epoch, seal_state(s, FP + (uint64_t)i, i, 0));
    buf_puts(seal_state(s, FP, 0, -1), "operator bytes are not for the base");
    changelog_id_t id = {1, 1, 1, 1, "w"};
    buf_t segment = buf_make(1 << 26);
    ck_ok(segment_build(&id, epoch, &s, 1, false, &segment));
    extent_t x = {0};
    if (log) ck_ok(changelog_append(log, epoch, buf_slice(&segment), &x));
    if (log) applier_add_extent(a, &x);
    else applier_add(a, epoch, buf_slice(&segment));
    free(x.path);
    buf_free(&segment);
    task_seal_free(s);
}

/* drop_rest: changes of the large operator behind a drop of all that came before; 0: no drop. */
static void story(bool rocks, bool stored, uint32_t drop_rest) {
    world_t *w = world_new(rocks, 0);
    w->round_bytes = 4 << 20;
    applier_t *a = applier_make(w);
    changelog_id_t id = {1, 1, 1, 1, "w"};
    changelog_t *log = stored ? changelog_new(w->disk, &id) : NULL;
    if (log) changelog_set_file_bytes(log, 3 << 20);
    table_t *t[2] = {flat_open(w, FP), flat_open(w, FP + 1)};
    base_db_t *base = count_applied(w);
    rng_t rng;
    rng_seed(&rng, 3);
    for (epoch_t e = 1; e <= EPOCHS; e++) {
        if (e == 5 && drop_rest) {
            change(t[0], &rng, 30);
            kstate_drop_ns(t[0]->ks, 0);
            memset(t[0]->want, 0, sizeof t[0]->want);
        }
        change(t[0], &rng, e == 5 && drop_rest ? drop_rest : e == 6 ? 40 : EACH);
        change(t[1], &rng, 60);
        seal_epoch(w, t, log, a, e);
    }
    applier_complete(a, EPOCHS);
    ck_ok(applier_apply(a, EPOCHS));
    ck_assert_uint_eq(applier_pending(a), 0);
    ck_assert_uint_eq(kstate_env_applied(w->env), EPOCHS);
    base->apply = real_apply;
    for (int i = 0; i < 2; i++) check_base(w, t[i], FP + (uint64_t)i);
    if (drop_rest < 1000) ck_assert_uint_le(written, KEYS);
    else ck_assert_uint_gt(written, KEYS); /* too much behind the drop: in rounds, as ever */
    for (int i = 0; i < 2; i++) {
        kstate_close(t[i]->ks);
        free(t[i]);
    }
    changelog_free(log);
    applier_free(a);
    world_free(w);
}

START_TEST(many_epochs_go_into_the_base_with_the_last_word_of_each_key_alone) {
    for (int rocks = 0; rocks < 2; rocks++)
        for (int stored = 0; stored < 2; stored++) story(rocks, stored, 0);
}
END_TEST

START_TEST(a_drop_between_them_and_what_follows_it_keep_their_place) {
    for (int stored = 0; stored < 2; stored++) story(stored, stored, 50);
}
END_TEST

START_TEST(what_mostly_lies_in_no_part_goes_in_rounds) { story(false, true, EACH); }
END_TEST

/* One operator in two tables, whose groups meet within a part. */
enum { MEET = 32 * CHANGE_PART_GROUPS + 5 };
typedef struct halves { kstate_t *ks[2]; table_t all; } halves_t;
static int half_of(uint64_t k) { return state_key_group(0, slice_of(&k, sizeof k)) >= MEET; }
static void change_halves(halves_t *h, rng_t *rng, uint32_t n) {
    uint64_t first = rng_below(rng, KEYS);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t k = (first + i) % KEYS;
        h->all.ks = h->ks[half_of(k)];
        void *v = number_of(h->all.ks, k, true);
        *(uint64_t *)v = h->all.want[k] = rng_next(rng) | 1;
        kstate_changed(h->all.ks, &v, 1);
    }
}
static void drop_half(halves_t *h, int half) {
    kstate_drop_ns(h->ks[half], 0);
    for (uint64_t k = 0; k < KEYS; k++)
        if (half_of(k) == half) h->all.want[k] = 0;
}
static void seal_halves(halves_t *h, applier_t *a, epoch_t epoch) {
    task_seal_t *s[2];
    for (int i = 0; i < 2; i++) {
        s[i] = seal_new(epoch, 0, i);
        kstate_seal(h->ks[i], epoch, seal_state(s[i], FP, 0, 0));
    }
    changelog_id_t id = {1, 1, 1, 1, "w"};
    buf_t segment = buf_make(1 << 26);
    ck_ok(segment_build(&id, epoch, s, 2, false, &segment));
    applier_add(a, epoch, buf_slice(&segment));
    buf_free(&segment);
    for (int i = 0; i < 2; i++) task_seal_free(s[i]);
}

/* Each pass over a part meets what is dropped of its own key groups alone, in its place among the part's changes. */
START_TEST(a_part_that_is_read_in_passes_has_drops_of_some_of_its_groups_before_and_behind_it) {
    for (int rocks = 0; rocks < 2; rocks++) {
        world_t *w = world_new(rocks, 0);
        w->round_bytes = 100 << 10; /* less than a part */
        applier_t *a = applier_make(w);
        halves_t *h = xcalloc(1, sizeof *h);
        for (int i = 0; i < 2; i++) ck_ok(kstate_open(w->env, FP, 0, i ? MEET : 0, i ? KEY_GROUPS : MEET, &flat_codec, &h->ks[i]));
        base_db_t *base = count_applied(w);
        rng_t rng;
        rng_seed(&rng, 13);
        for (epoch_t e = 1; e <= EPOCHS; e++) {
            if (e == EPOCHS - 2 || e == EPOCHS) drop_half(h, e == EPOCHS); /* little follows: what comes behind a drop lies in no part */
            change_halves(h, &rng, e == EPOCHS - 2 || e == EPOCHS ? 60 : EACH);
            seal_halves(h, a, e);
        }
        applier_complete(a, EPOCHS);
        ck_ok(applier_apply(a, EPOCHS));
        base->apply = real_apply;
        ck_assert_uint_gt(written, KEYS / 4);
        ck_assert_uint_le(written, KEYS); /* each key once: it was not in rounds, and no pass had more than one */
        check_base(w, &h->all, FP);
        for (int i = 0; i < 2; i++) kstate_close(h->ks[i]);
        free(h);
        applier_free(a);
        world_free(w);
    }
}
END_TEST

/* Each table file is a run that RocksDB merges with others: round after round of many parts, or of a few key groups of one; of one operator or of two. */
static void becomes_files(size_t round_bytes, int ops) {
    world_t *w = world_new(true, 0);
    w->round_bytes = round_bytes;
    applier_t *a = applier_make(w);
    table_t *t[2] = {flat_open(w, FP), flat_open(w, FP + 1)};
    rng_t rng;
    rng_seed(&rng, 5);
    for (epoch_t e = 1; e <= 3; e++) {
        for (int i = 0; i < ops; i++) change(t[i], &rng, KEYS);
        seal_epoch(w, t, NULL, a, e);
    }
    applier_complete(a, 3);
    base_t base;
    ck_ok(applier_checkpoint(a, 3, &base));
    int tables = 0;
    for (int i = 0; i < base.nfiles; i++) tables += strstr(base.files[i].name, ".sst") != NULL;
    ck_assert_int_eq(tables, ops);
    for (int i = 0; i < ops; i++) check_base(w, t[i], FP + (uint64_t)i);
    base_done(&base);
    for (int i = 0; i < 2; i++) {
        kstate_close(t[i]->ks);
        free(t[i]);
    }
    applier_free(a);
    world_free(w);
}

START_TEST(what_is_sorted_a_piece_at_a_time_becomes_one_table_file) {
    for (int ops = 1; ops <= 2; ops++) {
        becomes_files(1800 << 10, ops);
        becomes_files(60 << 10, ops); /* less than a part */
    }
}
END_TEST

static err_t *no_part(void *arg, uint64_t fingerprint, int slot, reader_t *r) { return NULL; }

START_TEST(a_part_that_changed_on_disk_since_it_was_checked_is_refused) {
    world_t *w = world_new(false, 0);
    table_t *t = flat_open(w, FP);
    rng_t rng;
    rng_seed(&rng, 4);
    change(t, &rng, EACH);
    task_seal_t *s = seal_new(1, 0, 0);
    kstate_seal(t->ks, 1, seal_state(s, FP, 0, 0));
    changelog_id_t id = {1, 1, 1, 1, "w"};
    changelog_t *log = changelog_new(w->disk, &id);
    buf_t segment = buf_make(1 << 26);
    extent_t x;
    bool fit;
    ck_ok(segment_build(&id, 1, &s, 1, false, &segment));
    ck_ok(changelog_append(log, 1, buf_slice(&segment), &x));
    parts_t *p = parts_new(w->disk, NULL, 1, 1000);
    ck_ok(parts_add(p, &x, slice_of(NULL, 0), &fit));
    ck_assert(fit);
    AUTO(auto_free) char *path = xprintf("%s/%s", w->tmp.path, x.path);
    int fd = open(path, O_RDWR), bad = 0;
    uint8_t byte = (uint8_t)~segment.data[segment.len - 1]; /* of the last part */
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)segment.len - 1), 1);
    close(fd);
    for (int i = 0; i < CHANGE_PARTS; i++) {
        err_t *e = parts_read(p, 0, i, 0, 1, no_part, NULL);
        ck_assert_msg(!e || (err_code(e) == ERR_CORRUPT && strstr(err_text(e), "wrong checksum of a part")), "%s", err_text(e));
        bad += e != NULL;
        err_free(e);
    }
    ck_assert_int_eq(bad, 1);
    parts_free(p);
    changelog_free(log);
    free(x.path);
    buf_free(&segment);
    task_seal_free(s);
    kstate_close(t->ks);
    free(t);
    world_free(w);
}
END_TEST

START_TEST(an_index_that_does_not_hold_together_is_refused) {
    change_index_t x = {2, {{3, 5, 1}, {9, 6, 2}}}, got;
    buf_t b = buf_make(1 << 10);
    change_header_parts(&b, &x);
    size_t head = b.len;
    buf_puts(&b, "fivebsixbyt");
    reader_t r = reader_of(buf_slice(&b));
    ck_assert(change_begin_parts(&r, &got) && got.n == 2 && got.part[1].part == 9 && got.part[1].len == 6 && got.part[1].crc == 2);
    ck_assert_uint_eq(reader_left(&r), 11);
    for (size_t len = 1; len < head; len++) ck_fails(change_open(slice_of(b.data, len), &r), ERR_CORRUPT, "malformed"); /* cut */
    ck_fails(change_open(slice_of(b.data, b.len - 1), &r), ERR_CORRUPT, "malformed"); /* a part reaches beyond the end */
    b.data[2 + 9] = 3; /* not ascending */
    ck_fails(change_open(buf_slice(&b), &r), ERR_CORRUPT, "malformed");
    b.data[2 + 9] = CHANGE_PARTS;
    ck_fails(change_open(buf_slice(&b), &r), ERR_CORRUPT, "malformed");
    b.data[0] = CHANGE_VERSION + 1; /* another build's: no damage, and no older epoch helps */
    ck_fails(change_open(buf_slice(&b), &r), ERR_VERSION, "reads versions up to 2");
    buf_free(&b);
}
END_TEST

static err_t *count_written(void *arg, uint64_t fingerprint, int slot, slice_t changes) {
    reader_t r = reader_of(changes);
    change_t c;
    ASSERT(change_begin(&r));
    while (change_next(&r, &c)) written++;
    return NULL;
}

/* Keys of one key group. */
enum { DISTINCT = 3000, ROUNDS = 3 };
static char (*keys_with(const char *begin, const char *end))[48] {
    char(*keys)[48] = xcalloc(DISTINCT, sizeof *keys);
    for (int n = 0, found = 0; found < DISTINCT; n++) {
        int len = snprintf(keys[found], sizeof *keys, "%s%d%s", begin, n, end);
        found += (hash_bytes((const uint8_t *)keys[found], (size_t)len) & 1023) == 7;
    }
    return keys;
}

/* CPU ms of writing several changes of each. */
static double write_ms(char (*keys)[48]) {
    AUTO(buf_free) buf_t changes = buf_make(64 << 20);
    change_header(&changes);
    for (int i = 0; i < ROUNDS * DISTINCT; i++) change_put(&changes, 0, slice_str(keys[i % DISTINCT]), slice_of((const uint8_t *)&i, sizeof i));
    coalesce_t *c = coalesce_new();
    written = 0;
    ck_ok(coalesce_add(c, 1, 0, buf_slice(&changes)));
    int64_t from = cpu_ns();
    ck_ok(coalesce_write(c, count_written, NULL));
    int64_t took = cpu_ns() - from;
    coalesce_free(c);
    ck_assert_uint_eq(written, DISTINCT);
    return (double)took / 1e6;
}

/* Each key once, with its last word, by key group and then as bytes are compared. */
typedef struct heard { map_t *last; size_t n; } heard_t;
static err_t *hear_in_order(void *arg, uint64_t fingerprint, int slot, slice_t changes) {
    heard_t *h = arg;
    reader_t r;
    ck_ok(change_open(changes, &r));
    change_t c, before = {0};
    int group = -1;
    for (; change_next(&r, &c); before = c, h->n++) {
        int kg = hash_key_group(hash_bytes(c.key.p, c.key.len));
        int order = memcmp(before.key.p ? before.key.p : c.key.p, c.key.p, MIN(before.key.len, c.key.len));
        ck_assert(kg > group || (kg == group && (order < 0 || (order == 0 && before.key.len < c.key.len))));
        group = kg;
        uint32_t said;
        memcpy(&said, c.value.p, sizeof said);
        ck_assert_uint_eq(said, (uintptr_t)map_get(h->last, c.key));
    }
    return NULL;
}

START_TEST(short_keys_come_in_the_order_of_the_base_also_when_they_end_in_zeroes) {
    coalesce_t *c = coalesce_new();
    rng_t rng;
    rng_seed(&rng, 11);
    for (int round = 0; round < 2; round++) { /* the second in the memory of the first */
        heard_t h = {.last = map_new()};
        buf_t b = buf_make(64 << 20);
        change_header(&b);
        for (uint32_t i = 1; i <= 200000; i++) {
            uint8_t key[8] = {0};
            size_t len = rng_below(&rng, sizeof key + 1);
            for (size_t k = 0; k < len; k++) key[k] = rng_below(&rng, 2) ? (uint8_t)rng_below(&rng, 4) : 0;
            map_put(h.last, slice_of(key, len), (void *)(uintptr_t)i);
            change_put(&b, -3, slice_of(key, len), slice_of(&i, sizeof i));
        }
        ck_ok(coalesce_add(c, FP, 0, buf_slice(&b)));
        ck_ok(coalesce_write(c, hear_in_order, &h));
        ck_assert_uint_eq(h.n, map_len(h.last));
        coalesce_clear(c);
        ck_assert(coalesce_empty(c));
        map_free(h.last, NULL);
        buf_free(&b);
    }
    coalesce_free(c);
}
END_TEST

/* Texts of one column mostly begin alike. */
START_TEST(keys_that_begin_alike_cost_what_others_cost) {
    char(*others)[48] = keys_with("", "-customer-of-the-shop"), (*alike)[48] = keys_with("customer-of-the-shop-", "");
    double base = 0, ms = 0;
    for (int i = 0; i < 5; i++) {
        base += write_ms(others);
        ms += write_ms(alike);
    }
    ck_assert_msg(ms < 10 * base, "%.1f ms, others %.1f ms", ms, base);
    free(others);
    free(alike);
}
END_TEST

TESTS("parts", many_epochs_go_into_the_base_with_the_last_word_of_each_key_alone, a_drop_between_them_and_what_follows_it_keep_their_place,
      a_part_that_is_read_in_passes_has_drops_of_some_of_its_groups_before_and_behind_it,
      what_mostly_lies_in_no_part_goes_in_rounds, what_is_sorted_a_piece_at_a_time_becomes_one_table_file,
      a_part_that_changed_on_disk_since_it_was_checked_is_refused,
      an_index_that_does_not_hold_together_is_refused, keys_that_begin_alike_cost_what_others_cost,
      short_keys_come_in_the_order_of_the_base_also_when_they_end_in_zeroes)
