/* sim.h: a whole cluster in one thread, on a virtual clock, out of one seed.
 *
 * Real: coordinator/core, worker/agent, worker/lanes, engine/lane, SQL compiler, tasks with their operators and keyed state, changelog, manifest,
 * applier, bases, restore. Models: network (sim_link.c, sim_channel.c), disk (disk.c), metadata store (etcd.c), Kafka's transaction
 * coordinator (kafka.c), and the drivers that join the cores with them (sim_worker.c, sim_coord.c: what driver*.c and runtime*.c do with threads).
 *
 * Rules that make a seed replay bit for bit: one event heap ordered by (time, sequence number); every draw comes from sim.rng; nothing iterates in
 * order of addresses; no clock. sim_log writes the trace; its hash must be equal for two runs of a seed.
 *
 * A crash: an effect that the swarm has aimed at (sim_point) or a disk call marks its process `dying`; from then on nothing it does has an
 * effect, and when the event is over the process is taken apart (proc_kill). Events of a process carry its generation and die with it. */
#pragma once
#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "coordinator/core/coord.h"
#include "engine/channel.h"
#include "engine/operator.h"
#include "engine/plan.h"
#include "state/disk.h"
#include "worker/agent.h"
#include "worker/lane_driver.h"

#define SIM_MS 1000 /* the clock counts microseconds */
#define SIM_COORDS 2
#define SIM_WORKERS 3
#define SIM_PARTITIONS 4
#define SIM_FAULTS 8
#define SIM_EPOCHS 40 /* a job takes at least about that many */

