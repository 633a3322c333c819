/* parse_int.h: what lexer.l, tokens.c, grammar.y, build.c and parse.c share; nobody else includes it.
 *
 * A text is parsed in three steps: lexer.l cuts it into tokens; tokens.c decides which words are keywords here (most of
 * SQL's words are names unless their neighbours say otherwise, so the grammar needs no list of permitted names and no
 * tricks); grammar.y builds the tree with build.c. The first error stops the parse and stays in `err`. */
#pragma once
#include "sql/parse.h"

/* One token. Its text is decoded: quotes gone, escapes resolved. */
typedef struct sql_token {
    int kind;  /* token code of the grammar, after classification */
    int word;  /* token code of the keyword this bare word spells; 0: none */
    bool reserved;
    ast_pos_t pos;
    uint32_t begin, end; /* bytes of the source */
    const char *text;
    uint32_t text_len;
    const char *bad; /* kind BAD: what is wrong with it */
    const char *hint;
} sql_token_t;

typedef struct sql_parser {
    arena_t *a;
    const char *text;
    size_t len;
    int n;            /* tokens, the last one is the end of the text */
    sql_token_t *tok;
    int at;           /* next token of the parser */
    err_t *err;
    sql_script_t *script;
} sql_parser_t;

typedef struct sql_loc {
    int line, col;
    uint32_t begin, end;
} sql_loc_t;

/* lexer.l: fills p->tok. Lexical faults become BAD tokens: only a parser that reaches one reports it. */
void sql_lex(sql_parser_t *p);
/* tokens.c */
int sql_keyword(const char *text, size_t len, bool *reserved);
void sql_classify(sql_parser_t *p);
bool sql_is_keyword(const char *text);
bool sql_quote_function(const char *text);
/* parse.c: builds the error of an unexpected token; `expected` are names of the grammar's tokens. */
void sql_unexpected(sql_parser_t *p, const sql_token_t *t, const char *const *expected, int n);

/* --- build.c: nodes. Functions that may fail return NULL or false with p->err set. ------------------------------- */
#define POS(l) ((ast_pos_t){(l).line, (l).col})

void sql_fail(sql_parser_t *p, ast_pos_t pos, err_t *e); /* keeps the first */
/* Grows the array of a list by one; `item` may move. Returns the new slot, cleared. */
void *sql_list_add(arena_t *a, int *n, void *items, size_t size);
#define LIST_ADD(p, list, value)                                                                                     \
    (*(__typeof__((list).item))sql_list_add((p)->a, &(list).n, &(list).item, sizeof *(list).item) = (value))

ast_expr_t *sql_expr(sql_parser_t *p, ast_expr_kind_t kind, ast_pos_t pos);
ast_expr_t *sql_text(sql_parser_t *p, ast_expr_kind_t kind, ast_pos_t pos, const sql_token_t *t);
ast_expr_t *sql_symbol(sql_parser_t *p, ast_pos_t pos, const char *text);
ast_expr_t *sql_op(sql_parser_t *p, ast_pos_t pos, const char *name, ast_exprs_t args);
ast_expr_t *sql_op1(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x);
ast_expr_t *sql_op2(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x, ast_expr_t *y);
ast_expr_t *sql_op3(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x, ast_expr_t *y, ast_expr_t *z);
ast_expr_t *sql_logic(sql_parser_t *p, const char *name, ast_expr_t *x, ast_expr_t *y); /* flattens AND, OR */
ast_expr_t *sql_not_if(sql_parser_t *p, bool negate, ast_expr_t *x);
/* Sets the depth from the children; false (and an error) when the tree became too deep. */
ast_expr_t *sql_expr_done(sql_parser_t *p, ast_expr_t *e);
ast_expr_t *sql_call(sql_parser_t *p, ast_pos_t pos, ast_name_t name, ast_exprs_t args);
ast_expr_t *sql_call_word(sql_parser_t *p, ast_pos_t pos, const char *name, ast_exprs_t args);
ast_expr_t *sql_interval(sql_parser_t *p, ast_pos_t pos, const sql_token_t *t, bool negative, const ast_interval_t *q);
ast_expr_t *sql_query_expr(sql_parser_t *p, ast_expr_kind_t kind, ast_pos_t pos, ast_query_t *q);
ast_unit_t sql_unit(const char *text); /* NONE when it is no unit of an interval */
bool sql_unit_range(sql_parser_t *p, ast_interval_t *ret, const sql_token_t *from, int from_p, const sql_token_t *to, int to_p,
                    int fraction);
