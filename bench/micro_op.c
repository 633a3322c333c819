/* micro_op.c: operators by themselves, in one thread: nanoseconds of CPU per row that comes in, of the operator's own calls.
 *   micro_op [NAME [KEYS [ROUNDS]]]      all, or that one, or those whose name begins so; over 10^3 to 10^6 keys or so many
 * group: GROUP BY a BIGINT, COUNT and SUM, each batch's changes emitted (-U and +U), `after` the +U alone, `back` over an input that takes back
 * and adds in turn. window: the same by windows of 5 s. session: by sessions that hardly end (gap) or that every other row begins (short). upsert:
 * four columns normalised by key, `same` the row that is there. assign: windows of a row without aggregates.
 * Keys are random and were all seen before; a round is 2^18 rows in batches of 2,048, each followed by its watermark (fire), then all changes are sealed
 * (seal: the changelog append, per row of the round). The least of 8 rounds. */
#include "bench/micro.h"
#include "common/clock.h"
#include "engine/op/op_int.h"
#include "state/kstate_env.h"
#include <malloc.h>

enum { BATCH = 2048, BATCHES = 128 };

struct out { uint64_t rows; }; /* takes and frees: what a consumer costs is not the operator's */
bool out_full(const out_t *o) { return false; }
void out_batch(out_t *o, batch_t *b) {
    o->rows += b->n;
    batch_free(b);
}
void out_watermark(out_t *o, int64_t wm_ms) {}
void out_idle(out_t *o) {}

typedef struct work work_t;
struct work {
    const char *name;
    const op_vtable_t *vt;
    void (*shape)(plan_op_t *p);            /* what is special in its plan */
    void (*row)(work_t *w, batch_t *b, uint32_t i); /* key, number, time, text of row i */
    bool retracts, keyless;                 /* keyless: keys make no difference */
    uint64_t keys, at;                      /* at: rows made so far */
    int64_t gap;                            /* of sessions, in rows of all keys */
    rng_t rng;
    int64_t *last;                          /* number of each key */
};

static const agg_call_t *calls(arena_t *a) {
    agg_call_t *c = ARENA_ARRAY(a, agg_call_t, 2);
    for (int i = 0; i < 2; i++) {
        c[i] = (agg_call_t){.nargs = i, .args = {1}, .filter = -1, .name = "x", .arg_types = {&type_bigint}};
        expr_t *args[1] = {expr_column(a, 1, &type_bigint)};
        check(agg_bind(a, i ? "SUM" : "COUNT", false, args, i, &c[i].fn, &c[i].type));
    }
    return c;
}

/* ------------------------------------------------------------------ rows */
static void any_row(work_t *w, batch_t *b, uint32_t i) {
    b->cols[0].i64[i] = (int64_t)rng_below(&w->rng, w->keys);
    b->cols[1].i64[i] = (int64_t)(w->at & 0xffff);
    b->cols[2].i64[i] = (int64_t)w->at * 10; /* a hundred in a millisecond */
    w->at++;
}

static void taken_back(work_t *w, batch_t *b, uint32_t i) {
    any_row(w, b, i);
    if (i % 2) b->cols[0].i64[i] = b->cols[0].i64[i - 1];
    int64_t *last = &w->last[b->cols[0].i64[i]];
    b->kinds[i] = i % 2 ? ROW_UPDATE_AFTER : *last ? ROW_UPDATE_BEFORE : ROW_INSERT;
    if (b->kinds[i] != ROW_UPDATE_BEFORE) *last = b->cols[1].i64[i];
    else b->cols[1].i64[i] = *last;
}

static void upserted(work_t *w, batch_t *b, uint32_t i) {
    any_row(w, b, i);
    b->cols[2].i64[i] = 0;
    b->kinds[i] = ROW_UPDATE_AFTER;
}
static void upserted_same(work_t *w, batch_t *b, uint32_t i) {
    upserted(w, b, i);
    b->cols[1].i64[i] = 7;
}

