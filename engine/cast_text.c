/* cast_text.c: CAST to and from text. */
#include "engine/cast_int.h"
#include "engine/decimal.h"
#include "engine/number.h"
#include "engine/text.h"
#include <strings.h>

/* ---- to text */
/* VARCHAR(n) cuts, CHAR(n) pads with blanks as well; lengths in characters. */
static str_t fit(caster_t *k, str_t s, const type_t *to) {
    if (to->precision == TYPE_LEN_MAX) return s;
    bool bytes = type_is_binary(to);
    uint32_t max = (uint32_t)to->precision;
    uint32_t keep = bytes ? (s.len < max ? s.len : max) : text_offset(s, max);
    uint32_t chars = bytes ? keep : text_length((str_t){.p = s.p, .len = keep});
    s.len = keep;
    if (chars >= max || (to->kind != TYPE_CHAR && to->kind != TYPE_BINARY)) return s;
    uint32_t pad = max - chars;
    char *p = mem_alloc(k->c->m, (size_t)keep + pad);
    if (keep) memcpy(p, s.p, keep);
    memset(p + keep, bytes ? 0 : ' ', pad);
    return (str_t){.p = p, .len = keep + pad};
}

static size_t scalar_print(caster_t *k, char *p, const column_t *s, uint32_t i) {
    const type_t *t = s->type;
    switch (t->kind) {
    case TYPE_TINYINT:
    case TYPE_SMALLINT:
    case TYPE_INT:
    case TYPE_BIGINT: return i64_print(p, column_int(s, i));
    case TYPE_FLOAT: return f32_print(p, s->f32[i]);
    case TYPE_DOUBLE: return f64_print(p, s->f64[i]);
    case TYPE_DECIMAL: return decimal_print(p, s->dec[i], t->scale);
    case TYPE_DATE: return date_print(p, s->i32[i]);
    case TYPE_TIME: return time_print(p, s->i32[i], t->precision);
    case TYPE_TIMESTAMP: return timestamp_print(p, s->i64[i], t->precision, ' ');
    case TYPE_TIMESTAMP_LTZ: return timestamp_print(p, tz_to_wall(k->tz, s->i64[i]), t->precision, ' ');
    default: return 0;
    }
}

/* Instants inside nested values print in the session's zone too: shift them first. */
static bool holds_ltz(const type_t *t) {
    if (t->kind == TYPE_TIMESTAMP_LTZ) return true;
    for (int i = 0; i < t->nchild; i++)
        if (holds_ltz(t->child[i])) return true;
    return false;
}

static void shift_ltz(caster_t *k, column_t *c, uint32_t n) {
    if (c->type->kind == TYPE_TIMESTAMP_LTZ) {
        int64_t *wall = mem_alloc(k->c->m, sizeof *wall * n);
        for (uint32_t i = 0; i < n; i++) wall[i] = tz_to_wall(k->tz, c->i64[i]);
        c->i64 = wall;
    }
    int nc = column_nchild(c->type);
    if (!nc || !holds_ltz(c->type)) return;
    column_t *child = mem_alloc(k->c->m, sizeof *child * (size_t)nc);
    memcpy(child, c->child, sizeof *child * (size_t)nc);
    c->child = child;
    for (int i = 0; i < nc; i++) shift_ltz(k, &child[i], c->child_rows);
}

