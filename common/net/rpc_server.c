/* rpc_server.c: one thread on one completion queue accepts sessions and unary calls.
 *
 * A unary call is answered once: by rpc_reply from any thread, or by the server when it stops first (the core's shutdown would wait for ever for a
 * call nobody answers). The rpc_call_t has two owners, the handler until rpc_reply and the server until the answer is out; both share `gate`,
 * a counted object that outlives the server and whose lock orders them. */
#include "common/clock.h"
#include "common/net/rpc_stream.h"
#include <grpc/byte_buffer.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef enum { TAG_NEW_SESSION = RPC_TAGS, TAG_NEW_CALL, TAG_REPLIED, TAG_SHUTDOWN } tag_kind_t;

typedef struct gate {
    pthread_mutex_t lock;
    int refs;       /* the server and every rpc_call_t */
    int unfinished; /* calls accepted whose answer is not out yet */
    rpc_call_t *open; /* of those, the unanswered */
} gate_t;

struct rpc_call {
    tag_kind_t kind; /* first, as in rpc_tag_t */
    gate_t *gate;
    grpc_call *call;
    grpc_byte_buffer *request, *reply;
    int cancelled, owners;
    bool answered;
    rpc_call_t *next, *prev; /* in gate->open */
};

typedef struct pending_session {
    tag_kind_t kind;
    grpc_call *call;
} pending_session_t;

struct rpc_server {
    rpc_handler_t handler;
    grpc_server *server;
    grpc_completion_queue *cq;
    void *session_method, *call_method;
    gate_t *gate;
    rpc_stream_t *streams;
    int nstreams, accepting; /* accepting: requests for new calls outstanding */
    tag_kind_t shutdown_tag;
    bool shutdown_done;
    atomic_bool stopping;
    bool stopped;
    pthread_t thread;
    grpc_metadata_array session_md, call_md;
    gpr_timespec session_deadline, call_deadline;
};

static void gate_unref(gate_t *g) {
    pthread_mutex_lock(&g->lock);
    bool last = --g->refs == 0;
    pthread_mutex_unlock(&g->lock);
    if (!last) return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static void call_unref(rpc_call_t *c) {
    pthread_mutex_lock(&c->gate->lock);
    bool last = --c->owners == 0;
    pthread_mutex_unlock(&c->gate->lock);
    if (!last) return;
    if (c->request) grpc_byte_buffer_destroy(c->request);
    if (c->reply) grpc_byte_buffer_destroy(c->reply);
    gate_unref(c->gate);
    free(c);
    grpc_shutdown();
}

/* With the gate's lock held. */
static void answer(rpc_call_t *c, client_reply_t *reply) {
    buf_t bytes = buf_make(RPC_MESSAGE_MAX);
    client_reply_encode(&bytes, reply);
    c->reply = rpc_buffer_of(buf_slice(&bytes));
    buf_free(&bytes);
    c->answered = true;
    if (c->prev) c->prev->next = c->next;
    else c->gate->open = c->next;
    if (c->next) c->next->prev = c->prev;
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};
    ops[1].data.send_message.send_message = c->reply;
    ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
    ops[3].data.recv_close_on_server.cancelled = &c->cancelled;
    grpc_call_error e = grpc_call_start_batch(c->call, ops, ARRAY_LEN(ops), c, NULL);
    ASSERT(e == GRPC_CALL_OK);
}

static void await_session(rpc_server_t *s) {
    pending_session_t *p = xcalloc(1, sizeof *p);
    p->kind = TAG_NEW_SESSION;
    grpc_call_error e = grpc_server_request_registered_call(s->server, s->session_method, &p->call, &s->session_deadline,
                                                            &s->session_md, NULL, s->cq, s->cq, p);
    ASSERT(e == GRPC_CALL_OK);
    s->accepting++;
}

