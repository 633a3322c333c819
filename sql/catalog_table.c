/* catalog_table.c: CREATE TABLE to a table the engine knows. */
#include "engine/operator.h"
#include "sql/catalog.h"
#include "common/near.h"

static err_t *at(err_t *e, ast_pos_t p) NODISCARD;
static err_t *at(err_t *e, ast_pos_t p) { return err_at(e, p.line, p.col); }

static options_t options_of(arena_t *a, const ast_options_t *o) {
    options_t r = {o->n, ARENA_ARRAY(a, const char *, o->n + 1), ARENA_ARRAY(a, const char *, o->n + 1)};
    for (int i = 0; i < o->n; i++) r.keys[i] = o->item[i].key, r.values[i] = o->item[i].value;
    return r;
}

/* ---- LIKE: the declaration with what it takes from another table merged in */
static bool like_excludes(const ast_create_table_t *ct, const char *what) {
    bool out = false;
    for (int i = 0; i < ct->nlike_option; i++) {
        const ast_like_option_t *o = &ct->like_option[i];
        if (strcmp(o->what, what) == 0 || strcmp(o->what, "ALL") == 0) out = !o->including && !o->overwriting;
    }
    return out;
}

static bool option_present(const ast_options_t *o, const char *key) {
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->item[i].key, key) == 0) return true;
    return false;
}

static bool column_kept(const ast_create_table_t *ct, const ast_column_t *c) {
    if (c->kind == AST_COLUMN_COMPUTED) return !like_excludes(ct, "GENERATED");
    if (c->kind == AST_COLUMN_METADATA) return !like_excludes(ct, "METADATA");
    return true;
}

static err_t *merge_like(const catalog_t *cat, arena_t *a, const ast_create_table_t *ct,
                         const ast_create_table_t **ret) {
    catalog_entry_t *base;
    TRY(catalog_find(cat, &ct->like, &base));
    if (base->is_view)
        return at(err_hint(err_new(ERR_INVALID, "LIKE needs a table, '%s' is a view", base->name), "name a table"),
                  ct->like.pos);
    const ast_create_table_t *b = base->ast;
    ast_create_table_t *m = arena_memdup(a, ct, sizeof *ct);
    m->col = ARENA_ARRAY(a, ast_column_t, b->ncol + ct->ncol + 1);
    m->ncol = 0;
    for (int i = 0; i < b->ncol; i++)
        if (column_kept(ct, &b->col[i])) m->col[m->ncol++] = b->col[i];
    for (int i = 0; i < ct->ncol; i++) m->col[m->ncol++] = ct->col[i];
    if (!ct->nwatermark && !like_excludes(ct,
                                          "WATERMARKS")) m->nwatermark = b->nwatermark, m->watermark = b->watermark;
    if (!ct->primary_key_pos.line && !like_excludes(ct, "CONSTRAINTS")) {
        m->primary_key = b->primary_key;
        m->primary_key_pos = b->primary_key_pos;
        m->not_enforced = b->not_enforced;
    }
    if (!ct->partitioned.n && !like_excludes(ct, "PARTITIONS")) m->partitioned = b->partitioned;
    m->options.item = ARENA_ARRAY(a, ast_option_t, b->options.n + ct->options.n + 1);
    m->options.n = 0;
    for (int i = 0; i < b->options.n && !like_excludes(ct, "OPTIONS"); i++)
        if (!option_present(&ct->options,
                            b->options.item[i].key)) m->options.item[m->options.n++] = b->options.item[i];
    for (int i = 0; i < ct->options.n; i++) m->options.item[m->options.n++] = ct->options.item[i];
    *ret = m;
    return NULL;
}

/* ---- columns */
static int column_index(const catalog_entry_t *e, const char *name) {
    for (int i = 0; i < e->ncols; i++)
        if (strcmp(e->cols[i].name, name) == 0) return i;
    return -1;
}

static bool in_primary_key(const ast_create_table_t *ct, const char *name) {
    for (int i = 0; i < ct->primary_key.n; i++)
        if (strcmp(ct->primary_key.item[i].text, name) == 0) return true;
    return false;
}

