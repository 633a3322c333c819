/* The Kafka lane driver against the real broker named by BOOTSTRAP (integration/test_broker.py runs it): commits, fences, reads its ledger, resumes.
 * TOPIC: exists. */
#include "common/clock.h"
#include "common/mailbox.h"
#include "engine/connector/kafka_ledger.h"
#include "tests/helpers/test.h"
#include "tests/kafka/broker.h"
#include "worker/lane_kafka.h"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static const plan_op_t op = {.table = &table};

static void on_answer(void *arg, lane_answer_t a) {
    lane_answer_t *copy = xmalloc(sizeof a);
    *copy = a;
    ASSERT(mailbox_send(arg, copy));
}

static lane_answer_t next(mailbox_t *m) {
    int64_t until = clock_mono_ms() + 30000;
    for (;;) {
        lane_answer_t *p = mailbox_receive(m);
        if (p) {
            lane_answer_t a = *p;
            free(p);
            return a;
        }
        ck_assert_msg(clock_mono_ms() < until, "no answer for 30 s");
        mailbox_wait(m, 1000);
    }
}

typedef struct owner {
    lane_driver_t *d;
    lane_handle_t *h;
    mailbox_t *box;
    lane_t *lane;
    int inits;
    int64_t init_ms;
} owner_t;

/* restored: the epoch of the manifest it begins from */
static owner_t owner(uint64_t incarnation, epoch_t bound, bool has_bound, epoch_t restored) {
    owner_t o = {.d = lane_kafka_new(), .box = mailbox_new(10, NULL), .lane = lane_new(incarnation, bound, has_bound)};
    lane_spec_t spec = {.cluster = "test", .job = topic, .incarnation = incarnation, .op = &op, .lane = 1, .lanes = 2};
    ck_ok(o.d->open(o.d, &spec, on_answer, o.box, &o.h));
    lane_complete(o.lane, restored);
    lane_open(o.lane);
    return o;
}

static void feed(owner_t *o, epoch_t e, int rows) {
    buf_t b = buf_make(0);
    segment_begin(&b);
    for (int i = 0; i < rows; i++) {
        char v[64];
        int n = snprintf(v, sizeof v, "%d.%d", (int)e, i);
        segment_add(&b, &(lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = true, .value = slice_of(v, (size_t)n)});
    }
    segment_finish(&b, 0, (uint64_t)rows);
    lane_segment(o->lane, e, &b);
    buf_free(&b);
}

/* Until the lane rests, or (with stop_before_answer) the answer of a SEND came but was not told to the core. */
static void drive(owner_t *o, bool lose_answer) {
    for (;;) {
        lane_action_t a;
        lane_next(o->lane, &a);
        if (a.kind == LANE_DO_NOTHING || a.kind == LANE_DO_STOP) return;
        int64_t start = clock_mono_ms();
        o->d->start(o->d, o->h, &a);
        lane_answer_t r = next(o->box);
        switch (r.kind) {
        case LANE_ANSWER_INITIALISED:
            o->inits++;
            o->init_ms = clock_mono_ms() - start;
            lane_initialised(o->lane);
            break;
        case LANE_ANSWER_LEDGER: lane_ledger(o->lane, &r.pos); break;
        case LANE_ANSWER_COMMITTED:
            if (lose_answer && a.nparts) return;
            lane_committed(o->lane, &r.pos);
            break;
        case LANE_ANSWER_DOUBT: lane_doubt(o->lane); break;
        case LANE_ANSWER_FENCED: lane_fenced(o->lane); break;
        default: ck_abort_msg("answer %d: %s", r.kind, err_text(r.error));
        }
        err_free(r.error);
    }
}

static void let_go(owner_t *o) {
    o->d->close(o->d, o->h);
    while (next(o->box).kind != LANE_ANSWER_CLOSED) {}
    lane_free(o->lane);
    mailbox_free(o->box);
    lane_kafka_free(o->d);
}

