/* gRPC links: messages arrive in order, both ends hear the end once, nothing waits for ever. */
#include "common/clock.h"
#include "common/mailbox.h"
#include "proto/link.h"
#include "tests/helpers/running.h"
#include "tests/helpers/test.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

typedef struct note {
    enum { GOT, CLOSED } kind;
    link_t *link;
    ctl_msg_t *msg;
    err_t *why;
} note_t;

static void on_message(void *arg, link_t *l, ctl_msg_t *m) {
    note_t *n = xcalloc(1, sizeof *n);
    *n = (note_t){GOT, l, m, NULL};
    ASSERT(mailbox_send(arg, n));
}
static void on_closed(void *arg, link_t *l, err_t *why) {
    note_t *n = xcalloc(1, sizeof *n);
    *n = (note_t){CLOSED, l, NULL, why};
    ASSERT(mailbox_send(arg, n));
}
static note_t *next(mailbox_t *m) {
    int64_t until = clock_mono_ms() + 20000;
    for (;;) {
        note_t *n = mailbox_receive(m);
        if (n) return n;
        ck_assert_msg(clock_mono_ms() < until, "no event for 20 s");
        mailbox_wait(m, 1000);
    }
}

typedef struct host {
    mailbox_t *box;
    link_t *last;
    rpc_call_t *held; /* a call that is not answered */
    atomic_int calls;
} host_t;

static void host_accept(void *arg, link_t *l) {
    host_t *h = arg;
    l->handler = (link_handler_t){on_message, on_closed, h->box};
    h->last = l;
}
static void host_call(void *arg, rpc_call_t *c, client_request_t *r) {
    host_t *h = arg;
    client_reply_t reply = {0};
    if (r->op == CLIENT_JOBS) buf_puts(&reply.json, "{\"jobs\":[]}");
    else reply.error = err_hint(err_at(err_new(ERR_NOT_FOUND, "no job '%s'", r->job_name), 2, 3), "see jobs");
    if (r->op == CLIENT_WORKERS) {
        client_reply_free(&reply);
        h->held = c;
    } else {
        rpc_reply(c, &reply);
    }
    client_request_free(r);
    atomic_fetch_add(&h->calls, 1);
}

static rpc_server_t *serve(host_t *h, char *address, size_t n) {
    rpc_server_t *s;
    int port;
    *h = (host_t){.box = mailbox_new(100000, NULL)};
    rpc_handler_t handler = {host_accept, host_call, h};
    ck_ok(rpc_server_new("127.0.0.1:0", &handler, &s, &port));
    snprintf(address, n, "127.0.0.1:%d", port);
    return s;
}

START_TEST(messages_keep_their_order_and_both_ends_hear_the_end) {
    host_t h;
    char address[64];
    rpc_server_t *s = serve(&h, address, sizeof address);
    mailbox_t *mine = mailbox_new(1000, NULL);
    link_t *l;
    ck_ok(rpc_connect(address, 5000, &(link_handler_t){on_message, on_closed, mine}, &l));
    for (epoch_t e = 1; e <= 2000; e++) {
        ctl_msg_t *m = ctl_new(CTL_INJECT);
        m->job = 7, m->attempt = 2, m->epoch = e, m->flags = 1;
        l->send(l, m);
    }
    link_t *theirs = NULL;
    for (epoch_t e = 1; e <= 2000; e++) {
        note_t *n = next(h.box);
        ck_assert_int_eq(n->kind, GOT);
        ck_assert_uint_eq(n->msg->epoch, e);
        ck_assert_uint_eq(n->msg->job, 7);
        theirs = n->link;
        ctl_free(n->msg);
        free(n);
    }
    ctl_msg_t *bye = ctl_new(CTL_GOODBYE);
    bye->error = err_new(ERR_FENCED, "leader 9 took over");
    theirs->send(theirs, bye);
    theirs->close(theirs); /* what was sent before arrives */
    note_t *n = next(mine);
    ck_assert_int_eq(n->kind, GOT);
    ck_assert_int_eq(err_code(n->msg->error), ERR_FENCED);
    ctl_free(n->msg);
    free(n);
    n = next(mine);
    ck_assert_int_eq(n->kind, CLOSED);
    err_free(n->why);
    free(n);
    l->free(l);
    n = next(h.box);
    ck_assert_int_eq(n->kind, CLOSED);
    err_free(n->why);
    free(n);
    theirs->free(theirs);
    ck_assert(mailbox_receive(mine) == NULL && mailbox_receive(h.box) == NULL);
    rpc_server_free(s);
    mailbox_free(mine);
    mailbox_free(h.box);
}
END_TEST

