/* epoch.c: consistent checkpoints of one job. "Manifest durable = the epoch happened."
 *
 * Invariants
 *   1. Epoch ids of a job only grow, over attempts and leaders; an id is injected in one attempt only. (The attempt's
 *      transaction returns a floor above every id that can have been injected before.)
 *   2. Within an attempt no epoch is skipped and epochs complete in order of their ids: a missing delta would be a hole.
 *   3. A manifest is written only when every worker of the attempt has acked the epoch and the manifest before is durable.
 *   4. COMPLETE(e) is sent only after manifest e is known to be durable. An unknown outcome is asked again, with the same
 *      bytes, until it is known or the attempt ends; until then nothing completes.
 *   5. At most EPOCHS_IN_FLIGHT_MAX epochs are injected and not complete (B14).
 *   6. After a final epoch was injected nothing is injected any more in this incarnation (A7, A20).
 *   7. Nothing is injected while nothing happened (B15), nor while more than `unpublished_max` bytes wait for lanes, nor, but for a stop
 *      or a savepoint, while a worker has more of them than its memory has room for (B1).
 *   8. BASE_ACCEPTED(e) is sent only after a durable manifest names that base; an extent is dropped only by manifest_trim, when
 *      the bases cover it and every lane has published it.
 *   9. A file is deleted only because a durable manifest named it and the next durable one does not (A14), nor an older one that is kept
 *      (older.c), and not while a savepoint's copy has it pinned (A7).
 *  10. What an attempt did not complete is forgotten with it; the truth is what the next attempt's transaction returns (A3).
 *
 * An epoch:    inject -> acks gather -> all in -> (it is the oldest) PUT -> durable -> COMPLETE
 *   function   inject    epoch_ack      head_acked    epoch_put  epoch_manifest_stored
 * The put:     NONE -> FLYING -> NONE (stored, or the attempt ended)
 *                        |-> RETRY (certainly not stored) -> FLYING
 *                        `-> UNKNOWN (no answer)          -> FLYING, same bytes; the store answers OK when it finds them there */
#include "coordinator/core/coord_int.h"
#include "proto/budget.h"
#include <stdlib.h>

#define PUT_RETRY_MS 100
#define PUT_RETRY_MAX_MS 5000

static void run_done(epoch_run_t *r, int nworkers) {
    for (int i = 0; r->acks && i < nworkers; i++) ctl_ack_done(&r->acks[i].ack);
    free(r->acks);
    *r = (epoch_run_t){0};
}

static void runs_clear(job_t *j) {
    for (int i = 0; i < j->ep.n; i++) run_done(&j->ep.run[i], j->nworkers);
    j->ep.n = 0;
}

void epoch_free(job_t *j) {
    epochs_t *ep = &j->ep;
    runs_clear(j);
    manifest_free(ep->last);
    older_forget(NULL, j, NULL);
    manifest_free(ep->back);
    older_calm(j);
    err_free(ep->unread);
    manifest_free(ep->pending);
    for (int i = 0; i < ep->nlanes; i++) free(ep->lanes[i].rows);
    free(ep->lanes);
    free(ep->held);
}

void epoch_end_attempt(job_t *j) {
    epochs_t *ep = &j->ep;
    runs_clear(j);
    if (ep->put != PUT_FLYING) {
        ep->put = PUT_NONE;
        manifest_free(TAKE(ep->pending));
    }
    manifest_free(TAKE(ep->back));
    ep->going_back = false;
    ep->base_epoch = 0;
    set_text(&ep->held, NULL);
}

void epoch_begin_attempt(coord_t *c, job_t *j, epoch_t floor) {
    epochs_t *ep = &j->ep;
    ASSERT(ep->n == 0 && ep->put != PUT_FLYING);
    ep->put = PUT_NONE;
    manifest_free(TAKE(ep->pending));
    ep->next = MAX(floor, ep->last ? ep->last->epoch : 0) + 1;
    ep->final_injected = ep->last && ep->last->final;
    ep->completed = 0;
    ep->put_delay_ms = PUT_RETRY_MS;
}

