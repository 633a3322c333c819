#include "common/map.h"
#include <stdlib.h>

/* Entries stand in insertion order in one array; the index holds positions + 1. Deleted entries stay as holes (key NULL)
 * until the array is rebuilt, so iteration order never depends on hashes or addresses. */
typedef struct entry {
    uint8_t *key;
    size_t len;
    uint64_t hash;
    void *value;
} entry_t;

struct map {
    entry_t *entries;
    size_t n, cap, live;
    uint32_t *index;
    size_t mask; /* index size - 1; 0 with no index */
};

map_t *map_new(void) { return xcalloc(1, sizeof(map_t)); }

void map_free(map_t *m, void (*free_value)(void *value)) {
    if (!m) return;
    for (size_t i = 0; i < m->n; i++) {
        if (m->entries[i].key && free_value) free_value(m->entries[i].value);
        free(m->entries[i].key);
    }
    free(m->entries);
    free(m->index);
    free(m);
}

size_t map_len(const map_t *m) { return m->live; }

static void rebuild(map_t *m) {
    size_t out = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->entries[i].key) m->entries[out++] = m->entries[i];
    m->n = out;
    size_t size = 16;
    while (size < (m->live + 1) * 2) size *= 2;
    free(m->index);
    m->index = xcalloc(size, sizeof *m->index);
    m->mask = size - 1;
    for (size_t i = 0; i < m->n; i++) {
        size_t at = m->entries[i].hash & m->mask;
        while (m->index[at]) at = (at + 1) & m->mask;
        m->index[at] = (uint32_t)i + 1;
    }
}

static entry_t *find(const map_t *m, slice_t key, uint64_t hash) {
    if (!m->index) return NULL;
    for (size_t at = hash & m->mask; m->index[at]; at = (at + 1) & m->mask) {
        entry_t *e = &m->entries[m->index[at] - 1];
        if (e->key && e->hash == hash && e->len == key.len && (key.len == 0 || !memcmp(e->key, key.p, key.len)))
            return e;
    }
    return NULL;
}

void *map_get(const map_t *m, slice_t key) {
    entry_t *e = find(m, key, hash_bytes(key.p, key.len));
    return e ? e->value : NULL;
}

void *map_put(map_t *m, slice_t key, void *value) {
    uint64_t hash = hash_bytes(key.p, key.len);
    entry_t *e = find(m, key, hash);
    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    if (!m->index || (m->n + 1) * 2 > m->mask) rebuild(m);
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        m->entries = xrealloc(m->entries, m->cap * sizeof *m->entries);
    }
    m->entries[m->n] = (entry_t){(uint8_t *)xstrndup((const char *)key.p, key.len), key.len, hash, value};
    size_t at = hash & m->mask;
    while (m->index[at]) at = (at + 1) & m->mask;
    m->index[at] = (uint32_t)++m->n;
    m->live++;
    return NULL;
}

void *map_del(map_t *m, slice_t key) {
    entry_t *e = find(m, key, hash_bytes(key.p, key.len));
    if (!e) return NULL;
    void *value = e->value;
    free(e->key);
    e->key = NULL;
    m->live--;
    return value;
}

bool map_next(const map_t *m, size_t *at, slice_t *ret_key, void **ret_value) {
    while (*at < m->n) {
        const entry_t *e = &m->entries[(*at)++];
        if (!e->key) continue;
        if (ret_key) *ret_key = slice_of(e->key, e->len);
        if (ret_value) *ret_value = e->value;
        return true;
    }
    return false;
}
