#include "coordinator/core/event.h"
#include <stdlib.h>

/* ---- shape */
job_settings_t job_settings_default(void) {
    return (job_settings_t){.interval_ms = 100, .epoch_timeout_ms = 600000, .base_interval_ms = 30000, .discovery_interval_ms = 30000,
                            .restart_delay_ms = 1000, .restart_delay_max_ms = 60000, .restart_max = 10, .retained = 3,
                            .unpublished_max = (uint64_t)1 << 30};
}

static split_list_t splits_copy(const split_list_t *l) {
    split_list_t r = {0};
    for (int i = 0; i < l->n; i++) split_list_add(&r, &l->items[i]);
    return r;
}
static char *dup_or_null(const char *s) { return s ? xstrdup(s) : NULL; }

job_shape_t *job_shape_copy(const job_shape_t *s) {
    job_shape_t *r = xmalloc(sizeof *r);
    *r = *s;
    r->name = dup_or_null(s->name);
    r->stages = xcalloc((size_t)s->nstages + 1, sizeof *r->stages);
    for (int i = 0; i < s->nstages; i++)
        r->stages[i] = (shape_stage_t){s->stages[i].id, s->stages[i].parallelism, dup_or_null(s->stages[i].label)};
    r->sources = xcalloc((size_t)s->nsources + 1, sizeof *r->sources);
    for (int i = 0; i < s->nsources; i++) {
        r->sources[i] = s->sources[i];
        r->sources[i].label = dup_or_null(s->sources[i].label);
        r->sources[i].splits = splits_copy(&s->sources[i].splits);
    }
    r->sinks = xcalloc((size_t)s->nsinks + 1, sizeof *r->sinks);
    for (int i = 0; i < s->nsinks; i++) {
        r->sinks[i] = s->sinks[i];
        r->sinks[i].label = dup_or_null(s->sinks[i].label);
        r->sinks[i].output = dup_or_null(s->sinks[i].output);
        r->sinks[i].ledger = dup_or_null(s->sinks[i].ledger);
    }
    return r;
}

void job_shape_free(job_shape_t *s) {
    if (!s) return;
    for (int i = 0; i < s->nstages; i++) free(s->stages[i].label);
    for (int i = 0; i < s->nsources; i++) {
        free(s->sources[i].label);
        split_list_free(&s->sources[i].splits);
    }
    for (int i = 0; i < s->nsinks; i++) {
        free(s->sinks[i].label);
        free(s->sinks[i].output);
        free(s->sinks[i].ledger);
    }
    free(s->stages);
    free(s->sources);
    free(s->sinks);
    free(s->name);
    free(s);
}

/* ---- events */
void coord_event_done(coord_event_t *e) {
    err_free(e->error);
    e->error = NULL;
    switch (e->kind) {
    case EV_LEADING:
        for (int i = 0; i < e->leading.njobs; i++) job_record_free(e->leading.jobs[i]);
        free(e->leading.jobs);
        break;
    case EV_MESSAGE: ctl_free(e->message); break;
    case EV_CLIENT: client_request_free(e->client.request); break;
    case EV_RESOLVED:
        job_shape_free(e->resolved.shape);
        manifest_free(e->resolved.from);
        break;
    case EV_RAISED:
        manifest_free(e->raised.last);
        for (int i = 0; i < e->raised.nolder; i++) manifest_free(e->raised.older[i]);
        free(e->raised.older);
        break;
    case EV_SPLITS_FOUND:
        for (int i = 0; i < e->splits_found.n; i++) free(e->splits_found.items[i].split.id);
        free(e->splits_found.items);
        break;
    case EV_SAVING:
    case EV_SAVED: free(e->saved.target); break;
    case EV_ORPHANS:
        for (int i = 0; i < e->orphans.n; i++) free(e->orphans.paths[i]);
        free(e->orphans.paths);
        free(e->orphans.last);
        break;
    default: break;
    }
    *e = (coord_event_t){.kind = e->kind};
}

/* ---- actions */
coord_action_t *coord_actions_add(coord_actions_t *a, coord_action_kind_t kind) {
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 16;
        a->items = xrealloc(a->items, (size_t)a->cap * sizeof *a->items);
    }
    coord_action_t *r = &a->items[a->n++];
    *r = (coord_action_t){.kind = kind};
    return r;
}

