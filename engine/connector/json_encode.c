/* json_encode.c: rows to JSON text, byte for byte what Flink's json format writes. */
#include "engine/connector/json_int.h"
#include "engine/datetime.h"
#include "engine/decimal.h"
#include "engine/number.h"
#include <math.h>
#include <stdlib.h>

typedef enum null_key { NULL_KEY_FAIL, NULL_KEY_DROP, NULL_KEY_LITERAL } null_key_t;

typedef struct json_encoder {
    bool iso, plain_decimals, skip_nulls;
    null_key_t null_key;
    char *null_literal;
    buf_t *names; /* per column: ,"name": with quotes, escaped */
} json_encoder_t;

#define EACH(byte) (0x0101010101010101ull * (byte))

/* Does any of eight bytes need an escape: a control character, a quote, a backslash? */
static bool any_special(uint64_t w) {
    uint64_t quote = w ^ EACH('"'), backslash = w ^ EACH('\\');
    return (((w - EACH(0x20)) & ~w) | ((quote - EACH(1)) & ~quote) | ((backslash - EACH(1)) & ~backslash)) & EACH(0x80);
}

static bool special(uint8_t c) { return c < 0x20 || c == '"' || c == '\\'; }

static bool all_plain(const char *s, size_t n) {
    size_t i = 0;
    for (uint64_t w; i + 8 <= n; i += 8) {
        memcpy(&w, s + i, 8);
        if (any_special(w)) return false;
    }
    for (; i < n; i++)
        if (special((uint8_t)s[i])) return false;
    return true;
}

static void put_quoted(buf_t *out, const char *p, size_t n) {
    if (!buf_reserve(out, n + 2)) return;
    uint8_t *at = out->data + out->len;
    *at = '"';
    memcpy(at + 1, p, n);
    at[n + 1] = '"';
    out->len += n + 2;
}

static void put_escaped(buf_t *out, const char *s, size_t n) {
    static const char hex[] = "0123456789ABCDEF";
    const uint8_t *p = (const uint8_t *)s, *end = p + n, *from = p;
    buf_put_u8(out, '"');
    for (; p < end; p++) {
        if (LIKELY(!special(*p))) continue;
        buf_put(out, from, (size_t)(p - from));
        from = p + 1;
        char esc = *p == '"' || *p == '\\' ? (char)*p : *p == '\b' ? 'b' : *p == '\t' ? 't' : *p == '\n' ? 'n' :
                   *p == '\f' ? 'f' : *p == '\r' ? 'r' : 0;
        if (esc) buf_put(out, (char[]){'\\', esc}, 2);
        else buf_put(out, (char[]){'\\', 'u', '0', '0', hex[*p >> 4], hex[*p & 15]}, 6);
    }
    buf_put(out, from, (size_t)(end - from));
    buf_put_u8(out, '"');
}

static void put_string(buf_t *out, const char *s, size_t n) {
    if (LIKELY(all_plain(s, n))) put_quoted(out, s, n);
    else put_escaped(out, s, n);
}

static void put_f64(buf_t *out, double v) {
    char text[NUMBER_F64_MAX];
    if (!isfinite(v)) put_quoted(out, text, f64_print(text, v));
    else if (buf_reserve(out, NUMBER_F64_MAX)) out->len += f64_print((char *)out->data + out->len, v);
}
static void put_f32(buf_t *out, float v) {
    char text[NUMBER_F64_MAX];
    if (!isfinite(v)) put_quoted(out, text, f32_print(text, v));
    else if (buf_reserve(out, NUMBER_F64_MAX)) out->len += f32_print((char *)out->data + out->len, v);
}
/* A plain number keeps the zeros of its scale, as in Flink. */
static void put_decimal(const json_encoder_t *j, buf_t *out, i128 v, int scale) {
    char text[DECIMAL_TEXT_MAX];
    if (j->plain_decimals) buf_put(out, text, decimal_print(text, v, scale));
    else decimal_put_stripped(out, v, scale, false);
}
static void put_i64(buf_t *out, int64_t v) {
    if (buf_reserve(out, NUMBER_I64_MAX + 1)) out->len += i64_print((char *)out->data + out->len, v);
}

static err_t *put_value(const json_encoder_t *j, const column_t *c, uint32_t i, buf_t *out);

static err_t *put_map(const json_encoder_t *j, const column_t *c, uint32_t i, buf_t *out) {
    const column_t *k = &c->child[0], *v = &c->child[1];
    bool first = true;
    buf_put_u8(out, '{');
    for (uint32_t e = c->span[i].off; e < c->span[i].off + c->span[i].len; e++) {
        bool null = column_null(k, e);
        if (null && j->null_key == NULL_KEY_FAIL)
            return err_hint(err_new(ERR_DATA, "JSON: a map has a NULL key"),
                            "set 'json.map-null-key.mode' to 'DROP' or 'LITERAL'");
        if (null && j->null_key == NULL_KEY_DROP) continue;
        if (!first) buf_put_u8(out, ',');
        first = false;
        if (null) put_string(out, j->null_literal, strlen(j->null_literal));
        else put_string(out, k->str[e].p, k->str[e].len);
        buf_put_u8(out, ':');
        TRY(put_value(j, v, e, out));
    }
    buf_put_u8(out, '}');
    return NULL;
}

