/* csv_encode.c: rows to CSV records as Flink's csv format writes them. Jackson quotes a text that is longer than 24
 * characters, holds a character up to the larger of separator, quote and line feed (so a blank is quoted), or the escape
 * character, a backslash when none is set. Inside, quotes are doubled, also where there is an escape character. */
#include "engine/connector/csv_int.h"
#include "engine/datetime.h"
#include "engine/number.h"
#include <stdlib.h>

#define QUOTE_CHARS 24

typedef struct csv_encoder {
    csv_dialect_t dialect;
    uint8_t min_safe;
    buf_t value;
} csv_encoder_t;

static size_t java_length(const uint8_t *p, size_t n) { /* UTF-16 units */
    size_t units = 0;
    for (size_t k = 0; k < n; k++) units += ((p[k] & 0xC0) != 0x80) + (p[k] >= 0xF0);
    return units;
}

/* Does any byte need quotes around it? */
static bool has_unsafe(const csv_encoder_t *e, const uint8_t *p, size_t n) {
    uint8_t escape = e->dialect.escape ? (uint8_t)e->dialect.escape : '\\';
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        bytes16_t v = load16(p + k);
        if (bits16((bytes16_t)((v < e->min_safe) | (v == escape)))) return true;
    }
    for (; k < n; k++)
        if (p[k] < e->min_safe || p[k] == escape) return true;
    return false;
}

static bool needs_quotes(const csv_encoder_t *e, const uint8_t *p, size_t n) {
    if (!e->dialect.quote) return false;
    return (n > QUOTE_CHARS && java_length(p, n) > QUOTE_CHARS) || has_unsafe(e, p, n);
}

static void put_text(const csv_encoder_t *e, buf_t *out, const uint8_t *p, size_t n) {
    const csv_dialect_t *d = &e->dialect;
    if (!needs_quotes(e, p, n)) {
        buf_put(out, p, n);
        return;
    }
    uint8_t quote = (uint8_t)d->quote, escape = d->escape ? (uint8_t)d->escape : quote;
    const uint8_t *start = p, *end = p + n;
    buf_put_u8(out, quote);
    for (;;) { /* from one that is doubled to the next */
        const uint8_t *at = quick_find(start, p, end, quote, escape, quote);
        buf_put(out, p, (size_t)(at - p));
        if (at == end) break;
        buf_put_u8(out, *at);
        buf_put_u8(out, *at);
        p = at + 1;
    }
    buf_put_u8(out, quote);
}

/* Text of a plain value; *ret_quotable: written through put_text (texts), not raw (numbers). */
static void plain_text(const csv_encoder_t *e, const column_t *c, uint32_t i, buf_t *out, bool *ret_quotable) {
    char t[DATETIME_TEXT_MAX > NUMBER_F64_MAX ? DATETIME_TEXT_MAX : NUMBER_F64_MAX];
    size_t n = 0;
    *ret_quotable = false;
    switch (c->type->kind) {
    case TYPE_BOOLEAN: buf_puts(out, c->b[i] ? "true" : "false"); return;
    case TYPE_TINYINT: n = i64_print(t, c->i8[i]); break;
    case TYPE_SMALLINT: n = i64_print(t, c->i16[i]); break;
    case TYPE_INT:
    case TYPE_INTERVAL_MONTH: n = i64_print(t, c->i32[i]); break;
    case TYPE_BIGINT:
    case TYPE_INTERVAL_SECOND: n = i64_print(t, c->i64[i]); break;
    case TYPE_FLOAT: n = f32_print(t, c->f32[i]); break;
    case TYPE_DOUBLE: n = f64_print(t, c->f64[i]); break;
    case TYPE_DECIMAL: decimal_put_stripped(out, c->dec[i], c->type->scale, e->dialect.plain_decimals); return;
    default:
        *ret_quotable = true;
        if (c->type->kind == TYPE_DATE) n = date_print(t, c->i32[i]);
        else if (c->type->kind == TYPE_TIME) n = time_print_json(t, c->i32[i]);
        else if (c->type->kind == TYPE_TIMESTAMP) n = timestamp_print_json(t, c->i64[i], ' ', false);
        else if (c->type->kind == TYPE_TIMESTAMP_LTZ) n = timestamp_print_json(t, c->i64[i], ' ', true);
        else if (type_is_binary(c->type)) base64_encode(out, slice_of(c->str[i].p, c->str[i].len));
        else if (type_is_text(c->type)) buf_put(out, c->str[i].p, c->str[i].len);
    }
    buf_put(out, t, n);
}

/* Elements of an array, or fields of a row, joined into one value. */
static void nested_text(csv_encoder_t *e, const column_t *c, uint32_t i, buf_t *out) {
    bool row = c->type->kind == TYPE_ROW, unused;
    uint32_t n = row ? (uint32_t)c->type->nchild : c->span[i].len;
    for (uint32_t k = 0; k < n; k++) {
        const column_t *child = &c->child[row ? k : 0];
        uint32_t at = row ? i : c->span[i].off + k;
        if (k) buf_puts(out, e->dialect.array_separator);
        if (!column_null(child, at)) plain_text(e, child, at, out, &unused);
        else if (e->dialect.null_literal) buf_puts(out, e->dialect.null_literal);
    }
}

err_t *csv_encode(encoder_t *enc, const batch_t *b, uint32_t row, buf_t *out) {
    csv_encoder_t *e = enc->self;
    for (int k = 0; k < enc->ncols; k++) {
        const column_t *c = &b->cols[enc->cols[k]];
        if (k) buf_put_u8(out, (uint8_t)e->dialect.separator);
        if (column_null(c, row)) {
            if (e->dialect.null_literal) buf_puts(out, e->dialect.null_literal);
            continue;
        }
        if (type_is_text(c->type)) {
            put_text(e, out, (const uint8_t *)c->str[row].p, c->str[row].len);
            continue;
        }
        if (type_is_numeric(c->type)) {
            bool unused;
            plain_text(e, c, row, out, &unused);
            continue;
        }
        bool quotable = true;
        buf_clear(&e->value);
        if (c->type->nchild) nested_text(e, c, row, &e->value);
        else plain_text(e, c, row, &e->value, &quotable);
        if (quotable) put_text(e, out, e->value.data, e->value.len);
        else buf_put(out, e->value.data, e->value.len);
    }
    return NULL;
}

err_t *csv_encoder_open(encoder_t *enc, const format_config_t *c) {
    csv_encoder_t *e = xcalloc(1, sizeof *e);
    enc->self = e;
    e->value = buf_make(BUF_MAX_DEFAULT);
    TRY(csv_dialect_read(c, &e->dialect));
    uint8_t max = MAX((uint8_t)e->dialect.separator, (uint8_t)e->dialect.quote);
    e->min_safe = (uint8_t)(MAX(max, (uint8_t)'\n') + 1);
    return NULL;
}

void csv_encoder_close(encoder_t *enc) {
    csv_encoder_t *e = enc->self;
    csv_dialect_free(&e->dialect);
    buf_free(&e->value);
    free(e);
}
