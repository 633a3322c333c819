/* format.c: the table of formats and what does not depend on one. */
#include "engine/connector/format_int.h"
#include <stdio.h>
#include <stdlib.h>

static const format_ops_t *const formats[] = {&format_json, &format_csv, &format_raw};

static const format_ops_t *format_find(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i]->name, name) == 0) return formats[i];
    return NULL;
}

bool format_known(const char *format) { return format_find(format) != NULL; }

bool format_narrows(const char *format) {
    const format_ops_t *f = format_find(format);
    return f && f->narrows;
}

const char *const *format_options(const char *format) {
    const format_ops_t *f = format_find(format);
    return f ? f->options : NULL;
}

static err_t *format_unknown(const char *name) {
    buf_t known = buf_make(4096);
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        buf_printf(&known, "%s%s", i ? ", " : "", formats[i]->name);
    err_t *e = err_new(ERR_UNSUPPORTED, "format '%s' is not supported", name);
    e = err_hint(e, "known formats: %s", buf_cstr(&known));
    buf_free(&known);
    return e;
}

err_t *format_of_table(const table_t *t, const char **ret_format, const char **ret_prefix) {
    const char *plain = options_get(&t->options, "format"), *value = options_get(&t->options, "value.format");
    if (plain && value)
        return err_new(ERR_INVALID, "table %s has both 'format' and 'value.format'; they mean the same", t->name);
    if (!plain && !value)
        return err_hint(err_new(ERR_INVALID, "table %s has no option 'format'", t->name), "add 'format' = 'json'");
    *ret_format = plain ? plain : value;
    *ret_prefix = plain ? "" : "value.";
    return NULL;
}

err_t *format_check(const format_config_t *c, bool decode) {
    const format_ops_t *f = format_find(c->format);
    if (!f) return format_unknown(c->format);
    return f->check(c, decode);
}

const char *format_option(const format_config_t *c, const char *key) {
    char name[256];
    snprintf(name, sizeof name, "%s%s.%s", c->prefix, c->format, key);
    return options_get(c->options, name);
}

err_t *format_option_bool(const format_config_t *c, const char *key, bool absent, bool *ret) {
    char name[256];
    snprintf(name, sizeof name, "%s%s.%s", c->prefix, c->format, key);
    return options_bool(c->options, name, absent, ret);
}

/* ------------------------------------------------------------------ decoders */
err_t *decoder_new(const format_config_t *c, decoder_t **ret) {
    const format_ops_t *f = format_find(c->format);
    if (!f) return format_unknown(c->format);
    TRY(f->check(c, true));
    int n = c->scan ? c->nscan : c->fields->n;
    const type_t **types = xcalloc((size_t)n + 1, sizeof *types);
    const char **names = xcalloc((size_t)n + 1, sizeof *names);
    for (int i = 0; i < n; i++) {
        const field_t *field = &c->fields->fields[c->scan ? c->scan[i] : i];
        types[i] = c->types ? c->types[i] : field->type;
        names[i] = field->name;
    }
    decoder_t *d = xcalloc(1, sizeof *d);
    d->ops = f;
    d->extra_cols = c->extra_cols;
    rowstore_init(&d->rows, n, types, names);
    free(types);
    free(names);
    err_t *e = f->decoder_open(d, c);
    if (e) {
        decoder_free(d);
        return e;
    }
    *ret = d;
    return NULL;
}

void decoder_free(decoder_t *d) {
    if (!d) return;
    if (d->self) d->ops->decoder_close(d);
    rowstore_done(&d->rows);
    free(d);
}

err_t *decoder_message(decoder_t *d, slice_t msg) {
    uint32_t before = d->rows.rows;
    TRY(d->ops->decode(d, msg));
    uint32_t rows = d->rows.rows - before;
    if (LIKELY(rows <= BATCH_ROWS_MAX)) return NULL;
    rowstore_rollback(&d->rows, before);
    return err_new(ERR_LIMIT, "one message holds %u rows, at most %d are taken", rows, BATCH_ROWS_MAX);
}

void decoder_null_row(decoder_t *d) {
    uint32_t i = rowstore_begin(&d->rows);
    for (int k = 0; k < d->rows.root.nchild; k++) rcol_null(&d->rows.root.child[k], i);
    rowstore_end(&d->rows);
}

size_t frame_line(slice_t data, bool eof, slice_t *ret_record) {
    const uint8_t *nl = data.len ? memchr(data.p, '\n', data.len) : NULL;
    if (!nl && !eof) return 0;
    size_t len = nl ? (size_t)(nl - data.p) : data.len, used = len + (nl != NULL);
    if (len && data.p[len - 1] == '\r') len--;
    *ret_record = slice_of(data.p, len);
    return used;
}

size_t decoder_frame(decoder_t *d, slice_t data, bool eof, slice_t *ret_record) {
    return d->ops->frame ? d->ops->frame(d, data, eof, ret_record) : frame_line(data, eof, ret_record);
}

uint32_t decoder_rows(const decoder_t *d) { return d->rows.rows; }
size_t decoder_bytes(const decoder_t *d) { return rowstore_size(&d->rows); }
uint64_t decoder_skipped(const decoder_t *d) { return d->skipped; }
void decoder_take(decoder_t *d, batch_t **ret) { *ret = rowstore_take(&d->rows, d->extra_cols); }

/* ------------------------------------------------------------------ encoders */
err_t *encoder_new(const format_config_t *c, encoder_t **ret) {
    const format_ops_t *f = format_find(c->format);
    if (!f) return format_unknown(c->format);
    TRY(f->check(c, false));
    encoder_t *e = xcalloc(1, sizeof *e);
    e->ops = f;
    e->fields = c->fields;
    e->ncols = c->scan ? c->nscan : c->fields->n;
    e->cols = xcalloc((size_t)e->ncols + 1, sizeof *e->cols);
    for (int i = 0; i < e->ncols; i++) e->cols[i] = c->scan ? c->scan[i] : i;
    err_t *err = f->encoder_open(e, c);
    if (err) {
        encoder_free(e);
        return err;
    }
    *ret = e;
    return NULL;
}

void encoder_free(encoder_t *e) {
    if (!e) return;
    if (e->self) e->ops->encoder_close(e);
    free(e->cols);
    free(e);
}

err_t *encoder_row(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out) {
    size_t before = out->len;
    err_t *err = e->ops->encode(e, b, row, out);
    if (!err && out->overflow) err = err_new(ERR_LIMIT, "the encoded row exceeds the buffer of %zu bytes", out->max);
    if (err) out->len = before;
    return err;
}
