/* kafka_table.h: what the options of a kafka or upsert-kafka table mean: which columns come from the key, which from the value, which from the
 * record itself. */
#pragma once
#include "engine/connector/connector.h"
#include "engine/connector/kafka_client.h"

typedef enum kafka_meta { META_TOPIC, META_PARTITION, META_OFFSET, META_TIMESTAMP, META_TIMESTAMP_TYPE, META_LEADER_EPOCH, META_HEADERS,
               META_KINDS } kafka_meta_t;

typedef struct kafka_table {
    const table_t *t;
    bool upsert;
    format_config_t key, value;  /* key.format NULL: no key columns */
    int nkey, nvalue;
    int *key_cols, *value_cols;  /* indexes into physical */
    schema_t *key_schema, *value_schema; /* field names without key.fields-prefix */
    int guarantee;               /* sinks: enum below */
} kafka_table_t;
enum { GUARANTEE_AT_LEAST_ONCE, GUARANTEE_EXACTLY_ONCE, GUARANTEE_NONE };

#define KAFKA_LANES_MAX 8
/* 'sink.partitioner': default: by the key, rows without one evenly; fixed: one partition per task; round-robin: row by row */
typedef enum kafka_partitioner { PARTITION_DEFAULT, PARTITION_FIXED, PARTITION_ROUND_ROBIN } kafka_partitioner_t;
err_t *kafka_partitioner_of(const table_t *t, kafka_partitioner_t *ret);
const type_t *kafka_metadata(arena_t *a, const char *key); /* source_vtable_t.metadata */

/* Headers as bytes, in a lane's segment: per header varint length, key, varint length, value. */
void kafka_headers_encode(buf_t *out, const column_t *map, uint32_t i); /* MAP<STRING, BYTES>; NULL keys and values are left out */
rd_kafka_headers_t *kafka_headers_new(slice_t bytes);                   /* NULL: malformed */
/* Adds the message's headers as one value of the map; the last one of a name counts. */
void kafka_headers_add(colbuilder_t *b, const rd_kafka_message_t *m);

err_t *kafka_table_read(arena_t *a, const table_t *t, kafka_table_t *ret);
/* Static checks shared by source and sink: known options, properties, formats, columns. */
err_t *kafka_table_check(const table_t *t, bool source);
err_t *kafka_meta_of(const table_t *t, int metadata, bool source, kafka_meta_t *ret);
/* "topic-partition" of a split id. Returns the length of the topic; *ret_partition -1 when malformed. */
int kafka_split_parse(const char *id, int *ret_partition);

extern const source_vtable_t kafka_source, upsert_kafka_source;
extern const sink_vtable_t kafka_sink, upsert_kafka_sink;

/* Start and end positions of all partitions (kafka_enumerate.c). */
err_t *kafka_enumerate(const table_t *t, const options_t *job_set, int timeout_ms, split_list_t *ret);
err_t *kafka_check_startup(const table_t *t);

/* Is there nothing to read in a partition? (kafka_idle.c) A thread of its own asks the broker, because asking blocks: fresh answers of last stable offset
 * and high watermark, sent after the partition's end was met at `offset`, must both be `offset`. */
typedef struct kafka_idle kafka_idle_t;
err_t *kafka_idle_new(const table_t *t, const split_list_t *splits, kafka_idle_t **ret);
void kafka_idle_free(kafka_idle_t *k);
void kafka_idle_at_end(kafka_idle_t *k, int split, int64_t offset); /* -1: rows came */
bool kafka_idle_confirmed(kafka_idle_t *k, int split);
