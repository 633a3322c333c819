#include "engine/agg.h"
#include "tests/op/rig.h"

/* Ten distinct counts over one column, call i of the rows whose i-th filter is set: more than share one set, one of all rows. */
enum { SHARERS = 10, SHARED_VALUES = 1500, SHARED_GROUPS = 3 };
typedef struct sharers {
    arena_t *a;
    agg_set_t *set;
    void *acc[SHARED_GROUPS];
} sharers_t;

static sharers_t sharers_new(bool retracting) {
    sharers_t s = {.a = arena_new()};
    expr_t *args[1] = {expr_column(s.a, 0, &type_bigint)};
    agg_call_t *calls = ARENA_ARRAY(s.a, agg_call_t, SHARERS);
    for (int i = 0; i < SHARERS; i++) {
        calls[i] = (agg_call_t){.distinct = true, .nargs = 1, .filter = i ? i : -1, .arg_types = {&type_bigint}, .name = "COUNT"};
        ck_ok(agg_bind(s.a, "COUNT", true, args, 1, &calls[i].fn, &calls[i].type));
    }
    s.set = agg_set_new(calls, SHARERS, retracting);
    for (int g = 0; g < SHARED_GROUPS; g++) {
        s.acc[g] = xcalloc(1, agg_set_size(s.set));
        agg_set_init(s.set, s.acc[g]);
    }
    return s;
}

static void sharers_free(sharers_t *s) {
    for (int g = 0; g < SHARED_GROUPS; g++) {
        agg_set_clear(s->set, s->acc[g]);
        free(s->acc[g]);
    }
    agg_set_free(s->set);
    arena_free(s->a);
}

static void sharers_expect(sharers_t *s, bool seen[SHARED_GROUPS][SHARERS][SHARED_VALUES]) {
    mem_t *m = mem_new();
    column_t out[SHARERS];
    ck_ok(agg_set_emit(s->set, s->acc, SHARED_GROUPS, m, out));
    for (int g = 0; g < SHARED_GROUPS; g++)
        for (int i = 0; i < SHARERS; i++) {
            int64_t want = 0;
            for (int v = 0; v < SHARED_VALUES; v++) want += seen[g][i][v];
            ck_assert_int_eq(out[i].i64[g], want);
        }
    mem_unref(m);
}

static void sharers_move(sharers_t *from, sharers_t *to) {
    for (int g = 0; g < SHARED_GROUPS; g++) {
        buf_t bytes = buf_make(1 << 20);
        agg_set_encode(from->set, from->acc[g], &bytes);
        reader_t r = reader_of(buf_slice(&bytes));
        ck_assert(agg_set_decode(to->set, &r, to->acc[g]));
        ck_assert_uint_eq(reader_left(&r), 0);
        for (size_t cut = 0; cut < bytes.len; cut += 1 + cut / 16) {
            sharers_t broken = sharers_new(false);
            reader_t rc = reader_of(slice_of(bytes.data, cut));
            ck_assert(!agg_set_decode(broken.set, &rc, broken.acc[g]));
            sharers_free(&broken);
        }
        buf_free(&bytes);
    }
}

/* One random batch: values with NULLs, filters with NULLs, groups at random; into the model, too. */
static void sharers_feed(sharers_t *s, rng_t *rng, int values, bool seen[SHARED_GROUPS][SHARERS][SHARED_VALUES]) {
    uint32_t n = 1 + (uint32_t)rng_below(rng, 60);
    batch_t *b = batch_new(SHARERS);
    b->n = n;
    void *accs[64];
    for (int c = 0; c < SHARERS; c++) column_init(&b->cols[c], c ? &type_boolean : &type_bigint, b->mem, n);
    for (uint32_t k = 0; k < n; k++) {
        int g = (int)rng_below(rng, SHARED_GROUPS), v = (int)rng_below(rng, (uint64_t)values);
        bool null = rng_below(rng, 10) == 0;
        accs[k] = s->acc[g];
        b->cols[0].i64[k] = (v - values / 2) * INT64_C(1234567890123);
        if (null) column_need_nulls(&b->cols[0], b->mem, n)[k] = 1;
        for (int i = 0; i < SHARERS; i++) {
            bool pass = i == 0 || rng_below(rng, 3) == 0, none = i && rng_below(rng, 10) == 0;
            if (i) b->cols[i].b[k] = pass;
            if (none) column_need_nulls(&b->cols[i], b->mem, n)[k] = 1;
            if (pass && !none && !null) seen[g][i][v] = true;
        }
    }
    ck_ok(agg_set_update(s->set, b, NULL, n, accs));
    batch_free(b);
}