static err_t *put_row(const json_encoder_t *j, const column_t *c, uint32_t i, buf_t *out) {
    bool first = true;
    buf_put_u8(out, '{');
    for (int k = 0; k < c->type->nchild; k++) {
        if (j->skip_nulls && column_null(&c->child[k], i)) continue;
        if (!first) buf_put_u8(out, ',');
        first = false;
        put_string(out, c->type->names[k], strlen(c->type->names[k]));
        buf_put_u8(out, ':');
        TRY(put_value(j, &c->child[k], i, out));
    }
    buf_put_u8(out, '}');
    return NULL;
}

static err_t *put_array(const json_encoder_t *j, const column_t *c, uint32_t i, buf_t *out) {
    buf_put_u8(out, '[');
    for (uint32_t e = 0; e < c->span[i].len; e++) {
        if (e) buf_put_u8(out, ',');
        TRY(put_value(j, &c->child[0], c->span[i].off + e, out));
    }
    buf_put_u8(out, ']');
    return NULL;
}

static void put_time(const json_encoder_t *j, const column_t *c, uint32_t i, buf_t *out) {
    char text[DATETIME_TEXT_MAX];
    size_t n;
    switch (c->type->kind) {
    case TYPE_DATE: n = date_print(text, c->i32[i]); break;
    case TYPE_TIME: n = time_print_json(text, c->i32[i]); break;
    default: n = timestamp_print_json(text, c->i64[i], j->iso ? 'T' : ' ', c->type->kind == TYPE_TIMESTAMP_LTZ);
    }
    put_quoted(out, text, n);
}

static err_t *put_value(const json_encoder_t *j, const column_t *c, uint32_t i, buf_t *out) {
    if (column_null(c, i)) {
        buf_put(out, "null", 4);
        return NULL;
    }
    switch (c->type->kind) {
    case TYPE_BOOLEAN: buf_puts(out, c->b[i] ? "true" : "false"); return NULL;
    case TYPE_TINYINT: put_i64(out, c->i8[i]); return NULL;
    case TYPE_SMALLINT: put_i64(out, c->i16[i]); return NULL;
    case TYPE_INT:
    case TYPE_INTERVAL_MONTH: put_i64(out, c->i32[i]); return NULL;
    case TYPE_BIGINT:
    case TYPE_INTERVAL_SECOND: put_i64(out, c->i64[i]); return NULL;
    case TYPE_FLOAT: put_f32(out, c->f32[i]); return NULL;
    case TYPE_DOUBLE: put_f64(out, c->f64[i]); return NULL;
    case TYPE_DECIMAL: put_decimal(j, out, c->dec[i], c->type->scale); return NULL;
    case TYPE_CHAR:
    case TYPE_VARCHAR: put_string(out, c->str[i].p, c->str[i].len); return NULL;
    case TYPE_BINARY:
    case TYPE_VARBINARY:
        buf_put_u8(out, '"');
        base64_encode(out, slice_of(c->str[i].p, c->str[i].len));
        buf_put_u8(out, '"');
        return NULL;
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: put_time(j, c, i, out); return NULL;
    case TYPE_ARRAY: return put_array(j, c, i, out);
    case TYPE_MAP:
    case TYPE_MULTISET: return put_map(j, c, i, out);
    case TYPE_ROW: return put_row(j, c, i, out);
    default: return err_new(ERR_UNSUPPORTED, "JSON: a type the json format does not know");
    }
}

err_t *json_encode(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out) {
    const json_encoder_t *j = e->self;
    bool first = true;
    buf_put_u8(out, '{');
    for (int k = 0; k < e->ncols; k++) {
        const column_t *c = &b->cols[e->cols[k]];
        if (j->skip_nulls && column_null(c, row)) continue;
        buf_put(out, j->names[k].data + first, j->names[k].len - first);
        first = false;
        err_t *err = put_value(j, c, row, out);
        if (err) return err_wrap(err, "column '%s'", e->fields->fields[e->cols[k]].name);
    }
    buf_put_u8(out, '}');
    return NULL;
}

err_t *json_encoder_open(encoder_t *e, const format_config_t *c) {
    json_encoder_t *j = xcalloc(1, sizeof *j);
    e->self = j;
    j->names = xcalloc((size_t)e->ncols + 1, sizeof *j->names);
    for (int k = 0; k < e->ncols; k++) {
        const char *name = c->fields->fields[e->cols[k]].name;
        j->names[k] = buf_make(1 << 20);
        buf_put_u8(&j->names[k], ',');
        put_string(&j->names[k], name, strlen(name));
        buf_put_u8(&j->names[k], ':');
    }
    const char *standard = format_option(c, "timestamp-format.standard"), *mode = format_option(c, "map-null-key.mode"),
               *literal = format_option(c, "map-null-key.literal");
    j->iso = standard && strcmp(standard, "ISO-8601") == 0;
    j->null_key = !mode || strcmp(mode, "FAIL") == 0 ? NULL_KEY_FAIL : strcmp(mode, "DROP") == 0 ? NULL_KEY_DROP : NULL_KEY_LITERAL;
    j->null_literal = xstrdup(literal ? literal : "null");
    TRY(format_option_bool(c, "encode.decimal-as-plain-number", false, &j->plain_decimals));
    return format_option_bool(c, "encode.ignore-null-fields", false, &j->skip_nulls);
}

void json_encoder_close(encoder_t *e) {
    json_encoder_t *j = e->self;
    for (int k = 0; k < e->ncols; k++) buf_free(&j->names[k]);
    free(j->names);
    free(j->null_literal);
    free(j);
}
