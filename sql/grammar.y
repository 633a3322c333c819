/* grammar.y: Flink's SQL dialect. LALR(1) without conflicts.
 *
 * Words that are names almost everywhere (FIRST, KEY, DATA, ..) reach the grammar as keywords only where tokens.c saw
 * the neighbours that make them one, or are listed under `word`, for places where no name may follow anyway.
 * A value (`val`) is what binds tighter than comparisons; `expr` is everything. */
%code requires {
#include "sql/parse_int.h"
}
%code {
static int sql_yylex(YYSTYPE *v, sql_loc_t *l, sql_parser_t *p);
static void sql_yyerror(sql_loc_t *l, sql_parser_t *p, const char *what);
#define NEED(x) do { if (!(x)) YYABORT; } while (0)
#define YYMALLOC xmalloc
#define YYFREE(q) do { void *f_ = (q); auto_free(&f_); } while (0)
#define YYLLOC_DEFAULT(cur, rhs, n)                                                               \
    do {                                                                                          \
        (cur) = YYRHSLOC(rhs, (n) ? 1 : 0);                                                       \
        (cur).end = YYRHSLOC(rhs, (n)).end;                                                       \
    } while (0)
#define ADD(list, x) LIST_ADD(p, list, x)
}
%define api.pure full
%define api.prefix {sql_yy}
%define api.location.type {sql_loc_t}
%define parse.error custom
%define parse.lac full
%locations
%param {sql_parser_t *p}
%expect 0

%union {
    const sql_token_t *tok;
    const char *str;
    int num;
    int pair[2];
    bool flag;
    ast_expr_t *expr;
    ast_exprs_t exprs;
    ast_name_t name;
    ast_idents_t idents;
    ast_ident_t ident;
    ast_options_t options;
    ast_option_t option;
    ast_hints_t hints;
    ast_hint_t hint;
    ast_order_t order;
    ast_orders_t orders;
    ast_interval_t interval;
    struct { const char *op; bool negate; } test;
    ast_json_t *json;
    struct { ast_json_on_t on; ast_expr_t *value; } behave;
    ast_window_t *window;
    struct { int n; ast_window_t **item; } windows;
    struct { ast_bound_t kind; ast_expr_t *expr; } bound;
    ast_table_t *table;
    struct { ast_ident_t name; ast_idents_t columns; } alias;
    ast_match_t *match;
    ast_pattern_t *pattern;
    struct { int n; ast_subset_t *item; } subsets;
    struct { ast_skip_t kind; ast_ident_t var; } skip;
    ast_named_expr_t item;
    ast_named_exprs_t items;
    ast_group_t *group;
    struct { int n; ast_group_t **item; } groups;
    ast_select_t *select;
    ast_query_t *query;
    struct { int n; ast_cte_t *item; bool recursive; } ctes;
    ast_cte_t cte;
    struct { ast_orders_t order; ast_expr_t *limit, *offset; bool has_limit; } tail;
    sql_type_t type;
    sql_fields_t fields;
    struct { ast_column_t col; bool not_enforced; ast_pos_t key_pos; } column;
    ast_create_table_t *create;
    struct { int n; ast_like_option_t *item; } likes;
    ast_insert_t *insert;
    ast_stmt_t *stmt;
    struct { int n; ast_stmt_t **item; } stmts;
}

%token <tok> IDENT "name" STRING "string" USTRING "unicode string" BINARY_LITERAL "binary literal"
%token <tok> INTEGER "number" DECIMAL_LITERAL "decimal number" FLOAT_LITERAL "floating-point number"
%token <tok> RESERVED "reserved word" BAD "bad token" DQUOTED "text in double quotes" RAW_TEXT "setting" OTHER "other statement"
%token <tok> UNIT "time unit" TYPE_NAME "type" NILADIC "function without arguments" DESCRIPTOR "DESCRIPTOR"
%token HINT_BEGIN "/*+" HINT_END "*/" NE "<>" LE "<=" GE ">=" CONCAT "||" ARROW "=>" LBRACE_MINUS "{-" MINUS_RBRACE "-}"
/* keywords: reserved */
%token K_ALL "ALL" K_AND "AND" K_ANY "ANY" K_ARRAY "ARRAY" K_AS "AS" K_ASYMMETRIC "ASYMMETRIC" K_AT "AT" K_BEGIN "BEGIN"
%token K_BETWEEN "BETWEEN" K_BOTH "BOTH" K_BY "BY" K_CASE "CASE" K_CAST "CAST" K_CEIL "CEIL" K_COMMENT "COMMENT"
%token K_CONSTRAINT "CONSTRAINT" K_CREATE "CREATE" K_CROSS "CROSS" K_CUBE "CUBE" K_CURRENT "CURRENT" K_DATE "DATE"
%token K_DEFAULT "DEFAULT" K_DEFINE "DEFINE" K_DISTINCT "DISTINCT" K_DOUBLE "DOUBLE" K_DROP "DROP" K_ELSE "ELSE"
%token K_EMPTY "EMPTY" K_END "END" K_ESCAPE "ESCAPE" K_EXCEPT "EXCEPT" K_EXECUTE "EXECUTE" K_EXISTS "EXISTS"
%token K_EXPLAIN "EXPLAIN" K_EXTRACT "EXTRACT" K_FALSE "FALSE" K_FETCH "FETCH" K_FILTER "FILTER" K_FLOOR "FLOOR"
%token K_FOR "FOR" K_FROM "FROM" K_FULL "FULL" K_GROUP "GROUP" K_GROUPING "GROUPING" K_HAVING "HAVING" K_IN "IN"
%token K_INNER "INNER" K_INSERT "INSERT" K_INTERSECT "INTERSECT" K_INTERVAL "INTERVAL" K_INTO "INTO" K_IS "IS"
%token K_JOIN "JOIN" K_JSON_ARRAY "JSON_ARRAY" K_JSON_ARRAYAGG "JSON_ARRAYAGG" K_JSON_EXISTS "JSON_EXISTS"
%token K_JSON_OBJECT "JSON_OBJECT" K_JSON_OBJECTAGG "JSON_OBJECTAGG" K_JSON_QUERY "JSON_QUERY" K_JSON_VALUE "JSON_VALUE"
%token K_LATERAL "LATERAL" K_LEADING "LEADING" K_LEFT "LEFT" K_LIKE "LIKE" K_LIMIT "LIMIT" K_LOCAL "LOCAL"
%token K_MATCH_RECOGNIZE "MATCH_RECOGNIZE" K_MEASURES "MEASURES" K_MULTISET "MULTISET" K_NATURAL "NATURAL" K_NEXT "NEXT"
%token K_NOT "NOT" K_NOT_LA "NOT " K_NULL "NULL" K_NULL_LA "NULL " K_OF "OF" K_OFFSET "OFFSET" K_ON "ON" K_ONE "ONE" K_ONLY "ONLY" K_OR "OR"
%token K_ORDER "ORDER" K_OUTER "OUTER" K_OVER "OVER" K_OVERLAPS "OVERLAPS" K_OVERLAY "OVERLAY" K_PARTITION "PARTITION"
%token K_PATTERN "PATTERN" K_PER "PER" K_PERMUTE "PERMUTE" K_POSITION "POSITION" K_PRECISION "PRECISION"
%token K_PRIMARY "PRIMARY" K_QUALIFY "QUALIFY" K_RANGE "RANGE" K_RECURSIVE "RECURSIVE" K_RESET "RESET" K_RIGHT "RIGHT"
%token K_ROLLUP "ROLLUP" K_ROW "ROW" K_ROWS "ROWS" K_RUNNING "RUNNING" K_SELECT "SELECT" K_SET "SET" K_SIMILAR "SIMILAR"
%token K_SKIP "SKIP" K_SUBSET "SUBSET" K_SUBSTRING "SUBSTRING" K_SYMMETRIC "SYMMETRIC" K_SYSTEM_TIME "SYSTEM_TIME"
%token K_TABLE "TABLE" K_THEN "THEN" K_TIME "TIME" K_TIMESTAMP "TIMESTAMP" K_TO "TO" K_TO_LA "TO " K_TRAILING "TRAILING" K_TRIM "TRIM"
%token K_TRUE "TRUE" K_TRY_CAST "TRY_CAST" K_UESCAPE "UESCAPE" K_UNION "UNION" K_UNIQUE "UNIQUE" K_UNKNOWN "UNKNOWN"
%token K_UNNEST "UNNEST" K_USING "USING" K_VALUE "VALUE" K_VALUE_LA "VALUE " K_VALUES "VALUES" K_VARYING "VARYING" K_WATERMARK "WATERMARK"
%token K_WHEN "WHEN" K_WHERE "WHERE" K_WINDOW "WINDOW" K_WITH "WITH" K_WITH_LA "WITH " K_WITHIN "WITHIN"
%token K_WITHOUT "WITHOUT" K_WITHOUT_LA "WITHOUT "
/* keywords: made by tokens.c where the neighbours are right */
%token K_ABSENT "ABSENT" K_FINAL "FINAL" K_IF "IF" K_IGNORE "IGNORE" K_IGNORE_LA "IGNORE " K_RESPECT_LA "RESPECT " K_JSON "JSON" K_KEY "KEY" K_MAP "MAP"
%token K_NOT_ENFORCED "NOT ENFORCED" K_OBJECT "OBJECT" K_REPLACE "REPLACE" K_RESPECT "RESPECT" K_SCALAR "SCALAR"
%token K_TEMPORARY "TEMPORARY" K_UNBOUNDED "UNBOUNDED" K_VIEW "VIEW"
/* keywords that are names as well */
%token <tok> K_AFTER "AFTER" K_ASC "ASC" K_CONDITIONAL "CONDITIONAL" K_DESC "DESC" K_ERROR "ERROR" K_EXCLUDING "EXCLUDING"
%token <tok> K_FIRST "FIRST" K_FOLLOWING "FOLLOWING" K_INCLUDING "INCLUDING" K_LAST "LAST" K_MATCH "MATCH"
%token <tok> K_METADATA "METADATA" K_NULLS "NULLS" K_ORDINALITY "ORDINALITY" K_OVERWRITE "OVERWRITE"
%token <tok> K_OVERWRITING "OVERWRITING" K_PARTITIONED "PARTITIONED" K_PAST "PAST" K_PLACING "PLACING" K_PLAN "PLAN"
%token <tok> K_PRECEDING "PRECEDING" K_RETURNING "RETURNING" K_SETS "SETS" K_STATEMENT "STATEMENT"
%token <tok> K_UNCONDITIONAL "UNCONDITIONAL" K_VIRTUAL "VIRTUAL" K_WRAPPER "WRAPPER" K_ZONE "ZONE"

