/* format_int.h: what the formats share; only format*.c, json*.c, csv*.c and raw.c include this. */
#pragma once
#include "engine/connector/format.h"
#include "engine/text.h"
#include "engine/connector/rowstore.h"

typedef struct format_ops {
    const char *name;
    const char *const *options;
    bool narrows; /* format_narrows */
    err_t *(*check)(const format_config_t *c, bool decode);
    /* decoders: open sets d->self; decode appends rows or leaves none */
    err_t *(*decoder_open)(decoder_t *d, const format_config_t *c);
    err_t *(*decode)(decoder_t *d, slice_t msg);
    size_t (*frame)(decoder_t *d, slice_t data, bool eof, slice_t *ret_record); /* NULL: lines */
    void (*decoder_close)(decoder_t *d);
    err_t *(*encoder_open)(encoder_t *e, const format_config_t *c);
    err_t *(*encode)(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out);
    void (*encoder_close)(encoder_t *e);
} format_ops_t;

struct decoder {
    const format_ops_t *ops;
    rowstore_t rows;
    void *self;
    int extra_cols;
    uint64_t skipped;
};
struct encoder {
    const format_ops_t *ops;
    const schema_t *fields; /* borrowed */
    int *cols;              /* columns of the batch to write, in order */
    int ncols;
    void *self;
};

extern const format_ops_t format_json, format_csv, format_raw;

/* Options under the format's prefix; defaults where absent. */
const char *format_option(const format_config_t *c, const char *key);
err_t *format_option_bool(const format_config_t *c, const char *key, bool absent, bool *ret);
size_t frame_line(slice_t data, bool eof, slice_t *ret_record);

/* ---- scalar texts as Flink's JSON and CSV formats read them (format_scalar.c) */
typedef enum scalar_token { SCALAR_STRING, SCALAR_INT, SCALAR_FLOAT, SCALAR_BOOL } scalar_token_t;
typedef struct scalar_rules {
    bool iso;       /* timestamps with 'T' */
    bool csv;       /* java.sql.Timestamp.valueOf and friends: one-digit months and days */
} scalar_rules_t;
/* Stores the text as a value of c's type (not strings, not nested); NULL, or a reason why not. A decimal that needs more
 * digits than its type has is NULL, as in Flink. */
const char *scalar_store(rowstore_t *s, rcol_t *c, uint32_t i, const scalar_rules_t *r, scalar_token_t token,
                         const char *p, size_t n);
bool base64_decode(const char *p, size_t n, char *to, size_t *ret_n); /* room n */
void base64_encode(buf_t *out, slice_t bytes);
/* java.math.BigDecimal after stripTrailingZeros, toString or toPlainString */
void decimal_put_stripped(buf_t *out, i128 v, int scale, bool plain);
