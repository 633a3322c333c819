/* test_checkpoint.c: the writer of epochs on a failing disk, and the rule that says when a base is due. */
#include "common/clock.h"
#include "common/mailbox.h"
#include "tests/helpers/test.h"
#include "worker/base.h"
#include "worker/checkpoint.h"
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* A disk in memory that fails the next `fail` calls of create, append or sync, and remembers every file. Called in the writer's thread. */
typedef struct memory_disk {
    disk_t disk;
    atomic_int fail_create, fail_append, fail_sync;
    int nfiles;
    struct { char path[512]; buf_t bytes; bool abandoned; } files[16];
} memory_disk_t;
struct disk_file { int i; };

static bool failing(atomic_int *n) { return atomic_load(n) > 0 && atomic_fetch_sub(n, 1) > 0; }
static err_t *m_create(disk_t *d, const char *path, disk_file_t **ret) {
    memory_disk_t *m = (memory_disk_t *)d;
    if (failing(&m->fail_create)) return err_new(ERR_NO_SPACE, "%s: no space left", path);
    for (int i = 0; i < m->nfiles; i++) ASSERT(strcmp(m->files[i].path, path) != 0); /* created exclusively */
    ASSERT(m->nfiles < 16);
    snprintf(m->files[m->nfiles].path, sizeof m->files[0].path, "%s", path);
    m->files[m->nfiles].bytes = buf_make(1 << 20);
    *ret = xcalloc(1, sizeof **ret);
    (*ret)->i = m->nfiles++;
    return NULL;
}
static err_t *m_append(disk_t *d, disk_file_t *f, slice_t b) {
    memory_disk_t *m = (memory_disk_t *)d;
    ASSERT(!m->files[f->i].abandoned);
    bool fail = failing(&m->fail_append);
    buf_put(&m->files[f->i].bytes, b.p, fail ? b.len / 2 : b.len);
    m->files[f->i].abandoned = fail;
    return fail ? err_new(ERR_NO_SPACE, "append: no space left") : NULL;
}
static err_t *m_sync(disk_t *d, disk_file_t *f) {
    memory_disk_t *m = (memory_disk_t *)d;
    ASSERT(!m->files[f->i].abandoned); /* after a failed sync the file is not touched again (hazards A22) */
    if (!failing(&m->fail_sync)) return NULL;
    m->files[f->i].abandoned = true;
    return err_new(ERR_IO, "sync: i/o error");
}
static void m_close(disk_t *d, disk_file_t *f) { free(f); }
static err_t *m_read(disk_t *d, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    memory_disk_t *m = (memory_disk_t *)d;
    for (int i = 0; i < m->nfiles; i++) {
        if (strcmp(m->files[i].path, path)) continue;
        uint64_t have = m->files[i].bytes.len;
        if (from < have) buf_put(ret, m->files[i].bytes.data + from, MIN(len, have - from));
        return NULL;
    }
    return err_new(ERR_NOT_FOUND, "%s", path);
}
/* Only what was abandoned is ever removed: the slot stays, so that its name is not used again. */
static err_t *m_remove(disk_t *d, const char *path) {
    memory_disk_t *m = (memory_disk_t *)d;
    for (int i = 0; i < m->nfiles; i++)
        if (!strcmp(m->files[i].path, path)) ASSERT(m->files[i].abandoned);
    return NULL;
}
static const char *m_where(disk_t *d) { return "memory"; }
static void disk_init(memory_disk_t *m) {
    memset(m, 0, sizeof *m);
    m->disk = (disk_t){.create = m_create, .append = m_append, .sync = m_sync, .close = m_close, .read = m_read, .remove = m_remove,
                        .where = m_where};
}
static void disk_done(memory_disk_t *m) {
    for (int i = 0; i < m->nfiles; i++) buf_free(&m->files[i].bytes);
}

