/* sim_coord.c: a coordinator process: the real core, and in the place of coordinator/driver*.c a driver on the virtual clock. Body of a manifest
 * first, then its pointer, as there; a lease kept alive; actions performed in the order of their list. */
#include "coordinator/savepoint_files.h"
#include "tests/sim/sim.h"
#include <stdio.h>
#include <stdlib.h>

#define KEEPALIVE_MS 400
#define LEASE_MS 2000
#define CAMPAIGN_MS 300

struct sim_coord {
    proc_t *p;
    coord_t *core;
    coord_conf_t conf;
    uint64_t leader;        /* as etcd gave it; 0: not */
    uint64_t term;          /* of answers: older ones are dropped */
    int64_t lease_ms;       /* of the last keep-alive that was answered */
    int64_t tick_at;
    manifest_t *putting;    /* the last that was tried to be written */
    manifest_t *bodies;     /* the manifest whose pointer is known to be the last: its body and those of the older ones it keeps are needed */
    bool read;              /* what is kept was read since it leads: then a read that fails is of no matter */
    uint64_t calls;
    coord_event_t listed;   /* old files; the store is being asked */
};
typedef struct carried { proc_t *p; uint64_t term; job_id_t job; attempt_t attempt; epoch_t epoch; uint64_t leader; char path[256];
    int64_t sent_ms; bool first, failed;
                         manifest_key_t previous; } carried_t;

static void step(sim_coord_t *c, coord_event_t *e);
static void campaign(sim_t *s, void *arg);
static proc_t *proc_arg(void *arg) {
    proc_t *p = *(proc_t **)arg;
    free(arg);
    return p;
}
static void at(proc_t *p, int64_t ms, sim_fn fn) {
    proc_t **arg = xmalloc(sizeof *arg);
    *arg = p;
    sim_at(p->s, p->s->now + ms * SIM_MS, p, fn, arg, NULL);
}
static carried_t *carry(sim_coord_t *c, job_id_t job) {
    carried_t *x = xcalloc(1, sizeof *x);
    x->p = c->p;
    x->term = c->term;
    x->job = job;
    x->leader = c->leader;
    x->sent_ms = sim_now_ms(c->p->s);
    return x;
}

/* As in driver_io.c: what is needed no more is an orphan of a few kB. Takes m. */
static void bodies_are(sim_coord_t *c, manifest_t *m) {
    manifest_t *was = c->bodies;
    for (int i = -1; was && i < was->nolder; i++) {
        AUTO(auto_free) char *path = i < 0 ? manifest_body_path(was) : manifest_older_path(was, i);
        bool needed = false;
        for (int k = -1; m && k < m->nolder; k++) {
            AUTO(auto_free) char *other = k < 0 ? manifest_body_path(m) : manifest_older_path(m, k);
            needed |= strcmp(path, other) == 0;
        }
        if (m && !needed) err_free(c->p->disk->remove(c->p->disk, path));
    }
    manifest_free(was);
    c->bodies = m;
}

