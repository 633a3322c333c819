/* ast_print.c: canonical text of expressions and types. Parentheses follow the grammar's precedences. */
#include "sql/ast_print.h"
#include "sql/parse_int.h"

enum { P_OR = 1, P_AND, P_NOT, P_IS, P_CMP, P_PRED, P_ADD, P_MUL, P_AT, P_NEG, P_PRIMARY };

void ast_print_ident(buf_t *o, const char *s) {
    bool plain = (s[0] >= 'a' && s[0] <= 'z') || (s[0] >= 'A' && s[0] <= 'Z') || s[0] == '_';
    for (const char *c = s; *c && plain; c++)
        plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_';
    if (plain && !sql_is_keyword(s)) {
        buf_puts(o, s);
        return;
    }
    buf_puts(o, "`");
    for (; *s; s++) buf_put(o, *s == '`' ? "``" : s, *s == '`' ? 2 : 1);
    buf_puts(o, "`");
}

void ast_print_name(buf_t *o, const ast_name_t *n) {
    for (int i = 0; i < n->n; i++) {
        if (i) buf_puts(o, ".");
        ast_print_ident(o, n->part[i]);
    }
}

void print_string(buf_t *o, const char *s, size_t n) {
    buf_puts(o, "'");
    for (size_t i = 0; i < n; i++) buf_put(o, s[i] == '\'' ? "''" : s + i, s[i] == '\'' ? 2 : 1);
    buf_puts(o, "'");
}

void print_idents(buf_t *o, ast_idents_t l) {
    buf_puts(o, "(");
    for (int i = 0; i < l.n; i++) {
        if (i) buf_puts(o, ", ");
        ast_print_ident(o, l.item[i].text);
    }
    buf_puts(o, ")");
}

/* --- types ------------------------------------------------------------------------------------------------------ */

static void print_row_type(buf_t *o, const type_t *t) {
    buf_puts(o, "ROW<");
    for (int i = 0; i < t->nchild; i++) {
        if (i) buf_puts(o, ", ");
        ast_print_ident(o, t->names[i]);
        buf_puts(o, " ");
        ast_print_type(o, t->child[i]);
    }
    buf_puts(o, ">");
}

static void print_wrapped(buf_t *o, const char *name, const type_t *t) {
    buf_printf(o, "%s<", name);
    for (int i = 0; i < t->nchild; i++) {
        if (i) buf_puts(o, ", ");
        ast_print_type(o, t->child[i]);
    }
    buf_puts(o, ">");
}

void ast_print_type(buf_t *o, const type_t *t) {
    static const char *const plain[TYPE_KINDS] = {
        [TYPE_NULL] = "NULL", [TYPE_BOOLEAN] = "BOOLEAN", [TYPE_TINYINT] = "TINYINT", [TYPE_SMALLINT] = "SMALLINT",
        [TYPE_INT] = "INT", [TYPE_BIGINT] = "BIGINT", [TYPE_FLOAT] = "FLOAT", [TYPE_DOUBLE] = "DOUBLE", [TYPE_DATE] = "DATE",
        [TYPE_INTERVAL_MONTH] = "INTERVAL YEAR TO MONTH", [TYPE_INTERVAL_SECOND] = "INTERVAL DAY TO SECOND",
        [TYPE_CHAR] = "CHAR", [TYPE_VARCHAR] = "VARCHAR", [TYPE_BINARY] = "BINARY", [TYPE_VARBINARY] = "VARBINARY",
        [TYPE_TIME] = "TIME", [TYPE_TIMESTAMP] = "TIMESTAMP", [TYPE_TIMESTAMP_LTZ] = "TIMESTAMP_LTZ", [TYPE_SYMBOL] = "SYMBOL"};
    switch (t->kind) {
    case TYPE_DECIMAL: buf_printf(o, "DECIMAL(%d, %d)", t->precision, t->scale); break;
    case TYPE_ARRAY: print_wrapped(o, "ARRAY", t); break;
    case TYPE_MAP: print_wrapped(o, "MAP", t); break;
    case TYPE_MULTISET: print_wrapped(o, "MULTISET", t); break;
    case TYPE_ROW: print_row_type(o, t); break;
    case TYPE_VARCHAR:
    case TYPE_VARBINARY:
        if (t->precision == TYPE_LEN_MAX) {
            buf_puts(o, t->kind == TYPE_VARCHAR ? "STRING" : "BYTES");
            break;
        } /* fall through */
    case TYPE_CHAR:
    case TYPE_BINARY:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: buf_printf(o, "%s(%d)", plain[t->kind], t->precision); break;
    default: buf_puts(o, plain[t->kind]); break;
    }
    if (!t->nullable) buf_puts(o, " NOT NULL");
}

