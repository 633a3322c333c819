/* upsert_keys.c: makes a full changelog of an upsert stream (upsert-kafka): per key the row seen last is kept.
 *
 *   row for a new key: +I | for a known key: -U old, +U new, nothing when equal | delete of a known key: -D old row
 * A delete of an unknown key and every -U of the input are dropped. Rows are kept as their encoded bytes: in the entry where that has the room that a
 * row of such columns mostly takes, else in memory of their own. The keys of a batch are looked up together, its changes gathered by column. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct stored_row {
    uint8_t *far; /* owned: `cap` bytes; cap 0: the row is in `near` */
    uint32_t len, cap;
    uint32_t round; /* not kept: the batch that met it last */
    bool there;     /* else there is no row: it was just made, or a row of this batch deletes it */
    uint8_t near[];
} stored_row_t;

typedef struct upsert_keys {
    kstate_t *ks;
    keyed_t keyed;
    keys_t keys;
    buf_t row;
    uint32_t near;        /* bytes */
    uint32_t round;       /* never 0 */
    const column_t **cols; /* of the batch at hand */
    colbuilder_t **old;   /* rows that are taken back */
    uint32_t nold;
    uint32_t *sel;        /* rows that are more than -U */
    void **values;
    uint32_t *from;       /* change -> row of the batch, or behind these of `old` */
    uint32_t nfrom, cap;
} upsert_keys_t;

/* ---------------------------------------------------------------- codec */
static const uint8_t *row_bytes(const stored_row_t *r) { return r->cap ? r->far : r->near; }
static void row_init(void *ctx, void *value) { memset(value, 0, sizeof(stored_row_t)); }
static void row_clear(void *ctx, void *value) { free(((stored_row_t *)value)->far); }
static void row_put(void *ctx, const void *value, buf_t *out) {
    const stored_row_t *r = value;
    buf_put(out, row_bytes(r), r->len);
}

/* What grows a little stays in its memory; what is far too large for it goes. */
static void row_set(const upsert_keys_t *u, stored_row_t *r, slice_t bytes) {
    if (bytes.len <= u->near) {
        free(TAKE(r->far));
        r->cap = 0;
    } else if (bytes.len > r->cap || bytes.len < r->cap / 4) {
        r->cap = (uint32_t)(bytes.len + bytes.len / 8 + 63) & ~63u;
        r->far = xrealloc(r->far, r->cap);
    }
    if (bytes.len) memcpy(r->cap ? r->far : r->near, bytes.p, bytes.len);
    r->len = (uint32_t)bytes.len;
    r->there = true;
}
static bool row_get(void *ctx, slice_t bytes, void *value) {
    row_set(ctx, value, bytes);
    return true;
}
static size_t row_heap(void *ctx, const void *value) { return ((const stored_row_t *)value)->cap; }

/* Bytes that a row of these columns takes, as far as types tell. */
#define NEAR_MAX 256
static uint32_t near_room(const schema_t *s) {
    uint32_t n = 0;
    for (int i = 0; i < s->n; i++) {
        const type_t *t = s->fields[i].type;
        n += type_is_strlike(t) || t->nchild ? 18 : type_width(t) >= 8 ? 10 : 6;
    }
    return MIN((n + 7) & ~7u, (uint32_t)NEAR_MAX);
}

static err_t *upsert_open(op_t *op) {
    upsert_keys_t *u = op->self;
    const schema_t *s = op->env.op->schema;
    u->row = buf_make(BUF_MAX_DEFAULT);
    u->near = near_room(s);
    u->cols = xcalloc((size_t)s->n + 1, sizeof *u->cols);
    u->old = xcalloc((size_t)s->n + 1, sizeof *u->old);
    for (int i = 0; i < s->n; i++) u->old[i] = colbuilder_new(s->fields[i].type, NULL);
    kstate_codec_t codec = {sizeof(stored_row_t) + u->near, u, row_init, row_clear, row_put, row_get, row_heap};
    TRY(kstate_open(op->env.state, op->env.op->fingerprint, 0, key_group_lo(op->env.subtask, op->env.parallelism),
                    key_group_lo(op->env.subtask + 1, op->env.parallelism), &codec, &u->ks));
    kstate_unscanned(u->ks);
    keyed_init(&u->keyed, u->ks);
    u->keyed.later = true;
    return NULL;
}

/* ---------------------------------------------------------------- rows */
static void room(upsert_keys_t *u, uint32_t n) {
    if (u->cap >= n) return;
    u->cap = n;
    u->sel = xrealloc(u->sel, sizeof *u->sel * n);
    u->values = xrealloc(u->values, sizeof *u->values * n);
    u->from = xrealloc(u->from, sizeof *u->from * n * 2);
}

