/* substitute.c: ${NAME} in a script's text. */
#include <ctype.h>

#include "common/near.h"
#include "sql/sql.h"

typedef struct subst {
    const char *text;
    size_t len, at;
    int line, col;
    const options_t *params;
    buf_t out;
} subst_t;

static void advance(subst_t *s, size_t n, bool copy) {
    for (size_t i = 0; i < n && s->at < s->len; i++, s->at++) {
        unsigned char c = (unsigned char)s->text[s->at];
        if (copy) buf_put_u8(&s->out, c);
        if (c == '\n') s->line++, s->col = 1;
        else if ((c & 0xC0) != 0x80) s->col++;
    }
}

static bool starts(const subst_t *s, const char *what) {
    size_t n = strlen(what);
    return s->len - s->at >= n && memcmp(s->text + s->at, what, n) == 0;
}

/* Length of the comment that begins here, 0: none. Hints are no comments. */
static size_t comment_length(const subst_t *s) {
    if (starts(s, "--")) {
        const char *end = memchr(s->text + s->at, '\n', s->len - s->at);
        return end ? (size_t)(end - (s->text + s->at)) : s->len - s->at;
    }
    if (starts(s, "/*") && !starts(s, "/*+")) {
        const char *end = memmem(s->text + s->at + 2, s->len - s->at - 2, "*/", 2);
        return end ? (size_t)(end - (s->text + s->at)) + 2 : s->len - s->at;
    }
    return 0;
}

static err_t *replace(subst_t *s) {
    size_t from = s->at + 2, to = from;
    while (to < s->len && (isalnum((unsigned char)s->text[to]) || strchr("_.-", s->text[to])) && s->text[to]) to++;
    if (to == s->len || s->text[to] != '}' || to == from)
        return err_at(err_hint(err_new(ERR_SYNTAX, "'${' begins a parameter, which is not closed"),
                               "write ${NAME}"), s->line, s->col);
    AUTO(auto_free) char *name = xstrndup(s->text + from, to - from);
    const char *value = options_get(s->params, name);
    if (!value) {
        near_t near = {.wanted = name};
        for (int i = 0; i < s->params->n; i++) near_offer(&near, s->params->keys[i]);
        err_t *e = err_at(err_new(ERR_NOT_FOUND, "parameter '%s' has no value", name), s->line, s->col);
        if (near_word(&near)) return err_hint(e, "did you mean '%s'?", near_word(&near));
        return err_hint(e, "give it: --param %s=VALUE", name);
    }
    buf_puts(&s->out, value);
    advance(s, to + 1 - s->at, false);
    return NULL;
}

err_t *sql_substitute(const char *text, size_t len, const options_t *params, char **ret, size_t *ret_len) {
    subst_t s = {.text = text, .len = len, .line = 1, .col = 1, .params = params, .out = buf_make(BUF_MAX_DEFAULT)};
    char quote = 0;
    while (s.at < s.len) {
        char c = s.text[s.at];
        size_t comment = quote ? 0 : comment_length(&s);
        if (comment) advance(&s, comment, true);
        else if (starts(&s, "${")) {
            err_t *e = replace(&s);
            if (e) {
                buf_free(&s.out);
                return e;
            }
        } else {
            if (quote && c == quote) quote = 0;
            else if (!quote && (c == '\'' || c == '`' || c == '"')) quote = c;
            advance(&s, 1, true);
        }
    }
    if (s.out.overflow) {
        buf_free(&s.out);
        return err_new(ERR_LIMIT, "the text with its parameters is too long");
    }
    *ret_len = s.out.len;
    *ret = buf_take_cstr(&s.out);
    return NULL;
}
