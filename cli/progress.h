/* progress.h: what a person sees of a running job: one live line (on a terminal) and a summary at the end, both on stderr, from the job's
 * document (coordinator/service.c). */
#pragma once
#include "common/json.h"

typedef struct progress progress_t;
progress_t *progress_new(bool live, bool summary);
void progress_free(progress_t *p);
void progress_update(progress_t *p, const json_t *job);
void progress_say(progress_t *p, const char *what);
void progress_end(progress_t *p, const json_t *job);
