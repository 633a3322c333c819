/* test_endpoint.c: two data ports in one process: order, back-pressure, broken links, stale attempts, garbage. */
#include "common/clock.h"
#include "tests/helpers/test.h"
#include "worker/shuffle/endpoint.h"
#include "worker/shuffle/frame.h"
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct side {
    endpoint_t *ep;
    char address[32];
    atomic_int failures;
    pthread_mutex_t lock;
    char peer[64], text[256];
    attempt_t attempt;
    atomic_int wakes;
} side_t;

static void on_failed(void *arg, job_id_t job, attempt_t attempt, const char *peer, err_t *e) {
    side_t *s = arg;
    pthread_mutex_lock(&s->lock);
    snprintf(s->peer, sizeof s->peer, "%s", peer);
    snprintf(s->text, sizeof s->text, "%s", err_text(e));
    s->attempt = attempt;
    pthread_mutex_unlock(&s->lock);
    err_free(e);
    atomic_fetch_add(&s->failures, 1);
}
/* A second failure may come while a test reads the first: take a copy. */
typedef struct failure {
    char peer[64], text[256];
    attempt_t attempt;
} failure_t;
static failure_t failure_of(side_t *s) {
    failure_t f;
    pthread_mutex_lock(&s->lock);
    memcpy(f.peer, s->peer, sizeof f.peer);
    memcpy(f.text, s->text, sizeof f.text);
    f.attempt = s->attempt;
    pthread_mutex_unlock(&s->lock);
    return f;
}
static void on_wake(void *arg) { atomic_fetch_add(&((side_t *)arg)->wakes, 1); }
static wake_t wake_of(side_t *s) { return (wake_t){on_wake, s}; }

static void side_start(side_t *s, const char *name, size_t window) {
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    endpoint_conf_t c = {.name = name, .listen = "127.0.0.1:0", .window = window, .connect_ms = 1000, .failed = on_failed, .arg = s};
    ck_ok(endpoint_new(&c, &s->ep));
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", endpoint_port(s->ep));
}
static endpoint_channel_t channel(attempt_t attempt, uint32_t from, const char *peer, const char *address) {
    return (endpoint_channel_t){7, attempt, 1, from, 0, peer, address};
}
static schema_t *one_column(void) {
    static field_t f = {"n", &type_bigint};
    static schema_t s = {1, &f};
    return &s;
}
static element_t rows(int64_t from, uint32_t n) {
    batch_t *b = batch_new_schema(one_column(), n);
    for (uint32_t i = 0; i < n; i++) b->cols[0].i64[i] = from + i;
    return (element_t){.kind = ELEMENT_BATCH, .batch = b};
}
static bool receive_within(channel_in_t *in, element_t *e, int ms) {
    int64_t until = clock_mono_ms() + ms;
    do {
        if (in->receive(in, e)) return true;
        usleep(500);
    } while (clock_mono_ms() < until);
    return false;
}
#define AWAIT(cond)                                                                                \
    do {                                                                                           \
        for (int i_ = 0; i_ < 10000 && !(cond); i_++) usleep(1000);                                \
        ck_assert(cond);                                                                           \
    } while (0)

typedef struct pair {
    side_t a, b; /* a sends to b */
    channel_out_t *out;
    channel_in_t *in;
} pair_t;
static void pair_start(pair_t *p, size_t window) {
    side_start(&p->a, "a", window);
    side_start(&p->b, "b", window);
    endpoint_channel_t in = channel(1, 0, "a", p->a.address), out = channel(1, 0, "b", p->b.address);
    ck_ok(endpoint_open_in(p->b.ep, &in, one_column(), wake_of(&p->b), &p->in));
    ck_ok(endpoint_open_out(p->a.ep, &out, wake_of(&p->a), &p->out));
}
static void pair_stop(pair_t *p) {
    if (p->out) p->out->close(p->out);
    if (p->in) p->in->close(p->in);
    for (attempt_t at = 1; at <= 3; at++) {
        endpoint_drop(p->a.ep, 7, at);
        endpoint_drop(p->b.ep, 7, at);
    }
    endpoint_free(p->a.ep);
    endpoint_free(p->b.ep);
}

