/* Files as source and sink: positions at record starts, and exactly the rows of complete epochs whatever dies when. */
#include "common/clock.h"
#include "tests/connector/filesystem_rig.h"
#include <fcntl.h>

/* ------------------------------------------------------------------ support */
static char *put_file(const dir_t *d, const char *name, const char *text) {
    char *path = xprintf("%s/%s", d->path, name), *slash = strrchr(path, '/');
    *slash = 0;
    char *cmd = xprintf("mkdir -p '%s'", path);
    ck_assert_int_eq(system(cmd), 0);
    free(cmd);
    *slash = '/';
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    return path;
}


/* ------------------------------------------------------------------ source */
typedef struct run {
    fixture_t f;
    plan_op_t op;
    eval_ctx_t eval;
    source_t source;
    int scan[16];
    const type_t *narrowed; /* of the last column, as the plan has it; NULL: as declared */
} run_t;

static void run_open(run_t *r, int nscan, const split_list_t *splits) {
    const schema_t *physical = r->f.table.physical, *metadata = r->f.table.metadata;
    schema_t *s = schema_new(r->f.arena, nscan);
    for (int i = 0; i < nscan; i++)
        s->fields[i] = r->scan[i] < physical->n ? physical->fields[r->scan[i]] : metadata->fields[r->scan[i] - physical->n];
    if (r->narrowed) s->fields[nscan - 1].type = r->narrowed;
    r->op = (plan_op_t){.kind = OP_SOURCE, .table = &r->f.table, .nscan = nscan, .scan = r->scan, .schema = s};
    r->source = (source_t){.vt = &filesystem_source, .self = xcalloc(1, filesystem_source.state_size)};
    r->source.env = (op_env_t){.op = &r->op, .eval = &r->eval, .parallelism = 1};
    for (int i = 0; i < splits->n; i++) split_list_add(&r->source.splits, &splits->items[i]);
    ck_ok(filesystem_source.open(&r->source));
}
static void run_close(run_t *r) {
    filesystem_source.close(&r->source);
    free(r->source.self);
    split_list_free(&r->source.splits);
}
static char *run_all(run_t *r, int max_batches) {
    buf_t out = buf_make(BUF_MAX_DEFAULT);
    while (max_batches-- > 0) {
        batch_t *b = NULL;
        int split;
        err_t *e = NULL;
        src_status_t st = filesystem_source.poll(&r->source, &b, &split, &e);
        ck_assert_msg(st != SRC_FAIL, "%s", err_text(e));
        if (b) {
            char *t = batch_text(b);
            buf_puts(&out, out.len ? ";" : "");
            buf_puts(&out, t);
            free(t);
            batch_free(b);
        }
        if (st == SRC_ENDED) break;
    }
    return buf_take_cstr(&out);
}

static run_t json_files(const dir_t *d) {
    run_t r = {.f = fixture_new()};
    fixture_column(&r.f, "v", &type_int);
    fixture_column(&r.f, "s", &type_string);
    fixture_option(&r.f, "connector", "filesystem");
    fixture_option(&r.f, "path", d->path);
    fixture_option(&r.f, "format", "json");
    for (int i = 0; i < 16; i++) r.scan[i] = i;
    return r;
}

START_TEST(reads_a_directory_tree) {
    dir_t d = dir_new();
    run_t r = json_files(&d);
    free(put_file(&d, "a.json", "{\"v\":1}\n{\"v\":2}\r\n\n{\"v\":3,\"s\":\"x\"}"));
    free(put_file(&d, "sub/b.json", "{\"v\":4}\n"));
    free(put_file(&d, ".hidden", "nonsense"));
    free(put_file(&d, "_SUCCESS", "nonsense"));
    free(put_file(&d, "_tmp/x", "nonsense"));
    free(put_file(&d, "empty", ""));
    ck_ok(filesystem_source.check(&r.f.table));
    split_list_t l = {0};
    ck_ok(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l));
    ck_assert_int_eq(l.n, 2);
    ck_assert(strncmp(l.items[0].id, "file:///", 8) == 0 && strstr(l.items[0].id, "/a.json"));
    run_open(&r, 2, &l);
    char *text = run_all(&r, 100);
    ck_assert_str_eq(text, "1|NULL;2|NULL;3|x;4|NULL");
    free(text);
    ck_assert(r.source.splits.items[0].ended && r.source.splits.items[1].ended);
    run_close(&r);
    split_list_free(&l);
    fixture_free(&r.f);
    dir_remove(&d);
}
END_TEST

