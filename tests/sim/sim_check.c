/* sim_check.c: the invariants the headers number, looked at wherever they could break. */
#include "tests/sim/sim.h"
#include <stdlib.h>

static void check_lanes(sim_t *s, const manifest_t *old, const manifest_t *now) {
    for (int i = 0; i < old->nlanes; i++) {
        const lane_pos_t *b = manifest_lane((manifest_t *)now, old->lanes[i].fingerprint, old->lanes[i].lane, false);
        if (!b || b->published < old->lanes[i].published) sim_broken(s, "the bound of lane %d goes back (A12)", old->lanes[i].lane);
        if (b && old->lanes[i].started && !b->started) sim_broken(s, "lane %d has started no more (A27)", old->lanes[i].lane);
    }
}

static void check_positions(sim_t *s, const manifest_t *old, const manifest_t *now) {
    for (int i = 0; i < old->nsources; i++) {
        const source_pos_t *a = &old->sources[i], *b = manifest_source(now, a->fingerprint);
        if (!b || b->splits.n < a->splits.n) {
            sim_broken(s, "manifest %" PRIu64 " forgets splits", now->epoch);
            return;
        }
        for (int k = 0; k < a->splits.n; k++)
            for (int m = 0; m < b->splits.n; m++) {
                const split_t *x = &a->splits.items[k], *y = &b->splits.items[m];
                if (strcmp(x->id, y->id) != 0) continue;
                if (y->position < x->position) sim_broken(s, "split %s goes back from %" PRId64 " to %" PRId64, x->id, x->position, y->position);
                if (y->watermark < x->watermark) sim_broken(s, "the watermark of split %s goes back (A9)", x->id);
            }
    }
    for (int i = 0; i < old->nstages; i++)
        if (manifest_watermark(now, old->stages[i].stage) < old->stages[i].watermark)
            sim_broken(s, "the watermark of stage %d goes back (A9)", old->stages[i].stage);
}

static bool is_there(const sim_t *s, const char *path, uint64_t bytes) { return strcmp(path, s->damage.path) == 0 || disk_has(s->disk, path, bytes); }

static void check_restorable(sim_t *s, const manifest_t *m, const char *what) {
    for (int i = 0; i < m->nextents; i++)
        if (!is_there(s, m->extents[i].path, m->extents[i].to))
            sim_broken(s, "%s %" PRIu64 " names %s up to byte %" PRIu64 ", which is not durable (A2)", what, m->epoch, m->extents[i].path, m->extents[i].to);
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++)
            if (!is_there(s, m->bases[i].files[k].path, m->bases[i].files[k].size))
                sim_broken(s, "%s %" PRIu64 " names base file %s, which is not durable", what, m->epoch, m->bases[i].files[k].path);
}

/* Manifest durable = the epoch happened: it must be able to be restored from now on. */
void check_manifest_durable(sim_t *s, const manifest_t *old, const manifest_t *now) {
    check_restorable(s, now, "manifest");
    for (int i = 0; i < etcd_nolder(s->etcd); i++) check_restorable(s, etcd_older(s->etcd, i), "the older manifest");
    if (s->job.kind == JOB_DIRECT) sim_job_check_delivered(s, now);
    if (!old) return;
    bool back = now->fell.times > old->fell.times;
    if (back) check_fell_back(s, old, now);
    if (old->final && !back) sim_broken(s, "manifest %" PRIu64 " comes after a final one (A7)", now->epoch);
    if (now->previous != old->epoch || now->epoch <= old->epoch || now->attempt < old->attempt || now->leader < old->leader)
        sim_broken(s, "manifest %" PRIu64 " (attempt %" PRIu64 ") does not follow %" PRIu64 " (attempt %" PRIu64 ") (A3)", now->epoch, now->attempt,
                   old->epoch, old->attempt);
    check_lanes(s, old, now);
    if (!back) check_positions(s, old, now);
}

static bool names(const manifest_t *m, const char *path) {
    bool named = false;
    for (int i = 0; i < m->nextents; i++) named |= strcmp(m->extents[i].path, path) == 0;
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++) named |= strcmp(m->bases[i].files[k].path, path) == 0;
    return named;
}

