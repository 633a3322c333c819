/* rig.h: runs hand-built plans: every task of every stage in one thread, joined by ring channels, with a source that can be
 * replayed from any position and a sink whose output is published when its epoch is complete. A rig can be killed and built anew
 * from the seals of its last complete epoch: exactly what recovery does. */
#pragma once
#pragma GCC diagnostic ignored "-Wunused-function"
#include "common/clock.h"
#include "engine/func.h"
#include "engine/task.h"
#include "state/kstate_env.h"
#include "tests/helpers/test.h"
#include <stdarg.h>
#include <stdio.h>

/* ---------------------------------------------------------------- plans */
static const type_t *const T_STR = &type_string, *const T_I64 = &type_bigint, *const T_TS = &type_timestamp3;

static plan_t *plan_begin(int parallelism) {
    arena_t *a = arena_new();
    plan_t *p = ARENA_NEW(a, plan_t);
    p->arena = a;
    p->job_name = "test";
    p->parallelism = parallelism;
    p->stages = ARENA_ARRAY(a, plan_stage_t *, 8);
    p->edges = ARENA_ARRAY(a, plan_edge_t *, 8);
    return p;
}

static plan_stage_t *plan_stage(plan_t *p) {
    plan_stage_t *s = ARENA_NEW(p->arena, plan_stage_t);
    s->id = p->nstages;
    s->ops = ARENA_ARRAY(p->arena, plan_op_t *, 16);
    p->stages[p->nstages++] = s;
    return s;
}

static plan_op_t *plan_op2(plan_t *p, plan_stage_t *s, op_kind_t kind, int a, int b, schema_t *schema) {
    plan_op_t *op = ARENA_NEW(p->arena, plan_op_t);
    int *in = ARENA_ARRAY(p->arena, int, 2);
    in[0] = a;
    in[1] = b;
    op->id = s->nops;
    op->kind = kind;
    op->inputs = in;
    op->ninputs = (a >= 0) + (b >= 0);
    op->schema = schema ? schema : s->ops[a]->schema;
    op->window.time_col = op->window.attached_start = op->window.attached_end = -1;
    s->ops[s->nops++] = op;
    return op;
}
static plan_op_t *plan_op1(plan_t *p, plan_stage_t *s, op_kind_t kind, schema_t *schema) {
    return plan_op2(p, s, kind, s->nops - 1, -1, schema);
}

static schema_t *schema_make(plan_t *p, int n, ...) {
    schema_t *s = schema_new(p->arena, n);
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++) {
        s->fields[i].name = va_arg(ap, const char *);
        s->fields[i].type = va_arg(ap, const type_t *);
    }
    va_end(ap);
    return s;
}

static plan_op_t *plan_source(plan_t *p, plan_stage_t *s, uint64_t fingerprint) {
    schema_t *schema = schema_make(p, 3, "k", T_STR, "v", T_I64, "ts", T_TS);
    plan_op_t *op = plan_op2(p, s, OP_SOURCE, -1, -1, schema);
    table_t *t = ARENA_NEW(p->arena, table_t);
    t->name = "events";
    t->connector = "test";
    t->physical = schema;
    int *scan = ARENA_ARRAY(p->arena, int, 3);
    for (int i = 0; i < 3; i++) scan[i] = i;
    op->table = t;
    op->nscan = 3;
    op->scan = scan;
    op->fingerprint = fingerprint;
    return op;
}

/* watermark = ts - 2 s, written as a column of its own by the source would be; here: the column itself minus by the test data */
static plan_op_t *plan_watermark(plan_t *p, plan_stage_t *s) {
    plan_op_t *op = plan_op1(p, s, OP_WATERMARK, NULL);
    op->rowtime_col = 2;
    op->watermark_expr = expr_column(p->arena, 2, T_TS);
    return op;
}

static plan_op_t *plan_sink(plan_t *p, plan_stage_t *s) {
    plan_op_t *op = plan_op1(p, s, OP_SINK, NULL);
    table_t *t = ARENA_NEW(p->arena, table_t);
    t->name = "results";
    t->connector = "test";
    t->physical = op->schema;
    op->table = t;
    op->fingerprint = 0x5111c + (uint64_t)s->id;
    return op;
}

