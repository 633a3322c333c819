/* test_driver.c: the driver with real threads, a real directory and fake workers: a job from submit to its end, over a worker's death
 * and a new coordinator on the same directory. */
#include "common/clock.h"
#include "common/json.h"
#include "common/mailbox.h"
#include "coordinator/driver.h"
#include "coordinator/savepoint_files.h"
#include "tests/helpers/test.h"
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <time.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* ---- a worker that obeys: answers come from its own thread, as over a network */
typedef struct fake {
    link_t link;
    mailbox_t *in;
    pthread_t thread;
    char name[16];
    int slots;
    uint64_t leader, incarnation;
    attempt_t attempt;
    job_id_t job;
    bool busy, end_soon, cut, ended_sent, welcomed;
    uint64_t rows;
    int deploys;
    epoch_t restored, completed;
} fake_t;
static void free_msg(void *m) { ctl_free(m); }
static void link_send(link_t *l, ctl_msg_t *m) {
    fake_t *f = CONTAINER_OF(l, fake_t, link);
    if (!mailbox_send(f->in, m)) ctl_free(m);
}
static void link_close(link_t *l) {
    fake_t *f = CONTAINER_OF(l, fake_t, link);
    __atomic_store_n(&f->cut, true, __ATOMIC_RELEASE);
    mailbox_wake(f->in);
}
static void link_free(link_t *l) {}
static const char *link_peer(link_t *l) { return "fake"; }
static void say(fake_t *f, ctl_msg_t *m) {
    m->leader = f->leader;
    f->link.handler.on_message(f->link.handler.arg, &f->link, m);
}
static ctl_msg_t *of_job(fake_t *f, ctl_kind_t kind, epoch_t epoch) {
    ctl_msg_t *m = ctl_new(kind);
    m->job = f->job;
    m->incarnation = f->incarnation;
    m->attempt = f->attempt;
    m->epoch = epoch;
    return m;
}
static void ack(fake_t *f, epoch_t epoch) {
    ctl_msg_t *m = of_job(f, CTL_ACK, epoch);
    m->ack.rows = f->rows;
    m->ack.ended = f->ended_sent;
    say(f, m);
}
static void hear(fake_t *f, ctl_msg_t *m) {
    switch (m->kind) {
    case CTL_WELCOME:
        f->leader = m->leader;
        __atomic_store_n(&f->welcomed, true, __ATOMIC_RELEASE);
        break;
    case CTL_DEPLOY:
        f->job = m->job;
        f->incarnation = m->incarnation;
        f->attempt = m->attempt;
        f->restored = m->deploy.manifest->epoch;
        f->deploys++;
        say(f, of_job(f, CTL_DEPLOYED, 0));
        break;
    case CTL_INJECT: ack(f, m->epoch); break;
    case CTL_COMPLETE: f->completed = m->epoch; break;
    case CTL_STOP: /* one of an attempt before answers a heartbeat that told of it, and may come behind the next DEPLOY */
        if (m->attempt >= f->attempt) say(f, of_job(f, CTL_STOPPED, 0));
        break;
    default: break;
    }
}
static void heartbeat(fake_t *f) {
    ctl_msg_t *m = ctl_new(CTL_HEARTBEAT);
    if (f->job) {
        m->heartbeat.njobs = 1;
        m->heartbeat.jobs = xcalloc(1, sizeof(job_report_t));
        m->heartbeat.jobs[0] = (job_report_t){.job = f->job, .attempt = f->attempt, .busy = f->busy};
    }
    say(f, m);
}
static void *fake_loop(void *arg) {
    fake_t *f = arg;
    ctl_msg_t *r = ctl_new(CTL_REGISTER);
    r->reg.name = xstrdup(f->name);
    r->reg.address = xstrdup("127.0.0.1:1");
    r->reg.slots = f->slots;
    r->reg.version_min = r->reg.version_max = 1;
    say(f, r);
    bool closed = false;
    int64_t beat_at = 0;
    while (!closed && !__atomic_load_n(&f->cut, __ATOMIC_ACQUIRE)) {
        mailbox_wait(f->in, 50);
        for (ctl_msg_t *m; (m = mailbox_receive(f->in)) != NULL; ctl_free(m)) {
            if (m->kind == CTL_GOODBYE) closed = true;
            hear(f, m);
        }
        if (__atomic_load_n(&f->end_soon, __ATOMIC_ACQUIRE) && !f->ended_sent && f->deploys) {
            f->ended_sent = true;
            say(f, of_job(f, CTL_ENDED, 0));
        }
        if (!f->leader || clock_mono_ms() < beat_at) continue; /* each is answered: never in answer to an answer */
        beat_at = clock_mono_ms() + 50;
        heartbeat(f);
    }
    f->link.handler.on_closed(f->link.handler.arg, &f->link, NULL);
    return NULL;
}
static void fake_start(fake_t *f, const char *name, int slots, coord_driver_t *d) {
    *f = (fake_t){.link = {link_send, link_close, link_free, link_peer, {0}}, .slots = slots, .busy = true, .rows = 3};
    snprintf(f->name, sizeof f->name, "%s", name);
    f->in = mailbox_new(4096, free_msg);
    coord_driver_accept(d, &f->link);
    pthread_create(&f->thread, NULL, fake_loop, f);
    for (int i = 0; i < 1000 && !__atomic_load_n(&f->welcomed, __ATOMIC_ACQUIRE); i++) usleep(10000);
    ck_assert_msg(__atomic_load_n(&f->welcomed, __ATOMIC_ACQUIRE), "worker %s was not welcomed", name);
}
static void fake_join(fake_t *f) {
    pthread_join(f->thread, NULL);
    mailbox_free(f->in);
}
static void fake_kill(fake_t *f) { __atomic_store_n(&f->cut, true, __ATOMIC_RELEASE); }