typedef struct answers {
    mailbox_t *mail;
    atomic_int dropped;
} answers_t;
static void on_done(void *arg, checkpoint_done_t *d) {
    checkpoint_done_t *copy = xmalloc(sizeof *copy);
    *copy = *d;
    ASSERT(mailbox_send(((answers_t *)arg)->mail, copy));
}
static void on_dropped(void *arg, job_id_t job, attempt_t attempt) { atomic_fetch_add(&((answers_t *)arg)->dropped, 1); }
static checkpoint_done_t next(answers_t *a) {
    for (int i = 0; i < 100; i++) {
        checkpoint_done_t *d = mailbox_receive(a->mail);
        if (d) {
            checkpoint_done_t x = *d;
            free(d);
            return x;
        }
        mailbox_wait(a->mail, 100);
    }
    ck_abort_msg("no answer");
    return (checkpoint_done_t){0};
}
static task_seal_t **seals_of(epoch_t e, const char *text) {
    task_seal_t **l = xcalloc(2, sizeof *l);
    for (int i = 0; i < 2; i++) {
        l[i] = xcalloc(1, sizeof **l);
        l[i]->epoch = e;
        l[i]->stage = 1;
        l[i]->subtask = 1 - i; /* out of order on purpose: segments are ordered by place */
        l[i]->nstates = 1;
        l[i]->states = xcalloc(1, sizeof(state_seal_t));
        l[i]->states[0] = (state_seal_t){.fingerprint = 5, .slot = -1, .bytes = buf_make(1024)};
        buf_printf(&l[i]->states[0].bytes, "%s-%d", text, l[i]->subtask);
    }
    return l;
}
typedef struct story { memory_disk_t disk; answers_t answers; checkpoint_t *c; } story_t;
static void story_start(story_t *s) {
    disk_init(&s->disk);
    s->answers = (answers_t){.mail = mailbox_new(100, free)};
    checkpoint_conf_t conf = {&s->disk.disk, "w1", true, on_done, on_dropped, &s->answers};
    ck_ok(checkpoint_new(&conf, &s->c));
}
static void story_end(story_t *s) {
    checkpoint_free(s->c);
    mailbox_free(s->answers.mail);
    disk_done(&s->disk);
}
static const changelog_id_t id = {.job = 7, .incarnation = 1, .leader = 2, .attempt = 3};

typedef struct seen { buf_t text; } seen_t;
static err_t *see(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    buf_put(&((seen_t *)arg)->text, bytes.p, bytes.len);
    buf_puts(&((seen_t *)arg)->text, " ");
    return NULL;
}
static void holds(story_t *s, const extent_t *x, const char *text) {
    seen_t seen = {buf_make(4096)};
    segment_visitor_t v = {.arg = &seen, .state = see};
    ck_ok(changelog_read(&s->disk.disk, x, 7, &v));
    ck_assert_str_eq(buf_cstr(&seen.text), text);
    buf_free(&seen.text);
}

START_TEST(epochs_are_appended_to_one_file_and_seals_come_back) {
    story_t s;
    story_start(&s);
    extent_t x[2];
    for (epoch_t e = 1; e <= 2; e++) {
        checkpoint_write(s.c, &id, e, seals_of(e, e == 1 ? "one" : "two"), 2);
        checkpoint_done_t d = next(&s.answers);
        ck_assert_ptr_null(d.error);
        ck_assert_uint_eq(d.epoch, e);
        ck_assert_int_eq(d.nseals, 2);
        x[e - 1] = d.extent;
        checkpoint_seals_free(d.seals, d.nseals);
    }
    ck_assert_int_eq(s.disk.nfiles, 1);
    ck_assert_uint_eq(x[0].to, x[1].from);
    holds(&s, &x[0], "one-0 one-1 ");
    holds(&s, &x[1], "two-0 two-1 ");
    free(x[0].path);
    free(x[1].path);
    checkpoint_drop(s.c, 7, 3);
    for (int i = 0; i < 5000 && !atomic_load(&s.answers.dropped); i++) usleep(1000);
    ck_assert_int_eq(atomic_load(&s.answers.dropped), 1);
    story_end(&s);
}
END_TEST

/* Hazards A1, A22: the same bytes, whole, into a new file, until it succeeds. */
START_TEST(a_failed_write_waits_in_memory_and_goes_to_a_new_file) {
    story_t s;
    story_start(&s);
    checkpoint_write(s.c, &id, 1, seals_of(1, "one"), 2);
    checkpoint_done_t d = next(&s.answers);
    free(d.extent.path);
    checkpoint_seals_free(d.seals, d.nseals);
    atomic_store(&s.disk.fail_append, 1);
    checkpoint_write(s.c, &id, 2, seals_of(2, "two"), 2);
    d = next(&s.answers);
    ck_assert_int_eq(err_code(d.error), ERR_NO_SPACE);
    ck_assert_ptr_null(d.seals); /* they stay until the epoch is durable */
    err_free(d.error);
    atomic_store(&s.disk.fail_create, 1);
    checkpoint_again(s.c, 7, 3, 2);
    d = next(&s.answers);
    ck_assert_int_eq(err_code(d.error), ERR_NO_SPACE);
    err_free(d.error);
    atomic_store(&s.disk.fail_sync, 1);
    checkpoint_again(s.c, 7, 3, 2);
    d = next(&s.answers);
    ck_assert_int_eq(err_code(d.error), ERR_IO);
    err_free(d.error);
    checkpoint_again(s.c, 7, 3, 2);
    d = next(&s.answers);
    ck_assert_ptr_null(d.error);
    ck_assert_uint_eq(d.epoch, 2);
    ck_assert_str_eq(d.extent.path, s.disk.files[s.disk.nfiles - 1].path); /* never the file with the torn tail */
    ck_assert(!s.disk.files[s.disk.nfiles - 1].abandoned);
    holds(&s, &d.extent, "two-0 two-1 ");
    free(d.extent.path);
    checkpoint_seals_free(d.seals, d.nseals);
    checkpoint_again(s.c, 7, 3, 2); /* nothing waits any more: no answer */
    checkpoint_again(s.c, 7, 9, 2);
    story_end(&s);
}
END_TEST

