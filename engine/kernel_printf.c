/* kernel_printf.c: PRINTF as java.util.Formatter with Locale.US: %[index$][flags][width][.precision]conversion.
 *
 * What Java refuses (an unknown conversion, an argument of the wrong kind, flags that do not suit) gives NULL, as in Flink.
 * Floating point is rounded half up on its shortest digits, which C's printf does not. */
#include "engine/decimal.h"
#include "engine/func_int.h"
#include "engine/number.h"
#include "engine/rules.h"
#include "engine/text.h"
#include <math.h>
#include <stdlib.h>

#define PRINTF_RESULT_MAX (64u << 20)
#define WIDTH_MAX 100000

typedef struct spec {
    int index, width, precision; /* 0, -1, -1: not written; index from 1, -1: the argument before */
    bool left, sharp, plus, space, zero, comma, paren, upper;
    char conversion; /* lower case */
} spec_t;

static const char *read_number(const char *p, const char *end, int *ret) {
    int v = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) v = MIN(v * 10 + (*p - '0'), WIDTH_MAX + 1);
    *ret = v;
    return p;
}

static bool *flag_of(spec_t *s, char ch) {
    switch (ch) {
    case '-': return &s->left;
    case '#': return &s->sharp;
    case '+': return &s->plus;
    case ' ': return &s->space;
    case '0': return &s->zero;
    case ',': return &s->comma;
    case '(': return &s->paren;
    default: return NULL;
    }
}

/* What stands behind %; NULL: malformed. */
static const char *read_spec(const char *p, const char *end, spec_t *s) {
    *s = (spec_t){.width = -1, .precision = -1};
    int v;
    const char *q = read_number(p, end, &v);
    if (q > p && q < end && *q == '$') {
        s->index = v;
        p = q + 1;
        if (v == 0) return NULL;
    } else if (p < end && *p == '<') {
        s->index = -1;
        p++;
    }
    for (bool *f; p < end && (f = flag_of(s, *p)); p++) {
        if (*f) return NULL;
        *f = true;
    }
    q = read_number(p, end, &v);
    if (q > p) s->width = v;
    if (q < end && *q == '.') {
        p = q + 1;
        q = read_number(p, end, &s->precision);
        if (q == p) return NULL;
    }
    if (q == end || s->width > WIDTH_MAX || s->precision > WIDTH_MAX) return NULL;
    s->upper = *q >= 'A' && *q <= 'Z';
    s->conversion = (char)(s->upper ? *q | 32 : *q);
    if (s->upper && !strchr("BHSCXEGA", *q)) return NULL;
    return q + 1;
}

static bool suits(const spec_t *s) {
    bool numeric = strchr("doxefg", s->conversion) && s->conversion;
    if (s->left && s->width < 0) return false;
    if (!numeric) return !s->plus && !s->space && !s->zero && !s->comma && !s->paren && !s->sharp;
    if ((s->zero && s->width < 0) || (s->zero && s->left) || (s->plus && s->space)) return false;
    switch (s->conversion) {
    case 'd': return !s->sharp && s->precision < 0;
    case 'o':
    case 'x': return !s->comma && !s->plus && !s->space && !s->paren && s->precision < 0;
    case 'e': return !s->comma;
    case 'g': return !s->sharp;
    default: return true;
    }
}

static void put_padded(const spec_t *s, buf_t *out, str_t text) {
    int64_t pad = s->width - (int64_t)text_length(text);
    if (!s->left)
        for (; pad > 0; pad--) buf_put_u8(out, ' ');
    buf_put(out, text.p, text.len);
    for (; pad > 0; pad--) buf_put_u8(out, ' ');
}

static void put_text(const spec_t *s, buf_t *out, str_t text, mem_t *m) {
    if (s->precision >= 0) text.len = text_offset(text, (uint32_t)s->precision);
    if (s->upper) text = text_case(text, true, m);
    put_padded(s, out, text);
}

/* Sign, grouping, zeros in front, width around plain digits with perhaps a point. */
static void put_digits(const spec_t *s, buf_t *out, bool negative, const char *prefix, const char *d, size_t n, mem_t *m) {
    const char *point = memchr(d, '.', n);
    size_t whole = point ? (size_t)(point - d) : n;
    char *p = mem_alloc(m, n * 2 + (size_t)MAX(s->width, 0) + 8);
    size_t at = 0;
    if (negative) p[at++] = s->paren ? '(' : '-';
    else if (s->plus || s->space) p[at++] = s->plus ? '+' : ' ';
    for (; *prefix; prefix++) p[at++] = *prefix;
    size_t commas = s->comma && whole ? (whole - 1) / 3 : 0, tail = negative && s->paren ? 1 : 0;
    bool finite = d[0] >= '0' && d[0] <= '9';
    if (!finite) commas = 0;
    for (int64_t zeros = (int64_t)s->width - (int64_t)(at + n + commas + tail); s->zero && finite && zeros > 0; zeros--) p[at++] = '0';
    for (size_t k = 0; k < n; k++) {
        if (commas && k && k < whole && (whole - k) % 3 == 0) p[at++] = ',';
        p[at++] = d[k];
    }
    if (tail) p[at++] = ')';
    str_t text = {.p = p, .len = (uint32_t)at};
    if (s->upper) text = text_case(text, true, m);
    put_padded(s, out, text);
}

