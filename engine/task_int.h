/* task_int.h: the inside of a task, shared by task*.c only. The rules are in task.c's header. */
#pragma once
#include "engine/align.h"
#include "engine/op/op_int.h"
#include "engine/task.h"
#include "state/kstate_env.h"

#define QUEUE_BATCHES 2 /* a node's input is full with this many batches waiting */

/* In-band note of a source to the watermark operator behind it: no row of this split will follow. */
#define ELEMENT_SPLIT_END ((element_kind_t)64)

typedef struct item {
    element_t e;
    int split; /* BATCH: the split its rows are of, -1 unknown; SPLIT_END: which */
} item_t;

typedef struct queue {
    item_t *items;
    uint32_t cap, head, n, batches;
} queue_t;
void queue_push(queue_t *q, item_t it);
item_t queue_pop(queue_t *q);
void queue_free(queue_t *q);

/* What a node still has to do for the element it took, in this order. Each bit is cleared when its call returns OP_DONE. */
enum {
    WORK_TICK = 1 << 0,
    WORK_PROCESS = 1 << 1,
    WORK_FLUSH = 1 << 2,
    WORK_WATERMARK = 1 << 3,
    WORK_SEND_WATERMARK = 1 << 4,
    WORK_SEND_IDLE = 1 << 5,
    WORK_END = 1 << 6,
    WORK_SEND_END = 1 << 7,
    WORK_SEAL = 1 << 8,
    WORK_SEND_BARRIER = 1 << 9,
};

typedef struct node node_t;
typedef struct link {
    node_t *to;
    int input;
} link_t;

typedef struct barrier {
    epoch_t epoch;
    uint32_t flags;
} barrier_t;

typedef struct sealed_splits {
    epoch_t epoch;
    split_list_t splits;
} sealed_splits_t;

struct out {
    node_t *node;
};

struct node {
    task_t *t;
    const plan_op_t *op;
    op_t inst; /* every kind but SOURCE, EXCHANGE_IN */
    bool opened;
    out_t out;
    int nlinks;
    link_t *links; /* consumers within the stage */

    int ninputs;
    queue_t *inputs; /* not EXCHANGE_IN */
    align_t *align;
    int next_input;
    item_t cur; /* the element being worked on, its batch owned */
    int cur_input;
    uint32_t todo;
    int64_t watermark; /* the last one worked through; never decreases */
    int64_t out_watermark;
    barrier_t barrier; /* of WORK_SEAL */
    bool dirty;        /* may hold back rows: flush when idle */
    bool wait;         /* the sink or source cannot go on before the next task_step */
    bool worked;       /* the last run took an element or did something */
    bool ended;
    bool idle;         /* IDLE was sent and nothing since */

    /* EXCHANGE_IN, EXCHANGE_OUT */
    channel_in_t **ins;
    channel_out_t **outs;
    uint64_t *rows; /* per channel since its last barrier (A6) */
    uint64_t *blocked_ms; /* EXCHANGE_OUT, per channel: lately waited for, halved every BLOCKED_HALF_MS */
    int full_channel; /* -1: none was full when the task last stopped */
    int nchannels;
    uint32_t rebalance;
    struct partitioner *part;

    /* SOURCE, VALUES */
    source_t source;
    bool final; /* BARRIER_FINAL went out: nothing more is emitted */
    bool *split_ended; /* told downstream */
    int nsplit_ended;
    barrier_t *injected; /* FIFO */
    int ninjected;
    sealed_splits_t *sealed;
    int nsealed;
    uint64_t rows_since; /* heads: rows in since the last barrier */

    /* SINK: epochs whose barrier passed but whose rows are not all durable outside, ascending */
    epoch_t *unsettled;
    int nunsettled;
    node_t *watermark_node; /* SOURCE: the OP_WATERMARK bound to its splits */
};

typedef struct pending_seal {
    task_seal_t *seal;
    int nodes_left;
} pending_seal_t;

struct task {
    task_env_t env;
    const plan_stage_t *stage;
    eval_ctx_t eval;
    int nnodes;
    node_t *nodes; /* topological order, as the stage's operators */
    int npending;
    pending_seal_t *pending; /* epochs ascending */
    int next_source;
    int64_t now;
    int64_t query_start;
    bool started, failed;
    int64_t blocked_since; /* -1: not blocked by a full output */
    int64_t halved_ms;
    task_stats_t stats;
};

static inline bool task_held(const task_t *t) { /* barriers pass, rows wait; the second: memory */
    return (t->env.held && atomic_load_explicit(t->env.held, memory_order_relaxed)) || (t->env.state && kstate_env_hold(t->env.state));
}

/* task_node.c: one node */
bool node_full(const node_t *n);
bool node_has_input(node_t *n);
err_t *node_run(node_t *n);
err_t *node_failed(const node_t *n, err_t *e); /* names the operator */
void node_emit(node_t *n, item_t it); /* to all consumers; takes it.e.batch */
void node_send_watermark(node_t *n, int64_t wm);
void node_send_idle(node_t *n);
void node_send_end(node_t *n);
err_t *node_send_barrier(node_t *n, barrier_t b);
/* task_io.c: exchanges and sources */
err_t *node_exchange_out(node_t *n, const batch_t *b);
bool node_receive(node_t *n, int *ret_input, item_t *ret, err_t **reterr);
err_t *source_run(node_t *n);
bool source_ready(const node_t *n);
void source_announce_ended(node_t *n);
/* task_seal.c */
pending_seal_t *seal_of(task_t *t, epoch_t epoch, uint32_t flags);
op_status_t node_seal(node_t *n, err_t **reterr);
err_t *task_settle(task_t *t); /* hands over the seals whose sinks have settled meanwhile */