/* ---- the crash table: what must have been reached over a run of many seeds */
#define SIM_ROWS(X)                                                                                                       \
    X(ROW_BEFORE_SEAL, "worker dies before the seal of an epoch")                                                         \
    X(ROW_SEALED, "worker dies after the seal, before the append")                                                        \
    X(ROW_TORN_APPEND, "worker dies within the append (torn tail)")                                                       \
    X(ROW_UNSYNCED, "worker dies after the append, before the sync")                                                      \
    X(ROW_APPENDED, "worker dies after the sync, before the ack")                                                         \
    X(ROW_ACKED, "worker dies after the ack, before the manifest")                                                        \
    X(ROW_COMPLETED, "worker dies when COMPLETE comes")                                                                   \
    X(ROW_INIT, "worker dies while a lane initialises")                                                                   \
    X(ROW_SEND, "worker dies after COMPLETE, before the transaction begins")                                              \
    X(ROW_IN_TXN, "worker dies inside a transaction")                                                                     \
    X(ROW_COMMIT_SENT, "worker dies after it asked for the commit")                                                       \
    X(ROW_COMMITTED, "worker dies after the commit, before PUBLISHED")                                                    \
    X(ROW_BETWEEN_PARTS, "worker dies between two parts of a large epoch")                                                \
    X(ROW_IN_BASE, "worker dies inside a base checkpoint")                                                                \
    X(ROW_BASE_STORED, "worker dies after a base is stored, before it is accepted")                                       \
    X(ROW_DEPLOY, "worker dies when it is told to build")                                                                 \
    X(ROW_RESTORE, "worker dies while it restores")                                                                       \
    X(ROW_BUILT, "worker dies after it restored, before START")                                                           \
    X(ROW_COMMIT_LOST, "commit's answer lost, it happened")                                                               \
    X(ROW_COMMIT_NOT, "commit's request lost, it did not happen")                                                         \
    X(ROW_COMMIT_LATE, "commit comes late, after doubt")                                                                  \
    X(ROW_TXN_EXPIRED, "broker aborts an open transaction (time-out)")                                                    \
    X(ROW_TXN_FENCED, "a new owner fences an open transaction")                                                           \
    X(ROW_INIT_LOST, "answer of init_transactions lost")                                                                  \
    X(ROW_BROKER_DOWN, "broker is away")                                                                                  \
    X(ROW_C_RAISE, "leader dies when it raises the attempt")                                                              \
    X(ROW_C_DEPLOY, "leader dies between two DEPLOYs")                                                                    \
    X(ROW_C_START, "leader dies between two STARTs")                                                                      \
    X(ROW_C_INJECT, "leader dies between two INJECTs")                                                                    \
    X(ROW_C_PUT, "leader dies before it writes a manifest")                                                               \
    X(ROW_C_BODY, "leader dies between body and pointer of a manifest")                                                   \
    X(ROW_C_FLYING, "leader dies while a manifest is on its way")                                                         \
    X(ROW_C_STORED, "leader dies after the manifest, before COMPLETE")                                                    \
    X(ROW_C_COMPLETE, "leader dies between two COMPLETEs")                                                                \
    X(ROW_C_ACCEPT, "leader dies before it accepts a base")                                                               \
    X(ROW_C_DELETE, "leader dies before it deletes garbage")                                                              \
    X(ROW_ORPHANS, "leader removes files of dead attempts")                                                               \
    X(ROW_LATE, "a row comes whose window has fired")                                                                     \
    X(ROW_ORPHANS_STALE, "files were listed, then the attempt or the leader changed")                                     \
    X(ROW_C_STOP, "leader dies while it stops an attempt")                                                                \
    X(ROW_C_SAVE, "leader dies inside the copy of a savepoint")                                                           \
    X(ROW_PUT_LANDED, "manifest's outcome unknown, it landed")                                                            \
    X(ROW_PUT_NOT, "manifest's outcome unknown, it did not land")                                                         \
    X(ROW_PUT_LATE, "manifest lands after its leader gave it up")                                                         \
    X(ROW_PUT_REFUSED, "manifest of a dead attempt or leader is refused")                                                 \
    X(ROW_RAISE_UNKNOWN, "outcome of raising the attempt unknown")                                                        \
    X(ROW_LEASE_LOST, "leader loses its lease while it lives")                                                            \
    X(ROW_ZOMBIE_LEADER, "paused leader comes back after another took over")                                              \
    X(ROW_ZOMBIE_WORKER, "paused worker comes back after it was given up")                                                \
    X(ROW_LINK, "control link breaks")                                                                                    \
    X(ROW_DATA_LINK, "data link breaks inside an attempt")                                                                \
    X(ROW_PARTITION, "a worker is cut off and comes back")                                                                \
    X(ROW_WRITE_FAILED, "append fails and is written again")                                                              \
    X(ROW_SYNC_FAILED, "sync fails: the file is abandoned")                                                               \
    X(ROW_READ_FAILED, "read fails during a restore")                                                                     \
    X(ROW_DISK_FULL, "disk full in an epoch")                                                                             \
    X(ROW_BASE_FAILED, "a base fails and is made again")                                                                  \
    X(ROW_BASE_LOST, "a worker's local base is corrupt")                                                                  \
    X(ROW_LOST_WRITES, "machine dies: unsynced bytes are lost")                                                           \
    X(ROW_OLDER_UNREAD, "a new leader cannot read what is kept, and reads it again")                                       \
    X(ROW_FELL_BACK, "a damaged file: the job goes back to an older epoch")                                                \
    X(ROW_LANES_BACK, "the same, of a job whose lanes had no rows since")                                                  \
    X(ROW_C_BACK, "leader dies before the older epoch's manifest is durable")                                              \
    X(ROW_DAMAGE_STOPS, "a damaged file: no older epoch may be restored")                                                  \
    X(ROW_DRAIN, "a worker drains and goes")                                                                              \
    X(ROW_STOP, "a client stops the job")                                                                                 \
    X(ROW_BASES_USED, "an attempt is restored from a base")
typedef enum sim_row {
#define X(id, text) id,
    SIM_ROWS(X)
#undef X
        ROWS
} sim_row_t;
extern const char *const sim_row_names[ROWS];

typedef struct sim sim_t;
typedef struct proc proc_t;
typedef struct disk_model disk_model_t;
typedef struct etcd etcd_t;
typedef struct kafka kafka_t;
typedef struct direct_log direct_log_t;
typedef struct sim_worker sim_worker_t;
typedef struct sim_coord sim_coord_t;
typedef struct clink clink_t;
typedef struct xchan xchan_t;

typedef void (*sim_fn)(sim_t *s, void *arg);

