/* cmd_client.c: the commands that ask a coordinator. With --json the coordinator's document is printed as it is. */
#include "cli/cli.h"
#include "common/clock.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 2000   /* for the way of an answer that came at the last moment */
#define ELECTION_MS 3000 /* so long nobody may lead, after a coordinator's start or death */
#define ELECTION_ASK_MS 50

/* Asks the coordinators in turn: a standby says it does not lead (*ret_standby), a dead one does not answer. */
static err_t *ask_all(const config_t *c, client_request_t *r, client_reply_t *ret, bool *ret_standby) {
    const char *list = config_str(c, "coordinator");
    int timeout = (int)config_i64(c, "timeout");
    bool long_op = r->op == CLIENT_SUBMIT || r->op == CLIENT_STOP || r->op == CLIENT_CANCEL || r->op == CLIENT_SAVEPOINT || r->op == CLIENT_FORGET;
    err_t *last = NULL;
    r->wait_ms = long_op ? timeout : 0; /* then it says what it waits for */
    *ret_standby = false;
    while (*list) {
        size_t n = strcspn(list, ",");
        char *address AUTO(auto_free) = xstrndup(list, n);
        list += n + (list[n] == ',');
        err_free(last);
        *ret = (client_reply_t){0};
        last = rpc_client_call(address, r, timeout + (long_op ? ANSWER_MS : 0), ret);
        bool heard = !last;
        if (!last) last = TAKE(ret->error);
        err_code_t code = err_code(last);
        if (code != ERR_UNAVAILABLE && code != ERR_TIMEOUT && code != ERR_FENCED && code != ERR_CANCELLED) return last;
        if (heard && code == ERR_TIMEOUT) return last; /* who leads has said what is missing */
        *ret_standby |= heard && !strcmp(err_text(last), NOT_THE_LEADER);
        client_reply_free(ret);
        *ret = (client_reply_t){0};
    }
    return last;
}

/* While one is there that does not lead yet, it is asked again: nothing was done, and a moment later it leads, or the other one does. */
static err_t *ask(const config_t *c, client_request_t *r, client_reply_t *ret) {
    int64_t until = clock_mono_ms() + MIN((int64_t)ELECTION_MS, config_i64(c, "timeout"));
    for (;;) {
        bool standby;
        err_t *e = ask_all(c, r, ret, &standby);
        if (!standby || (err_code(e) != ERR_UNAVAILABLE && err_code(e) != ERR_CANCELLED) || clock_mono_ms() > until) return e;
        err_free(e);
        usleep(ELECTION_ASK_MS * 1000);
    }
}

static void ago(char *out, size_t n, int64_t ms) {
    if (ms < 1000) snprintf(out, n, "%d ms", (int)ms);
    else if (ms < 120000) snprintf(out, n, "%.1f s", (double)ms / 1000);
    else if (ms < 7200000) snprintf(out, n, "%d min", (int)(ms / 60000));
    else snprintf(out, n, "%.1f h", (double)ms / 3600000);
}

static void print_time(int64_t ms) {
    char text[40];
    time_t sec = ms / 1000;
    struct tm tm;
    if (ms == INT64_MAX) snprintf(text, sizeof text, "end");
    else if (ms == INT64_MIN || !gmtime_r(&sec, &tm)) snprintf(text, sizeof text, "-");
    else strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    printf("%-20s", text);
}

static int by_age(const void *x, const void *y) {
    int64_t a = json_i64(*(json_t *const *)x, "created_ms", 0), b = json_i64(*(json_t *const *)y, "created_ms", 0);
    return (a > b) - (a < b);
}

static void print_jobs(const json_t *doc) { /* the newest last */
    const json_t *jobs = json_get(doc, "jobs");
    if (jobs) qsort(jobs->items, (size_t)jobs->n, sizeof *jobs->items, by_age);
    printf("%-12s %-24s %-11s %-10s %-20s %10s %9s  %s\n", "ID", "NAME", "STATE", "FOR", "SUBMITTED (UTC)", "EPOCH", "RESTARTS", "WAITS FOR");
    for (int i = 0; jobs && i < jobs->n; i++) {
        const json_t *j = jobs->items[i];
        char since[32];
        ago(since, sizeof since, json_i64(j, "since_ms", 0));
        printf("%-12" PRId64 " %-24s %-11s %-10s ", json_i64(j, "id", 0), json_str(j, "name", ""), json_str(j, "state", ""), since);
        print_time(json_i64(j, "created_ms", INT64_MIN));
        printf(" %10" PRId64 " %9" PRId64 "  %s\n", json_i64(j, "epoch", 0), json_i64(j, "restarts", 0), json_str(j, "waiting", ""));
    }
}

