/* batch.c: batches: making, sharing, selecting, validating. */
#include "engine/batch.h"
#include "engine/column_int.h"
#include "engine/decimal.h"
#include <stdlib.h>

static batch_t *batch_header(mem_t *m, int ncols) {
    batch_t *b = xcalloc(1, sizeof *b);
    b->ncols = ncols;
    b->mem = m;
    b->cols = mem_zalloc(m, sizeof(column_t) * (size_t)ncols);
    return b;
}

batch_t *batch_new(int ncols) { return batch_header(mem_new(), ncols); }

batch_t *batch_new_schema(const schema_t *s, uint32_t rows) {
    batch_t *b = batch_new(s->n);
    b->n = rows;
    for (int i = 0; i < s->n; i++) column_init(&b->cols[i], s->fields[i].type, b->mem, rows);
    return b;
}

void batch_free(batch_t *b) {
    if (!b) return;
    mem_unref(b->mem);
    free(b);
}

void batch_freep(batch_t **b) {
    batch_free(*b);
    *b = NULL;
}

batch_t *batch_share(const batch_t *b) {
    batch_t *s = xmalloc(sizeof *s);
    *s = *b;
    mem_ref(s->mem);
    return s;
}

#define NEAR 4 /* columns looked back: the counts of calls side by side */
static bool same_values(const column_t *a, const column_t *b) {
    return a->data == b->data && a->nulls == b->nulls && a->child == b->child && column_width(a->type) == column_width(b->type);
}

batch_t *batch_gather(const batch_t *b, const uint32_t *sel, uint32_t n) {
    batch_t *g = batch_new(b->ncols);
    g->n = n;
    mem_link(g->mem, b->mem);
    for (int i = 0; i < b->ncols; i++) {
        int same = MAX(i - NEAR, 0); /* a column that is there twice (counts of partial results) is gathered once */
        while (!same_values(&b->cols[same], &b->cols[i])) same++;
        if (same < i) g->cols[i] = g->cols[same];
        else column_gather(&g->cols[i], &b->cols[i], sel, n, g->mem);
        g->cols[i].type = b->cols[i].type;
    }
    if (b->kinds) {
        g->kinds = mem_alloc(g->mem, n);
        for (uint32_t i = 0; i < n; i++) g->kinds[i] = b->kinds[sel[i]];
    }
    return g;
}

batch_t *batch_slice(const batch_t *b, uint32_t from, uint32_t n) {
    ASSERT(from <= b->n && n <= b->n - from);
    batch_t *s = batch_new(b->ncols);
    s->n = n;
    mem_link(s->mem, b->mem);
    for (int i = 0; i < b->ncols; i++) column_slice(&s->cols[i], &b->cols[i], from, n, s->mem);
    if (b->kinds) s->kinds = b->kinds + from;
    return s;
}

batch_t *batch_copy(const batch_t *b) {
    batch_t *c = batch_new(b->ncols);
    c->n = b->n;
    for (int i = 0; i < b->ncols; i++) {
        const type_t *t = b->cols[i].type;
        if (t->kind < TYPE_ARRAY && !type_is_strlike(t)) {
            column_init(&c->cols[i], t, c->mem, b->n);
            column_put(&c->cols[i], 0, &b->cols[i], b->n, b->n, c->mem);
            continue;
        }
        colbuilder_t *to = colbuilder_new(t, c->mem);
        colbuilder_room(to, b->n);
        for (uint32_t k = 0; k < b->n; k++) colbuilder_row(to, &b->cols[i], k);
        colbuilder_finish(to, &c->cols[i]);
        colbuilder_free(to);
    }
    if (b->kinds) c->kinds = memcpy(mem_alloc(c->mem, b->n), b->kinds, b->n);
    return c;
}

#define PINS_LEAST ((size_t)128 << 10)
#define PINS_SHARE 8
#define PINS_DEPTH 3 /* rows of a filter over a projection of what was read */

/* Several rows may share the elements that they have: a copy, which has them once for each, may be larger than all that is kept. */
static bool shares_elements(const column_t *c) {
    if (c->type->kind == TYPE_ROW)
        for (int i = 0; i < c->type->nchild; i++)
            if (shares_elements(&c->child[i])) return true;
    return c->type->kind == TYPE_ARRAY || c->type->kind == TYPE_MAP || c->type->kind == TYPE_MULTISET;
}

bool batch_pins(const batch_t *b) {
    size_t held = mem_held(b->mem, PINS_DEPTH);
    if (held <= PINS_LEAST || held / PINS_SHARE <= batch_bytes(b)) return false;
    for (int i = 0; i < b->ncols; i++)
        if (shares_elements(&b->cols[i])) return false;
    return true;
}

size_t batch_bytes(const batch_t *b) {
    size_t sum = sizeof *b + (b->kinds ? b->n : 0);
    for (int i = 0; i < b->ncols; i++) sum += column_bytes(&b->cols[i], b->n);
    return sum;
}

static bool mask_ok(const uint8_t *mask, uint32_t n, uint8_t max) {
    uint8_t worst = 0;
    for (uint32_t i = 0; i < n; i++) worst = mask[i] > worst ? mask[i] : worst;
    return worst <= max;
}

static bool strings_ok(const column_t *c, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (c->str[i].len && !c->str[i].p) return false;
    return true;
}

static bool spans_ok(const column_t *c, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (c->span[i].off > c->child_rows || c->span[i].len > c->child_rows - c->span[i].off) return false;
    return true;
}

static bool decimals_ok(const column_t *c, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!column_null(c, i) && !decimal_fits(c->dec[i], c->type->precision)) return false;
    return true;
}

/* NULL when fine, else what is wrong */
static const char *column_validate(const column_t *c, const type_t *t, uint32_t n) {
    if (!c->type || !type_equal(c->type, t)) return "type differs";
    if (c->nulls && !mask_ok(c->nulls, n, 1)) return "null mask is not 0 or 1";
    if (n && column_width(t) && !c->data) return "no data";
    switch (t->kind) {
    case TYPE_NULL:
    case TYPE_BOOLEAN: return n && !mask_ok(c->b, n, 1) ? "boolean is not 0 or 1" : NULL;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: return strings_ok(c, n) ? NULL : "string without bytes";
    case TYPE_DECIMAL: return decimals_ok(c, n) ? NULL : "decimal has more digits than its type";
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET:
        if (c->child_rows > CHILD_ROWS_MAX || !c->child) return "children missing";
        if (!spans_ok(c, n)) return "span leaves its child";
        break;
    case TYPE_ROW:
        if (t->nchild && !c->child) return "children missing";
        if (c->child_rows != n) return "row count of fields differs";
        break;
    default: return NULL;
    }
    const char *bad = NULL;
    for (int i = 0; i < column_nchild(t) && !bad; i++)
        bad = column_validate(&c->child[i], column_child_type(t, i), c->child_rows);
    return bad;
}

err_t *batch_validate(const batch_t *b, const schema_t *s) {
    if (b->ncols != s->n) return err_new(ERR_CORRUPT, "batch has %d columns, expected %d", b->ncols, s->n);
    if (b->kinds && !mask_ok(b->kinds, b->n, ROW_DELETE)) return err_new(ERR_CORRUPT, "batch has an unknown row kind");
    for (int i = 0; i < s->n; i++) {
        const char *bad = column_validate(&b->cols[i], s->fields[i].type, b->n);
        if (bad) return err_new(ERR_CORRUPT, "batch column %s: %s", s->fields[i].name, bad);
    }
    return NULL;
}
