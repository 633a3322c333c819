/* datagen.c: rows out of nothing, at a rate. Splits are "<i>/<n>@<ms>": shard i of n takes rows i, i + n, i + 2n, ..; its
 * position is how many of them were made; ms is the event time of row 0. Row g is due g / rate after the start, and its
 * event time is base + g / rate * speedup: by index, not by clock, so a restored job repeats nothing and misses nothing. */
#include "engine/connector/datagen_int.h"
#include "common/clock.h"
#include "engine/connector/format_int.h"
#include "engine/datetime.h"
#include "engine/decimal.h"
#include "engine/number.h"
#include <stdio.h>
#include <stdlib.h>

#define BEHIND_MS_MAX 1000 /* what a held-back source may catch up at once */

typedef struct shard {
    uint64_t i, n;
    int64_t base_ms;
    int64_t origin_ms; /* clock at which row `first` was due */
    int64_t first;     /* position at origin */
    bool started;
} shard_t;

typedef struct datagen {
    gen_plan_t plan;
    rowstore_t rows;
    shard_t *shards;
    int next; /* split to look at first */
} datagen_t;

static err_t *datagen_check(const table_t *t) {
    gen_plan_t p;
    TRY(gen_plan_new(t, &p));
    gen_plan_free(&p);
    return NULL;
}

static err_t *datagen_enumerate(const table_t *t, const options_t *job_set, int timeout_ms, split_list_t *ret) {
    gen_plan_t p;
    TRY(gen_plan_new(t, &p));
    int64_t total = p.total, n = 1;
    gen_plan_free(&p);
    if (job_set) TRY(options_i64(job_set, "parallelism.default", 1, 1, KEY_GROUPS, &n));
    TRY(options_i64(&t->options, "scan.parallelism", n, 1, KEY_GROUPS, &n));
    int64_t base = clock_wall_ms();
    for (int64_t i = 0; i < n; i++) {
        split_t s = {.id = xprintf("%" PRId64 "/%" PRId64 "@%" PRId64, i, n, base), .watermark = WATERMARK_NONE, .end = -1};
        if (total >= 0) s.end = total > i ? (total - i - 1) / n + 1 : 0;
        s.ended = s.end == 0;
        split_list_add(ret, &s);
        free(s.id);
    }
    return NULL;
}

static err_t *datagen_open(source_t *s) {
    datagen_t *g = s->self;
    const plan_op_t *op = s->env.op;
    TRY(gen_plan_new(op->table, &g->plan));
    const type_t **types = xcalloc((size_t)op->nscan + 1, sizeof *types);
    const char **names = xcalloc((size_t)op->nscan + 1, sizeof *names);
    for (int k = 0; k < op->nscan; k++) {
        types[k] = op->table->physical->fields[op->scan[k]].type;
        names[k] = op->table->physical->fields[op->scan[k]].name;
    }
    rowstore_init(&g->rows, op->nscan, types, names);
    free(types);
    free(names);
    g->shards = xcalloc((size_t)s->splits.n + 1, sizeof *g->shards);
    for (int k = 0; k < s->splits.n; k++) {
        shard_t *sh = &g->shards[k];
        if (sscanf(s->splits.items[k].id, "%" SCNu64 "/%" SCNu64 "@%" SCNd64, &sh->i, &sh->n, &sh->base_ms) != 3 || !sh->n ||
            sh->i >= sh->n)
            return err_new(ERR_CORRUPT, "'%s' is not a split of datagen", s->splits.items[k].id);
    }
    return NULL;
}

/* ------------------------------------------------------------------ values */
int64_t gen_event_us(const gen_plan_t *p, int64_t base_ms, uint64_t row) {
    return base_ms * 1000 + (int64_t)((i128)row * 1000 * p->speedup_milli / p->rows_per_second);
}

enum { DRAW_NULL = 1, DRAW_VALUE = 2, DRAW_LENGTH = 3, DRAW_TEXT = 16 /* and what follows */ };
static uint64_t draw_salt(const gen_plan_t *p, const gen_t *g, uint64_t what) { return hash_mix(p->seed ^ g->salt ^ (what * 0x9e3779b97f4a7c15ULL)); }
static uint64_t draw_at(uint64_t salt, uint64_t row) { return hash_mix(salt + row * 0x9e3779b97f4a7c15ULL); }
static uint64_t draw(const gen_plan_t *p, const gen_t *g, uint64_t row, uint64_t what) { return draw_at(draw_salt(p, g, what), row); }
static uint64_t below(uint64_t h, uint64_t n) { return n ? (uint64_t)((u128)h * n >> 64) : h; }
static double unit(uint64_t h) { return (double)(h >> 11) * 0x1p-53; }

static int64_t integer(const gen_t *g, uint64_t h) { return (int64_t)((uint64_t)g->min + below(h, (uint64_t)g->max - (uint64_t)g->min + 1)); }
static double fraction(const gen_t *g, uint64_t h) { return g->fmin + (g->fmax - g->fmin) * unit(h); }

