#include "engine/connector/kafka_table.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const known_options[] = {
    "topic", "topic-pattern", "properties.*", "format", "value.format", "key.format", "key.fields", "key.fields-prefix", "value.fields-include",
    "scan.startup.mode", "scan.startup.specific-offsets", "scan.startup.timestamp-millis", "scan.bounded.mode", "scan.bounded.specific-offsets",
    "scan.bounded.timestamp-millis", "scan.topic-partition-discovery.interval", "scan.watermark.idle-timeout", "scan.watermark.alignment.group",
    "scan.watermark.alignment.max-drift", "scan.watermark.alignment.update-interval", "scan.watermark.emit.strategy",
    "scan.watermark.emit.on-event-gap", "scan.parallelism", "sink.delivery-guarantee", "sink.transactional-id-prefix",
    "sink.transaction-naming-strategy", "sink.parallelism", "sink.partitioner", "sink.buffer-flush.max-rows", "sink.buffer-flush.interval", NULL};

/* Flink's options that would change nothing here, or another thing than they say; `harmless`: values that ask for nothing. */
static const struct {
    const char *key, *harmless[3], *why, *way_out;
} refused[] = {
    {"scan.watermark.alignment.group", {0}, "a source ahead of others is not held back", "leave it out; windows wait for the slowest input by themselves"},
    {"scan.watermark.alignment.max-drift", {0}, "a source ahead of others is not held back", "leave it out; windows wait for the slowest input by themselves"},
    {"scan.watermark.alignment.update-interval", {0}, "a source ahead of others is not held back", "leave it out"},
    {"scan.watermark.emit.strategy", {"on-periodic"}, "watermarks follow each batch of rows", "leave it out"},
    {"scan.watermark.emit.on-event-gap", {0}, "watermarks follow each batch of rows", "leave it out"},
    {"sink.transaction-naming-strategy", {0}, "transactional ids are those of the sink's lanes", "leave it out; 'sink.transactional-id-prefix' is their first part"},
    {"sink.buffer-flush.max-rows", {"0"}, "updates of a key are not folded before they are written", "leave it out or set 0; a GROUP BY folds the rows of a batch before it emits"},
    {"sink.buffer-flush.interval", {"0", "0 s", "0s"}, "updates of a key are not folded before they are written", "leave it out or set 0; a GROUP BY folds the rows of a batch before it emits"},
};

static err_t *check_refused(const table_t *t) {
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        const char *v = options_get(&t->options, refused[i].key);
        bool harmless = !v;
        for (int k = 0; k < 3 && !harmless && refused[i].harmless[k]; k++) harmless = !strcmp(v, refused[i].harmless[k]);
        if (!harmless)
            return err_hint(err_new(ERR_UNSUPPORTED, "table %s: '%s' is not supported: %s", t->name, refused[i].key, refused[i].why), "%s", refused[i].way_out);
    }
    return NULL;
}

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
    [META_HEADERS] = {"headers", TYPE_MAP, "MAP<STRING, BYTES>", true},
};

const type_t *kafka_metadata(arena_t *a, const char *key) {
    for (int m = 0; m < META_KINDS; m++) {
        if (strcmp(metas[m].key, key)) continue;
        switch (metas[m].kind) {
        case TYPE_VARCHAR: return &type_string;
        case TYPE_INT: return &type_int;
        case TYPE_BIGINT: return &type_bigint;
        case TYPE_MAP: return type_map(a, type_nullable(a, &type_string, false), type_nullable(a, &type_bytes, false), true);
        default: return type_scalar(a, TYPE_TIMESTAMP_LTZ, 3, true);
        }
    }
    return NULL;
}

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
    return err_hint(err_new(ERR_INVALID, "table %s: connector '%s' has no metadata '%s'", t->name, t->connector, key),
                    "it has topic, partition, offset, timestamp, timestamp-type, leader-epoch, headers");
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

err_t *kafka_partitioner_of(const table_t *t, kafka_partitioner_t *ret) {
    const char *p = options_get(&t->options, "sink.partitioner");
    *ret = PARTITION_DEFAULT;
    if (!p || !strcmp(p, "default")) return NULL;
    if (!strcmp(p, "fixed")) *ret = PARTITION_FIXED;
    else if (!strcmp(p, "round-robin")) *ret = PARTITION_ROUND_ROBIN;
    else
        return err_hint(err_new(ERR_UNSUPPORTED, "table %s: 'sink.partitioner' = '%s': classes cannot be loaded", t->name, p), "it is default, fixed or round-robin");
    /* a key has one order only while it has one partition (hazards A17) */
    bool key = options_get(&t->options, "key.fields") || !strcmp(t->connector, "upsert-kafka");
    if (key && *ret == PARTITION_ROUND_ROBIN)
        return err_hint(err_new(ERR_INVALID, "table %s: 'sink.partitioner' = 'round-robin' spreads the rows of a key", t->name),
                        "leave it out: rows with a key are spread by the key as the Java client does");
    return NULL;
}

/* 'a;b' or 'topic-pattern' are for reading. */
static err_t *check_sink_topic(const table_t *t, int n) {
    kafka_partitioner_t p;
    TRY(kafka_partitioner_of(t, &p));
    if (n != 1)
        return err_hint(err_new(ERR_UNSUPPORTED, "table %s: %s: a sink writes to one topic", t->name, n ? "'topic' is a list" : "'topic-pattern'"),
                        "one table and one INSERT per topic, in a STATEMENT SET");
    int64_t lanes;
    const char *g = options_get(&t->options, "sink.delivery-guarantee");
    TRY(options_i64(&t->options, "sink.parallelism", 1, 1, INT32_MAX, &lanes));
    if (lanes <= KAFKA_LANES_MAX || !g || strcmp(g, "exactly-once")) return NULL;
    return err_hint(err_new(ERR_LIMIT, "table %s: 'sink.parallelism' is at most %d with 'exactly-once'", t->name, KAFKA_LANES_MAX), "each has a transaction of its own in every epoch");
}

/* Flink's rule: the prefix is taken off, so every name must have it. */
static err_t *check_key_prefix(const kafka_table_t *k) {
    const char *prefix = options_get(&k->t->options, "key.fields-prefix");
    for (int i = 0; i < k->nkey && prefix; i++) {
        const char *name = k->t->physical->fields[k->key_cols[i]].name;
        if (strncmp(name, prefix, strlen(prefix)))
            return err_hint(err_new(ERR_INVALID, "table %s: column '%s' of the key does not begin with 'key.fields-prefix' = '%s'", k->t->name, name, prefix),
                            "rename it to %s%s", prefix, name);
    }
    return NULL;
}

err_t *kafka_table_check(const table_t *t, bool source) {
    arena_t *a AUTO(arena_freep) = arena_new();
    kafka_table_t k;
    const char *const *topics;
    int n;
    TRY(options_check_known(t, known_options));
    TRY(check_refused(t));
    TRY(kafka_check_properties(t));
    TRY(kafka_topics(a, t, &topics, &n));
    if (!source) TRY(check_sink_topic(t, n));
    TRY(kafka_table_read(a, t, &k));
    TRY(check_key_prefix(&k));
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
