/* bind_insert.c: INSERT INTO: columns by position, casts, the sink. */
#include <ctype.h>

#include "engine/operator.h"
#include "sql/bind.h"
#include "common/near.h"

typedef struct target {
    bind_t *b;
    const ast_insert_t *ast;
    catalog_entry_t *entry;
    const table_t *table;
    int n;            /* columns the table takes, in the order declared */
    const char **names;
    const type_t **types;
    int *place;       /* where it stands in the sink's rows: physical columns, then metadata */
    int *from;        /* per column: column of the query; -1: NULL; -2 - i: static partition value i */
} target_t;

static void target_columns(target_t *t) {
    const catalog_entry_t *e = t->entry;
    arena_t *a = t->b->arena;
    t->names = ARENA_ARRAY(a, const char *, e->ncols + 1);
    t->types = ARENA_ARRAY(a, const type_t *, e->ncols + 1);
    t->place = ARENA_ARRAY(a, int, e->ncols + 1);
    t->from = ARENA_ARRAY(a, int, e->ncols + 1);
    int metadata = t->table->physical->n;
    for (int i = 0; i < e->ncols; i++) {
        const catalog_column_t *c = &e->cols[i];
        if (c->kind == AST_COLUMN_COMPUTED || (c->kind == AST_COLUMN_METADATA && !c->persisted)) continue;
        t->names[t->n] = c->name;
        t->types[t->n] = c->type;
        t->place[t->n] = c->kind == AST_COLUMN_PHYSICAL ? c->index : metadata++;
        t->from[t->n++] = -1;
    }
}

static int target_find(const target_t *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->names[i], name) == 0) return i;
    return -1;
}

static err_t *unknown_target(const target_t *t, const char *name, ast_pos_t pos) {
    near_t near = {.wanted = name};
    for (int i = 0; i < t->n; i++) near_offer(&near, t->names[i]);
    for (int i = 0; i < t->entry->ncols; i++)
        if (strcmp(t->entry->cols[i].name, name) == 0)
            return err_pos(err_new(ERR_INVALID, "column '%s' of '%s' is %s: it is not written", name, t->entry->name,
                                   t->entry->cols[i].kind == AST_COLUMN_COMPUTED ? "computed" : "VIRTUAL metadata"),
                           pos);
    err_t *e = err_pos(err_new(ERR_NOT_FOUND, "table '%s' has no column '%s'", t->entry->name, name), pos);
    return near_word(&near) ? err_hint(e, "did you mean '%s'?", near_word(&near)) : e;
}

static void schema_list(buf_t *out, int n, const char *const *names, const type_t *const *types) {
    buf_puts(out, "[");
    for (int i = 0; i < n; i++) {
        buf_printf(out, "%s%s: ", i ? ", " : "", names[i]);
        type_print(out, types[i]);
    }
    buf_puts(out, "]");
}

/* Flink's message: the cause, then both schemas one under the other. */
static err_t *mismatch(const target_t *t, const schema_t *query, const char *cause, ast_pos_t pos) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    arena_t *a = t->b->arena;
    const char **names = ARENA_ARRAY(a, const char *, query->n + 1);
    const type_t **types = ARENA_ARRAY(a, const type_t *, query->n + 1);
    for (int i = 0; i < query->n; i++) names[i] = query->fields[i].name, types[i] = query->fields[i].type;
    buf_puts(&b, "Query schema: ");
    schema_list(&b, query->n, names, types);
    buf_puts(&b, "\nSink schema:  ");
    int n = 0;
    const char **sink_names = ARENA_ARRAY(a, const char *, t->n + 1);
    const type_t **sink_types = ARENA_ARRAY(a, const type_t *, t->n + 1);
    for (int i = 0; i < t->n; i++)
        if (!t->ast->columns.n || t->from[i] >= 0) sink_names[n] = t->names[i], sink_types[n++] = t->types[i];
    schema_list(&b, n, sink_names, sink_types);
    return err_pos(err_new(ERR_TYPE, "Column types of query result and sink for '%s' do not match.\nCause: %s\n\n%s",
                           t->entry->name, cause, buf_cstr(&b)),
                   pos);
}

/* PARTITION (dt = '2026-01-01'): constants that the query does not deliver. */
static err_t *static_partitions(target_t *t) {
    for (int i = 0; i < t->ast->partition.n; i++) {
        const ast_option_t *p = &t->ast->partition.item[i];
        int at = target_find(t, p->key);
        if (at < 0) return unknown_target(t, p->key, p->pos);
        t->from[at] = -2 - i;
    }
    return NULL;
}

static err_t *assign_columns(target_t *t, const schema_t *query, ast_pos_t pos) {
    const ast_idents_t *list = &t->ast->columns;
    TRY(static_partitions(t));
    int given = 0;
    for (int i = 0; i < list->n; i++) {
        int at = target_find(t, list->item[i].text);
        if (at < 0) return unknown_target(t, list->item[i].text, list->item[i].pos);
        if (t->from[at] != -1) return err_pos(err_new(ERR_INVALID, "column '%s' is given twice",
                                                      list->item[i].text), list->item[i].pos);
        t->from[at] = given++;
    }
    for (int i = 0; i < t->n && list->n == 0; i++)
        if (t->from[i] == -1) t->from[i] = given++;
    if (given != query->n) return mismatch(t, query, "Different number of columns.", pos);
    for (int i = 0; i < t->n; i++)
        if (t->from[i] == -1 && !t->types[i]->nullable)
            return err_pos(err_hint(err_new(ERR_INVALID,
                                            "column '%s' of '%s' is NOT NULL and the INSERT leaves it out", t->names[i], t->entry->name), "add it to the column list"), t->ast->name.pos);
    return NULL;
}

