/* connector.c: the one table of connectors, and the check of option keys. */
#include "engine/connector/connector.h"
#include "common/near.h"
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

static bool key_matches(const char *key, const char *known) {
    size_t n = strlen(known);
    if (n && known[n - 1] == '*') return strncmp(key, known, n - 1) == 0 && key[n - 1];
    return strcmp(key, known) == 0;
}

/* Options of the formats the table names: 'format' -> json.x, 'value.format' -> value.json.x, 'key.format' -> key.json.x */
static bool format_key_known(arena_t *a, const table_t *t, const char *key, near_t *near) {
    static const struct {
        const char *option, *prefix;
    } forms[] = {{"format", ""}, {"value.format", "value."}, {"key.format", "key."}};
    for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
        const char *format = options_get(&t->options, forms[f].option);
        const char *const *keys = format ? format_options(format) : NULL;
        for (; keys && *keys; keys++) {
            const char *name = arena_printf(a, "%s%s.%s", forms[f].prefix, format, *keys);
            if (strcmp(name, key) == 0) return true;
            near_offer(near, name);
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
    arena_t *a AUTO(arena_freep) = arena_new(); /* of the names that are composed */
    for (int i = 0; i < t->options.n; i++) {
        const char *key = t->options.keys[i];
        near_t near = {.wanted = key};
        bool ok = strcmp(key, "connector") == 0;
        for (const char *const *k = known; !ok && *k; k++) {
            ok = key_matches(key, *k);
            if (!strchr(*k, '*')) near_offer(&near, *k);
        }
        if (ok || format_key_known(a, t, key, &near)) continue;
        err_t *e = err_new(ERR_INVALID, "table %s: connector '%s' has no option '%s'", t->name, t->connector, key);
        return near_word(&near) ? err_hint(e, "did you mean '%s'?", near_word(&near)) : e;
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
