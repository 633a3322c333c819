/* parse.h: SQL text in Flink's dialect to a syntax tree (sql/ast.h). Pure: no catalog, no I/O; any thread. */
#pragma once
#include "sql/ast.h"

#define SQL_TEXT_MAX ((size_t)4 << 20)

/* Statements separated by ';'; an empty text is a script without statements. The tree and a copy of the text live in
 * the arena. Errors carry line and column: ERR_SYNTAX (and a hint where the mistake is a common one), ERR_INVALID (a
 * literal or type with impossible content), ERR_UNSUPPORTED (a type the engine has not), ERR_LIMIT (too long, too deep). */
err_t *sql_parse(arena_t *a, const char *text, size_t len, sql_script_t **ret);
