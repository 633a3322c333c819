/* channel.h: what flows between tasks, and the two ends of an edge.
 *
 * A channel joins one producing subtask with one consuming subtask of an edge and carries elements in order. Everything
 * carries the attempt it belongs to by construction: a channel is made for one attempt and dies with it; the shuffle
 * endpoint fences frames of other attempts before they reach a channel (hazards A6).
 * Capacity is counted in bytes and batches; a batch may be sent whenever the channel is not full (so one over-large batch
 * passes), control elements always. */
#pragma once
#include "engine/batch.h"

typedef enum element_kind {
    ELEMENT_BATCH,
    ELEMENT_WATERMARK,
    ELEMENT_IDLE,    /* the producer has nothing and holds no time back until its next batch or watermark */
    ELEMENT_BARRIER,
    ELEMENT_END,     /* no rows will follow; barriers still do */
} element_kind_t;

typedef struct element {
    element_kind_t kind;
    batch_t *batch;     /* owned */
    int64_t watermark;  /* ms */
    epoch_t epoch;      /* BARRIER */
    uint32_t flags;     /* BARRIER: BARRIER_FINAL .. */
    uint64_t rows;      /* BARRIER: batches' rows sent on this channel since the last barrier; the consumer compares (A6) */
} element_t;
#define BARRIER_FINAL 1u     /* stop: sources emit nothing after it */
#define BARRIER_SAVEPOINT 2u
#define BARRIER_BASE 4u      /* take a base checkpoint of this epoch */

typedef struct channel_out channel_out_t;
struct channel_out {
    bool (*full)(channel_out_t *c);
    void (*send)(channel_out_t *c, element_t e); /* takes e.batch; never blocks */
    void (*close)(channel_out_t *c);
};
typedef struct channel_in channel_in_t;
struct channel_in {
    bool (*receive)(channel_in_t *c, element_t *ret); /* false: nothing now; the consumer's wake is called later */
    void (*close)(channel_in_t *c);
};

/* In-process channel: bounded single-producer single-consumer ring. wake(arg) of the consumer is called when it goes from
 * empty to non-empty, wake of the producer when it goes from full to not full; both from the other's thread. */
typedef struct wake {
    void (*fn)(void *arg);
    void *arg;
} wake_t;
#define CHANNEL_BYTES_MAX (1u << 20)
err_t *ring_channel_new(size_t max_bytes, wake_t producer, wake_t consumer, channel_out_t **ret_out, channel_in_t **ret_in);
