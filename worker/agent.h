/* agent.h: the worker's side of the control protocol as a pure state machine: agent_step(event) -> actions. No I/O, no thread, no clock.
 *
 * Session:   AWAY --linked--> GREETING --WELCOME--> HERE --closed--> AWAY (reconnect with back-off)
 *                                                    | LEAVE: DRAIN is sent, then GOODBYE -> GONE
 * Attempt of a job on this worker (one setter, run_set_state, refuses other moves):
 *
 *   BUILDING --built--> BUILT --START--> RUNNING --+
 *      |                  |                 |      | task, link or lane failed
 *      |                  |                 |      v
 *      +------ failed ----+-----------------+--> FAILED
 *      |                  |                 |      |
 *      +------------------+--- STOP, or a newer DEPLOY --> STOPPING --torn--> GONE (or BUILDING of the newer attempt)
 *
 * Invariants
 *  1. Fencing happens in agent_admit and nowhere else: a message of a lower leader, or of an attempt other than ours, does nothing; a GONE
 *     attempt is remembered until RELEASE, so that an old DEPLOY cannot bring it back.
 *  2. No epoch is skipped (hazards A1): segments are written in epoch order, one at a time; a failed write is tried again, with growing
 *     delay, until it succeeds or the attempt ends; one that cannot be built, ever, fails the attempt. An epoch is acked once it is
 *     written, never before.
 *     An epoch without change is acked without a write, but for the first of the attempt: manifest_trim relies on an extent of every worker.
 *  3. INJECT, COMPLETE, START, STOP, DEPLOY may come twice; COMPLETE is cumulative and only for epochs written here.
 *  4. A coordinator that answers no heartbeat for twice the time-out it named in WELCOME is left for another one, if there is one: the hung
 *     and the cut off close no connection. Counted in heartbeats sent, so that a worker that stood still itself blames nobody. Where there is
 *     no other, the connection's own keep-alive decides: leaving would end attempts for nothing.
 *  5. Losing the coordinator stops nothing: tasks run on until the in-flight bound holds them. Acks, failures and publications the
 *     coordinator may have missed are sent again after each WELCOME.
 *  6. Of an attempt that ended nothing is sent but STOPPED. Lanes are torn down with it. */
#pragma once
#include "worker/agent_event.h"

#define AGENT_EPOCHS_MAX 8         /* in flight: the coordinator allows four, a COMPLETE may be on its way; more fail the attempt */
#define AGENT_RETRY_MS_MIN 100     /* of a failed write */
#define AGENT_RETRY_MS_MAX 2000
#define AGENT_CONNECT_MS_MIN 100
#define AGENT_CONNECT_MS_MAX 500
#define AGENT_GREETING_MS 5000     /* no WELCOME within it: try elsewhere */
#define AGENT_DRAIN_MS 30000       /* so long a worker that leaves waits for the coordinator's word */
#define AGENT_ALONE_MS 5000        /* and so long for a coordinator: a standby takes over in one to three seconds */
#define AGENT_HEARTBEAT_MS 250     /* until the coordinator says otherwise */

typedef struct agent agent_t;
typedef struct agent_conf {
    const char *name, *address;    /* of the data port */
    int slots;
    uint64_t memory;
    const char *build;
    bool several;                  /* there is another coordinator to go to when this one is silent */
} agent_conf_t;

typedef enum run_state { RUN_BUILDING, RUN_BUILT, RUN_RUNNING, RUN_FAILED, RUN_STOPPING, RUN_GONE } run_state_t;

agent_t *agent_new(const agent_conf_t *conf); /* copies */
void agent_free(agent_t *a);
/* Takes what the event owns; appends to `out`. */
void agent_step(agent_t *a, agent_event_t *ev, agent_actions_t *out);
/* When the next TICK is of use, monotonic ms; INT64_MAX: none. */
int64_t agent_next_tick_ms(const agent_t *a);
/* Does the message concern us, now? The one place of fencing; raises the leader it holds. */
bool agent_admit(agent_t *a, const ctl_msg_t *m);

/* For reports. */
bool agent_here(const agent_t *a);           /* WELCOME was received and the link is open */
uint64_t agent_leader(const agent_t *a);
const char *agent_coordinator(const agent_t *a); /* as WELCOME named it; NULL before */
bool agent_run_state(const agent_t *a, job_id_t job, attempt_t *ret_attempt, run_state_t *ret_state);
const char *agent_waiting(const agent_t *a, job_id_t job); /* what the job waits for here, or NULL */
bool agent_in_flight(const agent_t *a, job_id_t job);      /* some epoch is begun and not complete */
int agent_live_jobs(const agent_t *a);
const char *run_state_name(run_state_t s);

/* agent_ack.c: the ack of an epoch out of all seals of this worker; pure. */
void ack_from_seals(task_seal_t *const *seals, int n, ctl_ack_t *ret);
bool seals_empty(task_seal_t *const *seals, int n); /* nothing that a restore would need lies in them */
