/* test_meta_store.c: the promises of meta_store.h, for the stores of this folder. */
#include "coordinator/meta_store.h"
#include "state/disk.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <unistd.h>

typedef struct got { int n; meta_result_t r; } got_t;
static void done(void *arg, meta_result_t *r) {
    got_t *g = arg;
    meta_result_done(&g->r);
    g->r = *r;
    *r = (meta_result_t){0};
    g->n++;
}
static void lost(void *arg, err_t *why) { err_free(why); }

static uint64_t lead(meta_store_t *m, got_t *g) {
    m->campaign(m, lost, NULL, (meta_done_t){done, g});
    ck_assert_int_eq(g->r.outcome, STORE_OK);
    return g->r.leader;
}
static store_outcome_t put(meta_store_t *m, got_t *g, attempt_t previous_attempt, epoch_t previous, attempt_t attempt, epoch_t epoch) {
    meta_pointer_t old = {.incarnation = 9, .leader = 1, .attempt = previous_attempt, .epoch = previous};
    meta_pointer_t now = {.incarnation = 9, .leader = 1, .attempt = attempt, .epoch = epoch, .crc = 5, .path = "jobs/x"};
    m->put_manifest(m, 7, previous_attempt ? &old : NULL, &now, (meta_done_t){done, g});
    return g->r.outcome;
}
static void raise_to(meta_store_t *m, got_t *g, attempt_t expected) {
    m->raise_attempt(m, 7, 0, (meta_done_t){done, g});
    ck_assert_int_eq(g->r.outcome, STORE_OK);
    ck_assert_uint_eq(g->r.attempt.attempt, expected);
}

