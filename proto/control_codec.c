#include "proto/codec_int.h"
#include <stdlib.h>

void pb_pack(buf_t *out, const ProtobufCMessage *m) {
    size_t n = protobuf_c_message_get_packed_size(m);
    if (!buf_reserve(out, n)) return;
    out->len += protobuf_c_message_pack(m, out->data + out->len);
}

Tidegate__Error *pb_error(arena_t *a, const err_t *e) {
    if (!e) return NULL;
    Tidegate__Error *p = PB_NEW(a, Tidegate__Error, TIDEGATE__ERROR__INIT);
    p->code = (uint32_t)err_code(e);
    p->text = pb_text(err_text(e));
    p->line = (uint32_t)err_line(e);
    p->col = (uint32_t)err_col(e);
    p->hint = pb_text(err_hint_text(e));
    return p;
}

err_t *pb_read_error(const Tidegate__Error *p) {
    return p ? err_make((err_code_t)p->code, p->text, (int)p->line, (int)p->col, p->hint) : NULL;
}

/* ---- encoding */

static Tidegate__Split *split_pb(arena_t *a, const split_t *s) {
    Tidegate__Split *p = PB_NEW(a, Tidegate__Split, TIDEGATE__SPLIT__INIT);
    p->id = pb_text(s->id);
    p->position = s->position;
    p->end = s->end;
    p->watermark = s->watermark;
    p->idle = s->idle;
    p->ended = s->ended;
    p->mark = s->mark;
    return p;
}

static Tidegate__AssignedSplit *assigned_pb(arena_t *a, const ctl_split_t *s) {
    Tidegate__AssignedSplit *p = PB_NEW(a, Tidegate__AssignedSplit, TIDEGATE__ASSIGNED_SPLIT__INIT);
    p->fingerprint = s->fingerprint;
    p->subtask = (uint32_t)s->subtask;
    p->split = split_pb(a, &s->split);
    return p;
}

static Tidegate__SourcePosition *source_pb(arena_t *a, const source_pos_t *s) {
    Tidegate__SourcePosition *p = PB_NEW(a, Tidegate__SourcePosition, TIDEGATE__SOURCE_POSITION__INIT);
    p->fingerprint = s->fingerprint;
    PB_REPEAT(a, p, splits, s->splits.n, split_pb, s->splits.items);
    return p;
}

static Tidegate__StagePosition *stage_pb(arena_t *a, const stage_pos_t *s) {
    Tidegate__StagePosition *p = PB_NEW(a, Tidegate__StagePosition, TIDEGATE__STAGE_POSITION__INIT);
    p->stage = (uint32_t)s->stage;
    p->watermark = s->watermark;
    return p;
}

static Tidegate__Extent *extent_pb(arena_t *a, const extent_t *e) {
    Tidegate__Extent *p = PB_NEW(a, Tidegate__Extent, TIDEGATE__EXTENT__INIT);
    p->path = pb_text(e->path);
    p->from = e->from;
    p->to = e->to;
    p->first = e->first;
    p->last = e->last;
    p->crc = e->crc;
    return p;
}

static Tidegate__BaseFile *base_file_pb(arena_t *a, const base_file_t *f) {
    Tidegate__BaseFile *p = PB_NEW(a, Tidegate__BaseFile, TIDEGATE__BASE_FILE__INIT);
    p->path = pb_text(f->path);
    p->name = pb_text(f->name);
    p->size = f->size;
    p->crc = f->crc;
    return p;
}

static Tidegate__StateBase *base_pb(arena_t *a, const base_t *b) {
    Tidegate__StateBase *p = PB_NEW(a, Tidegate__StateBase, TIDEGATE__STATE_BASE__INIT);
    p->worker = pb_text(b->worker);
    p->epoch = b->epoch;
    PB_REPEAT(a, p, files, b->nfiles, base_file_pb, b->files);
    return p;
}

