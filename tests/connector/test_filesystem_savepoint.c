/* Files of a job that begins from a savepoint: what lies behind it is refused, and nothing is changed before. */
#include "tests/connector/filesystem_rig.h"

/* A job's directory, its writer and its savepoints. */
typedef struct story {
    dir_t d;
    writer_t w;
    buf_t savepoint, late, seal;
} story_t;

static void story_begin(story_t *s) {
    s->d = dir_new();
    s->w = writer_new(&s->d);
    s->savepoint = buf_make(1 << 20), s->late = buf_make(1 << 20), s->seal = buf_make(1 << 20);
}

static void story_end(story_t *s) {
    buf_free(&s->savepoint);
    buf_free(&s->late);
    buf_free(&s->seal);
    fixture_free(&s->w.f);
    dir_remove(&s->d);
}

static void writer_starts(writer_t *w, const buf_t *from) {
    writer_open(w, from, from ? 1 : 0);
    ck_ok(filesystem_sink.start(&w->sink));
}

/* The rows, and with `close` no more into their part. */
static void writer_goes_on(writer_t *w, int from, int n, bool close, epoch_t epoch, buf_t *seal) {
    if (n) writer_rows(w, from, n);
    if (close) ck_ok(filesystem_sink.end(&w->sink));
    writer_seal(w, epoch, seal);
    ck_ok(filesystem_sink.complete(&w->sink, epoch));
}

/* Another job from the savepoint of the one before. */
static void writer_dies(writer_t *w) {
    writer_kill(w);
    w->origin = w->incarnation;
    w->incarnation = 0xdef;
}

/* Part 0 was open when the savepoint was taken. Its job closed it, and another one. */
START_TEST(files_written_behind_a_savepoint_stop_who_begins_from_it) {
    for (int behind = 0; behind < 2; behind++) {
        story_t s;
        story_begin(&s);
        writer_t *w = &s.w;
        writer_starts(w, NULL);
        writer_rows(w, 0, 5);
        if (behind) writer_rows(w, 5, 5);
        writer_seal(w, 1, &s.savepoint);
        if (behind) writer_goes_on(w, 10, 5, true, 2, &s.seal);
        if (behind) writer_goes_on(w, 15, 5, true, 3, &s.seal); /* into part 1 */
        writer_dies(w);
        writer_open(w, NULL, 0);
        if (behind) {
            err_t *e = filesystem_sink.restore(&w->sink, buf_slice(&s.savepoint));
            ck_assert_int_eq(err_code(e), ERR_EXISTS);
            ck_assert_msg(strstr(err_text(e), "-0-1 was written behind the savepoint") != NULL && strstr(err_hint_text(e), "remove it"), "%s", err_text(e));
            err_free(e);
            AUTO(auto_free) char *rm = xprintf("rm '%s'/part-*-0-1", s.d.path);
            ck_assert_int_eq(system(rm), 0);
            e = filesystem_sink.restore(&w->sink, buf_slice(&s.savepoint));
            ck_assert_int_eq(err_code(e), ERR_EXISTS);
            const char *at = strstr(err_hint_text(e), "truncate -s ");
            ck_assert_msg(strstr(err_text(e), "-0-0 holds rows from behind the savepoint") != NULL && at, "%s", err_text(e));
            AUTO(auto_free) char *cut = xprintf("truncate -s %d '%s'/part-*-0-0", atoi(at + strlen("truncate -s ")), s.d.path);
            ck_assert_int_eq(system(cut), 0);
            err_free(e);
        }
        ck_ok(filesystem_sink.restore(&w->sink, buf_slice(&s.savepoint)));
        ck_ok(filesystem_sink.start(&w->sink));
        writer_goes_on(w, behind ? 10 : 5, 10, true, 2, &s.seal); /* computed anew */
        must_see(&s.d, behind ? 20 : 15);
        writer_kill(w);
        w->origin = 0;
        writer_starts(w, &s.seal); /* its own files bind it now */
        must_see(&s.d, behind ? 20 : 15);
        writer_kill(w);
        story_end(&s);
    }
}
END_TEST

