/* fuzz_json.c: the JSON decoder's fast path against its general parser: same rows, same errors, on the same stream of
 * mutated records. Also a crash hunt under sanitizers.
 *
 *   fuzz_json [RECORDS [SEED]]      a run of its own (in `meson test`); a difference prints seed and record
 *   clang -fsanitize=fuzzer -DLIBFUZZER ..   the same check driven by libFuzzer */
#include "common/clock.h"
#include "engine/connector/json_int.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct pair {
    arena_t *arena;
    options_t options;
    schema_t *fields;
    decoder_t *fast, *general;
} pair_t;

/* projected: what is left where a query reads few columns and few fields of the nested ones. */
static pair_t pair_new(bool ignore_errors, bool projected) {
    pair_t p = {.arena = arena_new()};
    arena_t *a = p.arena;
    const type_t *inner[] = {&type_int, &type_string, type_array(a, &type_double, true)};
    static const type_t seconds = {.kind = TYPE_TIMESTAMP, .precision = 0, .nullable = true}; /* read to the millisecond all the same */
    const type_t *deep[] = {&seconds, &type_string};
    const type_t *wide[] = {&type_bigint, type_row(a, projected ? 1 : 2, deep, (const char *const[]){"t", "s"}, true)};
    const field_t few[] = {
        {"id", &type_bigint}, {"r", type_row(a, 1, &inner[1], (const char *const[]){"b"}, true)},
        {"w", type_row(a, 1, &wide[1], (const char *const[]){"v"}, true)}, {"v", type_row(a, 1, &deep[1], (const char *const[]){"s"}, true)}};
    const field_t all[] = {
        {"id", &type_bigint}, {"s", &type_string}, {"at", &type_timestamp3}, {"z", &type_ltz6}, {"d", &type_double},
        {"ok", &type_boolean}, {"n", &type_int}, {"x", type_decimal(a, 12, 3, true)},
        {"r", type_row(a, 3, inner, (const char *const[]){"a", "b", "c"}, true)},
        {"m", type_map(a, &type_string, &type_int, true)}, {"dt", &type_date},
        {"w", type_row(a, 2, wide, (const char *const[]){"u", "v"}, true)}, {"v", type_row(a, 2, deep, (const char *const[]){"t", "s"}, true)}};
    p.fields = schema_new(a, projected ? ARRAY_LEN(few) : ARRAY_LEN(all));
    memcpy(p.fields->fields, projected ? few : all, sizeof *few * (size_t)p.fields->n);
    p.options = (options_t){ignore_errors, ARENA_NEW(a, const char *), ARENA_NEW(a, const char *)};
    p.options.keys[0] = "json.ignore-parse-errors";
    p.options.values[0] = "true";
    format_config_t c = {.options = &p.options, .format = "json", .prefix = "", .fields = p.fields};
    err_t *e = decoder_new(&c, &p.fast);
    if (!e) e = decoder_new(&c, &p.general);
    if (e) abort();
    ((json_decoder_t *)p.general->self)->templates_off = true;
    return p;
}

static void pair_free(pair_t *p) {
    decoder_free(p->fast);
    decoder_free(p->general);
    arena_free(p->arena);
}

static void fail(const char *what, slice_t msg, const char *a, const char *b) {
    fprintf(stderr, "fuzz_json: %s\nrecord: %.*s\nfast:    %s\ngeneral: %s\n", what, (int)msg.len, (const char *)msg.p, a, b);
    abort();
}

static void take(decoder_t *d, const schema_t *s, buf_t *out, slice_t msg) {
    batch_t *b;
    decoder_take(d, &b);
    if (!b) return;
    err_t *e = batch_validate(b, s);
    if (e) fail("batch is malformed", msg, err_text(e), "");
    for (uint32_t i = 0; i < b->n; i++)
        for (int k = 0; k < b->ncols; k++) value_encode(out, &b->cols[k], i);
    batch_free(b);
}

