#include "engine/connector/kafka_table.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const known_options[] = {
    "topic", "properties.*", "format", "value.format", "key.format", "key.fields", "key.fields-prefix", "value.fields-include", "scan.startup.mode",
    "scan.startup.specific-offsets", "scan.startup.timestamp-millis", "scan.bounded.mode", "scan.bounded.specific-offsets",
    "scan.bounded.timestamp-millis", "scan.topic-partition-discovery.interval", "scan.watermark.idle-timeout", "scan.watermark.alignment.group",
    "scan.watermark.alignment.max-drift", "scan.watermark.alignment.update-interval", "scan.watermark.emit.strategy",
    "scan.watermark.emit.on-event.gap", "scan.parallelism", "sink.delivery-guarantee", "sink.transactional-id-prefix", "sink.parallelism",
    "sink.partitioner", "sink.buffer-flush.max-rows", "sink.buffer-flush.interval", NULL};

static const struct {
    const char *key;
    type_kind_t kind;
    const char *type;
    bool writable;
} metas[META_KINDS] = {
    [META_TOPIC] = {"topic", TYPE_VARCHAR, "STRING", false},
    [META_PARTITION] = {"partition", TYPE_INT, "INT", false},
    [META_OFFSET] = {"offset", TYPE_BIGINT, "BIGINT", false},
    [META_TIMESTAMP] = {"timestamp", TYPE_TIMESTAMP_LTZ, "TIMESTAMP_LTZ(3)", true},
    [META_TIMESTAMP_TYPE] = {"timestamp-type", TYPE_VARCHAR, "STRING", false},
    [META_LEADER_EPOCH] = {"leader-epoch", TYPE_INT, "INT", false},
};

err_t *kafka_meta_of(const table_t *t, int metadata, bool source, kafka_meta_t *ret) {
    const char *key = t->metadata_keys[metadata];
    const field_t *f = &t->metadata->fields[metadata];
    for (int m = 0; m < META_KINDS; m++) {
        if (strcmp(metas[m].key, key)) continue;
        if (f->type->kind != metas[m].kind)
            return err_new(ERR_TYPE, "table %s: metadata '%s' is %s, column '%s' has another type", t->name, key, metas[m].type, f->name);
        if (!source && !metas[m].writable)
            return err_hint(err_new(ERR_INVALID, "table %s: metadata '%s' can only be read", t->name, key), "declare column '%s' METADATA VIRTUAL", f->name);
        *ret = (kafka_meta_t)m;
        return NULL;
    }
    return err_hint(err_new(strcmp(key, "headers") ? ERR_INVALID : ERR_UNSUPPORTED, "table %s: connector '%s' has no metadata '%s'", t->name, t->connector, key),
                    "it has topic, partition, offset, timestamp, timestamp-type, leader-epoch");
}

/* Columns named in 'key.fields' ("a;b"), or the primary key for upsert-kafka. */
static err_t *key_columns(arena_t *a, kafka_table_t *k) {
    const table_t *t = k->t;
    const char *list = options_get(&t->options, "key.fields");
    k->key_cols = ARENA_ARRAY(a, int, t->physical->n + 1);
    if (k->upsert) {
        for (int i = 0; i < t->nprimary; i++) k->key_cols[k->nkey++] = t->primary[i];
        return t->nprimary ? NULL : err_hint(err_new(ERR_INVALID, "table %s: connector 'upsert-kafka' needs a primary key", t->name), "add PRIMARY KEY (..) NOT ENFORCED");
    }
    while (list && *list) {
        size_t n = strcspn(list, ";");
        char *name = arena_strndup(a, list, n);
        int col = schema_find(t->physical, name);
        if (col < 0) return err_new(ERR_NOT_FOUND, "table %s: 'key.fields' names column '%s', which does not exist", t->name, name);
        if (k->nkey < t->physical->n) k->key_cols[k->nkey++] = col;
        list += n + (list[n] == ';');
    }
    return NULL;
}

static schema_t *subschema(arena_t *a, const table_t *t, const int *cols, int n, const char *prefix) {
    schema_t *s = schema_new(a, n);
    size_t cut = prefix ? strlen(prefix) : 0;
    for (int i = 0; i < n; i++) {
        s->fields[i] = t->physical->fields[cols[i]];
        if (cut && !strncmp(s->fields[i].name, prefix, cut)) s->fields[i].name += cut;
    }
    return s;
}

