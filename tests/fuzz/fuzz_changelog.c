/* Segments, kstate changes and base descriptions from anybody: refused or read, never more bytes touched than there are. The first
 * byte chooses the reader. See fuzz_manifest.c for how to run it. */
#include "common/clock.h"
#include "state/base_meta.h"
#include "state/coalesce.h"
#include "state/kstate_env.h"
#include "state/segment.h"
#include "tests/fuzz/mutate.h"

static void encode(void *ctx, const void *v, buf_t *out) { buf_put_u64(out, *(const uint64_t *)v); }
static bool decode(void *ctx, slice_t bytes, void *v) {
    reader_t r = reader_of(bytes);
    *(uint64_t *)v = read_u64(&r);
    return !r.bad;
}

static err_t *into_coalesce(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    return slot < 0 ? NULL : coalesce_add(arg, fingerprint, slot, bytes);
}
static err_t *nowhere(void *arg, uint64_t fingerprint, int slot, slice_t changes) { return NULL; }

static void one(slice_t in) {
    if (in.len == 0) return;
    slice_t bytes = slice_of(in.p + 1, in.len - 1);
    err_t *e = NULL;
    if (in.p[0] % 3 == 0) {
        coalesce_t *c = coalesce_new();
        segment_visitor_t v = {.arg = c, .state = into_coalesce};
        size_t used = 0;
        e = segment_visit(bytes, 1, &v, &used);
        ASSERT(used <= bytes.len);
        err_free(coalesce_write(c, nowhere, NULL));
        coalesce_free(c);
    } else if (in.p[0] % 3 == 1) {
        kstate_codec_t codec = {.value_size = 8, .encode = encode, .decode = decode};
        kstate_env_t *env = kstate_env_new(NULL);
        kstate_t *ks;
        err_free(kstate_open(env, 1, 0, 0, 512, &codec, &ks));
        e = kstate_apply(ks, bytes);
        buf_t out = buf_make(1 << 26);
        kstate_seal(ks, 1, &out);
        buf_free(&out);
        kstate_close(ks);
        kstate_env_free(env);
    } else {
        base_meta_t m;
        e = base_meta_decode(bytes, &m);
        if (!e) base_meta_done(&m);
    }
    ASSERT(!e || err_code(e) == ERR_CORRUPT || err_code(e) == ERR_VERSION);
    err_free(e);
}

static void put_crc(buf_t *b, size_t at, size_t from, size_t to) {
    if (at + 4 <= b->len && from <= to && to <= b->len) buf_set_u32(b, at, crc32c(0, b->data + from, to - from));
}

/* Puts right checksums back, so that what lies behind them is reached. */
static void repair(buf_t *b) {
    if (b->len > 1 && b->data[0] % 3 == 0) {
        put_crc(b, 57, 65, b->len);
        put_crc(b, 61, 1, 61);
    } else if (b->len > 5 && b->data[0] % 3 == 2) {
        put_crc(b, b->len - 4, 1, b->len - 4);
    }
}

static void sample(buf_t *out) {
    static int turn;
    buf_t changes = buf_make(1 << 16);
    change_header(&changes);
    for (int i = 0; i < 20; i++) change_put(&changes, i % 3, slice_of(&i, sizeof i), slice_str("12345678"));
    change_del(&changes, 1, slice_str("key"));
    change_drop_range(&changes, 2, 0, 600);
    buf_put_u8(out, (uint8_t)(turn % 3));
    if (turn % 3 == 0) {
        state_seal_t st = {4, 7, 0, buf_make(1 << 16)};
        buf_put(&st.bytes, changes.data, changes.len);
        sink_seal_t sink = {5, 8, 1, 2, changes};
        task_seal_t s = {.epoch = 3, .nstates = 1, .states = &st, .nsinks = 1, .sinks = &sink};
        task_seal_t *seals[1] = {&s};
        changelog_id_t id = {1, 1, 1, 1, "w"};
        err_free(segment_build(&id, 3, seals, 1, turn % 2, out));
        buf_free(&st.bytes);
    } else if (turn % 3 == 1) {
        buf_put(out, changes.data, changes.len);
    } else {
        base_range_t ranges[2] = {{7, 0, 512}, {8, 512, 1024}};
        base_meta_t m = {1, 2, 3, (char *)(uintptr_t)"worker", 2, ranges};
        base_meta_encode(out, &m);
    }
    buf_free(&changes);
    turn++;
}

FUZZ_MAIN(one, sample, repair)