/* Ends stage `from`, begins and returns a new stage behind an exchange. */
static plan_stage_t *plan_exchange(plan_t *p, plan_stage_t *from, exchange_kind_t kind, int nhash, const int *hash) {
    plan_op_t *out = plan_op1(p, from, OP_EXCHANGE_OUT, NULL);
    plan_stage_t *to = plan_stage(p);
    plan_op_t *in = plan_op2(p, to, OP_EXCHANGE_IN, -1, -1, out->schema);
    plan_edge_t *e = ARENA_NEW(p->arena, plan_edge_t);
    *e = (plan_edge_t){p->nedges, from->id, out->id, to->id, in->id, kind, out->schema, from->ops[out->inputs[0]]->retracts};
    p->edges[p->nedges++] = e;
    out->edge = in->edge = e->id;
    out->exchange = in->exchange = kind;
    out->nhash = nhash;
    out->hash = hash;
    in->retracts = e->retracts;
    return to;
}

static agg_call_t plan_call(plan_t *p, const char *name, const schema_t *in, int arg, bool distinct) {
    agg_call_t c = {.distinct = distinct, .filter = -1, .name = name};
    expr_t *args[1] = {arg >= 0 ? expr_column(p->arena, arg, in->fields[arg].type) : NULL};
    c.nargs = arg >= 0;
    c.args[0] = arg;
    if (arg >= 0) c.arg_types[0] = in->fields[arg].type;
    ck_ok(agg_bind(p->arena, name, distinct, args, c.nargs, &c.fn, &c.type));
    return c;
}

static const int KEY0[] = {0};

/* ---------------------------------------------------------------- data: row i of split s */
typedef struct row {
    const char *k;
    int64_t v, ts_ms;
    row_kind_t kind;
} row_t;
typedef row_t (*row_fn)(int split, int64_t i);

/* ---------------------------------------------------------------- the rig */
typedef struct rig rig_t;
struct rig {
    plan_t *plan;
    row_fn rows;
    int nsplits;
    int64_t per_split;   /* rows */
    uint32_t poll_rows;  /* at most, per poll */
    bool unbounded;      /* waits at the end of the data instead of ending */
    size_t channel_bytes;
    size_t memory;       /* of all keyed state; complete epochs go into a base at once, and what it has may be evicted; 0: no bound */
    uint32_t sink_refuses; /* one in so many writes is refused at first; 0 never */
    uint32_t sink_settles; /* one in so many questions whether an epoch is durable outside is answered yes; 0 all */
    bool sink_holds;       /* only epochs up to `settled` are durable outside */
    epoch_t settled;
    uint64_t seed;
    rng_t rng;
    int64_t now;
    const char *zone; /* session zone; NULL: UTC */

    kstate_env_t *env;
    int ntasks;
    task_t *tasks[32];
    int stage[32], subtask[32];
    bool ended[32];
    epoch_t injected, complete;
    int nseals;
    task_seal_t *seals[4096]; /* of complete and incomplete epochs of this life; older complete ones stay */
    split_list_t splits;      /* as of the last complete epoch */
    int64_t stage_wm[8];
    buf_t published;          /* lines of complete epochs */
    uint64_t late, polls;
    size_t longest;           /* batch of the sink, as text */
};
static rig_t *the_rig; /* the fake connector's vtables have no other way to find it */

