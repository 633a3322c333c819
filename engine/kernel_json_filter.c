/* kernel_json_filter.c: [?(..)] of JSON paths; what it means is in kernel_json_path.h.
 *
 *   or    = and { '||' and }            and  = unary { '&&' unary }
 *   unary = '!' unary | '(' or ')' | operand [ operator operand ]
 *   operand = @path | $path | 'text' | "text" | number | true | false | null | [ literal, .. ] */
#include "engine/kernel_json_path.h"
#include "engine/number.h"
#include <stdlib.h>
#include <strings.h>

#define DEPTH_MAX 32 /* of parentheses and ! */
#define TERMS_MAX 256
#define FILTERS_MAX 4 /* within each other */

typedef enum filter_op {
    F_AND, F_OR, F_NOT, F_EXISTS, F_EQ, F_NE, F_LT, F_LE, F_GT, F_GE, F_SAME, F_NOT_SAME, F_IN, F_NIN, F_CONTAINS, F_SIZE, F_EMPTY, F_NONE
} filter_op_t;

typedef struct operand {
    json_state_t *path; /* or a literal */
    bool of_root;
    const json_t *value; /* literal; of a path of the root: found in this document */
    uint64_t document;
} operand_t;

struct filter_node {
    filter_op_t op;
    filter_node_t *a, *b;
    operand_t left, right;
};

/* ---- text to tree */
typedef struct parsing {
    const call_t *c;
    json_state_t *s;
    str_t whole;
    const char *p, *end;
    err_t *err;
    int depth, terms;
} parsing_t;

static bool at(parsing_t *g, const char *what) {
    g->p = json_blanks(g->p, g->end);
    return (size_t)(g->end - g->p) >= strlen(what) && strncmp(g->p, what, strlen(what)) == 0;
}

static bool take(parsing_t *g, const char *what) {
    bool there = at(g, what);
    if (there) g->p += strlen(what);
    return there;
}

static json_t *json_new(parsing_t *g, json_kind_t kind) {
    json_t *v = ARENA_NEW(g->s->path, json_t);
    *v = (json_t){.kind = kind};
    return v;
}

static bool path_operand(parsing_t *g, operand_t *ret) {
    json_state_t *s = g->s, *sub = ARENA_NEW(s->path, json_state_t);
    *sub = (json_state_t){.path = s->path, .arena = s->arena, .top = s->top ? s->top : s, .depth = s->depth + 1};
    *ret = (operand_t){.path = sub, .of_root = *g->p++ == '$'};
    if (sub->depth > FILTERS_MAX) return false;
    g->err = json_path_steps(g->c, sub, g->whole, &g->p, g->end);
    return !g->err;
}

static char unescaped(char ch) {
    switch (ch) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'b': return '\b';
    case 'f': return '\f';
    default: return ch;
    }
}

static const json_t *text_literal(parsing_t *g) {
    char quote = *g->p++, *out = arena_alloc(g->s->path, (size_t)(g->end - g->p) + 1);
    size_t n = 0;
    while (g->p < g->end && *g->p != quote) {
        bool escape = *g->p == '\\' && g->p + 1 < g->end;
        if (escape && g->p[1] == 'u') return NULL;
        out[n++] = escape ? unescaped(g->p[1]) : *g->p;
        g->p += 1 + escape;
    }
    if (g->p++ == g->end) return NULL;
    out[n] = 0;
    json_t *v = json_new(g, JSON_STRING);
    v->text = out;
    v->len = n;
    return v;
}

static bool is_number(const char *s, size_t n) { /* no "NaN", no blanks */
    double d;
    for (size_t i = 0; i < n; i++)
        if (!s[i] || !strchr("0123456789+-.eE", s[i])) return false;
    return n && f64_parse(s, n, &d);
}

static const json_t *number_literal(parsing_t *g) {
    size_t n = 0;
    while (g->p + n < g->end && g->p[n] && strchr("0123456789+-.eE", g->p[n])) n++;
    if (!is_number(g->p, n)) return NULL;
    json_t *v = json_new(g, JSON_NUMBER);
    v->text = arena_strndup(g->s->path, g->p, n);
    v->len = n;
    g->p += n;
    return v;
}

static const json_t *literal(parsing_t *g) {
    if (at(g, "'") || at(g, "\"")) return text_literal(g);
    if (take(g, "null")) return json_new(g, JSON_NULL);
    bool yes = take(g, "true");
    if (!yes && !take(g, "false")) return g->p < g->end ? number_literal(g) : NULL;
    json_t *v = json_new(g, JSON_BOOL);
    v->boolean = yes;
    return v;
}

static bool operand(parsing_t *g, operand_t *ret) {
    if (at(g, "@") || at(g, "$")) return path_operand(g, ret);
    *ret = (operand_t){0};
    if (!take(g, "[")) return (ret->value = literal(g)) != NULL;
    json_t *list = json_list_new(g->s->path);
    ret->value = list;
    if (take(g, "]")) return true;
    do {
        const json_t *v = literal(g);
        if (!v) return false;
        json_list_add(g->s->path, list, (json_t *)(uintptr_t)v);
    } while (take(g, ","));
    return take(g, "]");
}

