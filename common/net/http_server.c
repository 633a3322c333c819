#include "common/net/http_server.h"
#include "common/clock.h"
#include "common/json.h"
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define IDLE_S 30
#define GOODBYE_MS 500

/* Two owners: the connection (MHD's thread) and, once a handler has it, whoever will answer. */
struct http_call {
    http_server_t *server;
    http_call_t *next, *prev; /* in the server's list, under its lock */
    struct MHD_Connection *connection;
    const http_route_t *route;
    char *path;
    buf_t body;
    bool dispatched; /* MHD's thread */

    pthread_mutex_t lock; /* guards what follows */
    int refs;
    bool suspended, answered, gone; /* gone: nobody reads the answer any more */
    int status;
    const char *type;
    buf_t reply;
};

struct http_server {
    struct MHD_Daemon *daemon;
    int n;
    http_route_t *routes;
    pthread_mutex_t lock; /* guards the list and stopping */
    http_call_t *calls;
    bool stopping;
};

const char *http_call_path(const http_call_t *c) { return c->path; }
const char *http_call_rest(const http_call_t *c) {
    size_t n = strlen(c->route->path);
    return c->route->path[n - 1] == '/' ? c->path + n : "";
}
slice_t http_call_body(const http_call_t *c) { return buf_slice(&c->body); }

/* Called with the lock held; releases it. */
static void unref(http_call_t *c) {
    bool last = --c->refs == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last) return;
    pthread_mutex_destroy(&c->lock);
    free(c->path);
    buf_free(&c->body);
    buf_free(&c->reply);
    free(c);
}

/* With the lock held. */
static void set_answer(http_call_t *c, int status, const char *type, buf_t *body) {
    c->answered = true;
    c->status = status;
    c->type = type;
    c->reply = *body;
    *body = (buf_t){.max = body->max};
    if (c->suspended) MHD_resume_connection(c->connection);
    c->suspended = false;
}

void http_answer(http_call_t *c, int status, const char *type, buf_t *body) {
    pthread_mutex_lock(&c->lock);
    if (!c->gone && !c->answered) set_answer(c, status, type, body);
    buf_free(body);
    unref(c);
}

static int status_of(err_code_t code) {
    switch (code) {
    case ERR_NOT_FOUND: return 404;
    case ERR_SYNTAX: case ERR_INVALID: case ERR_TYPE: case ERR_UNSUPPORTED: return 400;
    case ERR_EXISTS: return 409;
    case ERR_DENIED: return 403;
    case ERR_LIMIT: return 413;
    case ERR_UNAVAILABLE: case ERR_CANCELLED: case ERR_FENCED: return 503;
    case ERR_TIMEOUT: return 504;
    default: return 500;
    }
}

static buf_t error_body(const char *code, const char *text, const char *hint) {
    buf_t b = buf_make(1 << 20);
    json_writer_t w = json_writer(&b);
    jw_object(&w);
    jw_name(&w, "error");
    jw_object(&w);
    jw_kv_str(&w, "code", code);
    jw_kv_str(&w, "text", text);
    if (hint) jw_kv_str(&w, "hint", hint);
    jw_end_object(&w);
    jw_end_object(&w);
    buf_puts(&b, "\n");
    return b;
}

void http_answer_err(http_call_t *c, err_t *e) {
    buf_t b = error_body(err_code_name(err_code(e)), err_text(e), err_hint_text(e));
    http_answer(c, status_of(err_code(e)), HTTP_JSON, &b);
    err_free(e);
}

/* ---- MHD's thread */
static enum MHD_Result queue_answer(http_call_t *c, int status, const char *type, buf_t *body) {
    struct MHD_Response *r = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
    buf_free(body);
    if (!r) return MHD_NO;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (status == 405) MHD_add_response_header(r, "Allow", c->route->method);
    enum MHD_Result ok = MHD_queue_response(c->connection, (unsigned)status, r);
    MHD_destroy_response(r);
    return ok;
}
static enum MHD_Result queue_error(http_call_t *c, int status, const char *code, const char *text) {
    buf_t b = error_body(code, text, NULL);
    return queue_answer(c, status, HTTP_JSON, &b);
}

static bool path_matches(const http_route_t *r, const char *path) {
    size_t n = strlen(r->path);
    return r->path[n - 1] == '/' && n > 1 ? strncmp(path, r->path, n) == 0 && path[n] : strcmp(path, r->path) == 0;
}

/* Sets c->route also when only the method differs. */
static bool find_route(http_server_t *s, http_call_t *c, const char *method) {
    if (strcmp(method, "HEAD") == 0) method = "GET";
    for (int i = 0; i < s->n; i++) {
        if (!path_matches(&s->routes[i], c->path)) continue;
        c->route = &s->routes[i];
        if (strcmp(c->route->method, method) == 0) return true;
    }
    return false;
}

