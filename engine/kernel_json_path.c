/* kernel_json_path.c: see kernel_json_path.h. */
#include "engine/kernel_json_path.h"
#include "engine/number.h"
#include "engine/rules.h"
#include <stdlib.h>
#include <strings.h>

static void path_clear(json_state_t *s) {
    free(s->text);
    s->text = NULL;
    s->n = 0;
    arena_reset(s->path);
}

void json_state_free(void *state) {
    json_state_t *s = state;
    if (!s) return;
    path_clear(s);
    arena_free(s->path);
    arena_free(s->arena);
    free(s);
}

err_t *json_path_error(const call_t *c, str_t path, err_code_t code) {
    return err_hint(call_error(c, code, code == ERR_UNSUPPORTED ? "not supported in the path" : "malformed path", path),
                    "use $, .name, ['name'], [n], [from:to], [*], [?(@.name > 1)], .. and length(), with lax or strict before");
}

static bool name_char(char ch) { return !strchr(".[]'\"() ?@*,:", ch) && (unsigned char)ch > ' '; }

const char *json_blanks(const char *p, const char *end) {
    while (p < end && *p == ' ') p++;
    return p;
}

static void step_name(json_state_t *s, step_t *st, const char *from, const char *to) {
    const char **more = ARENA_ARRAY(s->path, const char *, st->n + 1);
    if (st->n) memcpy(more, st->names, sizeof *more * (size_t)st->n);
    more[st->n++] = arena_strndup(s->path, from, (size_t)(to - from));
    st->names = more;
}

/* digits, or `absent` where there are none; false: not a number */
static bool path_number(const char **p, const char *end, int64_t absent, int64_t *ret) {
    const char *from = *p;
    while (*p < end && (**p == '-' || (**p >= '0' && **p <= '9'))) (*p)++;
    *ret = absent;
    return *p == from || i64_parse(from, (size_t)(*p - from), ret);
}

static void step_index(json_state_t *s, step_t *st, int64_t v) {
    int64_t *more = ARENA_ARRAY(s->path, int64_t, st->n + 1);
    if (st->n) memcpy(more, st->index, sizeof *more * (size_t)st->n);
    more[st->n++] = v;
    st->index = more;
}

/* What stands between [ and ]; NULL: malformed or not supported. */
static const char *step_bracket(json_state_t *s, step_t *st, const char *p, const char *end) {
    p = json_blanks(p, end);
    if (p < end && *p == '*') {
        st->kind = STEP_ALL;
        return json_blanks(p + 1, end);
    }
    st->kind = p < end && (*p == '\'' || *p == '"') ? STEP_NAMES : STEP_INDEXES;
    for (;; p = json_blanks(p + 1, end)) {
        if (st->kind == STEP_NAMES) {
            if (p == end || (*p != '\'' && *p != '"')) return NULL;
            const char *stop = memchr(p + 1, *p, (size_t)(end - p - 1));
            if (!stop) return NULL;
            step_name(s, st, p + 1, stop);
            p = stop + 1;
        } else {
            const char *from = p;
            int64_t v;
            if (!path_number(&p, end, 0, &v)) return NULL;
            bool slice = st->n == 0 && p < end && *p == ':';
            if (p == from && !slice) return NULL;
            step_index(s, st, v);
            if (slice) {
                p++;
                if (!path_number(&p, end, INT64_MAX, &v)) return NULL;
                step_index(s, st, v);
                st->kind = STEP_SLICE;
                return json_blanks(p, end);
            }
        }
        p = json_blanks(p, end);
        if (p == end || *p != ',') return p;
    }
}

static err_t *path_step(const call_t *c, json_state_t *s, str_t whole, const char **at, const char *end) {
    step_t *st = &s->steps[s->n];
    const char *p = *at;
    *st = (step_t){0};
    st->deep = end - p > 2 && p[0] == '.' && p[1] == '.';
    if (st->deep) p++;
    if (*p == '[' || (st->deep && p[1] == '[')) {
        p = json_blanks(p + (*p == '[' ? 1 : 2), end);
        if (p < end && *p == '?') TRY(json_filter(c, s, st, whole, &p, end));
        else p = step_bracket(s, st, p, end);
        if (!p || p == end || *p++ != ']') return json_path_error(c, whole, ERR_UNSUPPORTED);
    } else if (*p == '.') {
        const char *from = ++p;
        if (p < end && *p == '*') {
            st->kind = STEP_ALL;
            p++;
        } else {
            while (p < end && name_char(*p) && !(s->top && strchr("=<>!~&|", *p))) p++;
            if (p == from) return json_path_error(c, whole, p < end && *p == '.' ? ERR_UNSUPPORTED : ERR_DATA);
            step_name(s, st, from, p);
            if (end - p >= 2 && p[0] == '(' && p[1] == ')') { /* the only function: length() */
                if (strcmp(st->names[0], "length") != 0 || st->deep) return json_path_error(c, whole, ERR_UNSUPPORTED);
                st->kind = STEP_LENGTH;
                p += 2;
            }
        }
    } else {
        return json_path_error(c, whole, ERR_DATA);
    }
    *at = p;
    return NULL;
}

