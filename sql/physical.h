/* physical.h: from the optimised logical graph to stages and exchanges.
 *
 * Everything that needs no repartition stays in the stage of its input. A stage ends where rows must meet others by key, where
 * a global result needs a single task, or where a sink has fewer lanes than the job has tasks.
 * Deterministic: stages, operators and edges are numbered in order of creation, which is the order of text. */
#pragma once
#include "sql/changelog.h"

typedef struct physical_options {
    int parallelism;
    int lanes; /* of exactly-once sinks; 0: as many as the parallelism, at most LANES_MAX */
    bool batch;
    int64_t state_ttl_ms;
} physical_options_t;
#define LANES_MAX 8

/* Fills in p->stages and p->edges; everything lives in p->arena. */
err_t *physical_plan(rel_ctx_t *c, const logical_t *l, const change_info_t *changes,
                     const physical_options_t *o, plan_t *p);
