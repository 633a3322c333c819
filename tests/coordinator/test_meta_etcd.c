/* The metadata store in a real etcd: who leads, what a lost answer means, what a late write may not do. */
#include "tests/coordinator/etcd_rig.h"

static meta_result_t put_job(node_t *n, job_id_t job, const char *text) {
    waited_t *w = waited_new();
    n->m->put_job(n->m, job, slice_str(text), waited_by(w));
    return waited_take(w);
}
static meta_result_t look(node_t *n, job_id_t job) {
    waited_t *w = waited_new();
    n->m->look(n->m, job, waited_by(w));
    return waited_take(w);
}
static meta_result_t raise_attempt(node_t *n, job_id_t job) {
    waited_t *w = waited_new();
    n->m->raise_attempt(n->m, job, 0, waited_by(w));
    return waited_take(w);
}
static meta_pointer_t pointer(node_t *n, attempt_t attempt, epoch_t epoch) {
    return (meta_pointer_t){.incarnation = 0xabcdef0123456789, .leader = n->leader, .attempt = attempt, .epoch = epoch, .crc = 0xdeadbeef,
                            .path = "jobs/0000000000000007/manifest/iabcdef0123456789.l1234.a1.e100000.json"};
}
static waited_t *begin_manifest(node_t *n, job_id_t job, epoch_t previous, attempt_t attempt, epoch_t epoch) {
    waited_t *w = waited_new();
    meta_pointer_t was = pointer(n, attempt, previous), now = pointer(n, attempt, epoch);
    n->m->put_manifest(n->m, job, previous ? &was : NULL, &now, waited_by(w));
    return w;
}
static meta_result_t put_manifest(node_t *n, job_id_t job, epoch_t previous, attempt_t attempt, epoch_t epoch) {
    return waited_take(begin_manifest(n, job, previous, attempt, epoch));
}
#define expect(call, outcome_)                                                                     \
    do {                                                                                           \
        meta_result_t r_ = (call);                                                                 \
        ck_assert_msg(r_.outcome == (outcome_), "%s: outcome %d, %s", #call, (int)r_.outcome, err_text(r_.error)); \
        ck_assert((r_.outcome == STORE_OK) == (r_.error == NULL));                                 \
        meta_result_done(&r_);                                                                     \
    } while (0)

/* The same again for as long as its time was over before it `outcome_`: a call's time is short where etcd hangs or is gone, and the disk may be slow. */
#define expect_at_last(call, outcome_)                                                             \
    do {                                                                                           \
        int64_t until_ = clock_mono_ms() + 20000;                                                  \
        meta_result_t r_;                                                                          \
        while ((r_ = (call)).outcome != (outcome_) && r_.outcome >= STORE_UNKNOWN && clock_mono_ms() < until_) meta_result_done(&r_); \
        ck_assert_msg(r_.outcome == (outcome_), "%s: outcome %d, %s", #call, (int)r_.outcome, err_text(r_.error)); \
        meta_result_done(&r_);                                                                     \
    } while (0)

static char *records(node_t *n) {
    waited_t *w = waited_new();
    n->m->load(n->m, waited_by(w));
    meta_result_t r = waited_take(w);
    ck_assert_msg(r.outcome == STORE_OK, "%s", err_text(r.error));
    buf_t b = buf_make(1 << 26);
    for (int i = 0; i < r.njobs; i++) buf_printf(&b, "%s%s", i ? "," : "", r.records[i]);
    meta_result_done(&r);
    return buf_take_cstr(&b);
}
static void expect_records(node_t *n, const char *text) {
    AUTO(auto_free) char *got = records(n);
    ck_assert_str_eq(got, text);
}

START_TEST(what_is_written_is_read_by_the_next_leader) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a, b;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1"), cb = conf_of(etcd.url, "b:1");
    ca.ttl_s = cb.ttl_s = 60; /* who resigns gives its lease back: nobody waits for its end */
    lead(&a, &ca);
    expect_records(&a, "");
    expect(put_job(&a, 7, "{\"job\":7}"), STORE_OK);
    expect(put_job(&a, 9, "nine"), STORE_OK);
    expect(put_job(&a, 7, "{\"job\":\"seven, again\"}"), STORE_OK);

    expect(put_manifest(&a, 7, 0, 1, 1), STORE_REFUSED); /* no attempt yet */
    meta_result_t r = raise_attempt(&a, 7);
    ck_assert_int_eq(r.outcome, STORE_OK);
    ck_assert_uint_eq(r.attempt.attempt, 1);
    ck_assert_uint_eq(r.attempt.floor, 0);
    ck_assert(!r.has_last);
    meta_result_done(&r);
    expect(put_manifest(&a, 7, 0, 1, 1), STORE_OK);
    expect(put_manifest(&a, 7, 0, 1, 1), STORE_OK); /* the same again (promise 3) */
    expect(put_manifest(&a, 7, 1, 1, 2), STORE_OK);
    expect(put_manifest(&a, 7, 1, 1, 3), STORE_REFUSED); /* not on top of what is there */
    expect(put_manifest(&a, 7, 0, 1, 1), STORE_REFUSED); /* long over */
    ck_assert_int_eq(atomic_load(&a.lost), 0);

    node_open(&b, &cb);
    campaign(&b);
    ck_assert(!waited_within(b.campaign, 1000)); /* waits for as long as a leads */
    int64_t t0 = running_ms();
    a.m->resign(a.m);
    won(&b);
    int64_t took = running_ms() - t0;
    ck_assert_msg(took < 1000, "resigned, and %" PRId64 " ms later the other led", took);
    ck_assert_uint_gt(b.leader, a.leader);
    ck_assert_int_eq(atomic_load(&a.lost), 0); /* not for a resign */
    expect(put_job(&a, 7, "zombie"), STORE_REFUSED);
    expect(look(&a, 7), STORE_REFUSED);
    r = look(&b, 7);
    ck_assert(r.outcome == STORE_OK && r.has_last && r.attempt.attempt == 1 && r.last.epoch == 2);
    meta_result_done(&r);

    expect_records(&b, "{\"job\":\"seven, again\"},nine");
    r = raise_attempt(&b, 7);
    ck_assert_int_eq(r.outcome, STORE_OK);
    ck_assert_uint_eq(r.attempt.attempt, 2);
    ck_assert_uint_eq(r.attempt.floor, 6); /* 2 is durable, four more may have been injected */
    ck_assert(r.has_last);
    meta_pointer_t last = pointer(&a, 1, 2);
    ck_assert(meta_pointer_eq(&r.last, &last));
    ck_assert_str_eq(r.last.path, last.path);
    ck_assert_uint_eq(r.last.crc, 0xdeadbeef);
    meta_result_done(&r);

    waited_t *w = waited_new();
    b.m->delete_job(b.m, 7, waited_by(w));
    expect(waited_take(w), STORE_OK);
    expect_records(&b, "nine");
    r = raise_attempt(&b, 7);
    ck_assert_uint_eq(r.attempt.attempt, 1);
    ck_assert(!r.has_last);
    meta_result_done(&r);
    a.m->free(a.m);
    b.m->free(b.m);
    rig_free(&etcd);
}
END_TEST

START_TEST(many_and_large_records_are_loaded) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1");
    ca.ttl_s = 60, ca.operation_ms = 20000, ca.request_ms = 10000; /* 260 writes at once, then a megabyte: it is about them, not about a disk that is slow */
    lead(&a, &ca);
    enum { N = 130 }; /* with their attempts more than two pages */
    waited_t *ws[2 * N];
    for (int i = 0; i < N; i++) {
        char text[16];
        snprintf(text, sizeof text, "r%03d", i);
        ws[2 * i] = waited_new(), ws[2 * i + 1] = waited_new();
        a.m->put_job(a.m, (job_id_t)i + 1, slice_str(text), waited_by(ws[2 * i]));
        a.m->raise_attempt(a.m, (job_id_t)i + 1, 0, waited_by(ws[2 * i + 1]));
    }
    for (int i = 0; i < 2 * N; i++) expect(waited_take(ws[i]), STORE_OK);
    AUTO(auto_free) char *all = records(&a);
    ck_assert_uint_eq(strlen(all), N * 5 - 1);
    for (int i = 0; i < N; i++) ck_assert_int_eq((int)strtol(all + 5 * i + 1, NULL, 10), i);

    char *large = xmalloc((1 << 20) + 2);
    memset(large, 'x', (1 << 20) + 1);
    large[(1 << 20) + 1] = '\0';
    meta_result_t r = put_job(&a, 500, large);
    ck_assert_int_eq(r.outcome, STORE_FAILED);
    ck_assert_int_eq(err_code(r.error), ERR_LIMIT);
    meta_result_done(&r);
    large[1000000] = '\0';
    expect(put_job(&a, 500, large), STORE_OK);
    AUTO(auto_free) char *more = records(&a);
    ck_assert_uint_eq(strlen(more), N * 5 + 1000000);
    free(large);
    a.m->free(a.m);
    rig_free(&etcd);
}
END_TEST

