/* kernel_json.c: JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS JSON.
 *
 * Paths: $ .name ['name', ..] [n, ..] [from:to] (negative from the end), [*] .* and .. which give lists, length() at the
 * end. Without a mode a path is strict, as in Flink: what is missing is then an error, and the ON ERROR clause speaks;
 * behind the first step that gives a list, or in lax mode, it is empty. Objects are written with sorted keys, numbers as
 * Java's BigDecimal writes them. */
#include "common/json.h"
#include "engine/decimal.h"
#include "engine/func_int.h"
#include "engine/kernel_json.h"
#include "engine/number.h"
#include "engine/rules.h"
#include <stdlib.h>
#include <strings.h>

#define STEPS_MAX 32
typedef enum step_kind { STEP_NAMES, STEP_INDEXES, STEP_ALL, STEP_SLICE, STEP_LENGTH } step_kind_t;
typedef struct step {
    step_kind_t kind;
    bool deep; /* applies to all below: .. */
    int n;
    const char **names;
    int64_t *index; /* STEP_SLICE: from and to */
} step_t;

typedef struct json_state {
    char *text; /* of the path compiled */
    uint32_t len;
    bool lax, many;
    int n, definite; /* steps; those before the first that gives a list */
    step_t steps[STEPS_MAX];
    arena_t *path;  /* of the steps */
    arena_t *arena; /* of one row's document */
} json_state_t;

static void path_clear(json_state_t *s) {
    free(s->text);
    s->text = NULL;
    s->n = 0;
    arena_reset(s->path);
}

void json_state_free(void *state) {
    json_state_t *s = state;
    if (!s) return;
    path_clear(s);
    arena_free(s->path);
    arena_free(s->arena);
    free(s);
}

static err_t *path_error(const call_t *c, str_t path, err_code_t code) {
    return err_hint(call_error(c, code, code == ERR_UNSUPPORTED ? "not supported in the path" : "malformed path", path),
                    "use $, .name, ['name'], [n], [from:to], [*], .. and length(), with lax or strict before");
}

static bool name_char(char ch) { return !strchr(".[]'\"() ?@*,:", ch) && (unsigned char)ch > ' '; }

static const char *blanks(const char *p, const char *end) {
    while (p < end && *p == ' ') p++;
    return p;
}

static void step_name(json_state_t *s, step_t *st, const char *from, const char *to) {
    const char **more = ARENA_ARRAY(s->path, const char *, st->n + 1);
    if (st->n) memcpy(more, st->names, sizeof *more * (size_t)st->n);
    more[st->n++] = arena_strndup(s->path, from, (size_t)(to - from));
    st->names = more;
}

/* digits, or `absent` where there are none; false: not a number */
static bool path_number(const char **p, const char *end, int64_t absent, int64_t *ret) {
    const char *from = *p;
    while (*p < end && (**p == '-' || (**p >= '0' && **p <= '9'))) (*p)++;
    *ret = absent;
    return *p == from || i64_parse(from, (size_t)(*p - from), ret);
}

static void step_index(json_state_t *s, step_t *st, int64_t v) {
    int64_t *more = ARENA_ARRAY(s->path, int64_t, st->n + 1);
    if (st->n) memcpy(more, st->index, sizeof *more * (size_t)st->n);
    more[st->n++] = v;
    st->index = more;
}

