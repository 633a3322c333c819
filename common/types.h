/* types.h: SQL types and schemas.
 *
 * Types are immutable and live in an arena or are the static ones below; share them freely while the
 * arena lives. Physical form of a value in a column (engine/batch.h):
 *   BOOLEAN u8 | TINYINT i8 | SMALLINT i16 | INT i32 | BIGINT i64 | FLOAT f32 | DOUBLE f64
 *   DATE i32 days since 1970-01-01 | TIME i32 milliseconds of the day
 *   TIMESTAMP, TIMESTAMP_LTZ i64 microseconds since 1970-01-01 (wall time / UTC); precision 0..6
 *   INTERVAL YEAR TO MONTH i32 months | INTERVAL DAY TO SECOND i64 milliseconds
 *   DECIMAL i128 unscaled | CHAR, VARCHAR, BINARY, VARBINARY str_t
 *   ARRAY, MAP, MULTISET span_t into child columns | ROW child columns */
#pragma once
#include "common/arena.h"
#include "common/buf.h"

typedef enum type_kind {
    TYPE_NULL = 0, /* type of the literal NULL before it is coerced */
    TYPE_BOOLEAN,
    TYPE_TINYINT,
    TYPE_SMALLINT,
    TYPE_INT,
    TYPE_BIGINT,
    TYPE_FLOAT,
    TYPE_DOUBLE,
    TYPE_DECIMAL,
    TYPE_CHAR,
    TYPE_VARCHAR,
    TYPE_BINARY,
    TYPE_VARBINARY,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMESTAMP,
    TYPE_TIMESTAMP_LTZ,
    TYPE_INTERVAL_MONTH,
    TYPE_INTERVAL_SECOND,
    TYPE_ARRAY,    /* child[0] element */
    TYPE_MAP,      /* child[0] key, child[1] value */
    TYPE_MULTISET, /* child[0] element; physical: MAP of element to INT */
    TYPE_ROW,      /* child[i] named names[i] */
    TYPE_SYMBOL,   /* a keyword as an argument: TRIM(BOTH ..), EXTRACT(DAY ..); value is VARCHAR */
    TYPE_KINDS
} type_kind_t;

#define TYPE_LEN_MAX 2147483647 /* STRING is VARCHAR(2147483647), BYTES is VARBINARY of it */

typedef struct type {
    type_kind_t kind;
    bool nullable;
    int32_t precision; /* DECIMAL digits, TIMESTAMP/TIME fraction digits, CHAR/BINARY length */
    int32_t scale;     /* DECIMAL */
    int nchild;
    const struct type *const *child;
    const char *const *names; /* ROW only */
} type_t;

extern const type_t type_null, type_boolean, type_tinyint, type_smallint, type_int, type_bigint,
    type_float, type_double, type_string, type_bytes, type_date, type_time, type_timestamp3,
    type_timestamp6, type_ltz3, type_ltz6, type_interval_month, type_interval_second,
    type_symbol; /* all nullable */

const type_t *type_decimal(arena_t *a, int precision, int scale, bool nullable);
const type_t *type_scalar(arena_t *a, type_kind_t kind, int precision, bool nullable);
const type_t *type_array(arena_t *a, const type_t *element, bool nullable);
const type_t *type_map(arena_t *a, const type_t *key, const type_t *value, bool nullable);
const type_t *type_multiset(arena_t *a, const type_t *element, bool nullable);
const type_t *type_row(arena_t *a, int n, const type_t *const *fields, const char *const *names,
                       bool nullable);
const type_t *type_nullable(arena_t *a, const type_t *t, bool nullable); /* t itself if equal */
const type_t *type_copy(arena_t *a, const type_t *t);                    /* deep */

bool type_equal(const type_t *a, const type_t *b);       /* nullability counts not, at any depth */
void type_print(buf_t *out, const type_t *t);            /* as Flink: "DECIMAL(10, 2) NOT NULL" */
const char *type_text(arena_t *a, const type_t *t);
int type_width(const type_t *t); /* bytes of one value in column data; 0 for ROW */

static inline bool type_is_integer(const type_t *t) {
    return t->kind >= TYPE_TINYINT && t->kind <= TYPE_BIGINT;
}
static inline bool type_is_approx(const type_t *t) {
    return t->kind == TYPE_FLOAT || t->kind == TYPE_DOUBLE;
}
static inline bool type_is_numeric(const type_t *t) {
    return t->kind >= TYPE_TINYINT && t->kind <= TYPE_DECIMAL;
}
static inline bool type_is_text(const type_t *t) {
    return t->kind == TYPE_CHAR || t->kind == TYPE_VARCHAR;
}
static inline bool type_is_binary(const type_t *t) {
    return t->kind == TYPE_BINARY || t->kind == TYPE_VARBINARY;
}
static inline bool type_is_strlike(const type_t *t) { return type_is_text(t) || type_is_binary(t); }
static inline bool type_is_timestamp(const type_t *t) {
    return t->kind == TYPE_TIMESTAMP || t->kind == TYPE_TIMESTAMP_LTZ;
}
static inline bool type_is_temporal(const type_t *t) {
    return t->kind >= TYPE_DATE && t->kind <= TYPE_TIMESTAMP_LTZ;
}
static inline bool type_is_interval(const type_t *t) {
    return t->kind == TYPE_INTERVAL_MONTH || t->kind == TYPE_INTERVAL_SECOND;
}
static inline bool type_is_nested(const type_t *t) {
    return t->kind >= TYPE_ARRAY && t->kind <= TYPE_ROW;
}

typedef struct field {
    const char *name;
    const type_t *type;
} field_t;

typedef struct schema {
    int n;
    field_t *fields;
} schema_t;

schema_t *schema_new(arena_t *a, int n);
int schema_find(const schema_t *s, const char *name); /* -1 when absent; case-sensitive as Flink */
