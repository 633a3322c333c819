/* story.h: a cluster on paper. The test plays metadata store, workers and clients around coord_step; every event and action becomes a
 * line of the trace, and a test asserts which lines came, in which order, and which did not.
 *
 *   "[  110] w1 < INJECT job=7 attempt=1 epoch=3"       an action: what the core sent
 *   "[  110] w1 > ACK job=7 attempt=1 epoch=3 rows=5"   an event: what the core heard
 *
 * The store and the workers answer by themselves unless told to hold back (hold_put, hold_raise, .., worker.mute). */
#pragma once
#include "coordinator/core/coord_int.h"
#include "tests/helpers/test.h"
#include <stdarg.h>
#include <stdio.h>

#define STORY_WORKERS 8
#define FP_SOURCE 0x50
#define FP_SINK 0x51

typedef struct story_worker {
    char name[16];
    session_id_t session;
    int slots;
    bool mute_ack, mute_stop, mute_deploy, mute_beat; /* holds back */
    bool busy, full, ended;
    uint64_t rows;        /* per epoch */
    uint64_t pending_bytes;
    const int64_t *watermarks; /* what its tasks report, one each */
    int nwatermarks;
    bool lanes;           /* reports lanes */
    bool publishes;       /* answers COMPLETE with PUBLISHED for lane 0 and 1 */
    job_id_t job;         /* as deployed */
    attempt_t attempt;
    uint64_t incarnation, offset;
    ctl_deploy_t *deploy; /* of the last DEPLOY; borrowed from kept */
    ctl_msg_t *kept;
} story_worker_t;

typedef struct story {
    coord_t *c;
    coord_conf_t conf;
    int64_t now;
    session_id_t sessions;
    uint64_t leader, draws;
    story_worker_t w[STORY_WORKERS];
    int nw;
    buf_t trace;
    /* the job's shape, answered to RESOLVE */
    int parallelism, nsplits, lanes;
    bool keyed;
    job_settings_t settings;
    err_t *resolve_error;
    const char *from;         /* manifest answered for a savepoint: text */
    manifest_t *from_manifest;
    const char *output, *ledger; /* of the sink that is resolved; NULL: the usual ones */
    /* the metadata store */
    job_record_t *record;
    attempt_t attempt;
    epoch_t floor;
    manifest_t *stored;
    int nbodies; manifest_t *bodies[256]; /* all that were stored before, as the storage would have them */
    int unread;            /* so many times older ones cannot be read */
    bool hold_put, hold_raise, hold_job, hold_resolve, hold_save;
    store_outcome_t put_outcome; /* of the next puts; STORE_OK by default */
    manifest_t *held_put;
    bool held_raise, held_job, held_save;
    attempt_t held_above;
    call_id_t calls;
    call_id_t last_reply;
    err_t *reply_error;
    job_id_t job;
    char *saved_target;
    epoch_t saved_epoch;
    uint64_t saved_leader;
    uint32_t saved_serial;
    const char *save_fails;   /* copies to this target fail */
    bool hold_check;          /* targets are tried for ever */
    err_t *check_error;       /* of a target that is tried */
    call_id_t held_check;
    manifest_t *saved;
    bool resigned;
    int deleted, forgotten;
    buf_t removed;         /* their paths */
    char *files[16];       /* old files in storage, for FIND_ORPHANS */
    int nfiles;
    bool hold_look, held_look;
    coord_actions_t queue; /* performed in order, one after the other */
    bool performing;
    void (*check)(struct story *s, const coord_action_t *a); /* sees every action before it is performed */
    void *checker;
} story_t;

static void story_step(story_t *s, coord_event_t *e);

static void story_line(story_t *s, const char *fmt, ...) PRINTF(2, 3);
static void story_line(story_t *s, const char *fmt, ...) {
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_printf(&s->trace, "[%5" PRId64 "] %s\n", s->now, text);
}

static story_worker_t *story_by_session(story_t *s, session_id_t id) {
    for (int i = 0; i < s->nw; i++)
        if (s->w[i].session == id) return &s->w[i];
    return NULL;
}

