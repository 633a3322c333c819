/* waits.c: what a job waits for, by name: no client is told "not yet" without the worker, the epoch, the lane or the file that is missing. */
#include "coordinator/core/coord_int.h"

static const char *sink_label(const job_t *j, uint64_t fingerprint) {
    for (int i = 0; j->shape && i < j->shape->nsinks; i++)
        if (j->shape->sinks[i].fingerprint == fingerprint) return j->shape->sinks[i].label;
    return "?";
}

static void comma(buf_t *out) {
    if (out->len) buf_puts(out, "; ");
}

/* The worker that has the lane, and what it says of it. */
static void lane_owner(const coord_t *c, const job_t *j, const lane_pos_t *l, buf_t *out) {
    for (int i = 0; i < j->nworkers; i++)
        for (int k = 0; k < j->workers[i].report.nlanes; k++) {
            const lane_report_t *r = &j->workers[i].report.lanes[k];
            if (r->fingerprint != l->fingerprint || r->lane != l->lane) continue;
            buf_printf(out, " (worker %s%s%s)", member_by_id(c, j->workers[i].member)->name, r->waits_for ? " waits for " : "", r->waits_for ? r->waits_for : "");
            return;
        }
}

static bool unpublished(const coord_t *c, const job_t *j, buf_t *out) {
    bool any = false;
    for (int i = 0; j->ep.last && i < j->ep.last->nlanes; i++) {
        const lane_pos_t *l = &j->ep.last->lanes[i];
        epoch_t known = lane_published_known(j, l->fingerprint, l->lane);
        if (l->last_rows <= known) continue;
        comma(out);
        buf_printf(out, "lane %d of sink %s has published epoch %" PRIu64 " of %" PRIu64, l->lane, sink_label(j, l->fingerprint), known, l->last_rows);
        if (c) lane_owner(c, j, l, out);
        any = true;
    }
    return any;
}

bool waits_unpublished(const job_t *j, buf_t *out) { return unpublished(NULL, j, out); }

static void workers_that(const coord_t *c, const job_t *j, bool stop, buf_t *out) {
    for (int i = 0; i < j->nworkers; i++) {
        const job_worker_t *w = &j->workers[i];
        if (stop ? w->stopped || !w->session : w->deployed) continue;
        comma(out);
        buf_printf(out, "worker %s has not %s its tasks for %" PRId64 " ms", member_by_id(c, w->member)->name, stop ? "stopped" : "built",
                   c->now_ms - (stop ? j->stop_ms : j->deploy_ms));
    }
}

static void of_epochs(const coord_t *c, const job_t *j, buf_t *out) {
    const epochs_t *ep = &j->ep;
    if (ep->held) buf_puts(out, ep->held);
    if (ep->put != PUT_NONE) {
        comma(out);
        if (j->waiting) buf_puts(out, j->waiting);
        else buf_printf(out, "the manifest of epoch %" PRIu64 " is being stored", ep->pending->epoch);
    } else if (ep->n && ep->run[0].nacks < j->nworkers) {
        AUTO(buf_free) buf_t who = buf_make(4096);
        epoch_missing(c, j, &who);
        comma(out);
        buf_printf(out, "epoch %" PRIu64 " is not acknowledged by %s", ep->run[0].id, buf_cstr(&who));
    } else if (j->waiting) {
        comma(out);
        buf_puts(out, j->waiting);
    }
    if (ep->n) buf_printf(out, "; %d epochs are in flight, the oldest is %" PRIu64, ep->n, ep->run[0].id);
    unpublished(c, j, out);
}

void waits_for(const coord_t *c, const job_t *j, buf_t *out) {
    if (j->stop_ms) workers_that(c, j, true, out);
    else if (j->state == JOB_DEPLOYING) workers_that(c, j, false, out);
    if (j->saving) {
        comma(out);
        if (j->save_sent) buf_printf(out, "epoch %" PRIu64 " is being copied to %s for %" PRId64 " ms", j->saving->epoch, j->saving_target, c->now_ms - j->save_sent_ms);
        else buf_printf(out, "the copy of epoch %" PRIu64 " to %s waits for its output to be published", j->saving->epoch, j->saving_target);
    }
    if (!j->closing && (j->state == JOB_RUNNING || j->state == JOB_STOPPING)) {
        of_epochs(c, j, out);
    } else if (j->waiting) {
        comma(out);
        buf_puts(out, j->waiting);
    } else if (j->closing && j->ep.put == PUT_FLYING && j->ep.pending) {
        comma(out);
        buf_printf(out, "what became of the manifest of epoch %" PRIu64, j->ep.pending->epoch);
    }
    if (!job_stored(j)) {
        comma(out);
        buf_puts(out, "its record is being stored");
    }
    if (!out->len) buf_printf(out, "it is %s for %" PRId64 " ms", job_state_name(j->state), c->now_ms - j->since_ms);
}
