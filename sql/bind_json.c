/* bind_json.c: the JSON functions of SQL, whose clauses become arguments behind the written ones. Where no clause is
 * written there is no argument for it either: JSON_VALUE(doc, path) is a plain call.
 *   JSON_VALUE (doc, path, NULL of the type of RETURNING, SYMBOL on empty, default, SYMBOL on error, default)
 *   JSON_QUERY (doc, path, SYMBOL wrapper, SYMBOL on empty, SYMBOL on error[, NULL of the type of RETURNING])
 *   JSON_EXISTS(doc, path, SYMBOL on error)
 *   JSON_OBJECT(SYMBOL on null, key, value, ..)   JSON_ARRAY(SYMBOL on null, element, ..)
 * Symbols are the clause's words with blanks; defaults are NULL where the clause has none. */
#include "sql/bind.h"

static const char *on_name(ast_json_on_t on, const char *absent) {
    static const char *const names[] = {
        [AST_JSON_ERROR] = "ERROR",           [AST_JSON_NULL] = "NULL",
        [AST_JSON_DEFAULT] = "DEFAULT",       [AST_JSON_EMPTY_ARRAY] = "EMPTY ARRAY",
        [AST_JSON_EMPTY_OBJECT] = "EMPTY OBJECT", [AST_JSON_TRUE] = "TRUE",
        [AST_JSON_FALSE] = "FALSE",           [AST_JSON_UNKNOWN] = "UNKNOWN",
    };
    return on == AST_JSON_UNSET ? absent : names[on];
}

static err_t *bind_default(expr_ctx_t *x, const ast_expr_t *e, expr_t **ret) {
    if (e) return bind_expr(x, e, ret);
    *ret = expr_null(x->b->arena, &type_string);
    return NULL;
}

static err_t *value_clauses(expr_ctx_t *x, const ast_json_t *j, expr_t **args, int *n) {
    if (!j->returning && j->on_empty == AST_JSON_UNSET && j->on_error == AST_JSON_UNSET) return NULL;
    args[(*n)++] = expr_null(x->b->arena, j->returning ? type_nullable(x->b->arena, j->returning->type, true)
                             : &type_string);
    args[(*n)++] = bind_symbol(x->b, on_name(j->on_empty, "NULL"));
    TRY(bind_default(x, j->empty_default, &args[(*n)++]));
    args[(*n)++] = bind_symbol(x->b, on_name(j->on_error, "NULL"));
    return bind_default(x, j->error_default, &args[(*n)++]);
}

static void query_clauses(expr_ctx_t *x, const ast_json_t *j, expr_t **args, int *n) {
    static const char *const wrappers[] = {"WITHOUT", "WITHOUT", "CONDITIONAL", "UNCONDITIONAL"};
    if (j->wrapper == AST_JSON_WRAP_UNSET && j->on_empty == AST_JSON_UNSET && j->on_error == AST_JSON_UNSET && !j->returning) return;
    args[(*n)++] = bind_symbol(x->b, wrappers[j->wrapper]);
    args[(*n)++] = bind_symbol(x->b, on_name(j->on_empty, "NULL"));
    args[(*n)++] = bind_symbol(x->b, on_name(j->on_error, "NULL"));
    if (j->returning) args[(*n)++] = expr_null(x->b->arena, type_nullable(x->b->arena, j->returning->type, true));
}

err_t *bind_json_call(expr_ctx_t *x, const ast_expr_t *e, const char *name, expr_t **ret) {
    const ast_json_t *j = e->call->json;
    expr_t **args = ARENA_ARRAY(x->b->arena, expr_t *, e->args.n + 7);
    int n = 0;
    bool constructs = strcmp(name, "JSON_OBJECT") == 0 || strcmp(name, "JSON_ARRAY") == 0;
    if (constructs) args[n++] = bind_symbol(x->b, (j->on_null ? j->on_null == 2 : name[5] == 'A') ? "ABSENT"
                                            : "NULL");
    for (int i = 0; i < e->args.n; i++) TRY(bind_expr(x, e->args.item[i], &args[n++]));
    if (strcmp(name, "JSON_VALUE") == 0) TRY(value_clauses(x, j, args, &n));
    else if (strcmp(name, "JSON_QUERY") == 0) query_clauses(x, j, args, &n);
    else if (strcmp(name, "JSON_EXISTS") == 0 && j->on_error != AST_JSON_UNSET)
        args[n++] = bind_symbol(x->b, on_name(j->on_error, "FALSE"));
    return bind_function(x, name, e->pos, args, n, ret);
}