/* ---------------------------------------------------------------- source */
static err_t *src_open(source_t *s) { return NULL; }
static void src_close(source_t *s) {}
static src_status_t src_poll(source_t *s, batch_t **ret, int *ret_split, err_t **reterr) {
    rig_t *r = the_rig;
    r->polls++;
    int open = 0;
    for (int k = 0; k < s->splits.n; k++) open += !s->splits.items[k].ended;
    if (open == 0) return r->unbounded ? SRC_WAIT : SRC_ENDED;
    int pick = (int)rng_below(&r->rng, (uint64_t)s->splits.n);
    for (int k = 0; k < s->splits.n; k++) {
        int i = (pick + k) % s->splits.n;
        split_t *sp = &s->splits.items[i];
        int id = atoi(sp->id);
        uint32_t n = (uint32_t)MIN((int64_t)r->poll_rows, r->per_split - sp->position);
        if (sp->ended || n == 0) {
            if (!r->unbounded) sp->ended = true;
            continue;
        }
        batch_t *b = batch_new_schema(s->env.op->schema, n);
        b->kinds = mem_zalloc(b->mem, n);
        bool plain = true;
        for (uint32_t j = 0; j < n; j++) {
            row_t row = r->rows(id, sp->position + j);
            if (row.k) {
                char *p = mem_alloc(b->mem, strlen(row.k) + 1);
                strcpy(p, row.k);
                b->cols[0].str[j] = (str_t){p, (uint32_t)strlen(row.k), 0};
            } else {
                column_need_nulls(&b->cols[0], b->mem, n)[j] = 1;
            }
            b->cols[1].i64[j] = row.v;
            b->cols[2].i64[j] = row.ts_ms * 1000;
            b->kinds[j] = (uint8_t)row.kind;
            plain &= row.kind == ROW_INSERT;
        }
        if (plain) b->kinds = NULL;
        sp->position += n;
        if (sp->position == r->per_split && !r->unbounded) sp->ended = true;
        *ret = b;
        *ret_split = i;
        return SRC_MORE;
    }
    return r->unbounded ? SRC_WAIT : SRC_ENDED;
}
/* Split 0 is known never to be caught up: when all are idle, time stands still. */
static bool src_caught_up(source_t *s, int split) {
    return s->splits.items[split].position == the_rig->per_split && strcmp(s->splits.items[split].id, "0") != 0;
}
static const source_vtable_t test_source = {.connector = "test", .open = src_open, .poll = src_poll, .caught_up = src_caught_up, .close = src_close};
static const source_vtable_t *rig_find_source(const char *name) { return strcmp(name, "test") == 0 ? &test_source : NULL; }

/* ---------------------------------------------------------------- sink: a segment of text per epoch */
typedef struct test_sink {
    buf_t lines;
} test_sink_t;
static err_t *snk_open(sink_t *s) {
    ((test_sink_t *)s->self)->lines = buf_make(BUF_MAX_DEFAULT);
    return NULL;
}
static op_status_t snk_write(sink_t *s, const batch_t *b, err_t **reterr) {
    test_sink_t *t = s->self;
    if (the_rig->sink_refuses && rng_below(&the_rig->rng, the_rig->sink_refuses) == 0) return OP_MORE;
    static const char *const kinds[] = {"+I", "-U", "+U", "-D"};
    size_t from = t->lines.len;
    for (uint32_t i = 0; i < b->n; i++) {
        buf_puts(&t->lines, kinds[batch_kind(b, i)]);
        for (int c = 0; c < b->ncols; c++) {
            buf_puts(&t->lines, c ? "|" : " ");
            value_print(&t->lines, &b->cols[c], i);
        }
        buf_puts(&t->lines, "\n");
    }
    the_rig->longest = MAX(the_rig->longest, t->lines.len - from);
    return OP_DONE;
}
static op_status_t snk_seal(sink_t *s, epoch_t epoch, buf_t *bytes, buf_t *segment, err_t **reterr) {
    test_sink_t *t = s->self;
    if (the_rig->sink_refuses && rng_below(&the_rig->rng, the_rig->sink_refuses) == 0) return OP_MORE;
    buf_put(segment, t->lines.data, t->lines.len);
    buf_clear(&t->lines);
    return OP_DONE;
}
static op_status_t snk_settle(sink_t *s, epoch_t epoch, err_t **reterr) {
    rig_t *r = the_rig;
    if (r->sink_holds && epoch > r->settled) return OP_MORE;
    return r->sink_settles && rng_below(&r->rng, r->sink_settles) ? OP_MORE : OP_DONE;
}
static void snk_close(sink_t *s) { buf_free(&((test_sink_t *)s->self)->lines); }
static const sink_vtable_t test_sink = {.connector = "test", .state_size = sizeof(test_sink_t), .takes_updates = true,
                                        .open = snk_open, .write = snk_write, .seal = snk_seal, .settle = snk_settle, .close = snk_close};
static const sink_vtable_t *rig_find_sink(const char *name) { return strcmp(name, "test") == 0 ? &test_sink : NULL; }

/* ---------------------------------------------------------------- life */
static int64_t rig_now(void *arg) { return ((rig_t *)arg)->now; }

static int seals_of(const rig_t *r, epoch_t e) {
    int n = 0;
    for (int i = 0; i < r->nseals; i++) n += r->seals[i]->epoch == e;
    return n;
}

