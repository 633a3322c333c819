/* driver_int.h: shared by driver.c and driver_io.c. */
#pragma once
#include "coordinator/driver.h"
#include "coordinator/work.h"
#include <pthread.h>
#include <stdatomic.h>

typedef struct session { coord_driver_t *d; session_id_t id; link_t *link; bool closing; } session_t;
typedef struct call { call_id_t id; client_op_t op; coord_reply_fn fn; void *arg; } call_t;
/* Bodies of the manifest that the store points to and of those it keeps; io thread only. */
typedef struct bodies { job_id_t job; int n; char **paths; } bodies_t;
void bodies_done(bodies_t *b); /* content */

struct coord_driver {
    coord_driver_conf_t conf;
    char *address;
    resolver_t resolver;
    coord_t *core;
    mailbox_t *box;
    pthread_t thread;
    work_queue_t *io, *resolve, *files;
    work_crowd_t *aside; /* what touches a directory that somebody named */
    atomic_ullong next_id; /* sessions and calls */
    atomic_ullong leader; /* the epoch of our leadership; 0: we do not lead */
    atomic_bool ending;   /* what takes long is given up */
    bool stopping;
    int nsessions; session_t **sessions; /* driver's thread */
    int ncalls; call_t *calls;           /* driver's thread */
    int nbodies; bodies_t *bodies;       /* io thread */
};

typedef enum post_kind { POST_EVENT, POST_OPEN, POST_CLOSED, POST_CALL, POST_STOP } post_kind_t;
typedef struct post {
    post_kind_t kind;
    coord_event_t ev;
    session_t *session;
    err_t *why;
    client_request_t *request;
    call_t call;
} post_t;
void driver_post(coord_driver_t *d, post_t *p);             /* takes p */
void driver_post_event(coord_driver_t *d, coord_event_t ev); /* takes what it holds */

/* driver_io.c: each takes what it needs out of the action */
void io_campaign(coord_driver_t *d);
void io_resign(coord_driver_t *d);
void io_resolve(coord_driver_t *d, coord_action_t *a);
void io_find_splits(coord_driver_t *d, coord_action_t *a);
void io_put_job(coord_driver_t *d, coord_action_t *a);
void io_raise(coord_driver_t *d, coord_action_t *a);
void io_put_manifest(coord_driver_t *d, coord_action_t *a);
void io_forget(coord_driver_t *d, coord_action_t *a);
void io_delete_files(coord_driver_t *d, coord_action_t *a);
void io_find_orphans(coord_driver_t *d, coord_action_t *a);
void io_check_target(coord_driver_t *d, coord_action_t *a);
void io_save(coord_driver_t *d, coord_action_t *a);