%left K_UNION K_EXCEPT
%left K_INTERSECT
%left K_OR
%left K_AND
%right K_NOT
%left K_IS
%left '=' NE '<' '>' LE GE
%left '+' '-'
%left '*' '/' '%' CONCAT
%left K_AT
%right UMINUS
%left '[' '.'
%left '(' ')'

%type <tok> ident word
%type <ident> id like_word
%type <name> path
%type <idents> ids ids_paren opt_columns details hint_args partitioned_opt
%type <expr> expr val primary case_else case_base literal interval call special filter_opt arg where having qualify opt_within
%type <expr> subscripted
%type <exprs> exprs args partition_opt whens rows json_pairs json_pair
%type <num> order_dir order_nulls compare json_null nulls_treat nulls_in rows_per_match join_type json_wrap json_wrap_kind trim_where
%type <num> int
%type <pair> repeat
%type <flag> opt_all opt_distinct if_exists if_not_exists temporary opt_ordinality enforced insert_mode reluctant anchor_start
%type <flag> anchor_end all_some
%type <str> comment_opt string
%type <test> is_test between
%type <interval> unit_range
%type <option> option setting
%type <options> options options_opt
%type <hint> hint
%type <hints> hints hints_opt
%type <order> order_item
%type <orders> order_by order_list order_opt within_opt
%type <json> json_opts
%type <behave> json_behave
%type <window> window_spec over_opt window_def window_parts
%type <windows> windows window_opt
%type <bound> bound
%type <table> from_opt from_list joined join_node table_primary table_plain table_arg
%type <alias> alias_opt alias
%type <match> match
%type <pattern> pattern pattern_seq pattern_factor pattern_atom pattern_list
%type <subsets> subset_opt subsets
%type <skip> skip_opt
%type <item> select_item measure define
%type <items> select_items measures measures_opt defines
%type <group> group_item
%type <groups> group_list
%type <select> group_opt
%type <query> query query_np query_wp query_clause simple_query select
%type <ctes> with_clause ctes
%type <cte> cte
%type <tail> tail limits limit_item
%type <type> type type_base
%type <fields> fields
%type <column> column_opts
%type <create> create_body elements element
%type <likes> like_opts like_opts_paren
%type <insert> insert insert_target
%type <stmt> statement explainable insert_stmt set_stmt
%type <stmts> inserts statements

%start script
%%
/* --- scripts and statements ------------------------------------------------------------------------------------- */
script: statements { p->script->n = $1.n; p->script->stmt = $1.item; }
  | statements statement { ADD($1, $2); p->script->n = $1.n; p->script->stmt = $1.item; } ;
statements: %empty { memset(&$$, 0, sizeof $$); } | statements statement ';' { $$ = $1; ADD($$, $2); }
  | statements ';' { $$ = $1; } ;

statement:
    K_CREATE temporary K_TABLE if_not_exists path create_body
        { NEED(sql_create_table_check(p, $6)); $6->temporary = $2; $6->if_not_exists = $4; $6->name = $5;
          $$ = sql_stmt(p, AST_CREATE_TABLE, @$); $$->create_table = $6; }
  | K_CREATE temporary K_VIEW if_not_exists path opt_columns comment_opt K_AS query
        { $$ = sql_stmt(p, AST_CREATE_VIEW, @$);
          ast_create_view_t *v = $$->create_view = ARENA_NEW(p->a, ast_create_view_t);
          *v = (ast_create_view_t){.name = $5, .temporary = $2, .if_not_exists = $4, .columns = $6, .comment = $7, .query = $9}; }
  | K_CREATE K_OR K_REPLACE temporary K_VIEW path opt_columns comment_opt K_AS query
        { $$ = sql_stmt(p, AST_CREATE_VIEW, @$);
          ast_create_view_t *v = $$->create_view = ARENA_NEW(p->a, ast_create_view_t);
          *v = (ast_create_view_t){.name = $6, .temporary = $4, .or_replace = true, .columns = $7, .comment = $8, .query = $10}; }
  | K_DROP temporary K_TABLE if_exists path
        { $$ = sql_stmt(p, AST_DROP_TABLE, @$); $$->drop = ARENA_NEW(p->a, ast_drop_t);
          *$$->drop = (ast_drop_t){.name = $5, .temporary = $2, .if_exists = $4}; }
  | K_DROP temporary K_VIEW if_exists path
        { $$ = sql_stmt(p, AST_DROP_VIEW, @$); $$->drop = ARENA_NEW(p->a, ast_drop_t);
          *$$->drop = (ast_drop_t){.name = $5, .temporary = $2, .if_exists = $4}; }
  | explainable
  | K_EXECUTE insert_stmt { $$ = $2; $$->pos = POS(@$); $$->begin = @$.begin; }
  | K_EXECUTE set_stmt { $$ = $2; $$->pos = POS(@$); $$->begin = @$.begin; }
  | K_BEGIN K_STATEMENT K_SET ';' inserts K_END
        { $$ = sql_stmt(p, AST_STATEMENT_SET, @$); $$->list.n = $5.n; $$->list.item = $5.item; }
  | K_SET { $$ = sql_stmt(p, AST_SET, @$); }
  | K_SET setting { $$ = sql_stmt(p, AST_SET, @$); $$->option = $2; }
  | K_RESET { $$ = sql_stmt(p, AST_RESET, @$); }
  | K_RESET RAW_TEXT { $$ = sql_stmt(p, AST_RESET, @$); $$->option = (ast_option_t){.pos = POS(@2), .key = $2->text}; }
  | K_EXPLAIN explainable { $$ = sql_stmt(p, AST_EXPLAIN, @$); $$->explain.inner = $2; }
  | K_EXPLAIN set_stmt { $$ = sql_stmt(p, AST_EXPLAIN, @$); $$->explain.inner = $2; }
  | K_EXPLAIN K_PLAN K_FOR explainable { $$ = sql_stmt(p, AST_EXPLAIN, @$); $$->explain.inner = $4; }
  | K_EXPLAIN K_PLAN K_FOR set_stmt { $$ = sql_stmt(p, AST_EXPLAIN, @$); $$->explain.inner = $4; }
  | K_EXPLAIN details explainable { $$ = sql_stmt(p, AST_EXPLAIN, @$); $$->explain.inner = $3; $$->explain.details = $2; }
  | K_EXPLAIN details set_stmt { $$ = sql_stmt(p, AST_EXPLAIN, @$); $$->explain.inner = $3; $$->explain.details = $2; }
  | OTHER { $$ = sql_stmt(p, AST_OTHER, @$); $$->what = $1->text; }
  ;
explainable: insert_stmt | query { $$ = sql_stmt(p, AST_SELECT, @$); $$->query = $1; } ;
insert_stmt: insert { $$ = sql_stmt(p, AST_INSERT, @$); $$->insert = $1; } ;
set_stmt: K_STATEMENT K_SET K_BEGIN inserts K_END
        { $$ = sql_stmt(p, AST_STATEMENT_SET, @$); $$->list.n = $4.n; $$->list.item = $4.item; } ;
inserts: insert_stmt ';' { memset(&$$, 0, sizeof $$); ADD($$, $1); } | inserts insert_stmt ';' { $$ = $1; ADD($$, $2); } ;
details: id { memset(&$$, 0, sizeof $$); ADD($$, $1); } | details ',' id { $$ = $1; ADD($$, $3); } ;
setting: RAW_TEXT '=' RAW_TEXT
        { $$ = (ast_option_t){.pos = POS(@1), .value_pos = POS(@3), .key = $1->text, .value = $3->text}; } ;
temporary: %empty { $$ = false; } | K_TEMPORARY { $$ = true; } ;
if_not_exists: %empty { $$ = false; } | K_IF K_NOT K_EXISTS { $$ = true; } ;
if_exists: %empty { $$ = false; } | K_IF K_EXISTS { $$ = true; } ;
comment_opt: %empty { $$ = NULL; } | K_COMMENT string { $$ = $2; } ;
string: STRING { $$ = $1->text; } | USTRING { $$ = $1->text; } ;

insert: insert_target query { $$ = $1; $$->query = $2; }
  | insert_target '(' ids ')' query { $$ = $1; $$->columns = $3; $$->query = $5; } ;
insert_target: K_INSERT insert_mode path hints_opt
        { $$ = ARENA_NEW(p->a, ast_insert_t); $$->overwrite = $2; $$->name = $3; $$->hints = $4; }
  | K_INSERT insert_mode path hints_opt K_PARTITION '(' options ')'
        { $$ = ARENA_NEW(p->a, ast_insert_t); $$->overwrite = $2; $$->name = $3; $$->hints = $4; $$->partition = $7; } ;
insert_mode: K_INTO { $$ = false; } | K_OVERWRITE { $$ = true; } ;

