/* The manifest: one text per content, everything else is refused; what it keeps and what it lets go. */
#include "common/clock.h"
#include "state/changelog.h"
#include "state/manifest.h"
#include "tests/helpers/test.h"
#include <stdio.h>

static void add_file(base_t *b, const char *path, const char *name) {
    b->files = xrealloc(b->files, (size_t)(b->nfiles + 1) * sizeof *b->files);
    b->files[b->nfiles++] = (base_file_t){xstrdup(path), xstrdup(name), 100, 0xfffffffe};
}

/* The base of worker w, attempt a, epoch e, with a shared table. */
static base_t base_make(const char *w, int attempt, epoch_t epoch, const char *table) {
    base_t b = {.worker = xstrdup(w), .epoch = epoch};
    AUTO(auto_free) char *dir = xprintf("jobs/0000000000000001/base/i7.l1.a%d.%s", attempt, w);
    AUTO(auto_free) char *sst = xprintf("%s/%s", dir, table);
    AUTO(auto_free) char *meta = xprintf("%s/c1-e%d/BASE", dir, (int)epoch);
    add_file(&b, sst, table);
    add_file(&b, meta, "BASE");
    return b;
}
static void set_base(manifest_t *m, const char *w, int attempt, epoch_t epoch, const char *table) {
    base_t b = base_make(w, attempt, epoch, table);
    manifest_set_base(m, &b);
    base_done(&b);
}
static void add_extent(manifest_t *m, const char *w, int attempt, int file, uint64_t from, epoch_t first, epoch_t last) {
    AUTO(auto_free) char *path = xprintf("jobs/0000000000000001/log/i7.l1.a%d.%s.%d.log", attempt, w, file);
    extent_t x = {path, from, from + 100, first, last, (uint32_t)last};
    manifest_add_extent(m, &x);
}
static void add_split(manifest_t *m, uint64_t fp, const char *id, int64_t position, int64_t wm) {
    split_t s = {(char *)(uintptr_t)id, position, -1, wm, false, true};
    split_list_t l = {1, &s};
    manifest_set_source(m, fp, &l);
}

static manifest_t *sample(void) {
    manifest_t *m = manifest_new();
    m->job = 1;
    m->name = xstrdup("orders \"quoted\"");
    m->incarnation = UINT64_MAX;
    m->leader = 77;
    m->attempt = 2;
    m->epoch = 12;
    m->previous = 11;
    m->started = 3;
    m->plan_hash = 0xabcdef;
    m->parallelism = 4;
    m->processing_ms = 1700000000123;
    m->final = true;
    add_split(m, 5, "events-0", INT64_MAX, WATERMARK_NONE);
    add_split(m, 5, "events-1", 0, WATERMARK_END);
    m->stages = xcalloc(1, sizeof *m->stages);
    m->stages[m->nstages++] = (stage_pos_t){3, -5};
    *manifest_lane(m, 9, 2, true) = (lane_pos_t){9, 2, 10, 12};
    add_extent(m, "w1", 2, 0, 64, 11, 12);
    set_base(m, "w1", 2, 10, "000012.sst");
    return m;
}

