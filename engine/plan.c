/* plan.c: helpers over the physical plan and the check that it is consistent in itself. */
#include "engine/plan.h"

const char *op_kind_name(op_kind_t k) {
    static const char *const names[OP_KINDS] = {
        [OP_SOURCE] = "SOURCE",
        [OP_VALUES] = "VALUES",
        [OP_EXCHANGE_IN] = "EXCHANGE_IN",
        [OP_CALC] = "CALC",
        [OP_WATERMARK] = "WATERMARK",
        [OP_UNION] = "UNION",
        [OP_WINDOW_ASSIGN] = "WINDOW_ASSIGN",
        [OP_WINDOW_LOCAL] = "WINDOW_LOCAL",
        [OP_WINDOW_AGG] = "WINDOW_AGG",
        [OP_GROUP_LOCAL] = "GROUP_LOCAL",
        [OP_GROUP_AGG] = "GROUP_AGG",
        [OP_UPSERT_KEYS] = "UPSERT_KEYS",
        [OP_EXCHANGE_OUT] = "EXCHANGE_OUT",
        [OP_SINK] = "SINK",
    };
    return (unsigned)k < OP_KINDS && names[k] ? names[k] : "?";
}

int key_group_owner(int key_group, int n) {
    /* key_group_lo(i, n) = floor(i * G / n) <= g  <=>  i * G < (g + 1) * n  =>  the largest such i */
    return (int)((((int64_t)key_group + 1) * n - 1) / KEY_GROUPS);
}

void plan_finish(plan_t *p) {
    buf_t text = buf_make(BUF_MAX_DEFAULT);
    plan_print(&text, p);
    p->hash = hash_bytes(text.data, text.len);
    buf_free(&text);
}

void plan_free(plan_t *p) {
    if (p) arena_free(p->arena);
}

/* ---------------------------------------------------------------- validation */
#define PLAN_KEYS_MAX 64 /* of one operator; engine/op/keys.c has room for so many */

typedef struct check {
    const plan_t *p;
    const plan_stage_t *s;
    const plan_op_t *op;
} check_t;

#define BAD(c, ...) err_wrap(err_new(ERR_INTERNAL, __VA_ARGS__), "plan: stage %d, operator %d %s", (c)->s->id, (c)->op->id, op_kind_name((c)->op->kind))

static const schema_t *input_schema(const check_t *c, int i) { return c->s->ops[c->op->inputs[i]]->schema; }

static err_t *check_column(const check_t *c, const char *what, int col, const schema_t *in) {
    if (col < 0 || col >= in->n) return BAD(c, "%s is column %d of %d", what, col, in->n);
    return NULL;
}

static err_t *check_expr(const check_t *c, const expr_t *e, const schema_t *in) {
    if (!e || !e->type) return BAD(c, "an expression has no type");
    if (e->kind == EXPR_COLUMN) {
        TRY(check_column(c, "an expression", e->column, in));
        if (!type_equal(e->type, in->fields[e->column].type))
            return BAD(c, "an expression reads column %d with another type than the input has", e->column);
    }
    if (e->kind != EXPR_CALL) return NULL;
    for (int i = 0; i < e->nargs; i++) TRY(check_expr(c, e->args[i], in));
    return NULL;
}

static err_t *check_inputs(const check_t *c, int index) {
    const plan_op_t *op = c->op;
    if (op->id != index) return BAD(c, "its id is not its position %d", index);
    bool head = op->kind == OP_SOURCE || op->kind == OP_VALUES || op->kind == OP_EXCHANGE_IN;
    if (head && op->ninputs != 0) return BAD(c, "a head of a stage has %d inputs", op->ninputs);
    if (!head && op->ninputs < 1) return BAD(c, "it has no input");
    if (!head && op->kind != OP_UNION && op->ninputs != 1) return BAD(c, "it has %d inputs", op->ninputs);
    if (!op->schema) return BAD(c, "it has no schema");
    for (int i = 0; i < op->ninputs; i++) {
        if (op->inputs[i] < 0 || op->inputs[i] >= index) return BAD(c, "input %d does not come before it", op->inputs[i]);
        op_kind_t k = c->s->ops[op->inputs[i]]->kind;
        if (k == OP_SINK || k == OP_EXCHANGE_OUT) return BAD(c, "its input %d emits nothing", op->inputs[i]);
    }
    return NULL;
}

