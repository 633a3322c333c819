#include "engine/agg.h"
#include "engine/decimal.h"
#include "engine/func.h"
#include "tests/op/rig.h"

/* One group of accumulators for one call over one column of rows, updated, taken back, merged, encoded. */
static arena_t *mem_arena; /* types of the current test */

typedef struct lab {
    arena_t *a;
    agg_call_t call;
    agg_set_t *set;
    void *acc;
} lab_t;

static lab_t lab_new(const char *name, const type_t *t, bool distinct, bool retracting) {
    lab_t l = {.a = arena_new()};
    expr_t *args[2] = {expr_column(l.a, 0, t), NULL};
    l.call = (agg_call_t){.distinct = distinct, .nargs = t != NULL, .filter = -1, .arg_types = {t}, .name = name};
    ck_ok(agg_bind(l.a, name, distinct, args, l.call.nargs, &l.call.fn, &l.call.type));
    agg_call_t *copy = ARENA_NEW(l.a, agg_call_t);
    *copy = l.call;
    l.set = agg_set_new(copy, 1, retracting);
    l.acc = xcalloc(1, agg_set_size(l.set) + 16);
    agg_set_init(l.set, l.acc);
    return l;
}

static void lab_free(lab_t *l) {
    agg_set_clear(l->set, l->acc);
    free(l->acc);
    agg_set_free(l->set);
    arena_free(l->a);
}

/* Values as text, "NULL" is NULL; one row each. */
static batch_t *column_of(const type_t *t, int n, const char *const *values, row_kind_t kind) {
    batch_t *b = batch_new(1);
    colbuilder_t *c = colbuilder_new(t, b->mem);
    for (int i = 0; i < n; i++) {
        const char *v = values[i];
        i128 dec = 0;
        if (strcmp(v, "NULL") == 0) colbuilder_null(c);
        else if (type_is_strlike(t)) colbuilder_str(c, v, strlen(v));
        else if (t->kind == TYPE_DECIMAL) {
            ck_assert(decimal_parse(v, strlen(v), t->precision, t->scale, &dec));
            colbuilder_dec(c, dec);
        } else if (type_is_approx(t)) colbuilder_f64(c, atof(v));
        else colbuilder_i64(c, atoll(v));
    }
    colbuilder_finish(c, &b->cols[0]);
    colbuilder_free(c);
    b->n = (uint32_t)n;
    if (kind != ROW_INSERT) {
        b->kinds = mem_alloc(b->mem, (size_t)n + 1);
        memset(b->kinds, kind, (size_t)n);
    }
    return b;
}

static void lab_feed(lab_t *l, void *acc, int n, const char *const *values, row_kind_t kind) {
    batch_t *b = column_of(l->call.nargs ? l->call.arg_types[0] : &type_int, n, values, kind);
    void *accs[64];
    for (int i = 0; i < n; i++) accs[i] = acc;
    ck_ok(agg_set_update(l->set, b, NULL, b->n, accs));
    batch_free(b);
}

static char *lab_emit(lab_t *l, void *acc) {
    mem_t *m = mem_new();
    column_t c = {0};
    ck_ok(agg_set_emit(l->set, &acc, 1, m, &c));
    buf_t out = buf_make(1 << 16);
    value_print(&out, &c, 0);
    mem_unref(m);
    return buf_take_cstr(&out);
}

static void expect(lab_t *l, void *acc, const char *want, const char *when) {
    char *got = lab_emit(l, acc);
    ck_assert_msg(strcmp(got, want) == 0, "%s of %s: got %s, want %s", l->call.name, when, got, want);
    free(got);
}

typedef struct story {
    const char *name;
    const type_t *type;
    bool distinct;
    int n;
    const char *values[8];
    const char *result, *type_text;
} story_t;

static type_t decimal_10_2 = {.kind = TYPE_DECIMAL, .nullable = true, .precision = 10, .scale = 2};