static batch_t *batch_of(work_t *w, const schema_t *s) {
    static const char text[] = "a text of twenty";
    batch_t *b = batch_new_schema(s, BATCH);
    b->kinds = mem_zalloc(b->mem, BATCH);
    for (uint32_t i = 0; i < BATCH; i++) {
        w->row(w, b, i);
        b->cols[3].str[i] = (str_t){text, 16, 0};
    }
    if (w->row == any_row) b->kinds = NULL;
    return b;
}

/* ------------------------------------------------------------------ plans */
static void plain(plan_op_t *p) {}
static void after(plan_op_t *p) { p->after_only = true; }
static void unaggregated(plan_op_t *p) { p->naggs = 0; }
static void window(plan_op_t *p, window_kind_t kind, int64_t size, int64_t slide) {
    p->window = (window_spec_t){.kind = kind, .time_col = 2, .attached_start = -1, .attached_end = -1, .size_ms = size, .slide_ms = slide};
}
static void tumble(plan_op_t *p) { window(p, WINDOW_TUMBLE, 5000, 5000); }
static void hop(plan_op_t *p) { window(p, WINDOW_HOP, 20000, 5000); }
static void cumulate(plan_op_t *p) { window(p, WINDOW_CUMULATE, 20000, 5000); }
static void session(plan_op_t *p) { window(p, WINDOW_SESSION, 0, 0); }

static plan_op_t *plan_of(plan_t *p, const work_t *w) {
    static const int first[1] = {0}, input[1] = {0};
    plan_op_t *in = ARENA_NEW(p->arena, plan_op_t), *o = ARENA_NEW(p->arena, plan_op_t);
    const type_t *types[] = {&type_bigint, &type_bigint, &type_timestamp3, &type_string};
    in->kind = OP_EXCHANGE_IN;
    in->retracts = w->retracts;
    in->schema = schema_new(p->arena, 4);
    for (int i = 0; i < 4; i++) in->schema->fields[i] = (field_t){"c", types[i]};
    o->id = 1;
    o->inputs = input;
    o->ninputs = o->nkeys = 1;
    o->keys = first;
    o->naggs = 2;
    o->aggs = calls(p->arena);
    o->fingerprint = 1;
    o->window.time_col = o->window.attached_start = o->window.attached_end = -1;
    w->shape(o);
    o->window.gap_ms = w->gap * (int64_t)w->keys / 100;
    bool assigns = w->vt == &op_window_assign;
    o->schema = w->vt == &op_upsert_keys || w->vt == &op_union ? in->schema : schema_new(p->arena, assigns ? 7 : 3);
    for (int i = 0; assigns && i < 7; i++) o->schema->fields[i] = i < 4 ? in->schema->fields[i] : (field_t){"w", &type_timestamp3};
    for (int i = 0; o->schema->n == 3 && i < 3; i++) o->schema->fields[i] = (field_t){"k", &type_bigint};
    plan_stage_t *s = ARENA_NEW(p->arena, plan_stage_t);
    s->ops = ARENA_ARRAY(p->arena, plan_op_t *, 2);
    s->ops[s->nops++] = in;
    s->ops[s->nops++] = o;
    p->parallelism = 1;
    p->stages = ARENA_ARRAY(p->arena, plan_stage_t *, 1);
    p->stages[p->nstages++] = s;
    return o;
}

/* ------------------------------------------------------------------ measuring */
typedef struct cost { double process, fire, seal; uint64_t out; } cost_t;

static cost_t round_of(work_t *w, op_t *op, const schema_t *in, buf_t *sealed) {
    cost_t c = {0};
    out_t out = {0};
    err_t *e = NULL;
    for (int i = 0; i < BATCHES; i++) {
        batch_t *b = batch_of(w, in);
        double t = cpu_ns();
        if (op->vt->process(op, 0, b, &out, &e) != OP_DONE) check(e);
        for (int k = 0; op->vt->state && op->vt->state(op, k); k++) kstate_measure(op->vt->state(op, k));
        double processed = cpu_ns();
        if (op->vt->watermark && op->vt->watermark(op, (int64_t)(w->at / 100) - 2, &out, &e) != OP_DONE) check(e);
        c.process += processed - t;
        c.fire += cpu_ns() - processed;
        batch_free(b);
    }
    buf_clear(sealed);
    double t = cpu_ns();
    for (int k = 0; op->vt->state && op->vt->state(op, k); k++) kstate_seal(op->vt->state(op, k), 1 + (epoch_t)(w->at / (BATCH * BATCHES)), sealed);
    c.seal = cpu_ns() - t;
    c.out = out.rows;
    return c;
}