static coord_event_t story_event(story_t *s, coord_event_kind_t kind) {
    return (coord_event_t){.kind = kind, .now_ms = s->now, .wall_ms = 1700000000000 + s->now, .draw = hash_mix(++s->draws)};
}

/* ---- workers speak */
static void say(story_t *s, story_worker_t *w, ctl_msg_t *m) {
    m->leader = s->leader;
    AUTO(buf_free) buf_t text = buf_make(1 << 16);
    ctl_print(&text, m);
    story_line(s, "%s > %s", w->name, buf_cstr(&text));
    coord_event_t e = story_event(s, EV_MESSAGE);
    e.session = w->session;
    e.message = m;
    story_step(s, &e);
}
static ctl_msg_t *of_job(const story_worker_t *w, ctl_kind_t kind, epoch_t epoch) {
    ctl_msg_t *m = ctl_new(kind);
    m->job = w->job;
    m->attempt = w->attempt;
    m->incarnation = w->incarnation;
    m->epoch = epoch;
    return m;
}
__attribute__((unused)) static void ack(story_t *s, story_worker_t *w, epoch_t epoch) {
    ctl_msg_t *m = of_job(w, CTL_ACK, epoch);
    m->ack.rows = w->rows;
    m->ack.ended = w->ended;
    if (w->rows) {
        m->ack.extent = (extent_t){.path = xprintf("jobs/%016" PRIx64 "/log/i%" PRIx64 ".l%" PRIx64 ".a%" PRIu64 ".%s.1.log",
                                                  w->job, w->incarnation, s->leader, w->attempt, w->name), .from = w->offset, .to = w->offset + 100,
                                   .first = epoch, .last = epoch, .crc = 1};
        w->offset += 100;
        m->ack.bytes = 100;
        if (w->lanes) {
            m->ack.nlanes = 1;
            m->ack.lanes = xcalloc(1, sizeof(ctl_lane_t));
            m->ack.lanes[0] = (ctl_lane_t){FP_SINK, 0, w->rows, epoch};
        }
    }
    say(s, w, m);
}
__attribute__((unused)) static void published(story_t *s, story_worker_t *w, int lane, epoch_t epoch) {
    ctl_msg_t *m = of_job(w, CTL_PUBLISHED, epoch);
    m->published.fingerprint = FP_SINK;
    m->published.lane = lane;
    say(s, w, m);
}
__attribute__((unused)) static void lane_started_said(story_t *s, story_worker_t *w, int lane) {
    ctl_msg_t *m = of_job(w, CTL_PUBLISHED, 0);
    m->published.fingerprint = FP_SINK;
    m->published.lane = lane;
    m->published.started = true;
    say(s, w, m);
}
__attribute__((unused)) static void failed(story_t *s, story_worker_t *w, err_t *error, const char *where) {
    ctl_msg_t *m = of_job(w, CTL_FAILED, 0);
    m->error = error;
    m->failed.where = where ? xstrdup(where) : NULL;
    say(s, w, m);
}
/* A file of what was deployed is not whole here. */
__attribute__((unused)) static void damaged(story_t *s, story_worker_t *w, const char *file) {
    ctl_msg_t *m = of_job(w, CTL_FAILED, 0);
    m->flags = FAILED_DAMAGED;
    m->error = err_new(ERR_CORRUPT, "%s: wrong checksum", file);
    m->failed.stage = -1;
    say(s, w, m);
}
/* Its own disk fails: no task, and no file that others would miss. */
__attribute__((unused)) static void disk_failed(story_t *s, story_worker_t *w) {
    ctl_msg_t *m = of_job(w, CTL_FAILED, 0);
    m->flags = FAILED_OWN;
    m->error = err_new(ERR_IO, "the data directory '/data' cannot be used");
    m->failed.stage = -1;
    say(s, w, m);
}
__attribute__((unused)) static void ended(story_t *s, story_worker_t *w) {
    w->ended = true;
    say(s, w, of_job(w, CTL_ENDED, 0));
}
static void beat(story_t *s, story_worker_t *w) {
    ctl_msg_t *m = ctl_new(CTL_HEARTBEAT);
    if (w->job) {
        m->heartbeat.njobs = 1;
        m->heartbeat.jobs = xcalloc(1, sizeof(job_report_t));
        job_report_t *r = m->heartbeat.jobs;
        *r = (job_report_t){.job = w->job, .attempt = w->attempt, .busy = w->busy, .full = w->full};
        r->ntasks = w->nwatermarks;
        r->tasks = xcalloc((size_t)w->nwatermarks + 1, sizeof *r->tasks);
        for (int i = 0; i < w->nwatermarks; i++) r->tasks[i] = (task_report_t){.subtask = i, .watermark = w->watermarks[i]};
        if (w->lanes) {
            r->nlanes = 1;
            r->lanes = xcalloc(1, sizeof(lane_report_t));
            r->lanes[0] = (lane_report_t){.fingerprint = FP_SINK, .pending_bytes = w->pending_bytes, .state = xstrdup("READY")};
        }
    }
    coord_event_t e = story_event(s, EV_MESSAGE);
    m->leader = s->leader;
    e.session = w->session;
    e.message = m;
    story_step(s, &e);
}
static uint64_t story_memory; /* of workers that join; 0: they say nothing of it */
static story_worker_t *join(story_t *s, const char *who, int slots) {
    char name[16]; /* `who` may be the worker's own */
    snprintf(name, sizeof name, "%s", who);
    story_worker_t *w = NULL;
    for (int i = 0; i < s->nw; i++)
        if (strcmp(s->w[i].name, name) == 0) w = &s->w[i];
    if (!w) w = &s->w[s->nw++];
    ctl_free(w->kept);
    *w = (story_worker_t){.session = ++s->sessions, .slots = slots};
    snprintf(w->name, sizeof w->name, "%s", name);
    ctl_msg_t *m = ctl_new(CTL_REGISTER);
    m->reg.name = xstrdup(name);
    m->reg.address = xprintf("%s:1", name);
    m->reg.slots = slots;
    m->reg.memory = story_memory;
    m->reg.version_min = CONTROL_VERSION_MIN;
    m->reg.version_max = CONTROL_VERSION_MAX;
    say(s, w, m);
    return w;
}
__attribute__((unused)) static void die(story_t *s, story_worker_t *w) {
    story_line(s, "%s dies", w->name);
    coord_event_t e = story_event(s, EV_CLOSED);
    e.session = w->session;
    w->session = 0;
    w->job = 0;
    story_step(s, &e);
}

