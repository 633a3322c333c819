/* coord_int.h: the state behind coord.h. Included by coordinator/core only, and by service.c and rest.c, which read it
 * on the driver's thread and never write. */
#pragma once
#include "coordinator/core/coord.h"
#include "engine/channel.h"

#define EPOCHS_IN_FLIGHT_MAX 4
#define OLDER_MAX 9 /* execution.checkpointing.num-retained is at most one more */
#define EPOCHS_KEPT 16 /* finished epochs remembered for people */

/* ---- workers */
typedef struct member {
    int id;              /* order of first registration; never reused */
    char *name, *address, *build;
    int slots;
    uint64_t memory;
    session_id_t session; /* 0: not connected */
    int64_t heard_ms;
    bool draining;
    int64_t suspect_until_ms; /* gets no tasks before: one end of a link that failed twice, or its own disk did */
    int link_faults;          /* since the last quiet minute */
    int64_t link_fault_ms;
    int link_fault_with;      /* member at the other end of the last one */
    bool link_blamed;         /* suspect_until_ms comes from the last one */
    int own_faults;           /* of its own disk, since the last quiet minute */
    int64_t own_fault_ms;
    uint64_t rss;
    int slots_used_reported;
} member_t;

/* ---- epochs */
typedef struct epoch_ack { bool in; ctl_ack_t ack; } epoch_ack_t;
typedef struct epoch_run {
    epoch_t id;
    uint32_t flags;
    int64_t injected_ms, acked_ms;
    int nacks;
    epoch_ack_t *acks; /* per job worker */
} epoch_run_t;
typedef struct epoch_done { epoch_t id; uint32_t flags; int64_t began_ms, ack_ms, total_ms; uint64_t rows, bytes; } epoch_done_t;
/* `published`: the bound, always an epoch with rows, for which therefore a ledger record exists (A12). `rows`: complete epochs in
 * which the lane has rows, after the bound, ascending; after a restart only the last one is known, and the bound waits for it. */
typedef struct lane_known { uint64_t fingerprint; int lane; epoch_t published; bool started; int nrows; epoch_t *rows; } lane_known_t;

typedef enum put_state { PUT_NONE, PUT_FLYING, PUT_RETRY, PUT_UNKNOWN } put_state_t;

typedef struct epochs {
    int n;
    epoch_run_t run[EPOCHS_IN_FLIGHT_MAX]; /* ascending ids */
    epoch_t next;          /* id of the next one */
    int64_t injected_ms;   /* of the last inject in this attempt */
    bool worth;            /* something happened since the last inject */
    bool want_base, want_savepoint;
    bool final_injected;   /* nothing may be injected any more in this incarnation */
    int64_t base_ms;       /* last base requested */
    manifest_t *last;      /* durable; NULL before the first */
    int nolder; manifest_t *older[OLDER_MAX]; /* kept restorable: those `last` names and that could be read; older.c */
    bool going_back;       /* the next attempt restores `back_to`, chosen when `back_from` was the last; no longer than that: else `last` is tried first */
    epoch_t back_to, back_from;
    err_t *damage;         /* what of `last` is damaged, while older ones are tried */
    err_t *unread;         /* why an older one that `last` names could not be read, when it may be read another time */
    manifest_t *back;      /* of this attempt: restored instead of `last`, not durable yet */
    manifest_t *pending;   /* of the put under way */
    put_state_t put;
    int64_t put_retry_ms, put_delay_ms;
    int nlanes; lane_known_t *lanes; /* what workers told, ahead of `last` */
    epoch_t base_epoch;    /* last epoch injected with BARRIER_BASE in this attempt; 0 none */
    uint64_t completed;    /* epochs completed in this attempt */
    epoch_done_t done[EPOCHS_KEPT];
    uint64_t ndone;
    char *held;            /* NULL or why no epoch is injected */
} epochs_t;

/* ---- jobs */
typedef struct job_worker {
    int member;            /* id */
    session_id_t session;  /* of the deploy; 0 once it is gone */
    int ntasks;
    bool deployed, stopped, ended;
    bool base_in;          /* a base waits for a manifest to name it */
    bool base_offered;     /* the manifest under way names it */
    base_t base;
    epoch_t base_answered; /* epochs.base_epoch once it was answered */
    job_report_t report;   /* last heartbeat's */
    bool has_report;
} job_worker_t;

typedef enum waiter_kind { WAIT_RUNNING = 1, WAIT_TERMINAL, WAIT_SAVEPOINT, WAIT_TARGET, WAIT_FORGOTTEN } waiter_kind_t;
typedef struct waiter {
    call_id_t call;
    waiter_kind_t kind;
    int64_t since_ms, until_ms; /* INT64_MAX: the caller has a limit of its own */
    client_op_t op; char *target; int64_t wait_ms; /* TARGET: what is done once it was checked; RUNNING: wait_ms is the client's own limit */
} waiter_t;