static void closing_accept(void *arg, link_t *l) {
    host_accept(arg, l);
    ctl_msg_t *m = ctl_new(CTL_GOODBYE);
    m->error = err_new(ERR_CANCELLED, "the coordinator is stopping");
    l->send(l, m);
    l->close(l);
}

/* A coordinator that is stopping turns away who comes: by then the call itself has not begun. */
START_TEST(a_link_may_be_closed_while_it_is_accepted) {
    host_t h = {.box = mailbox_new(100000, NULL)};
    rpc_handler_t handler = {closing_accept, host_call, &h};
    rpc_server_t *s;
    int port;
    ck_ok(rpc_server_new("127.0.0.1:0", &handler, &s, &port));
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    mailbox_t *mine = mailbox_new(1000, NULL);
    link_t *l;
    ck_ok(rpc_connect(address, 5000, &(link_handler_t){on_message, on_closed, mine}, &l));
    note_t *n = next(mine);
    ck_assert_int_eq(n->kind, GOT);
    ck_assert_int_eq(err_code(n->msg->error), ERR_CANCELLED);
    ctl_free(n->msg);
    free(n);
    mailbox_t *both[] = {mine, h.box};
    link_t *links[] = {l, h.last};
    for (int i = 0; i < 2; i++) {
        n = next(both[i]);
        ck_assert_int_eq(n->kind, CLOSED);
        err_free(n->why);
        free(n);
        links[i]->free(links[i]);
    }
    rpc_server_free(s);
    mailbox_free(mine);
    mailbox_free(h.box);
}
END_TEST

START_TEST(a_peer_that_vanishes_is_an_event_at_once) {
    host_t h;
    char address[64];
    rpc_server_t *s = serve(&h, address, sizeof address);
    mailbox_t *mine = mailbox_new(1000, NULL);
    link_t *l;
    ck_ok(rpc_connect(address, 5000, &(link_handler_t){on_message, on_closed, mine}, &l));
    l->send(l, ctl_new(CTL_DRAIN));
    note_t *n = next(h.box);
    ctl_free(n->msg);
    free(n);
    int64_t start = running_ms();
    rpc_server_free(s); /* closes links: the client hears it */
    n = next(mine);
    ck_assert_int_eq(n->kind, CLOSED);
    int took = (int)(running_ms() - start);
    ck_assert_msg(took < 5000, "heard after %d ms", took);
    err_free(n->why);
    free(n);
    l->free(l);
    n = next(h.box);
    ck_assert_int_eq(n->kind, CLOSED);
    err_free(n->why);
    n->link->free(n->link); /* outlives the server */
    free(n);
    mailbox_free(mine);
    mailbox_free(h.box);
}
END_TEST

/* A frozen process keeps its sockets open and its kernel goes on acknowledging. */
START_TEST(a_peer_that_freezes_is_noticed) {
    int out[2];
    ck_assert_int_eq(pipe(out), 0);
    pid_t child = fork(); /* this test is the first: nothing of gRPC exists yet, even when all share one process */
    ck_assert_int_ge(child, 0);
    char address[64] = "";
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        host_t h;
        serve(&h, address, sizeof address);
        if (write(out[1], address, sizeof address) != (ssize_t)sizeof address) _exit(1);
        note_t *n = next(h.box);
        n->link->send(n->link, ctl_new(CTL_WELCOME));
        for (;;) pause();
    }
    ck_assert_int_eq(read(out[0], address, sizeof address), (int)sizeof address);
    mailbox_t *mine = mailbox_new(10, NULL);
    link_t *l;
    ck_ok(rpc_connect(address, 5000, &(link_handler_t){on_message, on_closed, mine}, &l));
    l->send(l, ctl_new(CTL_DRAIN));
    note_t *n = next(mine);
    ck_assert_int_eq(n->kind, GOT);
    ctl_free(n->msg);
    free(n);
    usleep(6000000); /* a quiet link to a healthy peer is left alone */
    ck_assert_ptr_null(mailbox_receive(mine));
    kill(child, SIGSTOP);
    int64_t start = running_ms();
    n = next(mine);
    ck_assert_int_eq(n->kind, CLOSED);
    int took = (int)(running_ms() - start);
    ck_assert_msg(took < 10000, "noticed after %d ms", took);
    err_free(n->why);
    free(n);
    l->free(l);
    mailbox_free(mine);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(out[0]);
    close(out[1]);
}
END_TEST

