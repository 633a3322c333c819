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
    keys_t k = {0};
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
        }
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
    keys_t k = {0};
    keys_encode(&k, b, key, 1, NULL, b->n);
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
    groups_t *g = groups_new(8);
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

TESTS("exchange", keys_are_row_encoded, integer_keys_of_every_length_are_row_encoded,
      rows_go_to_the_owner_of_their_key_group, the_owner_agrees_with_the_ranges, groups_find_their_keys)