START_TEST(what_waits_is_dropped_with_its_attempt) {
    story_t s;
    story_start(&s);
    atomic_store(&s.disk.fail_create, 1000);
    checkpoint_write(s.c, &id, 1, seals_of(1, "one"), 2);
    err_free(next(&s.answers).error);
    checkpoint_drop(s.c, 7, 3);
    checkpoint_again(s.c, 7, 3, 1);
    for (int i = 0; i < 5000 && !atomic_load(&s.answers.dropped); i++) usleep(1000);
    ck_assert_int_eq(s.disk.nfiles, 0);
    ck_assert_ptr_null(mailbox_receive(s.answers.mail));
    story_end(&s);
}
END_TEST

/* It is no failure of the storage, and it is not built again and again on the thread that all jobs share. */
START_TEST(what_cannot_be_built_is_told_apart_from_what_cannot_be_written) {
    story_t s;
    story_start(&s);
    task_seal_t **seals = seals_of(1, "one");
    seals[0]->states[0].bytes.overflow = true;
    checkpoint_write(s.c, &id, 1, seals, 2);
    checkpoint_done_t d = next(&s.answers);
    ck_assert_int_eq(err_code(d.error), ERR_LIMIT);
    ck_assert(d.never);
    err_free(d.error);
    checkpoint_drop(s.c, 7, 3);
    atomic_store(&s.disk.fail_append, 1);
    changelog_id_t later = id;
    later.attempt = 4;
    checkpoint_write(s.c, &later, 5, seals_of(5, "five"), 2);
    d = next(&s.answers);
    ck_assert_int_eq(err_code(d.error), ERR_NO_SPACE);
    ck_assert(!d.never);
    err_free(d.error);
    story_end(&s);
}
END_TEST

START_TEST(when_a_base_is_due) {
    const uint64_t mb = 1 << 20;
    base_need_t n = {.bytes = mb, .since_ms = 3600000};
    ck_assert(!base_due(&n, 30000)); /* a small job pays for no RocksDB, ever */
    n.bytes = 5 * mb;
    ck_assert(base_due(&n, 30000));
    n.since_ms = 29999;
    ck_assert(!base_due(&n, 30000));
    n.bytes = BASE_CHANGELOG_MAX;
    ck_assert(base_due(&n, 30000)); /* the bound waits for no interval */
    n.unaccepted = true;
    ck_assert(!base_due(&n, 30000));
    n.bytes = 2 * BASE_CHANGELOG_MAX;
    ck_assert(base_due(&n, 30000));
    n = (base_need_t){.asked = true, .bytes = 4 * mb};
    ck_assert(base_due(&n, 30000));
    n.bytes = 1; /* asked for, and small: later */
    ck_assert(!base_due(&n, 30000));
    n.since_ms = 20 * 30000;
    ck_assert(base_due(&n, 30000));
    n.bytes = 0;
    ck_assert(!base_due(&n, 30000)); /* nothing happened since the last */
    n = (base_need_t){.bytes = 16 * mb, .bytes_max = 16 * mb, .since_ms = 0}; /* little --memory: a restore reads no more than fits */
    ck_assert(base_due(&n, 30000));
    n.bytes--;
    ck_assert(!base_due(&n, 30000));
}
END_TEST

START_TEST(the_changelog_between_bases_grows_with_the_state_and_has_a_bound) {
    const uint64_t mb = 1 << 20;
    ck_assert_uint_eq(base_bound(0, 0, 100000 * mb, 0), BASE_CHANGELOG_MAX);
    ck_assert_uint_eq(base_bound(256 * mb, 1024 * mb, 100 * mb, 0), 256 * mb);  /* a small state */
    ck_assert_uint_eq(base_bound(256 * mb, 1536 * mb, 700 * mb, 0), 1050 * mb); /* what a restore reads is no more than proportional to it */
    ck_assert_uint_eq(base_bound(256 * mb, 1024 * mb, 9000 * mb, 0), 1024 * mb);
    ck_assert_uint_eq(base_bound(16 * mb, 16 * mb, 9000 * mb, 0), 16 * mb);     /* and fits into memory */
    ck_assert_uint_eq(base_bound(16 * mb, 16 * mb, 30 * mb, 200 * mb), 216 * mb); /* or goes into the base */
    ck_assert_uint_eq(base_bound(16 * mb, 16 * mb, 30 * mb, 90000 * mb), 16 * mb + BASE_CHANGELOG_EVICTED);
}
END_TEST

TESTS("worker/checkpoint", epochs_are_appended_to_one_file_and_seals_come_back, a_failed_write_waits_in_memory_and_goes_to_a_new_file,
      what_waits_is_dropped_with_its_attempt, what_cannot_be_built_is_told_apart_from_what_cannot_be_written,
      when_a_base_is_due, the_changelog_between_bases_grows_with_the_state_and_has_a_bound)