/* The same story for every store; returns the directory store's path for a second life. */
static void story(meta_store_t *m) {
    got_t g = {0};
    m->put_job(m, 7, slice_str("early"), (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.outcome, STORE_REFUSED); /* who does not lead writes nothing */
    meta_result_done(&g.r);
    m->look(m, 7, (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.outcome, STORE_REFUSED); /* and is told nothing to act upon */
    lead(m, &g);
    m->put_job(m, 7, slice_str("{\"a\":1}"), (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.outcome, STORE_OK);
    raise_to(m, &g, 1);
    ck_assert(!g.r.has_last);
    ck_assert_uint_eq(g.r.attempt.floor, 0);
    ck_assert_int_eq(put(m, &g, 0, 0, 1, 0), STORE_OK);
    ck_assert_int_eq(put(m, &g, 0, 0, 1, 0), STORE_OK);      /* asked again: the same is there */
    ck_assert_int_eq(put(m, &g, 0, 0, 1, 1), STORE_REFUSED); /* there is one already */
    ck_assert_int_eq(put(m, &g, 1, 0, 1, 1), STORE_OK);
    ck_assert_int_eq(put(m, &g, 1, 0, 1, 2), STORE_REFUSED); /* not the last */
    raise_to(m, &g, 2);
    ck_assert(g.r.has_last);
    ck_assert_uint_eq(g.r.last.epoch, 1);
    ck_assert_uint_eq(g.r.attempt.floor, 5);
    ck_assert_int_eq(put(m, &g, 1, 1, 1, 2), STORE_REFUSED); /* A3: of the old attempt, too late for ever */
    ck_assert_int_eq(put(m, &g, 1, 1, 2, 6), STORE_OK);
    meta_result_done(&g.r);
    m->look(m, 7, (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.outcome, STORE_OK);
    ck_assert(g.r.has_last && g.r.attempt.attempt == 2 && g.r.last.epoch == 6);
    raise_to(m, &g, 3);
    ck_assert_uint_eq(g.r.attempt.floor, 10);
    raise_to(m, &g, 4); /* nothing completed, but 11..14 may have been injected */
    ck_assert_uint_eq(g.r.attempt.floor, 14);
    m->load(m, (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.njobs, 1);
    ck_assert_str_eq(g.r.records[0], "{\"a\":1}");
    meta_result_done(&g.r);
}

START_TEST(memory) {
    meta_store_t *m = meta_store_memory_new();
    story(m);
    got_t g = {0};
    meta_store_memory_fail(m, STORE_UNKNOWN, true);
    ck_assert_int_eq(put(m, &g, 2, 6, 4, 15), STORE_UNKNOWN);
    ck_assert_int_eq(put(m, &g, 2, 6, 4, 15), STORE_OK); /* it had landed */
    meta_store_memory_fail(m, STORE_UNKNOWN, false);
    ck_assert_int_eq(put(m, &g, 4, 15, 4, 16), STORE_UNKNOWN);
    ck_assert_int_eq(put(m, &g, 4, 15, 4, 16), STORE_OK);
    m->delete_job(m, 7, (meta_done_t){done, &g});
    m->load(m, (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.njobs, 0);
    meta_result_done(&g.r);
    m->free(m);
}
END_TEST

static void scratch(char *path) {
    strcpy(path, "/tmp/tidegate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}
static void remove_all(const char *path) {
    AUTO(auto_free) char *command = xprintf("rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(A28_a_directory_serves_one_coordinator_and_remembers) {
    char path[64];
    scratch(path);
    meta_store_t *m = NULL, *second = NULL;
    ck_ok(meta_store_dir_open(path, &m));
    story(m);
    ck_fails(meta_store_dir_open(path, &second), ERR_EXISTS, "in use by process");
    m->free(m);
    ck_ok(meta_store_dir_open(path, &m));
    got_t g = {0};
    ck_assert_uint_eq(lead(m, &g), 2); /* the leader epoch grows over restarts */
    raise_to(m, &g, 5);
    ck_assert_uint_eq(g.r.last.epoch, 6);
    ck_assert_uint_eq(g.r.last.attempt, 2);
    ck_assert_str_eq(g.r.last.path, "jobs/x");
    m->delete_job(m, 7, (meta_done_t){done, &g});
    m->load(m, (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.njobs, 0);
    meta_result_done(&g.r);
    m->free(m);
    remove_all(path);
}
END_TEST

START_TEST(a_damaged_directory_says_which_file) {
    char path[64];
    scratch(path);
    disk_t *d = NULL;
    ck_ok(disk_open_posix(path, true, &d));
    ck_ok(d->put(d, "leader", slice_str("garbage\n")));
    meta_store_t *m = NULL;
    got_t g = {0};
    ck_ok(meta_store_dir_open(path, &m));
    m->campaign(m, lost, NULL, (meta_done_t){done, &g});
    ck_assert_int_eq(g.r.outcome, STORE_FAILED);
    ck_assert_ptr_nonnull(strstr(err_text(g.r.error), "/leader holds no number"));
    ck_ok(d->put(d, "leader", slice_str("3\n")));
    ck_assert_uint_eq(lead(m, &g), 4);
    ck_ok(d->put(d, "jobs/0000000000000007/manifest", slice_str("{\"v\":1,")));
    m->raise_attempt(m, 7, 0, (meta_done_t){done, &g});
    ck_assert_int_ne(g.r.outcome, STORE_OK);
    ck_assert_ptr_nonnull(strstr(err_text(g.r.error), "jobs/0000000000000007/manifest"));
    meta_result_done(&g.r);
    m->free(m);
    d->free(d);
    remove_all(path);
}
END_TEST

START_TEST(pointers_are_small_and_exact) {
    meta_pointer_t p = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX,
                        "jobs/ffffffffffffffff/manifest/iffffffffffffffff.lffffffffffffffff.a18446744073709551615.e18446744073709551615.json"};
    AUTO(buf_free) buf_t b = buf_make(4096);
    meta_pointer_print(&b, &p);
    ck_assert_uint_le(b.len, META_POINTER_MAX); /* B12 */
    meta_pointer_t q;
    ck_ok(meta_pointer_parse(buf_slice(&b), &q));
    ck_assert(meta_pointer_eq(&p, &q));
    ck_assert_uint_eq(q.crc, UINT32_MAX);
    meta_pointer_done(&q);
    ck_fails(meta_pointer_parse(slice_str("{\"v\":2}"), &q), ERR_VERSION, "version 2");
    ck_fails(meta_pointer_parse(slice_str("x"), &q), ERR_CORRUPT, "manifest pointer");
}
END_TEST

START_TEST(records_survive_their_text) {
    job_record_t *r = xcalloc(1, sizeof *r), *q = NULL;
    r->id = 7;
    r->incarnation = UINT64_MAX;
    r->spec = (job_spec_t){.name = xstrdup("orders"), .sql = xstrdup("INSERT\n\"x\" 'y'"), .nset = 1, .parallelism = 4};
    r->spec.set_keys = xcalloc(1, sizeof(char *));
    r->spec.set_values = xcalloc(1, sizeof(char *));
    r->spec.set_keys[0] = xstrdup("restart.max");
    r->spec.set_values[0] = xstrdup("3");
    r->state = JOB_FAILED;
    r->wanted = WANTED_STOP;
    r->error = err_hint(err_at(err_new(ERR_DATA, "bad"), 3, 4), "look");
    r->pin = 12;
    r->restarts = 5;
    r->family = 6;
    record_sink_add(r, "results", "topic 'results'", "orders/results");
    record_sink_add(r, "print", NULL, NULL);
    AUTO(buf_free) buf_t a = buf_make(1 << 16), b = buf_make(1 << 16);
    job_record_print(&a, r);
    ck_ok(job_record_parse(buf_slice(&a), &q));
    job_record_print(&b, q);
    ck_assert(slice_eq(buf_slice(&a), buf_slice(&b)));
    ck_assert_int_eq(err_code(q->error), ERR_DATA);
    ck_assert_uint_eq(q->incarnation, UINT64_MAX);
    ck_assert_uint_eq(q->restarts, 5);
    ck_assert_int_eq(q->nsinks, 2);
    ck_assert_str_eq(q->sinks[0].ledger, "orders/results");
    ck_assert_ptr_null(q->sinks[1].output);
    job_record_free(q);
    job_record_free(r);
    ck_fails(job_record_parse(slice_str("{\"version\":1,\"id\":7}"), &q), ERR_CORRUPT, "job record");
    ck_fails(job_record_parse(slice_str("{\"version\":99}"), &q), ERR_VERSION, "99");
    for (size_t cut = 0; cut < a.len; cut += 7) {
        err_t *e = job_record_parse(slice_of(a.data, cut), &q);
        ck_assert_ptr_nonnull(e);
        err_free(e);
    }
}
END_TEST

TESTS("coordinator/meta_store", memory, A28_a_directory_serves_one_coordinator_and_remembers, a_damaged_directory_says_which_file,
      pointers_are_small_and_exact, records_survive_their_text)
