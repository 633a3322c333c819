/* fuzz_sql.c: any bytes give a tree or an error with a position; a tree prints to a text that prints the same again.
 *
 * With clang: -fsanitize=fuzzer,address -DFUZZER. Without: a number and a count make a seeded run of that many mutations of the golden
 * plans' texts (TEST_ROOT/sql/golden); anything else is files, whose statements' canonical text or error it prints. */
#include "sql/parse.h"
#include "tests/fuzz/mutate.h"
#include <glob.h>

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

/* ---- mutations: one or two statements of the golden texts, glued at any byte, or with a word of another in the middle */
#define TEXTS_MAX 256
static buf_t texts[TEXTS_MAX];
static size_t ntexts;
static rng_t rng;

static void read_texts(void) {
    char pattern[4096];
    glob_t g;
    const char *root = getenv("TEST_ROOT");
    snprintf(pattern, sizeof pattern, "%s/sql/golden/*.sql", root ? root : "tests");
    if (glob(pattern, 0, NULL, &g) != 0 || g.gl_pathc > TEXTS_MAX) {
        fprintf(stderr, "%s: no texts, or more than %d\n", pattern, TEXTS_MAX);
        exit(2);
    }
    for (size_t i = 0; i < g.gl_pathc; i++) {
        FILE *f = fopen(g.gl_pathv[i], "rb");
        if (!f) exit(2);
        static char text[1 << 20];
        buf_t *b = &texts[ntexts++];
        *b = buf_make(0);
        buf_put(b, text, fread(text, 1, sizeof text, f));
        fclose(f);
    }
    globfree(&g);
}

static void put_piece(buf_t *b, size_t most) {
    const buf_t *from = &texts[rng_below(&rng, ntexts)];
    size_t at = rng_below(&rng, from->len);
    buf_put(b, from->data + at, MIN(from->len - at, 1 + rng_below(&rng, most)));
}

static void sample(buf_t *b) {
    const buf_t *whole = &texts[rng_below(&rng, ntexts)];
    size_t cut = rng_below(&rng, whole->len);
    if (rng_below(&rng, 2)) {
        buf_put(b, whole->data, whole->len);
        return;
    }
    buf_put(b, whole->data, cut);
    put_piece(b, rng_below(&rng, 2) ? 20 : 2000);
    if (rng_below(&rng, 2)) buf_put(b, whole->data + cut, whole->len - cut);
}

static void one(slice_t s) { LLVMFuzzerTestOneInput(s.p, s.len); }
static void repair(buf_t *b) {}

int main(int argc, char **argv) {
    int failed = 0;
    char *end = NULL;
    uint64_t seed = argc == 3 ? strtoull(argv[1], &end, 10) : 0;
    if (end && end != argv[1] && !*end) {
        read_texts();
        rng_seed(&rng, seed);
        failed = fuzz_run(argc, argv, one, sample, repair);
        for (size_t i = 0; i < ntexts; i++) buf_free(&texts[i]);
        return failed;
    }
    for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
    return failed;
}
#endif