/* ---- a client that waits */
typedef struct waiting { pthread_mutex_t lock; pthread_cond_t cond; bool done; client_reply_t reply; } waiting_t;
static void answered(void *arg, client_reply_t *r) {
    waiting_t *w = arg;
    pthread_mutex_lock(&w->lock);
    w->reply = *r;
    *r = (client_reply_t){0};
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}
static bool is_answered(waiting_t *w) {
    pthread_mutex_lock(&w->lock);
    bool done = w->done;
    pthread_mutex_unlock(&w->lock);
    return done;
}
static client_reply_t call_with(coord_driver_t *d, client_op_t op, job_id_t job, const char *sql, const char *from) {
    waiting_t w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, {0}};
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = op;
    r->job = job;
    if (sql) r->spec = (job_spec_t){.sql = xstrdup(sql), .parallelism = 2};
    if (from) r->from = xstrdup(from);
    coord_driver_call(d, r, answered, &w);
    int64_t until = clock_mono_ns() + 30000000000;
    pthread_mutex_lock(&w.lock);
    while (!w.done) ck_assert(clock_wait_until(&w.cond, &w.lock, until));
    pthread_mutex_unlock(&w.lock);
    return w.reply;
}
static client_reply_t call(coord_driver_t *d, client_op_t op, job_id_t job, const char *sql) { return call_with(d, op, job, sql, NULL); }
static char *job_field(coord_driver_t *d, job_id_t job, const char *name) {
    client_reply_t r = call(d, CLIENT_JOB, job, NULL);
    if (r.error) ck_abort_msg("job: %s", err_text(r.error));
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    ck_ok(json_parse(a, buf_slice(&r.json), &o));
    const json_t *v = json_get(json_get(o, "job"), name);
    char *s = xstrdup(v && v->text ? v->text : "");
    client_reply_free(&r);
    return s;
}
static void wait_state(coord_driver_t *d, job_id_t job, const char *state) {
    for (int i = 0; i < 600; i++) {
        AUTO(auto_free) char *now = job_field(d, job, "state");
        if (strcmp(now, state) == 0) return;
        usleep(20000);
    }
    AUTO(auto_free) char *now = job_field(d, job, "state");
    ck_abort_msg("job is %s, not %s", now, state);
}
static uint64_t number(coord_driver_t *d, job_id_t job, const char *name) {
    AUTO(auto_free) char *s = job_field(d, job, name);
    return strtoull(s, NULL, 10);
}
static void wait_epoch(coord_driver_t *d, job_id_t job, epoch_t least) {
    for (int i = 0; i < 600 && number(d, job, "epoch") < least; i++) usleep(20000);
    ck_assert_uint_ge(number(d, job, "epoch"), least);
}

