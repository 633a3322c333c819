/* physical_stage.c: stages while they are built: merging, exchanges, numbering. */
#include "sql/physical_int.h"

pstage_t *pstage_of(const pop_t *o) {
    pstage_t *s = o->stage;
    while (s->into) s = s->into;
    return s;
}

int pstage_parallelism(const phys_t *p, const pstage_t *s) { return s->fixed ? s->fixed : p->o->parallelism; }

#define GROW(p, list, n, cap, T)                                                                   \
    do {                                                                                           \
        if ((n) == (cap)) {                                                                        \
            int more_ = (cap) ? (cap) * 2 : 32;                                                    \
            T *grown_ = ARENA_ARRAY((p)->arena, T, more_);                                         \
            for (int i_ = 0; i_ < (n); i_++) grown_[i_] = (list)[i_];                              \
            (list) = grown_;                                                                       \
            (cap) = more_;                                                                         \
        }                                                                                          \
    } while (0)

pstage_t *pstage_new(phys_t *p, int fixed) {
    GROW(p, p->stages, p->nstages, p->cap_stages, pstage_t *);
    pstage_t *s = ARENA_NEW(p->arena, pstage_t);
    s->fixed = fixed;
    s->seq = p->nstages;
    s->number = -1;
    return p->stages[p->nstages++] = s;
}

pop_t *pop_new(phys_t *p, op_kind_t kind, pstage_t *stage, pop_t *const *inputs, int n, schema_t *schema) {
    GROW(p, p->ops, p->nops, p->cap_ops, pop_t *);
    pop_t *o = ARENA_NEW(p->arena, pop_t);
    o->op = ARENA_NEW(p->arena, plan_op_t);
    o->op->kind = kind;
    o->op->schema = schema;
    o->op->label = "";
    o->op->edge = -1;
    o->op->rowtime_col = -1;
    o->op->window.time_col = o->op->window.attached_start = o->op->window.attached_end = -1;
    o->stage = stage;
    o->ninputs = n;
    o->inputs = ARENA_ARRAY(p->arena, pop_t *, n + 1);
    for (int i = 0; i < n; i++) o->inputs[i] = inputs[i];
    o->nhash = -1;
    return p->ops[p->nops++] = o;
}

pop_t *pop_after(phys_t *p, op_kind_t kind, pop_t *input, schema_t *schema) {
    pop_t *o = pop_new(p, kind, pstage_of(input), &input, 1, schema);
    o->nhash = input->nhash;
    o->hash = input->hash;
    o->op->retracts = input->op->retracts;
    o->op->line = input->op->line;
    return o;
}

pop_t *pop_exchange(phys_t *p, pop_t *from, exchange_kind_t kind, const int *hash, int nhash, int fixed) {
    pop_t *out = pop_after(p, OP_EXCHANGE_OUT, from, from->op->schema);
    pop_t *in = pop_new(p, OP_EXCHANGE_IN, pstage_new(p, fixed), NULL, 0, from->op->schema);
    in->op->retracts = from->op->retracts;
    in->op->line = out->op->line;
    in->op->exchange = out->op->exchange = kind;
    if (kind == EXCHANGE_HASH) {
        out->op->hash = in->op->hash = in->hash = hash;
        out->op->nhash = in->op->nhash = in->nhash = nhash;
    }
    GROW(p, p->edges, p->nedges, p->cap_edges, pedge_t);
    in->op->edge = out->op->edge = p->nedges;
    p->edges[p->nedges++] = (pedge_t){out, in};
    return in;
}

bool pop_spread_by(const pop_t *o, const int *cols, int n) {
    if (o->nhash != n || n == 0) return false;
    for (int i = 0; i < n; i++)
        if (o->hash[i] != cols[i]) return false;
    return true;
}

/* Can rows of stage a reach stage b? The graph is acyclic and small; `seen` is by seq. */
static bool reaches(const phys_t *p, const pstage_t *a, const pstage_t *b, uint8_t *seen) {
    if (a == b) return true;
    if (seen[a->seq]) return false;
    seen[a->seq] = 1;
    for (int i = 0; i < p->nedges; i++)
        if (pstage_of(p->edges[i].out) == a && reaches(p, pstage_of(p->edges[i].in), b, seen)) return true;
    return false;
}

static bool stage_reaches(const phys_t *p, const pstage_t *a, const pstage_t *b) {
    return reaches(p, a, b, ARENA_ARRAY(p->arena, uint8_t, p->nstages + 1));
}

