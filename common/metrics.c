#include "common/metrics.h"
#include "common/map.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct family { metric_type_t type; char *help; buf_t samples; } family_t;
struct metrics { map_t *families; }; /* by name; keeps their order */

metrics_t *metrics_new(void) {
    metrics_t *m = xcalloc(1, sizeof *m);
    m->families = map_new();
    return m;
}

static void family_free(void *p) {
    family_t *f = p;
    free(f->help);
    buf_free(&f->samples);
    free(f);
}
void metrics_free(metrics_t *m) {
    if (!m) return;
    map_free(m->families, family_free);
    free(m);
}

static bool name_ok(const char *s) {
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_') return false;
    return true;
}

static void put_escaped(buf_t *out, const char *s, bool quotes) {
    for (; *s; s++) {
        if (*s == '\\') buf_puts(out, "\\\\");
        else if (*s == '\n') buf_puts(out, "\\n");
        else if (*s == '"' && quotes) buf_puts(out, "\\\"");
        else buf_put_u8(out, (uint8_t)*s);
    }
}

/* Whole numbers without exponent, others with all their digits. */
static void put_number(buf_t *out, double v) {
    if (isnan(v)) buf_puts(out, "NaN");
    else if (isinf(v)) buf_puts(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == floor(v) && fabs(v) < 1e15) buf_printf(out, "%.0f", v);
    else buf_printf(out, "%.17g", v);
}

void metric(metrics_t *m, metric_type_t type, const char *name, const char *help, double value, const char *const *labels) {
    ASSERT(name_ok(name));
    family_t *f = map_get_str(m->families, name);
    if (!f) {
        f = xcalloc(1, sizeof *f);
        *f = (family_t){type, xstrdup(help), buf_make((size_t)64 << 20)};
        map_put_str(m->families, name, f);
    }
    ASSERT(f->type == type);
    buf_t *out = &f->samples;
    buf_puts(out, name);
    for (int i = 0; labels[i]; i += 2) {
        ASSERT(name_ok(labels[i]));
        buf_printf(out, "%c%s=\"", i ? ',' : '{', labels[i]);
        ASSERT(labels[i + 1]);
        put_escaped(out, labels[i + 1], true);
        buf_put_u8(out, '"');
    }
    if (labels[0]) buf_put_u8(out, '}');
    buf_put_u8(out, ' ');
    put_number(out, value);
    buf_put_u8(out, '\n');
}

void metrics_print(const metrics_t *m, buf_t *out) {
    size_t at = 0;
    slice_t name;
    void *value;
    while (map_next(m->families, &at, &name, &value)) {
        family_t *f = value;
        buf_printf(out, "# HELP %.*s ", (int)name.len, (const char *)name.p);
        put_escaped(out, f->help, false);
        buf_printf(out, "\n# TYPE %.*s %s\n", (int)name.len, (const char *)name.p, f->type == METRIC_COUNTER ? "counter" : "gauge");
        buf_put(out, f->samples.data, f->samples.len);
    }
}