static err_t *check_same(const check_t *c, const schema_t *a, const schema_t *b, const char *what) {
    if (a->n != b->n) return BAD(c, "%s has %d columns, expected %d", what, a->n, b->n);
    for (int i = 0; i < a->n; i++)
        if (!type_equal(a->fields[i].type, b->fields[i].type)) return BAD(c, "%s differs in the type of column %d", what, i);
    return NULL;
}

static err_t *check_calls(const check_t *c, const schema_t *in) {
    const plan_op_t *op = c->op;
    for (int i = 0; i < op->naggs; i++) {
        const agg_call_t *a = &op->aggs[i];
        if (!a->fn || !a->type) return BAD(c, "aggregate %d is not bound", i);
        if (a->nargs < 0 || a->nargs > 4) return BAD(c, "aggregate %d has %d arguments", i, a->nargs);
        if (op->partial_input) continue; /* its columns are those of the LOCAL operator's input */
        for (int k = 0; k < a->nargs; k++) TRY(check_column(c, "an argument", a->args[k], in));
        if (a->filter >= 0) TRY(check_column(c, "a filter", a->filter, in));
    }
    return NULL;
}

static err_t *check_window(const check_t *c, const schema_t *in) {
    const plan_op_t *op = c->op;
    const window_spec_t *w = &op->window;
    bool attached = w->attached_end >= 0 && w->time_col < 0 && !w->proctime;
    if (attached) {
        TRY(check_column(c, "window_end", w->attached_end, in));
        TRY(check_column(c, "window_start", w->attached_start, in));
    } else if (!w->proctime && !op->partial_input) {
        TRY(check_column(c, "the time attribute", w->time_col, in));
        if (!type_is_timestamp(in->fields[w->time_col].type)) return BAD(c, "the time attribute is no TIMESTAMP");
    }
    if (w->kind == WINDOW_SESSION) {
        if (w->gap_ms <= 0) return BAD(c, "the session gap is not positive");
        return NULL;
    }
    if (w->size_ms <= 0) return BAD(c, "the window size is not positive");
    if (w->kind != WINDOW_TUMBLE && w->slide_ms <= 0) return BAD(c, "the slide or step is not positive");
    if (w->kind == WINDOW_CUMULATE && w->size_ms % w->slide_ms) return BAD(c, "the window size is no multiple of the step");
    return NULL;
}

static err_t *check_keys(const check_t *c, const schema_t *in) {
    if (c->op->nkeys > PLAN_KEYS_MAX)
        return err_new(ERR_UNSUPPORTED, "%d key columns, at most %d are supported: combine some into a ROW", c->op->nkeys, PLAN_KEYS_MAX);
    for (int i = 0; i < c->op->nkeys; i++) TRY(check_column(c, "a key", c->op->keys[i], in));
    return NULL;
}

static err_t *check_aggregate(const check_t *c, const schema_t *in) {
    const plan_op_t *op = c->op;
    TRY(check_keys(c, in));
    TRY(check_calls(c, in));
    bool window = op->kind == OP_WINDOW_AGG || op->kind == OP_WINDOW_LOCAL;
    if (window) TRY(check_window(c, in));
    if (op->kind == OP_WINDOW_AGG || op->kind == OP_GROUP_AGG) {
        int n = op->nkeys + op->naggs + (window ? op->nprops : 0);
        if (op->schema->n != n) return BAD(c, "it emits %d columns, its schema has %d", n, op->schema->n);
        if (!op->fingerprint) return BAD(c, "it keeps state and has no fingerprint");
    }
    return NULL;
}

static err_t *check_source(const check_t *c) {
    const plan_op_t *op = c->op;
    if (!op->table || !op->table->connector) return BAD(c, "it has no table");
    if (op->nscan != op->schema->n) return BAD(c, "it scans %d columns, its schema has %d", op->nscan, op->schema->n);
    int all = op->table->physical->n + (op->table->metadata ? op->table->metadata->n : 0);
    for (int i = 0; i < op->nscan; i++)
        if (op->scan[i] < 0 || op->scan[i] >= all) return BAD(c, "it scans column %d of %d", op->scan[i], all);
    if (!op->fingerprint) return BAD(c, "it keeps positions and has no fingerprint");
    return NULL;
}