/* --- operators --------------------------------------------------------------------------------------------------- */

typedef struct op_info {
    const char *name;
    int level, left, right; /* of the operands; right 0: postfix */
} op_info_t;
static const op_info_t ops[] = {
    {"OR", P_OR, P_OR, P_AND}, {"AND", P_AND, P_AND, P_NOT}, {"=", P_CMP, P_CMP, P_PRED}, {"<>", P_CMP, P_CMP, P_PRED},
    {"<", P_CMP, P_CMP, P_PRED}, {"<=", P_CMP, P_CMP, P_PRED}, {">", P_CMP, P_CMP, P_PRED}, {">=", P_CMP, P_CMP, P_PRED},
    {"IS DISTINCT FROM", P_IS, P_IS, P_CMP}, {"IS NOT DISTINCT FROM", P_IS, P_IS, P_CMP},
    {"IS NULL", P_IS, P_IS, 0}, {"IS NOT NULL", P_IS, P_IS, 0}, {"IS TRUE", P_IS, P_IS, 0}, {"IS NOT TRUE", P_IS, P_IS, 0},
    {"IS FALSE", P_IS, P_IS, 0}, {"IS NOT FALSE", P_IS, P_IS, 0}, {"IS UNKNOWN", P_IS, P_IS, 0},
    {"IS NOT UNKNOWN", P_IS, P_IS, 0}, {"IS JSON VALUE", P_IS, P_IS, 0}, {"IS JSON OBJECT", P_IS, P_IS, 0},
    {"IS JSON ARRAY", P_IS, P_IS, 0}, {"IS JSON SCALAR", P_IS, P_IS, 0}, {"LIKE", P_PRED, P_ADD, P_ADD},
    {"SIMILAR TO", P_PRED, P_ADD, P_ADD}, {"OVERLAPS", P_PRED, P_ADD, P_ADD}, {"BETWEEN", P_PRED, P_ADD, P_ADD},
    {"BETWEEN SYMMETRIC", P_PRED, P_ADD, P_ADD}, {"IN", P_PRED, P_ADD, P_ADD}, {"+", P_ADD, P_ADD, P_MUL},
    {"-", P_ADD, P_ADD, P_MUL}, {"*", P_MUL, P_MUL, P_AT}, {"/", P_MUL, P_MUL, P_AT}, {"%", P_MUL, P_MUL, P_AT},
    {"||", P_MUL, P_MUL, P_AT}, {"AT TIME ZONE", P_AT, P_AT, P_NEG}};

static const op_info_t *op_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, name) == 0) return &ops[i];
    return NULL;
}
static bool is_op(const ast_expr_t *e, const char *name) { return e->kind == AST_OP && strcmp(e->text, name) == 0; }

/* NOT over these is written inside: x NOT LIKE y. */
static bool negated_inside(const ast_expr_t *e) {
    if (e->kind == AST_IN_QUERY) return true;
    if (e->kind != AST_OP) return false;
    return strcmp(e->text, "LIKE") == 0 || strcmp(e->text, "SIMILAR TO") == 0 || strcmp(e->text, "IN") == 0
           || strncmp(e->text, "BETWEEN", 7) == 0 || strncmp(e->text, "IS JSON", 7) == 0;
}