START_TEST(a_leader_that_dies_is_followed_within_its_lease_and_a_second) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a, b;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1"), cb = conf_of(etcd.url, "b:1");
    lead(&a, &ca);
    node_open(&b, &cb);
    campaign(&b);
    ck_assert(!waited_within(b.campaign, 3000)); /* the lease is kept alive */
    ck_assert_int_eq(atomic_load(&a.lost), 0);
    int64_t t0 = running_ms();
    meta_store_etcd_abandon(a.m);
    won(&b);
    int64_t took = running_ms() - t0;
    ck_assert_msg(took < 3000, "%" PRId64 " ms without a leader", took);
    ck_assert_uint_gt(b.leader, a.leader);
    b.m->free(b.m);
    rig_free(&etcd);
}
END_TEST

START_TEST(a_paused_leader_comes_back_and_can_write_nothing) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a, b;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1"), cb = conf_of(etcd.url, "b:1");
    lead(&a, &ca);
    expect(put_job(&a, 7, "of a"), STORE_OK);
    meta_result_t r = raise_attempt(&a, 7);
    meta_result_done(&r);
    expect(put_manifest(&a, 7, 0, 1, 1), STORE_OK);
    node_open(&b, &cb);
    campaign(&b);
    meta_store_etcd_pause(a.m, true);
    waited_t *late_manifest = begin_manifest(&a, 7, 1, 1, 2), *late_job = waited_new();
    a.m->put_job(a.m, 7, slice_str("zombie"), waited_by(late_job));
    won(&b);
    meta_store_etcd_pause(a.m, false);
    meta_result_t m = waited_take(late_manifest), j = waited_take(late_job);
    ck_assert(m.outcome == STORE_REFUSED || m.outcome == STORE_UNKNOWN || m.outcome == STORE_FAILED); /* not OK; late, or told why */
    ck_assert(j.outcome != STORE_OK);
    meta_result_done(&m);
    meta_result_done(&j);
    lost_within(&a, 2000);
    expect(put_job(&a, 7, "zombie"), STORE_REFUSED);
    expect_records(&b, "of a");
    r = raise_attempt(&b, 7);
    ck_assert_uint_eq(r.last.epoch, 1);
    meta_result_done(&r);
    ck_assert_int_eq(atomic_load(&a.lost), 1);
    /* who lost waits before it campaigns, and then stands by */
    campaign(&a);
    ck_assert(!waited_within(a.campaign, 600));
    b.m->free(b.m);
    won(&a);
    ck_assert_int_eq(atomic_load(&a.lost), 1);
    a.m->free(a.m);
    rig_free(&etcd);
}
END_TEST

