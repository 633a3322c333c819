/* micro_agg.c: the parts of a keyed aggregate by themselves, in one thread: nanoseconds of CPU per row, over random keys of 10^3 to 10^6.
 *   micro_agg
 * keys: a BIGINT encoded and hashed; text: one of 16 bytes; both: the two as one key. exchange: BIGINT keys, split among four, key and value
 * gathered for each. wire: the same as frames of batches of 1,024 rows, encoded, summed, checked and decoded: what the network adds but for the
 * kernel. combine: the combiner's table. distinct: a COUNT(DISTINCT) and one with a filter, over as many values in 10 groups. Each number is the
 * least of five rounds over 2^20 rows. */
#include "bench/micro.h"
#include "common/clock.h"
#include "engine/op/op_int.h"
#include "worker/shuffle/frame.h"

enum { ROUNDS = 5, BATCH = 4096, BATCHES = 256, WIRE = 1024 };

typedef struct load {
    batch_t *b[BATCHES]; /* key, value, group of 10, filter, key as text */
    batch_t *pair[BATCHES]; /* key and value of b */
    agg_set_t *sums, *distinct;
    keys_t keys;
    void *accs[BATCH];
} load_t;

static agg_set_t *calls(arena_t *a, bool distinct) {
    agg_call_t *c = ARENA_ARRAY(a, agg_call_t, 2);
    for (int i = 0; i < 2; i++) {
        c[i] = (agg_call_t){.distinct = distinct, .nargs = 1, .args = {distinct ? 0 : 1}, .filter = distinct && i ? 3 : -1, .name = "x"};
        c[i].arg_types[0] = &type_bigint;
        expr_t *args[1] = {expr_column(a, 0, &type_bigint)};
        check(agg_bind(a, i && !distinct ? "SUM" : "COUNT", distinct, args, 1, &c[i].fn, &c[i].type));
    }
    return agg_set_new(c, 2, false);
}

static void fill(load_t *l, uint64_t keys) {
    rng_t rng;
    rng_seed(&rng, keys);
    for (int i = 0; i < BATCHES; i++) {
        batch_t *b = l->b[i] = batch_new(5), *pair = l->pair[i] = batch_new(2);
        b->n = pair->n = BATCH;
        for (int c = 0; c < 5; c++) column_init(&b->cols[c], c == 4 ? &type_string : c == 3 ? &type_boolean : &type_bigint, b->mem, BATCH);
        for (uint32_t k = 0; k < BATCH; k++) {
            b->cols[0].i64[k] = b->cols[1].i64[k] = (int64_t)rng_below(&rng, keys);
            b->cols[2].i64[k] = b->cols[0].i64[k] % 10;
            b->cols[3].b[k] = rng_below(&rng, 2) == 0;
            char *text = mem_alloc(b->mem, 17);
            snprintf(text, 17, "user-%011" PRId64, b->cols[0].i64[k]);
            b->cols[4].str[k] = (str_t){.p = text, .len = 16};
        }
        memcpy(pair->cols, b->cols, 2 * sizeof *b->cols);
        mem_link(pair->mem, b->mem);
    }
}

static const int first[1] = {0}, text[1] = {4}, both[2] = {4, 0};

static void encode(load_t *l, const int *cols, int n) {
    for (int i = 0; i < BATCHES; i++) keys_encode(&l->keys, l->b[i], cols, n, NULL, BATCH);
}
static void run_keys(load_t *l) { encode(l, first, 1); }
static void run_text(load_t *l) { encode(l, text, 1); }
static void run_both(load_t *l) { encode(l, both, 2); }

static void run_exchange(load_t *l) {
    partitioner_t *p = partitioner_new(first, 1, 4);
    for (int i = 0; i < BATCHES; i++) {
        partitioner_run(p, l->pair[i]);
        for (int k = 0; k < 4; k++) {
            uint32_t n;
            const uint32_t *sel = partitioner_target(p, k, &n);
            batch_free(batch_gather(l->pair[i], sel, n));
        }
    }
    partitioner_free(p);
}

static void run_wire(load_t *l) {
    static field_t fields[2] = {{"k", &type_bigint}, {"v", &type_bigint}};
    static const schema_t schema = {2, fields};
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < BATCHES; i++)
        for (uint32_t at = 0; at < BATCH; at += WIRE) {
            batch_t *part = batch_slice(l->pair[i], at, WIRE), *got;
            frame_t f = {.kind = FRAME_BATCH, .rows = WIRE};
            buf_clear(&out);
            frame_begin(&out);
            batch_encode(&out, part);
            check(frame_finish(&out, 0, &f));
            check(frame_decode_header(out.data, &f));
            slice_t payload = slice_of(out.data + FRAME_HEADER, f.length);
            check(frame_check_payload(&f, payload));
            check(batch_decode(payload, &schema, &got));
            batch_free(got);
            batch_free(part);
        }
    buf_free(&out);
}

static void run_combine(load_t *l) {
    groups_t *g = groups_new(agg_set_size(l->sums), false);
    for (int i = 0; i < BATCHES; i++) {
        keys_encode(&l->keys, l->b[i], first, 1, NULL, BATCH);
        groups_get_many(g, NULL, &l->keys, BATCH, l->accs);
        check(agg_set_update(l->sums, l->b[i], NULL, BATCH, l->accs));
        if (groups_full(g, NULL)) groups_clear(g);
    }
    groups_free(g);
}

static void run_distinct(load_t *l) {
    size_t size = agg_set_size(l->distinct);
    uint8_t *blocks = xcalloc(10, size);
    for (int i = 0; i < BATCHES; i++) {
        for (uint32_t k = 0; k < BATCH; k++) l->accs[k] = blocks + (size_t)l->b[i]->cols[2].i64[k] * size;
        check(agg_set_update(l->distinct, l->b[i], NULL, BATCH, l->accs));
    }
    for (int g = 0; g < 10; g++) agg_set_clear(l->distinct, blocks + (size_t)g * size);
    free(blocks);
}

static double least(void (*fn)(load_t *), load_t *l) {
    double best = 1e18;
    for (int i = 0; i < ROUNDS; i++) {
        double t = cpu_ns();
        fn(l);
        best = MIN(best, cpu_ns() - t);
    }
    return best / ((double)BATCH * BATCHES);
}

int main(void) {
    arena_t *a = arena_new();
    static load_t l;
    l.sums = calls(a, false);
    l.distinct = calls(a, true);
    static const struct { const char *name; void (*fn)(load_t *); } parts[] = {
        {"keys", run_keys}, {"text", run_text}, {"both", run_both}, {"exchange", run_exchange}, {"wire", run_wire}, {"combine", run_combine}, {"distinct", run_distinct}};
    printf("%10s", "of");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) printf(" %9s", parts[i].name);
    printf("   ns per row\n");
    for (uint64_t keys = 1000; keys <= 1000000; keys *= 10) {
        fill(&l, keys);
        printf("%10" PRIu64, keys);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) printf(" %9.1f", least(parts[i].fn, &l));
        printf("\n");
        for (int i = 0; i < BATCHES; i++) {
            batch_free(l.pair[i]);
            batch_free(l.b[i]);
        }
    }
    keys_free(&l.keys);
    agg_set_free(l.sums);
    agg_set_free(l.distinct);
    arena_free(a);
    return 0;
}
