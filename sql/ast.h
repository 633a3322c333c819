/* ast.h: the syntax tree of a script: what was written, with positions, nothing looked up.
 *
 * Every node lives in the arena given to sql_parse, is never freed alone, and is read-only after the parse. A list is
 * (count, array) and its array is NULL when the count is 0; a pointer said to be optional is NULL when the part was not
 * written. Texts are UTF-8 and never contain NUL, binary literals excepted. Names keep their case; keywords do not.
 *
 * No path through a tree is longer than AST_MAX_DEPTH nodes (sql_parse refuses deeper ones): recursion over it is safe. */
#pragma once
#include "common/arena.h"
#include "common/err.h"
#include "common/types.h"

#define AST_MAX_DEPTH 500

typedef struct ast_expr ast_expr_t;
typedef struct ast_query ast_query_t;
typedef struct ast_table ast_table_t;
typedef struct ast_window ast_window_t;
typedef struct ast_stmt ast_stmt_t;

/* Where a node begins; both from 1, columns count code points. */
typedef struct ast_pos {
    int line, col;
} ast_pos_t;

/* a | db.a | catalog.db.a | any column path; n >= 1 except in the STAR of a bare "*" (n = 0). */
typedef struct ast_name {
    ast_pos_t pos;
    int n;
    const char **part;
} ast_name_t;

typedef struct ast_ident {
    ast_pos_t pos;
    const char *text;
} ast_ident_t;

typedef struct ast_idents {
    int n;
    ast_ident_t *item;
} ast_idents_t;

/* A data type in the text, already resolved: nullability included, limits of precision checked. */
typedef struct ast_type {
    ast_pos_t pos;
    const type_t *type;
} ast_type_t;

typedef struct ast_exprs {
    int n;
    ast_expr_t **item;
} ast_exprs_t;

/* 'key' = 'value' of WITH, OPTIONS and SET. */
typedef struct ast_option {
    ast_pos_t pos;       /* of the key */
    ast_pos_t value_pos;
    const char *key, *value;
} ast_option_t;

typedef struct ast_options {
    int n;
    ast_option_t *item;
} ast_options_t;

/* One hint of a comment with a plus: OPTIONS('k'='v', ..) or NAME(a, b, ..). */
typedef struct ast_hint {
    ast_pos_t pos;
    const char *name;      /* upper case */
    ast_options_t options; /* key-value form */
    ast_idents_t args;     /* plain form */
} ast_hint_t;

typedef struct ast_hints {
    int n;
    ast_hint_t *item;
} ast_hints_t;

/* --- expressions ------------------------------------------------------------------------------------------------ */

typedef enum ast_expr_kind {
    /* literals */
    AST_NULL,      /* NULL */
    AST_BOOL,      /* TRUE FALSE UNKNOWN: `truth` 1, 0, -1 */
    AST_INTEGER,   /* text: digits, no sign ("-5" is OP NEG over it) */
    AST_DECIMAL,   /* text: digits with one point */
    AST_FLOAT,     /* text: with an exponent */
    AST_STRING,    /* text: the decoded value */
    AST_BINARY,    /* text, text_len: the decoded bytes */
    AST_DATE,      /* text: what was between the quotes, unchecked; so TIME, TIMESTAMP */
    AST_TIME,
    AST_TIMESTAMP,
    AST_TIMESTAMP_LTZ, /* TIMESTAMP WITH LOCAL TIME ZONE '..' */
    AST_INTERVAL,      /* interval */
    /* references */
    AST_COLUMN, /* name: a, t.a, t.row.field, ..: the binder tells columns, tables and fields apart */
    AST_STAR,   /* name: * (n = 0) or t.* ; only in select lists and as ROW(*) is refused */
    AST_SYMBOL, /* text, upper case: a keyword as an argument (DAY, BOTH, ..); for OP FIELD the field's name as written */
    AST_DEFAULT, /* DEFAULT as an argument or value */
    /* compounds */
    AST_OP,   /* text: operator name as engine/func.h lists them; args. See below */
    AST_CALL, /* call; args */
    AST_CASE, /* base optional (CASE x WHEN ..); args: when, then, when, then, ..; els optional */
    AST_CAST, /* base, type; is_try */
    /* queries */
    AST_SUBQUERY,   /* query: scalar */
    AST_EXISTS,     /* query */
    AST_IN_QUERY,   /* base (an OP ROW for several columns), query; NOT IN is OP NOT over it */
    AST_QUANTIFIED, /* base, text: = <> < <= > >= ; is_all: ALL, else ANY/SOME; query, or args when it was a list */
    AST_COLLECT,    /* text: ARRAY, MULTISET, MAP; query */
    /* only as arguments of calls */
    AST_NAMED_ARG,  /* text => base */
    AST_TABLE_ARG,  /* table: TABLE t [PARTITION BY ..] [ORDER BY ..], TABLE (query) or (query) of a table function */
    AST_DESCRIPTOR, /* args: COLUMNs */
} ast_expr_kind_t;
/* AST_OP: the names of engine/func.h, and beyond them:
 *   AND and OR have two or more args (chains are flattened, evaluation is from left to right)
 *   "IS JSON VALUE" "IS JSON OBJECT" "IS JSON ARRAY" "IS JSON SCALAR"(x)
 *   "OVERLAPS"(row, row)  "FINAL"(x) "RUNNING"(x) of MATCH_RECOGNIZE  "MULTISET"(a, ..)
 *   "MINUS_DATE"(SYMBOL unit, a, b): (a - b) DAY
 *   "AT TIME ZONE"(x, zone)  "BETWEEN SYMMETRIC"  "IN" over a list of expressions
 *   NOT x LIKE y, x NOT IN (..), x NOT BETWEEN, IS NOT JSON: OP NOT over the positive form
 *   ITEM is x[i]; FIELD(x, SYMBOL name) only where x is not a plain path: f(a).b, (e).b, a[1].b
 *   a unary plus is dropped.
 * Special syntax becomes a CALL with the arguments of engine/func.h: EXTRACT(SYMBOL, x); TRIM(SYMBOL, what, x), also for
 * TRIM(x), with STRING ' '; SUBSTRING(x, a[, b]); POSITION(a, b); OVERLAY(x, y, a[, b]); FLOOR(x[, SYMBOL]); CEIL;
 * TIMESTAMPADD(SYMBOL, n, x); TIMESTAMPDIFF(SYMBOL, a, b); CURRENT_TIMESTAMP and its kind without arguments. */