/* ---- a plan by hand: one stage without sources and sinks */
static err_t *compile(void *arg, const job_spec_t *spec, plan_t **ret) {
    if (strstr(spec->sql, "wrong")) return err_at(err_new(ERR_SYNTAX, "unexpected 'wrong'"), 1, 8);
    arena_t *a = arena_new();
    plan_t *p = ARENA_NEW(a, plan_t);
    p->arena = a;
    p->job_name = "orders";
    p->parallelism = spec->parallelism;
    p->hash = 42;
    p->nstages = 1;
    p->stages = ARENA_ARRAY(a, plan_stage_t *, 1);
    p->stages[0] = ARENA_NEW(a, plan_stage_t);
    p->stages[0]->label = "only";
    static const char *keys[] = {"execution.checkpointing.interval"}, *values[] = {"20 ms"};
    p->set = (options_t){1, keys, values};
    *ret = p;
    return NULL;
}

typedef struct place { char path[64]; disk_t *disk; } place_t;
static place_t place_new(void) {
    place_t p = {"/tmp/tidegate-test-XXXXXX", NULL};
    ck_assert_ptr_nonnull(mkdtemp(p.path));
    AUTO(auto_free) char *storage = xprintf("%s/storage", p.path);
    ck_ok(disk_open_posix(storage, true, &p.disk));
    return p;
}
static void place_free(place_t *p) {
    p->disk->free(p->disk);
    AUTO(auto_free) char *command = xprintf("rm -rf '%s'", p->path);
    ck_assert_int_eq(system(command), 0);
}
static coord_driver_t *start(place_t *p) {
    AUTO(auto_free) char *meta = xprintf("%s/meta", p->path);
    coord_driver_conf_t conf = {.core = coord_conf_default(), .storage = p->disk, .address = "here", .compile = compile};
    conf.core.heartbeat_timeout_ms = 5000;
    conf.core.settle_ms = 100;
    ck_ok(meta_store_dir_open(meta, &conf.meta));
    coord_driver_t *d = NULL;
    ck_ok(coord_driver_new(&conf, &d));
    for (int i = 0; i < 500 && !coord_driver_leading(d); i++) usleep(10000);
    ck_assert(coord_driver_leading(d));
    return d;
}
static job_id_t submit(coord_driver_t *d) {
    client_reply_t r = call(d, CLIENT_SUBMIT, 0, "INSERT");
    if (r.error) ck_abort_msg("submit: %s", err_text(r.error));
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    ck_ok(json_parse(a, buf_slice(&r.json), &o));
    job_id_t id = (job_id_t)json_i64(json_get(o, "job"), "id", 0);
    ck_assert_str_eq(json_str(json_get(o, "job"), "state", ""), "RUNNING");
    client_reply_free(&r);
    ck_assert_uint_ne(id, 0);
    return id;
}

START_TEST(submit_run_lose_a_worker_finish) {
    place_t p = place_new();
    coord_driver_t *d = start(&p);
    static fake_t w1, w2;
    fake_start(&w1, "w1", 2, d);
    fake_start(&w2, "w2", 2, d);
    client_reply_t bad = call(d, CLIENT_SUBMIT, 0, "SELECT wrong");
    ck_assert_int_eq(err_code(bad.error), ERR_SYNTAX);
    ck_assert_int_eq(err_col(bad.error), 8);
    client_reply_free(&bad);
    job_id_t job = submit(d);
    wait_epoch(d, job, 3);
    bad = call(d, CLIENT_SUBMIT, 0, "INSERT");
    ck_assert_int_eq(err_code(bad.error), ERR_EXISTS);
    client_reply_free(&bad);
    fake_kill(&w1);
    pthread_join(w1.thread, NULL);
    wait_state(d, job, "RUNNING");
    epoch_t at = w2.restored;
    ck_assert_int_eq(w2.deploys, 2);
    ck_assert_uint_ge(at, 3);
    wait_epoch(d, job, at + 6);
    ck_assert_uint_eq(number(d, job, "restarts"), 1);
    client_reply_t m = call(d, CLIENT_MANIFEST, job, NULL);
    ck_assert_ptr_null(m.error);
    manifest_t *manifest = NULL;
    ck_ok(manifest_parse(buf_slice(&m.json), &manifest));
    ck_assert_uint_eq(manifest->attempt, 2);
    manifest_free(manifest);
    client_reply_free(&m);
    __atomic_store_n(&w2.end_soon, true, __ATOMIC_RELEASE);
    wait_state(d, job, "FINISHED");
    coord_driver_free(d);
    mailbox_free(w1.in); /* the driver sends to it until it has heard of the end */
    fake_join(&w2);
    place_free(&p);
}
END_TEST

