/* compile.h: one compile from text to plan, step by step; private to sql.c and explain.c. */
#pragma once
#include "sql/bind.h"
#include "sql/sql.h"

typedef struct compile {
    arena_t *arena; /* the plan's */
    const sql_source_t *src;
    sql_script_t *script;
    rel_ctx_t rels;
    catalog_t *catalog;
    bind_t bind;
    options_t set;
    const char **notices;
    int nnotices, cap_notices;
    bool explain;    /* statements behind EXPLAIN count as queries */
    int nexplained;  /* EXPLAIN statements seen */
    int cap_sinks;
    logical_t logical;
} compile_t;

void compile_begin(compile_t *c, const sql_source_t *src);
err_t *compile_logical(compile_t *c);
err_t *compile_plan(compile_t *c, plan_t **ret); /* optimises c->logical on the way */
/* Frees what is left: everything when no plan was made. */
void compile_end(compile_t *c);
