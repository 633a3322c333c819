/* catalog.h: the tables and views a script has declared, by name.
 *
 * Names are case-sensitive as in Flink. There is one catalog and one database, called as in Flink, so that
 * default_catalog.default_database.t is t. Entries live in the compile's arena; a dropped name may be declared anew.
 * The catalog keeps syntax and resolved columns; relations are made by the binder and cached here. */
#pragma once
#include "sql/ast.h"
#include "sql/logical.h"

typedef struct catalog catalog_t;

typedef struct catalog_column {
    ast_column_kind_t kind;
    const char *name;
    const type_t *type;    /* NULL for computed ones until the table is first read */
    int index;             /* PHYSICAL: in table->physical; METADATA: in table->metadata */
    bool persisted;        /* METADATA without VIRTUAL: written by sinks too */
    const ast_expr_t *expr;/* COMPUTED */
    ast_pos_t pos;
} catalog_column_t;

typedef struct catalog_entry {
    const char *name;
    bool is_view;
    bool temporary;
    int line, col;
    /* tables */
    const ast_create_table_t *ast; /* LIKE already merged in */
    table_t *table;                /* as a source: all metadata columns */
    int ncols;
    catalog_column_t *cols; /* in the order written */
    /* the relation that reads it: views at once, tables when first read; NULL before */
    rel_t *rel;
    bool checked_sink;
} catalog_entry_t;

catalog_t *catalog_new(arena_t *a);
void catalog_free(catalog_t *c); /* the index; entries lie in the arena */
/* ERR_NOT_FOUND with a near name; the position is the name's. */
err_t *catalog_find(const catalog_t *c, const ast_name_t *name, catalog_entry_t **ret);
/* ERR_EXISTS when a table or view of that name is there. */
err_t *catalog_add(catalog_t *c, catalog_entry_t *e);
err_t *catalog_drop(catalog_t *c, const ast_drop_t *d, bool view);
void catalog_replace_view(catalog_t *c, catalog_entry_t *e);
bool catalog_has(const catalog_t *c, const ast_name_t *name);
/* The last part, after checking that the others name our catalog and database. */
err_t *catalog_name(const ast_name_t *name, const char **ret);

/* CREATE TABLE to an entry: columns, key, options; the connector must exist. */
err_t *catalog_table(catalog_t *c, arena_t *a, const ast_create_table_t *ct, catalog_entry_t **ret);
/* The table as a sink takes it: physical columns and persisted metadata. */
table_t *catalog_sink_table(arena_t *a, const catalog_entry_t *e, const ast_options_t *overrides);
table_t *catalog_with_options(arena_t *a, const table_t *t, const ast_options_t *overrides);
/* Does reading this table end by itself? */
bool catalog_bounded(const table_t *t);
bool catalog_upsert_source(const table_t *t);
/* Gives an error about an option the position where that option is written. */
err_t *catalog_option_error(err_t *e, const table_t *t, const ast_options_t *options) NODISCARD;