static void count_file(void *arg, const char *name, uint64_t size, int64_t modified_ms) { ++*(int *)arg; }

START_TEST(a_new_coordinator_goes_on_from_the_last_manifest) {
    place_t p = place_new();
    coord_driver_t *d = start(&p);
    static fake_t w1, w2;
    fake_start(&w1, "w1", 2, d);
    job_id_t job = submit(d);
    wait_epoch(d, job, 5);
    epoch_t before = number(d, job, "epoch");
    coord_driver_free(d);
    fake_join(&w1);
    /* what an attempt that died left behind: one file is old enough */
    AUTO(auto_free) char *old = xprintf("jobs/%016" PRIx64 "/log/i1.l1.a1.w9.0.log", job), *young = xprintf("jobs/%016" PRIx64 "/log/i1.l1.a1.w9.1.log", job);
    ck_ok(p.disk->put(p.disk, old, slice_str("dead")));
    ck_ok(p.disk->put(p.disk, young, slice_str("dead, too")));
    AUTO(auto_free) char *full = xprintf("%s/storage/%s", p.path, old);
    struct timespec times[2] = {{.tv_sec = time(NULL) - 3601}, {.tv_sec = time(NULL) - 3601}};
    ck_assert_int_eq(utimensat(AT_FDCWD, full, times, 0), 0);
    d = start(&p);
    fake_start(&w2, "w2", 2, d);
    wait_state(d, job, "RUNNING");
    ck_assert_uint_ge(w2.restored, before);
    ck_assert_uint_eq(w2.leader, 2);
    wait_epoch(d, job, w2.restored + 6);
    int bodies = 0;
    AUTO(auto_free) char *dir = xprintf("jobs/%016" PRIx64 "/manifest", job);
    ck_ok(p.disk->list(p.disk, dir, count_file, &bodies));
    ck_assert_int_le(bodies, 6); /* old bodies go with their pointers; a coordinator's end leaves one or two */
    for (int i = 0; i < 500 && access(full, F_OK) == 0; i++) usleep(10000);
    ck_assert_int_ne(access(full, F_OK), 0);
    AUTO(auto_free) char *kept = xprintf("%s/storage/%s", p.path, young);
    ck_assert_int_eq(access(kept, F_OK), 0);
    client_reply_t r = call(d, CLIENT_STOP, job, NULL);
    if (r.error) ck_abort_msg("stop: %s", err_text(r.error));
    client_reply_free(&r);
    AUTO(auto_free) char *savepoint = job_field(d, job, "savepoint");
    AUTO(auto_free) char *body = xprintf("%s/MANIFEST.json", savepoint);
    AUTO(buf_free) buf_t b = buf_make(1 << 20);
    ck_ok(p.disk->read(p.disk, body, 0, UINT64_MAX, &b));
    coord_driver_free(d);
    fake_join(&w2);
    place_free(&p);
}
END_TEST

START_TEST(open_calls_are_answered_at_the_end) {
    place_t p = place_new();
    coord_driver_t *d = start(&p);
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_SUBMIT;
    r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .parallelism = 2};
    waiting_t w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, {0}};
    coord_driver_call(d, r, answered, &w); /* no workers: it waits */
    usleep(200000);
    ck_assert(!is_answered(&w));
    coord_driver_free(d);
    ck_assert(is_answered(&w));
    ck_assert_int_eq(err_code(w.reply.error), ERR_CANCELLED);
    client_reply_free(&w.reply);
    place_free(&p);
}
END_TEST

