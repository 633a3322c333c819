#include "common/net/rpc_stream.h"
#include "common/clock.h"
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdlib.h>

grpc_byte_buffer *rpc_buffer_of(slice_t bytes) {
    grpc_slice s = grpc_slice_from_copied_buffer((const char *)bytes.p, bytes.len);
    grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
    return b;
}

void rpc_buffer_read(grpc_byte_buffer *b, buf_t *out) {
    grpc_byte_buffer_reader r;
    if (!b || !grpc_byte_buffer_reader_init(&r, b)) return;
    grpc_slice s;
    while (grpc_byte_buffer_reader_next(&r, &s)) {
        buf_put(out, GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s));
        grpc_slice_unref(s);
    }
    grpc_byte_buffer_reader_destroy(&r);
}

gpr_timespec rpc_deadline(int ms) {
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

/* ---- operations; all called with the lock held */

static void start_batch(rpc_stream_t *s, grpc_op *ops, size_t n, rpc_tag_kind_t kind) {
    s->pending++;
    grpc_call_error e = grpc_call_start_batch(s->call, ops, n, &s->tags[kind], NULL);
    ASSERT(e == GRPC_CALL_OK);
}

static void start_read(rpc_stream_t *s) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &s->received;
    start_batch(s, &op, 1, RPC_TAG_READ);
}

static void start_write(rpc_stream_t *s) {
    if (!s->call || s->writing || !s->queued || s->finishing || s->over) return;
    s->writing = s->queue[s->queue_head];
    s->queue_head = (s->queue_head + 1) % s->queue_cap;
    s->queued--;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = s->writing;
    start_batch(s, &op, 1, RPC_TAG_WRITE);
}

/* The polite end, once the queue is empty: a server sends its status, a client cancels (it has nothing more to hear). */
static void start_finish(rpc_stream_t *s) {
    if (!s->call || !s->closing || s->finishing || s->over || s->writing || s->queued) return;
    s->finishing = true;
    if (!s->is_server) {
        grpc_call_cancel(s->call, NULL);
        return;
    }
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = GRPC_STATUS_OK;
    start_batch(s, &op, 1, RPC_TAG_FINISH);
}

static void begin_closing(rpc_stream_t *s) {
    if (!s->closing) {
        s->closing = true;
        s->closing_since_ms = clock_mono_ms();
    }
    start_finish(s);
}

/* ---- the link */

static void enqueue(rpc_stream_t *s, grpc_byte_buffer *b) {
    if (s->queued == s->queue_cap) {
        size_t cap = s->queue_cap ? s->queue_cap * 2 : 8;
        grpc_byte_buffer **q = xmalloc(cap * sizeof *q);
        for (size_t i = 0; i < s->queued; i++) q[i] = s->queue[(s->queue_head + i) % s->queue_cap];
        free(s->queue);
        s->queue = q;
        s->queue_cap = cap;
        s->queue_head = 0;
    }
    s->queue[(s->queue_head + s->queued++) % s->queue_cap] = b;
}

static void link_send(link_t *l, ctl_msg_t *m) {
    rpc_stream_t *s = CONTAINER_OF(l, rpc_stream_t, link);
    buf_t bytes = buf_make(RPC_MESSAGE_MAX);
    ctl_encode(&bytes, m);
    ctl_free(m);
    pthread_mutex_lock(&s->lock);
    if (!s->closing && !s->over) {
        enqueue(s, rpc_buffer_of(buf_slice(&bytes)));
        start_write(s);
    }
    pthread_mutex_unlock(&s->lock);
    buf_free(&bytes);
}

static void link_close(link_t *l) {
    rpc_stream_t *s = CONTAINER_OF(l, rpc_stream_t, link);
    pthread_mutex_lock(&s->lock);
    begin_closing(s);
    pthread_mutex_unlock(&s->lock);
}

static const char *link_peer(link_t *l) { return CONTAINER_OF(l, rpc_stream_t, link)->peer; }

static void link_free(link_t *l) {
    rpc_stream_t *s = CONTAINER_OF(l, rpc_stream_t, link);
    if (s->release) s->release(s);
    ASSERT(s->reported);
    free(s->queue);
    free(s->peer);
    err_free(s->error);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->status_details);
    pthread_mutex_destroy(&s->lock);
    free(s);
    grpc_shutdown();
}

rpc_stream_t *rpc_stream_new(bool is_server, const char *peer) {
    grpc_init();
    rpc_stream_t *s = xcalloc(1, sizeof *s);
    s->link = (link_t){.send = link_send, .close = link_close, .free = link_free, .peer = link_peer};
    s->is_server = is_server;
    s->peer = xstrdup(peer);
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < RPC_TAGS; i++) s->tags[i] = (rpc_tag_t){(rpc_tag_kind_t)i, s};
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    s->status_details = grpc_empty_slice();
    return s;
}