/* ---------------------------------------------------------------- leadership */
static void lost(sim_coord_t *c, const char *why) {
    if (!c->leader) return;
    sim_log(c->p->s, "%s: leadership lost: %s", c->p->name, why);
    c->leader = 0;
    c->term++;
    coord_event_t e = {.kind = EV_LEADER_LOST, .error = err_new(ERR_UNAVAILABLE, "%s", why)};
    step(c, &e);
    at(c->p, 1000, campaign);
}
static void on_kept(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    if (x->term == c->term && a->outcome == STORE_OK) c->lease_ms = x->sent_ms;
    bool refused = x->term == c->term && a->outcome == STORE_REFUSED;
    free(x);
    if (refused) lost(c, "the leader key is gone");
}
static void keep(sim_t *s, void *arg) {
    proc_t *p = proc_arg(arg);
    sim_coord_t *c = p->coord;
    if (!c->leader) return;
    if (sim_now_ms(s) - c->lease_ms > LEASE_MS) {
        lost(c, "the lease was not kept alive");
        return;
    }
    etcd_keepalive(s->etcd, p, c->leader, on_kept, carry(c, 0));
    at(p, KEEPALIVE_MS, keep);
}
static void on_loaded(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    bool mine = x->term == c->term;
    free(x);
    if (!mine) return;
    if (a->outcome != STORE_OK) {
        lost(c, "the records cannot be read");
        return;
    }
    coord_event_t e = {.kind = EV_LEADING};
    e.leading.leader = c->leader;
    e.leading.jobs = xcalloc(1, sizeof(job_record_t *));
    if (a->record) e.leading.jobs[e.leading.njobs++] = TAKE(a->record);
    step(c, &e);
}
static void on_won(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    bool won = x->term == c->term && a->outcome == STORE_OK && !c->leader;
    if (won) {
        c->leader = a->leader;
        c->term++;
        c->lease_ms = x->sent_ms;
        c->read = false;
        bodies_are(c, NULL);
        etcd_load(p->s->etcd, p, c->leader, on_loaded, carry(c, 0));
        at(p, KEEPALIVE_MS, keep);
    } else if (!c->leader) {
        at(p, CAMPAIGN_MS, campaign);
    }
    free(x);
}
static void campaign(sim_t *s, void *arg) {
    proc_t *p = proc_arg(arg);
    if (!p->coord->leader) etcd_campaign(s->etcd, p, on_won, carry(p->coord, 0));
}