START_TEST(round_trip_copy_and_frozen_text) {
    manifest_t *m = sample(), *back, *copy = manifest_copy(m);
    buf_t a = buf_make(1 << 20), b = buf_make(1 << 20);
    manifest_print(&a, m);
    static const char want[] =
        "{\"tidegate_manifest\":1,\"job\":\"0000000000000001\",\"name\":\"orders \\\"quoted\\\"\","
        "\"incarnation\":\"ffffffffffffffff\",\"leader\":77,\"attempt\":2,\"epoch\":12,\"previous\":11,\"started\":3,"
        "\"plan_hash\":\"0000000000abcdef\",\"parallelism\":4,\"processing_ms\":1700000000123,\"final\":true,"
        "\"sources\":[{\"fingerprint\":\"0000000000000005\",\"splits\":["
        "{\"id\":\"events-0\",\"position\":9223372036854775807,\"end\":-1,\"watermark\":-9223372036854775808,\"idle\":false,"
        "\"ended\":true},"
        "{\"id\":\"events-1\",\"position\":0,\"end\":-1,\"watermark\":9223372036854775807,\"idle\":false,\"ended\":true}]}],"
        "\"stages\":[{\"stage\":3,\"watermark\":-5}],"
        "\"lanes\":[{\"fingerprint\":\"0000000000000009\",\"lane\":2,\"published\":10,\"last_rows\":12}],"
        "\"extents\":[{\"path\":\"jobs/0000000000000001/log/i7.l1.a2.w1.0.log\",\"from\":64,\"to\":164,\"first\":11,"
        "\"last\":12,\"crc\":12}],"
        "\"bases\":[{\"worker\":\"w1\",\"epoch\":10,\"files\":[{\"path\":\"jobs/0000000000000001/base/i7.l1.a2.w1/000012.sst\","
        "\"name\":\"000012.sst\",\"size\":100,\"crc\":4294967294},"
        "{\"path\":\"jobs/0000000000000001/base/i7.l1.a2.w1/c1-e10/BASE\",\"name\":\"BASE\",\"size\":100,\"crc\":4294967294}]}],"
        "\"checksum\":\"";
    ck_assert_msg(strncmp(buf_cstr(&a), want, sizeof want - 1) == 0, "%s", buf_cstr(&a));
    ck_assert_uint_eq(strtoul((char *)a.data + sizeof want - 1, NULL, 16), crc32c(0, a.data, sizeof want - 1 - 13));
    ck_ok(manifest_parse(buf_slice(&a), &back));
    manifest_print(&b, back);
    ck_assert(slice_eq(buf_slice(&a), buf_slice(&b)));
    buf_clear(&b);
    manifest_print(&b, copy);
    ck_assert(slice_eq(buf_slice(&a), buf_slice(&b)));
    ck_assert_int_eq(manifest_watermark(back, 3), -5);
    ck_assert(manifest_watermark(back, 4) == WATERMARK_NONE);
    ck_assert_ptr_null(manifest_lane(back, 9, 3, false));
    buf_puts(&a, "\n"); /* as an editor or echo leaves it */
    manifest_t *line;
    ck_ok(manifest_parse(buf_slice(&a), &line));
    manifest_free(line);
    manifest_free(m);
    manifest_free(copy);
    manifest_free(back);
    buf_free(&a);
    buf_free(&b);
}
END_TEST

static void expect_version(const manifest_t *m, int version) {
    AUTO(buf_free) buf_t b = buf_make(1 << 20);
    char begins[64];
    snprintf(begins, sizeof begins, "{\"tidegate_manifest\":%d,", version);
    manifest_print(&b, m);
    ck_assert_msg(strncmp(buf_cstr(&b), begins, strlen(begins)) == 0, "%.40s", buf_cstr(&b));
    manifest_t *back = NULL;
    ck_ok(manifest_parse(buf_slice(&b), &back));
    manifest_free(back);
}

/* A build that knows none of these fields says "version mismatch", not "corrupt data". */
START_TEST(C7_a_manifest_with_what_earlier_builds_do_not_know_has_another_version) {
    for (int i = 0; i < 6; i++) {
        manifest_t *m = sample();
        if (i == 1) m->family = 12;
        if (i == 2) manifest_add_older(m, &(manifest_t){.leader = 4, .attempt = 5, .epoch = 6});
        if (i == 3) m->fell.times = 1;
        if (i == 4) manifest_lane(m, 9, 2, true)->had = 13;
        if (i == 5) m->root = 14;
        expect_version(m, i == 5 ? 4 : i == 4 ? 3 : i ? 2 : 1);
        manifest_free(m);
    }
    static const char text[] = "\"family\":\"000000000000000c\"";
    manifest_t *m = sample(), *back = NULL;
    m->family = 12;
    AUTO(buf_free) buf_t b = buf_make(1 << 20);
    manifest_print(&b, m);
    char *written = xstrdup(buf_cstr(&b)), *sum = strstr(written, ",\"checksum\"");
    ck_assert_ptr_nonnull(strstr(written, text));
    *strchr(written, '2') = '1'; /* as the builds between wrote it */
    snprintf(strrchr(written, ':') + 2, 11, "%08" PRIx32 "\"}", crc32c(0, written, (size_t)(sum - written)));
    ck_ok(manifest_parse(slice_str(written), &back));
    ck_assert_uint_eq(back->family, 12);
    free(written);
    manifest_free(back);
    manifest_free(m);
}
END_TEST

