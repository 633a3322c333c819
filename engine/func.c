/* func.c: finding a function, matching its signature, binding the call, documenting the table.
 *
 * Signatures: alternatives separated by '|', each "arguments>result". Arguments, one letter each:
 *   t text  y binary  T text or binary  b BOOLEAN  i INT  l BIGINT  d DOUBLE (these four cast what fits implicitly)
 *   n any number  I any integer  D DATE  M TIME  P TIMESTAMP  Z TIMESTAMP_LTZ  c any of the four  k interval
 *   r ARRAY  m MAP or MULTISET  w ROW  s keyword  a anything
 * followed by '?' (optional), '*' (any number) or '+' (at least one).
 * Results: t y b i l d D M as above, P TIMESTAMP(3), Z TIMESTAMP_LTZ(3), A ARRAY<STRING>, m MAP<STRING, STRING>, '=' the first
 * argument's type; NULL when an argument may be, '!' always nullable, '.' never. */
#include "engine/func_int.h"
#include <stdlib.h>
#include <strings.h>

const func_t *func_find(const char *name) {
    for (int t = 0; func_tables[t]; t++)
        for (const func_t *f = func_tables[t]; f->name; f++)
            if (strcasecmp(f->name, name) == 0) return f;
    return NULL;
}

bool func_exists(const char *name) { return func_find(name) != NULL; }
const char *func_name(const func_t *f) { return f->name; }
bool func_deterministic(const func_t *f) { return !(f->flags & (FUNC_RANDOM | FUNC_NOW)); }

void func_offer(near_t *near) {
    for (int t = 0; func_tables[t]; t++)
        for (const func_t *f = func_tables[t]; f->name; f++)
            if (!(f->flags & FUNC_HIDDEN)) near_offer(near, f->name);
}

/* ---- signatures */
static bool class_accepts(char c, const type_t *t) {
    if (t->kind == TYPE_NULL) return c != 's' && c != 'w';
    switch (c) {
    case 't': return type_is_text(t);
    case 'y': return type_is_binary(t);
    case 'T': return type_is_strlike(t);
    case 'b': return t->kind == TYPE_BOOLEAN;
    case 'i': return type_is_integer(t) && t->kind != TYPE_BIGINT;
    case 'l':
    case 'I': return type_is_integer(t);
    case 'd':
    case 'n': return type_is_numeric(t);
    case 'D': return t->kind == TYPE_DATE;
    case 'M': return t->kind == TYPE_TIME;
    case 'P': return t->kind == TYPE_TIMESTAMP;
    case 'Z': return t->kind == TYPE_TIMESTAMP_LTZ;
    case 'c': return type_is_temporal(t);
    case 'k': return type_is_interval(t);
    case 'r': return t->kind == TYPE_ARRAY;
    case 'm': return t->kind == TYPE_MAP || t->kind == TYPE_MULTISET;
    case 'w': return t->kind == TYPE_ROW;
    case 's': return t->kind == TYPE_SYMBOL;
    case 'a': return t->kind != TYPE_SYMBOL;
    default: UNREACHABLE();
    }
}

/* What an argument of the class is cast to; NULL: stays. */
static const type_t *class_target(char c, const type_t *t) {
    bool null = t->kind == TYPE_NULL;
    switch (c) {
    case 't':
    case 'T': return null ? &type_string : NULL;
    case 'y': return null ? &type_bytes : NULL;
    case 'b': return null ? &type_boolean : NULL;
    case 'I':
    case 'i': return c == 'i' || null ? &type_int : NULL;
    case 'l': return &type_bigint;
    case 'd': return &type_double;
    case 'n': return null ? &type_int : NULL;
    case 'D': return null ? &type_date : NULL;
    case 'M': return null ? &type_time : NULL;
    case 'c':
    case 'P': return null ? &type_timestamp3 : NULL;
    case 'Z': return null ? &type_ltz3 : NULL;
    case 'k': return null ? &type_interval_second : NULL;
    default: return NULL;
    }
}

/* Length of the match in sig up to '>', or -1; fills the class of each argument. */
static bool sig_match(const char *sig, const binding_t *b, char *classes) {
    int k = 0;
    while (*sig && *sig != '>') {
        char c = *sig++;
        char many = *sig == '?' || *sig == '*' || *sig == '+' ? *sig++ : 0;
        int got = 0, max = many == '*' || many == '+' ? b->nargs : 1;
        while (got < max && k < b->nargs && class_accepts(c, b->args[k]->type)) {
            classes[k++] = c;
            got++;
        }
        if (got == 0 && many != '?' && many != '*') return false;
    }
    return k == b->nargs && *sig == '>';
}

