/* expr_prog.c: expressions compiled to an array of nodes, arguments before their users, equal deterministic
 * subtrees once; evaluated a batch at a time.
 *
 * A rowset names the rows an evaluation is about: the batch, or what a lazy function narrowed it to. A node remembers
 * its column for one set; asked for a narrower set it selects from what it remembers instead of computing again. */
#include "engine/func_int.h"
#include <stdlib.h>

typedef struct node {
    const expr_t *expr;
    int *args;
    bool constant; /* computed once per program, one row */
    bool cheap;    /* cannot fail and costs little */
    void *state;   /* of the kernel */
    uint64_t set;  /* the rowset cached belongs to; 0 none */
    column_t cached;
} node_t;

struct expr_prog {
    node_t *nodes;
    int nnodes, cap;
    int *roots;
    int nroots;
    mem_t *mem; /* constants; linked by every result */
    tz_t *tz;
    char *tz_name;
    uint64_t next_set;
};

struct eval {
    expr_prog_t *p;
    const eval_ctx_t *ctx;
    const batch_t *in;
    const uint32_t *sel;
    mem_t *m;
};

/* ---- compile */
static bool node_same(const expr_prog_t *p, const node_t *n, const expr_t *e, const int *args) {
    const expr_t *o = n->expr;
    if (o->kind != e->kind || !type_equal(o->type, e->type)) return false;
    if (e->kind != EXPR_CALL) return expr_equal(o, e);
    if (o->func != e->func || o->nargs != e->nargs || (e->func->flags & (FUNC_RANDOM))) return false;
    for (int i = 0; i < e->nargs; i++)
        if (n->args[i] != args[i]) return false;
    /* names of ROW fields are part of the type and of FIELD's symbol literal: equal arguments suffice */
    return true;
}

static int add_node(expr_prog_t *p, const expr_t *e) {
    int nargs = e->kind == EXPR_CALL ? e->nargs : 0;
    int *args = xcalloc((size_t)nargs + 1, sizeof *args);
    for (int i = 0; i < nargs; i++) args[i] = add_node(p, e->args[i]);
    for (int i = 0; i < p->nnodes; i++)
        if (node_same(p, &p->nodes[i], e, args)) {
            free(args);
            return i;
        }
    if (p->nnodes == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->nodes = xrealloc(p->nodes, sizeof *p->nodes * (size_t)p->cap);
    }
    node_t *n = &p->nodes[p->nnodes];
    *n = (node_t){.expr = e, .args = args};
    n->constant = e->kind == EXPR_LITERAL;
    n->cheap = e->kind != EXPR_CALL || (e->func->flags & FUNC_SAFE);
    for (int i = 0; i < nargs; i++) n->cheap &= p->nodes[args[i]].cheap;
    return p->nnodes++;
}

err_t *expr_compile(expr_t *const *exprs, int n, expr_prog_t **ret) {
    expr_prog_t *p = xcalloc(1, sizeof *p);
    p->mem = mem_new();
    p->roots = xcalloc((size_t)n + 1, sizeof *p->roots);
    p->nroots = n;
    for (int i = 0; i < n; i++) p->roots[i] = add_node(p, exprs[i]);
    for (int i = 0; i < p->nnodes; i++)
        if (p->nodes[i].constant)
            value_column(&p->nodes[i].cached, p->nodes[i].expr->type, &p->nodes[i].expr->value, p->mem);
    *ret = p;
    return NULL;
}

void expr_prog_free(expr_prog_t *p) {
    if (!p) return;
    for (int i = 0; i < p->nnodes; i++) {
        node_t *n = &p->nodes[i];
        if (n->state) n->expr->func->free_state(n->state);
        free(n->args);
    }
    free(p->nodes);
    free(p->roots);
    mem_unref(p->mem);
    tz_free(p->tz);
    free(p->tz_name);
    free(p);
}

