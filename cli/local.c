/* local.c: `tidegate run`: coordinator and worker in this process, joined by in-process links. The same cores as the daemons; the metadata
 * lives in memory, or with --data in a directory, and then a further run of the same job resumes. */
#include "cli/cli.h"
#include "cli/local_data.h"
#include "cli/progress.h"
#include "common/clock.h"
#include "coordinator/driver.h"
#include "worker/base.h"
#include "worker/driver.h"
#include "worker/lane_kafka.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CALL_MS 60000
#define STOP_MS 30000 /* of what an earlier run left; then it says what is missing */
#define LOOK_MS_MAX 250

typedef struct local {
    const config_t *config;
    cli_job_t job;
    char *dir;       /* of everything this run writes */
    bool temporary;
    meta_store_t *meta;    /* the driver's once there is one */
    job_record_t *earlier; /* --data: the last run of this job; NULL: none */
    disk_t *disk;
    coord_driver_t *driver;
    worker_t *worker;
    lane_driver_t *lanes;
    int signals;
    char id[32];
    pthread_mutex_t lock;
    err_t *worker_error; /* why the worker ended */
} local_t;

/* ---------------------------------------------------------------- directories */

static err_t *open_directory(local_t *l, const job_spec_t *spec) {
    const char *data = config_str(l->config, "data");
    if (data) {
        l->dir = xstrdup(data);
        TRY(local_data_open(data, config_flag(l->config, "fresh"), spec, &l->meta, &l->earlier));
    } else {
        const char *tmp = getenv("TMPDIR");
        l->dir = xprintf("%s/tidegate-run-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(l->dir)) return err_from_errno(errno, "temporary directory %s", l->dir);
        l->temporary = true;
        l->meta = meta_store_memory_new();
    }
    char *store AUTO(auto_free) = xprintf("%s/checkpoints", l->dir);
    return err_wrap(l->temporary ? disk_open_scratch(store, &l->disk) : disk_open_posix(store, true, &l->disk), "--data");
}

/* ---------------------------------------------------------------- processes */

static err_t *compile_job(void *arg, const job_spec_t *spec, plan_t **ret) {
    const local_t *l = arg;
    sql_source_t s = {.text = spec->sql, .len = strlen(spec->sql), .file = spec->file, .parallelism = spec->parallelism, .allow_select = true,
                      .select_json = config_flag(l->config, "json"), .set = {spec->nset, (const char **)spec->set_keys, (const char **)spec->set_values}};
    return sql_compile(&s, ret);
}

static err_t *connect_local(void *arg, int try, const link_handler_t *h, link_t **ret) {
    local_t *l = arg;
    link_t *mine, *theirs;
    local_link_pair(&mine, &theirs);
    mine->handler = *h;
    *ret = mine;
    coord_driver_accept(l->driver, theirs);
    return NULL;
}

static void on_worker_exited(void *arg, err_t *why) {
    local_t *l = arg;
    pthread_mutex_lock(&l->lock);
    if (l->worker_error) err_free(why);
    else l->worker_error = why;
    pthread_mutex_unlock(&l->lock);
}

static void quiet_log(void *arg, coord_log_level_t level, const char *text) {
    log_line(LOG_DEBUG, text, " "); /* what matters to a person comes from the job's document */
}

static err_t *start(local_t *l) {
    char *data AUTO(auto_free) = xprintf("%s/worker", l->dir);
    coord_driver_conf_t conf = {.core = coord_conf_default(), .storage = l->disk, .address = "this process", .compile = compile_job, .compile_arg = l, .log = quiet_log,
                                .meta = TAKE(l->meta)};
    conf.core.settle_ms = 0;
    conf.core.heartbeat_timeout_ms = 60000; /* one process lives or dies as a whole */
    TRY(coord_driver_new(&conf, &l->driver));
    l->lanes = lane_kafka_new();
    worker_conf_t w = {.name = "local", .build = TIDEGATE_VERSION, .data_dir = data, .slots = (int)config_i64(l->config, "slots"),
                       .memory = (uint64_t)config_i64(l->config, "memory"), .storage = l->disk, .listen = "127.0.0.1:0", .connect = connect_local,
                       .compile = compile_job, .lane_driver = l->lanes, .exited = on_worker_exited, .arg = l};
    TRY(worker_start(&w, &l->worker));
    for (int64_t until = clock_mono_ms() + 10000; !coord_driver_leading(l->driver);) {
        if (clock_mono_ms() > until) return err_new(ERR_TIMEOUT, "the metadata in %s could not be taken over in 10 s", l->dir);
        signals_wait(l->signals, 1);
    }
    return NULL;
}

static void stop(local_t *l) {
    worker_free(l->worker);
    coord_driver_free(l->driver);
    lane_kafka_free(l->lanes);
    if (l->meta) l->meta->free(l->meta);
    if (l->disk) l->disk->free(l->disk);
    if (l->temporary) base_remove_tree(l->dir);
    job_record_free(l->earlier);
    free(l->dir);
    err_free(l->worker_error);
    cli_job_done(&l->job);
    if (l->signals >= 0) close(l->signals);
}

/* ---------------------------------------------------------------- calls */

typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool has;
    client_reply_t reply;
    int refs; /* the caller may give up before the answer comes */
} waiter_t;

