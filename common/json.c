#include "common/json.h"
#include <math.h>
#include <stdlib.h>

#define DEPTH_MAX 64

typedef struct parser {
    arena_t *a;
    const uint8_t *start, *p, *end;
    int depth;
} parser_t;

static err_t *fail(const parser_t *s, const char *what) {
    return err_new(ERR_DATA, "JSON: %s at byte %zu", what, (size_t)(s->p - s->start));
}

static void skip_space(parser_t *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r')) s->p++;
}

static bool hex4(parser_t *s, uint32_t *ret) {
    if (s->end - s->p < 4) return false;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = s->p[i];
        uint32_t d = c >= '0' && c <= '9' ? c - 48u : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10u : 99;
        if (d == 99) return false;
        v = v << 4 | d;
    }
    s->p += 4;
    *ret = v;
    return true;
}

static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static err_t *parse_escape(parser_t *s, char *out, size_t *n) {
    uint8_t c = s->p < s->end ? *s->p++ : 0;
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = c ? strchr(from, c) : NULL;
    if (at) return out[(*n)++] = to[at - from], NULL;
    uint32_t u, low;
    if (c != 'u' || !hex4(s, &u)) return fail(s, "bad escape");
    if (u >= 0xd800 && u < 0xdc00) {
        if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u') return fail(s, "lone surrogate");
        s->p += 2;
        if (!hex4(s, &low) || low < 0xdc00 || low > 0xdfff) return fail(s, "lone surrogate");
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
    } else if (u >= 0xdc00 && u < 0xe000) {
        return fail(s, "lone surrogate");
    }
    *n += put_utf8(out + *n, u);
    return NULL;
}

static err_t *parse_string(parser_t *s, const char **ret, size_t *ret_len) {
    const uint8_t *q = ++s->p; /* after the quote; the decoded text is never longer than the source */
    while (q < s->end && *q != '"') q += *q == '\\' ? 2 : 1;
    if (q >= s->end) return fail(s, "string without end");
    char *out = arena_alloc(s->a, (size_t)(q - s->p) + 1);
    size_t n = 0;
    while (*s->p != '"') {
        uint8_t c = *s->p++;
        if (c < 0x20) return fail(s, "control character in a string");
        if (c == '\\') TRY(parse_escape(s, out, &n));
        else out[n++] = (char)c;
        if (s->p >= s->end) return fail(s, "string without end");
    }
    s->p++;
    out[n] = 0;
    *ret = out;
    *ret_len = n;
    return NULL;
}

static err_t *parse_number(parser_t *s, json_t *v) {
    const uint8_t *from = s->p;
    if (s->p < s->end && *s->p == '-') s->p++;
    const uint8_t *digits = s->p;
    while (s->p < s->end && ((*s->p >= '0' && *s->p <= '9') || strchr(".eE+-", *s->p ? *s->p : 'x'))) s->p++;
    if (s->p == digits || *digits < '0' || *digits > '9') return fail(s, "unexpected character");
    v->kind = JSON_NUMBER;
    v->len = (size_t)(s->p - from);
    v->text = arena_strndup(s->a, (const char *)from, v->len);
    char *end;
    strtod(v->text, &end);
    return *end ? fail(s, "bad number") : NULL;
}

static err_t *parse_value(parser_t *s, json_t **ret);

static void add_item(parser_t *s, json_t *v, const char *name, json_t *item) {
    if ((v->n & (v->n - 1)) == 0) { /* grow at powers of two; the old array stays in the arena */
        size_t cap = v->n ? (size_t)v->n * 2 : 1;
        json_t **items = arena_alloc(s->a, cap * sizeof *items);
        const char **names = arena_alloc(s->a, cap * sizeof *names);
        if (v->n) memcpy(items, v->items, sizeof *items * (size_t)v->n);
        if (v->n) memcpy(names, v->names, sizeof *names * (size_t)v->n);
        v->items = items;
        v->names = names;
    }
    v->items[v->n] = item;
    v->names[v->n++] = name;
}