/* ---------------------------------------------------------------- transactions */
static void on_record(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    coord_event_t e = {.kind = EV_JOB_STORED, .job = x->job, .outcome = a->outcome};
    if (a->outcome != STORE_OK) e.error = err_new(ERR_UNAVAILABLE, "etcd");
    bool mine = x->term == c->term;
    free(x);
    if (mine) step(c, &e);
    else coord_event_done(&e);
}
/* As in driver_io.c: what may be read another time is said. */
static void read_older(sim_coord_t *c, coord_event_t *e) {
    const manifest_t *m = e->raised.last;
    e->raised.older = xcalloc((size_t)m->nolder + 1, sizeof(manifest_t *));
    for (int i = 0; i < m->nolder; i++) {
        AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
        AUTO(auto_free) char *path = manifest_older_path(m, i);
        err_t *err = c->p->disk->read(c->p->disk, path, 0, UINT64_MAX, &text);
        if (!err) err = manifest_parse(buf_slice(&text), &e->raised.older[e->raised.nolder]);
        e->raised.nolder += err == NULL;
        bool again = err && !err_deterministic(err);
        if (err) sim_log(c->p->s, "%s: an older epoch %s: %s", c->p->name, again ? "cannot be read" : "is lost", err_text(err));
        if (again && !c->read) sim_reach(c->p->s, ROW_OLDER_UNREAD);
        if (again && !e->error) e->error = TAKE(err);
        err_free(err);
    }
    c->read |= !e->error;
}
static void on_raised(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    coord_event_t e = {.kind = EV_RAISED, .job = x->job, .outcome = a->outcome};
    bool mine = x->term == c->term;
    free(x);
    if (!mine) return;
    e.raised.attempt = a->attempt;
    e.raised.floor = a->floor;
    if (a->outcome == STORE_OK && a->last) {
        AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
        disk_phase(p->disk, DISK_BODY);
        e.error = p->disk->read(p->disk, a->last, 0, UINT64_MAX, &text);
        if (!e.error) e.error = manifest_parse(buf_slice(&text), &e.raised.last);
        if (e.error) e.outcome = STORE_FAILED;
        else bodies_are(c, manifest_copy(e.raised.last));
        if (!e.error) read_older(c, &e);
        disk_phase(p->disk, DISK_OTHER);
    } else if (a->outcome != STORE_OK) {
        e.error = err_new(ERR_UNAVAILABLE, "etcd");
    }
    step(c, &e);
}
static void manifest_answer(sim_coord_t *c, const carried_t *x, store_outcome_t outcome, const char *why) {
    coord_event_t e = {.kind = EV_MANIFEST_STORED, .job = x->job, .outcome = outcome};
    e.manifest_stored.attempt = x->attempt;
    e.manifest_stored.epoch = x->epoch;
    if (outcome != STORE_OK) e.error = err_new(ERR_UNAVAILABLE, "%s", why);
    if (x->term == c->term) step(c, &e);
    else coord_event_done(&e);
}
static void on_put(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    if (a->outcome == STORE_OK) {
        if (sim_point(p->s, p, ROW_C_STORED)) {
            free(x);
            return;
        }
        AUTO(auto_free) char *path = c->putting ? manifest_body_path(c->putting) : NULL;
        if (path && strcmp(path, x->path) == 0) bodies_are(c, TAKE(c->putting));
    }
    manifest_answer(c, x, a->outcome, "etcd");
    free(x);
}
static void pointer(sim_t *s, void *arg) { /* the body is durable */
    carried_t *x = arg;
    sim_coord_t *c = x->p->coord;
    if (x->failed) manifest_answer(c, x, STORE_FAILED, "checkpoint storage");
    if (x->failed || c->term != x->term || sim_point(s, c->p, ROW_C_BODY)) {
        free(x);
        return;
    }
    manifest_key_t now = {x->leader, x->attempt, x->epoch};
    etcd_put_manifest(s->etcd, c->p, c->leader, x->first ? NULL : &x->previous, &now, x->path, on_put, x);
    sim_point(s, c->p, ROW_C_FLYING);
}
static void put_manifest(sim_coord_t *c, coord_action_t *a) {
    proc_t *p = c->p;
    const manifest_t *m = a->put.manifest;
    if (sim_point(p->s, p, ROW_C_PUT)) return;
    const manifest_t *durable = etcd_manifest(p->s->etcd);
    if (durable && m->fell.times > durable->fell.times && sim_point(p->s, p, ROW_C_BACK)) return;
    carried_t *x = carry(c, a->job);
    x->attempt = m->attempt;
    x->epoch = m->epoch;
    x->first = a->put.first;
    x->previous = (manifest_key_t){a->put.previous_leader, a->put.previous_attempt, a->put.previous_epoch};
    AUTO(auto_free) char *path = manifest_body_path(m);
    snprintf(x->path, sizeof x->path, "%s", path);
    manifest_free(c->putting);
    c->putting = manifest_copy(m);
    AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
    manifest_print(&text, m);
    disk_phase(p->disk, DISK_BODY);
    err_t *e = p->disk->put(p->disk, x->path, buf_slice(&text));
    disk_phase(p->disk, DISK_OTHER);
    if (e) {
        sim_log(p->s, "%s: body of manifest %" PRIu64 " not written", p->name, m->epoch);
        err_free(e);
        x->failed = true;
    }
    sim_at(p->s, p->s->now + p->s->mix.disk_us, p, pointer, x, NULL);
}

/* ---------------------------------------------------------------- the rest of the actions */
static err_t *no_look(void *arg) { return NULL; }
static void resolve(sim_t *s, void *arg) {
    carried_t *x = arg;
    sim_coord_t *c = x->p->coord;
    if (c->term == x->term) {
        coord_event_t e = {.kind = EV_RESOLVED, .job = x->job};
        e.resolved.leader = x->leader;
        e.error = sim_job_shape(s, x->first, &e.resolved.shape);
        if (!e.error && x->path[0]) e.error = savepoint_restore(x->p->disk, x->path, x->job, x->leader, (savepoint_guard_t){.look = no_look}, &e.resolved.from);
        step(c, &e);
    }
    free(x);
}

