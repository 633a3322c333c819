/* print_text.c: values as Java prints Flink's external objects (Row.toString): what the print connector shows and what
 * partition directories are named by. Differs from CAST AS STRING: LocalDateTime has a 'T' and leaves out zero seconds,
 * bytes are signed numbers. */
#include "engine/connector/connector.h"
#include "engine/datetime.h"
#include "engine/decimal.h"
#include "engine/number.h"

/* LocalTime.toString: HH:mm, seconds when not zero, fraction in groups of three */
static void put_time(buf_t *out, int64_t us_of_day) {
    int64_t s = us_of_day / US_PER_SECOND, us = us_of_day % US_PER_SECOND;
    buf_printf(out, "%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60));
    if (s % 60 == 0 && us == 0) return;
    buf_printf(out, ":%02d", (int)(s % 60));
    if (us % 1000) buf_printf(out, ".%06d", (int)us);
    else if (us) buf_printf(out, ".%03d", (int)(us / 1000));
}

static void put_date(buf_t *out, int64_t days) {
    char text[DATETIME_TEXT_MAX];
    buf_put(out, text, date_print(text, (int32_t)days));
}

static void put_timestamp(buf_t *out, int64_t us, bool instant) {
    int64_t of_day = floor_mod(us, US_PER_DAY);
    put_date(out, floor_div(us, US_PER_DAY));
    buf_put_u8(out, 'T');
    put_time(out, of_day);
    if (!instant) return;
    if (of_day % (60 * US_PER_SECOND) == 0) buf_puts(out, ":00"); /* Instant.toString keeps the seconds */
    buf_put_u8(out, 'Z');
}

static void put_list(buf_t *out, const column_t *c, uint32_t i) {
    bool map = c->type->kind != TYPE_ARRAY;
    span_t s = c->span[i];
    buf_put_u8(out, map ? '{' : '[');
    for (uint32_t e = s.off; e < s.off + s.len; e++) {
        if (e > s.off) buf_puts(out, ", ");
        external_print(out, &c->child[0], e);
        if (!map) continue;
        buf_put_u8(out, '=');
        external_print(out, &c->child[1], e);
    }
    buf_put_u8(out, map ? '}' : ']');
}

static void put_bytes(buf_t *out, str_t s) {
    buf_put_u8(out, '[');
    for (uint32_t k = 0; k < s.len; k++) buf_printf(out, "%s%d", k ? ", " : "", (int8_t)s.p[k]);
    buf_put_u8(out, ']');
}

void external_print(buf_t *out, const column_t *c, uint32_t i) {
    if (column_null(c, i)) {
        buf_puts(out, "null");
        return;
    }
    char text[DECIMAL_TEXT_MAX];
    switch (c->type->kind) {
    case TYPE_BOOLEAN: buf_puts(out, c->b[i] ? "true" : "false"); return;
    case TYPE_TINYINT: buf_put(out, text, i64_print(text, c->i8[i])); return;
    case TYPE_SMALLINT: buf_put(out, text, i64_print(text, c->i16[i])); return;
    case TYPE_INT: buf_put(out, text, i64_print(text, c->i32[i])); return;
    case TYPE_BIGINT: buf_put(out, text, i64_print(text, c->i64[i])); return;
    case TYPE_FLOAT: buf_put(out, text, f32_print(text, c->f32[i])); return;
    case TYPE_DOUBLE: buf_put(out, text, f64_print(text, c->f64[i])); return;
    case TYPE_DECIMAL: buf_put(out, text, decimal_print(text, c->dec[i], c->type->scale)); return;
    case TYPE_CHAR:
    case TYPE_VARCHAR: buf_put(out, c->str[i].p, c->str[i].len); return;
    case TYPE_BINARY:
    case TYPE_VARBINARY: put_bytes(out, c->str[i]); return;
    case TYPE_DATE: put_date(out, c->i32[i]); return;
    case TYPE_TIME: put_time(out, (int64_t)c->i32[i] * 1000); return;
    case TYPE_TIMESTAMP: put_timestamp(out, c->i64[i], false); return;
    case TYPE_TIMESTAMP_LTZ: put_timestamp(out, c->i64[i], true); return;
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET: put_list(out, c, i); return;
    case TYPE_ROW:
        buf_puts(out, "+I[");
        for (int k = 0; k < c->type->nchild; k++) {
            if (k) buf_puts(out, ", ");
            external_print(out, &c->child[k], i);
        }
        buf_put_u8(out, ']');
        return;
    default: value_print(out, c, i);
    }
}
