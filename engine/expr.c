/* expr.c: expression trees. */
#include "engine/expr.h"
#include "engine/func_int.h"

expr_t *expr_column(arena_t *a, int index, const type_t *t) {
    expr_t *e = ARENA_NEW(a, expr_t);
    e->kind = EXPR_COLUMN;
    e->type = t;
    e->column = index;
    return e;
}

expr_t *expr_literal(arena_t *a, const type_t *t, value_t v) {
    expr_t *e = ARENA_NEW(a, expr_t);
    e->kind = EXPR_LITERAL;
    e->type = t->nullable == v.null ? t : type_nullable(a, t, v.null);
    e->value = v;
    if (type_is_approx(t) && v.f == 0) e->value.f = 0; /* Flink's literals know no -0.0 */
    return e;
}

expr_t *expr_null(arena_t *a, const type_t *t) { return expr_literal(a, t, (value_t){.null = true}); }

expr_t *expr_string(arena_t *a, const char *s, size_t n) {
    value_t v = {.s = {.p = arena_strndup(a, s, n), .len = (uint32_t)n}};
    int chars = 0;
    for (size_t i = 0; i < n; i++) chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    /* CHAR(0) is no type; Flink gives the empty literal CHAR(0) too, which acts as a text of no length */
    return expr_literal(a, type_scalar(a, TYPE_CHAR, chars, false), v);
}

expr_t *expr_bigint(arena_t *a, int64_t v) { return expr_literal(a, &type_bigint, (value_t){.i = v}); }

static bool value_equal(const type_t *t, const value_t *x, const value_t *y) {
    if (x->null || y->null) return x->null == y->null;
    if (type_is_strlike(t) || t->kind == TYPE_SYMBOL)
        return x->s.len == y->s.len && (x->s.len == 0 || memcmp(x->s.p, y->s.p, x->s.len) == 0);
    if (type_is_approx(t)) return memcmp(&x->f, &y->f, sizeof x->f) == 0;
    if (t->kind == TYPE_DECIMAL) return x->dec == y->dec;
    return x->i == y->i;
}

bool expr_equal(const expr_t *a, const expr_t *b) {
    if (a == b) return true;
    if (a->kind != b->kind || !type_equal(a->type, b->type)) return false;
    if (a->kind == EXPR_COLUMN) return a->column == b->column;
    if (a->kind == EXPR_LITERAL) return value_equal(a->type, &a->value, &b->value);
    if (a->func != b->func || a->nargs != b->nargs) return false;
    for (int i = 0; i < a->nargs; i++)
        if (!expr_equal(a->args[i], b->args[i])) return false;
    return true;
}

bool expr_is_deterministic(const expr_t *e) {
    if (e->kind != EXPR_CALL) return true;
    if (!func_deterministic(e->func)) return false;
    for (int i = 0; i < e->nargs; i++)
        if (!expr_is_deterministic(e->args[i])) return false;
    return true;
}

static bool has_column(const expr_t *e) {
    if (e->kind != EXPR_CALL) return e->kind == EXPR_COLUMN;
    for (int i = 0; i < e->nargs; i++)
        if (has_column(e->args[i])) return true;
    return false;
}

bool expr_is_constant(const expr_t *e) { return !has_column(e) && expr_is_deterministic(e); }

void expr_columns(const expr_t *e, uint8_t *used) {
    if (e->kind == EXPR_COLUMN) used[e->column] = 1;
    if (e->kind != EXPR_CALL) return;
    for (int i = 0; i < e->nargs; i++) expr_columns(e->args[i], used);
}

static expr_t *copy_call(arena_t *a, const expr_t *e) {
    expr_t *c = ARENA_NEW(a, expr_t);
    *c = *e;
    c->args = ARENA_ARRAY(a, expr_t *, e->nargs ? e->nargs : 1);
    return c;
}

expr_t *expr_map_columns(arena_t *a, const expr_t *e, const int *map) {
    expr_t *c = copy_call(a, e);
    if (e->kind == EXPR_COLUMN) c->column = map[e->column];
    for (int i = 0; i < e->nargs; i++) c->args[i] = expr_map_columns(a, e->args[i], map);
    return c;
}

static expr_t *deep_copy(arena_t *a, const expr_t *e) {
    expr_t *c = copy_call(a, e);
    for (int i = 0; i < e->nargs; i++) c->args[i] = deep_copy(a, e->args[i]);
    return c;
}

expr_t *expr_substitute(arena_t *a, const expr_t *e, expr_t *const *columns) {
    if (e->kind == EXPR_COLUMN) return deep_copy(a, columns[e->column]);
    expr_t *c = copy_call(a, e);
    for (int i = 0; i < e->nargs; i++) c->args[i] = expr_substitute(a, e->args[i], columns);
    return c;
}

/* ---- printing */
static void literal_print(buf_t *out, const expr_t *e) {
    if (e->value.null) {
        buf_puts(out, "NULL");
        return;
    }
    if (e->type->kind == TYPE_SYMBOL) {
        buf_put(out, e->value.s.p, e->value.s.len);
        return;
    }
    mem_t *m = mem_new();
    column_t c;
    value_column(&c, e->type, &e->value, m);
    bool text = type_is_text(e->type), binary = type_is_binary(e->type);
    if (binary) {
        buf_puts(out, "X'");
        for (uint32_t i = 0; i < e->value.s.len; i++) buf_printf(out, "%02X", (unsigned char)e->value.s.p[i]);
        buf_puts(out, "'");
    } else if (text) {
        buf_put_u8(out, '\'');
        for (uint32_t i = 0; i < e->value.s.len; i++) {
            if (e->value.s.p[i] == '\'') buf_put_u8(out, '\'');
            buf_put_u8(out, (uint8_t)e->value.s.p[i]);
        }
        buf_put_u8(out, '\'');
    } else {
        const char *word = type_is_interval(e->type)            ? "INTERVAL '"
                           : e->type->kind == TYPE_DATE         ? "DATE '"
                           : e->type->kind == TYPE_TIME         ? "TIME '"
                           : e->type->kind == TYPE_TIMESTAMP     ? "TIMESTAMP '"
                           : e->type->kind == TYPE_TIMESTAMP_LTZ ? "TIMESTAMP_LTZ '"
                                                                 : NULL;
        if (word) buf_puts(out, word);
        value_print(out, &c, 0);
        if (word) buf_put_u8(out, '\'');
    }
    mem_unref(m);
}

