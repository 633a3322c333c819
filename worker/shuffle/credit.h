/* credit.h: flow control of one channel, in bytes. Pure.
 *
 * The sender starts with a window of credit. A batch may be sent while credit is above zero and takes its frame's bytes: credit may so
 * become negative by one batch, and a row larger than the window still passes (hazards B3). Control frames are free. The receiver gives
 * back what its consumer has taken, in portions, and never stops reading the socket.
 *
 * Invariant, at all times: sender's credit + bytes on the way + bytes queued + bytes consumed and not yet announced + announcements on
 * the way = window. Credit belongs to (channel, attempt): both ends are made anew with each attempt (A6). */
#pragma once
#include "common/base.h"

typedef struct credit_out { /* the sender's half */
    int64_t window, balance;
} credit_out_t;
static inline credit_out_t credit_out_make(int64_t window) { return (credit_out_t){window, window}; }
static inline bool credit_may_send(const credit_out_t *c) { return c->balance > 0; }
void credit_take(credit_out_t *c, int64_t bytes);  /* credit_may_send was true */
bool credit_give(credit_out_t *c, uint64_t bytes); /* false: more than was ever taken, the peer is wrong */

typedef struct credit_in { /* the receiver's half */
    int64_t window, used; /* used: received and not yet announced back */
    int64_t owed;         /* consumed and not yet announced */
} credit_in_t;
static inline credit_in_t credit_in_make(int64_t window) { return (credit_in_t){window, 0, 0}; }
bool credit_received(credit_in_t *c, int64_t bytes); /* false: sent without credit */
/* The consumer took a batch of `bytes`. Returns how much to announce now, 0: nothing yet. Announces when a quarter of the window is owed
 * or when the queue is empty (`drained`), so that a sender never waits for a consumer that waits for it. */
int64_t credit_consumed(credit_in_t *c, int64_t bytes, bool drained);
