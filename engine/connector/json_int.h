/* json_int.h: what json_decode.c and json_template.c share. */
#pragma once
#include "engine/connector/quick.h"

#define JSON_DEPTH_MAX 100
#define JSON_TEMPLATES 8

typedef struct json_template json_template_t;

typedef bytes16_t json_bytes_t;
/* Bit k: byte k is a quote or a backslash. */
static inline uint64_t json_special16(json_bytes_t v) { return bits16((json_bytes_t)((v == '"') | (v == '\\'))); }
static inline uint64_t json_special64(const json_bytes_t v[4]) {
    return json_special16(v[0]) | json_special16(v[1]) << 16 | json_special16(v[2]) << 32 | json_special16(v[3]) << 48;
}
static inline void json_load64(const uint8_t *p, json_bytes_t v[4]) {
    for (int k = 0; k < 4; k++) v[k] = load16(p + 16 * k);
}
/* The first quote or backslash, or the end. */
static inline const uint8_t *json_special(const uint8_t *p, const uint8_t *end) {
    for (uint64_t m; end - p >= 16; p += 16)
        if ((m = json_special16(load16(p))) != 0) return p + __builtin_ctzll(m);
    while (p < end && *p != '"' && *p != '\\') p++;
    return p;
}

typedef struct json_decoder {
    bool ignore_errors, fail_on_missing, zero_to_null;
    scalar_rules_t rules;
    buf_t scratch; /* a string without its escapes */
    json_template_t *templates[JSON_TEMPLATES]; /* the most used first; NULL behind the last */
    uint64_t hits, misses; /* records that a template took; records of one object that none took */
    bool templates_off; /* for tests: general parser only */
    quick_date_t date;
} json_decoder_t;

/* One message being parsed. After a false return `why`, `at` and `col` tell what was wrong; `fatal` that the text
 * itself is broken (or a NOT NULL column has no value): the row cannot be kept by making the field NULL. */
typedef struct json_in {
    json_decoder_t *j;
    rowstore_t *rows;
    const uint8_t *start, *p, *end;
    int depth;
    bool fatal;
    const char *why;
    const uint8_t *at;
    const rcol_t *col;
    uint64_t skipped;
} json_in_t;

bool json_fail(json_in_t *in, bool fatal, const uint8_t *at, const char *why); /* false */
void json_ws(json_in_t *in);
bool json_skip_value(json_in_t *in);  /* any value, checked, not stored */
bool json_skip_string(json_in_t *in); /* at the quote */
bool json_lex_string(json_in_t *in, slice_t *ret_raw, bool *ret_escaped);
bool json_text(json_in_t *in, slice_t *ret); /* at the quote: decoded text, in place or in scratch */
/* Parses one value into (c, i); the type's rules apply. */
bool json_value(json_in_t *in, rcol_t *c, uint32_t i);
/* Children of a ROW that the object did not name: NULL, or an error. */
bool json_missing(json_in_t *in, rcol_t *child, uint32_t i);
rcol_t *json_field(rcol_t *row, int *hint, slice_t name); /* NULL: unknown */

/* ---- templates (json_template.c) */
/* Tries the learned templates; false: nothing was stored, use the general parser. */
bool json_template_row(json_in_t *in);
/* The general parser took this message (one object): learn its shape, sometimes. */
void json_template_learn(json_in_t *in, slice_t msg);
void json_templates_free(json_decoder_t *j);

/* ---- encoding (json_encode.c) */
err_t *json_encoder_open(encoder_t *e, const format_config_t *c);
err_t *json_encode(encoder_t *e, const batch_t *b, uint32_t row, buf_t *out);
void json_encoder_close(encoder_t *e);
