/* older.c: older epochs that are kept restorable, and going back to one when a file of the last is damaged.
 *
 *   DEPLOYING, a worker FAILED with FAILED_DAMAGED -> an older epoch may be restored -> RESTARTING, raised -> F is made -> DEPLOYING from F
 *     -> all DEPLOYED: all files of F were read and are whole -> manifest F durable -> START            else -> FAILED with the file's name
 *
 * Invariants
 *   1. The last manifest names the older ones that are kept (newest first); of each the body and all it names stay in storage until a durable
 *      manifest names it no more (A14). They are of the last one's incarnation: nobody goes back beyond the start of an incarnation (A4).
 *   2. An older epoch o is kept, and restored, only if nothing that happened after it is promised to be seen once: no lane had rows in a durable
 *      epoch after o. Whether these rows are published nobody asks: a transaction may be prepared, or under way at a worker that was given up
 *      (A4). And no sink cuts or renames what it wrote by complete epochs (filesystem). So every kept one may be restored at any time, and a
 *      job whose lanes have output in each epoch keeps none and pays nothing.
 *   3. Going back is an epoch of its own: F has an id above all that were injected, content and positions of o, and follows the last manifest in
 *      one transaction that compares leader, attempt and that last manifest (A3). So ids are not used again, the segments between o and F are in no
 *      manifest any more (A2), and whoever died half-way has changed nothing: the next attempt begins from the last manifest or from F.
 *   4. F becomes durable after every worker has restored it and before anybody starts: what was damaged may still be mended until then, and a second
 *      damaged file leaves the job where it was. Files of the epochs given up are deleted after F is durable. A worker of theirs that still
 *      lives writes to files of its own attempt (A2), and its acks are of an attempt that is over.
 *   5. What may not go back does not: the bounds of lanes, `started` (A27) and processing time (A9) are the last manifest's. Positions,
 *      watermarks and state go back together: at-least-once output comes again, and a person is told so.
 *
 * Which are kept: the one before the last round of bases and the one before that round (`execution.checkpointing.num-retained` counts the last epoch,
 * too); of a job without bases its first. The round decides, not time: a file that a base makes superfluous is kept for two rounds more, and the
 * oldest shares no changelog file and no base description with the last; tables that bases share are in both. */
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

/* NULL: epoch `to` may be restored although `last` is durable. */
static err_t *beyond(const job_t *j, const manifest_t *last, const manifest_t *to) {
    if (to->incarnation != last->incarnation) return err_new(ERR_INVALID, "epoch %" PRIu64 " is of another incarnation", to->epoch);
    for (int i = 0; i < last->nlanes; i++) {
        const lane_pos_t *l = &last->lanes[i];
        if (l->last_rows <= to->epoch && l->published <= to->epoch) continue;
        const char *label = "that the job had";
        for (int k = 0; k < j->shape->nsinks; k++)
            if (j->shape->sinks[k].fingerprint == l->fingerprint) label = j->shape->sinks[k].label;
        return err_new(ERR_INVALID, "exactly-once output of lane %d of sink %s up to epoch %" PRIu64 " is published or may be", l->lane, label, l->last_rows);
    }
    for (int k = 0; k < j->shape->nsinks; k++)
        if (j->shape->sinks[k].commits) return err_new(ERR_INVALID, "sink %s holds each row once, and shows those of complete epochs", j->shape->sinks[k].label);
    return NULL;
}

static bool may_go_back(const job_t *j, const manifest_t *last, const manifest_t *to) {
    err_t *e = beyond(j, last, to);
    bool yes = !e;
    err_free(e);
    return yes;
}

/* ---- what is kept */
static bool has_base(const manifest_t *m, const base_t *b) {
    for (int i = 0; i < m->nbases; i++)
        if (m->bases[i].epoch == b->epoch && strcmp(m->bases[i].worker, b->worker) == 0) return true;
    return false;
}

/* `m` brings a base of a worker that since `kept` had a new one already. */
static bool next_round(const manifest_t *m, const manifest_t *last, const manifest_t *kept) {
    for (int i = 0; i < m->nbases; i++) {
        if (has_base(last, &m->bases[i])) continue;
        for (int k = 0; k < last->nbases; k++)
            if (strcmp(last->bases[k].worker, m->bases[i].worker) == 0 && !has_base(kept, &last->bases[k])) return true;
    }
    return false;
}

