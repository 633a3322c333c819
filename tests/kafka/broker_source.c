/* A Kafka source against the real broker named by BOOTSTRAP (integration/test_broker.py runs it). TOPIC: empty, of two partitions. */
#include "common/clock.h"
#include "engine/operator.h"
#include "sql/sql.h"
#include "tests/helpers/test.h"
#include "tests/kafka/broker.h"
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define ROWS 80000      /* per partition; row o of partition p has id FIRST + 2 o + p */
#define FIRST 10000000 /* so that all are of one length */
#define KEPT 30    /* batches */
#define GROUP "watcher" /* of consumers */

static int text_of(char *s, size_t size, int64_t id) { return snprintf(s, size, "the row of number %08d", (int)id); }
static int message_of(char *s, size_t size, int64_t id) {
    char text[64];
    text_of(text, sizeof text, id);
    return snprintf(s, size, "{\"id\":%08d,\"txt\":\"%s\"}", (int)id, text);
}
static void fill(void) {
    kafka_client_t *c;
    ck_ok(kafka_client_new(&table, RD_KAFKA_PRODUCER, (kafka_setting_t[]){{"queue.buffering.max.messages", "1000000"}, {"linger.ms", "20"}, {0}}, NULL, 0, &c));
    rd_kafka_topic_t *t = rd_kafka_topic_new(c->rk, topic, NULL);
    for (int64_t id = FIRST; id < FIRST + 2 * ROWS; id++) {
        char m[128];
        int n = message_of(m, sizeof m, id);
        ck_assert_int_eq(rd_kafka_produce(t, (int)(id % 2), RD_KAFKA_MSG_F_COPY, m, (size_t)n, NULL, 0, NULL), 0);
    }
    ck_assert_int_eq(rd_kafka_flush(c->rk, 60000), 0);
    rd_kafka_topic_destroy(t);
    kafka_client_free(c);
}

static plan_t *compiled(const plan_op_t **ret_source) {
    AUTO(auto_free) char *text = xprintf(
        "CREATE TABLE t (id BIGINT, txt STRING) WITH ('connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s', 'format' = 'json',\n"
        "  'scan.startup.mode' = 'earliest-offset', 'properties.group.id' = '" GROUP "');\nCREATE TABLE o (id BIGINT, txt STRING) WITH ('connector' = 'blackhole');\n"
        "INSERT INTO o SELECT id, txt FROM t;", topic, getenv("BOOTSTRAP"));
    sql_source_t src = {.text = text, .len = strlen(text), .file = "t.sql", .parallelism = 1};
    plan_t *p;
    ck_ok(sql_compile(&src, &p));
    *ret_source = NULL;
    for (int i = 0; i < p->nstages; i++)
        for (int k = 0; k < p->stages[i]->nops; k++)
            if (p->stages[i]->ops[k]->kind == OP_SOURCE) *ret_source = p->stages[i]->ops[k];
    ck_assert_ptr_nonnull(*ret_source);
    return p;
}

static atomic_int wakes; /* librdkafka's threads */
static void on_wake(void *arg) { atomic_fetch_add(&wakes, 1); }

/* Of the rows of a batch, all of one partition, each follows on the one before; *seen: the next row of each partition. */
static void take(const batch_t *b, int64_t *seen) {
    for (uint32_t i = 0; i < b->n; i++) {
        int64_t id = b->cols[0].i64[i];
        ck_assert_int_eq(id % 2, b->cols[0].i64[0] % 2);
        ck_assert_int_eq((id - FIRST) / 2, seen[id % 2]++);
    }
}
static void check_texts(const batch_t *b) {
    for (uint32_t i = 0; i < b->n; i++) {
        char want[64];
        int n = text_of(want, sizeof want, b->cols[0].i64[i]);
        str_t s = b->cols[1].str[i];
        ck_assert_msg(s.len == (uint32_t)n && memcmp(s.p, want, s.len) == 0, "'%.*s' is not '%s'", (int)s.len, s.p, want);
    }
}

/* Hazards A23. One poll hands over all that was fetched, more than fits in a batch: what is decoded lies behind the position until it leaves. The source
 * dies again and again after a few batches, and the next one begins at its positions. The messages are freed as soon as they are decoded; the texts of
 * the rows are read when all of it is over. */