static err_t *check_exchange(const check_t *c) {
    const plan_op_t *op = c->op;
    const plan_edge_t *e = NULL;
    for (int i = 0; i < c->p->nedges; i++)
        if (c->p->edges[i]->id == op->edge) e = c->p->edges[i];
    if (!e) return BAD(c, "edge %d does not exist", op->edge);
    bool out = op->kind == OP_EXCHANGE_OUT;
    int stage = out ? e->from_stage : e->to_stage, at = out ? e->from_op : e->to_op;
    if (stage != c->s->id || at != op->id) return BAD(c, "edge %d ends elsewhere", op->edge);
    TRY(check_same(c, op->schema, e->schema, "the edge"));
    if (!out) return NULL;
    if (e->exchange != op->exchange) return BAD(c, "edge %d is of another kind", op->edge);
    const schema_t *in = input_schema(c, 0);
    if (op->nhash > PLAN_KEYS_MAX) return err_new(ERR_UNSUPPORTED, "%d key columns, at most %d are supported", op->nhash, PLAN_KEYS_MAX);
    for (int i = 0; i < op->nhash; i++) TRY(check_column(c, "a hash key", op->hash[i], in));
    int from = stage_parallelism(c->p, c->s), to = stage_parallelism(c->p, c->p->stages[e->to_stage]);
    if (op->exchange == EXCHANGE_FORWARD && from != to) return BAD(c, "a forward edge joins %d and %d subtasks", from, to);
    return NULL;
}

static err_t *check_op(const check_t *c) {
    const plan_op_t *op = c->op;
    const schema_t *in = op->ninputs ? input_schema(c, 0) : NULL;
    switch (op->kind) {
    case OP_SOURCE: return check_source(c);
    case OP_VALUES:
        for (int i = 0; i < op->nrows; i++)
            for (int k = 0; k < op->schema->n; k++) TRY(check_expr(c, op->rows[i][k], &(schema_t){0}));
        return NULL;
    case OP_CALC:
        if (op->filter) TRY(check_expr(c, op->filter, in));
        for (int i = 0; i < op->schema->n; i++) {
            TRY(check_expr(c, op->projection[i], in));
            if (!type_equal(op->projection[i]->type, op->schema->fields[i].type))
                return BAD(c, "the projection differs from the schema in the type of column %d", i);
        }
        return NULL;
    case OP_WATERMARK:
        TRY(check_column(c, "the time attribute", op->rowtime_col, in));
        TRY(check_same(c, op->schema, in, "its output"));
        return check_expr(c, op->watermark_expr, in);
    case OP_UNION:
        for (int i = 0; i < op->ninputs; i++) TRY(check_same(c, input_schema(c, i), op->schema, "an input"));
        return NULL;
    case OP_WINDOW_ASSIGN:
        if (op->schema->n != in->n + 3) return BAD(c, "it appends three columns to %d, its schema has %d", in->n, op->schema->n);
        return check_window(c, in);
    case OP_WINDOW_LOCAL:
    case OP_WINDOW_AGG:
    case OP_GROUP_LOCAL:
    case OP_GROUP_AGG: return check_aggregate(c, in);
    case OP_UPSERT_KEYS:
        TRY(check_keys(c, in));
        return op->fingerprint ? NULL : BAD(c, "it keeps state and has no fingerprint");
    case OP_EXCHANGE_IN:
    case OP_EXCHANGE_OUT: return check_exchange(c);
    case OP_SINK: return op->table || op->sink_print ? NULL : BAD(c, "it has no table");
    case OP_KINDS: break;
    }
    return BAD(c, "unknown kind %d", (int)op->kind);
}

err_t *plan_validate(const plan_t *p) {
    if (p->parallelism < 1 || p->parallelism > KEY_GROUPS)
        return err_new(ERR_INVALID, "parallelism %d is out of range: 1 to %d", p->parallelism, KEY_GROUPS);
    for (int i = 0; i < p->nedges; i++) {
        const plan_edge_t *e = p->edges[i];
        if (e->from_stage < 0 || e->to_stage >= p->nstages || e->from_stage >= e->to_stage)
            return err_new(ERR_INTERNAL, "plan: edge %d goes from stage %d to %d", e->id, e->from_stage, e->to_stage);
        for (int k = 0; k < i; k++)
            if (p->edges[k]->id == e->id) return err_new(ERR_INTERNAL, "plan: edge %d exists twice", e->id);
    }
    for (int i = 0; i < p->nstages; i++) {
        check_t c = {p, p->stages[i], NULL};
        if (c.s->id != i) return err_new(ERR_INTERNAL, "plan: stage %d is at position %d", c.s->id, i);
        for (int k = 0; k < c.s->nops; k++) {
            c.op = c.s->ops[k];
            TRY(check_inputs(&c, k));
            TRY(check_op(&c));
        }
    }
    return NULL;
}
