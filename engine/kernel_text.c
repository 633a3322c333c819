/* kernel_text.c: texts cut, joined, searched, changed. Positions count characters from 1. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include "engine/text.h"

#define EACH(c, i)                                                                                 \
    for (uint32_t i = 0; i < (c)->n; i++)                                                          \
        if (!row_null((c), i))

err_t *kernel_char_length(call_t *c) {
    EACH(c, i) c->out->i32[i] = (int32_t)text_length(arg_str(c, 0, i));
    return NULL;
}

/* Characters [from, to) of s, shared. */
static str_t chars(str_t s, int64_t from, int64_t to) {
    if (to <= from) return (str_t){.p = s.p};
    if (text_ascii(s)) {
        if (from > s.len) from = s.len;
        if (to > s.len) to = s.len;
        return (str_t){.p = s.p + from, .len = (uint32_t)(to - from)};
    }
    uint32_t a = text_offset(s, from > UINT32_MAX ? UINT32_MAX : (uint32_t)from);
    str_t rest = {.p = s.p + a, .len = s.len - a};
    int64_t n = to - from;
    return (str_t){.p = rest.p, .len = text_offset(rest, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n)};
}

static str_t substring(str_t s, int64_t pos, int64_t len) {
    if (len <= 0 || s.len == 0) return (str_t){.p = s.p};
    int64_t n = text_ascii(s) ? s.len : text_length(s), start;
    if (pos > 0) {
        start = pos - 1;
        if (start >= n) return (str_t){.p = s.p};
    } else if (pos < 0) {
        start = n + pos;
        if (start < 0) return (str_t){.p = s.p};
    } else {
        start = 0;
    }
    return chars(s, start, n - start < len ? n : start + len);
}

err_t *kernel_substring(call_t *c) {
    EACH(c, i) {
        int64_t len = c->nargs == 3 ? arg_i32(c, 2, i) : INT32_MAX;
        c->out->str[i] = substring(arg_str(c, 0, i), arg_i32(c, 1, i), len);
        if (c->nargs == 3 && len < 0) out_null(c, i);
    }
    return NULL;
}

err_t *kernel_left(call_t *c) {
    EACH(c, i) {
        int32_t n = arg_i32(c, 1, i);
        c->out->str[i] = n <= 0 ? (str_t){0} : chars(arg_str(c, 0, i), 0, n);
    }
    return NULL;
}

err_t *kernel_right(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        int64_t n = arg_i32(c, 1, i), len = text_length(s);
        c->out->str[i] = n <= 0 ? (str_t){0} : n >= len ? s : chars(s, len - n, len);
    }
    return NULL;
}

/* ---- case */
err_t *kernel_upper(call_t *c) {
    EACH(c, i) c->out->str[i] = text_case(arg_str(c, 0, i), true, c->m);
    return NULL;
}
err_t *kernel_lower(call_t *c) {
    EACH(c, i) c->out->str[i] = text_case(arg_str(c, 0, i), false, c->m);
    return NULL;
}

/* Only ASCII letters and digits make words, as in Calcite. */
err_t *kernel_initcap(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, s.len);
        bool start = true;
        for (uint32_t k = 0; k < s.len; k++) {
            char ch = s.p[k];
            bool lower = ch >= 'a' && ch <= 'z', upper = ch >= 'A' && ch <= 'Z', digit = ch >= '0' && ch <= '9';
            p[k] = start && lower ? (char)(ch - 32) : !start && upper ? (char)(ch + 32) : ch;
            start = !(lower || upper || digit);
        }
        out_str(c, i, p, s.len);
    }
    return NULL;
}

/* ---- TRIM */
static bool char_in(str_t set, const char *p, uint32_t len) {
    for (uint32_t k = 0, n; k < set.len; k += n) {
        n = utf8_len(set.p + k, set.len - k);
        if (n == len && memcmp(set.p + k, p, n) == 0) return true;
    }
    return false;
}