START_TEST(distinct_counts_that_share_a_set_count_as_if_alone) {
    for (int values = 3; values <= SHARED_VALUES; values *= 10) {
        static bool seen[SHARED_GROUPS][SHARERS][SHARED_VALUES];
        memset(seen, 0, sizeof seen);
        rng_t rng;
        rng_seed(&rng, (uint64_t)values);
        sharers_t s = sharers_new(false), other = sharers_new(false), again = sharers_new(false);
        for (int i = 0; i < 30; i++) {
            sharers_feed(&s, &rng, values, seen);
            sharers_expect(&s, seen);
        }
        sharers_move(&s, &again);
        sharers_expect(&again, seen);
        for (int i = 0; i < 30; i++) sharers_feed(i % 2 ? &again : &other, &rng, values, seen);
        for (int g = 0; g < SHARED_GROUPS; g++) ck_ok(agg_set_merge(again.set, again.acc[g], other.acc[g]));
        sharers_expect(&again, seen);
        sharers_free(&s);
        sharers_free(&other);
        sharers_free(&again);
    }
}
END_TEST

/* A set that may take back still writes version 1: a set and a count per call. */
START_TEST(distinct_counts_of_version_1_are_read) {
    static bool seen[SHARED_GROUPS][SHARERS][SHARED_VALUES];
    rng_t rng;
    rng_seed(&rng, 1);
    sharers_t old = sharers_new(true), now = sharers_new(false);
    for (int i = 0; i < 30; i++) sharers_feed(&old, &rng, SHARED_VALUES, seen);
    sharers_move(&old, &now);
    sharers_expect(&now, seen);
    for (int i = 0; i < 30; i++) sharers_feed(&now, &rng, SHARED_VALUES, seen);
    sharers_expect(&now, seen);
    sharers_free(&old);
    sharers_free(&now);
}
END_TEST

/* ---- pages, kept as whoever has the state keeps them; of one group */
typedef struct page_store { buf_t page[SHARERS][16]; int puts; } page_store_t;
static err_t *page_put(void *arg, int call, uint32_t page, bool stored, slice_t bytes) {
    page_store_t *s = arg;
    ck_assert(stored == (s->page[call][page].len > 0));
    buf_clear(&s->page[call][page]);
    buf_put(&s->page[call][page], bytes.p, bytes.len);
    s->puts++;
    return NULL;
}
static err_t *page_drop(void *arg, int call, uint32_t page) {
    buf_free(&((page_store_t *)arg)->page[call][page]);
    return NULL;
}
static err_t *page_get(void *arg, int call, uint32_t page, uint32_t n, slice_t *ret) {
    for (uint32_t i = 0; i < n; i++) ret[i] = buf_slice(&((page_store_t *)arg)->page[call][page + i]);
    return NULL;
}

