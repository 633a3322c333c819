/* An at-least-once sink whose producer loses its place in a partition's sequence: librdkafka's own broker in this process answers as a broker does
 * that went while requests were on their way, and leads its partitions again between two of them. */
#include "common/clock.h"
#include "engine/operator.h"
#include "sql/sql.h"
#include "tests/helpers/test.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdatomic.h>
#include <unistd.h>

#define PRODUCE 0 /* ApiKey */
#define BATCH 500
#define LIMIT_MS (test_slow() * 60000)

static int64_t test_slow(void) {
    const char *x = getenv("TIDEGATE_SLOW");
    return x ? MAX(atoi(x), 1) : 1;
}

typedef struct fixture {
    rd_kafka_t *rk; /* keeps the books of the brokers */
    rd_kafka_mock_cluster_t *brokers;
    plan_t *plan;
    eval_ctx_t eval;
    sink_t sink;
    int64_t next; /* id */
    epoch_t epoch;
} fixture_t;

static atomic_int wakes; /* librdkafka's threads */
static void on_wake(void *arg) { atomic_fetch_add(&wakes, 1); }

/* in_flight: requests on their way at once; batches are so small that there are as many. A broker refuses all that come behind one it has refused, this
 * one only those it is told to: no more may be on their way than that. */
static void fixture_open(fixture_t *f, int in_flight) {
    char text[256];
    *f = (fixture_t){0};
    f->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    ck_assert_ptr_nonnull(f->rk);
    f->brokers = rd_kafka_mock_cluster_new(f->rk, 1);
    ck_assert_int_eq(rd_kafka_mock_topic_create(f->brokers, "out", 2, 1), 0);
    AUTO(auto_free) char *sql = xprintf(
        "CREATE TABLE g (id BIGINT) WITH ('connector' = 'datagen');\n"
        "CREATE TABLE o (id BIGINT) WITH ('connector' = 'kafka', 'topic' = 'out', 'properties.bootstrap.servers' = '%s', 'format' = 'json',\n"
        "  'sink.delivery-guarantee' = 'at-least-once', 'properties.batch.num.messages' = '20', 'properties.max.in.flight' = '%d');\nINSERT INTO o SELECT id FROM g;",
        rd_kafka_mock_cluster_bootstraps(f->brokers), in_flight);
    sql_source_t src = {.text = sql, .len = strlen(sql), .file = "t.sql", .parallelism = 1};
    ck_ok(sql_compile(&src, &f->plan));
    const plan_op_t *op = NULL;
    for (int i = 0; i < f->plan->nstages; i++)
        for (int k = 0; k < f->plan->stages[i]->nops; k++)
            if (f->plan->stages[i]->ops[k]->kind == OP_SINK) op = f->plan->stages[i]->ops[k];
    ck_assert_ptr_nonnull(op);
    const sink_vtable_t *vt = sink_find("kafka");
    f->sink = (sink_t){.vt = vt, .env = {.op = op, .eval = &f->eval, .job = "t", .parallelism = 1, .wake = on_wake}, .self = xcalloc(1, vt->state_size)};
    ck_ok(vt->open(&f->sink));
}

static void fixture_close(fixture_t *f) {
    f->sink.vt->close(&f->sink);
    free(f->sink.self);
    plan_free(f->plan);
    rd_kafka_mock_cluster_destroy(f->brokers);
    rd_kafka_destroy(f->rk);
}

/* A task's wait: for a wake, and not for ever. */
static void wait_for_wake(int64_t until) {
    int seen = atomic_load(&wakes);
    while (atomic_load(&wakes) == seen && clock_mono_ms() < until) usleep(500);
    ck_assert_msg(clock_mono_ms() < until, "nobody woke the task");
}

