/* csv_decode.c: CSV records to rows, by the rules of Flink's csv format (Jackson's dialect).
 *
 * A quote has meaning at the start of a value only; inside, it is doubled or escaped; blanks belong to the value. A quoted
 * value may hold line ends. Values go to columns by position; a record with another number of values is an error, with
 * 'csv.ignore-parse-errors' missing ones are NULL and longer records are skipped. */
#include "engine/connector/csv_int.h"
#include <stdlib.h>

/* ------------------------------------------------------------------ framing */
/* End of the record that starts at p: after its line end; NULL when it has none. */
static const uint8_t *record_end(const csv_dialect_t *d, const uint8_t *p, const uint8_t *end) {
    const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
    bool quotes = d->quote && memchr(p, d->quote, (size_t)((nl ? nl : end) - p));
    if (!quotes || (d->comments && p < end && *p == '#')) return nl ? nl + 1 : NULL;
    const uint8_t *record = p;
    uint8_t quote = (uint8_t)d->quote, separator = (uint8_t)d->separator, escape = (uint8_t)d->escape;
    for (bool start = true; p < end; p++) {
        if (start && *p == quote) {
            for (p++; (p = quick_find(record, MIN(p, end), end, quote, escape ? escape : quote, quote)) < end; p++) {
                if (escape && *p == escape) p++;
                else if (p + 1 < end && p[1] == quote) p++;
                else break;
            }
            if (p == end) return NULL;
            p++;
        }
        p = quick_find(record, p, end, separator, '\n', escape ? escape : separator);
        if (p == end) return NULL;
        if (*p == '\n') return p + 1;
        start = *p == separator;
        p += !start; /* what follows an escape */
    }
    return NULL;
}

static size_t csv_frame(decoder_t *dec, slice_t data, bool eof, slice_t *ret_record) {
    const csv_decoder_t *c = dec->self;
    const uint8_t *end = record_end(&c->dialect, data.p, data.p + data.len);
    if (!end && !eof) return 0;
    size_t used = end ? (size_t)(end - data.p) : data.len, len = used;
    if (len && data.p[len - 1] == '\n') len--;
    if (len && data.p[len - 1] == '\r') len--;
    *ret_record = slice_of(data.p, len);
    return used;
}

/* ------------------------------------------------------------------ splitting a record */
static uint8_t unescaped(uint8_t c) {
    switch (c) {
    case '0': return 0;
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return c;
    }
}

typedef struct csv_in {
    const uint8_t *start, *p, *end;
    const char *why;
} csv_in_t;

static bool quoted_value(const csv_dialect_t *d, csv_in_t *in, buf_t *out) {
    const uint8_t *open = in->p++;
    for (;;) {
        const uint8_t *from = in->p;
        while (in->p < in->end && *in->p != (uint8_t)d->quote && !(d->escape && *in->p == (uint8_t)d->escape)) in->p++;
        buf_put(out, from, (size_t)(in->p - from));
        if (in->p == in->end) {
            in->p = open;
            in->why = "quote is not closed";
            return false;
        }
        if (*in->p == (uint8_t)d->quote) {
            if (in->p + 1 < in->end && in->p[1] == (uint8_t)d->quote) {
                buf_put_u8(out, (uint8_t)d->quote);
                in->p += 2;
                continue;
            }
            in->p++;
            break;
        }
        if (in->p + 1 == in->end) {
            in->why = "nothing follows the escape character";
            return false;
        }
        buf_put_u8(out, unescaped(in->p[1]));
        in->p += 2;
    }
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\t') && *in->p != (uint8_t)d->separator) in->p++;
    if (in->p == in->end || *in->p == (uint8_t)d->separator) return true;
    in->why = "expected a separator behind the closing quote";
    return false;
}

static bool plain_value(const csv_dialect_t *d, csv_in_t *in, buf_t *out) {
    for (;;) {
        const uint8_t *from = in->p;
        while (in->p < in->end && *in->p != (uint8_t)d->separator && !(d->escape && *in->p == (uint8_t)d->escape)) in->p++;
        buf_put(out, from, (size_t)(in->p - from));
        if (in->p == in->end || *in->p == (uint8_t)d->separator) return true;
        if (in->p + 1 == in->end) {
            in->why = "nothing follows the escape character";
            return false;
        }
        buf_put_u8(out, unescaped(in->p[1]));
        in->p += 2;
    }
}