static void print_workers(const json_t *doc) {
    const json_t *ws = json_get(doc, "workers");
    printf("%-20s %-22s %-10s %6s %6s %9s %9s %8s\n", "NAME", "ADDRESS", "STATE", "SLOTS", "FREE", "MEMORY", "RSS", "HEARD");
    for (int i = 0; ws && i < ws->n; i++) {
        const json_t *w = ws->items[i];
        char heard[32];
        ago(heard, sizeof heard, json_i64(w, "heard_ms", 0));
        printf("%-20s %-22s %-10s %6" PRId64 " %6" PRId64 " %7" PRId64 " M %7" PRId64 " M %8s\n", json_str(w, "name", ""), json_str(w, "address", ""),
               json_str(w, "state", ""), json_i64(w, "slots", 0), json_i64(w, "slots_free", 0), json_i64(w, "memory", 0) >> 20, json_i64(w, "rss", 0) >> 20, heard);
    }
}

static void print_error(const json_t *e, const char *what) {
    if (!e) return;
    printf("%s: %s: ", what, json_str(e, "code", ""));
    int64_t line = json_i64(e, "line", 0); /* of the job's text */
    if (line) printf("line %" PRId64 ", column %" PRId64 ": ", line, json_i64(e, "col", 0));
    puts(json_str(e, "text", ""));
    if (json_str(e, "hint", NULL)) printf("  %s\n", json_str(e, "hint", ""));
}

static void print_tasks(const json_t *stages) {
    printf("%-6s %-8s %-12s %12s %9s %12s %9s %8s %6s %8s %10s %8s  %s\n", "STAGE", "SUBTASK", "WORKER", "ROWS IN", "A SECOND", "ROWS OUT", "A SECOND", "LATE",
           "BUSY", "BLOCKED", "STATE", "EPOCH", "WATERMARK");
    for (int i = 0; stages && i < stages->n; i++) {
        const json_t *tasks = json_get(stages->items[i], "tasks");
        for (int k = 0; tasks && k < tasks->n; k++) {
            const json_t *t = tasks->items[k];
            printf("%-6" PRId64 " %-8" PRId64 " %-12s %12" PRId64 " %9" PRId64 " %12" PRId64 " %9" PRId64 " %8" PRId64 " %5.1f%% %7.1f%% %8" PRId64 "kB %5" PRId64 " ms  ",
                   json_i64(stages->items[i], "id", 0), json_i64(t, "subtask", 0), json_str(t, "worker", ""), json_i64(t, "rows_in", 0),
                   json_i64(t, "rows_in_per_second", 0), json_i64(t, "rows_out", 0), json_i64(t, "rows_out_per_second", 0), json_i64(t, "late_rows", 0),
                   (double)json_i64(t, "busy_permille", 0) / 10, (double)json_i64(t, "blocked_permille", 0) / 10, json_i64(t, "state_bytes", 0) >> 10,
                   json_i64(t, "epoch_ms", 0));
            print_time(strcmp(json_str(t, "watermark", ""), "end") ? json_i64(t, "watermark", INT64_MIN) : INT64_MAX);
            if (json_str(t, "holds_time", NULL)) printf(" held by %s", json_str(t, "holds_time", ""));
            if (json_str(t, "blocked_on", NULL)) printf(" blocked on %s", json_str(t, "blocked_on", ""));
            putchar('\n');
        }
    }
}