void older_next(const job_t *j, manifest_t *m) {
    const epochs_t *ep = &j->ep;
    int most = MIN(j->shape->settings.retained - 1, OLDER_MAX);
    free(TAKE(m->older));
    m->nolder = 0;
    bool one_more = ep->nolder == 0 || next_round(m, ep->last, ep->older[0]);
    if (one_more && most > 0 && may_go_back(j, m, ep->last)) manifest_add_older(m, ep->last);
    for (int i = 0; i < ep->nolder && m->nolder < most; i++)
        if (may_go_back(j, m, ep->older[i])) manifest_add_older(m, ep->older[i]);
}

bool older_unread(const job_t *j) { return j->ep.last && j->ep.nolder < j->ep.last->nolder; }

static bool among(const older_t *o, manifest_t *const *m, int n) {
    for (int i = 0; i < n; i++)
        if (m[i] && older_is(o, m[i])) return true;
    return false;
}

bool older_lacks(const job_t *j, const coord_event_t *e) {
    const manifest_t *now = e->raised.last;
    for (int i = 0; e->error && now && i < now->nolder; i++) {
        const older_t *o = &now->older[i];
        if (!among(o, e->raised.older, e->raised.nolder) && !among(o, j->ep.older, j->ep.nolder) && !among(o, &j->ep.last, 1)) return true;
    }
    return false;
}

bool older_names(const job_t *j, const char *path) {
    for (int i = 0; i < j->ep.nolder; i++) {
        AUTO(auto_free) char *body = manifest_body_path(j->ep.older[i]);
        if (manifest_names(j->ep.older[i], path) || strcmp(path, body) == 0) return true;
    }
    return false;
}

/* Takes the manifest that `o` means out of an array. */
static manifest_t *take(const older_t *o, manifest_t **from, int n) {
    for (int i = 0; i < n; i++)
        if (from[i] && older_is(o, from[i])) return TAKE(from[i]);
    return NULL;
}

static void tell(coord_t *c, job_t *j, const manifest_t *was, const manifest_t *now) {
    if (!was || now->fell.times <= was->fell.times) return;
    coord_log(c, COORD_WARN, "job %" PRIu64 ": a file of epoch %" PRIu64 " is damaged: the job goes on from epoch %" PRIu64 ", under the id %" PRIu64
              "; its sources read again from there, and at-least-once output since then comes a second time", j->id, now->fell.from, now->fell.to, now->epoch);
}

void older_advance(coord_t *c, job_t *j, manifest_t *now, int ngiven, manifest_t **given) {
    epochs_t *ep = &j->ep;
    manifest_t *was = TAKE(ep->last);
    manifest_t *before[OLDER_MAX] = {0};
    int nbefore = ep->nolder;
    for (int i = 0; i < nbefore; i++) before[i] = TAKE(ep->older[i]);
    ep->nolder = 0;
    epoch_set_last(j, now);
    if (now) tell(c, j, was, now);
    for (int i = 0; now && i < now->nolder && ep->nolder < OLDER_MAX; i++) {
        const older_t *o = &now->older[i];
        manifest_t *m = take(o, given, ngiven);
        if (!m) m = take(o, before, nbefore);
        if (!m && was && older_is(o, was)) m = TAKE(was);
        if (m) ep->older[ep->nolder++] = m; /* else: it cannot be read, and the next manifest does not name it */
    }
    bool known = !older_unread(j); /* else what `now` needs is not: orphans.c finds what goes now, and of a restored job it has to look for it elsewhere, too */
    j->seek_restored |= !known;
    if (known) err_free(TAKE(ep->unread));
    if (now && was && was->epoch < now->epoch && known) garbage_between(c, j, was, now);
    manifest_free(was);
    for (int i = 0; i < nbefore; i++) {
        if (now && before[i] && known) garbage_between(c, j, before[i], now);
        manifest_free(before[i]);
    }
    for (int i = 0; i < ngiven; i++) manifest_free(TAKE(given[i]));
}

void older_forget(coord_t *c, job_t *j, const manifest_t *now) {
    manifest_t *m[OLDER_MAX];
    int n = j->ep.nolder;
    for (int i = 0; i < n; i++) m[i] = TAKE(j->ep.older[i]);
    j->ep.nolder = 0;
    for (int i = 0; i < n; i++) {
        if (c) garbage_between(c, j, m[i], now);
        manifest_free(m[i]);
    }
}

/* ---- going back */
const manifest_t *older_restored(const job_t *j) { return j->ep.back ? j->ep.back : j->ep.last; }

/* The newest older one that was not tried yet. Where files are missing, not damaged, one that names no file at all is not taken: nothing would show
 * that what the worker looks at is the job's storage, and not the empty place where it should have been mounted. */
