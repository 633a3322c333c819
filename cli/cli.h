/* cli.h: the commands of the one binary. Each returns the exit status; an error is printed once, by cli_fail. */
#pragma once
#include "common/config.h"
#include "common/json.h"
#include "common/log.h"
#include "proto/link.h"
#include "sql/sql.h"

int cli_fail(err_t *e); /* prints "tidegate: what" and the hint on stderr; takes e; returns its exit status */
void cli_json_errors(void); /* from now on errors are printed on stdout, too, as a document {"error":{..}}: --json */
int cli_fail_sql(err_t *e, const char *text, const char *file); /* with line and caret */
int cli_fail_text(err_t *e, const char *text, const char *file); /* the same for an error of the text alone: exit status 2 */
err_t *cli_read_file(const char *path, char **ret, size_t *ret_len);
void cli_log(const config_t *c, const char *component, log_level_t absent);

/* A job file as `run`, `submit` and `explain` see it. */
typedef struct cli_job {
    char *file, *text; /* ${NAME} replaced */
    char parallelism[12];              /* --parallelism as a setting: stronger than SET in the text */
    const char **set_keys, **set_values;
    sql_source_t source;
    plan_t *plan;
} cli_job_t;
/* Reads, replaces, compiles; on error prints it and returns its exit status, else 0. */
int cli_load_job(const config_t *c, bool allow_select, int parallelism, cli_job_t *ret);
void cli_job_done(cli_job_t *j);
job_spec_t cli_job_spec(const cli_job_t *j, const config_t *c); /* what is sent; with --set */
void cli_notices(const plan_t *p);

int cmd_run(const config_t *c);
int cmd_coordinator(const config_t *c);
int cmd_worker(const config_t *c);
int cmd_explain(const config_t *c);
int cmd_client(command_t cmd, const config_t *c);

/* cli/local_link.c: two ends of an in-process pipe; each end is freed by its owner. */
void local_link_pair(link_t **ret_worker, link_t **ret_coordinator);

/* Signals as a file descriptor (cli/signals.c): SIGINT and SIGTERM of the whole process; blocked for all threads made afterwards. */
int signals_open(void);
int signals_wait(int fd, int timeout_ms); /* the signal, or 0 */
int signals_wait_or(int fd, int other, int timeout_ms); /* also returns, with 0, when `other` is readable */
/* The process ends in its own time; from now on a further signal ends it at once, as if nobody handled it. One within the first moments
 * is the echo of the first: timeout(1) and terminals signal a process and its group. */
void signals_kill_next(int fd, int64_t first_ms);