/* The copy is one event, but its leader may die at any file of it, and may have been deposed before it began. */
typedef struct saving { proc_t *p; uint64_t term; job_id_t job; uint64_t leader; uint32_t serial; manifest_t *m; char target[256]; } saving_t;
static void saving_drop(void *arg) {
    saving_t *x = arg;
    manifest_free(x->m);
    free(x);
}
static err_t *look(void *arg) {
    saving_t *x = arg;
    if (sim_point(x->p->s, x->p, ROW_C_SAVE)) return err_new(ERR_IO, "the process is dying");
    return etcd_leader(x->p->s->etcd) == x->leader ? NULL : err_new(ERR_FENCED, "another leads");
}
static void save(sim_t *s, void *arg) {
    saving_t *x = arg;
    sim_coord_t *c = x->p->coord;
    coord_event_t e = {.kind = EV_SAVED, .job = x->job};
    e.error = savepoint_copy(x->p->disk, x->m, x->leader, x->serial, x->target, (savepoint_guard_t){look, NULL, x});
    sim_log(s, "%s copies epoch %" PRIu64 " to %s: %s", x->p->name, x->m->epoch, x->target, e.error ? err_text(e.error) : "ok");
    if (e.error) e.outcome = err_code(e.error) == ERR_FENCED ? STORE_REFUSED : STORE_FAILED;
    e.saved.epoch = x->m->epoch;
    e.saved.leader = x->leader;
    e.saved.serial = x->serial;
    e.saved.target = xstrdup(x->target);
    if (c->term == x->term && !x->p->dying) step(c, &e);
    else coord_event_done(&e);
    saving_drop(x);
}
static void check_target(sim_t *s, void *arg) {
    carried_t *x = arg;
    sim_coord_t *c = x->p->coord;
    coord_event_t e = {.kind = EV_TARGET_CHECKED, .job = x->job};
    e.checked.call = x->epoch;
    e.error = savepoint_check(x->p->disk, x->path);
    if (c->term == x->term) step(c, &e);
    else coord_event_done(&e);
    free(x);
}
static sim_row_t row_of_send(ctl_kind_t k) {
    switch (k) {
    case CTL_DEPLOY: return ROW_C_DEPLOY;
    case CTL_START: return ROW_C_START;
    case CTL_INJECT: return ROW_C_INJECT;
    case CTL_COMPLETE: return ROW_C_COMPLETE;
    case CTL_STOP: return ROW_C_STOP;
    case CTL_BASE_ACCEPTED: return ROW_C_ACCEPT;
    default: return ROWS;
    }
}
static void send(sim_coord_t *c, coord_action_t *a) {
    sim_t *s = c->p->s;
    ctl_kind_t kind = a->message->kind;
    if (row_of_send(kind) != ROWS && sim_point(s, c->p, row_of_send(kind))) return;
    check_send(s, c->p, a->message);
    clink_t *l = clink_by_session(s, c->p, a->session);
    sim_log(s, "%s > %s e=%" PRIu64 " a=%" PRIu64, c->p->name, ctl_kind_name(kind), a->message->epoch, a->message->attempt);
    if (l) clink_send(l, false, TAKE(a->message));
}
static void delete_files(sim_coord_t *c, coord_action_t *a) {
    proc_t *p = c->p;
    sim_log(p->s, "%s deletes %d files", p->name, a->files.n);
    for (int i = 0; i < a->files.n && !sim_point(p->s, p, ROW_C_DELETE); i++) err_free(p->disk->remove(p->disk, a->files.paths[i]));
}
/* Files are listed at once, the store is asked after that. */
typedef struct listing { sim_coord_t *c; const coord_action_t *a; } listing_t;
static void add_old(void *arg, const char *name, uint64_t size, int64_t modified_ms) { /* below jobs/ */
    listing_t *l = arg;
    const coord_action_t *a = l->a;
    coord_event_t *e = &l->c->listed;
    char own[24], restored[24];
    snprintf(own, sizeof own, "%016" PRIx64 "/", a->job);
    snprintf(restored, sizeof restored, "@%016" PRIx64 ".", a->job);
    if (strncmp(name, own, 17) != 0 && !(a->orphans.restored && strncmp(name + strcspn(name, "@/"), restored, 18) == 0)) return;
    if (sim_now_ms(l->c->p->s) - modified_ms < a->orphans.age_ms) return;
    e->orphans.paths = xrealloc(e->orphans.paths, (size_t)(e->orphans.n + 1) * sizeof(char *));
    e->orphans.paths[e->orphans.n++] = xprintf("jobs/%s", name);
}
static void on_looked(proc_t *p, void *arg, etcd_answer_t *a) {
    carried_t *x = arg;
    sim_coord_t *c = p->coord;
    bool mine = x->term == c->term;
    if (a->outcome == STORE_REFUSED || (a->outcome == STORE_OK && x->attempt != a->attempt)) sim_reach(p->s, ROW_ORPHANS_STALE);
    free(x);
    if (!mine) return;
    coord_event_t e = c->listed;
    c->listed = (coord_event_t){.kind = EV_ORPHANS};
    e.outcome = a->outcome;
    e.orphans.attempt = a->attempt;
    if (a->last) e.orphans.last = xstrdup(a->last);
    step(c, &e);
}
static void find_orphans(sim_coord_t *c, coord_action_t *a) {
    proc_t *p = c->p;
    if (c->listed.kind) coord_event_done(&c->listed);
    c->listed = (coord_event_t){.kind = EV_ORPHANS, .job = a->job};
    listing_t l = {c, a};
    err_free(p->disk->list(p->disk, "jobs", add_old, &l));
    sim_log(p->s, "%s lists %d old files", p->name, c->listed.orphans.n);
    carried_t *x = carry(c, a->job);
    x->attempt = p->s->attempts;
    etcd_look(p->s->etcd, p, c->leader, on_looked, x);
}
static void perform(sim_coord_t *c, coord_action_t *a) {
    sim_t *s = c->p->s;
    proc_t *p = c->p;
    switch (a->kind) {
    case ACT_SEND: send(c, a); break;
    case ACT_CLOSE: clink_close(clink_by_session(s, p, a->session), true); break;
    case ACT_RESOLVE: {
        carried_t *x = carry(c, a->job);
        x->first = a->resolve.enumerate;
        if (a->resolve.from) snprintf(x->path, sizeof x->path, "%s", a->resolve.from);
        sim_at(s, s->now + 5 * SIM_MS, p, resolve, x, NULL);
        break;
    }
    case ACT_PUT_JOB: etcd_put_job(s->etcd, p, c->leader, a->record, on_record, carry(c, a->job)); break;
    case ACT_RAISE:
        if (sim_point(s, p, ROW_C_RAISE)) break;
        etcd_raise(s->etcd, p, c->leader, a->raise.above, on_raised, carry(c, a->job));
        break;
    case ACT_PUT_MANIFEST: put_manifest(c, a); break;
    case ACT_DELETE_FILES: delete_files(c, a); break;
    case ACT_FIND_ORPHANS: find_orphans(c, a); break;
    case ACT_SAVE: {
        saving_t *x = xcalloc(1, sizeof *x);
        *x = (saving_t){.p = p, .term = c->term, .job = a->job, .leader = a->save.leader, .serial = a->save.serial, .m = TAKE(a->save.manifest)};
        snprintf(x->target, sizeof x->target, "%s", a->save.target);
        sim_at(s, s->now + 50 * SIM_MS, p, save, x, saving_drop);
        break;
    }
    case ACT_CHECK_TARGET: {
        carried_t *x = carry(c, a->job);
        x->epoch = a->check.call;
        snprintf(x->path, sizeof x->path, "%s", a->check.target);
        sim_at(s, s->now + 5 * SIM_MS, p, check_target, x, NULL);
        break;
    }
    case ACT_REPLY:
        if (a->job) s->job_id = a->job;
        sim_log(s, "%s: reply %s", p->name, a->reply.error ? err_text(a->reply.error) : "ok");
        break;
    case ACT_RESIGN:
        sim_log(s, "%s resigns", p->name);
        etcd_resign(s->etcd, p, c->leader);
        c->leader = 0;
        c->term++;
        at(p, 1000, campaign);
        break;
    case ACT_LOG:
        if (strstr(a->log.text, "files of dead attempts")) sim_reach(s, ROW_ORPHANS);
        sim_log(s, "%s: %s", p->name, a->log.text);
        break;
    default: sim_broken(s, "the simulator knows no action %s", coord_action_name(a->kind));
    }
}

