#include "common/types.h"

#define T(name, k, p)                                                                              \
    const type_t name = {.kind = k, .nullable = true, .precision = p}
T(type_null, TYPE_NULL, 0);
T(type_boolean, TYPE_BOOLEAN, 0);
T(type_tinyint, TYPE_TINYINT, 0);
T(type_smallint, TYPE_SMALLINT, 0);
T(type_int, TYPE_INT, 0);
T(type_bigint, TYPE_BIGINT, 0);
T(type_float, TYPE_FLOAT, 0);
T(type_double, TYPE_DOUBLE, 0);
T(type_string, TYPE_VARCHAR, TYPE_LEN_MAX);
T(type_bytes, TYPE_VARBINARY, TYPE_LEN_MAX);
T(type_date, TYPE_DATE, 0);
T(type_time, TYPE_TIME, 0);
T(type_timestamp3, TYPE_TIMESTAMP, 3);
T(type_timestamp6, TYPE_TIMESTAMP, 6);
T(type_ltz3, TYPE_TIMESTAMP_LTZ, 3);
T(type_ltz6, TYPE_TIMESTAMP_LTZ, 6);
T(type_interval_month, TYPE_INTERVAL_MONTH, 0);
T(type_interval_second, TYPE_INTERVAL_SECOND, 3);
T(type_symbol, TYPE_SYMBOL, 0);

static type_t *make(arena_t *a, type_kind_t kind, int precision, int scale, bool nullable) {
    type_t *t = ARENA_NEW(a, type_t);
    t->kind = kind;
    t->precision = precision;
    t->scale = scale;
    t->nullable = nullable;
    return t;
}

const type_t *type_decimal(arena_t *a, int precision, int scale, bool nullable) {
    ASSERT(precision >= 1 && precision <= 38 && scale >= 0 && scale <= precision);
    return make(a, TYPE_DECIMAL, precision, scale, nullable);
}

const type_t *type_scalar(arena_t *a, type_kind_t kind, int precision, bool nullable) {
    return make(a, kind, precision, 0, nullable);
}

static const type_t *nested(arena_t *a, type_kind_t kind, int n, const type_t *const *child,
                            const char *const *names, bool nullable) {
    type_t *t = make(a, kind, 0, 0, nullable);
    t->nchild = n;
    t->child = arena_memdup(a, child, sizeof *child * (size_t)n);
    t->names = names ? arena_memdup(a, names, sizeof *names * (size_t)n) : NULL;
    return t;
}

const type_t *type_array(arena_t *a, const type_t *element, bool nullable) {
    return nested(a, TYPE_ARRAY, 1, &element, NULL, nullable);
}
const type_t *type_map(arena_t *a, const type_t *key, const type_t *value, bool nullable) {
    return nested(a, TYPE_MAP, 2, (const type_t *[]){key, value}, NULL, nullable);
}
const type_t *type_multiset(arena_t *a, const type_t *element, bool nullable) {
    return nested(a, TYPE_MULTISET, 1, &element, NULL, nullable);
}
const type_t *type_row(arena_t *a, int n, const type_t *const *fields, const char *const *names,
                       bool nullable) {
    return nested(a, TYPE_ROW, n, fields, names, nullable);
}

const type_t *type_nullable(arena_t *a, const type_t *t, bool nullable) {
    if (t->nullable == nullable) return t;
    type_t *copy = arena_memdup(a, t, sizeof *t);
    copy->nullable = nullable;
    return copy;
}

const type_t *type_copy(arena_t *a, const type_t *t) {
    type_t *copy = arena_memdup(a, t, sizeof *t);
    if (t->nchild) {
        const type_t **child = ARENA_ARRAY(a, const type_t *, t->nchild);
        for (int i = 0; i < t->nchild; i++) child[i] = type_copy(a, t->child[i]);
        copy->child = child;
    }
    if (t->names) {
        const char **names = ARENA_ARRAY(a, const char *, t->nchild);
        for (int i = 0; i < t->nchild; i++) names[i] = arena_strdup(a, t->names[i]);
        copy->names = names;
    }
    return copy;
}

