#include "engine/channel.h"
#include "tests/helpers/test.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static void count_wake(void *arg) { atomic_fetch_add((atomic_int *)arg, 1); }

static batch_t *numbered(int64_t v) {
    static field_t f = {"v", &type_bigint};
    schema_t s = {1, &f};
    batch_t *b = batch_new_schema(&s, 1);
    b->cols[0].i64[0] = v;
    return b;
}

START_TEST(elements_come_in_order_and_wake_the_consumer) {
    atomic_int woken = 0;
    channel_out_t *out;
    channel_in_t *in;
    ck_ok(ring_channel_new(1 << 20, (wake_t){0}, (wake_t){count_wake, &woken}, &out, &in));
    element_t e;
    ck_assert(!in->receive(in, &e));
    out->send(out, (element_t){.kind = ELEMENT_BATCH, .batch = numbered(7)});
    out->send(out, (element_t){.kind = ELEMENT_WATERMARK, .watermark = 9});
    ck_assert_int_eq(atomic_load(&woken), 1); /* from empty to not empty only */
    ck_assert(in->receive(in, &e));
    ck_assert_int_eq(e.kind, ELEMENT_BATCH);
    ck_assert_int_eq(e.batch->cols[0].i64[0], 7);
    batch_free(e.batch);
    ck_assert(in->receive(in, &e));
    ck_assert_int_eq(e.kind, ELEMENT_WATERMARK);
    ck_assert_int_eq(e.watermark, 9);
    ck_assert(!in->receive(in, &e));
    in->close(in);
    out->close(out);
}
END_TEST

/* One batch may always go; then it is full until the consumer has taken it, and the producer is woken. */
START_TEST(full_is_counted_in_bytes_and_control_always_passes) {
    atomic_int woken = 0;
    channel_out_t *out;
    channel_in_t *in;
    ck_ok(ring_channel_new(1, (wake_t){count_wake, &woken}, (wake_t){0}, &out, &in));
    ck_assert(!out->full(out));
    out->send(out, (element_t){.kind = ELEMENT_BATCH, .batch = numbered(1)});
    ck_assert(out->full(out));
    for (uint64_t i = 1; i <= 1000; i++) out->send(out, (element_t){.kind = ELEMENT_BARRIER, .epoch = i}); /* more than the ring has slots */
    element_t e;
    ck_assert(in->receive(in, &e));
    batch_free(e.batch);
    for (uint64_t i = 1; i <= 1000; i++) {
        ck_assert(in->receive(in, &e));
        ck_assert_uint_eq(e.epoch, i);
    }
    ck_assert_int_eq(atomic_load(&woken), 1);
    ck_assert(!out->full(out));
    out->send(out, (element_t){.kind = ELEMENT_BATCH, .batch = numbered(2)}); /* left inside: closing frees it */
    out->close(out);
    in->close(in);
}
END_TEST

#define MANY 200000
typedef struct peer {
    channel_out_t *out;
} peer_t;

static void *produce(void *arg) {
    peer_t *p = arg;
    for (int64_t i = 0; i < MANY; i++) {
        while (p->out->full(p->out)) sched_yield();
        if (i % 5) p->out->send(p->out, (element_t){.kind = ELEMENT_BATCH, .batch = numbered(i)});
        else p->out->send(p->out, (element_t){.kind = ELEMENT_WATERMARK, .watermark = i});
    }
    p->out->close(p->out);
    return NULL;
}

START_TEST(two_threads_lose_nothing_and_keep_the_order) {
    peer_t p = {0};
    channel_in_t *in;
    ck_ok(ring_channel_new(4096, (wake_t){0}, (wake_t){0}, &p.out, &in));
    pthread_t t;
    pthread_create(&t, NULL, produce, &p);
    for (int64_t i = 0; i < MANY;) {
        element_t e;
        if (!in->receive(in, &e)) {
            sched_yield();
            continue;
        }
        if (i % 5) ck_assert_int_eq(e.batch->cols[0].i64[0], i);
        else ck_assert_int_eq(e.watermark, i);
        batch_free(e.batch);
        i++;
    }
    pthread_join(t, NULL);
    in->close(in);
}
END_TEST

TESTS("channel", elements_come_in_order_and_wake_the_consumer, full_is_counted_in_bytes_and_control_always_passes,
      two_threads_lose_nothing_and_keep_the_order)
