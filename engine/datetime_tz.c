/* datetime_tz.c: time zones from the system's TZif files (version 2+), their POSIX footer for the years after the
 * table, and fixed offsets. */
#include "engine/datetime.h"
#include "engine/number.h"
#include <stdio.h>
#include <stdlib.h>

#define ZONEINFO "/usr/share/zoneinfo/"
#define TZIF_MAX (1u << 20)

typedef struct tz_rule { /* of the footer: when daylight saving starts or ends */
    int kind;            /* 'M' month.week.day, 'J' day 1-365 without leap day, 'D' day 0-365 */
    int month, week, day;
    int32_t time_s;
} tz_rule_t;

struct tz {
    int n;              /* transitions */
    int64_t *at;        /* UTC seconds, ascending */
    int32_t *offset;    /* after the transition */
    int32_t first;      /* before all */
    bool has_rule, has_dst;
    int32_t std, dst;
    tz_rule_t start, end;
};

/* ---- POSIX TZ text */
static bool posix_name(const char **p) {
    const char *s = *p;
    if (*s == '<') {
        while (*s && *s != '>') s++;
        if (*s != '>') return false;
        *p = s + 1;
        return true;
    }
    while ((*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z')) s++;
    bool ok = s - *p >= 3;
    *p = s;
    return ok;
}

static bool posix_number(const char **p, int *ret) {
    int v = 0, n = 0;
    for (; **p >= '0' && **p <= '9' && n < 4; (*p)++, n++) v = v * 10 + (**p - '0');
    *ret = v;
    return n > 0;
}

static bool posix_time(const char **p, int32_t *ret) {
    int sign = 1, h, m = 0, s = 0;
    if (**p == '-' || **p == '+') sign = *(*p)++ == '-' ? -1 : 1;
    if (!posix_number(p, &h)) return false;
    if (**p == ':') {
        (*p)++;
        if (!posix_number(p, &m)) return false;
        if (**p == ':') {
            (*p)++;
            if (!posix_number(p, &s)) return false;
        }
    }
    *ret = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool posix_rule(const char **p, tz_rule_t *r) {
    r->time_s = 7200;
    if (**p == 'M') {
        (*p)++;
        r->kind = 'M';
        if (!posix_number(p, &r->month) || *(*p)++ != '.' || !posix_number(p, &r->week) || *(*p)++ != '.' ||
            !posix_number(p, &r->day))
            return false;
        if (r->month < 1 || r->month > 12 || r->week < 1 || r->week > 5 || r->day > 6) return false;
    } else {
        r->kind = 'D';
        if (**p == 'J') {
            r->kind = 'J';
            (*p)++;
        }
        if (!posix_number(p, &r->day) || r->day > 366) return false;
    }
    if (**p == '/') {
        (*p)++;
        return posix_time(p, &r->time_s);
    }
    return true;
}

static bool posix_parse(tz_t *z, const char *p) {
    int32_t west;
    if (!posix_name(&p) || !posix_time(&p, &west)) return false;
    z->std = -west;
    z->has_rule = true;
    if (*p == 0) return true;
    if (!posix_name(&p)) return false;
    z->dst = z->std + 3600;
    if (*p && *p != ',') {
        if (!posix_time(&p, &west)) return false;
        z->dst = -west;
    }
    if (*p++ != ',' || !posix_rule(&p, &z->start) || *p++ != ',' || !posix_rule(&p, &z->end)) return false;
    z->has_dst = true;
    return *p == 0;
}

static int64_t rule_wall_s(const tz_rule_t *r, int64_t year) {
    int64_t day;
    if (r->kind == 'M') {
        int64_t first = date_days(year, r->month, 1);
        int wd = (int)floor_mod(first + 4, 7); /* 0 = Sunday */
        int d = 1 + (r->day - wd + 7) % 7 + (r->week - 1) * 7;
        while (d > date_month_days(year, r->month)) d -= 7;
        day = first + d - 1;
    } else {
        bool leap = date_month_days(year, 2) == 29;
        day = date_days(year, 1, 1) + r->day - (r->kind == 'J');
        if (r->kind == 'J' && leap && r->day >= 60) day++;
    }
    return day * 86400 + r->time_s;
}

static int32_t rule_offset(const tz_t *z, int64_t utc_s) {
    if (!z->has_dst) return z->std;
    int64_t year;
    int m, d;
    date_civil(floor_div(utc_s + z->std, 86400), &year, &m, &d);
    int64_t start = rule_wall_s(&z->start, year) - z->std, end = rule_wall_s(&z->end, year) - z->dst;
    bool dst = start < end ? utc_s >= start && utc_s < end : utc_s >= start || utc_s < end;
    return dst ? z->dst : z->std;
}

/* ---- TZif */
static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }
static int64_t be64(const uint8_t *p) { return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4)); }

typedef struct tzif_head {
    uint32_t utc, std, leap, times, types, chars;
} tzif_head_t;

static bool tzif_head(const uint8_t *p, size_t n, tzif_head_t *h) {
    if (n < 44 || memcmp(p, "TZif", 4) != 0) return false;
    *h = (tzif_head_t){be32(p + 20), be32(p + 24), be32(p + 28), be32(p + 32), be32(p + 36), be32(p + 40)};
    return h->times < 100000 && h->types > 0 && h->types < 256 && h->chars < 10000 && h->leap < 1000 &&
           h->utc < 256 && h->std < 256;
}

