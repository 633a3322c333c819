/* kernel_time.c: parts of times, rounding to units, adding and subtracting units, the clock.
 *
 * Where Flink's arithmetic truncates toward zero before 1970, so does this: results are compared with Flink's. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include <strings.h>

#define EACH(c, i)                                                                                 \
    for (uint32_t i = 0; i < (c)->n; i++)                                                          \
        if (!row_null((c), i))

typedef enum unit {
    UNIT_NONE, UNIT_MILLENNIUM, UNIT_CENTURY, UNIT_DECADE, UNIT_YEAR, UNIT_QUARTER, UNIT_MONTH, UNIT_WEEK, UNIT_DAY,
    UNIT_DOW, UNIT_DOY, UNIT_ISODOW, UNIT_ISOYEAR, UNIT_HOUR, UNIT_MINUTE, UNIT_SECOND, UNIT_MILLISECOND,
    UNIT_MICROSECOND, UNIT_NANOSECOND, UNIT_EPOCH
} unit_t;
static const char *const unit_names[] = {"", "MILLENNIUM", "CENTURY", "DECADE", "YEAR", "QUARTER", "MONTH", "WEEK",
    "DAY", "DOW", "DOY", "ISODOW", "ISOYEAR", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND", "NANOSECOND", "EPOCH"};

static unit_t unit_named(const char *name) {
    static const struct {
        const char *name;
        unit_t unit;
    } also[] = {{"DAYOFMONTH", UNIT_DAY}, {"DAYOFWEEK", UNIT_DOW}, {"DAYOFYEAR", UNIT_DOY}, {"SQL_TSI_YEAR", UNIT_YEAR},
                {"SQL_TSI_QUARTER", UNIT_QUARTER}, {"SQL_TSI_MONTH", UNIT_MONTH}, {"SQL_TSI_WEEK", UNIT_WEEK},
                {"SQL_TSI_DAY", UNIT_DAY}, {"SQL_TSI_HOUR", UNIT_HOUR}, {"SQL_TSI_MINUTE", UNIT_MINUTE},
                {"SQL_TSI_SECOND", UNIT_SECOND}, {"YEARS", UNIT_YEAR}, {"MONTHS", UNIT_MONTH}, {"DAYS", UNIT_DAY},
                {"HOURS", UNIT_HOUR}, {"MINUTES", UNIT_MINUTE}, {"SECONDS", UNIT_SECOND}};
    for (size_t i = 1; i < ARRAY_LEN(unit_names); i++)
        if (strcasecmp(name, unit_names[i]) == 0) return (unit_t)i;
    for (size_t i = 0; i < ARRAY_LEN(also); i++)
        if (strcasecmp(name, also[i].name) == 0) return also[i].unit;
    return UNIT_NONE;
}

static int64_t unit_ms(unit_t u) {
    switch (u) {
    case UNIT_WEEK: return 7 * MS_PER_DAY;
    case UNIT_DAY: return MS_PER_DAY;
    case UNIT_HOUR: return 3600000;
    case UNIT_MINUTE: return 60000;
    case UNIT_SECOND: return 1000;
    case UNIT_MILLISECOND: return 1;
    default: return 0;
    }
}

/* ---- EXTRACT */
static int iso_weekday(int64_t days) { return (int)floor_mod(days + 3, 7) + 1; }

static int64_t iso_week(int64_t days, int64_t *ret_year) {
    int64_t thursday = days - iso_weekday(days) + 4, year;
    int m, d;
    date_civil(thursday, &year, &m, &d);
    *ret_year = year;
    return (thursday - date_days(year, 1, 1)) / 7 + 1;
}