/* A batch and a barrier behind it, settled; or what the sink failed with. */
static err_t *write_and_settle(fixture_t *f) {
    int64_t until = clock_mono_ms() + LIMIT_MS;
    batch_t *b = batch_new_schema(f->sink.env.op->schema, BATCH);
    for (int i = 0; i < BATCH; i++) b->cols[0].i64[i] = f->next++;
    buf_t bytes = buf_make(0), segment = buf_make(0);
    err_t *e = NULL;
    op_status_t st;
    atomic_int *w = &wakes;
    int before = atomic_load(w);
    while ((st = f->sink.vt->write(&f->sink, b, &e)) == OP_MORE) {
        if (atomic_load(w) == before) wait_for_wake(until);
        before = atomic_load(w);
    }
    if (st == OP_DONE) st = f->sink.vt->seal(&f->sink, ++f->epoch, &bytes, &segment, &e);
    before = atomic_load(w);
    while (st != OP_FAIL && (st = f->sink.vt->settle(&f->sink, f->epoch, &e)) == OP_MORE) {
        if (atomic_load(w) == before) wait_for_wake(until);
        before = atomic_load(w);
    }
    batch_free(b);
    buf_free(&bytes);
    buf_free(&segment);
    return e;
}

/* Each id below n is there once, and in each partition they rise. */
static void check_rows(fixture_t *f, int64_t n) {
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->brokers), text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "g", text, sizeof text);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(2);
    for (int p = 0; p < 2; p++) rd_kafka_topic_partition_list_add(l, "out", p)->offset = 0;
    ck_assert_int_eq(rd_kafka_assign(rk, l), 0);
    int64_t last[2] = {-1, -1}, until = clock_mono_ms() + LIMIT_MS;
    for (int64_t got = 0; got < n && clock_mono_ms() < until;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (!m) continue;
        if (!m->err) {
            long long id;
            AUTO(auto_free) char *value = xstrndup(m->payload, m->len);
            ck_assert_int_eq(sscanf(value, "{\"id\":%lld}", &id), 1);
            ck_assert_msg(id > last[m->partition], "%lld comes after %lld in partition %d", id, (long long)last[m->partition], m->partition);
            last[m->partition] = id;
            got++;
        }
        rd_kafka_message_destroy(m);
    }
    int64_t low, high, sum = 0;
    for (int p = 0; p < 2; p++) {
        ck_assert_int_eq(rd_kafka_query_watermark_offsets(rk, "out", p, &low, &high, (int)LIMIT_MS), 0);
        sum += high - low;
    }
    ck_assert_int_eq(sum, n);
    ck_assert_int_eq(MAX(last[0], last[1]), n - 1);
    rd_kafka_topic_partition_list_destroy(l);
    rd_kafka_destroy(rk);
}

static void goes_on_behind(int in_flight, const rd_kafka_resp_err_t *errors, size_t n) {
    fixture_t f;
    fixture_open(&f, in_flight);
    ck_ok(write_and_settle(&f));
    rd_kafka_mock_push_request_errors_array(f.brokers, PRODUCE, n, errors);
    ck_ok(write_and_settle(&f));
    ck_ok(write_and_settle(&f));
    check_rows(&f, f.next);
    fixture_close(&f);
}

START_TEST(a_producer_that_lost_its_place_is_made_anew_and_no_row_is_lost_or_out_of_order) {
    goes_on_behind(1, (rd_kafka_resp_err_t[]){RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER}, 1);
    goes_on_behind(1, (rd_kafka_resp_err_t[]){RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER}, 2);
}
END_TEST

/* As after a real broker's death: the connection breaks with requests on their way; then the first finds no leader, and the second one does. */
START_TEST(a_broker_that_comes_back_between_two_requests_costs_no_attempt) {
    goes_on_behind(2, (rd_kafka_resp_err_t[]){RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                           RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER}, 3);
}
END_TEST

START_TEST(a_broker_that_never_takes_a_record_in_turn_is_an_error) {
    rd_kafka_resp_err_t errors[200];
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) errors[i] = RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    fixture_t f;
    fixture_open(&f, 1);
    rd_kafka_mock_push_request_errors_array(f.brokers, PRODUCE, ARRAY_LEN(errors), errors);
    err_t *e = write_and_settle(&f);
    ck_assert_ptr_nonnull(e);
    ck_assert_msg(strstr(err_text(e), "topic 'out'") && strstr(err_text(e), "out of order"), "%s", err_text(e));
    err_free(e);
    fixture_close(&f);
}
END_TEST

TESTS("kafka_sink", a_producer_that_lost_its_place_is_made_anew_and_no_row_is_lost_or_out_of_order,
      a_broker_that_comes_back_between_two_requests_costs_no_attempt, a_broker_that_never_takes_a_record_in_turn_is_an_error)
