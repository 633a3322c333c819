/* csv_int.h: the dialect of a CSV table, for csv_decode.c and csv_encode.c. */
#pragma once
#include "engine/connector/format_int.h"

typedef struct csv_dialect {
    char separator, quote, escape; /* quote, escape: 0 none */
    bool comments, ignore_errors, plain_decimals;
    char *null_literal;            /* NULL: none */
    char *array_separator;
} csv_dialect_t;
err_t *csv_dialect_read(const format_config_t *c, csv_dialect_t *ret);
void csv_dialect_free(csv_dialect_t *d);

err_t *csv_encoder_open(encoder_t *e, const format_config_t *c);
err_t *csv_encode(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out);
void csv_encoder_close(encoder_t *e);
