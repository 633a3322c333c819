/* lanes.h: the lanes one attempt owns on this worker: pure lanes (engine/lane.h) joined with a lane driver.
 *
 * Thread: one, the worker's control thread; the driver's answers are posted to it and come in through lanes_answer.
 * Order: lanes_add (any thread, before the others); lanes_fence while the attempt is restored: a dead owner's open transaction holds the
 * readers of its partitions until its lane is fenced (hazards B7), and fencing one takes half a second at times (B8); lanes_feed of what was
 * restored, lanes_complete of its epoch; lanes_open once the coordinator started the attempt: only now anything is sent (B9); then feed (a
 * segment that is durable), complete, answer as they come; lanes_close; after `closed` was called lanes_free. A segment is fed only
 * once it is durable: an ack promises it, and a lane must not publish what recovery could not reproduce. */
#pragma once
#include "proto/control.h"
#include "worker/lane_driver.h"

typedef struct lanes lanes_t;
typedef struct lanes_entry lanes_entry_t;
typedef struct lanes_handler {
    void (*post)(void *arg, lanes_entry_t *entry, lane_answer_t a);  /* any thread: bring it to the owner, who calls lanes_answer */
    /* The ledger shows it; `started`: it holds a record of this incarnation (lane_new: has_bound). */
    void (*published)(void *arg, uint64_t fingerprint, int lane, epoch_t epoch, bool started);
    void (*stopped)(void *arg, uint64_t fingerprint, int lane, const char *label, err_t *e); /* takes e; once per lane */
    void (*closed)(void *arg);
    void (*left)(void *arg, size_t bytes); /* so much of what was fed is held no more: published, or of no use */
    void *arg;
} lanes_handler_t;

lanes_t *lanes_new(lane_driver_t *driver, const lanes_handler_t *h); /* driver NULL: lanes_add refuses */
void lanes_free(lanes_t *l);
err_t *lanes_add(lanes_t *l, const lane_spec_t *spec, epoch_t bound, bool has_bound); /* copies spec; its pointers are borrowed */
bool lanes_has(const lanes_t *l, uint64_t fingerprint, int lane); /* any thread, after the last lanes_add */
void lanes_feed(lanes_t *l, uint64_t fingerprint, int lane, epoch_t epoch, buf_t *segment); /* takes its content; ERR: unknown lane is dropped */
err_t *lanes_fence(lanes_t *l);
err_t *lanes_open(lanes_t *l);
void lanes_complete(lanes_t *l, epoch_t epoch);
void lanes_unconfirm(lanes_t *l); /* the coordinator is lost: a lane in doubt must not fence who may own it now (B9) */
void lanes_confirm(lanes_t *l); /* the coordinator named our attempt: fenced lanes may try again */
void lanes_answer(lanes_t *l, lanes_entry_t *entry, lane_answer_t a);
void lanes_close(lanes_t *l);   /* `closed` follows, perhaps before it returns */
void lanes_hang(const lanes_t *l, buf_t *out); /* the lanes that are not closed, ", " before each but the first in `out` */
size_t lanes_unpublished(const lanes_t *l); /* bytes */
const char *lanes_label(const lanes_t *l, uint64_t fingerprint, int lane); /* of its sink; NULL: there is no such lane */
/* One report per lane, malloc'ed: what a heartbeat says. An action that runs for LANES_SLOW_MS since a report first saw it is said to be
 * waited for. now_ms: any clock that is not 0 and goes on. */
#define LANES_SLOW_MS 1000
void lanes_report(lanes_t *l, int64_t now_ms, int *ret_n, lane_report_t **ret);
