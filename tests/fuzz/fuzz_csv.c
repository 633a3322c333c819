/* fuzz_csv.c: the CSV decoder, which leaves values where they stand and reads them many bytes at a time, against itself going byte by byte
 * (csv_decoder_t.general): same rows, same errors; where records end in a stream, and texts as the encoder
 * writes them, against loops over their bytes here.
 *   fuzz_csv [RECORDS [SEED]]      a difference prints the record */
#include "common/clock.h"
#include "engine/connector/csv_int.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct pair {
    arena_t *arena;
    options_t options;
    schema_t *fields;
    decoder_t *fast, *general;
    encoder_t *encoder;
} pair_t;

static const char *const dialects[][10] = {
    {"csv.ignore-parse-errors", "false"},
    {"csv.ignore-parse-errors", "true", "csv.null-literal", ""},
    {"csv.field-delimiter", ";", "csv.quote-character", "'", "csv.escape-character", "\\", "csv.allow-comments", "true", "csv.null-literal", "N/A"},
    {"csv.disable-quote-character", "true", "csv.field-delimiter", "\\t"},
};

static pair_t pair_new(size_t dialect) {
    pair_t p = {.arena = arena_new()};
    arena_t *a = p.arena;
    const field_t all[] = {{"id", &type_bigint}, {"s", &type_string}, {"at", &type_timestamp3}, {"n", &type_int}, {"d", &type_double},
                           {"x", type_decimal(a, 12, 3, true)}, {"tags", type_array(a, &type_string, true)}, {"z", &type_ltz6}, {"t", &type_string}, {"day", &type_date}};
    p.fields = schema_new(a, ARRAY_LEN(all));
    memcpy(p.fields->fields, all, sizeof all);
    p.options = (options_t){0, ARENA_ARRAY(a, const char *, 8), ARENA_ARRAY(a, const char *, 8)};
    for (int i = 0; i < 10 && dialects[dialect][i]; i += 2) {
        p.options.keys[p.options.n] = dialects[dialect][i];
        p.options.values[p.options.n++] = dialects[dialect][i + 1];
    }
    format_config_t c = {.options = &p.options, .format = "csv", .prefix = "", .fields = p.fields};
    err_t *e = decoder_new(&c, &p.fast);
    if (!e) e = decoder_new(&c, &p.general);
    if (!e) e = encoder_new(&c, &p.encoder);
    if (e) abort();
    ((csv_decoder_t *)p.general->self)->general = true;
    return p;
}

static void pair_free(pair_t *p) {
    decoder_free(p->fast);
    decoder_free(p->general);
    encoder_free(p->encoder);
    arena_free(p->arena);
}

static void fail(const char *what, slice_t msg, const char *a, const char *b) {
    fprintf(stderr, "fuzz_csv: %s\nrecord: %.*s\nfast:    %s\ngeneral: %s\n", what, (int)msg.len, (const char *)msg.p, a, b);
    abort();
}

static batch_t *take(decoder_t *d, const schema_t *s, buf_t *out, slice_t msg) {
    batch_t *b;
    decoder_take(d, &b);
    if (!b) return NULL;
    err_t *e = batch_validate(b, s);
    if (e) fail("batch is malformed", msg, err_text(e), "");
    for (uint32_t i = 0; i < b->n; i++)
        for (int k = 0; k < b->ncols; k++) value_encode(out, &b->cols[k], i);
    return b;
}

/* One record to both. */
static void feed(pair_t *p, slice_t msg, bool compare) {
    uint8_t *copy = malloc(msg.len ? msg.len : 1); /* exact: reading past the record is an error that the sanitizer sees */
    memcpy(copy, msg.p, msg.len);
    err_t *a = decoder_message(p->fast, slice_of(copy, msg.len)), *b = decoder_message(p->general, slice_of(copy, msg.len));
    if ((a != NULL) != (b != NULL) || strcmp(err_text(a), err_text(b)) != 0) fail("verdicts differ", msg, err_text(a), err_text(b));
    if (decoder_rows(p->fast) != decoder_rows(p->general) || decoder_skipped(p->fast) != decoder_skipped(p->general)) fail("row counts differ", msg, "", "");
    err_free(a);
    err_free(b);
    free(copy);
    if (!compare) return;
    buf_t x = buf_make(BUF_MAX_DEFAULT), y = buf_make(BUF_MAX_DEFAULT);
    batch_t *fast = take(p->fast, p->fields, &x, msg), *general = take(p->general, p->fields, &y, msg);
    if (!slice_eq(buf_slice(&x), buf_slice(&y))) fail("rows differ (last record)", msg, "", "");
    batch_free(fast);
    batch_free(general);
    buf_free(&x);
    buf_free(&y);
}