void pops_together(phys_t *p, pop_t **inputs, int n) {
    for (int i = 1; i < n; i++) {
        pstage_t *a = pstage_of(inputs[0]), *b = pstage_of(inputs[i]);
        if (a == b) continue;
        bool circle = stage_reaches(p, a, b) || stage_reaches(p, b, a);
        if (!circle && a->fixed == b->fixed) {
            b->into = a;
            continue;
        }
        /* rows travel to the stage that is not before the other, or from the single task to the many */
        int moved = stage_reaches(p, a, b) || (!circle && a->fixed && !b->fixed) ? 0 : i;
        pstage_t *home = moved ? a : b;
        pop_t *from = inputs[moved];
        bool same = pstage_parallelism(p, a) == pstage_parallelism(p, b);
        pop_t *in = pop_exchange(p, from, same ? EXCHANGE_FORWARD : EXCHANGE_REBALANCE, NULL, 0, home->fixed);
        in->stage->into = home;
        inputs[moved] = in;
        if (!moved)
            for (int j = 1; j < i; j++)
                if (pstage_of(inputs[j]) == a) {
                    pop_t *more = pop_exchange(p, inputs[j], same ? EXCHANGE_FORWARD : EXCHANGE_REBALANCE, NULL,
                                               0, home->fixed);
                    more->stage->into = home;
                    inputs[j] = more;
                }
    }
}

/* ---- numbering */
/* Stages with producers before consumers; among the ready ones the first created. */
static int order_stages(phys_t *p, pstage_t **out) {
    int n = 0;
    for (int i = 0; i < p->nops; i++) pstage_of(p->ops[i])->nops++;
    for (int i = 0; i < p->nedges; i++) pstage_of(p->edges[i].in)->waiting++;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < p->nstages; i++) {
            pstage_t *s = p->stages[i];
            if (s->into || s->number >= 0 || s->waiting > 0 || s->nops == 0) continue;
            s->number = n;
            out[n++] = s;
            for (int e = 0; e < p->nedges; e++)
                if (pstage_of(p->edges[e].out) == s) pstage_of(p->edges[e].in)->waiting--;
            more = true;
            break;
        }
    }
    return n;
}

static const char *stage_label(phys_t *p, const plan_stage_t *s) {
    AUTO(buf_free) buf_t b = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < s->nops; i++) {
        op_kind_t k = s->ops[i]->kind;
        if (k == OP_EXCHANGE_IN || k == OP_EXCHANGE_OUT || !s->ops[i]->label[0]) continue;
        buf_printf(&b, "%s%s", b.len ? " > " : "", s->ops[i]->label);
        if (b.len > 120) {
            buf_puts(&b, " ..");
            break;
        }
    }
    return arena_strdup(p->arena, buf_cstr(&b));
}

static void finish_stages(phys_t *p, plan_t *plan) {
    pstage_t **order = ARENA_ARRAY(p->arena, pstage_t *, p->nstages + 1);
    plan->nstages = order_stages(p, order);
    plan->stages = ARENA_ARRAY(p->arena, plan_stage_t *, plan->nstages + 1);
    for (int i = 0; i < plan->nstages; i++) {
        plan_stage_t *s = plan->stages[i] = ARENA_NEW(p->arena, plan_stage_t);
        s->id = i;
        s->fixed_parallelism = order[i]->fixed;
        s->ops = ARENA_ARRAY(p->arena, plan_op_t *, order[i]->nops + 1);
    }
    for (int i = 0; i < p->nops; i++) {
        pop_t *o = p->ops[i];
        plan_stage_t *s = plan->stages[pstage_of(o)->number];
        o->op->id = s->nops;
        s->ops[s->nops++] = o->op;
        int *in = ARENA_ARRAY(p->arena, int, o->ninputs + 1);
        for (int k = 0; k < o->ninputs; k++) in[k] = o->inputs[k]->op->id;
        o->op->inputs = in;
        o->op->ninputs = o->ninputs;
    }
    for (int i = 0; i < plan->nstages; i++) plan->stages[i]->label = stage_label(p, plan->stages[i]);
}

void phys_finish(phys_t *p, plan_t *plan) {
    finish_stages(p, plan);
    plan->nedges = p->nedges;
    plan->edges = ARENA_ARRAY(p->arena, plan_edge_t *, p->nedges + 1);
    for (int i = 0; i < p->nedges; i++) {
        const pedge_t *pe = &p->edges[i];
        plan_edge_t *e = plan->edges[i] = ARENA_NEW(p->arena, plan_edge_t);
        *e = (plan_edge_t){.id = i, .from_stage = pstage_of(pe->out)->number, .from_op = pe->out->op->id,
                           .to_stage = pstage_of(pe->in)->number, .to_op = pe->in->op->id,
                           .exchange = pe->out->op->exchange, .schema = pe->out->op->schema, .retracts = pe->out->op->retracts};
    }
}
