/* bind_query.c: SELECT, VALUES, UNION, WITH. */
#include "common/map.h"
#include "sql/bind.h"

/* ---- names of result columns */
/* An alias; else the last part of a column path; else EXPR$n, as Flink. */
static const char *item_name(bind_t *b, const ast_named_expr_t *item, int index) {
    if (item->alias) return item->alias;
    const ast_expr_t *e = item->expr;
    if (e->kind == AST_COLUMN) return e->name.part[e->name.n - 1];
    if (e->kind == AST_OP && strcmp(e->text, "FIELD") == 0 && e->args.n == 2 && e->args.item[1]->kind == AST_SYMBOL)
        return e->args.item[1]->text;
    return arena_printf(b->arena, "EXPR$%d", index);
}

/* a, a, a become a, a0, a1. */
static void unique_names(bind_t *b, const char **names, int n) {
    map_t *taken = map_new(); /* name -> number to try next, plus one */
    for (int i = 0; i < n; i++) {
        intptr_t next = (intptr_t)map_get_str(taken, names[i]);
        const char *base = names[i];
        while (next > 0 && map_get_str(taken, names[i]))
            names[i] = arena_printf(b->arena, "%s%d", base, (int)(next++ - 1));
        if (next > 0) map_put_str(taken, base, (void *)next);
        map_put_str(taken, names[i], (void *)(intptr_t)1);
    }
    map_free(taken, NULL);
}

rel_t *bind_renamed(bind_t *b, rel_t *r, const char *const *names, int n) {
    expr_t **exprs = ARENA_ARRAY(b->arena, expr_t *, n + 1);
    for (int i = 0; i < n; i++) exprs[i] = expr_column(b->arena, i, r->schema->fields[i].type);
    return rel_project(b->rels, r, exprs, names, n);
}

err_t *bind_aliased(bind_t *b, const char *what, ast_pos_t pos, rel_t *r, const ast_idents_t *columns, rel_t **ret) {
    if (columns->n != r->schema->n)
        return err_pos(err_new(ERR_INVALID, "'%s' has %d columns, its list of names %d", what, r->schema->n,
                               columns->n), pos);
    const char **names = ARENA_ARRAY(b->arena, const char *, columns->n + 1);
    for (int i = 0; i < columns->n; i++) {
        names[i] = columns->item[i].text;
        for (int j = 0; j < i; j++)
            if (strcmp(names[i], names[j]) == 0)
                return err_pos(err_new(ERR_INVALID, "column name '%s' is given twice", names[i]),
                               columns->item[i].pos);
    }
    *ret = bind_renamed(b, r, names, columns->n);
    return NULL;
}

/* ---- SELECT */
typedef struct select_list {
    int n, cap;
    expr_t **exprs;
    const char **names;
    ast_pos_t *pos;
} select_list_t;

static void list_add(bind_t *b, select_list_t *l, expr_t *e, const char *name, ast_pos_t pos) {
    if (l->n == l->cap) {
        int cap = l->cap ? l->cap * 2 : 16;
        expr_t **exprs = ARENA_ARRAY(b->arena, expr_t *, cap);
        const char **names = ARENA_ARRAY(b->arena, const char *, cap);
        ast_pos_t *at = ARENA_ARRAY(b->arena, ast_pos_t, cap);
        for (int i = 0; i < l->n; i++) exprs[i] = l->exprs[i], names[i] = l->names[i], at[i] = l->pos[i];
        *l = (select_list_t){l->n, cap, exprs, names, at};
    }
    l->exprs[l->n] = e;
    l->names[l->n] = name;
    l->pos[l->n++] = pos;
}

