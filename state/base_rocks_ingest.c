/* base_rocks_ingest.c: many changes in the order of the base, as coalescing gives them, become a table file of their own that the
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

static err_t *add_all(rocksdb_sstfilewriter_t *w, int slot, reader_t r, const char *path, bool *ret_sorted) {
    buf_t keys[2] = {buf_make(BUF_MAX_DEFAULT), buf_make(BUF_MAX_DEFAULT)};
    err_t *e = NULL;
    change_t c;
    for (size_t n = 0; !e && *ret_sorted && change_next(&r, &c); n++) {
        buf_t *key = &keys[n & 1], *last = &keys[~n & 1];
        if (c.kind != CHANGE_DROP) rocks_make_key(key, state_key_group(slot, c.key), c.ns, c.key);
        *ret_sorted = c.kind != CHANGE_DROP && (n == 0 || ascends(buf_slice(last), buf_slice(key)));
        if (*ret_sorted) e = add(w, buf_slice(key), &c, path);
    }
    if (r.bad) *ret_sorted = false; /* who reads it again says so */
    buf_free(&keys[0]);
    buf_free(&keys[1]);
    return e;
}

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

err_t *rocks_ingest(rocksdb_t *db, const rocksdb_options_t *options, rocksdb_column_family_handle_t *cf, int slot, const char *path,
                    reader_t r, bool *ret_done) {
    *ret_done = false;
    rocksdb_envoptions_t *env = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(env, options);
    char *text = NULL;
    bool sorted = true;
    rocksdb_sstfilewriter_open(w, path, &text);
    err_t *e = rocks_error(text, path, "cannot create");
    if (!e) e = add_all(w, slot, r, path, &sorted);
    if (!e && sorted) {
        text = NULL;
        rocksdb_sstfilewriter_finish(w, &text);
        e = rocks_error(text, path, "cannot write");
        if (!e) e = flush_memtable(db, cf, path);
        if (!e) e = take_over(db, cf, path);
        *ret_done = !e;
    }
    rocksdb_sstfilewriter_destroy(w);
    rocksdb_envoptions_destroy(env);
    unlink(path); /* of a file that was taken over there is nothing left here */
    return e;
}
