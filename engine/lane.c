#include "engine/lane.h"
#include <stdlib.h>

typedef struct pending {
    epoch_t epoch;
    buf_t bytes;
    reader_t records; /* at the first record not yet published */
    uint64_t rows;    /* of the whole segment */
    uint64_t done;    /* rows published */
    uint32_t crc;     /* of the segment */
    uint32_t part;    /* transactions of this epoch so far */
} pending_t;

struct lane {
    uint64_t incarnation;
    epoch_t bound;
    bool has_bound;
    lane_past_t past;
    epoch_t begun;   /* what the start record says: the past published up to here */
    lane_state_t state;
    epoch_t completed;
    epoch_t sent_upto; /* no ledger of ours may be ahead of it: what was complete when the lane was opened, then what was handed out to be sent */
    pending_t *queue; /* ascending epochs; head first */
    size_t n, cap;
    size_t bytes;
    size_t most;        /* bytes of a transaction */
    size_t txn_bytes;   /* of the next transaction; less after one that did not go through in time */
    bool outstanding;   /* an action waits for its answer */
    bool need_start;    /* the ledger has no record of ours yet */
    bool wait_confirm;  /* fenced, or the coordinator is lost: no init until it confirms us */
    bool held;          /* fenced early: the ledger is not judged before lane_open */
    bool read_early;    /* READING: `early` was read while held */
    ledger_pos_t early;
    bool stop_reported;
    lane_action_t sent; /* the outstanding SEND */
    err_t *error;
};

static const char *const names[] = {"fresh", "fencing", "reading its ledger", "ready", "sending", "stopped"};
const char *lane_state_name(lane_state_t s) { return names[s]; }

/* The only writer of state. */
static void lane_set_state(lane_t *l, lane_state_t to) {
    static const uint8_t allowed[] = {
        [LANE_FRESH] = 1 << LANE_FENCING | 1 << LANE_STOPPED,
        [LANE_FENCING] = 1 << LANE_FENCING | 1 << LANE_READING | 1 << LANE_STOPPED,
        [LANE_READING] = 1 << LANE_FENCING | 1 << LANE_READY | 1 << LANE_STOPPED,
        [LANE_READY] = 1 << LANE_FENCING | 1 << LANE_SENDING | 1 << LANE_STOPPED,
        [LANE_SENDING] = 1 << LANE_FENCING | 1 << LANE_READY | 1 << LANE_STOPPED,
        [LANE_STOPPED] = 1 << LANE_STOPPED,
    };
    ASSERT(allowed[l->state] & 1 << to);
    l->state = to;
}

static void stop(lane_t *l, err_t *why) {
    lane_set_state(l, LANE_STOPPED);
    if (l->error) err_free(why);
    else l->error = why;
}

lane_t *lane_new(uint64_t incarnation, epoch_t bound, bool has_bound) {
    lane_t *l = xcalloc(1, sizeof *l);
    l->incarnation = incarnation;
    l->bound = bound;
    l->has_bound = has_bound;
    l->most = l->txn_bytes = LANE_TXN_BYTES;
    return l;
}

void lane_limit(lane_t *l, size_t txn_bytes) { l->most = l->txn_bytes = txn_bytes; }

void lane_past(lane_t *l, const lane_past_t *past) { l->past = *past; }

void lane_free(lane_t *l) {
    if (!l) return;
    for (size_t i = 0; i < l->n; i++) buf_free(&l->queue[i].bytes);
    free(l->queue);
    err_free(l->error);
    free(l);
}

void lane_segment(lane_t *l, epoch_t epoch, buf_t *segment) {
    pending_t p = {.epoch = epoch, .bytes = *segment};
    *segment = (buf_t){.max = segment->max};
    err_t *e = segment_open(buf_slice(&p.bytes), &p.records, &p.rows, &p.crc);
    ASSERT(!l->n || l->queue[l->n - 1].epoch < epoch);
    if (e || !p.rows) {
        buf_free(&p.bytes);
        if (e && l->state != LANE_STOPPED) stop(l, err_wrap(e, "epoch %" PRIu64, epoch));
        else err_free(e);
        return;
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 4;
        l->queue = xrealloc(l->queue, l->cap * sizeof *l->queue);
    }
    l->bytes += p.bytes.len;
    l->queue[l->n++] = p;
}

