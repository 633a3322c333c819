/* kernel_nested.c: rows, arrays and maps: built, taken apart, compared, combined. */
#include "engine/func_int.h"
#include "engine/rules.h"

/* ---- constructors: constants are spread over the rows */
static void arg_dense(call_t *c, int k, column_t *ret) {
    if (arg_const(c, k)) column_broadcast(ret, &c->args[k], c->n, c->m);
    else *ret = c->args[k];
}

err_t *rule_row(binding_t *b) {
    const type_t **t = ARENA_ARRAY(b->a, const type_t *, b->nargs + 1);
    const char **names = ARENA_ARRAY(b->a, const char *, b->nargs + 1);
    for (int i = 0; i < b->nargs; i++) {
        t[i] = b->args[i]->type;
        names[i] = arena_printf(b->a, "EXPR$%d", i);
    }
    b->type = type_row(b->a, b->nargs, t, names, false);
    return NULL;
}

err_t *kernel_row(call_t *c) {
    for (int k = 0; k < c->nargs; k++) arg_dense(c, k, &c->out->child[k]);
    return NULL;
}

err_t *rule_array(binding_t *b) {
    const type_t *t;
    if (b->nargs == 0) return bind_error(b, "an empty array has no type");
    t = b->args[0]->type;
    for (int i = 1; i < b->nargs && t; i++) t = type_least_restrictive(b->a, t, b->args[i]->type);
    if (!t || t->kind == TYPE_SYMBOL) return bind_error(b, "the elements have no common type");
    for (int i = 0; i < b->nargs; i++) TRY(bind_narrowed(b, i, t));
    b->type = type_array(b->a, t, false);
    return NULL;
}

err_t *kernel_array(call_t *c) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m), *e = colbuilder_child(b, 0);
    for (uint32_t i = 0; i < c->n; i++) {
        colbuilder_begin(b);
        for (int k = 0; k < c->nargs; k++) colbuilder_row(e, &c->args[k], AT(c, k, i));
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}

err_t *rule_map(binding_t *b) {
    if (b->nargs < 2 || b->nargs % 2) return bind_error(b, "keys and values must come in pairs");
    const type_t *key = b->args[0]->type, *value = b->args[1]->type;
    for (int i = 2; i < b->nargs && key && value; i += 2) {
        key = type_common(b->a, key, b->args[i]->type);
        value = type_common(b->a, value, b->args[i + 1]->type);
    }
    if (!key || !value) return bind_error(b, "keys or values have no common type");
    if (key->kind == TYPE_NULL || value->kind == TYPE_NULL) return bind_error(b, "NULL alone has no type: CAST(NULL AS ..)");
    for (int i = 0; i < b->nargs; i++) TRY(bind_cast(b, i, i % 2 ? value : key));
    b->type = type_map(b->a, key, value, false);
    return NULL;
}

static bool same(const column_t *a, uint32_t i, const column_t *b, uint32_t j) {
    bool x = column_null(a, i), y = column_null(b, j);
    return x || y ? x == y : value_compare(a, i, b, j) == 0;
}

err_t *kernel_map(call_t *c) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        colbuilder_begin(b);
        for (int k = 0; k < c->nargs; k += 2) {
            bool again = false; /* the last of equal keys stays */
            for (int l = k + 2; l < c->nargs && !again; l += 2)
                again = same(&c->args[k], AT(c, k, i), &c->args[l], AT(c, l, i));
            if (again) continue;
            colbuilder_row(colbuilder_child(b, 0), &c->args[k], AT(c, k, i));
            colbuilder_row(colbuilder_child(b, 1), &c->args[k + 1], AT(c, k + 1, i));
        }
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}

/* ---- access */
err_t *rule_field(binding_t *b) {
    const type_t *t = b->args[0]->type;
    const char *name = symbol_text(b->args[1]);
    if (t->kind != TYPE_ROW || !name) return bind_error(b, "a row and a field's name are needed");
    for (int i = 0; i < t->nchild; i++)
        if (strcmp(t->names[i], name) == 0) {
            b->type = type_nullable(b->a, t->child[i], t->nullable || t->child[i]->nullable);
            return NULL;
        }
    return err_new(ERR_NOT_FOUND, "the row has no field %s: %s", name, type_text(b->a, t));
}

