/* print.c: values as text, as Flink's CAST(.. AS STRING) prints them. */
#include "engine/batch.h"
#include "engine/datetime.h"
#include "engine/decimal.h"
#include "engine/number.h"

static size_t interval_month_print(char *p, int32_t v) {
    uint32_t m = v < 0 ? 0 - (uint32_t)v : (uint32_t)v;
    char *at = p;
    *at++ = v < 0 ? '-' : '+';
    at += u64_print(at, m / 12);
    *at++ = '-';
    at += u64_print_padded(at, m % 12, 2);
    return (size_t)(at - p);
}

static size_t interval_second_print(char *p, int64_t v) {
    uint64_t ms = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char *at = p;
    *at++ = v < 0 ? '-' : '+';
    at += u64_print(at, ms / (uint64_t)MS_PER_DAY);
    *at++ = ' ';
    at += time_print(at, (int32_t)(ms % (uint64_t)MS_PER_DAY), 0);
    *at++ = '.';
    at += u64_print_padded(at, ms % 1000, 3);
    return (size_t)(at - p);
}

static void nested_print(buf_t *out, const column_t *c, uint32_t i) {
    bool row = c->type->kind == TYPE_ROW, array = c->type->kind == TYPE_ARRAY;
    buf_put_u8(out, row ? '(' : array ? '[' : '{');
    uint32_t n = row ? (uint32_t)c->type->nchild : c->span[i].len;
    for (uint32_t k = 0; k < n; k++) {
        if (k) buf_puts(out, ", ");
        if (row) {
            value_print(out, &c->child[k], i);
            continue;
        }
        value_print(out, &c->child[0], c->span[i].off + k);
        if (array) continue;
        buf_put_u8(out, '=');
        value_print(out, &c->child[1], c->span[i].off + k);
    }
    buf_put_u8(out, row ? ')' : array ? ']' : '}');
}

void value_print(buf_t *out, const column_t *c, uint32_t i) {
    if (column_null(c, i)) {
        buf_puts(out, "NULL");
        return;
    }
    char t[DECIMAL_TEXT_MAX];
    size_t n = 0;
    switch (c->type->kind) {
    case TYPE_NULL: buf_puts(out, "NULL"); return;
    case TYPE_BOOLEAN: buf_puts(out, c->b[i] ? "TRUE" : "FALSE"); return;
    case TYPE_TINYINT: n = i64_print(t, c->i8[i]); break;
    case TYPE_SMALLINT: n = i64_print(t, c->i16[i]); break;
    case TYPE_INT: n = i64_print(t, c->i32[i]); break;
    case TYPE_BIGINT: n = i64_print(t, c->i64[i]); break;
    case TYPE_FLOAT: n = f32_print(t, c->f32[i]); break;
    case TYPE_DOUBLE: n = f64_print(t, c->f64[i]); break;
    case TYPE_DECIMAL: n = decimal_print(t, c->dec[i], c->type->scale); break;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: buf_put(out, c->str[i].p, c->str[i].len); return;
    case TYPE_DATE: n = date_print(t, c->i32[i]); break;
    case TYPE_TIME: n = time_print(t, c->i32[i], c->type->precision); break;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: n = timestamp_print(t, c->i64[i], c->type->precision, ' '); break;
    case TYPE_INTERVAL_MONTH: n = interval_month_print(t, c->i32[i]); break;
    case TYPE_INTERVAL_SECOND: n = interval_second_print(t, c->i64[i]); break;
    default: nested_print(out, c, i); return;
    }
    buf_put(out, t, n);
}

/* One line a row: "+I[1, a, NULL]", as Flink prints changelogs. */
void batch_print(buf_t *out, const batch_t *b, const schema_t *s) {
    static const char *const kinds[] = {"+I", "-U", "+U", "-D"};
    int n = s && s->n < b->ncols ? s->n : b->ncols;
    for (uint32_t i = 0; i < b->n; i++) {
        buf_puts(out, kinds[batch_kind(b, i) & 3]);
        buf_put_u8(out, '[');
        for (int c = 0; c < n; c++) {
            if (c) buf_puts(out, ", ");
            value_print(out, &b->cols[c], i);
        }
        buf_puts(out, "]\n");
    }
}
