/* The lane core: what is published, in which order, and what a ledger may say. Each story of a crash is played to the end. */
#include "engine/lane.h"
#include "tests/helpers/test.h"
#include <stdio.h>

#define INC 0xabcdef0123456789u

/* A model of Kafka: committed rows and the ledger; the next commit may be lost (nothing happens) or its answer may be. */
typedef struct model {
    char rows[4096];
    ledger_pos_t ledger;
    int txns, inits;
} model_t;

static void add_segment(lane_t *l, epoch_t e, int rows, const char *prefix) {
    buf_t b = buf_make(0);
    segment_begin(&b);
    for (int i = 0; i < rows; i++) {
        char v[64];
        int n = snprintf(v, sizeof v, "%s%d.%d ", prefix, (int)e, i);
        segment_add(&b, &(lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = true, .value = slice_of(v, (size_t)n)});
    }
    segment_finish(&b, 0, (uint64_t)rows);
    lane_segment(l, e, &b);
    buf_free(&b);
}

static void apply(model_t *m, const lane_action_t *a) {
    for (int i = 0; i < a->nparts; i++) {
        reader_t r = a->parts[i].records;
        lane_record_t rec;
        for (uint64_t k = 0; k < a->parts[i].rows; k++) {
            ck_assert(segment_next(&r, &rec));
            strncat(m->rows, (const char *)rec.value.p, rec.value.len);
        }
    }
    m->ledger = a->ledger;
    m->txns++;
}

/* Runs until the lane wants nothing; returns false when it stopped. */
static bool drive(lane_t *l, model_t *m) {
    for (int i = 0; i < 1000; i++) {
        lane_action_t a;
        lane_next(l, &a);
        switch (a.kind) {
        case LANE_DO_NOTHING: return lane_state(l) != LANE_STOPPED;
        case LANE_DO_INIT:
            m->inits++;
            lane_initialised(l);
            break;
        case LANE_DO_READ: lane_ledger(l, &m->ledger); break;
        case LANE_DO_SEND:
            apply(m, &a);
            lane_committed(l, &a.ledger);
            break;
        case LANE_DO_STOP: return false;
        }
    }
    ck_abort_msg("the lane never rests");
    return false;
}

START_TEST(nothing_is_sent_before_its_epoch_is_complete) {
    model_t m = {0};
    lane_t *l = lane_new(INC, 0, false);
    add_segment(l, 1, 2, "");
    add_segment(l, 3, 1, "");
    lane_open(l);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "");
    ck_assert_int_eq(m.txns, 1); /* the start record of a new incarnation */
    ck_assert(m.ledger.present && m.ledger.incarnation == INC && m.ledger.epoch == 0);
    lane_complete(l, 1);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "1.0 1.1 ");
    ck_assert_uint_eq(lane_published(l), 1);
    lane_complete(l, 2); /* without rows: no transaction, yet published */
    ck_assert(drive(l, &m));
    ck_assert_int_eq(m.txns, 2);
    ck_assert_uint_eq(lane_published(l), 2);
    lane_complete(l, 5);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "1.0 1.1 3.0 ");
    ck_assert_uint_eq(lane_published(l), 5);
    ck_assert_uint_eq(lane_unpublished_bytes(l), 0);
    lane_free(l);
}
END_TEST

START_TEST(epochs_behind_go_as_a_group) {
    model_t m = {0};
    lane_t *l = lane_new(INC, 0, false);
    for (epoch_t e = 1; e <= 10; e++) add_segment(l, e, 1, "");
    lane_complete(l, 10);
    lane_open(l);
    ck_assert(drive(l, &m));
    ck_assert_int_eq(m.txns, 1);
    ck_assert_str_eq(m.rows, "1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0 10.0 ");
    ck_assert_uint_eq(m.ledger.epoch, 10);
    lane_free(l);
}
END_TEST

/* B1: an epoch larger than a transaction goes in parts, and a crash between parts resumes at the row. */
START_TEST(a_large_epoch_goes_in_parts_and_resumes_at_the_row) {
    enum { ROWS = 40, SIZE = 1 << 20 };
    char *value = calloc(1, SIZE);
    buf_t b = buf_make(0), copy = buf_make(0);
    segment_begin(&b);
    for (int i = 0; i < ROWS; i++) {
        value[0] = (char)i;
        segment_add(&b, &(lane_record_t){.partition = 3, .timestamp_ms = 5, .has_value = true, .value = slice_of(value, SIZE)});
    }
    segment_finish(&b, 0, ROWS);
    buf_put(&copy, b.data, b.len);
    lane_t *l = lane_new(INC, 0, false);
    lane_segment(l, 7, &b);
    lane_complete(l, 7);
    lane_open(l);
    lane_action_t a;
    lane_next(l, &a);
    lane_initialised(l);
    lane_next(l, &a);
    lane_ledger(l, &(ledger_pos_t){0});
    lane_next(l, &a);
    ck_assert_int_eq(a.kind, LANE_DO_SEND);
    ck_assert_uint_eq(a.parts[0].rows, LANE_TXN_BYTES / SIZE);
    ck_assert(!a.ledger.epoch_done && a.ledger.next_row == a.parts[0].rows);
    ledger_pos_t first = a.ledger;
    lane_free(l); /* crash after the commit, before its answer */
    l = lane_new(INC, 0, true);
    lane_segment(l, 7, &copy);
    lane_complete(l, 7);
    lane_open(l);
    lane_next(l, &a);
    lane_initialised(l);
    lane_next(l, &a);
    lane_ledger(l, &first);
    uint64_t next = first.next_row;
    while (lane_next(l, &a), a.kind == LANE_DO_SEND) {
        reader_t r = a.parts[0].records;
        lane_record_t rec;
        ck_assert(segment_next(&r, &rec));
        ck_assert_uint_eq(rec.value.p[0], next);
        ck_assert_int_eq(rec.partition, 3);
        next += a.parts[0].rows;
        ck_assert_uint_eq(a.ledger.next_row, next);
        lane_committed(l, &a.ledger);
    }
    ck_assert_uint_eq(next, ROWS);
    ck_assert_uint_eq(lane_published(l), 7);
    lane_free(l);
    buf_free(&b);
    buf_free(&copy);
    free(value);
}
END_TEST

