/* sink_op.c: a sink as an operator. Row kinds a sink does not take are refused when the plan is made; here they only
 * pass. The sink says OP_MORE when it cannot take more now: the task calls again with the same batch. */
#include "engine/op/op_int.h"
#include "engine/text.h"
#include <stdlib.h>
#include <strings.h>

/* What a column of the table demands of the rows: Flink's constraint enforcer. */
typedef struct rule {
    int col;
    bool not_null;
    bool exact;         /* CHAR, BINARY: length is exact, else the longest */
    bool text;          /* length counts characters, else bytes */
    uint32_t length;    /* UINT32_MAX: not checked */
} rule_t;

typedef struct sink_op {
    sink_t sink;
    bool opened;
    uint64_t rows_sealed;
    int nrules;
    rule_t *rules;
    bool drop;          /* a NULL drops the row instead of failing the job */
    bool trim;          /* values that do not fit are cut or padded */
    bool checked;       /* the batch of this call: kept over OP_MORE, so that a row is counted once */
    batch_t *kept;      /* what is left of it; NULL: all */
} sink_op_t;

/* ---- constraints */
static bool setting_is(const op_t *op, const char *key, const char *value) {
    const char *v = op->env.plan ? options_get(&op->env.plan->set, key) : NULL;
    return v && strcasecmp(v, value) == 0;
}

static void read_rules(op_t *op, sink_op_t *s) {
    const table_t *t = op->env.op->table;
    s->drop = setting_is(op, "table.exec.sink.not-null-enforcer", "DROP");
    s->trim = setting_is(op, "table.exec.sink.type-length-enforcer", "TRIM_PAD");
    bool lengths = s->trim || setting_is(op, "table.exec.sink.type-length-enforcer", "ERROR");
    if (!t || op->env.op->sink_print || op->env.op->dead_letter) return;
    s->rules = xcalloc((size_t)t->physical->n + 1, sizeof *s->rules);
    for (int c = 0; c < t->physical->n && c < op->env.op->schema->n; c++) {
        const type_t *type = t->physical->fields[c].type;
        rule_t r = {.col = c, .not_null = !type->nullable, .length = UINT32_MAX};
        type_kind_t k = type->kind;
        r.text = k == TYPE_CHAR || k == TYPE_VARCHAR;
        r.exact = k == TYPE_CHAR || k == TYPE_BINARY;
        bool sized = (r.text || k == TYPE_BINARY || k == TYPE_VARBINARY) && type->precision > 0 && type->precision < TYPE_LEN_MAX;
        if (lengths && sized) r.length = (uint32_t)type->precision;
        if (r.not_null || r.length != UINT32_MAX) s->rules[s->nrules++] = r;
    }
}

static err_t *null_error(const op_t *op, int col) {
    const table_t *t = op->env.op->table;
    return err_hint(err_new(ERR_DATA, "table %s: column '%s' is NOT NULL, a NULL is being written into it", t->name, t->physical->fields[col].name),
                    "filter the NULLs, give them a value by COALESCE, or SET 'table.exec.sink.not-null-enforcer' = 'DROP' to drop and count such rows");
}

static bool fits(const rule_t *r, str_t v, uint32_t *ret_len) {
    *ret_len = r->text ? text_length(v) : v.len;
    return *ret_len == r->length || (*ret_len < r->length && !r->exact);
}

static err_t *length_error(const op_t *op, int col, uint32_t len) {
    const table_t *t = op->env.op->table;
    AUTO(buf_free) buf_t type = buf_make(BUF_MAX_DEFAULT);
    type_print(&type, t->physical->fields[col].type);
    return err_hint(err_new(ERR_DATA, "table %s: column '%s' is %s, a value of length %u is being written into it", t->name, t->physical->fields[col].name,
                            buf_cstr(&type), len),
                    "CAST it, or SET 'table.exec.sink.type-length-enforcer' to TRIM_PAD or IGNORE");
}

static str_t fitted(const rule_t *r, str_t v, uint32_t len, mem_t *m) {
    if (len >= r->length) return (str_t){.p = v.p, .len = r->text ? text_offset(v, r->length) : r->length};
    uint32_t more = r->length - len;
    char *p = mem_alloc(m, v.len + more);
    if (v.len) memcpy(p, v.p, v.len);
    memset(p + v.len, r->text ? ' ' : 0, more);
    return (str_t){.p = p, .len = v.len + more};
}

/* Values that do not fit: an error, or cut and padded in a column of their own. */
static err_t *check_lengths(const op_t *op, sink_op_t *s, const rule_t *r, const batch_t *b) {
    const column_t *c = &b->cols[r->col];
    str_t *out = NULL;
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t len;
        if (column_null(c, i) || fits(r, c->str[i], &len)) continue;
        if (!s->trim) return length_error(op, r->col, len);
        if (!s->kept) s->kept = batch_slice(b, 0, b->n);
        if (!out) {
            out = mem_alloc(s->kept->mem, sizeof *out * b->n);
            memcpy(out, c->str, sizeof *out * b->n);
            s->kept->cols[r->col].str = out;
        }
        out[i] = fitted(r, c->str[i], len, s->kept->mem);
    }
    return NULL;
}