START_TEST(publishes_and_resumes_from_its_ledger) {
    char *base = kafka_lane_base(&table, "test", topic), *ledger = kafka_ledger_topic(base);
    ck_ok(kafka_ledger_prepare(&table, ledger, 2, 30000));
    ck_ok(kafka_ledger_prepare(&table, ledger, 2, 30000)); /* again: no harm */
    ck_fails(kafka_ledger_prepare(&table, ledger, 3, 30000), ERR_INVALID, "2 partitions");
    owner_t a = owner(11, 0, false, 0);
    drive(&a, false); /* start record */
    for (epoch_t e = 1; e <= 5; e++) {
        feed(&a, e, 100);
        lane_complete(a.lane, e);
        drive(&a, false);
        ck_assert_uint_eq(lane_published(a.lane), e);
    }
    ck_assert_int_eq(a.inits, 1); /* a commit that was sent once keeps its producer */
    feed(&a, 6, 50);
    lane_complete(a.lane, 6);
    drive(&a, true); /* committed, but we die before we hear it */
    owner_t b = owner(11, 5, true, 6);
    feed(&b, 6, 50);
    feed(&b, 7, 10);
    lane_complete(b.lane, 7);
    drive(&b, false);
    ck_assert_uint_eq(lane_published(b.lane), 7);
    printf("init_transactions %d ms\n", (int)b.init_ms);
    lane_doubt(a.lane); /* the zombie: its producer is fenced, whatever it tries */
    lane_free(a.lane);
    a.lane = lane_new(12, 0, false); /* a newer incarnation takes over */
    lane_open(a.lane);
    drive(&a, false);
    feed(&b, 8, 10);
    lane_complete(b.lane, 8);
    drive(&b, false);
    lane_confirm(b.lane);
    drive(&b, false);
    ck_assert_int_eq(lane_state(b.lane), LANE_STOPPED);
    ck_assert_int_eq(err_code(lane_error(b.lane)), ERR_FENCED);
    let_go(&a);
    let_go(&b);
    free(base);
    free(ledger);
}
END_TEST

/* A27: two jobs, one prefix. The first wrote nothing but its start record, the second took over; the first is started again by its coordinator,
 * which knows from the manifest that the lane had started. */
START_TEST(a_restarted_job_does_not_take_the_ledger_back) {
    owner_t a = owner(21, 0, false, 0);
    drive(&a, false);
    ck_assert(lane_started(a.lane));
    let_go(&a);
    owner_t b = owner(22, 0, false, 0);
    drive(&b, false);
    feed(&b, 1, 10);
    lane_complete(b.lane, 1);
    drive(&b, false);
    a = owner(21, 0, true, 0);
    feed(&a, 1, 10);
    lane_complete(a.lane, 1);
    drive(&a, false);
    ck_assert_int_eq(lane_state(a.lane), LANE_STOPPED);
    ck_assert_int_eq(err_code(lane_error(a.lane)), ERR_FENCED);
    feed(&b, 2, 10);
    lane_complete(b.lane, 2);
    drive(&b, false); /* the first's init fenced it */
    lane_confirm(b.lane);
    drive(&b, false);
    ck_assert_uint_eq(lane_published(b.lane), 2);
    let_go(&a);
    let_go(&b);
}
END_TEST

/* Epoch 131 in transactions of a few rows. The first owner dies behind its second one; integration/test_broker.py counts the rows. */
START_TEST(parts_of_an_epoch_go_on_where_another_owner_stopped) {
    owner_t a = owner(31, 0, false, 0);
    drive(&a, false);
    lane_limit(a.lane, 200);
    feed(&a, 131, 100);
    lane_complete(a.lane, 131);
    for (int i = 0; i < 2; i++) {
        lane_action_t s;
        lane_next(a.lane, &s);
        ck_assert_int_eq(s.kind, LANE_DO_SEND);
        ck_assert(!s.ledger.epoch_done && s.ledger.part == (uint32_t)i);
        a.d->start(a.d, a.h, &s);
        lane_answer_t r = next(a.box);
        ck_assert_int_eq(r.kind, LANE_ANSWER_COMMITTED);
        if (i == 0) lane_committed(a.lane, &r.pos); /* of the second it never hears */
    }
    owner_t b = owner(31, 0, true, 131);
    lane_limit(b.lane, 200);
    feed(&b, 131, 100);
    lane_complete(b.lane, 131);
    drive(&b, false);
    ck_assert_uint_eq(lane_published(b.lane), 131);
    let_go(&a);
    let_go(&b);
}
END_TEST

static bool never(void *arg) { return false; }

typedef struct grower { char *topic; int64_t at_ms, done_ms; } grower_t;

static void *grow(void *arg) {
    grower_t *g = arg;
    while (clock_mono_ms() < g->at_ms) usleep(20000);
    kafka_client_t *c;
    ASSERT(!kafka_client_new(&table, RD_KAFKA_PRODUCER, NULL, NULL, 0, &c));
    char text[256];
    rd_kafka_NewPartitions_t *n = rd_kafka_NewPartitions_new(g->topic, 2, text, sizeof text);
    ASSERT(n);
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->rk);
    g->done_ms = clock_mono_ms();
    rd_kafka_CreatePartitions(c->rk, &n, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 20000);
    ASSERT(ev && !rd_kafka_event_error(ev));
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewPartitions_destroy(n);
    kafka_client_free(c);
    return NULL;
}