static int64_t date_part(unit_t u, int64_t days) {
    int64_t y, iso;
    int m, d;
    date_civil(days, &y, &m, &d);
    switch (u) {
    case UNIT_MILLENNIUM: return y > 0 ? (y + 999) / 1000 : (y - 999) / 1000;
    case UNIT_CENTURY: return y > 0 ? (y + 99) / 100 : (y - 99) / 100;
    case UNIT_DECADE: return y / 10;
    case UNIT_YEAR: return y;
    case UNIT_QUARTER: return (m + 2) / 3;
    case UNIT_MONTH: return m;
    case UNIT_WEEK: return iso_week(days, &iso);
    case UNIT_ISOYEAR: iso_week(days, &iso); return iso;
    case UNIT_DAY: return d;
    case UNIT_DOW: return floor_mod(days + 4, 7) + 1;
    case UNIT_ISODOW: return iso_weekday(days);
    default: return days - date_days(y, 1, 1) + 1; /* DOY */
    }
}

/* Of a wall time. Before 1970 Flink divides toward zero: the day is the next one, times of day are negative. */
static int64_t time_part(unit_t u, int64_t us) {
    int64_t ms = floor_div(us, 1000);
    if (u < UNIT_HOUR) return date_part(u, ms / MS_PER_DAY);
    switch (u) {
    case UNIT_HOUR: return ms % MS_PER_DAY / 3600000;
    case UNIT_MINUTE: return ms % 3600000 / 60000;
    case UNIT_SECOND: return ms % 60000 / 1000;
    case UNIT_MILLISECOND: return ms % 1000;
    case UNIT_MICROSECOND: return ms % 1000 * 1000 + floor_mod(us, 1000);
    case UNIT_NANOSECOND: return (ms % 1000 * 1000 + floor_mod(us, 1000)) * 1000;
    default: return ms / 1000; /* EPOCH */
    }
}

static int64_t interval_part(unit_t u, const type_t *t, int64_t v) {
    if (t->kind == TYPE_INTERVAL_MONTH) {
        switch (u) {
        case UNIT_YEAR: return v / 12;
        case UNIT_MONTH: return v % 12;
        case UNIT_QUARTER: return v % 12 / 3 + 1;
        case UNIT_DECADE: return v / 120;
        case UNIT_CENTURY: return v / 1200;
        case UNIT_MILLENNIUM: return v / 12000;
        default: return 0;
        }
    }
    switch (u) {
    case UNIT_DAY: return v / MS_PER_DAY;
    case UNIT_HOUR: return v % MS_PER_DAY / 3600000;
    case UNIT_MINUTE: return v % 3600000 / 60000;
    case UNIT_SECOND: return v % 60000 / 1000;
    case UNIT_MILLISECOND: return v % 60000;
    case UNIT_EPOCH: return v / 1000;
    default: return 0;
    }
}

err_t *kernel_extract(call_t *c) {
    int k = c->nargs - 1;
    unit_t u = unit_named(k ? symbol_text(c->expr->args[0]) : func_name(c->expr->func));
    const type_t *t = arg_type(c, k);
    const tz_t *tz = NULL;
    if (t->kind == TYPE_TIMESTAMP_LTZ) TRY(call_tz(c, &tz));
    EACH(c, i) {
        if (type_is_interval(t)) {
            c->out->i64[i] = interval_part(u, t, arg_int(c, k, i));
            continue;
        }
        if (t->kind == TYPE_DATE) {
            int64_t days = arg_i32(c, k, i);
            /* Flink takes the days for milliseconds where a part of the day is asked */
            c->out->i64[i] = u < UNIT_HOUR ? date_part(u, days) : u == UNIT_EPOCH ? days * 86400 : time_part(u, days * 1000);
            continue;
        }
        int64_t us = t->kind == TYPE_TIME ? (int64_t)arg_i32(c, k, i) * 1000 : arg_i64(c, k, i);
        c->out->i64[i] = time_part(u, tz ? tz_to_wall(tz, us) : us);
    }
    return NULL;
}