/* A pipe instead of the file that is looked for: whoever opens it waits until somebody writes. */
START_TEST(a_directory_that_never_answers_holds_up_no_other_job) {
    place_t p = place_new();
    coord_driver_t *d = start(&p);
    static fake_t w1;
    fake_start(&w1, "w1", 4, d);
    job_id_t job = submit(d);
    AUTO(auto_free) char *hung = xprintf("%s/hung", p.path), *pipe = xprintf("%s/MANIFEST.json", hung);
    ck_assert_int_eq(mkdir(hung, 0755), 0);
    ck_assert_int_eq(mkfifo(pipe, 0644), 0);
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_STOP;
    r->job = job;
    r->from = xstrdup(hung);
    waiting_t w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, {0}};
    coord_driver_call(d, r, answered, &w);
    usleep(300000);
    int64_t began = clock_mono_ms();
    client_reply_t other = call(d, CLIENT_SUBMIT, 0, "SELECT wrong");
    ck_assert_int_eq(err_code(other.error), ERR_SYNTAX);
    ck_assert_int_lt(clock_mono_ms() - began, 5000);
    ck_assert(!is_answered(&w));
    client_reply_free(&other);
    int fd = open(pipe, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    close(fd);
    int64_t until = clock_mono_ns() + 30000000000;
    pthread_mutex_lock(&w.lock);
    while (!w.done) ck_assert(clock_wait_until(&w.cond, &w.lock, until));
    pthread_mutex_unlock(&w.lock);
    ck_assert_int_eq(err_code(w.reply.error), ERR_EXISTS);
    client_reply_free(&w.reply);
    coord_driver_free(d);
    fake_join(&w1);
    place_free(&p);
}
END_TEST

/* ---- what a leader left that died while it copied a savepoint for a job that nobody accepted */
typedef struct copy { char file[128], note[64]; } copy_t;
static copy_t copy_of(place_t *p, job_id_t job, uint64_t leader, const char *cluster) {
    copy_t c;
    snprintf(c.file, sizeof c.file, "jobs/0000000000000007@%016" PRIx64 ".%016" PRIx64 "/log/i1.l1.a1.w1.0.log", job, leader);
    snprintf(c.note, sizeof c.note, "restoring/%016" PRIx64 ".%016" PRIx64, job, leader);
    ck_ok(p->disk->put(p->disk, c.file, slice_str("rows")));
    if (cluster) ck_ok(p->disk->put(p->disk, c.note, slice_str(cluster)));
    return c;
}
static bool there(place_t *p, const char *path) {
    AUTO(buf_free) buf_t b = buf_make(1 << 20);
    err_t *e = p->disk->read(p->disk, path, 0, UINT64_MAX, &b);
    bool yes = !e;
    err_free(e);
    return yes;
}
static void wait_gone(place_t *p, const char *path) {
    for (int i = 0; i < 500 && there(p, path); i++) usleep(10000);
    ck_assert_msg(!there(p, path), "%s is there", path);
}

static err_t *go_on(void *arg) { return NULL; }
typedef struct listed { int n; char first[128]; } listed_t;
static void see_listed(void *arg, const char *name, uint64_t size, int64_t modified_ms) {
    listed_t *l = arg;
    if (!l->n++) snprintf(l->first, sizeof l->first, "restoring/%s", name);
}

