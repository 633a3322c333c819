/* bind_from.c: what stands in FROM. */
#include <strings.h>

#include "sql/bind.h"

static rel_t *find_cte(const bind_t *b, const ast_name_t *name) {
    if (name->n != 1) return NULL;
    for (const bind_cte_t *c = b->ctes; c; c = c->next)
        if (strcmp(c->name, name->part[0]) == 0) return c->rel;
    return NULL;
}

static err_t *table_options(const ast_hints_t *hints, const ast_options_t **ret) {
    *ret = NULL;
    for (int i = 0; i < hints->n; i++) {
        const ast_hint_t *h = &hints->item[i];
        if (strcmp(h->name, "OPTIONS") != 0)
            return err_pos(err_hint(err_new(ERR_UNSUPPORTED, "hint %s is not supported", h->name),
                                    "leave it out"), h->pos);
        *ret = &h->options;
    }
    return NULL;
}

err_t *bind_table_ref(bind_t *b, const ast_name_t *name, const ast_hints_t *hints, rel_t **ret) {
    const ast_options_t *overrides;
    TRY(table_options(hints, &overrides));
    rel_t *cte = find_cte(b, name);
    catalog_entry_t *e = NULL;
    if (!cte) TRY(catalog_find(b->catalog, name, &e));
    if (overrides && (cte || e->is_view))
        return err_pos(err_new(ERR_INVALID, "OPTIONS apply to tables only, '%s' is a query",
                               name->part[name->n - 1]), name->pos);
    if (cte) *ret = cte;
    else if (e->is_view) *ret = e->rel;
    else TRY(bind_table(b, e, overrides, ret));
    return NULL;
}

static err_t *from_name(bind_t *b, const ast_table_t *t, scope_t **ret) {
    if (t->system_time) return refuse(t->system_time->pos, "FOR SYSTEM_TIME AS OF",
                                      "join without it is not there yet either: enrich the stream at its producer");
    rel_t *r;
    TRY(bind_table_ref(b, &t->name, &t->hints, &r));
    *ret = scope_of(b->arena, r, t->name.part[t->name.n - 1]);
    return NULL;
}

static err_t *from_call(bind_t *b, const ast_table_t *t, scope_t **ret) {
    if (is_window_tvf(t->call)) return bind_window_tvf(b, t, ret);
    const ast_name_t *n = &t->call->call->name;
    return err_pos(err_hint(err_new(ERR_UNSUPPORTED, "table function %s is not supported", n->part[n->n - 1]),
                            "table functions are TUMBLE, HOP and CUMULATE"),
                   t->call->pos);
}

err_t *bind_from(bind_t *b, const ast_table_t *t, scope_t **ret) {
    static const char *const joins = "joins are not part of this version; keep the streams apart, or enrich before Kafka";
    switch (t->kind) {
    case AST_TABLE_NAME: TRY(from_name(b, t, ret)); break;
    case AST_TABLE_QUERY: {
        if (t->lateral) return refuse(t->pos, "LATERAL", joins);
        rel_t *r;
        TRY(bind_query(b, t->query, &r));
        *ret = scope_of(b->arena, r, NULL);
        break;
    }
    case AST_TABLE_CALL: TRY(from_call(b, t, ret)); break;
    case AST_TABLE_UNNEST: return refuse(t->pos, "UNNEST", "index the elements: arr[1], arr[2]");
    case AST_TABLE_JOIN: return refuse(t->join_pos, t->join == AST_JOIN_COMMA ? "a list of tables in FROM"
                                       : "JOIN", joins);
    case AST_TABLE_MATCH: return refuse(t->match->pos, "MATCH_RECOGNIZE", "patterns are not part of this version");
    }
    if (t->columns.n) {
        rel_t *r;
        TRY(bind_aliased(b, t->alias.text ? t->alias.text : "table", t->pos, (*ret)->rel, &t->columns, &r));
        *ret = scope_of(b->arena, r, t->alias.text);
    } else if (t->alias.text) {
        *ret = scope_of(b->arena, (*ret)->rel, t->alias.text);
    }
    return NULL;
}