/* --- CREATE TABLE ----------------------------------------------------------------------------------------------- */
create_body:
    '(' elements ')' comment_opt partitioned_opt options_opt
        { $$ = $2; $$->comment = $4; $$->partitioned = $5; $$->options = $6; }
  | '(' elements ')' comment_opt partitioned_opt options_opt K_LIKE path like_opts_paren
        { $$ = $2; $$->comment = $4; $$->partitioned = $5; $$->options = $6; $$->like = $8;
          $$->nlike_option = $9.n; $$->like_option = $9.item; }
  | '(' elements ')' comment_opt partitioned_opt options_opt K_AS query
        { $$ = $2; $$->comment = $4; $$->partitioned = $5; $$->options = $6; $$->query = $8; }
  | comment_opt partitioned_opt options_opt K_LIKE path like_opts_paren
        { $$ = ARENA_NEW(p->a, ast_create_table_t); $$->comment = $1; $$->partitioned = $2; $$->options = $3; $$->like = $5;
          $$->nlike_option = $6.n; $$->like_option = $6.item; }
  | comment_opt partitioned_opt options_opt K_AS query
        { $$ = ARENA_NEW(p->a, ast_create_table_t); $$->comment = $1; $$->partitioned = $2; $$->options = $3; $$->query = $5; }
  | comment_opt partitioned_opt K_WITH '(' options ')'
        { $$ = ARENA_NEW(p->a, ast_create_table_t); $$->comment = $1; $$->partitioned = $2; $$->options = $5; }
  ;
elements: element | elements ',' element { $$ = $1; NEED(sql_create_merge(p, $$, $3)); } ;
element:
    id type column_opts
        { ast_column_t c = $3.col; c.name = $1; c.type = $2.node;
          $$ = sql_create_column(p, c);
          if (c.primary_key) {
              ast_idents_t key = {0};
              ADD(key, $1);
              NEED(sql_create_merge(p, $$, sql_create_key(p, $3.key_pos, NULL, key, $3.not_enforced)));
          } }
  | id K_AS expr comment_opt
        { $$ = sql_create_column(p, (ast_column_t){.kind = AST_COLUMN_COMPUTED, .name = $1, .expr = $3, .comment = $4}); }
  | K_WATERMARK K_FOR path K_AS expr
        { $$ = ARENA_NEW(p->a, ast_create_table_t); $$->nwatermark = 1; $$->watermark = ARENA_NEW(p->a, ast_watermark_t);
          *$$->watermark = (ast_watermark_t){$3, $5}; }
  | K_PRIMARY K_KEY ids_paren enforced { $$ = sql_create_key(p, POS(@1), NULL, $3, $4); }
  | K_CONSTRAINT id K_PRIMARY K_KEY ids_paren enforced { $$ = sql_create_key(p, POS(@1), $2.text, $5, $6); }
  ;
enforced: %empty { $$ = false; } | K_NOT_ENFORCED { $$ = true; } ;
column_opts: %empty { memset(&$$, 0, sizeof $$); }
  | column_opts K_PRIMARY K_KEY enforced { $$ = $1; $$.col.primary_key = true; $$.not_enforced = $4; $$.key_pos = POS(@2); }
  | column_opts K_UNIQUE { $$ = $1; $$.col.unique = true; }
  | column_opts K_METADATA { $$ = $1; $$.col.kind = AST_COLUMN_METADATA; }
  | column_opts K_METADATA K_FROM string { $$ = $1; $$.col.kind = AST_COLUMN_METADATA; $$.col.metadata_key = $4; }
  | column_opts K_VIRTUAL { $$ = $1; $$.col.is_virtual = true; }
  | column_opts K_COMMENT string { $$ = $1; $$.col.comment = $3; }
  ;
partitioned_opt: %empty { memset(&$$, 0, sizeof $$); } | K_PARTITIONED K_BY ids_paren { $$ = $3; } ;
options_opt: %empty { memset(&$$, 0, sizeof $$); } | K_WITH '(' options ')' { $$ = $3; } ;
options: option { memset(&$$, 0, sizeof $$); ADD($$, $1); } | options ',' option { $$ = $1; ADD($$, $3); } ;
option: string '=' string
        { $$ = (ast_option_t){.pos = POS(@1), .value_pos = POS(@3), .key = $1, .value = $3}; }
  | id '=' literal
        { $$ = (ast_option_t){.pos = POS(@1), .value_pos = POS(@3), .key = $1.text, .value = ast_expr_text(p->a, $3)};
          if ($3->kind == AST_STRING) $$.value = $3->text; } ;
like_opts_paren: %empty { memset(&$$, 0, sizeof $$); } | '(' like_opts ')' { $$ = $2; } ;
like_opts: %empty { memset(&$$, 0, sizeof $$); }
  | like_opts K_INCLUDING like_word { $$ = $1; ast_like_option_t o = {true, false, $3.text}; ADD($$, o); }
  | like_opts K_EXCLUDING like_word { $$ = $1; ast_like_option_t o = {false, false, $3.text}; ADD($$, o); }
  | like_opts K_OVERWRITING like_word { $$ = $1; ast_like_option_t o = {false, true, $3.text}; ADD($$, o); } ;
like_word: id { $$ = $1; NEED(sql_like_word(p, &$$)); } | K_ALL { $$ = (ast_ident_t){POS(@1), "ALL"}; } ;

/* --- names ------------------------------------------------------------------------------------------------------ */
ident: IDENT | word ;
word: K_AFTER | K_ASC | K_CONDITIONAL | K_DESC | K_ERROR | K_EXCLUDING | K_FIRST | K_FOLLOWING | K_INCLUDING | K_LAST
  | K_METADATA | K_NULLS | K_ORDINALITY | K_OVERWRITE | K_OVERWRITING | K_PARTITIONED | K_PAST | K_PLACING | K_PLAN
  | K_PRECEDING | K_RETURNING | K_SETS | K_STATEMENT | K_UNCONDITIONAL | K_VIRTUAL | K_WRAPPER | K_ZONE ;
id: ident { $$ = sql_ident($1); } ;
path: ident { memset(&$$, 0, sizeof $$); sql_name_add(p, &$$, $1); } | path '.' ident { $$ = $1; sql_name_add(p, &$$, $3); } ;
ids: id { memset(&$$, 0, sizeof $$); ADD($$, $1); } | ids ',' id { $$ = $1; ADD($$, $3); } ;
ids_paren: '(' ids ')' { $$ = $2; } ;
opt_columns: %empty { memset(&$$, 0, sizeof $$); } | ids_paren ;

hints_opt: %empty { memset(&$$, 0, sizeof $$); } | HINT_BEGIN hints HINT_END { $$ = $2; } ;
hints: hint { memset(&$$, 0, sizeof $$); ADD($$, $1); } | hints hint { $$ = $1; ADD($$, $2); }
  | hints ',' hint { $$ = $1; ADD($$, $3); } ;
hint: id { $$ = sql_hint(p, $1); }
  | id '(' options ')' { $$ = sql_hint(p, $1); $$.options = $3; }
  | id '(' hint_args ')' { $$ = sql_hint(p, $1); $$.args = $3; } ;
hint_args: id { memset(&$$, 0, sizeof $$); ADD($$, $1); } | hint_args ',' id { $$ = $1; ADD($$, $3); } ;

/* --- queries ---------------------------------------------------------------------------------------------------- */
query: query_np | query_wp ;
query_wp: '(' query_np ')' { $$ = $2; } | '(' query_wp ')' { $$ = $2; } ;
query_np: simple_query
  | query_clause tail { NEED($$ = sql_query_tail(p, $1, $2.order, $2.limit, $2.offset)); }
  | with_clause query_clause { NEED($$ = sql_query_with(p, POS(@1), $2, $1.n, $1.item, $1.recursive)); }
  | with_clause query_clause tail
        { NEED($$ = sql_query_tail(p, $2, $3.order, $3.limit, $3.offset));
          NEED($$ = sql_query_with(p, POS(@1), $$, $1.n, $1.item, $1.recursive)); } ;
query_clause: simple_query | query_wp ;
simple_query:
    select
  | K_VALUES rows { $$ = sql_query(p, AST_QUERY_VALUES, POS(@1)); $$->rows = $2; NEED(sql_query_done(p, $$)); }
  | K_TABLE path { $$ = sql_query(p, AST_QUERY_TABLE, POS(@1)); $$->name = $2; }
  | query_clause K_UNION opt_all query_clause { NEED($$ = sql_query_set(p, POS(@2), AST_QUERY_UNION, $3, $1, $4)); }
  | query_clause K_EXCEPT opt_all query_clause { NEED($$ = sql_query_set(p, POS(@2), AST_QUERY_EXCEPT, $3, $1, $4)); }
  | query_clause K_INTERSECT opt_all query_clause { NEED($$ = sql_query_set(p, POS(@2), AST_QUERY_INTERSECT, $3, $1, $4)); }
  ;
opt_all: %empty { $$ = false; } | K_ALL { $$ = true; } | K_DISTINCT { $$ = false; } ;
rows: expr { memset(&$$, 0, sizeof $$); NEED($1 = sql_row(p, $1)); ADD($$, $1); }
  | rows ',' expr { $$ = $1; NEED($3 = sql_row(p, $3)); ADD($$, $3); } ;
with_clause: K_WITH ctes { $$ = $2; } | K_WITH K_RECURSIVE ctes { $$ = $3; $$.recursive = true; } ;
ctes: cte { memset(&$$, 0, sizeof $$); ADD($$, $1); } | ctes ',' cte { $$ = $1; ADD($$, $3); } ;
cte: id opt_columns K_AS query_wp { $$ = (ast_cte_t){$1, $2, $4}; } ;
tail: order_by { memset(&$$, 0, sizeof $$); $$.order = $1; }
  | order_by limits { $$ = $2; $$.order = $1; }
  | limits ;
