/* agg.c: the table of aggregate functions, their typing, and sets of laid-out calls.
 *
 * Typing is Flink's: SUM keeps the argument's type (DECIMAL(p, s) becomes DECIMAL(38, s)), AVG and the variance family keep
 * it too (DECIMAL(p, s) becomes DECIMAL(38, max(6, s))), so AVG of INT is INT, cut toward zero. */
#include "engine/agg_int.h"
#include "engine/func.h"
#include <stdlib.h>
#include <strings.h>

/* ---------------------------------------------------------------- typing */
static err_t *bind_count(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    *ret = type_nullable(a, &type_bigint, false);
    return NULL;
}

static err_t *not_for(const agg_fn_t *fn, const type_t *t, const char *wanted) {
    buf_t text = buf_make(4096);
    type_print(&text, t);
    err_t *e = err_new(ERR_TYPE, "%s takes %s, not %s", fn->name, wanted, buf_cstr(&text));
    buf_free(&text);
    return e;
}

static err_t *bind_sum(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    const type_t *t = args[0]->type;
    if (!type_is_numeric(t)) return not_for(fn, t, "a number");
    *ret = t->kind == TYPE_DECIMAL ? type_decimal(a, 38, t->scale, true) : type_nullable(a, t, true);
    return NULL;
}

static err_t *bind_avg(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    const type_t *t = args[0]->type;
    if (!type_is_numeric(t)) return not_for(fn, t, "a number");
    *ret = t->kind == TYPE_DECIMAL ? type_decimal(a, 38, MAX(t->scale, 6), true) : type_nullable(a, t, true);
    return NULL;
}

static err_t *bind_extreme(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    const type_t *t = args[0]->type;
    if (type_is_nested(t) || t->kind == TYPE_NULL) return not_for(fn, t, "a comparable value");
    *ret = type_nullable(a, t, true);
    return NULL;
}

static err_t *bind_value(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    *ret = type_nullable(a, args[0]->type, true);
    return NULL;
}

static err_t *bind_listagg(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    for (int i = 0; i < nargs; i++)
        if (!type_is_text(args[i]->type)) return not_for(fn, args[i]->type, "text");
    if (nargs == 2 && args[1]->kind != EXPR_LITERAL)
        return err_new(ERR_UNSUPPORTED, "the separator of LISTAGG must be a literal");
    *ret = type_nullable(a, &type_string, true);
    return NULL;
}

static err_t *bind_collect(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    *ret = type_multiset(a, args[0]->type, false);
    return NULL;
}

static err_t *bind_array(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    *ret = type_array(a, args[0]->type, true);
    return NULL;
}

/* The binder made the values JSON texts. */
static err_t *bind_json(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    if (nargs == 2 && !type_is_text(args[1]->type)) return err_new(ERR_TYPE, "the key of JSON_OBJECTAGG is a text");
    *ret = type_scalar(a, TYPE_VARCHAR, 2000, false); /* as Flink derives it; longer ones are not cut */
    return NULL;
}

static err_t *check_percent(arena_t *a, const expr_t *e) {
    expr_t *d;
    value_t v;
    eval_ctx_t ctx = {.time_zone = "UTC"};
    bool ok = type_is_numeric(e->type) && expr_is_constant(e);
    if (ok) {
        TRY(cast_bind(a, (expr_t *)(uintptr_t)e, &type_double, CAST_EXPLICIT, &d));
        TRY(expr_constant(a, d, &ctx, &v));
    }
    return ok && !v.null && v.f >= 0 && v.f <= 1 ? NULL : err_new(ERR_INVALID, "a percentage of PERCENTILE is a constant from 0.0 to 1.0");
}

static err_t *bind_percentile(arena_t *a, const agg_fn_t *fn, expr_t **args, int nargs, const type_t **ret) {
    if (!type_is_numeric(args[0]->type)) return not_for(fn, args[0]->type, "a number");
    bool list = args[1]->type->kind == TYPE_ARRAY;
    const type_t *t = list ? type_array(a, &type_double, true) : &type_double;
    if (!list) TRY(check_percent(a, args[1]));
    else if (args[1]->kind != EXPR_CALL || strcmp(func_name(args[1]->func), "ARRAY") != 0)
        return err_new(ERR_INVALID, "the percentages of PERCENTILE are a constant: ARRAY[0.5, 0.9]");
    for (int i = 0; list && i < args[1]->nargs; i++) TRY(check_percent(a, args[1]->args[i]));
    TRY(cast_bind(a, args[0], &type_double, CAST_EXPLICIT, &args[0]));
    TRY(cast_bind(a, args[1], t, CAST_EXPLICIT, &args[1]));
    if (nargs > 2 && !type_is_integer(args[2]->type)) return not_for(fn, args[2]->type, "an integer as frequency");
    if (nargs > 2) TRY(cast_bind(a, args[2], &type_bigint, CAST_EXPLICIT, &args[2]));
    *ret = t;
    return NULL;
}