err_t *cast_to_text(caster_t *k, const column_t *src, const type_t *to, uint32_t n, const uint8_t *skip, column_t *out) {
    const type_t *f = src->type;
    column_t shifted = *src;
    if (holds_ltz(f)) {
        const tz_t *tz;
        TRY(caster_tz(k, &tz));
        if (type_is_nested(f)) shift_ltz(k, &shifted, n);
    }
    buf_t text = buf_make(BUF_MAX_DEFAULT);
    bool whole = type_is_nested(f) || type_is_interval(f);
    for (uint32_t i = 0; i < n; i++) {
        if (cast_skips(src, skip, i)) continue;
        str_t s;
        if (type_is_strlike(f)) {
            s = type_is_binary(f) && type_is_text(to) ? utf8_repair(src->str[i], k->c->m) : src->str[i];
        } else if (f->kind == TYPE_BOOLEAN) {
            s = src->b[i] ? (str_t){.p = "TRUE", .len = 4} : (str_t){.p = "FALSE", .len = 5};
        } else {
            char tmp[DECIMAL_TEXT_MAX];
            const void *from = tmp;
            size_t len;
            if (whole) {
                buf_clear(&text);
                value_print(&text, &shifted, i);
                from = text.data;
                len = text.len;
            } else {
                len = scalar_print(k, tmp, src, i);
            }
            char *copy = mem_alloc(k->c->m, len);
            if (len) memcpy(copy, from, len);
            s = (str_t){.p = copy, .len = (uint32_t)len};
            if (type_is_nested(f) && type_is_text(to)) s = utf8_repair(s, k->c->m); /* BYTES inside */
        }
        out->str[i] = fit(k, s, to);
    }
    buf_free(&text);
    return NULL;
}

/* ---- from text */
static str_t trimmed(str_t s) {
    while (s.len && (unsigned char)s.p[0] <= ' ') s.p++, s.len--;
    while (s.len && (unsigned char)s.p[s.len - 1] <= ' ') s.len--;
    return s;
}

static str_t without_blanks(str_t s) { /* before and behind integers Flink takes nothing else */
    while (s.len && s.p[0] == ' ') s.p++, s.len--;
    while (s.len && s.p[s.len - 1] == ' ') s.len--;
    return s;
}

static bool is_word(str_t s, const char *const *words) {
    for (; *words; words++)
        if (strlen(*words) == s.len && strncasecmp(s.p, *words, s.len) == 0) return true;
    return false;
}

static bool read_boolean(str_t s, uint8_t *ret) {
    static const char *const yes[] = {"t", "true", "y", "yes", "1", NULL};
    static const char *const no[] = {"f", "false", "n", "no", "0", NULL};
    *ret = is_word(s, yes);
    return *ret || is_word(s, no);
}

/* "12", "-12", and "12.9", whose fraction is only checked to be digits */
static bool read_integer(str_t s, int64_t lo, int64_t hi, int64_t *ret) {
    uint32_t whole = 0;
    while (whole < s.len && s.p[whole] != '.') whole++;
    for (uint32_t i = whole + 1; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    int64_t v = 0;
    bool bare = whole == 0 || (whole == 1 && (s.p[0] == '-' || s.p[0] == '+'));
    if (bare ? whole == s.len : !i64_parse(s.p, whole, &v)) return false;
    if (v < lo || v > hi) return false;
    *ret = v;
    return true;
}

/* Into a DECIMAL of at most 18 digits Flink reads short texts by a loop of its own: leading zeros count as digits
 * ('0007' does not fit DECIMAL(3, 0)), no digits are 0, and one character of any kind may follow number and exponent. */
static bool read_short_decimal(str_t s, const type_t *to, i128 *ret) {
    const char *p = s.p, *end = s.p + s.len;
    bool negative = p < end && *p == '-', minus = false;
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end) return false;
    int64_t v = 0;
    int digits = 0, whole = -1, exp = 0, e = 0;
    char last = 0;
    for (bool on = true; on && p < end;) {
        last = *p++;
        if (last >= '0' && last <= '9') {
            v = v * 10 + (last - '0');
            digits++;
        } else if (last != '.') {
            on = false;
        } else if (whole >= 0) {
            return false;
        } else {
            whole = digits;
        }
    }
    if (whole < 0) whole = digits;
    if ((last == 'e' || last == 'E') && p < end) {
        minus = *p == '-';
        if (minus || *p == '+') p++;
        if (p == end) return false;
        for (last = '0'; p < end && last >= '0' && last <= '9';) {
            last = *p++;
            if (last >= '0' && last <= '9' && e < 40) e = e * 10 + (last - '0');
        }
        exp = minus ? -e : e;
    }
    for (; p < end; p++)
        if (*p != ' ' && *p != '\n' && *p != '\t') return false;
    exp += whole - digits + to->scale;
    if (digits + exp > to->precision || exp < -18) return false;
    i128 x = negative ? -v : v;
    if (exp >= 0) x *= decimal_pow10(exp);
    else x = (x + (negative ? -5 : 5) * decimal_pow10(-exp - 1)) / decimal_pow10(-exp);
    *ret = x;
    return decimal_fits(x, to->precision);
}

