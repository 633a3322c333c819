/* keys.c: the keys of a batch, encoded once. The bytes are row_encode's (frozen); one text column and one
 * integer column, the commonest, have a loop of their own, and so have several of these. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define KEY_COLUMNS_MAX 64

static inline uint8_t *put_text(uint8_t *p, const column_t *c, uint32_t row) {
    if (column_null(c, row)) {
        *p++ = 0;
        return p;
    }
    str_t s = c->str[row];
    *p++ = 1;
    p = varint_at(p, s.len);
    if (s.len) memcpy(p, s.p, s.len);
    return p + s.len;
}

/* At most: a text of so many rows. */
static size_t text_room(const column_t *c, const uint32_t *sel, uint32_t n) {
    size_t total = (size_t)n * 6;
    for (uint32_t i = 0; i < n; i++) total += c->str[sel ? sel[i] : i].len;
    return total;
}

static void encode_text(keys_t *k, const column_t *c, const uint32_t *sel, uint32_t n) {
    ASSERT(buf_reserve(&k->bytes, text_room(c, sel, n)));
    uint8_t *p = k->bytes.data;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *start = p;
        k->off[i] = (uint32_t)(p - k->bytes.data);
        p = put_text(p, c, sel ? sel[i] : i);
        k->hash[i] = hash_bytes(start, (size_t)(p - start));
    }
    k->off[n] = (uint32_t)(p - k->bytes.data);
    k->bytes.len = k->off[n];
}

static inline int64_t int_at(const column_t *c, int width, uint32_t i) {
    switch (width) {
    case 1: return c->i8[i];
    case 2: return c->i16[i];
    case 4: return c->i32[i];
    default: return c->i64[i];
    }
}

/* LEB128 in a word, of less than 49 bits: groups of seven are spread to bytes by halves. */
#define WORD_BITS 49
static inline uint64_t varint_word(uint64_t v, size_t *ret_len) {
    if (v < 0x4000) { /* the commonest, without the work for long ones */
        *ret_len = 1 + (v >= 0x80);
        return v < 0x80 ? v : (v & 0x7f) | 0x80 | v >> 7 << 8;
    }
    uint32_t len = (uint32_t)(70 - __builtin_clzll(v)) * 37 >> 8; /* / 7, up to 55 */
    v = (v & 0xfffffff) | (v & 0x1fffff0000000) << 4;
    v = (v & 0x3fff00003fff) | (v & 0xfffc0000fffc000) << 2;
    v = (v & 0x7f007f007f007f) | (v & 0x3f803f803f803f80) << 1;
    *ret_len = len;
    return v | (0x80808080808080 & ((UINT64_C(1) << 8 * (len - 1)) - 1));
}

/* Row `row` of an integer column as a word, if it is one. */
static inline bool int_word(const column_t *c, int width, uint32_t row, uint64_t *ret_word, size_t *ret_len) {
    int64_t v = int_at(c, width, row);
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    if (UNLIKELY(z >> WORD_BITS != 0)) return false;
    *ret_word = varint_word(z, ret_len) << 8 | 1;
    ++*ret_len;
    return true;
}

/* Any, by its bytes. Returns their end. */
static uint8_t *put_int(uint8_t *p, const column_t *c, int width, uint32_t row, uint64_t *ret_hash) {
    uint8_t *start = p;
    *p++ = !column_null(c, row);
    if (*start) p = zigzag_at(p, int_at(c, width, row));
    *ret_hash = hash_bytes(start, (size_t)(p - start));
    return p;
}

static inline __attribute__((always_inline)) void encode_ints(keys_t *k, const column_t *c, int width, const uint32_t *sel, uint32_t n) {
    uint8_t *bytes = k->bytes.data, *p = bytes;
    uint32_t *off = k->off;
    uint64_t *hash = k->hash;
    const uint8_t *nulls = c->nulls;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = sel ? sel[i] : i;
        uint64_t word;
        size_t len;
        off[i] = (uint32_t)(p - bytes);
        if (UNLIKELY((nulls && nulls[row]) || !int_word(c, width, row, &word, &len))) {
            p = put_int(p, c, width, row, &hash[i]);
            continue;
        }
        memcpy(p, &word, sizeof word);
        p += len;
        hash[i] = hash_word(word, len);
    }
    off[n] = (uint32_t)(p - bytes);
    k->bytes.len = off[n];
}

/* The usual width, and hash_int, are functions of their own: inlined among the others such a loop kept its state on the stack. */
static __attribute__((noinline)) void encode_i64(keys_t *k, const column_t *c, const uint32_t *sel, uint32_t n) { encode_ints(k, c, 8, sel, n); }

static void encode_int(keys_t *k, const column_t *c, const uint32_t *sel, uint32_t n) {
    int width = type_width(c->type);
    ASSERT(buf_reserve(&k->bytes, (size_t)n * 11 + 8));
    if (width == 8) encode_i64(k, c, sel, n);
    else encode_ints(k, c, width, sel, n);
}

