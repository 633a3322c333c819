/* conn.c: one data connection: greeting, the reader's state machine, the writer's queue. All under the endpoint's lock. */
#include "common/clock.h"
#include "worker/shuffle/endpoint_int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define GREETING_MS 5000
#define DEAD_PEER_MS 10000 /* unacknowledged bytes older than this: the peer's machine is gone */

static void tune(int fd) {
    int one = 1, dead = DEAD_PEER_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof dead);
}

static conn_t *conn_new(endpoint_t *ep, int fd, bool accepted) {
    conn_t *c = xcalloc(1, sizeof *c);
    c->fd = fd;
    c->accepted = accepted;
    c->next = ep->conns;
    ep->conns = c;
    ep->nconns++;
    return c;
}

void conn_free(endpoint_t *ep, conn_t *c) {
    if (c->fd >= 0) close(c->fd);
    for (blob_t *b; (b = blob_pop(&c->out)) != NULL;) blob_give(ep, b);
    blob_give(ep, c->payload);
    free(c->peer);
    free(c->address);
    free(c);
}

/* Every attempt that uses the connection learns of it, once. */
void conn_break(endpoint_t *ep, conn_t *c, err_t *e) {
    if (c->broken) {
        err_free(e);
        return;
    }
    c->broken = true;
    epoll_ctl(ep->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    c->fd = -1;
    if (c->accepted && !c->greeted) ep->stats.rejected++;
    for (;;) { /* one attempt per round: unbind all its channels, then tell */
        size_t at = 0;
        slice_t key;
        void *v;
        remote_t *first = NULL;
        while (map_next(ep->remotes, &at, &key, &v)) {
            remote_t *r = v;
            if (r->conn != c) continue;
            if (!first) first = r;
            if (r->job == first->job && r->attempt == first->attempt) r->conn = NULL;
        }
        if (!first) break;
        endpoint_fail(ep, first->job, first->attempt, c->peer, err_wrap(err_copy(e), "the data connection with worker '%s' broke", c->peer));
    }
    err_free(e);
    endpoint_wake(ep); /* the sweep frees it */
}

void conn_sweep(endpoint_t *ep) {
    int64_t now = clock_mono_ms();
    for (conn_t *c = ep->conns; c; c = c->next) {
        if (c->broken || now < c->deadline_ms) continue;
        conn_break(ep, c, c->connecting ? err_new(ERR_TIMEOUT, "cannot reach %s", c->address)
                                        : err_new(ERR_TIMEOUT, "no greeting within %d ms", GREETING_MS));
    }
    for (conn_t **at = &ep->conns; *at;) {
        conn_t *c = *at;
        if (!c->broken) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        ep->nconns--;
        conn_free(ep, c);
    }
}

/* ---------------------------------------------------------------- opening */
static bool local_address(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET) return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static err_t *resolve(const char *address, struct sockaddr_storage *ret, socklen_t *ret_len) {
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1]) return err_new(ERR_INVALID, "'%s' is no HOST:PORT", address);
    bool v6 = address[0] == '[' && colon[-1] == ']';
    AUTO(auto_free) char *host = v6 ? xstrndup(address + 1, (size_t)(colon - address) - 2) : xstrndup(address, (size_t)(colon - address));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc) return err_new(ERR_UNAVAILABLE, "cannot resolve '%s': %s", address, gai_strerror(rc));
    memcpy(ret, list->ai_addr, list->ai_addrlen);
    *ret_len = list->ai_addrlen;
    freeaddrinfo(list);
    return NULL;
}

static void greet(endpoint_t *ep, conn_t *c, const char *to) {
    frame_hello_t h = {(char *)ep->conf.name, (char *)to, (uint16_t)frame_version_min(), (uint16_t)frame_version_max()};
    blob_t *b = blob_take(ep, FRAME_HEADER + FRAME_HELLO_MAX);
    err_t *e = frame_hello_encode(&b->bytes, &h);
    if (e) {
        blob_give(ep, b);
        conn_break(ep, c, e);
        return;
    }
    conn_send(ep, c, b);
}

err_t *conn_connect(endpoint_t *ep, const char *peer, const char *address, conn_t **ret) {
    struct sockaddr_storage a;
    socklen_t len = 0;
    TRY(resolve(address, &a, &len));
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_from_errno(errno, "cannot make a socket for worker '%s'", peer);
    tune(fd);
    if (connect(fd, (struct sockaddr *)&a, len) < 0 && errno != EINPROGRESS) {
        err_t *e = err_from_errno(errno, "cannot connect to worker '%s' at %s", peer, address);
        close(fd);
        return e;
    }
    conn_t *c = conn_new(ep, fd, false);
    c->peer = xstrdup(peer);
    c->address = xstrdup(address);
    c->local = local_address(&a);
    c->connecting = true;
    c->deadline_ms = clock_mono_ms() + ep->conf.connect_ms;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    epoll_ctl(ep->epoll, EPOLL_CTL_ADD, fd, &ev);
    greet(ep, c, peer);
    *ret = c;
    return NULL;
}