START_TEST(nobody_there_is_said_soon) {
    mailbox_t *mine = mailbox_new(10, NULL);
    link_t *l;
    int64_t start = running_ms();
    ck_ok(rpc_connect("127.0.0.1:1", 1000, &(link_handler_t){on_message, on_closed, mine}, &l));
    note_t *n = next(mine);
    ck_assert_int_eq(n->kind, CLOSED);
    ck_assert_int_eq(err_code(n->why), ERR_UNAVAILABLE);
    int took = (int)(running_ms() - start);
    ck_assert_msg(took < 5000, "said after %d ms", took);
    err_free(n->why);
    free(n);
    l->free(l);
    mailbox_free(mine);
    client_request_t r = {.op = CLIENT_JOBS};
    client_reply_t reply;
    ck_fails(rpc_client_call("127.0.0.1:1", &r, 2000, &reply), ERR_UNAVAILABLE, "127.0.0.1:1");
}
END_TEST

START_TEST(unary_calls_carry_documents_and_errors) {
    host_t h;
    char address[64];
    rpc_server_t *s = serve(&h, address, sizeof address);
    client_request_t r = {.op = CLIENT_JOBS};
    client_reply_t reply;
    ck_ok(rpc_client_call(address, &r, 5000, &reply));
    ck_assert(reply.error == NULL);
    ck_assert_str_eq(buf_cstr(&reply.json), "{\"jobs\":[]}");
    client_reply_free(&reply);
    r = (client_request_t){.op = CLIENT_JOB, .job_name = "x"};
    ck_ok(rpc_client_call(address, &r, 5000, &reply));
    ck_assert_int_eq(err_code(reply.error), ERR_NOT_FOUND);
    ck_assert_str_eq(err_text(reply.error), "no job 'x'");
    ck_assert_str_eq(err_hint_text(reply.error), "see jobs");
    ck_assert_int_eq(err_line(reply.error), 2);
    client_reply_free(&reply);
    rpc_server_free(s);
    mailbox_free(h.box);
}
END_TEST

static void *call_workers(void *address) {
    client_request_t r = {.op = CLIENT_WORKERS};
    client_reply_t reply = {0};
    err_t *e = rpc_client_call(address, &r, 20000, &reply);
    if (!e) e = TAKE(reply.error);
    client_reply_free(&reply);
    return e;
}

START_TEST(a_stopping_server_answers_open_calls) {
    host_t h;
    char address[64];
    rpc_server_t *s = serve(&h, address, sizeof address);
    pthread_t t;
    pthread_create(&t, NULL, call_workers, address);
    for (int i = 0; i < 200 && !atomic_load(&h.calls); i++) usleep(20000);
    ck_assert_int_eq(atomic_load(&h.calls), 1);
    rpc_server_free(s);
    void *e;
    pthread_join(t, &e);
    ck_assert_int_eq(err_code(e), ERR_CANCELLED);
    err_free(e);
    client_reply_t late = {0};
    rpc_reply(h.held, &late); /* the handler answers after the server is gone: harmless */
    mailbox_free(h.box);
}
END_TEST

START_TEST(garbage_on_the_port_harms_nobody) {
    host_t h;
    char address[64];
    rpc_server_t *s = serve(&h, address, sizeof address);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 20; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
        char junk[512];
        memset(junk, i * 13, sizeof junk);
        ck_assert(send(fd, junk, sizeof junk, MSG_NOSIGNAL) > 0);
        close(fd);
    }
    client_request_t r = {.op = CLIENT_JOBS};
    client_reply_t reply;
    ck_ok(rpc_client_call(address, &r, 5000, &reply));
    client_reply_free(&reply);
    ck_fails(rpc_server_new(address, &(rpc_handler_t){host_accept, host_call, &h}, &(rpc_server_t *){NULL}, NULL), ERR_UNAVAILABLE,
             "cannot listen");
    rpc_server_free(s);
    mailbox_free(h.box);
}
END_TEST

TESTS("rpc", a_peer_that_freezes_is_noticed, messages_keep_their_order_and_both_ends_hear_the_end,
      a_link_may_be_closed_while_it_is_accepted, a_peer_that_vanishes_is_an_event_at_once,
      nobody_there_is_said_soon, unary_calls_carry_documents_and_errors, a_stopping_server_answers_open_calls,
      garbage_on_the_port_harms_nobody)
