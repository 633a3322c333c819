/* base_rocks_ingest.c: many changes in the order of the base, as coalescing and loading give them, become a table file of their own that the
 * database takes over: no memtable sorts again what is sorted, and only what one holds already is flushed. */
#include "state/base_rocks_int.h"
#include <stdlib.h>
#include <unistd.h>

static err_t *add(rocksdb_sstfilewriter_t *w, slice_t key, const change_t *c, const char *path) {
    char *text = NULL;
    if (c->kind == CHANGE_PUT)
        rocksdb_sstfilewriter_put(w, (const char *)key.p, key.len, c->value.len ? (const char *)c->value.p : "", c->value.len, &text);
    else rocksdb_sstfilewriter_delete(w, (const char *)key.p, key.len, &text);
    return rocks_error(text, path, "cannot write");
}

static bool ascends(slice_t a, slice_t b) {
    int c = memcmp(a.p, b.p, MIN(a.len, b.len));
    return c < 0 || (c == 0 && a.len < b.len);
}

static bool key_of(buf_t *key, int slot, const change_t *c) {
    if (c->kind == CHANGE_DROP) return false;
    rocks_make_key(key, state_key_group(slot, c->key), c->ns, c->key);
    return true;
}

struct rocks_sst {
    rocksdb_envoptions_t *env;
    rocksdb_sstfilewriter_t *w;
    rocksdb_column_family_handle_t *cf;
    int slot; /* of the state */
    char *path;
    buf_t keys[2]; /* the last one is that of n - 1 */
    size_t n, bytes;
};

/* RocksDB 7.8 tells the age of its newest files by the numbers of their rows. A table file that is taken over beside a memtable whose keys it does
 * not touch gets a number within that memtable's; once such files are merged, what comes of it and what is flushed overlap. The database takes
 * that for corruption and refuses every change from then on. So no memtable lives longer than the next table file. */
static err_t *flush_memtable(rocksdb_t *db, rocksdb_column_family_handle_t *cf, const char *path) {
    uint64_t rows;
    if (rocksdb_property_int_cf(db, cf, "rocksdb.num-entries-active-mem-table", &rows) == 0 && rows == 0) return NULL;
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(o, 1);
    char *text = NULL;
    rocksdb_flush_cf(db, o, cf, &text);
    rocksdb_flushoptions_destroy(o);
    return rocks_error(text, path, "cannot flush what came before the table file");
}

static err_t *take_over(rocksdb_t *db, rocksdb_column_family_handle_t *cf, const char *path) {
    rocksdb_ingestexternalfileoptions_t *o = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(o, 1);
    char *text = NULL;
    rocksdb_ingest_external_file_cf(db, cf, &path, 1, o, &text);
    rocksdb_ingestexternalfileoptions_destroy(o);
    return rocks_error(text, path, "cannot take the table file over");
}

err_t *rocks_sst_begin(const rocksdb_options_t *options, rocksdb_column_family_handle_t *cf, int slot, const char *path, rocks_sst_t **ret) {
    rocks_sst_t *s = xcalloc(1, sizeof *s);
    *s = (rocks_sst_t){.env = rocksdb_envoptions_create(), .cf = cf, .slot = slot, .path = xstrdup(path)};
    for (int i = 0; i < 2; i++) s->keys[i] = buf_make(BUF_MAX_DEFAULT);
    s->w = rocksdb_sstfilewriter_create(s->env, options);
    char *text = NULL;
    rocksdb_sstfilewriter_open(s->w, path, &text);
    err_t *e = rocks_error(text, path, "cannot create");
    if (e) rocks_sst_drop(s);
    else *ret = s;
    return e;
}

bool rocks_sst_takes(const rocks_sst_t *s, const rocksdb_column_family_handle_t *cf, reader_t r) {
    change_t c;
    buf_t key = buf_make(BUF_MAX_DEFAULT);
    bool takes = s->cf == cf && change_next(&r, &c) && key_of(&key, s->slot, &c) && (s->n == 0 || ascends(buf_slice(&s->keys[~s->n & 1]), buf_slice(&key)));
    buf_free(&key);
    return takes;
}

err_t *rocks_sst_add(rocks_sst_t *s, reader_t *r) {
    change_t c;
    for (reader_t here = *r; change_next(&here, &c); *r = here, s->n++) {
        buf_t *key = &s->keys[s->n & 1];
        if (!key_of(key, s->slot, &c) || (s->n > 0 && !ascends(buf_slice(&s->keys[~s->n & 1]), buf_slice(key)))) return NULL;
        TRY(add(s->w, buf_slice(key), &c, s->path));
        s->bytes += key->len + (c.kind == CHANGE_PUT ? c.value.len : 0);
    }
    return NULL;
}

err_t *rocks_sst_copy(rocks_sst_t *s, slice_t key, slice_t value) {
    char *text = NULL;
    rocksdb_sstfilewriter_put(s->w, (const char *)key.p, key.len, value.len ? (const char *)value.p : "", value.len, &text);
    s->n++;
    s->bytes += key.len + value.len;
    return rocks_error(text, s->path, "cannot write");
}

size_t rocks_sst_bytes(const rocks_sst_t *s) { return s->bytes; }

err_t *rocks_sst_end(rocks_sst_t *s, rocksdb_t *db) {
    err_t *e = NULL;
    if (s->n > 0) {
        char *text = NULL;
        rocksdb_sstfilewriter_finish(s->w, &text);
        e = rocks_error(text, s->path, "cannot write");
        if (!e) e = flush_memtable(db, s->cf, s->path);
        if (!e) e = take_over(db, s->cf, s->path);
    }
    rocks_sst_drop(s);
    return e;
}

void rocks_sst_drop(rocks_sst_t *s) {
    if (!s) return;
    rocksdb_sstfilewriter_destroy(s->w);
    rocksdb_envoptions_destroy(s->env);
    unlink(s->path); /* of a file that was taken over there is nothing left here */
    buf_free(&s->keys[0]);
    buf_free(&s->keys[1]);
    free(s->path);
    free(s);
}
