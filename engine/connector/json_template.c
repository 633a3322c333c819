/* json_template.c: the fast path for records that all look alike.
 *
 * Machines write the same keys in the same order, so after one record the bytes between the values are known. A
 * template is the list of those literal runs and, between them, of the values: column and how to read it. A ROW that is
 * there and one that is null are two shapes, their braces and their null lie in literals: a stream of several kinds of
 * record in one topic has a template for each. A record matches when every literal is found where the value before it ends.
 * Where a literal is not found, the record goes on in a template that is the same up to there (its values are stored already);
 * a value that cannot be read sends it to the others from its start. Values the quick readers do not take (escapes, null,
 * exponents, odd forms) are read by the general parser at that place; if that fails in every template, the whole record goes
 * there, which finds the same fault and reports it. So a template never accepts what the general parser refuses: literals come
 * from an accepted record, and each value is read completely. tests/fuzz/fuzz_json.c holds the two against each other.
 *
 * At most JSON_TEMPLATES are kept, the most used first. When all places are taken a new shape replaces the least used one, only
 * now and then (LEARN_EVERY), so that mixed input does not learn all the time. */
#include "engine/connector/json_int.h"
#include "engine/connector/quick.h"
#include "engine/datetime.h"
#include <stdlib.h>

#define LEARN_EVERY 64
#define TEMPLATE_STEPS_MAX 1024
#define HITS_MAX (1u << 20) /* then all are halved: what was frequent long ago does not stay first for ever */

typedef enum step_kind {
    STEP_GENERAL, /* json_value */
    STEP_SKIP,    /* a value nobody asked for */
    STEP_I32,
    STEP_I64,
    STEP_F64,
    STEP_STR,
    STEP_BOOL,
    STEP_TIMESTAMP,
    STEP_END,     /* the closing literal */
} step_kind_t;

typedef struct step {
    const uint8_t *lit;
    uint32_t lit_len;
    uint8_t kind;  /* step_kind_t */
    uint8_t depth; /* of the containers around the value */
    rcol_t *col;
} step_t;

struct json_template {
    uint8_t *text; /* copy of the record learned from; literals point into it */
    int nsteps, cap_steps, nmissing, npresent;
    step_t *steps;
    rcol_t **missing, **present; /* set to NULL; ROW columns that are there */
    uint32_t hits;
};

/* ------------------------------------------------------------------ quick readers, with those of quick.h: NULL when they do not take it */
/* At the quote. Finds the closing quote of a string without escapes; *ret_high: it may have bytes above 0x7f. Where `to` is
 * not NULL the text is copied there on the way: room for end - p + 64. `start`: of the record, what may be read before p. */
static inline __attribute__((always_inline)) const uint8_t *quick_string(const uint8_t *start, const uint8_t *p, const uint8_t *end, char *to,
                                                                        slice_t *ret, bool *ret_high) {
    if (p == end || *p != '"') return NULL;
    const uint8_t *s = ++p;
    json_bytes_t high = {0}, v[4];
    uint64_t m;
    if (end - p >= 16) { /* most are short */
        v[0] = load16(p);
        if (to) memcpy(to, v, 16);
        high = v[0];
        m = json_special16(v[0]);
        if (m) goto found;
        p += 16;
    }
    for (; end - p >= 64; p += 64) {
        json_load64(p, v);
        if (to) memcpy(to + (p - s), v, 64);
        high |= v[0] | v[1] | v[2] | v[3];
        m = json_special64(v);
        if (m) goto found;
    }
    if (p < end && end - start >= 64) { /* the last 64 bytes of the record, of which those from p on are new */
        const uint8_t *last = end - 64;
        json_load64(last, v);
        high |= v[0] | v[1] | v[2] | v[3];
        m = json_special64(v) >> (p - last);
        if (!m) return NULL;
        if (to) memcpy(to + (p - s), p, (size_t)__builtin_ctzll(m));
        goto found;
    }
    uint8_t rest = 0;
    for (; p < end && *p != '"' && *p != '\\'; p++) {
        rest |= *p;
        if (to) to[p - s] = (char)*p;
    }
    if (p == end) return NULL;
    m = 1;
    high[0] |= rest;
found:
    p += __builtin_ctzll(m);
    if (*p != '"') return NULL;
    *ret = slice_of(s, (size_t)(p - s));
    *ret_high = bits16(high) != 0;
    return p + 1;
}

