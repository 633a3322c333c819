/* A lane whose broker is dead: nobody listens, or whoever listens says nothing. Whatever the lane waits for, it ends soon after it is closed: a cancelled
 * job must not wait for its brokers. */
#include "common/clock.h"
#include "common/mailbox.h"
#include "engine/connector/kafka_ledger.h"
#include "tests/helpers/running.h"
#include "tests/helpers/test.h"
#include "worker/lane_kafka.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOON_MS 3500 /* two seconds of a call that cannot be interrupted, and letting go of the client; the coordinator waits five */

/* A port on which connections are made and nothing is answered, or (not listening) refused. */
static int dead_broker(bool listening, char *ret, size_t size) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    if (listening) ck_assert_int_eq(listen(fd, 100), 0);
    snprintf(ret, size, "127.0.0.1:%d", ntohs(a.sin_port));
    return fd;
}

static void on_answer(void *arg, lane_answer_t a) {
    lane_answer_t *copy = xmalloc(sizeof a);
    *copy = a;
    ASSERT(mailbox_send(arg, copy));
}
static lane_answer_kind_t answer_within(mailbox_t *m, int64_t ms) {
    for (int64_t until = running_ms() + ms; running_ms() < until; mailbox_wait(m, 50)) {
        lane_answer_t *p = mailbox_receive(m);
        if (!p) continue;
        lane_answer_kind_t kind = p->kind;
        err_free(p->error);
        free(p);
        return kind;
    }
    ck_abort_msg("no answer within %d ms", (int)ms);
    return LANE_ANSWER_DOUBT;
}

/* after_ms: how far it has come when it is closed: within its first call, in a later one, while it paces itself. */
static void close_while_it_waits(bool listening, lane_action_kind_t what, int after_ms) {
    char servers[64];
    int fd = dead_broker(listening, servers, sizeof servers);
    const char *keys[] = {"connector", "topic", "properties.bootstrap.servers"}, *values[] = {"kafka", "out", servers};
    table_t table = {.name = "results", .connector = "kafka", .options = {3, keys, values}};
    plan_op_t op = {.table = &table};
    lane_spec_t spec = {.cluster = "test", .job = "dead", .incarnation = 1, .op = &op, .lanes = 1};
    lane_driver_t *d = lane_kafka_new();
    mailbox_t *box = mailbox_new(10, NULL);
    lane_handle_t *h;
    ck_ok(d->open(d, &spec, on_answer, box, &h));
    lane_action_t a = {.kind = what};
    d->start(d, h, &a);
    usleep((useconds_t)after_ms * 1000);
    int64_t begin = clock_mono_ms();
    d->close(d, h);
    lane_answer_kind_t kind = answer_within(box, SOON_MS);
    if (kind != LANE_ANSWER_CLOSED) ck_assert_int_eq(answer_within(box, SOON_MS), LANE_ANSWER_CLOSED); /* it had given up by itself */
    printf("%s, %s, closed after %d ms: gone in %d ms\n", what == LANE_DO_INIT ? "init" : "read", listening ? "silent" : "refused", after_ms,
           (int)(clock_mono_ms() - begin));
    mailbox_free(box);
    lane_kafka_free(d);
    close(fd);
}

START_TEST(a_closed_lane_does_not_wait_for_its_producer) {
    for (int listening = 0; listening < 2; listening++)
        for (int ms = 10; ms <= 1000; ms *= 10) close_while_it_waits(listening, LANE_DO_INIT, ms);
}
END_TEST

START_TEST(a_closed_lane_does_not_wait_for_its_ledger) {
    for (int listening = 0; listening < 2; listening++)
        for (int ms = 10; ms <= 1000; ms *= 10) close_while_it_waits(listening, LANE_DO_READ, ms);
}
END_TEST

TESTS("kafka/lane_dead", a_closed_lane_does_not_wait_for_its_producer, a_closed_lane_does_not_wait_for_its_ledger)
