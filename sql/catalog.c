#include "sql/catalog.h"

#include "common/map.h"
#include "common/near.h"

struct catalog {
    arena_t *arena;
    map_t *entries;
};

catalog_t *catalog_new(arena_t *a) {
    catalog_t *c = ARENA_NEW(a, catalog_t);
    c->arena = a;
    c->entries = map_new();
    return c;
}

void catalog_free(catalog_t *c) {
    if (c) map_free(c->entries, NULL);
}

err_t *catalog_name(const ast_name_t *name, const char **ret) {
    ASSERT(name->n >= 1);
    bool ours = name->n <= 3;
    if (name->n == 2) ours = strcmp(name->part[0], "default_database") == 0;
    if (name->n == 3)
        ours = strcmp(name->part[0], "default_catalog") == 0 && strcmp(name->part[1], "default_database") == 0;
    if (!ours)
        return err_hint(err_at(err_new(ERR_UNSUPPORTED,
                                       "catalog or database '%s' is not known: tables live in one database",
                                       name->part[0]),
                               name->pos.line, name->pos.col),
                        "write '%s' alone, declared by CREATE TABLE in this file", name->part[name->n - 1]);
    *ret = name->part[name->n - 1];
    return NULL;
}

bool catalog_has(const catalog_t *c, const ast_name_t *name) {
    return map_get_str(c->entries, name->part[name->n - 1]) != NULL;
}

static err_t *unknown_name(const catalog_t *c, const char *what, const char *name, ast_pos_t pos) {
    near_t near = {.wanted = name};
    slice_t key;
    void *value;
    for (size_t at = 0; map_next(c->entries, &at, &key, &value);)
        near_offer(&near, ((const catalog_entry_t *)value)->name);
    err_t *e = err_at(err_new(ERR_NOT_FOUND, "%s '%s' is not declared", what, name), pos.line, pos.col);
    if (near_word(&near)) return err_hint(e, "did you mean '%s'?", near_word(&near));
    return err_hint(e, "declare it by CREATE TABLE or CREATE VIEW before this statement");
}

err_t *catalog_find(const catalog_t *c, const ast_name_t *name, catalog_entry_t **ret) {
    const char *n;
    TRY(catalog_name(name, &n));
    catalog_entry_t *e = map_get_str(c->entries, n);
    if (!e) return unknown_name(c, "table", n, name->pos);
    *ret = e;
    return NULL;
}

err_t *catalog_add(catalog_t *c, catalog_entry_t *e) {
    const catalog_entry_t *old = map_get_str(c->entries, e->name);
    if (old)
        return err_at(err_new(ERR_EXISTS, "%s '%s' is declared already, at line %d", old->is_view ? "view" : "table",
                              e->name, old->line),
                      e->line, e->col);
    map_put_str(c->entries, e->name, e);
    return NULL;
}

void catalog_replace_view(catalog_t *c, catalog_entry_t *e) { map_put_str(c->entries, e->name, e); }

err_t *catalog_drop(catalog_t *c, const ast_drop_t *d, bool view) {
    const char *n;
    TRY(catalog_name(&d->name, &n));
    const catalog_entry_t *e = map_get_str(c->entries, n);
    if (!e && d->if_exists) return NULL;
    if (!e) return unknown_name(c, view ? "view" : "table", n, d->name.pos);
    if (e->is_view != view)
        return err_at(err_new(ERR_INVALID, "'%s' is a %s: use DROP %s", n, e->is_view ? "view" : "table",
                              e->is_view ? "VIEW" : "TABLE"),
                      d->name.pos.line, d->name.pos.col);
    map_del(c->entries, slice_str(n));
    return NULL;
}
