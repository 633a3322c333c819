/* driver_int.h: private to the files of the driver: driver*.c and runtime*.c. Everything is the control thread's unless it says otherwise. */
#pragma once
#include "common/mailbox.h"
#include "state/kstate_env.h"
#include "worker/agent.h"
#include "worker/base.h"
#include "worker/checkpoint.h"
#include "worker/driver.h"
#include "worker/lanes.h"
#include "worker/memory.h"
#include "worker/shuffle/endpoint.h"
#include "worker/slot.h"
#include <pthread.h>
#include <stdatomic.h>

typedef struct runtime runtime_t;

/* ---- messages into the control thread */
typedef enum note_kind {
    NOTE_MESSAGE,   /* link -> : msg, link */
    NOTE_CLOSED,    /* link -> : error, link */
    NOTE_FENCE,     /* builder -> : rt, whose lanes are known: they take their producers while the builder restores */
    NOTE_BUILT,     /* builder -> : rt, error */
    NOTE_SEALED,    /* slot -> : rt, seal */
    NOTE_FAILED,    /* slot, data port, lanes, base -> : job, attempt, stage, subtask, where, error */
    NOTE_ENDED,     /* slot -> : rt, stage, subtask */
    NOTE_REMOVED,   /* slot -> : rt, stage, subtask */
    NOTE_WRITTEN,   /* checkpoint -> : done */
    NOTE_DROPPED,   /* checkpoint -> : job, attempt */
    NOTE_LANE,      /* lane driver -> : rt, entry, answer */
    NOTE_BASED,     /* base -> : job, attempt, epoch, base */
    NOTE_BASE_GONE, /* base -> : job, attempt */
    NOTE_TORN,      /* builder -> : job, attempt: nothing acts for it any more; its memory and its local base are still being freed */
    NOTE_FREED,     /* builder -> : job, attempt: nothing is left of it; its thread ends */
    NOTE_LEAVE,     /* anyone -> */
    NOTE_STATUS,    /* worker_status -> : it waits for the document */
    NOTE_QUIT,      /* worker_free -> */
} note_kind_t;
typedef struct note {
    note_kind_t kind;
    runtime_t *rt;
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch;
    uint32_t link;
    ctl_msg_t *msg;
    err_t *error;
    task_seal_t *seal;
    int stage, subtask;
    char *where;
    checkpoint_done_t done;
    lanes_entry_t *entry;
    lane_answer_t answer;
    base_t *base;
} note_t;
void worker_post(worker_t *w, note_t n); /* any thread; takes what n owns */
void note_free(void *note);

/* ---- an attempt on this worker */
typedef struct runtime_task {
    runtime_t *rt;
    int stage, subtask;
    slot_task_t *slot;
    bool removed;          /* the slot has let go of it */
    int slot_index;
    task_t *task;          /* built and not yet given to the slot */
    bool added, source;
    slot_task_stats_t last; /* as of the last heartbeat, for shares of time */
    struct { int64_t ns; uint64_t in, out, in_rate, out_rate; } rate; /* rows at `ns`, and a second before it */
    uint64_t epoch_ms;     /* of the last epoch it has sealed */
} runtime_task_t;

typedef struct runtime_ring { /* the consumer's end of a ring until its task is built */
    struct runtime_ring *next;
    int edge, from, to;
    channel_in_t *in;
} runtime_ring_t;

typedef struct restored_segment { /* unpublished output out of the manifest, until the lanes get it at launch */
    struct restored_segment *next;
    uint64_t fingerprint;
    int lane;
    epoch_t epoch;
    buf_t bytes;
} restored_segment_t;