struct proc {
    sim_t *s;
    char name[8];
    int index;
    bool alive, dying, machine_lost; /* machine_lost: the crash takes what was not synced */
    uint32_t gen;                    /* of events; a restarted process is another */
    int64_t paused_until;
    int64_t skew_ms;                 /* of its wall clock */
    int64_t cut_until;               /* the network between it and everybody is silent */
    disk_t *disk;                    /* its view of checkpoint storage */
    sim_worker_t *worker;
    sim_coord_t *coord;
};

/* What a seed may do. Numbers are per mille of the fault draws. */
typedef struct mix {
    int64_t fault_every_ms;
    int crash_worker, crash_coord, aim, link, data_link, pause_worker, pause_coord, cut, disk, disk_full, etcd, kafka, broker, drain;
    int64_t latency_us;       /* typical of a message */
    int64_t disk_us;          /* of a sync */
    int64_t txn_timeout_ms;
    int64_t base_interval_ms;
    uint64_t file_bytes;      /* a changelog file is left when it is longer; 0: the default */
    size_t memory;            /* of keyed state; 0: no bound */
    size_t output_max;        /* of a worker, unpublished: its sources wait above it; 0: no bound */
    size_t txn_bytes;         /* a transaction carries at most so much: larger epochs go in parts; 0: as much as the real thing */
    int workers;
    epoch_t stop_after;       /* so many epochs; 0: the job runs to its end */
    epoch_t damage_after;     /* so many epochs a file is damaged; 0: none */
    bool codec;               /* control messages pass through protobuf */
} mix_t;

/* Output of the last two is at least once: they come after those of which every story about lanes is true. JOB_DIRECT: sim_sink.c. */
typedef enum job_kind { JOB_WINDOW, JOB_UPSERT, JOB_FILTER, JOB_TWINS, JOB_KINDS, JOB_LOOSE = JOB_KINDS, JOB_DIRECT } job_kind_t;
typedef struct loose_row { int key; int64_t cnt, total; } loose_row_t;
typedef enum damage_how { DAMAGE_BIT, DAMAGE_TORN, DAMAGE_GONE } damage_how_t;
typedef struct damage { char path[256]; uint64_t at; damage_how_t how; } damage_t;
typedef struct sim_job {
    job_kind_t kind;
    int64_t rows;         /* per partition */
    int64_t span_ms;      /* they arrive over that long */
    int keys;
    bool distinct;        /* JOB_UPSERT: its counts are of distinct values, in large sets */
    int interval_ms;
    int parallelism;
    int lanes;            /* 'sink.parallelism'; 0: not said */
    char *sql;
    plan_t *plan;
    plan_t *before;       /* of the job that it goes on from */
} sim_job_t;

struct sim {
    uint64_t seed;
    int64_t now; /* us */
    rng_t rng;
    struct sim_heap *heap;
    /* trace */
    uint64_t hash;
    bool verbose, keep;  /* print it; keep it in text */
    buf_t text;
    /* faults */
    mix_t mix;
    bool faults_on;
    int aimed;           /* sim_row_t that the next process to reach it dies at; -1 none */
    int64_t aimed_until;
    int aimed_skip;      /* pass so many times before */
    bool aimed_own;      /* it is the one this seed has of its own: not replaced by another */
    uint64_t reached[ROWS];
    uint64_t faults;
    /* the world */
    proc_t procs[SIM_COORDS + SIM_WORKERS];
    int nprocs;
    disk_model_t *disk;
    etcd_t *etcd;
    kafka_t *kafka;
    direct_log_t *direct;
    clink_t *links;
    xchan_t *chans;
    uint64_t serial;
    sim_job_t job;
    damage_t damage;
    int nloose; loose_row_t *loose; /* what a JOB_LOOSE put out, in any order */
    /* what was seen */
    job_id_t job_id;
    uint64_t epochs;      /* manifests that became durable, but the first */
    uint64_t attempts;
    uint64_t memory_short; /* epochs that were complete while a worker's keyed state was over its budget */
    uint64_t output_full;  /* epochs that were complete while the sources of a worker waited for output to be published */
    attempt_t inject_attempt;
    epoch_t inject_before, inject_max; /* ids of the attempts before / of all */
    char *broken;         /* the first violated invariant */
};