static void store_random_text(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row) {
    static const char hex[] = "0123456789abcdef";
    uint32_t n = (uint32_t)g->length;
    if (g->var_len && n) n = 1 + (uint32_t)below(draw(p, g, row, DRAW_LENGTH), n);
    char *to = rowstore_bytes(s, n);
    uint64_t h = 0;
    bool text = type_is_text(g->type);
    for (uint32_t k = 0; k < n; k++) {
        if (k % 8 == 0) h = draw(p, g, row, DRAW_TEXT + k / 8);
        to[k] = text ? hex[h & 15] : (char)h;
        h >>= 8;
    }
    c->nulls[i] = 0;
    c->str[i] = (str_t){to, n, 0};
}

static void store_number(const gen_t *g, rcol_t *c, uint32_t i, double v) {
    c->nulls[i] = 0;
    if (g->type->kind == TYPE_FLOAT) c->f32[i] = (float)v;
    else if (g->type->kind == TYPE_DOUBLE) c->f64[i] = v;
    else if (!decimal_from_f64(v, g->type->precision, g->type->scale, &c->dec[i])) c->dec[i] = 0;
}

static void store_time(const gen_t *g, rcol_t *c, uint32_t i, int64_t us) {
    if (g->type->kind == TYPE_DATE) rcol_i64(c, i, floor_div(us, US_PER_DAY));
    else if (g->type->kind == TYPE_TIME) rcol_i64(c, i, floor_mod(us, US_PER_DAY) / US_PER_SECOND * 1000);
    else rcol_i64(c, i, us - floor_mod(us, precision_us(MIN(MAX(g->type->precision, 0), 6))));
}

static void store_sequence(const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row) {
    int64_t v = (int64_t)((uint64_t)g->min + row);
    if (type_is_text(g->type)) {
        char text[NUMBER_I64_MAX + 1];
        rcol_str(s, c, i, text, i64_print(text, v));
    } else if (g->type->kind == TYPE_DECIMAL) {
        c->nulls[i] = 0;
        if (!decimal_rescale(v, 0, g->type->scale, g->type->precision, &c->dec[i])) rcol_null(c, i);
    } else if (type_is_approx(g->type)) {
        store_number(g, c, i, (double)v);
    } else {
        rcol_i64(c, i, v);
    }
}

static void store_nested(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row, int64_t event_us) {
    c->nulls[i] = 0;
    if (g->type->kind == TYPE_ROW) {
        for (int k = 0; k < g->nchild; k++) gen_store(p, &g->child[k], s, &c->child[k], i, row, event_us);
        return;
    }
    uint32_t off = c->child[0].n;
    for (int32_t e = 0; e < g->length; e++) {
        uint64_t r = row * (uint64_t)(g->length + 1) + (uint64_t)e;
        gen_store(p, &g->child[0], s, &c->child[0], rcol_append(s, &c->child[0]), r, event_us);
        if (g->type->kind == TYPE_MAP) gen_store(p, &g->child[1], s, &c->child[1], rcol_append(s, &c->child[1]), r, event_us);
        if (g->type->kind == TYPE_MULTISET) rcol_i64(&c->child[1], rcol_append(s, &c->child[1]), 1);
    }
    c->span[i] = (span_t){off, c->child[0].n - off};
}

static void store_random(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row, int64_t event_us) {
    uint64_t h = draw(p, g, row, DRAW_VALUE);
    switch (g->type->kind) {
    case TYPE_BOOLEAN: rcol_i64(c, i, (int64_t)(h >> 63)); return;
    case TYPE_FLOAT:
    case TYPE_DOUBLE:
    case TYPE_DECIMAL: store_number(g, c, i, fraction(g, h)); return;
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY: store_random_text(p, g, s, c, i, row); return;
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ:
        store_time(g, c, i, event_us - (int64_t)below(h, (uint64_t)g->max_past_ms + 1) * 1000);
        return;
    default: rcol_i64(c, i, integer(g, h));
    }
}

static void store_picked(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row) {
    const char *v = g->values[below(draw(p, g, row, DRAW_VALUE), (uint64_t)g->nvalues)];
    if (type_is_text(g->type)) {
        rcol_str(s, c, i, v, strlen(v));
        return;
    }
    const char *why = scalar_store(s, c, i, &(scalar_rules_t){.csv = true}, SCALAR_STRING, v, strlen(v));
    ASSERT(!why); /* tried when the options were read */
}

void gen_store(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, uint32_t i, uint64_t row, int64_t event_us) {
    if (g->null_rate > 0 && unit(draw(p, g, row, DRAW_NULL)) < g->null_rate) rcol_null(c, i);
    else if (g->nchild) store_nested(p, g, s, c, i, row, event_us);
    else if (g->kind == GEN_SEQUENCE) store_sequence(g, s, c, i, row);
    else if (g->kind == GEN_VALUES) store_picked(p, g, s, c, i, row);
    else if (g->kind == GEN_EVENT_TIME)
        store_time(g, c, i, event_us - (int64_t)below(draw(p, g, row, DRAW_VALUE), (uint64_t)g->max_delay_ms + 1) * 1000);
    else store_random(p, g, s, c, i, row, event_us);
}

