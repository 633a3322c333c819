/* func_type.c: typing rules: common types, decimal results, what casts are allowed. */
#include "engine/func_int.h"

bool any_nullable(const binding_t *b) {
    for (int i = 0; i < b->nargs; i++)
        if (b->args[i]->type->nullable && b->args[i]->type->kind != TYPE_SYMBOL) return true;
    return false;
}

const type_t *type_of(binding_t *b, const type_t *t) { return type_nullable(b->a, t, any_nullable(b)); }

err_t *bind_cast(binding_t *b, int k, const type_t *to) {
    return cast_bind(b->a, b->args[k], type_nullable(b->a, to, b->args[k]->type->nullable), CAST_IMPLICIT, &b->args[k]);
}

err_t *bind_narrowed(binding_t *b, int k, const type_t *to) {
    bool narrows = to->kind == TYPE_FLOAT && b->args[k]->type->kind == TYPE_DOUBLE;
    return cast_bind(b->a, b->args[k], type_nullable(b->a, to, b->args[k]->type->nullable), narrows ? CAST_EXPLICIT : CAST_IMPLICIT, &b->args[k]);
}

const type_t *type_least_restrictive(arena_t *a, const type_t *x, const type_t *y) {
    bool first = type_is_approx(x) && type_is_approx(y);
    return first ? type_nullable(a, x, x->nullable || y->nullable) : type_common(a, x, y);
}

err_t *bind_common(binding_t *b, int from, int to, const type_t **ret) {
    const type_t *t = b->args[from]->type;
    for (int i = from + 1; i < to && t; i++) t = type_common(b->a, t, b->args[i]->type);
    if (!t) return bind_error(b, "the types have nothing in common");
    if (t->kind == TYPE_SYMBOL) return bind_error(b, "a keyword is no value");
    for (int i = from; i < to; i++) TRY(bind_cast(b, i, t));
    *ret = t;
    return NULL;
}

const char *symbol_text(const expr_t *e) {
    if (e->kind != EXPR_LITERAL || e->type->kind != TYPE_SYMBOL) return NULL;
    return e->value.s.p ? e->value.s.p : "";
}

/* ---- decimals */
static int integer_digits(const type_t *t) {
    switch (t->kind) {
    case TYPE_TINYINT: return 3;
    case TYPE_SMALLINT: return 5;
    case TYPE_INT: return 10;
    case TYPE_BIGINT: return 19;
    default: return 0;
    }
}

const type_t *type_as_decimal(arena_t *a, const type_t *t) {
    if (t->kind == TYPE_DECIMAL) return t;
    int digits = integer_digits(t);
    return digits ? type_decimal(a, digits, 0, t->nullable) : NULL;
}

/* More than 38 digits: fraction digits give way, down to six of them. */
static const type_t *decimal_cap(arena_t *a, int precision, int scale, bool nullable) {
    if (precision > 38) {
        int whole = precision - scale, least = scale < 6 ? scale : 6;
        scale = 38 - whole > least ? 38 - whole : least;
        precision = 38;
    }
    return type_decimal(a, precision < 1 ? 1 : precision, scale, nullable);
}

const type_t *decimal_result(arena_t *a, char op, const type_t *x, const type_t *y) {
    int p1 = x->precision, s1 = x->scale, p2 = y->precision, s2 = y->scale, p, s;
    bool nullable = x->nullable || y->nullable;
    switch (op) {
    case '*':
        s = s1 + s2;
        p = p1 + p2 + 1;
        break;
    case '/':
        s = MAX(6, s1 + p2 + 1);
        p = p1 - s1 + s2 + s;
        break;
    case '%':
        s = MAX(s1, s2);
        p = MIN(p1 - s1, p2 - s2) + s;
        break;
    default:
        s = MAX(s1, s2);
        p = MAX(p1 - s1, p2 - s2) + s + 1;
    }
    return decimal_cap(a, p, s, nullable);
}

/* ---- common types */
static const type_t *numeric_common(arena_t *a, const type_t *x, const type_t *y, bool nullable) {
    if (type_is_approx(x) || type_is_approx(y)) {
        bool single = (x->kind == TYPE_FLOAT || type_is_integer(x)) && (y->kind == TYPE_FLOAT || type_is_integer(y));
        return type_nullable(a, single ? &type_float : &type_double, nullable);
    }
    if (type_is_integer(x) && type_is_integer(y)) return type_nullable(a, x->kind > y->kind ? x : y, nullable);
    x = type_as_decimal(a, x);
    y = type_as_decimal(a, y);
    int s = MAX(x->scale, y->scale), whole = MAX(x->precision - x->scale, y->precision - y->scale);
    if (whole + s > 38) s = MAX(38 - whole, 0);
    return type_decimal(a, MIN(whole + s, 38), s, nullable);
}