static void waiter_unref(waiter_t *w) {
    pthread_mutex_lock(&w->lock);
    bool last = --w->refs == 0;
    pthread_mutex_unlock(&w->lock);
    if (!last) return;
    client_reply_free(&w->reply);
    free(w);
}

static void on_reply(void *arg, client_reply_t *reply) {
    waiter_t *w = arg;
    pthread_mutex_lock(&w->lock);
    w->reply = *reply;
    *reply = (client_reply_t){0};
    w->has = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
    waiter_unref(w);
}

static waiter_t *call_begin(local_t *l, client_request_t r) {
    waiter_t *w = xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->done, NULL);
    w->refs = 2;
    client_request_t *copy = xmalloc(sizeof r);
    *copy = r;
    coord_driver_call(l->driver, copy, on_reply, w);
    return w;
}

static bool call_done(waiter_t *w, int wait_ms) {
    int64_t end = clock_mono_ns() + (int64_t)wait_ms * 1000000;
    pthread_mutex_lock(&w->lock);
    while (!w->has && clock_wait_until(&w->done, &w->lock, end)) {}
    bool has = w->has;
    pthread_mutex_unlock(&w->lock);
    return has;
}

static err_t *call(local_t *l, client_request_t r, arena_t *a, json_t **ret) {
    waiter_t *w = call_begin(l, r);
    err_t *e = call_done(w, CALL_MS) ? TAKE(w->reply.error) : err_new(ERR_TIMEOUT, "the coordinator did not answer for %d s", CALL_MS / 1000);
    if (!e && ret) e = json_parse(a, buf_slice(&w->reply.json), ret);
    waiter_unref(w);
    return e;
}

/* ---------------------------------------------------------------- the job */

static bool ended(const char *state) {
    return !strcmp(state, "STOPPED") || !strcmp(state, "FINISHED") || !strcmp(state, "FAILED") || !strcmp(state, "CANCELLED");
}

/* The savepoint of the earlier run, after `op` if one is asked for; *ret NULL: it left nothing to go on from. malloc'ed. */
static err_t *savepoint_of(local_t *l, arena_t *a, client_op_t op, char **ret) {
    json_t *doc;
    TRY(call(l, (client_request_t){.op = op, .job = l->earlier->id, .wait_ms = STOP_MS}, a, &doc));
    const char *path = json_str(json_get(doc, "job"), "savepoint", NULL);
    *ret = path ? xstrdup(path) : NULL;
    return NULL;
}

