/* rpc_stream.h: one gRPC bidirectional stream as a link; private to common/net.
 *
 * Ownership and threads. The completion-queue thread of the owner (server or client) calls rpc_stream_event for every tag of the
 * stream; it alone reads, delivers messages and declares the end. send and close may come from any thread: they share the outgoing queue under
 * one lock. Operations outstanding are counted; the end (on_closed) is delivered exactly once, when the call is over and the count is zero, so
 * after it no tag refers to the stream and the owner may free it from any other thread.
 *
 *   OPEN --close(), peer half-closed--> CLOSING (queue drains, at most RPC_LINGER_MS) --status/cancel--> ENDING --count 0--> CLOSED */
#pragma once
#include "proto/link.h"
#include <grpc/grpc.h>
#include <pthread.h>

#define RPC_METHOD_SESSION "/tidegate.Control/Session"
#define RPC_METHOD_CALL "/tidegate.Control/Call"
#define RPC_MESSAGE_MAX (64 << 20)
#define RPC_LINGER_MS 2000
#define RPC_TICK_MS 1000 /* a stream that lingers is given up at most so much later; all else comes as an event */
#define RPC_STOP_TICK_MS 100

typedef enum rpc_tag_kind { RPC_TAG_START, RPC_TAG_READ, RPC_TAG_WRITE, RPC_TAG_OVER, RPC_TAG_FINISH, RPC_TAGS } rpc_tag_kind_t;
typedef struct rpc_stream rpc_stream_t;
typedef struct rpc_tag { /* kind comes first: the server's own tags begin with kinds from RPC_TAGS on */
    rpc_tag_kind_t kind;
    rpc_stream_t *stream;
} rpc_tag_t;

struct rpc_stream {
    link_t link;
    bool is_server;
    char *peer;
    grpc_call *call;
    rpc_tag_t tags[RPC_TAGS];
    rpc_stream_t *next, *prev; /* the server's list; its thread's */

    pthread_mutex_t lock; /* guards what follows */
    grpc_byte_buffer **queue;
    size_t queued, queue_cap, queue_head;
    grpc_byte_buffer *writing;
    bool closing, finishing, over, reported;
    int64_t closing_since_ms;
    int pending;

    grpc_byte_buffer *received;       /* READ's */
    int cancelled;                    /* OVER's, server */
    grpc_status_code status;          /* OVER's, client */
    grpc_slice status_details;
    grpc_metadata_array initial, trailing;
    err_t *error; /* why we ended it ourselves */
    void (*ending)(rpc_stream_t *s);  /* owner's thread, just before on_closed: forget the stream */
    void (*release)(rpc_stream_t *s); /* from link->free: what else the owner frees */
    void *owner;
};

rpc_stream_t *rpc_stream_new(bool is_server, const char *peer);
void rpc_stream_start(rpc_stream_t *s, grpc_call *call); /* takes the call; starts all reading operations */
/* Returns true when this event ended the stream: on_closed has been called. */
bool rpc_stream_event(rpc_stream_t *s, rpc_tag_kind_t kind, bool success);
void rpc_stream_tick(rpc_stream_t *s, int64_t now_ms); /* gives up lingering */
grpc_byte_buffer *rpc_buffer_of(slice_t bytes);
void rpc_buffer_read(grpc_byte_buffer *b, buf_t *out);
gpr_timespec rpc_deadline(int ms);