void epoch_start(coord_t *c, job_t *j) {
    j->ep.injected_ms = c->now_ms;
    j->ep.base_ms = c->now_ms;
    j->ep.worth = !j->ep.final_injected;
    j->find_ms = c->now_ms;
}

bool epoch_of_us(const job_t *j) { return j->ep.last && j->ep.last->incarnation == j->record->incarnation; }

/* ---- lanes */
static lane_known_t *lane_find(const job_t *j, uint64_t fingerprint, int lane) {
    for (int i = 0; i < j->ep.nlanes; i++)
        if (j->ep.lanes[i].fingerprint == fingerprint && j->ep.lanes[i].lane == lane) return &j->ep.lanes[i];
    return NULL;
}

epoch_t lane_published_known(const job_t *j, uint64_t fingerprint, int lane) {
    const lane_known_t *l = lane_find(j, fingerprint, lane);
    return l ? l->published : 0;
}

bool lane_started_known(const job_t *j, uint64_t fingerprint, int lane) {
    const lane_known_t *l = lane_find(j, fingerprint, lane);
    return l && l->started;
}

static lane_known_t *lane_of(job_t *j, uint64_t fingerprint, int lane) {
    lane_known_t *l = lane_find(j, fingerprint, lane);
    if (l) return l;
    j->ep.lanes = xrealloc(j->ep.lanes, (size_t)(j->ep.nlanes + 1) * sizeof *j->ep.lanes);
    l = &j->ep.lanes[j->ep.nlanes++];
    *l = (lane_known_t){.fingerprint = fingerprint, .lane = lane};
    return l;
}

/* What a durable manifest says of a lane. */
static void lane_learn(job_t *j, const lane_pos_t *p) {
    lane_known_t *l = lane_of(j, p->fingerprint, p->lane);
    l->published = MAX(l->published, p->published);
    l->started |= p->started;
    if (p->last_rows <= l->published || (l->nrows && l->rows[l->nrows - 1] >= p->last_rows)) return;
    l->rows = xrealloc(l->rows, (size_t)(l->nrows + 1) * sizeof *l->rows);
    l->rows[l->nrows++] = p->last_rows;
}

static bool plan_has_lane(const job_t *j, uint64_t fingerprint, int lane) {
    for (int i = 0; j->shape && i < j->shape->nsinks; i++)
        if (j->shape->sinks[i].fingerprint == fingerprint && lane >= 0 && lane < j->shape->sinks[i].lanes) return true;
    return false;
}

/* A lane says that all up to an epoch is published. Its bound moves to the last of these epochs in which it had rows, for only that
 * one is in the ledger; and never beyond what is complete, whatever a worker says. */
void epoch_published(coord_t *c, job_t *j, const ctl_msg_t *m) {
    lane_known_t *l = lane_find(j, m->published.fingerprint, m->published.lane);
    if (!j->ep.last) return;
    if (!l && !plan_has_lane(j, m->published.fingerprint, m->published.lane)) {
        coord_log(c, COORD_WARN, "job %" PRIu64 ": a worker says that lane %d of sink %016" PRIx64 " published epoch %" PRIu64 "; the job has no such lane", j->id,
                  m->published.lane, m->published.fingerprint, m->epoch);
        return;
    }
    if (!l) l = lane_of(j, m->published.fingerprint, m->published.lane); /* the next manifest has it */
    if (m->published.started && !l->started) { /* a manifest must say so soon: who restores the lane without it would take the ledger back (A27) */
        l->started = true;
        j->ep.worth = true;
    }
    epoch_t upto = MIN(m->epoch, j->ep.last->epoch);
    int n = 0;
    while (n < l->nrows && l->rows[n] <= upto) l->published = MAX(l->published, l->rows[n++]);
    if (n) memmove(l->rows, l->rows + n, sizeof *l->rows * (size_t)(l->nrows -= n));
}

