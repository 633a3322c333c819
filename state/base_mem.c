/* base_mem.c: the base as an ordered map in memory, for tests and the simulator: the same contract as RocksDB's, no files.
 *
 * A skip list ordered by [fingerprint][slot][key group][ns, sign flipped][key], all big-endian. A checkpoint is one serialized block,
 * kept in a registry of the process under its directory's name, where another base (a "restarted" worker) finds it. The height of
 * a node follows from its key, so that runs replay exactly. */
#include "state/kstate_env.h"
#include "common/map.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LEVELS 20
#define PREFIX 22 /* fingerprint, slot, key group, ns */
#define FILE_NAME "memory.tgb"
#define FILE_MAGIC 0x424d4754u /* "TGMB" */

typedef struct node {
    uint32_t key_len, value_len;
    uint8_t *data; /* key, value */
    int levels;
    struct node *next[];
} node_t;

typedef struct mem_base {
    base_db_t vt;
    pthread_mutex_t lock;
    node_t *head;
} mem_base_t;

/* The one mutable global of state/: checkpoints outlive the base that made them, as directories do. */
static struct { pthread_mutex_t lock; map_t *dirs; } registry = {PTHREAD_MUTEX_INITIALIZER, NULL};

static mem_base_t *self_of(base_db_t *b) { return CONTAINER_OF(b, mem_base_t, vt); }

static void put_be(uint8_t *p, uint64_t v, int bytes) {
    for (int i = bytes - 1; i >= 0; i--, v >>= 8) p[i] = (uint8_t)v;
}

static void make_key(buf_t *out, uint64_t fingerprint, int slot, int kg, int64_t ns, slice_t key) {
    uint8_t p[PREFIX];
    put_be(p, fingerprint, 8);
    put_be(p + 8, (uint32_t)slot, 4);
    put_be(p + 12, (uint64_t)kg, 2);
    put_be(p + 14, (uint64_t)ns ^ ((uint64_t)1 << 63), 8);
    buf_clear(out);
    buf_put(out, p, PREFIX);
    buf_put(out, key.p, key.len);
}

static uint64_t get_be(const uint8_t *p, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | p[i];
    return v;
}
static int64_t node_ns(const node_t *n) { return (int64_t)(get_be(n->data + 14, 8) ^ ((uint64_t)1 << 63)); }

static int node_cmp(const node_t *n, slice_t key) {
    int c = memcmp(n->data, key.p, MIN((size_t)n->key_len, key.len));
    return c ? c : (n->key_len > key.len) - (n->key_len < key.len);
}

/* First node >= key; prev[] gets the nodes before it. */
static node_t *seek(mem_base_t *m, slice_t key, node_t **prev) {
    node_t *at = m->head;
    for (int l = LEVELS - 1; l >= 0; l--) {
        while (at->next[l] && node_cmp(at->next[l], key) < 0) at = at->next[l];
        if (prev) prev[l] = at;
    }
    return at->next[0];
}

static void put(mem_base_t *m, slice_t key, slice_t value) {
    node_t *prev[LEVELS], *n = seek(m, key, prev);
    if (n && node_cmp(n, key) == 0) {
        n->data = xrealloc(n->data, key.len + value.len + 1);
    } else {
        int levels = 1 + __builtin_ctzll(hash_bytes(key.p, key.len) | (uint64_t)1 << (LEVELS - 1));
        n = xcalloc(1, sizeof *n + (size_t)levels * sizeof(node_t *));
        n->levels = levels;
        n->key_len = (uint32_t)key.len;
        n->data = xmalloc(key.len + value.len + 1);
        memcpy(n->data, key.p, key.len);
        for (int l = 0; l < levels; l++) {
            n->next[l] = prev[l]->next[l];
            prev[l]->next[l] = n;
        }
    }
    n->value_len = (uint32_t)value.len;
    if (value.len) memcpy(n->data + key.len, value.p, value.len);
}

static void node_free(node_t *n) {
    free(n->data);
    free(n);
}

