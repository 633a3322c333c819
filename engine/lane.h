/* lane.h: a lane publishes sealed segments to Kafka exactly once. This is the pure core: no librdkafka, no clock, no thread;
 * engine/connector/lane_kafka.c is its driver, tests/sim/kafka its model.
 *
 * Segment: the encoded output of one epoch for one lane: records {output partition, key, value, headers..}, see below.
 * Ledger record (key = lane id, value): incarnation, epoch, part, next row, whether the epoch ended, the segment's checksum, its own. It is the last
 * record of each transaction.
 *
 * State diagram (one setter, lane_set_state, refuses other moves):
 *
 *   FRESH -fence,open-> FENCING --initialised--> READING --ledger read--> READY --segment complete--> SENDING
 *     ^                |  ^                     |                        ^                            |
 *     |                |  +------ doubt --------+---- doubt -------------|------------ doubt ---------+
 *     |                v                                                 +--------- committed --------+
 *     +--- closed -- STOPPED <-- fenced / ledger impossible / poison record
 *
 * Invariants
 *  1. Nothing of epoch e is sent before lane_complete(e) (the manifest is durable).
 *  2. Segments are sent in epoch order; parts of an epoch in row order; a transaction carries at most LANE_TXN_BYTES, and half of what it
 *     carried after one that failed, down to LANE_TXN_BYTES_MIN: what a slow broker cannot take in time would be sent again for ever (B1).
 *  3. After any doubt the producer is destroyed, a new one initialised (which fences), and only then the ledger is read.
 *  4. A segment is released only after a positive commit or a ledger record that covers it.
 *  5. "Published" is compared within one incarnation only. A ledger of a newer incarnation, ahead of the manifest or
 *     behind its bound stops the lane loudly. So does one whose segment is not that of the epoch: where metadata or storage were put back,
 *     epochs complete while the lane still waits for its producer, and bear numbers that the ledger has from the future that was taken back.
 *  6. A lane without rows in an epoch opens no transaction. The one exception: a new incarnation's first transaction holds only a start record
 *     (epoch 0, or what its origin has published), so that an older incarnation that still runs sees in the ledger that it was taken over.
 *  7. A fenced lane (lane_fence) asks for its producer and its ledger while the attempt is still being restored, but judges nothing and sends
 *     nothing before lane_open: then every restored segment is in, and the coordinator confirmed the attempt (hazards B7, B9).
 *  8. An incarnation that goes on from another's state (lane_past) takes the ledger only from its past, and only if that published nothing behind
 *     the state: the rows since would be computed and published once more. What of the past's output is owed follows that record. A third
 *     incarnation's record, or an empty ledger where the past had one, tells nothing: the lane stops. So does one whose new ledger is none.
 *     A lane that no job before is known to have started, and one from scratch (no past), take any ledger but that of their own family (the record's
 *     root is ours): who began from the same state has computed and published what would be computed here, while the rows of all others are no one
 *     else's. Of the family's only the root's own start record is harmless: it published nothing, and took over nothing of the family.
 *     Only the operator's word (`forced`) sets this aside. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

#define LANE_TXN_BYTES (16u << 20)
#define LANE_TXN_BYTES_MIN (64u << 10)

typedef struct ledger_pos {
    bool present;          /* false: no record of this lane was found */
    uint64_t incarnation;
    epoch_t epoch;
    uint32_t part;
    uint64_t next_row;     /* rows of the epoch published so far */
    bool epoch_done;
    uint64_t root;         /* the incarnation from scratch that this one's job began from, over savepoints and resumes; its own: from none */
    uint32_t segment;      /* checksum of the epoch's segment: these rows, not others of the same epoch; 0: not known (a start record) */
    int64_t offset;        /* where it lies in the ledger partition */
} ledger_pos_t;
void ledger_encode(buf_t *out, const ledger_pos_t *p); /* printable, versioned, with checksum */
err_t *ledger_decode(slice_t bytes, ledger_pos_t *ret);

/* Segment bytes: header (magic, version, row count, crc32c of the rest), then per record: varint partition + 1 (0: any), zigzag
 * timestamp ms (-1 none), key length + 1 (0: null), key, value length + 1 (0: tombstone), value. Version 2: bit 32 of the first
 * varint says that headers follow: length + 1, bytes (engine/connector/kafka_table.h). Only segments that may have some are of version 2. */
typedef struct lane_record {
    int32_t partition; /* -1: any of the lane's */
    int64_t timestamp_ms; /* -1: none */
    bool has_key, has_value;
    slice_t key, value; /* into the segment */
    slice_t headers;    /* empty: none */
} lane_record_t;
void segment_begin(buf_t *out);                                 /* reserves the header */
void segment_add(buf_t *out, const lane_record_t *r);
void segment_has_headers(buf_t *out, size_t begin);             /* before the first record with headers */
void segment_finish(buf_t *out, size_t begin, uint64_t rows);   /* patches the header at `begin` */
err_t *segment_open(slice_t bytes, reader_t *ret_records, uint64_t *ret_rows, uint32_t *ret_crc); /* checks magic, version, crc */
bool segment_next(reader_t *r, lane_record_t *ret);             /* false at the end or when malformed (r->bad) */

