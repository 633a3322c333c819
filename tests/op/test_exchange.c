#include "common/clock.h"
#include "engine/op/op_int.h"
#include "tests/helpers/test.h"
#include <stdio.h>

static field_t fields[] = {{"s", &type_string}, {"i", &type_int}, {"d", &type_double}};
static schema_t schema = {3, fields};

static batch_t *sample(uint32_t n) {
    batch_t *b = batch_new_schema(&schema, n);
    for (uint32_t i = 0; i < n; i++) {
        char *p = mem_alloc(b->mem, 16);
        b->cols[0].str[i] = (str_t){p, (uint32_t)snprintf(p, 16, "user-%u", i % 37), 0};
        b->cols[1].i32[i] = (int32_t)(i * 13) - 50;
        b->cols[2].f64[i] = i * 0.5;
        if (i % 11 == 0) column_need_nulls(&b->cols[0], b->mem, n)[i] = 1;
        if (i % 7 == 0) column_need_nulls(&b->cols[1], b->mem, n)[i] = 1;
    }
    return b;
}

/* The fast encoders give exactly the frozen bytes of row_encode. */
START_TEST(keys_are_row_encoded) {
    batch_t *b = sample(200);
    static const int shapes[][3] = {{0}, {1}, {2}, {0, 1}, {1, 2, 0}};
    static const int widths[] = {1, 1, 1, 2, 3};
    uint32_t sel[50];
    for (uint32_t i = 0; i < 50; i++) sel[i] = i * 3 + 1;
    keys_t k = {0}, hashed = {0};
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++)
        for (int selected = 0; selected < 2; selected++) {
            uint32_t n = selected ? 50 : b->n;
            keys_encode(&k, b, shapes[s], widths[s], selected ? sel : NULL, n);
            for (uint32_t i = 0; i < n; i++) {
                const column_t *cols[3];
                for (int c = 0; c < widths[s]; c++) cols[c] = &b->cols[shapes[s][c]];
                buf_t want = buf_make(4096);
                row_encode(&want, cols, widths[s], selected ? sel[i] : i);
                ck_assert(slice_eq(keys_at(&k, i), buf_slice(&want)));
                ck_assert_uint_eq(k.hash[i], hash_bytes(want.data, want.len));
                buf_free(&want);
            }
            if (selected) continue;
            keys_hash(&hashed, b, shapes[s], widths[s]);
            ck_assert(memcmp(hashed.hash, k.hash, n * sizeof *k.hash) == 0);
        }
    keys_free(&hashed);
    keys_free(&k);
    batch_free(b);
}
END_TEST

START_TEST(integer_keys_of_every_length_are_row_encoded) {
    field_t one = {"k", &type_bigint};
    schema_t s = {1, &one};
    batch_t *b = batch_new_schema(&s, 64 * 3 * 2);
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t v = (UINT64_C(1) << i / 6) + i % 3 - 1;
        b->cols[0].i64[i] = (int64_t)(i / 3 % 2 ? ~v : v);
    }
    static const int key[] = {0};
    keys_t k = {0}, hashed = {0};
    keys_encode(&k, b, key, 1, NULL, b->n);
    keys_hash(&hashed, b, key, 1);
    ck_assert(memcmp(hashed.hash, k.hash, b->n * sizeof *k.hash) == 0);
    keys_free(&hashed);
    for (uint32_t i = 0; i < b->n; i++) {
        const column_t *cols[1] = {&b->cols[0]};
        buf_t want = buf_make(4096);
        row_encode(&want, cols, 1, i);
        ck_assert(slice_eq(keys_at(&k, i), buf_slice(&want)));
        ck_assert_uint_eq(k.hash[i], hash_bytes(want.data, want.len));
        buf_free(&want);
    }
    keys_free(&k);
    batch_free(b);
    for (size_t len = 1; len <= 8; len++) {
        uint64_t word = UINT64_C(0x8877665544332211) & (UINT64_MAX >> (64 - 8 * len));
        ck_assert_uint_eq(hash_word(word, len), hash_bytes(&word, len));
    }
}
END_TEST

/* Every row goes to the one target that owns its key group; rows of a target keep their order. */
START_TEST(rows_go_to_the_owner_of_their_key_group) {
    static const int key[] = {0};
    batch_t *b = sample(1000);
    for (int targets = 1; targets <= 7; targets++) {
        partitioner_t *p = partitioner_new(key, 1, targets);
        partitioner_run(p, b);
        uint32_t total = 0;
        keys_t k = {0};
        keys_encode(&k, b, key, 1, NULL, b->n);
        for (int t = 0; t < targets; t++) {
            uint32_t n;
            const uint32_t *rows = partitioner_target(p, t, &n);
            total += n;
            for (uint32_t i = 0; i < n; i++) {
                int g = key_group_of(k.hash[rows[i]]);
                ck_assert(g >= key_group_lo(t, targets) && g < key_group_lo(t + 1, targets));
                ck_assert(i == 0 || rows[i] > rows[i - 1]);
            }
        }
        ck_assert_uint_eq(total, b->n);
        keys_free(&k);
        partitioner_free(p);
    }
    batch_free(b);
}
END_TEST