/* ---- sim.c */
sim_t *sim_new(uint64_t seed, job_kind_t kind);
void sim_free(sim_t *s);
int64_t sim_now_ms(const sim_t *s);
uint64_t sim_below(sim_t *s, uint64_t n);
int64_t sim_between(sim_t *s, int64_t lo, int64_t hi); /* [lo, hi] */
bool sim_chance(sim_t *s, int permille);
/* p NULL: happens whatever dies. drop frees arg when the event never happens; NULL: free(). */
void sim_at(sim_t *s, int64_t at, proc_t *p, sim_fn fn, void *arg, void (*drop)(void *arg));
bool sim_step(sim_t *s);                 /* one event; false: none is left or an invariant is broken */
void sim_run_until(sim_t *s, int64_t at);
void sim_log(sim_t *s, const char *fmt, ...) PRINTF(2, 3);
void sim_reach(sim_t *s, sim_row_t row);
/* The process is about to pass this point: true: it dies here, do nothing more. */
bool sim_point(sim_t *s, proc_t *p, sim_row_t row);
void sim_aim(sim_t *s, sim_row_t row, int skip); /* the next process to come there dies */
void sim_broken(sim_t *s, const char *fmt, ...) PRINTF(2, 3);
int64_t sim_latency(sim_t *s);           /* of one message now, us */
bool proc_reachable(const sim_t *s, const proc_t *p);
void proc_start(proc_t *p);
void proc_kill(proc_t *p, bool machine);
void proc_restart_later(proc_t *p, int64_t ms);

/* ---- sim_run.c: a seed from submit to the verdict */
typedef struct sim_result { bool ok, stopped; uint64_t hash; uint64_t epochs, faults, attempts; int64_t virtual_ms; char *why; } sim_result_t;
void sim_start(sim_t *s);                /* processes run, the job is submitted */
void sim_faults(sim_t *s); /* until sim_heal */
void sim_heal(sim_t *s);
bool sim_finish(sim_t *s, int64_t within_ms); /* until the job is FINISHED */
void sim_check_output(sim_t *s);
sim_result_t sim_seed(uint64_t seed, bool verbose, uint64_t *reached);
sim_t *sim_draw(uint64_t seed);          /* a simulation with the mix of this seed */

/* ---- sim_job.c */
void sim_job_make(sim_job_t *j, job_kind_t kind);
void sim_job_done(sim_job_t *j);
job_spec_t sim_job_spec(const sim_job_t *j);
err_t *sim_job_shape(sim_t *s, bool enumerate, job_shape_t **ret);
void sim_job_rescale(sim_t *s, int parallelism, int lanes); /* what is submitted next; the job has ended */
void sim_job_check_delivered(sim_t *s, const manifest_t *m); /* JOB_DIRECT: all that lies before its positions is with the broker (A15) */
char *direct_line(int64_t id, slice_t k, int64_t v2);
extern const source_vtable_t *sim_find_source(const char *connector);
extern const sink_vtable_t *sim_find_sink(const char *connector);
char *sim_verify(sim_t *s); /* NULL, or what is wrong with the output; malloc'ed */

/* ---- disk.c */
typedef enum disk_phase { DISK_OTHER, DISK_WRITE, DISK_BASE, DISK_RESTORE, DISK_BODY } disk_phase_t;
disk_model_t *disk_model_new(sim_t *s);
void disk_model_free(disk_model_t *d);
disk_t *disk_view(disk_model_t *d, proc_t *p);
void disk_phase(disk_t *view, disk_phase_t phase);
void disk_fail_next(disk_model_t *d, disk_phase_t phase, int call, err_code_t code); /* the call-th call of that phase */
void disk_full(disk_model_t *d, bool full);
void disk_crashed(disk_model_t *d, proc_t *p, bool machine);
bool disk_has(disk_model_t *d, const char *path, uint64_t bytes); /* exists with so many durable bytes */
err_t *disk_read_all(disk_model_t *d, const char *path, buf_t *ret);
void disk_damage(disk_model_t *d, const char *path); /* one byte of it turns */
void disk_damage_at(disk_model_t *d, const damage_t *what);