void coord_action_done(coord_action_t *a) {
    switch (a->kind) {
    case ACT_SEND: ctl_free(a->message); break;
    case ACT_RESOLVE:
        job_spec_free(&a->resolve.spec);
        free(a->resolve.from);
        break;
    case ACT_PUT_JOB: job_record_free(a->record); break;
    case ACT_PUT_MANIFEST: manifest_free(a->put.manifest); break;
    case ACT_DELETE_FILES:
        for (int i = 0; i < a->files.n; i++) free(a->files.paths[i]);
        free(a->files.paths);
        break;
    case ACT_FIND_SPLITS: job_spec_free(&a->find.spec); break;
    case ACT_CHECK_TARGET: free(a->check.target); break;
    case ACT_SAVE:
        manifest_free(a->save.manifest);
        free(a->save.target);
        break;
    case ACT_REPLY: err_free(a->reply.error); break;
    case ACT_LOG: free(a->log.text); break;
    default: break;
    }
    *a = (coord_action_t){0};
}

void coord_actions_done(coord_actions_t *a) {
    for (int i = 0; i < a->n; i++) coord_action_done(&a->items[i]);
    free(a->items);
    *a = (coord_actions_t){0};
}

const char *coord_action_name(coord_action_kind_t k) {
    static const char *const names[] = {
        [ACT_SEND] = "send", [ACT_CLOSE] = "close", [ACT_RESOLVE] = "resolve", [ACT_PUT_JOB] = "put-job", [ACT_RAISE] = "raise",
        [ACT_PUT_MANIFEST] = "put-manifest", [ACT_DELETE_FILES] = "delete", [ACT_FIND_SPLITS] = "find-splits",
        [ACT_CHECK_TARGET] = "check-target", [ACT_SAVE] = "save", [ACT_FIND_ORPHANS] = "find-orphans", [ACT_FORGET] = "forget", [ACT_REPLY] = "reply", [ACT_RESIGN] = "resign", [ACT_LOG] = "log"};
    return (size_t)k < ARRAY_LEN(names) && names[k] ? names[k] : "?";
}

static void print_put(buf_t *out, const coord_action_t *a) {
    const manifest_t *m = a->put.manifest;
    buf_printf(out, " attempt=%" PRIu64 " epoch=%" PRIu64, m->attempt, m->epoch);
    if (a->put.first) buf_puts(out, " first");
    else buf_printf(out, " after=%" PRIu64 "/%" PRIu64, a->put.previous_attempt, a->put.previous_epoch);
    if (m->final) buf_puts(out, " final");
}

void coord_action_print(buf_t *out, const coord_action_t *a) {
    buf_puts(out, coord_action_name(a->kind));
    if (a->session) buf_printf(out, " %" PRIu64, a->session);
    if (a->job && a->kind != ACT_SEND) buf_printf(out, " job=%" PRIu64, a->job);
    switch (a->kind) {
    case ACT_SEND:
        buf_puts(out, " ");
        ctl_print(out, a->message);
        break;
    case ACT_RESOLVE: buf_puts(out, a->resolve.enumerate ? " enumerate" : " shape"); break;
    case ACT_PUT_JOB: buf_printf(out, " state=%s", job_state_name(a->record->state)); break;
    case ACT_PUT_MANIFEST: print_put(out, a); break;
    case ACT_DELETE_FILES:
        for (int i = 0; i < a->files.n; i++) buf_printf(out, " %s", a->files.paths[i]);
        break;
    case ACT_CHECK_TARGET: buf_printf(out, " %s", a->check.target); break;
    case ACT_SAVE: buf_printf(out, " epoch=%" PRIu64 " to=%s", a->save.manifest->epoch, a->save.target); break;
    case ACT_FIND_ORPHANS: buf_printf(out, " older=%" PRId64 "%s", a->orphans.age_ms, a->orphans.restored ? " restored" : ""); break;
    case ACT_REPLY: buf_printf(out, " call=%" PRIu64 "%s%s", a->reply.call, a->reply.error ? " error=" : " ok", err_text(a->reply.error)); break;
    case ACT_LOG: buf_printf(out, " %s", a->log.text); break;
    default: break;
    }
}
