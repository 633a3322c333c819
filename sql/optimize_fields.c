/* optimize_fields.c: fields of rows nobody reads are not read by the source.
 *
 * Top down every column learns which paths below it are read: a path ends where anything but FIELD looks at it. Columns pass
 * needs on through filters, watermarks, windows and projections that only give them another place; all else wants the whole
 * value. Scans whose source can do so then give rows of fewer fields, and types follow bottom up: FIELD finds its field
 * by name, so expressions stay as they are. An upsert scan keeps whole rows as state and is left alone. */
#include "engine/func.h"
#include "engine/operator.h"
#include "sql/optimize_int.h"

typedef struct need {
    bool all;
    struct need *field; /* of each field of a ROW; NULL: none is read by itself */
} need_t;

typedef struct fields {
    opt_t *x;
    need_t **needs; /* by node id: per column */
    rel_t **into;
} fields_t;

static const need_t everything = {.all = true};

static bool is_read(const need_t *n, const type_t *t) {
    if (n->all) return true;
    for (int i = 0; n->field && i < t->nchild; i++)
        if (is_read(&n->field[i], t->child[i])) return true;
    return false;
}

/* FIELD of a row: the index of its field, else -1. */
static int field_of(const expr_t *e) {
    if (e->kind != EXPR_CALL || strcmp(func_name(e->func), "FIELD") != 0) return -1;
    const type_t *t = e->args[0]->type;
    const str_t *name = &e->args[1]->value.s;
    for (int i = 0; i < t->nchild; i++)
        if (strlen(t->names[i]) == name->len && memcmp(t->names[i], name->p, name->len) == 0) return i;
    return -1;
}

/* ---- top down */
static arena_t *arena_of(const fields_t *f) { return f->x->c->arena; }

static need_t *need_fields(fields_t *f, need_t *n, const type_t *t) {
    if (!n->field) n->field = ARENA_ARRAY(arena_of(f), need_t, t->nchild + 1);
    return n->field;
}

static void need_add(fields_t *f, need_t *to, const need_t *from, const type_t *t) {
    to->all |= from->all;
    if (!from->field) return;
    need_t *field = need_fields(f, to, t);
    for (int i = 0; i < t->nchild; i++) need_add(f, &field[i], &from->field[i], t->child[i]);
}

/* The need of what e names, a column or a path below one; NULL: it names nothing. */
static need_t *need_of(fields_t *f, const expr_t *e, need_t *in) {
    if (e->kind == EXPR_COLUMN) return &in[e->column];
    int field = field_of(e);
    need_t *row = field < 0 ? NULL : need_of(f, e->args[0], in);
    return row ? &need_fields(f, row, e->args[0]->type)[field] : NULL;
}

static void need_expr(fields_t *f, const expr_t *e, need_t *in, const need_t *want) {
    need_t *named = need_of(f, e, in);
    if (named) need_add(f, named, want, e->type);
    for (int i = 0; !named && e->kind == EXPR_CALL && i < e->nargs; i++) need_expr(f, e->args[i], in, &everything);
}

static void need_from(fields_t *f, const rel_t *r) {
    need_t *out = f->needs[r->id], *in = r->ninputs ? f->needs[r->inputs[0]->id] : NULL;
    switch (r->kind) {
    case REL_SCAN:
    case REL_VALUES: return;
    case REL_FILTER: need_expr(f, r->filter.predicate, in, &everything); break;
    case REL_PROJECT:
        for (int i = 0; i < r->schema->n; i++) /* what nobody reads is still made, from what it always was */
            need_expr(f, r->project.exprs[i], in, is_read(&out[i], r->schema->fields[i].type) ? &out[i] : &everything);
        return;
    case REL_WATERMARK:
        in[r->watermark.rowtime].all = true;
        need_expr(f, r->watermark.expr, in, &everything);
        break;
    case REL_WINDOW:
        if (r->window.time_col >= 0) in[r->window.time_col].all = true;
        for (int i = 0; i < r->window.npartition; i++) in[r->window.partition[i]].all = true;
        break;
    case REL_AGGREGATE:
    case REL_UNION:
    case REL_SINK:
        for (int k = 0; k < r->ninputs; k++)
            for (int i = 0; i < r->inputs[k]->schema->n; i++) f->needs[r->inputs[k]->id][i].all = true;
        return;
    case REL_KINDS: UNREACHABLE();
    }
    for (int i = 0; i < r->inputs[0]->schema->n; i++) need_add(f, &in[i], &out[i], r->schema->fields[i].type);
}

