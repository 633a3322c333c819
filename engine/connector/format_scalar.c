/* format_scalar.c: scalar values from and to text, by the rules of Flink's JSON and CSV formats. */
#include "engine/connector/format_int.h"
#include "engine/datetime.h"
#include "engine/decimal.h"
#include "engine/number.h"
#include <math.h>

static void trim(const char **p, size_t *n) { /* java.lang.String.trim */
    while (*n && (uint8_t)**p <= ' ') {
        (*p)++;
        (*n)--;
    }
    while (*n && (uint8_t)(*p)[*n - 1] <= ' ') (*n)--;
}

static bool is_true(const char *p, size_t n) {
    return n == 4 && (p[0] | 32) == 't' && (p[1] | 32) == 'r' && (p[2] | 32) == 'u' && (p[3] | 32) == 'e';
}

/* Double.parseDouble takes a type suffix behind the digits. */
static bool parse_f64(const char *p, size_t n, double *ret) {
    if (f64_parse(p, n, ret)) return true;
    return n > 1 && strchr("dDfF", p[n - 1]) && p[n - 2] >= '0' && p[n - 2] <= '9' && f64_parse(p, n - 1, ret);
}
static bool parse_f32(const char *p, size_t n, float *ret) {
    if (f32_parse(p, n, ret)) return true;
    return n > 1 && strchr("dDfF", p[n - 1]) && p[n - 2] >= '0' && p[n - 2] <= '9' && f32_parse(p, n - 1, ret);
}

static const char *integer_store(rcol_t *c, uint32_t i, scalar_token_t token, const char *p, size_t n, int64_t min,
                                 int64_t max) {
    int64_t v;
    bool wide = c->type->kind != TYPE_TINYINT && c->type->kind != TYPE_SMALLINT;
    if (token == SCALAR_FLOAT && wide) { /* Jackson's getIntValue and getLongValue: through double, fraction cut */
        double d;
        if (!f64_parse(p, n, &d)) return "is not a number";
        if (!(d >= (double)min && d <= (double)max)) return "is out of range";
        v = d >= 0x1p63 ? INT64_MAX : (int64_t)d;
    } else if (!i64_parse(p, n, &v)) {
        size_t digits = n && (*p == '-' || *p == '+') ? 1 : 0;
        if (digits == n) return "is not an integer";
        for (size_t k = digits; k < n; k++)
            if (p[k] < '0' || p[k] > '9') return "is not an integer";
        return "is out of range";
    }
    if (v < min || v > max) return "is out of range";
    rcol_i64(c, i, v);
    return NULL;
}

/* [y]yyyy-[M]M-[d]d with one-digit months and days made two, in `to`; java.sql.Timestamp.valueOf takes both. */
static size_t widen_date(const char *p, size_t n, char *to, size_t room) {
    size_t at = 0, digits = 0;
    int part = 0;
    for (size_t k = 0; k <= n && at + 3 < room; k++) {
        bool digit = k < n && p[k] >= '0' && p[k] <= '9';
        if (digit) {
            to[at++] = p[k];
            digits++;
            continue;
        }
        if (part >= 1 && part <= 2 && digits == 1) {
            to[at] = to[at - 1];
            to[at - 1] = '0';
            at++;
        }
        part++;
        digits = 0;
        if (k < n) to[at++] = p[k];
    }
    return at;
}

/* Flink's formats do not look at the precision; what they read beyond it is lost on the way to the next task, below the millisecond. */
static int64_t cut_precision(int64_t us, int precision) {
    return precision < 0 || precision > 6 ? us : us - floor_mod(us, precision_us(MAX(precision, 3)));
}

/* ISO_LOCAL_TIME: the seconds may be missing; the strict parser wants them. */
static size_t iso_complete(const char *p, size_t n, char *to, size_t room) {
    const char *t = memchr(p, 'T', n);
    if (!t) t = memchr(p, 't', n);
    if (!t || n + 4 > room) return 0;
    memcpy(to, p, n);
    to[t - p] = 'T';
    size_t time = (size_t)(t - p) + 1, end = time;
    while (end < n && p[end] != 'Z') end++;
    if (end - time != 5) return n;
    memcpy(to + end, ":00", 3);
    memcpy(to + end + 3, p + end, n - end);
    return n + 3;
}