START_TEST(a_write_is_refused_before_the_old_leader_knows) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1");
    ca.ttl_s = 60, ca.beat_ms = 60000; /* it will not find out by itself */
    lead(&a, &ca);
    expect(put_job(&a, 7, "of a"), STORE_OK);
    AUTO(auto_free) char *url = xprintf("%s/v3/kv/deleterange", etcd.url);
    http_response_t d;
    rig_post(&d, url, "{\"key\":\"L3RpZGVnYXRlL3Rlc3QvbGVhZGVy\"}"); /* /tidegate/test/leader */
    ck_assert_int_eq(d.status, 200);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&d.body), "\"deleted\":\"1\""));
    http_response_done(&d);
    expect(put_job(&a, 7, "zombie"), STORE_REFUSED);
    lost_within(&a, 500);
    ck_assert_ptr_nonnull(strstr(a.why, "another process leads"));
    a.m->free(a.m);
    rig_free(&etcd);
}
END_TEST

/* A3 and the fence: the transaction of a manifest hangs in the network; its writer gives up, raises the attempt and goes on. Then it arrives. */
START_TEST(a_manifest_that_arrives_after_the_next_attempt_has_no_effect) {
    etcd_rig_t etcd;
    proxy_t proxy;
    rig_new(&etcd);
    proxy_start(&proxy, etcd.port);
    node_t a;
    meta_etcd_conf_t ca = conf_of(proxy.url, "a:1");
    ca.operation_ms = 2000, ca.request_ms = 1000; /* both of what hangs and of what does not */
    ca.ttl_s = 60;
    lead(&a, &ca);
    expect(put_job(&a, 7, "first"), STORE_OK);
    meta_result_t r = raise_attempt(&a, 7);
    meta_result_done(&r);
    expect(put_manifest(&a, 7, 0, 1, 1), STORE_OK);

    /* only the manifest is held: the fence after it passes */
    atomic_store(&proxy.mode, PROXY_HOLD);
    expect_at_last(put_manifest(&a, 7, 1, 1, 2), STORE_UNKNOWN);
    expect_at_last(put_job(&a, 8, "late"), STORE_UNKNOWN);
    for (int64_t until = clock_mono_ms() + 20000; atomic_load(&proxy.held) < 2; pause_ms(1)) ck_assert_msg(clock_mono_ms() < until, "the writes did not come by");
    int held = atomic_load(&proxy.held);

    atomic_store(&proxy.mode, PROXY_PASS); /* what is held stays where it is */
    expect(put_job(&a, 8, "new"), STORE_OK);
    r = raise_attempt(&a, 7);
    ck_assert_int_eq(r.outcome, STORE_OK);
    ck_assert_uint_eq(r.attempt.attempt, 2);
    epoch_t last = r.last.epoch;
    meta_result_done(&r);
    ck_assert_int_eq(atomic_load(&proxy.released), 0);
    atomic_store(&proxy.let_go, true); /* and reaches etcd now */
    for (int64_t until = clock_mono_ms() + 20000; atomic_load(&proxy.released) < held && clock_mono_ms() < until;) pause_ms(10);
    ck_assert_int_eq(atomic_load(&proxy.released), held);
    expect_records(&a, "first,new");
    r = raise_attempt(&a, 7);
    ck_assert_uint_eq(r.attempt.attempt, 3);
    ck_assert_uint_eq(r.last.epoch, last); /* what the raise answered stays true */
    meta_result_done(&r);
    expect(put_manifest(&a, 7, last, 1, 3), STORE_REFUSED);
    expect(put_manifest(&a, 7, last, 2, 3), STORE_REFUSED);
    ck_assert_int_eq(atomic_load(&a.lost), 0);
    a.m->free(a.m);
    proxy_stop(&proxy);
    rig_free(&etcd);
}
END_TEST