/* Marks the rows to drop in `bad` (b->n bytes, made when first needed). */
static err_t *check_rules(const op_t *op, sink_op_t *s, const batch_t *b, uint8_t **bad) {
    for (int i = 0; i < s->nrules; i++) {
        const rule_t *r = &s->rules[i];
        const uint8_t *nulls = b->cols[r->col].nulls;
        if (r->not_null && nulls && memchr(nulls, 1, b->n)) {
            if (!s->drop) return null_error(op, r->col);
            if (!*bad) *bad = xcalloc(b->n, 1);
            for (uint32_t k = 0; k < b->n; k++) (*bad)[k] |= nulls[k];
        }
        if (r->length != UINT32_MAX) TRY(check_lengths(op, s, r, b));
    }
    return NULL;
}

static err_t *enforce(op_t *op, sink_op_t *s, const batch_t *b) {
    AUTO(auto_free) uint8_t *bad = NULL;
    TRY(check_rules(op, s, b, &bad));
    s->checked = true;
    if (!bad) return NULL;
    AUTO(auto_free) uint32_t *sel = xcalloc(b->n, sizeof *sel);
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (!bad[i]) sel[n++] = i;
    op->dropped_rows += b->n - n;
    batch_t *kept = batch_gather(s->kept ? s->kept : b, sel, n);
    batch_free(s->kept);
    s->kept = kept;
    return NULL;
}

err_t *sink_op_bind(op_t *op, const sink_vtable_t *vt) {
    sink_op_t *s = op->self;
    s->sink.vt = vt;
    s->sink.env = op->env;
    s->sink.self = xcalloc(1, MAX(vt->state_size, (size_t)1));
    return NULL;
}

static err_t *sink_op_open(op_t *op) {
    sink_op_t *s = op->self;
    s->opened = true;
    read_rules(op, s);
    return s->sink.vt->open ? s->sink.vt->open(&s->sink) : NULL;
}

static err_t *sink_op_restore(op_t *op, slice_t bytes) {
    sink_op_t *s = op->self;
    return s->sink.vt->restore ? s->sink.vt->restore(&s->sink, bytes) : NULL;
}

static err_t *sink_op_start(op_t *op) {
    sink_op_t *s = op->self;
    return s->sink.vt->start ? s->sink.vt->start(&s->sink) : NULL;
}

static op_status_t sink_op_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    sink_op_t *s = op->self;
    if (s->nrules && !s->checked && (*reterr = enforce(op, s, b)) != NULL) return OP_FAIL;
    if (s->kept) b = s->kept;
    op_status_t st = b->n ? s->sink.vt->write(&s->sink, b, reterr) : OP_DONE;
    if (st != OP_DONE) return st;
    s->sink.rows_in += b->n;
    s->checked = false;
    batch_freep(&s->kept);
    return OP_DONE;
}

static op_status_t sink_op_end(op_t *op, out_t *out, err_t **reterr) {
    sink_op_t *s = op->self;
    *reterr = s->sink.vt->end ? s->sink.vt->end(&s->sink) : NULL;
    return *reterr ? OP_FAIL : OP_DONE;
}

op_status_t sink_op_seal(op_t *op, epoch_t epoch, buf_t *bytes, buf_t *segment, uint64_t *ret_rows, err_t **reterr) {
    sink_op_t *s = op->self;
    op_status_t st = s->sink.vt->seal ? s->sink.vt->seal(&s->sink, epoch, bytes, segment, reterr) : OP_DONE;
    if (st == OP_DONE) {
        *ret_rows = s->sink.rows_in - s->rows_sealed;
        s->rows_sealed = s->sink.rows_in;
    }
    return st;
}

op_status_t sink_op_settle(op_t *op, epoch_t epoch, err_t **reterr) {
    sink_op_t *s = op->self;
    return s->sink.vt->settle ? s->sink.vt->settle(&s->sink, epoch, reterr) : OP_DONE;
}

const char *sink_op_waits_for(const op_t *op) {
    const sink_op_t *s = op->self;
    return s && s->sink.waits_for[0] ? s->sink.waits_for : NULL;
}

err_t *sink_op_complete(op_t *op, epoch_t epoch) {
    sink_op_t *s = op->self;
    return s->sink.vt->complete ? s->sink.vt->complete(&s->sink, epoch) : NULL;
}

static void sink_op_close(op_t *op) {
    sink_op_t *s = op->self;
    if (s->opened && s->sink.vt->close) s->sink.vt->close(&s->sink);
    free(s->sink.self);
    free(s->rules);
    batch_freep(&s->kept);
}

const op_vtable_t op_sink = {
    .name = "SINK",
    .state_size = sizeof(sink_op_t),
    .open = sink_op_open,
    .restore = sink_op_restore,
    .start = sink_op_start,
    .process = sink_op_process,
    .end = sink_op_end,
    .close = sink_op_close,
};
