#include "sql/physical_int.h"

#include "engine/operator.h"

void phys_identity(phys_t *p, plan_op_t *op, const char *text) {
    ASSERT(text != NULL);
    op->fingerprint_text = text;
    op->fingerprint = hash_bytes(text, strlen(text));
    if (op->fingerprint == 0) op->fingerprint = 1; /* 0 means: none */
}

static pop_t *translate(phys_t *p, const rel_t *r);

/* ---- sources */
static pop_t *phys_upsert_keys(phys_t *p, const rel_t *r, pop_t *source) {
    const table_t *t = r->scan.table;
    int *key = ARENA_ARRAY(p->arena, int, t->nprimary + 1);
    for (int i = 0; i < t->nprimary; i++)
        for (int j = 0; j < r->scan.nscan; j++)
            if (r->scan.scan[j] == t->primary[i]) key[i] = j;
    pop_t *in = pop_exchange(p, source, EXCHANGE_HASH, key, t->nprimary, 0);
    pop_t *o = pop_after(p, OP_UPSERT_KEYS, in, r->schema);
    o->op->keys = key;
    o->op->nkeys = t->nprimary;
    o->op->retracts = true;
    o->op->state_ttl_ms = p->o->state_ttl_ms;
    o->op->label = arena_printf(p->arena, "%s by key", t->name);
    /* it keeps whole rows as they are scanned: another set of columns is another state */
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    buf_printf(&b, "%s upsert rows (", r->identity);
    for (int i = 0; i < r->schema->n; i++) {
        buf_printf(&b, "%s%s ", i ? ", " : "", r->schema->fields[i].name);
        type_print(&b, r->schema->fields[i].type);
    }
    buf_puts(&b, ")");
    phys_identity(p, o->op, arena_strdup(p->arena, buf_cstr(&b)));
    return o;
}

int phys_parallelism(const table_t *t, const char *key) {
    int64_t n = 0;
    err_free(options_i64(&t->options, key, 0, 1, KEY_GROUPS, &n)); /* checked by the binder */
    return (int)n;
}

static pop_t *phys_scan(phys_t *p, const rel_t *r) {
    pop_t *o = pop_new(p, OP_SOURCE, pstage_new(p, phys_parallelism(r->scan.table, "scan.parallelism")), NULL, 0, r->schema);
    o->op->table = r->scan.table;
    o->op->nscan = r->scan.nscan;
    o->op->scan = r->scan.scan;
    o->op->label = r->scan.table->name;
    o->op->line = r->line;
    o->op->retracts = r->scan.upsert;
    phys_identity(p, o->op, r->identity);
    phys_dead_letters(p, o);
    return r->scan.upsert ? phys_upsert_keys(p, r, o) : o;
}

static pop_t *phys_values(phys_t *p, const rel_t *r) {
    pop_t *o = pop_new(p, OP_VALUES, pstage_new(p, 1), NULL, 0, r->schema);
    o->op->nrows = r->values.nrows;
    o->op->rows = (expr_t *const *const *)r->values.rows;
    o->op->label = "values";
    o->op->line = r->line;
    phys_identity(p, o->op, r->identity);
    return o;
}

/* ---- calc */
static expr_t **identity_projection(phys_t *p, const schema_t *s) {
    expr_t **e = ARENA_ARRAY(p->arena, expr_t *, s->n + 1);
    for (int i = 0; i < s->n; i++) e[i] = expr_column(p->arena, i, s->fields[i].type);
    return e;
}

/* Where the columns by which rows are spread end up behind a projection; -1 when one is lost. */
static void project_spread(phys_t *p, pop_t *o, const pop_t *in, expr_t *const *exprs, int n) {
    int *hash = ARENA_ARRAY(p->arena, int, MAX(in->nhash, 0) + 1);
    o->nhash = in->nhash;
    o->hash = hash;
    for (int i = 0; i < in->nhash; i++) {
        hash[i] = -1;
        for (int j = 0; j < n && hash[i] < 0; j++)
            if (expr_as_column(exprs[j]) == in->hash[i]) hash[i] = j;
        if (hash[i] < 0) {
            o->nhash = -1;
            return;
        }
    }
}

static bool is_identity(const rel_t *r) {
    for (int i = 0; i < r->schema->n; i++)
        if (expr_as_column(r->project.exprs[i]) != i) return false;
    return r->schema->n == r->inputs[0]->schema->n;
}

static pop_t *phys_calc(phys_t *p, const rel_t *r) {
    /* other names for the same columns: operators go by position, a sink by its own schema */
    if (r->kind == REL_PROJECT && is_identity(r) && r->inputs[0]->kind != REL_FILTER) return translate(p,
            r->inputs[0]);
    const rel_t *filter = r->kind == REL_FILTER ? r : NULL, *below = r->inputs[0];
    if (r->kind == REL_PROJECT && below->kind == REL_FILTER && p->consumers[below->id] == 1) {
        filter = below;
        below = below->inputs[0];
    }
    pop_t *in = translate(p, below);
    pop_t *o = pop_after(p, OP_CALC, in, r->schema);
    o->op->filter = filter ? filter->filter.predicate : NULL;
    expr_t **exprs = r->kind == REL_PROJECT ? r->project.exprs : identity_projection(p, r->schema);
    o->op->projection = exprs;
    o->op->line = r->line;
    project_spread(p, o, in, exprs, r->schema->n);
    return o;
}