/* The end of a record, a byte at a time. */
static size_t slow_end(const csv_dialect_t *d, slice_t data) {
    const char *p = (const char *)data.p;
    size_t n = data.len, i = 0;
    bool plain = true; /* no quote in the first line: it is the record */
    while (i < n && p[i] != '\n') plain &= !d->quote | (p[i++] != d->quote);
    if (plain || (d->comments && n && p[0] == '#')) {
        while (i < n && p[i] != '\n') i++;
        return i < n ? i + 1 : 0;
    }
    i = 0;
    for (bool start = true; i < n; i++) {
        if (start && d->quote && p[i] == d->quote) {
            for (i++; i < n; i++) {
                if (d->escape && p[i] == d->escape) i++;
                else if (p[i] == d->quote && i + 1 < n && p[i + 1] == d->quote) i++;
                else if (p[i] == d->quote) break;
            }
            if (++i >= n) return 0;
        }
        if (p[i] == '\n') return i + 1;
        start = p[i] == d->separator;
        if (!start && d->escape && p[i] == d->escape) i++;
    }
    return 0;
}

static void frames(pair_t *p, slice_t stream) {
    const csv_dialect_t *d = &((csv_decoder_t *)p->fast->self)->dialect;
    while (stream.len) {
        slice_t record;
        size_t used = decoder_frame(p->fast, stream, false, &record), slow = slow_end(d, stream);
        if (used != slow) fail("records end elsewhere", stream, "", "");
        if (!used) return;
        stream = slice_of(stream.p + used, stream.len - used);
    }
}

/* A text as Jackson writes it, a byte at a time. */
static void slow_text(const csv_dialect_t *d, slice_t s, buf_t *out) {
    uint8_t safe = (uint8_t)(MAX(MAX((uint8_t)d->separator, (uint8_t)d->quote), (uint8_t)'\n') + 1), escape = d->escape ? (uint8_t)d->escape : '\\';
    size_t units = 0;
    bool quotes = false;
    for (size_t k = 0; k < s.len; k++) {
        units += ((s.p[k] & 0xC0) != 0x80) + (s.p[k] >= 0xF0);
        quotes |= s.p[k] < safe || s.p[k] == escape;
    }
    quotes = d->quote && (quotes || units > 24);
    if (quotes) buf_put_u8(out, (uint8_t)d->quote);
    for (size_t k = 0; k < s.len; k++) {
        if (quotes && (s.p[k] == (uint8_t)d->quote || (d->escape && s.p[k] == (uint8_t)d->escape))) buf_put_u8(out, s.p[k]);
        buf_put_u8(out, s.p[k]);
    }
    if (quotes) buf_put_u8(out, (uint8_t)d->quote);
}

static void write_text(pair_t *p, batch_t *b, slice_t s) {
    const csv_decoder_t *c = p->fast->self;
    buf_t got = buf_make(1 << 20), want = buf_make(1 << 20);
    b->cols[1].str[0] = (str_t){(const char *)s.p, (uint32_t)s.len, 0};
    err_t *e = encoder_row(p->encoder, b, 0, &got);
    if (e) fail("it cannot be written", s, err_text(e), "");
    const char *null = c->dialect.null_literal ? c->dialect.null_literal : "";
    for (int i = 0; i < b->ncols; i++) {
        if (i) buf_put_u8(&want, (uint8_t)c->dialect.separator);
        if (i == 1) slow_text(&c->dialect, s, &want);
        else buf_puts(&want, null);
    }
    if (!slice_eq(buf_slice(&got), buf_slice(&want))) fail("it is written otherwise", s, buf_cstr(&got), buf_cstr(&want));
    buf_free(&got);
    buf_free(&want);
}

