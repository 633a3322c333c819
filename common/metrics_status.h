/* metrics_status.h: the parts of the daemons' status documents that both show: tasks and lanes. Missing fields are left out. */
#pragma once
#include "common/json.h"
#include "common/metrics.h"

/* Who the numbers are of. `prefix`: "tidegate_" for the coordinator's, "tidegate_worker_" for a worker's own, so that sums over a cluster
 * do not count twice. Texts are never NULL. */
typedef struct metric_owner { const char *prefix, *job, *name, *worker; int64_t wall_ms; } metric_owner_t;
void metrics_task(metrics_t *m, const metric_owner_t *o, const char *stage, const json_t *task);
void metrics_lane(metrics_t *m, const metric_owner_t *o, const json_t *lane);

/* The text of a number, string or boolean; "" for anything else. */
const char *metrics_text(const json_t *object, const char *name);
/* Adds a sample when the field is a number; scale: 0.001 turns milliseconds into seconds. */
void metrics_number(metrics_t *m, metric_type_t type, const char *name, const char *help, const json_t *object, const char *field,
                    double scale, const char *const *labels);
/* <name>_seconds (a time since 1970) and <lag>_seconds from the "watermark" in milliseconds; nothing before the first one and after the end. */
void metrics_watermark(metrics_t *m, const char *name, const char *lag, int64_t wall_ms, const json_t *object, const char *const *labels);