typedef enum ast_unit {
    AST_UNIT_NONE,
    AST_UNIT_YEAR,
    AST_UNIT_QUARTER,
    AST_UNIT_MONTH,
    AST_UNIT_WEEK,
    AST_UNIT_DAY,
    AST_UNIT_HOUR,
    AST_UNIT_MINUTE,
    AST_UNIT_SECOND,
} ast_unit_t;
const char *ast_unit_name(ast_unit_t u); /* "DAY"; "" for NONE */

typedef struct ast_interval {
    const char *text; /* between the quotes */
    ast_unit_t from, to; /* to NONE: one unit */
    int precision, fraction; /* (p) of each; -1 not written */
    bool is_month; /* YEAR, QUARTER, MONTH: value in months; else in milliseconds */
    int64_t value; /* sign included, checked */
} ast_interval_t;

typedef struct ast_order {
    ast_expr_t *expr;
    bool desc;
    int nulls; /* 0 not written, 1 FIRST, 2 LAST */
} ast_order_t;

typedef struct ast_orders {
    ast_pos_t pos; /* of ORDER */
    int n;
    ast_order_t *item;
} ast_orders_t;

/* JSON_VALUE, JSON_QUERY, JSON_EXISTS, JSON_OBJECT, JSON_ARRAY and their aggregates. */
typedef enum ast_json_on {
    AST_JSON_UNSET,
    AST_JSON_ERROR,
    AST_JSON_NULL,
    AST_JSON_DEFAULT, /* with an expression */
    AST_JSON_EMPTY_ARRAY,
    AST_JSON_EMPTY_OBJECT,
    AST_JSON_TRUE,
    AST_JSON_FALSE,
    AST_JSON_UNKNOWN,
} ast_json_on_t;

typedef enum ast_json_wrapper {
    AST_JSON_WRAP_UNSET,
    AST_JSON_WITHOUT,
    AST_JSON_CONDITIONAL,
    AST_JSON_UNCONDITIONAL,
} ast_json_wrapper_t;

typedef struct ast_json {
    ast_type_t *returning; /* optional */
    ast_json_wrapper_t wrapper;
    ast_json_on_t on_empty, on_error;
    ast_expr_t *empty_default, *error_default;
    int on_null; /* JSON_OBJECT, JSON_ARRAY: 0 not written, 1 NULL ON NULL, 2 ABSENT ON NULL */
} ast_json_t;

