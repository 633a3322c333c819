/* logical_identify.c: which subtrees are one, and what state is called.
 *
 * The identity of state must survive whatever does not change what the state means: the optimiser's version, a broker's
 * address, an added column, a renamed alias, sub-query or projection in between. So it is made of the bound graph before
 * any rule ran, and not of the graph's shape but of what each column is: every column of every relation is written as
 * an expression over the columns of tables, and a relation as its source, filters and windows over such expressions.
 * Projections leave no trace of their own. Texts over TEXT_MAX are replaced by their hash, so nesting stays linear. */
#include <stdlib.h>

#include "common/map.h"
#include "engine/func.h"
#include "sql/logical.h"

#define TEXT_MAX 1500

typedef struct ident {
    const char *text;     /* the relation */
    const char **columns; /* each of its columns, NULL-terminated by schema->n */
} ident_t;

typedef struct identify {
    rel_ctx_t *c;
    ident_t *of; /* by node id */
    map_t *twins; /* identity -> number of nodes that bear it */
} identify_t;

static const char *bounded_text(arena_t *a, buf_t *b) {
    char *text = buf_cstr(b);
    const char *ret = b->len <= TEXT_MAX ? arena_strdup(a, text)
                                         : arena_printf(a, "#%016" PRIx64, hash_bytes(text, b->len));
    buf_free(b);
    return ret;
}

/* The input's schema with the columns' texts as names: expr_print then writes an expression over tables' columns. */
static const schema_t *text_schema(identify_t *x, const rel_t *in) {
    schema_t *s = schema_new(x->c->arena, in->schema->n);
    for (int i = 0; i < s->n; i++) s->fields[i] = (field_t){x->of[in->id].columns[i], in->schema->fields[i].type};
    return s;
}

static const char *expr_text(identify_t *x, const expr_t *e, const schema_t *names) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    expr_print(&b, e, names);
    return bounded_text(x->c->arena, &b);
}

static void identify_scan(identify_t *x, rel_t *r, ident_t *id) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    const table_t *t = r->scan.table;
    static const char *const what[] = {"topic", "topic-pattern", "path"};
    buf_printf(&b, "scan(%s %s", t->name, t->connector);
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        const char *v = options_get(&t->options, what[i]);
        if (v) buf_printf(&b, " %s=%s", what[i], v);
    }
    buf_puts(&b, ")");
    id->text = bounded_text(x->c->arena, &b);
    for (int i = 0; i < r->schema->n; i++) id->columns[i] = r->schema->fields[i].name;
}

static void identify_values(identify_t *x, rel_t *r, ident_t *id) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    buf_puts(&b, "values(");
    for (int i = 0; i < r->values.nrows; i++)
        for (int j = 0; j < r->schema->n; j++) {
            expr_print(&b, r->values.rows[i][j], NULL);
            buf_puts(&b, ";");
        }
    buf_puts(&b, ")");
    id->text = bounded_text(x->c->arena, &b);
    for (int i = 0; i < r->schema->n; i++) id->columns[i] = arena_printf(x->c->arena, "v%d", i);
}

static void identify_window(identify_t *x, rel_t *r, ident_t *id) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    const ident_t *in = &x->of[r->inputs[0]->id];
    int n = r->inputs[0]->schema->n;
    window_print(&b, r->window.window);
    buf_printf(&b, " on %s", r->window.time_col >= 0 ? in->columns[r->window.time_col] : "proctime");
    const char *w = arena_strdup(x->c->arena, buf_cstr(&b));
    id->text = arena_printf(x->c->arena, "window(%s, %s)", w, in->text);
    for (int i = 0; i < n; i++) id->columns[i] = in->columns[i];
    id->columns[n] = "window_start";
    id->columns[n + 1] = "window_end";
    id->columns[n + 2] = "window_time";
}

