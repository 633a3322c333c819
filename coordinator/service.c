#include "coordinator/service.h"
#include "coordinator/core/coord_int.h"

/* ---- pieces */
static void render_time(json_writer_t *w, const char *name, int64_t watermark) {
    jw_name(w, name);
    if (watermark == WATERMARK_NONE) jw_null(w);
    else if (watermark == WATERMARK_END) jw_str(w, "end");
    else jw_i64(w, watermark);
}

/* What the job waits for: the core's reason, else the first worker's. */
static const char *waiting(const job_t *j) {
    if (j->waiting) return j->waiting;
    if (j->ep.held) return j->ep.held;
    for (int i = 0; i < j->nworkers; i++)
        if (j->workers[i].report.waiting) return j->workers[i].report.waiting;
    return NULL;
}

static void render_waiting(json_writer_t *w, const coord_t *c, const job_t *j) {
    if (job_state_terminal(j->state)) return;
    if (waiting(j) || j->record->wanted == WANTED_RUN) {
        if (waiting(j)) jw_kv_str(w, "waiting", waiting(j));
        return;
    }
    AUTO(buf_free) buf_t text = buf_make(4096); /* it is to end: what is missing */
    waits_for(c, j, &text);
    jw_kv_str(w, "waiting", buf_cstr(&text));
}

static void render_summary(json_writer_t *w, const coord_t *c, const job_t *j) {
    const job_record_t *r = j->record;
    jw_kv_u64(w, "id", j->id);
    jw_kv_str(w, "name", r->spec.name);
    jw_kv_str(w, "state", job_state_name(j->state));
    /* of one that is over also behind a new leader, who has known it for as long as it leads */
    jw_kv_i64(w, "since_ms", r->ended_ms && job_state_terminal(j->state) ? MAX(c->wall_ms - r->ended_ms, 0) : c->now_ms - j->since_ms);
    jw_kv_i64(w, "created_ms", r->created_ms);
    if (r->ended_ms) jw_kv_i64(w, "ended_ms", r->ended_ms);
    render_waiting(w, c, j);
    if (ended_holds_state(j)) jw_kv_bool(w, "holds_state", true);
    if (j->shape) jw_kv_i64(w, "parallelism", j->shape->parallelism);
    jw_kv_u64(w, "restarts", r->restarts);
    jw_kv_u64(w, "attempt", j->attempt);
    jw_kv_u64(w, "epoch", j->ep.last ? j->ep.last->epoch : 0);
    jw_kv_u64(w, "fallbacks", j->ep.last ? j->ep.last->fell.times : 0);
    jw_kv_err(w, "error", r->error, NULL);
}

/* ---- one job */
static void render_task(json_writer_t *w, const coord_t *c, const job_worker_t *jw, const task_report_t *t) {
    jw_object(w);
    jw_kv_i64(w, "subtask", t->subtask);
    jw_kv_str(w, "worker", member_by_id(c, jw->member)->name);
    task_report_json(w, t);
    render_time(w, "watermark", t->watermark);
    jw_end_object(w);
}

static void render_stage(json_writer_t *w, const coord_t *c, const job_t *j, int stage) {
    const shape_stage_t *s = &j->shape->stages[stage];
    uint64_t in = 0, out = 0, late = 0;
    int64_t watermark = WATERMARK_END;
    bool any = false;
    jw_object(w);
    jw_kv_i64(w, "id", s->id);
    jw_kv_str(w, "label", s->label);
    jw_kv_i64(w, "parallelism", s->parallelism);
    jw_name(w, "tasks");
    jw_array(w);
    for (int i = 0; i < j->nworkers; i++)
        for (int k = 0; k < j->workers[i].report.ntasks; k++) {
            const task_report_t *t = &j->workers[i].report.tasks[k];
            if (t->stage != stage) continue;
            render_task(w, c, &j->workers[i], t);
            in += t->rows_in;
            out += t->rows_out;
            late += t->late_rows;
            watermark = MIN(watermark, t->watermark);
            any = true;
        }
    jw_end_array(w);
    jw_kv_u64(w, "rows_in", in);
    jw_kv_u64(w, "rows_out", out);
    jw_kv_u64(w, "late_rows", late);
    render_time(w, "watermark", any ? watermark : j->ep.last ? manifest_watermark(j->ep.last, stage) : WATERMARK_NONE);
    jw_end_object(w);
}