struct runtime {
    runtime_t *next;
    worker_t *w;
    ctl_msg_t *deploy;
    job_id_t job;
    attempt_t attempt;
    uint64_t incarnation, leader;
    /* the builder's threads', one after the other, until NOTE_BUILT, then the control thread's */
    plan_t *plan;
    int ntasks;
    runtime_task_t *tasks;
    runtime_ring_t *rings;
    char *dir;             /* of the local base; removed with the runtime, and the job's directory when nothing else is in it */
    kstate_env_t *state;
    applier_t *applier;    /* the base thread's while base_open */
    uint64_t replayed;
    kept_job_t *kept; /* of the builder, then of the base thread */
    lanes_t *lanes;        /* the control thread's from NOTE_FENCE on, but for lanes_has */
    restored_segment_t *segments, **segments_end; /* ascending epochs per lane */
    bool base_open;        /* base_add was called */
    bool has_base;         /* open_base was called; the thread that needed it first */
    char *culprit;         /* of a failed build: a peer, a path */
    bool damaged;          /* of a failed build: a file that the manifest names is not whole */
    bool unusable;         /* of a failed build: no directory could be had below --data */

    atomic_bool cancel;    /* the builder may give up */
    atomic_int_fast64_t clock_ms; /* processing time, never decreasing (hazards A9); any thread */
    _Atomic(const char *) doing;  /* what the builder does to it, for people */
    runtime_t *queued;     /* the builder's */
    bool building, started, tearing, torn; /* torn: to be freed */
    bool parked;           /* building, but not begun: the attempt before it is still being freed, and its memory is needed */
    bool fenced;           /* NOTE_FENCE came: the lanes are ours */
    bool unconfirmed;      /* the coordinator was lost since it named this attempt: no lane may take a producer anew (hazards B9) */
    struct { bool begun, writer, base, lanes; int tasks; } awaits; /* what a teardown still waits for, once begun */
    bool lanes_closing;
    atomic_bool busy_reported; /* by the last heartbeat; else slots wake the control thread when something happens */
    uint64_t progress_injected; /* runtime_progress as of the last INJECT */
    struct { epoch_t epoch; int64_t ms; } begun[AGENT_EPOCHS_MAX]; /* when the barriers of epochs in flight came to this worker */
    int64_t owed_ms;       /* since when something happened that no INJECT has cut off; 0: nothing */
    int64_t hold_ms;       /* when an INJECT is owed for so long, sources wait */
    atomic_bool held;      /* sources wait; set by the control thread, any thread reads */
    epoch_t base_asked;    /* BARRIER_BASE came with this epoch; 0: not */
    int64_t tearing_since_ms;
    bool said;             /* that it does not end */
};

/* runtime.c: builder's threads, except where it says otherwise */
runtime_t *runtime_new(worker_t *w, ctl_msg_t *deploy);   /* control thread; takes deploy */
err_t *runtime_prepare(runtime_t *rt); /* compiles; tasks and lanes are known */
err_t *runtime_build_task(runtime_t *rt, runtime_task_t *t);
/* runtime_channels.c */
err_t *runtime_open_channels(runtime_t *rt, runtime_task_t *t, task_env_t *env);
void runtime_rings_free(runtime_t *rt);
const ctl_task_t *runtime_placed(const runtime_t *rt, int stage, int subtask); /* any thread; NULL: no such task */
runtime_task_t *runtime_local_task(const runtime_t *rt, int stage, int subtask); /* NULL: not here */
void runtime_failed(runtime_t *rt, err_t *e); /* of no task; takes e; any thread */
/* runtime_restore.c: builds the tasks; state and lanes out of the manifest */
err_t *runtime_restore(runtime_t *rt);
/* runtime_life.c: control thread */
void runtime_fence(runtime_t *rt);    /* lanes take their producers */
void runtime_launch(runtime_t *rt);   /* hands tasks to slots (not started), and the lanes what was restored for them */
void runtime_start(runtime_t *rt);
void runtime_inject(runtime_t *rt, epoch_t epoch, uint32_t flags);
int64_t runtime_hold(runtime_t *rt, int64_t now_ms); /* sources wait when no epoch begins although one is owed; when to look again */
void runtime_sealed(runtime_t *rt, const task_seal_t *seal); /* for statistics */
void runtime_complete(runtime_t *rt, epoch_t epoch);
void runtime_written(runtime_t *rt, checkpoint_done_t *d); /* takes the seals; feeds lanes and base */
void runtime_add_splits(runtime_t *rt, const ctl_msg_t *m);
void runtime_teardown(runtime_t *rt);
void runtime_built(runtime_t *rt);     /* the builder is done with it */
void runtime_answered(runtime_t *rt, bool *awaited);         /* one of rt->awaits came */
void runtime_removed(runtime_t *rt, int stage, int subtask); /* a slot has let go of a task */
void runtime_unconfirm(runtime_t *rt); /* the coordinator is lost */
void runtime_confirm(runtime_t *rt);   /* it named this attempt */
char *runtime_hangs(const runtime_t *rt); /* tearing: what does not end, by name; malloc'ed */
void runtime_free_tasks(runtime_t *rt); /* torn; a thread of its own; then all the rest: */
void runtime_free(runtime_t *rt);      /* closing a base takes time */
int64_t runtime_now_ms(runtime_t *rt); /* any thread */

