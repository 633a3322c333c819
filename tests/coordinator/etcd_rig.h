/* etcd_rig.h: a real etcd in a temporary directory, and a proxy before it that holds requests or loses answers. */
#pragma once
#include "common/clock.h"
#include "common/net/http_client.h"
#include "coordinator/meta_store_etcd.h"
#include "tests/helpers/running.h"
#include "tests/helpers/test.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void pause_ms(int ms) { nanosleep(&(struct timespec){ms / 1000, (ms % 1000) * 1000000L}, NULL); }

/* A socket bound to a port of 127.0.0.1, 0: any; -1 when somebody has it. */
static inline int bind_port(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}
static inline int listen_free(int *ret_port) {
    int fd = bind_port(0);
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}
/* A port that nobody listens on and that no other test gets until this process ends, also while the server that has it is down: by the locks of
 * free_port in integration/harness.py. It lies below those that the system gives to outgoing connections. */
static inline int free_port(void) {
    char path[64];
    rng_t r;
    rng_seed(&r, (uint64_t)clock_mono_ns() ^ (uint64_t)getpid());
    snprintf(path, sizeof path, "/tmp/tidegate-ports-%u", getuid());
    mkdir(path, 0777);
    for (int i = 0; i < 2000; i++) {
        int port = 11000 + (int)rng_below(&r, 8990);
        snprintf(path, sizeof path, "/tmp/tidegate-ports-%u/%d", getuid(), port);
        int lock = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666), fd = -1; /* open until the process ends */
        ck_assert_msg(lock >= 0, "%s: cannot be opened", path);
        if (flock(lock, LOCK_EX | LOCK_NB) == 0 && (fd = bind_port(port)) >= 0) {
            close(fd);
            return port;
        }
        close(lock);
    }
    ck_abort_msg("no free port in 2000 tries between 11000 and 20000");
    return -1;
}

/* ---- etcd */
typedef struct etcd_rig { char dir[64], url[64], peer[64]; int port; pid_t pid; } etcd_rig_t;

static inline void rig_post(http_response_t *out, const char *url, const char *body);

static inline void rig_start(etcd_rig_t *r) {
    const char *path = getenv("ETCD") ? getenv("ETCD") : "/usr/bin/etcd";
    ck_assert_msg(access(path, X_OK) == 0, "%s is missing: install etcd-server", path);
    r->pid = fork();
    ck_assert_int_ge(r->pid, 0);
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no etcd outlives a test that crashed */
        char log[96], cluster[128];
        snprintf(log, sizeof log, "%s/log", r->dir);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(fd, 1);
        dup2(fd, 2);
        for (int i = 3; i < 1024; i++) close(i);
        snprintf(cluster, sizeof cluster, "default=%s", r->peer);
        execl(path, "etcd", "--data-dir", r->dir, "--listen-client-urls", r->url, "--advertise-client-urls", r->url, "--listen-peer-urls",
              r->peer, "--initial-advertise-peer-urls", r->peer, "--initial-cluster", cluster, (char *)NULL);
        _exit(127);
    }
    int64_t until = clock_mono_ms() + 20000;
    for (bool up = false; !up;) {
        int status;
        ck_assert_msg(waitpid(r->pid, &status, WNOHANG) == 0, "etcd ended with %d; see %s/log", status, r->dir);
        ck_assert_msg(clock_mono_ms() < until, "etcd does not answer; see %s/log", r->dir);
        AUTO(auto_free) char *url = xprintf("%s/v3/kv/range", r->url);
        http_response_t a;
        rig_post(&a, url, "{\"key\":\"YQ==\"}");
        up = !a.error && a.status == 200;
        http_response_done(&a);
        if (!up) pause_ms(30);
    }
}

