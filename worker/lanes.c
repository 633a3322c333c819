/* lanes.c: see lanes.h. */
#include "worker/lanes.h"
#include <stdlib.h>

struct lanes_entry {
    lanes_t *lanes;
    lane_spec_t spec;
    lane_t *lane;
    lane_handle_t *handle; /* NULL before open and after CLOSED */
    bool outstanding, stopped, closing;
    bool unconfirmed; /* fenced, or the coordinator is lost */
    bool reported_start;
    epoch_t reported;
    size_t held; /* bytes that were fed and have not left */
    char *waits_for; /* what the last attempt to publish failed with */
    lane_action_kind_t doing; /* while outstanding */
    int64_t doing_ms; /* when a report first saw it; 0: none did */
};

struct lanes {
    lane_driver_t *driver;
    lanes_handler_t h;
    int n;
    lanes_entry_t **entries;
    bool closing;
};

static void on_driver_answer(void *arg, lane_answer_t a) {
    lanes_entry_t *x = arg;
    x->lanes->h.post(x->lanes->h.arg, x, a);
}

lanes_t *lanes_new(lane_driver_t *driver, const lanes_handler_t *h) {
    lanes_t *l = xcalloc(1, sizeof *l);
    l->driver = driver;
    l->h = *h;
    return l;
}

void lanes_free(lanes_t *l) {
    if (!l) return;
    for (int i = 0; i < l->n; i++) {
        ASSERT(!l->entries[i]->handle);
        lane_free(l->entries[i]->lane);
        free(l->entries[i]->waits_for);
        free(l->entries[i]);
    }
    free(l->entries);
    free(l);
}

static lanes_entry_t *find(const lanes_t *l, uint64_t fingerprint, int lane) {
    for (int i = 0; i < l->n; i++)
        if (l->entries[i]->spec.op->fingerprint == fingerprint && l->entries[i]->spec.lane == lane) return l->entries[i];
    return NULL;
}
bool lanes_has(const lanes_t *l, uint64_t fingerprint, int lane) { return find(l, fingerprint, lane) != NULL; }

err_t *lanes_add(lanes_t *l, const lane_spec_t *spec, epoch_t bound, bool has_bound) {
    if (!l->driver)
        return err_hint(err_new(ERR_UNSUPPORTED, "sink %s publishes exactly once, and this process has no publisher", spec->op->label),
                        "set 'sink.delivery-guarantee' = 'at-least-once'");
    ASSERT(!find(l, spec->op->fingerprint, spec->lane));
    lanes_entry_t *x = xcalloc(1, sizeof *x);
    x->lanes = l;
    x->spec = *spec;
    x->lane = lane_new(spec->incarnation, bound, has_bound);
    lane_past(x->lane, &spec->past);
    if (l->driver->txn_bytes) lane_limit(x->lane, l->driver->txn_bytes);
    x->reported = has_bound ? bound : 0;
    x->reported_start = has_bound;
    l->entries = xrealloc(l->entries, (size_t)(l->n + 1) * sizeof(lanes_entry_t *));
    l->entries[l->n++] = x;
    return NULL;
}

static void entry_stopped(lanes_entry_t *x, err_t *e) {
    if (x->stopped) {
        err_free(e);
        return;
    }
    x->stopped = true;
    x->lanes->h.stopped(x->lanes->h.arg, x->spec.op->fingerprint, x->spec.lane, x->spec.op->label, e);
}

/* Starts what the lane wants next. */
static void entry_pump(lanes_entry_t *x) {
    if (!x->handle || x->outstanding || x->closing) return;
    lane_action_t a = {0};
    lane_next(x->lane, &a);
    if (a.kind == LANE_DO_NOTHING) return;
    if (a.kind == LANE_DO_STOP) {
        entry_stopped(x, err_copy(lane_error(x->lane)));
        return;
    }
    x->outstanding = true;
    x->doing = a.kind;
    x->doing_ms = 0;
    x->lanes->driver->start(x->lanes->driver, x->handle, &a);
}

static void note_left(lanes_entry_t *x) {
    size_t now = lane_unpublished_bytes(x->lane), left = x->held - now;
    x->held = now;
    if (left) x->lanes->h.left(x->lanes->h.arg, left);
}

void lanes_feed(lanes_t *l, uint64_t fingerprint, int lane, epoch_t epoch, buf_t *segment) {
    lanes_entry_t *x = find(l, fingerprint, lane);
    if (!x) {
        l->h.left(l->h.arg, segment->len);
        buf_free(segment);
        return;
    }
    x->held += segment->len;
    lane_segment(x->lane, epoch, segment);
    note_left(x);
}

/* What it waited for stays said until a commit went through, or nothing is left to send: being initialised and read anew is no progress. */
static void note_published(lanes_entry_t *x, bool committed) {
    note_left(x);
    if (lane_state(x->lane) != LANE_READY) return; /* fenced early: its ledger is not judged yet */
    if (committed || !lane_unpublished_bytes(x->lane)) free(TAKE(x->waits_for));
    epoch_t e = lane_published(x->lane);
    bool started = lane_started(x->lane);
    if (e <= x->reported && started == x->reported_start) return;
    x->reported = MAX(e, x->reported);
    x->reported_start = started;
    x->lanes->h.published(x->lanes->h.arg, x->spec.op->fingerprint, x->spec.lane, x->reported, started);
}

static err_t *entry_open(lanes_entry_t *x) {
    lane_driver_t *d = x->lanes->driver;
    if (x->handle) return NULL;
    return err_wrap(d->open(d, &x->spec, on_driver_answer, x, &x->handle), "lane %d of sink %s", x->spec.lane, x->spec.op->label);
}