static void del(mem_base_t *m, slice_t key) {
    node_t *prev[LEVELS], *n = seek(m, key, prev);
    if (!n || node_cmp(n, key) != 0) return;
    for (int l = 0; l < n->levels; l++) prev[l]->next[l] = n->next[l];
    node_free(n);
}

static bool has_prefix(const node_t *n, slice_t p) { return n && n->key_len >= p.len && memcmp(n->data, p.p, p.len) == 0; }

static void drop(mem_base_t *m, uint64_t fingerprint, int slot, const change_t *c, buf_t *key) {
    for (int kg = c->kg_lo; kg < c->kg_hi; kg++) {
        make_key(key, fingerprint, slot, kg, c->ns, slice_of(NULL, 0));
        node_t *n;
        while (has_prefix(n = seek(m, buf_slice(key), NULL), buf_slice(key))) {
            buf_t full = buf_make(BUF_MAX_DEFAULT);
            buf_put(&full, n->data, n->key_len);
            del(m, buf_slice(&full));
            buf_free(&full);
        }
    }
}

/* It is told so by a test or the simulator: nothing else can happen to it. */
static err_t *lost(const base_db_t *b) {
    return atomic_load(&b->health) == BASE_LOST ? err_new(ERR_IO, "state base: cannot be read: it is corrupt") : NULL;
}

static err_t *mem_apply(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes) {
    mem_base_t *m = self_of(b);
    TRY(lost(b));
    if (changes.len == 0) return NULL;
    reader_t r;
    TRY(err_wrap(change_open(changes, &r), "state base"));
    buf_t key = buf_make(BUF_MAX_DEFAULT);
    pthread_mutex_lock(&m->lock);
    change_t c;
    while (change_next(&r, &c)) {
        if (c.kind == CHANGE_DROP) {
            drop(m, fingerprint, slot, &c, &key);
            continue;
        }
        make_key(&key, fingerprint, slot, state_key_group(slot, c.key), c.ns, c.key);
        if (c.kind == CHANGE_PUT) put(m, buf_slice(&key), c.value);
        else del(m, buf_slice(&key));
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&key);
    return r.bad ? err_new(ERR_CORRUPT, "state base: malformed changes") : NULL;
}

static err_t *mem_get(base_db_t *b, uint64_t fingerprint, int slot, int kg, int64_t ns, slice_t key, buf_t *ret,
                      bool *ret_found) {
    mem_base_t *m = self_of(b);
    TRY(lost(b));
    buf_t full = buf_make(BUF_MAX_DEFAULT);
    make_key(&full, fingerprint, slot, kg, ns, key);
    pthread_mutex_lock(&m->lock);
    node_t *n = seek(m, buf_slice(&full), NULL);
    *ret_found = n && node_cmp(n, buf_slice(&full)) == 0;
    if (*ret_found) buf_put(ret, n->data + n->key_len, n->value_len);
    pthread_mutex_unlock(&m->lock);
    buf_free(&full);
    return NULL;
}

static err_t *mem_get_many(base_db_t *b, uint64_t fingerprint, int slot, const base_key_t *keys, uint32_t n,
                           err_t *(*fn)(void *arg, uint32_t i, slice_t value), void *arg) {
    buf_t value = buf_make(BUF_MAX_DEFAULT);
    err_t *e = NULL;
    for (uint32_t i = 0; i < n && !e; i++) {
        bool found;
        buf_clear(&value);
        e = mem_get(b, fingerprint, slot, keys[i].kg, keys[i].ns, keys[i].key, &value, &found);
        if (!e && found) e = fn(arg, i, buf_slice(&value));
    }
    buf_free(&value);
    return e;
}

