/* daemon.c: `tidegate coordinator` and `tidegate worker`: drivers with sockets around them, until a signal. */
#include "cli/cli.h"
#include "common/clock.h"
#include "coordinator/driver.h"
#include "coordinator/meta_store_etcd.h"
#include "coordinator/rest.h"
#include "worker/driver.h"
#include "worker/lane_kafka.h"
#include "worker/rest.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static double slow_factor(void) { /* instrumented builds are slower: their time-outs grow */
    const char *s = getenv("TIDEGATE_SLOW");
    double f = s ? strtod(s, NULL) : 1;
    return f >= 1 && f <= 100 ? f : 1;
}

/* ---------------------------------------------------------------- coordinator */

typedef struct coordinator {
    pthread_mutex_t lock; /* rpc threads ask for the driver while main takes it away */
    coord_driver_t *driver;
} coordinator_t;

static void orphan_message(void *arg, link_t *l, ctl_msg_t *m) { ctl_free(m); }
static void orphan_closed(void *arg, link_t *l, err_t *why) {
    err_free(why);
    l->free(l);
}

static void on_accept(void *arg, link_t *l) {
    coordinator_t *c = arg;
    pthread_mutex_lock(&c->lock);
    if (c->driver) {
        coord_driver_accept(c->driver, l);
    } else {
        l->handler = (link_handler_t){orphan_message, orphan_closed, NULL};
        l->close(l);
    }
    pthread_mutex_unlock(&c->lock);
}

static void on_reply(void *arg, client_reply_t *reply) { rpc_reply(arg, reply); }

static void on_call(void *arg, rpc_call_t *call, client_request_t *r) {
    coordinator_t *c = arg;
    pthread_mutex_lock(&c->lock);
    if (c->driver) {
        coord_driver_call(c->driver, r, on_reply, call);
    } else {
        client_request_free(r);
        client_reply_t reply = {.error = err_new(ERR_CANCELLED, "the coordinator is stopping")};
        rpc_reply(call, &reply);
    }
    pthread_mutex_unlock(&c->lock);
}

static void on_etcd_notice(void *arg, const char *text) { log_line(LOG_INFO, text, " "); }

static err_t *connect_leader(void *arg, const char *name, const link_handler_t *h, link_t **ret) { return rpc_connect(name, 1000, h, ret); }

/* The address the other coordinators reach this one by: the wildcard is told apart by the host's name. */
static char *own_address(const char *listen) {
    const char *port = strrchr(listen, ':');
    char host[256];
    bool any = port && (!strncmp(listen, "0.0.0.0:", 8) || !strncmp(listen, "[::]:", 5) || !strncmp(listen, "*:", 2));
    return any && gethostname(host, sizeof host) == 0 ? xprintf("%.*s%s", 255, host, port) : xstrdup(listen);
}

static err_t *open_meta(const config_t *c, const char *storage, meta_store_t **ret) {
    const char *etcd = config_str(c, "etcd");
    if (etcd) {
        char *name AUTO(auto_free) = own_address(config_str(c, "listen"));
        meta_etcd_conf_t conf = {.endpoints = etcd, .cluster = config_str(c, "cluster"), .name = name, .notice = on_etcd_notice, .connect = connect_leader,
                                 .beat_ms = (int)(100 * slow_factor()), .silence_ms = (int)(1000 * slow_factor())};
        return meta_store_etcd_open(&conf, ret);
    }
    const char *path = !strncmp(storage, "file://", 7) ? storage + 7 : storage;
    char *dir AUTO(auto_free) = xprintf("%s/metadata", path);
    return meta_store_dir_open(dir, ret);
}