static bool tzif_parse(tz_t *z, const uint8_t *p, size_t n) {
    tzif_head_t h;
    if (!tzif_head(p, n, &h) || p[4] < '2') return false;
    size_t skip = 44 + (size_t)h.times * 5 + h.types * 6u + h.chars + h.leap * 8u + h.std + h.utc;
    if (skip > n || !tzif_head(p + skip, n - skip, &h)) return false;
    const uint8_t *at = p + skip + 44, *end = p + n;
    size_t body = (size_t)h.times * 9 + h.types * 6u + h.chars + h.leap * 12u + h.std + h.utc;
    if (body > (size_t)(end - at)) return false;
    const uint8_t *index = at + (size_t)h.times * 8, *types = index + h.times, *footer = at + body;
    z->n = (int)h.times;
    z->at = xcalloc(h.times + 1u, sizeof *z->at);
    z->offset = xcalloc(h.times + 1u, sizeof *z->offset);
    z->first = (int32_t)be32(types);
    for (uint32_t i = 0; i < h.times; i++) {
        if (index[i] >= h.types) return false;
        z->at[i] = be64(at + (size_t)i * 8);
        z->offset[i] = (int32_t)be32(types + index[i] * 6u);
    }
    if (footer < end && *footer == '\n') {
        char text[128];
        size_t len = 0;
        for (footer++; footer < end && *footer != '\n' && len + 1 < sizeof text; footer++) text[len++] = (char)*footer;
        text[len] = 0;
        if (len && !posix_parse(z, text)) return false;
    }
    return true;
}

static bool name_ok(const char *name) {
    if (!*name || *name == '/' || strstr(name, "..") || strlen(name) > 100) return false;
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("/_+-", *p)))
            return false;
    return true;
}

/* "Z", "+08:00", "GMT+8", "UTC-05:30" */
static bool fixed_offset(const char *name, int32_t *ret) {
    if (strcmp(name, "UTC") == 0 || strcmp(name, "GMT") == 0 || strcmp(name, "Z") == 0 || strcmp(name, "UT") == 0) {
        *ret = 0;
        return true;
    }
    if (strncmp(name, "UTC", 3) == 0 || strncmp(name, "GMT", 3) == 0) name += 3;
    if (*name != '+' && *name != '-') return false;
    int32_t s;
    const char *p = name + 1;
    if (!posix_time(&p, &s) || *p || s > 18 * 3600) return false;
    *ret = *name == '-' ? -s : s;
    return true;
}

err_t *tz_open(const char *name, tz_t **ret) {
    tz_t *z = xcalloc(1, sizeof *z);
    if (fixed_offset(name, &z->first)) {
        *ret = z;
        return NULL;
    }
    bool ok = false;
    if (name_ok(name)) {
        char path[160];
        snprintf(path, sizeof path, ZONEINFO "%s", name);
        FILE *f = fopen(path, "rb");
        if (f) {
            uint8_t *data = xmalloc(TZIF_MAX);
            size_t n = fread(data, 1, TZIF_MAX, f);
            fclose(f);
            ok = tzif_parse(z, data, n);
            free(data);
        }
    }
    if (!ok) {
        tz_free(z);
        return err_hint(err_new(ERR_INVALID, "unknown time zone '%.100s'", name),
                        "use a name such as Europe/Berlin, UTC or an offset such as +08:00");
    }
    *ret = z;
    return NULL;
}

void tz_free(tz_t *z) {
    if (!z) return;
    free(z->at);
    free(z->offset);
    free(z);
}

bool tz_is_utc(const tz_t *z) { return z->n == 0 && z->first == 0 && !z->has_rule; }

int32_t tz_offset(const tz_t *z, int64_t utc_s) {
    if (z->n == 0 || utc_s < z->at[0]) return z->n == 0 && z->has_rule ? rule_offset(z, utc_s) : z->first;
    if (utc_s >= z->at[z->n - 1] && z->has_rule) return rule_offset(z, utc_s);
    int lo = 0, hi = z->n - 1; /* the last transition at or before */
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (z->at[mid] <= utc_s) lo = mid;
        else hi = mid - 1;
    }
    return z->offset[lo];
}

int64_t tz_to_wall(const tz_t *z, int64_t utc_us) {
    return utc_us + (int64_t)tz_offset(z, floor_div(utc_us, US_PER_SECOND)) * US_PER_SECOND;
}

int64_t tz_to_utc(const tz_t *z, int64_t wall_us) {
    int64_t s = floor_div(wall_us, US_PER_SECOND);
    /* the offsets a day before and after bracket any change around the wall time */
    int32_t before = tz_offset(z, s - 86400), after = tz_offset(z, s + 86400);
    if (tz_offset(z, s - before) == before) return wall_us - (int64_t)before * US_PER_SECOND;
    if (tz_offset(z, s - after) == after) return wall_us - (int64_t)after * US_PER_SECOND;
    return wall_us - (int64_t)before * US_PER_SECOND; /* in a gap */
}
