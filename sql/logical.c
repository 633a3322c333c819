#include "sql/logical.h"
#include "engine/func.h"

static rel_t *rel_new(rel_ctx_t *c, rel_kind_t kind, int ninputs, rel_t **inputs, int ncols) {
    rel_t *r = ARENA_NEW(c->arena, rel_t);
    r->kind = kind;
    r->id = c->next_id++;
    r->ninputs = ninputs;
    r->depth = 1;
    r->inputs = ARENA_ARRAY(c->arena, rel_t *, ninputs + 1);
    for (int i = 0; i < ninputs; i++) {
        r->inputs[i] = inputs[i];
        r->depth = MAX(r->depth, inputs[i]->depth + 1);
    }
    r->schema = schema_new(c->arena, ncols);
    r->props = ARENA_ARRAY(c->arena, col_prop_t, ncols + 1);
    if (ninputs > 0) r->line = inputs[0]->line, r->col = inputs[0]->col;
    return r;
}

rel_t *rel_at(rel_t *r, int line, int col) {
    r->line = line;
    r->col = col;
    return r;
}

rel_t *rel_scan(rel_ctx_t *c, const table_t *t, const int *scan, int nscan, bool upsert, bool bounded) {
    rel_t *r = rel_new(c, REL_SCAN, 0, NULL, nscan);
    for (int i = 0; i < nscan; i++)
        r->schema->fields[i] = scan[i] < t->physical->n ? t->physical->fields[scan[i]]
                                                        : t->metadata->fields[scan[i] - t->physical->n];
    r->scan.table = t;
    r->scan.scan = scan;
    r->scan.nscan = nscan;
    r->scan.upsert = upsert;
    r->scan.bounded = bounded;
    return r;
}

rel_t *rel_values(rel_ctx_t *c, expr_t ***rows, int nrows, schema_t *schema) {
    rel_t *r = rel_new(c, REL_VALUES, 0, NULL, schema->n);
    r->schema = schema;
    r->values.rows = rows;
    r->values.nrows = nrows;
    return r;
}

/* Output columns are those of the input. */
static rel_t *rel_pass(rel_ctx_t *c, rel_kind_t kind, rel_t *input) {
    rel_t *r = rel_new(c, kind, 1, &input, input->schema->n);
    for (int i = 0; i < input->schema->n; i++) {
        r->schema->fields[i] = input->schema->fields[i];
        r->props[i] = input->props[i];
    }
    return r;
}

rel_t *rel_filter(rel_ctx_t *c, rel_t *input, const expr_t *predicate) {
    rel_t *r = rel_pass(c, REL_FILTER, input);
    r->filter.predicate = predicate;
    return r;
}

/* Does e yield the wall clock, i.e. is it PROCTIME() itself? */
static bool expr_is_proctime(const expr_t *e) {
    return e->kind == EXPR_CALL && e->nargs == 0 && strcmp(func_name(e->func), "PROCTIME") == 0;
}

rel_t *rel_project(rel_ctx_t *c, rel_t *input, expr_t **exprs, const char *const *names, int n) {
    rel_t *r = rel_new(c, REL_PROJECT, 1, &input, n);
    r->project.exprs = exprs;
    for (int i = 0; i < n; i++) {
        r->schema->fields[i] = (field_t){names[i], exprs[i]->type};
        int from = expr_as_column(exprs[i]);
        if (from >= 0) r->props[i] = input->props[from];
        else if (expr_is_proctime(exprs[i])) r->props[i].time = TIME_PROC;
    }
    return r;
}

rel_t *rel_watermark(rel_ctx_t *c, rel_t *input, int rowtime, const expr_t *expr, int64_t idle_timeout_ms) {
    rel_t *r = rel_pass(c, REL_WATERMARK, input);
    r->watermark.rowtime = rowtime;
    r->watermark.expr = expr;
    r->watermark.idle_timeout_ms = idle_timeout_ms;
    r->props[rowtime].time = TIME_ROW;
    return r;
}

rel_t *rel_window(rel_ctx_t *c, rel_t *input, const rel_window_t *w, int time_col) {
    int n = input->schema->n;
    rel_t *r = rel_new(c, REL_WINDOW, 1, &input, n + 3);
    for (int i = 0; i < n; i++) {
        r->schema->fields[i] = input->schema->fields[i];
        r->props[i] = input->props[i];
    }
    const type_t *bound = type_nullable(c->arena, &type_timestamp3, false);
    r->schema->fields[n] = (field_t){"window_start", bound};
    r->schema->fields[n + 1] = (field_t){"window_end", bound};
    r->schema->fields[n + 2] = (field_t){"window_time", w->time_type};
    r->props[n] = (col_prop_t){TIME_NONE, ROLE_START, w};
    r->props[n + 1] = (col_prop_t){TIME_NONE, ROLE_END, w};
    r->props[n + 2] = (col_prop_t){w->proctime ? TIME_PROC : TIME_ROW, ROLE_TIME, w};
    r->window.window = w;
    r->window.time_col = time_col;
    return r;
}

