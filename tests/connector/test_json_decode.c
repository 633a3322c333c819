/* The JSON decoder: what Flink's json format reads, what it refuses, and that the fast path is the same parser. */
#include "engine/connector/json_int.h"
#include "tests/connector/support.h"

static fixture_t events(void) {
    fixture_t f = fixture_new();
    fixture_column(&f, "id", &type_string);
    fixture_column(&f, "n", &type_int);
    fixture_column(&f, "big", &type_bigint);
    fixture_column(&f, "d", &type_double);
    fixture_column(&f, "ok", &type_boolean);
    fixture_column(&f, "at", &type_timestamp3);
    return f;
}

START_TEST(reads_rows_in_any_key_order) {
    fixture_t f = events();
    ck_decodes(&f, "json", "a|1|2|0.5|TRUE|2025-03-01 10:00:00.250;b|-7|NULL|1.0E10|FALSE|NULL",
               "{\"id\":\"a\",\"n\":1,\"big\":2,\"d\":0.5,\"ok\":true,\"at\":\"2025-03-01 10:00:00.25\"}",
               " { \"ok\" : false , \"d\":1e10, \"x\":{\"y\":[1,{}]}, \"n\":-7,\n\"id\":\"b\",\"big\":null } ");
    fixture_free(&f);
}
END_TEST

START_TEST(values_are_lenient_as_in_flink) {
    fixture_t f = events();
    ck_decodes(&f, "json", "12|12|-5|7.0|FALSE|NULL", "{\"id\":12,\"n\":\"12\",\"big\":\" -5 \",\"d\":\"7\",\"ok\":\"yes\"}");
    ck_decodes(&f, "json", "true|3|1000|NaN|TRUE|NULL", "{\"id\":true,\"n\":3.9,\"big\":1e3,\"d\":\"NaN\",\"ok\":\"TRUE\"}");
    ck_decodes(&f, "json", "{\"a\":[1,2.5,\"x y\"]}|NULL|NULL|-Infinity|NULL|NULL",
               "{\"id\": { \"a\" : [ 1 , 2.50 , \"x y\" ] }, \"d\":\"-Infinity\"}");
    fixture_free(&f);
}
END_TEST

START_TEST(duplicate_keys_the_last_wins) {
    fixture_t f = events();
    ck_decodes(&f, "json", "b|2|NULL|NULL|NULL|NULL", "{\"id\":\"a\",\"n\":1,\"id\":\"b\",\"n\":2}");
    fixture_free(&f);
}
END_TEST