START_TEST(a23_a_position_covers_the_rows_that_left_and_their_texts_outlive_the_message) {
    fill();
    const plan_op_t *op;
    plan_t *plan = compiled(&op);
    const source_vtable_t *vt = source_find("kafka");
    split_list_t splits = {0};
    ck_ok(vt->enumerate(op->table, &plan->set, 30000, &splits));
    ck_assert_int_eq(splits.n, 2);
    char message[128];
    const uint64_t size = (uint64_t)message_of(message, sizeof message, FIRST);
    batch_t *kept[KEPT];
    split_list_t begin = {0};
    for (int i = 0; i < 2; i++) split_list_add(&begin, &splits.items[i]);
    int64_t seen[2] = {0}, until = clock_mono_ms() + 120000;
    int lives = 0, ahead = 0, nkept = 0, full = 0;
    while (seen[0] + seen[1] < 2 * ROWS || ahead < 3 || full < 3) {
        if (seen[0] + seen[1] == 2 * ROWS) { /* how much a poll finds is the broker's: once more from the begin until enough died in the middle */
            seen[0] = seen[1] = 0;
            split_list_free(&splits);
            for (int i = 0; i < 2; i++) split_list_add(&splits, &begin.items[i]);
        }
        eval_ctx_t eval = {.now_ms = clock_wall_ms()};
        source_t s = {.vt = vt, .env = {.op = op, .eval = &eval, .job = "t", .parallelism = 1, .wake = on_wake}, .self = xcalloc(1, vt->state_size)};
        for (int i = 0; i < 2; i++) split_list_add(&s.splits, &splits.items[i]);
        ck_ok(vt->open(&s));
        uint64_t rows = 0;
        for (int left = ++lives % 3 + 1; left && seen[0] + seen[1] < 2 * ROWS;) {
            batch_t *b = NULL;
            int split;
            err_t *e = NULL;
            eval.now_ms = clock_wall_ms();
            ck_assert_msg(clock_mono_ms() < until, "%d rows, %d deaths with rows decoded ahead and %d full batches after two minutes", (int)(seen[0] + seen[1]), ahead, full);
            if (left == 1) usleep(3000); /* more comes meanwhile than fits in a batch */
            ck_assert_msg(vt->poll(&s, &b, &split, &e) != SRC_FAIL, "%s", err_text(e));
            if (!b) {
                usleep(1000);
                continue;
            }
            take(b, seen);
            for (int i = 0; i < 2; i++) ck_assert_int_eq(s.splits.items[i].position, seen[i]);
            ck_assert_int_eq(b->cols[0].i64[0] % 2, split);
            rows += b->n;
            full += b->n >= BATCH_ROWS_MAX;
            left--;
            if (nkept < KEPT && lives % 3 == 0) kept[nkept++] = b;
            else batch_free(b);
        }
        ahead += s.bytes_in > rows * size; /* it has decoded rows that never left */
        split_list_free(&splits);
        for (int i = 0; i < 2; i++) split_list_add(&splits, &s.splits.items[i]);
        vt->close(&s);
        split_list_free(&s.splits);
        free(s.self);
    }
    printf("%d lives, %d of them died with rows decoded ahead, %d full batches\n", lives, ahead, full);
    ck_assert_int_ge(ahead, 3);
    ck_assert_int_ge(full, 3);
    ck_assert_int_ge(nkept, 3);
    for (int i = 0; i < nkept; i++) {
        check_texts(kept[i]);
        batch_free(kept[i]);
    }
    split_list_free(&splits);
    split_list_free(&begin);
    plan_free(plan);
}
END_TEST

static int64_t committed(const kafka_client_t *c, int partition) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, topic, partition);
    rd_kafka_resp_err_t code = rd_kafka_committed(c->rk, l, 10000);
    ck_assert_msg(!code, "%s", rd_kafka_err2str(code));
    int64_t at = l->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(l);
    return at;
}

/* Epochs come faster than commits are answered, then none comes any more. */
START_TEST(the_offsets_of_the_last_epoch_are_committed_also_when_no_epoch_follows) {
    const plan_op_t *op;
    plan_t *plan = compiled(&op);
    const source_vtable_t *vt = source_find("kafka");
    eval_ctx_t eval = {.now_ms = clock_wall_ms()};
    source_t s = {.vt = vt, .env = {.op = op, .eval = &eval, .job = "t", .parallelism = 1, .wake = on_wake}, .self = xcalloc(1, vt->state_size)};
    ck_ok(vt->enumerate(op->table, &plan->set, 30000, &s.splits));
    ck_ok(vt->open(&s));
    for (epoch_t e = 1; e <= 3; e++) {
        for (int i = 0; i < 2; i++) s.splits.items[i].position = 10 * (int64_t)e + i;
        vt->complete(&s, e, &s.splits);
    }
    kafka_client_t *c;
    ck_ok(kafka_client_new(&table, RD_KAFKA_CONSUMER, (kafka_setting_t[]){{"group.id", GROUP}, {0}}, NULL, 0, &c));
    for (int64_t until = clock_mono_ms() + 30000; committed(c, 0) != 30 || committed(c, 1) != 31;) {
        ck_assert_msg(clock_mono_ms() < until, "after 30 s the offsets committed are %" PRId64 " and %" PRId64, committed(c, 0), committed(c, 1));
        batch_t *b = NULL;
        int split;
        err_t *e = NULL;
        ck_assert_msg(vt->poll(&s, &b, &split, &e) != SRC_FAIL, "%s", err_text(e));
        batch_free(b);
    }
    kafka_client_free(c);
    vt->close(&s);
    split_list_free(&s.splits);
    free(s.self);
    plan_free(plan);
}
END_TEST

TESTS("broker_source", the_offsets_of_the_last_epoch_are_committed_also_when_no_epoch_follows, a23_a_position_covers_the_rows_that_left_and_their_texts_outlive_the_message)
