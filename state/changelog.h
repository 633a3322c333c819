/* changelog.h: the durable form of an epoch on one worker.
 *
 * One file per (job, incarnation, leader epoch, attempt, worker, n), created exclusively, only appended to; one segment per epoch:
 *
 *   segment = header { magic "TGCL", version u16, flags u16, job u64, incarnation u64, attempt u64, epoch u64,
 *                      raw_len u64, stored_len u64, crc32c of the stored payload, crc32c of the header }
 *             payload (one lz4 block when flag 1, else raw):  records, in order of (stage, subtask):
 *               TASK  { stage, subtask, watermark, ended, rows_since }
 *               STATE { fingerprint, op, slot, bytes }       kstate changes (slot >= 0) or operator bytes (slot -1)
 *               SINK  { fingerprint, op, lane, rows, segment }
 *   STATE and SINK belong to the TASK before them; a task without changes writes none.
 *   kstate changes = version u8, then { PUT ns key value | DEL ns key | DROP ns kg_lo kg_hi }; ns zigzag varint, key/value with varint length.
 *   Many of them lie by key group, behind an index (version 2), so that a reader can take them a part of the groups at a time.
 *
 * The extent (path, from, to, crc) of a segment goes into the ack and from there into the manifest: only bytes named by a manifest are ever
 * read (hazards A2). An append that fails abandons the file: the segment is written again, whole, to the next file (A1, A22). */
#pragma once
#include "state/disk.h"
#include "state/manifest.h"
#include "state/seal.h"

typedef struct changelog changelog_t;
typedef struct changelog_id {
    job_id_t job;
    uint64_t incarnation, leader;
    attempt_t attempt;
    const char *worker;
} changelog_id_t;

changelog_t *changelog_new(disk_t *disk, const changelog_id_t *id); /* no I/O yet */
void changelog_free(changelog_t *c);
/* A segment from the seals of all tasks of this worker, in pieces: what is large is written from where it lies in the seals, which stay as they are until
 * the segment is written or given up. Packed, it has all of it, and the changes of states are freed on the way: then, too, never in memory twice.
 * So a segment that was gathered must be kept until it is written; an error leaves the seals as they were. */
typedef struct segment {
    slice_t *pieces;
    size_t n, bytes; /* bytes: of all; 0: none was gathered */
    buf_t own;       /* what is not in the seals */
} segment_t;
err_t *segment_gather(const changelog_id_t *id, epoch_t epoch, task_seal_t *const *seals, int n, bool compress, segment_t *ret);
void segment_free(segment_t *s); /* content */
/* Pure: the same in one, behind `out`; changes of states are freed. */
err_t *segment_build(const changelog_id_t *id, epoch_t epoch, task_seal_t *const *seals, int n, bool compress, buf_t *out);
/* Appends and syncs; on error the file is abandoned and the call may be repeated with the same bytes. */
err_t *changelog_append(changelog_t *c, epoch_t epoch, slice_t segment, extent_t *ret);
err_t *changelog_append_pieces(changelog_t *c, epoch_t epoch, const segment_t *s, extent_t *ret);
void changelog_keep(changelog_t *c, disk_t *kept); /* what is durable is kept there too: state/kept.h */
/* The next append begins a new file (after a base was accepted: the files before become garbage as a whole). */
void changelog_rotate(changelog_t *c);
#define CHANGELOG_FILE_BYTES ((uint64_t)64 << 20) /* a file that is longer is left at the next append */
void changelog_set_file_bytes(changelog_t *c, uint64_t bytes); /* tests */

/* Where a worker's files lie in storage: "jobs/<job>/<kind>/i<incarnation>.l<leader>.a<attempt>.<worker>", kind "log" or "base";
 * ids in hexadecimal but the attempt, letters of the worker's name that a path cannot carry as %XX. */
char *storage_prefix(const changelog_id_t *id, const char *kind); /* malloc'ed */
typedef struct storage_origin { uint64_t incarnation, leader; attempt_t attempt; slice_t worker; /* escaped, into the path */ } storage_origin_t;
bool storage_path_parse(const char *path, storage_origin_t *ret); /* false: not such a path */
/* The job whose id stands inside the file: `job`, but in a file that came with a savepoint, "jobs/<origin>@<job>[.<leader>]/..", the origin. */
job_id_t storage_path_job(const char *path, job_id_t job);

