/* operator.h: the contracts of operators, sources and sinks, and the tables that find them.
 *
 * Operators are resumable. process, watermark and end return OP_MORE when they stopped because out_full(out): they
 * are called again with the same arguments after the consumers have taken what was emitted, and must go on where
 * they were. A barrier is taken only when every call returned OP_DONE. Nothing an operator calls may wait, except a read
 * of the state base. Instances are single-threaded: the task that owns them steps them.
 *
 * Order of calls: open; restore (0..n times, must not emit); start; then process / watermark / end / seal / complete as
 * they come; close (copes with half-open). A NULL slot means its documented default. */
#pragma once
#include "common/split.h"
#include "engine/plan.h"
#include "state/kstate.h"

#define WAITS_FOR_MAX 400 /* bytes of a reason for people: a name and the 256 that a broker's last error may have */

typedef enum op_status { OP_DONE, OP_MORE, OP_FAIL /* *reterr is set */ } op_status_t;

/* Where an operator's output goes; implemented by the task. */
typedef struct out out_t;
bool out_full(const out_t *o);                /* stop emitting: return OP_MORE */
void out_batch(out_t *o, batch_t *b);         /* takes b; empty batches are dropped */
/* Watermarks pass through operators by themselves after `watermark` returned OP_DONE; OP_WATERMARK and operators that
 * hold time back (slot passes_watermark = false) call this. Never decreases. */
void out_watermark(out_t *o, int64_t wm_ms);

/* What an instance may know about its surroundings; borrowed, lives longer than the instance. */
typedef struct op_env {
    const plan_t *plan;
    const plan_stage_t *stage;
    const plan_op_t *op;
    int subtask, parallelism;
    eval_ctx_t *eval;       /* the task's; now_ms set before each call */
    kstate_env_t *state;    /* opens keyed state: kstate_open(state, op->fingerprint, ..) */
    const char *job;        /* job name, for messages and ids */
    uint64_t incarnation;
    uint64_t origin;      /* of a job that has no epoch of its own yet: the incarnation that it began from; else 0 */
    bool forced;          /* likewise: output behind what is restored may come twice, by the operator's word */
    bool final;           /* what is restored is the end: after `restore` comes `close` */
    const char *output_dir; /* scratch for tests; NULL otherwise */
    /* thread-safe: the instance has something to do although no input came (timer, external event) */
    void (*wake)(void *task);
    void *wake_arg;
} op_env_t;

typedef struct op_vtable op_vtable_t;
typedef struct op {
    const op_vtable_t *vt;
    op_env_t env;
    void *self; /* the implementation's, size vt->state_size, zeroed before open */
    /* counters any thread may read roughly */
    uint64_t rows_in, rows_out, late_rows;
    uint64_t dropped_rows; /* by a sink: NULL in a NOT NULL column */
} op_t;

struct op_vtable {
    const char *name;
    size_t state_size;
    bool holds_watermark; /* does not pass watermarks by itself */
    err_t *(*open)(op_t *op);
    /* default: nothing. Bytes written by `seal` in the last complete epoch (not those of kstate, which restores itself) */
    err_t *(*restore)(op_t *op, slice_t bytes);
    err_t *(*start)(op_t *op);
    /* b is borrowed for the call(s); it stays the same until OP_DONE. */
    op_status_t (*process)(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr);
    /* non-decreasing minimum over all inputs; default: OP_DONE */
    op_status_t (*watermark)(op_t *op, int64_t wm_ms, out_t *out, err_t **reterr);
    /* wall clock moved (processing-time timers); called before process when due; default: nothing */
    op_status_t (*tick)(op_t *op, int64_t now_ms, out_t *out, err_t **reterr);
    int64_t (*next_tick_ms)(op_t *op); /* INT64_MAX: none */
    /* all inputs have ended (the watermark is WATERMARK_END by then); default: OP_DONE */
    op_status_t (*end)(op_t *op, out_t *out, err_t **reterr);
    /* barrier: append small non-keyed state to `bytes`; a combiner must be empty (it flushes in `flush`) */
    err_t *(*seal)(op_t *op, epoch_t epoch, buf_t *bytes);
    /* before a watermark or barrier leaves, and when the input is idle: emit what is held back; resumable */
    op_status_t (*flush)(op_t *op, out_t *out, err_t **reterr);
    void (*close)(op_t *op);
    /* the keyed states it opened, 0, 1, .., whatever their slots; NULL past the last: the task seals and restores them. Default: none */
    kstate_t *(*state)(op_t *op, int i);
};
const op_vtable_t *op_vtable_of(op_kind_t kind); /* the one table: engine/operator.c */

/* ---------------------------------------------------------------- sources */
typedef enum src_status {
    SRC_MORE,  /* emitted something or could at once */
    SRC_WAIT,  /* nothing right now; env.wake will be called */
    SRC_ENDED, /* every split has ended */
    SRC_FAIL
} src_status_t;

typedef struct source_vtable source_vtable_t;
typedef struct source {
    const source_vtable_t *vt;
    op_env_t env;
    void *self;
    split_list_t splits; /* the vt's to update: position = of the first row not yet emitted */
    uint64_t rows_out, bytes_in, bad_records;
    uint64_t stale_records; /* came again at or behind an offset that was read, and were dropped (hazards A24): something is wrong below us */
    /* set with SRC_WAIT: poll again at this processing time (eval->now_ms) though nothing wakes; 0 or INT64_MAX: only a
     * wake. A due time in the past means at once. */
    int64_t next_poll_ms;
    char waits_for[WAITS_FOR_MAX]; /* what it waits for outside (a broker that does not answer), for people; "" nothing. Set by poll */
} source_t;

