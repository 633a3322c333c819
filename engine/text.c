/* text.c: UTF-8. */
#include "engine/text.h"

uint32_t utf8_decode(const char *p, uint32_t left, uint32_t *ret_len) {
    const unsigned char *s = (const unsigned char *)p;
    uint32_t n = utf8_len(p, left), cp;
    *ret_len = n;
    if (s[0] < 0x80) return s[0];
    uint32_t want = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
    if (n != want) return 0xfffd;
    cp = s[0] & (0xffu >> (n + 1));
    for (uint32_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0xfffd;
        cp = cp << 6 | (s[i] & 0x3f);
    }
    return cp > 0x10ffff ? 0xfffd : cp;
}

uint32_t utf8_encode(char *p, uint32_t cp) {
    if (cp < 0x80) {
        p[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        p[0] = (char)(0xc0 | cp >> 6);
        p[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        p[0] = (char)(0xe0 | cp >> 12);
        p[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        p[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    p[0] = (char)(0xf0 | cp >> 18);
    p[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    p[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    p[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

bool utf8_valid(const uint8_t *p, size_t n) {
    const uint8_t *end = p + n;
    while (p < end) {
        if (end - p >= 8) {
            uint64_t w;
            memcpy(&w, p, 8);
            if (!(w & 0x8080808080808080ULL)) {
                p += 8;
                continue;
            }
        }
        uint8_t c = *p;
        if (c < 0x80) {
            p++;
            continue;
        }
        int more = c >= 0xC2 && c <= 0xDF ? 1 : (c & 0xF0) == 0xE0 ? 2 : c >= 0xF0 && c <= 0xF4 ? 3 : 0;
        if (!more || end - p <= more) return false;
        for (int k = 1; k <= more; k++)
            if ((p[k] & 0xC0) != 0x80) return false;
        if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) || (c == 0xF0 && p[1] < 0x90) ||
            (c == 0xF4 && p[1] > 0x8F))
            return false;
        p += more + 1;
    }
    return true;
}

/* Bytes of the character at s, or of the malformed part Java's decoder replaces there as one. A surrogate is one part. */
static size_t utf8_part(const uint8_t *s, size_t left, bool *ret_ok) {
    uint8_t c = s[0];
    size_t want = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    *ret_ok = false;
    if (!want) return 1;
    for (size_t k = 1; k < want; k++) {
        if (k == left) return left;
        bool low = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90), high = c == 0xf4 && s[1] > 0x8f;
        if ((s[k] & 0xc0) != 0x80 || low || high) return k;
    }
    *ret_ok = c != 0xed || s[1] < 0xa0;
    return want;
}

str_t utf8_repair(str_t s, mem_t *m) {
    const uint8_t *p = (const uint8_t *)s.p;
    if (s.len == 0 || utf8_valid(p, s.len)) return s;
    char *out = mem_alloc(m, (size_t)s.len * 3);
    size_t n = 0;
    for (size_t i = 0, part; i < s.len; i += part) {
        bool ok;
        part = utf8_part(p + i, s.len - i, &ok);
        memcpy(out + n, ok ? s.p + i : "\xef\xbf\xbd", ok ? part : 3);
        n += ok ? part : 3;
    }
    return (str_t){.p = out, .len = (uint32_t)n};
}

int64_t text_find(str_t s, str_t what, uint32_t from) {
    if (from > s.len) return -1;
    if (what.len == 0) return from;
    if (what.len > s.len - from) return -1;
    if (s.len - from > 256) {
        const char *p = memmem(s.p + from, s.len - from, what.p, what.len);
        return p ? p - s.p : -1;
    }
    /* short texts: memmem's preparation costs more than the search */
    const char *p = s.p + from, *last = s.p + s.len - what.len;
    for (; p <= last && (p = memchr(p, what.p[0], (size_t)(last - p) + 1)); p++)
        if (memcmp(p, what.p, what.len) == 0) return p - s.p;
    return -1;
}
