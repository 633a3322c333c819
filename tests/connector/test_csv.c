/* CSV and raw: the dialects of Flink's formats. */
#include "tests/connector/support.h"

static fixture_t orders(void) {
    fixture_t f = fixture_new();
    fixture_column(&f, "id", &type_int);
    fixture_column(&f, "name", &type_string);
    fixture_column(&f, "price", type_decimal(f.arena, 8, 2, true));
    fixture_column(&f, "at", &type_timestamp3);
    fixture_column(&f, "tags", type_array(f.arena, &type_string, true));
    return f;
}

START_TEST(defaults) {
    fixture_t f = orders();
    ck_decodes(&f, "csv", "1|plain|1.50|2025-03-01 10:00:00.000|[p, q];2|a, \"b\"|NULL|2025-03-01 10:00:00.500|[]",
               "1,plain,1.5,2025-03-01 10:00:00,p;q", "2,\"a, \"\"b\"\"\",9999999.99,2025-3-1 10:00:00.5,");
    ck_refuses(&f, "csv", "has 2 values, the table 5", "1,x");
    ck_refuses(&f, "csv", "value 3, character 8: column 'price' (DECIMAL(8, 2)): 'abc' is not a number", "1,na\xc3\xafv,abc,2025-03-01 10:00:00,");
    ck_refuses(&f, "csv", "character 3: quote is not closed", "1,\"x,1,2025-03-01 10:00:00,");
    ck_refuses(&f, "csv", "separator behind the closing quote", "1,\"x\"y,1,2025-03-01 10:00:00,");
    fixture_free(&f);
}
END_TEST

START_TEST(an_empty_value_of_a_number_names_the_option_that_reads_it_as_null) {
    fixture_t f = orders();
    static const char record[] = ",x,1,2025-03-01 10:00:00,";
    ck_refuses(&f, "csv", "value 1, character 1: column 'id' (INT): '' is not an integer; 'csv.null-literal' = '' reads empty values as NULL", record);
    fixture_option(&f, "csv.null-literal", "");
    ck_decodes(&f, "csv", "NULL|x|1.00|2025-03-01 10:00:00.000|[]", record);
    fixture_free(&f);
}
END_TEST

START_TEST(the_oracle_dialect) {
    fixture_t f = orders();
    fixture_option(&f, "csv.field-delimiter", ";");
    fixture_option(&f, "csv.quote-character", "'");
    fixture_option(&f, "csv.escape-character", "\\");
    fixture_option(&f, "csv.allow-comments", "true");
    fixture_option(&f, "csv.null-literal", "N/A");
    fixture_option(&f, "csv.array-element-delimiter", "|");
    ck_decodes(&f, "csv", "3|NULL|NULL|2025-03-01 10:00:02.000|[p, q];7| spaced |22.72|2025-03-01 10:00:06.000|[p];18|it's|629.09|2025-03-01 "
               "10:00:17.000|[r, NULL]",
               "# exported orders", "3;N/A;N/A;2025-03-01 10:00:02;p|q", "7;' spaced ';22.72;2025-03-01 10:00:06;p",
               "18;'it\\'s';629.09;2025-03-01 10:00:17;r|N/A");
    fixture_free(&f);
}
END_TEST

START_TEST(ignore_parse_errors) {
    fixture_t f = orders();
    fixture_option(&f, "csv.ignore-parse-errors", "true");
    ck_decodes(&f, "csv", "NULL|x|1.00|NULL|[];5|y|NULL|NULL|NULL", "bad,x,1,now,", "5,y", "1,2,3,4,5,6,7", "6,\"open");
    fixture_free(&f);
}
END_TEST

/* An open quote is met before the row is begun. */
START_TEST(a_record_that_is_skipped_leaves_the_row_before_it_as_it_was) {
    fixture_t f = orders();
    fixture_option(&f, "csv.ignore-parse-errors", "true");
    ck_decodes(&f, "csv", "1|x|1.00|2025-03-01 10:00:00.000|[p, q];2|y|2.00|2025-03-01 10:00:00.000|[r]", "1,x,1,2025-03-01 10:00:00,p;q", "6,\"open",
               "2,y,2,2025-03-01 10:00:00,r");
    fixture_free(&f);
}
END_TEST

START_TEST(records_may_span_lines) {
    fixture_t f = fixture_new();
    fixture_column(&f, "a", &type_string);
    fixture_column(&f, "b", &type_string);
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "csv", &d));
    slice_t rec, data = slice_str("\"x\ny\",1\r\nz,\"2\"\"\n\"\nlast,3"), cut = data;
    cut.len = 5;
    ck_assert_uint_eq(decoder_frame(d, cut, false, &rec), 0);
    int n = 0;
    while (data.len) {
        size_t used = decoder_frame(d, data, true, &rec);
        ck_assert_uint_gt(used, 0);
        ck_ok(decoder_message(d, rec));
        data.p += used;
        data.len -= used;
        n++;
    }
    ck_assert_int_eq(n, 3);
    batch_t *b;
    decoder_take(d, &b);
    char *text = batch_text(b);
    ck_assert_str_eq(text, "x\ny|1;z|2\"\n;last|3");
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