void rpc_stream_start(rpc_stream_t *s, grpc_call *call) {
    grpc_op over = {0}, start[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    if (s->is_server) {
        over.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        over.data.recv_close_on_server.cancelled = &s->cancelled;
    } else {
        over.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
        over.data.recv_status_on_client.trailing_metadata = &s->trailing;
        over.data.recv_status_on_client.status = &s->status;
        over.data.recv_status_on_client.status_details = &s->status_details;
        start[1].data.recv_initial_metadata.recv_initial_metadata = &s->initial;
    }
    pthread_mutex_lock(&s->lock);
    s->call = call;
    start_batch(s, &over, 1, RPC_TAG_OVER);
    start_batch(s, start, s->is_server ? 1 : 2, RPC_TAG_START);
    start_read(s);
    start_write(s); /* what was said, or that it was closed, since its handler was set */
    start_finish(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---- events */

static void on_read(rpc_stream_t *s, bool success) {
    grpc_byte_buffer *b = s->received;
    s->received = NULL;
    if (!success || !b) { /* the peer will send nothing more */
        if (b) grpc_byte_buffer_destroy(b);
        begin_closing(s);
        return;
    }
    buf_t bytes = buf_make(RPC_MESSAGE_MAX);
    rpc_buffer_read(b, &bytes);
    grpc_byte_buffer_destroy(b);
    ctl_msg_t *m = NULL;
    err_t *e = ctl_decode(buf_slice(&bytes), &m);
    buf_free(&bytes);
    if (e) { /* garbage or a version of another age: this stream only */
        if (!s->error) s->error = err_wrap(e, "message from %s", s->peer);
        else err_free(e);
        begin_closing(s);
        return;
    }
    if (!s->closing) {
        pthread_mutex_unlock(&s->lock); /* the handler may send or close */
        s->link.handler.on_message(s->link.handler.arg, &s->link, m);
        pthread_mutex_lock(&s->lock);
    } else {
        ctl_free(m);
    }
    if (!s->over) start_read(s);
}

static void on_write(rpc_stream_t *s, bool success) {
    grpc_byte_buffer_destroy(s->writing);
    s->writing = NULL;
    if (!success) begin_closing(s);
    else start_write(s);
    start_finish(s);
}

static void drop_queue(rpc_stream_t *s) {
    for (; s->queued; s->queued--, s->queue_head = (s->queue_head + 1) % s->queue_cap)
        grpc_byte_buffer_destroy(s->queue[s->queue_head]);
}

static err_t *end_reason(rpc_stream_t *s) {
    if (s->error) return TAKE(s->error);
    if (s->is_server) return s->cancelled ? err_new(ERR_UNAVAILABLE, "%s closed the connection", s->peer) : NULL;
    if (s->status == GRPC_STATUS_OK || s->finishing) return NULL;
    char *details = grpc_slice_to_c_string(s->status_details);
    err_t *e = err_new(ERR_UNAVAILABLE, "%s: %s", s->peer, details);
    gpr_free(details);
    return e;
}

bool rpc_stream_event(rpc_stream_t *s, rpc_tag_kind_t kind, bool success) {
    pthread_mutex_lock(&s->lock);
    s->pending--;
    switch (kind) {
    case RPC_TAG_READ: on_read(s, success); break;
    case RPC_TAG_WRITE: on_write(s, success); break;
    case RPC_TAG_OVER:
        s->over = true;
        s->closing = true;
        drop_queue(s);
        break;
    case RPC_TAG_START:
    case RPC_TAG_FINISH: break;
    case RPC_TAGS: UNREACHABLE();
    }
    bool ended = s->over && s->pending == 0 && !s->reported;
    s->reported |= ended;
    err_t *why = ended ? end_reason(s) : NULL;
    if (ended) {
        grpc_call_unref(s->call);
        s->call = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (!ended) return false;
    if (s->ending) s->ending(s);
    s->link.handler.on_closed(s->link.handler.arg, &s->link, why); /* s may be freed by now */
    return true;
}

void rpc_stream_tick(rpc_stream_t *s, int64_t now_ms) {
    pthread_mutex_lock(&s->lock);
    if (s->closing && !s->over && s->call && now_ms - s->closing_since_ms > RPC_LINGER_MS) {
        s->closing_since_ms = now_ms;
        grpc_call_cancel(s->call, NULL);
    }
    pthread_mutex_unlock(&s->lock);
}
