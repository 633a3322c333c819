/* bind_aggregate.c: from a bound group to relations: projection of keys and arguments (one per grouping set), aggregate,
 * and the SELECT's expressions over its result. See bind_group.c. */
#include "sql/bind.h"

typedef struct build {
    bind_t *b;
    group_t *g;
    rel_t *input;       /* under the window, if there is one of its own */
    ast_pos_t pos;
    /* the projection below the aggregate */
    int n, cap;
    expr_t **exprs;
    const char **names;
    /* where things went */
    int *key_col;       /* per key: column of the projection, -1 for window columns */
    int *key_prop;      /* per key: window_prop_t of a window column, else -1 */
    int set_col;        /* number of the grouping set, -1 none */
    int *grouping_col;
    const rel_window_t *window;
    int start_col, end_col;
    rel_t *agg;
    int *key_out;       /* per key: column of the result */
    int *grouping_out;
} build_t;

static const char *unique_name(build_t *u, const char *wanted) {
    for (int i = 0; wanted && i < u->n; i++)
        if (strcmp(u->names[i], wanted) == 0) wanted = NULL;
    return wanted ? wanted : arena_printf(u->b->arena, "$f%d", u->n);
}

/* The projection's column of e, made if it is not there; `fresh`: never share it. */
static int add_column(build_t *u, expr_t *e, const char *name, bool fresh) {
    if (!name && e->kind == EXPR_COLUMN) name = u->input->schema->fields[e->column].name;
    for (int i = 0; i < u->n && !fresh; i++)
        if (expr_equal(u->exprs[i], e)) return i;
    ASSERT(u->n < u->cap);
    u->names[u->n] = unique_name(u, name);
    u->exprs[u->n] = e;
    return u->n++;
}

/* Both ends of one window among the keys, in every set: a windowed aggregate. */
static void find_window(build_t *u) {
    const group_t *g = u->g;
    for (int i = 0; i < g->nkeys; i++) {
        if (g->keys[i]->kind != EXPR_COLUMN) continue;
        const col_prop_t *s = &u->input->props[g->keys[i]->column];
        if (s->role != ROLE_START) continue;
        for (int j = 0; j < g->nkeys; j++) {
            if (g->keys[j]->kind != EXPR_COLUMN) continue;
            const col_prop_t *e = &u->input->props[g->keys[j]->column];
            bool everywhere = e->role == ROLE_END && e->window == s->window;
            for (int k = 0; k < g->nsets; k++) everywhere = everywhere && g->in_set[k][i] && g->in_set[k][j];
            if (!everywhere) continue;
            u->window = s->window;
            u->start_col = g->keys[i]->column;
            u->end_col = g->keys[j]->column;
            return;
        }
    }
}

static int key_window_prop(const build_t *u, const expr_t *key) {
    if (!u->window || key->kind != EXPR_COLUMN) return -1;
    const col_prop_t *p = &u->input->props[key->column];
    if (p->window != u->window || p->role == ROLE_NONE) return -1;
    return p->role == ROLE_START ? (int)WINDOW_PROP_START : p->role == ROLE_END ? (int)WINDOW_PROP_END
        : (int)WINDOW_PROP_TIME;
}

static err_t *grouping_value(const build_t *u, const grouping_ref_t *r, int set, int64_t *ret) {
    *ret = 0;
    for (int i = 0; i < r->n; i++) {
        int k = 0;
        while (k < u->g->nkeys && !expr_equal(u->g->keys[k], r->args[i])) k++;
        if (k == u->g->nkeys)
            return err_pos(err_new(ERR_INVALID, "argument %d of GROUPING is not an expression of GROUP BY",
                                   i + 1), r->pos);
        *ret = *ret << 1 | !u->g->in_set[set][k];
    }
    return NULL;
}

static expr_t *bigint(build_t *u, int64_t v) {
    return expr_literal(u->b->arena, type_nullable(u->b->arena, &type_bigint, false), (value_t){.i = v});
}

static err_t *plan_columns(build_t *u) {
    arena_t *a = u->b->arena;
    group_t *g = u->g;
    u->cap = g->nkeys + g->ngrouping + 5 * g->naggs + 4;
    u->exprs = ARENA_ARRAY(a, expr_t *, u->cap);
    u->names = ARENA_ARRAY(a, const char *, u->cap);
    u->key_col = ARENA_ARRAY(a, int, g->nkeys + 1);
    u->key_prop = ARENA_ARRAY(a, int, g->nkeys + 1);
    for (int i = 0; i < g->nkeys; i++) {
        u->key_prop[i] = key_window_prop(u, g->keys[i]);
        u->key_col[i] = u->key_prop[i] >= 0 ? -1 : add_column(u, g->keys[i], NULL, true);
    }
    u->set_col = g->nsets ? add_column(u, bigint(u, 0), "$set", true) : -1;
    u->grouping_col = ARENA_ARRAY(a, int, g->ngrouping + 1);
    for (int i = 0; i < g->ngrouping; i++)
        u->grouping_col[i] = g->nsets ? add_column(u, bigint(u, 0), NULL, true) : -1;
    return NULL;
}