typedef struct split_place { uint64_t fingerprint; char *id; int subtask; } split_place_t;

typedef struct job {
    job_id_t id;
    job_record_t *record;
    job_state_t state;
    int64_t since_ms;      /* in this state */
    char *waiting;         /* WAITING, RESOLVING, RESTARTING: for what */
    bool gone;             /* remove at the end of the step */

    bool persisted;        /* the record is in the store */
    uint64_t version, stored_version, flying_version; /* of the record; flying 0: no PUT_JOB outstanding */
    int64_t store_retry_ms;
    bool forgetting;

    job_shape_t *shape;
    bool resolving; int64_t resolve_retry_ms;
    manifest_t *from;      /* of the savepoint, until the first manifest is durable */
    bool finding; int64_t find_ms;

    attempt_t attempt;
    bool raised, raising;  /* this attempt's transaction is done / outstanding */
    int64_t raise_retry_ms;
    int older_tries;       /* transactions in a row after which an older epoch could not be read */
    int nworkers; job_worker_t *workers;  /* of the attempt, by member id */
    int nunits; int *units;               /* unit -> member id; kept over attempts for minimal movement */
    int nplaces; split_place_t *places;   /* split -> subtask */
    bool squeezed;         /* more units than slots somewhere */
    bool lanes_only;
    int64_t deploy_ms, stop_ms;
    bool closing; job_state_t target;     /* the attempt is being taken down for good; then -> target */
    bool seeking; int64_t seek_ms;         /* orphans.c: a listing is out; nothing before */
    bool seek_restored;    /* of a job that began from a savepoint: its files below other jobs' names are listed, too */
    int nold; char **old; char *old_last; attempt_t old_attempt; /* what it found and was not looked at yet; the body the store named then; when */
    bool swept;            /* terminal: its files were handed to deletion, or are to be kept */

    /* restart.c */
    int failures;          /* attempts in a row without a complete epoch */
    int64_t running_ms;    /* since when this attempt runs; 0 not yet */
    int64_t restart_ms;    /* not before */
    err_t *last_error;     /* of the last attempt that ended */
    struct { uint64_t in, out, late, bad, stale, dropped; int64_t watermark; } totals; /* of this attempt, as last reported; stay when it has ended */
    int64_t outage_began_ms, outage_ms; /* from the loss to RUNNING again */

    epochs_t ep;
    manifest_t *saving;    /* its files are pinned (A7) */
    int64_t saving_ms;     /* since when */
    int64_t save_held_ms;  /* since when a savepoint that was asked for has no epoch under way */
    char *save_target, *saving_target; /* asked for; of the one under way */
    bool saving_stop;      /* the one under way is that of the stop */
    int64_t save_sent_ms;  /* it is being copied since then */
    int64_t save_moved_ms; /* a piece of it was written then */
    uint32_t save_serial;  /* of the copy under way */
    bool save_sent, saved;
    bool save_untold;      /* it has ended, well or with save_error, and clients wait for the record to be durable */
    err_t *save_error;     /* of the last one */
    err_t *stop_error;     /* why the savepoint of the stop is not where it was to go */
    bool keep, keep_looked; /* ended.c: a savepoint of the job that is over is wanted; its last manifest is known */
    char *unpublished;     /* CANCELLED: complete output that was left behind, by lane; NULL: none */
    int ndeferred; char **deferred; /* garbage that waits for the pin */
    int64_t cancel_ms;
    int nwaiters; waiter_t *waiters;
} job_t;

struct coord {
    coord_conf_t conf;
    bool leading;
    bool step_down; /* a write was refused: at the end of the step leadership is given up */
    uint64_t leader;
    int64_t now_ms, wall_ms, leading_ms;
    int64_t tick_ms; /* of the last tick: other events must not put the next one off, or chatty workers hide a silent one */
    uint64_t draw;
    int nmembers; member_t **members; /* by id */
    int njobs; job_t **jobs;          /* by id */
    uint32_t given_up;                /* copies of savepoints of this term that did not move on: they may wake up, and write what nobody else does */
    int held_said;                    /* so many jobs that hold the only copy of their state were spoken of */
    coord_actions_t *out;             /* during a step */
    uint64_t dropped;                 /* stale messages */
};

