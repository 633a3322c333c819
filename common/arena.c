#include "common/arena.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_MIN 4096
#define CHUNK_MAX (256u << 10)

typedef struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(16) uint8_t data[];
} chunk_t;

struct arena {
    chunk_t *head; /* current; older ones behind */
    size_t total;
};

arena_t *arena_new(void) { return xcalloc(1, sizeof(arena_t)); }

static void free_chunks(chunk_t *c) {
    while (c) {
        chunk_t *next = c->next;
        free(c);
        c = next;
    }
}

void arena_free(arena_t *a) {
    if (!a) return;
    free_chunks(a->head);
    free(a);
}

void arena_freep(arena_t **a) { arena_free(*a); }

void arena_reset(arena_t *a) {
    if (!a->head) return;
    free_chunks(a->head->next);
    a->head->next = NULL;
    a->head->used = 0;
    a->total = 0;
}

size_t arena_used(const arena_t *a) { return a->total; }

static void *grow(arena_t *a, size_t size) {
    size_t want = a->head ? MIN(a->head->size * 2, (size_t)CHUNK_MAX) : CHUNK_MIN;
    chunk_t *c = xmalloc(sizeof *c + MAX(want, size));
    c->size = MAX(want, size);
    c->used = size;
    /* a single large block goes behind the head, so that the head's room is not wasted */
    if (a->head && size > a->head->size / 2 && a->head->size - a->head->used > 256) {
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c->data;
}

void *arena_alloc(arena_t *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    a->total += size;
    chunk_t *c = a->head;
    if (LIKELY(c && c->size - c->used >= size)) {
        void *p = c->data + c->used;
        c->used += size;
        return p;
    }
    return grow(a, size);
}

void *arena_zalloc(arena_t *a, size_t size) { return memset(arena_alloc(a, size), 0, size); }

char *arena_strndup(arena_t *a, const char *s, size_t n) {
    char *p = arena_alloc(a, n + 1);
    if (n) memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *arena_strdup(arena_t *a, const char *s) { return arena_strndup(a, s, strlen(s)); }

void *arena_memdup(arena_t *a, const void *p, size_t n) {
    void *q = arena_alloc(a, n);
    if (n) memcpy(q, p, n);
    return q;
}

char *arena_printf(arena_t *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
    vsnprintf(p, (size_t)(n < 0 ? 0 : n) + 1, fmt, again);
    va_end(again);
    return p;
}
