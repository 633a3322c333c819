/* align.h: what a node with several inputs has seen: minimum watermark, idleness, end, barrier alignment. Pure.
 *
 * Invariants: the combined watermark never decreases; it is the minimum over inputs that are neither idle nor ended (ended counts as
 * WATERMARK_END; all idle: it goes to the latest of them and stands still there). Input i is blocked from its barrier of epoch e until every input has
 * delivered barrier e; barriers of an input come in ascending order, each epoch once; a barrier is due when all have it. */
#pragma once
#include "common/split.h"

typedef struct align align_t;
align_t *align_new(int ninputs, int64_t initial_watermark);
void align_free(align_t *a);
bool align_blocked(const align_t *a, int input);
/* Each returns true when the combined watermark advanced (read align_watermark). */
bool align_watermark_in(align_t *a, int input, int64_t wm);
bool align_idle_in(align_t *a, int input);   /* until its next watermark or align_active_in */
bool align_active_in(align_t *a, int input); /* a batch came */
bool align_end_in(align_t *a, int input);
int64_t align_watermark(const align_t *a);
bool align_all_idle(const align_t *a);
bool align_all_ended(const align_t *a);
int align_holder(const align_t *a); /* the input that holds the watermark, -1 none */
/* ERR_INTERNAL when the epoch is out of order; *ret_due when this was the last one: all inputs are unblocked then. */
err_t *align_barrier_in(align_t *a, int input, epoch_t epoch, uint32_t flags, bool *ret_due, uint32_t *ret_flags);
bool align_waiting(const align_t *a, epoch_t *ret_epoch, int *ret_missing_input);
