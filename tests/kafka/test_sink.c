/* An at-least-once sink whose producer loses its place in a partition's sequence: librdkafka's own broker in this process answers as a broker does
 * that went while requests were on their way, and leads its partitions again between two of them. */
#include "common/clock.h"
#include "engine/operator.h"
#include "sql/sql.h"
#include "tests/helpers/test.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
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
    bool looks_again; /* the task, every 250 ms, as a slot lets it; else only a wake steps it */
    char waited_for[WAITS_FOR_MAX]; /* the last */
    char refused[WAITS_FOR_MAX];    /* the last that told of a refusal: between the last refusal and the answer that takes the rows something else is said */
    bool held;        /* broker 2 answers when the sink has said that it waits */
    int64_t next; /* id */
    epoch_t epoch;
} fixture_t;

static atomic_int wakes; /* librdkafka's threads */
static void on_wake(void *arg) { atomic_fetch_add(&wakes, 1); }

/* Who asks for the address of this port (NULL: nobody) gets no answer. A broker's thread of librdkafka that does so does nothing else. */
static const char *_Atomic silent_port;
static atomic_int asking; /* and wait */
int getaddrinfo(const char *node, const char *port, const struct addrinfo *hints, struct addrinfo **ret) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    bool waits = false;
    for (int64_t until = clock_mono_ms() + LIMIT_MS; clock_mono_ms() < until; usleep(1000)) {
        const char *silent = atomic_load(&silent_port);
        if (!silent || !port || strcmp(silent, port)) break;
        if (!waits) atomic_fetch_add(&asking, 1);
        waits = true;
    }
    atomic_fetch_sub(&asking, waits);
    return real(node, port, hints, ret);
}

static void wait_until_one_asks(void) {
    for (int64_t until = clock_mono_ms() + LIMIT_MS; atomic_load(&asking) == 0; usleep(1000)) ck_assert(clock_mono_ms() < until);
}

#define ONE_COLUMN "CREATE TABLE g (id BIGINT) WITH ('connector' = 'datagen');\nCREATE TABLE o (id BIGINT) WITH ('connector' = 'kafka', 'format' = 'json',\n"
#define BY_TURNS ONE_COLUMN "'sink.partitioner' = 'round-robin', " /* each partition has every other row */
#define FULL 25 /* messages of a request */

/* A broker refuses all of a partition that comes behind what it has refused, this one only as many requests as it is told to. So a second one may not be
 * on its way, and librdkafka makes it while the first has fewer than five messages: where the rows of a batch are whole requests, a request waits for its
 * last row however slow this thread is. */
static int linger_ms(int batch) { return BATCH / 2 % batch ? 1 : (int)LIMIT_MS / 2; }

static void fixture_open_with(fixture_t *f, int nbrokers, const char *tables, const char *connector, const char *more_servers, int batch, int in_flight) {
    char text[256];
    *f = (fixture_t){0};
    f->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    ck_assert_ptr_nonnull(f->rk);
    f->brokers = rd_kafka_mock_cluster_new(f->rk, nbrokers);
    ck_assert_int_eq(rd_kafka_mock_topic_create(f->brokers, "out", 2, 1), 0);
    for (int p = 0; p < 2; p++) ck_assert_int_eq(rd_kafka_mock_partition_set_leader(f->brokers, "out", p, MIN(p + 1, nbrokers)), 0);
    AUTO(auto_free) char *sql = xprintf(
        "%s'topic' = 'out', 'properties.bootstrap.servers' = '%s%s', 'properties.enable.sparse.connections' = '%s',\n"
        "  'sink.delivery-guarantee' = 'at-least-once', 'properties.batch.num.messages' = '%d', 'properties.linger.ms' = '%d', 'properties.max.in.flight' = '%d');\n"
        "INSERT INTO o SELECT * FROM g;",
        tables, rd_kafka_mock_cluster_bootstraps(f->brokers), more_servers, *more_servers ? "false" : "true", batch, linger_ms(batch), in_flight);
    sql_source_t src = {.text = sql, .len = strlen(sql), .file = "t.sql", .parallelism = 1};
    ck_ok(sql_compile(&src, &f->plan));
    const plan_op_t *op = NULL;
    for (int i = 0; i < f->plan->nstages; i++)
        for (int k = 0; k < f->plan->stages[i]->nops; k++)
            if (f->plan->stages[i]->ops[k]->kind == OP_SINK) op = f->plan->stages[i]->ops[k];
    ck_assert_ptr_nonnull(op);
    const sink_vtable_t *vt = sink_find(connector);
    f->sink = (sink_t){.vt = vt, .env = {.op = op, .eval = &f->eval, .job = "t", .parallelism = 1, .wake = on_wake}, .self = xcalloc(1, vt->state_size)};
    ck_ok(vt->open(&f->sink));
}