START_TEST(what_came_after_version_1_is_told_only_when_set) {
    manifest_t *m = sample(), *back;
    *manifest_lane(m, 9, 2, true) = (lane_pos_t){9, 2, 10, 12, true, 254, 7};
    m->origin = 255;
    m->family = 12;
    m->root = 13;
    m->forced = true;
    m->sources[0].splits.items[1].mark = 0xabc;
    manifest_add_older(m, &(manifest_t){.leader = 4, .attempt = 5, .epoch = 6});
    m->fell.times = 2, m->fell.from = 8, m->fell.to = 6;
    buf_t a = buf_make(1 << 20);
    manifest_print(&a, m);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&a), "\"published\":10,\"last_rows\":12,\"started\":true,\"had\":\"00000000000000fe\",\"had_upto\":7}]"));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&a), "\"started\":3,\"origin\":\"00000000000000ff\",\"family\":\"000000000000000c\",\"root\":\"000000000000000d\",\"forced\":true,"));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&a), "\"ended\":true,\"mark\":\"0000000000000abc\"}]}"));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&a), ",\"older\":[{\"leader\":4,\"attempt\":5,\"epoch\":6}],\"fell_back\":{\"times\":2,\"from\":8,\"to\":6},\"checksum\":"));
    ck_ok(manifest_parse(buf_slice(&a), &back));
    ck_assert_uint_eq(back->sources[0].splits.items[1].mark, 0xabc);
    ck_assert(back->nolder == 1 && back->older[0].epoch == 6 && back->fell.times == 2 && back->fell.to == 6);
    ck_assert_uint_eq(manifest_root(back), 13);
    manifest_t *copy = manifest_copy(back);
    copy->root = 0; /* as a build before wrote it: the earliest that it knows, then itself */
    ck_assert_uint_eq(manifest_root(copy), 255);
    copy->origin = 0;
    ck_assert_uint_eq(manifest_root(copy), copy->incarnation);
    AUTO(auto_free) char *path = manifest_older_path(copy, 0);
    ck_assert_ptr_nonnull(strstr(path, ".l4.a5.e6.json"));
    manifest_alone(copy);
    ck_assert(copy->nolder == 0 && copy->fell.times == 0);
    manifest_free(copy);
    manifest_lanes_anew(back);
    const lane_pos_t *l = manifest_lane(back, 9, 2, false);
    ck_assert(!l->started && l->had == back->incarnation && l->had_upto == back->epoch && back->origin == 255 && back->forced);
    manifest_free(m);
    manifest_free(back);
    buf_free(&a);
}
END_TEST

START_TEST(every_changed_byte_and_every_prefix_is_refused) {
    manifest_t *m = sample(), *back;
    buf_t a = buf_make(1 << 20);
    manifest_print(&a, m);
    for (size_t i = 0; i < a.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            a.data[i] ^= (uint8_t)(1 << bit);
            err_t *e = manifest_parse(buf_slice(&a), &back);
            ck_assert_msg(err_code(e) == ERR_CORRUPT || err_code(e) == ERR_VERSION, "bit %d of byte %zu", bit, i);
            err_free(e);
            a.data[i] ^= (uint8_t)(1 << bit);
        }
        err_t *e = manifest_parse(slice_of(a.data, i), &back);
        ck_assert_int_eq(err_code(e), ERR_CORRUPT);
        err_free(e);
    }
    ck_fails(manifest_parse(slice_str("{\"tidegate_manifest\":5}"), &back), ERR_VERSION, "version 5: this build reads versions 1 to 4");
    ck_fails(manifest_parse(slice_str("[]"), &back), ERR_CORRUPT, "not a manifest");
    ck_fails(manifest_parse(slice_str("{\"tidegate_manifest\":1}"), &back), ERR_CORRUPT, "field 'job'");
    buf_free(&a);
    manifest_free(m);
}
END_TEST

START_TEST(extents_of_one_file_coalesce) {
    manifest_t *m = manifest_new();
    for (int e = 1; e <= 600; e++)
        for (int w = 0; w < 3; w++) add_extent(m, w == 0 ? "a" : w == 1 ? "b" : "c", 1, 0, (uint64_t)e * 100, (epoch_t)e, (epoch_t)e);
    ck_assert_int_eq(m->nextents, 3); /* ten per second for a minute: still one per worker */
    ck_assert(m->extents[1].first == 1 && m->extents[1].last == 600 && m->extents[1].crc == 600);
    add_extent(m, "a", 1, 0, 70000, 701, 701); /* a hole of bytes: dead epochs lie in it */
    ck_assert_int_eq(m->nextents, 4);
    add_extent(m, "a", 1, 1, 0, 702, 702);
    ck_assert_int_eq(m->nextents, 5);
    extent_t nothing = {0};
    manifest_add_extent(m, &nothing); /* an epoch in which a worker had nothing to write */
    ck_assert_int_eq(m->nextents, 5);
    manifest_free(m);
}
END_TEST

static void print_paths(const manifest_t *m, buf_t *out) {
    buf_clear(out);
    for (int i = 0; i < m->nextents; i++) {
        storage_origin_t o;
        ck_assert(storage_path_parse(m->extents[i].path, &o));
        buf_printf(out, "%.*s%d:%d-%d ", (int)o.worker.len, (const char *)o.worker.p, (int)o.attempt, (int)m->extents[i].first,
                   (int)m->extents[i].last);
    }
    for (int i = 0; i < m->nbases; i++) buf_printf(out, "[%s@%d]", m->bases[i].worker, (int)m->bases[i].epoch);
}
#define ck_keeps(m, want)                                                                          \
    do {                                                                                           \
        manifest_trim(m);                                                                          \
        print_paths(m, &text);                                                                     \
        ck_assert_str_eq(buf_cstr(&text), want);                                                   \
    } while (0)

