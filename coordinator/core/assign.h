/* assign.h: the scheduler as a pure function, used twice: units of a job onto workers, and splits onto subtasks.
 *
 * assign(): every item gets one bin. Guarantees, in this order:
 *   1. no bin takes more than its capacity;
 *   2. balanced: of two bins, one that took an item never has a load larger by more than one than a bin which had room left;
 *   3. fewest moves: among all assignments with 1 and 2, items stay where they were (`previous`) as often as possible. */
#pragma once
#include "common/base.h"

#define ASSIGN_NONE (-1)
typedef struct assign_bin { int id; int load; /* already there, of others */ int capacity; /* more items it can take */ } assign_bin_t;
/* previous[i], ret[i]: index into bins or ASSIGN_NONE. False (ret untouched): capacities do not suffice. */
bool assign(const assign_bin_t *bins, int nbins, int nitems, const int *previous, int *ret);