START_TEST(the_owner_agrees_with_the_ranges) {
    for (int n = 1; n <= KEY_GROUPS; n = n * 3 + 1)
        for (int g = 0; g < KEY_GROUPS; g++) {
            int i = key_group_owner(g, n);
            ck_assert(i >= 0 && i < n && key_group_lo(i, n) <= g && g < key_group_lo(i + 1, n));
        }
}
END_TEST

/* A combiner's table: 100,000 keys in three namespaces, found again, in order of creation, empty after clear. */
START_TEST(groups_find_their_keys) {
    groups_t *g = groups_new(8, true);
    for (int round = 0; round < 3; round++) {
        bool created;
        for (int pass = 0; pass < 2; pass++)
            for (uint32_t i = 0; i < 100000; i++) {
                uint32_t key = i / 3;
                int64_t *v = groups_get(g, i % 3, hash_bytes(&key, 4), slice_of(&key, 4), &created);
                ck_assert_int_eq(created, pass == 0);
                *v += i;
            }
        ck_assert_uint_eq(groups_count(g), 100000);
        for (uint32_t i = 0; i < 100000; i++) {
            int64_t ns;
            slice_t key;
            int64_t *v = groups_at(g, i, &ns, &key);
            uint32_t want = i / 3;
            ck_assert(*v == 2 * (int64_t)i && ns == i % 3 && slice_eq(key, slice_of(&want, 4)));
        }
        groups_clear(g);
        ck_assert_uint_eq(groups_count(g), 0);
    }
    groups_free(g);
}
END_TEST

/* Keys of 0 to 300,000 bytes, each an extension of the one before: a length more than a byte holds, entries larger than a chunk. */
START_TEST(groups_keep_keys_of_every_length) {
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 253, 254, 255, 256, 257, 65535, 65536, 262144, 300000};
    char *text = xcalloc(1, 300001);
    for (int i = 0; i < 300000; i++) text[i] = (char)('a' + i % 26);
    groups_t *g = groups_new(12, false); /* a block that is no multiple of a word */
    for (int round = 0; round < 3; round++) {
        bool created;
        for (int pass = 0; pass < 2; pass++)
            for (uint32_t i = 0; i < ARRAY_LEN(lengths); i++) {
                uint8_t *v = groups_get(g, 0, hash_bytes(text, lengths[i]), slice_of(text, lengths[i]), &created);
                ck_assert_int_eq(created, pass == 0);
                for (int k = 0; k < 12; k++) ck_assert_int_eq(v[k]++, pass);
            }
        for (uint32_t i = 0; i < ARRAY_LEN(lengths); i++) {
            int64_t ns;
            slice_t key;
            uint8_t *v = groups_at(g, i, &ns, &key);
            ck_assert(v[0] == 2 && v[11] == 2 && ns == 0 && slice_eq(key, slice_of(text, lengths[i])));
        }
        groups_clear(g);
    }
    groups_free(g);
    free(text);
}
END_TEST

/* What groups_get gives one by one groups_get_many gives for a batch, also for keys that repeat in it and while the table grows. */
START_TEST(groups_of_a_batch_are_those_of_its_rows) {
    for (int named = 0; named < 2; named++) {
        rng_t rng;
        rng_seed(&rng, 7);
        groups_t *g = groups_new(8, named), *h = groups_new(8, named);
        for (uint32_t n = 1; n <= 4096; n = n * 2 + 1) {
            batch_t *b = batch_new(1);
            b->n = n;
            column_init(&b->cols[0], &type_bigint, b->mem, n);
            int64_t *ns = mem_alloc(b->mem, sizeof *ns * n);
            for (uint32_t i = 0; i < n; i++) {
                b->cols[0].i64[i] = (int64_t)rng_below(&rng, i % 2 ? 3 : 30000);
                ns[i] = (int64_t)rng_below(&rng, 3) - 1;
            }
            keys_t keys = {0};
            void **got = mem_alloc(b->mem, sizeof *got * n);
            for (int again = 0; again < 4; again++) {
                keys_encode(&keys, b, (int[]){0}, 1, NULL, n);
                groups_get_many(g, named ? ns : NULL, &keys, n, got);
                for (uint32_t i = 0; i < n; i++) {
                    bool created;
                    int64_t *v = groups_get(h, named ? ns[i] : 0, keys.hash[i], keys_at(&keys, i), &created);
                    ck_assert_int_eq(*(int64_t *)got[i], *v);
                    *(int64_t *)got[i] += i + 1;
                    *v += i + 1;
                }
                ck_assert_uint_eq(groups_count(g), groups_count(h));
                for (uint32_t i = 0; i < n; i++) b->cols[0].i64[i] += 1000;
            }
            keys_free(&keys);
            batch_free(b);
        }
        ck_assert_uint_gt(groups_count(g), 10000);
        for (uint32_t i = 0; i < groups_count(g); i++) {
            int64_t ns, ns2;
            slice_t key, key2;
            ck_assert_int_eq(*(int64_t *)groups_at(g, i, &ns, &key), *(int64_t *)groups_at(h, i, &ns2, &key2));
            ck_assert(ns == ns2 && slice_eq(key, key2));
        }
        groups_free(g);
        groups_free(h);
    }
}
END_TEST

TESTS("exchange", keys_are_row_encoded, integer_keys_of_every_length_are_row_encoded,
      rows_go_to_the_owner_of_their_key_group, the_owner_agrees_with_the_ranges, groups_find_their_keys,
      groups_keep_keys_of_every_length, groups_of_a_batch_are_those_of_its_rows)
