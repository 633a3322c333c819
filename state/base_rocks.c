/* base_rocks.c: the base in RocksDB: one column family per (operator, slot), keys [kg u16 BE][ns u64 BE, sign flipped][key].
 *
 * The write-ahead log is off: the live directory is never opened again, only checkpoints are, and a checkpoint flushes every
 * column family first (log_size_for_flush 0) while nothing is being applied, since the one thread that applies makes it.
 * Dropped namespaces are looked up, all at once, per key group, and their keys are deleted one by one while they are few: range tombstones
 * slow down every later read, and most windows are born and dropped between two bases and never come here (applier.c). */
#include "state/base_rocks_int.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RUNS_MERGED 16       /* of a table; it holds large ones among them, so that with eight most merges were of three or four */
#define RUNS_MANY 32         /* that wait to be merged */
#define MERGE_WAIT_MS 1000   /* for them, at each writing */
#define PREFIX 10
#define BATCH_BYTES (1u << 20)
#define POINT_DELETES_MAX 64
#define SCRATCH_RESERVE ((uint64_t)1 << 30) /* of the disk, or a twentieth */
#define INGEST_BYTES ((size_t)512 << 10) /* changes from here on are worth a table file, .. */
#define FILE_BYTES ((size_t)32 << 20)    /* .. which takes all that ascend, up to so many: each file is a run that is merged with others */

typedef struct family { uint64_t fingerprint; int slot; rocksdb_column_family_handle_t *cf; } family_t;

typedef struct rocks {
    base_db_t vt;
    char *dir;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *wo;
    rocksdb_readoptions_t *ro, *scan_ro;
    rocksdb_column_family_handle_t *default_cf;
    uint64_t ingested; /* table files; the applying thread's, as `sst`, */
    rocks_sst_t *sst;  /* which is being written, or NULL */
    pthread_rwlock_t lock; /* guards the list of families; handles live until close */
    family_t *families;
    int nfamilies;
} rocks_t;

static rocks_t *self_of(base_db_t *b) { return CONTAINER_OF(b, rocks_t, vt); }

err_t *rocks_error(char *text, const char *dir, const char *what) {
    if (!text) return NULL;
    err_code_t code = strncmp(text, "Corruption", 10) == 0     ? ERR_CORRUPT
                      : strstr(text, "No space left")          ? ERR_NO_SPACE
                      : strstr(text, "No such file or directory") ? ERR_NOT_FOUND
                                                               : ERR_IO;
    err_t *e = err_new(code, "%s: %s: %s", dir, what, text);
    rocksdb_free(text);
    return e;
}

/* Of RocksDB's own words about the live directory, not of what a caller's function returned: the base is as well as they say. */
err_t *rocks_live(base_db_t *b, err_t *e) {
    err_code_t code = err_code(e);
    if (!e) return NULL;
    base_ails(b, code == ERR_NO_SPACE ? BASE_FULL : code == ERR_CORRUPT || code == ERR_NOT_FOUND ? BASE_LOST : BASE_FAILS);
    return err_here(e);
}
static err_t *live(rocks_t *r, char *text, const char *what) { return rocks_live(&r->vt, rocks_error(text, r->dir, what)); }

/* An iterator's error counts when nothing went wrong before. */
static err_t *read_error(rocksdb_iterator_t *it, err_t *before, const char *dir) {
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    if (!before) return rocks_error(text, dir, "cannot read");
    if (text) rocksdb_free(text);
    return NULL;
}

void rocks_make_key(buf_t *out, int kg, int64_t ns, slice_t key) {
    uint64_t u = (uint64_t)ns ^ ((uint64_t)1 << 63);
    uint8_t p[PREFIX] = {(uint8_t)(kg >> 8), (uint8_t)kg};
    for (int i = 0; i < 8; i++) p[2 + i] = (uint8_t)(u >> (56 - 8 * i));
    buf_clear(out);
    buf_put(out, p, PREFIX);
    buf_put(out, key.p, key.len);
}

static int key_kg(const char *k) { return ((uint8_t)k[0] << 8) | (uint8_t)k[1]; }

static int64_t key_ns(const char *k) {
    uint64_t u = 0;
    for (int i = 0; i < 8; i++) u = u << 8 | (uint8_t)k[2 + i];
    return (int64_t)(u ^ ((uint64_t)1 << 63));
}