/* One record to both; the rows are compared now and then, so that batches hold many records. */
static void feed(pair_t *p, slice_t msg, bool compare) {
    /* an exact copy on the heap: reading past the record is an error the sanitizer sees */
    uint8_t *copy = malloc(msg.len ? msg.len : 1);
    memcpy(copy, msg.p, msg.len);
    err_t *a = decoder_message(p->fast, slice_of(copy, msg.len)), *b = decoder_message(p->general, slice_of(copy, msg.len));
    if ((a != NULL) != (b != NULL) || strcmp(err_text(a), err_text(b)) != 0) fail("verdicts differ", msg, err_text(a), err_text(b));
    if (decoder_rows(p->fast) != decoder_rows(p->general) || decoder_skipped(p->fast) != decoder_skipped(p->general))
        fail("row counts differ", msg, "", "");
    err_free(a);
    err_free(b);
    free(copy);
    if (!compare) return;
    buf_t x = buf_make(BUF_MAX_DEFAULT), y = buf_make(BUF_MAX_DEFAULT);
    take(p->fast, p->fields, &x, msg);
    take(p->general, p->fields, &y, msg);
    if (!slice_eq(buf_slice(&x), buf_slice(&y))) fail("rows differ (last record)", msg, "", "");
    buf_free(&x);
    buf_free(&y);
}

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    pair_t p = pair_new(n & 1, n & 2);
    while (n) {
        const uint8_t *nl = memchr(data, '\n', n);
        size_t len = nl ? (size_t)(nl - data) : n;
        feed(&p, slice_of(data, len), true);
        data += len + (nl != NULL);
        n -= len + (nl != NULL);
    }
    pair_free(&p);
    return 0;
}
#else
static const char *const words[] = {
    "0", "-0", "12", "-7", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "1.5", "-0.25", "1e5",
    "1E-3", "0.1", "123456789012345678", "1234567890123456789", "9007199254740993", "0.30000000000000004", "1.", "01", "true",
    "false", "null", "nul", "\"x\"", "\"\"", "\"12\"", "\"a\\nb\"", "\"\\u00e9\\ud83d\\ude00\"", "\"\xC3\xBC\"", "\"\xC3\"",
    "\"2025-03-01 10:00:00\"", "\"2025-03-01 10:00:00.123456789\"", "\"2025-02-29 10:00:00\"", "\"2025-03-01 10:00:00.5Z\"",
    "\"2024-02-29 23:59:59.999Z\"", "\"1969-12-31 23:59:59.9\"", "\"2025-03-01\"", "[]", "{}", "[1,2.5,null]", "{\"a\":1,\"b\":\"q\",\"c\":[1]}",
    "{\"k\":1,\"k\":2}", "{\"a\":1,\"c\":[0.5,\"1\"]}", "\"a long string without any escape in it at all, over sixteen bytes\"", "nope", "\"open",
    "{\"a\":", "tru", "falsey", "{\"u\":4,\"v\":null}", "{\"v\":{}}", "{\"u\":null,\"v\":{\"s\":7,\"t\":null}}", "{\"b\":\"\xC3\xBC\"}",
    "{\"k\":1,\"l\":-2.50,\"m\":\"\xC3\"}", "{\"k\":01}", "{\"k\":1.}", "{\"k\":true,\"l\":false,\"m\":null}", "{\"k\":tru}", "{\"k\" :1}", "{\"k\":1,}", "{\"k\"}",
    "{,}", "{\"k\":1e3,\"\":{}}", "{\"k\":[{}]}", "{\"a\\u0041\":1}", "-", "-x", "12345678", "123456789", "12345678.12345678", "0.00000001",
    "[[[[[[]]]]]]", "{\"x\":{\"x\":[{},\"a\\\\\"]}}", "\"an escape \\t behind more than sixteen bytes\"", "\"f\xC3\xBCr mehr als sechzehn Bytes: \xE2\x82\xAC\""};
static const char *const keys[] = {"id", "s", "at", "z", "d", "ok", "n", "x", "r", "m", "dt", "junk", "i\\u0064", "other", "w", "v"};

static void value(rng_t *r, int key, buf_t *out) {
    static const char *const usual[] = {"17", "\"text\"", "\"2025-03-01 10:00:00.250\"", "\"2025-03-01 10:00:00.25Z\"", "12.75", "true", "-3",
                                        "99.125", "{\"a\":5,\"b\":\"z\",\"c\":[1,2]}", "{\"k\":1}", "\"2025-03-01\"", "{\"id\":12345,\"name\":\"somebody of more than sixteen bytes\",\"rate\":0.5}", "8", "null",
                                        "{\"u\":9,\"v\":{\"t\":\"2025-03-01 10:00:00.250\",\"s\":\"deep\"}}", "{\"t\":\"2025-03-01 10:00:00\",\"s\":\"a text of more than sixteen bytes\"}"};
    bool row = key == 8 || key >= 14; /* half the rows are not there, as where one of several is */
    if (rng_below(r, 12)) buf_puts(out, row && rng_below(r, 2) ? "null" : usual[key]);
    else buf_puts(out, words[rng_below(r, ARRAY_LEN(words))]);
}

static void record(rng_t *r, buf_t *out) {
    static const uint8_t shapes[][8] = {{0, 1, 2, 4, 255}, {0, 1, 3, 5, 6, 7, 255}, {8, 9, 10, 0, 255}, {11, 0, 1, 255}, {255},
                                        {0, 14, 15, 255}, {0, 8, 14, 15, 255}, {14, 0, 255}, {11, 0, 11, 14, 255}};
    const uint8_t *shape = shapes[rng_below(r, ARRAY_LEN(shapes))];
    const char *blank = rng_below(r, 20) ? "" : " ";
    buf_clear(out);
    buf_puts(out, "{");
    for (int k = 0; shape[k] != 255; k++) {
        int key = rng_below(r, 40) ? shape[k] : (int)rng_below(r, ARRAY_LEN(keys));
        buf_printf(out, "%s%s\"%s\":%s", k ? "," : "", blank, keys[key], blank);
        value(r, key, out);
    }
    buf_puts(out, "}");
    if (rng_below(r, 200) == 0) buf_puts(out, rng_below(r, 2) ? " " : "x");
    if (rng_below(r, 8) || !out->len) return;
    size_t at = rng_below(r, out->len);
    switch (rng_below(r, 4)) {
    case 0: out->data[at] = (uint8_t)rng_next(r); break;
    case 1: out->len = at; break;
    case 2: out->data[at] = (uint8_t)"{}[],:\"\\ 0-.e"[rng_below(r, 13)]; break;
    default: memmove(out->data + at, out->data + at + 1, out->len - at - 1), out->len--; break;
    }
}

int main(int argc, char **argv) {
    long records = argc > 1 ? atol(argv[1]) : 300000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    rng_t r;
    rng_seed(&r, seed);
    buf_t msg = buf_make(1 << 20);
    for (int kind = 0; kind < 4; kind++) {
        pair_t p = pair_new(kind & 1, kind & 2);
        for (long i = 0; i < records / 4; i++) {
            record(&r, &msg);
            feed(&p, buf_slice(&msg), rng_below(&r, 50) == 0);
        }
        feed(&p, slice_of("{}", 2), true);
        if (((json_decoder_t *)p.fast->self)->hits < (uint64_t)records / 16) fail("the fast path took too few records", slice_of("", 0), "", "");
        pair_free(&p);
    }
    buf_free(&msg);
    printf("fuzz_json: %ld records, seed %llu: no difference\n", records, (unsigned long long)seed);
    return 0;
}
#endif