/* Starts or resumes the job; *ret is what the coordinator said. What the earlier run left is the last word of its own text: another text begins from a
 * savepoint of it, for which it ends first if its process had died. */
static err_t *submit(local_t *l, job_spec_t spec, arena_t *a, json_t **ret) {
    const job_record_t *r = l->earlier;
    bool same = r && local_data_same(&r->spec, &spec), alive = r && !job_state_terminal(r->state);
    bool held = r && !alive && (r->state == JOB_FAILED || (r->state == JOB_STOPPED && !r->savepoint));
    char *from = NULL;
    err_t *e = NULL;
    if (alive && same && r->wanted == WANTED_RUN) { /* it was running when its process died: the coordinator has started it already */
        job_spec_free(&spec);
        return call(l, (client_request_t){.op = CLIENT_JOB, .job = r->id}, a, ret);
    }
    if (held && same) {
        job_spec_free(&spec);
        bool accept = r->state == JOB_FAILED && config_flag(l->config, "accept-duplicates");
        return call(l, (client_request_t){.op = CLIENT_RESUME, .job = r->id, .accept_duplicates = accept}, a, ret);
    }
    if (alive || held) {
        fprintf(stderr, "notice: %s holds this job %s: it is %s, and goes on from there with %s\n", l->dir, same ? "being stopped" : "with another text or other settings",
                alive ? "stopped first" : "copied", same ? "this run" : "those of this run");
        e = savepoint_of(l, a, alive ? CLIENT_STOP : CLIENT_SAVEPOINT, &from);
    } else if (r && r->state == JOB_STOPPED) {
        e = savepoint_of(l, a, CLIENT_JOB, &from);
    }
    if (e) {
        job_spec_free(&spec);
        return err_hint(e, "--fresh begins anew");
    }
    return call(l, (client_request_t){.op = CLIENT_SUBMIT, .spec = spec, .from = from, .new_ledger = from && config_flag(l->config, "new-ledger"),
                                      .accept_duplicates = from && config_flag(l->config, "accept-duplicates")}, a, ret);
}

static err_t *document(local_t *l, arena_t *a, const json_t **ret) {
    json_t *doc;
    client_request_t r = {.op = CLIENT_JOB, .job = strtoull(l->id, NULL, 10)};
    TRY(call(l, r, a, &doc));
    *ret = json_get(doc, "job");
    return *ret ? NULL : err_new(ERR_INTERNAL, "the coordinator's answer has no job");
}

static err_t *error_of(const json_t *job) {
    const json_t *e = json_get(job, "error");
    if (!e) e = json_get(job, "last_error");
    const char *text = json_str(e, "text", "the job failed");
    return err_make(ERR_DATA, text, (int)json_i64(e, "line", 0), (int)json_i64(e, "col", 0), json_str(e, "hint", NULL));
}

/* The last line of stdout, behind all rows. */
static void print_document(local_t *l) {
    waiter_t *w = call_begin(l, (client_request_t){.op = CLIENT_JOB, .job = strtoull(l->id, NULL, 10)});
    if (call_done(w, CALL_MS) && !w->reply.error) puts(buf_cstr(&w->reply.json));
    waiter_unref(w);
}

