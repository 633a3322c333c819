/* base.c: see base.h. */
#include "worker/base.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mailbox.h"
#include <pthread.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLLOW_AGAIN_MS 1000 /* after a failure */
#define SAY_MS 5000          /* of a call that does not return */
#define LOG_AGAIN_MS 60000   /* that it still fails: the log may lie on the disk that is full */

typedef enum order_kind { ORD_STARTED, ORD_EXTENT, ORD_COMPLETE, ORD_ACCEPTED, ORD_DROP, ORD_FORGET, ORD_QUIT } order_kind_t;
typedef struct order {
    order_kind_t kind;
    base_job_t job;
    extent_t extent;
    uint64_t bytes;
    epoch_t epoch;
    bool asked;
} order_t;

typedef struct trial { /* tries in vain, one after the other */
    int tries;
    base_health_t logged; /* how the base was then */
    int64_t logged_ms;
    char *said;           /* what the job says of the last one */
} trial_t;
typedef struct based_job {
    struct based_job *next;
    base_job_t j;
    epoch_t complete, based;  /* last complete epoch; that of the last base */
    uint64_t bytes;           /* changelog since the last base */
    bool asked;
    epoch_t unaccepted;       /* the last base, while no manifest names it */
    int64_t tried_ms, followed_ms;
    int64_t trying_ms;        /* since when a try is under way; 0: none is; atomic */
    trial_t making, following; /* each is over when the same succeeds: that changes go into the local base says nothing of storage */
    int64_t failing_ms;       /* since when the local base fails, other than by a full disk; 0: it does not */
    bool over;                /* `failed` was called */
    char *waiting;            /* for people; under the lock */
} based_job_t;

struct base_worker {
    base_conf_t conf;
    mailbox_t *mail;
    pthread_t thread;
    pthread_mutex_t lock; /* of the list, and of all in it that `current` does not have */
    based_job_t *jobs, *current; /* the one that is being applied or uploaded: only the base thread may touch it, and only then without the lock */
};

bool base_due(const base_need_t *n, int64_t interval_ms) {
    if (n->bytes == 0) return false;
    uint64_t max = n->bytes_max ? n->bytes_max : BASE_CHANGELOG_MAX;
    if (n->unaccepted) return n->bytes >= 2 * max;
    if (n->bytes >= max) return true;
    if (n->asked && (n->bytes >= BASE_CHANGELOG_MIN || n->since_ms >= BASE_SMALL_INTERVALS * interval_ms)) return true;
    return n->since_ms >= interval_ms && n->bytes >= BASE_CHANGELOG_MIN;
}

bool base_ends(base_health_t health, int64_t since_ms) {
    return health == BASE_LOST || (health == BASE_FAILS && since_ms >= BASE_HEAL_MS);
}

char *base_directory(const char *data_dir, job_id_t job, attempt_t attempt) {
    return xprintf("%s/base/%016" PRIx64 "/%" PRIu64, data_dir, job, attempt);
}

/* ---------------------------------------------------------------- any thread */
static void order_free(void *msg) {
    order_t *o = msg;
    free(o->extent.path);
    free(o);
}
static void ask(base_worker_t *b, order_t o) {
    order_t *copy = xmalloc(sizeof *copy);
    *copy = o;
    bool ok = mailbox_send(b->mail, copy);
    ASSERT(ok); /* bounded by epochs in flight; a thread that does not return ends the process long before */
}
void base_add(base_worker_t *b, const base_job_t *job) {
    based_job_t *j = xcalloc(1, sizeof *j);
    j->j = *job;
    j->tried_ms = clock_mono_ms();
    j->complete = job->restored;
    j->bytes = job->replayed;
    pthread_mutex_lock(&b->lock);
    j->next = b->jobs;
    b->jobs = j;
    pthread_mutex_unlock(&b->lock);
}
void base_started(base_worker_t *b, job_id_t job, attempt_t attempt) {
    ask(b, (order_t){.kind = ORD_STARTED, .job = {.job = job, .attempt = attempt}});
}
void base_extent(base_worker_t *b, job_id_t job, attempt_t attempt, const extent_t *x, uint64_t bytes) {
    order_t o = {.kind = ORD_EXTENT, .job = {.job = job, .attempt = attempt}, .extent = *x, .bytes = bytes};
    o.extent.path = xstrdup(x->path);
    ask(b, o);
}
void base_complete(base_worker_t *b, job_id_t job, attempt_t attempt, epoch_t epoch, bool asked) {
    ask(b, (order_t){.kind = ORD_COMPLETE, .job = {.job = job, .attempt = attempt}, .epoch = epoch, .asked = asked});
}
void base_accepted(base_worker_t *b, job_id_t job, attempt_t attempt, epoch_t epoch) {
    ask(b, (order_t){.kind = ORD_ACCEPTED, .job = {.job = job, .attempt = attempt}, .epoch = epoch});
}
void base_look(base_worker_t *b) { mailbox_wake(b->mail); }
void base_forget(base_worker_t *b, job_id_t job) { ask(b, (order_t){.kind = ORD_FORGET, .job = {.job = job}}); }

