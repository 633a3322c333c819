/* build.c: the parser's actions: expressions, tables and queries. */
#include "sql/parse_int.h"
#include "grammar.tab.h"
#include <stdlib.h>
#include <strings.h>

void sql_fail(sql_parser_t *p, ast_pos_t pos, err_t *e) {
    e = err_at(e, pos.line, pos.col);
    if (p->err) err_free(e);
    else p->err = e;
}

/* The array holds a power of two of slots: full exactly when the count is one. */
void *sql_list_add(arena_t *a, int *n, void *items, size_t size) {
    char *old;
    memcpy(&old, items, sizeof old);
    if ((*n & (*n - 1)) == 0) {
        char *more = arena_zalloc(a, size * (size_t)(*n ? *n * 2 : 1));
        if (*n) memcpy(more, old, size * (size_t)*n);
        memcpy(items, &more, sizeof more);
        old = more;
    }
    return old + size * (size_t)(*n)++;
}

/* --- depth ------------------------------------------------------------------------------------------------------ */

static bool deep(sql_parser_t *p, ast_pos_t pos, int *depth, int children) {
    *depth = children + 1;
    if (*depth <= AST_MAX_DEPTH) return true;
    sql_fail(p, pos, err_hint(err_new(ERR_LIMIT, "the statement is nested deeper than %d levels", AST_MAX_DEPTH),
                              "split it with views, or group the parts of a long chain with parentheses"));
    return false;
}
static int depth_of(const ast_expr_t *e) { return e ? e->depth : 0; }
static int depth_exprs(ast_exprs_t l) {
    int d = 0;
    for (int i = 0; i < l.n; i++) d = MAX(d, l.item[i]->depth);
    return d;
}
static int depth_orders(ast_orders_t l) {
    int d = 0;
    for (int i = 0; i < l.n; i++) d = MAX(d, l.item[i].expr->depth);
    return d;
}
static int depth_named(ast_named_exprs_t l) {
    int d = 0;
    for (int i = 0; i < l.n; i++) d = MAX(d, l.item[i].expr->depth);
    return d;
}
static int depth_window(const ast_window_t *w) {
    if (!w) return 0;
    int d = MAX(depth_exprs(w->partition), depth_orders(w->order));
    return MAX(d, MAX(depth_of(w->from_expr), depth_of(w->to_expr)));
}
static int depth_call(const ast_call_t *c) {
    int d = MAX(depth_orders(c->within), depth_of(c->filter));
    d = MAX(d, depth_window(c->over));
    if (c->json) d = MAX(d, MAX(depth_of(c->json->empty_default), depth_of(c->json->error_default)));
    return d;
}

ast_expr_t *sql_expr_done(sql_parser_t *p, ast_expr_t *e) {
    int d = MAX(depth_exprs(e->args), MAX(depth_of(e->base), depth_of(e->els)));
    switch (e->kind) {
    case AST_CALL: d = MAX(d, depth_call(e->call)); break;
    case AST_SUBQUERY:
    case AST_EXISTS:
    case AST_IN_QUERY:
    case AST_COLLECT: d = MAX(d, e->query->depth); break;
    case AST_QUANTIFIED: d = MAX(d, e->query ? e->query->depth : 0); break;
    case AST_TABLE_ARG: d = MAX(d, e->table->depth); break;
    default: break;
    }
    return deep(p, e->pos, &e->depth, d) ? e : NULL;
}

/* --- expressions ------------------------------------------------------------------------------------------------ */

ast_expr_t *sql_expr(sql_parser_t *p, ast_expr_kind_t kind, ast_pos_t pos) {
    ast_expr_t *e = ARENA_NEW(p->a, ast_expr_t);
    e->kind = kind;
    e->pos = pos;
    e->depth = 1;
    return e;
}

ast_expr_t *sql_text(sql_parser_t *p, ast_expr_kind_t kind, ast_pos_t pos, const sql_token_t *t) {
    ast_expr_t *e = sql_expr(p, kind, pos);
    e->text = t->text;
    e->text_len = t->text_len;
    return e;
}

ast_expr_t *sql_symbol(sql_parser_t *p, ast_pos_t pos, const char *text) {
    ast_expr_t *e = sql_expr(p, AST_SYMBOL, pos);
    e->text = text;
    return e;
}

ast_expr_t *sql_op(sql_parser_t *p, ast_pos_t pos, const char *name, ast_exprs_t args) {
    ast_expr_t *e = sql_expr(p, AST_OP, pos);
    e->text = name;
    e->args = args;
    return sql_expr_done(p, e);
}

