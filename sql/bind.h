/* bind.h: from syntax to relations: names looked up, types computed, windows and aggregates recognised. Internal to
 * sql/bind*.c; sql/sql.c drives it.
 *
 * What the grammar knows and the engine does not is refused here, at its line and column, by ERR_UNSUPPORTED with a way out.
 * Everything made lives in b->arena. Single-threaded. */
#pragma once
#include "engine/func.h"
#include "sql/catalog.h"
#include "sql/scope.h"

typedef struct bind_cte bind_cte_t;
struct bind_cte {
    const char *name;
    rel_t *rel;
    bind_cte_t *next; /* the one declared before, outer ones last */
};

typedef struct bind {
    arena_t *arena;
    rel_ctx_t *rels;
    catalog_t *catalog;
    bind_cte_t *ctes;
    const options_t *set; /* as of the statement */
} bind_t;

static inline err_t *err_pos(err_t *e, ast_pos_t p) { return err_at(e, p.line, p.col); }

/* ---- grouping: what a SELECT with aggregates collects while its expressions are bound */
typedef struct agg_ref {
    const agg_fn_t *fn;
    const type_t *type;
    bool distinct;
    int nargs;
    expr_t *args[4];
    expr_t *filter; /* NULL: none */
} agg_ref_t;

typedef struct grouping_ref { /* GROUPING(a, b) */
    int n;
    expr_t **args;
    ast_pos_t pos;
} grouping_ref_t;

typedef struct group {
    int nkeys;
    expr_t **keys; /* over the input, distinct */
    int nsets;     /* grouping sets; 0: none written, all keys */
    bool **in_set; /* [set][key] */
    int naggs, aggs_cap;
    agg_ref_t *aggs;
    int ngrouping, grouping_cap;
    grouping_ref_t *grouping;
    const rel_window_t *window; /* of GROUP BY TUMBLE(..) */
    const ast_expr_t *window_call;
    int window_time_col; /* input column; -1 processing time */
} group_t;

/* While a SELECT with groups is bound, these column numbers stand for what only exists after the aggregation. */
#define COLUMN_AGG (1 << 20)
#define COLUMN_PROP (2 << 20)     /* + window_prop_t */
#define COLUMN_GROUPING (3 << 20)
#define COLUMN_PLACEHOLDER COLUMN_AGG

typedef struct expr_ctx {
    bind_t *b;
    const scope_t *scope;
    const char *clause; /* "WHERE": where we are, for messages */
    group_t *group;     /* NULL: aggregates are refused */
    bool in_agg;        /* inside an aggregate's arguments */
} expr_ctx_t;

/* bind_expr.c */
err_t *bind_expr(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret);
err_t *bind_predicate(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret); /* BOOLEAN, else ERR_TYPE */
err_t *bind_function(expr_ctx_t *x, const char *name, ast_pos_t pos, expr_t **args, int n, expr_t **ret);
expr_t *bind_symbol(bind_t *b, const char *name);
/* bind_call.c */
err_t *bind_call(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret);
/* bind_json.c: JSON_VALUE and the like, whose clauses become arguments */
err_t *bind_json_call(expr_ctx_t *x, const ast_expr_t *e, const char *name, expr_t **ret);
/* bind_group.c */
bool group_window_kind(const ast_expr_t *e, window_kind_t *ret); /* TUMBLE(..) and the like */
err_t *bind_group_by(expr_ctx_t *x, const ast_select_t *s, group_t *g);
/* After everything is bound: builds the aggregate over `input` and rewrites the n expressions to columns of the result. */
err_t *bind_aggregate(bind_t *b, group_t *g, rel_t *input, expr_t **exprs, int n, ast_pos_t pos, rel_t **ret);
err_t *bind_distinct(bind_t *b, rel_t *input, rel_t **ret);
err_t *bind_group_prop(expr_ctx_t *x, const ast_expr_t *e, bool *ret_is, expr_t **ret); /* TUMBLE_START(..) */
/* bind_window.c */
err_t *bind_interval_ms(bind_t *b, const ast_expr_t *e, const char *what, bool may_be_zero, int64_t *ret);
err_t *bind_window_tvf(bind_t *b, const ast_table_t *t, scope_t **ret);
bool is_window_tvf(const ast_expr_t *call);
err_t *bind_window_check(const rel_window_t *w, ast_pos_t pos);
err_t *bind_window_time(const rel_t *input, int col, const char *what, ast_pos_t pos, arena_t *a, rel_window_t *w);
/* bind_from.c */
err_t *bind_from(bind_t *b, const ast_table_t *t, scope_t **ret);
/* A table or view by name: its relation. hints: OPTIONS of the reference, may be empty. */
err_t *bind_table_ref(bind_t *b, const ast_name_t *name, const ast_hints_t *hints, rel_t **ret);
/* bind_table.c: the relation that reads a declared table: scan, computed columns, watermark. Sets the types of columns */
err_t *bind_table(bind_t *b, catalog_entry_t *e, const ast_options_t *overrides, rel_t **ret);
/* bind_query.c */
err_t *bind_query(bind_t *b, const ast_query_t *q, rel_t **ret);
rel_t *bind_renamed(bind_t *b, rel_t *r, const char *const *names, int n); /* columns by other names */
err_t *bind_aliased(bind_t *b, const char *what, ast_pos_t pos, rel_t *r, const ast_idents_t *columns, rel_t **ret);
/* bind_insert.c */
err_t *bind_insert(bind_t *b, const ast_insert_t *i, ast_pos_t pos, rel_t **ret);
err_t *bind_print_sink(bind_t *b, const ast_query_t *q, ast_pos_t pos, rel_t **ret);
/* bind_refuse.c: the way out for what is not there (yet) */
err_t *refuse(ast_pos_t pos, const char *what, const char *why_or_way_out) NODISCARD;
