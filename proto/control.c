#include "proto/control.h"
#include "common/crash.h"
#include "common/json.h"
#include <stdlib.h>

const char *ctl_kind_name(ctl_kind_t k) {
    switch (k) {
    case CTL_REGISTER: return "REGISTER";
    case CTL_HEARTBEAT: return "HEARTBEAT";
    case CTL_DEPLOYED: return "DEPLOYED";
    case CTL_ACK: return "ACK";
    case CTL_PUBLISHED: return "PUBLISHED";
    case CTL_BASE_DONE: return "BASE_DONE";
    case CTL_FAILED: return "FAILED";
    case CTL_STOPPED: return "STOPPED";
    case CTL_ENDED: return "ENDED";
    case CTL_DRAIN: return "DRAIN";
    case CTL_PROBE: return "PROBE";
    case CTL_WELCOME: return "WELCOME";
    case CTL_DEPLOY: return "DEPLOY";
    case CTL_START: return "START";
    case CTL_INJECT: return "INJECT";
    case CTL_COMPLETE: return "COMPLETE";
    case CTL_BASE_ACCEPTED: return "BASE_ACCEPTED";
    case CTL_STOP: return "STOP";
    case CTL_ADD_SPLITS: return "ADD_SPLITS";
    case CTL_RELEASE: return "RELEASE";
    case CTL_GOODBYE: return "GOODBYE";
    case CTL_ALIVE: return "ALIVE";
    }
    return "?";
}

int ctl_version_min(void) { return CONTROL_VERSION_MIN + version_shift(); }
int ctl_version_max(void) { return CONTROL_VERSION_MAX + version_shift(); }

ctl_msg_t *ctl_new(ctl_kind_t kind) {
    ctl_msg_t *m = xcalloc(1, sizeof *m);
    m->kind = kind;
    return m;
}

/* ---- pieces; copy_x returns a deep copy, done_x frees the content */
static char *dup_or_null(const char *s) { return s ? xstrdup(s) : NULL; }
static void *copy_array(const void *p, int n, size_t size) {
    if (n <= 0) return NULL;
    void *q = xmalloc((size_t)n * size);
    memcpy(q, p, (size_t)n * size);
    return q;
}

job_spec_t job_spec_copy(const job_spec_t *s) {
    job_spec_t r = {.name = dup_or_null(s->name), .sql = dup_or_null(s->sql), .file = dup_or_null(s->file), .nset = s->nset,
                    .parallelism = s->parallelism};
    if (s->nset > 0) {
        r.set_keys = xcalloc((size_t)s->nset, sizeof(char *));
        r.set_values = xcalloc((size_t)s->nset, sizeof(char *));
    }
    for (int i = 0; i < s->nset; i++) {
        r.set_keys[i] = dup_or_null(s->set_keys[i]);
        r.set_values[i] = dup_or_null(s->set_values[i]);
    }
    return r;
}

void job_spec_free(job_spec_t *s) {
    for (int i = 0; i < s->nset; i++) {
        free(s->set_keys[i]);
        free(s->set_values[i]);
    }
    free(s->set_keys);
    free(s->set_values);
    free(s->name);
    free(s->sql);
    free(s->file);
    *s = (job_spec_t){0};
}

static split_list_t split_list_copy(const split_list_t *l) {
    split_list_t r = {0};
    for (int i = 0; i < l->n; i++) split_list_add(&r, &l->items[i]);
    return r;
}

static ctl_split_t *splits_copy(const ctl_split_t *s, int n) {
    ctl_split_t *r = copy_array(s, n, sizeof *s);
    for (int i = 0; i < n; i++) r[i].split.id = dup_or_null(s[i].split.id);
    return r;
}
static void splits_free(ctl_split_t *s, int n) {
    for (int i = 0; i < n; i++) free(s[i].split.id);
    free(s);
}

static ctl_deploy_t deploy_copy(const ctl_deploy_t *d) {
    ctl_deploy_t r = *d;
    r.spec = job_spec_copy(&d->spec);
    r.workers = copy_array(d->workers, d->nworkers, sizeof *d->workers);
    for (int i = 0; i < d->nworkers; i++) {
        r.workers[i].name = dup_or_null(d->workers[i].name);
        r.workers[i].address = dup_or_null(d->workers[i].address);
    }
    r.tasks = copy_array(d->tasks, d->ntasks, sizeof *d->tasks);
    r.splits = splits_copy(d->splits, d->nsplits);
    r.manifest = d->manifest ? manifest_copy(d->manifest) : NULL;
    return r;
}
static void deploy_done(ctl_deploy_t *d) {
    job_spec_free(&d->spec);
    for (int i = 0; i < d->nworkers; i++) {
        free(d->workers[i].name);
        free(d->workers[i].address);
    }
    free(d->workers);
    free(d->tasks);
    splits_free(d->splits, d->nsplits);
    manifest_free(d->manifest);
}

