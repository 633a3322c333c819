/* plan.h: the physical plan, immutable and shared by every task that runs it. sql/ makes it, the engine runs it
 * and never knows there was SQL. It lives in one arena (plan->arena) and is freed with it.
 *
 * A plan is a list of stages; a stage is a small DAG of operators that run as one task per subtask, in
 * topological order (inputs come before their consumers). Stages meet at exchanges: the producing stage ends in
 * OP_EXCHANGE_OUT, the consuming stage begins with the OP_EXCHANGE_IN of the same edge id. An operator with several
 * consumers gives each the same batch (shared, immutable). All stages have parallelism `plan->parallelism` unless
 * fixed_parallelism says otherwise (sinks with lanes, global aggregates: 1).
 *
 * Cluster processes exchange the SQL text, the options and the plan's hash: every process compiles the
 * same text to the same plan and refuses it when the hashes differ. */
#pragma once
#include "engine/agg.h"
#include "engine/expr.h"

#define KEY_GROUPS 1024

/* Options of WITH and SET, in the order written. */
typedef struct options {
    int n;
    const char **keys, **values;
} options_t;
const char *options_get(const options_t *o, const char *key); /* NULL when absent */
err_t *options_i64(const options_t *o, const char *key, int64_t absent, int64_t min, int64_t max, int64_t *ret);
err_t *options_bool(const options_t *o, const char *key, bool absent, bool *ret);
err_t *options_duration_ms(const options_t *o, const char *key, int64_t absent, int64_t *ret); /* "100 ms", "1min" */
err_t *options_bytes(const options_t *o, const char *key, int64_t absent, int64_t *ret);       /* "512M", "64 kb" */
err_t *parse_duration_ms(const char *text, int64_t *ret);
err_t *parse_bytes(const char *text, int64_t *ret);

/* A table as declared, resolved: what a connector needs. */
typedef struct table {
    const char *name;
    const char *connector; /* value of 'connector' */
    options_t options;
    schema_t *physical;  /* columns the format reads or writes (no computed, no metadata columns), in order */
    schema_t *metadata;  /* metadata columns: name is the column's, in order */
    const char **metadata_keys; /* the connector's key ('timestamp', 'offset', ..) per metadata column */
    int nprimary;
    const int *primary;  /* PRIMARY KEY: indexes into physical */
    int npartition;
    const int *partition; /* PARTITIONED BY: indexes into physical, in the order written */
    int line;            /* of CREATE TABLE */
} table_t;

typedef enum op_kind {
    OP_SOURCE,       /* emits scan columns; computed columns and watermark follow as CALC and WATERMARK */
    OP_VALUES,       /* constant rows */
    OP_EXCHANGE_IN,
    OP_CALC,         /* filter (may be NULL), then projection */
    OP_WATERMARK,    /* assigns event-time watermarks from an expression */
    OP_UNION,        /* n inputs, same schema */
    OP_WINDOW_ASSIGN,/* TVF without aggregation: appends window_start, window_end, window_time */
    OP_WINDOW_LOCAL, /* combiner of a windowed aggregate: emits keys, window end, partials */
    OP_WINDOW_AGG,   /* windowed aggregate, final */
    OP_GROUP_LOCAL,  /* combiner of a group aggregate */
    OP_GROUP_AGG,    /* unbounded aggregate: retracting or, in batch mode, final at end */
    OP_UPSERT_KEYS,  /* normalises an upsert stream by key to a full changelog (upsert-kafka source) */
    OP_EXCHANGE_OUT,
    OP_SINK,
    OP_KINDS
} op_kind_t;

typedef enum window_kind { WINDOW_TUMBLE, WINDOW_HOP, WINDOW_CUMULATE, WINDOW_SESSION } window_kind_t;
typedef enum exchange_kind { EXCHANGE_FORWARD, EXCHANGE_HASH, EXCHANGE_REBALANCE, EXCHANGE_BROADCAST } exchange_kind_t;

typedef struct window_spec {
    window_kind_t kind;
    bool proctime;
    bool zoned;     /* windows lie on the wall time of the session's zone: the attribute is TIMESTAMP_LTZ or processing time */
    int time_col;   /* input column of the time attribute (TIMESTAMP or TIMESTAMP_LTZ); -1 for proctime, and when
                       the input already carries window columns (attached below) */
    int attached_start, attached_end; /* input columns window_start, window_end of an assigned window; -1 */
    int64_t size_ms, slide_ms, offset_ms, gap_ms; /* slide: HOP slide, CUMULATE step */
} window_spec_t;

/* What an aggregate operator appends after its keys and results, from the window. */
typedef enum window_prop { WINDOW_PROP_START, WINDOW_PROP_END, WINDOW_PROP_TIME /* end - 1 ms, a time attribute */ } window_prop_t;