START_TEST(a_row_comes_with_the_fields_the_plan_asks_for) {
    dir_t d = dir_new();
    run_t r = json_files(&d);
    const type_t *inner[] = {&type_string, &type_int}, *outer[2] = {&type_bigint, NULL};
    outer[1] = type_row(r.f.arena, 2, inner, (const char *const[]){"city", "zip"}, true);
    fixture_column(&r.f, "person", type_row(r.f.arena, 2, outer, (const char *const[]){"id", "home"}, true));
    free(put_file(&d, "a.json", "{\"v\":1,\"person\":{\"id\":7,\"home\":{\"city\":\"not\\nread\",\"zip\":9}}}\n{\"person\":{\"id\":8}}\n{\"person\":null}\n"));
    ck_assert(filesystem_source.narrows(&r.f.table, 2));
    const type_t *home = type_row(r.f.arena, 1, &inner[1], (const char *const[]){"zip"}, true);
    r.narrowed = type_row(r.f.arena, 1, &home, (const char *const[]){"home"}, true);
    r.scan[1] = 2;
    split_list_t l = {0};
    ck_ok(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l));
    run_open(&r, 2, &l);
    char *text = run_all(&r, 100);
    ck_assert_str_eq(text, "1|((9));NULL|(NULL);NULL|NULL");
    free(text);
    run_close(&r);
    split_list_free(&l);
    fixture_free(&r.f);
    /* what is read by position has all of its fields */
    run_t csv = {.f = fixture_new()};
    fixture_option(&csv.f, "format", "csv");
    ck_assert(!filesystem_source.narrows(&csv.f.table, 0));
    fixture_free(&csv.f);
    dir_remove(&d);
}
END_TEST

START_TEST(goes_on_where_it_stopped) {
    dir_t d = dir_new();
    run_t r = json_files(&d);
    buf_t text = buf_make(BUF_MAX_DEFAULT), want = buf_make(BUF_MAX_DEFAULT), got = buf_make(BUF_MAX_DEFAULT);
    for (int i = 0; i < 20000; i++) {
        buf_printf(&text, "{\"v\":%d,\"s\":\"row %d\"}\n", i, i);
        buf_printf(&want, "%d|row %d;", i, i);
    }
    free(put_file(&d, "a", buf_cstr(&text)));
    split_list_t l = {0};
    ck_ok(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l));
    for (int restart = 0; !l.items[0].ended && restart < 100; restart++) {
        run_open(&r, 2, &l);
        char *t = run_all(&r, 1);
        buf_printf(&got, "%s;", t);
        free(t);
        split_list_free(&l); /* the sealed position is all that survives */
        l = (split_list_t){0};
        split_list_add(&l, &r.source.splits.items[0]);
        run_close(&r);
    }
    ck_assert(slice_eq(buf_slice(&want), buf_slice(&got)));
    split_list_free(&l);
    buf_free(&text);
    buf_free(&want);
    buf_free(&got);
    fixture_free(&r.f);
    dir_remove(&d);
}
END_TEST