/* JSON_OBJECT(KEY 'a' VALUE x, 'b' : y): args are key, value, key, value, .. */
typedef struct ast_call {
    ast_name_t name;      /* as written; last part is the function */
    bool star;            /* COUNT(*): no args */
    bool distinct;        /* f(DISTINCT ..) */
    int nulls;            /* 0 not written, 1 RESPECT NULLS, 2 IGNORE NULLS */
    bool bare;            /* written without parentheses: CURRENT_DATE */
    ast_orders_t within;  /* WITHIN GROUP (ORDER BY ..) */
    ast_expr_t *filter;   /* FILTER (WHERE ..), optional */
    ast_window_t *over;   /* OVER (..) or OVER w, optional */
    ast_json_t *json;     /* for the JSON functions, optional */
} ast_call_t;

struct ast_expr {
    ast_expr_kind_t kind;
    int depth; /* of the tree below, this node included */
    ast_pos_t pos;
    const char *text;
    size_t text_len;
    int truth;
    bool is_try, is_all;
    ast_exprs_t args;
    ast_expr_t *base, *els;
    ast_name_t name;
    union {
        ast_interval_t *interval;
        ast_call_t *call;
        ast_type_t *type;
        ast_query_t *query;
        ast_table_t *table;
    };
};

/* --- windows ---------------------------------------------------------------------------------------------------- */

typedef enum ast_bound {
    AST_UNBOUNDED_PRECEDING,
    AST_PRECEDING, /* with an expression */
    AST_CURRENT_ROW,
    AST_FOLLOWING, /* with an expression */
    AST_UNBOUNDED_FOLLOWING,
} ast_bound_t;

typedef enum ast_frame { AST_FRAME_NONE, AST_FRAME_ROWS, AST_FRAME_RANGE } ast_frame_t;

/* OVER (..), OVER w, WINDOW w AS (..) */
struct ast_window {
    ast_pos_t pos;
    const char *name; /* WINDOW clause: its own name; OVER w and OVER (w ..): the name referred to; else NULL */
    const char *base; /* WINDOW w AS (base ..), optional */
    bool only_name;   /* OVER w */
    ast_exprs_t partition;
    ast_orders_t order;
    ast_frame_t frame;
    ast_bound_t from, to; /* to is CURRENT_ROW when BETWEEN was not written */
    ast_expr_t *from_expr, *to_expr;
    bool has_between;
};

/* --- tables in FROM --------------------------------------------------------------------------------------------- */

typedef enum ast_join {
    AST_JOIN_COMMA,
    AST_JOIN_CROSS,
    AST_JOIN_INNER,
    AST_JOIN_LEFT,
    AST_JOIN_RIGHT,
    AST_JOIN_FULL,
} ast_join_t;

typedef enum ast_pattern_kind {
    AST_PATTERN_VAR,     /* var */
    AST_PATTERN_CONCAT,  /* child.. in order */
    AST_PATTERN_ALT,     /* a | b */
    AST_PATTERN_QUANT,   /* child[0]{min, max} */
    AST_PATTERN_PERMUTE, /* PERMUTE(a, b) */
    AST_PATTERN_EXCLUDE, /* {- a -} */
    AST_PATTERN_EMPTY,   /* () */
} ast_pattern_kind_t;

typedef struct ast_pattern ast_pattern_t;
struct ast_pattern {
    ast_pattern_kind_t kind;
    int depth;
    ast_pos_t pos;
    const char *var;
    int n;
    ast_pattern_t **child;
    int min, max; /* QUANT: max -1 is no limit */
    bool reluctant;
};

/* expr AS name; of DEFINE: name AS expr */
typedef struct ast_named_expr {
    ast_pos_t pos; /* of the item's first word */
    ast_expr_t *expr;
    const char *alias; /* optional in a select list */
    ast_pos_t alias_pos;
} ast_named_expr_t;

typedef struct ast_named_exprs {
    int n;
    ast_named_expr_t *item;
} ast_named_exprs_t;

typedef enum ast_skip {
    AST_SKIP_UNSET,
    AST_SKIP_PAST_LAST_ROW,
    AST_SKIP_NEXT_ROW,
    AST_SKIP_TO_FIRST, /* skip_var */
    AST_SKIP_TO_LAST,  /* skip_var; also SKIP TO v */
} ast_skip_t;

/* SUBSET u = (a, b) */
typedef struct ast_subset {
    ast_ident_t name;
    ast_idents_t vars;
} ast_subset_t;

typedef struct ast_match {
    ast_pos_t pos;
    ast_exprs_t partition;
    ast_orders_t order;
    ast_named_exprs_t measures;
    int rows; /* 0 not written, 1 ONE ROW PER MATCH, 2 ALL ROWS PER MATCH */
    ast_skip_t skip;
    ast_ident_t skip_var;
    ast_pattern_t *pattern;
    bool anchor_start, anchor_end; /* ^ $ */
    ast_expr_t *within;            /* an INTERVAL literal, optional */
    int nsubset;
    ast_subset_t *subset;
    ast_named_exprs_t define;
} ast_match_t;

