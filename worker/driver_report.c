/* driver_report.c: what a worker says about itself: heartbeats and the status document. The control thread, but for worker_status. */
#include "common/clock.h"
#include "common/json.h"
#include "worker/driver_int.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STATUS_WAIT_MS 1000

uint64_t process_rss(void) {
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    unsigned long long size = 0, resident = 0;
    if (n <= 0 || sscanf(text, "%llu %llu", &size, &resident) != 2) return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

#define BLOCKED_PERMILLE_SAID 10 /* from then on `tidegate job` names the link */

static uint32_t permille(uint64_t ns, int64_t span_ns) {
    return span_ns <= 0 ? 0 : (uint32_t)MIN(ns * 1000 / (uint64_t)span_ns, (uint64_t)1000);
}

#define RATE_NS 500000000 /* a rate is taken over at least so long: rows come in batches */

static void look_at_rate(runtime_task_t *t, const task_stats_t *s, int64_t now_ns) {
    int64_t span = now_ns - t->rate.ns;
    if (t->rate.ns && span < RATE_NS) return;
    if (t->rate.ns) {
        t->rate.in_rate = (uint64_t)((double)(s->rows_in - t->rate.in) * 1e9 / (double)span);
        t->rate.out_rate = (uint64_t)((double)(s->rows_out - t->rate.out) * 1e9 / (double)span);
    }
    t->rate.ns = now_ns;
    t->rate.in = s->rows_in;
    t->rate.out = s->rows_out;
}

static task_report_t report_task(runtime_task_t *t, int64_t span_ns, int64_t now_ns) {
    slot_task_stats_t s;
    slot_task_stats(t->slot, &s);
    look_at_rate(t, &s.task, now_ns);
    task_report_t r = {
        .stage = t->stage,
        .subtask = t->subtask,
        .rows_in = s.task.rows_in,
        .rows_out = s.task.rows_out,
        .late_rows = s.task.late_rows,
        .bad_records = s.task.bad_records,
        .stale_records = s.task.stale_records,
        .dropped_rows = s.task.dropped_rows,
        .bytes_in = s.task.bytes_in,
        .state_entries = s.task.state_entries,
        .state_bytes = s.task.state_bytes,
        .rows_in_rate = t->rate.in_rate,
        .rows_out_rate = t->rate.out_rate,
        .epoch_ms = t->epoch_ms,
        .watermark = s.task.watermark,
        .busy_permille = permille(s.busy_ns - t->last.busy_ns, span_ns),
        .blocked_permille = permille(s.task.blocked_ns - t->last.task.blocked_ns, span_ns),
        .holds_time = s.holds_time[0] ? xstrdup(s.holds_time) : NULL,
    };
    const ctl_task_t *on = r.blocked_permille >= BLOCKED_PERMILLE_SAID ? runtime_placed(t->rt, s.task.blocked_stage, s.task.blocked_subtask) : NULL;
    if (on) r.blocked_on = xprintf("stage %d subtask %d at %s", on->stage, on->subtask, t->rt->deploy->deploy.workers[on->worker].name);
    t->last = s;
    return r;
}

uint64_t runtime_progress(const runtime_t *rt) {
    uint64_t n = 0;
    for (int i = 0; i < rt->ntasks; i++) {
        slot_task_stats_t s;
        slot_task_stats(rt->tasks[i].slot, &s);
        n += slot_task_progress(&s);
    }
    return n;
}

/* Statistics lag a little behind: what is counted as new may lie in the last epoch already, never the other way round. */
bool runtime_busy(const runtime_t *rt) {
    if (!rt->started || rt->tearing || !rt->lanes) return false;
    if (rt->state && kstate_env_hold(rt->state) && kstate_env_unsealed(rt->state)) return true; /* sources wait for the epoch that seals it */
    return runtime_progress(rt) != rt->progress_injected || lanes_unpublished(rt->lanes) > 0;
}

static bool reported(const runtime_t *rt) { return !rt->building && !rt->tearing && rt->lanes; }

/* What the first task that waits for something outside says, malloc'ed, or NULL. */
static char *tasks_waiting(const runtime_t *rt) {
    for (int i = 0; i < rt->ntasks; i++) {
        slot_task_stats_t s;
        slot_task_stats(rt->tasks[i].slot, &s);
        if (s.waits_for[0]) return xstrdup(s.waits_for);
    }
    return NULL;
}

static const char *stateful_op(const plan_stage_t *s) {
    for (int i = 0; i < s->nops; i++) {
        const op_vtable_t *v = op_vtable_of(s->ops[i]->kind);
        if (v && v->state) return op_kind_name(s->ops[i]->kind);
    }
    return "an operator";
}

/* Sources are held: which stage holds the memory, and what it waits for; malloc'ed, or NULL. */
static char *memory_waiting(const runtime_t *rt) {
    if (!kstate_env_hold(rt->state) || kstate_env_output_full(rt->state)) return NULL;
    uint64_t most = 0;
    int stage = 0;
    for (int i = 0; i < rt->ntasks; i++) {
        slot_task_stats_t s;
        slot_task_stats(rt->tasks[i].slot, &s);
        if (s.task.state_bytes < most) continue;
        most = s.task.state_bytes;
        stage = rt->tasks[i].stage;
    }
    AUTO(auto_free) char *full = !kstate_env_spill_full(rt->state) ? NULL : xprintf(". Evicting goes by way of the local base, for files of evicted state have no room below"
                                 " %s: less than 1 GB (or a twentieth) of the disk, or half of the descriptors. Free some", rt->w->conf.data_dir);
    return xprintf("memory: %s of stage %d holds %zu MB of the %zu MB that are left for state: sources wait until %s%s", stateful_op(rt->plan->stages[stage]),
                   stage, kstate_env_used(rt->state) >> 20, kstate_env_memory(rt->state) >> 20,
                   kstate_env_unsealed(rt->state) ? "the next epoch is complete" : "complete epochs are in the local base", full ? full : "");
}

static char *output_waiting(const runtime_t *rt) {
    if (!kstate_env_output_full(rt->state)) return NULL;
    return xprintf("output: %zu MB wait to be published, its share of --memory is %zu MB: sources wait", kstate_env_output_bytes(rt->state) >> 20,
                   kstate_env_output_max(rt->state) >> 20);
}

static job_report_t report_job(worker_t *w, runtime_t *rt, int64_t span_ns, int64_t now_ns) {
    job_report_t r = {.job = rt->job, .attempt = rt->attempt};
    r.tasks = xcalloc((size_t)rt->ntasks + 1, sizeof *r.tasks);
    r.ntasks = rt->ntasks;
    for (int i = 0; i < rt->ntasks; i++) r.tasks[i] = report_task(&rt->tasks[i], span_ns, now_ns);
    lanes_report(rt->lanes, now_ns / 1000000, &r.nlanes, &r.lanes);
    const char *waiting = agent_waiting(w->agent, rt->job);
    r.waiting = waiting ? xstrdup(waiting) : base_waiting(w->base, rt->job, rt->attempt);
    if (!r.waiting) r.waiting = output_waiting(rt);
    if (!r.waiting) r.waiting = memory_waiting(rt);
    if (!r.waiting) r.waiting = tasks_waiting(rt);
    for (int i = 0; i < r.nlanes && !r.waiting; i++)
        if (r.lanes[i].waits_for) r.waiting = xstrdup(r.lanes[i].waits_for);
    if (!r.waiting && atomic_load(&rt->held)) r.waiting = xstrdup("the next epoch: sources wait");
    atomic_store(&rt->busy_reported, false); /* before the look */
    r.busy = runtime_busy(rt);
    if (r.busy) atomic_store(&rt->busy_reported, true);
    r.full = r.busy && rt->state && kstate_env_hold(rt->state);
    return r;
}

/* ---------------------------------------------------------------- the status document */
static void status_task(json_writer_t *j, const task_report_t *t) {
    jw_object(j);
    jw_kv_i64(j, "stage", t->stage);
    jw_kv_i64(j, "subtask", t->subtask);
    task_report_json(j, t);
    jw_name(j, "watermark");
    if (t->watermark == WATERMARK_NONE || t->watermark == WATERMARK_END) jw_null(j);
    else jw_i64(j, t->watermark);
    jw_end_object(j);
}

static void status_job(json_writer_t *j, worker_t *w, const job_report_t *r) {
    const runtime_t *rt = worker_runtime(w, r->job, r->attempt);
    jw_object(j);
    jw_kv_u64(j, "job", r->job);
    jw_kv_str(j, "name", rt ? rt->deploy->deploy.spec.name : NULL);
    jw_kv_u64(j, "attempt", r->attempt);
    jw_kv_bool(j, "busy", r->busy);
    jw_kv_str(j, "waiting", r->waiting);
    jw_kv_i64(j, "tables_without_files", rt && rt->state ? kstate_env_spill_full(rt->state) : 0);
    jw_name(j, "tasks");
    jw_array(j);
    for (int i = 0; i < r->ntasks; i++) status_task(j, &r->tasks[i]);
    jw_end_array(j);
    jw_name(j, "lanes");
    jw_array(j);
    for (int i = 0; i < r->nlanes; i++) {
        jw_object(j);
        jw_kv_str(j, "sink", rt ? lanes_label(rt->lanes, r->lanes[i].fingerprint, r->lanes[i].lane) : NULL);
        jw_kv_i64(j, "lane", r->lanes[i].lane);
        jw_kv_str(j, "state", r->lanes[i].state);
        jw_kv_u64(j, "published", r->lanes[i].published);
        jw_kv_u64(j, "pending_bytes", r->lanes[i].pending_bytes);
        jw_kv_str(j, "waits_for", r->lanes[i].waits_for);
        jw_end_object(j);
    }
    jw_end_array(j);
    jw_end_object(j);
}

void worker_write_status(worker_t *w, const ctl_msg_t *m) {
    endpoint_stats_t e;
    endpoint_stats(w->endpoint, &e);
    pthread_mutex_lock(&w->status_lock);
    buf_clear(&w->status);
    json_writer_t j = json_writer(&w->status);
    jw_object(&j);
    jw_kv_str(&j, "worker", w->conf.name);
    jw_kv_str(&j, "address", w->address);
    jw_kv_str(&j, "coordinator", agent_here(w->agent) ? agent_coordinator(w->agent) : NULL);
    jw_kv_u64(&j, "leader", agent_leader(w->agent));
    jw_kv_i64(&j, "slots", w->nslots);
    jw_kv_u64(&j, "memory", w->conf.memory);
    jw_kv_u64(&j, "rss", m->heartbeat.rss);
    jw_name(&j, "shuffle");
    jw_object(&j);
    jw_kv_u64(&j, "frames_in", e.frames_in);
    jw_kv_u64(&j, "frames_out", e.frames_out);
    jw_kv_u64(&j, "bytes_in", e.bytes_in);
    jw_kv_u64(&j, "bytes_out", e.bytes_out);
    jw_kv_u64(&j, "fenced_frames", e.fenced);
    jw_kv_u64(&j, "rejected_connections", e.rejected);
    jw_kv_i64(&j, "connections", e.connections);
    jw_end_object(&j);
    jw_name(&j, "jobs");
    jw_array(&j);
    for (int i = 0; i < m->heartbeat.njobs; i++) status_job(&j, w, &m->heartbeat.jobs[i]);
    jw_end_array(&j);
    jw_end_object(&j);
    w->rendered++;
    pthread_cond_broadcast(&w->status_there);
    pthread_mutex_unlock(&w->status_lock);
}

/* A control thread that does not answer is no reason to say nothing: the document of before then. */
void worker_status(worker_t *w, buf_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += STATUS_WAIT_MS / 1000;
    pthread_mutex_lock(&w->status_lock);
    uint64_t before = w->rendered;
    worker_post(w, (note_t){.kind = NOTE_STATUS});
    while (w->rendered == before && pthread_cond_clockwait(&w->status_there, &w->status_lock, CLOCK_MONOTONIC, &t) == 0) {}
    if (w->status.len) buf_put(out, w->status.data, w->status.len);
    else buf_puts(out, "{}");
    pthread_mutex_unlock(&w->status_lock);
}

ctl_msg_t *worker_heartbeat(worker_t *w) {
    ctl_msg_t *m = ctl_new(CTL_HEARTBEAT);
    m->leader = agent_leader(w->agent);
    int64_t now = clock_mono_ns(), span = w->heartbeat_ns ? now - w->heartbeat_ns : 0;
    w->heartbeat_ns = now;
    int n = 0;
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) n++;
    m->heartbeat.jobs = xcalloc((size_t)n + 1, sizeof *m->heartbeat.jobs);
    for (runtime_t *rt = w->runtimes; rt; rt = rt->next) {
        if (reported(rt)) m->heartbeat.jobs[m->heartbeat.njobs++] = report_job(w, rt, span, now);
        else if (rt->said) m->heartbeat.jobs[m->heartbeat.njobs++] = (job_report_t){.job = rt->job, .attempt = rt->attempt, .waiting = runtime_hangs(rt)};
    }
    for (int i = 0; i < w->nslots; i++) m->heartbeat.slots_used += atomic_load(&w->slot_load[i]); /* rt->ntasks is the builder's while it builds */
    m->heartbeat.slots_used = MIN(m->heartbeat.slots_used, w->nslots);
    m->heartbeat.rss = process_rss();
    return m;
}
