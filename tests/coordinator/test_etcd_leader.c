/* Who takes over, and when: the decision as a function, and against a real etcd with lines to the leader that answer, are silent or break. */
#include "coordinator/meta_store_etcd_int.h"
#include "tests/coordinator/etcd_rig.h"

START_TEST(a_leader_is_dead_when_its_beat_and_the_line_to_it_both_stand_still) {
    const leader_view_t healthy = {.direct = true, .term_ms = 60000, .minimum_term_ms = 3000, .beat_ms = 100, .silence_ms = 1000, .heard = true};
    leader_view_t v = healthy;
    ck_assert(!leader_dead(&v));
    v.broken = true, v.unanswered_ms = 60000; /* we hear nothing, but it beats: a cut in one direction */
    v.still_ms = 299;
    ck_assert(!leader_dead(&v));
    v.still_ms = 300;
    ck_assert(leader_dead(&v));

    v = healthy;
    v.still_ms = 60000; /* etcd is slow, or its writes fail: it answers us */
    v.unanswered_ms = 900;
    ck_assert(!leader_dead(&v));
    v.unanswered_ms = 1000;
    ck_assert(leader_dead(&v)); /* hung, or cut off from everybody */
    v.still_ms = 999;
    ck_assert(!leader_dead(&v)); /* silence alone needs its whole time from both witnesses */
    v.still_ms = v.unanswered_ms = 60000;
    v.heard = false;
    ck_assert(!leader_dead(&v)); /* a line that never worked is no witness */

    v = healthy;
    v.ours = true, v.still_ms = 300;
    ck_assert(leader_dead(&v)); /* our own life before */
    v.still_ms = 200;
    ck_assert(!leader_dead(&v));

    v = healthy;
    v.broken = true, v.still_ms = v.unanswered_ms = 60000;
    v.term_ms = 2999;
    ck_assert(!leader_dead(&v)); /* a minimum term */
    v.term_ms = 3000;
    ck_assert(leader_dead(&v));
    v.direct = false;
    ck_assert(!leader_dead(&v)); /* nothing but etcd's word: the lease decides */
}
END_TEST

/* ---- lines: what the standby hears of the leader */
typedef enum line_mode { LINE_ANSWERS, LINE_SILENT, LINE_BROKEN } line_mode_t;
typedef struct lines { atomic_int mode, opened, open; } lines_t;
typedef struct fake { link_t link; lines_t *lines; bool closed; } fake_t;

static void fake_close(link_t *l) {
    fake_t *f = CONTAINER_OF(l, fake_t, link);
    if (f->closed) return;
    f->closed = true;
    l->handler.on_closed(l->handler.arg, l, NULL);
}
static void fake_send(link_t *l, ctl_msg_t *m) {
    fake_t *f = CONTAINER_OF(l, fake_t, link);
    ASSERT(m->kind == CTL_PROBE);
    ctl_free(m);
    if (f->closed) return;
    if (atomic_load(&f->lines->mode) == LINE_ANSWERS) l->handler.on_message(l->handler.arg, l, ctl_new(CTL_ALIVE));
    if (atomic_load(&f->lines->mode) == LINE_BROKEN) fake_close(l);
}
static void fake_free(link_t *l) {
    fake_t *f = CONTAINER_OF(l, fake_t, link);
    ASSERT(f->closed);
    atomic_fetch_sub(&f->lines->open, 1);
    free(f);
}
static const char *fake_peer(link_t *l) { return "peer"; }
static err_t *fake_connect(void *arg, const char *name, const link_handler_t *h, link_t **ret) {
    fake_t *f = xcalloc(1, sizeof *f);
    f->lines = arg;
    f->link = (link_t){.send = fake_send, .close = fake_close, .free = fake_free, .peer = fake_peer, .handler = *h};
    atomic_fetch_add(&f->lines->opened, 1);
    atomic_fetch_add(&f->lines->open, 1);
    *ret = &f->link;
    return NULL;
}

/* Leases of 20 s: only a revocation can be fast. */
static meta_etcd_conf_t conf_with(const char *url, const char *name, lines_t *lines) {
    meta_etcd_conf_t c = conf_of(url, name);
    c.ttl_s = 20, c.connect = fake_connect, c.arg = lines;
    c.minimum_term_ms = 1000;
    return c;
}
typedef struct pair { etcd_rig_t etcd; lines_t lines; node_t a, b; } pair_t;
static void pair_new(pair_t *p, line_mode_t mode) {
    *p = (pair_t){0};
    rig_new(&p->etcd);
    atomic_store(&p->lines.mode, mode);
    meta_etcd_conf_t ca = conf_with(p->etcd.url, "a:1", &p->lines), cb = conf_with(p->etcd.url, "b:1", &p->lines);
    lead(&p->a, &ca);
    node_open(&p->b, &cb);
    campaign(&p->b);
}
static void pair_free(pair_t *p) {
    if (p->a.m) p->a.m->free(p->a.m);
    p->b.m->free(p->b.m);
    for (node_t *n = &p->a; n; n = n == &p->a ? &p->b : NULL) {
        if (!n->campaign) continue;
        meta_result_t r = waited_take(TAKE(n->campaign)); /* answered when its store was closed */
        meta_result_done(&r);
    }
    ck_assert_int_eq(atomic_load(&p->lines.open), 0);
    rig_free(&p->etcd);
}
static int64_t wins_after(node_t *n, int64_t since, int64_t limit_ms) {
    won(n);
    int64_t took = running_ms() - since;
    ck_assert_msg(took < limit_ms, "%" PRId64 " ms without a leader", took);
    return took;
}

