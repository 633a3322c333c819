/* expr_lazy.c: functions that evaluate arguments only for the rows that need them: AND, OR, CASE, IF, COALESCE, IFNULL.
 *
 * CASE and its kin keep a list of the rows not decided yet; each branch is evaluated for its own rows and scattered into
 * the result. AND and OR narrow to the undecided rows only when the second operand may fail or is dear. */
#include "engine/func_int.h"
#include <strings.h>

static rowset_t narrow(eval_t *e, const rowset_t *parent, const uint32_t *rel, uint32_t n) {
    return (rowset_t){.id = eval_new_set(e), .parent = parent, .rel = rel, .n = n};
}

/* ---- AND, OR */
static void combine(bool is_and, const column_t *x, const column_t *y, uint32_t n, mem_t *m, column_t *out) {
    uint8_t *restrict o = out->b;
    const uint8_t *xb = x->b, *yb = y->b;
    if (!x->nulls && !y->nulls) {
        if (is_and)
            for (uint32_t i = 0; i < n; i++) o[i] = xb[i] & yb[i];
        else
            for (uint32_t i = 0; i < n; i++) o[i] = xb[i] | yb[i];
        return;
    }
    const uint8_t *xn = x->nulls, *yn = y->nulls;
    uint8_t *restrict on = column_need_nulls(out, m, n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t xnull = xn ? xn[i] : 0, ynull = yn ? yn[i] : 0;
        uint8_t decided, value; /* by FALSE for AND, by TRUE for OR */
        if (is_and) {
            decided = (uint8_t)(((xnull | xb[i]) ^ 1) | ((ynull | yb[i]) ^ 1));
            value = (uint8_t)(xb[i] & yb[i]);
        } else {
            decided = (uint8_t)(((xnull ^ 1) & xb[i]) | ((ynull ^ 1) & yb[i]));
            value = 1;
        }
        uint8_t null = (uint8_t)((decided ^ 1) & (xnull | ynull));
        on[i] = null;
        o[i] = (uint8_t)((null ^ 1) & (is_and ? (decided ^ 1) & value : decided));
    }
}

static err_t *eval_and_or(eval_t *e, int node, const rowset_t *set, column_t *ret, bool is_and) {
    mem_t *m = eval_mem(e);
    int nargs = eval_expr(e, node)->nargs;
    column_t acc;
    TRY(eval_node(e, eval_arg(e, node, 0), set, &acc));
    for (int k = 1; k < nargs; k++) {
        int arg = eval_arg(e, node, k);
        column_t y, out;
        column_init(&out, eval_expr(e, node)->type, m, set->n);
        if (eval_cheap(e, arg)) {
            TRY(eval_node(e, arg, set, &y));
        } else {
            uint32_t *rel = mem_alloc(m, sizeof *rel * set->n), n = 0;
            for (uint32_t i = 0; i < set->n; i++) {
                rel[n] = i;
                n += column_null(&acc, i) || (acc.b[i] != 0) == is_and;
            }
            column_init(&y, eval_expr(e, node)->type, m, set->n);
            if (!is_and) memset(y.b, 1, set->n); /* rows not evaluated are decided by x: any value is right */
            if (n) {
                rowset_t some = narrow(e, set, rel, n);
                column_t part;
                TRY(eval_node(e, arg, &some, &part));
                column_scatter(&y, &part, rel, n);
                if (part.nulls) {
                    uint8_t *nulls = column_need_nulls(&y, m, set->n);
                    for (uint32_t i = 0; i < n; i++) nulls[rel[i]] = part.nulls[i];
                }
            }
        }
        combine(is_and, &acc, &y, set->n, m, &out);
        acc = out;
    }
    *ret = acc;
    return NULL;
}

/* ---- results put together from branches */
typedef struct pieces {
    eval_t *e;
    const rowset_t *set;
    column_t *out;
    bool nested;
    /* nested results: branch columns and, per row, which branch and where */
    column_t *part;
    uint32_t *which, *where;
    uint32_t nparts;
} pieces_t;

static void pieces_begin(pieces_t *p, eval_t *e, int node, const rowset_t *set, column_t *out, int max_parts) {
    mem_t *m = eval_mem(e);
    *p = (pieces_t){.e = e, .set = set, .out = out};
    column_init(out, eval_expr(e, node)->type, m, set->n);
    p->nested = type_is_nested(out->type);
    memset(column_need_nulls(out, m, set->n), 1, set->n);
    if (!p->nested) return;
    p->part = mem_zalloc(m, sizeof *p->part * (size_t)max_parts);
    p->which = mem_zalloc(m, sizeof *p->which * set->n);
    p->where = mem_zalloc(m, sizeof *p->where * set->n);
}

