/* sample.h: a schema with one column of each shape, and random rows for it. */
#pragma once
#include "common/clock.h"
#include "engine/batch.h"

static inline schema_t *sample_schema(arena_t *a) {
    static const type_t *const flat[] = {&type_boolean, &type_tinyint,    &type_smallint,       &type_int,
                                         &type_bigint,  &type_float,      &type_double,         &type_string,
                                         &type_date,    &type_timestamp3, &type_interval_month, &type_bytes};
    const int nflat = (int)ARRAY_LEN(flat);
    schema_t *s = schema_new(a, nflat + 5);
    for (int i = 0; i < nflat; i++) s->fields[i] = (field_t){arena_printf(a, "c%d", i), flat[i]};
    const type_t *row = type_row(a, 2, (const type_t *[]){&type_int, type_array(a, &type_string, true)},
                                 (const char *[]){"x", "y"}, true);
    s->fields[nflat] = (field_t){"dec", type_decimal(a, 20, 5, true)};
    s->fields[nflat + 1] = (field_t){"arr", type_array(a, &type_int, true)};
    s->fields[nflat + 2] = (field_t){"map", type_map(a, &type_string, &type_double, true)};
    s->fields[nflat + 3] = (field_t){"row", row};
    s->fields[nflat + 4] = (field_t){"bag", type_multiset(a, row, true)};
    return s;
}

static inline void sample_value(colbuilder_t *b, const type_t *t, rng_t *r, int nulls_in_100) {
    if ((int)rng_below(r, 100) < nulls_in_100) {
        colbuilder_null(b);
        return;
    }
    char text[40];
    uint32_t n = (uint32_t)rng_below(r, 5);
    switch (t->kind) {
    case TYPE_BOOLEAN: colbuilder_i64(b, (int64_t)rng_below(r, 2)); break;
    case TYPE_FLOAT:
    case TYPE_DOUBLE: colbuilder_f64(b, (double)(int64_t)rng_next(r) / 1e6); break;
    case TYPE_DECIMAL: colbuilder_dec(b, (i128)(int64_t)rng_next(r) * 3); break;
    case TYPE_VARCHAR:
    case TYPE_VARBINARY:
        for (uint32_t i = 0; i < 40; i++) text[i] = (char)('a' + rng_below(r, 26));
        colbuilder_str(b, text, rng_below(r, 40));
        break;
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET:
        colbuilder_begin(b);
        for (uint32_t i = 0; i < n; i++) {
            sample_value(colbuilder_child(b, 0), t->child[0], r, t->kind == TYPE_MAP ? 0 : nulls_in_100);
            if (t->kind != TYPE_ARRAY)
                sample_value(colbuilder_child(b, 1), t->kind == TYPE_MAP ? t->child[1] : &type_int, r, 0);
        }
        colbuilder_end(b);
        break;
    case TYPE_ROW:
        colbuilder_begin(b);
        for (int i = 0; i < t->nchild; i++) sample_value(colbuilder_child(b, i), t->child[i], r, nulls_in_100);
        colbuilder_end(b);
        break;
    default: colbuilder_i64(b, (int64_t)(int8_t)rng_next(r)); break;
    }
}

static inline batch_t *sample_batch(const schema_t *s, uint32_t rows, uint64_t seed, int nulls_in_100) {
    rng_t r;
    rng_seed(&r, seed);
    batch_t *b = batch_new(s->n);
    b->n = rows;
    for (int c = 0; c < s->n; c++) {
        colbuilder_t *cb = colbuilder_new(s->fields[c].type, b->mem);
        for (uint32_t i = 0; i < rows; i++) sample_value(cb, s->fields[c].type, &r, nulls_in_100);
        colbuilder_finish(cb, &b->cols[c]);
        colbuilder_free(cb);
    }
    if (seed % 2) {
        b->kinds = mem_alloc(b->mem, rows);
        for (uint32_t i = 0; i < rows; i++) b->kinds[i] = (uint8_t)rng_below(&r, 4);
    }
    return b;
}

static inline char *sample_text(const batch_t *b, const schema_t *s) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    batch_print(&out, b, s);
    return buf_take_cstr(&out);
}