static err_t *expand_star(expr_ctx_t *x, const ast_expr_t *star, select_list_t *l) {
    const scope_t *s = x->scope;
    if (!s->rel) return err_pos(err_new(ERR_INVALID, "SELECT * without FROM has no columns"), star->pos);
    int first = 0, n = s->rel->schema->n;
    if (star->name.n > 0) {
        const scope_range_t *r;
        TRY(scope_range(s, &star->name, &r));
        first = r->first;
        n = r->n;
    }
    for (int i = first; i < first + n; i++) {
        expr_t *c = expr_column(x->b->arena, i, s->rel->schema->fields[i].type);
        c->line = star->pos.line;
        c->col = star->pos.col;
        list_add(x->b, l, c, s->rel->schema->fields[i].name, star->pos);
    }
    return NULL;
}

static err_t *bind_items(expr_ctx_t *x, const ast_select_t *s, select_list_t *l) {
    for (int i = 0; i < s->items.n; i++) {
        const ast_named_expr_t *item = &s->items.item[i];
        if (item->expr->kind == AST_STAR) {
            TRY(expand_star(x, item->expr, l));
            continue;
        }
        expr_t *e;
        TRY(bind_expr(x, item->expr, &e));
        if (e->type->kind == TYPE_SYMBOL)
            return err_pos(err_new(ERR_INVALID, "%s is a keyword, not a value", item->expr->text), item->expr->pos);
        list_add(x->b, l, e, item_name(x->b, item, l->n), item->expr->pos);
    }
    unique_names(x->b, l->names, l->n);
    return NULL;
}

/* SELECT without FROM reads one row of one column nobody sees. */
static rel_t *one_row(bind_t *b, ast_pos_t pos) {
    expr_t ***rows = ARENA_ARRAY(b->arena, expr_t **, 1);
    rows[0] = ARENA_ARRAY(b->arena, expr_t *, 1);
    rows[0][0] = expr_literal(b->arena, type_nullable(b->arena, &type_int, false), (value_t){.i = 0});
    schema_t *s = schema_new(b->arena, 1);
    s->fields[0] = (field_t){"ZERO", rows[0][0]->type};
    return rel_at(rel_values(b->rels, rows, 1, s), pos.line, pos.col);
}

static err_t *refuse_select(const ast_select_t *s) {
    if (s->qualify) return refuse(s->qualify->pos, "QUALIFY",
                                  "it filters OVER aggregates, which are not part of this version");
    if (s->nwindow) return refuse(s->window[0]->pos, "WINDOW",
                                  "it names OVER windows, which are not part of this version");
    return NULL;
}

static err_t *bind_where(bind_t *b, const ast_select_t *s, const scope_t *scope, rel_t **rel) {
    if (!s->where) return NULL;
    expr_ctx_t x = {.b = b, .scope = scope, .clause = "WHERE"};
    expr_t *p;
    TRY(bind_predicate(&x, s->where, &p));
    *rel = rel_at(rel_filter(b->rels, *rel, p), s->where->pos.line, s->where->pos.col);
    return NULL;
}

/* Groups and aggregates, if there are any: on return *rel is the aggregate and the expressions are over it. */
static err_t *bind_grouped(expr_ctx_t *x, const ast_select_t *s, select_list_t *l, ast_pos_t pos, rel_t **rel) {
    bind_t *b = x->b;
    group_t *g = x->group;
    expr_t *having = NULL;
    if (s->having) {
        x->clause = "HAVING";
        TRY(bind_predicate(x, s->having, &having));
    }
    if (!s->has_group && g->naggs == 0 && g->ngrouping == 0 && !having) return NULL;
    expr_t **all = ARENA_ARRAY(b->arena, expr_t *, l->n + 1);
    for (int i = 0; i < l->n; i++) all[i] = l->exprs[i];
    all[l->n] = having;
    if (s->has_group && s->ngroup > 0) pos = s->group[0]->pos;
    TRY(bind_aggregate(b, g, *rel, all, l->n + (having ? 1 : 0), pos, rel));
    for (int i = 0; i < l->n; i++) l->exprs[i] = all[i];
    if (having) *rel = rel_at(rel_filter(b->rels, *rel, all[l->n]), s->having->pos.line, s->having->pos.col);
    return NULL;
}