/* Metadata goes in the connector's type, whatever the column was declared as. */
static err_t *carried_type(const target_t *t, int i, expr_t **ret, ast_pos_t pos) {
    int metadata = t->place[i] - t->table->physical->n;
    if (metadata < 0) return NULL;
    const type_t *carried = t->table->metadata->fields[metadata].type;
    if (type_equal(carried, t->types[i])) return NULL;
    return err_pos(cast_bind(t->b->arena, *ret, type_nullable(t->b->arena, carried, (*ret)->type->nullable), CAST_EXPLICIT, ret), pos);
}

static err_t *sink_expr(target_t *t, const rel_t *query, int i, ast_pos_t pos, expr_t **ret) {
    arena_t *a = t->b->arena;
    const type_t *to = type_nullable(a, t->types[i], true);
    if (t->from[i] == -1) {
        *ret = expr_null(a, to);
        return carried_type(t, i, ret, pos);
    }
    if (t->from[i] < -1) {
        const ast_option_t *p = &t->ast->partition.item[-2 - t->from[i]];
        expr_t *text = expr_string(a, p->value, strlen(p->value));
        return err_pos(cast_bind(a, text, to, CAST_EXPLICIT, ret), p->value_pos);
    }
    const field_t *f = &query->schema->fields[t->from[i]];
    expr_t *c = expr_column(a, t->from[i], f->type);
    to = type_nullable(a, to, f->type->nullable || f->type->kind == TYPE_NULL);
    err_t *e = cast_bind(a, c, to, CAST_IMPLICIT, ret);
    if (!e) return carried_type(t, i, ret, pos);
    err_free(e);
    return mismatch(t, query->schema,
                    arena_printf(a, "Incompatible types for sink column '%s' at position %d.", t->names[i],
                                 t->from[i]), pos);
}

static err_t *check_sink(bind_t *b, catalog_entry_t *e, const table_t *t, const ast_options_t *overrides) {
    const sink_vtable_t *vt = sink_find(t->connector);
    if (!vt)
        return err_hint(catalog_option_error(err_new(ERR_INVALID,
                                                     "'connector' = '%s' cannot be written, it is a source only", t->connector), t, &e->ast->options),
                        "SELECT from it, or give the table another connector");
    if (strcmp(t->connector, "upsert-kafka") == 0 && t->nprimary == 0)
        return err_at(err_hint(err_new(ERR_INVALID, "table '%s': upsert-kafka needs a PRIMARY KEY", t->name),
                               "add PRIMARY KEY (..) NOT ENFORCED"), e->line, e->col);
    if (!vt->check) return NULL;
    return catalog_option_error(vt->check(t), t, overrides && overrides->n ? overrides : &e->ast->options);
}

err_t *bind_insert(bind_t *b, const ast_insert_t *i, ast_pos_t pos, rel_t **ret) {
    target_t t = {.b = b, .ast = i};
    if (i->overwrite) return refuse(pos, "INSERT OVERWRITE", "write to a new directory and use INSERT INTO");
    TRY(catalog_find(b->catalog, &i->name, &t.entry));
    if (t.entry->is_view) return err_pos(err_new(ERR_INVALID, "'%s' is a view: it cannot be written",
                                                 t.entry->name), i->name.pos);
    const ast_options_t *overrides = NULL;
    for (int h = 0; h < i->hints.n; h++) {
        if (strcmp(i->hints.item[h].name, "OPTIONS") != 0)
            return err_pos(err_hint(err_new(ERR_UNSUPPORTED, "hint %s is not supported", i->hints.item[h].name),
                                    "leave it out"), i->hints.item[h].pos);
        overrides = &i->hints.item[h].options;
    }
    t.table = catalog_sink_table(b->arena, t.entry, overrides);
    TRY(check_sink(b, t.entry, t.table, overrides));
    rel_t *query;
    TRY(bind_query(b, i->query, &query));
    target_columns(&t);
    TRY(assign_columns(&t, query->schema, i->query->pos));
    int width = t.table->physical->n + t.table->metadata->n;
    ASSERT(width == t.n);
    expr_t **exprs = ARENA_ARRAY(b->arena, expr_t *, width + 1);
    const char **names = ARENA_ARRAY(b->arena, const char *, width + 1);
    for (int c = 0; c < t.n; c++) {
        TRY(sink_expr(&t, query, c, i->query->pos, &exprs[t.place[c]]));
        names[t.place[c]] = t.names[c];
    }
    rel_t *p = rel_at(rel_project(b->rels, query, exprs, names, width), pos.line, pos.col);
    *ret = rel_at(rel_sink(b->rels, p, t.table, false), pos.line, pos.col);
    return NULL;
}

/* A SELECT on its own: its rows are shown. */
err_t *bind_print_sink(bind_t *b, const ast_query_t *q, ast_pos_t pos, rel_t **ret) {
    rel_t *query;
    TRY(bind_query(b, q, &query));
    table_t *t = ARENA_NEW(b->arena, table_t);
    t->name = "print";
    t->connector = "print";
    t->physical = query->schema;
    t->metadata = schema_new(b->arena, 0);
    t->primary = t->partition = ARENA_ARRAY(b->arena, int, 1);
    t->metadata_keys = ARENA_ARRAY(b->arena, const char *, 1);
    t->line = pos.line;
    *ret = rel_at(rel_sink(b->rels, query, t, true), pos.line, pos.col);
    return NULL;
}