/* Every task has sealed the epoch: it happened. */
static void rig_complete(rig_t *r, epoch_t e) {
    r->complete = e;
    int64_t wm[8];
    for (int i = 0; i < 8; i++) wm[i] = WATERMARK_END;
    for (int i = 0; i < r->nseals; i++) {
        task_seal_t *s = r->seals[i];
        if (s->epoch != e) continue;
        wm[s->stage] = MIN(wm[s->stage], s->watermark);
        for (int k = 0; k < s->nsinks; k++) buf_put(&r->published, s->sinks[k].segment.data, s->sinks[k].segment.len);
        for (int k = 0; k < s->nsources; k++) {
            for (int j = 0; j < s->sources[k].splits.n; j++) {
                split_t *from = &s->sources[k].splits.items[j];
                for (int m = 0; m < r->splits.n; m++) {
                    split_t *to = &r->splits.items[m];
                    if (strcmp(to->id, from->id)) continue;
                    ck_assert_int_ge(from->watermark, to->watermark);
                    to->position = from->position;
                    to->watermark = from->watermark;
                    to->idle = from->idle;
                    to->ended = from->ended;
                }
            }
        }
    }
    for (int i = 0; i < r->plan->nstages; i++) {
        ck_assert_int_ge(wm[i], r->stage_wm[i]); /* never decreases, also over restarts */
        r->stage_wm[i] = wm[i];
    }
    for (int i = 0; i < r->ntasks; i++) ck_ok(task_complete(r->tasks[i], e));
    base_db_t *base;
    if (!r->memory) return;
    ck_ok(kstate_env_need_base(r->env, &base));
    for (int i = 0; i < r->nseals; i++)
        for (int k = 0; r->seals[i]->epoch == e && k < r->seals[i]->nstates; k++) {
            state_seal_t *s = &r->seals[i]->states[k];
            if (s->slot >= 0) ck_ok(base->apply(base, s->fingerprint, s->slot, buf_slice(&s->bytes)));
        }
    kstate_env_set_applied(r->env, e);
}
static err_t *rig_open_base(void *arg, base_db_t **ret) {
    *ret = base_new_memory();
    return NULL;
}

static void rig_sealed(void *arg, task_seal_t *s) {
    rig_t *r = arg;
    ck_assert_int_lt(r->nseals, 4096);
    for (int i = 0; i < r->nseals; i++) /* a task's seals come in the order of their epochs */
        ck_assert(r->seals[i]->stage != s->stage || r->seals[i]->subtask != s->subtask || r->seals[i]->epoch < s->epoch);
    r->seals[r->nseals++] = s;
}

static int rig_parallelism(const rig_t *r, int stage) { return stage_parallelism(r->plan, r->plan->stages[stage]); }

