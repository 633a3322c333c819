/* rest.h: what a worker shows over HTTP: GET /health, GET /api/status (worker_status), GET /metrics (the same as Prometheus text). */
#pragma once
#include "worker/driver.h"

typedef struct worker_rest worker_rest_t;
/* Free it before the worker. */
err_t *worker_rest_start(const char *address, worker_t *w, worker_rest_t **ret, int *ret_port);
void worker_rest_free(worker_rest_t *r);

/* Pure: a status document to Prometheus text. */
err_t *worker_rest_metrics(buf_t *out, int64_t wall_ms, slice_t status);