static err_t *add_columns(arena_t *a, const ast_create_table_t *ct, catalog_entry_t *e, table_t *t) {
    e->cols = ARENA_ARRAY(a, catalog_column_t, ct->ncol + 1);
    t->physical = schema_new(a, ct->ncol);
    t->metadata = schema_new(a, ct->ncol);
    t->metadata_keys = ARENA_ARRAY(a, const char *, ct->ncol + 1);
    t->physical->n = t->metadata->n = 0;
    for (int i = 0; i < ct->ncol; i++) {
        const ast_column_t *c = &ct->col[i];
        if (column_index(e, c->name.text) >= 0)
            return at(err_new(ERR_INVALID, "column '%s' is declared twice", c->name.text), c->name.pos);
        catalog_column_t *cc = &e->cols[e->ncols++];
        *cc = (catalog_column_t){.kind = c->kind, .name = c->name.text, .expr = c->expr, .pos = c->name.pos};
        if (c->kind == AST_COLUMN_COMPUTED) continue;
        cc->type = c->type->type;
        if (in_primary_key(ct, c->name.text)) cc->type = type_nullable(a, cc->type, false);
        schema_t *s = c->kind == AST_COLUMN_PHYSICAL ? t->physical : t->metadata;
        cc->index = s->n;
        cc->persisted = c->kind == AST_COLUMN_METADATA && !c->is_virtual;
        if (c->kind == AST_COLUMN_METADATA) t->metadata_keys[s->n] = c->metadata_key ? c->metadata_key : c->name.text;
        s->fields[s->n++] = (field_t){c->name.text, cc->type};
    }
    if (e->ncols == 0)
        return err_at(err_new(ERR_INVALID, "table '%s' has no columns", e->name), e->line, e->col);
    return NULL;
}

static err_t *unknown_column(const catalog_entry_t *e, const char *what, const ast_ident_t *id) {
    near_t near = {.wanted = id->text};
    for (int i = 0; i < e->ncols; i++) near_offer(&near, e->cols[i].name);
    err_t *err = at(err_new(ERR_NOT_FOUND, "%s names column '%s', which table '%s' has not", what, id->text, e->name),
                    id->pos);
    return near_word(&near) ? err_hint(err, "did you mean '%s'?", near_word(&near)) : err;
}

/* Indexes into the physical columns of the columns named. */
static err_t *physical_indexes(arena_t *a, const catalog_entry_t *e, const char *what, const ast_idents_t *ids,
                               const int **ret) {
    int *out = ARENA_ARRAY(a, int, ids->n + 1);
    for (int i = 0; i < ids->n; i++) {
        int at_col = column_index(e, ids->item[i].text);
        if (at_col < 0) return unknown_column(e, what, &ids->item[i]);
        if (e->cols[at_col].kind != AST_COLUMN_PHYSICAL)
            return at(err_new(ERR_INVALID, "%s needs physical columns, '%s' is a %s column", what, ids->item[i].text,
                              e->cols[at_col].kind == AST_COLUMN_COMPUTED ? "computed" : "metadata"),
                      ids->item[i].pos);
        out[i] = e->cols[at_col].index;
        for (int j = 0; j < i; j++)
            if (out[j] == out[i])
                return at(err_new(ERR_INVALID, "%s names column '%s' twice", what, ids->item[i].text),
                          ids->item[i].pos);
    }
    *ret = out;
    return NULL;
}

/* ---- options */
err_t *catalog_option_error(err_t *e, const table_t *t, const ast_options_t *options) {
    if (!e) return NULL;
    const ast_option_t *found = NULL;
    for (int i = 0; i < options->n && !found; i++) {
        AUTO(auto_free) char *quoted = xprintf("'%s'", options->item[i].key);
        if (strstr(err_text(e), quoted)) found = &options->item[i];
    }
    for (int i = 0; i < options->n && !found; i++) {
        AUTO(auto_free) char *quoted = xprintf("'%s'", options->item[i].value);
        if (options->item[i].value[0] && strstr(err_text(e), quoted)) found = &options->item[i];
    }
    e = found ? at(e, found->pos) : err_at(e, t->line, 1);
    /* a connector that checked the whole table has named it already */
    return strncmp(err_text(e), "table ", 6) == 0 ? e : err_wrap(e, "table '%s'", t->name);
}

static err_t *add_options(arena_t *a, const ast_create_table_t *ct, table_t *t) {
    for (int i = 0; i < ct->options.n; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(ct->options.item[i].key, ct->options.item[j].key) == 0)
                return at(err_new(ERR_INVALID, "option '%s' is given twice", ct->options.item[i].key),
                          ct->options.item[i].pos);
    t->options = options_of(a, &ct->options);
    t->connector = options_get(&t->options, "connector");
    AUTO(buf_free) buf_t names = buf_make(BUF_MAX_DEFAULT);
    if (!t->connector) {
        connector_names(&names, false);
        return err_hint(err_at(err_new(ERR_INVALID, "table '%s' has no option 'connector'", t->name),
                               ct->name.pos.line,
                               ct->name.pos.col),
                        "say where the data is: WITH ('connector' = '..'), one of %s", buf_cstr(&names));
    }
    if (source_find(t->connector) || sink_find(t->connector)) return NULL;
    connector_names(&names, false);
    buf_puts(&names, ", ");
    connector_names(&names, true);
    near_t near = {.wanted = t->connector};
    AUTO(auto_free) char *list = xstrdup(buf_cstr(&names));
    AUTO(auto_free) char *shown = xstrdup(list);
    char *save = NULL;
    for (char *w = strtok_r(list, ", ", &save); w; w = strtok_r(NULL, ", ", &save)) near_offer(&near, w);
    err_t *e = catalog_option_error(err_new(ERR_NOT_FOUND, "'connector' = '%s' is not known", t->connector), t,
                                    &ct->options);
    return near_word(&near) ? err_hint(e, "did you mean '%s'?", near_word(&near))
        : err_hint(e, "known are %s", shown);
}