rel_t *rel_union(rel_ctx_t *c, rel_t **inputs, int n, schema_t *schema) {
    rel_t *r = rel_new(c, REL_UNION, n, inputs, schema->n);
    r->schema = schema;
    for (int i = 0; i < schema->n; i++) {
        r->props[i] = inputs[0]->props[i];
        for (int j = 1; j < n; j++) {
            const col_prop_t *p = &inputs[j]->props[i];
            if (p->time != r->props[i].time) r->props[i].time = TIME_NONE;
            if (p->role != r->props[i].role || p->window != r->props[i].window)
                r->props[i].role = ROLE_NONE, r->props[i].window = NULL;
        }
    }
    return r;
}

rel_t *rel_sink(rel_ctx_t *c, rel_t *input, const table_t *t, bool print) {
    rel_t *r = rel_pass(c, REL_SINK, input);
    r->sink.table = t;
    r->sink.print = print;
    return r;
}

static void agg_prop_column(rel_ctx_t *c, const rel_window_t *w, window_prop_t p, field_t *f, col_prop_t *prop) {
    const type_t *bound = type_nullable(c->arena, &type_timestamp3, false);
    *prop = (col_prop_t){.window = w};
    switch (p) {
    case WINDOW_PROP_START:
        *f = (field_t){"window_start", bound};
        prop->role = ROLE_START;
        break;
    case WINDOW_PROP_END:
        *f = (field_t){"window_end", bound};
        prop->role = ROLE_END;
        break;
    case WINDOW_PROP_TIME:
        *f = (field_t){"window_time", w->time_type};
        prop->role = ROLE_TIME;
        prop->time = w->proctime ? TIME_PROC : TIME_ROW;
        break;
    }
}

rel_t *rel_aggregate(rel_ctx_t *c, rel_t *input, const rel_t *spec) {
    int nk = spec->agg.nkeys, na = spec->agg.naggs, np = spec->agg.nprops;
    rel_t *r = rel_new(c, REL_AGGREGATE, 1, &input, nk + na + np);
    r->agg = spec->agg;
    for (int i = 0; i < nk; i++) {
        ASSERT(spec->agg.keys[i] < input->schema->n);
        r->schema->fields[i] = input->schema->fields[spec->agg.keys[i]];
    }
    for (int i = 0; i < na; i++) r->schema->fields[nk + i] = (field_t){spec->agg.aggs[i].name,
            spec->agg.aggs[i].type};
    for (int i = 0; i < np; i++)
        agg_prop_column(c, spec->agg.window, spec->agg.props[i], &r->schema->fields[nk + na + i],
                        &r->props[nk + na + i]);
    return r;
}

rel_t *rel_with_inputs(rel_ctx_t *c, const rel_t *r, rel_t **inputs) {
    rel_t *n = arena_memdup(c->arena, r, sizeof *r);
    n->id = c->next_id++;
    n->inputs = ARENA_ARRAY(c->arena, rel_t *, r->ninputs + 1);
    for (int i = 0; i < r->ninputs; i++) n->inputs[i] = inputs[i];
    return n;
}

/* ---- expressions */
static size_t size_up_to(const expr_t *e, size_t bound) {
    size_t n = 1;
    for (int i = 0; i < e->nargs && n < bound; i++) n += size_up_to(e->args[i], bound - n);
    return n;
}

size_t expr_size(const expr_t *e, size_t bound) { return size_up_to(e, bound); }

static bool is_and(const expr_t *e) { return e->kind == EXPR_CALL && strcmp(func_name(e->func), "AND") == 0; }

const expr_t *expr_and(arena_t *a, const expr_t *x, const expr_t *y) {
    if (!x || !y) return x ? x : y;
    expr_t *args[2] = {(expr_t *)x, (expr_t *)y}, *ret = NULL;
    err_t *e = func_bind(a, "AND", args, 2, &ret);
    ASSERT(e == NULL); /* both are BOOLEAN */
    ret->line = x->line;
    ret->col = x->col;
    return ret;
}

int expr_conjuncts(const expr_t *e, const expr_t **ret, int max) {
    if (!is_and(e) || max < e->nargs) {
        ret[0] = e;
        return 1;
    }
    int n = 0;
    for (int i = 0; i < e->nargs; i++) n += expr_conjuncts(e->args[i], ret + n, max - n - (e->nargs - 1 - i));
    return n;
}

/* ---- order */
typedef struct order {
    uint8_t *seen;
    rel_t **list;
    int n;
} order_t;

static void order_visit(order_t *o, rel_t *r) {
    if (o->seen[r->id]) return;
    o->seen[r->id] = 1;
    for (int i = 0; i < r->ninputs; i++) order_visit(o, r->inputs[i]);
    o->list[o->n++] = r;
}

int logical_order(rel_ctx_t *c, const logical_t *l, rel_t ***ret) {
    order_t o = {ARENA_ARRAY(c->arena, uint8_t, c->next_id + 1), ARENA_ARRAY(c->arena, rel_t *, c->next_id + 1), 0};
    for (int i = 0; i < l->nsinks; i++) order_visit(&o, l->sinks[i]);
    *ret = o.list;
    return o.n;
}
