/* control.h: the messages between coordinator and workers, and of the client API, as plain C structs: what the cores see.
 * proto/control_codec turns them into protobuf; local mode and the simulator pass the structs themselves.
 *
 * Ownership: a message owns everything in it; ctl_free releases it. Senders give messages away.
 * Fencing: every message about a job carries (leader, job, attempt); the receiver drops what is older than what it
 * holds, in one place (coordinator/core/coord.c: coord_admit, worker/agent.c: agent_admit).
 * All handlers are idempotent: inject, ack and complete may arrive twice; complete(e) is cumulative.
 *
 *   worker -> coordinator                         coordinator -> worker
 *   REGISTER    first on each connection          WELCOME     leader epoch, heartbeat interval
 *   HEARTBEAT   with statistics                   DEPLOY      build and restore tasks of an attempt; do not run
 *   DEPLOYED    every task built and restored     START       all workers deployed: run
 *   ACK         epoch durable, pointers inside    INJECT      barrier to source tasks
 *   PUBLISHED   a lane moved on                   COMPLETE    manifest durable, cumulative
 *   BASE_DONE   base checkpoint in storage        BASE_ACCEPTED manifest names the base: the changelog before may go
 *   FAILED      attempt failed on this worker     STOP        tear the attempt down; lanes too
 *   STOPPED     attempt is gone                   ADD_SPLITS  newly found splits
 *   ENDED       all tasks' inputs ended           RELEASE     the job is gone: forget local files
 *   DRAIN       worker wants to leave             GOODBYE     the session ends: exit, go elsewhere, or register anew
 *   PROBE       of a standby: are you there?      ALIVE       answers HEARTBEAT and PROBE: the core has heard it */
#pragma once
#include "common/split.h"
#include "state/manifest.h"

#define CONTROL_VERSION_MIN 1
#define CONTROL_VERSION_MAX 1
/* Those of this process (common/crash.h: version_shift). REGISTER and GOODBYE are read whatever version wrote them, and must stay so: by them
 * builds that have no version in common tell each other. */
int ctl_version_min(void);
int ctl_version_max(void);

typedef enum ctl_kind {
    CTL_REGISTER = 1, CTL_HEARTBEAT, CTL_DEPLOYED, CTL_ACK, CTL_PUBLISHED, CTL_BASE_DONE, CTL_FAILED, CTL_STOPPED, CTL_ENDED,
    CTL_DRAIN, CTL_PROBE,
    CTL_WELCOME = 32, CTL_DEPLOY, CTL_START, CTL_INJECT, CTL_COMPLETE, CTL_BASE_ACCEPTED, CTL_STOP, CTL_ADD_SPLITS, CTL_RELEASE,
    CTL_GOODBYE, CTL_ALIVE,
} ctl_kind_t;

/* What a GOODBYE asks for, in its flags; the error says why, for people. */
typedef enum goodbye {
    GOODBYE_EXIT = 1,  /* the process ends: refused, drained, or something in it does not return */
    GOODBYE_ELSEWHERE, /* not the leader: register with another coordinator, everything runs on */
    GOODBYE_ANEW,      /* the session is over and its attempts with it: register anew */
} goodbye_t;

/* In the flags of FAILED. */
#define FAILED_DAMAGED 1u /* a file that the manifest names is missing, torn or wrong; the error says which */
#define FAILED_OWN 2u     /* the worker's own disk: another worker would do better */

/* A job as submitted: enough for any process to compile the same plan. */
typedef struct job_spec {
    char *name;      /* unique among jobs that run */
    char *sql;       /* ${NAME} already replaced */
    char *file;      /* for messages */
    int nset;        /* --set key=value, override SET in the text */
    char **set_keys, **set_values;
    int parallelism;
} job_spec_t;

typedef struct ctl_split { uint64_t fingerprint; int subtask; split_t split; } ctl_split_t;
typedef struct ctl_task { int stage, subtask, worker; } ctl_task_t; /* worker: index in workers */
typedef struct ctl_peer { char *name, *address; } ctl_peer_t;       /* data address host:port */

typedef struct ctl_deploy {
    job_spec_t spec;
    uint64_t plan_hash;
    int parallelism;
    int nworkers; ctl_peer_t *workers;
    int ntasks; ctl_task_t *tasks;
    int nsplits; ctl_split_t *splits;
    manifest_t *manifest; /* to restore: extents, bases, lanes, stage watermarks; epoch 0 at first start */
    bool lanes_only;      /* nothing to process, only unpublished output (a stopped job) */
} ctl_deploy_t;

typedef struct ctl_lane { uint64_t fingerprint; int lane; uint64_t rows; epoch_t epoch; } ctl_lane_t;
typedef struct ctl_ack {
    extent_t extent;       /* path NULL: nothing to write, the epoch was empty here */
    int nsources; source_pos_t *sources;
    int nstages; stage_pos_t *stages;
    int nlanes; ctl_lane_t *lanes; /* lanes with rows in this epoch */
    int64_t processing_ms;
    uint64_t bytes, rows;  /* rows 0 on all workers: nothing happened */
    int64_t align_ms, write_ms; /* where the time went */
    bool want_base;        /* changelog passed its bound, or memory is short */
    bool ended;            /* every task here has ended */
} ctl_ack_t;

