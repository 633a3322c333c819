/* number.c: numbers as text. Floating point is printed by Schubfach (R. Giulietti) with 128-bit powers of ten, and
 * parsed by one 64 x 128 bit product whose error is bounded: where the bound leaves two answers, libc decides. */
#include "engine/number.h"
#include "engine/number_pow10.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>

static const char digit_pairs[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

size_t u64_print(char *p, uint64_t v) {
    char tmp[20];
    size_t at = 20;
    while (v >= 100) {
        at -= 2;
        memcpy(tmp + at, digit_pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(tmp + at, digit_pairs + 2 * v, 2);
    } else {
        tmp[--at] = (char)('0' + v);
    }
    memcpy(p, tmp + at, 20 - at);
    return 20 - at;
}

size_t i64_print(char *p, int64_t v) {
    if (v >= 0) return u64_print(p, (uint64_t)v);
    *p = '-';
    return 1 + u64_print(p + 1, 0 - (uint64_t)v);
}

size_t u64_print_padded(char *p, uint64_t v, int digits) {
    for (int i = digits; i-- > 0; v /= 10) p[i] = (char)('0' + v % 10);
    return (size_t)digits;
}

/* ---- floating point to text */
static inline uint64_t round_to_odd(pow10_bits_t g, uint64_t cp) {
    u128 x = (u128)g.lo * cp, y = (u128)g.hi * cp;
    y += (uint64_t)(x >> 64);
    uint64_t low = (uint64_t)y;
    return (uint64_t)(y >> 64) | (low > 1);
}

static inline int floor_log2_pow10(int e) { return (e * 1741647) >> 19; }

typedef struct shortest {
    uint64_t digits;
    int exp; /* value = digits * 10^exp */
} shortest_t;

/* c * 2^q, c > 0; the lower neighbour is half as far when narrow. */
static shortest_t shortest_of(uint64_t c, int q, bool narrow) {
    uint64_t cb = 4 * c, cbl = cb - 2 + narrow, cbr = cb + 2;
    uint64_t odd = c & 1;
    int k = (q * 1262611 - (narrow ? 524031 : 0)) >> 22;
    int h = q + floor_log2_pow10(-k) + 1;
    pow10_bits_t g = pow10_bits[-k - POW10_MIN];
    uint64_t vb = round_to_odd(g, cb << h);
    uint64_t lower = round_to_odd(g, cbl << h) + odd, upper = round_to_odd(g, cbr << h) - odd;
    uint64_t s = vb / 4;
    if (s >= 100) { /* Java keeps two digits at least */
        uint64_t sp = s / 10;
        bool up = lower <= 40 * sp, wp = 40 * sp + 40 <= upper;
        if (up != wp) return (shortest_t){sp + wp, k + 1};
    }
    bool u = lower <= 4 * s, w = 4 * s + 4 <= upper;
    if (u != w) return (shortest_t){s + w, k};
    uint64_t mid = 4 * s + 2;
    return (shortest_t){s + (vb > mid || (vb == mid && (s & 1))), k};
}

/* Java's layout: plain from 1E-3 below 1E7, else one digit, point, the rest, E. */
static size_t shortest_print(char *p, bool negative, shortest_t d) {
    char digits[24], *at = p;
    while (d.digits % 10 == 0) {
        d.digits /= 10;
        d.exp++;
    }
    int n = (int)u64_print(digits, d.digits);
    int point = n + d.exp; /* value = 0.digits * 10^point */
    if (negative) *at++ = '-';
    if (point > 0 && point <= 7) {
        int whole = n < point ? n : point;
        memcpy(at, digits, (size_t)whole);
        at += whole;
        for (int i = whole; i < point; i++) *at++ = '0';
        *at++ = '.';
        if (n > point) {
            memcpy(at, digits + point, (size_t)(n - point));
            at += n - point;
        } else {
            *at++ = '0';
        }
    } else if (point > -3 && point <= 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = point; i < 0; i++) *at++ = '0';
        memcpy(at, digits, (size_t)n);
        at += n;
    } else {
        *at++ = digits[0];
        *at++ = '.';
        if (n > 1) {
            memcpy(at, digits + 1, (size_t)n - 1);
            at += n - 1;
        } else {
            *at++ = '0';
        }
        *at++ = 'E';
        at += i64_print(at, point - 1);
    }
    return (size_t)(at - p);
}

static size_t special_print(char *p, bool negative, bool nan, bool inf) {
    const char *s = nan ? "NaN" : inf ? (negative ? "-Infinity" : "Infinity") : negative ? "-0.0" : "0.0";
    size_t n = strlen(s);
    memcpy(p, s, n);
    return n;
}

size_t f64_print(char *p, double v) {
    uint64_t bits;
    memcpy(&bits, &v, 8);
    bool negative = bits >> 63;
    uint64_t frac = bits & ((1ull << 52) - 1);
    int be = (int)(bits >> 52 & 0x7ff);
    if (be == 0x7ff || (be == 0 && frac == 0)) return special_print(p, negative, be && frac, be != 0);
    if (be) {
        uint64_t c = frac | 1ull << 52;
        int q = be - 1075;
        if (q <= 0 && q > -53 && (c & ((1ull << -q) - 1)) == 0) /* a small integer */
            return shortest_print(p, negative, (shortest_t){c >> -q, 0});
        return shortest_print(p, negative, shortest_of(c, q, frac == 0 && be > 1));
    }
    if (frac < 3) { /* 4.9E-324 and 9.9E-324: one more digit than is needed */
        shortest_t d = shortest_of(10 * frac, -1074, false);
        d.exp--;
        return shortest_print(p, negative, d);
    }
    return shortest_print(p, negative, shortest_of(frac, -1074, false));
}

size_t f32_print(char *p, float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    bool negative = bits >> 31;
    uint32_t frac = bits & ((1u << 23) - 1);
    int be = (int)(bits >> 23 & 0xff);
    if (be == 0xff || (be == 0 && frac == 0)) return special_print(p, negative, be && frac, be != 0);
    if (be) {
        uint32_t c = frac | 1u << 23;
        int q = be - 150;
        if (q <= 0 && q > -24 && (c & ((1u << -q) - 1)) == 0)
            return shortest_print(p, negative, (shortest_t){c >> -q, 0});
        return shortest_print(p, negative, shortest_of(c, q, frac == 0 && be > 1));
    }
    if (frac < 8) {
        shortest_t d = shortest_of(10 * (uint64_t)frac, -149, false);
        d.exp--;
        return shortest_print(p, negative, d);
    }
    return shortest_print(p, negative, shortest_of(frac, -149, false));
}

/* ---- text to numbers */
bool i64_parse(const char *p, size_t n, int64_t *ret) {
    bool negative = n && *p == '-';
    if (n && (*p == '-' || *p == '+')) p++, n--;
    if (n == 0) return false;
    uint64_t v = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(unsigned char)p[i] - '0';
        if (d > 9) return false;
        if (i >= 18 && (v > limit / 10 || v * 10 > limit - d)) return false;
        v = v * 10 + d;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

typedef struct literal {
    bool negative, inexact; /* inexact: more digits follow those in w */
    uint64_t w;             /* up to 19 significant digits */
    int64_t exp;            /* value = w * 10^exp */
} literal_t;

static bool literal_scan(const char *p, size_t n, literal_t *ret) {
    const char *end = p + n;
    literal_t l = {0};
    if (p < end && (*p == '-' || *p == '+')) l.negative = *p++ == '-';
    int kept = 0, seen = 0;
    bool point = false;
    for (; p < end; p++) {
        unsigned d = (unsigned)(unsigned char)*p - '0';
        if (d > 9) {
            if (*p != '.' || point) break;
            point = true;
            continue;
        }
        seen = 1;
        if (kept < 19) {
            l.w = l.w * 10 + d;
            kept += l.w != 0;
            l.exp -= point;
        } else {
            l.inexact |= d != 0;
            l.exp += !point;
        }
    }
    if (!seen) return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool minus = false;
        if (++p < end && (*p == '-' || *p == '+')) minus = *p++ == '-';
        if (p == end) return false;
        int64_t e = 0;
        for (; p < end && *p >= '0' && *p <= '9'; p++) e = e < 1000000 ? e * 10 + (*p - '0') : e;
        l.exp += minus ? -e : e;
    }
    if (p != end) return false;
    *ret = l;
    return true;
}

static bool special_parse(const char *p, size_t n, double *ret) {
    bool negative = n && *p == '-';
    if (n && (*p == '-' || *p == '+')) p++, n--;
    if (n == 3 && memcmp(p, "NaN", 3) == 0) *ret = NAN;
    else if (n == 8 && memcmp(p, "Infinity", 8) == 0) *ret = negative ? -INFINITY : INFINITY;
    else return false;
    return true;
}

/* The exact way, for the few texts near the middle of two neighbours and for the ends of the range. */
static double libc_parse(const char *p, size_t n, bool single) {
    char small[128], *text = n < sizeof small ? small : xmalloc(n + 1);
    memcpy(text, p, n);
    text[n] = 0;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ASSERT(c != (locale_t)0);
    double v = single ? (double)strtof_l(text, NULL, c) : strtod_l(text, NULL, c);
    freelocale(c);
    if (text != small) free(text);
    return v;
}

/* Rounds the 128-bit number (hi, lo) * 2^e, hi's top bit set, to 53 bits, half to even; sticky: bits follow. */
static double round_53(uint64_t hi, uint64_t lo, int e, bool sticky) {
    uint64_t m = hi >> 11, rest = hi & 0x7ff;
    bool more = lo != 0 || sticky;
    if (rest > 0x400 || (rest == 0x400 && (more || (m & 1)))) m++;
    if (m == 1ull << 53) {
        m >>= 1;
        e++;
    }
    uint64_t bits = (m & ((1ull << 52) - 1)) | (uint64_t)(e + 64 + 11 + 52 + 1023) << 52;
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

static const double exact_pow10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* false: undecided */
static bool product_parse(const literal_t *l, double *ret) {
    if (l->exp < -290 || l->exp > 288) return false; /* far from subnormals and overflow with any 19 digits */
    int q = (int)l->exp, shift = __builtin_clzll(l->w);
    pow10_bits_t g = pow10_bits[q - POW10_MIN];
    uint64_t w = l->w << shift;
    u128 x = (u128)g.lo * w, y = (u128)g.hi * w;
    y += (uint64_t)(x >> 64);
    /* value = (y, low limb of x) * 2^e; the table is too large by less than 1, so y by less than 2 */
    int e = floor_log2_pow10(q) - 127 + 64 - shift;
    u128 top = y, bottom = y - 2;
    double a = 0, b = 0;
    for (int i = 0; i < 2; i++) {
        u128 v = i ? bottom : top;
        int ee = e;
        if (!(v >> 127)) {
            v <<= 1;
            ee--;
        }
        if (!(v >> 127)) return false;
        double d = round_53((uint64_t)(v >> 64), (uint64_t)v, ee, true);
        if (i) b = d;
        else a = d;
    }
    if (a != b) return false;
    *ret = a;
    return true;
}

bool f64_parse(const char *p, size_t n, double *ret) {
    literal_t l;
    if (!literal_scan(p, n, &l)) return special_parse(p, n, ret);
    double v;
    if (l.w == 0) {
        v = 0;
    } else if (!l.inexact && l.w <= 1ull << 53 && l.exp >= -22 && l.exp <= 22) {
        v = l.exp < 0 ? (double)l.w / exact_pow10[-l.exp] : (double)l.w * exact_pow10[l.exp];
    } else if (l.inexact || !product_parse(&l, &v)) {
        *ret = libc_parse(p, n, false);
        return true;
    }
    *ret = l.negative ? -v : v;
    return true;
}

bool f32_parse(const char *p, size_t n, float *ret) {
    double d;
    if (!f64_parse(p, n, &d)) return false;
    uint64_t bits;
    memcpy(&bits, &d, 8);
    /* rounding twice is wrong only from exactly the middle, or where floats thin out */
    bool middle = (bits & 0x1fffffff) == 0x10000000, tiny = d != 0 && fabs(d) < 0x1p-126;
    *ret = (middle || tiny) && !isinf(d) ? (float)libc_parse(p, n, true) : (float)d;
    return true;
}