static void put_integer(const spec_t *s, buf_t *out, int64_t v, int width, mem_t *m) {
    char d[32];
    size_t n = 0;
    if (s->conversion == 'd') {
        n = u64_print(d, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
        put_digits(s, out, v < 0, "", d, n, m);
        return;
    }
    uint64_t u = (uint64_t)v & (width == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * width)) - 1);
    unsigned bits = s->conversion == 'x' ? 4 : 3;
    for (unsigned shift = 66 - 66 % bits;;) {
        shift -= bits;
        unsigned digit = shift < 64 ? (unsigned)(u >> shift) & ((1u << bits) - 1) : 0;
        if (digit || n || shift == 0) d[n++] = "0123456789abcdef"[digit];
        if (shift == 0) break;
    }
    put_digits(s, out, false, !s->sharp ? "" : bits == 4 ? "0x" : "0", d, n, m);
}

/* The shortest digits of v > 0: v = 0.digits * 10^point */
static int shortest(double v, char digits[static NUMBER_F64_MAX], int *ret_point) {
    char t[NUMBER_F64_MAX];
    size_t n = f64_print(t, v);
    int count = 0, point = 0;
    bool behind = false;
    int64_t e = 0;
    for (size_t k = 0; k < n; k++) {
        if (t[k] == '.') behind = true;
        else if (t[k] == 'E') {
            i64_parse(t + k + 1, n - k - 1, &e);
            break;
        } else {
            if (count == 0 && t[k] == '0') {
                point -= behind;
                continue;
            }
            digits[count++] = t[k];
            point += !behind;
        }
    }
    while (count > 1 && digits[count - 1] == '0') count--;
    *ret_point = point + (int)e;
    return count;
}

/* Keeps `keep` digits, half up; may carry into a new first digit. */
static int round_digits(char *digits, int n, int keep, int *point) {
    if (keep >= n) return n;
    if (keep < 0) return 0;
    bool up = digits[keep] >= '5';
    n = keep;
    for (int k = keep - 1; up && k >= 0; k--) {
        up = digits[k] == '9';
        digits[k] = (char)(up ? '0' : digits[k] + 1);
    }
    if (up) {
        memmove(digits + 1, digits, (size_t)n);
        digits[0] = '1';
        n++;
        (*point)++;
    }
    return n;
}

static size_t fixed(char *p, const char *digits, int n, int point, int precision, bool sharp) {
    size_t at = 0;
    for (int k = 0; k < point; k++) p[at++] = k < n ? digits[k] : '0';
    if (point <= 0 || n == 0) p[at++] = '0';
    if (n == 0 && at > 1) at = 1;
    if (precision > 0 || sharp) p[at++] = '.';
    for (int k = 0; k < precision; k++) {
        int i = point + k;
        p[at++] = i >= 0 && i < n ? digits[i] : '0';
    }
    return at;
}

static size_t scientific(char *p, const char *digits, int n, int point, int precision, bool sharp) {
    size_t at = 0;
    p[at++] = n ? digits[0] : '0';
    if (precision > 0 || sharp) p[at++] = '.';
    for (int k = 1; k <= precision; k++) p[at++] = k < n ? digits[k] : '0';
    int e = n ? point - 1 : 0;
    p[at++] = 'e';
    p[at++] = e < 0 ? '-' : '+';
    return at + u64_print_padded(p + at, (uint64_t)abs(e), abs(e) > 99 ? 3 : 2);
}

static void put_double(const spec_t *s, buf_t *out, double v, mem_t *m) {
    char digits[NUMBER_F64_MAX + 1];
    bool negative = signbit(v) && !isnan(v);
    int precision = s->precision < 0 ? 6 : s->precision, point = 0, n = 0;
    if (!isfinite(v)) {
        const char *word = isnan(v) ? "NaN" : "Infinity";
        put_digits(s, out, negative, "", word, strlen(word), m);
        return;
    }
    if (v != 0) n = shortest(fabs(v), digits, &point);
    char *p = mem_alloc(m, (size_t)precision + 400);
    size_t len;
    char how = s->conversion;
    if (how == 'g') {
        if (precision == 0) precision = 1;
        n = round_digits(digits, n, precision, &point);
        bool plain = n == 0 || (point > -4 && point <= precision);
        precision -= plain ? MAX(n ? point : 1, point) : 1;
        how = plain ? 'f' : 'e';
    }
    if (how == 'f') {
        n = round_digits(digits, n, point + precision, &point);
        len = fixed(p, digits, n, n ? point : 1, precision, s->sharp);
    } else {
        n = round_digits(digits, n, precision + 1, &point);
        len = scientific(p, digits, n, point, precision, s->sharp);
    }
    put_digits(s, out, negative, "", p, len, m);
}

