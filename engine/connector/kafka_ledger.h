/* kafka_ledger.h: the compacted topic in which the lanes of one exactly-once sink record what they have published: one partition per lane,
 * key = lane, value = ledger_encode. Its last committed record is the truth about a lane (engine/lane.h). */
#pragma once
#include "engine/connector/kafka_client.h"
#include "engine/lane.h"

/* "<prefix>/<sink>" of transactional ids; prefix is 'sink.transactional-id-prefix' or "<cluster>/<job>". malloc'ed. */
char *kafka_lane_base(const table_t *t, const char *cluster, const char *job);
char *kafka_ledger_topic(const char *lane_base); /* malloc'ed */
/* Creates the topic when absent (compact only, small segments, replication of the broker's default) and refuses one with fewer partitions
 * than lanes or with a retention that deletes. Waits at most timeout_ms. */
err_t *kafka_ledger_prepare(const table_t *t, const char *topic, int lanes, int timeout_ms);
/* The last committed record of the lane as of now: everything up to the high watermark was read. Only after the lane's producer was
 * initialised: an open transaction would hide records. `cancelled` is asked every 100 ms; where no broker answers, every one or two seconds. */
err_t *kafka_ledger_read(const table_t *t, const char *topic, int lane, int timeout_ms, bool (*cancelled)(void *arg), void *arg,
                         ledger_pos_t *ret);
