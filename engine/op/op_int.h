/* op_int.h: what operators share with each other and with the task that runs them; nobody else includes it. */
#pragma once
#include "engine/operator.h"

/* ---- the instances' tables, one file each */
extern const op_vtable_t op_calc, op_watermark, op_union, op_values, op_window_assign, op_window_local, op_window_agg,
    op_session_agg, op_group_local, op_group_agg, op_upsert_keys, op_sink;

/* Says downstream that this operator holds no time back until its next batch or watermark; implemented by the task. */
void out_idle(out_t *o);

/* ---- watermark.c: bound by the task to the source whose rows it sees, so that event time is kept per split. */
void watermark_op_bind(op_t *op, source_t *s); /* before open; the source outlives it */
void watermark_op_initial(op_t *op, int64_t wm_ms, out_t *out); /* after a restore: what was emitted before */
void watermark_op_split(op_t *op, int split);  /* of the rows of the next process call; -1 unknown */
void watermark_op_split_end(op_t *op, int split, out_t *out);
void watermark_op_busy(op_t *op, int64_t now_ms); /* rows may be on their way: idleness does not count */
/* Writes the watermark and idleness of each split into `l`, positions of which were copied at the same barrier. */
void watermark_op_seal(const op_t *op, split_list_t *l);
int watermark_op_holder(const op_t *op); /* index of the split that holds time, -1 none */
int64_t watermark_op_current(const op_t *op);

/* ---- values.c */
err_t *values_next(op_t *op, batch_t **ret); /* NULL at the end */

/* ---- sink_op.c */
err_t *sink_op_bind(op_t *op, const sink_vtable_t *vt); /* before open */
op_status_t sink_op_settle(op_t *op, epoch_t epoch, err_t **reterr);
op_status_t sink_op_seal(op_t *op, epoch_t epoch, buf_t *bytes, buf_t *segment, uint64_t *ret_rows, err_t **reterr);
err_t *sink_op_complete(op_t *op, epoch_t epoch);
const char *sink_op_waits_for(const op_t *op); /* NULL: nothing outside */

/* ---- exchange.c: splits the rows of a batch by the owner of their key group */
typedef struct partitioner partitioner_t;
partitioner_t *partitioner_new(const int *keys, int nkeys, int targets);
void partitioner_free(partitioner_t *p);
void partitioner_run(partitioner_t *p, const batch_t *b);
const uint32_t *partitioner_target(const partitioner_t *p, int target, uint32_t *ret_n); /* rows in order; until the next run */

/* ---- keys.c: the keys of a batch as bytes, encoded once and hashed */
typedef struct keys {
    buf_t bytes;
    uint32_t *off;   /* n + 1 offsets into bytes */
    uint64_t *hash;
    uint32_t cap;
} keys_t;
void keys_encode(keys_t *k, const batch_t *b, const int *cols, int ncols, const uint32_t *sel, uint32_t n);
void keys_hash(keys_t *k, const batch_t *b, const int *cols, int ncols); /* of all rows; the bytes are of nothing */
void keys_free(keys_t *k);
static inline slice_t keys_at(const keys_t *k, uint32_t i) { return slice_of(k->bytes.data + k->off[i], k->off[i + 1] - k->off[i]); }
/* Types whose encoded form gives back the very bits that the column has: integers, times. */
bool keys_plain(const type_t *t);
/* Key columns of n encoded keys, of the types of schema columns 0..nkeys. False: malformed. */
bool keys_decode(const slice_t *keys, uint32_t n, const schema_t *s, int nkeys, mem_t *m, column_t *out);

/* ---- groups.c: a hash table from (namespace, key) to a flat block, for combiners: no persistence, cleared as a whole */
typedef struct groups groups_t;
groups_t *groups_new(uint32_t block_size, bool named); /* named: the namespace is not always 0 */
void groups_free(groups_t *g);
/* The block of the key, made and zeroed if absent; stays where it is until groups_clear. */
void *groups_get(groups_t *g, int64_t ns, uint64_t hash, slice_t key, bool *ret_created);
/* The blocks of n rows, memory asked for ahead; ns: a namespace per row, NULL: 0. */
void groups_get_many(groups_t *g, const int64_t *ns, const keys_t *keys, uint32_t n, void **ret);
uint32_t groups_count(const groups_t *g);
/* What aggregates of groups from `from` on hold outside of their blocks counts, too; they lie at accs_at of a block. */
void groups_own(groups_t *g, const agg_set_t *set, uint32_t accs_at, uint32_t from);
size_t groups_bytes(const groups_t *g);
bool groups_full(const groups_t *g, const kstate_env_t *state); /* a combiner must let go; state (may be NULL) says whether memory is scarce */
/* Group i in the order of creation. */
void *groups_at(const groups_t *g, uint32_t i, int64_t *ret_ns, slice_t *ret_key);
void groups_clear(groups_t *g);