static void measure(work_t *w, uint64_t keys, int rounds) {
    plan_t plan = {.arena = arena_new()};
    rng_seed(&w->rng, keys);
    w->keys = keys;
    w->at = 0;
    w->last = xcalloc(keys, sizeof *w->last);
    plan_op_t *o = plan_of(&plan, w);
    eval_ctx_t eval = {.time_zone = "UTC", .watermark_ms = WATERMARK_NONE};
    op_t op = {.vt = w->vt, .self = xcalloc(1, w->vt->state_size + 1),
               .env = {.plan = &plan, .stage = plan.stages[0], .op = o, .parallelism = 1, .eval = &eval, .state = kstate_env_new(NULL)}};
    if (op.vt->open) check(op.vt->open(&op));
    if (op.vt->start) check(op.vt->start(&op));
    buf_t sealed = buf_make(BUF_MAX_DEFAULT);
    const schema_t *in = plan.stages[0]->ops[0]->schema;
    cost_t best = {1e18, 1e18, 1e18, 0};
    int first = w->keyless ? 0 : (int)(keys * 3 / (BATCH * BATCHES)); /* nearly all keys are there */
    for (int i = -1 - first; i < rounds; i++) {
        cost_t c = round_of(w, &op, in, &sealed);
        if (i < 0) continue;
        best = (cost_t){MIN(best.process, c.process), MIN(best.fire, c.fire), MIN(best.seal, c.seal), c.out};
    }
    double rows = (double)BATCH * BATCHES;
    printf("%-16s %9" PRIu64 " %8.1f %8.1f %8.1f %8.2f\n", w->name, keys, best.process / rows, best.fire / rows, best.seal / rows, (double)best.out / rows);
    if (op.vt->close) op.vt->close(&op);
    free(op.self);
    free(w->last);
    buf_free(&sealed);
    kstate_env_free(op.env.state);
    arena_free(plan.arena);
}

int main(int argc, char **argv) {
    static work_t works[] = {
        {"group", &op_group_agg, plain, any_row},
        {"group after", &op_group_agg, after, any_row},
        {"group back", &op_group_agg, plain, taken_back, .retracts = true},
        {"window", &op_window_agg, tumble, any_row},
        {"session", &op_session_agg, session, any_row, .gap = 4},
        {"session short", &op_session_agg, session, any_row, .gap = 1},
        {"upsert", &op_upsert_keys, unaggregated, upserted, .retracts = true},
        {"upsert same", &op_upsert_keys, unaggregated, upserted_same, .retracts = true},
        {"assign tumble", &op_window_assign, tumble, any_row, .keyless = true},
        {"assign hop", &op_window_assign, hop, any_row, .keyless = true},
        {"assign cumulate", &op_window_assign, cumulate, any_row, .keyless = true},
        {"union", &op_union, unaggregated, any_row, .keyless = true},
    };
    const char *only = argc > 1 ? argv[1] : "";
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* as worker/memory.c has it */
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    uint64_t of = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    size_t length = strlen(only);
    for (size_t i = 0; i < ARRAY_LEN(works); i++)
        if (strcmp(works[i].name, only) == 0) length++; /* its end, too */
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 8;
    printf("%-16s %9s %8s %8s %8s %8s   ns per row in, rows out per row in\n", "operator", "keys", "process", "fire", "seal", "out");
    for (size_t i = 0; i < ARRAY_LEN(works); i++)
        for (uint64_t keys = of ? of : 1000; keys <= (of ? of : 1000000); keys *= 10)
            if (strncmp(works[i].name, only, length) == 0 && (keys == 1000 || !works[i].keyless)) measure(&works[i], keys, rounds);
    return 0;
}
