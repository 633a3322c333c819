/* The JSON encoder writes byte for byte what Flink writes; what it writes the decoder reads back. */
#include "tests/connector/support.h"

/* message -> row -> message */
static char *round_trip(fixture_t *f, const char *message) {
    decoder_t *d;
    encoder_t *e;
    ck_ok(fixture_decoder(f, "json", &d));
    ck_ok(fixture_encoder(f, "json", &e));
    ck_ok(decoder_message(d, slice_str(message)));
    batch_t *b;
    decoder_take(d, &b);
    buf_t out = buf_make(1 << 20);
    ck_ok(encoder_row(e, b, 0, &out));
    batch_free(b);
    decoder_free(d);
    encoder_free(e);
    return buf_take_cstr(&out);
}
#define ck_writes(f, in, expected)                                                                 \
    do {                                                                                           \
        char *ck_w_ = round_trip(f, in);                                                           \
        ck_assert_str_eq(ck_w_, expected);                                                         \
        free(ck_w_);                                                                               \
    } while (0)

START_TEST(every_type_as_flink_writes_it) {
    fixture_t f = fixture_new();
    arena_t *a = f.arena;
    const type_t *c_types[] = {&type_double, type_array(a, &type_int, true)};
    const type_t *c = type_row(a, 2, c_types, (const char *const[]){"d", "e"}, true);
    const type_t *rw[] = {&type_int, &type_string, c};
    fixture_column(&f, "b", &type_boolean);
    fixture_column(&f, "f", &type_float);
    fixture_column(&f, "d", &type_double);
    fixture_column(&f, "dec", type_decimal(a, 20, 5, true));
    fixture_column(&f, "s", &type_string);
    fixture_column(&f, "dt", &type_date);
    fixture_column(&f, "tm", type_scalar(a, TYPE_TIME, 0, true));
    fixture_column(&f, "ts3", &type_timestamp3);
    fixture_column(&f, "ts6", &type_timestamp6);
    fixture_column(&f, "ltz", &type_ltz3);
    fixture_column(&f, "bin", &type_bytes);
    fixture_column(&f, "mp", type_map(a, &type_string, &type_int, true));
    fixture_column(&f, "rw", type_row(a, 3, rw, (const char *const[]){"a", "b", "c"}, true));
    /* rows of the oracle case types_roundtrip */
    ck_writes(&f,
              "{\"b\":false,\"f\":3.14159,\"d\":0.1,\"dec\":1.00000,\"s\":\"tab\\tnl\\nq\\\"b\\\\s/\",\"dt\":\"2015-07-15\",\"tm\":\"12:34:56\","
              "\"ts3\":\"2015-07-15 00:00:00.001\",\"ts6\":\"1970-01-01 00:00:00.000001\",\"ltz\":\"1970-01-01 00:00:00Z\",\"bin\":\"\","
              "\"mp\":{\"b\":2,\"a\":null},\"rw\":{\"a\":7,\"b\":\"s\\u00e9\\\"ven\",\"c\":{\"d\":0.25,\"e\":null}}}",
              "{\"b\":false,\"f\":3.14159,\"d\":0.1,\"dec\":1,\"s\":\"tab\\tnl\\nq\\\"b\\\\s/\",\"dt\":\"2015-07-15\",\"tm\":\"12:34:56\","
              "\"ts3\":\"2015-07-15 00:00:00.001\",\"ts6\":\"1970-01-01 00:00:00.000001\",\"ltz\":\"1970-01-01 00:00:00Z\",\"bin\":\"\","
              "\"mp\":{\"b\":2,\"a\":null},\"rw\":{\"a\":7,\"b\":\"s\xC3\xA9\\\"ven\",\"c\":{\"d\":0.25,\"e\":null}}}");
    ck_writes(&f,
              "{\"b\":true,\"f\":16777216,\"d\":1e-10,\"dec\":0.00001,\"s\":\"\",\"dt\":\"9999-12-31\",\"tm\":\"00:00:00\","
              "\"ts3\":\"1970-01-01 00:00:00\",\"ts6\":null,\"ltz\":\"2020-01-01 00:00:00.120Z\",\"bin\":\"+vv8/f7/\",\"mp\":{},\"rw\":null}",
              "{\"b\":true,\"f\":1.6777216E7,\"d\":1.0E-10,\"dec\":0.00001,\"s\":\"\",\"dt\":\"9999-12-31\",\"tm\":\"00:00:00\","
              "\"ts3\":\"1970-01-01 00:00:00\",\"ts6\":null,\"ltz\":\"2020-01-01 00:00:00.12Z\",\"bin\":\"+vv8/f7/\",\"mp\":{},\"rw\":null}");
    fixture_free(&f);
}
END_TEST

