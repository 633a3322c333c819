/* optimize_prune.c: columns nobody reads are not made, down to the scans; watermarks nobody waits for are not assigned.
 *
 * Top down every node learns which of its columns are read; bottom up it is rebuilt with fewer, and says where each of
 * its old columns is now. What several consumers share keeps the union of what they read. Fields of rows: optimize_fields.c. */
#include "engine/func.h"
#include "sql/optimize_int.h"

typedef struct prune {
    opt_t *x;
    uint8_t **needed; /* by node id: per column */
    int **place;      /* by node id: where old column i is in the new node, -1 gone */
    rel_t **into;
} prune_t;

/* ---- top down */
static void need_from(prune_t *p, const rel_t *r) {
    const uint8_t *need = p->needed[r->id];
    uint8_t *in = r->ninputs ? p->needed[r->inputs[0]->id] : NULL;
    switch (r->kind) {
    case REL_SCAN:
        if (!opt_reads_whole_records(r->scan.table)) return;
        for (int i = 0; i < r->scan.nscan; i++) p->needed[r->id][i] |= r->scan.scan[i] < r->scan.table->physical->n;
        return;
    case REL_VALUES: return;
    case REL_FILTER:
        expr_columns(r->filter.predicate, in);
        break;
    case REL_PROJECT:
        for (int i = 0; i < r->schema->n; i++)
            if (need[i]) expr_columns(r->project.exprs[i], in);
        return;
    case REL_WATERMARK:
        in[r->watermark.rowtime] = 1;
        expr_columns(r->watermark.expr, in);
        break;
    case REL_WINDOW:
        if (r->window.time_col >= 0) in[r->window.time_col] = 1;
        for (int i = 0; i < r->window.npartition; i++) in[r->window.partition[i]] = 1;
        for (int i = 0; i < r->inputs[0]->schema->n; i++) in[i] |= need[i];
        return;
    case REL_AGGREGATE:
        for (int i = 0; i < r->agg.nkeys; i++) in[r->agg.keys[i]] = 1;
        for (int i = 0; i < r->agg.naggs; i++) {
            const agg_call_t *c = &r->agg.aggs[i];
            for (int j = 0; j < c->nargs; j++) in[c->args[j]] = 1;
            if (c->filter >= 0) in[c->filter] = 1;
        }
        if (r->agg.time_col >= 0) in[r->agg.time_col] = 1;
        if (r->agg.end_col >= 0) in[r->agg.end_col] = in[r->agg.start_col] = 1;
        return;
    case REL_UNION:
        for (int k = 0; k < r->ninputs; k++)
            for (int i = 0; i < r->schema->n; i++) p->needed[r->inputs[k]->id][i] |= need[i];
        return;
    case REL_SINK:
        memset(in, 1, (size_t)r->schema->n);
        return;
    case REL_KINDS: UNREACHABLE();
    }
    for (int i = 0; i < r->schema->n; i++) in[i] |= need[i];
}

/* ---- bottom up */
static arena_t *arena_of(const prune_t *p) { return p->x->c->arena; }

static const expr_t *remap(prune_t *p, const expr_t *e, const rel_t *input) {
    return expr_map_columns(arena_of(p), e, p->place[input->id]);
}

static void same_place(prune_t *p, const rel_t *r, const rel_t *input) {
    for (int i = 0; i < r->schema->n; i++) p->place[r->id][i] = p->place[input->id][i];
}

/* A row needs at least one column: the cheapest to make. */
static int cheapest(const schema_t *s) {
    int best = 0;
    for (int i = 1; i < s->n; i++) {
        int w = type_width(s->fields[i].type), b = type_width(s->fields[best].type);
        bool fixed = !type_is_strlike(s->fields[i].type) && !type_is_nested(s->fields[i].type);
        bool best_fixed = !type_is_strlike(s->fields[best].type) && !type_is_nested(s->fields[best].type);
        if ((fixed && !best_fixed) || (fixed == best_fixed && w < b)) best = i;
    }
    return best;
}

