/* bind_expr.c: scalar expressions. */
#include <stdlib.h>

#include "sql/bind.h"

err_t *refuse(ast_pos_t pos, const char *what, const char *way_out) {
    return err_pos(err_hint(err_new(ERR_UNSUPPORTED, "%s is not supported", what), "%s", way_out), pos);
}

static expr_t *positioned(expr_t *e, ast_pos_t pos) {
    if (e->line == 0) e->line = pos.line, e->col = pos.col;
    return e;
}

err_t *bind_function(expr_ctx_t *x, const char *name, ast_pos_t pos, expr_t **args, int n, expr_t **ret) {
    TRY(err_pos(func_bind(x->b->arena, name, args, n, ret), pos));
    positioned(*ret, pos);
    return NULL;
}

expr_t *bind_symbol(bind_t *b, const char *name) {
    value_t v = {.s = {arena_strdup(b->arena, name), (uint32_t)strlen(name), 0}};
    return expr_literal(b->arena, type_nullable(b->arena, &type_symbol, false), v);
}

/* ---- literals */
static expr_t *literal_i64(bind_t *b, const type_t *t, int64_t v) {
    return expr_literal(b->arena, type_nullable(b->arena, t, false), (value_t){.i = v});
}

static err_t *bind_digits(bind_t *b, const ast_expr_t *e, expr_t **ret) {
    i128 v = 0;
    int digits = 0, written = 0, scale = 0;
    bool point = false, any = false;
    for (const char *p = e->text; *p; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (*p < '0' || *p > '9') continue;
        any = any || *p != '0';
        if (any) digits++;
        written++;
        if (digits > 38)
            return err_pos(err_new(ERR_OVERFLOW, "number %s has more than 38 digits", e->text), e->pos);
        v = v * 10 + (*p - '0');
        if (point) scale++;
    }
    point = scale > 0; /* "5." is an integer; a fraction's precision counts the zeros before it too, as Calcite's does */
    if (point) digits = MIN(written, 38);
    if (!point && v <= INT32_MAX) *ret = literal_i64(b, &type_int, (int64_t)v);
    else if (!point && v <= INT64_MAX) *ret = literal_i64(b, &type_bigint, (int64_t)v);
    else
        *ret = expr_literal(b->arena, type_decimal(b->arena, MAX(MAX(digits, scale), 1), scale, false), (value_t){.dec = v});
    return NULL;
}

static err_t *bind_temporal(bind_t *b, const ast_expr_t *e, expr_t **ret) {
    const char *dot = strrchr(e->text, '.');
    int fraction = dot ? (int)strlen(dot + 1) : 0;
    static const char *const names[] = {"DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ"};
    const char *name = names[e->kind - AST_DATE];
    if (fraction > 6)
        return err_pos(err_hint(err_new(ERR_UNSUPPORTED, "%s '%s' has more than 6 fraction digits", name, e->text),
                                "timestamps are kept in microseconds"),
                       e->pos);
    static const type_kind_t kinds[] = {TYPE_DATE, TYPE_TIME, TYPE_TIMESTAMP, TYPE_TIMESTAMP_LTZ};
    int precision = e->kind == AST_DATE ? 0 : e->kind == AST_TIME ? MIN(fraction, 3) : fraction;
    const type_t *t = type_scalar(b->arena, kinds[e->kind - AST_DATE], precision, false);
    expr_t *text = expr_string(b->arena, e->text, strlen(e->text)), *cast = NULL;
    TRY(err_pos(cast_bind(b->arena, text, t, CAST_EXPLICIT, &cast), e->pos));
    eval_ctx_t ctx = {.time_zone = "UTC"};
    value_t v;
    err_t *bad = expr_constant(b->arena, cast, &ctx, &v);
    if (bad || v.null) {
        err_free(bad);
        return err_pos(err_new(ERR_INVALID, "'%s' is not a valid %s", e->text, name), e->pos);
    }
    *ret = expr_literal(b->arena, t, v);
    return NULL;
}

static err_t *bind_literal(bind_t *b, const ast_expr_t *e, expr_t **ret) {
    switch (e->kind) {
    case AST_NULL: *ret = expr_null(b->arena, &type_null); return NULL;
    case AST_BOOL:
        if (e->truth < 0) *ret = expr_null(b->arena, &type_boolean);
        else *ret = literal_i64(b, &type_boolean, e->truth);
        return NULL;
    case AST_INTEGER:
    case AST_DECIMAL: return bind_digits(b, e, ret);
    case AST_FLOAT:
        *ret = expr_literal(b->arena, type_nullable(b->arena, &type_double, false), (value_t){.f = strtod(e->text, NULL)});
        return NULL;
    case AST_STRING: *ret = expr_string(b->arena, e->text, e->text_len ? e->text_len : strlen(e->text)); return NULL;
    case AST_BINARY: {
        value_t v = {.s = {arena_memdup(b->arena, e->text, e->text_len + 1), (uint32_t)e->text_len, 0}};
        *ret = expr_literal(b->arena, type_scalar(b->arena, TYPE_BINARY, MAX((int)e->text_len, 1), false), v);
        return NULL;
    }
    case AST_INTERVAL:
        *ret = literal_i64(b, e->interval->is_month ? &type_interval_month : &type_interval_second, e->interval->value);
        return NULL;
    default: return bind_temporal(b, e, ret);
    }
}