static err_t *mem_scan(base_db_t *b, uint64_t fingerprint, int slot, int kg_lo, int kg_hi, const int64_t *ns,
                       err_t *(*fn)(void *arg, int64_t ns, slice_t key, slice_t value), void *arg) {
    mem_base_t *m = self_of(b);
    TRY(lost(b));
    buf_t from = buf_make(64);
    err_t *e = NULL;
    pthread_mutex_lock(&m->lock);
    for (int kg = kg_lo; kg < kg_hi && !e; kg++) {
        make_key(&from, fingerprint, slot, kg, ns ? *ns : INT64_MIN, slice_of(NULL, 0));
        slice_t prefix = slice_of(from.data, ns ? PREFIX : 14);
        for (node_t *n = seek(m, buf_slice(&from), NULL); !e && has_prefix(n, prefix); n = n->next[0])
            e = fn(arg, node_ns(n), slice_of(n->data + PREFIX, n->key_len - PREFIX),
                   slice_of(n->data + n->key_len, n->value_len));
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&from);
    return e;
}

static err_t *mem_walk(base_db_t *b, uint64_t fingerprint, int slot, int64_t ns, int *kg, int kg_hi, buf_t *from,
                       err_t *(*fn)(void *arg, slice_t key, slice_t value, bool *ret_more), void *arg) {
    mem_base_t *m = self_of(b);
    TRY(lost(b));
    buf_t at = buf_make(BUF_MAX_DEFAULT);
    err_t *e = NULL;
    bool more = true;
    pthread_mutex_lock(&m->lock);
    for (; *kg < kg_hi && more && !e; (*kg)++, buf_clear(from)) {
        make_key(&at, fingerprint, slot, *kg, ns, buf_slice(from));
        slice_t prefix = slice_of(at.data, PREFIX);
        for (node_t *n = seek(m, buf_slice(&at), NULL); has_prefix(n, prefix); n = n->next[0]) {
            slice_t key = slice_of(n->data + PREFIX, n->key_len - PREFIX);
            e = fn(arg, key, slice_of(n->data + n->key_len, n->value_len), &more);
            if (!more && !e) walk_behind(from, key);
            if (!more || e) break;
        }
        if (!more || e) break;
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&at);
    return e;
}

/* ---------------------------------------------------------------- checkpoints */
static void free_block(void *p) {
    buf_free(p);
    free(p);
}

static void register_block(const char *dir, buf_t *block) {
    buf_t *copy = xmalloc(sizeof *copy);
    *copy = *block;
    *block = buf_make(BUF_MAX_DEFAULT);
    pthread_mutex_lock(&registry.lock);
    if (!registry.dirs) registry.dirs = map_new();
    void *old = map_put_str(registry.dirs, dir, copy);
    pthread_mutex_unlock(&registry.lock);
    if (old) free_block(old);
}

/* A copy of the directory's block, so that nothing is read under the registry's lock. */
static err_t *find_block(const char *dir, buf_t *ret) {
    pthread_mutex_lock(&registry.lock);
    const buf_t *found = registry.dirs ? map_get_str(registry.dirs, dir) : NULL;
    if (found) buf_put(ret, found->data, found->len);
    pthread_mutex_unlock(&registry.lock);
    return found ? NULL : err_new(ERR_NOT_FOUND, "%s: there is no checkpoint of this name", dir);
}

static err_t *mem_checkpoint(base_db_t *b, const char *dir) {
    mem_base_t *m = self_of(b);
    TRY(lost(b));
    buf_t block = buf_make(BUF_MAX_DEFAULT);
    buf_put_u32(&block, FILE_MAGIC);
    pthread_mutex_lock(&m->lock);
    for (node_t *n = m->head->next[0]; n; n = n->next[0]) {
        buf_put_bytes(&block, slice_of(n->data, n->key_len));
        buf_put_bytes(&block, slice_of(n->data + n->key_len, n->value_len));
    }
    pthread_mutex_unlock(&m->lock);
    if (block.overflow) {
        buf_free(&block);
        return err_new(ERR_LIMIT, "%s: the memory base has outgrown its checkpoint", dir);
    }
    register_block(dir, &block);
    return NULL;
}