ast_expr_t *sql_op1(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x) {
    ast_exprs_t args = {0};
    LIST_ADD(p, args, x);
    return sql_op(p, pos, name, args);
}

ast_expr_t *sql_op2(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x, ast_expr_t *y) {
    ast_exprs_t args = {0};
    LIST_ADD(p, args, x);
    LIST_ADD(p, args, y);
    return sql_op(p, pos, name, args);
}

ast_expr_t *sql_op3(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x, ast_expr_t *y, ast_expr_t *z) {
    ast_exprs_t args = {0};
    LIST_ADD(p, args, x);
    LIST_ADD(p, args, y);
    LIST_ADD(p, args, z);
    return sql_op(p, pos, name, args);
}

/* A chain of thousands of ORs (generated filters) stays one flat node. */
ast_expr_t *sql_logic(sql_parser_t *p, const char *name, ast_expr_t *x, ast_expr_t *y) {
    if (x->kind != AST_OP || strcmp(x->text, name) != 0) return sql_op2(p, x->pos, name, x, y);
    LIST_ADD(p, x->args, y);
    return deep(p, x->pos, &x->depth, MAX(x->depth - 1, y->depth)) ? x : NULL;
}

ast_expr_t *sql_not_if(sql_parser_t *p, bool negate, ast_expr_t *x) {
    return negate ? sql_op1(p, x->pos, "NOT", x) : x;
}

const char *sql_compare_name(int token) {
    switch (token) {
    case '=': return "=";
    case NE: return "<>";
    case '<': return "<";
    case LE: return "<=";
    case '>': return ">";
    default: return ">=";
    }
}

static bool is_row(const ast_expr_t *x) { return x->kind == AST_OP && strcmp(x->text, "ROW") == 0; }

ast_expr_t *sql_row(sql_parser_t *p, ast_expr_t *x) { return is_row(x) ? x : sql_op1(p, x->pos, "ROW", x); }

static ast_exprs_t prepend(sql_parser_t *p, ast_expr_t *first, ast_exprs_t rest) {
    ast_exprs_t all = {0};
    LIST_ADD(p, all, first);
    for (int i = 0; i < rest.n; i++) LIST_ADD(p, all, rest.item[i]);
    return all;
}

ast_expr_t *sql_row_of(sql_parser_t *p, ast_pos_t pos, ast_expr_t *first, ast_exprs_t rest) {
    return sql_op(p, pos, "ROW", prepend(p, first, rest));
}

ast_expr_t *sql_map(sql_parser_t *p, ast_pos_t pos, ast_exprs_t args) {
    if (args.n % 2 == 0) return sql_op(p, pos, "MAP", args);
    sql_fail(p, pos, err_hint(err_new(ERR_SYNTAX, "MAP has a key without a value"), "write MAP[key, value, key, value, ..]"));
    return NULL;
}

ast_expr_t *sql_difference(sql_parser_t *p, ast_expr_t *minus, ast_unit_t unit) {
    if (minus->kind != AST_OP || strcmp(minus->text, "-") != 0) {
        sql_fail(p, minus->pos, err_hint(err_new(ERR_SYNTAX, "a unit stands behind a difference only"), "write (a - b) %s", ast_unit_name(unit)));
        return NULL;
    }
    ast_exprs_t args = prepend(p, minus->args.item[0], (ast_exprs_t){.n = 1, .item = &minus->args.item[1]});
    ast_expr_t *symbol = sql_symbol(p, minus->pos, ast_unit_name(unit));
    return sql_op(p, minus->pos, "MINUS_DATE", prepend(p, symbol, args));
}

ast_expr_t *sql_in(sql_parser_t *p, ast_expr_t *x, ast_exprs_t list) { return sql_op(p, x->pos, "IN", prepend(p, x, list)); }

ast_expr_t *sql_query_expr(sql_parser_t *p, ast_expr_kind_t kind, ast_pos_t pos, ast_query_t *q) {
    ast_expr_t *e = sql_expr(p, kind, pos);
    e->query = q;
    return sql_expr_done(p, e);
}

ast_expr_t *sql_in_query(sql_parser_t *p, ast_expr_t *x, ast_query_t *q) {
    ast_expr_t *e = sql_expr(p, AST_IN_QUERY, x->pos);
    e->base = x;
    e->query = q;
    return sql_expr_done(p, e);
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

ast_expr_t *sql_call(sql_parser_t *p, ast_pos_t pos, ast_name_t name, ast_exprs_t args) {
    ast_expr_t *e = sql_expr(p, AST_CALL, pos);
    e->call = ARENA_NEW(p->a, ast_call_t);
    e->call->name = name;
    e->args = args;
    return sql_expr_done(p, e);
}

ast_expr_t *sql_call_word(sql_parser_t *p, ast_pos_t pos, const char *name, ast_exprs_t args) {
    ast_name_t n = {.pos = pos, .n = 1, .part = ARENA_ARRAY(p->a, const char *, 1)};
    char *upper = arena_strdup(p->a, name);
    for (char *c = upper; *c; c++)
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 32);
    n.part[0] = upper;
    return sql_call(p, pos, n, args);
}

