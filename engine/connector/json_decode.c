/* json_decode.c: the strict general JSON parser, straight into columns.
 *
 * Reads what RFC 8259 allows (and unescaped control characters in strings, as Flink does) and converts values by the
 * rules of Flink's json format: numbers and booleans may be strings, strings may be anything (objects and arrays keep
 * their text), a duplicate key's last value wins, unknown keys are skipped. Containers nest at most JSON_DEPTH_MAX deep.
 * A message is one object, or an array of objects: so many rows. An empty message has none. */
#include "engine/connector/json_int.h"
#include "common/map.h"
#include "engine/number.h"
#include <stdio.h>
#include <stdlib.h>

bool json_fail(json_in_t *in, bool fatal, const uint8_t *at, const char *why) {
    in->fatal = fatal;
    in->at = at;
    in->why = why;
    return false;
}

void json_ws(json_in_t *in) {
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\n' || *in->p == '\t' || *in->p == '\r')) in->p++;
}

static bool truncated(json_in_t *in) { return json_fail(in, true, in->end, "unexpected end of the text"); }

/* ------------------------------------------------------------------ tokens */
static int hex4(const uint8_t *p) {
    int v = 0;
    for (int k = 0; k < 4; k++) {
        uint8_t c = p[k];
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0) return -1;
        v = v << 4 | d;
    }
    return v;
}

bool json_lex_string(json_in_t *in, slice_t *ret_raw, bool *ret_escaped) {
    const uint8_t *p = in->p + 1, *end = in->end;
    bool escaped = false;
    for (;; p++) {
        p = json_special(p, end);
        if (p == end) return truncated(in);
        if (*p == '"') break;
        escaped = true;
        if (++p == end) return truncated(in);
        if (*p == 'u') {
            if (end - p < 5) return truncated(in);
            if (hex4(p + 1) < 0) return json_fail(in, true, p - 1, "bad \\u escape");
            p += 4;
        } else if (!strchr("\"\\/bfnrt", *p) || !*p) {
            return json_fail(in, true, p - 1, "unknown escape in a string");
        }
    }
    *ret_raw = slice_of(in->p + 1, (size_t)(p - in->p - 1));
    *ret_escaped = escaped;
    in->p = p + 1;
    return true;
}

bool json_skip_string(json_in_t *in) {
    slice_t raw;
    bool escaped;
    return json_lex_string(in, &raw, &escaped);
}

