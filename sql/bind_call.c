/* bind_call.c: calls: functions, aggregates, what only exists in a grouped SELECT, JSON's clauses. */
#include <ctype.h>

#include "sql/bind.h"
#include "common/near.h"

static const char *upper(arena_t *a, const char *s) {
    char *u = arena_strdup(a, s);
    for (char *p = u; *p; p++) *p = (char)toupper((unsigned char)*p);
    return u;
}

static err_t *args_of(expr_ctx_t *x, const ast_exprs_t *in, expr_t ***ret) {
    *ret = ARENA_ARRAY(x->b->arena, expr_t *, in->n + 1);
    for (int i = 0; i < in->n; i++) TRY(bind_expr(x, in->item[i], &(*ret)[i]));
    return NULL;
}

static bool ref_equal(const agg_ref_t *a, const agg_ref_t *b) {
    if (a->fn != b->fn || a->distinct != b->distinct || a->nargs != b->nargs ||
        !a->filter != !b->filter) return false;
    for (int i = 0; i < a->nargs; i++)
        if (!expr_equal(a->args[i], b->args[i])) return false;
    return !a->filter || expr_equal(a->filter, b->filter);
}

/* The call's number; equal calls are one. */
static int group_add(arena_t *a, group_t *g, const agg_ref_t *r) {
    for (int i = 0; i < g->naggs; i++)
        if (ref_equal(&g->aggs[i], r)) return i;
    if (g->naggs == g->aggs_cap) {
        int cap = g->aggs_cap ? g->aggs_cap * 2 : 8;
        agg_ref_t *more = ARENA_ARRAY(a, agg_ref_t, cap);
        for (int i = 0; i < g->naggs; i++) more[i] = g->aggs[i];
        g->aggs = more;
        g->aggs_cap = cap;
    }
    g->aggs[g->naggs] = *r;
    return g->naggs++;
}

/* JSON_ARRAYAGG(value), JSON_OBJECTAGG(key, value): the value becomes JSON text, unless it is already, and comes first. */
static err_t *json_agg_args(expr_ctx_t *x, const char **name, const ast_expr_t *e, agg_ref_t *r) {
    static const char *const names[2][3] = {
        {"JSON_ARRAYAGG_ABSENT_ON_NULL", "JSON_ARRAYAGG_NULL_ON_NULL", "JSON_ARRAYAGG_ABSENT_ON_NULL"},
        {"JSON_OBJECTAGG_NULL_ON_NULL", "JSON_OBJECTAGG_NULL_ON_NULL", "JSON_OBJECTAGG_ABSENT_ON_NULL"}};
    bool object = strncmp(*name, "JSON_OBJECTAGG", 14) == 0;
    if (!object && strncmp(*name, "JSON_ARRAYAGG", 13) != 0) return NULL;
    if (r->nargs != (object ? 2 : 1)) return err_pos(err_new(ERR_TYPE, "%s takes %s", *name, object ? "a key and a value" : "one value"), e->pos);
    if (e->call->json) *name = names[object][e->call->json->on_null];
    expr_t *value = r->args[object];
    const char *made = value->kind == EXPR_CALL ? func_name(value->func) : "";
    if (strcmp(made, "JSON") == 0) return refuse(e->args.item[object]->pos, "JSON(..) as a value of an aggregate", "leave JSON(..) out");
    if (strcmp(made, "JSON_OBJECT") != 0 && strcmp(made, "JSON_ARRAY") != 0)
        TRY(err_pos(func_bind(x->b->arena, "JSON_STRING", &value, 1, &value), e->args.item[object]->pos));
    r->args[1] = r->args[0];
    r->args[0] = value;
    return NULL;
}

static err_t *bind_agg_call(expr_ctx_t *x, const ast_expr_t *e, const char *name, expr_t **ret) {
    const ast_call_t *c = e->call;
    if (!x->group)
        return err_pos(err_hint(err_new(ERR_INVALID, "aggregate %s is not allowed in %s", name, x->clause),
                                strcmp(x->clause, "WHERE") == 0 ? "use HAVING, or aggregate in a sub-query"
                                                                : "aggregate in a sub-query in FROM"),
                       e->pos);
    if (x->in_agg)
        return err_pos(err_hint(err_new(ERR_INVALID, "aggregate %s inside an aggregate", name),
                                "aggregate in a sub-query in FROM first"),
                       e->pos);
    if (e->args.n > 4) return err_pos(err_new(ERR_TYPE, "%s has at most 4 arguments", name), e->pos);
    if (c->star && strcmp(name, "COUNT") != 0)
        return err_pos(err_new(ERR_INVALID, "* is an argument of COUNT only"), e->pos);
    agg_ref_t r = {.distinct = c->distinct, .nargs = e->args.n};
    expr_t *not_null = NULL; /* ARRAY_AGG(x IGNORE NULLS) */
    expr_ctx_t inner = *x;
    inner.in_agg = true;
    for (int i = 0; i < e->args.n; i++) TRY(bind_expr(&inner, e->args.item[i], &r.args[i]));
    if (c->nulls == 2 && r.nargs == 1) TRY(func_bind(x->b->arena, "IS NOT NULL", r.args, 1, &not_null));
    TRY(json_agg_args(x, &name, e, &r));
    if (strcmp(name, "APPROX_COUNT_DISTINCT") == 0) { /* exact here */
        name = "COUNT";
        r.distinct = true;
        if (r.nargs != 1) return err_pos(err_new(ERR_TYPE, "APPROX_COUNT_DISTINCT takes one argument"), e->pos);
    }
    if (c->filter) TRY(bind_predicate(&inner, c->filter, &r.filter));
    expr_t *both[2] = {not_null, r.filter};
    if (not_null && r.filter) TRY(func_bind(x->b->arena, "AND", both, 2, &r.filter));
    else if (not_null) r.filter = not_null;
    TRY(err_pos(agg_bind(x->b->arena, name, r.distinct, r.args, r.nargs, &r.fn, &r.type), e->pos));
    *ret = expr_column(x->b->arena, COLUMN_AGG + group_add(x->b->arena, x->group, &r), r.type);
    return NULL;
}