static based_job_t **find(base_worker_t *b, job_id_t job, attempt_t attempt) {
    based_job_t **at = &b->jobs;
    while (*at && ((*at)->j.job != job || (*at)->j.attempt != attempt)) at = &(*at)->next;
    return at;
}

static void well(trial_t *t) {
    t->tries = 0;
    free(TAKE(t->said));
}

static void job_free(based_job_t *j) {
    well(&j->making);
    well(&j->following);
    free(j->waiting);
    free(j);
}

/* Its own upload has been cancelled; that of another job may take minutes and is not waited for. What was ordered for it finds it no more. */
void base_drop(base_worker_t *b, job_id_t job, attempt_t attempt) {
    pthread_mutex_lock(&b->lock);
    based_job_t **at = find(b, job, attempt), *j = *at;
    bool now = j && j != b->current;
    if (now) *at = j->next;
    pthread_mutex_unlock(&b->lock);
    if (!now) {
        ask(b, (order_t){.kind = ORD_DROP, .job = {.job = job, .attempt = attempt}});
        return;
    }
    job_free(j);
    b->conf.gone(b->conf.arg, job, attempt);
}

/* A try goes from piece to piece, each far shorter than this: a table file written or brought to storage, a part of an epoch. */
static int64_t silent_ms(const based_job_t *j) {
    int64_t since = __atomic_load_n(&j->trying_ms, __ATOMIC_RELAXED);
    return since ? clock_mono_ms() - MAX(since, applier_alive_ms(j->j.applier)) : 0;
}

char *base_waiting(base_worker_t *b, job_id_t job, attempt_t attempt) {
    pthread_mutex_lock(&b->lock);
    based_job_t *j = *find(b, job, attempt);
    char *text = j && j->waiting ? xstrdup(j->waiting) : NULL;
    int64_t silent = j ? silent_ms(j) : 0;
    if (silent >= SAY_MS) {
        free(text);
        AUTO(auto_free) char *dir = base_directory(b->conf.data_dir, job, attempt);
        text = xprintf("local base: a call has not returned for %" PRId64 " s, of RocksDB in %s or of checkpoint storage", silent / 1000, dir);
    }
    pthread_mutex_unlock(&b->lock);
    return text;
}

/* ---------------------------------------------------------------- the base thread */
/* A try begins so; `tried` is told what came of it. */
static void begin_try(based_job_t *j) {
    __atomic_store_n(&j->trying_ms, clock_mono_ms(), __ATOMIC_RELAXED);
    stall_point("base");
    kstate_env_health_forget(j->j.env);
}

static void set_waiting(base_worker_t *b, based_job_t *j, const char *text) {
    pthread_mutex_lock(&b->lock);
    free(j->waiting);
    j->waiting = text ? xstrdup(text) : NULL;
    pthread_mutex_unlock(&b->lock);
}

/* RocksDB's words name another file each time: it is logged when something else fails, and now and then. */
static void in_vain(base_worker_t *b, based_job_t *j, trial_t *t, base_health_t health, const err_t *e) {
    const char *whose = health == BASE_WELL ? "base checkpoint" : "local base";
    const char *title = t == &j->making ? "no base checkpoint" : "the local base does not follow";
    t->tries++;
    free(t->said);
    t->said = xprintf("%s: %s (%d %s, epoch %" PRIu64 " waits)", whose, err_text(e), t->tries, t->tries == 1 ? "try" : "tries", j->complete);
    set_waiting(b, j, t->said);
    int64_t now = clock_mono_ms();
    if (t->tries > 1 && health == t->logged && now - t->logged_ms < LOG_AGAIN_MS) return;
    log_line(LOG_WARN, title, "worker=%s job=%" PRIu64 " attempt=%" PRIu64 " tries=%d error=\"%s\"", b->conf.worker, j->j.job, j->j.attempt, t->tries, err_text(e));
    t->logged = health;
    t->logged_ms = now;
}

