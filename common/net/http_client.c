#include "common/net/http_client.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#define HEADERS_MAX (64 << 10)
#define CONNECTIONS_MAX 16 /* per host, and kept */
#define POLL_MAX_MS 1000   /* curl wakes earlier for its own timers, a wakeup for new requests */

typedef struct transfer transfer_t;
struct transfer {
    transfer_t *next, *prev;
    http_client_t *client;
    CURL *easy;
    struct curl_slist *headers;
    buf_t request;
    size_t sent; /* bytes of `request` given to curl */
    http_response_t response;
    bool too_large;
    http_done_t done;
    char error_text[CURL_ERROR_SIZE];
};

struct http_client {
    CURLM *multi;
    pthread_t thread;
    transfer_t *running; /* the thread's */
    pthread_mutex_t lock;
    transfer_t *queue, **queue_end; /* under lock: not yet seen by the thread */
    bool stopping;                  /* under lock */
};

slice_t http_response_header(const http_response_t *r, const char *name) {
    size_t n = strlen(name);
    const char *p = (const char *)r->headers.data, *end = p + r->headers.len;
    while (p && p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if ((size_t)(line_end - p) > n && p[n] == ':' && strncasecmp(p, name, n) == 0) {
            const char *from = p + n + 1, *to = line_end;
            while (from < to && (*from == ' ' || *from == '\t')) from++;
            while (to > from && (to[-1] == '\r' || to[-1] == ' ')) to--;
            return slice_of(from, (size_t)(to - from));
        }
        p = line_end + 1;
    }
    return (slice_t){0};
}

void http_response_done(http_response_t *r) {
    err_free(r->error);
    buf_free(&r->body);
    buf_free(&r->headers);
    *r = (http_response_t){0};
}

/* ---- curl's callbacks, on the client's thread */
static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    transfer_t *t = arg;
    buf_put(&t->response.body, p, size * n);
    t->too_large |= t->response.body.overflow;
    return t->too_large ? 0 : size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
    transfer_t *t = arg;
    if (size * n > 5 && memcmp(p, "HTTP/", 5) == 0) buf_clear(&t->response.headers); /* the last answer counts, not a 100 before it */
    buf_put(&t->response.headers, p, size * n);
    t->too_large |= t->response.headers.overflow;
    return t->too_large ? 0 : size * n;
}

/* The body goes through a callback without a way to rewind: that is what keeps curl from sending a request again. */
static size_t on_read(char *p, size_t size, size_t n, void *arg) {
    transfer_t *t = arg;
    size_t k = MIN(size * n, t->request.len - t->sent);
    if (k) memcpy(p, t->request.data + t->sent, k);
    t->sent += k;
    return k;
}

/* ---- one transfer */
static void transfer_free(transfer_t *t) {
    if (t->easy) curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    buf_free(&t->request);
    http_response_done(&t->response);
    free(t);
}

static void finish(transfer_t *t) {
    t->done.fn(t->done.arg, &t->response);
    t->response = (http_response_t){0};
    transfer_free(t);
}

static void set_method(transfer_t *t, const char *method) {
    CURL *h = t->easy;
    bool has_body = t->request.len > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    } else if (has_body) {
        curl_easy_setopt(h, CURLOPT_POST, 1L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->request.len);
        curl_easy_setopt(h, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(h, CURLOPT_READDATA, t);
        if (strcmp(method, "POST") != 0) curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    }
}

static void set_options(transfer_t *t, const http_request_t *r) {
    CURL *h = t->easy;
    curl_easy_setopt(h, CURLOPT_PRIVATE, t);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, t->error_text);
    curl_easy_setopt(h, CURLOPT_URL, r->url);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L); /* do not wait for a name server at the end */
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_timeout_ms ? r->connect_timeout_ms : r->timeout_ms));
    if (!r->use_proxy) curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
    t->headers = curl_slist_append(NULL, "Expect:"); /* no 100-continue: it costs a round trip or a second */
    for (int i = 0; r->headers && r->headers[i]; i++) t->headers = curl_slist_append(t->headers, r->headers[i]);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, t->headers);
    set_method(t, r->method);
}

/* Errors that come before the first byte of a request has left. */
static bool never_sent(CURLcode code) {
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
           code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_SSL_CONNECT_ERROR ||
           code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
}