static const type_t *nested_common(arena_t *a, const type_t *x, const type_t *y, bool nullable) {
    if (x->kind != y->kind || x->nchild != y->nchild) return NULL;
    const type_t **child = ARENA_ARRAY(a, const type_t *, x->nchild + 1);
    for (int i = 0; i < x->nchild; i++)
        if (!(child[i] = type_common(a, x->child[i], y->child[i]))) return NULL;
    switch (x->kind) {
    case TYPE_ARRAY: return type_array(a, child[0], nullable);
    case TYPE_MAP: return type_map(a, child[0], child[1], nullable);
    case TYPE_MULTISET: return type_multiset(a, child[0], nullable);
    default: return type_row(a, x->nchild, child, x->names, nullable);
    }
}

const type_t *type_common(arena_t *a, const type_t *x, const type_t *y) {
    bool nullable = x->nullable || y->nullable;
    if (x->kind == TYPE_NULL) return type_nullable(a, y, true);
    if (y->kind == TYPE_NULL) return type_nullable(a, x, true);
    if (type_is_nested(x)) return nested_common(a, x, y, nullable);
    if (type_equal(x, y)) return type_nullable(a, x, nullable);
    if (type_is_numeric(x) && type_is_numeric(y)) return numeric_common(a, x, y, nullable);
    if ((type_is_text(x) && type_is_text(y)) || (type_is_binary(x) && type_is_binary(y))) {
        /* texts of different lengths vary */
        type_kind_t k = type_is_text(x) ? TYPE_VARCHAR : TYPE_VARBINARY;
        return type_scalar(a, k, MAX(x->precision, y->precision), nullable);
    }
    bool xt = type_is_timestamp(x) || x->kind == TYPE_DATE, yt = type_is_timestamp(y) || y->kind == TYPE_DATE;
    if (xt && yt) {
        bool ltz = x->kind == TYPE_TIMESTAMP_LTZ || y->kind == TYPE_TIMESTAMP_LTZ;
        int px = x->kind == TYPE_DATE ? 0 : x->precision, py = y->kind == TYPE_DATE ? 0 : y->precision;
        return type_scalar(a, ltz ? TYPE_TIMESTAMP_LTZ : TYPE_TIMESTAMP, MAX(px, py), nullable);
    }
    if (x->kind == TYPE_TIME && y->kind == TYPE_TIME)
        return type_scalar(a, TYPE_TIME, MAX(x->precision, y->precision), nullable);
    return x->kind == y->kind ? type_nullable(a, x, nullable) : NULL;
}

/* ---- casts */
static bool implicit_allowed(const type_t *f, const type_t *t) {
    switch (t->kind) {
    case TYPE_TINYINT:
    case TYPE_SMALLINT:
    case TYPE_INT:
    case TYPE_BIGINT: return type_is_integer(f) && f->kind <= t->kind;
    case TYPE_DECIMAL: return type_is_numeric(f);
    case TYPE_FLOAT: return type_is_numeric(f) && f->kind != TYPE_DOUBLE;
    case TYPE_DOUBLE: return type_is_numeric(f);
    case TYPE_CHAR:
    case TYPE_VARCHAR: return type_is_text(f);
    case TYPE_BINARY:
    case TYPE_VARBINARY: return type_is_binary(f);
    case TYPE_DATE: return f->kind == TYPE_DATE || f->kind == TYPE_TIMESTAMP;
    case TYPE_TIME: return f->kind == TYPE_TIME || f->kind == TYPE_TIMESTAMP;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: return type_is_timestamp(f) || f->kind == TYPE_DATE;
    default: return f->kind == t->kind;
    }
}

static bool explicit_allowed(const type_t *f, const type_t *t) {
    if (type_is_text(t)) return f->kind != TYPE_SYMBOL;
    if (type_is_text(f)) return !type_is_nested(t) && !type_is_interval(t) && t->kind != TYPE_SYMBOL;
    if (type_is_numeric(t) || t->kind == TYPE_BOOLEAN)
        return type_is_numeric(f) || f->kind == TYPE_BOOLEAN || (type_is_interval(f) && type_is_integer(t));
    if (type_is_interval(t)) return f->kind == t->kind || type_is_integer(f);
    if (t->kind == TYPE_TIME) return f->kind == TYPE_TIME || type_is_timestamp(f);
    if (type_is_timestamp(t)) return type_is_temporal(f);
    if (t->kind == TYPE_DATE) return f->kind == TYPE_DATE || type_is_timestamp(f);
    return implicit_allowed(f, t);
}

