/* kafka_pool.h: memory of fetched messages, for the way from the thread that fetches to the one that reads.
 *
 * librdkafka makes each message by calloc in a broker's thread and frees it in the task's. glibc gives such a block back to the arena of the thread that made
 * it, under that arena's lock: both threads take one lock for each message, and when they meet there they sleep and wake each other in the kernel. That
 * keeps itself up: fetching gets slower by it, so the queue stays short, so the gate (kafka_gate.h) does not part the two any more. Runs over 10 M messages
 * then made up to 2.8 M futex calls and took up to twice the CPU time.
 *
 * So the process's calloc and free are replaced: what a broker's thread of a consumer asks for in a message's size comes from here, and goes back here whoever
 * frees it. A thread keeps up to two magazines of blocks; whole ones are exchanged under a lock. All else goes to the allocator that would have had it.
 *
 * Invariants
 *  1. Only threads that have called kafka_pool_enter take blocks: what is in the pool is librdkafka's own.
 *  2. The pool makes at most KAFKA_POOL_BYTES for each such thread that lives; beyond that the allocator is asked as before. What was made stays, to be used
 *     again.
 *  3. A block is at a multiple of 64, and one address range holds them all: who has to free a pointer sees by it whose it is.
 *  4. A thread that ends leaves its blocks to the others.
 * Threads: any. With a sanitizer, which has an allocator of its own, calloc and free are not replaced. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define KAFKA_POOL_BLOCK 320u         /* a message of librdkafka 2.0.2 takes 296 */
#define KAFKA_POOL_FROM 257u          /* smaller ones are not messages */
#define KAFKA_POOL_BYTES (4ul << 20)
#ifdef TIDEGATE_SANITIZED /* by the build: no compiler tells of all its sanitizers */
#define KAFKA_POOL_REPLACES 0
#else
#define KAFKA_POOL_REPLACES 1
#endif

void kafka_pool_enter(void);           /* the calling thread fetches, until it ends */
void *kafka_pool_zalloc(size_t bytes); /* NULL: not from here */
bool kafka_pool_free(void *p);         /* false: it is not from here */
bool kafka_pool_owns(const void *p);