void epoch_set_last(job_t *j, manifest_t *m) {
    if (m != j->ep.last) manifest_free(j->ep.last);
    j->ep.last = m;
    for (int i = 0; m && i < m->nlanes; i++) lane_learn(j, &m->lanes[i]);
}

/* ---- acks */
void epoch_ack(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m) {
    epoch_run_t *r = NULL;
    for (int i = 0; i < j->ep.n; i++)
        if (j->ep.run[i].id == m->epoch) r = &j->ep.run[i];
    if (!r) return; /* complete already: acks may come twice */
    epoch_ack_t *a = &r->acks[w - j->workers];
    if (a->in) return;
    a->in = true;
    a->ack = m->ack;
    m->ack = (ctl_ack_t){0};
    if (a->ack.rows) j->ep.worth = true;
    if (a->ack.want_base) j->ep.want_base = true;
    if (++r->nacks == j->nworkers) r->acked_ms = c->now_ms;
}

/* ---- bases (invariant 8) */
void epoch_base_done(coord_t *c, job_t *j, job_worker_t *w, ctl_msg_t *m) {
    if (w->base_in && w->base.epoch >= m->epoch) return;
    base_done(&w->base);
    w->base = m->base_done.base;
    m->base_done.base = (base_t){0};
    free(w->base.worker);
    w->base.worker = xstrdup(member_by_id(c, w->member)->name);
    w->base.epoch = m->epoch;
    w->base_in = true;
    w->base_offered = false;
    if (m->epoch >= j->ep.base_epoch) w->base_answered = j->ep.base_epoch;
}

static bool bases_answered(const job_t *j) {
    for (int i = 0; i < j->nworkers; i++)
        if (j->workers[i].base_answered != j->ep.base_epoch) return false;
    return true;
}

static bool bases_in(const job_t *j) {
    for (int i = 0; i < j->nworkers; i++)
        if (j->workers[i].base_in) return true;
    return false;
}

/* The durable manifest names these bases: the workers may drop what lies before. */
static void accept_bases(coord_t *c, job_t *j) {
    const manifest_t *m = j->ep.last;
    for (int i = 0; i < j->nworkers; i++) {
        job_worker_t *w = &j->workers[i];
        if (!w->base_in || !w->base_offered) continue;
        for (int k = 0; k < m->nbases; k++) {
            if (m->bases[k].epoch != w->base.epoch || strcmp(m->bases[k].worker, w->base.worker) != 0) continue;
            ctl_msg_t *a = ctl_new(CTL_BASE_ACCEPTED);
            a->epoch = w->base.epoch;
            job_send(c, j, w, a);
            break;
        }
        base_done(&w->base);
        w->base_in = w->base_offered = false;
    }
}

static bool base_due(const coord_t *c, const job_t *j) {
    const epochs_t *ep = &j->ep;
    int64_t every = j->shape->settings.base_interval_ms, since = c->now_ms - ep->base_ms;
    if (ep->base_epoch && !bases_answered(j)) return since >= 4 * MAX(every, 1000); /* somebody never finished: ask anew */
    return ep->want_base || (every > 0 && since >= every);
}

/* ---- the manifest */
void epoch_put(coord_t *c, job_t *j, manifest_t *m) {
    epochs_t *ep = &j->ep;
    ASSERT(ep->put != PUT_FLYING && m);
    if (m != ep->pending) manifest_free(ep->pending);
    ep->pending = m;
    ep->put = PUT_FLYING;
    coord_action_t *a = coord_actions_add(c->out, ACT_PUT_MANIFEST);
    a->job = j->id;
    a->put.manifest = manifest_copy(m);
    a->put.first = ep->last == NULL;
    if (!ep->last) return;
    a->put.previous_incarnation = ep->last->incarnation;
    a->put.previous_leader = ep->last->leader;
    a->put.previous_attempt = ep->last->attempt;
    a->put.previous_epoch = ep->last->epoch;
}

void epoch_put_retry(coord_t *c, job_t *j) {
    if ((j->ep.put != PUT_RETRY && j->ep.put != PUT_UNKNOWN) || c->now_ms < j->ep.put_retry_ms) return;
    epoch_put(c, j, j->ep.pending);
}

