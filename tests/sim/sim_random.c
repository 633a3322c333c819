/* sim_random.c: seeds by the thousand.
 *
 *   sim_random --seeds FROM COUNT     runs them, each tenth twice (same trace hash); prints the crash table; fails when a row was never reached
 *   sim_random --seed N [--trace]     replays one; --trace prints what happened */
#include "tests/sim/sim.h"
#include <stdio.h>
#include <stdlib.h>

static int usage(void) {
    fprintf(stderr, "usage: sim_random --seeds FROM COUNT | --seed N [--trace]\n");
    return 2;
}
static void explain(uint64_t seed, const sim_result_t *r) {
    printf("seed %" PRIu64 " FAILED %s\nreplay: sim_random --seed %" PRIu64 " --trace\n", seed, r->why, seed);
}
static int one(uint64_t seed, bool trace) {
    sim_result_t a = sim_seed(seed, trace, NULL), b = sim_seed(seed, false, NULL);
    printf("seed %" PRIu64 ": %s, hash %016" PRIx64 ", %" PRIu64 " epochs, %" PRIu64 " attempts, %" PRIu64 " faults, %" PRId64 " virtual ms\n", seed,
           a.ok ? "ok" : "FAILED", a.hash, a.epochs, a.attempts, a.faults, a.virtual_ms);
    if (!a.ok) explain(seed, &a);
    if (a.hash != b.hash) printf("seed %" PRIu64 " does NOT replay: %016" PRIx64 " and %016" PRIx64 "\n", seed, a.hash, b.hash);
    int rc = !a.ok || a.hash != b.hash;
    free(a.why);
    free(b.why);
    return rc;
}

typedef struct sums { uint64_t epochs, faults, attempts, stopped, min_epochs, min_faults, replays; int failed; uint64_t reached[ROWS]; } sums_t;
static void play(uint64_t seed, sums_t *t) {
    sim_result_t r = sim_seed(seed, false, t->reached);
    if (!r.ok) {
        explain(seed, &r);
        t->failed++;
    }
    if (seed % 10 == 0) {
        sim_result_t again = sim_seed(seed, false, NULL);
        t->replays++;
        if (again.hash != r.hash) {
            printf("seed %" PRIu64 " does NOT replay\n", seed);
            t->failed++;
        }
        free(again.why);
    }
    t->epochs += r.epochs;
    t->faults += r.faults;
    t->attempts += r.attempts;
    if (!r.stopped) {
        t->min_epochs = MIN(t->min_epochs, r.epochs);
        t->min_faults = MIN(t->min_faults, r.faults);
    }
    t->stopped += r.stopped;
    free(r.why);
}
static int many(uint64_t from, uint64_t count) {
    sums_t t = {.min_epochs = UINT64_MAX, .min_faults = UINT64_MAX};
    for (uint64_t seed = from; seed < from + count; seed++) play(seed, &t);
    int never = 0;
    printf("crash table, times reached in %" PRIu64 " seeds:\n", count);
    for (int i = 0; i < ROWS; i++) {
        printf("%8" PRIu64 "  %s%s\n", t.reached[i], sim_row_names[i], t.reached[i] ? "" : "  <- NEVER");
        never += !t.reached[i];
    }
    printf("%" PRIu64 " seeds from %" PRIu64 ": %" PRIu64 " epochs (at least %" PRIu64 " in each), %" PRIu64 " faults (at least %" PRIu64
           "), %" PRIu64 " attempts, %" PRIu64 " stopped by a client, %" PRIu64 " replayed, %d failed\n", count, from, t.epochs,
               t.min_epochs, t.faults, t.min_faults, t.attempts, t.stopped, t.replays, t.failed);
    if (never && count >= 150) {
        printf("%d rows of the crash table were never reached\n", never);
        return 1;
    }
    if (t.min_epochs < 30 || t.min_faults < 5) {
        printf("a seed covers less than 30 epochs or 5 faults\n");
        return 1;
    }
    return t.failed ? 1 : 0;
}
int main(int argc, char **argv) {
    if (argc >= 3 && !strcmp(argv[1], "--seed")) return one(strtoull(argv[2], NULL, 10), argc > 3 && !strcmp(argv[3], "--trace"));
    if (argc == 4 && !strcmp(argv[1], "--seeds")) return many(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    return usage();
}
