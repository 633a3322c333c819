/* Lists, multisets and values of percentiles in pages (engine/agg_page.c): each equals what it is as a whole, and costs an epoch what changed of it. */
#include "engine/agg.h"
#include "tests/op/windows_rig.h"

/* ---------------------------------------------------------------- alone: against the same calls without pages */
enum { CALLS = 13, PAGES = 400 };
static const struct { const char *name; int col, second; bool distinct; } calls_of[CALLS] = {
    {"LISTAGG", 0, -1, false}, {"LISTAGG", 0, 3, false}, {"LISTAGG", 0, -1, true}, {"ARRAY_AGG", 0, -1, false}, {"ARRAY_AGG", 2, -1, true},
    {"COLLECT", 0, -1, false}, {"PERCENTILE", 1, 4, false}, {"JSON_ARRAYAGG_NULL_ON_NULL", 0, -1, false}, {"LAST_VALUE", 2, -1, false},
    {"COUNT", 0, -1, true}, {"MIN", 0, -1, true}, {"MAX", 1, -1, true},
    {"FIRST_VALUE", 0, -1, false}};

typedef struct lab {
    arena_t *a;
    agg_set_t *set;
    void *acc;
} lab_t;

static lab_t lab_new(bool retracting, bool pages) {
    lab_t l = {.a = arena_new()};
    const type_t *types[] = {&type_string, &type_double, &type_bigint, &type_string, &type_double};
    agg_call_t *calls = ARENA_ARRAY(l.a, agg_call_t, CALLS);
    for (int i = 0; i < CALLS; i++) {
        int second = calls_of[i].second;
        value_t literal = second == 3 ? (value_t){.s = {"; ", 2, 0}} : (value_t){.f = 0.75};
        expr_t *args[2] = {expr_column(l.a, calls_of[i].col, types[calls_of[i].col])};
        if (second >= 0) args[1] = expr_literal(l.a, type_nullable(l.a, types[second], false), literal);
        calls[i] = (agg_call_t){.distinct = calls_of[i].distinct, .nargs = 1 + (second >= 0), .filter = -1, .args = {calls_of[i].col, second},
                                .arg_types = {types[calls_of[i].col], second < 0 ? NULL : types[second]}, .name = calls_of[i].name};
        ck_ok(agg_bind(l.a, calls[i].name, calls[i].distinct, args, calls[i].nargs, &calls[i].fn, &calls[i].type));
    }
    l.set = agg_set_new(calls, CALLS, retracting);
    if (pages) agg_set_keep_pages(l.set);
    l.acc = xcalloc(1, agg_set_size(l.set));
    agg_set_init(l.set, l.acc);
    return l;
}

static void lab_free(lab_t *l) {
    agg_set_clear(l->set, l->acc);
    free(l->acc);
    agg_set_free(l->set);
    arena_free(l->a);
}

/* NULL is 0. */
static void lab_feed(lab_t *const *labs, int nlabs, const int *values, uint32_t n, row_kind_t kind) {
    batch_t *b = batch_new(5);
    const type_t *types[] = {&type_string, &type_double, &type_bigint, &type_string, &type_double};
    void **accs = mem_alloc(b->mem, sizeof *accs * n);
    b->n = n;
    b->kinds = mem_alloc(b->mem, n);
    memset(b->kinds, kind, n);
    for (int c = 0; c < 5; c++) column_init(&b->cols[c], types[c], b->mem, n);
    for (uint32_t i = 0; i < n; i++) {
        char *text = mem_alloc(b->mem, 64);
        int len = snprintf(text, 64, "%d%.*s", values[i], values[i] % 40, "........................................");
        b->cols[0].str[i] = (str_t){text, (uint32_t)len, 0};
        b->cols[1].f64[i] = values[i] / 8.0;
        b->cols[2].i64[i] = values[i];
        b->cols[3].str[i] = (str_t){"; ", 2, 0};
        b->cols[4].f64[i] = 0.75;
        for (int c = 0; c < 3 && values[i] == 0; c++) column_need_nulls(&b->cols[c], b->mem, n)[i] = 1;
    }
    for (int k = 0; k < nlabs; k++) {
        for (uint32_t i = 0; i < n; i++) accs[i] = labs[k]->acc;
        ck_ok(agg_set_update(labs[k]->set, b, NULL, n, accs));
    }
    batch_free(b);
}

