/* driver_life.c: starting and stopping a worker. */
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "worker/driver_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STUCK_MS 30000
#define NOTES_MAX ((size_t)1 << 20)

/* ---------------------------------------------------------------- the directory */
static err_t *make_directories(const char *path) {
    AUTO(auto_free) char *p = xstrdup(path);
    for (char *at = p + 1;; at++) {
        if (*at && *at != '/') continue;
        char c = *at;
        *at = 0;
        if (mkdir(p, 0755) < 0 && errno != EEXIST) return err_from_errno(errno, "cannot make directory '%s'", p);
        if (!c) return NULL;
        *at = c;
    }
}

/* flock dies with the process, so a kill -9 leaves nothing to clean up. */
static err_t *lock_directory(const char *dir, int *ret_fd) {
    TRY(make_directories(dir));
    AUTO(auto_free) char *path = xprintf("%s/worker.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return err_from_errno(errno, "cannot open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int no = errno;
        close(fd);
        if (no != EWOULDBLOCK) return err_from_errno(no, "cannot lock '%s'", path);
        return err_hint(err_new(ERR_EXISTS, "another worker runs on the data directory '%s'", dir), "give each worker a --data of its own");
    }
    *ret_fd = fd;
    return NULL;
}

/* ---------------------------------------------------------------- answers of the other threads */
static void on_link_failed(void *arg, job_id_t job, attempt_t attempt, const char *peer, err_t *e) {
    worker_post(arg, (note_t){.kind = NOTE_FAILED, .job = job, .attempt = attempt, .stage = -1, .subtask = -1, .where = xstrdup(peer), .error = e});
}
static void on_checkpoint_done(void *arg, checkpoint_done_t *d) { worker_post(arg, (note_t){.kind = NOTE_WRITTEN, .done = *d}); }
static void on_checkpoint_dropped(void *arg, job_id_t job, attempt_t attempt) {
    worker_post(arg, (note_t){.kind = NOTE_DROPPED, .job = job, .attempt = attempt});
}
static void on_base_done(void *arg, job_id_t job, attempt_t attempt, epoch_t epoch, base_t *base) {
    worker_post(arg, (note_t){.kind = NOTE_BASED, .job = job, .attempt = attempt, .epoch = epoch, .base = base});
}
static void on_base_gone(void *arg, job_id_t job, attempt_t attempt) {
    worker_post(arg, (note_t){.kind = NOTE_BASE_GONE, .job = job, .attempt = attempt});
}

static void on_base_failed(void *arg, job_id_t job, attempt_t attempt, err_t *e) {
    worker_post(arg, (note_t){.kind = NOTE_FAILED, .job = job, .attempt = attempt, .stage = -1, .subtask = -1, .error = e});
}

static void on_memory_pressed(void *arg) { base_look(((worker_t *)arg)->base); }

/* ---------------------------------------------------------------- start */
static err_t *start_parts(worker_t *w) {
    worker_conf_t *c = &w->conf;
    TRY(lock_directory(c->data_dir, &w->lock_fd));
    AUTO(auto_free) char *stale = xprintf("%s/base", c->data_dir); /* live directories of a process that is no more */
    base_remove_tree(stale);
    AUTO(auto_free) char *kept = xprintf("%s/kept", c->data_dir);
    base_remove_tree(kept);
    TRY(disk_open_posix(kept, /* create= */ true, &w->kept));
    endpoint_conf_t ec = {.name = c->name, .listen = c->listen, .compress = c->compress_frames, .failed = on_link_failed, .arg = w};
    TRY(endpoint_new(&ec, &w->endpoint));
    const char *colon = strrchr(c->listen, ':');
    AUTO(auto_free) char *host = c->advertise ? xstrdup(c->advertise) : xstrndup(c->listen, (size_t)(colon - c->listen));
    w->address = xprintf("%s:%d", host, endpoint_port(w->endpoint));
    checkpoint_conf_t cc = {c->storage, c->name, true, on_checkpoint_done, on_checkpoint_dropped, w, w->kept};
    TRY(checkpoint_new(&cc, &w->checkpoint));
    memory_shares_t shares = memory_shares(c->memory);
    base_conf_t bc = {.worker = c->name, .data_dir = c->data_dir, .storage = c->storage, .interval_ms = c->base_interval_ms, .changelog_max = shares.changelog,
                      .changelog_most = shares.changelog_most, .done = on_base_done, .gone = on_base_gone, .failed = on_base_failed, .arg = w};
    TRY(base_worker_new(&bc, &w->base));
    if (c->lane_driver && !c->lane_driver->txn_bytes) c->lane_driver->txn_bytes = shares.transaction;
    memory_conf_t mc = {c->memory, process_rss, on_memory_pressed, w};
    TRY(memory_new(&mc, &w->memory));
    w->slots = xcalloc((size_t)c->slots, sizeof *w->slots);
    w->slot_load = xcalloc((size_t)c->slots, sizeof *w->slot_load);
    for (; w->nslots < c->slots; w->nslots++) TRY(slot_new(w->nslots, &w->slots[w->nslots]));
    return builder_start(w);
}

