#include "sql/changelog.h"

#include "engine/operator.h"

typedef struct infer {
    rel_ctx_t *c;
    bool batch;
    change_info_t *of;
    bool sink;
} infer_t;

static change_info_t *info(infer_t *x, const rel_t *r) { return &x->of[r->id]; }

/* The nearest operator below that makes updates out of rows: for messages. */
static const rel_t *culprit(infer_t *x, const rel_t *r) {
    while (r->kind != REL_AGGREGATE && r->kind != REL_SCAN) {
        const rel_t *next = NULL;
        for (int i = 0; i < r->ninputs; i++)
            if (!next && info(x, r->inputs[i])->updates) next = r->inputs[i];
        if (!next) return r;
        r = next;
    }
    return r;
}

static const char *culprit_text(infer_t *x, const rel_t *r) {
    const rel_t *c = culprit(x, r);
    if (c->kind == REL_SCAN) return arena_printf(x->c->arena, "table '%s' (an upsert stream)", c->scan.table->name);
    return arena_printf(x->c->arena, "the %s at line %d", c->agg.naggs ? "GROUP BY without a window"
                        : "DISTINCT", c->line);
}

/* The upsert key through a projection: every key column must survive as it is. */
static void project_key(infer_t *x, const rel_t *r, change_info_t *out) {
    const change_info_t *in = info(x, r->inputs[0]);
    int *key = ARENA_ARRAY(x->c->arena, int, in->nkey + 1);
    *out = *in;
    out->key = key;
    for (int i = 0; i < in->nkey; i++) {
        key[i] = -1;
        for (int j = 0; j < r->schema->n && key[i] < 0; j++)
            if (expr_as_column(r->project.exprs[j]) == in->key[i]) key[i] = j;
        if (key[i] < 0) out->has_key = false;
    }
}

static err_t *infer_scan(infer_t *x, const rel_t *r, change_info_t *out) {
    if (!r->scan.upsert) return NULL;
    if (x->batch)
        return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                       "table '%s' is an upsert stream, which batch mode does not read", r->scan.table->name),
                               "SET 'execution.runtime-mode' = 'streaming'"),
                      r->line, r->col);
    const table_t *t = r->scan.table;
    int *key = ARENA_ARRAY(x->c->arena, int, t->nprimary + 1);
    out->updates = out->has_key = true;
    out->nkey = t->nprimary;
    out->key = key;
    for (int i = 0; i < t->nprimary; i++)
        for (int j = 0; j < r->scan.nscan; j++)
            if (r->scan.scan[j] == t->primary[i]) key[i] = j;
    return NULL;
}

static err_t *infer_aggregate(infer_t *x, const rel_t *r, change_info_t *out) {
    const change_info_t *in = info(x, r->inputs[0]);
    if (in->updates && r->agg.window)
        return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                       "a window over a stream with updates, made by %s, is not supported", culprit_text(x, r->inputs[0])),
                               "aggregate in windows first, or read the table as plain 'kafka'"),
                      r->line, r->col);
    for (int i = 0; i < r->agg.naggs && in->updates; i++)
        if (!agg_can_retract(&r->agg.aggs[i]))
            return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                           "%s over a stream with updates, made by %s, is not supported", agg_fn_name(r->agg.aggs[i].fn), culprit_text(x, r->inputs[0])),
                                   "it cannot take a row back; use another aggregate, or aggregate in windows"),
                          r->line, r->col);
    if (x->batch || r->agg.window) return NULL;
    /* DISTINCT over plain rows emits every key once */
    if (r->agg.naggs == 0 && !in->updates) return NULL;
    int *key = ARENA_ARRAY(x->c->arena, int, r->agg.nkeys + 1);
    for (int i = 0; i < r->agg.nkeys; i++) key[i] = i;
    *out = (change_info_t){true, true, r->agg.nkeys, key};
    return NULL;
}

/* ---- sinks */
static bool has(const int *list, int n, int v) {
    for (int i = 0; i < n; i++)
        if (list[i] == v) return true;
    return false;
}

static bool constant_column(const rel_t *input, int col) {
    return input->kind == REL_PROJECT && input->project.exprs[col]->kind == EXPR_LITERAL;
}