/* What call `i` gives, its elements sorted where their order is that of a set: where a value comes that was gone is nobody's to say. */
static char *lab_print(lab_t *l, int i, bool as_set) {
    mem_t *m = mem_new();
    column_t out[CALLS] = {0};
    ck_ok(agg_set_emit(l->set, &l->acc, 1, m, out));
    buf_t text = buf_make(BUF_MAX_DEFAULT);
    value_print(&text, &out[i], 0);
    mem_unref(m);
    for (size_t k = 0; as_set && k < text.len; k++)
        if (strchr("{}[], ", text.data[k])) text.data[k] = '\n';
    char *s = buf_take_cstr(&text);
    if (!as_set) return s;
    char *sorted = sorted_lines(s);
    free(s);
    return sorted;
}

static void same_text(const char *what, const char *x, const char *y) {
    size_t i = 0;
    while (x[i] && x[i] == y[i]) i++;
    if (x[i] != y[i]) ck_abort_msg("%s differs at %zu: %.40s, %.40s", what, i, x + i, y + i);
}

static void same(lab_t *a, lab_t *b, bool merged) {
    for (int i = 0; i < CALLS; i++) {
        bool as_set = strcmp(calls_of[i].name, "COLLECT") == 0 || (merged && calls_of[i].distinct);
        char *x = lab_print(a, i, as_set), *y = lab_print(b, i, as_set);
        same_text(calls_of[i].name, x, y);
        free(x);
        free(y);
    }
}

typedef struct store { buf_t page[2 * CALLS][PAGES]; uint64_t puts, bytes; } store_t;
static err_t *store_put(void *arg, int call, uint32_t page, bool stored, slice_t bytes) {
    store_t *s = arg;
    ck_assert_uint_lt(page, PAGES);
    ck_assert(stored == (s->page[call][page].max > 0));
    if (!stored) s->page[call][page] = buf_make(1 << 16);
    buf_clear(&s->page[call][page]);
    buf_put(&s->page[call][page], bytes.p, bytes.len);
    s->puts++;
    s->bytes += bytes.len;
    return NULL;
}
static err_t *store_drop(void *arg, int call, uint32_t page) {
    buf_t *p = &((store_t *)arg)->page[call][page];
    ck_assert_uint_gt(p->max, 0);
    buf_free(p);
    *p = (buf_t){0};
    return NULL;
}
static err_t *store_get(void *arg, int call, uint32_t page, uint32_t n, slice_t *ret) {
    for (uint32_t i = 0; i < n; i++) ret[i] = buf_slice(&((store_t *)arg)->page[call][page + i]);
    return NULL;
}

/* To the store and into another group, by way of its bytes. */
static lab_t through_store(lab_t *l, bool retracting, store_t *store) {
    agg_pages_io_t io = {store, store_put, store_drop, store_get};
    buf_t bytes = buf_make(BUF_MAX_DEFAULT);
    ck_ok(agg_set_pages_out(l->set, l->acc, &io));
    uint64_t puts = store->puts;
    ck_ok(agg_set_pages_out(l->set, l->acc, &io));
    ck_assert_uint_eq(store->puts, puts); /* nothing has changed since */
    agg_set_encode(l->set, l->acc, &bytes);
    for (size_t cut = 0; cut < bytes.len && bytes.data[0] == 4; cut += 1 + cut / 16) {
        lab_t broken = lab_new(retracting, true);
        reader_t rc = reader_of(slice_of(bytes.data, cut));
        ck_assert(!agg_set_decode(broken.set, &rc, broken.acc));
        lab_free(&broken);
    }
    lab_t next = lab_new(retracting, true);
    reader_t r = reader_of(buf_slice(&bytes));
    ck_assert(agg_set_decode(next.set, &r, next.acc));
    ck_assert_uint_eq(reader_left(&r), 0);
    if (agg_set_absent(next.set, next.acc)) {
        size_t heap = agg_set_heap(next.set, next.acc);
        ck_ok(agg_set_pages_in(next.set, next.acc, &io));
        agg_set_pages_leave(next.set, next.acc);
        ck_assert_uint_eq(agg_set_heap(next.set, next.acc), heap);
        buf_t again = buf_make(BUF_MAX_DEFAULT);
        agg_set_encode(next.set, next.acc, &again);
        ck_assert(slice_eq(buf_slice(&again), buf_slice(&bytes)));
        buf_free(&again);
        ck_ok(agg_set_pages_in(next.set, next.acc, &io));
    }
    buf_free(&bytes);
    lab_free(l);
    return next;
}