static str_t trim(str_t s, str_t set, bool leading, bool trailing) {
    while (leading && s.len) {
        uint32_t n = utf8_len(s.p, s.len);
        if (!char_in(set, s.p, n)) break;
        s.p += n;
        s.len -= n;
    }
    while (trailing && s.len) {
        uint32_t at = s.len - 1;
        while (at && ((unsigned char)s.p[at] & 0xc0) == 0x80) at--;
        if (!char_in(set, s.p + at, s.len - at)) break;
        s.len = at;
    }
    return s;
}

static const str_t blank = {.p = " ", .len = 1};

err_t *kernel_trim(call_t *c) {
    const char *side = symbol_text(c->expr->args[0]);
    bool lead = strcmp(side, "TRAILING") != 0, trail = strcmp(side, "LEADING") != 0;
    EACH(c, i) c->out->str[i] = trim(arg_str(c, 2, i), arg_str(c, 1, i), lead, trail);
    return NULL;
}
err_t *kernel_ltrim(call_t *c) {
    EACH(c, i) c->out->str[i] = trim(arg_str(c, 0, i), c->nargs > 1 ? arg_str(c, 1, i) : blank, true, false);
    return NULL;
}
err_t *kernel_rtrim(call_t *c) {
    EACH(c, i) c->out->str[i] = trim(arg_str(c, 0, i), c->nargs > 1 ? arg_str(c, 1, i) : blank, false, true);
    return NULL;
}
err_t *kernel_btrim(call_t *c) {
    EACH(c, i) c->out->str[i] = trim(arg_str(c, 0, i), c->nargs > 1 ? arg_str(c, 1, i) : blank, true, true);
    return NULL;
}

/* TRIM(x) is TRIM(BOTH ' ' FROM x); the result is VARCHAR */
err_t *rule_trim(binding_t *b) {
    if (b->nargs == 1) {
        expr_t **args = ARENA_ARRAY(b->a, expr_t *, 3);
        args[0] = expr_literal(b->a, type_nullable(b->a, &type_symbol, false), (value_t){.s = {.p = "BOTH", .len = 4}});
        args[1] = expr_string(b->a, " ", 1);
        args[2] = b->args[0];
        b->args = args;
        b->nargs = 3;
    }
    const char *side = symbol_text(b->args[0]);
    if (!side || (strcmp(side, "BOTH") && strcmp(side, "LEADING") && strcmp(side, "TRAILING")))
        return bind_error(b, "BOTH, LEADING or TRAILING is needed");
    b->type = type_of(b, &type_string);
    return NULL;
}

/* ---- joining */
err_t *kernel_concat(call_t *c) {
    EACH(c, i) {
        size_t n = 0;
        for (int k = 0; k < c->nargs; k++) n += arg_str(c, k, i).len;
        char *p = mem_alloc(c->m, n), *at = p;
        for (int k = 0; k < c->nargs; k++) {
            str_t s = arg_str(c, k, i);
            if (s.len) memcpy(at, s.p, s.len);
            at += s.len;
        }
        out_str(c, i, p, n);
    }
    return NULL;
}

err_t *kernel_concat_ws(call_t *c) { /* NULLs are left out; only a NULL separator gives NULL */
    for (uint32_t i = 0; i < c->n; i++) {
        if (arg_null(c, 0, i)) {
            out_null(c, i);
            continue;
        }
        str_t sep = arg_str(c, 0, i);
        size_t n = 0, parts = 0;
        for (int k = 1; k < c->nargs; k++)
            if (!arg_null(c, k, i)) n += arg_str(c, k, i).len + (parts++ ? sep.len : 0);
        char *p = mem_alloc(c->m, n), *at = p;
        parts = 0;
        for (int k = 1; k < c->nargs; k++) {
            if (arg_null(c, k, i)) continue;
            if (parts++ && sep.len) {
                memcpy(at, sep.p, sep.len);
                at += sep.len;
            }
            str_t s = arg_str(c, k, i);
            if (s.len) memcpy(at, s.p, s.len);
            at += s.len;
        }
        out_str(c, i, p, n);
    }
    return NULL;
}