static const char *timestamp_store(rcol_t *c, uint32_t i, const scalar_rules_t *r, const char *p, size_t n) {
    bool utc = c->type->kind == TYPE_TIMESTAMP_LTZ;
    char text[64];
    int64_t us;
    bool ok = timestamp_parse_strict(p, n, r->iso ? 'T' : ' ', utc, &us);
    if (!ok && r->iso) {
        size_t m = iso_complete(p, n, text, sizeof text);
        ok = m && timestamp_parse_strict(text, m, 'T', utc, &us);
    }
    if (!ok && r->csv && n < 48) {
        size_t m = widen_date(p, n, text, sizeof text);
        ok = timestamp_parse_strict(text, m, ' ', utc, &us);
    }
    if (!ok)
        return utc ? (r->iso ? "is not a timestamp (yyyy-MM-ddTHH:mm:ss[.f]Z)" : "is not a timestamp (yyyy-MM-dd HH:mm:ss[.f]Z)")
                   : (r->iso ? "is not a timestamp (yyyy-MM-ddTHH:mm:ss[.f])" : "is not a timestamp (yyyy-MM-dd HH:mm:ss[.f])");
    c->nulls[i] = 0;
    c->i64[i] = cut_precision(us, c->type->precision);
    return NULL;
}

static const char *date_store(rcol_t *c, uint32_t i, const scalar_rules_t *r, const char *p, size_t n) {
    char text[64];
    int32_t days;
    bool ok = date_parse_strict(p, n, &days);
    if (!ok && r->csv && n < 48) {
        size_t m = widen_date(p, n, text, sizeof text); /* java.sql.Date.valueOf: February 30 is March 1 or 2 */
        bool late = m == 10 && text[8] <= '3' && text[8] >= '2';
        if (late) {
            int day = (text[8] - '0') * 10 + text[9] - '0', back = day - 28;
            text[8] = '2';
            text[9] = '8';
            ok = day <= 31 && back >= 0 && date_parse_strict(text, m, &days);
            days += back;
        } else {
            ok = date_parse_strict(text, m, &days);
        }
    }
    if (!ok) return "is not a date (yyyy-MM-dd)";
    c->nulls[i] = 0;
    c->i32[i] = days;
    return NULL;
}

static const char *time_store(rcol_t *c, uint32_t i, const scalar_rules_t *r, const char *p, size_t n) {
    char text[16];
    int32_t ms;
    if (r->csv && n == 5) { /* LocalTime.parse: without seconds too */
        memcpy(text, p, 5);
        memcpy(text + 5, ":00", 3);
        p = text;
        n = 8;
    }
    if (!time_parse_strict(p, n, &ms)) return "is not a time (HH:mm:ss[.f])";
    c->nulls[i] = 0;
    c->i32[i] = ms; /* milliseconds also of a TIME(0), as in Flink */
    return NULL;
}

static const char *decimal_store(rcol_t *c, uint32_t i, const char *p, size_t n) {
    i128 v;
    if (decimal_parse(p, n, c->type->precision, c->type->scale, &v)) {
        c->nulls[i] = 0;
        c->dec[i] = v;
        return NULL;
    }
    double d; /* a number all the same: too many digits make NULL (DecimalData.fromBigDecimal) */
    if (!f64_parse(p, n, &d) || (n && (p[n - 1] == 'N' || p[n - 1] == 'y'))) return "is not a number";
    rcol_null(c, i);
    return NULL;
}

static const char *binary_store(rowstore_t *s, rcol_t *c, uint32_t i, scalar_token_t token, const char *p, size_t n) {
    if (token != SCALAR_STRING) return "is not a base64 string";
    char *to = rowstore_bytes(s, n);
    size_t len = 0;
    bool ok = base64_decode(p, n, to, &len);
    rowstore_unused(s, n - (ok ? len : 0));
    if (!ok) return "is not base64";
    c->nulls[i] = 0;
    c->str[i] = (str_t){to, (uint32_t)len, 0};
    return NULL;
}