typedef enum ast_table_kind {
    AST_TABLE_NAME,   /* name */
    AST_TABLE_QUERY,  /* query: sub-query or VALUES in parentheses */
    AST_TABLE_CALL,   /* call (an AST_CALL): TABLE(f(..)) or f(..); window TVFs and table functions */
    AST_TABLE_UNNEST, /* args; ordinality */
    AST_TABLE_JOIN,   /* left, right, join, natural, on | using */
    AST_TABLE_MATCH,  /* left: the input; match */
} ast_table_kind_t;

struct ast_table {
    ast_table_kind_t kind;
    int depth;
    ast_pos_t pos;
    ast_name_t name;
    ast_hints_t hints;        /* NAME: OPTIONS of the table */
    ast_expr_t *system_time;  /* FOR SYSTEM_TIME AS OF .., optional */
    ast_query_t *query;
    ast_expr_t *call;
    bool lateral;
    bool wrapped;             /* CALL: written inside TABLE( ) */
    ast_exprs_t args;
    bool ordinality;
    ast_join_t join;
    bool natural;
    ast_table_t *left, *right;
    ast_pos_t join_pos;       /* of JOIN or the comma */
    ast_expr_t *on;           /* optional */
    ast_idents_t using_cols;
    ast_match_t *match;
    ast_ident_t alias;        /* text NULL when none */
    ast_idents_t columns;     /* AS t (c, ..) */
    ast_exprs_t partition;    /* only under AST_TABLE_ARG */
    ast_orders_t order;       /* only under AST_TABLE_ARG */
};

/* --- queries ---------------------------------------------------------------------------------------------------- */

typedef enum ast_group_kind {
    AST_GROUP_EXPR,  /* exprs.n == 1, or several for (a, b), or 0 for () */
    AST_GROUP_SETS,  /* GROUPING SETS (element, ..) */
    AST_GROUP_ROLLUP,
    AST_GROUP_CUBE,
} ast_group_kind_t;

/* TUMBLE(ts, INTERVAL ..), HOP and SESSION in GROUP BY are plain CALLs. */
typedef struct ast_group ast_group_t;
struct ast_group {
    ast_group_kind_t kind;
    ast_pos_t pos;
    int depth;
    ast_exprs_t exprs;
    int n;
    ast_group_t **element;
};

typedef struct ast_select {
    bool distinct;
    ast_hints_t hints;
    ast_named_exprs_t items;
    ast_table_t *from; /* optional; several tables are JOIN_COMMA nodes */
    ast_expr_t *where; /* optional */
    bool has_group, group_distinct;
    int ngroup;
    ast_group_t **group;
    ast_expr_t *having;
    int nwindow;
    ast_window_t **window;
    ast_expr_t *qualify;
} ast_select_t;

typedef enum ast_query_kind {
    AST_QUERY_SELECT, /* select */
    AST_QUERY_VALUES, /* rows: each an OP ROW */
    AST_QUERY_TABLE,  /* TABLE t: name */
    AST_QUERY_UNION,  /* left, right, all; so INTERSECT, EXCEPT */
    AST_QUERY_INTERSECT,
    AST_QUERY_EXCEPT,
    AST_QUERY_NESTED, /* left: (query) with clauses of its own around it */
} ast_query_kind_t;

typedef struct ast_cte {
    ast_ident_t name;
    ast_idents_t columns;
    ast_query_t *query;
} ast_cte_t;

struct ast_query {
    ast_query_kind_t kind;
    int depth;
    ast_pos_t pos;
    int ncte;
    ast_cte_t *cte;
    bool recursive;
    ast_select_t *select;
    ast_exprs_t rows;
    ast_name_t name;
    ast_query_t *left, *right;
    ast_pos_t set_pos; /* of UNION, EXCEPT, INTERSECT */
    bool all;
    ast_orders_t order;
    ast_expr_t *limit;  /* also FETCH FIRST n; NULL: none, LIMIT ALL included */
    ast_expr_t *offset;
};

/* --- statements ------------------------------------------------------------------------------------------------- */

typedef enum ast_column_kind {
    AST_COLUMN_PHYSICAL, /* type */
    AST_COLUMN_COMPUTED, /* expr */
    AST_COLUMN_METADATA, /* type, metadata_key, is_virtual */
} ast_column_kind_t;

