/* plan_print.c: the canonical text of a physical plan: golden-tested, hashed (plan->hash), so it holds everything that
 * decides what the plan computes and nothing else (no pointers, no machine paths beyond the statement's own).
 *
 *   Stage 0 "events" parallelism 2
 *     0 SOURCE events connector=kafka scan=[id, amount, ts]
 *     1 WATERMARK <- 0 ts: ($2 - INTERVAL '10' SECOND)
 *     2 EXCHANGE_OUT <- 1 edge 0 HASH(id) -> stage 1 */
#include "engine/plan.h"

static const char *column_name(const schema_t *s, int i) { return s && i >= 0 && i < s->n ? s->fields[i].name : "?"; }

static void print_columns(buf_t *out, const schema_t *s, const int *cols, int n) {
    for (int i = 0; i < n; i++) buf_printf(out, "%s%s", i ? ", " : "", column_name(s, cols[i]));
}

static void print_schema(buf_t *out, const schema_t *s) {
    buf_puts(out, "(");
    for (int i = 0; s && i < s->n; i++) {
        buf_printf(out, "%s%s ", i ? ", " : "", s->fields[i].name);
        type_print(out, s->fields[i].type);
    }
    buf_puts(out, ")");
}

static void print_ms(buf_t *out, int64_t ms) {
    static const struct { int64_t ms; const char *unit; } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (ms == 0 || ms % units[i].ms) continue;
        buf_printf(out, "%" PRId64 " %s", ms / units[i].ms, units[i].unit);
        return;
    }
    buf_printf(out, "%" PRId64 " ms", ms);
}

static void print_window(buf_t *out, const window_spec_t *w, const schema_t *in, bool partial) {
    static const char *const kinds[] = {"TUMBLE", "HOP", "CUMULATE", "SESSION"};
    buf_printf(out, " %s(", kinds[w->kind]);
    bool attached = w->attached_end >= 0 && w->time_col < 0 && !w->proctime;
    if (attached) buf_printf(out, "attached %s", column_name(in, w->attached_end));
    else if (w->proctime) buf_puts(out, "PROCTIME");
    else buf_puts(out, partial ? "slices" : column_name(in, w->time_col));
    if (w->kind == WINDOW_SESSION) {
        buf_puts(out, ", gap ");
        print_ms(out, w->gap_ms);
    } else {
        if (w->kind != WINDOW_TUMBLE) {
            buf_puts(out, w->kind == WINDOW_HOP ? ", slide " : ", step ");
            print_ms(out, w->slide_ms);
        }
        buf_puts(out, ", size ");
        print_ms(out, w->size_ms);
    }
    if (w->offset_ms) {
        buf_puts(out, ", offset ");
        print_ms(out, w->offset_ms);
    }
    buf_puts(out, ")");
}

static void print_calls(buf_t *out, const plan_op_t *op, const schema_t *in) {
    if (op->naggs == 0) return;
    buf_puts(out, " aggregates=[");
    for (int i = 0; i < op->naggs; i++) {
        const agg_call_t *c = &op->aggs[i];
        buf_printf(out, "%s%s(%s", i ? ", " : "", agg_fn_name(c->fn), c->distinct ? "DISTINCT " : "");
        for (int k = 0; k < c->nargs; k++) {
            if (op->partial_input) buf_printf(out, "%s$%d", k ? ", " : "", c->args[k]);
            else buf_printf(out, "%s%s", k ? ", " : "", column_name(in, c->args[k]));
        }
        buf_puts(out, c->nargs ? ")" : "*)");
        if (c->filter >= 0) {
            if (op->partial_input) buf_printf(out, " FILTER $%d", c->filter);
            else buf_printf(out, " FILTER %s", column_name(in, c->filter));
        }
        if (c->name) buf_printf(out, " AS %s", c->name);
    }
    buf_puts(out, "]");
}

static void print_props(buf_t *out, const plan_op_t *op) {
    static const char *const names[] = {"window_start", "window_end", "window_time"};
    if (op->nprops == 0) return;
    buf_puts(out, " props=[");
    for (int i = 0; i < op->nprops; i++) buf_printf(out, "%s%s", i ? ", " : "", names[op->props[i]]);
    buf_puts(out, "]");
}

static void print_aggregate(buf_t *out, const plan_op_t *op, const schema_t *in) {
    if (op->kind == OP_WINDOW_AGG || op->kind == OP_WINDOW_LOCAL) print_window(out, &op->window, in, op->partial_input);
    if (op->nkeys) {
        buf_puts(out, " keys=[");
        print_columns(out, in, op->keys, op->nkeys);
        buf_puts(out, "]");
    }
    print_calls(out, op, in);
    print_props(out, op);
    if (op->partial_input) buf_puts(out, " partial");
    if (op->after_only) buf_puts(out, " after-only");
    if (op->state_ttl_ms) {
        buf_puts(out, " ttl=");
        print_ms(out, op->state_ttl_ms);
    }
}

/* The fields of a row that has not all of those it was declared with. */
static void print_fields(buf_t *out, const type_t *declared, const type_t *t) {
    if (t->kind != TYPE_ROW || type_equal(declared, t)) return;
    buf_puts(out, "{");
    for (int i = 0; i < t->nchild; i++) {
        buf_printf(out, "%s%s", i ? ", " : "", t->names[i]);
        for (int k = 0; k < declared->nchild; k++)
            if (strcmp(declared->names[k], t->names[i]) == 0) print_fields(out, declared->child[k], t->child[i]);
    }
    buf_puts(out, "}");
}