/* ---- the store answers */
/* The comparison of the transaction: attempt and previous manifest, or the very same is there already. */
static bool put_fits(const story_t *s, const manifest_t *m) {
    if (s->stored && s->stored->attempt == m->attempt && s->stored->epoch == m->epoch) return true;
    return m->attempt == s->attempt && (s->stored ? s->stored->epoch == m->previous : true);
}
static void answer_put(story_t *s, manifest_t *m, store_outcome_t outcome) {
    if (outcome == STORE_OK && !put_fits(s, m)) outcome = STORE_REFUSED;
    coord_event_t e = story_event(s, EV_MANIFEST_STORED);
    e.job = m->job;
    e.outcome = outcome;
    e.manifest_stored.attempt = m->attempt;
    e.manifest_stored.epoch = m->epoch;
    if (outcome != STORE_OK) e.error = err_new(ERR_UNAVAILABLE, "the store is away");
    story_line(s, "store > manifest %" PRIu64 " %s", m->epoch,
               outcome == STORE_OK ? "durable" : outcome == STORE_UNKNOWN ? "unknown" : outcome == STORE_FAILED ? "failed" : "refused");
    if (outcome == STORE_OK) {
        if (s->nbodies == (int)ARRAY_LEN(s->bodies)) {
            manifest_free(s->bodies[0]);
            memmove(s->bodies, s->bodies + 1, sizeof s->bodies[0] * (size_t)--s->nbodies);
        }
        s->bodies[s->nbodies++] = manifest_copy(m);
        manifest_free(s->stored);
        s->stored = m;
    } else {
        manifest_free(m);
    }
    story_step(s, &e);
}
/* The transaction lands although nobody has heard of it yet. */
__attribute__((unused)) static void land_unheard(story_t *s) {
    if (!put_fits(s, s->held_put)) return;
    manifest_free(s->stored);
    s->stored = manifest_copy(s->held_put);
}
__attribute__((unused)) static void release_put(story_t *s, store_outcome_t outcome) {
    ck_assert_ptr_nonnull(s->held_put);
    answer_put(s, TAKE(s->held_put), outcome);
}
static void answer_raise(story_t *s, job_id_t job, attempt_t above) {
    s->floor = s->attempt == 0 ? 0 : MAX(s->floor, s->stored ? s->stored->epoch : 0) + EPOCHS_IN_FLIGHT_MAX;
    s->attempt = MAX(s->attempt, above) + 1;
    coord_event_t e = story_event(s, EV_RAISED);
    e.job = job;
    e.raised.attempt = s->attempt;
    e.raised.floor = s->floor;
    e.raised.last = s->stored ? manifest_copy(s->stored) : NULL;
    e.raised.older = xcalloc(16, sizeof(manifest_t *));
    if (s->unread && s->stored && s->stored->nolder) {
        s->unread--;
        e.error = err_new(ERR_IO, "an older epoch that was kept cannot be read: Input/output error");
    }
    for (int i = 0; s->stored && !e.error && i < s->stored->nolder; i++)
        for (int k = 0; k < s->nbodies; k++)
            if (older_is(&s->stored->older[i], s->bodies[k])) {
                e.raised.older[e.raised.nolder++] = manifest_copy(s->bodies[k]);
                break;
            }
    if (s->stored) story_line(s, "store > attempt %" PRIu64 " last %" PRIu64, s->attempt, s->stored->epoch);
    else story_line(s, "store > attempt %" PRIu64 " last none", s->attempt);
    story_step(s, &e);
}
__attribute__((unused)) static void release_raise(story_t *s) {
    ck_assert(s->held_raise);
    s->held_raise = false;
    answer_raise(s, s->job, s->held_above);
}
static void answer_job(story_t *s) {
    coord_event_t e = story_event(s, EV_JOB_STORED);
    e.job = s->record->id;
    story_step(s, &e);
}
static job_shape_t *story_shape(const story_t *s) {
    job_shape_t *h = xcalloc(1, sizeof *h);
    h->name = xstrdup("orders");
    h->plan_hash = 99;
    h->parallelism = s->parallelism;
    h->nstages = 2;
    h->stages = xcalloc(3, sizeof *h->stages);
    h->stages[0] = (shape_stage_t){0, s->parallelism, xstrdup("source")};
    h->stages[1] = (shape_stage_t){1, s->parallelism, xstrdup("sink")};
    h->nsources = 1;
    h->sources = xcalloc(2, sizeof *h->sources);
    h->sources[0] = (shape_source_t){.fingerprint = FP_SOURCE, .label = xstrdup("events")};
    for (int i = 0; i < s->nsplits; i++) {
        char id[16];
        snprintf(id, sizeof id, "p%d", i);
        split_list_add(&h->sources[0].splits, &(split_t){.id = id, .position = 100 + i, .end = -1, .watermark = WATERMARK_NONE});
    }
    h->nsinks = 1;
    h->sinks = xcalloc(2, sizeof *h->sinks);
    h->sinks[0] = (shape_sink_t){.fingerprint = FP_SINK, .stage = 1, .lanes = s->lanes, .keyed = s->keyed, .label = xstrdup("results"),
                                   .output = xstrdup(s->output ? s->output : "topic 'results'"), .ledger = xstrdup(s->ledger ? s->ledger : "orders/results")};
    h->settings = s->settings;
    return h;
}
static void answer_resolve(story_t *s, const coord_action_t *a) {
    coord_event_t e = story_event(s, EV_RESOLVED);
    e.job = a->job;
    e.resolved.leader = a->resolve.leader;
    if (s->resolve_error) e.error = err_copy(s->resolve_error);
    else e.resolved.shape = story_shape(s);
    if (!a->resolve.enumerate && e.resolved.shape) split_list_free(&e.resolved.shape->sources[0].splits);
    if (a->resolve.from) e.resolved.from = manifest_copy(s->from_manifest);
    story_step(s, &e);
}
static void answer_save(story_t *s, err_t *error) {
    coord_event_t e = story_event(s, EV_SAVED);
    e.job = s->job;
    e.saved.epoch = s->saved_epoch;
    e.saved.target = xstrdup(s->saved_target);
    e.saved.leader = s->saved_leader;
    e.saved.serial = s->saved_serial;
    if (error) e.outcome = err_code(error) == ERR_FENCED ? STORE_REFUSED : STORE_FAILED;
    e.error = error;
    s->held_save = false;
    story_step(s, &e);
}

