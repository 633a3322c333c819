/* quick.h: values as machines write them, read without a branch per byte, for the formats that are text. Each reader returns where the value ends, or NULL
 * where it does not take it: then the general one (format_scalar.c, json_decode.c) says what it is. `open`: a number may end at `end`; else what
 * follows must be there. tests/fuzz/fuzz_json.c and fuzz_csv.c hold them against the general ones. */
#pragma once
#include "engine/connector/format_int.h"
#include "engine/datetime.h"

/* ---- bytes of a text, sixteen at a time */
typedef uint8_t bytes16_t __attribute__((vector_size(16)));

static inline bytes16_t load16(const uint8_t *p) {
    bytes16_t v;
    memcpy(&v, p, 16);
    return v;
}
/* Bit k: the top bit of byte k. */
static inline uint64_t bits16(bytes16_t v) {
#if defined(__SSE2__)
    typedef char signed_t __attribute__((vector_size(16)));
    return (uint64_t)__builtin_ia32_pmovmskb128((signed_t)v);
#else
    typedef uint64_t words_t __attribute__((vector_size(16)));
    words_t w = ((words_t)v & 0x8080808080808080ULL) >> 7;
    return (w[0] * 0x0102040810204080ULL) >> 56 | (w[1] * 0x0102040810204080ULL) >> 56 << 8;
#endif
}

/* The first of three bytes from p on, or end. `start`: of the record, what may be read before p. */
static inline const uint8_t *quick_find(const uint8_t *start, const uint8_t *p, const uint8_t *end, uint8_t a, uint8_t b, uint8_t c) {
    for (; end - p >= 16; p += 16) {
        bytes16_t v = load16(p);
        uint64_t m = bits16((bytes16_t)((v == a) | (v == b) | (v == c)));
        if (m) return p + __builtin_ctzll(m);
    }
    if (p < end && end - start >= 16) { /* the last sixteen, of which those from p on are new */
        bytes16_t v = load16(end - 16);
        uint64_t m = bits16((bytes16_t)((v == a) | (v == b) | (v == c))) >> (16 - (end - p));
        return m ? p + __builtin_ctzll(m) : end;
    }
    while (p < end && *p != a && *p != b && *p != c) p++;
    return p;
}
/* Copies, and is the text ASCII? In words, of which the last two may overlap. */
static inline bool quick_copy(char *to, const uint8_t *p, size_t n) {
    uint64_t high = 0, w;
    if (n >= 8) {
        for (size_t k = 0; k + 8 < n; k += 8) {
            memcpy(&w, p + k, 8);
            memcpy(to + k, &w, 8);
            high |= w;
        }
        memcpy(&w, p + n - 8, 8);
        memcpy(to + n - 8, &w, 8);
        high |= w;
    } else if (n >= 4) {
        uint32_t x, y;
        memcpy(&x, p, 4);
        memcpy(&y, p + n - 4, 4);
        memcpy(to, &x, 4);
        memcpy(to + n - 4, &y, 4);
        high = x | y;
    } else {
        for (size_t k = 0; k < n; k++) {
            to[k] = (char)p[k];
            high |= p[k];
        }
    }
    return !(high & 0x8080808080808080ULL);
}

/* ---- numbers and times */
static inline uint64_t load8(const uint8_t *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}
/* Eight digits as numbers 0 to 9, the first in the lowest byte. */
static inline uint64_t eight_value(uint64_t t) {
    t = t * 10 + (t >> 8);
    return (((t & 0x000000FF000000FFULL) * 0x000F424000000064ULL) + (((t >> 16) & 0x000000FF000000FFULL) * 0x0000271000000001ULL)) >> 32;
}

/* Digits from p on top of *v; stops at what is none. Without a branch per
 * digit: how many there are is what a processor cannot foresee. */