err_t *rule_extract(binding_t *b) {
    int k = b->nargs - 1;
    const char *name = k ? symbol_text(b->args[0]) : b->func->name;
    unit_t u = name ? unit_named(name) : UNIT_NONE;
    const type_t *t = b->args[k]->type;
    if (u == UNIT_NONE) return bind_error(b, "unknown unit");
    if (type_is_text(t)) { /* as Calcite reads a text beside a unit */
        TRY(cast_bind(b->a, b->args[k], &type_timestamp3, CAST_EXPLICIT, &b->args[k]));
        t = b->args[k]->type;
    }
    if (t->kind == TYPE_TIME && u < UNIT_HOUR) return bind_error(b, "a TIME has no such part");
    b->type = type_of(b, &type_bigint);
    return NULL;
}

/* ---- FLOOR, CEIL */
static int64_t date_round(unit_t u, int64_t days, bool up) {
    int64_t y;
    int m, d;
    date_civil(days, &y, &m, &d);
    int64_t k = u == UNIT_MILLENNIUM ? 1000 : u == UNIT_CENTURY ? 100 : 10;
    switch (u) {
    case UNIT_MILLENNIUM:
    case UNIT_CENTURY: return date_days(k * ((y + k - 1) / k) + (up ? 1 : 1 - k), 1, 1);
    case UNIT_DECADE: return date_days(10 * (y / 10 + up), 1, 1);
    case UNIT_YEAR: return date_days(y + (up && (m > 1 || d > 1)), 1, 1);
    case UNIT_MONTH:
        if (up && d > 1) m++;
        return m > 12 ? date_days(y + 1, 1, 1) : date_days(y, m, 1);
    case UNIT_QUARTER: {
        int q = (m + 2) / 3 + (up && (m > 1 || d > 1));
        return q > 4 ? date_days(y + 1, 1, 1) : date_days(y, q * 3 - 2, 1);
    }
    case UNIT_WEEK: {
        int64_t off = floor_mod(days + 4, 7);
        return days - (up && off > 0 ? off - 7 : off);
    }
    default: return days;
    }
}

static int64_t ms_round(unit_t u, int64_t us, bool up) {
    int64_t unit = unit_ms(u) * 1000;
    if (u == UNIT_WEEK || unit == 0) return date_round(u, floor_div(us, 1000) / MS_PER_DAY, up) * US_PER_DAY;
    int64_t f = floor_div(us, unit) * unit;
    int64_t counted = u == UNIT_MILLISECOND ? us : floor_div(us, 1000) * 1000; /* else what lies below the millisecond does not count */
    return up && f != counted ? f + unit : f;
}

static err_t *round_time(call_t *c, bool up) {
    unit_t u = unit_named(symbol_text(c->expr->args[1]));
    const type_t *t = arg_type(c, 0);
    const tz_t *tz = NULL;
    if (t->kind == TYPE_TIMESTAMP_LTZ) TRY(call_tz(c, &tz));
    EACH(c, i) {
        if (t->kind == TYPE_DATE) {
            c->out->i32[i] = (int32_t)date_round(u, arg_i32(c, 0, i), up) + (up && u == UNIT_DAY); /* Flink's CEIL(date TO DAY) is the next day */
        } else if (t->kind == TYPE_TIME) {
            c->out->i32[i] = (int32_t)(ms_round(u, (int64_t)arg_i32(c, 0, i) * 1000, up) / 1000); /* 24:00:00 is possible */
        } else {
            int64_t us = arg_i64(c, 0, i), off = tz ? tz_to_wall(tz, us) - us : 0;
            c->out->i64[i] = ms_round(u, us + off, up) - off;
        }
    }
    return NULL;
}
err_t *kernel_floor(call_t *c) { return c->nargs == 1 ? kernel_floor_number(c, false) : round_time(c, false); }
err_t *kernel_ceil(call_t *c) { return c->nargs == 1 ? kernel_floor_number(c, true) : round_time(c, true); }