static void put_failed(coord_t *c, job_t *j, coord_event_t *e) {
    epochs_t *ep = &j->ep;
    ep->put = e->outcome == STORE_UNKNOWN ? PUT_UNKNOWN : PUT_RETRY;
    ep->put_retry_ms = c->now_ms + ep->put_delay_ms;
    ep->put_delay_ms = MIN(ep->put_delay_ms * 2, PUT_RETRY_MAX_MS);
    set_text(&j->waiting, xprintf("epoch %" PRIu64 " is not durable: %s", e->manifest_stored.epoch,
                                  e->error ? err_text(e->error) : "no answer from the metadata store"));
}

static void remember(coord_t *c, job_t *j, const epoch_run_t *r) {
    epoch_done_t *d = &j->ep.done[j->ep.ndone++ % EPOCHS_KEPT];
    *d = (epoch_done_t){.id = r->id, .flags = r->flags, .began_ms = r->injected_ms, .ack_ms = r->acked_ms - r->injected_ms,
                        .total_ms = c->now_ms - r->injected_ms};
    for (int i = 0; i < j->nworkers; i++) {
        d->rows += r->acks[i].ack.rows;
        d->bytes += r->acks[i].ack.bytes;
    }
}

/* The epoch happened. */
static void complete(coord_t *c, job_t *j) {
    epochs_t *ep = &j->ep;
    older_advance(c, j, TAKE(ep->pending), 0, NULL);
    set_text(&j->waiting, NULL);
    ep->put_delay_ms = PUT_RETRY_MS;
    if (ep->n == 0) { /* the first manifest, or an older epoch's: nobody runs yet; that of a savepoint has an epoch of its own */
        ep->next = MAX(ep->next, ep->last->epoch + 1);
        ep->final_injected = ep->last->final;
        return;
    }
    ASSERT(ep->run[0].id == ep->last->epoch);
    remember(c, j, &ep->run[0]);
    uint32_t flags = ep->run[0].flags;
    job_send_all(c, j, CTL_COMPLETE, ep->last->epoch, flags);
    accept_bases(c, j);
    run_done(&ep->run[0], j->nworkers);
    memmove(&ep->run[0], &ep->run[1], sizeof ep->run[0] * (size_t)(--ep->n));
    ep->run[ep->n] = (epoch_run_t){0};
    ep->completed++;
    restart_completed(c, j);
    if (ep->want_savepoint && (flags & BARRIER_SAVEPOINT)) savepoint_begin(c, j);
}

void epoch_manifest_stored(coord_t *c, job_t *j, coord_event_t *e) {
    epochs_t *ep = &j->ep;
    if (ep->put != PUT_FLYING || !ep->pending || ep->pending->epoch != e->manifest_stored.epoch ||
        ep->pending->attempt != e->manifest_stored.attempt)
        return;
    bool first = !epoch_of_us(j) && (j->state == JOB_RESOLVING || j->state == JOB_RESTARTING) && j->raised;
    bool live = !j->closing && (first || j->state == JOB_DEPLOYING || j->state == JOB_RUNNING || j->state == JOB_STOPPING);
    ep->put = PUT_NONE;
    if (!live) { /* the attempt has ended: the next one's transaction tells what happened (invariant 10) */
        manifest_free(TAKE(ep->pending));
    } else if (e->outcome == STORE_OK) {
        complete(c, j);
    } else if (e->outcome != STORE_REFUSED) {
        put_failed(c, j, e);
    } else if (first) {
        manifest_free(TAKE(ep->pending));
        j->raised = false;
    } else {
        manifest_free(TAKE(ep->pending));
        restart_begin(c, j, err_new(ERR_UNAVAILABLE, "manifest %" PRIu64 " was refused: another leader, attempt or manifest is in "
                                    "the metadata store", e->manifest_stored.epoch));
    }
}

