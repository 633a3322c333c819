/* kernel_regex.c: LIKE, SIMILAR TO and the REGEXP functions.
 *
 * Patterns are Java's, run by PCRE2: what the two read differently is refused instead of being guessed. A compiled
 * pattern is kept in the call's state and reused as long as the pattern text stays the same. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/func_int.h"
#include "engine/rules.h"
#include "engine/text.h"
#include <pcre2.h>
#include <stdlib.h>

#define MATCH_LIMIT 1000000u
#define EACH(c, i)                                                                                 \
    for (uint32_t i = 0; i < (c)->n; i++)                                                          \
        if (!row_null((c), i))

typedef struct regex {
    char *pattern;
    uint32_t len;
    bool valid; /* false: malformed; Flink gives NULL then */
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
} regex_t;

void regex_free(void *state) {
    regex_t *r = state;
    if (!r) return;
    free(r->pattern);
    pcre2_code_free(r->code);
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    free(r);
}

/* Is it {L}, {Lu} and so on, or L: a general category of Unicode, which both know? */
static bool category(str_t p, uint32_t at) {
    static const char *const names[] = {"L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps",
                                        "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp"};
    bool braced = at < p.len && p.p[at] == '{';
    uint32_t from = at + braced, to = braced ? from : MIN(at + 1, p.len);
    while (braced && to < p.len && p.p[to] != '}') to++;
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
        if (strlen(names[k]) == to - from && memcmp(names[k], p.p + from, to - from) == 0) return true;
    return false;
}

/* NULL, or what PCRE2 and Java understand differently. */
static const char *differs(str_t p) {
    bool in_class = false;
    for (uint32_t i = 0; i < p.len; i++) {
        char ch = p.p[i], next = i + 1 < p.len ? p.p[i + 1] : 0, third = i + 2 < p.len ? p.p[i + 2] : 0;
        if (ch == '\\') {
            if (next == 'Q' || next == 'E') return "\\Q..\\E";
            if ((next == 'p' || next == 'P') && !category(p, i + 2)) return "\\p{..}";
            if (next && strchr("KgCNXoRZGuhHvV", next)) return "this escape";
            i++;
        } else if (in_class) {
            if (ch == '[') return "a class inside a class";
            if (ch == '&' && next == '&') return "class intersection";
            if (ch == ']') in_class = false;
        } else if (ch == '[') {
            in_class = true;
            if (next == ']' || (next == '^' && third == ']')) return "a class beginning with ]";
            if (next == '^') i++;
        } else if (ch == '(' && next == '*') {
            return "a (*VERB)";
        } else if (ch == '(' && next == '?' && third && !strchr(":=!<>imsx-", third)) {
            return "this (? group";
        }
    }
    return NULL;
}

static regex_t *regex_new(str_t pattern, uint32_t options) {
    regex_t *r = xcalloc(1, sizeof *r);
    r->pattern = xstrndup(pattern.p ? pattern.p : "", pattern.len);
    r->len = pattern.len;
    pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
    pcre2_set_newline(cc, PCRE2_NEWLINE_ANYCRLF);
    int code;
    PCRE2_SIZE at;
    r->code = pcre2_compile((PCRE2_SPTR)r->pattern, r->len, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | options,
                            &code, &at, cc);
    pcre2_compile_context_free(cc);
    r->valid = r->code != NULL;
    if (r->valid) {
        pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
        r->data = pcre2_match_data_create_from_pattern(r->code, NULL);
        r->context = pcre2_match_context_create(NULL);
        pcre2_set_match_limit(r->context, MATCH_LIMIT);
    }
    return r;
}

static err_t *regex_compile(str_t pattern, const char *func, uint32_t options, regex_t **ret) {
    const char *why = differs(pattern);
    if (why)
        return err_hint(err_new(ERR_UNSUPPORTED, "%s: pattern '%.*s': %s is read differently by Java and PCRE2", func,
                                (int)MIN(pattern.len, 100u), pattern.p ? pattern.p : "", why),
                        "write the pattern without it");
    *ret = regex_new(pattern, options);
    return NULL;
}