/* The longest first. */
static filter_op_t relation(parsing_t *g) {
    typedef struct named_op { const char *text; filter_op_t op; } named_op_t;
    static const named_op_t signs[] = {{"===", F_SAME}, {"!==", F_NOT_SAME}, {"==", F_EQ}, {"!=", F_NE}, {"<=", F_LE}, {">=", F_GE}, {"<", F_LT}, {">", F_GT}};
    static const named_op_t words[] = {{"in", F_IN}, {"nin", F_NIN}, {"contains", F_CONTAINS}, {"size", F_SIZE}, {"empty", F_EMPTY}};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (take(g, signs[i].text)) return g->p < g->end && strchr("=<>~!", *g->p) ? F_NONE : signs[i].op;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i].text);
        if ((size_t)(g->end - g->p) <= n || strncasecmp(g->p, words[i].text, n) != 0 || g->p[n] != ' ') continue;
        g->p += n;
        return words[i].op;
    }
    return F_NONE;
}

static filter_node_t *node(parsing_t *g, filter_op_t op, filter_node_t *a, filter_node_t *b) {
    filter_node_t *f = ARENA_NEW(g->s->path, filter_node_t);
    *f = (filter_node_t){.op = op, .a = a, .b = b};
    return f;
}

static filter_node_t *comparison(parsing_t *g) {
    filter_node_t *f = node(g, F_EXISTS, NULL, NULL);
    if (!operand(g, &f->left)) return NULL;
    filter_op_t op = relation(g);
    if (op == F_NONE) return f->left.path ? f : NULL;
    f->op = op;
    return operand(g, &f->right) ? f : NULL;
}

static filter_node_t *any_of(parsing_t *g);

static filter_node_t *unary(parsing_t *g) {
    if (++g->depth > DEPTH_MAX || ++g->terms > TERMS_MAX) return NULL;
    filter_node_t *f;
    if (at(g, "!") && !at(g, "!=")) {
        take(g, "!");
        bool path = at(g, "@") || at(g, "$");
        f = unary(g);
        if (f && path && f->op != F_EXISTS) f = NULL; /* it would not speak of the comparison, as one may think */
        f = f ? node(g, F_NOT, f, NULL) : NULL;
    } else if (take(g, "(")) {
        f = any_of(g);
        if (f && !take(g, ")")) f = NULL;
    } else {
        f = comparison(g);
    }
    g->depth--;
    return f;
}

static filter_node_t *all_of(parsing_t *g) {
    filter_node_t *f = unary(g), *b;
    while (f && take(g, "&&")) f = (b = unary(g)) ? node(g, F_AND, f, b) : NULL;
    return f;
}

static filter_node_t *any_of(parsing_t *g) {
    filter_node_t *f = all_of(g), *b;
    while (f && take(g, "||")) f = (b = all_of(g)) ? node(g, F_OR, f, b) : NULL;
    return f;
}

err_t *json_filter(const call_t *c, json_state_t *s, step_t *st, str_t whole, const char **from, const char *end) {
    parsing_t g = {.c = c, .s = s, .whole = whole, .p = *from + 1, .end = end};
    st->kind = STEP_FILTER;
    filter_node_t *f = take(&g, "(") ? any_of(&g) : NULL;
    if (g.err) return g.err;
    if (!f || !take(&g, ")"))
        return err_hint(json_path_error(c, whole, ERR_UNSUPPORTED), "a filter is [?(@.name > 1 && (@.kind in ['a', 'b'] || !@.other))], with == != < <= > >= === !== in nin contains size empty");
    st->filter = f;
    *from = json_blanks(g.p, end);
    return NULL;
}

/* ---- does it hold? NULL: not there */
static const json_t *operand_value(json_state_t *s, operand_t *o, json_t *item) {
    const json_state_t *top = s->top ? s->top : s;
    if (!o->path || (o->of_root && o->document == top->document)) return o->value;
    json_t *list = json_list_new(s->arena);
    bool whole = json_walk(o->path, 0, o->of_root ? top->root : item, list);
    const json_t *v = o->path->many ? (whole ? list : NULL) : list->n ? list->items[0] : NULL;
    if (!o->of_root) return v;
    o->document = top->document;
    return o->value = v;
}

static int number_cmp(const json_t *a, const json_t *b) {
    int64_t i, j;
    double x = 0, y = 0;
    if (i64_parse(a->text, a->len, &i) && i64_parse(b->text, b->len, &j)) return (i > j) - (i < j);
    f64_parse(a->text, a->len, &x);
    f64_parse(b->text, b->len, &y);
    return (x > y) - (x < y);
}

static int text_cmp(const char *a, size_t n, const char *b, size_t m) {
    int c = MIN(n, m) ? memcmp(a, b, MIN(n, m)) : 0;
    return c ? c : (n > m) - (n < m);
}

