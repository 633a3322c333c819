/* The three promises of assign.h, over many random clusters, the third against brute force. */
#include "coordinator/core/assign.h"
#include "common/clock.h"
#include "tests/helpers/test.h"

#define BINS 5
#define ITEMS 7
typedef struct setup { assign_bin_t bins[BINS]; int nbins, nitems, previous[ITEMS], got[ITEMS]; } setup_t;

static setup_t draw(rng_t *r, int maxbins, int maxitems) {
    setup_t s = {.nbins = 1 + (int)rng_below(r, (uint64_t)maxbins), .nitems = (int)rng_below(r, (uint64_t)maxitems + 1)};
    for (int i = 0; i < s.nbins; i++)
        s.bins[i] = (assign_bin_t){i * 10, (int)rng_below(r, 4), (int)rng_below(r, 6)};
    for (int i = 0; i < s.nitems; i++) s.previous[i] = (int)rng_below(r, (uint64_t)s.nbins + 1) - 1;
    return s;
}

static bool within(const setup_t *s, const int *to) {
    int n[BINS] = {0};
    for (int i = 0; i < s->nitems; i++)
        if (++n[to[i]] > s->bins[to[i]].capacity) return false;
    return true;
}
static bool balanced(const setup_t *s, const int *to) {
    int n[BINS] = {0};
    for (int i = 0; i < s->nitems; i++) n[to[i]]++;
    for (int a = 0; a < s->nbins; a++)
        for (int b = 0; b < s->nbins; b++)
            if (n[a] > 0 && n[b] < s->bins[b].capacity && s->bins[a].load + n[a] > s->bins[b].load + n[b] + 1) return false;
    return true;
}
static int kept(const setup_t *s, const int *to) {
    int k = 0;
    for (int i = 0; i < s->nitems; i++) k += to[i] == s->previous[i];
    return k;
}

START_TEST(capacity_and_balance_always_hold) {
    rng_t r;
    rng_seed(&r, 1);
    for (int k = 0; k < 20000; k++) {
        setup_t s = draw(&r, BINS, ITEMS);
        int room = 0;
        for (int i = 0; i < s.nbins; i++) room += s.bins[i].capacity;
        bool ok = assign(s.bins, s.nbins, s.nitems, s.previous, s.got);
        ck_assert_int_eq(ok, room >= s.nitems);
        if (!ok) continue;
        ck_assert(within(&s, s.got));
        ck_assert(balanced(&s, s.got));
    }
}
END_TEST

START_TEST(nothing_moves_without_need) {
    rng_t r;
    rng_seed(&r, 2);
    for (int k = 0; k < 1500; k++) {
        setup_t s = draw(&r, 4, 6);
        if (!assign(s.bins, s.nbins, s.nitems, s.previous, s.got)) continue;
        int best = 0, to[ITEMS] = {0}, all = 1;
        for (int i = 0; i < s.nitems; i++) all *= s.nbins;
        for (int x = 0; x < all; x++) {
            int y = x;
            for (int i = 0; i < s.nitems; i++, y /= s.nbins) to[i] = y % s.nbins;
            if (within(&s, to) && balanced(&s, to)) best = MAX(best, kept(&s, to));
        }
        ck_assert_int_eq(kept(&s, s.got), best);
    }
}
END_TEST

START_TEST(the_same_question_has_the_same_answer) {
    rng_t r;
    rng_seed(&r, 3);
    for (int k = 0; k < 500; k++) {
        setup_t s = draw(&r, BINS, ITEMS);
        int again[ITEMS];
        if (!assign(s.bins, s.nbins, s.nitems, s.previous, s.got)) continue;
        ck_assert(assign(s.bins, s.nbins, s.nitems, s.previous, again));
        ck_assert(s.nitems == 0 || memcmp(again, s.got, sizeof(int) * (size_t)s.nitems) == 0);
        /* and an assignment is its own best successor */
        memcpy(s.previous, s.got, sizeof s.previous);
        ck_assert(assign(s.bins, s.nbins, s.nitems, s.previous, again));
        ck_assert(s.nitems == 0 || memcmp(again, s.got, sizeof(int) * (size_t)s.nitems) == 0);
    }
}
END_TEST

TESTS("coordinator/assign", capacity_and_balance_always_hold, nothing_moves_without_need, the_same_question_has_the_same_answer)