/* Most values stand in the record as they are: they stay there until they are stored. False: nothing was taken. */
static bool value_in_place(const csv_dialect_t *d, csv_in_t *in, csv_value_t *v) {
    uint8_t quote = (uint8_t)d->quote, separator = (uint8_t)d->separator, escape = (uint8_t)d->escape;
    const uint8_t *p = in->p, *end;
    if (quote && p < in->end && *p == quote) {
        end = quick_find(in->start, ++p, in->end, quote, escape ? escape : quote, quote);
        if (end == in->end || *end != quote || (end + 1 < in->end && end[1] != separator)) return false;
        in->p = end + 1;
    } else {
        end = quick_find(in->start, p, in->end, separator, escape ? escape : separator, separator);
        if (end < in->end && *end != separator) return false;
        in->p = end;
    }
    v->p = (const char *)p;
    v->len = (uint32_t)(end - p);
    return true;
}

/* Number of values, or -1 with in->why at in->p. Values past nfields are counted, not kept. */
static int split_record(csv_decoder_t *c, csv_in_t *in) {
    const csv_dialect_t *d = &c->dialect;
    buf_clear(&c->text);
    for (int n = 0;; n++) {
        csv_value_t v = {.off = (uint32_t)c->text.len, .at = (uint32_t)(in->p - in->start)};
        if (c->general || !value_in_place(d, in, &v)) {
            bool quoted = d->quote && in->p < in->end && *in->p == (uint8_t)d->quote;
            if (!(quoted ? quoted_value(d, in, &c->text) : plain_value(d, in, &c->text))) return -1;
            v.len = (uint32_t)(c->text.len - v.off);
        }
        if (n < c->nfields) c->values[n] = v;
        if (in->p == in->end) return n + 1;
        in->p++;
    }
}

/* ------------------------------------------------------------------ converting */
static const char *store_value(csv_decoder_t *c, rowstore_t *s, rcol_t *col, uint32_t i, const char *p, size_t n);

static bool is_null_text(const csv_dialect_t *d, const char *p, size_t n) {
    return d->null_literal && d->null_len == n && memcmp(d->null_literal, p, n) == 0;
}

/* Elements of an array or fields of a row: split at the element delimiter; a blank text has none. */
static const char *store_nested(csv_decoder_t *c, rowstore_t *s, rcol_t *col, uint32_t i, const char *p, size_t n) {
    const char *sep = c->dialect.array_separator;
    size_t nsep = strlen(sep), blanks = 0;
    bool row = col->type->kind == TYPE_ROW;
    uint32_t off = row ? 0 : col->child[0].n;
    int k = 0;
    while (blanks < n && (uint8_t)p[blanks] <= ' ') blanks++;
    for (bool more = blanks < n; more; k++) {
        const char *end = nsep && n >= nsep ? memmem(p, n, sep, nsep) : NULL;
        size_t len = end ? (size_t)(end - p) : n;
        if (row && k == col->nchild) {
            if (!c->dialect.ignore_errors) return "has more fields than its ROW type";
            k++;
            break;
        }
        rcol_t *child = &col->child[row ? k : 0];
        const char *why = store_value(c, s, child, row ? i : rcol_append(s, child), p, len);
        if (why) return why;
        more = end != NULL;
        p += len + nsep;
        n -= MIN(n, len + nsep);
    }
    if (row && k != col->nchild && !c->dialect.ignore_errors) return "has fewer fields than its ROW type";
    for (; row && k < col->nchild; k++) rcol_null(&col->child[k], i);
    col->nulls[i] = 0;
    if (!row) col->span[i] = (span_t){off, col->child[0].n - off};
    return NULL;
}

/* As machines write them; false: the general readers say what it is. */
static bool quick_store(csv_decoder_t *c, rowstore_t *s, rcol_t *col, uint32_t i, const char *text, size_t n) {
    const uint8_t *p = (const uint8_t *)text, *end = p + n;
    int64_t v = 0;
    switch (col->type->kind) {
    case TYPE_CHAR:
    case TYPE_VARCHAR: {
        char *to = rowstore_bytes(s, n);
        if (!quick_copy(to, p, n) && !utf8_valid(p, n)) {
            rowstore_unused(s, n);
            return false;
        }
        col->str[i] = (str_t){to, (uint32_t)n, 0};
        break;
    }
    case TYPE_INT:
        if (quick_i64(p, end, true, &v) != end || v != (int32_t)v) return false;
        col->i32[i] = (int32_t)v;
        break;
    case TYPE_BIGINT:
        if (quick_i64(p, end, true, &v) != end) return false;
        col->i64[i] = v;
        break;
    case TYPE_DOUBLE:
        if (quick_f64(p, end, true, &col->f64[i]) != end) return false;
        break;
    case TYPE_TIMESTAMP:
        if (quick_instant(&c->date, col->type->precision, ' ', p, end, &v) != end) return false;
        col->i64[i] = v;
        break;
    default: return false;
    }
    col->nulls[i] = 0;
    return true;
}

