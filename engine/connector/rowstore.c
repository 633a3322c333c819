/* rowstore.c: see rowstore.h. */
#include "engine/connector/rowstore.h"

#define STRINGS_MIN 2048u
#define STRINGS_MAX (64u * 1024u)

static const type_t type_multiset_count = {.kind = TYPE_INT, .nullable = false};

static void rcol_init(rowstore_t *s, rcol_t *c, const type_t *t, const char *name, bool *ret_appended) {
    c->type = t;
    c->name = name;
    c->key = name;
    c->key_len = (uint32_t)strlen(name);
    c->not_null = !t->nullable;
    c->width = (uint16_t)type_width(t);
    c->nchild = column_nchild(t);
    if (!c->nchild) return;
    c->child = ARENA_ARRAY(s->arena, rcol_t, c->nchild);
    if (t->kind != TYPE_ROW) *ret_appended = true;
    for (int i = 0; i < c->nchild; i++) {
        const type_t *ct = t->kind == TYPE_MULTISET && i == 1 ? &type_multiset_count : t->child[i];
        rcol_init(s, &c->child[i], ct, t->kind == TYPE_ROW ? t->names[i] : "", ret_appended);
    }
}

void rowstore_init(rowstore_t *s, int ncols, const type_t *const *types, const char *const *names) {
    *s = (rowstore_t){.arena = arena_new(), .hint = 64};
    s->root.type = type_row(s->arena, ncols, types, names, false);
    s->root.name = "";
    s->root.not_null = true;
    s->root.nchild = ncols;
    s->root.child = ARENA_ARRAY(s->arena, rcol_t, ncols ? ncols : 1);
    for (int i = 0; i < ncols; i++)
        rcol_init(s, &s->root.child[i], types[i], arena_strdup(s->arena, names[i]), &s->nested);
}

void rowstore_done(rowstore_t *s) {
    mem_unref(s->mem);
    arena_free(s->arena);
    *s = (rowstore_t){0};
}

static void rcol_reserve(mem_t *m, rcol_t *c, uint32_t used, uint32_t cap) {
    uint8_t *nulls = mem_alloc(m, cap);
    if (used) memcpy(nulls, c->nulls, used);
    memset(nulls + used, 0, cap - used);
    c->nulls = nulls;
    if (c->width) {
        uint8_t *data = mem_alloc(m, (size_t)cap * c->width);
        size_t keep = (size_t)used * c->width;
        if (keep) memcpy(data, c->data, keep);
        memset(data + keep, 0, (size_t)cap * c->width - keep);
        c->data = data;
    }
    c->cap = cap;
    if (c->type->kind == TYPE_ROW)
        for (int i = 0; i < c->nchild; i++) rcol_reserve(m, &c->child[i], used, cap);
}

static void rcol_set_mark(rcol_t *c) {
    for (int i = 0; i < c->nchild; i++) {
        c->child[i].mark = c->child[i].n;
        rcol_set_mark(&c->child[i]);
    }
}
static void rcol_to_mark(rcol_t *c) {
    for (int i = 0; i < c->nchild; i++) {
        c->child[i].n = c->child[i].mark;
        rcol_to_mark(&c->child[i]);
    }
}

static void grow(rowstore_t *s, uint32_t cap) {
    if (!s->mem) s->mem = mem_new();
    for (int i = 0; i < s->root.nchild; i++) rcol_reserve(s->mem, &s->root.child[i], s->rows, cap);
    s->cap = cap;
}

uint32_t rowstore_begin(rowstore_t *s) {
    if (UNLIKELY(s->rows == s->cap)) grow(s, s->cap ? s->cap * 2 : s->hint);
    if (s->nested) rcol_set_mark(&s->root);
    s->begun = true;
    return s->rows;
}

uint32_t rowstore_rows(rowstore_t *s, uint32_t n) {
    if (s->cap - s->rows < n) grow(s, MAX(s->rows + n, s->cap ? s->cap * 2 : s->hint));
    s->rows += n;
    return s->rows - n;
}

/* Marks are those of the last row begun. When more rows are forgotten (an array of rows in one message) their appended
 * children stay behind as rows which no span names. Where none was begun since, the last one keeps its children. */
void rowstore_rollback(rowstore_t *s, uint32_t rows) {
    ASSERT(rows <= s->rows);
    if (s->nested && (s->begun || rows < s->rows)) rcol_to_mark(&s->root);
    s->begun = false;
    s->rows = rows;
}

void rcol_null(rcol_t *c, uint32_t i) {
    c->nulls[i] = 1;
    c->any_null = true;
    switch (c->width) { /* a call of memset for a few bytes costs more than they do */
    case 0: break;
    case 4: c->i32[i] = 0; break;
    case 8: c->i64[i] = 0; break;
    case 16: c->dec[i] = 0; break;
    default: memset((uint8_t *)c->data + (size_t)i * c->width, 0, c->width); break;
    }
    if (c->type->kind == TYPE_ROW)
        for (int k = 0; k < c->nchild; k++) rcol_null(&c->child[k], i);
}

uint32_t rcol_append(rowstore_t *s, rcol_t *c) {
    if (UNLIKELY(c->n == c->cap)) rcol_reserve(s->mem, c, c->n, c->cap ? c->cap * 2 : 64);
    return c->n++;
}

char *rowstore_bytes_slow(rowstore_t *s, size_t n) {
    if (!s->mem) s->mem = mem_new();
    size_t want = s->bytes < STRINGS_MIN ? STRINGS_MIN : s->bytes > STRINGS_MAX ? STRINGS_MAX : s->bytes;
    if (n > want / 4) {
        /* of its own, unless it becomes the open chunk: a caller may give back its tail */
        char *p = mem_alloc(s->mem, n + want);
        s->s = p + n;
        s->s_end = p + n + want;
        return p;
    }
    s->s = mem_alloc(s->mem, want);
    s->s_end = s->s + want;
    char *p = s->s;
    s->s += n;
    return p;
}

static void rcol_take(rcol_t *c, mem_t *m, uint32_t rows, column_t *to) {
    *to = (column_t){.type = c->type, .nulls = c->any_null ? c->nulls : NULL, .data = c->data};
    if (c->nchild) {
        to->child = mem_zalloc(m, sizeof(column_t) * (size_t)c->nchild);
        to->child_rows = c->type->kind == TYPE_ROW ? rows : c->child[0].n;
        for (int i = 0; i < c->nchild; i++) rcol_take(&c->child[i], m, to->child_rows, &to->child[i]);
    }
    c->any_null = false;
    c->n = c->mark = c->cap = 0;
    c->nulls = NULL;
    c->data = NULL;
}

batch_t *rowstore_take(rowstore_t *s, int extra) {
    if (!s->rows) return NULL;
    int n = s->root.nchild;
    batch_t *b = xcalloc(1, sizeof *b);
    b->n = s->rows;
    b->ncols = n + extra;
    b->mem = TAKE(s->mem);
    if (!b->mem) b->mem = mem_new(); /* no columns: rows are only counted */
    b->cols = mem_zalloc(b->mem, sizeof(column_t) * (size_t)(b->ncols ? b->ncols : 1));
    for (int i = 0; i < n; i++) rcol_take(&s->root.child[i], b->mem, s->rows, &b->cols[i]);
    uint32_t hint = 64;
    while (hint < s->rows && hint < BATCH_ROWS_MAX) hint *= 2;
    s->hint = hint;
    s->rows = s->cap = 0;
    s->s = s->s_end = NULL;
    s->bytes = 0;
    return b;
}