typedef struct task_report {
    int stage, subtask;
    uint64_t rows_in, rows_out, late_rows, bad_records, stale_records, dropped_rows, bytes_in, state_entries, state_bytes;
    uint64_t rows_in_rate, rows_out_rate; /* a second, of late */
    uint64_t epoch_ms; /* of the last epoch: from the barrier's coming to this worker until the task had sealed */
    int64_t watermark;
    uint32_t busy_permille, blocked_permille;
    char *holds_time; /* NULL or the split/input that holds event time back */
    char *blocked_on; /* NULL or the link that was lately full most: "stage 1 subtask 0 at w2" */
} task_report_t;
typedef struct lane_report { uint64_t fingerprint; int lane; char *state; epoch_t published; uint64_t pending_bytes; char *waits_for; } lane_report_t;
typedef struct job_report {
    job_id_t job; attempt_t attempt;
    int ntasks; task_report_t *tasks;
    int nlanes; lane_report_t *lanes;
    char *waiting; /* NULL or what the job waits for here: "checkpoint storage: no space left (3 tries)" */
    bool busy;     /* some source moved, timer fired or output is unpublished since the last epoch: worth an epoch */
    bool full;     /* and sources wait for it: it need not wait for the interval */
} job_report_t;

typedef struct ctl_msg {
    ctl_kind_t kind;
    uint64_t leader;
    job_id_t job;
    uint64_t incarnation;
    attempt_t attempt;
    epoch_t epoch;
    uint32_t flags; /* INJECT: BARRIER_* of engine/channel.h; GOODBYE: goodbye_t; FAILED: FAILED_* */
    err_t *error;   /* FAILED, GOODBYE */
    union {
        struct { char *name; char *address; int slots; uint64_t memory; int version_min, version_max; char *build; } reg; /* REGISTER */
        struct { int njobs; job_report_t *jobs; uint64_t rss; int slots_used; } heartbeat;
        ctl_ack_t ack;
        struct { uint64_t fingerprint; int lane; bool started; } published; /* with epoch; started: the ledger has a record of this incarnation */
        struct { base_t base; } base_done;                            /* with epoch */
        struct { int stage, subtask; char *where; } failed;           /* where: peer or path that is the culprit, or NULL */
        struct { int heartbeat_ms; int timeout_ms; char *coordinator; char *storage; /* URI of checkpoint storage */ } welcome;
        ctl_deploy_t deploy;
        struct { int nsplits; ctl_split_t *splits; } add_splits;
    };
} ctl_msg_t;
ctl_msg_t *ctl_new(ctl_kind_t kind);
ctl_msg_t *ctl_copy(const ctl_msg_t *m);
void ctl_free(ctl_msg_t *m);
const char *ctl_kind_name(ctl_kind_t k);
void ctl_print(buf_t *out, const ctl_msg_t *m); /* one line, for traces: "ACK job=1 attempt=2 epoch=3 .." */
/* Content of parts that are taken out of a message. */
void ctl_ack_done(ctl_ack_t *a);
void job_report_done(job_report_t *r);
struct json_writer; /* common/json.h */
void task_report_json(struct json_writer *w, const task_report_t *t); /* its members but stage, subtask and watermark, into an open object */
job_spec_t job_spec_copy(const job_spec_t *s);
void job_spec_free(job_spec_t *s); /* content */

/* protobuf (proto/control_codec.c) */
void ctl_encode(buf_t *out, const ctl_msg_t *m);
err_t *ctl_decode(slice_t bytes, ctl_msg_t **ret); /* ERR_CORRUPT, ERR_VERSION */

/* ---- client API: one unary call each: JSON in, JSON out, errors as objects. */
typedef enum client_op {
    CLIENT_SUBMIT = 1, CLIENT_JOBS, CLIENT_JOB, CLIENT_CANCEL, CLIENT_STOP, CLIENT_SAVEPOINT, CLIENT_RESUME, CLIENT_WORKERS,
    CLIENT_MANIFEST, CLIENT_LEDGER, CLIENT_FORGET
} client_op_t;
typedef struct client_request {
    client_op_t op;
    job_id_t job;       /* all but SUBMIT, JOBS, WORKERS */
    char *job_name;     /* or by name */
    job_spec_t spec;    /* SUBMIT */
    char *from;         /* SUBMIT --from SAVEPOINT; SAVEPOINT and STOP target */
    bool new_ledger, accept_duplicates;
    int64_t wait_ms;    /* CANCEL, STOP, SAVEPOINT, FORGET: answered by then, if need be with what it waits for; 0: the caller has a limit of its own */
} client_request_t;
#define NOT_THE_LEADER "this coordinator is not the leader (yet)" /* ERR_UNAVAILABLE: nothing was done; another leads, or an election goes on */
typedef struct client_reply {
    err_t *error;
    buf_t json; /* document of the answer */
} client_reply_t;
void client_request_free(client_request_t *r); /* and r */
void client_reply_free(client_reply_t *r);     /* content */
void client_request_encode(buf_t *out, const client_request_t *r);
err_t *client_request_decode(slice_t bytes, client_request_t **ret);
void client_reply_encode(buf_t *out, const client_reply_t *r);
err_t *client_reply_decode(slice_t bytes, client_reply_t *ret);