/* A value that a further call sees changes its page; the others are not written again, and what was written is all there is. */
START_TEST(distinct_counts_are_those_of_their_pages) {
    static bool seen[SHARED_GROUPS][SHARERS][SHARED_VALUES];
    static page_store_t stores[SHARED_GROUPS];
    memset(seen, 0, sizeof seen);
    rng_t rng;
    rng_seed(&rng, 5);
    for (int g = 0; g < SHARED_GROUPS; g++)
        for (int c = 0; c < SHARERS; c++)
            for (int k = 0; k < 16; k++) stores[g].page[c][k] = buf_make(1 << 16);
    sharers_t s = sharers_new(false);
    agg_set_keep_pages(s.set);
    for (int i = 0; i < 60; i++) {
        for (int k = 0; k < 10; k++) sharers_feed(&s, &rng, SHARED_VALUES, seen);
        sharers_t next = sharers_new(false);
        agg_set_keep_pages(next.set);
        for (int g = 0; g < SHARED_GROUPS; g++) {
            agg_pages_io_t io = {&stores[g], page_put, page_drop, page_get};
            buf_t bytes = buf_make(1 << 20);
            ck_ok(agg_set_pages_out(s.set, s.acc[g], &io));
            int puts = stores[g].puts;
            ck_ok(agg_set_pages_out(s.set, s.acc[g], &io));
            ck_assert_int_eq(stores[g].puts, puts); /* nothing has changed since */
            agg_set_encode(s.set, s.acc[g], &bytes);
            for (size_t cut = 0; cut < bytes.len && bytes.data[0] == 3; cut++) {
                sharers_t broken = sharers_new(false);
                agg_set_keep_pages(broken.set);
                reader_t rc = reader_of(slice_of(bytes.data, cut));
                ck_assert(!agg_set_decode(broken.set, &rc, broken.acc[g]));
                sharers_free(&broken);
            }
            reader_t r = reader_of(buf_slice(&bytes));
            ck_assert(agg_set_decode(next.set, &r, next.acc[g]));
            ck_assert_uint_eq(reader_left(&r), 0);
            buf_free(&bytes);
        }
        sharers_expect(&next, seen); /* also while they are absent */
        for (int g = 0; g < SHARED_GROUPS; g++) {
            agg_pages_io_t io = {&stores[g], page_put, page_drop, page_get};
            size_t heap = agg_set_heap(next.set, next.acc[g]);
            ck_ok(agg_set_pages_in(next.set, next.acc[g], &io));
            ck_assert(!agg_set_absent(next.set, next.acc[g]));
            agg_set_pages_leave(next.set, next.acc[g]); /* and what was read for a moment is let go of, and read again */
            ck_assert_uint_eq(agg_set_heap(next.set, next.acc[g]), heap);
            sharers_expect(&next, seen);
            ck_ok(agg_set_pages_in(next.set, next.acc[g], &io));
        }
        sharers_expect(&next, seen);
        sharers_free(&s);
        s = next;
    }
    ck_assert_uint_gt(stores[0].page[0][4].len, 0);
    sharers_free(&s);
    for (int g = 0; g < SHARED_GROUPS; g++) {
        for (int c = 0; c < SHARERS; c++)
            for (int k = 0; k < 16; k++) buf_free(&stores[g].page[c][k]);
    }
}
END_TEST

/* A page that is missing, cut or another's is told of, and never counted. */
START_TEST(a_page_that_is_not_what_was_written_is_an_error) {
    static page_store_t store;
    for (int c = 0; c < SHARERS; c++)
        for (int k = 0; k < 16; k++) store.page[c][k] = buf_make(1 << 16);
    static bool seen[SHARED_GROUPS][SHARERS][SHARED_VALUES];
    rng_t rng;
    rng_seed(&rng, 7);
    sharers_t s = sharers_new(false);
    agg_set_keep_pages(s.set);
    for (int i = 0; i < 600; i++) sharers_feed(&s, &rng, SHARED_VALUES, seen);
    agg_pages_io_t io = {&store, page_put, page_drop, page_get};
    ck_ok(agg_set_pages_out(s.set, s.acc[0], &io));
    buf_t head = buf_make(1 << 16), kept = store.page[0][1];
    agg_set_encode(s.set, s.acc[0], &head);
    const char *const wanted[] = {"has not page 1 of", "page 1 of a set of values is malformed", "page 1 of a set of values is malformed"};
    for (int how = 0; how < 3; how++) {
        store.page[0][1] = how == 0 ? buf_make(1) : how == 1 ? (buf_t){.data = kept.data, .len = kept.len - 1} : store.page[0][0];
        sharers_t broken = sharers_new(false);
        agg_set_keep_pages(broken.set);
        reader_t r = reader_of(buf_slice(&head));
        ck_assert(agg_set_decode(broken.set, &r, broken.acc[0]));
        err_t *e = agg_set_pages_in(broken.set, broken.acc[0], &io);
        ck_assert_ptr_nonnull(e);
        ck_assert_ptr_nonnull(strstr(err_text(e), wanted[how]));
        err_free(e);
        sharers_free(&broken);
    }
    store.page[0][1] = kept;
    for (int c = 0; c < SHARERS; c++)
        for (int k = 0; k < 16; k++) buf_free(&store.page[c][k]);
    buf_free(&head);
    sharers_free(&s);
}
END_TEST

