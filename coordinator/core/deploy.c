/* deploy.c: where a job runs. A job needs as many slots as its widest stage has subtasks: unit i is subtask i of every stage that has
 * one, in one slot. Splits go to subtasks of their source's stage. Both by assign(), with what was before as preference.
 *
 * A new job waits for its slots. A job that ran before (a worker was lost) goes on with what is left, several units in a slot, and
 * moves once there is room: an outage is worse than a slow hour. */
#include "coordinator/core/assign.h"
#include "coordinator/core/coord_int.h"
#include <stdlib.h>

static int units_of(const job_shape_t *s) {
    int n = 1;
    for (int i = 0; i < s->nstages; i++) n = MAX(n, s->stages[i].parallelism);
    return n;
}

typedef struct room { assign_bin_t *bins; int n, slots, free; } room_t;

static room_t room_make(const coord_t *c, const job_t *j, bool suspects) {
    room_t r = {.bins = xcalloc((size_t)c->nmembers + 1, sizeof *r.bins)};
    for (int i = 0; i < c->nmembers; i++) {
        const member_t *m = c->members[i];
        if (!m->session || m->draining || (!suspects && !member_usable(c, m))) continue;
        int free = member_slots_free(c, m, j);
        r.bins[r.n++] = (assign_bin_t){.id = m->id, .load = m->slots - free, .capacity = free};
        r.slots += m->slots;
        r.free += free;
    }
    return r;
}

bool deploy_fits(const coord_t *c, const job_t *j) {
    room_t r = room_make(c, j, false);
    free(r.bins);
    return r.free >= units_of(j->shape);
}

static void take_units(job_t *j, const room_t *r, int n, const int *chosen) {
    j->units = xrealloc(j->units, (size_t)n * sizeof *j->units);
    j->nunits = n;
    for (int i = 0; i < n; i++) j->units[i] = r->bins[chosen[i]].id;
}

static bool place_in(job_t *j, room_t *r, int n) {
    AUTO(auto_free) int *previous = xcalloc((size_t)n, sizeof(int));
    AUTO(auto_free) int *chosen = xcalloc((size_t)n, sizeof(int));
    for (int i = 0; i < n; i++) {
        previous[i] = ASSIGN_NONE;
        for (int b = 0; i < j->nunits && b < r->n; b++)
            if (r->bins[b].id == j->units[i]) previous[i] = b;
    }
    if (!assign(r->bins, r->n, n, previous, chosen)) return false;
    take_units(j, r, n, chosen);
    return true;
}

bool deploy_place(coord_t *c, job_t *j) {
    int n = units_of(j->shape);
    room_t r = room_make(c, j, false);
    if (r.n == 0) {
        free(r.bins);
        r = room_make(c, j, true);
    }
    bool ran = j->attempt > 1 && c->now_ms - c->leading_ms >= c->conf.settle_ms;
    j->squeezed = r.free < n;
    bool ok = !j->squeezed || (ran && r.n > 0);
    if (ok && j->squeezed) {
        for (int b = 0; b < r.n; b++) {
            r.bins[b].capacity = n;
            r.bins[b].load = 0;
        }
    }
    if (ok) ok = place_in(j, &r, n);
    if (!ok) set_text(&j->waiting, xprintf("%d slots; %d of %d are free on %d workers", n, r.free, r.slots, r.n));
    free(r.bins);
    return ok;
}

/* ---- splits */
static split_place_t *place_of(const job_t *j, uint64_t fingerprint, const char *id) {
    for (int i = 0; i < j->nplaces; i++)
        if (j->places[i].fingerprint == fingerprint && strcmp(j->places[i].id, id) == 0) return &j->places[i];
    return NULL;
}

static int source_parallelism(const job_shape_t *s, uint64_t fingerprint) {
    for (int i = 0; i < s->nsources; i++)
        if (s->sources[i].fingerprint == fingerprint) return s->stages[s->sources[i].stage].parallelism;
    return 1;
}

/* Subtasks of the splits of one source: ret[i] for splits->items[i]. `load`: splits each subtask has besides. */
static void assign_splits(const job_t *j, uint64_t fingerprint, const split_list_t *splits, const int *load, int *ret) {
    int width = source_parallelism(j->shape, fingerprint);
    AUTO(auto_free) assign_bin_t *bins = xcalloc((size_t)width, sizeof *bins);
    AUTO(auto_free) int *previous = xcalloc((size_t)splits->n + 1, sizeof(int));
    for (int b = 0; b < width; b++) bins[b] = (assign_bin_t){b, load ? load[b] : 0, splits->n};
    for (int i = 0; i < splits->n; i++) {
        const split_place_t *p = place_of(j, fingerprint, splits->items[i].id);
        previous[i] = p && p->subtask < width ? p->subtask : ASSIGN_NONE;
    }
    bool ok = assign(bins, width, splits->n, previous, ret);
    ASSERT(ok);
}

static void places_clear(split_place_t *p, int n) {
    for (int i = 0; i < n; i++) free(p[i].id);
    free(p);
}

