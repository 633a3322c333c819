/* kstate_mem.c: memory of entries. Chunks hold entries of one size class (the class follows from the key's length); a chunk
 * without live entries is given back. Indexes instead of pointers inside free lists, so that the order of reuse depends on the
 * order of calls only, never on addresses. */
#include "state/kstate_int.h"
#include <stdlib.h>
#include <sys/mman.h>

#define CHUNK_BYTES_MAX (256u << 10)
#define CHUNK_ENTRIES_FIRST 16u
#define CHUNK_BYTES_MAPPED (64u << 10) /* from here on straight from the system: what is evicted leaves the process at once */
#define SCRATCH_KEPT ((size_t)1 << 20)
#define REPORT_STEP (64 << 10)
#define LARGE_PAGE ((size_t)2 << 20)
#define LARGE_STATE ((int64_t)128 << 20) /* from here on a chunk is a large page: few enough of them are partly empty */

static const uint32_t key_room[KSTATE_CLASSES - 1] = {KEY_SHORT, 16, 48, 112, 240, 496, 1008}; /* and eight bytes less than that, of an entry */

void ks_account(kstate_t *ks, int64_t delta) {
    ks->bytes += delta;
    int64_t off = ks->bytes - ks->reported;
    if (UNLIKELY(off > REPORT_STEP || off < -REPORT_STEP)) ks_report(ks);
}

void ks_report(kstate_t *ks) {
    if (ks->unsealed != ks->unsealed_reported) kstate_env_account_unsealed(ks->env, ks->unsealed - ks->unsealed_reported);
    ks->unsealed_reported = ks->unsealed;
    if (ks->bytes == ks->reported) return;
    kstate_env_account(ks->env, ks->bytes - ks->reported);
    ks->reported = ks->bytes;
}

void ks_heap_update(kstate_t *ks, entry_t *e) {
    if (!ks->codec.heap) return;
    size_t heap = MIN(ks->codec.heap(ks->codec.ctx, entry_value(e)), (size_t)UINT32_MAX);
    ks_account(ks, (int64_t)heap - (int64_t)entry_heap(ks, e));
    entry_heap_set(ks, e, (uint32_t)heap);
}

void ks_unsealed(kstate_t *ks, size_t bytes) {
    ks->unsealed += (int64_t)bytes;
    if (UNLIKELY(ks->unsealed - ks->unsealed_reported > REPORT_STEP)) ks_report(ks);
}

static int class_of(size_t key_len) {
    int c = 0;
    while (c < KSTATE_CLASSES - 1 && key_len > key_room[c]) c++;
    return c; /* KSTATE_CLASSES - 1: a chunk of its own */
}

static void partial_add(kstate_t *ks, uint32_t i) {
    chunk_t *c = &ks->chunks[i];
    c->partial = true;
    c->prev = 0;
    c->next = ks->partial[c->cls];
    if (c->next) ks->chunks[c->next - 1].prev = i + 1;
    ks->partial[c->cls] = i + 1;
}

static void partial_remove(kstate_t *ks, uint32_t i) {
    chunk_t *c = &ks->chunks[i];
    if (c->prev) ks->chunks[c->prev - 1].next = c->next;
    else ks->partial[c->cls] = c->next;
    if (c->next) ks->chunks[c->next - 1].prev = c->prev;
    c->partial = false;
}

static void keep(kstate_t *ks, uint8_t *mem, size_t bytes) {
    if (ks->nkept == ks->kept_cap) {
        ks->kept_cap = ks->kept_cap ? 2 * ks->kept_cap : 16;
        ks->kept = xrealloc(ks->kept, ks->kept_cap * sizeof *ks->kept);
    }
    ks->kept[ks->nkept].mem = mem;
    ks->kept[ks->nkept++].bytes = bytes;
}

static uint8_t *kept_take(kstate_t *ks, size_t bytes) {
    for (uint32_t i = ks->nkept; i-- > 0;) {
        if (ks->kept[i].bytes != bytes) continue;
        uint8_t *mem = ks->kept[i].mem;
        ks->kept[i] = ks->kept[--ks->nkept];
        return mem;
    }
    return NULL;
}

/* Memory of the system, zeroed; from 2 MB on in large pages: with small ones nearly every entry of a large state that is met costs a walk
 * through the page tables besides. */