static ctl_ack_t ack_copy(const ctl_ack_t *a) {
    ctl_ack_t r = *a;
    r.extent.path = dup_or_null(a->extent.path);
    r.sources = copy_array(a->sources, a->nsources, sizeof *a->sources);
    for (int i = 0; i < a->nsources; i++) r.sources[i].splits = split_list_copy(&a->sources[i].splits);
    r.stages = copy_array(a->stages, a->nstages, sizeof *a->stages);
    r.lanes = copy_array(a->lanes, a->nlanes, sizeof *a->lanes);
    return r;
}
void ctl_ack_done(ctl_ack_t *a) {
    free(a->extent.path);
    for (int i = 0; i < a->nsources; i++) split_list_free(&a->sources[i].splits);
    free(a->sources);
    free(a->stages);
    free(a->lanes);
    *a = (ctl_ack_t){0};
}

static job_report_t report_copy(const job_report_t *j) {
    job_report_t r = *j;
    r.tasks = copy_array(j->tasks, j->ntasks, sizeof *j->tasks);
    for (int i = 0; i < j->ntasks; i++) {
        r.tasks[i].holds_time = dup_or_null(j->tasks[i].holds_time);
        r.tasks[i].blocked_on = dup_or_null(j->tasks[i].blocked_on);
    }
    r.lanes = copy_array(j->lanes, j->nlanes, sizeof *j->lanes);
    for (int i = 0; i < j->nlanes; i++) {
        r.lanes[i].state = dup_or_null(j->lanes[i].state);
        r.lanes[i].waits_for = dup_or_null(j->lanes[i].waits_for);
    }
    r.waiting = dup_or_null(j->waiting);
    return r;
}
void job_report_done(job_report_t *r) {
    for (int i = 0; i < r->ntasks; i++) {
        free(r->tasks[i].holds_time);
        free(r->tasks[i].blocked_on);
    }
    free(r->tasks);
    for (int i = 0; i < r->nlanes; i++) {
        free(r->lanes[i].state);
        free(r->lanes[i].waits_for);
    }
    free(r->lanes);
    free(r->waiting);
    *r = (job_report_t){0};
}

/* ---- messages */
ctl_msg_t *ctl_copy(const ctl_msg_t *m) {
    ctl_msg_t *r = xmalloc(sizeof *r);
    *r = *m;
    r->error = err_copy(m->error);
    switch (m->kind) {
    case CTL_REGISTER:
        r->reg.name = dup_or_null(m->reg.name);
        r->reg.address = dup_or_null(m->reg.address);
        r->reg.build = dup_or_null(m->reg.build);
        break;
    case CTL_HEARTBEAT:
        r->heartbeat.jobs = copy_array(m->heartbeat.jobs, m->heartbeat.njobs, sizeof *m->heartbeat.jobs);
        for (int i = 0; i < m->heartbeat.njobs; i++) r->heartbeat.jobs[i] = report_copy(&m->heartbeat.jobs[i]);
        break;
    case CTL_ACK: r->ack = ack_copy(&m->ack); break;
    case CTL_BASE_DONE: base_copy(&r->base_done.base, &m->base_done.base); break;
    case CTL_FAILED: r->failed.where = dup_or_null(m->failed.where); break;
    case CTL_WELCOME:
        r->welcome.coordinator = dup_or_null(m->welcome.coordinator);
        r->welcome.storage = dup_or_null(m->welcome.storage);
        break;
    case CTL_DEPLOY: r->deploy = deploy_copy(&m->deploy); break;
    case CTL_ADD_SPLITS: r->add_splits.splits = splits_copy(m->add_splits.splits, m->add_splits.nsplits); break;
    default: break;
    }
    return r;
}

void ctl_free(ctl_msg_t *m) {
    if (!m) return;
    switch (m->kind) {
    case CTL_REGISTER:
        free(m->reg.name);
        free(m->reg.address);
        free(m->reg.build);
        break;
    case CTL_HEARTBEAT:
        for (int i = 0; i < m->heartbeat.njobs; i++) job_report_done(&m->heartbeat.jobs[i]);
        free(m->heartbeat.jobs);
        break;
    case CTL_ACK: ctl_ack_done(&m->ack); break;
    case CTL_BASE_DONE: base_done(&m->base_done.base); break;
    case CTL_FAILED: free(m->failed.where); break;
    case CTL_WELCOME:
        free(m->welcome.coordinator);
        free(m->welcome.storage);
        break;
    case CTL_DEPLOY: deploy_done(&m->deploy); break;
    case CTL_ADD_SPLITS: splits_free(m->add_splits.splits, m->add_splits.nsplits); break;
    default: break;
    }
    err_free(m->error);
    free(m);
}

static void print_split(buf_t *out, const ctl_split_t *s) {
    buf_printf(out, " %s@%" PRId64, s->split.id ? s->split.id : "?", s->split.position);
    if (s->split.end >= 0) buf_printf(out, "..%" PRId64, s->split.end);
    buf_printf(out, ">%d", s->subtask);
}