/* The call's pattern, compiled when it is new. */
static err_t *regex_of(call_t *c, str_t pattern, regex_t **ret) {
    regex_t *r = *c->state;
    if (!r || r->len != pattern.len || (pattern.len && memcmp(r->pattern, pattern.p, pattern.len) != 0)) {
        regex_t *fresh = NULL;
        TRY(regex_compile(pattern, func_name(c->expr->func), 0, &fresh));
        regex_free(r);
        *c->state = r = fresh;
    }
    *ret = r;
    return NULL;
}

/* *ret_groups: 0 no match, else groups + 1 */
static err_t *regex_match(call_t *c, regex_t *r, str_t s, uint32_t from, uint32_t options, int *ret_groups) {
    int n = pcre2_match(r->code, (PCRE2_SPTR)(s.p ? s.p : ""), s.len, from, options, r->data, r->context);
    if (n == PCRE2_ERROR_NOMATCH) n = 0;
    if (n < 0)
        return call_error(c, ERR_LIMIT, n == PCRE2_ERROR_MATCHLIMIT ? "the pattern needs too many steps on" : "cannot match", s);
    *ret_groups = n;
    return NULL;
}

err_t *kernel_regexp(call_t *c) {
    EACH(c, i) {
        regex_t *r;
        int n = 0;
        TRY(regex_of(c, arg_str(c, 1, i), &r));
        if (r->valid) TRY(regex_match(c, r, arg_str(c, 0, i), 0, 0, &n)); /* a malformed one matches nothing */
        c->out->b[i] = n > 0 && arg_str(c, 1, i).len; /* Flink: an empty pattern matches nothing */
    }
    return NULL;
}

err_t *kernel_regexp_extract(call_t *c) {
    EACH(c, i) {
        regex_t *r;
        int n = 0;
        str_t s = arg_str(c, 0, i);
        int32_t group = c->nargs > 2 ? arg_i32(c, 2, i) : 0;
        TRY(regex_of(c, arg_str(c, 1, i), &r));
        if (r->valid) TRY(regex_match(c, r, s, 0, 0, &n));
        const PCRE2_SIZE *v = n ? pcre2_get_ovector_pointer(r->data) : NULL;
        if (n <= group || group < 0 || v[2 * group] == PCRE2_UNSET) out_null(c, i);
        else out_str(c, i, s.p + v[2 * group], v[2 * group + 1] - v[2 * group]);
    }
    return NULL;
}

/* Every match in turn; an empty match moves on by one character. */
static err_t *next_match(call_t *c, regex_t *r, str_t s, uint32_t *from, size_t *ret_start, size_t *ret_end, bool *ret_found) {
    int n = 0;
    *ret_found = false;
    if (*from > s.len) return NULL;
    TRY(regex_match(c, r, s, *from, 0, &n));
    if (!n) return NULL;
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(r->data);
    *ret_start = v[0];
    *ret_end = v[1];
    *from = (uint32_t)v[1];
    if (v[0] == v[1]) *from += v[1] < s.len ? utf8_len(s.p + v[1], s.len - (uint32_t)v[1]) : 1;
    *ret_found = true;
    return NULL;
}

static err_t *extract_all_row(call_t *c, uint32_t i, colbuilder_t *b) {
    regex_t *r;
    uint32_t groups = 0, from = 0;
    size_t start, end;
    str_t s = arg_str(c, 0, i);
    int32_t group = c->nargs > 2 ? arg_i32(c, 2, i) : 1;
    TRY(regex_of(c, arg_str(c, 1, i), &r));
    if (r->valid) pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (!r->valid || group < 0 || group > (int64_t)groups) {
        colbuilder_null(b);
        return NULL;
    }
    colbuilder_begin(b);
    for (bool found = true; found;) {
        TRY(next_match(c, r, s, &from, &start, &end, &found));
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(r->data) + 2 * group;
        if (found && v[0] == PCRE2_UNSET) colbuilder_null(colbuilder_child(b, 0));
        else if (found) colbuilder_str(colbuilder_child(b, 0), s.p + v[0], v[1] - v[0]);
    }
    colbuilder_end(b);
    return NULL;
}