/* GROUPING(a), GROUPING_ID(a, b), GROUP_ID(): which keys the row's grouping set left out, as bits. */
static err_t *bind_grouping(expr_ctx_t *x, const ast_expr_t *e, const char *name, expr_t **ret) {
    arena_t *a = x->b->arena;
    group_t *g = x->group;
    if (!g || x->in_agg) return err_pos(err_new(ERR_INVALID, "%s needs a GROUP BY", name), e->pos);
    if (strcmp(name, "GROUP_ID") == 0) { /* no grouping set is there twice */
        if (e->args.n) return err_pos(err_new(ERR_TYPE, "GROUP_ID takes no arguments"), e->pos);
        *ret = expr_literal(a, type_nullable(a, &type_bigint, false), (value_t){.i = 0});
        return NULL;
    }
    if (e->args.n == 0 || e->args.n > 30)
        return err_pos(err_new(ERR_TYPE, "%s takes 1 to 30 grouping expressions", name), e->pos);
    if (g->ngrouping == g->grouping_cap) {
        int cap = g->grouping_cap ? g->grouping_cap * 2 : 4;
        grouping_ref_t *more = ARENA_ARRAY(a, grouping_ref_t, cap);
        for (int i = 0; i < g->ngrouping; i++) more[i] = g->grouping[i];
        g->grouping = more;
        g->grouping_cap = cap;
    }
    grouping_ref_t *r = &g->grouping[g->ngrouping];
    *r = (grouping_ref_t){.n = e->args.n, .pos = e->pos};
    TRY(args_of(x, &e->args, &r->args));
    *ret = expr_column(a, COLUMN_GROUPING + g->ngrouping++, type_nullable(a, &type_bigint, false));
    return NULL;
}

static err_t *unknown_function(err_t *e, const char *name) {
    static const char *const others[] = {"COUNT", "SUM", "AVG", "MIN", "MAX", "LISTAGG", "COLLECT", "ARRAY_AGG",
                                         "JSON_OBJECTAGG", "JSON_ARRAYAGG", "APPROX_COUNT_DISTINCT",
                                         "FIRST_VALUE", "LAST_VALUE", "PERCENTILE", "STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP",
                                         "TUMBLE_START", "TUMBLE_END", "TUMBLE_ROWTIME", "HOP_START", "HOP_END",
                                         "HOP_ROWTIME", "GROUPING", "GROUPING_ID"};
    if (err_code(e) != ERR_NOT_FOUND) return e;
    near_t near = {.wanted = name};
    func_offer(&near);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) near_offer(&near, others[i]);
    return near_word(&near) ? err_hint(e, "did you mean %s?", near_word(&near)) : e;
}

static err_t *refuse_clauses(const ast_expr_t *e, const char *name) {
    const ast_call_t *c = e->call;
    if (c->over)
        return err_pos(err_hint(err_new(ERR_UNSUPPORTED, "%s OVER (..) is not supported", name),
                                "aggregate over windows (TUMBLE, HOP, CUMULATE) with GROUP BY instead"),
                       e->pos);
    if (c->within.n) return refuse(e->pos, "WITHIN GROUP (ORDER BY ..)",
                                   "leave it out: rows are aggregated as they arrive");
    if (c->nulls && strcmp(name, "ARRAY_AGG") != 0) return refuse(e->pos, "IGNORE NULLS and RESPECT NULLS",
                                "filter the NULLs: f(x) FILTER (WHERE x IS NOT NULL)");
    return NULL;
}

err_t *bind_call(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    const ast_call_t *c = e->call;
    const char *name = upper(x->b->arena, c->name.part[c->name.n - 1]);
    TRY(refuse_clauses(e, name));
    if (agg_exists(name) || strcmp(name, "APPROX_COUNT_DISTINCT") == 0) return bind_agg_call(x, e, name, ret);
    if (strcmp(name, "GROUPING") == 0 || strcmp(name, "GROUPING_ID") == 0 || strcmp(name, "GROUP_ID") == 0)
        return bind_grouping(x, e, name, ret);
    bool is_prop;
    TRY(bind_group_prop(x, e, &is_prop, ret));
    if (is_prop) return NULL;
    window_kind_t kind;
    if (group_window_kind(e, &kind))
        return err_pos(err_hint(err_new(ERR_INVALID, "%s(..) is a group window: it stands in GROUP BY only", name),
                                "select its ends by %s_START(..) and %s_END(..)", name, name),
                       e->pos);
    if (c->distinct || c->filter || c->star)
        return err_pos(err_new(ERR_INVALID, "%s is no aggregate: DISTINCT, FILTER and * do not apply", name), e->pos);
    if (c->json) return bind_json_call(x, e, name, ret);
    expr_t **args;
    TRY(args_of(x, &e->args, &args));
    err_t *err = func_bind(x->b->arena, name, args, e->args.n, ret);
    return err ? err_pos(unknown_function(err, name), e->pos) : NULL;
}
