/* kernel_array.c: functions on arrays. Elements are compared with NULL as a value. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include <stdlib.h>

static bool same(const column_t *a, uint32_t i, const column_t *b, uint32_t j) {
    bool x = column_null(a, i), y = column_null(b, j);
    return x || y ? x == y : value_compare(a, i, b, j) == 0;
}
static inline span_t arg_span(const call_t *c, int k, uint32_t i) { return c->args[k].span[AT(c, k, i)]; }
static inline const column_t *elements(const call_t *c, int k) { return &c->args[k].child[0]; }

/* ---- typing */
err_t *rule_array_element(binding_t *b) { /* (array, element): the element as the array's */
    const type_t *t = b->args[0]->type;
    if (t->kind != TYPE_ARRAY) return bind_error(b, "an array is needed");
    const type_t *e = type_common(b->a, t->child[0], b->args[1]->type);
    if (!e) return bind_error(b, "the value is none of the array's elements");
    TRY(bind_cast(b, 1, e));
    TRY(bind_cast(b, 0, type_array(b->a, e, t->nullable)));
    const char *n = b->func->name;
    if (strcmp(n, "ARRAY_CONTAINS") == 0) b->type = type_nullable(b->a, &type_boolean, t->nullable);
    else if (strcmp(n, "ARRAY_POSITION") == 0) b->type = type_of(b, &type_int);
    else b->type = type_array(b->a, e, t->nullable);
    return NULL;
}

err_t *rule_arrays(binding_t *b) { /* arrays of one type */
    const type_t *t;
    TRY(bind_common(b, 0, b->nargs, &t));
    if (t->kind != TYPE_ARRAY) return bind_error(b, "arrays are needed");
    b->type = type_array(b->a, t->child[0], any_nullable(b));
    return NULL;
}

err_t *rule_array_same(binding_t *b) {
    if (b->args[0]->type->kind != TYPE_ARRAY) return bind_error(b, "an array is needed");
    b->type = type_of(b, b->args[0]->type);
    return NULL;
}

err_t *rule_array_extreme(binding_t *b) {
    const type_t *t = b->args[0]->type;
    if (t->kind != TYPE_ARRAY || type_is_nested(t->child[0])) return bind_error(b, "an array of comparable elements is needed");
    b->type = type_nullable(b->a, t->child[0], true);
    return NULL;
}

/* ---- searching */
static bool has(const column_t *e, span_t s, const column_t *v, uint32_t at) {
    for (uint32_t k = 0; k < s.len; k++)
        if (same(e, s.off + k, v, at)) return true;
    return false;
}

err_t *kernel_array_contains(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (arg_null(c, 0, i)) out_null(c, i);
        else c->out->b[i] = has(elements(c, 0), arg_span(c, 0, i), &c->args[1], AT(c, 1, i));
    }
    return NULL;
}

err_t *kernel_array_position(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        span_t s = arg_span(c, 0, i);
        for (uint32_t k = 0; k < s.len && !c->out->i32[i]; k++)
            if (same(elements(c, 0), s.off + k, &c->args[1], AT(c, 1, i))) c->out->i32[i] = (int32_t)k + 1;
    }
    return NULL;
}

static err_t *array_extreme(call_t *c, int sign) {
    const column_t *e = elements(c, 0);
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        span_t s = row_null(c, i) ? (span_t){0} : arg_span(c, 0, i);
        uint32_t best = UINT32_MAX;
        for (uint32_t k = s.off; k < s.off + s.len; k++)
            if (!column_null(e, k) && (best == UINT32_MAX || sign * value_compare(e, k, e, best) > 0)) best = k;
        if (best == UINT32_MAX) colbuilder_null(b);
        else colbuilder_row(b, e, best);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}
err_t *kernel_array_max(call_t *c) { return array_extreme(c, 1); }
err_t *kernel_array_min(call_t *c) { return array_extreme(c, -1); }

/* ---- arrays from arrays: emit appends the elements of row i */
typedef void (*emit_t)(call_t *c, uint32_t i, colbuilder_t *e);

static err_t *build(call_t *c, emit_t emit, bool strict) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        if (strict ? row_null(c, i) : arg_null(c, 0, i)) {
            colbuilder_null(b);
            continue;
        }
        colbuilder_begin(b);
        emit(c, i, colbuilder_child(b, 0));
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}

/* Is element k of argument a a repetition of an earlier one of arguments 0..a? */
static bool seen_before(const call_t *c, uint32_t i, int a, uint32_t k) {
    for (int p = 0; p <= a; p++) {
        span_t s = arg_span(c, p, i);
        if (p == a) s.len = k;
        if (has(elements(c, p), s, elements(c, a), arg_span(c, a, i).off + k)) return true;
    }
    return false;
}