/* ---------------------------------------------------------------- families */
bool rocks_family_parse(const char *name, uint64_t *ret_fingerprint, int *ret_slot) {
    char *end;
    uint64_t fp = strtoull(name, &end, 16);
    if (end != name + 16 || *end != '.') return false;
    long slot = strtol(end + 1, &end, 10);
    if (*end || slot < 0 || slot > INT32_MAX) return false;
    *ret_fingerprint = fp;
    *ret_slot = (int)slot;
    return true;
}

static rocksdb_column_family_handle_t *family_find(rocks_t *r, uint64_t fingerprint, int slot) {
    rocksdb_column_family_handle_t *cf = NULL;
    pthread_rwlock_rdlock(&r->lock);
    for (int i = 0; i < r->nfamilies && !cf; i++)
        if (r->families[i].fingerprint == fingerprint && r->families[i].slot == slot) cf = r->families[i].cf;
    pthread_rwlock_unlock(&r->lock);
    return cf;
}

static void family_add(rocks_t *r, uint64_t fingerprint, int slot, rocksdb_column_family_handle_t *cf) {
    pthread_rwlock_wrlock(&r->lock);
    r->families = xrealloc(r->families, ((size_t)r->nfamilies + 1) * sizeof *r->families);
    r->families[r->nfamilies++] = (family_t){fingerprint, slot, cf};
    pthread_rwlock_unlock(&r->lock);
}

static err_t *family_need(rocks_t *r, uint64_t fingerprint, int slot, rocksdb_column_family_handle_t **ret) {
    *ret = family_find(r, fingerprint, slot);
    if (*ret) return NULL;
    AUTO(auto_free) char *name = xprintf("%016" PRIx64 ".%d", fingerprint, slot);
    char *text = NULL;
    *ret = rocksdb_create_column_family(r->db, r->options, name, &text);
    TRY(live(r, text, "cannot create a column family"));
    family_add(r, fingerprint, slot, *ret);
    return NULL;
}

/* ---------------------------------------------------------------- apply */
typedef struct writing {
    rocks_t *r;
    int slot;
    rocksdb_column_family_handle_t *cf;
    rocksdb_writebatch_t *batch;
    size_t bytes;
    buf_t key;
    change_t *drops; /* that stand together, before they are looked up */
    size_t ndrops, drops_cap;
    bool tables; /* loading: it was not little, and the rest, which ascends, goes into table files that need no merging, past the memtables */
} writing_t;

static err_t *flush_batch(writing_t *w) {
    if (w->bytes == 0) return NULL;
    char *text = NULL;
    rocksdb_write(w->r->db, w->r->wo, w->batch, &text);
    rocksdb_writebatch_clear(w->batch);
    w->bytes = 0;
    return live(w->r, text, "cannot write");
}

static err_t *write_one(writing_t *w, slice_t key, const slice_t *value) {
    if (value)
        rocksdb_writebatch_put_cf(w->batch, w->cf, (const char *)key.p, key.len, value->len ? (const char *)value->p : "",
                                  value->len);
    else rocksdb_writebatch_delete_cf(w->batch, w->cf, (const char *)key.p, key.len);
    w->bytes += key.len + (value ? value->len : 0) + 16;
    return w->bytes >= BATCH_BYTES ? flush_batch(w) : NULL;
}

/* Deletes the namespace in the key group the iterator stands at, and leaves it at what follows or somewhere in the namespace. */
static err_t *drop_group(writing_t *w, rocksdb_iterator_t *it, int kg, int64_t ns) {
    for (int n = 0; rocksdb_iter_valid(it); rocksdb_iter_next(it), n++) {
        size_t len;
        const char *k = rocksdb_iter_key(it, &len);
        if (len < PREFIX || key_kg(k) != kg || key_ns(k) != ns) return NULL;
        if (n >= POINT_DELETES_MAX) break;
        TRY(write_one(w, slice_of(k, len), NULL));
    }
    if (!rocksdb_iter_valid(it)) return NULL;
    buf_t end = buf_make(64);
    rocks_make_key(&w->key, kg, ns, slice_of(NULL, 0));
    if (ns == INT64_MAX) rocks_make_key(&end, kg + 1, INT64_MIN, slice_of(NULL, 0));
    else rocks_make_key(&end, kg, ns + 1, slice_of(NULL, 0));
    rocksdb_writebatch_delete_range_cf(w->batch, w->cf, (const char *)w->key.data, w->key.len, (const char *)end.data,
                                       end.len);
    w->bytes += w->key.len + end.len + 16;
    buf_free(&end);
    return NULL;
}