START_TEST(a_lost_answer_is_settled_by_the_ledger) {
    for (int committed = 0; committed < 2; committed++) { /* did the transaction whose answer was lost happen? */
        model_t m = {0};
        lane_t *l = lane_new(INC, 0, false);
        add_segment(l, 1, 2, "");
        lane_complete(l, 1);
        lane_open(l);
        lane_action_t a = {0};
        do {
            lane_next(l, &a);
            if (a.kind == LANE_DO_INIT) lane_initialised(l);
            if (a.kind == LANE_DO_READ) lane_ledger(l, &m.ledger);
        } while (a.kind != LANE_DO_SEND);
        if (committed) apply(&m, &a);
        lane_doubt(l);
        ck_assert_int_eq(lane_state(l), LANE_FENCING); /* a new producer, and only then the ledger */
        ck_assert(drive(l, &m));
        ck_assert_str_eq(m.rows, "1.0 1.1 ");
        ck_assert_int_eq(m.inits, 1);
        lane_free(l);
    }
}
END_TEST

/* A2: what is published after a restart is what the manifest names: epoch 13, not the sealed 11 and 12 of the dead attempt. */
START_TEST(only_segments_named_by_the_manifest_are_published) {
    model_t m = {.ledger = {.present = true, .incarnation = INC, .epoch = 10, .epoch_done = true}};
    lane_t *l = lane_new(INC, 10, true);
    add_segment(l, 13, 2, "");
    lane_complete(l, 13);
    lane_open(l);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "13.0 13.1 ");
    lane_free(l);
}
END_TEST

static err_code_t refused(uint64_t incarnation, epoch_t bound, bool has_bound, epoch_t complete, ledger_pos_t ledger, const char *part) {
    model_t m = {.ledger = ledger};
    lane_t *l = lane_new(incarnation, bound, has_bound);
    add_segment(l, complete + 1, 1, "");
    lane_complete(l, complete);
    lane_open(l);
    ck_assert(!drive(l, &m));
    ck_assert_msg(strstr(err_text(lane_error(l)), part) != NULL, "%s", err_text(lane_error(l)));
    err_code_t code = err_code(lane_error(l));
    ck_assert_str_eq(m.rows, "");
    lane_free(l);
    return code;
}

/* A4, A12: a ledger that cannot be stops the lane loudly. */
START_TEST(an_impossible_ledger_stops_the_lane) {
    ledger_pos_t at = {.present = true, .incarnation = INC, .epoch = 9, .epoch_done = true};
    ck_assert_int_eq(refused(INC, 5, true, 9, (ledger_pos_t){0}, "the ledger is empty"), ERR_CORRUPT);
    ck_assert_int_eq(refused(INC, 12, true, 12, at, "epoch 12 was published"), ERR_CORRUPT);
    ck_assert_int_eq(refused(INC, 5, true, 8, at, "last complete epoch is 8"), ERR_CORRUPT);
    at.incarnation = INC + 1;
    ck_assert_int_eq(refused(INC, 5, true, 9, at, "taken over by incarnation"), ERR_FENCED);
}
END_TEST

/* Storage was put back to epoch 5, the ledger knows epoch 6 of the future that was taken back. While the broker lets the lane wait for its
 * producer the sources read on, and an epoch 6 completes that has other rows: they are not what the ledger says is published. */
START_TEST(a_ledger_ahead_stops_the_lane_also_when_its_epochs_complete_while_it_waits) {
    for (int early = 0; early < 2; early++) {
        lane_t *l = lane_new(INC, 5, true);
        lane_action_t a;
        lane_complete(l, 5);
        if (early) lane_fence(l);
        else lane_open(l);
        lane_next(l, &a);
        ck_assert_int_eq(a.kind, LANE_DO_INIT);
        if (early) lane_open(l);
        add_segment(l, 6, 1, "other ");
        lane_complete(l, 6);
        lane_doubt(l); /* the time-out of its first init */
        model_t m = {.ledger = {.present = true, .incarnation = INC, .epoch = 6, .next_row = 1, .epoch_done = true}};
        ck_assert(!drive(l, &m));
        ck_assert_int_eq(m.txns, 0);
        ck_assert_ptr_nonnull(strstr(err_text(lane_error(l)), "the ledger says epoch 6, but the last complete epoch is 5"));
        lane_free(l);
    }
}
END_TEST

