/* meta_store_etcd_int.h: shared by meta_store_etcd.c (thread, requests, the table), etcd_leader.c (campaign and lease), etcd_line.c
 * (a standby's line to the leader) and etcd_write.c (the transactions). One thread owns all of it; calls and HTTP answers reach it by its mailbox. */
#pragma once
#include "common/mailbox.h"
#include "common/net/http_client.h"
#include "coordinator/etcd_api.h"
#include "coordinator/meta_store_etcd.h"
#include <pthread.h>
#include <stdatomic.h>

typedef struct etcd_store etcd_store_t;
typedef struct etcd_op etcd_op_t;

typedef enum etcd_request_kind {
    REQ_POLL, REQ_GRANT, REQ_WIN, REQ_KEEP_ALIVE, REQ_BEAT, REQ_FENCE, REQ_COMPACT, REQ_REVOKE, REQ_READ, REQ_WRITE
} etcd_request_kind_t;

/* A message to the store's thread: a call, or the answer to a request. */
typedef enum etcd_msg_kind { MSG_OP, MSG_CAMPAIGN, MSG_RESIGN, MSG_STOP, MSG_ANSWER, MSG_LINE } etcd_msg_kind_t;
typedef struct etcd_line etcd_line_t;
typedef struct etcd_msg {
    etcd_msg_kind_t kind;
    etcd_store_t *store;
    etcd_op_t *op;              /* OP; ANSWER of READ and WRITE: borrowed */
    void (*lost)(void *arg, err_t *why); void *lost_arg; meta_done_t done; /* CAMPAIGN */
    etcd_request_kind_t request; /* ANSWER */
    uint64_t term;              /* ANSWER: when it was asked; an older one is dropped */
    int endpoint;
    int64_t sent_ms;
    http_response_t response;
    etcd_line_t *line; bool closed; /* LINE: its end, else an answer */
} etcd_msg_t;

typedef enum etcd_op_kind { OP_LOAD, OP_PUT_JOB, OP_RAISE, OP_LOOK, OP_MANIFEST, OP_DELETE } etcd_op_kind_t;
struct etcd_op {
    etcd_op_t *next;
    etcd_op_kind_t kind;
    job_id_t job;
    meta_done_t done;
    int64_t deadline_ms, retry_ms;
    bool sent, writing; /* a request is under way; it is a write */
    bool uncertain;  /* a write without an answer, and no fence since */
    bool fresh;      /* what is cached of the job was read by this operation */
    int tries;       /* writes that found something else than was read */
    buf_t record;                                   /* PUT_JOB */
    bool has_previous; meta_pointer_t previous, now; /* MANIFEST */
    attempt_t above; bool wrote; meta_attempt_t wanted; /* RAISE */
    char *from; int nrecords; char **records;       /* LOAD: next key; so far */
    err_t *why;                                     /* the last trouble */
};

/* What a job's keys held when they were last read or written by us. */
typedef struct etcd_job {
    job_id_t id;
    bool has_attempt, has_last;
    meta_attempt_t attempt; int64_t attempt_mod;
    meta_pointer_t last; int64_t last_mod;
} etcd_job_t;

typedef enum etcd_state { ETCD_IDLE, ETCD_STANDBY, ETCD_GRANTING, ETCD_WINNING, ETCD_LEADING } etcd_state_t;

/* One connection of a standby to the leader. */
struct etcd_line { etcd_store_t *store; link_t *link; };

/* What a standby knows of the leader; the decision is a function of it alone. Times are counted only while we were looking: neither our own
 * standing still nor that of etcd counts as the leader's. */
typedef struct leader_view {
    bool direct;             /* we speak to the leader at all */
    int64_t term_ms;         /* it leads for so long at least */
    int64_t minimum_term_ms;
    int64_t beat_ms;         /* interval of its beat in etcd */
    int64_t still_ms;        /* the beat has not moved for so long */
    bool ours;               /* it has our address: it was this process before it was started again */
    bool heard;              /* it answered directly, in this term: a line that never worked is no witness */
    bool broken;             /* it did, then the connection broke and no new one answers */
    int64_t unanswered_ms;   /* probes went unanswered for so long */
    int64_t silence_ms;
} leader_view_t;
bool leader_dead(const leader_view_t *v);

