/* datetime_pattern.c: date-time patterns: letters repeated, literals, quoted texts. */
#include "engine/datetime.h"
#include "engine/number.h"
#include <stdlib.h>
#include <strings.h>

typedef struct item {
    char letter; /* 0: literal */
    int count;
    char *literal;
    size_t len;
} item_t;

struct date_pattern {
    bool simple, optional; /* optional: a part in [ ] */
    int n;
    item_t *items;
};

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const weekdays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

bool date_pattern_names_zone(const date_pattern_t *p) {
    for (int i = 0; i < p->n; i++)
        if (p->items[i].letter == 'z') return true;
    return false;
}

bool date_pattern_reads_offset(const date_pattern_t *p) {
    for (int i = 0; i < p->n; i++)
        if (p->items[i].letter && strchr("XxZz", p->items[i].letter)) return true;
    return false;
}

bool date_pattern_optional(const date_pattern_t *p) { return p->optional; }

void date_pattern_free(date_pattern_t *p) {
    if (!p) return;
    for (int i = 0; i < p->n; i++) free(p->items[i].literal);
    free(p->items);
    free(p);
}

static void add_literal(date_pattern_t *p, const char *s, size_t n) {
    if (n == 0) return;
    p->items[p->n++] = (item_t){.literal = xstrndup(s, n), .len = n};
}

err_t *date_pattern_compile(const char *s, size_t n, bool simple, date_pattern_t **ret) {
    date_pattern_t *p = xcalloc(1, sizeof *p);
    p->simple = simple;
    p->items = xcalloc(n + 1, sizeof *p->items);
    for (size_t i = 0; i < n;) {
        char ch = s[i];
        bool letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
        if (letter) {
            size_t k = i;
            while (k < n && s[k] == ch) k++;
            if (!strchr(simple ? "yuMLdDEaHkKhmsSzZXu" : "yuYwGMLdDEaHkKhmsSnAeQqVzxXZO", ch)) {
                date_pattern_free(p);
                return err_new(ERR_UNSUPPORTED, "date pattern '%.*s': the letter %c is not known here", (int)n, s, ch);
            }
            p->items[p->n++] = (item_t){.letter = ch, .count = (int)(k - i)};
            i = k;
        } else if (ch == '\'') {
            if (i + 1 < n && s[i + 1] == '\'') {
                add_literal(p, "'", 1);
                i += 2;
                continue;
            }
            size_t k = i + 1, from = k;
            for (; k < n; k++) {
                if (s[k] != '\'') continue;
                if (k + 1 >= n || s[k + 1] != '\'') break;
                add_literal(p, s + from, k + 1 - from); /* two quotes are one */
                from = k + 2;
                k++;
            }
            if (k >= n) {
                date_pattern_free(p);
                return err_new(ERR_INVALID, "date pattern '%.*s': a quote is not closed", (int)n, s);
            }
            add_literal(p, s + from, k - from);
            i = k + 1;
        } else {
            if (!simple && (ch == '[' || ch == ']')) p->optional = true; /* printed, such a part is always there */
            else add_literal(p, s + i, 1);
            i++;
        }
    }
    *ret = p;
    return NULL;
}

/* ---- printing */
typedef struct sink {
    char *out;
    size_t n, room;
} sink_t;

static void put(sink_t *s, const char *p, size_t n) {
    if (n > s->room - s->n) n = s->room - s->n;
    memcpy(s->out + s->n, p, n);
    s->n += n;
}

static void put_number(sink_t *s, int64_t v, int width) {
    char t[24];
    size_t n = 0;
    if (v < 0) {
        put(s, "-", 1);
        v = -v;
    }
    n = u64_print(t, (uint64_t)v);
    for (int i = (int)n; i < width; i++) put(s, "0", 1);
    put(s, t, n);
}

static void put_offset(sink_t *s, int32_t offset, bool colon, bool z) {
    if (offset == 0 && z) {
        put(s, "Z", 1);
        return;
    }
    int32_t a = offset < 0 ? -offset : offset;
    put(s, offset < 0 ? "-" : "+", 1);
    put_number(s, a / 3600, 2);
    if (colon) put(s, ":", 1);
    put_number(s, a / 60 % 60, 2);
}

