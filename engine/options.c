/* options.c: values of WITH and SET options. Errors name the key, the value and what would be accepted. */
#include "engine/plan.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

const char *options_get(const options_t *o, const char *key) {
    for (int i = o->n - 1; i >= 0; i--) /* the last one written holds */
        if (strcmp(o->keys[i], key) == 0) return o->values[i];
    return NULL;
}

static const char *skip_blanks(const char *p) {
    while (isspace((unsigned char)*p)) p++;
    return p;
}

/* A non-negative number followed by a unit (may be empty); blanks around both. */
static bool parse_number_unit(const char *text, uint64_t *ret, char unit[static 16]) {
    const char *p = skip_blanks(text);
    if (!isdigit((unsigned char)*p)) return false;
    errno = 0;
    char *end;
    *ret = strtoull(p, &end, 10);
    if (errno) return false;
    p = skip_blanks(end);
    size_t n = 0;
    while (isalpha((unsigned char)p[n]) && n < 15) n++;
    if (*skip_blanks(p + n)) return false;
    memcpy(unit, p, n);
    unit[n] = 0;
    return true;
}

typedef struct unit {
    const char *names; /* blank separated, lower case */
    int64_t num, den;
} unit_t;

static bool unit_scale(const unit_t *units, size_t n, const char *unit, uint64_t value, int64_t *ret) {
    size_t len = strlen(unit);
    for (size_t i = 0; i < n; i++) {
        for (const char *p = units[i].names; *p;) {
            size_t m = strcspn(p, " ");
            if (m == len && strncasecmp(p, unit, m) == 0) {
                i128 v = (i128)value * units[i].num / units[i].den;
                if (v > INT64_MAX) return false;
                *ret = (int64_t)v;
                return true;
            }
            p += m + (p[m] == ' ');
        }
    }
    return false;
}

err_t *parse_duration_ms(const char *text, int64_t *ret) {
    static const unit_t units[] = {
        {"ms milli millis millisecond milliseconds", 1, 1},
        {"s sec secs second seconds", 1000, 1},
        {"min m minute minutes", 60000, 1},
        {"h hour hours", 3600000, 1},
        {"d day days", 86400000, 1},
        {"us micro micros microsecond microseconds", 1, 1000},
        {"ns nano nanos nanosecond nanoseconds", 1, 1000000},
    };
    uint64_t v;
    char unit[16];
    if (parse_number_unit(text, &v, unit)) {
        if (!*unit) memcpy(unit, "ms", 3); /* as Flink: a bare number is milliseconds */
        if (unit_scale(units, ARRAY_LEN(units), unit, v, ret)) return NULL;
    }
    return err_new(ERR_INVALID, "'%s' is not a duration: write a number and a unit, as in '100 ms', '5 s', '1 min', '2 h'", text);
}

err_t *parse_bytes(const char *text, int64_t *ret) {
    static const unit_t units[] = {
        {"b bytes", 1, 1},
        {"k kb kib kibibytes", 1 << 10, 1},
        {"m mb mib mebibytes", 1 << 20, 1},
        {"g gb gib gibibytes", 1 << 30, 1},
        {"t tb tib tebibytes", (int64_t)1 << 40, 1},
    };
    uint64_t v;
    char unit[16];
    if (parse_number_unit(text, &v, unit)) {
        if (!*unit) memcpy(unit, "b", 2);
        if (unit_scale(units, ARRAY_LEN(units), unit, v, ret)) return NULL;
    }
    return err_new(ERR_INVALID, "'%s' is not a size: write a number and a unit, as in '512 kb', '64 mb', '2 gb'", text);
}

err_t *options_i64(const options_t *o, const char *key, int64_t absent, int64_t min, int64_t max, int64_t *ret) {
    const char *text = options_get(o, key);
    int64_t v = absent;
    if (text) {
        errno = 0;
        char *end;
        const char *p = skip_blanks(text);
        v = strtoll(p, &end, 10);
        if (errno || end == p || *skip_blanks(end))
            return err_new(ERR_INVALID, "option '%s' = '%s' is not a whole number", key, text);
        if (v < min || v > max)
            return err_new(ERR_INVALID, "option '%s' = %" PRId64 " is out of range: %" PRId64 " to %" PRId64, key, v, min, max);
    }
    *ret = v;
    return NULL;
}

err_t *options_bool(const options_t *o, const char *key, bool absent, bool *ret) {
    const char *text = options_get(o, key);
    if (!text) {
        *ret = absent;
    } else if (strcasecmp(text, "true") == 0) {
        *ret = true;
    } else if (strcasecmp(text, "false") == 0) {
        *ret = false;
    } else {
        return err_new(ERR_INVALID, "option '%s' = '%s' is neither 'true' nor 'false'", key, text);
    }
    return NULL;
}

err_t *options_duration_ms(const options_t *o, const char *key, int64_t absent, int64_t *ret) {
    const char *text = options_get(o, key);
    if (!text) {
        *ret = absent;
        return NULL;
    }
    return err_wrap(parse_duration_ms(text, ret), "option '%s'", key);
}

err_t *options_bytes(const options_t *o, const char *key, int64_t absent, int64_t *ret) {
    const char *text = options_get(o, key);
    if (!text) {
        *ret = absent;
        return NULL;
    }
    return err_wrap(parse_bytes(text, ret), "option '%s'", key);
}
