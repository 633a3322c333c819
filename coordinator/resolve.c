#include "coordinator/resolve.h"
#include "common/clock.h"
#include "engine/connector/kafka_ledger.h"
#include "engine/operator.h"
#include "sql/sql.h"
#include <stdlib.h>

static err_t *compile(const resolver_t *r, const job_spec_t *spec, plan_t **ret) {
    if (r->compile) return r->compile(r->arg, spec, ret);
    sql_source_t src = {.text = spec->sql ? spec->sql : "",
                        .len = spec->sql ? strlen(spec->sql) : 0,
                        .file = spec->file,
                        .set = {spec->nset, (const char **)spec->set_keys, (const char **)spec->set_values},
                        .parallelism = spec->parallelism};
    return sql_compile(&src, ret);
}

static err_t *read_settings(const plan_t *p, job_settings_t *s) {
    *s = job_settings_default();
    const options_t *o = &p->set;
    int64_t max = s->restart_max;
    TRY(options_duration_ms(o, "execution.checkpointing.interval", s->interval_ms, &s->interval_ms));
    TRY(options_duration_ms(o, "execution.checkpointing.timeout", s->epoch_timeout_ms, &s->epoch_timeout_ms));
    TRY(options_duration_ms(o, "checkpoint.base.interval", s->base_interval_ms, &s->base_interval_ms));
    TRY(options_duration_ms(o, "restart.delay", s->restart_delay_ms, &s->restart_delay_ms));
    TRY(options_duration_ms(o, "restart.delay.max", s->restart_delay_max_ms, &s->restart_delay_max_ms));
    TRY(options_i64(o, "restart.max", max, 0, 1000000, &max));
    s->restart_max = (int)max;
    int64_t retained = s->retained;
    TRY(options_i64(o, "execution.checkpointing.num-retained", retained, 1, 10, &retained));
    s->retained = (int)retained;
    int64_t bytes = (int64_t)s->unpublished_max;
    TRY(options_bytes(o, "sink.unpublished.max", bytes, &bytes));
    s->unpublished_max = (uint64_t)bytes;
    s->interval_ms = MAX(s->interval_ms, 1);
    return NULL;
}

/* What a bounded table holds was settled at the first start (hazards A8): a partition found later lies behind its end, and would come
 * to tasks that have ended. */
static bool bounded(const table_t *t) {
    const char *mode = options_get(&t->options, "scan.bounded.mode");
    return mode && strcmp(mode, "unbounded") != 0;
}

/* The shortest 'scan.topic-partition-discovery.interval' of all sources; 0 switches it off. */
static err_t *read_discovery(const plan_t *p, int64_t *interval_ms) {
    int64_t absent = *interval_ms;
    *interval_ms = 0;
    for (int i = 0; i < p->nstages; i++)
        for (int k = 0; k < p->stages[i]->nops; k++) {
            const plan_op_t *op = p->stages[i]->ops[k];
            if (op->kind != OP_SOURCE || strstr(op->table->connector, "kafka") == NULL || bounded(op->table)) continue;
            int64_t ms;
            TRY(options_duration_ms(&op->table->options, "scan.topic-partition-discovery.interval", absent, &ms));
            if (ms > 0 && (*interval_ms == 0 || ms < *interval_ms)) *interval_ms = ms;
        }
    return NULL;
}

static void add_source(job_shape_t *s, const plan_op_t *op, int stage) {
    for (int i = 0; i < s->nsources; i++)
        if (s->sources[i].fingerprint == op->fingerprint) return;
    s->sources = xrealloc(s->sources, (size_t)(s->nsources + 1) * sizeof *s->sources);
    s->sources[s->nsources++] = (shape_source_t){.fingerprint = op->fingerprint, .stage = stage, .label = xstrdup(op->label ? op->label : "source")};
}

static const char *cluster_of(const resolver_t *r) { return r->cluster ? r->cluster : "tidegate"; }

static void add_sink(const resolver_t *r, const plan_t *p, job_shape_t *s, const plan_op_t *op, int stage) {
    s->sinks = xrealloc(s->sinks, (size_t)(s->nsinks + 1) * sizeof *s->sinks);
    const options_t *o = &op->table->options;
    const sink_vtable_t *v = sink_find(op->table->connector);
    const char *topic = options_get(o, "topic"), *path = options_get(o, "path");
    s->sinks[s->nsinks++] = (shape_sink_t){
        .fingerprint = op->fingerprint,
        .stage = stage,
        .lanes = op->lanes_max,
        .commits = v && v->restore,
        .keyed = op->sink_upsert || options_get(o, "key.fields"),
        .label = xstrdup(op->label ? op->label : "sink"),
        .output = topic ? xprintf("topic '%s'", topic) : path ? xprintf("path '%s'", path) : NULL,
        .ledger = op->lanes_max ? kafka_lane_base(op->table, cluster_of(r), p->job_name ? p->job_name : "") : NULL,
    };
}