static err_t *bind_select(bind_t *b, const ast_select_t *s, ast_pos_t pos, rel_t **ret) {
    TRY(refuse_select(s));
    scope_t *scope;
    if (s->from) TRY(bind_from(b, s->from, &scope));
    else scope = scope_of(b->arena, NULL, NULL);
    rel_t *rel = s->from ? scope->rel : one_row(b, pos);
    TRY(bind_where(b, s, scope, &rel));
    group_t *g = ARENA_NEW(b->arena, group_t);
    expr_ctx_t x = {.b = b, .scope = scope, .clause = "GROUP BY"};
    if (s->has_group) TRY(bind_group_by(&x, s, g));
    x.group = g;
    x.clause = "SELECT";
    select_list_t l = {0};
    TRY(bind_items(&x, s, &l));
    TRY(bind_grouped(&x, s, &l, pos, &rel));
    *ret = rel_at(rel_project(b->rels, rel, l.exprs, l.names, l.n), pos.line, pos.col);
    if (s->distinct) TRY(bind_distinct(b, *ret, ret));
    return NULL;
}

/* ---- VALUES */
static err_t *values_types(bind_t *b, const ast_query_t *q, expr_t ***rows, schema_t *s) {
    for (int j = 0; j < s->n; j++) {
        const type_t *t = rows[0][j]->type;
        for (int i = 1; i < q->rows.n && t; i++) t = type_common(b->arena, t, rows[i][j]->type);
        if (!t)
            return err_pos(err_hint(err_new(ERR_TYPE,
                                            "column %d of VALUES has values of types that do not go together", j + 1), "CAST them to one type"), q->pos);
        s->fields[j] = (field_t){arena_printf(b->arena, "EXPR$%d", j), t};
        for (int i = 0; i < q->rows.n; i++)
            TRY(err_pos(cast_bind(b->arena, rows[i][j], t, CAST_IMPLICIT, &rows[i][j]), q->rows.item[i]->pos));
    }
    return NULL;
}

static err_t *bind_values(bind_t *b, const ast_query_t *q, rel_t **ret) {
    expr_ctx_t x = {.b = b, .scope = scope_of(b->arena, NULL, NULL), .clause = "VALUES"};
    expr_t ***rows = ARENA_ARRAY(b->arena, expr_t **, q->rows.n + 1);
    int n = q->rows.item[0]->args.n;
    for (int i = 0; i < q->rows.n; i++) {
        const ast_expr_t *row = q->rows.item[i];
        if (row->args.n != n)
            return err_pos(err_new(ERR_INVALID, "row %d of VALUES has %d columns, the first has %d", i + 1,
                                   row->args.n, n), row->pos);
        rows[i] = ARENA_ARRAY(b->arena, expr_t *, n + 1);
        for (int j = 0; j < n; j++) TRY(bind_expr(&x, row->args.item[j], &rows[i][j]));
    }
    schema_t *s = schema_new(b->arena, n);
    TRY(values_types(b, q, rows, s));
    *ret = rel_at(rel_values(b->rels, rows, q->rows.n, s), q->pos.line, q->pos.col);
    return NULL;
}

/* ---- UNION */
/* The input cast to the union's types, under the names of the first. */
static err_t *union_input(bind_t *b, rel_t *in, const schema_t *to, ast_pos_t pos, rel_t **ret) {
    bool same = true;
    expr_t **exprs = ARENA_ARRAY(b->arena, expr_t *, to->n + 1);
    const char **names = ARENA_ARRAY(b->arena, const char *, to->n + 1);
    for (int i = 0; i < to->n; i++) {
        expr_t *c = expr_column(b->arena, i, in->schema->fields[i].type);
        exprs[i] = c;
        if (!type_equal(c->type, to->fields[i].type)) TRY(err_pos(cast_bind(b->arena, c, to->fields[i].type,
                CAST_IMPLICIT, &exprs[i]), pos));
        same = same && exprs[i] == c && strcmp(in->schema->fields[i].name, to->fields[i].name) == 0;
        names[i] = to->fields[i].name;
    }
    *ret = same ? in : rel_project(b->rels, in, exprs, names, to->n);
    return NULL;
}

