/* connector.c: the one table of connectors, and the check of option keys. */
#include "engine/connector/connector.h"
#include "engine/connector/kafka_table.h"
#include <stdio.h>

static const source_vtable_t *const sources[] = {&kafka_source, &upsert_kafka_source, &filesystem_source, &datagen_source};
static const sink_vtable_t *const sinks[] = {&kafka_sink, &upsert_kafka_sink, &filesystem_sink, &print_sink, &blackhole_sink};

const source_vtable_t *source_find(const char *connector) {
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (strcmp(sources[i]->connector, connector) == 0) return sources[i];
    return NULL;
}

const sink_vtable_t *sink_find(const char *connector) {
    for (size_t i = 0; i < ARRAY_LEN(sinks); i++)
        if (strcmp(sinks[i]->connector, connector) == 0) return sinks[i];
    return NULL;
}

void connector_names(buf_t *out, bool of_sinks) {
    size_t n = of_sinks ? ARRAY_LEN(sinks) : ARRAY_LEN(sources);
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s%s", i ? ", " : "", of_sinks ? sinks[i]->connector : sources[i]->connector);
}

/* ------------------------------------------------------------------ near names */
/* Optimal string alignment: insert, delete, replace, swap of neighbours. */
static int edit_distance(const char *a, const char *b) {
    enum { MAX = 64 };
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n >= MAX || m >= MAX) return MAX;
    int row[3][MAX + 1];
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int replace = up[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = MIN(MIN(up[j] + 1, now[j - 1] + 1), replace);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = MIN(now[j], up2[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

bool near_name(const char *a, const char *b, int *ret_distance) {
    int n = (int)strlen(a);
    *ret_distance = edit_distance(a, b);
    return *ret_distance <= (n < 4 ? 1 : n < 9 ? 2 : n / 3);
}

static bool key_matches(const char *key, const char *known) {
    size_t n = strlen(known);
    if (n && known[n - 1] == '*') return strncmp(key, known, n - 1) == 0 && key[n - 1];
    return strcmp(key, known) == 0;
}

typedef struct near {
    char best[128];
    int distance;
} near_t;
static void near_try(near_t *n, const char *key, const char *candidate) {
    int d;
    if (near_name(key, candidate, &d) && d < n->distance) {
        n->distance = d;
        snprintf(n->best, sizeof n->best, "%s", candidate);
    }
}

/* Options of the formats the table names: 'format' -> json.x, 'value.format' -> value.json.x, 'key.format' -> key.json.x */
static bool format_key_known(const table_t *t, const char *key, near_t *near) {
    static const struct {
        const char *option, *prefix;
    } forms[] = {{"format", ""}, {"value.format", "value."}, {"key.format", "key."}};
    for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
        const char *format = options_get(&t->options, forms[f].option);
        const char *const *keys = format ? format_options(format) : NULL;
        for (; keys && *keys; keys++) {
            char name[128];
            snprintf(name, sizeof name, "%s%s.%s", forms[f].prefix, format, *keys);
            if (strcmp(name, key) == 0) return true;
            near_try(near, key, name);
        }
    }
    return false;
}

static err_t *check_parallelism(const table_t *t) {
    int64_t n;
    TRY(err_wrap(options_i64(&t->options, "scan.parallelism", 1, 1, KEY_GROUPS, &n), "table %s", t->name));
    return err_wrap(options_i64(&t->options, "sink.parallelism", 1, 1, KEY_GROUPS, &n), "table %s", t->name);
}

err_t *options_check_known(const table_t *t, const char *const *known) {
    TRY(check_parallelism(t));
    for (int i = 0; i < t->options.n; i++) {
        const char *key = t->options.keys[i];
        near_t near = {.distance = 1000};
        bool ok = strcmp(key, "connector") == 0;
        for (const char *const *k = known; !ok && *k; k++) {
            ok = key_matches(key, *k);
            if (!strchr(*k, '*')) near_try(&near, key, *k);
        }
        if (ok || format_key_known(t, key, &near)) continue;
        err_t *e = err_new(ERR_INVALID, "table %s: connector '%s' has no option '%s'", t->name, t->connector, key);
        return near.best[0] ? err_hint(e, "did you mean '%s'?", near.best) : e;
    }
    return NULL;
}

err_t *option_required(const table_t *t, const char *key, const char **ret) {
    *ret = options_get(&t->options, key);
    if (*ret) return NULL;
    return err_new(ERR_INVALID, "table %s: connector '%s' needs the option '%s'", t->name, t->connector, key);
}

bool table_is_partition(const table_t *t, int column) {
    for (int i = 0; i < t->npartition; i++)
        if (t->partition[i] == column) return true;
    return false;
}

int table_data_columns(const table_t *t, int *ret) {
    int n = 0;
    for (int i = 0; i < t->physical->n; i++)
        if (!table_is_partition(t, i)) ret[n++] = i;
    return n;
}