bool sql_call_tail(sql_parser_t *p, ast_expr_t *e, int nulls, ast_orders_t within, ast_expr_t *filter, ast_window_t *over) {
    if (nulls) e->call->nulls = nulls;
    if (within.n) e->call->within = within;
    e->call->filter = filter;
    e->call->over = over;
    if (e->call->bare && (nulls || within.n || filter || over)) {
        sql_fail(p, e->pos, err_new(ERR_SYNTAX, "%s takes no FILTER, WITHIN GROUP or OVER", e->call->name.part[0]));
        return false;
    }
    return sql_expr_done(p, e) != NULL;
}

ast_expr_t *sql_trim(sql_parser_t *p, ast_pos_t pos, int where, ast_expr_t *what, ast_expr_t *x) {
    static const char *const name[] = {"BOTH", "LEADING", "TRAILING"};
    ast_exprs_t args = {0};
    LIST_ADD(p, args, sql_symbol(p, pos, name[where]));
    if (!what) {
        what = sql_expr(p, AST_STRING, pos);
        what->text = " ";
        what->text_len = 1;
    }
    LIST_ADD(p, args, what);
    LIST_ADD(p, args, x);
    return sql_call_word(p, pos, "TRIM", args);
}

static bool json_fits(const char *name, const ast_json_t *j) {
    bool value = strcmp(name, "JSON_VALUE") == 0, query = strcmp(name, "JSON_QUERY") == 0;
    const ast_json_on_t on[] = {j->on_empty, j->on_error};
    for (int i = 0; i < 2; i++) {
        bool ok = on[i] == AST_JSON_UNSET || on[i] == AST_JSON_ERROR;
        if (value) ok |= on[i] == AST_JSON_NULL || on[i] == AST_JSON_DEFAULT;
        else if (query) ok |= on[i] == AST_JSON_NULL || on[i] == AST_JSON_EMPTY_ARRAY || on[i] == AST_JSON_EMPTY_OBJECT;
        else ok |= i == 1 && (on[i] == AST_JSON_TRUE || on[i] == AST_JSON_FALSE || on[i] == AST_JSON_UNKNOWN);
        if (!ok || (!value && !query && i == 0 && on[i])) return false;
    }
    return (query || !j->wrapper) && (value || query || !j->returning);
}

ast_expr_t *sql_json_call(sql_parser_t *p, ast_pos_t pos, const char *name, ast_expr_t *x, ast_expr_t *path, ast_json_t *j) {
    if (!json_fits(name, j)) {
        sql_fail(p, pos, err_hint(err_new(ERR_SYNTAX, "%s has a clause it does not take", name),
                                  "JSON_VALUE: RETURNING, NULL|ERROR|DEFAULT x ON EMPTY|ERROR; JSON_QUERY: WITH|WITHOUT WRAPPER, "
                                  "NULL|ERROR|EMPTY ARRAY|EMPTY OBJECT ON EMPTY|ERROR; JSON_EXISTS: TRUE|FALSE|UNKNOWN|ERROR ON ERROR"));
        return NULL;
    }
    ast_exprs_t args = {0};
    LIST_ADD(p, args, x);
    LIST_ADD(p, args, path);
    ast_expr_t *e = sql_call_word(p, pos, name, args);
    if (e) e->call->json = j;
    return e ? sql_expr_done(p, e) : NULL;
}

ast_expr_t *sql_json_make(sql_parser_t *p, ast_pos_t pos, const char *name, ast_exprs_t args, int on_null) {
    ast_expr_t *e = sql_call_word(p, pos, name, args);
    if (!e) return NULL;
    e->call->json = ARENA_NEW(p->a, ast_json_t);
    e->call->json->on_null = on_null;
    return e;
}

/* --- tables ----------------------------------------------------------------------------------------------------- */

ast_table_t *sql_table(sql_parser_t *p, ast_table_kind_t kind, ast_pos_t pos) {
    ast_table_t *t = ARENA_NEW(p->a, ast_table_t);
    t->kind = kind;
    t->pos = pos;
    t->depth = 1;
    return t;
}