limits: limit_item
  | limits limit_item
        { $$ = $1;
          if (($1.has_limit && $2.has_limit) || ($1.offset && $2.offset)) {
              sql_fail(p, POS(@2), err_new(ERR_SYNTAX, "a query has one LIMIT (or FETCH) and one OFFSET"));
              YYABORT;
          }
          if ($2.limit) $$.limit = $2.limit;
          if ($2.offset) $$.offset = $2.offset;
          $$.has_limit |= $2.has_limit; } ;
limit_item:
    K_LIMIT expr { memset(&$$, 0, sizeof $$); $$.limit = $2; $$.has_limit = true; }
  | K_LIMIT K_ALL { memset(&$$, 0, sizeof $$); $$.has_limit = true; }
  | K_LIMIT expr ',' expr { memset(&$$, 0, sizeof $$); $$.offset = $2; $$.limit = $4; $$.has_limit = true; }
  | K_OFFSET expr row_word_opt { memset(&$$, 0, sizeof $$); $$.offset = $2; }
  | K_FETCH first_next expr row_word K_ONLY { memset(&$$, 0, sizeof $$); $$.limit = $3; $$.has_limit = true; } ;
first_next: K_FIRST | K_NEXT ;
row_word: K_ROW | K_ROWS ;
row_word_opt: %empty | row_word ;

select: K_SELECT hints_opt opt_distinct select_items from_opt where group_opt having window_opt qualify
        { ast_select_t *s = $7;
          s->hints = $2; s->distinct = $3; s->items = $4; s->from = $5; s->where = $6; s->having = $8;
          s->nwindow = $9.n; s->window = $9.item; s->qualify = $10;
          $$ = sql_query(p, AST_QUERY_SELECT, POS(@1)); $$->select = s; NEED(sql_query_done(p, $$)); } ;
opt_distinct: %empty { $$ = false; } | K_DISTINCT { $$ = true; } | K_ALL { $$ = false; } ;
select_items: select_item { memset(&$$, 0, sizeof $$); ADD($$, $1); } | select_items ',' select_item { $$ = $1; ADD($$, $3); } ;
select_item:
    '*' { $$ = (ast_named_expr_t){.pos = POS(@1), .expr = sql_expr(p, AST_STAR, POS(@1))}; }
  | path '.' '*' { $$ = (ast_named_expr_t){.pos = POS(@1), .expr = sql_expr(p, AST_STAR, POS(@1))}; $$.expr->name = $1; }
  | expr { $$ = (ast_named_expr_t){.pos = POS(@1), .expr = $1}; }
  | expr id { $$ = (ast_named_expr_t){.pos = POS(@1), .expr = $1, .alias = $2.text, .alias_pos = $2.pos}; }
  | expr K_AS id { $$ = (ast_named_expr_t){.pos = POS(@1), .expr = $1, .alias = $3.text, .alias_pos = $3.pos}; } ;
from_opt: %empty { $$ = NULL; } | K_FROM from_list { $$ = $2; } ;
where: %empty { $$ = NULL; } | K_WHERE expr { $$ = $2; } ;
having: %empty { $$ = NULL; } | K_HAVING expr { $$ = $2; } ;
qualify: %empty { $$ = NULL; } | K_QUALIFY expr { $$ = $2; } ;
group_opt: %empty { $$ = ARENA_NEW(p->a, ast_select_t); }
  | K_GROUP K_BY opt_distinct group_list
        { $$ = ARENA_NEW(p->a, ast_select_t); $$->has_group = true; $$->group_distinct = $3; $$->ngroup = $4.n; $$->group = $4.item; } ;
group_list: group_item { memset(&$$, 0, sizeof $$); ADD($$, $1); } | group_list ',' group_item { $$ = $1; ADD($$, $3); } ;
group_item:
    expr { NEED($$ = sql_group_expr(p, $1)); }
  | '(' ')' { $$ = sql_group(p, AST_GROUP_EXPR, POS(@1)); }
  | K_ROLLUP '(' group_list ')' { $$ = sql_group(p, AST_GROUP_ROLLUP, POS(@1)); $$->n = $3.n; $$->element = $3.item; NEED(sql_group_done(p, $$)); }
  | K_CUBE '(' group_list ')' { $$ = sql_group(p, AST_GROUP_CUBE, POS(@1)); $$->n = $3.n; $$->element = $3.item; NEED(sql_group_done(p, $$)); }
  | K_GROUPING K_SETS '(' group_list ')' { $$ = sql_group(p, AST_GROUP_SETS, POS(@1)); $$->n = $4.n; $$->element = $4.item; NEED(sql_group_done(p, $$)); } ;

order_by: K_ORDER K_BY order_list { $$ = $3; $$.pos = POS(@1); } ;
order_opt: %empty { memset(&$$, 0, sizeof $$); } | order_by ;
order_list: order_item { memset(&$$, 0, sizeof $$); ADD($$, $1); } | order_list ',' order_item { $$ = $1; ADD($$, $3); } ;
order_item: expr order_dir order_nulls { $$ = (ast_order_t){$1, $2, $3}; } ;
order_dir: %empty { $$ = 0; } | K_ASC { $$ = 0; } | K_DESC { $$ = 1; } ;
order_nulls: %empty { $$ = 0; } | K_NULLS K_FIRST { $$ = 1; } | K_NULLS K_LAST { $$ = 2; } ;

/* --- windows ---------------------------------------------------------------------------------------------------- */
window_opt: %empty { memset(&$$, 0, sizeof $$); } | K_WINDOW windows { $$ = $2; } ;
windows: window_def { memset(&$$, 0, sizeof $$); ADD($$, $1); } | windows ',' window_def { $$ = $1; ADD($$, $3); } ;
window_def: id K_AS window_spec { $$ = $3; $$->base = $$->name; $$->name = $1.text; $$->pos = $1.pos; } ;
window_spec: '(' window_parts ')' { $$ = $2; $$->pos = POS(@1); }
  | '(' id window_parts ')' { $$ = $3; $$->pos = POS(@1); $$->name = $2.text; } ;
window_parts:
    partition_opt order_opt { $$ = ARENA_NEW(p->a, ast_window_t); $$->partition = $1; $$->order = $2; $$->to = AST_CURRENT_ROW; }
  | partition_opt order_opt frame_unit bound
        { $$ = sql_window_frame(p, $1, $2, $<num>3, $4.kind, $4.expr); }
  | partition_opt order_opt frame_unit K_BETWEEN bound K_AND bound
        { $$ = sql_window_frame(p, $1, $2, $<num>3, $5.kind, $5.expr);
          $$->has_between = true; $$->to = $7.kind; $$->to_expr = $7.expr; } ;
frame_unit: K_ROWS { $<num>$ = AST_FRAME_ROWS; } | K_RANGE { $<num>$ = AST_FRAME_RANGE; } ;
bound:
    K_UNBOUNDED K_PRECEDING { $$.kind = AST_UNBOUNDED_PRECEDING; $$.expr = NULL; }
  | K_UNBOUNDED K_FOLLOWING { $$.kind = AST_UNBOUNDED_FOLLOWING; $$.expr = NULL; }
  | K_CURRENT K_ROW { $$.kind = AST_CURRENT_ROW; $$.expr = NULL; }
  | val K_PRECEDING { $$.kind = AST_PRECEDING; $$.expr = $1; }
  | val K_FOLLOWING { $$.kind = AST_FOLLOWING; $$.expr = $1; } ;
partition_opt: %empty { memset(&$$, 0, sizeof $$); } | K_PARTITION K_BY exprs { $$ = $3; } ;

/* --- FROM ------------------------------------------------------------------------------------------------------- */
from_list: joined | from_list ',' joined { NEED($$ = sql_join(p, $1, POS(@2), AST_JOIN_COMMA, false, $3)); } ;
joined: table_primary | join_node ;
join_node:
    joined K_CROSS K_JOIN table_primary { NEED($$ = sql_join(p, $1, POS(@3), AST_JOIN_CROSS, false, $4)); }
  | joined K_NATURAL join_type K_JOIN table_primary { NEED($$ = sql_join(p, $1, POS(@4), $3, true, $5)); }
  | joined join_type K_JOIN table_primary K_ON expr { NEED($$ = sql_join(p, $1, POS(@3), $2, false, $4)); $$->on = $6; NEED(sql_table_done(p, $$)); }
  | joined join_type K_JOIN table_primary K_USING ids_paren { NEED($$ = sql_join(p, $1, POS(@3), $2, false, $4)); $$->using_cols = $6; } ;
join_type: %empty { $$ = AST_JOIN_INNER; } | K_INNER { $$ = AST_JOIN_INNER; } | K_LEFT opt_outer { $$ = AST_JOIN_LEFT; }
  | K_RIGHT opt_outer { $$ = AST_JOIN_RIGHT; } | K_FULL opt_outer { $$ = AST_JOIN_FULL; } ;
opt_outer: %empty | K_OUTER ;
table_primary: table_plain alias_opt { $$ = $1; $$->alias = $2.name; $$->columns = $2.columns; }
  | table_primary K_MATCH_RECOGNIZE '(' match ')' alias_opt
        { $$ = sql_table(p, AST_TABLE_MATCH, POS(@1)); $$->left = $1; $$->match = $4; $4->pos = POS(@2);
          $$->alias = $6.name; $$->columns = $6.columns; NEED(sql_table_done(p, $$)); }
  | '(' join_node ')' { $$ = $2; } ;
