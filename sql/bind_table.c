/* bind_table.c: the relation that reads a declared table: the scan of physical and metadata columns, the declared columns in
 * their order (computed ones evaluated), the watermark. */
#include "engine/operator.h"
#include "sql/bind.h"

typedef struct reader_build {
    bind_t *b;
    const catalog_entry_t *e;
    rel_t *scan;
    expr_t **done; /* per declared column: its expression over the scan, NULL not yet */
} reader_build_t;

static int declared_index(const catalog_entry_t *e, const char *name) {
    for (int i = 0; i < e->ncols; i++)
        if (strcmp(e->cols[i].name, name) == 0) return i;
    return -1;
}

/* Computed columns see the other declared columns, as Flink: physical and metadata, not each other. */
static err_t *declared_columns(reader_build_t *u) {
    const catalog_entry_t *e = u->e;
    arena_t *a = u->b->arena;

    expr_ctx_t x = {.b = u->b, .scope = scope_of(a, u->scan, e->name), .clause = "a computed column"};
    for (int i = 0; i < e->ncols; i++) {
        catalog_column_t *c = &e->cols[i];
        if (c->kind == AST_COLUMN_COMPUTED) {
            TRY(bind_expr(&x, c->expr, &u->done[i]));
            if (u->done[i]->type->kind == TYPE_NULL)
                return err_pos(err_hint(err_new(ERR_TYPE, "computed column '%s' has no type", c->name),
                                        "write CAST(NULL AS type)"), c->pos);
            c->type = u->done[i]->type;
        } else {
            int at = c->kind == AST_COLUMN_PHYSICAL ? c->index : e->table->physical->n + c->index;
            u->done[i] = expr_column(a, at, c->type);
        }
    }
    return NULL;
}

static err_t *idle_timeout(const bind_t *b, const table_t *t, int64_t *ret) {
    *ret = 0;
    TRY(options_duration_ms(b->set, "table.exec.source.idle-timeout", 0, ret));
    TRY(options_duration_ms(b->set, "scan.watermark.idle-timeout", *ret, ret));
    return options_duration_ms(&t->options, "scan.watermark.idle-timeout", *ret, ret);
}

static err_t *add_watermark(bind_t *b, const catalog_entry_t *e, const table_t *t, rel_t *in, rel_t **ret) {
    const ast_watermark_t *w = &e->ast->watermark[0];
    if (w->column.n > 1)
        return refuse(w->column.pos, "a watermark on a field of a row",
                      "declare a computed column for it: ts AS row_column.field");
    int col = declared_index(e, w->column.part[0]), parts;
    scope_t *scope = scope_of(b->arena, in, e->name);
    if (col < 0) TRY(scope_find(scope, &w->column, &col, &parts));
    const type_t *type = in->schema->fields[col].type;
    if (!type_is_timestamp(type) || type->precision > 3)
        return err_pos(err_hint(err_new(ERR_TYPE,
                                        "a watermark needs a TIMESTAMP(3) or TIMESTAMP_LTZ(3) column, '%s' is %s",
                                        e->cols[col].name, type_text(b->arena, type)),
                                type_is_timestamp(type)
                                    ? "declare the column with precision 3, or a computed column: CAST(.. AS TIMESTAMP(3))"
                                                        : "declare a computed column, for example TO_TIMESTAMP_LTZ(ms, 3) or TO_TIMESTAMP(text)"),
                       w->column.pos);
    expr_ctx_t x = {.b = b, .scope = scope, .clause = "a watermark"};
    expr_t *expr;
    TRY(bind_expr(&x, w->expr, &expr));
    if (!type_is_timestamp(expr->type) || expr->type->kind != type->kind)
        return err_pos(err_new(ERR_TYPE, "the watermark of '%s' must be of its type %s, this is %s",
                               e->cols[col].name,
                               type_text(b->arena, type), type_text(b->arena, expr->type)),
                       w->expr->pos);
    int64_t idle;
    TRY(catalog_option_error(idle_timeout(b, t, &idle), t, &e->ast->options));
    *ret = rel_at(rel_watermark(b->rels, in, col, expr, idle), e->line, e->col);
    return NULL;
}

