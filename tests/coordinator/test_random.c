/* test_random.c: random days of a small cluster, invariants checked at every action, recovery demanded at the end. A seed
 * replays; the same seed twice gives the same trace. (The simulator of tests/sim does this with real tasks; this one is about the core alone.) */
#include "common/clock.h"
#include "tests/coordinator/story.h"

typedef struct checker {
    attempt_t attempt;      /* of the last INJECT */
    epoch_t injected, before; /* highest id injected in this attempt / in the ones before */
    uint64_t completes, restarts, leaders, finals, damages, backs;
    bool quiet; /* lanes have no rows */
} checker_t;

static void on_inject(story_t *s, checker_t *k, const ctl_msg_t *m) {
    if (m->attempt != k->attempt) {
        ck_assert_uint_gt(m->attempt, k->attempt);
        k->before = MAX(k->before, k->injected);
        k->attempt = m->attempt;
        k->injected = 0;
    }
    ck_assert_uint_gt(m->epoch, k->before); /* an id is injected in one attempt only */
    ck_assert_uint_ge(m->epoch, k->injected);
    k->injected = m->epoch;
    ck_assert(!s->stored->final);
    ck_assert_uint_ge(m->epoch, s->stored->epoch);
    ck_assert_uint_le(m->epoch, MAX(s->stored->epoch, s->floor) + EPOCHS_IN_FLIGHT_MAX); /* what the floor of the next attempt counts on */
}

/* The last manifest names it, or an older one that it keeps. */
static bool needed(const story_t *s, const char *path) {
    bool yes = manifest_names(s->stored, path);
    for (int i = 0; s->stored && i < s->stored->nolder; i++)
        for (int k = 0; k < s->nbodies; k++)
            if (older_is(&s->stored->older[i], s->bodies[k])) yes |= manifest_names(s->bodies[k], path);
    return yes;
}

/* A job goes back only behind what no lane had rows in (A4), and only after somebody found a file damaged. */
static void check_back(const story_t *s, checker_t *k, const manifest_t *m) {
    if (!s->stored || m->fell.times == s->stored->fell.times) return;
    k->backs++;
    ck_assert_uint_gt(k->damages, 0);
    ck_assert_uint_eq(m->fell.from, s->stored->epoch);
    for (int i = 0; i < s->stored->nlanes; i++) ck_assert_uint_le(s->stored->lanes[i].last_rows, m->fell.to);
    for (int i = 0; i < m->nextents; i++) ck_assert_uint_le(m->extents[i].last, m->fell.to);
}

static void check(story_t *s, const coord_action_t *a) {
    checker_t *k = s->checker;
    if (a->kind == ACT_PUT_MANIFEST && !a->put.first) {
        ck_assert_uint_lt(a->put.previous_epoch, a->put.manifest->epoch);
        ck_assert_uint_eq(a->put.manifest->previous, a->put.previous_epoch);
        check_back(s, k, a->put.manifest);
    }
    if (a->kind == ACT_DELETE_FILES)
        for (int i = 0; i < a->files.n; i++) ck_assert(job_state_terminal(the_job(s)->state) || !needed(s, a->files.paths[i]));
    if (a->kind != ACT_SEND) return;
    const ctl_msg_t *m = a->message;
    switch (m->kind) {
    case CTL_INJECT: on_inject(s, k, m); break;
    case CTL_COMPLETE:
        ck_assert_uint_le(m->epoch, s->stored->epoch); /* durable before it is told */
        k->completes++;
        break;
    case CTL_DEPLOY:
        if (m->deploy.manifest->epoch != s->stored->epoch) { /* recovery believes the store only, or goes back from what it says */
            ck_assert_uint_eq(m->deploy.manifest->previous, s->stored->epoch);
            ck_assert_uint_eq(m->deploy.manifest->attempt, m->attempt);
            ck_assert_uint_gt(k->damages, 0);
        }
        ck_assert_uint_eq(m->attempt, s->attempt);
        k->restarts++;
        break;
    default: break;
    }
}

static void set_worker(const checker_t *k, story_worker_t *w, rng_t *r) {
    w->rows = rng_below(r, 3);
    w->lanes = w->publishes = rng_below(r, 2) && !k->quiet;
    w->busy = rng_below(r, 2);
}