/* The steps behind $ or @; those of a filter's path end where no other follows. */
err_t *json_path_steps(const call_t *c, json_state_t *s, str_t whole, const char **at, const char *end) {
    const char *p = *at;
    while (p < end && (!s->top || *p == '.' || *p == '[')) {
        bool more = s->n < STEPS_MAX && (s->n == 0 || s->steps[s->n - 1].kind != STEP_LENGTH);
        if (!more) return json_path_error(c, whole, ERR_UNSUPPORTED);
        TRY(path_step(c, s, whole, &p, end));
        const step_t *st = &s->steps[s->n];
        bool last = p == end || (s->top && *p != '.' && *p != '[');
        /* several names at the end give one object */
        bool one = !st->deep && (st->kind == STEP_LENGTH || (st->n == 1 && st->kind < STEP_ALL) || (st->kind == STEP_NAMES && last));
        if (one && !s->many) s->definite = s->n + 1;
        s->many |= !one;
        s->n++;
    }
    *at = p;
    return NULL;
}

json_state_t *json_state_of(call_t *c) {
    json_state_t *s = *c->state;
    if (!s) {
        s = *c->state = xcalloc(1, sizeof *s);
        s->arena = arena_new();
        s->path = arena_new();
    }
    return s;
}

err_t *json_path_of(call_t *c, str_t path, json_state_t **ret) {
    json_state_t *s = *ret = json_state_of(c);
    if (s->text && s->len == path.len && (path.len == 0 || memcmp(s->text, path.p, path.len) == 0)) return NULL;
    path_clear(s);
    s->lax = s->many = false;
    s->definite = 0;
    const char *p = path.p, *end = path.p + path.len;
    while (p < end && *p == ' ') p++;
    if (end - p > 4 && strncasecmp(p, "lax ", 4) == 0) {
        s->lax = true;
        p += 4;
    } else if (end - p > 7 && strncasecmp(p, "strict ", 7) == 0) {
        p += 7;
    }
    while (p < end && *p == ' ') p++;
    while (p < end && end[-1] == ' ') end--;
    err_t *e = p == end || *p++ != '$' ? json_path_error(c, path, ERR_DATA) : json_path_steps(c, s, path, &p, end);
    if (e) {
        path_clear(s);
        return e;
    }
    s->text = xstrndup(path.p ? path.p : "", path.len);
    s->len = path.len;
    return NULL;
}

/* ---- evaluation */
bool json_parse_doc(json_state_t *s, str_t doc, json_t **ret) {
    arena_reset(s->arena);
    err_t *e = json_parse_first(s->arena, slice_of(doc.p, doc.len), ret);
    bool ok = e == NULL;
    err_free(e);
    return ok;
}

json_t *json_list_new(arena_t *a) {
    json_t *l = ARENA_NEW(a, json_t);
    l->kind = JSON_ARRAY;
    return l;
}
void json_list_add(arena_t *a, json_t *l, json_t *v) {
    if ((l->n & (l->n - 1)) == 0) {
        json_t **more = ARENA_ARRAY(a, json_t *, l->n ? l->n * 2 : 4);
        if (l->n) memcpy(more, l->items, sizeof *more * (size_t)l->n);
        l->items = more;
    }
    l->items[l->n++] = v;
}

static bool walk_names(json_state_t *s, int at, json_t *v, json_t *out) {
    const step_t *st = &s->steps[at];
    bool last = at + 1 == s->n, ok = true;
    if (v->kind != JSON_OBJECT) return false;
    if (st->n > 1 && last) { /* an object of them */
        json_t *o = ARENA_NEW(s->arena, json_t);
        o->kind = JSON_OBJECT;
        o->items = ARENA_ARRAY(s->arena, json_t *, st->n);
        o->names = ARENA_ARRAY(s->arena, const char *, st->n);
        for (int k = 0; k < st->n; k++) {
            const json_t *m = json_get(v, st->names[k]);
            if (!m) continue;
            o->names[o->n] = st->names[k];
            o->items[o->n++] = (json_t *)(uintptr_t)m;
        }
        json_list_add(s->arena, out, o);
        return true;
    }
    for (int k = 0; k < st->n; k++) {
        const json_t *m = json_get(v, st->names[k]);
        ok &= m ? json_walk(s, at + 1, (json_t *)(uintptr_t)m, out) : last;
    }
    return ok;
}

