/* driver.h: the core in the world: one thread with a mailbox owns it. Links, clients, stores and timers post events; actions are
 * performed in their order (core/event.h). What may block runs on three work queues: `io` (metadata and manifests, the only
 * thread that calls the meta store), `resolve` (compile, list splits: waits for brokers), `files` (copies and deletions).
 *
 * Used by the daemon and by local mode alike: the daemon gives it an etcd or directory store and links from gRPC, local mode a memory or
 * directory store and in-process links. */
#pragma once
#include "coordinator/core/coord.h"
#include "coordinator/meta_store.h"
#include "coordinator/resolve.h"
#include "proto/link.h"
#include "state/disk.h"

typedef struct coord_driver_conf {
    coord_conf_t core;       /* time-outs; instrumented builds scale them before */
    meta_store_t *meta;      /* taken */
    disk_t *storage;         /* checkpoint storage; borrowed, outlives the driver; used from several threads */
    const char *address;     /* ours, for messages; copied */
    compile_fn compile;      /* NULL: as a cluster does */
    void *compile_arg;
    int resolve_timeout_ms;  /* 0: 10 s */
    void (*log)(void *arg, coord_log_level_t level, const char *text); /* NULL: log_line */
    void *log_arg;
    /* tests: called on the driver's thread with every action before it is performed; NULL */
    void (*watch)(void *arg, const coord_action_t *a);
    void *watch_arg;
} coord_driver_conf_t;

typedef struct coord_driver coord_driver_t;
/* Campaigns at once, in the background. Takes conf->meta also on failure. */
err_t *coord_driver_new(const coord_driver_conf_t *conf, coord_driver_t **ret);
/* Closes all links and waits (at most 5 s) until they are closed, answers open calls with ERR_CANCELLED, resigns, joins. Stop
 * accepting links and calls before; free the links' owner (rpc_server_free) after. */
void coord_driver_free(coord_driver_t *d);
/* Any thread; sets link->handler before it returns; the driver frees the link after its on_closed. */
void coord_driver_accept(coord_driver_t *d, link_t *link);
/* Any thread. Takes r. reply is called exactly once, on the driver's thread (or here, when it has ended); it takes the content. */
typedef void (*coord_reply_fn)(void *arg, client_reply_t *reply);
void coord_driver_call(coord_driver_t *d, client_request_t *r, coord_reply_fn reply, void *arg);
/* Whether this process leads now; any thread. */
bool coord_driver_leading(const coord_driver_t *d);
