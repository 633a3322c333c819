#include "common/config.h"
#include "common/map.h"
#include "common/near.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum kind { STR, INT, FLAG, TIME, SIZE, PAIR } kind_t;
typedef struct option {
    const char *name;
    kind_t kind;
    unsigned commands;
    const char *absent; /* default as written, NULL none */
    const char *arg, *doc;
} option_t;

const command_info_t commands[] = {
    {CMD_RUN, "run", "FILE", 1, 1, "run a SQL file in this process, with an embedded coordinator and workers"},
    {CMD_COORDINATOR, "coordinator", "", 0, 0, "start a coordinator"},
    {CMD_WORKER, "worker", "", 0, 0, "start a worker"},
    {CMD_SUBMIT, "submit", "FILE", 1, 1, "send a SQL file to a cluster; prints the job id once it runs"},
    {CMD_JOBS, "jobs", "", 0, 0, "list jobs"},
    {CMD_JOB, "job", "ID", 1, 1, "state, stages, rates, watermarks, epochs and last error of a job; what it waits for"},
    {CMD_CANCEL, "cancel", "ID", 1, 1, "end a job now; what is complete is published"},
    {CMD_STOP, "stop", "ID", 1, 1, "take a savepoint, publish everything, end the job"},
    {CMD_SAVEPOINT, "savepoint", "ID", 1, 1, "keep an epoch as a self-contained savepoint; prints its path"},
    {CMD_RESUME, "resume", "ID", 1, 1, "start a FAILED job again where it ended, or a STOPPED one whose savepoint could not be copied"},
    {CMD_FORGET, "forget", "ID", 1, 1, "forget a job that has ended, with the state it still holds"},
    {CMD_WORKERS, "workers", "", 0, 0, "list workers"},
    {CMD_EXPLAIN, "explain", "FILE", 1, 1, "print the plans of a SQL file"},
    {CMD_MANIFEST, "manifest", "show ID", 2, 2, "print the last manifest of a job"},
    {CMD_LEDGER, "ledger", "show ID", 2, 2, "print what each exactly-once lane of a job has published"},
    {CMD_DOCS, "docs", "config|functions", 1, 1, "print generated documentation"},
    {0},
};

