/* kernel_text2.c: texts replaced, padded, repeated, split. */
#include "engine/func_int.h"
#include "engine/rules.h"
#include "engine/text.h"

#define TEXT_RESULT_MAX (64u << 20) /* bytes one value may grow to */
#define EACH(c, i)                                                                                 \
    for (uint32_t i = 0; i < (c)->n; i++)                                                          \
        if (!row_null((c), i))

static err_t *too_long(const call_t *c) {
    return err_new(ERR_LIMIT, "%s: the result would be longer than %u MB", func_name(c->expr->func), TEXT_RESULT_MAX >> 20);
}

err_t *kernel_replace(call_t *c) {
    buf_t out = buf_make(TEXT_RESULT_MAX);
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), what = arg_str(c, 1, i), with = arg_str(c, 2, i);
        int64_t at = what.len ? text_find(s, what, 0) : 0;
        if (at < 0) {
            c->out->str[i] = s;
            continue;
        }
        buf_clear(&out);
        uint32_t from = 0;
        if (what.len == 0) { /* between all characters, as Java */
            for (uint32_t n; from < s.len; from += n) {
                n = utf8_len(s.p + from, s.len - from);
                buf_put(&out, with.p, with.len);
                buf_put(&out, s.p + from, n);
            }
            buf_put(&out, with.p, with.len);
        } else {
            for (; at >= 0; at = text_find(s, what, from)) {
                buf_put(&out, s.p + from, (size_t)at - from);
                buf_put(&out, with.p, with.len);
                from = (uint32_t)at + what.len;
            }
            buf_put(&out, s.p + from, s.len - from);
        }
        if (out.overflow) {
            buf_free(&out);
            return too_long(c);
        }
        out_copy(c, i, out.data, out.len);
    }
    buf_free(&out);
    return NULL;
}

/* OVERLAY(s PLACING with FROM start [FOR length]) */
err_t *kernel_overlay(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), with = arg_str(c, 1, i);
        int64_t start = arg_i32(c, 2, i), len = c->nargs > 3 ? (int64_t)arg_i32(c, 3, i) : (int64_t)text_length(with);
        int64_t n = text_length(s);
        if (start <= 0 || start > n) {
            c->out->str[i] = s;
            continue;
        }
        uint32_t head = text_offset(s, (uint32_t)(start - 1));
        uint32_t tail = start + len > n || len <= 0 ? s.len : text_offset(s, (uint32_t)(start - 1 + len));
        if (tail < head && start - 1 + len < 0) tail = s.len;
        size_t size = (size_t)head + with.len + (s.len - tail);
        char *p = mem_alloc(c->m, size);
        if (head) memcpy(p, s.p, head);
        if (with.len) memcpy(p + head, with.p, with.len);
        if (tail < s.len) memcpy(p + head + with.len, s.p + tail, s.len - tail);
        out_str(c, i, p, size);
    }
    return NULL;
}

static err_t *pad(call_t *c, bool left) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), with = arg_str(c, 2, i);
        int64_t want = arg_i32(c, 1, i), have = text_length(s);
        if (want < 0 || with.len == 0) {
            out_null(c, i);
            continue;
        }
        if (want <= have) {
            c->out->str[i] = (str_t){.p = s.p, .len = text_offset(s, (uint32_t)want)};
            continue;
        }
        int64_t missing = want - have, unit = text_length(with);
        size_t fill = (size_t)(missing / unit) * with.len + text_offset(with, (uint32_t)(missing % unit));
        if (fill + s.len > TEXT_RESULT_MAX) return too_long(c);
        char *p = mem_alloc(c->m, fill + s.len), *at = left ? p : p + s.len;
        for (size_t k = 0; k < fill; k += with.len)
            memcpy(at + k, with.p, fill - k < with.len ? fill - k : with.len);
        if (s.len) memcpy(left ? p + fill : p, s.p, s.len);
        out_str(c, i, p, fill + s.len);
    }
    return NULL;
}
err_t *kernel_lpad(call_t *c) { return pad(c, true); }
err_t *kernel_rpad(call_t *c) { return pad(c, false); }

err_t *kernel_repeat(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        int32_t n = arg_i32(c, 1, i);
        if (n <= 0 || s.len == 0) continue;
        if ((size_t)n * s.len > TEXT_RESULT_MAX) return too_long(c);
        char *p = mem_alloc(c->m, (size_t)n * s.len);
        for (int32_t k = 0; k < n; k++) memcpy(p + (size_t)k * s.len, s.p, s.len);
        out_str(c, i, p, (size_t)n * s.len);
    }
    return NULL;
}

err_t *kernel_reverse(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        char *p = mem_alloc(c->m, s.len), *at = p + s.len;
        for (uint32_t k = 0, n; k < s.len; k += n) {
            n = utf8_len(s.p + k, s.len - k);
            at -= n;
            memcpy(at, s.p + k, n);
        }
        out_str(c, i, p, s.len);
    }
    return NULL;
}

err_t *kernel_ascii(call_t *c) {
    EACH(c, i) {
        str_t s = arg_str(c, 0, i);
        c->out->i32[i] = s.len ? (int8_t)s.p[0] : 0;
    }
    return NULL;
}

err_t *kernel_chr(call_t *c) {
    EACH(c, i) {
        int64_t v = arg_i64(c, 0, i);
        if (v < 0) continue;
        char p[4];
        out_copy(c, i, p, utf8_encode(p, (uint32_t)(v & 0xff)));
    }
    return NULL;
}

