/* kernel_charset.c: ENCODE and DECODE. What a charset cannot hold is '?', what is malformed U+FFFD, as Java does both. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include "engine/text.h"
#include <strings.h>

typedef enum charset { UTF8, LATIN1, ASCII, UTF16, UTF16BE, UTF16LE, UTF32, UTF32BE, UTF32LE } charset_t;

static err_t *charset_of(const call_t *c, str_t name, charset_t *ret) {
    static const struct {
        const char *name;
        charset_t charset;
    } known[] = {{"UTF-8", UTF8}, {"UTF8", UTF8}, {"ISO-8859-1", LATIN1}, {"US-ASCII", ASCII}, {"ASCII", ASCII},
                 {"UTF-16", UTF16}, {"UTF-16BE", UTF16BE}, {"UTF-16LE", UTF16LE}, {"UTF-32", UTF32},
                 {"UTF-32BE", UTF32BE}, {"UTF-32LE", UTF32LE}, {"UTF32", UTF32}, {"UTF_32", UTF32}, {"UTF16", UTF16}, {"UTF_16", UTF16},
                 {"UNICODE", UTF16}, {"LATIN1", LATIN1}, {"ISO8859_1", LATIN1}, {"ISO8859-1", LATIN1}, {"ISO_8859_1", LATIN1}};
    for (size_t k = 0; k < ARRAY_LEN(known); k++)
        if (name.len == strlen(known[k].name) && strncasecmp(name.p, known[k].name, name.len) == 0) {
            *ret = known[k].charset;
            return NULL;
        }
    return err_hint(call_error(c, ERR_UNSUPPORTED, "no such character set here:", name),
                    "use UTF-8, UTF-16, UTF-32 (also with BE or LE behind), ISO-8859-1 or US-ASCII");
}

static uint32_t put_unit(char *p, uint32_t unit, bool little) {
    p[little ? 1 : 0] = (char)(unit >> 8);
    p[little ? 0 : 1] = (char)unit;
    return 2;
}

static uint32_t encode_char(charset_t cs, char *p, uint32_t cp) {
    if (cs == LATIN1 || cs == ASCII) {
        *p = cp <= (cs == LATIN1 ? 0xffu : 0x7fu) ? (char)cp : '?';
        return 1;
    }
    if (cs >= UTF32) {
        put_unit(p, cs == UTF32LE ? cp & 0xffff : cp >> 16, cs == UTF32LE);
        return 2 + put_unit(p + 2, cs == UTF32LE ? cp >> 16 : cp & 0xffff, cs == UTF32LE);
    }
    if (cp < 0x10000) return put_unit(p, cp, cs == UTF16LE);
    put_unit(p, 0xd7c0 + (cp >> 10), cs == UTF16LE);
    return 2 + put_unit(p + 2, 0xdc00 | (cp & 0x3ff), cs == UTF16LE);
}

static str_t encode(charset_t cs, str_t s, mem_t *m) {
    if (cs == UTF8 || ((cs == LATIN1 || cs == ASCII) && text_ascii(s))) return s;
    char *p = mem_alloc(m, (size_t)s.len * (cs >= UTF32 ? 4 : 2) + 2);
    uint32_t n = 0, len;
    if (cs == UTF16 && s.len) n = put_unit(p, 0xfeff, false);
    for (uint32_t k = 0; k < s.len; k += len) {
        uint32_t cp = utf8_decode(s.p + k, s.len - k, &len);
        n += encode_char(cs, p + n, cp);
    }
    return (str_t){.p = p, .len = n};
}

static uint32_t unit_at(str_t s, uint32_t k, bool little) {
    const unsigned char *p = (const unsigned char *)s.p + k;
    return little ? (uint32_t)p[1] << 8 | p[0] : (uint32_t)p[0] << 8 | p[1];
}

static str_t decode_utf16(charset_t cs, str_t s, mem_t *m) {
    char *p = mem_alloc(m, (size_t)s.len * 2 + 3);
    uint32_t n = 0, k = 0;
    bool little = cs == UTF16LE;
    if (cs == UTF16 && s.len >= 2) {
        uint32_t mark = unit_at(s, 0, false);
        little = mark == 0xfffe;
        if (little || mark == 0xfeff) k = 2;
    }
    while (k < s.len) {
        uint32_t left = s.len - k, u = left >= 2 ? unit_at(s, k, little) : 0xfffd, cp = u, len = left >= 2 ? 2 : 1;
        if (u >= 0xdc00 && u <= 0xdfff) cp = 0xfffd;
        if (u >= 0xd800 && u <= 0xdbff) { /* the unit behind belongs to it, whatever it is */
            uint32_t low = left >= 4 ? unit_at(s, k + 2, little) : 0;
            cp = low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((u & 0x3ff) << 10 | (low & 0x3ff)) : 0xfffd;
            len = left >= 4 ? 4 : left;
        }
        n += utf8_encode(p + n, cp);
        k += len;
    }
    return (str_t){.p = p, .len = n};
}

static str_t decode_utf32(charset_t cs, str_t s, mem_t *m) {
    char *p = mem_alloc(m, (size_t)s.len + 3);
    uint32_t n = 0, k = 0;
    bool little = cs == UTF32LE;
    if (s.len >= 4 && cs == UTF32 && unit_at(s, 0, false) == 0xfffe && unit_at(s, 2, false) == 0) little = true;
    if (s.len >= 4 && (little ? unit_at(s, 0, true) == 0xfeff && unit_at(s, 2, true) == 0 : unit_at(s, 0, false) == 0 && unit_at(s, 2, false) == 0xfeff)) k = 4;
    for (; k < s.len; k += 4) {
        uint32_t cp = 0xfffd;
        if (s.len - k >= 4) cp = little ? unit_at(s, k + 2, true) << 16 | unit_at(s, k, true) : unit_at(s, k, false) << 16 | unit_at(s, k + 2, false);
        n += utf8_encode(p + n, cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff) ? 0xfffd : cp);
    }
    return (str_t){.p = p, .len = n};
}

static str_t decode(charset_t cs, str_t s, mem_t *m) {
    if (cs == UTF8) return utf8_repair(s, m);
    if (cs >= UTF32) return decode_utf32(cs, s, m);
    if (cs >= UTF16) return decode_utf16(cs, s, m);
    if (text_ascii(s)) return s;
    char *p = mem_alloc(m, (size_t)s.len * 3);
    uint32_t n = 0;
    for (uint32_t k = 0; k < s.len; k++) {
        uint32_t cp = (unsigned char)s.p[k];
        n += utf8_encode(p + n, cp < 0x80 || cs == LATIN1 ? cp : 0xfffd);
    }
    return (str_t){.p = p, .len = n};
}

static err_t *convert(call_t *c, str_t (*to)(charset_t, str_t, mem_t *)) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) continue;
        charset_t cs = UTF8;
        TRY(charset_of(c, arg_str(c, 1, i), &cs));
        c->out->str[i] = to(cs, arg_str(c, 0, i), c->m);
    }
    return NULL;
}
err_t *kernel_encode(call_t *c) { return convert(c, encode); }
err_t *kernel_decode(call_t *c) { return convert(c, decode); }
