/* datetime.c: calendar and the fixed text forms. */
#include "engine/datetime.h"
#include "engine/number.h"

int64_t date_days(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void date_civil(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day) {
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *ret_day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *ret_month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *ret_year = yoe + era * 400 + (*ret_month <= 2);
}

int date_month_days(int64_t year, int month) {
    static const uint8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month] + (month == 2 && leap);
}

datetime_t datetime_of(int64_t us) {
    datetime_t d;
    int64_t days = floor_div(us, US_PER_DAY), rest = us - days * US_PER_DAY;
    date_civil(days, &d.year, &d.month, &d.day);
    d.micro = (int)(rest % US_PER_SECOND);
    int s = (int)(rest / US_PER_SECOND);
    d.hour = s / 3600;
    d.minute = s / 60 % 60;
    d.second = s % 60;
    return d;
}

int64_t datetime_us(const datetime_t *d) {
    int64_t s = date_days(d->year, d->month, d->day) * 86400 + d->hour * 3600 + d->minute * 60 + d->second;
    return s * US_PER_SECOND + d->micro;
}

int64_t timestamp_add_months(int64_t us, int64_t months) {
    datetime_t d = datetime_of(us);
    int64_t m = d.year * 12 + d.month - 1 + months;
    d.year = floor_div(m, 12);
    d.month = (int)floor_mod(m, 12) + 1;
    int last = date_month_days(d.year, d.month);
    if (d.day > last) d.day = last;
    return datetime_us(&d);
}

/* ---- printing */
static inline char *put2(char *p, int v) {
    p[0] = (char)('0' + v / 10);
    p[1] = (char)('0' + v % 10);
    return p + 2;
}

static char *put_date(char *p, int64_t year, int month, int day) {
    if (year < 0) *p++ = '-';
    uint64_t y = (uint64_t)(year < 0 ? -year : year);
    p += y < 10000 ? u64_print_padded(p, y, 4) : u64_print(p, y);
    *p++ = '-';
    p = put2(p, month);
    *p++ = '-';
    return put2(p, day);
}

static char *put_time(char *p, int hour, int minute, int second) {
    p = put2(p, hour);
    *p++ = ':';
    p = put2(p, minute);
    *p++ = ':';
    return put2(p, second);
}

static char *put_fraction(char *p, int micro, int precision) {
    if (precision <= 0) return p;
    char digits[6];
    u64_print_padded(digits, (uint64_t)micro, 6);
    *p++ = '.';
    for (int i = 0; i < precision; i++) *p++ = i < 6 ? digits[i] : '0';
    return p;
}

static int fraction_digits(int micro) {
    if (micro == 0) return 0;
    int n = 6;
    for (; micro % 10 == 0; micro /= 10) n--;
    return n;
}

size_t date_print(char *p, int32_t days) {
    int64_t y;
    int m, d;
    date_civil(days, &y, &m, &d);
    return (size_t)(put_date(p, y, m, d) - p);
}

size_t time_print(char *p, int32_t ms, int precision) {
    if (ms != MS_PER_DAY) ms = (int32_t)floor_mod(ms, MS_PER_DAY); /* CEIL gives 24:00:00 */
    char *at = put_time(p, ms / 3600000, ms / 60000 % 60, ms / 1000 % 60);
    if (precision > 0) *at++ = '.';
    for (int rest = ms % 1000; precision > 0; precision--) { /* as Flink: ends with the last digit that counts */
        *at++ = (char)('0' + rest / 100);
        rest = rest % 100 * 10;
        if (rest == 0) break;
    }
    return (size_t)(at - p);
}

size_t timestamp_print(char *p, int64_t us, int precision, char separator) {
    datetime_t d = datetime_of(us);
    char *at = put_date(p, d.year, d.month, d.day);
    *at++ = separator;
    at = put_time(at, d.hour, d.minute, d.second);
    at = put_fraction(at, d.micro, precision > 9 ? 9 : precision);
    return (size_t)(at - p);
}

size_t timestamp_print_json(char *p, int64_t us, char separator, bool utc) {
    int64_t micro = floor_mod(us, US_PER_SECOND);
    size_t n = timestamp_print(p, us, fraction_digits((int)micro), separator);
    if (utc) p[n++] = 'Z';
    return n;
}

size_t time_print_json(char *p, int32_t ms) {
    int64_t f = floor_mod(ms, 1000);
    return time_print(p, ms, f == 0 ? 0 : fraction_digits((int)f * 1000));
}

/* ---- parsing */
typedef struct cursor {
    const char *p, *end;
} cursor_t;

static bool eat(cursor_t *c, char ch) {
    if (c->p == c->end || *c->p != ch) return false;
    c->p++;
    return true;
}

/* min..max digits */
static bool eat_number(cursor_t *c, int min, int max, int *ret) {
    int v = 0, n = 0;
    while (n < max && c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        v = v * 10 + (*c->p++ - '0');
        n++;
    }
    *ret = v;
    return n >= min;
}

/* 1..9 digits; microseconds, the rest is cut */
static bool eat_fraction(cursor_t *c, int *ret_micro) {
    int v = 0, n = 0;
    for (; n < 9 && c->p < c->end && *c->p >= '0' && *c->p <= '9'; n++, c->p++)
        if (n < 6) v = v * 10 + (*c->p - '0');
    for (int i = n; i < 6; i++) v *= 10;
    *ret_micro = v;
    return n > 0;
}