/* ---- columns */
static err_t *bind_column(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    int column, parts;
    for (int i = 0; i < e->name.n; i++)
        if (strlen(e->name.part[i]) == 0) return err_pos(err_new(ERR_INVALID, "a name cannot be empty"), e->pos);
    TRY(scope_find(x->scope, &e->name, &column, &parts));
    expr_t *c = positioned(expr_column(x->b->arena, column, x->scope->rel->schema->fields[column].type), e->pos);
    for (int i = parts; i < e->name.n; i++) {
        expr_t *args[2] = {c, bind_symbol(x->b, e->name.part[i])};
        TRY(bind_function(x, "FIELD", e->pos, args, 2, &c));
    }
    *ret = c;
    return NULL;
}

/* ---- compounds */
static err_t *bind_args(expr_ctx_t *x, const ast_exprs_t *args, expr_t ***ret) {
    *ret = ARENA_ARRAY(x->b->arena, expr_t *, args->n + 1);
    for (int i = 0; i < args->n; i++) TRY(bind_expr(x, args->item[i], &(*ret)[i]));
    return NULL;
}

/* (a - b) DAY; months and years are counted, the rest is the time between. */
static err_t *bind_difference(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    expr_t **args;
    TRY(bind_args(x, &e->args, &args));
    if (!type_is_temporal(args[1]->type) || !type_is_temporal(args[2]->type))
        return err_pos(err_new(ERR_TYPE, "(a - b) %s takes two times", e->args.item[0]->text), e->pos);
    const char *unit = e->args.item[0]->text;
    bool months = strcmp(unit, "YEAR") == 0 || strcmp(unit, "QUARTER") == 0 || strcmp(unit, "MONTH") == 0;
    if (!months) return bind_function(x, "-", e->pos, args + 1, 2, ret);
    expr_t *diff[3] = {bind_symbol(x->b, "MONTH"), args[2], args[1]};
    TRY(bind_function(x, "TIMESTAMPDIFF", e->pos, diff, 3, ret));
    return err_pos(cast_bind(x->b->arena, *ret, type_nullable(x->b->arena, &type_interval_month, (*ret)->type->nullable), CAST_EXPLICIT, ret), e->pos);
}

/* The ends of a period (begin, end) or (begin, interval), in order. */
static err_t *bind_period(expr_ctx_t *x, const ast_expr_t *row, expr_t *ends[2]) {
    if (row->kind != AST_OP || strcmp(row->text, "ROW") != 0 || row->args.n != 2)
        return err_pos(err_hint(err_new(ERR_TYPE, "OVERLAPS compares two periods"), "write (begin, end) OVERLAPS (begin, end)"), row->pos);
    expr_t **args;
    TRY(bind_args(x, &row->args, &args));
    if (!type_is_temporal(args[0]->type))
        return err_pos(err_new(ERR_TYPE, "a period begins with a time, not %s", type_text(x->b->arena, args[0]->type)), row->pos);
    if (type_is_interval(args[1]->type)) TRY(bind_function(x, "+", row->pos, args, 2, &args[1]));
    expr_t *ordered, *up[3], *down[3];
    TRY(bind_function(x, "<=", row->pos, args, 2, &ordered));
    up[0] = down[0] = ordered;
    up[1] = down[2] = args[0];
    up[2] = down[1] = args[1];
    TRY(bind_function(x, "CASE", row->pos, up, 3, &ends[0]));
    return bind_function(x, "CASE", row->pos, down, 3, &ends[1]);
}

static err_t *bind_overlaps(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    expr_t *a[2], *b[2], *both[2];
    TRY(bind_period(x, e->args.item[0], a));
    TRY(bind_period(x, e->args.item[1], b));
    TRY(bind_function(x, ">=", e->pos, (expr_t *[]){a[1], b[0]}, 2, &both[0]));
    TRY(bind_function(x, ">=", e->pos, (expr_t *[]){b[1], a[0]}, 2, &both[1]));
    return bind_function(x, "AND", e->pos, both, 2, ret);
}

static err_t *bind_op(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    if (strcmp(e->text, "OVERLAPS") == 0) return bind_overlaps(x, e, ret);
    if (strcmp(e->text, "MINUS_DATE") == 0) return bind_difference(x, e, ret);
    if (strcmp(e->text, "FINAL") == 0 || strcmp(e->text, "RUNNING") == 0)
        return refuse(e->pos, "FINAL and RUNNING outside MATCH_RECOGNIZE", "leave the word out");
    /* -9223372036854775808 is one literal: its digits alone do not fit into BIGINT */
    if (strcmp(e->text, "NEG") == 0 && e->args.n == 1 && e->args.item[0]->kind == AST_INTEGER &&
        strcmp(e->args.item[0]->text, "9223372036854775808") == 0) {
        *ret = positioned(literal_i64(x->b, &type_bigint, INT64_MIN), e->pos);
        return NULL;
    }
    expr_t **args;
    TRY(bind_args(x, &e->args, &args));
    return bind_function(x, e->text, e->pos, args, e->args.n, ret);
}

