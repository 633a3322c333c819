/* link.h: an ordered pipe of control messages between one worker and one coordinator. Implementations: gRPC stream
 * (common/net/rpc_link.c), in-process (cli/local.c). Callbacks may come from any thread: receivers post to their mailbox.
 * After on_closed nothing else comes; a link that was closed by us still calls on_closed once (err NULL). */
#pragma once
#include "proto/control.h"

typedef struct link link_t;
typedef struct link_handler {
    void (*on_message)(void *arg, link_t *l, ctl_msg_t *m); /* takes m */
    void (*on_closed)(void *arg, link_t *l, err_t *why);    /* takes why; the link may be freed afterwards */
    void *arg;
} link_handler_t;
struct link {
    void (*send)(link_t *l, ctl_msg_t *m); /* takes m; never blocks; messages on a closed link are dropped */
    void (*close)(link_t *l);              /* asynchronous; on_closed follows */
    void (*free)(link_t *l);               /* after on_closed */
    const char *(*peer)(link_t *l);        /* for messages */
    link_handler_t handler;
};

/* gRPC (common/net): the server hands every accepted stream to `accept`, which sets link->handler before it returns; unary client calls
 * go to `call`, which answers through rpc_reply later, from any thread. */
typedef struct rpc_server rpc_server_t;
typedef struct rpc_call rpc_call_t;
typedef struct rpc_handler {
    void (*accept)(void *arg, link_t *l);
    void (*call)(void *arg, rpc_call_t *c, client_request_t *r); /* takes r */
    void *arg;
} rpc_handler_t;
err_t *rpc_server_new(const char *listen, const rpc_handler_t *h, rpc_server_t **ret, int *ret_port);
void rpc_server_free(rpc_server_t *s); /* closes links, answers open calls with ERR_CANCELLED, joins its thread */
void rpc_reply(rpc_call_t *c, client_reply_t *reply); /* takes the content; frees c */
/* Connects; on_closed comes when it cannot be reached within connect_ms. */
err_t *rpc_connect(const char *address, int connect_ms, const link_handler_t *h, link_t **ret);
/* Unary client call, waits. */
err_t *rpc_client_call(const char *address, const client_request_t *r, int timeout_ms, client_reply_t *ret);