static void await_call(rpc_server_t *s) {
    grpc_init();
    rpc_call_t *c = xcalloc(1, sizeof *c);
    c->kind = TAG_NEW_CALL;
    c->gate = s->gate;
    c->owners = 1;
    pthread_mutex_lock(&s->gate->lock);
    s->gate->refs++;
    pthread_mutex_unlock(&s->gate->lock);
    grpc_call_error e = grpc_server_request_registered_call(s->server, s->call_method, &c->call, &s->call_deadline, &s->call_md,
                                                            &c->request, s->cq, s->cq, c);
    ASSERT(e == GRPC_CALL_OK);
    s->accepting++;
}

static void forget_stream(rpc_stream_t *st) {
    rpc_server_t *s = st->owner;
    if (st->prev) st->prev->next = st->next;
    else s->streams = st->next;
    if (st->next) st->next->prev = st->prev;
    st->next = st->prev = NULL;
    s->nstreams--;
}

static void on_session(rpc_server_t *s, pending_session_t *p, bool success) {
    s->accepting--;
    grpc_call *call = p->call;
    free(p);
    if (!success) return;
    grpc_metadata_array_destroy(&s->session_md);
    grpc_metadata_array_init(&s->session_md);
    char *peer = grpc_call_get_peer(call);
    rpc_stream_t *st = rpc_stream_new(true, peer);
    gpr_free(peer);
    st->owner = s;
    st->ending = forget_stream;
    st->next = s->streams;
    if (s->streams) s->streams->prev = st;
    s->streams = st;
    s->nstreams++;
    s->handler.accept(s->handler.arg, &st->link); /* sets the link's handler */
    rpc_stream_start(st, call);
    if (atomic_load(&s->stopping)) st->link.close(&st->link);
    else await_session(s);
}

static void on_call(rpc_server_t *s, rpc_call_t *c, bool success) {
    s->accepting--;
    if (!success) {
        call_unref(c);
        return;
    }
    grpc_metadata_array_destroy(&s->call_md);
    grpc_metadata_array_init(&s->call_md);
    if (!atomic_load(&s->stopping)) await_call(s);
    c->kind = TAG_REPLIED;
    pthread_mutex_lock(&s->gate->lock);
    c->owners = 2;
    s->gate->unfinished++;
    c->next = s->gate->open;
    if (c->next) c->next->prev = c;
    s->gate->open = c;
    pthread_mutex_unlock(&s->gate->lock);
    buf_t bytes = buf_make(RPC_MESSAGE_MAX);
    rpc_buffer_read(c->request, &bytes);
    client_request_t *r = NULL;
    client_reply_t bad = {.error = client_request_decode(buf_slice(&bytes), &r)};
    buf_free(&bytes);
    if (bad.error) rpc_reply(c, &bad);
    else s->handler.call(s->handler.arg, c, r);
}

void rpc_reply(rpc_call_t *c, client_reply_t *reply) {
    pthread_mutex_lock(&c->gate->lock);
    if (!c->answered) answer(c, reply);
    pthread_mutex_unlock(&c->gate->lock);
    client_reply_free(reply);
    call_unref(c);
}

static void on_replied(rpc_server_t *s, rpc_call_t *c) {
    grpc_call_unref(c->call);
    pthread_mutex_lock(&s->gate->lock);
    s->gate->unfinished--;
    pthread_mutex_unlock(&s->gate->lock);
    call_unref(c);
}

static void on_event(rpc_server_t *s, grpc_event ev) {
    int kind = *(const int *)ev.tag;
    switch (kind) {
    case TAG_NEW_SESSION: on_session(s, ev.tag, ev.success); break;
    case TAG_NEW_CALL: on_call(s, ev.tag, ev.success); break;
    case TAG_REPLIED: on_replied(s, ev.tag); break;
    case TAG_SHUTDOWN: s->shutdown_done = true; break;
    default: rpc_stream_event(((rpc_tag_t *)ev.tag)->stream, (rpc_tag_kind_t)kind, ev.success);
    }
}

static void begin_stop(rpc_server_t *s) {
    s->stopped = true;
    pthread_mutex_lock(&s->gate->lock);
    while (s->gate->open) {
        client_reply_t r = {.error = err_new(ERR_CANCELLED, "the coordinator is stopping")};
        answer(s->gate->open, &r);
        client_reply_free(&r);
    }
    pthread_mutex_unlock(&s->gate->lock);
    for (rpc_stream_t *st = s->streams; st; st = st->next) st->link.close(&st->link);
}