/* COUNT(x), SUM(x), COUNT(DISTINCT x) over 1, 5, 5. */
static void ck_bytes(const char *name, bool distinct, bool retracting, const char *want) {
    arena_t *a = arena_new();
    expr_t *args[1] = {expr_column(a, 0, &type_bigint)};
    agg_call_t call = {.distinct = distinct, .nargs = 1, .filter = -1, .arg_types = {&type_bigint}, .name = name};
    ck_ok(agg_bind(a, name, distinct, args, 1, &call.fn, &call.type));
    agg_set_t *set = agg_set_new(&call, 1, retracting);
    void *acc = xcalloc(1, agg_set_size(set)), *accs[3] = {acc, acc, acc};
    batch_t *b = batch_new(1);
    b->n = 3;
    column_init(&b->cols[0], &type_bigint, b->mem, 3);
    for (int i = 0; i < 3; i++) b->cols[0].i64[i] = i ? 5 : 1;
    ck_ok(agg_set_update(set, b, NULL, 3, accs));
    buf_t bytes = buf_make(1 << 16), hex = buf_make(1 << 16);
    agg_set_encode(set, acc, &bytes);
    for (size_t k = 0; k < bytes.len; k++) buf_printf(&hex, "%02x", bytes.data[k]);
    ck_assert_str_eq(buf_cstr(&hex), want);
    buf_free(&bytes);
    buf_free(&hex);
    batch_free(b);
    agg_set_clear(set, acc);
    free(acc);
    agg_set_free(set);
    arena_free(a);
}

static err_t *page_hex(void *arg, int call, uint32_t page, bool stored, slice_t bytes) {
    buf_t *hex = arg;
    buf_clear(hex);
    for (size_t k = 0; k < bytes.len; k++) buf_printf(hex, "%02x", bytes.p[k]);
    return NULL;
}
/* A call over 600 values: its head, and how its last page begins. */
static void ck_pages(const char *name, bool distinct, bool retracting, const char *want, const char *want_last) {
    enum { N = 600 };
    arena_t *a = arena_new();
    expr_t *args[1] = {expr_column(a, 0, &type_bigint)};
    agg_call_t call = {.distinct = distinct, .nargs = 1, .filter = -1, .arg_types = {&type_bigint}, .name = name};
    ck_ok(agg_bind(a, name, distinct, args, 1, &call.fn, &call.type));
    agg_set_t *set = agg_set_new(&call, 1, retracting);
    agg_set_keep_pages(set);
    void *acc = xcalloc(1, agg_set_size(set)), *accs[N];
    batch_t *b = batch_new(1);
    b->n = N;
    column_init(&b->cols[0], &type_bigint, b->mem, N);
    for (int i = 0; i < N; i++) b->cols[0].i64[i] = i, accs[i] = acc;
    ck_ok(agg_set_update(set, b, NULL, N, accs));
    buf_t bytes = buf_make(1 << 16), hex = buf_make(1 << 16), last = buf_make(1 << 16);
    agg_pages_io_t io = {.arg = &last, .put = page_hex};
    ck_ok(agg_set_pages_out(set, acc, &io));
    agg_set_encode(set, acc, &bytes);
    for (size_t k = 0; k < bytes.len; k++) buf_printf(&hex, "%02x", bytes.data[k]);
    ck_assert_str_eq(buf_cstr(&hex), want);
    ck_assert_int_eq(strncmp(buf_cstr(&last), want_last, strlen(want_last)), 0);
    agg_set_pages_leave(set, acc);
    ck_assert(agg_set_absent(set, acc) && agg_set_heap(set, acc) < 200);
    buf_t again = buf_make(1 << 16);
    agg_set_encode(set, acc, &again);
    ck_assert(slice_eq(buf_slice(&again), buf_slice(&bytes)));
    buf_free(&again);
    for (uint8_t shift = 0; retracting && shift < 12; shift++) { /* pages of one value or of thousands are nobody's */
        void *broken = xcalloc(1, agg_set_size(set));
        bytes.data[4] = shift;
        reader_t r = reader_of(buf_slice(&bytes));
        ck_assert_int_eq(agg_set_decode(set, &r, broken), shift >= 3 && shift <= 8);
        agg_set_clear(set, broken);
        free(broken);
    }
    buf_free(&bytes);
    buf_free(&hex);
    buf_free(&last);
    batch_free(b);
    agg_set_clear(set, acc);
    free(acc);
    agg_set_free(set);
    arena_free(a);
}