START_TEST(strings_with_escapes_and_surrogates) {
    fixture_t f = fixture_new();
    fixture_column(&f, "s", &type_string);
    ck_decodes(&f, "json", "a\"\\/\b\f\n\r\tz", "{\"s\":\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"}");
    ck_decodes(&f, "json", "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "{\"s\":\"\\u00e9 \\u20AC \\ud83d\\uDE00\"}");
    ck_decodes(&f, "json", "?x?", "{\"s\":\"\\ud83dx\\ude00\"}");
    ck_decodes(&f, "json", "raw\ncontrol", "{\"s\":\"raw\ncontrol\"}");
    ck_decodes(&f, "json", "key escaped", "{\"\\u0073\":\"key escaped\"}");
    ck_refuses(&f, "json", "not valid UTF-8", "{\"s\":\"\xff\"}");
    ck_refuses(&f, "json", "not valid UTF-8", "{\"s\":\"\xC0\x80\"}");
    ck_refuses(&f, "json", "unknown escape", "{\"s\":\"\\x\"}");
    ck_refuses(&f, "json", "bad \\u", "{\"s\":\"\\u12g4\"}");
    fixture_free(&f);
}
END_TEST

START_TEST(errors_name_column_byte_and_reason) {
    fixture_t f = events();
    ck_refuses(&f, "json", "byte 5: field 'n' (INT) is not an integer near '\"many\"", "{\"n\":\"many\"}");
    ck_refuses(&f, "json", "field 'n' (INT) is out of range", "{\"n\":2147483648}");
    ck_refuses(&f, "json", "field 'big' (BIGINT) is out of range", "{\"big\":9223372036854775808}");
    ck_refuses(&f, "json", "field 'at' (TIMESTAMP(3)) is not a timestamp", "{\"at\":\"2025-02-32 10:00:00\"}");
    ck_refuses(&f, "json", "expected ',' or '}'", "{\"n\":1 \"d\":2}");
    ck_refuses(&f, "json", "unexpected end", "{\"n\":1");
    ck_refuses(&f, "json", "unexpected end", "{\"id\":\"abc");
    ck_refuses(&f, "json", "not a JSON object", "42");
    ck_refuses(&f, "json", "more text behind", "{\"n\":1} {\"n\":2}");
    ck_refuses(&f, "json", "leading zero", "{\"n\":01}");
    ck_refuses(&f, "json", "malformed number", "{\"n\":1.}");
    ck_refuses(&f, "json", "unknown word", "{\"ok\":nope}");
    ck_refuses(&f, "json", "expected a field name", "{n:1}");
    ck_refuses(&f, "json", "object or array", "{\"n\":[1]}");
    fixture_free(&f);
}
END_TEST

START_TEST(hostile_input_is_refused) {
    fixture_t f = fixture_new();
    fixture_column(&f, "n", &type_int);
    buf_t deep = buf_make(1 << 20);
    buf_puts(&deep, "{\"x\":");
    for (int i = 0; i < 100000; i++) buf_put_u8(&deep, '[');
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_fails(decoder_message(d, buf_slice(&deep)), ERR_DATA, "nested too deeply");
    buf_clear(&deep);
    buf_puts(&deep, "{\"n\":");
    for (int i = 0; i < 100000; i++) buf_put_u8(&deep, '9');
    buf_puts(&deep, "}");
    ck_fails(decoder_message(d, buf_slice(&deep)), ERR_DATA, "out of range");
    buf_clear(&deep);
    for (int i = 0; i < 99; i++) buf_puts(&deep, "{\"x\":");
    buf_puts(&deep, "1");
    for (int i = 0; i < 99; i++) buf_puts(&deep, "}");
    ck_ok(decoder_message(d, buf_slice(&deep)));
    ck_ok(decoder_message(d, slice_of("", 0))); /* an empty message is no row */
    ck_assert_uint_eq(decoder_rows(d), 1);
    decoder_free(d);
    buf_free(&deep);
    fixture_free(&f);
}
END_TEST

START_TEST(a_failed_record_leaves_nothing_behind) {
    fixture_t f = fixture_new();
    const type_t *ints = type_array(f.arena, &type_int, true);
    fixture_column(&f, "a", ints);
    fixture_column(&f, "s", &type_string);
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_ok(decoder_message(d, slice_str("{\"a\":[1,2],\"s\":\"x\"}")));
    ck_fails(decoder_message(d, slice_str("{\"a\":[3,4,5],\"s\":\"lost\",\"a\":[6,\"bad\"]}")), ERR_DATA, "is not an integer");
    ck_fails(decoder_message(d, slice_str("[{\"a\":[7],\"s\":\"y\"},{\"a\":[8],\"s\":\"z\"},{\"a\":8}]")), ERR_DATA, "is not an array");
    ck_ok(decoder_message(d, slice_str("{\"s\":null}")));
    ck_ok(decoder_message(d, slice_str("[{\"a\":[9],\"s\":\"p\"},{\"a\":[],\"s\":\"q\"}]")));
    batch_t *b;
    decoder_take(d, &b);
    ck_ok(batch_validate(b, f.table.physical));
    char *text = batch_text(b);
    ck_assert_str_eq(text, "[1, 2]|x;NULL|NULL;[9]|p;[]|q");
    free(text);
    batch_free(b);
    decoder_take(d, &b);
    ck_assert_ptr_null(b);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

START_TEST(large_maps_keep_the_last_of_equal_keys) {
    fixture_t f = fixture_new();
    fixture_column(&f, "m", type_map(f.arena, &type_string, &type_int, true));
    enum { KEYS = 100000 };
    buf_t msg = buf_make(BUF_MAX_DEFAULT);
    buf_puts(&msg, "{\"m\":{");
    for (int i = 0; i < 2 * KEYS; i++) buf_printf(&msg, "%s\"key%d\":%d", i ? "," : "", i % KEYS, i);
    buf_puts(&msg, "}}");
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_ok(decoder_message(d, buf_slice(&msg)));
    batch_t *b;
    decoder_take(d, &b);
    ck_ok(batch_validate(b, f.table.physical));
    ck_assert_uint_eq(b->cols[0].span[0].len, KEYS);
    for (int i = 0; i < KEYS; i++) ck_assert_int_eq(b->cols[0].child[1].i32[i], i + KEYS);
    batch_free(b);
    decoder_free(d);
    buf_free(&msg);
    fixture_free(&f);
}
END_TEST

START_TEST(an_array_holds_a_batch_of_rows_at_most) {
    fixture_t f = fixture_new();
    fixture_column(&f, "n", &type_int);
    buf_t msg = buf_make(BUF_MAX_DEFAULT);
    buf_puts(&msg, "[{\"n\":0}");
    for (int i = 1; i < BATCH_ROWS_MAX; i++) buf_printf(&msg, ",{\"n\":%d}", i);
    buf_puts(&msg, "]");
    decoder_t *d;
    batch_t *b;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_ok(decoder_message(d, slice_str("{\"n\":7}")));
    ck_ok(decoder_message(d, buf_slice(&msg))); /* a message is never split */
    msg.len--;
    buf_puts(&msg, ",{}]");
    ck_fails(decoder_message(d, buf_slice(&msg)), ERR_LIMIT, "one message holds 4097 rows");
    decoder_take(d, &b);
    ck_assert_uint_eq(b->n, BATCH_ROWS_MAX + 1);
    ck_ok(batch_validate(b, f.table.physical));
    ck_assert_int_eq(b->cols[0].i32[BATCH_ROWS_MAX], BATCH_ROWS_MAX - 1);
    batch_free(b);
    decoder_free(d);
    buf_free(&msg);
    fixture_free(&f);
}
END_TEST

START_TEST(all_types) {
    fixture_t f = fixture_new();
    arena_t *a = f.arena;
    fixture_column(&f, "ti", &type_tinyint);
    fixture_column(&f, "si", &type_smallint);
    fixture_column(&f, "f", &type_float);
    fixture_column(&f, "dec", type_decimal(a, 10, 2, true));
    fixture_column(&f, "dt", &type_date);
    fixture_column(&f, "tm", type_scalar(a, TYPE_TIME, 0, true));
    fixture_column(&f, "ltz", &type_ltz3);
    fixture_column(&f, "bin", &type_bytes);
    fixture_column(&f, "mp", type_map(a, &type_string, &type_int, true));
    const type_t *inner[] = {&type_int, type_array(a, &type_string, true)};
    fixture_column(&f, "rw", type_row(a, 2, inner, (const char *const[]){"a", "b"}, true));
    ck_decodes(&f, "json", "-128|32767|1.6777216E7|-0.13|1969-12-31|12:34:56|2020-01-01 00:00:00.123|hello|{a=1, b=NULL}|(7, [x, NULL])",
               "{\"ti\":-128,\"si\":\"32767\",\"f\":16777216,\"dec\":-0.125,\"dt\":\"1969-12-31\",\"tm\":\"12:34:56\","
               "\"ltz\":\"2020-01-01 00:00:00.123456Z\",\"bin\":\"aGVsbG8=\",\"mp\":{\"a\":9,\"b\":null,\"a\":1},"
               "\"rw\":{\"b\":[\"x\",null],\"a\":7,\"zz\":0}}");
    /* a decimal with too many digits is NULL in Flink; so is nothing else */
    ck_decodes(&f, "json", "NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL", "{\"dec\":123456789012.5}");
    ck_refuses(&f, "json", "is out of range", "{\"ti\":128}");
    ck_refuses(&f, "json", "is not an integer", "{\"ti\":1.0}");
    ck_refuses(&f, "json", "is not a date", "{\"dt\":\"2020-1-1\"}");
    ck_refuses(&f, "json", "is not base64", "{\"bin\":\"aGVsbG8\"}");
    ck_refuses(&f, "json", "is not a timestamp", "{\"ltz\":\"2020-01-01 00:00:00\"}");
    ck_refuses(&f, "json", "is not an object", "{\"rw\":[1]}");
    fixture_free(&f);
}
END_TEST

START_TEST(iso_timestamps) {
    fixture_t f = fixture_new();
    fixture_column(&f, "at", &type_timestamp6);
    fixture_column(&f, "z", &type_ltz3);
    fixture_option(&f, "json.timestamp-format.standard", "ISO-8601");
    ck_decodes(&f, "json", "2025-03-01 10:00:00.130000|2025-03-01 10:00:00.130;2025-03-01 10:05:00.000000|NULL",
               "{\"at\":\"2025-03-01T10:00:00.130\",\"z\":\"2025-03-01T10:00:00.130Z\"}", "{\"at\":\"2025-03-01T10:05\"}");
    ck_refuses(&f, "json", "yyyy-MM-ddTHH", "{\"at\":\"2025-03-01 10:00:00\"}");
    fixture_free(&f);
}
END_TEST

START_TEST(ignore_parse_errors_as_flink) {
    fixture_t f = events();
    fixture_option(&f, "json.ignore-parse-errors", "true");
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    const char *msgs[] = {"{\"id\":\"a\",\"n\":\"many\",\"d\":1.5}", "{\"id\":\"b\",\"n\":1,\"at\":\"202", "nonsense",
                          "{\"id\":\"c\",\"n\":[1,2,{\"x\":1}],\"big\":3}", ""};
    for (size_t i = 0; i < ARRAY_LEN(msgs); i++) ck_ok(decoder_message(d, slice_str(msgs[i])));
    batch_t *b;
    decoder_take(d, &b);
    char *text = batch_text(b);
    ck_assert_str_eq(text, "a|NULL|NULL|1.5|NULL|NULL;c|NULL|3|NULL|NULL|NULL");
    ck_assert_uint_eq(decoder_skipped(d), 4);
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_option(&f, "json.fail-on-missing-field", "true");
    ck_fails(fixture_decoder(&f, "json", &d), ERR_INVALID, "contradict");
    fixture_free(&f);
}
END_TEST

START_TEST(fail_on_missing_field_and_not_null) {
    fixture_t f = fixture_new();
    fixture_column(&f, "a", &type_int);
    fixture_column(&f, "k", type_scalar(f.arena, TYPE_BIGINT, 0, false));
    ck_refuses(&f, "json", "field 'k' (BIGINT NOT NULL) is missing", "{\"a\":1}");
    ck_refuses(&f, "json", "is null, and the column is NOT NULL", "{\"a\":1,\"k\":null}");
    ck_decodes(&f, "json", "NULL|1", "{\"k\":1}");
    fixture_option(&f, "json.fail-on-missing-field", "true");
    ck_refuses(&f, "json", "field 'a' (INT) is missing", "{\"k\":1}");
    fixture_free(&f);
}
END_TEST

START_TEST(options_are_checked) {
    fixture_t f = events();
    decoder_t *d;
    fixture_option(&f, "json.timestamp-format.standard", "RFC");
    ck_fails(fixture_decoder(&f, "json", &d), ERR_INVALID, "'SQL', 'ISO-8601'");
    ck_fails(fixture_decoder(&f, "avro", &d), ERR_UNSUPPORTED, "format 'avro'");
    fixture_free(&f);
    f = fixture_new();
    fixture_column(&f, "m", type_map(f.arena, &type_int, &type_int, true));
    ck_fails(fixture_decoder(&f, "json", &d), ERR_UNSUPPORTED, "string keys");
    fixture_free(&f);
}
END_TEST

START_TEST(tombstones_and_projection) {
    fixture_t f = events();
    int scan[] = {3, 0};
    format_config_t c = {.options = &f.table.options, .format = "json", .prefix = "", .fields = f.table.physical, .scan = scan,
                         .nscan = 2, .extra_cols = 1};
    decoder_t *d;
    ck_ok(decoder_new(&c, &d));
    ck_ok(decoder_message(d, slice_str("{\"id\":\"a\",\"n\":\"not read\",\"d\":2}")));
    decoder_null_row(d);
    batch_t *b;
    decoder_take(d, &b);
    ck_assert_int_eq(b->ncols, 3);
    ck_assert_ptr_null(b->cols[2].type);
    b->ncols = 2;
    char *text = batch_text(b);
    ck_assert_str_eq(text, "2.0|a;NULL|NULL");
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

/* The fast path must not change a single value: alternate shapes so that templates are learned, miss and are replaced. */
START_TEST(shapes_that_change_all_the_time) {
    fixture_t f = events();
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    buf_t want = buf_make(BUF_MAX_DEFAULT), got = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < 5000; i++) {
        char msg[256], row[256];
        switch (i * 7 % 11) {
        case 0: snprintf(msg, sizeof msg, "{\"id\":\"k%d\",\"n\":%d}", i, -i); break;
        case 1: snprintf(msg, sizeof msg, "{\"n\":%d,\"id\":\"k%d\"}", -i, i); break;
        case 2: snprintf(msg, sizeof msg, "{\"id\": \"k%d\", \"n\": %d}", i, -i); break;
        case 3: snprintf(msg, sizeof msg, "{\"junk\":\"%d\",\"id\":\"k%d\",\"n\":%d}", i, i, -i); break;
        case 4: snprintf(msg, sizeof msg, "{\"junk\":%d,\"id\":\"k%d\",\"n\":\"%d\"}", i, i, -i); break;
        case 5: snprintf(msg, sizeof msg, "{\"junk\":[%d],\"id\":\"\\u006b%d\",\"n\":%d}", i, i, -i); break;
        case 6: snprintf(msg, sizeof msg, "{\"id\":\"k%d\",\"n\":%d,\"id\":\"k%d\"}", i + 1, -i, i); break;
        case 7: snprintf(msg, sizeof msg, "{\"ok\":null,\"id\":\"k%d\",\"n\":%d}", i, -i); break;
        default: snprintf(msg, sizeof msg, "{\"id\":\"k%d\",\"n\":%d}", i, -i); break;
        }
        ck_ok(decoder_message(d, slice_str(msg)));
        snprintf(row, sizeof row, "k%d|%d|NULL|NULL|NULL|NULL;", i, -i);
        buf_puts(&want, row);
        if (i % 1000 != 999) continue;
        batch_t *b;
        decoder_take(d, &b);
        char *text = batch_text(b);
        buf_puts(&got, text);
        buf_put_u8(&got, ';');
        free(text);
        batch_free(b);
    }
    ck_assert(slice_eq(buf_slice(&want), buf_slice(&got)));
    decoder_free(d);
    buf_free(&want);
    buf_free(&got);
    fixture_free(&f);
}
END_TEST

static const json_decoder_t *counters(const decoder_t *d) { return d->self; }

/* One topic, three kinds of record: two of three rows are null in each. */
START_TEST(each_kind_of_record_in_a_topic_has_its_template) {
    for (int projected = 0; projected < 2; projected++) {
        fixture_t f = fixture_new();
        const type_t *types[] = {&type_bigint, &type_string, &type_timestamp3};
        const type_t *row = type_row(f.arena, 3, types, (const char *const[]){"id", "extra", "at"}, true);
        fixture_column(&f, "kind", &type_int);
        if (!projected) fixture_column(&f, "person", row);
        if (!projected) fixture_column(&f, "auction", row);
        fixture_column(&f, "bid", projected ? type_row(f.arena, 1, types, (const char *const[]){"id"}, true) : row);
        decoder_t *d;
        ck_ok(fixture_decoder(&f, "json", &d));
        buf_t want = buf_make(BUF_MAX_DEFAULT);
        for (int i = 0; i < 1000; i++) {
            static const char *const extra[] = {"short", "escape-free and of more than sixteen bytes", "\xC3\xBCml\xC3\xA4ut", ""};
            char msg[512], object[128];
            snprintf(object, sizeof object, "{\"id\":%d,\"extra\":\"%s\",\"at\":\"2025-03-01 10:00:00.%03d\"}", i, extra[i & 3], i);
            int kind = i % 50 == 0 ? 0 : i % 50 < 4 ? 1 : 2;
            snprintf(msg, sizeof msg, "{\"kind\":%d,\"person\":%s,\"auction\":%s,\"bid\":%s}", kind, kind == 0 ? object : "null",
                     kind == 1 ? object : "null", kind == 2 ? object : "null");
            ck_ok(decoder_message(d, slice_str(msg)));
            snprintf(object, sizeof object, "(%d, %s, 2025-03-01 10:00:00.%03d)", i, extra[i & 3], i);
            if (projected) snprintf(object, sizeof object, "(%d)", i);
            buf_printf(&want, "%s%d", i ? ";" : "", kind);
            for (int k = projected ? 2 : 0; k < 3; k++) buf_printf(&want, "|%s", k == kind ? object : "NULL");
        }
        /* who does not read persons and auctions does not tell them apart */
        ck_assert_uint_eq(counters(d)->misses, projected ? 2 : 3);
        ck_assert_uint_eq(counters(d)->hits, 1000 - counters(d)->misses);
        batch_t *b;
        decoder_take(d, &b);
        ck_ok(batch_validate(b, f.table.physical));
        char *text = batch_text(b);
        ck_assert(strcmp(text, buf_cstr(&want)) == 0);
        free(text);
        buf_free(&want);
        batch_free(b);
        decoder_free(d);
        fixture_free(&f);
    }
}
END_TEST

START_TEST(a_template_takes_no_deeper_nesting_than_the_parser) {
    fixture_t f = events();
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    for (int depth = JSON_DEPTH_MAX - 2; depth <= JSON_DEPTH_MAX; depth++) {
        char open[JSON_DEPTH_MAX + 1] = "", close[JSON_DEPTH_MAX + 1] = "", msg[3 * JSON_DEPTH_MAX];
        memset(open, '[', (size_t)depth);
        memset(close, ']', (size_t)depth);
        snprintf(msg, sizeof msg, "{\"junk\":%s%s,\"id\":\"a\"}", open, close);
        if (depth < JSON_DEPTH_MAX) ck_ok(decoder_message(d, slice_str(msg)));
        else ck_fails(decoder_message(d, slice_str(msg)), ERR_DATA, "nested too deeply");
    }
    ck_assert_uint_eq(counters(d)->hits, 1);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

/* Not a benchmark, a floor: a debug build does far better than this on any machine of today. */
START_TEST(alike_records_are_read_fast) {
    fixture_t f = fixture_new();
    fixture_column(&f, "user_id", &type_bigint);
    fixture_column(&f, "campaign", &type_string);
    fixture_column(&f, "event_type", &type_string);
    fixture_column(&f, "event_time", &type_timestamp3);
    fixture_column(&f, "amount", &type_double);
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    enum { N = 20000, ROUNDS = 25 };
    buf_t all = buf_make(BUF_MAX_DEFAULT);
    uint32_t *at = xcalloc(N + 1, sizeof *at);
    for (int i = 0; i < N; i++) {
        at[i] = (uint32_t)all.len;
        buf_printf(&all, "{\"user_id\":%d,\"campaign\":\"c-%04d\",\"event_type\":\"%s\",\"event_time\":\"2025-03-01 10:%02d:%02d.%03d\","
                   "\"amount\":%d.%02d}", i * 7919 % 10000000, i % 10000, i & 1 ? "purchase" : "click", i / 60 % 60, i % 60, i % 1000,
                   i % 1000, i % 100);
    }
    at[N] = (uint32_t)all.len;
    int64_t from = cpu_ns();
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < N; i++) {
            ck_ok(decoder_message(d, slice_of(all.data + at[i], at[i + 1] - at[i])));
            if (decoder_rows(d) < BATCH_ROWS_MAX) continue;
            batch_t *b;
            decoder_take(d, &b);
            batch_free(b);
        }
    double s = (double)(cpu_ns() - from) / 1e9;
    printf("json template path: %.1f M records/s of %.0f bytes\n", N * (double)ROUNDS / s / 1e6, (double)all.len / N);
    ck_assert_double_gt(N * (double)ROUNDS / s, 100e3);
    decoder_free(d);
    free(at);
    buf_free(&all);
    fixture_free(&f);
}
END_TEST

TESTS("json_decode", reads_rows_in_any_key_order, values_are_lenient_as_in_flink, duplicate_keys_the_last_wins,
      strings_with_escapes_and_surrogates, errors_name_column_byte_and_reason, hostile_input_is_refused,
      a_failed_record_leaves_nothing_behind, large_maps_keep_the_last_of_equal_keys, an_array_holds_a_batch_of_rows_at_most, all_types,
          iso_timestamps, ignore_parse_errors_as_flink,
      fail_on_missing_field_and_not_null, options_are_checked, tombstones_and_projection, shapes_that_change_all_the_time,
      each_kind_of_record_in_a_topic_has_its_template, a_template_takes_no_deeper_nesting_than_the_parser, alike_records_are_read_fast)
