/* config.h: every option of every command in one table: flags, configuration file, environment, help and docs/config.md come from it.
 *
 * Precedence: flag, then environment (TIDEGATE_<NAME> with '-' as '_'), then the file of --config (lines "name = value", '#' comments), then
 * the default. A value is checked when it is read in, wherever it came from; the error names its origin. */
#pragma once
#include "common/buf.h"
#include "common/err.h"

typedef enum command {
    CMD_RUN = 1 << 0, CMD_COORDINATOR = 1 << 1, CMD_WORKER = 1 << 2, CMD_SUBMIT = 1 << 3, CMD_JOBS = 1 << 4, CMD_JOB = 1 << 5,
    CMD_CANCEL = 1 << 6, CMD_STOP = 1 << 7, CMD_SAVEPOINT = 1 << 8, CMD_RESUME = 1 << 9, CMD_WORKERS = 1 << 10,
    CMD_EXPLAIN = 1 << 11, CMD_MANIFEST = 1 << 12, CMD_LEDGER = 1 << 13, CMD_DOCS = 1 << 14, CMD_FORGET = 1 << 15,
} command_t;
#define CMD_CLIENT (CMD_SUBMIT | CMD_JOBS | CMD_JOB | CMD_CANCEL | CMD_STOP | CMD_SAVEPOINT | CMD_RESUME | CMD_WORKERS | CMD_MANIFEST | CMD_LEDGER | CMD_FORGET)
#define CMD_DAEMON (CMD_COORDINATOR | CMD_WORKER)
#define CMD_SQL (CMD_RUN | CMD_SUBMIT | CMD_EXPLAIN)

typedef struct command_info {
    command_t cmd;
    const char *name, *args; /* "job", "ID" */
    int args_min, args_max;
    const char *doc;
} command_info_t;
extern const command_info_t commands[]; /* ends with name NULL */

typedef struct config config_t;
/* argv begins after the command's name; environment lines "NAME=value", NULL-terminated. *ret_help: --help was given. */
err_t *config_load(command_t cmd, int argc, char **argv, char **environment, config_t **ret, bool *ret_help);
void config_free(config_t *c);
const char *config_str(const config_t *c, const char *name);   /* NULL when unset and without default */
int64_t config_i64(const config_t *c, const char *name);       /* integers, durations in ms, sizes in bytes */
bool config_flag(const config_t *c, const char *name);
int config_pairs(const config_t *c, const char *name, const char *const **ret_keys, const char *const **ret_values); /* NAME=VALUE options */
int config_args(const config_t *c, const char *const **ret);
void config_help(buf_t *out, command_t cmd); /* of one command; 0: the overview */
void config_docs(buf_t *out);                /* the commands' part of docs/config.md */
