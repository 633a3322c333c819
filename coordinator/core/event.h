/* event.h: everything that goes into the coordinator's core and everything that comes out.
 *
 * Events. An event belongs to the caller of coord_step. The core copies what it keeps, or takes a pointer marked
 * "taken" and leaves NULL in its place; the caller releases the rest with coord_event_done. Time (`now_ms`, monotonic)
 * and randomness (`draw`) arrive in the event: the core has neither.
 *
 * Actions. coord_step appends to a list that belongs to the caller (coord_actions_done frees it). They are performed in
 * the order of the list, with these meanings:
 *   - SEND and CLOSE are put on the link in list order; nothing waits for them.
 *   - PUT_JOB, RAISE, PUT_MANIFEST, FORGET are transactions: those of one job are *begun* in list order and each is answered
 *     by exactly one event. The core never has two transactions of one job outstanding except a PUT_JOB beside another.
 *   - RESOLVE, FIND_SPLITS, CHECK_TARGET, SAVE, FIND_ORPHANS take long and run beside everything else; each is answered by exactly one event.
 *   - DELETE_FILES names files that the last durable manifest no longer names; it is not answered and may be lost.
 * What must be durable before something else happens is never expressed by order in the list: the core waits for
 * the completing event. So a driver that loses a completion stops a job, but never makes it wrong. */
#pragma once
#include "proto/control.h"

typedef uint64_t session_id_t; /* one accepted link; drawn by the driver, never reused */
typedef uint64_t call_id_t;    /* one client call */

/* How a metadata transaction ended. */
typedef enum store_outcome {
    STORE_OK,      /* durable */
    STORE_REFUSED, /* a comparison failed: another leader, attempt or manifest is there */
    STORE_UNKNOWN, /* no answer: it may have happened and may still happen */
    STORE_FAILED   /* certainly not durable; may be tried again */
} store_outcome_t;

/* ---- the shape of a job: what the core must know of a plan. */
typedef struct shape_stage { int id, parallelism; char *label; } shape_stage_t;
typedef struct shape_source {
    uint64_t fingerprint;
    int stage;
    char *label;
    split_list_t splits; /* all of them with resolved start and end; empty when only the shape was asked for */
} shape_source_t;
typedef struct shape_sink {
    uint64_t fingerprint;
    int stage, lanes; /* lanes 0: not a lane sink */
    bool keyed;       /* records have keys: a key's lane, and with it its partition, follows from the number of lanes */
    char *label;
    char *output;     /* where rows go, as a person knows it: "topic 'results'"; NULL: nowhere that another job could write to */
    bool commits;     /* not a lane sink, but holds each row once: what it wrote is cut and shown by complete epochs (filesystem) */
    bool moved;       /* of a job that begins from a savepoint: the savepoint's job, of another name, kept another ledger; both were looked at */
    char *ledger;     /* what its ledger is named after, as engine/connector/kafka_ledger.c names it; NULL: no lane sink */
} shape_sink_t;
typedef struct job_settings {
    int64_t interval_ms;        /* execution.checkpointing.interval */
    int64_t epoch_timeout_ms;   /* execution.checkpointing.timeout */
    int64_t base_interval_ms;
    int64_t discovery_interval_ms; /* 0: no discovery of new splits */
    int64_t restart_delay_ms, restart_delay_max_ms;
    int retained;               /* epochs that are kept restorable, the last among them; execution.checkpointing.num-retained */
    int restart_max;            /* attempts without a complete epoch before the job is FAILED */
    uint64_t unpublished_max;   /* bytes of complete output not yet published; no epoch is injected above it */
} job_settings_t;
typedef struct job_shape {
    char *name; /* the plan's job name */
    uint64_t plan_hash;
    int parallelism;
    int nstages; shape_stage_t *stages; /* stage ids are their indexes */
    int nsources; shape_source_t *sources;
    int nsinks; shape_sink_t *sinks;
    job_settings_t settings;
} job_shape_t;
void job_shape_free(job_shape_t *s); /* and s */
job_shape_t *job_shape_copy(const job_shape_t *s);
job_settings_t job_settings_default(void);

