/* kernel_time_text.c: times from texts and to texts. A compiled pattern stays in the call's state. */
#include "engine/func_int.h"
#include "engine/number.h"
#include "engine/rules.h"
#include <math.h>
#include <stdlib.h>

#define EACH(c, i)                                                                                 \
    for (uint32_t i = 0; i < (c)->n; i++)                                                          \
        if (!row_null((c), i))
#define FORMATTED_MAX 512
static const str_t default_format = {.p = "yyyy-MM-dd HH:mm:ss", .len = 19};

typedef struct patterns {
    char *text[2];
    uint32_t len[2];
    date_pattern_t *pattern[2];
    char *zone_name[2];
    tz_t *zone[2];
} patterns_t;

void patterns_free(void *state) {
    patterns_t *p = state;
    if (!p) return;
    for (int k = 0; k < 2; k++) {
        free(p->text[k]);
        date_pattern_free(p->pattern[k]);
        free(p->zone_name[k]);
        tz_free(p->zone[k]);
    }
    free(p);
}

static patterns_t *patterns_of(call_t *c) {
    if (!*c->state) *c->state = xcalloc(1, sizeof(patterns_t));
    return *c->state;
}

static err_t *pattern_of(call_t *c, int slot, str_t text, bool simple, date_pattern_t **ret); /* below */
/* To read texts by; [ ] are for writing only. */
static err_t *parse_pattern_of(call_t *c, str_t text, date_pattern_t **ret) {
    TRY(pattern_of(c, 0, text, false, ret));
    if (!date_pattern_optional(*ret)) return NULL;
    return err_hint(call_error(c, ERR_UNSUPPORTED, "optional parts in [ ] are not read, in the pattern", text), "use CASE or COALESCE over two patterns");
}

static err_t *pattern_of(call_t *c, int slot, str_t text, bool simple, date_pattern_t **ret) {
    patterns_t *p = patterns_of(c);
    if (!p->pattern[slot] || p->len[slot] != text.len || (text.len && memcmp(p->text[slot], text.p, text.len) != 0)) {
        date_pattern_t *fresh = NULL;
        err_t *e = date_pattern_compile(text.p, text.len, simple, &fresh);
        if (e) return err_wrap(e, "%s", func_name(c->expr->func));
        date_pattern_free(p->pattern[slot]);
        free(p->text[slot]);
        p->pattern[slot] = fresh;
        p->text[slot] = xstrndup(text.p ? text.p : "", text.len);
        p->len[slot] = text.len;
    }
    *ret = p->pattern[slot];
    return NULL;
}

/* As java.util.TimeZone: an unknown name is GMT. */
static const tz_t *zone_of(call_t *c, int slot, str_t name) {
    patterns_t *p = patterns_of(c);
    if (!p->zone[slot] || strlen(p->zone_name[slot]) != name.len || memcmp(p->zone_name[slot], name.p, name.len) != 0) {
        char *text = xstrndup(name.p ? name.p : "", name.len);
        tz_t *z = NULL;
        err_t *e = tz_open(text[0] == '+' || text[0] == '-' ? "UTC" : strcmp(text, "PST") == 0 ? "America/Los_Angeles" : text, &z);
        if (e) {
            err_free(e);
            err_free(tz_open("UTC", &z));
        }
        tz_free(p->zone[slot]);
        free(p->zone_name[slot]);
        p->zone[slot] = z;
        p->zone_name[slot] = text;
    }
    return p->zone[slot];
}

static void put_formatted(call_t *c, uint32_t i, const date_pattern_t *p, int64_t wall_us, int32_t offset) {
    char tmp[FORMATTED_MAX];
    size_t n = date_pattern_print(p, wall_us, offset, c->ctx->time_zone ? c->ctx->time_zone : "UTC", tmp, sizeof tmp);
    out_copy(c, i, tmp, n);
}

err_t *kernel_date_format(call_t *c) {
    type_kind_t kind = arg_type(c, 0)->kind;
    bool text = type_is_text(arg_type(c, 0));
    const tz_t *tz = NULL;
    if (kind == TYPE_TIMESTAMP_LTZ) TRY(call_tz(c, &tz));
    EACH(c, i) {
        date_pattern_t *p, *from = NULL;
        int64_t us;
        TRY(pattern_of(c, 0, arg_str(c, 1, i), text, &p));
        if (text) {
            str_t s = arg_str(c, 0, i);
            TRY(pattern_of(c, 1, default_format, true, &from));
            if (!date_pattern_parse(from, s.p, s.len, &us)) {
                out_null(c, i);
                continue;
            }
        } else {
            us = arg_i64(c, 0, i);
            if (tz) us = tz_to_wall(tz, us);
        }
        put_formatted(c, i, p, us, 0);
    }
    return NULL;
}

err_t *rule_date_format(binding_t *b) {
    if (b->args[0]->type->kind == TYPE_DATE) TRY(bind_cast(b, 0, &type_timestamp3));
    b->type = type_nullable(b->a, &type_string, true);
    return NULL;
}