/* ---------------------------------------------------------------- implementations by argument */
static const agg_impl_t *impl_count(const agg_slot_t *s, bool retracting) { return &agg_impl_count; }

static const agg_impl_t *impl_sum(const agg_slot_t *s, bool retracting) {
    switch (s->cls) {
    case CLASS_FLOAT: return s->kind == SUM_AVG ? &agg_impl_sum_double : &agg_impl_sum_float;
    case CLASS_DOUBLE: return &agg_impl_sum_double;
    case CLASS_DEC: return &agg_impl_sum_dec;
    default: return &agg_impl_sum_int;
    }
}

static const agg_impl_t *impl_min(const agg_slot_t *s, bool retracting) {
    if (retracting) return &agg_impl_extreme_retract;
    switch (s->cls) {
    case CLASS_FLOAT:
    case CLASS_DOUBLE: return &agg_impl_min_double;
    case CLASS_DEC: return &agg_impl_min_dec;
    case CLASS_STR: return &agg_impl_min_str;
    default: return &agg_impl_min_int;
    }
}

static const agg_impl_t *impl_max(const agg_slot_t *s, bool retracting) {
    if (retracting) return &agg_impl_extreme_retract;
    switch (s->cls) {
    case CLASS_FLOAT:
    case CLASS_DOUBLE: return &agg_impl_max_double;
    case CLASS_DEC: return &agg_impl_max_dec;
    case CLASS_STR: return &agg_impl_max_str;
    default: return &agg_impl_max_int;
    }
}

static const agg_impl_t *impl_var(const agg_slot_t *s, bool retracting) { return &agg_impl_var; }
static const agg_impl_t *impl_percentile(const agg_slot_t *s, bool retracting) { return &agg_impl_percentile; }
static const agg_impl_t *impl_object(const agg_slot_t *s, bool retracting) { return &agg_impl_object; }
static const agg_impl_t *impl_collect(const agg_slot_t *s, bool retracting) { return &agg_impl_collect; }
static const agg_impl_t *impl_list(const agg_slot_t *s, bool retracting) {
    if (retracting || s->kind >= LIST_AGG) return &agg_impl_list;
    return s->kind == LIST_FIRST ? &agg_impl_first : &agg_impl_last;
}

/* name, arguments, typing, implementation, kind, combines, retracts */
static const agg_fn_t functions[] = {
    {"COUNT", 0, 4, bind_count, impl_count, 0, true, true},
    {"SUM", 1, 1, bind_sum, impl_sum, SUM_SUM, true, true},
    {"AVG", 1, 1, bind_avg, impl_sum, SUM_AVG, true, true},
    {"MIN", 1, 1, bind_extreme, impl_min, -1, true, true},
    {"MAX", 1, 1, bind_extreme, impl_max, 1, true, true},
    {"VAR_POP", 1, 1, bind_avg, impl_var, VAR_POP, true, true},
    {"VAR_SAMP", 1, 1, bind_avg, impl_var, VAR_SAMP, true, true},
    {"VARIANCE", 1, 1, bind_avg, impl_var, VAR_SAMP, true, true},
    {"STDDEV_POP", 1, 1, bind_avg, impl_var, STDDEV_POP, true, true},
    {"STDDEV_SAMP", 1, 1, bind_avg, impl_var, STDDEV_SAMP, true, true},
    {"STDDEV", 1, 1, bind_avg, impl_var, STDDEV_SAMP, true, true},
    {"FIRST_VALUE", 1, 1, bind_value, impl_list, LIST_FIRST, false, true},
    {"LAST_VALUE", 1, 1, bind_value, impl_list, LIST_LAST, false, true},
    {"LISTAGG", 1, 2, bind_listagg, impl_list, LIST_AGG, false, true},
    {"ARRAY_AGG", 1, 1, bind_array, impl_list, LIST_ARRAY, false, true},
    {"PERCENTILE", 2, 3, bind_percentile, impl_percentile, 0, false, true},
    {"COLLECT", 1, 1, bind_collect, impl_collect, 0, false, true},
    {"JSON_ARRAYAGG", 1, 1, bind_json, impl_list, LIST_JSON, false, true},
    {"JSON_ARRAYAGG_ABSENT_ON_NULL", 1, 1, bind_json, impl_list, LIST_JSON, false, true},
    {"JSON_ARRAYAGG_NULL_ON_NULL", 1, 1, bind_json, impl_list, LIST_JSON_NULLS, false, true},
    {"JSON_OBJECTAGG", 2, 2, bind_json, impl_object, OBJECT_NULLS, false, true},
    {"JSON_OBJECTAGG_NULL_ON_NULL", 2, 2, bind_json, impl_object, OBJECT_NULLS, false, true},
    {"JSON_OBJECTAGG_ABSENT_ON_NULL", 2, 2, bind_json, impl_object, OBJECT_ABSENT, false, true},
};