static job_shape_t *shape_of(const resolver_t *r, const plan_t *p) {
    job_shape_t *s = xcalloc(1, sizeof *s);
    s->name = xstrdup(p->job_name ? p->job_name : "job");
    s->plan_hash = p->hash;
    s->parallelism = p->parallelism;
    s->stages = xcalloc((size_t)p->nstages + 1, sizeof *s->stages);
    for (int i = 0; i < p->nstages; i++) {
        const plan_stage_t *st = p->stages[i];
        s->stages[s->nstages++] = (shape_stage_t){i, stage_parallelism(p, st), xstrdup(st->label ? st->label : "stage")};
        for (int k = 0; k < st->nops; k++) {
            if (st->ops[k]->kind == OP_SOURCE) add_source(s, st->ops[k], i);
            if (st->ops[k]->kind == OP_SINK) add_sink(r, p, s, st->ops[k], i);
        }
    }
    return s;
}

/* Most connectors name the table themselves. */
static err_t *of_table(err_t *e, const table_t *t) {
    if (e && strncmp(err_text(e), "table ", 6)) e = err_wrap(e, "table %s", t->name);
    return e ? err_at(e, t->line, 1) : NULL;
}

static err_t *prepare_sink(const resolver_t *r, const plan_t *p, const plan_op_t *op) {
    const sink_vtable_t *v = sink_find(op->table->connector);
    if (v && v->prepare) TRY(of_table(v->prepare(op->table, &p->set, r->timeout_ms), op->table));
    if (!v || !v->prepare_lanes || !op->lanes_max) return NULL;
    return of_table(v->prepare_lanes(op->table, cluster_of(r), p->job_name, op->lanes_max, r->timeout_ms), op->table);
}

static err_t *enumerate_op(const resolver_t *r, const plan_t *p, const plan_op_t *op, job_shape_t *s) {
    if (op->kind == OP_SINK) return prepare_sink(r, p, op);
    if (op->kind != OP_SOURCE) return NULL;
    for (int i = 0; i < s->nsources; i++) {
        if (s->sources[i].fingerprint != op->fingerprint || s->sources[i].splits.n) continue;
        const source_vtable_t *v = source_find(op->table->connector);
        if (!v || !v->enumerate) return err_new(ERR_UNSUPPORTED, "connector '%s' cannot be read", op->table->connector);
        return of_table(v->enumerate(op->table, &p->set, r->timeout_ms, &s->sources[i].splits), op->table);
    }
    return NULL;
}

static err_t *fill(const resolver_t *r, const plan_t *p, bool enumerate, job_shape_t *s) {
    TRY(read_settings(p, &s->settings));
    TRY(read_discovery(p, &s->settings.discovery_interval_ms));
    for (int i = 0; enumerate && i < p->nstages; i++)
        for (int k = 0; k < p->stages[i]->nops; k++) TRY(enumerate_op(r, p, p->stages[i]->ops[k], s));
    return NULL;
}

err_t *resolve_job(const resolver_t *r, const job_spec_t *spec, bool enumerate, job_shape_t **ret) {
    plan_t *p = NULL;
    TRY(compile(r, spec, &p));
    job_shape_t *s = shape_of(r, p);
    err_t *e = fill(r, p, enumerate, s);
    plan_free(p);
    if (e) job_shape_free(s);
    else *ret = s;
    return e;
}

/* The table as declared, but read from its beginning: rows that arrived in a partition before it was found belong to the stream. */
static void earliest(const table_t *t, table_t *copy, const char **keys, const char **values) {
    *copy = *t;
    copy->options = (options_t){0, keys, values};
    for (int i = 0; i < t->options.n; i++) {
        if (strncmp(t->options.keys[i], "scan.startup.", 13) == 0) continue;
        keys[copy->options.n] = t->options.keys[i];
        values[copy->options.n++] = t->options.values[i];
    }
    keys[copy->options.n] = "scan.startup.mode";
    values[copy->options.n++] = "earliest-offset";
}

static err_t *find_in(const resolver_t *r, const plan_t *p, const plan_op_t *op, int *n, found_split_t **ret) {
    const source_vtable_t *v = source_find(op->table->connector);
    if (!v || !v->enumerate || !v->add_splits || bounded(op->table)) return NULL;
    table_t t;
    AUTO(auto_free) const char **keys = xcalloc((size_t)op->table->options.n + 1, sizeof *keys);
    AUTO(auto_free) const char **values = xcalloc((size_t)op->table->options.n + 1, sizeof *values);
    earliest(op->table, &t, keys, values);
    split_list_t list = {0};
    TRY(of_table(v->enumerate(&t, &p->set, r->timeout_ms, &list), op->table));
    *ret = xrealloc(*ret, (size_t)(*n + list.n + 1) * sizeof **ret);
    for (int i = 0; i < list.n; i++) {
        (*ret)[*n] = (found_split_t){op->fingerprint, list.items[i]};
        (*ret)[(*n)++].split.id = xstrdup(list.items[i].id);
    }
    split_list_free(&list);
    return NULL;
}