/* What a ledger says when a lane has published epochs 6 and 7 of one row each. */
static ledger_pos_t ledger_of(const char *prefix) {
    model_t m = {0};
    lane_t *l = lane_new(INC, 0, false);
    lane_open(l);
    for (epoch_t e = 6; e <= 7; e++) add_segment(l, e, 1, prefix);
    lane_complete(l, 7);
    ck_assert(drive(l, &m) && m.ledger.epoch == 7);
    lane_free(l);
    return m.ledger;
}
/* The same, and the job is resumed as it stands: its manifest of epoch 22 does not make the ledger's epoch 7 its own. */
START_TEST(a_ledger_of_another_history_stops_the_lane) {
    static const struct { epoch_t bound, segment; const char *rows; bool ok; } cases[] = {
        {5, 7, "then ", true}, {5, 7, "other ", false}, {5, 8, "then ", false}, {7, 9, "then ", true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        model_t m = {.ledger = ledger_of("then ")};
        lane_t *l = lane_new(INC, cases[i].bound, true);
        add_segment(l, cases[i].segment, 1, cases[i].rows);
        lane_complete(l, 22);
        lane_open(l);
        ck_assert_int_eq(drive(l, &m), cases[i].ok);
        if (!cases[i].ok) ck_assert_ptr_nonnull(strstr(err_text(lane_error(l)), "the ledger says epoch 7, but its rows are not those"));
        ck_assert_str_eq(m.rows, cases[i].segment == 9 ? "then 9.0 " : "");
        lane_free(l);
    }
}
END_TEST

/* The operator accepted duplicates: only what is proven to be published is not sent again. */
START_TEST(accepted_duplicates_do_not_lose_the_rows_of_another_history) {
    static const struct { const char *prefix; epoch_t started; const char *rows; } cases[] = {
        {"then ", 22, ""}, {"other ", 22, "other 6.0 other 7.0 "}, {"then ", 6, "then 6.0 then 7.0 "}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        model_t m = {.ledger = ledger_of("then ")};
        for (int again = 0; again < 2; again++) { /* and it dies before anybody hears of it */
            lane_t *l = lane_new(INC + 1, 0, false);
            lane_past(l, &(lane_past_t){.origin = INC, .started = cases[i].started, .forced = true});
            for (epoch_t e = 6; e <= 7; e++) add_segment(l, e, 1, cases[i].prefix);
            lane_complete(l, MAX(cases[i].started, (epoch_t)7));
            lane_open(l);
            ck_assert(drive(l, &m));
            ck_assert_str_eq(m.rows, cases[i].rows);
            lane_free(l);
        }
        lane_t *l = lane_new(INC + 1, 0, true); /* and when the manifest has heard of it: what was owed is gone from the checkpoint */
        lane_past(l, &(lane_past_t){.origin = INC, .started = cases[i].started, .forced = true});
        lane_complete(l, 23);
        lane_open(l);
        ck_assert(m.ledger.epoch > cases[i].started || drive(l, &m));
        lane_free(l);
    }
}
END_TEST

START_TEST(a_new_incarnation_takes_the_ledger_over) {
    model_t m = {.ledger = {.present = true, .incarnation = INC + 1, .epoch = 40, .epoch_done = true}};
    lane_t *l = lane_new(INC, 0, false);
    add_segment(l, 1, 1, "");
    lane_complete(l, 1);
    lane_open(l);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "1.0 "); /* A4a: not taken as published because some other run got to 40 */
    ck_assert(m.ledger.incarnation == INC);
    lane_free(l);
}
END_TEST

static lane_t *descendant(bool forced) { /* incarnation INC, begun at epoch 50 of incarnation 7, whose epochs 49 and 50 may be unpublished */
    lane_t *l = lane_new(INC, 0, false);
    lane_past(l, &(lane_past_t){.origin = 7, .started = 50, .forced = forced});
    add_segment(l, 49, 2, "");
    add_segment(l, 50, 1, "");
    lane_complete(l, 50);
    lane_open(l);
    return l;
}