static const agg_fn_t *agg_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (strcasecmp(functions[i].name, name) == 0) return &functions[i];
    return NULL;
}

bool agg_exists(const char *name) { return agg_find(name) != NULL; }
const char *agg_fn_name(const agg_fn_t *fn) { return fn->name; }

err_t *agg_bind(arena_t *a, const char *name, bool distinct, expr_t **args, int nargs, const agg_fn_t **ret_fn,
                const type_t **ret_type) {
    const agg_fn_t *fn = agg_find(name);
    if (!fn) return err_new(ERR_NOT_FOUND, "aggregate function %s is unknown", name);
    if (nargs < fn->min_args || nargs > fn->max_args)
        return err_new(ERR_TYPE, "%s takes %d to %d arguments, not %d", fn->name, fn->min_args, fn->max_args, nargs);
    if (distinct && nargs == 0) return err_new(ERR_INVALID, "%s(DISTINCT *) has no meaning", fn->name);
    bool constant = fn->bind == bind_listagg || (fn->bind == bind_percentile && nargs == 2); /* the second argument */
    if (distinct && nargs > 1 && !constant)
        return err_hint(err_new(ERR_UNSUPPORTED, "%s(DISTINCT ..) of several arguments is not supported", fn->name),
                        "use one ROW(..) argument or SELECT DISTINCT in a subquery");
    TRY(fn->bind(a, fn, args, nargs, ret_type));
    *ret_fn = fn;
    return NULL;
}

bool agg_can_combine(const agg_call_t *c) { return c->fn->combines && !c->distinct; }
bool agg_can_retract(const agg_call_t *c) { return c->fn->retracts; }

/* ---------------------------------------------------------------- layout */
agg_class_t agg_class(const type_t *t) {
    switch (t->kind) {
    case TYPE_FLOAT: return CLASS_FLOAT;
    case TYPE_DOUBLE: return CLASS_DOUBLE;
    case TYPE_DECIMAL: return CLASS_DEC;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: return CLASS_STR;
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET:
    case TYPE_ROW: return CLASS_NESTED;
    default: return CLASS_INT;
    }
}

static void slot_init(agg_slot_t *s, const agg_call_t *c, bool retracting) {
    *s = (agg_slot_t){.call = c, .kind = c->fn->kind, .bytes = buf_make(BUF_MAX_DEFAULT)};
    if (c->nargs) {
        s->cls = agg_class(c->arg_types[0]);
        s->width = s->cls == CLASS_INT ? type_width(c->arg_types[0]) : 0;
        s->single_precision = s->cls == CLASS_FLOAT;
    }
    s->impl = c->fn->impl(s, retracting);
}

void agg_partial_list(arena_t *a, const agg_slot_t *s, const type_t **ret) {
    const type_t *arg = s->call->nargs ? s->call->arg_types[0] : NULL;
    const agg_impl_t *i = s->impl;
    int n = 0;
    if (i == &agg_impl_count) {
        ret[n++] = &type_bigint;
    } else if (i == &agg_impl_var) {
        ret[n++] = &type_bigint;
        ret[n++] = &type_double;
        ret[n++] = &type_double;
    } else if (i == &agg_impl_sum_int || i == &agg_impl_sum_double || i == &agg_impl_sum_float || i == &agg_impl_sum_dec) {
        ret[n++] = &type_bigint; /* values summed */
        ret[n++] = i == &agg_impl_sum_int ? &type_bigint : i == &agg_impl_sum_dec ? type_decimal(a, 38, arg->scale, true) : &type_double;
    } else {
        ret[n++] = type_nullable(a, arg, true); /* extremes */
    }
    ASSERT(n == i->npartial);
}