static void lose_answers(proxy_t *p) {
    atomic_store(&p->lost, 0);
    atomic_store(&p->mode, PROXY_LOSE);
}
static void answer_lost(proxy_t *p) {
    int64_t until = clock_mono_ms() + 10000;
    while (!atomic_load(&p->lost)) {
        ck_assert_msg(clock_mono_ms() < until, "no write came by");
        pause_ms(1);
    }
    atomic_store(&p->mode, PROXY_PASS);
}

START_TEST(a_lost_answer_is_found_out) {
    etcd_rig_t etcd;
    proxy_t proxy;
    rig_new(&etcd);
    proxy_start(&proxy, etcd.port);
    node_t a;
    meta_etcd_conf_t ca = conf_of(proxy.url, "a:1");
    ca.ttl_s = 60; /* it is about answers, not about who renews a lease in time */
    lead(&a, &ca);
    meta_result_t r = raise_attempt(&a, 7);
    meta_result_done(&r);
    waited_t *m = (lose_answers(&proxy), begin_manifest(&a, 7, 0, 1, 1));
    answer_lost(&proxy);
    expect(waited_take(m), STORE_OK); /* it happened, and that was found out */

    waited_t *w = waited_new();
    lose_answers(&proxy);
    a.m->raise_attempt(a.m, 7, 0, waited_by(w));
    answer_lost(&proxy);
    r = waited_take(w);
    ck_assert_msg(r.outcome == STORE_OK, "%s", err_text(r.error));
    ck_assert_uint_eq(r.attempt.attempt, 2); /* raised once, not twice */
    ck_assert_uint_eq(r.last.epoch, 1);
    meta_result_done(&r);

    w = waited_new();
    lose_answers(&proxy);
    a.m->delete_job(a.m, 7, waited_by(w));
    answer_lost(&proxy);
    expect(waited_take(w), STORE_OK);
    expect(put_job(&a, 7, "anew"), STORE_OK);
    expect_records(&a, "anew");
    ck_assert_int_eq(atomic_load(&a.lost), 0);
    a.m->free(a.m);
    proxy_stop(&proxy);
    rig_free(&etcd);
}
END_TEST