START_TEST(a_leader_whose_process_died_is_followed_in_less_than_a_second) {
    pair_t p;
    pair_new(&p, LINE_ANSWERS);
    ck_assert(!waited_within(p.b.campaign, 1500));
    int64_t t0 = running_ms();
    atomic_store(&p.lines.mode, LINE_BROKEN);
    meta_store_etcd_abandon(TAKE(p.a.m));
    printf("the standby leads %" PRId64 " ms after the leader's death\n", wins_after(&p.b, t0, 1000));
    pair_free(&p);
}
END_TEST

START_TEST(a_standby_that_hears_nothing_leaves_a_beating_leader_alone) {
    pair_t p;
    pair_new(&p, LINE_SILENT); /* the cut goes one way: a's beats reach etcd */
    ck_assert(!waited_within(p.b.campaign, 3000));
    atomic_store(&p.lines.mode, LINE_BROKEN);
    ck_assert(!waited_within(p.b.campaign, 2000));
    ck_assert_int_eq(atomic_load(&p.a.lost), 0);
    ck_assert_int_ge(atomic_load(&p.lines.opened), 3); /* it goes on trying */
    pair_free(&p);
}
END_TEST

START_TEST(a_leader_that_answers_keeps_its_lease_though_its_beat_stands_still) {
    pair_t p;
    pair_new(&p, LINE_ANSWERS);
    ck_assert(!waited_within(p.b.campaign, 1500));
    meta_store_etcd_pause(p.a.m, true); /* its writes to etcd hang, its core answers */
    ck_assert(!waited_within(p.b.campaign, 3000));
    int64_t t0 = running_ms();
    atomic_store(&p.lines.mode, LINE_SILENT); /* now it is hung altogether */
    wins_after(&p.b, t0, 2500);
    meta_store_etcd_pause(p.a.m, false);
    lost_within(&p.a, 2000);
    ck_assert_int_eq(atomic_load(&p.b.lost), 0);
    pair_free(&p);
}
END_TEST

/* The standby cannot reach the leader at all, and for a while the leader's writes to etcd are slow: its lease lives, it leads on. */
START_TEST(a_line_that_never_worked_is_no_witness_against_the_leader) {
    pair_t p;
    pair_new(&p, LINE_SILENT);
    ck_assert(!waited_within(p.b.campaign, 1500));
    meta_store_etcd_pause(p.a.m, true);
    ck_assert(!waited_within(p.b.campaign, 3500));
    meta_store_etcd_pause(p.a.m, false);
    ck_assert(!waited_within(p.b.campaign, 500));
    ck_assert_int_eq(atomic_load(&p.a.lost), 0);
    pair_free(&p);
}
END_TEST

/* The worst of hazards B6: neither hears the other, etcd is there for both. The one that was pushed out comes back, hears nothing of the new
 * leader, and leaves it alone, because it beats. */
START_TEST(who_was_pushed_out_pushes_nobody_out) {
    pair_t p;
    pair_new(&p, LINE_ANSWERS);
    ck_assert(!waited_within(p.b.campaign, 1500));
    meta_store_etcd_pause(p.a.m, true);
    atomic_store(&p.lines.mode, LINE_SILENT);
    won(&p.b);
    meta_store_etcd_pause(p.a.m, false);
    lost_within(&p.a, 2000);
    campaign(&p.a);
    ck_assert(!waited_within(p.a.campaign, 5000));
    ck_assert_int_eq(atomic_load(&p.b.lost), 0);
    pair_free(&p);
}
END_TEST

START_TEST(a_coordinator_started_again_follows_itself_without_waiting_for_its_lease) {
    pair_t p;
    pair_new(&p, LINE_ANSWERS);
    p.b.m->resign(p.b.m); /* nobody else is there */
    meta_result_t r = waited_take(TAKE(p.b.campaign));
    meta_result_done(&r);
    pause_ms(1500);
    meta_store_etcd_abandon(TAKE(p.a.m));
    int64_t t0 = running_ms();
    node_t again;
    meta_etcd_conf_t c = conf_with(p.etcd.url, "a:1", &p.lines);
    lead(&again, &c);
    int64_t took = running_ms() - t0;
    ck_assert_msg(took < 1000, "%" PRId64 " ms", took);
    printf("the coordinator leads again %" PRId64 " ms after its start\n", took);
    again.m->free(again.m);
    pair_free(&p);
}
END_TEST

TESTS("etcd_leader", a_leader_is_dead_when_its_beat_and_the_line_to_it_both_stand_still, a_leader_whose_process_died_is_followed_in_less_than_a_second,
      a_standby_that_hears_nothing_leaves_a_beating_leader_alone, a_line_that_never_worked_is_no_witness_against_the_leader,
      a_leader_that_answers_keeps_its_lease_though_its_beat_stands_still,
      who_was_pushed_out_pushes_nobody_out, a_coordinator_started_again_follows_itself_without_waiting_for_its_lease)