void lane_complete(lane_t *l, epoch_t epoch) { l->completed = MAX(l->completed, epoch); }

static void drop_head(lane_t *l, size_t n) {
    for (size_t i = 0; i < n; i++) {
        l->bytes -= l->queue[i].bytes.len;
        buf_free(&l->queue[i].bytes);
    }
    l->n -= n;
    if (n) memmove(l->queue, l->queue + n, l->n * sizeof *l->queue);
}

static uint64_t root_of(const lane_t *l) { return l->past.root ? l->past.root : l->incarnation; }

/* Fills parts until the transaction is full; the ledger says where the last part ends. */
static bool plan_send(lane_t *l, lane_action_t *a) {
    size_t bytes = 0;
    a->nparts = 0;
    for (size_t i = 0; i < l->n && a->nparts < LANE_GROUP && bytes < l->txn_bytes; i++) {
        pending_t *p = &l->queue[i];
        if (p->epoch > l->completed) break;
        reader_t r = p->records;
        lane_record_t rec;
        uint64_t rows = 0;
        const uint8_t *from = r.p;
        while (p->done + rows < p->rows && (bytes + (size_t)(r.p - from) < l->txn_bytes)) {
            if (!segment_next(&r, &rec)) {
                stop(l, err_new(ERR_CORRUPT, "epoch %" PRIu64 ": output segment ends after %" PRIu64 " of %" PRIu64 " rows", p->epoch, p->done + rows, p->rows));
                return false;
            }
            rows++;
        }
        bytes += (size_t)(r.p - from);
        a->parts[a->nparts++] = (lane_part_t){p->epoch, p->records, rows};
        a->ledger = (ledger_pos_t){.present = true, .incarnation = l->incarnation, .epoch = p->epoch, .part = p->part,
                                   .next_row = p->done + rows, .epoch_done = p->done + rows == p->rows, .root = root_of(l), .segment = p->crc};
    }
    if (a->nparts) return true;
    a->ledger = (ledger_pos_t){.present = true, .incarnation = l->incarnation, .epoch = l->begun, .epoch_done = true, .root = root_of(l)};
    return l->need_start;
}

void lane_next(lane_t *l, lane_action_t *ret) {
    ret->kind = LANE_DO_NOTHING;
    ret->nparts = 0;
    if (l->outstanding) return;
    switch (l->state) {
    case LANE_FRESH: return;
    case LANE_FENCING:
        if (l->wait_confirm) return;
        ret->kind = LANE_DO_INIT;
        break;
    case LANE_READING:
        if (l->read_early) return;
        ret->kind = LANE_DO_READ;
        break;
    case LANE_READY:
        if (!plan_send(l, ret)) break;
        ret->kind = LANE_DO_SEND;
        l->sent_upto = MAX(l->sent_upto, ret->ledger.epoch);
        l->sent = *ret;
        lane_set_state(l, LANE_SENDING);
        break;
    case LANE_SENDING: UNREACHABLE(); /* a SEND is always outstanding in it */
    case LANE_STOPPED: break;
    }
    if (l->state == LANE_STOPPED) {
        ret->kind = l->stop_reported ? LANE_DO_NOTHING : LANE_DO_STOP;
        l->stop_reported = true;
        return;
    }
    l->outstanding = ret->kind != LANE_DO_NOTHING;
}

/* An answer ends the action even if the lane was stopped meanwhile, by a segment that cannot be read: it has to say so. */
void lane_initialised(lane_t *l) {
    l->outstanding = false;
    if (l->state != LANE_FENCING) return;
    lane_set_state(l, LANE_READING);
}

