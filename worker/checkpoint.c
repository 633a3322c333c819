/* checkpoint.c: see checkpoint.h. */
#include "worker/checkpoint.h"
#include "common/crash.h"
#include "common/mailbox.h"
#include <pthread.h>
#include <stdlib.h>

typedef enum request_kind { REQ_WRITE, REQ_AGAIN, REQ_DROP, REQ_QUIT } request_kind_t;
typedef struct request {
    request_kind_t kind;
    changelog_id_t id; /* worker is the checkpoint's */
    epoch_t epoch;
    int n;
    task_seal_t **seals;
} request_t;

typedef struct log { /* an attempt's file, and what could not be written to it */
    struct log *next;
    changelog_id_t id;
    changelog_t *file;
    epoch_t epoch; /* of what waits; 0: nothing */
    int n;
    task_seal_t **seals;
    segment_t segment;
} log_t;

struct checkpoint {
    checkpoint_conf_t conf;
    mailbox_t *mail;
    pthread_t thread;
    log_t *logs; /* the thread's */
};

void checkpoint_seals_free(task_seal_t **seals, int n) {
    for (int i = 0; i < n; i++) task_seal_free(seals[i]);
    free(seals);
}

static void request_free(void *msg) {
    request_t *r = msg;
    checkpoint_seals_free(r->seals, r->n);
    free(r);
}

static log_t **log_find(checkpoint_t *c, job_id_t job, attempt_t attempt) {
    log_t **at = &c->logs;
    while (*at && ((*at)->id.job != job || (*at)->id.attempt != attempt)) at = &(*at)->next;
    return at;
}

static void log_done(log_t *l) {
    checkpoint_seals_free(TAKE(l->seals), l->n);
    l->n = 0;
    l->epoch = 0;
    segment_free(&l->segment);
}

static void log_free(log_t *l) {
    log_done(l);
    changelog_free(l->file);
    free(l);
}

/* One try with what waits; answers in either case. */
static void attempt_write(checkpoint_t *c, log_t *l) {
    checkpoint_done_t d = {.job = l->id.job, .attempt = l->id.attempt, .epoch = l->epoch};
    if (l->segment.bytes == 0) d.error = segment_gather(&l->id, l->epoch, l->seals, l->n, c->conf.compress, &l->segment);
    d.never = d.error != NULL;
    if (!d.error) d.error = changelog_append_pieces(l->file, l->epoch, &l->segment, &d.extent);
    d.bytes = l->segment.bytes;
    if (!d.error) {
        crash_point("sealed");
        for (int i = 0; i < l->n; i++) task_seal_written(l->seals[i]);
        d.seals = TAKE(l->seals);
        d.nseals = l->n;
        l->n = 0;
        log_done(l);
    }
    c->conf.done(c->conf.arg, &d);
}

static int by_place(const void *a, const void *b) {
    const task_seal_t *x = *(task_seal_t *const *)a, *y = *(task_seal_t *const *)b;
    return x->stage != y->stage ? x->stage - y->stage : x->subtask - y->subtask;
}

static void on_write(checkpoint_t *c, request_t *r) {
    log_t **at = log_find(c, r->id.job, r->id.attempt);
    log_t *l = *at;
    if (!l) {
        l = *at = xcalloc(1, sizeof *l);
        l->id = r->id;
        l->file = changelog_new(c->conf.disk, &l->id);
        changelog_keep(l->file, c->conf.kept);
    }
    ASSERT(l->epoch == 0); /* the agent asks for one write at a time */
    l->epoch = r->epoch;
    l->n = r->n;
    l->seals = TAKE(r->seals);
    r->n = 0;
    qsort(l->seals, (size_t)l->n, sizeof *l->seals, by_place);
    attempt_write(c, l);
}

static void *checkpoint_run(void *arg) {
    checkpoint_t *c = arg;
    for (bool quit = false; !quit;) {
        request_t *r = mailbox_receive(c->mail);
        if (!r) {
            mailbox_wait(c->mail, 1000);
            continue;
        }
        log_t **at = log_find(c, r->id.job, r->id.attempt);
        if (r->kind == REQ_QUIT) {
            quit = true;
        } else if (r->kind == REQ_WRITE) {
            on_write(c, r);
        } else if (r->kind == REQ_AGAIN) {
            if (*at && (*at)->epoch == r->epoch) attempt_write(c, *at);
        } else {
            log_t *l = *at;
            if (l) {
                *at = l->next;
                log_free(l);
            }
            c->conf.dropped(c->conf.arg, r->id.job, r->id.attempt);
        }
        request_free(r);
    }
    return NULL;
}

static void ask(checkpoint_t *c, request_t r) {
    request_t *copy = xmalloc(sizeof *copy);
    *copy = r;
    copy->id.worker = c->conf.worker;
    bool ok = mailbox_send(c->mail, copy);
    ASSERT(ok); /* one write per job is under way at a time */
}
void checkpoint_write(checkpoint_t *c, const changelog_id_t *id, epoch_t epoch, task_seal_t **seals, int n) {
    ask(c, (request_t){.kind = REQ_WRITE, .id = *id, .epoch = epoch, .seals = seals, .n = n});
}
void checkpoint_again(checkpoint_t *c, job_id_t job, attempt_t attempt, epoch_t epoch) {
    ask(c, (request_t){.kind = REQ_AGAIN, .id = {.job = job, .attempt = attempt}, .epoch = epoch});
}
void checkpoint_drop(checkpoint_t *c, job_id_t job, attempt_t attempt) {
    ask(c, (request_t){.kind = REQ_DROP, .id = {.job = job, .attempt = attempt}});
}

err_t *checkpoint_new(const checkpoint_conf_t *conf, checkpoint_t **ret) {
    checkpoint_t *c = xcalloc(1, sizeof *c);
    c->conf = *conf;
    c->conf.worker = xstrdup(conf->worker);
    c->mail = mailbox_new(65536, request_free);
    int rc = pthread_create(&c->thread, NULL, checkpoint_run, c);
    if (rc) {
        mailbox_free(c->mail);
        free((char *)c->conf.worker);
        free(c);
        return err_from_errno(rc, "cannot start the checkpoint thread");
    }
    pthread_setname_np(c->thread, "checkpoint");
    *ret = c;
    return NULL;
}

void checkpoint_free(checkpoint_t *c) {
    if (!c) return;
    ask(c, (request_t){.kind = REQ_QUIT});
    pthread_join(c->thread, NULL);
    mailbox_free(c->mail);
    while (c->logs) {
        log_t *l = c->logs;
        c->logs = l->next;
        log_free(l);
    }
    free((char *)c->conf.worker);
    free(c);
}
