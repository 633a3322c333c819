/* rest.c: the driver is asked by the client API; answers come on its thread and are passed on, so the server's thread never waits. */
#include "coordinator/rest.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/metrics_status.h"
#include "common/net/http_server.h"
#include <stdio.h>
#include <stdlib.h>

struct rest { coord_driver_t *driver; http_server_t *server; };

/* ---- documents to Prometheus text */
static void job_summary(metrics_t *m, const json_t *j) {
    const char *id = metrics_text(j, "id"), *name = metrics_text(j, "name"), *state = metrics_text(j, "state");
    const char *const labels[] = {"job", id, "name", name, NULL};
    for (int s = 0; s <= JOB_CANCELLED; s++) {
        const char *each = job_state_name((job_state_t)s);
        METRIC(m, METRIC_GAUGE, "tidegate_job_state", "1 for the state a job is in, 0 for the others.", strcmp(each, state) == 0,
               "job", id, "name", name, "state", each);
    }
    metrics_number(m, METRIC_COUNTER, "tidegate_job_restarts_total", "Restarts of a job.", j, "restarts", 1, labels);
    metrics_number(m, METRIC_COUNTER, "tidegate_job_fallbacks_total", "How often a damaged file made a job go back to an older epoch.", j, "fallbacks", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_job_attempt", "The attempt a job is in.", j, "attempt", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_job_epoch", "The last complete epoch.", j, "epoch", 1, labels);
    METRIC(m, METRIC_GAUGE, "tidegate_job_waiting", "1 while a job waits for something; `tidegate job ID` says for what.",
           *metrics_text(j, "waiting") != 0, "job", id, "name", name);
}

static void job_stages(metrics_t *m, metric_owner_t *o, const json_t *j) {
    const json_t *stages = json_get(j, "stages");
    for (int i = 0; stages && stages->kind == JSON_ARRAY && i < stages->n; i++) {
        const json_t *tasks = json_get(stages->items[i], "tasks");
        for (int k = 0; tasks && tasks->kind == JSON_ARRAY && k < tasks->n; k++) {
            o->worker = metrics_text(tasks->items[k], "worker");
            metrics_task(m, o, metrics_text(stages->items[i], "id"), tasks->items[k]);
        }
    }
}

static void job_detail(metrics_t *m, int64_t wall_ms, const json_t *j) {
    metric_owner_t o = {"tidegate_", metrics_text(j, "id"), metrics_text(j, "name"), "", wall_ms};
    const char *const labels[] = {"job", o.job, "name", o.name, NULL};
    metrics_number(m, METRIC_COUNTER, "tidegate_job_rows_in_total", "Rows a job has read.", j, "rows_in", 1, labels);
    metrics_number(m, METRIC_COUNTER, "tidegate_job_rows_out_total", "Rows a job has put out.", j, "rows_out", 1, labels);
    metrics_number(m, METRIC_COUNTER, "tidegate_job_late_rows_total", "Rows that came after their window was closed.", j, "late_rows", 1, labels);
    metrics_number(m, METRIC_COUNTER, "tidegate_job_bad_records_total", "Records that could not be decoded.", j, "bad_records", 1, labels);
    metrics_number(m, METRIC_COUNTER, "tidegate_job_stale_records_total", "Records that came again behind their offset and were dropped.", j, "stale_records", 1, labels);
    metrics_number(m, METRIC_COUNTER, "tidegate_job_dropped_rows_total", "Rows a sink dropped for a NULL in a NOT NULL column.", j, "dropped_rows", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_job_last_outage_seconds", "How long the last restart took.", j, "last_outage_ms", 0.001, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_job_epochs_in_flight", "Epochs that are not complete yet.", j, "epochs_in_flight", 1, labels);
    metrics_watermark(m, "tidegate_job_watermark_seconds", "tidegate_job_watermark_lag_seconds", wall_ms, j, labels);
    const json_t *epochs = json_get(j, "epochs");
    if (epochs && epochs->kind == JSON_ARRAY && epochs->n > 0) { /* the newest comes first */
        const json_t *e = epochs->items[0];
        metrics_number(m, METRIC_GAUGE, "tidegate_job_epoch_duration_seconds", "From barrier to manifest, of the last complete epoch.", e,
                       "duration_ms", 0.001, labels);
        metrics_number(m, METRIC_GAUGE, "tidegate_job_epoch_bytes", "Bytes the last complete epoch has written.", e, "bytes", 1, labels);
        metrics_number(m, METRIC_GAUGE, "tidegate_job_epoch_rows", "Rows of the last complete epoch.", e, "rows", 1, labels);
    }
    job_stages(m, &o, j);
    const json_t *lanes = json_get(j, "lanes");
    for (int i = 0; lanes && lanes->kind == JSON_ARRAY && i < lanes->n; i++) metrics_lane(m, &o, lanes->items[i]);
}

