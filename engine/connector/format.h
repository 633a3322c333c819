/* format.h: formats turn messages (a Kafka value, a line of a file) into rows of columns and back.
 *
 * A decoder appends the rows of one message to growing columns and hands them over as one batch: no allocation per
 * row, string bytes are copied once (the message may be freed when decoder_message returns). A message either adds all
 * its rows or none: after an error nothing of it is left. Decoders and encoders belong to one thread.
 *
 * Errors of data are ERR_DATA and name column, byte of the message (from 0) and reason; the caller decides what becomes
 * of the record (fail, dead letter). With 'x.ignore-parse-errors' = 'true' the format itself skips rows or sets fields to
 * NULL, exactly as Flink's does, and counts in decoder_skipped. */
#pragma once
#include "engine/plan.h"

typedef struct decoder decoder_t;
typedef struct encoder encoder_t;

/* Options are read as <prefix><format>.<key>: prefix "" ("json.x"), "key." or "value.". */
typedef struct format_config {
    const options_t *options;
    const char *format;     /* "json", "csv", "raw" */
    const char *prefix;
    const schema_t *fields; /* columns of a message in order (csv reads by position) */
    const int *scan;        /* decoders: indexes of the fields to produce; encoders: of the columns to write; NULL: all */
    int nscan;
    const type_t *const *types; /* decoders: of the fields to produce, where rows have fewer fields than declared (format_narrows); NULL: as declared */
    int extra_cols;         /* decoders: zeroed column headers behind the fields, for metadata columns */
} format_config_t;

/* Format of a table's values: 'format' or 'value.format'; ERR_INVALID when absent. *ret_prefix is "" or "value.". */
err_t *format_of_table(const table_t *t, const char **ret_format, const char **ret_prefix);
/* Static check of a format's options and column types; unknown formats are ERR_UNSUPPORTED and list the known ones. */
err_t *format_check(const format_config_t *c, bool decode);
bool format_known(const char *format);
/* Finds fields of rows by name, so that those nobody reads can be left out of `types`. */
bool format_narrows(const char *format);
/* Keys a format knows, without prefix and name; NULL-terminated. */
const char *const *format_options(const char *format);

err_t *decoder_new(const format_config_t *c, decoder_t **ret);
void decoder_free(decoder_t *d);
/* Appends the rows of one message: none, one or (JSON arrays) several; more than BATCH_ROWS_MAX are ERR_LIMIT. Take the
 * batch at BATCH_ROWS_MAX rows: as a message is never split, a batch may then hold up to twice as many, less one. */
err_t *decoder_message(decoder_t *d, slice_t msg);
/* Appends a row of NULLs (a Kafka tombstone). */
void decoder_null_row(decoder_t *d);
/* Bytes of the first record of `data` with its line end; 0: no complete record yet (never 0 when eof and data is not
 * empty). *ret_record is the record without line end. */
size_t decoder_frame(decoder_t *d, slice_t data, bool eof, slice_t *ret_record);
uint32_t decoder_rows(const decoder_t *d);
size_t decoder_bytes(const decoder_t *d);     /* string bytes held: a second bound beside the rows */
uint64_t decoder_skipped(const decoder_t *d); /* rows dropped and fields set to NULL by ignore-parse-errors */
/* The rows so far (NULL when none); the decoder starts a new batch. */
void decoder_take(decoder_t *d, batch_t **ret);

err_t *encoder_new(const format_config_t *c, encoder_t **ret);
void encoder_free(encoder_t *e);
/* Appends one row without a line end. After an error `out` is as before. */
err_t *encoder_row(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out);
