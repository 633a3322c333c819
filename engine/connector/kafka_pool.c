/* kafka_pool.c: see kafka_pool.h. */
#include "engine/connector/kafka_pool.h"
#include "common/base.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REGION ((uintptr_t)1 << 30) /* of addresses; memory is what blocks are made of */
#define NOWHERE (UINTPTR_MAX >> 1)  /* nothing lies within REGION of it */
#define MAGAZINE 64u

typedef struct block {
    struct block *next;
    struct block *magazine; /* of the first one in a magazine that lies in `full`: the next magazine .. */
    uint32_t n;             /* .. and its blocks */
} block_t;

typedef struct mine {
    block_t *top, *spare; /* spare: a whole magazine or NULL */
    uint32_t n;           /* below top */
    bool reader, known;   /* known: leave() will be called */
} mine_t;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static atomic_uintptr_t region = NOWHERE;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block_t *full;           /* guarded by lock, as what follows */
static size_t made, readers;    /* bytes; threads */
static _Thread_local mine_t mine;

static void give_magazine(block_t *first, uint32_t n) {
    if (!first) return;
    first->n = n;
    pthread_mutex_lock(&lock);
    first->magazine = full;
    full = first;
    pthread_mutex_unlock(&lock);
}

static void leave(void *arg) {
    mine_t *m = arg;
    give_magazine(m->top, m->n);
    give_magazine(m->spare, MAGAZINE);
    pthread_mutex_lock(&lock);
    readers -= m->reader;
    pthread_mutex_unlock(&lock);
    *m = (mine_t){0};
}

static void begin(void) {
    void *at = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED && pthread_key_create(&key, leave) == 0) atomic_store(&region, (uintptr_t)at);
}

static void know(void) {
    if (!mine.known) mine.known = pthread_setspecific(key, &mine) == 0;
}

void kafka_pool_enter(void) {
    pthread_once(&once, begin);
    if (mine.reader || atomic_load(&region) == NOWHERE) return;
    know();
    mine.reader = mine.known;
    pthread_mutex_lock(&lock);
    readers += mine.reader;
    pthread_mutex_unlock(&lock);
}

static block_t *make_magazine(void) {
    if (made + MAGAZINE * KAFKA_POOL_BLOCK > MIN(readers * KAFKA_POOL_BYTES, REGION)) return NULL;
    char *at = (char *)atomic_load_explicit(&region, memory_order_relaxed) + made;
    made += MAGAZINE * KAFKA_POOL_BLOCK;
    block_t *first = NULL;
    for (uint32_t i = MAGAZINE; i-- > 0;) {
        block_t *b = (block_t *)(at + i * KAFKA_POOL_BLOCK);
        b->next = first;
        first = b;
    }
    first->n = MAGAZINE;
    return first;
}

static bool refill(void) {
    if (mine.spare) {
        mine.top = TAKE(mine.spare);
        mine.n = MAGAZINE;
        return true;
    }
    pthread_mutex_lock(&lock);
    block_t *b = full;
    if (b) full = b->magazine;
    else b = make_magazine();
    pthread_mutex_unlock(&lock);
    if (!b) return false;
    mine.top = b;
    mine.n = b->n;
    return true;
}

void *kafka_pool_zalloc(size_t bytes) {
    if (LIKELY(!mine.reader) || bytes < KAFKA_POOL_FROM || bytes > KAFKA_POOL_BLOCK) return NULL;
    if (!mine.top && !refill()) return NULL;
    block_t *b = mine.top;
    mine.top = b->next;
    mine.n--;
    return memset(b, 0, bytes);
}

bool kafka_pool_owns(const void *p) { return (uintptr_t)p - atomic_load_explicit(&region, memory_order_relaxed) < REGION; }

bool kafka_pool_free(void *p) {
    if (LIKELY(!kafka_pool_owns(p))) return false;
    know();
    if (mine.n == MAGAZINE) {
        give_magazine(mine.spare, MAGAZINE);
        mine.spare = TAKE(mine.top);
        mine.n = 0;
    }
    block_t *b = p;
    b->next = mine.top;
    mine.top = b;
    mine.n++;
    return true;
}

/* ---------------------------------------------------------------- in place of the allocator's */
#if KAFKA_POOL_REPLACES
#define REPLACES __attribute__((visibility("default")))

/* Those that would be called without us: the C library's, or of a library that was preloaded. */
static struct {
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
} next;

/* What dlsym itself asks for and gives back when it is the first to call us: an earlier failure of its has left a text, before our constructor. */
static _Thread_local bool finding;
extern void *__libc_calloc(size_t n, size_t bytes);

__attribute__((constructor)) static void find_next(void) {
    finding = true;
    next.calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next.free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    ASSERT(next.calloc && next.realloc && next.free);
    finding = false;
}

REPLACES void *calloc(size_t n, size_t bytes) {
    void *p = n == 1 ? kafka_pool_zalloc(bytes) : NULL;
    if (p) return p;
    if (UNLIKELY(!next.calloc)) { /* before main, by what a library begins with */
        if (finding) return __libc_calloc(n, bytes);
        find_next();
    }
    return next.calloc(n, bytes);
}

REPLACES void *realloc(void *p, size_t bytes) {
    if (UNLIKELY(kafka_pool_owns(p))) {
        void *to = malloc(bytes);
        if (!to) return NULL;
        memcpy(to, p, MIN(bytes, (size_t)KAFKA_POOL_BLOCK));
        kafka_pool_free(p);
        return to;
    }
    if (UNLIKELY(!next.realloc)) find_next();
    return next.realloc(p, bytes);
}

REPLACES void free(void *p) {
    if (UNLIKELY(kafka_pool_free(p))) return;
    if (UNLIKELY(!next.free)) {
        if (finding) return; /* a few bytes, once */
        find_next();
    }
    next.free(p);
}
#endif
