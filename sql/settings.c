#include "sql/settings.h"

#include <strings.h>

#include "engine/datetime.h"
#include "common/near.h"

typedef enum value_kind { VALUE_TEXT, VALUE_BOOL, VALUE_INT, VALUE_DURATION, VALUE_BYTES, VALUE_MODE, VALUE_ZONE, VALUE_CHOICE } value_kind_t;

static const struct {
    const char *key;
    value_kind_t kind;
    int64_t min, max;
    const char *absent, *doc;
    const char *choices[4]; /* VALUE_CHOICE */
} known[] = {
    {"pipeline.name", VALUE_TEXT, 0, 0, "the file's name", "name of the job"},
    {"parallelism.default", VALUE_INT, 1, KEY_GROUPS, "as --parallelism", "tasks per stage"},
    {"execution.runtime-mode", VALUE_MODE, 0, 0, "automatic",
     "streaming, batch (aggregates emit once, at the end), automatic (streaming unless all inputs end and a sink takes no updates)"},
    {"execution.checkpointing.interval", VALUE_DURATION, 1, 86400000, "100 ms", "time between epochs"},
    {"execution.checkpointing.timeout", VALUE_DURATION, 1, 86400000, "10 min", "an epoch that takes longer ends the attempt"},
    {"execution.checkpointing.num-retained", VALUE_INT, 1, 10, "3",
     "epochs that are kept restorable for the case that a file of the last is damaged, the last among them: 1 keeps no older one"},
    {"table.local-time-zone", VALUE_ZONE, 0, 0, "UTC", "session time zone"},
    {"table.exec.state.ttl", VALUE_DURATION, 0, INT64_MAX, "0 (for ever)", "state of a key that did not change for so long is dropped"},
    {"table.exec.source.idle-timeout", VALUE_DURATION, 0, INT64_MAX, "0 (off)", "a partition without rows for so long holds no time back"},
    {"scan.watermark.idle-timeout", VALUE_DURATION, 0, INT64_MAX, "0 (off)", "the same, as a table's option"},
    {"table.exec.sink.not-null-enforcer", VALUE_CHOICE, 0, 0, "ERROR",
     "a NULL for a NOT NULL column of a sink fails the job (ERROR) or drops the row and counts it (DROP, `dropped_rows`)", {"ERROR", "DROP"}},
    {"table.exec.sink.type-length-enforcer", VALUE_CHOICE, 0, 0, "IGNORE",
     "what does not fit CHAR(n), VARCHAR(n), BINARY(n), VARBINARY(n) of a sink is written as it is (IGNORE), cut or padded (TRIM_PAD), or fails the job (ERROR)",
     {"IGNORE", "TRIM_PAD", "ERROR"}},
    {"table.exec.sink.nested-constraint-enforcer", VALUE_CHOICE, 0, 0, "IGNORE", "the two above look at whole columns, not at fields inside of them", {"IGNORE"}},
    {"restart.max", VALUE_INT, 0, 1000000, "10", "attempts without a complete epoch before the job is FAILED"},
    {"restart.delay", VALUE_DURATION, 0, 86400000, "1 s", "delay before the first restart; doubles"},
    {"restart.delay.max", VALUE_DURATION, 0, 86400000, "1 min", "longest delay"},
    {"sink.unpublished.max", VALUE_BYTES, 1, INT64_MAX, "1 GB", "complete output that waits for its broker; above it, or a worker's share (an eighth of --memory), sources wait"},
    {"checkpoint.base.interval", VALUE_DURATION, 1, 86400000, "30 s", "time between base checkpoints"},
};

/* Prefixes end in a dot. */
static const struct {
    const char *key, *why;
} ignored[] = {
    {"state.", "state lives in memory over RocksDB, by itself"},
    {"execution.checkpointing.mode", "epochs are always exactly once; sinks say more by 'sink.delivery-guarantee'"},
    {"execution.checkpointing.", "epochs need no such tuning"},
    {"execution.savepoint.", "a savepoint is given at submit: --from"},
    {"execution.buffer-timeout", "a batch leaves when the source has nothing more"},
    {"execution.buffer-timeout.", "a batch leaves when the source has nothing more"},
    {"execution.target", "the command decides where the job runs"},
    {"execution.attached", "the command decides"},
    {"execution.batch.", "batch mode needs no such tuning"},
    {"execution.", "it has no meaning here"},
    {"table.exec.mini-batch.", "aggregates are always batched"},
    {"table.exec.", "it has no meaning here"},
    {"table.optimizer.", "the optimiser has no such switch"},
    {"table.sql-dialect", "the dialect is Flink's"},
    {"table.dml-sync", "run waits, submit does not"},
    {"table.dynamic-table-options.enabled", "OPTIONS hints are always allowed"},
    {"table.", "it has no meaning here"},
    {"pipeline.", "it has no meaning here"},
    {"parallelism.", "it has no meaning here"},
    {"restart-strategy", "restarts follow restart.max and restart.delay"},
    {"restart-strategy.", "restarts follow restart.max and restart.delay"},
    {"sql-client.", "there is no such client"},
    {"taskmanager.", "workers are configured by their own flags"},
    {"jobmanager.", "the coordinator is configured by its own flags"},
    {"rest.", "the coordinator is configured by its own flags"},
    {"metrics.", "metrics are always there: GET /metrics"},
    {"cluster.", "the cluster is configured by its own flags"},
    {"security.", "security is configured by the connector's options"},
    {"env.", "there is no JVM"},
    {"classloader.", "there is no JVM"},
    {"python.", "there is no Python"},
    {"job.", "it has no meaning here"},
};

