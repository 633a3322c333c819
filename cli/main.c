#include "cli/cli.h"
#include "engine/func.h"
#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>

static int docs(const config_t *c) {
    const char *const *args;
    config_args(c, &args);
    buf_t out = buf_make(0);
    if (!strcmp(args[0], "config")) config_docs(&out);
    else if (!strcmp(args[0], "functions")) func_docs(&out);
    else return cli_fail(err_new(ERR_INVALID, "tidegate docs takes config or functions"));
    fputs(buf_cstr(&out), stdout);
    buf_free(&out);
    return 0;
}

static int dispatch(command_t cmd, const config_t *c) {
    switch (cmd) {
    case CMD_RUN: return cmd_run(c);
    case CMD_COORDINATOR: return cmd_coordinator(c);
    case CMD_WORKER: return cmd_worker(c);
    case CMD_EXPLAIN: return cmd_explain(c);
    case CMD_DOCS: return docs(c);
    default: return cmd_client(cmd, c);
    }
}

static void print_help(command_t cmd) {
    buf_t out = buf_make(0);
    config_help(&out, cmd);
    fputs(buf_cstr(&out), stdout);
    buf_free(&out);
}

int main(int argc, char **argv, char **environment) {
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR + 1); /* gRPC's own lines: every error comes back to us anyway */
    const char *name = argc > 1 ? argv[1] : "--help";
    if (!strcmp(name, "--version")) return puts("tidegate " TIDEGATE_VERSION) < 0;
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) return print_help(0), argc > 1 ? 0 : 2;
    const command_info_t *k = commands;
    while (k->name && strcmp(k->name, name)) k++;
    if (!k->name) return cli_fail(err_hint(err_new(ERR_INVALID, "there is no command '%s'", name), "see tidegate --help"));
    config_t *c = NULL;
    bool help;
    err_t *e = config_load(k->cmd, argc - 2, argv + 2, environment, &c, &help);
    if (e) return cli_fail(e);
    int status = help ? (print_help(k->cmd), 0) : dispatch(k->cmd, c);
    config_free(c);
    return status;
}