static void put_utf8(buf_t *out, uint32_t c) {
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(out, (uint8_t)(0xC0 | c >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        buf_put_u8(out, (uint8_t)(0xE0 | c >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else {
        buf_put_u8(out, (uint8_t)(0xF0 | c >> 18));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 12 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    }
}

/* raw was checked by json_lex_string. A surrogate without its partner becomes '?', as when Java encodes it. */
static void unescape(slice_t raw, buf_t *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const uint8_t *p = raw.p, *end = raw.p + raw.len;
    buf_clear(out);
    while (p < end) {
        const uint8_t *q = memchr(p, '\\', (size_t)(end - p));
        buf_put(out, p, (size_t)((q ? q : end) - p));
        if (!q) break;
        p = q + 2;
        if (q[1] != 'u') {
            buf_put_u8(out, (uint8_t)to[strchr(from, q[1]) - from]);
            continue;
        }
        uint32_t c = (uint32_t)hex4(q + 2);
        p = q + 6;
        if (c >= 0xD800 && c < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
            uint32_t low = (uint32_t)hex4(p + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                p += 6;
            }
        }
        put_utf8(out, c >= 0xD800 && c < 0xE000 ? '?' : c);
    }
}

bool json_text(json_in_t *in, slice_t *ret) {
    const uint8_t *at = in->p;
    slice_t raw;
    bool escaped;
    if (!json_lex_string(in, &raw, &escaped)) return false;
    if (!utf8_valid(raw.p, raw.len)) return json_fail(in, true, at, "string is not valid UTF-8");
    if (escaped) {
        unescape(raw, &in->j->scratch);
        if (in->j->scratch.overflow) return json_fail(in, true, at, "string is too long");
        raw = buf_slice(&in->j->scratch);
    }
    *ret = raw;
    return true;
}

static bool lex_number(json_in_t *in, slice_t *ret, bool *ret_float) {
    const uint8_t *p = in->p, *end = in->end;
#define DIGITS()                                                                                   \
    if (p == end) return truncated(in);                                                            \
    if (*p < '0' || *p > '9') return json_fail(in, true, p, "malformed number");                   \
    while (p < end && *p >= '0' && *p <= '9') p++
    if (*p == '-') p++;
    const uint8_t *first = p;
    *ret_float = false;
    DIGITS();
    if (*first == '0' && p - first > 1) return json_fail(in, true, first, "number with a leading zero");
    if (p < end && *p == '.') {
        *ret_float = true;
        p++;
        DIGITS();
    }
    if (p < end && (*p | 32) == 'e') {
        *ret_float = true;
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        DIGITS();
    }
#undef DIGITS
    *ret = slice_of(in->p, (size_t)(p - in->p));
    in->p = p;
    return true;
}

static bool lex_word(json_in_t *in, const char *word) {
    size_t n = strlen(word), left = (size_t)(in->end - in->p);
    if (left < n) return memcmp(in->p, word, left) == 0 ? truncated(in) : json_fail(in, true, in->p, "unknown word");
    if (memcmp(in->p, word, n) != 0) return json_fail(in, true, in->p, "unknown word");
    in->p += n;
    return true;
}

/* ------------------------------------------------------------------ values that are not stored */
static bool enter(json_in_t *in) {
    if (++in->depth > JSON_DEPTH_MAX) return json_fail(in, true, in->p, "nested too deeply (more than 100 levels)");
    in->p++;
    json_ws(in);
    return true;
}

/* After a member: true when there is another one (in->p at it), *ret_end when the container was closed. */
static bool next_member(json_in_t *in, uint8_t close, bool *ret_end) {
    json_ws(in);
    if (in->p == in->end) return truncated(in);
    *ret_end = *in->p == close;
    if (!*ret_end && *in->p != ',')
        return json_fail(in, true, in->p, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    in->p++;
    if (*ret_end) {
        in->depth--;
        return true;
    }
    json_ws(in);
    return in->p == in->end ? truncated(in) : true;
}

static bool empty_container(json_in_t *in, uint8_t close) {
    if (in->p == in->end || *in->p != close) return false;
    in->p++;
    in->depth--;
    return true;
}

static bool lex_colon(json_in_t *in) {
    json_ws(in);
    if (in->p == in->end) return truncated(in);
    if (*in->p != ':') return json_fail(in, true, in->p, "expected ':'");
    in->p++;
    json_ws(in);
    return true;
}

static bool at_key(json_in_t *in) {
    if (in->p == in->end) return truncated(in);
    return *in->p == '"' ? true : json_fail(in, true, in->p, "expected a field name in quotes");
}

bool json_skip_value(json_in_t *in) {
    if (in->p == in->end) return truncated(in);
    slice_t raw;
    bool flag, end = false;
    switch (*in->p) {
    case '"': return json_lex_string(in, &raw, &flag);
    case 't': return lex_word(in, "true");
    case 'f': return lex_word(in, "false");
    case 'n': return lex_word(in, "null");
    case '{':
        if (!enter(in)) return false;
        if (empty_container(in, '}')) return true;
        while (!end)
            if (!at_key(in) || !json_lex_string(in, &raw, &flag) || !lex_colon(in) || !json_skip_value(in) ||
                !next_member(in, '}', &end))
                return false;
        return true;
    case '[':
        if (!enter(in)) return false;
        if (empty_container(in, ']')) return true;
        while (!end)
            if (!json_skip_value(in) || !next_member(in, ']', &end)) return false;
        return true;
    default:
        if (*in->p != '-' && (*in->p < '0' || *in->p > '9')) return json_fail(in, true, in->p, "expected a value");
        return lex_number(in, &raw, &flag);
    }
}

/* Text of a checked container as Jackson prints its tree: no blanks; numbers with a fraction or exponent as Double.toString. */
static void compact(slice_t raw, buf_t *out) {
    const uint8_t *p = raw.p, *end = raw.p + raw.len;
    buf_clear(out);
    while (p < end) {
        const uint8_t *q = p;
        if (*p == '"') {
            for (q++; *q != '"'; q++)
                if (*q == '\\') q++;
            buf_put(out, p, (size_t)(++q - p));
        } else if (*p == '-' || (*p >= '0' && *p <= '9')) {
            bool fraction = false;
            for (; q < end && strchr("+-.eE0123456789", *q) && *q; q++) fraction |= *q == '.' || (*q | 32) == 'e';
            char text[NUMBER_F64_MAX];
            double v;
            if (fraction && f64_parse((const char *)p, (size_t)(q - p), &v)) buf_put(out, text, f64_print(text, v));
            else buf_put(out, p, (size_t)(q - p));
        } else {
            if (*p != ' ' && *p != '\n' && *p != '\t' && *p != '\r') buf_put_u8(out, *p);
            q++;
        }
        p = q;
    }
}

/* ------------------------------------------------------------------ values that are stored */
static bool store_text(json_in_t *in, rcol_t *c, uint32_t i) {
    slice_t text;
    const uint8_t *at = in->p;
    bool flag;
    if (*at == '"') {
        if (!json_text(in, &text)) return false;
    } else if (*at == '{' || *at == '[') {
        if (!json_skip_value(in)) return false;
        text = slice_of(at, (size_t)(in->p - at));
        if (!utf8_valid(text.p, text.len)) return json_fail(in, true, at, "string is not valid UTF-8");
        compact(text, &in->j->scratch);
        text = buf_slice(&in->j->scratch);
    } else if (*at == 't' || *at == 'f') {
        if (!lex_word(in, *at == 't' ? "true" : "false")) return false;
        text = slice_of(at, (size_t)(in->p - at));
    } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
        if (!lex_number(in, &text, &flag)) return false;
    } else {
        return json_fail(in, true, at, "expected a value");
    }
    rcol_str(in->rows, c, i, text.p, text.len);
    return true;
}

static bool store_scalar(json_in_t *in, rcol_t *c, uint32_t i) {
    const uint8_t *at = in->p;
    slice_t text;
    bool flag = false;
    scalar_token_t token;
    if (*at == '"') {
        token = SCALAR_STRING;
        if (!json_text(in, &text)) return false;
    } else if (*at == 't' || *at == 'f') {
        token = SCALAR_BOOL;
        if (!lex_word(in, *at == 't' ? "true" : "false")) return false;
        text = slice_of(at, (size_t)(in->p - at));
    } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
        if (!lex_number(in, &text, &flag)) return false;
        token = flag ? SCALAR_FLOAT : SCALAR_INT;
    } else if (*at == '{' || *at == '[') {
        if (!json_skip_value(in)) return false;
        return json_fail(in, false, at, "is an object or array where a plain value was expected");
    } else {
        return json_fail(in, true, at, "expected a value");
    }
    if (in->j->zero_to_null && token == SCALAR_STRING && type_is_timestamp(c->type) && text.len >= 10 &&
        memcmp(text.p, "0000-00-00", 10) == 0) {
        rcol_null(c, i);
        return true;
    }
    const char *why = scalar_store(in->rows, c, i, &in->j->rules, token, (const char *)text.p, text.len);
    return why ? json_fail(in, false, at, why) : true;
}

static bool store_array(json_in_t *in, rcol_t *c, uint32_t i) {
    if (*in->p != '[') return json_fail(in, false, in->p, "is not an array");
    rcol_t *child = &c->child[0];
    if (!enter(in)) return false;
    uint32_t off = child->n;
    bool end = empty_container(in, ']');
    while (!end) {
        uint32_t at = rcol_append(in->rows, child);
        if (!json_value(in, child, at) || !next_member(in, ']', &end)) return false;
    }
    c->nulls[i] = 0;
    c->span[i] = (span_t){off, child->n - off};
    return true;
}

/* A key seen before in this map: its entry is overwritten. Small maps are searched, larger ones get an index, so that
 * hostile input cannot make this quadratic. */
#define MAP_SEARCH_MAX 32

static uint32_t map_entry(json_in_t *in, rcol_t *c, uint32_t off, slice_t key, map_t **index) {
    rcol_t *k = &c->child[0];
    if (k->n - off >= MAP_SEARCH_MAX && !*index) {
        *index = map_new();
        for (uint32_t e = off; e < k->n; e++)
            map_put(*index, slice_of(k->str[e].p, k->str[e].len), (void *)(uintptr_t)(e - off + 1));
    }
    if (*index) {
        void *found = map_get(*index, key);
        if (found) return off + (uint32_t)(uintptr_t)found - 1;
    } else {
        for (uint32_t e = off; e < k->n; e++)
            if (k->str[e].len == key.len && memcmp(k->str[e].p, key.p, key.len) == 0) return e;
    }
    uint32_t e = rcol_append(in->rows, k), v = rcol_append(in->rows, &c->child[1]);
    ASSERT(e == v);
    rcol_str(in->rows, k, e, key.p, key.len);
    if (*index) map_put(*index, key, (void *)(uintptr_t)(e - off + 1));
    return e;
}

static bool map_entries(json_in_t *in, rcol_t *c, uint32_t off, map_t **index) {
    bool end = empty_container(in, '}');
    while (!end) {
        slice_t key;
        if (!at_key(in) || !json_text(in, &key)) return false;
        uint32_t at = map_entry(in, c, off, key, index);
        if (!lex_colon(in) || !json_value(in, &c->child[1], at) || !next_member(in, '}', &end)) return false;
    }
    return true;
}

static bool store_map(json_in_t *in, rcol_t *c, uint32_t i) {
    if (*in->p != '{') return json_fail(in, false, in->p, "is not an object");
    if (!enter(in)) return false;
    uint32_t off = c->child[0].n;
    map_t *index = NULL;
    bool ok = map_entries(in, c, off, &index);
    map_free(index, NULL);
    if (!ok) return false;
    c->nulls[i] = 0;
    c->span[i] = (span_t){off, c->child[0].n - off};
    return true;
}

rcol_t *json_field(rcol_t *row, int *hint, slice_t name) {
    int n = row->nchild, at = *hint < n ? *hint : 0;
    for (int k = 0; k < n; k++) {
        rcol_t *c = &row->child[at];
        if (++at == n) at = 0;
        if (c->key_len == name.len && memcmp(c->key, name.p, name.len) == 0) {
            *hint = at;
            return c;
        }
    }
    return NULL;
}

bool json_missing(json_in_t *in, rcol_t *child, uint32_t i) {
    in->col = child;
    if (in->j->fail_on_missing) return json_fail(in, true, in->p, "is missing in the JSON object");
    if (child->not_null) return json_fail(in, true, in->p, "is missing, and the column is NOT NULL");
    rcol_null(child, i);
    return true;
}

static bool store_row(json_in_t *in, rcol_t *c, uint32_t i) {
    if (*in->p != '{') return json_fail(in, false, in->p, "is not an object");
    if (!enter(in)) return false;
    uint64_t generation = ++in->rows->generation;
    int hint = 0;
    bool end = empty_container(in, '}');
    while (!end) {
        slice_t key;
        if (!at_key(in) || !json_text(in, &key)) return false;
        rcol_t *child = json_field(c, &hint, key);
        if (!lex_colon(in)) return false;
        if (child) child->seen = generation;
        if (!(child ? json_value(in, child, i) : json_skip_value(in)) || !next_member(in, '}', &end)) return false;
    }
    for (int k = 0; k < c->nchild; k++)
        if (c->child[k].seen != generation && !json_missing(in, &c->child[k], i)) return false;
    if (c != &in->rows->root) c->nulls[i] = 0;
    return true;
}

static bool store_value(json_in_t *in, rcol_t *c, uint32_t i) {
    switch (c->type->kind) {
    case TYPE_CHAR:
    case TYPE_VARCHAR: return store_text(in, c, i);
    case TYPE_ARRAY: return store_array(in, c, i);
    case TYPE_MAP:
    case TYPE_MULTISET: return store_map(in, c, i);
    case TYPE_ROW: return store_row(in, c, i);
    default: return store_scalar(in, c, i);
    }
}

bool json_value(json_in_t *in, rcol_t *c, uint32_t i) {
    if (in->p == in->end) return truncated(in);
    const uint8_t *at = in->p;
    if (*at == 'n') {
        if (!lex_word(in, "null")) return false;
        if (c->not_null) {
            in->col = c;
            return json_fail(in, true, at, "is null, and the column is NOT NULL");
        }
        rcol_null(c, i);
        return true;
    }
    int depth = in->depth;
    if (LIKELY(store_value(in, c, i))) return true;
    if (!in->col) in->col = c;
    if (in->fatal || !in->j->ignore_errors || c->not_null) return false;
    in->p = at; /* the field becomes NULL, the text after it must still be right */
    in->depth = depth;
    in->col = NULL;
    in->skipped++;
    if (!json_skip_value(in)) return false;
    rcol_null(c, i);
    return true;
}

/* ------------------------------------------------------------------ messages */
static bool one_row(json_in_t *in) {
    uint32_t i = rowstore_begin(in->rows);
    if (*in->p != '{') return json_fail(in, true, in->p, "the record is not a JSON object");
    if (!store_row(in, &in->rows->root, i)) return false;
    rowstore_end(in->rows);
    return true;
}

static bool all_rows(json_in_t *in) {
    json_ws(in);
    if (in->p == in->end) return truncated(in);
    bool end = false;
    if (*in->p == '[') {
        if (!enter(in)) return false;
        end = empty_container(in, ']');
        while (!end)
            if (!one_row(in) || !next_member(in, ']', &end)) return false;
    } else if (!one_row(in)) {
        return false;
    }
    json_ws(in);
    return in->p == in->end ? true : json_fail(in, true, in->p, "more text behind the JSON value");
}

static err_t *record_error(const json_in_t *in) {
    const uint8_t *at = in->at;
    int n = in->end - at > 24 ? 24 : (int)(in->end - at);
    for (int k = 0; k < n; k++)
        if (at[k] < 0x20) n = k;
    while (n > 0 && n < in->end - at && (at[n] & 0xC0) == 0x80) n--; /* no half character */
    char near[40] = "";
    if (n > 0 && utf8_valid(at, (size_t)n)) snprintf(near, sizeof near, " near '%.*s'", n, (const char *)at);
    size_t byte = (size_t)(at - in->start);
    if (!in->col || !in->col->name[0]) return err_new(ERR_DATA, "JSON: byte %zu: %s%s", byte, in->why, near);
    buf_t type = buf_make(256);
    type_print(&type, in->col->type);
    err_t *e = err_new(ERR_DATA, "JSON: byte %zu: field '%s' (%s) %s%s%s", byte, in->col->name, buf_cstr(&type),
                       in->fatal && strncmp(in->why, "is ", 3) != 0 ? "cannot be read: " : "", in->why, near);
    buf_free(&type);
    return e;
}

static err_t *json_decode(decoder_t *d, slice_t msg) {
    json_decoder_t *j = d->self;
    if (msg.len == 0) return NULL;
    json_in_t in = {.j = j, .rows = &d->rows, .start = msg.p, .p = msg.p, .end = msg.p + msg.len};
    if (LIKELY(!j->templates_off && json_template_row(&in))) return NULL;
    uint32_t before = d->rows.rows;
    in.p = msg.p;
    if (all_rows(&in)) {
        d->skipped += in.skipped;
        if (!j->templates_off && in.skipped == 0 && d->rows.rows == before + 1) json_template_learn(&in, msg);
        return NULL;
    }
    rowstore_rollback(&d->rows, before);
    if (j->ignore_errors) {
        d->skipped++;
        return NULL;
    }
    return record_error(&in);
}

/* ------------------------------------------------------------------ options */
static const char *const json_options[] = {"fail-on-missing-field",   "ignore-parse-errors",
                                           "timestamp-format.standard", "map-null-key.mode",
                                           "map-null-key.literal",    "encode.decimal-as-plain-number",
                                           "encode.ignore-null-fields", "decode.json-parser.enabled",
                                           "zero-timestamp.behavior", "dead-letter.topic", NULL};

static err_t *check_type(const type_t *t, const char *column) {
    if (t->kind == TYPE_MAP && !type_is_text(t->child[0]))
        return err_new(ERR_UNSUPPORTED, "column '%s': JSON maps have string keys only", column);
    if (t->kind == TYPE_MULTISET && !type_is_text(t->child[0]))
        return err_new(ERR_UNSUPPORTED, "column '%s': JSON multisets have string elements only", column);
    if (t->kind == TYPE_NULL || t->kind == TYPE_SYMBOL)
        return err_new(ERR_UNSUPPORTED, "column '%s': a type the json format does not know", column);
    for (int i = 0; i < t->nchild; i++) TRY(check_type(t->child[i], column));
    return NULL;
}

static err_t *one_of(const format_config_t *c, const char *key, const char *const *values) {
    const char *v = format_option(c, key);
    if (!v) return NULL;
    buf_t known = buf_make(1024);
    for (int i = 0; values[i]; i++) {
        if (strcmp(values[i], v) == 0) {
            buf_free(&known);
            return NULL;
        }
        buf_printf(&known, "%s'%s'", i ? ", " : "", values[i]);
    }
    err_t *e = err_new(ERR_INVALID, "option '%sjson.%s' = '%s': it is one of %s", c->prefix, key, v, buf_cstr(&known));
    buf_free(&known);
    return e;
}

static err_t *json_check(const format_config_t *c, bool decode) {
    bool flag, ignore, missing;
    TRY(format_option_bool(c, "ignore-parse-errors", false, &ignore));
    TRY(format_option_bool(c, "fail-on-missing-field", false, &missing));
    TRY(format_option_bool(c, "encode.decimal-as-plain-number", false, &flag));
    TRY(format_option_bool(c, "encode.ignore-null-fields", false, &flag));
    TRY(format_option_bool(c, "decode.json-parser.enabled", true, &flag));
    if (ignore && missing)
        return err_new(ERR_INVALID, "'%sjson.fail-on-missing-field' and '%sjson.ignore-parse-errors' contradict each other",
                       c->prefix, c->prefix);
    TRY(one_of(c, "timestamp-format.standard", (const char *const[]){"SQL", "ISO-8601", NULL}));
    TRY(one_of(c, "map-null-key.mode", (const char *const[]){"FAIL", "DROP", "LITERAL", NULL}));
    TRY(one_of(c, "zero-timestamp.behavior", (const char *const[]){"FAIL", "CONVERT_TO_NULL", NULL}));
    for (int i = 0; i < c->fields->n; i++) TRY(check_type(c->fields->fields[i].type, c->fields->fields[i].name));
    return NULL;
}

static err_t *json_decoder_open(decoder_t *d, const format_config_t *c) {
    json_decoder_t *j = xcalloc(1, sizeof *j);
    j->scratch = buf_make(BUF_MAX_DEFAULT);
    memset(j->date.text, 0xFF, sizeof j->date.text); /* no date: a string may hold ten zero bytes, but nothing that is not UTF-8 */
    d->self = j;
    const char *standard = format_option(c, "timestamp-format.standard"), *zero = format_option(c, "zero-timestamp.behavior");
    j->rules.iso = standard && strcmp(standard, "ISO-8601") == 0;
    j->zero_to_null = zero && strcmp(zero, "CONVERT_TO_NULL") == 0;
    TRY(format_option_bool(c, "ignore-parse-errors", false, &j->ignore_errors));
    return format_option_bool(c, "fail-on-missing-field", false, &j->fail_on_missing);
}

static void json_decoder_close(decoder_t *d) {
    json_decoder_t *j = d->self;
    json_templates_free(j);
    buf_free(&j->scratch);
    free(j);
}

const format_ops_t format_json = {
    .name = "json",
    .options = json_options,
    .narrows = true,
    .check = json_check,
    .decoder_open = json_decoder_open,
    .decode = json_decode,
    .decoder_close = json_decoder_close,
    .encoder_open = json_encoder_open,
    .encode = json_encode,
    .encoder_close = json_encoder_close,
};