static bool covers(const char *known_key, const char *key) {
    size_t n = strlen(known_key);
    return known_key[n - 1] == '.' ? strncmp(key, known_key, n) == 0 : strcmp(key, known_key) == 0;
}

err_t *setting_mode(const options_t *set, setting_mode_t *ret) {
    const char *v = options_get(set, "execution.runtime-mode");
    *ret = MODE_AUTOMATIC;
    if (!v || strcasecmp(v, "automatic") == 0) return NULL;
    if (strcasecmp(v, "streaming") == 0) *ret = MODE_STREAMING;
    else if (strcasecmp(v, "batch") == 0) *ret = MODE_BATCH;
    else return err_hint(err_new(ERR_INVALID, "execution.runtime-mode is '%s'", v), "streaming, batch or automatic");
    return NULL;
}

static err_t *check_choice(size_t i, const char *value) {
    AUTO(buf_free) buf_t list = buf_make(BUF_MAX_DEFAULT);
    for (int c = 0; c < 4 && known[i].choices[c]; c++) {
        if (strcasecmp(known[i].choices[c], value) == 0) return NULL;
        buf_printf(&list, "%s%s", c ? ", " : "", known[i].choices[c]);
    }
    return err_hint(err_new(ERR_INVALID, "%s is '%s'", known[i].key, value), "it is one of: %s", buf_cstr(&list));
}

static err_t *check_value(size_t i, const char *value) {
    const char *keys[1] = {known[i].key}, *values[1] = {value};
    options_t one = {1, keys, values};
    int64_t v = 0;
    bool b;
    setting_mode_t mode;
    switch (known[i].kind) {
    case VALUE_BOOL: return options_bool(&one, known[i].key, false, &b);
    case VALUE_INT: return options_i64(&one, known[i].key, 0, known[i].min, known[i].max, &v);
    case VALUE_DURATION: TRY(options_duration_ms(&one, known[i].key, 0, &v)); break;
    case VALUE_BYTES: TRY(options_bytes(&one, known[i].key, 0, &v)); break;
    case VALUE_MODE: return setting_mode(&one, &mode);
    case VALUE_ZONE: {
        tz_t *zone = NULL;
        TRY(err_wrap(tz_open(value, &zone), "%s", known[i].key));
        tz_free(zone);
        return NULL;
    }
    case VALUE_CHOICE: return check_choice(i, value);
    case VALUE_TEXT:
        return *value ? NULL : err_new(ERR_INVALID, "%s is empty", known[i].key);
    }
    if (v < known[i].min || v > known[i].max) return err_new(ERR_INVALID, "%s = '%s' is out of range", known[i].key, value);
    return NULL;
}

err_t *setting_check(const char *key, const char *value, setting_check_t *ret) {
    *ret = (setting_check_t){0};
    near_t near = {.wanted = key};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].key, key) == 0) return check_value(i, value);
        near_offer(&near, known[i].key);
    }
    /* a typing error in one of our keys must not pass as one of Flink's */
    bool typo = near_word(&near) && near.distance <= 2;
    for (size_t i = 0; i < ARRAY_LEN(ignored) && !typo; i++)
        if (covers(ignored[i].key, key)) {
            *ret = (setting_check_t){true, ignored[i].why};
            return NULL;
        }
    err_t *e = err_new(ERR_NOT_FOUND, "option '%s' is not known", key);
    return near_word(&near) ? err_hint(e, "did you mean '%s'?", near_word(&near)) : e;
}

void settings_docs(buf_t *out) {
    buf_puts(out, "| key | default | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        buf_printf(out, "| `%s` | %s | %s |\n", known[i].key, known[i].absent, known[i].doc);
}