static void answer_check(story_t *s, call_id_t call, err_t *error) {
    coord_event_t e = story_event(s, EV_TARGET_CHECKED);
    e.job = s->job;
    e.checked.call = call;
    e.error = error;
    story_step(s, &e);
}

/* What was listed, and the store's attempt and last manifest as they are now. */
static void answer_look(story_t *s, store_outcome_t outcome) {
    coord_event_t e = story_event(s, EV_ORPHANS);
    s->held_look = false;
    e.job = s->job;
    e.outcome = outcome;
    e.orphans.attempt = s->attempt;
    if (s->stored) e.orphans.last = manifest_body_path(s->stored);
    e.orphans.n = s->nfiles;
    e.orphans.paths = xcalloc((size_t)s->nfiles + 1, sizeof(char *));
    for (int i = 0; i < s->nfiles; i++) e.orphans.paths[i] = xstrdup(s->files[i]);
    story_step(s, &e);
}

/* ---- actions */
static void worker_hears(story_t *s, story_worker_t *w, const ctl_msg_t *m) {
    switch (m->kind) {
    case CTL_DEPLOY:
        ctl_free(w->kept);
        w->kept = ctl_copy(m);
        w->deploy = &w->kept->deploy;
        w->job = m->job;
        w->attempt = m->attempt;
        w->incarnation = m->incarnation;
        w->offset = 0;
        if (!w->mute_deploy) say(s, w, of_job(w, CTL_DEPLOYED, 0));
        break;
    case CTL_INJECT:
        if (!w->mute_ack && m->attempt == w->attempt) ack(s, w, m->epoch);
        break;
    case CTL_COMPLETE:
        if (w->publishes) published(s, w, 0, m->epoch);
        break;
    case CTL_STOP:
        if (w->mute_stop) break;
        if (m->attempt == w->attempt) {
            ctl_msg_t *r = of_job(w, CTL_STOPPED, 0);
            w->job = 0;
            say(s, w, r);
        }
        break;
    case CTL_GOODBYE: break;
    default: break;
    }
}
static void perform(story_t *s, coord_action_t *a) {
    switch (a->kind) {
    case ACT_SEND: {
        story_worker_t *w = story_by_session(s, a->session);
        if (w) worker_hears(s, w, a->message);
        break;
    }
    case ACT_RESOLVE:
        if (!s->hold_resolve) answer_resolve(s, a);
        break;
    case ACT_PUT_JOB:
        job_record_free(s->record);
        s->record = TAKE(a->record);
        s->job = s->record->id;
        if (s->hold_job) s->held_job = true;
        else answer_job(s);
        break;
    case ACT_RAISE:
        s->held_above = a->raise.above;
        if (s->hold_raise) s->held_raise = true;
        else answer_raise(s, a->job, a->raise.above);
        break;
    case ACT_PUT_MANIFEST:
        if (s->hold_put) {
            manifest_free(s->held_put);
            s->held_put = TAKE(a->put.manifest);
        } else {
            answer_put(s, TAKE(a->put.manifest), s->put_outcome);
        }
        break;
    case ACT_DELETE_FILES:
        s->deleted += a->files.n;
        for (int i = 0; i < a->files.n; i++) buf_printf(&s->removed, "%s\n", a->files.paths[i]);
        break;
    case ACT_FIND_ORPHANS:
        if (s->hold_look) s->held_look = true;
        else answer_look(s, STORE_OK);
        break;
    case ACT_SAVE:
        free(s->saved_target);
        s->saved_target = xstrdup(a->save.target);
        s->saved_epoch = a->save.manifest->epoch;
        manifest_free(s->saved);
        s->saved = manifest_copy(a->save.manifest);
        s->saved_leader = a->save.leader;
        s->saved_serial = a->save.serial;
        if (s->hold_save) s->held_save = true;
        else answer_save(s, s->save_fails && strstr(s->saved_target, s->save_fails) ? err_new(ERR_NO_SPACE, "no space left in %s", s->saved_target) : NULL);
        break;
    case ACT_CHECK_TARGET:
        s->held_check = a->check.call;
        if (!s->hold_check) answer_check(s, a->check.call, err_copy(s->check_error));
        break;
    case ACT_FORGET: {
        coord_event_t e = story_event(s, EV_FORGOTTEN);
        e.job = a->job;
        s->forgotten++;
        job_record_free(TAKE(s->record));
        story_step(s, &e);
        break;
    }
    case ACT_REPLY:
        s->last_reply = a->reply.call;
        err_free(s->reply_error);
        s->reply_error = TAKE(a->reply.error);
        if (a->job) s->job = a->job;
        break;
    case ACT_RESIGN: s->resigned = true; break;
    default: break;
    }
}
static void story_step(story_t *s, coord_event_t *e) {
    coord_actions_t out = {0};
    ck_ok(coord_step(s->c, e, &out));
    coord_event_done(e);
    for (int i = 0; i < out.n; i++) {
        AUTO(buf_free) buf_t text = buf_make(1 << 16);
        coord_action_t *a = &out.items[i];
        if (a->kind == ACT_SEND || a->kind == ACT_CLOSE) {
            story_worker_t *w = story_by_session(s, a->session);
            if (a->kind == ACT_SEND) ctl_print(&text, a->message);
            story_line(s, "%s < %s", w ? w->name : "nobody", a->kind == ACT_SEND ? buf_cstr(&text) : "close");
        } else {
            coord_action_print(&text, a);
            story_line(s, "%s", buf_cstr(&text));
        }
    }
    for (int i = 0; i < out.n; i++) *coord_actions_add(&s->queue, out.items[i].kind) = out.items[i];
    free(out.items);
    if (s->performing) return;
    s->performing = true;
    for (int i = 0; i < s->queue.n; i++) {
        coord_action_t a = s->queue.items[i];
        if (s->check) s->check(s, &a);
        perform(s, &a);
        coord_action_done(&a);
    }
    s->queue.n = 0;
    s->performing = false;
}

