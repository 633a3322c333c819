/* arena.h: memory by lifetime. Everything allocated lives until reset or free; single-threaded. */
#pragma once
#include "common/base.h"

typedef struct arena arena_t;

arena_t *arena_new(void);
void arena_free(arena_t *a);
void arena_freep(arena_t **a);
void arena_reset(arena_t *a);
size_t arena_used(const arena_t *a);

void *arena_alloc(arena_t *a, size_t size);  /* 16-byte aligned, not cleared */
void *arena_zalloc(arena_t *a, size_t size); /* cleared */
char *arena_strdup(arena_t *a, const char *s);
char *arena_strndup(arena_t *a, const char *s, size_t n);
void *arena_memdup(arena_t *a, const void *p, size_t n);
char *arena_printf(arena_t *a, const char *fmt, ...) PRINTF(2, 3);
#define ARENA_NEW(a, T) ((T *)arena_zalloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_zalloc((a), sizeof(T) * (size_t)(n)))