/* What stands between [ and ]; NULL: malformed or not supported. */
static const char *step_bracket(json_state_t *s, step_t *st, const char *p, const char *end) {
    p = blanks(p, end);
    if (p < end && *p == '*') {
        st->kind = STEP_ALL;
        return blanks(p + 1, end);
    }
    st->kind = p < end && (*p == '\'' || *p == '"') ? STEP_NAMES : STEP_INDEXES;
    for (;; p = blanks(p + 1, end)) {
        if (st->kind == STEP_NAMES) {
            if (p == end || (*p != '\'' && *p != '"')) return NULL;
            const char *stop = memchr(p + 1, *p, (size_t)(end - p - 1));
            if (!stop) return NULL;
            step_name(s, st, p + 1, stop);
            p = stop + 1;
        } else {
            const char *from = p;
            int64_t v;
            if (!path_number(&p, end, 0, &v)) return NULL;
            bool slice = st->n == 0 && p < end && *p == ':';
            if (p == from && !slice) return NULL;
            step_index(s, st, v);
            if (slice) {
                p++;
                if (!path_number(&p, end, INT64_MAX, &v)) return NULL;
                step_index(s, st, v);
                st->kind = STEP_SLICE;
                return blanks(p, end);
            }
        }
        p = blanks(p, end);
        if (p == end || *p != ',') return p;
    }
}

static err_t *path_step(const call_t *c, json_state_t *s, str_t whole, const char **at, const char *end) {
    step_t *st = &s->steps[s->n];
    const char *p = *at;
    *st = (step_t){0};
    st->deep = end - p > 2 && p[0] == '.' && p[1] == '.';
    if (st->deep) p++;
    if (*p == '[' || (st->deep && p[1] == '[')) {
        p = step_bracket(s, st, p + (*p == '[' ? 1 : 2), end);
        if (!p || p == end || *p++ != ']') return path_error(c, whole, ERR_UNSUPPORTED);
    } else if (*p == '.') {
        const char *from = ++p;
        if (p < end && *p == '*') {
            st->kind = STEP_ALL;
            p++;
        } else {
            while (p < end && name_char(*p)) p++;
            if (p == from) return path_error(c, whole, p < end && *p == '.' ? ERR_UNSUPPORTED : ERR_DATA);
            step_name(s, st, from, p);
            if (end - p >= 2 && p[0] == '(' && p[1] == ')') { /* the only function: length() */
                if (strcmp(st->names[0], "length") != 0 || p + 2 != end || st->deep) return path_error(c, whole, ERR_UNSUPPORTED);
                st->kind = STEP_LENGTH;
                p += 2;
            }
        }
    } else {
        return path_error(c, whole, ERR_DATA);
    }
    *at = p;
    return NULL;
}

static err_t *path_steps(const call_t *c, json_state_t *s, str_t whole, const char *p, const char *end) {
    if (p == end || *p++ != '$') return path_error(c, whole, ERR_DATA);
    while (p < end && end[-1] == ' ') end--;
    while (p < end) {
        if (s->n == STEPS_MAX) return path_error(c, whole, ERR_UNSUPPORTED);
        TRY(path_step(c, s, whole, &p, end));
        const step_t *st = &s->steps[s->n];
        /* several names at the end give one object */
        bool one = !st->deep && (st->kind == STEP_LENGTH || (st->n == 1 && st->kind != STEP_ALL) || (st->kind == STEP_NAMES && p == end));
        if (one && !s->many) s->definite = s->n + 1;
        s->many |= !one;
        s->n++;
    }
    return NULL;
}

static json_state_t *state_of(call_t *c) {
    json_state_t *s = *c->state;
    if (!s) {
        s = *c->state = xcalloc(1, sizeof *s);
        s->arena = arena_new();
        s->path = arena_new();
    }
    return s;
}