/* As quick_instant, in quotes, with its Z. */
static inline const uint8_t *quick_timestamp(json_decoder_t *j, const rcol_t *c, const uint8_t *p, const uint8_t *end, int64_t *ret) {
    if (p == end || *p != '"') return NULL;
    p = quick_instant(&j->date, c->type->precision, j->rules.iso ? 'T' : ' ', p + 1, end, ret);
    if (!p || p == end || (c->type->kind == TYPE_TIMESTAMP_LTZ && (*p++ != 'Z' || p == end))) return NULL;
    return *p == '"' ? p + 1 : NULL;
}

/* Literals are a few words long: no call to memcmp for them. */
static inline bool literal_at(const step_t *s, const uint8_t *p, const uint8_t *end) {
    uint32_t n = s->lit_len;
    if (UNLIKELY((size_t)(end - p) < n)) return false;
    const uint8_t *l = s->lit;
    if (n < 8) {
        for (uint32_t k = 0; k < n; k++)
            if (p[k] != l[k]) return false;
        return true;
    }
    uint32_t k = 0;
    for (; k + 8 <= n; k += 8)
        if (load8(p + k) != load8(l + k)) return false;
    return load8(p + n - 8) == load8(l + n - 8);
}

static inline const uint8_t *quick_text(rowstore_t *rows, rcol_t *c, uint32_t i, const uint8_t *start, const uint8_t *p, const uint8_t *end) {
    slice_t str;
    bool high, room = LIKELY(rows->s_end - rows->s >= end - p + 64);
    char *to = room ? rows->s : NULL;
    const uint8_t *next = room ? quick_string(start, p, end, to, &str, &high) : quick_string(start, p, end, NULL, &str, &high);
    if (!next || (high && !utf8_valid(str.p, str.len))) return NULL;
    if (UNLIKELY(!room)) {
        rcol_str(rows, c, i, str.p, str.len);
        return next;
    }
    rows->s += str.len;
    rows->bytes += str.len;
    c->nulls[i] = 0;
    c->str[i] = (str_t){to, (uint32_t)str.len, 0};
    return next;
}

/* ---- values nobody reads: checked like all others */
static inline const uint8_t *skip_number(const uint8_t *p, const uint8_t *end) {
    uint64_t v = 0;
    p += p < end && *p == '-';
    const uint8_t *first = p;
    p = digits(p, end, &v);
    if (p == first || (p - first > 1 && *first == '0')) return NULL;
    if (p < end && *p == '.') {
        const uint8_t *dot = ++p;
        p = digits(p, end, &v);
        if (p == dot) return NULL;
    }
    return p < end && (*p | 32) == 'e' ? NULL : p;
}

static const uint8_t *skip_string(const uint8_t *start, const uint8_t *p, const uint8_t *end) {
    slice_t str;
    bool high;
    return quick_string(start, p, end, NULL, &str, &high);
}

static inline const uint8_t *skip_scalar(const uint8_t *start, const uint8_t *p, const uint8_t *end) {
    if (p < end && *p == '"') return skip_string(start, p, end);
    if (end - p >= 5) {
        if (memcmp(p, "null", 4) == 0 || memcmp(p, "true", 4) == 0) return p + 4;
        if (memcmp(p, "false", 5) == 0) return p + 5;
    }
    return skip_number(p, end);
}

/* An object of plain values without blanks; its quotes, colons and commas where they belong. */
static __attribute__((noinline)) const uint8_t *skip_object(const uint8_t *start, const uint8_t *p, const uint8_t *end) {
    if (end - p >= 2 && p[1] == '}') return p + 2;
    do {
        p = skip_string(start, p + 1, end);
        if (!p || p == end || *p != ':') return NULL;
        p = skip_scalar(start, p + 1, end);
        if (!p || p == end) return NULL;
    } while (*p == ',');
    return *p == '}' ? p + 1 : NULL;
}

static inline const uint8_t *quick_skip(const step_t *s, const uint8_t *start, const uint8_t *p, const uint8_t *end) {
    if (p < end && *p == '{') return s->depth < JSON_DEPTH_MAX ? skip_object(start, p, end) : NULL;
    return skip_scalar(start, p, end);
}

/* ------------------------------------------------------------------ running a template */
static bool general(json_in_t *in, const step_t *s, const uint8_t *p, uint32_t i, const uint8_t **ret) {
    in->p = p;
    in->depth = s->depth;
    in->col = NULL;
    bool ok = s->col ? json_value(in, s->col, i) : json_skip_value(in);
    *ret = in->p;
    return ok;
}

