/* bind_window.c: windows as table-valued functions: TUMBLE, HOP, CUMULATE, SESSION over a time attribute. */
#include <strings.h>

#include "sql/bind.h"

err_t *bind_interval_ms(bind_t *b, const ast_expr_t *e, const char *what, bool may_be_zero, int64_t *ret) {
    const ast_expr_t *lit = e;
    int sign = 1;
    if (e->kind == AST_OP && strcmp(e->text, "NEG") == 0 && e->args.n == 1) lit = e->args.item[0], sign = -1;
    if (lit->kind != AST_INTERVAL)
        return err_pos(err_hint(err_new(ERR_TYPE, "the %s of a window is an INTERVAL literal", what),
                                "write INTERVAL '5' SECOND"),
                       e->pos);
    if (lit->interval->is_month)
        return err_pos(err_hint(err_new(ERR_UNSUPPORTED,
                                        "the %s of a window cannot be in months or years: they differ in length", what),
                                "use DAY"),
                       e->pos);
    *ret = sign * lit->interval->value;
    if (!may_be_zero && *ret <= 0)
        return err_pos(err_new(ERR_INVALID, "the %s of a window must be positive", what), e->pos);
    return NULL;
}

err_t *bind_window_check(const rel_window_t *w, ast_pos_t pos) {
    if (w->kind == WINDOW_HOP && w->size_ms / w->slide_ms > 100000)
        return err_pos(err_new(ERR_LIMIT, "a row would lie in more than 100000 windows"), pos);
    if (w->kind == WINDOW_CUMULATE && w->size_ms % w->slide_ms != 0)
        return err_pos(err_hint(err_new(ERR_INVALID, "CUMULATE: the size must be a multiple of the step"),
                                "step comes first: CUMULATE(TABLE t, DESCRIPTOR(ts), step, size)"),
                       pos);
    if (w->kind == WINDOW_CUMULATE && w->size_ms / w->slide_ms > 100000)
        return err_pos(err_new(ERR_LIMIT, "a row would lie in more than 100000 windows"), pos);
    return NULL;
}

/* Column col of the input must carry time; fills in what the window takes from it. */
err_t *bind_window_time(const rel_t *input, int col, const char *what, ast_pos_t pos, arena_t *a, rel_window_t *w) {
    const field_t *f = &input->schema->fields[col];
    const col_prop_t *p = &input->props[col];
    if (p->time == TIME_NONE)
        return err_pos(err_hint(err_new(ERR_TYPE, "%s needs a time attribute, '%s' is %s without one", what, f->name,
                                        type_text(a, f->type)),
                                type_is_timestamp(f->type)
                                    ? "declare it in CREATE TABLE: WATERMARK FOR %s AS %s - INTERVAL '5' SECOND; an expression "
                                      "or an aggregate over time is none any more"
                                    : "use a TIMESTAMP(3) column '%s' that has a watermark (or %s AS PROCTIME())",
                                f->name, f->name),
                       pos);
    w->proctime = p->time == TIME_PROC;
    w->time_type = type_nullable(a, w->proctime || f->type->kind == TYPE_TIMESTAMP_LTZ ? &type_ltz3
                                 : &type_timestamp3, false);
    return NULL;
}

/* ---- arguments */
typedef struct tvf {
    const char *name;
    window_kind_t kind;
    const char *params[5]; /* names, in order; the last is optional */
} tvf_t;

static const tvf_t tvfs[] = {
    {"TUMBLE", WINDOW_TUMBLE, {"DATA", "TIMECOL", "SIZE", "OFFSET"}},
    {"HOP", WINDOW_HOP, {"DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"}},
    {"CUMULATE", WINDOW_CUMULATE, {"DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"}},
    {"SESSION", WINDOW_SESSION, {"DATA", "TIMECOL", "GAP"}},
};

