/* kernel_json.c: JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS JSON.
 *
 * Paths: $ .name ['name'] [n] (negative from the end), and [*] .* which give lists. Without a mode a path is strict, as
 * in Flink: what is missing is then an error, and the ON ERROR clause speaks; in lax mode it is empty. Objects are
 * written with sorted keys, numbers as Java's BigDecimal writes them. */
#include "common/json.h"
#include "engine/decimal.h"
#include "engine/func_int.h"
#include "engine/number.h"
#include "engine/rules.h"
#include <stdlib.h>
#include <strings.h>

#define STEPS_MAX 32
typedef struct step {
    char kind; /* 'n' name, 'i' index, '*' all */
    char *name;
    int64_t index;
} step_t;

typedef struct json_state {
    char *text; /* of the path compiled */
    uint32_t len;
    bool lax, many;
    int n;
    step_t steps[STEPS_MAX];
    arena_t *arena; /* of one row's document */
} json_state_t;

static void path_clear(json_state_t *s) {
    for (int i = 0; i < s->n; i++) free(s->steps[i].name);
    free(s->text);
    s->text = NULL;
    s->n = 0;
}

void json_state_free(void *state) {
    json_state_t *s = state;
    if (!s) return;
    path_clear(s);
    arena_free(s->arena);
    free(s);
}

static err_t *path_error(const call_t *c, str_t path, err_code_t code) {
    return err_hint(call_error(c, code, code == ERR_UNSUPPORTED ? "not supported in the path" : "malformed path", path),
                    "use $, .name, ['name'], [n] and [*], with lax or strict before");
}

static bool name_char(char ch) { return !strchr(".[]'\"() ?@*,:", ch) && (unsigned char)ch > ' '; }

static err_t *path_steps(const call_t *c, json_state_t *s, str_t whole, const char *p, const char *end) {
    if (p == end || *p++ != '$') return path_error(c, whole, ERR_DATA);
    while (p < end && end[-1] == ' ') end--;
    while (p < end) {
        if (s->n == STEPS_MAX) return path_error(c, whole, ERR_UNSUPPORTED);
        step_t *st = &s->steps[s->n];
        *st = (step_t){0};
        const char *from;
        if (*p == '.') {
            from = ++p;
            if (p < end && *p == '*') {
                st->kind = '*';
                p++;
            } else {
                while (p < end && name_char(*p)) p++;
                if (p == from) return path_error(c, whole, p < end && *p == '.' ? ERR_UNSUPPORTED : ERR_DATA);
                st->kind = 'n';
                st->name = xstrndup(from, (size_t)(p - from));
            }
        } else if (*p == '[') {
            p++;
            if (p < end && (*p == '\'' || *p == '"')) {
                char quote = *p++;
                from = p;
                while (p < end && *p != quote) p++;
                if (p == end) return path_error(c, whole, ERR_DATA);
                st->kind = 'n';
                st->name = xstrndup(from, (size_t)(p - from));
                p++;
            } else if (p < end && *p == '*') {
                st->kind = '*';
                p++;
            } else {
                from = p;
                while (p < end && (*p == '-' || (*p >= '0' && *p <= '9'))) p++;
                if (!i64_parse(from, (size_t)(p - from), &st->index)) return path_error(c, whole, ERR_UNSUPPORTED);
                st->kind = 'i';
            }
            if (p == end || *p++ != ']') {
                free(st->name);
                return path_error(c, whole, ERR_UNSUPPORTED);
            }
        } else {
            return path_error(c, whole, ERR_DATA);
        }
        s->many |= st->kind == '*';
        s->n++;
    }
    return NULL;
}

static json_state_t *state_of(call_t *c) {
    json_state_t *s = *c->state;
    if (!s) {
        s = *c->state = xcalloc(1, sizeof *s);
        s->arena = arena_new();
    }
    return s;
}

static err_t *path_of(call_t *c, str_t path, json_state_t **ret) {
    json_state_t *s = *ret = state_of(c);
    if (s->text && s->len == path.len && (path.len == 0 || memcmp(s->text, path.p, path.len) == 0)) return NULL;
    path_clear(s);
    s->lax = s->many = false;
    const char *p = path.p, *end = path.p + path.len;
    while (p < end && *p == ' ') p++;
    if (end - p > 4 && strncasecmp(p, "lax ", 4) == 0) {
        s->lax = true;
        p += 4;
    } else if (end - p > 7 && strncasecmp(p, "strict ", 7) == 0) {
        p += 7;
    }
    while (p < end && *p == ' ') p++;
    err_t *e = path_steps(c, s, path, p, end);
    if (e) {
        path_clear(s);
        return e;
    }
    s->text = xstrndup(path.p ? path.p : "", path.len);
    s->len = path.len;
    return NULL;
}