err_t *kernel_field(call_t *c) {
    const type_t *t = arg_type(c, 0);
    const char *name = symbol_text(c->expr->args[1]);
    int f = 0;
    while (strcmp(t->names[f], name) != 0) f++;
    column_t row;
    arg_dense(c, 0, &row);
    column_t *child = &row.child[f];
    uint8_t *nulls = child->nulls;
    if (row.nulls && nulls) {
        uint8_t *both = mem_alloc(c->m, c->n);
        for (uint32_t i = 0; i < c->n; i++) both[i] = nulls[i] | row.nulls[i];
        nulls = both;
    } else if (row.nulls) {
        nulls = row.nulls;
    }
    *c->out = *child;
    c->out->type = c->expr->type;
    c->out->nulls = nulls;
    return NULL;
}

err_t *rule_item(binding_t *b) {
    const type_t *t = b->args[0]->type;
    if (t->kind == TYPE_ARRAY) {
        if (!type_is_integer(b->args[1]->type) && b->args[1]->type->kind != TYPE_NULL) return bind_error(b, "the index is no integer");
        TRY(bind_cast(b, 1, &type_bigint));
        eval_ctx_t ctx = {.time_zone = "UTC"};
        value_t k = {.null = true};
        if (expr_is_constant(b->args[1])) TRY(expr_constant(b->a, b->args[1], &ctx, &k));
        if (!k.null && k.i < 1) return bind_error(b, "an array's index begins with 1");
        b->type = type_nullable(b->a, t->child[0], true);
    } else if (t->kind == TYPE_MAP) {
        TRY(bind_cast(b, 1, t->child[0]));
        b->type = type_nullable(b->a, t->child[1], true);
    } else {
        return bind_error(b, "an array or a map is needed");
    }
    return NULL;
}

err_t *kernel_item(call_t *c) {
    const column_t *v = &c->args[0];
    bool array = v->type->kind == TYPE_ARRAY;
    uint32_t *sel = mem_zalloc(c->m, sizeof *sel * c->n);
    uint8_t *missing = mem_alloc(c->m, c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        missing[i] = 1;
        if (arg_null(c, 0, i) || arg_null(c, 1, i)) continue;
        span_t s = v->span[AT(c, 0, i)];
        if (array) {
            int64_t k = arg_i64(c, 1, i);
            if (k < 1 || k > s.len) continue;
            sel[i] = s.off + (uint32_t)(k - 1);
            missing[i] = 0;
            continue;
        }
        for (uint32_t k = 0; k < s.len && missing[i]; k++)
            if (!column_null(&v->child[0], s.off + k) && value_compare(&v->child[0], s.off + k, &c->args[1], AT(c, 1, i)) == 0) {
                sel[i] = s.off + k;
                missing[i] = 0;
            }
    }
    const column_t *from = &v->child[array ? 0 : 1];
    if (v->child_rows == 0) {
        memset(column_need_nulls(c->out, c->m, c->n), 1, c->n);
        return NULL;
    }
    column_gather(c->out, from, sel, c->n, c->m);
    c->out->type = c->expr->type;
    uint8_t *nulls = column_need_nulls(c->out, c->m, c->n);
    for (uint32_t i = 0; i < c->n; i++) nulls[i] |= missing[i];
    return NULL;
}

err_t *kernel_cardinality(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++)
        if (!row_null(c, i)) c->out->i32[i] = (int32_t)c->args[0].span[AT(c, 0, i)].len;
    return NULL;
}

err_t *rule_element(binding_t *b) {
    b->type = type_nullable(b->a, b->args[0]->type->child[0], true);
    return NULL;
}

