/* datagen_options.c: the options of datagen: Flink's, and of our own
 *   fields.<c>.values = 'a,b,c'        one of these
 *   fields.<c>.kind = 'event-time'     event time of the row, minus a random delay of at most fields.<c>.max-delay
 *   event-time.speedup = '10'          event time runs ten times faster than the clock (TIMESTAMP columns)
 *   seed = '42'                        other data */
#include "engine/connector/datagen_int.h"
#include "engine/connector/format_int.h"
#include "engine/datetime.h"
#include "engine/decimal.h"
#include "engine/number.h"
#include <float.h>
#include <math.h>
#include <stdio.h>

static const char *const suffixes[] = {"kind", "start", "end", "min", "max", "length", "var-len", "max-past", "null-rate",
                                       "values", "max-delay", NULL};
static const char *const known_options[] = {"rows-per-second", "number-of-rows", "scan.parallelism", "seed",
                                            "event-time.speedup", "fields.*", NULL};

static const char *child_name(const type_t *t, int i) {
    if (t->kind == TYPE_ROW) return t->names[i];
    if (t->kind == TYPE_MAP) return i ? "value" : "key";
    return "element";
}

/* path "a.b" below the children of t; NULL when there is none */
static const type_t *resolve(const type_t *t, const char *path) {
    for (int i = 0; i < t->nchild; i++) {
        const char *name = child_name(t, i);
        size_t n = strlen(name);
        if (strncmp(path, name, n) != 0) continue;
        if (!path[n]) return t->child[i];
        const type_t *r = path[n] == '.' ? resolve(t->child[i], path + n + 1) : NULL;
        if (r) return r;
    }
    return NULL;
}

static err_t *check_field_key(const table_t *t, const type_t *row, const char *key) {
    const char *dot = strrchr(key, '.'), *path = key + strlen("fields.");
    bool suffix_ok = false;
    for (const char *const *s = suffixes; *s; s++) suffix_ok |= dot && strcmp(dot + 1, *s) == 0;
    if (dot < path) return err_new(ERR_INVALID, "table %s: option '%s' names no setting of a column", t->name, key);
    if (!suffix_ok)
        return err_hint(err_new(ERR_INVALID, "table %s: datagen has no option '%s'", t->name, key),
                        "a column has kind, start, end, min, max, length, var-len, max-past, null-rate, values, max-delay");
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
    if (resolve(row, name)) return NULL;
    return err_new(ERR_INVALID, "table %s: option '%s': there is no column '%s'", t->name, key, name);
}

typedef struct loader {
    const table_t *t;
    gen_plan_t *plan;
} loader_t;

static const char *opt(const loader_t *l, const char *path, const char *suffix) {
    char key[400];
    snprintf(key, sizeof key, "fields.%s.%s", path, suffix);
    return options_get(&l->t->options, key);
}

static err_t *bad(const loader_t *l, const char *path, const char *suffix, const char *why) {
    return err_new(ERR_INVALID, "table %s: option 'fields.%s.%s' = '%s' %s", l->t->name, path, suffix,
                   opt(l, path, suffix), why);
}

static err_t *opt_i64(const loader_t *l, const char *path, const char *suffix, int64_t *ret) {
    const char *v = opt(l, path, suffix);
    if (!v) return NULL;
    return i64_parse(v, strlen(v), ret) ? NULL : bad(l, path, suffix, "is not an integer");
}
static err_t *opt_f64(const loader_t *l, const char *path, const char *suffix, double *ret) {
    const char *v = opt(l, path, suffix);
    if (!v) return NULL;
    return f64_parse(v, strlen(v), ret) && isfinite(*ret) ? NULL : bad(l, path, suffix, "is not a number");
}
static err_t *opt_ms(const loader_t *l, const char *path, const char *suffix, int64_t *ret) {
    const char *v = opt(l, path, suffix);
    if (!v) return NULL;
    err_t *e = parse_duration_ms(v, ret);
    if (!e) return NULL;
    err_free(e);
    return bad(l, path, suffix, "is not a duration, such as '5 s'");
}

static void type_range(gen_t *g) {
    switch (g->type->kind) {
    case TYPE_TINYINT: g->min = INT8_MIN, g->max = INT8_MAX; break;
    case TYPE_SMALLINT: g->min = INT16_MIN, g->max = INT16_MAX; break;
    case TYPE_INT: g->min = INT32_MIN, g->max = INT32_MAX; break;
    case TYPE_INTERVAL_MONTH: g->min = 0, g->max = 120000; break;
    case TYPE_INTERVAL_SECOND: g->min = 0, g->max = INT64_C(1000) * 86400 * 365 * 100; break;
    case TYPE_FLOAT: g->fmin = FLT_MIN, g->fmax = FLT_MAX; break;
    case TYPE_DOUBLE: g->fmin = DBL_MIN, g->fmax = DBL_MAX; break;
    case TYPE_DECIMAL: g->fmin = 0, g->fmax = pow(10, g->type->precision - g->type->scale); break;
    default: g->min = INT64_MIN, g->max = INT64_MAX; break;
    }
}

