#include "common/metrics_status.h"
#include <stdio.h>
#include <stdlib.h>

#define FULL_MAX 96

const char *metrics_text(const json_t *object, const char *name) {
    const json_t *v = json_get(object, name);
    if (!v) return "";
    if (v->kind == JSON_BOOL) return v->boolean ? "true" : "false";
    return v->kind == JSON_NUMBER || v->kind == JSON_STRING ? v->text : "";
}

void metrics_number(metrics_t *m, metric_type_t type, const char *name, const char *help, const json_t *object, const char *field,
                    double scale, const char *const *labels) {
    const json_t *v = json_get(object, field);
    if (v && v->kind == JSON_NUMBER) metric(m, type, name, help, strtod(v->text, NULL) * scale, labels);
}

void metrics_watermark(metrics_t *m, const char *name, const char *lag, int64_t wall_ms, const json_t *object, const char *const *labels) {
    const json_t *v = json_get(object, "watermark");
    if (!v || v->kind != JSON_NUMBER) return;
    int64_t ms = json_i64(object, "watermark", 0);
    if (ms == INT64_MIN || ms == INT64_MAX) return; /* none yet; the end */
    metric(m, METRIC_GAUGE, name, "Event time up to which everything is complete, in seconds since 1970.", (double)ms / 1000, labels);
    metric(m, METRIC_GAUGE, lag, "How far the watermark is behind the clock.", (double)wall_ms / 1000 - (double)ms / 1000, labels);
}

static const struct { const char *field, *name, *help; metric_type_t type; double scale; } task_fields[] = {
    {"rows_in", "task_rows_in_total", "Rows a task has taken in since the attempt began.", METRIC_COUNTER},
    {"rows_out", "task_rows_out_total", "Rows a task has put out since the attempt began.", METRIC_COUNTER},
    {"bytes_in", "task_bytes_in_total", "Bytes a source task has read since the attempt began.", METRIC_COUNTER},
    {"late_rows", "task_late_rows_total", "Rows that came after their window was closed.", METRIC_COUNTER},
    {"dropped_rows", "task_dropped_rows_total", "Rows a sink dropped for a NULL in a NOT NULL column.", METRIC_COUNTER},
    {"stale_records", "task_stale_records_total", "Records that came again behind their offset and were dropped.", METRIC_COUNTER},
    {"bad_records", "task_bad_records_total", "Records that could not be decoded.", METRIC_COUNTER},
    {"state_entries", "task_state_entries", "Keys in a task's state.", METRIC_GAUGE},
    {"state_bytes", "task_state_bytes", "Bytes of a task's state in memory.", METRIC_GAUGE},
    {"rows_in_per_second", "task_rows_in_per_second", "Rows a task takes in a second, of late.", METRIC_GAUGE},
    {"rows_out_per_second", "task_rows_out_per_second", "Rows a task puts out a second, of late.", METRIC_GAUGE},
    {"epoch_ms", "task_epoch_duration_seconds", "From barrier to seal, of the last epoch.", METRIC_GAUGE, 0.001},
    {"busy_permille", "task_busy_permille", "Share of time a task was working.", METRIC_GAUGE},
    {"blocked_permille", "task_backpressured_permille", "Share of time a task was held back by the one after it.", METRIC_GAUGE},
};

static void full_name(char out[FULL_MAX], const char *prefix, const char *name) { snprintf(out, FULL_MAX, "%s%s", prefix, name); }

void metrics_task(metrics_t *m, const metric_owner_t *o, const char *stage, const json_t *task) {
    const char *const labels[] = {"job", o->job, "name", o->name, "stage", stage, "subtask", metrics_text(task, "subtask"), "worker", o->worker, NULL};
    char name[FULL_MAX], lag[FULL_MAX];
    for (size_t i = 0; i < ARRAY_LEN(task_fields); i++) {
        full_name(name, o->prefix, task_fields[i].name);
        metrics_number(m, task_fields[i].type, name, task_fields[i].help, task, task_fields[i].field, task_fields[i].scale ? task_fields[i].scale : 1, labels);
    }
    full_name(name, o->prefix, "task_watermark_seconds");
    full_name(lag, o->prefix, "task_watermark_lag_seconds");
    metrics_watermark(m, name, lag, o->wall_ms, task, labels);
}

void metrics_lane(metrics_t *m, const metric_owner_t *o, const json_t *lane) {
    const char *const labels[] = {"job", o->job, "name", o->name, "sink", metrics_text(lane, "sink"), "lane", metrics_text(lane, "lane"), NULL};
    char name[FULL_MAX];
    full_name(name, o->prefix, "lane_unpublished_bytes");
    metrics_number(m, METRIC_GAUGE, name, "Bytes of output that wait in a lane.", lane, "pending_bytes", 1, labels);
    full_name(name, o->prefix, "lane_published_epoch");
    metrics_number(m, METRIC_GAUGE, name, "The last epoch whose output a lane has published.", lane, "published", 1, labels);
    const json_t *waits = json_get(lane, "waits_for");
    full_name(name, o->prefix, "lane_waiting");
    metric(m, METRIC_GAUGE, name, "1 while a lane waits for something, as a broker.", waits && waits->kind == JSON_STRING, labels);
}