err_t *resolve_new_splits(const resolver_t *r, const job_spec_t *spec, int *ret_n, found_split_t **ret) {
    plan_t *p = NULL;
    TRY(compile(r, spec, &p));
    int n = 0;
    found_split_t *found = NULL;
    err_t *e = NULL;
    for (int i = 0; !e && i < p->nstages; i++)
        for (int k = 0; !e && k < p->stages[i]->nops; k++)
            if (p->stages[i]->ops[k]->kind == OP_SOURCE) e = find_in(r, p, p->stages[i]->ops[k], &n, &found);
    plan_free(p);
    if (!e) {
        *ret_n = n;
        *ret = found;
        return NULL;
    }
    for (int i = 0; i < n; i++) free(found[i].split.id);
    free(found);
    return e;
}

static bool never(void *arg) { return false; }

typedef struct asking { const resolver_t *r; const plan_op_t *op; manifest_t *from; int64_t until; } asking_t;

/* A lane that the job has no more is looked at, too: the rows that it would get go to others now. Its ledger may have no such partition, or be gone. */
static err_t *ask_lane(const asking_t *q, const char *base, int lane, bool fresh, bool moved) {
    const lane_pos_t none = {0}, *l = manifest_lane(q->from, q->op->fingerprint, lane, false);
    if (!l) l = &none;
    epoch_t owed = l->last_rows > l->published ? l->published + 1 : 0;
    lane_past_t past = {fresh || (moved && !owed) ? 0 : q->from->incarnation, q->from->epoch, l->had, l->had_upto, manifest_root(q->from), false};
    ledger_pos_t pos = {0};
    AUTO(auto_free) char *topic = kafka_ledger_topic(base), *id = kafka_lane_id(base, lane);
    err_t *e = kafka_ledger_read(q->op->table, topic, lane, id, (int)MAX(q->until - clock_mono_ms(), (int64_t)1000), never, NULL, &pos);
    if (err_code(e) == ERR_NOT_FOUND) err_free(TAKE(e));
    if (!e) e = lane_past_check(&past, owed, &pos);
    if (err_code(e) != ERR_FENCED) return e;
    err_t *refused = err_make(ERR_EXISTS, err_text(e), 0, 0, err_hint_text(e)); /* it will not be otherwise later */
    err_free(e);
    return refused;
}

static err_t *ask_ledger(const asking_t *q, const char *base, bool fresh, bool moved) {
    int n = q->op->lanes_max;
    for (int i = 0; i < q->from->nlanes; i++)
        if (q->from->lanes[i].fingerprint == q->op->fingerprint) n = MAX(n, q->from->lanes[i].lane + 1);
    for (int i = 0; i < n; i++) TRY(err_wrap(ask_lane(q, base, i, fresh, moved), "sink %s, lane %d", q->op->label ? q->op->label : q->op->table->name, i));
    return NULL;
}

/* Without a prefix the name of the job is in that of the ledger: of a job of another name the savepoint's one is asked, and its own has to be new. */
static err_t *ask_sink(const asking_t *q, const char *name, bool new_ledger, job_shape_t *shape) {
    AUTO(auto_free) char *base = kafka_lane_base(q->op->table, cluster_of(q->r), name ? name : "");
    AUTO(auto_free) char *old = kafka_lane_base(q->op->table, cluster_of(q->r), q->from->name ? q->from->name : "");
    bool moved = !new_ledger && strcmp(base, old) != 0;
    if (moved) TRY(ask_ledger(q, old, false, false));
    TRY(ask_ledger(q, base, new_ledger, moved));
    for (int i = 0; i < shape->nsinks; i++)
        if (shape->sinks[i].fingerprint == q->op->fingerprint) shape->sinks[i].moved = moved;
    return NULL;
}

err_t *resolve_ask_ledgers(const resolver_t *r, const job_spec_t *spec, manifest_t *from, bool new_ledger, job_shape_t *shape) {
    plan_t *p = NULL;
    TRY(compile(r, spec, &p));
    manifest_lanes_anew(from);
    err_t *e = NULL;
    for (int i = 0; !e && i < p->nstages; i++)
        for (int k = 0; !e && k < p->stages[i]->nops; k++) {
            asking_t q = {r, p->stages[i]->ops[k], from, clock_mono_ms() + r->timeout_ms};
            if (q.op->kind == OP_SINK && q.op->lanes_max) e = ask_sink(&q, p->job_name, new_ledger, shape);
        }
    plan_free(p);
    return e;
}