/* The state of an aggregate: its input, the types and meaning of its keys and calls, in order. */
static void identify_aggregate(identify_t *x, rel_t *r, ident_t *id) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    const ident_t *in = &x->of[r->inputs[0]->id];
    const schema_t *s = r->inputs[0]->schema;
    buf_puts(&b, r->agg.window ? "window aggregate(by " : "aggregate(by ");
    for (int i = 0; i < r->agg.nkeys; i++) {
        buf_printf(&b, "%s%s ", i ? ", " : "", in->columns[r->agg.keys[i]]);
        type_print(&b, type_nullable(x->c->arena, s->fields[r->agg.keys[i]].type, true));
    }
    if (r->agg.end_col >= 0) buf_printf(&b, " in %s", in->columns[r->agg.end_col]);
    for (int i = 0; i < r->agg.naggs; i++) {
        const agg_call_t *c = &r->agg.aggs[i];
        AUTO(buf_free) buf_t one = buf_make(BUF_MAX_DEFAULT);
        buf_printf(&one, "%s(%s", agg_fn_name(c->fn), c->distinct ? "DISTINCT " : "");
        for (int j = 0; j < c->nargs; j++) {
            buf_printf(&one, "%s%s ", j ? ", " : "", in->columns[c->args[j]]);
            type_print(&one, type_nullable(x->c->arena, c->arg_types[j], true));
        }
        buf_puts(&one, ")");
        if (c->filter >= 0) buf_printf(&one, " FILTER %s", in->columns[c->filter]);
        const char *text = bounded_text(x->c->arena, &one);
        buf_printf(&b, "; %s", text);
        id->columns[r->agg.nkeys + i] = text;
    }
    buf_printf(&b, "; from %s)", in->text);
    for (int i = 0; i < r->agg.nkeys; i++) id->columns[i] = in->columns[r->agg.keys[i]];
    for (int i = 0; i < r->agg.nprops; i++) {
        static const char *const names[] = {"window_start", "window_end", "window_time"};
        id->columns[r->agg.nkeys + r->agg.naggs + i] = names[r->agg.props[i]];
    }
    id->text = bounded_text(x->c->arena, &b);
}

static void identify_union(identify_t *x, rel_t *r, ident_t *id) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    buf_puts(&b, "union(");
    for (int i = 0; i < r->ninputs; i++) {
        const ident_t *in = &x->of[r->inputs[i]->id];
        buf_printf(&b, "%s%s: ", i ? "; " : "", in->text);
        for (int j = 0; j < r->schema->n; j++) buf_printf(&b, "%s%s", j ? ", " : "", in->columns[j]);
    }
    buf_puts(&b, ")");
    id->text = bounded_text(x->c->arena, &b);
    for (int j = 0; j < r->schema->n; j++) id->columns[j] = arena_printf(x->c->arena, "u%d", j);
}

/* Texts of node r from those of its inputs. */
static void identify_node(identify_t *x, rel_t *r) {
    arena_t *a = x->c->arena;
    ident_t *id = &x->of[r->id];
    id->columns = ARENA_ARRAY(a, const char *, r->schema->n + 1);
    const ident_t *in = r->ninputs ? &x->of[r->inputs[0]->id] : NULL;
    switch (r->kind) {
    case REL_SCAN: identify_scan(x, r, id); return;
    case REL_VALUES: identify_values(x, r, id); return;
    case REL_WINDOW: identify_window(x, r, id); return;
    case REL_AGGREGATE: identify_aggregate(x, r, id); return;
    case REL_UNION: identify_union(x, r, id); return;
    case REL_PROJECT: {
        const schema_t *names = text_schema(x, r->inputs[0]);
        id->text = in->text;
        for (int i = 0; i < r->schema->n; i++) {
            int from = expr_as_column(r->project.exprs[i]);
            id->columns[i] = from >= 0 ? in->columns[from] : expr_text(x, r->project.exprs[i], names);
        }
        return;
    }
    case REL_FILTER: {
        AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
        buf_printf(&b, "filter(%s, %s)", expr_text(x, r->filter.predicate, text_schema(x, r->inputs[0])), in->text);
        id->text = bounded_text(a, &b);
        break;
    }
    case REL_WATERMARK:
    case REL_SINK: id->text = in->text; break;
    case REL_KINDS: UNREACHABLE();
    }
    for (int i = 0; i < r->schema->n; i++) id->columns[i] = in->columns[i];
}

/* "v1 aggregate(..)", and "v1 aggregate(..) twin 2" for the second of that name. */
static void name_state(identify_t *x, rel_t *r, const char *text) {
    intptr_t n = (intptr_t)map_get_str(x->twins, text) + 1;
    map_put_str(x->twins, text, (void *)n);
    r->identity = n == 1 ? arena_printf(x->c->arena, "v1 %s", text)
                         : arena_printf(x->c->arena, "v1 %s twin %d", text, (int)n);
}

static int by_id(const void *a, const void *b) {
    const rel_t *const *x = a, *const *y = b;
    return (*x)->id - (*y)->id;
}

void logical_identify(rel_ctx_t *c, logical_t *l) {
    rel_t **list;
    int n = logical_order(c, l, &list);
    identify_t x = {c, ARENA_ARRAY(c->arena, ident_t, c->next_id + 1), map_new()};
    for (int i = 0; i < n; i++) identify_node(&x, list[i]);
    qsort(list, (size_t)n, sizeof *list, by_id);
    for (int i = 0; i < n; i++) {
        rel_t *r = list[i];
        const char *text = x.of[r->id].text;
        if (r->kind == REL_SCAN || r->kind == REL_VALUES || r->kind == REL_AGGREGATE) name_state(&x, r, text);
        if (r->kind == REL_SINK) name_state(&x, r, arena_printf(c->arena, "sink(%s)", r->sink.table->name));
    }
    map_free(x.twins, NULL);
}