err_t *lanes_fence(lanes_t *l) {
    for (int i = 0; i < l->n; i++) {
        TRY(entry_open(l->entries[i]));
        lane_fence(l->entries[i]->lane);
        entry_pump(l->entries[i]);
    }
    return NULL;
}

err_t *lanes_open(lanes_t *l) {
    for (int i = 0; i < l->n; i++) {
        TRY(entry_open(l->entries[i]));
        lane_open(l->entries[i]->lane);
        note_published(l->entries[i], false);
        entry_pump(l->entries[i]);
    }
    return NULL;
}

void lanes_complete(lanes_t *l, epoch_t epoch) {
    for (int i = 0; i < l->n; i++) {
        lane_complete(l->entries[i]->lane, epoch);
        entry_pump(l->entries[i]);
    }
}

void lanes_unconfirm(lanes_t *l) {
    for (int i = 0; i < l->n; i++) {
        l->entries[i]->unconfirmed = true;
        lane_unconfirm(l->entries[i]->lane);
    }
}

void lanes_confirm(lanes_t *l) {
    for (int i = 0; i < l->n; i++) {
        if (!l->entries[i]->unconfirmed) continue;
        l->entries[i]->unconfirmed = false;
        lane_confirm(l->entries[i]->lane);
        entry_pump(l->entries[i]);
    }
}

static void entry_closed(lanes_entry_t *x) {
    lanes_t *l = x->lanes;
    x->handle = NULL;
    x->outstanding = false;
    for (int i = 0; i < l->n; i++)
        if (l->entries[i]->handle) return;
    if (l->closing) l->h.closed(l->h.arg);
}

void lanes_answer(lanes_t *l, lanes_entry_t *x, lane_answer_t a) {
    if (a.kind == LANE_ANSWER_CLOSED) {
        err_free(a.error);
        entry_closed(x);
        return;
    }
    if (!x->outstanding || x->closing) { /* it was abandoned */
        err_free(a.error);
        return;
    }
    x->outstanding = false;
    switch (a.kind) {
    case LANE_ANSWER_INITIALISED: lane_initialised(x->lane); break;
    case LANE_ANSWER_LEDGER:
        lane_ledger(x->lane, &a.pos);
        note_published(x, false);
        break;
    case LANE_ANSWER_COMMITTED:
        lane_committed(x->lane, &a.pos);
        note_published(x, true);
        break;
    case LANE_ANSWER_DOUBT:
        free(x->waits_for);
        x->waits_for = xstrdup(err_text(a.error));
        lane_doubt(x->lane);
        break;
    case LANE_ANSWER_FENCED:
        free(x->waits_for);
        x->waits_for = xstrdup("another producer took its transactional id; the coordinator has to confirm this attempt");
        x->unconfirmed = true;
        lane_fenced(x->lane);
        break;
    case LANE_ANSWER_POISON:
        lane_poison(x->lane, TAKE(a.error));
        break;
    default: UNREACHABLE();
    }
    err_free(a.error);
    entry_pump(x);
}

void lanes_close(lanes_t *l) {
    l->closing = true;
    bool any = false;
    for (int i = 0; i < l->n; i++) {
        lanes_entry_t *x = l->entries[i];
        if (!x->handle || x->closing) continue;
        any = x->closing = true;
        l->driver->close(l->driver, x->handle);
    }
    if (!any) l->h.closed(l->h.arg);
}

void lanes_hang(const lanes_t *l, buf_t *out) {
    for (int i = 0; i < l->n; i++) {
        const lanes_entry_t *x = l->entries[i];
        if (x->handle) buf_printf(out, "%slane %d of sink %s (%s)", out->len ? ", " : "", x->spec.lane, x->spec.op->label, lane_state_name(lane_state(x->lane)));
    }
}

size_t lanes_unpublished(const lanes_t *l) {
    size_t n = 0;
    for (int i = 0; i < l->n; i++) n += lane_unpublished_bytes(l->entries[i]->lane);
    return n;
}

const char *lanes_label(const lanes_t *l, uint64_t fingerprint, int lane) {
    const lanes_entry_t *x = find(l, fingerprint, lane);
    return x ? x->spec.op->label : NULL;
}

/* An action that fails says why; one that hangs (a broker dies inside the commit) has no answer yet for seconds, and nobody else knows of it. */
static char *entry_waits_for(lanes_entry_t *x, int64_t now_ms) {
    if (x->waits_for) return xstrdup(x->waits_for);
    if (!x->outstanding) return NULL;
    if (!x->doing_ms) x->doing_ms = now_ms;
    if (now_ms - x->doing_ms < LANES_SLOW_MS) return NULL;
    const char *where = options_get(&x->spec.op->table->options, "properties.bootstrap.servers");
    return xprintf("%s, for %" PRId64 " ms: table %s%s%s", x->doing == LANE_DO_SEND ? "a transaction to be committed" : x->doing == LANE_DO_READ ? "its ledger to be read"
                   : "its producer to be initialised", now_ms - x->doing_ms, x->spec.op->table->name, where ? ", brokers " : "", where ? where : "");
}

void lanes_report(lanes_t *l, int64_t now_ms, int *ret_n, lane_report_t **ret) {
    lane_report_t *out = xcalloc((size_t)l->n + 1, sizeof *out);
    for (int i = 0; i < l->n; i++) {
        lanes_entry_t *x = l->entries[i];
        out[i] = (lane_report_t){
            .fingerprint = x->spec.op->fingerprint,
            .lane = x->spec.lane,
            .state = xstrdup(lane_state_name(lane_state(x->lane))),
            .published = lane_published(x->lane),
            .pending_bytes = lane_unpublished_bytes(x->lane),
            .waits_for = entry_waits_for(x, now_ms),
        };
    }
    *ret_n = l->n;
    *ret = out;
}