const char *scalar_store(rowstore_t *s, rcol_t *c, uint32_t i, const scalar_rules_t *r, scalar_token_t token,
                         const char *p, size_t n) {
    type_kind_t kind = c->type->kind;
    if (kind == TYPE_BINARY || kind == TYPE_VARBINARY) return binary_store(s, c, i, token, p, n);
    if (kind == TYPE_DATE) return date_store(c, i, r, p, n);
    if (kind == TYPE_TIME) return time_store(c, i, r, p, n);
    if (kind == TYPE_TIMESTAMP || kind == TYPE_TIMESTAMP_LTZ) return timestamp_store(c, i, r, p, n);
    if (kind == TYPE_DECIMAL && r->csv && n && ((uint8_t)*p <= ' ' || (uint8_t)p[n - 1] <= ' ')) return "is not a number";
    trim(&p, &n);
    switch (kind) {
    case TYPE_BOOLEAN:
        c->nulls[i] = 0;
        c->b[i] = is_true(p, n); /* Boolean.parseBoolean: all else is false */
        return NULL;
    case TYPE_TINYINT: return integer_store(c, i, token, p, n, INT8_MIN, INT8_MAX);
    case TYPE_SMALLINT: return integer_store(c, i, token, p, n, INT16_MIN, INT16_MAX);
    case TYPE_INT:
    case TYPE_INTERVAL_MONTH: return integer_store(c, i, token, p, n, INT32_MIN, INT32_MAX);
    case TYPE_BIGINT:
    case TYPE_INTERVAL_SECOND: return integer_store(c, i, token, p, n, INT64_MIN, INT64_MAX);
    case TYPE_FLOAT:
        if (!parse_f32(p, n, &c->f32[i])) return "is not a number";
        c->nulls[i] = 0;
        return NULL;
    case TYPE_DOUBLE:
        if (!parse_f64(p, n, &c->f64[i])) return "is not a number";
        c->nulls[i] = 0;
        return NULL;
    case TYPE_DECIMAL: return decimal_store(c, i, p, n);
    default: return "has a type this format cannot read";
    }
}

/* ------------------------------------------------------------------ base64, utf-8, BigDecimal */
static int base64_digit(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *p, size_t n, char *to, size_t *ret_n) {
    size_t at = 0, digits = 0, pad = 0;
    uint32_t acc = 0;
    for (size_t k = 0; k < n; k++) {
        uint8_t c = (uint8_t)p[k];
        if (c <= ' ') continue;
        if (c == '=') {
            pad++;
            continue;
        }
        int v = base64_digit(c);
        if (v < 0 || pad) return false;
        acc = acc << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            to[at++] = (char)(acc >> 16);
            to[at++] = (char)(acc >> 8);
            to[at++] = (char)acc;
            acc = 0;
        }
    }
    size_t rest = digits % 4;
    if (rest == 1 || pad != (rest ? 4 - rest : 0)) return false;
    if (rest == 2) to[at++] = (char)(acc >> 4);
    if (rest == 3) {
        to[at++] = (char)(acc >> 10);
        to[at++] = (char)(acc >> 2);
    }
    *ret_n = at;
    return true;
}

void base64_encode(buf_t *out, slice_t b) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t k = 0; k < b.len; k += 3) {
        size_t left = b.len - k;
        uint32_t v = (uint32_t)b.p[k] << 16 | (left > 1 ? (uint32_t)b.p[k + 1] << 8 : 0) | (left > 2 ? b.p[k + 2] : 0);
        char q[4] = {digit[v >> 18], digit[v >> 12 & 63], left > 1 ? digit[v >> 6 & 63] : '=',
                     left > 2 ? digit[v & 63] : '='};
        buf_put(out, q, 4);
    }
}

void decimal_put_stripped(buf_t *out, i128 v, int scale, bool plain) {
    char digits[48];
    if (v == 0) {
        buf_put_u8(out, '0');
        return;
    }
    bool negative = v < 0;
    u128 u = negative ? -(u128)v : (u128)v;
    while (u % 10 == 0) {
        u /= 10;
        scale--;
    }
    int n = 0;
    for (; u; u /= 10) digits[sizeof digits - 1 - n++] = (char)('0' + (int)(u % 10));
    const char *d = digits + sizeof digits - n;
    if (negative) buf_put_u8(out, '-');
    int adjusted = n - 1 - scale;
    if (!plain && (scale < 0 || adjusted < -6)) {
        buf_put_u8(out, (uint8_t)d[0]);
        if (n > 1) {
            buf_put_u8(out, '.');
            buf_put(out, d + 1, (size_t)n - 1);
        }
        buf_printf(out, "E%+d", adjusted);
        return;
    }
    if (scale <= 0) {
        buf_put(out, d, (size_t)n);
        for (int k = 0; k < -scale; k++) buf_put_u8(out, '0');
        return;
    }
    if (scale >= n) {
        buf_puts(out, "0.");
        for (int k = 0; k < scale - n; k++) buf_put_u8(out, '0');
        buf_put(out, d, (size_t)n);
        return;
    }
    buf_put(out, d, (size_t)(n - scale));
    buf_put_u8(out, '.');
    buf_put(out, d + n - scale, (size_t)scale);
}