/* rel NULL: all rows */
static void pieces_put(pieces_t *p, const column_t *c, const uint32_t *rel, uint32_t n) {
    uint8_t *nulls = p->out->nulls;
    if (p->nested) {
        p->part[p->nparts++] = *c;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t r = rel ? rel[i] : i;
            p->which[r] = p->nparts;
            p->where[r] = i;
        }
        return;
    }
    if (!rel) {
        memcpy(p->out->data, c->data, (size_t)type_width(c->type) * n);
        if (c->nulls) memcpy(nulls, c->nulls, n);
        else memset(nulls, 0, n);
        return;
    }
    column_scatter(p->out, c, rel, n);
    for (uint32_t i = 0; i < n; i++) nulls[rel[i]] = c->nulls ? c->nulls[i] : 0;
}

static void pieces_end(pieces_t *p) {
    if (p->nested) {
        colbuilder_t *b = colbuilder_new(p->out->type, eval_mem(p->e));
        for (uint32_t i = 0; i < p->set->n; i++) {
            if (p->which[i]) colbuilder_row(b, &p->part[p->which[i] - 1], p->where[i]);
            else colbuilder_null(b);
        }
        colbuilder_finish(b, p->out);
        colbuilder_free(b);
        return;
    }
    if (!memchr(p->out->nulls, 1, p->set->n)) p->out->nulls = NULL;
}

/* Evaluates arg for `rows` of the set and puts the result. */
static err_t *put_branch(pieces_t *p, int arg, const uint32_t *rows, uint32_t n) {
    if (n == 0) return NULL;
    column_t c;
    if (n == p->set->n) {
        TRY(eval_node(p->e, arg, p->set, &c));
        pieces_put(p, &c, NULL, n);
        return NULL;
    }
    rowset_t some = narrow(p->e, p->set, rows, n);
    TRY(eval_node(p->e, arg, &some, &c));
    pieces_put(p, &c, rows, n);
    return NULL;
}

static err_t *eval_case(eval_t *e, int node, const rowset_t *set, column_t *ret) {
    mem_t *m = eval_mem(e);
    int nargs = eval_expr(e, node)->nargs;
    pieces_t p;
    pieces_begin(&p, e, node, set, ret, nargs);
    uint32_t *left = mem_alloc(m, sizeof *left * set->n), nleft = set->n;
    for (uint32_t i = 0; i < nleft; i++) left[i] = i;
    int k = 0;
    for (; k + 1 < nargs && nleft; k += 2) {
        column_t cond;
        rowset_t some = narrow(e, set, left, nleft);
        TRY(eval_node(e, eval_arg(e, node, k), nleft == set->n ? set : &some, &cond));
        uint32_t *hit = mem_alloc(m, sizeof *hit * nleft), *rest = mem_alloc(m, sizeof *rest * nleft);
        uint32_t nhit = 0, nrest = 0;
        for (uint32_t i = 0; i < nleft; i++) {
            bool yes = cond.b[i] && !column_null(&cond, i);
            hit[nhit] = left[i];
            nhit += yes;
            rest[nrest] = left[i];
            nrest += !yes;
        }
        TRY(put_branch(&p, eval_arg(e, node, k + 1), hit, nhit));
        left = rest;
        nleft = nrest;
    }
    if (nargs % 2 && nleft) TRY(put_branch(&p, eval_arg(e, node, nargs - 1), left, nleft));
    pieces_end(&p);
    return NULL;
}

static err_t *eval_coalesce(eval_t *e, int node, const rowset_t *set, column_t *ret) {
    mem_t *m = eval_mem(e);
    int nargs = eval_expr(e, node)->nargs;
    column_t first;
    TRY(eval_node(e, eval_arg(e, node, 0), set, &first));
    if (!first.nulls) {
        *ret = first;
        return NULL;
    }
    pieces_t p;
    pieces_begin(&p, e, node, set, ret, nargs);
    pieces_put(&p, &first, NULL, set->n);
    uint32_t *left = mem_alloc(m, sizeof *left * set->n), nleft = 0;
    for (uint32_t i = 0; i < set->n; i++)
        if (first.nulls[i]) left[nleft++] = i;
    for (int k = 1; k < nargs && nleft; k++) {
        column_t c;
        rowset_t some = narrow(e, set, left, nleft);
        TRY(eval_node(e, eval_arg(e, node, k), &some, &c));
        pieces_put(&p, &c, left, nleft);
        uint32_t *rest = mem_alloc(m, sizeof *rest * nleft), n = 0;
        for (uint32_t i = 0; i < nleft; i++)
            if (column_null(&c, i)) rest[n++] = left[i];
        left = rest;
        nleft = n;
    }
    pieces_end(&p);
    return NULL;
}

err_t *eval_lazy(eval_t *e, int node, const rowset_t *set, column_t *ret) {
    const char *name = func_name(eval_expr(e, node)->func);
    if (strcmp(name, "AND") == 0) return eval_and_or(e, node, set, ret, true);
    if (strcmp(name, "OR") == 0) return eval_and_or(e, node, set, ret, false);
    if (strcmp(name, "COALESCE") == 0 || strcmp(name, "IFNULL") == 0) return eval_coalesce(e, node, set, ret);
    return eval_case(e, node, set, ret); /* CASE, IF */
}
