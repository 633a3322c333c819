/* optimize_filter.c: constants folded, filters moved towards the sources. A filter never moves below a watermark: rows that
 * are filtered out still move time. */
#include "engine/func.h"
#include "sql/optimize_int.h"

#define CONJUNCTS_MAX 256

static const expr_t *fold(opt_t *x, const expr_t *e) {
    const expr_t *f = expr_fold(x->c->arena, (expr_t *)e);
    if (f == e || expr_equal(f, e)) return e;
    x->changed = true;
    return f;
}

rel_t *rule_fold(opt_t *x, rel_t *r) {
    if (r->kind == REL_FILTER) {
        const expr_t *p = fold(x, r->filter.predicate);
        if (p == r->filter.predicate) return r;
        rel_t *n = rel_with_inputs(x->c, r, r->inputs);
        n->filter.predicate = p;
        return n;
    }
    if (r->kind != REL_PROJECT) return r;
    expr_t **exprs = ARENA_ARRAY(x->c->arena, expr_t *, r->schema->n + 1);
    bool same = true;
    for (int i = 0; i < r->schema->n; i++) {
        exprs[i] = (expr_t *)fold(x, r->project.exprs[i]);
        /* the column keeps the type it was bound with */
        if (!type_equal(exprs[i]->type, r->schema->fields[i].type)) exprs[i] = r->project.exprs[i];
        same = same && exprs[i] == r->project.exprs[i];
    }
    if (same) return r;
    rel_t *n = rel_with_inputs(x->c, r, r->inputs);
    n->project.exprs = exprs;
    return n;
}

static rel_t *filter_at(opt_t *x, const rel_t *like, rel_t *input, const expr_t *predicate) {
    return rel_at(rel_filter(x->c, input, predicate), like->line, like->col);
}

rel_t *rule_filter_merge(opt_t *x, rel_t *r) {
    if (r->kind != REL_FILTER || r->inputs[0]->kind != REL_FILTER || !only_consumer(x, r->inputs[0])) return r;
    rel_t *below = r->inputs[0];
    return filter_at(x, below, below->inputs[0], expr_and(x->c->arena, below->filter.predicate, r->filter.predicate));
}

rel_t *rule_filter_true(opt_t *x, rel_t *r) {
    if (r->kind != REL_FILTER) return r;
    const expr_t *p = r->filter.predicate;
    return p->kind == EXPR_LITERAL && !p->value.null && p->value.i ? r->inputs[0] : r;
}

rel_t *rule_filter_project(opt_t *x, rel_t *r) {
    if (r->kind != REL_FILTER || r->inputs[0]->kind != REL_PROJECT || !only_consumer(x, r->inputs[0])) return r;
    rel_t *project = r->inputs[0];
    if (!expr_is_deterministic(r->filter.predicate)) return r;
    const expr_t *p = opt_substitute(x, r->filter.predicate, project);
    if (!p || !expr_is_deterministic(p)) return r;
    rel_t *below = filter_at(x, r, project->inputs[0], p);
    return rel_with_inputs(x->c, project, &below);
}

rel_t *rule_filter_union(opt_t *x, rel_t *r) {
    if (r->kind != REL_FILTER || r->inputs[0]->kind != REL_UNION || !only_consumer(x, r->inputs[0])) return r;
    if (!expr_is_deterministic(r->filter.predicate)) return r;
    rel_t *u = r->inputs[0], **in = ARENA_ARRAY(x->c->arena, rel_t *, u->ninputs + 1);
    for (int i = 0; i < u->ninputs; i++) in[i] = filter_at(x, r, u->inputs[i], r->filter.predicate);
    return rel_with_inputs(x->c, u, in);
}

static bool below_columns(arena_t *a, const expr_t *e, int ncols, int limit) {
    uint8_t *used = ARENA_ARRAY(a, uint8_t, ncols + 1);
    expr_columns(e, used);
    for (int i = limit; i < ncols; i++)
        if (used[i]) return false;
    return true;
}

/* Conjuncts that do not look at the window's columns hold for a row in all of its windows or in none. */
rel_t *rule_filter_window(opt_t *x, rel_t *r) {
    if (r->kind != REL_FILTER || r->inputs[0]->kind != REL_WINDOW) return r;
    rel_t *w = r->inputs[0];
    if (w->window.window->kind == WINDOW_SESSION) return r; /* what is filtered out still holds sessions together */
    const expr_t *c[CONJUNCTS_MAX], *push = NULL, *keep = NULL;
    int n = expr_conjuncts(r->filter.predicate, c, CONJUNCTS_MAX), inner = w->inputs[0]->schema->n;
    for (int i = 0; i < n; i++) {
        bool down = expr_is_deterministic(c[i]) && below_columns(x->c->arena, c[i], w->schema->n, inner);
        if (down) push = expr_and(x->c->arena, push, c[i]);
        else keep = expr_and(x->c->arena, keep, c[i]);
    }
    if (!push) return r;
    rel_t *below = filter_at(x, r, w->inputs[0], push), *window = rel_with_inputs(x->c, w, &below);
    return keep ? filter_at(x, r, window, keep) : window;
}