struct source_vtable {
    const char *connector;
    size_t state_size;
    /* Control side (coordinator driver, any thread, may wait up to timeout_ms): checks options and lists all splits with
     * resolved start and end positions. Unknown options are ERR_INVALID with a near name. */
    err_t *(*check)(const table_t *t); /* static check at compile time: options, format, types; no I/O */
    /* The type in which rows carry the metadata `key`, for sinks too; NULL: there is no such key. A column declared with another type is cast. */
    const type_t *(*metadata)(arena_t *a, const char *key);
    /* Can rows of this physical column come with fewer fields than declared? env.op->schema then says which. NULL: no column can. */
    bool (*narrows)(const table_t *t, int column);
    err_t *(*enumerate)(const table_t *t, const options_t *job_set, int timeout_ms, split_list_t *ret);
    /* Task side. `splits` are this subtask's, with the positions to start from. */
    err_t *(*open)(source_t *s);
    /* Emits one batch at most per call, of about BATCH_ROWS_MAX rows at most (a message that holds an array of rows is never
     * split: up to twice as many then) of schema env.op->schema (nscan columns),
     * and updates positions. `split_of` of rows matters for per-split watermarks: a batch holds rows of ONE split;
     * *ret_split is its index. Never waits. */
    src_status_t (*poll)(source_t *s, batch_t **ret_batch, int *ret_split, err_t **reterr);
    /* Adds splits found later. NULL: unsupported. */
    err_t *(*add_splits)(source_t *s, const split_list_t *more);
    /* Barrier, at the positions of `splits`: appends the epoch's dead letters (a segment of engine/lane.h, or nothing) for the lane of
     * op->dead_letters; called only when the plan has one. NULL: it makes none. */
    void (*seal)(source_t *s, epoch_t epoch, buf_t *segment, uint64_t *ret_rows);
    /* Epoch complete: positions as sealed in that epoch (group offset commit). NULL: nothing. */
    void (*complete)(source_t *s, epoch_t epoch, const split_list_t *sealed);
    /* Is split i known to have nothing to read right now (idleness, hazards A11)? NULL: never idle. */
    bool (*caught_up)(source_t *s, int split);
    void (*close)(source_t *s);
};
const source_vtable_t *source_find(const char *connector); /* NULL when unknown; engine/connector/connector.c */

/* ---------------------------------------------------------------- sinks
 * Two families. A *lane* sink (plan op lanes_max > 0) encodes rows into its segment buffer; at the barrier the segment is
 * sealed into the epoch's changelog and published by the lane after the epoch is complete (engine/lane.h). A *direct* sink
 * writes at once (print, blackhole, at-least-once Kafka) or keeps a committed length (filesystem). */
typedef struct sink_vtable sink_vtable_t;
typedef struct sink {
    const sink_vtable_t *vt;
    op_env_t env;
    void *self;
    uint64_t rows_in, bytes_out;
    char waits_for[WAITS_FOR_MAX]; /* as source_t's; set by write and seal */
} sink_t;

struct sink_vtable {
    const char *connector;
    size_t state_size;
    bool takes_updates; /* -U/+U/-D rows as they are (print); upsert-kafka instead sets plan op sink_upsert */
    bool after_only;    /* of them -U are nothing to it: the plan leaves them out */
    err_t *(*check)(const table_t *t);
    /* Control side before the first start: topic exists, directory writable, number of partitions; NULL: nothing. */
    err_t *(*prepare)(const table_t *t, const options_t *job_set, int timeout_ms);
    /* Control side, sinks with lanes: makes what the lanes need elsewhere (Kafka: the ledger topic); names as in the lanes' ids. */
    err_t *(*prepare_lanes)(const table_t *t, const char *cluster, const char *job, int lanes, int timeout_ms);
    err_t *(*open)(sink_t *s);
    err_t *(*restore)(sink_t *s, slice_t bytes); /* bytes of `seal` of the epoch restored; may do I/O, changes nothing outside unless env.final */
    err_t *(*start)(sink_t *s);
    /* OP_MORE: cannot take more now (queue full), env.wake will be called; the batch comes again. */
    op_status_t (*write)(sink_t *s, const batch_t *b, err_t **reterr);
    /* Lane sinks: appends the segment of the epoch (format of engine/lane.h) to `segment` and starts a new one; others: appends their
     * small state to `bytes`. OP_MORE: it cannot yet, env.wake will be called; no row comes before it can. */
    op_status_t (*seal)(sink_t *s, epoch_t epoch, buf_t *bytes, buf_t *segment, err_t **reterr);
    /* Is what was written before the barrier of that epoch durable outside (hazards A15)? OP_MORE: not yet, env.wake will be called. Meanwhile
     * rows and further barriers come; the task hands the epoch's seal over only when this says OP_DONE. Asked after `seal`, epoch after
     * epoch, and never again about one that is. NULL: it is when `seal` says OP_DONE. */
    op_status_t (*settle)(sink_t *s, epoch_t epoch, err_t **reterr);
    err_t *(*complete)(sink_t *s, epoch_t epoch); /* epoch is complete: rename closed parts, ..; NULL: nothing */
    err_t *(*end)(sink_t *s);                     /* all inputs ended, before the last seal; NULL: nothing */
    void (*close)(sink_t *s);
};
const sink_vtable_t *sink_find(const char *connector);
/* Names of all connectors for error messages: "kafka, upsert-kafka, .." */
void connector_names(buf_t *out, bool sinks);
/* Checks that every option key is known to the connector or format, else ERR_INVALID with a near name. */
err_t *options_check_known(const table_t *t, const char *const *known /* NULL-terminated; "properties.*" matches a prefix */);