static void fault(story_t *s, rng_t *r) {
    checker_t *k = s->checker;
    story_worker_t *w = &s->w[rng_below(r, (uint64_t)s->nw)];
    static const store_outcome_t outcomes[] = {STORE_OK, STORE_UNKNOWN, STORE_FAILED};
    switch (rng_below(r, 15)) {
    case 0:
        if (w->session) die(s, w);
        break;
    case 1:
        if (!w->session) set_worker(k, join(s, w->name, 2), r);
        break;
    case 2: s->hold_put = !s->hold_put; break;
    case 3:
        if (s->held_put) {
            if (rng_below(r, 2)) land_unheard(s);
            release_put(s, outcomes[rng_below(r, 3)]);
        }
        break;
    case 4:
        s->hold_raise = !s->hold_raise;
        if (!s->hold_raise && s->held_raise) release_raise(s);
        break;
    case 5:
        if (rng_below(r, 3) == 0) {
            new_coordinator(s);
            k->leaders++;
        }
        break;
    case 6:
        if (w->session && w->job) failed(s, w, err_new(ERR_UNAVAILABLE, "some task broke"), rng_below(r, 2) ? "w1" : NULL);
        break;
    case 7: w->mute_ack = !w->mute_ack; break;
    case 8: w->mute_stop = rng_below(r, 4) == 0; break;
    case 9: w->mute_beat = rng_below(r, 6) == 0; break;
    case 10: set_worker(k, w, r); break;
    case 12: w->mute_deploy = !w->mute_deploy; break;
    case 13:
    case 14: /* while some build slowly, one finds a file of the last epoch damaged */
        if (!w->session || !w->job || the_job(s)->state != JOB_DEPLOYING || the_job(s)->ep.back || !the_job(s)->ep.nolder) break;
        k->damages++;
        for (int i = 0; i < s->nw; i++) s->w[i].mute_deploy = false;
        damaged(s, w, "some file");
        break;
    case 11:
        if (w->session && w->job && the_job(s)->ep.last) { /* a base, sometimes late or twice */
            ctl_msg_t *m = of_job(w, CTL_BASE_DONE, the_job(s)->ep.last->epoch);
            m->base_done.base = (base_t){.worker = xstrdup(w->name), .nfiles = 1, .files = xcalloc(1, sizeof(base_file_t))};
            m->base_done.base.files[0] = (base_file_t){.path = xprintf("jobs/%016" PRIx64 "/base/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".%s/BASE-%" PRIu64,
                                                                       w->job, w->incarnation, s->leader, w->attempt, w->name, m->epoch),
                                                       .name = xstrdup("BASE"), .size = 1, .crc = 1};
            say(s, w, m);
        }
        break;
    }
}

static void heal(story_t *s) {
    s->hold_put = s->hold_raise = false;
    s->put_outcome = STORE_OK;
    if (s->held_put) release_put(s, STORE_OK);
    if (s->held_raise) release_raise(s);
    for (int i = 0; i < s->nw; i++) {
        char name[16];
        snprintf(name, sizeof name, "%s", s->w[i].name);
        if (s->w[i].session) die(s, &s->w[i]);
        story_worker_t *w = join(s, name, 2);
        w->rows = 1;
        w->lanes = w->publishes = w->busy = true;
    }
}

static uint64_t day(uint64_t seed, checker_t *k) {
    rng_t r;
    rng_seed(&r, seed);
    story_t *s = story_new();
    s->check = check;
    s->checker = k;
    s->settings.restart_max = 1000000;
    s->settings.restart_delay_max_ms = 400;
    s->conf.stop_timeout_ms = 1000;
    coord_free(s->c);
    s->c = coord_new(&s->conf);
    lead(s);
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i + 1);
        set_worker(k, join(s, name, 2), &r);
    }
    ask(s, CLIENT_SUBMIT, NULL);
    for (int i = 0; i < 60; i++) {
        fault(s, &r);
        pass(s, 10 * (int64_t)rng_below(&r, 20));
    }
    heal(s);
    pass(s, 3000);
    for (int i = 0; i < 600 && the_job(s)->state != JOB_RUNNING; i++) pass(s, 100);
    if (the_job(s)->state != JOB_RUNNING)
        ck_abort_msg("seed %" PRIu64 ": %s, waits for %s\n%s", seed, job_state_name(the_job(s)->state), the_job(s)->waiting,
                     buf_cstr(&s->trace) + (s->trace.len > 3000 ? s->trace.len - 3000 : 0));
    epoch_t at = s->stored->epoch;
    pass(s, 1000);
    ck_assert_uint_gt(s->stored->epoch, at); /* epochs complete again */
    ask(s, CLIENT_STOP, NULL);
    for (int i = 0; i < 100 && the_job(s)->state != JOB_STOPPED; i++) pass(s, 100);
    expect_state(s, JOB_STOPPED);
    ck_assert(s->stored->final);
    k->finals++;
    uint64_t trace = hash_bytes(s->trace.data, s->trace.len);
    story_free(s);
    return trace;
}

START_TEST(random_days_end_well) {
    checker_t sum = {0};
    for (uint64_t seed = 1; seed <= 600; seed++) {
        checker_t k = {.quiet = seed % 3 == 0};
        day(seed, &k);
        sum.completes += k.completes;
        sum.restarts += k.restarts;
        sum.leaders += k.leaders;
        sum.backs += k.backs;
        sum.finals += k.finals;
    }
    printf("600 days: %" PRIu64 " completions, %" PRIu64 " deployments, %" PRIu64 " new leaders, %" PRIu64 " times back to an older epoch\n", sum.completes,
           sum.restarts, sum.leaders, sum.backs);
    ck_assert_uint_gt(sum.backs, 20);
    ck_assert_uint_eq(sum.finals, 600);
    ck_assert_uint_gt(sum.leaders, 100);
    ck_assert_uint_gt(sum.restarts, 2500);
}
END_TEST

START_TEST(a_seed_replays_bit_for_bit) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        checker_t a = {0}, b = {0};
        ck_assert_uint_eq(day(seed, &a), day(seed, &b));
    }
}
END_TEST

TESTS("coordinator/random", random_days_end_well, a_seed_replays_bit_for_bit)
