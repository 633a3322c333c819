/* optimize.h: rules over the logical graph. */
#pragma once
#include "sql/logical.h"

typedef struct optimize_options {
    bool batch; /* all inputs end: time does not drive results, watermarks go */
} optimize_options_t;

/* Runs the rules in their order until none changes anything, at most OPTIMIZE_ROUNDS_MAX times. Sinks stay in order. */
#define OPTIMIZE_ROUNDS_MAX 20
void optimize(rel_ctx_t *c, logical_t *l, const optimize_options_t *o);
