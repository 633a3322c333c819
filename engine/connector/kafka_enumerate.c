/* kafka_enumerate.c: the partitions of a table and where reading starts and ends, resolved once, before the first poll, and kept in the
 * manifest of epoch 0 (hazards A8): a restart never resolves "latest" again. Control side; every wait is within timeout_ms. */
#include "common/clock.h"
#include "engine/connector/kafka_table.h"
#include <stdio.h>
#include <stdlib.h>

typedef enum where { AT_EARLIEST, AT_LATEST, AT_TIMESTAMP, AT_SPECIFIC, AT_GROUP, UNBOUNDED } where_t;
typedef struct mode {
    where_t where;
    int64_t timestamp_ms;
    const char *specific; /* "partition:0,offset:42;partition:1,offset:300" */
} mode_t_;

static err_t *read_mode(const table_t *t, bool start, mode_t_ *ret) {
    const char *base = start ? "scan.startup." : "scan.bounded.";
    char mode_key[64], offsets_key[64], time_key[64];
    snprintf(mode_key, sizeof mode_key, "%smode", base);
    snprintf(offsets_key, sizeof offsets_key, "%sspecific-offsets", base);
    snprintf(time_key, sizeof time_key, "%stimestamp-millis", base);
    static const struct { const char *name; where_t where; int use; } names[] = {{"earliest-offset", AT_EARLIEST, 1}, {"latest-offset", AT_LATEST, 3},
        {"timestamp", AT_TIMESTAMP, 3}, {"specific-offsets", AT_SPECIFIC, 3}, {"group-offsets", AT_GROUP, 3}, {"unbounded", UNBOUNDED, 2}};
    const char *mode = options_get(&t->options, mode_key);
    *ret = (mode_t_){.where = start ? AT_GROUP : UNBOUNDED};
    bool found = !mode;
    for (size_t i = 0; mode && i < ARRAY_LEN(names); i++)
        if (!strcmp(mode, names[i].name) && (names[i].use & (start ? 1 : 2))) ret->where = names[i].where, found = true;
    if (!strcmp(t->connector, "upsert-kafka") && start && !mode) ret->where = AT_EARLIEST; /* an upsert topic means nothing without its past */
    if (!found)
        return err_hint(err_new(ERR_INVALID, "table %s: '%s' = '%s'", t->name, mode_key, mode), "it is %slatest-offset, timestamp, specific-offsets%s",
                        start ? "earliest-offset, " : "unbounded, ", ", group-offsets");
    ret->specific = options_get(&t->options, offsets_key);
    if (ret->where == AT_SPECIFIC && !ret->specific) return err_new(ERR_INVALID, "table %s: '%s' needs '%s'", t->name, mode_key, offsets_key);
    if (ret->where == AT_TIMESTAMP && !options_get(&t->options, time_key)) return err_new(ERR_INVALID, "table %s: '%s' needs '%s'", t->name, mode_key, time_key);
    TRY(options_i64(&t->options, time_key, 0, 0, INT64_MAX, &ret->timestamp_ms));
    if ((ret->where == AT_GROUP) && !options_get(&t->options, "properties.group.id") && start && mode)
        return err_new(ERR_INVALID, "table %s: 'scan.startup.mode' = 'group-offsets' needs 'properties.group.id'", t->name);
    return NULL;
}

static err_t *specific_offset(const table_t *t, const char *list, int partition, int64_t *ret) {
    for (const char *p = list; p && *p;) {
        int part;
        long long offset;
        int used = 0;
        if (sscanf(p, " partition:%d,offset:%lld%n", &part, &offset, &used) != 2 || !used || offset < 0)
            return err_hint(err_new(ERR_INVALID, "table %s: offsets '%s' are not readable", t->name, list), "like partition:0,offset:42;partition:1,offset:300");
        if (part == partition) return *ret = offset, NULL;
        p += used;
        if (*p == ';') p++;
    }
    return NULL;
}

err_t *kafka_check_startup(const table_t *t) {
    for (int start = 0; start < 2; start++) {
        mode_t_ m;
        int64_t ignored = 0;
        TRY(read_mode(t, start, &m));
        if (m.where == AT_SPECIFIC) TRY(specific_offset(t, m.specific, -1, &ignored));
    }
    return NULL;
}

typedef struct finder {
    const table_t *t;
    kafka_client_t *c;
    const char *topic;
    int partition;
    int64_t until;
    int64_t low, high; /* high: last stable offset under read_committed */
} finder_t;

static int left_ms(const finder_t *f) { return (int)MAX(f->until - clock_mono_ms(), (int64_t)100); }

static err_t *by_timestamp(const finder_t *f, int64_t ms, int64_t *ret) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, f->topic, f->partition)->offset = ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(f->c->rk, l, left_ms(f));
    if (!code) code = l->elems[0].err;
    *ret = l->elems[0].offset >= 0 ? l->elems[0].offset : f->high; /* nothing that young: the end */
    rd_kafka_topic_partition_list_destroy(l);
    return code ? kafka_error(f->c, code, "offset of %s/%d by timestamp", f->topic, f->partition) : NULL;
}