/* The text of %s; Flink hands dates and times over as the numbers they are kept as. */
static str_t value_text(const column_t *c, uint32_t i, char tmp[static DECIMAL_TEXT_MAX]) {
    const type_t *t = c->type;
    size_t n;
    switch (t->kind) {
    case TYPE_CHAR:
    case TYPE_VARCHAR: return c->str[i];
    case TYPE_BOOLEAN: return c->b[i] ? (str_t){.p = "true", .len = 4} : (str_t){.p = "false", .len = 5};
    case TYPE_FLOAT: n = f32_print(tmp, c->f32[i]); break;
    case TYPE_DOUBLE: n = f64_print(tmp, c->f64[i]); break;
    case TYPE_DECIMAL: n = decimal_print(tmp, c->dec[i], t->scale); break;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: { /* as LocalDateTime: no seconds when they are zero, fractions by threes */
        int64_t us = floor_mod(c->i64[i], US_PER_SECOND);
        n = timestamp_print(tmp, c->i64[i], us == 0 ? 0 : us % 1000 == 0 ? 3 : 6, 'T');
        if (floor_mod(c->i64[i], 60 * US_PER_SECOND) == 0) n -= 3;
        break;
    }
    default: n = i64_print(tmp, column_int(c, i));
    }
    return (str_t){.p = tmp, .len = (uint32_t)n};
}

static bool is_whole(const type_t *t) {
    return type_is_integer(t) || t->kind == TYPE_DATE || t->kind == TYPE_TIME || type_is_interval(t);
}

/* false: Java refuses */
static bool put_arg(const spec_t *s, buf_t *out, const column_t *c, uint32_t i, mem_t *m) {
    char tmp[DECIMAL_TEXT_MAX], one[4];
    const type_t *t = c->type;
    bool null = column_null(c, i);
    str_t text = {.p = "null", .len = 4};
    switch (s->conversion) {
    case 'd':
    case 'x':
    case 'o':
        if (null) break;
        if (!is_whole(t)) return false;
        put_integer(s, out, column_int(c, i), type_width(t), m);
        return true;
    case 'e':
    case 'f':
    case 'g':
        if (null) break;
        if (!type_is_approx(t)) return false;
        put_double(s, out, t->kind == TYPE_FLOAT ? (double)c->f32[i] : c->f64[i], m);
        return true;
    case 'b':
        text = null || (t->kind == TYPE_BOOLEAN && !c->b[i]) ? (str_t){.p = "false", .len = 5} : (str_t){.p = "true", .len = 4};
        break;
    case 'c': {
        if (s->precision >= 0) return false;
        if (null) break;
        int64_t cp = is_whole(t) ? column_int(c, i) : -1;
        if (cp < 0 || cp > 0x10ffff || type_width(t) == 8) return false;
        text = (str_t){.p = one, .len = utf8_encode(one, (uint32_t)cp)};
        break;
    }
    case 's':
        if (!null) text = value_text(c, i, tmp);
        break;
    default: return false;
    }
    put_text(s, out, text, m);
    return true;
}

static bool printf_row(call_t *c, uint32_t i, buf_t *out) {
    str_t f = arg_str(c, 0, i);
    const char *p = f.p, *end = f.p + f.len;
    int next = 1, last = 0;
    buf_clear(out);
    while (p < end) {
        const char *percent = memchr(p, '%', (size_t)(end - p));
        if (!percent) percent = end;
        buf_put(out, p, (size_t)(percent - p));
        if (percent == end) break;
        spec_t s;
        p = read_spec(percent + 1, end, &s);
        if (!p || !suits(&s)) return false;
        if (s.conversion == 'n' || s.conversion == '%') {
            if (s.precision >= 0 || (s.conversion == 'n' && s.width >= 0)) return false;
            put_padded(&s, out, (str_t){.p = s.conversion == 'n' ? "\n" : "%", .len = 1});
            continue;
        }
        int arg = s.index > 0 ? s.index : s.index < 0 ? last : next++;
        if (arg < 1 || arg >= c->nargs) return false;
        last = arg;
        if (!put_arg(&s, out, &c->args[arg], AT(c, arg, i), c->m)) return false;
    }
    return true;
}

err_t *kernel_printf(call_t *c) {
    buf_t out = buf_make(PRINTF_RESULT_MAX);
    for (uint32_t i = 0; i < c->n && !out.overflow; i++) {
        if (arg_null(c, 0, i) || !printf_row(c, i, &out)) out_null(c, i);
        else out_copy(c, i, out.data, out.len);
    }
    bool over = out.overflow;
    buf_free(&out);
    return over ? err_new(ERR_LIMIT, "PRINTF: the result would be longer than %u MB", PRINTF_RESULT_MAX >> 20) : NULL;
}

err_t *rule_printf(binding_t *b) {
    for (int k = 1; k < b->nargs; k++) {
        const type_t *t = b->args[k]->type;
        if (t->kind == TYPE_SYMBOL || type_is_nested(t) || type_is_binary(t)) return bind_error(b, "values of this type have no text here");
        if (t->kind == TYPE_NULL) TRY(bind_cast(b, k, &type_string));
    }
    b->type = &type_string;
    return NULL;
}