static store_t *store_new(void) { return xcalloc(1, sizeof(store_t)); }
static void store_free(store_t *s) {
    for (int c = 0; c < 2 * CALLS; c++)
        for (int k = 0; k < PAGES; k++) buf_free(&s->page[c][k]);
    free(s);
}

/* Values come, mostly, then most of them go again, then others come; each moves through its pages after some. */
START_TEST(values_in_pages_are_what_they_are_as_a_whole) {
    enum { MOST = 4000, EACH = 40 };
    for (int retracting = 0; retracting < 2; retracting++) {
        rng_t rng;
        rng_seed(&rng, 3 + (uint64_t)retracting);
        store_t *store = store_new();
        lab_t whole = lab_new(retracting, false), paged = lab_new(retracting, true), *both[] = {&whole, &paged};
        static int held[MOST];
        int n = 0;
        for (int i = 0; i < 120; i++) {
            int some[EACH];
            bool fewer = retracting && (i > 60 && i < 100 ? rng_below(&rng, 10) != 0 : rng_below(&rng, 4) == 0);
            for (int k = 0; k < EACH; k++) {
                if (fewer && n) {
                    int at = (int)rng_below(&rng, (uint64_t)n);
                    some[k] = held[at];
                    held[at] = held[--n];
                } else {
                    fewer = false;
                    some[k] = (int)rng_below(&rng, 3000);
                    if (n < MOST) held[n++] = some[k];
                }
            }
            lab_feed(both, 2, some, EACH, fewer ? ROW_DELETE : ROW_INSERT);
            if (i % 3 == 0) paged = through_store(&paged, retracting, store);
            if (i % 5 == 0) same(&whole, &paged, false);
        }
        same(&whole, &paged, false);
        ck_assert(agg_set_paged(paged.set, paged.acc));
        /* and as part of another: a window that is made of slices */
        lab_t into[2] = {lab_new(retracting, false), lab_new(retracting, true)};
        for (int k = 0; k < 2; k++) {
            int first[] = {7, 7, 0, 2999};
            lab_t *one = &into[k];
            lab_feed(&one, 1, first, 4, ROW_INSERT);
            ck_ok(agg_set_merge(into[k].set, into[k].acc, both[k]->acc));
        }
        same(&into[0], &into[1], retracting);
        agg_pages_io_t io = {store, store_put, store_drop, store_get};
        ck_ok(agg_set_pages_drop(paged.set, paged.acc, &io));
        for (int c = 0; c < 2 * CALLS; c++)
            for (int k = 0; k < PAGES; k++) ck_assert_uint_eq(store->page[c][k].max, 0);
        for (int k = 0; k < 2; k++) {
            lab_free(both[k]);
            lab_free(&into[k]);
        }
        store_free(store);
    }
}
END_TEST

