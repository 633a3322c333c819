/* sim_random.c: seeds by the thousand.
 *
 *   sim_random --seeds FROM COUNT     runs seeds from FROM on until COUNT of them had 30 epochs and 5 faults (those that a client stops early come on
 *                                     top), each tenth twice (same trace hash); prints the crash table; fails when a row was never reached
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

typedef struct sums { uint64_t epochs, faults, attempts, stopped, replays; int failed; uint64_t reached[ROWS]; } sums_t;
#define EPOCHS_MIN 30
#define FAULTS_MIN 5
/* Whether it had as many epochs and faults as each must have. */
static bool play(uint64_t seed, sums_t *t) {
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
    t->stopped += r.stopped;
    free(r.why);
    return r.epochs >= EPOCHS_MIN && r.faults >= FAULTS_MIN;
}
static int many(uint64_t from, uint64_t count) {
    sums_t t = {0};
    uint64_t played = 0, whole = 0;
    while (whole < count && played < 2 * count + 100) whole += play(from + played++, &t);
    int never = 0;
    printf("crash table, times reached in %" PRIu64 " seeds:\n", played);
    for (int i = 0; i < ROWS; i++) {
        printf("%8" PRIu64 "  %s%s\n", t.reached[i], sim_row_names[i], t.reached[i] ? "" : "  <- NEVER");
        never += !t.reached[i];
    }
    printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " of %d epochs and %d faults or more: %" PRIu64 " epochs, %" PRIu64 " faults, %" PRIu64
           " attempts, %" PRIu64 " stopped by a client or by damage, %" PRIu64 " replayed, %d failed\n", played, from, whole, EPOCHS_MIN, FAULTS_MIN, t.epochs,
           t.faults, t.attempts, t.stopped, t.replays, t.failed);
    if (never && count >= 150) {
        printf("%d rows of the crash table were never reached\n", never);
        return 1;
    }
    if (whole < count || played - whole > t.stopped + count / 100) {
        printf("too many seeds that nothing stopped had less than %d epochs or %d faults\n", EPOCHS_MIN, FAULTS_MIN);
        return 1;
    }
    return t.failed ? 1 : 0;
}
int main(int argc, char **argv) {
    if (argc >= 3 && !strcmp(argv[1], "--seed")) return one(strtoull(argv[2], NULL, 10), argc > 3 && !strcmp(argv[3], "--trace"));
    if (argc == 4 && !strcmp(argv[1], "--seeds")) return many(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    return usage();
}