START_TEST(bad_records_name_file_line_and_byte) {
    dir_t d = dir_new();
    run_t r = json_files(&d);
    free(put_file(&d, "a.json", "{\"v\":1}\n{\"v\":\"x\"}\n"));
    split_list_t l = {0};
    ck_ok(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l));
    run_open(&r, 2, &l);
    batch_t *b = NULL;
    int split;
    err_t *e = NULL;
    ck_assert_int_eq(filesystem_source.poll(&r.source, &b, &split, &e), SRC_FAIL);
    ck_assert_int_eq(err_code(e), ERR_DATA);
    ck_assert_msg(strstr(err_text(e), "a.json: line 2, byte 8: JSON: byte 5"), "%s", err_text(e));
    err_free(e);
    run_close(&r);
    split_list_free(&l);
    fixture_free(&r.f);
    dir_remove(&d);
}
END_TEST

START_TEST(partition_columns_and_metadata_come_from_the_path) {
    dir_t d = dir_new();
    run_t r = json_files(&d);
    fixture_column(&r.f, "dt", &type_date);
    static const int partition[] = {2};
    r.f.table.npartition = 1;
    r.f.table.partition = partition;
    r.f.table.metadata = schema_new(r.f.arena, 1);
    r.f.table.metadata->fields[0] = (field_t){"name", &type_string};
    static const char *keys[] = {"file.name"};
    r.f.table.metadata_keys = keys;
    free(put_file(&d, "dt=2020-01-02/x%20y", "{\"v\":1}\n{\"v\":2}\n"));
    free(put_file(&d, "dt=__DEFAULT_PARTITION__/z", "{\"v\":3}\n"));
    ck_ok(filesystem_source.check(&r.f.table));
    split_list_t l = {0};
    ck_ok(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l));
    r.scan[0] = 0, r.scan[1] = 2, r.scan[2] = 3;
    run_open(&r, 3, &l);
    char *text = run_all(&r, 100);
    ck_assert_str_eq(text, "1|2020-01-02|x%20y;2|2020-01-02|x%20y;3|NULL|z");
    free(text);
    run_close(&r);
    split_list_free(&l);
    fixture_free(&r.f);
    dir_remove(&d);
}
END_TEST

START_TEST(wrong_tables_are_refused) {
    dir_t d = dir_new();
    run_t r = json_files(&d);
    split_list_t l = {0};
    fixture_option(&r.f, "json.ignore-parse-erors", "true");
    ck_fails(filesystem_source.check(&r.f.table), ERR_INVALID, "no option 'json.ignore-parse-erors'");
    r.f.table.options.n--;
    fixture_option(&r.f, "source.monitor-interval", "1 s");
    ck_fails(filesystem_source.check(&r.f.table), ERR_UNSUPPORTED, "source.monitor-interval");
    r.f.table.options.n--;
    fixture_option(&r.f, "json.dead-letter.topic", "bad");
    ck_fails(filesystem_source.check(&r.f.table), ERR_UNSUPPORTED, "json.dead-letter.topic");
    r.f.table.options.n--;
    char *gz = put_file(&d, "x.json.gz", "not unpacked");
    ck_fails(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l), ERR_UNSUPPORTED, ".gz");
    free(gz);
    r.f.table.options.values[1] = "s3://bucket/x";
    ck_fails(filesystem_source.check(&r.f.table), ERR_UNSUPPORTED, "s3://");
    r.f.table.options.values[1] = "/no/such/place";
    ck_fails(filesystem_source.enumerate(&r.f.table, NULL, 1000, &l), ERR_NOT_FOUND, "/no/such/place");
    r.f.table.options.n = 1;
    ck_fails(filesystem_source.check(&r.f.table), ERR_INVALID, "needs the option 'path'");
    fixture_free(&r.f);
    dir_remove(&d);
}
END_TEST

