/* ast_print_stmt.c: canonical text of tables, queries and statements. */
#include "sql/ast_print.h"

static void print_opt(buf_t *o, const char *before, const ast_expr_t *e) {
    if (!e) return;
    buf_puts(o, before);
    ast_print_expr(o, e);
}
static void print_text(buf_t *o, const char *before, const char *s) {
    if (!s) return;
    buf_puts(o, before);
    print_string(o, s, strlen(s));
}
static void print_columns(buf_t *o, ast_idents_t l) {
    if (!l.n) return;
    buf_puts(o, " ");
    print_idents(o, l);
}

void print_order(buf_t *o, const ast_order_t *i) {
    ast_print_expr(o, i->expr);
    if (i->desc) buf_puts(o, " DESC");
    if (i->nulls) buf_puts(o, i->nulls == 1 ? " NULLS FIRST" : " NULLS LAST");
}
void print_orders(buf_t *o, ast_orders_t l) {
    for (int i = 0; i < l.n; i++) {
        if (i) buf_puts(o, ", ");
        print_order(o, &l.item[i]);
    }
}

/* --- windows and tables ------------------------------------------------------------------------------------------ */

static void print_bound(buf_t *o, ast_bound_t b, const ast_expr_t *e) {
    static const char *const names[] = {"UNBOUNDED PRECEDING", " PRECEDING", "CURRENT ROW", " FOLLOWING", "UNBOUNDED FOLLOWING"};
    if (e) print_value(o, e);
    buf_puts(o, names[b]);
}

static void print_partition(buf_t *o, const char **sep, ast_exprs_t by, ast_orders_t order) {
    if (by.n) {
        buf_printf(o, "%sPARTITION BY ", *sep);
        print_exprs(o, by, ", ");
        *sep = " ";
    }
    if (order.n) {
        buf_printf(o, "%sORDER BY ", *sep);
        print_orders(o, order);
        *sep = " ";
    }
}

static void print_window_as(buf_t *o, const ast_window_t *w, const char *base) {
    const char *sep = base ? " " : "";
    buf_puts(o, "(");
    if (base) ast_print_ident(o, base);
    print_partition(o, &sep, w->partition, w->order);
    if (w->frame) {
        buf_printf(o, "%s%s %s", sep, w->frame == AST_FRAME_ROWS ? "ROWS" : "RANGE", w->has_between ? "BETWEEN " : "");
        print_bound(o, w->from, w->from_expr);
        if (w->has_between) {
            buf_puts(o, " AND ");
            print_bound(o, w->to, w->to_expr);
        }
    }
    buf_puts(o, ")");
}
void print_window(buf_t *o, const ast_window_t *w) { print_window_as(o, w, w->name); }

static void print_options(buf_t *o, ast_options_t l) {
    buf_puts(o, "(");
    for (int i = 0; i < l.n; i++) {
        print_text(o, i ? ", " : "", l.item[i].key);
        print_text(o, " = ", l.item[i].value);
    }
    buf_puts(o, ")");
}

static void print_hints(buf_t *o, ast_hints_t l) {
    if (!l.n) return;
    buf_puts(o, " /*+ ");
    for (int i = 0; i < l.n; i++) {
        const ast_hint_t *h = &l.item[i];
        if (i) buf_puts(o, ", ");
        ast_print_ident(o, h->name);
        if (h->options.n) print_options(o, h->options);
        else if (h->args.n) print_idents(o, h->args);
    }
    buf_puts(o, " */");
}

static void print_pattern(buf_t *o, const ast_pattern_t *x);

static void print_children(buf_t *o, const ast_pattern_t *x, const char *sep) {
    for (int i = 0; i < x->n; i++) {
        if (i) buf_puts(o, sep);
        print_pattern(o, x->child[i]);
    }
}