static inline const uint8_t *digits(const uint8_t *p, const uint8_t *end, uint64_t *v) {
    static const uint32_t scale[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint64_t r = *v;
    while (end - p >= 8) {
        uint64_t t = load8(p) ^ 0x3030303030303030ULL; /* a digit is below 10 now */
        uint64_t other = (((t & 0x7F7F7F7F7F7F7F7FULL) + 0x7676767676767676ULL) | t) & 0x8080808080808080ULL;
        int n = other ? __builtin_ctzll(other) >> 3 : 8;
        uint64_t low = n == 8 ? t : t << 8 << (56 - 8 * n); /* zeros before them */
        r = r * scale[n] + eight_value(low);
        p += n;
        if (n < 8) {
            *v = r;
            return p;
        }
    }
    for (uint8_t d; p < end && (d = (uint8_t)(*p - '0')) < 10; p++) r = r * 10 + d;
    *v = r;
    return p;
}

static inline const uint8_t *quick_i64(const uint8_t *p, const uint8_t *end, bool open, int64_t *ret) {
    bool negative = p < end && *p == '-';
    p += negative;
    const uint8_t *first = p;
    uint64_t v = 0;
    p = digits(p, end, &v);
    size_t n = (size_t)(p - first);
    if (n == 0 || n > 18 || (n > 1 && *first == '0') || (p == end ? !open : *p == '.' || (*p | 32) == 'e')) return NULL;
    *ret = negative ? -(int64_t)v : (int64_t)v;
    return p;
}

/* Exact by Clinger: mantissa below 2^53 and at most 22 fraction digits need one correctly rounded division. */
static inline const uint8_t *quick_f64(const uint8_t *p, const uint8_t *end, bool open, double *ret) {
    static const double pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9, 1e10,
                                   1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    bool negative = p < end && *p == '-';
    p += negative;
    const uint8_t *first = p;
    uint64_t v = 0;
    p = digits(p, end, &v);
    size_t n = (size_t)(p - first), fraction = 0;
    if (n == 0 || (n > 1 && *first == '0')) return NULL;
    if (p < end && *p == '.') {
        const uint8_t *dot = ++p;
        p = digits(p, end, &v);
        fraction = (size_t)(p - dot);
        if (fraction == 0) return NULL;
    }
    if (n + fraction > 18 || v >= (1ULL << 53) || (p == end ? !open : (*p | 32) == 'e')) return NULL;
    double d = (double)v / pow10[fraction];
    *ret = negative ? -d : d;
    return p;
}

/* "HH:mm:ss" in one word: seconds of the day, or -1. */
static inline int64_t quick_clock(const uint8_t *p) {
    uint64_t t = load8(p) ^ 0x30303A30303A3030ULL; /* digits become 0..9, colons 0 */
    if ((t & 0xF0F0FFF0F0FFF0F0ULL) || ((t + 0x0606000606000606ULL) & 0xF0F000F0F000F0F0ULL)) return -1;
    int64_t h = (int64_t)((t & 15) * 10 + (t >> 8 & 15)), m = (int64_t)((t >> 24 & 15) * 10 + (t >> 32 & 15)),
            s = (int64_t)((t >> 48 & 15) * 10 + (t >> 56));
    return h > 23 || m > 59 || s > 59 ? -1 : (h * 60 + m) * 60 + s;
}

typedef struct quick_date { uint8_t text[10]; int64_t days; } quick_date_t; /* the last one: most are of one day */

/* "yyyy-MM-dd HH:mm:ss[.f{1,6}]", cut to the precision of the type, but never below the millisecond. */
static inline const uint8_t *quick_instant(quick_date_t *d, int precision, uint8_t separator, const uint8_t *p, const uint8_t *end, int64_t *ret) {
    static const int32_t scale[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    if (end - p < 19) return NULL;
    if (load8(p) != load8(d->text) || p[8] != d->text[8] || p[9] != d->text[9]) {
        int32_t days;
        if (!date_parse_strict((const char *)p, 10, &days)) return NULL;
        memcpy(d->text, p, 10);
        d->days = days;
    }
    int64_t s = quick_clock(p + 11);
    if (s < 0 || p[10] != separator) return NULL;
    p += 19;
    int64_t us = s * US_PER_SECOND;
    if (p < end && *p == '.') {
        uint64_t f = 0;
        const uint8_t *dot = ++p;
        p = digits(p, end, &f);
        size_t n = (size_t)(p - dot);
        if (n == 0 || n > 6) return NULL;
        us += (int64_t)f * scale[n];
        int cut = MAX(precision, 3);
        if (precision >= 0 && cut < (int)n) us -= us % scale[cut];
    }
    *ret = d->days * US_PER_DAY + us;
    return p;
}