/* A7: what a savepoint holds unpublished is published once: by the job it was taken of, or by the one that begins from it; the ledger tells. */
START_TEST(output_of_a_savepoint_is_published_behind_its_origins_ledger) {
    static const struct { epoch_t epoch; uint64_t row; bool done; const char *rows; epoch_t begun; } cases[] = {
        {48, 5, true, "49.0 49.1 50.0 ", 50}, {49, 1, false, "49.1 50.0 ", 50}, {49, 2, true, "50.0 ", 50}, {50, 1, true, "", 50}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        model_t m = {.ledger = {.present = true, .incarnation = 7, .epoch = cases[i].epoch, .next_row = cases[i].row, .epoch_done = cases[i].done}};
        lane_t *l = descendant(false);
        add_segment(l, 60, 1, "new"); /* ours, whatever the origin published under this number */
        lane_complete(l, 60);
        ck_assert(drive(l, &m));
        AUTO(auto_free) char *want = xprintf("%snew60.0 ", cases[i].rows);
        ck_assert_str_eq(m.rows, want);
        lane_free(l);
        m = (model_t){.ledger = {.present = true, .incarnation = 7, .epoch = cases[i].epoch, .next_row = cases[i].row, .epoch_done = cases[i].done}};
        l = descendant(false); /* dies before anybody hears what it did, and is restored as it was */
        ck_assert(drive(l, &m));
        lane_free(l);
        ck_assert_uint_eq(m.ledger.incarnation, INC);
        ck_assert_uint_eq(m.ledger.epoch, cases[i].begun);
        l = descendant(false);
        ck_assert(drive(l, &m));
        ck_assert_str_eq(m.rows, cases[i].rows);
        ck_assert_uint_eq(lane_published(l), 50);
        lane_free(l);
    }
}
END_TEST

/* Nobody can say what of it was published: not without the operator's word. */
START_TEST(output_of_a_savepoint_is_not_guessed_about) {
    model_t m = {.ledger = {.present = true, .incarnation = 8, .epoch = 90, .epoch_done = true}}, none = {0};
    lane_t *l = descendant(false);
    ck_assert(!drive(l, &m));
    ck_assert_ptr_nonnull(strstr(err_text(lane_error(l)), "output of epoch 49 and later may be published or not"));
    ck_assert_ptr_nonnull(strstr(err_hint_text(lane_error(l)), "--accept-duplicates"));
    lane_free(l);
    l = descendant(false);
    ck_assert(!drive(l, &none));
    ck_assert_ptr_nonnull(strstr(err_hint_text(lane_error(l)), "--new-ledger"));
    lane_free(l);
    l = descendant(true);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "49.0 49.1 50.0 ");
    lane_free(l);
}
END_TEST

/* Incarnation INC begins from epoch 50 of incarnation 7. Whose output is the ledger's last, and does that forbid it? `had`: the lane's manifest knows of
 * records of 7 (or of 6, which 7 began from at epoch 40). */
typedef struct taking { lane_past_t past; ledger_pos_t ledger; const char *says, *hint; } taking_t;
#define RECORD(inc, e) {.present = true, .incarnation = (inc), .epoch = (e), .next_row = 1, .epoch_done = true}
#define PART(inc, e) {.present = true, .incarnation = (inc), .epoch = (e), .next_row = 1}
#define START_RECORD(inc, e) {.present = true, .incarnation = (inc), .epoch = (e), .epoch_done = true}
#define RECORD_OF(inc, e) .present = true, .incarnation = (inc), .epoch = (e), .next_row = 1, .epoch_done = true
#define STARTED(inc, e) .present = true, .incarnation = (inc), .epoch = (e), .epoch_done = true
#define OF(family, ...) {__VA_ARGS__, .root = (family)}
static void expect_taking(const taking_t *c, int n) {
    for (int i = 0; i < n; i++) {
        model_t m = {.ledger = c[i].ledger};
        for (int again = 0; again < 2; again++) { /* the same after a crash: what is refused stays refused, what is taken is ours */
            lane_t *l = lane_new(INC, 0, false);
            lane_past(l, &c[i].past);
            lane_complete(l, 50);
            if (!again) lane_open(l);
            add_segment(l, 51, 1, "");
            lane_complete(l, 51);
            if (again) lane_open(l); /* restored from epoch 51 */
            ck_assert_msg(drive(l, &m) == !c[i].says, "case %d: %s", i, err_text(lane_error(l)));
            if (c[i].says) {
                ck_assert_msg(strstr(err_text(lane_error(l)), c[i].says) != NULL, "case %d: %s", i, err_text(lane_error(l)));
                ck_assert_msg(strstr(err_hint_text(lane_error(l)), c[i].hint) != NULL, "case %d: %s", i, err_hint_text(lane_error(l)));
                ck_assert_uint_eq(m.ledger.incarnation, c[i].ledger.incarnation);
            }
            ck_assert_str_eq(m.rows, c[i].says ? "" : "51.0 ");
            ck_assert_int_eq(m.txns, !c[i].says);
            lane_free(l);
        }
    }
}

START_TEST(nothing_is_published_behind_a_savepoint_twice) {
    lane_past_t past = {.origin = 7, .started = 50, .had = 7, .had_upto = 50}, unknown = {.origin = 7, .started = 50}, forced = past;
    forced.forced = true;
    taking_t cases[] = {
        {past, RECORD(7, 50), NULL, NULL},      /* a stop's: nothing lies behind it */
        {past, RECORD(7, 31), NULL, NULL},      /* the lane had no rows since */
        {past, START_RECORD(7, 0), NULL, NULL}, /* it never had any */
        {past, RECORD(7, 51), "the ledger says epoch 51 of incarnation 0000000000000007, but this job goes on from its epoch 50", "--accept-duplicates"},
        {past, PART(7, 51), "output published since would come a second time", "last savepoint"},
        {unknown, RECORD(7, 80), "but this job goes on from its epoch 50", "--new-ledger"}, /* it started after its manifest was made */
        {unknown, {0}, NULL, NULL},             /* or never */
        {forced, RECORD(7, 80), NULL, NULL},
    };
    expect_taking(cases, ARRAY_LEN(cases));
}
END_TEST

