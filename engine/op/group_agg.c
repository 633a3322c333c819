/* group_agg.c: GROUP BY without a window. SELECT DISTINCT is one without aggregates.
 *
 * Streaming: a batch is applied as a whole (but see below). For every group it touches, the result before and after are compared:
 *   no rows before, some after: +I | some before, none after: -D | both, and the result differs: -U, +U | else nothing.
 * Where nobody behind it needs -U (plan op after_only) it is left out, and what a result was is not even computed when each row changes it.
 * So the changelog is that of Flink's mini-batch mode: its result is the same, intermediate results within a batch
 * are left out. A row that takes back what was never there (its group is absent) is dropped, as Flink does.
 * Batch mode: nothing is emitted before the end, then +I for every group. A global aggregate (no keys) over no rows
 * gives one row there, and none in streaming mode until rows come, as in Flink.
 *
 * Where the table is larger than the processor's cache, its groups are small, and a batch's rows are of as many groups, a batch is applied a portion at
 * a time: what one pass over it leaves in the nearest cache, and of its pages in that of translations, is there for the next pass. The few groups that
 * are in several portions of a batch have a result in each.
 *
 * State: one block per key (rows, last access, accumulators). With a TTL a group untouched for that long is
 * forgotten when it is met again, and by a sweep that walks over the table a part at a time. */
#include "engine/op/op_int.h"
#include <stdlib.h>

#define PORTION 256u             /* rows: their entries, slots and records are a quarter of the nearest two caches, and as many translations */
#define PORTIONS_FROM (4u << 20) /* bytes of a table that no such cache holds */
#define PORTIONS_TIMES 31        /* batches between two that are applied as a whole */

typedef struct group_agg {
    agg_set_t *set;
    kstate_t *ks;
    keyed_t keyed;
    pages_t pages;
    keys_t keys;
    bool partial, retracting, batch;
    bool grows; /* each added row changes its group's result */
    bool small; /* no group owns anything but its block: the table is large by its groups, and a result costs as little as a row */
    uint32_t portions; /* so many batches more are applied by portions, before one as a whole says whether its groups repeat */
    void **accs;
    uint32_t *sel;
    void **values;     /* of the groups of the batch at hand, in order of appearance: agg_head_t, as kstate gave them */
    uint32_t *row;     /* .. the first of the batch */
    uint8_t *had;      /* .. a result had been emitted */
    void **before;     /* accs of those that had one */
    uint32_t cap;
    /* end of a batch job */
    pages_walk_t final;
    bool any_group;    /* a global aggregate saw rows */
    bool emitted_end;  /* kept in every epoch: the result went out */
    /* TTL sweep */
    kstate_scan_t sweep;
    uint64_t sweeping; /* groups when it began */
    int64_t swept_at;
} group_agg_t;

static err_t *group_agg_open(op_t *op) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    g->partial = p->partial_input;
    g->retracting = op->env.stage->ops[p->inputs[0]]->retracts;
    g->batch = op->env.plan->batch;
    g->set = agg_set_new(p->aggs, p->naggs, g->retracting);
    g->grows = agg_set_grows(g->set);
    g->small = !agg_set_owns(g->set);
    pages_keep(&g->pages, g->set);
    kstate_codec_t codec = agg_codec(g->set, p->state_ttl_ms > 0);
    codec.flat = true;
    TRY(kstate_open(op->env.state, p->fingerprint, 0, key_group_lo(op->env.subtask, op->env.parallelism),
                    key_group_lo(op->env.subtask + 1, op->env.parallelism), &codec, &g->ks));
    TRY(pages_open(&g->pages, &op->env, g->ks));
    if (!g->batch) kstate_unscanned(g->ks); /* the sweep is a weak scan */
    if (g->pages.ks) kstate_unscanned(g->pages.ks);
    keyed_init(&g->keyed, g->ks);
    g->keyed.later = true;
    return NULL;
}