static const story_t stories[] = {
    {"COUNT", &type_int, false, 4, {"1", "NULL", "3", "3"}, "3", "BIGINT NOT NULL"},
    {"COUNT", &type_int, true, 4, {"1", "NULL", "3", "3"}, "2", "BIGINT NOT NULL"},
    {"COUNT", NULL, false, 3, {"1", "NULL", "3"}, "3", "BIGINT NOT NULL"},
    {"SUM", &type_int, false, 4, {"1", "NULL", "3", "3"}, "7", "INT"},
    {"SUM", &type_int, true, 4, {"1", "NULL", "3", "3"}, "4", "INT"},
    {"SUM", &type_tinyint, false, 2, {"100", "100"}, "-56", "TINYINT"}, /* wraps, as Flink's */
    {"SUM", &type_bigint, false, 1, {"NULL"}, "NULL", "BIGINT"},
    {"SUM", &type_double, false, 3, {"0.5", "0.25", "1"}, "1.75", "DOUBLE"},
    {"SUM", &decimal_10_2, false, 3, {"0.10", "0.20", "99999999.99"}, "100000000.29", "DECIMAL(38, 2)"},
    {"AVG", &type_int, false, 3, {"1", "2", "4"}, "2", "INT"},
    {"AVG", &type_int, false, 2, {"-1", "-2"}, "-1", "INT"},
    {"AVG", &type_double, false, 3, {"1", "2", "NULL"}, "1.5", "DOUBLE"},
    {"AVG", &decimal_10_2, false, 3, {"1.00", "2.00", "2.00"}, "1.666667", "DECIMAL(38, 6)"},
    {"MIN", &type_bigint, false, 3, {"5", "-7", "3"}, "-7", "BIGINT"},
    {"MAX", &type_string, false, 4, {"pear", "apple", "plum", "NULL"}, "plum", "STRING"},
    {"MIN", &type_string, false, 3, {"b", "", "a"}, "", "STRING"},
    {"MAX", &type_double, false, 3, {"-1.5", "2.5", "1"}, "2.5", "DOUBLE"},
    {"MIN", &decimal_10_2, false, 3, {"3.10", "-0.20", "5.00"}, "-0.20", "DECIMAL(10, 2)"},
    {"MAX", &type_date, false, 2, {"0", "1"}, "1970-01-02", "DATE"},
    {"VAR_POP", &type_double, false, 4, {"1", "2", "3", "4"}, "1.25", "DOUBLE"},
    {"VAR_SAMP", &type_int, false, 2, {"10", "20"}, "50", "INT"},
    {"VAR_POP", &type_int, false, 3, {"2147483647", "-5", "NULL"}, "2147483647", "INT"}, /* too great: as Java casts */
    {"STDDEV_POP", &type_double, false, 2, {"1", "3"}, "1.0", "DOUBLE"},
    {"STDDEV_SAMP", &type_double, false, 1, {"1"}, "NULL", "DOUBLE"},
    {"FIRST_VALUE", &type_string, false, 3, {"NULL", "x", "y"}, "x", "STRING"},
    {"LAST_VALUE", &type_int, false, 3, {"4", "5", "NULL"}, "5", "INT"},
    {"LISTAGG", &type_string, false, 4, {"b", "NULL", "a", "b"}, "b,a,b", "STRING"},
    {"LISTAGG", &type_string, true, 4, {"b", "NULL", "a", "b"}, "b,a", "STRING"},
    {"ARRAY_AGG", &type_int, false, 3, {"3", "NULL", "1"}, "[3, NULL, 1]", "ARRAY<INT>"},
    {"ARRAY_AGG", &type_int, true, 6, {"3", "NULL", "3", "NULL", "NULL", "1"}, "[3, NULL, 1]", "ARRAY<INT>"},
    {"ARRAY_AGG", &type_string, true, 2, {"NULL", "NULL"}, "[NULL]", "ARRAY<STRING>"},
    {"JSON_ARRAYAGG", &type_string, false, 4, {"\"b\"", "NULL", "1", "{}"}, "[\"b\",1,{}]", "VARCHAR(2000) NOT NULL"},
    {"JSON_ARRAYAGG_NULL_ON_NULL", &type_string, false, 2, {"1", "NULL"}, "[1,null]", "VARCHAR(2000) NOT NULL"},
    {"JSON_ARRAYAGG_NULL_ON_NULL", &type_string, true, 5, {"1", "NULL", "1", "NULL", "2"}, "[1,null,2]", "VARCHAR(2000) NOT NULL"},
    {"JSON_ARRAYAGG_ABSENT_ON_NULL", &type_string, true, 4, {"1", "NULL", "1", "NULL"}, "[1]", "VARCHAR(2000) NOT NULL"},
    {"JSON_ARRAYAGG", &type_string, false, 1, {"NULL"}, "[]", "VARCHAR(2000) NOT NULL"},
    {"COLLECT", &type_string, false, 3, {"a", "b", "a"}, "{a=2, b=1}", "MULTISET<STRING> NOT NULL"},
};

START_TEST(results_and_their_types_are_flinks) {
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const story_t *s = &stories[i];
        for (int retracting = 0; retracting < 2; retracting++) {
            lab_t l = lab_new(s->name, s->type, s->distinct, retracting);
            ck_assert_str_eq(type_text(l.a, l.call.type), s->type_text);
            lab_feed(&l, l.acc, s->n, s->values, ROW_INSERT);
            expect(&l, l.acc, s->result, "all rows");
            lab_free(&l);
        }
    }
}
END_TEST

/* What was added and taken back leaves no trace: other rows in between do not matter. */
START_TEST(rows_taken_back_leave_no_trace) {
    static const char *const noise_int[] = {"-90", "77", "3", "77"}, *const noise_text[] = {"", "zz", "a", "zz"};
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const story_t *s = &stories[i];
        lab_t l = lab_new(s->name, s->type, s->distinct, true);
        ck_assert(agg_can_retract(&l.call));
        const char *const *noise = s->type && type_is_strlike(s->type) ? noise_text : noise_int;
        bool order = strstr(s->name, "FIRST") || strstr(s->name, "LIST") || strstr(s->name, "ARRAY") || strcmp(s->name, "COLLECT") == 0;
        bool twins = s->distinct; /* a value of both: the first copy decides the order of a list */
        if (!order) lab_feed(&l, l.acc, 4, noise, ROW_INSERT);
        lab_feed(&l, l.acc, s->n, s->values, ROW_INSERT);
        if (order && !twins) lab_feed(&l, l.acc, 2, noise, ROW_INSERT);
        if (order && !twins) lab_feed(&l, l.acc, 2, noise, ROW_DELETE);
        if (!order) lab_feed(&l, l.acc, 4, noise, ROW_UPDATE_BEFORE);
        if (strncmp(s->name, "VAR", 3) && strncmp(s->name, "STD", 3)) expect(&l, l.acc, s->result, "rows that stayed");
        lab_free(&l);
    }
}
END_TEST