START_TEST(elements_arrive_in_order_and_as_they_were) {
    pair_t p;
    pair_start(&p, 0);
    p.out->send(p.out, rows(0, 100));
    p.out->send(p.out, (element_t){.kind = ELEMENT_WATERMARK, .watermark = -5});
    p.out->send(p.out, rows(100, 3));
    p.out->send(p.out, (element_t){.kind = ELEMENT_IDLE});
    p.out->send(p.out, (element_t){.kind = ELEMENT_BARRIER, .epoch = 9, .flags = BARRIER_FINAL | BARRIER_BASE, .rows = 103});
    p.out->send(p.out, (element_t){.kind = ELEMENT_END});
    element_t e;
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_BATCH && e.batch->n == 100 && e.batch->cols[0].i64[99] == 99);
    batch_free(e.batch);
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_WATERMARK && e.watermark == -5);
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_BATCH && e.batch->n == 3);
    batch_free(e.batch);
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_IDLE);
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_BARRIER && e.epoch == 9 && e.flags == 5 && e.rows == 103);
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_END);
    ck_assert(!p.in->receive(p.in, &e));
    ck_assert_int_ge(atomic_load(&p.b.wakes), 1);
    ck_assert_int_eq(atomic_load(&p.a.failures) + atomic_load(&p.b.failures), 0);
    pair_stop(&p);
}
END_TEST

START_TEST(a_slow_consumer_holds_the_producer_and_control_passes) {
    pair_t p;
    pair_start(&p, 10000);
    int sent = 0;
    while (!p.out->full(p.out)) p.out->send(p.out, rows(1000 * sent++, 100));
    ck_assert_int_ge(sent, 10); /* 900 bytes each */
    ck_assert_int_le(sent, 20);
    for (int i = 0; i < 5; i++) p.out->send(p.out, rows(1000 * sent++, 100)); /* nothing sent is lost, even beyond the window */
    p.out->send(p.out, (element_t){.kind = ELEMENT_BARRIER, .epoch = 1, .rows = (uint64_t)sent * 100});
    usleep(100000);
    ck_assert(p.out->full(p.out));
    element_t e;
    for (int i = 0; i < sent; i++) {
        ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_BATCH);
        ck_assert_int_eq(e.batch->cols[0].i64[0], 1000 * i);
        batch_free(e.batch);
    }
    ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_BARRIER);
    AWAIT(!p.out->full(p.out));
    ck_assert_int_ge(atomic_load(&p.a.wakes), 1);
    p.out->send(p.out, rows(0, 50000)); /* one batch larger than the window passes */
    ck_assert(receive_within(p.in, &e, 5000) && e.batch->n == 50000);
    batch_free(e.batch);
    pair_stop(&p);
}
END_TEST

/* Both ends take frames from a pool and give them back: a frame costs no allocation. */
START_TEST(as_many_frames_are_made_as_were_on_their_way_at_once) {
    pair_t p;
    pair_start(&p, 0);
    element_t e;
    for (int i = 0; i < 2000; i++) {
        p.out->send(p.out, rows(1000 * i, 100));
        p.out->send(p.out, (element_t){.kind = ELEMENT_WATERMARK, .watermark = i});
        ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_BATCH && e.batch->cols[0].i64[99] == 1000 * i + 99);
        batch_free(e.batch);
        ck_assert(receive_within(p.in, &e, 5000) && e.kind == ELEMENT_WATERMARK && e.watermark == i);
    }
    endpoint_stats_t a, b;
    endpoint_stats(p.a.ep, &a);
    endpoint_stats(p.b.ep, &b);
    ck_assert_uint_ge(a.frames_out, 4000);
    ck_assert_uint_le(a.frames_made + b.frames_made, 40); /* hello, what the socket held, credit */
    pair_stop(&p);
}
END_TEST

/* While the consumer is held by alignment its newest watermark is enough. */
START_TEST(watermarks_coalesce) {
    pair_t p;
    pair_start(&p, 0);
    for (int i = 0; i < 10000; i++) p.out->send(p.out, (element_t){.kind = ELEMENT_WATERMARK, .watermark = i});
    p.out->send(p.out, (element_t){.kind = ELEMENT_END});
    usleep(200000);
    element_t e;
    int64_t last = -1;
    int n = 0;
    while (receive_within(p.in, &e, 5000) && e.kind == ELEMENT_WATERMARK) {
        ck_assert_int_gt(e.watermark, last);
        last = e.watermark;
        n++;
    }
    ck_assert_int_eq(last, 9999);
    ck_assert_int_lt(n, 10000);
    pair_stop(&p);
}
END_TEST