static err_t *path_of(call_t *c, str_t path, json_state_t **ret) {
    json_state_t *s = *ret = state_of(c);
    if (s->text && s->len == path.len && (path.len == 0 || memcmp(s->text, path.p, path.len) == 0)) return NULL;
    path_clear(s);
    s->lax = s->many = false;
    s->definite = 0;
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

static bool walk(json_state_t *s, int at, json_t *v, json_t *out);

static bool walk_names(json_state_t *s, int at, json_t *v, json_t *out) {
    const step_t *st = &s->steps[at];
    bool last = at + 1 == s->n, ok = true;
    if (v->kind != JSON_OBJECT) return false;
    if (st->n > 1 && last) { /* an object of them */
        json_t *o = ARENA_NEW(s->arena, json_t);
        o->kind = JSON_OBJECT;
        o->items = ARENA_ARRAY(s->arena, json_t *, st->n);
        o->names = ARENA_ARRAY(s->arena, const char *, st->n);
        for (int k = 0; k < st->n; k++) {
            const json_t *m = json_get(v, st->names[k]);
            if (!m) continue;
            o->names[o->n] = st->names[k];
            o->items[o->n++] = (json_t *)(uintptr_t)m;
        }
        list_add(s->arena, out, o);
        return true;
    }
    for (int k = 0; k < st->n; k++) {
        const json_t *m = json_get(v, st->names[k]);
        ok &= m ? walk(s, at + 1, (json_t *)(uintptr_t)m, out) : last;
    }
    return ok;
}

static bool walk_slice(json_state_t *s, int at, json_t *v, json_t *out) {
    int64_t from = s->steps[at].index[0], to = s->steps[at].index[1];
    if (v->kind != JSON_ARRAY) return false;
    from = from < 0 ? MAX(from + v->n, 0) : from;
    to = to < 0 ? to + v->n : MIN(to, v->n);
    for (int64_t k = from; k < to; k++) walk(s, at + 1, v->items[k], out);
    return true;
}

static bool walk_step(json_state_t *s, int at, json_t *v, json_t *out) {
    const step_t *st = &s->steps[at];
    bool nested = v->kind == JSON_ARRAY || v->kind == JSON_OBJECT, ok = true;
    switch (st->kind) {
    case STEP_NAMES: return walk_names(s, at, v, out);
    case STEP_SLICE: return walk_slice(s, at, v, out);
    case STEP_ALL:
        for (int i = 0; nested && i < v->n; i++) walk(s, at + 1, v->items[i], out);
        return true;
    case STEP_LENGTH: {
        if (!nested) return false;
        json_t *n = ARENA_NEW(s->arena, json_t);
        n->kind = JSON_NUMBER;
        n->text = arena_printf(s->arena, "%d", v->n);
        n->len = strlen(n->text);
        list_add(s->arena, out, n);
        return true;
    }
    default:
        if (v->kind != JSON_ARRAY) return false;
        for (int i = 0; i < st->n; i++) {
            int64_t k = st->index[i] < 0 ? st->index[i] + v->n : st->index[i];
            if (k >= 0 && k < v->n) ok &= walk(s, at + 1, v->items[k], out);
        }
        return ok;
    }
}

static void scan(json_state_t *s, int at, json_t *v, json_t *out) {
    if (v->kind != JSON_ARRAY && v->kind != JSON_OBJECT) return;
    walk_step(s, at, v, out);
    for (int i = 0; i < v->n; i++) scan(s, at, v->items[i], out);
}

/* false: something is missing where the path is still definite */
static bool walk(json_state_t *s, int at, json_t *v, json_t *out) {
    if (at == s->n) {
        list_add(s->arena, out, v);
    } else if (s->steps[at].deep) {
        scan(s, at, v, out);
    } else if (!walk_step(s, at, v, out)) {
        return at > s->definite; /* a step that gives a list needs what it is applied to */
    }
    return true;
}

/* BROKEN: an error of the path or the document; MISSING: empty. A JSON null is MISSING too, as in Flink. */
static found_t lookup(json_state_t *s, str_t doc, json_t **ret) {
    json_t *root;
    if (!parse_doc(s, doc, &root)) return BROKEN;
    json_t *list = list_new(s->arena);
    bool whole = walk(s, 0, root, list);
    if (!whole && !s->lax) return BROKEN;
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
void json_put_number(buf_t *out, const char *t, size_t n) {
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

void json_put_string(buf_t *out, const char *s, size_t n) {
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

void json_put(arena_t *a, buf_t *out, const json_t *v) {
    switch (v->kind) {
    case JSON_NULL: buf_puts(out, "null"); break;
    case JSON_BOOL: buf_puts(out, v->boolean ? "true" : "false"); break;
    case JSON_NUMBER: json_put_number(out, v->text, v->len); break;
    case JSON_STRING: json_put_string(out, v->text, v->len); break;
    case JSON_ARRAY:
        buf_put_u8(out, '[');
        for (int i = 0; i < v->n; i++) {
            if (i) buf_put_u8(out, ',');
            json_put(a, out, v->items[i]);
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
            json_put_string(out, v->names[order[i]], strlen(v->names[order[i]]));
            buf_put_u8(out, ':');
            json_put(a, out, v->items[order[i]]);
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
        else if (v->kind == JSON_NUMBER) json_put_number(out, v->text, v->len);
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

/* JSON_QUERY arguments: document, path[, WITHOUT | CONDITIONAL | UNCONDITIONAL, on empty, on error[, NULL of the type]] */
err_t *rule_json_query(binding_t *b) {
    bool array = b->nargs == 6 && b->args[5]->type->kind == TYPE_ARRAY;
    b->type = &type_string;
    if (b->nargs < 6) return NULL;
    const type_t *t = b->args[5]->type;
    if (array ? !type_is_text(t->child[0]) : !type_is_text(t)) return bind_error(b, "RETURNING knows STRING and ARRAY<STRING>");
    for (int k = 3; k < 5 && array; k++)
        if (strcmp(symbol_text(b->args[k]), "EMPTY OBJECT") == 0) return bind_error(b, "EMPTY OBJECT is no array");
    b->type = type_nullable(b->a, t, true);
    return NULL;
}

/* *ret_how: 'V' the value, N(ULL), A (empty array) or O (empty object) */
static err_t *json_query_row(call_t *c, uint32_t i, char *ret_how, json_t **ret) {
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
    if (f == FOUND && c->expr->type->kind == TYPE_ARRAY && v->kind != JSON_ARRAY) f = BROKEN;
    *ret = v;
    *ret_how = f == FOUND ? 'V' : behaviour(c, f == MISSING ? 3 : 4, 'N');
    if (*ret_how == 'E') return call_error(c, ERR_DATA, f == MISSING ? "nothing at the path in" : "no array or object at the path in", arg_str(c, 0, i));
    return NULL;
}

static void put_array(call_t *c, colbuilder_t *b, char how, const json_t *v, buf_t *out) {
    if (how != 'V' && how != 'A') {
        colbuilder_null(b);
        return;
    }
    colbuilder_begin(b);
    for (int k = 0; how == 'V' && k < v->n; k++) {
        const json_t *x = v->items[k];
        buf_clear(out);
        if (x->kind == JSON_STRING) buf_put(out, x->text, x->len);
        else json_put(state_of(c)->arena, out, x);
        if (x->kind == JSON_NULL) colbuilder_null(colbuilder_child(b, 0));
        else colbuilder_str(colbuilder_child(b, 0), (char *)out->data, out->len);
    }
    colbuilder_end(b);
}

err_t *kernel_json_query(call_t *c) {
    buf_t out = buf_make(64u << 20);
    colbuilder_t *b = c->expr->type->kind == TYPE_ARRAY ? colbuilder_new(c->expr->type, c->m) : NULL;
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++) {
        char how = 'N';
        json_t *v = NULL;
        if (!arg_null(c, 0, i) && !arg_null(c, 1, i)) e = json_query_row(c, i, &how, &v);
        buf_clear(&out);
        if (b) {
            put_array(c, b, how, v, &out);
            continue;
        }
        if (how == 'V') json_put(state_of(c)->arena, &out, v);
        else buf_puts(&out, how == 'A' ? "[]" : "{}");
        if (how == 'N') out_null(c, i);
        else out_copy(c, i, out.data, out.len);
    }
    if (b && !e) colbuilder_finish(b, c->out);
    if (b) colbuilder_free(b);
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