/* ---- combiner.c: what the combiners of grouped and windowed aggregates share */
typedef struct combiner {
    agg_set_t *set;
    groups_t *groups;
    keys_t keys;
    void **accs;
    uint8_t *blocks; /* of rows that pass */
    uint32_t cap;
    bool named;      /* groups have a namespace, which goes out as a column behind the keys */
    bool flushing;   /* the table was full: the batch at hand is in it already */
    uint32_t at;     /* next group to emit */
    uint64_t rows;   /* in the table */
    uint64_t measured_rows, measured_groups; /* of tables let go since the last decision, those that tell something */
    uint64_t pass;   /* rows that pass it, before it is tried again */
} combiner_t;
void combiner_open(combiner_t *c, const plan_op_t *p, bool named);
void combiner_close(combiner_t *c);
/* ns: a namespace per row, NULL where they are not named. After OP_MORE it is called again with the same rows. */
op_status_t combiner_rows(op_t *op, combiner_t *c, const batch_t *b, const int64_t *ns, out_t *out, err_t **reterr);
op_status_t combiner_flush(op_t *op, combiner_t *c, out_t *out, err_t **reterr);

/* ---- windows.c: arithmetic of windows in milliseconds of their own time line (wall time of the session zone for
 * TIMESTAMP_LTZ). A slice is the largest span every window contains wholly or not at all; it is named by its end. */
typedef struct window_math {
    window_kind_t kind;
    int64_t size, slide, offset, slice;
} window_math_t;
window_math_t window_math(const window_spec_t *w);
int64_t window_slice_end(const window_math_t *w, int64_t ts);
int64_t window_start_of(const window_math_t *w, int64_t end);     /* of the window that ends there */
int64_t window_first_end(const window_math_t *w, int64_t slice_end); /* first window that contains the slice */
int64_t window_last_end(const window_math_t *w, int64_t slice_end);
int64_t window_next_end(const window_math_t *w, int64_t end);     /* the next window after the one that ends there */
/* The windows of one instant, in the order Flink assigns them. Returns their number, at most max. */
uint32_t window_assign(const window_math_t *w, int64_t ts, int64_t *starts, int64_t *ends, uint32_t max);

/* Milliseconds of a time attribute's row. */
static inline int64_t us_to_ms(int64_t us) { return us / 1000 - (us % 1000 < 0); }

/* ---- where a window's time line lies against watermarks (which are UTC for TIMESTAMP_LTZ) */
typedef struct zone zone_t;
err_t *zone_open(const char *name, bool shifted, zone_t **ret); /* !shifted or UTC: identity */
void zone_free(zone_t *z);
int64_t zone_to_wall_ms(const zone_t *z, int64_t utc_ms);
int64_t zone_to_utc_ms(const zone_t *z, int64_t wall_ms); /* saturates */

/* ---- window_time.c: the slices of a batch's rows, for every windowed operator */
typedef struct window_time {
    window_math_t math;
    int time_col;   /* of the input; -1 */
    int end_col;    /* attached windows or slices of a combiner: their end; -1 */
    bool end_is_ms; /* BIGINT ms of a combiner, not a TIMESTAMP */
    bool attached;  /* every row is of one whole window, named by its end: slices are not shared */
    bool proctime;
    zone_t *zone;
    int64_t lo, hi; /* last slice, [lo, hi) */
} window_time_t;
err_t *window_time_open(const op_env_t *env, window_time_t *ret);
void window_time_close(window_time_t *w);
/* Slice end of rows 0..n. ERR_DATA when the time attribute is NULL. */
err_t *window_time_slices(window_time_t *w, const batch_t *b, int64_t now_ms, int64_t *ret);
/* The watermark (or clock) at which the window that ends there fires. */
static inline int64_t window_trigger(const window_time_t *w, int64_t end) {
    return zone_to_utc_ms(w->zone, end == INT64_MIN ? end : end - 1);
}