/* ---- evaluation */
static bool parse_doc(json_state_t *s, str_t doc, json_t **ret) {
    arena_reset(s->arena);
    err_t *e = json_parse(s->arena, slice_of(doc.p, doc.len), ret);
    bool ok = e == NULL;
    err_free(e);
    return ok;
}

typedef enum found { FOUND, MISSING, BROKEN } found_t;

static json_t *list_new(arena_t *a) {
    json_t *l = ARENA_NEW(a, json_t);
    l->kind = JSON_ARRAY;
    return l;
}
static void list_add(arena_t *a, json_t *l, json_t *v) {
    if ((l->n & (l->n - 1)) == 0) {
        json_t **more = ARENA_ARRAY(a, json_t *, l->n ? l->n * 2 : 4);
        if (l->n) memcpy(more, l->items, sizeof *more * (size_t)l->n);
        l->items = more;
    }
    l->items[l->n++] = v;
}

static void walk(json_state_t *s, int at, json_t *v, json_t *out) {
    if (at == s->n) {
        list_add(s->arena, out, v);
        return;
    }
    const step_t *st = &s->steps[at];
    if (st->kind == '*') {
        if (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT)
            for (int i = 0; i < v->n; i++) walk(s, at + 1, v->items[i], out);
    } else if (st->kind == 'n') {
        const json_t *m = json_get(v, st->name);
        if (m) walk(s, at + 1, (json_t *)(uintptr_t)m, out);
    } else if (v->kind == JSON_ARRAY) {
        int64_t k = st->index < 0 ? st->index + v->n : st->index;
        if (k >= 0 && k < v->n) walk(s, at + 1, v->items[k], out);
    }
}

/* BROKEN: an error of the path or the document; MISSING: empty. A JSON null is MISSING too, as in Flink. */
static found_t lookup(json_state_t *s, str_t doc, json_t **ret) {
    json_t *root;
    if (!parse_doc(s, doc, &root)) return BROKEN;
    json_t *list = list_new(s->arena);
    walk(s, 0, root, list);
    if (s->many) {
        *ret = list;
        return FOUND;
    }
    if (list->n == 0) return s->lax ? MISSING : BROKEN;
    *ret = list->items[0];
    return (*ret)->kind == JSON_NULL ? MISSING : FOUND;
}

/* ---- writing */
static bool is_scalar(const json_t *v) { return v->kind != JSON_ARRAY && v->kind != JSON_OBJECT; }

/* As java.math.BigDecimal prints what it read. */
static void number_write(buf_t *out, const char *t, size_t n) {
    if (!memchr(t, '.', n) && !memchr(t, 'e', n) && !memchr(t, 'E', n)) {
        buf_put(out, t, n);
        return;
    }
    char digits[512];
    size_t nd = 0, i = 0;
    int64_t scale = 0, exp = 0;
    bool negative = n && t[0] == '-', point = false;
    for (i = negative; i < n && t[i] != 'e' && t[i] != 'E'; i++) {
        if (t[i] == '.') point = true;
        else if (nd < sizeof digits) {
            digits[nd++] = t[i];
            scale += point;
        }
    }
    if (i < n && !i64_parse(t + i + 1, n - i - 1, &exp)) exp = 0;
    scale -= exp;
    size_t zero = 0;
    while (zero + 1 < nd && digits[zero] == '0') zero++;
    const char *d = digits + zero;
    nd -= zero;
    int64_t adjusted = (int64_t)nd - 1 - scale;
    if (negative && !(nd == 1 && *d == '0')) buf_put_u8(out, '-');
    if (scale >= 0 && adjusted >= -6) {
        int64_t whole = (int64_t)nd - scale;
        if (whole <= 0) {
            buf_puts(out, "0.");
            for (int64_t k = whole; k < 0; k++) buf_put_u8(out, '0');
            buf_put(out, d, nd);
        } else {
            buf_put(out, d, (size_t)whole);
            if (scale) buf_put_u8(out, '.');
            buf_put(out, d + whole, nd - (size_t)whole);
        }
        return;
    }
    buf_put(out, d, 1);
    if (nd > 1) {
        buf_put_u8(out, '.');
        buf_put(out, d + 1, nd - 1);
    }
    if (adjusted) {
        char e[NUMBER_I64_MAX];
        buf_put_u8(out, 'E');
        if (adjusted > 0) buf_put_u8(out, '+');
        buf_put(out, e, i64_print(e, adjusted));
    }
}