static enum MHD_Result dispatch(http_server_t *s, http_call_t *c, const char *method) {
    if (c->body.overflow) return queue_error(c, 413, "limit exceeded", "the body is too large");
    if (!find_route(s, c, method))
        return c->route ? queue_error(c, 405, "invalid", "another method is needed") : queue_error(c, 404, "not found", "there is nothing here");
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    if (!stopping) {
        c->next = s->calls;
        if (s->calls) s->calls->prev = c;
        s->calls = c;
        c->dispatched = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (stopping) return queue_error(c, 503, "cancelled", "the server is stopping");
    c->refs++; /* nobody else has it yet */
    c->route->fn(c->route->arg, c);
    pthread_mutex_lock(&c->lock);
    if (!c->answered) { /* MHD calls again when it is resumed */
        c->suspended = true;
        MHD_suspend_connection(c->connection);
        pthread_mutex_unlock(&c->lock);
        return MHD_YES;
    }
    pthread_mutex_unlock(&c->lock);
    return queue_answer(c, c->status, c->type, &c->reply);
}

static http_call_t *call_new(http_server_t *s, struct MHD_Connection *connection, const char *url) {
    http_call_t *c = xcalloc(1, sizeof *c);
    *c = (http_call_t){.server = s, .connection = connection, .path = xstrdup(url), .body = buf_make(HTTP_BODY_MAX), .refs = 1};
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *data, size_t *size, void **state) {
    http_server_t *s = arg;
    http_call_t *c = *state;
    if (!c) {
        *state = call_new(s, connection, url);
        return MHD_YES;
    }
    if (*size) {
        buf_put(&c->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!c->dispatched) return dispatch(s, c, method);
    pthread_mutex_lock(&c->lock);
    bool answered = c->answered;
    pthread_mutex_unlock(&c->lock);
    return answered ? queue_answer(c, c->status, c->type, &c->reply) : MHD_NO;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why) {
    http_server_t *s = arg;
    http_call_t *c = *state;
    *state = NULL;
    if (!c) return;
    pthread_mutex_lock(&s->lock);
    if (c->dispatched) {
        if (c->prev) c->prev->next = c->next;
        else s->calls = c->next;
        if (c->next) c->next->prev = c->prev;
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&c->lock);
    c->gone = true;
    c->suspended = false;
    unref(c);
}

/* ---- life */
static err_t *listen_at(const char *address, int *ret_fd, int *ret_port) {
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1]) return err_hint(err_new(ERR_INVALID, "'%s' is no address", address), "it is HOST:PORT, as 127.0.0.1:7070");
    size_t n = (size_t)(colon - address);
    bool bracketed = n > 1 && address[0] == '[' && address[n - 1] == ']';
    AUTO(auto_free) char *host = bracketed ? xstrndup(address + 1, n - 2) : xstrndup(address, n);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int no = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
    if (no) return err_new(ERR_INVALID, "address %s: %s", address, gai_strerror(no));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 &&
              listen(fd, 128) == 0 && getsockname(fd, (struct sockaddr *)&bound, &size) == 0;
    no = errno;
    freeaddrinfo(found);
    if (!ok) {
        if (fd >= 0) close(fd);
        return no == EADDRINUSE ? err_new(ERR_EXISTS, "address %s is in use", address) : err_from_errno(no, "cannot listen at %s", address);
    }
    char port[16];
    getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    *ret_port = (int)strtol(port, NULL, 10);
    *ret_fd = fd;
    return NULL;
}

err_t *http_server_new(const char *address, const http_route_t *routes, int n, http_server_t **ret, int *ret_port) {
    int fd = -1, port = 0;
    TRY(listen_at(address, &fd, &port));
    http_server_t *s = xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->n = n;
    s->routes = xcalloc((size_t)n + 1, sizeof *routes);
    if (n) memcpy(s->routes, routes, sizeof *routes * (size_t)n);
    s->daemon = MHD_start_daemon(MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, on_request, s,
                                 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        pthread_mutex_destroy(&s->lock);
        free(s->routes);
        free(s);
        return err_new(ERR_IO, "the HTTP server at %s cannot be started", address);
    }
    *ret = s;
    if (ret_port) *ret_port = port;
    return NULL;
}

/* Answers every call that sleeps; those who would have answered find it gone. */
static bool answer_sleeping(http_server_t *s) {
    pthread_mutex_lock(&s->lock);
    for (http_call_t *c = s->calls; c; c = c->next) {
        pthread_mutex_lock(&c->lock);
        if (c->suspended) {
            buf_t b = error_body("cancelled", "the server is stopping", NULL);
            set_answer(c, 503, HTTP_JSON, &b);
        }
        pthread_mutex_unlock(&c->lock);
    }
    bool any = s->calls != NULL;
    pthread_mutex_unlock(&s->lock);
    return any;
}

void http_server_free(http_server_t *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    int fd = MHD_quiesce_daemon(s->daemon);
    int64_t until = clock_mono_ms() + GOODBYE_MS;
    while (answer_sleeping(s) && clock_mono_ms() < until) nanosleep(&(struct timespec){.tv_nsec = 5 * 1000000}, NULL); /* the answers go out */
    MHD_stop_daemon(s->daemon);
    if (fd >= 0) close(fd);
    pthread_mutex_destroy(&s->lock);
    free(s->routes);
    free(s);
}
