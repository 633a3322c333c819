/* support.h: tables, types and batches for connector tests, in few words. */
#pragma once
#include "engine/connector/connector.h"
#include "tests/helpers/test.h"
#include <stdio.h>

typedef struct fixture {
    arena_t *arena;
    table_t table;
} fixture_t;

static inline fixture_t fixture_new(void) {
    fixture_t f = {.arena = arena_new()};
    f.table.name = "t";
    f.table.connector = "filesystem";
    f.table.physical = schema_new(f.arena, 0);
    f.table.metadata = schema_new(f.arena, 0);
    f.table.options.keys = ARENA_ARRAY(f.arena, const char *, 64);
    f.table.options.values = ARENA_ARRAY(f.arena, const char *, 64);
    return f;
}
static inline void fixture_free(fixture_t *f) { arena_free(f->arena); }

static inline void fixture_option(fixture_t *f, const char *key, const char *value) {
    ck_assert_int_lt(f->table.options.n, 64);
    f->table.options.keys[f->table.options.n] = arena_strdup(f->arena, key);
    f->table.options.values[f->table.options.n++] = arena_strdup(f->arena, value);
}
static inline void fixture_column(fixture_t *f, const char *name, const type_t *t) {
    schema_t *old = f->table.physical, *s = schema_new(f->arena, old->n + 1);
    for (int i = 0; i < old->n; i++) s->fields[i] = old->fields[i];
    s->fields[old->n] = (field_t){arena_strdup(f->arena, name), t};
    f->table.physical = s;
}

static inline err_t *fixture_decoder(fixture_t *f, const char *format, decoder_t **ret) {
    format_config_t c = {.options = &f->table.options, .format = format, .prefix = "", .fields = f->table.physical};
    return decoder_new(&c, ret);
}
static inline err_t *fixture_encoder(fixture_t *f, const char *format, encoder_t **ret) {
    format_config_t c = {.options = &f->table.options, .format = format, .prefix = "", .fields = f->table.physical};
    return encoder_new(&c, ret);
}

/* Rows of a batch as value_print shows them: "1|a|NULL" per row, ';' between rows. */
static inline char *batch_text(const batch_t *b) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (uint32_t i = 0; b && i < b->n; i++) {
        if (i) buf_put_u8(&out, ';');
        for (int k = 0; k < b->ncols; k++) {
            if (k) buf_put_u8(&out, '|');
            value_print(&out, &b->cols[k], i);
        }
    }
    return buf_take_cstr(&out);
}

/* Decodes the messages (NULL-terminated) and gives the rows as batch_text; errors abort the test. */
static inline char *decode_text(fixture_t *f, const char *format, const char *const *messages) {
    decoder_t *d;
    ck_ok(fixture_decoder(f, format, &d));
    for (; *messages; messages++) ck_ok(decoder_message(d, slice_str(*messages)));
    batch_t *b;
    decoder_take(d, &b);
    if (b) ck_ok(batch_validate(b, f->table.physical));
    char *text = batch_text(b);
    batch_free(b);
    decoder_free(d);
    return text;
}
#define ck_decodes(f, format, expected, ...)                                                       \
    do {                                                                                           \
        char *ck_t_ = decode_text(f, format, (const char *const[]){__VA_ARGS__, NULL});            \
        ck_assert_str_eq(ck_t_, expected);                                                         \
        free(ck_t_);                                                                               \
    } while (0)
/* The message is refused with this text and leaves no row. */
#define ck_refuses(f, format, part, message)                                                       \
    do {                                                                                           \
        decoder_t *ck_d_;                                                                          \
        ck_ok(fixture_decoder(f, format, &ck_d_));                                                 \
        ck_fails(decoder_message(ck_d_, slice_str(message)), ERR_DATA, part);                      \
        ck_assert_uint_eq(decoder_rows(ck_d_), 0);                                                 \
        decoder_free(ck_d_);                                                                       \
    } while (0)
