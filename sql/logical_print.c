/* logical_print.c: relations as text. The lines are canonical: EXPLAIN shows them and equal subtrees are found by them. */
#include "sql/logical.h"

static const char *const kind_names[REL_KINDS] = {
    [REL_SCAN] = "Scan",           [REL_VALUES] = "Values", [REL_FILTER] = "Filter",       [REL_PROJECT] = "Project",
    [REL_WATERMARK] = "Watermark", [REL_WINDOW] = "Window", [REL_AGGREGATE] = "Aggregate", [REL_UNION] = "Union",
    [REL_SINK] = "Sink",
};

const char *rel_kind_name(rel_kind_t k) { return kind_names[k]; }

void duration_print(buf_t *out, int64_t ms) {
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (ms != 0 && ms % units[i].ms == 0) {
            buf_printf(out, "%" PRId64 " %s", ms / units[i].ms, units[i].name);
            return;
        }
    buf_printf(out, "%" PRId64 " ms", ms);
}

void window_print(buf_t *out, const rel_window_t *w) {
    static const char *const names[] = {"TUMBLE", "HOP", "CUMULATE", "SESSION"};
    buf_printf(out, "%s(%s", names[w->kind], w->proctime ? "proctime, " : "");
    if (w->kind == WINDOW_SESSION) {
        buf_puts(out, "gap ");
        duration_print(out, w->gap_ms);
    } else {
        buf_puts(out, "size ");
        duration_print(out, w->size_ms);
    }
    if (w->kind == WINDOW_HOP || w->kind == WINDOW_CUMULATE) {
        buf_puts(out, w->kind == WINDOW_HOP ? ", slide " : ", step ");
        duration_print(out, w->slide_ms);
    }
    if (w->offset_ms != 0) {
        buf_puts(out, ", offset ");
        duration_print(out, w->offset_ms);
    }
    buf_puts(out, ")");
}

static void exprs_print(buf_t *out, expr_t *const *e, int n, const schema_t *in, const schema_t *names) {
    for (int i = 0; i < n; i++) {
        if (i) buf_puts(out, ", ");
        size_t at = out->len;
        expr_print(out, e[i], in);
        const char *name = names ? names->fields[i].name : NULL;
        if (name && (out->len - at != strlen(name) || memcmp(out->data + at, name, strlen(name)) != 0))
            buf_printf(out, " AS %s", name);
    }
}

static void values_print(buf_t *out, const rel_t *r) {
    for (int i = 0; i < r->values.nrows; i++) {
        buf_puts(out, i ? ", (" : "(");
        exprs_print(out, r->values.rows[i], r->schema->n, NULL, NULL);
        buf_puts(out, ")");
        if (i == 9 && r->values.nrows > 10) {
            buf_printf(out, ", .. %d rows", r->values.nrows);
            return;
        }
    }
}

static void source_print(buf_t *out, const rel_t *r) {
    buf_puts(out, r->scan.table->name);
    buf_puts(out, ": ");
    scan_print(out, r->scan.table, r->scan.nscan, r->scan.scan, r->schema);
    if (r->scan.upsert) buf_puts(out, ", upsert");
    if (r->scan.bounded) buf_puts(out, ", bounded");
}

static void agg_call_print(buf_t *out, const agg_call_t *c, const schema_t *in) {
    buf_printf(out, "%s(%s%s", agg_fn_name(c->fn), c->distinct ? "DISTINCT " : "", c->nargs ? "" : "*");
    for (int i = 0; i < c->nargs; i++) buf_printf(out, "%s%s", i ? ", " : "", in->fields[c->args[i]].name);
    buf_puts(out, ")");
    if (c->filter >= 0) buf_printf(out, " FILTER %s", in->fields[c->filter].name);
}

