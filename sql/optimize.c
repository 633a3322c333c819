/* optimize.c: the list of rules and the loop that runs them. */
#include "sql/optimize_int.h"
#include <strings.h>

/* Order matters only for speed, except that the last three see what the others left. */
static const struct {
    local_rule_t local;
    graph_rule_t graph;
} rules[] = {
    {rule_fold, NULL},
    {rule_filter_merge, NULL},
    {rule_filter_true, NULL},
    {rule_filter_project, NULL},
    {rule_filter_union, NULL},
    {rule_filter_window, NULL},
    {rule_project_merge, NULL},
    {rule_project_remove, NULL},
    {rule_union_flatten, NULL},
    {rule_window_fuse, NULL},
    {NULL, rule_watermark_drop},
    {NULL, rule_prune},
    {NULL, rule_prune_fields},
};

bool opt_reads_whole_records(const table_t *t) {
    static const char part[] = ".fail-on-missing-field";
    for (int i = 0; i < t->options.n; i++) {
        size_t n = strlen(t->options.keys[i]);
        if (n > sizeof part - 1 && !strcmp(t->options.keys[i] + n - (sizeof part - 1), part) && !strcasecmp(t->options.values[i], "true")) return true;
    }
    return false;
}

int opt_parents(const opt_t *x, const rel_t *r) { return r->id < x->nparents ? x->parents[r->id] : 1; }

void opt_set_parents(opt_t *x, const rel_t *r, int n) {
    if (r->id >= x->nparents) {
        int cap = MAX(r->id + 1, x->nparents * 2);
        int *more = ARENA_ARRAY(x->c->arena, int, cap);
        for (int i = 0; i < cap; i++) more[i] = i < x->nparents ? x->parents[i] : 1;
        x->parents = more;
        x->nparents = cap;
    }
    x->parents[r->id] = n;
}

static void count_parents(opt_t *x, rel_t *const *list, int n) {
    x->nparents = x->c->next_id + 1;
    x->parents = ARENA_ARRAY(x->c->arena, int, x->nparents);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < list[i]->ninputs; j++) x->parents[list[i]->inputs[j]->id]++;
}

rel_t *opt_replace_inputs(opt_t *x, rel_t *r, rel_t *const *into) {
    bool same = true;
    rel_t **in = ARENA_ARRAY(x->c->arena, rel_t *, r->ninputs + 1);
    for (int i = 0; i < r->ninputs; i++) {
        in[i] = into[r->inputs[i]->id];
        same = same && in[i] == r->inputs[i];
    }
    return same ? r : rel_with_inputs(x->c, r, in);
}

static void run_local(opt_t *x, logical_t *l, local_rule_t rule) {
    rel_t **list;
    int n = logical_order(x->c, l, &list);
    rel_t **into = ARENA_ARRAY(x->c->arena, rel_t *, x->c->next_id + 1);
    count_parents(x, list, n);
    for (int i = 0; i < n; i++) {
        rel_t *old = list[i], *r = opt_replace_inputs(x, old, into);
        int parents = opt_parents(x, old);
        opt_set_parents(x, r, parents);
        rel_t *to = rule(x, r);
        if (to != r) {
            /* an input took r's place: it has r's consumers besides its own */
            bool is_input = false;
            for (int j = 0; j < r->ninputs; j++) is_input = is_input || r->inputs[j] == to;
            opt_set_parents(x, to, is_input ? opt_parents(x, to) - 1 + parents : parents);
            x->changed = true;
        }
        into[old->id] = to;
    }
    for (int i = 0; i < l->nsinks; i++) l->sinks[i] = into[l->sinks[i]->id];
}

void optimize(rel_ctx_t *c, logical_t *l, const optimize_options_t *o) {
    opt_t x = {.c = c, .o = o};
    for (int round = 0; round < OPTIMIZE_ROUNDS_MAX; round++) {
        x.changed = false;
        for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
            if (rules[i].local) run_local(&x, l, rules[i].local);
            else rules[i].graph(&x, l);
        }
        if (!x.changed) return;
    }
}