static char *encode_first(fixture_t *f, const char *format, batch_t *b) {
    encoder_t *e;
    buf_t out = buf_make(1 << 20);
    ck_ok(fixture_encoder(f, format, &e));
    ck_ok(encoder_row(e, b, 0, &out));
    encoder_free(e);
    return buf_take_cstr(&out);
}

START_TEST(encodes_as_jackson) {
    fixture_t f = fixture_new();
    fixture_column(&f, "a", &type_string);
    fixture_column(&f, "b", &type_string);
    fixture_column(&f, "c", &type_string);
    fixture_column(&f, "at", &type_timestamp3);
    fixture_column(&f, "d", &type_double);
    fixture_column(&f, "n", &type_int);
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "json", &d));
    ck_ok(decoder_message(d, slice_str("{\"a\":\"plain\",\"b\":\"say \\\"x\\\"\",\"c\":\"abcdefghijklmnopqrstuvwxyz\","
                                       "\"at\":\"2025-03-01 10:00:00\",\"d\":1.5}")));
    batch_t *b;
    decoder_take(d, &b);
    char *text = encode_first(&f, "csv", b);
    ck_assert_str_eq(text, "plain,\"say \"\"x\"\"\",\"abcdefghijklmnopqrstuvwxyz\",\"2025-03-01 10:00:00\",1.5,");
    free(text);
    fixture_option(&f, "csv.escape-character", "y"); /* doubled where it stands, and quotes are doubled as without it */
    text = encode_first(&f, "csv", b);
    ck_assert_str_eq(text, "plain,\"sayy \"\"x\"\"\",\"abcdefghijklmnopqrstuvwxyyz\",\"2025-03-01 10:00:00\",1.5,");
    free(text);
    fixture_option(&f, "csv.null-literal", "N");
    fixture_option(&f, "csv.disable-quote-character", "true");
    fixture_option(&f, "csv.field-delimiter", "\\t");
    text = encode_first(&f, "csv", b);
    ck_assert_str_eq(text, "plain\tsay \"x\"\tabcdefghijklmnopqrstuvwxyz\t2025-03-01 10:00:00\t1.5\tN");
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_free(&f);
}
END_TEST

START_TEST(options_and_types_are_checked) {
    fixture_t f = orders();
    decoder_t *d;
    fixture_option(&f, "csv.field-delimiter", ";;");
    ck_fails(fixture_decoder(&f, "csv", &d), ERR_INVALID, "one character");
    fixture_free(&f);
    f = fixture_new();
    fixture_column(&f, "m", type_map(f.arena, &type_string, &type_int, true));
    ck_fails(fixture_decoder(&f, "csv", &d), ERR_UNSUPPORTED, "the csv format has no MAP");
    fixture_free(&f);
}
END_TEST

START_TEST(raw_messages) {
    fixture_t f = fixture_new();
    fixture_column(&f, "line", &type_string);
    ck_decodes(&f, "raw", "any {text;", "any {text", "");
    ck_refuses(&f, "raw", "not valid UTF-8", "\xff");
    fixture_free(&f);
    f = fixture_new();
    fixture_column(&f, "n", &type_int);
    decoder_t *d;
    ck_ok(fixture_decoder(&f, "raw", &d));
    ck_ok(decoder_message(d, slice_of("\x00\x00\x01\x02", 4)));
    ck_fails(decoder_message(d, slice_of("\x00", 1)), ERR_DATA, "takes 4 bytes");
    batch_t *b;
    decoder_take(d, &b);
    ck_assert_int_eq(b->cols[0].i32[0], 258);
    char *text = encode_first(&f, "raw", b);
    ck_assert_int_eq(text[3], 2);
    free(text);
    batch_free(b);
    decoder_free(d);
    fixture_column(&f, "second", &type_int);
    ck_fails(fixture_decoder(&f, "raw", &d), ERR_INVALID, "exactly one column");
    fixture_free(&f);
}
END_TEST

TESTS("csv", defaults, an_empty_value_of_a_number_names_the_option_that_reads_it_as_null, the_oracle_dialect, ignore_parse_errors,
      a_record_that_is_skipped_leaves_the_row_before_it_as_it_was,
      records_may_span_lines, encodes_as_jackson, options_and_types_are_checked, raw_messages)