Tidegate__JobSpec *pb_spec(arena_t *a, const job_spec_t *s) {
    Tidegate__JobSpec *p = PB_NEW(a, Tidegate__JobSpec, TIDEGATE__JOB_SPEC__INIT);
    p->name = pb_text(s->name);
    p->sql = pb_text(s->sql);
    p->file = pb_text(s->file);
    p->parallelism = (uint32_t)s->parallelism;
    p->n_set = (size_t)s->nset;
    p->set = arena_alloc(a, sizeof *p->set * (size_t)s->nset + 1);
    for (int i = 0; i < s->nset; i++) {
        p->set[i] = PB_NEW(a, Tidegate__Setting, TIDEGATE__SETTING__INIT);
        p->set[i]->key = pb_text(s->set_keys[i]);
        p->set[i]->value = pb_text(s->set_values[i]);
    }
    return p;
}

static Tidegate__TaskReport *task_report_pb(arena_t *a, const task_report_t *t) {
    Tidegate__TaskReport *p = PB_NEW(a, Tidegate__TaskReport, TIDEGATE__TASK_REPORT__INIT);
    p->stage = (uint32_t)t->stage;
    p->subtask = (uint32_t)t->subtask;
    p->rows_in = t->rows_in;
    p->rows_out = t->rows_out;
    p->late_rows = t->late_rows;
    p->bad_records = t->bad_records;
    p->stale_records = t->stale_records;
    p->rows_in_rate = t->rows_in_rate;
    p->rows_out_rate = t->rows_out_rate;
    p->epoch_ms = t->epoch_ms;
    p->dropped_rows = t->dropped_rows;
    p->bytes_in = t->bytes_in;
    p->state_entries = t->state_entries;
    p->state_bytes = t->state_bytes;
    p->watermark = t->watermark;
    p->busy_permille = t->busy_permille;
    p->blocked_permille = t->blocked_permille;
    p->holds_time = pb_text(t->holds_time);
    p->blocked_on = pb_text(t->blocked_on);
    return p;
}

static Tidegate__LaneReport *lane_report_pb(arena_t *a, const lane_report_t *l) {
    Tidegate__LaneReport *p = PB_NEW(a, Tidegate__LaneReport, TIDEGATE__LANE_REPORT__INIT);
    p->fingerprint = l->fingerprint;
    p->lane = (uint32_t)l->lane;
    p->state = pb_text(l->state);
    p->published = l->published;
    p->pending_bytes = l->pending_bytes;
    p->waits_for = pb_text(l->waits_for);
    return p;
}

static Tidegate__JobReport *job_report_pb(arena_t *a, const job_report_t *j) {
    Tidegate__JobReport *p = PB_NEW(a, Tidegate__JobReport, TIDEGATE__JOB_REPORT__INIT);
    p->job = j->job;
    p->attempt = j->attempt;
    PB_REPEAT(a, p, tasks, j->ntasks, task_report_pb, j->tasks);
    PB_REPEAT(a, p, lanes, j->nlanes, lane_report_pb, j->lanes);
    p->waiting = pb_text(j->waiting);
    p->busy = j->busy;
    p->full = j->full;
    return p;
}

static Tidegate__LaneRows *lane_rows_pb(arena_t *a, const ctl_lane_t *l) {
    Tidegate__LaneRows *p = PB_NEW(a, Tidegate__LaneRows, TIDEGATE__LANE_ROWS__INIT);
    p->fingerprint = l->fingerprint;
    p->lane = (uint32_t)l->lane;
    p->rows = l->rows;
    p->epoch = l->epoch;
    return p;
}

static Tidegate__Ack *ack_pb(arena_t *a, const ctl_ack_t *k) {
    Tidegate__Ack *p = PB_NEW(a, Tidegate__Ack, TIDEGATE__ACK__INIT);
    p->extent = extent_pb(a, &k->extent);
    PB_REPEAT(a, p, sources, k->nsources, source_pb, k->sources);
    PB_REPEAT(a, p, stages, k->nstages, stage_pb, k->stages);
    PB_REPEAT(a, p, lanes, k->nlanes, lane_rows_pb, k->lanes);
    p->processing_ms = k->processing_ms;
    p->bytes = k->bytes;
    p->rows = k->rows;
    p->align_ms = k->align_ms;
    p->write_ms = k->write_ms;
    p->want_base = k->want_base;
    p->ended = k->ended;
    return p;
}