static err_t *group_agg_restore(op_t *op, slice_t bytes) {
    group_agg_t *g = op->self;
    reader_t r = reader_of(bytes);
    bool emitted = read_u8(&r) != 0;
    if (r.bad) return err_new(ERR_CORRUPT, "the flag of a group aggregate is malformed");
    g->emitted_end |= emitted;
    return NULL;
}

static err_t *group_agg_seal(op_t *op, epoch_t epoch, buf_t *bytes) {
    group_agg_t *g = op->self;
    if (g->emitted_end) buf_put_u8(bytes, 1);
    return pages_seal(&g->pages);
}

static void room(group_agg_t *g, uint32_t n) {
    if (g->cap >= n) return;
    g->cap = n;
    g->accs = xrealloc(g->accs, sizeof *g->accs * n);
    g->sel = xrealloc(g->sel, sizeof *g->sel * n);
    g->values = xrealloc(g->values, sizeof *g->values * ((size_t)n + 1));
    g->row = xrealloc(g->row, sizeof *g->row * n);
    g->had = xrealloc(g->had, n);
    g->before = xrealloc(g->before, sizeof *g->before * n);
}

/* Of one that was written where groups lived for ever (0) it begins when it is met. */
static bool is_over(const op_t *op, const agg_head_t *h, int64_t now_ms) {
    int64_t at = agg_touched(((const group_agg_t *)op->self)->set, h);
    return at && now_ms - at >= op->env.op->state_ttl_ms;
}

/* Forgets what a group held if its time to live is over. */
static err_t *expire(op_t *op, agg_head_t *h) {
    group_agg_t *g = op->self;
    if (op->env.op->state_ttl_ms > 0 && h->rows > 0 && is_over(op, h, op->env.eval->now_ms)) {
        TRY(pages_delete(&g->pages, h));
        agg_set_clear(g->set, agg_accs(h));
        agg_set_init(g->set, agg_accs(h));
        h->rows = 0;
    }
    return NULL;
}

/* A retraction for a group that has no rows is dropped with no trace: also not from the accumulators. */
static bool is_orphan(const agg_head_t *h, row_kind_t kind) {
    return h->rows <= 0 && (kind == ROW_DELETE || kind == ROW_UPDATE_BEFORE);
}

static inline int64_t rows_of(const group_agg_t *g, uint32_t group) { return ((const agg_head_t *)g->values[group])->rows; }
static inline void *accs_of(const group_agg_t *g, uint32_t group) { return agg_accs(g->values[group]); }

/* Rows are added, and that is all there is to tell of them. */
static bool only_adds(const op_t *op, const batch_t *b) { return !b->kinds && op->env.op->state_ttl_ms <= 0; }

/* Rows of a batch, and of its groups those that they touch. */
typedef struct portion { uint32_t from, n, at, ngroups; } portion_t;

/* Finds the groups of the rows, into accs, and remembers which are touched. No accumulator is updated yet: the results before the batch
 * are needed as columns first. Rows that only add are counted at once, while their group is at hand. */
static err_t *find_groups(op_t *op, const batch_t *b, portion_t *of) {
    group_agg_t *g = op->self;
    uint32_t ngroups = 0;
    bool adds = only_adds(op, b);
    keys_t keys = g->keys;
    keys.hash += of->from;
    keys.off += of->from;
    TRY(keyed_find(&g->keyed, &keys, NULL, NULL, of->n, g->accs));
    void **accs = g->accs, **values = g->values + of->at;
    uint32_t *row = g->row + of->at;
    uint8_t *had = g->had + of->at;
    values[0] = NULL;
    for (uint32_t i = 0; i < of->n; i++) {
        agg_head_t *h = accs[i];
        uint32_t at = kstate_word(h) >> 1; /* its place of the last batch that it was in, or anything: not to be guessed by a branch */
        if (values[MIN(at, ngroups)] != h) {
            TRY(expire(op, h));
            TRY(pages_need(&g->pages, h));
            row[ngroups] = of->from + i;
            had[ngroups] = h->rows > 0;
            values[ngroups] = h;
            kstate_word_set(h, ngroups++ << 1 | agg_absent(h));
            values[ngroups] = NULL;
        }
        if (!adds) continue;
        h->rows++;
        accs[i] = agg_accs(h);
    }
    of->ngroups = ngroups;
    return NULL;
}