static int level(const ast_expr_t *e) {
    if (e->kind == AST_IN_QUERY) return P_PRED;
    if (e->kind == AST_QUANTIFIED) return P_CMP;
    if (e->kind != AST_OP) return P_PRIMARY;
    if (strcmp(e->text, "NOT") == 0) return negated_inside(e->args.item[0]) ? level(e->args.item[0]) : P_NOT;
    if (strcmp(e->text, "NEG") == 0) return P_NEG;
    const op_info_t *i = op_find(e->text);
    return i ? i->level : P_PRIMARY;
}

static void print_at(buf_t *o, const ast_expr_t *e, int min) {
    bool paren = level(e) < min;
    if (paren) buf_puts(o, "(");
    ast_print_expr(o, e);
    if (paren) buf_puts(o, ")");
}
void print_value(buf_t *o, const ast_expr_t *e) { print_at(o, e, P_ADD); }

static void print_predicate(buf_t *o, const ast_expr_t *e, const op_info_t *i, const char *not) {
    ast_expr_t **x = e->args.item;
    print_at(o, x[0], i->left);
    if (i->right == 0) {
        buf_printf(o, " IS %s%s", not, e->text + 3);
        return;
    }
    buf_printf(o, " %s%s ", not, e->text);
    if (strcmp(e->text, "IN") == 0) {
        buf_puts(o, "(");
        print_exprs(o, (ast_exprs_t){e->args.n - 1, x + 1}, ", ");
        buf_puts(o, ")");
        return;
    }
    print_at(o, x[1], i->right);
    if (e->args.n < 3) return;
    buf_puts(o, strncmp(e->text, "BETWEEN", 7) == 0 ? " AND " : " ESCAPE ");
    print_at(o, x[2], P_ADD);
}

static void print_bracketed(buf_t *o, const char *name, const char *open, ast_exprs_t args, const char *close) {
    buf_printf(o, "%s%s", name, open);
    print_exprs(o, args, ", ");
    buf_puts(o, close);
}

static void print_in_query(buf_t *o, const ast_expr_t *e, const char *not) {
    print_at(o, e->base, P_ADD);
    buf_printf(o, " %sIN (", not);
    ast_print_query(o, e->query);
    buf_puts(o, ")");
}

static void print_field(buf_t *o, const ast_expr_t *e) {
    const ast_expr_t *x = e->args.item[0];
    bool bare = x->kind == AST_CALL || x->kind == AST_SUBQUERY || is_op(x, "ITEM") || is_op(x, "FIELD");
    if (!bare) buf_puts(o, "(");
    ast_print_expr(o, x);
    buf_puts(o, bare ? "." : ").");
    ast_print_ident(o, e->args.item[1]->text);
}

static void print_not(buf_t *o, const ast_expr_t *x) {
    if (x->kind == AST_IN_QUERY) print_in_query(o, x, "NOT ");
    else if (negated_inside(x)) print_predicate(o, x, op_find(x->text), "NOT ");
    else {
        buf_puts(o, "NOT ");
        print_at(o, x, P_NOT);
    }
}