static Tidegate__Peer *peer_pb(arena_t *a, const ctl_peer_t *c) {
    Tidegate__Peer *p = PB_NEW(a, Tidegate__Peer, TIDEGATE__PEER__INIT);
    p->name = pb_text(c->name);
    p->address = pb_text(c->address);
    return p;
}

static Tidegate__Task *task_pb(arena_t *a, const ctl_task_t *t) {
    Tidegate__Task *p = PB_NEW(a, Tidegate__Task, TIDEGATE__TASK__INIT);
    p->stage = (uint32_t)t->stage;
    p->subtask = (uint32_t)t->subtask;
    p->worker = (uint32_t)t->worker;
    return p;
}

static Tidegate__Deploy *deploy_pb(arena_t *a, const ctl_deploy_t *d) {
    Tidegate__Deploy *p = PB_NEW(a, Tidegate__Deploy, TIDEGATE__DEPLOY__INIT);
    p->spec = pb_spec(a, &d->spec);
    p->plan_hash = d->plan_hash;
    p->parallelism = (uint32_t)d->parallelism;
    PB_REPEAT(a, p, workers, d->nworkers, peer_pb, d->workers);
    PB_REPEAT(a, p, tasks, d->ntasks, task_pb, d->tasks);
    PB_REPEAT(a, p, splits, d->nsplits, assigned_pb, d->splits);
    p->lanes_only = d->lanes_only;
    if (d->manifest) {
        buf_t text = buf_make(0);
        manifest_print(&text, d->manifest);
        p->manifest.len = text.len;
        p->manifest.data = arena_memdup(a, text.data, text.len);
        buf_free(&text);
    }
    return p;
}

static void encode_register(arena_t *a, Tidegate__Control *p, const ctl_msg_t *m) {
    p->reg = PB_NEW(a, Tidegate__Register, TIDEGATE__REGISTER__INIT);
    p->reg->name = pb_text(m->reg.name);
    p->reg->address = pb_text(m->reg.address);
    p->reg->slots = (uint32_t)m->reg.slots;
    p->reg->memory = m->reg.memory;
    p->reg->version_min = (uint32_t)m->reg.version_min;
    p->reg->version_max = (uint32_t)m->reg.version_max;
    p->reg->build = pb_text(m->reg.build);
}

static void encode_body(arena_t *a, Tidegate__Control *p, const ctl_msg_t *m) {
    switch (m->kind) {
    case CTL_REGISTER: encode_register(a, p, m); break;
    case CTL_HEARTBEAT:
        p->heartbeat = PB_NEW(a, Tidegate__Heartbeat, TIDEGATE__HEARTBEAT__INIT);
        PB_REPEAT(a, p->heartbeat, jobs, m->heartbeat.njobs, job_report_pb, m->heartbeat.jobs);
        p->heartbeat->rss = m->heartbeat.rss;
        p->heartbeat->slots_used = (uint32_t)m->heartbeat.slots_used;
        break;
    case CTL_ACK: p->ack = ack_pb(a, &m->ack); break;
    case CTL_PUBLISHED:
        p->published = PB_NEW(a, Tidegate__Lane, TIDEGATE__LANE__INIT);
        p->published->fingerprint = m->published.fingerprint;
        p->published->lane = (uint32_t)m->published.lane;
        p->published->started = m->published.started;
        break;
    case CTL_BASE_DONE: p->state_base = base_pb(a, &m->base_done.base); break;
    case CTL_FAILED:
        p->failed = PB_NEW(a, Tidegate__Failed, TIDEGATE__FAILED__INIT);
        p->failed->stage = m->failed.stage;
        p->failed->subtask = m->failed.subtask;
        p->failed->where = pb_text(m->failed.where);
        break;
    case CTL_WELCOME:
        p->welcome = PB_NEW(a, Tidegate__Welcome, TIDEGATE__WELCOME__INIT);
        p->welcome->heartbeat_ms = (uint32_t)m->welcome.heartbeat_ms;
        p->welcome->timeout_ms = (uint32_t)m->welcome.timeout_ms;
        p->welcome->coordinator = pb_text(m->welcome.coordinator);
        p->welcome->storage = pb_text(m->welcome.storage);
        break;
    case CTL_DEPLOY: p->deploy = deploy_pb(a, &m->deploy); break;
    case CTL_ADD_SPLITS:
        p->add_splits = PB_NEW(a, Tidegate__AddSplits, TIDEGATE__ADD_SPLITS__INIT);
        PB_REPEAT(a, p->add_splits, splits, m->add_splits.nsplits, assigned_pb, m->add_splits.splits);
        break;
    default: break; /* the header says it all */
    }
}