static const tvf_t *tvf_of(const ast_expr_t *call) {
    const ast_name_t *n = &call->call->name;
    for (size_t i = 0; i < ARRAY_LEN(tvfs); i++)
        if (strcasecmp(n->part[n->n - 1], tvfs[i].name) == 0) return &tvfs[i];
    return NULL;
}

bool is_window_tvf(const ast_expr_t *call) { return tvf_of(call) != NULL; }

static int param_count(const tvf_t *t) {
    int n = 0;
    while (n < 5 && t->params[n]) n++;
    return n;
}

static err_t *named_args(const tvf_t *t, const ast_expr_t *call, const ast_expr_t **out) {
    int n = param_count(t);
    for (int i = 0; i < call->args.n; i++) {
        const ast_expr_t *a = call->args.item[i];
        if (a->kind != AST_NAMED_ARG) return err_pos(err_new(ERR_INVALID, "%s: name all arguments or none",
                t->name), a->pos);
        int at = 0;
        while (at < n && strcasecmp(t->params[at], a->text) != 0) at++;
        if (at == n)
            return err_pos(err_hint(err_new(ERR_INVALID, "%s has no argument '%s'", t->name, a->text),
                                    "they are DATA, TIMECOL, %s%s%s%s%s", t->params[2], n > 3 ? ", " : "",
                                    n > 3 ? t->params[3] : "", n > 4 ? ", " : "", n > 4 ? t->params[4] : ""),
                           a->pos);
        if (out[at]) return err_pos(err_new(ERR_INVALID, "%s: argument %s is given twice", t->name,
                                            t->params[at]), a->pos);
        out[at] = a->base;
    }
    return NULL;
}

static err_t *tvf_args(const tvf_t *t, const ast_expr_t *call, const ast_expr_t **out) {
    int n = param_count(t), needed = t->kind == WINDOW_SESSION ? n : n - 1;
    if (call->args.n > 0 && call->args.item[0]->kind == AST_NAMED_ARG) TRY(named_args(t, call, out));
    else if (call->args.n > n)
        return err_pos(err_new(ERR_INVALID, "%s takes at most %d arguments, there are %d", t->name, n,
                               call->args.n), call->pos);
    else
        for (int i = 0; i < call->args.n; i++) out[i] = call->args.item[i];
    for (int i = 0; i < needed; i++)
        if (!out[i])
            return err_pos(err_hint(err_new(ERR_INVALID, "%s: argument %s is missing", t->name, t->params[i]),
                                    t->kind == WINDOW_SESSION
                                        ? "SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), gap)"
                                    : t->kind == WINDOW_TUMBLE
                                        ? "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)"
                                    : t->kind == WINDOW_HOP  ? "HOP(TABLE t, DESCRIPTOR(ts), slide, size)"
                                                             : "CUMULATE(TABLE t, DESCRIPTOR(ts), step, size)"),
                           call->pos);
    return NULL;
}

static err_t *tvf_input(bind_t *b, const tvf_t *t, const ast_expr_t *arg, scope_t **ret) {
    if (arg->kind != AST_TABLE_ARG)
        return err_pos(err_hint(err_new(ERR_INVALID, "the first argument of %s is a table", t->name),
                                "write TABLE name"),
                       arg->pos);
    if ((arg->table->partition.n && t->kind != WINDOW_SESSION) || arg->table->order.n)
        return refuse(arg->pos, "PARTITION BY and ORDER BY of a window's table", "group by those columns instead");
    return bind_from(b, arg->table, ret);
}

static err_t *tvf_time(bind_t *b, const tvf_t *t, const ast_expr_t *arg, const scope_t *in, int *ret_col,
                       rel_window_t *w) {
    if (arg->kind != AST_DESCRIPTOR || arg->args.n != 1 || arg->args.item[0]->kind != AST_COLUMN)
        return err_pos(err_hint(err_new(ERR_INVALID, "the time column of %s is given by DESCRIPTOR", t->name),
                                "write DESCRIPTOR(ts)"),
                       arg->pos);
    const ast_expr_t *c = arg->args.item[0];
    int parts;
    TRY(scope_find(in, &c->name, ret_col, &parts));
    if (parts < c->name.n) return err_pos(err_new(ERR_INVALID,
                                                  "the time column of %s must be a top-level column", t->name), c->pos);
    return bind_window_time(in->rel, *ret_col, t->name, c->pos, b->arena, w);
}

