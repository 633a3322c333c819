/* logical.h: relations, the tree between the syntax and the physical plan.
 *
 * A rel_t is one relational operator with its inputs; expressions are expr_t over the columns of the (concatenated)
 * inputs. The graph is a DAG: a view, a CTE or a table that is read twice is one node with two parents. Nodes are
 * immutable once built: the optimiser makes new ones. Everything lives in the compile's arena.
 *
 * Kinds that come later (joins, OVER, top-n, MATCH_RECOGNIZE, correlate) are further rel_kind_t with their own member
 * of the union: binding, pruning, changelog inference and the physical translation each switch over the kind in one place.
 *
 * Window time. REL_WINDOW appends window_start, window_end and window_time to its input, one row per window a row lies
 * in. Every window, also one written as GROUP BY TUMBLE(..), is bound as REL_WINDOW under an aggregate whose window columns
 * are attached to the input; the optimiser fuses the two where nothing between them looks at a window column.
 * A SESSION window exists only fused: where it begins and ends depends on the other rows of its key. */
#pragma once
#include "common/buf.h"
#include "engine/plan.h"

typedef enum rel_kind {
    REL_SCAN,
    REL_VALUES,
    REL_FILTER,
    REL_PROJECT,
    REL_WATERMARK,
    REL_WINDOW,
    REL_AGGREGATE,
    REL_UNION, /* UNION ALL */
    REL_SINK,
    REL_KINDS
} rel_kind_t;

/* A column that carries time: event time under a watermark, or the wall clock. */
typedef enum time_attr { TIME_NONE, TIME_ROW, TIME_PROC } time_attr_t;
typedef enum window_role { ROLE_NONE, ROLE_START, ROLE_END, ROLE_TIME } window_role_t;

/* One window as written; its address is its identity: columns of two windows are never mixed. */
typedef struct rel_window {
    window_kind_t kind;
    bool proctime;
    int64_t size_ms, slide_ms, offset_ms, gap_ms;
    bool by_group;           /* SESSION of GROUP BY: sessions are per group, whatever the keys are */
    const type_t *time_type; /* of window_time, NOT NULL */
} rel_window_t;

/* What is known of an output column besides its type. */
typedef struct col_prop {
    time_attr_t time;
    window_role_t role;
    const rel_window_t *window; /* with role */
} col_prop_t;

typedef struct rel rel_t;
struct rel {
    rel_kind_t kind;
    int id; /* unique in a compile, ascending in order of creation: the order of text */
    int depth; /* nodes on the longest way down; bounded by the binder, so recursion is safe */
    int line, col;
    int ninputs;
    rel_t **inputs;
    schema_t *schema;
    col_prop_t *props;    /* schema->n */
    const char *identity; /* canonical text of the state it keeps (logical_identify); NULL: none */
    union {
        struct {
            const table_t *table;
            int nscan;
            const int *scan; /* as plan_op_t: physical columns, then metadata columns */
            bool upsert;   /* an upsert stream by primary key: updates come out */
            bool bounded;
        } scan;
        struct {
            int nrows;
            expr_t ***rows;
        } values;
        struct {
            const expr_t *predicate; /* BOOLEAN */
        } filter;
        struct {
            expr_t **exprs; /* schema->n */
        } project;
        struct {
            int rowtime;
            const expr_t *expr;
            int64_t idle_timeout_ms;
        } watermark;
        struct {
            const rel_window_t *window;
            int time_col; /* -1: processing time */
            int npartition;       /* SESSION as a table function: input columns by which sessions are kept apart */
            const int *partition;
        } window;
        struct {
            int nkeys;
            const int *keys; /* distinct input columns; window columns are not among them */
            int naggs;
            const agg_call_t *aggs;
            const rel_window_t *window; /* NULL: not windowed */
            int time_col;               /* fused window: its time column (-1 for processing time) */
            int start_col, end_col;     /* attached window: the input's window columns; -1 when fused */
            int nprops;
            const window_prop_t *props;
            const char *label;
        } agg;
        struct {
            const table_t *table;
            bool print; /* a bare SELECT */
            bool json;  /* its rows as JSON */
        } sink;
    };
};

#define REL_DEPTH_MAX 1000

typedef struct rel_ctx {
    arena_t *arena;
    int next_id;
} rel_ctx_t;

typedef struct logical {
    int nsinks;
    rel_t **sinks; /* in order of text */
} logical_t;

/* Constructors compute schema and props; arrays are taken over, not copied. */
rel_t *rel_scan(rel_ctx_t *c, const table_t *t, const int *scan, int nscan, bool upsert, bool bounded);
rel_t *rel_values(rel_ctx_t *c, expr_t ***rows, int nrows, schema_t *schema);
rel_t *rel_filter(rel_ctx_t *c, rel_t *input, const expr_t *predicate);
rel_t *rel_project(rel_ctx_t *c, rel_t *input, expr_t **exprs, const char *const *names, int n);
rel_t *rel_watermark(rel_ctx_t *c, rel_t *input, int rowtime, const expr_t *expr, int64_t idle_timeout_ms);
rel_t *rel_window(rel_ctx_t *c, rel_t *input, const rel_window_t *w, int time_col);
rel_t *rel_union(rel_ctx_t *c, rel_t **inputs, int n, schema_t *schema);
rel_t *rel_sink(rel_ctx_t *c, rel_t *input, const table_t *t, bool print);
/* spec: the agg member filled in; names: of the keys, from the input; of the calls, from agg_call_t.name */
rel_t *rel_aggregate(rel_ctx_t *c, rel_t *input, const rel_t *spec);
/* A copy with other inputs (same number and, position by position, the same schemas); keeps position and identity. */
rel_t *rel_with_inputs(rel_ctx_t *c, const rel_t *r, rel_t **inputs);
rel_t *rel_at(rel_t *r, int line, int col);

const char *rel_kind_name(rel_kind_t k);
/* Is expression e of a project exactly an input column? Its index, else -1. */
static inline int expr_as_column(const expr_t *e) { return e->kind == EXPR_COLUMN ? e->column : -1; }
/* Nodes of an expression, counted up to a bound: trees may share nodes, so a count may be exponential. */
size_t expr_size(const expr_t *e, size_t bound);
#define EXPR_SIZE_MAX 100000
/* AND of two predicates, either may be NULL. */
const expr_t *expr_and(arena_t *a, const expr_t *x, const expr_t *y);
/* The conjuncts of a predicate, at most max (the last takes the rest). */
int expr_conjuncts(const expr_t *e, const expr_t **ret, int max);

/* All nodes reachable from the sinks, inputs before consumers; returns the number. */
int logical_order(rel_ctx_t *c, const logical_t *l, rel_t ***ret);

/* Merges equal deterministic subtrees into one node (hazards A18), then gives every node that keeps state its canonical
 * identity text; twins get a counter in order of text. To be called on the bound, un-optimised graph. */
void logical_merge_equal(rel_ctx_t *c, logical_t *l);
void logical_identify(rel_ctx_t *c, logical_t *l);

void logical_print(buf_t *out, rel_ctx_t *c, const logical_t *l);
void rel_print_line(buf_t *out, const rel_t *r); /* one node, without its inputs */
void window_print(buf_t *out, const rel_window_t *w);
void duration_print(buf_t *out, int64_t ms); /* "5 s", "1 min", "1500 ms" */
