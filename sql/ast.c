/* ast.c: names of the tree's enumerations. */
#include "sql/ast.h"

const char *ast_unit_name(ast_unit_t u) {
    static const char *const names[] = {"", "YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"};
    return names[u];
}

static const char *take_text(arena_t *a, buf_t *b) {
    const char *text = arena_strdup(a, buf_cstr(b));
    buf_free(b);
    return text;
}

const char *ast_expr_text(arena_t *a, const ast_expr_t *e) {
    buf_t b = buf_make(BUF_MAX_DEFAULT);
    ast_print_expr(&b, e);
    return take_text(a, &b);
}

const char *ast_query_text(arena_t *a, const ast_query_t *q) {
    buf_t b = buf_make(BUF_MAX_DEFAULT);
    ast_print_query(&b, q);
    return take_text(a, &b);
}
