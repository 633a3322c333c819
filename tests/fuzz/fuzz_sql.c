/* fuzz_sql.c: any bytes give a tree or an error with a position; a tree prints to a text that prints the same again.
 *
 * With clang: -fsanitize=fuzzer,address -DFUZZER. Without: a program that replays the files it is given and prints, for
 * each statement of each file, its canonical text or the error. */
#include "sql/parse.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char *print(const sql_script_t *s) {
    buf_t b = buf_make(BUF_MAX_DEFAULT);
    ast_print_script(&b, s);
    return buf_take_cstr(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    arena_t *a = arena_new();
    sql_script_t *s, *again;
    err_t *e = sql_parse(a, (const char *)data, len, &s);
    if (!e) {
        char *first = print(s);
        e = sql_parse(a, first, strlen(first), &again);
        if (e) {
            fprintf(stderr, "does not parse again: %d:%d %s\n%s\n", err_line(e), err_col(e), err_text(e), first);
            abort();
        }
        char *second = print(again);
        if (strcmp(first, second) != 0) {
            fprintf(stderr, "prints differently:\n%s\n%s\n", first, second);
            abort();
        }
        free(first);
        free(second);
    }
    err_free(e);
    arena_free(a);
    return 0;
}

#ifndef FUZZER
static int replay(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return 1;
    static char text[1 << 20];
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    LLVMFuzzerTestOneInput((const uint8_t *)text, n);
    arena_t *a = arena_new();
    sql_script_t *s;
    err_t *e = sql_parse(a, text, n, &s);
    if (e) {
        const char *hint = err_hint_text(e);
        printf("%s:%d:%d: %s%s%s\n", path, err_line(e), err_col(e), err_text(e), hint ? "; hint: " : "", hint ? hint : "");
    } else {
        char *out = print(s);
        fputs(out, stdout);
        free(out);
    }
    int failed = e != NULL;
    err_free(e);
    arena_free(a);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
    return failed;
}
#endif