/* The number up to `stop` (0: up to the end), of at least `least` and at most `most` characters; goes behind the stop. */
static bool plain_number(const char **p, const char *end, char stop, int least, int most, int64_t *ret) {
    const char *to = stop ? memchr(*p, stop, (size_t)(end - *p)) : end;
    if (!to || to - *p < least || to - *p > most || !i64_parse(*p, (size_t)(to - *p), ret)) return false;
    *p = to + (stop != 0);
    return true;
}

/* What Flink tries when the pattern does not match: java.sql.Timestamp.valueOf or Date.valueOf, 'yyyy-M-d[ H:m:s[.f]]'. They
 * check month and day (to 31) alone: February 30 and 25:00 carry over. */
static bool parse_plain(str_t s, int64_t *ret_us) {
    while (s.len && (unsigned char)*s.p <= ' ') s.p++, s.len--;
    while (s.len && (unsigned char)s.p[s.len - 1] <= ' ') s.len--;
    const char *p = s.p, *end = p + s.len;
    bool timed = s.len && memchr(p, ' ', s.len);
    int64_t year, month, day, hour = 0, minute = 0, second = 0, micro = 0;
    if (!s.len || !plain_number(&p, end, '-', 4, 4, &year) || !plain_number(&p, end, '-', 1, 2, &month)) return false;
    if (!plain_number(&p, end, timed ? ' ' : 0, 1, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31) return false;
    if (timed) {
        bool fraction = memchr(p, '.', (size_t)(end - p)) != NULL;
        if (!plain_number(&p, end, ':', 1, 9, &hour) || !plain_number(&p, end, ':', 1, 9, &minute)) return false;
        if (!plain_number(&p, end, fraction ? '.' : 0, 1, 9, &second)) return false;
        if (fraction && (p == end || end - p > 9)) return false;
        for (int k = 0; fraction && k < 6; k++) {
            if (p < end && (*p < '0' || *p > '9')) return false;
            micro = micro * 10 + (p < end ? *p++ - '0' : 0);
        }
        for (; fraction && p < end; p++)
            if (*p < '0' || *p > '9') return false;
    }
    *ret_us = (date_days(year, (int)month, 1) + day - 1) * US_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000000 + micro;
    return true;
}

static bool in_calendar(int64_t us) {
    return us >= INT64_C(-62167219200000000) && us < INT64_C(253402300800000000);
}

err_t *kernel_to_timestamp(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        int64_t us;
        bool ok;
        if (c->nargs > 1) {
            date_pattern_t *p;
            TRY(parse_pattern_of(c, arg_str(c, 1, i), &p));
            ok = date_pattern_parse(p, s.p, s.len, &us) || parse_plain(s, &us);
        } else {
            ok = timestamp_parse(s.p, s.len, &us);
        }
        if (ok) c->out->i64[i] = floor_div(us, 1000) * 1000;
        else out_null(c, i);
    }
    return NULL;
}

err_t *kernel_to_date(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        bool ok;
        if (c->nargs > 1) {
            date_pattern_t *p;
            int64_t us;
            TRY(pattern_of(c, 0, arg_str(c, 1, i), true, &p));
            ok = date_pattern_parse(p, s.p, s.len, &us);
            if (ok) c->out->i32[i] = (int32_t)floor_div(us, US_PER_DAY);
        } else {
            ok = date_parse(s.p, s.len, &c->out->i32[i]);
        }
        if (!ok) out_null(c, i);
    }
    return NULL;
}

/* TO_TIMESTAMP_LTZ(number[, 0 | 3]) or (text[, pattern[, zone]]) */
static err_t *ltz_number(call_t *c) {
    bool exact = type_is_integer(arg_type(c, 0));
    EACH(c, i) {
        int32_t precision = c->nargs > 1 ? arg_i32(c, 1, i) : 3;
        if (precision < 0 || precision > 6)
            return err_new(ERR_DATA, "TO_TIMESTAMP_LTZ: precision %d is not possible, use 0 (seconds) to 6 (microseconds)", precision);
        int64_t us, unit = precision_us(precision);
        bool ok = true;
        if (exact) {
            ok = !__builtin_mul_overflow(arg_i64(c, 0, i), unit, &us);
        } else {
            double d = arg_f64(c, 0, i) * (double)unit;
            if (precision <= 3) d = trunc(d / 1000) * 1000;
            ok = d > -1e18 && d < 1e18;
            us = ok ? (int64_t)d : 0;
        }
        if (ok && in_calendar(us)) c->out->i64[i] = us;
        else out_null(c, i);
    }
    return NULL;
}