/* ---- etcd.c: leader key under a lease, job records, attempts, manifest pointers. Answers come as events of the asking process. */
typedef struct etcd_answer {
    store_outcome_t outcome;
    uint64_t leader;
    job_record_t *record;   /* LOAD; NULL none */
    attempt_t attempt;
    epoch_t floor;
    char *last;             /* path of the last manifest's body; NULL none */
} etcd_answer_t;
typedef void (*etcd_fn)(proc_t *p, void *arg, etcd_answer_t *a);
etcd_t *etcd_new(sim_t *s);
void etcd_free(etcd_t *e);
void etcd_campaign(etcd_t *e, proc_t *p, etcd_fn fn, void *arg);
void etcd_keepalive(etcd_t *e, proc_t *p, uint64_t leader, etcd_fn fn, void *arg);
void etcd_load(etcd_t *e, proc_t *p, uint64_t leader, etcd_fn fn, void *arg);
void etcd_put_job(etcd_t *e, proc_t *p, uint64_t leader, const job_record_t *r, etcd_fn fn, void *arg);
void etcd_raise(etcd_t *e, proc_t *p, uint64_t leader, attempt_t above, etcd_fn fn, void *arg);
void etcd_look(etcd_t *e, proc_t *p, uint64_t leader, etcd_fn fn, void *arg); /* attempt and last manifest, read now */
typedef struct manifest_key { uint64_t leader; attempt_t attempt; epoch_t epoch; } manifest_key_t;
void etcd_put_manifest(etcd_t *e, proc_t *p, uint64_t leader, const manifest_key_t *previous, const manifest_key_t *now, const char *path,
                       etcd_fn fn, void *arg);
void etcd_resign(etcd_t *e, proc_t *p, uint64_t leader);
uint64_t etcd_leader(const etcd_t *e);
int etcd_leader_proc(const etcd_t *e);
const manifest_t *etcd_manifest(const etcd_t *e); /* the durable one, parsed; NULL none */
int etcd_nolder(const etcd_t *e); /* older ones that it keeps */
const manifest_t *etcd_older(const etcd_t *e, int i);
const char *etcd_manifest_path(const etcd_t *e);
job_state_t etcd_job_state(const etcd_t *e);
const job_record_t *etcd_record(const etcd_t *e);
void etcd_fault(etcd_t *e);                       /* one of its ways to be slow or silent, for a while */
void etcd_slow(etcd_t *e, int64_t until, int64_t extra_us);
void etcd_heal(etcd_t *e);
void etcd_slow_looks(etcd_t *e, int64_t extra_us); /* what asks for the attempt after files were listed */
void etcd_revoke(etcd_t *e);                      /* the leader's lease, as a standby does (hazards B6) */
typedef enum etcd_loss { ETCD_FINE, ETCD_LOSE_REQUEST, ETCD_LOSE_ANSWER, ETCD_LATE } etcd_loss_t;
void etcd_lose_next(etcd_t *e, etcd_loss_t how, int64_t late_us);

/* ---- kafka.c */
kafka_t *kafka_new(sim_t *s);
void kafka_free(kafka_t *k);
lane_driver_t *kafka_driver(kafka_t *k, proc_t *p); /* the client side in process p */
void kafka_fault(kafka_t *k);
void kafka_down(kafka_t *k, int64_t until);
void kafka_heal(kafka_t *k);
typedef enum kafka_loss { KAFKA_FINE, KAFKA_LOSE_COMMIT, KAFKA_LOSE_COMMIT_ANSWER, KAFKA_LATE_COMMIT, KAFKA_LOSE_INIT_ANSWER } kafka_loss_t;
void kafka_lose_next(kafka_t *k, kafka_loss_t how);
/* What a read_committed consumer of that sink's topic sees, partition by partition. */
void kafka_read(kafka_t *k, const char *table, void (*fn)(void *arg, int lane, bool has_key, slice_t key, bool has_value, slice_t value), void *arg);
uint64_t kafka_open_transactions(const kafka_t *k);
int64_t kafka_down_until(const kafka_t *k);