static bool is_real(const type_t *t) { return type_is_approx(t) || t->kind == TYPE_DECIMAL; }
static bool is_whole(const type_t *t) { return type_is_integer(t) || type_is_interval(t); }

static err_t *load_kind(const loader_t *l, const char *path, gen_t *g) {
    const char *kind = opt(l, path, "kind"), *values = opt(l, path, "values");
    if (values && (!kind || strcmp(kind, "random") == 0)) {
        g->kind = GEN_VALUES;
    } else if (!kind || strcmp(kind, "random") == 0) {
        g->kind = GEN_RANDOM;
    } else if (strcmp(kind, "sequence") == 0) {
        g->kind = GEN_SEQUENCE;
        if (!is_whole(g->type) && !is_real(g->type) && !type_is_text(g->type))
            return bad(l, path, "kind", "fits numbers and strings only");
        if (!opt(l, path, "start") || !opt(l, path, "end"))
            return err_new(ERR_INVALID, "table %s: a sequence needs 'fields.%s.start' and 'fields.%s.end'", l->t->name, path, path);
    } else if (strcmp(kind, "event-time") == 0) {
        g->kind = GEN_EVENT_TIME;
        if (!type_is_timestamp(g->type)) return bad(l, path, "kind", "fits TIMESTAMP and TIMESTAMP_LTZ columns only");
    } else {
        return bad(l, path, "kind", "is unknown: it is random, sequence or event-time");
    }
    return NULL;
}

/* Every value must be readable as the column's type: tried here, so that generating cannot fail. */
static err_t *load_values(const loader_t *l, const char *path, gen_t *g) {
    arena_t *a = l->plan->arena;
    char *list = arena_strdup(a, opt(l, path, "values"));
    if (g->type->nchild || type_is_binary(g->type)) return bad(l, path, "values", "fits plain columns only");
    int n = 1;
    for (const char *p = list; *p; p++) n += *p == ',';
    g->values = ARENA_ARRAY(a, const char *, n);
    for (char *p = list; p; g->nvalues++) {
        char *comma = strchr(p, ',');
        if (comma) *comma++ = 0;
        g->values[g->nvalues] = p;
        p = comma;
    }
    if (type_is_text(g->type)) return NULL;
    rowstore_t probe;
    rowstore_init(&probe, 1, &g->type, &path);
    rowstore_begin(&probe);
    const char *why = NULL;
    for (int i = 0; i < n && !why; i++)
        why = scalar_store(&probe, &probe.root.child[0], 0, &(scalar_rules_t){.csv = true}, SCALAR_STRING, g->values[i],
                           strlen(g->values[i]));
    rowstore_done(&probe);
    return why ? bad(l, path, "values", "has a value that the column's type cannot hold") : NULL;
}

static err_t *load_gen(const loader_t *l, const char *path, const type_t *t, gen_t *g);

static err_t *load_children(const loader_t *l, const char *path, gen_t *g) {
    const type_t *t = g->type;
    g->nchild = t->nchild;
    g->child = ARENA_ARRAY(l->plan->arena, gen_t, t->nchild);
    for (int i = 0; i < t->nchild; i++)
        TRY(load_gen(l, arena_printf(l->plan->arena, "%s.%s", path, child_name(t, i)), t->child[i], &g->child[i]));
    return NULL;
}