static const type_t *sig_result(const char *r, binding_t *b) {
    const type_t *t;
    switch (*r) {
    case 't': t = &type_string; break;
    case 'y': t = &type_bytes; break;
    case 'b': t = &type_boolean; break;
    case 'i': t = &type_int; break;
    case 'l': t = &type_bigint; break;
    case 'd': t = &type_double; break;
    case 'D': t = &type_date; break;
    case 'M': t = &type_time; break;
    case 'P': t = &type_timestamp3; break;
    case 'Z': t = &type_ltz3; break;
    case 'A': t = type_array(b->a, &type_string, true); break;
    case 'm': t = type_map(b->a, &type_string, &type_string, true); break;
    case '=': t = b->args[0]->type; break;
    default: return NULL; /* the rule decides */
    }
    bool nullable = r[1] == '!' ? true : r[1] == '.' ? false : any_nullable(b);
    return type_nullable(b->a, t, nullable);
}

static err_t *sig_apply(binding_t *b) {
    char few[64], *classes = b->nargs < 64 ? few : arena_alloc(b->a, (size_t)b->nargs);
    for (const char *alt = b->func->sig; alt;) {
        if (sig_match(alt, b, classes)) {
            for (int k = 0; k < b->nargs; k++) {
                const type_t *to = class_target(classes[k], b->args[k]->type);
                if (to) TRY(bind_cast(b, k, to));
            }
            b->type = sig_result(strchr(alt, '>') + 1, b);
            return NULL;
        }
        alt = strchr(alt, '|');
        if (alt) alt++;
    }
    return bind_error(b, "wrong arguments");
}

static void arg_print(buf_t *text, const expr_t *arg) {
    type_t t = *arg->type;
    t.nullable = true;
    if (t.kind == TYPE_SYMBOL) buf_puts(text, symbol_text(arg));
    else type_print(text, &t);
}

/* As it was written, types in the place of values: an operator by its usage, "x BETWEEN lo AND hi", a function by its name. */
static void written(buf_t *text, const binding_t *b) {
    const char *name = b->func->name, *p = b->func->usage;
    size_t len = strlen(name);
    if (!p || (strncmp(p, name, len) == 0 && p[len] == '(')) {
        buf_printf(text, "%s(", name);
        for (int i = 0; i < b->nargs; i++) {
            if (i) buf_puts(text, ", ");
            arg_print(text, b->args[i]);
        }
        buf_put_u8(text, ')');
        return;
    }
    for (int i = 0; *p && strncmp(p, " or ", 4) != 0;) {
        len = strspn(p, "abcdefghijklmnopqrstuvwxyz");
        if (len && i < b->nargs) arg_print(text, b->args[i++]);
        else buf_put(text, p, MAX(len, (size_t)1));
        p += MAX(len, (size_t)1);
    }
}

err_t *bind_error(const binding_t *b, const char *why) {
    buf_t text = buf_make(4000);
    written(&text, b);
    err_t *e = err_new(ERR_TYPE, "%s: %s; use %s", buf_cstr(&text), why, b->func->usage ? b->func->usage : b->func->name);
    buf_free(&text);
    return e;
}

err_t *func_bind(arena_t *a, const char *name, expr_t **args, int nargs, expr_t **ret) {
    const func_t *f = func_find(name);
    if (!f) return err_new(ERR_NOT_FOUND, "function %s does not exist", name);
    if (f->flags & FUNC_HIDDEN) return err_new(ERR_TYPE, "%s is not called as a function", name);
    binding_t b = {.a = a, .func = f, .nargs = nargs};
    b.args = arena_memdup(a, args, sizeof *args * (size_t)(nargs ? nargs : 1));
    if (f->sig) TRY(sig_apply(&b));
    if (f->rule) TRY(f->rule(&b));
    ASSERT(b.type);
    expr_t *e = ARENA_NEW(a, expr_t);
    e->kind = EXPR_CALL;
    e->type = b.type;
    e->func = b.func;
    e->nargs = b.nargs;
    e->args = b.args;
    for (int i = 0; i < nargs && !e->line; i++) {
        e->line = args[i]->line;
        e->col = args[i]->col;
    }
    *ret = e;
    return NULL;
}

void func_docs(buf_t *out) {
    buf_puts(out, "| function | what it gives |\n|---|---|\n");
    for (int t = 0; func_tables[t]; t++)
        for (const func_t *f = func_tables[t]; f->name; f++) {
            if ((f->flags & FUNC_HIDDEN) || !f->doc) continue;
            buf_puts(out, "| `");
            for (const char *p = f->usage ? f->usage : f->name; *p; p++) {
                if (*p == '|') buf_put_u8(out, '\\');
                buf_put_u8(out, (uint8_t)*p);
            }
            buf_printf(out, "` | %s |\n", f->doc);
        }
}
