/* raw.c: the whole message is the value of the one column, as Flink's raw format: text, bytes, or a number in binary. */
#include "engine/connector/format_int.h"
#include <stdlib.h>

static const char *const raw_options[] = {"charset", "endianness", "dead-letter.topic", NULL};

typedef struct raw {
    bool little;
} raw_t;

static int fixed_width(const type_t *t) {
    switch (t->kind) {
    case TYPE_BOOLEAN:
    case TYPE_TINYINT: return 1;
    case TYPE_SMALLINT: return 2;
    case TYPE_INT:
    case TYPE_FLOAT: return 4;
    case TYPE_BIGINT:
    case TYPE_DOUBLE: return 8;
    default: return 0;
    }
}

static err_t *raw_check(const format_config_t *c, bool decode) {
    bool chosen = !decode && c->scan; /* an encoder writes the columns it is given; a decoder's projection may leave none */
    int n = chosen ? c->nscan : c->fields->n;
    if (n != 1) return err_new(ERR_INVALID, "the raw format needs a table with exactly one column, this one has %d", n);
    const field_t *f = &c->fields->fields[chosen ? c->scan[0] : 0];
    if (!type_is_strlike(f->type) && !fixed_width(f->type))
        return err_new(ERR_UNSUPPORTED, "column '%s': the raw format has strings, bytes, BOOLEAN and plain numbers only", f->name);
    const char *charset = format_option(c, "charset"), *endian = format_option(c, "endianness");
    if (charset && strcmp(charset, "UTF-8") != 0)
        return err_hint(err_new(ERR_UNSUPPORTED, "charset '%s' is not supported", charset), "only UTF-8 is read");
    if (endian && strcmp(endian, "big-endian") != 0 && strcmp(endian, "little-endian") != 0)
        return err_new(ERR_INVALID, "endianness '%s': it is 'big-endian' or 'little-endian'", endian);
    return NULL;
}

static raw_t *raw_new(const format_config_t *c) {
    raw_t *r = xcalloc(1, sizeof *r);
    const char *endian = format_option(c, "endianness");
    r->little = endian && endian[0] == 'l';
    return r;
}

static err_t *raw_decoder_open(decoder_t *d, const format_config_t *c) {
    d->self = raw_new(c);
    return NULL;
}

static err_t *raw_decode(decoder_t *d, slice_t msg) {
    const raw_t *r = d->self;
    rowstore_t *s = &d->rows;
    uint32_t i = rowstore_begin(s);
    if (s->root.nchild) {
        rcol_t *c = &s->root.child[0];
        int w = fixed_width(c->type);
        if (w && msg.len != (size_t)w)
            return err_new(ERR_DATA, "raw: column '%s' takes %d bytes, the message has %zu", c->name, w, msg.len);
        if (type_is_text(c->type) && !utf8_valid(msg.p, msg.len))
            return err_new(ERR_DATA, "raw: column '%s': the message is not valid UTF-8", c->name);
        if (w) {
            uint8_t v[8];
            for (int k = 0; k < w; k++) v[k] = msg.p[r->little ? k : w - 1 - k];
            if (c->type->kind == TYPE_BOOLEAN) v[0] = v[0] != 0;
            memcpy((uint8_t *)c->data + (size_t)i * (size_t)w, v, (size_t)w);
            c->nulls[i] = 0;
        } else {
            rcol_str(s, c, i, msg.p, msg.len);
        }
    }
    rowstore_end(s);
    return NULL;
}

static void raw_decoder_close(decoder_t *d) { free(d->self); }

static err_t *raw_encoder_open(encoder_t *e, const format_config_t *c) {
    e->self = raw_new(c);
    return NULL;
}

static err_t *raw_encode(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out) {
    const raw_t *r = e->self;
    const column_t *c = &b->cols[e->cols[0]];
    if (column_null(c, row)) return NULL;
    int w = fixed_width(c->type);
    if (!w) {
        buf_put(out, c->str[row].p, c->str[row].len);
        return NULL;
    }
    const uint8_t *v = (const uint8_t *)c->data + (size_t)row * (size_t)w;
    for (int k = 0; k < w; k++) buf_put_u8(out, v[r->little ? k : w - 1 - k]);
    return NULL;
}

static void raw_encoder_close(encoder_t *e) { free(e->self); }

const format_ops_t format_raw = {
    .name = "raw",
    .options = raw_options,
    .check = raw_check,
    .decoder_open = raw_decoder_open,
    .decode = raw_decode,
    .decoder_close = raw_decoder_close,
    .encoder_open = raw_encoder_open,
    .encode = raw_encode,
    .encoder_close = raw_encoder_close,
};