static int drop_cmp(const void *x, const void *y) {
    const change_t *a = x, *b = y;
    if (a->kg_lo != b->kg_lo) return a->kg_lo < b->kg_lo ? -1 : 1;
    if (a->kg_hi != b->kg_hi) return a->kg_hi < b->kg_hi ? -1 : 1;
    return (a->ns > b->ns) - (a->ns < b->ns);
}

/* The first of the ascending drops at or behind a namespace. */
static size_t drop_from(const change_t *d, size_t lo, size_t n, int64_t ns) {
    for (size_t hi = n; lo < n && lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        if (d[mid].ns < ns) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* All drops of one range of key groups, a group at a time: what the base has says which of them is next, so thousands of small namespaces that
 * lie in one group each cost a look each, not a look into every group. */
static err_t *drop_many(writing_t *w, rocksdb_iterator_t *it, const change_t *d, size_t n) {
    for (int kg = d->kg_lo; kg < d->kg_hi; kg++) {
        for (size_t i = 0; i < n;) {
            rocks_make_key(&w->key, kg, d[i].ns, slice_of(NULL, 0));
            rocksdb_iter_seek(it, (const char *)w->key.data, w->key.len);
            if (!rocksdb_iter_valid(it)) return NULL; /* nothing from here on, or an error that the caller asks for */
            size_t len;
            const char *k = rocksdb_iter_key(it, &len);
            int found = key_kg(k);
            if (found > kg) {
                kg = found - 1; /* nothing before the group found */
                break;
            }
            int64_t ns = key_ns(k);
            if (ns == d[i].ns) TRY(drop_group(w, it, kg, ns));
            i = ns == d[i].ns ? i + 1 : drop_from(d, i + 1, n, ns);
        }
    }
    return NULL;
}

/* Those that were collected. */
static err_t *drop_all(writing_t *w) {
    size_t n = w->ndrops;
    w->ndrops = 0;
    if (n == 0) return NULL;
    TRY(flush_batch(w)); /* the iterator must see what came before */
    const change_t *d = w->drops;
    qsort(w->drops, n, sizeof *d, drop_cmp);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(w->r->db, w->r->ro, w->cf);
    err_t *e = NULL;
    for (size_t from = 0, to; from < n && !e; from = to) {
        for (to = from + 1; to < n && d[to].kg_lo == d[from].kg_lo && d[to].kg_hi == d[from].kg_hi;) to++;
        e = drop_many(w, it, d + from, to - from);
    }
    err_t *read = rocks_live(&w->r->vt, read_error(it, e, w->r->dir));
    rocksdb_iter_destroy(it);
    return e ? e : read;
}

static void drop_later(writing_t *w, const change_t *c) {
    if (w->ndrops == w->drops_cap) w->drops = xrealloc(w->drops, (w->drops_cap = w->drops_cap ? 2 * w->drops_cap : 16) * sizeof *c);
    w->drops[w->ndrops++] = *c;
}

static err_t *settle(rocks_t *r) { return r->sst ? rocks_live(&r->vt, rocks_sst_end(TAKE(r->sst), r->db)) : NULL; }

static err_t *rocks_settle(base_db_t *b) { return settle(self_of(b)); }

static err_t *need_sst(writing_t *w) {
    rocks_t *r = w->r;
    if (r->sst) return NULL;
    AUTO(auto_free) char *path = xprintf("%s/ingest-%" PRIu64 ".new", r->dir, ++r->ingested);
    return rocks_live(&r->vt, rocks_sst_begin(r->options, w->cf, w->slot, path, &r->sst));
}

/* As far as they ascend: what follows comes behind all that. */
static err_t *ingest(writing_t *w, reader_t *changes) {
    rocks_t *r = w->r;
    if (r->sst && !rocks_sst_takes(r->sst, w->cf, *changes)) TRY(settle(r));
    TRY(need_sst(w));
    err_t *e = rocks_live(&r->vt, rocks_sst_add(r->sst, changes));
    if (e) {
        rocks_sst_drop(TAKE(r->sst));
        return e;
    }
    bool all = reader_left(changes) == 0;
    return all && rocks_sst_bytes(r->sst) < FILE_BYTES ? NULL : settle(r);
}

/* Merging has fallen behind: it gets a little time, and no more. RocksDB's own stall would be without a limit (of a full disk a flush waits until there
 * is room to merge, and nobody hears of it). */
static void let_merge(const rocks_t *r, rocksdb_column_family_handle_t *cf) {
    for (int i = 0; i < MERGE_WAIT_MS / 20; i++) {
        char *runs = rocksdb_property_value_cf(r->db, cf, "rocksdb.num-files-at-level0"); /* a text, never a number */
        bool many = runs && strtol(runs, NULL, 10) >= RUNS_MANY; /* none: what is no number */
        if (runs) rocksdb_free(runs);
        if (!many) return;
        usleep(20000);
    }
}

static err_t *apply_some(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes) {
    if (changes.len == 0) return NULL;
    reader_t r;
    TRY(err_wrap(change_open(changes, &r), "state base"));
    writing_t w = {.r = self_of(b), .slot = slot, .key = buf_make(BUF_MAX_DEFAULT)};
    TRY(family_need(w.r, fingerprint, slot, &w.cf));
    let_merge(w.r, w.cf);
    w.batch = rocksdb_writebatch_create();
    err_t *e = NULL;
    change_t c;
    bool tried = false;
    for (reader_t here = r; !e && change_next(&r, &c); here = r) {
        if (c.kind == CHANGE_DROP) {
            if ((e = settle(w.r))) break;
            drop_later(&w, &c);
            continue;
        }
        if ((e = drop_all(&w))) break;
        if (!tried && (reader_left(&here) >= INGEST_BYTES || (w.r->sst && rocks_sst_takes(w.r->sst, w.cf, here)))) { /* drops come first, if at all */
            tried = true;
            if ((e = flush_batch(&w)) || (e = ingest(&w, &here))) break;
            r = here;
            continue;
        }
        tried = true;
        if ((e = settle(w.r))) break;
        rocks_make_key(&w.key, state_key_group(slot, c.key), c.ns, c.key);
        e = write_one(&w, buf_slice(&w.key), c.kind == CHANGE_PUT ? &c.value : NULL);
    }
    if (!e && r.bad) e = err_new(ERR_CORRUPT, "state base: malformed changes");
    if (!e) e = drop_all(&w);
    if (!e) e = flush_batch(&w);
    rocksdb_writebatch_destroy(w.batch);
    buf_free(&w.key);
    free(w.drops);
    return e;
}

static err_t *rocks_apply(base_db_t *b, uint64_t fingerprint, int slot, slice_t changes) {
    TRY(apply_some(b, fingerprint, slot, changes));
    return rocks_settle(b);
}

/* ---------------------------------------------------------------- read */
static err_t *rocks_get(base_db_t *b, uint64_t fingerprint, int slot, int kg, int64_t ns, slice_t key, buf_t *ret,
                        bool *ret_found) {
    rocks_t *r = self_of(b);
    *ret_found = false;
    rocksdb_column_family_handle_t *cf = family_find(r, fingerprint, slot);
    if (!cf) return NULL;
    uint8_t small[128];
    buf_t full = {.data = small, .cap = sizeof small, .max = sizeof small};
    bool heap = key.len + PREFIX > sizeof small;
    if (heap) full = buf_make(BUF_MAX_DEFAULT);
    rocks_make_key(&full, kg, ns, key);
    char *text = NULL;
    rocksdb_pinnableslice_t *v = rocksdb_get_pinned_cf(r->db, r->ro, cf, (const char *)full.data, full.len, &text);
    if (heap) buf_free(&full);
    if (v) {
        size_t len;
        const char *p = rocksdb_pinnableslice_value(v, &len);
        buf_put(ret, p, len);
        *ret_found = true;
        rocksdb_pinnableslice_destroy(v);
    }
    return live(r, text, "cannot read");
}

static err_t *rocks_get_many(base_db_t *b, uint64_t fingerprint, int slot, const base_key_t *keys, uint32_t n,
                             err_t *(*fn)(void *arg, uint32_t i, slice_t value), void *arg) {
    enum { AT_ONCE = 128 };
    rocks_t *r = self_of(b);
    rocksdb_column_family_handle_t *cf = family_find(r, fingerprint, slot);
    if (!cf) return NULL;
    const char *at[AT_ONCE];
    size_t len[AT_ONCE], off[AT_ONCE];
    rocksdb_pinnableslice_t *values[AT_ONCE];
    char *texts[AT_ONCE];
    buf_t all = buf_make(SIZE_MAX / 2), one = buf_make(BUF_MAX_DEFAULT);
    err_t *e = NULL;
    for (uint32_t from = 0, count; from < n && !e; from += count) {
        count = MIN(n - from, (uint32_t)AT_ONCE);
        buf_clear(&all);
        for (uint32_t i = 0; i < count; i++) {
            const base_key_t *k = &keys[from + i];
            rocks_make_key(&one, k->kg, k->ns, k->key);
            off[i] = all.len;
            len[i] = one.len;
            buf_put(&all, one.data, one.len);
        }
        for (uint32_t i = 0; i < count; i++) at[i] = (const char *)all.data + off[i];
        rocksdb_batched_multi_get_cf(r->db, r->ro, cf, count, at, len, values, texts, /* sorted_input= */ false);
        for (uint32_t i = 0; i < count; i++) {
            if (e && texts[i]) rocksdb_free(texts[i]);
            else if (!e) e = live(r, texts[i], "cannot read");
            if (!values[i]) continue;
            size_t vlen;
            const char *v = rocksdb_pinnableslice_value(values[i], &vlen);
            if (!e) e = fn(arg, from + i, slice_of(v, vlen));
            rocksdb_pinnableslice_destroy(values[i]);
        }
    }
    buf_free(&all);
    buf_free(&one);
    return e;
}

err_t *rocks_go_on(const atomic_bool *cancel) {
    bool stop = cancel && atomic_load_explicit(cancel, memory_order_relaxed);
    return stop ? err_new(ERR_CANCELLED, "the attempt was stopped") : NULL;
}

static err_t *scan_group(rocksdb_iterator_t *it, int kg, const int64_t *ns, const atomic_bool *cancel,
                         err_t *(*fn)(void *arg, int64_t ns, slice_t key, slice_t value), void *arg) {
    for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        TRY(rocks_go_on(cancel));
        size_t klen, vlen;
        const char *k = rocksdb_iter_key(it, &klen);
        if (klen < PREFIX || key_kg(k) != kg || (ns && key_ns(k) != *ns)) return NULL;
        const char *v = rocksdb_iter_value(it, &vlen);
        TRY(fn(arg, key_ns(k), slice_of(k + PREFIX, klen - PREFIX), slice_of(v, vlen)));
    }
    return NULL;
}

/* own: `cf` is a family of it; NULL: of a checkpoint in `dir`. */
static err_t *scan_cf(rocks_t *own, rocksdb_t *db, rocksdb_readoptions_t *ro, rocksdb_column_family_handle_t *cf, const char *dir, int kg_lo, int kg_hi,
                      const int64_t *ns, const atomic_bool *cancel, err_t *(*fn)(void *arg, int64_t ns, slice_t key, slice_t value), void *arg) {
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(db, ro, cf);
    buf_t from = buf_make(64);
    err_t *e = NULL;
    for (int kg = kg_lo; kg < kg_hi && !e; kg++) {
        rocks_make_key(&from, kg, ns ? *ns : INT64_MIN, slice_of(NULL, 0));
        rocksdb_iter_seek(it, (const char *)from.data, from.len);
        if (!rocksdb_iter_valid(it)) break;
        size_t len;
        int found = key_kg(rocksdb_iter_key(it, &len));
        if (found > kg) kg = found - 1;
        else e = scan_group(it, kg, ns, cancel, fn, arg);
    }
    err_t *read = read_error(it, e, dir);
    if (own) read = rocks_live(&own->vt, read);
    rocksdb_iter_destroy(it);
    buf_free(&from);
    return e ? e : read;
}

static err_t *rocks_scan(base_db_t *b, uint64_t fingerprint, int slot, int kg_lo, int kg_hi, const int64_t *ns,
                         err_t *(*fn)(void *arg, int64_t ns, slice_t key, slice_t value), void *arg) {
    rocks_t *r = self_of(b);
    rocksdb_column_family_handle_t *cf = family_find(r, fingerprint, slot);
    return cf ? scan_cf(r, r->db, r->scan_ro, cf, r->dir, kg_lo, kg_hi, ns, b->cancel, fn, arg) : NULL;
}

/* Walks the group the iterator stands in; *ret_more false: the place to go on at is in `from`. */
static err_t *walk_group(rocksdb_iterator_t *it, int kg, int64_t ns, buf_t *from,
                         err_t *(*fn)(void *arg, slice_t key, slice_t value, bool *ret_more), void *arg, bool *ret_more) {
    for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t klen, vlen;
        const char *k = rocksdb_iter_key(it, &klen);
        if (klen < PREFIX || key_kg(k) != kg || key_ns(k) != ns) return NULL;
        const char *v = rocksdb_iter_value(it, &vlen);
        slice_t key = slice_of(k + PREFIX, klen - PREFIX);
        TRY(fn(arg, key, slice_of(v, vlen), ret_more));
        if (*ret_more) continue;
        walk_behind(from, key);
        return NULL;
    }
    return NULL;
}