/* Nothing a restore needs is freed (A14), of the last epoch or of an older one that is kept, whoever asks for it. */
void check_remove(sim_t *s, const proc_t *p, const char *path) {
    const manifest_t *m = etcd_manifest(s->etcd);
    job_state_t state = etcd_job_state(s->etcd);
    bool kept = state == JOB_FAILED || (state == JOB_STOPPED && !etcd_record(s->etcd)->savepoint);
    if (!m || (job_state_terminal(state) && !kept)) return;
    bool named = etcd_manifest_path(s->etcd) && strcmp(etcd_manifest_path(s->etcd), path) == 0;
    named |= names(m, path);
    for (int i = 0; i < etcd_nolder(s->etcd); i++) {
        AUTO(auto_free) char *body = manifest_older_path(m, i);
        named |= names(etcd_older(s->etcd, i), path) || strcmp(body, path) == 0;
    }
    if (named) sim_broken(s, "%s deletes %s, which the durable manifest %" PRIu64 " names (A14)", p->name, path, m->epoch);
}

/* Of a job that was stopped the state is somewhere, whole: in its savepoint, or in its own files. */
void check_stopped(sim_t *s) {
    const job_record_t *r = etcd_record(s->etcd);
    if (!r || r->state != JOB_STOPPED) return;
    manifest_t *m = NULL;
    AUTO(auto_free) char *prefix = r->savepoint ? xprintf("%s/", r->savepoint) : xstrdup("");
    if (r->savepoint) {
        AUTO(buf_free) buf_t text = buf_make((size_t)64 << 20);
        AUTO(auto_free) char *path = xprintf("%sMANIFEST.json", prefix);
        err_t *e = disk_read_all(s->disk, path, &text);
        if (!e) e = manifest_parse(buf_slice(&text), &m);
        if (e) sim_broken(s, "the job is STOPPED with its savepoint %s: %s", r->savepoint, err_text(e));
        err_free(e);
        if (m && m->epoch != etcd_manifest(s->etcd)->epoch) sim_broken(s, "the savepoint of the stop holds epoch %" PRIu64, m->epoch);
    } else {
        m = manifest_copy(etcd_manifest(s->etcd));
    }
    for (int i = 0; m && i < m->nextents; i++) {
        AUTO(auto_free) char *path = xprintf("%s%s", prefix, m->extents[i].path);
        if (!is_there(s, path, m->extents[i].to)) sim_broken(s, "%s of the STOPPED job's only copy is not durable (A7)", path);
    }
    for (int i = 0; m && i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++) {
            AUTO(auto_free) char *path = xprintf("%s%s", prefix, m->bases[i].files[k].path);
            if (!is_there(s, path, m->bases[i].files[k].size)) sim_broken(s, "%s of the STOPPED job's only copy is not durable (A7)", path);
        }
    manifest_free(m);
}

void check_send(sim_t *s, const proc_t *p, const ctl_msg_t *m) {
    const manifest_t *d = etcd_manifest(s->etcd);
    epoch_t durable = d ? d->epoch : 0;
    bool leads = etcd_leader_proc(s->etcd) == p->index && m->leader == etcd_leader(s->etcd);
    switch (m->kind) {
    case CTL_COMPLETE:
        if (m->epoch > durable) sim_broken(s, "%s completes epoch %" PRIu64 ", the last durable is %" PRIu64, p->name, m->epoch, durable);
        break;
    case CTL_DEPLOY:
        if (leads && m->attempt == s->attempts && m->deploy.manifest->epoch != durable && !(s->damage.path[0] && m->deploy.manifest->previous == durable))
            sim_broken(s, "attempt %" PRIu64 " begins at %" PRIu64 ", durable is %" PRIu64 " (A3)", m->attempt, m->deploy.manifest->epoch, durable);
        break;
    case CTL_INJECT:
        if (m->attempt > s->inject_attempt) {
            s->inject_before = s->inject_max;
            s->inject_attempt = m->attempt;
        }
        if (m->attempt < s->inject_attempt) break; /* a leader that is none any more: the workers are fenced against it */
        if (m->epoch <= s->inject_before) sim_broken(s, "epoch id %" PRIu64 " is injected in two attempts (A1)", m->epoch);
        if (m->epoch < s->inject_max) sim_broken(s, "epoch id %" PRIu64 " is injected after %" PRIu64, m->epoch, s->inject_max);
        s->inject_max = MAX(s->inject_max, m->epoch);
        break;
    default: break;
    }
}