#define ACCEPT "or go on from the last epoch with output doubled: tidegate resume --accept-duplicates"
#define PUT_BACK "was the metadata store or checkpoint storage put back to an older state? restore the newer, " ACCEPT

#define NEWER "begin from the last savepoint of the job that published last (of a FAILED one `tidegate savepoint` makes one). To compute it anew: " \
              "into another topic, with another 'sink.transactional-id-prefix' and --new-ledger; or, to have it twice in this one, with --accept-duplicates"
#define TWICE_OR_NOT "output of epoch %" PRIu64 " and later may be published or not: "

/* Is it a record of the past? Then its epochs are ours up to *ret_upto; those behind it only bear the same numbers. */
static bool of_past(const lane_past_t *p, const ledger_pos_t *pos, epoch_t *ret_upto) {
    bool origin = pos->present && p->origin && pos->incarnation == p->origin, had = pos->present && p->had && pos->incarnation == p->had;
    *ret_upto = origin ? p->started : p->had_upto;
    return origin || had;
}

/* A relative's, who may have published what would be published here. */
static bool of_family(const lane_past_t *p, const ledger_pos_t *pos) {
    return pos->present && p->root && pos->root == p->root && !(pos->incarnation == p->root && !pos->epoch);
}

static err_t *taken_over(const ledger_pos_t *pos) {
    return err_hint(err_new(ERR_FENCED, "taken over by incarnation %016" PRIx64 " of the job", pos->incarnation),
                    "another job with this 'sink.transactional-id-prefix' was started later; stop it to take its place: "
                    "tidegate resume --accept-duplicates");
}

static err_t *check_third(const lane_past_t *p, epoch_t doubt, const ledger_pos_t *pos) {
    uint64_t whose = p->had ? p->had : p->origin;
    if (!pos->present)
        return err_hint(err_new(ERR_CORRUPT, TWICE_OR_NOT "the ledger is empty, and not that of incarnation %016" PRIx64 ", which this job goes on from", doubt, whose),
                        "was the ledger topic deleted? Or is it a new one, as the job's name or 'sink.transactional-id-prefix' is another: then begin from the "
                        "savepoint with --new-ledger");
    return err_hint(err_new(ERR_FENCED, TWICE_OR_NOT "the ledger is incarnation %016" PRIx64 "'s, not %016" PRIx64 "'s, which this job goes on from", doubt,
                            pos->incarnation, whose),
                    "another job began from the same savepoint, or with this 'sink.transactional-id-prefix'. " NEWER);
}

err_t *lane_past_check(const lane_past_t *p, epoch_t owed, const ledger_pos_t *pos) {
    epoch_t upto;
    if (p->forced) return NULL;
    if (!p->origin && !p->started) return of_family(p, pos) ? taken_over(pos) : NULL; /* what began from our savepoint */
    if (!p->origin)
        return !pos->present ? NULL : err_hint(err_new(ERR_FENCED, "the ledger is not a new one: it has a record of incarnation %016" PRIx64 ", of epoch %" PRIu64, pos->incarnation, pos->epoch),
                                               "the ledger of the savepoint's job is used without --new-ledger, and with the name and prefix of that job; else name another "
                                               "'sink.transactional-id-prefix', or take this one over as it is: --accept-duplicates");
    if (!of_past(p, pos, &upto)) return owed || p->had || of_family(p, pos) ? check_third(p, owed ? owed : p->started + 1, pos) : NULL;
    if (pos->epoch <= upto) return NULL;
    return err_hint(err_new(ERR_FENCED, "the ledger says epoch %" PRIu64 " of incarnation %016" PRIx64 ", but this job goes on from its epoch %" PRIu64 ": output "
                            "published since would come a second time", pos->epoch, pos->incarnation, upto), NEWER);
}

/* No record of this incarnation is known, and another's is the last, or none. */
static err_t *check_taking(const lane_t *l, const ledger_pos_t *pos) {
    return lane_past_check(&l->past, l->n && l->queue[0].epoch <= l->past.started ? l->queue[0].epoch : 0, pos);
}

