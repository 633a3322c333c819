/* optimize_project.c: projections merged and removed, unions flattened, windows fused with their aggregates. */
#include "sql/optimize_int.h"

/* How often e reads each column, up to what fits. */
static void count_columns(const expr_t *e, int *uses) {
    if (e->kind == EXPR_COLUMN) uses[e->column]++;
    for (int i = 0; i < e->nargs; i++) count_columns(e->args[i], uses);
}

/* May these expressions be written over the input of the project below? */
static bool may_substitute(opt_t *x, expr_t *const *exprs, int n, const rel_t *project) {
    int width = project->schema->n, *uses = ARENA_ARRAY(x->c->arena, int, width + 1);
    size_t total = 0;
    for (int i = 0; i < n; i++) count_columns(exprs[i], uses);
    for (int i = 0; i < width; i++) {
        if (uses[i] == 0) continue;
        if (uses[i] > 1 && !expr_is_deterministic(project->project.exprs[i])) return false;
        total += (size_t)uses[i] * expr_size(project->project.exprs[i], EXPR_SIZE_MAX);
        if (total > EXPR_SIZE_MAX / 4) return false;
    }
    return true;
}

const expr_t *opt_substitute(opt_t *x, const expr_t *e, const rel_t *project) {
    expr_t *one = (expr_t *)e;
    return may_substitute(x, &one, 1, project) ? expr_substitute(x->c->arena, e, project->project.exprs) : NULL;
}

/* Evaluating it again for another consumer costs next to nothing. */
static bool is_cheap(const rel_t *project) {
    size_t total = 0;
    for (int i = 0; i < project->schema->n; i++) {
        if (!expr_is_deterministic(project->project.exprs[i])) return false;
        total += expr_size(project->project.exprs[i], 100) - 1;
    }
    return total <= 24;
}

rel_t *rule_project_merge(opt_t *x, rel_t *r) {
    if (r->kind != REL_PROJECT || r->inputs[0]->kind != REL_PROJECT) return r;
    rel_t *below = r->inputs[0];
    if (!only_consumer(x, below) && !is_cheap(below)) return r;
    int n = r->schema->n;
    if (!may_substitute(x, r->project.exprs, n, below)) return r;
    expr_t **exprs = ARENA_ARRAY(x->c->arena, expr_t *, n + 1);
    for (int i = 0; i < n; i++) exprs[i] = expr_substitute(x->c->arena, r->project.exprs[i], below->project.exprs);
    rel_t *m = rel_with_inputs(x->c, r, &below->inputs[0]);
    m->project.exprs = exprs;
    return m;
}

/* A projection that gives every column of its input, in place and under its name. */
rel_t *rule_project_remove(opt_t *x, rel_t *r) {
    if (r->kind != REL_PROJECT || r->schema->n != r->inputs[0]->schema->n) return r;
    for (int i = 0; i < r->schema->n; i++) {
        if (expr_as_column(r->project.exprs[i]) != i) return r;
        if (strcmp(r->schema->fields[i].name, r->inputs[0]->schema->fields[i].name) != 0) return r;
    }
    return r->inputs[0];
}

rel_t *rule_union_flatten(opt_t *x, rel_t *r) {
    if (r->kind != REL_UNION) return r;
    int n = 0;
    bool any = false;
    for (int i = 0; i < r->ninputs; i++) {
        bool inner = r->inputs[i]->kind == REL_UNION && only_consumer(x, r->inputs[i]);
        any = any || inner;
        n += inner ? r->inputs[i]->ninputs : 1;
    }
    if (!any || n > 1000) return r;
    rel_t **in = ARENA_ARRAY(x->c->arena, rel_t *, n + 1);
    n = 0;
    for (int i = 0; i < r->ninputs; i++) {
        rel_t *one = r->inputs[i];
        bool inner = one->kind == REL_UNION && only_consumer(x, one);
        for (int j = 0; inner && j < one->ninputs; j++) in[n++] = one->inputs[j];
        if (!inner) in[n++] = one;
    }
    rel_t *u = rel_union(x->c, in, n, r->schema);
    u->identity = r->identity;
    return rel_at(u, r->line, r->col);
}

/* ---- windows */
static bool reads_window(arena_t *a, const expr_t *e, const rel_t *w) {
    uint8_t *used = ARENA_ARRAY(a, uint8_t, w->schema->n + 1);
    expr_columns(e, used);
    for (int i = w->inputs[0]->schema->n; i < w->schema->n; i++)
        if (used[i]) return true;
    return false;
}

/* Are the groups of a SESSION exactly those by which sessions are kept apart? */
static bool session_keys(const rel_t *agg, const rel_t *project, const rel_t *w) {
    if (w->window.window->kind != WINDOW_SESSION || w->window.window->by_group) return true;
    if (agg->agg.nkeys != w->window.npartition) return false;
    for (int i = 0; i < agg->agg.nkeys; i++) {
        int at = expr_as_column(project->project.exprs[agg->agg.keys[i]]);
        bool found = false;
        for (int j = 0; j < w->window.npartition; j++) found = found || w->window.partition[j] == at;
        if (!found) return false;
    }
    return true;
}