/* Hazards A6: frames of an attempt that is not open here go nowhere, and give nobody credit. */
START_TEST(stale_attempts_are_fenced) {
    pair_t p;
    pair_start(&p, 0);
    element_t e;
    p.out->send(p.out, rows(1, 10));
    ck_assert(receive_within(p.in, &e, 5000));
    batch_free(e.batch);
    p.in->close(p.in);
    endpoint_drop(p.b.ep, 7, 1); /* the receiver is in attempt 2 already */
    endpoint_channel_t in2 = channel(2, 0, "a", p.a.address), out2 = channel(2, 0, "b", p.b.address);
    ck_ok(endpoint_open_in(p.b.ep, &in2, one_column(), wake_of(&p.b), &p.in));
    p.out->send(p.out, rows(1, 10));
    endpoint_stats_t st;
    for (int i = 0; i < 5000; i++) {
        endpoint_stats(p.b.ep, &st);
        if (st.fenced) break;
        usleep(1000);
    }
    ck_assert_uint_eq(st.fenced, 1);
    ck_assert(!p.in->receive(p.in, &e));
    p.out->close(p.out);
    endpoint_drop(p.a.ep, 7, 1);
    ck_ok(endpoint_open_out(p.a.ep, &out2, wake_of(&p.a), &p.out)); /* the kept connection serves the new attempt */
    p.out->send(p.out, rows(500, 10));
    ck_assert(receive_within(p.in, &e, 5000) && e.batch->cols[0].i64[0] == 500);
    batch_free(e.batch);
    endpoint_stats(p.a.ep, &st);
    ck_assert_int_eq(st.connections, 1);
    ck_assert_int_eq(atomic_load(&p.a.failures) + atomic_load(&p.b.failures), 0);
    pair_stop(&p);
}
END_TEST

START_TEST(a_peer_that_goes_fails_the_attempt_once_by_name) {
    pair_t p;
    pair_start(&p, 0);
    endpoint_channel_t in = channel(1, 1, "a", p.a.address), out = channel(1, 1, "b", p.b.address);
    channel_in_t *in2;
    channel_out_t *out2;
    ck_ok(endpoint_open_in(p.b.ep, &in, one_column(), wake_of(&p.b), &in2));
    ck_ok(endpoint_open_out(p.a.ep, &out, wake_of(&p.a), &out2));
    p.out->send(p.out, rows(1, 1));
    out2->send(out2, rows(1, 1));
    element_t e;
    ck_assert(receive_within(p.in, &e, 5000));
    batch_free(e.batch);
    ck_assert(receive_within(in2, &e, 5000));
    batch_free(e.batch);
    p.out->close(p.out);
    out2->close(out2);
    p.out = NULL;
    endpoint_drop(p.a.ep, 7, 1);
    endpoint_free(p.a.ep); /* the process is gone */
    AWAIT(atomic_load(&p.b.failures) > 0);
    usleep(50000);
    ck_assert_int_eq(atomic_load(&p.b.failures), 1);
    ck_assert_str_eq(failure_of(&p.b).peer, "a");
    ck_assert(strstr(failure_of(&p.b).text, "the data connection with worker 'a' broke"));
    in2->close(in2);
    p.in->close(p.in);
    endpoint_drop(p.b.ep, 7, 1);
    endpoint_free(p.b.ep);
}
END_TEST

START_TEST(nobody_there_fails_the_attempt_in_time) {
    side_t a;
    side_start(&a, "a", 0);
    channel_out_t *out;
    endpoint_channel_t c = channel(1, 0, "b", "127.0.0.1:1");
    err_t *e = endpoint_open_out(a.ep, &c, wake_of(&a), &out);
    ck_assert(e == NULL);
    out->send(out, rows(1, 1));
    AWAIT(atomic_load(&a.failures) == 1);
    ck_assert_str_eq(failure_of(&a).peer, "b");
    out->send(out, rows(1, 1)); /* goes nowhere */
    out->close(out);
    endpoint_drop(a.ep, 7, 1);
    endpoint_free(a.ep);
}
END_TEST

