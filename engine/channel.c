/* channel.c: the in-process edge, a bounded single-producer single-consumer ring.
 *
 * The slots of the ring hold elements; the producer owns `tail` and the consumer `head`, each reads the other's with
 * acquire order, so an element is visible whole. Batches are bounded by bytes and by RING_BATCHES; control elements
 * (barriers, watermarks, ends) are always accepted: they live in the same slots, of which RING_SLOTS - RING_BATCHES
 * are never taken by batches. A producer that sends more control elements than that without the consumer running is
 * impossible by the task's rules (at most four epochs in flight, one watermark per batch), but the ring grows no
 * further: the excess goes to an overflow list under a mutex, which keeps the order.
 *
 * Wakes. The consumer is woken when an element comes into an empty ring. The producer is woken when `full` told it to
 * wait and the ring has drained to half. Both ends use sequentially consistent flags, so a wake cannot be lost:
 * the producer sets `starved` before it looks at the fill again, the consumer lowers the fill before it looks at `starved`. */
#include "engine/channel.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RING_BATCHES 64
#define RING_SLOTS 256

typedef struct overflow {
    struct overflow *next;
    element_t e;
    size_t size;
} overflow_t;

typedef struct ring {
    struct channel_out out;
    struct channel_in in;
    size_t max_bytes;
    wake_t producer, consumer;
    _Alignas(64) atomic_uint tail; /* written by the producer */
    _Alignas(64) atomic_uint head; /* written by the consumer */
    _Alignas(64) atomic_size_t bytes;
    atomic_uint batches;
    atomic_bool starved;      /* the producer saw it full and waits for a wake */
    atomic_uint spilled;      /* elements in the overflow list */
    pthread_mutex_t lock;     /* of the overflow list */
    overflow_t *first, **last;
    atomic_int ends;          /* open ends: the last one to close frees */
    size_t sizes[RING_SLOTS]; /* bytes of the batch in each slot */
    element_t slots[RING_SLOTS];
} ring_t;

static bool ring_is_full(ring_t *r) {
    return atomic_load(&r->bytes) >= r->max_bytes || atomic_load(&r->batches) >= RING_BATCHES ||
           atomic_load(&r->spilled) > 0;
}

static bool ring_full(channel_out_t *c) {
    ring_t *r = CONTAINER_OF(c, ring_t, out);
    if (!ring_is_full(r)) return false;
    atomic_store(&r->starved, true);
    if (ring_is_full(r)) return true;
    atomic_store(&r->starved, false);
    return false;
}

static void ring_send(channel_out_t *c, element_t e) {
    ring_t *r = CONTAINER_OF(c, ring_t, out);
    unsigned tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t size = e.batch ? batch_bytes(e.batch) : 0;
    if (e.batch) {
        atomic_fetch_add(&r->batches, 1);
        atomic_fetch_add(&r->bytes, size);
    }
    bool was_empty;
    if (atomic_load(&r->spilled) > 0 || tail - atomic_load(&r->head) >= RING_SLOTS) {
        overflow_t *o = xcalloc(1, sizeof *o);
        o->e = e;
        o->size = size;
        pthread_mutex_lock(&r->lock);
        *r->last = o;
        r->last = &o->next;
        pthread_mutex_unlock(&r->lock);
        was_empty = atomic_fetch_add(&r->spilled, 1) == 0;
    } else {
        r->slots[tail % RING_SLOTS] = e;
        r->sizes[tail % RING_SLOTS] = size;
        atomic_store(&r->tail, tail + 1);
        was_empty = atomic_load(&r->head) == tail;
    }
    if (was_empty && r->consumer.fn) r->consumer.fn(r->consumer.arg);
}

static bool ring_take(ring_t *r, element_t *ret, size_t *ret_size) {
    /* Looked at before the ring: while the list holds something nothing is added to the ring, so an empty ring seen
     * after it has no older element to come. */
    bool spilled = atomic_load(&r->spilled) > 0;
    unsigned head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head != atomic_load(&r->tail)) {
        *ret = r->slots[head % RING_SLOTS];
        *ret_size = r->sizes[head % RING_SLOTS];
        atomic_store(&r->head, head + 1);
        return true;
    }
    if (!spilled) return false;
    pthread_mutex_lock(&r->lock);
    overflow_t *o = r->first;
    r->first = o->next;
    if (!r->first) r->last = &r->first;
    pthread_mutex_unlock(&r->lock);
    atomic_fetch_sub(&r->spilled, 1);
    *ret = o->e;
    *ret_size = o->size;
    free(o);
    return true;
}

static bool ring_receive(channel_in_t *c, element_t *ret) {
    ring_t *r = CONTAINER_OF(c, ring_t, in);
    size_t size;
    if (!ring_take(r, ret, &size)) return false;
    if (ret->batch) {
        atomic_fetch_sub(&r->batches, 1);
        atomic_fetch_sub(&r->bytes, size);
    }
    if (atomic_load(&r->starved) && atomic_load(&r->bytes) <= r->max_bytes / 2 &&
        atomic_load(&r->batches) <= RING_BATCHES / 2 && atomic_load(&r->spilled) == 0) {
        atomic_store(&r->starved, false);
        if (r->producer.fn) r->producer.fn(r->producer.arg);
    }
    return true;
}

static void ring_unref(ring_t *r) {
    if (atomic_fetch_sub(&r->ends, 1) != 1) return;
    element_t e;
    size_t size;
    while (ring_take(r, &e, &size)) batch_free(e.batch);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void ring_close_out(channel_out_t *c) { ring_unref(CONTAINER_OF(c, ring_t, out)); }
static void ring_close_in(channel_in_t *c) { ring_unref(CONTAINER_OF(c, ring_t, in)); }

err_t *ring_channel_new(size_t max_bytes, wake_t producer, wake_t consumer, channel_out_t **ret_out, channel_in_t **ret_in) {
    ring_t *r = aligned_alloc(64, (sizeof(ring_t) + 63) / 64 * 64);
    if (!r) return err_new(ERR_LIMIT, "no memory for a channel");
    memset(r, 0, sizeof *r);
    r->out = (channel_out_t){ring_full, ring_send, ring_close_out};
    r->in = (channel_in_t){ring_receive, ring_close_in};
    r->max_bytes = max_bytes;
    r->producer = producer;
    r->consumer = consumer;
    r->last = &r->first;
    atomic_init(&r->ends, 2);
    pthread_mutex_init(&r->lock, NULL);
    *ret_out = &r->out;
    *ret_in = &r->in;
    return NULL;
}
