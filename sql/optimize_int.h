/* optimize_int.h: rules; private to optimize*.c. */
#pragma once
#include "sql/optimize.h"

typedef struct opt {
    rel_ctx_t *c;
    const optimize_options_t *o;
    int *parents; /* consumers per node id; kept up to date while a local rule runs */
    int nparents;
    bool changed;
} opt_t;

/* A local rule: r has its (already rewritten) inputs; returns r itself or what replaces it, with the same schema. */
typedef rel_t *(*local_rule_t)(opt_t *x, rel_t *r);
/* A rule over the whole graph. */
typedef void (*graph_rule_t)(opt_t *x, logical_t *l);

/* Only this consumer: what is shared is not moved into one of its consumers. */
int opt_parents(const opt_t *x, const rel_t *r);
void opt_set_parents(opt_t *x, const rel_t *r, int n);
static inline bool only_consumer(const opt_t *x, const rel_t *input) { return opt_parents(x, input) <= 1; }
/* r over into[id] of its inputs; r itself when none changed. */
rel_t *opt_replace_inputs(opt_t *x, rel_t *r, rel_t *const *into);
/* e over columns that are expressions, unless it would grow beyond measure or a value would be drawn twice: then NULL. */
const expr_t *opt_substitute(opt_t *x, const expr_t *e, const rel_t *project);

/* 'fail-on-missing-field' speaks of all columns that the table declares: all are decoded, whatever is read. */
bool opt_reads_whole_records(const table_t *t);

rel_t *rule_fold(opt_t *x, rel_t *r);
rel_t *rule_filter_merge(opt_t *x, rel_t *r);
rel_t *rule_filter_true(opt_t *x, rel_t *r);
rel_t *rule_filter_project(opt_t *x, rel_t *r);
rel_t *rule_filter_union(opt_t *x, rel_t *r);
rel_t *rule_filter_window(opt_t *x, rel_t *r);
rel_t *rule_project_merge(opt_t *x, rel_t *r);
rel_t *rule_project_remove(opt_t *x, rel_t *r);
rel_t *rule_union_flatten(opt_t *x, rel_t *r);
rel_t *rule_window_fuse(opt_t *x, rel_t *r);
void rule_watermark_drop(opt_t *x, logical_t *l);
void rule_prune(opt_t *x, logical_t *l);
void rule_prune_fields(opt_t *x, logical_t *l);