table_plain:
    path hints_opt { $$ = sql_table(p, AST_TABLE_NAME, POS(@1)); $$->name = $1; $$->hints = $2; }
  | path hints_opt K_FOR K_SYSTEM_TIME K_AS K_OF expr
        { $$ = sql_table(p, AST_TABLE_NAME, POS(@1)); $$->name = $1; $$->hints = $2; $$->system_time = $7; NEED(sql_table_done(p, $$)); }
  | query_wp { $$ = sql_table(p, AST_TABLE_QUERY, POS(@1)); $$->query = $1; NEED(sql_table_done(p, $$)); }
  | K_LATERAL query_wp { $$ = sql_table(p, AST_TABLE_QUERY, POS(@1)); $$->query = $2; $$->lateral = true; NEED(sql_table_done(p, $$)); }
  | call { $$ = sql_table(p, AST_TABLE_CALL, POS(@1)); $$->call = $1; NEED(sql_table_done(p, $$)); }
  | K_TABLE '(' call ')' { $$ = sql_table(p, AST_TABLE_CALL, POS(@1)); $$->call = $3; $$->wrapped = true; NEED(sql_table_done(p, $$)); }
  | K_LATERAL call { $$ = sql_table(p, AST_TABLE_CALL, POS(@1)); $$->call = $2; $$->lateral = true; NEED(sql_table_done(p, $$)); }
  | K_LATERAL K_TABLE '(' call ')'
        { $$ = sql_table(p, AST_TABLE_CALL, POS(@1)); $$->call = $4; $$->lateral = $$->wrapped = true; NEED(sql_table_done(p, $$)); }
  | K_UNNEST '(' exprs ')' opt_ordinality
        { $$ = sql_table(p, AST_TABLE_UNNEST, POS(@1)); $$->args = $3; $$->ordinality = $5; NEED(sql_table_done(p, $$)); }
  | K_LATERAL K_UNNEST '(' exprs ')' opt_ordinality
        { $$ = sql_table(p, AST_TABLE_UNNEST, POS(@1)); $$->args = $4; $$->ordinality = $6; $$->lateral = true; NEED(sql_table_done(p, $$)); } ;
opt_ordinality: %empty { $$ = false; } | K_WITH K_ORDINALITY { $$ = true; } ;
alias_opt: %empty { memset(&$$, 0, sizeof $$); } | alias ;
alias: K_AS id opt_columns { $$.name = $2; $$.columns = $3; } | id opt_columns { $$.name = $1; $$.columns = $2; } ;

/* --- MATCH_RECOGNIZE -------------------------------------------------------------------------------------------- */
match: partition_opt order_opt measures_opt rows_per_match skip_opt K_PATTERN '(' anchor_start pattern anchor_end ')' opt_within subset_opt
    K_DEFINE defines
        { $$ = ARENA_NEW(p->a, ast_match_t);
          $$->partition = $1; $$->order = $2; $$->measures = $3; $$->rows = $4; $$->skip = $5.kind; $$->skip_var = $5.var;
          $$->anchor_start = $8; $$->pattern = $9; $$->anchor_end = $10; $$->within = $12;
          $$->nsubset = $13.n; $$->subset = $13.item; $$->define = $15; } ;
measures_opt: %empty { memset(&$$, 0, sizeof $$); } | K_MEASURES measures { $$ = $2; } ;
measures: measure { memset(&$$, 0, sizeof $$); ADD($$, $1); } | measures ',' measure { $$ = $1; ADD($$, $3); } ;
measure: expr K_AS id { $$ = (ast_named_expr_t){POS(@1), $1, $3.text, $3.pos}; } ;
rows_per_match: %empty { $$ = 0; } | K_ONE K_ROW K_PER K_MATCH { $$ = 1; } | K_ALL K_ROWS K_PER K_MATCH { $$ = 2; } ;
skip_opt: %empty { memset(&$$, 0, sizeof $$); }
  | K_AFTER K_MATCH K_SKIP K_PAST K_LAST K_ROW { memset(&$$, 0, sizeof $$); $$.kind = AST_SKIP_PAST_LAST_ROW; }
  | K_AFTER K_MATCH K_SKIP K_TO K_NEXT K_ROW { memset(&$$, 0, sizeof $$); $$.kind = AST_SKIP_NEXT_ROW; }
  | K_AFTER K_MATCH K_SKIP K_TO K_FIRST id { $$.kind = AST_SKIP_TO_FIRST; $$.var = $6; }
  | K_AFTER K_MATCH K_SKIP K_TO K_LAST id { $$.kind = AST_SKIP_TO_LAST; $$.var = $6; }
  | K_AFTER K_MATCH K_SKIP K_TO id { $$.kind = AST_SKIP_TO_LAST; $$.var = $5; } ;
anchor_start: %empty { $$ = false; } | '^' { $$ = true; } ;
anchor_end: %empty { $$ = false; } | '$' { $$ = true; } ;
pattern: pattern_seq | pattern '|' pattern_seq { NEED($$ = sql_pattern_add(p, AST_PATTERN_ALT, $1, $3)); } ;
pattern_seq: pattern_factor | pattern_seq pattern_factor { NEED($$ = sql_pattern_add(p, AST_PATTERN_CONCAT, $1, $2)); } ;
pattern_factor: pattern_atom
  | pattern_atom repeat reluctant { NEED($$ = sql_pattern_quant(p, $1, $2[0], $2[1], $3)); } ;
repeat: '*' { $$[0] = 0; $$[1] = -1; } | '+' { $$[0] = 1; $$[1] = -1; } | '?' { $$[0] = 0; $$[1] = 1; }
  | '{' int '}' { $$[0] = $$[1] = $2; } | '{' int ',' '}' { $$[0] = $2; $$[1] = -1; }
  | '{' ',' int '}' { $$[0] = 0; $$[1] = $3; }
  | '{' int ',' int '}' { $$[0] = $2; $$[1] = $4; NEED(sql_repeat_check(p, POS(@1), $2, $4)); } ;
reluctant: %empty { $$ = false; } | '?' { $$ = true; } ;
int: INTEGER { NEED(sql_int(p, $1, 1000000, &$$)); } ;
pattern_atom: id { $$ = sql_pattern(p, AST_PATTERN_VAR, $1.pos); $$->var = $1.text; }
  | '(' pattern ')' { NEED($$ = sql_pattern_nest(p, $2)); }
  | '(' ')' { $$ = sql_pattern(p, AST_PATTERN_EMPTY, POS(@1)); }
  | LBRACE_MINUS pattern MINUS_RBRACE
        { NEED($$ = sql_pattern_add(p, AST_PATTERN_EXCLUDE, sql_pattern(p, AST_PATTERN_EXCLUDE, POS(@1)), $2)); }
  | K_PERMUTE '(' pattern_list ')' { $$ = $3; } ;
pattern_list: pattern { NEED($$ = sql_pattern_add(p, AST_PATTERN_PERMUTE, sql_pattern(p, AST_PATTERN_PERMUTE, POS(@1)), $1)); }
  | pattern_list ',' pattern { NEED($$ = sql_pattern_add(p, AST_PATTERN_PERMUTE, $1, $3)); } ;
opt_within: %empty { $$ = NULL; } | K_WITHIN interval { $$ = $2; } ;
subset_opt: %empty { memset(&$$, 0, sizeof $$); } | K_SUBSET subsets { $$ = $2; } ;
subsets: id '=' ids_paren { memset(&$$, 0, sizeof $$); ast_subset_t s = {$1, $3}; ADD($$, s); }
  | subsets ',' id '=' ids_paren { $$ = $1; ast_subset_t s = {$3, $5}; ADD($$, s); } ;
defines: define { memset(&$$, 0, sizeof $$); ADD($$, $1); } | defines ',' define { $$ = $1; ADD($$, $3); } ;
define: id K_AS expr { $$ = (ast_named_expr_t){POS(@1), $3, $1.text, $1.pos}; } ;