/* in_flight: requests on their way at once, of one partition no more than one. */
static void fixture_open(fixture_t *f, int in_flight) { fixture_open_with(f, 1, BY_TURNS, "kafka", "", FULL, in_flight); }

/* Broker 1 leads partition 0, broker 2 partition 1. Broker 1 refuses its next request as out of turn, after so many
 * milliseconds. */
static void fixture_open_two(fixture_t *f, int batch, int in_flight) {
    fixture_open_with(f, 2, BY_TURNS, "kafka", "", batch, in_flight);
    f->looks_again = true;
}
static void break_producer(fixture_t *f, int after_ms) {
    ck_assert_int_eq(rd_kafka_mock_broker_push_request_error_rtts(f->brokers, 1, PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, after_ms), 0);
}

static void fixture_close(fixture_t *f) {
    f->sink.vt->close(&f->sink);
    free(f->sink.self);
    plan_free(f->plan);
    rd_kafka_mock_cluster_destroy(f->brokers);
    rd_kafka_destroy(f->rk);
}

/* A task's wait: for another wake than those it has seen, and not for ever. */
static void wait_for_wake(fixture_t *f, int seen, int64_t until) {
    int64_t again = f->looks_again ? clock_mono_ms() + 250 : INT64_MAX;
    if (f->sink.waits_for[0]) snprintf(f->waited_for, sizeof f->waited_for, "%s", f->sink.waits_for);
    if (strstr(f->sink.waits_for, "has been refused for")) snprintf(f->refused, sizeof f->refused, "%s", f->sink.waits_for);
    if (f->held && strstr(f->waited_for, "has not given back")) {
        f->held = false;
        ck_assert_int_eq(rd_kafka_mock_broker_set_rtt(f->brokers, 2, 0), 0);
    }
    while (atomic_load(&wakes) == seen && clock_mono_ms() < MIN(until, again)) usleep(500);
    ck_assert_msg(clock_mono_ms() < until, "nobody woke the task, which last said '%s'", f->waited_for);
}

/* A batch, which goes, and a barrier behind it, settled; or what the sink failed with. */
static err_t *settle_batch(fixture_t *f, batch_t *b) {
    int64_t until = clock_mono_ms() + LIMIT_MS;
    buf_t bytes = buf_make(0), segment = buf_make(0);
    err_t *e = NULL;
    op_status_t st;
    atomic_int *w = &wakes;
    int before = atomic_load(w);
    while ((st = f->sink.vt->write(&f->sink, b, &e)) == OP_MORE) {
        wait_for_wake(f, before, until);
        before = atomic_load(w);
    }
    if (st == OP_DONE) st = f->sink.vt->seal(&f->sink, ++f->epoch, &bytes, &segment, &e);
    before = atomic_load(w);
    while (st != OP_FAIL && (st = f->sink.vt->settle(&f->sink, f->epoch, &e)) == OP_MORE) {
        wait_for_wake(f, before, until);
        before = atomic_load(w);
    }
    batch_free(b);
    buf_free(&bytes);
    buf_free(&segment);
    return e;
}

static batch_t *next_batch(fixture_t *f) {
    batch_t *b = batch_new_schema(f->sink.env.op->schema, BATCH);
    for (int i = 0; i < BATCH; i++) b->cols[0].i64[i] = f->next++;
    return b;
}

static err_t *write_and_settle(fixture_t *f) { return settle_batch(f, next_batch(f)); }

typedef struct consumer {
    rd_kafka_t *rk;
    int64_t until;
} consumer_t;