/* Names and bytes of all files below it, in the order of names. */
static char *all_files(const dir_t *d) {
    AUTO(auto_free) char *cmd = xprintf("cd '%s' && find . -type f | LC_ALL=C sort | while read f; do echo \"$f\"; cat \"$f\"; done", d->path);
    FILE *p = popen(cmd, "r");
    ck_assert_ptr_nonnull(p);
    buf_t out = buf_make(1 << 20);
    for (int c; (c = fgetc(p)) != EOF;) buf_put_u8(&out, (uint8_t)c);
    ck_assert_int_eq(pclose(p), 0);
    return buf_take_cstr(&out);
}

START_TEST(a_start_that_is_refused_changes_no_file) {
    dir_t d = dir_new();
    writer_t w[2];
    buf_t early[2], late[2];
    for (int i = 0; i < 2; i++) {
        w[i] = writer_new(&d);
        w[i].subtask = i;
        w[i].parallelism = 2;
        early[i] = buf_make(1 << 20), late[i] = buf_make(1 << 20);
        writer_starts(&w[i], NULL);
        writer_goes_on(&w[i], i * 10, 5, false, 1, &early[i]);
        writer_goes_on(&w[i], i * 10 + 5, 5, i == 0, 2, &late[i]); /* subtask 0 shows its part, that of subtask 1 is open in both */
        writer_dies(&w[i]);
    }
    AUTO(auto_free) char *before = all_files(&d);
    for (int i = 1; i >= 0; i--) {
        writer_open(&w[i], NULL, 0);
        if (i) ck_ok(filesystem_sink.restore(&w[i].sink, buf_slice(&early[i])));
        else ck_fails(filesystem_sink.restore(&w[i].sink, buf_slice(&early[i])), ERR_EXISTS, "behind the savepoint");
    }
    for (int i = 0; i < 2; i++) writer_kill(&w[i]);
    AUTO(auto_free) char *after = all_files(&d);
    ck_assert_str_eq(after, before);
    for (int i = 0; i < 2; i++) writer_open(&w[i], &late[i], 1);
    for (int i = 0; i < 2; i++) ck_ok(filesystem_sink.start(&w[i].sink));
    must_see(&d, 20);
    for (int i = 0; i < 2; i++) {
        writer_kill(&w[i]);
        fixture_free(&w[i].f);
        buf_free(&early[i]);
        buf_free(&late[i]);
    }
    dir_remove(&d);
}
END_TEST

START_TEST(of_a_seals_parts_none_is_cut_when_one_is_refused) {
    story_t s;
    story_begin(&s);
    writer_t *w = &s.w;
    static const int partition[] = {1};
    w->f.table.npartition = 1;
    w->f.table.partition = partition;
    fixture_option(&w->f, "sink.rolling-policy.inactivity-interval", "10 s");
    writer_starts(w, NULL);
    writer_goes_on(w, 0, 3, false, 1, &s.savepoint);
    writer_rows(w, 3, 3);
    w->eval.now_ms += 10000;
    writer_goes_on(w, 6, 2, false, 2, &s.late); /* all but that of row 5 go on */
    writer_dies(w);
    seen_t seen = {0};
    look(s.d.path, &seen);
    ck_assert(seen.files == 1 && seen.hidden == 2);
    AUTO(auto_free) char *before = all_files(&s.d);
    writer_open(w, NULL, 0);
    ck_fails(filesystem_sink.restore(&w->sink, buf_slice(&s.savepoint)), ERR_EXISTS, "holds rows from behind the savepoint");
    AUTO(auto_free) char *after = all_files(&s.d);
    ck_assert_str_eq(after, before);
    ck_ok(filesystem_sink.restore(&w->sink, buf_slice(&s.late)));
    ck_ok(filesystem_sink.start(&w->sink));
    must_see(&s.d, 8);
    writer_kill(w);
    story_end(&s);
}
END_TEST