static void put_quarter(sink_t *s, int q, int count) {
    static const char *const words[] = {"1st quarter", "2nd quarter", "3rd quarter", "4th quarter"};
    if (count == 3) put(s, "Q", 1);
    if (count == 4) put(s, words[q - 1], strlen(words[0]));
    else put_number(s, q, count == 3 || count == 5 ? 1 : count);
}

/* Weeks as in the US, Java's default here: they begin on Sunday, the first one holds January 1. */
static int64_t us_week(int64_t days, int64_t year, int64_t *ret_year) {
    int64_t saturday = days + 6 - floor_mod(days + 4, 7);
    int64_t next = date_days((int)year + 1, 1, 1), first = date_days((int)year, 1, 1);
    *ret_year = saturday >= next ? year + 1 : year;
    return saturday >= next ? 1 : (days - first + floor_mod(first + 4, 7)) / 7 + 1;
}

static void put_item(sink_t *s, const date_pattern_t *p, const item_t *it, const datetime_t *d, int64_t us,
                     int32_t offset, const char *zone) {
    int wd = (int)floor_mod(floor_div(us, US_PER_DAY) + 4, 7);
    switch (it->letter) {
    case 'y':
    case 'u':
        if (p->simple && it->letter == 'u') put_number(s, wd == 0 ? 7 : wd, it->count);
        else if (it->count == 2) put_number(s, floor_mod(d->year, 100), 2);
        else put_number(s, d->year, it->count);
        break;
    case 'M':
    case 'L':
        if (it->count == 3) put(s, months[d->month - 1], 3);
        else if (it->count == 5) put(s, months[d->month - 1], p->simple ? strlen(months[d->month - 1]) : 1);
        else if (it->count > 3) put(s, months[d->month - 1], strlen(months[d->month - 1]));
        else put_number(s, d->month, it->count);
        break;
    case 'd': put_number(s, d->day, it->count); break;
    case 'D': put_number(s, floor_div(us, US_PER_DAY) - date_days(d->year, 1, 1) + 1, it->count); break;
    case 'E':
        if (it->count <= 3) put(s, weekdays[wd], 3);
        else put(s, weekdays[wd], it->count == 5 && !p->simple ? 1 : strlen(weekdays[wd]));
        break;
    case 'e': put_number(s, wd + 1, it->count); break;
    case 'Q':
    case 'q': put_quarter(s, (d->month + 2) / 3, it->count); break;
    case 'G': put(s, d->year > 0 ? (it->count == 4 ? "Anno Domini" : it->count == 5 ? "A" : "AD") : (it->count == 4 ? "Before Christ" : it->count == 5 ? "B" : "BC"),
                  d->year > 0 ? (it->count == 4 ? 11 : it->count == 5 ? 1 : 2) : (it->count == 4 ? 13 : it->count == 5 ? 1 : 2)); break;
    case 'Y':
    case 'w': {
        int64_t year, week = us_week(floor_div(us, US_PER_DAY), d->year, &year);
        if (it->letter == 'w') put_number(s, week, it->count);
        else put_number(s, it->count == 2 ? floor_mod(year, 100) : year, it->count);
        break;
    }
    case 'a': put(s, d->hour < 12 ? "AM" : "PM", 2); break;
    case 'H': put_number(s, d->hour, it->count); break;
    case 'k': put_number(s, d->hour == 0 ? 24 : d->hour, it->count); break;
    case 'K': put_number(s, d->hour % 12, it->count); break;
    case 'h': put_number(s, d->hour % 12 == 0 ? 12 : d->hour % 12, it->count); break;
    case 'm': put_number(s, d->minute, it->count); break;
    case 's': put_number(s, d->second, it->count); break;
    case 'n': put_number(s, (int64_t)d->micro * 1000, it->count); break;
    case 'A': put_number(s, floor_mod(us, US_PER_DAY) / 1000, it->count); break;
    case 'S':
        if (p->simple) {
            put_number(s, d->micro / 1000, it->count);
        } else {
            char t[9];
            u64_print_padded(t, (uint64_t)d->micro * 1000, 9);
            put(s, t, (size_t)MIN(it->count, 9));
        }
        break;
    case 'X':
    case 'x': put_offset(s, offset, it->count > 2, it->letter == 'X'); break;
    case 'Z': put_offset(s, offset, false, false); break;
    default: put(s, zone, strlen(zone));
    }
}