#define ALL (~0u)
static const option_t options[] = {
    {"coordinator", STR, CMD_CLIENT | CMD_WORKER, "127.0.0.1:7071", "HOST:PORT[,HOST:PORT]", "address of the coordinator, with its standbys"},
    {"listen", STR, CMD_COORDINATOR, "127.0.0.1:7071", "HOST:PORT", "address for workers and clients; loopback unless set, the protocol is unencrypted"},
    {"listen", STR, CMD_WORKER, "127.0.0.1:0", "HOST:PORT", "address other workers send rows to; port 0 takes a free one"},
    {"http", STR, CMD_COORDINATOR, "127.0.0.1:7070", "HOST:PORT", "address of /metrics and the JSON API; \"off\" for none"},
    {"http", STR, CMD_WORKER, "off", "HOST:PORT", "address of /metrics; \"off\" for none"},
    {"storage", STR, CMD_COORDINATOR, NULL, "URI", "checkpoint storage every worker can reach: file:///directory"},
    {"etcd", STR, CMD_COORDINATOR, NULL, "URL[,URL]", "keep leadership and metadata in etcd; without it in a directory below --storage, for one coordinator"},
    {"cluster", STR, CMD_COORDINATOR, "tidegate", "NAME", "name in etcd keys and transactional ids"},
    {"heartbeat", TIME, CMD_COORDINATOR, "200ms", "TIME", "interval of workers' heartbeats"},
    {"worker-timeout", TIME, CMD_COORDINATOR, "900ms", "TIME", "a worker unheard for so long is dead; a closed connection is noticed at once"},
    {"orphan-age", TIME, CMD_COORDINATOR, "1h", "TIME", "files of dead attempts in --storage are removed when they are as old; 0s: never"},
    {"data", STR, CMD_WORKER, NULL, "DIR", "this worker's directory, of one worker only"},
    {"data", STR, CMD_RUN, NULL, "DIR", "keep state here: a further run of the same job resumes; without it nothing is kept"},
    {"base-interval", TIME, CMD_WORKER, "30s", "TIME", "how often state goes into a base checkpoint when enough of it changed"},
    {"name", STR, CMD_WORKER, NULL, "NAME", "name of this worker (drawn once and kept in --data)"},
    {"slots", INT, CMD_WORKER | CMD_RUN, "2", "N", "threads that run tasks"},
    {"memory", SIZE, CMD_WORKER | CMD_RUN, "512M", "SIZE", "memory budget of the process (RSS)"},
    {"parallelism", INT, CMD_SQL, "0", "N", "subtasks of a stage; 0: SET 'parallelism.default', else the number of slots for run, 4 for submit"},
    {"fresh", FLAG, CMD_RUN, NULL, "", "forget what --data holds of this job and begin anew"},
    {"quiet", FLAG, CMD_RUN, NULL, "", "no live line and no summary"},
    {"set", PAIR, CMD_SQL, NULL, "KEY=VALUE", "job option, stronger than SET in the file; may be repeated"},
    {"param", PAIR, CMD_SQL, NULL, "NAME=VALUE", "replaces ${NAME} in the file; may be repeated"},
    {"from", STR, CMD_SUBMIT, NULL, "SAVEPOINT", "start from a savepoint"},
    {"new-ledger", FLAG, CMD_SUBMIT | CMD_RUN, NULL, "", "of a job that begins from a savepoint: the sinks' ledger is a new one; publish the savepoint's pending output first"},
    {"timeout", TIME, CMD_CLIENT, "30s", "TIME", "how long to wait for the coordinator's answer"},
    {"to", STR, CMD_SAVEPOINT | CMD_STOP, NULL, "URI", "where the savepoint goes (default: below checkpoint storage)"},
    {"accept-duplicates", FLAG, CMD_RESUME, NULL, "", "go on from the last epoch whatever the ledger says; what may be published twice is printed"},
    {"accept-duplicates", FLAG, CMD_SUBMIT | CMD_RUN, NULL, "", "of a job that begins from a savepoint: whatever the ledger says; rows published since the savepoint come twice"},
    {"json", FLAG, CMD_CLIENT | CMD_EXPLAIN, NULL, "", "machine-readable output"},
    {"json", FLAG, CMD_RUN, NULL, "", "rows of a bare SELECT as {\"op\":..,\"row\":{..}}, a line each; behind them the job's document, as of `job --json`, or the error"},
    {"log", STR, CMD_DAEMON | CMD_RUN, NULL, "LEVEL", "debug, info, warn or error (default info; warn for run)"},
    {"config", STR, ALL & ~CMD_DOCS, NULL, "FILE", "configuration file with lines name = value"},
};

struct config {
    command_t cmd;
    map_t *values; /* name -> char* */
    int nargs;
    const char **args;
    struct pair_list { int n; const char **keys, **values; } set, param;
};

static const option_t *find_option(command_t cmd, const char *name, size_t n) {
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if ((options[i].commands & cmd) && strlen(options[i].name) == n && !memcmp(options[i].name, name, n)) return &options[i];
    return NULL;
}

/* "250", "250ms", "1.5 s", "2min", "1h" -> ms; "64", "64k", "512M", "2GiB" -> bytes */
static bool parse_scaled(const char *text, kind_t kind, int64_t *ret) {
    static const struct { const char *unit; double factor; kind_t kind; } units[] = {
        {"", 1, TIME}, {"ms", 1, TIME}, {"s", 1000, TIME}, {"sec", 1000, TIME}, {"m", 60000, TIME}, {"min", 60000, TIME}, {"h", 3600000, TIME},
        {"", 1, SIZE}, {"b", 1, SIZE}, {"k", 1 << 10, SIZE}, {"kb", 1 << 10, SIZE}, {"kib", 1 << 10, SIZE}, {"m", 1 << 20, SIZE},
        {"mb", 1 << 20, SIZE}, {"mib", 1 << 20, SIZE}, {"g", 1 << 30, SIZE}, {"gb", 1 << 30, SIZE}, {"gib", 1 << 30, SIZE}};
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !(v >= 0) || v > 1e15) return false;
    while (*end == ' ') end++;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].kind == kind && !strcasecmp(units[i].unit, end)) return *ret = (int64_t)(v * units[i].factor), true;
    return false;
}