/* The day may lie behind the month's last: java.time's SMART resolver takes the last day then, up to 31. */
static bool eat_date(cursor_t *c, int digits, bool smart, datetime_t *d) {
    int year;
    if (!eat_number(c, 4, 4, &year) || !eat(c, '-')) return false;
    if (!eat_number(c, digits, 2, &d->month) || !eat(c, '-') || !eat_number(c, digits, 2, &d->day)) return false;
    d->year = year;
    if (d->month < 1 || d->month > 12 || d->day < 1 || d->day > 31) return false;
    int last = date_month_days(year, d->month);
    if (d->day > last) {
        if (!smart) return false;
        d->day = last;
    }
    return true;
}

static bool eat_time(cursor_t *c, int digits, datetime_t *d) {
    if (!eat_number(c, digits, 2, &d->hour) || !eat(c, ':') || !eat_number(c, digits, 2, &d->minute) ||
        !eat(c, ':') || !eat_number(c, digits, 2, &d->second))
        return false;
    if (d->hour == 24) return d->minute == 0 && d->second == 0; /* the next day's begin; a fraction or a date must allow it */
    return d->hour < 24 && d->minute < 60 && d->second < 60;
}

bool timestamp_parse_strict(const char *p, size_t n, char separator, bool utc, int64_t *ret_us) {
    cursor_t c = {p, p + n};
    datetime_t d = {0};
    bool iso = separator == 'T'; /* Flink's own form resolves February 30 and 24:00, and takes a bare point; Java's ISO form does not */
    if (!eat_date(&c, 2, !iso, &d) || !eat(&c, separator) || !eat_time(&c, 2, &d) || (iso && d.hour == 24)) return false;
    if (eat(&c, '.') && !eat_fraction(&c, &d.micro) && iso) return false;
    if (utc && !eat(&c, 'Z')) return false;
    if (c.p != c.end || (d.hour == 24 && d.micro)) return false;
    *ret_us = datetime_us(&d);
    return true;
}

bool date_parse_strict(const char *p, size_t n, int32_t *ret_days) {
    cursor_t c = {p, p + n};
    datetime_t d = {0};
    if (!eat_date(&c, 2, false, &d) || c.p != c.end) return false;
    *ret_days = (int32_t)date_days(d.year, d.month, d.day);
    return true;
}

static int32_t time_of(const datetime_t *d) {
    return d->hour * 3600000 + d->minute * 60000 + d->second * 1000 + d->micro / 1000;
}

bool time_parse_strict(const char *p, size_t n, int32_t *ret_ms) {
    cursor_t c = {p, p + n};
    datetime_t d = {0};
    if (!eat_time(&c, 2, &d)) return false;
    if (eat(&c, '.')) eat_fraction(&c, &d.micro);
    if (c.p != c.end || (d.hour == 24 && d.micro)) return false;
    if (d.hour == 24) d.hour = 0;
    *ret_ms = time_of(&d);
    return true;
}

bool timestamp_parse(const char *p, size_t n, int64_t *ret_us) {
    cursor_t c = {p, p + n};
    datetime_t d = {0};
    if (!eat_date(&c, 1, true, &d) || d.year == 0) return false; /* Java's year of an era */
    if (eat(&c, ' ')) {
        if (!eat_time(&c, 1, &d)) return false;
        if (eat(&c, '.')) eat_fraction(&c, &d.micro);
    }
    if (c.p != c.end || (d.hour == 24 && d.micro)) return false;
    *ret_us = datetime_us(&d);
    return true;
}

static bool eat_blank_number(cursor_t *c, int max, int *ret) {
    while (c->p < c->end && (unsigned char)*c->p <= ' ') c->p++; /* as Java's trim */
    if (!eat_number(c, 1, max, ret)) return false;
    while (c->p < c->end && (unsigned char)*c->p <= ' ') c->p++;
    return true;
}

bool date_parse(const char *p, size_t n, int32_t *ret_days) {
    const char *blank = n ? memchr(p, ' ', n) : NULL; /* the time of a timestamp does not matter */
    cursor_t c = {p, blank && blank > p ? blank : p + n};
    int y, m = 1, d = 1;
    if (!eat_blank_number(&c, 9, &y)) return false;
    if (eat(&c, '-')) {
        if (!eat_blank_number(&c, 9, &m)) return false;
        if (eat(&c, '-') && !eat_blank_number(&c, 9, &d)) return false;
    }
    if (c.p != c.end || y > 9999 || m < 1 || m > 12 || d < 1 || d > date_month_days(y, m)) return false;
    *ret_days = (int32_t)date_days(y, m, d);
    return true;
}

bool time_parse(const char *p, size_t n, int32_t *ret_ms) {
    cursor_t c = {p, p + n};
    datetime_t d = {0};
    if (!eat_blank_number(&c, 9, &d.hour)) return false;
    if (eat(&c, ':')) {
        if (!eat_blank_number(&c, 9, &d.minute)) return false;
        if (eat(&c, ':')) {
            if (!eat_blank_number(&c, 9, &d.second)) return false;
            if (eat(&c, '.') && !eat_fraction(&c, &d.micro)) return false;
            d.micro += 500; /* Flink rounds here, and nowhere else */
        }
    }
    if (c.p != c.end || d.hour > 23 || d.minute > 59 || d.second > 59) return false;
    *ret_ms = time_of(&d);
    return true;
}