/* ---- equal subtrees */
static bool deterministic(const rel_t *r) {
    switch (r->kind) {
    case REL_FILTER: return expr_is_deterministic(r->filter.predicate);
    case REL_PROJECT:
        for (int i = 0; i < r->schema->n; i++)
            if (!expr_is_deterministic(r->project.exprs[i])) return false;
        return true;
    case REL_VALUES:
        for (int i = 0; i < r->values.nrows; i++)
            for (int j = 0; j < r->schema->n; j++)
                if (!expr_is_deterministic(r->values.rows[i][j])) return false;
        return true;
    default: return true;
    }
}

/* Texts say NULL without its type, which may be all that tells two calls apart. */
static void null_types(buf_t *out, const expr_t *e) {
    if (e->kind == EXPR_LITERAL && e->value.null) {
        buf_puts(out, " n");
        type_print(out, e->type);
    }
    for (int i = 0; i < e->nargs; i++) null_types(out, e->args[i]);
}

/* Everything that tells one node from another, inputs by their number. */
static const char *node_key(arena_t *a, const rel_t *r) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    rel_print_line(&b, r);
    for (int i = 0; i < r->schema->n; i++) {
        buf_printf(&b, "|%s ", r->schema->fields[i].name);
        type_print(&b, r->schema->fields[i].type);
    }
    if (r->kind == REL_SCAN) buf_printf(&b, "@%p", (const void *)r->scan.table);
    if (r->kind == REL_FILTER) null_types(&b, r->filter.predicate);
    for (int i = 0; r->kind == REL_PROJECT && i < r->schema->n; i++) null_types(&b, r->project.exprs[i]);
    if (r->kind == REL_AGGREGATE) {
        for (int i = 0; i < r->agg.nkeys; i++) buf_printf(&b, " k%d", r->agg.keys[i]);
        for (int i = 0; i < r->agg.naggs; i++)
            for (int j = 0; j < r->agg.aggs[i].nargs; j++) buf_printf(&b, " a%d.%d", i, r->agg.aggs[i].args[j]);
        for (int i = 0; i < r->agg.naggs; i++) buf_printf(&b, " f%d", r->agg.aggs[i].filter);
        buf_printf(&b, " w%d %d %d", r->agg.time_col, r->agg.start_col, r->agg.end_col);
    }
    for (int i = 0; i < r->ninputs; i++) buf_printf(&b, " <%d", r->inputs[i]->id);
    return arena_strdup(a, buf_cstr(&b));
}

/* Expressions print columns by name; two columns of one name must not look alike. */
static bool names_unique(const rel_t *r) {
    for (int i = 0; i < r->ninputs; i++) {
        const schema_t *s = r->inputs[i]->schema;
        if (s->n > 300) return false;
        for (int j = 0; j < s->n; j++)
            if (schema_find(s, s->fields[j].name) != j) return false;
    }
    return true;
}

/* A window is told from others by its address: after two were merged, columns of the dropped one name the kept one. */
static void rename_windows(const map_t *kept, rel_t *r) {
    for (int i = 0; i < r->schema->n; i++) {
        const rel_window_t *w = r->props[i].window;
        const rel_window_t *to = w ? map_get(kept, slice_of(&w, sizeof w)) : NULL;
        if (to) r->props[i].window = to;
    }
    if (r->kind != REL_AGGREGATE || !r->agg.window) return;
    const rel_window_t *to = map_get(kept, slice_of(&r->agg.window, sizeof r->agg.window));
    if (to) r->agg.window = to;
}

/* Nodes are changed in place: this runs once, before anything else holds on to the graph. */
void logical_merge_equal(rel_ctx_t *c, logical_t *l) {
    rel_t **list;
    int n = logical_order(c, l, &list);
    rel_t **into = ARENA_ARRAY(c->arena, rel_t *, c->next_id + 1);
    map_t *seen = map_new(), *kept = map_new();
    for (int i = 0; i < n; i++) {
        rel_t *r = list[i];
        rename_windows(kept, r);
        for (int j = 0; j < r->ninputs; j++) r->inputs[j] = into[r->inputs[j]->id];
        into[r->id] = r;
        bool long_values = r->kind == REL_VALUES && r->values.nrows > 10; /* printed only in part */
        if (r->kind == REL_SINK || long_values || !deterministic(r) || !names_unique(r)) continue;
        const char *key = node_key(c->arena, r);
        rel_t *same = map_get_str(seen, key);
        if (same) into[r->id] = same;
        else map_put_str(seen, key, r);
        if (same && r->kind == REL_WINDOW)
            map_put(kept, slice_of(&r->window.window, sizeof r->window.window), (void *)same->window.window);
    }
    map_free(seen, NULL);
    map_free(kept, NULL);
}