/* The port's number went to another worker meanwhile: its greeting says so. */
START_TEST(the_wrong_worker_at_an_address_is_not_fed) {
    pair_t p;
    pair_start(&p, 0);
    endpoint_channel_t c = channel(3, 0, "somebody else", p.b.address);
    channel_out_t *out;
    ck_ok(endpoint_open_out(p.a.ep, &c, wake_of(&p.a), &out));
    AWAIT(atomic_load(&p.a.failures) == 1);
    ck_assert_str_eq(failure_of(&p.a).peer, "somebody else");
    ck_assert_uint_eq(failure_of(&p.a).attempt, 3);
    out->close(out);
    pair_stop(&p);
}
END_TEST

static int dial(const side_t *s) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)endpoint_port(s->ep)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    struct timeval tv = {10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}
/* Writes, then waits for the other end to close. */
static void thrown_out(int fd, const void *bytes, size_t n) {
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    char sink[4096];
    ssize_t k;
    while ((k = read(fd, sink, sizeof sink)) > 0) {
    }
    ck_assert_msg(k == 0 || errno == ECONNRESET, "still open");
    close(fd);
}
static void hello(int fd, const char *name) {
    buf_t b = buf_make(4096);
    ck_ok(frame_hello_encode(&b, &(frame_hello_t){(char *)name, "b", 1, 1}));
    ck_assert_int_eq(write(fd, b.data, b.len), (ssize_t)b.len);
    buf_free(&b);
}
static size_t forge(buf_t *b, frame_kind_t kind, uint64_t seq, slice_t payload) {
    buf_clear(b);
    frame_t f = {.kind = kind, .job = 7, .attempt = 1, .edge = 1, .from = 0, .to = 0, .seq = seq};
    ck_ok(frame_encode(b, &f, payload, false, NULL));
    return b->len;
}

START_TEST(garbage_closes_that_connection_only) {
    pair_t p;
    pair_start(&p, 0);
    p.out->send(p.out, rows(1, 1));
    element_t e;
    ck_assert(receive_within(p.in, &e, 5000));
    batch_free(e.batch);
    char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88 and more to make it long enough\r\n\r\n";
    thrown_out(dial(&p.b), http, sizeof http - 1);
    uint8_t noise[4096];
    rng_t r;
    rng_seed(&r, 3);
    for (int i = 0; i < 20; i++) {
        for (size_t k = 0; k < sizeof noise; k++) noise[k] = (uint8_t)rng_next(&r);
        thrown_out(dial(&p.b), noise, sizeof noise);
    }
    buf_t b = buf_make(1 << 20);
    forge(&b, FRAME_BATCH, 2, slice_str("rows")); /* data before the greeting */
    thrown_out(dial(&p.b), b.data, b.len);
    int fd = dial(&p.b); /* an impostor who greets as a: its frames are not the channel's */
    hello(fd, "a");
    thrown_out(fd, b.data, b.len);
    p.out->send(p.out, rows(2, 1)); /* the true channel is unharmed */
    ck_assert(receive_within(p.in, &e, 5000) && e.batch->cols[0].i64[0] == 2);
    batch_free(e.batch);
    ck_assert_int_eq(atomic_load(&p.b.failures), 0);
    endpoint_stats_t st;
    endpoint_stats(p.b.ep, &st);
    ck_assert_uint_ge(st.rejected, 22);
    buf_free(&b);
    pair_stop(&p);
}
END_TEST