/* A broker that has just started tells of topics one after the other. A ledger that it does not know in time is one without a lane for us. */
START_TEST(a_partition_of_the_ledger_that_the_broker_tells_of_late_is_waited_for) {
    char *name = xprintf("%s-late-ledger", topic);
    ledger_pos_t pos;
    ck_ok(kafka_ledger_prepare(&table, name, 1, 20000));
    ck_fails(kafka_ledger_read(&table, name, 1, NULL, 1000, never, NULL, &pos), ERR_NOT_FOUND, "has 1 partitions, none for lane 1");
    grower_t g = {.topic = name, .at_ms = clock_mono_ms() + 1500};
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, grow, &g), 0);
    ck_ok(kafka_ledger_read(&table, name, 1, NULL, 30000, never, NULL, &pos));
    ck_assert(!pos.present);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    ck_assert_int_ge(clock_mono_ms(), g.done_ms);
    free(name);
}
END_TEST

/* B8. A dead owner's transaction is open nearly always; librdkafka by itself asks again 500 ms after the broker's first answer. The best of three: a busy
 * machine can make any of them slow, but not fast. */
START_TEST(fencing_an_open_transaction_does_not_wait_for_librdkafkas_timer) {
    char *base = kafka_lane_base(&table, "test", topic), id[200];
    snprintf(id, sizeof id, "%s/1", base);
    int64_t best = INT64_MAX;
    for (uint64_t i = 0; i < 3; i++) {
        kafka_client_t *dead;
        ck_ok(kafka_client_new(&table, RD_KAFKA_PRODUCER, NULL, (kafka_setting_t[]){{"transactional.id", id}, {0}}, 0, &dead));
        ck_assert_ptr_null(rd_kafka_init_transactions(dead->rk, 30000));
        ck_assert_ptr_null(rd_kafka_begin_transaction(dead->rk));
        ck_assert_int_eq(rd_kafka_producev(dead->rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE("never seen", 10), RD_KAFKA_V_END), 0);
        ck_assert_int_eq(rd_kafka_flush(dead->rk, 30000), 0);
        kafka_client_free(dead);
        owner_t b = owner(41 + i, 0, false, 0);
        drive(&b, false);
        ck_assert(lane_started(b.lane));
        best = MIN(best, b.init_ms);
        let_go(&b);
    }
    printf("init_transactions behind an open transaction: %d ms\n", (int)best);
    ck_assert_int_lt(best, 400);
    free(base);
}
END_TEST

/* Asked again it would say the same: the job stops and says what is needed. */
START_TEST(a_ledger_record_of_a_later_build_stops_the_lane_with_its_version) {
    char *base = kafka_lane_base(&table, "test", "later"), *ledger = kafka_ledger_topic(base);
    ck_ok(kafka_ledger_prepare(&table, ledger, 2, 30000));
    kafka_client_t *later;
    ck_ok(kafka_client_new(&table, RD_KAFKA_PRODUCER, NULL, (kafka_setting_t[]){{0}}, 0, &later));
    static char record[] = "4 0000000000000001 7 0 0 1 more 00000000";
    ck_assert_int_eq(rd_kafka_producev(later->rk, RD_KAFKA_V_TOPIC(ledger), RD_KAFKA_V_PARTITION(1), RD_KAFKA_V_KEY("1", 1),
                                       RD_KAFKA_V_VALUE(record, sizeof record - 1), RD_KAFKA_V_END), 0);
    ck_assert_int_eq(rd_kafka_flush(later->rk, 30000), 0);
    kafka_client_free(later);
    lane_driver_t *d = lane_kafka_new();
    mailbox_t *box = mailbox_new(10, NULL);
    lane_spec_t spec = {.cluster = "test", .job = "later", .incarnation = 1, .op = &op, .lane = 1, .lanes = 2};
    lane_handle_t *h;
    ck_ok(d->open(d, &spec, on_answer, box, &h));
    lane_action_t a = {.kind = LANE_DO_READ};
    d->start(d, h, &a);
    lane_answer_t r = next(box);
    ck_assert_int_eq(r.kind, LANE_ANSWER_POISON);
    ck_fails(r.error, ERR_VERSION, "ledger record of version 4, this build reads 1 to 3");
    d->close(d, h);
    ck_assert_int_eq(next(box).kind, LANE_ANSWER_CLOSED);
    mailbox_free(box);
    lane_kafka_free(d);
    free(ledger);
    free(base);
}
END_TEST

TESTS("broker_lane", publishes_and_resumes_from_its_ledger, a_restarted_job_does_not_take_the_ledger_back,
      parts_of_an_epoch_go_on_where_another_owner_stopped, fencing_an_open_transaction_does_not_wait_for_librdkafkas_timer,
      a_ledger_record_of_a_later_build_stops_the_lane_with_its_version, a_partition_of_the_ledger_that_the_broker_tells_of_late_is_waited_for)