static err_t *bind_union(bind_t *b, const ast_query_t *q, rel_t **ret) {
    rel_t *side[2];
    TRY(bind_query(b, q->left, &side[0]));
    TRY(bind_query(b, q->right, &side[1]));
    const schema_t *l = side[0]->schema, *r = side[1]->schema;
    if (l->n != r->n)
        return err_pos(err_new(ERR_INVALID, "UNION of %d and %d columns: both sides need as many", l->n, r->n),
                       q->right->pos);
    schema_t *s = schema_new(b->arena, l->n);
    for (int i = 0; i < l->n; i++) {
        const type_t *t = type_common(b->arena, l->fields[i].type, r->fields[i].type);
        if (!t)
            return err_pos(err_hint(err_new(ERR_TYPE, "UNION: column %d is %s on one side and %s on the other", i + 1,
                                            type_text(b->arena, l->fields[i].type), type_text(b->arena,
                                                    r->fields[i].type)),
                                    "CAST one of them"),
                           q->right->pos);
        s->fields[i] = (field_t){l->fields[i].name, t};
    }
    for (int i = 0; i < 2; i++) TRY(union_input(b, side[i], s, i ? q->right->pos : q->left->pos, &side[i]));
    *ret = rel_at(rel_union(b->rels, side, 2, s), q->pos.line, q->pos.col);
    if (!q->all) TRY(bind_distinct(b, *ret, ret));
    return NULL;
}

/* ---- queries */
static err_t *bind_ctes(bind_t *b, const ast_query_t *q) {
    if (q->recursive) return refuse(q->pos, "WITH RECURSIVE",
                                    "streams have no fixed point to reach; write the levels out");
    for (int i = 0; i < q->ncte; i++) {
        const ast_cte_t *c = &q->cte[i];
        bind_cte_t *e = ARENA_NEW(b->arena, bind_cte_t);
        e->name = c->name.text;
        TRY(bind_query(b, c->query, &e->rel));
        if (c->columns.n) TRY(bind_aliased(b, e->name, c->name.pos, e->rel, &c->columns, &e->rel));
        e->next = b->ctes;
        b->ctes = e;
    }
    return NULL;
}

static err_t *bind_body(bind_t *b, const ast_query_t *q, rel_t **ret) {
    switch (q->kind) {
    case AST_QUERY_SELECT: return bind_select(b, q->select, q->pos, ret);
    case AST_QUERY_VALUES: return bind_values(b, q, ret);
    case AST_QUERY_TABLE: return bind_table_ref(b, &q->name, &(ast_hints_t){0}, ret);
    case AST_QUERY_UNION: return bind_union(b, q, ret);
    case AST_QUERY_NESTED: return bind_query(b, q->left, ret);
    case AST_QUERY_INTERSECT: return refuse(q->set_pos, "INTERSECT",
                                            "it needs joins, which are not part of this version");
    case AST_QUERY_EXCEPT: return refuse(q->set_pos, "EXCEPT", "it needs joins, which are not part of this version");
    }
    UNREACHABLE();
}

err_t *bind_query(bind_t *b, const ast_query_t *q, rel_t **ret) {
    if (q->order.n)
        return refuse(q->order.pos, "ORDER BY",
                      "a stream has no end to sort to: leave it out, the consumer sorts; rows within a window come as the window closes");
    if (q->limit) return refuse(q->limit->pos, "LIMIT",
                                "bound the input instead: 'scan.bounded.mode' or 'number-of-rows'");
    if (q->offset) return refuse(q->offset->pos, "OFFSET", "filter the rows by WHERE");
    bind_cte_t *outer = b->ctes;
    TRY(bind_ctes(b, q));
    TRY(bind_body(b, q, ret));
    b->ctes = outer;
    if ((*ret)->depth > REL_DEPTH_MAX)
        return err_pos(err_hint(err_new(ERR_LIMIT, "the query is more than %d operators deep", REL_DEPTH_MAX),
                                "write intermediate results to a table"), q->pos);
    return NULL;
}
