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