struct etcd_store {
    meta_store_t vt;
    meta_etcd_conf_t conf; /* defaults filled in, strings owned */
    char *where, *prefix, *leader_key, *beat_key, *jobs_prefix;
    int nendpoints; char **endpoints; int endpoint;
    http_client_t *http;
    mailbox_t *box;
    pthread_t thread;
    atomic_bool paused, abandon;
    atomic_int resigning; /* resigns not yet handled: `lost` is not called any more */

    /* the thread's */
    bool stopping, unreachable;
    etcd_state_t state;
    uint64_t term; /* counts campaigns and ends of leadership; answers carry it */
    void (*lost)(void *arg, err_t *why); void *lost_arg;
    meta_done_t campaign_done;
    char *leader_value;            /* ours, with this campaign's nonce */
    int64_t lease, leader, fence;  /* ours; create_revision and mod_revision of the leader key */
    int64_t revision;              /* the newest seen */
    bool polling, keeping, beating, fencing, fence_dirty;
    int revoking; /* requests under way */
    int64_t poll_at, win_at, keep_at, beat_at, fence_at, compact_at;
    int64_t renewed_ms, won_ms;    /* last keep-alive sent that was answered; start of the term */
    int64_t campaign_from, lost_wait_ms;
    int64_t compact_to;
    uint64_t beats;
    /* what a standby sees */
    int64_t seen_leader, seen_beat_mod, seen_since, polled_ms, beat_still_ms;
    /* its line to the leader */
    char *line_name;               /* of the leader it leads to */
    etcd_line_t *line;             /* NULL: none now */
    int lines;                     /* open or closing */
    int64_t probe_at;
    int probes;                    /* since the last answer */
    bool line_heard, line_broken;
    etcd_op_t *ops; /* in the order of their calls */
    int njobs; etcd_job_t *jobs;
};

/* meta_store_etcd.c */
void etcd_send(etcd_store_t *s, etcd_request_kind_t kind, const char *path, buf_t *body, int timeout_ms, etcd_op_t *op);
/* Parses; on error turns to the next endpoint when this one is the trouble. *ret_certain: surely without effect. */
err_t *etcd_receive(etcd_store_t *s, etcd_msg_t *m, arena_t *a, etcd_answer_t *ret, bool *ret_certain);
void etcd_notice(etcd_store_t *s, const char *fmt, ...) PRINTF(2, 3);

void etcd_post(etcd_store_t *s, etcd_msg_t *m); /* any thread; takes m */
etcd_msg_t *etcd_msg_new(etcd_msg_kind_t kind);

/* etcd_line.c */
void line_watch(etcd_store_t *s, const char *name); /* the leader is another one, or has another name: begin anew */
void line_drop(etcd_store_t *s);
int64_t line_tick(etcd_store_t *s, int64_t now);    /* when it wants to be called next */
void line_message(etcd_store_t *s, etcd_msg_t *m);

/* etcd_leader.c */
void leader_campaign(etcd_store_t *s, etcd_msg_t *m);
void leader_answer(etcd_store_t *s, etcd_msg_t *m);
int64_t leader_tick(etcd_store_t *s, int64_t now); /* when it wants to be called next */
void leader_lost(etcd_store_t *s, err_t *why);     /* takes why; answers all operations */
void leader_resign(etcd_store_t *s, err_t *why);   /* the same without `lost`; also ends a campaign; takes why */

/* etcd_write.c */
void ops_add(etcd_store_t *s, etcd_op_t *op);
void ops_answer(etcd_store_t *s, etcd_msg_t *m);
int64_t ops_tick(etcd_store_t *s, int64_t now); /* starts what can start, ends what is late */
void ops_fenced(etcd_store_t *s);               /* the fence is new: nothing is uncertain any more */
void ops_end(etcd_store_t *s, store_outcome_t unsent, const err_t *why); /* what was sent is STORE_UNKNOWN */
void op_free(etcd_op_t *op);