size_t date_pattern_print(const date_pattern_t *p, int64_t us, int32_t offset_s, const char *zone, char *out, size_t room) {
    sink_t s = {.out = out, .room = room};
    datetime_t d = datetime_of(us);
    for (int i = 0; i < p->n; i++) {
        if (p->items[i].letter) put_item(&s, p, &p->items[i], &d, us, offset_s, zone);
        else put(&s, p->items[i].literal, p->items[i].len);
    }
    return s.n;
}

/* ---- parsing */
typedef struct fields {
    int64_t year;
    int month, day, doy, hour, hour12, minute, second;
    int64_t micro;
    int pm; /* -1 unknown */
    int32_t offset;
    bool has_hour, has_offset;
} fields_t;

static bool is_numeric(const item_t *it) {
    if (!it->letter || strchr("EaVzZXxO", it->letter)) return false;
    return (it->letter != 'M' && it->letter != 'L') || it->count <= 2;
}

static bool is_fixed(const item_t *it) {
    if (it->letter == 'S') return true;
    return strchr("yu", it->letter) ? it->count == 2 : it->count >= 2;
}

static bool read_number(const date_pattern_t *p, int i, const char **at, const char *end, int64_t *ret) {
    const item_t *it = &p->items[i];
    const char *s = *at;
    int run = 0, min = it->count, max;
    if (p->simple)
        while (s < end && (*s == ' ' || *s == '\t')) s++;
    bool negative = p->simple && s < end && *s == '-';
    if (negative) s++;
    while (s + run < end && run < 18 && s[run] >= '0' && s[run] <= '9') run++;
    int reserve = 0;
    bool abuts = i + 1 < p->n && is_numeric(&p->items[i + 1]);
    if (p->simple) {
        min = 1;
        max = abuts ? it->count : run;
    } else {
        max = is_fixed(it) ? it->count : 18;
        for (int k = i + 1; k < p->n && is_numeric(&p->items[k]) && is_fixed(&p->items[k]); k++)
            reserve += p->items[k].count;
        if (!is_fixed(it) && run - reserve < max) max = run - reserve;
    }
    if (max > run) max = run;
    if (max < min || max < 1) return false;
    if (!p->simple && strchr("yu", it->letter) && it->count >= 4 && max > it->count) return false; /* Java wants a + then */
    int64_t v = 0;
    for (int k = 0; k < max; k++) v = v * 10 + (s[k] - '0');
    *ret = negative ? -v : v;
    *at = s + max;
    if (it->letter == 'S' && !p->simple)
        for (int k = max; k < 6; k++) *ret *= 10;
    if (it->letter == 'S' && !p->simple)
        for (int k = max; k > 6; k--) *ret /= 10;
    return true;
}

static bool read_name(const char *const *names, int n, bool full, bool any_case, const char **at, const char *end, int *ret) {
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++) {
            size_t len = (pass == 0) == full ? strlen(names[i]) : 3;
            if (!any_case && pass == 1) return false;
            if ((size_t)(end - *at) < len) continue;
            if ((any_case ? strncasecmp(*at, names[i], len) : strncmp(*at, names[i], len)) != 0) continue;
            *at += len;
            *ret = i;
            return true;
        }
    return false;
}

static bool read_offset(const char **at, const char *end, int32_t *ret) {
    const char *s = *at;
    if (s < end && (*s == 'Z')) {
        *at = s + 1;
        *ret = 0;
        return true;
    }
    if (end - s < 3 || (*s != '+' && *s != '-')) return false;
    int sign = *s++ == '-' ? -1 : 1, v[2] = {0, 0};
    for (int part = 0; part < 2; part++) {
        if (part && s < end && *s == ':') s++;
        if (end - s < 2 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9') {
            if (part) break;
            return false;
        }
        v[part] = (s[0] - '0') * 10 + s[1] - '0';
        s += 2;
    }
    *ret = sign * (v[0] * 3600 + v[1] * 60);
    *at = s;
    return true;
}

