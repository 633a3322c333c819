/* http_client.h: HTTP requests that never make their caller wait. The only user of libcurl.
 *
 * One thread with one curl multi handle does everything; easy handles and connections never leave it. HTTP/1.1 (etcd's gateway
 * answers HTTP/2 without TLS with a protocol error), connections are kept and used again, redirects are not followed, no proxy unless asked.
 *
 * A request is sent at most once: curl would silently repeat a request whose kept connection turns out to be closed, and a
 * transaction that runs twice is a hazard. So a failed request has `reached` set when the server may have seen all of it: its effect is unknown. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

typedef struct http_client http_client_t;

typedef struct http_request {
    const char *method; /* "GET", "POST", "PUT", "DELETE", "HEAD" */
    const char *url;
    const char *const *headers; /* "Name: value", ends with NULL; NULL: none */
    buf_t body;                 /* its content is taken */
    int timeout_ms;             /* of the whole request; must be above 0 */
    int connect_timeout_ms;     /* 0: timeout_ms */
    size_t response_max;        /* bytes of the answer's body; above it ERR_LIMIT */
    bool use_proxy;             /* http_proxy, https_proxy of the environment */
} http_request_t;

typedef struct http_response {
    err_t *error; /* no complete answer: ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_LIMIT, ERR_CANCELLED, ERR_INVALID (the URL) */
    bool reached; /* with error: the server may have acted */
    int status;   /* without error */
    buf_t body, headers; /* headers: as received, at most 64 kB */
} http_response_t;
/* The value of a header, valid while r is; empty when absent. */
slice_t http_response_header(const http_response_t *r, const char *name);
void http_response_done(http_response_t *r); /* content */

typedef struct http_done {
    void (*fn)(void *arg, http_response_t *r); /* on the client's thread; takes the content; must not wait */
    void *arg;
} http_done_t;

err_t *http_client_new(http_client_t **ret);
/* Any thread, also from a `done`. Copies what it needs; done is called exactly once, always later and on the client's thread. */
void http_client_start(http_client_t *c, http_request_t *r, http_done_t done);
/* What is open is answered with ERR_CANCELLED before this returns; nobody may start requests any more. Not from a `done`. */
void http_client_free(http_client_t *c);