/* The aggregate's input: a projection right over its window, whose window columns only the window itself reads. */
static bool fusible(opt_t *x, const rel_t *agg, const rel_t *project) {
    if (project->kind != REL_PROJECT || project->inputs[0]->kind != REL_WINDOW) return false;
    const rel_t *w = project->inputs[0];
    int n = w->inputs[0]->schema->n;
    if (w->window.window != agg->agg.window || !session_keys(agg, project, w)) return false;
    if (expr_as_column(project->project.exprs[agg->agg.start_col]) != n) return false;
    if (expr_as_column(project->project.exprs[agg->agg.end_col]) != n + 1) return false;
    for (int i = 0; i < project->schema->n; i++) {
        if (i == agg->agg.start_col || i == agg->agg.end_col) continue;
        if (reads_window(x->c->arena, project->project.exprs[i], w)) return false;
    }
    return true;
}

/* The projection without window columns, over the window's input; the time column last, if there is one. */
static rel_t *fused_input(opt_t *x, const rel_t *agg, const rel_t *project) {
    const rel_t *w = project->inputs[0];
    rel_t *below = w->inputs[0];
    int n = 0, time = w->window.time_col;
    expr_t **exprs = ARENA_ARRAY(x->c->arena, expr_t *, project->schema->n + 1);
    const char **names = ARENA_ARRAY(x->c->arena, const char *, project->schema->n + 1);
    for (int i = 0; i < project->schema->n; i++) {
        if (i == agg->agg.start_col || i == agg->agg.end_col) continue;
        exprs[n] = project->project.exprs[i];
        names[n++] = project->schema->fields[i].name;
    }
    if (time >= 0) {
        exprs[n] = expr_column(x->c->arena, time, below->schema->fields[time].type);
        names[n++] = "$time";
    }
    if (n == 0) {
        exprs[n] = expr_literal(x->c->arena, type_nullable(x->c->arena, &type_bigint, false), (value_t){.i = 0});
        names[n++] = "$none";
    }
    return rel_at(rel_project(x->c, below, exprs, names, n), project->line, project->col);
}

static int without(int col, int a, int b) { return col - (col > a) - (col > b); }

static void shift_columns(opt_t *x, rel_t *agg, int start, int end) {
    int *keys = ARENA_ARRAY(x->c->arena, int, agg->agg.nkeys + 1);
    agg_call_t *aggs = ARENA_ARRAY(x->c->arena, agg_call_t, agg->agg.naggs + 1);
    for (int i = 0; i < agg->agg.nkeys; i++) keys[i] = without(agg->agg.keys[i], start, end);
    for (int i = 0; i < agg->agg.naggs; i++) {
        aggs[i] = agg->agg.aggs[i];
        for (int j = 0; j < aggs[i].nargs; j++) aggs[i].args[j] = without(aggs[i].args[j], start, end);
        if (aggs[i].filter >= 0) aggs[i].filter = without(aggs[i].filter, start, end);
    }
    agg->agg.keys = keys;
    agg->agg.aggs = aggs;
}

static rel_t *fuse(opt_t *x, rel_t *r, rel_t *input, const rel_t *window) {
    rel_t *n = rel_with_inputs(x->c, r, &input);
    shift_columns(x, n, r->agg.start_col, r->agg.end_col);
    n->agg.start_col = n->agg.end_col = -1;
    n->agg.time_col = window->window.time_col >= 0 ? input->schema->n - 1 : -1;
    return n;
}

/* Grouping sets: every branch of the union is such a projection over the same window. */
static rel_t *fuse_union(opt_t *x, rel_t *r, const rel_t *u) {
    for (int i = 0; i < u->ninputs; i++)
        if (!fusible(x, r, u->inputs[i])) return r;
    rel_t **in = ARENA_ARRAY(x->c->arena, rel_t *, u->ninputs + 1);
    for (int i = 0; i < u->ninputs; i++) in[i] = fused_input(x, r, u->inputs[i]);
    schema_t *s = schema_new(x->c->arena, in[0]->schema->n);
    for (int i = 0; i < s->n; i++) s->fields[i] = in[0]->schema->fields[i];
    for (int i = 0; i < u->schema->n; i++)
        if (i != r->agg.start_col && i != r->agg.end_col)
            s->fields[without(i, r->agg.start_col, r->agg.end_col)] = u->schema->fields[i];
    rel_t *below = rel_at(rel_union(x->c, in, u->ninputs, s), u->line, u->col);
    return fuse(x, r, below, u->inputs[0]->inputs[0]);
}

rel_t *rule_window_fuse(opt_t *x, rel_t *r) {
    if (r->kind != REL_AGGREGATE || !r->agg.window || r->agg.end_col < 0) return r;
    rel_t *in = r->inputs[0];
    if (in->kind == REL_UNION) return fuse_union(x, r, in);
    if (!fusible(x, r, in)) return r;
    return fuse(x, r, fused_input(x, r, in), in->inputs[0]);
}