static void need_one(prune_t *p, const rel_t *r) {
    for (int i = 0; i < r->schema->n; i++)
        if (p->needed[r->id][i]) return;
    if (r->schema->n > 0) p->needed[r->id][cheapest(r->schema)] = 1;
}

static rel_t *prune_scan(prune_t *p, rel_t *r) {
    uint8_t *need = p->needed[r->id];
    if (r->scan.upsert)
        for (int i = 0; i < r->scan.nscan; i++)
            for (int k = 0; k < r->scan.table->nprimary; k++) need[i] |= r->scan.scan[i] == r->scan.table->primary[k];
    need_one(p, r);
    int n = 0, *scan = ARENA_ARRAY(arena_of(p), int, r->scan.nscan + 1);
    for (int i = 0; i < r->scan.nscan; i++) {
        p->place[r->id][i] = need[i] ? n : -1;
        if (need[i]) scan[n++] = r->scan.scan[i];
    }
    if (n == r->scan.nscan) return r;
    rel_t *s = rel_scan(p->x->c, r->scan.table, scan, n, r->scan.upsert, r->scan.bounded);
    s->identity = r->identity;
    for (int i = 0; i < r->schema->n; i++) /* with as few fields as they have by now */
        if (need[i]) s->schema->fields[p->place[r->id][i]].type = r->schema->fields[i].type;
    return rel_at(s, r->line, r->col);
}

static rel_t *prune_project(prune_t *p, rel_t *r, rel_t *input) {
    need_one(p, r);
    int n = 0;
    expr_t **exprs = ARENA_ARRAY(arena_of(p), expr_t *, r->schema->n + 1);
    const char **names = ARENA_ARRAY(arena_of(p), const char *, r->schema->n + 1);
    for (int i = 0; i < r->schema->n; i++) {
        p->place[r->id][i] = p->needed[r->id][i] ? n : -1;
        if (!p->needed[r->id][i]) continue;
        names[n] = r->schema->fields[i].name;
        exprs[n++] = (expr_t *)remap(p, r->project.exprs[i], r->inputs[0]);
    }
    rel_t *s = rel_project(p->x->c, input, exprs, names, n);
    return rel_at(s, r->line, r->col);
}

static rel_t *prune_aggregate(prune_t *p, rel_t *r, rel_t *input) {
    const int *place = p->place[r->inputs[0]->id];
    rel_t spec = {.agg = r->agg};
    int *keys = ARENA_ARRAY(arena_of(p), int, r->agg.nkeys + 1), base = r->agg.nkeys + r->agg.naggs, n = 0;
    agg_call_t *aggs = ARENA_ARRAY(arena_of(p), agg_call_t, r->agg.naggs + 1);
    window_prop_t *props = ARENA_ARRAY(arena_of(p), window_prop_t, r->agg.nprops + 1);
    for (int i = 0; i < r->agg.nkeys; i++) keys[i] = place[r->agg.keys[i]];
    for (int i = 0; i < r->agg.naggs; i++) {
        aggs[i] = r->agg.aggs[i];
        for (int j = 0; j < aggs[i].nargs; j++) aggs[i].args[j] = place[aggs[i].args[j]];
        if (aggs[i].filter >= 0) aggs[i].filter = place[aggs[i].filter];
    }
    /* calls are part of the state's identity and stay; the window's columns are computed */
    for (int i = 0; i < base; i++) p->place[r->id][i] = i;
    for (int i = 0; i < r->agg.nprops; i++) {
        bool need = p->needed[r->id][base + i] || (base == 0 && n == 0);
        p->place[r->id][base + i] = need ? base + n : -1;
        if (need) props[n++] = r->agg.props[i];
    }
    spec.agg.keys = keys;
    spec.agg.aggs = aggs;
    spec.agg.props = props;
    spec.agg.nprops = n;
    if (r->agg.time_col >= 0) spec.agg.time_col = place[r->agg.time_col];
    if (r->agg.end_col >= 0) spec.agg.end_col = place[r->agg.end_col], spec.agg.start_col = place[r->agg.start_col];
    rel_t *s = rel_aggregate(p->x->c, input, &spec);
    s->identity = r->identity;
    return rel_at(s, r->line, r->col);
}

