/* kafka_refusal.h: which partition a broker refuses again and again, and by what reason. librdkafka asks it again without a word; only its log says
 * why (`debug` = msg: two lines a request). A broker that refuses is alive, so neither a lost connection nor silence tells.
 *
 * A partition is refused from the first refusal until one of its requests is taken, or none was refused for KAFKA_REFUSAL_FRESH_MS: its leader may be
 * another meanwhile. Threads: librdkafka's note, any of them; anyone asks. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAFKA_REFUSAL_FACILITY "MSGSET" /* of the log lines that count */
#define KAFKA_REFUSED_MS 2500           /* then it is worth a word */
#define KAFKA_REFUSAL_FRESH_MS 10000

typedef struct kafka_refusal kafka_refusal_t;
kafka_refusal_t *kafka_refusal_new(void);
void kafka_refusal_free(kafka_refusal_t *r);
void kafka_refusal_note(kafka_refusal_t *r, const char *line, int64_t now_ms); /* of librdkafka's log; what is of another form is nothing */
/* why: the one that is refused for longest, for how long and by what reason; false: none is for KAFKA_REFUSED_MS. */
bool kafka_refusal_lasts(kafka_refusal_t *r, int64_t now_ms, char *why, size_t size);