static void tick(sim_t *s, void *arg);
static void plan_tick(sim_coord_t *c) {
    sim_t *s = c->p->s;
    int64_t next = coord_next_ms(c->core) * SIM_MS;
    if (c->tick_at > s->now && c->tick_at <= next) return;
    c->tick_at = MAX(next, s->now + SIM_MS);
    proc_t **arg = xmalloc(sizeof *arg);
    *arg = c->p;
    sim_at(s, c->tick_at, c->p, tick, arg, NULL);
}
static void step(sim_coord_t *c, coord_event_t *e) {
    sim_t *s = c->p->s;
    e->now_ms = sim_now_ms(s);
    e->wall_ms = 1700000000000 + sim_now_ms(s) + c->p->skew_ms;
    if (e->kind == EV_CLIENT) e->draw = rng_next(&s->rng);
    coord_actions_t out = {0};
    err_t *err = coord_step(c->core, e, &out);
    if (err) sim_broken(s, "%s: %s", c->p->name, err_text(err));
    err_free(err);
    coord_event_done(e);
    for (int i = 0; i < out.n && !c->p->dying; i++) perform(c, &out.items[i]);
    coord_actions_done(&out);
    if (!c->p->dying) plan_tick(c);
}
static void tick(sim_t *s, void *arg) {
    proc_t *p = proc_arg(arg);
    sim_coord_t *c = p->coord;
    if (s->now < c->tick_at) return; /* an earlier plan */
    c->tick_at = 0;
    coord_event_t e = {.kind = EV_TICK};
    if (sim_now_ms(s) >= coord_next_ms(c->core)) step(c, &e);
    else plan_tick(c);
}

