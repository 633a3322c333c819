/* lane_kafka.h: carries out lanes' actions with librdkafka: one thread and one transactional producer per lane (a transaction blocks its thread).
 *
 * The order librdkafka needs, and where it would wait too long:
 *  - delivery reports are events polled by the lane's thread; without them a flush costs 10 ms, with a callback it needs another thread;
 *  - init_transactions on an open transaction answers CONCURRENT_TRANSACTIONS first, and librdkafka then waits a hard 500 ms: it is asked in slices
 *    (kafka_init_transactions);
 *  - after any failure the handle is destroyed, never used again: a delayed EndTxn could end a later transaction. */
#pragma once
#include "worker/lane_driver.h"

lane_driver_t *lane_kafka_new(void);
void lane_kafka_free(lane_driver_t *d); /* all lanes are closed */
