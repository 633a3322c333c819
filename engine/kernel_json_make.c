/* kernel_json_make.c: JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_QUOTE, JSON_UNQUOTE.
 *
 * Calls of JSON_OBJECT, JSON_ARRAY and JSON as values are JSON already; every other text is a JSON string. */
#include "common/base64.h"
#include "engine/func_int.h"
#include "engine/kernel_json_path.h"
#include "engine/number.h"
#include "engine/decimal.h"
#include "engine/rules.h"
#include "engine/text.h"
#include <math.h>
#include <stdlib.h>

static err_t *json_type_check(const binding_t *b, const type_t *t) {
    if (type_is_interval(t) || t->kind == TYPE_MULTISET) return bind_error(b, "values of this type have no JSON");
    if (t->kind == TYPE_MAP && !type_is_text(t->child[0])) return bind_error(b, "a map's keys must be texts to become JSON");
    for (int i = 0; i < t->nchild; i++) TRY(json_type_check(b, t->child[i]));
    return NULL;
}

static void put_f64(buf_t *out, double v) {
    char p[NUMBER_F64_MAX];
    size_t n = f64_print(p, v);
    if (isfinite(v)) json_put_number(out, p, n);
    else json_put_string(out, p, n);
}

static void put_scalar(buf_t *out, const column_t *c, uint32_t i) {
    char p[DECIMAL_TEXT_MAX];
    size_t n = 0;
    switch (c->type->kind) {
    case TYPE_BOOLEAN: buf_puts(out, c->b[i] ? "true" : "false"); return;
    case TYPE_FLOAT: put_f64(out, (double)c->f32[i]); return;
    case TYPE_DOUBLE: put_f64(out, c->f64[i]); return;
    case TYPE_DECIMAL: n = decimal_print(p, c->dec[i], c->type->scale); json_put_number(out, p, n); return;
    case TYPE_CHAR:
    case TYPE_VARCHAR: json_put_string(out, c->str[i].p, c->str[i].len); return;
    case TYPE_BINARY:
    case TYPE_VARBINARY:
        buf_put_u8(out, '"');
        base64_put(out, slice_of(c->str[i].p, c->str[i].len));
        buf_put_u8(out, '"');
        return;
    case TYPE_DATE: n = date_print(p, c->i32[i]); break;
    case TYPE_TIME: n = time_print_json(p, c->i32[i]); break;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: n = timestamp_print_json(p, c->i64[i], 'T', c->type->kind == TYPE_TIMESTAMP_LTZ); break;
    default: n = i64_print(p, column_int(c, i)); buf_put(out, p, n); return;
    }
    json_put_string(out, p, n);
}

static void put_value(buf_t *out, const column_t *c, uint32_t i) {
    const type_t *t = c->type;
    if (column_null(c, i)) {
        buf_puts(out, "null");
    } else if (t->kind == TYPE_ROW) {
        for (int k = 0; k < t->nchild; k++) {
            buf_put_u8(out, k ? ',' : '{');
            json_put_string(out, t->names[k], strlen(t->names[k]));
            buf_put_u8(out, ':');
            put_value(out, &c->child[k], i);
        }
        if (t->nchild == 0) buf_put_u8(out, '{');
        buf_put_u8(out, '}');
    } else if (t->kind == TYPE_ARRAY || t->kind == TYPE_MAP) {
        bool map = t->kind == TYPE_MAP;
        span_t s = c->span[i];
        buf_put_u8(out, map ? '{' : '[');
        for (uint32_t k = s.off; k < s.off + s.len; k++) {
            if (k > s.off) buf_put_u8(out, ',');
            if (map && column_null(&c->child[0], k)) buf_puts(out, "\"\"");
            else put_value(out, &c->child[0], k);
            if (!map) continue;
            buf_put_u8(out, ':');
            put_value(out, &c->child[1], k);
        }
        buf_put_u8(out, map ? '}' : ']');
    } else {
        put_scalar(out, c, i);
    }
}

err_t *json_too_long(const call_t *c) {
    return err_new(ERR_LIMIT, "%s: the result would be longer than %u MB", func_name(c->expr->func), JSON_RESULT_MAX >> 20);
}

/* ---- JSON_STRING(x) */
err_t *rule_json_string(binding_t *b) {
    TRY(json_type_check(b, b->args[0]->type));
    b->type = type_of(b, &type_string);
    return NULL;
}