static bool quick_value(json_in_t *in, const step_t *s, const uint8_t **pp, uint32_t i) {
    const uint8_t *p = *pp, *end = in->end, *next;
    rcol_t *c = s->col;
    int64_t v;
    switch (s->kind) {
    case STEP_I32:
        next = quick_i64(p, end, false, &v);
        if (!next || v != (int32_t)v) return false;
        c->nulls[i] = 0;
        c->i32[i] = (int32_t)v;
        break;
    case STEP_I64:
        next = quick_i64(p, end, false, &v);
        if (!next) return false;
        c->nulls[i] = 0;
        c->i64[i] = v;
        break;
    case STEP_F64:
        next = quick_f64(p, end, false, &c->f64[i]);
        if (!next) return false;
        c->nulls[i] = 0;
        break;
    case STEP_STR:
        next = quick_text(in->rows, c, i, in->start, p, end);
        if (!next) return false;
        break;
    case STEP_TIMESTAMP:
        next = quick_timestamp(in->j, c, p, end, &v);
        if (!next) return false;
        c->nulls[i] = 0;
        c->i64[i] = v;
        break;
    case STEP_BOOL:
        if (end - p >= 5 && memcmp(p, "true", 4) == 0) next = p + 4;
        else if (end - p >= 6 && memcmp(p, "false", 5) == 0) next = p + 5;
        else return false;
        c->nulls[i] = 0;
        c->b[i] = *p == 't';
        break;
    case STEP_SKIP:
        next = quick_skip(s, in->start, p, end);
        if (!next) return false;
        break;
    default: return false;
    }
    *pp = next;
    return true;
}

static bool same_step(const step_t *a, const step_t *b) {
    return a->col == b->col && a->kind == b->kind && a->lit_len == b->lit_len && memcmp(a->lit, b->lit, a->lit_len) == 0;
}

/* A template that nobody tried, is the same as t up to step n and goes on with what is at p. */
static int sibling(const json_decoder_t *j, const json_template_t *t, int n, unsigned tried, const uint8_t *p, const uint8_t *end) {
    for (int k = 0; k < JSON_TEMPLATES && j->templates[k]; k++) {
        const json_template_t *o = j->templates[k];
        if ((tried >> k & 1) || o->nsteps <= n || !literal_at(&o->steps[n], p, end)) continue;
        int same = 0;
        while (same < n && same_step(&t->steps[same], &o->steps[same])) same++;
        if (same == n) return k;
    }
    return -1;
}

/* Runs template k, or its siblings; what was tried is added to *tried. Returns the template that took the record, or -1. */
static int run(json_in_t *in, int k, uint32_t i, unsigned *tried) {
    const json_decoder_t *j = in->j;
    const json_template_t *t = j->templates[k];
    const uint8_t *p = in->start, *end = in->end;
    *tried |= 1u << k;
    for (int n = 0;; n++) {
        const step_t *s = &t->steps[n];
        if (UNLIKELY(!literal_at(s, p, end))) {
            k = sibling(j, t, n, *tried, p, end);
            if (k < 0) return -1;
            *tried |= 1u << k;
            t = j->templates[k];
            s = &t->steps[n];
        }
        p += s->lit_len;
        if (s->kind == STEP_END) break;
        if (UNLIKELY(!quick_value(in, s, &p, i)) && !general(in, s, p, i, &p)) return -1;
    }
    if (p != end || in->skipped) return -1;
    for (int c = 0; c < t->npresent; c++) t->present[c]->nulls[i] = 0;
    for (int c = 0; c < t->nmissing; c++) rcol_null(t->missing[c], i);
    return k;
}

static void note_hit(json_decoder_t *j, int k) {
    json_template_t *t = j->templates[k];
    j->hits++;
    if (UNLIKELY(++t->hits >= HITS_MAX))
        for (int n = 0; n < JSON_TEMPLATES && j->templates[n]; n++) j->templates[n]->hits /= 2;
    if (k == 0 || t->hits <= j->templates[k - 1]->hits) return;
    j->templates[k] = j->templates[k - 1];
    j->templates[k - 1] = t;
}

bool json_template_row(json_in_t *in) {
    json_decoder_t *j = in->j;
    if (UNLIKELY(!j->templates[0])) return false;
    uint32_t i = rowstore_begin(in->rows);
    unsigned tried = 0;
    for (int k = 0; k < JSON_TEMPLATES && j->templates[k]; k++) {
        if (tried >> k & 1) continue;
        int took = run(in, k, i, &tried);
        if (LIKELY(took >= 0)) {
            rowstore_end(in->rows);
            note_hit(j, took);
            return true;
        }
        in->skipped = 0;
        rowstore_rollback(in->rows, i);
    }
    in->col = NULL;
    in->depth = 0;
    return false;
}