/* A clock of nothing would tick without a pause, and call every worker dead; so does a time-out without room for a second heartbeat. */
static err_t *check_times(const config_t *c) {
    static const struct { const char *name; int least; } times[] = {{"heartbeat", 10}, {"worker-timeout", 100}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        if (config_i64(c, times[i].name) < times[i].least)
            return err_new(ERR_INVALID, "--%s: '%s' is less than %d ms", times[i].name, config_str(c, times[i].name), times[i].least);
    if (2 * config_i64(c, "heartbeat") > config_i64(c, "worker-timeout"))
        return err_hint(err_new(ERR_INVALID, "--heartbeat: '%s' is more than half of --worker-timeout, '%s': workers that are well would be called dead",
                                config_str(c, "heartbeat"), config_str(c, "worker-timeout")),
                        "raise --worker-timeout to wait longer for a worker that is silent");
    return NULL;
}

static err_t *start_coordinator(const config_t *c, disk_t *disk, coordinator_t *co, rpc_server_t **ret_rpc) {
    coord_driver_conf_t conf = {.core = coord_conf_default(), .storage = disk, .address = config_str(c, "listen")};
    snprintf(conf.core.storage, sizeof conf.core.storage, "%s", config_str(c, "storage"));
    snprintf(conf.core.cluster, sizeof conf.core.cluster, "%s", config_str(c, "cluster"));
    conf.core.heartbeat_ms = config_i64(c, "heartbeat");
    conf.core.orphan_age_ms = config_i64(c, "orphan-age");
    conf.core.heartbeat_timeout_ms = (int64_t)((double)config_i64(c, "worker-timeout") * slow_factor());
    conf.core.stop_timeout_ms = (int64_t)((double)conf.core.stop_timeout_ms * slow_factor());
    TRY(open_meta(c, config_str(c, "storage"), &conf.meta));
    TRY(coord_driver_new(&conf, &co->driver));
    rpc_handler_t handler = {on_accept, on_call, co};
    int port;
    TRY(rpc_server_new(config_str(c, "listen"), &handler, ret_rpc, &port));
    log_line(LOG_INFO, "coordinator is up", "listen=%s port=%d storage=%s metadata=%s", config_str(c, "listen"), port, config_str(c, "storage"),
             config_str(c, "etcd") ? config_str(c, "etcd") : "local");
    return NULL;
}

int cmd_coordinator(const config_t *c) {
    cli_log(c, "coordinator", LOG_INFO);
    int signals = signals_open();
    const char *storage = config_str(c, "storage");
    if (!storage)
        return cli_fail(err_hint(err_new(ERR_INVALID, "--storage is missing"), "give a directory every worker can reach: --storage file:///var/lib/tidegate/checkpoints"));
    disk_t *disk = NULL;
    err_t *e = check_times(c);
    if (!e) e = err_wrap(disk_open_uri(storage, &disk), "--storage");
    if (e) return cli_fail(e);
    coordinator_t co = {.lock = PTHREAD_MUTEX_INITIALIZER};
    rpc_server_t *rpc = NULL;
    rest_t *http = NULL;
    e = start_coordinator(c, disk, &co, &rpc);
    if (!e && strcmp(config_str(c, "http"), "off")) e = err_wrap(rest_start(config_str(c, "http"), co.driver, &http, NULL), "--http");
    if (!e) {
        int signal = 0;
        while (!signal) signal = signals_wait(signals, 60000);
        log_line(LOG_INFO, "coordinator stops", "signal=%d", signal);
        signals_kill_next(signals, clock_mono_ms());
    }
    rest_free(http);
    pthread_mutex_lock(&co.lock);
    coord_driver_t *driver = TAKE(co.driver);
    pthread_mutex_unlock(&co.lock);
    coord_driver_free(driver);
    rpc_server_free(rpc);
    disk->free(disk);
    close(signals);
    return e ? cli_fail(e) : 0;
}

/* ---------------------------------------------------------------- worker */

/* Checkpoint storage as the coordinator names it: the worker's parts hold this handle from the start, the real one comes with the first
 * welcome. Only `inner` changes, once. */
typedef struct late_disk {
    disk_t disk;
    _Atomic(disk_t *) inner;
    char *uri; /* control thread */
} late_disk_t;

static err_t *late(disk_t *d, disk_t **ret) {
    *ret = atomic_load(&CONTAINER_OF(d, late_disk_t, disk)->inner);
    return *ret ? NULL : err_new(ERR_UNAVAILABLE, "no coordinator has named the checkpoint storage yet");
}
#define LATE(call)                                                                                 \
    disk_t *in;                                                                                    \
    TRY(late(d, &in));                                                                             \
    return in->call
static err_t *late_create(disk_t *d, const char *path, disk_file_t **ret) { LATE(create(in, path, ret)); }
static err_t *late_append(disk_t *d, disk_file_t *f, slice_t bytes) { LATE(append(in, f, bytes)); }
static err_t *late_append_all(disk_t *d, disk_file_t *f, const slice_t *pieces, size_t n) {
    disk_t *in;
    TRY(late(d, &in));
    return disk_append_all(in, f, pieces, n);
}
static err_t *late_sync(disk_t *d, disk_file_t *f) { LATE(sync(in, f)); }
static void late_close(disk_t *d, disk_file_t *f) {
    disk_t *in = atomic_load(&CONTAINER_OF(d, late_disk_t, disk)->inner);
    in->close(in, f); /* it was opened through it */
}
static err_t *late_read(disk_t *d, const char *path, uint64_t from, uint64_t len, buf_t *ret) { LATE(read(in, path, from, len, ret)); }
static err_t *late_put(disk_t *d, const char *path, slice_t bytes) { LATE(put(in, path, bytes)); }
static err_t *late_remove(disk_t *d, const char *path) { LATE(remove(in, path)); }
static err_t *late_list(disk_t *d, const char *dir, disk_found_fn fn, void *arg) { LATE(list(in, dir, fn, arg)); }
static err_t *late_dirs(disk_t *d, const char *dir, void (*fn)(void *arg, const char *name), void *arg) { LATE(dirs(in, dir, fn, arg)); }
static err_t *late_import(disk_t *d, const char *local_path, const char *path) { LATE(import(in, local_path, path)); }
static err_t *late_export(disk_t *d, const char *path, const char *local_path) { LATE(export(in, path, local_path)); }
static const char *late_where(disk_t *d) {
    disk_t *in = atomic_load(&CONTAINER_OF(d, late_disk_t, disk)->inner);
    return in ? in->where(in) : "(not known yet)";
}
static void late_free(disk_t *d) {
    late_disk_t *l = CONTAINER_OF(d, late_disk_t, disk);
    disk_t *in = atomic_load(&l->inner);
    if (in) in->free(in);
    free(l->uri);
}
static const disk_t late_table = {.create = late_create, .append = late_append, .sync = late_sync, .close = late_close, .read = late_read, .put = late_put,
                                  .remove = late_remove, .list = late_list, .import = late_import, .export = late_export, .free = late_free,
                                  .where = late_where, .dirs = late_dirs, .append_all = late_append_all};

typedef struct worker_host {
    late_disk_t storage;
    char **addresses;
    int naddresses;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool exited;
    err_t *why;
    int exited_fd; /* an eventfd: readable from then on */
} worker_host_t;

static err_t *connect_next(void *arg, int try, const link_handler_t *h, link_t **ret) {
    worker_host_t *w = arg;
    return rpc_connect(w->addresses[try % w->naddresses], 2000, h, ret);
}

static err_t *on_welcomed(void *arg, const char *uri) {
    worker_host_t *w = arg;
    if (!uri) return err_new(ERR_INVALID, "the coordinator names no checkpoint storage");
    if (w->storage.uri) {
        if (!strcmp(w->storage.uri, uri)) return NULL;
        return err_new(ERR_INVALID, "the coordinator's checkpoint storage is %s now, it was %s: start this worker again", uri, w->storage.uri);
    }
    disk_t *disk = NULL;
    TRY(err_hint(err_wrap(disk_open_uri(uri, &disk), "checkpoint storage %s", uri), "every worker must reach the coordinator's --storage"));
    w->storage.uri = xstrdup(uri);
    atomic_store(&w->storage.inner, disk);
    return NULL;
}

static void on_exited(void *arg, err_t *why) {
    worker_host_t *w = arg;
    pthread_mutex_lock(&w->lock);
    w->exited = true;
    if (w->why) err_free(why);
    else w->why = why;
    pthread_mutex_unlock(&w->lock);
    uint64_t one = 1;
    ssize_t n = write(w->exited_fd, &one, sizeof one);
    (void)n;
}

static bool has_exited(worker_host_t *w) {
    pthread_mutex_lock(&w->lock);
    bool yes = w->exited;
    pthread_mutex_unlock(&w->lock);
    return yes;
}

/* Drawn once and kept, so that a restarted worker finds its own files. */
static err_t *worker_name(const config_t *c, const char *dir, char **ret) {
    if (config_str(c, "name")) return *ret = xstrdup(config_str(c, "name")), NULL;
    char *path AUTO(auto_free) = xprintf("%s/name", dir);
    char *text = NULL;
    size_t len;
    err_t *e = cli_read_file(path, &text, &len);
    if (!e && len > 0 && len < 64) {
        text[strcspn(text, "\n")] = 0;
        return *ret = text, NULL;
    }
    err_free(e);
    free(text);
    *ret = xprintf("w-%06" PRIx64, clock_random() & 0xffffff);
    disk_t *disk = NULL;
    e = disk_open_posix(dir, true, &disk);
    if (!e) e = disk->put(disk, "name", slice_str(*ret));
    if (disk) disk->free(disk);
    return err_wrap(e, "--data");
}

static void split_addresses(const char *list, worker_host_t *w) {
    w->addresses = xcalloc(strlen(list) + 1, sizeof *w->addresses);
    while (*list) {
        size_t n = strcspn(list, ",");
        if (n) w->addresses[w->naddresses++] = xstrndup(list, n);
        list += n + (list[n] == ',');
    }
}

#define DRAIN_MS_MAX 31000 /* the agent's own limit is 30 s */

/* Until a signal or the end of the session; the first signal drains, a second one ends the process at once, also while it winds up. */
static void serve_worker(worker_t *w, worker_host_t *host, int signals) {
    int signal = 0;
    while (!has_exited(host) && !(signal = signals_wait_or(signals, host->exited_fd, 60000))) {}
    if (!signal) return;
    int64_t since = clock_mono_ms();
    log_line(LOG_INFO, "worker drains", "signal=%d", signal);
    worker_leave(w);
    signals_kill_next(signals, since);
    while (!has_exited(host) && clock_mono_ms() - since <= DRAIN_MS_MAX) usleep(20000); /* a signal ends the process here */
    if (!has_exited(host)) log_line(LOG_WARN, "worker could not drain", "within %d s: it goes at once", DRAIN_MS_MAX / 1000);
}

int cmd_worker(const config_t *c) {
    cli_log(c, "worker", LOG_INFO);
    int signals = signals_open();
    const char *dir = config_str(c, "data");
    if (!dir) return cli_fail(err_hint(err_new(ERR_INVALID, "--data is missing"), "give this worker a directory of its own: --data /var/lib/tidegate/w1"));
    worker_host_t host = {.lock = PTHREAD_MUTEX_INITIALIZER, .storage.disk = late_table, .exited_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    ASSERT(host.exited_fd >= 0);
    split_addresses(config_str(c, "coordinator"), &host);
    if (!host.naddresses) return cli_fail(err_new(ERR_INVALID, "--coordinator names no address"));
    char *name AUTO(auto_free) = NULL;
    err_t *e = worker_name(c, dir, &name);
    if (e) return cli_fail(e);
    lane_driver_t *lanes = lane_kafka_new();
    worker_conf_t conf = {.name = name, .build = TIDEGATE_VERSION, .data_dir = dir, .slots = (int)config_i64(c, "slots"), .memory = (uint64_t)config_i64(c, "memory"),
                          .listen = config_str(c, "listen"), .storage = &host.storage.disk, .base_interval_ms = config_i64(c, "base-interval"), .connect = connect_next,
                          .several = host.naddresses > 1,
                          .welcomed = on_welcomed, .lane_driver = lanes, .exited = on_exited, .arg = &host};
    worker_t *w = NULL;
    worker_rest_t *http = NULL;
    e = worker_start(&conf, &w);
    if (!e && strcmp(config_str(c, "http"), "off")) e = err_wrap(worker_rest_start(config_str(c, "http"), w, &http, NULL), "--http");
    if (!e) {
        log_line(LOG_INFO, "worker is up", "name=%s port=%d slots=%d coordinator=%s", name, worker_port(w), conf.slots, config_str(c, "coordinator"));
        serve_worker(w, &host, signals);
        e = TAKE(host.why);
    }
    worker_rest_free(http);
    worker_free(w);
    lane_kafka_free(lanes);
    late_free(&host.storage.disk);
    for (int i = 0; i < host.naddresses; i++) free(host.addresses[i]);
    free(host.addresses);
    close(host.exited_fd);
    close(signals);
    return e ? cli_fail(e) : 0;
}