/* Two jobs from one savepoint, one after the other: the second finds the first one's record. */
START_TEST(a_ledger_that_tells_nothing_of_what_lies_behind_a_savepoint_is_not_taken) {
    lane_past_t past = {.origin = 7, .started = 50, .had = 7, .had_upto = 50}, unknown = {.origin = 7, .started = 50}, forced = past;
    forced.forced = true;
    taking_t cases[] = {
        {past, RECORD(8, 60), "output of epoch 51 and later may be published or not: the ledger is incarnation 0000000000000008's", "--accept-duplicates"},
        {past, START_RECORD(8, 50), "is incarnation 0000000000000008's", "began from the same savepoint"}, /* what it wrote over nobody knows */
        {past, {0}, "output of epoch 51 and later may be published or not: the ledger is empty", "--new-ledger"},
        {unknown, RECORD(8, 60), NULL, NULL},   /* a lane that the savepoint's job had not, and an old run had */
        {forced, RECORD(8, 60), NULL, NULL},
        {forced, {0}, NULL, NULL},
    };
    expect_taking(cases, ARRAY_LEN(cases));
}
END_TEST

/* 7 began from epoch 40 of 6 and was stopped before its lane had started: the last record is 6's, and that is as it has to be. */
START_TEST(a_lane_that_never_started_leaves_the_ledger_to_its_predecessors_record) {
    lane_past_t past = {.origin = 7, .started = 50, .had = 6, .had_upto = 40};
    taking_t cases[] = {
        {past, RECORD(6, 40), NULL, NULL},
        {past, START_RECORD(7, 40), NULL, NULL}, /* it had, and nobody heard of it */
        {past, RECORD(7, 50), NULL, NULL},
        {past, RECORD(6, 45), "epoch 45 of incarnation 0000000000000006, but this job goes on from its epoch 40", "--accept-duplicates"},
        {past, RECORD(7, 51), "but this job goes on from its epoch 50", "--accept-duplicates"},
        {past, RECORD(8, 10), "output of epoch 51 and later may be published or not", "--accept-duplicates"},
        {past, {0}, "the ledger is empty", "--new-ledger"},
    };
    expect_taking(cases, ARRAY_LEN(cases));
    for (int done = 0; done < 2; done++) { /* what the savepoint of 7 holds unpublished of 6 is owed behind 6's record */
        model_t m = {.ledger = {.present = true, .incarnation = 6, .epoch = 39, .next_row = 1, .epoch_done = done}};
        lane_t *l = lane_new(INC, 0, false);
        lane_past(l, &past);
        add_segment(l, 39, 2, "");
        add_segment(l, 45, 1, "");
        lane_complete(l, 50);
        lane_open(l);
        ck_assert(drive(l, &m));
        ck_assert_str_eq(m.rows, done ? "45.0 " : "39.1 45.0 ");
        lane_free(l);
    }
}
END_TEST

/* Two faults: the lane's start was not heard of, by its own job (7) or by those between, and another that began from the same state has published. What
 * lies there would be published a second time. Of an old run's ledger, another family, that cannot be. */
START_TEST(a_relatives_ledger_is_not_taken_by_a_lane_that_never_started) {
    lane_past_t unknown = {.origin = 7, .started = 50, .root = 7}, later = {.origin = 9, .started = 50, .root = 7}, scratch = {.root = INC}, forced = unknown;
    forced.forced = true;
    taking_t cases[] = {
        {unknown, OF(7, RECORD_OF(8, 60)), "output of epoch 51 and later may be published or not: the ledger is incarnation 0000000000000008's", "--accept-duplicates"},
        {unknown, OF(7, RECORD_OF(11, 4)), "incarnation 000000000000000b's", "began from the same savepoint"}, /* from an earlier one */
        {unknown, OF(7, STARTED(8, 50)), "incarnation 0000000000000008's", "began from the same savepoint"},   /* over whose record nobody knows */
        {later, OF(7, RECORD_OF(8, 60)), "incarnation 0000000000000008's", "--accept-duplicates"},
        {later, OF(7, RECORD_OF(7, 20)), "incarnation 0000000000000007's", "--accept-duplicates"}, /* 20 may be ours or lie behind what we began from */
        {later, OF(7, STARTED(7, 0)), NULL, NULL},          /* 7 has published nothing, and 9 never started */
        {unknown, OF(5, RECORD_OF(8, 60)), NULL, NULL},     /* an old run */
        {unknown, OF(8, RECORD_OF(8, 60)), NULL, NULL},
        {forced, OF(7, RECORD_OF(8, 60)), NULL, NULL},
        {scratch, OF(INC, RECORD_OF(8, 60)), "taken over by incarnation 0000000000000008", "--accept-duplicates"},
        {scratch, OF(8, RECORD_OF(8, 60)), NULL, NULL},
    };
    expect_taking(cases, ARRAY_LEN(cases));
    model_t m = {0}; /* and what a lane writes names its root */
    lane_t *l = lane_new(INC, 0, false);
    lane_past(l, &later);
    lane_complete(l, 50);
    lane_open(l);
    ck_assert(drive(l, &m));
    ck_assert(m.ledger.incarnation == INC && m.ledger.root == 7);
    add_segment(l, 51, 1, "");
    lane_complete(l, 51);
    ck_assert(drive(l, &m));
    ck_assert(m.ledger.epoch == 51 && m.ledger.root == 7);
    lane_free(l);
}
END_TEST