static bool has_precision(type_kind_t k) {
    return k == TYPE_DECIMAL || (k >= TYPE_CHAR && k <= TYPE_VARBINARY) || k == TYPE_TIME ||
           k == TYPE_TIMESTAMP || k == TYPE_TIMESTAMP_LTZ;
}

bool type_equal(const type_t *a, const type_t *b) {
    if (a == b) return true;
    if (a->kind != b->kind || a->nchild != b->nchild) return false;
    if (has_precision(a->kind) && (a->precision != b->precision || a->scale != b->scale)) return false;
    for (int i = 0; i < a->nchild; i++) {
        if (!type_equal(a->child[i], b->child[i])) return false;
        if (a->names && strcmp(a->names[i], b->names[i]) != 0) return false;
    }
    return true;
}

static void print_name(buf_t *out, const char *name) {
    buf_put_u8(out, '`');
    for (; *name; name++) {
        if (*name == '`') buf_put_u8(out, '`');
        buf_put_u8(out, (uint8_t)*name);
    }
    buf_put_u8(out, '`');
}

static void print_children(buf_t *out, const type_t *t) {
    buf_put_u8(out, '<');
    for (int i = 0; i < t->nchild; i++) {
        if (i) buf_puts(out, ", ");
        if (t->names) {
            print_name(out, t->names[i]);
            buf_put_u8(out, ' ');
        }
        type_print(out, t->child[i]);
    }
    buf_put_u8(out, '>');
}

static const char *const kind_names[TYPE_KINDS] = {
    "NULL", "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR",
    "BINARY", "VARBINARY", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "INTERVAL MONTH",
    "INTERVAL SECOND(3)", "ARRAY", "MAP", "MULTISET", "ROW", "SYMBOL"};

void type_print(buf_t *out, const type_t *t) {
    switch (t->kind) {
    case TYPE_DECIMAL: buf_printf(out, "DECIMAL(%d, %d)", t->precision, t->scale); break;
    case TYPE_VARCHAR:
    case TYPE_VARBINARY:
        if (t->precision == TYPE_LEN_MAX) {
            buf_puts(out, t->kind == TYPE_VARCHAR ? "STRING" : "BYTES");
            break;
        } /* fallthrough */
    case TYPE_CHAR:
    case TYPE_BINARY:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: buf_printf(out, "%s(%d)", kind_names[t->kind], t->precision); break;
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET:
    case TYPE_ROW:
        buf_puts(out, kind_names[t->kind]);
        print_children(out, t);
        break;
    default: buf_puts(out, kind_names[t->kind]);
    }
    if (!t->nullable) buf_puts(out, " NOT NULL");
}

const char *type_text(arena_t *a, const type_t *t) {
    buf_t b = buf_make(1 << 20);
    type_print(&b, t);
    const char *s = arena_strndup(a, (const char *)b.data, b.len);
    buf_free(&b);
    return s;
}

int type_width(const type_t *t) {
    switch (t->kind) {
    case TYPE_NULL:
    case TYPE_BOOLEAN:
    case TYPE_TINYINT: return 1;
    case TYPE_SMALLINT: return 2;
    case TYPE_INT:
    case TYPE_FLOAT:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_INTERVAL_MONTH: return 4;
    case TYPE_BIGINT:
    case TYPE_DOUBLE:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ:
    case TYPE_INTERVAL_SECOND:
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET: return 8;
    case TYPE_DECIMAL:
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: return 16;
    default: return 0;
    }
}

schema_t *schema_new(arena_t *a, int n) {
    schema_t *s = ARENA_NEW(a, schema_t);
    s->n = n;
    s->fields = ARENA_ARRAY(a, field_t, n);
    return s;
}

int schema_find(const schema_t *s, const char *name) {
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->fields[i].name, name) == 0) return i;
    return -1;
}