/* The state of a checkpoint gives the same result and goes on like the original. */
START_TEST(encoded_accumulators_go_on) {
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const story_t *s = &stories[i];
        for (int retracting = 0; retracting < 2; retracting++) {
            lab_t l = lab_new(s->name, s->type, s->distinct, retracting), other = lab_new(s->name, s->type, s->distinct, retracting);
            int half = s->n / 2;
            lab_feed(&l, l.acc, half, s->values, ROW_INSERT);
            buf_t bytes = buf_make(1 << 16);
            agg_set_encode(l.set, l.acc, &bytes);
            uint32_t most = agg_set_encode_most(l.set);
            if (most) { /* without a buffer: the same, and within what was said */
                uint8_t *at = xmalloc(most);
                ck_assert_uint_eq((size_t)(agg_set_encode_at(l.set, l.acc, at) - at), bytes.len);
                ck_assert(bytes.len <= most && memcmp(at, bytes.data, bytes.len) == 0);
                free(at);
            }
            reader_t r = reader_of(buf_slice(&bytes));
            ck_assert(agg_set_decode(other.set, &r, other.acc));
            ck_assert_uint_eq(reader_left(&r), 0);
            ck_assert(agg_set_emit_equal(l.set, l.acc, other.acc));
            lab_feed(&other, other.acc, s->n - half, s->values + half, ROW_INSERT);
            expect(&other, other.acc, s->result, "restored state");
            /* every shorter form is malformed, and none reads beyond */
            for (size_t cut = 0; cut < bytes.len; cut++) {
                lab_t broken = lab_new(s->name, s->type, s->distinct, retracting);
                reader_t rc = reader_of(slice_of(bytes.data, cut));
                ck_assert(!agg_set_decode(broken.set, &rc, broken.acc));
                lab_free(&broken);
            }
            buf_free(&bytes);
            lab_free(&l);
            lab_free(&other);
        }
    }
}
END_TEST

START_TEST(the_encoded_form_of_numbers_is_frozen) {
    static const char *const values[] = {"3", "-5"};
    static const struct { const char *name; const type_t *type; int n; uint8_t len, want[1 + VARINT_MAX + 1 + sizeof(i128)]; } of[] = {
        {"COUNT", NULL, 2, 2, {1, 4}},
        {"SUM", &type_bigint, 2, 3, {1, 4, 3}},
        {"AVG", &type_int, 1, 3, {1, 2, 6}},
        {"SUM", &type_double, 1, 10, {1, 2, 0, 0, 0, 0, 0, 0, 8, 0x40}},
        {"SUM", &type_float, 2, 10, {1, 4, 0, 0, 0, 0, 0, 0, 0, 0xc0}},
        {"SUM", &decimal_10_2, 2, 19, {1, 4, 0, 0x38, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {"VAR_POP", &type_double, 1, 18, {1, 2, 0, 0, 0, 0, 0, 0, 8, 0x40}},
        {"MIN", &type_bigint, 0, 2, {1, 0}},
        {"MAX", &type_int, 2, 10, {1, 1, 3}},
        {"MIN", &type_double, 1, 10, {1, 1, 0, 0, 0, 0, 0, 0, 8, 0x40}},
    };
    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        lab_t l = lab_new(of[i].name, of[i].type, false, false);
        lab_feed(&l, l.acc, of[i].n, values, ROW_INSERT);
        buf_t bytes = buf_make(4096);
        agg_set_encode(l.set, l.acc, &bytes);
        ck_assert_uint_eq(bytes.len, of[i].len);
        ck_assert_msg(memcmp(bytes.data, of[i].want, bytes.len) == 0, "%s", of[i].name);
        buf_free(&bytes);
        lab_free(&l);
    }
}
END_TEST

START_TEST(merged_halves_are_the_whole) {
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const story_t *s = &stories[i];
        lab_t l = lab_new(s->name, s->type, s->distinct, false), other = lab_new(s->name, s->type, s->distinct, false);
        int half = s->n / 2;
        lab_feed(&l, l.acc, half, s->values, ROW_INSERT);
        lab_feed(&other, other.acc, s->n - half, s->values + half, ROW_INSERT);
        ck_ok(agg_set_merge(l.set, l.acc, other.acc));
        expect(&l, l.acc, s->result, "two halves");
        lab_free(&l);
        lab_free(&other);
    }
}
END_TEST

