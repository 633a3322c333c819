/* filesystem_rig.h: a directory, what is visible in it, and a writer that dies when the test says so. */
#pragma once
#include "tests/connector/support.h"
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct dir {
    char path[256];
} dir_t;
static dir_t dir_new(void) {
    dir_t d;
    const char *tmp = getenv("TMPDIR");
    snprintf(d.path, sizeof d.path, "%.200s/tidegate-fs-XXXXXX", tmp ? tmp : P_tmpdir);
    ck_assert_ptr_nonnull(mkdtemp(d.path));
    return d;
}
static void dir_remove(const dir_t *d) {
    char *cmd = xprintf("rm -rf '%s'", d->path);
    ck_assert_int_eq(system(cmd), 0);
    free(cmd);
}
typedef struct seen {
    uint8_t count[4096]; /* visible rows by value of "v" */
    int files, hidden, rows;
} seen_t;

static void look(const char *dir, seen_t *s) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *path AUTO(auto_free) = xprintf("%s/%s", dir, e->d_name);
        struct stat st;
        ck_assert_int_eq(stat(path, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            look(path, s);
        } else if (e->d_name[0] == '.') {
            s->hidden++;
        } else {
            s->files++;
            FILE *f = fopen(path, "r");
            int v;
            char line[256];
            while (fgets(line, sizeof line, f)) {
                ck_assert_int_eq(sscanf(line, "{\"v\":%d", &v), 1);
                ck_assert_int_eq(line[strlen(line) - 1], '\n');
                s->count[v]++;
                s->rows++;
            }
            fclose(f);
        }
    }
    closedir(d);
}

typedef struct writer {
    fixture_t f;
    plan_op_t op;
    eval_ctx_t eval;
    sink_t sink;
    int subtask, parallelism;
    uint64_t incarnation, origin;
    bool forced, final;
} writer_t;

static writer_t writer_new(const dir_t *d) {
    writer_t w = {.f = fixture_new(), .parallelism = 1, .incarnation = 0xabc, .eval = {.now_ms = 1000}};
    fixture_column(&w.f, "v", &type_int);
    fixture_column(&w.f, "p", &type_string);
    fixture_option(&w.f, "connector", "filesystem");
    fixture_option(&w.f, "path", d->path);
    fixture_option(&w.f, "format", "json");
    return w;
}
/* restore from `bytes` (NULL: a fresh start) */
static void writer_open(writer_t *w, const buf_t *bytes, int n) {
    w->op = (plan_op_t){.kind = OP_SINK, .table = &w->f.table, .schema = w->f.table.physical};
    w->sink = (sink_t){.vt = &filesystem_sink, .self = xcalloc(1, filesystem_sink.state_size)};
    w->sink.env = (op_env_t){.op = &w->op, .eval = &w->eval, .subtask = w->subtask, .parallelism = w->parallelism,
                             .incarnation = w->incarnation, .origin = w->origin, .forced = w->forced, .final = w->final};
    ck_ok(filesystem_sink.open(&w->sink));
    for (int i = 0; i < n; i++)
        if (bytes[i].len) ck_ok(filesystem_sink.restore(&w->sink, buf_slice(&bytes[i])));
}
static void writer_kill(writer_t *w) { /* what was not written is lost with the process */
    filesystem_sink.close(&w->sink);
    free(w->sink.self);
}
static void writer_rows(writer_t *w, int from, int n) {
    decoder_t *d;
    ck_ok(fixture_decoder(&w->f, "json", &d));
    for (int i = from; i < from + n; i++) {
        char msg[64];
        snprintf(msg, sizeof msg, "{\"v\":%d,\"p\":\"p%d/x\"}", i, i % 3);
        ck_ok(decoder_message(d, slice_str(msg)));
    }
    batch_t *b;
    decoder_take(d, &b);
    err_t *e = NULL;
    op_status_t st = filesystem_sink.write(&w->sink, b, &e);
    ck_assert_msg(st == OP_DONE, "%s", err_text(e));
    batch_free(b);
    decoder_free(d);
}
static void writer_seal(writer_t *w, epoch_t epoch, buf_t *bytes) {
    buf_t segment = buf_make(1024);
    err_t *e = NULL;
    buf_clear(bytes);
    ck_assert_msg(filesystem_sink.seal(&w->sink, epoch, bytes, &segment, &e) == OP_DONE, "%s", err_text(e));
    ck_assert_uint_eq(segment.len, 0);
}
static void must_see(const dir_t *d, int rows) {
    seen_t s = {0};
    look(d->path, &s);
    for (int i = 0; i < rows; i++) ck_assert_msg(s.count[i] == 1, "row %d is there %d times", i, s.count[i]);
    ck_assert_int_eq(s.rows, rows);
}
