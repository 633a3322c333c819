/* lane_driver.h: what carries out a lane's actions (engine/lane.h): the Kafka producer and ledger reader, or a test's recorder.
 *
 * All calls come from the worker's control thread and must not wait; answers come from any thread through `answer`. Per lane at most one
 * action is outstanding, and each gets exactly one answer. The action's segment lives until then. */
#pragma once
#include "engine/lane.h"
#include "engine/plan.h"

typedef struct lane_spec {
    const char *cluster, *job; /* for the transactional id; borrowed until CLOSED, as all below */
    uint64_t incarnation;
    attempt_t attempt;
    const plan_t *plan;
    const plan_op_t *op;       /* the OP_SINK: table, options, schema */
    int lane, lanes;
    lane_past_t past;
} lane_spec_t;

typedef enum lane_answer_kind {
    LANE_ANSWER_INITIALISED, /* of DO_INIT */
    LANE_ANSWER_LEDGER,      /* of DO_READ: pos */
    LANE_ANSWER_COMMITTED,   /* of DO_SEND: pos */
    LANE_ANSWER_DOUBT,       /* time-out, disconnect, retriable: error; the driver paces itself, growing to a second or so */
    LANE_ANSWER_FENCED,      /* another producer took the id */
    LANE_ANSWER_POISON,      /* can never succeed: error */
    LANE_ANSWER_CLOSED,      /* the last one; the handle is gone; takes the place of the answer of an outstanding action */
} lane_answer_kind_t;
typedef struct lane_answer {
    lane_answer_kind_t kind;
    ledger_pos_t pos;
    err_t *error; /* given away */
} lane_answer_t;

typedef struct lane_driver lane_driver_t;
typedef struct lane_handle lane_handle_t; /* the driver's end of one lane */
struct lane_driver {
    err_t *(*open)(lane_driver_t *d, const lane_spec_t *spec, void (*answer)(void *arg, lane_answer_t a), void *arg, lane_handle_t **ret);
    void (*start)(lane_driver_t *d, lane_handle_t *h, const lane_action_t *action); /* INIT, READ, SEND */
    /* Abandons an outstanding action as soon as it can (an open transaction is aborted or left to be fenced), then answers CLOSED. */
    void (*close)(lane_driver_t *d, lane_handle_t *h);
    size_t txn_bytes; /* what a transaction carries at most; 0: LANE_TXN_BYTES */
};
