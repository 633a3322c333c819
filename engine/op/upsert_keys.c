/* upsert_keys.c: makes a full changelog of an upsert stream (upsert-kafka): per key the row seen last is kept.
 *
 *   row for a new key: +I | for a known key: -U old, +U new, nothing when equal | delete of a known key: -D old row
 * A delete of an unknown key and every -U of the input are dropped. Rows are kept as their encoded bytes. */
#include "engine/op/op_int.h"
#include <stdlib.h>

typedef struct stored_row {
    uint8_t *bytes; /* owned; NULL: none */
    uint64_t len;
} stored_row_t;

typedef struct upsert_keys {
    kstate_t *ks;
    keys_t keys;
    buf_t row;
} upsert_keys_t;

static void row_init(void *ctx, void *value) { memset(value, 0, sizeof(stored_row_t)); }
static void row_clear(void *ctx, void *value) { free(((stored_row_t *)value)->bytes); }
static void row_put(void *ctx, const void *value, buf_t *out) {
    const stored_row_t *r = value;
    buf_put(out, r->bytes, r->len);
}
static void row_set(stored_row_t *r, slice_t bytes) {
    if (r->len != bytes.len) r->bytes = xrealloc(r->bytes, MAX(bytes.len, (size_t)1));
    if (bytes.len) memcpy(r->bytes, bytes.p, bytes.len);
    r->len = bytes.len;
}
static bool row_get(void *ctx, slice_t bytes, void *value) {
    row_set(value, bytes);
    return true;
}
static size_t row_heap(void *ctx, const void *value) { return ((const stored_row_t *)value)->len; }

static err_t *upsert_open(op_t *op) {
    upsert_keys_t *u = op->self;
    u->row = buf_make(BUF_MAX_DEFAULT);
    kstate_codec_t codec = {sizeof(stored_row_t), NULL, row_init, row_clear, row_put, row_get, row_heap};
    return kstate_open(op->env.state, op->env.op->fingerprint, 0, key_group_lo(op->env.subtask, op->env.parallelism),
                       key_group_lo(op->env.subtask + 1, op->env.parallelism), &codec, &u->ks);
}

typedef struct changes {
    int ncols;
    colbuilder_t **cols;
    uint8_t *kinds;
    uint32_t n;
} changes_t;

static bool add_stored(changes_t *c, const stored_row_t *r, row_kind_t kind) {
    reader_t rd = reader_of(slice_of(r->bytes, r->len));
    for (int i = 0; i < c->ncols; i++)
        if (!value_decode(&rd, c->cols[i])) return false;
    c->kinds[c->n++] = (uint8_t)kind;
    return true;
}

static void add_row(changes_t *c, const batch_t *b, uint32_t row, row_kind_t kind) {
    for (int i = 0; i < c->ncols; i++) {
        if (column_null(&b->cols[i], row)) colbuilder_null(c->cols[i]);
        else colbuilder_row(c->cols[i], &b->cols[i], row);
    }
    c->kinds[c->n++] = (uint8_t)kind;
}

static err_t *upsert_row(op_t *op, const batch_t *b, uint32_t row, changes_t *c) {
    upsert_keys_t *u = op->self;
    row_kind_t kind = batch_kind(b, row);
    if (kind == ROW_UPDATE_BEFORE) return NULL;
    bool created = false;
    void *value;
    TRY(kstate_get(u->ks, 0, u->keys.hash[row], keys_at(&u->keys, row), kind != ROW_DELETE, &created, &value));
    if (!value) return NULL; /* delete of an unknown key */
    stored_row_t *old = value;
    if (kind == ROW_DELETE) {
        bool ok = add_stored(c, old, ROW_DELETE);
        kstate_delete(u->ks, value);
        return ok ? NULL : err_new(ERR_CORRUPT, "a row of the state is malformed");
    }
    const column_t *cols[512];
    if (b->ncols > (int)ARRAY_LEN(cols)) return err_new(ERR_LIMIT, "a table with more than %zu columns", ARRAY_LEN(cols));
    for (int i = 0; i < b->ncols; i++) cols[i] = &b->cols[i];
    buf_clear(&u->row);
    row_encode(&u->row, cols, b->ncols, row);
    if (!created && slice_eq(buf_slice(&u->row), slice_of(old->bytes, old->len))) return NULL;
    if (!created && !add_stored(c, old, ROW_UPDATE_BEFORE)) return err_new(ERR_CORRUPT, "a row of the state is malformed");
    add_row(c, b, row, created ? ROW_INSERT : ROW_UPDATE_AFTER);
    row_set(old, buf_slice(&u->row));
    kstate_dirty(u->ks, value);
    return NULL;
}

static op_status_t upsert_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    upsert_keys_t *u = op->self;
    const plan_op_t *p = op->env.op;
    if (out_full(out)) return OP_MORE;
    keys_encode(&u->keys, b, p->keys, p->nkeys, NULL, b->n);
    batch_t *made = batch_new(b->ncols);
    changes_t c = {.ncols = b->ncols, .cols = xcalloc((size_t)b->ncols + 1, sizeof *c.cols), .kinds = mem_alloc(made->mem, (size_t)b->n * 2)};
    for (int i = 0; i < c.ncols; i++) c.cols[i] = colbuilder_new(p->schema->fields[i].type, made->mem);
    err_t *e = NULL;
    for (uint32_t row = 0; row < b->n && !e; row++) e = upsert_row(op, b, row, &c);
    for (int i = 0; i < c.ncols; i++) {
        if (!e) colbuilder_finish(c.cols[i], &made->cols[i]);
        colbuilder_free(c.cols[i]);
    }
    free(c.cols);
    if (e) {
        batch_free(made);
        *reterr = e;
        return OP_FAIL;
    }
    made->n = c.n;
    made->kinds = c.kinds;
    out_batch(out, made);
    return OP_DONE;
}

static kstate_t *upsert_state(op_t *op, int slot) { return slot == 0 ? ((upsert_keys_t *)op->self)->ks : NULL; }

static void upsert_close(op_t *op) {
    upsert_keys_t *u = op->self;
    kstate_close(u->ks);
    keys_free(&u->keys);
    buf_free(&u->row);
}

const op_vtable_t op_upsert_keys = {
    .name = "UPSERT_KEYS",
    .state_size = sizeof(upsert_keys_t),
    .open = upsert_open,
    .process = upsert_process,
    .close = upsert_close,
    .state = upsert_state,
};