/* Rows that count go to sel / accs. */
static err_t *apply(op_t *op, const batch_t *b, const portion_t *of) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    bool adds = only_adds(op, b);
    uint32_t kept = adds ? of->n : 0;
    for (uint32_t i = 0; adds && of->n < b->n && i < of->n; i++) g->sel[i] = of->from + i;
    for (uint32_t i = kept; i < of->n; i++) {
        agg_head_t *h = g->accs[i];
        row_kind_t kind = batch_kind(b, of->from + i);
        if (is_orphan(h, kind)) continue;
        h->rows += kind == ROW_DELETE || kind == ROW_UPDATE_BEFORE ? -1 : 1;
        if (p->state_ttl_ms > 0) agg_touch(g->set, h, op->env.eval->now_ms);
        g->sel[kept] = of->from + i;
        g->accs[kept++] = agg_accs(h);
    }
    const uint32_t *sel = kept == b->n ? NULL : g->sel;
    return g->partial ? agg_set_merge_partial(g->set, b, p->nkeys, sel, kept, g->accs) : agg_set_update(g->set, b, sel, kept, g->accs);
}

/* ---------------------------------------------------------------- what changed */
static bool values_equal(const column_t *a, uint32_t i, const column_t *b, uint32_t k, buf_t *x, buf_t *y) {
    bool na = column_null(a, i), nb = column_null(b, k);
    if (na || nb) return na == nb;
    int width = type_width(a->type);
    if (width && width <= 16 && !type_is_strlike(a->type) && !type_is_nested(a->type))
        return memcmp((uint8_t *)a->data + (size_t)i * (size_t)width, (uint8_t *)b->data + (size_t)k * (size_t)width, (size_t)width) == 0;
    buf_clear(x);
    buf_clear(y);
    value_encode(x, a, i);
    value_encode(y, b, k);
    return !x->overflow && !y->overflow && slice_eq(buf_slice(x), buf_slice(y));
}

/* differs[i]: the result of group i is not what it was before the batch; `old` holds one row for each group that had a result. Column by
 * column, and a row only while it is equal so far: nearly always one column is enough. */
static void find_changed(const group_agg_t *g, const column_t *old, const column_t *now, int ncols, uint32_t ngroups, uint8_t *differs) {
    buf_t x = buf_make(BUF_MAX_DEFAULT), y = buf_make(BUF_MAX_DEFAULT);
    uint32_t left = 0;
    for (uint32_t i = 0; i < ngroups; i++) {
        differs[i] = !(g->had[i] && rows_of(g, i) > 0);
        left += !differs[i];
    }
    for (int c = 0; c < ncols && left; c++)
        for (uint32_t i = 0, at = 0; i < ngroups; at += g->had[i++])
            if (!differs[i] && !values_equal(&old[c], at, &now[c], i, &x, &y)) {
                differs[i] = 1;
                left--;
            }
    buf_free(&x);
    buf_free(&y);
}

typedef struct emission {
    uint32_t *from; /* row of the combined columns (after rows, then before rows) */
    uint8_t *kinds;
    uint32_t n;
    bool plain;     /* row i is row i of the after rows */
    bool inserts;   /* all are */
} emission_t;

static void emit_row(emission_t *e, uint32_t from, row_kind_t kind) {
    e->plain &= from == e->n;
    e->inserts &= kind == ROW_INSERT;
    e->from[e->n] = from;
    e->kinds[e->n++] = (uint8_t)kind;
}