static inline void rig_new(etcd_rig_t *r) {
    *r = (etcd_rig_t){0};
    snprintf(r->dir, sizeof r->dir, "/tmp/tidegate-etcd-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    r->port = free_port();
    snprintf(r->url, sizeof r->url, "http://127.0.0.1:%d", r->port);
    snprintf(r->peer, sizeof r->peer, "http://127.0.0.1:%d", free_port());
    rig_start(r);
}
static inline void rig_kill(etcd_rig_t *r) {
    kill(r->pid, SIGKILL);
    waitpid(r->pid, NULL, 0);
}
static inline void rig_free(etcd_rig_t *r) {
    rig_kill(r);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    ck_assert_int_eq(system(command), 0);
}

typedef struct rig_answer { sem_t done; http_response_t *out; } rig_answer_t;
static inline void rig_answered(void *arg, http_response_t *r) {
    rig_answer_t *a = arg;
    *a->out = *r;
    sem_post(&a->done);
}
static inline void rig_post(http_response_t *out, const char *url, const char *body) {
    http_client_t *c;
    ck_ok(http_client_new(&c));
    rig_answer_t a = {.out = out};
    sem_init(&a.done, 0, 0);
    http_request_t q = {.method = "POST", .url = url, .body = buf_make(1 << 20), .timeout_ms = 3000, .response_max = 1 << 24};
    buf_puts(&q.body, body);
    http_client_start(c, &q, (http_done_t){rig_answered, &a});
    sem_wait(&a.done);
    http_client_free(c);
    sem_destroy(&a.done);
}

/* ---- the proxy: one thread a connection; whole requests are passed on */
typedef enum proxy_mode {
    PROXY_PASS,
    PROXY_HOLD,  /* writes wait in the proxy until let_go, whatever the mode then is, and go to etcd though nobody waits for them any more */
    PROXY_LOSE,  /* writes reach etcd, their answers are lost and the connection is closed */
    PROXY_CUT    /* every connection is closed */
} proxy_mode_t;
typedef struct proxy {
    int fd, port, upstream;
    atomic_int mode, held, released, lost, live;
    atomic_bool stop, let_go;
    pthread_t thread;
    char url[64];
} proxy_t;
typedef struct proxy_conn { proxy_t *p; int fd; } proxy_conn_t;

static inline int proxy_dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}
static inline bool write_all(int fd, const uint8_t *p, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t k = send(fd, p + at, n - at, MSG_NOSIGNAL);
        if (k <= 0) return false;
        at += (size_t)k;
    }
    return true;
}
/* Bytes of the first whole request in b, 0 when there is none yet. */
static inline size_t whole_request(const buf_t *b) {
    const uint8_t *end = b->len ? memmem(b->data, b->len, "\r\n\r\n", 4) : NULL;
    if (!end) return 0;
    size_t head = (size_t)(end - b->data) + 4;
    const char *length = memmem(b->data, head, "Content-Length: ", 16);
    size_t n = head + (length ? strtoul(length + 16, NULL, 10) : 0);
    return b->len >= n ? n : 0;
}

/* A write of a coordinator: a transaction that puts under jobs/. What else goes through is left alone. */
static inline bool is_write(const uint8_t *p, size_t n) {
    return memmem(p, n, "POST /v3/kv/txn ", 16) && (memmem(p, n, "request_put", 11) || memmem(p, n, "request_delete_range", 20)) &&
           memmem(p, n, "mod_revision", 12);
}

static inline void *proxy_conn_main(void *arg) {
    proxy_conn_t *c = arg;
    proxy_t *p = c->p;
    int up = proxy_dial(p->upstream);
    buf_t in = buf_make(1 << 24);
    uint8_t chunk[65536];
    bool swallow = false;
    while (up >= 0 && !atomic_load(&p->stop)) {
        if (atomic_load(&p->mode) == PROXY_CUT) break;
        struct pollfd f[2] = {{up, POLLIN, 0}, {c->fd, POLLIN, 0}};
        if (poll(f, 2, 20) <= 0) continue;
        if (f[0].revents) {
            ssize_t n = recv(up, chunk, sizeof chunk, 0);
            if (n <= 0) break;
            if (swallow) {
                atomic_fetch_add(&p->lost, 1);
                break;
            }
            if (!write_all(c->fd, chunk, (size_t)n)) break;
        }
        if (!f[1].revents) continue;
        ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
        if (n <= 0) break;
        buf_put(&in, chunk, (size_t)n);
        for (size_t k; (k = whole_request(&in)) > 0;) {
            bool write = is_write(in.data, k);
            swallow = write && atomic_load(&p->mode) == PROXY_LOSE;
            if (write && atomic_load(&p->mode) == PROXY_HOLD) {
                atomic_fetch_add(&p->held, 1);
                while (!atomic_load(&p->let_go) && !atomic_load(&p->stop)) pause_ms(5);
                write_all(up, in.data, k); /* the client may be gone: etcd gets it all the same */
                recv(up, chunk, sizeof chunk, 0); /* etcd has acted */
                atomic_fetch_add(&p->released, 1);
                goto out;
            }
            if (!write_all(up, in.data, k)) goto out;
            memmove(in.data, in.data + k, in.len - k);
            in.len -= k;
        }
    }
out:
    close(c->fd);
    if (up >= 0) close(up);
    buf_free(&in);
    atomic_fetch_sub(&p->live, 1);
    free(c);
    return NULL;
}
static inline void *proxy_main(void *arg) {
    proxy_t *p = arg;
    while (!atomic_load(&p->stop)) {
        struct pollfd f = {p->fd, POLLIN, 0};
        if (poll(&f, 1, 50) <= 0) continue;
        proxy_conn_t *c = xcalloc(1, sizeof *c);
        *c = (proxy_conn_t){p, accept(p->fd, NULL, NULL)};
        pthread_t t;
        atomic_fetch_add(&p->live, 1);
        int failed = pthread_create(&t, NULL, proxy_conn_main, c);
        ASSERT(!failed);
        pthread_detach(t);
    }
    return NULL;
}
static inline void proxy_start(proxy_t *p, int upstream) {
    *p = (proxy_t){.upstream = upstream};
    p->fd = listen_free(&p->port);
    snprintf(p->url, sizeof p->url, "http://127.0.0.1:%d", p->port);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, proxy_main, p), 0);
}
static inline void proxy_stop(proxy_t *p) {
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    for (int i = 0; i < 500 && atomic_load(&p->live); i++) pause_ms(10);
    ck_assert_int_eq(atomic_load(&p->live), 0);
    close(p->fd);
}