void *ks_map(kstate_t *ks, size_t bytes) {
    void *again = ks->nkept ? kept_take(ks, bytes) : NULL;
    if (again) return again;
    size_t more = bytes >= LARGE_PAGE ? LARGE_PAGE : 0;
    uint8_t *p = mmap(NULL, bytes + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (!more) return p;
    size_t before = (LARGE_PAGE - (uintptr_t)p % LARGE_PAGE) % LARGE_PAGE;
    if (before) munmap(p, before);
    if (more > before) munmap(p + before + bytes, more - before);
    madvise(p + before, bytes, MADV_HUGEPAGE);
    return p + before;
}

/* Where a hole would make one mapping more than there may be, the pages leave the process and the addresses stay for the next of this size. */
void ks_unmap(kstate_t *ks, void *p, size_t bytes) {
    if (munmap(p, bytes) == 0) return;
    int rc = madvise(p, bytes, MADV_DONTNEED);
    ASSERT(rc == 0); /* it fails for wrong arguments only */
    keep(ks, p, bytes);
}

static size_t chunk_bytes(const chunk_t *c) {
    size_t bytes = (size_t)c->entry_size * c->cap;
    return bytes > CHUNK_BYTES_MAX && c->cap > 1 ? LARGE_PAGE : bytes;
}

static void chunk_alloc(kstate_t *ks, chunk_t *c) {
    size_t bytes = chunk_bytes(c);
    if (bytes >= CHUNK_BYTES_MAPPED) {
        c->mem = ks_map(ks, bytes);
        c->mapped = c->mem; /* else: too many mappings */
    }
    if (!c->mem) c->mem = xmalloc(bytes);
    ASSERT((uintptr_t)c->mem + bytes <= (uintptr_t)8 << SLOT_ENTRY_BITS);
    ks_account(ks, (int64_t)bytes);
}

static void chunk_release(kstate_t *ks, chunk_t *c) {
    size_t bytes = chunk_bytes(c);
    ks_account(ks, -(int64_t)bytes);
    if (!c->mapped) free(c->mem);
    else ks_unmap(ks, c->mem, bytes);
}

static uint32_t chunk_new(kstate_t *ks, int cls, size_t key_len) {
    uint32_t i;
    if (ks->free_chunk) {
        i = ks->free_chunk - 1;
        ks->free_chunk = ks->chunks[i].next;
    } else {
        if (ks->nchunks == ks->chunks_cap) {
            ks->chunks_cap = ks->chunks_cap ? 2 * ks->chunks_cap : 16;
            ks->chunks = xrealloc(ks->chunks, ks->chunks_cap * sizeof *ks->chunks);
        }
        i = ks->nchunks++;
        ASSERT(i < CHUNKS_MAX);
    }
    size_t room = cls < KSTATE_CLASSES - 1 ? key_room[cls] : key_len;
    size_t size = (ks->key_at + (cls ? KEY_SHORT + 1 : 1) + room + 7) & ~(size_t)7;
    ASSERT(size <= UINT32_MAX);
    uint32_t n = 1;
    if (cls < KSTATE_CLASSES - 1) {
        uint32_t most = MAX((ks->bytes < LARGE_STATE ? CHUNK_BYTES_MAX : (uint32_t)LARGE_PAGE) / (uint32_t)size, 1u);
        n = ks->bytes < LARGE_STATE ? MIN(MAX(ks->next_entries[cls], CHUNK_ENTRIES_FIRST), most) : most;
        ks->next_entries[cls] = n * 2; /* small states stay small, large ones take large chunks */
    }
    ks->chunks[i] = (chunk_t){.entry_size = (uint32_t)size, .cap = n, .cls = (uint8_t)cls};
    chunk_alloc(ks, &ks->chunks[i]);
    partial_add(ks, i);
    return i;
}

entry_t *ks_chunk_entry(chunk_t *c, uint32_t i) { return (entry_t *)(c->mem + (size_t)i * c->entry_size); }

entry_t *ks_entry_alloc(kstate_t *ks, slice_t key) {
    int cls = class_of(key.len);
    uint32_t at = ks->partial[cls] ? ks->partial[cls] - 1 : chunk_new(ks, cls, key.len);
    chunk_t *c = &ks->chunks[at];
    entry_t *e;
    if (c->free_at) {
        e = ks_chunk_entry(c, c->free_at - 1);
        c->free_at = (uint32_t)e->hash;
    } else {
        e = ks_chunk_entry(c, c->bump++);
    }
    if (++c->live == c->cap) partial_remove(ks, at);
    ASSERT(key.len <= UINT32_MAX);
    *e = (entry_t){.chunk = at};
    entry_heap_set(ks, e, 0);
    uint8_t *p = (uint8_t *)e + ks->key_at;
    uint32_t len = (uint32_t)key.len;
    p[KEY_SHORT] = cls ? KEY_LONG : (uint8_t)len;
    if (cls) memcpy(p, &len, sizeof len);
    if (len) memcpy(cls ? p + KEY_SHORT + 1 : p, key.p, len);
    return e;
}

void ks_entry_free(kstate_t *ks, entry_t *e) {
    if (ks->codec.clear) ks->codec.clear(ks->codec.ctx, entry_value(e));
    uint32_t at = e->chunk;
    chunk_t *c = &ks->chunks[at];
    ks_account(ks, -(int64_t)entry_heap(ks, e));
    e->flags = ENTRY_FREE;
    e->hash = c->free_at;
    c->free_at = (uint32_t)(((uint8_t *)e - c->mem) / c->entry_size) + 1;
    c->live--;
    if (!c->partial && !c->leaving) partial_add(ks, at);
    if (c->live > 0) return;
    if (c->partial) partial_remove(ks, at);
    chunk_release(ks, c);
    *c = (chunk_t){.next = ks->free_chunk};
    ks->free_chunk = at + 1;
}

void ks_scratch_done(kstate_t *ks) {
    if (ks->scratch.cap > SCRATCH_KEPT) buf_free(&ks->scratch);
}

/* What the value owns goes with it: none has a pointer into itself. */
static void entry_move(kstate_t *ks, entry_t *e) {
    ks_ns_t *n = entry_ns(ks, e);
    entry_t *to = ks_entry_alloc(ks, entry_key(ks, e));
    to->hash = e->hash;
    entry_ns_set(ks, to, n);
    to->word = e->word;
    to->changed = e->changed;
    to->flags = e->flags;
    to->dirty_at = e->dirty_at;
    entry_heap_set(ks, to, entry_heap(ks, e));
    entry_heap_set(ks, e, 0);
    memcpy(entry_value(to), entry_value(e), ks->codec.value_size);
    if (ks->codec.init) ks->codec.init(ks->codec.ctx, entry_value(e));
    else memset(entry_value(e), 0, ks->codec.value_size);
    if (e->flags & ENTRY_DIRTY) n->dirty[e->dirty_at] = to;
    uint64_t i = e->hash >> n->shift;
    while (slot_entry(n->slots[i]) != e) i = (i + 1) & (n->cap - 1);
    n->slots[i] = slot_of(to, to->hash, (i - ks_home(n, i)) & (n->cap - 1));
    ks_entry_free(ks, e);
}

void ks_chunk_vacate(kstate_t *ks, uint32_t at) {
    chunk_t *c = &ks->chunks[at];
    if (!c->mem || !c->partial || c->cls == KSTATE_CLASSES - 1 || c->live * 4 > c->cap) return;
    partial_remove(ks, at);
    c->leaving = true;
    uint32_t n = c->bump;
    for (uint32_t i = 0; i < n && ks->chunks[at].mem && ks->partial[c->cls]; i++) { /* no chunk is made: the array stays where it is */
        entry_t *e = ks_chunk_entry(c, i);
        if (!(e->flags & (ENTRY_FREE | ENTRY_LOOSE))) entry_move(ks, e);
    }
    if (!c->mem) return;
    c->leaving = false;
    partial_add(ks, at);
}

void ks_mem_free(kstate_t *ks) {
    for (uint32_t i = 0; i < ks->nchunks; i++)
        if (ks->chunks[i].mem) chunk_release(ks, &ks->chunks[i]);
    free(ks->chunks);
    ks->chunks = NULL;
    ks->nchunks = ks->chunks_cap = ks->free_chunk = ks->hand = 0;
    memset(ks->partial, 0, sizeof ks->partial);
    memset(ks->next_entries, 0, sizeof ks->next_entries);
    for (uint32_t i = 0; i < ks->nkept; i++) munmap(ks->kept[i].mem, ks->kept[i].bytes); /* once more; what stays has no pages */
    free(ks->kept);
    ks->kept = NULL;
    ks->nkept = ks->kept_cap = 0;
}