static void print_deploy(buf_t *out, const ctl_deploy_t *d) {
    buf_printf(out, " parallelism=%d workers=", d->parallelism);
    for (int i = 0; i < d->nworkers; i++) buf_printf(out, "%s%s", i ? "," : "", d->workers[i].name);
    buf_puts(out, " tasks=");
    for (int i = 0; i < d->ntasks; i++)
        buf_printf(out, "%s%d/%d:%s", i ? "," : "", d->tasks[i].stage, d->tasks[i].subtask,
                   d->tasks[i].worker >= 0 && d->tasks[i].worker < d->nworkers ? d->workers[d->tasks[i].worker].name : "?");
    if (d->manifest) buf_printf(out, " restore=%" PRIu64, d->manifest->epoch);
    if (d->lanes_only) buf_puts(out, " lanes-only");
    for (int i = 0; i < d->nsplits; i++) print_split(out, &d->splits[i]);
}

static void print_ack(buf_t *out, const ctl_ack_t *a) {
    buf_printf(out, " rows=%" PRIu64 " bytes=%" PRIu64, a->rows, a->bytes);
    if (a->extent.path) buf_printf(out, " extent=%s:%" PRIu64 "-%" PRIu64, a->extent.path, a->extent.from, a->extent.to);
    for (int i = 0; i < a->nlanes; i++) buf_printf(out, " lane%d=%" PRIu64, a->lanes[i].lane, a->lanes[i].rows);
    if (a->ended) buf_puts(out, " ended");
    if (a->want_base) buf_puts(out, " want-base");
}

void ctl_print(buf_t *out, const ctl_msg_t *m) {
    buf_puts(out, ctl_kind_name(m->kind));
    if (m->job) buf_printf(out, " job=%" PRIu64, m->job);
    if (m->attempt) buf_printf(out, " attempt=%" PRIu64, m->attempt);
    if (m->epoch) buf_printf(out, " epoch=%" PRIu64, m->epoch);
    if (m->flags && m->kind != CTL_GOODBYE) buf_printf(out, " flags=%" PRIu32, m->flags);
    switch (m->kind) {
    case CTL_REGISTER: buf_printf(out, " name=%s slots=%d", m->reg.name, m->reg.slots); break;
    case CTL_HEARTBEAT: buf_printf(out, " jobs=%d", m->heartbeat.njobs); break;
    case CTL_ACK: print_ack(out, &m->ack); break;
    case CTL_PUBLISHED: buf_printf(out, " lane=%d%s", m->published.lane, m->published.started ? " started" : ""); break;
    case CTL_BASE_DONE: buf_printf(out, " worker=%s files=%d", m->base_done.base.worker, m->base_done.base.nfiles); break;
    case CTL_FAILED: buf_printf(out, " task=%d/%d%s%s", m->failed.stage, m->failed.subtask, m->failed.where ? " where=" : "",
                                m->failed.where ? m->failed.where : ""); break;
    case CTL_GOODBYE: buf_printf(out, " %s", m->flags == GOODBYE_ELSEWHERE ? "elsewhere" : m->flags == GOODBYE_ANEW ? "anew" : "exit"); break;
    case CTL_WELCOME: buf_printf(out, " leader=%" PRIu64, m->leader); break;
    case CTL_DEPLOY: print_deploy(out, &m->deploy); break;
    case CTL_ADD_SPLITS:
        for (int i = 0; i < m->add_splits.nsplits; i++) print_split(out, &m->add_splits.splits[i]);
        break;
    default: break;
    }
    if (m->error) buf_printf(out, " error=\"%s\"", err_text(m->error));
}

void client_request_free(client_request_t *r) {
    if (!r) return;
    free(r->job_name);
    job_spec_free(&r->spec);
    free(r->from);
    free(r);
}

void client_reply_free(client_reply_t *r) {
    err_free(r->error);
    r->error = NULL;
    buf_free(&r->json);
}

void task_report_json(json_writer_t *w, const task_report_t *t) {
    jw_kv_u64(w, "rows_in", t->rows_in);
    jw_kv_u64(w, "rows_out", t->rows_out);
    jw_kv_u64(w, "rows_in_per_second", t->rows_in_rate);
    jw_kv_u64(w, "rows_out_per_second", t->rows_out_rate);
    jw_kv_u64(w, "bytes_in", t->bytes_in);
    jw_kv_u64(w, "late_rows", t->late_rows);
    jw_kv_u64(w, "bad_records", t->bad_records);
    jw_kv_u64(w, "stale_records", t->stale_records);
    jw_kv_u64(w, "dropped_rows", t->dropped_rows);
    jw_kv_u64(w, "state_entries", t->state_entries);
    jw_kv_u64(w, "state_bytes", t->state_bytes);
    jw_kv_i64(w, "busy_permille", t->busy_permille);
    jw_kv_i64(w, "blocked_permille", t->blocked_permille);
    jw_kv_u64(w, "epoch_ms", t->epoch_ms);
    if (t->holds_time) jw_kv_str(w, "holds_time", t->holds_time);
    if (t->blocked_on) jw_kv_str(w, "blocked_on", t->blocked_on);
}