static void print_quant(buf_t *o, const ast_pattern_t *x) {
    const ast_pattern_t *c = x->child[0];
    bool list = c->kind == AST_PATTERN_CONCAT || c->kind == AST_PATTERN_ALT;
    bool paren = list || (c->kind == AST_PATTERN_QUANT && c->child[0]->kind != AST_PATTERN_CONCAT);
    if (paren) buf_puts(o, "(");
    print_pattern(o, c);
    if (paren) buf_puts(o, ")");
    if (list && x->min == 1 && x->max == 1 && !x->reluctant) return;
    if (x->min == 0 && x->max == 1) buf_puts(o, "?");
    else if (x->max == -1 && x->min < 2) buf_puts(o, x->min ? "+" : "*");
    else if (x->max == -1) buf_printf(o, "{%d,}", x->min);
    else if (x->max == x->min) buf_printf(o, "{%d}", x->min);
    else buf_printf(o, "{%d,%d}", x->min, x->max);
    if (x->reluctant) buf_puts(o, "?");
}

static void print_pattern(buf_t *o, const ast_pattern_t *x) {
    switch (x->kind) {
    case AST_PATTERN_VAR: ast_print_ident(o, x->var); break;
    case AST_PATTERN_CONCAT: print_children(o, x, " "); break;
    case AST_PATTERN_ALT: print_children(o, x, " | "); break;
    case AST_PATTERN_QUANT: print_quant(o, x); break;
    case AST_PATTERN_EMPTY: buf_puts(o, "()"); break;
    case AST_PATTERN_PERMUTE:
    case AST_PATTERN_EXCLUDE:
        buf_puts(o, x->kind == AST_PATTERN_PERMUTE ? "PERMUTE(" : "{- ");
        print_children(o, x, ", ");
        buf_puts(o, x->kind == AST_PATTERN_PERMUTE ? ")" : " -}");
        break;
    }
}

static void print_skip(buf_t *o, const ast_match_t *m) {
    static const char *const names[] = {"", "PAST LAST ROW", "TO NEXT ROW", "TO FIRST ", "TO LAST "};
    if (!m->skip) return;
    buf_printf(o, " AFTER MATCH SKIP %s", names[m->skip]);
    if (m->skip_var.text) ast_print_ident(o, m->skip_var.text);
}

static void print_match(buf_t *o, const ast_match_t *m) {
    const char *sep = "";
    buf_puts(o, " MATCH_RECOGNIZE (");
    print_partition(o, &sep, m->partition, m->order);
    for (int i = 0; i < m->measures.n; i++) {
        buf_printf(o, "%s%s", i ? ", " : sep, i ? "" : "MEASURES ");
        ast_print_expr(o, m->measures.item[i].expr);
        buf_puts(o, " AS ");
        ast_print_ident(o, m->measures.item[i].alias);
        sep = " ";
    }
    if (m->rows) buf_printf(o, "%s%s", sep, m->rows == 1 ? "ONE ROW PER MATCH" : "ALL ROWS PER MATCH");
    print_skip(o, m);
    buf_puts(o, m->anchor_start ? " PATTERN (^ " : " PATTERN (");
    print_pattern(o, m->pattern);
    buf_puts(o, m->anchor_end ? " $)" : ")");
    print_opt(o, " WITHIN ", m->within);
    for (int i = 0; i < m->nsubset; i++) {
        buf_puts(o, i ? ", " : " SUBSET ");
        ast_print_ident(o, m->subset[i].name.text);
        buf_puts(o, " = ");
        print_idents(o, m->subset[i].vars);
    }
    for (int i = 0; i < m->define.n; i++) {
        buf_puts(o, i ? ", " : " DEFINE ");
        ast_print_ident(o, m->define.item[i].alias);
        print_opt(o, " AS ", m->define.item[i].expr);
    }
    buf_puts(o, ")");
}

/* The right side of a join binds tighter than any join. */
static void print_join(buf_t *o, const ast_table_t *t) {
    static const char *const names[] = {", ", " CROSS JOIN ", "JOIN ", "LEFT JOIN ", "RIGHT JOIN ", "FULL JOIN "};
    ast_print_table(o, t->left);
    if (t->join > AST_JOIN_CROSS) buf_puts(o, t->natural ? " NATURAL " : " ");
    buf_puts(o, names[t->join]);
    bool paren = t->right->kind == AST_TABLE_JOIN && t->join != AST_JOIN_COMMA;
    if (paren) buf_puts(o, "(");
    ast_print_table(o, t->right);
    if (paren) buf_puts(o, ")");
    print_opt(o, " ON ", t->on);
    if (!t->using_cols.n) return;
    buf_puts(o, " USING ");
    print_idents(o, t->using_cols);
}

