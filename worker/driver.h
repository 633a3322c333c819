/* driver.h: a worker: the agent (worker/agent.h) with threads, files and sockets around it. Used by the daemon and by local mode, several
 * in one process if need be: there are no globals.
 *
 * Threads: one control thread owns agent, runtimes and lanes and performs the agent's actions; it never waits, so heartbeats go on
 * whatever happens. Beside it: slots (tasks), a builder (compile, build, restore), a thread for each attempt that is freed, the checkpoint
 * writer, the base thread, the data port. They all answer by messages into the control thread's mailbox. */
#pragma once
#include "engine/operator.h"
#include "proto/link.h"
#include "state/disk.h"
#include "worker/lane_driver.h"

typedef struct worker worker_t;
typedef struct worker_conf {
    const char *name;          /* unique in the cluster */
    const char *cluster;       /* for ids in other systems; NULL: "tidegate" */
    const char *build;         /* version text */
    const char *data_dir;      /* this worker's own; locked while it runs, made when absent */
    int slots;
    uint64_t memory;           /* budget of the process (RSS), bytes */
    disk_t *storage;           /* checkpoint storage; borrowed, thread-safe */
    const char *listen;        /* data port: "127.0.0.1:0" */
    const char *advertise;     /* HOST peers reach it by; NULL: that of listen */
    bool compress_frames;      /* lz4 between machines */
    int64_t base_interval_ms;  /* 0: 30 s */
    int64_t stuck_ms;          /* what does not end in this time (a step, the end of an attempt) ends the process; 0: 30 s */
    /* Opens a link to a coordinator; `try` counts from 0 since the last success: for choosing among several. Must not wait; a coordinator
     * that cannot be reached is told by on_closed. Control thread. */
    bool several; /* `connect` has more than one coordinator to try */
    err_t *(*connect)(void *arg, int try, const link_handler_t *h, link_t **ret);
    /* The plan of a job. Builder thread; may take its time. NULL: worker_compile. */
    err_t *(*compile)(void *arg, const job_spec_t *spec, plan_t **ret);
    /* Where connectors are looked up; NULL: source_find, sink_find. */
    const source_vtable_t *(*find_source)(const char *connector);
    const sink_vtable_t *(*find_sink)(const char *connector);
    lane_driver_t *lane_driver;/* NULL: exactly-once sinks are refused */
    /* A coordinator took us in and named its checkpoint storage (NULL: it did not): the chance to open it. An error ends the session (`exited`).
     * Control thread; NULL: nothing to do. */
    err_t *(*welcomed)(void *arg, const char *storage_uri);
    /* The session is over: drained (NULL), refused, or something does not end (ERR_INTERNAL: the process should exit). Takes why. Control thread;
     * must not call worker_free. */
    void (*exited)(void *arg, err_t *why);
    void *arg;
} worker_conf_t;

/* Locks the directory, listens, starts the threads and connects. ERR_EXISTS: another worker runs on this directory. */
err_t *worker_start(const worker_conf_t *conf, worker_t **ret);
/* The default of conf.compile: sql_compile of the spec. */
err_t *worker_compile(void *arg, const job_spec_t *spec, plan_t **ret);
void worker_leave(worker_t *w); /* any thread: hand the jobs over and go; `exited` follows; a second call goes at once */
void worker_free(worker_t *w);  /* stops whatever runs, without a word to anybody, and joins all threads */
int worker_port(const worker_t *w);

/* What /metrics and the JSON API show, a JSON document made now; waits for the control thread, at most a second, then it is the one before. Any thread
 * but that one. */
void worker_status(worker_t *w, buf_t *out);
/* Memory of this process in bytes, from /proc; 0 when unknown. */
uint64_t process_rss(void);