START_TEST(etcd_is_killed_in_the_middle_and_comes_back) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1");
    ca.operation_ms = 1000, ca.request_ms = 500;
    lead(&a, &ca);
    meta_result_t r = raise_attempt(&a, 7);
    meta_result_done(&r);
    epoch_t durable = 0; /* the last that was answered OK */
    int unanswered = 0;
    for (int kill = 0; kill < 3; kill++) {
        for (int i = 0; i < 20; i++, durable++) expect_at_last(put_manifest(&a, 7, durable, 1, durable + 1), STORE_OK);
        waited_t *w = begin_manifest(&a, 7, durable, 1, durable + 1);
        pause_ms(kill); /* before, within and after the write */
        rig_kill(&etcd);
        r = waited_take(w);
        bool open = r.outcome != STORE_OK;
        ck_assert(r.outcome == STORE_OK || r.outcome == STORE_UNKNOWN || r.outcome == STORE_FAILED);
        unanswered += r.outcome == STORE_UNKNOWN;
        if (!open) durable++;
        meta_result_done(&r);
        r = put_job(&a, 7, "while it is away");
        ck_assert(r.outcome == STORE_FAILED || r.outcome == STORE_UNKNOWN);
        meta_result_done(&r);
        rig_start(&etcd);
        int64_t until = clock_mono_ms() + 10000;
        while (open) { /* the same question again, until it is answered (promise 3) */
            r = put_manifest(&a, 7, durable, 1, durable + 1);
            ck_assert_msg(r.outcome != STORE_REFUSED, "%s; lost: %s", err_text(r.error), a.why);
            if (r.outcome == STORE_OK) durable++, open = false;
            meta_result_done(&r);
            ck_assert(clock_mono_ms() < until);
        }
        do { /* etcd is back, the leader still leads: a short outage costs no term */
            r = put_job(&a, 7, "back");
            ck_assert(r.outcome != STORE_REFUSED && clock_mono_ms() < until);
            open = r.outcome != STORE_OK;
            meta_result_done(&r);
        } while (open);
    }
    r = raise_attempt(&a, 7);
    ck_assert_uint_eq(r.last.epoch, durable);
    meta_result_done(&r);
    ck_assert_int_eq(atomic_load(&a.lost), 0);
    printf("three kills, %d outcomes unknown at first, %d manifests\n", unanswered, (int)durable);

    /* a longer outage: the leader gives up by itself, and leads again afterwards */
    rig_kill(&etcd);
    lost_within(&a, 12000);
    expect(put_job(&a, 7, "nobody leads"), STORE_REFUSED);
    campaign(&a);
    rig_start(&etcd);
    won(&a);
    r = raise_attempt(&a, 7);
    ck_assert_uint_eq(r.last.epoch, durable);
    meta_result_done(&r);
    a.m->free(a.m);
    rig_free(&etcd);
}
END_TEST