static const char *const words[] = {
    "0", "-0", "12", "-7", "+7", "007", "2147483648", "9223372036854775807", "9223372036854775808", "1.5", "-0.25", "1e5", "0.1", "123456789012345678", "1.", ".5", " 12", "12 ",
    "9007199254740993", "0.30000000000000004", "NaN", "", " ", "x", "N/A", "a text of more than sixteen bytes", "f\xC3\xBCr mehr als sechzehn Bytes: \xE2\x82\xAC", "\xC3", "p;q", "p|q|",
    "2025-03-01 10:00:00", "2025-03-01 10:00:00.25", "2025-3-1 10:00:00.5", "2025-03-01T10:00:00", "2025-02-29 10:00:00", "2025-03-01 10:00:00.1234567", "2025-03-01 10:00:00.250Z",
    "2025-03-01", "1969-12-31 23:59:59.9", "2025-03-01 24:00:00", "2025-03-01 10:00:00.", "\"a\"", "\"a \"\"quoted\"\" one of more than sixteen\"", "\"open", "\"a,b;c\"", "\"a\" ", "\"a\"b",
    "'it''s'", "'it\\'s'", "\\n", "a\\", "\"line\nend\"", "#", "\t", "''", "\"\""};

static void record(rng_t *r, char separator, char quote, buf_t *out) {
    static const char *const usual[] = {"17", "text", "2025-03-01 10:00:00.250", "-3", "12.75", "99.125", "p;q", "2025-03-01 10:00:00.25Z", "a text of more than sixteen bytes", "2025-03-01"};
    buf_clear(out);
    uint64_t n = rng_below(r, 30) ? 10 : rng_below(r, 13);
    for (uint64_t k = 0; k < n; k++) {
        const char *w = rng_below(r, 12) ? usual[k % 10] : words[rng_below(r, ARRAY_LEN(words))];
        bool quoted = quote && rng_below(r, 4) == 0;
        if (k) buf_put_u8(out, (uint8_t)separator);
        if (quoted) buf_put_u8(out, (uint8_t)quote);
        buf_puts(out, w);
        if (quoted) buf_put_u8(out, (uint8_t)quote);
    }
    if (rng_below(r, 8) || !out->len) return;
    size_t at = rng_below(r, out->len);
    switch (rng_below(r, 4)) {
    case 0: out->data[at] = (uint8_t)rng_next(r); break;
    case 1: out->len = at; break;
    case 2: out->data[at] = (uint8_t)",;'\"\\ \n\t#."[rng_below(r, 10)]; break;
    default: memmove(out->data + at, out->data + at + 1, out->len - at - 1), out->len--; break;
    }
}

int main(int argc, char **argv) {
    long records = argc > 1 ? strtol(argv[1], NULL, 10) : 200000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    rng_t r;
    rng_seed(&r, seed);
    buf_t msg = buf_make(1 << 20), stream = buf_make(1 << 22);
    for (size_t kind = 0; kind < ARRAY_LEN(dialects); kind++) {
        pair_t p = pair_new(kind);
        const csv_dialect_t *d = &((csv_decoder_t *)p.fast->self)->dialect;
        batch_t *b = batch_new_schema(p.fields, 1);
        for (int i = 0; i < b->ncols; i++) column_need_nulls(&b->cols[i], b->mem, 1)[0] = i != 1;
        for (long i = 0; i < records / (long)ARRAY_LEN(dialects); i++) {
            record(&r, d->separator, d->quote, &msg);
            feed(&p, buf_slice(&msg), rng_below(&r, 50) == 0);
            write_text(&p, b, slice_of(msg.data, rng_below(&r, msg.len + 1)));
            buf_put(&stream, msg.data, msg.len);
            buf_puts(&stream, "\n");
            if (i % 20) continue;
            frames(&p, buf_slice(&stream));
            buf_clear(&stream);
        }
        feed(&p, slice_of("", 0), true);
        batch_free(b);
        pair_free(&p);
    }
    buf_free(&msg);
    buf_free(&stream);
    printf("fuzz_csv: %ld records, seed %llu: no difference\n", records, (unsigned long long)seed);
    return 0;
}