int agg_partial_types(arena_t *a, const agg_call_t *c, const type_t **ret) {
    agg_slot_t s;
    slot_init(&s, c, false);
    agg_partial_list(a, &s, ret);
    return s.impl->npartial;
}

/* Finds the set that slot i shares, or makes it the leader of one. */
static void share_values(agg_set_t *s, int i) {
    agg_slot_t *slot = &s->slots[i], *leader = slot;
    for (int k = 0; k < i && leader == slot; k++) {
        agg_slot_t *other = &s->slots[k];
        if (other->members && other->nmembers < AGG_MASK_MEMBERS && other->call->args[0] == slot->call->args[0]) leader = other;
    }
    if (leader == slot) leader->members = ARENA_ARRAY(s->arena, agg_slot_t *, AGG_MASK_MEMBERS);
    leader->members[leader->nmembers++] = slot;
    slot->leader = leader;
    slot->impl = leader == slot ? &agg_impl_mask : &agg_impl_mask_more;
    s->masks = true;
}

static void plan_encode(agg_set_t *s) {
    uint32_t most = 1;
    s->steps = ARENA_ARRAY(s->arena, agg_step_t, s->n ? s->n : 1);
    for (int i = 0; i < s->n; i++) {
        const agg_slot_t *slot = &s->slots[i];
        if (!slot->impl->encode_at) return;
        s->steps[i] = (agg_step_t){slot->impl->encode_at, slot->off};
        most += slot->impl->encode_most;
    }
    s->encode_most = most;
}

agg_set_t *agg_set_new(const agg_call_t *calls, int n, bool retracting) {
    agg_set_t *s = xcalloc(1, sizeof *s);
    s->n = n;
    s->arena = arena_new();
    s->page = buf_make(BUF_MAX_DEFAULT);
    s->slots = ARENA_ARRAY(s->arena, agg_slot_t, n ? n : 1);
    for (int i = 0; i < n; i++) {
        agg_slot_t *slot = &s->slots[i];
        slot_init(slot, &calls[i], retracting);
        if (calls[i].distinct && !retracting && slot->impl == &agg_impl_count && calls[i].nargs == 1 && slot->cls == CLASS_INT) {
            share_values(s, i);
        } else if (calls[i].distinct) {
            agg_slot_t *inner = ARENA_NEW(s->arena, agg_slot_t);
            *inner = *slot;
            slot->inner = inner;
            slot->impl = &agg_impl_distinct;
            slot->once = inner->once = !retracting;
            inner->off = (uint32_t)sizeof(vset_t *);
        }
        slot->off = s->size;
        s->size += (slot->impl->size + (slot->inner ? slot->inner->impl->size : 0) + 7) & ~7u;
        if (slot->impl->npartial) agg_partial_list(s->arena, slot, slot->partial_types);
    }
    plan_encode(s);
    return s;
}

void agg_set_free(agg_set_t *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slots[2] = {&s->slots[i], s->slots[i].inner};
        for (int k = 0; k < 2; k++) {
            if (!slots[k]) continue;
            buf_free(&slots[k]->bytes);
            free(slots[k]->separator);
            free(slots[k]->sel);
            free(slots[k]->accs);
        }
    }
    buf_free(&s->page);
    arena_free(s->arena);
    free(s->sel);
    free(s->accs);
    free(s);
}

uint32_t agg_set_size(const agg_set_t *s) { return s->size; }
void agg_set_init(const agg_set_t *s, void *accs) { memset(accs, 0, s->size); }

void agg_set_clear(const agg_set_t *s, void *accs) {
    for (int i = 0; i < s->n; i++)
        if (s->slots[i].impl->clear) s->slots[i].impl->clear(&s->slots[i], slot_acc(&s->slots[i], accs));
}

void slot_scratch(agg_slot_t *s, uint32_t n) {
    if (s->cap >= n) return;
    s->cap = n;
    s->sel = xrealloc(s->sel, sizeof *s->sel * n);
    s->accs = xrealloc(s->accs, sizeof *s->accs * n);
}

/* ---------------------------------------------------------------- update */
static void set_scratch(agg_set_t *s, uint32_t n) {
    if (s->cap >= n) return;
    s->cap = n;
    s->sel = xrealloc(s->sel, sizeof *s->sel * n);
    s->accs = xrealloc(s->accs, sizeof *s->accs * n);
}

