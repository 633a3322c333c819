/* kernel_chars.c: texts by their characters: TRANSLATE, IS_DIGIT, IS_ALPHA, IS_DECIMAL, ELT. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include "engine/text.h"
#include <strings.h>

/* ---- TRANSLATE(s, from, to): characters of from become those of to, the ones too many vanish */
static str_t character(str_t s, uint32_t *at) {
    uint32_t n = utf8_len(s.p + *at, s.len - *at);
    str_t c = {.p = s.p + *at, .len = n};
    *at += n;
    return c;
}

/* false: the character stays; an empty *ret: it vanishes */
static bool translated(str_t c, str_t from, str_t to, str_t *ret) {
    uint32_t t = 0;
    for (uint32_t k = 0; k < from.len;) {
        str_t f = character(from, &k);
        str_t with = t < to.len ? character(to, &t) : (str_t){0};
        if (f.len != c.len || memcmp(f.p, c.p, c.len) != 0) continue;
        *ret = with;
        return true;
    }
    return false;
}

err_t *kernel_translate(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        if (arg_null(c, 0, i)) {
            out_null(c, i);
            continue;
        }
        str_t s = arg_str(c, 0, i), from = arg_null(c, 1, i) ? (str_t){0} : arg_str(c, 1, i);
        str_t to = arg_null(c, 2, i) ? (str_t){0} : arg_str(c, 2, i);
        char *p = mem_alloc(c->m, (size_t)s.len * 4 + 1);
        size_t n = 0;
        for (uint32_t k = 0; k < s.len;) {
            str_t ch = character(s, &k), with;
            if (translated(ch, from, to, &with)) ch = with;
            if (ch.len) memcpy(p + n, ch.p, ch.len);
            n += ch.len;
        }
        out_str(c, i, p, n);
    }
    return NULL;
}

err_t *rule_translate(binding_t *b) {
    b->type = type_nullable(b->a, &type_string, b->args[0]->type->nullable);
    return NULL;
}

/* ---- IS_DECIMAL: what Java's Double.valueOf reads */
static uint32_t digits(str_t s, uint32_t at, bool hex) {
    uint32_t k = at;
    for (; k < s.len; k++) {
        char ch = s.p[k], low = (char)(ch | 32);
        if (!(ch >= '0' && ch <= '9') && !(hex && low >= 'a' && low <= 'f')) break;
    }
    return k - at;
}

static bool java_double(str_t s) {
    while (s.len && (unsigned char)s.p[0] <= ' ') s.p++, s.len--;
    while (s.len && (unsigned char)s.p[s.len - 1] <= ' ') s.len--;
    if (s.len && (s.p[0] == '-' || s.p[0] == '+')) s.p++, s.len--;
    if (s.len == 3 && memcmp(s.p, "NaN", 3) == 0) return true;
    if (s.len == 8 && memcmp(s.p, "Infinity", 8) == 0) return true;
    bool hex = s.len > 2 && s.p[0] == '0' && (s.p[1] | 32) == 'x';
    uint32_t k = hex ? 2 : 0, n = digits(s, k, hex), all = n;
    k += n;
    if (k < s.len && s.p[k] == '.') {
        n = digits(s, ++k, hex);
        all += n;
        k += n;
    }
    if (all == 0) return false;
    bool exponent = k < s.len && (s.p[k] | 32) == (hex ? 'p' : 'e');
    if (hex && !exponent) return false;
    if (exponent) {
        k++;
        if (k < s.len && (s.p[k] == '-' || s.p[k] == '+')) k++;
        n = digits(s, k, false);
        if (n == 0) return false;
        k += n;
    }
    if (k < s.len && strchr("fFdD", s.p[k])) k++;
    return k == s.len;
}

err_t *kernel_is_decimal(call_t *c) {
    bool number = type_is_numeric(arg_type(c, 0));
    for (uint32_t i = 0; i < c->n; i++) c->out->b[i] = number || (!arg_null(c, 0, i) && java_double(arg_str(c, 0, i)));
    return NULL;
}

/* ---- ELT(n, a, b, ..) */
err_t *rule_elt(binding_t *b) {
    const type_t *t = b->args[1]->type;
    for (int k = 2; k < b->nargs && t; k++) t = type_common(b->a, t, b->args[k]->type);
    if (!t) return bind_error(b, "texts or bytes are needed, not both");
    for (int k = 1; k < b->nargs; k++) TRY(bind_cast(b, k, t));
    b->type = type_nullable(b->a, t, true);
    return NULL;
}

err_t *kernel_elt(call_t *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        int64_t k = arg_null(c, 0, i) ? 0 : arg_int(c, 0, i);
        if (k < 1 || k >= c->nargs || arg_null(c, (int)k, i)) out_null(c, i);
        else c->out->str[i] = arg_str(c, (int)k, i);
    }
    return NULL;
}