/* What came of a try; NULL: it is done. A base that was made has followed. */
static void tried(base_worker_t *b, based_job_t *j, trial_t *t, err_t *e) {
    __atomic_store_n(&j->trying_ms, 0, __ATOMIC_RELAXED);
    if (err_code(e) == ERR_CANCELLED) { /* the attempt ends */
        err_free(e);
        return;
    }
    base_health_t health = e ? kstate_env_health(j->j.env) : BASE_WELL; /* else it is storage's */
    int64_t now = clock_mono_ms();
    if (health == BASE_WELL || health == BASE_FULL) j->failing_ms = 0;
    else if (!j->failing_ms) j->failing_ms = now;
    if (e) {
        in_vain(b, j, t, health, e);
    } else {
        well(t);
        if (t == &j->making) well(&j->following);
        set_waiting(b, j, j->making.said);
    }
    j->over = e && base_ends(health, now - j->failing_ms);
    if (j->over) b->conf.failed(b->conf.arg, j->j.job, j->j.attempt, err_wrap(TAKE(e), "local base"));
    err_free(e);
}

static void make(base_worker_t *b, based_job_t *j) {
    base_t *base = xcalloc(1, sizeof *base);
    uint64_t bytes = j->bytes;
    j->tried_ms = clock_mono_ms();
    begin_try(j);
    err_t *e = applier_checkpoint(j->j.applier, j->complete, base);
    if (e) {
        free(base);
    } else {
        j->asked = false;
        j->bytes -= bytes;
        j->based = j->unaccepted = j->complete;
        kept_job_base(j->j.kept, base);
        b->conf.done(b->conf.arg, j->j.job, j->j.attempt, j->complete, base);
    }
    tried(b, j, &j->making, e);
}

uint64_t base_bound(uint64_t least, uint64_t most, uint64_t hot, uint64_t evicted) {
    if (!least) least = BASE_CHANGELOG_MAX;
    return MAX(least, MIN(most, hot + hot / 2)) + MIN(evicted, BASE_CHANGELOG_EVICTED);
}

/* What a restore brought along for the base counts as used until it is there; it is no state that changes. */
static uint64_t bound_of(const base_worker_t *b, const based_job_t *j) {
    size_t used = kstate_env_used(j->j.env), hot = used - MIN(used, applier_held(j->j.applier)), memory = kstate_env_memory(j->j.env);
    uint64_t left = memory ? memory - MIN(memory, hot) : UINT64_MAX;
    return base_bound(b->conf.changelog_max, MIN(b->conf.changelog_most, left), hot, kstate_env_spilled(j->j.env));
}

/* Between bases the local base follows in large steps when hot tables will soon have to evict what it has, and at once when they find nothing to evict. */
static void follow(base_worker_t *b, based_job_t *j) {
    size_t pending = applier_pending(j->j.applier);
    bool soon = pending >= BASE_APPLY_BYTES && kstate_env_filling(j->j.env) && kstate_env_follows(j->j.env), now = pending && kstate_env_short(j->j.env);
    if (!soon && !now) return;
    if (j->following.tries && clock_mono_ms() - j->followed_ms < FOLLOW_AGAIN_MS) return; /* the memory thread asks forty times a second */
    j->followed_ms = clock_mono_ms();
    begin_try(j);
    tried(b, j, &j->following, applier_apply(j->j.applier, j->complete));
}

static void on_complete(based_job_t *j, const order_t *o) {
    j->complete = MAX(j->complete, o->epoch);
    j->asked = j->asked || o->asked;
    applier_complete(j->j.applier, o->epoch);
}