static bool nested(const json_t *v) { return v->kind == JSON_ARRAY || v->kind == JSON_OBJECT; }

static bool as_written(arena_t *a, const json_t *x, const json_t *y) {
    buf_t one = buf_make(BUF_MAX_DEFAULT), two = buf_make(BUF_MAX_DEFAULT);
    json_put(a, &one, x);
    if (y->kind == JSON_STRING) buf_put(&two, y->text, y->len);
    else json_put(a, &two, y);
    bool same = !one.overflow && !two.overflow && slice_eq(buf_slice(&one), buf_slice(&two));
    buf_free(&one);
    buf_free(&two);
    return same;
}

/* The left one says how a number and a text are compared. */
static bool equal(json_state_t *s, const json_t *a, const json_t *b) {
    if (!a || !b) return false;
    switch (a->kind) {
    case JSON_NULL: return b->kind == JSON_NULL;
    case JSON_BOOL: return b->kind == JSON_BOOL && a->boolean == b->boolean;
    case JSON_NUMBER: return (b->kind == JSON_NUMBER || (b->kind == JSON_STRING && is_number(b->text, b->len))) && number_cmp(a, b) == 0;
    case JSON_STRING:
        if (b->kind == JSON_NUMBER) return as_written(s->arena, b, a);
        return b->kind == JSON_STRING && text_cmp(a->text, a->len, b->text, b->len) == 0;
    default: return a->kind == b->kind && as_written(s->arena, a, b);
    }
}

static bool in_list(json_state_t *s, const json_t *v, const json_t *list) {
    for (int i = 0; list->kind == JSON_ARRAY && i < list->n; i++)
        if (equal(s, v, list->items[i])) return true;
    return false;
}

static bool ordered(filter_op_t op, const json_t *a, const json_t *b) {
    if (!a || !b || a->kind != b->kind || (a->kind != JSON_NUMBER && a->kind != JSON_STRING)) return false;
    int c = a->kind == JSON_NUMBER ? number_cmp(a, b) : text_cmp(a->text, a->len, b->text, b->len);
    return op == F_LT ? c < 0 : op == F_LE ? c <= 0 : op == F_GT ? c > 0 : c >= 0;
}

static int64_t size_of(const json_t *v) {
    if (v->kind != JSON_STRING) return v->kind == JSON_ARRAY ? v->n : -1;
    int64_t n = 0;
    for (size_t i = 0; i < v->len; i++) n += ((unsigned char)v->text[i] & 0xc0) != 0x80;
    return n;
}

static bool has_size(const json_t *v, const json_t *size) {
    int64_t n;
    return v && size && size->kind == JSON_NUMBER && i64_parse(size->text, size->len, &n) && size_of(v) == n && n >= 0;
}

static bool is_empty(const json_t *v, const json_t *wanted) {
    if (!v || !wanted || wanted->kind != JSON_BOOL || (v->kind != JSON_STRING && !nested(v))) return false;
    return (v->kind == JSON_STRING ? v->len == 0 : v->n == 0) == wanted->boolean;
}

static bool contains(json_state_t *s, const json_t *v, const json_t *part) {
    if (!v || !part) return false;
    if (v->kind != JSON_STRING || part->kind != JSON_STRING) return in_list(s, part, v);
    return part->len == 0 || memmem(v->text, v->len, part->text, part->len);
}

static bool same_class(const json_t *a, const json_t *b) { return a && b && (a->kind == b->kind || (nested(a) && nested(b))); }

static bool compare(json_state_t *s, filter_op_t op, const json_t *a, const json_t *b) {
    switch (op) {
    case F_EQ: return equal(s, a, b);
    case F_NE: return !equal(s, a, b);
    case F_SAME: return same_class(a, b) && equal(s, a, b);
    case F_NOT_SAME: return !(same_class(a, b) && equal(s, a, b));
    case F_IN: return b && in_list(s, a, b);
    case F_NIN: return b && nested(b) && !in_list(s, a, b);
    case F_CONTAINS: return contains(s, a, b);
    case F_SIZE: return has_size(a, b);
    case F_EMPTY: return is_empty(a, b);
    default: return ordered(op, a, b);
    }
}

bool json_filter_holds(json_state_t *s, const filter_node_t *cf, json_t *item) {
    filter_node_t *f = (filter_node_t *)(uintptr_t)cf; /* what a path of the root gave is kept there */
    switch (f->op) {
    case F_AND: return json_filter_holds(s, f->a, item) && json_filter_holds(s, f->b, item);
    case F_OR: return json_filter_holds(s, f->a, item) || json_filter_holds(s, f->b, item);
    case F_NOT: return !json_filter_holds(s, f->a, item);
    case F_EXISTS: return operand_value(s, &f->left, item) != NULL;
    default: return compare(s, f->op, operand_value(s, &f->left, item), operand_value(s, &f->right, item));
    }
}