#define INT_OPTION_MAX 1024 /* slots, subtasks: there are no more key groups */
static bool parse_int(const char *text, int64_t *ret) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < 0) return false;
    *ret = v;
    return true;
}

static void add_pair(struct pair_list *l, const char *text, const char *eq) {
    if ((l->n & (l->n - 1)) == 0) {
        size_t cap = l->n ? (size_t)l->n * 2 : 1;
        l->keys = xrealloc(l->keys, cap * sizeof *l->keys);
        l->values = xrealloc(l->values, cap * sizeof *l->values);
    }
    l->keys[l->n] = xstrndup(text, (size_t)(eq - text));
    l->values[l->n++] = xstrdup(eq + 1);
}

/* origin: "--slots", "TIDEGATE_SLOTS", "file:3" */
static err_t *set_value(config_t *c, const option_t *o, const char *value, const char *origin) {
    int64_t v;
    switch (o->kind) {
    case INT:
        if (!parse_int(value, &v)) return err_new(ERR_INVALID, "%s: '%s' is not a whole number", origin, value);
        if (v > INT_OPTION_MAX) return err_new(ERR_INVALID, "%s: '%s' is more than %d", origin, value, INT_OPTION_MAX);
        break;
    case TIME:
        if (!parse_scaled(value, TIME, &v)) return err_hint(err_new(ERR_INVALID, "%s: '%s' is not a time", origin, value), "like 200ms, 5s, 1min");
        break;
    case SIZE:
        if (!parse_scaled(value, SIZE, &v)) return err_hint(err_new(ERR_INVALID, "%s: '%s' is not a size", origin, value), "like 512M or 2G");
        break;
    case FLAG:
        if (strcmp(value, "true") && strcmp(value, "false")) return err_new(ERR_INVALID, "%s: '%s' is not true or false", origin, value);
        break;
    case PAIR: {
        const char *eq = strchr(value, '=');
        if (!eq || eq == value) return err_new(ERR_INVALID, "%s: '%s' is not %s", origin, value, o->arg);
        add_pair(!strcmp(o->name, "set") ? &c->set : &c->param, value, eq);
        return NULL;
    }
    case STR: break;
    }
    free(map_put_str(c->values, o->name, xstrdup(value)));
    return NULL;
}

/* name: the part of `what` that should be one of an option. The near one is of this command; else all of it are told. */
static err_t *unknown(command_t cmd, const char *what, const char *name, size_t n, const char *origin) {
    AUTO(buf_free) buf_t names = buf_make(4096);
    AUTO(auto_free) char *wanted = xstrndup(name, n);
    near_t near = {.wanted = wanted};
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (options[i].commands & cmd) {
            buf_printf(&names, "%s--%s", names.len ? ", " : "", options[i].name);
            near_offer(&near, options[i].name);
        }
    err_t *e = err_new(ERR_INVALID, "unknown option %s%s%s", what, origin ? " in " : "", origin ? origin : "");
    return near_word(&near) ? err_hint(e, "did you mean --%s?", near_word(&near)) : err_hint(e, "known: %s", buf_cstr(&names));
}