static const char *store_value(csv_decoder_t *c, rowstore_t *s, rcol_t *col, uint32_t i, const char *p, size_t n) {
    const char *why;
    if (is_null_text(&c->dialect, p, n) && col->type->kind != TYPE_ARRAY) { /* of an array it is the one element, as in Flink */
        if (col->not_null) return "is NULL, and the column is NOT NULL";
        rcol_null(col, i);
        return NULL;
    }
    if (!c->general && quick_store(c, s, col, i, p, n)) return NULL;
    if (type_is_text(col->type)) {
        if (!utf8_valid((const uint8_t *)p, n)) {
            why = "is not valid UTF-8";
        } else {
            rcol_str(s, col, i, p, n);
            return NULL;
        }
    } else if (col->type->nchild) {
        why = store_nested(c, s, col, i, p, n);
    } else {
        why = scalar_store(s, col, i, &c->rules, SCALAR_STRING, p, n);
    }
    if (!why || !c->dialect.ignore_errors || col->not_null) return why;
    rcol_null(col, i);
    return NULL;
}

/* Characters from 1, as editors count them. */
static uint32_t character(slice_t record, uint32_t byte) { return text_length((str_t){(const char *)record.p, byte}) + 1; }

/* of value `at` of the record; what != NULL: it is there and reads so */
static err_t *value_error(const csv_decoder_t *c, slice_t record, int at, const rcol_t *col, const char *why, const char *what, size_t n) {
    AUTO(buf_free) buf_t text = buf_make(BUF_MAX_DEFAULT);
    buf_printf(&text, "CSV: value %d", at + 1);
    if (what) buf_printf(&text, ", character %u", character(record, c->values[at].at));
    buf_printf(&text, ": column '%s' (", col->name);
    type_print(&text, col->type);
    buf_puts(&text, ")");
    bool empty = what && !n;
    if (n > 24)
        for (n = 24; n && ((uint8_t)what[n] & 0xc0) == 0x80;) n--; /* not within a character */
    if (n && !utf8_valid((const uint8_t *)what, n)) n = 0;
    if (what) buf_printf(&text, ": '%.*s'", (int)n, n ? what : "");
    buf_printf(&text, " %s", why);
    if (empty && !c->dialect.null_literal && !col->not_null) buf_printf(&text, "; '%scsv.null-literal' = '' reads empty values as NULL", c->prefix);
    return err_new(ERR_DATA, "%s", buf_cstr(&text));
}

static err_t *store_record(decoder_t *d, csv_decoder_t *c, slice_t record, int n) {
    rowstore_t *s = &d->rows;
    if (n != c->nfields && !c->dialect.ignore_errors)
        return err_new(ERR_DATA, "CSV: the record has %d values, the table %d columns", n, c->nfields);
    if (n > c->nfields) return err_new(ERR_DATA, "CSV: the record has %d values, the table %d columns", n, c->nfields);
    uint32_t i = rowstore_begin(s);
    for (int k = 0; k < s->root.nchild; k++) {
        rcol_t *col = &s->root.child[k];
        int at = c->field_of[k];
        if (at >= n) {
            if (col->not_null) return value_error(c, record, at, col, "is missing, and the column is NOT NULL", NULL, 0);
            rcol_null(col, i);
            continue;
        }
        csv_value_t v = c->values[at];
        const char *p = v.p ? v.p : (const char *)c->text.data + v.off, *why = store_value(c, s, col, i, v.len ? p : "", v.len);
        if (why) return value_error(c, record, at, col, why, v.len ? p : "", v.len);
    }
    rowstore_end(s);
    return NULL;
}

static err_t *csv_decode(decoder_t *d, slice_t msg) {
    csv_decoder_t *c = d->self;
    if (msg.len && msg.p[msg.len - 1] == '\n') msg.len--;
    if (msg.len && msg.p[msg.len - 1] == '\r') msg.len--;
    if (msg.len == 0 || (c->dialect.comments && msg.p[0] == '#')) return NULL;
    csv_in_t in = {msg.p, msg.p, msg.p + msg.len, NULL};
    uint32_t before = d->rows.rows;
    int n = split_record(c, &in);
    err_t *e = n < 0 ? err_new(ERR_DATA, "CSV: character %u: %s", character(msg, (uint32_t)(in.p - in.start)), in.why) : store_record(d, c, msg, n);
    if (!e) return NULL;
    rowstore_rollback(&d->rows, before);
    if (!c->dialect.ignore_errors) return e;
    err_free(e);
    d->skipped++;
    return NULL;
}

/* ------------------------------------------------------------------ options */
static const char *const csv_options[] = {"field-delimiter", "disable-quote-character", "quote-character", "allow-comments",
                                          "ignore-parse-errors", "array-element-delimiter", "escape-character",
                                          "null-literal", "write-bigdecimal-in-scientific-notation", "dead-letter.topic", NULL};

