#include "common/err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct err {
    err_code_t code;
    int line, col;
    char *text, *hint;
};

static const struct {
    const char *name;
    bool deterministic;
    int exit_code;
} codes[] = {
    {"ok", false, 0},
#define X(code, name, det, exit) {name, det, exit},
    ERR_CODES(X)
#undef X
};

static err_t *err_alloc(err_code_t code) {
    err_t *e = xcalloc(1, sizeof *e);
    e->code = code;
    return e;
}

static char *text_of(const char *fmt, va_list ap) {
    char *s = NULL;
    if (vasprintf(&s, fmt, ap) < 0) s = xstrdup("(no memory for the message)");
    return s;
}

err_t *err_new(err_code_t code, const char *fmt, ...) {
    err_t *e = err_alloc(code);
    va_list ap;
    va_start(ap, fmt);
    e->text = text_of(fmt, ap);
    va_end(ap);
    return e;
}

err_t *err_wrap(err_t *e, const char *fmt, ...) {
    if (!e) return NULL;
    va_list ap;
    va_start(ap, fmt);
    AUTO(auto_free) char *context = text_of(fmt, ap);
    va_end(ap);
    char *text = xprintf("%s: %s", context, e->text);
    free(e->text);
    e->text = text;
    return e;
}

err_t *err_at(err_t *e, int line, int col) {
    if (e && !e->line && line > 0) {
        e->line = line;
        e->col = col;
    }
    return e;
}

err_t *err_hint(err_t *e, const char *fmt, ...) {
    if (!e || e->hint) return e;
    va_list ap;
    va_start(ap, fmt);
    e->hint = text_of(fmt, ap);
    va_end(ap);
    return e;
}

err_t *err_from_errno(int no, const char *fmt, ...) {
    err_code_t code = no == ENOSPC || no == EDQUOT   ? ERR_NO_SPACE
                      : no == ENOENT || no == ENOTDIR ? ERR_NOT_FOUND
                      : no == EEXIST                  ? ERR_EXISTS
                      : no == EACCES || no == EPERM || no == EROFS ? ERR_DENIED
                                                      : ERR_IO;
    va_list ap;
    va_start(ap, fmt);
    AUTO(auto_free) char *what = text_of(fmt, ap);
    va_end(ap);
    return err_new(code, "%s: %s", what, strerror(no));
}

err_t *err_make(err_code_t code, const char *text, int line, int col, const char *hint) {
    if (code <= ERR_OK || code > ERR_INTERNAL) code = ERR_INTERNAL;
    err_t *e = err_alloc(code);
    e->text = xstrdup(text ? text : "");
    e->hint = hint && *hint ? xstrdup(hint) : NULL;
    return err_at(e, line, col);
}

err_t *err_copy(const err_t *e) {
    return e ? err_make(e->code, e->text, e->line, e->col, e->hint) : NULL;
}

err_t *err_here(err_t *e) {
    if (err_deterministic(e)) e->code = ERR_IO;
    return e;
}

void err_free(err_t *e) {
    if (!e) return;
    free(e->text);
    free(e->hint);
    free(e);
}

void err_freep(err_t **e) { err_free(*e); }

err_code_t err_code(const err_t *e) { return e ? e->code : ERR_OK; }
const char *err_text(const err_t *e) { return e ? e->text : ""; }
const char *err_hint_text(const err_t *e) { return e ? e->hint : NULL; }
int err_line(const err_t *e) { return e ? e->line : 0; }
int err_col(const err_t *e) { return e ? e->col : 0; }
bool err_deterministic(const err_t *e) { return e && codes[e->code].deterministic; }
int err_exit_code(const err_t *e) { return e ? codes[e->code].exit_code : 0; }
const char *err_code_name(err_code_t code) { return codes[code].name; }
bool err_code_deterministic(err_code_t code) { return codes[code].deterministic; }