/* Rows carry metadata in the connector's type; the declared one is a cast away. */
static void metadata_types(arena_t *a, const catalog_entry_t *e, table_t *t) {
    const source_vtable_t *vt = source_find(t->connector);
    for (int i = 0; i < e->ncols && vt && vt->metadata; i++) {
        const catalog_column_t *c = &e->cols[i];
        if (c->kind != AST_COLUMN_METADATA) continue;
        const type_t *carried = vt->metadata(a, t->metadata_keys[c->index]);
        if (carried && !type_equal(carried, c->type)) t->metadata->fields[c->index].type = carried;
    }
}

static err_t *check_shape(const ast_create_table_t *ct) {
    if (ct->query)
        return at(err_hint(err_new(ERR_UNSUPPORTED, "CREATE TABLE .. AS is not supported"),
                           "declare the columns by CREATE TABLE and fill the table by INSERT INTO"),
                  ct->query->pos);
    if (ct->nwatermark > 1)
        return at(err_new(ERR_INVALID, "a table has one watermark, this is the second"), ct->watermark[1].column.pos);
    if (ct->primary_key_pos.line && !ct->not_enforced)
        return at(err_hint(err_new(ERR_INVALID, "PRIMARY KEY cannot be enforced: streams do not own their data"),
                           "write PRIMARY KEY (..) NOT ENFORCED"),
                  ct->primary_key_pos);
    return NULL;
}

err_t *catalog_table(catalog_t *c, arena_t *a, const ast_create_table_t *ct, catalog_entry_t **ret) {
    if (ct->like.n) TRY(merge_like(c, a, ct, &ct));
    TRY(check_shape(ct));
    catalog_entry_t *e = ARENA_NEW(a, catalog_entry_t);
    table_t *t = ARENA_NEW(a, table_t);
    TRY(catalog_name(&ct->name, &e->name));
    e->temporary = ct->temporary;
    e->line = ct->name.pos.line;
    e->col = ct->name.pos.col;
    e->ast = ct;
    e->table = t;
    t->name = e->name;
    t->line = e->line;
    TRY(add_columns(a, ct, e, t));
    t->nprimary = ct->primary_key.n;
    TRY(physical_indexes(a, e, "PRIMARY KEY", &ct->primary_key, &t->primary));
    t->npartition = ct->partitioned.n;
    TRY(physical_indexes(a, e, "PARTITIONED BY", &ct->partitioned, &t->partition));
    TRY(add_options(a, ct, t));
    metadata_types(a, e, t);
    *ret = e;
    return NULL;
}

table_t *catalog_with_options(arena_t *a, const table_t *t, const ast_options_t *overrides) {
    if (!overrides || overrides->n == 0) return (table_t *)t;
    table_t *n = arena_memdup(a, t, sizeof *t);
    int max = t->options.n + overrides->n;
    options_t o = {0, ARENA_ARRAY(a, const char *, max + 1), ARENA_ARRAY(a, const char *, max + 1)};
    for (int i = 0; i < t->options.n; i++)
        if (!option_present(overrides, t->options.keys[i]))
            o.keys[o.n] = t->options.keys[i], o.values[o.n++] = t->options.values[i];
    for (int i = 0; i < overrides->n; i++)
        o.keys[o.n] = overrides->item[i].key, o.values[o.n++] = overrides->item[i].value;
    n->options = o;
    n->connector = options_get(&n->options, "connector");
    return n;
}

table_t *catalog_sink_table(arena_t *a, const catalog_entry_t *e, const ast_options_t *overrides) {
    const table_t *from = catalog_with_options(a, e->table, overrides);
    table_t *t = arena_memdup(a, from, sizeof *from);
    t->metadata = schema_new(a, from->metadata->n);
    t->metadata_keys = ARENA_ARRAY(a, const char *, from->metadata->n + 1);
    t->metadata->n = 0;
    for (int i = 0; i < e->ncols; i++) {
        const catalog_column_t *c = &e->cols[i];
        if (c->kind != AST_COLUMN_METADATA || !c->persisted) continue;
        t->metadata_keys[t->metadata->n] = from->metadata_keys[c->index];
        t->metadata->fields[t->metadata->n++] = from->metadata->fields[c->index];
    }
    return t;
}

bool catalog_bounded(const table_t *t) {
    const options_t *o = &t->options;
    if (strcmp(t->connector, "filesystem") == 0) return options_get(o, "source.monitor-interval") == NULL;
    if (strcmp(t->connector, "datagen") == 0) return options_get(o, "number-of-rows") != NULL;
    const char *mode = options_get(o, "scan.bounded.mode");
    return mode && strcmp(mode, "unbounded") != 0;
}

bool catalog_upsert_source(const table_t *t) { return strcmp(t->connector, "upsert-kafka") == 0; }
