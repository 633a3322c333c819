#include "cli/cli.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX ((size_t)16 << 20)

static bool json_errors;
void cli_json_errors(void) { json_errors = true; }

/* Who reads stdout by program finds a document there in any case. */
static void print_json(const err_t *e, const char *file) {
    if (!json_errors) return;
    buf_t out = buf_make(0);
    json_writer_t w = json_writer(&out);
    jw_object(&w);
    jw_kv_err(&w, "error", e, file);
    jw_end_object(&w);
    puts(buf_cstr(&out));
    buf_free(&out);
}

int cli_fail(err_t *e) {
    print_json(e, NULL);
    int status = err_exit_code(e);
    fprintf(stderr, "tidegate: %s\n", err_text(e));
    if (err_hint_text(e)) fprintf(stderr, "  %s\n", err_hint_text(e));
    err_free(e);
    return status;
}

int cli_fail_sql(err_t *e, const char *text, const char *file) {
    if (!err_line(e)) return cli_fail(e);
    print_json(e, file);
    int status = err_exit_code(e);
    buf_t b = buf_make(1 << 20);
    sql_error_print(&b, e, text, file);
    fprintf(stderr, "%s%s", buf_cstr(&b), b.len && b.data[b.len - 1] == '\n' ? "" : "\n");
    buf_free(&b);
    err_free(e);
    return status;
}

int cli_fail_text(err_t *e, const char *text, const char *file) {
    int status = cli_fail_sql(e, text, file);
    return status == 3 ? 2 : status; /* a name that the text does not declare is wrong text, not a thing that a cluster lacks */
}

err_t *cli_read_file(const char *path, char **ret, size_t *ret_len) {
    FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
    if (!f) return err_from_errno(errno, "%s", path);
    buf_t b = buf_make(FILE_MAX);
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0) buf_put(&b, block, n);
    err_t *e = ferror(f) ? err_from_errno(errno, "%s", path) : b.overflow ? err_new(ERR_LIMIT, "%s is larger than %zu MB", path, FILE_MAX >> 20) : NULL;
    if (f != stdin) fclose(f);
    if (e) {
        buf_free(&b);
        return e;
    }
    *ret_len = b.len;
    *ret = buf_take_cstr(&b);
    return NULL;
}

void cli_log(const config_t *c, const char *component, log_level_t absent) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *level = config_str(c, "log");
    for (size_t i = 0; level && i < ARRAY_LEN(names); i++)
        if (!strcmp(level, names[i])) absent = (log_level_t)i;
    log_init(absent, component);
}

static options_t pairs(const config_t *c, const char *name) {
    const char *const *keys, *const *values;
    int n = config_pairs(c, name, &keys, &values);
    return (options_t){n, (const char **)keys, (const char **)values};
}

/* Those of --set; before them --parallelism, which is no less a word of who calls. */
static options_t settings(const config_t *c, int parallelism, cli_job_t *job) {
    options_t given = pairs(c, "set");
    job->set_keys = xcalloc((size_t)given.n + 1, sizeof *job->set_keys);
    job->set_values = xcalloc((size_t)given.n + 1, sizeof *job->set_values);
    int n = 0;
    if (parallelism) {
        snprintf(job->parallelism, sizeof job->parallelism, "%d", parallelism);
        job->set_keys[n] = "parallelism.default";
        job->set_values[n++] = job->parallelism;
    }
    for (int i = 0; i < given.n; i++) {
        job->set_keys[n] = given.keys[i];
        job->set_values[n++] = given.values[i];
    }
    return (options_t){n, job->set_keys, job->set_values};
}

int cli_load_job(const config_t *c, bool allow_select, int parallelism, cli_job_t *ret) {
    const char *const *args;
    config_args(c, &args);
    *ret = (cli_job_t){.file = xstrdup(args[0])};
    char *raw AUTO(auto_free) = NULL;
    size_t len;
    options_t params = pairs(c, "param");
    err_t *e = cli_read_file(args[0], &raw, &len);
    if (e) return cli_fail(e);
    e = sql_substitute(raw, len, &params, &ret->text, &len);
    if (e) return cli_fail_text(e, raw, args[0]);
    int asked = (int)config_i64(c, "parallelism");
    ret->source = (sql_source_t){.text = ret->text, .len = len, .file = ret->file, .set = settings(c, asked, ret), .parallelism = asked ? asked : parallelism,
                                 .allow_select = allow_select};
    return 0;
}

void cli_job_done(cli_job_t *j) {
    plan_free(j->plan);
    free(j->set_keys);
    free(j->set_values);
    free(j->file);
    free(j->text);
}

job_spec_t cli_job_spec(const cli_job_t *j, const config_t *c) {
    job_spec_t s = {.name = xstrdup(j->plan->job_name), .sql = xstrdup(j->text), .file = xstrdup(j->file), .parallelism = j->source.parallelism};
    s.nset = j->source.set.n;
    s.set_keys = xcalloc((size_t)s.nset + 1, sizeof *s.set_keys);
    s.set_values = xcalloc((size_t)s.nset + 1, sizeof *s.set_values);
    for (int i = 0; i < s.nset; i++) {
        s.set_keys[i] = xstrdup(j->source.set.keys[i]);
        s.set_values[i] = xstrdup(j->source.set.values[i]);
    }
    return s;
}

void cli_notices(const plan_t *p) {
    for (int i = 0; i < p->nnotices; i++) fprintf(stderr, "notice: %s\n", p->notices[i]);
}

int cmd_explain(const config_t *c) {
    cli_job_t j;
    int status = cli_load_job(c, true, 4, &j);
    buf_t out = buf_make(0);
    if (!status) {
        err_t *e = sql_explain(&j.source, &out);
        if (e) status = cli_fail_text(e, j.text, j.file);
        else if (config_flag(c, "json")) {
            buf_t doc = buf_make(0);
            json_writer_t w = json_writer(&doc);
            jw_object(&w);
            jw_name(&w, "plan");
            jw_strn(&w, (const char *)out.data, out.len);
            jw_end_object(&w);
            puts(buf_cstr(&doc));
            buf_free(&doc);
        } else fputs(buf_cstr(&out), stdout);
    }
    buf_free(&out);
    cli_job_done(&j);
    return status;
}