void ctl_encode(buf_t *out, const ctl_msg_t *m) {
    arena_t *a = arena_new();
    Tidegate__Control p = TIDEGATE__CONTROL__INIT;
    p.version = (uint32_t)ctl_version_max();
    p.kind = (uint32_t)m->kind;
    p.leader = m->leader;
    p.job = m->job;
    p.incarnation = m->incarnation;
    p.attempt = m->attempt;
    p.epoch = m->epoch;
    p.flags = m->flags;
    p.error = pb_error(a, m->error);
    encode_body(a, &p, m);
    pb_pack(out, &p.base);
    arena_free(a);
}

/* ---- decoding: what is absent reads as zero */

static split_t read_split(const Tidegate__Split *p) {
    if (!p) return (split_t){.id = xstrdup("")};
    return (split_t){pb_copy(p->id), p->position, p->end, p->watermark, p->idle, p->ended, p->mark};
}

static ctl_split_t read_assigned(const Tidegate__AssignedSplit *p) {
    return (ctl_split_t){p->fingerprint, (int)p->subtask, read_split(p->split)};
}

static source_pos_t read_source(const Tidegate__SourcePosition *p) {
    source_pos_t s = {.fingerprint = p->fingerprint};
    for (size_t i = 0; i < p->n_splits; i++) {
        split_t split = read_split(p->splits[i]);
        split_list_add(&s.splits, &split);
        free(split.id);
    }
    return s;
}

static stage_pos_t read_stage(const Tidegate__StagePosition *p) { return (stage_pos_t){(int)p->stage, p->watermark}; }

static extent_t read_extent(const Tidegate__Extent *p) {
    if (!p) return (extent_t){0};
    return (extent_t){pb_copy_or_null(p->path), p->from, p->to, p->first, p->last, p->crc};
}

static base_file_t read_base_file(const Tidegate__BaseFile *p) {
    return (base_file_t){pb_copy(p->path), pb_copy(p->name), p->size, p->crc};
}

static base_t read_base(const Tidegate__StateBase *p) {
    base_t b = {.worker = pb_copy(p->worker), .epoch = p->epoch};
    PB_READ(b.files, b.nfiles, p, files, read_base_file);
    return b;
}

job_spec_t pb_read_spec(const Tidegate__JobSpec *p) {
    job_spec_t s = {0};
    if (!p) return s;
    s.name = pb_copy(p->name);
    s.sql = pb_copy(p->sql);
    s.file = pb_copy(p->file);
    s.parallelism = (int)p->parallelism;
    s.nset = (int)p->n_set;
    s.set_keys = xcalloc(p->n_set, sizeof *s.set_keys);
    s.set_values = xcalloc(p->n_set, sizeof *s.set_values);
    for (size_t i = 0; i < p->n_set; i++) {
        s.set_keys[i] = pb_copy(p->set[i]->key);
        s.set_values[i] = pb_copy(p->set[i]->value);
    }
    return s;
}