/* MIN(DISTINCT x) of rows that may be taken back, as builds left it that had pages of the DISTINCT alone: what is behind it is whole, and no u8 says so. */
static err_t *page_of_5(void *arg, int call, uint32_t page, uint32_t n, slice_t *ret) {
    ck_assert(call == 0 && page == 0 && n == 1);
    *ret = slice_of((const uint8_t *)"\1\10\5\0\0\0\0\0\0\0\2", 11);
    return NULL;
}

START_TEST(what_is_behind_a_distinct_is_whole_in_version_3) {
    static const uint8_t old[] = {3, 1, 1, 7, 1, 8, 5, 0, 0, 0, 0, 0, 0, 0, 2};
    static const char *const names[] = {"MIN", "MAX"};
    for (int k = 0; k < 2; k++) {
        arena_t *a = arena_new();
        expr_t *args[1] = {expr_column(a, 0, &type_bigint)};
        agg_call_t call = {.distinct = true, .nargs = 1, .filter = -1, .arg_types = {&type_bigint}, .name = names[k]};
        ck_ok(agg_bind(a, names[k], true, args, 1, &call.fn, &call.type));
        agg_set_t *set = agg_set_new(&call, 1, true);
        agg_set_keep_pages(set);
        void *acc = xcalloc(1, agg_set_size(set));
        reader_t r = reader_of(slice_of(old, sizeof old));
        ck_assert(agg_set_decode(set, &r, acc));
        ck_assert_uint_eq(reader_left(&r), 0);
        agg_pages_io_t io = {.get = page_of_5};
        ck_ok(agg_set_pages_in(set, acc, &io));
        mem_t *m = mem_new();
        column_t out;
        ck_ok(agg_set_emit(set, &acc, 1, m, &out));
        ck_assert_int_eq(out.i64[0], 5);
        buf_t now = buf_make(1 << 16), hex = buf_make(1 << 16);
        agg_set_encode(set, acc, &now); /* and is written in the version that has the u8 */
        for (size_t i = 0; i < now.len; i++) buf_printf(&hex, "%02x", now.data[i]);
        ck_assert_str_eq(buf_cstr(&hex), "04010107000108050000000000000002");
        buf_free(&now);
        buf_free(&hex);
        mem_unref(m);
        agg_set_clear(set, acc);
        free(acc);
        agg_set_free(set);
        arena_free(a);
    }
}
END_TEST

START_TEST(the_bytes_of_accumulators_are_frozen) {
    ck_bytes("COUNT", false, false, "0106");
    ck_bytes("SUM", false, false, "010616");
    ck_bytes("COUNT", true, false, "020202010a01");
    ck_bytes("COUNT", true, true, "0102080100000000000000020805000000000000000404");
    ck_pages("COUNT", true, false, "0301d804b009", "58800801820801");
    ck_pages("COUNT", true, true, "0301d80407b009", "580800020000000000000208010200000000000002");
    ck_pages("COLLECT", false, false, "0401d80407", "580800020000000000000208010200000000000002");
    ck_pages("ARRAY_AGG", false, false, "0401d804f02e", "0000000001089a010000000000000108");
    ck_pages("ARRAY_AGG", true, false, "0401d8040701d804f02e", "0000000001089a010000000000000108");
    ck_pages("MIN", true, true, "0401d8040701d804070108" "0000000000000000", "580800020000000000000208010200000000000002");
}
END_TEST

TESTS("agg_mask", distinct_counts_that_share_a_set_count_as_if_alone, distinct_counts_of_version_1_are_read, distinct_counts_are_those_of_their_pages,
      a_page_that_is_not_what_was_written_is_an_error, what_is_behind_a_distinct_is_whole_in_version_3,
      the_bytes_of_accumulators_are_frozen)
