/* budget.h: what coordinator and worker both know of a worker's --memory. */
#pragma once
#include "common/base.h"

#define OUTPUT_SHARE_LEAST ((uint64_t)4 << 20)

/* What output that is not published may take of it: above it its sources wait, and no epoch begins but one that was asked for. */
static inline uint64_t output_share(uint64_t memory) { return MAX(memory / 8, OUTPUT_SHARE_LEAST); }
