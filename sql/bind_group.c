/* bind_group.c: GROUP BY: keys, grouping sets, group windows, and the aggregate made of them.
 *
 * The SELECT's expressions are bound over the input; what exists only after the aggregation (results of aggregates,
 * window ends, GROUPING) stands in them as placeholder columns. bind_aggregate then projects keys and arguments, aggregates,
 * and rewrites the expressions: a part equal to a key becomes the key's column, a placeholder its column, and an input
 * column that is left over is the classic error. */
#include <strings.h>

#include "sql/bind.h"

#define SETS_MAX 128
#define KEYS_MAX 1000

/* ---- group windows */
static const struct {
    const char *name;
    window_kind_t kind;
} group_windows[] = {{"TUMBLE", WINDOW_TUMBLE}, {"HOP", WINDOW_HOP}, {"SESSION", WINDOW_SESSION}};

static const char *call_name(const ast_expr_t *e) { return e->call->name.part[e->call->name.n - 1]; }

bool group_window_kind(const ast_expr_t *e, window_kind_t *ret) {
    if (e->kind != AST_CALL) return false;
    for (size_t i = 0; i < ARRAY_LEN(group_windows); i++)
        if (strcasecmp(call_name(e), group_windows[i].name) == 0) {
            *ret = group_windows[i].kind;
            return true;
        }
    return false;
}

/* TUMBLE(ts, size), HOP(ts, slide, size): also the arguments of TUMBLE_START and so on. */
static err_t *window_args(expr_ctx_t *x, const ast_expr_t *e, const char *name, window_kind_t kind, rel_window_t *w,
                          int *ret_col) {
    int n = kind == WINDOW_HOP ? 3 : 2;
    if (e->args.n != n)
        return err_pos(err_hint(err_new(ERR_TYPE, "%s takes %d arguments, there are %d", name, n, e->args.n),
                                n == 3 ? "%s(ts, slide, size)" : "%s(ts, size)", name),
                       e->pos);
    expr_t *time;
    expr_ctx_t inner = *x;
    inner.group = NULL;
    inner.clause = "a window";
    TRY(bind_expr(&inner, e->args.item[0], &time));
    if (time->kind != EXPR_COLUMN)
        return err_pos(err_hint(err_new(ERR_TYPE, "the time of %s must be a column, not an expression", name),
                                "declare it as a computed column of the table, with a watermark"),
                       e->args.item[0]->pos);
    *ret_col = time->column;
    w->kind = kind;
    TRY(bind_window_time(x->scope->rel, time->column, name, e->args.item[0]->pos, x->b->arena, w));
    if (kind == WINDOW_SESSION) {
        w->by_group = true;
        return bind_interval_ms(x->b, e->args.item[1], "gap", false, &w->gap_ms);
    }
    TRY(bind_interval_ms(x->b, e->args.item[n - 1], "size", false, &w->size_ms));
    if (kind == WINDOW_HOP) TRY(bind_interval_ms(x->b, e->args.item[1], "slide", false, &w->slide_ms));
    return bind_window_check(w, e->pos);
}

static err_t *add_group_window(expr_ctx_t *x, const ast_expr_t *e, window_kind_t kind, group_t *g) {
    if (g->window) return err_pos(err_new(ERR_INVALID, "GROUP BY has two windows"), e->pos);
    rel_window_t *w = ARENA_NEW(x->b->arena, rel_window_t);
    int col;
    TRY(window_args(x, e, call_name(e), kind, w, &col));
    g->window = w;
    g->window_call = e;
    g->window_time_col = col;
    return NULL;
}

err_t *bind_group_prop(expr_ctx_t *x, const ast_expr_t *e, bool *ret_is, expr_t **ret) {
    static const struct {
        const char *suffix;
        window_prop_t prop;
        bool proctime;
    } props[] = {{"_START", WINDOW_PROP_START, false}, {"_END", WINDOW_PROP_END, false},
                 {"_ROWTIME", WINDOW_PROP_TIME, false}, {"_PROCTIME", WINDOW_PROP_TIME, true}};
    *ret_is = false;
    const char *name = call_name(e);
    for (size_t i = 0; i < ARRAY_LEN(group_windows); i++)
        for (size_t j = 0; j < ARRAY_LEN(props); j++) {
            size_t len = strlen(group_windows[i].name);
            if (strncasecmp(name, group_windows[i].name, len) != 0 ||
                strcasecmp(name + len, props[j].suffix) != 0) continue;
            *ret_is = true;
            const group_t *g = x->group;
            if (!g || !g->window || x->in_agg)
                return err_pos(err_hint(err_new(ERR_INVALID, "%s needs a group window", name), "GROUP BY %s(..)",
                                        group_windows[i].name),
                               e->pos);
            rel_window_t w = {0};
            int col;
            TRY(window_args(x, e, name, group_windows[i].kind, &w, &col));
            if (w.kind != g->window->kind || w.size_ms != g->window->size_ms || w.slide_ms != g->window->slide_ms ||
                w.gap_ms != g->window->gap_ms || col != g->window_time_col)
                return err_pos(err_hint(err_new(ERR_INVALID, "%s does not match the window of GROUP BY", name),
                                        "repeat its arguments exactly"),
                               e->pos);
            if (props[j].prop == WINDOW_PROP_TIME && props[j].proctime != g->window->proctime)
                return err_pos(err_new(ERR_INVALID, "%s: the window is in %s time", name,
                                       g->window->proctime ? "processing" : "event"),
                               e->pos);
            const type_t *t = props[j].prop == WINDOW_PROP_TIME ? g->window->time_type
                                                                : type_nullable(x->b->arena, &type_timestamp3, false);
            *ret = expr_column(x->b->arena, COLUMN_PROP + (int)props[j].prop, t);
            return NULL;
        }
    return NULL;
}

