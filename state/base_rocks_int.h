/* base_rocks_int.h: what base_rocks.c and base_files.c share. */
#pragma once
#include "state/changelog.h"
#include "state/kstate_env.h"
#include <rocksdb/c.h>

err_t *rocks_error(char *text, const char *dir, const char *what); /* takes text; NULL is success */
err_t *rocks_live(base_db_t *b, err_t *e); /* it is of the live directory: notes how the base is; err_here. Takes and returns e */
bool rocks_family_parse(const char *name, uint64_t *ret_fingerprint, int *ret_slot);
err_t *rocks_go_on(const atomic_bool *cancel); /* ERR_CANCELLED once it is true; NULL: never */

/* RocksDB's own log lies beside the base, where the disk may be full: a line of it that was not written whole ends the process with the next one, in
 * a library that has its assertions, as Debian's has. Whatever goes wrong comes as an error of the call, too. So nothing is written into it: this level
 * is above that of its headers. (It cannot be left out: a base whose log cannot be made is not opened.) */
static inline void rocks_no_log(rocksdb_options_t *o) { rocksdb_options_set_info_log_level(o, 6); }

void rocks_make_key(buf_t *out, int kg, int64_t ns, slice_t key);

/* base_rocks_ingest.c: a table file that is being written, by way of `path`, of changes that ascend strictly over the calls. Nobody reads it before
 * rocks_sst_end, which takes `s` whatever comes of it, as rocks_sst_drop does; after an error nothing of it is there. */
typedef struct rocks_sst rocks_sst_t;
err_t *rocks_sst_begin(const rocksdb_options_t *options, rocksdb_column_family_handle_t *cf, int slot, const char *path, rocks_sst_t **ret);
bool rocks_sst_takes(const rocks_sst_t *s, const rocksdb_column_family_handle_t *cf, reader_t r); /* they begin behind what it has */
err_t *rocks_sst_add(rocks_sst_t *s, reader_t *r); /* as far as they ascend, and no DROP comes */
err_t *rocks_sst_copy(rocks_sst_t *s, slice_t key, slice_t value); /* of another base, in its order: the key as it lies there */
size_t rocks_sst_bytes(const rocks_sst_t *s);
err_t *rocks_sst_end(rocks_sst_t *s, rocksdb_t *db);
void rocks_sst_drop(rocks_sst_t *s); /* NULL is allowed */

/* base_files.c */
/* Opens a checkpoint directory read-only and calls fn per state column family (of one operator, or of all). */
err_t *rocks_each_family(const char *dir, const uint64_t *fingerprint,
                         err_t *(*fn)(void *arg, rocksdb_t *db, rocksdb_column_family_handle_t *cf, const char *dir,
                                      uint64_t fingerprint, int slot), void *arg);
err_t *rocks_make_dirs(const char *dir);
err_t *rocks_files(base_db_t *b, const char *dir, void (*fn)(void *arg, const char *name, bool shared), void *arg);
err_t *rocks_store(base_db_t *b, const char *dir, const char *name, disk_t *disk, const char *path, uint64_t *ret_size,
                   uint32_t *ret_crc);
err_t *rocks_fetch(base_db_t *b, disk_t *disk, const base_file_t *file, const char *dir);
void rocks_discard(base_db_t *b, const char *dir);