static err_t *load_file(config_t *c, const char *path) {
    FILE *f = fopen(path, "re");
    if (!f) return err_from_errno(errno, "--config %s", path);
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    err_t *e = NULL;
    for (int number = 1; !e && (n = getline(&line, &cap, f)) >= 0; number++) {
        while (n > 0 && isspace((unsigned char)line[n - 1])) line[--n] = 0;
        char *p = line;
        while (isspace((unsigned char)*p)) p++;
        if (!*p || *p == '#') continue;
        char *eq = strchr(p, '='), *end = eq;
        AUTO(auto_free) char *origin = xprintf("%s:%d", path, number);
        if (!eq) {
            e = err_new(ERR_INVALID, "%s: '%s' is not name = value", origin, p);
            break;
        }
        while (end > p && isspace((unsigned char)end[-1])) end--;
        for (eq++; isspace((unsigned char)*eq);) eq++;
        const option_t *o = find_option(c->cmd, p, (size_t)(end - p));
        *end = 0;
        if (o) e = set_value(c, o, eq, origin);
        else if (!find_option((command_t)ALL, p, strlen(p))) e = unknown(c->cmd, p, p, strlen(p), origin); /* others' are fine in a shared file */
    }
    free(line);
    fclose(f);
    return e;
}

static err_t *load_environment(config_t *c, char **environment) {
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const option_t *o = &options[i];
        if (!(o->commands & c->cmd) || o->kind == PAIR) continue;
        char name[64];
        snprintf(name, sizeof name, "TIDEGATE_%s", o->name);
        for (char *p = name; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        size_t n = strlen(name);
        for (char **line = environment; line && *line; line++)
            if (!strncmp(*line, name, n) && (*line)[n] == '=') TRY(set_value(c, o, *line + n + 1, name));
    }
    return NULL;
}

static err_t *load_flag(config_t *c, int argc, char **argv, int *at) {
    const char *flag = argv[*at] + 2, *eq = strchr(flag, '=');
    size_t n = eq ? (size_t)(eq - flag) : strlen(flag);
    const option_t *o = find_option(c->cmd, flag, n);
    if (!o) return unknown(c->cmd, argv[*at], flag, n, NULL);
    AUTO(auto_free) char *origin = xprintf("--%s", o->name);
    if (o->kind == FLAG) return set_value(c, o, eq ? eq + 1 : "true", origin);
    if (eq) return set_value(c, o, eq + 1, origin);
    if (*at + 1 >= argc) return err_new(ERR_INVALID, "--%s needs a value: %s", o->name, o->arg);
    return set_value(c, o, argv[++*at], origin);
}

static err_t *load(config_t *c, int argc, char **argv, char **environment, bool *ret_help) {
    const char *file = NULL;
    for (int i = 0; i < argc; i++) { /* --config first: flags are stronger than the file */
        if (!strcmp(argv[i], "--config") && i + 1 < argc) file = argv[i + 1];
        if (!strncmp(argv[i], "--config=", 9)) file = argv[i] + 9;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return *ret_help = true, NULL;
    }
    if (file) TRY(load_file(c, file));
    TRY(load_environment(c, environment));
    c->args = xcalloc((size_t)argc + 1, sizeof *c->args);
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        if (!only_args && !strcmp(argv[i], "--")) only_args = true;
        else if (!only_args && !strncmp(argv[i], "--", 2)) TRY(load_flag(c, argc, argv, &i));
        else c->args[c->nargs++] = argv[i];
    }
    for (const command_info_t *k = commands; k->name; k++) {
        if (k->cmd != c->cmd || (c->nargs >= k->args_min && c->nargs <= k->args_max)) continue;
        return err_hint(err_new(ERR_INVALID, "tidegate %s takes %s", k->name, *k->args ? k->args : "no arguments"), "see tidegate %s --help", k->name);
    }
    return NULL;
}

err_t *config_load(command_t cmd, int argc, char **argv, char **environment, config_t **ret, bool *ret_help) {
    config_t *c = xcalloc(1, sizeof *c);
    c->cmd = cmd;
    c->values = map_new();
    *ret_help = false;
    err_t *e = load(c, argc, argv, environment, ret_help);
    if (e) config_free(c);
    else *ret = c;
    return e;
}

