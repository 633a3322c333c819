/* sim_run.c: a seed from its draws to the verdict: the mix of faults (swarm: each seed its own), the faults, healing, liveness, output. */
#include "tests/sim/sim.h"
#include <stdio.h>
#include <stdlib.h>

#define FAULTS_MS 40000
#define LIVE_MS 60000 /* after the faults stop the job is done within that */

/* ---------------------------------------------------------------- the client */
static void submit(sim_t *s, void *arg) {
    bool there = etcd_record(s->etcd) != NULL;
    for (int i = 0; i < SIM_COORDS && !there; i++) {
        if (!sim_coord_leading(&s->procs[i]) || !proc_reachable(s, &s->procs[i]) || s->procs[i].paused_until > s->now) continue;
        sim_coord_submit(&s->procs[i]);
        break;
    }
    if (!there) sim_at(s, s->now + 200 * SIM_MS, NULL, submit, NULL, NULL);
}

void sim_start(sim_t *s) {
    err_t *e = NULL;
    job_shape_t *shape = NULL;
    e = sim_job_shape(s, false, &shape); /* compiles, before anything runs */
    if (e) sim_broken(s, "the job does not compile: %s", err_text(e));
    err_free(e);
    job_shape_free(shape);
    for (int i = 0; i < s->nprocs; i++) {
        if (i >= SIM_COORDS + s->mix.workers) break;
        proc_start(&s->procs[i]);
    }
    sim_at(s, s->now + 50 * SIM_MS, NULL, submit, NULL, NULL);
}

/* ---------------------------------------------------------------- faults */
static const sim_row_t aims[] = {
    ROW_BEFORE_SEAL, ROW_SEALED, ROW_TORN_APPEND, ROW_UNSYNCED, ROW_APPENDED, ROW_ACKED, ROW_COMPLETED, ROW_INIT, ROW_SEND, ROW_IN_TXN,
    ROW_COMMIT_SENT, ROW_COMMITTED, ROW_BETWEEN_PARTS, ROW_IN_BASE, ROW_BASE_STORED, ROW_DEPLOY, ROW_RESTORE, ROW_BUILT, ROW_C_RAISE, ROW_C_DEPLOY,
    ROW_C_START, ROW_C_INJECT, ROW_C_PUT, ROW_C_BODY, ROW_C_FLYING, ROW_C_STORED, ROW_C_COMPLETE, ROW_C_ACCEPT, ROW_C_DELETE, ROW_C_STOP,
};

static proc_t *some_worker(sim_t *s) { return &s->procs[SIM_COORDS + (int)sim_below(s, (uint64_t)s->mix.workers)]; }
static proc_t *some_coord(sim_t *s) {
    int leader = etcd_leader_proc(s->etcd);
    return leader >= 0 && sim_chance(s, 800) ? &s->procs[leader] : &s->procs[sim_below(s, SIM_COORDS)];
}

typedef struct back { proc_t *p; uint32_t gen; bool cut; } back_t;
static void comes_back(sim_t *s, void *arg) {
    back_t *b = arg;
    attempt_t a;
    if (b->p->alive && b->p->gen == b->gen) {
        if (b->cut) sim_reach(s, ROW_PARTITION);
        if (b->p->worker && sim_worker_runs(b->p, &a) && a < s->attempts) sim_reach(s, ROW_ZOMBIE_WORKER);
        if (b->p->coord && sim_coord_leading(b->p) && etcd_leader_proc(s->etcd) >= 0 && etcd_leader_proc(s->etcd) != b->p->index)
            sim_reach(s, ROW_ZOMBIE_LEADER);
    }
    free(b);
}
static void pause_or_cut(sim_t *s, proc_t *p, int64_t ms, bool cut) {
    if (!p->alive) return;
    s->faults++;
    int64_t until = s->now + ms * SIM_MS;
    sim_log(s, "fault: %s is %s for %" PRId64 " ms", p->name, cut ? "cut off" : "paused", ms);
    if (cut) p->cut_until = MAX(p->cut_until, until);
    else p->paused_until = MAX(p->paused_until, until);
    back_t *b = xcalloc(1, sizeof *b);
    *b = (back_t){p, p->gen, cut};
    sim_at(s, until, NULL, comes_back, b, NULL);
}
static void full_over(sim_t *s, void *arg) { disk_full(s->disk, false); }