static void deploy_splits(job_t *j, ctl_deploy_t *d) {
    const manifest_t *m = older_restored(j);
    int total = 0;
    for (int i = 0; i < m->nsources; i++) total += m->sources[i].splits.n;
    d->splits = xcalloc((size_t)total + 1, sizeof *d->splits);
    split_place_t *places = xcalloc((size_t)total + 1, sizeof *places);
    for (int i = 0; i < m->nsources; i++) {
        const source_pos_t *s = &m->sources[i];
        AUTO(auto_free) int *subtask = xcalloc((size_t)s->splits.n + 1, sizeof(int));
        assign_splits(j, s->fingerprint, &s->splits, NULL, subtask);
        for (int k = 0; k < s->splits.n; k++) {
            ctl_split_t *x = &d->splits[d->nsplits];
            *x = (ctl_split_t){s->fingerprint, subtask[k], s->splits.items[k]};
            x->split.id = xstrdup(s->splits.items[k].id);
            places[d->nsplits++] = (split_place_t){s->fingerprint, xstrdup(x->split.id), subtask[k]};
        }
    }
    places_clear(j->places, j->nplaces);
    j->places = places;
    j->nplaces = d->nsplits;
}

/* ---- the message */
static void make_workers(coord_t *c, job_t *j) {
    job_workers_clear(j);
    j->workers = xcalloc((size_t)c->nmembers, sizeof *j->workers);
    for (int i = 0; i < c->nmembers; i++) {
        bool used = false;
        for (int u = 0; u < j->nunits; u++) used |= j->units[u] == i;
        if (used) j->workers[j->nworkers++] = (job_worker_t){.member = i, .session = c->members[i]->session};
    }
}

static void deploy_tasks(job_t *j, ctl_deploy_t *d) {
    const job_shape_t *s = j->shape;
    int total = 0;
    for (int i = 0; i < s->nstages; i++) total += s->stages[i].parallelism;
    d->tasks = xcalloc((size_t)total + 1, sizeof *d->tasks);
    for (int i = 0; i < s->nstages; i++)
        for (int k = 0; k < s->stages[i].parallelism; k++) {
            int w = 0;
            while (j->workers[w].member != j->units[k]) w++;
            d->tasks[d->ntasks++] = (ctl_task_t){s->stages[i].id, k, w};
            j->workers[w].ntasks++;
        }
}

void deploy_send(coord_t *c, job_t *j) {
    make_workers(c, j);
    ctl_msg_t *m = ctl_new(CTL_DEPLOY);
    ctl_deploy_t *d = &m->deploy;
    d->spec = job_spec_copy(&j->record->spec);
    d->plan_hash = j->shape->plan_hash;
    d->parallelism = j->shape->parallelism;
    d->manifest = manifest_copy(older_restored(j));
    manifest_alone(d->manifest);
    d->lanes_only = j->lanes_only = d->manifest->final;
    d->workers = xcalloc((size_t)j->nworkers, sizeof *d->workers);
    for (int i = 0; i < j->nworkers; i++) {
        const member_t *member = member_by_id(c, j->workers[i].member);
        d->workers[d->nworkers++] = (ctl_peer_t){xstrdup(member->name), xstrdup(member->address ? member->address : "")};
    }
    deploy_tasks(j, d);
    deploy_splits(j, d);
    m->epoch = d->manifest->epoch;
    for (int i = 0; i < j->nworkers; i++) job_send(c, j, &j->workers[i], ctl_copy(m));
    ctl_free(m);
    j->deploy_ms = c->now_ms;
    j->stop_ms = 0;
}

/* ---- splits found later: read from their earliest offset, whatever the startup mode says (A8) */
static void add_found(job_t *j, uint64_t fingerprint, const split_list_t *fresh, ctl_msg_t *m) {
    int width = source_parallelism(j->shape, fingerprint);
    AUTO(auto_free) int *load = xcalloc((size_t)width, sizeof(int));
    AUTO(auto_free) int *subtask = xcalloc((size_t)fresh->n + 1, sizeof(int));
    for (int i = 0; i < j->nplaces; i++)
        if (j->places[i].fingerprint == fingerprint && j->places[i].subtask < width) load[j->places[i].subtask]++;
    assign_splits(j, fingerprint, fresh, load, subtask);
    j->places = xrealloc(j->places, (size_t)(j->nplaces + fresh->n) * sizeof *j->places);
    m->add_splits.splits = xrealloc(m->add_splits.splits, (size_t)(m->add_splits.nsplits + fresh->n) * sizeof *m->add_splits.splits);
    for (int i = 0; i < fresh->n; i++) {
        ctl_split_t *x = &m->add_splits.splits[m->add_splits.nsplits++];
        *x = (ctl_split_t){fingerprint, subtask[i], fresh->items[i]};
        x->split.id = xstrdup(fresh->items[i].id);
        j->places[j->nplaces++] = (split_place_t){fingerprint, xstrdup(x->split.id), subtask[i]};
    }
}

void deploy_splits_found(coord_t *c, job_t *j, coord_event_t *e) {
    j->finding = false;
    j->find_ms = c->now_ms;
    if (e->error || j->state != JOB_RUNNING || j->closing || j->ep.final_injected) return; /* the broker is away: later */
    ctl_msg_t *m = ctl_new(CTL_ADD_SPLITS);
    for (int s = 0; s < j->shape->nsources; s++) {
        uint64_t fingerprint = j->shape->sources[s].fingerprint;
        split_list_t fresh = {0};
        for (int i = 0; i < e->splits_found.n; i++) {
            const found_split_t *f = &e->splits_found.items[i];
            if (f->fingerprint == fingerprint && !place_of(j, fingerprint, f->split.id)) split_list_add(&fresh, &f->split);
        }
        if (fresh.n) add_found(j, fingerprint, &fresh, m);
        split_list_free(&fresh);
    }
    if (m->add_splits.nsplits) {
        coord_log(c, COORD_INFO, "job %" PRIu64 ": %d new splits", j->id, m->add_splits.nsplits);
        j->ep.worth = true;
        for (int i = 0; i < j->nworkers; i++) job_send(c, j, &j->workers[i], ctl_copy(m));
    }
    ctl_free(m);
}