err_t *rule_floor(binding_t *b) {
    if (b->nargs == 1) return rule_floor_number(b);
    const type_t *t = b->args[0]->type;
    const char *name = symbol_text(b->args[1]);
    unit_t u = name ? unit_named(name) : UNIT_NONE;
    bool dated = u >= UNIT_MILLENNIUM && u <= UNIT_DAY, timed = u >= UNIT_HOUR && u <= UNIT_MILLISECOND;
    if (!dated && !timed) return bind_error(b, "a time cannot be rounded to this unit");
    if ((t->kind == TYPE_DATE && timed) || (t->kind == TYPE_TIME && dated)) return bind_error(b, "the unit does not suit the type");
    b->type = type_of(b, t);
    return NULL;
}

/* ---- TIMESTAMPADD, TIMESTAMPDIFF */
static int unit_months(unit_t u) { return u == UNIT_YEAR ? 12 : u == UNIT_QUARTER ? 3 : u == UNIT_MONTH ? 1 : 0; }

err_t *rule_timestampadd(binding_t *b) {
    const char *name = symbol_text(b->args[0]);
    unit_t u = name ? unit_named(name) : UNIT_NONE;
    if (!unit_months(u) && !unit_ms(u)) return bind_error(b, "unknown unit");
    const type_t *t = b->args[2]->type;
    if (type_is_text(t)) TRY(cast_bind(b->a, b->args[2], &type_timestamp3, CAST_EXPLICIT, &b->args[2]));
    else if (t->kind == TYPE_DATE && u >= UNIT_HOUR) TRY(bind_cast(b, 2, type_scalar(b->a, TYPE_TIMESTAMP, 6, true)));
    t = b->args[2]->type;
    if (t->kind == TYPE_TIME && u < UNIT_HOUR) return bind_error(b, "a TIME has no such part");
    b->type = type_of(b, t);
    return NULL;
}

err_t *kernel_timestampadd(call_t *c) {
    unit_t u = unit_named(symbol_text(c->expr->args[0]));
    const type_t *t = arg_type(c, 2);
    int months = unit_months(u);
    int64_t ms = unit_ms(u);
    EACH(c, i) {
        int64_t by = arg_i64(c, 1, i);
        int64_t us = t->kind == TYPE_DATE   ? (int64_t)arg_i32(c, 2, i) * US_PER_DAY
                     : t->kind == TYPE_TIME ? (int64_t)arg_i32(c, 2, i) * 1000
                                            : arg_i64(c, 2, i);
        if (by > INT32_MAX * INT64_C(1000) || by < INT32_MIN * INT64_C(1000))
            return err_new(ERR_OVERFLOW, "TIMESTAMPADD: %lld units leave the calendar", (long long)by);
        us = months ? timestamp_add_months(us, by * months) : (int64_t)((uint64_t)us + (uint64_t)by * (uint64_t)ms * 1000u);
        if (t->kind == TYPE_DATE) c->out->i32[i] = (int32_t)floor_div(us, US_PER_DAY);
        else if (t->kind == TYPE_TIME) c->out->i32[i] = (int32_t)floor_mod(us / 1000, MS_PER_DAY);
        else c->out->i64[i] = us;
    }
    return NULL;
}

static int64_t days_add_months(int64_t days, int64_t m) {
    return floor_div(timestamp_add_months(days * US_PER_DAY, m), US_PER_DAY);
}

/* Whole months from d1 to d0, as Calcite counts them. */
static int64_t months_between_days(int64_t d0, int64_t d1) {
    if (d0 < d1) return -months_between_days(d1, d0);
    for (int64_t m = (d0 - d1) / 31;; m++)
        if (days_add_months(d1, m) >= d0 || days_add_months(d1, m + 1) > d0) return m;
}

static int64_t months_between(int64_t t0, int64_t t1) {
    int64_t d0 = floor_div(t0, MS_PER_DAY), d1 = floor_div(t1, MS_PER_DAY);
    int64_t x = months_between_days(d0, d1);
    if (days_add_months(d1, x) == d0 && floor_mod(t0, MS_PER_DAY) < floor_mod(t1, MS_PER_DAY)) x--;
    return x;
}