/* ------------------------------------------------------------------ sink */
START_TEST(rows_appear_when_their_part_is_closed_by_a_complete_epoch) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d);
    buf_t seal = buf_make(1 << 20);
    ck_ok(filesystem_sink.check(&w.f.table));
    ck_ok(filesystem_sink.prepare(&w.f.table, NULL, 1000));
    writer_open(&w, NULL, 0);
    ck_ok(filesystem_sink.start(&w.sink));
    writer_rows(&w, 0, 10);
    writer_seal(&w, 1, &seal);
    ck_ok(filesystem_sink.complete(&w.sink, 1));
    must_see(&d, 0); /* the part is open: by size and age it goes on */
    writer_rows(&w, 10, 10);
    ck_ok(filesystem_sink.end(&w.sink));
    must_see(&d, 0);
    writer_seal(&w, 2, &seal);
    must_see(&d, 0);
    ck_ok(filesystem_sink.complete(&w.sink, 1));
    must_see(&d, 0);
    ck_ok(filesystem_sink.complete(&w.sink, 2));
    must_see(&d, 20);
    seen_t s = {0};
    look(d.path, &s);
    ck_assert_int_eq(s.files, 1);
    ck_assert_int_eq(s.hidden, 0);
    writer_kill(&w);
    buf_free(&seal);
    fixture_free(&w.f);
    dir_remove(&d);
}
END_TEST

START_TEST(parts_roll_by_size_and_age) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d);
    fixture_option(&w.f, "sink.rolling-policy.file-size", "1kb");
    fixture_option(&w.f, "sink.rolling-policy.rollover-interval", "10 s");
    buf_t seal = buf_make(1 << 20);
    writer_open(&w, NULL, 0);
    ck_ok(filesystem_sink.start(&w.sink));
    writer_rows(&w, 0, 100);
    writer_seal(&w, 1, &seal);
    ck_ok(filesystem_sink.complete(&w.sink, 1));
    seen_t s = {0};
    look(d.path, &s);
    ck_assert_int_eq(s.files, 1);
    ck_assert_int_eq(s.hidden, 1);
    w.eval.now_ms += 10000;
    writer_seal(&w, 2, &seal); /* nothing came: the age alone closes it */
    ck_ok(filesystem_sink.complete(&w.sink, 2));
    must_see(&d, 100);
    writer_kill(&w);
    buf_free(&seal);
    fixture_free(&w.f);
    dir_remove(&d);
}
END_TEST

START_TEST(partitions_are_directories) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d);
    static const int partition[] = {1};
    w.f.table.npartition = 1;
    w.f.table.partition = partition;
    buf_t seal = buf_make(1 << 20);
    writer_open(&w, NULL, 0);
    ck_ok(filesystem_sink.start(&w.sink));
    writer_rows(&w, 0, 9);
    ck_ok(filesystem_sink.end(&w.sink));
    writer_seal(&w, 1, &seal);
    ck_ok(filesystem_sink.complete(&w.sink, 1));
    must_see(&d, 9);
    char *path = xprintf("%s/p=p1%%2Fx", d.path);
    seen_t s = {0};
    look(path, &s);
    ck_assert_int_eq(s.rows, 3);
    ck_assert_int_eq(s.files, 1);
    free(path);
    writer_kill(&w);
    buf_free(&seal);
    fixture_free(&w.f);
    dir_remove(&d);
}
END_TEST

/* A job of 12 epochs; step k of it is where the process dies. What a restore from the last complete epoch makes visible is
 * exactly its rows, and the job runs on to the end. */
