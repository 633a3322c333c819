/* datetime.h: the proleptic Gregorian calendar, texts of dates and times, time zones.
 *
 * Units: days since 1970-01-01, milliseconds of the day, microseconds since 1970-01-01T00:00. A wall time and an
 * instant are both microseconds; only a zone makes one from the other. No locale, no clock, no global state. */
#pragma once
#include "common/err.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY (INT64_C(86400) * US_PER_SECOND)
#define MS_PER_DAY INT64_C(86400000)

static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }
static inline int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }
/* What the last digit of a time of this precision stands for, 0 to 6. */
static inline int64_t precision_us(int precision) {
    static const int64_t us[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    return us[precision];
}

int64_t date_days(int64_t year, int month, int day);
void date_civil(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day);
int date_month_days(int64_t year, int month);

typedef struct datetime {
    int64_t year;
    int month, day, hour, minute, second, micro;
} datetime_t;
datetime_t datetime_of(int64_t us);
int64_t datetime_us(const datetime_t *d);
int64_t timestamp_add_months(int64_t us, int64_t months); /* the day is cut to the month's last */

/* ---- text. Printers as in number.h; room DATETIME_TEXT_MAX. */
#define DATETIME_TEXT_MAX 40
size_t date_print(char *p, int32_t days);                       /* 2020-01-31 */
size_t time_print(char *p, int32_t ms, int precision); /* 12:34:56[.fff]; no zeros behind the last digit that counts */
size_t timestamp_print(char *p, int64_t us, int precision, char separator); /* precision 0..6: so many digits */
/* As Flink's JSON and CSV formats write: fraction digits without trailing zeros, none when zero. The ISO form has 'T';
 * utc appends 'Z'. */
size_t timestamp_print_json(char *p, int64_t us, char separator, bool utc);
size_t time_print_json(char *p, int32_t ms);

/* Strict: yyyy-MM-dd<sep>HH:mm:ss[.f..f] and, when utc, 'Z' (both forms of Flink's formats: sep ' ' or 'T').
 * Digits of the fraction beyond six are cut. */
bool timestamp_parse_strict(const char *p, size_t n, char separator, bool utc, int64_t *ret_us);
bool date_parse_strict(const char *p, size_t n, int32_t *ret_days);
bool time_parse_strict(const char *p, size_t n, int32_t *ret_ms);
/* Lenient, as Flink's CAST of text: one-digit fields, a date alone is its midnight. */
bool timestamp_parse(const char *p, size_t n, int64_t *ret_us);
bool date_parse(const char *p, size_t n, int32_t *ret_days);
bool time_parse(const char *p, size_t n, int32_t *ret_ms);

/* ---- patterns of java.time's DateTimeFormatter and of SimpleDateFormat (simple): "yyyy-MM-dd HH:mm:ss.SSS". Names of
 * months and days are English. */
typedef struct date_pattern date_pattern_t;
err_t *date_pattern_compile(const char *p, size_t n, bool simple, date_pattern_t **ret); /* ERR_UNSUPPORTED, ERR_INVALID */
void date_pattern_free(date_pattern_t *p);
/* Prints wall time us; offset_s and zone are for the letters that name the zone. Returns the bytes, cut at room. */
size_t date_pattern_print(const date_pattern_t *p, int64_t us, int32_t offset_s, const char *zone, char *out, size_t room);
bool date_pattern_names_zone(const date_pattern_t *p); /* has it the letter z? */
bool date_pattern_reads_offset(const date_pattern_t *p); /* then a `simple` pattern gives the instant, not a wall time */
bool date_pattern_optional(const date_pattern_t *p); /* has it a part in [ ], which is not read? */
/* Fields that are missing are those of 1970-01-01 00:00. A simple pattern is lenient: 32 January is 1 February, and
 * what follows is ignored; otherwise the whole text must match, and 31 February is the last of February. */
bool date_pattern_parse(const date_pattern_t *p, const char *text, size_t n, int64_t *ret_us);

/* ---- time zones: the system's database, "UTC", "Z", "GMT+8", "+08:00". Immutable after opening. */
typedef struct tz tz_t;
err_t *tz_open(const char *name, tz_t **ret); /* ERR_INVALID for an unknown one */
void tz_free(tz_t *z);
bool tz_is_utc(const tz_t *z);
int32_t tz_offset(const tz_t *z, int64_t utc_s);       /* seconds east of UTC at an instant */
int64_t tz_to_wall(const tz_t *z, int64_t utc_us);
/* In a gap the wall time moves forward by the gap, in an overlap the earlier instant is taken (as java.time). */
int64_t tz_to_utc(const tz_t *z, int64_t wall_us);