static err_t *value_columns(arena_t *a, kafka_table_t *k) {
    const table_t *t = k->t;
    const char *include = options_get(&t->options, "value.fields-include");
    bool except = include && !strcmp(include, "EXCEPT_KEY");
    if (include && !except && strcmp(include, "ALL")) return err_new(ERR_INVALID, "table %s: 'value.fields-include' is ALL or EXCEPT_KEY", t->name);
    if (options_get(&t->options, "key.fields-prefix") && !except)
        return err_new(ERR_INVALID, "table %s: 'key.fields-prefix' needs 'value.fields-include' = 'EXCEPT_KEY'", t->name);
    k->value_cols = ARENA_ARRAY(a, int, t->physical->n + 1);
    for (int i = 0; i < t->physical->n; i++) {
        bool in_key = false;
        for (int j = 0; j < k->nkey; j++) in_key |= k->key_cols[j] == i;
        if (!in_key || !except) k->value_cols[k->nvalue++] = i;
    }
    return NULL;
}

static err_t *read_guarantee(kafka_table_t *k) {
    const char *g = options_get(&k->t->options, "sink.delivery-guarantee");
    k->guarantee = GUARANTEE_AT_LEAST_ONCE;
    if (!g || !strcmp(g, "at-least-once")) return NULL;
    if (!strcmp(g, "exactly-once")) k->guarantee = GUARANTEE_EXACTLY_ONCE;
    else if (!strcmp(g, "none")) k->guarantee = GUARANTEE_NONE;
    else return err_hint(err_new(ERR_INVALID, "table %s: 'sink.delivery-guarantee' = '%s'", k->t->name, g), "it is exactly-once, at-least-once or none");
    return NULL;
}

err_t *kafka_table_read(arena_t *a, const table_t *t, kafka_table_t *ret) {
    *ret = (kafka_table_t){.t = t, .upsert = !strcmp(t->connector, "upsert-kafka")};
    TRY(key_columns(a, ret));
    TRY(value_columns(a, ret));
    TRY(read_guarantee(ret));
    ret->key_schema = subschema(a, t, ret->key_cols, ret->nkey, options_get(&t->options, "key.fields-prefix"));
    ret->value_schema = subschema(a, t, ret->value_cols, ret->nvalue, NULL);
    ret->key = (format_config_t){.options = &t->options, .format = options_get(&t->options, "key.format"), .prefix = "key.", .fields = ret->key_schema};
    ret->value = (format_config_t){.options = &t->options, .fields = ret->value_schema};
    if (ret->nkey && !ret->key.format) return err_new(ERR_INVALID, "table %s: option 'key.format' is missing", t->name);
    if (ret->key.format && !ret->nkey) return err_new(ERR_INVALID, "table %s: 'key.format' needs 'key.fields'", t->name);
    return format_of_table(t, &ret->value.format, &ret->value.prefix);
}

/* A partition has one writer and a key one order: how rows are spread is not free (hazards A17). */
static err_t *check_partitioner(const table_t *t) {
    const char *p = options_get(&t->options, "sink.partitioner");
    if (!p || !strcmp(p, "default")) return NULL;
    return err_hint(err_new(ERR_UNSUPPORTED, "table %s: 'sink.partitioner' = '%s'", t->name, p),
                    "leave it out: rows with a key are spread by the key as the Java client does, rows without one evenly");
}

err_t *kafka_table_check(const table_t *t, bool source) {
    arena_t *a AUTO(arena_freep) = arena_new();
    kafka_table_t k;
    const char *const *topics;
    int n;
    TRY(options_check_known(t, known_options));
    TRY(kafka_check_properties(t));
    TRY(kafka_topics(a, t, &topics, &n));
    if (!source) TRY(check_partitioner(t));
    if (!source && n != 1) return err_new(ERR_INVALID, "table %s: a sink writes to one topic", t->name);
    TRY(kafka_table_read(a, t, &k));
    TRY(err_wrap(format_check(&k.value, source), "table %s", t->name));
    if (k.nkey) TRY(err_wrap(format_check(&k.key, source), "table %s: key", t->name));
    for (int i = 0; i < t->metadata->n; i++) {
        kafka_meta_t m;
        TRY(kafka_meta_of(t, i, source, &m));
    }
    return source ? kafka_check_startup(t) : NULL;
}

int kafka_split_parse(const char *id, int *ret_partition) {
    const char *dash = strrchr(id, '-');
    *ret_partition = dash ? (int)strtol(dash + 1, NULL, 10) : -1;
    return dash ? (int)(dash - id) : (int)strlen(id);
}