/* ------------------------------------------------------------------ learning */
static step_kind_t kind_of(const rcol_t *c) {
    switch (c->type->kind) {
    case TYPE_BOOLEAN: return STEP_BOOL;
    case TYPE_INT: return STEP_I32;
    case TYPE_BIGINT: return STEP_I64;
    case TYPE_DOUBLE: return STEP_F64;
    case TYPE_CHAR:
    case TYPE_VARCHAR: return STEP_STR;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: return STEP_TIMESTAMP;
    default: return STEP_GENERAL;
    }
}

typedef struct learn {
    json_in_t in;
    json_template_t *t;
    const uint8_t *lit; /* start of the current literal run */
    int depth;
} learn_t;

static bool add_step(learn_t *l, step_kind_t kind, rcol_t *c, const uint8_t *lit_end) {
    json_template_t *t = l->t;
    if (t->nsteps == TEMPLATE_STEPS_MAX) return false;
    if (t->nsteps == t->cap_steps) {
        t->cap_steps = t->cap_steps ? t->cap_steps * 2 : 16;
        t->steps = xrealloc(t->steps, sizeof *t->steps * (size_t)t->cap_steps);
    }
    t->steps[t->nsteps++] = (step_t){l->lit, (uint32_t)(lit_end - l->lit), (uint8_t)kind, (uint8_t)l->depth, c};
    return true;
}
static void add_col(rcol_t ***list, int *n, rcol_t *c) {
    *list = xrealloc(*list, sizeof **list * (size_t)(*n + 1));
    (*list)[(*n)++] = c;
}

/* The text was accepted, so only its structure matters here. A key that comes twice makes no template: its first value may
 * be of a kind that only the general parser forgives. */
static bool learn_object(learn_t *l, rcol_t *row) {
    json_in_t *in = &l->in;
    uint64_t generation = ++in->rows->generation;
    int hint = 0;
    in->p++;
    l->depth++;
    json_ws(in);
    while (*in->p != '}') {
        slice_t key;
        if (!json_text(in, &key)) return false;
        rcol_t *c = json_field(row, &hint, key);
        if (c && c->seen == generation) return false;
        if (c) c->seen = generation;
        json_ws(in);
        in->p++; /* ':' */
        json_ws(in);
        if (c && c->type->kind == TYPE_ROW && *in->p == '{') {
            add_col(&l->t->present, &l->t->npresent, c);
            if (!learn_object(l, c)) return false;
        } else if (c && c->type->kind == TYPE_ROW && *in->p == 'n') {
            add_col(&l->t->missing, &l->t->nmissing, c);
            in->p += 4;
        } else {
            if (!add_step(l, c ? kind_of(c) : STEP_SKIP, c, in->p)) return false;
            if (!json_skip_value(in)) return false;
            l->lit = in->p;
        }
        json_ws(in);
        if (*in->p == ',') {
            in->p++;
            json_ws(in);
        }
    }
    in->p++;
    l->depth--;
    for (int k = 0; k < row->nchild; k++)
        if (row->child[k].seen != generation) add_col(&l->t->missing, &l->t->nmissing, &row->child[k]);
    return true;
}

static void template_free(json_template_t *t) {
    if (!t) return;
    free(t->text);
    free(t->steps);
    free(t->missing);
    free(t->present);
    free(t);
}

void json_template_learn(json_in_t *in, slice_t msg) {
    json_decoder_t *j = in->j;
    bool full = j->templates[JSON_TEMPLATES - 1] != NULL;
    if (++j->misses % LEARN_EVERY != 0 && full) return;
    if (msg.len > 64 * 1024) return;
    json_template_t *t = xcalloc(1, sizeof *t);
    t->text = xmalloc(msg.len);
    memcpy(t->text, msg.p, msg.len);
    learn_t l = {.t = t, .lit = t->text};
    l.in = (json_in_t){.j = j, .rows = in->rows, .start = t->text, .p = t->text, .end = t->text + msg.len};
    json_ws(&l.in);
    bool ok = *l.in.p == '{' && learn_object(&l, &in->rows->root) && add_step(&l, STEP_END, NULL, l.in.end);
    if (!ok) {
        template_free(t);
        return;
    }
    int at = JSON_TEMPLATES - 1;
    while (at > 0 && !j->templates[at - 1]) at--;
    template_free(j->templates[at]);
    j->templates[at] = t;
    for (int k = 0; full && k < at; k++) j->templates[k]->hits /= 2;
}

void json_templates_free(json_decoder_t *j) {
    for (int k = 0; k < JSON_TEMPLATES; k++) template_free(j->templates[k]);
}