static agg_rows_t filtered(agg_set_t *s, const agg_rows_t *r, int filter) {
    const column_t *f = &r->in->cols[filter];
    set_scratch(s, r->n);
    agg_rows_t out = {r->in, s->sel, 0, s->accs};
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        if (!f->b[row] || column_null(f, row)) continue;
        s->sel[out.n] = row;
        s->accs[out.n++] = r->accs[k];
    }
    return out;
}

static err_t *update_failed(const agg_slot_t *s) {
    const char *name = s->call->fn->name, *how = strstr(name, "AGG_"); /* JSON_ARRAYAGG_NULL_ON_NULL: the name is what was written */
    int len = how ? (int)(how - name) + 3 : (int)strlen(name);
    if (s->why) return err_new(ERR_DATA, "%.*s: %s", len, name, s->why);
    return err_hint(err_new(ERR_LIMIT, "%.*s: one group has more values than it can hold, or a longer result", len, name),
                    "group by more columns or over shorter windows, or take fewer rows by FILTER (WHERE ..)");
}

void agg_set_most(agg_set_t *s, uint64_t bytes) {
    for (int i = 0; i < s->n; i++) {
        s->slots[i].most = bytes;
        if (s->slots[i].inner) s->slots[i].inner->most = bytes;
    }
}

static err_t *update_rows(agg_set_t *s, const agg_rows_t *r, bool retract) {
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slot = &s->slots[i];
        agg_rows_t rows = slot->call->filter >= 0 && !slot->leader ? filtered(s, r, slot->call->filter) : *r;
        if (rows.n == 0) continue;
        bool (*fn)(agg_slot_t *, const agg_rows_t *) = retract ? slot->impl->retract : slot->impl->update;
        if (!fn) return err_new(ERR_UNSUPPORTED, "%s cannot take rows back", slot->call->fn->name);
        if (!fn(slot, &rows)) return update_failed(slot);
    }
    return NULL;
}

/* Rows that are taken back and rows that are added go in runs, so that their order is kept. */
static err_t *update_changes(agg_set_t *s, const batch_t *in, const uint32_t *sel, uint32_t n, void **accs) {
    uint32_t *rows = xmalloc(sizeof *rows * n);
    for (uint32_t k = 0; k < n; k++) rows[k] = sel ? sel[k] : k;
    err_t *e = NULL;
    for (uint32_t from = 0, to; from < n && !e; from = to) {
        bool retract = batch_kind(in, rows[from]) == ROW_UPDATE_BEFORE || batch_kind(in, rows[from]) == ROW_DELETE;
        for (to = from + 1; to < n; to++) {
            row_kind_t k = batch_kind(in, rows[to]);
            if ((k == ROW_UPDATE_BEFORE || k == ROW_DELETE) != retract) break;
        }
        agg_rows_t r = {in, rows + from, to - from, accs + from};
        e = update_rows(s, &r, retract);
    }
    free(rows);
    return e;
}

err_t *agg_set_update(agg_set_t *s, const batch_t *in, const uint32_t *sel, uint32_t n, void **accs) {
    if (n == 0 || s->n == 0) return NULL;
    if (in->kinds) return update_changes(s, in, sel, n, accs);
    agg_rows_t r = {in, sel, n, accs};
    return update_rows(s, &r, false);
}

/* ---------------------------------------------------------------- combiners */
err_t *agg_set_partial(agg_set_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slot = &s->slots[i];
        if (!slot->impl->partial) return err_new(ERR_INTERNAL, "%s has no partial form", slot->call->fn->name);
        for (int k = 0; k < slot->impl->npartial; k++) column_init(&out[k], slot->partial_types[k], m, n);
        slot->impl->partial(slot, accs, n, m, out);
        out += slot->impl->npartial;
    }
    return NULL;
}

bool agg_set_partial_rows(agg_set_t *s, const batch_t *in, mem_t *m, column_t *out) {
    for (int i = 0; i < s->n; i++)
        if (!s->slots[i].impl->partial_rows || s->slots[i].call->filter >= 0) return false;
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slot = &s->slots[i];
        slot->impl->partial_rows(slot, in, m, out);
        out += slot->impl->npartial;
    }
    return true;
}

bool agg_set_grows(const agg_set_t *s) {
    for (int i = 0; i < s->n; i++) {
        const agg_call_t *c = s->slots[i].call;
        if (s->slots[i].impl == &agg_impl_count && c->nargs == 0 && c->filter < 0 && !c->distinct) return true;
    }
    return false;
}

