/* endpoint.h: the data port of a worker: channels to and from other processes over TCP.
 *
 * One connection per worker pair and direction of data: the sender connects; credits come back on the same connection. One epoll
 * thread reads, writes and accepts; it never decodes rows (the consumer's thread does) and never stops reading.
 *
 * Invariants
 *  1. A frame reaches a channel only when (job, attempt, edge, from, to) is open here and it came on the connection the channel is bound
 *     to; frames of attempts that are not open are dropped and counted (hazards A6). Channels of an attempt are all open before START.
 *  2. Nothing reconnects inside an attempt: a broken connection, a sequence gap, a wrong checksum or a peer that sends without credit
 *     is reported once per attempt that uses the connection, with the peer's name. A later attempt connects anew.
 *  3. Before its HELLO a connection may send nothing but HELLO; garbage closes that connection and nothing else.
 *  4. After endpoint_drop(job, attempt) returned, no wake and no failure of that attempt is called any more.
 * One lock guards registry and queues; encoding and decoding are done outside of it. */
#pragma once
#include "common/err.h"
#include "engine/channel.h"

typedef struct endpoint endpoint_t;
typedef struct endpoint_conf {
    const char *name;       /* this worker's */
    const char *listen;     /* "127.0.0.1:0" */
    size_t window;          /* bytes of credit per channel; 0: ENDPOINT_WINDOW */
    bool compress;          /* lz4 for peers on other machines, where it pays */
    int connect_ms;         /* 0: 5000 */
    /* A link of the attempt failed; takes e; any thread, under the endpoint's lock: must not call the endpoint. */
    void (*failed)(void *arg, job_id_t job, attempt_t attempt, const char *peer, err_t *e);
    void *arg;
} endpoint_conf_t;
#define ENDPOINT_WINDOW ((size_t)512 << 10)

typedef struct endpoint_channel {
    job_id_t job;
    attempt_t attempt;
    uint32_t edge, from, to; /* edge id, producing and consuming subtask */
    const char *peer, *address; /* copied; address: of the peer's data port, for out channels */
} endpoint_channel_t;

err_t *endpoint_new(const endpoint_conf_t *conf, endpoint_t **ret); /* listens; starts the thread */
void endpoint_free(endpoint_t *ep);                                 /* every channel was closed; joins */
int endpoint_port(const endpoint_t *ep);

/* Opens an end; connects in the background (a failure comes through conf.failed). ERR_EXISTS when it is open already. */
err_t *endpoint_open_out(endpoint_t *ep, const endpoint_channel_t *c, wake_t producer, channel_out_t **ret);
/* schema is borrowed until the channel is closed. */
err_t *endpoint_open_in(endpoint_t *ep, const endpoint_channel_t *c, const schema_t *schema, wake_t consumer, channel_in_t **ret);
void endpoint_drop(endpoint_t *ep, job_id_t job, attempt_t attempt);

typedef struct endpoint_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t fenced;   /* frames of attempts that are not open here */
    uint64_t rejected; /* connections closed for garbage */
    uint64_t frames_made; /* allocated: no more than were on their way at once, and what the pool had no room for */
    int connections;
} endpoint_stats_t;
void endpoint_stats(endpoint_t *ep, endpoint_stats_t *ret);