static void free_pairs(struct pair_list *l) {
    for (int i = 0; i < l->n; i++) {
        free((char *)l->keys[i]);
        free((char *)l->values[i]);
    }
    free(l->keys);
    free(l->values);
}

void config_free(config_t *c) {
    if (!c) return;
    map_free(c->values, free);
    free(c->args);
    free_pairs(&c->set);
    free_pairs(&c->param);
    free(c);
}

static const option_t *must_find(const config_t *c, const char *name) {
    const option_t *o = find_option(c->cmd, name, strlen(name));
    ASSERT(o != NULL);
    return o;
}

const char *config_str(const config_t *c, const char *name) {
    const char *v = map_get_str(c->values, name);
    return v ? v : must_find(c, name)->absent;
}

int64_t config_i64(const config_t *c, const char *name) {
    const option_t *o = must_find(c, name);
    const char *text = config_str(c, name);
    int64_t v = 0;
    bool ok = !text || (o->kind == INT ? parse_int(text, &v) : parse_scaled(text, o->kind, &v));
    ASSERT(ok); /* checked when it was set */
    return v;
}

bool config_flag(const config_t *c, const char *name) {
    const char *v = config_str(c, name);
    return v && !strcmp(v, "true");
}

int config_pairs(const config_t *c, const char *name, const char *const **ret_keys, const char *const **ret_values) {
    const struct pair_list *l = !strcmp(name, "set") ? &c->set : &c->param;
    *ret_keys = l->keys;
    *ret_values = l->values;
    return l->n;
}

int config_args(const config_t *c, const char *const **ret) {
    *ret = c->args;
    return c->nargs;
}

static void help_options(buf_t *out, command_t cmd) {
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const option_t *o = &options[i];
        if (!(o->commands & cmd)) continue;
        AUTO(auto_free) char *flag = xprintf("--%s %s", o->name, o->arg);
        buf_printf(out, "  %-34s %s", flag, o->doc);
        if (o->absent) buf_printf(out, " [%s]", o->absent);
        buf_puts(out, "\n");
    }
}

void config_help(buf_t *out, command_t cmd) {
    for (const command_info_t *k = commands; k->name; k++) {
        if (k->cmd != cmd) continue;
        buf_printf(out, "usage: tidegate %s [options] %s\n%s\n\noptions (also from --config FILE and TIDEGATE_<NAME>):\n", k->name, k->args, k->doc);
        help_options(out, cmd);
        return;
    }
    buf_puts(out, "tidegate " TIDEGATE_VERSION ": SQL stream processing on a cluster\n\nusage: tidegate COMMAND [options] ...\n\n");
    for (const command_info_t *k = commands; k->name; k++) buf_printf(out, "  %-12s %-16s %s\n", k->name, k->args, k->doc);
    buf_puts(out, "\ntidegate COMMAND --help tells the options of a command; tidegate --version the version.\n");
}

void config_docs(buf_t *out) {
    buf_puts(out, "# Commands and their options\n\nGenerated by `tidegate docs config`. An option is given as a flag, in the environment as\n"
                  "`TIDEGATE_<NAME>` (`--worker-timeout` is `TIDEGATE_WORKER_TIMEOUT`), or in the file of `--config` (`name = value`); the first of\n"
                  "these that names it counts. `--set` and `--param` are flags and lines of the file, never environment.\n");
    for (const command_info_t *k = commands; k->name; k++) {
        buf_printf(out, "\n## tidegate %s %s\n\n%s.\n\n| option | default | meaning |\n|---|---|---|\n", k->name, k->args, k->doc);
        for (size_t i = 0; i < ARRAY_LEN(options); i++)
            if (options[i].commands & k->cmd)
                buf_printf(out, "| `--%s%s%s` | %s | %s |\n", options[i].name, *options[i].arg ? " " : "", options[i].arg,
                           options[i].absent ? options[i].absent : "", options[i].doc);
    }
}
