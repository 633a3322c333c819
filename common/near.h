/* near.h: the nearest of several known words, for hints. */
#pragma once
#include "common/base.h"

/* The best word seen so far; start with {.wanted = name}. Case counts for little: "Events" is near "events". */
typedef struct near {
    const char *wanted;
    const char *best;
    int distance;
} near_t;
void near_offer(near_t *n, const char *word);
const char *near_word(const near_t *n); /* NULL when nothing is near */