typedef struct ast_column {
    ast_column_kind_t kind;
    ast_ident_t name;
    ast_type_t *type;
    ast_expr_t *expr;
    const char *metadata_key; /* optional: FROM 'key' */
    bool is_virtual;
    bool primary_key;         /* PRIMARY KEY at the column; repeated in ast_create_table.primary_key */
    bool unique;
    const char *comment;      /* optional */
} ast_column_t;

typedef struct ast_watermark {
    ast_name_t column; /* several parts: a field of a row */
    ast_expr_t *expr;
} ast_watermark_t;

typedef struct ast_like_option {
    bool including, overwriting; /* neither: EXCLUDING */
    const char *what;            /* ALL CONSTRAINTS GENERATED METADATA OPTIONS PARTITIONS WATERMARKS DISTRIBUTION */
} ast_like_option_t;

typedef struct ast_create_table {
    ast_name_t name;
    bool temporary, if_not_exists;
    int ncol;
    ast_column_t *col; /* in the order written */
    int nwatermark;
    ast_watermark_t *watermark; /* more than one is for the binder to refuse */
    ast_pos_t primary_key_pos;  /* line 0: no primary key */
    const char *primary_key_name;
    ast_idents_t primary_key;
    bool not_enforced;          /* every key constraint says NOT ENFORCED */
    const char *comment;
    ast_idents_t partitioned;
    ast_options_t options;
    ast_name_t like;            /* n = 0: none */
    int nlike_option;
    ast_like_option_t *like_option;
    ast_query_t *query;         /* CREATE TABLE .. AS query, optional */
} ast_create_table_t;

typedef struct ast_create_view {
    ast_name_t name;
    bool temporary, if_not_exists, or_replace;
    ast_idents_t columns;
    const char *comment;
    ast_query_t *query;
} ast_create_view_t;

typedef struct ast_drop {
    ast_name_t name;
    bool temporary, if_exists;
} ast_drop_t;

typedef struct ast_insert {
    ast_name_t name;
    ast_hints_t hints;
    bool overwrite;
    ast_options_t partition; /* PARTITION (a = 1): static partitions, values as text */
    ast_idents_t columns;
    ast_query_t *query;
} ast_insert_t;

typedef enum ast_stmt_kind {
    AST_CREATE_TABLE,  /* create_table */
    AST_CREATE_VIEW,   /* create_view */
    AST_DROP_TABLE,    /* drop */
    AST_DROP_VIEW,     /* drop */
    AST_INSERT,        /* insert */
    AST_STATEMENT_SET, /* list: AST_INSERTs, at least one; both spellings */
    AST_SELECT,        /* query */
    AST_SET,           /* option; key NULL: SET alone, list everything */
    AST_RESET,         /* option.key; NULL: all */
    AST_EXPLAIN,       /* inner: SELECT, INSERT or STATEMENT_SET; details */
    AST_OTHER,         /* what: a statement of Flink that has no meaning here, e.g. "CREATE CATALOG"; to be refused */
} ast_stmt_kind_t;

struct ast_stmt {
    ast_stmt_kind_t kind;
    ast_pos_t pos;
    size_t begin, end; /* bytes of the script's text, without the semicolon */
    union {
        ast_create_table_t *create_table;
        ast_create_view_t *create_view;
        ast_drop_t *drop;
        ast_insert_t *insert;
        ast_query_t *query;
        ast_option_t option;
        struct {
            int n;
            ast_stmt_t **item;
        } list;
        struct {
            ast_stmt_t *inner;
            ast_idents_t details; /* EXPLAIN ESTIMATED_COST, CHANGELOG_MODE ..: upper case */
        } explain;
        const char *what;
    };
};

typedef struct sql_script {
    int n;
    ast_stmt_t **stmt;
    const char *text; /* copy of the source */
    size_t len;
} sql_script_t;

/* --- printing (ast_print.c) -------------------------------------------------------------------------------------
 * Canonical text on one line: keywords in upper case, names quoted when they are not plain or spell a keyword, no redundant parentheses.
 * Parsing it gives the same tree, positions apart: print(parse(print(x))) equals print(x). */
void ast_print_expr(buf_t *out, const ast_expr_t *e);
void ast_print_query(buf_t *out, const ast_query_t *q);
void ast_print_table(buf_t *out, const ast_table_t *t);
void ast_print_stmt(buf_t *out, const ast_stmt_t *s);
void ast_print_script(buf_t *out, const sql_script_t *s); /* each statement ends with ";\n" */
void ast_print_name(buf_t *out, const ast_name_t *n);
void ast_print_ident(buf_t *out, const char *text);
void ast_print_type(buf_t *out, const type_t *t);
const char *ast_expr_text(arena_t *a, const ast_expr_t *e);
const char *ast_query_text(arena_t *a, const ast_query_t *q);