err_t *kernel_regexp_extract_all(call_t *c) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++) {
        bool null = false;
        for (int k = 0; k < c->nargs; k++) null |= arg_null(c, k, i);
        if (null) colbuilder_null(b);
        else e = extract_all_row(c, i, b);
    }
    if (!e) colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return e;
}

/* IS_DIGIT, IS_ALPHA: every character of the class, at least one; of numbers the answer is known. */
static err_t *all_of(call_t *c, const char *pattern, bool of_number) {
    regex_t *r = *c->state;
    if (!r) *c->state = r = regex_new((str_t){.p = pattern, .len = (uint32_t)strlen(pattern)}, 0);
    bool number = type_is_numeric(arg_type(c, 0));
    for (uint32_t i = 0; i < c->n; i++) {
        int n = 0;
        if (!number && !arg_null(c, 0, i)) TRY(regex_match(c, r, arg_str(c, 0, i), 0, 0, &n));
        c->out->b[i] = number ? of_number : n > 0;
    }
    return NULL;
}
err_t *kernel_is_digit(call_t *c) { return all_of(c, "\\A\\p{Nd}+\\z", true); }
err_t *kernel_is_alpha(call_t *c) { return all_of(c, "\\A\\p{L}+\\z", false); }

static err_t *replace_row(call_t *c, uint32_t i, buf_t *out) {
    regex_t *r;
    str_t s = arg_str(c, 0, i), with = arg_str(c, 2, i);
    TRY(regex_of(c, arg_str(c, 1, i), &r));
    if (!r->valid) {
        out_null(c, i);
        return NULL;
    }
    buf_clear(out);
    uint32_t from = 0;
    size_t copied = 0, start, end;
    bool found, any = false;
    for (;;) {
        TRY(next_match(c, r, s, &from, &start, &end, &found));
        if (!found) break;
        any = true;
        buf_put(out, s.p + copied, start - copied);
        buf_put(out, with.p, with.len); /* literally: no $1 */
        copied = end;
    }
    if (!any) {
        c->out->str[i] = s;
        return NULL;
    }
    buf_put(out, s.p + copied, s.len - copied);
    if (out->overflow) return call_error(c, ERR_LIMIT, "the result is too long for", s);
    out_copy(c, i, out->data, out->len);
    return NULL;
}

err_t *kernel_regexp_replace(call_t *c) {
    buf_t out = buf_make(64u << 20);
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++)
        if (!row_null(c, i)) e = replace_row(c, i, &out);
    buf_free(&out);
    return e;
}

err_t *kernel_regexp_count(call_t *c) {
    EACH(c, i) {
        regex_t *r;
        TRY(regex_of(c, arg_str(c, 1, i), &r));
        uint32_t from = 0;
        size_t a, b;
        bool found = r->valid;
        if (!found) out_null(c, i);
        while (found) {
            TRY(next_match(c, r, arg_str(c, 0, i), &from, &a, &b, &found));
            c->out->i32[i] += found;
        }
    }
    return NULL;
}

err_t *kernel_regexp_instr(call_t *c) {
    EACH(c, i) {
        regex_t *r;
        TRY(regex_of(c, arg_str(c, 1, i), &r));
        uint32_t from = 0;
        size_t a = 0, b;
        bool found = false;
        str_t s = arg_str(c, 0, i);
        if (!r->valid) out_null(c, i);
        else TRY(next_match(c, r, s, &from, &a, &b, &found));
        if (found) c->out->i32[i] = (int32_t)text_length((str_t){.p = s.p, .len = (uint32_t)a}) + 1;
    }
    return NULL;
}