/* --- expressions ------------------------------------------------------------------------------------------------ */
exprs: expr { memset(&$$, 0, sizeof $$); ADD($$, $1); } | exprs ',' expr { $$ = $1; ADD($$, $3); } ;
expr: val
  | expr K_OR expr { NEED($$ = sql_logic(p, "OR", $1, $3)); }
  | expr K_AND expr { NEED($$ = sql_logic(p, "AND", $1, $3)); }
  | K_NOT expr { NEED($$ = sql_op1(p, POS(@1), "NOT", $2)); }
  | expr K_IS is_test %prec K_IS { NEED($$ = sql_op1(p, $1->pos, $3.op, $1)); NEED($$ = sql_not_if(p, $3.negate, $$)); }
  | expr K_IS K_DISTINCT K_FROM expr %prec K_IS { NEED($$ = sql_op2(p, $1->pos, "IS DISTINCT FROM", $1, $5)); }
  | expr K_IS K_NOT K_DISTINCT K_FROM expr %prec K_IS { NEED($$ = sql_op2(p, $1->pos, "IS NOT DISTINCT FROM", $1, $6)); }
  | expr '=' expr { NEED($$ = sql_op2(p, $1->pos, "=", $1, $3)); }
  | expr NE expr { NEED($$ = sql_op2(p, $1->pos, "<>", $1, $3)); }
  | expr '<' expr { NEED($$ = sql_op2(p, $1->pos, "<", $1, $3)); }
  | expr LE expr { NEED($$ = sql_op2(p, $1->pos, "<=", $1, $3)); }
  | expr '>' expr { NEED($$ = sql_op2(p, $1->pos, ">", $1, $3)); }
  | expr GE expr { NEED($$ = sql_op2(p, $1->pos, ">=", $1, $3)); }
  | expr compare all_some query_wp %prec '='
        { NEED($$ = sql_query_expr(p, AST_QUANTIFIED, $1->pos, $4)); $$->base = $1; $$->text = sql_compare_name($2);
          $$->is_all = $3; NEED(sql_expr_done(p, $$)); }
  | expr compare all_some '(' exprs ')' %prec '='
        { $$ = sql_expr(p, AST_QUANTIFIED, $1->pos); $$->base = $1; $$->text = sql_compare_name($2); $$->is_all = $3;
          $$->args = $5; NEED(sql_expr_done(p, $$)); }
  | val between val K_AND val { NEED($$ = sql_op3(p, $1->pos, $2.op, $1, $3, $5)); NEED($$ = sql_not_if(p, $2.negate, $$)); }
  | val K_LIKE val { NEED($$ = sql_op2(p, $1->pos, "LIKE", $1, $3)); }
  | val K_LIKE val K_ESCAPE val { NEED($$ = sql_op3(p, $1->pos, "LIKE", $1, $3, $5)); }
  | val K_SIMILAR K_TO val { NEED($$ = sql_op2(p, $1->pos, "SIMILAR TO", $1, $4)); }
  | val K_SIMILAR K_TO val K_ESCAPE val { NEED($$ = sql_op3(p, $1->pos, "SIMILAR TO", $1, $4, $6)); }
  | val K_NOT_LA K_LIKE val { NEED($$ = sql_op2(p, $1->pos, "LIKE", $1, $4)); NEED($$ = sql_not_if(p, true, $$)); }
  | val K_NOT_LA K_LIKE val K_ESCAPE val { NEED($$ = sql_op3(p, $1->pos, "LIKE", $1, $4, $6)); NEED($$ = sql_not_if(p, true, $$)); }
  | val K_NOT_LA K_SIMILAR K_TO val { NEED($$ = sql_op2(p, $1->pos, "SIMILAR TO", $1, $5)); NEED($$ = sql_not_if(p, true, $$)); }
  | val K_NOT_LA K_SIMILAR K_TO val K_ESCAPE val
        { NEED($$ = sql_op3(p, $1->pos, "SIMILAR TO", $1, $5, $7)); NEED($$ = sql_not_if(p, true, $$)); }
  | val K_IN query_wp { NEED($$ = sql_in_query(p, $1, $3)); }
  | val K_IN '(' exprs ')' { NEED($$ = sql_in(p, $1, $4)); }
  | val K_NOT_LA K_IN query_wp { NEED($$ = sql_in_query(p, $1, $4)); NEED($$ = sql_not_if(p, true, $$)); }
  | val K_NOT_LA K_IN '(' exprs ')' { NEED($$ = sql_in(p, $1, $5)); NEED($$ = sql_not_if(p, true, $$)); }
  | val K_OVERLAPS val { NEED($$ = sql_op2(p, $1->pos, "OVERLAPS", $1, $3)); }
  ;
compare: '=' { $$ = '='; } | NE { $$ = NE; } | '<' { $$ = '<'; } | LE { $$ = LE; } | '>' { $$ = '>'; } | GE { $$ = GE; } ;
all_some: K_ALL { $$ = true; } | K_ANY { $$ = false; } ;
between: K_BETWEEN sym_opt { $$.negate = false; $$.op = $<flag>2 ? "BETWEEN SYMMETRIC" : "BETWEEN"; }
  | K_NOT_LA K_BETWEEN sym_opt { $$.negate = true; $$.op = $<flag>3 ? "BETWEEN SYMMETRIC" : "BETWEEN"; } ;
sym_opt: %empty { $<flag>$ = false; } | K_ASYMMETRIC { $<flag>$ = false; } | K_SYMMETRIC { $<flag>$ = true; } ;
is_test: K_NULL { $$.op = "IS NULL"; $$.negate = false; } | K_NOT K_NULL { $$.op = "IS NOT NULL"; $$.negate = false; }
  | K_TRUE { $$.op = "IS TRUE"; $$.negate = false; } | K_NOT K_TRUE { $$.op = "IS NOT TRUE"; $$.negate = false; }
  | K_FALSE { $$.op = "IS FALSE"; $$.negate = false; } | K_NOT K_FALSE { $$.op = "IS NOT FALSE"; $$.negate = false; }
  | K_UNKNOWN { $$.op = "IS UNKNOWN"; $$.negate = false; } | K_NOT K_UNKNOWN { $$.op = "IS NOT UNKNOWN"; $$.negate = false; }
  | K_JSON json_kind { $$.op = $<str>2; $$.negate = false; } | K_NOT K_JSON json_kind { $$.op = $<str>3; $$.negate = true; } ;
json_kind: %empty { $<str>$ = "IS JSON VALUE"; } | K_VALUE_LA { $<str>$ = "IS JSON VALUE"; } | K_OBJECT { $<str>$ = "IS JSON OBJECT"; }
  | K_ARRAY { $<str>$ = "IS JSON ARRAY"; } | K_SCALAR { $<str>$ = "IS JSON SCALAR"; } ;

val: primary
  | val '+' val { NEED($$ = sql_op2(p, $1->pos, "+", $1, $3)); }
  | val '-' val { NEED($$ = sql_op2(p, $1->pos, "-", $1, $3)); }
  | val '*' val { NEED($$ = sql_op2(p, $1->pos, "*", $1, $3)); }
  | val '/' val { NEED($$ = sql_op2(p, $1->pos, "/", $1, $3)); }
  | val '%' val { NEED($$ = sql_op2(p, $1->pos, "%", $1, $3)); }
  | val CONCAT val { NEED($$ = sql_op2(p, $1->pos, "||", $1, $3)); }
  | val K_AT K_TIME K_ZONE val %prec K_AT { NEED($$ = sql_op2(p, $1->pos, "AT TIME ZONE", $1, $5)); }
  | '-' val %prec UMINUS { NEED($$ = sql_op1(p, POS(@1), "NEG", $2)); }
  | '+' val %prec UMINUS { $$ = $2; } ;

primary:
    literal
  | path { $$ = sql_expr(p, AST_COLUMN, $1.pos); $$->name = $1; }
  | subscripted
  | call
  | query_wp %prec UMINUS { NEED($$ = sql_query_expr(p, AST_SUBQUERY, POS(@1), $1)); }
  | '(' expr ')' { $$ = $2; }
  | '(' expr ')' unit_range { NEED($$ = sql_difference(p, $2, $4.from)); }
  | '(' expr ',' exprs ')' { NEED($$ = sql_row_of(p, POS(@1), $2, $4)); }
  | K_ROW '(' exprs ')' { NEED($$ = sql_op(p, POS(@1), "ROW", $3)); }
  | K_ROW '(' ')' { NEED($$ = sql_op(p, POS(@1), "ROW", (ast_exprs_t){0})); }
  | K_ARRAY '[' exprs ']' { NEED($$ = sql_op(p, POS(@1), "ARRAY", $3)); }
  | K_ARRAY '[' ']' { NEED($$ = sql_op(p, POS(@1), "ARRAY", (ast_exprs_t){0})); }
  | K_MAP '[' exprs ']' { NEED($$ = sql_map(p, POS(@1), $3)); }
  | K_MAP '[' ']' { NEED($$ = sql_op(p, POS(@1), "MAP", (ast_exprs_t){0})); }
  | K_MULTISET '[' exprs ']' { NEED($$ = sql_op(p, POS(@1), "MULTISET", $3)); }
  | K_ARRAY query_wp { NEED($$ = sql_query_expr(p, AST_COLLECT, POS(@1), $2)); $$->text = "ARRAY"; }
  | K_MAP query_wp { NEED($$ = sql_query_expr(p, AST_COLLECT, POS(@1), $2)); $$->text = "MAP"; }
  | K_MULTISET query_wp { NEED($$ = sql_query_expr(p, AST_COLLECT, POS(@1), $2)); $$->text = "MULTISET"; }
  | K_EXISTS query_wp { NEED($$ = sql_query_expr(p, AST_EXISTS, POS(@1), $2)); }
  | K_CASE case_base whens case_else K_END
        { $$ = sql_expr(p, AST_CASE, POS(@1)); $$->base = $2; $$->args = $3; $$->els = $4; NEED(sql_expr_done(p, $$)); }
  | K_CAST '(' expr K_AS type ')' { $$ = sql_expr(p, AST_CAST, POS(@1)); $$->base = $3; $$->type = $5.node; NEED(sql_expr_done(p, $$)); }
  | K_TRY_CAST '(' expr K_AS type ')'
        { $$ = sql_expr(p, AST_CAST, POS(@1)); $$->base = $3; $$->type = $5.node; $$->is_try = true; NEED(sql_expr_done(p, $$)); }
  | K_DEFAULT { $$ = sql_expr(p, AST_DEFAULT, POS(@1)); }
  | K_RUNNING call { NEED($$ = sql_op1(p, POS(@1), "RUNNING", $2)); }
  | K_FINAL call { NEED($$ = sql_op1(p, POS(@1), "FINAL", $2)); }
  ;
subscripted:
    primary '[' expr ']' { NEED($$ = sql_op2(p, $1->pos, "ITEM", $1, $3)); }
  | no_path '.' ident { NEED($$ = sql_op2(p, $<expr>1->pos, "FIELD", $<expr>1, sql_symbol(p, POS(@3), $3->text))); } ;
no_path: subscripted { $<expr>$ = $1; } | call { $<expr>$ = $1; } | '(' expr ')' { $<expr>$ = $2; }
  | query_wp { NEED($<expr>$ = sql_query_expr(p, AST_SUBQUERY, POS(@1), $1)); } ;
case_base: %empty { $$ = NULL; } | expr ;
case_else: %empty { $$ = NULL; } | K_ELSE expr { $$ = $2; } ;
whens: K_WHEN expr K_THEN expr { memset(&$$, 0, sizeof $$); ADD($$, $2); ADD($$, $4); }
  | whens K_WHEN expr K_THEN expr { $$ = $1; ADD($$, $3); ADD($$, $5); } ;

