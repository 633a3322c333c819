/* physical_agg.c: aggregates: combiner, exchange by key, final aggregate. */
#include "sql/physical_int.h"

static window_spec_t window_spec(const rel_t *r) {
    const rel_window_t *w = r->agg.window;
    return (window_spec_t){.kind = w->kind, .proctime = w->proctime, .time_col = r->agg.time_col,
                           .attached_start = r->agg.start_col, .attached_end = r->agg.end_col, .size_ms = w->size_ms,
                           .slide_ms = w->slide_ms, .offset_ms = w->offset_ms, .gap_ms = w->gap_ms,
                           .zoned = w->time_type->kind == TYPE_TIMESTAMP_LTZ};
}

static const char *agg_label(phys_t *p, const rel_t *r) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    const schema_t *in = r->inputs[0]->schema;
    if (r->agg.window) {
        window_print(&b, r->agg.window);
        if (r->agg.nkeys) buf_puts(&b, " by ");
    } else {
        buf_puts(&b, r->agg.naggs ? "GROUP" : "DISTINCT");
        if (r->agg.nkeys) buf_puts(&b, r->agg.naggs ? " BY " : " ");
    }
    for (int i = 0; i < r->agg.nkeys; i++) {
        if (i == 6) {
            buf_puts(&b, ", ..");
            break;
        }
        buf_printf(&b, "%s%s", i ? ", " : "", in->fields[r->agg.keys[i]].name);
    }
    return arena_strdup(p->arena, buf_cstr(&b));
}

static void fill_agg(phys_t *p, const rel_t *r, plan_op_t *op) {
    op->nkeys = r->agg.nkeys;
    op->keys = r->agg.keys;
    op->naggs = r->agg.naggs;
    op->aggs = r->agg.aggs;
    op->line = r->line;
    if (r->agg.window) op->window = window_spec(r);
}

/* May each task first aggregate what it has (hazards A19)? */
static bool combines(const phys_t *p, const rel_t *r) {
    if (p->changes[r->inputs[0]->id].updates) return false;
    /* the combiner assigns windows by the row's time; the wall clock's are assigned where they are kept */
    if (r->agg.window && (r->agg.window->proctime || r->agg.window->kind == WINDOW_SESSION)) return false;
    for (int i = 0; i < r->agg.naggs; i++)
        if (!agg_can_combine(&r->agg.aggs[i])) return false;
    return true;
}

static pop_t *local(phys_t *p, const rel_t *r, pop_t *in) {
    int nk = r->agg.nkeys, np = 0;
    const type_t **partials = ARENA_ARRAY(p->arena, const type_t *, 4 * r->agg.naggs + 4);
    for (int i = 0; i < r->agg.naggs; i++) np += agg_partial_types(p->arena, &r->agg.aggs[i], partials + np);
    int end = r->agg.window ? 1 : 0;
    schema_t *s = schema_new(p->arena, nk + end + np);
    for (int i = 0; i < nk; i++) s->fields[i] = in->op->schema->fields[r->agg.keys[i]];
    if (end) s->fields[nk] = (field_t){"$window_end", type_nullable(p->arena, &type_bigint, false)};
    for (int i = 0; i < np; i++)
        s->fields[nk + end + i] = (field_t){arena_printf(p->arena, "$p%d", i), partials[i]};
    pop_t *o = pop_after(p, r->agg.window ? OP_WINDOW_LOCAL : OP_GROUP_LOCAL, in, s);
    fill_agg(p, r, o->op);
    o->op->label = "combine";
    o->nhash = -1;
    return o;
}

static const int *first_columns(phys_t *p, int n) {
    int *c = ARENA_ARRAY(p->arena, int, n + 1);
    for (int i = 0; i < n; i++) c[i] = i;
    return c;
}

static pop_t *final(phys_t *p, const rel_t *r, pop_t *in, bool partial) {
    pop_t *o = pop_after(p, r->agg.window ? OP_WINDOW_AGG : OP_GROUP_AGG, in, r->schema);
    plan_op_t *op = o->op;
    fill_agg(p, r, op);
    op->partial_input = partial;
    if (partial) {
        op->keys = first_columns(p, r->agg.nkeys);
        if (r->agg.window) op->window.time_col = op->window.attached_start = op->window.attached_end = -1;
    }
    op->nprops = r->agg.nprops;
    op->props = r->agg.props;
    op->retracts = p->changes[r->id].updates;
    op->state_ttl_ms = r->agg.window || p->o->batch ? 0 : p->o->state_ttl_ms;
    op->label = agg_label(p, r);
    phys_identity(p, op, r->identity);
    o->nhash = r->agg.nkeys ? r->agg.nkeys : -1;
    o->hash = first_columns(p, r->agg.nkeys);
    return o;
}

pop_t *phys_aggregate(phys_t *p, const rel_t *r, pop_t *in) {
    if (pop_spread_by(in, r->agg.keys, r->agg.nkeys)) return final(p, r, in, false);
    bool partial = combines(p, r);
    if (partial) in = local(p, r, in);
    const int *keys = partial ? first_columns(p, r->agg.nkeys) : r->agg.keys;
    if (r->agg.nkeys) in = pop_exchange(p, in, EXCHANGE_HASH, keys, r->agg.nkeys, 0);
    else if (pstage_of(in)->fixed != 1) in = pop_exchange(p, in, EXCHANGE_REBALANCE, NULL, 0, 1);
    return final(p, r, in, partial);
}