err_t *agg_set_merge_partial(agg_set_t *s, const batch_t *in, int first_col, const uint32_t *sel, uint32_t n,
                             void **accs) {
    agg_rows_t r = {in, sel, n, accs};
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slot = &s->slots[i];
        if (!slot->impl->merge_partial) return err_new(ERR_INTERNAL, "%s has no partial form", slot->call->fn->name);
        if (!slot->impl->merge_partial(slot, &in->cols[first_col], &r))
            return update_failed(slot);
        first_col += slot->impl->npartial;
    }
    return NULL;
}

err_t *agg_set_merge(agg_set_t *s, void *into, const void *from) {
    for (int i = 0; i < s->n; i++) {
        s->slots[i].impl->merge(&s->slots[i], slot_acc(&s->slots[i], into), slot_acc_const(&s->slots[i], from));
        if (s->slots[i].why || s->slots[i].full) return update_failed(&s->slots[i]);
    }
    return NULL;
}

/* ---------------------------------------------------------------- results */
err_t *agg_set_emit(agg_set_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    for (int i = 0; i < s->n; i++) {
        s->slots[i].impl->emit(&s->slots[i], accs, n, m, &out[i]);
        if (s->slots[i].full) return update_failed(&s->slots[i]);
    }
    return NULL;
}

bool agg_set_emit_equal(agg_set_t *s, const void *a, const void *b) {
    void *accs[2] = {(void *)(uintptr_t)a, (void *)(uintptr_t)b};
    mem_t *m = mem_new();
    buf_t x = buf_make(BUF_MAX_DEFAULT), y = buf_make(BUF_MAX_DEFAULT);
    bool equal = true;
    for (int i = 0; i < s->n && equal; i++) {
        column_t col = {0};
        s->slots[i].impl->emit(&s->slots[i], accs, 2, m, &col);
        buf_clear(&x);
        buf_clear(&y);
        value_encode(&x, &col, 0);
        value_encode(&y, &col, 1);
        equal = !s->slots[i].full && !x.overflow && !y.overflow && slice_eq(buf_slice(&x), buf_slice(&y)); /* else agg_set_emit has the error */
    }
    buf_free(&x);
    buf_free(&y);
    mem_unref(m);
    return equal;
}

/* ---------------------------------------------------------------- changelog form: version, then the calls in order
 * Version 2 differs from 1 in COUNT(DISTINCT ..) of integers that are not taken back; without them 1 is written. Versions 3 and 4 are those of a group
 * with pages (agg_page.c). */
void agg_set_encode(const agg_set_t *s, const void *accs, buf_t *out) {
    if (UNLIKELY(s->pages) && agg_pages_encode(s, accs, out)) return;
    uint8_t *p = buf_begin(out, 1);
    if (!p) return;
    *p = s->masks ? 2 : 1;
    buf_end(out, p + 1);
    for (int i = 0; i < s->n; i++) slot_encode(&s->slots[i], slot_acc_const(&s->slots[i], accs), out);
}

uint32_t agg_set_encode_most(const agg_set_t *s) { return s->encode_most; }

uint8_t *agg_set_encode_at(const agg_set_t *s, const void *accs, uint8_t *p) { /* no masks, no pages */
    *p = 1;
    return agg_steps_encode(s->steps, s->n, accs, p + 1);
}

bool agg_set_decode(const agg_set_t *s, reader_t *r, void *accs) {
    uint8_t version = read_u8(r);
    if (version >= 3 && version <= s->paged_version) return agg_pages_decode(s, version, r, accs);
    if (version != 1 && !(version == 2 && s->masks)) return false;
    for (int i = 0; i < s->n; i++) {
        agg_slot_t *slot = &s->slots[i];
        bool ok = version == 1 && slot->leader ? agg_mask_decode_1(slot, r, accs) : slot->impl->decode(slot, r, slot_acc(slot, accs));
        if (!ok || r->bad) return false;
    }
    return true;
}

bool agg_set_owns(const agg_set_t *s) {
    for (int i = 0; i < s->n; i++)
        if (s->slots[i].impl->clear || s->slots[i].impl->heap) return true;
    return false;
}

size_t agg_set_heap(const agg_set_t *s, const void *accs) {
    size_t n = 0;
    for (int i = 0; i < s->n; i++)
        if (s->slots[i].impl->heap) n += s->slots[i].impl->heap(&s->slots[i], slot_acc_const(&s->slots[i], accs));
    return n;
}