void ast_print_table(buf_t *o, const ast_table_t *t) {
    if (t->lateral) buf_puts(o, "LATERAL ");
    switch (t->kind) {
    case AST_TABLE_NAME:
        ast_print_name(o, &t->name);
        print_hints(o, t->hints);
        print_opt(o, " FOR SYSTEM_TIME AS OF ", t->system_time);
        break;
    case AST_TABLE_QUERY:
        buf_puts(o, "(");
        ast_print_query(o, t->query);
        buf_puts(o, ")");
        break;
    case AST_TABLE_CALL:
        buf_puts(o, t->wrapped ? "TABLE(" : "");
        ast_print_expr(o, t->call);
        buf_puts(o, t->wrapped ? ")" : "");
        break;
    case AST_TABLE_UNNEST:
        buf_puts(o, "UNNEST(");
        print_exprs(o, t->args, ", ");
        buf_puts(o, t->ordinality ? ") WITH ORDINALITY" : ")");
        break;
    case AST_TABLE_JOIN: print_join(o, t); break;
    case AST_TABLE_MATCH: {
        bool paren = t->left->kind == AST_TABLE_JOIN;
        if (paren) buf_puts(o, "(");
        ast_print_table(o, t->left);
        if (paren) buf_puts(o, ")");
        print_match(o, t->match);
        break;
    }
    }
    if (!t->alias.text) return;
    buf_puts(o, " AS ");
    ast_print_ident(o, t->alias.text);
    print_columns(o, t->columns);
}

/* --- queries ----------------------------------------------------------------------------------------------------- */

static void print_named(buf_t *o, const ast_named_exprs_t *l) {
    for (int i = 0; i < l->n; i++) {
        if (i) buf_puts(o, ", ");
        ast_print_expr(o, l->item[i].expr);
        if (!l->item[i].alias) continue;
        buf_puts(o, " AS ");
        ast_print_ident(o, l->item[i].alias);
    }
}

static void print_groups(buf_t *o, ast_group_t *const *g, int n) {
    static const char *const names[] = {"", "GROUPING SETS (", "ROLLUP (", "CUBE ("};
    for (int i = 0; i < n; i++) {
        if (i) buf_puts(o, ", ");
        bool paren = g[i]->kind != AST_GROUP_EXPR || g[i]->exprs.n != 1;
        buf_puts(o, g[i]->kind ? names[g[i]->kind] : paren ? "(" : "");
        if (g[i]->kind) print_groups(o, g[i]->element, g[i]->n);
        else print_exprs(o, g[i]->exprs, ", ");
        if (paren) buf_puts(o, ")");
    }
}

static void print_select(buf_t *o, const ast_select_t *s) {
    buf_puts(o, "SELECT");
    print_hints(o, s->hints);
    buf_puts(o, s->distinct ? " DISTINCT " : " ");
    print_named(o, &s->items);
    if (s->from) {
        buf_puts(o, " FROM ");
        ast_print_table(o, s->from);
    }
    print_opt(o, " WHERE ", s->where);
    if (s->has_group) {
        buf_puts(o, s->group_distinct ? " GROUP BY DISTINCT " : " GROUP BY ");
        print_groups(o, s->group, s->ngroup);
    }
    print_opt(o, " HAVING ", s->having);
    for (int i = 0; i < s->nwindow; i++) {
        buf_puts(o, i ? ", " : " WINDOW ");
        ast_print_ident(o, s->window[i]->name);
        buf_puts(o, " AS ");
        print_window_as(o, s->window[i], s->window[i]->base);
    }
    print_opt(o, " QUALIFY ", s->qualify);
}

static int set_level(const ast_query_t *q) {
    if (q->ncte || q->order.n || q->limit || q->offset) return 0;
    if (q->kind == AST_QUERY_UNION || q->kind == AST_QUERY_EXCEPT) return 1;
    return q->kind == AST_QUERY_INTERSECT ? 2 : 3;
}

static void print_operand(buf_t *o, const ast_query_t *q, int min) {
    bool paren = set_level(q) < min;
    if (paren) buf_puts(o, "(");
    ast_print_query(o, q);
    if (paren) buf_puts(o, ")");
}