/* ---- splitting. An empty text has no parts. */
static bool java_blank(uint32_t cp) { /* Character.isWhitespace */
    if (cp < 0x80) return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20);
    return cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a && cp != 0x2007) || cp == 0x2028 || cp == 0x2029 || cp == 0x205f || cp == 0x3000;
}

/* The next blank at or behind byte `from`, -1 without; *ret_len bytes of it. */
static int64_t find_blank(str_t s, uint32_t from, uint32_t *ret_len) {
    for (uint32_t k = from; k < s.len; k += *ret_len)
        if (java_blank(utf8_decode(s.p + k, s.len - k, ret_len))) return k;
    return -1;
}

/* An empty separator splits at blanks, at every one of them. */
static bool next_part(str_t s, str_t sep, uint32_t *at, str_t *ret) {
    if (*at > s.len) return false;
    uint32_t len = sep.len;
    int64_t end = len ? text_find(s, sep, *at) : find_blank(s, *at, &len);
    uint32_t stop = end < 0 ? s.len : (uint32_t)end;
    *ret = (str_t){.p = s.p + *at, .len = stop - *at};
    *at = end < 0 ? s.len + 1 : stop + len;
    return true;
}

err_t *kernel_split_index(call_t *c) {
    bool code = type_is_integer(arg_type(c, 1));
    EACH(c, i) {
        str_t s = arg_str(c, 0, i), sep, part;
        char one[4];
        int32_t index = arg_i32(c, 2, i);
        if (code) {
            int32_t cp = arg_i32(c, 1, i);
            if (cp < 1 || cp > 255) index = -1;
            sep = (str_t){.p = one, .len = utf8_encode(one, (uint32_t)cp & 0xff)};
        } else {
            sep = arg_str(c, 1, i);
        }
        bool found = index >= 0 && s.len > 0;
        uint32_t at = 0;
        for (int32_t k = 0; found && k <= index; k++) found = next_part(s, sep, &at, &part);
        if (found) c->out->str[i] = part;
        else out_null(c, i);
    }
    return NULL;
}

/* SPLIT(s, separator): ARRAY<STRING>; an empty separator splits into characters */
err_t *kernel_split(call_t *c) {
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m), *e = colbuilder_child(b, 0);
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) {
            colbuilder_null(b);
            continue;
        }
        str_t s = arg_str(c, 0, i), sep = arg_str(c, 1, i), part;
        colbuilder_begin(b);
        uint32_t at = 0;
        if (sep.len == 0) {
            for (uint32_t n; at < s.len; at += n) {
                n = utf8_len(s.p + at, s.len - at);
                colbuilder_str(e, s.p + at, n);
            }
        } else {
            while (s.len && next_part(s, sep, &at, &part)) colbuilder_str(e, part.p, part.len);
        }
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}

/* STR_TO_MAP(text[, pair separator[, key separator]]); the last of equal keys wins. Separators are plain texts here;
 * Flink reads them as regular expressions, so those with special characters are refused. */
static bool is_plain(str_t s) {
    for (uint32_t k = 0; k < s.len; k++)
        if (strchr("\\^$.|?*+()[]{}", s.p[k])) return false;
    return true;
}

typedef struct pair {
    str_t key, value;
    bool null;
} pair_t;

static int add_pair(pair_t *pairs, int n, pair_t p) {
    for (int k = 0; k < n; k++)
        if (pairs[k].key.len == p.key.len && (p.key.len == 0 || memcmp(pairs[k].key.p, p.key.p, p.key.len) == 0)) {
            pairs[k] = p;
            return n;
        }
    pairs[n] = p;
    return n + 1;
}

err_t *kernel_str_to_map(call_t *c) {
    static const str_t comma = {.p = ",", .len = 1}, equals = {.p = "=", .len = 1};
    colbuilder_t *b = colbuilder_new(c->expr->type, c->m);
    for (uint32_t i = 0; i < c->n; i++) {
        if (row_null(c, i)) {
            colbuilder_null(b);
            continue;
        }
        str_t s = arg_str(c, 0, i), outer = c->nargs > 1 ? arg_str(c, 1, i) : comma;
        str_t inner = c->nargs > 2 ? arg_str(c, 2, i) : equals, part;
        if (!is_plain(outer) || !is_plain(inner)) {
            colbuilder_free(b);
            return err_hint(call_error(c, ERR_UNSUPPORTED, "a separator that is a regular expression:", is_plain(outer) ? inner : outer),
                            "use separators without special characters, or REPLACE them first");
        }
        uint32_t at = 0, count = 1;
        for (uint32_t k = 0; k + outer.len <= s.len; k++) count++;
        pair_t *pairs = mem_alloc(c->m, sizeof *pairs * (count + 1u));
        int n = 0;
        while (s.len && outer.len && inner.len && next_part(s, outer, &at, &part)) {
            if (part.len == 0 && at > s.len) break; /* Java drops empty parts at the end */
            int64_t eq = text_find(part, inner, 0);
            pair_t p = {.key = part, .null = eq < 0};
            if (eq >= 0) {
                p.key.len = (uint32_t)eq;
                p.value = (str_t){.p = part.p + eq + inner.len, .len = part.len - (uint32_t)eq - inner.len};
            }
            n = add_pair(pairs, n, p);
        }
        colbuilder_begin(b);
        for (int k = 0; k < n; k++) {
            colbuilder_str(colbuilder_child(b, 0), pairs[k].key.p, pairs[k].key.len);
            if (pairs[k].null) colbuilder_null(colbuilder_child(b, 1));
            else colbuilder_str(colbuilder_child(b, 1), pairs[k].value.p, pairs[k].value.len);
        }
        colbuilder_end(b);
    }
    colbuilder_finish(b, c->out);
    colbuilder_free(b);
    return NULL;
}