static void rig_build(rig_t *r) {
    the_rig = r;
    const plan_t *p = r->plan;
    kstate_env_conf_t conf = {.memory = r->memory, .open_base = rig_open_base};
    r->env = kstate_env_new(&conf);
    channel_in_t **ins[8][16] = {{0}};
    channel_out_t **outs[8][16] = {{0}};
    for (int e = 0; e < p->nedges; e++) {
        int np = rig_parallelism(r, p->edges[e]->from_stage), nc = rig_parallelism(r, p->edges[e]->to_stage);
        for (int i = 0; i < np; i++) outs[e][i] = calloc((size_t)nc, sizeof(void *));
        for (int j = 0; j < nc; j++) ins[e][j] = calloc((size_t)np, sizeof(void *));
        for (int i = 0; i < np; i++)
            for (int j = 0; j < nc; j++)
                ck_ok(ring_channel_new(r->channel_bytes ? r->channel_bytes : CHANNEL_BYTES_MAX, (wake_t){0}, (wake_t){0}, &outs[e][i][j], &ins[e][j][i]));
    }
    r->ntasks = 0;
    for (int s = 0; s < p->nstages; s++) {
        for (int i = 0; i < rig_parallelism(r, s); i++) {
            task_env_t env = {.plan = p, .stage = s, .subtask = i, .parallelism = rig_parallelism(r, s), .job = "test", .incarnation = 1,
                              .state = r->env, .restored_watermark = r->stage_wm[s], .now_ms = rig_now, .time_zone = r->zone, .sealed = rig_sealed, .arg = r,
                              .find_source = rig_find_source, .find_sink = rig_find_sink};
            split_list_t lists[4] = {0};
            int nsrc = 0, nin = 0, nout = 0, nsources = 0;
            for (int k = 0; k < p->stages[s]->nops; k++) nsources += p->stages[s]->ops[k]->kind == OP_SOURCE;
            env.ins = calloc(4, sizeof *env.ins);
            env.nins = calloc(4, sizeof(int));
            env.outs = calloc(4, sizeof *env.outs);
            env.nouts = calloc(4, sizeof(int));
            for (int k = 0; k < p->stages[s]->nops; k++) {
                const plan_op_t *op = p->stages[s]->ops[k];
                if (op->kind == OP_SOURCE) {
                    /* several sources of one stage share the splits out */
                    for (int m = i; m < r->splits.n; m += rig_parallelism(r, s))
                        if (m % nsources == nsrc) split_list_add(&lists[nsrc], &r->splits.items[m]);
                    nsrc++;
                } else if (op->kind == OP_EXCHANGE_IN) {
                    env.ins[nin] = ins[op->edge][i];
                    env.nins[nin++] = rig_parallelism(r, p->edges[op->edge]->from_stage);
                } else if (op->kind == OP_EXCHANGE_OUT) {
                    env.outs[nout] = outs[op->edge][i];
                    env.nouts[nout++] = rig_parallelism(r, p->edges[op->edge]->to_stage);
                }
            }
            env.splits = lists;
            r->stage[r->ntasks] = s;
            r->subtask[r->ntasks] = i;
            r->ended[r->ntasks] = false;
            ck_ok(task_new(&env, &r->tasks[r->ntasks++]));
            for (int k = 0; k < nsrc; k++) split_list_free(&lists[k]);
        }
    }
    /* restore: the seals of complete epochs in order, to every task of the stage */
    for (int i = 0; i < r->nseals; i++) {
        task_seal_t *s = r->seals[i];
        for (int t = 0; t < r->ntasks; t++) {
            if (r->stage[t] != s->stage) continue;
            for (int k = 0; k < s->nstates; k++)
                ck_ok(task_restore(r->tasks[t], s->states[k].fingerprint, s->states[k].slot, buf_slice(&s->states[k].bytes)));
        }
    }
    for (int t = 0; t < r->ntasks; t++) ck_ok(task_start(r->tasks[t]));
}

static rig_t *rig_new(plan_t *p, row_fn rows, int nsplits, int64_t per_split) {
    ck_ok(plan_validate(p));
    rig_t *r = xcalloc(1, sizeof *r);
    *r = (rig_t){.plan = p, .rows = rows, .nsplits = nsplits, .per_split = per_split, .poll_rows = 17, .seed = 1, .now = 1000};
    r->published = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < 8; i++) r->stage_wm[i] = WATERMARK_NONE;
    for (int i = 0; i < nsplits; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        split_list_add(&r->splits, &(split_t){.id = id, .end = per_split, .watermark = WATERMARK_NONE});
    }
    rng_seed(&r->rng, r->seed);
    return r;
}

static void rig_tear(rig_t *r) {
    r->late = 0;
    for (int i = 0; i < r->ntasks; i++) {
        task_stats_t st;
        task_stats(r->tasks[i], &st);
        r->late += st.late_rows;
    }
    for (int i = 0; i < r->ntasks; i++) task_free(r->tasks[i]);
    r->ntasks = 0;
    kstate_env_free(r->env);
}

/* kill -9: what was not in the last complete epoch is gone. */
static void rig_kill(rig_t *r) {
    rig_tear(r);
    int kept = 0;
    for (int i = 0; i < r->nseals; i++) {
        if (r->seals[i]->epoch <= r->complete) r->seals[kept++] = r->seals[i];
        else task_seal_free(r->seals[i]);
    }
    r->nseals = kept;
    r->injected = r->complete;
}

/* What a dead one goes on as: the same job, at another parallelism. */
static void rig_replan(rig_t *r, plan_t *p) {
    plan_free(r->plan);
    r->plan = p;
    ck_ok(plan_validate(p));
}