err_t *kernel_json_string(call_t *c) {
    buf_t out = buf_make(JSON_RESULT_MAX);
    for (uint32_t i = 0; i < c->n && !out.overflow; i++) {
        if (row_null(c, i)) continue;
        buf_clear(&out);
        put_value(&out, &c->args[0], AT(c, 0, i));
        out_copy(c, i, out.data, out.len);
    }
    bool over = out.overflow;
    buf_free(&out);
    return over ? json_too_long(c) : NULL;
}

/* ---- JSON_OBJECT(NULL|ABSENT, key, value, ..), JSON_ARRAY(NULL|ABSENT, element, ..) */
static bool is_object(const func_t *f) { return strcmp(f->name, "JSON_OBJECT") == 0; }

static bool is_json(const expr_t *e) { return e->kind == EXPR_CALL && strcmp(func_name(e->func), "JSON") == 0; }

/* A call that is JSON stays visible as JSON(..), which is not folded: the kernel sees it in its arguments. */
static err_t *mark_json(binding_t *b, int k) {
    const expr_t *e = b->args[k];
    bool made = e->kind == EXPR_CALL && (strcmp(func_name(e->func), "JSON_OBJECT") == 0 || strcmp(func_name(e->func), "JSON_ARRAY") == 0);
    return made ? func_bind(b->a, "JSON", &b->args[k], 1, &b->args[k]) : NULL;
}

err_t *rule_json_make(binding_t *b) {
    bool object = is_object(b->func);
    if (b->nargs < 1 || !symbol_text(b->args[0])) return bind_error(b, "the clause for NULL is missing");
    if (object && b->nargs % 2 == 0) return bind_error(b, "keys and values must come in pairs");
    for (int k = 1; k < b->nargs; k++) {
        const type_t *t = b->args[k]->type;
        if (object && k % 2) {
            if (!type_is_text(t)) return bind_error(b, "a key is a text");
            continue;
        }
        if (t->kind == TYPE_SYMBOL) return bind_error(b, "a keyword is no value");
        TRY(json_type_check(b, t));
        TRY(mark_json(b, k));
    }
    b->type = type_nullable(b->a, &type_string, false);
    return NULL;
}

/* The text of a value that is JSON already: checked, keys sorted. */
static err_t *put_json(const call_t *c, buf_t *out, arena_t *a, str_t s) {
    json_t *v;
    arena_reset(a);
    err_t *e = json_parse(a, slice_of(s.p, s.len), &v);
    if (e) {
        err_free(e);
        return call_error(c, ERR_DATA, "JSON(..) of what is no JSON:", s);
    }
    json_put(a, out, v);
    return NULL;
}

typedef struct entry {
    str_t key;
    int arg;
} entry_t;

static int by_key(const void *x, const void *y) {
    const entry_t *a = x, *b = y;
    uint32_t n = MIN(a->key.len, b->key.len);
    int d = n ? memcmp(a->key.p, b->key.p, n) : 0;
    return d ? d : a->key.len != b->key.len ? (a->key.len < b->key.len ? -1 : 1) : a->arg - b->arg;
}

static err_t *make_row(call_t *c, uint32_t i, entry_t *entries, buf_t *out, arena_t *a) {
    bool object = is_object(c->expr->func), absent = strcmp(symbol_text(c->expr->args[0]), "ABSENT") == 0;
    int n = 0;
    for (int k = object ? 2 : 1; k < c->nargs; k += object ? 2 : 1) {
        if (object && arg_null(c, k - 1, i)) return err_new(ERR_DATA, "JSON_OBJECT: a key is NULL");
        if (absent && arg_null(c, k, i)) continue;
        entries[n++] = (entry_t){object ? arg_str(c, k - 1, i) : (str_t){0}, k};
    }
    if (object) qsort(entries, (size_t)n, sizeof *entries, by_key);
    buf_clear(out);
    buf_put_u8(out, object ? '{' : '[');
    bool first = true;
    for (int k = 0; k < n; k++) {
        str_t key = entries[k].key;
        bool again = object && k + 1 < n && key.len == entries[k + 1].key.len && (key.len == 0 || memcmp(key.p, entries[k + 1].key.p, key.len) == 0);
        if (again) continue; /* the last of equal keys stays */
        if (!first) buf_put_u8(out, ',');
        first = false;
        if (object) {
            json_put_string(out, key.p, key.len);
            buf_put_u8(out, ':');
        }
        int arg = entries[k].arg;
        if (!arg_null(c, arg, i) && is_json(c->expr->args[arg])) TRY(put_json(c, out, a, arg_str(c, arg, i)));
        else put_value(out, &c->args[arg], AT(c, arg, i));
    }
    buf_put_u8(out, object ? '}' : ']');
    if (out->overflow) return json_too_long(c);
    out_copy(c, i, out->data, out->len);
    return NULL;
}