typedef struct plan_op plan_op_t;
struct plan_op {
    int id;          /* index in stage->ops */
    op_kind_t kind;
    int ninputs;
    const int *inputs; /* ids of producers in this stage; the position is the input index */
    schema_t *schema;  /* of what it emits; for sinks: of what it takes */
    bool retracts;     /* its output may hold -U/+U/-D */
    uint64_t fingerprint; /* identity of state: operators with state and sources; else 0 */
    const char *fingerprint_text;
    const char *label; /* for people: "events", "TUMBLE(event_time, 5 s)" */
    int line;

    /* OP_SOURCE, OP_SINK */
    const table_t *table;
    int nscan;            /* OP_SOURCE: projected physical columns then metadata columns, schema order */
    const int *scan;      /* i < physical->n: physical column; else metadata column i - physical->n. The schema's type of a physical
                             column may be a ROW of fewer fields than declared, where the source narrows it */
    int lanes_max;        /* OP_SINK: 0, or this sink's output goes through lanes (exactly-once) */
    bool sink_upsert;     /* OP_SINK: takes upserts by primary key (-U dropped, -D is a delete) */
    bool sink_print;      /* OP_SINK of a bare SELECT in `run` */
    bool sink_json;       /* of such a one: rows as JSON, not as a table */

    /* OP_VALUES */
    int nrows;
    expr_t *const *const *rows; /* constant expressions */

    /* OP_CALC */
    const expr_t *filter;
    expr_t *const *projection; /* schema->n expressions over the input */

    /* OP_WATERMARK: watermark = max over rows of (expr) truncated to ms; input passes unchanged */
    int rowtime_col;
    const expr_t *watermark_expr; /* TIMESTAMP valued */
    int64_t idle_timeout_ms;      /* 0: off */

    /* windows and aggregates: output = keys, aggregates, window props */
    window_spec_t window;
    int nkeys;
    const int *keys; /* input columns */
    int naggs;
    const agg_call_t *aggs;
    int nprops;
    const window_prop_t *props;
    bool partial_input; /* input comes from the LOCAL operator: keys.., [window_end BIGINT ms], partial columns.. */
    int64_t state_ttl_ms;
    bool after_only;   /* OP_GROUP_AGG: nobody behind it needs -U: an update is its +U alone */

    /* exchanges */
    int edge;          /* id, unique in the plan */
    exchange_kind_t exchange;
    int nhash;
    const int *hash;   /* EXCHANGE_HASH: key columns; target = key group range owner of hash(row_encode(keys)) */

    /* Dead letters: a hidden sink behind a source, in its stage, gets barriers but no rows; its lanes carry what source vt->seal hands over. */
    const plan_op_t *dead_letters; /* OP_SOURCE: that sink; NULL: a bad record fails the job */
    bool dead_letter;              /* OP_SINK: is such a sink */
};

typedef struct plan_stage {
    int id;
    int fixed_parallelism; /* 0: the plan's */
    int nops;
    plan_op_t **ops;       /* topological */
    const char *label;
} plan_stage_t;

typedef struct plan_edge {
    int id, from_stage, from_op, to_stage, to_op;
    exchange_kind_t exchange;
    schema_t *schema;
    bool retracts;
} plan_edge_t;

typedef struct plan {
    arena_t *arena; /* owns everything, itself included */
    const char *job_name; /* pipeline.name or the file's name */
    bool batch;           /* bounded inputs, aggregates emit once at the end */
    int parallelism;
    options_t set;        /* SET options of the job */
    int nstages;
    plan_stage_t **stages; /* producers before consumers */
    int nedges;
    plan_edge_t **edges;
    uint64_t hash;         /* of plan_print's text */
    int nnotices;
    const char **notices;  /* accepted and ignored options and the like: shown once */
} plan_t;

void plan_print(buf_t *out, const plan_t *p); /* the physical part of EXPLAIN; golden-tested, canonical */
void scan_print(buf_t *out, const table_t *t, int nscan, const int *scan, const schema_t *s); /* "id, bid{auction, price}" */
err_t *plan_validate(const plan_t *p);        /* internal consistency: column indexes, topology, schemas */
void plan_finish(plan_t *p);                  /* computes hash */
void plan_free(plan_t *p);
const char *op_kind_name(op_kind_t k);
static inline int stage_parallelism(const plan_t *p, const plan_stage_t *s) {
    return s->fixed_parallelism ? s->fixed_parallelism : p->parallelism;
}
/* Key groups of subtask i of n: [lo, hi), contiguous and covering. */
static inline int key_group_lo(int i, int n) { return (int)((int64_t)i * KEY_GROUPS / n); }
static inline int key_group_of(uint64_t hash) { return (int)(hash & (KEY_GROUPS - 1)); }
int key_group_owner(int key_group, int n); /* the i with key_group_lo(i,n) <= g < key_group_lo(i+1,n) */
