#include "coordinator/core/assign.h"

/* How many items each bin takes: water is poured, one item at a time, into the lowest bin with room; among equally
 * low ones into that which can keep most of its own. Keeping is only lost at the rim, where one item more or less is
 * still balanced, so choosing there by what would be kept gives the fewest moves. */
static void pour(const assign_bin_t *bins, int nbins, int nitems, const int *had, int *quota) {
    for (int i = 0; i < nitems; i++) {
        int best = -1;
        for (int b = 0; b < nbins; b++) {
            if (quota[b] >= bins[b].capacity) continue;
            if (best < 0) {
                best = b;
                continue;
            }
            int level = bins[b].load + quota[b], low = bins[best].load + quota[best];
            int keep = MIN(had[b] - quota[b], 1), keep_best = MIN(had[best] - quota[best], 1);
            if (level < low || (level == low && keep > keep_best)) best = b;
        }
        ASSERT(best >= 0);
        quota[best]++;
    }
}

bool assign(const assign_bin_t *bins, int nbins, int nitems, const int *previous, int *ret) {
    int64_t room = 0;
    for (int b = 0; b < nbins; b++) room += bins[b].capacity;
    if (room < nitems) return false;
    AUTO(auto_free) int *had = xcalloc((size_t)nbins + 1, sizeof *had);
    AUTO(auto_free) int *quota = xcalloc((size_t)nbins + 1, sizeof *quota);
    for (int i = 0; i < nitems; i++)
        if (previous[i] >= 0) had[previous[i]]++;
    pour(bins, nbins, nitems, had, quota);
    for (int i = 0; i < nitems; i++) {
        int p = previous[i];
        ret[i] = ASSIGN_NONE;
        if (p < 0 || quota[p] == 0) continue;
        ret[i] = p;
        quota[p]--;
    }
    int b = 0;
    for (int i = 0; i < nitems; i++) {
        if (ret[i] != ASSIGN_NONE) continue;
        while (quota[b] == 0) b++;
        ret[i] = b;
        quota[b]--;
    }
    return true;
}