bool sql_int(sql_parser_t *p, const sql_token_t *t, int max, int *ret);
const char *sql_compare_name(int token);
ast_expr_t *sql_row(sql_parser_t *p, ast_expr_t *x); /* x, or ROW(x) when it is no row */
ast_expr_t *sql_row_of(sql_parser_t *p, ast_pos_t pos, ast_expr_t *first, ast_exprs_t rest);
ast_expr_t *sql_map(sql_parser_t *p, ast_pos_t pos, ast_exprs_t args);
ast_expr_t *sql_difference(sql_parser_t *p, ast_expr_t *minus, ast_unit_t unit); /* (a - b) DAY */
ast_expr_t *sql_in(sql_parser_t *p, ast_expr_t *x, ast_exprs_t list);
ast_expr_t *sql_in_query(sql_parser_t *p, ast_expr_t *x, ast_query_t *q);
bool sql_call_tail(sql_parser_t *p, ast_expr_t *e, int nulls, ast_orders_t within, ast_expr_t *filter, ast_window_t *over);
ast_expr_t *sql_trim(sql_parser_t *p, ast_pos_t pos, int where, ast_expr_t *what, ast_expr_t *x);
ast_expr_t *sql_json_call(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x, ast_expr_t *path, ast_json_t *j);
ast_expr_t *sql_json_make(sql_parser_t *p, ast_pos_t pos, const char *name, ast_exprs_t args, int on_null);
ast_expr_t *sql_table_expr(sql_parser_t *p, ast_pos_t pos, ast_table_t *t);
bool sql_table_partition(sql_parser_t *p, ast_table_t *t, ast_expr_t *e);
bool sql_table_order(sql_parser_t *p, ast_table_t *t, ast_expr_t *e, int desc, int nulls);
ast_window_t *sql_window_frame(sql_parser_t *p, ast_exprs_t partition, ast_orders_t order, int unit, ast_bound_t from,
                               ast_expr_t *from_expr);

typedef struct sql_type {
    ast_type_t *node;
    int depth; /* of the nested types */
} sql_type_t;
typedef struct sql_fields {
    int n;
    struct sql_field {
        ast_ident_t name;
        sql_type_t type;
    } * item;
} sql_fields_t;
bool sql_type_basic(sql_parser_t *p, ast_pos_t pos, const char *word, int nparam, const int *param, sql_type_t *ret);
bool sql_type_time(sql_parser_t *p, ast_pos_t pos, bool timestamp, int precision, int zone, sql_type_t *ret);
bool sql_type_interval(sql_parser_t *p, ast_pos_t pos, const ast_interval_t *q, sql_type_t *ret);
bool sql_type_of(sql_parser_t *p, ast_pos_t pos, type_kind_t kind, sql_type_t x, sql_type_t y, sql_type_t *ret);
bool sql_type_row(sql_parser_t *p, ast_pos_t pos, sql_fields_t fields, sql_type_t *ret);
bool sql_type_unknown(sql_parser_t *p, const sql_token_t *t);
sql_type_t sql_type_null(sql_parser_t *p, sql_type_t t, bool nullable);

ast_query_t *sql_query(sql_parser_t *p, ast_query_kind_t kind, ast_pos_t pos);
ast_query_t *sql_query_done(sql_parser_t *p, ast_query_t *q);
ast_query_t *sql_query_set(sql_parser_t *p, ast_pos_t pos, ast_query_kind_t kind, bool all, ast_query_t *l, ast_query_t *r);
/* Hangs ORDER BY and LIMIT, or WITH, on q itself, or on a NESTED one around it when it has clauses of its own. */
ast_query_t *sql_query_tail(sql_parser_t *p, ast_query_t *q, ast_orders_t order, ast_expr_t *limit, ast_expr_t *offset);
ast_query_t *sql_query_with(sql_parser_t *p, ast_pos_t pos, ast_query_t *q, int n, ast_cte_t *cte, bool recursive);
ast_table_t *sql_table(sql_parser_t *p, ast_table_kind_t kind, ast_pos_t pos);
ast_table_t *sql_table_done(sql_parser_t *p, ast_table_t *t);
ast_table_t *sql_join(sql_parser_t *p, ast_table_t *l, ast_pos_t pos, ast_join_t kind, bool natural, ast_table_t *r);
ast_pattern_t *sql_pattern(sql_parser_t *p, ast_pattern_kind_t kind, ast_pos_t pos);
ast_pattern_t *sql_pattern_add(sql_parser_t *p, ast_pattern_kind_t kind, ast_pattern_t *l, ast_pattern_t *r);
ast_pattern_t *sql_pattern_quant(sql_parser_t *p, ast_pattern_t *x, int min, int max, bool reluctant);
ast_pattern_t *sql_pattern_nest(sql_parser_t *p, ast_pattern_t *x);
bool sql_repeat_check(sql_parser_t *p, ast_pos_t pos, int min, int max);
ast_group_t *sql_group(sql_parser_t *p, ast_group_kind_t kind, ast_pos_t pos);
ast_group_t *sql_group_done(sql_parser_t *p, ast_group_t *g);
/* GROUP BY's and GROUPING SETS' element of an expression: a row becomes several expressions. */
ast_group_t *sql_group_expr(sql_parser_t *p, ast_expr_t *e);
void sql_name_add(sql_parser_t *p, ast_name_t *n, const sql_token_t *t);
ast_ident_t sql_ident(const sql_token_t *t);
ast_stmt_t *sql_stmt(sql_parser_t *p, ast_stmt_kind_t kind, sql_loc_t at);
ast_hint_t sql_hint(sql_parser_t *p, ast_ident_t name);
bool sql_like_word(sql_parser_t *p, ast_ident_t *word);
ast_create_table_t *sql_create_column(sql_parser_t *p, ast_column_t c);
ast_create_table_t *sql_create_key(sql_parser_t *p, ast_pos_t pos, const char *name, ast_idents_t cols, bool not_enforced);
bool sql_create_merge(sql_parser_t *p, ast_create_table_t *into, const ast_create_table_t *part);
bool sql_create_table_check(sql_parser_t *p, ast_create_table_t *c);