bool cast_allowed(const type_t *from, const type_t *to, cast_mode_t mode) {
    if (from->kind == TYPE_NULL) return to->kind != TYPE_SYMBOL;
    if (to->kind == TYPE_NULL || to->kind == TYPE_SYMBOL || from->kind == TYPE_SYMBOL) return false;
    if (type_is_nested(to)) {
        if (from->kind != to->kind || from->nchild != to->nchild) return false;
        for (int i = 0; i < to->nchild; i++)
            if (!cast_allowed(from->child[i], to->child[i], mode)) return false;
        return true;
    }
    if (type_is_nested(from)) return mode != CAST_IMPLICIT && type_is_text(to);
    return mode == CAST_IMPLICIT ? implicit_allowed(from, to) : explicit_allowed(from, to);
}

/* Same physical values: only the description differs. */
static bool same_values(const type_t *f, const type_t *t) {
    if (type_equal(f, t)) return true;
    if (f->kind == t->kind && (f->kind == TYPE_VARCHAR || f->kind == TYPE_VARBINARY)) return f->precision <= t->precision;
    if ((f->kind == TYPE_CHAR && t->kind == TYPE_VARCHAR) || (f->kind == TYPE_BINARY && t->kind == TYPE_VARBINARY))
        return f->precision <= t->precision;
    if (f->kind == t->kind && type_is_timestamp(f)) return f->precision <= t->precision;
    return f->kind == t->kind && type_is_interval(f);
}

/* Would an element be read from a text, which can fail? In Flink all of the value is NULL then. */
static bool reads_text(const type_t *f, const type_t *t) {
    if (type_is_text(f)) return !type_is_strlike(t);
    for (int i = 0; i < t->nchild && i < f->nchild; i++)
        if (reads_text(f->child[i], t->child[i])) return true;
    return false;
}

err_t *cast_bind(arena_t *a, expr_t *arg, const type_t *to, cast_mode_t mode, expr_t **ret) {
    const type_t *f = arg->type;
    if (type_equal(f, to) && (mode != CAST_TRY || f->nullable)) {
        *ret = arg;
        return NULL;
    }
    if (!cast_allowed(f, to, mode)) {
        err_t *e = err_new(ERR_TYPE, "%s cannot be cast to %s%s", type_text(a, type_nullable(a, f, true)),
                           type_text(a, type_nullable(a, to, true)), mode == CAST_IMPLICIT ? " implicitly" : "");
        if (mode == CAST_IMPLICIT && cast_allowed(f, to, CAST_EXPLICIT)) e = err_hint(e, "write CAST(.. AS ..)");
        return e;
    }
    if (mode == CAST_TRY && type_is_nested(to) && reads_text(f, to))
        return err_hint(err_new(ERR_UNSUPPORTED, "TRY_CAST does not read texts inside of %s", type_text(a, type_nullable(a, f, true))),
                        "CAST it, or TRY_CAST the elements before they are put together");
    bool nullable = f->nullable || mode == CAST_TRY || (mode == CAST_IMPLICIT && to->nullable);
    if (arg->kind == EXPR_LITERAL && arg->value.null) {
        *ret = expr_null(a, type_nullable(a, to, true));
        return NULL;
    }
    expr_t *e = ARENA_NEW(a, expr_t);
    e->kind = EXPR_CALL;
    e->func = mode == CAST_TRY ? &func_try_cast : &func_cast;
    e->type = type_nullable(a, to, nullable);
    e->line = arg->line;
    e->col = arg->col;
    e->nargs = 1;
    e->args = ARENA_ARRAY(a, expr_t *, 1);
    e->args[0] = arg;
    if (mode == CAST_IMPLICIT && arg->kind != EXPR_CALL && same_values(f, to) && arg->kind == EXPR_LITERAL) {
        expr_t *l = ARENA_NEW(a, expr_t); /* a literal just takes the wider type */
        *l = *arg;
        l->type = type_nullable(a, to, f->nullable);
        e = l;
    }
    *ret = e;
    return NULL;
}
