#include "sql/sql.h"

#include "sql/compile.h"
#include "sql/optimize.h"
#include "sql/parse.h"
#include "sql/physical.h"
#include "sql/settings.h"

void compile_begin(compile_t *c, const sql_source_t *src) {
    *c = (compile_t){.arena = arena_new(), .src = src};
    c->rels.arena = c->arena;
    c->catalog = catalog_new(c->arena);
    c->bind = (bind_t){.arena = c->arena, .rels = &c->rels, .catalog = c->catalog, .set = &c->set};
}

void compile_end(compile_t *c) {
    catalog_free(c->catalog);
    arena_freep(&c->arena);
}

static void notice(compile_t *c, const char *text) {
    for (int i = 0; i < c->nnotices; i++)
        if (strcmp(c->notices[i], text) == 0) return;
    if (c->nnotices == c->cap_notices) {
        int cap = c->cap_notices ? c->cap_notices * 2 : 8;
        const char **more = ARENA_ARRAY(c->arena, const char *, cap);
        for (int i = 0; i < c->nnotices; i++) more[i] = c->notices[i];
        c->notices = more;
        c->cap_notices = cap;
    }
    c->notices[c->nnotices++] = text;
}

/* ---- SET */
static void set_put(compile_t *c, const char *key, const char *value) {
    for (int i = 0; i < c->set.n; i++)
        if (strcmp(c->set.keys[i], key) == 0) {
            c->set.values[i] = arena_strdup(c->arena, value);
            return;
        }
    options_t more = {c->set.n, ARENA_ARRAY(c->arena, const char *, c->set.n + 1),
                      ARENA_ARRAY(c->arena, const char *, c->set.n + 1)};
    for (int i = 0; i < c->set.n; i++) more.keys[i] = c->set.keys[i], more.values[i] = c->set.values[i];
    more.keys[more.n] = arena_strdup(c->arena, key);
    more.values[more.n++] = arena_strdup(c->arena, value);
    c->set = more;
}

static err_t *set_option(compile_t *c, const char *key, const char *value) {
    setting_check_t check;
    TRY(setting_check(key, value, &check));
    if (check.ignored) notice(c, arena_printf(c->arena, "option '%s' is accepted and has no effect: %s", key,
                                              check.why));
    else set_put(c, key, value);
    return NULL;
}

/* What was given outside wins over the text. */
static err_t *set_statement(compile_t *c, const ast_option_t *o) {
    setting_check_t check;
    if (options_get(&c->src->set, o->key)) return err_pos(setting_check(o->key, o->value, &check), o->pos);
    return err_pos(set_option(c, o->key, o->value), o->pos);
}

static void reset_option(compile_t *c, const char *key) {
    int n = 0;
    for (int i = 0; i < c->set.n; i++)
        if (options_get(&c->src->set, c->set.keys[i]) || (key && strcmp(c->set.keys[i], key) != 0))
            c->set.keys[n] = c->set.keys[i], c->set.values[n++] = c->set.values[i];
    c->set.n = n;
}

/* ---- statements */
static void add_sink(compile_t *c, rel_t *sink) {
    logical_t *l = &c->logical;
    if (l->nsinks == c->cap_sinks) {
        int cap = c->cap_sinks ? c->cap_sinks * 2 : 8;
        rel_t **more = ARENA_ARRAY(c->arena, rel_t *, cap);
        for (int i = 0; i < l->nsinks; i++) more[i] = l->sinks[i];
        l->sinks = more;
        c->cap_sinks = cap;
    }
    l->sinks[l->nsinks++] = sink;
}

static err_t *create_view(compile_t *c, const ast_create_view_t *v) {
    if (v->if_not_exists && catalog_has(c->catalog, &v->name)) return NULL;
    catalog_entry_t *e = ARENA_NEW(c->arena, catalog_entry_t);
    TRY(catalog_name(&v->name, &e->name));
    e->is_view = true;
    e->temporary = v->temporary;
    e->line = v->name.pos.line;
    e->col = v->name.pos.col;
    TRY(bind_query(&c->bind, v->query, &e->rel));
    if (v->columns.n) TRY(bind_aliased(&c->bind, e->name, v->name.pos, e->rel, &v->columns, &e->rel));
    if (v->or_replace) {
        catalog_replace_view(c->catalog, e);
        return NULL;
    }
    return catalog_add(c->catalog, e);
}

static err_t *create_table(compile_t *c, const ast_create_table_t *t) {
    if (t->if_not_exists && catalog_has(c->catalog, &t->name)) return NULL;
    catalog_entry_t *e;
    TRY(catalog_table(c->catalog, c->arena, t, &e));
    return catalog_add(c->catalog, e);
}

static err_t *insert(compile_t *c, const ast_insert_t *i, ast_pos_t pos) {
    rel_t *sink;
    TRY(bind_insert(&c->bind, i, pos, &sink));
    add_sink(c, sink);
    return NULL;
}

static err_t *select_alone(compile_t *c, const ast_query_t *q, ast_pos_t pos) {
    if (!c->src->allow_select && !c->explain)
        return refuse(pos, "a SELECT on its own",
                      "INSERT INTO a table, or use `tidegate run`, which prints the rows");
    rel_t *sink;
    TRY(bind_print_sink(&c->bind, q, pos, &sink));
    sink->sink.json = c->src->select_json;
    add_sink(c, sink);
    return NULL;
}