/* Two workers, then one of them dies and a third takes over: nothing of the first attempt goes before both workers of the second have
 * their base, for key groups have moved between them. */
START_TEST(trim_keeps_what_a_restore_or_a_lane_needs) {
    buf_t text = buf_make(4096);
    manifest_t *m = manifest_new();
    add_extent(m, "a", 1, 0, 0, 1, 10);
    add_extent(m, "b", 1, 0, 0, 1, 10);
    ck_keeps(m, "a1:1-10 b1:1-10 "); /* no base: everything */
    set_base(m, "a", 1, 10, "1.sst");
    add_extent(m, "a", 1, 1, 0, 11, 20);
    add_extent(m, "b", 1, 1, 0, 11, 20);
    ck_keeps(m, "b1:1-10 a1:11-20 b1:11-20 [a@10]"); /* a's first file is in its base */
    set_base(m, "b", 1, 20, "1.sst");
    ck_keeps(m, "a1:11-20 b1:11-20 [a@10][b@20]"); /* b's newest stays: it has its operators' bytes, and may be written to */

    add_extent(m, "a", 2, 0, 0, 23, 23); /* b died with 21 and 22 in flight; c takes its part */
    add_extent(m, "c", 2, 0, 0, 23, 23);
    set_base(m, "a", 2, 23, "9.sst");
    ck_keeps(m, "a1:11-20 b1:11-20 a2:23-23 c2:23-23 [a@10][b@20][a@23]");
    manifest_lane(m, 9, 0, true)->published = 15;
    manifest_lane(m, 9, 0, true)->last_rows = 20;
    manifest_lane(m, 9, 1, true)->published = 12;
    manifest_lane(m, 9, 1, true)->last_rows = 11; /* this one is done */
    set_base(m, "c", 2, 23, "1.sst");
    ck_keeps(m, "a1:11-20 b1:11-20 a2:23-23 c2:23-23 [a@23][c@23]"); /* lane 0 has yet to publish 16..20 */
    manifest_lane(m, 9, 0, true)->published = 20;
    ck_keeps(m, "a2:23-23 c2:23-23 [a@23][c@23]");
    set_base(m, "a", 2, 22, "8.sst"); /* overtaken by a newer one */
    ck_keeps(m, "a2:23-23 c2:23-23 [a@23][c@23]");
    manifest_free(m);
    buf_free(&text);
}
END_TEST

static void collect(void *arg, const char *path) { buf_printf(arg, "%s ", strrchr(path, '/') + 1); }

START_TEST(garbage_is_the_difference_of_two_manifests) {
    manifest_t *old = manifest_new(), *now;
    add_extent(old, "a", 1, 0, 0, 1, 5);
    add_extent(old, "a", 1, 0, 200, 7, 7); /* the same file again */
    add_extent(old, "a", 1, 1, 0, 8, 8);
    set_base(old, "a", 1, 5, "shared.sst");
    now = manifest_copy(old);
    buf_t text = buf_make(4096);
    manifest_garbage(old, now, collect, &text);
    ck_assert_uint_eq(text.len, 0);
    set_base(now, "a", 1, 8, "shared.sst");
    manifest_trim(now);
    manifest_garbage(old, now, collect, &text);
    ck_assert_str_eq(buf_cstr(&text), "i7.l1.a1.a.0.log BASE "); /* each once; the table is still used */
    buf_free(&text);
    manifest_free(old);
    manifest_free(now);
}
END_TEST

START_TEST(source_positions_are_replaced_by_split) {
    manifest_t *m = manifest_new();
    add_split(m, 1, "p0", 5, 50);
    add_split(m, 1, "p1", 6, 60);
    add_split(m, 2, "p0", 7, 70); /* a twin scan of the same topic */
    add_split(m, 1, "p0", 8, 80);
    ck_assert_int_eq(m->nsources, 2);
    const split_list_t *s = &manifest_source(m, 1)->splits;
    ck_assert_int_eq(s->n, 2);
    ck_assert(s->items[0].position == 8 && s->items[0].watermark == 80 && s->items[1].position == 6);
    ck_assert_int_eq(manifest_source(m, 2)->splits.items[0].position, 7);
    ck_assert_ptr_null(manifest_source(m, 3));
    manifest_free(m);
}
END_TEST

TESTS("manifest", round_trip_copy_and_frozen_text, what_came_after_version_1_is_told_only_when_set,
      C7_a_manifest_with_what_earlier_builds_do_not_know_has_another_version,
      every_changed_byte_and_every_prefix_is_refused, extents_of_one_file_coalesce,
      trim_keeps_what_a_restore_or_a_lane_needs, garbage_is_the_difference_of_two_manifests, source_positions_are_replaced_by_split)