/* What a change writes, and what is said of it before it is written: not what there is. */
START_TEST(what_a_change_of_values_writes_is_known_before) {
    enum { N = 20000, SMALL = 8, MUCH = 8000 };
    for (int retracting = 0; retracting < 2; retracting++) {
        store_t *store = store_new();
        agg_pages_io_t io = {store, store_put, store_drop, store_get};
        lab_t l = lab_new(retracting, true), *one = &l;
        static int values[N];
        for (int i = 0; i < N; i++) values[i] = 1 + (int)(hash_mix((uint64_t)i + 1) % 3000);
        size_t more;
        lab_feed(&one, 1, values, N / 4, ROW_INSERT);
        ck_assert_uint_eq(agg_set_writes(l.set, l.acc, &more), agg_set_heap(l.set, l.acc)); /* a group that is written whole */
        ck_assert_uint_eq(more, 0);
        for (int round = 0; round < 2; round++) {
            ck_ok(agg_set_pages_out(l.set, l.acc, &io));
            agg_set_writes(l.set, l.acc, &more);
            ck_assert_uint_eq(more, 0);
            store->bytes = 0;
            uint32_t n = round ? MUCH : SMALL;
            lab_feed(&one, 1, values + N / 4, n, ROW_INSERT);
            size_t own = agg_set_writes(l.set, l.acc, &more), first = more;
            ck_assert_uint_lt(own, 2048);
            agg_set_writes(l.set, l.acc, &more);
            ck_assert_uint_eq(more, 0); /* it was asked */
            ck_ok(agg_set_pages_out(l.set, l.acc, &io));
            ck_assert_uint_gt(store->bytes, n);
            ck_assert_uint_ge(first * 2, store->bytes); /* a list writes what it says, sets about that */
            ck_assert_uint_le(first, store->bytes * 3);
            if (!round) ck_assert_uint_lt(store->bytes, 4096 * (CALLS + 2 + 3 * SMALL)); /* a page each, and of each old value that came again */
        }
        lab_free(&l);
        store_free(store);
    }
}
END_TEST

/* A queue: what came first is taken back first, and each change is emitted. The first and the last value do not cost what was there before them. */
static int64_t cpu_of_queue(const char *name, int n) {
    enum { EACH = 50, ROUNDS = 40 };
    arena_t *a = arena_new();
    expr_t *args[1] = {expr_column(a, 2, &type_bigint)};
    agg_call_t call = {.nargs = 1, .filter = -1, .args = {2}, .arg_types = {&type_bigint}, .name = name};
    ck_ok(agg_bind(a, name, false, args, 1, &call.fn, &call.type));
    lab_t l = {a, agg_set_new(&call, 1, true), NULL}, *one = &l;
    agg_set_keep_pages(l.set);
    l.acc = xcalloc(1, agg_set_size(l.set));
    agg_set_init(l.set, l.acc);
    store_t *store = store_new();
    agg_pages_io_t io = {store, store_put, store_drop, store_get};
    int *values = xcalloc((size_t)n, sizeof *values);
    for (int i = 0; i < n; i++) values[i] = i + 1;
    lab_feed(&one, 1, values, (uint32_t)n, ROW_INSERT);
    ck_ok(agg_set_pages_out(l.set, l.acc, &io));
    lab_feed(&one, 1, values, (uint32_t)n / 2 - EACH * ROUNDS, ROW_DELETE); /* holes that are not yet packed */
    int64_t best = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        int at = n / 2 - EACH * (ROUNDS - i);
        lab_feed(&one, 1, values + at, EACH - 1, ROW_DELETE);
        int64_t from = cpu_ns();
        for (int k = 0; k < 20; k++) {
            mem_t *m = mem_new();
            column_t out = {0};
            ck_ok(agg_set_emit(l.set, &l.acc, 1, m, &out));
            ck_assert_int_eq(out.i64[0], name[0] == 'F' ? values[at + EACH - 1] : n);
            mem_unref(m);
        }
        best = MIN(best, cpu_ns() - from);
        lab_feed(&one, 1, values + at + EACH - 1, 1, ROW_DELETE);
    }
    free(values);
    lab_free(&l);
    store_free(store);
    return best;
}

START_TEST(the_first_and_the_last_value_of_a_queue_are_found_at_once) {
    static const char *const names[] = {"FIRST_VALUE", "LAST_VALUE"};
    for (int i = 0; i < 2; i++) ck_assert_int_lt(cpu_of_queue(names[i], 60000), 8 * cpu_of_queue(names[i], 6000) + 20000);
}
END_TEST