static const manifest_t *choose(const job_t *j, epoch_t below, bool missing) {
    for (int i = 0; i < j->ep.nolder; i++) {
        const manifest_t *m = j->ep.older[i];
        bool shows = m->nextents + m->nbases > 0 || !missing;
        if (m->epoch < below && shows && may_go_back(j, j->ep.last, m)) return m;
    }
    return NULL;
}

/* The last epoch's file is named, whatever else was tried: it is what `resume` tries first. */
static err_t *stays(job_t *j, err_t *why) {
    const manifest_t *last = j->ep.last;
    err_t *first = TAKE(j->ep.damage), *e = beyond(j, last, &(manifest_t){.incarnation = last->incarnation, .epoch = last->started});
    err_t *text = e ? e : first ? err_new(ERR_CORRUPT, "what is kept is damaged, too: %s", err_text(why)) : err_new(ERR_NOT_FOUND, j->ep.nolder ? "what is kept is the beginning, and nothing there shows that this is the job's storage" : "none is kept");
    if (first) err_free(why);
    first = err_hint(first ? first : why, "no older epoch can be restored instead: %s. Put the file back and `tidegate resume`, or begin from a savepoint", err_text(text));
    err_free(text);
    return first;
}

/* One that is kept might do, but storage did not show it when the attempt was raised: the next one asks again, as often as attempts may fail. */
static void ask_again(coord_t *c, job_t *j, err_t *why) {
    restart_begin(c, j, err_new(ERR_IO, "%s; what is kept cannot be read: %s", err_text(why), err_text(j->ep.unread)));
    err_free(why);
}

err_t *older_damaged(coord_t *c, job_t *j, err_t *why) {
    epochs_t *ep = &j->ep;
    const manifest_t *to = choose(j, ep->back ? ep->back->fell.to : ep->last->epoch, err_code(why) == ERR_NOT_FOUND);
    if (!ep->back) older_calm(j);
    if (!to && ep->unread) {
        ask_again(c, j, why);
        return NULL;
    }
    if (!to) return stays(j, why);
    ep->back_to = to->epoch;
    ep->back_from = ep->last->epoch;
    err_t *cause = err_new(ERR_IO, "%s; epoch %" PRIu64 " is tried instead of %" PRIu64, err_text(why), to->epoch, ep->last->epoch);
    coord_log(c, COORD_WARN, "job %" PRIu64 ": %s", j->id, err_text(cause));
    restart_begin(c, j, cause);
    ep->going_back = j->state == JOB_RESTARTING && !j->closing;
    if (ep->damage) err_free(why);
    else ep->damage = why;
    return NULL;
}

void older_calm(job_t *j) { err_free(TAKE(j->ep.damage)); }

static void keep_bounds(manifest_t *m, const manifest_t *last) {
    for (int i = 0; i < last->nlanes; i++) {
        const lane_pos_t *l = &last->lanes[i];
        lane_pos_t *p = manifest_lane(m, l->fingerprint, l->lane, true);
        p->published = MAX(p->published, l->published);
        p->started |= l->started;
    }
    m->processing_ms = MAX(m->processing_ms, last->processing_ms);
}

void older_prepare(coord_t *c, job_t *j) {
    epochs_t *ep = &j->ep;
    if (!ep->going_back) return;
    ep->going_back = false;
    const manifest_t *to = NULL;
    for (int i = 0; i < ep->nolder; i++)
        if (ep->last->epoch == ep->back_from && ep->older[i]->epoch == ep->back_to) to = ep->older[i];
    if (!to || !may_go_back(j, ep->last, to)) return; /* the last manifest is another one: it is tried first */
    manifest_t *m = ep->back = manifest_copy(to);
    manifest_alone(m);
    keep_bounds(m, ep->last);
    for (int i = 0; i < ep->nolder; i++)
        if (ep->older[i]->epoch < to->epoch) manifest_add_older(m, ep->older[i]);
    m->fell.times = ep->last->fell.times + 1;
    m->fell.from = ep->last->epoch;
    m->fell.to = to->epoch;
    m->previous = ep->last->epoch;
    m->epoch = ep->next++;
    m->leader = c->leader;
    m->attempt = j->attempt;
    m->plan_hash = j->shape->plan_hash;
}

bool older_put(coord_t *c, job_t *j) {
    if (j->ep.back) epoch_put(c, j, TAKE(j->ep.back));
    else if (j->ep.put != PUT_NONE) epoch_put_retry(c, j);
    else return false;
    return true;
}