static err_t *check_ledger(const lane_t *l, const ledger_pos_t *pos) {
    if (!pos->present && l->has_bound)
        return err_hint(err_new(ERR_CORRUPT, "the ledger is empty although epoch %" PRIu64 " was published", l->bound),
                        "was the ledger topic deleted or its retention changed? restore it, " ACCEPT);
    if (!l->has_bound && (!pos->present || pos->incarnation != l->incarnation)) return check_taking(l, pos);
    if (pos->incarnation != l->incarnation) return taken_over(pos);
    if (l->has_bound && pos->epoch < l->bound)
        return err_hint(err_new(ERR_CORRUPT, "the ledger says epoch %" PRIu64 ", but epoch %" PRIu64 " was published", pos->epoch, l->bound),
                        "did the broker lose records? " ACCEPT);
    if (pos->epoch > l->sent_upto)
        return err_hint(err_new(ERR_CORRUPT, "the ledger says epoch %" PRIu64 ", but the last complete epoch is %" PRIu64, pos->epoch,
                                l->sent_upto),
                        PUT_BACK);
    return NULL;
}

/* Are the rows that the ledger names last those of this history? Where metadata or storage were put back, the epoch may be missing here, or be
 * another one of the same number. What is not known is taken for true: whoever cannot bear that asks for `proof`. */
static bool same_history(const lane_t *l, const ledger_pos_t *pos, bool proof) {
    if (!pos->segment || pos->epoch <= l->bound) return true;
    for (size_t i = 0; i < l->n; i++)
        if (l->queue[i].epoch == pos->epoch) return l->queue[i].crc == pos->segment;
    return !proof;
}

static err_t *other_history(const ledger_pos_t *pos) {
    return err_hint(err_new(ERR_CORRUPT, "the ledger says epoch %" PRIu64 ", but its rows are not those of the checkpoint", pos->epoch),
                    PUT_BACK);
}

/* Rows of the segment the ledger shows as published are skipped. */
static err_t *skip_rows(pending_t *p, const ledger_pos_t *pos) {
    lane_record_t rec;
    if (pos->next_row > p->rows) return err_new(ERR_CORRUPT, "the ledger says row %" PRIu64 " of epoch %" PRIu64 ", which has %" PRIu64, pos->next_row, p->epoch, p->rows);
    while (p->done < pos->next_row) {
        if (!segment_next(&p->records, &rec)) return err_new(ERR_CORRUPT, "epoch %" PRIu64 ": output segment is too short", p->epoch);
        p->done++;
    }
    p->part = pos->part + 1;
    return NULL;
}

static void judge(lane_t *l, const ledger_pos_t *pos) {
    err_t *e = check_ledger(l, pos);
    if (e) {
        stop(l, e);
        return;
    }
    bool ours = pos->present && pos->incarnation == l->incarnation;
    epoch_t upto = UINT64_MAX;
    bool past = !ours && of_past(&l->past, pos, &upto);
    /* Duplicates are accepted, loss is not: without proof that the past's last rows are ours nothing of what is owed counts as published. */
    if (past && l->past.forced && (pos->epoch > upto || !same_history(l, pos, true))) past = false;
    if ((ours || past) && !same_history(l, pos, /* proof: */ ours && pos->epoch > l->past.started)) { /* owed ones may be published, and gone */
        stop(l, other_history(pos));
        return;
    }
    if (past) l->begun = MIN(upto, pos->epoch_done ? pos->epoch : pos->epoch - 1);
    else if (!ours) upto = 0;
    l->need_start = !ours;
    size_t gone = 0;
    while (gone < l->n && l->queue[gone].epoch <= upto &&
           (l->queue[gone].epoch < pos->epoch || (l->queue[gone].epoch == pos->epoch && pos->epoch_done))) gone++;
    drop_head(l, gone);
    if (past && !pos->epoch_done && l->n && l->queue[0].epoch == pos->epoch && pos->epoch <= upto) {
        e = skip_rows(&l->queue[0], pos);
    } else if (ours && !pos->epoch_done) {
        if (!l->n || l->queue[0].epoch != pos->epoch)
            e = err_new(ERR_CORRUPT, "epoch %" PRIu64 " is published up to row %" PRIu64 ", but the rest of it is not in the checkpoint", pos->epoch, pos->next_row);
        else e = skip_rows(&l->queue[0], pos);
    }
    if (ours) {
        l->has_bound = true;
        l->bound = MAX(l->bound, pos->epoch_done ? pos->epoch : pos->epoch ? pos->epoch - 1 : 0);
    }
    if (e) stop(l, e);
    else lane_set_state(l, LANE_READY);
}