/* NULL is a value of DISTINCT where a list has it: it comes from either half, once, and is there until its last copy is taken back. */
START_TEST(distinct_lists_keep_the_null_of_either_half) {
    static const struct { const char *into[2], *from[2], *result; } cases[] = {
        {{"7", "8"}, {"NULL", "8"}, "[7, 8, NULL]"}, {{"7", "NULL"}, {"NULL", "NULL"}, "[7, NULL]"}, {{"7", "NULL"}, {"8", "7"}, "[7, NULL, 8]"}};
    static const char *const null[] = {"NULL"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int retracting = 0; retracting < 2; retracting++) {
            lab_t l = lab_new("ARRAY_AGG", &type_int, true, retracting), other = lab_new("ARRAY_AGG", &type_int, true, retracting);
            lab_feed(&l, l.acc, 2, cases[i].into, ROW_INSERT);
            lab_feed(&other, other.acc, 2, cases[i].from, ROW_INSERT);
            ck_ok(agg_set_merge(l.set, l.acc, other.acc));
            expect(&l, l.acc, cases[i].result, "two halves");
            if (retracting && i == 1) {
                for (int copies = 0; copies < 2; copies++) lab_feed(&l, l.acc, 1, null, ROW_DELETE);
                expect(&l, l.acc, "[7, NULL]", "a copy that stayed");
                lab_feed(&l, l.acc, 1, null, ROW_DELETE);
                expect(&l, l.acc, "[7]", "no copy");
                lab_feed(&l, l.acc, 1, null, ROW_DELETE);
                expect(&l, l.acc, "[7]", "one that was not there");
            }
            lab_free(&l);
            lab_free(&other);
        }
    }
}
END_TEST

/* Through a combiner: the partial columns of two halves, merged by the receiver. */
START_TEST(partials_of_two_halves_are_the_whole) {
    int combined = 0;
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const story_t *s = &stories[i];
        lab_t sender = lab_new(s->name, s->type, s->distinct, false), receiver = lab_new(s->name, s->type, s->distinct, false);
        if (!agg_can_combine(&sender.call)) {
            lab_free(&sender);
            lab_free(&receiver);
            continue;
        }
        combined++;
        const type_t *types[4];
        int n = agg_partial_types(sender.a, &sender.call, types);
        int half = s->n / 2;
        for (int part = 0; part < 2; part++) {
            void *acc = xcalloc(1, agg_set_size(sender.set) + 16);
            agg_set_init(sender.set, acc);
            lab_feed(&sender, acc, part ? s->n - half : half, s->values + (part ? half : 0), ROW_INSERT);
            batch_t *b = batch_new(n);
            b->n = 1;
            ck_ok(agg_set_partial(sender.set, &acc, 1, b->mem, b->cols));
            for (int c = 0; c < n; c++) ck_assert(type_equal(b->cols[c].type, types[c]));
            ck_ok(agg_set_merge_partial(receiver.set, b, 0, NULL, 1, &receiver.acc));
            agg_set_clear(sender.set, acc);
            free(acc);
            batch_free(b);
        }
        expect(&receiver, receiver.acc, s->result, "two partials");
        lab_free(&sender);
        lab_free(&receiver);
    }
    ck_assert_int_gt(combined, 10);
}
END_TEST

/* A combiner that steps aside sends each row as a partial result: the columns are those of an accumulator that saw this row alone. */
START_TEST(a_row_that_passes_the_combiner_is_its_own_partial_result) {
    int direct = 0;
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const story_t *s = &stories[i];
        lab_t l = lab_new(s->name, s->type, s->distinct, false);
        batch_t *in = column_of(s->type ? s->type : &type_int, s->n, s->values, ROW_INSERT), *got = batch_new(4), *want = batch_new(4);
        const type_t *types[4];
        int n = agg_can_combine(&l.call) ? agg_partial_types(l.a, &l.call, types) : 0;
        mem_link(got->mem, in->mem);
        if (n && agg_set_partial_rows(l.set, in, got->mem, got->cols)) {
            direct++;
            void *accs[8];
            for (int k = 0; k < s->n; k++) accs[k] = xcalloc(1, agg_set_size(l.set) + 16);
            ck_ok(agg_set_update(l.set, in, NULL, in->n, accs));
            ck_ok(agg_set_partial(l.set, accs, in->n, want->mem, want->cols));
            buf_t a = buf_make(4096), b = buf_make(4096);
            for (int c = 0; c < n; c++) {
                ck_assert(type_equal(got->cols[c].type, types[c]));
                for (uint32_t k = 0; k < in->n; k++) {
                    value_encode(&a, &got->cols[c], k);
                    value_encode(&b, &want->cols[c], k);
                }
            }
            ck_assert_msg(slice_eq(buf_slice(&a), buf_slice(&b)), "%s", s->name);
            buf_free(&a);
            buf_free(&b);
            for (int k = 0; k < s->n; k++) {
                agg_set_clear(l.set, accs[k]);
                free(accs[k]);
            }
        }
        batch_free(in);
        batch_free(got);
        batch_free(want);
        lab_free(&l);
    }
    ck_assert_int_ge(direct, 15);
}
END_TEST

/* MAX with retraction against a plain search, over random additions and removals. */
START_TEST(retracted_extremes_equal_a_plain_search) {
    rng_t rng;
    rng_seed(&rng, 5);
    lab_t l = lab_new("MAX", &type_bigint, false, true);
    int copies[50] = {0};
    for (int i = 0; i < 3000; i++) {
        int v = (int)rng_below(&rng, 50);
        bool remove = copies[v] > 0 && rng_below(&rng, 2);
        char text[8];
        snprintf(text, sizeof text, "%d", v);
        const char *values[1] = {text};
        lab_feed(&l, l.acc, 1, values, remove ? ROW_DELETE : ROW_INSERT);
        copies[v] += remove ? -1 : 1;
        int max = 49;
        while (max >= 0 && !copies[max]) max--;
        char want[8];
        snprintf(want, sizeof want, "%d", max);
        expect(&l, l.acc, max < 0 ? "NULL" : want, "random changes");
    }
    lab_free(&l);
}
END_TEST

