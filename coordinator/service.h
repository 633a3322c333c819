/* service.h: the client API over the core's state. Reading requests are answered at once from what the core knows; requests that change
 * something become events. Driver's thread. Documents are JSON objects; times in milliseconds. */
#pragma once
#include "coordinator/core/coord.h"

/* True: a reading request, answered in *ret (its json buffer is ready). False: it is for the core. */
bool service_read(const coord_t *c, const client_request_t *r, client_reply_t *ret);
/* {"job":{..}}: as `tidegate job ID --json` prints it; {} for an unknown id. */
void service_render_job(const coord_t *c, job_id_t job, buf_t *out);
