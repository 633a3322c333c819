/* kafka_ledger.h: the compacted topic in which the lanes of one exactly-once sink record what they have published: one partition per lane,
 * key = lane, value = ledger_encode. Its last committed record is the truth about a lane (engine/lane.h). */
#pragma once
#include "engine/connector/kafka_client.h"
#include "engine/lane.h"

/* "<prefix>/<sink>" of transactional ids; prefix is 'sink.transactional-id-prefix' or "<cluster>/<job>". malloc'ed. */
char *kafka_lane_base(const table_t *t, const char *cluster, const char *job);
char *kafka_lane_id(const char *lane_base, int lane); /* the lane's transactional id; malloc'ed */
#define KAFKA_LANE_TIMEOUT_MS "15000" /* transaction.timeout.ms, where the table says nothing else */
char *kafka_ledger_topic(const char *lane_base); /* malloc'ed */
/* Creates the topic when absent (compact only, small segments, replication of the broker's default) and refuses one with fewer partitions
 * than lanes or with a retention that deletes. Waits at most timeout_ms. */
err_t *kafka_ledger_prepare(const table_t *t, const char *topic, int lanes, int timeout_ms);
/* The last committed record of the lane as of now: everything up to the high watermark was read. An open transaction hides what lies behind its
 * beginning, so either the lane's producer was initialised before, or `owner` is the lane's transactional id: what it left open, and does not end within
 * KAFKA_LEDGER_HELD_MS, is ended by fencing it. A lane's ledger record is the last one before the commit, so such an owner is dead or stuck; a live one
 * initialises anew and loses nothing. Where that is refused, the error of the time-out says whose transaction it is and why it was not ended.
 * `cancelled` is asked every 100 ms; where no broker answers, every one or two seconds. */
#define KAFKA_LEDGER_HELD_MS 1000
err_t *kafka_ledger_read(const table_t *t, const char *topic, int lane, const char *owner, int timeout_ms, bool (*cancelled)(void *arg), void *arg,
                         ledger_pos_t *ret);