/* ---- keys and sets */
typedef struct sets {
    int n;
    bool *in[SETS_MAX]; /* KEYS_MAX bools each, made on use */
} sets_t;

static err_t *key_index(expr_ctx_t *x, const ast_expr_t *e, group_t *g, int *ret) {
    window_kind_t kind;
    if (group_window_kind(e, &kind)) {
        *ret = -1;
        return add_group_window(x, e, kind, g);
    }
    expr_t *k;
    TRY(bind_expr(x, e, &k));
    for (int i = 0; i < g->nkeys; i++)
        if (expr_equal(g->keys[i], k)) {
            *ret = i;
            return NULL;
        }
    if (g->nkeys == KEYS_MAX) return err_pos(err_new(ERR_LIMIT, "GROUP BY has more than %d keys", KEYS_MAX), e->pos);
    g->keys[*ret = g->nkeys++] = k;
    return NULL;
}

static err_t *sets_add(arena_t *a, sets_t *s, const bool *in, ast_pos_t pos) {
    if (s->n == SETS_MAX) return err_pos(err_new(ERR_LIMIT, "GROUP BY has more than %d grouping sets",
                                                 SETS_MAX), pos);
    s->in[s->n++] = arena_memdup(a, in, KEYS_MAX * sizeof(bool));
    return NULL;
}

static err_t *element_sets(expr_ctx_t *x, const ast_group_t *e, group_t *g, sets_t *out);

/* The keys of an element of ROLLUP or CUBE, which may be (a, b). */
static err_t *element_keys(expr_ctx_t *x, const ast_group_t *e, group_t *g, bool *in) {
    if (e->kind != AST_GROUP_EXPR) return refuse(e->pos, "GROUPING SETS inside ROLLUP or CUBE", "write the sets out");
    for (int i = 0; i < e->exprs.n; i++) {
        int k = -1;
        TRY(key_index(x, e->exprs.item[i], g, &k));
        if (k >= 0) in[k] = true;
    }
    return NULL;
}

static err_t *rollup_sets(expr_ctx_t *x, const ast_group_t *e, group_t *g, sets_t *out) {
    bool **in = ARENA_ARRAY(x->b->arena, bool *, e->n + 1);
    for (int i = 0; i < e->n; i++) {
        in[i] = ARENA_ARRAY(x->b->arena, bool, KEYS_MAX);
        TRY(element_keys(x, e->element[i], g, in[i]));
    }
    bool cube = e->kind == AST_GROUP_CUBE;
    if (cube && e->n > 7) return err_pos(err_new(ERR_LIMIT, "CUBE of more than 7 elements"), e->pos);
    int n = cube ? 1 << e->n : e->n + 1;
    for (int s = 0; s < n; s++) {
        bool *set = ARENA_ARRAY(x->b->arena, bool, KEYS_MAX);
        for (int i = 0; i < e->n; i++) {
            bool has = cube ? !(s >> (e->n - 1 - i) & 1) : i < e->n - s;
            for (int k = 0; has && k < g->nkeys; k++) set[k] |= in[i][k];
        }
        TRY(sets_add(x->b->arena, out, set, e->pos));
    }
    return NULL;
}

static err_t *element_sets(expr_ctx_t *x, const ast_group_t *e, group_t *g, sets_t *out) {
    if (e->kind == AST_GROUP_ROLLUP || e->kind == AST_GROUP_CUBE) return rollup_sets(x, e, g, out);
    if (e->kind == AST_GROUP_SETS) {
        for (int i = 0; i < e->n; i++) TRY(element_sets(x, e->element[i], g, out));
        return NULL;
    }
    bool *in = ARENA_ARRAY(x->b->arena, bool, KEYS_MAX);
    TRY(element_keys(x, e, g, in));
    return sets_add(x->b->arena, out, in, e->pos);
}

err_t *bind_group_by(expr_ctx_t *x, const ast_select_t *s, group_t *g) {
    arena_t *a = x->b->arena;
    if (s->group_distinct) return refuse(s->group[0]->pos, "GROUP BY DISTINCT", "leave DISTINCT out");
    g->keys = ARENA_ARRAY(a, expr_t *, KEYS_MAX);
    sets_t *all = ARENA_NEW(a, sets_t);
    TRY(sets_add(a, all, ARENA_ARRAY(a, bool, KEYS_MAX), (ast_pos_t){0}));
    bool written = false;
    for (int i = 0; i < s->ngroup; i++) {
        written = written || s->group[i]->kind != AST_GROUP_EXPR;
        sets_t *one = ARENA_NEW(a, sets_t), *product = ARENA_NEW(a, sets_t);
        TRY(element_sets(x, s->group[i], g, one));
        for (int j = 0; j < all->n; j++)
            for (int k = 0; k < one->n; k++) {
                bool *in = ARENA_ARRAY(a, bool, KEYS_MAX);
                for (int m = 0; m < g->nkeys; m++) in[m] = all->in[j][m] || one->in[k][m];
                TRY(sets_add(a, product, in, s->group[i]->pos));
            }
        all = product;
    }
    if (!written || (all->n == 1)) return NULL;
    g->nsets = all->n;
    g->in_set = ARENA_ARRAY(a, bool *, all->n);
    for (int i = 0; i < all->n; i++) g->in_set[i] = all->in[i];
    return NULL;
}