err_t *kernel_json_make(call_t *c) {
    buf_t out = buf_make(JSON_RESULT_MAX);
    arena_t *a = arena_new();
    entry_t *entries = mem_alloc(c->m, sizeof *entries * (size_t)(c->nargs + 1));
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++) e = make_row(c, i, entries, &out, a);
    arena_free(a);
    buf_free(&out);
    return e;
}

/* ---- JSON_QUOTE, JSON_UNQUOTE */
static void put_escape(buf_t *out, uint32_t unit) {
    static const char hex[] = "0123456789abcdef";
    buf_puts(out, "\\u");
    for (int k = 12; k >= 0; k -= 4) buf_put_u8(out, (uint8_t)hex[unit >> k & 15]);
}

err_t *kernel_json_quote(call_t *c) {
    static const char from[] = "\"\\/\b\f\n\r\t", to[] = "\"\\/bfnrt";
    buf_t out = buf_make(JSON_RESULT_MAX);
    for (uint32_t i = 0; i < c->n && !out.overflow; i++) {
        if (row_null(c, i)) continue;
        str_t s = arg_str(c, 0, i);
        buf_clear(&out);
        buf_put_u8(&out, '"');
        for (uint32_t k = 0, len; k < s.len; k += len) {
            uint32_t cp = utf8_decode(s.p + k, s.len - k, &len);
            const char *at = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
            if (at) {
                buf_put_u8(&out, '\\');
                buf_put_u8(&out, (uint8_t)to[at - from]);
            } else if (cp >= 0x10000) {
                put_escape(&out, 0xd7c0 + (cp >> 10));
                put_escape(&out, 0xdc00 | (cp & 0x3ff));
            } else if (cp < 0x20 || cp >= 0x80) {
                put_escape(&out, cp);
            } else {
                buf_put_u8(&out, (uint8_t)cp);
            }
        }
        buf_put_u8(&out, '"');
        out_copy(c, i, out.data, out.len);
    }
    bool over = out.overflow;
    buf_free(&out);
    return over ? json_too_long(c) : NULL;
}

static int hex4(const char *p) {
    int v = 0;
    for (int k = 0; k < 4; k++) {
        char ch = p[k], low = (char)(ch | 32);
        int d = ch >= '0' && ch <= '9' ? ch - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (d < 0) return -1;
        v = v << 4 | d;
    }
    return v;
}

/* A text in quotes with its escapes resolved; false: it is none. */
static bool unquote(str_t s, char *p, size_t *ret_n) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s.len < 2 || s.p[0] != '"' || s.p[s.len - 1] != '"') return false;
    size_t n = 0;
    for (uint32_t k = 1, end = s.len - 1; k < end; k++) {
        if (s.p[k] != '\\') {
            p[n++] = s.p[k];
            continue;
        }
        if (++k == end) return false;
        const char *at = s.p[k] ? strchr(from, s.p[k]) : NULL;
        if (at) {
            p[n++] = to[at - from];
            continue;
        }
        int u = s.p[k] == 'u' && k + 4 < end ? hex4(s.p + k + 1) : -1;
        if (u < 0) return false;
        k += 4;
        if (u >= 0xd800 && u <= 0xdbff && k + 6 < end && s.p[k + 1] == '\\' && s.p[k + 2] == 'u') {
            int low = hex4(s.p + k + 3);
            if (low >= 0xdc00 && low <= 0xdfff) {
                u = 0x10000 + ((u & 0x3ff) << 10 | (low & 0x3ff));
                k += 6;
            }
        }
        n += utf8_encode(p + n, u >= 0xd800 && u <= 0xdfff ? '?' : (uint32_t)u);
    }
    *ret_n = n;
    return true;
}

err_t *kernel_json_unquote(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, s.len);
        size_t n;
        if (unquote(s, p, &n)) out_str(c, i, p, n);
        else c->out->str[i] = s;
    }
    return NULL;
}