static void crash(sim_t *s, proc_t *p) {
    if (!p->alive) return;
    s->faults++;
    proc_kill(p, sim_chance(s, 400));
    proc_restart_later(p, sim_between(s, 20, sim_chance(s, 200) ? 2500 : 700));
}
static bool of_start(sim_row_t r) {
    return r == ROW_DEPLOY || r == ROW_RESTORE || r == ROW_BUILT || r == ROW_INIT || r == ROW_C_RAISE || r == ROW_C_DEPLOY || r == ROW_C_START ||
           r == ROW_C_STOP;
}
static bool is_rare(sim_row_t r) { /* once in hundreds of ms: it is waited for */
    return r == ROW_C_ACCEPT || r == ROW_C_DELETE || r == ROW_IN_BASE || r == ROW_BASE_STORED || r == ROW_C_STOP;
}
/* Of the first worker that has one. */
static void break_some_base(sim_t *s) {
    int first = (int)sim_below(s, (uint64_t)s->mix.workers);
    for (int i = 0; i < s->mix.workers; i++) {
        if (!sim_worker_break_base(&s->procs[SIM_COORDS + (first + i) % s->mix.workers])) continue;
        s->faults++;
        return;
    }
}
/* What is drawn may find nothing to hurt, and what is armed may never be met: a fault counts where it happens. */
static void fault(sim_t *s) {
    const mix_t *m = &s->mix;
    int draw = (int)sim_below(s, 1000), sum = 0;
#define CASE(weight) if (draw >= sum && draw < (sum += (weight)))
    CASE(m->crash_worker) { crash(s, some_worker(s)); return; }
    CASE(m->crash_coord) { crash(s, some_coord(s)); return; }
    CASE(m->aim) {
        if (s->aimed >= 0 && s->now < s->aimed_until && s->aimed_own) return;
        sim_row_t row = aims[sim_below(s, ARRAY_LEN(aims))];
        sim_aim(s, row, is_rare(row) ? 0 : (int)sim_below(s, of_start(row) ? 3 : 6));
        s->aimed_until = s->now + (is_rare(row) ? 6000 : 2500) * SIM_MS;
        s->aimed_own = false;
        sim_log(s, "fault: aims at '%s'", sim_row_names[s->aimed]);
        if (of_start(row)) crash(s, some_worker(s)); /* so that there is a new attempt to die in */
        return;
    }
    CASE(m->link) {
        clink_t *l = clink_random(s);
        if (!l) return;
        s->faults++;
        sim_reach(s, ROW_LINK);
        clink_break(l);
        return;
    }
    CASE(m->data_link) {
        proc_t *a = some_worker(s), *b = some_worker(s);
        if (a == b || !xchan_break(s, a, b)) return;
        s->faults++;
        sim_reach(s, ROW_DATA_LINK);
        return;
    }
    CASE(m->pause_worker) { pause_or_cut(s, some_worker(s), sim_between(s, 100, 2500), false); return; }
    CASE(m->pause_coord) { pause_or_cut(s, some_coord(s), sim_between(s, 300, 4000), false); return; }
    CASE(m->cut) { pause_or_cut(s, &s->procs[sim_below(s, (uint64_t)(SIM_COORDS + m->workers))], sim_between(s, 100, 2500), true); return; }
    CASE(m->disk) {
        static const disk_phase_t phases[] = {DISK_WRITE, DISK_WRITE, DISK_BASE, DISK_RESTORE, DISK_BODY};
        if (sim_chance(s, 250)) break_some_base(s);
        else disk_fail_next(s->disk, phases[sim_below(s, ARRAY_LEN(phases))], 1 + (int)sim_below(s, 4), sim_chance(s, 700) ? ERR_IO : ERR_NO_SPACE);
        return;
    }
    CASE(m->disk_full) {
        sim_log(s, "fault: disk full");
        disk_full(s->disk, true);
        sim_at(s, s->now + sim_between(s, 50, 1200) * SIM_MS, NULL, full_over, NULL, NULL);
        return;
    }
    CASE(m->etcd) { etcd_fault(s->etcd); return; }
    CASE(m->kafka) { kafka_fault(s->kafka); return; }
    CASE(m->broker) { s->faults++; kafka_down(s->kafka, s->now + sim_between(s, 50, 1500) * SIM_MS); return; }
    CASE(m->drain) {
        proc_t *p = some_worker(s);
        if (!p->alive || p->paused_until > s->now) return;
        s->faults++;
        sim_worker_leave(p);
        return;
    }
#undef CASE
}
static void next_fault(sim_t *s, void *arg) {
    if (!s->faults_on) return;
    fault(s);
    sim_at(s, s->now + sim_between(s, s->mix.fault_every_ms / 4, 2 * s->mix.fault_every_ms) * SIM_MS, NULL, next_fault, NULL, NULL);
}
/* Besides what it draws, each seed has a row of its own to die at: no row depends on luck alone. */
static sim_row_t own_aim(const sim_t *s) { return aims[s->seed / JOB_KINDS % ARRAY_LEN(aims)]; }
void sim_faults(sim_t *s) {
    s->faults_on = true;
    sim_row_t own = own_aim(s);
    sim_aim(s, own, is_rare(own) || of_start(own) ? 0 : (int)sim_below(s, 12));
    s->aimed_until = s->now + 8000 * SIM_MS;
    s->aimed_own = true;
    sim_at(s, s->now + 100 * SIM_MS, NULL, next_fault, NULL, NULL);
}
void sim_heal(sim_t *s) {
    s->faults_on = false;
    s->aimed = -1;
    disk_full(s->disk, false);
    disk_fail_next(s->disk, DISK_OTHER, 0, ERR_IO);
    etcd_heal(s->etcd);
    kafka_heal(s->kafka);
    for (int i = 0; i < s->nprocs; i++) {
        s->procs[i].cut_until = 0;
        if (!s->procs[i].alive && i < SIM_COORDS + s->mix.workers) proc_restart_later(&s->procs[i], 10);
    }
    sim_log(s, "the faults are over");
}