static task_report_t read_task_report(const Tidegate__TaskReport *p) {
    return (task_report_t){.stage = (int)p->stage, .subtask = (int)p->subtask, .rows_in = p->rows_in, .rows_out = p->rows_out,
                           .late_rows = p->late_rows, .bad_records = p->bad_records, .stale_records = p->stale_records,
                           .dropped_rows = p->dropped_rows, .bytes_in = p->bytes_in, .state_entries = p->state_entries,
                           .state_bytes = p->state_bytes, .watermark = p->watermark, .rows_in_rate = p->rows_in_rate,
                           .rows_out_rate = p->rows_out_rate, .epoch_ms = p->epoch_ms,
                           .busy_permille = p->busy_permille, .blocked_permille = p->blocked_permille,
                           .holds_time = pb_copy_or_null(p->holds_time), .blocked_on = pb_copy_or_null(p->blocked_on)};
}

static lane_report_t read_lane_report(const Tidegate__LaneReport *p) {
    return (lane_report_t){p->fingerprint, (int)p->lane, pb_copy(p->state), p->published, p->pending_bytes,
                           pb_copy_or_null(p->waits_for)};
}

static job_report_t read_job_report(const Tidegate__JobReport *p) {
    job_report_t j = {.job = p->job, .attempt = p->attempt, .waiting = pb_copy_or_null(p->waiting), .busy = p->busy, .full = p->full};
    PB_READ(j.tasks, j.ntasks, p, tasks, read_task_report);
    PB_READ(j.lanes, j.nlanes, p, lanes, read_lane_report);
    return j;
}

static ctl_lane_t read_lane_rows(const Tidegate__LaneRows *p) {
    return (ctl_lane_t){p->fingerprint, (int)p->lane, p->rows, p->epoch};
}

static ctl_ack_t read_ack(const Tidegate__Ack *p) {
    ctl_ack_t k = {.extent = read_extent(p->extent), .processing_ms = p->processing_ms, .bytes = p->bytes, .rows = p->rows,
                   .align_ms = p->align_ms, .write_ms = p->write_ms, .want_base = p->want_base, .ended = p->ended};
    PB_READ(k.sources, k.nsources, p, sources, read_source);
    PB_READ(k.stages, k.nstages, p, stages, read_stage);
    PB_READ(k.lanes, k.nlanes, p, lanes, read_lane_rows);
    return k;
}

static ctl_peer_t read_peer(const Tidegate__Peer *p) { return (ctl_peer_t){pb_copy(p->name), pb_copy(p->address)}; }
static ctl_task_t read_task(const Tidegate__Task *p) { return (ctl_task_t){(int)p->stage, (int)p->subtask, (int)p->worker}; }

static err_t *read_deploy(const Tidegate__Deploy *p, ctl_deploy_t *d) {
    d->spec = pb_read_spec(p->spec);
    d->plan_hash = p->plan_hash;
    d->parallelism = (int)p->parallelism;
    d->lanes_only = p->lanes_only;
    PB_READ(d->workers, d->nworkers, p, workers, read_peer);
    PB_READ(d->tasks, d->ntasks, p, tasks, read_task);
    PB_READ(d->splits, d->nsplits, p, splits, read_assigned);
    for (int i = 0; i < d->ntasks; i++)
        if (d->tasks[i].worker < 0 || d->tasks[i].worker >= d->nworkers)
            return err_new(ERR_CORRUPT, "task %d is assigned to worker %d of %d", i, d->tasks[i].worker, d->nworkers);
    return p->manifest.len ? manifest_parse(slice_of(p->manifest.data, p->manifest.len), &d->manifest) : NULL;
}

static err_t *missing(ctl_kind_t k) { return err_new(ERR_CORRUPT, "control message %s has no body", ctl_kind_name(k)); }

