/* physical_int.h: the plan while it is being built. Private to physical*.c. */
#pragma once
#include "sql/physical.h"

typedef struct pstage pstage_t;
struct pstage {
    int fixed;      /* 0: the plan's parallelism */
    int seq;
    pstage_t *into; /* merged into that one; NULL: itself */
    /* while numbering */
    int number;     /* -1: not yet */
    int waiting;
    int nops;
};

typedef struct pop pop_t;
struct pop {
    plan_op_t *op;
    int ninputs;
    pop_t **inputs;
    pstage_t *stage;
    /* how rows are spread over the stage's tasks: by the key groups of these columns; nhash -1: not by columns */
    int nhash;
    const int *hash;
};

typedef struct pedge {
    pop_t *out, *in;
} pedge_t;

typedef struct phys {
    rel_ctx_t *rels;
    arena_t *arena;
    const change_info_t *changes;
    const physical_options_t *o;
    const int *consumers; /* per rel id */
    pop_t **done;         /* per rel id */
    int nops, cap_ops;
    pop_t **ops; /* in order of creation: inputs come first */
    int nstages, cap_stages;
    pstage_t **stages;
    int nedges, cap_edges;
    pedge_t *edges;
} phys_t;

pstage_t *pstage_of(const pop_t *o);
int pstage_parallelism(const phys_t *p, const pstage_t *s);
pstage_t *pstage_new(phys_t *p, int fixed);
pop_t *pop_new(phys_t *p, op_kind_t kind, pstage_t *stage, pop_t *const *inputs, int n, schema_t *schema);
/* An operator with one input in that input's stage; takes over how rows are spread. */
pop_t *pop_after(phys_t *p, op_kind_t kind, pop_t *input, schema_t *schema);
/* Rows of `from` in a new stage of parallelism `fixed` (0: the plan's). */
pop_t *pop_exchange(phys_t *p, pop_t *from, exchange_kind_t kind, const int *hash, int nhash, int fixed);
/* Makes all inputs live in one stage, by merging stages or by a forward exchange where merging would make a circle. */
void pops_together(phys_t *p, pop_t **inputs, int n);
/* Are rows of equal values in these columns together in one task, and by key group? */
bool pop_spread_by(const pop_t *o, const int *cols, int n);
/* Numbers everything and hands it to the plan. */
int phys_parallelism(const table_t *t, const char *key); /* the value of an option; 0: not given */
void phys_finish(phys_t *p, plan_t *plan);

/* physical_agg.c */
pop_t *phys_aggregate(phys_t *p, const rel_t *r, pop_t *in);
/* physical_sink.c */
pop_t *phys_sink(phys_t *p, const rel_t *r, pop_t *in);
/* Finds the aggregates whose -U nobody needs; once all sinks are there. */
void phys_after_only(phys_t *p);
/* The hidden sink for records that cannot be read, when the table has '<format>.dead-letter.topic'. */
void phys_dead_letters(phys_t *p, pop_t *source);
void phys_identity(phys_t *p, plan_op_t *op, const char *text);