START_TEST(decimals_strip_zeros) {
    fixture_t f = fixture_new();
    fixture_column(&f, "x", type_decimal(f.arena, 20, 10, true));
    ck_writes(&f, "{\"x\":100}", "{\"x\":1E+2}"); /* BigDecimal(100).stripTrailingZeros() */
    ck_writes(&f, "{\"x\":-120.50}", "{\"x\":-120.5}");
    ck_writes(&f, "{\"x\":0.0000001}", "{\"x\":1E-7}");
    ck_writes(&f, "{\"x\":0.00000123}", "{\"x\":0.00000123}");
    ck_writes(&f, "{\"x\":0}", "{\"x\":0}");
    fixture_option(&f, "json.encode.decimal-as-plain-number", "true");
    ck_writes(&f, "{\"x\":100}", "{\"x\":100.0000000000}"); /* with the zeros of its scale */
    ck_writes(&f, "{\"x\":0.0000001}", "{\"x\":0.0000001000}");
    fixture_free(&f);
}
END_TEST

START_TEST(special_numbers_and_control_characters) {
    fixture_t f = fixture_new();
    fixture_column(&f, "d", &type_double);
    fixture_column(&f, "s", &type_string);
    ck_writes(&f, "{\"d\":\"NaN\",\"s\":\"\\u0001\\u001f\\b\\u007f\"}", "{\"d\":\"NaN\",\"s\":\"\\u0001\\u001F\\b\x7f\"}");
    ck_writes(&f, "{\"d\":\"-Infinity\",\"s\":null}", "{\"d\":\"-Infinity\",\"s\":null}");
    fixture_free(&f);
}
END_TEST

START_TEST(null_fields_may_be_left_out) {
    fixture_t f = fixture_new();
    const type_t *inner[] = {&type_int, &type_int};
    fixture_column(&f, "a", &type_int);
    fixture_column(&f, "r", type_row(f.arena, 2, inner, (const char *const[]){"x", "y"}, true));
    fixture_option(&f, "json.encode.ignore-null-fields", "true");
    ck_writes(&f, "{\"a\":null,\"r\":{\"x\":null,\"y\":1}}", "{\"r\":{\"y\":1}}");
    ck_writes(&f, "{}", "{}");
    fixture_free(&f);
}
END_TEST

START_TEST(map_null_keys) {
    fixture_t f = fixture_new();
    fixture_column(&f, "m", type_map(f.arena, &type_string, &type_int, true));
    batch_t *b = batch_new_schema(f.table.physical, 1);
    colbuilder_t *cb = colbuilder_new(f.table.physical->fields[0].type, b->mem);
    colbuilder_begin(cb);
    colbuilder_null(colbuilder_child(cb, 0));
    colbuilder_i64(colbuilder_child(cb, 1), 1);
    colbuilder_str(colbuilder_child(cb, 0), "k", 1);
    colbuilder_i64(colbuilder_child(cb, 1), 2);
    colbuilder_end(cb);
    colbuilder_finish(cb, &b->cols[0]);
    colbuilder_free(cb);
    static const char *const modes[][2] = {{"DROP", "{\"m\":{\"k\":2}}"}, {"LITERAL", "{\"m\":{\"null\":1,\"k\":2}}"}};
    buf_t out = buf_make(1 << 20);
    encoder_t *e;
    ck_ok(fixture_encoder(&f, "json", &e));
    ck_fails(encoder_row(e, b, 0, &out), ERR_DATA, "NULL key");
    ck_assert_uint_eq(out.len, 0); /* nothing is left of the failed row */
    encoder_free(e);
    for (int i = 0; i < 2; i++) {
        f.table.options.n = 0;
        fixture_option(&f, "json.map-null-key.mode", modes[i][0]);
        ck_ok(fixture_encoder(&f, "json", &e));
        buf_clear(&out);
        ck_ok(encoder_row(e, b, 0, &out));
        ck_assert_str_eq(buf_cstr(&out), modes[i][1]);
        encoder_free(e);
    }
    buf_free(&out);
    batch_free(b);
    fixture_free(&f);
}
END_TEST

START_TEST(iso_timestamps) {
    fixture_t f = fixture_new();
    fixture_column(&f, "at", &type_timestamp3);
    fixture_column(&f, "z", &type_ltz3);
    fixture_option(&f, "json.timestamp-format.standard", "ISO-8601");
    ck_writes(&f, "{\"at\":\"2025-03-01T10:00:06.300\",\"z\":\"2025-03-01T10:00:06Z\"}",
              "{\"at\":\"2025-03-01T10:00:06.3\",\"z\":\"2025-03-01T10:00:06Z\"}");
    fixture_free(&f);
}
END_TEST

TESTS("json_encode", every_type_as_flink_writes_it, decimals_strip_zeros, special_numbers_and_control_characters,
      null_fields_may_be_left_out, map_null_keys, iso_timestamps)