static bool is_infix(const char *name) {
    static const char *const names[] = {"+", "-",  "*",   "/",  "%",    "||",         "=",                "<>",
                                        "<", "<=", ">",   ">=", "AND",  "OR",         "SIMILAR TO",       "LIKE",
                                        "IS DISTINCT FROM", "IS NOT DISTINCT FROM"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static void args_print(buf_t *out, const expr_t *e, int from, const char *between, const schema_t *names) {
    for (int i = from; i < e->nargs; i++) {
        if (i > from) buf_puts(out, between);
        expr_print(out, e->args[i], names);
    }
}

static void call_print(buf_t *out, const expr_t *e, const schema_t *names) {
    const char *name = func_name(e->func);
    if (e->func == &func_cast || e->func == &func_try_cast) {
        buf_printf(out, "%s(", name);
        expr_print(out, e->args[0], names);
        buf_puts(out, " AS ");
        type_t t = *e->type;
        t.nullable = true;
        type_print(out, &t);
        buf_put_u8(out, ')');
    } else if (e->nargs == 2 && is_infix(name)) {
        buf_put_u8(out, '(');
        expr_print(out, e->args[0], names);
        buf_printf(out, " %s ", name);
        expr_print(out, e->args[1], names);
        buf_put_u8(out, ')');
    } else if (e->nargs == 1 && strncmp(name, "IS ", 3) == 0) {
        expr_print(out, e->args[0], names);
        buf_printf(out, " %s", name);
    } else if (e->nargs == 1 && strcmp(name, "NEG") == 0) {
        buf_puts(out, "-(");
        expr_print(out, e->args[0], names);
        buf_put_u8(out, ')');
    } else if (strcmp(name, "FIELD") == 0) {
        expr_print(out, e->args[0], names);
        buf_put_u8(out, '.');
        expr_print(out, e->args[1], names);
    } else if (strcmp(name, "ITEM") == 0) {
        expr_print(out, e->args[0], names);
        buf_put_u8(out, '[');
        expr_print(out, e->args[1], names);
        buf_put_u8(out, ']');
    } else {
        buf_printf(out, "%s(", name);
        args_print(out, e, 0, ", ", names);
        buf_put_u8(out, ')');
    }
}

void expr_print(buf_t *out, const expr_t *e, const schema_t *names) {
    if (e->kind == EXPR_LITERAL) literal_print(out, e);
    else if (e->kind == EXPR_CALL) call_print(out, e, names);
    else if (names && e->column < names->n) buf_puts(out, names->fields[e->column].name);
    else buf_printf(out, "$%d", e->column);
}

/* ---- constants */
static bool reads_context(const expr_t *e) {
    if (e->kind != EXPR_CALL) return false;
    if (e->func->flags & (FUNC_CTX | FUNC_NOW | FUNC_RANDOM)) return true;
    /* the session zone stands between instants and everything else */
    if (e->type->kind == TYPE_TIMESTAMP_LTZ) return true;
    for (int i = 0; i < e->nargs; i++)
        if (e->args[i]->type->kind == TYPE_TIMESTAMP_LTZ || reads_context(e->args[i])) return true;
    return false;
}

err_t *expr_constant(arena_t *a, const expr_t *e, const eval_ctx_t *ctx, value_t *ret) {
    if (type_is_nested(e->type)) return err_new(ERR_TYPE, "a constant of type %s has no scalar value", type_text(a, e->type));
    if (has_column(e)) return err_new(ERR_TYPE, "the expression is not constant: it reads columns");
    expr_prog_t *p = NULL;
    TRY(expr_compile((expr_t *[]){(expr_t *)(uintptr_t)e}, 1, &p));
    batch_t *row = batch_new(0);
    row->n = 1;
    column_t out;
    static const eval_ctx_t plain = {.time_zone = "UTC"};
    err_t *err = expr_eval(p, ctx ? ctx : &plain, row, NULL, 1, row->mem, &out);
    if (!err) {
        value_of(&out, 0, ret);
        if (type_is_approx(e->type) && !ret->null && ret->f == 0) ret->f = 0; /* as Flink's constants, which know no -0.0 */
        if (!ret->null && (type_is_strlike(e->type) || e->type->kind == TYPE_SYMBOL))
            ret->s.p = arena_strndup(a, ret->s.p ? ret->s.p : "", ret->s.len);
    }
    batch_free(row);
    expr_prog_free(p);
    return err;
}

expr_t *expr_fold(arena_t *a, expr_t *e) {
    if (e->kind != EXPR_CALL) return e;
    for (int i = 0; i < e->nargs; i++) e->args[i] = expr_fold(a, e->args[i]);
    if (type_is_nested(e->type) || !expr_is_constant(e) || reads_context(e)) return e;
    value_t v = {0};
    err_t *err = expr_constant(a, e, NULL, &v);
    if (err) { /* it fails where it is evaluated, and only if it is */
        err_free(err);
        return e;
    }
    expr_t *l = expr_literal(a, e->type, v);
    l->type = e->type;
    l->line = e->line;
    l->col = e->col;
    return l;
}