/* One character; "\t" as two characters means the tab, as in Flink. */
static err_t *one_char(const format_config_t *c, const char *key, char absent, char *ret) {
    const char *v = format_option(c, key);
    *ret = absent;
    if (!v) return NULL;
    bool esc = v[0] == '\\' && v[1] && !v[2];
    if (esc) *ret = (char)unescaped((uint8_t)v[1]);
    else if (v[0] && !v[1]) *ret = v[0];
    else return err_new(ERR_INVALID, "option '%scsv.%s' = '%s': it is one character", c->prefix, key, v);
    return NULL;
}

err_t *csv_dialect_read(const format_config_t *c, csv_dialect_t *ret) {
    csv_dialect_t d = {0};
    bool no_quotes, scientific;
    TRY(one_char(c, "field-delimiter", ',', &d.separator));
    TRY(one_char(c, "quote-character", '"', &d.quote));
    TRY(one_char(c, "escape-character", 0, &d.escape));
    TRY(format_option_bool(c, "disable-quote-character", false, &no_quotes));
    TRY(format_option_bool(c, "allow-comments", false, &d.comments));
    TRY(format_option_bool(c, "ignore-parse-errors", false, &d.ignore_errors));
    TRY(format_option_bool(c, "write-bigdecimal-in-scientific-notation", true, &scientific));
    if (no_quotes && format_option(c, "quote-character"))
        return err_new(ERR_INVALID, "'%scsv.disable-quote-character' and '%scsv.quote-character' contradict each other",
                       c->prefix, c->prefix);
    if (no_quotes) d.quote = 0;
    d.plain_decimals = !scientific;
    const char *null = format_option(c, "null-literal"), *array = format_option(c, "array-element-delimiter");
    d.null_literal = null ? xstrdup(null) : NULL;
    d.null_len = null ? strlen(null) : 0;
    d.array_separator = xstrdup(array ? array : ";");
    *ret = d;
    return NULL;
}

void csv_dialect_free(csv_dialect_t *d) {
    free(d->null_literal);
    free(d->array_separator);
    *d = (csv_dialect_t){0};
}

static err_t *check_csv_type(const type_t *t, const char *column, bool nested) {
    bool container = t->kind == TYPE_ARRAY || t->kind == TYPE_ROW;
    if (t->kind == TYPE_MAP || t->kind == TYPE_MULTISET || t->kind == TYPE_NULL || t->kind == TYPE_SYMBOL ||
        (container && nested)) {
        buf_t text = buf_make(1024);
        type_print(&text, t);
        err_t *e = err_new(ERR_UNSUPPORTED, "column '%s': the csv format has no %s%s", column, buf_cstr(&text),
                           nested ? " inside an array or row" : "");
        buf_free(&text);
        return e;
    }
    for (int i = 0; i < t->nchild; i++) TRY(check_csv_type(t->child[i], column, true));
    return NULL;
}

static err_t *csv_check(const format_config_t *c, bool decode) {
    csv_dialect_t d;
    TRY(csv_dialect_read(c, &d));
    csv_dialect_free(&d);
    for (int i = 0; i < c->fields->n; i++) TRY(check_csv_type(c->fields->fields[i].type, c->fields->fields[i].name, false));
    return NULL;
}

static err_t *csv_decoder_open(decoder_t *d, const format_config_t *c) {
    csv_decoder_t *v = xcalloc(1, sizeof *v);
    d->self = v;
    v->rules.csv = true;
    v->prefix = c->prefix;
    v->nfields = c->fields->n;
    v->values = xcalloc((size_t)v->nfields + 1, sizeof *v->values);
    int n = d->rows.root.nchild;
    v->field_of = xcalloc((size_t)n + 1, sizeof *v->field_of);
    for (int k = 0; k < n; k++) v->field_of[k] = c->scan ? c->scan[k] : k;
    v->text = buf_make(BUF_MAX_DEFAULT);
    memset(v->date.text, 0xFF, sizeof v->date.text); /* no date */
    return csv_dialect_read(c, &v->dialect);
}

static void csv_decoder_close(decoder_t *d) {
    csv_decoder_t *v = d->self;
    csv_dialect_free(&v->dialect);
    buf_free(&v->text);
    free(v->field_of);
    free(v->values);
    free(v);
}

const format_ops_t format_csv = {
    .name = "csv",
    .options = csv_options,
    .check = csv_check,
    .decoder_open = csv_decoder_open,
    .decode = csv_decode,
    .frame = csv_frame,
    .decoder_close = csv_decoder_close,
    .encoder_open = csv_encoder_open,
    .encode = csv_encode,
    .encoder_close = csv_encoder_close,
};