static emission_t choose_rows(const group_agg_t *g, bool after_only, const uint8_t *differs, uint32_t ngroups, mem_t *m) {
    emission_t e = {mem_alloc(m, sizeof(uint32_t) * ngroups * 2), mem_alloc(m, (size_t)ngroups * 2), 0, true, true};
    for (uint32_t i = 0, at = 0; i < ngroups; i++) {
        bool after = rows_of(g, i) > 0, before = g->had[i];
        uint32_t prev = at;
        at += before;
        if (!differs[i]) continue;
        if (before && !(after && after_only)) emit_row(&e, ngroups + prev, after ? ROW_UPDATE_BEFORE : ROW_DELETE);
        if (after) emit_row(&e, i, before ? ROW_UPDATE_AFTER : ROW_INSERT);
    }
    return e;
}

/* Integers and times are what the rows have; of all else the state holds the canonical value, in memory of its own. */
static err_t *key_columns(const group_agg_t *g, const plan_op_t *p, const batch_t *in, batch_t *now) {
    bool plain = true;
    uint32_t ngroups = now->n;
    for (int c = 0; c < p->nkeys; c++) plain &= keys_plain(p->schema->fields[c].type);
    if (plain) {
        bool same = ngroups == in->n; /* row i is of group i */
        if (same) mem_link(now->mem, in->mem);
        for (int c = 0; c < p->nkeys; c++) {
            if (same) now->cols[c] = in->cols[p->keys[c]];
            else column_gather(&now->cols[c], &in->cols[p->keys[c]], g->row, ngroups, now->mem);
        }
        for (int c = 0; c < p->nkeys; c++) now->cols[c].type = p->schema->fields[c].type;
        return NULL;
    }
    slice_t *keys = mem_alloc(now->mem, sizeof *keys * ngroups);
    for (uint32_t i = 0; i < ngroups; i++) keys[i] = kstate_key(g->ks, g->values[i]);
    return keys_decode(keys, ngroups, p->schema, p->nkeys, now->mem, now->cols) ? NULL : err_new(ERR_CORRUPT, "a key of the state is malformed");
}

/* The chosen rows of both result sets. The key columns of an old row are the group's. */
static batch_t *gather_changes(const group_agg_t *g, const plan_op_t *p, const emission_t *e, batch_t *now, batch_t *old) {
    batch_t *b = batch_new(p->schema->n);
    uint32_t ngroups = now->n;
    b->n = e->n;
    mem_link(b->mem, now->mem);
    if (old) mem_link(b->mem, old->mem);
    uint32_t *group_of = mem_alloc(b->mem, sizeof *group_of * b->n);
    uint32_t *old_group = mem_alloc(b->mem, sizeof *old_group * ngroups);
    for (uint32_t i = 0, k = 0; i < ngroups; i++)
        if (g->had[i]) old_group[k++] = i;
    for (uint32_t i = 0; i < b->n; i++) group_of[i] = e->from[i] < ngroups ? e->from[i] : old_group[e->from[i] - ngroups];
    for (int c = 0; c < p->nkeys; c++) column_gather(&b->cols[c], &now->cols[c], group_of, b->n, b->mem);
    for (int c = 0; c < p->naggs; c++)
        column_gather2(&b->cols[p->nkeys + c], &now->cols[p->nkeys + c], ngroups, old ? &old->cols[c] : NULL, e->from, b->n, b->mem);
    return b;
}

/* Rows were added, and each group is new or differs. */
static void set_kinds(const group_agg_t *g, batch_t *now) {
    if (!memchr(g->had, true, now->n)) return;
    now->kinds = mem_alloc(now->mem, now->n);
    for (uint32_t i = 0; i < now->n; i++) now->kinds[i] = g->had[i] ? ROW_UPDATE_AFTER : ROW_INSERT;
}

/* The results of the groups of a portion, as rows of `now`. */
static err_t *put_results(group_agg_t *g, const plan_op_t *p, const portion_t *of, uint32_t rows, batch_t *now) {
    column_t *results = mem_alloc(now->mem, sizeof *results * (size_t)p->naggs);
    for (uint32_t i = 0; i < of->ngroups; i++) g->accs[i] = accs_of(g, of->at + i);
    TRY(agg_set_emit(g->set, g->accs, of->ngroups, now->mem, results));
    for (int c = 0; c < p->naggs; c++) column_put(&now->cols[p->nkeys + c], of->at, &results[c], of->ngroups, rows, now->mem);
    return NULL;
}