static err_t *load_gen(const loader_t *l, const char *path, const type_t *t, gen_t *g) {
    g->type = t;
    g->salt = hash_bytes(path, strlen(path));
    type_range(g);
    TRY(load_kind(l, path, g));
    bool nested = type_is_nested(t);
    g->length = nested ? 3 : type_is_text(t) || type_is_binary(t) ? (t->precision > 0 && t->precision < 100 ? t->precision : 100) : 0;
    if (t->kind == TYPE_CHAR || t->kind == TYPE_BINARY) g->length = t->precision;
    int64_t length = g->length;
    TRY(opt_i64(l, path, "length", &length));
    if (length < 0 || length > (1 << 20)) return bad(l, path, "length", "is not between 0 and 1048576");
    if (type_is_strlike(t) && t->precision > 0 && length > t->precision) return bad(l, path, "length", "is longer than the column's type");
    g->length = (int32_t)length;
    const char *var = opt(l, path, "var-len");
    g->var_len = var && strcmp(var, "true") == 0;
    TRY(opt_f64(l, path, "null-rate", &g->null_rate));
    if (g->null_rate < 0 || g->null_rate > 1) return bad(l, path, "null-rate", "is not between 0 and 1");
    if (g->null_rate > 0 && !t->nullable) return bad(l, path, "null-rate", "contradicts NOT NULL");
    TRY(opt_ms(l, path, "max-past", &g->max_past_ms));
    TRY(opt_ms(l, path, "max-delay", &g->max_delay_ms));
    if (g->kind == GEN_SEQUENCE) {
        TRY(opt_i64(l, path, "start", &g->min));
        TRY(opt_i64(l, path, "end", &g->max));
        if (g->max < g->min) return bad(l, path, "end", "is before the start");
    } else if (is_whole(t)) {
        int64_t lo = g->min, hi = g->max;
        TRY(opt_i64(l, path, "min", &g->min));
        TRY(opt_i64(l, path, "max", &g->max));
        if (g->min < lo || g->max > hi) return err_new(ERR_INVALID, "table %s: min or max of '%s' leaves the range of its type", l->t->name, path);
        if (g->max < g->min) return err_new(ERR_INVALID, "table %s: max of '%s' is below its min", l->t->name, path);
    } else if (is_real(t)) {
        TRY(opt_f64(l, path, "min", &g->fmin));
        TRY(opt_f64(l, path, "max", &g->fmax));
        if (g->fmax < g->fmin) return err_new(ERR_INVALID, "table %s: max of '%s' is below its min", l->t->name, path);
    }
    if (g->kind == GEN_VALUES) TRY(load_values(l, path, g));
    return nested ? load_children(l, path, g) : NULL;
}

/* Rows a sequence can give; -1 none */
static void limit_by_sequences(gen_plan_t *p) {
    for (int i = 0; i < p->ncols; i++) {
        const gen_t *g = &p->cols[i];
        if (g->kind != GEN_SEQUENCE) continue;
        i128 n = (i128)g->max - g->min + 1;
        if (n < INT64_MAX && (p->total < 0 || (int64_t)n < p->total)) p->total = (int64_t)n;
    }
}

static err_t *load_plan(const table_t *t, gen_plan_t *p) {
    TRY(options_check_known(t, known_options));
    if (t->metadata->n) return err_new(ERR_INVALID, "table %s: datagen has no metadata columns", t->name);
    int64_t unused, seed;
    TRY(options_i64(&t->options, "rows-per-second", 10000, 1, INT64_C(1000000000), &p->rows_per_second));
    TRY(options_i64(&t->options, "number-of-rows", -1, 0, INT64_MAX, &p->total));
    TRY(options_i64(&t->options, "scan.parallelism", 1, 1, KEY_GROUPS, &unused));
    TRY(options_i64(&t->options, "seed", 0, INT64_MIN, INT64_MAX, &seed));
    p->seed = hash_bytes(t->name, strlen(t->name)) ^ hash_mix((uint64_t)seed);
    const char *speedup = options_get(&t->options, "event-time.speedup");
    double factor = 1;
    if (speedup && (!f64_parse(speedup, strlen(speedup), &factor) || !(factor >= 0.001 && factor <= 1e6)))
        return err_new(ERR_INVALID, "table %s: option 'event-time.speedup' = '%s' is not a number from 0.001 to 1000000", t->name, speedup);
    p->speedup_milli = (int64_t)(factor * 1000 + 0.5);
    const type_t **types = ARENA_ARRAY(p->arena, const type_t *, t->physical->n + 1);
    const char **names = ARENA_ARRAY(p->arena, const char *, t->physical->n + 1);
    for (int i = 0; i < t->physical->n; i++) {
        types[i] = t->physical->fields[i].type;
        names[i] = t->physical->fields[i].name;
    }
    const type_t *row = type_row(p->arena, t->physical->n, types, names, false);
    for (int i = 0; i < t->options.n; i++)
        if (strncmp(t->options.keys[i], "fields.", 7) == 0) TRY(check_field_key(t, row, t->options.keys[i]));
    p->ncols = t->physical->n;
    p->cols = ARENA_ARRAY(p->arena, gen_t, p->ncols + 1);
    loader_t l = {t, p};
    for (int i = 0; i < p->ncols; i++) TRY(load_gen(&l, names[i], types[i], &p->cols[i]));
    limit_by_sequences(p);
    return NULL;
}

err_t *gen_plan_new(const table_t *t, gen_plan_t *ret) {
    gen_plan_t p = {.arena = arena_new()};
    err_t *e = load_plan(t, &p);
    if (e) {
        arena_free(p.arena);
        return e;
    }
    *ret = p;
    return NULL;
}

void gen_plan_free(gen_plan_t *p) {
    arena_free(p->arena);
    *p = (gen_plan_t){0};
}