static bool read_item(const date_pattern_t *p, int i, const char **at, const char *end, fields_t *f) {
    const item_t *it = &p->items[i];
    int64_t v = 0;
    int name;
    if (is_numeric(it) && !read_number(p, i, at, end, &v)) return false;
    if (v > 1000000000 && it->letter != 'n') return false;
    switch (it->letter) {
    case 'y':
    case 'u':
        if (it->count == 2 && v >= 0 && v < 100) v += p->simple && v > 45 ? 1900 : 2000;
        f->year = v;
        return true;
    case 'M':
    case 'L':
        if (it->count <= 2) {
            f->month = (int)v;
            return true;
        }
        if (!read_name(months, 12, it->count > 3, p->simple, at, end, &name)) return false;
        f->month = name + 1;
        return true;
    case 'E': return read_name(weekdays, 7, it->count > 3, p->simple, at, end, &name);
    case 'a':
        if (end - *at < 2 || (strncasecmp(*at, "AM", 2) != 0 && strncasecmp(*at, "PM", 2) != 0)) return false;
        if (!p->simple && strncmp(*at, "AM", 2) != 0 && strncmp(*at, "PM", 2) != 0) return false;
        f->pm = (**at | 32) == 'p';
        *at += 2;
        return true;
    case 'd': f->day = (int)v; return true;
    case 'D': f->doy = (int)v; return true;
    case 'H':
    case 'k':
        f->hour = (int)(it->letter == 'k' && v == 24 ? 0 : v);
        f->has_hour = true;
        return true;
    case 'K':
    case 'h': f->hour12 = (int)(it->letter == 'h' && v == 12 ? 0 : v); return true;
    case 'm': f->minute = (int)v; return true;
    case 's': f->second = (int)v; return true;
    case 'S': f->micro = p->simple ? v * 1000 : v; return true;
    case 'n': f->micro = v / 1000; return true;
    case 'X':
    case 'x':
    case 'Z': f->has_offset = true; return read_offset(at, end, &f->offset);
    case 'z': /* names of zones are not known, but for these */
        if (end - *at < 3 || (strncmp(*at, "UTC", 3) != 0 && strncmp(*at, "GMT", 3) != 0)) return false;
        *at += 3;
        f->has_offset = true;
        f->offset = 0;
        return true;
    default: return false;
    }
}

static bool resolve(const date_pattern_t *p, fields_t *f, int64_t *ret_us) {
    if (f->hour12 >= 0 && !f->has_hour && (f->pm >= 0 || p->simple)) f->hour = f->hour12 + (f->pm == 1 ? 12 : 0);
    int64_t day;
    if (p->simple) {
        int64_t m = f->year * 12 + f->month - 1;
        day = date_days(floor_div(m, 12), (int)floor_mod(m, 12) + 1, 1) + f->day - 1;
        if (f->doy >= 0) day = date_days(f->year, 1, 1) + f->doy - 1;
    } else {
        if (f->month < 1 || f->month > 12 || f->day < 1 || f->day > 31 || f->hour > 23 || f->minute > 59 ||
            f->second > 59 || f->year > 999999)
            return false;
        if (f->doy == 0 || f->doy > 366) return false;
        int last = date_month_days(f->year, f->month);
        day = f->doy > 0 ? date_days(f->year, 1, 1) + f->doy - 1 : date_days(f->year, f->month, MIN(f->day, last));
    }
    if (day > 400000000 || day < -400000000) return false;
    /* of a DateTimeFormatter's result Flink takes the wall time and forgets the offset */
    *ret_us = day * US_PER_DAY +
              (f->hour * INT64_C(3600) + f->minute * INT64_C(60) + f->second - (f->has_offset && p->simple ? f->offset : 0)) * US_PER_SECOND +
              f->micro;
    return true;
}

bool date_pattern_parse(const date_pattern_t *p, const char *text, size_t n, int64_t *ret_us) {
    const char *at = text, *end = text + n;
    fields_t f = {.year = 1970, .month = 1, .day = 1, .doy = -1, .hour12 = -1, .pm = -1};
    for (int i = 0; i < p->n; i++) {
        const item_t *it = &p->items[i];
        if (it->letter) {
            if (!read_item(p, i, &at, end, &f)) return false;
        } else {
            if ((size_t)(end - at) < it->len || memcmp(at, it->literal, it->len) != 0) return false;
            at += it->len;
        }
    }
    if (at != end && !p->simple) return false;
    return resolve(p, &f, ret_us);
}
