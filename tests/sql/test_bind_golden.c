/* Golden plans: every golden/NAME.sql is explained and compared with golden/NAME.expect. UPDATE_GOLDEN=1 writes them anew:
 * read the difference before you commit it. The first lines may say "-- parallelism: N" and "-- select: yes". */
#include <dirent.h>
#include <stdio.h>

#include "common/buf.h"
#include "sql/sql.h"
#include "tests/helpers/test.h"

static char *read_text(const char *path) {
    FILE *f = fopen(path, "r");
    if (!f) return NULL;
    buf_t b = buf_make(1 << 20);
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) buf_put(&b, chunk, n);
    fclose(f);
    return buf_take_cstr(&b);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    ck_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

static int directive(const char *text, const char *name, int absent) {
    const char *at = strstr(text, name);
    return at ? (int)strtol(at + strlen(name), NULL, 10) : absent;
}

static char *explain(const char *path) {
    AUTO(auto_free) char *text = read_text(path);
    ck_assert_msg(text != NULL, "cannot read %s", path);
    sql_source_t src = {.text = text, .len = strlen(text), .file = path, .allow_select = strstr(text, "-- select: yes") != NULL,
                        .parallelism = directive(text, "-- parallelism: ", 1)};
    buf_t out = buf_make(1 << 20);
    err_t *e = sql_explain(&src, &out);
    if (e) {
        buf_clear(&out);
        sql_error_print(&out, e, text, path);
        ck_abort_msg("%s", buf_cstr(&out));
    }
    return buf_take_cstr(&out);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

START_TEST(plans_are_as_written_down) {
    const char *root = getenv("TEST_ROOT");
    ck_assert_msg(root != NULL, "TEST_ROOT is not set");
    AUTO(auto_free) char *dir = xprintf("%s/sql/golden", root);
    DIR *d = opendir(dir);
    ck_assert_msg(d != NULL, "cannot open %s", dir);
    char *names[200];
    int n = 0, wrong = 0;
    for (struct dirent *e; (e = readdir(d)) && n < 200;)
        if (strlen(e->d_name) > 4 && strcmp(e->d_name + strlen(e->d_name) - 4, ".sql") == 0) names[n++] = xstrdup(e->d_name);
    closedir(d);
    ck_assert_int_ge(n, 12);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        AUTO(auto_free) char *sql = xprintf("%s/%s", dir, names[i]);
        AUTO(auto_free) char *expect_path = xprintf("%s/%.*s.expect", dir, (int)strlen(names[i]) - 4, names[i]);
        AUTO(auto_free) char *got = explain(sql);
        AUTO(auto_free) char *again = explain(sql);
        ck_assert_str_eq(got, again);
        if (getenv("UPDATE_GOLDEN")) write_text(expect_path, got);
        AUTO(auto_free) char *expect = read_text(expect_path);
        if (!expect || strcmp(expect, got) != 0) {
            fprintf(stderr, "== %s differs:\n%s\n", names[i], got);
            wrong++;
        }
        free(names[i]);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

TESTS("bind_golden", plans_are_as_written_down)