/* ---------------------------------------------------------------- in operators: against the same job that never writes an epoch */
static void set_calls(plan_t *p, plan_op_t *a, int naggs) {
    const schema_t *in = p->stages[0]->ops[0]->schema;
    agg_call_t *calls = ARENA_ARRAY(p->arena, agg_call_t, naggs);
    calls[0] = plan_call(p, "ARRAY_AGG", in, 1, true);
    calls[1] = plan_call(p, "COLLECT", in, 1, false);
    for (int i = 2; i < naggs; i++) calls[i] = plan_call(p, "ARRAY_AGG", in, 1, false);
    a->aggs = calls;
    a->naggs = naggs;
}

static plan_op_t *op_of(plan_t *p, op_kind_t kind) {
    plan_op_t *found = NULL;
    for (int s = 0; s < p->nstages; s++)
        for (int i = 0; i < p->stages[s]->nops; i++)
            if (p->stages[s]->ops[i]->kind == kind) found = p->stages[s]->ops[i];
    ck_assert_ptr_nonnull(found);
    return found;
}

static const type_t *list_type(plan_t *p, bool multiset) {
    return multiset ? type_multiset(p->arena, T_I64, false) : type_array(p->arena, T_I64, true);
}

static plan_t *windows_of(window_spec_t w, int parallelism) {
    plan_t *p = window_plan(w, parallelism, true, false);
    plan_op_t *a = op_of(p, OP_WINDOW_AGG);
    a->schema = schema_make(p, 5, "k", T_STR, "n", list_type(p, false), "sum", list_type(p, true), "ws", T_TS, "we", T_TS);
    op_of(p, OP_SINK)->schema = a->schema;
    set_calls(p, a, 2);
    return p;
}

static plan_t *groups_of(int parallelism) {
    plan_t *p = plan_begin(parallelism);
    plan_stage_t *s = plan_stage(p);
    plan_source(p, s, 1)->retracts = true;
    s = plan_exchange(p, s, EXCHANGE_HASH, 1, KEY0);
    plan_op_t *a = plan_op1(p, s, OP_GROUP_AGG, schema_make(p, 4, "k", T_STR, "d", list_type(p, false), "c", list_type(p, true), "a", list_type(p, false)));
    a->nkeys = 1;
    a->keys = KEY0;
    set_calls(p, a, 3);
    a->fingerprint = 2;
    a->retracts = true;
    plan_sink(p, s)->retracts = true;
    return p;
}

/* Two keys, values of which some come again, in the order of one split. */
static row_t two_keys(int split, int64_t i) { return (row_t){i % 3 ? "k0" : "k1", i * 7919 % 5003 * 1000003, i, ROW_INSERT}; }
/* One in four takes back what came 6 before it, or 900. */
static row_t two_keys_and_back(int split, int64_t i) {
    bool back = i % 4 == 3 && i > 1000;
    row_t r = two_keys(split, back ? i - (i % 8 == 3 ? 6 : 900) : i);
    if (back) r.kind = ROW_DELETE;
    return r;
}

static char *without_epochs(plan_t *p, row_fn rows, int64_t n) {
    rig_t *r = rig_new(p, rows, 1, n);
    rig_build(r);
    rig_finish(r, 0);
    char *text = strdup(rig_output(r));
    rig_free(r);
    return text;
}

static char *last_of_each(const char *text) {
    char *copy = strdup(text), *save = NULL, *last[2] = {"", ""};
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        if (l[1] != 'U' || l[0] == '+') last[l[4] - '0'] = l + 3;
    char *both = xprintf("%s\n%s\n", last[0], last[1]);
    free(copy);
    return both;
}

static const window_spec_t windows[] = {{.kind = WINDOW_TUMBLE, .size_ms = 2500}, {.kind = WINDOW_HOP, .size_ms = 3000, .slide_ms = 1500}};