START_TEST(wrong_calls_are_refused) {
    arena_t *a = arena_new();
    const agg_fn_t *fn;
    const type_t *t;
    expr_t *args[2] = {expr_column(a, 0, &type_string), NULL};
    ck_fails(agg_bind(a, "MEDIAN", false, args, 1, &fn, &t), ERR_NOT_FOUND, "MEDIAN is unknown");
    ck_fails(agg_bind(a, "sum", false, args, 1, &fn, &t), ERR_TYPE, "SUM takes a number, not STRING");
    ck_fails(agg_bind(a, "MAX", false, args, 0, &fn, &t), ERR_TYPE, "MAX takes 1 to 1 arguments, not 0");
    ck_fails(agg_bind(a, "COUNT", true, args, 0, &fn, &t), ERR_INVALID, "COUNT(DISTINCT *)");
    arena_free(a);
}
END_TEST

/* (value, percentages, frequency) as PERCENTILE is fed; frequency 0 and NULL values do not count. */
static batch_t *weighted_rows(int n, const double *values, const int64_t *times) {
    batch_t *b = batch_new(3);
    colbuilder_t *v = colbuilder_new(&type_double, b->mem), *f = colbuilder_new(&type_bigint, b->mem);
    if (!mem_arena) mem_arena = arena_new();
    colbuilder_t *p = colbuilder_new(type_array(mem_arena, &type_double, true), b->mem);
    for (int i = 0; i < n; i++) {
        if (values[i] < 0) colbuilder_null(v);
        else colbuilder_f64(v, values[i]);
        colbuilder_i64(f, times[i]);
        colbuilder_begin(p);
        colbuilder_f64(colbuilder_child(p, 0), 0.25);
        colbuilder_f64(colbuilder_child(p, 0), 0.5);
        colbuilder_f64(colbuilder_child(p, 0), 1);
        colbuilder_end(p);
    }
    colbuilder_finish(v, &b->cols[0]);
    colbuilder_finish(p, &b->cols[1]);
    colbuilder_finish(f, &b->cols[2]);
    colbuilder_free(v);
    colbuilder_free(p);
    colbuilder_free(f);
    b->n = (uint32_t)n;
    return b;
}

START_TEST(one_percentile_has_flinks_last_digit) {
    arena_t *a = arena_new();
    expr_t *args[2] = {expr_column(a, 0, &type_double), expr_literal(a, type_nullable(a, &type_double, false), (value_t){.f = 0.33})};
    lab_t l = {.a = a};
    l.call = (agg_call_t){.nargs = 2, .filter = -1, .args = {0, 1}, .arg_types = {&type_double, &type_double}, .name = "PERCENTILE"};
    ck_ok(agg_bind(a, "PERCENTILE", false, args, 2, &l.call.fn, &l.call.type));
    l.set = agg_set_new(&l.call, 1, false);
    l.acc = xcalloc(1, agg_set_size(l.set) + 16);
    batch_t *b = weighted_rows(2, (double[]){1.25, 99999999.99}, (int64_t[]){1, 1});
    column_init(&b->cols[1], &type_double, b->mem, 2);
    b->cols[1].f64[0] = b->cols[1].f64[1] = 0.33;
    ck_ok(agg_set_update(l.set, b, NULL, 2, (void *[]){l.acc, l.acc}));
    batch_free(b);
    expect(&l, l.acc, "3.3000000834200002E7", "two values"); /* counted from 0 it would be 3.30000008342E7 */
    lab_free(&l);
    arena_freep(&mem_arena);
}
END_TEST