/* ---- the test speaks */
static story_t *story_new(void) {
    story_t *s = xcalloc(1, sizeof *s);
    s->conf = coord_conf_default();
    s->c = coord_new(&s->conf);
    s->now = 1000;
    s->trace = buf_make(1 << 26);
    s->removed = buf_make(1 << 16);
    s->parallelism = 2;
    s->nsplits = 4;
    s->lanes = 2;
    s->settings = job_settings_default();
    s->settings.discovery_interval_ms = 0;
    s->settings.base_interval_ms = 0;
    s->settings.restart_delay_ms = 100;
    return s;
}
static void story_free(story_t *s) {
    coord_free(s->c);
    buf_free(&s->trace);
    buf_free(&s->removed);
    for (int i = 0; i < s->nfiles; i++) free(s->files[i]);
    for (int i = 0; i < s->nw; i++) ctl_free(s->w[i].kept);
    err_free(s->resolve_error);
    err_free(s->reply_error);
    err_free(s->check_error);
    job_record_free(s->record);
    manifest_free(s->stored);
    for (int i = 0; i < s->nbodies; i++) manifest_free(s->bodies[i]);
    manifest_free(s->held_put);
    manifest_free(s->from_manifest);
    manifest_free(s->saved);
    free(s->saved_target);
    free(s->queue.items);
    free(s);
}
/* A coordinator wins; it reads the records the store has. */
static void lead(story_t *s) {
    s->leader += 10;
    coord_event_t e = story_event(s, EV_LEADING);
    e.leading.leader = s->leader;
    if (s->record) {
        e.leading.njobs = 1;
        e.leading.jobs = xcalloc(1, sizeof(job_record_t *));
        e.leading.jobs[0] = job_record_copy(s->record);
    }
    story_line(s, "leader %" PRIu64, s->leader);
    story_step(s, &e);
}
__attribute__((unused)) static void new_coordinator(story_t *s) {
    coord_free(s->c);
    s->c = coord_new(&s->conf);
    for (int i = 0; i < s->nw; i++) s->w[i].session = 0;
    manifest_free(TAKE(s->held_put));
    s->held_raise = s->held_job = s->held_save = false;
    s->queue.n = 0;
    lead(s);
}
/* Time passes in steps; live workers beat. */
static void pass(story_t *s, int64_t ms) {
    for (int64_t end = s->now + ms; s->now < end;) {
        s->now += MIN(10, end - s->now);
        for (int i = 0; i < s->nw && s->now % 100 == 0; i++)
            if (s->w[i].session && !s->w[i].mute_beat) beat(s, &s->w[i]);
        coord_event_t e = story_event(s, EV_TICK);
        story_step(s, &e);
    }
}
static call_id_t ask_for(story_t *s, client_op_t op, const char *from, int64_t wait_ms) {
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = op;
    r->wait_ms = wait_ms;
    r->job = op == CLIENT_SUBMIT ? 0 : s->job;
    r->from = from ? xstrdup(from) : NULL;
    if (op == CLIENT_SUBMIT) {
        r->spec.sql = xstrdup("INSERT ..");
        r->spec.name = xstrdup("orders");
        r->spec.parallelism = s->parallelism;
    }
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    story_line(s, "client > op %d", (int)op);
    story_step(s, &e);
    return s->calls;
}
static call_id_t ask(story_t *s, client_op_t op, const char *from) { return ask_for(s, op, from, 0); }
static call_id_t submit_as(story_t *s, const char *name, const char *from, bool new_ledger) {
    manifest_free(TAKE(s->stored)); /* the store knows one job */
    client_request_t *r = xcalloc(1, sizeof *r);
    r->op = CLIENT_SUBMIT;
    r->from = from ? xstrdup(from) : NULL;
    r->new_ledger = new_ledger;
    r->spec = (job_spec_t){.sql = xstrdup("INSERT"), .name = xstrdup(name)};
    coord_event_t e = story_event(s, EV_CLIENT);
    e.client.call = ++s->calls;
    e.client.request = r;
    story_step(s, &e);
    return s->calls;
}
/* of from_manifest, by a job of another name */
__attribute__((unused)) static call_id_t restore(story_t *s, bool new_ledger) { return submit_as(s, "restored", "sp", new_ledger); }
__attribute__((unused)) static call_id_t submit_another(story_t *s) { return submit_as(s, "another", NULL, false); }
static job_t *the_job(story_t *s) {
    job_t *j = coord_job(s->c, s->job);
    ck_assert_ptr_nonnull(j);
    return j;
}
__attribute__((unused)) static void forget_trace(story_t *s) { buf_clear(&s->trace); }
/* The parts occur in the trace in this order. */
__attribute__((unused)) static void expect_(story_t *s, const char *file, int line, const char *const *parts, int n) {
    const char *at = buf_cstr(&s->trace);
    for (int i = 0; i < n; i++) {
        const char *hit = strstr(at, parts[i]);
        if (!hit) ck_abort_msg("%s:%d: '%s' does not come (after %d others) in\n%s", file, line, parts[i], i, buf_cstr(&s->trace));
        at = hit + strlen(parts[i]);
    }
}
#define expect(s, ...)                                                                             \
    do {                                                                                           \
        const char *const parts_[] = {__VA_ARGS__};                                                \
        expect_((s), __FILE__, __LINE__, parts_, (int)ARRAY_LEN(parts_));                          \
    } while (0)
#define expect_not(s, part)                                                                        \
    do {                                                                                           \
        if (strstr(buf_cstr(&(s)->trace), (part)))                                                 \
            ck_abort_msg("'%s' came in\n%s", (part), buf_cstr(&(s)->trace));                       \
    } while (0)
#define expect_state(s, state_) ck_assert_str_eq(job_state_name(the_job(s)->state), job_state_name(state_))

/* Two workers of two slots, a job of parallelism 2 that runs, epoch 0 durable. */
__attribute__((unused)) static story_t *story_running(void) {
    story_t *s = story_new();
    lead(s);
    join(s, "w1", 1);
    join(s, "w2", 1);
    ask(s, CLIENT_SUBMIT, NULL);
    expect_state(s, JOB_RUNNING);
    return s;
}