static err_t *check_source(const catalog_entry_t *e, const table_t *t, const ast_options_t *overrides) {
    const source_vtable_t *vt = source_find(t->connector);
    if (!vt)
        return err_hint(catalog_option_error(err_new(ERR_INVALID,
                                                     "'connector' = '%s' cannot be read, it is a sink only", t->connector), t,
                                             &e->ast->options),
                        "INSERT INTO it, or give the table another connector");
    if (!vt->check) return NULL;
    return catalog_option_error(vt->check(t), t, overrides && overrides->n ? overrides : &e->ast->options);
}

/* Metadata in the types declared, where those are not the connector's own. */
static err_t *cast_metadata(bind_t *b, const catalog_entry_t *e, const table_t *t, rel_t *scan, rel_t **ret) {
    int n = scan->schema->n;
    expr_t **exprs = ARENA_ARRAY(b->arena, expr_t *, n + 1);
    const char **names = ARENA_ARRAY(b->arena, const char *, n + 1);
    bool any = false;
    for (int i = 0; i < n; i++) {
        exprs[i] = expr_column(b->arena, i, scan->schema->fields[i].type);
        names[i] = scan->schema->fields[i].name;
    }
    for (int i = 0; i < e->ncols; i++) {
        const catalog_column_t *c = &e->cols[i];
        if (c->kind != AST_COLUMN_METADATA || type_equal(c->type, t->metadata->fields[c->index].type)) continue;
        int at = t->physical->n + c->index;
        err_t *err = cast_bind(b->arena, exprs[at], type_nullable(b->arena, c->type, true), CAST_EXPLICIT, &exprs[at]);
        if (err) {
            err_free(err);
            return err_pos(err_hint(err_new(ERR_TYPE, "metadata '%s' is %s, which cannot be cast to %s of column '%s'", t->metadata_keys[c->index],
                                            type_text(b->arena, t->metadata->fields[c->index].type), type_text(b->arena, c->type), c->name),
                                    "declare the column as %s", type_text(b->arena, t->metadata->fields[c->index].type)), c->pos);
        }
        any = true;
    }
    *ret = any ? rel_at(rel_project(b->rels, scan, exprs, names, n), e->line, e->col) : scan;
    return NULL;
}

err_t *bind_table(bind_t *b, catalog_entry_t *e, const ast_options_t *overrides, rel_t **ret) {
    bool plain = !overrides || overrides->n == 0;
    if (plain && e->rel) {
        *ret = e->rel;
        return NULL;
    }
    const table_t *t = catalog_with_options(b->arena, e->table, overrides);
    TRY(check_source(e, t, overrides));
    int n = t->physical->n + t->metadata->n, *scan = ARENA_ARRAY(b->arena, int, n + 1);
    for (int i = 0; i < n; i++) scan[i] = i;
    reader_build_t u = {.b = b, .e = e, .done = ARENA_ARRAY(b->arena, expr_t *, e->ncols + 1)};
    bool upsert = catalog_upsert_source(t);
    if (upsert && t->nprimary == 0)
        return err_at(err_hint(err_new(ERR_INVALID, "table '%s': upsert-kafka needs a PRIMARY KEY", t->name),
                               "add PRIMARY KEY (..) NOT ENFORCED"), e->line, e->col);
    u.scan = rel_at(rel_scan(b->rels, t, scan, n, upsert, catalog_bounded(t)), e->line, e->col);
    TRY(cast_metadata(b, e, t, u.scan, &u.scan));
    TRY(declared_columns(&u));
    const char **names = ARENA_ARRAY(b->arena, const char *, e->ncols + 1);
    for (int i = 0; i < e->ncols; i++) names[i] = e->cols[i].name;
    *ret = rel_at(rel_project(b->rels, u.scan, u.done, names, e->ncols), e->line, e->col);
    if (e->ast->nwatermark) TRY(add_watermark(b, e, t, *ret, ret));
    if (plain) e->rel = *ret;
    return NULL;
}