err_t *rule_concat_op(binding_t *b) { /* || */
    const type_t *x = b->args[0]->type, *y = b->args[1]->type;
    if (x->kind == TYPE_NULL && y->kind == TYPE_NULL) TRY(bind_cast(b, 0, &type_string));
    x = b->args[0]->type;
    if (x->kind == TYPE_NULL) TRY(bind_cast(b, 0, y));
    if (y->kind == TYPE_NULL) TRY(bind_cast(b, 1, x));
    bool text = type_is_text(b->args[0]->type) && type_is_text(b->args[1]->type);
    bool binary = type_is_binary(b->args[0]->type) && type_is_binary(b->args[1]->type);
    if (!text && !binary) return bind_error(b, "two texts are needed");
    int64_t len = (int64_t)b->args[0]->type->precision + b->args[1]->type->precision;
    bool fixed = b->args[0]->type->kind == b->args[1]->type->kind &&
                 (b->args[0]->type->kind == TYPE_CHAR || b->args[0]->type->kind == TYPE_BINARY);
    type_kind_t k = text ? (fixed ? TYPE_CHAR : TYPE_VARCHAR) : (fixed ? TYPE_BINARY : TYPE_VARBINARY);
    b->type = type_scalar(b->a, k, (int)MIN(len, (int64_t)TYPE_LEN_MAX), any_nullable(b));
    return NULL;
}

/* ---- searching; positions in characters */
static int32_t position(str_t what, str_t s, int32_t from) {
    if (from < 1) return 0;
    uint32_t start = text_offset(s, (uint32_t)from - 1);
    if ((uint32_t)from - 1 > text_length(s)) return 0;
    int64_t at = text_find(s, what, start);
    return at < 0 ? 0 : (int32_t)text_length((str_t){.p = s.p, .len = (uint32_t)at}) + 1;
}

err_t *kernel_position(call_t *c) { /* POSITION(what IN s), LOCATE(what, s[, from]) */
    EACH(c, i) {
        str_t what = arg_str(c, 0, i);
        int32_t from = c->nargs > 2 && what.len ? MAX(arg_i32(c, 2, i), 1) : 1; /* nothing is at 1, wherever one begins */
        c->out->i32[i] = position(what, arg_str(c, 1, i), from);
    }
    return NULL;
}
/* INSTR(s, what[, from[, occurrence]]); a negative start searches backwards: what is found ends at or before it. Matches may overlap. */
err_t *kernel_instr(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), what = arg_str(c, 1, i);
        int32_t from = c->nargs > 2 ? arg_i32(c, 2, i) : 1, nth = c->nargs > 3 ? arg_i32(c, 3, i) : 1, at = 0;
        if (nth <= 0) return call_error(c, ERR_DATA, "the occurrence must be positive, looking in", s);
        if (from > 0 && what.len == 0) {
            at = 1;
        } else if (from > 0) {
            for (at = position(what, s, from); at && --nth; at = position(what, s, at + 1)) continue;
        } else if (from < 0 && what.len == 0) {
            at = (int32_t)text_length(s) + 1;
        } else if (from < 0) {
            for (int64_t k = (int64_t)text_length(s) + from + 2 - text_length(what); k >= 1; k--) {
                str_t rest = chars(s, k - 1, INT32_MAX);
                if (rest.len < what.len || memcmp(rest.p, what.p, what.len) != 0) continue;
                if (--nth == 0) {
                    at = (int32_t)k;
                    break;
                }
            }
        }
        c->out->i32[i] = at;
    }
    return NULL;
}

err_t *kernel_starts_with(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), w = arg_str(c, 1, i);
        c->out->b[i] = w.len <= s.len && (w.len == 0 || memcmp(s.p, w.p, w.len) == 0);
    }
    return NULL;
}
err_t *kernel_ends_with(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), w = arg_str(c, 1, i);
        c->out->b[i] = w.len <= s.len && (w.len == 0 || memcmp(s.p + s.len - w.len, w.p, w.len) == 0);
    }
    return NULL;
}