/* A peer that speaks the protocol and breaks its rules ends the attempt: rows would be lost or doubled in silence. */
static void rule_broken(frame_kind_t kind, uint64_t seq1, uint64_t seq2, slice_t payload, bool flip, const char *expected) {
    side_t b;
    side_start(&b, "b", 0);
    channel_in_t *in;
    endpoint_channel_t c = channel(1, 0, "a", NULL);
    ck_ok(endpoint_open_in(b.ep, &c, one_column(), wake_of(&b), &in));
    int fd = dial(&b);
    hello(fd, "a");
    buf_t f = buf_make(1 << 20);
    forge(&f, FRAME_IDLE, seq1, (slice_t){0});
    ck_assert_int_eq(write(fd, f.data, f.len), (ssize_t)f.len);
    forge(&f, kind, seq2, payload);
    if (flip) f.data[f.len - 1] ^= 1;
    ck_assert_int_eq(write(fd, f.data, f.len), (ssize_t)f.len);
    element_t e;
    for (int i = 0; i < 5000 && atomic_load(&b.failures) == 0; i++) {
        while (in->receive(in, &e)) {
        }
        usleep(1000);
    }
    ck_assert_int_eq(atomic_load(&b.failures), 1);
    failure_t told = failure_of(&b);
    ck_assert_msg(strstr(told.text, expected) != NULL, "%s", told.text);
    close(fd);
    in->close(in);
    endpoint_drop(b.ep, 7, 1);
    endpoint_free(b.ep);
    buf_free(&f);
}
START_TEST(a_peer_that_breaks_the_rules_ends_the_attempt) {
    rule_broken(FRAME_IDLE, 1, 3, (slice_t){0}, false, "frame 3 after 1");
    rule_broken(FRAME_IDLE, 1, 1, (slice_t){0}, false, "frame 1 after 1");
    rule_broken(FRAME_BATCH, 1, 2, slice_str("not a batch at all"), false, "data from worker 'a'");
    rule_broken(FRAME_BATCH, 1, 2, slice_str("twelve bytes"), true, "checksum");
    rule_broken(FRAME_CREDIT, 1, 0, (slice_t){0}, false, "from the wrong side");
}
END_TEST

typedef struct flood { channel_out_t *out; int n; } flood_t;
static void *flood(void *arg) {
    flood_t *f = arg;
    for (int i = 0; i < f->n;) {
        if (f->out->full(f->out)) usleep(100);
        else f->out->send(f->out, rows(64 * (int64_t)i++, 64));
    }
    f->out->send(f->out, (element_t){.kind = ELEMENT_END});
    return NULL;
}
START_TEST(many_channels_share_a_connection_without_mixing) {
    pair_t p;
    pair_start(&p, 8192);
    enum { N = 8, BATCHES = 500 };
    channel_in_t *in[N];
    flood_t f[N];
    pthread_t t[N];
    for (uint32_t i = 0; i < N; i++) {
        endpoint_channel_t ci = channel(2, i, "a", NULL), co = channel(2, i, "b", p.b.address);
        ck_ok(endpoint_open_in(p.b.ep, &ci, one_column(), wake_of(&p.b), &in[i]));
        ck_ok(endpoint_open_out(p.a.ep, &co, wake_of(&p.a), &f[i].out));
        f[i].n = BATCHES;
    }
    for (int i = 0; i < N; i++) pthread_create(&t[i], NULL, flood, &f[i]);
    int ended = 0;
    int64_t next[N] = {0};
    for (int64_t until = clock_mono_ms() + 30000; ended < N && clock_mono_ms() < until;) {
        bool any = false;
        for (int i = 0; i < N; i++) {
            element_t e;
            if (!in[i]->receive(in[i], &e)) continue;
            any = true;
            if (e.kind == ELEMENT_END) {
                ended++;
                continue;
            }
            ck_assert_int_eq(e.batch->cols[0].i64[0], next[i]);
            next[i] += e.batch->n;
            batch_free(e.batch);
        }
        if (!any) usleep(200);
    }
    ck_assert_int_eq(ended, N);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(next[i], 64 * BATCHES);
        pthread_join(t[i], NULL);
        f[i].out->close(f[i].out);
        in[i]->close(in[i]);
    }
    ck_assert_int_eq(atomic_load(&p.a.failures) + atomic_load(&p.b.failures), 0);
    pair_stop(&p);
}
END_TEST

TESTS("worker/endpoint", as_many_frames_are_made_as_were_on_their_way_at_once,
      elements_arrive_in_order_and_as_they_were, a_slow_consumer_holds_the_producer_and_control_passes,
      watermarks_coalesce, stale_attempts_are_fenced, a_peer_that_goes_fails_the_attempt_once_by_name, nobody_there_fails_the_attempt_in_time,
      the_wrong_worker_at_an_address_is_not_fed, garbage_closes_that_connection_only, a_peer_that_breaks_the_rules_ends_the_attempt,
      many_channels_share_a_connection_without_mixing)