/* Of both partitions, from their beginnings. */
static consumer_t consumer_open(fixture_t *f) {
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->brokers), text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "g", text, sizeof text);
    consumer_t c = {rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text), clock_mono_ms() + LIMIT_MS};
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(2);
    for (int p = 0; p < 2; p++) rd_kafka_topic_partition_list_add(l, "out", p)->offset = 0;
    ck_assert_int_eq(rd_kafka_assign(c.rk, l), 0);
    rd_kafka_topic_partition_list_destroy(l);
    return c;
}

static rd_kafka_message_t *consumer_next(consumer_t *c) {
    while (clock_mono_ms() < c->until) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, 100);
        if (m && !m->err) return m;
        if (m) rd_kafka_message_destroy(m);
    }
    return NULL;
}

static void consumer_close(consumer_t *c) { rd_kafka_destroy(c->rk); }

/* Each id below n is there once, and in each partition they rise. */
static void check_rows(fixture_t *f, int64_t n) {
    consumer_t c = consumer_open(f);
    int64_t last[2] = {-1, -1};
    for (int64_t got = 0; got < n; got++) {
        rd_kafka_message_t *m = consumer_next(&c);
        ck_assert_ptr_nonnull(m);
        long long id;
        AUTO(auto_free) char *value = xstrndup(m->payload, m->len);
        ck_assert_int_eq(sscanf(value, "{\"id\":%lld}", &id), 1);
        ck_assert_msg(id > last[m->partition], "%lld comes after %lld in partition %d", id, (long long)last[m->partition], m->partition);
        last[m->partition] = id;
        rd_kafka_message_destroy(m);
    }
    int64_t low, high, sum = 0;
    for (int p = 0; p < 2; p++) {
        ck_assert_int_eq(rd_kafka_query_watermark_offsets(c.rk, "out", p, &low, &high, (int)LIMIT_MS), 0);
        sum += high - low;
    }
    ck_assert_int_eq(sum, n);
    ck_assert_int_eq(MAX(last[0], last[1]), n - 1);
    consumer_close(&c);
}

/* Each id below n is there, perhaps more than once, and as they stand for the last time they rise: each key ends with its newest row. */
static void check_last_rows(fixture_t *f, int64_t n) {
    consumer_t c = consumer_open(f);
    int64_t low, high[2];
    for (int p = 0; p < 2; p++) ck_assert_int_eq(rd_kafka_query_watermark_offsets(c.rk, "out", p, &low, &high[p], (int)LIMIT_MS), 0);
    struct {
        int32_t partition;
        int64_t offset;
    } *at = xcalloc((size_t)n, sizeof *at);
    for (int64_t got = 0; got < high[0] + high[1]; got++) {
        rd_kafka_message_t *m = consumer_next(&c);
        ck_assert_ptr_nonnull(m);
        long long id;
        AUTO(auto_free) char *value = xstrndup(m->payload, m->len);
        ck_assert(sscanf(value, "{\"id\":%lld}", &id) == 1 && id < n);
        at[id].partition = m->partition + 1;
        at[id].offset = m->offset;
        rd_kafka_message_destroy(m);
    }
    int64_t last[3] = {-1, -1, -1};
    for (int64_t id = 0; id < n; id++) {
        ck_assert_msg(at[id].partition, "%lld is lost", (long long)id);
        ck_assert_msg(at[id].offset > last[at[id].partition], "%lld stands before an older row", (long long)id);
        last[at[id].partition] = at[id].offset;
    }
    free(at);
    consumer_close(&c);
}

