/* rpc_client.c: the client's two uses: a session stream with its own thread, and a unary call that waits. */
#include "common/clock.h"
#include "common/net/rpc_stream.h"
#include <grpc/byte_buffer.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

/* A peer that is frozen, or whose machine or network is gone, closes nothing: without pings its clients would hold on to it for as long
 * as the kernel repeats packets (a quarter of an hour), and workers would not go over to the next leader. */
#define PING_AFTER_MS 2000
#define PING_ANSWER_MS 3000

static grpc_channel *open_channel(const char *address, int connect_ms) {
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, .value.integer = 1},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = RPC_MESSAGE_MAX},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_BDP_PROBE, .value.integer = 0}, /* pings for a throughput that nobody wants here */
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_KEEPALIVE_TIME_MS, .value.integer = PING_AFTER_MS},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_KEEPALIVE_TIMEOUT_MS, .value.integer = PING_ANSWER_MS},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, .value.integer = 100},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, .value.integer = connect_ms},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, .value.integer = 1000},
    };
    grpc_channel_args list = {ARRAY_LEN(args), args};
    grpc_channel_credentials *creds = grpc_insecure_credentials_create();
    grpc_channel *ch = grpc_channel_create(address, creds, &list);
    grpc_channel_credentials_release(creds);
    return ch;
}

static grpc_call *open_call(grpc_channel *ch, grpc_completion_queue *cq, const char *method, gpr_timespec deadline) {
    void *handle = grpc_channel_register_call(ch, method, NULL, NULL);
    return grpc_channel_create_registered_call(ch, NULL, GRPC_PROPAGATE_DEFAULTS, cq, handle, deadline, NULL);
}

/* ---- session */

typedef struct session {
    grpc_channel *channel;
    grpc_completion_queue *cq;
    rpc_stream_t *stream;
    pthread_t thread;
} session_t;

static void drain(grpc_completion_queue *cq) {
    grpc_completion_queue_shutdown(cq);
    while (grpc_completion_queue_next(cq, rpc_deadline(10000), NULL).type == GRPC_OP_COMPLETE) {}
    grpc_completion_queue_destroy(cq);
}

static void *session_thread(void *arg) {
    session_t *c = arg;
    for (;;) {
        grpc_event ev = grpc_completion_queue_next(c->cq, rpc_deadline(RPC_TICK_MS), NULL);
        if (ev.type == GRPC_QUEUE_TIMEOUT) {
            rpc_stream_tick(c->stream, clock_mono_ms());
            continue;
        }
        ASSERT(ev.type == GRPC_OP_COMPLETE);
        /* the stream may be freed by another thread once it has ended: nothing of it is touched afterwards */
        if (rpc_stream_event(c->stream, ((rpc_tag_t *)ev.tag)->kind, ev.success)) return NULL;
    }
}

static void session_release(rpc_stream_t *s) {
    session_t *c = s->owner;
    pthread_join(c->thread, NULL);
    drain(c->cq);
    grpc_channel_destroy(c->channel);
    free(c);
}

err_t *rpc_connect(const char *address, int connect_ms, const link_handler_t *h, link_t **ret) {
    rpc_stream_t *s = rpc_stream_new(false, address); /* holds a reference on the library */
    session_t *c = xcalloc(1, sizeof *c);
    c->channel = open_channel(address, connect_ms);
    c->cq = grpc_completion_queue_create_for_next(NULL);
    c->stream = s;
    s->owner = c;
    s->release = session_release;
    s->link.handler = *h;
    *ret = &s->link; /* before the first callback can come */
    rpc_stream_start(s, open_call(c->channel, c->cq, RPC_METHOD_SESSION, gpr_inf_future(GPR_CLOCK_MONOTONIC)));
    int rc = pthread_create(&c->thread, NULL, session_thread, c);
    ASSERT(rc == 0);
    return NULL;
}

/* ---- unary */

static err_t *unary_result(const char *address, grpc_status_code status, grpc_slice details, grpc_byte_buffer *answer,
                           client_reply_t *ret) {
    if (status != GRPC_STATUS_OK) {
        char *text = grpc_slice_to_c_string(details);
        err_t *e = status == GRPC_STATUS_DEADLINE_EXCEEDED ? err_new(ERR_TIMEOUT, "coordinator %s did not answer in time", address)
                                                           : err_new(ERR_UNAVAILABLE, "coordinator %s: %s", address, text);
        gpr_free(text);
        return err_hint(e, "is it running there? give its address with --coordinator HOST:PORT");
    }
    buf_t bytes = buf_make(RPC_MESSAGE_MAX);
    rpc_buffer_read(answer, &bytes);
    err_t *e = client_reply_decode(buf_slice(&bytes), ret);
    buf_free(&bytes);
    return err_wrap(e, "answer of coordinator %s", address);
}

err_t *rpc_client_call(const char *address, const client_request_t *r, int timeout_ms, client_reply_t *ret) {
    grpc_init();
    buf_t bytes = buf_make(RPC_MESSAGE_MAX);
    client_request_encode(&bytes, r);
    grpc_byte_buffer *request = rpc_buffer_of(buf_slice(&bytes)), *answer = NULL;
    buf_free(&bytes);
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    grpc_channel *ch = open_channel(address, MIN(timeout_ms, 5000));
    grpc_call *call = open_call(ch, cq, RPC_METHOD_CALL, rpc_deadline(timeout_ms));
    grpc_metadata_array initial, trailing;
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    grpc_status_code status = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                      {.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    ops[1].data.send_message.send_message = request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[4].data.recv_message.recv_message = &answer;
    ops[5].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[5].data.recv_status_on_client.status = &status;
    ops[5].data.recv_status_on_client.status_details = &details;
    grpc_call_error ce = grpc_call_start_batch(call, ops, ARRAY_LEN(ops), call, NULL);
    ASSERT(ce == GRPC_CALL_OK);
    grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL); /* the call's deadline ends this wait */
    err_t *e = unary_result(address, status, details, answer, ret);
    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_byte_buffer_destroy(request);
    if (answer) grpc_byte_buffer_destroy(answer);
    grpc_call_unref(call);
    drain(cq);
    grpc_channel_destroy(ch);
    grpc_shutdown();
    return e;
}