static bool walk_slice(json_state_t *s, int at, json_t *v, json_t *out) {
    int64_t from = s->steps[at].index[0], to = s->steps[at].index[1];
    if (v->kind != JSON_ARRAY) return false;
    from = from < 0 ? MAX(from + v->n, 0) : from;
    to = to < 0 ? to + v->n : MIN(to, v->n);
    for (int64_t k = from; k < to; k++) json_walk(s, at + 1, v->items[k], out);
    return true;
}

/* Of an array the elements it holds for, an object itself. */
static bool walk_filter(json_state_t *s, int at, json_t *v, json_t *out) {
    const filter_node_t *f = s->steps[at].filter;
    if (v->kind == JSON_OBJECT && json_filter_holds(s, f, v)) json_walk(s, at + 1, v, out);
    for (int i = 0; v->kind == JSON_ARRAY && i < v->n; i++)
        if (json_filter_holds(s, f, v->items[i])) json_walk(s, at + 1, v->items[i], out);
    return v->kind == JSON_OBJECT || v->kind == JSON_ARRAY;
}

static bool walk_step(json_state_t *s, int at, json_t *v, json_t *out) {
    const step_t *st = &s->steps[at];
    bool nested = v->kind == JSON_ARRAY || v->kind == JSON_OBJECT, ok = true;
    switch (st->kind) {
    case STEP_NAMES: return walk_names(s, at, v, out);
    case STEP_SLICE: return walk_slice(s, at, v, out);
    case STEP_FILTER: return walk_filter(s, at, v, out);
    case STEP_ALL:
        for (int i = 0; nested && i < v->n; i++)
            if (v->kind == JSON_ARRAY || json_get(v, v->names[i]) == v->items[i]) json_walk(s, at + 1, v->items[i], out);
        return true;
    case STEP_LENGTH: {
        if (!nested) return false;
        json_t *n = ARENA_NEW(s->arena, json_t);
        n->kind = JSON_NUMBER;
        n->text = arena_printf(s->arena, "%d", v->n);
        n->len = strlen(n->text);
        json_list_add(s->arena, out, n);
        return true;
    }
    default:
        if (v->kind != JSON_ARRAY) return false;
        for (int i = 0; i < st->n; i++) {
            int64_t k = st->index[i] < 0 ? st->index[i] + v->n : st->index[i];
            if (k >= 0 && k < v->n) ok &= json_walk(s, at + 1, v->items[k], out);
        }
        return ok;
    }
}

static void scan(json_state_t *s, int at, json_t *v, json_t *out) {
    if (v->kind != JSON_ARRAY && v->kind != JSON_OBJECT) return;
    if (s->steps[at].kind != STEP_FILTER || v->kind == JSON_OBJECT) walk_step(s, at, v, out); /* elements are tried when they come themselves */
    for (int i = 0; i < v->n; i++) scan(s, at, v->items[i], out);
}

bool json_walk(json_state_t *s, int at, json_t *v, json_t *out) {
    if (at == s->n) {
        json_list_add(s->arena, out, v);
    } else if (s->steps[at].deep) {
        scan(s, at, v, out);
    } else if (!walk_step(s, at, v, out)) {
        return at > s->definite; /* a step that gives a list needs what it is applied to */
    }
    return true;
}

/* BROKEN: an error of the path or the document; MISSING: empty. A JSON null is MISSING too, as in Flink. */
found_t json_lookup(json_state_t *s, str_t doc, json_t **ret) {
    json_t *root;
    if (!json_parse_doc(s, doc, &root)) return BROKEN;
    s->root = root;
    s->document++;
    json_t *list = json_list_new(s->arena);
    bool whole = json_walk(s, 0, root, list);
    if (!whole && !s->lax) return BROKEN;
    if (s->many) {
        *ret = list;
        return FOUND;
    }
    if (list->n == 0) return s->lax ? MISSING : BROKEN;
    *ret = list->items[0];
    return (*ret)->kind == JSON_NULL ? MISSING : FOUND;
}