void scan_print(buf_t *out, const table_t *t, int nscan, const int *scan, const schema_t *s) {
    for (int i = 0; i < nscan; i++) {
        buf_printf(out, "%s%s", i ? ", " : "", column_name(s, i));
        if (t->physical && scan[i] < t->physical->n) print_fields(out, t->physical->fields[scan[i]].type, s->fields[i].type);
    }
}

static void print_table(buf_t *out, const plan_op_t *op) {
    const table_t *t = op->table;
    if (!t) {
        buf_puts(out, op->sink_print ? " print" : "");
        return;
    }
    buf_printf(out, " %s connector=%s", t->name ? t->name : "?", t->connector ? t->connector : "?");
    if (op->kind == OP_SOURCE) {
        buf_puts(out, " scan=[");
        scan_print(out, op->table, op->nscan, op->scan, op->schema);
        buf_puts(out, "]");
        return;
    }
    if (op->lanes_max) buf_printf(out, " lanes=%d", op->lanes_max);
    if (op->sink_upsert) buf_puts(out, " upsert");
}

static void print_calc(buf_t *out, const plan_op_t *op, const schema_t *in) {
    if (op->filter) {
        buf_puts(out, " where=");
        expr_print(out, op->filter, in);
    }
    buf_puts(out, " select=[");
    for (int i = 0; i < op->schema->n; i++) {
        if (i) buf_puts(out, ", ");
        expr_print(out, op->projection[i], in);
        if (op->projection[i]->kind == EXPR_COLUMN && strcmp(column_name(in, op->projection[i]->column), op->schema->fields[i].name) == 0)
            continue;
        buf_printf(out, " AS %s", op->schema->fields[i].name);
    }
    buf_puts(out, "]");
}

static void print_values(buf_t *out, const plan_op_t *op) {
    buf_puts(out, " rows=[");
    for (int i = 0; i < op->nrows; i++) {
        buf_puts(out, i ? ", (" : "(");
        for (int k = 0; k < op->schema->n; k++) {
            if (k) buf_puts(out, ", ");
            expr_print(out, op->rows[i][k], NULL);
        }
        buf_puts(out, ")");
    }
    buf_puts(out, "]");
}

static void print_exchange(buf_t *out, const plan_t *p, const plan_op_t *op, const schema_t *in) {
    static const char *const kinds[] = {"FORWARD", "HASH", "REBALANCE", "BROADCAST"};
    const plan_edge_t *e = NULL;
    for (int i = 0; i < p->nedges; i++)
        if (p->edges[i]->id == op->edge) e = p->edges[i];
    buf_printf(out, " edge %d %s", op->edge, kinds[e ? e->exchange : op->exchange]);
    if (op->kind == OP_EXCHANGE_IN) {
        if (e) buf_printf(out, " from stage %d", e->from_stage);
        return;
    }
    if (op->nhash) {
        buf_puts(out, "(");
        print_columns(out, in, op->hash, op->nhash);
        buf_puts(out, ")");
    }
    if (e) buf_printf(out, " -> stage %d", e->to_stage);
}

static void print_op(buf_t *out, const plan_t *p, const plan_stage_t *s, const plan_op_t *op) {
    const schema_t *in = op->ninputs ? s->ops[op->inputs[0]]->schema : NULL;
    buf_printf(out, "  %d %s", op->id, op_kind_name(op->kind));
    for (int i = 0; i < op->ninputs; i++) buf_printf(out, "%s%d", i ? ", " : " <- ", op->inputs[i]);
    switch (op->kind) {
    case OP_SOURCE:
    case OP_SINK: print_table(out, op); break;
    case OP_VALUES: print_values(out, op); break;
    case OP_CALC: print_calc(out, op, in); break;
    case OP_WATERMARK:
        buf_printf(out, " %s: ", column_name(in, op->rowtime_col));
        expr_print(out, op->watermark_expr, in);
        if (op->idle_timeout_ms) {
            buf_puts(out, " idle-timeout ");
            print_ms(out, op->idle_timeout_ms);
        }
        break;
    case OP_WINDOW_ASSIGN: print_window(out, &op->window, in, false); break;
    case OP_WINDOW_LOCAL:
    case OP_WINDOW_AGG:
    case OP_GROUP_LOCAL:
    case OP_GROUP_AGG: print_aggregate(out, op, in); break;
    case OP_UPSERT_KEYS:
        buf_puts(out, " keys=[");
        print_columns(out, in, op->keys, op->nkeys);
        buf_puts(out, "]");
        break;
    case OP_EXCHANGE_IN:
    case OP_EXCHANGE_OUT: print_exchange(out, p, op, in); break;
    case OP_UNION:
    case OP_KINDS: break;
    }
    if (op->retracts) buf_puts(out, " retracts");
    buf_puts(out, " ");
    print_schema(out, op->schema);
    buf_puts(out, "\n");
}

void plan_print(buf_t *out, const plan_t *p) {
    buf_printf(out, "Plan %s\n", p->batch ? "batch" : "streaming");
    for (int i = 0; i < p->nstages; i++) {
        const plan_stage_t *s = p->stages[i];
        buf_printf(out, "Stage %d", s->id);
        if (s->label) buf_printf(out, " \"%s\"", s->label);
        buf_printf(out, " parallelism %d\n", stage_parallelism(p, s));
        for (int k = 0; k < s->nops; k++) print_op(out, p, s, s->ops[k]);
    }
}