static err_t *statement(compile_t *c, const ast_stmt_t *s) {
    switch (s->kind) {
    case AST_CREATE_TABLE: return create_table(c, s->create_table);
    case AST_CREATE_VIEW: return create_view(c, s->create_view);
    case AST_DROP_TABLE: return catalog_drop(c->catalog, s->drop, false);
    case AST_DROP_VIEW: return catalog_drop(c->catalog, s->drop, true);
    case AST_INSERT: return insert(c, s->insert, s->pos);
    case AST_STATEMENT_SET:
        for (int i = 0; i < s->list.n; i++) TRY(insert(c, s->list.item[i]->insert, s->list.item[i]->pos));
        return NULL;
    case AST_SELECT: return select_alone(c, s->query, s->pos);
    case AST_SET:
        if (!s->option.key) return refuse(s->pos, "SET without a key",
                                          "`tidegate explain` shows the options of a job");
        return set_statement(c, &s->option);
    case AST_RESET: reset_option(c, s->option.key); return NULL;
    case AST_EXPLAIN:
        c->nexplained++;
        return c->explain ? statement(c, s->explain.inner) : NULL;
    case AST_OTHER: return refuse(s->pos, s->what, "tables and views are declared in the file itself");
    }
    UNREACHABLE();
}

static err_t *parse(compile_t *c) {
    const sql_source_t *src = c->src;
    AUTO(auto_free) char *text = NULL;
    size_t len;
    TRY(sql_substitute(src->text, src->len, &src->params, &text, &len));
    return sql_parse(c->arena, text, len, &c->script);
}

err_t *compile_logical(compile_t *c) {
    TRY(parse(c));
    for (int i = 0; i < c->src->set.n; i++) TRY(set_option(c, c->src->set.keys[i], c->src->set.values[i]));
    for (int i = 0; i < c->script->n; i++) TRY(statement(c, c->script->stmt[i]));
    if (c->logical.nsinks == 0)
        return err_hint(err_new(ERR_INVALID, "the script starts nothing: it has no INSERT INTO%s", c->nexplained
                                ? ", only EXPLAIN" : ""),
                        c->nexplained ? "`tidegate explain FILE` shows the plan" : "add INSERT INTO table SELECT ..");
    logical_merge_equal(&c->rels, &c->logical);
    logical_identify(&c->rels, &c->logical);
    return NULL;
}

/* ---- the plan */
static const char *job_name(compile_t *c) {
    const char *name = options_get(&c->set, "pipeline.name"), *file = c->src->file;
    if (name) return name;
    if (!file) return "job";
    const char *base = strrchr(file, '/'), *dot;
    base = base ? base + 1 : file;
    dot = strrchr(base, '.');
    return dot && dot != base ? arena_strndup(c->arena, base, (size_t)(dot - base)) : base[0]
        ? arena_strdup(c->arena, base) : "job";
}

static const rel_t *unbounded_scan(compile_t *c) {
    rel_t **list;
    int n = logical_order(&c->rels, &c->logical, &list);
    for (int i = 0; i < n; i++)
        if (list[i]->kind == REL_SCAN && !list[i]->scan.bounded) return list[i];
    return NULL;
}

/* Streaming or batch; the changelog of the graph as it is then. */
static err_t *choose_mode(compile_t *c, bool *ret_batch) {
    setting_mode_t mode;
    TRY(setting_mode(&c->set, &mode));
    const rel_t *endless = unbounded_scan(c);
    *ret_batch = mode == MODE_BATCH;
    if (mode == MODE_BATCH && endless)
        return err_at(err_hint(err_new(ERR_INVALID, "batch mode needs inputs that end, table '%s' does not",
                                       endless->scan.table->name),
                               "bound it ('scan.bounded.mode', 'number-of-rows'), or SET 'execution.runtime-mode' = 'streaming'"),
                      endless->line, endless->col);
    if (mode == MODE_BATCH) return NULL;
    change_info_t *unused;
    bool sink;
    err_t *e = changelog_infer(&c->rels, &c->logical, false, &unused, &sink);
    if (!e || !sink || mode == MODE_STREAMING || endless) return e;
    err_free(e);
    *ret_batch = true;
    notice(c, "all inputs end and a sink takes no updates: the job runs in batch mode, results come at the end");
    return NULL;
}

static err_t *physical(compile_t *c, plan_t *p) {
    physical_options_t o = {.lanes = c->src->lanes, .batch = p->batch, .parallelism = p->parallelism};
    TRY(options_duration_ms(&c->set, "table.exec.state.ttl", 0, &o.state_ttl_ms));
    optimize(&c->rels, &c->logical, &(optimize_options_t){.batch = p->batch});
    change_info_t *changes;
    bool sink;
    TRY(changelog_infer(&c->rels, &c->logical, p->batch, &changes, &sink));
    return physical_plan(&c->rels, &c->logical, changes, &o, p);
}

err_t *compile_plan(compile_t *c, plan_t **ret) {
    plan_t *p = ARENA_NEW(c->arena, plan_t);
    int64_t parallelism;
    TRY(options_i64(&c->set, "parallelism.default", MAX(c->src->parallelism, 1), 1, KEY_GROUPS, &parallelism));
    p->arena = c->arena;
    p->job_name = job_name(c);
    p->parallelism = (int)parallelism;
    TRY(choose_mode(c, &p->batch));
    TRY(physical(c, p));
    p->set = c->set;
    p->nnotices = c->nnotices;
    p->notices = c->notices;
    plan_finish(p);
    TRY(plan_validate(p));
    *ret = p;
    return NULL;
}

err_t *sql_compile(const sql_source_t *src, plan_t **ret) {
    compile_t c;
    compile_begin(&c, src);
    err_t *e = compile_logical(&c);
    if (!e) e = compile_plan(&c, ret);
    if (!e) c.arena = NULL; /* the plan's now */
    compile_end(&c);
    return e;
}
