/* record.c: the job record as JSON (docs/formats.md). Unknown fields are ignored, a newer version is refused. */
#include "common/json.h"
#include "coordinator/core/event.h"
#include <stdlib.h>

#define RECORD_VERSION 1

static const char *const state_names[] = {
    [JOB_SUBMITTED] = "SUBMITTED", [JOB_RESOLVING] = "RESOLVING", [JOB_WAITING] = "WAITING", [JOB_DEPLOYING] = "DEPLOYING",
    [JOB_RUNNING] = "RUNNING", [JOB_STOPPING] = "STOPPING", [JOB_RESTARTING] = "RESTARTING", [JOB_STOPPED] = "STOPPED",
    [JOB_FINISHED] = "FINISHED", [JOB_FAILED] = "FAILED", [JOB_CANCELLED] = "CANCELLED"};
const char *job_state_name(job_state_t s) { return (size_t)s < ARRAY_LEN(state_names) ? state_names[s] : "?"; }

void record_sinks_clear(job_record_t *r) {
    for (int i = 0; i < r->nsinks; i++) {
        free(r->sinks[i].label);
        free(r->sinks[i].output);
        free(r->sinks[i].ledger);
    }
    free(TAKE(r->sinks));
    r->nsinks = 0;
}

void record_sink_add(job_record_t *r, const char *label, const char *output, const char *ledger) {
    r->sinks = xrealloc(r->sinks, (size_t)(r->nsinks + 1) * sizeof *r->sinks);
    r->sinks[r->nsinks++] = (record_sink_t){xstrdup(label ? label : "sink"), output ? xstrdup(output) : NULL, ledger ? xstrdup(ledger) : NULL};
}

void job_record_free(job_record_t *r) {
    if (!r) return;
    record_sinks_clear(r);
    job_spec_free(&r->spec);
    free(r->from);
    free(r->savepoint);
    free(r->stop_target);
    err_free(r->error);
    free(r);
}

job_record_t *job_record_copy(const job_record_t *r) {
    job_record_t *c = xmalloc(sizeof *c);
    *c = *r;
    c->spec = job_spec_copy(&r->spec);
    c->from = r->from ? xstrdup(r->from) : NULL;
    c->savepoint = r->savepoint ? xstrdup(r->savepoint) : NULL;
    c->stop_target = r->stop_target ? xstrdup(r->stop_target) : NULL;
    c->nsinks = 0;
    c->sinks = NULL;
    for (int i = 0; i < r->nsinks; i++) record_sink_add(c, r->sinks[i].label, r->sinks[i].output, r->sinks[i].ledger);
    c->error = err_copy(r->error);
    return c;
}

static void print_spec(json_writer_t *w, const job_spec_t *s) {
    jw_name(w, "spec");
    jw_object(w);
    jw_kv_str(w, "name", s->name);
    jw_kv_str(w, "sql", s->sql);
    jw_kv_str(w, "file", s->file);
    jw_kv_i64(w, "parallelism", s->parallelism);
    jw_name(w, "set");
    jw_array(w);
    for (int i = 0; i < s->nset; i++) {
        jw_object(w);
        jw_kv_str(w, "key", s->set_keys[i]);
        jw_kv_str(w, "value", s->set_values[i]);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_end_object(w);
}

static void print_sinks(json_writer_t *w, const job_record_t *r) {
    jw_name(w, "sinks");
    jw_array(w);
    for (int i = 0; i < r->nsinks; i++) {
        jw_object(w);
        jw_kv_str(w, "label", r->sinks[i].label);
        jw_kv_str(w, "output", r->sinks[i].output);
        jw_kv_str(w, "ledger", r->sinks[i].ledger);
        jw_end_object(w);
    }
    jw_end_array(w);
}

void job_record_print(buf_t *out, const job_record_t *r) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_i64(&w, "version", RECORD_VERSION);
    jw_kv_u64(&w, "id", r->id);
    jw_kv_u64(&w, "incarnation", r->incarnation);
    print_spec(&w, &r->spec);
    jw_kv_i64(&w, "state", r->state);
    jw_kv_str(&w, "state_name", job_state_name(r->state));
    jw_kv_i64(&w, "wanted", r->wanted);
    jw_kv_i64(&w, "created_ms", r->created_ms);
    jw_kv_i64(&w, "ended_ms", r->ended_ms);
    jw_kv_str(&w, "from", r->from);
    jw_kv_bool(&w, "new_ledger", r->new_ledger);
    jw_kv_bool(&w, "forced", r->forced);
    jw_kv_bool(&w, "reopened", r->reopened);
    jw_kv_str(&w, "savepoint", r->savepoint);
    jw_kv_str(&w, "stop_target", r->stop_target);
    jw_kv_u64(&w, "pin", r->pin);
    jw_kv_u64(&w, "restarts", r->restarts);
    jw_kv_u64(&w, "family", r->family);
    if (r->unseen) jw_kv_bool(&w, "unseen", true);
    print_sinks(&w, r);
    if (r->error) {
        jw_name(&w, "error");
        jw_object(&w);
        jw_kv_i64(&w, "code", err_code(r->error));
        jw_kv_str(&w, "text", err_text(r->error));
        jw_kv_i64(&w, "line", err_line(r->error));
        jw_kv_i64(&w, "col", err_col(r->error));
        jw_kv_str(&w, "hint", err_hint_text(r->error));
        jw_end_object(&w);
    }
    jw_end_object(&w);
}