/* SESSION(TABLE t PARTITION BY a, b, ..) */
static err_t *tvf_partition(bind_t *b, const ast_exprs_t *by, const scope_t *in, const int **ret) {
    int *cols = ARENA_ARRAY(b->arena, int, by->n + 1), parts;
    for (int i = 0; i < by->n; i++) {
        const ast_expr_t *e = by->item[i];
        if (e->kind != AST_COLUMN) return refuse(e->pos, "an expression in PARTITION BY of a window",
                                                 "compute the column in a view");
        TRY(scope_find(in, &e->name, &cols[i], &parts));
        if (parts < e->name.n) return refuse(e->pos, "a field in PARTITION BY of a window",
                                             "make it a column in a view");
    }
    *ret = cols;
    return NULL;
}

static err_t *tvf_sizes(bind_t *b, const tvf_t *t, const ast_expr_t *const *args, ast_pos_t pos, rel_window_t *w) {
    if (t->kind == WINDOW_SESSION) return bind_interval_ms(b, args[2], "gap", false, &w->gap_ms);
    int size = t->kind == WINDOW_TUMBLE ? 2 : 3;
    TRY(bind_interval_ms(b, args[size], "size", false, &w->size_ms));
    if (size == 3) TRY(bind_interval_ms(b, args[2], t->kind == WINDOW_HOP ? "slide" : "step", false, &w->slide_ms));
    if (args[size + 1]) TRY(bind_interval_ms(b, args[size + 1], "offset", true, &w->offset_ms));
    int64_t period = w->kind == WINDOW_HOP ? w->slide_ms : w->size_ms, offset = w->offset_ms < 0 ? -w->offset_ms : w->offset_ms;
    if (w->kind != WINDOW_CUMULATE && offset >= period)
        return err_pos(err_hint(err_new(ERR_INVALID, "%s: the offset must be smaller than the %s", t->name, w->kind == WINDOW_HOP ? "slide" : "size"),
                                "windows repeat: take the remainder"),
                       args[size + 1]->pos);
    if (w->kind == WINDOW_HOP && w->size_ms % w->slide_ms != 0)
        return err_pos(err_hint(err_new(ERR_INVALID, "HOP: the size must be a multiple of the slide"),
                                "slide comes first: HOP(TABLE t, DESCRIPTOR(ts), slide, size)"),
                       args[3]->pos);
    return bind_window_check(w, pos);
}

err_t *bind_window_tvf(bind_t *b, const ast_table_t *table, scope_t **ret) {
    const ast_expr_t *call = table->call;
    const tvf_t *t = tvf_of(call);
    const ast_expr_t *args[6] = {NULL};
    TRY(tvf_args(t, call, args));
    scope_t *in;
    TRY(tvf_input(b, t, args[0], &in));
    rel_window_t *w = ARENA_NEW(b->arena, rel_window_t);
    w->kind = t->kind;
    int time_col;
    TRY(tvf_time(b, t, args[1], in, &time_col, w));
    TRY(tvf_sizes(b, t, args, call->pos, w));
    rel_t *r = rel_at(rel_window(b->rels, in->rel, w, w->proctime ? -1 : time_col), call->pos.line, call->pos.col);
    r->window.npartition = args[0]->table->partition.n;
    TRY(tvf_partition(b, &args[0]->table->partition, in, &r->window.partition));
    *ret = scope_of(b->arena, r, in->nranges == 1 ? in->ranges[0].alias : NULL);
    return NULL;
}