static err_t *parse_container(parser_t *s, json_t *v, bool object) {
    uint8_t close = object ? '}' : ']';
    v->kind = object ? JSON_OBJECT : JSON_ARRAY;
    if (++s->depth > DEPTH_MAX) return fail(s, "nested too deep");
    s->p++;
    skip_space(s);
    while (s->p < s->end && *s->p != close) {
        const char *name = NULL;
        size_t len;
        json_t *item;
        if (object) {
            if (*s->p != '"') return fail(s, "expected a name");
            TRY(parse_string(s, &name, &len));
            skip_space(s);
            if (s->p >= s->end || *s->p != ':') return fail(s, "expected ':'");
            s->p++;
        }
        TRY(parse_value(s, &item));
        add_item(s, v, name, item);
        skip_space(s);
        if (s->p < s->end && *s->p == ',') {
            s->p++;
            skip_space(s);
            if (s->p < s->end && *s->p == close) return fail(s, "expected a value after ','");
        } else if (s->p < s->end && *s->p != close) {
            return fail(s, "expected ',' or the end");
        }
    }
    if (s->p >= s->end) return fail(s, object ? "object without end" : "array without end");
    s->p++;
    s->depth--;
    return NULL;
}

static err_t *parse_word(parser_t *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return fail(s, "unexpected character");
    s->p += n;
    return NULL;
}

static err_t *parse_value(parser_t *s, json_t **ret) {
    skip_space(s);
    if (s->p >= s->end) return fail(s, "unexpected end");
    json_t *v = *ret = ARENA_NEW(s->a, json_t);
    switch (*s->p) {
    case '{': return parse_container(s, v, true);
    case '[': return parse_container(s, v, false);
    case '"': v->kind = JSON_STRING; return parse_string(s, &v->text, &v->len);
    case 't': v->kind = JSON_BOOL; v->boolean = true; return parse_word(s, "true");
    case 'f': v->kind = JSON_BOOL; return parse_word(s, "false");
    case 'n': return parse_word(s, "null");
    default: return parse_number(s, v);
    }
}

err_t *json_parse_first(arena_t *a, slice_t text, json_t **ret) {
    parser_t s = {a, text.p, text.p, text.p + text.len, 0};
    json_t *v;
    TRY(parse_value(&s, &v));
    if (s.p < s.end && v->kind == JSON_NUMBER && !strchr(" \t\r\n", *s.p ? *s.p : 'x')) return fail(&s, "text in the number");
    if (s.p < s.end && (v->kind == JSON_BOOL || v->kind == JSON_NULL) && *s.p >= '0' && *s.p != ']' && *s.p != '}') return fail(&s, "text in the word");
    *ret = v;
    return NULL;
}

err_t *json_parse(arena_t *a, slice_t text, json_t **ret) {
    parser_t s = {a, text.p, text.p, text.p + text.len, 0};
    json_t *v;
    TRY(parse_value(&s, &v));
    skip_space(&s);
    if (s.p != s.end) return fail(&s, "text after the value");
    *ret = v;
    return NULL;
}

const json_t *json_get(const json_t *object, const char *name) {
    if (!object || object->kind != JSON_OBJECT) return NULL;
    for (int i = object->n - 1; i >= 0; i--) /* the last of duplicates counts */
        if (strcmp(object->names[i], name) == 0) return object->items[i];
    return NULL;
}

const char *json_str(const json_t *object, const char *name, const char *absent) {
    const json_t *v = json_get(object, name);
    return v && v->kind == JSON_STRING ? v->text : absent;
}

int64_t json_i64(const json_t *object, const char *name, int64_t absent) {
    const json_t *v = json_get(object, name);
    if (!v || (v->kind != JSON_NUMBER && v->kind != JSON_STRING) || !v->len) return absent;
    char *end;
    /* unsigned 64-bit values come back as their bits */
    long long x = v->text[0] == '-' ? strtoll(v->text, &end, 10) : (long long)strtoull(v->text, &end, 10);
    return *end ? absent : x;
}