err_t *kernel_element(call_t *c) { /* of an array with one element */
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        span_t s = arg_null(c, 0, i) ? (span_t){0} : c->args[0].span[AT(c, 0, i)];
        if (s.len > 1) {
            colbuilder_free(b);
            return err_new(ERR_DATA, "ELEMENT: the array has %u elements, at most one is allowed", s.len);
        }
        if (s.len) colbuilder_row(b, &c->args[0].child[0], s.off);
        else colbuilder_null(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}

/* ---- MAP_KEYS, MAP_VALUES, MAP_ENTRIES, MAP_FROM_ARRAYS: views over the same children */
err_t *rule_map_part(binding_t *b) {
    const type_t *t = b->args[0]->type;
    if (t->kind != TYPE_MAP) return bind_error(b, "a map is needed");
    const char *n = b->func->name;
    const type_t *e = strcmp(n, "MAP_KEYS") == 0     ? t->child[0]
                      : strcmp(n, "MAP_VALUES") == 0 ? t->child[1]
                                                     : type_row(b->a, 2, t->child, (const char *[]){"key", "value"}, true);
    b->type = type_array(b->a, e, t->nullable);
    return NULL;
}

err_t *kernel_map_part(call_t *c) {
    const char *n = func_name(c->expr->func);
    column_t map;
    arg_dense(c, 0, &map);
    c->out->span = map.span;
    c->out->nulls = map.nulls;
    c->out->child_rows = map.child_rows;
    if (strcmp(n, "MAP_ENTRIES") == 0) {
        column_t *row = &c->out->child[0];
        row->child = map.child;
        row->child_rows = map.child_rows;
    } else {
        c->out->child[0] = map.child[strcmp(n, "MAP_KEYS") == 0 ? 0 : 1];
    }
    return NULL;
}

err_t *rule_map_union(binding_t *b) {
    const type_t *t;
    TRY(bind_common(b, 0, b->nargs, &t));
    if (t->kind != TYPE_MAP) return bind_error(b, "maps are needed");
    b->type = type_of(b, t);
    return NULL;
}

static bool key_follows(const call_t *c, uint32_t i, int from, const column_t *keys, uint32_t at) {
    for (int k = from; k < c->nargs; k++) {
        span_t s = c->args[k].span[AT(c, k, i)];
        for (uint32_t r = s.off; r < s.off + s.len; r++)
            if (same(keys, at, &c->args[k].child[0], r)) return true;
    }
    return false;
}

err_t *kernel_map_union(call_t *c) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) {
            colbuilder_null(b);
            continue;
        }
        colbuilder_begin(b);
        for (int k = 0; k < c->nargs; k++) {
            const column_t *m = &c->args[k];
            span_t s = m->span[AT(c, k, i)];
            for (uint32_t r = s.off; r < s.off + s.len; r++) {
                if (key_follows(c, i, k + 1, &m->child[0], r)) continue;
                colbuilder_row(colbuilder_child(b, 0), &m->child[0], r);
                colbuilder_row(colbuilder_child(b, 1), &m->child[1], r);
            }
        }
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}

err_t *rule_map_from_arrays(binding_t *b) {
    const type_t *k = b->args[0]->type, *v = b->args[1]->type;
    if (k->kind != TYPE_ARRAY || v->kind != TYPE_ARRAY) return bind_error(b, "two arrays are needed");
    b->type = type_map(b->a, k->child[0], v->child[0], any_nullable(b));
    return NULL;
}

err_t *kernel_map_from_arrays(call_t *c) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) {
            colbuilder_null(b);
            continue;
        }
        span_t k = c->args[0].span[AT(c, 0, i)], v = c->args[1].span[AT(c, 1, i)];
        if (k.len != v.len) {
            colbuilder_free(b);
            return err_new(ERR_DATA, "MAP_FROM_ARRAYS: %u keys for %u values", k.len, v.len);
        }
        colbuilder_begin(b);
        for (uint32_t r = 0; r < k.len; r++) {
            colbuilder_row(colbuilder_child(b, 0), &c->args[0].child[0], k.off + r);
            colbuilder_row(colbuilder_child(b, 1), &c->args[1].child[0], v.off + r);
        }
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}