static void rig_free(rig_t *r) {
    if (r->ntasks) rig_tear(r);
    for (int i = 0; i < r->nseals; i++) task_seal_free(r->seals[i]);
    split_list_free(&r->splits);
    buf_free(&r->published);
    plan_free(r->plan);
    free(r);
}

static void rig_inject(rig_t *r, uint32_t flags) {
    r->injected++;
    for (int i = 0; i < r->ntasks; i++)
        if (task_has_source(r->tasks[i])) task_inject(r->tasks[i], r->injected, flags);
}

/* One round: every task a few node runs, in a shuffled order. Returns true when any can go on. */
static bool rig_round(rig_t *r, err_t **ret) {
    bool runnable = false;
    int first = (int)rng_below(&r->rng, (uint64_t)r->ntasks);
    for (int k = 0; k < r->ntasks; k++) {
        int i = (first + k) % r->ntasks;
        err_t *e = NULL;
        task_status_t st = task_step(r->tasks[i], 1 + (uint32_t)rng_below(&r->rng, 6), &e);
        if (st == TASK_FAILED) {
            if (!ret) ck_abort_msg("task failed: %s", err_text(e));
            *ret = e;
            return false;
        }
        r->ended[i] = st == TASK_ENDED;
        runnable |= st == TASK_RUNNABLE;
    }
    while (seals_of(r, r->complete + 1) == r->ntasks) rig_complete(r, r->complete + 1);
    return runnable;
}

static bool rig_all_ended(const rig_t *r) {
    for (int i = 0; i < r->ntasks; i++)
        if (!r->ended[i]) return false;
    return true;
}

/* Runs rounds, injecting an epoch every `every` rounds (0: none), for at most `rounds`; stops when all have ended. */
static void rig_run(rig_t *r, int rounds, int every) {
    for (int i = 0; i < rounds && !rig_all_ended(r); i++) {
        if (every && i % every == every - 1 && r->injected - r->complete < 4) rig_inject(r, 0);
        rig_round(r, NULL);
        r->now++;
    }
}

/* Until all wait for rows that are to come. */
static void rig_settle(rig_t *r) {
    int i = 0;
    for (; i < 10 || (i < 1000000 && rig_round(r, NULL)); i++) rig_round(r, NULL);
    ck_assert_int_lt(i, 1000000);
}

/* One more epoch, to its end. */
static void rig_epoch(rig_t *r) {
    rig_inject(r, 0);
    for (int i = 0; i < 1000000 && r->complete < r->injected; i++) rig_round(r, NULL);
    ck_assert_uint_eq(r->complete, r->injected);
}

/* So many lives, each ended by a kill after so many rounds. */
static void rig_lives(rig_t *r, int lives, int rounds, int every) {
    for (int i = 0; i < lives; i++) {
        rig_build(r);
        rig_run(r, rounds, every);
        rig_kill(r);
    }
}

/* To the end of the input, then one last epoch (A20). */
static void rig_finish(rig_t *r, int every) {
    rig_run(r, 1000000, every);
    ck_assert(rig_all_ended(r));
    rig_epoch(r);
}

/* ---------------------------------------------------------------- results as sorted lines */
static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static char *sorted_lines(const char *text) {
    char *copy = strdup(text), *lines[65536], *save = NULL;
    int n = 0;
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        ck_assert_int_lt(n, 65536);
        lines[n++] = l;
    }
    qsort(lines, (size_t)n, sizeof *lines, by_text);
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < n; i++) buf_printf(&out, "%s\n", lines[i]);
    free(copy);
    return out.len ? buf_take_cstr(&out) : strdup("");
}
static void assert_same_lines(const char *got, const char *want) {
    char *a = sorted_lines(got), *b = sorted_lines(want);
    if (strcmp(a, b)) {
        size_t i = 0;
        while (a[i] && a[i] == b[i]) i++;
        while (i && a[i - 1] != '\n') i--;
        ck_abort_msg("results differ at\n got: %.200s\nwant: %.200s", a + i, b + i);
    }
    free(a);
    free(b);
}
static char *rig_output(rig_t *r) { return buf_cstr(&r->published); }
/* Of all states of all tasks. */
static uint64_t rig_entries(const rig_t *r) {
    uint64_t n = 0;
    for (int i = 0; i < r->ntasks; i++) {
        task_stats_t st;
        task_stats(r->tasks[i], &st);
        n += st.state_entries;
    }
    return n;
}