static void string_write(buf_t *out, const char *s, size_t n) {
    static const char hex[] = "0123456789ABCDEF";
    buf_put_u8(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s[i];
        const char *esc = ch == '"' ? "\\\"" : ch == '\\' ? "\\\\" : ch == '\n' ? "\\n" : ch == '\r' ? "\\r"
                          : ch == '\t' ? "\\t" : ch == '\b' ? "\\b" : ch == '\f' ? "\\f" : NULL;
        if (esc) {
            buf_puts(out, esc);
        } else if (ch < 0x20) {
            buf_puts(out, "\\u00");
            buf_put_u8(out, (uint8_t)hex[ch >> 4]);
            buf_put_u8(out, (uint8_t)hex[ch & 15]);
        } else {
            buf_put_u8(out, ch);
        }
    }
    buf_put_u8(out, '"');
}

static int by_name(const void *a, const void *b, void *arg) {
    const json_t *o = arg;
    return strcmp(o->names[*(const int *)a], o->names[*(const int *)b]);
}

static void json_write(arena_t *a, buf_t *out, const json_t *v) {
    switch (v->kind) {
    case JSON_NULL: buf_puts(out, "null"); break;
    case JSON_BOOL: buf_puts(out, v->boolean ? "true" : "false"); break;
    case JSON_NUMBER: number_write(out, v->text, v->len); break;
    case JSON_STRING: string_write(out, v->text, v->len); break;
    case JSON_ARRAY:
        buf_put_u8(out, '[');
        for (int i = 0; i < v->n; i++) {
            if (i) buf_put_u8(out, ',');
            json_write(a, out, v->items[i]);
        }
        buf_put_u8(out, ']');
        break;
    case JSON_OBJECT: {
        int *order = ARENA_ARRAY(a, int, v->n + 1);
        for (int i = 0; i < v->n; i++) order[i] = i;
        qsort_r(order, (size_t)v->n, sizeof *order, by_name, (void *)(uintptr_t)v);
        buf_put_u8(out, '{');
        for (int i = 0; i < v->n; i++) {
            if (i) buf_put_u8(out, ',');
            string_write(out, v->names[order[i]], strlen(v->names[order[i]]));
            buf_put_u8(out, ':');
            json_write(a, out, v->items[order[i]]);
        }
        buf_put_u8(out, '}');
    }
    }
}

/* ---- the functions */
static char behaviour(const call_t *c, int k, char absent) {
    const char *s = k < c->nargs ? symbol_text(c->expr->args[k]) : NULL;
    if (!s || !*s) return absent;
    if (strcmp(s, "EMPTY OBJECT") == 0) return 'O';
    if (strcmp(s, "EMPTY ARRAY") == 0) return 'A';
    return *s; /* N(ULL), E(RROR), D(EFAULT), T(RUE), F(ALSE), U(NKNOWN) */
}

err_t *kernel_json_exists(call_t *c) {
    char on_error = behaviour(c, 2, 'F');
    for (uint32_t i = 0; i < c->n; i++) {
        if (arg_null(c, 0, i) || arg_null(c, 1, i)) {
            out_null(c, i);
            continue;
        }
        json_state_t *s;
        json_t *v;
        TRY(path_of(c, arg_str(c, 1, i), &s));
        found_t f = lookup(s, arg_str(c, 0, i), &v);
        if (f != BROKEN) c->out->b[i] = f == FOUND;
        else if (on_error == 'E') return call_error(c, ERR_DATA, "no such path or no JSON:", arg_str(c, 0, i));
        else if (on_error == 'U') out_null(c, i);
        else c->out->b[i] = on_error == 'T';
    }
    return NULL;
}

err_t *rule_json_exists(binding_t *b) {
    b->type = type_nullable(b->a, &type_boolean, true);
    return NULL;
}

/* JSON_VALUE arguments: document, path[, NULL of the result's type, on empty, its default, on error, its default] */
err_t *rule_json_value(binding_t *b) {
    const type_t *t = b->nargs > 2 ? b->args[2]->type : &type_string;
    if (b->nargs != 2 && b->nargs != 7) return bind_error(b, "the clauses are not complete");
    if (!type_is_text(t) && t->kind != TYPE_BOOLEAN && t->kind != TYPE_INT && t->kind != TYPE_BIGINT && t->kind != TYPE_DOUBLE)
        return bind_error(b, "RETURNING knows STRING, BOOLEAN, INTEGER, BIGINT and DOUBLE");
    t = type_nullable(b->a, t, true);
    if (b->nargs == 7)
        for (int k = 4; k < 7; k += 2) TRY(cast_bind(b->a, b->args[k], t, CAST_EXPLICIT, &b->args[k]));
    b->type = t;
    return NULL;
}

