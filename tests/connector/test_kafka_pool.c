/* Memory of fetched messages: who takes a block, who frees it, how many there are. */
#include "engine/connector/kafka_pool.h"
#include "tests/helpers/test.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 296
#define MOST (KAFKA_POOL_BYTES / KAFKA_POOL_BLOCK)

static void in_a_thread(void *(*fn)(void *), void *arg) {
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, fn, arg), 0);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
}

typedef struct blocks {
    void *p[2 * MOST];
    size_t n;
} blocks_t;

static void *take_all(void *arg) {
    blocks_t *b = arg;
    kafka_pool_enter();
    for (void *p; b->n < 2 * MOST && (p = kafka_pool_zalloc(SIZE)) != NULL; b->n++) {
        for (size_t i = 0; i < SIZE; i++) ASSERT(!((char *)p)[i]);
        memset(p, 0xa5, SIZE);
        b->p[b->n] = p;
    }
    return NULL;
}

static void *free_all(void *arg) {
    blocks_t *b = arg;
    while (b->n > 0) ASSERT(kafka_pool_free(b->p[--b->n]));
    return NULL;
}

static int by_address(const void *a, const void *b) {
    const char *x = *(void *const *)a, *y = *(void *const *)b;
    return x < y ? -1 : x > y;
}

START_TEST(blocks_are_zero_and_apart_and_what_one_thread_frees_the_next_one_takes_until_the_bound) {
    static blocks_t b;
    for (int round = 0; round < 4; round++) {
        in_a_thread(take_all, &b);
        ck_assert_msg(b.n > MOST - 64 && b.n <= MOST, "%zu blocks in round %d, %zu are the bound", b.n, round, (size_t)MOST);
        qsort(b.p, b.n, sizeof *b.p, by_address);
        for (size_t i = 1; i < b.n; i++) ck_assert((char *)b.p[i] - (char *)b.p[i - 1] >= KAFKA_POOL_BLOCK);
        in_a_thread(free_all, &b);
    }
}
END_TEST

static void *others(void *arg) {
    ASSERT(!kafka_pool_zalloc(SIZE)); /* no reader */
    kafka_pool_enter();
    ASSERT(!kafka_pool_zalloc(KAFKA_POOL_FROM - 1));
    ASSERT(!kafka_pool_zalloc(KAFKA_POOL_BLOCK + 1));
    char on_stack, *heap = malloc(SIZE);
    ASSERT(!kafka_pool_free(NULL) && !kafka_pool_free(heap) && !kafka_pool_free(&on_stack));
    free(heap);
    return NULL;
}

START_TEST(what_is_no_message_is_not_touched) { in_a_thread(others, NULL); }
END_TEST

static void *as_the_library_does(void *arg) {
    kafka_pool_enter();
    char *p = calloc(1, SIZE), *big = calloc(2, SIZE);
    ASSERT(p && big);
    for (int i = 0; i < SIZE; i++) p[i] = (char)i;
    p = realloc(p, 1000);
    for (int i = 0; i < SIZE; i++) ASSERT(p[i] == (char)i);
    *(void **)arg = calloc(1, SIZE);
    free(p);
    free(big);
    return NULL;
}

START_TEST(a_block_of_calloc_grows_and_is_freed_by_another_thread) {
    void *p = NULL;
    in_a_thread(as_the_library_does, &p);
    ck_assert_ptr_nonnull(p);
    free(p);
}
END_TEST

TESTS("kafka_pool", blocks_are_zero_and_apart_and_what_one_thread_frees_the_next_one_takes_until_the_bound, what_is_no_message_is_not_touched,
      a_block_of_calloc_grows_and_is_freed_by_another_thread)