static agg_call_t *plan_calls(build_t *u) {
    group_t *g = u->g;
    agg_call_t *calls = ARENA_ARRAY(u->b->arena, agg_call_t, g->naggs + 1);
    for (int i = 0; i < g->naggs; i++) {
        const agg_ref_t *r = &g->aggs[i];
        agg_call_t *c = &calls[i];
        *c = (agg_call_t){.fn = r->fn, .distinct = r->distinct, .nargs = r->nargs, .filter = -1, .type = r->type,
                          .name = arena_printf(u->b->arena, "$agg%d", i)};
        for (int j = 0; j < r->nargs; j++) {
            /* with grouping sets a key's column is NULLed in some sets: arguments have columns of their own */
            c->args[j] = add_column(u, r->args[j], NULL, g->nsets > 0);
            c->arg_types[j] = r->args[j]->type;
        }
        if (r->filter) c->filter = add_column(u, r->filter, NULL, false);
    }
    return calls;
}

/* The projection of one grouping set: keys it leaves out are NULL. */
static err_t *set_projection(build_t *u, int set, rel_t **ret) {
    arena_t *a = u->b->arena;
    group_t *g = u->g;
    expr_t **exprs = arena_memdup(a, u->exprs, sizeof(expr_t *) * (size_t)(u->n + 1));
    for (int i = 0; i < g->nkeys; i++) {
        if (u->key_col[i] < 0) continue;
        const type_t *t = type_nullable(a, g->keys[i]->type, true);
        if (!g->in_set[set][i]) exprs[u->key_col[i]] = expr_null(a, t);
    }
    exprs[u->set_col] = bigint(u, set);
    for (int i = 0; i < g->ngrouping; i++) {
        int64_t v;
        TRY(grouping_value(u, &g->grouping[i], set, &v));
        exprs[u->grouping_col[i]] = bigint(u, v);
    }
    *ret = rel_at(rel_project(u->b->rels, u->input, exprs, u->names, u->n), u->pos.line, u->pos.col);
    return NULL;
}

static err_t *project_input(build_t *u, rel_t **ret) {
    arena_t *a = u->b->arena;
    if (!u->g->nsets) {
        *ret = rel_at(rel_project(u->b->rels, u->input, u->exprs, u->names, u->n), u->pos.line, u->pos.col);
        return NULL;
    }
    rel_t **parts = ARENA_ARRAY(a, rel_t *, u->g->nsets);
    for (int i = 0; i < u->g->nsets; i++) TRY(set_projection(u, i, &parts[i]));
    schema_t *s = schema_new(a, u->n);
    for (int i = 0; i < u->n; i++) s->fields[i] = (field_t){u->names[i], u->exprs[i]->type};
    for (int i = 0; i < u->g->nkeys; i++)
        if (u->key_col[i] >= 0) {
            field_t *f = &s->fields[u->key_col[i]];
            f->type = type_nullable(a, f->type, true);
        }
    *ret = rel_at(rel_union(u->b->rels, parts, u->g->nsets, s), u->pos.line, u->pos.col);
    return NULL;
}

/* ---- expressions over the result */
static expr_t *out_column(build_t *u, int column, const expr_t *like) {
    expr_t *c = expr_column(u->b->arena, column, u->agg->schema->fields[column].type);
    c->line = like->line;
    c->col = like->col;
    return c;
}

static int prop_out(const build_t *u, int prop) { return u->agg->agg.nkeys + u->agg->agg.naggs + prop; }

static err_t *rewrite(build_t *u, const expr_t *e, expr_t **ret) {
    for (int i = 0; i < u->g->nkeys; i++)
        if (expr_equal(u->g->keys[i], e)) {
            *ret = out_column(u, u->key_prop[i] >= 0 ? prop_out(u, u->key_prop[i]) : u->key_out[i], e);
            return NULL;
        }
    if (e->kind == EXPR_LITERAL) {
        *ret = (expr_t *)e;
        return NULL;
    }
    if (e->kind == EXPR_COLUMN) {
        if (e->column >= COLUMN_GROUPING && !u->g->nsets) *ret = bigint(u, 0);
        else if (e->column >= COLUMN_GROUPING) *ret = out_column(u, u->grouping_out[e->column - COLUMN_GROUPING], e);
        else if (e->column >= COLUMN_PROP) *ret = out_column(u, prop_out(u, e->column - COLUMN_PROP), e);
        else if (e->column >= COLUMN_AGG) *ret = out_column(u, u->agg->agg.nkeys + e->column - COLUMN_AGG, e);
        else
            return err_at(err_hint(err_new(ERR_INVALID, "column '%s' is neither grouped nor aggregated",
                                           u->input->schema->fields[e->column].name),
                                   "add it to GROUP BY, or use an aggregate such as MAX(%s)",
                                   u->input->schema->fields[e->column].name),
                          e->line ? e->line : u->pos.line, e->line ? e->col : u->pos.col);
        return NULL;
    }
    expr_t *c = arena_memdup(u->b->arena, e, sizeof *e);
    c->args = ARENA_ARRAY(u->b->arena, expr_t *, e->nargs + 1);
    for (int i = 0; i < e->nargs; i++) TRY(rewrite(u, e->args[i], &c->args[i]));
    *ret = c;
    return NULL;
}

