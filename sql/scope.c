#include "sql/scope.h"

#include "common/near.h"

scope_t *scope_of(arena_t *a, rel_t *rel, const char *alias) {
    scope_t *s = ARENA_NEW(a, scope_t);
    s->rel = rel;
    if (!rel) return s;
    s->nranges = 1;
    s->ranges = ARENA_NEW(a, scope_range_t);
    s->ranges[0] = (scope_range_t){alias, 0, rel->schema->n};
    return s;
}

scope_t *scope_join(arena_t *a, rel_t *rel, const scope_t *left, const scope_t *right) {
    scope_t *s = ARENA_NEW(a, scope_t);
    s->rel = rel;
    s->nranges = left->nranges + right->nranges;
    s->ranges = ARENA_ARRAY(a, scope_range_t, s->nranges + 1);
    for (int i = 0; i < left->nranges; i++) s->ranges[i] = left->ranges[i];
    for (int i = 0; i < right->nranges; i++) {
        s->ranges[left->nranges + i] = right->ranges[i];
        s->ranges[left->nranges + i].first += left->rel->schema->n;
    }
    return s;
}

/* Matching columns of one range: their number, and the first. */
static int range_find(const scope_t *s, const scope_range_t *r, const char *name, int *ret) {
    int found = 0;
    for (int i = r->first; i < r->first + r->n; i++)
        if (strcmp(s->rel->schema->fields[i].name, name) == 0 && found++ == 0) *ret = i;
    return found;
}

static err_t *ambiguous(const ast_name_t *name, const char *part) {
    return err_hint(err_at(err_new(ERR_INVALID, "column '%s' is ambiguous", part), name->pos.line, name->pos.col),
                    "name the table: t.%s", part);
}

static err_t *unknown_column(const scope_t *s, const ast_name_t *name, const char *part, const scope_range_t *in) {
    near_t near = {.wanted = part};
    for (int i = 0; i < s->nranges; i++) {
        const scope_range_t *r = &s->ranges[i];
        if (in && r != in) continue;
        for (int j = r->first; j < r->first + r->n; j++) near_offer(&near, s->rel->schema->fields[j].name);
    }
    err_t *e = in && in->alias ? err_new(ERR_NOT_FOUND, "table '%s' has no column '%s'", in->alias, part)
                               : err_new(ERR_NOT_FOUND, "column '%s' is not known here", part);
    e = err_at(e, name->pos.line, name->pos.col);
    if (near_word(&near)) return err_hint(e, "did you mean '%s'?", near_word(&near));
    if (!s->rel) return err_hint(e,
                                 "this SELECT has no FROM, so it sees no columns; text is written in single quotes: '%s'", part);
    return e;
}

err_t *scope_find(const scope_t *s, const ast_name_t *name, int *ret_column, int *ret_parts) {
    const char *first = name->part[0];
    const scope_range_t *named = NULL;
    for (int i = 0; i < s->nranges && name->n > 1; i++) {
        const scope_range_t *r = &s->ranges[i];
        if (!r->alias || strcmp(r->alias, first) != 0) continue;
        int n = range_find(s, r, name->part[1], ret_column);
        if (n > 1) return ambiguous(name, name->part[1]);
        if (n == 1) {
            *ret_parts = 2;
            return NULL;
        }
        named = r;
    }
    int found = 0;
    for (int i = 0; i < s->nranges; i++) {
        int column = 0, n = range_find(s, &s->ranges[i], first, &column);
        if (n && found == 0) *ret_column = column;
        found += n;
    }
    if (found > 1) return ambiguous(name, first);
    if (found == 0) return unknown_column(s, name, named ? name->part[1] : first, named);
    *ret_parts = 1;
    return NULL;
}

err_t *scope_range(const scope_t *s, const ast_name_t *name, const scope_range_t **ret) {
    near_t near = {.wanted = name->part[name->n - 1]};
    for (int i = 0; i < s->nranges; i++) {
        if (!s->ranges[i].alias) continue;
        near_offer(&near, s->ranges[i].alias);
        if (strcmp(s->ranges[i].alias, near.wanted) == 0) {
            *ret = &s->ranges[i];
            return NULL;
        }
    }
    err_t *e = err_at(err_new(ERR_NOT_FOUND, "no table '%s' in FROM", near.wanted), name->pos.line, name->pos.col);
    return near_word(&near) ? err_hint(e, "did you mean '%s.*'?", near_word(&near)) : e;
}