static void one_worker(metrics_t *m, const json_t *w) {
    const char *name = metrics_text(w, "name"), *state = metrics_text(w, "state");
    const char *const labels[] = {"worker", name, NULL};
    METRIC(m, METRIC_GAUGE, "tidegate_worker_up", "1 while a worker is live.", strcmp(state, "live") == 0, "worker", name);
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_rss_bytes", "Memory of a worker's process.", w, "rss", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_memory_bytes", "Memory budget of a worker.", w, "memory", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_slots", "Slots of a worker.", w, "slots", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_slots_free", "Slots of a worker without a task.", w, "slots_free", 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_heartbeat_age_seconds", "Time since a worker was heard.", w, "heard_ms", 0.001, labels);
}

static err_t *add_list(metrics_t *m, arena_t *a, slice_t text, const char *list, void (*each)(metrics_t *, const json_t *)) {
    json_t *o = NULL;
    TRY(err_wrap(json_parse(a, text, &o), "list of %s", list));
    const json_t *items = json_get(o, list);
    for (int i = 0; items && items->kind == JSON_ARRAY && i < items->n; i++) each(m, items->items[i]);
    return NULL;
}

static err_t *add_all(metrics_t *m, arena_t *a, int64_t wall_ms, slice_t jobs, int ndetails, const slice_t *details, slice_t workers) {
    TRY(add_list(m, a, jobs, "jobs", job_summary));
    for (int i = 0; i < ndetails; i++) {
        json_t *o = NULL;
        TRY(err_wrap(json_parse(a, details[i], &o), "status of a job"));
        const json_t *j = json_get(o, "job");
        if (j) job_detail(m, wall_ms, j);
    }
    return add_list(m, a, workers, "workers", one_worker);
}

err_t *rest_metrics(buf_t *out, bool leading, int64_t wall_ms, slice_t jobs, int ndetails, const slice_t *details, slice_t workers) {
    AUTO(arena_freep) arena_t *a = arena_new();
    metrics_t *m = metrics_new();
    METRIC(m, METRIC_GAUGE, "tidegate_build_info", "Always 1; the version is a label.", 1, "version", TIDEGATE_VERSION);
    METRIC(m, METRIC_GAUGE, "tidegate_leader", "1 while this coordinator leads.", leading);
    err_t *e = leading ? add_all(m, a, wall_ms, jobs, ndetails, details, workers) : NULL;
    if (!e) metrics_print(m, out);
    metrics_free(m);
    return e;
}

/* ---- GET /metrics: jobs, then each job that has not ended, then workers, one question after the other */
typedef struct gather {
    coord_driver_t *driver;
    http_call_t *call;
    buf_t jobs;
    int n, at;
    job_id_t *ids;
    buf_t *details;
    int ndetails;
} gather_t;

static void gather_free(gather_t *g) {
    buf_free(&g->jobs);
    for (int i = 0; i < g->ndetails; i++) buf_free(&g->details[i]);
    free(g->details);
    free(g->ids);
    free(g);
}

static void ask(coord_driver_t *d, client_op_t op, job_id_t job, const char *name, coord_reply_fn fn, void *arg) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = op;
    r->job = job;
    r->job_name = name ? xstrdup(name) : NULL;
    coord_driver_call(d, r, fn, arg);
}

static void got_workers(void *arg, client_reply_t *reply) {
    gather_t *g = arg;
    slice_t *details = xcalloc((size_t)g->ndetails + 1, sizeof *details);
    for (int i = 0; i < g->ndetails; i++) details[i] = buf_slice(&g->details[i]);
    buf_t out = buf_make((size_t)64 << 20);
    err_t *e = TAKE(reply->error);
    if (!e) e = rest_metrics(&out, true, clock_wall_ms(), buf_slice(&g->jobs), g->ndetails, details, buf_slice(&reply->json));
    if (e) {
        buf_free(&out);
        http_answer_err(g->call, e);
    } else {
        http_answer(g->call, 200, HTTP_METRICS, &out);
    }
    free(details);
    client_reply_free(reply);
    gather_free(g);
}