/* ---- injection */
static bool all_ended(const job_t *j) {
    for (int i = 0; i < j->nworkers; i++)
        if (!j->workers[i].ended) return false;
    return j->nworkers > 0;
}

static uint64_t unpublished_bytes(const job_worker_t *w) {
    uint64_t sum = 0;
    for (int k = 0; k < w->report.nlanes; k++) sum += w->report.lanes[k].pending_bytes;
    return sum;
}

/* What a worker's memory has for the output of each job it runs. */
static uint64_t output_part(const coord_t *c, const member_t *m) {
    uint64_t jobs = 0;
    for (int i = 0; i < c->njobs; i++)
        for (int w = 0; w < c->jobs[i]->nworkers; w++) jobs += c->jobs[i]->workers[w].member == m->id;
    return output_share(m->memory) / MAX(jobs, (uint64_t)1);
}

/* A worker whose part for this job is full; what sources elsewhere bring it cannot hold back by itself. */
static const member_t *full_of_output(const coord_t *c, const job_t *j, uint64_t *ret_bytes, uint64_t *ret_part) {
    for (int i = 0; i < j->nworkers; i++) {
        const member_t *m = member_by_id(c, j->workers[i].member);
        if (!m || !m->memory) continue;
        *ret_bytes = unpublished_bytes(&j->workers[i]);
        *ret_part = output_part(c, m);
        if (*ret_bytes >= *ret_part) return m;
    }
    return NULL;
}

/* Why nothing may be injected although there is reason to, or NULL; kept for people. */
static bool held(const coord_t *c, job_t *j, bool asked_for) {
    uint64_t bytes = 0, max = j->shape->settings.unpublished_max, part;
    for (int i = 0; i < j->nworkers; i++) bytes += unpublished_bytes(&j->workers[i]);
    if (max && bytes >= max) {
        set_text(&j->ep.held, xprintf("%" PRIu64 " MB of output wait for publication, the bound is %" PRIu64 " MB: sources wait",
                                      bytes >> 20, max >> 20));
        return true;
    }
    const member_t *m = asked_for ? NULL : full_of_output(c, j, &bytes, &part);
    if (m) {
        set_text(&j->ep.held, xprintf("%" PRIu64 " MB of output wait for publication on worker %s, whose memory has %" PRIu64 " MB for it: sources wait",
                                      bytes >> 20, m->name, part >> 20));
        return true;
    }
    set_text(&j->ep.held, NULL);
    return false;
}

static bool wants_final(const job_t *j) {
    return (j->record->wanted == WANTED_STOP && job_stored(j)) || all_ended(j);
}

bool epoch_savepoint_flying(const job_t *j) {
    for (int i = 0; i < j->ep.n; i++)
        if (j->ep.run[i].flags & BARRIER_SAVEPOINT) return true;
    return false;
}

static void inject(coord_t *c, job_t *j, uint32_t flags) {
    epochs_t *ep = &j->ep;
    ASSERT(ep->n < EPOCHS_IN_FLIGHT_MAX && !ep->final_injected && (ep->n == 0 || ep->run[ep->n - 1].id < ep->next));
    epoch_run_t *r = &ep->run[ep->n++];
    *r = (epoch_run_t){.id = ep->next++, .flags = flags, .injected_ms = c->now_ms,
                       .acks = xcalloc((size_t)j->nworkers, sizeof(epoch_ack_t))};
    ep->injected_ms = c->now_ms;
    ep->worth = false;
    if (flags & BARRIER_FINAL) ep->final_injected = true;
    if (flags & BARRIER_BASE) {
        ep->base_epoch = r->id;
        ep->base_ms = c->now_ms;
        ep->want_base = false;
    }
    job_send_all(c, j, CTL_INJECT, r->id, flags);
}

/* Where sources wait for the next epoch, what is collected since the last one has no room: a long interval would be all waiting. */
#define HURRY_MS 100
static int64_t interval_ms(const job_t *j) {
    for (int i = 0; i < j->nworkers; i++)
        if (j->workers[i].report.full) return MIN(j->shape->settings.interval_ms, (int64_t)HURRY_MS);
    return j->shape->settings.interval_ms;
}