static char *take_str(const json_t *o, const char *name) {
    const char *s = json_str(o, name, NULL);
    return s ? xstrdup(s) : NULL;
}

static void parse_spec(const json_t *o, job_spec_t *s) {
    s->name = take_str(o, "name");
    s->sql = take_str(o, "sql");
    s->file = take_str(o, "file");
    s->parallelism = (int)json_i64(o, "parallelism", 0);
    const json_t *set = json_get(o, "set");
    if (!set || set->kind != JSON_ARRAY || set->n == 0) return;
    s->set_keys = xcalloc((size_t)set->n, sizeof(char *));
    s->set_values = xcalloc((size_t)set->n, sizeof(char *));
    for (int i = 0; i < set->n; i++) {
        s->set_keys[i] = xstrdup(json_str(set->items[i], "key", ""));
        s->set_values[i] = xstrdup(json_str(set->items[i], "value", ""));
    }
    s->nset = set->n;
}

static uint64_t get_u64(const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    return v && v->kind == JSON_NUMBER ? strtoull(v->text, NULL, 10) : 0;
}

static void parse_sinks(const json_t *o, job_record_t *r) {
    const json_t *sinks = json_get(o, "sinks");
    for (int i = 0; sinks && sinks->kind == JSON_ARRAY && i < sinks->n; i++)
        record_sink_add(r, json_str(sinks->items[i], "label", NULL), json_str(sinks->items[i], "output", NULL), json_str(sinks->items[i], "ledger", NULL));
}

err_t *job_record_parse(slice_t text, job_record_t **ret) {
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    err_t *e = json_parse(a, text, &o);
    if (e) {
        err_t *corrupt = err_new(ERR_CORRUPT, "job record: %s", err_text(e));
        err_free(e);
        return corrupt;
    }
    int64_t version = json_i64(o, "version", 0);
    if (version > RECORD_VERSION)
        return err_new(ERR_VERSION, "job record of version %" PRId64 "; this program reads up to %d", version, RECORD_VERSION);
    const json_t *spec = json_get(o, "spec");
    int64_t state = json_i64(o, "state", -1), wanted = json_i64(o, "wanted", -1);
    uint64_t id = get_u64(o, "id");
    if (version < 1 || id == 0 || !spec || state < 0 || state > JOB_CANCELLED || wanted < 0 || wanted > WANTED_CANCEL ||
        !json_str(spec, "sql", NULL))
        return err_new(ERR_CORRUPT, "job record without its id, state or statement");
    job_record_t *r = xcalloc(1, sizeof *r);
    r->id = id;
    r->incarnation = get_u64(o, "incarnation");
    parse_spec(spec, &r->spec);
    r->state = (job_state_t)state;
    r->wanted = (job_wanted_t)wanted;
    r->created_ms = json_i64(o, "created_ms", 0);
    r->ended_ms = json_i64(o, "ended_ms", 0);
    r->from = take_str(o, "from");
    r->new_ledger = json_bool(o, "new_ledger", false);
    r->forced = json_bool(o, "forced", false);
    r->reopened = json_bool(o, "reopened", false);
    r->savepoint = take_str(o, "savepoint");
    r->stop_target = take_str(o, "stop_target");
    r->pin = get_u64(o, "pin");
    r->restarts = get_u64(o, "restarts");
    r->family = get_u64(o, "family");
    r->unseen = json_bool(o, "unseen", false);
    parse_sinks(o, r);
    const json_t *error = json_get(o, "error");
    if (error && error->kind == JSON_OBJECT)
        r->error = err_make((err_code_t)json_i64(error, "code", ERR_INTERNAL), json_str(error, "text", ""),
                            (int)json_i64(error, "line", 0), (int)json_i64(error, "col", 0), json_str(error, "hint", NULL));
    *ret = r;
    return NULL;
}