/* ---- what kernels ask for */
err_t *call_tz(call_t *c, const tz_t **ret) {
    expr_prog_t *p = c->prog;
    const char *name = c->ctx->time_zone ? c->ctx->time_zone : "UTC";
    if (!p->tz_name || strcmp(p->tz_name, name) != 0) {
        tz_t *z = NULL;
        TRY(tz_open(name, &z));
        tz_free(p->tz);
        free(p->tz_name);
        p->tz = z;
        p->tz_name = xstrdup(name);
    }
    *ret = p->tz;
    return NULL;
}

void out_copy(call_t *c, uint32_t i, const void *p, size_t n) {
    char *copy = n ? mem_alloc(c->m, n) : NULL;
    if (n) memcpy(copy, p, n);
    out_str(c, i, copy, n);
}

err_t *call_error(const call_t *c, err_code_t code, const char *what, str_t value) {
    int n = value.len > 60 ? 60 : (int)value.len;
    while (n > 0 && n < (int)value.len && ((unsigned char)value.p[n] & 0xc0) == 0x80) n--;
    return err_new(code, "%s: %s '%.*s'%s", func_name(c->expr->func), what, n, value.p ? value.p : "",
                   n < (int)value.len ? ".." : "");
}

const expr_t *eval_expr(const eval_t *e, int node) { return e->p->nodes[node].expr; }
int eval_arg(const eval_t *e, int node, int k) { return e->p->nodes[node].args[k]; }
bool eval_cheap(const eval_t *e, int node) { return e->p->nodes[node].cheap; }
mem_t *eval_mem(const eval_t *e) { return e->m; }
uint64_t eval_new_set(eval_t *e) { return ++e->p->next_set; }

/* ---- evaluation */
static void alloc_out(column_t *out, const expr_t *e, mem_t *m, uint32_t n) {
    int width = type_width(e->type);
    if ((e->func->flags & FUNC_FULL) && width > 0 && !type_is_nested(e->type)) {
        *out = (column_t){.type = e->type};
        out->data = mem_alloc(m, (size_t)width * n);
    } else {
        column_init(out, e->type, m, n);
    }
}

static void combine_nulls(call_t *c) {
    for (int k = 0; k < c->nargs; k++) {
        const uint8_t *nulls = c->args[k].nulls;
        if (!nulls) continue;
        if (arg_const(c, k)) {
            if (nulls[0]) memset(column_need_nulls(c->out, c->m, c->n), 1, c->n);
        } else if (!c->out->nulls) {
            c->out->nulls = mem_alloc(c->m, c->n);
            memcpy(c->out->nulls, nulls, c->n);
        } else {
            uint8_t *restrict o = c->out->nulls;
            for (uint32_t i = 0; i < c->n; i++) o[i] |= nulls[i];
        }
    }
}

#define ARGS_INLINE 8
static err_t *call_kernel(eval_t *e, node_t *n, const rowset_t *set, column_t *ret) {
    const expr_t *x = n->expr;
    column_t few[ARGS_INLINE], *args = x->nargs > ARGS_INLINE ? xcalloc((size_t)x->nargs, sizeof *args) : few;
    uint32_t few_masks[ARGS_INLINE];
    uint32_t *mask = x->nargs > ARGS_INLINE ? xcalloc((size_t)x->nargs, sizeof *mask) : few_masks;
    err_t *err = NULL;
    for (int k = 0; k < x->nargs && !err; k++) {
        node_t *arg = &e->p->nodes[n->args[k]];
        mask[k] = arg->constant ? 0 : UINT32_MAX;
        if (arg->constant) args[k] = arg->cached;
        else err = eval_node(e, n->args[k], set, &args[k]);
    }
    if (!err) {
        call_t c = {.expr = x, .n = set->n, .nargs = x->nargs, .args = args, .mask = mask, .out = ret, .m = e->m,
                    .ctx = e->ctx, .prog = e->p, .state = &n->state};
        alloc_out(ret, x, e->m, set->n);
        if (!(x->func->flags & FUNC_NULLS)) combine_nulls(&c);
        err = x->func->kernel(&c);
        if (err && x->line) err = err_at(err, x->line, x->col);
    }
    if (args != few) free(args);
    if (mask != few_masks) free(mask);
    return err;
}

