/* kafka_dead.h: dead letters: records a source could not read go, with the reason, to the topic of '<format>.dead-letter.topic'.
 *
 * They leave through a lane of the job: a hidden sink behind the source (plan op `dead_letter`) owns the lane, the source hands its segment over
 * with the barrier that covers the record's offset. So a dead letter is written exactly once, as every other output.
 *
 * A dead letter is one JSON object:
 *   {"table": name, "topic": ., "partition": ., "offset": ., "timestamp": ms, "reason": text, "key": base64 or null, "value": base64 or null}
 * and, when the bytes would not fit into a record of the dead-letter topic, "truncated": true, "key_bytes", "value_bytes" (the full lengths). */
#pragma once
#include "engine/connector/kafka_client.h"
#include "engine/lane.h"

#define DEAD_LETTER_BYTES 700000 /* of key and value together: a third more as base64, below the broker's default limit */

typedef struct dead_letters {
    buf_t records; /* lane records, without segment header */
    uint64_t rows;
} dead_letters_t;

/* Can no reading ever succeed? Only such records are dead letters; anything else is trouble of ours. */
bool dead_letter_is(err_code_t code);
void dead_letter_add(dead_letters_t *d, const table_t *t, const char *topic, const rd_kafka_message_t *m, const err_t *why);
/* Appends all of `from` to `to` and empties it. */
void dead_letters_move(dead_letters_t *to, dead_letters_t *from);
void dead_letters_segment(dead_letters_t *d, buf_t *segment); /* an epoch's segment, nothing when there is none; empties d */
void dead_letters_free(dead_letters_t *d);