/* GROUP BY TUMBLE(..): the window below, and its columns as the attached ones. */
static void open_window(build_t *u) {
    const group_t *g = u->g;
    if (!g->window) {
        find_window(u);
        return;
    }
    int n = u->input->schema->n;
    ast_pos_t p = g->window_call->pos;
    u->input = rel_at(rel_window(u->b->rels, u->input, g->window, g->window->proctime ? -1
                                 : g->window_time_col), p.line, p.col);
    u->window = g->window;
    u->start_col = n;
    u->end_col = n + 1;
}

static int *key_columns(build_t *u, int *ret_n) {
    const group_t *g = u->g;
    int n = 0, *keys = ARENA_ARRAY(u->b->arena, int, g->nkeys + g->ngrouping + 2);
    u->key_out = ARENA_ARRAY(u->b->arena, int, g->nkeys + 1);
    u->grouping_out = ARENA_ARRAY(u->b->arena, int, g->ngrouping + 1);
    for (int i = 0; i < g->nkeys; i++)
        if (u->key_col[i] >= 0) u->key_out[i] = n, keys[n++] = u->key_col[i];
    if (u->set_col >= 0) keys[n++] = u->set_col;
    for (int i = 0; i < g->ngrouping && g->nsets; i++) u->grouping_out[i] = n, keys[n++] = u->grouping_col[i];
    *ret_n = n;
    return keys;
}

static err_t *aggregate_rel(build_t *u) {
    static const window_prop_t all[] = {WINDOW_PROP_START, WINDOW_PROP_END, WINDOW_PROP_TIME};
    rel_t spec = {0};
    spec.agg.start_col = spec.agg.end_col = spec.agg.time_col = -1;
    TRY(plan_columns(u));
    spec.agg.aggs = plan_calls(u);
    spec.agg.naggs = u->g->naggs;
    if (u->window) {
        const schema_t *s = u->input->schema;
        spec.agg.window = u->window;
        spec.agg.start_col = add_column(u, expr_column(u->b->arena, u->start_col, s->fields[u->start_col].type),
                                        NULL, true);
        spec.agg.end_col = add_column(u, expr_column(u->b->arena, u->end_col, s->fields[u->end_col].type), NULL,
                                      true);
        spec.agg.nprops = 3;
        spec.agg.props = all;
    }
    if (u->n == 0) add_column(u, bigint(u, 0), NULL, true); /* COUNT(*) alone reads rows, not columns */
    rel_t *projected;
    TRY(project_input(u, &projected));
    spec.agg.keys = key_columns(u, &spec.agg.nkeys);
    u->agg = rel_at(rel_aggregate(u->b->rels, projected, &spec), u->pos.line, u->pos.col);
    return NULL;
}

/* GROUP BY () without any aggregate still makes one row, and a row has a column. */
static err_t *one_column_at_least(bind_t *b, group_t *g) {
    if (g->nkeys > 0 || g->naggs > 0 || g->window) return NULL;
    g->aggs = ARENA_NEW(b->arena, agg_ref_t);
    g->naggs = 1;
    return agg_bind(b->arena, "COUNT", false, g->aggs[0].args, 0, &g->aggs[0].fn, &g->aggs[0].type);
}

err_t *bind_aggregate(bind_t *b, group_t *g, rel_t *input, expr_t **exprs, int n, ast_pos_t pos, rel_t **ret) {
    TRY(one_column_at_least(b, g));
    build_t u = {.b = b, .g = g, .input = input, .pos = pos};
    open_window(&u);
    TRY(aggregate_rel(&u));
    for (int i = 0; i < n; i++) TRY(rewrite(&u, exprs[i], &exprs[i]));
    *ret = u.agg;
    return NULL;
}

/* DISTINCT: grouped by every column, windows included. */
err_t *bind_distinct(bind_t *b, rel_t *input, rel_t **ret) {
    int n = input->schema->n;
    group_t g = {.nkeys = n, .keys = ARENA_ARRAY(b->arena, expr_t *, n + 1)};
    expr_t **exprs = ARENA_ARRAY(b->arena, expr_t *, n + 1);
    const char **names = ARENA_ARRAY(b->arena, const char *, n + 1);
    for (int i = 0; i < n; i++) {
        g.keys[i] = exprs[i] = expr_column(b->arena, i, input->schema->fields[i].type);
        names[i] = input->schema->fields[i].name;
    }
    rel_t *agg;
    TRY(bind_aggregate(b, &g, input, exprs, n, (ast_pos_t){input->line, input->col}, &agg));
    *ret = rel_project(b->rels, agg, exprs, names, n);
    return NULL;
}