static err_t *load_where(base_db_t *b, const char *dir, const uint64_t *fingerprint, int kg_lo, int kg_hi) {
    mem_base_t *m = self_of(b);
    buf_t block = buf_make(BUF_MAX_DEFAULT);
    err_t *e = find_block(dir, &block);
    reader_t r = reader_of(buf_slice(&block));
    if (!e && read_u32(&r) != FILE_MAGIC) e = err_new(ERR_CORRUPT, "%s/%s: byte 0: not a base", dir, FILE_NAME);
    pthread_mutex_lock(&m->lock);
    while (!e && reader_left(&r) > 0) {
        slice_t key = read_bytes(&r), value = read_bytes(&r);
        if (r.bad || key.len < PREFIX) {
            e = err_new(ERR_CORRUPT, "%s/%s: byte %zu: malformed", dir, FILE_NAME, (size_t)(r.p - block.data));
            break;
        }
        int kg = (int)get_be(key.p + 12, 2);
        if (kg >= kg_lo && kg < kg_hi && (!fingerprint || get_be(key.p, 8) == *fingerprint)) put(m, key, value);
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&block);
    return e;
}

static err_t *mem_load(base_db_t *b, const char *dir, int kg_lo, int kg_hi) {
    return load_where(b, dir, NULL, kg_lo, kg_hi);
}
static err_t *mem_load_op(base_db_t *b, const char *dir, uint64_t fingerprint, int kg_lo, int kg_hi) {
    return load_where(b, dir, &fingerprint, kg_lo, kg_hi);
}

static err_t *mem_files(base_db_t *b, const char *dir, void (*fn)(void *arg, const char *name, bool shared), void *arg) {
    fn(arg, FILE_NAME, false);
    return NULL;
}

static err_t *mem_store(base_db_t *b, const char *dir, const char *name, disk_t *disk, const char *path, uint64_t *ret_size,
                        uint32_t *ret_crc) {
    buf_t block = buf_make(BUF_MAX_DEFAULT);
    err_t *e = find_block(dir, &block);
    if (!e) e = disk->put(disk, path, buf_slice(&block));
    *ret_size = block.len;
    *ret_crc = crc32c(0, block.data, block.len);
    buf_free(&block);
    return e;
}

static err_t *mem_fetch(base_db_t *b, disk_t *disk, const base_file_t *file, const char *dir) {
    buf_t block = buf_make(BUF_MAX_DEFAULT);
    err_t *e = disk->read(disk, file->path, 0, UINT64_MAX, &block);
    if (!e && (block.len != file->size || crc32c(0, block.data, block.len) != file->crc))
        e = err_new(ERR_CORRUPT, "%s/%s: wrong size or checksum", disk->where(disk), file->path);
    if (!e) register_block(dir, &block);
    buf_free(&block);
    return e;
}

static void mem_discard(base_db_t *b, const char *dir) {
    pthread_mutex_lock(&registry.lock);
    void *old = registry.dirs ? map_del(registry.dirs, slice_str(dir)) : NULL;
    if (registry.dirs && map_len(registry.dirs) == 0) map_free(TAKE(registry.dirs), NULL);
    pthread_mutex_unlock(&registry.lock);
    if (old) free_block(old);
}

static err_t *mem_settle(base_db_t *b) { return NULL; }
static int mem_scratch(base_db_t *b, uint64_t bytes) { return memfd_create("scratch", MFD_CLOEXEC); }

static void mem_close(base_db_t *b) {
    if (!b) return;
    mem_base_t *m = self_of(b);
    for (node_t *n = m->head->next[0], *next; n; n = next) {
        next = n->next[0];
        node_free(n);
    }
    free(m->head);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

base_db_t *base_new_memory(void) {
    mem_base_t *m = xcalloc(1, sizeof *m);
    m->vt = (base_db_t){mem_apply, mem_get,     mem_get_many, mem_scan,  mem_checkpoint, mem_load,  mem_close,
                        mem_load_op, mem_files, mem_store, mem_fetch,      mem_discard, mem_walk, mem_scratch,
                        mem_apply,   mem_settle};
    m->head = xcalloc(1, sizeof(node_t) + LEVELS * sizeof(node_t *));
    m->head->levels = LEVELS;
    pthread_mutex_init(&m->lock, NULL);
    return &m->vt;
}