static void maybe_inject(coord_t *c, job_t *j) {
    epochs_t *ep = &j->ep;
    if (ep->final_injected || ep->n == EPOCHS_IN_FLIGHT_MAX || j->record->wanted == WANTED_CANCEL) return;
    bool final = wants_final(j), savepoint = ep->want_savepoint && !epoch_savepoint_flying(j);
    bool at_once = final || savepoint;
    if (!at_once && c->now_ms - ep->injected_ms < interval_ms(j)) return;
    bool base = base_due(c, j) && (ep->want_base || ep->worth);
    if (!at_once && !ep->worth && !base && !(ep->n == 0 && bases_in(j))) return;
    if (held(c, j, at_once)) return;
    inject(c, j, (final ? BARRIER_FINAL : 0) | (savepoint || (final && ep->want_savepoint) ? BARRIER_SAVEPOINT : 0) |
                     (base && !final ? BARRIER_BASE : 0));
}

void epoch_missing(const coord_t *c, const job_t *j, buf_t *out) {
    for (int i = 0; i < j->nworkers; i++) {
        if (j->ep.run[0].acks[i].in) continue;
        const job_worker_t *w = &j->workers[i];
        buf_printf(out, "%s%s (%d tasks%s%s)", out->len ? ", " : "", member_by_id(c, w->member)->name, w->ntasks,
                   w->report.waiting ? ", waits for " : "", w->report.waiting ? w->report.waiting : "");
    }
}

/* B5. */
static void check_deadline(coord_t *c, job_t *j) {
    const epoch_run_t *r = &j->ep.run[0];
    int64_t limit = j->shape->settings.epoch_timeout_ms << MIN(j->failures, 4);
    if (j->ep.n == 0 || r->nacks == j->nworkers || c->now_ms - r->injected_ms <= limit) return;
    AUTO(buf_free) buf_t who = buf_make(4096);
    epoch_missing(c, j, &who);
    restart_begin(c, j, err_new(ERR_TIMEOUT, "epoch %" PRIu64 " was not acknowledged within %" PRId64 " ms by %s", r->id, limit,
                                buf_cstr(&who)));
}

void epoch_serve(coord_t *c, job_t *j) {
    epochs_t *ep = &j->ep;
    epoch_put_retry(c, j);
    if (ep->put == PUT_NONE && ep->n > 0 && ep->run[0].nacks == j->nworkers) {
        for (int i = 0; i < j->nworkers; i++) j->workers[i].base_offered = j->workers[i].base_in && j->workers[i].base.epoch <= ep->run[0].id;
        epoch_put(c, j, manifest_next(j, &ep->run[0], c->leader));
    }
    check_deadline(c, j);
    if (j->state != JOB_RUNNING && j->state != JOB_STOPPING) return;
    maybe_inject(c, j);
    int64_t every = j->shape->settings.discovery_interval_ms;
    if (every > 0 && !j->finding && !ep->final_injected && j->record->wanted == WANTED_RUN && c->now_ms - j->find_ms >= every) {
        j->finding = true;
        coord_action_t *a = coord_actions_add(c->out, ACT_FIND_SPLITS);
        a->job = j->id;
        a->find.spec = job_spec_copy(&j->record->spec);
    }
}

int64_t epoch_next_ms(const coord_t *c, const job_t *j) {
    const epochs_t *ep = &j->ep;
    if (ep->put == PUT_RETRY || ep->put == PUT_UNKNOWN) return ep->put_retry_ms;
    if ((j->state != JOB_RUNNING && j->state != JOB_STOPPING) || !j->shape || ep->final_injected) return INT64_MAX;
    if (j->closing || j->record->wanted == WANTED_CANCEL) return INT64_MAX;
    if (!ep->worth || ep->n == EPOCHS_IN_FLIGHT_MAX || ep->held) return INT64_MAX;
    return ep->injected_ms + interval_ms(j);
}