START_TEST(windows_of_lists_survive_kills_and_eviction) {
    enum { N = 5000 };
    static const size_t memory[] = {0, 1, 100000};
    for (size_t w = 0; w < ARRAY_LEN(windows); w++) {
        char *want = without_epochs(windows_of(windows[w], 1), two_keys, N);
        for (size_t m = 0; m < ARRAY_LEN(memory); m++) {
            rig_t *r = rig_new(windows_of(windows[w], 2), two_keys, 1, N);
            r->poll_rows = 50;
            r->memory = memory[m];
            rng_seed(&r->rng, w * 3 + m);
            rig_lives(r, m ? 0 : 4, 60, 7);
            rig_build(r);
            rig_finish(r, 4);
            assert_same_lines(rig_output(r), want);
            ck_assert_uint_eq(rig_entries(r), 0);
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

/* A window of 30 long lists, and beside it one of 3,000 short ones that is later; or a session of each. */
static row_t long_beside_short(int split, int64_t i) {
    static char name[2][3000][8];
    int key = (int)(split ? i % 3000 : i % 30);
    snprintf(name[split][key], 8, "%s%d", split ? "s" : "l", key);
    return (row_t){name[split][key], (i + 1) * 1000000007 * 100000, split * 1000 + i / 30, ROW_INSERT};
}

START_TEST(long_lists_are_emitted_as_many_at_once_as_find_room_not_as_the_average_would) {
    enum { N = 30000, MEMORY = 4 << 20 };
    static const window_spec_t of[] = {{.kind = WINDOW_TUMBLE, .size_ms = 1000}, {.kind = WINDOW_HOP, .size_ms = 2000, .slide_ms = 1000},
                                       {.kind = WINDOW_SESSION, .gap_ms = 200}};
    for (size_t w = 0; w < ARRAY_LEN(of); w++) {
        char *want = NULL;
        for (int bounded = 0; bounded < 2; bounded++) {
            rig_t *r = rig_new(windows_of(of[w], 1), long_beside_short, 2, N);
            r->memory = bounded ? MEMORY : 0;
            r->poll_rows = 500;
            rig_build(r);
            rig_finish(r, 10);
            if (!bounded) {
                want = strdup(rig_output(r));
                ck_assert_uint_gt(r->longest, MEMORY / 4);
            } else {
                assert_same_lines(rig_output(r), want);
                ck_assert_uint_lt(r->longest, MEMORY / 16); /* text is shorter than what holds it */
                ck_assert_uint_eq(rig_entries(r), 0);
            }
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

/* What a restored slice has is read for the window that is merged of it, and not kept for the next. */
static row_t over_a_gap(int split, int64_t i) {
    row_t r = two_keys(split, i);
    r.ts_ms = i < 2900 ? i : i + 300;
    return r;
}

START_TEST(restored_slices_are_there_only_while_they_are_merged) {
    enum { RESTORED = 2900, MORE = 20 };
    rig_t *r = rig_new(windows_of(windows[1], 1), over_a_gap, 1, RESTORED);
    r->unbounded = true;
    r->memory = 1 << 30;
    rig_build(r);
    rig_settle(r);
    rig_epoch(r);
    rig_kill(r);
    rig_build(r);
    size_t lines = strlen(rig_output(r)), restored = kstate_env_used(r->env);
    r->per_split = RESTORED + MORE; /* the window of both slices is due, of which one has another to come */
    rig_settle(r);
    size_t used = kstate_env_used(r->env);
    rig_epoch(r);
    ck_assert_uint_gt(strlen(rig_output(r)), lines + RESTORED);
    ck_assert_uint_lt(used, restored + MORE * 1000);
    rig_free(r);
}
END_TEST

START_TEST(lists_that_are_taken_back_survive_kills_rescale_and_eviction) {
    enum { N = 5000 };
    static const int parallelism[] = {1, 4, 2, 3};
    char *all = without_epochs(groups_of(1), two_keys_and_back, N), *want = last_of_each(all);
    for (size_t memory = 0; memory < 2; memory++) {
        rig_t *r = rig_new(groups_of(1), two_keys_and_back, 1, N);
        r->poll_rows = 50;
        r->memory = memory;
        for (size_t i = 0; i < ARRAY_LEN(parallelism); i++) {
            rig_replan(r, groups_of(parallelism[i]));
            rig_build(r);
            if (i + 1 == ARRAY_LEN(parallelism)) break;
            rig_run(r, 60, 11);
            rig_kill(r);
        }
        rig_finish(r, 11);
        char *got = last_of_each(rig_output(r));
        same_text("a list", got, want);
        free(got);
        rig_free(r);
    }
    free(all);
    free(want);
}
END_TEST

/* Sessions of 1,500 rows; or, of 2,500, two that the last 500 rows make one. */
static row_t in_sessions(int split, int64_t i) {
    row_t r = two_keys(split, i);
    r.ts_ms = i + i / 1500 * 3000;
    return r;
}
static row_t merging(int split, int64_t i) {
    row_t r = two_keys(split, i);
    int64_t at = i % 2500;
    r.ts_ms = i / 2500 * 10000 + (at < 1000 ? at : at < 2000 ? at + 1100 : at - 500);
    return r;
}

static plan_t *sessions_of(int parallelism, bool batch) {
    plan_t *p = windows_of((window_spec_t){.kind = WINDOW_SESSION, .gap_ms = 1000}, parallelism);
    p->batch = batch; /* nothing is late */
    return p;
}

START_TEST(sessions_of_lists_merge_and_survive_kills_rescale_and_eviction) {
    enum { N = 7500 };
    static const size_t memory[] = {0, 1, 100000};
    static const int parallelism[] = {1, 3, 2};
    for (int batch = 0; batch < 2; batch++) {
        row_fn rows = batch ? merging : in_sessions;
        char *want = without_epochs(sessions_of(1, batch), rows, N);
        for (size_t m = 0; m < ARRAY_LEN(memory); m++) {
            rig_t *r = rig_new(sessions_of(1, batch), rows, 1, N);
            r->poll_rows = 50;
            r->memory = memory[m];
            for (size_t i = 0; i < ARRAY_LEN(parallelism); i++) {
                rig_replan(r, sessions_of(parallelism[i], batch));
                if (i + 1 < ARRAY_LEN(parallelism)) rig_lives(r, 1, 70, 7);
            }
            rig_build(r);
            rig_finish(r, 4);
            assert_same_lines(rig_output(r), want);
            ck_assert_uint_eq(rig_entries(r), 0);
            rig_free(r);
        }
        free(want);
    }
}
END_TEST

/* Windows and sessions that do not end: an epoch over twenty times the values costs what it cost before. */
static row_t one_list(int split, int64_t i) { return (row_t){"k0", i * 1000003, i, ROW_INSERT}; }
static size_t bytes_of_a_few_more(bool session, int64_t n) {
    window_spec_t w = {.kind = session ? WINDOW_SESSION : WINDOW_TUMBLE, .size_ms = 1000000000, .gap_ms = 1000};
    rig_t *r = rig_new(windows_of(w, 1), one_list, 1, n);
    r->unbounded = true;
    r->poll_rows = 1000;
    rig_build(r);
    for (int more = 0; more < 2; more++) {
        rig_settle(r);
        rig_epoch(r);
        r->per_split += 100;
    }
    size_t bytes = 0;
    for (int i = 0; i < r->nseals; i++)
        for (int k = 0; r->seals[i]->epoch == 2 && k < r->seals[i]->nstates; k++) bytes += r->seals[i]->states[k].bytes.len;
    rig_free(r);
    return bytes;
}

START_TEST(an_epoch_costs_what_a_list_grew_not_what_it_holds) {
    for (int session = 0; session < 2; session++) {
        size_t of_small = bytes_of_a_few_more(session, 2000), of_large = bytes_of_a_few_more(session, 40000);
        ck_assert_uint_gt(of_small, 100 * 8);
        ck_assert_uint_lt(of_large, of_small * 3 / 2 + 2048);
        ck_assert_uint_lt(of_large, 100 * 3 * 12 + 3 * 2048 + 1000); /* bytes of values, and up to a page of a set, a multiset and a list */
    }
}
END_TEST

TESTS("page_values", the_first_and_the_last_value_of_a_queue_are_found_at_once,
      values_in_pages_are_what_they_are_as_a_whole, what_a_change_of_values_writes_is_known_before,
      windows_of_lists_survive_kills_and_eviction,
      long_lists_are_emitted_as_many_at_once_as_find_room_not_as_the_average_would,
      restored_slices_are_there_only_while_they_are_merged, lists_that_are_taken_back_survive_kills_rescale_and_eviction,
      sessions_of_lists_merge_and_survive_kills_rescale_and_eviction, an_epoch_costs_what_a_list_grew_not_what_it_holds)