err_t *kernel_to_ltz(call_t *c) {
    if (type_is_numeric(arg_type(c, 0))) return ltz_number(c);
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        int64_t us;
        bool ok;
        if (c->nargs > 1) {
            date_pattern_t *p;
            TRY(parse_pattern_of(c, arg_str(c, 1, i), &p));
            ok = date_pattern_parse(p, s.p, s.len, &us) || parse_plain(s, &us);
        } else {
            ok = timestamp_parse(s.p, s.len, &us);
        }
        if (ok && c->nargs > 2) us = tz_to_utc(zone_of(c, 0, arg_str(c, 2, i)), us);
        if (ok && in_calendar(us)) c->out->i64[i] = c->expr->type->precision > 3 ? us : floor_div(us, 1000) * 1000;
        else out_null(c, i);
    }
    return NULL;
}

/* The digits the second argument gives: the number itself, or the letters S of the pattern; at least 3. */
static err_t *ltz_precision(binding_t *b, int *ret) {
    *ret = 3;
    if (b->nargs < 2) return NULL;
    expr_t *e = b->args[1] = expr_fold(b->a, b->args[1]);
    if (e->kind != EXPR_LITERAL || e->value.null) return NULL;
    int n = 0;
    if (type_is_integer(e->type)) n = (int)MAX(MIN(e->value.i, 99), -1);
    else
        for (uint32_t k = 0; k < e->value.s.len; k++) n += e->value.s.p[k] == 'S';
    if (n < 0 || n > 9) return bind_error(b, "the precision is from 0 (seconds) to 6 (microseconds)");
    if (n > 6) return bind_error(b, "values hold microseconds: a precision of at most 6");
    *ret = MAX(n, 3);
    return NULL;
}

err_t *rule_to_ltz(binding_t *b) {
    const type_t *t = b->args[0]->type;
    int precision;
    if (type_is_numeric(t)) {
        TRY(bind_cast(b, 0, type_is_integer(t) ? &type_bigint : &type_double));
        if (b->nargs > 2 || (b->nargs == 2 && !type_is_integer(b->args[1]->type))) return bind_error(b, "the second argument is a precision");
        if (b->nargs == 2) TRY(bind_cast(b, 1, &type_int));
    } else {
        if (t->kind == TYPE_NULL) TRY(bind_cast(b, 0, &type_string));
        for (int k = 0; k < b->nargs; k++)
            if (!type_is_text(b->args[k]->type)) return bind_error(b, "texts are needed");
    }
    TRY(ltz_precision(b, &precision));
    b->type = type_scalar(b->a, TYPE_TIMESTAMP_LTZ, precision, true);
    return NULL;
}

err_t *kernel_from_unixtime(call_t *c) {
    const tz_t *tz;
    TRY(call_tz(c, &tz));
    EACH(c, i) {
        int64_t s = arg_i64(c, 0, i), us;
        date_pattern_t *p;
        TRY(pattern_of(c, 0, c->nargs > 1 ? arg_str(c, 1, i) : default_format, true, &p));
        if (!tz_is_utc(tz) && date_pattern_names_zone(p))
            return err_hint(call_error(c, ERR_UNSUPPORTED, "names of zones (z) are not known, in the pattern", arg_str(c, 1, i)), "use the letter X, the offset");
        if (__builtin_mul_overflow(s, US_PER_SECOND, &us)) {
            out_null(c, i);
            continue;
        }
        int32_t offset = tz_offset(tz, s);
        put_formatted(c, i, p, us + offset * US_PER_SECOND, offset);
    }
    return NULL;
}

/* Of a wall time that is there twice java.util.Calendar takes the later instant, unlike java.time. */
static int64_t late_utc(const tz_t *tz, int64_t wall) {
    int64_t us = tz_to_utc(tz, wall), later = wall - (int64_t)tz_offset(tz, floor_div(us, US_PER_SECOND) + 86400) * US_PER_SECOND;
    return later > us && tz_to_wall(tz, later) == wall ? later : us;
}

err_t *kernel_unix_timestamp(call_t *c) {
    const tz_t *tz;
    TRY(call_tz(c, &tz));
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        int64_t us;
        date_pattern_t *p;
        TRY(pattern_of(c, 0, c->nargs > 1 ? arg_str(c, 1, i) : default_format, true, &p));
        bool ok = date_pattern_parse(p, s.p, s.len, &us);
        if (ok && !date_pattern_reads_offset(p)) us = late_utc(tz, us);
        c->out->i64[i] = ok ? us / US_PER_SECOND : INT64_MIN; /* as Flink */
    }
    return NULL;
}
err_t *kernel_unix_now(call_t *c) {
    if (c->nargs) return kernel_unix_timestamp(c);
    for (uint32_t i = 0; i < c->n; i++) c->out->i64[i] = c->ctx->now_ms / 1000;
    return NULL;
}

err_t *kernel_convert_tz(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        int64_t us;
        date_pattern_t *p;
        TRY(pattern_of(c, 0, default_format, true, &p));
        if (!date_pattern_parse(p, s.p, s.len, &us)) {
            out_null(c, i);
            continue;
        }
        us = late_utc(zone_of(c, 0, arg_str(c, 1, i)), us);
        put_formatted(c, i, p, tz_to_wall(zone_of(c, 1, arg_str(c, 2, i)), us), 0);
    }
    return NULL;
}