void sim_coord_message(proc_t *p, session_id_t session, ctl_msg_t *m) {
    coord_event_t e = {.kind = EV_MESSAGE, .session = session};
    e.message = m;
    step(p->coord, &e);
}
void sim_coord_closed(proc_t *p, session_id_t session) {
    coord_event_t e = {.kind = EV_CLOSED, .session = session};
    step(p->coord, &e);
}
static void ask(proc_t *p, client_request_t *r) {
    coord_event_t e = {.kind = EV_CLIENT};
    e.client.call = ++p->coord->calls;
    e.client.request = r;
    step(p->coord, &e);
}
static void submit(proc_t *p, const char *from) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_SUBMIT;
    r->spec = sim_job_spec(&p->s->job);
    r->from = from ? xstrdup(from) : NULL;
    sim_log(p->s, "client submits to %s%s%s", p->name, from ? " from " : "", from ? from : "");
    ask(p, r);
}
void sim_coord_submit(proc_t *p) { submit(p, NULL); }
void sim_coord_submit_from(proc_t *p, const char *savepoint) { submit(p, savepoint); }
void sim_coord_stop_job(proc_t *p) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_STOP;
    r->job = etcd_record(p->s->etcd)->id;
    if (p->s->mix.stop_after & 1) r->from = xstrdup("elsewhere/at-stop");
    sim_log(p->s, "client stops the job");
    ask(p, r);
}
bool sim_coord_leading(const proc_t *p) { return p->alive && p->coord && coord_leading(p->coord->core); }

sim_coord_t *sim_coord_new(proc_t *p) {
    sim_coord_t *c = xcalloc(1, sizeof *c);
    c->p = p;
    c->conf = coord_conf_default();
    c->conf.deploy_timeout_ms = 3000;
    c->conf.stop_timeout_ms = 1000;
    c->conf.settle_ms = 600;
    c->conf.orphan_age_ms = 240; /* so that the attempts alone must protect */
    c->conf.orphans_max = 7;
    c->core = coord_new(&c->conf);
    at(p, 1 + p->index * 5, campaign);
    return c;
}
void sim_coord_free(sim_coord_t *c) {
    coord_free(c->core);
    if (c->listed.kind) coord_event_done(&c->listed);
    manifest_free(c->putting);
    manifest_free(c->bodies);
    free(c);
}
