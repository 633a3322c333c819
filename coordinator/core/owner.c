/* owner.c: who publishes where. Two rules, for a job that is submitted or resumed, against every job of the cluster that lives:
 *
 *   1. A ledger has one owner. The lanes of the one that lives would be fenced by the new one's, and a start from the beginning or from a
 *      savepoint would publish again what that one has published.
 *   2. Jobs that go on from one state (a savepoint and the job it was taken of, two starts from one savepoint, and what is begun from theirs: a
 *      *family*) compute the same rows from there on: only one of them puts its rows to one place (A7).
 *
 * Decided from the records alone: they name outputs, ledger and family from the moment a job is accepted, so a leader that has just won and has
 * compiled nothing yet knows them. Taking over from a job of another cluster, which nobody here knows of, is the lanes' affair (A27). */
#include "coordinator/core/coord_int.h"
#include <string.h>

void owner_take(job_t *j, const job_shape_t *shape, const manifest_t *from) {
    job_record_t *r = j->record;
    record_sinks_clear(r);
    for (int i = 0; i < shape->nsinks; i++) record_sink_add(r, shape->sinks[i].label, shape->sinks[i].output, shape->sinks[i].ledger);
    if (r->family) return;
    const manifest_t *past = from ? from : j->ep.last;
    r->family = past && past->family ? past->family : from ? from->job : j->id;
}

static bool same(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* A sink of `a` whose rows or ledger record would lie where one of `b`'s do. A topic of that name on other brokers counts too: what a list of
 * brokers leads to is not known here. */
static const record_sink_t *shared(const job_record_t *a, const job_record_t *b, bool outputs, const char **ret_what) {
    for (int i = 0; i < a->nsinks; i++)
        for (int k = 0; k < b->nsinks; k++) {
            const record_sink_t *x = &a->sinks[i], *y = &b->sinks[k];
            *ret_what = outputs && same(x->output, y->output) ? x->output : same(x->ledger, y->ledger) ? x->ledger : NULL;
            if (*ret_what) return x;
        }
    return NULL;
}

static const char *name_of(const job_t *j) { return j->record->spec.name ? j->record->spec.name : ""; }

/* `from`: the savepoint of a submit, which its job may follow with other outputs only. */
static err_t *of_family(const job_t *j, const job_t *other, const manifest_t *from) {
    bool origin = from && from->job == other->id, family = other->record->family && other->record->family == j->record->family;
    const char *what = NULL;
    const record_sink_t *s = origin || family ? shared(j->record, other->record, true, &what) : NULL;
    if (origin && !(j->record->new_ledger && !s)) {
        bool named = j->record->new_ledger;
        err_t *e = err_new(ERR_EXISTS, "the savepoint was taken of job %" PRIu64 ", which is %s: both would publish the same output%s%s%s%s", other->id,
                           job_state_name(other->state), named ? ": sink " : "", named ? s->label : "", named ? " goes to " : "", named ? what : "");
        return err_hint(e, named ? "stop that job first, or name other topics, paths and 'sink.transactional-id-prefix'es"
                                 : "stop that job first, or rename the sinks' outputs and use --new-ledger");
    }
    if (!s) return NULL;
    return err_hint(err_new(ERR_EXISTS, "job %" PRIu64 " (%s), which is %s, goes on from the same state: both would publish the same output: sink %s goes to %s",
                            other->id, name_of(other), job_state_name(other->state), s->label, what),
                    "stop that job first, or name other topics, paths and 'sink.transactional-id-prefix'es");
}

static err_t *of_ledger(const job_t *j, const job_t *other) {
    const char *what = NULL;
    const record_sink_t *s = shared(j->record, other->record, false, &what);
    if (!s) return NULL;
    return err_hint(err_new(ERR_EXISTS, "sink %s: job %" PRIu64 " (%s), which is %s, publishes with the same ledger '%s'", s->label, other->id, name_of(other),
                            job_state_name(other->state), what),
                    "stop that job first, or name another 'sink.transactional-id-prefix'");
}

err_t *owner_refused(const coord_t *c, const job_t *j, const manifest_t *from) {
    for (int i = 0; i < c->njobs; i++) {
        const job_t *other = c->jobs[i];
        if (other == j || other->gone || job_state_terminal(other->state)) continue;
        if (!other->record->family && !other->persisted) continue; /* it looks at us when its statement is compiled */
        if (!other->record->family && j->record->nsinks)
            return err_hint(err_new(ERR_EXISTS, "where job %" PRIu64 " (%s) publishes is not known yet: an earlier build accepted it", other->id, name_of(other)),
                            "ask again when it runs");
        err_t *e = of_family(j, other, from);
        if (!e) e = of_ledger(j, other);
        if (e) return e;
    }
    return NULL;
}