/* ---- the rest */
static pop_t *phys_watermark(phys_t *p, const rel_t *r) {
    pop_t *o = pop_after(p, OP_WATERMARK, translate(p, r->inputs[0]), r->schema);
    o->op->rowtime_col = r->watermark.rowtime;
    o->op->watermark_expr = r->watermark.expr;
    o->op->idle_timeout_ms = r->watermark.idle_timeout_ms;
    o->op->line = r->line;
    return o;
}

static pop_t *phys_window(phys_t *p, const rel_t *r) {
    const rel_window_t *w = r->window.window;
    pop_t *o = pop_after(p, OP_WINDOW_ASSIGN, translate(p, r->inputs[0]), r->schema);
    o->op->window = (window_spec_t){.kind = w->kind, .proctime = w->proctime, .time_col = r->window.time_col,
                                    .attached_start = -1, .attached_end = -1, .size_ms = w->size_ms,
                                    .slide_ms = w->slide_ms, .offset_ms = w->offset_ms, .gap_ms = w->gap_ms,
                                    .zoned = w->time_type->kind == TYPE_TIMESTAMP_LTZ};
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    window_print(&b, w);
    o->op->label = arena_strdup(p->arena, buf_cstr(&b));
    o->op->line = r->line;
    return o;
}

static pop_t *phys_union(phys_t *p, const rel_t *r) {
    pop_t **in = ARENA_ARRAY(p->arena, pop_t *, r->ninputs + 1);
    bool retracts = false;
    for (int i = 0; i < r->ninputs; i++) in[i] = translate(p, r->inputs[i]);
    pops_together(p, in, r->ninputs);
    for (int i = 0; i < r->ninputs; i++) retracts |= in[i]->op->retracts;
    pop_t *o = pop_new(p, OP_UNION, pstage_of(in[0]), in, r->ninputs, r->schema);
    o->op->retracts = retracts;
    o->op->line = r->line;
    return o;
}

static pop_t *translate_new(phys_t *p, const rel_t *r) {
    switch (r->kind) {
    case REL_SCAN: return phys_scan(p, r);
    case REL_VALUES: return phys_values(p, r);
    case REL_FILTER:
    case REL_PROJECT: return phys_calc(p, r);
    case REL_WATERMARK: return phys_watermark(p, r);
    case REL_WINDOW: return phys_window(p, r);
    case REL_UNION: return phys_union(p, r);
    case REL_AGGREGATE: return phys_aggregate(p, r, translate(p, r->inputs[0]));
    case REL_SINK: return phys_sink(p, r, translate(p, r->inputs[0]));
    case REL_KINDS: break;
    }
    UNREACHABLE();
}

static pop_t *translate(phys_t *p, const rel_t *r) {
    if (!p->done[r->id]) p->done[r->id] = translate_new(p, r);
    return p->done[r->id];
}

/* What only exists right under its aggregate must have been fused. */
static err_t *refuse_unfused(rel_t *const *list, int n) {
    for (int i = 0; i < n; i++) {
        const rel_t *r = list[i];
        bool session = (r->kind == REL_WINDOW && r->window.window->kind == WINDOW_SESSION) ||
                       (r->kind == REL_AGGREGATE && r->agg.window && r->agg.window->kind == WINDOW_SESSION &&
                        r->agg.end_col >= 0);
        if (session)
            return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                           "a SESSION window must be grouped right away by its PARTITION BY columns"),
                                   "GROUP BY window_start, window_end and exactly the columns of PARTITION BY; filter rows in a view before the window"),
                          r->line, r->col);
        if (r->kind != REL_AGGREGATE || !r->agg.window || !r->agg.window->proctime || r->agg.end_col < 0) continue;
        return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                       "a processing-time window cannot be aggregated a second time, nor after its columns were used"),
                               "aggregate right behind the window, or use event time"),
                      r->line, r->col);
    }
    return NULL;
}

err_t *physical_plan(rel_ctx_t *c, const logical_t *l, const change_info_t *changes,
                     const physical_options_t *o, plan_t *plan) {
    rel_t **list;
    int n = logical_order(c, l, &list);
    TRY(refuse_unfused(list, n));
    int *consumers = ARENA_ARRAY(c->arena, int, c->next_id + 1);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < list[i]->ninputs; j++) consumers[list[i]->inputs[j]->id]++;
    phys_t p = {.rels = c, .arena = c->arena, .changes = changes, .o = o, .consumers = consumers,
                .done = ARENA_ARRAY(c->arena, pop_t *, c->next_id + 1)};
    for (int i = 0; i < l->nsinks; i++) translate(&p, l->sinks[i]);
    phys_after_only(&p);
    phys_finish(&p, plan);
    return NULL;
}
