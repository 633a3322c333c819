/* mailbox.h: bounded multi-producer single-consumer queue of owned pointers with an eventfd.
 *
 * The one primitive by which threads exchange messages. A message belongs to the sender until
 * mailbox_send returns true, to the queue until received, then to the receiver. */
#pragma once
#include "common/base.h"

typedef struct mailbox mailbox_t;

mailbox_t *mailbox_new(size_t max, void (*free_msg)(void *msg));
void mailbox_free(mailbox_t *m); /* frees what was not received */
bool mailbox_send(mailbox_t *m, void *msg); /* any thread; false when full or closed: still yours */
void *mailbox_receive(mailbox_t *m);        /* the consumer; NULL when empty */
void mailbox_close(mailbox_t *m);
void mailbox_wake(mailbox_t *m); /* any thread: makes the consumer's wait return */
/* The consumer: waits until a message or a wake comes, at most timeout_ms (-1: for ever is refused). */
bool mailbox_wait(mailbox_t *m, int timeout_ms);
int mailbox_fd(const mailbox_t *m); /* readable while something may be there; for epoll */
void mailbox_drain_fd(mailbox_t *m);