static void crash_at(int die, bool partitioned) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d);
    static const int partition[] = {1};
    if (partitioned) {
        w.f.table.npartition = 1;
        w.f.table.partition = partition;
    }
    fixture_option(&w.f, "sink.rolling-policy.file-size", "300");
    buf_t seal = buf_make(1 << 20), complete = buf_make(1 << 20);
    int step = 0, rows = 0, committed = 0;
    writer_open(&w, NULL, 0);
    ck_ok(filesystem_sink.start(&w.sink));
    for (epoch_t e = 1; e <= 12; e++) {
        bool died = false;
        writer_rows(&w, rows, 7);
        rows += 7;
        died = step++ == die;
        if (!died) {
            if (e == 12) ck_ok(filesystem_sink.end(&w.sink));
            died = step++ == die;
        }
        if (!died) {
            writer_seal(&w, e, &seal);
            died = step++ == die;
        }
        if (!died) { /* the manifest is durable: the epoch happened, whether or not we hear of it */
            buf_clear(&complete);
            buf_put(&complete, seal.data, seal.len);
            committed = rows;
            died = step++ == die;
        }
        if (!died) {
            ck_ok(filesystem_sink.complete(&w.sink, e));
            died = step++ == die;
        }
        if (!died) continue;
        writer_kill(&w);
        writer_open(&w, &complete, 1);
        writer_kill(&w); /* and once more, before and after the recovery */
        for (int again = 0; again < 2; again++) {
            if (again) writer_kill(&w);
            w.final = again == 0 && e == 12 && committed == 12 * 7; /* the end: nothing starts any more */
            writer_open(&w, &complete, 1);
            if (!w.final) ck_ok(filesystem_sink.start(&w.sink));
            must_see(&d, committed);
        }
        seen_t s = {0};
        look(d.path, &s);
        ck_assert_int_eq(s.hidden, 0); /* nothing of the dead attempt is left */
        rows = committed;
        if (e == 12 && committed == 12 * 7) break;
        if (rows < (int)e * 7) e--; /* the epoch's rows come again */
    }
    ck_assert_int_eq(rows, 12 * 7);
    must_see(&d, 12 * 7);
    writer_kill(&w);
    buf_free(&seal);
    buf_free(&complete);
    fixture_free(&w.f);
    dir_remove(&d);
}

START_TEST(dies_at_every_step) {
    for (int die = 0; die <= 12 * 5; die++) {
        crash_at(die, false);
        crash_at(die, true);
    }
}
END_TEST

START_TEST(a_late_writer_of_a_dead_attempt_changes_nothing) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d), zombie;
    buf_t seal = buf_make(1 << 20);
    writer_open(&w, NULL, 0);
    ck_ok(filesystem_sink.start(&w.sink));
    writer_rows(&w, 0, 5);
    writer_seal(&w, 1, &seal);
    zombie = w;
    zombie.sink.env.op = &zombie.op;
    zombie.sink.env.eval = &zombie.eval;
    writer_open(&w, &seal, 1);
    ck_ok(filesystem_sink.start(&w.sink));
    must_see(&d, 5);
    zombie.op.table = &zombie.f.table;
    writer_rows(&zombie, 100, 5); /* wakes up and goes on into its file */
    buf_t late = buf_make(1 << 20);
    writer_seal(&zombie, 2, &late);
    must_see(&d, 5);
    writer_kill(&zombie);
    writer_kill(&w);
    buf_free(&seal);
    buf_free(&late);
    fixture_free(&w.f);
    dir_remove(&d);
}
END_TEST