static bool is_done(rpc_server_t *s) {
    pthread_mutex_lock(&s->gate->lock);
    int unfinished = s->gate->unfinished;
    pthread_mutex_unlock(&s->gate->lock);
    return s->shutdown_done && !s->nstreams && !s->accepting && !unfinished;
}

static void *server_thread(void *arg) {
    rpc_server_t *s = arg;
    int64_t stop_at = 0;
    while (!s->stopped || !is_done(s)) {
        if (atomic_load(&s->stopping) && !s->stopped) {
            begin_stop(s);
            stop_at = clock_mono_ms();
        }
        if (s->stopped && stop_at && clock_mono_ms() - stop_at > RPC_LINGER_MS / 4) {
            grpc_server_cancel_all_calls(s->server); /* whoever did not hear goodbye until now */
            stop_at = 0;
        }
        grpc_event ev = grpc_completion_queue_next(s->cq, rpc_deadline(s->stopped ? RPC_STOP_TICK_MS : RPC_TICK_MS), NULL);
        if (ev.type == GRPC_QUEUE_TIMEOUT) {
            int64_t now = clock_mono_ms();
            for (rpc_stream_t *st = s->streams; st; st = st->next) rpc_stream_tick(st, now);
        } else if (ev.type == GRPC_OP_COMPLETE) {
            on_event(s, ev);
        }
    }
    return NULL;
}

err_t *rpc_server_new(const char *listen, const rpc_handler_t *h, rpc_server_t **ret, int *ret_port) {
    grpc_init();
    rpc_server_t *s = xcalloc(1, sizeof *s);
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_MAX_PING_STRIKES, .value.integer = 0}, /* clients ping: rpc_client.c */
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_BDP_PROBE, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = RPC_MESSAGE_MAX},
    };
    grpc_channel_args list = {ARRAY_LEN(args), args};
    s->handler = *h;
    s->shutdown_tag = TAG_SHUTDOWN;
    s->server = grpc_server_create(&list, NULL);
    s->cq = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(s->server, s->cq, NULL);
    s->session_method = grpc_server_register_method(s->server, RPC_METHOD_SESSION, NULL, GRPC_SRM_PAYLOAD_NONE, 0);
    s->call_method = grpc_server_register_method(s->server, RPC_METHOD_CALL, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_credentials *creds = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(s->server, listen, creds);
    grpc_server_credentials_release(creds);
    s->gate = xcalloc(1, sizeof *s->gate);
    s->gate->refs = 1;
    pthread_mutex_init(&s->gate->lock, NULL);
    grpc_metadata_array_init(&s->session_md);
    grpc_metadata_array_init(&s->call_md);
    grpc_server_start(s->server);
    bool ok = port != 0;
    if (ok) {
        await_session(s);
        await_call(s);
    } else {
        atomic_store(&s->stopping, true);
    }
    int rc = pthread_create(&s->thread, NULL, server_thread, s);
    ASSERT(rc == 0);
    if (!ok) {
        rpc_server_free(s);
        return err_hint(err_new(ERR_UNAVAILABLE, "cannot listen on %s", listen), "is the address right and the port free?");
    }
    if (ret_port) *ret_port = port;
    *ret = s;
    return NULL;
}

void rpc_server_free(rpc_server_t *s) {
    if (!s) return;
    atomic_store(&s->stopping, true);
    grpc_server_shutdown_and_notify(s->server, s->cq, &s->shutdown_tag); /* fails the calls that are waited for, which wakes the thread */
    pthread_join(s->thread, NULL);
    grpc_server_destroy(s->server);
    grpc_completion_queue_shutdown(s->cq);
    while (grpc_completion_queue_next(s->cq, rpc_deadline(10000), NULL).type == GRPC_OP_COMPLETE) {}
    grpc_completion_queue_destroy(s->cq);
    grpc_metadata_array_destroy(&s->session_md);
    grpc_metadata_array_destroy(&s->call_md);
    gate_unref(s->gate);
    free(s);
    grpc_shutdown();
}