static void aggregate_print(buf_t *out, const rel_t *r) {
    const schema_t *in = r->inputs[0]->schema;
    const char *sep = "";
    if (r->agg.window) {
        window_print(out, r->agg.window);
        if (r->agg.time_col >= 0) buf_printf(out, " on %s", in->fields[r->agg.time_col].name);
        else if (r->agg.end_col >= 0) buf_printf(out, " attached to %s", in->fields[r->agg.end_col].name);
        sep = ", ";
    }
    buf_printf(out, "%sby (", sep);
    for (int i = 0; i < r->agg.nkeys; i++) buf_printf(out, "%s%s", i ? ", " : "", in->fields[r->agg.keys[i]].name);
    buf_puts(out, ")");
    for (int i = 0; i < r->agg.naggs; i++) {
        buf_puts(out, ", ");
        agg_call_print(out, &r->agg.aggs[i], in);
        buf_printf(out, " AS %s", r->agg.aggs[i].name);
    }
    static const char *const props[] = {"window_start", "window_end", "window_time"};
    for (int i = 0; i < r->agg.nprops; i++) buf_printf(out, ", %s", props[r->agg.props[i]]);
}

void rel_print_line(buf_t *out, const rel_t *r) {
    const schema_t *in = r->ninputs ? r->inputs[0]->schema : NULL;
    buf_printf(out, "%s(", rel_kind_name(r->kind));
    switch (r->kind) {
    case REL_SCAN: source_print(out, r); break;
    case REL_VALUES: values_print(out, r); break;
    case REL_FILTER: expr_print(out, r->filter.predicate, in); break;
    case REL_PROJECT: exprs_print(out, r->project.exprs, r->schema->n, in, r->schema); break;
    case REL_WATERMARK:
        buf_printf(out, "%s, ", in->fields[r->watermark.rowtime].name);
        expr_print(out, r->watermark.expr, in);
        if (r->watermark.idle_timeout_ms) {
            buf_puts(out, ", idle after ");
            duration_print(out, r->watermark.idle_timeout_ms);
        }
        break;
    case REL_WINDOW:
        window_print(out, r->window.window);
        if (r->window.time_col >= 0) buf_printf(out, " on %s", in->fields[r->window.time_col].name);
        for (int i = 0; i < r->window.npartition; i++)
            buf_printf(out, "%s%s", i ? ", " : " per ", in->fields[r->window.partition[i]].name);
        break;
    case REL_AGGREGATE: aggregate_print(out, r); break;
    case REL_UNION: buf_printf(out, "%d inputs", r->ninputs); break;
    case REL_SINK: buf_puts(out, r->sink.table->name); break;
    case REL_KINDS: UNREACHABLE();
    }
    buf_puts(out, ")");
}

typedef struct printer {
    buf_t *out;
    const int *parents; /* consumers per node id */
    int *number;        /* printed number of a shared node, 0 not yet */
    int shared;
} printer_t;

static void print_tree(printer_t *p, const rel_t *r, int depth) {
    buf_printf(p->out, "%*s", depth * 2, "");
    if (p->number[r->id]) {
        buf_printf(p->out, "Reuse #%d\n", p->number[r->id]);
        return;
    }
    rel_print_line(p->out, r);
    if (p->parents[r->id] > 1) {
        p->number[r->id] = ++p->shared;
        buf_printf(p->out, " #%d", p->number[r->id]);
    }
    buf_puts(p->out, "\n");
    for (int i = 0; i < r->ninputs; i++) print_tree(p, r->inputs[i], depth + 1);
}

void logical_print(buf_t *out, rel_ctx_t *c, const logical_t *l) {
    rel_t **list;
    int n = logical_order(c, l, &list);
    int *parents = ARENA_ARRAY(c->arena, int, c->next_id + 1);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < list[i]->ninputs; j++) parents[list[i]->inputs[j]->id]++;
    printer_t p = {out, parents, ARENA_ARRAY(c->arena, int, c->next_id + 1), 0};
    for (int i = 0; i < l->nsinks; i++) print_tree(&p, l->sinks[i], 0);
}
