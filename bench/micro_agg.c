/* micro_agg.c: the parts of a keyed aggregate by themselves, in one thread: nanoseconds of CPU per row, over random keys of 10^3 to 10^6.
 *   micro_agg
 * keys: encoded and hashed. exchange: the same and split among four. combine: the combiner's table. distinct: a COUNT(DISTINCT) and one with
 * a filter, over as many values in 10 groups. Each number is the least of five rounds over 2^20 rows. */
#include "bench/micro.h"
#include "common/clock.h"
#include "engine/op/op_int.h"

enum { ROUNDS = 5, BATCH = 4096, BATCHES = 256 };

typedef struct load {
    batch_t *b[BATCHES]; /* key, value, group of 10, filter */
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
        batch_t *b = l->b[i] = batch_new(4);
        b->n = BATCH;
        for (int c = 0; c < 4; c++) column_init(&b->cols[c], c == 3 ? &type_boolean : &type_bigint, b->mem, BATCH);
        for (uint32_t k = 0; k < BATCH; k++) {
            b->cols[0].i64[k] = b->cols[1].i64[k] = (int64_t)rng_below(&rng, keys);
            b->cols[2].i64[k] = b->cols[0].i64[k] % 10;
            b->cols[3].b[k] = rng_below(&rng, 2) == 0;
        }
    }
}

static const int first[1] = {0};

static void run_keys(load_t *l) {
    for (int i = 0; i < BATCHES; i++) keys_encode(&l->keys, l->b[i], first, 1, NULL, BATCH);
}

static void run_exchange(load_t *l) {
    partitioner_t *p = partitioner_new(first, 1, 4);
    for (int i = 0; i < BATCHES; i++) partitioner_run(p, l->b[i]);
    partitioner_free(p);
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
    printf("%10s %8s %9s %8s %9s   ns per row\n", "keys", "keys", "exchange", "combine", "distinct");
    for (uint64_t keys = 1000; keys <= 1000000; keys *= 10) {
        fill(&l, keys);
        printf("%10" PRIu64 " %8.1f %9.1f %8.1f %9.1f\n", keys, least(run_keys, &l), least(run_exchange, &l), least(run_combine, &l), least(run_distinct, &l));
        for (int i = 0; i < BATCHES; i++) batch_free(l.b[i]);
    }
    keys_free(&l.keys);
    agg_set_free(l.sums);
    agg_set_free(l.distinct);
    arena_free(a);
    return 0;
}