/* coord.c */
job_t *coord_job(const coord_t *c, job_id_t id);
void coord_log(coord_t *c, coord_log_level_t level, const char *fmt, ...) PRINTF(3, 4);
void coord_reply(coord_t *c, call_id_t call, job_id_t job, err_t *error); /* takes error */
job_t *coord_add_job(coord_t *c, job_record_t *record); /* takes record */
void set_text(char **p, char *text); /* frees the old, takes the new */

/* membership.c */
member_t *member_by_id(const coord_t *c, int id);
member_t *member_by_session(const coord_t *c, session_id_t s);
void member_free(member_t *m);
void membership_message(coord_t *c, session_id_t session, ctl_msg_t **message);
void membership_closed(coord_t *c, session_id_t session);
void membership_tick(coord_t *c);
void membership_forgive(coord_t *c, int64_t stood_ms); /* the driver stood still for so long */
void membership_send(coord_t *c, session_id_t session, ctl_msg_t *m); /* takes m; stamps leader */
void membership_goodbye(coord_t *c, session_id_t session, goodbye_t what, err_t *why); /* takes why */
void membership_expel(coord_t *c, session_id_t session, err_t *why);   /* ends the session, the worker's process exits; takes why */
void membership_link_fault(coord_t *c, member_t *from, const char *where);
void membership_own_fault(coord_t *c, member_t *m);
int member_slots_free(const coord_t *c, const member_t *m, const job_t *except);
bool member_usable(const coord_t *c, const member_t *m);

/* job.c */
job_t *job_new(job_record_t *record); /* takes */
void job_free(job_t *j);
void job_set_state(coord_t *c, job_t *j, job_state_t s);
void job_changed(job_t *j);  /* the record is to be stored */
bool job_stored(const job_t *j);
void job_serve(coord_t *c, job_t *j);
void job_message(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m);
void job_send(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m); /* takes m; stamps job, incarnation, attempt */
void job_send_all(coord_t *c, job_t *j, ctl_kind_t kind, epoch_t epoch, uint32_t flags);
void job_close(coord_t *c, job_t *j, job_state_t target); /* takes the attempt down, then -> target */
void job_fail(coord_t *c, job_t *j, err_t *error);        /* takes error; -> FAILED */
void job_workers_clear(job_t *j);
void job_resolved(coord_t *c, job_t *j, coord_event_t *e);
void job_record_stored(coord_t *c, job_t *j, coord_event_t *e);
bool job_published(const job_t *j); /* every lane has published all that `last` has */

/* deploy.c */
bool deploy_place(coord_t *c, job_t *j); /* false: waits, j->waiting says for what */
bool deploy_fits(const coord_t *c, const job_t *j); /* there are slots for every unit */
void deploy_send(coord_t *c, job_t *j);
void deploy_splits_found(coord_t *c, job_t *j, coord_event_t *e);

/* epoch.c */
void epoch_begin_attempt(coord_t *c, job_t *j, epoch_t floor);
void epoch_end_attempt(job_t *j);
void epoch_start(coord_t *c, job_t *j);
void epoch_ack(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m);
void epoch_published(coord_t *c, job_t *j, const ctl_msg_t *m);
void epoch_base_done(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m);
void epoch_serve(coord_t *c, job_t *j);
void epoch_put(coord_t *c, job_t *j, manifest_t *m); /* takes m */
void epoch_put_retry(coord_t *c, job_t *j);
void epoch_manifest_stored(coord_t *c, job_t *j, coord_event_t *e);
void epoch_set_last(job_t *j, manifest_t *m);
void epoch_free(job_t *j);
int64_t epoch_next_ms(const coord_t *c, const job_t *j);
bool epoch_savepoint_flying(const job_t *j);
void epoch_missing(const coord_t *c, const job_t *j, buf_t *out); /* who has not acked the oldest epoch, by name, tasks and what they wait for */
bool epoch_of_us(const job_t *j); /* `last` is of this incarnation */
epoch_t lane_published_known(const job_t *j, uint64_t fingerprint, int lane);
bool lane_started_known(const job_t *j, uint64_t fingerprint, int lane);

/* epoch_manifest.c */
manifest_t *manifest_first(const job_t *j, uint64_t leader, err_t **reterr);
manifest_t *manifest_reborn(job_t *j, uint64_t leader);
manifest_t *manifest_next(const job_t *j, const epoch_run_t *run, uint64_t leader);
err_t *manifest_check_shape(const manifest_t *m, const job_shape_t *s);
bool manifest_names(const manifest_t *m, const char *path); /* m may be NULL */
void garbage_between(coord_t *c, job_t *j, const manifest_t *old, const manifest_t *now);
/* What was copied out of a savepoint for a job that does not begin from it (NULL: nothing): its names are the job's and its leader's, nobody else has them. */
void garbage_restored(coord_t *c, job_id_t job, const manifest_t *from);
void garbage_unpin(coord_t *c, job_t *j);