/* ---- the job record: what survives the coordinator, beside manifests. JSON in the metadata store. */
typedef enum job_state {
    JOB_SUBMITTED, JOB_RESOLVING, JOB_WAITING, JOB_DEPLOYING, JOB_RUNNING, JOB_STOPPING, JOB_RESTARTING,
    JOB_STOPPED, JOB_FINISHED, JOB_FAILED, JOB_CANCELLED
} job_state_t;
const char *job_state_name(job_state_t s);
static inline bool job_state_terminal(job_state_t s) { return s >= JOB_STOPPED; }
typedef enum job_wanted { WANTED_RUN, WANTED_STOP, WANTED_CANCEL } job_wanted_t;
typedef struct record_sink { char *label, *output, *ledger; } record_sink_t; /* as in shape_sink_t */
typedef struct job_record {
    job_id_t id;
    uint64_t incarnation;
    job_spec_t spec;
    job_state_t state; /* a terminal state, or JOB_RUNNING for all others: a new leader decides anew */
    job_wanted_t wanted;
    int64_t created_ms, ended_ms; /* wall clock, for people */
    char *from;          /* savepoint it was started from, or NULL */
    bool new_ledger;
    bool forced;         /* of this incarnation the operator said --accept-duplicates */
    bool reopened;       /* it was STOPPED and is resumed: what its last manifest calls final is not */
    char *savepoint;     /* target the last savepoint was copied to, or NULL; of a STOPPED job NULL: its state is in its own files only */
    char *stop_target;   /* where the savepoint of the stop is to go; NULL: below the storage */
    job_id_t family;     /* as the manifest's; of a job that began from no savepoint its own id; 0: not known, the record is older than this field */
    int nsinks; record_sink_t *sinks; /* with `family`: where it publishes, for a leader that has not compiled it yet (owner.c) */
    bool unseen;         /* resumed while nobody knew where it publishes: looked at when it is compiled */
    uint64_t restarts;   /* written when the next attempt runs, not in its way: the last may be missing after a failover */
    epoch_t pin;         /* epoch whose files are being copied to a savepoint; 0 none (A7) */
    err_t *error;        /* of FAILED */
} job_record_t;
void job_record_free(job_record_t *r); /* and r */
void record_sink_add(job_record_t *r, const char *label, const char *output, const char *ledger); /* copies; output, ledger: or NULL */
void record_sinks_clear(job_record_t *r);
job_record_t *job_record_copy(const job_record_t *r);
void job_record_print(buf_t *out, const job_record_t *r);
err_t *job_record_parse(slice_t text, job_record_t **ret); /* ERR_CORRUPT, ERR_VERSION */

/* ---- events */
typedef struct found_split { uint64_t fingerprint; split_t split; } found_split_t;

typedef enum coord_event_kind {
    EV_TICK = 1,        /* time passed */
    EV_LEADING,         /* driver: leadership won and the job records read after that */
    EV_LEADER_LOST,     /* driver: lease lost, or a write was refused */
    EV_MESSAGE,         /* link: a message of a worker */
    EV_CLOSED,          /* link: gone; the session id is dead */
    EV_CLIENT,          /* service: a client's request that changes something */
    EV_RESOLVED,        /* answers ACT_RESOLVE */
    EV_JOB_STORED,      /* answers ACT_PUT_JOB */
    EV_RAISED,          /* answers ACT_RAISE */
    EV_MANIFEST_STORED, /* answers ACT_PUT_MANIFEST */
    EV_SPLITS_FOUND,    /* answers ACT_FIND_SPLITS */
    EV_TARGET_CHECKED,  /* answers ACT_CHECK_TARGET */
    EV_SAVING,          /* of an ACT_SAVE: a piece was written, said now and then */
    EV_SAVED,           /* answers ACT_SAVE */
    EV_FORGOTTEN,       /* answers ACT_FORGET */
    EV_ORPHANS,         /* answers ACT_FIND_ORPHANS */
} coord_event_kind_t;

typedef struct coord_event {
    coord_event_kind_t kind;
    int64_t now_ms;        /* monotonic, never decreases */
    int64_t wall_ms;       /* for people only: no decision depends on it */
    uint64_t draw;         /* random; EV_CLIENT: identities are drawn from it */
    session_id_t session;  /* EV_MESSAGE, EV_CLOSED */
    job_id_t job;          /* answers */
    store_outcome_t outcome;
    err_t *error;          /* why, with outcome != STORE_OK; EV_RESOLVED, EV_SPLITS_FOUND, EV_TARGET_CHECKED, EV_SAVED; taken */
    union {
        struct { uint64_t leader; int njobs; job_record_t **jobs; } leading; /* jobs[i] taken; the array is the caller's */
        ctl_msg_t *message;                                                  /* taken */
        struct { call_id_t call; client_request_t *request; } client;        /* request taken */
        /* both taken; from: manifest of the savepoint; leader: of the action. With an error both or neither: the ledgers forbid it, `from` has no files */
        struct { job_shape_t *shape; manifest_t *from; uint64_t leader; } resolved;
        /* last taken; NULL: there is none yet. older: those it names and that can be read; items taken, the array is the caller's. With STORE_OK and
         * an error: one of them could not be read this time, for the reason that it says */
        struct { attempt_t attempt; epoch_t floor; manifest_t *last; int nolder; manifest_t **older; } raised;
        struct { attempt_t attempt; epoch_t epoch; } manifest_stored;
        struct { int n; found_split_t *items; } splits_found;                /* borrowed */
        struct { call_id_t call; } checked;
        /* target borrowed; leader: of the action. STORE_REFUSED: we do not lead */
        struct { uint64_t leader; uint32_t serial; epoch_t epoch; char *target; } saved; /* SAVING too; serial: of the action */
        /* old files of the job; then, read from the store after they were listed: the attempt, and the body of the last manifest (NULL:
         * there is none). Taken. */
        struct { int n; char **paths; attempt_t attempt; char *last; } orphans;
    };
} coord_event_t;
void coord_event_done(coord_event_t *e); /* frees what was not taken; not e; may be called again */