/* Until the job has ended. The first signal asks it to stop (a savepoint, everything published), a second one goes at once. */
static int watch(local_t *l, progress_t *p) {
    waiter_t *stopping = NULL;
    int status = -1;
    int64_t began = clock_mono_ms();
    while (status < 0) { /* a short job is not made to wait, a long one does not pay for being watched */
        int signal = signals_wait(l->signals, (int)MIN(20 + (clock_mono_ms() - began) / 20, (int64_t)LOOK_MS_MAX));
        if (signal && stopping) {
            fprintf(stderr, "tidegate: ended by a second signal: the last epoch may be unpublished\n");
            status = 128 + signal;
        } else if (signal) {
            progress_say(p, "stopping");
            stopping = call_begin(l, (client_request_t){.op = CLIENT_STOP, .job = strtoull(l->id, NULL, 10)});
        }
        arena_t *a AUTO(arena_freep) = arena_new();
        const json_t *job = NULL;
        err_t *e = document(l, a, &job);
        if (!e) {
            pthread_mutex_lock(&l->lock);
            e = err_copy(l->worker_error);
            pthread_mutex_unlock(&l->lock);
        }
        const char *state = e ? "" : json_str(job, "state", "");
        if (!e) progress_update(p, job);
        if (e) status = cli_fail(e);
        else if (!strcmp(state, "FAILED")) {
            progress_end(p, job);
            cli_fail_sql(error_of(job), l->job.text, l->job.file);
            status = 1;
        } else if (ended(state)) {
            progress_end(p, job);
            if (config_str(l->config, "data") && json_bool(job, "holds_state", false))
                fprintf(stderr, "tidegate: its savepoint could not be copied; what it holds is kept, and a further run with --data goes on from it\n");
            if (config_flag(l->config, "json")) print_document(l);
            status = 0;
        }
    }
    if (stopping) waiter_unref(stopping);
    return status;
}

/* What an earlier run left needs as many slots as it had. */
static err_t *too_narrow(const local_t *l) {
    int slots = (int)config_i64(l->config, "slots");
    if (!l->earlier || job_state_terminal(l->earlier->state) || l->earlier->spec.parallelism <= slots) return NULL;
    return err_hint(err_new(ERR_INVALID, "%s holds this job with %d parallel tasks, as its process died; this run has %d slots", l->dir,
                            l->earlier->spec.parallelism, slots), "run it with --slots %d and end it by Ctrl-C, or --fresh", l->earlier->spec.parallelism);
}

static int run_job(local_t *l) {
    arena_t *a AUTO(arena_freep) = arena_new();
    json_t *doc;
    job_spec_t spec = cli_job_spec(&l->job, l->config);
    err_t *e = open_directory(l, &spec);
    if (!e) e = too_narrow(l);
    if (!e) e = start(l);
    if (e) job_spec_free(&spec);
    else e = submit(l, spec, a, &doc);
    if (e) return cli_fail_sql(e, l->job.text, l->job.file);
    snprintf(l->id, sizeof l->id, "%" PRId64, json_i64(json_get(doc, "job"), "id", 0));
    progress_t *p = progress_new(!config_flag(l->config, "quiet") && isatty(STDERR_FILENO), !config_flag(l->config, "quiet"));
    int status = watch(l, p);
    progress_free(p);
    return status;
}

/* There is no other worker to wait for. */
static err_t *slots_for(const plan_t *p, int slots) {
    int widest = 0;
    for (int i = 0; i < p->nstages; i++) widest = MAX(widest, stage_parallelism(p, p->stages[i]));
    if (widest <= slots) return NULL;
    return err_hint(err_new(ERR_INVALID, "the job needs %d slots, one for each of its %d parallel tasks; this run has %d", widest, widest, slots),
                    "run --slots %d, or lower --parallelism and the tables' 'scan.parallelism' and 'sink.parallelism'", widest);
}

int cmd_run(const config_t *c) {
    cli_log(c, "run", LOG_WARN);
    local_t l = {.config = c, .lock = PTHREAD_MUTEX_INITIALIZER, .signals = -1};
    int slots = (int)config_i64(c, "slots");
    err_t *e_slots;
    int status = cli_load_job(c, true, slots, &l.job);
    if (!status) {
        err_t *e = sql_compile(&l.job.source, &l.job.plan);
        if (e) status = cli_fail_text(e, l.job.text, l.job.file);
    }
    if (!status && (e_slots = slots_for(l.job.plan, slots)) != NULL) status = cli_fail(e_slots);
    if (!status) {
        cli_notices(l.job.plan);
        l.signals = signals_open();
        status = run_job(&l);
    }
    fflush(stdout);
    stop(&l);
    return status;
}