/* ---- SIMILAR TO */
/* [:ALPHA:] and its like, which are Java's \p{Alpha}: ASCII. Returns how many bytes of the pattern it took, 0: none is there. */
static uint32_t posix_class(str_t p, uint32_t at, buf_t *out) {
    static const struct {
        const char *name, *chars;
    } classes[] = {{"[:ALPHA:]", "A-Za-z"}, {"[:alpha:]", "A-Za-z"}, {"[:UPPER:]", "A-Z"}, {"[:upper:]", "A-Z"}, {"[:LOWER:]", "a-z"},
                   {"[:lower:]", "a-z"}, {"[:DIGIT:]", "0-9"}, {"[:digit:]", "0-9"}, {"[:SPACE:]", " "}, {"[:space:]", " "},
                   {"[:WHITESPACE:]", "\\s"}, {"[:whitespace:]", "\\s"}, {"[:ALNUM:]", "A-Za-z0-9"}, {"[:alnum:]", "A-Za-z0-9"}};
    for (size_t k = 0; k < ARRAY_LEN(classes); k++) {
        size_t n = strlen(classes[k].name);
        if (p.len - at < n || memcmp(p.p + at, classes[k].name, n) != 0) continue;
        buf_puts(out, classes[k].chars);
        return (uint32_t)n;
    }
    return 0;
}

static err_t *similar_pattern(call_t *c, str_t p, str_t escape, buf_t *out) {
    buf_clear(out);
    buf_puts(out, "\\A(?:");
    bool in_class = false;
    for (uint32_t i = 0; i < p.len; i++) {
        char ch = p.p[i];
        if (escape.len && ch == escape.p[0]) {
            char next = i + 1 < p.len ? p.p[i + 1] : 0;
            if (!next || (!strchr("_%|*+?{}()[]^-.", next) && next != escape.p[0]))
                return call_error(c, ERR_DATA, "malformed escape in the pattern", p);
            if (strchr("|*+?{}()[]^-.\\$", next)) buf_put_u8(out, '\\');
            buf_put_u8(out, (uint8_t)next);
            i++;
        } else if (in_class) {
            uint32_t n = posix_class(p, i, out);
            if (n) {
                i += n - 1;
                continue;
            }
            if (ch == ']') in_class = false;
            buf_put_u8(out, (uint8_t)ch);
        } else if (ch == '_') {
            buf_put_u8(out, '.');
        } else if (ch == '%') {
            buf_puts(out, "(?s:.*)");
        } else if (ch == '\\' || ch == '$') {
            buf_put_u8(out, '\\');
            buf_put_u8(out, (uint8_t)ch);
        } else {
            if (ch == '[') in_class = true;
            buf_put_u8(out, (uint8_t)ch);
        }
    }
    buf_puts(out, ")\\z");
    return NULL;
}

static err_t *similar_row(call_t *c, uint32_t i, buf_t *p) {
    regex_t *r;
    int n = 0;
    TRY(similar_pattern(c, arg_str(c, 1, i), c->nargs > 2 ? arg_str(c, 2, i) : (str_t){0}, p));
    TRY(regex_of(c, (str_t){.p = (char *)p->data, .len = (uint32_t)p->len}, &r));
    if (!r->valid) return call_error(c, ERR_DATA, "malformed pattern", arg_str(c, 1, i));
    TRY(regex_match(c, r, arg_str(c, 0, i), 0, 0, &n));
    c->out->b[i] = n > 0;
    return NULL;
}

err_t *kernel_similar(call_t *c) {
    buf_t p = buf_make(1 << 20);
    err_t *e = NULL;
    for (uint32_t i = 0; i < c->n && !e; i++)
        if (!row_null(c, i)) e = similar_row(c, i, &p);
    buf_free(&p);
    return e;
}

/* ---- LIKE */
typedef struct like {
    char *source, *text; /* text: the pattern, escapes resolved */
    uint8_t *kind;       /* per byte of text: 0 literal, '_' or '%' */
    uint32_t source_len, n;
    char escape;
    uint32_t lead, trail; /* literal bytes before the first and behind the last wildcard */
    bool simple;          /* only '%' at the ends */
} like_t;