START_TEST(percentiles_interpolate_weigh_and_survive_a_restore_without_a_row) {
    mem_arena = arena_new();
    const type_t *list = type_array(mem_arena, &type_double, true);
    expr_t *ps[3], *half = NULL;
    for (int k = 0; k < 3; k++) {
        value_t v = {.f = k == 0 ? 0.25 : k == 1 ? 0.5 : 1};
        ps[k] = expr_literal(mem_arena, type_nullable(mem_arena, &type_double, false), v);
    }
    ck_ok(func_bind(mem_arena, "ARRAY", ps, 3, &half));
    expr_t *args[3] = {expr_column(mem_arena, 0, &type_double), half, expr_column(mem_arena, 2, &type_bigint)};
    lab_t l = {.a = arena_new()};
    l.call = (agg_call_t){.nargs = 3, .filter = -1, .args = {0, 1, 2}, .arg_types = {&type_double, list, &type_bigint}, .name = "PERCENTILE"};
    ck_ok(agg_bind(l.a, "PERCENTILE", false, args, 3, &l.call.fn, &l.call.type));
    ck_assert_str_eq(type_text(l.a, l.call.type), "ARRAY<DOUBLE>");
    l.set = agg_set_new(&l.call, 1, false);
    l.acc = xcalloc(1, agg_set_size(l.set) + 16);
    expect(&l, l.acc, "NULL", "nothing");
    batch_t *b = weighted_rows(5, (double[]){9.5, 1, -1, 4, 100}, (int64_t[]){2, 1, 7, 3, 0});
    ck_ok(agg_set_update(l.set, b, NULL, b->n, (void *[]){l.acc, l.acc, l.acc, l.acc, l.acc}));
    batch_free(b);
    expect(&l, l.acc, "[4.0, 4.0, 9.5]", "1, 4, 4, 4, 9.5, 9.5");
    ck_assert(agg_set_emit_equal(l.set, l.acc, l.acc));
    b = weighted_rows(1, (double[]){9.5}, (int64_t[]){1});
    b->kinds = mem_alloc(b->mem, 1);
    b->kinds[0] = ROW_DELETE;
    agg_set_t *plain = l.set;
    l.set = agg_set_new(&l.call, 1, true);
    void *other = xcalloc(1, agg_set_size(l.set) + 16);
    buf_t bytes = buf_make(1 << 16);
    agg_set_encode(plain, l.acc, &bytes);
    reader_t r = reader_of(buf_slice(&bytes));
    ck_assert(agg_set_decode(l.set, &r, other));
    expect(&l, other, "[4.0, 4.0, 9.5]", "restored, no row seen"); /* the percentages came with it */
    ck_ok(agg_set_update(l.set, b, NULL, 1, &other));
    batch_free(b);
    b = weighted_rows(1, (double[]){2}, (int64_t[]){1});
    ck_ok(agg_set_update(l.set, b, NULL, 1, &other));
    batch_free(b);
    expect(&l, other, "[2.5, 4.0, 9.5]", "1, 2, 4, 4, 4, 9.5"); /* between 2 and 4 */
    agg_set_clear(l.set, other);
    free(other);
    agg_set_free(l.set);
    l.set = plain;
    buf_free(&bytes);
    const agg_fn_t *fn;
    const type_t *t;
    expr_t *bad[2] = {args[0], expr_literal(l.a, &type_double, (value_t){.f = 1.5})};
    ck_fails(agg_bind(l.a, "PERCENTILE", false, bad, 2, &fn, &t), ERR_INVALID, "from 0.0 to 1.0");
    bad[1] = args[0];
    ck_fails(agg_bind(l.a, "PERCENTILE", false, bad, 2, &fn, &t), ERR_INVALID, "constant");
    lab_free(&l);
    arena_freep(&mem_arena);
}
END_TEST

/* rows (value, key) */
static err_t *feed_pairs(lab_t *l, void *acc, int n, const char *const *keys, const char *const *values, row_kind_t kind) {
    batch_t *b = column_of(&type_string, n, values, kind), *k = column_of(&type_string, n, keys, ROW_INSERT), *two = batch_new(2);
    two->cols[0] = b->cols[0];
    two->cols[1] = k->cols[0];
    two->n = b->n;
    two->kinds = b->kinds;
    void *accs[8];
    for (int i = 0; i < n; i++) accs[i] = acc;
    err_t *e = agg_set_update(l->set, two, NULL, two->n, accs);
    batch_free(two);
    batch_free(b);
    batch_free(k);
    return e;
}

START_TEST(a_json_object_has_each_key_once_in_order_and_gives_keys_back) {
    lab_t l = {.a = arena_new()};
    expr_t *args[2] = {expr_column(l.a, 0, &type_string), expr_column(l.a, 1, &type_string)};
    l.call = (agg_call_t){.nargs = 2, .filter = -1, .args = {0, 1}, .arg_types = {&type_string, &type_string}, .name = "JSON_OBJECTAGG"};
    ck_ok(agg_bind(l.a, "JSON_OBJECTAGG", false, args, 2, &l.call.fn, &l.call.type));
    l.set = agg_set_new(&l.call, 1, true);
    l.acc = xcalloc(1, agg_set_size(l.set) + 16);
    expect(&l, l.acc, "{}", "nothing");
    const char *keys[] = {"k", "", "a\"b"}, *values[] = {"1", "NULL", "[\"x\"]"};
    ck_ok(feed_pairs(&l, l.acc, 3, keys, values, ROW_INSERT));
    expect(&l, l.acc, "{\"\":null,\"a\\\"b\":[\"x\"],\"k\":1}", "three pairs");
    buf_t bytes = buf_make(1 << 16);
    agg_set_encode(l.set, l.acc, &bytes);
    void *other = xcalloc(1, agg_set_size(l.set) + 16);
    reader_t r = reader_of(buf_slice(&bytes));
    ck_assert(agg_set_decode(l.set, &r, other));
    ck_ok(feed_pairs(&l, other, 1, (const char *[]){"k"}, (const char *[]){"1"}, ROW_UPDATE_BEFORE));
    ck_ok(feed_pairs(&l, other, 1, (const char *[]){"k"}, (const char *[]){"2"}, ROW_UPDATE_AFTER));
    expect(&l, other, "{\"\":null,\"a\\\"b\":[\"x\"],\"k\":2}", "restored and updated");
    ck_fails(agg_set_merge(l.set, other, l.acc), ERR_DATA, "a key is there twice");
    agg_set_clear(l.set, other);
    memset(other, 0, agg_set_size(l.set));
    ck_fails(feed_pairs(&l, other, 2, (const char *[]){"k", "k"}, (const char *[]){"1", "1"}, ROW_INSERT), ERR_DATA, "a key is there twice");
    ck_fails(feed_pairs(&l, other, 1, (const char *[]){"NULL"}, (const char *[]){"1"}, ROW_INSERT), ERR_DATA, "a key is NULL");
    agg_set_clear(l.set, other);
    free(other);
    buf_free(&bytes);
    lab_free(&l);
}
END_TEST