static void print_op(buf_t *o, const ast_expr_t *e) {
    ast_expr_t **x = e->args.item;
    const char *op = e->text;
    const op_info_t *i = op_find(op);
    if (strcmp(op, "NOT") == 0) print_not(o, x[0]);
    else if (strcmp(op, "NEG") == 0) {
        buf_puts(o, "-");
        print_at(o, x[0], P_PRIMARY);
    } else if (strcmp(op, "ROW") == 0) print_bracketed(o, op, "(", e->args, ")");
    else if (strcmp(op, "ARRAY") == 0 || strcmp(op, "MAP") == 0 || strcmp(op, "MULTISET") == 0)
        print_bracketed(o, op, "[", e->args, "]");
    else if (strcmp(op, "ITEM") == 0) {
        print_at(o, x[0], P_PRIMARY);
        print_bracketed(o, "", "[", (ast_exprs_t){1, x + 1}, "]");
    } else if (strcmp(op, "MINUS_DATE") == 0) {
        buf_puts(o, "(");
        print_at(o, x[1], P_ADD);
        buf_puts(o, " - ");
        print_at(o, x[2], P_MUL);
        buf_printf(o, ") %s", x[0]->text);
    } else if (strcmp(op, "FIELD") == 0) print_field(o, e);
    else if (strcmp(op, "FINAL") == 0 || strcmp(op, "RUNNING") == 0) {
        buf_printf(o, "%s ", op);
        ast_print_expr(o, x[0]);
    } else if (i->level == P_PRED || i->right == 0) print_predicate(o, e, i, "");
    else
        for (int k = 0; k < e->args.n; k++) {
            if (k) buf_printf(o, " %s ", op);
            print_at(o, x[k], k ? i->right : i->left);
        }
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static void print_json_on(buf_t *o, ast_json_on_t on, const ast_expr_t *def, const char *when) {
    static const char *const names[] = {"", "ERROR", "NULL", "DEFAULT ", "EMPTY ARRAY", "EMPTY OBJECT", "TRUE", "FALSE", "UNKNOWN"};
    if (on == AST_JSON_UNSET) return;
    buf_printf(o, " %s", names[on]);
    if (on == AST_JSON_DEFAULT) ast_print_expr(o, def);
    buf_printf(o, " ON %s", when);
}

static void print_json_tail(buf_t *o, const ast_json_t *j, bool first) {
    static const char *const wrap[] = {"", " WITHOUT WRAPPER", " WITH CONDITIONAL WRAPPER", " WITH UNCONDITIONAL WRAPPER"};
    if (j->returning) {
        buf_puts(o, " RETURNING ");
        ast_print_type(o, j->returning->type);
    }
    buf_puts(o, wrap[j->wrapper]);
    print_json_on(o, j->on_empty, j->empty_default, "EMPTY");
    print_json_on(o, j->on_error, j->error_default, "ERROR");
    if (j->on_null) buf_printf(o, "%s%s ON NULL", first ? "" : " ", j->on_null == 1 ? "NULL" : "ABSENT");
}

static void print_json_args(buf_t *o, const char *name, const ast_exprs_t *args) {
    if (strncmp(name, "JSON_OBJECT", 11) != 0) {
        print_exprs(o, *args, ", ");
        return;
    }
    for (int i = 0; i < args->n; i += 2) {
        buf_puts(o, i ? ", " : "");
        print_at(o, args->item[i], P_OR);
        buf_puts(o, " VALUE ");
        ast_print_expr(o, args->item[i + 1]);
    }
}

/* EXTRACT(DAY FROM x) and the like; false: an ordinary call. */
static bool print_special(buf_t *o, const char *name, const ast_exprs_t *args) {
    ast_expr_t **x = args->item;
    bool symbol0 = args->n > 0 && x[0]->kind == AST_SYMBOL, symbol1 = args->n > 1 && x[1]->kind == AST_SYMBOL;
    if (strcmp(name, "EXTRACT") == 0 && symbol0 && args->n == 2) {
        buf_printf(o, "EXTRACT(%s FROM ", x[0]->text);
        ast_print_expr(o, x[1]);
    } else if (strcmp(name, "TRIM") == 0 && symbol0 && args->n == 3) {
        buf_printf(o, "TRIM(%s ", x[0]->text);
        ast_print_expr(o, x[1]);
        buf_puts(o, " FROM ");
        ast_print_expr(o, x[2]);
    } else if ((strcmp(name, "FLOOR") == 0 || strcmp(name, "CEIL") == 0) && symbol1) {
        buf_printf(o, "%s(", name);
        ast_print_expr(o, x[0]);
        buf_printf(o, " TO %s", x[1]->text);
    } else if (strcmp(name, "POSITION") == 0 && (args->n == 2 || args->n == 3)) {
        static const char *const words[] = {"POSITION(", " IN ", " FROM "};
        for (int i = 0; i < args->n; i++) {
            buf_puts(o, words[i]);
            print_value(o, x[i]);
        }
    } else if (strcmp(name, "OVERLAY") == 0 && args->n >= 3) {
        static const char *const words[] = {"OVERLAY(", " PLACING ", " FROM ", " FOR "};
        for (int i = 0; i < args->n && i < 4; i++) {
            buf_puts(o, words[i]);
            ast_print_expr(o, x[i]);
        }
    } else if (strcmp(name, "SUBSTRING") == 0 || strcmp(name, "FLOOR") == 0 || strcmp(name, "CEIL") == 0) {
        buf_printf(o, "%s(", name);
        print_exprs(o, *args, ", ");
    } else return false;
    buf_puts(o, ")");
    return true;
}

static void print_call_name(buf_t *o, const ast_name_t *n) {
    if (n->n == 1 && !sql_quote_function(n->part[0]) && sql_is_keyword(n->part[0])) buf_puts(o, n->part[0]);
    else ast_print_name(o, n);
}

static void print_plain_call(buf_t *o, const ast_expr_t *e) {
    const ast_call_t *c = e->call;
    if (c->json) buf_puts(o, c->name.part[0]);
    else print_call_name(o, &c->name);
    if (c->bare) return;
    buf_puts(o, c->distinct ? "(DISTINCT " : "(");
    if (c->star) buf_puts(o, "*");
    if (c->json) {
        print_json_args(o, c->name.part[0], &e->args);
        if (c->within.n) {
            buf_puts(o, " ORDER BY ");
            print_orders(o, c->within);
        }
        print_json_tail(o, c->json, e->args.n == 0);
    } else print_exprs(o, e->args, ", ");
    buf_puts(o, ")");
}

static void print_call(buf_t *o, const ast_expr_t *e) {
    const ast_call_t *c = e->call;
    if (c->name.n != 1 || c->distinct || !print_special(o, c->name.part[0], &e->args)) print_plain_call(o, e);
    if (c->nulls) buf_puts(o, c->nulls == 1 ? " RESPECT NULLS" : " IGNORE NULLS");
    if (c->within.n && !c->json) {
        buf_puts(o, " WITHIN GROUP (ORDER BY ");
        print_orders(o, c->within);
        buf_puts(o, ")");
    }
    if (c->filter) {
        buf_puts(o, " FILTER (WHERE ");
        ast_print_expr(o, c->filter);
        buf_puts(o, ")");
    }
    if (!c->over) return;
    buf_puts(o, " OVER ");
    if (c->over->only_name) ast_print_ident(o, c->over->name);
    else print_window(o, c->over);
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static void print_interval(buf_t *o, const ast_interval_t *i) {
    buf_puts(o, "INTERVAL ");
    print_string(o, i->text, strlen(i->text));
    buf_printf(o, " %s", ast_unit_name(i->from));
    if (i->precision >= 0 && !i->to && i->fraction >= 0) buf_printf(o, "(%d, %d)", i->precision, i->fraction);
    else if (i->precision >= 0) buf_printf(o, "(%d)", i->precision);
    if (!i->to) return;
    buf_printf(o, " TO %s", ast_unit_name(i->to));
    if (i->fraction >= 0) buf_printf(o, "(%d)", i->fraction);
}

static void print_case(buf_t *o, const ast_expr_t *e) {
    buf_puts(o, "CASE");
    if (e->base) {
        buf_puts(o, " ");
        ast_print_expr(o, e->base);
    }
    for (int i = 0; i < e->args.n; i++) {
        buf_puts(o, i % 2 ? " THEN " : " WHEN ");
        ast_print_expr(o, e->args.item[i]);
    }
    if (e->els) {
        buf_puts(o, " ELSE ");
        ast_print_expr(o, e->els);
    }
    buf_puts(o, " END");
}

static void print_query_in(buf_t *o, const char *before, const ast_query_t *q) {
    buf_printf(o, "%s(", before);
    ast_print_query(o, q);
    buf_puts(o, ")");
}

static void print_table_arg(buf_t *o, const ast_table_t *t) {
    buf_puts(o, "TABLE ");
    if (t->kind == AST_TABLE_NAME) ast_print_name(o, &t->name);
    else print_query_in(o, "", t->query);
    if (t->partition.n) {
        buf_puts(o, t->partition.n > 1 ? " PARTITION BY (" : " PARTITION BY ");
        if (t->partition.n > 1) print_exprs(o, t->partition, ", ");
        else print_value(o, t->partition.item[0]);
        if (t->partition.n > 1) buf_puts(o, ")");
    }
    for (int i = 0; i < t->order.n; i++) {
        buf_puts(o, " ORDER BY ");
        print_order(o, &t->order.item[i]);
    }
}

static void print_quantified(buf_t *o, const ast_expr_t *e) {
    print_at(o, e->base, P_CMP);
    buf_printf(o, " %s %s ", e->text, e->is_all ? "ALL" : "ANY");
    if (e->query) print_query_in(o, "", e->query);
    else print_bracketed(o, "", "(", e->args, ")");
}

static void print_quoted(buf_t *o, const char *before, const ast_expr_t *e) {
    buf_puts(o, before);
    print_string(o, e->text, e->text_len);
}

void ast_print_expr(buf_t *o, const ast_expr_t *e) {
    switch (e->kind) {
    case AST_NULL: buf_puts(o, "NULL"); break;
    case AST_BOOL: buf_puts(o, e->truth < 0 ? "UNKNOWN" : e->truth ? "TRUE" : "FALSE"); break;
    case AST_INTEGER:
    case AST_DECIMAL:
    case AST_FLOAT:
    case AST_SYMBOL: buf_puts(o, e->text); break;
    case AST_STRING: print_quoted(o, "", e); break;
    case AST_BINARY:
        buf_puts(o, "X'");
        for (size_t i = 0; i < e->text_len; i++) buf_printf(o, "%02X", (unsigned char)e->text[i]);
        buf_puts(o, "'");
        break;
    case AST_DATE: print_quoted(o, "DATE ", e); break;
    case AST_TIME: print_quoted(o, "TIME ", e); break;
    case AST_TIMESTAMP: print_quoted(o, "TIMESTAMP ", e); break;
    case AST_TIMESTAMP_LTZ: print_quoted(o, "TIMESTAMP WITH LOCAL TIME ZONE ", e); break;
    case AST_INTERVAL: print_interval(o, e->interval); break;
    case AST_COLUMN: ast_print_name(o, &e->name); break;
    case AST_STAR:
        ast_print_name(o, &e->name);
        buf_puts(o, e->name.n ? ".*" : "*");
        break;
    case AST_DEFAULT: buf_puts(o, "DEFAULT"); break;
    case AST_OP: print_op(o, e); break;
    case AST_CALL: print_call(o, e); break;
    case AST_CASE: print_case(o, e); break;
    case AST_CAST:
        buf_puts(o, e->is_try ? "TRY_CAST(" : "CAST(");
        ast_print_expr(o, e->base);
        buf_puts(o, " AS ");
        ast_print_type(o, e->type->type);
        buf_puts(o, ")");
        break;
    case AST_SUBQUERY: print_query_in(o, "", e->query); break;
    case AST_EXISTS: print_query_in(o, "EXISTS ", e->query); break;
    case AST_IN_QUERY: print_in_query(o, e, ""); break;
    case AST_QUANTIFIED: print_quantified(o, e); break;
    case AST_COLLECT: print_query_in(o, e->text, e->query); break;
    case AST_NAMED_ARG:
        ast_print_ident(o, e->text);
        buf_puts(o, " => ");
        ast_print_expr(o, e->base);
        break;
    case AST_TABLE_ARG: print_table_arg(o, e->table); break;
    case AST_DESCRIPTOR: print_bracketed(o, "DESCRIPTOR", "(", e->args, ")"); break;
    }
}

void print_exprs(buf_t *o, ast_exprs_t l, const char *sep) {
    for (int i = 0; i < l.n; i++) {
        if (i) buf_puts(o, sep);
        ast_print_expr(o, l.item[i]);
    }
}
