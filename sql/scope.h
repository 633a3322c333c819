/* scope.h: which column a name means.
 *
 * A scope is the columns of one relation, seen through ranges: each item of FROM is a range with an alias over some of
 * the columns. A join's scope has several ranges, a sub-query's parent is the scope around it. Names are looked up as
 * Calcite does: a.b is column b of range a if there is a range a, else field b of column a. */
#pragma once
#include "sql/ast.h"
#include "sql/logical.h"

typedef struct scope_range {
    const char *alias; /* NULL: none, its columns go by their names only */
    int first, n;      /* columns of the scope's relation */
} scope_range_t;

typedef struct scope {
    rel_t *rel; /* NULL: no FROM */
    int nranges;
    scope_range_t *ranges;
    struct scope *parent;
} scope_t;

scope_t *scope_of(arena_t *a, rel_t *rel, const char *alias);
/* The scope of a relation over two scopes' columns, left before right: joins. */
scope_t *scope_join(arena_t *a, rel_t *rel, const scope_t *left, const scope_t *right);
/* The column a path begins with and the number of parts it took; what is left are row fields. ERR_NOT_FOUND with a near
 * name, ERR_INVALID when several columns match. */
err_t *scope_find(const scope_t *s, const ast_name_t *name, int *ret_column, int *ret_parts);
/* The range t of t.*; ERR_NOT_FOUND. */
err_t *scope_range(const scope_t *s, const ast_name_t *name, const scope_range_t **ret);