START_TEST(a_new_ledger_is_one_without_a_record) {
    lane_past_t past = {.started = 50}, forced = {.started = 50, .forced = true}, scratch = {0};
    taking_t cases[] = {
        {past, {0}, NULL, NULL},
        {past, RECORD(7, 50), "the ledger is not a new one: it has a record of incarnation 0000000000000007", "'sink.transactional-id-prefix'"},
        {past, RECORD(8, 9), "the ledger is not a new one", "--accept-duplicates"},
        {forced, RECORD(8, 9), NULL, NULL},
        {scratch, RECORD(8, 90), NULL, NULL},
    };
    expect_taking(cases, ARRAY_LEN(cases));
}
END_TEST

/* B1: a broker takes 1 MB in the time a transaction has. Sent as a whole, 20 MB would be aborted and sent again for ever. */
START_TEST(a_slow_broker_gets_smaller_transactions) {
    enum { ROWS = 320, SIZE = 64 << 10, TAKES = 1 << 20 };
    char *value = calloc(1, SIZE);
    buf_t b = buf_make(0);
    segment_begin(&b);
    for (int i = 0; i < ROWS; i++)
        segment_add(&b, &(lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = true, .value = slice_of(value, SIZE)});
    segment_finish(&b, 0, ROWS);
    lane_t *l = lane_new(INC, 0, false);
    lane_segment(l, 1, &b);
    lane_complete(l, 1);
    lane_open(l);
    ledger_pos_t ledger = {0};
    uint64_t rows = 0;
    int failed = 0, slow = 1;
    lane_action_t a;
    while (lane_next(l, &a), a.kind != LANE_DO_NOTHING) {
        ck_assert_int_lt(failed, 100);
        if (a.kind == LANE_DO_INIT) lane_initialised(l);
        if (a.kind == LANE_DO_READ) lane_ledger(l, &ledger);
        if (a.kind != LANE_DO_SEND) continue;
        if (slow && a.parts[0].rows * SIZE > TAKES) {
            failed++;
            lane_doubt(l);
            continue;
        }
        rows += a.parts[0].rows;
        ledger = a.ledger;
        slow = rows < ROWS / 2; /* then it recovers */
        lane_committed(l, &a.ledger);
    }
    ck_assert_uint_eq(rows, ROWS);
    ck_assert_uint_eq(lane_published(l), 1);
    lane_free(l);
    buf_free(&b);
    free(value);
}
END_TEST

/* A segment that cannot be read comes while a transaction is under way. The lane waits for the answer, and then says why it stops. */
START_TEST(a_lane_stopped_while_it_waits_for_an_answer_says_so) {
    for (int answer = 0; answer < 2; answer++) {
        model_t m = {0};
        lane_t *l = lane_new(INC, 0, false);
        lane_open(l);
        ck_assert(drive(l, &m));
        add_segment(l, 1, 1, "");
        lane_complete(l, 1);
        lane_action_t a, next;
        lane_next(l, &a);
        ck_assert_int_eq(a.kind, LANE_DO_SEND);
        buf_t bad = buf_make(0);
        buf_puts(&bad, "no segment at all, and long enough for a header");
        lane_segment(l, 2, &bad);
        lane_next(l, &next);
        ck_assert_int_eq(next.kind, LANE_DO_NOTHING);
        if (answer) lane_committed(l, &a.ledger);
        else lane_doubt(l);
        lane_next(l, &next);
        ck_assert_int_eq(next.kind, LANE_DO_STOP);
        ck_assert_ptr_nonnull(strstr(err_text(lane_error(l)), "epoch 2"));
        buf_free(&bad);
        lane_free(l);
    }
}
END_TEST

/* A27: job A wrote its start record and nothing else; job B of the same prefix took over; A is restored. All A can know of is that record. */
START_TEST(a_lane_that_only_started_does_not_take_its_ledger_back) {
    model_t m = {0};
    lane_t *a = lane_new(INC, 0, false);
    lane_open(a);
    ck_assert(!lane_started(a));
    ck_assert(drive(a, &m));
    ck_assert(lane_started(a));
    lane_free(a);
    lane_t *b = lane_new(INC + 1, 0, false);
    lane_open(b);
    ck_assert(drive(b, &m));
    lane_free(b);
    a = lane_new(INC, 0, true);
    add_segment(a, 1, 1, "");
    lane_complete(a, 1);
    lane_open(a);
    ck_assert(!drive(a, &m));
    ck_assert_int_eq(err_code(lane_error(a)), ERR_FENCED);
    ck_assert_str_eq(m.rows, "");
    ck_assert_uint_eq(m.ledger.incarnation, INC + 1);
    lane_free(a);
}
END_TEST