/* ---------------------------------------------------------------- the end */
bool sim_finish(sim_t *s, int64_t within_ms) {
    int64_t until = s->now + within_ms * SIM_MS;
    while (!s->broken && s->now < until && !job_state_terminal(etcd_job_state(s->etcd)))
        if (!sim_step(s)) break;
    if (s->broken) return false;
    if (!job_state_terminal(etcd_job_state(s->etcd))) {
        for (int i = SIM_COORDS; i < s->nprocs; i++) sim_worker_describe(&s->procs[i]);
        sim_broken(s, "the job is not done %" PRId64 " ms after the faults stopped (it is at epoch %" PRIu64 ")", within_ms,
                   etcd_manifest(s->etcd) ? etcd_manifest(s->etcd)->epoch : 0);
        return false;
    }
    if (etcd_job_state(s->etcd) == JOB_FAILED && s->damage.path[0]) {
        const char *wrong = sim_damage_stops(s);
        if (wrong) sim_broken(s, "the job FAILED: %s: %s", err_text(etcd_record(s->etcd)->error), wrong);
        return !wrong;
    }
    if (etcd_job_state(s->etcd) == JOB_FAILED) {
        sim_broken(s, "the job FAILED: %s", err_text(etcd_record(s->etcd)->error));
        return false;
    }
    sim_run_until(s, s->now + 200 * SIM_MS);
    return !s->broken;
}
void sim_check_output(sim_t *s) {
    if (etcd_job_state(s->etcd) == JOB_FAILED) return; /* rightly, as sim_finish saw */
    check_stopped(s);
    AUTO(auto_free) char *why = sim_verify(s);
    if (why) sim_broken(s, "%s", why);
}