typedef enum lane_state { LANE_FRESH, LANE_FENCING, LANE_READING, LANE_READY, LANE_SENDING, LANE_STOPPED } lane_state_t;
typedef struct lane lane_t;

typedef enum lane_action_kind {
    LANE_DO_NOTHING,
    LANE_DO_INIT,    /* destroy the producer if any, make a new one, init_transactions; answer lane_initialised or lane_doubt */
    LANE_DO_READ,    /* read the ledger to its end as of now; answer lane_ledger or lane_doubt */
    LANE_DO_SEND,    /* begin, produce the parts' records, then `ledger`, commit; answer lane_committed, lane_doubt, lane_fenced or lane_poison */
    LANE_DO_STOP     /* lane_error says why; nothing is released; comes once */
} lane_action_kind_t;
#define LANE_GROUP 32 /* epochs in one transaction */
typedef struct lane_part {
    epoch_t epoch;
    reader_t records;           /* at the first record to send; borrowed, alive until answered */
    uint64_t rows;              /* to send from there */
} lane_part_t;
typedef struct lane_action {
    lane_action_kind_t kind;
    int nparts;                 /* SEND: epochs behind go as a group; 0: only the ledger record (a new incarnation's start) */
    lane_part_t parts[LANE_GROUP];
    ledger_pos_t ledger;        /* SEND: to write last */
} lane_action_t;

/* has_bound: a ledger record of this incarnation is known to exist, of epoch `bound` or later (0: its start record). Without it a record of
 * another incarnation is taken for an older one's, and the ledger is ours to take: so whoever restores a lane must know that it has
 * started (lane_started), or it would take the ledger back from the incarnation that took it over (A4, A27). */
lane_t *lane_new(uint64_t incarnation, epoch_t bound, bool has_bound);
/* What an incarnation goes on from: a savepoint, or its job's own state (`resume`). All zero: it begins from scratch. */
typedef struct lane_past {
    uint64_t origin; epoch_t started; /* output up to `started` is that of incarnation `origin`; 0, with `started` above 0: the ledger is a new one */
    uint64_t had; epoch_t had_upto;   /* the last one before us that is known to have a record in the ledger, and how far its output is ours; 0: none */
    uint64_t root;                    /* manifest_root: of what it goes on from; 0: itself */
    bool forced;                      /* the operator accepts duplicates: whatever the ledger says */
} lane_past_t;
/* Before lane_fence. As long as this incarnation has no record in the ledger, the last one there decides (invariant 8). */
void lane_past(lane_t *l, const lane_past_t *past);
/* May an incarnation of this past take the ledger? owed: first epoch of the past whose output we hold and may have to publish; 0: none. ERR_FENCED: not
 * without --accept-duplicates, or ERR_CORRUPT: nobody knows. Pure; for whoever has read a ledger before there is a lane. */
err_t *lane_past_check(const lane_past_t *p, epoch_t owed, const ledger_pos_t *pos);
void lane_limit(lane_t *l, size_t txn_bytes); /* instead of LANE_TXN_BYTES; > 0; before the first action */
void lane_free(lane_t *l);
void lane_fence(lane_t *l);                                        /* FRESH -> FENCING, invariant 7 */
void lane_open(lane_t *l);                                         /* FRESH -> FENCING if it was not; goes on behind the ledger */
void lane_segment(lane_t *l, epoch_t epoch, buf_t *segment);       /* takes the content of *segment; epochs ascending */
void lane_complete(lane_t *l, epoch_t epoch);                      /* cumulative */
/* What to do next; at most one action is outstanding: DO_NOTHING until it is answered. */
void lane_next(lane_t *l, lane_action_t *ret);
void lane_initialised(lane_t *l);
void lane_ledger(lane_t *l, const ledger_pos_t *pos);
void lane_committed(lane_t *l, const ledger_pos_t *pos);          /* of the outstanding SEND; pos: the ledger record written */
void lane_doubt(lane_t *l);                                        /* time-out, disconnect, retriable: start over at FENCING */
void lane_fenced(lane_t *l);                                       /* somebody else owns it: wait for lane_confirm */
void lane_unconfirm(lane_t *l);                                    /* the coordinator is lost: after a doubt wait for lane_confirm, too */
void lane_confirm(lane_t *l);                                      /* the coordinator confirmed our attempt: may init again */
void lane_poison(lane_t *l, err_t *why);                           /* cannot ever be published: STOPPED; takes why */
lane_state_t lane_state(const lane_t *l);
const err_t *lane_error(const lane_t *l);                          /* of STOPPED */
bool lane_started(const lane_t *l);        /* a ledger record of this incarnation exists */
epoch_t lane_published(const lane_t *l);   /* every epoch <= this is published (epochs without rows count as soon as complete) */
size_t lane_unpublished_bytes(const lane_t *l);
const char *lane_state_name(lane_state_t s);