/* The input with exactly the wanted old columns of `old`, in order. */
static rel_t *exactly(prune_t *p, const rel_t *old, rel_t *now, const uint8_t *want, const schema_t *names) {
    int n = 0;
    bool same = true;
    expr_t **exprs = ARENA_ARRAY(arena_of(p), expr_t *, old->schema->n + 1);
    const char **out = ARENA_ARRAY(arena_of(p), const char *, old->schema->n + 1);
    for (int i = 0; i < old->schema->n; i++) {
        if (!want[i]) continue;
        int at = p->place[old->id][i];
        same = same && at == n;
        out[n] = names->fields[i].name;
        exprs[n++] = expr_column(arena_of(p), at, now->schema->fields[at].type);
    }
    return same && n == now->schema->n ? now : rel_project(p->x->c, now, exprs, out, n);
}

static rel_t *prune_union(prune_t *p, rel_t *r) {
    need_one(p, r);
    const uint8_t *need = p->needed[r->id];
    rel_t **in = ARENA_ARRAY(arena_of(p), rel_t *, r->ninputs + 1);
    for (int k = 0; k < r->ninputs; k++) in[k] = exactly(p, r->inputs[k], p->into[r->inputs[k]->id], need, r->schema);
    int n = 0;
    schema_t *s = schema_new(arena_of(p), r->schema->n);
    for (int i = 0; i < r->schema->n; i++) {
        p->place[r->id][i] = need[i] ? n : -1;
        if (need[i]) s->fields[n++] = r->schema->fields[i];
    }
    s->n = n;
    return rel_at(rel_union(p->x->c, in, r->ninputs, s), r->line, r->col);
}

static rel_t *prune_window(prune_t *p, rel_t *r, rel_t *input) {
    int old = r->inputs[0]->schema->n, now = input->schema->n;
    for (int i = 0; i < old; i++) p->place[r->id][i] = p->place[r->inputs[0]->id][i];
    for (int i = 0; i < 3; i++) p->place[r->id][old + i] = now + i;
    int time = r->window.time_col >= 0 ? p->place[r->inputs[0]->id][r->window.time_col] : -1;
    rel_t *n = rel_at(rel_window(p->x->c, input, r->window.window, time), r->line, r->col);
    int *partition = ARENA_ARRAY(arena_of(p), int, r->window.npartition + 1);
    for (int i = 0; i < r->window.npartition; i++) partition[i] = p->place[r->inputs[0]->id][r->window.partition[i]];
    n->window.npartition = r->window.npartition;
    n->window.partition = partition;
    return n;
}

static rel_t *prune_node(prune_t *p, rel_t *r) {
    rel_t *input = r->ninputs ? p->into[r->inputs[0]->id] : NULL, *n = NULL;
    switch (r->kind) {
    case REL_SCAN: return prune_scan(p, r);
    case REL_VALUES:
        for (int i = 0; i < r->schema->n; i++) p->place[r->id][i] = i;
        return r;
    case REL_FILTER:
        same_place(p, r, r->inputs[0]);
        n = rel_filter(p->x->c, input, remap(p, r->filter.predicate, r->inputs[0]));
        break;
    case REL_WATERMARK:
        same_place(p, r, r->inputs[0]);
        n = rel_watermark(p->x->c, input, p->place[r->inputs[0]->id][r->watermark.rowtime],
                          remap(p, r->watermark.expr, r->inputs[0]), r->watermark.idle_timeout_ms);
        break;
    case REL_PROJECT: return prune_project(p, r, input);
    case REL_WINDOW: return prune_window(p, r, input);
    case REL_AGGREGATE: return prune_aggregate(p, r, input);
    case REL_UNION: return prune_union(p, r);
    case REL_SINK:
        input = exactly(p, r->inputs[0], input, p->needed[r->inputs[0]->id], r->schema);
        n = rel_with_inputs(p->x->c, r, &input);
        break;
    case REL_KINDS: UNREACHABLE();
    }
    return rel_at(n, r->line, r->col);
}

