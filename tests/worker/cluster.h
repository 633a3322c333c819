/* cluster.h: workers of this process under the hand of a test that plays the coordinator: a counting source, an exchange by hash, a sink
 * with lanes, a lane driver that records what was published. */
#pragma once
#include "common/clock.h"
#include "common/mailbox.h"
#include "engine/channel.h"
#include "engine/operator.h"
#include "state/disk.h"
#include "tests/helpers/test.h"
#include "worker/driver.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* ---------------------------------------------------------------- source: split "i/n" emits i, i + n, .. below end */
typedef struct counter { int next; int64_t began_ms; int64_t made; } counter_t; /* unbounded splits: 16 rows a millisecond */
static err_t *counter_open(source_t *s) {
    ((counter_t *)s->self)->began_ms = clock_mono_ms();
    return NULL;
}
static src_status_t counter_poll(source_t *s, batch_t **ret, int *ret_split, err_t **reterr) {
    counter_t *c = s->self;
    bool all = true;
    for (int k = 0; k < s->splits.n; k++) {
        int i = (c->next + k) % s->splits.n;
        split_t *sp = &s->splits.items[i];
        if (sp->end >= 0 && sp->position >= sp->end) {
            sp->ended = true;
            continue;
        }
        all = false;
        if (sp->end < 0 && c->made >= 16 * (clock_mono_ms() - c->began_ms)) continue;
        int from = 0, of = 1;
        sscanf(sp->id, "%d/%d", &from, &of);
        uint32_t n = (uint32_t)(sp->end >= 0 ? MIN(sp->end - sp->position, (int64_t)64) : 64);
        batch_t *b = batch_new_schema(s->env.op->schema, n);
        for (uint32_t r = 0; r < n; r++) b->cols[0].i64[r] = from + (sp->position + r) * of;
        sp->position += n;
        c->made += n;
        c->next = (i + 1) % s->splits.n;
        *ret = b;
        *ret_split = i;
        return SRC_MORE;
    }
    return all ? SRC_ENDED : SRC_WAIT;
}
static void counter_close(source_t *s) {}
static const source_vtable_t counter_source = {.connector = "counter", .state_size = sizeof(counter_t), .open = counter_open,
                                               .poll = counter_poll, .close = counter_close};
static const source_vtable_t *test_find_source(const char *name) { return &counter_source; }

/* ---------------------------------------------------------------- sink: one lane per subtask */
typedef struct lane_sink { buf_t rows; uint64_t n; } lane_sink_t;
static atomic_int sink_keeps;    /* it seals bytes of its own, too */
static size_t sink_width = 8;    /* bytes of a record's value: the number, and what fills it up */
static atomic_int sink_restored; /* how often such bytes came back to the subtask that wrote them */
static err_t *lane_sink_restore(sink_t *s, slice_t bytes) {
    reader_t r = reader_of(bytes);
    if ((int)read_u8(&r) == s->env.subtask) atomic_fetch_add(&sink_restored, 1);
    return r.bad ? err_new(ERR_CORRUPT, "no bytes") : NULL;
}
static err_t *lane_sink_open(sink_t *s) {
    ((lane_sink_t *)s->self)->rows = buf_make(BUF_MAX_DEFAULT);
    return NULL;
}
static op_status_t lane_sink_write(sink_t *s, const batch_t *b, err_t **reterr) {
    lane_sink_t *l = s->self;
    for (uint32_t i = 0; i < b->n; i++) buf_put_u64(&l->rows, (uint64_t)b->cols[0].i64[i]);
    l->n += b->n;
    return OP_DONE;
}
static op_status_t lane_sink_seal(sink_t *s, epoch_t e, buf_t *bytes, buf_t *segment, err_t **reterr) {
    lane_sink_t *l = s->self;
    if (atomic_load(&sink_keeps)) buf_put_u8(bytes, (uint8_t)s->env.subtask);
    if (l->n) {
        static const uint8_t empty[4096];
        uint8_t value[sizeof empty];
        memcpy(value, empty, sizeof value);
        size_t begin = segment->len;
        segment_begin(segment);
        for (uint64_t i = 0; i < l->n; i++) {
            memcpy(value, l->rows.data + 8 * i, 8);
            segment_add(segment, &(lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = true, .value = slice_of(value, sink_width)});
        }
        segment_finish(segment, begin, l->n);
    }
    buf_clear(&l->rows);
    l->n = 0;
    return OP_DONE;
}
static void lane_sink_close(sink_t *s) { buf_free(&((lane_sink_t *)s->self)->rows); }
static const sink_vtable_t lane_sink = {.connector = "lanes", .state_size = sizeof(lane_sink_t), .takes_updates = true, .open = lane_sink_open,
                                        .restore = lane_sink_restore, .write = lane_sink_write, .seal = lane_sink_seal, .close = lane_sink_close};