/* From the column a set's ancestor holds, by composing the selections on the way down. */
static bool from_ancestor(eval_t *e, const node_t *n, const rowset_t *set, column_t *ret) {
    const rowset_t *owner = set->parent;
    while (owner && owner->id != n->set) owner = owner->parent;
    if (!owner) return false;
    uint32_t *rows = mem_alloc(e->m, sizeof *rows * set->n);
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t r = i;
        for (const rowset_t *s = set; s != owner; s = s->parent) r = s->rel ? s->rel[r] : r;
        rows[i] = r;
    }
    column_gather(ret, &n->cached, rows, set->n, e->m);
    return true;
}

/* A column of the input: for the batch as it is, or through the caller's selection. */
static const rowset_t *outermost(const rowset_t *set) {
    while (set->parent) set = set->parent;
    return set;
}

static void input_column(eval_t *e, node_t *n, const rowset_t *set, column_t *ret) {
    if (set->parent) {
        const rowset_t *all = outermost(set);
        column_t whole;
        input_column(e, n, all, &whole);
        n->cached = whole;
        n->set = all->id;
        from_ancestor(e, n, set, ret);
        return;
    }
    ASSERT(n->expr->column >= 0 && n->expr->column < e->in->ncols);
    const column_t *c = &e->in->cols[n->expr->column];
    if (e->sel) column_gather(ret, c, e->sel, set->n, e->m);
    else *ret = *c;
}

err_t *eval_node(eval_t *e, int node, const rowset_t *set, column_t *ret) {
    node_t *n = &e->p->nodes[node];
    if (n->constant) {
        column_broadcast(ret, &n->cached, set->n, e->m);
        return NULL;
    }
    if (n->set == set->id) {
        *ret = n->cached;
        return NULL;
    }
    if (n->set && from_ancestor(e, n, set, ret)) return NULL;
    if (n->expr->kind == EXPR_COLUMN) {
        input_column(e, n, set, ret);
        if (set->parent) return NULL;
    } else if (n->expr->func->flags & FUNC_LAZY) {
        err_t *err = eval_lazy(e, node, set, ret);
        if (err) return err;
    } else {
        err_t *err = call_kernel(e, n, set, ret);
        if (err) return err;
    }
    n = &e->p->nodes[node];
    n->cached = *ret;
    n->set = set->id;
    return NULL;
}

err_t *expr_eval(expr_prog_t *p, const eval_ctx_t *ctx, const batch_t *in, const uint32_t *sel, uint32_t n, mem_t *m,
                 column_t *out) {
    eval_t e = {.p = p, .ctx = ctx, .in = in, .sel = sel, .m = m};
    rowset_t all = {.id = eval_new_set(&e), .n = n};
    mem_link(m, p->mem);
    err_t *err = NULL;
    for (int i = 0; i < p->nroots && !err; i++) err = eval_node(&e, p->roots[i], &all, &out[i]);
    for (int i = 0; i < p->nnodes; i++) p->nodes[i].set = 0; /* the memory of what is cached belongs to the caller */
    return err;
}

err_t *expr_filter(expr_prog_t *p, const eval_ctx_t *ctx, const batch_t *in, mem_t *scratch, uint32_t *ret_sel,
                   uint32_t *ret_n) {
    ASSERT(p->nroots == 1 && p->nodes[p->roots[0]].expr->type->kind == TYPE_BOOLEAN);
    column_t c;
    TRY(expr_eval(p, ctx, in, NULL, in->n, scratch, &c));
    uint32_t at = 0;
    if (c.nulls) {
        for (uint32_t i = 0; i < in->n; i++) {
            ret_sel[at] = i;
            at += (c.b[i] != 0) & (c.nulls[i] == 0);
        }
    } else {
        for (uint32_t i = 0; i < in->n; i++) {
            ret_sel[at] = i;
            at += c.b[i] != 0;
        }
    }
    *ret_n = at;
    return NULL;
}
