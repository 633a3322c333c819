/* Manifest text from anybody: it is refused, or it prints as the very bytes that were read. Built with
 * -fsanitize=fuzzer -DLIBFUZZER by clang it is a libFuzzer target; else it mutates a good manifest by itself, with a seed:
 *   fuzz_manifest [SEED [ROUNDS]]   or   fuzz_manifest FILE.. to replay */
#include "common/clock.h"
#include "state/manifest.h"
#include "tests/fuzz/mutate.h"

static void one(slice_t text) {
    manifest_t *m = NULL;
    err_t *e = manifest_parse(text, &m);
    if (e) {
        ASSERT(err_code(e) == ERR_CORRUPT || err_code(e) == ERR_VERSION);
        err_free(e);
        return;
    }
    while (text.len && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r')) text.len--;
    manifest_t *copy = manifest_copy(m);
    manifest_trim(copy);
    manifest_free(copy);
    buf_t b = buf_make(1 << 26);
    manifest_print(&b, m);
    ASSERT(slice_eq(buf_slice(&b), text));
    buf_free(&b);
    manifest_free(m);
}

/* Most mutations die at the checksum: half of the rounds put the right one back, so that the fields are reached. */
static void repair(buf_t *b) {
    static const char mark[] = ",\"checksum\":\"";
    uint8_t *at = b->len > 64 ? memmem(b->data, b->len, mark, sizeof mark - 1) : NULL;
    if (!at || (size_t)(at - b->data) + sizeof mark + 8 > b->len) return;
    char text[9];
    snprintf(text, sizeof text, "%08" PRIx32, crc32c(0, b->data, (size_t)(at - b->data)));
    memcpy(at + sizeof mark - 1, text, 8);
}

static void sample(buf_t *out) {
    manifest_t *m = manifest_new();
    split_t s = {(char *)(uintptr_t)"events-0", 5, -1, 77, false, false};
    split_list_t l = {1, &s};
    manifest_set_source(m, 9, &l);
    *manifest_lane(m, 1, 2, true) = (lane_pos_t){1, 2, 3, 4};
    extent_t x = {(char *)(uintptr_t)"jobs/0000000000000000/log/i1.l1.a1.w.0.log", 0, 100, 1, 5, 9};
    manifest_add_extent(m, &x);
    base_file_t f = {(char *)(uintptr_t)"jobs/0000000000000000/base/i1.l1.a1.w/c1-e1/BASE", (char *)(uintptr_t)"BASE", 5, 6};
    base_t b = {(char *)(uintptr_t)"w", 1, 1, &f};
    manifest_set_base(m, &b);
    manifest_print(out, m);
    manifest_free(m);
}

FUZZ_MAIN(one, sample, repair)
