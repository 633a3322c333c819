/* sim_damage.c: a file of checkpoint storage is damaged under a job, and what may come of it.
 *
 * One file that the last manifest names: a bit turns, its end is gone, or all of it; mostly in bytes that at least one older epoch that is kept does
 * without, late in a seed also in any.
 * All workers die then, so that somebody has to read it. Then either
 *   - the job goes back: its next manifest is that of the older epoch under a new id, what it needs is whole, and no lane had rows beyond
 *     it (check_fell_back); exactly-once output is checked as ever; or
 *   - it FAILED, with the name of that file, and rightly: what was damaged is needed by the last manifest and by each older one that could be
 *     restored still (a manifest that was on its way may have used them up). */
#include "tests/sim/sim.h"
#include <stdio.h>
#include <stdlib.h>

#define LOOKS_MAX 64

static bool needs(const sim_t *s, const manifest_t *m) {
    const damage_t *d = &s->damage;
    for (int i = 0; i < m->nextents; i++) {
        const extent_t *x = &m->extents[i];
        if (strcmp(x->path, d->path) == 0 && d->at < x->to && (d->how != DAMAGE_BIT || d->at >= x->from)) return true;
    }
    for (int i = 0; i < m->nbases; i++)
        for (int k = 0; k < m->bases[i].nfiles; k++)
            if (strcmp(m->bases[i].files[k].path, d->path) == 0) return true;
    return false;
}

static bool beyond(const manifest_t *last, const manifest_t *to) {
    for (int i = 0; i < last->nlanes; i++)
        if (last->lanes[i].last_rows > to->epoch) return true;
    return false;
}

/* Bytes of `m`, that `kept` does not name; false: none in what was drawn. */
static bool choose(sim_t *s, const manifest_t *m, const manifest_t *kept, bool any) {
    int total = m->nextents;
    for (int i = 0; i < m->nbases; i++) total += m->bases[i].nfiles;
    if (!total) return false;
    int at = (int)sim_below(s, (uint64_t)total);
    damage_t d = {.how = (damage_how_t)sim_below(s, 3)};
    if (d.how == DAMAGE_GONE && !any && kept->nextents + kept->nbases == 0) return false; /* nobody goes back to the beginning for a missing file */
    const char *path = NULL;
    if (at < m->nextents) {
        path = m->extents[at].path;
        uint64_t from = m->extents[at].from;
        for (int i = 0; i < kept->nextents; i++)
            if (strcmp(kept->extents[i].path, path) == 0) from = MAX(from, kept->extents[i].to);
        if (from >= m->extents[at].to) return false;
        d.at = from + sim_below(s, m->extents[at].to - from);
    } else {
        at -= m->nextents;
        for (int i = 0; i < m->nbases && !path; at -= m->bases[i++].nfiles)
            if (at < m->bases[i].nfiles) {
                path = m->bases[i].files[at].path;
                d.at = sim_below(s, MAX(m->bases[i].files[at].size, (uint64_t)1));
            }
    }
    snprintf(d.path, sizeof d.path, "%s", path);
    s->damage = d;
    if (!needs(s, kept) && d.how == DAMAGE_GONE) s->damage.at = 0;
    if (!needs(s, kept)) return true;
    s->damage = (damage_t){0};
    return false;
}

bool sim_damage(sim_t *s, bool any) {
    const manifest_t *m = etcd_manifest(s->etcd);
    int n = any ? 0 : etcd_nolder(s->etcd);
    for (int i = 0; m && (n > 0 || any) && i < LOOKS_MAX; i++) {
        const manifest_t *kept = n ? etcd_older(s->etcd, (int)sim_below(s, (uint64_t)n)) : &(manifest_t){0};
        if (n && beyond(m, kept)) sim_broken(s, "epoch %" PRIu64 " is kept although a lane has rows beyond it (A4)", kept->epoch);
        if (!choose(s, m, kept, any)) continue;
        sim_log(s, "fault: %s is damaged at byte %" PRIu64 " (%d)%s", s->damage.path, s->damage.at, (int)s->damage.how, n ? "; an older epoch does without" : "");
        disk_damage_at(s->disk, &s->damage);
        s->faults++;
        return true;
    }
    return false;
}

void sim_crash_workers(sim_t *s) {
    for (int w = SIM_COORDS; w < s->nprocs; w++) {
        if (!s->procs[w].alive) continue;
        proc_kill(&s->procs[w], false);
        proc_restart_later(&s->procs[w], sim_between(s, 10, 300));
    }
}

void sim_new_leader_reads_badly(sim_t *s) {
    int at = etcd_leader_proc(s->etcd);
    if (at < 0 || !s->procs[at].alive) return;
    proc_kill(&s->procs[at], false);
    proc_restart_later(&s->procs[at], sim_between(s, 10, 300));
    disk_fail_next(s->disk, DISK_BODY, 2, ERR_IO); /* behind the body of the last */
}

/* A manifest that follows another one by going back. */
void check_fell_back(sim_t *s, const manifest_t *old, const manifest_t *now) {
    sim_reach(s, now->nlanes ? ROW_LANES_BACK : ROW_FELL_BACK);
    if (!s->damage.path[0]) sim_broken(s, "the job goes back though no file was damaged");
    if (needs(s, now)) sim_broken(s, "the job goes back to epoch %" PRIu64 ", which is damaged, too", now->fell.to);
    if (now->fell.from != old->epoch || now->fell.to >= old->epoch || now->final) sim_broken(s, "the job goes back from %" PRIu64 " to %" PRIu64, now->fell.from, now->fell.to);
    for (int i = 0; i < old->nlanes; i++)
        if (old->lanes[i].last_rows > now->fell.to) sim_broken(s, "the job goes back behind output of lane %d that may be published (A4)", old->lanes[i].lane);
}

/* NULL: the job is FAILED by what was damaged, and could not have gone on; else what is wrong with that. */
const char *sim_damage_stops(sim_t *s) {
    const err_t *e = etcd_record(s->etcd)->error;
    const manifest_t *m = etcd_manifest(s->etcd);
    const char *name = strrchr(s->damage.path, '/');
    if (!name) return "no file was damaged";
    if ((err_code(e) != ERR_CORRUPT && err_code(e) != ERR_NOT_FOUND) || !strstr(err_text(e), name)) return "that is not the file that was damaged";
    if (!needs(s, m)) return "the last manifest does without";
    for (int i = 0; i < etcd_nolder(s->etcd); i++) {
        const manifest_t *kept = etcd_older(s->etcd, i);
        bool shows = kept->nextents + kept->nbases > 0 || err_code(e) != ERR_NOT_FOUND;
        if (shows && !needs(s, kept) && !beyond(m, kept)) return "an older epoch could have been restored";
    }
    sim_reach(s, ROW_DAMAGE_STOPS);
    return NULL;
}