/* Two result sets, one of groups that had a result (NULL: none had, or all differ and nobody asks what they were) and one of all
 * touched groups, become change rows. */
static err_t *emit_changes(op_t *op, const batch_t *in, batch_t *old, uint32_t ngroups, out_t *out) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    batch_t *now = batch_new(p->schema->n);
    now->n = ngroups;
    for (uint32_t i = 0; i < ngroups; i++) g->accs[i] = accs_of(g, i);
    err_t *err = key_columns(g, p, in, now);
    if (!err) err = agg_set_emit(g->set, g->accs, ngroups, now->mem, now->cols + p->nkeys);
    if (err) {
        batch_free(now);
        return err;
    }
    for (int c = p->nkeys; c < p->schema->n; c++) now->cols[c].type = p->schema->fields[c].type;
    if (!old && !in->kinds) {
        set_kinds(g, now);
        out_batch(out, now);
        return NULL;
    }
    uint8_t *differs = mem_alloc(now->mem, ngroups);
    if (old) find_changed(g, old->cols, now->cols + p->nkeys, p->naggs, ngroups, differs);
    else memset(differs, 1, ngroups);
    emission_t e = choose_rows(g, p->after_only, differs, ngroups, now->mem);
    batch_t *b = now;
    if (!e.plain || e.n != ngroups) {
        b = e.n ? gather_changes(g, p, &e, now, old) : NULL;
        batch_free(now);
        if (!b) return NULL;
    }
    b->kinds = e.inserts ? NULL : e.kinds;
    out_batch(out, b);
    return NULL;
}

/* NULL where none had any, and where they do not matter: all will differ, and their own values are not asked for. */
static err_t *results_before(op_t *op, const batch_t *in, uint32_t ngroups, batch_t **ret) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    uint32_t n = 0;
    if (p->after_only && g->grows && !in->kinds) return NULL;
    for (uint32_t i = 0; i < ngroups; i++)
        if (g->had[i]) g->before[n++] = accs_of(g, i);
    if (n == 0) return NULL;
    *ret = batch_new(p->naggs);
    (*ret)->n = n;
    return agg_set_emit(g->set, g->before, n, (*ret)->mem, (*ret)->cols);
}

static bool repeats(uint32_t ngroups, const batch_t *b) { return ngroups * UINT64_C(4) < b->n * UINT64_C(3); }

/* Rows that were added, whose results before them nobody asks for. */
static err_t *apply_portions(op_t *op, const batch_t *b, out_t *out) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    AUTO(batch_freep) batch_t *now = batch_new(p->schema->n);
    portion_t of = {0};
    for (int c = p->nkeys; c < p->schema->n && !g->batch; c++) column_init(&now->cols[c], p->schema->fields[c].type, now->mem, b->n);
    for (; of.from < b->n; of.from += of.n, of.at += of.ngroups) {
        of.n = MIN(PORTION, b->n - of.from);
        TRY(find_groups(op, b, &of));
        TRY(apply(op, b, &of));
        kstate_changed(g->ks, g->values + of.at, of.ngroups);
        if (!g->batch) TRY(put_results(g, p, &of, b->n, now));
    }
    if (repeats(of.at, b)) g->portions = 0;
    if (g->batch) return NULL;
    now->n = of.at;
    TRY(key_columns(g, p, b, now));
    set_kinds(g, now);
    out_batch(out, TAKE(now));
    return NULL;
}