void like_free(void *state) {
    like_t *l = state;
    if (!l) return;
    free(l->source);
    free(l->text);
    free(l->kind);
    free(l);
}

static err_t *like_of(call_t *c, str_t p, char escape, like_t **ret) {
    like_t *l = *c->state;
    if (l && l->source_len == p.len && l->escape == escape && (p.len == 0 || memcmp(l->source, p.p, p.len) == 0)) {
        *ret = l;
        return NULL;
    }
    like_free(l);
    *c->state = l = xcalloc(1, sizeof *l);
    l->source = xstrndup(p.p ? p.p : "", p.len);
    l->source_len = p.len;
    l->escape = escape;
    l->text = xmalloc(p.len + 1u);
    l->kind = xcalloc(p.len + 1u, 1);
    uint32_t wild = 0, inner = 0;
    for (uint32_t i = 0; i < p.len; i++) {
        char ch = p.p[i];
        if (escape && ch == escape) {
            char next = i + 1 < p.len ? p.p[i + 1] : 0;
            if (next != '_' && next != '%' && next != escape) {
                l->source_len = UINT32_MAX; /* not to be reused */
                return call_error(c, ERR_DATA, "malformed escape in the pattern", p);
            }
            ch = p.p[++i];
        } else if (ch == '%' || ch == '_') {
            l->kind[l->n] = (uint8_t)ch;
            wild++;
            if (ch == '_' || (l->n != 0 && i + 1 != p.len)) inner++;
        }
        l->text[l->n++] = ch;
    }
    l->simple = inner == 0;
    while (l->lead < l->n && !l->kind[l->lead]) l->lead++;
    while (wild && l->trail < l->n && !l->kind[l->n - 1 - l->trail]) l->trail++;
    *ret = l;
    return NULL;
}

static bool like_general(const like_t *l, str_t s) {
    uint32_t i = 0, k = 0, star = UINT32_MAX, resume = 0;
    while (i < s.len) {
        if (k < l->n && l->kind[k] == '%') {
            star = k++;
            resume = i;
        } else if (k < l->n && l->kind[k] == '_' && s.p[i] != '\n' && s.p[i] != '\r') {
            i += utf8_len(s.p + i, s.len - i);
            k++;
        } else if (k < l->n && !l->kind[k] && l->text[k] == s.p[i]) {
            i++;
            k++;
        } else if (star != UINT32_MAX) {
            resume += utf8_len(s.p + resume, s.len - resume);
            i = resume;
            k = star + 1;
        } else {
            return false;
        }
    }
    while (k < l->n && l->kind[k] == '%') k++;
    return k == l->n;
}

static bool like_match(const like_t *l, str_t s) {
    if (s.len < l->lead || (l->lead && memcmp(s.p, l->text, l->lead) != 0)) return false;
    if (l->lead == l->n) return s.len == l->n;
    if (s.len < l->trail || (l->trail && memcmp(s.p + s.len - l->trail, l->text + l->n - l->trail, l->trail) != 0))
        return false;
    if (!l->simple) return like_general(l, s);
    /* 'a%', '%b', '%': decided above; '%c%' is a search */
    bool front = l->kind[0] == '%', back = l->kind[l->n - 1] == '%';
    if (front && back && l->n > 2) return text_find(s, (str_t){.p = l->text + 1, .len = l->n - 2}, 0) >= 0;
    return true;
}

err_t *kernel_like(call_t *c) {
    EACH(c, i) {
        char escape = 0;
        if (c->nargs > 2) {
            str_t e = arg_str(c, 2, i);
            if (e.len > 1) return call_error(c, ERR_DATA, "the escape must be one ASCII character, not", e);
            if (e.len) escape = e.p[0];
        }
        like_t *l = NULL;
        TRY(like_of(c, arg_str(c, 1, i), escape, &l));
        c->out->b[i] = like_match(l, arg_str(c, 0, i));
    }
    return NULL;
}
