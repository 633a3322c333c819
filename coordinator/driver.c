#include "coordinator/driver_int.h"
#include "common/clock.h"
#include "common/log.h"
#include "coordinator/service.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAILBOX_MAX (1u << 20)
#define CLOSE_WAIT_MS 5000
#define CAMPAIGN_AGAIN_MS 1000
#define POSTS_PER_TURN 256
#define ASIDE_WAIT_MS 10000

static void default_log(void *arg, coord_log_level_t level, const char *text) {
    log_line(level == COORD_INFO ? LOG_INFO : level == COORD_WARN ? LOG_WARN : LOG_ERROR, text, "%s", "");
}

/* ---- posts */
static void post_free(void *msg) {
    post_t *p = msg;
    if (p->kind == POST_EVENT) coord_event_done(&p->ev);
    err_free(p->why);
    client_request_free(p->request);
    free(p);
}

void driver_post(coord_driver_t *d, post_t *p) {
    if (!mailbox_send(d->box, p)) post_free(p);
}

void driver_post_event(coord_driver_t *d, coord_event_t ev) {
    post_t *p = xcalloc(1, sizeof *p);
    p->kind = POST_EVENT;
    p->ev = ev;
    driver_post(d, p);
}

/* ---- links (any thread) */
static void on_message(void *arg, link_t *l, ctl_msg_t *m) {
    session_t *s = arg;
    coord_event_t ev = {.kind = EV_MESSAGE, .session = s->id};
    ev.message = m;
    driver_post_event(s->d, ev);
}

static void on_closed(void *arg, link_t *l, err_t *why) {
    session_t *s = arg;
    post_t *p = xcalloc(1, sizeof *p);
    p->kind = POST_CLOSED;
    p->session = s;
    p->why = why;
    driver_post(s->d, p);
}

void coord_driver_accept(coord_driver_t *d, link_t *link) {
    session_t *s = xcalloc(1, sizeof *s);
    s->d = d;
    s->id = atomic_fetch_add(&d->next_id, 1);
    s->link = link;
    post_t *p = xcalloc(1, sizeof *p);
    p->kind = POST_OPEN;
    p->session = s;
    driver_post(d, p);
    link->handler = (link_handler_t){on_message, on_closed, s};
}

static session_t *session_of(coord_driver_t *d, session_id_t id) {
    for (int i = 0; i < d->nsessions; i++)
        if (d->sessions[i]->id == id) return d->sessions[i];
    return NULL;
}

static void session_remove(coord_driver_t *d, session_t *s) {
    for (int i = 0; i < d->nsessions; i++) {
        if (d->sessions[i] != s) continue;
        memmove(&d->sessions[i], &d->sessions[i + 1], sizeof *d->sessions * (size_t)(d->nsessions - i - 1));
        d->nsessions--;
        break;
    }
    s->link->free(s->link);
    free(s);
}

/* ---- clients */
void coord_driver_call(coord_driver_t *d, client_request_t *r, coord_reply_fn reply, void *arg) {
    post_t *p = xcalloc(1, sizeof *p);
    p->kind = POST_CALL;
    p->request = r;
    p->call = (call_t){atomic_fetch_add(&d->next_id, 1), r->op, reply, arg};
    if (mailbox_send(d->box, p)) return;
    client_reply_t answer = {.error = err_new(ERR_CANCELLED, "the coordinator ends")};
    reply(arg, &answer);
    client_reply_free(&answer);
    post_free(p);
}

static void answer(coord_driver_t *d, const call_t *c, job_id_t job, err_t *error) {
    client_reply_t r = {.error = error, .json = buf_make((size_t)64 << 20)};
    if (!error) service_render_job(d->core, job, &r.json);
    c->fn(c->arg, &r);
    client_reply_free(&r);
}

static void reply(coord_driver_t *d, call_id_t id, job_id_t job, err_t *error) {
    for (int i = 0; i < d->ncalls; i++) {
        if (d->calls[i].id != id) continue;
        call_t c = d->calls[i];
        d->calls[i] = d->calls[--d->ncalls];
        answer(d, &c, job, error);
        return;
    }
    err_free(error);
}

/* ---- actions */
static void perform_send(coord_driver_t *d, coord_action_t *a) {
    session_t *s = session_of(d, a->session);
    if (s && !s->closing) s->link->send(s->link, TAKE(a->message));
}
static void perform_close(coord_driver_t *d, coord_action_t *a) {
    session_t *s = session_of(d, a->session);
    if (!s || s->closing) return;
    s->closing = true;
    s->link->close(s->link);
}