static void change(upsert_keys_t *u, batch_t *made, uint32_t from, row_kind_t kind) {
    u->from[u->nfrom] = from;
    made->kinds[u->nfrom++] = (uint8_t)kind;
}

static err_t *take_back(upsert_keys_t *u, const batch_t *b, batch_t *made, const stored_row_t *r, row_kind_t kind) {
    reader_t rd = reader_of(slice_of(row_bytes(r), r->len));
    for (int i = 0; i < b->ncols; i++)
        if (!value_decode(&rd, u->old[i])) return err_new(ERR_CORRUPT, "a row of the state is malformed");
    change(u, made, b->n + u->nold++, kind);
    return NULL;
}

static err_t *upsert_row(upsert_keys_t *u, const batch_t *b, uint32_t row, stored_row_t *r, batch_t *made) {
    r->round = u->round;
    if (batch_kind(b, row) == ROW_DELETE) {
        if (r->there) TRY(take_back(u, b, made, r, ROW_DELETE));
        r->there = false;
        return NULL;
    }
    buf_clear(&u->row);
    row_encode(&u->row, u->cols, b->ncols, row);
    bool known = r->there;
    if (known && slice_eq(buf_slice(&u->row), slice_of(row_bytes(r), r->len))) return NULL;
    if (known) TRY(take_back(u, b, made, r, ROW_UPDATE_BEFORE));
    change(u, made, row, known ? ROW_UPDATE_AFTER : ROW_INSERT);
    row_set(u, r, buf_slice(&u->row));
    kstate_dirty(u->ks, r);
    return NULL;
}

static err_t *upsert_rows(upsert_keys_t *u, const batch_t *b, const uint32_t *sel, uint32_t n, batch_t *made) {
    if (++u->round == 0) u->round = 1;
    for (uint32_t k = 0; k < n; k++) TRY(upsert_row(u, b, sel ? sel[k] : k, u->values[k], made));
    for (uint32_t k = 0; k < n; k++) {
        stored_row_t *r = u->values[k];
        if (!r->there && r->round == u->round) kstate_delete(u->ks, r); /* after which it is zero: once */
    }
    return NULL;
}

static void gather(upsert_keys_t *u, const plan_op_t *p, const batch_t *b, batch_t *made) {
    made->n = u->nfrom;
    mem_link(made->mem, b->mem);
    for (int i = 0; i < b->ncols; i++) {
        column_t old;
        if (u->nold) colbuilder_finish(u->old[i], &old);
        column_gather2(&made->cols[i], &b->cols[i], b->n, u->nold ? &old : NULL, u->from, made->n, made->mem);
        made->cols[i].type = p->schema->fields[i].type;
    }
}

static op_status_t upsert_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    upsert_keys_t *u = op->self;
    const plan_op_t *p = op->env.op;
    if (out_full(out)) return OP_MORE;
    uint32_t n = 0;
    room(u, b->n);
    for (uint32_t i = 0; i < b->n; i++)
        if (batch_kind(b, i) != ROW_UPDATE_BEFORE) u->sel[n++] = i;
    const uint32_t *sel = n == b->n ? NULL : u->sel;
    keys_encode(&u->keys, b, p->keys, p->nkeys, sel, n);
    if ((*reterr = keyed_find(&u->keyed, &u->keys, NULL, NULL, n, u->values))) return OP_FAIL;
    batch_t *made = batch_new(b->ncols);
    made->kinds = mem_alloc(made->mem, (size_t)b->n * 2);
    u->nold = u->nfrom = 0;
    for (int i = 0; i < b->ncols; i++) {
        u->cols[i] = &b->cols[i];
        colbuilder_use(u->old[i], made->mem);
    }
    if ((*reterr = upsert_rows(u, b, sel, n, made))) {
        batch_free(made);
        return OP_FAIL;
    }
    gather(u, p, b, made);
    out_batch(out, made);
    return OP_DONE;
}

static kstate_t *upsert_state(op_t *op, int slot) { return slot == 0 ? ((upsert_keys_t *)op->self)->ks : NULL; }

static void upsert_close(op_t *op) {
    upsert_keys_t *u = op->self;
    keyed_free(&u->keyed);
    kstate_close(u->ks);
    keys_free(&u->keys);
    buf_free(&u->row);
    for (int i = 0; u->old && i < op->env.op->schema->n; i++) colbuilder_free(u->old[i]);
    free(u->old);
    free(u->cols);
    free(u->sel);
    free(u->values);
    free(u->from);
}

const op_vtable_t op_upsert_keys = {
    .name = "UPSERT_KEYS",
    .state_size = sizeof(upsert_keys_t),
    .open = upsert_open,
    .process = upsert_process,
    .close = upsert_close,
    .state = upsert_state,
};
