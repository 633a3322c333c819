/* json: documents round trip; hostile text is refused with a place, never a crash. */
#include "common/clock.h"
#include "common/json.h"
#include "tests/helpers/test.h"

START_TEST(reads_what_it_writes) {
    buf_t b = buf_make(0);
    json_writer_t w = json_writer(&b);
    jw_object(&w);
    jw_kv_str(&w, "s", "q\"\\\n\x01 é");
    jw_kv_i64(&w, "i", INT64_MIN);
    jw_kv_u64(&w, "u", UINT64_MAX);
    jw_kv_double(&w, "d", 0.1);
    jw_name(&w, "a");
    jw_array(&w);
    jw_bool(&w, true);
    jw_null(&w);
    jw_object(&w);
    jw_end_object(&w);
    jw_end_array(&w);
    jw_end_object(&w);
    arena_t *a = arena_new();
    json_t *v;
    ck_ok(json_parse(a, buf_slice(&b), &v));
    ck_assert_str_eq(json_str(v, "s", ""), "q\"\\\n\x01 é");
    ck_assert_int_eq(json_i64(v, "i", 0), INT64_MIN);
    ck_assert_uint_eq((uint64_t)json_i64(v, "u", 0), UINT64_MAX);
    ck_assert_int_eq(json_get(v, "a")->n, 3);
    ck_assert(json_get(v, "absent") == NULL);
    arena_free(a);
    buf_free(&b);
}
END_TEST

START_TEST(decodes_escapes) {
    arena_t *a = arena_new();
    json_t *v;
    ck_ok(json_parse(a, slice_str("\"\\u00e9\\ud83d\\ude00\\t\\/\""), &v));
    ck_assert_str_eq(v->text, "é😀\t/");
    arena_free(a);
}
END_TEST

START_TEST(refuses_broken_documents) {
    static const char *const bad[] = {"", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "\"\\ud800\"", "\"\\x\"", "01x", "-", "tru", "1 2",
                                      "\"abc", "\"abc\\", "[1 2]", "{1:2}", "\"\\u12\"", "nul", "+1", "\"\n\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        arena_t *a = arena_new();
        json_t *v;
        err_t *e = json_parse(a, slice_str(bad[i]), &v);
        ck_assert_msg(err_code(e) == ERR_DATA, "accepted: %s", bad[i]);
        err_free(e);
        arena_free(a);
    }
    char deep[1000];
    memset(deep, '[', sizeof deep);
    arena_t *a = arena_new();
    json_t *v;
    ck_fails(json_parse(a, slice_of(deep, sizeof deep), &v), ERR_DATA, "too deep");
    arena_free(a);
}
END_TEST

START_TEST(survives_mutations) {
    static const char good[] = "{\"a\":[1,2.5e3,\"x\\u0041\",{\"b\":null}],\"c\":true}";
    rng_t r;
    rng_seed(&r, 7);
    for (int i = 0; i < 20000; i++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        for (int k = 0; k < 3; k++) text[rng_below(&r, sizeof good - 1)] = (char)rng_next(&r);
        arena_t *a = arena_new();
        json_t *v;
        err_free(json_parse(a, slice_of(text, sizeof good - 1 - rng_below(&r, 5)), &v));
        arena_free(a);
    }
}
END_TEST

TESTS("json", reads_what_it_writes, decodes_escapes, refuses_broken_documents, survives_mutations)