static bool prunes_anything(const prune_t *p, rel_t *const *list, int n) {
    for (int i = 0; i < n; i++) {
        const rel_t *r = list[i];
        int used = 0, first = r->kind == REL_AGGREGATE ? r->agg.nkeys + r->agg.naggs : 0;
        if (r->kind != REL_SCAN && r->kind != REL_PROJECT && r->kind != REL_AGGREGATE &&
            r->kind != REL_UNION) continue;
        for (int j = first; j < r->schema->n; j++) used += p->needed[r->id][j] != 0;
        if (used == r->schema->n - first) continue;
        if (used == 0 && r->schema->n == 1) continue; /* the one column a row must have */
        if (r->kind == REL_SCAN && r->scan.upsert && used + r->scan.table->nprimary >= r->schema->n) continue;
        return true;
    }
    return false;
}

void rule_prune(opt_t *x, logical_t *l) {
    rel_t **list;
    arena_t *a = x->c->arena;
    int n = logical_order(x->c, l, &list), ids = x->c->next_id + 1;
    prune_t p = {x, ARENA_ARRAY(a, uint8_t *, ids), ARENA_ARRAY(a, int *, ids), ARENA_ARRAY(a, rel_t *, ids)};
    for (int i = 0; i < n; i++) {
        p.needed[list[i]->id] = ARENA_ARRAY(a, uint8_t, list[i]->schema->n + 1);
        p.place[list[i]->id] = ARENA_ARRAY(a, int, list[i]->schema->n + 1);
    }
    for (int i = n - 1; i >= 0; i--) need_from(&p, list[i]);
    if (!prunes_anything(&p, list, n)) return;
    for (int i = 0; i < n; i++) p.into[list[i]->id] = prune_node(&p, list[i]);
    for (int i = 0; i < l->nsinks; i++) l->sinks[i] = p.into[l->sinks[i]->id];
    x->changed = true;
}

/* ---- watermarks */
static bool reads_watermark(const expr_t *e) {
    if (e->kind == EXPR_CALL && strcmp(func_name(e->func), "CURRENT_WATERMARK") == 0) return true;
    for (int i = 0; i < e->nargs; i++)
        if (reads_watermark(e->args[i])) return true;
    return false;
}

static bool waits_for_time(const rel_t *r) {
    if (r->kind == REL_AGGREGATE) return r->agg.window && !r->agg.window->proctime;
    if (r->kind == REL_FILTER) return reads_watermark(r->filter.predicate);
    for (int i = 0; r->kind == REL_PROJECT && i < r->schema->n; i++)
        if (reads_watermark(r->project.exprs[i])) return true;
    return false;
}

void rule_watermark_drop(opt_t *x, logical_t *l) {
    rel_t **list;
    int n = logical_order(x->c, l, &list);
    uint8_t *waits = ARENA_ARRAY(x->c->arena, uint8_t, x->c->next_id + 1);
    for (int i = n - 1; i >= 0 && !x->o->batch; i--) {
        bool w = waits[list[i]->id] || waits_for_time(list[i]);
        for (int j = 0; j < list[i]->ninputs; j++) waits[list[i]->inputs[j]->id] |= w;
    }
    rel_t **into = ARENA_ARRAY(x->c->arena, rel_t *, x->c->next_id + 1);
    for (int i = 0; i < n; i++) {
        rel_t *r = list[i];
        bool drop = r->kind == REL_WATERMARK && !waits[r->id];
        into[r->id] = drop ? into[r->inputs[0]->id] : opt_replace_inputs(x, r, into);
        x->changed = x->changed || drop;
    }
    for (int i = 0; i < l->nsinks; i++) l->sinks[i] = into[l->sinks[i]->id];
}