/* ---- keyed.c: blocks of the rows of a batch in a kstate */
typedef struct keyed {
    kstate_t *ks;
    struct keyed_slot {
        uint64_t hash;
        int64_t ns;
        void *value;
        uint32_t round;
    } *cache;
    uint32_t round;
    bool later; /* nothing is marked: the operator says kstate_changed for all that keyed_find gave it */
} keyed_t;
void keyed_init(keyed_t *k, kstate_t *ks);
void keyed_free(keyed_t *k); /* not the kstate */
/* The values of keys 0..n, made where absent, all marked dirty unless `later`. Key i is of namespace ns[sel[i]] (sel NULL: ns[i]; ns NULL: 0). */
err_t *keyed_find(keyed_t *k, const keys_t *keys, const int64_t *ns, const uint32_t *sel, uint32_t n, void **ret);

/* ---- pages.c: where the pages of large sets (engine/agg.h) of a state of groups are kept: a state of maps beside it */
typedef struct pages {
    agg_set_t *set;
    kstate_t *of; /* the groups; the operator's. None of them is let go of by what follows */
    kstate_t *ks; /* NULL: no call has a set, and all that follows does nothing */
    const void *owner; /* at hand */
    uint64_t part;
    bool emits;        /* a group must be there to be emitted */
    kstate_env_t *env;
    buf_t key, name;
} pages_t;
void pages_keep(pages_t *p, agg_set_t *set);                    /* before the groups are opened */
err_t *pages_open(pages_t *p, const op_env_t *env, kstate_t *of); /* after: what of a restored state finds room are the groups first */
void pages_close(pages_t *p);
err_t *pages_read(pages_t *p, void *group);
/* A group that is updated or merged must be there. Nothing to do but in groups that were evicted or restored. */
static inline err_t *pages_need(pages_t *p, void *group);
/* The same for who is done with the group at once: pages_done lets go of what was read for it (*ret_read). */
err_t *pages_need_once(pages_t *p, void *group, bool *ret_read);
void pages_done(pages_t *p, void *group, bool read);
/* A walk over the groups of a namespace to emit them. Those whose results are their pages are there for their turn only: as many at once as find room,
 * by what they hold. It holds pointers over OP_MORE: until pages_emitted says that it holds none the state evicts nothing. */
#define PAGES_TURN 1024
typedef struct pages_walk {
    kstate_scan_t scan;
    void *scanned[PAGES_TURN], *read[PAGES_TURN];
    uint32_t n, at, nread;
} pages_walk_t;
err_t *pages_turn(pages_t *p, pages_walk_t *w, void **groups, uint32_t *ret_n, bool *ret_end); /* at most PAGES_TURN, those with rows */
bool pages_emitted(pages_t *p, pages_walk_t *w);                                             /* follows pages_turn */
err_t *pages_delete(pages_t *p, void *group); /* before the group is deleted or cleared */
size_t pages_group_bytes(const pages_t *p);     /* about what the sets of a group take in memory once they are there */
size_t portion_bytes(const kstate_env_t *state); /* what an operator merges or emits at once of its state may take; no bound: SIZE_MAX */
/* Who emits groups otherwise takes no more of them at once when what he has of them (pages_held, each) is above this. */
size_t pages_bound(const pages_t *p);
size_t pages_held(const pages_t *p, const void *accs);
err_t *pages_seal(pages_t *p);                /* before the groups are sealed */
/* The same for an owner with several groups, each with a number of its own from 1 on. */
err_t *pages_part_in(pages_t *p, const void *owner, uint64_t part, void *accs);
err_t *pages_part_out(pages_t *p, const void *owner, uint64_t part, void *accs);
err_t *pages_part_drop(pages_t *p, const void *owner, uint64_t part, const void *accs);

/* The codec of a block: a head, an agg_set's accumulators behind it and, where groups have a time to live (`timed`), the last access in ms. Beside it
 * (kstate_word) lies what is not kept: AGG_ABSENT, some set of it was not read yet; and the rest is its operator's. */
kstate_codec_t agg_codec(agg_set_t *set, bool timed);
#define AGG_HEAD 8
#define AGG_ABSENT 1u
typedef struct agg_head { int64_t rows; } agg_head_t; /* in the group */
int64_t agg_touched(const agg_set_t *set, const void *value);
void agg_touch(const agg_set_t *set, void *value, int64_t now_ms);
static inline bool agg_absent(const void *value) { return kstate_word(value) & AGG_ABSENT; }
static inline void agg_absent_set(void *value, bool absent) { kstate_word_set(value, (kstate_word(value) & ~AGG_ABSENT) | absent); }
static inline void *agg_accs(void *value) { return (uint8_t *)value + AGG_HEAD; }
static inline err_t *pages_need(pages_t *p, void *group) {
    return UNLIKELY(agg_absent(group)) ? pages_read(p, group) : NULL;
}
