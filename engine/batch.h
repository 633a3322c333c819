/* batch.h: columnar batches, the only form in which rows travel.
 *
 * Ownership. A batch owns a reference to its memory (mem_t, a reference-counted arena that may keep other
 * memories alive). Columns' arrays and the bytes of strings lie in that memory or in one it links, so a
 * column may be shared between batches by copying the column_t and linking the memory. A batch is immutable
 * once it has been emitted; sending it is a move. Reference counts are atomic; all else is single-threaded.
 *
 * Nulls are a byte per row (1 = null) or no array at all when the column has none: byte masks vectorise
 * and need no shifts; they are packed into bitmaps only on the wire. Data under a null is zero or valid to
 * read, never garbage pointers (kernels run over nulls without branching). */
#pragma once
#include "common/err.h"
#include "common/types.h"

#define BATCH_ROWS_MAX 4096 /* rows of a batch an operator emits, usually 1024..4096 */

/* ---- memory */
typedef struct mem mem_t;
mem_t *mem_new(void);                   /* one reference */
mem_t *mem_ref(mem_t *m);
void mem_unref(mem_t *m);               /* NULL is legal */
void *mem_alloc(mem_t *m, size_t size); /* 16-byte aligned, not cleared */
void *mem_zalloc(mem_t *m, size_t size);
void mem_link(mem_t *m, mem_t *other);  /* `other` lives at least as long as m; NULL, m itself are no-ops */
size_t mem_used(const mem_t *m);        /* own bytes, without links */
/* And those of its links, and of theirs, so deep; what is linked twice counts twice. None of them grows any more: a batch that was sent is const. */
size_t mem_held(const mem_t *m, int depth);

/* ---- columns */
typedef struct str {
    const char *p; /* not NUL-terminated; may be NULL when len is 0 */
    uint32_t len;
    uint32_t pad_; /* keep zero */
} str_t;
typedef struct span {
    uint32_t off, len; /* rows of the child column(s) */
} span_t;

typedef struct column {
    const type_t *type;
    uint8_t *nulls; /* NULL: no row is null */
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
    struct column *child; /* type->nchild columns; MULTISET has two (element, INT count) */
    uint32_t child_rows;  /* rows in the children of ARRAY, MAP, MULTISET (ROW: the column's own) */
} column_t;

static inline bool column_null(const column_t *c, uint32_t i) { return c->nulls && c->nulls[i]; }
int column_nchild(const type_t *t);
/* Allocates data (zeroed) and children's headers for n rows; nulls stay NULL. */
void column_init(column_t *c, const type_t *t, mem_t *m, uint32_t n);
uint8_t *column_need_nulls(column_t *c, mem_t *m, uint32_t n); /* the mask, made and cleared if absent */
/* Row selection: dst gets rows sel[0..n) of src; strings and children are shared: link the memory. */
void column_gather(column_t *dst, const column_t *src, const uint32_t *sel, uint32_t n, mem_t *m);
/* Of two columns of one type: numbers below na are rows of a, the others of b (NULL: there are none) behind it. */
void column_gather2(column_t *dst, const column_t *a, uint32_t na, const column_t *b, const uint32_t *sel, uint32_t n, mem_t *m);
/* Rows 0..n of src are rows `at` and on of dst, a column of `rows`; of types without children. Strings are shared. */
void column_put(column_t *dst, uint32_t at, const column_t *src, uint32_t n, uint32_t rows, mem_t *m);
typedef struct colbuilder colbuilder_t; /* growing column of any type, deep-copying; for nested values */
colbuilder_t *colbuilder_new(const type_t *t, mem_t *m);
void colbuilder_room(colbuilder_t *b, uint32_t rows); /* so many in all, without growing by and by */
void colbuilder_use(colbuilder_t *b, mem_t *m); /* an empty one: builds in another memory, with the room that it has */
uint32_t colbuilder_len(const colbuilder_t *b);
void colbuilder_null(colbuilder_t *b);
void colbuilder_row(colbuilder_t *b, const column_t *src, uint32_t i); /* same type */
void colbuilder_i64(colbuilder_t *b, int64_t v);  /* every integer-like physical type, BOOLEAN too */
void colbuilder_f64(colbuilder_t *b, double v);   /* FLOAT, DOUBLE */
void colbuilder_dec(colbuilder_t *b, i128 v);
void colbuilder_str(colbuilder_t *b, const char *p, size_t n); /* copies */
/* Nested: begin, append to the children, end. ARRAY/MAP/MULTISET: children grow freely (MAP, MULTISET: the
 * same number in both); ROW: exactly one value in each child. */
colbuilder_t *colbuilder_child(colbuilder_t *b, int i);
void colbuilder_begin(colbuilder_t *b);
void colbuilder_end(colbuilder_t *b);
void colbuilder_finish(colbuilder_t *b, column_t *ret); /* arrays lie in m */
void colbuilder_free(colbuilder_t *b);

/* ---- batches */
typedef enum row_kind { ROW_INSERT = 0, ROW_UPDATE_BEFORE = 1, ROW_UPDATE_AFTER = 2, ROW_DELETE = 3 } row_kind_t;

typedef struct batch {
    uint32_t n;
    int ncols;
    column_t *cols; /* in mem */
    uint8_t *kinds; /* row_kind_t per row, in mem; NULL: all ROW_INSERT */
    mem_t *mem;     /* owned reference */
} batch_t;

batch_t *batch_new(int ncols);          /* fresh memory, zeroed column headers, n = 0 */
batch_t *batch_new_schema(const schema_t *s, uint32_t rows); /* columns initialised for rows, n = rows */
void batch_free(batch_t *b);
void batch_freep(batch_t **b);
batch_t *batch_share(const batch_t *b); /* another header over the same columns */
batch_t *batch_gather(const batch_t *b, const uint32_t *sel, uint32_t n);
batch_t *batch_slice(const batch_t *b, uint32_t from, uint32_t n);
batch_t *batch_copy(const batch_t *b);  /* in memory of its own: nothing else stays for its sake */
bool batch_pins(const batch_t *b);      /* it keeps much more than itself, and a copy would not: a filter's few rows all that they were chosen from */
static inline row_kind_t batch_kind(const batch_t *b, uint32_t i) {
    return b->kinds ? (row_kind_t)b->kinds[i] : ROW_INSERT;
}
size_t batch_bytes(const batch_t *b); /* estimate of what it holds, for flow control */
/* Checks lengths, spans, masks, kinds against the schema: the gate for bytes from outside. */
err_t *batch_validate(const batch_t *b, const schema_t *s);

/* ---- printing (engine/print.c): as Flink's CAST(.. AS STRING); NULL prints "NULL" */
void value_print(buf_t *out, const column_t *c, uint32_t i);
void batch_print(buf_t *out, const batch_t *b, const schema_t *s);

/* ---- one value as bytes (engine/rowcodec.c): self-delimiting, canonical (equal values, equal bytes), frozen.
 * Used for keys, state values and the wire form of nested values. */
void value_encode(buf_t *out, const column_t *c, uint32_t i);
bool value_decode(reader_t *r, colbuilder_t *b); /* false: malformed */
void row_encode(buf_t *out, const column_t *const *cols, int n, uint32_t i);

/* ---- a batch as bytes (engine/batchcodec.c): the payload of shuffle frames; pure, versioned by its caller */
void batch_encode(buf_t *out, const batch_t *b);
err_t *batch_decode(slice_t bytes, const schema_t *s, batch_t **ret); /* validates everything */
