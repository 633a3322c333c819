/* csv_int.h: the dialect of a CSV table, for csv_decode.c and csv_encode.c. */
#pragma once
#include "engine/connector/quick.h"

typedef struct csv_dialect {
    char separator, quote, escape; /* quote, escape: 0 none */
    bool comments, ignore_errors, plain_decimals;
    char *null_literal;            /* NULL: none */
    size_t null_len;
    char *array_separator;
} csv_dialect_t;
err_t *csv_dialect_read(const format_config_t *c, csv_dialect_t *ret);
void csv_dialect_free(csv_dialect_t *d);

typedef struct csv_value {
    const char *p;     /* in the record; NULL: at `off` of text */
    uint32_t off, len;
    uint32_t at;       /* byte of the record where it begins */
} csv_value_t;

typedef struct csv_decoder {
    csv_dialect_t dialect;
    scalar_rules_t rules;
    const char *prefix; /* of the format's options */
    int nfields;        /* values of a record */
    int *field_of;      /* column -> its place in the record */
    csv_value_t *values;
    buf_t text;         /* values of the record that had quotes within or escapes, without them */
    bool general;       /* for tests: each value byte by byte, as those are, and by the general readers */
    quick_date_t date;
} csv_decoder_t;

err_t *csv_encoder_open(encoder_t *e, const format_config_t *c);
err_t *csv_encode(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out);
void csv_encoder_close(encoder_t *e);