/* ---- bounds: never a result that is cut */
static lab_t bounded(const char *name, const type_t *t, bool distinct, bool retracting, uint64_t bytes) {
    lab_t l = lab_new(name, t, distinct, retracting);
    agg_set_most(l.set, bytes);
    return l;
}

/* One value after the other, all different, until the group is full. */
static err_t *fill(lab_t *l, void *acc, int from, int most, int *ret_n) {
    err_t *e = NULL;
    int n = 0;
    for (; !e && n < most; n++) {
        char text[32];
        snprintf(text, sizeof text, "%d", from + n);
        const char *v = text;
        batch_t *b = column_of(l->call.arg_types[0], 1, &v, ROW_INSERT);
        e = agg_set_update(l->set, b, NULL, 1, &acc);
        batch_free(b);
    }
    *ret_n = n - (e != NULL);
    return e;
}

static void is_full(err_t *e, const char *name) {
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(err_code(e), ERR_LIMIT);
    ck_assert_msg(strncmp(err_text(e), name, strlen(name)) == 0 && strstr(err_text(e), "one group has more values than it can hold"), "%s", err_text(e));
    ck_assert_ptr_nonnull(strstr(err_hint_text(e), "FILTER"));
    err_free(e);
}

START_TEST(a_group_that_is_full_is_an_error_of_its_function_when_updated_or_merged) {
    static const struct { const char *name; const type_t *type; bool distinct, retracting; } calls[] = {
        {"LISTAGG", &type_string, false, false}, {"LISTAGG", &type_string, true, false}, {"ARRAY_AGG", &type_int, false, false},
        {"JSON_ARRAYAGG", &type_string, false, false}, {"COLLECT", &type_int, false, false}, {"COUNT", &type_string, true, false},
        {"COUNT", &type_int, true, false}, {"COUNT", &type_int, true, true}, {"SUM", &type_int, true, false}, {"MIN", &type_int, false, true},
        {"FIRST_VALUE", &type_int, false, true}, {"LAST_VALUE", &type_string, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        lab_t full = bounded(calls[i].name, calls[i].type, calls[i].distinct, calls[i].retracting, 300);
        lab_t one = bounded(calls[i].name, calls[i].type, calls[i].distinct, calls[i].retracting, 300);
        lab_t two = bounded(calls[i].name, calls[i].type, calls[i].distinct, calls[i].retracting, 300);
        int n, m;
        is_full(fill(&full, full.acc, 100, 1000, &n), calls[i].name);
        ck_assert_msg(n > 20 && n < 200, "%s was full at %d values", calls[i].name, n);
        ck_ok(fill(&one, one.acc, 100, n, &m)); /* each by itself fits */
        ck_ok(fill(&two, two.acc, 500, n, &m));
        is_full(agg_set_merge(one.set, one.acc, two.acc), calls[i].name);
        lab_free(&full);
        lab_free(&one);
        lab_free(&two);
    }
}
END_TEST

START_TEST(a_json_object_that_is_full_is_an_error_when_updated_merged_or_written) {
    lab_t l = {.a = arena_new()};
    expr_t *args[2] = {expr_column(l.a, 0, &type_string), expr_column(l.a, 1, &type_string)};
    l.call = (agg_call_t){.nargs = 2, .filter = -1, .args = {0, 1}, .arg_types = {&type_string, &type_string}, .name = "JSON_OBJECTAGG"};
    ck_ok(agg_bind(l.a, "JSON_OBJECTAGG", false, args, 2, &l.call.fn, &l.call.type));
    void *accs[2];
    for (int what = 0; what < 3; what++) {
        l.set = agg_set_new(&l.call, 1, false);
        agg_set_most(l.set, 100);
        for (int k = 0; k < 2; k++) accs[k] = xcalloc(1, agg_set_size(l.set) + 16);
        char key[32], value[64];
        const char *keys = key, *values = value;
        err_t *e = NULL;
        for (int i = 0; i < (what == 2 ? 1 : what == 1 ? 5 : 100) && !e; i++) {
            for (int k = 0; k < 2 && !e; k++) {
                snprintf(key, sizeof key, "key %d of %d", i, k);
                snprintf(value, sizeof value, what == 2 ? "\"%050d\"" : "%d", i);
                if (what == 2) snprintf(key, sizeof key, "\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0e %d", k); /* \u0001 .. when written */
                e = feed_pairs(&l, accs[k], 1, &keys, &values, ROW_INSERT);
            }
        }
        mem_t *m = mem_new();
        column_t c = {0};
        if (what == 0) is_full(e, "JSON_OBJECTAGG");
        else ck_ok(e);
        if (what == 1) is_full(agg_set_merge(l.set, accs[0], accs[1]), "JSON_OBJECTAGG");
        if (what == 2) is_full(agg_set_emit(l.set, accs, 1, m, &c), "JSON_OBJECTAGG");
        if (what == 2) ck_assert(!agg_set_emit_equal(l.set, accs[0], accs[0])); /* else the error would not be met */
        mem_unref(m);
        for (int k = 0; k < 2; k++) {
            agg_set_clear(l.set, accs[k]);
            free(accs[k]);
        }
        agg_set_free(l.set);
    }
    arena_free(l.a);
}
END_TEST

START_TEST(a_result_longer_than_its_bound_is_an_error_and_not_cut) {
    lab_t l = bounded("JSON_ARRAYAGG_NULL_ON_NULL", &type_string, false, false, 200);
    const char *nulls[60];
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++) nulls[i] = "NULL"; /* a byte each, "null," when written */
    lab_feed(&l, l.acc, 20, nulls, ROW_INSERT);
    free(lab_emit(&l, l.acc));
    lab_feed(&l, l.acc, 60, nulls, ROW_INSERT);
    mem_t *m = mem_new();
    column_t c = {0};
    is_full(agg_set_emit(l.set, &l.acc, 1, m, &c), "JSON_ARRAYAGG:");
    mem_unref(m);
    lab_free(&l);
}
END_TEST