static bool read_decimal(str_t s, const type_t *to, i128 *ret) {
    bool tiny = to->precision <= 18 && s.len <= 18;
    while (s.len && (*s.p == ' ' || *s.p == '\n' || *s.p == '\t')) s.p++, s.len--;
    if (tiny) return read_short_decimal(s, to, ret);
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\t')) s.len--;
    return decimal_parse(s.p, s.len, to->precision, to->scale, ret);
}

static bool read_double(str_t s, double *ret) {
    if (s.len > 1 && strchr("dDfF", s.p[s.len - 1]) && s.p[s.len - 1]) {
        char before = s.p[s.len - 2]; /* Java's suffixes */
        if ((before >= '0' && before <= '9') || before == '.') s.len--;
    }
    return s.len && f64_parse(s.p, s.len, ret);
}

static bool read_int_as(const type_t *to, str_t s, int64_t *ret) {
    switch (to->kind) {
    case TYPE_TINYINT: return read_integer(s, INT8_MIN, INT8_MAX, ret);
    case TYPE_SMALLINT: return read_integer(s, INT16_MIN, INT16_MAX, ret);
    case TYPE_INT: return read_integer(s, INT32_MIN, INT32_MAX, ret);
    default: return read_integer(s, INT64_MIN, INT64_MAX, ret);
    }
}

static bool read_timestamp(caster_t *k, str_t s, const type_t *to, int64_t *ret) {
    int64_t us;
    if (!timestamp_parse(s.p, s.len, &us)) return false;
    us -= floor_mod(us, precision_us(MIN(to->precision, 6)));
    *ret = to->kind == TYPE_TIMESTAMP_LTZ ? tz_to_utc(k->tz, us) : us;
    return true;
}

static bool read_value(caster_t *k, str_t s, const type_t *to, column_t *o, uint32_t i) {
    int64_t v;
    switch (to->kind) {
    case TYPE_BOOLEAN: return read_boolean(s, &o->b[i]);
    case TYPE_TINYINT:
        if (!read_int_as(to, without_blanks(s), &v)) return false;
        o->i8[i] = (int8_t)v;
        return true;
    case TYPE_SMALLINT:
        if (!read_int_as(to, without_blanks(s), &v)) return false;
        o->i16[i] = (int16_t)v;
        return true;
    case TYPE_INT:
        if (!read_int_as(to, without_blanks(s), &v)) return false;
        o->i32[i] = (int32_t)v;
        return true;
    case TYPE_BIGINT: return read_int_as(to, without_blanks(s), &o->i64[i]);
    case TYPE_FLOAT: {
        double d;
        str_t t = trimmed(s);
        if (f32_parse(t.p, t.len, &o->f32[i])) return true;
        if (!read_double(t, &d)) return false;
        o->f32[i] = (float)d;
        return true;
    }
    case TYPE_DOUBLE: return read_double(trimmed(s), &o->f64[i]);
    case TYPE_DECIMAL: return read_decimal(s, to, &o->dec[i]);
    case TYPE_DATE: return date_parse(s.p, s.len, &o->i32[i]);
    case TYPE_TIME: {
        int32_t ms;
        if (!time_parse(s.p, s.len, &ms)) return false;
        int32_t u = (int32_t)(precision_us(MIN(to->precision, 3)) / 1000);
        o->i32[i] = ms / u * u;
        return true;
    }
    default: return read_timestamp(k, s, to, &o->i64[i]);
    }
}

err_t *cast_from_text(caster_t *k, const column_t *src, const type_t *to, uint32_t n, const uint8_t *skip,
                      column_t *out) {
    if (to->kind == TYPE_TIMESTAMP_LTZ) {
        const tz_t *tz;
        TRY(caster_tz(k, &tz));
    }
    for (uint32_t i = 0; i < n; i++) {
        if (cast_skips(src, skip, i)) continue;
        if (!read_value(k, src->str[i], to, out, i)) TRY(cast_failed(k, out, i, n, src->str[i], to));
    }
    return NULL;
}