START_TEST(A14_what_a_dead_leader_copied_for_a_job_nobody_accepted_goes_and_nothing_else) {
    place_t p = place_new();
    coord_driver_t *d = start(&p);
    static fake_t w1;
    fake_start(&w1, "w1", 4, d);
    job_id_t job = submit(d);
    coord_driver_free(d);
    fake_join(&w1);
    copy_t stray = copy_of(&p, 0x101, 1, "tidegate"), known = copy_of(&p, job, 1, "tidegate"), other = copy_of(&p, 0x102, 1, "another");
    copy_t later = copy_of(&p, 0x103, 1000, "tidegate"), unnoted = copy_of(&p, 0x101, 900, NULL), bad = copy_of(&p, 0x104, 1, NULL);
    ck_ok(p.disk->put(p.disk, "restoring/notes.txt", slice_str("tidegate")));
    AUTO(auto_free) char *meta = xprintf("%s/meta", p.path);
    disk_t *records = NULL;
    ck_ok(disk_open_posix(meta, true, &records));
    ck_ok(records->put(records, "jobs/0000000000000104/record", slice_str("{\"version\":99,\"id\":260}"))); /* of a later build: what jobs there are is not known */
    d = start(&p);
    wait_gone(&p, known.note); /* its files are its own affair */
    ck_assert(there(&p, known.file) && there(&p, stray.file) && there(&p, stray.note));
    coord_driver_free(d);
    ck_ok(records->remove(records, "jobs/0000000000000104/record"));
    d = start(&p);
    wait_gone(&p, stray.note);
    ck_assert(!there(&p, stray.file));
    coord_driver_free(d);
    ck_assert(there(&p, known.file) && there(&p, other.file) && there(&p, other.note) && there(&p, later.file) && there(&p, later.note));
    ck_assert(there(&p, unnoted.file) && there(&p, bad.file) && there(&p, "restoring/notes.txt"));
    records->free(records);
    place_free(&p);
}
END_TEST

/* A job that begins from a savepoint: what it has from it stays, what a leader before left of a copy of its own goes, and all of it with the job. */
START_TEST(A14_what_a_job_has_from_a_savepoint_is_found_below_the_other_jobs_name) {
    place_t p = place_new();
    AUTO(auto_free) char *savepoint = xprintf("%s/savepoint", p.path);
    manifest_t *m = manifest_new();
    m->job = 7;
    m->incarnation = m->attempt = m->epoch = 5;
    m->name = xstrdup("orders");
    base_file_t file = {"jobs/0000000000000007/base/i5.l1.a5.w1/000001.sst", "000001.sst", 5, crc32c(0, "table", 5)};
    manifest_set_base(m, &(base_t){"w1", 5, 1, &file});
    ck_ok(p.disk->put(p.disk, file.path, slice_str("table")));
    ck_ok(savepoint_copy(p.disk, m, 1, 0, savepoint, (savepoint_guard_t){.look = go_on}));
    ck_ok(p.disk->remove(p.disk, file.path));
    manifest_free(m);
    coord_driver_t *d = start(&p);
    static fake_t w1;
    fake_start(&w1, "w1", 4, d);
    client_reply_t r = call_with(d, CLIENT_SUBMIT, 0, "INSERT", savepoint);
    if (r.error) ck_abort_msg("submit: %s", err_text(r.error));
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    ck_ok(json_parse(a, buf_slice(&r.json), &o));
    job_id_t job = (job_id_t)json_i64(json_get(o, "job"), "id", 0);
    client_reply_free(&r);
    wait_state(d, job, "RUNNING");
    coord_driver_free(d);
    fake_join(&w1);
    AUTO(auto_free) char *dir = xprintf("jobs/0000000000000007@%016" PRIx64 ".%016" PRIx64, job, (uint64_t)1);
    AUTO(auto_free) char *named = xprintf("%s/base/i5.l1.a5.w1/000001.sst", dir), *left = xprintf("%s/log/i5.l1.a5.w2.0.log", dir);
    AUTO(auto_free) char *of_another = xprintf("jobs/0000000000000007@%016" PRIx64 ".%016" PRIx64 "/log/i5.l1.a5.w2.0.log", job + 1, (uint64_t)1);
    ck_assert(there(&p, named));
    ck_ok(p.disk->put(p.disk, left, slice_str("half")));
    ck_ok(p.disk->put(p.disk, of_another, slice_str("whole")));
    AUTO(auto_free) char *old = xprintf("find '%s/storage/jobs' -type f -exec touch -d 2020-01-01 {} +", p.path);
    ck_assert_int_eq(system(old), 0);
    d = start(&p);
    fake_start(&w1, "w1", 4, d);
    wait_state(d, job, "RUNNING");
    wait_gone(&p, left);
    ck_assert(there(&p, named) && there(&p, of_another));
    r = call(d, CLIENT_CANCEL, job, NULL);
    ck_assert_ptr_null(r.error);
    client_reply_free(&r);
    ck_ok(p.disk->put(p.disk, left, slice_str("half")));
    r = call(d, CLIENT_FORGET, job, NULL);
    ck_assert_ptr_null(r.error);
    client_reply_free(&r);
    wait_gone(&p, left);
    wait_gone(&p, named);
    coord_driver_free(d);
    fake_join(&w1);
    ck_assert(there(&p, of_another));
    place_free(&p);
}
END_TEST