static err_t *rocks_walk(base_db_t *b, uint64_t fingerprint, int slot, int64_t ns, int *kg, int kg_hi, buf_t *from,
                         err_t *(*fn)(void *arg, slice_t key, slice_t value, bool *ret_more), void *arg) {
    rocks_t *r = self_of(b);
    rocksdb_column_family_handle_t *cf = family_find(r, fingerprint, slot);
    rocksdb_iterator_t *it = cf ? rocksdb_create_iterator_cf(r->db, r->scan_ro, cf) : NULL;
    buf_t at = buf_make(BUF_MAX_DEFAULT);
    err_t *e = NULL;
    bool more = true;
    for (; it && *kg < kg_hi && !e; (*kg)++, buf_clear(from)) {
        rocks_make_key(&at, *kg, ns, buf_slice(from));
        rocksdb_iter_seek(it, (const char *)at.data, at.len);
        if (!rocksdb_iter_valid(it)) break;
        size_t len;
        int found = key_kg(rocksdb_iter_key(it, &len));
        if (found > *kg) *kg = MIN(found, kg_hi) - 1; /* nothing before the group found */
        else e = walk_group(it, *kg, ns, from, fn, arg, &more);
        if (!more || e) break;
    }
    if (more && !e) *kg = kg_hi;
    err_t *read = it ? rocks_live(b, read_error(it, e, r->dir)) : NULL;
    if (it) rocksdb_iter_destroy(it);
    buf_free(&at);
    return e ? e : read;
}