static int depth_match(const ast_match_t *m) {
    int d = MAX(depth_exprs(m->partition), depth_orders(m->order));
    d = MAX(d, MAX(depth_named(m->measures), depth_named(m->define)));
    return MAX(d, m->pattern->depth);
}

ast_table_t *sql_table_done(sql_parser_t *p, ast_table_t *t) {
    int d = MAX(depth_exprs(t->args), MAX(depth_exprs(t->partition), depth_orders(t->order)));
    d = MAX(d, MAX(depth_of(t->system_time), MAX(depth_of(t->call), depth_of(t->on))));
    if (t->query) d = MAX(d, t->query->depth);
    if (t->left) d = MAX(d, t->left->depth);
    if (t->right) d = MAX(d, t->right->depth);
    if (t->match) d = MAX(d, depth_match(t->match));
    return deep(p, t->pos, &t->depth, d) ? t : NULL;
}

ast_table_t *sql_join(sql_parser_t *p, ast_table_t *l, ast_pos_t pos, ast_join_t kind, bool natural, ast_table_t *r) {
    ast_table_t *t = sql_table(p, AST_TABLE_JOIN, l->pos);
    t->left = l;
    t->right = r;
    t->join_pos = pos;
    t->join = kind;
    t->natural = natural;
    return sql_table_done(p, t);
}

ast_expr_t *sql_table_expr(sql_parser_t *p, ast_pos_t pos, ast_table_t *t) {
    ast_expr_t *e = sql_expr(p, AST_TABLE_ARG, pos);
    e->table = t;
    return sql_expr_done(p, e);
}

bool sql_table_partition(sql_parser_t *p, ast_table_t *t, ast_expr_t *e) {
    if (is_row(e)) t->partition = e->args;
    else LIST_ADD(p, t->partition, e);
    return sql_table_done(p, t) != NULL;
}

bool sql_table_order(sql_parser_t *p, ast_table_t *t, ast_expr_t *e, int desc, int nulls) {
    ast_order_t o = {e, desc, nulls};
    LIST_ADD(p, t->order, o);
    return sql_table_done(p, t) != NULL;
}

ast_window_t *sql_window_frame(sql_parser_t *p, ast_exprs_t partition, ast_orders_t order, int unit, ast_bound_t from,
                               ast_expr_t *from_expr) {
    ast_window_t *w = ARENA_NEW(p->a, ast_window_t);
    *w = (ast_window_t){.partition = partition, .order = order, .frame = (ast_frame_t)unit, .from = from,
                        .from_expr = from_expr, .to = AST_CURRENT_ROW};
    return w;
}

/* --- patterns and groups ---------------------------------------------------------------------------------------- */

ast_pattern_t *sql_pattern(sql_parser_t *p, ast_pattern_kind_t kind, ast_pos_t pos) {
    ast_pattern_t *x = ARENA_NEW(p->a, ast_pattern_t);
    x->kind = kind;
    x->pos = pos;
    x->depth = 1;
    return x;
}

static void pattern_push(sql_parser_t *p, ast_pattern_t *into, ast_pattern_t *x) {
    struct {
        int n;
        ast_pattern_t **item;
    } list = {into->n, into->child};
    LIST_ADD(p, list, x);
    into->n = list.n;
    into->child = list.item;
}

/* Appends r to l when l is an open list of that kind, else makes one of both. */
ast_pattern_t *sql_pattern_add(sql_parser_t *p, ast_pattern_kind_t kind, ast_pattern_t *l, ast_pattern_t *r) {
    ast_pattern_t *x = l;
    if (l->kind != kind) {
        x = sql_pattern(p, kind, l->pos);
        pattern_push(p, x, l);
        x->depth = l->depth + 1;
    }
    pattern_push(p, x, r);
    return deep(p, x->pos, &x->depth, MAX(x->depth - 1, r->depth)) ? x : NULL;
}

/* (a b) c must not become one list of three while (a b) is read: a group of one keeps its own node. */
ast_pattern_t *sql_pattern_nest(sql_parser_t *p, ast_pattern_t *x) {
    if (x->kind != AST_PATTERN_CONCAT && x->kind != AST_PATTERN_ALT) return x;
    ast_pattern_t *q = sql_pattern(p, AST_PATTERN_QUANT, x->pos);
    pattern_push(p, q, x);
    q->min = q->max = 1;
    return deep(p, q->pos, &q->depth, x->depth) ? q : NULL;
}