/* B7, B9: while the attempt is restored the lane takes its producer and its ledger; what they mean is judged when all restored segments are in. */
START_TEST(a_lane_fenced_early_judges_and_sends_nothing_before_it_is_opened) {
    model_t m = {.ledger = {.present = true, .incarnation = INC, .epoch = 9, .next_row = 1}};
    lane_t *l = lane_new(INC, 8, true);
    lane_fence(l);
    ck_assert(drive(l, &m));
    ck_assert_int_eq(m.inits, 1);
    ck_assert_int_eq(lane_state(l), LANE_READING); /* the rest of epoch 9 is not restored yet: judged now, the lane would stop */
    add_segment(l, 9, 2, "");
    add_segment(l, 10, 1, "");
    lane_complete(l, 10);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "");
    lane_open(l);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "9.1 10.0 ");
    ck_assert_int_eq(m.inits, 1);
    lane_free(l);
}
END_TEST

/* B9: cut off from the coordinator, but not from Kafka: the lane publishes on with the producer it has; in doubt it fences nobody. */
START_TEST(a_lane_without_its_coordinator_does_not_fence_again) {
    model_t m = {0};
    lane_t *l = lane_new(INC, 0, false);
    lane_open(l);
    ck_assert(drive(l, &m));
    add_segment(l, 1, 1, "");
    add_segment(l, 2, 1, "");
    lane_complete(l, 1);
    lane_unconfirm(l);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "1.0 ");
    lane_doubt(l);
    lane_complete(l, 2);
    ck_assert(drive(l, &m));
    ck_assert_int_eq(m.inits, 1);
    lane_confirm(l);
    ck_assert(drive(l, &m));
    ck_assert_int_eq(m.inits, 2);
    ck_assert_str_eq(m.rows, "1.0 2.0 ");
    lane_free(l);
}
END_TEST

/* B9: two owners must not fence each other for ever. */
START_TEST(a_fenced_lane_waits_for_the_coordinator) {
    model_t m = {0};
    lane_t *l = lane_new(INC, 0, false);
    lane_open(l);
    ck_assert(drive(l, &m));
    add_segment(l, 1, 1, "");
    lane_complete(l, 1);
    lane_action_t a;
    lane_next(l, &a);
    ck_assert_int_eq(a.kind, LANE_DO_SEND);
    lane_fenced(l);
    lane_next(l, &a);
    ck_assert_int_eq(a.kind, LANE_DO_NOTHING);
    lane_confirm(l);
    ck_assert(drive(l, &m));
    ck_assert_str_eq(m.rows, "1.0 ");
    lane_free(l);
}
END_TEST

START_TEST(poison_keeps_what_is_unpublished) {
    lane_t *l = lane_new(INC, 0, false);
    model_t m = {0};
    lane_open(l);
    ck_assert(drive(l, &m));
    add_segment(l, 1, 1, "");
    lane_complete(l, 1);
    lane_action_t a;
    lane_next(l, &a);
    lane_poison(l, err_new(ERR_LIMIT, "record of 9 MB, the topic takes 1 MB"));
    lane_next(l, &a);
    ck_assert_int_eq(a.kind, LANE_DO_STOP);
    ck_assert_uint_gt(lane_unpublished_bytes(l), 0);
    ck_assert_uint_eq(lane_published(l), 0);
    lane_free(l);
}
END_TEST

START_TEST(a_segment_with_headers_is_of_version_2_and_one_without_stays_version_1) {
    for (int headers = 0; headers < 2; headers++) {
        buf_t b = buf_make(0);
        segment_begin(&b);
        if (headers) segment_has_headers(&b, 0);
        slice_t some = slice_of("\1a\1b", headers ? 4 : 0);
        segment_add(&b, &(lane_record_t){.partition = -1, .timestamp_ms = 7, .has_value = true, .value = slice_of("v", 1), .headers = some});
        segment_add(&b, &(lane_record_t){.partition = 5, .timestamp_ms = -1, .has_key = true, .key = slice_of("k", 1)});
        segment_finish(&b, 0, 2);
        ck_assert_int_eq(b.data[4], 1 + headers);
        reader_t r;
        uint64_t rows;
        uint32_t crc;
        lane_record_t rec;
        ck_ok(segment_open(buf_slice(&b), &r, &rows, &crc));
        ck_assert(segment_next(&r, &rec) && rec.partition == -1 && rec.headers.len == (headers ? 4u : 0u) && rec.value.len == 1);
        ck_assert(segment_next(&r, &rec) && rec.partition == 5 && rec.headers.len == 0 && rec.has_key && !rec.has_value);
        ck_assert(!segment_next(&r, &rec) && !r.bad);
        buf_free(&b);
    }
}
END_TEST

