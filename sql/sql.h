/* sql.h: from the text of a job to its physical plan. The only header of sql/ others need.
 *
 * Pure: no file, clock or network; the same text and options give the same plan and the same hash in every process. Any
 * thread. Every error carries line and column of the text it was given, what is wrong, and where there is one the way out. */
#pragma once
#include "engine/plan.h"

typedef struct sql_source {
    const char *text;
    size_t len;
    const char *file;     /* for the job's name: "dir/orders.sql" is job "orders"; NULL: "job" */
    options_t params;     /* NAME = VALUE for ${NAME}; a text that was substituted before has none left */
    options_t set;        /* job options that win over SET in the text */
    int parallelism;      /* when neither says 'parallelism.default'; 0: 1 */
    int lanes;            /* of exactly-once sinks, kept over a rescale; 0: from the parallelism */
    bool allow_select;    /* a SELECT on its own becomes a sink that prints; else it is refused */
    bool select_json;     /* it prints JSON */
} sql_source_t;

/* The plan owns everything; free it by plan_free. ERR_INVALID when the script starts nothing. */
err_t *sql_compile(const sql_source_t *src, plan_t **ret);
/* Syntax, optimised logical and physical plan as text. Also for a script whose only query stands behind EXPLAIN. */
err_t *sql_explain(const sql_source_t *src, buf_t *out);

/* Replaces ${NAME} outside comments. *ret is malloc'ed and NUL-terminated. Unknown names are errors with a near name. */
err_t *sql_substitute(const char *text, size_t len, const options_t *params, char **ret, size_t *ret_len);
/* FILE:LINE:COL: what; the line with a caret under the column; the hint. `text` is what was compiled (after
 * sql_substitute, if the caller did that). */
void sql_error_print(buf_t *out, const err_t *e, const char *text, const char *file);
