/* decimal.c: exact decimals on 128 bits, with 256 bits in between. */
#include "engine/decimal.h"
#include "engine/number.h"

typedef struct u256 {
    u128 hi, lo;
} u256_t;

static u128 pow10_of(int n) {
    static const uint64_t small[20] = {1ull,
                                       10ull,
                                       100ull,
                                       1000ull,
                                       10000ull,
                                       100000ull,
                                       1000000ull,
                                       10000000ull,
                                       100000000ull,
                                       1000000000ull,
                                       10000000000ull,
                                       100000000000ull,
                                       1000000000000ull,
                                       10000000000000ull,
                                       100000000000000ull,
                                       1000000000000000ull,
                                       10000000000000000ull,
                                       100000000000000000ull,
                                       1000000000000000000ull,
                                       10000000000000000000ull};
    ASSERT(n >= 0 && n <= 38);
    return n < 20 ? (u128)small[n] : (u128)small[19] * small[n - 19];
}

i128 decimal_pow10(int n) { return (i128)pow10_of(n); }

static inline u128 magnitude(i128 v) { return v < 0 ? -(u128)v : (u128)v; }
static inline i128 with_sign(u128 v, bool negative) { return negative ? -(i128)v : (i128)v; }

static int digits_of(u128 v) {
    int lo = 1, hi = 39; /* the number of digits lies in lo..hi */
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (mid <= 38 && v >= pow10_of(mid)) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

int decimal_digits(i128 v) { return digits_of(magnitude(v)); }

bool decimal_fits(i128 v, int precision) {
    return precision >= DECIMAL_DIGITS_MAX ? magnitude(v) < pow10_of(38)
                                           : magnitude(v) < pow10_of(precision < 0 ? 0 : precision);
}

/* ---- 256 bits */
static u256_t mul_wide(u128 a, u128 b) {
    uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
    u128 p00 = (u128)a0 * b0, p01 = (u128)a0 * b1, p10 = (u128)a1 * b0, p11 = (u128)a1 * b1;
    u128 mid = (p00 >> 64) + (uint64_t)p01 + (uint64_t)p10;
    return (u256_t){p11 + (p01 >> 64) + (p10 >> 64) + (mid >> 64), (mid << 64) | (uint64_t)p00};
}

static int cmp_wide(u256_t a, u256_t b) {
    if (a.hi != b.hi) return a.hi < b.hi ? -1 : 1;
    return a.lo < b.lo ? -1 : a.lo > b.lo;
}

static u256_t sub_wide(u256_t a, u256_t b) { return (u256_t){a.hi - b.hi - (a.lo < b.lo), a.lo - b.lo}; }
static u256_t add_wide(u256_t a, u256_t b) {
    u128 lo = a.lo + b.lo;
    return (u256_t){a.hi + b.hi + (lo < a.lo), lo};
}

/* The divisor is below 2^255 and not zero. */
static u256_t div_wide(u256_t n, u256_t d, u256_t *ret_rem) {
    if (!n.hi && !d.hi) {
        *ret_rem = (u256_t){0, n.lo % d.lo};
        return (u256_t){0, n.lo / d.lo};
    }
    u256_t q = {0, 0}, r = {0, 0};
    if (!d.hi && !(d.lo >> 64)) {
        uint64_t limbs[4] = {(uint64_t)(n.hi >> 64), (uint64_t)n.hi, (uint64_t)(n.lo >> 64), (uint64_t)n.lo};
        u128 rem = 0;
        uint64_t out[4];
        for (int i = 0; i < 4; i++) {
            u128 cur = rem << 64 | limbs[i];
            out[i] = (uint64_t)(cur / (uint64_t)d.lo);
            rem = cur % (uint64_t)d.lo;
        }
        *ret_rem = (u256_t){0, rem};
        return (u256_t){(u128)out[0] << 64 | out[1], (u128)out[2] << 64 | out[3]};
    }
    for (int i = 255; i >= 0; i--) {
        r = (u256_t){r.hi << 1 | r.lo >> 127, r.lo << 1 | ((i >= 128 ? n.hi >> (i - 128) : n.lo >> i) & 1)};
        if (cmp_wide(r, d) >= 0) {
            r = sub_wide(r, d);
            if (i >= 128) q.hi |= (u128)1 << (i - 128);
            else q.lo |= (u128)1 << i;
        }
    }
    *ret_rem = r;
    return q;
}

static u256_t div_half_up(u256_t n, u256_t d) {
    u256_t rem, q = div_wide(n, d, &rem);
    if (cmp_wide(add_wide(rem, rem), d) >= 0) q = add_wide(q, (u256_t){0, 1});
    return q;
}

/* n * 10^-down, HALF_UP, into precision digits. down is at most 76 and may be negative. */
static bool settle(u256_t n, bool negative, int down, int precision, i128 *ret) {
    if (down > 38) { /* HALF_UP is decided by the first digit dropped alone: cut the digits behind it first */
        u256_t rem;
        n = div_wide(n, (u256_t){0, pow10_of(down - 38)}, &rem);
        down = 38;
    }
    if (down > 0) {
        n = div_half_up(n, (u256_t){0, pow10_of(down)});
        down = 0;
    }
    if (n.hi || n.lo >> 127) return false;
    while (down < 0 && n.lo) {
        int step = -down > 38 ? 38 : -down;
        n = mul_wide(n.lo, pow10_of(step));
        if (n.hi || n.lo >> 127) return false;
        down += step;
    }
    i128 v = with_sign(n.lo, negative);
    if (!decimal_fits(v, precision)) return false;
    *ret = v;
    return true;
}

bool decimal_rescale(i128 v, int from_scale, int to_scale, int precision, i128 *ret) {
    if (from_scale == to_scale) {
        if (!decimal_fits(v, precision)) return false;
        *ret = v;
        return true;
    }
    int down = from_scale - to_scale;
    if (down > 76) down = 76;
    return settle((u256_t){0, magnitude(v)}, v < 0, down, precision, ret);
}

i128 decimal_truncate(i128 v, int scale, int digits) {
    int cut = scale - digits;
    if (cut <= 0) return v;
    if (cut > 38) return 0;
    i128 p = decimal_pow10(cut);
    return v / p * p;
}

bool decimal_round(i128 v, int scale, int digits, i128 *ret) {
    int cut = scale - digits;
    if (cut <= 0) {
        *ret = v;
        return true;
    }
    if (cut > 38) {
        *ret = 0;
        return true;
    }
    u256_t n = {0, magnitude(v)}, p = {0, pow10_of(cut)};
    u256_t q = div_half_up(n, p);
    u256_t back = mul_wide(q.lo, p.lo);
    if (back.hi || back.lo >= pow10_of(38)) return false;
    *ret = with_sign(back.lo, v < 0);
    return true;
}

static u256_t aligned(i128 v, int scale, int to_scale) { return mul_wide(magnitude(v), pow10_of(to_scale - scale)); }

int decimal_compare(i128 a, int a_scale, i128 b, int b_scale) {
    if (a_scale == b_scale) return a < b ? -1 : a > b;
    if ((a < 0) != (b < 0)) return a < 0 ? -1 : 1;
    int s = a_scale > b_scale ? a_scale : b_scale;
    int c = cmp_wide(aligned(a, a_scale, s), aligned(b, b_scale, s));
    return a < 0 ? -c : c;
}

bool decimal_add(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret) {
    if (a_scale == b_scale && a_scale == scale) { /* below 2 * 10^38: no overflow of i128 */
        if (!decimal_fits(a + b, precision)) return false;
        *ret = a + b;
        return true;
    }
    int s = a_scale > b_scale ? a_scale : b_scale;
    u256_t x = aligned(a, a_scale, s), y = aligned(b, b_scale, s);
    bool negative = a < 0;
    if ((a < 0) == (b < 0)) {
        x = add_wide(x, y);
    } else if (cmp_wide(x, y) >= 0) {
        x = sub_wide(x, y);
    } else {
        x = sub_wide(y, x);
        negative = !negative;
    }
    return settle(x, negative, s - scale, precision, ret);
}

bool decimal_mul(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret) {
    return settle(mul_wide(magnitude(a), magnitude(b)), (a < 0) != (b < 0), a_scale + b_scale - scale, precision, ret);
}

bool decimal_div(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret) {
    ASSERT(b != 0);
    u128 x = magnitude(a), y = magnitude(b);
    if (x == 0) {
        *ret = 0;
        return true;
    }
    int e = digits_of(y) + 38 - digits_of(x); /* at least 1: the quotient has 38 or 39 digits */
    u256_t n = e <= 38 ? mul_wide(x, pow10_of(e)) : mul_wide(x * pow10_of(e - 38), pow10_of(38));
    u256_t rem, q = div_wide(n, (u256_t){0, y}, &rem);
    if (q.hi || q.lo >= pow10_of(38)) {
        e--;
        n = e <= 38 ? mul_wide(x, pow10_of(e)) : mul_wide(x * pow10_of(e - 38), pow10_of(38));
    }
    q = div_half_up(n, (u256_t){0, y});
    int down = a_scale - b_scale + e - scale;
    return settle(q, (a < 0) != (b < 0), down > 76 ? 76 : down, precision, ret);
}

bool decimal_mod(i128 a, int a_scale, i128 b, int b_scale, int precision, int scale, i128 *ret) {
    ASSERT(b != 0);
    int s = a_scale > b_scale ? a_scale : b_scale;
    u256_t rem;
    div_wide(aligned(a, a_scale, s), aligned(b, b_scale, s), &rem);
    return settle(rem, a < 0, s - scale, precision, ret);
}

/* ---- text */
size_t decimal_print(char *p, i128 v, int scale) {
    char digits[40];
    int n = 0;
    u128 m = magnitude(v);
    uint64_t low = (uint64_t)(m % 10000000000000000000ull), high = (uint64_t)(m / 10000000000000000000ull);
    if (high) {
        n = (int)u64_print(digits, high);
        n += (int)u64_print_padded(digits + n, low, 19);
    } else {
        n = (int)u64_print(digits, low);
    }
    char *at = p;
    if (v < 0) *at++ = '-';
    int whole = n - scale;
    if (whole > 0) {
        memcpy(at, digits, (size_t)whole);
        at += whole;
    } else {
        *at++ = '0';
    }
    if (scale > 0) {
        *at++ = '.';
        for (int i = whole; i < 0; i++) *at++ = '0';
        int from = whole > 0 ? whole : 0;
        memcpy(at, digits + from, (size_t)(n - from));
        at += n - from;
    }
    return (size_t)(at - p);
}

bool decimal_parse(const char *p, size_t n, int precision, int scale, i128 *ret) {
    const char *end = p + n, *digits;
    bool negative = false, point = false;
    if (p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
    digits = p;
    int64_t whole = 0, seen = 0, exp = 0;
    for (; p < end; p++) {
        if (*p == '.' && !point) {
            point = true;
        } else if (*p >= '0' && *p <= '9') {
            seen++;
            whole += !point;
        } else {
            break;
        }
    }
    const char *digits_end = p;
    if (!seen) return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool minus = false;
        if (++p < end && (*p == '-' || *p == '+')) minus = *p++ == '-';
        if (p == end) return false;
        for (; p < end && *p >= '0' && *p <= '9'; p++) exp = exp < 1000000 ? exp * 10 + (*p - '0') : exp;
        if (minus) exp = -exp;
    }
    if (p != end) return false;
    int64_t weight = whole - 1 + exp; /* power of ten of the next digit */
    u128 v = 0;
    for (const char *d = digits; d < digits_end; d++) {
        if (*d == '.') continue;
        if (weight < -scale) {
            if (weight == -scale - 1 && *d >= '5') v++;
            weight = -scale - 1;
            break;
        }
        if (v >= pow10_of(37)) return false;
        v = v * 10 + (unsigned)(*d - '0');
        weight--;
    }
    for (; weight >= -scale && v; weight--) {
        if (v >= pow10_of(37)) return false;
        v *= 10;
    }
    i128 sv = with_sign(v, negative);
    if (!decimal_fits(sv, precision)) return false;
    *ret = sv;
    return true;
}

double decimal_to_f64(i128 v, int scale) {
    static const double p10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (magnitude(v) <= (u128)1 << 53 && scale <= 22) return (double)(int64_t)v / p10[scale];
    char text[DECIMAL_TEXT_MAX];
    double d = 0;
    size_t n = decimal_print(text, v, scale);
    bool ok = f64_parse(text, n, &d);
    ASSERT(ok);
    return d;
}

bool decimal_from_f64(double v, int precision, int scale, i128 *ret) {
    char text[NUMBER_F64_MAX];
    size_t n = f64_print(text, v);
    return decimal_parse(text, n, precision, scale, ret); /* NaN and infinity do not parse */
}
