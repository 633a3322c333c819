/* mem.c: reference-counted arenas. Chunks double up to 256 kB; a large request gets a chunk of its own. */
#include "engine/batch.h"
#include <stdatomic.h>
#include <stdlib.h>

#define CHUNK_MIN 4096u
#define CHUNK_MAX (256u * 1024u)

typedef struct chunk {
    struct chunk *next;
    size_t size;
} chunk_t;
_Static_assert(sizeof(chunk_t) == 16, "chunk data must stay 16-byte aligned");

struct mem {
    atomic_int refs;
    uint32_t nlinks, cap_links;
    uint8_t *p, *end;
    chunk_t *chunks;
    size_t used, next_size;
    mem_t **links;
    mem_t *dead; /* list of memories being freed */
};

mem_t *mem_new(void) {
    mem_t *m = xcalloc(1, sizeof *m);
    atomic_init(&m->refs, 1);
    m->next_size = CHUNK_MIN;
    return m;
}

mem_t *mem_ref(mem_t *m) {
    int before = atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return m;
}

/* Links may form long chains (a batch derived from a batch derived ..): freed by a list, not by recursion. */
void mem_unref(mem_t *m) {
    mem_t *dead = NULL;
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1) dead = m;
    while (dead) {
        mem_t *d = dead;
        dead = d->dead;
        for (uint32_t i = 0; i < d->nlinks; i++) {
            mem_t *l = d->links[i];
            if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) {
                l->dead = dead;
                dead = l;
            }
        }
        for (chunk_t *c = d->chunks; c;) {
            chunk_t *next = c->next;
            free(c);
            c = next;
        }
        free(d->links);
        free(d);
    }
}

static void *mem_alloc_slow(mem_t *m, size_t size) {
    ASSERT(size < (size_t)1 << 48);
    size_t want = size > m->next_size / 2 ? size : m->next_size;
    chunk_t *c = xmalloc(sizeof *c + want);
    c->size = want;
    c->next = m->chunks;
    m->chunks = c;
    m->used += want;
    uint8_t *data = (uint8_t *)(c + 1);
    if (want == size) return data; /* the open chunk keeps its rest */
    if (m->next_size < CHUNK_MAX) m->next_size *= 2;
    m->p = data + size;
    m->end = data + want;
    return data;
}

void *mem_alloc(mem_t *m, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (LIKELY((size_t)(m->end - m->p) >= size) && m->p) {
        void *ret = m->p;
        m->p += size;
        return ret;
    }
    return mem_alloc_slow(m, size ? size : 16);
}

void *mem_zalloc(mem_t *m, size_t size) {
    void *p = mem_alloc(m, size);
    memset(p, 0, size);
    return p;
}

void mem_link(mem_t *m, mem_t *other) {
    if (!other || other == m) return;
    for (uint32_t i = m->nlinks; i-- > 0;)
        if (m->links[i] == other) return;
    if (m->nlinks == m->cap_links) {
        m->cap_links = m->cap_links ? m->cap_links * 2 : 4;
        m->links = xrealloc(m->links, m->cap_links * sizeof *m->links);
    }
    m->links[m->nlinks++] = mem_ref(other);
}

size_t mem_used(const mem_t *m) { return m->used + sizeof *m; }

size_t mem_held(const mem_t *m, int depth) {
    size_t sum = mem_used(m);
    for (uint32_t i = 0; depth > 0 && i < m->nlinks; i++) sum += mem_held(m->links[i], depth - 1);
    return sum;
}