void lane_ledger(lane_t *l, const ledger_pos_t *pos) {
    l->outstanding = false;
    if (l->state != LANE_READING) return;
    l->read_early = l->held;
    l->early = *pos;
    if (!l->held) judge(l, pos);
}

void lane_fence(lane_t *l) {
    if (l->state != LANE_FRESH) return;
    l->held = true;
    lane_set_state(l, LANE_FENCING);
}

void lane_open(lane_t *l) {
    if (l->state == LANE_FRESH) lane_set_state(l, LANE_FENCING);
    l->held = false;
    l->sent_upto = MAX(l->sent_upto, l->completed);
    if (l->state != LANE_READING || !l->read_early) return;
    ledger_pos_t pos = l->early; /* nobody has written since: who does must fence us first, and then our send fails */
    l->read_early = false;
    judge(l, &pos);
}

void lane_committed(lane_t *l, const ledger_pos_t *pos) {
    l->outstanding = false;
    if (l->state != LANE_SENDING) return;
    l->txn_bytes = MIN(l->txn_bytes * 2, l->most);
    ASSERT(pos->epoch == l->sent.ledger.epoch && pos->next_row == l->sent.ledger.next_row);
    l->need_start = false;
    l->has_bound = true;
    size_t gone = 0;
    for (int i = 0; i < l->sent.nparts; i++) {
        pending_t *p = &l->queue[i];
        lane_record_t rec;
        ASSERT(p->epoch == l->sent.parts[i].epoch);
        for (uint64_t k = 0; k < l->sent.parts[i].rows; k++) {
            bool ok = segment_next(&p->records, &rec);
            ASSERT(ok); /* walked over before it was sent */
        }
        p->done += l->sent.parts[i].rows;
        p->part++;
        if (p->done < p->rows) break;
        l->bound = p->epoch;
        gone++;
    }
    drop_head(l, gone);
    lane_set_state(l, LANE_READY);
}

void lane_doubt(lane_t *l) {
    l->outstanding = false;
    if (l->state == LANE_STOPPED || l->state == LANE_FRESH) return;
    if (l->state == LANE_SENDING) l->txn_bytes = MAX(l->txn_bytes / 2, MIN((size_t)LANE_TXN_BYTES_MIN, l->most));
    l->read_early = false;
    lane_set_state(l, LANE_FENCING);
}

void lane_unconfirm(lane_t *l) { l->wait_confirm = true; }

void lane_fenced(lane_t *l) {
    lane_doubt(l);
    lane_unconfirm(l);
}

void lane_confirm(lane_t *l) { l->wait_confirm = false; }

void lane_poison(lane_t *l, err_t *why) {
    l->outstanding = false;
    stop(l, why);
}

lane_state_t lane_state(const lane_t *l) { return l->state; }
const err_t *lane_error(const lane_t *l) { return l->error; }
size_t lane_unpublished_bytes(const lane_t *l) { return l->bytes; }
bool lane_started(const lane_t *l) { return l->has_bound; }

epoch_t lane_published(const lane_t *l) {
    return l->n ? MIN(l->queue[0].epoch - 1, l->completed) : l->completed;
}