static void stop_parts(worker_t *w) {
    builder_stop(w);
    for (int i = 0; i < w->nslots; i++) slot_free(w->slots[i]);
    memory_free(w->memory); /* before the base thread: it calls it */
    base_worker_free(w->base);
    checkpoint_free(w->checkpoint);
    endpoint_free(w->endpoint);
    if (w->kept) w->kept->free(w->kept);
    if (w->lock_fd >= 0) close(w->lock_fd);
}

static void worker_release(worker_t *w) {
    mailbox_free(w->mail);
    agent_free(w->agent);
    agent_actions_free(&w->actions);
    while (w->links) {
        link_slot_t *s = w->links;
        w->links = s->next;
        free(s);
    }
    free(w->slots);
    free(w->slot_load);
    free(w->address);
    free((char *)w->conf.name);
    free((char *)w->conf.cluster);
    free((char *)w->conf.build);
    free((char *)w->conf.data_dir);
    buf_free(&w->status);
    pthread_cond_destroy(&w->status_there);
    pthread_mutex_destroy(&w->status_lock);
    free(w);
}

static char *absolute(const char *path) {
    AUTO(auto_free) char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    return here ? xprintf("%s/%s", here, path) : xstrdup(path);
}

err_t *worker_start(const worker_conf_t *conf, worker_t **ret) {
    if (conf->slots < 1 || conf->slots > 1024) return err_new(ERR_INVALID, "a worker has 1 to 1024 slots, not %d", conf->slots);
    if (!conf->name || !conf->name[0]) return err_new(ERR_INVALID, "a worker needs a name");
    worker_t *w = xcalloc(1, sizeof *w);
    w->conf = *conf;
    w->conf.name = xstrdup(conf->name);
    w->conf.cluster = xstrdup(conf->cluster ? conf->cluster : "tidegate");
    w->conf.build = xstrdup(conf->build ? conf->build : "");
    w->conf.data_dir = absolute(conf->data_dir); /* what is fetched into it is named so, whatever the working directory */
    if (!w->conf.compile) w->conf.compile = worker_compile;
    if (!w->conf.memory) w->conf.memory = (uint64_t)512 << 20;
    if (!w->conf.stuck_ms) w->conf.stuck_ms = stall_limit_ms(STUCK_MS);
    if (!w->conf.base_interval_ms) w->conf.base_interval_ms = BASE_INTERVAL_MS;
    w->lock_fd = -1;
    w->mail = mailbox_new(NOTES_MAX, note_free);
    w->status = buf_make((size_t)16 << 20);
    pthread_mutex_init(&w->status_lock, NULL);
    pthread_cond_init(&w->status_there, NULL);
    err_t *e = start_parts(w);
    if (!e) {
        agent_conf_t ac = {w->conf.name, w->address, w->conf.slots, w->conf.memory, w->conf.build, w->conf.several};
        w->agent = agent_new(&ac);
        int rc = pthread_create(&w->thread, NULL, worker_control, w);
        if (rc) e = err_from_errno(rc, "cannot start the control thread");
    }
    if (e) {
        stop_parts(w);
        worker_release(w);
        return e;
    }
    pthread_setname_np(w->thread, "control");
    *ret = w;
    return NULL;
}

void worker_leave(worker_t *w) { worker_post(w, (note_t){.kind = NOTE_LEAVE}); }
int worker_port(const worker_t *w) { return endpoint_port(w->endpoint); }

/* The control thread ends its attempts and links first (worker_control), then the parts are joined. */
void worker_free(worker_t *w) {
    if (!w) return;
    worker_post(w, (note_t){.kind = NOTE_QUIT});
    pthread_join(w->thread, NULL);
    stop_parts(w);
    worker_release(w);
}