err_t *rule_timestampdiff(binding_t *b) {
    const char *name = symbol_text(b->args[0]);
    unit_t u = name ? unit_named(name) : UNIT_NONE;
    if (!unit_months(u) && !unit_ms(u)) return bind_error(b, "unknown unit");
    for (int k = 1; k < 3; k++)
        if (type_is_text(b->args[k]->type))
            TRY(cast_bind(b->a, b->args[k], &type_timestamp3, CAST_EXPLICIT, &b->args[k]));
    const type_t *t;
    TRY(bind_common(b, 1, 3, &t));
    if (!type_is_temporal(t)) return bind_error(b, "two times are needed");
    b->type = type_of(b, &type_int);
    return NULL;
}

err_t *kernel_timestampdiff(call_t *c) {
    unit_t u = unit_named(symbol_text(c->expr->args[0]));
    type_kind_t kind = arg_type(c, 1)->kind;
    int months = unit_months(u);
    EACH(c, i) {
        int64_t v[2];
        for (int k = 0; k < 2; k++)
            v[k] = kind == TYPE_DATE ? arg_i32(c, k + 1, i) * MS_PER_DAY
                   : kind == TYPE_TIME ? arg_i32(c, k + 1, i)
                                       : floor_div(arg_i64(c, k + 1, i), 1000);
        int64_t by = v[1] - v[0];
        switch (u) { /* Flink counts weeks and milliseconds out of whole seconds of 32 bits */
        case UNIT_WEEK: c->out->i32[i] = (int32_t)(by / 1000) / 604800; break;
        case UNIT_MILLISECOND: c->out->i32[i] = (int32_t)(uint32_t)((uint64_t)(by / 1000) * 1000u); break;
        default: c->out->i32[i] = (int32_t)(months ? months_between(v[1], v[0]) / months : by / unit_ms(u));
        }
    }
    return NULL;
}

/* ---- the clock */
static err_t *now_wall(call_t *c, int64_t *ret_us) {
    const tz_t *tz;
    TRY(call_tz(c, &tz));
    *ret_us = tz_to_wall(tz, c->ctx->now_ms * 1000);
    return NULL;
}

err_t *kernel_now(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) c->out->i64[i] = c->ctx->now_ms * 1000;
    return NULL;
}
err_t *kernel_localtimestamp(call_t *c) {
    int64_t us;
    TRY(now_wall(c, &us));
    for (uint32_t i = 0; i < c->n; i++) c->out->i64[i] = us;
    return NULL;
}
err_t *kernel_current_date(call_t *c) {
    int64_t us;
    TRY(now_wall(c, &us));
    for (uint32_t i = 0; i < c->n; i++) c->out->i32[i] = (int32_t)floor_div(us, US_PER_DAY);
    return NULL;
}
err_t *kernel_current_time(call_t *c) {
    int64_t us;
    TRY(now_wall(c, &us));
    for (uint32_t i = 0; i < c->n; i++) c->out->i32[i] = (int32_t)(floor_mod(us, US_PER_DAY) / US_PER_SECOND * 1000);
    return NULL;
}
err_t *rule_now(binding_t *b) {
    const char *n = b->func->name;
    const type_t *t = strcmp(n, "LOCALTIMESTAMP") == 0 ? &type_timestamp3
                      : strcmp(n, "CURRENT_DATE") == 0 ? &type_date
                      : strstr(n, "TIMESTAMP") || strcmp(n, "NOW") == 0 || strcmp(n, "PROCTIME") == 0 ? &type_ltz3
                                                                                                     : &type_time;
    b->type = type_nullable(b->a, t, false);
    return NULL;
}

err_t *rule_watermark(binding_t *b) {
    b->type = type_scalar(b->a, b->args[0]->type->kind, 3, true);
    return NULL;
}
err_t *kernel_watermark(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->ctx->watermark_ms <= INT64_MIN / 1000 || c->ctx->watermark_ms >= INT64_MAX / 1000) out_null(c, i);
        else c->out->i64[i] = c->ctx->watermark_ms * 1000;
    }
    return NULL;
}