/* ---------------------------------------------------------------- checkpoint, load */
static err_t *rocks_checkpoint(base_db_t *b, const char *dir) {
    rocks_t *r = self_of(b);
    char *text = NULL;
    rocksdb_checkpoint_t *cp = rocksdb_checkpoint_object_create(r->db, &text);
    TRY(live(r, text, "cannot begin a checkpoint"));
    rocksdb_checkpoint_create(cp, dir, 0, &text);
    rocksdb_checkpoint_object_destroy(cp);
    return rocks_live(b, rocks_error(text, dir, "cannot make a checkpoint"));
}

static err_t *load_one(void *arg, int64_t ns, slice_t key, slice_t value) {
    writing_t *w = arg;
    rocks_make_key(&w->key, state_key_group(w->slot, key), ns, key);
    if (!w->tables) {
        TRY(write_one(w, buf_slice(&w->key), &value));
        w->tables = w->bytes == 0; /* that was a whole batch */
        return NULL;
    }
    TRY(need_sst(w));
    TRY(rocks_live(&w->r->vt, rocks_sst_copy(w->r->sst, buf_slice(&w->key), value)));
    return rocks_sst_bytes(w->r->sst) < FILE_BYTES ? NULL : settle(w->r);
}

typedef struct loading { rocks_t *r; int kg_lo, kg_hi; } loading_t;