static void print_job(const json_t *doc) {
    const json_t *j = json_get(doc, "job");
    char since[32];
    ago(since, sizeof since, json_i64(j, "since_ms", 0));
    printf("job %" PRId64 " '%s': %s for %s, attempt %" PRId64 ", %" PRId64 " restarts, epoch %" PRId64 "\n", json_i64(j, "id", 0), json_str(j, "name", ""),
           json_str(j, "state", ""), since, json_i64(j, "attempt", 0), json_i64(j, "restarts", 0), json_i64(j, "epoch", 0));
    if (json_str(j, "waiting", NULL)) printf("waits for: %s\n", json_str(j, "waiting", ""));
    if (json_str(j, "savepoint", NULL)) printf("savepoint: %s\n", json_str(j, "savepoint", ""));
    print_error(json_get(j, "savepoint_error"), "the savepoint of its stop is not where it was to go");
    if (json_bool(j, "holds_state", false)) printf("it holds the only copy of its state: `resume` goes on from it, `savepoint` copies it, `forget` gives it up\n");
    if (json_str(j, "unpublished", NULL)) printf("complete but not published: %s\n", json_str(j, "unpublished", ""));
    print_error(json_get(j, "error"), "error");
    const json_t *fell = json_get(j, "fell_back");
    if (fell)
        printf("warning: a damaged file made the job go back from epoch %" PRId64 " to %" PRId64 ": at-least-once output between them came a second time\n",
               json_i64(fell, "from", 0), json_i64(fell, "to", 0));
    print_error(json_get(j, "last_error"), "last error");
    print_tasks(json_get(j, "stages"));
    const json_t *lanes = json_get(j, "lanes");
    for (int i = 0; lanes && i < lanes->n; i++) {
        const json_t *l = lanes->items[i];
        printf("lane %s/%" PRId64 ": published %" PRId64 ", %s, %" PRId64 " kB pending%s%s\n", json_str(l, "sink", ""), json_i64(l, "lane", 0), json_i64(l, "published", 0),
               json_str(l, "state", "-"), json_i64(l, "pending_bytes", 0) >> 10, json_str(l, "waits_for", NULL) ? ", waits: " : "", json_str(l, "waits_for", ""));
    }
    const json_t *epochs = json_get(j, "epochs");
    for (int i = 0; epochs && i < epochs->n && i < 8; i++) {
        const json_t *e = epochs->items[i];
        printf("epoch %" PRId64 ": %" PRId64 " ms (acked after %" PRId64 "), %" PRId64 " bytes, %" PRId64 " rows%s\n", json_i64(e, "epoch", 0), json_i64(e, "duration_ms", 0),
               json_i64(e, "ack_ms", 0), json_i64(e, "bytes", 0), json_i64(e, "rows", 0), json_bool(e, "base", false) ? ", base" : "");
    }
}

/* What the operator accepted, said once more with its bounds. */
static void print_accepted(const json_t *job) {
    const json_t *why = json_get(job, "last_error"), *lanes = json_get(job, "lanes");
    if (why) fprintf(stderr, "job %" PRId64 " had stopped: %s\n", json_i64(job, "id", 0), json_str(why, "text", ""));
    fprintf(stderr, "it goes on as incarnation %016" PRIx64 " from its last epoch. These rows may have been published already and come again:\n",
            (uint64_t)json_i64(job, "incarnation", 0));
    for (int i = 0; lanes && i < lanes->n; i++)
        fprintf(stderr, "  sink %s, lane %" PRId64 ": all after epoch %" PRId64 "\n", json_str(lanes->items[i], "sink", ""),
                json_i64(lanes->items[i], "lane", 0), json_i64(lanes->items[i], "published", 0));
    if (!lanes || !lanes->n) fprintf(stderr, "  none: no sink of this job publishes exactly once, or it has no epoch yet\n");
}

/* The document's text as it came, with a line end. */
static void print_document(client_reply_t *reply) { puts(buf_cstr(&reply->json)); }