/* ---- calls that wait */
typedef struct waited { sem_t sem; meta_result_t r; } waited_t;
static inline void waited_done(void *arg, meta_result_t *r) {
    waited_t *w = arg;
    w->r = *r;
    *r = (meta_result_t){0};
    sem_post(&w->sem);
}
static inline waited_t *waited_new(void) {
    waited_t *w = xcalloc(1, sizeof *w);
    sem_init(&w->sem, 0, 0);
    return w;
}
static inline meta_done_t waited_by(waited_t *w) { return (meta_done_t){waited_done, w}; }
static inline bool waited_within(waited_t *w, int ms) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += (ms % 1000) * 1000000L;
    if (ts.tv_nsec >= 1000000000L) ts.tv_sec++, ts.tv_nsec -= 1000000000L;
    return sem_timedwait(&w->sem, &ts) == 0;
}
static inline meta_result_t waited_take(waited_t *w) { /* frees w */
    ck_assert_msg(waited_within(w, 20000), "a call was not answered for 20 s");
    meta_result_t r = w->r;
    sem_destroy(&w->sem);
    free(w);
    return r;
}

/* ---- stores */
typedef struct node { meta_store_t *m; atomic_int lost; char why[256]; uint64_t leader; waited_t *campaign; } node_t;

static inline void on_lost(void *arg, err_t *why) {
    node_t *n = arg;
    snprintf(n->why, sizeof n->why, "%s", err_text(why));
    err_free(why);
    atomic_fetch_add(&n->lost, 1);
}
static inline void on_notice(void *arg, const char *text) {
    if (getenv("VERBOSE")) fprintf(stderr, "%s\n", text);
}
static inline meta_etcd_conf_t conf_of(const char *url, const char *name) {
    return (meta_etcd_conf_t){.endpoints = url, .cluster = "test", .name = name, .notice = on_notice};
}
static inline void node_open(node_t *n, const meta_etcd_conf_t *conf) {
    *n = (node_t){0};
    ck_ok(meta_store_etcd_open(conf, &n->m));
}
static inline void campaign(node_t *n) {
    n->campaign = waited_new();
    n->m->campaign(n->m, on_lost, n, waited_by(n->campaign));
}
static inline void won(node_t *n) {
    meta_result_t r = waited_take(TAKE(n->campaign));
    ck_assert_msg(r.outcome == STORE_OK, "%s", err_text(r.error));
    n->leader = r.leader;
    meta_result_done(&r);
}
static inline void lead(node_t *n, const meta_etcd_conf_t *conf) {
    node_open(n, conf);
    campaign(n);
    won(n);
}
static inline void lost_within(node_t *n, int ms) {
    int64_t until = running_ms() + ms;
    while (!atomic_load(&n->lost)) {
        ck_assert_msg(running_ms() < until, "leadership was not lost within %d ms", ms);
        pause_ms(5);
    }
}