void conn_accept(endpoint_t *ep) {
    for (int n = 0; n < 64; n++) {
        struct sockaddr_storage a;
        socklen_t len = sizeof a;
        int fd = accept4(ep->listener, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (ep->nconns >= ENDPOINT_CONNECTIONS_MAX) {
            close(fd);
            ep->stats.rejected++;
            continue;
        }
        tune(fd);
        conn_t *c = conn_new(ep, fd, true);
        c->peer = xstrdup("?");
        c->address = xstrdup("?");
        c->local = local_address(&a);
        c->writable = true;
        c->deadline_ms = clock_mono_ms() + GREETING_MS;
        struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        epoll_ctl(ep->epoll, EPOLL_CTL_ADD, fd, &ev);
    }
}

/* ---------------------------------------------------------------- writing */
void conn_send(endpoint_t *ep, conn_t *c, blob_t *b) {
    if (c->broken) {
        blob_give(ep, b);
        return;
    }
    bool first = !c->out.first;
    blob_push(&c->out, b);
    ep->stats.frames_out++;
    ep->stats.bytes_out += b->bytes.len;
    if (first && c->writable) endpoint_wake(ep);
}

static void written(endpoint_t *ep, conn_t *c, size_t n) {
    while (n > 0) {
        size_t left = c->out.first->bytes.len - c->out_at;
        if (n < left) {
            c->out_at += n;
            return;
        }
        n -= left;
        c->out_at = 0;
        blob_give(ep, blob_pop(&c->out));
    }
}

void conn_flush(endpoint_t *ep, conn_t *c) {
    while (!c->broken && c->writable && !c->connecting && c->out.first) {
        struct iovec iov[64];
        int n = 0;
        for (blob_t *b = c->out.first; b && n < 64; b = b->next, n++) {
            size_t skip = n ? 0 : c->out_at;
            iov[n] = (struct iovec){b->bytes.data + skip, b->bytes.len - skip};
        }
        ssize_t k = writev(c->fd, iov, n);
        if (k >= 0) written(ep, c, (size_t)k);
        else if (errno == EAGAIN || errno == EWOULDBLOCK) c->writable = false;
        else if (errno != EINTR) conn_break(ep, c, err_from_errno(errno, "write"));
    }
}

/* ---------------------------------------------------------------- reading */
static err_t *on_hello(endpoint_t *ep, conn_t *c, slice_t payload) {
    frame_hello_t h;
    TRY(frame_hello_decode(payload, &h));
    err_t *e = NULL;
    if (strcmp(h.to, ep->conf.name)) e = err_new(ERR_INVALID, "worker '%s' looks for '%s' here", h.name, h.to);
    else if (!c->accepted && strcmp(h.name, c->peer)) e = err_new(ERR_INVALID, "'%s' answers in place of '%s'", h.name, c->peer);
    if (!e) {
        c->greeted = true;
        c->deadline_ms = INT64_MAX;
        if (c->accepted) {
            free(c->peer);
            c->peer = TAKE(h.name);
            greet(ep, c, c->peer);
        }
    }
    frame_hello_free(&h);
    return e;
}

/* A data frame's header: fences, binds, checks order and credit. *ret NULL: skip the frame. */
static err_t *admit(endpoint_t *ep, conn_t *c, const frame_t *f, remote_t **ret) {
    *ret = NULL;
    remote_t *r = endpoint_find(ep, /* out= */ false, f);
    if (!r) {
        ep->stats.fenced++;
        return NULL;
    }
    if (!r->conn && r->seq == 0 && !strcmp(r->peer, c->peer)) r->conn = c;
    if (r->conn != c)
        return err_new(ERR_CORRUPT, "a frame of edge %u from subtask %u came over another connection than its channel's", f->edge, f->from);
    if (f->seq != r->seq + 1)
        return err_new(ERR_CORRUPT, "edge %u from subtask %u: frame %" PRIu64 " after %" PRIu64, f->edge, f->from, f->seq, r->seq);
    if (f->kind == FRAME_BATCH && !credit_received(&r->credit_in, (int64_t)f->length + FRAME_HEADER))
        return err_new(ERR_CORRUPT, "edge %u from subtask %u: sent without credit", f->edge, f->from);
    if (atomic_load(&r->queued) > ENDPOINT_CONTROLS_MAX)
        return err_new(ERR_LIMIT, "edge %u from subtask %u: more than %u frames wait", f->edge, f->from, ENDPOINT_CONTROLS_MAX);
    r->seq = f->seq;
    *ret = r;
    return NULL;
}

static err_t *on_header(endpoint_t *ep, conn_t *c, const uint8_t *bytes) {
    TRY(frame_decode_header(bytes, &c->frame));
    const frame_t *f = &c->frame;
    c->discard = false;
    if (f->kind == FRAME_HELLO) {
        if (c->greeted) return err_new(ERR_CORRUPT, "a second HELLO");
    } else if (!c->greeted) {
        return err_new(ERR_CORRUPT, "a %s frame before HELLO", frame_kind_name(f->kind));
    } else if ((f->kind == FRAME_CREDIT) == c->accepted) {
        return err_new(ERR_CORRUPT, "a %s frame from the wrong side", frame_kind_name(f->kind));
    } else if (f->kind == FRAME_CREDIT) {
        c->discard = false;
    } else {
        remote_t *r;
        TRY(admit(ep, c, f, &r));
        c->discard = r == NULL;
    }
    c->in_payload = true;
    c->payload_at = 0;
    if (c->discard) return NULL;
    c->payload = blob_take(ep, f->length); /* its length is checked */
    c->payload->frame = *f;
    c->payload->bytes.len = f->length;
    return NULL;
}

static err_t *on_frame(endpoint_t *ep, conn_t *c) {
    const frame_t *f = &c->frame;
    c->in_payload = false;
    if (c->discard) return NULL;
    ep->stats.frames_in++;
    ep->stats.bytes_in += FRAME_HEADER + f->length;
    TRY(frame_check_payload(f, buf_slice(&c->payload->bytes)));
    remote_t *r = f->kind == FRAME_HELLO ? NULL : endpoint_find(ep, f->kind == FRAME_CREDIT, f);
    if (r && r->conn != c) r = NULL; /* its attempt was dropped while the payload was on its way */
    if (r && f->kind != FRAME_CREDIT) {
        remote_in_frame(r, TAKE(c->payload));
        return NULL;
    }
    err_t *e = NULL;
    if (f->kind == FRAME_HELLO) e = on_hello(ep, c, buf_slice(&c->payload->bytes));
    else if (r) e = remote_credit(r, f->value);
    blob_give(ep, TAKE(c->payload));
    return e;
}

/* Uses up what was staged. */
static err_t *consume(endpoint_t *ep, conn_t *c) {
    for (;;) {
        size_t have = c->staged - c->stage_at;
        if (c->in_payload) {
            size_t n = MIN(have, c->frame.length - c->payload_at);
            if (c->payload && n) memcpy(c->payload->bytes.data + c->payload_at, c->stage + c->stage_at, n);
            c->payload_at += n;
            c->stage_at += n;
            if (c->payload_at < c->frame.length) break;
            TRY(on_frame(ep, c));
            if (c->broken) return NULL;
        } else {
            if (have < FRAME_HEADER) break;
            TRY(on_header(ep, c, c->stage + c->stage_at));
            c->stage_at += FRAME_HEADER;
        }
    }
    memmove(c->stage, c->stage + c->stage_at, c->staged - c->stage_at);
    c->staged -= c->stage_at;
    c->stage_at = 0;
    return NULL;
}

/* A large payload is read in place, all else through the stage. */
static ssize_t fill(conn_t *c) {
    if (c->in_payload && c->payload && c->staged == 0 && c->frame.length - c->payload_at >= sizeof c->stage) {
        ssize_t n = read(c->fd, c->payload->bytes.data + c->payload_at, c->frame.length - c->payload_at);
        if (n > 0) c->payload_at += (size_t)n;
        return n;
    }
    ssize_t n = read(c->fd, c->stage + c->staged, sizeof c->stage - c->staged);
    if (n > 0) c->staged += (size_t)n;
    return n;
}

static void conn_read(endpoint_t *ep, conn_t *c) {
    while (!c->broken) {
        ssize_t n = fill(c);
        if (n > 0) {
            err_t *e = consume(ep, c);
            if (e) conn_break(ep, c, e);
        } else if (n == 0) {
            conn_break(ep, c, err_new(ERR_UNAVAILABLE, "closed by the peer"));
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            conn_break(ep, c, err_from_errno(errno, "read"));
        }
    }
}

void conn_event(endpoint_t *ep, conn_t *c, uint32_t events) {
    if (c->broken) return;
    if (c->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int no = 0;
        socklen_t len = sizeof no;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &no, &len);
        if (no) {
            conn_break(ep, c, err_from_errno(no, "connect to %s", c->address));
            return;
        }
        c->connecting = false;
        c->deadline_ms = clock_mono_ms() + GREETING_MS;
    }
    if (events & EPOLLOUT) c->writable = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) conn_read(ep, c);
    conn_flush(ep, c);
}