static void emit_distinct(call_t *c, uint32_t i, colbuilder_t *e) { /* also UNION */
    for (int a = 0; a < c->nargs; a++)
        for (uint32_t k = 0, n = arg_span(c, a, i).len; k < n; k++)
            if (!seen_before(c, i, a, k)) colbuilder_row(e, elements(c, a), arg_span(c, a, i).off + k);
}
static void emit_all(call_t *c, uint32_t i, colbuilder_t *e) {
    for (int a = 0; a < c->nargs; a++)
        for (uint32_t k = 0, n = arg_span(c, a, i).len; k < n; k++) colbuilder_row(e, elements(c, a), arg_span(c, a, i).off + k);
}
static void emit_in_second(call_t *c, uint32_t i, colbuilder_t *e, bool want) {
    span_t s = arg_span(c, 0, i);
    for (uint32_t k = 0; k < s.len; k++)
        if (!seen_before(c, i, 0, k) && has(elements(c, 1), arg_span(c, 1, i), elements(c, 0), s.off + k) == want)
            colbuilder_row(e, elements(c, 0), s.off + k);
}
static void emit_intersect(call_t *c, uint32_t i, colbuilder_t *e) { emit_in_second(c, i, e, true); }
static void emit_except(call_t *c, uint32_t i, colbuilder_t *e) { emit_in_second(c, i, e, false); }
static void emit_reverse(call_t *c, uint32_t i, colbuilder_t *e) {
    span_t s = arg_span(c, 0, i);
    for (uint32_t k = s.len; k-- > 0;) colbuilder_row(e, elements(c, 0), s.off + k);
}
static void emit_append(call_t *c, uint32_t i, colbuilder_t *e) {
    span_t s = arg_span(c, 0, i);
    for (uint32_t k = 0; k < s.len; k++) colbuilder_row(e, elements(c, 0), s.off + k);
    colbuilder_row(e, &c->args[1], AT(c, 1, i));
}
static void emit_prepend(call_t *c, uint32_t i, colbuilder_t *e) {
    span_t s = arg_span(c, 0, i);
    colbuilder_row(e, &c->args[1], AT(c, 1, i));
    for (uint32_t k = 0; k < s.len; k++) colbuilder_row(e, elements(c, 0), s.off + k);
}
static void emit_remove(call_t *c, uint32_t i, colbuilder_t *e) {
    span_t s = arg_span(c, 0, i);
    for (uint32_t k = 0; k < s.len; k++)
        if (!same(elements(c, 0), s.off + k, &c->args[1], AT(c, 1, i))) colbuilder_row(e, elements(c, 0), s.off + k);
}
static void emit_slice(call_t *c, uint32_t i, colbuilder_t *e) { /* from 1, both ends inclusive, negative from the end */
    span_t s = arg_span(c, 0, i);
    int64_t n = s.len, from = arg_i32(c, 1, i), to = c->nargs > 2 ? arg_i32(c, 2, i) : n;
    if (from < 0) from += n + 1;
    if (to < 0) to += n + 1;
    if (from < 1) from = 1;
    to = MIN(MAX(to, (int64_t)1), n); /* Flink: an end before the first element is the first */
    for (int64_t k = from; k <= to; k++) colbuilder_row(e, elements(c, 0), s.off + (uint32_t)(k - 1));
}

err_t *kernel_array_distinct(call_t *c) { return build(c, emit_distinct, true); }
err_t *kernel_array_concat(call_t *c) { return build(c, emit_all, true); }
err_t *kernel_array_intersect(call_t *c) { return build(c, emit_intersect, true); }
err_t *kernel_array_except(call_t *c) { return build(c, emit_except, true); }
err_t *kernel_array_reverse(call_t *c) { return build(c, emit_reverse, true); }
err_t *kernel_array_append(call_t *c) { return build(c, emit_append, false); }
err_t *kernel_array_prepend(call_t *c) { return build(c, emit_prepend, false); }
err_t *kernel_array_remove(call_t *c) { return build(c, emit_remove, false); }
err_t *kernel_array_slice(call_t *c) { return build(c, emit_slice, true); }

typedef struct order {
    const column_t *e;
    int sign;
    bool nulls_first;
} order_t;

static int by_order(const void *pa, const void *pb, void *arg) {
    const order_t *o = arg;
    uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
    bool x = column_null(o->e, a), y = column_null(o->e, b);
    if (x || y) return x == y ? 0 : (x == o->nulls_first ? -1 : 1);
    int r = o->sign * value_compare(o->e, a, o->e, b);
    return r ? r : (a > b) - (a < b);
}

static void emit_sorted(call_t *c, uint32_t i, colbuilder_t *e) {
    span_t s = arg_span(c, 0, i);
    bool asc = c->nargs < 2 || c->args[1].b[AT(c, 1, i)];
    order_t o = {elements(c, 0), asc ? 1 : -1, c->nargs > 2 ? c->args[2].b[AT(c, 2, i)] : asc};
    uint32_t *at = mem_alloc(c->m, sizeof *at * s.len);
    for (uint32_t k = 0; k < s.len; k++) at[k] = s.off + k;
    qsort_r(at, s.len, sizeof *at, by_order, &o);
    for (uint32_t k = 0; k < s.len; k++) colbuilder_row(e, elements(c, 0), at[k]);
}
err_t *kernel_array_sort(call_t *c) { return build(c, emit_sorted, true); }

err_t *rule_array_join(binding_t *b) {
    const type_t *t = b->args[0]->type;
    if (t->kind != TYPE_ARRAY || !type_is_text(t->child[0])) return bind_error(b, "an array of texts is needed");
    b->type = type_of(b, &type_string);
    return NULL;
}

#define JOINED_MAX (64u << 20)
err_t *kernel_array_join(call_t *c) {
    buf_t out = buf_make(JOINED_MAX);
    bool over = false;
    for (uint32_t i = 0; i < c->n && !over; i++) {
        if (row_null(c, i)) continue;
        span_t s = arg_span(c, 0, i);
        const column_t *e = elements(c, 0);
        bool any = false;
        buf_clear(&out);
        for (uint32_t k = s.off; k < s.off + s.len; k++) {
            bool null = column_null(e, k);
            if (null && c->nargs < 3) continue;
            str_t part = null ? arg_str(c, 2, i) : e->str[k], sep = arg_str(c, 1, i);
            if (any) buf_put(&out, sep.p, sep.len);
            buf_put(&out, part.p, part.len);
            any = true;
        }
        out_copy(c, i, out.data, out.len);
        over = out.overflow;
    }
    buf_free(&out);
    return over ? err_new(ERR_LIMIT, "ARRAY_JOIN: the result would be longer than %u MB", JOINED_MAX >> 20) : NULL;
}
