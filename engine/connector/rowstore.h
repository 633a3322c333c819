/* rowstore.h: columns that grow row by row, for decoders and generators.
 *
 * Values are stored at (column, row index), so a value may be overwritten (duplicate keys: the last wins) and an
 * unfinished row is forgotten by rowstore_rollback. Children of a ROW share its index; children of ARRAY, MAP and
 * MULTISET are appended. Arrays and string bytes lie in the memory of the batch being built; growing copies, so the
 * batch starts at the size of the last one. Not thread-safe; reports no errors. */
#pragma once
#include "engine/batch.h"

typedef struct rcol {
    const type_t *type;
    const char *name;
    const char *key;    /* the name as bytes between quotes in JSON, for lookups */
    uint32_t key_len;
    uint32_t cap;       /* rows the arrays have room for */
    uint32_t n;         /* appended columns (below ARRAY, MAP, MULTISET): rows so far; else unused */
    uint32_t mark;      /* n at the start of the row */
    uint16_t width;     /* bytes of one value; 0 for ROW */
    bool any_null;
    bool not_null;
    uint64_t seen;      /* generation of the object that last set it */
    uint8_t *nulls;     /* cap bytes, always there */
    union {
        void *data;
        uint8_t *b;
        int8_t *i8;
        int16_t *i16;
        int32_t *i32;
        int64_t *i64;
        float *f32;
        double *f64;
        i128 *dec;
        str_t *str;
        span_t *span;
    };
    struct rcol *child;
    int nchild;
} rcol_t;

typedef struct rowstore {
    mem_t *mem;     /* of the batch being built; NULL before the first row */
    rcol_t root;    /* a ROW of the columns */
    uint32_t rows, cap, hint;
    bool nested;    /* some column has appended children: rows need marks */
    bool begun;     /* a row is, and not finished */
    char *s, *s_end; /* free bytes for strings */
    uint64_t generation;
    size_t bytes;   /* string bytes since the last take */
    arena_t *arena; /* rcol headers */
} rowstore_t;

void rowstore_init(rowstore_t *s, int ncols, const type_t *const *types, const char *const *names);
void rowstore_done(rowstore_t *s);
/* Makes room for row `rows`; call before setting its values. Returns its index. */
uint32_t rowstore_begin(rowstore_t *s);
static inline void rowstore_end(rowstore_t *s) {
    s->rows++;
    s->begun = false;
}
uint32_t rowstore_rows(rowstore_t *s, uint32_t n); /* n rows at once, whose values are set then: the first one's index */
void rowstore_rollback(rowstore_t *s, uint32_t rows); /* back to `rows` finished rows */
/* The rows so far as a batch with `extra` zeroed column headers behind; NULL when there are none. */
batch_t *rowstore_take(rowstore_t *s, int extra);
static inline size_t rowstore_size(const rowstore_t *s) { return s->bytes; }

void rcol_null(rcol_t *c, uint32_t i);
/* Makes room for element c->n of an appended column, returns its index; the caller sets the value. */
uint32_t rcol_append(rowstore_t *s, rcol_t *c);
char *rowstore_bytes_slow(rowstore_t *s, size_t n);
/* n bytes that live with the batch; give back what is not used by rowstore_unused. */
static inline char *rowstore_bytes(rowstore_t *s, size_t n) {
    s->bytes += n;
    if (LIKELY((size_t)(s->s_end - s->s) >= n && s->s)) {
        char *p = s->s;
        s->s += n;
        return p;
    }
    return rowstore_bytes_slow(s, n);
}
static inline void rowstore_unused(rowstore_t *s, size_t n) {
    s->s -= n;
    s->bytes -= n;
}
static inline void rcol_str(rowstore_t *s, rcol_t *c, uint32_t i, const void *p, size_t n) {
    char *to = rowstore_bytes(s, n);
    if (n) memcpy(to, p, n);
    c->nulls[i] = 0;
    c->str[i] = (str_t){to, (uint32_t)n, 0};
}
/* every integer-like physical type; the value is in range */
static inline void rcol_i64(rcol_t *c, uint32_t i, int64_t v) {
    c->nulls[i] = 0;
    switch (c->width) {
    case 1: c->i8[i] = (int8_t)v; break;
    case 2: c->i16[i] = (int16_t)v; break;
    case 4: c->i32[i] = (int32_t)v; break;
    default: c->i64[i] = v; break;
    }
}
