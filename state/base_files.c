/* base_files.c: checkpoint directories of RocksDB as files: to storage, from storage, opened read-only, removed. */
#include "state/base_rocks_int.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

err_t *rocks_make_dirs(const char *dir) {
    disk_t *d;
    TRY(disk_open_posix(dir, true, &d)); /* makes every directory on the way, durably */
    d->free(d);
    return NULL;
}

#define TABLE_MAGIC 0x88e241b785f4cff7u /* a table file's last eight bytes, little-endian */

static bool is_data(const char *name) { /* not the log for people, not the lock */
    return name[0] != '.' && strncmp(name, "LOG", 3) != 0 && strcmp(name, "LOCK") != 0;
}

static bool is_table(const char *name) {
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".sst") == 0;
}

err_t *rocks_files(base_db_t *b, const char *dir, void (*fn)(void *arg, const char *name, bool shared), void *arg) {
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort);
    if (n < 0) return rocks_live(b, err_from_errno(errno, "%s: cannot list the checkpoint", dir));
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        if (is_data(name)) fn(arg, name, is_table(name));
        free(list[i]);
    }
    free(list);
    return NULL;
}

static err_t *file_sum(const char *path, const atomic_bool *cancel, uint64_t *ret_size, uint32_t *ret_crc) {
    FILE *f = fopen(path, "re");
    if (!f) return err_from_errno(errno, "%s: cannot open", path);
    AUTO(auto_free) uint8_t *block = xmalloc(1 << 18);
    *ret_size = 0;
    *ret_crc = 0;
    err_t *e = NULL;
    for (size_t n; !e && (n = fread(block, 1, 1 << 18, f)) > 0; *ret_size += n) {
        *ret_crc = crc32c(*ret_crc, block, n);
        e = rocks_go_on(cancel);
    }
    if (!e && ferror(f)) e = err_from_errno(errno, "%s: cannot read", path);
    fclose(f);
    return e;
}

/* What storage has of a file is measured by the checksum that is taken here. So a table that has lost its end on the way must not get one. Bits
 * that turned inside of it are found by who reads it here, before or after. */
static err_t *table_whole(const char *path) {
    uint8_t end[8];
    FILE *f = fopen(path, "re");
    if (!f) return err_from_errno(errno, "%s: cannot open", path);
    bool read = fseek(f, -(long)sizeof end, SEEK_END) == 0 && fread(end, 1, sizeof end, f) == sizeof end;
    fclose(f);
    reader_t r = reader_of(slice_of(end, sizeof end));
    return read && read_u64(&r) == TABLE_MAGIC ? NULL : err_new(ERR_CORRUPT, "%s: its end is missing", path);
}

err_t *rocks_store(base_db_t *b, const char *dir, const char *name, disk_t *disk, const char *path, uint64_t *ret_size,
                   uint32_t *ret_crc) {
    AUTO(auto_free) char *local = xprintf("%s/%s", dir, name);
    if (is_table(name)) TRY(rocks_live(b, table_whole(local)));
    TRY(rocks_live(b, file_sum(local, NULL, ret_size, ret_crc))); /* the applier looks before each file */
    return disk->import(disk, local, path);
}

err_t *rocks_fetch(base_db_t *b, disk_t *disk, const base_file_t *file, const char *dir) {
    AUTO(auto_free) char *local = xprintf("%s/%s", dir, file->name);
    TRY(rocks_go_on(b->cancel));
    TRY(rocks_make_dirs(dir));
    TRY(disk->export(disk, file->path, local));
    uint64_t size;
    uint32_t crc;
    TRY(file_sum(local, b->cancel, &size, &crc));
    if (size == file->size && crc == file->crc) return NULL;
    unlink(local);
    return err_new(ERR_CORRUPT, "%s/%s: wrong %s: %" PRIu64 " bytes, checksum %08" PRIx32 "; the manifest says %" PRIu64
                   " bytes, checksum %08" PRIx32, disk->where(disk), file->path, size != file->size ? "size" : "checksum", size, crc, file->size, file->crc);
}

err_t *base_wipe(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return errno == ENOENT ? NULL : err_from_errno(errno, "%s: cannot list", dir);
    err_t *e = NULL;
    for (struct dirent *de; !e && (de = readdir(d));) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0) continue;
        AUTO(auto_free) char *path = xprintf("%s/%s", dir, de->d_name);
        if (unlink(path) != 0 && errno != ENOENT) e = err_from_errno(errno, "%s: cannot remove", path);
    }
    closedir(d);
    if (!e && rmdir(dir) != 0 && errno != ENOENT) e = err_from_errno(errno, "%s: cannot remove", dir);
    return e;
}

void rocks_discard(base_db_t *b, const char *dir) { err_free(base_wipe(dir)); /* what is left is removed at the next start */ }

err_t *rocks_each_family(const char *dir, const uint64_t *fingerprint,
                         err_t *(*fn)(void *arg, rocksdb_t *db, rocksdb_column_family_handle_t *cf, const char *dir,
                                      uint64_t fingerprint, int slot), void *arg) {
    rocksdb_options_t *o = rocksdb_options_create();
    rocks_no_log(o);
    rocksdb_options_set_max_open_files(o, 128);
    char *text = NULL;
    size_t n = 0;
    char **names = rocksdb_list_column_families(o, dir, &n, &text);
    if (text) {
        rocksdb_list_column_families_destroy(names, n);
        rocksdb_options_destroy(o);
        return rocks_error(text, dir, "cannot open the checkpoint");
    }
    rocksdb_column_family_handle_t **cfs = xcalloc(n, sizeof *cfs);
    const rocksdb_options_t **opts = xcalloc(n, sizeof *opts);
    for (size_t i = 0; i < n; i++) opts[i] = o;
    rocksdb_t *db = rocksdb_open_for_read_only_column_families(o, dir, (int)n, (const char *const *)names, opts, cfs, 0, &text);
    err_t *e = rocks_error(text, dir, "cannot open the checkpoint");
    for (size_t i = 0; i < n && db; i++) {
        uint64_t fp;
        int slot;
        if (!e && rocks_family_parse(names[i], &fp, &slot) && (!fingerprint || *fingerprint == fp))
            e = fn(arg, db, cfs[i], dir, fp, slot);
    }
    for (size_t i = 0; i < n && db; i++) rocksdb_column_family_handle_destroy(cfs[i]);
    if (db) rocksdb_close(db);
    free(cfs);
    free(opts);
    rocksdb_list_column_families_destroy(names, n);
    rocksdb_options_destroy(o);
    return e;
}
