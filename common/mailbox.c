#include "common/mailbox.h"
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A ring under a mutex: messages are control-plane sized (at most thousands a second); data goes through channels. */
struct mailbox {
    pthread_mutex_t lock;
    void **ring;
    size_t cap, head, len, max;
    bool closed;
    int fd;
    void (*free_msg)(void *msg);
};

mailbox_t *mailbox_new(size_t max, void (*free_msg)(void *msg)) {
    mailbox_t *m = xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    m->max = max;
    m->free_msg = free_msg;
    m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(m->fd >= 0);
    return m;
}

void mailbox_free(mailbox_t *m) {
    if (!m) return;
    for (void *msg; (msg = mailbox_receive(m)) != NULL;)
        if (m->free_msg) m->free_msg(msg);
    close(m->fd);
    pthread_mutex_destroy(&m->lock);
    free(m->ring);
    free(m);
}

static void grow(mailbox_t *m) {
    size_t cap = m->cap ? m->cap * 2 : 16;
    void **ring = xmalloc(cap * sizeof *ring);
    for (size_t i = 0; i < m->len; i++) ring[i] = m->ring[(m->head + i) & (m->cap - 1)];
    free(m->ring);
    m->ring = ring;
    m->cap = cap;
    m->head = 0;
}

void mailbox_wake(mailbox_t *m) {
    uint64_t one = 1;
    ssize_t n = write(m->fd, &one, sizeof one); /* EAGAIN: the counter is full, so it is readable anyway */
    (void)n;
}

bool mailbox_send(mailbox_t *m, void *msg) {
    pthread_mutex_lock(&m->lock);
    bool ok = !m->closed && m->len < m->max;
    bool first = ok && m->len == 0;
    if (ok) {
        if (m->len == m->cap) grow(m);
        m->ring[(m->head + m->len++) & (m->cap - 1)] = msg;
    }
    if (first) mailbox_wake(m); /* under the lock: who has received the message may free the mailbox at once */
    pthread_mutex_unlock(&m->lock);
    return ok;
}

void *mailbox_receive(mailbox_t *m) {
    pthread_mutex_lock(&m->lock);
    void *msg = NULL;
    if (m->len) {
        msg = m->ring[m->head];
        m->head = (m->head + 1) & (m->cap - 1);
        m->len--;
    }
    pthread_mutex_unlock(&m->lock);
    return msg;
}

void mailbox_close(mailbox_t *m) {
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    pthread_mutex_unlock(&m->lock);
    mailbox_wake(m);
}

void mailbox_drain_fd(mailbox_t *m) {
    uint64_t v;
    ssize_t n = read(m->fd, &v, sizeof v);
    (void)n;
}

bool mailbox_wait(mailbox_t *m, int timeout_ms) {
    ASSERT(timeout_ms >= 0); /* every wait has a limit */
    pthread_mutex_lock(&m->lock);
    bool has = m->len > 0;
    pthread_mutex_unlock(&m->lock);
    if (has) return true;
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) > 0) {
        mailbox_drain_fd(m);
        return true;
    }
    return false;
}

int mailbox_fd(const mailbox_t *m) { return m->fd; }