START_TEST(another_endpoint_is_taken_when_one_is_dead) {
    etcd_rig_t etcd;
    proxy_t proxy;
    rig_new(&etcd);
    proxy_start(&proxy, etcd.port);
    AUTO(auto_free) char *urls = xprintf("http://127.0.0.1:%d,%s/,%s", free_port(), proxy.url, etcd.url); /* nobody listens at the first */
    node_t a;
    meta_etcd_conf_t ca = conf_of(urls, "a:1");
    lead(&a, &ca);
    expect(put_job(&a, 7, "one"), STORE_OK);
    atomic_store(&proxy.mode, PROXY_CUT);
    expect(put_job(&a, 7, "two"), STORE_OK);
    pause_ms(2500); /* the lease lives on at the other endpoint */
    expect(put_job(&a, 7, "three"), STORE_OK);
    expect_records(&a, "three");
    ck_assert_int_eq(atomic_load(&a.lost), 0);
    a.m->free(a.m);
    proxy_stop(&proxy);
    rig_free(&etcd);
}
END_TEST

static int64_t status_field(etcd_rig_t *etcd, const char *name) {
    AUTO(auto_free) char *url = xprintf("%s/v3/maintenance/status", etcd->url);
    http_response_t r;
    rig_post(&r, url, "{}");
    ck_assert_int_eq(r.status, 200);
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o;
    ck_ok(json_parse(a, buf_slice(&r.body), &o));
    int64_t v = json_i64(o, name, -1);
    http_response_done(&r);
    return v;
}

START_TEST(two_thousand_manifests_leave_etcd_small) {
    etcd_rig_t etcd;
    rig_new(&etcd);
    node_t a;
    meta_etcd_conf_t ca = conf_of(etcd.url, "a:1");
    ca.compact_ms = 300;
    ca.ttl_s = 60;
    lead(&a, &ca);
    meta_result_t r = raise_attempt(&a, 7);
    meta_result_done(&r);
    int64_t t0 = clock_mono_ms();
    for (epoch_t e = 0; e < 2000; e++) expect(put_manifest(&a, 7, e, 1, e + 1), STORE_OK);
    int64_t took = clock_mono_ms() - t0;
    pause_ms(2000);
    int64_t used = status_field(&etcd, "dbSizeInUse"), size = status_field(&etcd, "dbSize");
    printf("2000 manifests in %" PRId64 " ms; etcd holds %" PRId64 " bytes, its file has %" PRId64 "\n", took, used, size);
    ck_assert_int_gt(used, 0);
    ck_assert_msg(used < 150000, "%" PRId64 " bytes in use", used); /* 2000 of 300 bytes would be 600 kB */
    AUTO(auto_free) char *url = xprintf("%s/v3/kv/range", etcd.url);
    http_response_t old;
    rig_post(&old, url, "{\"key\":\"YQ==\",\"revision\":\"100\"}");
    ck_assert_ptr_nonnull(strstr(buf_cstr(&old.body), "has been compacted"));
    http_response_done(&old);
    a.m->free(a.m);
    rig_free(&etcd);
}
END_TEST