literal:
    INTEGER { $$ = sql_text(p, AST_INTEGER, POS(@1), $1); }
  | DECIMAL_LITERAL { $$ = sql_text(p, AST_DECIMAL, POS(@1), $1); }
  | FLOAT_LITERAL { $$ = sql_text(p, AST_FLOAT, POS(@1), $1); }
  | STRING { $$ = sql_text(p, AST_STRING, POS(@1), $1); }
  | USTRING { $$ = sql_text(p, AST_STRING, POS(@1), $1); }
  | BINARY_LITERAL { $$ = sql_text(p, AST_BINARY, POS(@1), $1); }
  | K_DATE STRING { $$ = sql_text(p, AST_DATE, POS(@1), $2); }
  | K_TIME STRING { $$ = sql_text(p, AST_TIME, POS(@1), $2); }
  | K_TIMESTAMP STRING { $$ = sql_text(p, AST_TIMESTAMP, POS(@1), $2); }
  | K_TIMESTAMP K_WITH_LA K_LOCAL K_TIME K_ZONE STRING { $$ = sql_text(p, AST_TIMESTAMP_LTZ, POS(@1), $6); }
  | interval
  | K_NULL { $$ = sql_expr(p, AST_NULL, POS(@1)); }
  | K_NULL_LA { $$ = sql_expr(p, AST_NULL, POS(@1)); }
  | K_TRUE { $$ = sql_expr(p, AST_BOOL, POS(@1)); $$->truth = 1; }
  | K_FALSE { $$ = sql_expr(p, AST_BOOL, POS(@1)); $$->truth = 0; }
  | K_UNKNOWN { $$ = sql_expr(p, AST_BOOL, POS(@1)); $$->truth = -1; } ;
interval:
    K_INTERVAL STRING unit_range { NEED($$ = sql_interval(p, POS(@1), $2, false, &$3)); }
  | K_INTERVAL '-' STRING unit_range { NEED($$ = sql_interval(p, POS(@1), $3, true, &$4)); }
  | K_INTERVAL '+' STRING unit_range { NEED($$ = sql_interval(p, POS(@1), $3, false, &$4)); } ;
unit_range:
    UNIT { NEED(sql_unit_range(p, &$$, $1, -1, NULL, -1, -1)); }
  | UNIT '(' int ')' { NEED(sql_unit_range(p, &$$, $1, $3, NULL, -1, -1)); }
  | UNIT '(' int ',' int ')' { NEED(sql_unit_range(p, &$$, $1, $3, NULL, -1, $5)); }
  | UNIT K_TO_LA UNIT { NEED(sql_unit_range(p, &$$, $1, -1, $3, -1, -1)); }
  | UNIT '(' int ')' K_TO_LA UNIT { NEED(sql_unit_range(p, &$$, $1, $3, $6, -1, -1)); }
  | UNIT K_TO_LA UNIT '(' int ')' { NEED(sql_unit_range(p, &$$, $1, -1, $3, $5, -1)); }
  | UNIT '(' int ')' K_TO_LA UNIT '(' int ')' { NEED(sql_unit_range(p, &$$, $1, $3, $6, $8, -1)); } ;

/* --- calls ------------------------------------------------------------------------------------------------------ */
call: special nulls_treat within_opt filter_opt over_opt { $$ = $1; NEED(sql_call_tail(p, $$, $2, $3, $4, $5)); } ;
special:
    path '(' ')' { NEED($$ = sql_call(p, $1.pos, $1, (ast_exprs_t){0})); }
  | path '(' '*' ')' { NEED($$ = sql_call(p, $1.pos, $1, (ast_exprs_t){0})); $$->call->star = true; }
  | path '(' args ')' { NEED($$ = sql_call(p, $1.pos, $1, $3)); }
  | path '(' args nulls_in ')' { NEED($$ = sql_call(p, $1.pos, $1, $3)); $$->call->nulls = $4; }
  | path '(' K_DISTINCT args nulls_in ')' { NEED($$ = sql_call(p, $1.pos, $1, $4)); $$->call->distinct = true; $$->call->nulls = $5; }
  | path '(' K_ALL args ')' { NEED($$ = sql_call(p, $1.pos, $1, $4)); }
  | path '(' K_DISTINCT args ')' { NEED($$ = sql_call(p, $1.pos, $1, $4)); $$->call->distinct = true; }
  | NILADIC { NEED($$ = sql_call_word(p, POS(@1), $1->text, (ast_exprs_t){0})); $$->call->bare = true; }
  | K_EXTRACT '(' UNIT K_FROM expr ')'
        { ast_exprs_t a = {0}; ADD(a, sql_symbol(p, POS(@3), $3->text)); ADD(a, $5); NEED($$ = sql_call_word(p, POS(@1), "EXTRACT", a)); }
  | K_FLOOR '(' expr ')' { ast_exprs_t a = {0}; ADD(a, $3); NEED($$ = sql_call_word(p, POS(@1), "FLOOR", a)); }
  | K_FLOOR '(' expr K_TO UNIT ')'
        { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, sql_symbol(p, POS(@5), $5->text)); NEED($$ = sql_call_word(p, POS(@1), "FLOOR", a)); }
  | K_CEIL '(' expr ')' { ast_exprs_t a = {0}; ADD(a, $3); NEED($$ = sql_call_word(p, POS(@1), "CEIL", a)); }
  | K_CEIL '(' expr K_TO UNIT ')'
        { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, sql_symbol(p, POS(@5), $5->text)); NEED($$ = sql_call_word(p, POS(@1), "CEIL", a)); }
  | K_SUBSTRING '(' exprs ')' { NEED($$ = sql_call_word(p, POS(@1), "SUBSTRING", $3)); }
  | K_SUBSTRING '(' expr K_FROM expr ')' { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, $5); NEED($$ = sql_call_word(p, POS(@1), "SUBSTRING", a)); }
  | K_SUBSTRING '(' expr K_FROM expr K_FOR expr ')'
        { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, $5); ADD(a, $7); NEED($$ = sql_call_word(p, POS(@1), "SUBSTRING", a)); }
  | K_POSITION '(' val K_IN val ')' { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, $5); NEED($$ = sql_call_word(p, POS(@1), "POSITION", a)); }
  | K_POSITION '(' val K_IN val K_FROM val ')'
        { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, $5); ADD(a, $7); NEED($$ = sql_call_word(p, POS(@1), "POSITION", a)); }
  | K_OVERLAY '(' expr K_PLACING expr K_FROM expr ')'
        { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, $5); ADD(a, $7); NEED($$ = sql_call_word(p, POS(@1), "OVERLAY", a)); }
  | K_OVERLAY '(' expr K_PLACING expr K_FROM expr K_FOR expr ')'
        { ast_exprs_t a = {0}; ADD(a, $3); ADD(a, $5); ADD(a, $7); ADD(a, $9); NEED($$ = sql_call_word(p, POS(@1), "OVERLAY", a)); }
  | K_TRIM '(' expr ')' { NEED($$ = sql_trim(p, POS(@1), 0, NULL, $3)); }
  | K_TRIM '(' expr K_FROM expr ')' { NEED($$ = sql_trim(p, POS(@1), 0, $3, $5)); }
  | K_TRIM '(' trim_where K_FROM expr ')' { NEED($$ = sql_trim(p, POS(@1), $3, NULL, $5)); }
  | K_TRIM '(' trim_where expr K_FROM expr ')' { NEED($$ = sql_trim(p, POS(@1), $3, $4, $6)); }
  | K_JSON_VALUE '(' expr ',' expr json_opts ')' { NEED($$ = sql_json_call(p, POS(@1), "JSON_VALUE", $3, $5, $6)); }
  | K_JSON_QUERY '(' expr ',' expr json_opts ')' { NEED($$ = sql_json_call(p, POS(@1), "JSON_QUERY", $3, $5, $6)); }
  | K_JSON_EXISTS '(' expr ',' expr json_opts ')' { NEED($$ = sql_json_call(p, POS(@1), "JSON_EXISTS", $3, $5, $6)); }
  | K_JSON_OBJECT '(' json_null ')' { NEED($$ = sql_json_make(p, POS(@1), "JSON_OBJECT", (ast_exprs_t){0}, $3)); }
  | K_JSON_OBJECT '(' json_pairs json_null ')' { NEED($$ = sql_json_make(p, POS(@1), "JSON_OBJECT", $3, $4)); }
  | K_JSON_OBJECTAGG '(' json_pair json_null ')' { NEED($$ = sql_json_make(p, POS(@1), "JSON_OBJECTAGG", $3, $4)); }
  | K_JSON_ARRAY '(' json_null ')' { NEED($$ = sql_json_make(p, POS(@1), "JSON_ARRAY", (ast_exprs_t){0}, $3)); }
  | K_JSON_ARRAY '(' exprs json_null ')' { NEED($$ = sql_json_make(p, POS(@1), "JSON_ARRAY", $3, $4)); }
  | K_JSON_ARRAYAGG '(' expr order_opt json_null ')'
        { ast_exprs_t a = {0}; ADD(a, $3); NEED($$ = sql_json_make(p, POS(@1), "JSON_ARRAYAGG", a, $5)); $$->call->within = $4; NEED(sql_expr_done(p, $$)); }
  ;
trim_where: K_BOTH { $$ = 0; } | K_LEADING { $$ = 1; } | K_TRAILING { $$ = 2; } ;
args: arg { memset(&$$, 0, sizeof $$); ADD($$, $1); } | args ',' arg { $$ = $1; ADD($$, $3); } ;
arg: expr
  | UNIT { $$ = sql_symbol(p, POS(@1), $1->text); }
  | table_arg { NEED($$ = sql_table_expr(p, POS(@1), $1)); }
  | DESCRIPTOR '(' exprs ')' { $$ = sql_expr(p, AST_DESCRIPTOR, POS(@1)); $$->args = $3; NEED(sql_expr_done(p, $$)); }
  | ident ARROW arg { $$ = sql_expr(p, AST_NAMED_ARG, POS(@1)); $$->text = $1->text; $$->base = $3; NEED(sql_expr_done(p, $$)); } ;