static err_t *read_register(const Tidegate__Register *p, ctl_msg_t *m) {
    m->reg.name = pb_copy(p->name);
    m->reg.address = pb_copy(p->address);
    m->reg.slots = (int)p->slots;
    m->reg.memory = p->memory;
    m->reg.version_min = (int)p->version_min;
    m->reg.version_max = (int)p->version_max;
    m->reg.build = pb_copy(p->build);
    return NULL;
}

static err_t *decode_body(const Tidegate__Control *p, ctl_msg_t *m) {
    switch (m->kind) {
    case CTL_REGISTER: return p->reg ? read_register(p->reg, m) : missing(m->kind);
    case CTL_HEARTBEAT:
        if (!p->heartbeat) return missing(m->kind);
        PB_READ(m->heartbeat.jobs, m->heartbeat.njobs, p->heartbeat, jobs, read_job_report);
        m->heartbeat.rss = p->heartbeat->rss;
        m->heartbeat.slots_used = (int)p->heartbeat->slots_used;
        return NULL;
    case CTL_ACK:
        if (!p->ack) return missing(m->kind);
        m->ack = read_ack(p->ack);
        return NULL;
    case CTL_PUBLISHED:
        if (!p->published) return missing(m->kind);
        m->published.fingerprint = p->published->fingerprint;
        m->published.lane = (int)p->published->lane;
        m->published.started = p->published->started;
        return NULL;
    case CTL_BASE_DONE:
        if (!p->state_base) return missing(m->kind);
        m->base_done.base = read_base(p->state_base);
        return NULL;
    case CTL_FAILED:
        if (!p->failed) return missing(m->kind);
        m->failed.stage = p->failed->stage;
        m->failed.subtask = p->failed->subtask;
        m->failed.where = pb_copy_or_null(p->failed->where);
        return NULL;
    case CTL_WELCOME:
        if (!p->welcome) return missing(m->kind);
        m->welcome.heartbeat_ms = (int)p->welcome->heartbeat_ms;
        m->welcome.timeout_ms = (int)p->welcome->timeout_ms;
        m->welcome.coordinator = pb_copy(p->welcome->coordinator);
        m->welcome.storage = pb_copy_or_null(p->welcome->storage);
        return NULL;
    case CTL_DEPLOY: return p->deploy ? read_deploy(p->deploy, &m->deploy) : missing(m->kind);
    case CTL_ADD_SPLITS:
        if (!p->add_splits) return missing(m->kind);
        PB_READ(m->add_splits.splits, m->add_splits.nsplits, p->add_splits, splits, read_assigned);
        return NULL;
    default: return NULL;
    }
}

static bool known_kind(uint32_t k) {
    return (k >= CTL_REGISTER && k <= CTL_PROBE) || (k >= CTL_WELCOME && k <= CTL_ALIVE);
}

err_t *ctl_decode(slice_t bytes, ctl_msg_t **ret) {
    Tidegate__Control *p = tidegate__control__unpack(NULL, bytes.len, bytes.p);
    if (!p) return err_new(ERR_CORRUPT, "%zu bytes are no control message", bytes.len);
    err_t *e = NULL;
    ctl_msg_t *m = NULL;
    bool any_version = p->version && (p->kind == CTL_REGISTER || p->kind == CTL_GOODBYE);
    if (!any_version && ((int64_t)p->version < ctl_version_min() || (int64_t)p->version > ctl_version_max()))
        e = err_new(ERR_VERSION, "control message of version %u, this build speaks %d to %d", p->version, ctl_version_min(), ctl_version_max());
    else if (!known_kind(p->kind)) e = err_new(ERR_CORRUPT, "control message of unknown kind %u", p->kind);
    if (!e) {
        m = ctl_new((ctl_kind_t)p->kind);
        m->leader = p->leader;
        m->job = p->job;
        m->incarnation = p->incarnation;
        m->attempt = p->attempt;
        m->epoch = p->epoch;
        m->flags = p->flags;
        m->error = pb_read_error(p->error);
        e = decode_body(p, m);
    }
    tidegate__control__free_unpacked(p, NULL);
    if (e) ctl_free(m);
    else *ret = m;
    return e;
}
