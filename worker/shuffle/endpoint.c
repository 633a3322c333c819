/* endpoint.c: life of the data port and its thread's loop; see endpoint.h. */
#include "worker/shuffle/endpoint_int.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

void endpoint_wake(endpoint_t *ep) {
    if (ep->woken) return;
    ep->woken = true;
    uint64_t one = 1;
    ssize_t n = write(ep->wakefd, &one, sizeof one);
    (void)n;
}

void endpoint_fail(endpoint_t *ep, job_id_t job, attempt_t attempt, const char *peer, err_t *e) {
    ep->conf.failed(ep->conf.arg, job, attempt, peer, e);
}

static err_t *listen_on(const char *address, int *ret_fd, int *ret_port) {
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address) return err_new(ERR_INVALID, "'%s' is no HOST:PORT to listen on", address);
    AUTO(auto_free) char *host = xstrndup(address, (size_t)(colon - address));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE}, *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc) return err_new(ERR_INVALID, "cannot listen on '%s': %s", address, gai_strerror(rc));
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    err_t *e = NULL;
    if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, 256) < 0)
        e = err_from_errno(errno, "cannot listen on %s", address);
    freeaddrinfo(list);
    if (e) {
        if (fd >= 0) close(fd);
        return e;
    }
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &len);
    *ret_port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
    *ret_fd = fd;
    return NULL;
}

static void serve(endpoint_t *ep, const struct epoll_event *ev, int n) {
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr == &ep->wakefd) {
            uint64_t v;
            ssize_t k = read(ep->wakefd, &v, sizeof v);
            (void)k;
            ep->woken = false;
        } else if (ev[i].data.ptr == &ep->listener) {
            conn_accept(ep);
        } else {
            conn_event(ep, ev[i].data.ptr, ev[i].events);
        }
    }
    for (conn_t *c = ep->conns; c; c = c->next) conn_flush(ep, c);
    conn_sweep(ep); /* frees: only after no event of this round can name a connection */
}

static void *endpoint_run(void *arg) {
    endpoint_t *ep = arg;
    for (;;) {
        struct epoll_event ev[64];
        int n = epoll_wait(ep->epoll, ev, 64, 1000);
        pthread_mutex_lock(&ep->lock);
        serve(ep, ev, MAX(n, 0));
        bool quit = ep->quit;
        pthread_mutex_unlock(&ep->lock);
        if (quit) return NULL;
    }
}

static void endpoint_release(endpoint_t *ep) {
    while (ep->conns) {
        conn_t *c = ep->conns;
        ep->conns = c->next;
        conn_free(ep, c);
    }
    if (ep->listener >= 0) close(ep->listener);
    if (ep->epoll >= 0) close(ep->epoll);
    if (ep->wakefd >= 0) close(ep->wakefd);
    map_free(ep->remotes, NULL);
    blob_pool_free(ep);
    free((char *)ep->conf.name);
    pthread_mutex_destroy(&ep->lock);
    pthread_mutex_destroy(&ep->pool_lock);
    free(ep);
}

err_t *endpoint_new(const endpoint_conf_t *conf, endpoint_t **ret) {
    endpoint_t *ep = xcalloc(1, sizeof *ep);
    pthread_mutex_init(&ep->lock, NULL);
    pthread_mutex_init(&ep->pool_lock, NULL);
    ep->conf = *conf;
    ep->conf.name = xstrdup(conf->name);
    if (!ep->conf.window) ep->conf.window = ENDPOINT_WINDOW;
    if (!ep->conf.connect_ms) ep->conf.connect_ms = 5000;
    ep->remotes = map_new();
    ep->listener = ep->epoll = ep->wakefd = -1;
    err_t *e = listen_on(conf->listen, &ep->listener, &ep->port);
    if (!e) {
        ep->epoll = epoll_create1(EPOLL_CLOEXEC);
        ep->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct epoll_event w = {.events = EPOLLIN, .data.ptr = &ep->wakefd}, l = {.events = EPOLLIN, .data.ptr = &ep->listener};
        if (ep->epoll < 0 || ep->wakefd < 0 || epoll_ctl(ep->epoll, EPOLL_CTL_ADD, ep->wakefd, &w) < 0 ||
            epoll_ctl(ep->epoll, EPOLL_CTL_ADD, ep->listener, &l) < 0)
            e = err_from_errno(errno, "cannot set up the data port");
    }
    int rc = e ? 0 : pthread_create(&ep->thread, NULL, endpoint_run, ep);
    if (rc) e = err_from_errno(rc, "cannot start the thread of the data port");
    if (e) {
        endpoint_release(ep);
        return e;
    }
    pthread_setname_np(ep->thread, "shuffle");
    *ret = ep;
    return NULL;
}

void endpoint_free(endpoint_t *ep) {
    if (!ep) return;
    pthread_mutex_lock(&ep->lock);
    ASSERT(map_len(ep->remotes) == 0);
    ep->quit = true;
    endpoint_wake(ep);
    pthread_mutex_unlock(&ep->lock);
    pthread_join(ep->thread, NULL);
    endpoint_release(ep);
}

int endpoint_port(const endpoint_t *ep) { return ep->port; }

void endpoint_stats(endpoint_t *ep, endpoint_stats_t *ret) {
    pthread_mutex_lock(&ep->lock);
    *ret = ep->stats;
    ret->connections = ep->nconns;
    pthread_mutex_unlock(&ep->lock);
    pthread_mutex_lock(&ep->pool_lock);
    ret->frames_made = ep->pool_made;
    pthread_mutex_unlock(&ep->pool_lock);
}
