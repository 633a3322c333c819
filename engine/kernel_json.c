/* kernel_json.c: JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS JSON. Paths: kernel_json_path.c. Objects are written with sorted keys, numbers as
 * Java's BigDecimal writes them. */
#include "engine/decimal.h"
#include "engine/kernel_json_path.h"
#include "engine/number.h"
#include "engine/rules.h"
#include <stdlib.h>

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
    int x = *(const int *)a, y = *(const int *)b, c = strcmp(o->names[x], o->names[y]);
    return c ? c : x - y;
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
        for (int i = 0, n = 0; i < v->n; i++) {
            if (i + 1 < v->n && strcmp(v->names[order[i]], v->names[order[i + 1]]) == 0) continue; /* the last of equal keys counts */
            if (n++) buf_put_u8(out, ',');
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
        TRY(json_path_of(c, arg_str(c, 1, i), &s));
        found_t f = json_lookup(s, arg_str(c, 0, i), &v);
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
    TRY(json_path_of(c, arg_str(c, 1, i), &s));
    found_t f = json_lookup(s, arg_str(c, 0, i), &v);
    if (f == FOUND && !is_scalar(v)) f = s->lax ? MISSING : BROKEN;
    if (f == FOUND && !value_store(c, i, v, out)) f = BROKEN;
    if (out->overflow) return json_too_long(c);
    if (f == MISSING) return json_default(c, i, behaviour(c, 3, 'N'), 4, "nothing at the path in");
    if (f == BROKEN) return json_default(c, i, behaviour(c, 5, 'N'), 6, "no scalar at the path in");
    return NULL;
}

err_t *kernel_json_value(call_t *c) {
    buf_t out = buf_make(JSON_RESULT_MAX);
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
    TRY(json_path_of(c, arg_str(c, 1, i), &s));
    found_t f = json_lookup(s, arg_str(c, 0, i), &v);
    char wrap = behaviour(c, 2, 'W');
    if (f == FOUND && (wrap == 'U' || (wrap == 'C' && v->kind != JSON_ARRAY))) {
        json_t *l = json_list_new(s->arena);
        json_list_add(s->arena, l, v);
        v = l;
    }
    if (f == FOUND && is_scalar(v)) f = s->lax ? MISSING : BROKEN;
    if (f == FOUND && c->expr->type->kind == TYPE_ARRAY && v->kind != JSON_ARRAY) f = BROKEN;
    *ret = v;
    *ret_how = f == FOUND ? 'V' : behaviour(c, f == MISSING ? 3 : 4, 'N');
    if (*ret_how == 'E') return call_error(c, ERR_DATA, f == MISSING ? "nothing at the path in" : "no array or object at the path in", arg_str(c, 0, i));
    return NULL;
}

static err_t *put_array(call_t *c, colbuilder_t *b, char how, const json_t *v, buf_t *out) {
    if (how != 'V' && how != 'A') {
        colbuilder_null(b);
        return NULL;
    }
    colbuilder_begin(b);
    for (int k = 0; how == 'V' && k < v->n; k++) {
        const json_t *x = v->items[k];
        buf_clear(out);
        if (x->kind == JSON_STRING) buf_put(out, x->text, x->len);
        else json_put(json_state_of(c)->arena, out, x);
        if (out->overflow) return json_too_long(c);
        if (x->kind == JSON_NULL) colbuilder_null(colbuilder_child(b, 0));
        else colbuilder_str(colbuilder_child(b, 0), (char *)out->data, out->len);
    }
    colbuilder_end(b);
    return NULL;
}

err_t *kernel_json_query(call_t *c) {
    buf_t out = buf_make(JSON_RESULT_MAX);
    colbuilder_t *b = c->expr->type->kind == TYPE_ARRAY ? colbuilder_new(c->expr->type, c->m) : NULL;
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++) {
        char how = 'N';
        json_t *v = NULL;
        if (!arg_null(c, 0, i) && !arg_null(c, 1, i)) e = json_query_row(c, i, &how, &v);
        buf_clear(&out);
        if (e) break;
        if (b) {
            e = put_array(c, b, how, v, &out);
            continue;
        }
        if (how == 'V') json_put(json_state_of(c)->arena, &out, v);
        else buf_puts(&out, how == 'A' ? "[]" : "{}");
        if (out.overflow) e = json_too_long(c);
        else if (how == 'N') out_null(c, i);
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
        bool ok = !arg_null(c, 0, i) && json_parse_doc(json_state_of(c), arg_str(c, 0, i), &v);
        if (ok && strcmp(what, "OBJECT") == 0) ok = v->kind == JSON_OBJECT;
        else if (ok && strcmp(what, "ARRAY") == 0) ok = v->kind == JSON_ARRAY;
        else if (ok && strcmp(what, "SCALAR") == 0) ok = is_scalar(v);
        c->out->b[i] = ok;
    }
    return NULL;
}