bool json_bool(const json_t *object, const char *name, bool absent) {
    const json_t *v = json_get(object, name);
    return v && v->kind == JSON_BOOL ? v->boolean : absent;
}

json_writer_t json_writer(buf_t *out) {
    json_writer_t w = {.out = out};
    w.first[0] = true;
    return w;
}

static void comma(json_writer_t *w) {
    if (w->after_name) {
        w->after_name = false;
        return;
    }
    if (!w->first[w->depth]) buf_put_u8(w->out, ',');
    w->first[w->depth] = false;
}

static void open_container(json_writer_t *w, uint8_t c) {
    comma(w);
    buf_put_u8(w->out, c);
    ASSERT(w->depth < DEPTH_MAX);
    w->first[++w->depth] = true;
}
static void close_container(json_writer_t *w, uint8_t c) {
    ASSERT(w->depth > 0);
    w->depth--;
    buf_put_u8(w->out, c);
}
void jw_object(json_writer_t *w) { open_container(w, '{'); }
void jw_end_object(json_writer_t *w) { close_container(w, '}'); }
void jw_array(json_writer_t *w) { open_container(w, '['); }
void jw_end_array(json_writer_t *w) { close_container(w, ']'); }

static void put_quoted(buf_t *out, const char *s, size_t n) {
    buf_put_u8(out, '"');
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s[i];
        if (c == '"' || c == '\\') {
            buf_put_u8(out, '\\');
            buf_put_u8(out, c);
        } else if (c == '\n') {
            buf_puts(out, "\\n");
        } else if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_put_u8(out, c);
        }
    }
    buf_put_u8(out, '"');
}

void jw_name(json_writer_t *w, const char *name) {
    comma(w);
    put_quoted(w->out, name, strlen(name));
    buf_put_u8(w->out, ':');
    w->after_name = true;
}
void jw_strn(json_writer_t *w, const char *s, size_t n) {
    comma(w);
    put_quoted(w->out, s, n);
}
void jw_null(json_writer_t *w) {
    comma(w);
    buf_puts(w->out, "null");
}
void jw_str(json_writer_t *w, const char *s) {
    if (s) jw_strn(w, s, strlen(s));
    else jw_null(w);
}
void jw_i64(json_writer_t *w, int64_t v) {
    comma(w);
    buf_printf(w->out, "%" PRId64, v);
}
void jw_u64(json_writer_t *w, uint64_t v) {
    comma(w);
    buf_printf(w->out, "%" PRIu64, v);
}
void jw_double(json_writer_t *w, double v) {
    if (!isfinite(v)) {
        jw_null(w);
        return;
    }
    comma(w);
    buf_printf(w->out, "%.17g", v);
}
void jw_bool(json_writer_t *w, bool v) {
    comma(w);
    buf_puts(w->out, v ? "true" : "false");
}
void jw_kv_str(json_writer_t *w, const char *name, const char *s) { jw_name(w, name); jw_str(w, s); }
void jw_kv_i64(json_writer_t *w, const char *name, int64_t v) { jw_name(w, name); jw_i64(w, v); }
void jw_kv_u64(json_writer_t *w, const char *name, uint64_t v) { jw_name(w, name); jw_u64(w, v); }
void jw_kv_double(json_writer_t *w, const char *name, double v) { jw_name(w, name); jw_double(w, v); }
void jw_kv_bool(json_writer_t *w, const char *name, bool v) { jw_name(w, name); jw_bool(w, v); }

void jw_kv_err(json_writer_t *w, const char *name, const err_t *e, const char *file) {
    if (!e) return;
    jw_name(w, name);
    jw_object(w);
    jw_kv_str(w, "code", err_code_name(err_code(e)));
    jw_kv_str(w, "text", err_text(e));
    if (err_line(e)) {
        if (file) jw_kv_str(w, "file", file);
        jw_kv_i64(w, "line", err_line(e));
        jw_kv_i64(w, "col", err_col(e));
    }
    if (err_hint_text(e)) jw_kv_str(w, "hint", err_hint_text(e));
    jw_end_object(w);
}