static err_t *by_group(const finder_t *f, int64_t *ret) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, f->topic, f->partition);
    rd_kafka_resp_err_t code = rd_kafka_committed(f->c->rk, l, left_ms(f));
    int64_t offset = l->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(l);
    if (code) return kafka_error(f->c, code, "committed offset of %s/%d", f->topic, f->partition);
    const char *reset = options_get(&f->t->options, "properties.auto.offset.reset");
    if (offset >= 0) *ret = offset;
    else if (reset && !strcmp(reset, "latest")) *ret = f->high;
    else if (reset && !strcmp(reset, "earliest")) *ret = f->low;
    else
        return err_hint(err_new(ERR_INVALID, "table %s: group '%s' has no committed offset for %s/%d", f->t->name,
                                options_get(&f->t->options, "properties.group.id") ? options_get(&f->t->options, "properties.group.id") : "", f->topic, f->partition),
                        "set 'scan.startup.mode' = 'earliest-offset', or 'properties.auto.offset.reset' = 'earliest'");
    return NULL;
}

static err_t *resolve(const finder_t *f, const mode_t_ *m, int64_t *ret) {
    switch (m->where) {
    case AT_EARLIEST: *ret = f->low; return NULL;
    case AT_LATEST: *ret = f->high; return NULL;
    case AT_TIMESTAMP: return by_timestamp(f, m->timestamp_ms, ret);
    case AT_GROUP: return by_group(f, ret);
    case AT_SPECIFIC:
        *ret = -1;
        TRY(specific_offset(f->t, m->specific, f->partition, ret));
        if (*ret >= 0) return NULL;
        return err_hint(err_new(ERR_INVALID, "table %s: offsets '%s' do not name partition %d of '%s'", f->t->name, m->specific, f->partition, f->topic),
                        "name every partition: where to start or end in the others would be a guess");
    case UNBOUNDED: *ret = -1; return NULL;
    }
    return NULL;
}

/* A partition without a leader (just created, moving, or of a broker that comes back) has one soon. Waits a little, within the limit. The library calls
 * a partition unknown when it has no leader, also one of which the broker has just told. */
static bool passing(const finder_t *f, rd_kafka_resp_err_t code) {
    bool soon = code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
                code == RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    if (!soon || clock_mono_ms() >= f->until) return false;
    rd_kafka_poll(f->c->rk, 100);
    return true;
}

static err_t *add_partition(finder_t *f, const mode_t_ *start, const mode_t_ *end, split_list_t *ret) {
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_query_watermark_offsets(f->c->rk, f->topic, f->partition, &f->low, &f->high, left_ms(f))) != 0 && passing(f, code)) {}
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        return err_hint(err_new(ERR_UNAVAILABLE, "table %s: %s/%d has no leader", f->t->name, f->topic, f->partition), "is a broker of its replicas running? try again");
    if (code) return kafka_error(f->c, code, "offsets of %s/%d", f->topic, f->partition);
    split_t s = {.watermark = WATERMARK_NONE};
    TRY(resolve(f, start, &s.position));
    TRY(resolve(f, end, &s.end));
    if (s.position < f->low)
        return err_hint(err_new(ERR_DATA, "table %s: %s/%d begins at offset %" PRId64 ", offset %" PRId64 " was asked and is gone", f->t->name, f->topic, f->partition,
                                f->low, s.position), "start at earliest-offset to read what is left");
    if (s.end >= 0 && s.position >= s.end) s.position = s.end;
    s.ended = s.end >= 0 && s.position >= s.end;
    s.id = xprintf("%s-%d", f->topic, f->partition);
    split_list_add(ret, &s);
    free(s.id);
    return NULL;
}

static err_t *enumerate(arena_t *a, finder_t *f, split_list_t *ret) {
    const char *const *topics;
    int ntopics, n;
    mode_t_ start, end;
    TRY(read_mode(f->t, true, &start));
    TRY(read_mode(f->t, false, &end));
    TRY(kafka_topics_there(f->c, a, f->t, left_ms(f), &topics, &ntopics));
    for (int i = 0; i < ntopics; i++) {
        f->topic = topics[i];
        TRY(err_wrap(kafka_partitions(f->c, f->topic, left_ms(f), &n), "table %s", f->t->name));
        for (f->partition = 0; f->partition < n; f->partition++) TRY(add_partition(f, &start, &end, ret));
    }
    return NULL;
}

err_t *kafka_enumerate(const table_t *t, const options_t *job_set, int timeout_ms, split_list_t *ret) {
    arena_t *a AUTO(arena_freep) = arena_new();
    finder_t f = {.t = t, .until = clock_mono_ms() + timeout_ms};
    kafka_setting_t defaults[] = {{"group.id", "tidegate"}, {0}};
    kafka_setting_t ours[] = {{"allow.auto.create.topics", "false"}, {"enable.auto.commit", "false"}, {0}};
    TRY(kafka_client_new(t, RD_KAFKA_CONSUMER, defaults, ours, 0, &f.c));
    split_list_t list = {0};
    err_t *e = enumerate(a, &f, &list);
    kafka_client_free(f.c);
    if (e) split_list_free(&list);
    else *ret = list;
    return e;
}