static void perform(coord_driver_t *d, coord_action_t *a, int64_t *campaign_ms) {
    if (d->conf.watch) d->conf.watch(d->conf.watch_arg, a);
    switch (a->kind) {
    case ACT_SEND: perform_send(d, a); break;
    case ACT_CLOSE: perform_close(d, a); break;
    case ACT_RESOLVE: io_resolve(d, a); break;
    case ACT_FIND_SPLITS: io_find_splits(d, a); break;
    case ACT_PUT_JOB: io_put_job(d, a); break;
    case ACT_RAISE: io_raise(d, a); break;
    case ACT_PUT_MANIFEST: io_put_manifest(d, a); break;
    case ACT_DELETE_FILES: io_delete_files(d, a); break;
    case ACT_CHECK_TARGET: io_check_target(d, a); break;
    case ACT_SAVE: io_save(d, a); break;
    case ACT_FIND_ORPHANS: io_find_orphans(d, a); break;
    case ACT_FORGET: io_forget(d, a); break;
    case ACT_REPLY: reply(d, a->reply.call, a->job, TAKE(a->reply.error)); break;
    case ACT_RESIGN:
        io_resign(d);
        *campaign_ms = clock_mono_ms() + CAMPAIGN_AGAIN_MS;
        break;
    case ACT_LOG: d->conf.log(d->conf.log_arg, a->log.level, a->log.text); break;
    }
}

static void step(coord_driver_t *d, coord_event_t *ev, int64_t *campaign_ms) {
    ev->now_ms = clock_mono_ms();
    ev->wall_ms = clock_wall_ms();
    if (ev->kind == EV_CLIENT) ev->draw = clock_random();
    coord_actions_t out = {0};
    err_t *e = coord_step(d->core, ev, &out);
    if (e) d->conf.log(d->conf.log_arg, COORD_ERROR, err_text(e));
    err_free(e);
    coord_event_done(ev);
    atomic_store(&d->leader, coord_leader(d->core));
    for (int i = 0; i < out.n; i++) perform(d, &out.items[i], campaign_ms);
    coord_actions_done(&out);
}

/* ---- the loop */
static void take_call(coord_driver_t *d, post_t *p, int64_t *campaign_ms) {
    client_reply_t r = {.json = buf_make((size_t)64 << 20)};
    if (service_read(d->core, p->request, &r)) { /* answered from what the core knows */
        p->call.fn(p->call.arg, &r);
        client_reply_free(&r);
        return;
    }
    d->calls = xrealloc(d->calls, (size_t)(d->ncalls + 1) * sizeof *d->calls);
    d->calls[d->ncalls++] = p->call;
    coord_event_t ev = {.kind = EV_CLIENT};
    ev.client.call = p->call.id;
    ev.client.request = TAKE(p->request);
    step(d, &ev, campaign_ms);
}

static void close_all(coord_driver_t *d) {
    d->stopping = true;
    for (int i = 0; i < d->nsessions; i++) {
        if (d->sessions[i]->closing) continue;
        d->sessions[i]->closing = true;
        d->sessions[i]->link->close(d->sessions[i]->link);
    }
}

static void take_post(coord_driver_t *d, post_t *p, int64_t *campaign_ms) {
    switch (p->kind) {
    case POST_EVENT:
        if (d->stopping) break;
        if (p->ev.kind == EV_LEADER_LOST) {
            d->conf.log(d->conf.log_arg, COORD_WARN, p->ev.error ? err_text(p->ev.error) : "leadership lost");
            *campaign_ms = clock_mono_ms() + CAMPAIGN_AGAIN_MS;
        }
        step(d, &p->ev, campaign_ms);
        break;
    case POST_OPEN:
        d->sessions = xrealloc(d->sessions, (size_t)(d->nsessions + 1) * sizeof *d->sessions);
        d->sessions[d->nsessions++] = p->session;
        if (d->stopping) close_all(d);
        break;
    case POST_CLOSED: {
        coord_event_t ev = {.kind = EV_CLOSED, .session = p->session->id};
        session_remove(d, p->session);
        if (!d->stopping) step(d, &ev, campaign_ms);
        break;
    }
    case POST_CALL:
        if (d->stopping) answer(d, &p->call, 0, err_new(ERR_CANCELLED, "the coordinator ends"));
        else take_call(d, p, campaign_ms);
        break;
    case POST_STOP: close_all(d); break;
    }
    post_free(p);
}