/* ---- actions */
typedef enum coord_action_kind {
    ACT_SEND = 1,     /* message to a worker */
    ACT_CLOSE,        /* close the link; what was sent before still goes out; EV_CLOSED may follow and is ignored */
    ACT_RESOLVE,      /* compile; with `enumerate` list splits with resolved positions and prepare sinks; look what ledgers say of `from`, and copy it */
    ACT_PUT_JOB,      /* write the job record */
    ACT_RAISE,        /* transaction: compare leader; attempt = max(attempt, above) + 1; answer attempt, floor, last manifest */
    ACT_PUT_MANIFEST, /* transaction: compare leader, attempt and previous manifest; then it has happened */
    ACT_DELETE_FILES,
    ACT_FIND_SPLITS,  /* list splits of all sources as of now */
    ACT_CHECK_TARGET, /* can a savepoint be written there, and is nothing there yet? */
    ACT_SAVE,         /* copy what the manifest names into a self-contained directory */
    ACT_FIND_ORPHANS, /* list the files of the job that are as old, THEN ask the store for its attempt (A14) */
    ACT_FORGET,       /* delete the job's record and manifest pointer */
    ACT_REPLY,        /* answer a client: error, or the document of `job` */
    ACT_RESIGN,       /* leadership is in doubt: give it up; EV_LEADER_LOST has been acted upon already */
    ACT_LOG,
} coord_action_kind_t;
typedef enum coord_log_level { COORD_INFO, COORD_WARN, COORD_ERROR } coord_log_level_t;

/* Everything in an action is owned by it. */
typedef struct coord_action {
    coord_action_kind_t kind;
    session_id_t session; /* SEND, CLOSE */
    job_id_t job;
    union {
        ctl_msg_t *message;                                                /* SEND */
        /* what is copied is named after `leader`; new_ledger, forced: as the record's, for `from` */
        struct { job_spec_t spec; char *from; bool enumerate, new_ledger, forced; uint64_t leader; } resolve;
        job_record_t *record;                                              /* PUT_JOB */
        struct { attempt_t above; } raise; /* attempts of the savepoint it begins from lie below all of its own */
        struct { manifest_t *manifest; uint64_t previous_incarnation, previous_leader; attempt_t previous_attempt; epoch_t previous_epoch;
                 bool first; /* there must be no manifest yet */ } put;    /* PUT_MANIFEST */
        struct { int n; char **paths; } files;                             /* DELETE_FILES */
        struct { job_spec_t spec; } find;                                  /* FIND_SPLITS */
        struct { call_id_t call; char *target; } check;                    /* CHECK_TARGET */
        /* Asks before each file whether `leader` leads still. serial: so many copies of this leader were given up before; files carry it in their names */
        struct { manifest_t *manifest; char *target; uint64_t leader; uint32_t serial; } save;
        struct { int64_t age_ms; bool restored; } orphans;                 /* FIND_ORPHANS; restored: also what it began from, below other jobs' names */
        struct { bool restored; /* it has files of its own below other jobs' names */ } forget; /* FORGET */
        struct { call_id_t call; err_t *error; } reply;
        struct { coord_log_level_t level; char *text; } log;
    };
} coord_action_t;
typedef struct coord_actions { int n, cap; coord_action_t *items; } coord_actions_t;
coord_action_t *coord_actions_add(coord_actions_t *a, coord_action_kind_t kind); /* zeroed; valid until the next add */
void coord_action_done(coord_action_t *a); /* content */
void coord_actions_done(coord_actions_t *a);
const char *coord_action_name(coord_action_kind_t k);
void coord_action_print(buf_t *out, const coord_action_t *a); /* one line, for traces */