/* ---- bottom up */
static const type_t *narrow(fields_t *f, const type_t *t, const need_t *need) {
    if (need->all || t->kind != TYPE_ROW || !is_read(need, t)) return t;
    const type_t **types = ARENA_ARRAY(arena_of(f), const type_t *, t->nchild);
    const char **names = ARENA_ARRAY(arena_of(f), const char *, t->nchild);
    int n = 0;
    bool same = true;
    for (int i = 0; i < t->nchild; i++) {
        if (!is_read(&need->field[i], t->child[i])) continue;
        types[n] = narrow(f, t->child[i], &need->field[i]);
        same = same && types[n] == t->child[i];
        names[n++] = t->names[i];
    }
    return same && n == t->nchild ? t : type_row(arena_of(f), n, types, names, t->nullable);
}

static expr_t *retype(fields_t *f, const expr_t *e, const schema_t *in) {
    expr_t *c = ARENA_NEW(arena_of(f), expr_t);
    *c = *e;
    if (e->kind == EXPR_COLUMN) c->type = in->fields[e->column].type;
    if (e->kind != EXPR_CALL) return c;
    c->args = ARENA_ARRAY(arena_of(f), expr_t *, e->nargs + 1);
    for (int i = 0; i < e->nargs; i++) c->args[i] = retype(f, e->args[i], in);
    int field = e->type->kind == TYPE_ROW ? field_of(c) : -1;
    if (field >= 0) c->type = type_nullable(arena_of(f), c->args[0]->type->child[field], e->type->nullable);
    return c;
}

static rel_t *narrow_scan(fields_t *f, rel_t *r) {
    const source_vtable_t *vt = source_find(r->scan.table->connector);
    if (r->scan.upsert || !vt || !vt->narrows || opt_reads_whole_records(r->scan.table)) return r;
    schema_t *s = schema_new(arena_of(f), r->schema->n);
    bool any = false;
    for (int i = 0; i < s->n; i++) {
        s->fields[i] = r->schema->fields[i];
        if (r->scan.scan[i] >= r->scan.table->physical->n || !vt->narrows(r->scan.table, r->scan.scan[i])) continue;
        s->fields[i].type = narrow(f, s->fields[i].type, &f->needs[r->id][i]);
        any = any || s->fields[i].type != r->schema->fields[i].type;
    }
    if (!any) return r;
    rel_t *n = rel_with_inputs(f->x->c, r, r->inputs);
    n->schema = s;
    f->x->changed = true;
    return n;
}

static rel_t *rebuild(fields_t *f, rel_t *r) {
    rel_ctx_t *c = f->x->c;
    if (r->kind == REL_SCAN) return narrow_scan(f, r);
    rel_t *n = opt_replace_inputs(f->x, r, f->into), *in = n->ninputs ? n->inputs[0] : NULL;
    if (n == r) return r;
    switch (r->kind) {
    case REL_FILTER: n = rel_filter(c, in, retype(f, r->filter.predicate, in->schema)); break;
    case REL_WATERMARK:
        n = rel_watermark(c, in, r->watermark.rowtime, retype(f, r->watermark.expr, in->schema), r->watermark.idle_timeout_ms);
        break;
    case REL_PROJECT: {
        expr_t **exprs = ARENA_ARRAY(arena_of(f), expr_t *, r->schema->n + 1);
        const char **names = ARENA_ARRAY(arena_of(f), const char *, r->schema->n + 1);
        for (int i = 0; i < r->schema->n; i++) {
            exprs[i] = retype(f, r->project.exprs[i], in->schema);
            names[i] = r->schema->fields[i].name;
        }
        n = rel_project(c, in, exprs, names, r->schema->n);
        break;
    }
    case REL_WINDOW:
        n = rel_window(c, in, r->window.window, r->window.time_col);
        n->window.npartition = r->window.npartition;
        n->window.partition = r->window.partition;
        break;
    default: return n; /* they want all of their inputs' columns: same schemas */
    }
    n->identity = r->identity;
    return rel_at(n, r->line, r->col);
}

void rule_prune_fields(opt_t *x, logical_t *l) {
    rel_t **list;
    arena_t *a = x->c->arena;
    int n = logical_order(x->c, l, &list), ids = x->c->next_id + 1;
    fields_t f = {x, ARENA_ARRAY(a, need_t *, ids), ARENA_ARRAY(a, rel_t *, ids)};
    for (int i = 0; i < n; i++) f.needs[list[i]->id] = ARENA_ARRAY(a, need_t, list[i]->schema->n + 1);
    for (int i = n - 1; i >= 0; i--) need_from(&f, list[i]);
    for (int i = 0; i < n; i++) f.into[list[i]->id] = rebuild(&f, list[i]);
    for (int i = 0; i < l->nsinks; i++) l->sinks[i] = f.into[l->sinks[i]->id];
}