static const sink_vtable_t *test_find_sink(const char *name) { return &lane_sink; }

/* ---------------------------------------------------------------- lane driver: a ledger and a topic in memory, one per test */
#define TOPIC_MAX 200000
typedef struct topic {
    lane_driver_t driver;
    pthread_mutex_t lock;
    ledger_pos_t ledger[8];
    uint8_t seen[TOPIC_MAX]; /* how often value v was published */
    uint64_t records;
    int inits, reads, sends; /* asked for */
    bool hold;               /* SEND is answered with doubt, the INIT after it with silence: the broker is away */
    bool mute_reads, mute_sends, mute_closes; /* the last that was asked for has its answer from the test (topic_say) */
    lane_handle_t *muted;
} topic_t;
struct lane_handle { void (*answer)(void *arg, lane_answer_t a); void *arg; int lane; bool silent; /* the broker went away while it sent */ };

static err_t *topic_open(lane_driver_t *d, const lane_spec_t *spec, void (*answer)(void *arg, lane_answer_t a), void *arg, lane_handle_t **ret) {
    *ret = xcalloc(1, sizeof **ret);
    **ret = (lane_handle_t){.answer = answer, .arg = arg, .lane = spec->lane};
    return NULL;
}
static lane_answer_t topic_send(topic_t *t, lane_handle_t *h, const lane_action_t *a) {
    if (t->hold) h->silent = true;
    if (t->hold) return (lane_answer_t){.kind = LANE_ANSWER_DOUBT, .error = err_new(ERR_TIMEOUT, "the broker is away")};
    for (int k = 0; k < a->nparts; k++) {
        reader_t r = a->parts[k].records;
        lane_record_t rec;
        for (uint64_t i = 0, v; i < a->parts[k].rows; i++) {
            ASSERT(segment_next(&r, &rec));
            memcpy(&v, rec.value.p, 8);
            if (v < TOPIC_MAX) t->seen[v]++;
            t->records++;
        }
    }
    t->ledger[h->lane] = a->ledger;
    t->ledger[h->lane].present = true;
    return (lane_answer_t){.kind = LANE_ANSWER_COMMITTED, .pos = t->ledger[h->lane]};
}
static void topic_start(lane_driver_t *d, lane_handle_t *h, const lane_action_t *a) {
    topic_t *t = CONTAINER_OF(d, topic_t, driver);
    pthread_mutex_lock(&t->lock);
    t->inits += a->kind == LANE_DO_INIT;
    t->reads += a->kind == LANE_DO_READ;
    t->sends += a->kind == LANE_DO_SEND;
    lane_answer_t x = {.kind = LANE_ANSWER_INITIALISED};
    bool mute = (a->kind == LANE_DO_READ && t->mute_reads) || (a->kind == LANE_DO_SEND && t->mute_sends);
    if (mute) t->muted = h;
    if (mute || (a->kind == LANE_DO_INIT && t->hold && h->silent)) {
        pthread_mutex_unlock(&t->lock);
        return;
    }
    if (a->kind == LANE_DO_READ) x = (lane_answer_t){.kind = LANE_ANSWER_LEDGER, .pos = t->ledger[h->lane]};
    else if (a->kind == LANE_DO_SEND) x = topic_send(t, h, a);
    pthread_mutex_unlock(&t->lock);
    h->answer(h->arg, x);
}
static void topic_close(lane_driver_t *d, lane_handle_t *h) {
    topic_t *t = CONTAINER_OF(d, topic_t, driver);
    if (t->mute_closes) {
        t->muted = h;
        return;
    }
    h->answer(h->arg, (lane_answer_t){.kind = LANE_ANSWER_CLOSED});
    free(h);
}
/* The answer that was kept back. */
__attribute__((unused)) static void topic_say(topic_t *t, lane_answer_t a) {
    pthread_mutex_lock(&t->lock);
    lane_handle_t *h = TAKE(t->muted);
    pthread_mutex_unlock(&t->lock);
    ck_assert_ptr_nonnull(h);
    h->answer(h->arg, a);
    if (a.kind == LANE_ANSWER_CLOSED) free(h);
}
static void topic_init(topic_t *t) {
    memset(t, 0, sizeof *t);
    t->driver = (lane_driver_t){topic_open, topic_start, topic_close};
    pthread_mutex_init(&t->lock, NULL);
}
static uint64_t topic_records(topic_t *t) {
    pthread_mutex_lock(&t->lock);
    uint64_t n = t->records;
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* ---------------------------------------------------------------- a disk that may be full, or let reads wait */
typedef struct full_disk { disk_t disk; disk_t *real; } full_disk_t;
static atomic_bool disk_full, disk_slow, puts_slow, compiler_slow;
static atomic_int puts_waiting;
static void while_set(atomic_bool *flag) {
    for (int i = 0; i < 10000 && atomic_load(flag); i++) usleep(2000);
}
static disk_t *real_disk(disk_t *d) { return ((full_disk_t *)d)->real; }
static err_t *full_create(disk_t *d, const char *path, disk_file_t **ret) {
    if (atomic_load(&disk_full)) return err_new(ERR_NO_SPACE, "%s: no space left", path);
    return real_disk(d)->create(real_disk(d), path, ret);
}
static err_t *full_append(disk_t *d, disk_file_t *f, slice_t b) {
    if (atomic_load(&disk_full)) {
        err_free(real_disk(d)->append(real_disk(d), f, slice_of(b.p, b.len / 2))); /* a torn tail stays behind */
        return err_new(ERR_NO_SPACE, "append: no space left");
    }
    return real_disk(d)->append(real_disk(d), f, b);
}
static err_t *full_sync(disk_t *d, disk_file_t *f) { return real_disk(d)->sync(real_disk(d), f); }
static void full_close(disk_t *d, disk_file_t *f) { real_disk(d)->close(real_disk(d), f); }
static err_t *full_read(disk_t *d, const char *p, uint64_t from, uint64_t len, buf_t *ret) {
    while_set(&disk_slow);
    return real_disk(d)->read(real_disk(d), p, from, len, ret);
}
static err_t *full_put(disk_t *d, const char *p, slice_t b) {
    atomic_fetch_add(&puts_waiting, 1);
    while_set(&puts_slow);
    atomic_fetch_sub(&puts_waiting, 1);
    return real_disk(d)->put(real_disk(d), p, b);
}
static err_t *full_remove(disk_t *d, const char *p) { return real_disk(d)->remove(real_disk(d), p); }
static err_t *full_list(disk_t *d, const char *dir, disk_found_fn fn, void *arg) {
    return real_disk(d)->list(real_disk(d), dir, fn, arg);
}
static err_t *full_import(disk_t *d, const char *l, const char *p) { return real_disk(d)->import(real_disk(d), l, p); }
static err_t *full_export(disk_t *d, const char *p, const char *l) { return real_disk(d)->export(real_disk(d), p, l); }
static const char *full_where(disk_t *d) { return real_disk(d)->where(real_disk(d)); }
static void full_free(disk_t *d) {
    real_disk(d)->free(real_disk(d));
    free(d);
}
static disk_t *full_disk_new(disk_t *real) {
    full_disk_t *f = xcalloc(1, sizeof *f);
    f->real = real;
    f->disk = (disk_t){.create = full_create, .append = full_append, .sync = full_sync, .close = full_close, .read = full_read, .put = full_put,
                       .remove = full_remove, .list = full_list, .import = full_import, .export = full_export, .free = full_free, .where = full_where};
    atomic_store(&disk_full, false);
    return &f->disk;
}

/* ---------------------------------------------------------------- plan: counter -> hash -> lanes */
static plan_t *test_plan(int parallelism) {
    arena_t *a = arena_new();
    plan_t *p = ARENA_NEW(a, plan_t);
    p->arena = a;
    p->job_name = "count";
    p->parallelism = parallelism;
    schema_t *s = schema_new(a, 1);
    s->fields[0] = (field_t){"n", &type_bigint};
    static const int zero[] = {0};
    table_t *in = ARENA_NEW(a, table_t), *out = ARENA_NEW(a, table_t);
    *in = (table_t){.name = "numbers", .connector = "counter", .physical = s, .metadata = schema_new(a, 0)};
    *out = (table_t){.name = "results", .connector = "lanes", .physical = s, .metadata = schema_new(a, 0)};
    plan_op_t *o = ARENA_ARRAY(a, plan_op_t, 4);
    o[0] = (plan_op_t){.id = 0, .kind = OP_SOURCE, .schema = s, .fingerprint = 11, .label = "numbers", .table = in, .nscan = 1, .scan = zero};
    o[1] = (plan_op_t){.id = 1, .kind = OP_EXCHANGE_OUT, .ninputs = 1, .inputs = zero, .schema = s, .label = "by n", .exchange = EXCHANGE_HASH,
                       .nhash = 1, .hash = zero};
    o[2] = (plan_op_t){.id = 0, .kind = OP_EXCHANGE_IN, .schema = s, .label = "by n", .exchange = EXCHANGE_HASH, .nhash = 1, .hash = zero};
    o[3] = (plan_op_t){.id = 1, .kind = OP_SINK, .ninputs = 1, .inputs = zero, .schema = s, .fingerprint = 22, .label = "results", .table = out,
                       .lanes_max = parallelism};
    p->nstages = 2;
    p->stages = ARENA_ARRAY(a, plan_stage_t *, 2);
    for (int i = 0; i < 2; i++) {
        plan_stage_t *st = p->stages[i] = ARENA_NEW(a, plan_stage_t);
        *st = (plan_stage_t){.id = i, .nops = 2, .ops = ARENA_ARRAY(a, plan_op_t *, 2), .label = i ? "sink" : "source"};
        st->ops[0] = &o[2 * i];
        st->ops[1] = &o[2 * i + 1];
    }
    p->nedges = 1;
    p->edges = ARENA_ARRAY(a, plan_edge_t *, 1);
    p->edges[0] = ARENA_NEW(a, plan_edge_t);
    *p->edges[0] = (plan_edge_t){.from_stage = 0, .from_op = 1, .to_stage = 1, .to_op = 0, .exchange = EXCHANGE_HASH, .schema = s};
    plan_finish(p);
    return p;
}
static err_t *test_compile(void *arg, const job_spec_t *spec, plan_t **ret) {
    while_set(&compiler_slow);
    *ret = test_plan(spec->parallelism);
    return NULL;
}

/* ---------------------------------------------------------------- the coordinator's end of links */
typedef struct cluster cluster_t;
typedef struct test_link { link_t link; struct member *m; } test_link_t;
typedef struct member {
    cluster_t *c;
    worker_t *w;
    char name[16], dir[256];
    char *address;
    test_link_t *link;      /* under the cluster's lock */
    mailbox_t *in;          /* what the worker sent */
    int tries;
    atomic_bool exited;
    err_t *why;
    attempt_t ended;        /* attempt whose ENDED was seen on the way */
    bool refuse;            /* links are closed at once */
} member_t;
struct cluster {
    pthread_mutex_t lock;
    char root[200];
    disk_t *storage;
    topic_t topic;
    int n, parallelism;
    member_t m[3];
    uint64_t leader;
    int64_t stuck_ms;       /* of workers that are started from now on */
    job_id_t job;
    attempt_t attempt;
    epoch_t epoch, complete;
    manifest_t *manifest;
    int64_t end;            /* of each split */
};

static void test_send(link_t *l, ctl_msg_t *m) {
    member_t *x = ((test_link_t *)l)->m;
    if (!mailbox_send(x->in, m)) ctl_free(m);
}
static void test_close(link_t *l) { l->handler.on_closed(l->handler.arg, l, NULL); }
static void test_free(link_t *l) {
    test_link_t *t = (test_link_t *)l;
    pthread_mutex_lock(&t->m->c->lock);
    if (t->m->link == t) t->m->link = NULL;
    pthread_mutex_unlock(&t->m->c->lock);
    free(t);
}
static const char *test_peer(link_t *l) { return "test"; }
static err_t *test_connect(void *arg, int try, const link_handler_t *h, link_t **ret) {
    member_t *m = arg;
    if (m->refuse) return err_new(ERR_UNAVAILABLE, "refused");
    test_link_t *t = xcalloc(1, sizeof *t);
    *t = (test_link_t){{test_send, test_close, test_free, test_peer, *h}, m};
    pthread_mutex_lock(&m->c->lock);
    m->link = t;
    pthread_mutex_unlock(&m->c->lock);
    *ret = &t->link;
    return NULL;
}
static void test_exited(void *arg, err_t *why) {
    member_t *m = arg;
    m->why = why;
    atomic_store(&m->exited, true);
}
static void member_tell(member_t *m, ctl_msg_t *msg) {
    pthread_mutex_lock(&m->c->lock);
    if (m->link) m->link->link.handler.on_message(m->link->link.handler.arg, &m->link->link, msg);
    else ctl_free(msg);
    pthread_mutex_unlock(&m->c->lock);
}
static ctl_msg_t *order_for(cluster_t *c, ctl_kind_t kind, epoch_t epoch) {
    ctl_msg_t *m = ctl_new(kind);
    m->leader = c->leader;
    m->job = c->job;
    m->incarnation = 5;
    m->attempt = c->attempt;
    m->epoch = epoch;
    return m;
}
static void tell_all(cluster_t *c, ctl_kind_t kind, epoch_t epoch, uint32_t flags) {
    for (int i = 0; i < c->n; i++) {
        ctl_msg_t *m = order_for(c, kind, epoch);
        m->flags = flags;
        member_tell(&c->m[i], m);
    }
}
/* The next message of this kind; others are dropped. Fails the test when none comes in time. */
static ctl_msg_t *await(member_t *m, ctl_kind_t kind) {
    int64_t until = clock_mono_ms() + 20000;
    while (clock_mono_ms() < until) {
        ctl_msg_t *x = mailbox_receive(m->in);
        if (!x) {
            mailbox_wait(m->in, 100);
            continue;
        }
        if (x->kind == CTL_ENDED) m->ended = x->attempt;
        if (x->kind == kind) return x;
        if (x->kind == CTL_FAILED) ck_abort_msg("%s failed: %s", m->name, err_text(x->error));
        ctl_free(x);
    }
    ck_abort_msg("%s sent no %s", m->name, ctl_kind_name(kind));
    return NULL;
}

static void await_ended(cluster_t *c) {
    for (int i = 0; i < c->n; i++)
        if (c->m[i].ended != c->attempt) ctl_free(await(&c->m[i], CTL_ENDED));
}

/* A second job on the same workers: what belongs to the present one and to the other change places. */
typedef struct other_job { job_id_t job; attempt_t attempt; epoch_t epoch; manifest_t *manifest; } other_job_t;
__attribute__((unused)) static other_job_t other_job(job_id_t job) {
    other_job_t o = {.job = job, .manifest = manifest_new()};
    o.manifest->job = job;
    o.manifest->incarnation = 5;
    return o;
}
__attribute__((unused)) static void cluster_switch(cluster_t *c, other_job_t *o) {
    other_job_t was = {c->job, c->attempt, c->epoch, c->manifest};
    c->job = o->job;
    c->attempt = o->attempt;
    c->epoch = o->epoch;
    c->manifest = o->manifest;
    *o = was;
}

static void free_message(void *m) { ctl_free(m); }
static uint64_t worker_memory = 256 << 20;
static worker_conf_t member_conf(cluster_t *c, member_t *m) {
    return (worker_conf_t){.name = m->name, .data_dir = m->dir, .slots = 2, .memory = worker_memory,
                           .base_interval_ms = 5, .stuck_ms = c->stuck_ms, .storage = c->storage, .listen = "127.0.0.1:0",
                           .connect = test_connect, .compile = test_compile, .find_source = test_find_source, .find_sink = test_find_sink,
                           .lane_driver = &c->topic.driver, .exited = test_exited, .arg = m};
}
static void member_start(cluster_t *c, int i) {
    member_t *m = &c->m[i];
    snprintf(m->name, sizeof m->name, "w%d", i + 1);
    snprintf(m->dir, sizeof m->dir, "%s/w%d", c->root, i + 1);
    m->c = c;
    m->in = mailbox_new(100000, free_message);
    worker_conf_t conf = member_conf(c, m);
    ck_ok(worker_start(&conf, &m->w));
    ctl_msg_t *r = await(m, CTL_REGISTER);
    ck_assert_str_eq(r->reg.name, m->name);
    m->address = xstrdup(r->reg.address);
    ctl_free(r);
    ctl_msg_t *welcome = ctl_new(CTL_WELCOME);
    welcome->leader = c->leader;
    welcome->welcome.heartbeat_ms = 50;
    welcome->welcome.coordinator = xstrdup("test");
    member_tell(m, welcome);
}
static void member_stop(member_t *m) {
    worker_free(m->w);
    mailbox_free(m->in);
    err_free(m->why);
    free(m->address);
    m->w = NULL;
}
static void cluster_start_with(cluster_t *c, int workers, int parallelism, int64_t end, int64_t stuck_ms) {
    memset(c, 0, sizeof *c);
    c->stuck_ms = stuck_ms;
    pthread_mutex_init(&c->lock, NULL);
    snprintf(c->root, sizeof c->root, "/tmp/tidegate-test-XXXXXX");
    ck_assert(mkdtemp(c->root) != NULL);
    AUTO(auto_free) char *store = xprintf("%s/storage", c->root);
    ck_ok(disk_open_posix(store, true, &c->storage));
    c->storage = full_disk_new(c->storage);
    topic_init(&c->topic);
    c->n = workers;
    c->parallelism = parallelism;
    c->leader = 3;
    c->job = 77;
    c->end = end;
    c->manifest = manifest_new();
    c->manifest->job = 77;
    c->manifest->incarnation = 5;
    for (int i = 0; i < workers; i++) member_start(c, i);
}
static void cluster_start(cluster_t *c, int workers, int parallelism, int64_t end) { cluster_start_with(c, workers, parallelism, end, 0); }
static void cluster_stop(cluster_t *c) {
    for (int i = 0; i < c->n; i++)
        if (c->m[i].w) member_stop(&c->m[i]);
    c->storage->free(c->storage);
    manifest_free(c->manifest);
    AUTO(auto_free) char *rm = xprintf("rm -rf '%s'", c->root);
    ck_assert_int_eq(system(rm), 0);
}

/* ---------------------------------------------------------------- what a coordinator does, without its cares */
static void cluster_order(cluster_t *c) {
    c->attempt++;
    plan_t *p = test_plan(c->parallelism);
    for (int i = 0; i < c->n; i++) {
        ctl_msg_t *m = order_for(c, CTL_DEPLOY, 0);
        ctl_deploy_t *d = &m->deploy;
        d->spec.name = xstrdup("count");
        d->spec.parallelism = d->parallelism = c->parallelism;
        d->plan_hash = p->hash;
        d->nworkers = c->n;
        d->workers = xcalloc((size_t)c->n, sizeof *d->workers);
        for (int k = 0; k < c->n; k++) d->workers[k] = (ctl_peer_t){xstrdup(c->m[k].name), xstrdup(c->m[k].address)};
        d->tasks = xcalloc((size_t)(2 * c->parallelism), sizeof *d->tasks);
        for (int s = 0; s < 2; s++)
            for (int k = 0; k < c->parallelism; k++) d->tasks[d->ntasks++] = (ctl_task_t){s, k, k % c->n};
        d->splits = xcalloc((size_t)c->parallelism, sizeof *d->splits);
        const source_pos_t *pos = manifest_source(c->manifest, 11);
        for (int k = 0; k < c->parallelism; k++) {
            char *id = xprintf("%d/%d", k, c->parallelism);
            split_t s = {.id = id, .end = c->end, .watermark = WATERMARK_NONE};
            for (int x = 0; pos && x < pos->splits.n; x++)
                if (!strcmp(pos->splits.items[x].id, id)) s.position = pos->splits.items[x].position;
            d->splits[d->nsplits++] = (ctl_split_t){11, k, s};
        }
        d->manifest = manifest_copy(c->manifest);
        d->lanes_only = c->manifest->final;
        member_tell(&c->m[i], m);
    }
    plan_free(p);
}
static void cluster_deploy(cluster_t *c) {
    cluster_order(c);
    for (int i = 0; i < c->n; i++) ctl_free(await(&c->m[i], CTL_DEPLOYED));
    tell_all(c, CTL_START, 0, 0);
}
/* Acks of all go into the manifest: the epoch has happened. */
static uint64_t cluster_gather(cluster_t *c, epoch_t epoch) {
    uint64_t rows = 0;
    for (int i = 0; i < c->n; i++) {
        ctl_msg_t *a = await(&c->m[i], CTL_ACK);
        ck_assert_uint_eq(a->epoch, epoch);
        ck_assert_uint_eq(a->attempt, c->attempt);
        rows += a->ack.rows;
        if (a->ack.extent.path) manifest_add_extent(c->manifest, &a->ack.extent);
        for (int k = 0; k < a->ack.nsources; k++) manifest_set_source(c->manifest, a->ack.sources[k].fingerprint, &a->ack.sources[k].splits);
        ctl_free(a);
    }
    c->manifest->previous = c->manifest->epoch;
    c->manifest->epoch = epoch;
    c->manifest->attempt = c->attempt;
    return rows;
}
static uint64_t cluster_epoch(cluster_t *c, uint32_t flags) {
    c->epoch++;
    tell_all(c, CTL_INJECT, c->epoch, flags);
    uint64_t rows = cluster_gather(c, c->epoch);
    tell_all(c, CTL_COMPLETE, c->epoch, 0);
    return rows;
}
static void cluster_end(cluster_t *c) {
    tell_all(c, CTL_STOP, 0, 0);
    for (int i = 0; i < c->n; i++) ctl_free(await(&c->m[i], CTL_STOPPED));
}
static void await_records(cluster_t *c, uint64_t n) {
    for (int i = 0; i < 10000 && topic_records(&c->topic) < n; i++) usleep(2000);
    ck_assert_uint_eq(topic_records(&c->topic), n);
}
/* Every number below `n` was published exactly once. */
static void expect_once(cluster_t *c, uint64_t n) {
    await_records(c, n);
    for (uint64_t v = 0; v < n; v++) ck_assert_msg(c->topic.seen[v] == 1, "%d published %d times", (int)v, c->topic.seen[v]);
}