/* The note is there before the first file, and goes with what was copied when the copy fails. */
START_TEST(A14_a_copy_that_is_begun_is_noted) {
    place_t p = place_new();
    coord_driver_t *d = start(&p);
    AUTO(auto_free) char *hung = xprintf("%s/hung", p.path), *pipe = xprintf("%s/MANIFEST.json", hung);
    ck_assert_int_eq(mkdir(hung, 0755), 0);
    ck_assert_int_eq(mkfifo(pipe, 0644), 0);
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_SUBMIT;
    r->from = xstrdup(hung);
    r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .parallelism = 2};
    waiting_t w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, {0}};
    coord_driver_call(d, r, answered, &w);
    listed_t l = {0};
    for (int i = 0; i < 500 && !l.n; i++) {
        usleep(10000);
        ck_ok(p.disk->list(p.disk, "restoring", see_listed, &l));
    }
    ck_assert_int_eq(l.n, 1);
    ck_assert(there(&p, l.first));
    int fd = open(pipe, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    close(fd);
    int64_t until = clock_mono_ns() + 30000000000;
    pthread_mutex_lock(&w.lock);
    while (!w.done) ck_assert(clock_wait_until(&w.cond, &w.lock, until));
    pthread_mutex_unlock(&w.lock);
    ck_assert_ptr_nonnull(w.reply.error); /* a pipe is no file */
    ck_assert(!there(&p, l.first));
    client_reply_free(&w.reply);
    coord_driver_free(d);
    place_free(&p);
}
END_TEST

/* A store whose campaign is answered only when it is closed, and well: as etcd's thread may do at that moment. */
typedef struct late_store { meta_store_t vt; meta_done_t open; } late_store_t;
static void late_campaign(meta_store_t *m, void (*lost)(void *arg, err_t *why), void *lost_arg, meta_done_t done) {
    __atomic_store_n(&CONTAINER_OF(m, late_store_t, vt)->open.arg, done.arg, __ATOMIC_RELEASE);
    __atomic_store_n(&CONTAINER_OF(m, late_store_t, vt)->open.fn, done.fn, __ATOMIC_RELEASE);
}
static void late_resign(meta_store_t *m) {}
static void late_free(meta_store_t *m) {
    late_store_t *l = CONTAINER_OF(m, late_store_t, vt);
    meta_result_t r = {.outcome = STORE_OK, .leader = 1};
    l->open.fn(l->open.arg, &r);
    free(l);
}

START_TEST(a_store_that_answers_while_it_is_closed_finds_its_queues) {
    place_t p = place_new();
    late_store_t *l = xcalloc(1, sizeof *l);
    l->vt = (meta_store_t){.campaign = late_campaign, .resign = late_resign, .free = late_free};
    coord_driver_conf_t conf = {.core = coord_conf_default(), .storage = p.disk, .address = "here", .compile = compile, .meta = &l->vt};
    coord_driver_t *d = NULL;
    ck_ok(coord_driver_new(&conf, &d));
    for (int i = 0; i < 500 && !__atomic_load_n(&l->open.fn, __ATOMIC_ACQUIRE); i++) usleep(10000);
    mallopt(M_PERTURB, 0xa5); /* what is freed is not what it was */
    coord_driver_free(d);
    mallopt(M_PERTURB, 0);
    place_free(&p);
}
END_TEST

TESTS("coordinator/driver", submit_run_lose_a_worker_finish, a_new_coordinator_goes_on_from_the_last_manifest,
      open_calls_are_answered_at_the_end, a_directory_that_never_answers_holds_up_no_other_job,
      A14_what_a_dead_leader_copied_for_a_job_nobody_accepted_goes_and_nothing_else, A14_a_copy_that_is_begun_is_noted,
      A14_what_a_job_has_from_a_savepoint_is_found_below_the_other_jobs_name,
      a_store_that_answers_while_it_is_closed_finds_its_queues)
