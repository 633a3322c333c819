/* endpoint_int.h: private to worker/shuffle/{endpoint,conn,remote_channel}.c. Everything here is guarded by endpoint.lock except what says
 * otherwise. */
#pragma once
#include "common/map.h"
#include "worker/shuffle/credit.h"
#include "worker/shuffle/endpoint.h"
#include "worker/shuffle/frame.h"
#include <pthread.h>
#include <stdatomic.h>

#define BLOB_SIZES 10 /* to 256 kB; larger ones are made and freed */
typedef struct conn conn_t;
typedef struct remote remote_t;

typedef struct blob { /* a frame on its way out, or one that came and waits for its consumer; from and to the endpoint's pool */
    struct blob *next;
    buf_t bytes;   /* out: header and payload; in: the payload, frame.length bytes */
    int64_t cost;  /* out: credit it takes: the size of a BATCH frame, 0 for all others */
    frame_t frame; /* in */
} blob_t;
typedef struct blob_list { blob_t *first, *last; } blob_list_t;

struct conn {
    conn_t *next;
    int fd;
    bool accepted;      /* the peer sends data; else we do */
    bool connecting, greeted, broken;
    bool writable;      /* the last write did not fill the socket */
    bool local;         /* the peer is on this machine: lz4 does not pay */
    char *peer, *address;
    int64_t deadline_ms; /* of connect and greeting; INT64_MAX afterwards */
    blob_list_t out;
    size_t out_at;      /* bytes of out.first already written */
    /* reader: the epoll thread only */
    uint8_t stage[64 << 10];
    size_t staged, stage_at;
    bool in_payload, discard;
    frame_t frame;
    blob_t *payload; /* while in_payload; NULL: it is discarded */
    size_t payload_at;
};

struct remote { /* one end of a channel */
    union {
        channel_out_t out;
        channel_in_t in;
    };
    bool is_out;
    endpoint_t *ep;
    job_id_t job;
    attempt_t attempt;
    uint32_t edge, from, to;
    char *peer;
    wake_t wake;
    conn_t *conn;       /* NULL: not bound yet, or broken */
    bool open;          /* in the registry */
    bool closed;        /* by the task; freed when neither open nor held */
    uint64_t seq;       /* out: last sent (its thread); in: last received */
    credit_out_t credit_out;
    credit_in_t credit_in;
    atomic_bool full;   /* out: credit_out.balance <= 0 or backlog */
    blob_list_t backlog;/* out: sent although full */
    bool compress;
    uint32_t plain;     /* out, its thread: batches to send without trying lz4 */
    size_t last_len;    /* out, its thread: of a batch's frame; the next may be as large */
    blob_list_t queue;  /* in */
    atomic_uint queued; /* in: frames in the queue */
    const schema_t *schema;
    buf_t scratch;      /* the task's thread */
};

struct endpoint {
    pthread_mutex_t lock;
    endpoint_conf_t conf;
    int listener, epoll, wakefd, port;
    pthread_t thread;
    bool quit, woken;
    int nconns;
    conn_t *conns;
    map_t *remotes;     /* key -> remote_t */
    endpoint_stats_t stats;
    /* Frames that are done, with their memory, by size (512 B << k), the last one first: a frame costs no allocation, and its bytes lie in a cache. What
     * waits holds at most twice its bytes: credit counts bytes, and a small frame in a large block would be memory that nobody sees. Under a lock of its
     * own, taken last: tasks take and give outside of the endpoint's. */
    pthread_mutex_t pool_lock;
    blob_t *pool[BLOB_SIZES];
    size_t pool_bytes;
    uint64_t pool_made;
};
#define ENDPOINT_POOL_BYTES ((size_t)2 << 20) /* what is kept in all */

#define ENDPOINT_CONNECTIONS_MAX 4096
#define ENDPOINT_CONTROLS_MAX 65536u /* control frames that may wait in one channel */

void endpoint_wake(endpoint_t *ep);
remote_t *endpoint_find(endpoint_t *ep, bool out, const frame_t *f);
void endpoint_fail(endpoint_t *ep, job_id_t job, attempt_t attempt, const char *peer, err_t *e);

/* conn.c */
err_t *conn_connect(endpoint_t *ep, const char *peer, const char *address, conn_t **ret);
void conn_accept(endpoint_t *ep);
void conn_send(endpoint_t *ep, conn_t *c, blob_t *b);
void conn_event(endpoint_t *ep, conn_t *c, uint32_t events);
void conn_flush(endpoint_t *ep, conn_t *c);
void conn_break(endpoint_t *ep, conn_t *c, err_t *e); /* takes e; freed by conn_sweep */
void conn_sweep(endpoint_t *ep);
void conn_free(endpoint_t *ep, conn_t *c);

/* remote_channel.c */
void remote_in_frame(remote_t *r, blob_t *b); /* takes it */
err_t *remote_credit(remote_t *r, uint64_t bytes);
void remote_free(remote_t *r);

/* blob.c; any thread, under the endpoint's lock or without */
blob_t *blob_take(endpoint_t *ep, size_t most); /* empty, with room for so many bytes; it may grow to FRAME_HEADER + FRAME_PAYLOAD_MAX */
blob_t *blob_fit(endpoint_t *ep, blob_t *b); /* itself, or in its place one of the size it needs: before it waits for credit, a socket or a consumer */
void blob_give(endpoint_t *ep, blob_t *b); /* NULL is legal */
void blob_pool_free(endpoint_t *ep);
static inline void blob_push(blob_list_t *l, blob_t *b) {
    b->next = NULL;
    if (l->last) l->last->next = b;
    else l->first = b;
    l->last = b;
}
static inline blob_t *blob_pop(blob_list_t *l) {
    blob_t *b = l->first;
    if (b) {
        l->first = b->next;
        if (!l->first) l->last = NULL;
    }
    return b;
}