static void print_set(buf_t *o, const ast_query_t *q) {
    const char *word = q->kind == AST_QUERY_UNION ? "UNION" : q->kind == AST_QUERY_EXCEPT ? "EXCEPT" : "INTERSECT";
    int level = q->kind == AST_QUERY_INTERSECT ? 2 : 1;
    print_operand(o, q->left, level);
    buf_printf(o, " %s%s ", word, q->all ? " ALL" : "");
    print_operand(o, q->right, level + 1);
}

static void print_values(buf_t *o, const ast_query_t *q) {
    for (int i = 0; i < q->rows.n; i++) {
        const ast_expr_t *row = q->rows.item[i];
        buf_puts(o, i ? ", " : "VALUES ");
        if (row->args.n > 1) buf_puts(o, "(");
        if (row->args.n > 1) print_exprs(o, row->args, ", ");
        else ast_print_expr(o, row);
        if (row->args.n > 1) buf_puts(o, ")");
    }
}

static void print_ctes(buf_t *o, const ast_query_t *q) {
    for (int i = 0; i < q->ncte; i++) {
        buf_puts(o, i ? ", " : q->recursive ? "WITH RECURSIVE " : "WITH ");
        ast_print_ident(o, q->cte[i].name.text);
        print_columns(o, q->cte[i].columns);
        buf_puts(o, " AS (");
        ast_print_query(o, q->cte[i].query);
        buf_puts(o, ")");
    }
    if (q->ncte) buf_puts(o, " ");
}

void ast_print_query(buf_t *o, const ast_query_t *q) {
    print_ctes(o, q);
    switch (q->kind) {
    case AST_QUERY_SELECT: print_select(o, q->select); break;
    case AST_QUERY_VALUES: print_values(o, q); break;
    case AST_QUERY_TABLE:
        buf_puts(o, "TABLE ");
        ast_print_name(o, &q->name);
        break;
    case AST_QUERY_NESTED:
        buf_puts(o, "(");
        ast_print_query(o, q->left);
        buf_puts(o, ")");
        break;
    default: print_set(o, q); break;
    }
    if (q->order.n) {
        buf_puts(o, " ORDER BY ");
        print_orders(o, q->order);
    }
    print_opt(o, " LIMIT ", q->limit);
    print_opt(o, " OFFSET ", q->offset);
}

/* --- statements -------------------------------------------------------------------------------------------------- */

static void print_column(buf_t *o, const ast_column_t *c) {
    ast_print_ident(o, c->name.text);
    if (c->type) {
        buf_puts(o, " ");
        ast_print_type(o, c->type->type);
    }
    print_opt(o, " AS ", c->expr);
    if (c->kind == AST_COLUMN_METADATA) {
        buf_puts(o, " METADATA");
        print_text(o, " FROM ", c->metadata_key);
        if (c->is_virtual) buf_puts(o, " VIRTUAL");
    }
    if (c->unique) buf_puts(o, " UNIQUE");
    print_text(o, " COMMENT ", c->comment);
}

static void print_elements(buf_t *o, const ast_create_table_t *c) {
    const char *sep = " (";
    for (int i = 0; i < c->ncol; i++, sep = ", ") {
        buf_puts(o, sep);
        print_column(o, &c->col[i]);
    }
    for (int i = 0; i < c->nwatermark; i++, sep = ", ") {
        buf_printf(o, "%sWATERMARK FOR ", sep);
        ast_print_name(o, &c->watermark[i].column);
        print_opt(o, " AS ", c->watermark[i].expr);
    }
    if (c->primary_key_pos.line) {
        buf_puts(o, sep);
        if (c->primary_key_name) {
            buf_puts(o, "CONSTRAINT ");
            ast_print_ident(o, c->primary_key_name);
            buf_puts(o, " ");
        }
        buf_puts(o, "PRIMARY KEY ");
        print_idents(o, c->primary_key);
        if (c->not_enforced) buf_puts(o, " NOT ENFORCED");
        sep = ", ";
    }
    if (sep[0] == ',') buf_puts(o, ")");
}