static err_t *apply_whole(op_t *op, const batch_t *b, out_t *out) {
    group_agg_t *g = op->self;
    AUTO(batch_freep) batch_t *old = NULL;
    portion_t all = {.n = b->n};
    TRY(find_groups(op, b, &all));
    if (!g->batch) TRY(results_before(op, b, all.ngroups, &old));
    TRY(apply(op, b, &all));
    kstate_changed(g->ks, g->values, all.ngroups);
    if (!g->batch) TRY(emit_changes(op, b, old, all.ngroups, out));
    for (uint32_t i = 0; b->kinds && i < all.ngroups; i++) {
        if (rows_of(g, i) > 0) continue;
        TRY(pages_delete(&g->pages, g->values[i]));
        kstate_delete(g->ks, g->values[i]);
    }
    if (b->n > PORTION) g->portions = repeats(all.ngroups, b) ? 0 : PORTIONS_TIMES; /* a few rows tell nothing */
    return NULL;
}

static op_status_t group_agg_process(op_t *op, int input, const batch_t *b, out_t *out, err_t **reterr) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    if (out_full(out)) return OP_MORE;
    ASSERT(b->n <= KSTATE_WORD_MAX >> 1);
    room(g, MAX(b->n, 1u));
    keys_encode(&g->keys, b, p->keys, p->nkeys, NULL, b->n);
    bool portions = b->n > PORTION && g->portions && kstate_bytes(g->ks) > PORTIONS_FROM && !b->kinds && g->small && (g->batch || (p->after_only && g->grows));
    g->portions -= portions;
    *reterr = portions ? apply_portions(op, b, out) : apply_whole(op, b, out);
    return *reterr ? OP_FAIL : OP_DONE;
}

/* ---------------------------------------------------------------- end of a batch job */
static err_t *emit_final(op_t *op, const slice_t *keys, void **accs, uint32_t n, out_t *out) {
    group_agg_t *g = op->self;
    const plan_op_t *p = op->env.op;
    batch_t *b = batch_new(p->schema->n);
    b->n = n;
    err_t *e = keys_decode(keys, n, p->schema, p->nkeys, b->mem, b->cols) ? agg_set_emit(g->set, accs, n, b->mem, b->cols + p->nkeys)
                                                                       : err_new(ERR_CORRUPT, "a key of the state is malformed");
    if (e) {
        batch_free(b);
        return e;
    }
    for (int c = p->nkeys; c < p->schema->n; c++) b->cols[c].type = p->schema->fields[c].type;
    out_batch(out, b);
    return NULL;
}

static err_t *emit_empty(op_t *op, out_t *out) {
    group_agg_t *g = op->self;
    uint64_t *block = xcalloc(1, MAX(agg_set_size(g->set), 8u));
    agg_set_init(g->set, block);
    void *accs = block;
    slice_t none = {0};
    err_t *e = emit_final(op, &none, &accs, 1, out);
    agg_set_clear(g->set, block);
    free(block);
    return e;
}

static op_status_t group_agg_end(op_t *op, out_t *out, err_t **reterr) {
    group_agg_t *g = op->self;
    if (!g->batch || g->emitted_end) return OP_DONE;
    slice_t keys[PAGES_TURN];
    void *values[PAGES_TURN];
    uint32_t n;
    for (bool done = false; !done;) {
        if (out_full(out)) return OP_MORE;
        if ((*reterr = pages_turn(&g->pages, &g->final, values, &n, &done))) return OP_FAIL;
        for (uint32_t i = 0; i < n; i++) {
            keys[i] = kstate_key(g->ks, values[i]);
            values[i] = agg_accs(values[i]);
        }
        g->any_group |= n > 0;
        if (n && (*reterr = emit_final(op, keys, values, n, out))) return OP_FAIL;
        if (pages_emitted(&g->pages, &g->final) && (*reterr = kstate_evict(g->ks))) return OP_FAIL;
    }
    /* Subtask 0 answers for a global aggregate over nothing: its key group is there or nowhere. */
    if (op->env.op->nkeys == 0 && !g->any_group && op->env.subtask == 0 && (*reterr = emit_empty(op, out))) return OP_FAIL;
    g->emitted_end = true;
    kstate_drop_ns(g->ks, 0);
    if (g->pages.ks) kstate_drop_ns(g->pages.ks, 0);
    return OP_DONE;
}

