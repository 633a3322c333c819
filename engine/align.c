#include "engine/align.h"
#include <stdlib.h>

typedef struct align_input {
    int64_t watermark;
    bool idle, ended, blocked;
    epoch_t epoch; /* of its last barrier */
} align_input_t;

struct align {
    int n;
    int64_t watermark; /* combined; only grows */
    epoch_t done;      /* last epoch every input has delivered */
    epoch_t current;   /* being aligned, 0 none (epoch 0 has no barrier) */
    uint32_t flags;
    int nblocked;
    align_input_t in[];
};

align_t *align_new(int ninputs, int64_t initial_watermark) {
    ASSERT(ninputs >= 1);
    align_t *a = xcalloc(1, sizeof *a + sizeof a->in[0] * (size_t)ninputs);
    a->n = ninputs;
    a->watermark = initial_watermark;
    for (int i = 0; i < ninputs; i++) a->in[i].watermark = initial_watermark;
    return a;
}

void align_free(align_t *a) { free(a); }

bool align_blocked(const align_t *a, int input) { return a->in[input].blocked; }

/* The minimum over inputs that hold time; when all are idle the latest of them, so that it does not matter which became idle first. */
static int64_t align_minimum(const align_t *a) {
    int64_t min = WATERMARK_END, latest = WATERMARK_NONE;
    bool any = false, all_ended = true;
    for (int i = 0; i < a->n; i++) {
        if (a->in[i].ended) continue;
        all_ended = false;
        latest = MAX(latest, a->in[i].watermark);
        if (a->in[i].idle) continue;
        any = true;
        min = MIN(min, a->in[i].watermark);
    }
    if (all_ended) return WATERMARK_END;
    return any ? min : latest;
}

static bool align_advance(align_t *a) {
    int64_t min = align_minimum(a);
    if (min <= a->watermark) return false;
    a->watermark = min;
    return true;
}

bool align_watermark_in(align_t *a, int input, int64_t wm) {
    align_input_t *in = &a->in[input];
    in->idle = false;
    in->watermark = MAX(in->watermark, wm);
    return align_advance(a);
}

bool align_idle_in(align_t *a, int input) {
    a->in[input].idle = true;
    return align_advance(a);
}

bool align_active_in(align_t *a, int input) {
    a->in[input].idle = false;
    return align_advance(a);
}

bool align_end_in(align_t *a, int input) {
    a->in[input].ended = true;
    a->in[input].watermark = WATERMARK_END;
    return align_advance(a);
}

int64_t align_watermark(const align_t *a) { return a->watermark; }

bool align_all_idle(const align_t *a) {
    bool any = false;
    for (int i = 0; i < a->n; i++) {
        if (a->in[i].ended) continue;
        if (!a->in[i].idle) return false;
        any = true;
    }
    return any;
}

bool align_all_ended(const align_t *a) {
    for (int i = 0; i < a->n; i++)
        if (!a->in[i].ended) return false;
    return true;
}

int align_holder(const align_t *a) {
    int holder = -1;
    for (int i = 0; i < a->n; i++) {
        if (a->in[i].idle || a->in[i].ended) continue;
        if (holder < 0 || a->in[i].watermark < a->in[holder].watermark) holder = i;
    }
    return holder;
}

err_t *align_barrier_in(align_t *a, int input, epoch_t epoch, uint32_t flags, bool *ret_due, uint32_t *ret_flags) {
    align_input_t *in = &a->in[input];
    *ret_due = false;
    if (in->blocked || epoch <= a->done || (a->current && epoch != a->current))
        return err_new(ERR_INTERNAL, "input %d delivered the barrier of epoch %" PRIu64 " while epoch %" PRIu64 " is %s", input, epoch,
                       a->current ? a->current : a->done, a->current ? "being aligned" : "done");
    in->blocked = true;
    in->epoch = epoch;
    a->current = epoch;
    a->flags |= flags;
    if (++a->nblocked < a->n) return NULL;
    for (int i = 0; i < a->n; i++) a->in[i].blocked = false;
    *ret_due = true;
    *ret_flags = a->flags;
    a->done = epoch;
    a->current = 0;
    a->flags = 0;
    a->nblocked = 0;
    return NULL;
}

bool align_waiting(const align_t *a, epoch_t *ret_epoch, int *ret_missing_input) {
    if (!a->current) return false;
    *ret_epoch = a->current;
    *ret_missing_input = -1;
    for (int i = 0; i < a->n && *ret_missing_input < 0; i++)
        if (!a->in[i].blocked) *ret_missing_input = i;
    return true;
}
