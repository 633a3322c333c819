/* split.h: one independently read part of a source: a Kafka partition, a file, a shard of a generator.
 *
 * A split's position, watermark and end travel together: they are kept in every manifest and handed back
 * on restore, so event time never runs backwards over a recovery. `id` is unique within its source and
 * stable over restarts ("events-3", "file:///a/b.json", "2/8"). */
#pragma once
#include "common/err.h"

#define WATERMARK_NONE INT64_MIN /* no event time seen yet */
#define WATERMARK_END INT64_MAX  /* the input has ended */

typedef struct split {
    char *id;          /* owned */
    int64_t position;  /* next to read: Kafka offset, byte of the file, row of the generator */
    int64_t end;       /* exclusive end of a bounded split; -1 unbounded */
    int64_t watermark; /* milliseconds */
    bool idle;
    bool ended; /* every row before `end` was emitted */
    uint64_t mark;     /* of the record just before `position`, by which the source knows it again; 0: none was read, or it has none */
} split_t;

typedef struct split_list {
    int n;
    split_t *items; /* owned */
} split_list_t;

void split_list_free(split_list_t *l); /* content */
void split_list_add(split_list_t *l, const split_t *s); /* copies */