/* ---- sim_sink.c: output without transactions */
direct_log_t *direct_new(sim_t *s);
void direct_free(direct_log_t *l);
char *const *direct_lines(const direct_log_t *l, int *ret_n); /* in the order of delivery */
uint64_t direct_undelivered(const direct_log_t *l);           /* under way, or lost */
void direct_opens_at(proc_t *p);
extern const sink_vtable_t *direct_find(const char *connector);

/* ---- sim_link.c: control links. Messages of a link keep their order; a break loses what is under way. */
clink_t *clink_open(sim_t *s, proc_t *worker, proc_t *coord, uint32_t generation);
void clink_send(clink_t *l, bool to_coord, ctl_msg_t *m);
void clink_close(clink_t *l, bool by_coord); /* what was sent before still goes out */
void clink_break(clink_t *l);
void clink_proc_died(sim_t *s, proc_t *p);
clink_t *clink_of(sim_t *s, proc_t *worker, uint32_t generation); /* as the worker knows it */
clink_t *clink_by_session(sim_t *s, proc_t *coord, session_id_t session);
clink_t *clink_random(sim_t *s);
void clink_free_all(sim_t *s);

/* ---- sim_channel.c: data links between workers */
typedef struct xchan_key { job_id_t job; attempt_t attempt; int edge, from, to; } xchan_key_t;
channel_out_t *xchan_open_out(sim_t *s, const xchan_key_t *k, proc_t *producer, proc_t *consumer, int stage, const schema_t *schema);
channel_in_t *xchan_open_in(sim_t *s, const xchan_key_t *k, proc_t *producer, proc_t *consumer, int stage, const schema_t *schema);
bool xchan_break(sim_t *s, proc_t *a, proc_t *b); /* both ends hear of it */
void xchan_proc_died(sim_t *s, proc_t *p);

/* ---- sim_worker.c */
sim_worker_t *sim_worker_new(proc_t *p);
void sim_worker_free(sim_worker_t *w);
void sim_worker_message(proc_t *p, uint32_t generation, ctl_msg_t *m);
void sim_worker_unlinked(proc_t *p, uint32_t generation);
void sim_worker_wake(proc_t *p, job_id_t job, attempt_t attempt, int stage, int subtask);
void sim_worker_link_failed(proc_t *p, job_id_t job, attempt_t attempt, const char *peer);
void sim_worker_lane(proc_t *p, job_id_t job, attempt_t attempt, void *entry, lane_answer_t a);
void sim_worker_describe(proc_t *p); /* into the trace: why nothing goes on */
void sim_worker_leave(proc_t *p); /* SIGTERM: it drains */
bool sim_worker_break_base(proc_t *p); /* it cannot be read nor written any more; false: there is none */
bool sim_worker_runs(const proc_t *p, attempt_t *ret);

/* ---- sim_coord.c */
sim_coord_t *sim_coord_new(proc_t *p);
void sim_coord_free(sim_coord_t *c);
void sim_coord_message(proc_t *p, session_id_t session, ctl_msg_t *m);
void sim_coord_closed(proc_t *p, session_id_t session);
void sim_coord_submit(proc_t *p);
void sim_coord_submit_from(proc_t *p, const char *savepoint);
void sim_coord_stop_job(proc_t *p);
bool sim_coord_leading(const proc_t *p);

/* ---- sim_damage.c */
bool sim_damage(sim_t *s, bool any); /* false: there is nothing to damage that an older epoch does without, or (any) nothing at all */
void sim_crash_workers(sim_t *s);
void sim_new_leader_reads_badly(sim_t *s); /* the leader dies, and to the next one storage does not show an older epoch at once */
void check_fell_back(sim_t *s, const manifest_t *old, const manifest_t *now);
const char *sim_damage_stops(sim_t *s);

/* ---- sim_check.c: invariants, looked at when they could break */
void check_manifest_durable(sim_t *s, const manifest_t *old, const manifest_t *now);
void check_remove(sim_t *s, const proc_t *p, const char *path);
void check_stopped(sim_t *s);
void check_send(sim_t *s, const proc_t *p, const ctl_msg_t *m);