table_arg: K_TABLE path { $$ = sql_table(p, AST_TABLE_NAME, POS(@1)); $$->name = $2; }
  | K_TABLE query_wp { $$ = sql_table(p, AST_TABLE_QUERY, POS(@1)); $$->query = $2; NEED(sql_table_done(p, $$)); }
  | table_arg K_PARTITION K_BY val { $$ = $1; NEED(sql_table_partition(p, $$, $4)); }
  | table_arg K_ORDER K_BY val order_dir order_nulls { $$ = $1; NEED(sql_table_order(p, $$, $4, $5, $6)); } ;
nulls_in: K_RESPECT_LA K_NULLS { $$ = 1; } | K_IGNORE_LA K_NULLS { $$ = 2; } ;
nulls_treat: %empty { $$ = 0; } | K_RESPECT K_NULLS { $$ = 1; } | K_IGNORE K_NULLS { $$ = 2; } ;
within_opt: %empty { memset(&$$, 0, sizeof $$); } | K_WITHIN K_GROUP '(' order_by ')' { $$ = $4; } ;
filter_opt: %empty { $$ = NULL; } | K_FILTER '(' K_WHERE expr ')' { $$ = $4; } ;
over_opt: %empty { $$ = NULL; }
  | K_OVER id { $$ = ARENA_NEW(p->a, ast_window_t); $$->pos = $2.pos; $$->name = $2.text; $$->only_name = true; $$->to = AST_CURRENT_ROW; }
  | K_OVER window_spec { $$ = $2; } ;
json_pairs: json_pair | json_pairs ',' json_pair { $$ = $1; ADD($$, $3.item[0]); ADD($$, $3.item[1]); } ;
json_pair: expr K_VALUE expr { memset(&$$, 0, sizeof $$); ADD($$, $1); ADD($$, $3); }
  | K_KEY expr K_VALUE expr { memset(&$$, 0, sizeof $$); ADD($$, $2); ADD($$, $4); }
  | expr ':' expr { memset(&$$, 0, sizeof $$); ADD($$, $1); ADD($$, $3); } ;
json_null: %empty { $$ = 0; } | K_NULL_LA K_ON K_NULL { $$ = 1; } | K_ABSENT K_ON K_NULL { $$ = 2; } ;
json_opts: %empty { $$ = ARENA_NEW(p->a, ast_json_t); }
  | json_opts K_RETURNING type { $$ = $1; $$->returning = $3.node; }
  | json_opts json_wrap { $$ = $1; $$->wrapper = $2; }
  | json_opts json_behave K_ON K_EMPTY { $$ = $1; $$->on_empty = $2.on; $$->empty_default = $2.value; }
  | json_opts json_behave K_ON K_ERROR { $$ = $1; $$->on_error = $2.on; $$->error_default = $2.value; } ;
json_behave: K_ERROR { $$.on = AST_JSON_ERROR; $$.value = NULL; } | K_NULL_LA { $$.on = AST_JSON_NULL; $$.value = NULL; }
  | K_DEFAULT expr { $$.on = AST_JSON_DEFAULT; $$.value = $2; }
  | K_EMPTY K_ARRAY { $$.on = AST_JSON_EMPTY_ARRAY; $$.value = NULL; }
  | K_EMPTY K_OBJECT { $$.on = AST_JSON_EMPTY_OBJECT; $$.value = NULL; }
  | K_TRUE { $$.on = AST_JSON_TRUE; $$.value = NULL; } | K_FALSE { $$.on = AST_JSON_FALSE; $$.value = NULL; }
  | K_UNKNOWN { $$.on = AST_JSON_UNKNOWN; $$.value = NULL; } ;
json_wrap: K_WITHOUT array_opt K_WRAPPER { $$ = AST_JSON_WITHOUT; } | K_WITH json_wrap_kind array_opt K_WRAPPER { $$ = $2; } ;
json_wrap_kind: %empty { $$ = AST_JSON_UNCONDITIONAL; } | K_CONDITIONAL { $$ = AST_JSON_CONDITIONAL; }
  | K_UNCONDITIONAL { $$ = AST_JSON_UNCONDITIONAL; } ;
array_opt: %empty | K_ARRAY ;

/* --- types ------------------------------------------------------------------------------------------------------ */
type: type_base | type_base K_NOT K_NULL { $$ = sql_type_null(p, $1, false); } | type_base K_NULL { $$ = sql_type_null(p, $1, true); } ;
type_base:
    TYPE_NAME varying { NEED(sql_type_basic(p, POS(@1), $1->text, 0, NULL, &$$)); }
  | TYPE_NAME varying '(' int ')' { NEED(sql_type_basic(p, POS(@1), $1->text, 1, (int[]){$4, 0}, &$$)); }
  | TYPE_NAME varying '(' int ',' int ')' { NEED(sql_type_basic(p, POS(@1), $1->text, 2, (int[]){$4, $6}, &$$)); }
  | K_DOUBLE { NEED(sql_type_basic(p, POS(@1), "DOUBLE", 0, NULL, &$$)); }
  | K_DOUBLE K_PRECISION { NEED(sql_type_basic(p, POS(@1), "DOUBLE", 0, NULL, &$$)); }
  | K_DATE { NEED(sql_type_basic(p, POS(@1), "DATE", 0, NULL, &$$)); }
  | K_TIME type_zone { NEED(sql_type_time(p, POS(@1), false, -1, $<num>2, &$$)); }
  | K_TIME '(' int ')' type_zone { NEED(sql_type_time(p, POS(@1), false, $3, $<num>5, &$$)); }
  | K_TIMESTAMP type_zone { NEED(sql_type_time(p, POS(@1), true, -1, $<num>2, &$$)); }
  | K_TIMESTAMP '(' int ')' type_zone { NEED(sql_type_time(p, POS(@1), true, $3, $<num>5, &$$)); }
  | K_INTERVAL unit_range { NEED(sql_type_interval(p, POS(@1), &$2, &$$)); }
  | K_ARRAY '<' type '>' { NEED(sql_type_of(p, POS(@1), TYPE_ARRAY, $3, (sql_type_t){0}, &$$)); }
  | K_MULTISET '<' type '>' { NEED(sql_type_of(p, POS(@1), TYPE_MULTISET, $3, (sql_type_t){0}, &$$)); }
  | K_MAP '<' type ',' type '>' { NEED(sql_type_of(p, POS(@1), TYPE_MAP, $3, $5, &$$)); }
  | K_ROW '<' fields '>' { NEED(sql_type_row(p, POS(@1), $3, &$$)); }
  | K_ROW '<' '>' { NEED(sql_type_row(p, POS(@1), (sql_fields_t){0}, &$$)); }
  | K_ROW NE { NEED(sql_type_row(p, POS(@1), (sql_fields_t){0}, &$$)); }
  | K_ROW '(' fields ')' { NEED(sql_type_row(p, POS(@1), $3, &$$)); }
  | type_base K_ARRAY { NEED(sql_type_of(p, POS(@1), TYPE_ARRAY, $1, (sql_type_t){0}, &$$)); }
  | type_base K_MULTISET { NEED(sql_type_of(p, POS(@1), TYPE_MULTISET, $1, (sql_type_t){0}, &$$)); }
  | IDENT { sql_type_unknown(p, $1); YYABORT; }
  ;
varying: %empty | K_VARYING ;
type_zone: %empty { $<num>$ = 0; } | K_WITHOUT_LA K_TIME K_ZONE { $<num>$ = 0; } | K_WITH_LA K_TIME K_ZONE { $<num>$ = 2; }
  | K_WITH_LA K_LOCAL K_TIME K_ZONE { $<num>$ = 1; } ;
fields: id type comment_opt { memset(&$$, 0, sizeof $$); struct sql_field f = {$1, $2}; ADD($$, f); }
  | fields ',' id type comment_opt { $$ = $1; struct sql_field f = {$3, $4}; ADD($$, f); } ;
%%
static int sql_yylex(YYSTYPE *v, sql_loc_t *l, sql_parser_t *p) {
    const sql_token_t *t = &p->tok[p->at];
    if (p->at < p->n - 1) p->at++;
    *l = (sql_loc_t){t->pos.line, t->pos.col, t->begin, t->end};
    v->tok = t;
    return t->kind;
}

/* Reached only when the parser's stack is at its limit: syntax errors are reported by the function below. */
static void sql_yyerror(sql_loc_t *l, sql_parser_t *p, const char *what) {
    sql_fail(p, POS(*l), err_hint(err_new(ERR_LIMIT, "the statement is nested too deeply"), "split it with views"));
}

static int yyreport_syntax_error(const yypcontext_t *ctx, sql_parser_t *p) {
    yysymbol_kind_t kinds[YYNTOKENS];
    const char *names[YYNTOKENS];
    int n = yypcontext_expected_tokens(ctx, kinds, YYNTOKENS);
    if (n < 0) n = 0;
    for (int i = 0; i < n; i++) names[i] = yysymbol_name(kinds[i]);
    const sql_loc_t *at = yypcontext_location(ctx);
    const sql_token_t *t = &p->tok[p->n - 1];
    for (int i = p->at - 1; i >= 0 && i >= p->at - 2; i--)
        if (p->tok[i].begin == at->begin) t = &p->tok[i];
    sql_unexpected(p, t, names, n);
    return 0;
}
