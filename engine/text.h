/* text.h: UTF-8 by characters. Bytes that are no UTF-8 count as one character each, and nothing reads past the end. */
#pragma once
#include "engine/batch.h"

static inline uint32_t utf8_len(const char *p, uint32_t left) { /* bytes of the character at p; left > 0 */
    unsigned char c = (unsigned char)*p;
    uint32_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return n <= left ? n : left;
}
static inline bool text_ascii(str_t s) {
    unsigned char bits = 0;
    for (uint32_t i = 0; i < s.len; i++) bits |= (unsigned char)s.p[i];
    return bits < 0x80;
}
static inline uint32_t text_length(str_t s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s.len; n++) i += utf8_len(s.p + i, s.len - i);
    return n;
}
/* Byte offset of character k, or the length. */
static inline uint32_t text_offset(str_t s, uint32_t k) {
    uint32_t i = 0;
    for (; k && i < s.len; k--) i += utf8_len(s.p + i, s.len - i);
    return i;
}
uint32_t utf8_decode(const char *p, uint32_t left, uint32_t *ret_len); /* U+FFFD for what is malformed */
uint32_t utf8_encode(char *p, uint32_t cp);                           /* room for 4; returns the bytes */
bool utf8_valid(const uint8_t *p, size_t n);
/* The text Java reads from these bytes: U+FFFD for each part that is no UTF-8. s itself when all of it is. */
str_t utf8_repair(str_t s, mem_t *m);
str_t text_case(str_t s, bool upper, mem_t *m); /* text_case.c: in capitals or in small letters */
/* First occurrence at or after byte `from`, or -1. */
int64_t text_find(str_t s, str_t what, uint32_t from);