static err_t *bind_case(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    int n = 0;
    expr_t **args = ARENA_ARRAY(x->b->arena, expr_t *, e->args.n + 2), *base = NULL;
    if (e->base) TRY(bind_expr(x, e->base, &base));
    for (int i = 0; i < e->args.n; i++) {
        expr_t *a;
        TRY(bind_expr(x, e->args.item[i], &a));
        if (base && i % 2 == 0) {
            expr_t *pair[2] = {base, a};
            TRY(bind_function(x, "=", e->args.item[i]->pos, pair, 2, &a));
        }
        args[n++] = a;
    }
    if (e->els) TRY(bind_expr(x, e->els, &args[n++]));
    return bind_function(x, "CASE", e->pos, args, n, ret);
}

static err_t *bind_cast(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    expr_t *arg;
    TRY(bind_expr(x, e->base, &arg));
    const type_t *to = e->type->type;
    /* the target's nullability is the argument's: CAST does not make or lose nulls */
    to = type_nullable(x->b->arena, to, e->is_try || arg->type->nullable || arg->type->kind == TYPE_NULL);
    TRY(err_pos(cast_bind(x->b->arena, arg, to, e->is_try ? CAST_TRY : CAST_EXPLICIT, ret), e->pos));
    positioned(*ret, e->pos);
    return NULL;
}

static err_t *bind_query_expr(const ast_expr_t *e) {
    static const char *const out = "write it as a join or a view; joins come with a later version";
    switch (e->kind) {
    case AST_EXISTS: return refuse(e->pos, "EXISTS (query)", out);
    case AST_IN_QUERY: return refuse(e->pos, "IN (query)",
                                     "list the values: IN (1, 2, 3); sub-queries in conditions come with joins");
    case AST_QUANTIFIED: return refuse(e->pos, "a comparison with ALL, ANY or SOME",
                                       "compare with each value, or with MAX or MIN");
    case AST_COLLECT: return refuse(e->pos, "ARRAY(query), MULTISET(query) and MAP(query)",
                                    "aggregate by ARRAY_AGG or COLLECT in a sub-query in FROM");
    default: return refuse(e->pos, "a query as a value", out);
    }
}

static err_t *bind_dispatch(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    switch (e->kind) {
    case AST_NULL: case AST_BOOL: case AST_INTEGER: case AST_DECIMAL: case AST_FLOAT: case AST_STRING: case AST_BINARY:
    case AST_DATE: case AST_TIME: case AST_TIMESTAMP: case AST_TIMESTAMP_LTZ: case AST_INTERVAL:
        return bind_literal(x->b, e, ret);
    case AST_COLUMN: return bind_column(x, e, ret);
    case AST_SYMBOL: *ret = bind_symbol(x->b, e->text); return NULL;
    case AST_OP: return bind_op(x, e, ret);
    case AST_CALL: return bind_call(x, e, ret);
    case AST_CASE: return bind_case(x, e, ret);
    case AST_CAST: return bind_cast(x, e, ret);
    case AST_SUBQUERY: case AST_EXISTS: case AST_IN_QUERY: case AST_QUANTIFIED: case AST_COLLECT:
        return bind_query_expr(e);
    case AST_STAR:
        return err_pos(err_new(ERR_INVALID, "* stands for all columns only in a SELECT list and in COUNT(*)"),
                       e->pos);
    case AST_DEFAULT: return refuse(e->pos, "DEFAULT",
                                    "leave the column out of the INSERT's column list: it becomes NULL");
    case AST_NAMED_ARG: return refuse(e->pos, "an argument by name", "give the arguments in order");
    case AST_TABLE_ARG:
    case AST_DESCRIPTOR:
        return err_pos(err_new(ERR_INVALID, "a table or DESCRIPTOR is an argument of table functions only"), e->pos);
    }
    UNREACHABLE();
}

err_t *bind_expr(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    TRY(bind_dispatch(x, e, ret));
    positioned(*ret, e->pos);
    /* shared sub-trees (CASE x WHEN) can make a small text an enormous expression */
    if (expr_size(*ret, EXPR_SIZE_MAX + 1) > EXPR_SIZE_MAX)
        return err_pos(err_hint(err_new(ERR_LIMIT, "the expression has more than %d parts", EXPR_SIZE_MAX),
                                "split it over several views"),
                       e->pos);
    return NULL;
}

err_t *bind_predicate(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    TRY(bind_expr(x, e, ret));
    if ((*ret)->type->kind == TYPE_NULL) return err_pos(cast_bind(x->b->arena, *ret, &type_boolean,
            CAST_EXPLICIT, ret), e->pos);
    if ((*ret)->type->kind == TYPE_BOOLEAN) return NULL;
    return err_pos(err_hint(err_new(ERR_TYPE, "%s needs a condition, this is %s", x->clause,
                                    type_text(x->b->arena, (*ret)->type)),
                            "compare it with something"),
                   e->pos);
}