/* ---------------------------------------------------------------- time to live */
#define SWEEP_EVERY_MS 1000
#define SWEEP_PORTION 512
#define SWEEP_EVERY_MIN_MS 10

/* Portions a tick and ticks apart such that a sweep over all groups takes half the time they live: none is kept much longer than one and a
 * half times that, and state whose keys always change does not grow. */
static int64_t sweep_interval(op_t *op, int64_t *ret_portions) {
    group_agg_t *g = op->self;
    int64_t sweeps = (int64_t)(MAX(g->sweeping, kstate_entries(g->ks)) / SWEEP_PORTION) + 1, ttl = MAX(op->env.op->state_ttl_ms / 2, (int64_t)1);
    int64_t interval = MIN(ttl / sweeps, (int64_t)SWEEP_EVERY_MS);
    *ret_portions = interval >= SWEEP_EVERY_MIN_MS ? 1 : 1 + sweeps * SWEEP_EVERY_MIN_MS / ttl;
    return MAX(interval, (int64_t)SWEEP_EVERY_MIN_MS);
}

/* What it reads back of evicted groups it reads for itself: they stay evicted, and become entries again only as they are deleted. */
static op_status_t group_agg_tick(op_t *op, int64_t now_ms, out_t *out, err_t **reterr) {
    group_agg_t *g = op->self;
    void *values[SWEEP_PORTION];
    uint32_t n = 1;
    int64_t portions;
    if (!g->sweep.begun) g->sweeping = kstate_entries(g->ks);
    sweep_interval(op, &portions);
    g->swept_at = now_ms;
    g->sweep.weak = true;
    for (int64_t left = portions * SWEEP_PORTION; left > 0 && n > 0; left -= n) { /* at the end the next sweep begins anew */
        if ((*reterr = kstate_scan(g->ks, &g->sweep, values, ARRAY_LEN(values), &n))) return OP_FAIL;
        for (uint32_t i = 0; i < n; i++) {
            if (!is_over(op, values[i], now_ms)) {
                if (agg_touched(g->set, values[i])) continue;
                kstate_dirty(g->ks, values[i]);
                agg_touch(g->set, values[i], now_ms);
                continue;
            }
            if ((*reterr = pages_delete(&g->pages, values[i]))) return OP_FAIL;
            kstate_delete(g->ks, values[i]);
        }
    }
    return OP_DONE;
}

static int64_t group_agg_next_tick(op_t *op) {
    group_agg_t *g = op->self;
    int64_t portions;
    if (op->env.op->state_ttl_ms <= 0 || g->batch || kstate_entries(g->ks) == 0) return INT64_MAX;
    return g->swept_at + sweep_interval(op, &portions);
}

static kstate_t *group_agg_state(op_t *op, int i) {
    group_agg_t *g = op->self;
    return i == 0 ? g->ks : i == 1 ? g->pages.ks : NULL;
}

static void group_agg_close(op_t *op) {
    group_agg_t *g = op->self;
    keyed_free(&g->keyed);
    pages_close(&g->pages);
    kstate_scan_stop(NULL, &g->final.scan);
    kstate_scan_stop(NULL, &g->sweep);
    kstate_close(g->ks);
    agg_set_free(g->set);
    keys_free(&g->keys);
    free(g->accs);
    free(g->sel);
    free(g->values);
    free(g->row);
    free(g->had);
    free(g->before);
}

const op_vtable_t op_group_agg = {
    .name = "GROUP_AGG",
    .state_size = sizeof(group_agg_t),
    .open = group_agg_open,
    .restore = group_agg_restore,
    .process = group_agg_process,
    .tick = group_agg_tick,
    .next_tick_ms = group_agg_next_tick,
    .end = group_agg_end,
    .seal = group_agg_seal,
    .close = group_agg_close,
    .state = group_agg_state,
};
