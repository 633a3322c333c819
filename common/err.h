/* err.h: errors as objects.
 *
 * NULL is success and every accessor accepts NULL. Library code returns errors and never logs; the
 * process reports each one once. Whoever receives an err_t* owns it: return it, wrap it or free it.
 * Decisions are made by code and flags, never by text. */
#pragma once
#include "common/base.h"

/* code, name, deterministic (the same again on the same input: no restart helps), exit code */
#define ERR_CODES(X)                                                                               \
    X(ERR_SYNTAX, "syntax error", true, 2)                                                         \
    X(ERR_INVALID, "invalid", true, 2)                                                             \
    X(ERR_TYPE, "type error", true, 2)                                                             \
    X(ERR_NOT_FOUND, "not found", true, 3)                                                         \
    X(ERR_EXISTS, "exists already", true, 3)                                                       \
    X(ERR_UNSUPPORTED, "not supported", true, 2)                                                   \
    X(ERR_DATA, "bad record", true, 1)                                                             \
    X(ERR_OVERFLOW, "overflow", true, 1)                                                           \
    X(ERR_LIMIT, "limit exceeded", true, 1)                                                        \
    X(ERR_CORRUPT, "corrupt data", true, 1)                                                        \
    X(ERR_VERSION, "version mismatch", true, 4)                                                    \
    X(ERR_DENIED, "denied", true, 4)                                                               \
    X(ERR_FENCED, "fenced", false, 4)                                                              \
    X(ERR_IO, "i/o error", false, 1)                                                               \
    X(ERR_NO_SPACE, "no space left", false, 1)                                                     \
    X(ERR_UNAVAILABLE, "unavailable", false, 5)                                                    \
    X(ERR_TIMEOUT, "timed out", false, 5)                                                          \
    X(ERR_CANCELLED, "cancelled", false, 1)                                                        \
    X(ERR_INTERNAL, "internal error", true, 70)

typedef enum err_code {
    ERR_OK = 0,
#define X(code, name, det, exit) code,
    ERR_CODES(X)
#undef X
} err_code_t;

typedef struct err err_t;

err_t *err_new(err_code_t code, const char *fmt, ...) PRINTF(2, 3) NODISCARD;
/* "context: old text"; keeps code, position and hint; takes e; err_wrap(NULL, ..) is NULL */
err_t *err_wrap(err_t *e, const char *fmt, ...) PRINTF(2, 3) NODISCARD;
/* Position in a SQL text, both from 1; the first position set stays. Takes and returns e. */
err_t *err_at(err_t *e, int line, int col) NODISCARD;
/* What the person can do about it; takes and returns e; the first hint set stays. */
err_t *err_hint(err_t *e, const char *fmt, ...) PRINTF(2, 3) NODISCARD;
err_t *err_from_errno(int no, const char *fmt, ...) PRINTF(2, 3) NODISCARD;
err_t *err_copy(const err_t *e) NODISCARD;
/* Of what is this process's alone, its directories and its local base: no matter of the job, right at the next try or in another process. A
 * deterministic code becomes ERR_IO. Takes and returns e. */
err_t *err_here(err_t *e) NODISCARD;
void err_free(err_t *e);
void err_freep(err_t **e);

err_code_t err_code(const err_t *e);
const char *err_text(const err_t *e);     /* "" for NULL */
const char *err_hint_text(const err_t *e); /* NULL when there is none */
int err_line(const err_t *e);             /* 0 when unknown */
int err_col(const err_t *e);
bool err_deterministic(const err_t *e);
int err_exit_code(const err_t *e); /* 0 for NULL */
const char *err_code_name(err_code_t code);
bool err_code_deterministic(err_code_t code);
/* Rebuilds an error that crossed a process border. */
err_t *err_make(err_code_t code, const char *text, int line, int col, const char *hint) NODISCARD;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        err_t *try_ = (call);                                                                      \
        if (UNLIKELY(try_ != NULL)) return try_;                                                   \
    } while (0)
