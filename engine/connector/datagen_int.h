/* datagen_int.h: generators of values. A value depends on (seed, column, row index) only: a restored source goes on with
 * exactly the rows it would have made. */
#pragma once
#include "engine/connector/connector.h"
#include "engine/connector/rowstore.h"

typedef enum gen_kind { GEN_RANDOM, GEN_SEQUENCE, GEN_VALUES, GEN_EVENT_TIME } gen_kind_t;

typedef struct gen {
    const type_t *type;
    gen_kind_t kind;
    uint64_t salt;
    int64_t min, max;        /* integers, sequence start and end */
    double fmin, fmax;       /* FLOAT, DOUBLE, DECIMAL */
    int32_t length;
    bool var_len;
    double null_rate;
    int64_t max_past_ms, max_delay_ms;
    int nvalues;
    const char **values;
    struct gen *child;
    int nchild;
} gen_t;

typedef struct gen_plan {
    arena_t *arena;
    gen_t *cols;             /* one per physical column */
    int ncols;
    uint64_t seed;
    int64_t rows_per_second, total; /* total -1: unbounded */
    int64_t speedup_milli;   /* event time per clock time, times 1000 */
} gen_plan_t;

/* Reads and checks the options; *ret owns an arena. */
err_t *gen_plan_new(const table_t *t, gen_plan_t *ret);
void gen_plan_free(gen_plan_t *p);
/* Stores the value of row `row` (index over all splits) whose event time is event_us. */
void gen_store(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row, int64_t event_us);
int64_t gen_event_us(const gen_plan_t *p, int64_t base_ms, uint64_t row);