static void finish(coord_driver_t *d) {
    for (int64_t end = clock_mono_ms() + CLOSE_WAIT_MS; d->nsessions > 0 && clock_mono_ms() < end;) {
        post_t *p = mailbox_receive(d->box);
        int64_t ignored;
        if (p) take_post(d, p, &ignored);
        else mailbox_wait(d->box, 100);
    }
    while (d->ncalls > 0) {
        call_t c = d->calls[--d->ncalls];
        answer(d, &c, 0, err_new(ERR_CANCELLED, "the coordinator ends"));
    }
}

static void *driver_loop(void *arg) {
    coord_driver_t *d = arg;
    int64_t campaign_ms = 0; /* 0: none is due */
    io_campaign(d);
    while (!d->stopping) {
        int64_t now = clock_mono_ms();
        if (campaign_ms && now >= campaign_ms) {
            campaign_ms = 0;
            io_campaign(d);
        }
        if (now >= coord_next_ms(d->core)) {
            coord_event_t tick = {.kind = EV_TICK};
            step(d, &tick, &campaign_ms);
        }
        post_t *p; /* a bounded number: no flood may hold the ticks back, on which time-outs depend */
        for (int n = 0; n < POSTS_PER_TURN && !d->stopping && (p = mailbox_receive(d->box)) != NULL; n++) take_post(d, p, &campaign_ms);
        if (!d->stopping) mailbox_wait(d->box, (int)MAX(MIN(coord_next_ms(d->core) - clock_mono_ms(), 1000), 0));
    }
    finish(d);
    return NULL;
}

/* ---- life */
err_t *coord_driver_new(const coord_driver_conf_t *conf, coord_driver_t **ret) {
    coord_driver_t *d = xcalloc(1, sizeof *d);
    d->conf = *conf;
    if (!d->conf.log) d->conf.log = default_log;
    d->address = xstrdup(conf->address ? conf->address : "");
    d->resolver = (resolver_t){conf->compile, conf->compile_arg, conf->resolve_timeout_ms ? conf->resolve_timeout_ms : 10000, d->conf.core.cluster};
    snprintf(d->conf.core.address, sizeof d->conf.core.address, "%s", d->address);
    d->core = coord_new(&d->conf.core);
    d->box = mailbox_new(MAILBOX_MAX, post_free);
    atomic_store(&d->next_id, 1);
    d->io = work_queue_new("coord-io");
    d->resolve = work_queue_new("coord-resolve");
    d->files = work_queue_new("coord-files");
    d->aside = work_crowd_new();
    int rc = pthread_create(&d->thread, NULL, driver_loop, d);
    ASSERT(rc == 0);
    pthread_setname_np(d->thread, "coord");
    *ret = d;
    return NULL;
}

bool coord_driver_leading(const coord_driver_t *d) { return atomic_load(&((coord_driver_t *)d)->leader) != 0; }

/* A thread that hangs in a file system cannot be taken back, and its memory must not be freed under it: the process goes, and says for what (B5). */
static void end_aside(coord_driver_t *d) {
    AUTO(auto_free) char *what = work_crowd_end(d->aside, ASIDE_WAIT_MS);
    if (!what) return;
    AUTO(auto_free) char *text = xprintf("the coordinator goes without waiting for what does not end: %s", what);
    d->conf.log(d->conf.log_arg, COORD_ERROR, text);
    work_queue_end(d->io);
    d->conf.meta->resign(d->conf.meta); /* a standby need not wait for the lease */
    _exit(70);
}

void coord_driver_free(coord_driver_t *d) {
    if (!d) return;
    post_t *stop = xcalloc(1, sizeof *stop);
    stop->kind = POST_STOP;
    driver_post(d, stop);
    pthread_join(d->thread, NULL);
    atomic_store(&d->ending, true);
    mailbox_close(d->box);
    for (post_t *p; (p = mailbox_receive(d->box)) != NULL; post_free(p))
        if (p->kind == POST_CALL) answer(d, &p->call, 0, err_new(ERR_CANCELLED, "the coordinator ends"));
    work_queue_end(d->resolve);
    end_aside(d); /* behind what adds to it */
    work_queue_end(d->files); /* before io, which it may wait for */
    work_queue_end(d->io);
    d->conf.meta->resign(d->conf.meta);
    d->conf.meta->free(d->conf.meta); /* completes what is open: into a closed mailbox and queues that have ended */
    work_queue_free(d->resolve);
    work_queue_free(d->files);
    work_queue_free(d->io);
    work_crowd_free(d->aside);
    mailbox_free(d->box);
    coord_free(d->core);
    for (int i = 0; i < d->nbodies; i++) bodies_done(&d->bodies[i]);
    free(d->bodies);
    free(d->sessions);
    free(d->calls);
    free(d->address);
    free(d);
}