/* A lane may refuse a job that has been started already. */
START_TEST(a_newer_savepoint_is_good_until_who_began_from_an_older_one_has_an_epoch) {
    for (int completes = 0; completes < 2; completes++) {
        story_t s;
        story_begin(&s);
        writer_t *w = &s.w;
        seen_t seen = {0};
        writer_starts(w, NULL);
        writer_goes_on(w, 0, 5, false, 1, &s.savepoint);
        writer_goes_on(w, 5, 5, false, 2, &s.late);
        writer_dies(w);
        for (int attempt = 0; attempt < 2; attempt++) {
            writer_starts(w, &s.savepoint);
            must_see(&s.d, 5);
            if (attempt == completes) writer_rows(w, 5, 5);
            if (completes && attempt == 1) writer_goes_on(w, 0, 0, true, 2, &s.seal);
            writer_kill(w);
        }
        w->incarnation = 0xfed;
        if (completes) {
            must_see(&s.d, 10);
            look(s.d.path, &seen);
            ck_assert_int_eq(seen.hidden, 0);
        } else {
            writer_starts(w, &s.late);
            must_see(&s.d, 10);
            writer_kill(w);
        }
        story_end(&s);
    }
}
END_TEST

/* A sealed. B began from that, failed, and C began from what B was begun with: the manifest knows B, the seal A. A seal of an earlier build does not say. */
START_TEST(a_seal_tells_whose_files_lie_behind_it) {
    story_t s;
    story_begin(&s);
    writer_t *w = &s.w;
    writer_starts(w, NULL);
    writer_goes_on(w, 0, 5, true, 1, &s.savepoint);
    writer_goes_on(w, 5, 5, true, 2, &s.seal);
    writer_kill(w);
    uint64_t a = w->incarnation;
    w->incarnation = 0xccc;
    for (int how = 0; how < 4; how++) {
        if (how == 3) w->incarnation = a; /* metadata was put back to an older moment */
        w->origin = how == 0 ? 0xbbb : how == 1 ? a : 0; /* 0: its ledgers are new ones; files are what they are */
        writer_open(w, NULL, 0);
        slice_t bytes = buf_slice(&s.savepoint);
        if (how == 1) bytes.len -= 8;
        ck_fails(filesystem_sink.restore(&w->sink, bytes), ERR_EXISTS, "-0-1 was written behind the savepoint");
        writer_kill(w);
    }
    must_see(&s.d, 10);
    story_end(&s);
}
END_TEST

/* Of part 0 rows 0 to 4 are the savepoint's. */
START_TEST(accepted_duplicates_are_the_rows_of_files_written_behind_a_savepoint) {
    story_t s;
    story_begin(&s);
    writer_t *w = &s.w;
    writer_starts(w, NULL);
    writer_goes_on(w, 0, 5, false, 1, &s.savepoint);
    writer_goes_on(w, 5, 5, true, 2, &s.seal);
    writer_goes_on(w, 10, 5, true, 3, &s.seal); /* part 1 */
    writer_rows(w, 15, 5); /* part 2, never shown */
    writer_seal(w, 4, &s.seal);
    writer_dies(w);
    w->forced = true;
    writer_starts(w, &s.savepoint);
    must_see(&s.d, 15);
    writer_goes_on(w, 5, 15, true, 2, &s.seal);
    seen_t seen = {0};
    look(s.d.path, &seen);
    for (int i = 0; i < 20; i++) ck_assert_int_eq(seen.count[i], i < 5 || i >= 15 ? 1 : 2);
    writer_kill(w);
    story_end(&s);
}
END_TEST

TESTS("filesystem_savepoint", files_written_behind_a_savepoint_stop_who_begins_from_it, a_start_that_is_refused_changes_no_file,
      of_a_seals_parts_none_is_cut_when_one_is_refused, a_newer_savepoint_is_good_until_who_began_from_an_older_one_has_an_epoch,
      a_seal_tells_whose_files_lie_behind_it, accepted_duplicates_are_the_rows_of_files_written_behind_a_savepoint)