static err_t *error_of(transfer_t *t, CURLcode code) {
    const char *text = t->error_text[0] ? t->error_text : curl_easy_strerror(code);
    char *url = NULL;
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (t->too_large) return err_new(ERR_LIMIT, "%s: the answer is larger than %zu bytes", url ? url : "", t->response.body.max);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return err_new(ERR_INVALID, "%s: %s", url ? url : "", text);
    return err_new(code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%s: %s", url ? url : "", text);
}

static void transfer_over(transfer_t *t, CURLcode code) {
    http_client_t *c = t->client;
    curl_multi_remove_handle(c->multi, t->easy);
    if (t->prev) t->prev->next = t->next;
    else c->running = t->next;
    if (t->next) t->next->prev = t->prev;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_off_t pretransfer_us = 0;
    curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer_us);
    t->response.status = (int)status;
    if (code != CURLE_OK) {
        t->response.error = error_of(t, code);
        bool waited_only = code == CURLE_OPERATION_TIMEDOUT && pretransfer_us == 0; /* still connecting, or queued for a connection */
        t->response.reached = !never_sent(code) && !waited_only;
    }
    finish(t);
}

static void begin(http_client_t *c, transfer_t *t) {
    t->next = c->running;
    t->prev = NULL;
    if (c->running) c->running->prev = t;
    c->running = t;
    if (curl_multi_add_handle(c->multi, t->easy) != CURLM_OK) transfer_over(t, CURLE_FAILED_INIT);
}

static void cancel(transfer_t *t, bool reached) {
    t->response.error = err_new(ERR_CANCELLED, "the HTTP client was closed");
    t->response.reached = reached;
    finish(t);
}

/* ---- the thread */
static bool take_new(http_client_t *c) {
    pthread_mutex_lock(&c->lock);
    transfer_t *t = TAKE(c->queue);
    c->queue_end = &c->queue;
    bool stopping = c->stopping;
    pthread_mutex_unlock(&c->lock);
    while (t) {
        transfer_t *next = t->next;
        if (stopping) cancel(t, false);
        else begin(c, t);
        t = next;
    }
    return !stopping;
}

static void *client_main(void *arg) {
    http_client_t *c = arg;
    while (take_new(c)) {
        int running, left;
        curl_multi_perform(c->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
            if (m->msg != CURLMSG_DONE) continue;
            transfer_t *t = NULL;
            CURLcode code = m->data.result; /* m is gone when the handle is removed */
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
            transfer_over(t, code);
        }
        curl_multi_poll(c->multi, NULL, 0, POLL_MAX_MS, NULL);
    }
    while (c->running) {
        transfer_t *t = c->running;
        curl_multi_remove_handle(c->multi, t->easy);
        c->running = t->next;
        if (t->next) t->next->prev = NULL;
        cancel(t, true);
    }
    take_new(c); /* what a `done` started meanwhile */
    return NULL;
}

void http_client_start(http_client_t *c, http_request_t *r, http_done_t done) {
    ASSERT(r->timeout_ms > 0 && r->response_max > 0);
    transfer_t *t = xcalloc(1, sizeof *t);
    t->client = c;
    t->done = done;
    t->request = r->body;
    r->body = (buf_t){.max = r->body.max};
    t->response.body = buf_make(r->response_max);
    t->response.headers = buf_make(HEADERS_MAX);
    t->easy = curl_easy_init();
    ASSERT(t->easy); /* fails only without memory */
    set_options(t, r);
    pthread_mutex_lock(&c->lock);
    *c->queue_end = t;
    c->queue_end = &t->next;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
}

err_t *http_client_new(http_client_t **ret) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return err_new(ERR_INTERNAL, "libcurl cannot be initialised"); /* counts, thread-safe */
    http_client_t *c = xcalloc(1, sizeof *c);
    c->queue_end = &c->queue;
    pthread_mutex_init(&c->lock, NULL);
    c->multi = curl_multi_init();
    ASSERT(c->multi);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS_MAX);
    curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    int no = pthread_create(&c->thread, NULL, client_main, c);
    if (no) {
        curl_multi_cleanup(c->multi);
        pthread_mutex_destroy(&c->lock);
        free(c);
        curl_global_cleanup();
        return err_from_errno(no, "cannot start a thread");
    }
    *ret = c;
    return NULL;
}

void http_client_free(http_client_t *c) {
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
    pthread_join(c->thread, NULL);
    ASSERT(!c->queue && !c->running);
    curl_multi_cleanup(c->multi);
    pthread_mutex_destroy(&c->lock);
    free(c);
    curl_global_cleanup();
}