static void on_drop(base_worker_t *b, const order_t *o) {
    pthread_mutex_lock(&b->lock);
    based_job_t **at = find(b, o->job.job, o->job.attempt), *j = *at;
    if (j) *at = j->next;
    pthread_mutex_unlock(&b->lock);
    if (j) job_free(j);
    b->conf.gone(b->conf.arg, o->job.job, o->job.attempt);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f) {
    remove(path);
    return 0;
}
void base_remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static void forget(base_worker_t *b, job_id_t job) {
    AUTO(auto_free) char *kept = xprintf("%s/kept/jobs/%016" PRIx64, b->conf.data_dir, job);
    base_remove_tree(kept);
}

/* What is current is the base thread's: base_drop does not take it away meanwhile. */
static void set_current(base_worker_t *b, based_job_t *j) {
    pthread_mutex_lock(&b->lock);
    b->current = j;
    pthread_mutex_unlock(&b->lock);
}

static void note(base_worker_t *b, const order_t *o) {
    pthread_mutex_lock(&b->lock);
    based_job_t *j = b->current = *find(b, o->job.job, o->job.attempt);
    pthread_mutex_unlock(&b->lock);
    if (j && o->kind == ORD_STARTED) {
        kept_job_started(j->j.kept);
    } else if (j && o->kind == ORD_EXTENT) {
        applier_add_extent(j->j.applier, &o->extent);
        j->bytes += o->bytes;
        kept_job_extent(j->j.kept, o->extent.path, o->extent.last);
    } else if (j && o->kind == ORD_COMPLETE) {
        on_complete(j, o);
    } else if (j && j->unaccepted && o->epoch >= j->unaccepted) {
        j->unaccepted = 0;
        kept_job_accepted(j->j.kept, o->epoch);
    }
    set_current(b, NULL);
}

static void obey(base_worker_t *b, order_t *o) {
    switch (o->kind) {
    case ORD_STARTED:
    case ORD_EXTENT:
    case ORD_COMPLETE:
    case ORD_ACCEPTED: note(b, o); break;
    case ORD_DROP: on_drop(b, o); break;
    case ORD_FORGET: forget(b, o->job.job); break;
    case ORD_QUIT: break;
    }
}

static void make_if_due(base_worker_t *b, based_job_t *j) {
    if (!j->over) follow(b, j);
    if (j->over || j->complete <= j->based || j->complete <= j->j.restored) return;
    base_need_t n = {j->asked, j->unaccepted != 0, j->bytes, bound_of(b, j), clock_mono_ms() - j->tried_ms};
    bool again = j->making.tries && n.since_ms < b->conf.interval_ms; /* a failed one is not tried in a loop */
    if (!again && base_due(&n, b->conf.interval_ms)) make(b, j);
}

static void make_what_is_due(base_worker_t *b) {
    pthread_mutex_lock(&b->lock);
    for (based_job_t *j = b->jobs; j; j = j->next) {
        b->current = j;
        pthread_mutex_unlock(&b->lock);
        make_if_due(b, j);
        pthread_mutex_lock(&b->lock);
        b->current = NULL;
    }
    pthread_mutex_unlock(&b->lock);
}

static void *base_run(void *arg) {
    base_worker_t *b = arg;
    for (;;) {
        order_t *o = mailbox_receive(b->mail);
        if (!o) {
            make_what_is_due(b);
            mailbox_wait(b->mail, 1000);
            continue;
        }
        bool quit = o->kind == ORD_QUIT;
        obey(b, o);
        order_free(o);
        if (quit) return NULL;
    }
}

err_t *base_worker_new(const base_conf_t *conf, base_worker_t **ret) {
    base_worker_t *b = xcalloc(1, sizeof *b);
    b->conf = *conf;
    b->mail = mailbox_new((size_t)1 << 20, order_free);
    pthread_mutex_init(&b->lock, NULL);
    int rc = pthread_create(&b->thread, NULL, base_run, b);
    if (rc) {
        mailbox_free(b->mail);
        pthread_mutex_destroy(&b->lock);
        free(b);
        return err_from_errno(rc, "cannot start the base thread");
    }
    pthread_setname_np(b->thread, "base");
    *ret = b;
    return NULL;
}

void base_worker_free(base_worker_t *b) {
    if (!b) return;
    ask(b, (order_t){.kind = ORD_QUIT});
    pthread_join(b->thread, NULL);
    while (b->jobs) {
        based_job_t *j = b->jobs;
        b->jobs = j->next;
        job_free(j);
    }
    mailbox_free(b->mail);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