/* older.c */
void older_next(const job_t *j, manifest_t *m); /* m: the next manifest, all but which older ones are kept */
/* `now` (taken; or NULL) is the last durable one, and what it and the older ones it keeps name no more is deleted. given: older ones as the
 * store has them; taken, the array is the caller's. */
void older_advance(coord_t *c, job_t *j, manifest_t *now, int ngiven, manifest_t **given);
void older_forget(coord_t *c, job_t *j, const manifest_t *now); /* c NULL: frees only */
bool older_names(const job_t *j, const char *path);
bool older_lacks(const job_t *j, const coord_event_t *e); /* EV_RAISED: one could not be read this time, and is not known from before */
bool older_unread(const job_t *j); /* `last` names one that could not be read: which files it needs is not known */
const manifest_t *older_restored(const job_t *j);            /* what this attempt begins from */
err_t *older_damaged(coord_t *c, job_t *j, err_t *why);      /* takes why; NULL: the attempt ends, and the next tries an older epoch */
void older_calm(job_t *j);                                   /* nothing is known to be damaged any more */
void older_prepare(coord_t *c, job_t *j);                    /* raised: what is restored is settled */
bool older_put(coord_t *c, job_t *j);                        /* all restored; true: wait for its manifest */

/* orphans.c */
void orphans_serve(coord_t *c, job_t *j);
void orphans_found(coord_t *c, job_t *j, coord_event_t *e);
void orphans_forget(job_t *j);

/* restart.c */
void restart_begin(coord_t *c, job_t *j, err_t *cause); /* takes cause */
void restart_serve(coord_t *c, job_t *j);
bool restart_prepare(coord_t *c, job_t *j); /* true: attempt raised, shape known, a manifest durable */
void restart_raised(coord_t *c, job_t *j, coord_event_t *e);
void restart_completed(coord_t *c, job_t *j); /* an epoch of this attempt is complete */
void restart_running(coord_t *c, job_t *j);
void attempt_stop(coord_t *c, job_t *j);
bool attempt_stopped(coord_t *c, job_t *j); /* all are; looks at the deadline */

/* client.c */
void client_event(coord_t *c, call_id_t call, client_request_t *r); /* takes r */
waiter_t *client_add_waiter(const coord_t *c, job_t *j, call_id_t call, waiter_kind_t kind, int64_t wait_ms /* 0: the caller's */);
void client_target_checked(coord_t *c, job_t *j, coord_event_t *e);
void waiter_done(waiter_t *w); /* content */
void client_answer(coord_t *c, job_t *j, waiter_kind_t kind, const err_t *error);
void client_serve(coord_t *c, job_t *j);
job_t *client_find_job(const coord_t *c, const client_request_t *r, err_t **reterr);
err_t *client_name_taken(const coord_t *c, const char *name, const job_t *except);

/* owner.c */
void owner_take(job_t *j, const job_shape_t *shape, const manifest_t *from /* or NULL */); /* where it publishes, into the record */
err_t *owner_refused(const coord_t *c, const job_t *j, const manifest_t *from); /* a live job publishes what it would; NULL: none does */

/* savepoint.c */
void savepoint_begin(coord_t *c, job_t *j); /* `last` is the savepoint */
void savepoint_serve(coord_t *c, job_t *j);
void savepoint_forgive(coord_t *c, int64_t stood_ms); /* as membership_forgive */
void savepoint_moves(coord_t *c, job_t *j, const coord_event_t *e);
void savepoint_saved(coord_t *c, job_t *j, coord_event_t *e);
void savepoint_limit(coord_t *c, job_t *j); /* one whose epoch cannot begin is given up */
void savepoint_tell(coord_t *c, job_t *j); /* clients that wait for one */

/* ended.c */
bool ended_holds_state(const job_t *j); /* it is over, and its own files are the only copy of a state that somebody may still want */
void ended_release(coord_t *c, const job_t *j); /* workers forget it: nothing of it begins again */
void ended_serve(coord_t *c, job_t *j);
void ended_raised(coord_t *c, job_t *j, coord_event_t *e);
void ended_forget(coord_t *c, job_t *j, call_id_t call, int64_t wait_ms);
void ended_forgotten(coord_t *c, job_t *j, coord_event_t *e);
void ended_forget_old(coord_t *c);

/* waits.c */
void waits_for(const coord_t *c, const job_t *j, buf_t *out);  /* what stands between the job and what is asked of it: worker, epoch, lane */
bool waits_unpublished(const job_t *j, buf_t *out);            /* complete output that is not known to be published, by lane; false: none */
