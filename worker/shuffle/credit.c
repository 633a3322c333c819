/* credit.c: see credit.h. */
#include "worker/shuffle/credit.h"

void credit_take(credit_out_t *c, int64_t bytes) {
    ASSERT(c->balance > 0 && bytes >= 0);
    c->balance -= bytes;
}

bool credit_give(credit_out_t *c, uint64_t bytes) {
    if (bytes > INT64_MAX || (int64_t)bytes > c->window - c->balance) return false;
    c->balance += (int64_t)bytes;
    return true;
}

bool credit_received(credit_in_t *c, int64_t bytes) {
    if (bytes < 0 || c->used >= c->window) return false;
    c->used += bytes;
    return true;
}

int64_t credit_consumed(credit_in_t *c, int64_t bytes, bool drained) {
    c->owed += bytes;
    ASSERT(c->owed <= c->used);
    if (!drained && c->owed < c->window / 4) return 0;
    int64_t n = c->owed;
    c->owed = 0;
    c->used -= n;
    return n;
}
