/* explain.c: a compile shown step by step. */
#include "sql/compile.h"

static err_t *explain(compile_t *c, buf_t *out) {
    TRY(compile_logical(c));
    buf_puts(out, "== Syntax ==\n");
    for (int i = 0; i < c->script->n; i++) {
        ast_stmt_kind_t k = c->script->stmt[i]->kind;
        if (k == AST_CREATE_TABLE) continue;
        ast_print_stmt(out, c->script->stmt[i]);
        buf_puts(out, ";\n");
    }
    plan_t *p;
    TRY(compile_plan(c, &p));
    buf_puts(out, "\n== Optimised logical plan ==\n");
    logical_print(out, &c->rels, &c->logical);
    buf_puts(out, "\n== Physical plan ==\n");
    plan_print(out, p);
    for (int i = 0; i < p->nnotices; i++) buf_printf(out, "notice: %s\n", p->notices[i]);
    return NULL;
}

err_t *sql_explain(const sql_source_t *src, buf_t *out) {
    compile_t c;
    compile_begin(&c, src);
    c.explain = true;
    err_t *e = explain(&c, out);
    compile_end(&c);
    return e;
}