static const char *column_list(infer_t *x, const schema_t *s, const int *cols, int n) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    buf_puts(&b, "(");
    for (int i = 0; i < n; i++) buf_printf(&b, "%s%s", i ? ", " : "", s->fields[cols[i]].name);
    buf_puts(&b, ")");
    return arena_strdup(x->c->arena, buf_cstr(&b));
}

/* Updates of one sink key must all come from one upsert key, or a delete of one row removes another (hazards A17). */
static err_t *check_upsert(infer_t *x, const rel_t *r, const change_info_t *in) {
    const table_t *t = r->sink.table;
    const schema_t *s = r->schema;
    bool same = in->has_key;
    for (int i = 0; i < in->nkey && same; i++) same = has(t->primary, t->nprimary, in->key[i]);
    for (int i = 0; i < t->nprimary && same; i++)
        same = has(in->key, in->nkey, t->primary[i]) || constant_column(r->inputs[0], t->primary[i]);
    if (same) return NULL;
    const char *have = in->has_key ? column_list(x, s, in->key, in->nkey)
        : "columns that the SELECT list leaves out or changes";
    return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                   "PRIMARY KEY %s of '%s' is not the key of the updates it would get, %s: a change of one row "
                                   "would overwrite or delete another",
                                   column_list(x, s, t->primary, t->nprimary), t->name, have),
                           "declare the columns of GROUP BY as the PRIMARY KEY, and select them unchanged"),
                  r->line, r->col);
}

static err_t *infer_sink(infer_t *x, const rel_t *r) {
    const change_info_t *in = info(x, r->inputs[0]);
    const table_t *t = r->sink.table;
    if (!in->updates || r->sink.print) return NULL;
    if (options_get(&t->options, "sink.parallelism") && !t->nprimary)
        return err_at(err_hint(err_new(ERR_INVALID, "table '%s' has 'sink.parallelism' and no PRIMARY KEY, but %s updates rows it has emitted: their order would be lost",
                                       t->name, culprit_text(x, r->inputs[0])),
                               "declare the PRIMARY KEY, or leave 'sink.parallelism' out"),
                      r->line, r->col);
    if (strcmp(t->connector, "upsert-kafka") == 0) return check_upsert(x, r, in);
    const sink_vtable_t *vt = sink_find(t->connector);
    if (vt && vt->takes_updates) return NULL;
    x->sink = true;
    return err_at(err_hint(err_new(ERR_UNSUPPORTED,
                                   "table '%s' (%s) takes new rows only, but %s updates rows it has emitted", t->name,
                                   t->connector, culprit_text(x, r->inputs[0])),
                           "write to 'upsert-kafka' with a PRIMARY KEY, aggregate in windows (TUMBLE, HOP), or, if all inputs are "
                           "bounded, SET 'execution.runtime-mode' = 'batch'"),
                  r->line, r->col);
}

static err_t *infer_node(infer_t *x, const rel_t *r) {
    change_info_t *out = info(x, r);
    switch (r->kind) {
    case REL_SCAN: return infer_scan(x, r, out);
    case REL_VALUES: return NULL;
    case REL_FILTER:
    case REL_WATERMARK:
    case REL_WINDOW: *out = *info(x, r->inputs[0]); break;
    case REL_PROJECT: project_key(x, r, out); break;
    case REL_UNION:
        for (int i = 0; i < r->ninputs; i++) out->updates |= info(x, r->inputs[i])->updates;
        break;
    case REL_AGGREGATE: return infer_aggregate(x, r, out);
    case REL_SINK: return infer_sink(x, r);
    case REL_KINDS: UNREACHABLE();
    }
    if (r->kind == REL_WINDOW && out->updates) out->has_key = false; /* a row becomes several, one per window */
    return NULL;
}

err_t *changelog_infer(rel_ctx_t *c, const logical_t *l, bool batch, change_info_t **ret, bool *ret_sink) {
    rel_t **list;
    int n = logical_order(c, l, &list);
    infer_t x = {c, batch, ARENA_ARRAY(c->arena, change_info_t, c->next_id + 1), false};
    *ret_sink = false;
    for (int i = 0; i < n; i++) {
        err_t *e = infer_node(&x, list[i]);
        *ret_sink = x.sink;
        if (e) return e;
    }
    *ret = x.of;
    return NULL;
}