/* false: the value is not of the result's type */
static bool value_store(call_t *c, uint32_t i, const json_t *v, buf_t *out) {
    column_t *o = c->out;
    switch (c->expr->type->kind) {
    case TYPE_BOOLEAN: o->b[i] = v->boolean; return v->kind == JSON_BOOL;
    case TYPE_DOUBLE:
        return (v->kind == JSON_NUMBER || v->kind == JSON_STRING) && f64_parse(v->text, v->len, &o->f64[i]);
    case TYPE_INT:
    case TYPE_BIGINT: {
        int64_t x;
        if ((v->kind != JSON_NUMBER && v->kind != JSON_STRING) || !i64_parse(v->text, v->len, &x)) return false;
        if (c->expr->type->kind == TYPE_BIGINT) o->i64[i] = x;
        else if (x < INT32_MIN || x > INT32_MAX) return false;
        else o->i32[i] = (int32_t)x;
        return true;
    }
    default:
        buf_clear(out);
        if (v->kind == JSON_STRING) buf_put(out, v->text, v->len);
        else if (v->kind == JSON_NUMBER) number_write(out, v->text, v->len);
        else buf_puts(out, v->boolean ? "true" : "false");
        out_copy(c, i, out->data, out->len);
        return true;
    }
}

static err_t *json_default(call_t *c, uint32_t i, char how, int k, const char *what) {
    if (how == 'E') return call_error(c, ERR_DATA, what, arg_str(c, 0, i));
    if (how != 'D' || arg_null(c, k, i)) {
        out_null(c, i);
        return NULL;
    }
    size_t w = (size_t)type_width(c->expr->type);
    memcpy((char *)c->out->data + w * i, (char *)c->args[k].data + w * AT(c, k, i), w);
    return NULL;
}

static err_t *json_value_row(call_t *c, uint32_t i, buf_t *out) {
    json_state_t *s;
    json_t *v = NULL;
    TRY(path_of(c, arg_str(c, 1, i), &s));
    found_t f = lookup(s, arg_str(c, 0, i), &v);
    if (f == FOUND && !is_scalar(v)) f = s->lax ? MISSING : BROKEN;
    if (f == FOUND && !value_store(c, i, v, out)) f = BROKEN;
    if (f == MISSING) return json_default(c, i, behaviour(c, 3, 'N'), 4, "nothing at the path in");
    if (f == BROKEN) return json_default(c, i, behaviour(c, 5, 'N'), 6, "no scalar at the path in");
    return NULL;
}

err_t *kernel_json_value(call_t *c) {
    buf_t out = buf_make(64u << 20);
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++) {
        if (arg_null(c, 0, i) || arg_null(c, 1, i)) out_null(c, i);
        else e = json_value_row(c, i, &out);
    }
    buf_free(&out);
    return e;
}

/* JSON_QUERY arguments: document, path[, WITHOUT | CONDITIONAL | UNCONDITIONAL, on empty, on error] */
static err_t *json_query_row(call_t *c, uint32_t i, buf_t *out) {
    json_state_t *s;
    json_t *v = NULL;
    TRY(path_of(c, arg_str(c, 1, i), &s));
    found_t f = lookup(s, arg_str(c, 0, i), &v);
    char wrap = behaviour(c, 2, 'W');
    if (f == FOUND && (wrap == 'U' || (wrap == 'C' && v->kind != JSON_ARRAY))) {
        json_t *l = list_new(s->arena);
        list_add(s->arena, l, v);
        v = l;
    }
    if (f == FOUND && is_scalar(v)) f = s->lax ? MISSING : BROKEN;
    if (f == FOUND) {
        buf_clear(out);
        json_write(s->arena, out, v);
        out_copy(c, i, out->data, out->len);
        return NULL;
    }
    char how = behaviour(c, f == MISSING ? 3 : 4, 'N');
    if (how == 'E') return call_error(c, ERR_DATA, f == MISSING ? "nothing at the path in" : "no array or object at the path in", arg_str(c, 0, i));
    if (how == 'A') out_str(c, i, "[]", 2);
    else if (how == 'O') out_str(c, i, "{}", 2);
    else out_null(c, i);
    return NULL;
}

err_t *kernel_json_query(call_t *c) {
    buf_t out = buf_make(64u << 20);
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++) {
        if (arg_null(c, 0, i) || arg_null(c, 1, i)) out_null(c, i);
        else e = json_query_row(c, i, &out);
    }
    buf_free(&out);
    return e;
}

err_t *kernel_is_json(call_t *c) {
    const char *name = func_name(c->expr->func);
    const char *what = strlen(name) > 8 ? name + 8 : "VALUE";
    for (uint32_t i = 0; i < c->n; i++) {
        json_t *v;
        bool ok = !arg_null(c, 0, i) && parse_doc(state_of(c), arg_str(c, 0, i), &v);
        if (ok && strcmp(what, "OBJECT") == 0) ok = v->kind == JSON_OBJECT;
        else if (ok && strcmp(what, "ARRAY") == 0) ok = v->kind == JSON_ARRAY;
        else if (ok && strcmp(what, "SCALAR") == 0) ok = is_scalar(v);
        c->out->b[i] = ok;
    }
    return NULL;
}