static const char *sink_label(const job_t *j, uint64_t fingerprint) {
    for (int i = 0; j->shape && i < j->shape->nsinks; i++)
        if (j->shape->sinks[i].fingerprint == fingerprint) return j->shape->sinks[i].label;
    return "sink";
}

static const lane_report_t *lane_report(const job_t *j, const lane_pos_t *l) {
    for (int i = 0; i < j->nworkers; i++)
        for (int k = 0; k < j->workers[i].report.nlanes; k++) {
            const lane_report_t *r = &j->workers[i].report.lanes[k];
            if (r->fingerprint == l->fingerprint && r->lane == l->lane) return r;
        }
    return NULL;
}

static void render_lanes(json_writer_t *w, const job_t *j) {
    jw_name(w, "lanes");
    jw_array(w);
    for (int i = 0; j->ep.last && i < j->ep.last->nlanes; i++) {
        const lane_pos_t *l = &j->ep.last->lanes[i];
        const lane_report_t *r = lane_report(j, l);
        epoch_t published = MAX(l->published, lane_published_known(j, l->fingerprint, l->lane));
        jw_object(w);
        jw_kv_str(w, "sink", sink_label(j, l->fingerprint));
        jw_kv_i64(w, "lane", l->lane);
        jw_kv_u64(w, "published", published);
        jw_kv_u64(w, "last_rows", l->last_rows);
        jw_kv_bool(w, "behind", l->last_rows > published);
        if (r && r->state) jw_kv_str(w, "state", r->state);
        if (r) jw_kv_u64(w, "pending_bytes", r->pending_bytes);
        if (r && r->waits_for) jw_kv_str(w, "waits_for", r->waits_for);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void render_epochs(json_writer_t *w, const job_t *j) {
    const epochs_t *ep = &j->ep;
    jw_name(w, "epochs");
    jw_array(w);
    uint64_t n = MIN(ep->ndone, (uint64_t)EPOCHS_KEPT);
    for (uint64_t i = 0; i < n; i++) {
        const epoch_done_t *d = &ep->done[(ep->ndone - 1 - i) % EPOCHS_KEPT];
        jw_object(w);
        jw_kv_u64(w, "epoch", d->id);
        jw_kv_i64(w, "ack_ms", d->ack_ms);
        jw_kv_i64(w, "duration_ms", d->total_ms);
        jw_kv_u64(w, "bytes", d->bytes);
        jw_kv_u64(w, "rows", d->rows);
        jw_kv_bool(w, "base", (d->flags & BARRIER_BASE) != 0);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_kv_i64(w, "epochs_in_flight", ep->n);
}

static void render_holders(json_writer_t *w, const job_t *j) {
    jw_name(w, "holds_time");
    jw_array(w);
    for (int i = 0; i < j->nworkers; i++)
        for (int k = 0; k < j->workers[i].report.ntasks; k++)
            if (j->workers[i].report.tasks[k].holds_time) jw_str(w, j->workers[i].report.tasks[k].holds_time);
    jw_end_array(w);
}

static void render_older(json_writer_t *w, const job_t *j) {
    const manifest_t *m = j->ep.last;
    if (m && m->fell.times) {
        jw_name(w, "fell_back");
        jw_object(w);
        jw_kv_u64(w, "from", m->fell.from);
        jw_kv_u64(w, "to", m->fell.to);
        jw_end_object(w);
    }
    jw_name(w, "older_epochs");
    jw_array(w);
    for (int i = 0; i < j->ep.nolder; i++) jw_u64(w, j->ep.older[i]->epoch);
    jw_end_array(w);
}

static void render_detail(json_writer_t *w, const coord_t *c, const job_t *j) {
    render_summary(w, c, j);
    jw_kv_u64(w, "incarnation", j->record->incarnation);
    if (j->record->from) jw_kv_str(w, "from", j->record->from);
    if (j->record->savepoint) jw_kv_str(w, "savepoint", j->record->savepoint);
    jw_kv_err(w, "savepoint_error", j->stop_error, NULL);
    if (j->unpublished) jw_kv_str(w, "unpublished", j->unpublished);
    jw_kv_err(w, "last_error", j->last_error, NULL);
    render_older(w, j);
    if (j->outage_ms) jw_kv_i64(w, "last_outage_ms", j->outage_ms);
    if (j->squeezed) jw_kv_bool(w, "short_of_slots", true);
    jw_kv_u64(w, "rows_in", j->totals.in);
    jw_kv_u64(w, "rows_out", j->totals.out);
    jw_kv_u64(w, "late_rows", j->totals.late);
    jw_kv_u64(w, "bad_records", j->totals.bad);
    jw_kv_u64(w, "stale_records", j->totals.stale);
    jw_kv_u64(w, "dropped_rows", j->totals.dropped);
    render_time(w, "watermark", j->totals.watermark);
    jw_name(w, "stages");
    jw_array(w);
    for (int i = 0; j->shape && i < j->shape->nstages; i++) render_stage(w, c, j, i);
    jw_end_array(w);
    render_holders(w, j);
    render_lanes(w, j);
    render_epochs(w, j);
}

void service_render_job(const coord_t *c, job_id_t id, buf_t *out) {
    const job_t *j = id ? coord_job(c, id) : NULL;
    json_writer_t w = json_writer(out);
    jw_object(&w);
    if (j) {
        jw_name(&w, "job");
        jw_object(&w);
        render_detail(&w, c, j);
        jw_end_object(&w);
    }
    jw_end_object(&w);
}

/* ---- lists */
static void render_jobs(const coord_t *c, buf_t *out) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_str(&w, "cluster", c->conf.cluster);
    jw_name(&w, "jobs");
    jw_array(&w);
    for (int i = 0; i < c->njobs; i++) {
        jw_object(&w);
        render_summary(&w, c, c->jobs[i]);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_end_object(&w);
}

#define GONE_SAID_MS (60 * 60 * 1000) /* so long a worker that is gone is listed */

static const char *member_state(const coord_t *c, const member_t *m) {
    if (!m->session) return "gone";
    if (m->draining) return "draining";
    return member_usable(c, m) ? "live" : "suspect";
}

static void render_workers(const coord_t *c, buf_t *out) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_u64(&w, "leader", c->leader);
    jw_name(&w, "workers");
    jw_array(&w);
    for (int i = 0; i < c->nmembers; i++) {
        const member_t *m = c->members[i];
        if (!m->session && c->now_ms - m->heard_ms > GONE_SAID_MS) continue;
        jw_object(&w);
        jw_kv_str(&w, "name", m->name);
        jw_kv_str(&w, "address", m->address);
        jw_kv_str(&w, "state", member_state(c, m));
        jw_kv_str(&w, "build", m->build);
        jw_kv_i64(&w, "slots", m->slots);
        jw_kv_i64(&w, "slots_free", member_slots_free(c, m, NULL));
        jw_kv_u64(&w, "memory", m->memory);
        jw_kv_u64(&w, "rss", m->rss);
        jw_kv_i64(&w, "heard_ms", c->now_ms - m->heard_ms);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_end_object(&w);
}

static void render_ledger(const job_t *j, buf_t *out) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_u64(&w, "job", j->id);
    jw_kv_u64(&w, "incarnation", j->record->incarnation);
    jw_kv_u64(&w, "complete", j->ep.last ? j->ep.last->epoch : 0);
    render_lanes(&w, j);
    jw_end_object(&w);
}

static void read_of_job(const coord_t *c, const job_t *j, client_op_t op, client_reply_t *ret) {
    if (op == CLIENT_JOB) {
        service_render_job(c, j->id, &ret->json);
    } else if (op == CLIENT_LEDGER) {
        render_ledger(j, &ret->json);
    } else if (j->ep.last) {
        manifest_print(&ret->json, j->ep.last);
    } else {
        ret->error = err_new(ERR_NOT_FOUND, "job %" PRIu64 " is %s: this coordinator has seen no manifest of it", j->id,
                             job_state_name(j->state));
    }
}

bool service_read(const coord_t *c, const client_request_t *r, client_reply_t *ret) {
    bool of_job = r->op == CLIENT_JOB || r->op == CLIENT_MANIFEST || r->op == CLIENT_LEDGER;
    if (!of_job && r->op != CLIENT_JOBS && r->op != CLIENT_WORKERS) return false;
    if (!c->leading) {
        ret->error = err_new(ERR_UNAVAILABLE, NOT_THE_LEADER);
    } else if (r->op == CLIENT_JOBS) {
        render_jobs(c, &ret->json);
    } else if (r->op == CLIENT_WORKERS) {
        render_workers(c, &ret->json);
    } else {
        const job_t *j = client_find_job(c, r, &ret->error);
        if (j) read_of_job(c, j, r->op, ret);
    }
    return true;
}