START_TEST(every_call_is_answered_when_the_store_is_closed) {
    etcd_rig_t etcd;
    proxy_t proxy;
    rig_new(&etcd);
    proxy_start(&proxy, etcd.port);
    node_t a, b;
    meta_etcd_conf_t ca = conf_of(proxy.url, "a:1"), cb = conf_of(etcd.url, "b:1");
    ca.ttl_s = cb.ttl_s = 60;
    lead(&a, &ca);
    node_open(&b, &cb);
    campaign(&b);
    atomic_store(&proxy.mode, PROXY_HOLD);
    waited_t *w = waited_new(), *v = waited_new();
    a.m->put_job(a.m, 7, slice_str("held"), waited_by(w));
    a.m->put_job(a.m, 7, slice_str("behind it"), waited_by(v));
    for (int64_t until = clock_mono_ms() + 20000; !atomic_load(&proxy.held); pause_ms(1)) ck_assert_msg(clock_mono_ms() < until, "no write came by");
    a.m->free(a.m);
    expect(waited_take(w), STORE_UNKNOWN);
    expect(waited_take(v), STORE_UNKNOWN);
    won(&b); /* the lease was given back */
    meta_store_t *m;
    ck_ok(meta_store_etcd_open(&ca, &m));
    waited_t *c = waited_new();
    m->campaign(m, on_lost, &a, waited_by(c));
    m->resign(m);
    meta_result_t r = waited_take(c);
    ck_assert_int_ne(r.outcome, STORE_OK);
    meta_result_done(&r);
    m->free(m);
    ck_assert_int_eq(atomic_load(&a.lost), 0);
    atomic_store(&proxy.mode, PROXY_PASS);
    b.m->free(b.m);
    proxy_stop(&proxy);
    rig_free(&etcd);
}
END_TEST

START_TEST(bad_configuration_is_refused) {
    meta_store_t *m;
    ck_fails(meta_store_etcd_open(&(meta_etcd_conf_t){.endpoints = "127.0.0.1:2379"}, &m), ERR_INVALID, "no etcd endpoint");
    ck_fails(meta_store_etcd_open(&(meta_etcd_conf_t){.endpoints = "http://a:1,ftp://b"}, &m), ERR_INVALID, "ftp://b");
    ck_fails(meta_store_etcd_open(&(meta_etcd_conf_t){.endpoints = "http://a:1/path"}, &m), ERR_INVALID, "/path");
    ck_fails(meta_store_etcd_open(&(meta_etcd_conf_t){.endpoints = ""}, &m), ERR_INVALID, "no etcd endpoint");
    ck_fails(meta_store_etcd_open(&(meta_etcd_conf_t){.endpoints = "http://a:1", .cluster = "a/b"}, &m), ERR_INVALID, "cluster name");
}
END_TEST

TESTS("meta_etcd", what_is_written_is_read_by_the_next_leader, many_and_large_records_are_loaded,
      a_leader_that_dies_is_followed_within_its_lease_and_a_second, a_paused_leader_comes_back_and_can_write_nothing,
      a_write_is_refused_before_the_old_leader_knows, a_manifest_that_arrives_after_the_next_attempt_has_no_effect,
      a_lost_answer_is_found_out, etcd_is_killed_in_the_middle_and_comes_back,
      another_endpoint_is_taken_when_one_is_dead,
      two_thousand_manifests_leave_etcd_small, every_call_is_answered_when_the_store_is_closed, bad_configuration_is_refused)