/* Reading. The visitor is called per record; an error from it stops. `crc` and lengths are verified: ERR_CORRUPT names file and byte. */
typedef struct segment_visitor {
    void *arg;
    bool (*want)(void *arg, attempt_t attempt, epoch_t epoch); /* false: the payload is not even read; NULL: all */
    err_t *(*begin)(void *arg, attempt_t attempt, epoch_t epoch);
    err_t *(*task)(void *arg, int stage, int subtask, int64_t watermark, bool ended);
    err_t *(*state)(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes);
    err_t *(*sink)(void *arg, uint64_t fingerprint, int op, int lane, uint64_t rows, slice_t segment);
    void (*payload)(void *arg, const uint8_t *stored); /* after begin: what follows points into the bytes as they are stored, or NULL: into a copy */
} segment_visitor_t;
err_t *changelog_read(disk_t *disk, const extent_t *extent, job_id_t job, const segment_visitor_t *v);
/* The same from the worker's own copy, segment by segment, where that is whole (state/kept.h; NULL: there is none); sets *own_wrong when it is there
 * and not whole. */
err_t *changelog_read_kept(disk_t *disk, disk_t *kept, const extent_t *extent, job_id_t job, const segment_visitor_t *v, bool *own_wrong);
err_t *segment_visit(slice_t bytes, job_id_t job, const segment_visitor_t *v, size_t *ret_used); /* pure: one segment, for tests and fuzz */

/* Writer's half of the kstate change format (state/kstate.c and tests). */
void change_put(buf_t *out, int64_t ns, slice_t key, slice_t value);
void change_del(buf_t *out, int64_t ns, slice_t key);
void change_drop(buf_t *out, int64_t ns);                              /* of all key groups */
void change_drop_range(buf_t *out, int64_t ns, int kg_lo, int kg_hi);  /* of those of the task that wrote it */
typedef enum change_kind { CHANGE_PUT = 1, CHANGE_DEL = 2, CHANGE_DROP = 3 } change_kind_t;
typedef struct change { change_kind_t kind; int64_t ns; slice_t key, value; int kg_lo, kg_hi; /* DROP */ } change_t;
#define CHANGE_VERSION 2 /* with an index; without one 1 is written. Both are read */
bool change_next(reader_t *r, change_t *ret); /* false at the end or malformed (r->bad); call change_begin first */
bool change_begin(reader_t *r);               /* reads the version and the index; false: unknown, or the index is malformed */
void change_header(buf_t *out);
/* Version 2: behind the index come parts, ascending, each with PUT and DEL of its key groups alone; then, without order, what came after all of
 * them. A part is checked by its own CRC where it is read alone. */
#define KEY_GROUPS 1024
static inline int hash_key_group(uint64_t hash /* state_hash */) { return (int)(hash & (KEY_GROUPS - 1)); }
/* The hash of a key of a state. From slot STATE_MAPS on a state holds maps, each below the key of an entry of another state of the operator: its keys
 * are {owner's key, bytes; what names the entry in the map} and lie in the key group of the owner, so both go the same way, always. */
#define STATE_MAPS 64
uint64_t state_map_hash(slice_t key);
static inline uint64_t state_hash(int slot, slice_t key) { return LIKELY(slot < STATE_MAPS) ? hash_bytes(key.p, key.len) : state_map_hash(key); }
static inline int state_key_group(int slot, slice_t key) { return hash_key_group(state_hash(slot, key)); }
void state_map_key(buf_t *out, slice_t owner, slice_t name); /* appends */
#define CHANGE_PART_GROUPS 16
#define CHANGE_PARTS (KEY_GROUPS / CHANGE_PART_GROUPS)
typedef struct change_part { int part; uint32_t len, crc; } change_part_t;
typedef struct change_index { int n; change_part_t part[CHANGE_PARTS]; } change_index_t;
static inline int change_part_of(uint64_t hash) { return hash_key_group(hash) / CHANGE_PART_GROUPS; }
void change_header_parts(buf_t *out, const change_index_t *x);
bool change_begin_parts(reader_t *r, change_index_t *ret); /* as change_begin; n is 0 in version 1 */
err_t *change_open(slice_t changes, reader_t *ret);         /* change_begin of all of them; ERR_VERSION, ERR_CORRUPT: the index is malformed */
err_t *change_open_parts(slice_t changes, reader_t *ret, change_index_t *x);