START_TEST(segments_and_ledger_records_notice_every_flipped_bit) {
    buf_t b = buf_make(0);
    segment_begin(&b);
    segment_add(&b, &(lane_record_t){.partition = 2, .timestamp_ms = 1700000000000, .has_key = true, .key = slice_str("k"), .has_value = false});
    segment_add(&b, &(lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = true, .value = slice_str("value")});
    segment_finish(&b, 0, 2);
    reader_t r;
    uint64_t rows;
    uint32_t crc;
    ck_ok(segment_open(buf_slice(&b), &r, &rows, &crc));
    ck_assert_uint_eq(rows, 2);
    lane_record_t rec;
    ck_assert(segment_next(&r, &rec) && rec.has_key && !rec.has_value && rec.timestamp_ms == 1700000000000 && rec.partition == 2);
    ck_assert(segment_next(&r, &rec) && !rec.has_key && rec.has_value && slice_eq(rec.value, slice_str("value")) && rec.partition == -1);
    ck_assert(!segment_next(&r, &rec) && !r.bad);
    for (size_t i = 0; i < b.len * 8; i++) {
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
        err_t *e = segment_open(buf_slice(&b), &r, &rows, &crc);
        ck_assert_msg(e != NULL, "bit %zu", i);
        err_free(e);
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    buf_clear(&b);
    ledger_pos_t p = {.present = true, .incarnation = INC, .epoch = 77, .part = 3, .next_row = 12345, .epoch_done = false, .segment = 0x1234abcd}, q;
    ledger_encode(&b, &p);
    ck_ok(ledger_decode(buf_slice(&b), &q));
    ck_assert(q.incarnation == INC && q.epoch == 77 && q.part == 3 && q.next_row == 12345 && !q.epoch_done && q.present && q.segment == 0x1234abcd);
    buf_t v1 = buf_make(0); /* of a build before the segment's checksum */
    buf_puts(&v1, "1 abcdef0123456789 77 3 12345 0");
    buf_printf(&v1, " %08x", crc32c(0, v1.data, v1.len));
    ck_ok(ledger_decode(buf_slice(&v1), &q));
    ck_assert(q.incarnation == INC && q.epoch == 77 && q.part == 3 && q.next_row == 12345 && q.segment == 0);
    ck_assert_uint_eq(q.root, INC); /* as far as it tells */
    buf_free(&v1);
    for (int rooted = 0; rooted < 2; rooted++) { /* who began from none is written as before there were roots */
        buf_t v = buf_make(0);
        p.root = rooted ? 7 : INC;
        ledger_encode(&v, &p);
        ck_assert_int_eq(v.data[0], rooted ? '3' : '2');
        ck_ok(ledger_decode(buf_slice(&v), &q));
        ck_assert(q.root == p.root && q.segment == 0x1234abcd);
        if (rooted) {
            buf_free(&b);
            b = v;
        } else buf_free(&v);
    }
    for (size_t i = 0; i < b.len; i++) {
        uint8_t old = b.data[i];
        b.data[i] = old == '7' ? '8' : '7';
        err_t *e = ledger_decode(buf_slice(&b), &q);
        ck_assert_msg(e != NULL, "byte %zu", i);
        err_free(e);
        b.data[i] = old;
    }
    buf_free(&b);
}
END_TEST

TESTS("lane", nothing_is_sent_before_its_epoch_is_complete, epochs_behind_go_as_a_group, a_large_epoch_goes_in_parts_and_resumes_at_the_row,
      a_lost_answer_is_settled_by_the_ledger, only_segments_named_by_the_manifest_are_published, an_impossible_ledger_stops_the_lane,
      a_ledger_ahead_stops_the_lane_also_when_its_epochs_complete_while_it_waits, a_ledger_of_another_history_stops_the_lane,
      accepted_duplicates_do_not_lose_the_rows_of_another_history,
      a_new_incarnation_takes_the_ledger_over,
      output_of_a_savepoint_is_published_behind_its_origins_ledger, output_of_a_savepoint_is_not_guessed_about,
      nothing_is_published_behind_a_savepoint_twice, a_ledger_that_tells_nothing_of_what_lies_behind_a_savepoint_is_not_taken,
      a_lane_that_never_started_leaves_the_ledger_to_its_predecessors_record, a_relatives_ledger_is_not_taken_by_a_lane_that_never_started,
      a_new_ledger_is_one_without_a_record,
      a_slow_broker_gets_smaller_transactions, a_lane_stopped_while_it_waits_for_an_answer_says_so,
      a_lane_that_only_started_does_not_take_its_ledger_back,
      a_lane_fenced_early_judges_and_sends_nothing_before_it_is_opened,
      a_lane_without_its_coordinator_does_not_fence_again, a_fenced_lane_waits_for_the_coordinator, poison_keeps_what_is_unpublished,
      a_segment_with_headers_is_of_version_2_and_one_without_stays_version_1,
      segments_and_ledger_records_notice_every_flipped_bit)
