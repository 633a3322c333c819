/* rest.h: what a coordinator shows over HTTP. Reading only.
 *
 *   GET /health          {"leading":true}; 200 also on a standby: it is healthy
 *   GET /api/jobs        as `tidegate jobs --json`          GET /api/jobs/ID   as `tidegate job ID --json`; ID or name
 *   GET /api/workers     as `tidegate workers --json`
 *   GET /metrics         Prometheus text of all of it; a standby shows only that it stands by */
#pragma once
#include "coordinator/driver.h"

typedef struct rest rest_t;
/* Free it before the driver's owner frees the driver. */
err_t *rest_start(const char *address, coord_driver_t *driver, rest_t **ret, int *ret_port);
void rest_free(rest_t *r);

/* Pure: documents of the client API to Prometheus text. jobs: of CLIENT_JOBS; details: of CLIENT_JOB, of those that have not ended; workers: of
 * CLIENT_WORKERS. All empty when not leading. ERR_DATA when one is no JSON. */
err_t *rest_metrics(buf_t *out, bool leading, int64_t wall_ms, slice_t jobs, int ndetails, const slice_t *details, slice_t workers);