static void got_job(void *arg, client_reply_t *reply) {
    gather_t *g = arg;
    if (!reply->error) { /* a job may have been forgotten meanwhile */
        g->details[g->ndetails++] = reply->json;
        reply->json = (buf_t){0};
    }
    client_reply_free(reply);
    if (++g->at < g->n) ask(g->driver, CLIENT_JOB, g->ids[g->at], NULL, got_job, g);
    else ask(g->driver, CLIENT_WORKERS, 0, NULL, got_workers, g);
}

static bool has_ended(const char *state) {
    for (int s = 0; s <= JOB_CANCELLED; s++)
        if (job_state_terminal((job_state_t)s) && strcmp(job_state_name((job_state_t)s), state) == 0) return true;
    return false;
}

static err_t *list_ids(gather_t *g) {
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    TRY(json_parse(a, buf_slice(&g->jobs), &o));
    const json_t *jobs = json_get(o, "jobs");
    int n = jobs && jobs->kind == JSON_ARRAY ? jobs->n : 0;
    g->ids = xcalloc((size_t)n + 1, sizeof *g->ids);
    g->details = xcalloc((size_t)n + 1, sizeof *g->details);
    for (int i = 0; i < n; i++)
        if (!has_ended(json_str(jobs->items[i], "state", ""))) g->ids[g->n++] = (job_id_t)json_i64(jobs->items[i], "id", 0);
    return NULL;
}

static void got_jobs(void *arg, client_reply_t *reply) {
    gather_t *g = arg;
    err_t *e = TAKE(reply->error);
    g->jobs = reply->json;
    reply->json = (buf_t){0};
    client_reply_free(reply);
    if (!e) e = list_ids(g);
    if (e) {
        http_answer_err(g->call, e);
        gather_free(g);
    } else if (g->n) {
        ask(g->driver, CLIENT_JOB, g->ids[0], NULL, got_job, g);
    } else {
        ask(g->driver, CLIENT_WORKERS, 0, NULL, got_workers, g);
    }
}

static void get_metrics(void *arg, http_call_t *call) {
    rest_t *r = arg;
    if (!coord_driver_leading(r->driver)) {
        buf_t out = buf_make(1 << 16);
        err_t *e = rest_metrics(&out, false, 0, (slice_t){0}, 0, NULL, (slice_t){0});
        if (e) http_answer_err(call, e);
        else http_answer(call, 200, HTTP_METRICS, &out);
        return;
    }
    gather_t *g = xcalloc(1, sizeof *g);
    g->driver = r->driver;
    g->call = call;
    ask(r->driver, CLIENT_JOBS, 0, NULL, got_jobs, g);
}

/* ---- the JSON API */
static void pass_on(void *arg, client_reply_t *reply) {
    http_call_t *call = arg;
    if (reply->error) {
        http_answer_err(call, TAKE(reply->error));
    } else {
        buf_puts(&reply->json, "\n");
        http_answer(call, 200, HTTP_JSON, &reply->json);
    }
    client_reply_free(reply);
}
static void get_jobs(void *arg, http_call_t *call) { ask(((rest_t *)arg)->driver, CLIENT_JOBS, 0, NULL, pass_on, call); }
static void get_workers(void *arg, http_call_t *call) { ask(((rest_t *)arg)->driver, CLIENT_WORKERS, 0, NULL, pass_on, call); }

static void get_job(void *arg, http_call_t *call) {
    const char *text = http_call_rest(call);
    char *end;
    job_id_t id = strtoull(text, &end, 10);
    bool number = *end == '\0' && text[0] >= '0' && text[0] <= '9';
    ask(((rest_t *)arg)->driver, CLIENT_JOB, number ? id : 0, text, pass_on, call);
}

static void get_health(void *arg, http_call_t *call) {
    buf_t out = buf_make(1 << 10);
    buf_printf(&out, "{\"leading\":%s}\n", coord_driver_leading(((rest_t *)arg)->driver) ? "true" : "false");
    http_answer(call, 200, HTTP_JSON, &out);
}

err_t *rest_start(const char *address, coord_driver_t *driver, rest_t **ret, int *ret_port) {
    rest_t *r = xcalloc(1, sizeof *r);
    r->driver = driver;
    const http_route_t routes[] = {{"GET", "/metrics", get_metrics, r}, {"GET", "/health", get_health, r}, {"GET", "/api/jobs", get_jobs, r},
                                   {"GET", "/api/jobs/", get_job, r}, {"GET", "/api/workers", get_workers, r}};
    err_t *e = http_server_new(address, routes, ARRAY_LEN(routes), &r->server, ret_port);
    if (e) {
        free(r);
        return err_wrap(e, "--http");
    }
    *ret = r;
    return NULL;
}

void rest_free(rest_t *r) {
    if (!r) return;
    http_server_free(r->server);
    free(r);
}