static int show(command_t cmd, const config_t *c, client_reply_t *reply) {
    if (config_flag(c, "json") || cmd == CMD_MANIFEST || cmd == CMD_LEDGER) return print_document(reply), 0;
    arena_t *a AUTO(arena_freep) = arena_new();
    json_t *doc;
    err_t *e = json_parse(a, buf_slice(&reply->json), &doc);
    if (e) return cli_fail(err_wrap(e, "the coordinator's answer"));
    const json_t *job = json_get(doc, "job");
    if (cmd == CMD_RESUME && config_flag(c, "accept-duplicates")) print_accepted(job);
    switch (cmd) {
    case CMD_JOBS: print_jobs(doc); break;
    case CMD_WORKERS: print_workers(doc); break;
    case CMD_JOB: print_job(doc); break;
    case CMD_SUBMIT:
        if (json_str(job, "waiting", NULL)) fprintf(stderr, "job %" PRId64 " is %s: %s\n", json_i64(job, "id", 0), json_str(job, "state", ""), json_str(job, "waiting", ""));
        printf("%" PRId64 "\n", json_i64(job, "id", 0));
        break;
    case CMD_FORGET: puts("forgotten"); break;
    case CMD_CANCEL:
        printf("job %" PRId64 " is %s\n", json_i64(job, "id", 0), json_str(job, "state", ""));
        if (json_str(job, "unpublished", NULL)) fprintf(stderr, "tidegate: complete output is not published: %s\n", json_str(job, "unpublished", ""));
        break;
    case CMD_SAVEPOINT:
    case CMD_STOP:
        if (json_get(job, "savepoint_error"))
            fprintf(stderr, "tidegate: the savepoint is not where it was to go: %s\n", json_str(json_get(job, "savepoint_error"), "text", ""));
        if (json_str(job, "savepoint", NULL)) printf("%s\n", json_str(job, "savepoint", ""));
        break;
    default: printf("job %" PRId64 " is %s\n", json_i64(job, "id", 0), json_str(job, "state", ""));
    }
    return 0;
}

/* An id, or the name of a job; one of digits may be either. */
static void set_job(const char *text, client_request_t *r) {
    char *end;
    errno = 0;
    unsigned long long id = strtoull(text, &end, 10);
    if (isdigit((unsigned char)*text) && !*end && !errno) r->job = id;
    r->job_name = xstrdup(text);
}

static int submit_request(const config_t *c, client_request_t *r, cli_job_t *job) {
    int status = cli_load_job(c, false, 4, job);
    if (status) return status;
    err_t *e = sql_compile(&job->source, &job->plan); /* errors of the text need no cluster */
    if (e) return cli_fail_text(e, job->text, job->file);
    cli_notices(job->plan);
    r->spec = cli_job_spec(job, c);
    r->from = config_str(c, "from") ? xstrdup(config_str(c, "from")) : NULL;
    r->new_ledger = config_flag(c, "new-ledger");
    r->accept_duplicates = config_flag(c, "accept-duplicates");
    if (!r->from && (r->new_ledger || r->accept_duplicates))
        return cli_fail(err_hint(err_new(ERR_INVALID, "--%s goes with --from", r->new_ledger ? "new-ledger" : "accept-duplicates"),
                                 "a job that begins from scratch takes any ledger, and publishes what it computes"));
    return 0;
}

int cmd_client(command_t cmd, const config_t *c) {
    static const struct { command_t cmd; client_op_t op; } ops[] = {{CMD_SUBMIT, CLIENT_SUBMIT}, {CMD_JOBS, CLIENT_JOBS}, {CMD_JOB, CLIENT_JOB},
        {CMD_CANCEL, CLIENT_CANCEL}, {CMD_STOP, CLIENT_STOP}, {CMD_SAVEPOINT, CLIENT_SAVEPOINT}, {CMD_RESUME, CLIENT_RESUME}, {CMD_WORKERS, CLIENT_WORKERS},
        {CMD_MANIFEST, CLIENT_MANIFEST}, {CMD_LEDGER, CLIENT_LEDGER}, {CMD_FORGET, CLIENT_FORGET}};
    client_request_t *r = xcalloc(1, sizeof *r);
    const char *const *args;
    int nargs = config_args(c, &args), status = 0;
    cli_job_t job = {0};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].cmd == cmd) r->op = ops[i].op;
    if (cmd == CMD_SUBMIT) status = submit_request(c, r, &job);
    else if (nargs == 2 && strcmp(args[0], "show")) status = cli_fail(err_new(ERR_INVALID, "'%s' is not show", args[0]));
    else if (nargs) set_job(args[nargs - 1], r);
    if ((cmd == CMD_SAVEPOINT || cmd == CMD_STOP) && config_str(c, "to")) r->from = xstrdup(config_str(c, "to"));
    if (cmd == CMD_RESUME) r->accept_duplicates = config_flag(c, "accept-duplicates");
    if (!status) {
        client_reply_t reply;
        err_t *e = ask(c, r, &reply);
        status = e ? cli_fail_sql(e, job.text ? job.text : "", job.file ? job.file : "") : show(cmd, c, &reply);
        client_reply_free(&reply);
    }
    cli_job_done(&job);
    client_request_free(r);
    return status;
}
