/* map.h: open-addressing map from byte strings to pointers. Keys are copied; values are the caller's. */
#pragma once
#include "common/base.h"

typedef struct map map_t;

map_t *map_new(void);
void map_free(map_t *m, void (*free_value)(void *value)); /* free_value may be NULL */
size_t map_len(const map_t *m);
void *map_get(const map_t *m, slice_t key); /* NULL when absent */
void *map_put(map_t *m, slice_t key, void *value); /* returns the value replaced, or NULL */
void *map_del(map_t *m, slice_t key);
/* Iteration in insertion order, deterministic: start with *at = 0; false at the end. */
bool map_next(const map_t *m, size_t *at, slice_t *ret_key, void **ret_value);
static inline void *map_get_str(const map_t *m, const char *k) { return map_get(m, slice_str(k)); }
static inline void *map_put_str(map_t *m, const char *k, void *v) {
    return map_put(m, slice_str(k), v);
}