START_TEST(rescaled_seals_have_one_owner) {
    for (int run = 2; run <= 11; run++) {
        int to = run / 2;
        bool everybody = run % 2;
        dir_t d = dir_new();
        writer_t w[5];
        buf_t seals[3];
        for (int i = 0; i < 3; i++) {
            w[i] = writer_new(&d);
            w[i].subtask = i;
            w[i].parallelism = 3;
            seals[i] = buf_make(1 << 20);
            writer_open(&w[i], NULL, 0);
            ck_ok(filesystem_sink.start(&w[i].sink));
            writer_rows(&w[i], i * 10, 10);
            writer_seal(&w[i], 1, &seals[i]);
            writer_rows(&w[i], 100 + i, 1); /* of the epoch that never completes */
        }
        for (int i = 0; i < 3; i++) {
            writer_kill(&w[i]);
            fixture_free(&w[i].f);
        }
        for (int i = 0; i < to; i++) {
            w[i] = writer_new(&d);
            w[i].subtask = i;
            w[i].parallelism = to;
            buf_t mine[3];
            int n = 0;
            for (int k = 0; k < 3; k++)
                if (everybody || k % to == i) mine[n++] = seals[k]; /* else as the worker does it: worker/runtime_restore.c */
            writer_open(&w[i], mine, n);
        }
        for (int i = 0; i < to; i++) ck_ok(filesystem_sink.start(&w[i].sink));
        must_see(&d, 30);
        seen_t s = {0};
        look(d.path, &s);
        ck_assert_int_eq(s.hidden, 0);
        buf_t seal = buf_make(1 << 20);
        for (int i = 0; i < to; i++) writer_rows(&w[i], 30 + i * 10, 10);
        for (int i = 0; i < to; i++) {
            ck_ok(filesystem_sink.end(&w[i].sink));
            writer_seal(&w[i], 2, &seal);
            ck_ok(filesystem_sink.complete(&w[i].sink, 2));
        }
        must_see(&d, 30 + to * 10); /* no part overwrote another */
        for (int i = 0; i < to; i++) {
            writer_kill(&w[i]);
            fixture_free(&w[i].f);
        }
        for (int i = 0; i < 3; i++) buf_free(&seals[i]);
        buf_free(&seal);
        dir_remove(&d);
    }
}
END_TEST

START_TEST(lost_files_and_bad_seals_are_loud) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d);
    buf_t seal = buf_make(1 << 20);
    writer_open(&w, NULL, 0);
    ck_ok(filesystem_sink.start(&w.sink));
    writer_rows(&w, 0, 5);
    writer_seal(&w, 1, &seal);
    writer_kill(&w);
    char *cmd = xprintf("rm -rf '%s'/.part*", d.path);
    ck_assert_int_eq(system(cmd), 0);
    free(cmd);
    writer_open(&w, NULL, 0);
    ck_fails(filesystem_sink.restore(&w.sink, buf_slice(&seal)), ERR_CORRUPT, "committed rows are lost");
    ck_fails(filesystem_sink.restore(&w.sink, slice_of(seal.data, seal.len - 3)), ERR_CORRUPT, "malformed");
    ck_fails(filesystem_sink.restore(&w.sink, slice_of("\x07", 1)), ERR_VERSION, "version 7");
    ck_fails(filesystem_sink.restore(&w.sink, slice_of("", 0)), ERR_CORRUPT, "malformed");
    writer_kill(&w);
    buf_free(&seal);
    fixture_free(&w.f);
    dir_remove(&d);
}
END_TEST

START_TEST(updates_are_refused) {
    dir_t d = dir_new();
    writer_t w = writer_new(&d);
    writer_open(&w, NULL, 0);
    batch_t *b = batch_new_schema(w.f.table.physical, 1);
    b->kinds = mem_zalloc(b->mem, 1);
    b->kinds[0] = ROW_DELETE;
    err_t *e = NULL;
    ck_assert_int_eq(filesystem_sink.write(&w.sink, b, &e), OP_FAIL);
    ck_assert_int_eq(err_code(e), ERR_UNSUPPORTED);
    err_free(e);
    batch_free(b);
    writer_kill(&w);
    fixture_free(&w.f);
    dir_remove(&d);
}
END_TEST

TESTS("filesystem", reads_a_directory_tree, a_row_comes_with_the_fields_the_plan_asks_for, goes_on_where_it_stopped, bad_records_name_file_line_and_byte,
      partition_columns_and_metadata_come_from_the_path, wrong_tables_are_refused,
      rows_appear_when_their_part_is_closed_by_a_complete_epoch, parts_roll_by_size_and_age, partitions_are_directories,
      dies_at_every_step, a_late_writer_of_a_dead_attempt_changes_nothing, rescaled_seals_have_one_owner,
      lost_files_and_bad_seals_are_loud,
      updates_are_refused)
