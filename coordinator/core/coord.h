/* coord.h: the brain of the cluster, as a pure state machine. No I/O, clock, log, thread or third party; the same events
 * give the same actions (everything iterates in order of ids, never of addresses).
 *
 * Sub-machines, each in its own file, all seen through coord_int.h:
 *   membership.c  workers, sessions, heartbeats, drain, suspicion
 *   client.c      requests of clients and who waits for what
 *   job.c         life cycle: one transition table, one setter; job_serve decides the next step
 *   deploy.c      placement on slots, the DEPLOY message     (assign.c: the pure scheduler)
 *   epoch.c       inject, acks, manifest, complete           (epoch_manifest.c: what a manifest says)
 *   orphans.c     files of dead attempts
 *   restart.c     end of an attempt, recovery, delays, giving up
 *   savepoint.c   an epoch that is kept                      (ended.c: of a job that is over; what is forgotten and what is not)
 *   owner.c       who publishes where: one live owner of a ledger
 *   waits.c       what a job waits for, by name
 * An event only changes state and marks; coord_step ends with job_serve for each job, which takes the actions the new state
 * allows. Thread: the driver's. */
#pragma once
#include "coordinator/core/event.h"

typedef struct coord_conf {
    char cluster[64];
    char address[128];         /* where clients and workers find us, told to workers */
    char storage[512];         /* URI of checkpoint storage, told to workers; "" when they know it */
    int64_t heartbeat_ms, heartbeat_timeout_ms;
    int64_t deploy_timeout_ms, stop_timeout_ms;
    int64_t submit_wait_ms;    /* a submit is answered after this, with what the job waits for */
    int64_t settle_ms;         /* a new leader waits so long for all workers before it places jobs on fewer slots */
    int64_t savepoint_wait_ms; /* `savepoint` waits so long for its epoch to begin; then epochs have their own limit */
    int64_t target_wait_ms;    /* so long a directory that is to get a savepoint has to say whether it can be written */
    int64_t copy_stall_ms;     /* a savepoint's copy to a directory that was named is given up when so long no piece of it was written */
    int64_t publish_wait_ms;   /* `cancel` waits so long for complete output to be published */
    int64_t orphan_age_ms;     /* files of dead attempts are removed when they are as old; looked for six times in that time; 0: never */
    int orphans_max;           /* looked at in one go, a second apart */
    int jobs_kept;             /* ended jobs remembered, beside those that hold the only copy of their state: none of these goes by itself */
} coord_conf_t;
coord_conf_t coord_conf_default(void);

typedef struct coord coord_t;
coord_t *coord_new(const coord_conf_t *conf);
void coord_free(coord_t *c);
/* Takes what event.h says is taken; appends actions. Errors are a driver's mistakes (time running backwards). */
err_t *coord_step(coord_t *c, coord_event_t *e, coord_actions_t *ret);
/* When the next EV_TICK is of use. */
int64_t coord_next_ms(const coord_t *c);
bool coord_leading(const coord_t *c);
uint64_t coord_leader(const coord_t *c); /* the epoch of our leadership; 0: we do not lead */
bool coord_named_outside(const char *where); /* a directory that a client named, which may not answer; not one below checkpoint storage */