/* What was taken back has left its room. */
START_TEST(a_set_of_values_that_come_and_go_is_not_full_of_holes) {
    lab_t l = bounded("COLLECT", &type_int, false, true, 1000);
    for (int i = 0; i < 5000; i++) {
        char text[32];
        const char *v = text;
        snprintf(text, sizeof text, "%d", i);
        lab_feed(&l, l.acc, 1, &v, ROW_INSERT);
        snprintf(text, sizeof text, "%d", i - 50);
        if (i >= 50) lab_feed(&l, l.acc, 1, &v, ROW_DELETE);
    }
    lab_free(&l);
}
END_TEST

/* Groups of which no row has passed the filter yet know no separator: what is written of them says so to nobody. */
START_TEST(a_restored_list_has_its_separator_whichever_group_is_read_first) {
    static const char *const separators[] = {"; ", ""}, *const values[] = {"a", "b", "c"};
    for (int distinct = 0; distinct < 2; distinct++)
        for (int k = 0; k < 2; k++) {
            lab_t labs[2];
            void *accs[2][2];
            for (int i = 0; i < 2; i++) {
                lab_t *l = &labs[i];
                *l = (lab_t){.a = arena_new()};
                value_t literal = {.s = {separators[k], (uint32_t)strlen(separators[k]), 0}};
                expr_t *args[2] = {expr_column(l->a, 0, &type_string), expr_literal(l->a, type_nullable(l->a, &type_string, false), literal)};
                l->call = (agg_call_t){.distinct = distinct, .nargs = 2, .filter = 2, .args = {0, 1}, .arg_types = {&type_string, &type_string}, .name = "LISTAGG"};
                ck_ok(agg_bind(l->a, "LISTAGG", distinct, args, 2, &l->call.fn, &l->call.type));
                l->set = agg_set_new(&l->call, 1, false);
                for (int g = 0; g < 2; g++) accs[i][g] = xcalloc(1, agg_set_size(l->set));
            }
            /* rows of group 0 that do not pass, of group 1 that do; these are written and read; then of group 0 that do */
            for (int step = 0; step < 3; step++) {
                batch_t *b = batch_new(3);
                b->n = 3;
                for (int c = 0; c < 3; c++) column_init(&b->cols[c], c < 2 ? &type_string : &type_boolean, b->mem, 3);
                void *of[3];
                for (int i = 0; i < 3; i++) {
                    b->cols[0].str[i] = (str_t){values[i], 1, 0};
                    b->cols[1].str[i] = (str_t){separators[k], (uint32_t)strlen(separators[k]), 0};
                    b->cols[2].b[i] = step > 0;
                    of[i] = accs[step / 2][step % 2];
                }
                ck_ok(agg_set_update(labs[step / 2].set, b, NULL, 3, of));
                batch_free(b);
                buf_t bytes = buf_make(1 << 16);
                if (step < 2) agg_set_encode(labs[0].set, accs[0][step], &bytes);
                reader_t r = reader_of(buf_slice(&bytes));
                if (step < 2) ck_assert(agg_set_decode(labs[1].set, &r, accs[1][step]));
                buf_free(&bytes);
                char *got = lab_emit(&labs[1], accs[1][step % 2]);
                ck_assert_str_eq(got, step == 0 ? "NULL" : k ? "abc" : "a; b; c");
                free(got);
            }
            char *got = lab_emit(&labs[1], accs[1][1]);
            ck_assert_str_eq(got, k ? "abc" : "a; b; c");
            free(got);
            for (int i = 0; i < 2; i++) {
                for (int g = 0; g < 2; g++) {
                    agg_set_clear(labs[i].set, accs[i][g]);
                    free(accs[i][g]);
                }
                agg_set_free(labs[i].set);
                arena_free(labs[i].a);
            }
        }
}
END_TEST

TESTS("agg", a_group_that_is_full_is_an_error_of_its_function_when_updated_or_merged, a_json_object_that_is_full_is_an_error_when_updated_merged_or_written,
      a_result_longer_than_its_bound_is_an_error_and_not_cut, a_set_of_values_that_come_and_go_is_not_full_of_holes,
      a_restored_list_has_its_separator_whichever_group_is_read_first,
      a_json_object_has_each_key_once_in_order_and_gives_keys_back,
      one_percentile_has_flinks_last_digit, percentiles_interpolate_weigh_and_survive_a_restore_without_a_row,
      results_and_their_types_are_flinks, rows_taken_back_leave_no_trace, encoded_accumulators_go_on, the_encoded_form_of_numbers_is_frozen,
      merged_halves_are_the_whole, distinct_lists_keep_the_null_of_either_half, partials_of_two_halves_are_the_whole,
      a_row_that_passes_the_combiner_is_its_own_partial_result, retracted_extremes_equal_a_plain_search,
      wrong_calls_are_refused)