static void print_create_table(buf_t *o, const ast_create_table_t *c) {
    buf_printf(o, "CREATE %sTABLE %s", c->temporary ? "TEMPORARY " : "", c->if_not_exists ? "IF NOT EXISTS " : "");
    ast_print_name(o, &c->name);
    print_elements(o, c);
    print_text(o, " COMMENT ", c->comment);
    if (c->partitioned.n) {
        buf_puts(o, " PARTITIONED BY ");
        print_idents(o, c->partitioned);
    }
    if (c->options.n) {
        buf_puts(o, " WITH ");
        print_options(o, c->options);
    }
    if (c->like.n) {
        buf_puts(o, " LIKE ");
        ast_print_name(o, &c->like);
        for (int i = 0; i < c->nlike_option; i++) {
            const ast_like_option_t *l = &c->like_option[i];
            buf_printf(o, "%s%s %s", i ? " " : " (", l->including ? "INCLUDING" : l->overwriting ? "OVERWRITING" : "EXCLUDING", l->what);
        }
        if (c->nlike_option) buf_puts(o, ")");
    }
    if (!c->query) return;
    buf_puts(o, " AS ");
    ast_print_query(o, c->query);
}

static void print_create_view(buf_t *o, const ast_create_view_t *v) {
    buf_printf(o, "CREATE %s%sVIEW %s", v->or_replace ? "OR REPLACE " : "", v->temporary ? "TEMPORARY " : "",
               v->if_not_exists ? "IF NOT EXISTS " : "");
    ast_print_name(o, &v->name);
    print_columns(o, v->columns);
    print_text(o, " COMMENT ", v->comment);
    buf_puts(o, " AS ");
    ast_print_query(o, v->query);
}

static void print_drop(buf_t *o, const ast_drop_t *d, const char *what) {
    buf_printf(o, "DROP %s%s %s", d->temporary ? "TEMPORARY " : "", what, d->if_exists ? "IF EXISTS " : "");
    ast_print_name(o, &d->name);
}

static void print_insert(buf_t *o, const ast_insert_t *s) {
    buf_puts(o, s->overwrite ? "INSERT OVERWRITE " : "INSERT INTO ");
    ast_print_name(o, &s->name);
    print_hints(o, s->hints);
    if (s->partition.n) {
        buf_puts(o, " PARTITION ");
        print_options(o, s->partition);
    }
    print_columns(o, s->columns);
    buf_puts(o, " ");
    ast_print_query(o, s->query);
}

void ast_print_stmt(buf_t *o, const ast_stmt_t *s) {
    switch (s->kind) {
    case AST_CREATE_TABLE: print_create_table(o, s->create_table); break;
    case AST_CREATE_VIEW: print_create_view(o, s->create_view); break;
    case AST_DROP_TABLE: print_drop(o, s->drop, "TABLE"); break;
    case AST_DROP_VIEW: print_drop(o, s->drop, "VIEW"); break;
    case AST_INSERT: print_insert(o, s->insert); break;
    case AST_SELECT: ast_print_query(o, s->query); break;
    case AST_STATEMENT_SET:
        buf_puts(o, "EXECUTE STATEMENT SET BEGIN ");
        for (int i = 0; i < s->list.n; i++) {
            ast_print_stmt(o, s->list.item[i]);
            buf_puts(o, "; ");
        }
        buf_puts(o, "END");
        break;
    case AST_SET:
        buf_puts(o, "SET");
        print_text(o, " ", s->option.key);
        print_text(o, " = ", s->option.value);
        break;
    case AST_RESET:
        buf_puts(o, "RESET");
        print_text(o, " ", s->option.key);
        break;
    case AST_EXPLAIN:
        buf_puts(o, "EXPLAIN ");
        for (int i = 0; i < s->explain.details.n; i++) {
            if (i) buf_puts(o, ", ");
            ast_print_ident(o, s->explain.details.item[i].text);
        }
        if (s->explain.details.n) buf_puts(o, " ");
        /* EXPLAIN takes STATEMENT SET without EXECUTE */
        if (s->explain.inner->kind == AST_STATEMENT_SET) {
            buf_t inner = buf_make(BUF_MAX_DEFAULT);
            ast_print_stmt(&inner, s->explain.inner);
            buf_puts(o, buf_cstr(&inner) + strlen("EXECUTE "));
            buf_free(&inner);
        } else ast_print_stmt(o, s->explain.inner);
        break;
    case AST_OTHER: buf_puts(o, s->what); break;
    }
}

void ast_print_script(buf_t *o, const sql_script_t *s) {
    for (int i = 0; i < s->n; i++) {
        ast_print_stmt(o, s->stmt[i]);
        buf_puts(o, ";\n");
    }
}