/* ---- the worker */
typedef enum build_step { BUILD_PREPARE, BUILD_RESTORE, BUILD_STEPS } build_step_t;
typedef struct builder { /* a thread per step, each with a queue */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    runtime_t *queue[BUILD_STEPS]; /* guarded; linked by `queued`, the oldest first */
    bool quit;                     /* guarded */
    bool started;
    int nthreads;
    pthread_t threads[BUILD_STEPS];
} builder_t;

typedef struct discard { /* a runtime that is being freed, by a thread of its own: its memory is not ours any more */
    struct discard *next;
    runtime_t *rt;    /* NULL: `thread` has it */
    pthread_t thread;
    job_id_t job;
    attempt_t attempt;
    char *dir;        /* of its local base */
    int64_t since_ms; /* the thread has it since then */
    bool torn, said;
} discard_t;

typedef struct link_slot { /* a link of ours until its on_closed was handled */
    struct link_slot *next;
    worker_t *w;
    uint32_t generation;
    link_t *link;
} link_slot_t;

struct worker {
    worker_conf_t conf;
    char *address;
    int lock_fd;
    mailbox_t *mail;
    pthread_t thread;
    builder_t builder;
    agent_t *agent;
    agent_actions_t actions;
    int nslots;
    slot_t **slots;
    atomic_int *slot_load; /* tasks placed on each; any thread */
    endpoint_t *endpoint;
    checkpoint_t *checkpoint;
    base_worker_t *base;
    disk_t *kept;          /* state/kept.h */
    memory_t *memory;
    atomic_int bases;      /* local bases open; any thread */
    runtime_t *runtimes;
    discard_t *discards;   /* runtimes that are being freed */
    int64_t watched_ms;
    bool hung;             /* something did not end in its time: it is not waited for again */
    link_slot_t *links;
    link_t *link;          /* of the current generation; NULL: none */
    uint32_t link_generation;
    bool alone_said;       /* that no coordinator answers */
    bool quit, exited;
    int64_t heartbeat_ns;  /* when the last one was made */
    pthread_mutex_t status_lock;
    pthread_cond_t status_there;
    uint64_t rendered;     /* guarded: how often */
    buf_t status;          /* guarded: JSON, made when somebody asks */
};
runtime_t *worker_runtime(worker_t *w, job_id_t job, attempt_t attempt);
void worker_event(worker_t *w, agent_event_t *ev); /* stamps the time, steps the agent */
err_t *builder_start(worker_t *w);
void builder_stop(worker_t *w);
void builder_ask(worker_t *w, runtime_t *rt);
bool builder_free(runtime_t *rt, pthread_t *ret);  /* once it is torn; answers NOTE_TORN, NOTE_FREED; join *ret then. False: no thread could be had */
void builder_withdraw(worker_t *w, runtime_t *rt); /* after `cancel` was set: what no thread has begun is answered at once */

void *worker_control(void *arg);      /* the control thread */
void worker_slot_release(worker_t *w, const runtime_task_t *t);
bool worker_frees(const worker_t *w, job_id_t job);    /* an attempt of it is still being freed */

/* driver_report.c */
ctl_msg_t *worker_heartbeat(worker_t *w);
void worker_write_status(worker_t *w, const ctl_msg_t *heartbeat);
uint64_t runtime_progress(const runtime_t *rt); /* grows with everything that moves */
bool runtime_busy(const runtime_t *rt);         /* worth an epoch */