static err_t *load_family(void *arg, rocksdb_t *db, rocksdb_column_family_handle_t *cf, const char *dir, uint64_t fingerprint,
                          int slot) {
    loading_t *l = arg;
    writing_t w = {.r = l->r, .slot = slot, .key = buf_make(BUF_MAX_DEFAULT)};
    TRY(family_need(l->r, fingerprint, slot, &w.cf));
    TRY(settle(l->r));
    w.batch = rocksdb_writebatch_create();
    err_t *e = scan_cf(NULL, db, l->r->scan_ro, cf, dir, l->kg_lo, l->kg_hi, NULL, l->r->vt.cancel, load_one, &w);
    if (!e) e = flush_batch(&w);
    if (!e) e = settle(l->r);
    rocks_sst_drop(TAKE(l->r->sst)); /* of an error */
    rocksdb_writebatch_destroy(w.batch);
    buf_free(&w.key);
    return e;
}

static err_t *rocks_load(base_db_t *b, const char *dir, int kg_lo, int kg_hi) {
    loading_t l = {self_of(b), kg_lo, kg_hi};
    return rocks_each_family(dir, NULL, load_family, &l);
}
static err_t *rocks_load_op(base_db_t *b, const char *dir, uint64_t fingerprint, int kg_lo, int kg_hi) {
    loading_t l = {self_of(b), kg_lo, kg_hi};
    return rocks_each_family(dir, &fingerprint, load_family, &l);
}

