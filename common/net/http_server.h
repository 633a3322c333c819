/* http_server.h: a small HTTP server for metrics and JSON. The only user of libmicrohttpd.
 *
 * One thread of its own reads requests, calls handlers and writes answers. A handler may answer at once or later, from any thread: the
 * connection sleeps meanwhile and costs nothing. Paths are matched whole, or as prefix when the route's path ends in '/'. Unknown path: 404;
 * known path, other method: 405; body above HTTP_BODY_MAX: 413; all as JSON {"error":{"code":..,"text":..}}. HEAD is answered as GET without body. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

#define HTTP_BODY_MAX (1 << 20)
#define HTTP_JSON "application/json"
#define HTTP_METRICS "text/plain; version=0.0.4; charset=utf-8"

typedef struct http_server http_server_t;
typedef struct http_call http_call_t; /* one request; ends with its answer */

const char *http_call_path(const http_call_t *c); /* decoded */
const char *http_call_rest(const http_call_t *c); /* what follows the route's path: "" or the part behind its '/' */
slice_t http_call_body(const http_call_t *c);
/* Exactly once per call; any thread, also after the server was freed. Takes the body's content. */
void http_answer(http_call_t *c, int status, const char *type, buf_t *body);
void http_answer_err(http_call_t *c, err_t *e); /* takes e; the status follows from its code */

typedef struct http_route {
    const char *method; /* "GET", "POST" */
    const char *path;
    void (*fn)(void *arg, http_call_t *c); /* server's thread; must not wait */
    void *arg;
} http_route_t;

/* address: "HOST:PORT", numeric or a name; port 0 takes a free one. Copies the table; its strings and args are borrowed. ERR_INVALID,
 * ERR_EXISTS (the port is taken), ERR_IO. */
err_t *http_server_new(const char *address, const http_route_t *routes, int n, http_server_t **ret, int *ret_port);
/* Stops listening, answers what is open with 503, joins. Handlers do not run any more; later answers are dropped. */
void http_server_free(http_server_t *s);