/* ------------------------------------------------------------------ polling */
/* Rows of the shard that are due now; *ret_due_ms: when the next one is. */
static int64_t rows_due(const datagen_t *g, shard_t *sh, int64_t position, int64_t now, int64_t *ret_due_ms) {
    i128 rate = g->plan.rows_per_second, per_row = (i128)1000 * (i128)sh->n; /* ms * rate between rows of this shard */
    if (!sh->started) {
        sh->started = true;
        sh->origin_ms = now;
        sh->first = position;
    }
    int64_t due_ms = sh->origin_ms + (int64_t)(((i128)(position - sh->first) * per_row + rate - 1) / rate);
    if (now - due_ms > BEHIND_MS_MAX) sh->origin_ms += now - due_ms - BEHIND_MS_MAX;
    i128 allowed = (i128)(now - sh->origin_ms) * rate / per_row + 1;
    int64_t n = (int64_t)(allowed - (position - sh->first));
    *ret_due_ms = sh->origin_ms + (int64_t)(((i128)(position - sh->first) * per_row + rate - 1) / rate);
    return n < 0 || now < sh->origin_ms ? 0 : n;
}

/* What a column needs of its shard: its rows from `first` on, `step` apart. */
typedef struct span_of_rows {
    uint64_t first, step;
    uint32_t at, n; /* in the store */
    int64_t base_ms;
} span_of_rows_t;

static bool needs_time(const gen_t *g) {
    return g->kind == GEN_EVENT_TIME || g->nchild || (g->type->kind >= TYPE_DATE && g->type->kind <= TYPE_TIMESTAMP_LTZ);
}

/* The commonest columns have loops of their own, which the generator's share of a benchmark is seen by. */
static void make_column(const gen_plan_t *p, const gen_t *g, rowstore_t *s, rcol_t *c, const span_of_rows_t *r) {
    uint64_t salt = draw_salt(p, g, DRAW_VALUE);
    bool plain = g->kind == GEN_RANDOM && g->null_rate == 0;
    if (plain && g->type->kind == TYPE_BIGINT) {
        for (uint32_t k = 0; k < r->n; k++) c->i64[r->at + k] = integer(g, draw_at(salt, r->first + k * r->step));
        return;
    }
    if (plain && g->type->kind == TYPE_DOUBLE) {
        for (uint32_t k = 0; k < r->n; k++) c->f64[r->at + k] = fraction(g, draw_at(salt, r->first + k * r->step));
        return;
    }
    bool timed = needs_time(g);
    for (uint32_t k = 0; k < r->n; k++) {
        uint64_t row = r->first + k * r->step;
        gen_store(p, g, s, c, r->at + k, row, timed ? gen_event_us(p, r->base_ms, row) : 0);
    }
}

static batch_t *make_rows(source_t *s, datagen_t *g, const shard_t *sh, split_t *split, int64_t n) {
    const plan_op_t *op = s->env.op;
    span_of_rows_t r = {.first = sh->i + (uint64_t)split->position * sh->n, .step = sh->n, .at = rowstore_rows(&g->rows, (uint32_t)n), .n = (uint32_t)n,
                        .base_ms = sh->base_ms};
    for (int c = 0; c < op->nscan; c++) make_column(&g->plan, &g->plan.cols[op->scan[c]], &g->rows, &g->rows.root.child[c], &r);
    split->position += n;
    s->rows_out += (uint64_t)n;
    return rowstore_take(&g->rows, 0);
}

static src_status_t datagen_poll(source_t *s, batch_t **ret_batch, int *ret_split, err_t **reterr) {
    datagen_t *g = s->self;
    int64_t now = s->env.eval ? s->env.eval->now_ms : 0, next = INT64_MAX;
    bool open = false;
    for (int k = 0; k < s->splits.n; k++) {
        int at = (g->next + k) % s->splits.n;
        split_t *split = &s->splits.items[at];
        if (split->ended) continue;
        open = true;
        int64_t due, n = rows_due(g, &g->shards[at], split->position, now, &due);
        if (n > 0) {
            n = MIN(n, (int64_t)BATCH_ROWS_MAX);
            if (split->end >= 0) n = MIN(n, split->end - split->position);
            *ret_batch = n > 0 ? make_rows(s, g, &g->shards[at], split, n) : NULL;
            *ret_split = at;
            if (split->end >= 0 && split->position >= split->end) split->ended = true;
            g->next = (at + 1) % s->splits.n;
            s->next_poll_ms = now;
            return SRC_MORE;
        }
        next = MIN(next, due);
    }
    s->next_poll_ms = next;
    return open ? SRC_WAIT : SRC_ENDED;
}

/* Rows come by time: between two of them the source has caught up, but it holds no time back only when it has ended. */
static void datagen_close(source_t *s) {
    datagen_t *g = s->self;
    if (g->rows.arena) rowstore_done(&g->rows);
    if (g->plan.arena) gen_plan_free(&g->plan);
    free(g->shards);
}

const source_vtable_t datagen_source = {
    .connector = "datagen",
    .state_size = sizeof(datagen_t),
    .check = datagen_check,
    .enumerate = datagen_enumerate,
    .open = datagen_open,
    .poll = datagen_poll,
    .close = datagen_close,
};