/* The room is taken at once: who asks next, of whatever base, does not take it for free. A file system that cannot do it says so; then it is free until
 * it is written. The file has its size at once, too: XFS writes all out before it cuts off room behind an end that the disk does not know yet. */
static bool take_room(int fd, uint64_t bytes) {
    return bytes == 0 || fallocate(fd, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS;
}

/* What can be done without gives way before others meet the end of the disk or of descriptors: the lowest free number tells how many are taken. */
static int rocks_scratch(base_db_t *b, uint64_t bytes) {
    const char *dir = self_of(b)->dir;
    struct statvfs fs;
    struct rlimit files;
    if (statvfs(dir, &fs) != 0) return -1;
    uint64_t all = (uint64_t)fs.f_blocks * fs.f_frsize, left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (left < bytes || left - bytes < MIN(all / 20, SCRATCH_RESERVE)) return -1;
    AUTO(auto_free) char *path = xprintf("%s/scratch-XXXXXX", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    bool spare = getrlimit(RLIMIT_NOFILE, &files) != 0 || (rlim_t)fd < files.rlim_cur / 2;
    if (fd < 0 || (spare && take_room(fd, bytes))) return fd;
    close(fd);
    return -1;
}

/* ---------------------------------------------------------------- open, close */
static void rocks_close(base_db_t *b) {
    if (!b) return;
    rocks_t *r = self_of(b);
    rocks_sst_drop(r->sst);
    for (int i = 0; i < r->nfamilies; i++) rocksdb_column_family_handle_destroy(r->families[i].cf);
    if (r->default_cf) rocksdb_column_family_handle_destroy(r->default_cf);
    if (r->db) {
        rocksdb_cancel_all_background_work(r->db, 1);
        rocksdb_close(r->db);
    }
    rocksdb_writeoptions_destroy(r->wo);
    rocksdb_readoptions_destroy(r->ro);
    rocksdb_readoptions_destroy(r->scan_ro);
    rocksdb_options_destroy(r->options);
    rocksdb_block_based_options_destroy(r->table);
    rocksdb_cache_destroy(r->cache);
    pthread_rwlock_destroy(&r->lock);
    free(r->families);
    free(r->dir);
    free(r);
}

static void set_options(rocks_t *r, size_t memory) {
    memory = MAX(memory, (size_t)8 << 20);
    r->cache = rocksdb_cache_create_lru(memory - memory / 3);
    r->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(r->table, r->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(r->table, 1);
    rocksdb_block_based_options_set_filter_policy(r->table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_block_size(r->table, 16 << 10);
    /* in pieces: a cache smaller than the filters must not read a whole one for each key that is looked up */
    rocksdb_block_based_options_set_format_version(r->table, 5);
    rocksdb_block_based_options_set_index_type(r->table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(r->table, 1);
    rocksdb_block_based_options_set_metadata_block_size(r->table, 4096);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(r->table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(r->table, 1);
    r->options = rocksdb_options_create();
    rocksdb_options_t *o = r->options;
    rocksdb_options_set_block_based_table_factory(o, r->table);
    rocksdb_options_set_db_write_buffer_size(o, memory / 3);
    rocksdb_options_set_write_buffer_size(o, MIN(memory / 6, (size_t)64 << 20));
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.05);
    rocksdb_options_set_target_file_size_base(o, MIN(MAX(memory / 4, (size_t)4 << 20), (size_t)64 << 20)); /* bounds what a compaction holds */
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_open_files(o, 512);
    rocksdb_options_set_keep_log_file_num(o, 1);
    rocks_no_log(o);
    /* Runs of like size are merged, many at a time: levels would rewrite the whole base for every few MB of keys from all over it, and
     * a checkpoint would upload that. */
    rocksdb_options_set_compaction_style(o, rocksdb_universal_compaction);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, RUNS_MERGED);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, 16 * RUNS_MANY); /* let_merge does it */
    rocksdb_options_set_level0_stop_writes_trigger(o, 20 * RUNS_MANY);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_error_if_exists(o, 1);
    r->wo = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(r->wo, 1);
    r->ro = rocksdb_readoptions_create();
    r->scan_ro = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(r->scan_ro, 0);
}

static err_t *open_existing(rocks_t *r) {
    rocksdb_options_set_error_if_exists(r->options, 0);
    rocksdb_options_set_create_if_missing(r->options, 0);
    char *text = NULL;
    size_t n = 0;
    char **names = rocksdb_list_column_families(r->options, r->dir, &n, &text);
    if (text) {
        rocksdb_list_column_families_destroy(names, n);
        return rocks_error(text, r->dir, "cannot open the base");
    }
    rocksdb_column_family_handle_t **cfs = xcalloc(n, sizeof *cfs);
    const rocksdb_options_t **opts = xcalloc(n, sizeof *opts);
    for (size_t i = 0; i < n; i++) opts[i] = r->options;
    r->db = rocksdb_open_column_families(r->options, r->dir, (int)n, (const char *const *)names, opts, cfs, &text);
    for (size_t i = 0; i < n && !text; i++) {
        uint64_t fp;
        int slot;
        if (rocks_family_parse(names[i], &fp, &slot)) family_add(r, fp, slot, cfs[i]);
        else if (r->default_cf) rocksdb_column_family_handle_destroy(cfs[i]);
        else r->default_cf = cfs[i];
    }
    free(cfs);
    free(opts);
    rocksdb_list_column_families_destroy(names, n);
    return rocks_error(text, r->dir, "cannot open the base");
}

err_t *base_open_rocks(const char *dir, size_t memory, bool create, base_db_t **ret) {
    rocks_t *r = xcalloc(1, sizeof *r);
    r->vt = (base_db_t){rocks_apply,   rocks_get,   rocks_get_many, rocks_scan,  rocks_checkpoint, rocks_load,   rocks_close,
                        rocks_load_op, rocks_files, rocks_store, rocks_fetch,      rocks_discard, rocks_walk, rocks_scratch,
                        apply_some,   rocks_settle};
    r->dir = xstrdup(dir);
    pthread_rwlock_init(&r->lock, NULL);
    set_options(r, memory);
    err_t *e = NULL;
    char *text = NULL;
    AUTO(auto_free) char *current = xprintf("%s/CURRENT", dir);
    struct stat st;
    if (!create) {
        e = open_existing(r);
    } else if (stat(current, &st) == 0) {
        e = err_hint(err_new(ERR_EXISTS, "%s: holds a state base already", dir), "a live base is never opened again: wipe it");
    } else if (!(e = rocks_make_dirs(dir))) {
        r->db = rocksdb_open(r->options, dir, &text);
        e = rocks_error(text, dir, "cannot create the base");
    }
    if (e) rocks_close(&r->vt);
    else *ret = &r->vt;
    return e;
}