static void goes_on_behind(int in_flight, const rd_kafka_resp_err_t *errors, size_t n) {
    fixture_t f;
    fixture_open(&f, in_flight);
    f.looks_again = n > 1; /* a new producer's rows may be between two queues when it is asked for them, and a partition without a leader is with no thread */
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

/* A broker that says of a request that it took too long may have written it, and takes the one behind it. librdkafka sends a second request to a
 * partition while fewer than five messages are under way. */
START_TEST(what_is_confirmed_behind_a_row_that_is_written_again_is_written_again_too) {
    fixture_t f;
    fixture_open_two(&f, 2, 2);
    ck_ok(write_and_settle(&f));
    break_producer(&f, 300);
    ck_assert_int_eq(rd_kafka_mock_broker_push_request_error_rtts(f.brokers, 2, PRODUCE, 2, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 600,
                                                                  RD_KAFKA_RESP_ERR_NO_ERROR, 1500), 0);
    ck_ok(write_and_settle(&f));
    ck_ok(write_and_settle(&f));
    check_last_rows(&f, f.next);
    fixture_close(&f);
}
END_TEST

/* Two partitions, two brokers: one refuses, the other has a request in hand, until the sink has said that it waits or for good. */
static void goes_on_beside(rd_kafka_resp_err_t answer, bool for_good) {
    fixture_t f;
    fixture_open_two(&f, FULL, 1);
    ck_ok(write_and_settle(&f));
    break_producer(&f, 300);
    ck_assert_int_eq(rd_kafka_mock_broker_push_request_error_rtts(f.brokers, 2, PRODUCE, 1, answer, for_good ? 45000 : 0), 0);
    f.held = !for_good;
    if (f.held) ck_assert_int_eq(rd_kafka_mock_broker_set_rtt(f.brokers, 2, (int)LIMIT_MS), 0);
    int64_t begin = clock_mono_ms();
    ck_ok(write_and_settle(&f));
    if (for_good) ck_assert_int_ge(clock_mono_ms() - begin, 10000);
    ck_assert_msg(strstr(f.waited_for, "table o: a broken producer has not given back"), "%s", f.waited_for);
    ck_assert(!f.held);
    ck_ok(write_and_settle(&f));
    ck_assert_str_eq(f.sink.waits_for, "");
    check_rows(&f, f.next);
    fixture_close(&f);
}

/* Else the broker might read it from the old connection behind newer rows. */
START_TEST(what_another_broker_has_in_hand_is_waited_for_and_written_once) { goes_on_beside(RD_KAFKA_RESP_ERR_NO_ERROR, false); }
END_TEST

START_TEST(rows_that_a_broken_producer_puts_back_to_try_again_are_asked_for_again) { goes_on_beside(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, false); }
END_TEST

START_TEST(a_broker_that_keeps_silent_is_waited_for_ten_seconds) { goes_on_beside(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, true); }
END_TEST

/* The thread of broker 2, which has gone, asks for its address and hears nobody; it has rows of partition 1. */
START_TEST(a_broken_producer_that_does_not_give_back_all_its_rows_is_an_error_that_counts_them) {
    fixture_t f;
    fixture_open_two(&f, FULL, 1);
    ck_ok(write_and_settle(&f));
    AUTO(auto_free) char *servers = xstrdup(rd_kafka_mock_cluster_bootstraps(f.brokers));
    const char *second = strrchr(servers, ':') + 1;
    ck_assert_int_eq(rd_kafka_mock_broker_set_down(f.brokers, 2), 0);
    atomic_store(&silent_port, second);
    batch_t *b = next_batch(&f);
    err_t *e = NULL;
    ck_assert_int_eq(f.sink.vt->write(&f.sink, b, &e), OP_DONE);
    batch_free(b);
    wait_until_one_asks();
    break_producer(&f, 0);
    int64_t begin = clock_mono_ms();
    e = write_and_settle(&f);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_ge(clock_mono_ms() - begin, 29000);
    unsigned long long kept = 0, all = 0;
    const char *text = strstr(err_text(e), "has not given back");
    ck_assert_msg(strstr(err_text(e), "topic 'out'") && text && sscanf(text, "has not given back %llu of %llu rows for 30 s", &kept, &all) == 2, "%s", err_text(e));
    ck_assert_msg(kept > 0 && kept < all && all <= 2 * BATCH, "%s", err_text(e));
    ck_assert_msg(strstr(f.waited_for, "has not given back"), "%s", f.waited_for);
    err_free(e);
    atomic_store(&silent_port, NULL);
    fixture_close(&f);
}
END_TEST

/* CPU ns so far of the threads of this name. */
static int64_t cpu_of(const char *name) {
    int64_t sum = 0;
    DIR *d = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(d);
    for (struct dirent *t; (t = readdir(d)) != NULL;) {
        char path[300], comm[32] = "";
        long long ns = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", t->d_name);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        if (fscanf(f, "%31s", comm) != 1) comm[0] = 0;
        fclose(f);
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", t->d_name);
        f = strcmp(comm, name) == 0 ? fopen(path, "r") : NULL;
        if (!f) continue;
        if (fscanf(f, "%lld", &ns) == 1) sum += ns;
        fclose(f);
    }
    closedir(d);
    return sum;
}

/* Rows go on coming while the broker has those before them in hand: of both partitions, or of one only, which has never more than one request under way. */
START_TEST(a_producer_rests_while_its_broker_has_its_rows_in_hand) {
    for (int one = 0; one < 2; one++) {
        fixture_t f;
        AUTO(auto_free) char *tables = xprintf(ONE_COLUMN "'sink.partitioner' = '%s', ", one ? "fixed" : "round-robin");
        fixture_open_with(&f, 1, tables, "kafka", "", 100000, 2);
        f.looks_again = true;
        for (int i = 0; i < 3; i++) ck_ok(write_and_settle(&f)); /* who leads what is known */
        ck_assert_int_eq(rd_kafka_mock_broker_set_rtt(f.brokers, 1, 1500), 0);
        int64_t before = cpu_of("rdk:broker1"), began = clock_mono_ms();
        while (clock_mono_ms() - began < 1200) {
            batch_t *b = next_batch(&f);
            err_t *e = NULL;
            ck_assert_int_eq(f.sink.vt->write(&f.sink, b, &e), OP_DONE);
            batch_free(b);
            usleep(10000);
        }
        int64_t used = (cpu_of("rdk:broker1") - before) / 1000000;
        ck_assert_msg(used < 300, "%lld ms of a core, %s", (long long)used, tables);
        ck_assert_int_eq(rd_kafka_mock_broker_set_rtt(f.brokers, 1, 0), 0);
        ck_ok(write_and_settle(&f));
        check_rows(&f, f.next);
        fixture_close(&f);
    }
}
END_TEST

/* A minority that has a partition refuses its rows for as long as it is one; the others are taken. Nothing is lost, and the job says what it waits for. */
START_TEST(a_partition_that_is_refused_again_and_again_is_named_with_the_brokers_reason) {
    fixture_t f;
    fixture_open_two(&f, BATCH / 4, 1);
    ck_ok(write_and_settle(&f));
    rd_kafka_resp_err_t why = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    for (int i = 0; i < 60; i++) /* a tenth of a second each */
        ck_assert_int_eq(rd_kafka_mock_broker_push_request_error_rtts(f.brokers, 1, PRODUCE, 1, why, 0), 0);
    ck_ok(write_and_settle(&f));
    ck_assert_msg(strstr(f.refused, "Kafka, table o: out/0 has been refused for ") != NULL, "'%s', at last '%s'", f.refused, f.waited_for);
    ck_assert_msg(strstr(f.refused, " s: Broker: Not enough in-sync replicas") != NULL, "%s", f.refused);
    ck_assert_str_eq(f.sink.waits_for, ""); /* it was taken */
    ck_ok(write_and_settle(&f));
    check_rows(&f, f.next);
    fixture_close(&f);
}
END_TEST

START_TEST(to_close_a_broken_producer_holds_nobody) {
    fixture_t f;
    atomic_store(&silent_port, "1");
    fixture_open_with(&f, 1, BY_TURNS, "kafka", ",127.0.0.1:1", FULL, 1);
    ck_ok(write_and_settle(&f));
    wait_until_one_asks();
    int64_t begin = clock_mono_ms();
    break_producer(&f, 0);
    ck_ok(write_and_settle(&f));
    ck_ok(write_and_settle(&f));
    ck_assert_int_lt(clock_mono_ms() - begin, LIMIT_MS / 2);
    ck_assert_int_ge(atomic_load(&asking), 1);
    check_rows(&f, f.next);
    atomic_store(&silent_port, NULL);
    fixture_close(&f);
}
END_TEST

#define FOUR_COLUMNS                                                                                                                                    \
    "CREATE TABLE g (id BIGINT, v STRING, ts TIMESTAMP_LTZ(3), h MAP<STRING, BYTES>) WITH ('connector' = 'kafka', 'topic' = 'in',\n"                    \
    "  'properties.bootstrap.servers' = 'localhost:1', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');\n"                                 \
    "CREATE TABLE o (id BIGINT, v STRING, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', h MAP<STRING, BYTES> METADATA FROM 'headers',\n"               \
    "  PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'key.format' = 'json', 'value.format' = 'json',\n"

/* Row 0 has all, row 1 is a tombstone, row 2 has no header and no timestamp. */
static batch_t *batch_of_three(const schema_t *schema) {
    batch_t *b = batch_new_schema(schema, 3);
    ck_assert_int_eq(b->ncols, 4);
    b->kinds = mem_zalloc(b->mem, 3);
    b->kinds[1] = ROW_DELETE;
    colbuilder_t *h = colbuilder_new(schema->fields[3].type, b->mem);
    for (int i = 0; i < 3; i++) {
        b->cols[0].i64[i] = i;
        b->cols[1].str[i] = (str_t){.p = "a", .len = 1};
        b->cols[2].i64[i] = i < 2 ? 86400000000 + i * 1000 : 0;
        colbuilder_begin(h);
        if (i == 0) {
            colbuilder_str(colbuilder_child(h, 0), "name", 4);
            colbuilder_str(colbuilder_child(h, 1), "x\0y", 3);
        }
        colbuilder_end(h);
    }
    column_need_nulls(&b->cols[2], b->mem, 3)[2] = 1;
    colbuilder_finish(h, &b->cols[3]);
    colbuilder_free(h);
    return b;
}

static void check_record(const rd_kafka_message_t *m, int64_t began_ms) {
    long long id;
    AUTO(auto_free) char *key = xstrndup(m->key, m->key_len);
    ck_assert_int_eq(sscanf(key, "{\"id\":%lld}", &id), 1);
    int64_t ms = rd_kafka_message_timestamp(m, NULL);
    rd_kafka_headers_t *headers = NULL;
    bool has = !rd_kafka_message_headers(m, &headers) && rd_kafka_header_cnt(headers) > 0;
    ck_assert_msg(id == 2 ? ms >= began_ms : ms == 86400000 + id, "%s: %lld", key, (long long)ms);
    ck_assert_msg(has == (id == 0), "%s", key);
    const void *value;
    size_t size;
    if (has) ck_assert(!rd_kafka_header_get_last(headers, "name", &value, &size) && size == 3 && !memcmp(value, "x\0y", 3));
    AUTO(auto_free) char *text = xstrndup(m->payload ? m->payload : "", m->len), *want = id == 1 ? xstrdup("") : xprintf("{\"id\":%lld,\"v\":\"a\"}", id);
    ck_assert_str_eq(text, want);
    ck_assert(!m->payload == (id == 1));
}

START_TEST(a_record_that_is_given_to_a_new_producer_keeps_key_headers_timestamp_and_tombstone) {
    fixture_t f;
    fixture_open_with(&f, 1, FOUR_COLUMNS, "upsert-kafka", "", 20, 1);
    int64_t began_ms = clock_wall_ms();
    break_producer(&f, 0);
    ck_ok(settle_batch(&f, batch_of_three(f.sink.env.op->schema)));
    consumer_t c = consumer_open(&f);
    for (int got = 0; got < 3; got++) {
        rd_kafka_message_t *m = consumer_next(&c);
        ck_assert_ptr_nonnull(m);
        check_record(m, began_ms);
        rd_kafka_message_destroy(m);
    }
    consumer_close(&c);
    fixture_close(&f);
}
END_TEST

TESTS("kafka_sink", a_producer_rests_while_its_broker_has_its_rows_in_hand,
      a_producer_that_lost_its_place_is_made_anew_and_no_row_is_lost_or_out_of_order,
      a_broker_that_comes_back_between_two_requests_costs_no_attempt, a_broker_that_never_takes_a_record_in_turn_is_an_error,
      what_another_broker_has_in_hand_is_waited_for_and_written_once, rows_that_a_broken_producer_puts_back_to_try_again_are_asked_for_again,
      a_broker_that_keeps_silent_is_waited_for_ten_seconds, a_broken_producer_that_does_not_give_back_all_its_rows_is_an_error_that_counts_them,
      what_is_confirmed_behind_a_row_that_is_written_again_is_written_again_too, to_close_a_broken_producer_holds_nobody,
      a_partition_that_is_refused_again_and_again_is_named_with_the_brokers_reason,
      a_record_that_is_given_to_a_new_producer_keeps_key_headers_timestamp_and_tombstone)
