/* fakes.h: a temporary directory, a disk that fails at the n-th call, and seals to write. */
#pragma once
#include "state/changelog.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <unistd.h>

typedef struct tmp { char path[64]; } tmp_t;
__attribute__((unused)) static tmp_t tmp_new(void) {
    tmp_t t;
    strcpy(t.path, "/tmp/tidegate-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.path));
    return t;
}
__attribute__((unused)) static void tmp_free(tmp_t *t) {
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", t->path);
    ck_assert_int_eq(system(cmd), 0);
}

/* Passes everything on to a real disk, but the call number `at` (from 1; append, sync and create count) fails with `code`. A failed
 * append has written half of its bytes, as a full disk does. */
typedef struct bad_disk { disk_t vt; disk_t *real; int calls, at; err_code_t code; } bad_disk_t;
static bool bad_now(disk_t *d) {
    bad_disk_t *b = (bad_disk_t *)d;
    return ++b->calls == b->at;
}
static err_t *bad_error(disk_t *d, const char *what) {
    return err_new(((bad_disk_t *)d)->code, "%s fails, said the test", what);
}
static err_t *bad_create(disk_t *d, const char *path, disk_file_t **ret) {
    disk_t *r = ((bad_disk_t *)d)->real;
    bool bad = bad_now(d);
    err_t *e = r->create(r, path, ret);
    if (e || !bad) return e;
    r->close(r, *ret); /* the file is there, its directory may not be durable */
    return bad_error(d, "create");
}
static err_t *bad_append(disk_t *d, disk_file_t *f, slice_t bytes) {
    disk_t *r = ((bad_disk_t *)d)->real;
    if (!bad_now(d)) return r->append(r, f, bytes);
    err_free(r->append(r, f, slice_of(bytes.p, bytes.len / 2)));
    return bad_error(d, "append");
}
static err_t *bad_sync(disk_t *d, disk_file_t *f) {
    disk_t *r = ((bad_disk_t *)d)->real;
    return bad_now(d) ? bad_error(d, "sync") : r->sync(r, f);
}
static void bad_close(disk_t *d, disk_file_t *f) { ((bad_disk_t *)d)->real->close(((bad_disk_t *)d)->real, f); }
static err_t *bad_read(disk_t *d, const char *path, uint64_t from, uint64_t len, buf_t *ret) {
    disk_t *r = ((bad_disk_t *)d)->real;
    return r->read(r, path, from, len, ret);
}
static err_t *bad_put(disk_t *d, const char *path, slice_t bytes) {
    disk_t *r = ((bad_disk_t *)d)->real;
    return bad_now(d) ? bad_error(d, "put") : r->put(r, path, bytes);
}
static err_t *bad_import(disk_t *d, const char *local, const char *path) {
    disk_t *r = ((bad_disk_t *)d)->real;
    return bad_now(d) ? bad_error(d, "import") : r->import(r, local, path);
}
static err_t *bad_remove(disk_t *d, const char *path) { return ((bad_disk_t *)d)->real->remove(((bad_disk_t *)d)->real, path); }
static const char *bad_where(disk_t *d) { return "bad"; }
__attribute__((unused)) static bad_disk_t bad_disk(disk_t *real, int at, err_code_t code) {
    bad_disk_t b = {.real = real, .at = at, .code = code};
    b.vt = (disk_t){.create = bad_create, .append = bad_append, .sync = bad_sync, .close = bad_close, .read = bad_read,
                    .put = bad_put, .remove = bad_remove, .import = bad_import, .where = bad_where};
    return b;
}

/* The seal of one task with one keyed state and one lane segment. */
__attribute__((unused)) static task_seal_t *seal_new(epoch_t epoch, int stage, int subtask) {
    task_seal_t *s = xcalloc(1, sizeof *s);
    *s = (task_seal_t){.epoch = epoch, .stage = stage, .subtask = subtask, .watermark = (int64_t)epoch * 1000, .rows_since = 5};
    return s;
}
__attribute__((unused)) static buf_t *seal_state(task_seal_t *s, uint64_t fingerprint, int op, int slot) {
    s->states = xrealloc(s->states, (size_t)(s->nstates + 1) * sizeof *s->states);
    s->states[s->nstates] = (state_seal_t){op, fingerprint, slot, buf_make(1 << 26)};
    return &s->states[s->nstates++].bytes;
}
__attribute__((unused)) static void seal_sink(task_seal_t *s, uint64_t fingerprint, int lane, const char *rows) {
    s->sinks = xrealloc(s->sinks, (size_t)(s->nsinks + 1) * sizeof *s->sinks);
    s->sinks[s->nsinks] = (sink_seal_t){3, fingerprint, lane, 1, buf_make(1 << 20)};
    buf_puts(&s->sinks[s->nsinks++].segment, rows);
}
