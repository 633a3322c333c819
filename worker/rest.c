#include "worker/rest.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/metrics_status.h"
#include "common/net/http_server.h"
#include <stdlib.h>

struct worker_rest { worker_t *worker; http_server_t *server; };

static void shuffle_metrics(metrics_t *m, const char *worker, const json_t *s) {
    static const struct { const char *field, *name, *help; } counters[] = {
        {"frames_in", "tidegate_worker_shuffle_frames_in_total", "Frames received from other workers."},
        {"frames_out", "tidegate_worker_shuffle_frames_out_total", "Frames sent to other workers."},
        {"bytes_in", "tidegate_worker_shuffle_bytes_in_total", "Bytes received from other workers."},
        {"bytes_out", "tidegate_worker_shuffle_bytes_out_total", "Bytes sent to other workers."},
        {"fenced_frames", "tidegate_worker_shuffle_fenced_frames_total", "Frames of ended attempts that were dropped."},
        {"rejected_connections", "tidegate_worker_shuffle_rejected_connections_total", "Connections that were no worker's."},
    };
    const char *const labels[] = {"worker", worker, NULL};
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        metrics_number(m, METRIC_COUNTER, counters[i].name, counters[i].help, s, counters[i].field, 1, labels);
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_shuffle_connections", "Connections to other workers.", s, "connections", 1, labels);
}

static void job_metrics(metrics_t *m, int64_t wall_ms, const char *worker, const json_t *j) {
    metric_owner_t o = {"tidegate_worker_", metrics_text(j, "job"), metrics_text(j, "name"), worker, wall_ms};
    const char *const labels[] = {"job", o.job, "name", o.name, "worker", worker, NULL};
    metrics_number(m, METRIC_GAUGE, "tidegate_worker_tables_without_files", "Tables whose evicted values are RocksDB's to answer: there was no room for files of them below --data.",
                   j, "tables_without_files", 1, labels);
    const json_t *tasks = json_get(j, "tasks"), *lanes = json_get(j, "lanes");
    for (int i = 0; tasks && tasks->kind == JSON_ARRAY && i < tasks->n; i++) metrics_task(m, &o, metrics_text(tasks->items[i], "stage"), tasks->items[i]);
    for (int i = 0; lanes && lanes->kind == JSON_ARRAY && i < lanes->n; i++) metrics_lane(m, &o, lanes->items[i]);
}

err_t *worker_rest_metrics(buf_t *out, int64_t wall_ms, slice_t status) {
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    TRY(err_wrap(json_parse(a, status, &o), "status of the worker"));
    metrics_t *m = metrics_new();
    const char *worker = metrics_text(o, "worker");
    const char *const labels[] = {"worker", worker, NULL};
    METRIC(m, METRIC_GAUGE, "tidegate_build_info", "Always 1; the version is a label.", 1, "version", TIDEGATE_VERSION);
    if (*worker) {
        METRIC(m, METRIC_GAUGE, "tidegate_worker_connected", "1 while a coordinator has welcomed this worker.", *metrics_text(o, "coordinator") != 0,
               "worker", worker);
        metrics_number(m, METRIC_GAUGE, "tidegate_worker_process_rss_bytes", "Memory of this process.", o, "rss", 1, labels);
        metrics_number(m, METRIC_GAUGE, "tidegate_worker_process_memory_bytes", "Memory budget of this process.", o, "memory", 1, labels);
        metrics_number(m, METRIC_GAUGE, "tidegate_worker_process_slots", "Threads that run tasks.", o, "slots", 1, labels);
        shuffle_metrics(m, worker, json_get(o, "shuffle"));
    }
    const json_t *jobs = json_get(o, "jobs");
    for (int i = 0; jobs && jobs->kind == JSON_ARRAY && i < jobs->n; i++) job_metrics(m, wall_ms, worker, jobs->items[i]);
    metrics_print(m, out);
    metrics_free(m);
    return NULL;
}

static void get_metrics(void *arg, http_call_t *call) {
    buf_t status = buf_make((size_t)64 << 20), out = buf_make((size_t)64 << 20);
    worker_status(((worker_rest_t *)arg)->worker, &status);
    err_t *e = worker_rest_metrics(&out, clock_wall_ms(), buf_slice(&status));
    buf_free(&status);
    if (!e) {
        http_answer(call, 200, HTTP_METRICS, &out);
        return;
    }
    buf_free(&out);
    http_answer_err(call, e);
}

static void get_status(void *arg, http_call_t *call) {
    buf_t out = buf_make((size_t)64 << 20);
    worker_status(((worker_rest_t *)arg)->worker, &out);
    buf_puts(&out, "\n");
    http_answer(call, 200, HTTP_JSON, &out);
}

static void get_health(void *arg, http_call_t *call) {
    buf_t out = buf_make(1 << 10);
    buf_puts(&out, "{\"healthy\":true}\n");
    http_answer(call, 200, HTTP_JSON, &out);
}

err_t *worker_rest_start(const char *address, worker_t *w, worker_rest_t **ret, int *ret_port) {
    worker_rest_t *r = xcalloc(1, sizeof *r);
    r->worker = w;
    const http_route_t routes[] = {{"GET", "/metrics", get_metrics, r}, {"GET", "/health", get_health, r}, {"GET", "/api/status", get_status, r}};
    err_t *e = http_server_new(address, routes, ARRAY_LEN(routes), &r->server, ret_port);
    if (e) {
        free(r);
        return err_wrap(e, "--http");
    }
    *ret = r;
    return NULL;
}

void worker_rest_free(worker_rest_t *r) {
    if (!r) return;
    http_server_free(r->server);
    free(r);
}