/* ---------------------------------------------------------------- a seed */
sim_t *sim_draw(uint64_t seed) {
    sim_t *s = sim_new(seed, seed % 8 == 5 ? JOB_LOOSE : (job_kind_t)(seed % JOB_KINDS));
    mix_t *m = &s->mix;
    int *weights[] = {&m->crash_worker, &m->crash_coord, &m->aim, &m->link, &m->data_link, &m->pause_worker, &m->pause_coord, &m->cut,
                      &m->disk, &m->disk_full, &m->etcd, &m->kafka, &m->broker, &m->drain};
    int sum = 0, raw[ARRAY_LEN(weights)];
    for (size_t i = 0; i < ARRAY_LEN(weights); i++) { /* about half of the kinds, with uneven weights */
        raw[i] = sim_chance(s, 500) ? (int)sim_between(s, 1, 100) : 0;
        if (weights[i] == &m->aim) raw[i] = sim_chance(s, 800) ? (int)sim_between(s, 50, 300) : raw[i];
        sum += raw[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(weights); i++) *weights[i] = sum ? raw[i] * 1000 / sum : 0;
    if (!sum) m->crash_worker = 1000;
    m->latency_us = sim_between(s, 50, 2000);
    m->disk_us = sim_between(s, 200, 8000);
    m->txn_timeout_ms = sim_chance(s, 300) ? sim_between(s, 30, 400) : 10000;
    m->memory = sim_chance(s, 400) ? (size_t)sim_between(s, 2000, 60000) : 0;
    m->file_bytes = sim_chance(s, 500) ? (uint64_t)sim_between(s, 100, 4000) : 0;
    m->workers = (int)sim_between(s, 2, SIM_WORKERS);
    for (int i = 0; i < s->nprocs; i++) s->procs[i].skew_ms = sim_between(s, -300, 300);
    s->job.interval_ms = (int)sim_between(s, 20, 60);
    int fierce = sim_chance(s, 400) ? 1 : 5;
    m->fault_every_ms = sim_between(s, fierce * s->job.interval_ms, 5 * fierce * s->job.interval_ms);
    m->stop_after = sim_chance(s, 150) ? (epoch_t)sim_between(s, 3, 35) : 0;
    m->codec = sim_chance(s, 300);
    s->job.keys = (int)sim_between(s, 3, 60);
    s->job.parallelism = (int)sim_between(s, 2, 3);
    if (s->job.kind == JOB_LOOSE) m->damage_after = (epoch_t)sim_between(s, 2, 34);
    else if (sim_chance(s, s->job.kind == JOB_WINDOW ? 500 : 150)) m->damage_after = 30;
    if (sim_chance(s, 300) || own_aim(s) == ROW_BETWEEN_PARTS) m->txn_bytes = (size_t)sim_between(s, 100, 3000);
    if (sim_chance(s, 300)) m->output_max = (size_t)sim_between(s, 1, 2000);
    s->job.distinct = s->job.kind == JOB_UPSERT && sim_chance(s, 500);
    if (s->job.distinct) s->job.keys = (int)sim_between(s, 1, 3); /* large sets */
    return s;
}

/* Asks again until the record says so: the leader it asked may die. */
static void ask_to_stop(sim_t *s, void *arg) {
    const job_record_t *r = etcd_record(s->etcd);
    if (r && (r->wanted != WANTED_RUN || job_state_terminal(r->state))) return;
    sim_at(s, s->now + 100 * SIM_MS, NULL, ask_to_stop, NULL, NULL);
    int at = etcd_leader_proc(s->etcd);
    if (!r || s->epochs < s->mix.stop_after || at < 0) return;
    proc_t *p = &s->procs[at];
    if (!sim_coord_leading(p) || !proc_reachable(s, p) || p->paused_until > s->now) return;
    sim_reach(s, ROW_STOP);
    if (s->faults_on) sim_aim(s, ROW_C_SAVE, (int)(s->mix.stop_after % 4));
    sim_coord_stop_job(p);
}

/* A job that may end by it has had its epochs and faults before. */
static void do_damage(sim_t *s, void *arg) {
    if (!s->faults_on || s->damage.path[0] || job_state_terminal(etcd_job_state(s->etcd))) return;
    bool due = s->epochs >= s->mix.damage_after && (s->job.kind == JOB_LOOSE || s->faults + 1 >= 5);
    if (!due || !sim_damage(s, s->epochs >= 30 && sim_chance(s, 250))) {
        sim_at(s, s->now + 10 * SIM_MS, NULL, do_damage, NULL, NULL);
        return;
    }
    sim_crash_workers(s);
    if (sim_chance(s, 400)) sim_aim(s, ROW_C_BACK, 0);
    if (sim_chance(s, 300)) sim_new_leader_reads_badly(s);
}

sim_result_t sim_seed(uint64_t seed, bool verbose, uint64_t *reached) {
    sim_t *s = sim_draw(seed);
    s->verbose = verbose;
    sim_start(s);
    sim_faults(s);
    if (s->mix.stop_after) sim_at(s, s->now + 100 * SIM_MS, NULL, ask_to_stop, NULL, NULL);
    if (s->mix.damage_after) sim_at(s, s->now + 100 * SIM_MS, NULL, do_damage, NULL, NULL);
    int64_t until = s->now + FAULTS_MS * SIM_MS;
    while (!s->broken && s->now < until && (s->epochs < 32 || s->faults < SIM_FAULTS) && !job_state_terminal(etcd_job_state(s->etcd)))
        if (!sim_step(s)) break;
    sim_heal(s);
    if (sim_finish(s, LIVE_MS)) sim_check_output(s);
    for (int i = 0; reached && i < ROWS; i++) reached[i] += s->reached[i];
    bool failed = etcd_job_state(s->etcd) == JOB_FAILED; /* rightly, if it is not broken */
    sim_result_t r = {.ok = !s->broken, .stopped = s->mix.stop_after != 0 || failed, .hash = s->hash,
                      .epochs = s->epochs, .faults = s->faults, .attempts = s->attempts,
                      .virtual_ms = sim_now_ms(s), .why = s->broken ? xstrdup(s->broken) : NULL};
    sim_free(s);
    return r;
}