ast_pattern_t *sql_pattern_quant(sql_parser_t *p, ast_pattern_t *x, int min, int max, bool reluctant) {
    bool group = x->kind == AST_PATTERN_QUANT && x->min == 1 && x->max == 1 && !x->reluctant
                 && (x->child[0]->kind == AST_PATTERN_CONCAT || x->child[0]->kind == AST_PATTERN_ALT);
    ast_pattern_t *q = sql_pattern(p, AST_PATTERN_QUANT, x->pos);
    ast_pattern_t *of = group ? x->child[0] : x;
    pattern_push(p, q, of);
    q->min = min;
    q->max = max;
    q->reluctant = reluctant;
    return deep(p, q->pos, &q->depth, of->depth) ? q : NULL;
}

bool sql_repeat_check(sql_parser_t *p, ast_pos_t pos, int min, int max) {
    if (min <= max) return true;
    sql_fail(p, pos, err_new(ERR_SYNTAX, "the quantifier {%d,%d} has its bounds in the wrong order", min, max));
    return false;
}

ast_group_t *sql_group(sql_parser_t *p, ast_group_kind_t kind, ast_pos_t pos) {
    ast_group_t *g = ARENA_NEW(p->a, ast_group_t);
    g->kind = kind;
    g->pos = pos;
    g->depth = 1;
    return g;
}

ast_group_t *sql_group_done(sql_parser_t *p, ast_group_t *g) {
    int d = depth_exprs(g->exprs);
    for (int i = 0; i < g->n; i++) d = MAX(d, g->element[i]->depth);
    return deep(p, g->pos, &g->depth, d) ? g : NULL;
}

ast_group_t *sql_group_expr(sql_parser_t *p, ast_expr_t *e) {
    ast_group_t *g = sql_group(p, AST_GROUP_EXPR, e->pos);
    if (is_row(e)) g->exprs = e->args;
    else LIST_ADD(p, g->exprs, e);
    return sql_group_done(p, g);
}

/* --- queries ---------------------------------------------------------------------------------------------------- */

ast_query_t *sql_query(sql_parser_t *p, ast_query_kind_t kind, ast_pos_t pos) {
    ast_query_t *q = ARENA_NEW(p->a, ast_query_t);
    q->kind = kind;
    q->pos = pos;
    q->depth = 1;
    return q;
}

static int depth_select(const ast_select_t *s) {
    int d = MAX(depth_named(s->items), depth_of(s->where));
    d = MAX(d, MAX(depth_of(s->having), depth_of(s->qualify)));
    if (s->from) d = MAX(d, s->from->depth);
    for (int i = 0; i < s->ngroup; i++) d = MAX(d, s->group[i]->depth);
    for (int i = 0; i < s->nwindow; i++) d = MAX(d, depth_window(s->window[i]));
    return d;
}

ast_query_t *sql_query_done(sql_parser_t *p, ast_query_t *q) {
    int d = MAX(depth_exprs(q->rows), depth_orders(q->order));
    d = MAX(d, MAX(depth_of(q->limit), depth_of(q->offset)));
    if (q->select) d = MAX(d, depth_select(q->select));
    if (q->left) d = MAX(d, q->left->depth);
    if (q->right) d = MAX(d, q->right->depth);
    for (int i = 0; i < q->ncte; i++) d = MAX(d, q->cte[i].query->depth);
    return deep(p, q->pos, &q->depth, d) ? q : NULL;
}

ast_query_t *sql_query_set(sql_parser_t *p, ast_pos_t pos, ast_query_kind_t kind, bool all, ast_query_t *l, ast_query_t *r) {
    ast_query_t *q = sql_query(p, kind, l->pos);
    q->all = all;
    q->left = l;
    q->right = r;
    q->set_pos = pos;
    return sql_query_done(p, q);
}

static ast_query_t *open_query(sql_parser_t *p, ast_query_t *q) {
    if (!q->ncte && !q->order.n && !q->limit && !q->offset) return q;
    ast_query_t *outer = sql_query(p, AST_QUERY_NESTED, q->pos);
    outer->left = q;
    return outer;
}

ast_query_t *sql_query_tail(sql_parser_t *p, ast_query_t *q, ast_orders_t order, ast_expr_t *limit, ast_expr_t *offset) {
    q = open_query(p, q);
    q->order = order;
    q->limit = limit;
    q->offset = offset;
    return sql_query_done(p, q);
}

/* WITH belongs outside of ORDER BY: only a WITH already there (a nested query's) needs a node around it. */
ast_query_t *sql_query_with(sql_parser_t *p, ast_pos_t pos, ast_query_t *q, int n, ast_cte_t *cte, bool recursive) {
    if (q->ncte) q = open_query(p, q);
    q->ncte = n;
    q->cte = cte;
    q->recursive = recursive;
    q->pos = pos;
    return sql_query_done(p, q);
}