static __attribute__((noinline)) void hash_int(keys_t *k, const column_t *c, uint32_t n) {
    uint64_t *hash = k->hash;
    int width = type_width(c->type);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t bytes[1 + VARINT_MAX];
        uint64_t word;
        size_t len;
        if (UNLIKELY(column_null(c, i) || !int_word(c, width, i, &word, &len))) put_int(bytes, c, width, i, &hash[i]);
        else hash[i] = hash_word(word, len);
    }
}

/* Integers and texts in any order. The bytes are hashed in a pass of their own: those that were just written one by one are slow to read back. */
static void encode_several(keys_t *k, const column_t *const *cols, int ncols, const uint32_t *sel, uint32_t n) {
    size_t room = 8;
    int width[KEY_COLUMNS_MAX]; /* 0: text */
    for (int c = 0; c < ncols; c++) {
        width[c] = type_is_strlike(cols[c]->type) ? 0 : type_width(cols[c]->type);
        room += width[c] ? (size_t)n * 11 : text_room(cols[c], sel, n);
    }
    ASSERT(buf_reserve(&k->bytes, room));
    uint8_t *p = k->bytes.data;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = sel ? sel[i] : i;
        k->off[i] = (uint32_t)(p - k->bytes.data);
        for (int c = 0; c < ncols; c++) {
            if (!width[c]) {
                p = put_text(p, cols[c], row);
            } else if (column_null(cols[c], row)) {
                *p++ = 0;
            } else {
                *p++ = 1;
                p = zigzag_at(p, int_at(cols[c], width[c], row));
            }
        }
    }
    k->off[n] = (uint32_t)(p - k->bytes.data);
    k->bytes.len = k->off[n];
}

bool keys_plain(const type_t *t) {
    return (t->kind >= TYPE_TINYINT && t->kind <= TYPE_BIGINT) || (t->kind >= TYPE_DATE && t->kind <= TYPE_TIMESTAMP_LTZ);
}

static void room(keys_t *k, uint32_t n) {
    if (k->cap >= n + 1) return;
    k->cap = n + 1;
    k->off = xrealloc(k->off, sizeof *k->off * k->cap);
    k->hash = xrealloc(k->hash, sizeof *k->hash * k->cap);
}

void keys_hash(keys_t *k, const batch_t *b, const int *cols, int ncols) {
    room(k, b->n);
    if (ncols == 1 && keys_plain(b->cols[cols[0]].type)) hash_int(k, &b->cols[cols[0]], b->n);
    else keys_encode(k, b, cols, ncols, NULL, b->n);
}

void keys_encode(keys_t *k, const batch_t *b, const int *cols, int ncols, const uint32_t *sel, uint32_t n) {
    room(k, n);
    k->bytes.max = UINT32_MAX;
    buf_clear(&k->bytes);
    if (ncols == 1 && type_is_strlike(b->cols[cols[0]].type)) {
        encode_text(k, &b->cols[cols[0]], sel, n);
        return;
    }
    if (ncols == 1 && keys_plain(b->cols[cols[0]].type)) {
        encode_int(k, &b->cols[cols[0]], sel, n);
        return;
    }
    const column_t *list[KEY_COLUMNS_MAX];
    ASSERT(ncols <= KEY_COLUMNS_MAX);
    bool simple = ncols > 1;
    for (int i = 0; i < ncols; i++) {
        list[i] = &b->cols[cols[i]];
        simple &= type_is_strlike(list[i]->type) || keys_plain(list[i]->type);
    }
    if (simple) {
        encode_several(k, list, ncols, sel, n);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            k->off[i] = (uint32_t)k->bytes.len;
            row_encode(&k->bytes, list, ncols, sel ? sel[i] : i);
        }
        k->off[n] = (uint32_t)k->bytes.len;
    }
    for (uint32_t i = 0; i < n; i++) k->hash[i] = hash_bytes(k->bytes.data + k->off[i], k->off[i + 1] - k->off[i]);
}

void keys_free(keys_t *k) {
    buf_free(&k->bytes);
    free(k->off);
    free(k->hash);
    *k = (keys_t){0};
}

bool keys_decode(const slice_t *keys, uint32_t n, const schema_t *s, int nkeys, mem_t *m, column_t *out) {
    if (nkeys == 0) return true;
    ASSERT(nkeys <= KEY_COLUMNS_MAX);
    colbuilder_t *cb[KEY_COLUMNS_MAX];
    bool ok = true;
    for (int c = 0; c < nkeys; c++) {
        cb[c] = colbuilder_new(s->fields[c].type, m);
        colbuilder_room(cb[c], n);
    }
    for (uint32_t i = 0; i < n && ok; i++) {
        reader_t r = reader_of(keys[i]);
        for (int c = 0; c < nkeys && ok; c++) ok = value_decode(&r, cb[c]);
        ok = ok && reader_left(&r) == 0;
    }
    for (int c = 0; c < nkeys; c++) {
        if (ok) colbuilder_finish(cb[c], &out[c]);
        colbuilder_free(cb[c]);
    }
    return ok;
}
